// test_npz.c -- numpy's .npz: files that numpy wrote, our own, and hostile ones.
#include <zlib.h>

#include "damage.h"

// X holds 0.5, ..., 5.5 and y 1, 0, 1: stored, compressed, and with every size and offset in zip64's fields.
static void reads_numpys_files(void **state) {
    (void)state;
    static const char *const names[] = {"stored.npz", "deflate.npz", "zip64.npz"};
    for (int i = 0; i < 3; i++) {
        const char *path = files_fixture(names[i]);
        if (path == NULL) skip();
        ad_error error;
        data_table *X = data_read_npz(path, "X", &error);
        if (X == NULL) fail_msg("%s", error.message);
        assert_true(X->type == DATA_F64 && X->rows == 3 && X->columns == 2);
        for (int k = 0; k < 6; k++) assert_true(data_get(X, k / 2, k % 2) == k + 0.5);
        data_table *y = data_read_npz(path, "y", NULL);
        assert_true(y->type == DATA_I64 && y->rows == 3 && y->shape.rank == 0 && data_get(y, 2, 0) == 1);
        data_table_free(X);
        data_table_free(y);
    }
}

static void lists_names(void **state) {
    (void)state;
    const char *path = files_fixture("deflate.npz");
    if (path == NULL) skip();
    char **names = data_npz_names(path, NULL);
    assert_string_equal(names[0], "X");
    assert_string_equal(names[1], "y");
    assert_null(names[2]);
    free(names);
}

static void says_which_arrays_there_are(void **state) {
    (void)state;
    const char *path = files_fixture("deflate.npz");
    if (path == NULL) skip();
    ad_error error;
    assert_null(data_read(path, &error));
    util_assert_contains(error.message, "deflate.npz: 2 arrays (X, y), expected one, or to be told which");
    assert_null(data_read_npz(path, "Y", &error));
    util_assert_contains(error.message, "deflate.npz: no array \"Y\"; it has: X, y");
    assert_null(data_read_npz(path, "X.npy", &error));
}

static void written_files_come_back(void **state) {
    (void)state;
    double x[6] = {1, 2, 3, 4, 5, 6};
    uint8_t images[2 * 12 + 3];
    for (size_t i = 0; i < sizeof images; i++) images[i] = (unsigned char)i;
    const data_table a = {.type = DATA_F64, .rows = 2, .columns = 3, .values = x, .swapped = true};
    const data_table b = {
        .type = DATA_U8, .rows = 2, .columns = 12, .shape = ad_shape2(3, 4), .values = images, .row_stride = 15};
    const data_named arrays[] = {{"a", &a}, {"group/b", &b}};
    for (int compress = 0; compress < 2; compress++) {
        char path[500];
        strcpy(path, files_path("a.npz"));
        ad_error error;
        if (data_write_npz(path, arrays, 2, compress, &error) != AD_OK) fail_msg("%s", error.message);
        assert_int_equal(files_count(), 1);
        for (int k = 0; k < 2; k++) {
            data_table *in = data_read_npz(path, arrays[k].name, &error);
            if (in == NULL) fail_msg("%s", error.message);
            const data_table *out = arrays[k].table;
            assert_true(in->type == out->type && in->rows == 2 && in->columns == out->columns);
            for (int i = 0; i < 2 * out->columns; i++) {
                assert_true(data_get(in, i / out->columns, i % out->columns) ==
                            data_get(out, i / out->columns, i % out->columns));
            }
            data_table_free(in);
        }
    }
    data_table *only;
    assert_int_equal(data_write_npz(files_path("a.npz"), arrays, 1, true, NULL), AD_OK);
    only = data_read(files_path("a.npz"), NULL);
    assert_non_null(only);
    data_table_free(only);
}

