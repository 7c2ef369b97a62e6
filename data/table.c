// table.c -- tables of numbers: memory, elements, rows for the tape, finiteness.
#include <math.h>
#include <stdlib.h>

#include "internal.h"

size_t data_table_bytes(ad_type type, int64_t rows, int64_t columns) {
    uint64_t count, bytes;
    if (rows < 1 || columns < 1 || !data_mul((uint64_t)rows, (uint64_t)columns, &count)) return 0;
    if (!data_mul(count, ad_type_size(type), &bytes) || bytes > SIZE_MAX / 2 || bytes > INT64_MAX) return 0;
    return (size_t)bytes;
}

data_table *data_table_bare(ad_type type, int64_t rows, int64_t columns, ad_error *error) {
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
    table->storage = storage;
    return table;
}

data_table *data_table_new(ad_type type, int64_t rows, int64_t columns, ad_error *error) {
    if ((type != AD_F32 && type != AD_F64) || rows < 1 || columns < 1) {
        ad_fail(error, AD_EARG, "a table needs type AD_F32 or AD_F64, and at least one row and column: got %lld x %lld",
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

double data_get(const data_table *table, int64_t row, int64_t column) {
    if (row < 0 || row >= table->rows || column < 0 || column >= table->columns) return NAN;
    int64_t i = row * table->columns + column;
    return table->type == AD_F32 ? (double)((const float *)table->values)[i] : ((const double *)table->values)[i];
}

ad_source data_source(const data_table *table, int64_t first_column, const int64_t *index) {
    size_t size = ad_type_size(table->type);
    ad_source source = {
        .data = (const char *)table->values + (size_t)first_column * size,
        .type = table->type,
        .count = table->rows,
        .row_stride = (size_t)table->columns * size,
        .index = index,
    };
    return source;
}

ad_status data_check_finite(const data_table *table, ad_error *error) {
    for (int64_t row = 0; row < table->rows; row++) {
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
