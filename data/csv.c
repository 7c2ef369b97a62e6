// csv.c -- text tables: RFC 4180 fields into doubles, with the place of every error.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { LONGEST_ROW = 1 << 20 };

typedef struct csv {
    const char *path;
    ad_error *error;
    char separator;
    bool allow_missing;
    const char *at, *end;  // what is left
    const char *row_start, *line_start;
    int64_t line;  // of at, from 1
} csv;

typedef struct field {
    const char *text;  // without quotes and surrounding blanks; quotes inside are still doubled
    size_t size;
    bool quoted, last;     // last: of its row
    int64_t line, column;  // where it starts, from 1
} field;

static bool is_blank(const csv *c, char x) {
    return (x == ' ' || x == '\t') && x != c->separator;
}

static bool at_row_end(const csv *c) {
    return c->at == c->end || *c->at == '\n' || (*c->at == '\r' && c->at + 1 < c->end && c->at[1] == '\n');
}

// Steps over a line end.
static void end_row(csv *c) {
    c->at += *c->at == '\r' ? 2 : 1;
    c->line++;
    c->line_start = c->at;
}

static ad_status fail_at(const csv *c, int64_t line, int64_t column, const char *what) {
    return ad_fail(c->error, AD_EFORMAT, "%s:%lld:%lld: %s", c->path, (long long)line, (long long)column, what);
}

// Moves to the next row that is not empty; false at the end of the file.
static bool next_row(csv *c) {
    for (;;) {
        c->row_start = c->at;
        while (c->at < c->end && is_blank(c, *c->at)) c->at++;
        if (c->at == c->end) return false;
        if (!at_row_end(c)) break;
        end_row(c);
    }
    c->at = c->row_start;
    return true;
}

static ad_status quoted_field(csv *c, field *f) {
    f->quoted = true;
    f->text = ++c->at;
    for (;; c->at++) {
        if (c->at == c->end) return fail_at(c, f->line, f->column, "a quote is opened here and never closed");
        if (c->at - c->row_start > LONGEST_ROW) break;
        if (*c->at == '\n') {
            c->line++;
            c->line_start = c->at + 1;
        }
        if (*c->at != '"') continue;
        if (c->at + 1 == c->end || c->at[1] != '"') break;
        c->at++;
    }
    f->size = (size_t)(c->at - f->text);
    if (c->at < c->end && *c->at == '"') c->at++;
    while (c->at < c->end && is_blank(c, *c->at)) c->at++;
    return AD_OK;
}

static void plain_field(csv *c, field *f) {
    f->text = c->at;
    while (!at_row_end(c) && *c->at != c->separator) c->at++;
    const char *end = c->at;
    while (end > f->text && is_blank(c, end[-1])) end--;
    f->size = (size_t)(end - f->text);
}

// The next field of the row that at stands in; steps over the separator, or over the line end after the last field.
static ad_status next_field(csv *c, field *f) {
    while (c->at < c->end && is_blank(c, *c->at)) c->at++;
    f->quoted = false;
    f->line = c->line;
    f->column = c->at - c->line_start + 1;
    if (c->at < c->end && *c->at == '"') {
        ad_status status = quoted_field(c, f);
        if (status != AD_OK) return status;
    } else {
        plain_field(c, f);
    }
    if (c->at - c->row_start > LONGEST_ROW) return fail_at(c, f->line, f->column, "the row is longer than 1 MiB");
    f->last = at_row_end(c);
    if (f->last && c->at < c->end) {
        end_row(c);
    } else if (!f->last && *c->at != c->separator) {
        return fail_at(c, c->line, c->at - c->line_start + 1,
                       "expected a separator or a line end after the closing quote");
    } else if (!f->last) {
        c->at++;
    }
    return AD_OK;
}

static bool is_missing(const field *f) {
    return f->size == 0 || (f->size == 2 && memcmp(f->text, "NA", 2) == 0);
}

// The value of a field, or why it has none.
static ad_status field_value(const csv *c, const field *f, int64_t number, double *value) {
    if (is_missing(f)) {
        *value = NAN;
        if (c->allow_missing) return AD_OK;
        return ad_fail(c->error, AD_EFORMAT, "%s:%lld:%lld: field %lld is missing, expected a number", c->path,
                       (long long)f->line, (long long)f->column, (long long)number);
    }
    data_number kind = data_parse_number(f->text, f->size, value);
    if (kind == DATA_NUMBER) return AD_OK;
    char shown[40];
    return ad_fail(c->error, AD_EFORMAT, "%s:%lld:%lld: \"%s\" (field %lld) %s", c->path, (long long)f->line,
                   (long long)f->column, data_quote(shown, sizeof shown, f->text, f->size), (long long)number,
                   kind == DATA_TOO_LARGE ? "is too large for a double" : "is not a number");
}

// ---- the first row ----

// Tab before semicolon before comma: a comma may be a decimal one, and must then be complained about as such.
static char find_separator(const csv *c) {
    char found = ',';
    bool inside = false;
    for (const char *p = c->at; p < c->end && (inside || *p != '\n'); p++) {
        if (*p == '"') inside = !inside;
        if (!inside && *p == '\t') return '\t';
        if (!inside && *p == ';') found = ';';
    }
    return found;
}

typedef struct first_row {
    int64_t columns, named;  // named: fields that are neither numbers nor missing
    size_t text;             // bytes that all names need
    field name, number;      // the first of each kind
} first_row;

