// tensors_save.c -- writes a .safetensors file: header, digest, tensors, all or nothing.
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "tensors.h"

typedef struct saving {
    const char *path;
    const data_tensors *in;
    ad_error *error;
    const data_tensor **order;  // [n] as they stand in the file
    data_piece *piece;          // size and header, then the tensors, then nothing
    char *header;               // 8 bytes of size, then text
    size_t header_size;
} saving;

static ad_status no_memory(const saving *s) {
    return ad_fail(s->error, AD_ENOMEM, "%s: out of memory", s->path);
}

// Doubles first, so that after them single floats are aligned too; otherwise in the order given.
static ad_status put_in_order(saving *s) {
    const data_tensors *in = s->in;
    if (in->n < 0 || in->n > DATA_TENSORS_MAX) {
        return ad_fail(s->error, AD_EARG, "%s: %lld tensors, expected at most %d", s->path, (long long)in->n,
                       DATA_TENSORS_MAX);
    }
    s->order = calloc((size_t)in->n + 1, sizeof *s->order);
    s->piece = calloc((size_t)in->n + 1, sizeof *s->piece);
    if (s->order == NULL || s->piece == NULL) return no_memory(s);
    int64_t k = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t i = 0; i < in->n; i++) {
            if (in->tensor[i].type == (pass == 0 ? AD_F64 : AD_F32)) s->order[k++] = &in->tensor[i];
        }
    }
    return k == in->n ? AD_OK : ad_fail(s->error, AD_EARG, "%s: a tensor of neither AD_F32 nor AD_F64", s->path);
}

static ad_status add_meta(const saving *s, json_t *root) {
    json_t *meta = json_pack("{s:s,s:s}", DATA_FORMAT_KEY, DATA_FORMAT_VALUE, DATA_DIGEST_KEY, DATA_DIGEST_ZERO);
    if (meta == NULL || json_object_set_new(root, "__metadata__", meta) != 0) return no_memory(s);
    for (int64_t i = 0; i < s->in->n_meta; i++) {
        const char *key = s->in->meta[i].key, *value = s->in->meta[i].value;
        bool texts = key != NULL && value != NULL && data_utf8_ok(key) && data_utf8_ok(value);
        if (!texts || data_key_is_ours(key) || json_object_get(meta, key) != NULL) {
            return ad_fail(s->error, AD_EARG,
                           "%s: metadata \"%.60s\": expected UTF-8 texts under distinct keys that do not name "
                           "this library",
                           s->path, key == NULL ? "" : key);
        }
        if (json_object_set_new(meta, key, json_string(value)) != 0) return no_memory(s);
    }
    return AD_OK;
}

// Adds one tensor's entry and moves *offset past it.
static ad_status add_tensor(const saving *s, json_t *root, const data_tensor *tensor, uint64_t *offset, size_t *size) {
    int64_t count = ad_shape_count(tensor->shape);
    uint64_t bytes, end;
    const char *name = tensor->name == NULL ? "" : tensor->name;
    if (!data_name_ok(name) || json_object_get(root, name) != NULL) {
        return ad_fail(s->error, AD_EARG,
                       "%s: tensor name \"%.60s\": expected distinct names of 1 to %d bytes of UTF-8 without "
                       "control characters",
                       s->path, name, DATA_NAME_MAX);
    }
    if (count < 0 || (count > 0 && tensor->data == NULL) ||
        !data_mul((uint64_t)count, ad_type_size(tensor->type), &bytes) || !data_add(*offset, bytes, &end) ||
        end > INT64_MAX) {
        return ad_fail(s->error, AD_EARG, "%s: tensor \"%.60s\" has no data or an impossible shape", s->path, name);
    }
    json_t *shape = json_array();
    for (int i = 0; i < tensor->shape.rank; i++) json_array_append_new(shape, json_integer(tensor->shape.dim[i]));
    json_t *entry = json_pack("{s:s,s:o,s:[I,I]}", "dtype", tensor->type == AD_F32 ? "F32" : "F64", "shape", shape,
                              "data_offsets", (json_int_t)*offset, (json_int_t)end);
    if (entry == NULL || json_object_set_new(root, name, entry) != 0) return no_memory(s);
    *offset = end;
    *size = (size_t)bytes;
    return AD_OK;
}

// The file's first bytes: size, text, and spaces so that the tensors are aligned.
static ad_status print_header(saving *s, const json_t *root) {
    char *text = json_dumps(root, JSON_COMPACT);
    if (text == NULL) return no_memory(s);
    size_t used = strlen(text), size = (used + DATA_BODY_ALIGNMENT - 1) / DATA_BODY_ALIGNMENT * DATA_BODY_ALIGNMENT;
    s->header_size = size + 8;
    s->header = malloc(size + 8);
    if (s->header != NULL) {
        for (int i = 0; i < 8; i++) s->header[i] = (char)((uint64_t)size >> (8 * i) & 255);
        memcpy(s->header + 8, text, used);
        memset(s->header + 8 + used, ' ', size - used);
    }
    free(text);
    if (s->header == NULL) return no_memory(s);
    if (size <= DATA_HEADER_MAX) return AD_OK;
    return ad_fail(s->error, AD_EARG, "%s: names and metadata need %zu bytes, expected at most %d", s->path, size,
                   DATA_HEADER_MAX);
}

static ad_status make_header(saving *s) {
    json_t *root = json_object();
    uint64_t offset = 0;
    ad_status status = root == NULL ? no_memory(s) : add_meta(s, root);
    for (int64_t i = 0; status == AD_OK && i < s->in->n; i++) {
        s->piece[i + 1].bytes = s->order[i]->data;
        status = add_tensor(s, root, s->order[i], &offset, &s->piece[i + 1].size);
    }
    if (status == AD_OK) status = print_header(s, root);
    json_decref(root);
    return status;
}

static ad_status add_digest(saving *s) {
    s->piece[0] = (data_piece){s->header, s->header_size};
    char digest[DATA_DIGEST_SIZE + 1];
    ad_status status = data_digest(s->piece, s->in->n + 1, digest, s->error);
    if (status != AD_OK) return status;
    const char *place = data_digest_place(s->header + 8, s->header_size - 8);
    memcpy(s->header + (place - s->header), digest, DATA_DIGEST_SIZE);
    return AD_OK;
}

static ad_status write_pieces(const saving *s) {
    data_writer writer;
    data_writer_open(&writer, s->path, s->error);
    for (int64_t i = 0; i <= s->in->n; i++) data_writer_put(&writer, s->piece[i].bytes, s->piece[i].size);
    return data_writer_commit(&writer);
}

ad_status data_save_tensors(const char *path, const data_tensors *tensors, ad_error *error) {
    if (!data_host_is_little_endian()) {
        return ad_fail(error, AD_EARG, "%s: .safetensors files are not written on big-endian machines", path);
    }
    saving s = {.path = path, .in = tensors, .error = error};
    ad_status status = put_in_order(&s);
    if (status == AD_OK) status = make_header(&s);
    if (status == AD_OK) status = add_digest(&s);
    if (status == AD_OK) status = write_pieces(&s);
    free(s.order);
    free(s.piece);
    free(s.header);
    return status;
}
