// test_safetensors.c -- tensors in files: round trips, every damage found, hostile headers, nothing half-written.
//
// Called with "save PATH old|new" or "check PATH" it writes or recognises one of two files: kill_save.sh kills it.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "files.h"

static const double weights[6] = {1, -2.5, 3e300, 0, -0.0, 5e-324};
static const float bias[3] = {1.5f, -2, 3};

// Named out of the order that the file will have: single floats before doubles.
static const data_tensor sample_tensors[] = {
    {"b.\xc3\xa9 \"quoted\"", AD_F32, {1, {3}}, bias},
    {"W", AD_F64, {2, {2, 3}}, weights},
    {"empty", AD_F32, {2, {0, 4}}, NULL},
    {"scalar", AD_F64, {0, {0}}, weights + 2},
};
static const data_meta sample_meta[] = {{"model", "{\"a\": [1, 2]}\n\t\x01"}, {"", "\"pullback.xxh3_128\":\"0123"}};
static const data_tensors sample = {sample_tensors, 4, sample_meta, 2, NULL};

// Writes the sample and returns its bytes.
static unsigned char *sample_bytes(size_t *size) {
    ad_error error;
    char path[500];
    strcpy(path, files_path("sample.safetensors"));
    if (data_save_tensors(path, &sample, &error) != AD_OK) fail_msg("%s", error.message);
    return files_read(path, size);
}

static data_tensors *load_bytes(const void *bytes, size_t size, ad_error *error) {
    return data_load_tensors(files_write("a.safetensors", bytes, size), error);
}

static void saved_tensors_come_back(void **state) {
    (void)state;
    size_t size;
    unsigned char *bytes = sample_bytes(&size);
    ad_error error;
    data_tensors *got = load_bytes(bytes, size, &error);
    if (got == NULL) fail_msg("%s", error.message);
    assert_int_equal(got->n, 4);
    for (int64_t i = 0; i < 4; i++) {
        const data_tensor *want = &sample_tensors[i], *found = data_find_tensor(got, want->name);
        assert_non_null(found);
        assert_true(found->type == want->type && ad_shape_equal(found->shape, want->shape));
        size_t n = (size_t)ad_shape_count(want->shape) * ad_type_size(want->type);
        if (n > 0) assert_memory_equal(found->data, want->data, n);
        assert_int_equal((uintptr_t)found->data % ad_type_size(found->type), 0);
    }
    assert_null(data_find_tensor(got, "w"));
    data_tensors_free(got);
    free(bytes);
}

// A file of every format version that was released stays readable.
static void old_versions_are_readable(void **state) {
    (void)state;
    const char *path = files_fixture("format1.safetensors");
    if (path == NULL) skip();
    ad_error error;
    data_tensors *got = data_load_tensors(path, &error);
    if (got == NULL) fail_msg("%s", error.message);
    assert_memory_equal(data_find_tensor(got, "W")->data, weights, sizeof weights);
    assert_memory_equal(data_find_tensor(got, "b")->data, bias, sizeof bias);
    assert_string_equal(data_find_meta(got, "model"), "test");
    data_tensors_free(got);
}

static void metadata_comes_back_without_our_own(void **state) {
    (void)state;
    size_t size;
    unsigned char *bytes = sample_bytes(&size);
    data_tensors *got = load_bytes(bytes, size, NULL);
    assert_non_null(got);
    assert_int_equal(got->n_meta, 2);
    for (int i = 0; i < 2; i++) assert_string_equal(data_find_meta(got, sample_meta[i].key), sample_meta[i].value);
    assert_null(data_find_meta(got, "pullback.format"));
    data_tensors_free(got);
    free(bytes);
}

static void the_layout_is_that_of_safetensors(void **state) {
    (void)state;
    size_t size;
    unsigned char *bytes = sample_bytes(&size);
    size_t header = bytes[0] + 256u * bytes[1];
    assert_int_equal(header % 8, 0);
    assert_int_equal(bytes[8], '{');
    assert_int_equal(size, 8 + header + sizeof weights + sizeof(double) + sizeof bias);
    assert_memory_equal(bytes + 8 + header, weights, sizeof weights);
    free(bytes);
}

