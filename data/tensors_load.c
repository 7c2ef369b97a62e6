// tensors_load.c -- reads a .safetensors file whole, believing nothing in it that was not checked.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "tensors.h"

// Nesting: the header, an entry, a list in it.
enum { DEEPEST = 3, LONGEST_LIST = 16, MEMORY_ALIGNMENT = 64 };

typedef struct loading {
    const char *path;
    ad_error *error;
    unsigned char *memory;  // the file, shifted so that the tensors start at a multiple of MEMORY_ALIGNMENT
    unsigned char *file;    // its first byte
    uint64_t file_size;
    char *header;
    size_t header_size;
    unsigned char *body;
    uint64_t body_size;
    json_t *root;
} loading;

typedef struct placed {
    data_tensor tensor;
    uint64_t begin, end;
} placed;

static ad_status fail(const loading *l, const char *what) {
    return ad_fail(l->error, AD_EFORMAT, "%s: .safetensors: %s", l->path, what);
}

static ad_status fail_tensor(const loading *l, const char *name, const char *what) {
    char shown[64];
    return ad_fail(l->error, AD_EFORMAT, "%s: tensor \"%s\": %s", l->path, data_quote(shown, sizeof shown, name, strlen(name)),
                   what);
}

// ---- the file ----

static ad_status read_bytes(loading *l, int fd) {
    unsigned char size[8];
    if (l->file_size < sizeof size + 2) return fail(l, "the file is too short for a header");
    ad_status status = data_read_at(fd, l->path, size, sizeof size, 0, l->error);
    if (status != AD_OK) return status;
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--) n = n << 8 | size[i];
    if (n > l->file_size - 8) return fail(l, "the header is longer than the file: not a .safetensors file, or cut short");
    if (n > DATA_HEADER_MAX) return fail(l, "the header is longer than 16 MiB");
    if (l->file_size > SIZE_MAX / 2) return fail(l, "the file is larger than the memory of this machine");
    size_t shift = MEMORY_ALIGNMENT - (8 + n) % MEMORY_ALIGNMENT;
    // At least one byte beyond the file, so that an empty body has an address.
    size_t room = (shift + l->file_size) / MEMORY_ALIGNMENT * MEMORY_ALIGNMENT + MEMORY_ALIGNMENT;
    l->memory = aligned_alloc(MEMORY_ALIGNMENT, room);
    if (l->memory == NULL) {
        return ad_fail(l->error, AD_ENOMEM, "%s: out of memory for %llu bytes", l->path, (unsigned long long)l->file_size);
    }
    l->file = l->memory + shift;
    l->header = (char *)l->file + 8;
    l->header_size = (size_t)n;
    l->body = l->file + 8 + n;
    l->body_size = l->file_size - 8 - n;
    status = data_read_at(fd, l->path, l->file, (size_t)l->file_size, 0, l->error);
    // The file may have been written to between the two reads.
    if (status == AD_OK && memcmp(l->file, size, sizeof size) != 0) return fail(l, "the file changed while it was read");
    return status;
}

static ad_status read_file(loading *l) {
    int fd = data_open(l->path, &l->file_size, l->error);
    if (fd < 0) return AD_EIO;
    ad_status status = read_bytes(l, fd);
    close(fd);
    return status;
}

// ---- the header ----

// What no header needs is refused before the parser builds it: deep nesting, long lists, numbers that are not natural.
static ad_status check_text(const loading *l) {
    int depth = 0, commas = 0;
    bool inside = false;
    for (size_t i = 0; i < l->header_size; i++) {
        char c = l->header[i];
        if (inside) {
            if (c == '\\') i++;
            inside = c != '"';
            continue;
        }
        inside = c == '"';
        depth += (c == '{' || c == '[') - (c == '}' || c == ']');
        commas = c == ',' ? commas + 1 : c == '[' || c == '"' ? 0 : commas;
        if (depth > DEEPEST) return fail(l, "the header is nested too deeply");
        if (commas > LONGEST_LIST) return fail(l, "the header has a list that is too long");
        if (c == '\0' || strchr("{}[]:,\" \t\r\n0123456789", c) == NULL) {
            return ad_fail(l->error, AD_EFORMAT, "%s: .safetensors header, byte %zu: expected texts and natural numbers only",
                           l->path, i);
        }
    }
    return AD_OK;
}

static ad_status parse_header(loading *l) {
    if (l->header[0] != '{') return fail(l, "the header does not start with '{'");
    ad_status status = check_text(l);
    if (status != AD_OK) return status;
    json_error_t why;
    l->root = json_loadb(l->header, l->header_size, JSON_REJECT_DUPLICATES, &why);
    if (l->root == NULL) {
        char shown[JSON_ERROR_TEXT_LENGTH];
        return ad_fail(l->error, AD_EFORMAT, "%s: .safetensors header, byte %d: %s", l->path, why.position,
                       data_quote(shown, sizeof shown, why.text, strlen(why.text)));
    }
    return json_is_object(l->root) ? AD_OK : fail(l, "the header is not an object");
}

