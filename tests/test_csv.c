// test_csv.c -- text tables: what is read, and where and why the rest is refused.
#include "files.h"

typedef struct csv_case {
    const char *text;
    int64_t rows, columns;
    double values[6];
} csv_case;

static data_table *read_text(const char *text, const data_csv_options *options, ad_error *error) {
    return data_read_csv(files_write("a.csv", text, strlen(text)), options, error);
}

static void check_good(const csv_case *c, const data_csv_options *options) {
    ad_error error = {AD_OK, ""};
    data_table *table = read_text(c->text, options, &error);
    if (table == NULL) fail_msg("%s: %s", c->text, error.message);
    assert_int_equal(table->type, AD_F64);
    assert_int_equal(table->rows, c->rows);
    assert_int_equal(table->columns, c->columns);
    for (int64_t i = 0; i < c->rows * c->columns; i++) {
        double x = data_get(table, i / c->columns, i % c->columns);
        if (!(x == c->values[i] || (isnan(x) && isnan(c->values[i]))))
            fail_msg("%s: element %d is %g", c->text, (int)i, x);
    }
    data_table_free(table);
}

static void reads_good_files(void **state) {
    (void)state;
    static const csv_case cases[] = {
        {"1,2\n3,4\n", 2, 2, {1, 2, 3, 4}},
        {"1,2\n3,4", 2, 2, {1, 2, 3, 4}},
        {"x,y\n1,2\n", 1, 2, {1, 2}},
        {"\"x\",\"y, \"\"z\"\"\"\n1,2\n", 1, 2, {1, 2}},
        {"x,y\r\n1,2\r\n3,4\r\n", 2, 2, {1, 2, 3, 4}},
        {"\xef\xbb\xbf"
         "1,2\n",
         1,
         2,
         {1, 2}},
        {"\xef\xbb\xbf"
         "\"x\",y\n1,2\n",
         1,
         2,
         {1, 2}},
        {"1;2\n3;4\n", 2, 2, {1, 2, 3, 4}},
        {"1\t2\n3\t4\n", 2, 2, {1, 2, 3, 4}},
        {"1\n2\n3\n", 3, 1, {1, 2, 3}},
        {"7", 1, 1, {7}},
        {"\n\n1,2\n\n  \n3,4\n\n\n", 2, 2, {1, 2, 3, 4}},
        {" 1 , 2 \n", 1, 2, {1, 2}},
        {"\"1\" , \"2\"\n", 1, 2, {1, 2}},
        {"+1,-2.5e3,.5,5.,1E-2,-0\n", 1, 6, {1, -2500, 0.5, 5, 0.01, 0}},
        {"nan,inf,-Infinity,NaN\n", 1, 4, {NAN, INFINITY, -INFINITY, NAN}},
        {"\"a\nb\",c\n1,2\n", 1, 2, {1, 2}},
        {",x\n0,1\n", 1, 2, {0, 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_good(&cases[i], NULL);
    }
}

static void keeps_header_names(void **state) {
    (void)state;
    data_table *table = read_text("\"a \"\"b\"\"\", c ,\"d,e\"\n1,2,3\n", NULL, NULL);
    assert_non_null(table);
    assert_string_equal(table->names[0], "a \"b\"");
    assert_string_equal(table->names[1], "c");
    assert_string_equal(table->names[2], "d,e");
    data_table_free(table);
}

static void options_are_obeyed(void **state) {
    (void)state;
    check_good(&(csv_case){"1,2\n3,4\n", 1, 2, {3, 4}}, &(data_csv_options){.header = 1});
    check_good(&(csv_case){"1,2\n3,4\n", 2, 2, {1, 2, 3, 4}}, &(data_csv_options){.header = -1});
    check_good(&(csv_case){"1,NA\n,4\n", 2, 2, {1, NAN, NAN, 4}}, &(data_csv_options){.missing = DATA_MISSING_NAN});
    check_good(&(csv_case){"a\tb;c\n1;2\n", 1, 2, {1, 2}}, &(data_csv_options){.separator = ';'});
}

typedef struct bad_case {
    const char *text, *message;  // message: what must be in it, after the file's name
} bad_case;

static void refuses_bad_files(void **state) {
    (void)state;
    static const bad_case cases[] = {
        {"1,2\n3,abc\n", "a.csv:2:3: \"abc\" (field 2) is not a number"},
        {"1,2\n3\n", "a.csv:2:1: row with 1 field, expected 2"},
        {"1,2\n3,4,5\n", "a.csv:2:5: row with more than 2 fields, expected 2"},
        {"1,2\n3,\n", "a.csv:2:3: field 2 is missing"},
        {"1,2\n3,NA\n", "a.csv:2:3: field 2 is missing"},
        {"1,2\n\"\",4\n", "a.csv:2:1: field 1 is missing"},
        {"1,x\n3,4\n", "a.csv:1:3: the first row has a name (\"x\") and a number (\"1\")"},
        {"x,y\n", "no rows of numbers"},
        {"\n \n\n", "a.csv:1:1: the file has no rows"},
        {"1,2\n\"3,4\n", "a.csv:2:1: a quote is opened here and never closed"},
        {"1,2\n\"3\"x,4\n", "a.csv:2:4: expected a separator or a line end after the closing quote"},
        {"1,2\n3,1e999\n", "a.csv:2:3: \"1e999\" (field 2) is too large"},
        {"1,2\n3,0x10\n", "\"0x10\" (field 2) is not a number"},
        {"1,2\n3,1e\n", "\"1e\" (field 2) is not a number"},
        {"1,2\n3,--1\n", "\"--1\" (field 2) is not a number"},
        {"1,2\n3,.\n", "\".\" (field 2) is not a number"},
        {"1,2\n3,1.2.3\n", "is not a number"},
        {"1,2\n3,1_000\n", "is not a number"},
        {"1,2\n3,infinit\n", "is not a number"},
        {"1;2\n3,5;4\n", "a.csv:2:1: \"3,5\" (field 1) is not a number"},
        {"\xff\xfe"
         "1\0,\0",
         "a.csv:1:1: the text is UTF-16"},
        {"x,y\n1,\x01\x80z\n", "\"??z\""},
        {"\"a\nb\",c\n1,2\n3,z\n", "a.csv:4:3: \"z\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ad_error error = {AD_OK, ""};
        data_table *table = read_text(cases[i].text, NULL, &error);
        if (table != NULL) fail_msg("read without complaint: %s", cases[i].text);
        assert_int_equal(error.status, AD_EFORMAT);
        util_assert_contains(error.message, cases[i].message);
    }
}

static void a_nul_byte_is_no_number(void **state) {
    (void)state;
    ad_error error;
    assert_null(data_read_csv(files_write("a.csv", "1,2\n3,4\0\n", 9), NULL, &error));
    util_assert_contains(error.message, "a.csv:2:3: \"4?\"");
}

static void rows_are_at_most_a_mebibyte(void **state) {
    (void)state;
    size_t size = (1 << 20) + 100;
    char *text = malloc(size);
    for (int quoted = 0; quoted < 2; quoted++) {
        memset(text, ' ', size);
        text[0] = quoted ? '"' : '1';
        ad_error error;
        assert_null(data_read_csv(files_write("a.csv", text, size), NULL, &error));
        util_assert_contains(error.message, "longer than 1 MiB");
    }
    free(text);
}

static void numbers_are_correctly_rounded(void **state) {
    (void)state;
    static const char *const texts[] = {"0.1",
                                        "9007199254740993",
                                        "1.7976931348623157e308",
                                        "5e-324",
                                        "2.2250738585072011e-308",
                                        "123456789012345678901234567890",
                                        "0.30000000000000004",
                                        "1e23",
                                        "8.5e-22",
                                        "3.14159265358979323846264338327950288",
                                        "1e-400",
                                        "4.35e22"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        data_table *table = read_text(texts[i], NULL, NULL);
        assert_non_null(table);
        double want = strtod(texts[i], NULL), got = data_get(table, 0, 0);
        if (memcmp(&want, &got, sizeof got) != 0) fail_msg("%s became %.17g", texts[i], got);
        data_table_free(table);
    }
}

static void printed_numbers_come_back(void **state) {
    (void)state;
    enum { N = 2000 };
    char *text = malloc(N * 32);
    double *x = malloc(N * sizeof *x);
    size_t size = 0;
    uint64_t seed = 3;
    for (int i = 0; i < N; i++) {
        x[i] = util_uniform(&seed, -1, 1) * pow(10, util_uniform(&seed, -30, 30));
        size += (size_t)sprintf(text + size, "%.17g\n", x[i]);
    }
    data_table *table = data_read_csv(files_write("a.csv", text, size), NULL, NULL);
    assert_non_null(table);
    assert_memory_equal(table->values, x, N * sizeof *x);
    data_table_free(table);
    free(text);
    free(x);
}

static void every_cut_and_byte_is_safe(void **state) {
    (void)state;
    const char text[] = "\xef\xbb\xbf\"a\"\"\",b;c\r\n1.5,\"-2e3\"\r\n\n nan , 4 \n";
    char copy[sizeof text];
    for (size_t n = 1; n < sizeof text; n++) {
        data_table_free(data_read_csv(files_write("a.csv", text, n), NULL, NULL));
        for (int byte = 0; byte < 256; byte++) {
            memcpy(copy, text, sizeof text);
            copy[n - 1] = (char)byte;
            data_table_free(data_read_csv(files_write("a.csv", copy, sizeof text - 1), NULL, NULL));
        }
    }
}

static void read_chooses_by_content_and_ending(void **state) {
    (void)state;
    ad_error error;
    data_table *table = data_read(files_write("A.TSV", "1\t2\n", 4), &error);
    assert_non_null(table);
    assert_int_equal(table->columns, 2);
    data_table_free(table);
    assert_null(data_read(files_write("a.xls", "1,2\n", 4), &error));
    util_assert_contains(error.message, "a.xls: not a kind of file that is known: expected .npy");
    assert_null(data_read(files_write("a.npy", "1,2\n", 4), &error));
    util_assert_contains(error.message, "not a .npy file");
}

static void unreadable_paths_are_named(void **state) {
    (void)state;
    ad_error error;
    assert_null(data_read(files_path("none.csv"), &error));
    util_assert_contains(error.message, "none.csv: could not open it: no such file or directory");
    assert_null(data_read(files_dir, &error));
    util_assert_contains(error.message, "neither .png files nor folders of them");
    assert_null(data_read(files_write("empty.csv", "", 0), &error));
    util_assert_contains(error.message, "empty.csv: the file is empty");
    assert_null(data_read("/dev/null", &error));
    util_assert_contains(error.message, "/dev/null: is a pipe or a device");
    assert_null(data_read("", &error));
    assert_int_equal(error.status, AD_EARG);
}

static void finite_check_names_row_and_column(void **state) {
    (void)state;
    ad_error error;
    data_table *table = read_text("x,y\n1,2\n3,nan\n", NULL, NULL);
    assert_int_equal(data_check_finite(table, &error), AD_ENONFINITE);
    util_assert_contains(error.message, "row 2, column 2 (y) is NaN");
    data_table_free(table);
}

static void sources_read_the_table_in_place(void **state) {
    (void)state;
    data_table *table = read_text("1,2,3\n4,5,6\n", NULL, NULL);
    ad_source source = data_source(table, 1, NULL);
    assert_int_equal(source.count, 2);
    const double *row1 = (const double *)((const char *)source.data + source.row_stride);
    assert_true(row1[0] == 5 && row1[1] == 6);
    data_table_free(table);
}

static void impossible_tables_are_refused(void **state) {
    (void)state;
    ad_error error;
    assert_null(data_table_new(DATA_F64, INT64_MAX, INT32_MAX, &error));
    assert_int_equal(error.status, AD_ENOMEM);
    assert_null(data_table_new(DATA_F64, 0, 1, &error));
    assert_int_equal(error.status, AD_EARG);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_good_files),
        cmocka_unit_test(keeps_header_names),
        cmocka_unit_test(options_are_obeyed),
        cmocka_unit_test(refuses_bad_files),
        cmocka_unit_test(a_nul_byte_is_no_number),
        cmocka_unit_test(rows_are_at_most_a_mebibyte),
        cmocka_unit_test(numbers_are_correctly_rounded),
        cmocka_unit_test(printed_numbers_come_back),
        cmocka_unit_test(every_cut_and_byte_is_safe),
        cmocka_unit_test(read_chooses_by_content_and_ending),
        cmocka_unit_test(unreadable_paths_are_named),
        cmocka_unit_test(finite_check_names_row_and_column),
        cmocka_unit_test(sources_read_the_table_in_place),
        cmocka_unit_test(impossible_tables_are_refused),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
