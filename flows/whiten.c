// whiten.c -- features decorrelated and brought to variance 1, by numbers fitted once and kept in the model.
//
// PCA-cor whitening (Kessy, Lewin and Strimmer 2018): with the correlation matrix P = V diag(root^2) V^T of the rows,
// z = diag(1/root) V^T diag(1/sd) (x - mean). Correlations rather than covariances: their small eigenvalues keep their
// digits whatever units the features come in.
#include <math.h>
#include <stdlib.h>

#include "internal.h"

// LAPACK: eigenvalues w, ascending, and eigenvectors, in the columns (Fortran's) of a.
void dsyev_(const char *jobz, const char *uplo, const int *n, double *a, const int *lda, double *w, double *work,
            const int *lwork, int *info, size_t jobz_length, size_t uplo_length);

enum { MOST_FEATURES = 8192 };
static const double least_share = 1e-12;  // of an eigenvalue in the largest: correlations have no more digits

typedef struct whiten {
    flow_layer layer;
    ad_state *mean, *sd, *root;  // [D], in double, owned by layer.owner
    ad_state *V;                 // [D,D], orthogonal: eigenvector k is column k
} whiten;

static ad_var log_scales(const whiten *w, ad_tape *tape) {
    return ad_add(ad_log(ad_use_state(tape, w->sd)), ad_log(ad_use_state(tape, w->root)));
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    const whiten *w = (const whiten *)layer;
    ad_tape *t = x.tape;
    ad_var u = ad_div(ad_sub(x, ad_use_state(t, w->mean)), ad_use_state(t, w->sd));
    ad_var z = ad_div(ad_linear_transposed(ad_use_state(t, w->V), u), ad_use_state(t, w->root));
    return (flow_result){z, ad_neg(log_scales(w, t))};
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    const whiten *w = (const whiten *)layer;
    ad_tape *t = z.tape;
    ad_var u = ad_linear(ad_use_state(t, w->V), ad_mul(z, ad_use_state(t, w->root)), AD_NONE);
    ad_var x = ad_add(ad_mul(u, ad_use_state(t, w->sd)), ad_use_state(t, w->mean));
    return (flow_result){x, log_scales(w, t)};
}

// ---- fitting --------------------------------------------------------------------------------------------------------

typedef struct fit {
    int64_t D, n;
    double *mean, *sd, *root, *row, *work;  // [D], the last [34 D]
    double *P;                              // [D,D] correlations, then eigenvectors: vector k is row k
} fit;

static void fit_free(fit *f) {
    free(f->mean);
    free(f->P);
}

static bool fit_new(fit *f, int64_t D, int64_t n) {
    *f = (fit){.D = D, .n = n};
    f->mean = calloc((size_t)D, 38 * sizeof(double));
    f->P = calloc((size_t)D * (size_t)D, sizeof(double));
    if (!f->mean || !f->P) {
        fit_free(f);
        return false;
    }
    f->sd = f->mean + D, f->root = f->sd + D, f->row = f->root + D, f->work = f->row + D;
    return true;
}

static ad_status means(fit *f, const flow_rows *rows, ad_error *error) {
    for (int64_t r = 0; r < f->n; r++) {
        for (int64_t d = 0; d < f->D; d++) {
            double x = flow_rows_get(rows, f->D, r, d);
            if (!isfinite(x)) {
                return ad_fail(error, AD_ENONFINITE, "whiten: row %lld, feature %lld is %g", (long long)r, (long long)d,
                               flow_said(x));
            }
            f->mean[d] += x / (double)f->n;
            if (x != flow_rows_get(rows, f->D, 0, d)) f->work[d] = 1;  // varies: rounding makes a constant's sd more than 0
        }
    }
    return AD_OK;
}

// Correlations (divisor n) from the rows once more: sums of squares of what is not centred lose digits.
static ad_status correlations(fit *f, const flow_rows *rows, ad_error *error) {
    int64_t D = f->D;
    for (int64_t r = 0; r < f->n; r++) {
        for (int64_t d = 0; d < D; d++) f->row[d] = flow_rows_get(rows, D, r, d) - f->mean[d];
        for (int64_t i = 0; i < D; i++) {
            double xi = f->row[i], *p = f->P + i * D;
            for (int64_t j = 0; j <= i; j++) p[j] += xi * f->row[j];
        }
    }
    for (int64_t i = 0; i < D; i++) {
        f->sd[i] = sqrt(f->P[i * D + i] / (double)f->n);
        if (isfinite(f->sd[i]) && f->sd[i] > 1e-30 && f->work[i] == 1) continue;
        return ad_fail(error, AD_EARG,
                       "whiten: feature %lld has standard deviation %g in %lld rows: no density can be fitted to a "
                       "constant (leave the feature out, or add noise)",
                       (long long)i, f->work[i] == 1 ? f->sd[i] : 0, (long long)f->n);
    }
    for (int64_t i = 0; i < D; i++) {
        for (int64_t j = 0; j < i; j++) {
            f->P[i * D + j] /= (double)f->n * f->sd[i] * f->sd[j];
            f->P[j * D + i] = f->P[i * D + j];
        }
        f->P[i * D + i] = 1;
    }
    return AD_OK;
}

static int64_t largest(const double *v, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++) best = fabs(v[i]) > fabs(v[best]) ? i : best;
    return best;
}

