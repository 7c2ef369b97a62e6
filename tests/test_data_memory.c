// test_data_memory.c -- text tables, caches, sets and loaders when memory runs out: an error, and the next call works.
#include "files.h"
#include "failing.h"

static char path[600];

static bool read_with(const data_csv_options *options, ad_error *error) {
    data_table *table = data_read_csv(path, options, error);
    if (table == NULL) return false;
    assert_true(table->rows == 2 && table->columns == 2 && data_get(table, 1, 1) == 4.5);
    data_table_free(table);
    return true;
}

static const char *names[] = {"x", "z"};

static bool read_columns(ad_error *error) {
    return read_with(&(data_csv_options){.columns = names, .n_columns = 2, .cache = DATA_CACHE_NEVER}, error);
}

static bool write_cache(ad_error *error) {
    remove(files_path("a.csv.cache"));
    const data_csv_options all = {.cache = DATA_CACHE_ALWAYS};
    data_table *table = data_read_csv(path, &all, error);
    if (table == NULL) return false;
    assert_true(table->rows == 2 && table->columns == 3);
    data_table_free(table);
    return true;
}

static bool read_cache(ad_error *error) {
    const data_csv_options all = {.cache = DATA_CACHE_LARGE};
    data_table *table = data_read_csv(path, &all, error);
    if (table == NULL) return false;
    assert_true(table->rows == 2 && table->columns == 3);
    data_table_free(table);
    return true;
}

static data_table *table;

static bool load(ad_error *error) {
    data_set set;
    char print[DATA_FINGERPRINT_SIZE];
    const data_batches batches = {.count = 2, .size = 1};
    const data_set_parts parts = {.x = {{table, 0, 2}, {table, 2, 1}}, .weight = {table, 2, 1}};
    if (data_set_make(&set, &parts, error) != AD_OK) return false;
    data_loader *loader = data_loader_new(&set, &batches, &(data_loader_options){.ahead = -1}, error);
    bool ok = loader != NULL && data_loader_next(loader, error) != NULL;
    data_loader_free(loader);
    if (!ok || data_fingerprint(&set, print, error) != AD_OK) return false;
    data_table *x = data_set_table(&set, DATA_X, AD_F32, error);
    data_table_free(x);
    return x != NULL;
}

static bool split(ad_error *error) {
    data_split *a = data_split_new(100, 0.2, 0.2, 1, error), *b = a == NULL ? NULL : data_split_given(100, a, error);
    data_split_free(a);
    data_split_free(b);
    return b != NULL;
}

static void choosing_columns_survives(void **state) {
    (void)state;
    failing_each(read_columns);
}

static void writing_a_cache_survives(void **state) {
    (void)state;
    failing_each(write_cache);
}

static void reading_a_cache_survives(void **state) {
    (void)state;
    failing_each(read_cache);
}

static void loading_survives(void **state) {
    (void)state;
    table = data_read_csv(path, NULL, NULL);
    failing_each(load);
    data_table_free(table);
}

static void splitting_survives(void **state) {
    (void)state;
    failing_each(split);
}

static int setup(void **state) {
    const char *text = "x,y,z\n1,2,3\n4,5,4.5\n";
    if (files_setup(state) != 0) return -1;
    snprintf(path, sizeof path, "%s", files_write("a.csv", text, strlen(text)));
    return 0;
}

static int teardown(void **state) {
    return files_teardown(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(choosing_columns_survives), cmocka_unit_test(writing_a_cache_survives),
        cmocka_unit_test(reading_a_cache_survives),  cmocka_unit_test(loading_survives),
        cmocka_unit_test(splitting_survives),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
