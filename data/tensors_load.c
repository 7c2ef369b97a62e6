// tensors_load.c -- reads a .safetensors file whole, believing nothing in it that was not checked.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tensors.h"

enum { MEMORY_ALIGNMENT = 64 };

// ---- the file ----

static ad_status read_bytes(data_loading *l, int fd) {
    unsigned char size[8];
    if (l->file_size < sizeof size + 2) return data_fail_loading(l, "the file is too short for a header");
    ad_status status = data_read_at(fd, l->path, size, sizeof size, 0, l->error);
    if (status != AD_OK) return status;
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--) n = n << 8 | size[i];
    if (n > l->file_size - 8)
        return data_fail_loading(l, "the header is longer than the file: not a .safetensors file, or cut short");
    if (n > DATA_HEADER_MAX) return data_fail_loading(l, "the header is longer than 16 MiB");
    if (l->file_size > SIZE_MAX / 2) return data_fail_memory(l);
    size_t shift = MEMORY_ALIGNMENT - (8 + n) % MEMORY_ALIGNMENT;
    // At least one byte beyond the file, so that an empty body has an address.
    size_t room = (shift + l->file_size) / MEMORY_ALIGNMENT * MEMORY_ALIGNMENT + MEMORY_ALIGNMENT;
    l->memory = aligned_alloc(MEMORY_ALIGNMENT, room);
    if (l->memory == NULL) return data_fail_memory(l);
    l->file = l->memory + shift;
    l->json.start = l->json.at = (char *)l->file + 8;
    l->json.end = l->json.start + n;
    l->body = l->file + 8 + n;
    l->body_size = l->file_size - 8 - n;
    status = data_read_at(fd, l->path, l->file, (size_t)l->file_size, 0, l->error);
    // The file may have been written to between the two reads.
    if (status == AD_OK && memcmp(l->file, size, sizeof size) != 0)
        return data_fail_loading(l, "the file changed while it was read");
    return status;
}

static ad_status read_file(data_loading *l) {
    int fd = data_open(l->path, &l->file_size, l->error);
    if (fd < 0) return AD_EIO;
    ad_status status = read_bytes(l, fd);
    close(fd);
    return status;
}

// ---- the digest ----

// Works the digest out, while the header is as it was read.
static ad_status make_digest(data_loading *l) {
    const char *place = data_digest_place(l->json.start, (size_t)(l->json.end - l->json.start));
    if (place == NULL) return AD_OK;
    const unsigned char *after = (const unsigned char *)place + DATA_DIGEST_SIZE;
    const data_piece pieces[3] = {
        {l->file, (size_t)((const unsigned char *)place - l->file)},
        {DATA_DIGEST_ZERO, DATA_DIGEST_SIZE},
        {after, (size_t)(l->file + l->file_size - after)},
    };
    return data_digest(pieces, 3, l->digest, l->error);
}

// Checks our own entries of the metadata, and takes them out of it.
static ad_status check_digest(data_loading *l) {
    const char *format = NULL, *digest = NULL;
    int64_t kept = 0;
    for (int64_t i = 0; i < l->n_meta; i++) {
        if (strcmp(l->meta[i].key, DATA_FORMAT_KEY) == 0) format = l->meta[i].value;
        if (strcmp(l->meta[i].key, DATA_DIGEST_KEY) == 0) digest = l->meta[i].value;
        if (!data_key_is_ours(l->meta[i].key)) l->meta[kept++] = l->meta[i];
    }
    if (kept == l->n_meta) return AD_OK;
    l->n_meta = kept;
    if (format == NULL || digest == NULL)
        return data_fail_loading(l, "damaged: the entries of this library are not all there");
    if (*l->digest == '\0')
        return data_fail_loading(l, "damaged, or written anew by another tool: the digest is not where it was put");
    if (strcmp(l->digest, digest) != 0) return data_fail_loading(l, "damaged: its digest does not match its content");
    if (strcmp(format, DATA_FORMAT_VALUE) == 0) return AD_OK;
    return data_fail_loading(l, "written by a newer version of this library");
}

// ---- all tensors together ----

static size_t bytes_of(const data_tensor *t) {
    return (size_t)ad_shape_count(t->shape) * ad_type_size(t->type);
}

static int by_place(const void *a, const void *b) {
    const data_tensor *p = a, *q = b;
    if (p->data != q->data) return (const char *)p->data < (const char *)q->data ? -1 : 1;
    return (bytes_of(p) > bytes_of(q)) - (bytes_of(p) < bytes_of(q));
}

