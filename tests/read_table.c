// read_table.c -- reads a table and writes it as .npy, for test_read_data.py:
// read_table FILE OUT [ARRAY | ROWxROW...]: an array of a .npz, or the shape of raw bytes. What cannot be read:
// status 3.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data.h"

static data_table *read_bytes(const char *path, const char *shape, ad_error *error) {
    data_raw raw = {.type = DATA_U8};
    for (const char *at = shape; at != NULL && raw.shape.rank < AD_MAX_RANK; at = strchr(at, 'x')) {
        if (*at == 'x') at++;
        raw.shape.dim[raw.shape.rank++] = atoi(at);
    }
    return data_read_raw(path, &raw, error);
}

static bool ends_with(const char *text, const char *ending) {
    size_t n = strlen(text), m = strlen(ending);
    return n >= m && strcmp(text + n - m, ending) == 0;
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    ad_error error = {AD_OK, ""};
    data_table *table;
    if (argc == 3) {
        table = data_read(argv[1], &error);
    } else {
        table =
            ends_with(argv[1], ".npz") ? data_read_npz(argv[1], argv[3], &error) : read_bytes(argv[1], argv[3], &error);
    }
    if (table == NULL) {
        fprintf(stderr, "%s\n", error.message);
        return 3;
    }
    ad_status status = data_write_npy(argv[2], table, &error);
    if (status != AD_OK) fprintf(stderr, "%s\n", error.message);
    data_table_free(table);
    return status != AD_OK;
}
