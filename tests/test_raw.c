// test_raw.c -- files of elements alone, and CIFAR's records.
#include <zlib.h>

#include "damage.h"

// ---- a stated shape -------------------------------------------------------------------------------------------------

static void reads_rows_of_a_shape_from_an_offset(void **state) {
    (void)state;
    const unsigned char bytes[] = {9, 9, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    const data_raw raw = {.type = DATA_I16, .shape = ad_shape2(1, 2), .offset = 3, .big_endian = true};
    data_table *table = data_read_raw(files_write("a.bin", bytes, sizeof bytes), &raw, NULL);
    assert_non_null(table);
    assert_true(table->rows == 3 && table->columns == 2 && table->shape.rank == 2);
    assert_true(data_get(table, 0, 0) == 0x0102 && data_get(table, 2, 1) == 0x0b0c);
    assert_null(data_values(table));  // mapped
    data_table_free(table);
    data_raw little = raw;
    little.big_endian = false, little.rows = 3;
    table = data_read_raw(files_path("a.bin"), &little, NULL);
    assert_true(data_get(table, 0, 0) == 0x0201 && data_get(table, 2, 1) == 0x0c0b);
    data_table_free(table);
}

static void misaligned_reals_are_made_fit_for_a_tape(void **state) {
    (void)state;
    double values[3] = {0, 2.5, 3.5};
    const data_raw raw = {.type = DATA_F64, .offset = 4, .rows = 2};
    memmove((char *)values + 4, values + 1, 16);
    data_table *table = data_read_raw(files_write("a.bin", values, 20), &raw, NULL);
    assert_true(table->rows == 2 && data_in_place(table) && data_get(table, 1, 0) == 3.5);
    data_table_free(table);
}

static void reads_compressed_rows(void **state) {
    (void)state;
    enum { SIZE = 300000 };
    unsigned char *bytes = malloc(SIZE);
    uint64_t seed = 1;
    for (int i = 0; i < SIZE; i++) bytes[i] = (unsigned char)util_uniform(&seed, 0, 9);
    gzFile file = gzopen(files_path("a.u8.gz"), "wb");
    assert_int_equal(gzwrite(file, bytes, SIZE), SIZE);
    gzclose(file);
    const data_raw raw = {.type = DATA_U8, .shape = ad_shape2(10, 3)}, offset = {DATA_U8, ad_shape1(10), 0, 20, false};
    data_table *table = data_read_raw(files_path("a.u8.gz"), &raw, NULL);
    assert_true(table->rows == 10000 && table->columns == 30);
    for (int i = 0; i < SIZE; i++) assert_true(data_get(table, i / 30, i % 30) == bytes[i]);
    data_table_free(table);
    table = data_read_raw(files_path("a.u8.gz"), &offset, NULL);
    assert_true(table->rows == 29998 && data_get(table, 0, 0) == bytes[20]);
    data_table_free(table);
    free(bytes);
}

static void refuses_what_does_not_fit(void **state) {
    (void)state;
    const struct {
        data_raw raw;
        ad_status status;
        const char *message;
    } cases[] = {
        {{.type = DATA_U8, .shape = ad_shape1(5)}, AD_EFORMAT, "12 bytes from offset 0 on, expected whole rows of 5"},
        {{.type = DATA_F64}, AD_EFORMAT, "expected whole rows of 8 bytes"},
        {{.type = DATA_U8, .rows = 11}, AD_EFORMAT, "shape (11,) and type u1, but 12 bytes of elements follow"},
        {{.type = DATA_U8, .rows = 13}, AD_EFORMAT, "shape (13,) and type u1, but 12 bytes of elements follow"},
        {{.type = DATA_U8, .offset = 12}, AD_EFORMAT, "0 bytes from offset 12 on"},
        {{.type = DATA_U8, .offset = 13}, AD_EFORMAT, "0 bytes from offset 13 on"},
        {{.type = DATA_U8, .offset = UINT64_MAX}, AD_EARG, "raw data needs"},
        {{.type = DATA_U8, .rows = -1}, AD_EARG, "raw data needs"},
        {{.type = DATA_TYPES}, AD_EARG, "raw data needs"},
        {{.type = DATA_U8, .shape = ad_shape1(0)}, AD_EARG, "no size below 1"},
        {{.type = DATA_U8, .shape = {.rank = 7}}, AD_EARG, "raw data needs"},
        {{.type = DATA_U8, .shape = ad_shape4(INT32_MAX, INT32_MAX, INT32_MAX, 9)}, AD_EFORMAT, "expected whole rows"},
        {{.type = DATA_U8, .rows = 2, .shape = ad_shape4(INT32_MAX, INT32_MAX, INT32_MAX, 9)},
         AD_EFORMAT,
         "more than a table can have"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ad_error error = {AD_OK, ""};
        assert_null(data_read_raw(files_write("a.bin", "twelve bytes", 12), &cases[i].raw, &error));
        assert_int_equal(error.status, cases[i].status);
        util_assert_contains(error.message, cases[i].message);
        util_assert_contains(error.message, "a.bin: ");
    }
}

static data_table *read_pairs(const char *path, ad_error *error) {
    const data_raw raw = {.type = DATA_U16, .shape = ad_shape1(2)};
    return data_read_raw(path, &raw, error);
}

static data_table *read_three_pairs(const char *path, ad_error *error) {
    const data_raw raw = {.type = DATA_U16, .shape = ad_shape1(2), .rows = 3};
    return data_read_raw(path, &raw, error);
}

// There is nothing but elements: each bit is one of them, and only a length of whole rows makes a table.
static void every_damage_is_safe(void **state) {
    (void)state;
    const unsigned char *bytes = (const unsigned char *)"twelve bytes";
    damage d = damage_all("a.bin", bytes, 12, read_pairs), fixed = damage_all("a.bin", bytes, 12, read_three_pairs);
    assert_int_equal(d.cut, 2);
    assert_int_equal(fixed.cut, 0);
    assert_true(d.changed == 96 && fixed.changed == 96);
}

static void every_damage_of_a_compressed_file_is_found(void **state) {
    (void)state;
    gzFile file = gzopen(files_path("whole.gz"), "wb");
    assert_int_equal(gzwrite(file, "twelve bytes", 12), 12);
    gzclose(file);
    size_t size;
    unsigned char *bytes = files_read(files_path("whole.gz"), &size);
    damage d = damage_all("a.gz", bytes, size, read_pairs);
    assert_int_equal(d.cut, 0);
    assert_int_equal(d.changed, 0);
    free(bytes);
}

// ---- CIFAR ----------------------------------------------------------------------------------------------------------

enum { IMAGE = 3072 };

// n records; the label of record r is r, its fine label 2 r, and pixel p of its image p + 3 r.
static const char *write_cifar(const char *name, int labels, int n) {
    static unsigned char bytes[40 * (IMAGE + 2)];
    unsigned char *at = bytes;
    for (int r = 0; r < n; r++) {
        for (int k = 0; k < labels; k++) *at++ = (unsigned char)(r * (k + 1));
        for (int p = 0; p < IMAGE; p++) *at++ = (unsigned char)(p + 3 * r);
    }
    return files_write(name, bytes, (size_t)(at - bytes));
}

static void check_cifar(const data_table *images, const data_table *labels, int n, int kinds) {
    assert_true(images->type == DATA_U8 && images->rows == n && images->columns == IMAGE && images->shape.rank == 3);
    assert_true(labels->rows == n && labels->columns == kinds);
    for (int r = 0; r < n; r++) {
        for (int k = 0; k < kinds; k++) assert_true(data_get(labels, r, k) == r % 10 * (k + 1));
        for (int p = 0; p < IMAGE; p += 101) assert_true(data_get(images, r, p) == (unsigned char)(p + 3 * (r % 10)));
    }
}

static void reads_cifar_10_in_place(void **state) {
    (void)state;
    const char *path = write_cifar("a.bin", 1, 10);
    data_table *labels, *images = data_read_cifar(&path, 1, &labels, NULL);
    assert_non_null(images);
    check_cifar(images, labels, 10, 1);
    assert_null(data_values(images));
    assert_string_equal(labels->names[0], "class");
    float batch[2 * IMAGE];
    const int64_t rows[] = {9, 1};
    assert_int_equal(data_gather(images, rows, 2, 0, IMAGE, AD_F32, batch, NULL), AD_OK);
    assert_true(batch[0] == 27 && batch[IMAGE + 5] == 8);
    data_table_free(images);
    data_table_free(labels);
}

static void reads_cifar_100_with_two_labels(void **state) {
    (void)state;
    const char *path = write_cifar("a.bin", 2, 10);
    data_table *labels, *images = data_read_cifar(&path, 1, &labels, NULL);
    check_cifar(images, labels, 10, 2);
    assert_string_equal(labels->names[1], "fine");
    data_table_free(images);
    data_table_free(labels);
}

static void reads_several_files_one_after_the_other(void **state) {
    (void)state;
    char first[500], second[500];
    strcpy(first, write_cifar("a.bin", 1, 10));
    strcpy(second, write_cifar("b.bin", 1, 7));
    const char *paths[] = {first, second};
    data_table *labels, *images = data_read_cifar(paths, 2, &labels, NULL);
    check_cifar(images, labels, 17, 1);
    data_table_free(images);
    data_table_free(labels);
}

static void is_told_from_other_files_by_size_and_labels(void **state) {
    (void)state;
    data_table *table = data_read(write_cifar("a.bin", 2, 3), NULL);
    assert_non_null(table);
    assert_true(table->rows == 3 && table->shape.rank == 3);
    data_table_free(table);
    ad_error error;
    assert_null(data_read(files_write("a.bin", "12345", 5), &error));
    util_assert_contains(error.message, "a.bin: not a kind of file that is known");
}

static void refuses_other_sizes_labels_and_mixtures(void **state) {
    (void)state;
    ad_error error;
    const char *path = files_write("a.bin", "12345", 5);
    data_table *labels;
    assert_null(data_read_cifar(&path, 1, &labels, &error));
    util_assert_contains(error.message, "a.bin: 5 bytes, expected records of 3073 (CIFAR-10) or 3074 (CIFAR-100)");
    assert_null(labels);
    path = write_cifar("a.bin", 1, 11);
    assert_null(data_read_cifar(&path, 1, NULL, &error));
    util_assert_contains(error.message, "a.bin: byte 30730: label 10 of image 10, expected less than 10 (CIFAR-10)");
    char first[500], second[500];
    strcpy(first, write_cifar("a.bin", 1, 3));
    strcpy(second, write_cifar("b.bin", 2, 3));
    const char *paths[] = {first, second};
    assert_null(data_read_cifar(paths, 2, NULL, &error));
    util_assert_contains(error.message, "b.bin: a file of CIFAR-100, expected CIFAR-10 as in ");
    assert_null(data_read_cifar(paths, 0, NULL, &error));
    util_assert_contains(error.message, "no files of CIFAR given");
}

static data_table *read_cifar(const char *path, ad_error *error) {
    return data_read_cifar(&path, 1, NULL, error);
}

// Of an image of label 0: pixels, and a label that becomes 1, 2, 4 or 8.
static void every_damage_of_cifar_is_safe(void **state) {
    (void)state;
    size_t size;
    unsigned char *bytes = files_read(write_cifar("whole.bin", 1, 1), &size);
    damage d = damage_all("a.bin", bytes, size, read_cifar);
    assert_int_equal(d.cut, 0);
    assert_int_equal(d.changed, 8 * IMAGE);
    assert_int_equal(d.flipped, 8 * IMAGE + 4);
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_rows_of_a_shape_from_an_offset),
        cmocka_unit_test(misaligned_reals_are_made_fit_for_a_tape),
        cmocka_unit_test(reads_compressed_rows),
        cmocka_unit_test(refuses_what_does_not_fit),
        cmocka_unit_test(every_damage_is_safe),
        cmocka_unit_test(every_damage_of_a_compressed_file_is_found),
        cmocka_unit_test(reads_cifar_10_in_place),
        cmocka_unit_test(reads_cifar_100_with_two_labels),
        cmocka_unit_test(reads_several_files_one_after_the_other),
        cmocka_unit_test(is_told_from_other_files_by_size_and_labels),
        cmocka_unit_test(refuses_other_sizes_labels_and_mixtures),
        cmocka_unit_test(every_damage_of_cifar_is_safe),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
