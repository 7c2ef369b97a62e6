// tensors.h -- what the two halves of the .safetensors code share: limits and the digest.
#ifndef PULLBACK_DATA_TENSORS_H
#define PULLBACK_DATA_TENSORS_H

#include "json.h"

// Our own entries of __metadata__. There are two of them so that no damaged byte or stretch can pass a file of ours off
// as one of a tool that writes no digest: where a key has a trace of either, both must be.
#define DATA_FORMAT_KEY "pullback.format"
#define DATA_FORMAT_VALUE "1"
#define DATA_DIGEST_KEY "pullback.xxh3_128"
// What stands in a header right before the digest, and nowhere else: inside a text its quotes would be escaped.
#define DATA_DIGEST_MARK "\"" DATA_DIGEST_KEY "\":\""
#define DATA_DIGEST_ZERO "00000000000000000000000000000000"

enum {
    DATA_DIGEST_SIZE = 32,       // hexadecimal digits, lower case
    DATA_NAME_MAX = 256,         // bytes
    DATA_HEADER_MAX = 16 << 20,  // bytes
    DATA_TENSORS_MAX = 1000000,
    DATA_BODY_ALIGNMENT = 8  // of the first tensor in a file that we write
};

// A piece of a file, in the order of the file.
typedef struct data_piece {
    const void *bytes;
    size_t size;
} data_piece;

// XXH3-128 of all pieces, as text.
ad_status data_digest(const data_piece *pieces, int64_t n, char out[DATA_DIGEST_SIZE + 1], ad_error *error);
// Where the digest's digits stand in a header's text, or NULL.
const char *data_digest_place(const char *header, size_t size);
// Whether a key of __metadata__ has a trace of ours.
bool data_key_is_ours(const char *key);
// A name of 1 to 256 bytes of UTF-8 without control characters that is not "__metadata__".
bool data_name_ok(const char *name);

// A file on its way in.
typedef struct data_loading {
    const char *path;
    ad_error *error;
    unsigned char *memory;  // the file, shifted so that the tensors start at a multiple of MEMORY_ALIGNMENT
    unsigned char *file;    // its first byte
    uint64_t file_size;
    unsigned char *body;
    uint64_t body_size;
    data_json json;                     // the header: reading decodes it in place
    char digest[DATA_DIGEST_SIZE + 1];  // what the digest should be; "" when the header has no place for one
    data_tensor *tensor;
    data_meta *meta;
    int64_t n, room, n_meta, room_meta;
    bool has_meta;
} data_loading;

// Reads the header into tensor and meta. Every tensor lies in the file and has the size of its shape.
ad_status data_read_header(data_loading *l);

ad_status data_fail_loading(const data_loading *l, const char *what);
ad_status data_fail_tensor(const data_loading *l, const char *name, const char *what);
ad_status data_fail_memory(const data_loading *l);

#endif
