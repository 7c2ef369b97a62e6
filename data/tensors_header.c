// tensors_header.c -- the header of a .safetensors file: tensors, each checked on its own, and metadata.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensors.h"

ad_status data_fail_loading(const data_loading *l, const char *what) {
    return ad_fail(l->error, AD_EFORMAT, "%s: .safetensors: %s", l->path, what);
}

static ad_status fail_header(const data_loading *l) {
    return ad_fail(l->error, AD_EFORMAT, "%s: .safetensors header, byte %lld: %s", l->path,
                   (long long)(l->json.at - l->json.start), l->json.error);
}

ad_status data_fail_tensor(const data_loading *l, const char *name, const char *what) {
    char shown[64];
    return ad_fail(l->error, AD_EFORMAT, "%s: tensor \"%s\": %s", l->path,
                   data_quote(shown, sizeof shown, name, strlen(name)), what);
}

ad_status data_fail_memory(const data_loading *l) {
    return ad_fail(l->error, AD_ENOMEM, "%s: out of memory for a file of %llu bytes", l->path,
                   (unsigned long long)l->file_size);
}

// Makes room for one more of n elements: grows by half.
static bool grow(void **array, int64_t n, int64_t *room, size_t size) {
    if (n < *room) return true;
    int64_t more = *room + *room / 2 + 8;
    void *larger = realloc(*array, (size_t)more * size);
    if (larger == NULL) return false;
    *array = larger;
    *room = more;
    return true;
}

static ad_status read_meta(data_loading *l) {
    data_json *json = &l->json;
    if (l->has_meta) return data_fail_loading(l, "__metadata__ stands twice");
    l->has_meta = true;
    if (!data_json_expect(json, '{')) return fail_header(l);
    if (data_json_take(json, '}')) return AD_OK;
    do {
        void *array = l->meta;
        if (!grow(&array, l->n_meta, &l->room_meta, sizeof *l->meta)) return data_fail_memory(l);
        l->meta = array;
        const char *key = data_json_text(json);
        const char *value = data_json_expect(json, ':') ? data_json_text(json) : NULL;
        if (value == NULL) return fail_header(l);
        l->meta[l->n_meta++] = (data_meta){key, value};
    } while (data_json_more(json, '}'));
    return json->error == NULL ? AD_OK : fail_header(l);
}

// A list of at most room numbers, and how many there are.
static bool read_list(data_json *json, uint64_t *list, int room, int *n) {
    *n = 0;
    if (!data_json_expect(json, '[')) return false;
    if (data_json_take(json, ']')) return true;
    do {
        if (*n == room) json->error = "a list is too long: shapes have at most 6 dimensions, data_offsets are two";
        if (!data_json_number(json, &list[*n < room ? *n : 0])) return false;
        ++*n;
    } while (data_json_more(json, ']'));
    return json->error == NULL;
}

typedef struct entry {
    const char *dtype;
    uint64_t dim[AD_MAX_RANK], offset[2];
    int rank, n_offsets;
    bool seen[3];
} entry;

// One of the three keys of an entry and its value.
static bool read_field(data_json *json, entry *e) {
    static const char *const keys[] = {"dtype", "shape", "data_offsets"};
    const char *key = data_json_text(json);
    if (key == NULL || !data_json_expect(json, ':')) return false;
    int k = 0;
    while (k < 3 && strcmp(key, keys[k]) != 0) k++;
    if (k == 3 || e->seen[k]) {
        json->error = "expected dtype, shape and data_offsets, once each";
        return false;
    }
    e->seen[k] = true;
    if (k == 0) return (e->dtype = data_json_text(json)) != NULL;
    if (k == 1) return read_list(json, e->dim, AD_MAX_RANK, &e->rank);
    return read_list(json, e->offset, 2, &e->n_offsets);
}

static ad_status check_entry(const data_loading *l, const char *name, const entry *e, data_tensor *tensor) {
    if (!data_name_ok(name)) return data_fail_tensor(l, name, "a name is 1 to 256 bytes without control characters");
    if (!e->seen[0] || !e->seen[1] || e->n_offsets != 2)
        return data_fail_tensor(l, name, "expected dtype, shape and two data_offsets");
    bool is_f32 = strcmp(e->dtype, "F32") == 0;
    if (!is_f32 && strcmp(e->dtype, "F64") != 0) {
        char what[80], shown[24];
        snprintf(what, sizeof what, "dtype %s, expected F32 or F64",
                 data_quote(shown, sizeof shown, e->dtype, strlen(e->dtype)));
        return data_fail_tensor(l, name, what);
    }
    *tensor = (data_tensor){.name = name, .type = is_f32 ? AD_F32 : AD_F64, .shape = {.rank = e->rank}};
    for (int i = 0; i < e->rank; i++) tensor->shape.dim[i] = e->dim[i] > INT32_MAX ? -1 : (int32_t)e->dim[i];
    int64_t count = ad_shape_count(tensor->shape);
    if (count < 0) return data_fail_tensor(l, name, "it has more than 2^31 - 1 elements");
    if (e->offset[0] > e->offset[1] || e->offset[1] > l->body_size) {
        return data_fail_tensor(l, name, "data_offsets are not in the file");
    }
    tensor->data = l->body + e->offset[0];
    bool fits = (uint64_t)count * ad_type_size(tensor->type) == e->offset[1] - e->offset[0];
    return fits ? AD_OK : data_fail_tensor(l, name, "data_offsets do not fit dtype and shape");
}

static ad_status read_tensor(data_loading *l, const char *name) {
    entry e = {0};
    if (!data_json_expect(&l->json, '{')) return fail_header(l);
    do {
        if (!read_field(&l->json, &e)) return fail_header(l);
    } while (data_json_more(&l->json, '}'));
    if (l->json.error != NULL) return fail_header(l);
    void *array = l->tensor;
    if (l->n == DATA_TENSORS_MAX) return data_fail_loading(l, "it holds more than 1000000 tensors");
    if (!grow(&array, l->n, &l->room, sizeof *l->tensor)) return data_fail_memory(l);
    l->tensor = array;
    return check_entry(l, name, &e, &l->tensor[l->n++]);
}

ad_status data_read_header(data_loading *l) {
    data_json *json = &l->json;
    if (json->at == json->end || *json->at != '{') return data_fail_loading(l, "the header does not start with '{'");
    json->at++;
    if (!data_json_take(json, '}')) {
        do {
            const char *name = data_json_text(json);
            if (name == NULL || !data_json_expect(json, ':')) return fail_header(l);
            ad_status status = strcmp(name, "__metadata__") == 0 ? read_meta(l) : read_tensor(l, name);
            if (status != AD_OK) return status;
        } while (data_json_more(json, '}'));
    }
    data_json_skip_blanks(json);
    if (json->error == NULL && json->at < json->end) json->error = "expected nothing but blanks after the object";
    return json->error == NULL ? AD_OK : fail_header(l);
}