// ---- the digest ----

static ad_status check_digest(const loading *l, const json_t *meta) {
    const char *format = json_string_value(json_object_get(meta, DATA_FORMAT_KEY));
    const char *wanted = json_string_value(json_object_get(meta, DATA_DIGEST_KEY));
    if (format == NULL || wanted == NULL) return fail(l, "damaged: the entries of this library are not all there");
    const char *place = data_digest_place(l->header, l->header_size);
    if (place == NULL) return fail(l, "damaged, or written anew by another tool: the digest is not where it was put");
    const unsigned char *after = (const unsigned char *)place + DATA_DIGEST_SIZE;
    const data_piece pieces[3] = {
        {l->file, (size_t)((const unsigned char *)place - l->file)},
        {DATA_DIGEST_ZERO, DATA_DIGEST_SIZE},
        {after, (size_t)(l->file + l->file_size - after)},
    };
    char digest[DATA_DIGEST_SIZE + 1];
    ad_status status = data_digest(pieces, 3, digest, l->error);
    if (status != AD_OK) return status;
    if (memcmp(digest, place, DATA_DIGEST_SIZE) != 0) return fail(l, "damaged: its digest does not match its content");
    if (strcmp(format, DATA_FORMAT_VALUE) == 0) return AD_OK;
    return fail(l, "written by a newer version of this library");
}

static ad_status check_meta(const loading *l) {
    const json_t *meta = json_object_get(l->root, "__metadata__");
    if (meta == NULL) return AD_OK;
    if (!json_is_object(meta)) return fail(l, "__metadata__ is not an object of texts");
    const char *key;
    json_t *value;
    bool ours = false;
    json_object_foreach((json_t *)(uintptr_t)meta, key, value) {
        if (!json_is_string(value)) return fail(l, "__metadata__ holds something that is not a text");
        ours = ours || data_key_is_ours(key);
    }
    return ours ? check_digest(l, meta) : AD_OK;
}

// ---- the tensors ----

static bool read_size(const json_t *value, uint64_t *size) {
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *size = (uint64_t)json_integer_value(value);
    return true;
}

static ad_status read_shape(const loading *l, const char *name, const json_t *array, ad_shape *shape) {
    if (!json_is_array(array)) return fail_tensor(l, name, "shape is not a list");
    if (json_array_size(array) > AD_MAX_RANK) return fail_tensor(l, name, "it has more than 6 dimensions");
    *shape = ad_shape0();
    shape->rank = (int)json_array_size(array);
    for (int i = 0; i < shape->rank; i++) {
        uint64_t dim;
        if (!read_size(json_array_get(array, (size_t)i), &dim)) return fail_tensor(l, name, "shape has no natural number");
        shape->dim[i] = (int64_t)dim;
    }
    return ad_shape_count(*shape) < 0 ? fail_tensor(l, name, "it has more than 2^31 - 1 elements") : AD_OK;
}

static ad_status read_entry(const loading *l, const char *name, const json_t *entry, placed *p) {
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    const json_t *offsets = json_object_get(entry, "data_offsets");
    if (!data_name_ok(name)) return fail_tensor(l, name, "a name is 1 to 256 bytes without control characters");
    if (dtype == NULL || json_object_size(entry) != 3 || json_array_size(offsets) != 2) {
        return fail_tensor(l, name, "expected dtype, shape and two data_offsets");
    }
    if (strcmp(dtype, "F32") != 0 && strcmp(dtype, "F64") != 0) {
        char what[80], shown[24];
        snprintf(what, sizeof what, "dtype %s, expected F32 or F64", data_quote(shown, sizeof shown, dtype, strlen(dtype)));
        return fail_tensor(l, name, what);
    }
    p->tensor.name = name;
    p->tensor.type = strcmp(dtype, "F32") == 0 ? AD_F32 : AD_F64;
    ad_status status = read_shape(l, name, json_object_get(entry, "shape"), &p->tensor.shape);
    if (status != AD_OK) return status;
    if (!read_size(json_array_get(offsets, 0), &p->begin) || !read_size(json_array_get(offsets, 1), &p->end) ||
        p->begin > p->end || p->end > l->body_size) {
        return fail_tensor(l, name, "data_offsets are not in the file");
    }
    uint64_t bytes = (uint64_t)ad_shape_count(p->tensor.shape) * ad_type_size(p->tensor.type);
    return bytes == p->end - p->begin ? AD_OK : fail_tensor(l, name, "data_offsets do not fit dtype and shape");
}