// No holes, no overlaps, nothing after the last one.
static ad_status check_tiling(const data_loading *l) {
    if (l->n > 0) qsort(l->tensor, (size_t)l->n, sizeof *l->tensor, by_place);
    const unsigned char *at = l->body;
    for (int64_t i = 0; i < l->n; i++) {
        const data_tensor *t = &l->tensor[i];
        if (t->data != at) {
            return data_fail_tensor(
                l, t->name, (const unsigned char *)t->data < at ? "it overlaps another" : "there is a hole before it");
        }
        at += bytes_of(t);
    }
    return at == l->body + l->body_size ? AD_OK : data_fail_loading(l, "there are bytes after the last tensor");
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// Refuses names, and keys of the metadata, that stand twice.
static ad_status check_names(const data_loading *l) {
    const char **names = malloc((size_t)(l->n + l->n_meta + 1) * sizeof *names);
    if (names == NULL) return data_fail_memory(l);
    for (int64_t i = 0; i < l->n; i++) names[i] = l->tensor[i].name;
    for (int64_t i = 0; i < l->n_meta; i++) names[l->n + i] = l->meta[i].key;
    qsort(names, (size_t)l->n, sizeof *names, by_text);
    qsort(names + l->n, (size_t)l->n_meta, sizeof *names, by_text);
    const char *twice = NULL;
    for (int64_t i = 1; i < l->n + l->n_meta; i++) {
        if (i != l->n && strcmp(names[i - 1], names[i]) == 0) twice = names[i];
    }
    free(names);
    return twice == NULL ? AD_OK : data_fail_tensor(l, twice, "duplicate name in the header");
}

static bool misaligned(const data_tensor *t) {
    return (uintptr_t)t->data % ad_type_size(t->type) != 0;
}

// Copies doubles that the file holds misaligned: single floats of an odd count stand before them.
static ad_status align(data_loading *l, data_storage *storage) {
    size_t extra = 0;
    for (int64_t i = 0; i < l->n; i++) extra += misaligned(&l->tensor[i]) ? bytes_of(&l->tensor[i]) : 0;
    if (extra == 0) return AD_OK;
    unsigned char *copy = storage->extra = malloc(extra);
    if (copy == NULL) return data_fail_memory(l);
    for (int64_t i = 0; i < l->n; i++) {
        data_tensor *t = &l->tensor[i];
        if (!misaligned(t)) continue;
        t->data = memcpy(copy, t->data, bytes_of(t));
        copy += bytes_of(t);
    }
    return AD_OK;
}

data_tensors *data_load_tensors(const char *path, ad_error *error) {
    data_loading l = {.path = path, .error = error};
    data_tensors *out = calloc(1, sizeof *out);
    if (out != NULL) out->storage = calloc(1, sizeof *out->storage);
    ad_status status = AD_OK;
    if (out == NULL || out->storage == NULL) status = data_fail_memory(&l);
    if (!data_host_is_little_endian()) status = ad_fail(error, AD_EARG, "%s: not read on big-endian machines", path);
    if (status == AD_OK) status = read_file(&l);
    if (status == AD_OK) status = make_digest(&l);
    if (status == AD_OK) status = data_read_header(&l);
    if (status == AD_OK) status = check_names(&l);
    if (status == AD_OK) status = check_digest(&l);
    if (status == AD_OK) status = check_tiling(&l);
    if (status == AD_OK) status = align(&l, out->storage);
    if (status == AD_OK) {
        out->tensor = l.tensor;
        out->n = l.n;
        out->meta = l.meta;
        out->n_meta = l.n_meta;
        out->storage->memory = l.memory;
        return out;
    }
    free(l.memory);
    free(l.tensor);
    free(l.meta);
    data_tensors_free(out);
    return NULL;
}

void data_tensors_free(data_tensors *tensors) {
    if (tensors == NULL) return;
    if (tensors->storage != NULL) {
        free(tensors->storage->memory);
        free(tensors->storage->extra);
        free(tensors->storage);
    }
    free((void *)(uintptr_t)tensors->tensor);
    free((void *)(uintptr_t)tensors->meta);
    free(tensors);
}

const data_tensor *data_find_tensor(const data_tensors *tensors, const char *name) {
    for (int64_t i = 0; i < tensors->n; i++) {
        if (strcmp(tensors->tensor[i].name, name) == 0) return &tensors->tensor[i];
    }
    return NULL;
}

const char *data_find_meta(const data_tensors *tensors, const char *key) {
    for (int64_t i = 0; i < tensors->n_meta; i++) {
        if (strcmp(tensors->meta[i].key, key) == 0) return tensors->meta[i].value;
    }
    return NULL;
}
