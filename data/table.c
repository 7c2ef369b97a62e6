// table.c -- tables of numbers: memory, elements, rows for the tape, finiteness.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

size_t data_table_bytes(data_type type, int64_t rows, int64_t columns) {
    uint64_t count, bytes;
    if (rows < 1 || columns < 1 || !data_mul((uint64_t)rows, (uint64_t)columns, &count)) return 0;
    if (!data_mul(count, data_type_size(type), &bytes) || bytes > SIZE_MAX / 2 || bytes > INT64_MAX) return 0;
    return (size_t)bytes;
}

data_table *data_table_bare(data_type type, int64_t rows, int64_t columns, ad_error *error) {
    data_table *table = calloc(1, sizeof *table);
    data_storage *storage = calloc(1, sizeof *storage);
    if (table == NULL || storage == NULL) {
        free(table);
        free(storage);
        ad_fail(error, AD_ENOMEM, "out of memory for a table");
        return NULL;
    }
    table->type = type;
    table->rows = rows;
    table->columns = columns;
    table->shape = ad_shape1(columns);
    table->storage = storage;
    return table;
}

data_table *data_table_new(data_type type, int64_t rows, int64_t columns, ad_error *error) {
    if (!data_type_ok(type) || rows < 1 || columns < 1 || columns > INT32_MAX) {
        ad_fail(error, AD_EARG, "a table needs a known type, and at least one row and column: got %lld x %lld",
                (long long)rows, (long long)columns);
        return NULL;
    }
    size_t bytes = data_table_bytes(type, rows, columns);
    data_table *table = bytes == 0 ? NULL : data_table_bare(type, rows, columns, error);
    if (table != NULL) table->values = table->storage->memory = calloc(bytes, 1);
    if (table != NULL && table->values != NULL) return table;
    data_table_free(table);
    ad_fail(error, AD_ENOMEM, "out of memory for a table of %lld x %lld", (long long)rows, (long long)columns);
    return NULL;
}

void data_table_free(data_table *table) {
    if (table == NULL) return;
    if (table->storage != NULL) {
        free(table->storage->memory);
        free(table->storage->extra);
        data_unmap(&table->storage->map);
        free(table->storage);
    }
    free(table);
}

void *data_values(data_table *table) {
    return table->storage == NULL ? NULL : table->storage->memory;
}

size_t data_row_stride(const data_table *table) {
    return table->row_stride != 0 ? table->row_stride : (size_t)table->columns * data_type_size(table->type);
}

data_elements data_elements_at(const data_table *table, int64_t row, int64_t column) {
    const unsigned char *bytes = table->values;
    bytes += (size_t)row * data_row_stride(table) + (size_t)column * data_type_size(table->type);
    return (data_elements){bytes, table->type, table->swapped};
}

double data_get(const data_table *table, int64_t row, int64_t column) {
    double value = NAN;
    if (row < 0 || row >= table->rows || column < 0 || column >= table->columns) return value;
    data_elements element = data_elements_at(table, row, column);
    data_convert_elements(&element, 1, AD_F64, &value);
    return value;
}

bool data_in_place(const data_table *table) {
    size_t size = data_type_size(table->type);
    return (table->type == DATA_F32 || table->type == DATA_F64) && !table->swapped &&
           ((uintptr_t)table->values | data_row_stride(table)) % size == 0;
}

ad_source data_source(const data_table *table, int64_t first_column, const int64_t *index) {
    ad_source source = {.count = table->rows, .row_stride = data_row_stride(table), .index = index};
    if (!data_in_place(table)) return source;
    source.data = data_elements_at(table, 0, first_column).bytes;
    source.type = table->type == DATA_F32 ? AD_F32 : AD_F64;
    return source;
}

ad_status data_check_finite(const data_table *table, ad_error *error) {
    bool real = table->type == DATA_F16 || table->type == DATA_F32 || table->type == DATA_F64;
    for (int64_t row = 0; real && row < table->rows; row++) {
        for (int64_t column = 0; column < table->columns; column++) {
            double value = data_get(table, row, column);
            if (isfinite(value)) continue;
            const char *name = table->names == NULL ? "" : table->names[column];
            return ad_fail(error, AD_ENONFINITE, "row %lld, column %lld%s%s%s is %s, expected a finite number",
                           (long long)row + 1, (long long)column + 1, *name ? " (" : "", name, *name ? ")" : "",
                           isnan(value) ? "NaN" : "infinite");
        }
    }
    return AD_OK;
}