static ad_status read_first_row(csv c, first_row *first) {
    field f;
    double value;
    memset(first, 0, sizeof *first);
    do {
        ad_status status = next_field(&c, &f);
        if (status != AD_OK) return status;
        if (data_parse_number(f.text, f.size, &value) != DATA_NOT_A_NUMBER) {
            first->number = f;
        } else if (!is_missing(&f) && first->named++ == 0) {
            first->name = f;
        }
        first->columns++;
        first->text += f.size + 1;
    } while (!f.last);
    return AD_OK;
}

static ad_status mixed_first_row(const csv *c, const first_row *first) {
    char name[40], number[40];
    return ad_fail(
        c->error, AD_EFORMAT,
        "%s:%lld:%lld: the first row has a name (\"%s\") and a number (\"%s\"), expected names only or numbers "
        "only",
        c->path, (long long)first->name.line, (long long)first->name.column,
        data_quote(name, sizeof name, first->name.text, first->name.size),
        data_quote(number, sizeof number, first->number.text, first->number.size));
}

// Whether the first row is a header.
static ad_status find_header(const csv *c, const first_row *first, int wanted, bool *header) {
    *header = wanted > 0 || (wanted == 0 && first->named > 0);
    if (wanted == 0 && *header && first->number.text != NULL) return mixed_first_row(c, first);
    return AD_OK;
}

static char *unquote(char *out, const field *f) {
    for (size_t i = 0; i < f->size; i++) {
        *out++ = f->text[i];
        if (f->quoted && f->text[i] == '"') i++;
    }
    *out++ = '\0';
    return out;
}

// Moves past the header and returns its names in one block: pointers, then texts.
static const char *const *read_names(csv *c, const first_row *first) {
    const char **names = malloc((size_t)first->columns * sizeof *names + first->text);
    if (names == NULL) {
        ad_fail(c->error, AD_ENOMEM, "%s: out of memory for the column names", c->path);
        return NULL;
    }
    char *text = (char *)(names + first->columns);
    for (int64_t i = 0; i < first->columns; i++) {
        field f;
        next_field(c, &f);
        names[i] = text;
        text = unquote(text, &f);
    }
    return names;
}

// ---- all rows ----

// Counts the rows that are left, all of which must have as many fields as the first.
static ad_status count_rows(csv c, int64_t columns, int64_t *rows) {
    for (*rows = 0; next_row(&c); ++*rows) {
        int64_t line = c.line, n = 0;
        field f;
        do {
            ad_status status = next_field(&c, &f);
            if (status != AD_OK) return status;
        } while (++n <= columns && !f.last);
        if (n == columns) continue;
        return ad_fail(c.error, AD_EFORMAT, "%s:%lld:%lld: row with %s%lld field%s, expected %lld as in the first row",
                       c.path, (long long)line, (long long)f.column, n > columns ? "more than " : "",
                       (long long)(n > columns ? columns : n), n == 1 ? "" : "s", (long long)columns);
    }
    if (*rows > 0) return AD_OK;
    return ad_fail(c.error, AD_EFORMAT, "%s: the file has no rows of numbers", c.path);
}

static ad_status read_values(csv *c, int64_t columns, double *values) {
    while (next_row(c)) {
        for (int64_t i = 0; i < columns; i++) {
            field f;
            ad_status status = next_field(c, &f);
            if (status == AD_OK) status = field_value(c, &f, i + 1, values++);
            if (status != AD_OK) return status;
        }
    }
    return AD_OK;
}

static data_table *read_table(csv *c, const data_csv_options *options) {
    first_row first;
    bool header;
    int64_t rows;
    if (!next_row(c)) {
        fail_at(c, 1, 1, "the file has no rows");
        return NULL;
    }
    c->separator = options->separator != 0 ? options->separator : find_separator(c);
    if (read_first_row(*c, &first) != AD_OK || find_header(c, &first, options->header, &header) != AD_OK) return NULL;
    const char *const *names = header ? read_names(c, &first) : NULL;
    if (header && names == NULL) return NULL;
    data_table *table = NULL;
    if (count_rows(*c, first.columns, &rows) == AD_OK) table = data_table_new(DATA_F64, rows, first.columns, c->error);
    if (table == NULL) {
        free((void *)(uintptr_t)names);
        return NULL;
    }
    table->names = names;
    table->storage->extra = (void *)(uintptr_t)names;
    if (read_values(c, first.columns, data_values(table)) == AD_OK) return table;
    data_table_free(table);
    return NULL;
}

data_table *data_read_csv(const char *path, const data_csv_options *options, ad_error *error) {
    static const data_csv_options defaults = {0};
    data_map map;
    if (options == NULL) options = &defaults;
    if (options->separator != 0 && strchr(",;\t", options->separator) == NULL) {
        ad_fail(error, AD_EARG, "%s: separator '%c', expected ',', ';' or a tab", path, options->separator);
        return NULL;
    }
    if (data_map_file(path, &map, error) != AD_OK) return NULL;
    csv c = {.path = path, .error = error, .allow_missing = options->allow_missing, .line = 1};
    c.at = c.line_start = (const char *)map.bytes;
    c.end = c.at + map.size;
    data_table *table = NULL;
    if (map.size >= 2 && (memcmp(c.at, "\xff\xfe", 2) == 0 || memcmp(c.at, "\xfe\xff", 2) == 0)) {
        fail_at(&c, 1, 1, "the text is UTF-16, expected UTF-8");
    } else {
        if (map.size >= 3 && memcmp(c.at, "\xef\xbb\xbf", 3) == 0) c.at += 3;
        c.line_start = c.at;
        table = read_table(&c, options);
    }
    data_unmap(&map);
    return table;
}
