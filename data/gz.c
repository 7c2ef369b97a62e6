// gz.c -- files compressed by gzip, as streams.
#include <errno.h>
#include <limits.h>
#include <unistd.h>
#include <zlib.h>

#include "internal.h"

bool data_gz_magic(const unsigned char *bytes, size_t size) {
    return size >= 3 && bytes[0] == 0x1f && bytes[1] == 0x8b && bytes[2] == 8;
}

static ad_status fail(const data_stream *s) {
    int code;
    gzerror(s->from, &code);
    if (code == Z_ERRNO) return data_fail_system(s->error, s->path, "read it", errno);
    if (code == Z_MEM_ERROR) return ad_fail(s->error, AD_ENOMEM, "%s: out of memory for decompression", s->path);
    return ad_fail(s->error, AD_EFORMAT, "%s: the compressed data %s, after %lld bytes of what is in it", s->path,
                   code == Z_BUF_ERROR ? "ends too early" : "is damaged", (long long)gztell(s->from));
}

static ad_status read_gz(data_stream *s, void *out, size_t size, size_t *n) {
    enum { PIECE = 1 << 30 };
    int code = Z_OK;
    for (*n = 0; *n < size;) {
        size_t left = size - *n;
        int got = gzread(s->from, (char *)out + *n, left < PIECE ? (unsigned)left : PIECE);
        if (got < 0) return fail(s);
        if (got == 0) break;
        *n += (size_t)got;
    }
    s->taken = (uint64_t)gzoffset(s->from);
    // A file that breaks off is told by this alone.
    if (*n < size) gzerror(s->from, &code);
    return code == Z_OK || code == Z_STREAM_END ? AD_OK : fail(s);
}

ad_status data_gz_open(data_stream *s, const char *path, ad_error *error) {
    *s = (data_stream){.path = path, .error = error, .read = read_gz};
    unsigned char magic[3] = {0};
    int fd = data_open(path, &s->packed, error);
    if (fd < 0) return error != NULL ? error->status : AD_EIO;
    ssize_t n = pread(fd, magic, sizeof magic, 0);
    if (n < 0 || !data_gz_magic(magic, (size_t)n)) {  // zlib would hand on the bytes of such a file as they are
        close(fd);
        return ad_fail(error, AD_EFORMAT, "%s: not a file of gzip: it does not start with 1f 8b 08", path);
    }
    s->from = gzdopen(fd, "rb");
    if (s->from == NULL) {
        close(fd);
        return ad_fail(error, AD_ENOMEM, "%s: out of memory for decompression", path);
    }
    gzbuffer(s->from, 1 << 14);  // what is read ahead counts as taken
    return data_stream_start(s);
}

void data_gz_close(data_stream *s) {
    if (s->from != NULL) gzclose_r(s->from);
    s->from = NULL;
}