static void saving_twice_gives_the_same_bytes(void **state) {
    (void)state;
    size_t n, m;
    unsigned char *a = sample_bytes(&n), *b = sample_bytes(&m);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    free(a);
    free(b);
}

static void no_tensors_at_all_come_back(void **state) {
    (void)state;
    data_tensors none = {NULL, 0, NULL, 0, NULL};
    assert_int_equal(data_save_tensors(files_path("a.safetensors"), &none, NULL), AD_OK);
    data_tensors *got = data_load_tensors(files_path("a.safetensors"), NULL);
    assert_non_null(got);
    assert_int_equal(got->n, 0);
    data_tensors_free(got);
}

// ---- damage ----

static void every_truncation_is_found(void **state) {
    (void)state;
    size_t size;
    unsigned char *bytes = sample_bytes(&size);
    for (size_t n = 0; n < size; n++) assert_null(load_bytes(bytes, n, NULL));
    free(bytes);
}

static void every_flipped_bit_is_found(void **state) {
    (void)state;
    size_t size;
    unsigned char *bytes = sample_bytes(&size);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        ad_error error = {AD_OK, ""};
        if (load_bytes(bytes, size, &error) != NULL)
            fail_msg("bit %zu of byte %zu flipped unnoticed", bit % 8, bit / 8);
        assert_int_equal(error.status, AD_EFORMAT);
        util_assert_contains(error.message, "a.safetensors");
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    free(bytes);
}

static void every_zeroed_or_swapped_stretch_is_found(void **state) {
    (void)state;
    size_t size;
    unsigned char *bytes = sample_bytes(&size), *copy = malloc(size);
    for (size_t at = 0; at + 32 <= size; at += 8) {
        memcpy(copy, bytes, size);
        memset(copy + at, 0, 16);
        if (memcmp(copy, bytes, size) != 0) assert_null(load_bytes(copy, size, NULL));
        memcpy(copy, bytes, size);
        memcpy(copy + at, bytes + at + 16, 16);
        memcpy(copy + at + 16, bytes + at, 16);
        if (memcmp(copy, bytes, size) != 0) assert_null(load_bytes(copy, size, NULL));
    }
    free(copy);
    free(bytes);
}

static void appended_bytes_are_found(void **state) {
    (void)state;
    size_t size;
    unsigned char *bytes = sample_bytes(&size);
    bytes[size] = 0;
    ad_error error;
    assert_null(load_bytes(bytes, size + 1, &error));
    util_assert_contains(error.message, "damaged: its digest does not match");
    free(bytes);
}

// ---- files of others ----

// A file of this header, and n bytes 0, 1, 2, ...
static data_tensors *load_header(const char *header, size_t n, ad_error *error) {
    static unsigned char bytes[4000];
    size_t size = strlen(header);
    assert_true(8 + size + n <= sizeof bytes);
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)((uint64_t)size >> (8 * i));
    memcpy(bytes + 8, header, size);
    for (size_t i = 0; i < n; i++) bytes[8 + size + i] = (unsigned char)i;
    return load_bytes(bytes, 8 + size + n, error);
}

