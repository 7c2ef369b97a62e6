// png.c -- decodes a PNG image by libpng, within limits.
#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "images.h"

// As in stream.c: more than this of what deflate can do has nothing in it.
enum { MOST_RATIO = 1000, ALWAYS_FINE = 8 << 20 };

typedef struct reader {
    png_structp png;
    png_infop info;
    const unsigned char *bytes;
    size_t at, size;
    unsigned char *out;
    char why[100];
} reader;

// ---- what libpng calls ----------------------------------------------------------------------------------------------

static void give_bytes(png_structp png, png_bytep out, size_t n) {
    reader *r = png_get_io_ptr(png);
    if (n > r->size - r->at) png_error(png, "the file ends too early");
    memcpy(out, r->bytes + r->at, n);
    r->at += n;
}

static void on_error(png_structp png, png_const_charp why) {
    reader *r = png_get_error_ptr(png);
    data_quote(r->why, sizeof r->why, why, strlen(why));
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp why) {
    (void)png;
    (void)why;
}

// ---- steps, from which on_error jumps out ---------------------------------------------------------------------------

static void read_header(reader *r) {
    const uint16_t one = 1;
    png_set_user_limits(r->png, DATA_PNG_SIDE, DATA_PNG_SIDE);
    png_set_chunk_malloc_max(r->png, DATA_PNG_CHUNK);
    png_set_chunk_cache_max(r->png, 100);
    png_set_read_fn(r->png, r, give_bytes);
    png_read_info(r->png, r->info);
    png_set_expand(r->png);
    if (*(const unsigned char *)&one == 1) png_set_swap(r->png);
    png_set_interlace_handling(r->png);
    png_read_update_info(r->png, r->info);
}

static void read_rows(reader *r) {
    png_uint_32 height = png_get_image_height(r->png, r->info);
    int passes = png_get_interlace_type(r->png, r->info) == PNG_INTERLACE_ADAM7 ? PNG_INTERLACE_ADAM7_PASSES : 1;
    size_t row = png_get_rowbytes(r->png, r->info);
    for (int pass = 0; pass < passes; pass++) {
        for (png_uint_32 y = 0; y < height; y++) png_read_row(r->png, r->out + y * row, NULL);
    }
    png_read_end(r->png, NULL);
}

// The one place that libpng jumps back to.
static bool guarded(reader *r, void (*step)(reader *)) {
    if (setjmp(png_jmpbuf(r->png)) != 0) return false;
    step(r);
    return true;
}

// ---- seen from outside ----------------------------------------------------------------------------------------------

bool data_png_magic(const unsigned char *bytes, size_t size) {
    return size >= 8 && png_sig_cmp(bytes, 0, 8) == 0;
}

static ad_status fail(const data_png *png, const reader *r) {
    if (strstr(r->why, "memory") != NULL) return ad_fail(png->error, AD_ENOMEM, "%s: %s", png->path, r->why);
    return ad_fail(png->error, AD_EFORMAT, "%s: PNG, at or before byte %zu: %s", png->path, r->at, r->why);
}

static ad_status find_shape(data_png *png, const reader *r) {
    png->height = png_get_image_height(r->png, r->info);
    png->width = png_get_image_width(r->png, r->info);
    png->channels = png_get_channels(r->png, r->info);
    png->depth = png_get_bit_depth(r->png, r->info);
    size_t bytes = data_png_bytes(png);  // at most 2^14 * 2^14 * 8
    if (png_get_rowbytes(r->png, r->info) * png->height != bytes) {
        return ad_fail(png->error, AD_EFORMAT, "%s: %zu channels of %zu bits are not read", png->path, png->channels,
                       png->depth);
    }
    if (bytes <= ALWAYS_FINE || bytes / MOST_RATIO <= png->size) return AD_OK;
    return ad_fail(png->error, AD_EFORMAT,
                   "%s: a file of %zu bytes claims an image of %zu, expected at most %d times as many", png->path,
                   png->size, bytes, MOST_RATIO);
}

ad_status data_png_open(data_png *png, const char *path, const unsigned char *bytes, size_t size, ad_error *error) {
    *png = (data_png){.path = path, .error = error, .bytes = bytes, .size = size};
    if (!data_png_magic(bytes, size)) {
        return ad_fail(error, AD_EFORMAT, "%s: not a PNG file: it does not start with \\x89PNG", path);
    }
    reader *r = calloc(1, sizeof *r);
    if (r != NULL) r->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, r, on_error, on_warning);
    if (r != NULL && r->png != NULL) r->info = png_create_info_struct(r->png);
    png->reader = r;
    if (r == NULL || r->info == NULL) {
        data_png_close(png);
        return ad_fail(error, AD_ENOMEM, "%s: out of memory for libpng", path);
    }
    r->bytes = bytes;
    r->size = size;
    ad_status status = guarded(r, read_header) ? find_shape(png, r) : fail(png, r);
    if (status != AD_OK) data_png_close(png);
    return status;
}

size_t data_png_bytes(const data_png *png) {
    return png->height * png->width * png->channels * (png->depth / 8);
}

ad_status data_png_pixels(data_png *png, unsigned char *out) {
    reader *r = png->reader;
    r->out = out;
    return guarded(r, read_rows) ? AD_OK : fail(png, r);
}

void data_png_close(data_png *png) {
    reader *r = png->reader;
    if (r != NULL && r->png != NULL) png_destroy_read_struct(&r->png, &r->info, NULL);
    free(r);
    png->reader = NULL;
}