static void bad_names_and_tables_are_not_written(void **state) {
    (void)state;
    double x[2] = {1, 2};
    const data_table a = {.type = DATA_F64, .rows = 1, .columns = 2, .values = x}, none = {.type = DATA_F64};
    const data_named cases[][2] = {{{"a", &a}, {"a", &a}}, {{"a", &a}, {"../a", &a}}, {{"a", &a}, {"/a", &a}},
                                   {{"a", &a}, {"", &a}},  {{"a", &a}, {NULL, &a}},   {{"a", &none}, {"b", &a}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ad_error error;
        assert_int_equal(data_write_npz(files_path("a.npz"), cases[i], 2, true, &error), AD_EARG);
        util_assert_contains(error.message, "a.npz: ");
    }
    assert_int_equal(data_write_npz(files_path("a.npz"), cases[0], 0, true, NULL), AD_EARG);
    assert_int_equal(files_count(), 0);
}

// A large table, which libzip writes and reads in pieces.
static void large_tables_come_back(void **state) {
    (void)state;
    data_table *out = data_table_new(DATA_F32, 30000, 20, NULL);
    uint64_t seed = 5;
    for (int i = 0; i < 600000; i++) ((float *)data_values(out))[i] = (float)util_uniform(&seed, -1, 1);
    const data_named array = {"x", out};
    for (int compress = 0; compress < 2; compress++) {
        assert_int_equal(data_write_npz(files_path("a.npz"), &array, 1, compress, NULL), AD_OK);
        data_table *in = data_read_npz(files_path("a.npz"), "x", NULL);
        assert_non_null(in);
        assert_memory_equal(in->values, out->values, 600000 * sizeof(float));
        data_table_free(in);
    }
    data_table_free(out);
}

// ---- hostile files --------------------------------------------------------------------------------------------------

typedef struct member {
    const char *name;
    int flags, method;  // method 8: deflated
    const void *bytes;
    size_t size;
    uint32_t claim;    // of the size when not packed, if not 0
    uint32_t crc_xor;  // wrong when not 0
} member;

static size_t put(unsigned char *out, size_t at, int width, uint64_t value) {
    for (int i = 0; i < width; i++) out[at + (size_t)i] = (unsigned char)(value >> (8 * i));
    return at + (size_t)width;
}

// The fields that a member's two headers share, from flags to the length of the name and of the extra field.
static size_t put_common(unsigned char *out, size_t at, const member *m, size_t packed) {
    at = put(out, at, 2, (uint64_t)m->flags);
    at = put(out, at, 2, (uint64_t)m->method);
    at = put(out, at, 4, 33u << 16);
    at = put(out, at, 4, crc32(0, m->bytes, (unsigned)m->size) ^ m->crc_xor);
    at = put(out, at, 4, packed);
    at = put(out, at, 4, m->claim ? m->claim : m->size);
    return put(out, at, 4, strlen(m->name));
}

static size_t deflate_all(unsigned char *out, size_t room, const void *bytes, size_t size) {
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)bytes, z.avail_in = (unsigned)size, z.next_out = out, z.avail_out = (unsigned)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return z.total_out;
}

static const char *write_zip(const member *members, int n) {
    static unsigned char out[200000], directory[2000];
    size_t at = 0, end = 0, start;
    for (int i = 0; i < n; i++) {
        const member *m = &members[i];
        static unsigned char packed[100000];
        size_t size = m->size;
        if (m->method == 8) size = deflate_all(packed, sizeof packed, m->bytes, m->size);
        if (m->method != 8) memcpy(packed, m->bytes, size);
        start = at;
        at = put_common(out, put(out, put(out, at, 4, 0x04034b50), 2, 20), m, size);
        memcpy(out + at, m->name, strlen(m->name));
        at += strlen(m->name);
        memcpy(out + at, packed, size);
        at += size;
        end = put_common(directory, put(directory, put(directory, end, 4, 0x02014b50), 4, 20 | 20 << 16), m, size);
        end = put(directory, put(directory, end, 8, 0), 6, (uint64_t)start << 16);
        memcpy(directory + end, m->name, strlen(m->name));
        end += strlen(m->name);
    }
    memcpy(out + at, directory, end);
    size_t total = put(out, put(out, at + end, 4, 0x06054b50), 4, 0);
    total = put(out, put(out, total, 2, (uint64_t)n), 2, (uint64_t)n);
    total = put(out, put(out, put(out, total, 4, end), 4, at), 2, 0);
    return files_write("h.npz", out, total);
}

// A .npy file of n bytes.
static size_t make_npy(unsigned char *out, uint64_t n, size_t have) {
    memcpy(out, "\x93NUMPY\1\0\x76\0", 10);
    memset(out + 10, ' ', 118);
    char text[118];
    int size = snprintf(text, sizeof text, "{'descr': '|u1', 'fortran_order': False, 'shape': (%llu,), }",
                        (unsigned long long)n);
    memcpy(out + 10, text, (size_t)size);
    out[127] = '\n';
    memset(out + 128, 0, have);
    return 128 + have;
}

static void hand_made_files_are_read(void **state) {
    (void)state;
    unsigned char npy[200];
    size_t size = make_npy(npy, 4, 4);
    const member members[] = {
        {"a.npy", 0, 0, npy, size, 0, 0}, {"b.npy", 0, 8, npy, size, 0, 0}, {"notes.txt", 0, 0, "x", 1, 0, 0}};
    const char *path = write_zip(members, 3);
    ad_error error;
    char **names = data_npz_names(path, &error);
    if (names == NULL) fail_msg("%s", error.message);
    assert_true(strcmp(names[0], "a") == 0 && strcmp(names[1], "b") == 0 && names[2] == NULL);
    for (int i = 0; i < 2; i++) {
        data_table *table = data_read_npz(path, names[i], &error);
        if (table == NULL) fail_msg("%s", error.message);
        data_table_free(table);
    }
    free(names);
}

