// text_bases.c -- the base densities that one-line descriptions name.
#include "from_text.h"

const char *const flow_text_bases[TEXT_BASES] = {"normal",  "learned", "conditional", "full",    "pca",
                                                 "mixture", "student", "logistic",    "laplace", "gumbel"};
enum { NORMAL, LEARNED, CONDITIONAL, FULL, PCA, MIXTURE, STUDENT, LOGISTIC, LAPLACE, GUMBEL };

// Keys that go with one base alone.
static bool goes(const text_settings *s, text_value value, const char *key, int base, ad_error *error) {
    if (s->value[value] == 0 || (int)s->value[TEXT_BASE] == base) return true;
    ad_fail(error, AD_EARG, "base density: '%s' goes with base=%s, but base=%s", key, flow_text_bases[base],
            flow_text_bases[(int)s->value[TEXT_BASE]]);
    return false;
}

flow_base *flow_text_base(const text_settings *s, int64_t D, int64_t C, ad_error *error) {
    const int base = (int)s->value[TEXT_BASE];
    const ad_type type = (ad_type)s->value[TEXT_TYPE];
    const uint64_t seed = flow_subseed((uint64_t)s->value[TEXT_SEED], 1 << 20);
    const flow_scaled_options scaled = {.mlp = {.seed = seed}, .type = type};
    const int64_t rank = (int64_t)s->value[TEXT_RANK];
    if (!goes(s, TEXT_COMPONENTS, "components", MIXTURE, error) || !goes(s, TEXT_DF, "df", STUDENT, error) ||
        !goes(s, TEXT_RANK, "rank", PCA, error)) {
        return NULL;
    }
    switch (base) {
        case LEARNED:
            return flow_base_normal(D, 0, &scaled, error);
        case CONDITIONAL:
            if (C > 0) return flow_base_normal(D, C, &scaled, error);
            ad_fail(error, AD_EARG, "base density: base=conditional, but the model takes no context");
            return NULL;
        case FULL:
            return flow_base_full(D, &(flow_full_options){.type = type}, error);
        case PCA:
            return flow_base_pca(D,
                                 rank     ? rank
                                 : D < 10 ? (D + 1) / 2
                                          : 5,
                                 &(flow_pca_options){.seed = seed, .type = type}, error);
        case MIXTURE:
            return flow_base_mixture(
                D, 0,
                &(flow_mixture_options){
                    .components = (int64_t)s->value[TEXT_COMPONENTS], .mlp = {.seed = seed}, .type = type},
                error);
        case STUDENT:
            return flow_base_student(D, 0, &(flow_student_options){.df = s->value[TEXT_DF], .scaled = scaled}, error);
        case LOGISTIC:
            return flow_base_logistic(D, 0, &scaled, error);
        case LAPLACE:
            return flow_base_laplace(D, 0, &scaled, error);
        case GUMBEL:
            return flow_base_gumbel(D, 0, &scaled, error);
        default:
            return flow_standard_normal(D, error);
    }
}
