// base_mixture.c -- mixtures of independent normals, of learned or conditional weights, means and scales.
#include <math.h>

#include "base.h"

typedef struct mixture {
    flow_base base;
    ad_param *values;  // [K, 1 + 2 D], each component's logit, mean and raw log-scale; NULL with a net
    flow_net *net;     // [C] -> [K (1 + 2 D)], a part
    int64_t K;
    double bound;
    ad_type type;
} mixture;

// All components' numbers: logits [K], means and log-scales [K,D].
typedef struct components {
    ad_var logits, mean, log_scale;
} components;

static components record(const mixture *m, ad_tape *tape, ad_var context) {
    int64_t D = m->base.shape.dim[0];
    ad_var all =
        m->net ? ad_reshape(flow_net_apply(m->net, context), ad_shape2(m->K, 1 + 2 * D)) : ad_use(tape, m->values);
    return (components){ad_reshape(ad_slice(all, 1, 0, 1), ad_shape1(m->K)), ad_slice(all, 1, 1, D),
                        flow_bounded(ad_slice(all, 1, 1 + D, D), m->bound)};
}

static ad_var log_prob(const flow_base *base, ad_var z, ad_var context) {
    const mixture *m = (const mixture *)base;
    components c = record(m, z.tape, context);
    ad_var u = ad_mul(ad_sub(z, c.mean), ad_exp(ad_neg(c.log_scale)));
    ad_var terms = ad_sub(ad_offset(ad_scale(ad_square(u), -0.5), -FLOW_HALF_LOG_2PI), c.log_scale);
    return ad_logsumexp(ad_add(ad_log_softmax(c.logits, 0), ad_sum_axis(terms, 1)));
}

// A component drawn exactly, then its normal.
static ad_var sample(const flow_base *base, ad_rows rows, const ad_random *random, uint32_t stream, ad_var context) {
    const mixture *m = (const mixture *)base;
    components c = record(m, rows.tape, context);
    ad_var chosen = ad_one_hot(ad_categorical(c.logits, rows, random, flow_stream(stream, 1)), m->K);
    ad_var pick = ad_reshape(chosen, ad_shape2(m->K, 1));
    ad_var mean = ad_sum_axis(ad_mul(pick, c.mean), 0), log_scale = ad_sum_axis(ad_mul(pick, c.log_scale), 0);
    return ad_add(mean, ad_mul(ad_exp(log_scale), ad_normal(rows, base->shape, random, stream)));
}

// Means spread over +-2, so that components do not start alike; of a net they start as its last layer's bias.
static bool add_tensors(mixture *m, const flow_mixture_options *o, ad_error *error) {
    int64_t D = m->base.shape.dim[0], C = m->base.C, each = 1 + 2 * D;
    uint64_t random = o->mlp.seed;
    ad_param *start;
    if (C) {
        flow_mlp_options mlp = o->mlp;
        mlp.zero_last = true;
        mlp.type = o->type;
        flow_net *net = o->net ? o->net : flow_mlp(C, m->K * each, &mlp, error);
        if (!net || flow_add_part(&m->base.owner, "net", &net->owner, error)) return false;
        m->net = net;
        if (o->net) return true;
        start = net->owner.params[net->owner.n_params - 1];
    } else {
        start = m->values = flow_add_param(&m->base.owner, "values", o->type, ad_shape2(m->K, each), error);
        if (!start) return false;
    }
    for (int64_t i = 0; i < m->K * D; i++) ad_param_set(start, i / D * each + 1 + i % D, 2 * flow_random_unit(&random));
    return true;
}

static bool settle(mixture *m, const flow_mixture_options *o, ad_error *error) {
    int64_t C = m->base.C, out = m->K * (1 + 2 * (int64_t)m->base.shape.dim[0]);
    m->type = o->type;
    m->bound = flow_scale_bound("normal mixture", o->bound, error);
    if (isnan(m->bound)) return false;
    if (m->K < 1 || m->K > 65536 || out > FLOW_MAX_FEATURES || (unsigned)o->type > AD_F64) {
        ad_fail(error, AD_EARG,
                "normal mixture: %lld components, element type %d; expected 1 to 65536, with at most 2^24 "
                "numbers, AD_F32 or AD_F64",
                (long long)m->K, (int)o->type);
    } else if (o->net && (C == 0 || o->net->in != C || o->net->out != out)) {
        ad_fail(error, AD_ESHAPE, "normal mixture: the net is [%lld] -> [%lld], expected [%lld] -> [%lld]",
                (long long)o->net->in, (long long)o->net->out, (long long)C, (long long)out);
    } else {
        return true;
    }
    return false;
}

flow_base *flow_base_mixture(int64_t D, int64_t C, const flow_mixture_options *options, ad_error *error) {
    flow_mixture_options o = options ? *options : (flow_mixture_options){0};
    mixture *m = flow_base_new(&flow_base_mixture_type, sizeof *m, D, C, error);
    if (m) m->K = o.components == 0 ? 8 : o.components;
    if (!m || !settle(m, &o, error)) {
        flow_net_free(o.net);
        flow_base_free(m ? &m->base : NULL);
        return NULL;
    }
    if (add_tensors(m, &o, error)) return &m->base;
    flow_base_free(&m->base);
    return NULL;
}

static json_t *describe(const flow_base *base) {
    const mixture *m = (const mixture *)base;
    json_t *net = m->net ? flow_describe_net(m->net) : json_null();
    return json_pack("{s:I, s:I, s:I, s:f, s:s, s:o}", "features", (json_int_t)base->shape.dim[0], "context",
                     (json_int_t)base->C, "components", (json_int_t)m->K, "bound", m->bound, "precision",
                     flow_type_text(m->type), "net", net);
}

static flow_base *make(const flow_base_type *type, const json_t *options, const flow_making *making, ad_error *error) {
    (void)type;
    int64_t D, C;
    flow_mixture_options o = {.bound = 0};
    if (!flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &D, error) ||
        !flow_json_int(options, "context", 0, FLOW_MAX_FEATURES, &C, error) ||
        !flow_json_int(options, "components", 1, 65536, &o.components, error) ||
        !flow_json_number(options, "bound", &o.bound, error) || !flow_json_type(options, &o.type, error)) {
        return NULL;
    }
    if (C == 0) {
        if (!flow_take_elements(making, o.components * (1 + 2 * D), error)) return NULL;
    } else {
        o.net = flow_make_net(json_object_get(options, "net"), making, error);
        if (!o.net) return NULL;
    }
    return flow_base_mixture(D, C, &o, error);
}

static flow_base *example(const flow_base_type *type, int i, ad_error *error) {
    (void)type;
    flow_mixture_options o = {.components = 1 + i % 5,
                              .bound = i % 3 ? 0 : 2,
                              .mlp = {.layers = 1, .width = 4, .activation = FLOW_TANH, .seed = (uint64_t)i},
                              .type = i % 2 ? AD_F32 : AD_F64};
    return flow_base_mixture(1 + i % 3, i % 4 == 3 ? 2 : 0, &o, error);
}

const flow_base_type flow_base_mixture_type = {.name = "normal mixture",
                                               .log_prob = log_prob,
                                               .sample = sample,
                                               .describe = describe,
                                               .make = make,
                                               .example = example};
