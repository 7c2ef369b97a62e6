// read.c -- reads a table in whichever format the file has.
#include <string.h>

#include "internal.h"

// In either case; strcasecmp would ask the locale.
static bool ends_with(const char *path, const char *ending) {
    size_t n = strlen(path), m = strlen(ending);
    if (n <= m) return false;
    for (size_t i = 0; i < m; i++) {
        char c = path[n - m + i];
        if (c >= 'A' && c <= 'Z') c = (char)(c + 'a' - 'A');
        if (c != ending[i]) return false;
    }
    return true;
}

data_table *data_read(const char *path, ad_error *error) {
    data_map map;
    if (data_map_file(path, &map, error) != AD_OK) return NULL;
    bool npy = map.size >= 6 && memcmp(map.bytes, "\x93NUMPY", 6) == 0;
    data_unmap(&map);
    if (npy || ends_with(path, ".npy")) return data_read_npy(path, error);
    if (ends_with(path, ".csv") || ends_with(path, ".tsv")) return data_read_csv(path, NULL, error);
    ad_fail(error, AD_EFORMAT, "%s: not a kind of file that is known: expected .npy, .csv or .tsv", path);
    return NULL;
}
