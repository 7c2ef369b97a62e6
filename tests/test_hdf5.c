// test_hdf5.c -- data sets of HDF5, where the library was built with it; that it says so where it was not.
#include "damage.h"

#ifdef TEST_HDF5
#include <hdf5.h>
#include <signal.h>
#include <sys/wait.h>

// Writes the values as a data set; compressed in chunks of a row when deflate.
static void put_set(hid_t file, const char *name, hid_t as, int rank, const hsize_t *dim, const double *values,
                    bool deflate) {
    hid_t space = H5Screate_simple(rank, dim, NULL), how = H5Pcreate(H5P_DATASET_CREATE);
    hsize_t chunk[H5S_MAX_RANK] = {1};
    for (int k = 1; k < rank; k++) chunk[k] = dim[k];
    if (deflate) {
        H5Pset_chunk(how, rank, chunk);
        H5Pset_deflate(how, 9);
    }
    hid_t set = H5Dcreate2(file, name, as, space, H5P_DEFAULT, how, H5P_DEFAULT);
    assert_true(set >= 0);
    assert_true(H5Dwrite(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Dclose(set);
    H5Pclose(how);
    H5Sclose(space);
}

static const double count[24] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23};

// A file of one data set of shape 2 x 3 x 4.
static const char *write_file(const char *name, hid_t as, bool deflate) {
    const hsize_t dim[] = {2, 3, 4};
    const char *path = files_path(name);
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    put_set(file, "x", as, 3, dim, count, deflate);
    H5Fclose(file);
    return path;
}

static void reads_every_type_and_order(void **state) {
    (void)state;
    const struct {
        hid_t as;
        data_type type;
    } cases[] = {{H5T_STD_I8LE, DATA_I8},    {H5T_STD_U8BE, DATA_U8},    {H5T_STD_I16BE, DATA_I16},
                 {H5T_STD_U16LE, DATA_U16},  {H5T_STD_I32LE, DATA_I32},  {H5T_STD_U32BE, DATA_U32},
                 {H5T_STD_I64BE, DATA_I64},  {H5T_STD_U64LE, DATA_U64},  {H5T_IEEE_F32LE, DATA_F32},
                 {H5T_IEEE_F32BE, DATA_F32}, {H5T_IEEE_F64LE, DATA_F64}, {H5T_IEEE_F64BE, DATA_F64}};
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        ad_error error;
        data_table *table = data_read_hdf5(write_file("a.h5", cases[i / 2].as, i & 1), NULL, &error);
        if (table == NULL) fail_msg("%s", error.message);
        assert_true(table->type == cases[i / 2].type && table->rows == 2 && table->columns == 12);
        assert_true(table->shape.rank == 2 && table->shape.dim[0] == 3 && table->shape.dim[1] == 4);
        for (int k = 0; k < 24; k++) assert_true(data_get(table, k / 12, k % 12) == k);
        data_table_free(table);
    }
}