// Roots of the eigenvalues, and the eigenvectors with their largest element positive, so that equal data gives equal
// models.
static ad_status eigenvectors(fit *f, ad_error *error) {
    int D = (int)f->D, room = 34 * D, info = 0;
    dsyev_("V", "U", &D, f->P, &D, f->root, f->work, &room, &info, 1, 1);
    if (info != 0) return ad_fail(error, AD_ENONFINITE, "whiten: the eigenvalues of the correlations do not converge");
    const double top = f->root[D - 1];  // eigenvalues until their roots are taken
    for (int64_t k = 0; k < D; k++) {
        double *v = f->P + k * D;
        int64_t i = largest(v, D);
        if (!(f->root[k] > least_share * top)) {
            return ad_fail(error, AD_EARG,
                           "whiten: feature %lld is a linear combination of others in these %lld rows: no density can be "
                           "fitted to that (leave it out, or add noise)",
                           (long long)i, (long long)f->n);
        }
        f->root[k] = sqrt(f->root[k]);
        for (int64_t d = 0, negative = v[i] < 0; d < D && negative; d++) v[d] = -v[d];
    }
    return AD_OK;
}

// z = diag(1/root) V^T diag(1/sd) (x - mean), by the numbers fitted; or the same as what generate does: its sd is
// 1/root, its V is V^T, its root 1/sd, and its mean what the mean becomes, with the other sign.
static void keep(whiten *w, const fit *f, flow_direction direction) {
    const int64_t D = f->D;
    const bool back = direction == FLOW_GENERATE;
    double *mean = w->mean->data, *sd = w->sd->data, *root = w->root->data, *V = w->V->data;
    for (int64_t k = 0; k < D; k++) {
        const double *v = f->P + k * D;
        double along = 0;
        for (int64_t d = 0; d < D; d++) {
            V[back ? k * D + d : d * D + k] = v[d];
            along += v[d] * f->mean[d] / f->sd[d];
        }
        mean[k] = back ? -along / f->root[k] : f->mean[k];
        sd[k] = back ? 1 / f->root[k] : f->sd[k];
        root[k] = back ? 1 / f->sd[k] : f->root[k];
    }
}

static ad_status fit_rows(flow_layer *layer, flow_direction direction, const flow_rows *rows, ad_error *error) {
    whiten *w = (whiten *)layer;
    int64_t D = layer->x_shape.dim[0], n = flow_rows_count(rows, 0, error);
    fit f;
    if (n < 0) return AD_EARG;
    if (!fit_new(&f, D, n)) return ad_fail(error, AD_ENOMEM, "whiten: out of memory");
    ad_status status = means(&f, rows, error);
    if (status == AD_OK) status = correlations(&f, rows, error);
    if (status == AD_OK) status = eigenvectors(&f, error);
    if (status == AD_OK) keep(w, &f, direction);
    fit_free(&f);
    return status;
}
static ad_status init(flow_layer *layer, const flow_rows *rows, ad_error *error) {
    return fit_rows(layer, FLOW_NORMALIZE, rows, error);
}
static ad_status init_back(flow_layer *layer, const flow_rows *rows, ad_error *error) {
    return fit_rows(layer, FLOW_GENERATE, rows, error);
}

// ---- the layer ------------------------------------------------------------------------------------------------------

flow_layer *flow_whiten(int64_t D, ad_error *error) {
    if (D > MOST_FEATURES) {
        ad_fail(error, AD_EARG, "whiten: %lld features, expected at most %d", (long long)D, MOST_FEATURES);
        return NULL;
    }
    whiten *w = flow_layer_new(&flow_whiten_type, sizeof *w, D, 0, error);
    if (!w) return NULL;
    flow_owner *owner = &w->layer.owner;
    if ((w->mean = flow_add_state(owner, "mean", AD_F64, ad_shape1(D), error)) &&
        (w->sd = flow_add_state(owner, "sd", AD_F64, ad_shape1(D), error)) &&
        (w->root = flow_add_state(owner, "root", AD_F64, ad_shape1(D), error)) &&
        (w->V = flow_add_state(owner, "V", AD_F64, ad_shape2(D, D), error))) {
        double *sd = w->sd->data, *root = w->root->data, *V = w->V->data;
        for (int64_t d = 0; d < D; d++) sd[d] = root[d] = V[d * D + d] = 1;
        return &w->layer;
    }
    flow_layer_free(&w->layer);
    return NULL;
}

static json_t *describe(const flow_layer *layer) {
    return json_pack("{s:I}", "features", (json_int_t)layer->x_shape.dim[0]);
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t D;
    if (!flow_json_int(options, "features", 1, MOST_FEATURES, &D, error)) return NULL;
    return flow_take_elements(making, D * D + 3 * D, error) ? flow_whiten(D, error) : NULL;
}

// Fitted to rows that are correlated, in units far apart.
static flow_layer *example(int i, ad_error *error) {
    enum { ROWS = 32, MOST = 4 };
    double x[ROWS * MOST];
    int64_t D = 1 + i % MOST;
    uint64_t seed = (uint64_t)i + 1;
    for (int64_t r = 0; r < ROWS; r++) {
        double common = flow_random_unit(&seed);
        for (int64_t d = 0; d < D; d++) x[r * D + d] = pow(30, (double)(d - 1)) * (common + flow_random_unit(&seed) + 2);
    }
    flow_layer *layer = flow_whiten(D, error);
    flow_rows rows = {.x = {.data = x, .type = AD_F64, .count = ROWS}};
    if (layer && init(layer, &rows, error) == AD_OK) {
        layer->initialised = true;
        return layer;
    }
    flow_layer_free(layer);
    return NULL;
}

const flow_layer_type flow_whiten_type = {.name = "whiten",
                                          .normalize = normalize,
                                          .generate = generate,
                                          .describe = describe,
                                          .make = make,
                                          .init = init,
                                          .init_back = init_back,
                                          .example = example};
