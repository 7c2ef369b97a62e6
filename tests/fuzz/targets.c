// targets.c -- reads hostile bytes as each format; uses what is inside the library for JSON, and to pack bytes.
#include "targets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "data.h"
#include "json.h"

// The readers take a name: of a file in memory.
static const char *write_file(const void *bytes, size_t size) {
    static char path[40];
    static int fd = -1;
    if (fd < 0) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, bytes, size, 0) != (ssize_t)size) abort();
    return path;
}

static void check(bool holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "expected: %s\n", what);
    abort();
}

// A table must hold together, and every element must be there to be read; an error must have a message.
static void use(data_table *table, const ad_error *error) {
    if (table == NULL) {
        check(error->status != AD_OK && error->message[0] != '\0', "a table or an error");
        return;
    }
    check(table->rows > 0 && table->columns > 0 && data_type_size(table->type) > 0, "a table with elements");
    check(table->shape.rank == 0 ? table->columns == 1 : ad_shape_count(table->shape) == table->columns,
          "a shape of as many elements as columns");
    int64_t n = table->columns < 1000 ? table->columns : 1000;
    double *row = malloc((size_t)n * sizeof *row);
    for (int64_t r = 0; row != NULL && r < table->rows; r++) {
        check(data_gather(table, &r, 1, table->columns - n, n, AD_F64, row, NULL) == AD_OK, "rows that can be read");
    }
    free(row);
    for (int64_t k = 0; table->names != NULL && k < table->columns; k++)
        check(strlen(table->names[k]) < 1 << 20, "names");
    data_table_free(table);
}

typedef data_table *(*reader)(const char *path, ad_error *error);

static void read_as(reader read, const unsigned char *bytes, size_t size) {
    ad_error error = {AD_OK, ""};
    use(read(write_file(bytes, size), &error), &error);
}

// ---- arrays ---------------------------------------------------------------------------------------------------------

static void npy(const unsigned char *bytes, size_t size) {
    read_as(data_read_npy, bytes, size);
}

static void idx(const unsigned char *bytes, size_t size) {
    read_as(data_read_idx, bytes, size);
}

static data_table *any_member(const char *path, ad_error *error) {
    char **names = data_npz_names(path, error);
    if (names == NULL) return NULL;
    for (int i = 0; names[i] != NULL; i++) {
        ad_error inner = {AD_OK, ""};
        use(data_read_npz(path, names[i], &inner), &inner);
    }
    free(names);
    return data_read_npz(path, NULL, error);
}

static void npz(const unsigned char *bytes, size_t size) {
    read_as(any_member, bytes, size);
}

static data_table *cifar_with_labels(const char *path, ad_error *error) {
    data_table *labels = NULL, *images = data_read_cifar(&path, 1, &labels, error);
    check((images == NULL) == (labels == NULL), "both tables or none");
    if (labels != NULL) use(labels, error);
    return images;
}

static void cifar(const unsigned char *bytes, size_t size) {
    read_as(cifar_with_labels, bytes, size);
}

static data_table *only_hdf5(const char *path, ad_error *error) {
    return data_read_hdf5(path, NULL, error);
}

// libhdf5 asks for a file that has a name.
static void hdf5(const unsigned char *bytes, size_t size) {
    char path[] = "/tmp/fuzz-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size || close(fd) != 0) abort();
    ad_error error = {AD_OK, ""};
    data_table *table = only_hdf5(path, &error);
    unlink(path);
    use(table, &error);
}

// The first bytes say what the rest is read as.
static void raw(const unsigned char *bytes, size_t size) {
    if (size < 12) return;
    data_raw layout = {.type = (data_type)(bytes[0] % (DATA_TYPES + 1)), .rows = bytes[1], .big_endian = bytes[2] & 1};
    layout.offset = bytes[3] + ((uint64_t)bytes[4] << 56);
    layout.shape.rank = bytes[5] % (AD_MAX_RANK + 2);
    for (int k = 0; k < AD_MAX_RANK; k++) layout.shape.dim[k] = (int32_t)((uint32_t)bytes[6 + k] << (bytes[2] >> 4));
    ad_error error = {AD_OK, ""};
    use(data_read_raw(write_file(bytes + 12, size - 12), &layout, &error), &error);
}

