// test_idx.c -- IDX arrays: every type, compressed by gzip or not, and hostile ones.
#include <zlib.h>

#include "damage.h"

// A file of one axis per dimension given, and n bytes counting from 1.
static size_t make(unsigned char *out, unsigned char type, int rank, const uint32_t *dim, size_t n) {
    size_t size = 0;
    out[size++] = 0, out[size++] = 0, out[size++] = type, out[size++] = (unsigned char)rank;
    for (int k = 0; k < rank; k++) {
        for (int shift = 24; shift >= 0; shift -= 8) out[size++] = (unsigned char)(dim[k] >> shift);
    }
    for (size_t i = 0; i < n; i++) out[size++] = (unsigned char)(i + 1);
    return size;
}

static const char *write_gz(const char *name, const void *bytes, size_t size) {
    const char *path = files_path(name);
    gzFile file = gzopen(path, "wb9");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, bytes, (unsigned)size), size);
    assert_int_equal(gzclose(file), Z_OK);
    return path;
}

static void reads_every_type_big_endian(void **state) {
    (void)state;
    static const struct {
        unsigned char code;
        data_type type;
        double first;  // of the bytes 1, 2, 3, ...
    } cases[] = {
        {0x08, DATA_U8, 1},
        {0x09, DATA_I8, 1},
        {0x0b, DATA_I16, 0x0102},
        {0x0c, DATA_I32, 0x01020304},
        {0x0d, DATA_F32, 0x1.040608p-125},
        {0x0e, DATA_F64, 0x1.2030405060708p-1007},
    };
    const uint32_t dim[] = {3, 2};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned char bytes[100];
        size_t size = make(bytes, cases[i].code, 2, dim, 6 * data_type_size(cases[i].type));
        for (int compressed = 0; compressed < 2; compressed++) {
            const char *path = compressed ? write_gz("a.gz", bytes, size) : files_write("a", bytes, size);
            ad_error error;
            data_table *table = data_read(path, &error);
            if (table == NULL) fail_msg("%s", error.message);
            assert_true(table->type == cases[i].type && table->rows == 3 && table->columns == 2);
            assert_true(data_get(table, 0, 0) == cases[i].first);
            // What a tape can take is made so that it can.
            bool real = table->type == DATA_F32 || table->type == DATA_F64;
            assert_int_equal(data_in_place(table), real);
            data_table_free(table);
        }
    }
}

static void reads_images_and_labels(void **state) {
    (void)state;
    const char *path = files_fixture("u1-idx3-ubyte.gz");
    if (path == NULL) skip();
    data_table *images = data_read(path, NULL);
    assert_non_null(images);
    assert_true(images->rows == 3 && images->shape.rank == 2 && images->shape.dim[0] == 2);
    for (int i = 0; i < 12; i++) assert_true(data_get(images, i / 4, i % 4) == i);
    data_table_free(images);
    unsigned char bytes[20];
    const uint32_t n = 5;
    data_table *labels = data_read_idx(files_write("a", bytes, make(bytes, 8, 1, &n, 5)), NULL);
    assert_true(labels->rows == 5 && labels->columns == 1 && labels->shape.rank == 0);
    assert_null(data_values(labels));  // mapped
    data_table_free(labels);
}

