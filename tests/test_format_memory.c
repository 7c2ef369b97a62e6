// test_format_memory.c -- files read and written while allocations fail, and how much memory hostile files get.
#include <errno.h>
#include <malloc.h>
#include <zlib.h>

#include "files.h"

// The C library's allocator, with failures on request. Sanitizers bring their own.
#if defined(__GLIBC__) && !UTIL_SANITIZED
#define CAN_FAIL 1
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void __libc_free(void *);

static long countdown, live;  // the allocation that fails; those not freed
static bool forever;          // so do all after it
static size_t held, most_held;

static bool fails(void) {
    if (countdown > 0 && --countdown > 0) return false;
    if (countdown == 0 && !forever) {
        countdown = -1;
        errno = ENOMEM;
        return true;
    }
    if (countdown == 0) errno = ENOMEM;
    return countdown == 0;
}

static void *hold(void *p) {
    if (p == NULL) return NULL;
    live++;
    held += malloc_usable_size(p);
    if (held > most_held) most_held = held;
    return p;
}

static void drop(void *p) {
    if (p == NULL) return;
    live--;
    held -= malloc_usable_size(p);
}

#pragma GCC visibility push(default)  // for the libraries too
void *malloc(size_t size) {
    return fails() ? NULL : hold(__libc_malloc(size));
}
void *calloc(size_t n, size_t size) {
    return fails() ? NULL : hold(__libc_calloc(n, size));
}
void *realloc(void *old, size_t size) {
    if (fails()) return NULL;
    drop(old);
    void *p = __libc_realloc(old, size);
    return hold(p == NULL ? old : p) == p ? p : NULL;
}
void free(void *p) {
    drop(p);
    __libc_free(p);
}
#pragma GCC visibility pop
#else
#define CAN_FAIL 0
static long countdown, live;
static bool forever;
static size_t held, most_held;
#endif

// ---- what is done while allocations fail ----------------------------------------------------------------------------

static char path[700];

static ad_status use(data_table *table, const ad_error *error) {
    bool read = table != NULL;
    data_table_free(table);
    return read ? AD_OK : error->status;
}

static ad_status read_any(ad_error *error) {
    return use(data_read(path, error), error);
}

static ad_status read_npz(ad_error *error) {
    return use(data_read_npz(path, "X", error), error);
}

static ad_status list_npz(ad_error *error) {
    char **names = data_npz_names(path, error);
    ad_status status = names == NULL ? error->status : AD_OK;
    free(names);
    return status;
}

static ad_status read_raw(ad_error *error) {
    const data_raw raw = {.type = DATA_U8, .shape = ad_shape1(4)};
    return use(data_read_raw(path, &raw, error), error);
}

static ad_status convert(ad_error *error) {
    uint8_t x[4] = {1, 2, 3, 4};
    const char *const names[] = {"a", "b"};
    const data_table view = {.type = DATA_U8, .rows = 2, .columns = 2, .values = x, .names = names};
    return use(data_convert(&view, AD_F32, error), error);
}

static ad_status write_both(ad_error *error) {
    static double x[4] = {1, 2, 3, 4};
    const data_table view = {.type = DATA_F64, .rows = 2, .columns = 2, .values = x};
    const data_named arrays[] = {{"a", &view}, {"b", &view}};
    ad_status status = data_write_npy(path, &view, error);
    return status == AD_OK ? data_write_npz(path, arrays, 2, true, error) : status;
}

static ad_status read_classes(ad_error *error) {
    data_table *labels;
    char **classes;
    data_table *images = data_read_png(path, &labels, &classes, error);
    data_table_free(labels);
    free(classes);
    return use(images, error);
}

// A run that succeeds. Libraries keep some things for ever, and drop them for want of memory: after it all are there.
static long settle(const char *what, ad_status (*run)(ad_error *)) {
    ad_error error = {AD_OK, ""};
    countdown = -1;
    if (run(&error) != AD_OK) fail_msg("%s: %s", what, error.message);
    return live;
}

