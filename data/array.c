// array.c -- from what a file says of an array to a table: sizes checked, values in place where they can be.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

// "(60000, 28, 28)"
static const char *print_dims(const data_array *a, char out[200]) {
    int n = snprintf(out, 200, "(");
    for (int k = 0; k < a->rank; k++) {
        n += snprintf(out + n, 200 - (size_t)n, k == 0 ? "%llu" : ", %llu", (unsigned long long)a->dim[k]);
    }
    snprintf(out + n, 200 - (size_t)n, a->rank == 1 ? ",)" : ")");
    return out;
}

// Rows, columns and shape from the dimensions; false when they do not fit.
static bool set_shape(data_array *a) {
    uint64_t columns = 1;
    a->shape = ad_shape0();
    a->shape.rank = a->rank > 1 ? a->rank - 1 : 0;
    for (int k = 1; k < a->rank; k++) {
        if (a->dim[k] > INT32_MAX || !data_mul(columns, a->dim[k], &columns) || columns > INT32_MAX) return false;
        a->shape.dim[k - 1] = (int32_t)a->dim[k];
    }
    uint64_t rows = a->rank == 0 ? 1 : a->dim[0];
    a->rows = rows > INT64_MAX ? 0 : (int64_t)rows;
    a->columns = (int64_t)columns;
    a->bytes = data_table_bytes(a->type, a->rows, a->columns);
    return a->bytes != 0;
}

ad_status data_array_check(data_array *a, uint64_t size) {
    char dims[200];
    if (a->rank > AD_MAX_RANK + 1) {
        return ad_fail(a->error, AD_EFORMAT, "%s: an array of %d dimensions, expected at most %d", a->path, a->rank,
                       AD_MAX_RANK + 1);
    }
    for (int k = 0; k < a->rank; k++) {
        if (a->dim[k] != 0) continue;
        return ad_fail(a->error, AD_EFORMAT, "%s: an array of shape %s has no elements", a->path, print_dims(a, dims));
    }
    if (set_shape(a) && (size == DATA_UNKNOWN || (size >= a->offset && a->bytes == size - a->offset))) return AD_OK;
    if (size == DATA_UNKNOWN) {
        return ad_fail(a->error, AD_EFORMAT, "%s: an array of shape %s and type %s is more than a table can have",
                       a->path, print_dims(a, dims), data_type_name(a->type));
    }
    uint64_t left = size < a->offset ? 0 : size - a->offset;
    return ad_fail(a->error, AD_EFORMAT,
                   "%s: an array of shape %s and type %s%s, but %llu bytes of elements follow at offset %zu", a->path,
                   print_dims(a, dims), data_type_name(a->type), a->bytes == 0 ? ", more than a table can have" : "",
                   (unsigned long long)left, a->offset);
}

// Copies elements in Fortran order to C order. Element (i, j, k, ...) stands at i + dim[0] (j + dim[1] (k + ...)): the
// rows of each column are contiguous, so some columns at a time are read as parallel streams.
static void copy_to_c_order(const data_array *a, unsigned char *out, const unsigned char *in) {
    enum { TILE = 16 };
    size_t size = data_type_size(a->type), rows = (size_t)a->rows, columns = (size_t)a->columns, place[TILE];
    uint64_t index[AD_MAX_RANK + 1] = {0};
    for (size_t first = 0; first < columns; first += TILE) {
        size_t n = columns - first < TILE ? columns - first : TILE;
        for (size_t t = 0; t < n; t++) {
            place[t] = 0;
            for (int k = a->rank - 1; k > 0; k--) place[t] = place[t] * (size_t)a->dim[k] + (size_t)index[k];
            for (int k = a->rank - 1; k > 0 && ++index[k] == a->dim[k]; k--) index[k] = 0;
        }
        for (size_t i = 0; i < rows; i++) {
            unsigned char *to = out + (i * columns + first) * size;
            for (size_t t = 0; t < n; t++, to += size) memcpy(to, in + (place[t] * rows + i) * size, size);
        }
    }
}

// With at most one dimension above 1 the orders are the same.
static bool in_c_order(const data_array *a) {
    int wide = 0;
    for (int k = 0; k < a->rank; k++) wide += a->dim[k] > 1;
    return !a->fortran_order || wide < 2;
}

static data_table *bare(const data_array *a) {
    data_table *table = data_table_bare(a->type, a->rows, a->columns, a->error);
    if (table == NULL) return NULL;
    table->shape = a->shape;
    table->swapped = a->swapped && data_type_size(a->type) > 1;
    return table;
}

// f4 and f8 shall be readable by data_source, whatever the file does; the other types are gathered from anyway.
static bool may_stay(const data_array *a, const void *elements) {
    bool real = a->type == DATA_F32 || a->type == DATA_F64;
    return in_c_order(a) && (!real || (!a->swapped && (uintptr_t)elements % data_type_size(a->type) == 0));
}

static data_table *copied(const data_array *a, const unsigned char *elements) {
    data_table *table = data_table_new(a->type, a->rows, a->columns, a->error);
    if (table == NULL) return NULL;
    table->shape = a->shape;
    if (in_c_order(a)) {
        memcpy(data_values(table), elements, a->bytes);
    } else {
        copy_to_c_order(a, data_values(table), elements);
    }
    if (a->swapped) data_swap(a->type, data_values(table), (size_t)(a->rows * a->columns));
    return table;
}

data_table *data_array_map(const data_array *a, data_map *map) {
    const unsigned char *elements = map->bytes + a->offset;
    bool stays = may_stay(a, elements);
    data_table *table = stays ? bare(a) : copied(a, elements);
    if (table != NULL && stays) {
        table->values = elements;
        table->storage->map = *map;
        map->bytes = NULL;
    }
    data_unmap(map);
    return table;
}

data_table *data_array_own(const data_array *a, void *elements) {
    data_table *table = NULL;
    if (in_c_order(a)) {
        bool real = a->type == DATA_F32 || a->type == DATA_F64;
        table = bare(a);
        if (table != NULL && real && a->swapped) data_swap(a->type, elements, (size_t)(a->rows * a->columns));
        if (table != NULL && real) table->swapped = false;
        if (table != NULL) table->values = table->storage->memory = elements;
    } else {
        table = copied(a, elements);
    }
    if (table == NULL || table->values != elements) free(elements);
    return table;
}

data_table *data_read_array(const char *path, data_header header, ad_error *error) {
    data_map map;
    if (data_map_file(path, &map, error) != AD_OK) return NULL;
    data_array array = {.path = path, .error = error};
    data_table *table = NULL;
    if (!data_gz_magic(map.bytes, map.size)) {
        if (header(&array, map.bytes, map.size) == AD_OK && data_array_check(&array, map.size) == AD_OK) {
            table = data_array_map(&array, &map);
        }
        data_unmap(&map);
        return table;
    }
    data_unmap(&map);
    data_stream stream;
    if (data_gz_open(&stream, path, error) == AD_OK && header(&array, stream.head, stream.head_size) == AD_OK &&
        data_array_check(&array, DATA_UNKNOWN) == AD_OK) {
        table = data_stream_array(&stream, &array);
    }
    data_gz_close(&stream);
    return table;
}
