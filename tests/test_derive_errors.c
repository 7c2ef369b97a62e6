// test_derive_errors.c -- derived layers that are wrong: declarations, maps, rows without a solution, files.
#include "data.h"
#include "derived_layers.h"
#include "files.h"

#define TYPE(type_name, label, ...)                               \
    static const flow_derivation type_name##_map = {__VA_ARGS__}; \
    static const flow_layer_type type_name = {.name = label, .derived = &type_name##_map}

static flow_layer *made(const flow_layer_type *type, int64_t D, int64_t C) {
    flow_layer *layer = flow_derive(type, D, C, &(flow_derive_options){.type = AD_F64}, &layers_error);
    layers_assert_made(layer);
    return layer;
}

// ---- flow_check sees whether the structure declared is held --------------------------------------------------------

static void check_names(const flow_layer_type *type, int64_t D, const char *words) {
    flow_layer *layer = made(type, D, 0);
    ad_status status = flow_check(layer, NULL, &layers_error);
    flow_layer_free(layer);
    if (status == AD_OK) fail_msg("not noticed: %s", words);
    util_assert_contains(layers_error.message, words);
}

// Feature d gets a little of feature d + 1: neither elementwise nor autoregressive from the first to the last.
static ad_var leaning(const flow_call *c, ad_var x) {
    (void)c;
    return ad_add(x, ad_scale(ad_tanh(ad_pad(ad_slice(x, 0, 1, ad_dim(x, 0) - 1), 0, 0, 1, 0)), 0.25));
}
// The other way round.
static ad_var trailing(const flow_call *c, ad_var x) {
    (void)c;
    return ad_add(x, ad_scale(ad_tanh(ad_pad(ad_slice(x, 0, 0, ad_dim(x, 0) - 1), 0, 1, 0, 0)), 0.25));
}
static ad_var stretched(const flow_call *c, ad_var x) {
    (void)c;
    return ad_scale(x, 1.0001);
}
static ad_var steep(const flow_call *c, ad_var x) {
    (void)c;
    return ad_scale(ad_sin(x), 1.25);
}

TYPE(mixed_elementwise, "mixed", FLOW_ELEMENTWISE, .normalize = trailing);
TYPE(mixed_back, "mixed back", FLOW_ELEMENTWISE, .generate = trailing);
TYPE(mixed_coupling, "mixed coupling", FLOW_COUPLING, .normalize = trailing);
TYPE(wrong_order, "wrong order", FLOW_AUTOREGRESSIVE, .normalize = leaning);
TYPE(right_order, "right order", FLOW_AUTOREGRESSIVE, .normalize = trailing);
TYPE(not_volume, "stretched", FLOW_VOLUME_PRESERVING, .normalize = stretched);
TYPE(not_orthogonal, "sheared", FLOW_ORTHOGONAL, .normalize = trailing);
TYPE(too_steep, "steep", FLOW_CONTRACTIVE, .normalize = steep);

static void check_names_a_feature_that_sees_another(void **state) {
    (void)state;
    check_names(&mixed_elementwise, 2,
                "mixed is declared elementwise, but the derivative of feature 1 of normalize in "
                "feature 0 of its input is 0.2");
    util_assert_contains(layers_error.message, "and should be 0, row 0, case 0");
}
static void check_looks_first_where_the_map_is(void **state) {
    (void)state;
    check_names(&mixed_back, 2, "mixed back is declared elementwise, but the derivative of feature 1 of generate");
}
static void check_names_changed_features_that_see_each_other(void **state) {
    (void)state;
    check_names(&mixed_coupling, 4,
                "mixed coupling is declared coupling, but the derivative of feature 3 of normalize in feature 2");
}
static void check_names_a_wrong_order(void **state) {
    (void)state;
    check_names(&wrong_order, 3,
                "is declared autoregressive, but the derivative of feature 0 of normalize in feature 1");
}
static void check_passes_the_right_order(void **state) {
    (void)state;
    flow_layer *layer = made(&right_order, 3, 0);
    if (flow_check(layer, NULL, &layers_error) != AD_OK) fail_msg("%s", layers_error.message);
    flow_layer_free(layer);
}
static void check_names_a_volume_that_is_not_kept(void **state) {
    (void)state;
    check_names(&not_volume, 1, "is declared volume-preserving, but |det J| of normalize is 1.0001, row 0");
}
static void check_names_what_is_not_orthogonal(void **state) {
    (void)state;
    check_names(&not_orthogonal, 2, "is declared orthogonal, but entry 0, 0 of J^T J of normalize is 1.0");
    util_assert_contains(layers_error.message, "and should be 1");
}
static void check_names_what_does_not_contract(void **state) {
    (void)state;
    check_names(&too_steep, 1, "is declared contractive, but the largest singular value of J - I of normalize is 1.");
}

// A layer written by hand may declare a structure as well: two of three features scaled.
static flow_result rank_two(const flow_layer *layer, ad_var x, ad_var context) {
    (void)layer;
    (void)context;
    ad_var scale = ad_constant(x.tape, ad_shape1(3), (const double[]){2, 1, 3});
    return (flow_result){ad_mul(x, scale), ad_log(scale)};
}
static flow_result rank_two_back(const flow_layer *layer, ad_var z, ad_var context) {
    (void)layer;
    (void)context;
    ad_var scale = ad_constant(z.tape, ad_shape1(3), (const double[]){2, 1, 3});
    return (flow_result){ad_div(z, scale), ad_neg(ad_log(scale))};
}
static void check_names_a_rank_that_is_too_high(void **state) {
    (void)state;
    static const flow_layer_type type = {.name = "by hand", .normalize = rank_two, .generate = rank_two_back};
    flow_layer *layer = flow_layer_new(&type, sizeof *layer, 3, 0, &layers_error);
    layers_assert_made(layer);
    layer->jacobian = (flow_jacobian){.structure = FLOW_LOW_RANK, .rank = 2};
    if (flow_check(layer, NULL, &layers_error) != AD_OK) fail_msg("%s", layers_error.message);
    layer->jacobian.rank = 1;
    assert_int_equal(flow_check(layer, NULL, &layers_error), AD_EARG);
    util_assert_contains(
        layers_error.message,
        "by hand is declared identity plus rank 1, but of J - I of normalize entries up to 1 are left");
    flow_layer_free(layer);
}

// ---- maps that are wrong -------------------------------------------------------------------------------------------

// What the tape says of one direction of n rows of z.
static const char *run(const flow_layer *layer, ad_type type, bool normalize, const double *in, int64_t n,
                       ad_status *status) {
    static char message[512];
    ad_tape *tape = ad_tape_new(NULL, type);
    ad_source source = util_source(in, n);
    ad_var v = ad_input(util_rows(tape, "data", n), layer->x_shape, &source);
    flow_result r = normalize ? flow_layer_normalize(layer, v, AD_NONE) : flow_layer_generate(layer, v, AD_NONE);
    ad_keep(r.value);
    ad_keep(r.log_det);
    *status = ad_run(tape);
    snprintf(message, sizeof message, "%s", ad_tape_message(tape));
    ad_tape_free(tape);
    return message;
}

static void assert_fails(const flow_layer_type *type, bool normalize, const double *in, int64_t n, ad_status want,
                         const char *words) {
    flow_layer *layer = made(type, 2, 0);
    ad_status status;
    const char *message = run(layer, AD_F64, normalize, in, n, &status);
    flow_layer_free(layer);
    util_assert_contains(message, words);
    assert_int_equal(status, want);
}

static ad_var gives_nothing(const flow_call *c, ad_var x) {
    (void)c;
    (void)x;
    return AD_NONE;
}
static ad_var gives_one(const flow_call *c, ad_var x) {
    (void)c;
    return ad_slice(x, 0, 0, 1);
}
static ad_var gives_sum(const flow_call *c, ad_var x) {
    (void)c;
    return ad_sum(x);
}
static ad_var mixes_rows(const flow_call *c, ad_var x) {
    (void)c;
    return ad_sub(x, ad_scale(ad_mean_rows(x), 0.5));
}
static ad_var constant(const flow_call *c, ad_var x) {
    (void)c;
    return ad_fill(x.tape, ad_shape1(2), 1);
}
static ad_var staircase(const flow_call *c, ad_var x) {
    (void)c;
    return ad_floor(x);
}
static ad_var asks_for_tensor(const flow_call *c, ad_var x) {
    return ad_add(x, flow_use(c, "shift"));
}
static ad_var asks_for_net(const flow_call *c, ad_var x) {
    return ad_add(x, flow_use_net(c, "net", x));
}
static ad_var asks_for_parameter(const flow_call *c, ad_var x) {
    return ad_add(x, flow_use_parameter(c, 2));
}
static ad_var asks_for_number(const flow_call *c, ad_var x) {
    return ad_scale(x, flow_number_of(c->layer, "rate"));
}

static const double near[2] = {0.5, -0.25};

static void a_map_that_gives_something_else_is_named(void **state) {
    (void)state;
    TYPE(nothing, "nothing", FLOW_ELEMENTWISE, .normalize = gives_nothing);
    TYPE(one, "one", FLOW_DENSE, .generate = gives_one);
    TYPE(sum, "sum", FLOW_AUTOREGRESSIVE, .normalize = gives_sum);
    TYPE(pinched, "pinched", FLOW_LOW_RANK, .normalize = stretched, .bottleneck = gives_sum);
    assert_fails(&nothing, true, near, 1, AD_EARG, "nothing: the map gives nothing");
    assert_fails(&nothing, false, near, 1, AD_EARG, "the map gives nothing");
    assert_fails(&one, false, near, 1, AD_ESHAPE, "one: the map gives [1], expected [2]");
    assert_fails(&one, true, near, 1, AD_ESHAPE, "the map gives [1], expected [2]");
    assert_fails(&sum, true, near, 1, AD_ESHAPE, "sum: the map gives [], expected [2]");
    assert_fails(&sum, false, near, 1, AD_ESHAPE, "the map gives [], expected [2]");
    assert_fails(&pinched, true, near, 1, AD_ESHAPE, "pinched: the bottleneck gives [], expected [1]");
}

static void a_map_that_mixes_rows_is_named(void **state) {
    (void)state;
    TYPE(mixing, "mixing", FLOW_ELEMENTWISE, .normalize = mixes_rows);
    TYPE(mixing_dense, "mixing", FLOW_DENSE, .normalize = mixes_rows);
    assert_fails(&mixing, false, near, 1, AD_EARG, "rows must not depend on each other");
    assert_fails(&mixing_dense, false, near, 1, AD_EARG, "rows must not depend on each other");
    check_names(&mixing, 2, "mixing: row 0 of normalize depends on the other rows of the batch");
}

static void a_map_without_slope_is_named(void **state) {
    (void)state;
    TYPE(flat, "flat", FLOW_ELEMENTWISE, .normalize = constant);
    TYPE(stairs, "stairs", FLOW_AUTOREGRESSIVE, .normalize = staircase);
    assert_fails(&flat, true, near, 1, AD_EARG, "flat: the map's value does not depend on its argument");
    assert_fails(&flat, false, near, 1, AD_EARG, "the function does not depend on y");
    assert_fails(&stairs, true, near, 1, AD_EARG,
                 "stairs: the map's value does not depend on its argument, or its derivative");
    assert_fails(&stairs, false, near, 1, AD_EARG, "or its derivative is 0 everywhere");
}

static void what_a_map_asks_for_in_vain_is_named(void **state) {
    (void)state;
    TYPE(tensor, "asking", FLOW_ELEMENTWISE, .normalize = asks_for_tensor);
    TYPE(net, "asking", FLOW_ELEMENTWISE, .normalize = asks_for_net);
    TYPE(parameter, "asking", FLOW_ELEMENTWISE, .normalize = asks_for_parameter);
    TYPE(two, "asking", FLOW_ELEMENTWISE, .normalize = asks_for_parameter, .conditioner = 2);
    TYPE(number, "asking", FLOW_ELEMENTWISE, .normalize = asks_for_number);
    assert_fails(&tensor, true, near, 1, AD_EARG,
                 "asking: the map asks for a tensor 'shift', which the layer does not have");
    assert_fails(&net, true, near, 1, AD_EARG, "asks for a net 'net'");
    assert_fails(&parameter, true, near, 1, AD_EARG, "asks for parameter 2; the conditioner gives 0");
    assert_fails(&two, true, near, 1, AD_EARG, "asks for parameter 2; the conditioner gives 2");
    flow_layer *layer = made(&number, 2, 0);
    assert_true(isnan(flow_number_of(layer, "rate")));
    flow_layer_free(layer);
}

static void shapes_and_contexts_are_checked(void **state) {
    (void)state;
    flow_layer *layer = made(&right_order, 2, 0);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_source source = util_source(near, 1);
    ad_rows rows = util_rows(tape, "data", 1);
    assert_false(ad_ok(flow_derived_solve(layer, ad_input(rows, ad_shape1(1), &source), AD_NONE).value));
    util_assert_contains(ad_tape_message(tape), "rows of [1], but the model takes [2]");
    ad_tape_free(tape);
    flow_layer_free(layer);
}

static void flow_derived_solve_is_for_derived_layers(void **state) {
    (void)state;
    flow_layer *layer = flow_permutation(2, NULL, &layers_error);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_source source = util_source(near, 1);
    flow_derived_solve(layer, ad_input(util_rows(tape, "data", 1), ad_shape1(2), &source), AD_NONE);
    util_assert_contains(ad_tape_message(tape), "'permutation' is not a layer derived from a map");
    ad_tape_free(tape);
    flow_layer_free(layer);
}

// ---- rows without a solution ---------------------------------------------------------------------------------------

static ad_var squash(const flow_call *c, ad_var x) {
    (void)c;
    return ad_tanh(x);
}
// x + tanh of the other feature, then squashed.
static ad_var squash_both(const flow_call *c, ad_var x) {
    (void)c;
    return ad_tanh(ad_add(x, ad_scale(ad_tanh(ad_flip(x, 0)), 0.5)));
}
static ad_var squash_chain(const flow_call *c, ad_var x) {
    return ad_tanh(trailing(c, x));
}
// x - 4 sin(x): its iterates go on and on.
static ad_var expanding(const flow_call *c, ad_var x) {
    (void)c;
    return ad_scale(ad_sin(x), -4);
}

// Row 2 of three has none.
static const double outside[6] = {0.5, -0.5, 0.1, 0.9, 0.25, 1.5};

static void a_row_without_solution_fails_the_run(void **state) {
    (void)state;
    TYPE(elementwise, "squash", FLOW_ELEMENTWISE, .normalize = squash);
    TYPE(chain, "chain", FLOW_AUTOREGRESSIVE, .normalize = squash_chain);
    TYPE(dense, "dense", FLOW_DENSE, .generate = squash_both);
    TYPE(expands, "expands", FLOW_CONTRACTIVE, .normalize = expanding);
    assert_fails(&elementwise, false, outside, 3, AD_ECONVERGE, "squash: root of row 2: element 1: ");
    assert_fails(&elementwise, false, outside, 3, AD_ECONVERGE, "bracket [");
    assert_fails(&chain, false, outside, 3, AD_ECONVERGE, "chain: inverse of row 2: feature 1: not converged after");
    assert_fails(&chain, false, outside, 3, AD_ECONVERGE, "residual 0.5");
    assert_fails(&dense, true, outside, 3, AD_ECONVERGE, "dense: inverse of row 2: not converged after");
    assert_fails(&dense, true, outside, 3, AD_ECONVERGE, "residual 0.5");
    assert_fails(&expands, false, outside, 1, AD_ECONVERGE, "expands: fixed_point of row 0: not converged after 5000");
}

static void a_row_that_is_not_finite_fails_the_run(void **state) {
    (void)state;
    TYPE(chain, "chain", FLOW_AUTOREGRESSIVE, .normalize = trailing);
    TYPE(dense, "dense", FLOW_DENSE, .normalize = trailing);
    TYPE(contracted, "contracted", FLOW_CONTRACTIVE, .normalize = squash);
    const double bad[4] = {0.5, 1, (double)NAN, 1};
    assert_fails(&chain, false, bad, 2, AD_ECONVERGE, "row 1");
    assert_fails(&dense, false, bad, 2, AD_ECONVERGE, "row 1");
    assert_fails(&contracted, false, bad, 2, AD_ECONVERGE, "row 1");
}

// A jump has no inverse in its gap, which the search for a change of sign would not see.
static ad_var jump(const flow_call *c, ad_var x) {
    (void)c;
    return ad_add(x, ad_sign(x));
}
static void a_jump_is_no_solution(void **state) {
    (void)state;
    TYPE(jumping, "jumping", FLOW_AUTOREGRESSIVE, .normalize = jump);
    TYPE(leaping, "leaping", FLOW_ELEMENTWISE, .normalize = jump);
    TYPE(hopping, "hopping", FLOW_COUPLING, .normalize = jump);
    const double gap[2] = {2.5, 0.5};
    assert_fails(&jumping, false, gap, 1, AD_ECONVERGE, "jumping: inverse of row 0: ");
    assert_fails(&leaping, false, gap, 1, AD_ECONVERGE, "leaping: inverse of row 0: ");
    assert_fails(&hopping, false, gap, 1, AD_ECONVERGE, "hopping: inverse of row 0: ");
}

// ---- reports -------------------------------------------------------------------------------------------------------

static void solve(const flow_layer *layer, const double *z, int64_t n, double *done, double *iterations,
                  double *residual) {
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_source source = util_source(z, n);
    ad_solution s = flow_derived_solve(layer, ad_input(util_rows(tape, "data", n), layer->x_shape, &source), AD_NONE);
    ad_keep(s.done);
    ad_keep(s.iterations);
    ad_keep(s.residual);
    util_run(tape);
    util_read(s.done, done, n);
    util_read(s.iterations, iterations, n);
    util_read(s.residual, residual, n);
    ad_tape_free(tape);
}

static void solutions_report_residual_and_iterations(void **state) {
    (void)state;
    TYPE(elementwise, "squash", FLOW_ELEMENTWISE, .normalize = squash);
    TYPE(chain, "chain", FLOW_AUTOREGRESSIVE, .normalize = squash_chain);
    TYPE(dense, "dense", FLOW_DENSE, .generate = squash_both);
    const flow_layer_type *const types[] = {&elementwise, &chain, &dense};
    for (int t = 0; t < 3; t++) {
        flow_layer *layer = made(types[t], 2, 0);
        double done[3], iterations[3], residual[3];
        solve(layer, outside, 3, done, iterations, residual);
        for (int r = 0; r < 2; r++) {
            util_assert_close(done[r], 1, 0);
            assert_true(iterations[r] >= 2 && iterations[r] < 60);
            assert_true(residual[r] < 1e-14);
        }
        util_assert_close(done[2], 0, 0);
        assert_true(iterations[2] > 1);
        assert_true(residual[2] > 0.49);
        flow_layer_free(layer);
    }
}

static void what_is_explicit_takes_no_iterations(void **state) {
    (void)state;
    const flow_layer_type *const types[] = {&householder_type, &matrix_type};
    for (int t = 0; t < 2; t++) {
        flow_layer *layer =
            flow_derive(types[t], 2, 0, &(flow_derive_options){.type = AD_F64, .seed = 3}, &layers_error);
        layers_assert_made(layer);
        double done[3], iterations[3], residual[3];
        solve(layer, outside, 3, done, iterations, residual);
        for (int r = 0; r < 3; r++) {
            util_assert_close(done[r], 1, 0);
            util_assert_close(iterations[r], 0, 0);
            assert_true(residual[r] < 1e-14);
        }
        flow_layer_free(layer);
    }
}

static void tolerance_and_iterations_are_those_asked_for(void **state) {
    (void)state;
    TYPE(hasty, "hasty", FLOW_ELEMENTWISE, .normalize = trailing, .max_iterations = 2);
    TYPE(coarse, "coarse", FLOW_CONTRACTIVE, .normalize = squash, .tolerance = 0.01, .max_iterations = 200);
    assert_fails(&hasty, false, outside, 1, AD_ECONVERGE, "after 2 iterations");
    flow_layer *layer = made(&coarse, 1, 0);
    double done, iterations, residual;
    solve(layer, outside, 1, &done, &iterations, &residual);
    util_assert_close(done, 1, 0);
    assert_true(residual > 1e-6 && residual < 0.05);
    flow_layer_free(layer);
}

// ---- constructors --------------------------------------------------------------------------------------------------

static void derivations_that_contradict_themselves_are_refused(void **state) {
    (void)state;
    TYPE(bare, "bare", .normalize = squash);
    TYPE(mapless, "mapless", .structure = FLOW_DENSE);
    TYPE(rankless, "rankless", FLOW_LOW_RANK, .normalize = squash);
    TYPE(pinched, "pinched", FLOW_DENSE, .normalize = squash, .bottleneck = squash);
    TYPE(twice, "twice", FLOW_CONTRACTIVE, .normalize = squash, .generate = squash);
    TYPE(conditioned, "conditioned", FLOW_DENSE, .normalize = squash, .conditioner = 2);
    TYPE(negative, "negative", FLOW_ELEMENTWISE, .normalize = squash, .conditioner = -1);
    TYPE(inside_out, "inside out", FLOW_ELEMENTWISE, .normalize = squash, .low = 1, .high = -1);
    TYPE(sloppy, "sloppy", FLOW_ELEMENTWISE, .normalize = squash, .tolerance = 1);
    TYPE(endless, "endless", FLOW_ELEMENTWISE, .normalize = squash, .max_iterations = -1);
    static const flow_layer_type underived = {.name = "underived"};
    layers_assert_refused(flow_derive(&bare, 2, 0, NULL, &layers_error), AD_EARG, "bare: no structure is declared");
    layers_assert_refused(flow_derive(&mapless, 2, 0, NULL, &layers_error), AD_EARG, "mapless: there is no map");
    layers_assert_refused(flow_derive(&rankless, 2, 0, NULL, &layers_error), AD_EARG,
                          "a bottleneck belongs to low rank");
    layers_assert_refused(flow_derive(&pinched, 2, 0, NULL, &layers_error), AD_EARG,
                          "a bottleneck belongs to low rank");
    layers_assert_refused(flow_derive(&twice, 2, 0, NULL, &layers_error), AD_EARG, "the other always solved for");
    layers_assert_refused(flow_derive(&conditioned, 2, 0, NULL, &layers_error), AD_EARG, "a conditioner belongs to");
    layers_assert_refused(flow_derive(&negative, 2, 0, NULL, &layers_error), AD_EARG, "0 to 4096 parameters");
    layers_assert_refused(flow_derive(&inside_out, 2, 0, NULL, &layers_error), AD_EARG, "low and high are no interval");
    layers_assert_refused(flow_derive(&sloppy, 2, 0, NULL, &layers_error), AD_EARG, "tolerance should be 0 to 1");
    layers_assert_refused(flow_derive(&endless, 2, 0, NULL, &layers_error), AD_EARG, "max_iterations should be");
    layers_assert_refused(flow_derive(NULL, 2, 0, NULL, &layers_error), AD_EARG, "no type, or one without a name");
    layers_assert_refused(flow_derive(&underived, 2, 0, NULL, &layers_error), AD_EARG, "the type has no derivation");
}

static void sizes_that_cannot_be_are_refused(void **state) {
    (void)state;
    TYPE(dense, "dense", FLOW_DENSE, .normalize = squash);
    TYPE(volume, "volume", FLOW_VOLUME_PRESERVING, .normalize = squash);
    TYPE(contracted, "contracted", FLOW_CONTRACTIVE, .normalize = squash);
    TYPE(coupling, "coupling", FLOW_COUPLING, .normalize = squash);
    static const int64_t order[3] = {0, 2, 2};
    const flow_number numbers[] = {{"slop", 0.5}, {NULL, 0}}, endless[] = {{"slope", INFINITY}, {NULL, 0}};
    const flow_derive_options split = {.split = 3}, neither = {.keep = (flow_half)2}, twice = {.order = order},
                              rank = {.rank = 17}, unknown = {.numbers = numbers}, infinite = {.numbers = endless};
    layers_assert_refused(
        flow_derive(&dense, 17, 0, NULL, &layers_error), AD_EARG,
        "dense: 17 features, but the Jacobian of a row is worked with up to 16: give log_det and the other");
    layers_assert_refused(flow_derive(&volume, 17, 0, NULL, &layers_error), AD_EARG, "up to 16");
    layers_assert_refused(flow_derive(&contracted, 17, 0, NULL, &layers_error), AD_EARG, "up to 16: give log_det, or");
    layers_assert_refused(flow_derive(&coupling, 1, 0, NULL, &layers_error), AD_EARG, "nothing to condition on");
    layers_assert_refused(flow_derive(&coupling, 3, 0, &split, &layers_error), AD_EARG, "split 3 leaves one part of 3");
    layers_assert_refused(flow_derive(&coupling, 3, 0, &neither, &layers_error), AD_EARG,
                          "keep is 2, expected first or");
    layers_assert_refused(flow_derive(&coupling, 3, 0, &twice, &layers_error), AD_EARG, "each of 0 to 2 once");
    layers_assert_refused(flow_derive(&coupling, 0, 0, NULL, &layers_error), AD_EARG, "coupling: 0 features");
    layers_assert_refused(flow_derive(&bottleneck_type, 2, 0, &rank, &layers_error), AD_EARG,
                          "rank 17; expected 1 to 16");
    layers_assert_refused(flow_derive(&leaky_type, 2, 0, &unknown, &layers_error), AD_EARG, "leaky: no option 'slop'");
    layers_assert_refused(flow_derive(&leaky_type, 2, 0, &infinite, &layers_error), AD_EARG, "option 'slope' is inf");
}

static ad_status refuse(flow_layer *layer, const flow_derive_options *options, ad_error *error) {
    (void)options;
    return ad_fail(error, AD_EARG, "%s: %g is no slope", layer->type->name, flow_number_of(layer, "slope"));
}
static void what_build_refuses_is_refused(void **state) {
    (void)state;
    TYPE(picky, "picky", FLOW_ELEMENTWISE, .normalize = squash, .build = refuse, .numbers = {{"slope", 7}});
    layers_assert_refused(flow_derive(&picky, 2, 0, NULL, &layers_error), AD_EARG, "picky: 7 is no slope");
}

// What a file does not hold must not decide what the layer is.
static ad_status by_seed(flow_layer *layer, const flow_derive_options *options, ad_error *error) {
    ad_shape shape = ad_shape1(2 + (int64_t)options->seed);
    return flow_add_param(&layer->owner, "extra", AD_F64, shape, error) ? AD_OK : AD_ENOMEM;
}
static void check_names_a_layer_that_is_not_its_options(void **state) {
    (void)state;
    TYPE(hidden, "hidden", FLOW_ELEMENTWISE, .normalize = stretched, .build = by_seed);
    flow_layer *layer = flow_derive(&hidden, 2, 0, &(flow_derive_options){.seed = 3}, &layers_error);
    layers_assert_made(layer);
    assert_int_equal(flow_check(layer, NULL, &layers_error), AD_EARG);
    util_assert_contains(layers_error.message, "hidden: made again from its description it has other tensors");
    flow_layer_free(layer);
}

// ---- files ---------------------------------------------------------------------------------------------------------

// A model of a bend coupling with this description instead of its own.
static const char *file_of(const flow_layer_type *type, const char *description) {
    flow_layer *layer = type->example(1, &layers_error);
    layers_assert_made(layer);
    flow_base *base = flow_standard_normal(layer->x_shape.dim[0], &layers_error);
    flow_model *model = flow_model_new(layer, base, &layers_error);
    layers_assert_made(model);
    assert_int_equal(flow_save(model, files_path("whole"), &layers_error), AD_OK);
    flow_model_free(model);
    if (!description) return files_path("whole");
    data_tensors *file = data_load_tensors(files_path("whole"), &layers_error);
    layers_assert_made(file);
    data_meta meta = {"flow_model", description};
    data_tensors all = {.tensor = file->tensor, .n = file->n, .meta = &meta, .n_meta = 1};
    assert_int_equal(data_save_tensors(files_path("tampered"), &all, &layers_error), AD_OK);
    data_tensors_free(file);
    return files_path("tampered");
}

static void assert_not_loaded(const flow_layer_type *type, const char *layer, const char *words) {
    char text[1000];
    snprintf(text, sizeof text, "{\"version\":1,\"layer\":{%s},\"base\":{\"type\":\"standard normal\",\"features\":2}}",
             layer);
    const flow_load_options options = {.types = derived_types};
    flow_model *model = flow_load(file_of(type, text), &options, &layers_error);
    if (model) fail_msg("not refused: %s", words);
    util_assert_contains(layers_error.message, words);
}

#define SIZES "\"features\":2,\"context\":0,\"kept\":1,\"rank\":0,\"precision\":\"f64\",\"options\":{}"
#define COUPLING "\"type\":\"bend coupling\","
#define NET(in, out) "\"conditioner\":{\"type\":\"mlp\",\"in\":" in ",\"out\":" out "," HIDDEN "}"
#define HIDDEN "\"layers\":1,\"width\":6,\"activation\":\"tanh\",\"precision\":\"f64\""

static void descriptions_are_not_trusted(void **state) {
    (void)state;
    const flow_layer_type *t = &bend_coupling_type;
    assert_not_loaded(t, COUPLING "\"features\":-2", "\"features\" should be a whole number from 1");
    assert_not_loaded(t, COUPLING "\"features\":2,\"context\":0,\"kept\":0",
                      "\"kept\" should be a whole number from 1 to 1");
    assert_not_loaded(t, COUPLING "\"features\":2,\"context\":0,\"kept\":2",
                      "\"kept\" should be a whole number from 1 to 1");
    assert_not_loaded(t, COUPLING "\"features\":2,\"context\":0,\"kept\":1,\"rank\":1", "\"rank\" should be a whole");
    assert_not_loaded(t, COUPLING SIZES ",\"order\":[0]", "\"order\" should be null or a list of 2");
    assert_not_loaded(t, COUPLING SIZES ",\"order\":[1,1]," NET("1", "2"), "each of 0 to 1 once");
    assert_not_loaded(t, COUPLING SIZES ",\"order\":[1,0.5]," NET("1", "2"), "each of 0 to 1 once");
    assert_not_loaded(t, COUPLING SIZES ",\"order\":null," NET("2", "2"),
                      "\"conditioner\" is not of this layer's sizes");
    assert_not_loaded(t, COUPLING SIZES ",\"order\":null," NET("1", "3"),
                      "\"conditioner\" is not of this layer's sizes");
    assert_not_loaded(t, COUPLING SIZES ",\"order\":null,\"conditioner\":null", "unknown net");
    assert_not_loaded(
        &leaky_type,
        "\"type\":\"leaky\",\"features\":2,\"context\":0,\"kept\":0,\"rank\":0,\"precision\":\"f64\",\"options\":{}",
        "leaky: \"slope\" of \"options\" should be a number");
    assert_not_loaded(
        &potential_type,
        "\"type\":\"potential\",\"features\":16777216,\"context\":0,\"kept\":0,\"rank\":0,\"precision\":\"f64\","
        "\"options\":{},\"order\":null,\"conditioner\":null",
        "far more parameters than the file holds");
}

static void a_type_that_is_not_given_is_named(void **state) {
    (void)state;
    if (flow_load(file_of(&bend_coupling_type, NULL), NULL, &layers_error)) fail_msg("loaded");
    util_assert_contains(layers_error.message, "unknown layer 'bend coupling'");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_names_a_feature_that_sees_another),
        cmocka_unit_test(check_looks_first_where_the_map_is),
        cmocka_unit_test(check_names_changed_features_that_see_each_other),
        cmocka_unit_test(check_names_a_wrong_order),
        cmocka_unit_test(check_passes_the_right_order),
        cmocka_unit_test(check_names_a_volume_that_is_not_kept),
        cmocka_unit_test(check_names_what_is_not_orthogonal),
        cmocka_unit_test(check_names_what_does_not_contract),
        cmocka_unit_test(check_names_a_rank_that_is_too_high),
        cmocka_unit_test(a_map_that_gives_something_else_is_named),
        cmocka_unit_test(a_map_that_mixes_rows_is_named),
        cmocka_unit_test(a_map_without_slope_is_named),
        cmocka_unit_test(what_a_map_asks_for_in_vain_is_named),
        cmocka_unit_test(shapes_and_contexts_are_checked),
        cmocka_unit_test(flow_derived_solve_is_for_derived_layers),
        cmocka_unit_test(a_row_without_solution_fails_the_run),
        cmocka_unit_test(a_row_that_is_not_finite_fails_the_run),
        cmocka_unit_test(a_jump_is_no_solution),
        cmocka_unit_test(solutions_report_residual_and_iterations),
        cmocka_unit_test(what_is_explicit_takes_no_iterations),
        cmocka_unit_test(tolerance_and_iterations_are_those_asked_for),
        cmocka_unit_test(derivations_that_contradict_themselves_are_refused),
        cmocka_unit_test(sizes_that_cannot_be_are_refused),
        cmocka_unit_test(what_build_refuses_is_refused),
        cmocka_unit_test(check_names_a_layer_that_is_not_its_options),
        cmocka_unit_test(descriptions_are_not_trusted),
        cmocka_unit_test(a_type_that_is_not_given_is_named),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
