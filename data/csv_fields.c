// csv_fields.c -- rows and fields of a text table: quotes and line ends (RFC 4180), blanks, places in the file.
#include <string.h>

#include "csv.h"

static bool at_row_end(const csv *c) {
    return c->at == c->end || *c->at == '\n' || (*c->at == '\r' && c->at + 1 < c->end && c->at[1] == '\n');
}

static void skip_blanks(csv *c) {
    while (c->at < c->end && csv_is_blank(c, *c->at)) c->at++;
}

// Steps over a line end.
static void end_row(csv *c) {
    c->at += *c->at == '\r' ? 2 : 1;
    c->line++;
    c->line_start = c->at;
}

ad_status data_csv_fail(const csv *c, int64_t line, int64_t column, const char *what) {
    return ad_fail(c->error, AD_EFORMAT, "%s:%lld:%lld: %s", c->path, (long long)line, (long long)column, what);
}

// Makes sure that the window has the whole row, or more than a row may have.
static bool fill(csv *c) {
    if (c->text.whole || c->end - c->at > CSV_LONGEST_ROW + 2) return true;
    c->text.at = c->at;
    if (data_text_fill(&c->text) != AD_OK) return false;
    c->at = c->text.at;
    c->end = c->text.end;
    return true;
}

int data_csv_next_row(csv *c) {
    for (;;) {
        if (!fill(c)) return -1;
        c->row = c->line_start = c->at;
        c->row_line = c->line;
        skip_blanks(c);
        if (c->at - c->row > CSV_LONGEST_ROW) {
            data_csv_fail(c, c->line, 1, "the row is longer than 1 MiB");
            return -1;
        }
        if (c->at == c->end) return 0;
        if (!at_row_end(c)) break;
        end_row(c);
    }
    c->at = c->row;
    return 1;
}

static ad_status quoted_field(csv *c, csv_field *f) {
    f->quoted = true;
    f->text = ++c->at;
    for (;; c->at++) {
        if (c->at - c->row > CSV_LONGEST_ROW) break;
        if (c->at == c->end) return data_csv_fail(c, f->line, f->column, "a quote is opened here and never closed");
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
    return AD_OK;
}

static void plain_field(csv *c, csv_field *f) {
    f->text = c->at;
    bool blanks = c->separator == ' ';
    while (!at_row_end(c) && *c->at != c->separator && !(blanks && *c->at == '\t')) c->at++;
    const char *end = c->at;
    while (end > f->text && csv_is_blank(c, end[-1])) end--;
    f->size = (size_t)(end - f->text);
}

ad_status data_csv_next_field(csv *c, csv_field *f) {
    skip_blanks(c);
    f->quoted = false;
    f->line = c->line;
    f->column = c->at - c->line_start + 1;
    if (c->at < c->end && *c->at == '"') {
        ad_status status = quoted_field(c, f);
        if (status != AD_OK) return status;
    } else {
        plain_field(c, f);
    }
    const char *behind = c->at;
    skip_blanks(c);
    if (c->at - c->row > CSV_LONGEST_ROW) return data_csv_fail(c, f->line, f->column, "the row is longer than 1 MiB");
    f->last = at_row_end(c);
    if (f->last && c->at < c->end) {
        end_row(c);
    } else if (!f->last && c->separator == ' ' ? c->at == behind : !f->last && *c->at != c->separator) {
        return data_csv_fail(c, c->line, c->at - c->line_start + 1,
                             "expected a separator or a line end after the closing quote");
    } else if (!f->last && c->separator != ' ') {
        c->at++;
    }
    return AD_OK;
}

int64_t data_csv_quick_fields(csv *c, double *values, int64_t n, bool *last) {
    const char *at = c->at, *end = c->end;
    const char separator = c->separator, blank = separator == '\t' ? ' ' : '\t';
    int64_t i = 0;
    for (*last = false; i < n && !*last; i++) {
        while (at < end && (*at == ' ' || *at == blank)) at++;
        const char *number = data_scan_number(at, end, &values[i]), *behind = number;
        if (number == NULL) break;
        while (behind < end && (*behind == ' ' || *behind == blank)) behind++;
        if (behind == end) break;
        if (*behind == separator) {
            behind++;
        } else if (*behind == '\n' || (*behind == '\r' && end - behind > 1 && behind[1] == '\n')) {
            *last = true;
        } else if (separator != ' ' || behind == number) {
            break;
        }
        if (behind - c->row > CSV_LONGEST_ROW) break;
        c->at = at = behind;
    }
    if (*last) end_row(c);
    return i;
}

bool data_csv_is_missing(const csv *c, const csv_field *f) {
    const char *own = c->options->missing_text;
    if (f->size == 0 || (f->size == 2 && memcmp(f->text, "NA", 2) == 0)) return true;
    return own != NULL && strlen(own) == f->size && memcmp(f->text, own, f->size) == 0;
}
