// damage.h -- reads every truncation of a file, and the file with every single bit flipped.
#ifndef PULLBACK_TESTS_DAMAGE_H
#define PULLBACK_TESTS_DAMAGE_H

#include "files.h"

typedef data_table *(*damage_reader)(const char *path, ad_error *error);

// The sum of all values: reads each of them.
static inline double damage_sum(const data_table *table) {
    double sum = 0;
    for (int64_t i = 0; i < table->rows * table->columns; i++) {
        sum += data_get(table, i / table->columns, i % table->columns);
    }
    return sum;
}

// Whether the bytes are read as a table; an error must come with a message that names the file.
static inline bool damage_read(const char *name, const void *bytes, size_t size, damage_reader read, double *sum) {
    ad_error error = {AD_OK, ""};
    data_table *table = read(files_write(name, bytes, size), &error);
    if (table == NULL) {
        assert_int_not_equal(error.status, AD_OK);
        util_assert_contains(error.message, name);
        return false;
    }
    *sum = damage_sum(table);
    data_table_free(table);
    return true;
}

// How many of the damaged files were read, and how many of those with other values.
typedef struct damage {
    int cut, flipped, changed;
} damage;

static inline damage damage_all(const char *name, const unsigned char *bytes, size_t size, damage_reader read) {
    damage d = {0, 0, 0};
    double whole = 0, sum = 0;
    assert_true(damage_read(name, bytes, size, read, &whole));
    for (size_t n = 0; n < size; n++) d.cut += damage_read(name, bytes, n, read, &sum);
    unsigned char *copy = malloc(size);
    memcpy(copy, bytes, size);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        copy[bit / 8] ^= (unsigned char)(1 << bit % 8);
        if (damage_read(name, copy, size, read, &sum)) {
            d.flipped++;
            d.changed += sum != whole;
        }
        copy[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    free(copy);
    return d;
}

#endif
