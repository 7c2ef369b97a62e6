// draws_picture.c -- a corner plot of what should be drawn, and of what is.
#include "draws_picture.h"

#include <stdlib.h>

#ifdef EXAMPLES_CAIRO  // where cairo is
#include "columns.h"

enum { MOST = 6 };

// The first k of D columns, owned by the caller.
static corner_set first(const corner_set *of, int64_t D, int64_t k) {
    double *x = malloc((size_t)(of->n * k) * sizeof *x);
    for (int64_t i = 0; x && i < of->n * k; i++) x[i] = of->x[i / k * D + i % k];
    return (corner_set){of->name, x, of->n};
}

ad_status draws_picture(const char *file, int64_t D, const corner_set *dots, const corner_set *lines, ad_error *error) {
    static const char *const names[MOST] = {"x₁", "x₂", "x₃", "x₄", "x₅", "x₆"};
    const int64_t k = D < MOST ? D : MOST;
    const corner_set a = dots ? first(dots, D, k) : (corner_set){0}, b = first(lines, D, k);
    const char *wrong = NULL;
    if ((dots && !a.x) || !b.x) {
        wrong = "out of memory";
    } else if (k > 1) {
        wrong = corner_draw(file, names, (int)k, dots ? &a : NULL, &b);
    } else {
        wrong = columns_draw(file, names, 1, dots ? &a : NULL, &b, NULL);
    }
    free((void *)a.x), free((void *)b.x);
    return wrong ? ad_fail(error, AD_EIO, "%s: cannot write the picture: %s", file, wrong) : AD_OK;
}
#else
ad_status draws_picture(const char *file, int64_t D, const corner_set *dots, const corner_set *lines, ad_error *error) {
    (void)D, (void)dots, (void)lines;
    return ad_fail(error, AD_EARG, "%s: built without cairo, which pictures need", file);
}
#endif
