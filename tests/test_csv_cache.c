// test_csv_cache.c -- text tables in a cache and in gzip: the same numbers, whatever becomes of the files.
#include <zlib.h>

#include "files.h"

static const char *const text = "x,\"y, z\"\n1,2.5\n-3e4,4\n5,nan\n";
static const data_csv_options always = {.cache = DATA_CACHE_ALWAYS};

static data_table *read_always(const char *path) {
    ad_error error = {AD_OK, ""};
    data_table *table = data_read_csv(path, &always, &error);
    if (table == NULL) fail_msg("%s", error.message);
    return table;
}

static void check_and_free(data_table *table) {
    assert_int_equal(table->rows, 3);
    assert_int_equal(table->columns, 2);
    assert_true(data_get(table, 0, 0) == 1 && data_get(table, 0, 1) == 2.5 && data_get(table, 1, 0) == -3e4);
    assert_true(data_get(table, 1, 1) == 4 && data_get(table, 2, 0) == 5 && isnan(data_get(table, 2, 1)));
    assert_string_equal(table->names[0], "x");
    assert_string_equal(table->names[1], "y, z");
    assert_true(data_in_place(table));
    data_table_free(table);
}

static bool is_mapped(data_table *table) {
    return data_values(table) == NULL;
}

static bool exists(const char *name) {
    return access(files_path(name), F_OK) == 0;
}

static const char *source(void) {
    return files_write("a.csv", text, strlen(text));
}

static void a_cache_holds_the_same_table(void **state) {
    (void)state;
    data_table *table = read_always(source());
    assert_true(is_mapped(table));
    check_and_free(table);
    assert_true(exists("a.csv.cache"));
    assert_int_equal(files_count(), 2);
    table = read_always(files_path("a.csv"));
    assert_true(is_mapped(table));
    check_and_free(table);
}

static void a_second_read_takes_the_cache(void **state) {
    (void)state;
    struct stat before, after;
    data_table_free(read_always(source()));
    assert_int_equal(stat(files_path("a.csv.cache"), &before), 0);
    data_table_free(read_always(files_path("a.csv")));
    assert_int_equal(stat(files_path("a.csv.cache"), &after), 0);
    assert_true(before.st_ino == after.st_ino);
}

static void small_tables_have_no_cache_of_themselves(void **state) {
    (void)state;
    data_table *table = data_read_csv(source(), NULL, NULL);
    assert_false(is_mapped(table));
    check_and_free(table);
    assert_int_equal(files_count(), 1);
}

static void a_cache_that_is_there_serves_small_tables(void **state) {
    (void)state;
    data_table_free(read_always(source()));
    data_table *table = data_read_csv(files_path("a.csv"), NULL, NULL);
    assert_true(is_mapped(table));
    check_and_free(table);
    table = data_read_csv(files_path("a.csv"), &(data_csv_options){.cache = DATA_CACHE_NEVER}, NULL);
    assert_false(is_mapped(table));
    check_and_free(table);
}

static void a_changed_file_is_read_again(void **state) {
    (void)state;
    data_table_free(read_always(files_write("a.csv", "a,b\n7,8\n", 8)));
    for (int i = 0; i < 2; i++) check_and_free(read_always(source()));
    assert_int_equal(files_count(), 2);
    ad_error error;
    assert_null(data_read_csv(files_write("a.csv", "1,2\n3,x\n", 8), &always, &error));
    util_assert_contains(error.message, "a.csv:2:3: \"x\"");
    assert_int_equal(files_count(), 2);
}

static void options_have_caches_of_their_own(void **state) {
    (void)state;
    const char *y = "y, z";
    data_csv_options one = always;
    one.columns = &y;
    one.n_columns = 1;
    data_table_free(read_always(source()));
    for (int i = 0; i < 2; i++) {
        data_table *table = data_read_csv(files_path("a.csv"), &one, NULL);
        assert_true(is_mapped(table));
        assert_int_equal(table->columns, 1);
        assert_string_equal(table->names[0], "y, z");
        data_table_free(table);
        check_and_free(read_always(files_path("a.csv")));
        assert_int_equal(files_count(), 3);
    }
}

static void a_directory_for_caches_is_used(void **state) {
    (void)state;
    char directory[600], cache[700];
    snprintf(directory, sizeof directory, "%s", files_path("caches"));
    snprintf(cache, sizeof cache, "%s/a.csv.cache", directory);
    assert_int_equal(mkdir(directory, 0777), 0);
    data_csv_options o = always;
    o.cache_dir = directory;
    for (int i = 0; i < 2; i++) {
        data_table *table = data_read_csv(source(), &o, NULL);
        assert_true(is_mapped(table));
        check_and_free(table);
        assert_int_equal(access(cache, F_OK), 0);
        assert_false(exists("a.csv.cache"));
    }
    assert_int_equal(unlink(cache), 0);
    assert_int_equal(rmdir(directory), 0);
}

