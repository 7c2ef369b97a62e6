// images.c -- folders of PNG images of one size, in one folder or one to a class.
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "images.h"

// ---- lists of names -------------------------------------------------------------------------------------------------

typedef struct list {
    char **name;  // each of malloc
    size_t n, room;
} list;

static void list_free(list *l) {
    for (size_t i = 0; i < l->n; i++) free(l->name[i]);
    free(l->name);
    *l = (list){NULL, 0, 0};
}

// Takes name, which may be NULL for want of memory.
static bool list_add(list *l, char *name) {
    if (name != NULL && l->n == l->room) {
        size_t room = l->room == 0 ? 64 : 2 * l->room;
        char **larger = realloc(l->name, room * sizeof *larger);
        if (larger != NULL) l->name = larger, l->room = room;
    }
    if (name == NULL || l->n == l->room) {
        free(name);
        return false;
    }
    l->name[l->n++] = name;
    return true;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list_sort(list *l) {
    if (l->n > 0) qsort(l->name, l->n, sizeof *l->name, by_name);
}

static char *join(const char *folder, const char *name) {
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = malloc(size);
    if (path != NULL) snprintf(path, size, "%s/%s", folder, name);
    return path;
}

// ---- what there is to read ------------------------------------------------------------------------------------------

typedef struct folder {
    const char *path;
    ad_error *error;
    list files, classes;  // paths of images; names of sub-folders
    int32_t *label;       // [files.n]; NULL: no classes
    size_t labels_room;
} folder;

static ad_status out_of_memory(const folder *f) {
    return ad_fail(f->error, AD_ENOMEM, "%s: out of memory for the images", f->path);
}

// Adds the images of a folder to files, in the order of their names, and the names of its folders to folders, where
// that is wanted. Names that start with a dot, and files that do not end in .png, are left alone.
static ad_status scan(folder *f, const char *path, list *folders) {
    DIR *dir = opendir(path);
    if (dir == NULL) return data_fail_system(f->error, path, "open it", errno);
    list found = {NULL, 0, 0};
    ad_status status = AD_OK;
    for (struct dirent *entry; status == AD_OK && (entry = readdir(dir)) != NULL;) {
        struct stat info;
        if (entry->d_name[0] == '.' || fstatat(dirfd(dir), entry->d_name, &info, 0) != 0) continue;
        bool ok = true;
        if (S_ISDIR(info.st_mode)) {
            if (folders != NULL) ok = list_add(folders, strdup(entry->d_name));
        } else if (data_ends_with(entry->d_name, ".png")) {
            ok = list_add(&found, join(path, entry->d_name));
        }
        if (!ok) status = out_of_memory(f);
    }
    closedir(dir);
    list_sort(&found);
    for (size_t i = 0; i < found.n; i++) {
        if (!list_add(&f->files, found.name[i])) status = out_of_memory(f);
    }
    found.n = 0;  // they are in files now
    list_free(&found);
    return status;
}

static ad_status add_labels(folder *f, size_t class, size_t first) {
    if (f->files.n > f->labels_room) {
        size_t room = f->files.n < 64 ? 64 : 2 * f->files.n;
        int32_t *larger = realloc(f->label, room * sizeof *larger);
        if (larger == NULL) return out_of_memory(f);
        f->label = larger;
        f->labels_room = room;
    }
    for (size_t i = first; i < f->files.n; i++) f->label[i] = (int32_t) class;
    return AD_OK;
}

static ad_status scan_class(folder *f, size_t class) {
    char *path = join(f->path, f->classes.name[class]);
    if (path == NULL) return out_of_memory(f);
    size_t first = f->files.n;
    ad_status status = scan(f, path, NULL);
    if (status == AD_OK && f->files.n == first) {
        status = ad_fail(f->error, AD_EFORMAT, "%s: no .png files, expected the images of a class", path);
    }
    free(path);
    return status == AD_OK ? add_labels(f, class, first) : status;
}

static ad_status scan_all(folder *f) {
    struct stat info;
    if (stat(f->path, &info) == 0 && !S_ISDIR(info.st_mode)) {  // one image
        return list_add(&f->files, strdup(f->path)) ? AD_OK : out_of_memory(f);
    }
    ad_status status = scan(f, f->path, &f->classes);
    if (status != AD_OK) return status;
    if (f->files.n > 0 && f->classes.n > 0) {
        return ad_fail(f->error, AD_EFORMAT, "%s: both images and folders, such as %s, expected one or the other",
                       f->path, f->classes.name[0]);
    }
    if (f->files.n == 0 && f->classes.n == 0) {
        return ad_fail(f->error, AD_EFORMAT, "%s: neither .png files nor folders of them", f->path);
    }
    list_sort(&f->classes);
    for (size_t i = 0; i < f->classes.n && status == AD_OK; i++) status = scan_class(f, i);
    return status;
}

// ---- pixels ---------------------------------------------------------------------------------------------------------

// Images one after the other. Memory doubles as they come, so that a list of many files claims nothing.
typedef struct pixels {
    data_png first;  // what all are like
    unsigned char *bytes;
    size_t n, room;  // images
} pixels;

static ad_status make_room(const folder *f, pixels *p) {
    if (p->n < p->room) return AD_OK;
    uint64_t bytes, room = p->room == 0 ? 1 : 2 * (uint64_t)p->room;
    if (room > f->files.n) room = f->files.n;
    unsigned char *larger = NULL;
    if (data_mul(room, data_png_bytes(&p->first), &bytes) && bytes <= SIZE_MAX / 2) {
        larger = realloc(p->bytes, (size_t)bytes);
    }
    if (larger == NULL) return out_of_memory(f);
    p->bytes = larger;
    p->room = (size_t)room;
    return AD_OK;
}

static ad_status add_image(const folder *f, pixels *p, data_png *png) {
    const data_png *want = &p->first;
    if (p->n == 0) p->first = *png;
    if (png->height != want->height || png->width != want->width || png->channels != want->channels ||
        png->depth != want->depth) {
        return ad_fail(f->error, AD_EFORMAT,
                       "%s: %zu x %zu pixels of %zu channels and %zu bits, expected %zu x %zu of %zu and %zu as in %s",
                       png->path, png->height, png->width, png->channels, png->depth, want->height, want->width,
                       want->channels, want->depth, f->files.name[0]);
    }
    ad_status status = make_room(f, p);
    if (status == AD_OK) status = data_png_pixels(png, p->bytes + p->n * data_png_bytes(png));
    p->n++;
    return status;
}

static ad_status read_image(const folder *f, pixels *p, const char *path) {
    data_map map;
    data_png png;
    ad_status status = data_map_file(path, &map, f->error);
    if (status != AD_OK) return status;
    status = data_png_open(&png, path, map.bytes, map.size, f->error);
    if (status == AD_OK) {
        status = add_image(f, p, &png);
        data_png_close(&png);
    }
    data_unmap(&map);
    return status;
}

static data_table *read_images(const folder *f) {
    pixels p = {.n = 0};
    ad_status status = AD_OK;
    for (size_t i = 0; i < f->files.n && status == AD_OK; i++) status = read_image(f, &p, f->files.name[i]);
    if (status != AD_OK) {
        free(p.bytes);
        return NULL;
    }
    data_array array = {.path = f->path, .error = f->error, .rank = 4};
    array.type = p.first.depth == 16 ? DATA_U16 : DATA_U8;
    const size_t dim[4] = {p.n, p.first.height, p.first.width, p.first.channels};
    for (int k = 0; k < 4; k++) array.dim[k] = dim[k];
    if (data_array_check(&array, DATA_UNKNOWN) == AD_OK) return data_array_own(&array, p.bytes);
    free(p.bytes);
    return NULL;
}

// ---- labels ---------------------------------------------------------------------------------------------------------

static data_table *make_labels(const folder *f) {
    static const char *const names[] = {"class"};
    data_table *table = data_table_new(DATA_I32, (int64_t)f->files.n, 1, f->error);
    if (table == NULL) return NULL;
    memcpy(data_values(table), f->label, f->files.n * sizeof *f->label);
    table->names = names;
    return table;
}

// In one block: pointers, then texts.
static char **make_classes(const folder *f) {
    size_t text = 0;
    for (size_t i = 0; i < f->classes.n; i++) text += strlen(f->classes.name[i]) + 1;
    char **names = malloc((f->classes.n + 1) * sizeof *names + text);
    if (names == NULL) {
        out_of_memory(f);
        return NULL;
    }
    char *at = (char *)(names + f->classes.n + 1);
    for (size_t i = 0; i < f->classes.n; i++) {
        names[i] = at;
        at = stpcpy(at, f->classes.name[i]) + 1;
    }
    names[f->classes.n] = NULL;
    return names;
}

static data_table *read_all(const folder *f, data_table **labels, char ***classes) {
    bool classed = f->classes.n > 0, ok = true;
    if (labels != NULL && classed) ok = (*labels = make_labels(f)) != NULL;
    if (ok && classes != NULL && classed) ok = (*classes = make_classes(f)) != NULL;
    data_table *images = ok ? read_images(f) : NULL;
    if (images != NULL) return images;
    if (labels != NULL) data_table_free(*labels), *labels = NULL;
    if (classes != NULL) free(*classes), *classes = NULL;
    return NULL;
}

data_table *data_read_png(const char *path, data_table **labels, char ***classes, ad_error *error) {
    folder f = {.path = path, .error = error};
    if (labels != NULL) *labels = NULL;
    if (classes != NULL) *classes = NULL;
    data_table *images = NULL;
    if (path == NULL || *path == '\0') {
        ad_fail(error, AD_EARG, "no folder of images given");
    } else if (scan_all(&f) == AD_OK) {
        images = read_all(&f, labels, classes);
    }
    list_free(&f.files);
    list_free(&f.classes);
    free(f.label);
    return images;
}
