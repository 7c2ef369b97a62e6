// base_pca.c -- a normal of low-rank covariance plus isotropic noise: probabilistic PCA.
//
// Tipping and Bishop 1999: z = mean + W y + s e, y [K] and e [D] standard normal, so the covariance is S = W W^T + s^2
// I. With M = s^2 I + W^T W of K rows and y^ = M^-1 W^T (z - mean), the latent's mean given z,
//   (z - mean)^T S^-1 (z - mean) = |z - mean - W y^|^2 / s^2 + |y^|^2,  log |S| = (D - K) log s^2 + log |M|:
// a sum of squares at its minimum in y^, so that nothing cancels and errors of y^ count squared only.
#include <math.h>

#include "base.h"

typedef struct pca {
    flow_base base;
    ad_param *mean, *W, *log_noise;  // [D], [D,K], [1] raw
    int64_t K;
    double bound;  // of log s
} pca;

static ad_var log_noise(const pca *p, ad_tape *tape) {
    return flow_bounded(ad_use(tape, p->log_noise), p->bound);
}

static ad_var log_prob(const flow_base *base, ad_var z, ad_var context) {
    (void)context;
    const pca *p = (const pca *)base;
    ad_tape *tape = z.tape;
    int64_t D = base->shape.dim[0], K = p->K;
    ad_var W = ad_use(tape, p->W), a = log_noise(p, tape), r = ad_sub(z, ad_use(tape, p->mean));
    ad_var noise = ad_diag(ad_expand(ad_exp(ad_scale(a, 2)), ad_shape1(K)));
    ad_var L = ad_cholesky(ad_add(ad_matmul(W, W, AD_TRANSPOSE_A), noise));
    ad_var y = ad_solve_triangular(L, ad_solve_triangular(L, ad_linear_transposed(W, r), 0), AD_TRANSPOSED);
    ad_var e = ad_mul(ad_sub(r, ad_linear(W, y, AD_NONE)), ad_exp(ad_neg(a)));
    ad_var parts[] = {ad_offset(ad_scale(ad_square(e), -0.5), -FLOW_HALF_LOG_2PI), ad_scale(ad_square(y), -0.5),
                      ad_neg(ad_log(ad_diagonal(L))), ad_scale(a, -(double)(D - K))};
    return ad_concat(parts, 4, 0);
}

static ad_var sample(const flow_base *base, ad_rows rows, const ad_random *random, uint32_t stream, ad_var context) {
    (void)context;
    const pca *p = (const pca *)base;
    int64_t D = base->shape.dim[0];
    ad_var n = ad_normal(rows, ad_shape1(p->K + D), random, stream);
    ad_var noise = ad_mul(ad_slice(n, 0, p->K, D), ad_exp(log_noise(p, rows.tape)));
    ad_var along = ad_linear(ad_use(rows.tape, p->W), ad_slice(n, 0, 0, p->K), ad_use(rows.tape, p->mean));
    return ad_add(along, noise);
}

static ad_var center(const flow_base *base, ad_tape *tape, ad_var context) {
    (void)context;
    return ad_use(tape, ((const pca *)base)->mean);
}

static bool add_tensors(pca *p, const flow_pca_options *o, ad_error *error) {
    int64_t D = p->base.shape.dim[0];
    flow_owner *owner = &p->base.owner;
    uint64_t random = o->seed;
    if (!(p->mean = flow_add_param(owner, "mean", o->type, ad_shape1(D), error)) ||
        !(p->W = flow_add_param(owner, "W", o->type, ad_shape2(D, p->K), error)) ||
        !(p->log_noise = flow_add_param(owner, "log_noise", o->type, ad_shape1(1), error))) {
        return false;
    }
    // W = 0 would be a saddle, where its gradient vanishes.
    flow_fill_uniform(p->W, 1 / sqrt((double)D), &random);
    return true;
}

flow_base *flow_base_pca(int64_t D, int64_t K, const flow_pca_options *options, ad_error *error) {
    flow_pca_options o = options ? *options : (flow_pca_options){0};
    double bound = flow_scale_bound("pca normal", o.bound, error);
    if (isnan(bound)) return NULL;
    if (K < 1 || K > D || K > 8192 || (unsigned)o.type > AD_F64) {
        ad_fail(error, AD_EARG,
                "pca normal: rank %lld, element type %d; expected a rank from 1 to the %lld features (at "
                "most 8192), AD_F32 or AD_F64",
                (long long)K, (int)o.type, (long long)D);
        return NULL;
    }
    pca *p = flow_base_new(&flow_base_pca_type, sizeof *p, D, 0, error);
    if (!p) return NULL;
    p->K = K;
    p->bound = bound;
    if (add_tensors(p, &o, error)) return &p->base;
    flow_base_free(&p->base);
    return NULL;
}

static json_t *describe(const flow_base *base) {
    const pca *p = (const pca *)base;
    return json_pack("{s:I, s:I, s:f, s:s}", "features", (json_int_t)base->shape.dim[0], "rank", (json_int_t)p->K,
                     "bound", p->bound, "precision", flow_type_text(p->W->type));
}

static flow_base *make(const flow_base_type *type, const json_t *options, const flow_making *making, ad_error *error) {
    (void)type;
    int64_t D, K;
    flow_pca_options o = {.seed = 0};
    if (!flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &D, error) ||
        !flow_json_int(options, "rank", 1, D < 8192 ? D : 8192, &K, error) ||
        !flow_json_number(options, "bound", &o.bound, error) || !flow_json_type(options, &o.type, error) ||
        !flow_take_elements(making, D * (K + 1) + 1, error)) {
        return NULL;
    }
    return flow_base_pca(D, K, &o, error);
}

static flow_base *example(const flow_base_type *type, int i, ad_error *error) {
    (void)type;
    flow_pca_options o = {.bound = i % 3 ? 0 : 2, .seed = (uint64_t)i, .type = i % 2 ? AD_F32 : AD_F64};
    int64_t D = 1 + i % 4;
    return flow_base_pca(D, D > 1 ? 1 + i / 4 % (D - 1) : 1, &o, error);
}

const flow_base_type flow_base_pca_type = {.name = "pca normal",
                                           .log_prob = log_prob,
                                           .sample = sample,
                                           .describe = describe,
                                           .make = make,
                                           .example = example,
                                           .center = center,
                                           .noise_power = 1};
