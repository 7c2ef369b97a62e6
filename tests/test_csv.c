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
        {"fixed acidity,pH\n1,2\n", 1, 2, {1, 2}},
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

// ---- blanks, missing fields, columns ----

static void runs_of_blanks_part_fields(void **state) {
    (void)state;
    static const csv_case cases[] = {
        {"1 2\n3 4\n", 2, 2, {1, 2, 3, 4}},          {"  1.5  -2e1 \n\n 3    4\n", 2, 2, {1.5, -20, 3, 4}},
        {" a  b\r\n 1  2\r\n", 1, 2, {1, 2}},        {"\"a b\" c\n1 \"2\"\n", 1, 2, {1, 2}},
        {"1.0 \t2.0 \n3 \t4\n", 2, 2, {1, 2, 3, 4}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_good(&cases[i], NULL);
    const data_csv_options blanks = {.separator = ' '};
    check_good(&(csv_case){"1 \t2\t\t3\n\t4 5 6\t\n", 2, 3, {1, 2, 3, 4, 5, 6}}, &blanks);
    ad_error error;
    assert_null(read_text("1 2\n3 4 5\n", &blanks, &error));
    util_assert_contains(error.message, "a.csv:2:5: row with more than 2 fields");
    assert_null(read_text("1 2\n3\n", &blanks, &error));
    util_assert_contains(error.message, "a.csv:2:1: row with 1 field");
    assert_null(read_text("1 2\n\"3\"4 5\n", &blanks, &error));
    util_assert_contains(error.message, "a.csv:2:4: expected a separator");
    assert_null(read_text("1 2\n3,4 5\n", &blanks, &error));
    util_assert_contains(error.message, "a.csv:2:1: \"3,4\" (field 1) is not a number");
}

static void missing_fields_follow_the_policy(void **state) {
    (void)state;
    const char *text = "1,2\n,4\n5,NA\n7,?\n9,nan\n11,12\n";
    data_csv_options o = {.missing = DATA_MISSING_DROP, .missing_text = "?"};
    check_good(&(csv_case){text, 2, 2, {1, 2, 11, 12}}, &o);
    o.missing = DATA_MISSING_NAN;
    data_table *table = read_text(text, &o, NULL);
    assert_non_null(table);
    assert_int_equal(table->rows, 6);
    assert_true(isnan(data_get(table, 1, 0)) && isnan(data_get(table, 2, 1)) && isnan(data_get(table, 3, 1)));
    data_table_free(table);
    ad_error error;
    o.missing = DATA_MISSING_ERROR;
    assert_null(read_text("1,2\n7,?\n", &o, &error));
    util_assert_contains(error.message, "a.csv:2:3: field 2 is missing");
    o.missing_text = NULL;
    assert_null(read_text("1,2\n7,?\n", &o, &error));
    util_assert_contains(error.message, "\"?\" (field 2) is not a number");
    o.missing = DATA_MISSING_DROP;
    assert_null(read_text("1,NA\n,2\n", &o, &error));
    util_assert_contains(error.message, "no row is left: each of 2 lacks a field");
}

static void columns_are_chosen_by_name_in_order(void **state) {
    (void)state;
    const char *names[] = {"z", "x"};
    data_csv_options o = {.columns = names, .n_columns = 2};
    const char *text = "x,label,y,z\n1,one,NA,2\n3,two,\"4,5\",6\n";
    check_good(&(csv_case){text, 2, 2, {2, 1, 6, 3}}, &o);
    data_table *table = read_text(text, &o, NULL);
    assert_string_equal(table->names[0], "z");
    assert_string_equal(table->names[1], "x");
    data_table_free(table);
}

static void columns_are_chosen_by_number_in_order(void **state) {
    (void)state;
    const int64_t numbers[] = {3, 0};
    const data_csv_options o = {.column_numbers = numbers, .n_columns = 2, .header = -1};
    check_good(&(csv_case){"1,a,b,2\n3,,,4\n", 2, 2, {2, 1, 4, 3}}, &o);
}

// A row's place and count are told too when some of its columns are not wanted, and when all are.
static void rows_of_wrong_length_are_told_in_any_choice(void **state) {
    (void)state;
    const int64_t numbers[] = {2, 0};
    static const bad_case cases[] = {{"1,2,3\n4,5\n", "a.csv:2:3: row with 2 fields, expected 3"},
                                     {"1,2,3\n4,5,6,7\n", "a.csv:2:7: row with more than 3 fields"},
                                     {"1,2,3\n4,NA\n", "a.csv:2:3: row with 2 fields, expected 3"},
                                     {"1,2,3\n4\n", "a.csv:2:1: row with 1 field, expected 3"}};
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        data_csv_options o = {.missing = DATA_MISSING_NAN};
        if (i % 2 == 0) o.column_numbers = numbers, o.n_columns = 2;
        ad_error error = {AD_OK, ""};
        assert_null(read_text(cases[i / 2].text, &o, &error));
        util_assert_contains(error.message, cases[i / 2].message);
    }
}

static void bad_choices_of_columns_are_explained(void **state) {
    (void)state;
    const char *text = "height,weight,age,age\n1,2,3,4\n";
    static const struct {
        const char *names[2];
        int64_t n;
        const char *message;
    } cases[] = {
        {{"hieght"}, 1, "no column is called \"hieght\": is it \"height\"? (4 columns in all)"},
        {{"Weight"}, 1, "is it \"weight\"?"},
        {{"sex"}, 1, "there are \"height\", \"weight\", \"age\", \"age\" (4 columns in all)"},
        {{"age"}, 1, "columns 2 and 3 are both called \"age\""},
        {{"weight", "weight"}, 2, "column 1 was asked for twice (number 1 in the file"},
        {{NULL}, 1, "a column's name is NULL"},
    };
    ad_error error;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const data_csv_options o = {.columns = cases[i].names, .n_columns = cases[i].n};
        assert_null(read_text(text, &o, &error));
        assert_int_equal(error.status, AD_EARG);
        util_assert_contains(error.message, cases[i].message);
    }
    const int64_t numbers[] = {0, 4, -1, 1, 1};
    assert_null(read_text(text, &(data_csv_options){.column_numbers = numbers, .n_columns = 2}, &error));
    util_assert_contains(error.message, "column 4 was asked for, the file has columns 0 to 3");
    assert_null(read_text(text, &(data_csv_options){.column_numbers = numbers + 2, .n_columns = 1}, &error));
    util_assert_contains(error.message, "column -1 was asked for");
    assert_null(read_text(text, &(data_csv_options){.column_numbers = numbers + 3, .n_columns = 2}, &error));
    util_assert_contains(error.message, "asked for twice");
    assert_null(read_text(text, &(data_csv_options){.column_numbers = numbers, .n_columns = 5}, &error));
    util_assert_contains(error.message, "5 columns were asked for, the file has 4");
    assert_null(read_text(text, &(data_csv_options){.n_columns = 1}, &error));
    assert_null(read_text(text, &(data_csv_options){.n_columns = -1}, &error));
    const char *name = "x";
    assert_null(read_text("1,2\n", &(data_csv_options){.columns = &name, .n_columns = 1}, &error));
    util_assert_contains(error.message, "by name, but the file has no header");
}