static void any(const unsigned char *bytes, size_t size) {
    read_as(data_read, bytes, size);
}

// ---- bytes behind a checksum that random changes do not get past ----------------------------------------------------

static data_table *text(const char *path, ad_error *error) {
    const data_csv_options options = {.cache = DATA_CACHE_NEVER};
    return data_read_csv(path, &options, error);
}

static unsigned char wrapped[20000];  // the bytes within what has their checksum; made by hand, for libraries take long
enum { MOST_WRAPPED = 10000 };

// Writes a number of n bytes, low first, and returns what is behind it.
static unsigned char *put(unsigned char *at, uint64_t number, int n) {
    for (int k = 0; k < n; k++) *at++ = (unsigned char)(number >> (8 * k));
    return at;
}

static unsigned char *put_bytes(unsigned char *at, const void *bytes, size_t size) {
    memcpy(at, bytes, size);
    return at + size;
}

// The bytes as a stream of deflate: one block that is stored.
static unsigned char *put_deflated(unsigned char *at, const unsigned char *bytes, size_t size) {
    at = put(put(put(at, 1, 1), size, 2), ~size, 2);
    return put_bytes(at, bytes, size);
}

// The bytes as the content of a .gz file: of what they begin like, and else a text.
static void packed(const unsigned char *bytes, size_t size) {
    if (size > MOST_WRAPPED) return;
    unsigned char *at = put_deflated(put_bytes(wrapped, "\x1f\x8b\x08\0\0\0\0\0\0\3", 10), bytes, size);
    at = put(put(at, crc32(0, bytes, (uInt)size), 4), size, 4);
    int first = size > 0 ? bytes[0] : -1;
    read_as(first == 0 ? data_read_idx : first == 0x93 ? data_read_npy : text, wrapped, (size_t)(at - wrapped));
}

// The bytes as the only member of a zip file, stored or, of odd sizes, in the manner of deflate.
static void member(const unsigned char *bytes, size_t size) {
    if (size > MOST_WRAPPED) return;
    unsigned char about[22], *at = about;  // what both headers say
    size_t inside = size % 2 ? size + 5 : size;
    at = put(put(put(at, 0, 2), size % 2 ? 8 : 0, 2), 0, 4);
    at = put(put(put(at, crc32(0, bytes, (uInt)size), 4), inside, 4), size, 4);
    put(at, 5, 2);  // the length of the name
    at = put_bytes(put_bytes(wrapped, "PK\3\4\x14\0", 6), about, 22);
    at = put_bytes(put(at, 0, 2), "x.npy", 5);
    at = size % 2 ? put_deflated(at, bytes, size) : put_bytes(at, bytes, size);
    size_t central = (size_t)(at - wrapped);
    at = put_bytes(put_bytes(at, "PK\1\2\x14\0\x14\0", 8), about, 22);
    at = put_bytes(put(put(at, 0, 8), 0, 8), "x.npy", 5);
    size_t length = (size_t)(at - wrapped) - central;
    at = put(put_bytes(at, "PK\5\6\0\0\0\0", 8), 0x10001, 4);
    at = put(put(put(at, length, 4), central, 4), 0, 2);
    read_as(any_member, wrapped, (size_t)(at - wrapped));
}

static data_table *one_image(const char *path, ad_error *error) {
    return data_read_png(path, NULL, NULL, error);
}

// As they are, and with every chunk's checksum put right.
static void png(const unsigned char *bytes, size_t size) {
    read_as(one_image, bytes, size);
    unsigned char *copy = malloc(size + 1);
    if (copy == NULL) return;
    memcpy(copy, bytes, size);
    for (size_t at = 8; at + 12 <= size;) {
        size_t n = (size_t)copy[at] << 24 | (size_t)copy[at + 1] << 16 | (size_t)copy[at + 2] << 8 | copy[at + 3];
        if (n > size - at - 12) break;
        uLong crc = crc32(0, copy + at + 4, (uInt)n + 4);
        for (int k = 0; k < 4; k++) copy[at + 8 + n + (size_t)k] = (unsigned char)(crc >> (24 - 8 * k));
        at += n + 12;
    }
    read_as(one_image, copy, size);
    free(copy);
}

