// csv_sink.c -- where the rows of a text table go: memory, and from some size on a cache file.
#include <stdlib.h>
#include <unistd.h>

#include "csv.h"

// SMALL: doubles of the first block, and of the only one once the cache is written. HELD: doubles in memory before a
// cache is begun, unless one is wanted in any case.
enum { SMALL = 32 << 10, HELD = 8 << 20 };

ad_status data_csv_sink_open(csv_sink *sink, int64_t columns, csv_cache *cache) {
    *sink = (csv_sink){.path = sink->path, .error = sink->error, .cache = cache, .columns = columns};
    sink->most = cache == NULL ? SIZE_MAX : cache->always ? 0 : HELD;
    return AD_OK;
}

// Doubles that the machine's memory has room for, nearly.
static uint64_t doubles_in_machine(void) {
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages <= 0 || size <= 0 ? UINT64_MAX : (uint64_t)pages * (uint64_t)size / sizeof(double) / 8 * 7;
}

static bool resize(csv_sink *sink, size_t room) {
    bool fits = room <= SIZE_MAX / 2 / sizeof(double) && room <= doubles_in_machine();
    double *block = fits ? realloc(sink->block, room * sizeof(double)) : NULL;
    if (block == NULL) {
        ad_fail(sink->error, AD_ENOMEM,
                "%s: row %lld: the numbers up to here need more than this machine's memory, and no cache can be "
                "written beside the file: say where with cache_dir",
                sink->path, (long long)sink->rows + 1);
        return false;
    }
    sink->block = block;
    sink->room = room;
    return true;
}

static bool flush(csv_sink *sink) {
    if (!sink->writing && !data_csv_cache_begin(sink->cache)) return false;
    if (!data_csv_cache_put(sink->cache, sink->block, sink->used * sizeof(double))) return false;
    sink->used = 0;
    bool shrink = !sink->writing && sink->room > SMALL && sink->columns <= SMALL;
    sink->writing = true;
    return !shrink || resize(sink, SMALL);
}

double *data_csv_sink_row(csv_sink *sink) {
    size_t columns = (size_t)sink->columns;
    if (sink->room - sink->used < columns) {
        if (sink->used > 0 && sink->used + columns > sink->most && !flush(sink)) return NULL;
        size_t need = sink->used + columns, more = sink->room + sink->room / 2;
        if (need < SMALL) need = SMALL;
        if (more > sink->most) more = sink->most;
        if (sink->room < need && !resize(sink, more > need ? more : need)) return NULL;
    }
    return sink->block + sink->used;
}

data_table *data_csv_sink_table(csv_sink *sink, csv_layout *layout, const void *hash) {
    bool cached = sink->writing || (sink->cache != NULL && sink->most == 0);
    if (cached) return flush(sink) ? data_csv_cache_finish(sink->cache, sink, layout, hash) : NULL;
    data_table *table = data_table_bare(DATA_F64, sink->rows, sink->columns, sink->error);
    if (table == NULL) return NULL;
    double *exact = realloc(sink->block, sink->used * sizeof(double));
    table->values = table->storage->memory = exact != NULL ? exact : sink->block;
    sink->block = NULL;
    table->names = layout->names;
    table->storage->extra = (void *)(uintptr_t)layout->names;
    layout->names = NULL;
    return table;
}

void data_csv_sink_close(csv_sink *sink) {
    free(sink->block);
}
