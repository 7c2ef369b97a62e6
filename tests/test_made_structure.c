// test_made_structure.c -- masked nets of any structure: who sees whom, residual blocks, sweeps by levels, iterated
// inverses.
#include <jansson.h>

#include "layers.h"

enum { B = 4, MOST = 6 };

// ---- who sees whom --------------------------------------------------------------------------------------------------

// Structures of six features, as lists of "feature < those it sees".
typedef struct structure {
    const char *name;
    int levels;
    const char *sees[MOST];
} structure;
static const structure structures[] = {
    {"none sees any", 1, {"", "", "", "", "", ""}},
    {"a chain backwards, of neighbours only", 6, {"1", "2", "3", "4", "5", ""}},
    {"a diamond and a loner", 3, {"", "0", "0", "12", "", "4"}},
    {"two roots, one leaf", 2, {"45", "45", "4", "5", "", ""}},
    {"all before it", 6, {"", "0", "01", "012", "0123", "01234"}},
    {"mixed", 4, {"3", "03", "4", "", "", "1234"}},
};
enum { STRUCTURES = sizeof structures / sizeof *structures };

static void adjacency_of(const structure *s, bool *adjacency) {
    for (int d = 0; d < MOST; d++) {
        for (int e = 0; e < MOST; e++) adjacency[d * MOST + e] = strchr(s->sees[d], '0' + e) != NULL;
    }
}

static flow_net *net_of(const flow_made_options *options, int64_t C, int64_t P) {
    flow_made_options o = *options;
    o.mlp.width = 40;
    o.mlp.activation = FLOW_TANH;
    o.mlp.type = AD_F64;
    flow_net *net = flow_made(MOST, C, P, &o, &layers_error);
    layers_assert_made(net);
    return net;
}

typedef struct inputs {
    double x[B * MOST], context[B * 2];
    ad_source sources[2];
    ad_tape *tape;
    ad_var in, at;
} inputs;

static void open_inputs(inputs *i, ad_type type, int64_t C) {
    i->tape = ad_tape_new(NULL, type);
    util_fill(i->x, B * MOST, 1, -1.5, 1.5);
    util_fill(i->context, B * 2, 2, -1, 1);
    i->sources[0] = util_source(i->x, B);
    i->sources[1] = util_source(i->context, B);
    ad_rows rows = util_rows(i->tape, "data", B);
    i->in = ad_input(rows, ad_shape1(MOST), &i->sources[0]);
    i->at = C ? ad_input(rows, ad_shape1(C), &i->sources[1]) : AD_NONE;
}

// seen[d][e]: some parameter of feature d moves with e. The same for all rows and all P.
static void dependence(const flow_net *net, int64_t C, int64_t P, bool seen[MOST][MOST]) {
    inputs i;
    open_inputs(&i, AD_F64, C);
    ad_var J = ad_keep(ad_jacobian(flow_made_apply(net, i.in, i.at), i.in));
    util_run(i.tape);
    double *j = malloc((size_t)(B * MOST * P * MOST) * sizeof *j);
    util_read(J, j, B * MOST * P * MOST);
    for (int64_t k = 0; k < B * MOST * P * MOST; k++) {
        const int64_t d = k / MOST / P % MOST, e = k % MOST;
        const bool moves = j[k] != 0;
        if (k / MOST / P < MOST && k / MOST % P == 0) seen[d][e] = moves;
        assert_int_equal(moves, seen[d][e]);
    }
    free(j);
    ad_tape_free(i.tape);
}

static void an_adjacency_says_who_sees_whom(void **state) {
    (void)state;
    for (int s = 0; s < STRUCTURES; s++) {
        for (int i = 0; i < 10; i++) {
            bool adjacency[MOST * MOST], seen[MOST][MOST];
            const int64_t C = i % 2 ? 2 : 0;
            adjacency_of(&structures[s], adjacency);
            const flow_made_options o = {
                .mlp = {.layers = i / 2 ? i / 2 % 3 : -1}, .adjacency = adjacency, .residual = i > 5};
            flow_net *net = net_of(&o, C, 2);
            dependence(net, C, 2, seen);
            for (int k = 0; k < MOST * MOST; k++) {
                if (seen[k / MOST][k % MOST] == adjacency[k]) continue;
                fail_msg("%s, case %d: feature %d %s feature %d", structures[s].name, i, k / MOST,
                         adjacency[k] ? "does not see" : "sees", k % MOST);
            }
            flow_net_free(net);
        }
    }
}

