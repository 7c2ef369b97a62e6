// events.c -- scalars for TensorBoard: its event files, written without its library.
//
// A file is a row of records (TFRecord): length (u64, little-endian), its masked CRC-32C, the bytes, their masked
// CRC-32C. The bytes are an Event in protocol buffers: 1 wall_time (double), 2 step (varint), 3 file_version (text), 5
// summary with 1 value {1 tag (text), 2 simple_value (float)}.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "optim.h"

struct optim_events {
    FILE *file;
    char *path;
    uint32_t table[256];
};

// CRC-32C (Castagnoli), reflected, as iSCSI has it.
static void make_table(uint32_t table[256]) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) c = c & 1 ? 0x82f63b78u ^ (c >> 1) : c >> 1;
        table[i] = c;
    }
}

static uint32_t masked_crc(const optim_events *e, const unsigned char *bytes, size_t n) {
    uint32_t c = 0xffffffffu;
    for (size_t i = 0; i < n; i++) c = e->table[(c ^ bytes[i]) & 255] ^ (c >> 8);
    c ^= 0xffffffffu;
    return ((c >> 15) | (c << 17)) + 0xa282ead8u;
}

static size_t put_fixed(unsigned char *at, uint64_t v, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) at[i] = (unsigned char)(v >> (8 * i));
    return bytes;
}

static size_t put_varint(unsigned char *at, uint64_t v) {
    size_t n = 0;
    for (; v > 127; v >>= 7) at[n++] = (unsigned char)(v | 128);
    at[n++] = (unsigned char)v;
    return n;
}

// A field of bytes: its number and wire type 2, its length, itself.
static size_t put_bytes(unsigned char *at, unsigned field, const void *bytes, size_t n) {
    size_t head = put_varint(at, field << 3 | 2);
    head += put_varint(at + head, n);
    memcpy(at + head, bytes, n);
    return head + n;
}

static ad_status put_record(optim_events *e, const unsigned char *event, size_t n, ad_error *error) {
    unsigned char head[12], tail[4];
    put_fixed(head, n, 8);
    put_fixed(head + 8, masked_crc(e, head, 8), 4);
    put_fixed(tail, masked_crc(e, event, n), 4);
    errno = 0;
    bool ok = fwrite(head, 12, 1, e->file) == 1 && fwrite(event, n, 1, e->file) == 1 &&
              fwrite(tail, 4, 1, e->file) == 1 && fflush(e->file) == 0;
    return ok ? AD_OK : ad_fail(error, AD_EIO, "%s: cannot be written: %s", e->path, strerror(errno));
}

enum { TAG_MOST = 200, EVENT_MOST = TAG_MOST + 64 };

static size_t put_time(unsigned char *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    double seconds = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    uint64_t bits;
    memcpy(&bits, &seconds, sizeof bits);
    at[0] = 1 << 3 | 1;
    return 1 + put_fixed(at + 1, bits, 8);
}

optim_events *optim_events_open(const char *folder, ad_error *error) {
    optim_events *e = calloc(1, sizeof *e);
    size_t size = strlen(folder) + 80;
    if (e) e->path = malloc(size);
    if (!e || !e->path) {
        optim_events_close(e);
        ad_fail(error, AD_ENOMEM, "events: out of memory");
        return NULL;
    }
    snprintf(e->path, size, "%s/events.out.tfevents.%lld.pullback", folder, (long long)time(NULL));
    make_table(e->table);
    e->file = fopen(e->path, "abe");
    if (!e->file) {
        ad_fail(error, AD_EIO, "%s: cannot be written: %s", e->path, strerror(errno));
        optim_events_close(e);
        return NULL;
    }
    unsigned char event[EVENT_MOST];
    size_t n = put_time(event);
    n += put_bytes(event + n, 3, "brain.Event:2", 13);
    if (put_record(e, event, n, error) == AD_OK) return e;
    optim_events_close(e);
    return NULL;
}

void optim_events_close(optim_events *events) {
    if (!events) return;
    if (events->file) fclose(events->file);
    free(events->path);
    free(events);
}

ad_status optim_events_scalar(optim_events *e, const char *tag, int64_t step, double value, ad_error *error) {
    if (strlen(tag) > TAG_MOST || step < 0) {
        return ad_fail(error, AD_EARG, "events: tag \"%.40s...\", step %lld; expected at most %d bytes, and 0 or more",
                       tag, (long long)step, TAG_MOST);
    }
    unsigned char scalar[EVENT_MOST], summary[EVENT_MOST], event[2 * EVENT_MOST];
    float v = (float)value;
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    size_t n = put_bytes(scalar, 1, tag, strlen(tag));
    scalar[n++] = 2 << 3 | 5;
    n += put_fixed(scalar + n, bits, 4);
    size_t m = put_bytes(summary, 1, scalar, n), k = put_time(event);
    event[k++] = 2 << 3;
    k += put_varint(event + k, (uint64_t)step);
    k += put_bytes(event + k, 5, summary, m);
    return put_record(e, event, k, error);
}
