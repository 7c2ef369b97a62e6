// csv_header.c -- the first row of a text table: its separator, and whether it holds names.
#include <stdlib.h>
#include <string.h>

#include "csv.h"

// Tab before semicolon before comma: a comma may be a decimal one, and must then be complained about as such. Blanks
// part fields where there is none of them.
static char find_separator(const csv *c) {
    char found = '\0';
    bool inside = false, some = false, blank = false;
    for (const char *p = c->at; p < c->end && (inside || *p != '\n'); p++) {
        if (*p == '"') inside = !inside;
        if (inside) continue;
        if (*p == '\t') return '\t';
        if (*p == ';') found = ';';
        if (*p == ',' && found != ';') found = ',';
        bool is_blank = *p == ' ' || *p == '\r';
        if (!is_blank && some && blank && found == '\0') found = ' ';
        blank = is_blank;
        some = some || !is_blank;
    }
    return found == '\0' ? ',' : found;
}

typedef struct first_row {
    int64_t fields, named;   // named: neither numbers nor missing
    size_t text;             // bytes that all names need
    csv_field name, number;  // the first of each kind
} first_row;

static ad_status read_first_row(csv c, first_row *first) {
    csv_field f;
    double value;
    memset(first, 0, sizeof *first);
    do {
        ad_status status = data_csv_next_field(&c, &f);
        if (status != AD_OK) return status;
        if (data_parse_number(f.text, f.size, &value) != DATA_NOT_A_NUMBER) {
            if (first->number.text == NULL) first->number = f;
        } else if (!data_csv_is_missing(&c, &f) && first->named++ == 0) {
            first->name = f;
        }
        first->fields++;
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

static char *unquote(char *out, const csv_field *f) {
    for (size_t i = 0; i < f->size; i++) {
        *out++ = f->text[i];
        if (f->quoted && f->text[i] == '"') i++;
    }
    *out++ = '\0';
    return out;
}

const char **data_csv_new_names(int64_t n, size_t text_size, char **text) {
    const char **names = malloc((size_t)n * sizeof *names + text_size);
    if (names != NULL) *text = (char *)(names + n);
    return names;
}

// Moves past the header.
static ad_status read_names(csv *c, const first_row *first, csv_layout *layout) {
    char *text, *start;
    const char **names = data_csv_new_names(first->fields, first->text, &text);
    if (names == NULL) return ad_fail(c->error, AD_ENOMEM, "%s: out of memory for the column names", c->path);
    start = text;
    layout->names = names;
    for (int64_t i = 0; i < first->fields; i++) {
        csv_field f;
        ad_status status = data_csv_next_field(c, &f);
        if (status != AD_OK) return status;
        if (memchr(f.text, '\0', f.size) != NULL) {
            return data_csv_fail(c, f.line, f.column, "a byte of value 0 in a column's name");
        }
        names[i] = text;
        text = unquote(text, &f);
    }
    layout->names_size = (size_t)(text - start);
    return AD_OK;
}

ad_status data_csv_read_header(csv *c, csv_layout *layout) {
    first_row first;
    int wanted = c->options->header;
    c->separator = c->options->separator != 0 ? c->options->separator : find_separator(c);
    ad_status status = read_first_row(*c, &first);
    if (status != AD_OK) return status;
    layout->fields = layout->columns = first.fields;
    if (wanted == 0 && first.named > 0 && first.number.text != NULL) return mixed_first_row(c, &first);
    return wanted > 0 || (wanted == 0 && first.named > 0) ? read_names(c, &first, layout) : AD_OK;
}

void data_csv_free_layout(csv_layout *layout) {
    free(layout->place);
    free((void *)(uintptr_t)layout->names);
}