static void features_may_stand_in_any_order(void **state) {
    (void)state;
    bool seen[MOST][MOST];
    unsigned number[3] = {0};
    for (int i = 0; i < 4; i++) {
        const flow_made_options o = {.mlp = {.seed = (uint64_t)(i / 2)},
                                     .arrange = i ? FLOW_ORDER_RANDOM : FLOW_ORDER_REVERSED,
                                     .residual = i % 2};
        flow_net *net = net_of(&o, 0, 1);
        dependence(net, 0, 1, seen);
        int sees[MOST] = {0};
        for (int k = 0; k < MOST * MOST; k++) sees[k / MOST] += seen[k / MOST][k % MOST];
        for (int d = 0; d < MOST; d++) {  // each place once: d sees those that see fewer
            for (int e = 0; e < MOST; e++) assert_int_equal(seen[d][e], sees[e] < sees[d]);
            if (i == 0) assert_int_equal(sees[d], MOST - 1 - d);
            number[i / 2] = 7 * number[i / 2] + (unsigned)sees[d];
        }
        flow_net_free(net);
    }
    assert_int_not_equal(number[0], number[1]);
}

// ---- residual blocks ------------------------------------------------------------------------------------------------

// out = b + W v.
static void naive(const flow_net *net, int i, const double *v, double *out) {
    const ad_param *W = net->owner.params[2 * i], *b = net->owner.params[2 * i + 1];
    const int64_t I = W->shape.dim[1];
    for (int64_t o = 0; o < b->count; o++) {
        out[o] = ad_param_get(b, o);
        for (int64_t k = 0; k < I; k++) out[o] += ad_param_get(W, o * I + k) * v[k];
    }
}

// Matrices are 0 behind their masks as they are made: the net is then the plain formula.
static void a_residual_made_is_its_formula(void **state) {
    (void)state;
    enum { WIDE = 40, OUT = 2 * MOST };
    const flow_made_options o = {.mlp = {.layers = 2}, .residual = true};
    flow_net *net = net_of(&o, 0, 2);
    assert_int_equal(net->owner.n_params, 12);
    double h[WIDE], a[WIDE], inner[WIDE], more[WIDE], want[OUT], got[OUT];
    const double x[MOST] = {0.3, -1.2, 2, 0.1, 0.7, -0.4};
    naive(net, 0, x, h);
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < WIDE; k++) a[k] = tanh(h[k]);
        naive(net, 2 * i + 1, a, inner);
        for (int k = 0; k < WIDE; k++) a[k] = tanh(inner[k]);
        naive(net, 2 * i + 2, a, more);
        for (int k = 0; k < WIDE; k++) h[k] += more[k];
    }
    naive(net, 5, h, want);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_var y = ad_keep(flow_made_apply(net, ad_constant(tape, ad_shape1(MOST), x), AD_NONE));
    util_run(tape);
    util_read(y, got, OUT);
    util_assert_all_close(got, want, OUT, 1e-13);
    ad_tape_free(tape);
    flow_net_free(net);
}

static double largest(const ad_param *p) {
    double most = 0;
    for (int64_t k = 0; k < p->count; k++) most = fmax(most, fabs(ad_param_get(p, k)));
    return most;
}

// The second matrix of a block in +-1e-3, so that blocks start near the identity; others by their inputs.
static void a_residual_made_starts_in_its_ranges(void **state) {
    (void)state;
    flow_net *net = net_of(&(flow_made_options){.mlp = {.layers = 2}, .residual = true}, 0, 2);
    for (int i = 0; i < 6; i++) {
        const double most = largest(net->owner.params[2 * i]);
        if (i == 2 || i == 4) assert_true(most <= 1e-3 && most > 5e-4);
        if (i != 2 && i != 4) assert_true(most <= 1 && most > 0.1);
    }
    flow_net_free(net);
}

// ---- sweeps ---------------------------------------------------------------------------------------------------------

// v [n] and its parameters [n 3]: of each feature the second.
static ad_var step(void *arg, ad_var parameters, ad_var v) {
    int *steps = arg;
    ++*steps;
    return ad_add(ad_scale(v, 0.3), ad_tanh(ad_slice_step(parameters, 0, 1, ad_dim(v, 0), 3)));
}

