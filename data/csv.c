// csv.c -- text tables: from options and a path to a table, through a cache where there is one.
#include <string.h>

#include "csv.h"

static ad_status check_options(const char *path, const data_csv_options *o, ad_error *error) {
    if (o->separator != 0 && strchr(",;\t| ", o->separator) == NULL) {
        return ad_fail(error, AD_EARG, "%s: separator '%c', expected ',', ';', '|', a tab or a blank", path,
                       o->separator);
    }
    bool either = (o->columns == NULL) != (o->column_numbers == NULL);
    if (o->n_columns < 0 || (o->n_columns > 0 && !either)) {
        return ad_fail(error, AD_EARG, "%s: n_columns is %lld: expected as many names or numbers, and not both", path,
                       (long long)o->n_columns);
    }
    bool known = o->missing >= DATA_MISSING_ERROR && o->missing <= DATA_MISSING_DROP && o->cache >= DATA_CACHE_LARGE &&
                 o->cache <= DATA_CACHE_ALWAYS;
    if (known) return AD_OK;
    return ad_fail(error, AD_EARG, "%s: missing is %d and cache %d: one is out of range", path, (int)o->missing,
                   (int)o->cache);
}

// Moves to the first row, past a byte-order mark.
static ad_status start(csv *c) {
    ad_status status = data_text_fill(&c->text);
    if (status != AD_OK) return status;
    c->at = c->text.at;
    c->end = c->text.end;
    size_t size = (size_t)(c->end - c->at);
    if (size >= 2 && (memcmp(c->at, "\xff\xfe", 2) == 0 || memcmp(c->at, "\xfe\xff", 2) == 0)) {
        return data_csv_fail(c, 1, 1, "the text is UTF-16, expected UTF-8");
    }
    if (size >= 3 && memcmp(c->at, "\xef\xbb\xbf", 3) == 0) c->at += 3;
    int more = data_csv_next_row(c);
    if (more == 0) return data_csv_fail(c, 1, 1, "the file has no rows");
    return more < 0 ? c->error->status : AD_OK;
}

static data_table *read_opened(csv *c, csv_cache *cache) {
    csv_layout layout = {0};
    csv_sink sink = {.path = c->path, .error = c->error};
    data_table *table = NULL;
    ad_status status = start(c);
    if (status == AD_OK) status = data_csv_read_header(c, &layout);
    if (status == AD_OK) status = data_csv_choose_columns(c, &layout);
    if (status == AD_OK) data_csv_sink_open(&sink, layout.columns, cache);
    if (status == AD_OK) status = data_csv_read_rows(c, &layout, &sink);
    if (status == AD_OK) table = data_csv_sink_table(&sink, &layout, c->text.hash);
    data_csv_sink_close(&sink);
    data_csv_free_layout(&layout);
    return table;
}

static data_table *read_text(const char *path, const data_csv_options *options, csv_cache *cache, ad_error *error) {
    csv c = {.path = path, .error = error, .options = options, .line = 1};
    data_table *table = NULL;
    ad_status status = data_text_open(&c.text, path, CSV_LONGEST_ROW + 2, error);
    if (status == AD_OK && cache != NULL) status = data_text_hash(&c.text);
    if (status == AD_OK) table = read_opened(&c, cache);
    data_text_close(&c.text);
    return table;
}

data_table *data_read_csv(const char *path, const data_csv_options *options, ad_error *error) {
    static const data_csv_options defaults = {0};
    ad_error own;
    csv_cache cache;
    if (error == NULL) error = &own;
    error->status = AD_OK;
    if (options == NULL) options = &defaults;
    if (check_options(path, options, error) != AD_OK) return NULL;
    if (options->cache == DATA_CACHE_NEVER || path == NULL) return read_text(path, options, NULL, error);
    data_table *table = NULL;
    if (data_csv_cache_init(&cache, path, options, error) == AD_OK) {
        table = data_csv_cache_find(&cache);
        if (table == NULL) table = read_text(path, options, &cache, error);
        if (table == NULL && cache.failed) table = read_text(path, options, NULL, error);
    }
    data_csv_cache_close(&cache);
    return table;
}
