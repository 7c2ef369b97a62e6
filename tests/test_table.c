// test_table.c -- tables of every stored type: elements, gathered rows, converted tables, in-place sources.
#include "files.h"

typedef struct example {
    data_type type;
    unsigned char bytes[3][8];  // little-endian
    double value[3];
} example;

static const example examples[] = {
    {DATA_F16, {{0x00, 0x3e}, {0x01, 0x80}, {0xff, 0x7b}}, {1.5, -0x1p-24, 65504}},
    {DATA_F32, {{0, 0, 0xc0, 0x3f}, {0, 0, 0, 0xc0}, {0xff, 0xff, 0x7f, 0x7f}}, {1.5, -2, 0x1.fffffep127}},
    {DATA_F64, {{0, 0, 0, 0, 0, 0, 0xf8, 0x3f}, {0, 0, 0, 0, 0, 0, 0, 0xc0}, {0}}, {1.5, -2, 0}},
    {DATA_I8, {{0}, {0x7f}, {0x80}}, {0, 127, -128}},
    {DATA_I16, {{1, 2}, {0xff, 0x7f}, {0, 0x80}}, {513, 32767, -32768}},
    {DATA_I32, {{1, 2, 3, 4}, {0xff, 0xff, 0xff, 0xff}, {0, 0, 0, 0x80}}, {67305985, -1, -0x1p31}},
    {DATA_I64, {{1, 2}, {255, 255, 255, 255, 255, 255, 255, 255}, {0, 0, 0, 0, 0, 0, 0, 0x80}}, {513, -1, -0x1p63}},
    {DATA_U8, {{0}, {0x7f}, {0xff}}, {0, 127, 255}},
    {DATA_U16, {{1, 2}, {0, 0x80}, {0xff, 0xff}}, {513, 32768, 65535}},
    {DATA_U32, {{1, 2, 3, 4}, {0, 0, 0, 0x80}, {0xff, 0xff, 0xff, 0xff}}, {67305985, 0x1p31, 4294967295.0}},
    {DATA_U64, {{1, 2}, {0, 0, 0, 0, 0, 0, 0, 0x80}, {255, 255, 255, 255, 255, 255, 255, 255}}, {513, 0x1p63, 0x1p64}},
    {DATA_BOOL, {{0}, {1}, {255}}, {0, 1, 1}},
};
enum { EXAMPLES = sizeof examples / sizeof *examples };

static bool host_is_little(void) {
    const uint16_t one = 1;
    return *(const unsigned char *)&one == 1;
}

// A view of n rows of which row r is the values of e at r, r + 1, ... (mod 3), in either byte order, starting shift
// bytes into the buffer.
static data_table make_view(const example *e, unsigned char *buffer, int64_t n, int64_t columns, bool little,
                            int shift) {
    size_t size = data_type_size(e->type);
    unsigned char *at = buffer + shift;
    for (int64_t i = 0; i < n * columns; i++, at += size) {
        const unsigned char *bytes = e->bytes[(i / columns + i % columns) % 3];
        for (size_t k = 0; k < size; k++) at[k] = bytes[little ? k : size - 1 - k];
    }
    return (data_table){.type = e->type,
                        .rows = n,
                        .columns = columns,
                        .values = buffer + shift,
                        .swapped = little != host_is_little()};
}

static void every_type_is_listed_with_name_and_size(void **state) {
    (void)state;
    assert_int_equal((int)EXAMPLES, (int)DATA_TYPES);
    for (int i = 0; i < EXAMPLES; i++) {
        const char *name = data_type_name(examples[i].type);
        assert_int_equal(data_type_size(examples[i].type), (size_t)(name[1] - '0'));
    }
    assert_int_equal(data_type_size(DATA_TYPES), 0);
    assert_string_equal(data_type_name(DATA_TYPES), "none");
}

static void elements_of_every_type_and_order(void **state) {
    (void)state;
    uint64_t buffer[8];
    for (int i = 0; i < 4 * EXAMPLES; i++) {
        const example *e = &examples[i / 4];
        data_table view = make_view(e, (unsigned char *)buffer, 1, 3, i & 1, i >> 1 & 1);
        for (int k = 0; k < 3; k++) assert_true(data_get(&view, 0, k) == e->value[k]);
        assert_true(isnan(data_get(&view, 0, 3)) && isnan(data_get(&view, 1, 0)) && isnan(data_get(&view, -1, 0)));
    }
}

// All halves, against their definition.
static void every_half(void **state) {
    (void)state;
    static uint16_t half[65536];
    static float out[65536];
    for (int i = 0; i < 65536; i++) half[i] = (uint16_t)i;
    data_table view = {.type = DATA_F16, .rows = 65536, .columns = 1, .values = half};
    assert_int_equal(data_gather(&view, NULL, 65536, 0, 1, AD_F32, out, NULL), AD_OK);
    for (int i = 0; i < 65536; i++) {
        int exponent = i >> 10 & 31, mantissa = i & 1023;
        double want = exponent == 0 ? ldexp(mantissa, -24) : ldexp(1024 + mantissa, exponent - 25);
        if (exponent == 31) want = mantissa == 0 ? INFINITY : NAN;
        if (i >> 15) want = -want;
        if (isnan(want) ? !isnan(out[i]) : (double)out[i] != want || !signbit(want) != !signbit(out[i]))
            fail_msg("half %04x is %g, expected %g", (unsigned)i, (double)out[i], want);
    }
}