static void check_sweep(const flow_made_options *o, int64_t C, ad_type type, int levels) {
    flow_net *net = net_of(o, C, 3);
    inputs i;
    open_inputs(&i, type, C);
    int steps = 0;
    flow_sweep s = flow_made_sweep(net, i.in, i.at, step, &steps);
    ad_keep(s.value), ad_keep(s.parameters);
    ad_var again = ad_keep(flow_made_apply(net, s.value, i.at));
    ad_var value = ad_add(ad_scale(i.in, 0.3), ad_tanh(ad_reshape(ad_slice(again, 1, 1, 1), ad_shape1(MOST))));
    ad_keep(value);
    util_run(i.tape);
    double p[2][B * MOST * 3], v[2][B * MOST];
    util_read(s.parameters, p[0], B * MOST * 3);
    util_read(again, p[1], B * MOST * 3);
    util_read(s.value, v[0], B * MOST);
    util_read(value, v[1], B * MOST);
    assert_memory_equal(p[0], p[1], sizeof p[0]);
    assert_memory_equal(v[0], v[1], sizeof v[0]);
    assert_int_equal(steps, levels);
    ad_tape_free(i.tape);
    flow_net_free(net);
}

static void a_sweep_goes_level_by_level(void **state) {
    (void)state;
    for (int s = 0; s < STRUCTURES; s++) {
        bool adjacency[MOST * MOST];
        adjacency_of(&structures[s], adjacency);
        for (int i = 0; i < 8; i++) {
            const flow_made_options o = {
                .mlp = {.layers = i % 4 ? i % 4 : -1}, .adjacency = adjacency, .residual = i > 3};
            check_sweep(&o, i % 2 ? 2 : 0, i / 2 % 2 ? AD_F32 : AD_F64, structures[s].levels);
        }
    }
    for (int i = 0; i < 6; i++)
        check_sweep(&(flow_made_options){.arrange = (flow_order)(i / 2), .residual = i % 2}, 0, AD_F64, MOST);
}

// ---- the other way, iterated ----------------------------------------------------------------------------------------

static void stir(const flow_owner *owner, uint64_t *seed) {
    for (int i = 0; i < owner->n_params; i++) {
        ad_param *p = owner->params[i];
        for (int64_t k = 0; k < p->count; k++) ad_param_set(p, k, ad_param_get(p, k) + util_uniform(seed, -0.3, 0.3));
    }
    for (int i = 0; i < owner->n_parts; i++) stir(owner->parts[i].owner, seed);
}

// The same layer whatever solves it: x of z, its log_det and the gradient of their sum in z.
static void generate(flow_solve solve, int passes, const bool *adjacency, double *x, double *log_det,
                     double *gradient) {
    const flow_autoregressive_options o = {
        .solve = solve, .passes = passes, .made = {.mlp = {.type = AD_F64, .width = 20}, .adjacency = adjacency}};
    flow_transformer *spline = flow_spline_transformer(NULL, &layers_error);
    flow_layer *layer = flow_autoregressive(MOST, 0, spline, &o, &layers_error);
    layers_assert_made(layer);
    uint64_t seed = 8;
    stir(&layer->owner, &seed);
    double z[B * MOST], cot[B * MOST], ones[B] = {1, 1, 1, 1};
    util_fill(z, B * MOST, 4, -2, 2);
    util_fill(cot, B * MOST, 5, -1, 1);
    layers_run(layer, AD_F64, false, z, B, x, log_det);
    layers_gradients(layer, false, z, B, cot, ones, gradient);
    flow_layer_free(layer);
}

static void passes_find_what_a_sweep_finds(void **state) {
    (void)state;
    for (int s = 0; s <= STRUCTURES; s++) {
        bool adjacency[MOST * MOST];
        if (s < STRUCTURES) adjacency_of(&structures[s], adjacency);
        const bool *a = s < STRUCTURES ? adjacency : NULL;
        double x[3][B * MOST], log_det[3][B], g[3][B * MOST];
        for (int solve = 0; solve < 3; solve++) generate((flow_solve)solve, 0, a, x[solve], log_det[solve], g[solve]);
        for (int solve = 1; solve < 3; solve++) {
            util_assert_all_close(x[solve], x[0], B * MOST, 1e-12);
            util_assert_all_close(log_det[solve], log_det[0], B, 1e-11);
            util_assert_all_close(g[solve], g[0], B * MOST, 1e-9);
        }
    }
}

