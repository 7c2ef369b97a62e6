// test_npy.c -- numpy's arrays: files that numpy wrote, our own, and hostile ones.
#include "files.h"

// All of them hold 0.5, 1.5, ... 5.5 in C order.
static void check_fixture(const char *name, data_type type, int64_t rows, int64_t columns) {
    const char *path = files_fixture(name);
    if (path == NULL) skip();
    ad_error error;
    data_table *table = data_read(path, &error);
    if (table == NULL) fail_msg("%s", error.message);
    assert_int_equal(table->type, type);
    assert_int_equal(table->rows, rows);
    assert_int_equal(table->columns, columns);
    for (int64_t i = 0; i < 6; i++) assert_true(data_get(table, i / columns, i % columns) == (double)i + 0.5);
    data_table_free(table);
}

static void reads_c_order(void **state) {
    (void)state;
    check_fixture("f8_c.npy", DATA_F64, 3, 2);
}

static void reads_fortran_order(void **state) {
    (void)state;
    check_fixture("f4_fortran.npy", DATA_F32, 3, 2);
}

static void reads_big_endian(void **state) {
    (void)state;
    check_fixture("f8_big_endian.npy", DATA_F64, 3, 2);
}

static void reads_a_vector_as_a_column(void **state) {
    (void)state;
    check_fixture("f4_vector.npy", DATA_F32, 6, 1);
}

static void reads_versions_2_and_3(void **state) {
    (void)state;
    check_fixture("f8_version2.npy", DATA_F64, 3, 2);
    check_fixture("f8_version3.npy", DATA_F64, 3, 2);
}

// All of them hold 0, 1, 2, ... in C order, but for b1, which holds 0, 1, 0, 1, ...
static void reads_any_type_order_and_rank(void **state) {
    (void)state;
    static const struct {
        const char *name;
        data_type type;
    } cases[] = {{"u1_images.npy", DATA_U8}, {"i2_fortran_big_endian.npy", DATA_I16}, {"f2.npy", DATA_F16},
                 {"b1.npy", DATA_BOOL},      {"u8_big_endian.npy", DATA_U64},         {"f4_fortran_3d.npy", DATA_F32}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const char *path = files_fixture(cases[c].name);
        if (path == NULL) skip();
        ad_error error;
        data_table *table = data_read(path, &error);
        if (table == NULL) fail_msg("%s", error.message);
        assert_true(table->type == cases[c].type && table->rows == 2 && table->columns == 12);
        assert_true(table->shape.rank == 2 && table->shape.dim[0] == 3 && table->shape.dim[1] == 4);
        for (int i = 0; i < 24; i++) {
            double want = table->type == DATA_BOOL ? i % 2 : i;
            if (data_get(table, i / 12, i % 12) != want) fail_msg("%s: element %d", cases[c].name, i);
        }
        data_table_free(table);
    }
}

static void reads_integers(void **state) {
    (void)state;
    const char *path = files_fixture("i8.npy");
    if (path == NULL) skip();
    data_table *table = data_read(path, NULL);
    assert_non_null(table);
    assert_true(table->type == DATA_I64 && table->rows == 3 && table->columns == 2 && table->shape.rank == 1);
    for (int i = 0; i < 6; i++) assert_true(data_get(table, i / 2, i % 2) == i);
    data_table_free(table);
}

static void reads_a_scalar_as_one_row(void **state) {
    (void)state;
    const char *path = files_fixture("scalar.npy");
    if (path == NULL) skip();
    data_table *table = data_read(path, NULL);
    assert_non_null(table);
    assert_true(table->rows == 1 && table->columns == 1 && table->shape.rank == 0 && data_get(table, 0, 0) == 2.5);
    data_table_free(table);
}

static void c_order_is_mapped_not_copied(void **state) {
    (void)state;
    double x[4] = {1, 2, 3, 4};
    data_table view = {.type = DATA_F64, .rows = 2, .columns = 2, .values = x};
    char path[500];
    strcpy(path, files_path("a.npy"));
    assert_int_equal(data_write_npy(path, &view, NULL), AD_OK);
    data_table *table = data_read_npy(path, NULL);
    assert_non_null(table);
    assert_null(data_values(table));
    data_table_free(table);
}

