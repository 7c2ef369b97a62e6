// formats.c -- how fast files become batches, beside memcpy; prints a Markdown table: formats [FOLDER]
//
// FOLDER (else /tmp) holds its files while it runs. All of them stay in the page cache. A figure is the best of several
// rounds: bytes of the file, or of the batches, a second.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "data.h"

enum { ROUNDS = 7, ROWS = 60000, PIXELS = 784, BATCH = 512, SCALARS = 1 << 23 };

static char folder[300];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static _Noreturn void die(const char *message) {
    fprintf(stderr, "%s\n", message);
    exit(1);
}

static const char *path_of(const char *name) {
    static char path[400];
    snprintf(path, sizeof path, "%s/pullback-%ld-%s", folder, (long)getpid(), name);
    return path;
}

static void *memory(size_t size) {
    void *bytes = malloc(size);
    if (!bytes) die("out of memory");
    return memset(bytes, 1, size);  // touched
}

// ---- what is read ---------------------------------------------------------------------------------------------------

static data_table *random_table(data_type type, int64_t rows, int64_t columns) {
    data_table *table = data_table_new(type, rows, columns, NULL);
    if (!table) die("out of memory");
    size_t bytes = (size_t)(rows * columns) * data_type_size(type);
    uint64_t x = 1;
    unsigned char *out = data_values(table);
    for (size_t i = 0; i < bytes; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        out[i] = type == DATA_U8 ? (unsigned char)((x >> 60) * (x >> 59 & 1)) : (unsigned char)(x >> 57);
    }
    return table;
}

static void write_idx(const data_table *images) {
    const unsigned char header[16] = {0,  0, 8, 3, ROWS >> 24, ROWS >> 16 & 255, ROWS >> 8 & 255, ROWS & 255, 0, 0, 0,
                                      28, 0, 0, 0, 28};
    for (int compressed = 0; compressed < 2; compressed++) {
        gzFile file = gzopen(path_of(compressed ? "idx.gz" : "idx"), compressed ? "wb" : "wbT");
        if (!file || gzwrite(file, header, 16) != 16) die("cannot write");
        if (gzwrite(file, images->values, ROWS * PIXELS) != ROWS * PIXELS || gzclose(file) != Z_OK) die("cannot write");
    }
}

static void write_files(const data_table *images, const data_table *reals) {
    ad_error error = {AD_OK, ""};
    const data_named named = {"x", images};
    if (data_write_npy(path_of("npy"), reals, &error) != AD_OK) die(error.message);
    if (data_write_npz(path_of("stored.npz"), &named, 1, false, &error) != AD_OK) die(error.message);
    if (data_write_npz(path_of("deflate.npz"), &named, 1, true, &error) != AD_OK) die(error.message);
    write_idx(images);
}

// ---- measuring ------------------------------------------------------------------------------------------------------

static void print(const char *what, double bytes, double seconds) {
    printf("| %s | %.0f | %.2f |\n", what, bytes / 1e6, bytes / seconds / 1e9);
    fflush(stdout);
}

static void copy(size_t size, const char *what) {
    void *a = memory(size), *b = memory(size);
    double best = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        double start = now();
        memcpy(b, a, size);
        double spent = now() - start;
        if (spent < best) best = spent;
    }
    print(what, (double)size, best);
    free(a);
    free(b);
}

// Opens the file anew and gathers all rows in order, in batches of about 64 KiB that stay in the cache.
static void read_all(const char *what, const char *name, data_table *(*read)(const char *, ad_error *), ad_type type) {
    double best = 1e9, bytes = 0;
    ad_error error = {AD_OK, ""};
    for (int round = 0; round < ROUNDS; round++) {
        double start = now();
        data_table *table = read(path_of(name), &error);
        if (!table) die(error.message);
        int64_t n = 65536 / (table->columns * (int64_t)ad_type_size(type)) + 1, rows[70000];
        void *out = memory((size_t)(n * table->columns) * ad_type_size(type));
        for (int64_t first = 0; first < table->rows; first += n) {
            int64_t k = 0;
            for (; k < n && first + k < table->rows; k++) rows[k] = first + k;
            if (data_gather(table, rows, k, 0, table->columns, type, out, &error) != AD_OK) die(error.message);
        }
        double spent = now() - start;
        if (spent < best) best = spent;
        bytes = (double)(table->rows * table->columns) * (double)data_type_size(table->type);
        free(out);
        data_table_free(table);
    }
    print(what, bytes, best);
}

// A whole epoch of shuffled batches; bytes of the batches.
static void shuffled(const char *what, const data_table *table, ad_type type) {
    static int64_t rows[BATCH];
    size_t row = (size_t)table->columns * ad_type_size(type);
    void *out = memory(BATCH * row);
    double best = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        const data_batches batches = {.count = table->rows, .size = BATCH, .seed = 1};
        double start = now();
        for (int64_t k = 0; k < data_batch_count(&batches); k++) {
            int64_t n = data_batch(&batches, round, k, rows);
            if (data_gather(table, rows, n, 0, table->columns, type, out, NULL) != AD_OK) die("gather failed");
        }
        double spent = now() - start;
        if (spent < best) best = spent;
    }
    print(what, (double)table->rows * (double)row, best);
    free(out);
}

static data_table *read_npz(const char *path, ad_error *error) {
    return data_read_npz(path, "x", error);
}

int main(int argc, char **argv) {
    static const char *const files[] = {"npy", "stored.npz", "deflate.npz", "idx", "idx.gz"};
    snprintf(folder, sizeof folder, "%s", argc > 1 ? argv[1] : "/tmp");
    data_table *images = random_table(DATA_U8, ROWS, PIXELS), *reals = random_table(DATA_F32, SCALARS / 64, 64);
    write_files(images, reals);
    printf("| what | MB | GB/s |\n|---|---|---|\n");
    copy(ROWS * PIXELS, "memcpy of 47 MB");
    copy(65536, "memcpy of 64 KiB");
    read_all(".npy of f4 opened, and read to f32", "npy", data_read_npy, AD_F32);
    read_all("IDX opened, and read to f32 (bytes of the file)", "idx", data_read_idx, AD_F32);
    read_all("IDX.gz opened, and read to f32 (bytes of the images)", "idx.gz", data_read_idx, AD_F32);
    read_all(".npz, stored, opened, and read to f32 (bytes of the images)", "stored.npz", read_npz, AD_F32);
    read_all(".npz, deflate, opened, and read to f32 (bytes of the images)", "deflate.npz", read_npz, AD_F32);
    shuffled("shuffled batches of 512: 784 bytes to f32", images, AD_F32);
    shuffled("shuffled batches of 512: 784 bytes to f64", images, AD_F64);
    shuffled("shuffled batches of 512: 64 f4 to f32", reals, AD_F32);
    static const int64_t widths[] = {21, 784};
    for (int type = 0; type < DATA_TYPES; type++) {
        for (int w = 0; w < 2; w++) {
            data_table *table = random_table((data_type)type, SCALARS / widths[w], widths[w]);
            char what[100];
            snprintf(what, sizeof what, "shuffled batches of 512: %d %s to f32", (int)widths[w],
                     data_type_name((data_type)type));
            shuffled(what, table, AD_F32);
            data_table_free(table);
        }
    }
    for (int i = 0; i < 5; i++) remove(path_of(files[i]));
    data_table_free(images);
    data_table_free(reals);
}
