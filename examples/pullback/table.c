// table.c -- tables from files, their columns chosen; and back to files.
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool.h"

// The name that starts at *at, its quotes taken off in place; *at moves behind the comma after it, NULL at the end.
static char *take_name(char **at) {
    char *name = *at, *to = name, *close = name + (*name == '"'), *next = NULL;
    while (*name == '"' && *close && (*close != '"' || close[1] == '"')) close += *close == '"' ? 2 : 1;
    if (*name == '"' && *close && (!close[1] || close[1] == ',')) {
        if (close[1]) next = close + 2;
        for (char *from = name + 1; from < close; from += *from == '"' ? 2 : 1) *to++ = *from;
        *to = '\0';
    } else {
        next = strchr(name, ',');
        if (next) *next++ = '\0';
    }
    *at = next;
    return name;
}

char **tool_split(const char *text, int64_t *n) {
    *n = 0;
    if (!text) return NULL;
    size_t size = strlen(text) + 1, most = 1;
    for (const char *c = text; *c; c++) most += *c == ',';
    char **names = malloc(most * sizeof *names + size);
    if (!names) return NULL;
    char *copy = (char *)(names + most);
    memcpy(copy, text, size);
    for (char *at = copy; at && *text;) names[(*n)++] = take_name(&at);
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

static bool is_number(const char *text) {
    return *text && strspn(text, "0123456789") == strlen(text) && strlen(text) < 10;
}

static int in_order(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// Whether a model can note names to find columns by: of one column each, in UTF-8, not all of them numbers.
static bool names_tell(const data_table *table) {
    const char **sorted = table->names ? malloc((size_t)table->columns * sizeof *sorted) : NULL;
    bool ok = sorted != NULL, words = false;
    for (int64_t c = 0; ok && c < table->columns; c++) {
        json_t *text = json_string(table->names[c]);
        ok = text && *table->names[c];
        words = words || (ok && !is_number(table->names[c]));
        sorted[c] = table->names[c];
        json_decref(text);
    }
    if (ok) qsort(sorted, (size_t)table->columns, sizeof *sorted, in_order);
    for (int64_t c = 1; ok && c < table->columns; c++) ok = strcmp(sorted[c - 1], sorted[c]) != 0;
    free(sorted);
    return ok && words;
}

// A name as tool_split takes it: quoted where it has to be. Behind it.
static char *put_name(char *to, const char *name) {
    if (!name[strcspn(name, ",\"\r\n")]) return stpcpy(to, name);
    *to++ = '"';
    for (; *name; name++) {
        if (*name == '"') *to++ = '"';
        *to++ = *name;
    }
    *to++ = '"';
    *to = '\0';
    return to;
}

// Names, or where they do not tell, numbers; those asked for, where other columns were not read.
static char *join(const data_table *table, const int64_t *order, int64_t n, const char *asked) {
    const bool tell = names_tell(table);
    size_t size = 1;
    if (!tell && asked) return strdup(asked);
    for (int64_t i = 0; i < n; i++) size += tell ? 2 * strlen(table->names[order[i]]) + 3 : 22;
    char *names = calloc(size, 1), *at = names;
    for (int64_t i = 0; i < n && names; i++) {
        if (i > 0) *at++ = ',';
        at = tell ? put_name(at, table->names[order[i]]) : at + sprintf(at, "%lld", (long long)order[i]);
    }
    return names;
}

// Columns of table as a new one, and their names in a text of their own; asked, where they have none.
static data_table *pick(const data_table *table, const int64_t *order, int64_t n, ad_type type, const char *asked,
                        char **names, ad_error *error) {
    data_table *out = data_table_new((data_type)type, table->rows, n, error);
    *names = join(table, order, n, asked);
    if (out && !*names) ad_fail(error, AD_ENOMEM, "out of memory");
    if (!out || !*names) return data_table_free(out), NULL;
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

// Which columns are modelled (order [D]) and given (given [C]), by their names and numbers.
static ad_status find(const data_table *table, const char *file, const tool_columns *columns, int64_t *order,
                      int64_t *D, int64_t *given, int64_t *C, ad_error *error) {
    char *role = calloc((size_t)table->columns, 1);
    if (!role) return ad_fail(error, AD_ENOMEM, "%s: out of memory", file);
    *C = mark(table, file, columns->context, role, 'c', given, error);
    *D = *C < 0 ? -1 : mark(table, file, columns->target, role, 'x', order, error);
    for (int64_t c = 0; *D >= 0 && !columns->target && c < table->columns; c++) {
        if (!role[c]) order[(*D)++] = c;
    }
    free(role);
    if (*C < 0 || *D < 0) return AD_EARG;
    return *D > 0 ? AD_OK : ad_fail(error, AD_EARG, "%s: no column is left to model", file);
}

// targets: of a table that holds nothing but columns asked for, in order, these first; 0: of any table.
static ad_status choose(const data_table *table, const char *file, const tool_columns *columns, int64_t targets,
                        ad_type type, tool_rows *out, ad_error *error) {
    int64_t *order = malloc(2 * (size_t)table->columns * sizeof *order), *given = order ? order + table->columns : NULL;
    int64_t D = targets, C = table->columns - targets;
    ad_status status = order ? AD_OK : ad_fail(error, AD_ENOMEM, "%s: out of memory", file);
    for (int64_t c = 0; order && c < table->columns; c++) *(c < targets ? &order[c] : &given[c - targets]) = c;
    if (status == AD_OK && !targets) status = find(table, file, columns, order, &D, given, &C, error);
    const char *asked[2] = {targets ? columns->target : NULL, targets ? columns->context : NULL};
    if (status == AD_OK && !(out->x = pick(table, order, D, type, asked[0], &out->target, error))) status = AD_ENOMEM;
    if (status == AD_OK && C > 0 && !(out->context = pick(table, given, C, type, asked[1], &out->given, error)))
        status = AD_ENOMEM;
    free(order);
    return status;
}

// ---- reading ------------------------------------------------------------------------------------------------------

// Where all columns are told, all by name or all by number, only these are read, in that order, and *targets are the
// first: the others may then hold text. Else *targets is 0.
static data_table *read_text(const char *file, const tool_columns *columns, int64_t *targets, ad_error *error) {
    int64_t n = 0, m = 0, numbers = 0;
    char **target = tool_split(columns->target, &n), **context = tool_split(columns->context, &m);
    const char **names = malloc((size_t)(n + m + 1) * sizeof *names);
    int64_t *number = malloc((size_t)(n + m + 1) * sizeof *number);
    const bool ok = names && number;
    for (int64_t i = 0; ok && i < n + m; i++) {
        names[i] = i < n ? target[i] : context[i - n];
        if (is_number(names[i])) number[numbers++] = strtol(names[i], NULL, 10);
    }
    data_csv_options csv = {.missing = columns->drop ? DATA_MISSING_DROP : DATA_MISSING_ERROR};
    *targets = ok && (numbers == 0 || numbers == n + m) ? n : 0;
    if (*targets) csv.n_columns = n + m;
    if (*targets && numbers) csv.column_numbers = number;
    if (*targets && !numbers) csv.columns = names;
    data_table *table = ok ? data_read_csv(file, &csv, error) : NULL;
    if (!ok) ad_fail(error, AD_ENOMEM, "%s: out of memory", file);
    if (!table && strstr(error->message, "is missing")) {
        const ad_error why = *error;
        ad_fail(error, why.status, "%s (--drop-missing leaves such rows out)", why.message);
    }
    free(target), free(context), free(names), free(number);
    return table;
}

ad_status tool_read(const char *file, const tool_columns *columns, ad_type type, tool_rows *out, ad_error *error) {
    *out = (tool_rows){0};
    int64_t targets = 0;
    data_table *table = is_text_table(file) ? read_text(file, columns, &targets, error)
                        : columns->array    ? data_read_npz(file, columns->array, error)
                                            : data_read(file, error);
    if (!table) return error->status;
    ad_status status = choose(table, file, columns, targets, type, out, error);
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
    struct stat what = {0};
    const bool regular = file && fstat(fileno(to), &what) == 0 && S_ISREG(what.st_mode);
    if (file && fclose(to) != 0 && status == AD_OK) status = ad_fail(error, AD_EIO, "%s: %s", file, strerror(errno));
    if (status != AD_OK && regular) unlink(file);  // no half of a table
    return status;
}