static void written_files_come_back(void **state) {
    (void)state;
    for (int type = 0; type < 2; type++) {
        data_table *out = data_table_new((data_type)type, 123, 45, NULL);
        for (int i = 0; i < 123 * 45; i++) {
            if (type == DATA_F32) ((float *)data_values(out))[i] = (float)i / 7;
            if (type == DATA_F64) ((double *)data_values(out))[i] = i / 7.0;
        }
        char path[500];
        strcpy(path, files_path("a.npy"));
        assert_int_equal(data_write_npy(path, out, NULL), AD_OK);
        data_table *in = data_read(path, NULL);
        assert_non_null(in);
        assert_true(in->type == out->type && in->rows == out->rows && in->columns == out->columns);
        assert_memory_equal(in->values, out->values, 123 * 45 * data_type_size(in->type));
        data_table_free(in);
        data_table_free(out);
    }
}

// Every type, strided rows, either byte order, any shape.
static void every_table_comes_back(void **state) {
    (void)state;
    static uint64_t buffer[64];
    for (size_t i = 0; i < sizeof buffer; i++) ((unsigned char *)buffer)[i] = (unsigned char)(i * 7 % 61);
    for (int type = 0; type < DATA_TYPES; type++) {
        for (int form = 0; form < 4; form++) {
            data_table out = {.type = (data_type)type, .rows = 3, .columns = 4, .values = buffer, .swapped = form & 1};
            if (form & 2) out.row_stride = 40, out.shape = ad_shape2(2, 2);
            char path[500];
            strcpy(path, files_path("a.npy"));
            assert_int_equal(data_write_npy(path, &out, NULL), AD_OK);
            data_table *in = data_read(path, NULL);
            assert_non_null(in);
            assert_true(in->type == out.type && in->rows == 3 && in->columns == 4);
            assert_int_equal(in->shape.rank, form & 2 ? 2 : 1);
            for (int i = 0; i < 12; i++) {
                double a = data_get(in, i / 4, i % 4), b = data_get(&out, i / 4, i % 4);
                assert_true(a == b || (isnan(a) && isnan(b)));
            }
            data_table_free(in);
        }
    }
}

static void a_column_of_scalars_is_written_as_one_axis(void **state) {
    (void)state;
    double x[3] = {1, 2, 3};
    data_table scalars = {.type = DATA_F64, .rows = 3, .columns = 1, .values = x}, column = scalars;
    column.shape = ad_shape1(1);
    const data_table *tables[] = {&scalars, &column};
    for (int rank = 0; rank < 2; rank++) {
        assert_int_equal(data_write_npy(files_path("a.npy"), tables[rank], NULL), AD_OK);
        data_table *in = data_read_npy(files_path("a.npy"), NULL);
        assert_int_equal(in->shape.rank, rank);
        data_table_free(in);
    }
}

static void a_shape_of_other_size_is_not_written(void **state) {
    (void)state;
    double x[6] = {0};
    ad_error error;
    data_table view = {.type = DATA_F64, .rows = 1, .columns = 6, .shape = ad_shape2(2, 2), .values = x};
    assert_int_equal(data_write_npy(files_path("none.npy"), &view, &error), AD_EARG);
    util_assert_contains(error.message, "none.npy: the shape of a row has other than its 6 elements");
}

static void writing_an_empty_table_is_an_error(void **state) {
    (void)state;
    ad_error error;
    data_table view = {.type = DATA_F64};
    assert_int_equal(data_write_npy(files_path("none.npy"), &view, &error), AD_EARG);
    util_assert_contains(error.message, "none.npy: no values to write");
}

// ---- hostile files ----

// A version 1.0 file of this header and n bytes of 1.
static data_table *read_header(const char *header, size_t n, ad_error *error) {
    unsigned char bytes[1000] = "\x93NUMPY\1\0";
    size_t size = strlen(header);
    bytes[8] = (unsigned char)(size & 255);
    bytes[9] = (unsigned char)(size >> 8);
    memcpy(bytes + 10, header, size);
    memset(bytes + 10 + size, 1, n);
    return data_read_npy(files_write("a.npy", bytes, 10 + size + n), error);
}