// ---- texts ----------------------------------------------------------------------------------------------------------

// The first byte chooses the options. No caches: /proc has no room for them.
static void csv(const unsigned char *bytes, size_t size) {
    if (size < 1) return;
    static const char separators[8] = {0, ',', ';', '\t', '|', ' ', 0, 0};
    static const int64_t numbers[] = {1, 0};
    data_csv_options options = {.separator = separators[bytes[0] & 7], .cache = DATA_CACHE_NEVER};
    options.header = (bytes[0] >> 3 & 3) == 3 ? 0 : (bytes[0] >> 3 & 3) - 1;
    options.missing = (data_missing)((bytes[0] >> 5 & 3) % 3);
    options.missing_text = bytes[0] & 64 ? "?" : NULL;
    if (bytes[0] & 128) options.column_numbers = numbers, options.n_columns = 2;
    ad_error error = {AD_OK, ""};
    use(data_read_csv(write_file(bytes + 1, size - 1), &options, &error), &error);
}

// Any value, one level of the stack to a level of the text.
static void json_value(data_json *json, int depth) {
    uint64_t number;
    if (depth > 64) {
        json->error = "too deep";
    } else if (data_json_take(json, '[')) {
        if (data_json_take(json, ']')) return;
        do json_value(json, depth + 1);
        while (data_json_more(json, ']'));
    } else if (data_json_take(json, '{')) {
        if (data_json_take(json, '}')) return;
        do {
            char *key = data_json_text(json);
            if (key != NULL) check(strlen(key) < 1 << 20, "a text that ends");
            data_json_expect(json, ':');
            json_value(json, depth + 1);
        } while (data_json_more(json, '}'));
    } else if (json->error == NULL && json->at < json->end && *json->at == '"') {
        char *text = data_json_text(json);
        if (text != NULL) check(data_utf8_ok(text), "a text in UTF-8");
    } else if (data_json_number(json, &number)) {
        check(number <= INT64_MAX, "a number in its range");
    }
}

static void json(const unsigned char *bytes, size_t size) {
    char *text = malloc(size + 1);
    if (text == NULL) return;
    memcpy(text, bytes, size);
    data_json j = {.start = text, .at = text, .end = text + size};
    json_value(&j, 0);
    free(text);
}

static volatile double read_sum;  // keeps the reads

static void safetensors(const unsigned char *bytes, size_t size) {
    ad_error error = {AD_OK, ""};
    data_tensors *tensors = data_load_tensors(write_file(bytes, size), &error);
    if (tensors == NULL) check(error.status != AD_OK && error.message[0] != '\0', "tensors or an error");
    double sum = 0;
    for (int64_t i = 0; tensors != NULL && i < tensors->n; i++) {
        const data_tensor *t = &tensors->tensor[i];
        check(data_find_tensor(tensors, t->name) == t, "a name of its own");
        for (int64_t k = 0; k < ad_shape_count(t->shape); k++) {
            sum += t->type == AD_F32 ? (double)((const float *)t->data)[k] : ((const double *)t->data)[k];
        }
    }
    read_sum = sum;
    data_tensors_free(tensors);
}

const fuzz_target fuzz_targets[] = {
    {"any", any},
    {"cifar", cifar},
    {"csv", csv},
    {"hdf5", hdf5},
    {"idx", idx},
    {"json", json},
    {"member", member},
    {"npy", npy},
    {"npz", npz},
    {"packed", packed},
    {"png", png},
    {"raw", raw},
    {"safetensors", safetensors},
    {NULL, NULL},
};

const fuzz_target *fuzz_find(const char *name) {
    for (const fuzz_target *t = fuzz_targets; t->name != NULL; t++) {
        if (strcmp(t->name, name) == 0) return t;
    }
    return NULL;
}