static void files_without_digest_load(void **state) {
    (void)state;
    data_tensors *got = load_header(
        "{\"x\": {\"shape\" :[ 2 ], \"data_offsets\":[0,8], \"dtype\":\"F32\"}, \"__metadata__\":{\"format\""
        ":\"pt\"}}  \n  ",
        8, NULL);
    assert_non_null(got);
    assert_string_equal(data_find_meta(got, "format"), "pt");
    const unsigned char want[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    assert_memory_equal(data_find_tensor(got, "x")->data, want, 8);
    data_tensors_free(got);
}

static void misaligned_doubles_are_aligned(void **state) {
    (void)state;
    data_tensors *got = load_header(
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
        "\"b\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[4,12]}}",
        12, NULL);
    assert_non_null(got);
    const data_tensor *b = data_find_tensor(got, "b");
    const unsigned char want[8] = {4, 5, 6, 7, 8, 9, 10, 11};
    assert_int_equal((uintptr_t)b->data % 8, 0);
    assert_memory_equal(b->data, want, 8);
    data_tensors_free(got);
}

static void names_are_unescaped(void **state) {
    (void)state;
    data_tensors *got = load_header(
        "{\"a\\u00e9\\ud83d\\ude00\\/\\\"\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, NULL);
    assert_non_null(got);
    assert_non_null(data_find_tensor(got, "a\xc3\xa9\xf0\x9f\x98\x80/\""));
    data_tensors_free(got);
}

static void empty_tensors_share_an_offset(void **state) {
    (void)state;
    data_tensors *got = load_header(
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
        "\"e\":{\"dtype\":\"F64\",\"shape\":[0],\"data_offsets\":[0,0]},"
        "\"f\":{\"dtype\":\"F64\",\"shape\":[9,0],\"data_offsets\":[4,4]}}",
        4, NULL);
    assert_non_null(got);
    data_tensors_free(got);
}

#define X(dtype, shape, offsets) "{\"x\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define E(name, offsets) "\"" name "\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":" offsets "}"

static void refuses_hostile_headers(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t n;
        const char *message;
    } cases[] = {
        {X("F32", "[1]", "[0,4]"), 5, "bytes after the last tensor"},
        {X("F32", "[1]", "[0,4]"), 3, "data_offsets are not in the file"},
        {X("F32", "[1]", "[4,0]"), 4, "data_offsets are not in the file"},
        {X("F32", "[1]", "[1,5]"), 5, "there is a hole before it"},
        {X("F32", "[2]", "[0,4]"), 4, "data_offsets do not fit dtype and shape"},
        {X("F32", "[4611686018427387905]", "[0,4]"), 4, "more than 2^31 - 1 elements"},
        {X("F32", "[4294967296,4294967296]", "[0,0]"), 0, "more than 2^31 - 1 elements"},
        {X("F32", "[1]", "[18446744073709551615,4]"), 4, "a number is too large"},
        {X("F32", "[1]", "[9223372036854775807,4]"), 4, "data_offsets are not in the file"},
        {X("F32", "[1]", "[0,9223372036854775807]"), 4, "data_offsets are not in the file"},
        {X("F32", "[-1]", "[0,4]"), 4, "expected a natural number"},
        {X("F32", "[1.0]", "[0,4]"), 4, "expected ',' or ']'"},
        {X("F32", "[1e0]", "[0,4]"), 4, "expected ',' or ']'"},
        {X("F32", "[01]", "[0,4]"), 4, "a number starts with 0"},
        {X("F32", "[1,]", "[0,4]"), 4, "expected a natural number"},
        {X("F32", "[true]", "[0,4]"), 4, "expected a natural number"},
        {X("F32", "[\"1\"]", "[0,4]"), 4, "expected a natural number"},
        {X("F32", "1", "[0,4]"), 4, "expected '['"},
        {X("F32", "[1,1,1,1,1,1,1]", "[0,4]"), 4, "a list is too long"},
        {X("F32", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, "a list is too long"},
        {X("F32", "[[1]]", "[0,4]"), 4, "expected a natural number"},
        {X("F32", "[1]", "[0]"), 4, "two data_offsets"},
        {X("F32", "[1]", "[0,4,4]"), 4, "a list is too long"},
        {X("I64", "[1]", "[0,8]"), 8, "dtype I64, expected F32 or F64"},
        {X("BF16", "[2]", "[0,4]"), 4, "dtype BF16"},
        {"{" E("x", "[0,4]") "," E("x", "[0,4]") "}", 4, "duplicate"},
        {"{" E("x", "[0,4]") "," E("\\u0078", "[0,4]") "}", 4, "duplicate"},
        {"{" E("x", "[0,4]") "," E("y", "[0,4]") "}", 4, "it overlaps another"},
        {"{" E("x", "[0,4]") "," E("y", "[2,6]") "}", 6, "it overlaps another"},
        {"{" E("x", "[0,4]") "," E("y", "[8,12]") "}", 12, "there is a hole before it"},
        {"{" E("", "[0,4]") "}", 4, "a name is 1 to 256 bytes"},
        {"{" E("a\\nb", "[0,4]") "}", 4, "a name is 1 to 256 bytes"},
        {"{" E("a\\u0000b", "[0,4]") "}", 4, "not a character"},
        {"{" E("a\\ud800b", "[0,4]") "}", 4, "not a character"},
        {"{" E("a\\ud800\\u0041", "[0,4]") "}", 4, "not a character"},
        {"{" E("a\\u00g0", "[0,4]") "}", 4, "not a character"},
        {"{" E("a\\x", "[0,4]") "}", 4, "not an escape"},
        {"{" E("a\tb", "[0,4]") "}", 4, "a control character"},
        {"{" E("a\xff", "[0,4]") "}", 4, "a text is not UTF-8"},
        {"{" E("\xed\xa0\x80", "[0,4]") "}", 4, "a text is not UTF-8"},
        {"{" E("\xc0\x80", "[0,4]") "}", 4, "a text is not UTF-8"},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"y\":1}}", 4,
         "expected dtype, shape and data_offsets, once"},
        {"{\"x\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1]}}", 4, "once each"},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "expected dtype, shape and two"},
        {"{\"x\":[0,4]}", 4, "expected '{'"},
        {"{\"x\":{}}", 0, "expected a text"},
        {"{\"__metadata__\":{\"a\":1}}", 0, "expected a text"},
        {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"1\"}}", 0, "duplicate"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "stands twice"},
        {"{\"__metadata__\":[\"a\"]}", 0, "expected '{'"},
        {"{\"__metadata__\":\"a\"}", 0, "expected '{'"},
        {"{\"__metadata__\":{\"pullback.format\":\"1\"}}", 0, "entries of this library are not all there"},
        {"{\"__metadata__\":{\"pullback.xxh3_128\":\"1\"}}", 0, "entries of this library are not all there"},
        {"{\"__metadata__\":{\"pullback.format\":\"1\",\"pullback.xxh3_128\":\"1\"}}", 0,
         "the digest is not where it was put"},
        {"[]", 0, "does not start with '{'"},
        {" {}", 0, "does not start with '{'"},
        {"{}x", 0, "expected nothing but blanks"},
        {"{}{}", 0, "expected nothing but blanks"},
        {"{\"", 0, "a text does not end"},
        {"{\"\\", 0, "not an escape"},
        {"{\"\\u12", 0, "not a character"},
        {"{", 1, "expected a text"},
        {"{\"x\"", 1, "expected ':'"},
        {"{\"x\":{\"shape\":[1", 1, "expected ',' or ']'"},
        {"{},", 1, "expected nothing but blanks"},
        {"", 2, "does not start with '{'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ad_error error = {AD_OK, ""};
        if (load_header(cases[i].header, cases[i].n, &error) != NULL) fail_msg("loaded: %s", cases[i].header);
        assert_int_equal(error.status, AD_EFORMAT);
        util_assert_contains(error.message, cases[i].message);
        util_assert_contains(error.message, "a.safetensors");
    }
}

static void refuses_impossible_header_sizes(void **state) {
    (void)state;
    static const uint64_t sizes[] = {3, 4, UINT64_C(1) << 24, UINT64_C(1) << 63, UINT64_MAX - 7, UINT64_MAX};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        unsigned char bytes[10] = {[8] = '{', [9] = '}'};
        for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)(sizes[k] >> (8 * i));
        ad_error error;
        assert_null(load_bytes(bytes, sizeof bytes, &error));
        util_assert_contains(error.message, "the header is longer than the file");
    }
}

