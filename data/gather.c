// gather.c -- rows of any stored type as f32 or f64: batches, and whole tables.
#include <stdlib.h>
#include <string.h>

#include "internal.h"

// Shuffled rows are seldom in the cache: they are asked for some rows ahead.
#ifdef __GNUC__
#define PREFETCH(address) __builtin_prefetch(address)
#else
#define PREFETCH(address) ((void)(address))
#endif
enum { AHEAD = 16, NARROW = 256 };

typedef struct gather {
    const data_table *table;
    const int64_t *rows;
    int64_t n, first_column, columns;
    ad_type type;
    unsigned char *out;
    const unsigned char *base;  // of row 0, at the first column
    size_t stride;
} gather;

static ad_status check(const gather *g, ad_error *error) {
    const data_table *t = g->table;
    if ((g->type != AD_F32 && g->type != AD_F64) || !data_type_ok(t->type) || t->values == NULL) {
        return ad_fail(error, AD_EARG, "rows to gather: expected a table with values, and AD_F32 or AD_F64");
    }
    if (g->n < 0 || g->first_column < 0 || g->columns < 0 || g->first_column > t->columns - g->columns) {
        return ad_fail(error, AD_EARG, "%lld rows, %lld columns from column %lld: the table has %lld columns",
                       (long long)g->n, (long long)g->columns, (long long)g->first_column, (long long)t->columns);
    }
    if (g->rows == NULL && g->n <= t->rows) return AD_OK;
    for (int64_t i = 0; i < g->n; i++) {
        int64_t row = g->rows == NULL ? i : g->rows[i];
        if (row >= 0 && row < t->rows) continue;
        return ad_fail(error, AD_EARG, "row %lld of a table of %lld", (long long)row, (long long)t->rows);
    }
    return AD_OK;
}

static const unsigned char *row_at(const gather *g, int64_t i) {
    return g->base + (size_t)(g->rows == NULL ? i : g->rows[i]) * g->stride;
}

// Each row by itself.
static void wide_rows(const gather *g) {
    data_elements row = data_elements_at(g->table, 0, 0);
    size_t out_size = (size_t)g->columns * ad_type_size(g->type);
    for (int64_t i = 0; i < g->n; i++) {
        if (i + 2 < g->n) PREFETCH(row_at(g, i + 2));
        row.bytes = row_at(g, i);
        data_convert_elements(&row, (size_t)g->columns, g->type, g->out + (size_t)i * out_size);
    }
}

// memcpy of few bytes, in words that overlap at the end: a call would take longer than the copy.
static inline void copy_few(unsigned char *restrict to, const unsigned char *restrict from, size_t size) {
    if (size < 8) {
        for (size_t i = 0; i < size; i++) to[i] = from[i];
        return;
    }
    for (size_t i = 0; i < size - 8; i += 8) memcpy(to + i, from + i, 8);
    memcpy(to + size - 8, from + size - 8, 8);
}

// Rows of few bytes are brought together first: a call for each would cost more than the conversion.
static void narrow_rows(const gather *g) {
    uint64_t buffer[512];
    data_elements block = data_elements_at(g->table, 0, 0);
    size_t columns = (size_t)g->columns, size = columns * data_type_size(block.type);
    int64_t room = (int64_t)(sizeof buffer / size);
    unsigned char *out = g->out;
    block.bytes = (const unsigned char *)buffer;
    for (int64_t i = 0, k; i < g->n; i += k) {
        unsigned char *to = (unsigned char *)buffer;
        k = g->n - i < room ? g->n - i : room;
        for (int64_t j = 0; j < k; j++, to += size) {
            if (i + j + AHEAD < g->n) PREFETCH(row_at(g, i + j + AHEAD));
            copy_few(to, row_at(g, i + j), size);
        }
        data_convert_elements(&block, (size_t)k * columns, g->type, out);
        out += (size_t)k * columns * ad_type_size(g->type);
    }
}

ad_status data_gather(const data_table *table, const int64_t *rows, int64_t n, int64_t first_column, int64_t columns,
                      ad_type type, void *out, ad_error *error) {
    gather g = {table, rows, n, first_column, columns, type, out, NULL, data_row_stride(table)};
    ad_status status = check(&g, error);
    if (status != AD_OK || n == 0 || columns == 0) return status;
    size_t size = (size_t)columns * data_type_size(table->type);
    g.base = data_elements_at(table, 0, first_column).bytes;
    if (rows == NULL && size == g.stride) {
        data_elements all = data_elements_at(table, 0, 0);
        data_convert_elements(&all, (size_t)(n * columns), type, out);
    } else if (size <= NARROW) {
        narrow_rows(&g);
    } else {
        wide_rows(&g);
    }
    return AD_OK;
}

// One block of memory: pointers, then texts.
static const char *const *copy_names(const data_table *table) {
    size_t text = 0;
    for (int64_t i = 0; i < table->columns; i++) text += strlen(table->names[i]) + 1;
    const char **names = malloc((size_t)table->columns * sizeof *names + text);
    if (names == NULL) return NULL;
    char *at = (char *)(names + table->columns);
    for (int64_t i = 0; i < table->columns; i++) {
        names[i] = at;
        at = stpcpy(at, table->names[i]) + 1;
    }
    return names;
}

data_table *data_convert(const data_table *table, ad_type type, ad_error *error) {
    data_table *copy = data_table_new(type == AD_F32 ? DATA_F32 : DATA_F64, table->rows, table->columns, error);
    if (copy == NULL) return NULL;
    copy->shape = table->shape;
    ad_status status = data_gather(table, NULL, table->rows, 0, table->columns, type, data_values(copy), error);
    if (status == AD_OK && table->names != NULL) {
        copy->names = copy_names(table);
        copy->storage->extra = (void *)(uintptr_t)copy->names;
        if (copy->names == NULL) status = ad_fail(error, AD_ENOMEM, "out of memory for the column names");
    }
    if (status == AD_OK) return copy;
    data_table_free(copy);
    return NULL;
}
