// posterior_picture.c -- a corner plot of a posterior, beside others' draws.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "posterior_models.h"

#ifdef EXAMPLES_CAIRO  // where cairo is
#include "corner.h"
#include "data.h"

enum { USUAL = 5 };

// The quantities named; else the first and, as those that others depend on come last, the last ones. Their number, or
// -1.
static int choose(const posterior *p, const char *show, int64_t chosen[CORNER_MOST], ad_error *error) {
    int n = 0;
    for (int64_t k = 0; !show && k < p->n; k++) {
        if (k == 0 || k > p->n - USUAL) chosen[n++] = k;
    }
    for (size_t length; show && *show; show += length + (show[length] == ',')) {
        int64_t k = 0;
        length = strcspn(show, ",");
        while (k < p->n && !(strlen(p->names[k]) == length && strncmp(p->names[k], show, length) == 0)) k++;
        if (k == p->n) return ad_fail(error, AD_EARG, "--show: there is no '%.*s'", (int)length, show), -1;
        if (n == CORNER_MOST) return ad_fail(error, AD_EARG, "--show: at most %d stay legible", CORNER_MOST), -1;
        chosen[n++] = k;
    }
    if (n < 2) return ad_fail(error, AD_EARG, "--show: two quantities at least"), -1;
    return n;
}

// Columns of a table under the names chosen, row by row.
static ad_status read_draws(const char *file, const char *const *names, int n, corner_set *set, ad_error *error) {
    data_table *table = data_read_csv(file, &(data_csv_options){.columns = names, .n_columns = n}, error);
    double *x = table ? malloc((size_t)(table->rows * n) * sizeof *x) : NULL;
    ad_status status = table ? AD_OK : error->status;
    if (table && !x) status = ad_fail(error, AD_ENOMEM, "%s: out of memory", file);
    if (status == AD_OK) status = data_check_finite(table, error);
    if (status == AD_OK) status = data_gather(table, NULL, table->rows, 0, n, AD_F64, x, error);
    *set = (corner_set){.name = "reference draws", .x = x, .n = table ? table->rows : 0};
    data_table_free(table);
    return status;
}

ad_status posterior_picture(const posterior *p, const double *q, const posterior_comparison *with, ad_error *error) {
    int64_t chosen[CORNER_MOST];
    const char *names[CORNER_MOST];
    const int n = choose(p, with->show, chosen, error);
    if (n < 0) return error->status;
    for (int i = 0; i < n; i++) names[i] = p->names[chosen[i]];
    corner_set others = {0};
    ad_status status = with->draws ? read_draws(with->draws, names, n, &others, error) : AD_OK;
    double *x = malloc((size_t)(with->n * n) * sizeof *x);
    if (!x && status == AD_OK) status = ad_fail(error, AD_ENOMEM, "out of memory for a picture");
    for (int64_t i = 0; status == AD_OK && i < with->n * n; i++) x[i] = q[chosen[i % n] * with->n + i / n];
    const corner_set flow = {.name = "flow", .x = x, .n = with->n};
    const char *wrong = status == AD_OK ? corner_draw(with->picture, names, n, others.n ? &others : NULL, &flow) : NULL;
    if (wrong) status = ad_fail(error, AD_EIO, "%s: cannot write the picture: %s", with->picture, wrong);
    free(x), free((void *)others.x);
    return status;
}
#else
ad_status posterior_picture(const posterior *p, const double *q, const posterior_comparison *with, ad_error *error) {
    (void)p, (void)q;
    return ad_fail(error, AD_EARG, "%s: built without cairo, which pictures need", with->picture);
}
#endif
