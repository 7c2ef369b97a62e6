// set.c -- what a model learns from: features, context, classes and weights out of tables.
#include <math.h>
#include <string.h>

#include "internal.h"

// Integers below 2^24 are exact in f32. More classes than rows are a mistake, unless there are few or they are wanted.
enum { MOST_CLASSES = 1 << 24, FEW_CLASSES = 1000, BUFFER = 4096 };

// ---- checked --------------------------------------------------------------------------------------------------------

// Fills in the count of columns and adds it to *width.
static ad_status check_columns(data_columns *c, const char *what, int64_t *rows, int64_t *width, ad_error *error) {
    const data_table *t = c->table;
    if (t->values == NULL || t->rows < 1 || !data_type_ok(t->type)) {
        return ad_fail(error, AD_EARG, "set: a table of %s has no values", what);
    }
    if (*rows == 0) *rows = t->rows;
    if (t->rows != *rows) {
        return ad_fail(error, AD_EARG, "set: a table of %s has %lld rows, another has %lld: expected as many", what,
                       (long long)t->rows, (long long)*rows);
    }
    if (c->count == 0 && c->first >= 0) c->count = t->columns - c->first;
    if (c->first < 0 || c->count < 1 || c->count > t->columns || c->first > t->columns - c->count) {
        return ad_fail(error, AD_EARG, "set: %lld columns of %s from column %lld: the table has %lld",
                       (long long)c->count, what, (long long)c->first, (long long)t->columns);
    }
    *width += c->count;
    return *width <= INT32_MAX ? AD_OK : ad_fail(error, AD_EARG, "set: more than 2^31 - 1 columns of %s", what);
}

static ad_status check_group(data_columns *c, const char *what, int64_t *rows, int64_t *width, ad_error *error) {
    ad_status status = AD_OK;
    for (int i = 0; i < DATA_MOST_COLUMNS && c[i].table != NULL && status == AD_OK; i++) {
        status = check_columns(&c[i], what, rows, width, error);
    }
    return status;
}

static ad_status check_single(data_columns *c, const char *what, int64_t *rows, ad_error *error) {
    int64_t width = 0;
    if (c->table == NULL) return AD_OK;
    ad_status status = check_columns(c, what, rows, &width, error);
    if (status != AD_OK || width == 1) return status;
    return ad_fail(error, AD_EARG, "set: %lld columns of %s, expected one", (long long)width, what);
}

// Calls check with each value of a column.
static ad_status for_each(const data_columns *c, ad_status (*check)(data_set *set, int64_t row, double v, ad_error *e),
                          data_set *set, ad_error *error) {
    double values[BUFFER];
    int64_t rows[BUFFER];
    for (int64_t first = 0, n; first < set->rows; first += n) {
        n = set->rows - first < BUFFER ? set->rows - first : BUFFER;
        for (int64_t i = 0; i < n; i++) rows[i] = first + i;
        ad_status status = data_gather(c->table, rows, n, c->first, 1, AD_F64, values, error);
        for (int64_t i = 0; i < n && status == AD_OK; i++) status = check(set, first + i, values[i], error);
        if (status != AD_OK) return status;
    }
    return AD_OK;
}

static ad_status check_label(data_set *set, int64_t row, double v, ad_error *error) {
    int64_t given = set->parts.classes, most = given > 0 ? given : MOST_CLASSES;
    if (!(v >= 0 && v < (double)most) || v != floor(v)) {
        return ad_fail(error, AD_EARG, "set: the label of row %lld is %g, expected an integer in 0 to %lld",
                       (long long)row, v, (long long)most - 1);
    }
    return AD_OK;
}

static ad_status count_label(data_set *set, int64_t row, double v, ad_error *error) {
    (void)row;
    (void)error;
    if ((int64_t)v >= set->parts.classes) set->parts.classes = (int64_t)v + 1;
    return AD_OK;
}

static ad_status check_weight(data_set *set, int64_t row, double v, ad_error *error) {
    (void)set;
    if (v >= 0 && isfinite(v)) return AD_OK;
    return ad_fail(error, AD_EARG, "set: the weight of row %lld is %g, expected a finite number that is not negative",
                   (long long)row, v);
}

static ad_status check_values(data_set *set, ad_error *error) {
    data_set_parts *p = &set->parts;
    int64_t given_classes = p->classes;
    ad_status status = AD_OK;
    if (p->labels.table != NULL) {
        if (p->classes < 0 || p->classes > MOST_CLASSES) {
            return ad_fail(error, AD_EARG, "set: %lld classes, expected at most 2^24", (long long)p->classes);
        }
        status = for_each(&p->labels, check_label, set, error);
        if (status == AD_OK && p->classes == 0) status = for_each(&p->labels, count_label, set, error);
        if (status == AD_OK && given_classes == 0 && p->classes > FEW_CLASSES && p->classes > set->rows) {
            return ad_fail(error, AD_EARG, "set: the largest label is %lld, of %lld rows: expected classes to be given",
                           (long long)p->classes - 1, (long long)set->rows);
        }
        set->context += p->label_number ? 1 : p->classes;
    }
    if (status == AD_OK && set->weighted) status = for_each(&p->weight, check_weight, set, error);
    return status;
}

ad_status data_set_make(data_set *set, const data_set_parts *parts, ad_error *error) {
    data_set s = {.parts = *parts, .weighted = parts->weight.table != NULL};
    ad_status status = check_group(s.parts.x, "features", &s.rows, &s.features, error);
    if (status == AD_OK && s.features == 0) status = ad_fail(error, AD_EARG, "set: no features");
    if (status == AD_OK) status = check_group(s.parts.context, "context", &s.rows, &s.context, error);
    if (status == AD_OK) status = check_single(&s.parts.labels, "labels", &s.rows, error);
    if (status == AD_OK) status = check_single(&s.parts.weight, "weights", &s.rows, error);
    if (status == AD_OK) status = check_values(&s, error);
    if (status == AD_OK) *set = s;
    return status;
}