static void sets_are_chosen_by_path(void **state) {
    (void)state;
    const hsize_t dim[] = {3};
    hid_t file = H5Fcreate(files_path("a.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t group = H5Gcreate2(file, "train", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    put_set(file, "a", H5T_IEEE_F64LE, 1, dim, count, false);
    put_set(file, "b", H5T_IEEE_F64LE, 1, dim, count + 1, false);
    put_set(group, "c", H5T_IEEE_F64LE, 1, dim, count + 2, false);
    H5Gclose(group);
    H5Fclose(file);
    static const char *const names[] = {"a", "/b", "/train/c"};
    for (int i = 0; i < 3; i++) {
        data_table *table = data_read_hdf5(files_path("a.h5"), names[i], NULL);
        assert_non_null(table);
        assert_true(table->rows == 3 && table->shape.rank == 0 && data_get(table, 0, 0) == i);
        data_table_free(table);
    }
    ad_error error;
    assert_null(data_read_hdf5(files_path("a.h5"), NULL, &error));
    util_assert_contains(error.message, "a.h5: HDF5: 2 data sets in the root group, expected one, or to be told which");
    assert_null(data_read_hdf5(files_path("a.h5"), "train", &error));
    util_assert_contains(error.message, "a.h5: HDF5: no data set \"train\" that can be opened");
}

static void refuses_what_is_no_table(void **state) {
    (void)state;
    ad_error error;
    assert_null(data_read_hdf5(files_write("b.h5", "text", 4), NULL, &error));
    util_assert_contains(error.message, "b.h5: HDF5: not a file that libhdf5 can open");
    hid_t file = H5Fcreate(files_path("a.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hsize_t one = 1;
    hid_t text = H5Tcopy(H5T_C_S1), space = H5Screate_simple(1, &one, NULL), how = H5Pcreate(H5P_DATASET_CREATE);
    H5Dclose(H5Dcreate2(file, "text", text, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Pset_external(how, "/etc/hostname", 0, 8);
    H5Dclose(H5Dcreate2(file, "elsewhere", H5T_IEEE_F64LE, space, H5P_DEFAULT, how, H5P_DEFAULT));
    hsize_t huge[] = {1 << 20, 1 << 20}, chunk[] = {1, 1 << 10};
    hid_t wide = H5Screate_simple(2, huge, NULL), chunked = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(chunked, 2, chunk);
    H5Dclose(H5Dcreate2(file, "nothing", H5T_IEEE_F64LE, wide, H5P_DEFAULT, chunked, H5P_DEFAULT));
    H5Tclose(text), H5Sclose(space), H5Pclose(how), H5Sclose(wide), H5Pclose(chunked), H5Fclose(file);
    static const struct {
        const char *name, *message;
    } cases[] = {{"text", "HDF5: elements that are neither integers"},
                 {"elsewhere", "HDF5: a data set that is not in this file itself"},
                 {"nothing", "claims 8796093022208 of elements, expected at most 1000 times as many"}};
    for (int i = 0; i < 3; i++) {
        assert_null(data_read_hdf5(files_path("a.h5"), cases[i].name, &error));
        util_assert_contains(error.message, cases[i].message);
    }
}

static void a_set_in_another_file_is_refused(void **state) {
    (void)state;
    write_file("b.h5", H5T_IEEE_F64LE, false);
    hid_t file = H5Fcreate(files_path("a.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Lcreate_external("b.h5", "x", file, "link", H5P_DEFAULT, H5P_DEFAULT) >= 0);
    H5Fclose(file);
    ad_error error;
    assert_null(data_read_hdf5(files_path("a.h5"), "link", &error));
    util_assert_contains(error.message, "a.h5: HDF5: a data set that is not in this file itself");
}

static void is_read_on_request_only(void **state) {
    (void)state;
    ad_error error;
    assert_null(data_read(write_file("a.bin", H5T_IEEE_F64LE, false), &error));
    util_assert_contains(error.message, "a.bin: an HDF5 file; where you trust its origin, read it with data_read_hdf5");
}

static data_table *read_x(const char *path, ad_error *error) {
    return data_read_hdf5(path, "x", error);
}

// Some of these make libhdf5 1.10.8 copy from address 0, or ask for nearly 2^64 bytes: the child dies of it, alone.
// Every 7th bit of every 7th length: a process each takes its time.
static void damage_is_safe(void **state) {
    (void)state;
    size_t size;
    unsigned char *bytes = files_read(write_file("a.h5", H5T_STD_U8LE, false), &size);
    double sum;
    const char *all = getenv("TEST_HDF5_ALL");  // set: every bit and every length
    const size_t step = all ? 1 : 7;
    for (size_t n = 0; n < size; n += step) damage_read("b.h5", bytes, n, read_x, &sum);
    for (size_t bit = 0; bit < 8 * size; bit += step) {
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        damage_read("b.h5", bytes, size, read_x, &sum);
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    free(bytes);
}

// A call from a process whose other threads are busy, and with children of its own: its children are left to it.
static void other_children_are_left_alone(void **state) {
    (void)state;
    pid_t mine = fork();
    if (mine == 0) {
        for (;;) pause();
    }
    ad_error error;
    data_table *table = data_read_hdf5(write_file("c.h5", H5T_STD_I32LE, true), "x", &error);
    assert_non_null(table);
    data_table_free(table);
    assert_int_equal(waitpid(mine, NULL, WNOHANG), 0);
    kill(mine, SIGKILL);
    assert_int_equal(waitpid(mine, NULL, 0), mine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_type_and_order),    cmocka_unit_test(sets_are_chosen_by_path),
        cmocka_unit_test(refuses_what_is_no_table),      cmocka_unit_test(a_set_in_another_file_is_refused),
        cmocka_unit_test(is_read_on_request_only),       cmocka_unit_test(damage_is_safe),
        cmocka_unit_test(other_children_are_left_alone),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}

#else

static void says_that_it_was_built_without(void **state) {
    (void)state;
    ad_error error;
    assert_null(data_read_hdf5(files_write("a.h5", "\x89HDF\r\n\x1a\n", 8), NULL, &error));
    assert_int_equal(error.status, AD_EFORMAT);
    util_assert_contains(error.message, "a.h5: this library was built without HDF5");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(says_that_it_was_built_without)};
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}

#endif
