// raw.c -- files of elements alone, whose shape the caller knows.
#include <stdlib.h>
#include <string.h>

#include "internal.h"

// Rows that size bytes hold from the offset on, all of which they must be.
static ad_status count_rows(data_array *a, const data_raw *raw, uint64_t size) {
    uint64_t row = data_type_size(a->type);
    for (int k = 0; k < raw->shape.rank; k++) {
        if (!data_mul(row, (uint64_t)raw->shape.dim[k], &row) || row > INT64_MAX) row = 0;
    }
    if (raw->rows != 0) return AD_OK;
    uint64_t left = size < raw->offset ? 0 : size - raw->offset;
    if (row == 0 || left == 0 || left % row != 0) {
        return ad_fail(a->error, AD_EFORMAT, "%s: %llu bytes from offset %llu on, expected whole rows of %llu bytes",
                       a->path, (unsigned long long)left, (unsigned long long)raw->offset, (unsigned long long)row);
    }
    a->dim[0] = left / row;
    return AD_OK;
}

static ad_status raw_array(data_array *a, const data_raw *raw, uint64_t size) {
    bool ok = data_type_ok(raw->type) && raw->rows >= 0 && raw->shape.rank >= 0 && raw->shape.rank <= AD_MAX_RANK;
    for (int k = 0; ok && k < raw->shape.rank; k++) ok = raw->shape.dim[k] > 0;
    if (!ok || raw->offset > SIZE_MAX / 2) {
        return ad_fail(a->error, AD_EARG, "%s: raw data needs a known type, an offset in the file, and no size below 1",
                       a->path);
    }
    a->type = raw->type;
    a->swapped = raw->big_endian == data_host_is_little_endian();
    a->offset = (size_t)raw->offset;
    a->rank = raw->shape.rank + 1;
    a->dim[0] = (uint64_t)raw->rows;
    for (int k = 0; k < raw->shape.rank; k++) a->dim[k + 1] = (uint64_t)raw->shape.dim[k];
    ad_status status = count_rows(a, raw, size);
    return status == AD_OK ? data_array_check(a, size) : status;
}

static data_table *read_compressed(data_array *a, const data_raw *raw) {
    data_stream stream;
    size_t size;
    unsigned char *bytes = NULL;
    if (data_gz_open(&stream, a->path, a->error) == AD_OK) bytes = data_stream_all(&stream, &size);
    data_gz_close(&stream);
    if (bytes == NULL) return NULL;
    if (raw_array(a, raw, size) != AD_OK) {
        free(bytes);
        return NULL;
    }
    memmove(bytes, bytes + a->offset, a->bytes);
    return data_array_own(a, bytes);
}

data_table *data_read_raw(const char *path, const data_raw *raw, ad_error *error) {
    data_map map;
    data_array array = {.path = path, .error = error};
    if (data_map_file(path, &map, error) != AD_OK) return NULL;
    data_table *table = NULL;
    // By the name, for raw bytes may start like anything.
    if (data_ends_with(path, ".gz")) {
        data_unmap(&map);
        return read_compressed(&array, raw);
    }
    if (raw_array(&array, raw, map.size) == AD_OK) table = data_array_map(&array, &map);
    data_unmap(&map);
    return table;
}