static void refuses_bad_members(void **state) {
    (void)state;
    static unsigned char npy[200], larger[200], none[200];
    size_t size = make_npy(npy, 4, 4), short_size = make_npy(larger, 5, 4),
           claims = make_npy(none, UINT64_C(1) << 62, 0);
    const struct {
        member m[2];
        int n;
        const char *message;
    } cases[] = {
        {{{"/etc/a.npy", 0, 0, npy, size, 0, 0}}, 1, "member 0 has the name \"/etc/a.npy\", expected a plain one"},
        {{{"../a.npy", 0, 0, npy, size, 0, 0}}, 1, "member 0 has the name \"../a.npy\""},
        {{{"x/../a.npy", 0, 0, npy, size, 0, 0}}, 1, "member 0 has the name \"x/../a.npy\""},
        {{{"..", 0, 0, npy, size, 0, 0}}, 1, "member 0 has the name \"..\""},
        {{{"c:\\a.npy", 0, 0, npy, size, 0, 0}}, 1, "member 0 has the name"},
        {{{"a\n.npy", 0, 0, npy, size, 0, 0}}, 1, "member 0 has the name \"a?.npy\""},
        {{{"\xff.npy", 0, 0, npy, size, 0, 0}}, 1, "member 0 has the name \"?.npy\""},
        {{{"", 0, 0, npy, size, 0, 0}}, 1, "member 0 has the name \"\""},
        {{{"a.npy", 0, 0, npy, size, 0, 0}, {"a.npy", 0, 0, npy, size, 0, 0}},
         2,
         "two members have the same name"},
        {{{"a.npy", 1, 0, npy, size, 0, 0}}, 1, "a.npy: the member is encrypted"},
        {{{"a.npy", 0, 12, npy, size, 0, 0}}, 1, "a.npy: compressed by method 12, expected 0 (stored) or 8 (deflate)"},
        {{{"a.npy", 0, 0, npy, size, 0, 1}}, 1, "a.npy: could not read it: its checksum is wrong"},
        {{{"a.npy", 0, 8, npy, size, 0, 1}}, 1, "a.npy: could not read it: its checksum is wrong"},
        {{{"a.npy", 0, 0, larger, short_size, 0, 0}}, 1, "shape (5,) and type u1, but 4 bytes of elements follow"},
        {{{"a.npy", 0, 8, none, claims, 0, 0}}, 1, "shape (4611686018427387904,) and type u1, but 0 bytes"},
        {{{"a.npy", 0, 0, "text", 4, 0, 0}}, 1, "a.npy: not a .npy file"},
        {{{"a.txt", 0, 0, npy, size, 0, 0}}, 1, "no array \"a\"; it has: none"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ad_error error = {AD_OK, ""};
        if (data_read_npz(write_zip(cases[i].m, cases[i].n), "a", &error) != NULL) fail_msg("case %zu", i);
        assert_int_not_equal(error.status, AD_OK);
        util_assert_contains(error.message, cases[i].message);
        util_assert_contains(error.message, "h.npz: ");
    }
}

// 2 GiB out of a few bytes, and 16 MiB of nothing that are really there.
static void refuses_bombs(void **state) {
    (void)state;
    static unsigned char npy[(16 << 20) + 200];
    ad_error error;
    size_t size = make_npy(npy, 2000000000, 100);
    const member claims = {"a.npy", 0, 8, npy, size, 2000000128, 0};
    assert_null(data_read_npz(write_zip(&claims, 1), NULL, &error));
    util_assert_contains(error.message, "compressed bytes claim to hold 2000000000, expected at most 1000 times");
    size = make_npy(npy, 16 << 20, 16 << 20);
    const member nothing = {"a.npy", 0, 8, npy, size, 0, 0};
    assert_null(data_read_npz(write_zip(&nothing, 1), NULL, &error));
    util_assert_contains(error.message, "compressed bytes claim to hold 16777216, expected at most 1000 times");
}

static data_table *read_x(const char *path, ad_error *error) {
    return data_read_npz(path, "X", error);
}

// The checksum covers the elements; what is read after all holds the same values.
static void every_damage_is_found(void **state) {
    (void)state;
    static const char *const names[] = {"stored.npz", "deflate.npz", "zip64.npz"};
    for (int i = 0; i < 3; i++) {
        const char *path = files_fixture(names[i]);
        if (path == NULL) skip();
        size_t size;
        unsigned char *bytes = files_read(path, &size);
        damage d = damage_all("a.npz", bytes, size, read_x);
        assert_int_equal(d.cut, 0);
        assert_int_equal(d.changed, 0);
        free(bytes);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_numpys_files),
        cmocka_unit_test(lists_names),
        cmocka_unit_test(says_which_arrays_there_are),
        cmocka_unit_test_teardown(written_files_come_back, files_empty),
        cmocka_unit_test(bad_names_and_tables_are_not_written),
        cmocka_unit_test(large_tables_come_back),
        cmocka_unit_test(hand_made_files_are_read),
        cmocka_unit_test(refuses_bad_members),
        cmocka_unit_test(refuses_bombs),
        cmocka_unit_test(every_damage_is_found),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
