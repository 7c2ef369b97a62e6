// text.c -- the bytes of a text file, plain or gzip, a window at a time.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "text.h"

// deflate makes 1,032 bytes of one, at most.
enum { MOST_EXPANSION = 1040, MAGIC = 2 };

int64_t data_text_raw(data_text *text, void *bytes, size_t room) {
    ssize_t n;
    // What is appended meanwhile is not read: windows are made for the size that the file had.
    if (room > text->size - text->offset) room = (size_t)(text->size - text->offset);
    do {
        n = pread(text->fd, bytes, room, (off_t)text->offset);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        data_fail_system(text->error, text->path, "read it", errno);
        return -1;
    }
    if (text->hash != NULL) XXH3_128bits_update(text->hash, bytes, (size_t)n);
    text->offset += (uint64_t)n;
    return n;
}

ad_status data_text_open(data_text *text, const char *path, size_t keep, ad_error *error) {
    unsigned char magic[MAGIC] = {0};
    memset(text, 0, sizeof *text);
    text->path = path;
    text->keep = keep;
    text->error = error;
    text->fd = data_open(path, &text->size, error);
    if (text->fd < 0) return error->status;
    size_t first = text->size < MAGIC ? 0 : MAGIC;
    ad_status status = data_read_at(text->fd, path, magic, first, 0, error);
    if (status != AD_OK) return status;
    bool gzip = magic[0] == 0x1f && magic[1] == 0x8b;
    // A window for a small file is no larger than what can be in it, and one byte to see its end.
    uint64_t most = gzip && text->size < (UINT64_C(1) << 32) ? text->size * MOST_EXPANSION : text->size;
    text->room = most < DATA_TEXT_BLOCK + keep ? (size_t)most + 1 : DATA_TEXT_BLOCK + keep;
    text->buffer = malloc(text->room);
    if (text->buffer != NULL && gzip) text->inflate = data_inflate_new(text);
    if (text->buffer == NULL || (gzip && text->inflate == NULL)) {
        return ad_fail(error, AD_ENOMEM, "%s: out of memory for reading text", path);
    }
    text->at = text->end = text->buffer;
    return AD_OK;
}

ad_status data_text_hash(data_text *text) {
    text->hash = XXH3_createState();
    if (text->hash == NULL) return ad_fail(text->error, AD_ENOMEM, "%s: out of memory for its digest", text->path);
    XXH3_128bits_reset(text->hash);
    return AD_OK;
}

ad_status data_text_fill(data_text *text) {
    size_t used = (size_t)(text->end - text->at);
    memmove(text->buffer, text->at, used);
    while (used < text->room && !text->whole) {
        char *to = text->buffer + used;
        int64_t n = text->inflate != NULL ? data_inflate_some(text->inflate, to, text->room - used)
                                          : data_text_raw(text, to, text->room - used);
        if (n < 0) return text->error->status;
        text->whole = n == 0;
        used += (size_t)n;
        text->total += (uint64_t)n;
    }
    text->at = text->buffer;
    text->end = text->buffer + used;
    return AD_OK;
}

void data_text_close(data_text *text) {
    if (text->fd >= 0) close(text->fd);
    text->fd = -1;
    data_inflate_free(text->inflate);
    if (text->hash != NULL) XXH3_freeState(text->hash);
    free(text->buffer);
}