static void refuses_bad_headers(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t n;
        const char *message;
    } cases[] = {
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (2, 2), }", 31,
         "but 31 bytes of elements follow at offset 69"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (2, 2), }", 33, "but 33 bytes of elements follow"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (2, 2)} x", 32, "expected nothing but blanks"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (), }", 7, "shape () and type f8, but 7 bytes"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1, 1, 1), }", 8,
         "an array of 8 dimensions"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (0, 2), }", 0, "shape (0, 2) has no elements"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (2, 0), }", 0, "shape (2, 0) has no elements"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2147483648), }", 8, "more than a table can have"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (9223372036854775808,), }", 8,
         "more than a table can have"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (18446744073709551616,), }", 8, "expected a size"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (4), }", 32, "expected ',' or ')' in shape"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", 32, "expected a size"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967297), }", 8,
         "more than a table can have"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (2305843009213693952, 8), }", 0,
         "more than a table can have"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999999,), }", 8, "expected a size"},
        {"{'descr': '<f8', 'fortran_order': 0, 'shape': (1,), }", 8, "expected True or False"},
        {"{'descr': '<f8', 'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", 8, "stands twice"},
        {"{'descr': '<f8', 'shape': (1,), }", 8, "is missing"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (1,), 'x': 1}", 8, "expected 'descr'"},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", 8, "elements of type '<c8', expected f2, f4"},
        {"{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (1,), }", 8, "elements of type '<M8[ns]'"},
        {"{'descr': '|f8', 'fortran_order': False, 'shape': (1,), }", 8, "elements of type '|f8'"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", 8, "elements of type '|O'"},
        {"{'descr': '', 'fortran_order': False, 'shape': (1,), }", 8, "elements of type ''"},
        {"{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }", 8, "expected a plain number type"},
        {"{'descr': '<f8 'fortran_order': False, 'shape': (1,), }", 8, "elements of type"},
        {"", 8, "expected '{'"},
        {"{", 0, "expected 'descr'"},
        {"{'descr", 0, "expected 'descr'"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (1,", 0, "expected a size"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ad_error error = {AD_OK, ""};
        if (read_header(cases[i].header, cases[i].n, &error) != NULL) fail_msg("read: %s", cases[i].header);
        assert_int_equal(error.status, AD_EFORMAT);
        util_assert_contains(error.message, cases[i].message);
        util_assert_contains(error.message, "a.npy");
    }
}

static void reads_keys_in_any_order(void **state) {
    (void)state;
    data_table *table = read_header("{\"shape\" : (1L,) ,'fortran_order':True,'descr':'>f4'}\n", 4, NULL);
    assert_non_null(table);
    assert_true(table->rows == 1 && table->columns == 1 && table->type == DATA_F32);
    data_table_free(table);
}

static void misaligned_values_are_copied(void **state) {
    (void)state;
    data_table *table = read_header("{'descr':'<f8','fortran_order':False,'shape':(1,)}  ", 8, NULL);
    assert_non_null(table);
    assert_int_equal((uintptr_t)table->values % 8, 0);
    data_table_free(table);
}

static void every_truncation_is_refused(void **state) {
    (void)state;
    double x[4] = {1, 2, 3, 4};
    data_table view = {.type = DATA_F64, .rows = 2, .columns = 2, .values = x};
    assert_int_equal(data_write_npy(files_path("a.npy"), &view, NULL), AD_OK);
    size_t size;
    unsigned char *bytes = files_read(files_path("a.npy"), &size);
    for (size_t n = 0; n < size; n++) assert_null(data_read_npy(files_write("b.npy", bytes, n), NULL));
    assert_null(data_read_npy(files_write("b.npy", bytes, size + 1), NULL));
    free(bytes);
}

static void every_flipped_header_bit_is_safe(void **state) {
    (void)state;
    double x[4] = {1, 2, 3, 4};
    data_table view = {.type = DATA_F64, .rows = 2, .columns = 2, .values = x};
    assert_int_equal(data_write_npy(files_path("a.npy"), &view, NULL), AD_OK);
    size_t size;
    unsigned char *bytes = files_read(files_path("a.npy"), &size);
    for (size_t bit = 0; bit < 8 * (size - 32); bit++) {
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        data_table *table = data_read_npy(files_write("b.npy", bytes, size), NULL);
        if (table != NULL) assert_true(isfinite(data_get(table, table->rows - 1, table->columns - 1)));
        data_table_free(table);
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_c_order),
        cmocka_unit_test(reads_fortran_order),
        cmocka_unit_test(reads_big_endian),
        cmocka_unit_test(reads_a_vector_as_a_column),
        cmocka_unit_test(reads_versions_2_and_3),
        cmocka_unit_test(reads_any_type_order_and_rank),
        cmocka_unit_test(reads_integers),
        cmocka_unit_test(reads_a_scalar_as_one_row),
        cmocka_unit_test(c_order_is_mapped_not_copied),
        cmocka_unit_test(written_files_come_back),
        cmocka_unit_test(every_table_comes_back),
        cmocka_unit_test(a_column_of_scalars_is_written_as_one_axis),
        cmocka_unit_test(a_shape_of_other_size_is_not_written),
        cmocka_unit_test(writing_an_empty_table_is_an_error),
        cmocka_unit_test(refuses_bad_headers),
        cmocka_unit_test(reads_keys_in_any_order),
        cmocka_unit_test(misaligned_values_are_copied),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(every_flipped_header_bit_is_safe),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
