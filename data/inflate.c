// inflate.c -- gzip text as a stream of bytes: members one after the other, as gzip and pigz write them.
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "text.h"

// Not the stream of gz.c, which reads the file itself: here each byte that is decompressed is also hashed, in one pass.

// Text that is worth reading shrinks to a tenth or a hundredth. What grows faster once it is long fills disks.
enum { INPUT = 64 << 10, FREE_TEXT = 2 << 20, MOST_GROWTH = 250, GZIP_ONLY = 15 + 16 };

struct data_inflate {
    data_text *text;
    z_stream stream;
    bool inside;  // a member
    bool padded;  // by zeros after the last member
    uint64_t out;
    unsigned char input[INPUT];
};

data_inflate *data_inflate_new(data_text *text) {
    data_inflate *f = calloc(1, sizeof *f);
    if (f == NULL) return NULL;
    f->text = text;
    f->inside = true;
    if (inflateInit2(&f->stream, GZIP_ONLY) == Z_OK) return f;
    free(f);
    return NULL;
}

void data_inflate_free(data_inflate *f) {
    if (f == NULL) return;
    inflateEnd(&f->stream);
    free(f);
}

static int fail(const data_inflate *f, const char *what) {
    ad_fail(f->text->error, AD_EFORMAT, "%s: byte %llu: %s", f->text->path,
            (unsigned long long)(f->text->offset - f->stream.avail_in), what);
    return -1;
}

// Input for zlib: 1 when there is some, 0 at the end of the file, -1 on failure.
static int refill(data_inflate *f) {
    if (f->stream.avail_in > 0) return 1;
    int64_t n = data_text_raw(f->text, f->input, sizeof f->input);
    if (n <= 0) return (int)n;
    f->stream.next_in = f->input;
    f->stream.avail_in = (uInt)n;
    return 1;
}

// Between members: 1 when another one starts, 0 at the end, where zeros may follow.
static int next_member(data_inflate *f) {
    int more;
    while ((more = refill(f)) > 0 && *f->stream.next_in == 0) {
        f->padded = true;
        f->stream.next_in++;
        f->stream.avail_in--;
    }
    if (more <= 0) return more;
    if (f->padded || inflateReset(&f->stream) != Z_OK) return fail(f, "bytes that are not gzip follow the gzip data");
    f->inside = true;
    return 1;
}

static int step(data_inflate *f) {
    int more = refill(f);
    if (more < 0) return -1;
    if (more == 0) return fail(f, "the gzip data ends before its end mark");
    switch (inflate(&f->stream, Z_NO_FLUSH)) {
        case Z_STREAM_END:
            f->inside = false;
            return 1;
        case Z_OK:
            return 1;
        case Z_BUF_ERROR:
            return 1;
        case Z_MEM_ERROR:
            ad_fail(f->text->error, AD_ENOMEM, "%s: out of memory for gzip", f->text->path);
            return -1;
        default:
            return fail(f, f->stream.msg != NULL ? f->stream.msg : "gzip data is damaged");
    }
}

int64_t data_inflate_some(data_inflate *f, void *bytes, size_t room) {
    size_t most = room < INPUT * 16 ? room : INPUT * 16;
    f->stream.next_out = bytes;
    f->stream.avail_out = (uInt)most;
    while (f->stream.avail_out == most) {
        int more = f->inside ? step(f) : next_member(f);
        if (more < 0) return -1;
        if (more == 0) return 0;
    }
    size_t n = most - f->stream.avail_out;
    f->out += n;
    if (f->out <= FREE_TEXT || f->out / MOST_GROWTH <= f->text->offset - f->stream.avail_in) return (int64_t)n;
    return fail(f, "the text is more than 250 times as long as its gzip data: expected a table, not a bomb");
}
