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

typedef data_table *(*reader)(const char *path, ad_error *error);

static data_table *raw_bytes(const char *name, ad_error *error) {
    const data_raw raw = {.type = DATA_U8};
    return data_read_raw(name, &raw, error);
}

static data_table *csv(const char *name, ad_error *error) {
    const data_csv_options options = {.cache = DATA_CACHE_NEVER};
    return data_read_csv(name, &options, error);
}

static data_table *only_array(const char *name, ad_error *error) {
    return data_read_npz(name, NULL, error);
}

// The head, then 25 MiB of a text again and again, in 25 KiB of gzip.
static void write_gz(const char *name, const void *head, unsigned size, const char *text) {
    static char block[1 << 16];
    for (size_t i = 0; i < sizeof block; i++) block[i] = text[i % (strlen(text) + (*text == 0))];
    gzFile file = gzopen(files_path(name), "wb9");
    assert_int_equal(gzwrite(file, head, size), size);
    for (int i = 0; i < 400; i++) assert_int_equal(gzwrite(file, block, sizeof block), sizeof block);
    gzclose(file);
}

static void put(unsigned char *at, uint64_t value, int n) {
    for (int k = 0; k < n; k++) at[k] = (unsigned char)(value >> (8 * k));
}

// A zip file of one member, as its headers describe it: taken from a .gz file of one deflated stream.
static void write_npz(const char *name, const char *gz) {
    size_t size;
    unsigned char *bytes = files_read(files_path(gz), &size), *packed = bytes + 10;
    uint64_t n = size - 18, out = 0;
    unsigned char *zip = calloc(1, size + 200), *at = zip, head[30] = "PK\3\4", central[46] = "PK\1\2",
                  end[22] = "PK\5\6";
    for (int k = 0; k < 4; k++) out |= (uint64_t)bytes[size - 4 + (size_t)k] << (8 * k);
    put(head + 4, 20, 2), put(head + 8, 8, 2), memcpy(head + 14, bytes + size - 8, 4);
    put(head + 18, n, 4), put(head + 22, out, 4), put(head + 26, 5, 2);
    put(central + 4, 20, 2), memcpy(central + 6, head + 4, 26);
    put(end + 8, 1, 2), put(end + 10, 1, 2), put(end + 12, 51, 4), put(end + 16, 35 + n, 4);
    memcpy(at, head, 30), memcpy(at + 30, "x.npy", 5), memcpy(at + 35, packed, n), at += 35 + n;
    memcpy(at, central, 46), memcpy(at + 46, "x.npy", 5), memcpy(at + 51, end, 22);
    files_write(name, zip, (size_t)(at - zip) + 73);
    free(zip);
    free(bytes);
}

// The header of a .npy file of 25 MiB of bytes.
static unsigned npy_head(unsigned char out[128]) {
    int n = snprintf((char *)out + 10, 118, "{'descr': '|u1', 'fortran_order': False, 'shape': (26214400,), }");
    memset(out + 10 + n, ' ', (size_t)(117 - n));
    memcpy(out, "\x93NUMPY\1\0\x76\0", 10);
    out[127] = '\n';
    return 128;
}

// A PNG image of 16,384 x 16,384 bytes, without any.
static void write_png(const char *name) {
    unsigned char png[41] = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x40\0\0\0\x40\0\x08";
    uint32_t crc = (uint32_t)crc32(0, png + 12, 17);
    for (int k = 0; k < 4; k++) png[29 + k] = (unsigned char)(crc >> (24 - 8 * k));
    memcpy(png + 33, "\0\0\0\x40IDAT", 8);
    files_write(name, png, sizeof png);
}

static void assert_refused(const char *name, reader read, const char *words) {
    char file[500];
    ad_error error = {AD_OK, ""};
    strcpy(file, files_path(name));
    size_t before = most_held = held;
    if (read(file, &error) != NULL) fail_msg("%s is read", name);
    util_assert_contains(error.message, words);
    if (most_held - before > 12 << 20) fail_msg("%s: %zu KiB", name, (most_held - before) >> 10);
}

static void hostile_files_get_little_memory(void **state) {
    (void)state;
    if (!CAN_FAIL) skip();
    unsigned char npy[128], idx[8] = {0, 0, 8, 1, 1, 0x90, 0, 0};
    unsigned head = npy_head(npy);
    write_gz("zeros.u8.gz", NULL, 0, "");
    assert_refused("zeros.u8.gz", raw_bytes, "expected at most 1000 times as many");
    write_gz("a.gz", idx, sizeof idx, "");
    assert_refused("a.gz", data_read, "expected at most 1000 times");
    write_gz("x.npy.gz", npy, head, "");
    assert_refused("x.npy.gz", data_read, "expected at most 1000 times");
    write_npz("x.npz", "x.npy.gz");
    assert_refused("x.npz", only_array, "expected at most 1000 times");
    write_gz("a.csv.gz", NULL, 0, "0");
    assert_refused("a.csv.gz", csv, "not a bomb");
    write_gz("a.csv.gz", NULL, 0, "0\n");
    assert_refused("a.csv.gz", csv, "not a bomb");
    write_png("a.png");
    assert_refused("a.png", data_read, "claims an image of 268435456");
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
