// posterior_data.c -- variables of text files, one a line.
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "posterior_models.h"

// A whole file as text, or NULL.
static char *read_all(const char *file, ad_error *error) {
    gzFile in = gzopen(file, "rb");
    size_t size = 0, room = 1 << 16;
    char *text = in ? malloc(room) : NULL;
    for (int got = 1; text && got > 0;) {
        got = gzread(in, text + size, (unsigned)(room - size - 1));
        size += got > 0 ? (size_t)got : 0;
        if (room - size > 1) continue;
        char *more = room < (size_t)1 << 28 ? realloc(text, room *= 2) : NULL;
        if (!more) free(text);
        text = more;
    }
    if (in) gzclose(in);
    if (text) {
        text[size] = 0;
    } else {
        ad_fail(error, AD_EIO, "%s: cannot be read", file);
    }
    return text;
}

static double *numbers_of(const char *at, int64_t *n) {
    const char *end = strchr(at, '\n');
    const size_t length = end ? (size_t)(end - at) : strlen(at);
    double *out = malloc((length / 2 + 2) * sizeof *out);  // a digit and a blank each, at least
    char *next;
    for (*n = 0; out; at = next) {
        double v = strtod(at, &next);
        if (next == at || (end && next > end)) break;
        out[(*n)++] = v;
    }
    return out;
}

double *posterior_read(const char *file, const char *variable, int64_t *n, ad_error *error) {
    char *text = read_all(file, error);
    if (!text) return NULL;
    const size_t length = strlen(variable);
    double *out = NULL;
    for (const char *line = text; line && !out; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        if (strncmp(line, variable, length) != 0 || line[length] != ' ') continue;
        const char *colon = strchr(line, ':');
        if (colon) out = numbers_of(colon + 1, n);
        if (out && *n > 0) break;
        free(out);
        out = NULL;
        break;
    }
    free(text);
    if (!out) ad_fail(error, AD_EFORMAT, "%s: no variable '%s'", file, variable);
    return out;
}
