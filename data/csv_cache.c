// csv_cache.c -- the cache of a text table: its numbers in a file that is mapped, and proof that they are still right.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "csv.h"

enum { VERSION = 1, ORDER = 0x01020304, READ = 256 << 10, DIGEST = 16 };

typedef struct cache_header {
    char magic[16];
    uint32_t version, order;  // order: ORDER as the machine that wrote the file stores it
    uint64_t rows, columns, names_size;
    unsigned char key[DIGEST];     // of the text file's bytes and the options
    unsigned char digest[DIGEST];  // of this file behind its header, then of the header with this field zero
    unsigned char zeros[48];
} cache_header;

static const char magic[16] = "pullback cache\n";

static void hash_digest(const XXH3_state_t *state, unsigned char out[DIGEST]) {
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
    memcpy(out, canonical.digest, DIGEST);
}

// ---- what the cache depends on --------------------------------------------------------------------------------------

static void hash_text(XXH3_state_t *state, const char *text) {
    uint64_t size = text == NULL ? UINT64_MAX : strlen(text);
    XXH3_128bits_update(state, &size, sizeof size);
    if (text != NULL) XXH3_128bits_update(state, text, (size_t)size);
}

static void hash_options(XXH3_state_t *state, const data_csv_options *o, unsigned char out[DIGEST]) {
    int64_t numbers[5] = {o->separator, o->header, o->missing, o->n_columns, o->columns != NULL};
    XXH3_128bits_reset(state);
    XXH3_128bits_update(state, numbers, sizeof numbers);
    hash_text(state, o->missing_text);
    for (int64_t i = 0; i < o->n_columns; i++) {
        if (o->columns != NULL) hash_text(state, o->columns[i]);
        if (o->columns == NULL) XXH3_128bits_update(state, &o->column_numbers[i], sizeof(int64_t));
    }
    hash_digest(state, out);
}

// DIRECTORY/FILE.cache, with a part of the digest of the options unless they are the default ones.
static char *cache_path(const csv_cache *cache, const char *directory, bool plain) {
    const char *slash = strrchr(cache->source, '/'), *base = slash == NULL ? cache->source : slash + 1;
    size_t size = strlen(cache->source) + (directory == NULL ? 0 : strlen(directory)) + 32;
    char *path = malloc(size), part[16] = "";
    const unsigned char *d = cache->options;
    if (path == NULL) return NULL;
    if (!plain) snprintf(part, sizeof part, ".%02x%02x%02x%02x", d[0], d[1], d[2], d[3]);
    if (directory != NULL) {
        snprintf(path, size, "%s/%s%s.cache", directory, base, part);
    } else {
        snprintf(path, size, "%s%s.cache", cache->source, part);
    }
    return path;
}

ad_status data_csv_cache_init(csv_cache *cache, const char *path, const data_csv_options *options, ad_error *error) {
    static const data_csv_options defaults = {0};
    unsigned char plain[DIGEST];
    *cache = (csv_cache){.source = path, .always = options->cache == DATA_CACHE_ALWAYS};
    XXH3_state_t *state = cache->hash = XXH3_createState();
    if (state != NULL) {
        hash_options(state, &defaults, plain);
        hash_options(state, options, cache->options);
        cache->path = cache_path(cache, options->cache_dir, memcmp(plain, cache->options, DIGEST) == 0);
    }
    return cache->path != NULL ? AD_OK : ad_fail(error, AD_ENOMEM, "%s: out of memory for its cache", path);
}

void data_csv_cache_close(csv_cache *cache) {
    if (cache->open) data_writer_abandon(&cache->writer, AD_EIO);
    if (cache->hash != NULL) XXH3_freeState(cache->hash);
    free(cache->path);
}

// The key of a text file's digest and the options.
static void make_key(const csv_cache *cache, const unsigned char source[DIGEST], unsigned char out[DIGEST]) {
    unsigned char bytes[2 * DIGEST];
    XXH128_canonical_t canonical;
    memcpy(bytes, source, DIGEST);
    memcpy(bytes + DIGEST, cache->options, DIGEST);
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes, sizeof bytes));
    memcpy(out, canonical.digest, DIGEST);
}

// ---- reading --------------------------------------------------------------------------------------------------------

static bool hash_source(const csv_cache *cache, unsigned char out[DIGEST]) {
    uint64_t size;
    int fd = data_open(cache->source, &size, NULL);
    unsigned char *buffer = fd < 0 ? NULL : malloc(READ);
    bool ok = buffer != NULL;
    XXH3_128bits_reset(cache->hash);
    for (uint64_t at = 0; ok && at < size;) {
        size_t n = size - at < READ ? (size_t)(size - at) : READ;
        ok = data_read_at(fd, cache->source, buffer, n, at, NULL) == AD_OK;
        if (ok) XXH3_128bits_update(cache->hash, buffer, n);
        at += n;
    }
    if (ok) hash_digest(cache->hash, out);
    free(buffer);
    if (fd >= 0) close(fd);
    return ok;
}