static void refuses_deep_nesting(void **state) {
    (void)state;
    char header[3000] = "{\"x\":";
    memset(header + 5, '[', 2900);
    ad_error error;
    assert_null(load_header(header, 0, &error));
    util_assert_contains(error.message, "byte 5: expected '{'");
}

// ---- what cannot be saved ----

static void check_unsavable(const data_tensors *tensors, const char *message) {
    ad_error error = {AD_OK, ""};
    assert_int_equal(data_save_tensors(files_path("unsavable"), tensors, &error), AD_EARG);
    util_assert_contains(error.message, message);
    assert_int_not_equal(access(files_path("unsavable"), F_OK), 0);
}

static void refuses_what_could_not_be_loaded(void **state) {
    (void)state;
    const data_tensor bad[][2] = {
        {{"a", AD_F32, {1, {1}}, bias}, {"a", AD_F32, {1, {1}}, bias}},
        {{"a", AD_F32, {1, {1}}, bias}, {"", AD_F32, {1, {1}}, bias}},
        {{"a", AD_F32, {1, {1}}, bias}, {"b\n", AD_F32, {1, {1}}, bias}},
        {{"a", AD_F32, {1, {1}}, bias}, {"\xff", AD_F32, {1, {1}}, bias}},
        {{"a", AD_F32, {1, {1}}, bias}, {"__metadata__", AD_F32, {1, {1}}, bias}},
        {{"a", AD_F32, {1, {1}}, bias}, {NULL, AD_F32, {1, {1}}, bias}},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check_unsavable(&(data_tensors){bad[i], 2, NULL, 0, NULL}, "tensor name");
    check_unsavable(&(data_tensors){&(data_tensor){"a", AD_F32, {1, {1}}, NULL}, 1, NULL, 0, NULL}, "no data");
    check_unsavable(&(data_tensors){&(data_tensor){"a", AD_F32, {1, {-1}}, bias}, 1, NULL, 0, NULL},
                    "impossible shape");
    check_unsavable(&(data_tensors){&(data_tensor){"a", (ad_type)7, {1, {1}}, bias}, 1, NULL, 0, NULL},
                    "neither AD_F32 nor");
}

static void refuses_bad_metadata(void **state) {
    (void)state;
    const data_meta bad[][2] = {
        {{"a", "1"}, {"a", "2"}},  {{"a", "1"}, {"my.pullback", "2"}}, {{"a", "1"}, {"b", "\xff"}},
        {{"a", "1"}, {NULL, "2"}}, {{"a", "1"}, {"b", NULL}},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check_unsavable(&(data_tensors){NULL, 0, bad[i], 2, NULL}, "metadata");
}

// ---- whole or not at all ----

static void assert_unwritable(const char *path, const char *message) {
    ad_error error = {AD_OK, ""};
    assert_int_equal(data_save_tensors(path, &sample, &error), AD_EIO);
    util_assert_contains(error.message, path);
    util_assert_contains(error.message, message);
}

static void unwritable_paths_are_named(void **state) {
    (void)state;
    char path[500];
    assert_unwritable(strcpy(path, files_path("no/such.safetensors")),
                      "could not open its directory: no such file or directory");
    assert_unwritable(files_dir, "is a directory, expected a regular file or none");
    assert_unwritable("/dev/full", "is a pipe or a device, expected a regular file or none");
    assert_int_equal(data_save_tensors(strcpy(path, files_path("")), &sample, NULL), AD_EARG);
    strcpy(path, files_path("link"));
    assert_int_equal(symlink("target", path), 0);
    assert_unwritable(path, "is a symbolic link, expected a regular file or none");
    assert_int_equal(unlink(path), 0);
}

static void read_only_files_are_not_replaced(void **state) {
    (void)state;
    if (geteuid() == 0) skip();  // root may write anything
    char path[500];
    strcpy(path, files_write("old", "old", 3));
    assert_int_equal(chmod(path, 0444), 0);
    assert_unwritable(path, "could not replace it: permission denied");
}

static void permissions_carry_over(void **state) {
    (void)state;
    char path[500];
    strcpy(path, files_write("old", "old", 3));
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(data_save_tensors(path, &sample, NULL), AD_OK);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0640);
}

static void a_full_disk_leaves_the_old_file_and_nothing_else(void **state) {
    (void)state;
    char path[500];
    strcpy(path, files_write("old", "old", 3));
    int before = files_count();
    struct rlimit limit, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = limit;
    small.rlim_cur = 100;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    ad_error error = {AD_OK, ""};
    ad_status status = data_save_tensors(path, &sample, &error);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(status, AD_EIO);
    util_assert_contains(error.message, "could not write it: file too large");
    assert_int_equal(files_count(), before);
    size_t size;
    unsigned char *bytes = files_read(path, &size);
    assert_true(size == 3 && memcmp(bytes, "old", 3) == 0);
    free(bytes);
}

static void leftovers_of_dead_writers_are_removed(void **state) {
    (void)state;
    pid_t child = fork();
    if (child == 0) _exit(0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    char dead[100], alive[100];
    snprintf(dead, sizeof dead, ".m.tmp.%ld", (long)child);
    snprintf(alive, sizeof alive, ".m.tmp.%ld", (long)getppid());
    files_write(dead, "x", 1);
    files_write(alive, "x", 1);
    assert_int_equal(data_save_tensors(files_path("m"), &sample, NULL), AD_OK);
    assert_int_not_equal(access(files_path(dead), F_OK), 0);
    assert_int_equal(access(files_path(alive), F_OK), 0);
}

// ---- for kill_save.sh ----

// 1 MiB, so that writing it is not one system call's work; old and new differ in every element.
static data_tensor big_tensor(bool new_one) {
    static double values[1 << 17];
    for (int i = 0; i < 1 << 17; i++) values[i] = new_one ? i : -1 - i;
    return (data_tensor){"values", AD_F64, {1, {1 << 17}}, values};
}

static int save_once(const char *path, bool new_one) {
    ad_error error;
    data_tensor tensor = big_tensor(new_one);
    data_tensors tensors = {&tensor, 1, NULL, 0, NULL};
    if (data_save_tensors(path, &tensors, &error) == AD_OK) return 0;
    fprintf(stderr, "%s\n", error.message);
    return 1;
}

static int check_once(const char *path) {
    ad_error error;
    data_tensors *got = data_load_tensors(path, &error);
    if (got == NULL) {
        puts(error.message);
        return 1;
    }
    puts(((const double *)got->tensor[0].data)[1] == 1 ? "new" : "old");
    data_tensors_free(got);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "save") == 0) return save_once(argv[2], strcmp(argv[3], "new") == 0);
    if (argc == 3 && strcmp(argv[1], "check") == 0) return check_once(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(saved_tensors_come_back),
        cmocka_unit_test(old_versions_are_readable),
        cmocka_unit_test(metadata_comes_back_without_our_own),
        cmocka_unit_test(the_layout_is_that_of_safetensors),
        cmocka_unit_test(saving_twice_gives_the_same_bytes),
        cmocka_unit_test(no_tensors_at_all_come_back),
        cmocka_unit_test(every_truncation_is_found),
        cmocka_unit_test(every_flipped_bit_is_found),
        cmocka_unit_test(every_zeroed_or_swapped_stretch_is_found),
        cmocka_unit_test(appended_bytes_are_found),
        cmocka_unit_test(files_without_digest_load),
        cmocka_unit_test(misaligned_doubles_are_aligned),
        cmocka_unit_test(names_are_unescaped),
        cmocka_unit_test(empty_tensors_share_an_offset),
        cmocka_unit_test(refuses_hostile_headers),
        cmocka_unit_test(refuses_impossible_header_sizes),
        cmocka_unit_test(refuses_deep_nesting),
        cmocka_unit_test(refuses_what_could_not_be_loaded),
        cmocka_unit_test(refuses_bad_metadata),
        cmocka_unit_test(unwritable_paths_are_named),
        cmocka_unit_test(read_only_files_are_not_replaced),
        cmocka_unit_test(permissions_carry_over),
        cmocka_unit_test(a_full_disk_leaves_the_old_file_and_nothing_else),
        cmocka_unit_test(leftovers_of_dead_writers_are_removed),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
