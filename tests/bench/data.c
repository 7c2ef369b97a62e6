// data.c -- times the data loaders and prints JSON lines: data make FILE [ROWS] [DIGITS] | csv FILE | cache FILE |
// batches
//
// make writes a table of 16 columns of normal numbers. csv reads it into memory, cache from its cache, which it leaves
// behind. batches assembles shuffled batches of 256 rows: 64 floats and 784 bytes a row, with and without a thread
// ahead of a reader that adds up what it gets.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "data.h"

enum { COLUMNS = 16, REPS = 7, BATCH = 256, STEPS = 2000 };

static _Noreturn void fail(const char *message) {
    fprintf(stderr, "data: %s\n", message);
    exit(1);
}

static double now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void make(const char *path, int64_t rows, int digits) {
    FILE *file = fopen(path, "w");
    if (!file) fail("could not write the file");
    const data_density *moons = data_find_density("moons");
    for (int64_t row = 0; row < rows; row++) {
        double x[COLUMNS];
        moons->sample(COLUMNS / 2, 1, row * (COLUMNS / 2), x);
        for (int k = 0; k < COLUMNS; k++) fprintf(file, "%.*g%c", digits, x[k], k + 1 < COLUMNS ? ',' : '\n');
    }
    if (fclose(file) != 0) fail("could not write the file");
}

// Wall time, and the processor's time for a machine that others use.
static void time_csv(const char *name, const char *path, data_cache cache) {
    const data_csv_options options = {.cache = cache};
    struct stat info;
    ad_error error;
    double wall[REPS], cpu[REPS];
    if (stat(path, &info) != 0) fail("no such file");
    for (int r = -1; r < REPS; r++) {
        double start = now(CLOCK_MONOTONIC), begun = now(CLOCK_PROCESS_CPUTIME_ID);
        data_table *table = data_read_csv(path, &options, &error);
        if (!table) fail(error.message);
        if (r >= 0) wall[r] = now(CLOCK_MONOTONIC) - start, cpu[r] = now(CLOCK_PROCESS_CPUTIME_ID) - begun;
        data_table_free(table);
    }
    qsort(wall, REPS, sizeof *wall, by_value);
    qsort(cpu, REPS, sizeof *cpu, by_value);
    double mb = (double)info.st_size * 1e-6;
    printf(
        "{\"workload\": \"%s\", \"mb\": %.1f, \"ms\": %.1f, \"ms_median\": %.1f, \"mb_per_s\": %.0f, \"ms_cpu\": %.1f, "
        "\"mb_per_cpu_s\": %.0f}\n",
        name, mb, 1e3 * wall[0], 1e3 * wall[REPS / 2], mb / wall[0], 1e3 * cpu[0], mb / cpu[0]);
}

static double sum_of(const data_loaded *b, int64_t width) {
    const float *x = b->x.data;
    double sum = 0;
    for (int64_t i = 0; i < b->n * width; i++) sum += x[i];
    return sum;
}

// Seconds for STEPS batches; read: with each added up.
static double run(const data_set *set, int ahead, bool read) {
    ad_error error;
    const data_batches batches = {.count = set->rows, .size = BATCH, .seed = 1, .drop_last = true};
    data_loader *loader = data_loader_new(set, &batches, &(data_loader_options){.ahead = ahead}, &error);
    if (!loader) fail(error.message);
    double best = INFINITY, sum = 0;
    for (int r = 0; r < REPS; r++) {
        double start = now(CLOCK_MONOTONIC);
        for (int step = 0; step < STEPS; step++) {
            const data_loaded *b = data_loader_next(loader, &error);
            if (!b) fail(error.message);
            if (read) sum += sum_of(b, set->features);
        }
        best = fmin(best, now(CLOCK_MONOTONIC) - start);
    }
    data_loader_free(loader);
    return isfinite(sum) ? best : NAN;
}

static void time_batches(const char *name, data_type type, int64_t rows, int64_t columns) {
    ad_error error;
    data_set set;
    data_table *table = data_table_new(type, rows, columns, &error);
    if (!table) fail(error.message);
    memset(data_values(table), 1, (size_t)(rows * columns) * data_type_size(type));
    if (data_set_make(&set, &(data_set_parts){.x = {{table}}}, &error) != AD_OK) fail(error.message);
    double alone = run(&set, -1, false), read = run(&set, -1, true), ahead = run(&set, 2, true);
    double gb = 1e-9 * STEPS * BATCH * (double)columns;
    printf(
        "{\"workload\": \"batches %s x %lld\", \"ms\": %.4f, \"gb_per_s_read\": %.2f, \"gb_per_s_written\": %.2f, "
        "\"ms_with_reader\": %.4f, \"ms_with_reader_and_thread\": %.4f}\n",
        name, (long long)columns, 1e3 * alone / STEPS, gb * (double)data_type_size(type) / alone, 4 * gb / alone,
        1e3 * read / STEPS, 1e3 * ahead / STEPS);
    data_table_free(table);
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "", *path = argc > 2 ? argv[2] : NULL;
    if (path && strcmp(what, "make") == 0) {
        make(path, argc > 3 ? atoll(argv[3]) : 400000, argc > 4 ? atoi(argv[4]) : 6);
    } else if (path && strcmp(what, "csv") == 0) {
        time_csv("csv", path, DATA_CACHE_NEVER);
    } else if (path && strcmp(what, "cache") == 0) {
        time_csv("cache", path, DATA_CACHE_ALWAYS);
    } else if (strcmp(what, "batches") == 0) {
        time_batches("f4", DATA_F32, 1000000, 64);
        time_batches("u1", DATA_U8, 60000, 784);
    } else {
        fail("expected make FILE [ROWS] [DIGITS], csv FILE, cache FILE or batches");
    }
    return 0;
}