static void what_cannot_be_written_is_read_into_memory(void **state) {
    (void)state;
    data_csv_options o = always;
    o.cache_dir = "/nowhere/at/all";
    data_table *table = data_read_csv(source(), &o, NULL);
    assert_false(is_mapped(table));
    check_and_free(table);
    assert_int_equal(mkdir(files_path("a.csv.cache"), 0777), 0);
    ad_error error = {AD_OK, ""};
    table = data_read_csv(files_path("a.csv"), &always, &error);
    assert_false(is_mapped(table));
    assert_int_equal(error.status, AD_OK);
    check_and_free(table);
    assert_int_equal(files_count(), 2);
}

static void links_are_not_written_through(void **state) {
    (void)state;
    source();
    char target[600];
    snprintf(target, sizeof target, "%s", files_path("target"));
    assert_int_equal(symlink(target, files_path("a.csv.cache")), 0);
    data_table *table = data_read_csv(files_path("a.csv"), &always, NULL);
    assert_false(is_mapped(table));
    check_and_free(table);
    assert_false(exists("target"));
}

// ---- damage ----

static void check_damaged(const unsigned char *bytes, size_t size) {
    files_write("a.csv.cache", bytes, size);
    data_table *table = data_read_csv(files_path("a.csv"), NULL, NULL);  // which writes none
    assert_non_null(table);
    assert_false(is_mapped(table));
    check_and_free(table);
}

static void a_damaged_cache_is_not_believed(void **state) {
    (void)state;
    size_t size;
    data_table_free(read_always(source()));
    unsigned char *bytes = files_read(files_path("a.csv.cache"), &size);
    assert_int_equal(size, 128 + 48 + 7);
    for (size_t n = 0; n < size; n++) check_damaged(bytes, n);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        bytes[bit / 8] = (unsigned char)(bytes[bit / 8] ^ 1 << bit % 8);
        check_damaged(bytes, size);
        bytes[bit / 8] = (unsigned char)(bytes[bit / 8] ^ 1 << bit % 8);
    }
    bytes[size] = 0;
    check_damaged(bytes, size + 1);
    free(bytes);
}

static void a_damaged_cache_is_written_anew(void **state) {
    (void)state;
    size_t size, again;
    data_table_free(read_always(source()));
    unsigned char *bytes = files_read(files_path("a.csv.cache"), &size);
    bytes[140] ^= 1;
    files_write("a.csv.cache", bytes, size);
    check_and_free(read_always(files_path("a.csv")));
    bytes[140] ^= 1;
    unsigned char *fresh = files_read(files_path("a.csv.cache"), &again);
    assert_int_equal(size, again);
    assert_memory_equal(bytes, fresh, size);
    free(bytes);
    free(fresh);
}

// ---- tables that are large ----

static void tables_beyond_64_mib_go_to_a_cache(void **state) {
    (void)state;
    enum { ROWS = 9000000 };
    char *digits = malloc(2 * ROWS);
    for (int i = 0; i < ROWS; i++) digits[2 * i] = (char)('0' + i % 7), digits[2 * i + 1] = '\n';
    for (int dir = 0; dir < 2; dir++) {
        data_csv_options o = {.cache_dir = dir == 0 ? NULL : "/nowhere/at/all"};
        data_table *table = data_read_csv(files_write("a.csv", digits, 2 * ROWS), &o, NULL);
        assert_non_null(table);
        assert_true(is_mapped(table) == (dir == 0));
        assert_int_equal(table->rows, ROWS);
        const double *x = table->values;
        for (int i = 0; i < ROWS; i++) assert_true(x[i] == i % 7);
        data_table_free(table);
        remove(files_path("a.csv.cache"));
    }
    free(digits);
}

// ---- gzip ----

// Appends a member of gzip; returns the new size.
static size_t gzip(unsigned char *out, size_t used, size_t room, const char *bytes, size_t size) {
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)bytes;
    z.avail_in = (uInt)size;
    z.next_out = out + used;
    z.avail_out = (uInt)(room - used);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(deflateEnd(&z), Z_OK);
    return room - z.avail_out;
}

static void gzip_is_read_like_plain_text(void **state) {
    (void)state;
    unsigned char bytes[1000];
    size_t size = gzip(bytes, 0, sizeof bytes, text, strlen(text));
    check_and_free(data_read(files_write("a.csv.gz", bytes, size), NULL));
    data_table *table = read_always(files_path("a.csv.gz"));
    assert_true(is_mapped(table));
    check_and_free(table);
    check_and_free(read_always(files_path("a.csv.gz")));
    assert_true(exists("a.csv.gz.cache"));
}

