// csv_columns.c -- the columns that were asked for, by name or number; what to say of a name that is not there.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "csv.h"

// ---- names that are nearly the same ---------------------------------------------------------------------------------

enum { LONGEST_COMPARED = 40, MOST_COMPARED = 2000, SHOWN = 3, LISTED = 8 };

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c;
}

static int least(int a, int b) {
    return a < b ? a : b;
}

// Levenshtein's distance without regard to case, a neighbouring pair turned around counting once; of their beginnings,
// where they are long.
static int distance(const char *a, const char *b) {
    int row[3][LONGEST_COMPARED + 1];
    int n = (int)strnlen(a, LONGEST_COMPARED), m = (int)strnlen(b, LONGEST_COMPARED);
    for (int j = 0; j <= m; j++) row[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= m; j++) {
            char x = lower(a[i - 1]), y = lower(b[j - 1]);
            now[j] = least(last[j - 1] + (x != y), least(last[j], now[j - 1]) + 1);
            bool turned = i > 1 && j > 1 && x == lower(b[j - 2]) && lower(a[i - 2]) == y;
            if (turned) now[j] = least(now[j], before[j - 2] + 1);
        }
    }
    return row[n % 3][m];
}

// Appends a comma where needed and the quoted name.
static void list_name(char *out, size_t room, const char *name) {
    char shown[32];
    size_t used = strlen(out);
    snprintf(out + used, room - used, "%s\"%s\"", used > 0 ? ", " : "",
             data_quote(shown, sizeof shown, name, strlen(name)));
}

// The names at the least distance, when that is small; else the first ones.
static ad_status unknown_name(const csv *c, const csv_layout *layout, const char *name) {
    char shown[40], list[SHOWN * 40 + LISTED * 40] = "";
    int best = least(4, 1 + (int)strlen(name) / 3), listed = 0;
    int64_t n = layout->fields < MOST_COMPARED ? layout->fields : MOST_COMPARED;
    for (int64_t i = 0; i < n; i++) best = least(best, distance(name, layout->names[i]));
    for (int64_t i = 0; i < n && listed < SHOWN; i++) {
        if (best > (int)strlen(name) / 3 || distance(name, layout->names[i]) > best) continue;
        list_name(list, sizeof list, layout->names[i]);
        listed++;
    }
    bool near = listed > 0;
    for (; !near && listed < LISTED && listed < n; listed++) list_name(list, sizeof list, layout->names[listed]);
    return ad_fail(c->error, AD_EARG, "%s: no column is called \"%s\": %s %s%s (%lld columns in all)", c->path,
                   data_quote(shown, sizeof shown, name, strlen(name)), near ? "is it" : "there are", list,
                   near                               ? "?"
                   : (int64_t)listed < layout->fields ? ", ..."
                                                      : "",
                   (long long)layout->fields);
}

// ---- the choice -----------------------------------------------------------------------------------------------------

static ad_status find_name(const csv *c, const csv_layout *layout, const char *name, int64_t *field) {
    char shown[40];
    *field = -1;
    if (name == NULL) return ad_fail(c->error, AD_EARG, "%s: a column's name is NULL", c->path);
    for (int64_t i = 0; i < layout->fields; i++) {
        if (strcmp(layout->names[i], name) != 0) continue;
        if (*field >= 0) {
            return ad_fail(c->error, AD_EARG,
                           "%s: columns %lld and %lld are both called \"%s\": say which by number (these from 0)",
                           c->path, (long long)*field, (long long)i,
                           data_quote(shown, sizeof shown, name, strlen(name)));
        }
        *field = i;
    }
    return *field >= 0 ? AD_OK : unknown_name(c, layout, name);
}

static ad_status find_column(const csv *c, const csv_layout *layout, int64_t i, int64_t *field) {
    if (c->options->columns != NULL) return find_name(c, layout, c->options->columns[i], field);
    *field = c->options->column_numbers[i];
    if (*field >= 0 && *field < layout->fields) return AD_OK;
    return ad_fail(c->error, AD_EARG, "%s: column %lld was asked for, the file has columns 0 to %lld", c->path,
                   (long long)*field, (long long)layout->fields - 1);
}

static ad_status check_choice(const csv *c, const csv_layout *layout) {
    const data_csv_options *o = c->options;
    if (o->n_columns > layout->fields) {
        return ad_fail(c->error, AD_EARG, "%s: %lld columns were asked for, the file has %lld", c->path,
                       (long long)o->n_columns, (long long)layout->fields);
    }
    if (o->n_columns > 0 && o->columns != NULL && layout->names == NULL) {
        return ad_fail(c->error, AD_EARG, "%s: columns were asked for by name, but the file has no header", c->path);
    }
    return AD_OK;
}

// names of the file's fields become those of the table's columns.
static ad_status choose_names(const csv *c, csv_layout *layout) {
    char *text;
    const char **chosen = data_csv_new_names(layout->columns, layout->names_size, &text);
    if (chosen == NULL) return ad_fail(c->error, AD_ENOMEM, "%s: out of memory for the column names", c->path);
    const char *start = text;
    for (int64_t i = 0; i < layout->fields; i++) {
        if (layout->place[i] < 0) continue;
        chosen[layout->place[i]] = text;
        text = stpcpy(text, layout->names[i]) + 1;
    }
    free((void *)(uintptr_t)layout->names);
    layout->names = chosen;
    layout->names_size = (size_t)(text - start);
    return AD_OK;
}

ad_status data_csv_choose_columns(const csv *c, csv_layout *layout) {
    int64_t n = c->options->n_columns, field;
    ad_status status = check_choice(c, layout);
    if (status != AD_OK || n == 0) return status;
    layout->place = malloc((size_t)layout->fields * sizeof *layout->place);
    if (layout->place == NULL) return ad_fail(c->error, AD_ENOMEM, "%s: out of memory for columns", c->path);
    for (int64_t i = 0; i < layout->fields; i++) layout->place[i] = -1;
    for (int64_t i = 0; i < n; i++) {
        status = find_column(c, layout, i, &field);
        if (status != AD_OK) return status;
        if (layout->place[field] >= 0) {
            return ad_fail(c->error, AD_EARG, "%s: column %lld was asked for twice (number %lld in the file, from 0)",
                           c->path, (long long)i, (long long)field);
        }
        layout->place[field] = (int32_t)i;
    }
    layout->columns = n;
    return layout->names == NULL ? AD_OK : choose_names(c, layout);
}