static int by_place(const void *a, const void *b) {
    const placed *p = a, *q = b;
    if (p->begin != q->begin) return p->begin < q->begin ? -1 : 1;
    return (p->end > q->end) - (p->end < q->end);
}

// No holes, no overlaps, nothing after the last one.
static ad_status check_tiling(const loading *l, const placed *p, int64_t n) {
    uint64_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        if (p[i].begin != at) {
            return fail_tensor(l, p[i].tensor.name, p[i].begin < at ? "it overlaps another" : "there is a hole before it");
        }
        at = p[i].end;
    }
    return at == l->body_size ? AD_OK : fail(l, "there are bytes after the last tensor");
}

static ad_status read_entries(const loading *l, placed *p, int64_t n) {
    const char *name;
    json_t *entry;
    int64_t i = 0;
    json_object_foreach(l->root, name, entry) {
        if (strcmp(name, "__metadata__") == 0) continue;
        ad_status status = read_entry(l, name, entry, &p[i++]);
        if (status != AD_OK) return status;
    }
    qsort(p, (size_t)n, sizeof *p, by_place);
    return check_tiling(l, p, n);
}

// ---- the result ----

// Points every tensor at its bytes; those that the file holds misaligned are copied.
static ad_status place_tensors(const loading *l, placed *p, int64_t n, data_tensors *out) {
    size_t extra = 0;
    for (int64_t i = 0; i < n; i++) extra += p[i].begin % 8 != 0 && p[i].tensor.type == AD_F64 ? p[i].end - p[i].begin : 0;
    double *copy = out->storage->extra = malloc(extra + 1);
    data_tensor *tensor = malloc((size_t)(n + 1) * sizeof *tensor);
    out->tensor = tensor;
    if (copy == NULL || tensor == NULL) return ad_fail(l->error, AD_ENOMEM, "%s: out of memory for its tensors", l->path);
    for (int64_t i = 0; i < n; i++) {
        size_t size = (size_t)(p[i].end - p[i].begin);
        tensor[i] = p[i].tensor;
        tensor[i].data = l->body + p[i].begin;
        if (p[i].begin % ad_type_size(tensor[i].type) == 0) continue;
        tensor[i].data = memcpy(copy, l->body + p[i].begin, size);
        copy += size / sizeof *copy;
    }
    out->n = n;
    return AD_OK;
}

static ad_status place_meta(const loading *l, data_tensors *out) {
    json_t *object = json_object_get(l->root, "__metadata__");
    data_meta *meta = malloc((json_object_size(object) + 1) * sizeof *meta);
    out->meta = meta;
    if (meta == NULL) return ad_fail(l->error, AD_ENOMEM, "%s: out of memory for its metadata", l->path);
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) {
        if (data_key_is_ours(key)) continue;
        meta[out->n_meta++] = (data_meta){key, json_string_value(value)};
    }
    return AD_OK;
}

static ad_status read_tensors(loading *l, data_tensors *out) {
    size_t entries = json_object_size(l->root);
    int64_t n = (int64_t)entries - (json_object_get(l->root, "__metadata__") != NULL);
    if (n > DATA_TENSORS_MAX) return fail(l, "it holds more than 1000000 tensors");
    placed *p = calloc((size_t)n + 1, sizeof *p);
    if (p == NULL) return ad_fail(l->error, AD_ENOMEM, "%s: out of memory for its tensors", l->path);
    ad_status status = read_entries(l, p, n);
    if (status == AD_OK) status = place_tensors(l, p, n, out);
    if (status == AD_OK) status = place_meta(l, out);
    free(p);
    return status;
}

data_tensors *data_load_tensors(const char *path, ad_error *error) {
    loading l = {.path = path, .error = error};
    data_tensors *out = calloc(1, sizeof *out);
    if (out != NULL) out->storage = calloc(1, sizeof *out->storage);
    ad_status status = AD_OK;
    if (out == NULL || out->storage == NULL) status = ad_fail(error, AD_ENOMEM, "%s: out of memory", path);
    if (!data_host_is_little_endian()) status = ad_fail(error, AD_EARG, "%s: not read on big-endian machines", path);
    if (status == AD_OK) status = read_file(&l);
    if (status == AD_OK) status = parse_header(&l);
    if (status == AD_OK) status = check_meta(&l);
    if (status == AD_OK) status = read_tensors(&l, out);
    if (out != NULL && out->storage != NULL) {
        out->storage->memory = l.memory;
        out->storage->json = l.root;
    }
    if (status == AD_OK) return out;
    data_tensors_free(out);
    return NULL;
}

void data_tensors_free(data_tensors *tensors) {
    if (tensors == NULL) return;
    if (tensors->storage != NULL) {
        free(tensors->storage->memory);
        free(tensors->storage->extra);
        json_decref(tensors->storage->json);
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
