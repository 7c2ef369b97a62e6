// csv_rows.c -- the rows of numbers of a text table, and what to say of those that are none.
#include <math.h>

#include "csv.h"

// A field that is not a plain number: its value, or why it has none. keep becomes false where its row is left out.
static ad_status odd_field(csv *c, const csv_field *f, int64_t number, double *value, bool *keep) {
    data_number kind = DATA_NUMBER;
    *value = NAN;
    if (data_csv_is_missing(c, f)) {
        if (c->options->missing == DATA_MISSING_ERROR) {
            return ad_fail(c->error, AD_EFORMAT, "%s:%lld:%lld: field %lld is missing, expected a number", c->path,
                           (long long)f->line, (long long)f->column, (long long)number);
        }
    } else {
        kind = data_parse_number(f->text, f->size, value);
    }
    if (c->options->missing == DATA_MISSING_DROP && isnan(*value)) *keep = false;
    if (kind == DATA_NUMBER) return AD_OK;
    char shown[40];
    return ad_fail(c->error, AD_EFORMAT, "%s:%lld:%lld: \"%s\" (field %lld) %s", c->path, (long long)f->line,
                   (long long)f->column, data_quote(shown, sizeof shown, f->text, f->size), (long long)number,
                   kind == DATA_TOO_LARGE ? "is too large for a double" : "is not a number");
}

// Reads the row again for the place of the error.
static ad_status wrong_count(csv *c, int64_t fields) {
    csv_field f;
    int64_t n = 0;
    c->at = c->line_start = c->row;
    c->line = c->row_line;
    do {
        ad_status status = data_csv_next_field(c, &f);
        if (status != AD_OK) return status;
    } while (++n <= fields && !f.last);
    return ad_fail(c->error, AD_EFORMAT, "%s:%lld:%lld: row with %s%lld field%s, expected %lld as in the first row",
                   c->path, (long long)c->row_line, (long long)f.column, n > fields ? "more than " : "",
                   (long long)(n > fields ? fields : n), n == 1 ? "" : "s", (long long)fields);
}

static ad_status read_row(csv *c, const csv_layout *layout, double *row, bool *keep) {
    bool last = false;
    int64_t i = 0;
    while (i < layout->fields && !last) {
        int64_t column = layout->place == NULL ? i : layout->place[i];
        int64_t n = layout->place == NULL ? layout->fields - i : column >= 0;
        int64_t quick = n == 0 ? 0 : data_csv_quick_fields(c, row + column, n, &last);
        i += quick;
        if (quick == n && n > 0) continue;
        if (layout->place == NULL) column = i;
        if (last) break;
        csv_field f;
        ad_status status = data_csv_next_field(c, &f);
        i++;
        if (status == AD_OK && column >= 0) status = odd_field(c, &f, i, &row[column], keep);
        if (status != AD_OK) return status;
        last = f.last;
    }
    return last && i == layout->fields ? AD_OK : wrong_count(c, layout->fields);
}

ad_status data_csv_read_rows(csv *c, const csv_layout *layout, csv_sink *sink) {
    int64_t rows = 0;
    int more;
    for (; (more = data_csv_next_row(c)) > 0; rows++) {
        bool keep = true;
        double *row = data_csv_sink_row(sink);
        if (row == NULL) return sink->cache != NULL && sink->cache->failed ? AD_EIO : c->error->status;
        ad_status status = read_row(c, layout, row, &keep);
        if (status != AD_OK) return status;
        if (keep) csv_sink_keep(sink);
    }
    if (more < 0) return c->error->status;
    if (sink->rows > 0) return AD_OK;
    if (rows == 0) return ad_fail(c->error, AD_EFORMAT, "%s: the file has no rows of numbers", c->path);
    return ad_fail(c->error, AD_EFORMAT, "%s: no row is left: each of %lld lacks a field", c->path, (long long)rows);
}
