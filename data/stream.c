// stream.c -- arrays and texts out of compressed bytes, which may claim to be more than they are.
#include <stdlib.h>
#include <string.h>

#include "internal.h"

// Deflate packs at most 1,032 bytes in one, and data that comes near has nothing in it. What claims more is refused
// before memory is asked for; small files may be as empty as they like.
enum { MOST_RATIO = 1000, ALWAYS_FINE = 8 << 20 };

static ad_status check_ratio(const data_stream *s, uint64_t packed, uint64_t size) {
    if (size <= ALWAYS_FINE || size / MOST_RATIO <= packed) return AD_OK;
    return ad_fail(s->error, AD_EFORMAT,
                   "%s: %llu compressed bytes claim to hold %llu, expected at most %d times as many", s->path,
                   (unsigned long long)packed, (unsigned long long)size, MOST_RATIO);
}

ad_status data_stream_start(data_stream *s) {
    return s->read(s, s->head, DATA_HEAD, &s->head_size);
}

static ad_status out_of_memory(const data_stream *s, uint64_t size) {
    return ad_fail(s->error, AD_ENOMEM, "%s: out of memory for %llu bytes", s->path, (unsigned long long)size);
}

// Fills all of out from the stream, which must end there. Memory that is not reached is never touched, so a file that
// breaks off costs what it holds and not what it claims.
static ad_status read_elements(data_stream *s, const data_array *a, unsigned char *out) {
    size_t n = s->head_size - a->offset, more;
    if (n > a->bytes) n = a->bytes;
    memcpy(out, s->head + a->offset, n);
    bool longer = s->head_size - a->offset > a->bytes;
    ad_status status = s->read(s, out + n, a->bytes - n, &more);
    if (status != AD_OK) return status;
    if (n + more < a->bytes) {
        return ad_fail(s->error, AD_EFORMAT, "%s: %zu bytes of elements, expected %zu", s->path, n + more, a->bytes);
    }
    unsigned char byte;
    status = s->read(s, &byte, 1, &more);
    if (status == AD_OK && (longer || more > 0)) {
        return ad_fail(s->error, AD_EFORMAT, "%s: more bytes after the %zu of the elements, expected the end", s->path,
                       a->bytes);
    }
    return status;
}

data_table *data_stream_array(data_stream *s, const data_array *a) {
    if (check_ratio(s, s->packed, a->bytes) != AD_OK) return NULL;
    unsigned char *elements = malloc(a->bytes);
    if (elements == NULL) {
        out_of_memory(s, a->bytes);
        return NULL;
    }
    if (read_elements(s, a, elements) == AD_OK) return data_array_own(a, elements);
    free(elements);
    return NULL;
}

// Twice the room in *bytes.
static ad_status grow(const data_stream *s, unsigned char **bytes, size_t *room) {
    unsigned char *larger = *room > SIZE_MAX / 4 ? NULL : realloc(*bytes, 2 * *room);
    if (larger == NULL) return out_of_memory(s, 2 * (uint64_t)*room);
    *bytes = larger;
    *room *= 2;
    return AD_OK;
}

// Reads on into out, as far as that is not more than the compressed bytes are worth together with the *n before.
static ad_status read_some(data_stream *s, unsigned char *out, size_t room, size_t *n) {
    size_t more;
    ad_status status = s->read(s, out, room, &more);
    *n += more;
    return status == AD_OK ? check_ratio(s, s->taken, *n) : status;
}

// When the room is full a piece is read before there is more, so that a bomb gets none.
void *data_stream_all(data_stream *s, size_t *size) {
    size_t room = 4 * DATA_HEAD, n = s->head_size;
    unsigned char *bytes = malloc(room);
    ad_status status = bytes == NULL ? out_of_memory(s, room) : AD_OK;
    if (status == AD_OK) memcpy(bytes, s->head, n);
    while (status == AD_OK) {
        status = read_some(s, bytes + n, room - n, &n);
        if (status != AD_OK || n < room) break;
        status = read_some(s, s->head, DATA_HEAD, &n);
        if (status != AD_OK || n == room) break;
        size_t full = room;
        status = grow(s, &bytes, &room);
        if (status == AD_OK) memcpy(bytes + full, s->head, n - full);
    }
    if (status != AD_OK) {
        free(bytes);
        return NULL;
    }
    *size = n;
    unsigned char *exact = realloc(bytes, n + 1);
    return exact == NULL ? bytes : exact;
}