// As many passes as there are levels are needed, and enough: of more no more are made.
static void levels_are_the_passes_needed(void **state) {
    (void)state;
    for (int s = 1; s < STRUCTURES; s++) {
        const int levels = structures[s].levels;
        bool adjacency[MOST * MOST];
        double x[3][B * MOST], log_det[B], g[B * MOST];
        adjacency_of(&structures[s], adjacency);
        for (int i = 0; i < 3; i++) generate(FLOW_SOLVE_PASSES, levels - 1 + i, adjacency, x[i], log_det, g);
        assert_memory_equal(x[1], x[2], sizeof x[1]);
        if (levels > 1) assert_memory_not_equal(x[0], x[1], sizeof x[1]);
    }
}

// ---- refusals -------------------------------------------------------------------------------------------------------

static void made_refused(flow_made_options o, const char *words) {
    flow_net *net = flow_made(3, 0, 2, &o, &layers_error);
    if (net) fail_msg("not refused: %s", words);
    util_assert_contains(layers_error.message, words);
}

static void bad_structures_are_refused(void **state) {
    (void)state;
    const bool circle[9] = {0, 1, 0, 0, 0, 1, 1, 0, 0}, itself[9] = {0, 0, 0, 1, 1, 0, 0, 0, 0}, none[9] = {0};
    const int64_t order[3] = {2, 1, 0};
    made_refused((flow_made_options){.adjacency = circle}, "the adjacency has a circle");
    made_refused((flow_made_options){.adjacency = itself}, "the adjacency has a circle");
    made_refused((flow_made_options){.adjacency = none, .order = order}, "one of order, arrange and adjacency");
    made_refused((flow_made_options){.arrange = FLOW_ORDER_RANDOM, .order = order},
                 "one of order, arrange and adjacency");
    made_refused((flow_made_options){.arrange = (flow_order)3}, "arrange is 3");
    made_refused((flow_made_options){.mlp = {.layers = 1001}, .residual = true}, "1001 hidden layers");
    flow_net *large = flow_made(4097, 0, 1, &(flow_made_options){.adjacency = none}, &layers_error);
    assert_null(large);
    util_assert_contains(layers_error.message, "4097 features with an adjacency, expected at most 4096");
}

static void file_refused(const char *parents, const char *words) {
    char text[400];
    snprintf(text, sizeof text,
             "{\"features\":3,\"context\":0,\"outputs\":1,\"residual\":false,\"layers\":1,\"width\":4,\"activation\":"
             "\"relu\","
             "\"precision\":\"f32\",\"order\":null,\"parents\":%s}",
             parents);
    json_t *options = json_loads(text, 0, NULL);
    assert_non_null(options);
    flow_net *some = flow_made(1, 0, 1, NULL, &layers_error);
    layers_assert_made(some);
    flow_net *net = some->type->make(options, NULL, &layers_error);
    if (net) fail_msg("not refused: %s", parents);
    util_assert_contains(layers_error.message, words);
    flow_net_free(some);
    json_decref(options);
}

static void bad_files_are_refused(void **state) {
    (void)state;
    file_refused("[[],[0]]", "\"parents\" should be 3 lists");
    file_refused("[[],[0],7]", "\"parents\" should be 3 lists");
    file_refused("[[],[0],[3]]", "\"parents\" should be 3 lists");
    file_refused("[[],[0],[-1]]", "\"parents\" should be 3 lists");
    file_refused("[[],[2],[1]]", "the adjacency has a circle");
    file_refused("null", "\"order\" should be a list of 3 numbers");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_adjacency_says_who_sees_whom), cmocka_unit_test(features_may_stand_in_any_order),
        cmocka_unit_test(a_residual_made_is_its_formula),  cmocka_unit_test(a_residual_made_starts_in_its_ranges),
        cmocka_unit_test(a_sweep_goes_level_by_level),     cmocka_unit_test(passes_find_what_a_sweep_finds),
        cmocka_unit_test(levels_are_the_passes_needed),    cmocka_unit_test(bad_structures_are_refused),
        cmocka_unit_test(bad_files_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