// ---- gathered -------------------------------------------------------------------------------------------------------

// Where a part goes: rows of width numbers.
typedef struct target {
    const int64_t *rows;
    int64_t n, width;
    ad_type type;
    unsigned char *out;
} target;

// Rows of some columns to column `at` of the target, through a buffer, a block of rows and columns at a time.
static ad_status gather_beside(const data_columns *c, const target *t, int64_t at, ad_error *error) {
    double buffer[BUFFER];
    int64_t own[BUFFER];
    size_t size = ad_type_size(t->type);
    for (int64_t column = 0, k; column < c->count; column += k) {
        k = c->count - column < BUFFER ? c->count - column : BUFFER;
        for (int64_t row = 0, n; row < t->n; row += n) {
            n = t->n - row < BUFFER / k ? t->n - row : BUFFER / k;
            for (int64_t i = 0; i < n; i++) own[i] = t->rows == NULL ? row + i : t->rows[row + i];
            ad_status status = data_gather(c->table, own, n, c->first + column, k, t->type, buffer, error);
            if (status != AD_OK) return status;
            unsigned char *to = t->out + (size_t)(row * t->width + at + column) * size;
            for (int64_t i = 0; i < n; i++) {
                memcpy(to + (size_t)(i * t->width) * size, (unsigned char *)buffer + (size_t)(i * k) * size,
                       (size_t)k * size);
            }
        }
    }
    return AD_OK;
}

static ad_status gather_group(const data_columns *c, const target *t, ad_error *error) {
    if (c->table != NULL && c->count == t->width) {
        return data_gather(c->table, t->rows, t->n, c->first, c->count, t->type, t->out, error);
    }
    int64_t at = 0;
    ad_status status = AD_OK;
    for (int i = 0; i < DATA_MOST_COLUMNS && c[i].table != NULL && status == AD_OK; at += c[i++].count) {
        status = gather_beside(&c[i], t, at, error);
    }
    return status;
}

static void put_number(const target *t, int64_t row, int64_t column, double v) {
    int64_t i = row * t->width + column;
    if (t->type == AD_F32) ((float *)(void *)t->out)[i] = (float)v;
    if (t->type == AD_F64) ((double *)(void *)t->out)[i] = v;
}

// The labels' part of context: its last columns. A file that changes under its table must not write beyond them.
static ad_status put_labels(const data_set *set, const target *t, ad_error *error) {
    const data_set_parts *p = &set->parts;
    int64_t width = p->label_number ? 1 : p->classes, at = t->width - width;
    size_t size = ad_type_size(t->type);
    double label[256];
    for (int64_t i = 0; i < t->n; i++) {
        if (i % 256 == 0) {
            target block = {t->rows, t->n - i < 256 ? t->n - i : 256, 1, AD_F64, (unsigned char *)label};
            int64_t own[256];
            for (int64_t k = 0; k < block.n; k++) own[k] = t->rows == NULL ? i + k : t->rows[i + k];
            block.rows = own;
            ad_status status = gather_group(&p->labels, &block, error);
            if (status != AD_OK) return status;
        }
        double v = label[i % 256];
        if (!(v >= 0 && v < (double)p->classes)) {
            return ad_fail(error, AD_EARG, "set: a label is now %g, expected less than %lld", v, (long long)p->classes);
        }
        if (!p->label_number) memset(t->out + (size_t)(i * t->width + at) * size, 0, (size_t)width * size);
        put_number(t, i, p->label_number ? at : at + (int64_t)v, p->label_number ? v : 1);
    }
    return AD_OK;
}

int64_t data_set_width(const data_set *set, data_part part) {
    return part == DATA_X ? set->features : part == DATA_CONTEXT ? set->context : set->weighted;
}

ad_status data_set_gather(const data_set *set, data_part part, const int64_t *rows, int64_t n, ad_type type, void *out,
                          ad_error *error) {
    const data_set_parts *p = &set->parts;
    target t = {rows, n, data_set_width(set, part), type, out};
    if (type != AD_F32 && type != AD_F64) return ad_fail(error, AD_EARG, "set: expected AD_F32 or AD_F64");
    if (n < 0 || (rows == NULL && n > set->rows)) {
        return ad_fail(error, AD_EARG, "set: %lld rows of %lld", (long long)n, (long long)set->rows);
    }
    if (part == DATA_X) return gather_group(p->x, &t, error);
    if (part == DATA_WEIGHT) return set->weighted ? gather_group(&p->weight, &t, error) : AD_OK;
    bool labels = p->labels.table != NULL, columns = p->context[0].table != NULL;
    ad_status status = columns ? gather_group(p->context, &t, error) : AD_OK;
    return labels && status == AD_OK ? put_labels(set, &t, error) : status;
}

data_table *data_set_table(const data_set *set, data_part part, ad_type type, ad_error *error) {
    int64_t width = data_set_width(set, part);
    if (width == 0) {
        ad_fail(error, AD_EARG, "set: it has no %s", part == DATA_WEIGHT ? "weights" : "context");
        return NULL;
    }
    data_table *table = data_table_new(type == AD_F32 ? DATA_F32 : DATA_F64, set->rows, width, error);
    if (table == NULL) return NULL;
    if (data_set_gather(set, part, NULL, set->rows, type, data_values(table), error) == AD_OK) return table;
    data_table_free(table);
    return NULL;
}