static void refuses_bad_headers(void **state) {
    (void)state;
    static const struct {
        unsigned char bytes[24];
        size_t size;
        const char *message;
    } cases[] = {
        {{0, 0, 8}, 3, "it does not start with two bytes of zero"},
        {{0, 1, 8, 1, 0, 0, 0, 1, 0}, 9, "it does not start with two bytes of zero"},
        {{0, 0, 0x0a, 1, 0, 0, 0, 1, 0}, 9, "byte 2: IDX type 0x0a, expected 0x08"},
        {{0, 0, 0xff, 1, 0, 0, 0, 1, 0}, 9, "byte 2: IDX type 0xff, expected 0x08"},
        {{0, 0, 8, 0, 0, 0, 0, 1, 0}, 9, "byte 3: an array of 0 dimensions, expected 1 to 7"},
        {{0, 0, 8, 255, 0, 0, 0, 1, 0}, 9, "byte 3: an array of 255 dimensions, expected 1 to 7"},
        {{0, 0, 8, 3, 0, 0, 0, 1, 0}, 9, "IDX header of 16 bytes, and the file has 9"},
        {{0, 0, 8, 1, 0, 0, 0, 0}, 8, "an array of shape (0,) has no elements"},
        {{0, 0, 8, 1, 0, 0, 0, 2, 1}, 9, "shape (2,) and type u1, but 1 bytes of elements follow at offset 8"},
        {{0, 0, 8, 1, 0, 0, 0, 1, 1, 1}, 10, "shape (1,) and type u1, but 2 bytes of elements follow at offset 8"},
        {{0, 0, 8, 2, 0, 0, 0, 1, 255, 255, 255, 255, 1}, 13, "more than a table can have"},
        {{0, 0, 0x0e, 4, 127, 255, 255, 255, 0, 0, 255, 255, 0, 0, 255, 255, 0, 0, 255, 255}, 20, "more than a table"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ad_error error = {AD_OK, ""};
        assert_null(data_read_idx(files_write("a", cases[i].bytes, cases[i].size), &error));
        assert_int_equal(error.status, AD_EFORMAT);
        util_assert_contains(error.message, cases[i].message);
        util_assert_contains(error.message, "/a: ");
    }
}

// What a header claims is compared with the compressed bytes before memory is asked for.
static void refuses_bombs(void **state) {
    (void)state;
    unsigned char bytes[24];
    const uint32_t huge[] = {4000000, 1000}, zeros[] = {20 << 20};
    ad_error error;
    assert_null(data_read_idx(write_gz("a.gz", bytes, make(bytes, 8, 2, huge, 0)), &error));
    util_assert_contains(error.message, "compressed bytes claim to hold 4000000000, expected at most 1000");
    // A header that tells the truth about 20 MiB of nothing.
    size_t header = make(bytes, 8, 1, zeros, 0), size = header + zeros[0];
    unsigned char *nothing = calloc(size, 1);
    memcpy(nothing, bytes, header);
    assert_null(data_read_idx(write_gz("b.gz", nothing, size), &error));
    util_assert_contains(error.message, "claim to hold 20971520, expected at most 1000");
    free(nothing);
}

static void refuses_compressed_files_of_other_length(void **state) {
    (void)state;
    unsigned char bytes[200];
    const uint32_t n = 100;
    ad_error error;
    size_t size = make(bytes, 8, 1, &n, 100);
    assert_null(data_read_idx(write_gz("a.gz", bytes, size - 1), &error));
    util_assert_contains(error.message, "a.gz: 99 bytes of elements, expected 100");
    assert_null(data_read_idx(write_gz("a.gz", bytes, size + 1), &error));
    util_assert_contains(error.message, "a.gz: more bytes after the 100 of the elements, expected the end");
    // Elements beyond the stretch that is read with the header.
    unsigned char *more = calloc(100000, 1);
    const uint32_t many = 70000;
    size = make(more, 8, 1, &many, 70000);
    assert_null(data_read_idx(write_gz("a.gz", more, size - 1), &error));
    util_assert_contains(error.message, "a.gz: 69999 bytes of elements, expected 70000");
    assert_null(data_read_idx(write_gz("a.gz", more, size + 1), &error));
    util_assert_contains(error.message, "a.gz: more bytes after the 70000 of the elements, expected the end");
    data_table *table = data_read_idx(write_gz("a.gz", more, size), &error);
    assert_non_null(table);
    assert_true(data_get(table, 69999, 0) == (double)(unsigned char)70000);
    data_table_free(table);
    free(more);
}

static void other_compressed_files_are_refused(void **state) {
    (void)state;
    ad_error error;
    assert_null(data_read(write_gz("a.gz", "hello", 5), &error));
    util_assert_contains(error.message, "a.gz: not a kind of file that is known");
    assert_null(data_read_idx(write_gz("a.gz", "hello", 5), &error));
    util_assert_contains(error.message, "a.gz: not an IDX file");
}

// Nothing tells a flipped bit of an element; the header has 16 bytes of 28.
static void every_damage_is_safe(void **state) {
    (void)state;
    unsigned char bytes[100];
    const uint32_t dim[] = {3, 2, 2};
    size_t size = make(bytes, 8, 3, dim, 12);
    damage d = damage_all("a", bytes, size, data_read_idx);
    assert_int_equal(d.cut, 0);
    // Elements, and the two bits that make bytes signed ones: of values below 128 only the type changes.
    assert_int_equal(d.changed, 96);
    assert_int_equal(d.flipped, 97);
}

// gzip's checksum tells every damage of what is in it; other bits of its header do not matter.
static void every_damage_of_a_compressed_file_is_found(void **state) {
    (void)state;
    const char *path = files_fixture("u1-idx3-ubyte.gz");
    if (path == NULL) skip();
    size_t size;
    unsigned char *bytes = files_read(path, &size);
    damage d = damage_all("a.gz", bytes, size, data_read_idx);
    assert_int_equal(d.cut, 0);
    assert_int_equal(d.changed, 0);
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_type_big_endian),
        cmocka_unit_test(reads_images_and_labels),
        cmocka_unit_test(refuses_bad_headers),
        cmocka_unit_test(refuses_bombs),
        cmocka_unit_test(refuses_compressed_files_of_other_length),
        cmocka_unit_test(other_compressed_files_are_refused),
        cmocka_unit_test(every_damage_is_safe),
        cmocka_unit_test(every_damage_of_a_compressed_file_is_found),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
