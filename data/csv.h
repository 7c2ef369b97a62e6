// csv.h -- what the files that read text tables share.
#ifndef PULLBACK_DATA_CSV_H
#define PULLBACK_DATA_CSV_H

#include "text.h"

enum { CSV_LONGEST_ROW = 1 << 20 };

typedef struct csv {
    data_text text;
    const char *path;
    ad_error *error;  // not NULL
    const data_csv_options *options;
    char separator;                // ' ': runs of blanks and tabs
    const char *at, *end;          // what is left of the window: all of a row, or more than a row may have
    const char *row, *line_start;  // where the row and the line begin
    int64_t line, row_line;        // of at and of row, from 1
} csv;

// ---- fields (csv_fields.c) ----

typedef struct csv_field {
    const char *text;  // without quotes and surrounding blanks; quotes inside are still doubled
    size_t size;
    bool quoted, last;     // last: of its row
    int64_t line, column;  // where it starts, from 1
} csv_field;

// What parts fields beside the separator, and may surround them.
static inline bool csv_is_blank(const csv *c, char x) {
    return x == ' ' || (x == '\t' && c->separator != '\t');
}
// Moves to the next row that is not empty: 1, or 0 at the end of the file, or -1 on failure.
int data_csv_next_row(csv *c);
// The next field of the row that at stands in; steps over the separator, or over the line end after the last field.
ad_status data_csv_next_field(csv *c, csv_field *field);
// Reads up to n fields that are plain numbers, and returns how many: it stops before a field of another kind, and
// behind the last one of the row.
int64_t data_csv_quick_fields(csv *c, double *values, int64_t n, bool *last);
bool data_csv_is_missing(const csv *c, const csv_field *field);
ad_status data_csv_fail(const csv *c, int64_t line, int64_t column, const char *what);

// ---- the first row and the choice of columns (csv_header.c, csv_columns.c) ----

// What the rows of numbers look like.
typedef struct csv_layout {
    int64_t fields;            // of a row of the file
    int64_t columns;           // of the table
    int32_t *place;            // [fields] which column a field becomes, or -1; NULL: each its own
    const char *const *names;  // [fields], and after data_csv_choose_columns [columns], in one block of memory; or NULL
    size_t names_size;         // bytes of the texts of names
} csv_layout;

// Reads the first row: finds the separator where it is not given, and moves past a header.
ad_status data_csv_read_header(csv *c, csv_layout *layout);
ad_status data_csv_choose_columns(const csv *c, csv_layout *layout);
void data_csv_free_layout(csv_layout *layout);
// Names in one block: pointers, then texts, names_size bytes of which text points to. NULL when out of memory.
const char **data_csv_new_names(int64_t n, size_t text_size, char **text);

// ---- where rows go: memory or a cache (csv_sink.c, csv_cache.c) ----

typedef struct csv_cache csv_cache;

typedef struct csv_sink {
    const char *path;
    ad_error *error;
    csv_cache *cache;  // NULL: memory only
    bool writing;      // the cache: block goes there when it is full
    int64_t columns, rows;
    double *block;
    size_t used, room, most;  // doubles; most: to be held in memory before the cache is begun
} csv_sink;

ad_status data_csv_sink_open(csv_sink *sink, int64_t columns, csv_cache *cache);
// Room for a row; NULL on failure. It is lost unless kept.
double *data_csv_sink_row(csv_sink *sink);
static inline void csv_sink_keep(csv_sink *sink) {
    sink->used += (size_t)sink->columns;
    sink->rows++;
}
// The table of all rows kept; takes the layout's names. NULL on failure.
data_table *data_csv_sink_table(csv_sink *sink, csv_layout *layout, const void *hash);
void data_csv_sink_close(csv_sink *sink);

ad_status data_csv_read_rows(csv *c, const csv_layout *layout, csv_sink *sink);

// A cache is <file>.cache: a header, the numbers as doubles, and the names of the columns, each ended by a 0 byte.
struct csv_cache {
    const char *source;         // the text file, borrowed
    char *path;                 // of the cache
    bool always;                // wanted for small files too
    unsigned char options[16];  // digest of those that change what is read
    bool failed;                // it could not be written: the file is to be read again, into memory
    bool open;                  // the writer
    data_writer writer;
    void *hash;  // of what was written
};

ad_status data_csv_cache_init(csv_cache *cache, const char *path, const data_csv_options *options, ad_error *error);
// The table in the cache, mapped; NULL when there is none that is whole and made from the file as it is now.
data_table *data_csv_cache_find(const csv_cache *cache);
bool data_csv_cache_begin(csv_cache *cache);
bool data_csv_cache_put(csv_cache *cache, const void *bytes, size_t size);
// Completes the file and maps it. hash: XXH3_state_t of the text file's bytes.
data_table *data_csv_cache_finish(csv_cache *cache, const csv_sink *sink, const csv_layout *layout, const void *hash);
void data_csv_cache_close(csv_cache *cache);

#endif