// Whether the sizes in the header are those of the file.
static bool sizes_ok(const cache_header *h, size_t size) {
    uint64_t rest, values = 0;
    if (memcmp(h->magic, magic, sizeof magic) != 0 || h->version != VERSION || h->order != ORDER) return false;
    if (h->rows < 1 || h->rows > INT64_MAX || h->columns < 1 || h->columns > CSV_LONGEST_ROW + 1) return false;
    values = data_table_bytes(DATA_F64, (int64_t)h->rows, (int64_t)h->columns);
    return values > 0 && data_add(values, h->names_size, &rest) && rest == size - sizeof *h;
}

static bool digest_ok(const csv_cache *cache, const data_map *map) {
    cache_header h;
    unsigned char digest[DIGEST], said[DIGEST];
    memcpy(&h, map->bytes, sizeof h);
    memcpy(said, h.digest, DIGEST);
    memset(h.digest, 0, DIGEST);
    XXH3_128bits_reset(cache->hash);
    XXH3_128bits_update(cache->hash, map->bytes + sizeof h, map->size - sizeof h);
    XXH3_128bits_update(cache->hash, &h, sizeof h);
    hash_digest(cache->hash, digest);
    return memcmp(digest, said, DIGEST) == 0;
}

// Copies the names that stand behind the values; false when they are not one for each column.
static bool read_names(data_table *table, const cache_header *h, const unsigned char *from) {
    char *text;
    if (h->names_size == 0) return true;
    const char **names = data_csv_new_names(table->columns, (size_t)h->names_size, &text);
    if (names == NULL) return false;
    table->names = names;
    table->storage->extra = names;
    memcpy(text, from, (size_t)h->names_size);
    const char *end = text + h->names_size;
    for (int64_t i = 0; i < table->columns; i++) {
        char *zero = memchr(text, '\0', (size_t)(end - text));
        if (zero == NULL) return false;
        names[i] = text;
        text = zero + 1;
    }
    return text == end;
}

// The table in a file that holds the numbers of key. fresh: it was just written, so that what it holds is known.
static data_table *open_cache(const csv_cache *cache, const unsigned char *key, bool fresh, ad_error *error) {
    data_map map;
    cache_header h;
    unsigned char source[DIGEST], now[DIGEST];
    if (data_map_file(cache->path, &map, error) != AD_OK) return NULL;
    bool ok = map.size > sizeof h;
    if (ok) memcpy(&h, map.bytes, sizeof h);
    ok = ok && sizes_ok(&h, map.size);
    if (ok && !fresh) {
        ok = hash_source(cache, source);
        if (ok) make_key(cache, source, now);
        key = now;
    }
    ok = ok && memcmp(h.key, key, DIGEST) == 0 && (fresh || digest_ok(cache, &map));
    data_table *table = ok ? data_table_bare(DATA_F64, (int64_t)h.rows, (int64_t)h.columns, error) : NULL;
    if (table != NULL) {
        table->values = map.bytes + sizeof h;
        table->storage->map = map;
        if (read_names(table, &h, map.bytes + (map.size - (size_t)h.names_size))) return table;
        data_table_free(table);
    } else {
        data_unmap(&map);
    }
    return NULL;
}

data_table *data_csv_cache_find(const csv_cache *cache) {
    return open_cache(cache, NULL, false, NULL);
}

// ---- writing --------------------------------------------------------------------------------------------------------

static bool still_ok(csv_cache *cache) {
    cache->failed = cache->writer.status != AD_OK;
    return !cache->failed;
}

bool data_csv_cache_begin(csv_cache *cache) {
    const cache_header empty = {{0}, 0, 0, 0, 0, 0, {0}, {0}, {0}};
    XXH3_128bits_reset(cache->hash);
    data_writer_open(&cache->writer, cache->path, NULL);
    cache->open = true;
    data_writer_put(&cache->writer, &empty, sizeof empty);
    return still_ok(cache);
}

bool data_csv_cache_put(csv_cache *cache, const void *bytes, size_t size) {
    XXH3_128bits_update(cache->hash, bytes, size);
    data_writer_put(&cache->writer, bytes, size);
    return still_ok(cache);
}

data_table *data_csv_cache_finish(csv_cache *cache, const csv_sink *sink, const csv_layout *layout, const void *hash) {
    cache_header h = {.version = VERSION, .order = ORDER, .rows = (uint64_t)sink->rows};
    unsigned char source[DIGEST];
    memcpy(h.magic, magic, sizeof magic);
    h.columns = (uint64_t)sink->columns;
    h.names_size = layout->names == NULL ? 0 : layout->names_size;
    hash_digest(hash, source);
    make_key(cache, source, h.key);
    if (h.names_size > 0) data_csv_cache_put(cache, layout->names[0], layout->names_size);
    XXH3_128bits_update(cache->hash, &h, sizeof h);
    hash_digest(cache->hash, h.digest);
    data_writer_put_at(&cache->writer, &h, sizeof h, 0);
    data_writer_commit(&cache->writer);
    cache->open = false;
    data_table *table = still_ok(cache) ? open_cache(cache, h.key, true, NULL) : NULL;
    cache->failed = table == NULL;
    return table;
}