static void members_of_gzip_follow_each_other(void **state) {
    (void)state;
    unsigned char bytes[1000];
    size_t size = gzip(bytes, 0, sizeof bytes, text, 11);
    size = gzip(bytes, size, sizeof bytes, "", 0);
    size = gzip(bytes, size, sizeof bytes, text + 11, strlen(text) - 11);
    check_and_free(data_read_csv(files_write("a.csv", bytes, size), NULL, NULL));
    memset(bytes + size, 0, 100);
    check_and_free(data_read_csv(files_write("a.csv", bytes, size + 100), NULL, NULL));
    bytes[size + 100] = 1;
    ad_error error;
    assert_null(data_read_csv(files_write("a.csv", bytes, size + 101), NULL, &error));
    util_assert_contains(error.message, "bytes that are not gzip follow the gzip data");
    bytes[size] = 'x';
    assert_null(data_read_csv(files_write("a.csv", bytes, size + 1), NULL, &error));
    util_assert_contains(error.message, "a.csv: byte");
}

static void damaged_gzip_is_refused(void **state) {
    (void)state;
    unsigned char bytes[1000];
    size_t size = gzip(bytes, 0, sizeof bytes, text, strlen(text));
    for (size_t n = 2; n < size; n++) {
        ad_error error = {AD_OK, ""};
        assert_null(data_read_csv(files_write("a.csv", bytes, n), NULL, &error));
        assert_int_equal(error.status, AD_EFORMAT);
        util_assert_contains(error.message, "the gzip data ends before its end mark");
    }
    for (size_t bit = 0; bit < 8 * size; bit++) {
        bytes[bit / 8] = (unsigned char)(bytes[bit / 8] ^ 1 << bit % 8);
        ad_error error = {AD_OK, ""};
        data_table *table = data_read_csv(files_write("a.csv", bytes, size), NULL, &error);
        if (table != NULL) check_and_free(table);  // in the name, time or system of gzip's header
        bytes[bit / 8] = (unsigned char)(bytes[bit / 8] ^ 1 << bit % 8);
    }
}

static void windows_of_gzip_follow_each_other(void **state) {
    (void)state;
    enum { ROWS = 400000 };
    char *lines = malloc(ROWS * 24);
    unsigned char *bytes = malloc(ROWS * 24);
    size_t size = 0;
    for (int i = 0; i < ROWS; i++) size += (size_t)sprintf(lines + size, "%d,%d.5\n", i, i * 7 % 1000);
    size = gzip(bytes, 0, ROWS * 24, lines, size);
    data_table *table = data_read_csv(files_write("a.csv", bytes, size), NULL, NULL);
    assert_non_null(table);
    assert_int_equal(table->rows, ROWS);
    for (int i = 0; i < ROWS; i++)
        assert_true(data_get(table, i, 0) == i && data_get(table, i, 1) == i * 7 % 1000 + .5);
    data_table_free(table);
    free(lines);
    free(bytes);
}

static void bombs_are_refused(void **state) {
    (void)state;
    enum { SIZE = 200 << 20 };
    char *zeros = calloc(SIZE, 1);
    unsigned char *bytes = malloc(1 << 20);
    size_t size = gzip(bytes, 0, 1 << 20, zeros, SIZE);
    ad_error error;
    assert_null(data_read_csv(files_write("a.csv", bytes, size), NULL, &error));
    util_assert_contains(error.message, "expected a table, not a bomb");
    for (int i = 0; i < SIZE; i += 2) memcpy(zeros + i, "0\n", 2);
    size = gzip(bytes, 0, 1 << 20, zeros, SIZE);
    assert_null(data_read_csv(files_write("a.csv", bytes, size), NULL, &error));
    util_assert_contains(error.message, "expected a table, not a bomb");
    assert_int_equal(files_count(), 1);
    free(zeros);
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_cache_holds_the_same_table, files_empty),
        cmocka_unit_test_teardown(a_second_read_takes_the_cache, files_empty),
        cmocka_unit_test_teardown(small_tables_have_no_cache_of_themselves, files_empty),
        cmocka_unit_test_teardown(a_cache_that_is_there_serves_small_tables, files_empty),
        cmocka_unit_test_teardown(a_changed_file_is_read_again, files_empty),
        cmocka_unit_test_teardown(options_have_caches_of_their_own, files_empty),
        cmocka_unit_test_teardown(a_directory_for_caches_is_used, files_empty),
        cmocka_unit_test_teardown(what_cannot_be_written_is_read_into_memory, files_empty),
        cmocka_unit_test_teardown(links_are_not_written_through, files_empty),
        cmocka_unit_test_teardown(a_damaged_cache_is_not_believed, files_empty),
        cmocka_unit_test_teardown(a_damaged_cache_is_written_anew, files_empty),
        cmocka_unit_test_teardown(tables_beyond_64_mib_go_to_a_cache, files_empty),
        cmocka_unit_test_teardown(gzip_is_read_like_plain_text, files_empty),
        cmocka_unit_test_teardown(members_of_gzip_follow_each_other, files_empty),
        cmocka_unit_test_teardown(damaged_gzip_is_refused, files_empty),
        cmocka_unit_test_teardown(windows_of_gzip_follow_each_other, files_empty),
        cmocka_unit_test_teardown(bombs_are_refused, files_empty),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
