// text_bases.c -- the base densities that one-line descriptions name.
#include <stdio.h>

#include "from_text.h"

const char *const flow_text_bases[TEXT_BASES] = {"normal",  "learned", "conditional", "classes", "full",   "pca",
                                                 "mixture", "student", "logistic",    "laplace", "gumbel", "uniform"};
enum { NORMAL, LEARNED, CONDITIONAL, CLASSES, FULL, PCA, MIXTURE, STUDENT, LOGISTIC, LAPLACE, GUMBEL, UNIFORM };
enum { SCALED = 1 << STUDENT | 1 << LOGISTIC | 1 << LAPLACE | 1 << GUMBEL };

// Keys that go with some bases alone.
static const struct {
    text_value value;
    const char *key;
    int bases;
} belongs[] = {
    {TEXT_COMPONENTS, "components", 1 << MIXTURE},
    {TEXT_DF, "df", 1 << STUDENT},
    {TEXT_LEARN_DF, "learn-df", 1 << STUDENT},
    {TEXT_RANK, "rank", 1 << PCA},
    {TEXT_BOX, "box", 1 << UNIFORM},
    {TEXT_FIXED, "fixed", SCALED},
    {TEXT_FOLLOW, "follow", SCALED | 1 << MIXTURE},
};

static bool goes(const text_settings *s, ad_error *error) {
    const int base = (int)s->value[TEXT_BASE];
    for (size_t i = 0; i < sizeof belongs / sizeof *belongs; i++) {
        if (s->value[belongs[i].value] == 0 || belongs[i].bases >> base & 1) continue;
        char list[100] = "";
        size_t n = 0;
        for (int b = 0; b < TEXT_BASES; b++) {
            if (!(belongs[i].bases >> b & 1)) continue;
            n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", n ? ", " : "", flow_text_bases[b]);
        }
        ad_fail(error, AD_EARG, "base density: '%s' goes with base=%s, but base=%s", belongs[i].key, list,
                flow_text_bases[base]);
        return false;
    }
    return true;
}

// Context features that the base density is to see; -1 and a message when there are none.
static int64_t context_of(const text_settings *s, int64_t C, ad_error *error) {
    const int base = (int)s->value[TEXT_BASE];
    if (base != CONDITIONAL && base != CLASSES && s->value[TEXT_FOLLOW] == 0) return 0;
    if (C > 0) return C;
    ad_fail(error, AD_EARG, "base density: %s%s, but the model takes no context",
            s->value[TEXT_FOLLOW] == 0 ? "base=" : "follow=yes",
            s->value[TEXT_FOLLOW] == 0 ? flow_text_bases[base] : "");
    return -1;
}

static flow_base *make(const text_settings *s, int64_t D, int64_t C, ad_error *error) {
    const ad_type type = (ad_type)s->value[TEXT_TYPE];
    const uint64_t seed = flow_subseed((uint64_t)s->value[TEXT_SEED], 1 << 20);
    const int64_t rank = (int64_t)s->value[TEXT_RANK], usual_rank = D < 10 ? (D + 1) / 2 : 5;
    const double box = s->value[TEXT_BOX] > 0 ? s->value[TEXT_BOX] : 3;
    const flow_scaled_options scaled = {.fixed = s->value[TEXT_FIXED] != 0,
                                        .classes = s->value[TEXT_BASE] == CLASSES,
                                        .mlp = {.seed = seed},
                                        .type = type};
    const flow_student_options student = {
        .df = s->value[TEXT_DF], .learn_df = s->value[TEXT_LEARN_DF] != 0, .scaled = scaled};
    const flow_mixture_options mixture = {
        .components = (int64_t)s->value[TEXT_COMPONENTS], .mlp = {.seed = seed}, .type = type};
    switch ((int)s->value[TEXT_BASE]) {
        case LEARNED:
        case CONDITIONAL:
        case CLASSES:
            return flow_base_normal(D, C, &scaled, error);
        case FULL:
            return flow_base_full(D, &(flow_full_options){.type = type}, error);
        case PCA:
            return flow_base_pca(D, rank ? rank : usual_rank, &(flow_pca_options){.seed = seed, .type = type}, error);
        case MIXTURE:
            return flow_base_mixture(D, C, &mixture, error);
        case STUDENT:
            return flow_base_student(D, C, &student, error);
        case LOGISTIC:
            return flow_base_logistic(D, C, &scaled, error);
        case LAPLACE:
            return flow_base_laplace(D, C, &scaled, error);
        case GUMBEL:
            return flow_base_gumbel(D, C, &scaled, error);
        case UNIFORM:
            return flow_base_uniform(D, -box, box, error);
        default:
            return flow_standard_normal(D, error);
    }
}

flow_base *flow_text_base(const text_settings *s, int64_t D, int64_t C, ad_error *error) {
    const double T = s->value[TEXT_TEMPERATURE];
    const int64_t seen = goes(s, error) ? context_of(s, C, error) : -1;
    flow_base *base = seen >= 0 ? make(s, D, seen, error) : NULL;
    return T > 0 ? flow_temper(base, T, error) : base;
}