static void bad_options_are_refused(void **state) {
    (void)state;
    ad_error error;
    assert_null(read_text("1\n", &(data_csv_options){.separator = 'x'}, &error));
    assert_int_equal(error.status, AD_EARG);
    assert_null(read_text("1\n", &(data_csv_options){.missing = (data_missing)3}, &error));
    assert_null(read_text("1\n", &(data_csv_options){.cache = (data_cache)9}, &error));
    assert_int_equal(error.status, AD_EARG);
}

// ---- windows ----

// Rows of all lengths, so that windows end anywhere in them; lines inside quotes count.
static void rows_cross_windows(void **state) {
    (void)state;
    enum { ROWS = 90000 };
    char *text = malloc(ROWS * 160);
    size_t size = 0;
    for (int i = 0; i < ROWS; i++) {
        size += (size_t)sprintf(text + size, "%d,%*s\"%d\"%s", i, i % 97, "", -i, i % 3 == 0 ? "\r\n" : "\n");
    }
    assert_true(size > 5 << 20);
    data_table *table = data_read_csv(files_write("a.csv", text, size), NULL, NULL);
    assert_non_null(table);
    assert_int_equal(table->rows, ROWS);
    for (int i = 0; i < ROWS; i++) assert_true(data_get(table, i, 0) == i && data_get(table, i, 1) == -i);
    data_table_free(table);
    memcpy(text + size, "1,x\n", 4);
    ad_error error;
    assert_null(data_read_csv(files_write("a.csv", text, size + 4), NULL, &error));
    util_assert_contains(error.message, "a.csv:90001:3: \"x\"");
    free(text);
}

static void a_row_of_exactly_a_mebibyte_is_read(void **state) {
    (void)state;
    enum { LONGEST = 1 << 20 };
    char *text = malloc(LONGEST + 8);
    for (int extra = 0; extra < 2; extra++) {
        memcpy(text, "1,2\n", 4);
        memset(text + 4, ' ', LONGEST + 4);
        memcpy(text + 4 + LONGEST + extra - 3, "3,4\n", 4);
        ad_error error = {AD_OK, ""};
        data_table *table = data_read_csv(files_write("a.csv", text, LONGEST + 5 + (size_t)extra), NULL, &error);
        if (extra == 0) {
            if (table == NULL) fail_msg("%s", error.message);
            assert_true(data_get(table, 1, 1) == 4);
        } else {
            assert_null(table);
            util_assert_contains(error.message, "the row is longer than 1 MiB");
        }
        data_table_free(table);
    }
    free(text);
}

