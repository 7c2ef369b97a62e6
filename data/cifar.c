// cifar.c -- CIFAR-10 and CIFAR-100 in their binary version: records of one or two labels and an image.
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { IMAGE = 3 * 32 * 32 };

// The two kinds, by how many labels a record has.
typedef struct kind {
    const char *name;
    size_t labels;
    unsigned char classes[2];
    const char *const *names;
} kind;

static const char *const class_names[] = {"class"}, *const two_names[] = {"coarse", "fine"};
static const kind kinds[] = {{"CIFAR-10", 1, {10}, class_names}, {"CIFAR-100", 2, {20, 100}, two_names}};

// The first record of a file whose labels do not fit, or rows; with the bad label's place.
static size_t check_labels(const kind *k, const data_map *map, size_t *place) {
    size_t record = IMAGE + k->labels, rows = map->size / record;
    for (size_t r = 0; r < rows; r++) {
        for (*place = 0; *place < k->labels; ++*place) {
            if (map->bytes[r * record + *place] >= k->classes[*place]) return r;
        }
    }
    return rows;
}

bool data_cifar_fits(const data_map *map) {
    for (int i = 0; i < 2; i++) {
        size_t place, record = IMAGE + kinds[i].labels;
        if (map->size % record == 0 && check_labels(&kinds[i], map, &place) == map->size / record) return true;
    }
    return false;
}

static const kind *find_kind(const char *path, const data_map *map, ad_error *error) {
    size_t place = 0, bad = 0;
    const kind *sized = NULL;
    for (int i = 0; i < 2; i++) {
        size_t record = IMAGE + kinds[i].labels;
        if (map->size % record != 0) continue;
        bad = check_labels(&kinds[i], map, &place);
        if (bad == map->size / record) return &kinds[i];
        sized = &kinds[i];
    }
    if (sized == NULL) {
        ad_fail(error, AD_EFORMAT, "%s: %zu bytes, expected records of 3073 (CIFAR-10) or 3074 (CIFAR-100)", path,
                map->size);
    } else {
        size_t at = bad * (IMAGE + sized->labels) + place;
        ad_fail(error, AD_EFORMAT, "%s: byte %zu: label %d of image %zu, expected less than %d (%s)", path, at,
                map->bytes[at], bad, sized->classes[place], sized->name);
    }
    return NULL;
}

// ---- tables ---------------------------------------------------------------------------------------------------------

typedef struct files {
    const char *const *paths;
    int n;
    data_map *maps;  // [n]
    const kind *kind;
    int64_t rows;  // of all
    ad_error *error;
} files;

static ad_status open_files(files *f) {
    for (int i = 0; i < f->n; i++) {
        if (data_map_file(f->paths[i], &f->maps[i], f->error) != AD_OK) return AD_EIO;
        const kind *found = find_kind(f->paths[i], &f->maps[i], f->error);
        if (found == NULL) return AD_EFORMAT;
        if (f->kind != NULL && found != f->kind) {
            return ad_fail(f->error, AD_EFORMAT, "%s: a file of %s, expected %s as in %s", f->paths[i], found->name,
                           f->kind->name, f->paths[0]);
        }
        f->kind = found;
        f->rows += (int64_t)(f->maps[i].size / (IMAGE + found->labels));
    }
    return AD_OK;
}

// Copies columns first .. first + columns - 1 of all records.
static data_table *copy_columns(const files *f, size_t first, size_t columns) {
    data_table *table = data_table_new(DATA_U8, f->rows, (int64_t)columns, f->error);
    if (table == NULL) return NULL;
    unsigned char *out = data_values(table);
    size_t record = IMAGE + f->kind->labels;
    for (int i = 0; i < f->n; i++) {
        for (size_t at = 0; at < f->maps[i].size; at += record, out += columns) {
            memcpy(out, f->maps[i].bytes + at + first, columns);
        }
    }
    return table;
}

static data_table *read_images(files *f) {
    if (f->n > 1) return copy_columns(f, f->kind->labels, IMAGE);
    data_table *table = data_table_bare(DATA_U8, f->rows, IMAGE, f->error);
    if (table == NULL) return NULL;
    table->values = f->maps[0].bytes + f->kind->labels;
    table->row_stride = IMAGE + f->kind->labels;
    table->storage->map = f->maps[0];
    f->maps[0].bytes = NULL;
    return table;
}

data_table *data_read_cifar(const char *const *paths, int n, data_table **labels, ad_error *error) {
    if (labels != NULL) *labels = NULL;
    files f = {.paths = paths, .n = n, .error = error};
    if (n >= 1) f.maps = calloc((size_t)n, sizeof *f.maps);
    if (f.maps == NULL) {
        ad_fail(error, n < 1 ? AD_EARG : AD_ENOMEM, n < 1 ? "no files of CIFAR given" : "out of memory");
        return NULL;
    }
    data_table *images = NULL, *classes = NULL;
    if (open_files(&f) == AD_OK) classes = copy_columns(&f, 0, f.kind->labels);
    if (classes != NULL) images = read_images(&f);
    if (images != NULL) images->shape = ad_shape3(3, 32, 32);
    if (classes != NULL) classes->names = f.kind->names;
    for (int i = 0; i < n; i++) data_unmap(&f.maps[i]);
    free(f.maps);
    if (images == NULL || labels == NULL) {
        data_table_free(classes);
    } else {
        *labels = classes;
    }
    return images;
}
