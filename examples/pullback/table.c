// table.c -- tables from files, their columns chosen; and back to files.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

char **tool_split(const char *text, int64_t *n) {
    *n = 0;
    if (!text) return NULL;
    size_t size = strlen(text) + 1, most = 1;
    for (const char *c = text; *c; c++) most += *c == ',';
    char **names = malloc(most * sizeof *names + size);
    if (!names) return NULL;
    char *copy = (char *)(names + most);
    memcpy(copy, text, size);
    for (char *at = copy, *next; at && *text; at = next) {
        next = strchr(at, ',');
        if (next) *next++ = '\0';
        names[(*n)++] = at;
    }
    return names;
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static bool is_text_table(const char *file) {
    static const char *const ends[] = {".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        if (ends_with(file, ends[i])) return true;
    }
    return false;
}

// ---- columns ------------------------------------------------------------------------------------------------------

// The column of that name, or of that number; -1: none.
static int64_t find_column(const data_table *table, const char *name) {
    for (int64_t c = 0; table->names && c < table->columns; c++) {
        if (table->names[c] && strcmp(table->names[c], name) == 0) return c;
    }
    char *end;
    errno = 0;
    long long number = strtoll(name, &end, 10);
    return *name && !*end && !errno && number >= 0 && number < table->columns ? number : -1;
}

// role[c] of the columns that text names becomes value, in order[]; their number, or -1.
static int64_t mark(const data_table *table, const char *file, const char *text, char *role, char value, int64_t *order,
                    ad_error *error) {
    int64_t n, found = 0;
    char **names = tool_split(text, &n);
    for (int64_t i = 0; i < n && found >= 0; i++) {
        int64_t c = find_column(table, names[i]);
        if (c < 0) {
            ad_fail(error, AD_EARG, "%s: no column '%s' among its %lld", file, names[i], (long long)table->columns);
            found = -1;
        } else if (role[c]) {
            ad_fail(error, AD_EARG, "%s: column '%s' is asked for twice", file, names[i]);
            found = -1;
        } else {
            role[c] = value;
            order[found++] = c;
        }
    }
    free(names);
    return found;
}

// Columns of table as a new one, and their names in a text of their own.
static data_table *pick(const data_table *table, const int64_t *order, int64_t n, ad_type type, char **names,
                        ad_error *error) {
    data_table *out = data_table_new((data_type)type, table->rows, n, error);
    size_t size = 1, at = 0;
    for (int64_t i = 0; i < n; i++)
        size += table->names && table->names[order[i]] ? strlen(table->names[order[i]]) + 1 : 22;
    *names = calloc(size, 1);
    if (out && !*names) ad_fail(error, AD_ENOMEM, "out of memory");
    if (!out || !*names) return data_table_free(out), NULL;
    for (int64_t i = 0; i < n; i++) {
        if (i > 0) (*names)[at++] = ',';
        if (table->names && table->names[order[i]]) {
            at += (size_t)snprintf(*names + at, size - at, "%s", table->names[order[i]]);
        } else {
            at += (size_t)snprintf(*names + at, size - at, "%lld", (long long)order[i]);
        }
    }
    for (int64_t r = 0; r < table->rows; r++) {
        for (int64_t i = 0; i < n; i++) {
            double v = data_get(table, r, order[i]);
            if (type == AD_F64) {
                ((double *)data_values(out))[r * n + i] = v;
            } else {
                ((float *)data_values(out))[r * n + i] = (float)v;
            }
        }
    }
    return out;
}

static ad_status choose(const data_table *table, const char *file, const tool_columns *columns, ad_type type,
                        tool_rows *out, ad_error *error) {
    char *role = calloc((size_t)table->columns, 1);
    int64_t *order = malloc(2 * (size_t)table->columns * sizeof *order), *given = order ? order + table->columns : NULL;
    ad_status status = role && order ? AD_OK : ad_fail(error, AD_ENOMEM, "%s: out of memory", file);
    int64_t D = 0, C = 0;
    if (status == AD_OK) C = mark(table, file, columns->context, role, 'c', given, error);
    if (status == AD_OK && C >= 0) D = mark(table, file, columns->target, role, 'x', order, error);
    if (status == AD_OK && (C < 0 || D < 0)) status = AD_EARG;
    for (int64_t c = 0; status == AD_OK && !columns->target && c < table->columns; c++) {
        if (!role[c]) order[D++] = c;
    }
    if (status == AD_OK && D == 0) status = ad_fail(error, AD_EARG, "%s: no column is left to model", file);
    if (status == AD_OK && !(out->x = pick(table, order, D, type, &out->target, error))) status = AD_ENOMEM;
    if (status == AD_OK && C > 0 && !(out->context = pick(table, given, C, type, &out->given, error)))
        status = AD_ENOMEM;
    free(role);
    free(order);
    return status;
}

// ---- reading ------------------------------------------------------------------------------------------------------

// Only the columns wanted, where all of them are named: the others may then hold text.
static data_table *read_text(const char *file, const tool_columns *columns, ad_error *error) {
    int64_t n = 0, m = 0;
    char **target = tool_split(columns->target, &n), **context = tool_split(columns->context, &m);
    const char **all = malloc((size_t)(n + m + 1) * sizeof *all);
    for (int64_t i = 0; all && i < n; i++) all[i] = target[i];
    for (int64_t i = 0; all && i < m; i++) all[n + i] = context[i];
    data_csv_options csv = {.missing = columns->drop ? DATA_MISSING_DROP : DATA_MISSING_ERROR};
    bool numbers = n + m > 0;
    for (int64_t i = 0; all && i < n + m; i++) numbers = numbers && strspn(all[i], "0123456789") == strlen(all[i]);
    if (n > 0 && !numbers) csv.columns = all, csv.n_columns = n + m;
    data_table *table = all ? data_read_csv(file, &csv, error) : NULL;
    if (!all) ad_fail(error, AD_ENOMEM, "%s: out of memory", file);
    free(target);
    free(context);
    free(all);
    return table;
}

ad_status tool_read(const char *file, const tool_columns *columns, ad_type type, tool_rows *out, ad_error *error) {
    *out = (tool_rows){0};
    data_table *table = is_text_table(file) ? read_text(file, columns, error)
                        : columns->array    ? data_read_npz(file, columns->array, error)
                                            : data_read(file, error);
    if (!table) return error->status;
    ad_status status = choose(table, file, columns, type, out, error);
    data_table_free(table);
    ad_error why = {0};
    if (status == AD_OK) status = data_check_finite(out->x, &why);
    if (status == AD_OK && out->context) status = data_check_finite(out->context, &why);
    if (why.status) ad_fail(error, why.status, "%s: %s", file, why.message);
    if (status != AD_OK) tool_rows_free(out);
    return status;
}

void tool_rows_free(tool_rows *rows) {
    data_table_free(rows->x);
    data_table_free(rows->context);
    free(rows->target);
    free(rows->given);
    *rows = (tool_rows){0};
}

flow_rows tool_source(const tool_rows *rows) {
    flow_rows all = {.x = data_source(rows->x, 0, NULL)};
    if (rows->context) all.context = data_source(rows->context, 0, NULL);
    return all;
}

// ---- writing ------------------------------------------------------------------------------------------------------

static ad_status write_text(FILE *to, const char *file, const data_table *table, const char *names, ad_error *error) {
    bool ok = !names || fprintf(to, "%s\n", names) > 0;
    for (int64_t r = 0; ok && r < table->rows; r++) {
        for (int64_t c = 0; ok && c < table->columns; c++)
            ok = fprintf(to, c ? ",%.9g" : "%.9g", data_get(table, r, c)) > 0;
        ok = ok && fputc('\n', to) != EOF;
    }
    ok = fflush(to) == 0 && ok;
    return ok ? AD_OK : ad_fail(error, AD_EIO, "%s: cannot be written: %s", file, strerror(errno));
}

ad_status tool_write(const char *file, const data_table *table, const char *names, ad_error *error) {
    if (file && ends_with(file, ".npy")) return data_write_npy(file, table, error);
    FILE *to = file ? fopen(file, "w") : stdout;
    if (!to) return ad_fail(error, AD_EIO, "%s: cannot be written: %s", file, strerror(errno));
    ad_status status = write_text(to, file ? file : "standard output", table, names, error);
    if (file && fclose(to) != 0 && status == AD_OK) status = ad_fail(error, AD_EIO, "%s: %s", file, strerror(errno));
    return status;
}