// Wide and narrow rows, whole ones and parts, every order of bytes and alignment, against single elements.
static void check_gather(const data_table *view, const int64_t *rows, int64_t n, int64_t first, int64_t columns) {
    static float f4[20000];
    static double f8[20000];
    assert_int_equal(data_gather(view, rows, n, first, columns, AD_F32, f4, NULL), AD_OK);
    assert_int_equal(data_gather(view, rows, n, first, columns, AD_F64, f8, NULL), AD_OK);
    for (int64_t i = 0; i < n * columns; i++) {
        int64_t row = rows == NULL ? i / columns : rows[i / columns];
        double want = data_get(view, row, first + i % columns);
        if (f8[i] != want || f4[i] != (float)want)
            fail_msg("%s, element %lld: %g, %g, expected %g", data_type_name(view->type), (long long)i, f8[i],
                     (double)f4[i], want);
    }
}

static void gathered_rows_are_the_elements(void **state) {
    (void)state;
    static const int64_t widths[] = {1, 3, 40, 700}, rows[] = {6, 0, 3, 3, 1};
    static uint64_t buffer[8000];
    for (int i = 0; i < 4 * EXAMPLES; i++) {
        for (int w = 0; w < 4; w++) {
            data_table view = make_view(&examples[i / 4], (unsigned char *)buffer, 7, widths[w], i & 1, i >> 1 & 1);
            check_gather(&view, NULL, 7, 0, view.columns);
            check_gather(&view, rows, 5, 0, view.columns);
            check_gather(&view, rows, 5, view.columns / 2, (view.columns + 1) / 2);
        }
    }
}

static void rows_may_have_a_stride(void **state) {
    (void)state;
    static unsigned char bytes[7 * 301];
    static const int64_t rows[] = {6, 0, 5};
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i % 251);
    data_table view = {.type = DATA_U8, .rows = 7, .columns = 300, .values = bytes + 1, .row_stride = 301};
    assert_true(data_get(&view, 6, 299) == (7 * 301 - 1) % 251);
    check_gather(&view, rows, 3, 0, 300);
    check_gather(&view, rows, 3, 17, 4);
    check_gather(&view, NULL, 7, 0, 300);
}

static void rows_and_columns_outside_are_errors(void **state) {
    (void)state;
    float x[6] = {0}, out[60];
    data_table view = {.type = DATA_F32, .rows = 3, .columns = 2, .values = x};
    ad_error error;
    int64_t rows[2] = {0, 3};
    assert_int_equal(data_gather(&view, rows, 2, 0, 2, AD_F32, out, &error), AD_EARG);
    util_assert_contains(error.message, "row 3 of a table of 3");
    rows[1] = -1;
    assert_int_equal(data_gather(&view, rows, 2, 0, 2, AD_F32, out, &error), AD_EARG);
    util_assert_contains(error.message, "row -1 of a table of 3");
    assert_int_equal(data_gather(&view, NULL, 4, 0, 2, AD_F32, out, &error), AD_EARG);
    assert_int_equal(data_gather(&view, NULL, 3, 1, 2, AD_F32, out, &error), AD_EARG);
    util_assert_contains(error.message, "2 columns from column 1: the table has 2");
    assert_int_equal(data_gather(&view, NULL, 3, INT64_MAX, INT64_MAX, AD_F32, out, &error), AD_EARG);
    assert_int_equal(data_gather(&view, NULL, 0, 0, 2, AD_F32, out, &error), AD_OK);
}

static void converted_tables_keep_shape_and_names(void **state) {
    (void)state;
    uint8_t x[8] = {0, 1, 2, 3, 4, 5, 6, 255};
    const char *const names[] = {"a", "b", "", "long name"};
    data_table view = {.type = DATA_U8, .rows = 2, .columns = 4, .shape = ad_shape2(2, 2), .values = x, .names = names};
    for (int type = 0; type < 2; type++) {
        data_table *table = data_convert(&view, (ad_type)type, NULL);
        assert_non_null(table);
        assert_true(table->type == (data_type)type && data_in_place(table) && data_get(table, 1, 3) == 255);
        assert_true(table->shape.rank == 2 && table->shape.dim[1] == 2);
        for (int i = 0; i < 4; i++) assert_string_equal(table->names[i], names[i]);
        data_table_free(table);
    }
}

static void only_native_aligned_reals_are_read_in_place(void **state) {
    (void)state;
    double x[9] = {0};
    data_table view = {.type = DATA_F64, .rows = 2, .columns = 2, .values = x};
    assert_true(data_source(&view, 1, NULL).data == x + 1);
    data_table strided = view, swapped = view, integers = view, odd = view, askew = view;
    strided.row_stride = 24, swapped.swapped = true, integers.type = DATA_I64, odd.row_stride = 20;
    askew.values = (char *)x + 4;
    assert_true(data_source(&strided, 0, NULL).data == x && data_source(&strided, 0, NULL).row_stride == 24);
    assert_null(data_source(&swapped, 0, NULL).data);
    assert_null(data_source(&integers, 0, NULL).data);
    assert_null(data_source(&odd, 0, NULL).data);
    assert_null(data_source(&askew, 0, NULL).data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_is_listed_with_name_and_size),
        cmocka_unit_test(elements_of_every_type_and_order),
        cmocka_unit_test(every_half),
        cmocka_unit_test(gathered_rows_are_the_elements),
        cmocka_unit_test(rows_may_have_a_stride),
        cmocka_unit_test(rows_and_columns_outside_are_errors),
        cmocka_unit_test(converted_tables_keep_shape_and_names),
        cmocka_unit_test(only_native_aligned_reals_are_read_in_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