// Fails every allocation in turn, once or with all that follow, until there are no more. libzip 1.7.3
// takes some failures for damage of the file, and loses a block in others.
static void fail_each(const char *what, ad_status (*run)(ad_error *), bool zip) {
    const long before = settle(what, run);
    for (int n = 1, all = 0; all < 2; n++) {
        ad_error error = {AD_OK, ""};
        countdown = n;
        forever = all;
        ad_status status = run(&error);
        bool reached = countdown <= 0;
        if (settle(what, run) != before && !zip) fail_msg("%s, allocation %d: %ld leaked", what, n, live - before);
        if (status != AD_OK && status != AD_ENOMEM && !(zip && status == AD_EFORMAT)) {
            fail_msg("%s, allocation %d: %s", what, n, error.message);
        }
        if (status != AD_OK && reached) continue;
        assert_int_equal(status, AD_OK);
        if (!reached) all++, n = 0;
    }
}

static void every_failed_allocation_is_told(void **state) {
    (void)state;
    if (!CAN_FAIL) skip();
    static const struct {
        const char *file;
        ad_status (*run)(ad_error *);
    } cases[] = {{"f8_c.npy", read_any},
                 {"i2_fortran_big_endian.npy", read_any},
                 {"u1-idx3-ubyte.gz", read_any},
                 {"u1-idx3-ubyte.gz", read_raw},
                 {"stored.npz", read_npz},
                 {"deflate.npz", read_npz},
                 {"deflate.npz", list_npz},
                 {"rgb16.png", read_any},
                 {NULL, convert}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *file = cases[i].file == NULL ? "" : files_fixture(cases[i].file);
        if (file == NULL) skip();
        strcpy(path, file);
        const char *what = cases[i].file == NULL ? "convert" : cases[i].file;
        fail_each(what, cases[i].run, strstr(what, ".npz") != NULL);
    }
}

static void every_failed_allocation_of_a_writer_is_told(void **state) {
    (void)state;
    if (!CAN_FAIL) skip();
    strcpy(path, files_path("a.npz"));
    fail_each("writing .npz", write_both, true);
    assert_int_equal(files_count(), 1);
}

static void every_failed_allocation_of_a_folder_is_told(void **state) {
    (void)state;
    const char *fixture = files_fixture("rgb16.png");
    if (!CAN_FAIL || fixture == NULL) skip();
    size_t size;
    unsigned char *bytes = files_read(fixture, &size);
    static const char *const names[] = {"a/1.png", "a/2.png", "b/1.png"};
    mkdir(files_path("a"), 0700);
    mkdir(files_path("b"), 0700);
    for (int i = 0; i < 3; i++) files_write(names[i], bytes, size);
    free(bytes);
    strcpy(path, files_dir);
    fail_each("a folder", read_classes, false);
    for (int i = 0; i < 3; i++) remove(files_path(names[i]));
}

// ---- hostile files --------------------------------------------------------------------------------------------------

// 100 MiB of zeros in 100 KiB of gzip.
static void write_zeros(const char *name) {
    static const char nothing[1 << 16];
    gzFile file = gzopen(files_path(name), "wb9");
    for (int i = 0; i < 1600; i++) assert_int_equal(gzwrite(file, nothing, sizeof nothing), sizeof nothing);
    gzclose(file);
}

static void hostile_files_get_little_memory(void **state) {
    (void)state;
    if (!CAN_FAIL) skip();
    write_zeros("zeros.u8.gz");
    strcpy(path, files_path("zeros.u8.gz"));
    const data_raw raw = {.type = DATA_U8};
    ad_error error;
    size_t before = most_held = held;
    assert_null(data_read_raw(path, &raw, &error));
    util_assert_contains(error.message, "expected at most 1000 times as many");
    assert_true(most_held - before < 33 << 20);
}

static int start(void **state) {
    countdown = -1;
    return files_setup(state);
}

int main(void) {
    countdown = -1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failed_allocation_is_told),
        cmocka_unit_test_teardown(every_failed_allocation_of_a_writer_is_told, files_empty),
        cmocka_unit_test_teardown(every_failed_allocation_of_a_folder_is_told, files_empty),
        cmocka_unit_test_teardown(hostile_files_get_little_memory, files_empty),
    };
    return cmocka_run_group_tests(tests, start, files_teardown);
}
