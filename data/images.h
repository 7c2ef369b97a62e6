// images.h -- one PNG image out of its bytes.
#ifndef PULLBACK_DATA_IMAGES_H
#define PULLBACK_DATA_IMAGES_H

#include "internal.h"

// What is asked of libpng at most, whatever a file says.
enum { DATA_PNG_SIDE = 16384, DATA_PNG_CHUNK = 8 << 20 };

// An image as it comes out: grey, grey and alpha, RGB or RGB and alpha, in 8 bits or in 16 of the machine's order.
// Palettes and fewer bits are expanded; gamma is left alone.
typedef struct data_png {
    const char *path;  // for messages
    ad_error *error;
    const unsigned char *bytes;  // of the file
    size_t size;
    size_t height, width, channels, depth;  // depth: bits
    void *reader;
} data_png;

bool data_png_magic(const unsigned char *bytes, size_t size);
// Reads the header, and says what comes out. On success pixels or close follow.
ad_status data_png_open(data_png *png, const char *path, const unsigned char *bytes, size_t size, ad_error *error);
size_t data_png_bytes(const data_png *png);
// Fills out [height][width][channels].
ad_status data_png_pixels(data_png *png, unsigned char *out);
void data_png_close(data_png *png);

#endif