// ---- hostile files ----

// A sparse file of a gibibyte that begins with text.
static const char *sparse(const char *text) {
    const char *path = files_write("a.csv", text, strlen(text));
    assert_int_equal(truncate(path, 1 << 30), 0);
    return path;
}

static void a_line_of_a_gibibyte_is_refused(void **state) {
    (void)state;
    static const char *const starts[] = {"", "1", "1,2\n3", "\"", "1,2\n\"3", "a,b\n1,2\n3,4\n\"x\""};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        ad_error error = {AD_OK, ""};
        assert_null(data_read_csv(sparse(starts[i]), NULL, &error));
        assert_int_equal(error.status, AD_EFORMAT);
    }
}

static void ten_million_columns_are_refused(void **state) {
    (void)state;
    enum { N = 10000000 };
    char *text = malloc(2 * N);
    for (int kind = 0; kind < 3; kind++) {
        for (int i = 0; i < N; i++) memcpy(text + 2 * i, kind == 0 ? "1," : kind == 1 ? "a," : ",,", 2);
        text[2 * N - 1] = '\n';
        ad_error error = {AD_OK, ""};
        assert_null(data_read_csv(files_write("a.csv", text, 2 * N), NULL, &error));
        util_assert_contains(error.message, "the row is longer than 1 MiB");
    }
    free(text);
}

static void as_many_columns_as_fit_are_read(void **state) {
    (void)state;
    enum { N = 500000 };
    char *text = malloc(4 * N);
    for (int i = 0; i < 2 * N; i++) memcpy(text + 2 * i, i < N ? "a," : "1,", 2);
    text[2 * N - 1] = text[4 * N - 1] = '\n';
    data_table *table = data_read_csv(files_write("a.csv", text, 4 * N), NULL, NULL);
    assert_non_null(table);
    assert_int_equal(table->columns, N);
    assert_true(data_get(table, 0, N - 1) == 1);
    data_table_free(table);
    free(text);
}

static void bits_flipped_are_safe(void **state) {
    (void)state;
    char text[] = "\"a\"\"\",b\r\n1.5,\"-2e3\"\r\n nan , 4 \n";
    const size_t size = sizeof text - 1;
    for (size_t bit = 0; bit < 8 * size; bit++) {
        text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
        ad_error error = {AD_OK, ""};
        data_table *table = data_read_csv(files_write("a.csv", text, size), NULL, &error);
        if (table == NULL) util_assert_contains(error.message, "a.csv");
        data_table_free(table);
        text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
    }
}

// 30 draws of the posterior of an autoregression (posteriordb, see arK.LICENCE), some with exponents: as numpy reads
// them.
static void a_real_table_has_numpys_values(void **state) {
    (void)state;
    char path[600];
    const char *fixture = files_fixture("arK.csv"), *const names[] = {"alpha",   "beta[1]", "beta[2]", "beta[3]",
                                                                      "beta[4]", "beta[5]", "sigma"};
    if (fixture == NULL) skip();
    strcpy(path, fixture);
    ad_error error;
    data_table *table = data_read(path, &error), *golden = data_read_npy(files_fixture("arK.npy"), NULL);
    if (table == NULL) fail_msg("%s", error.message);
    assert_true(table->rows == 30 && table->columns == 7 && golden->rows == 30 && golden->columns == 7);
    assert_memory_equal(table->values, golden->values, 30 * 7 * sizeof(double));
    for (int k = 0; k < 7; k++) assert_string_equal(table->names[k], names[k]);
    data_table_free(table);
    data_table_free(golden);
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
        cmocka_unit_test(runs_of_blanks_part_fields),
        cmocka_unit_test(missing_fields_follow_the_policy),
        cmocka_unit_test(columns_are_chosen_by_name_in_order),
        cmocka_unit_test(columns_are_chosen_by_number_in_order),
        cmocka_unit_test(rows_of_wrong_length_are_told_in_any_choice),
        cmocka_unit_test(bad_choices_of_columns_are_explained),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(rows_cross_windows),
        cmocka_unit_test(a_row_of_exactly_a_mebibyte_is_read),
        cmocka_unit_test(a_line_of_a_gibibyte_is_refused),
        cmocka_unit_test(ten_million_columns_are_refused),
        cmocka_unit_test(as_many_columns_as_fit_are_read),
        cmocka_unit_test(bits_flipped_are_safe),
        cmocka_unit_test(a_real_table_has_numpys_values),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
