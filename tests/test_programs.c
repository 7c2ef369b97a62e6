// test_programs.c -- random programs: gradients against differences; values whatever else is kept, and for any threads.
#include "util.h"

enum { N = 4, LENGTH = 14, MOST = LENGTH + 4, PROGRAMS = 40, B = 70 };

// A program is made anew from its seed whenever it is recorded: the same calls in the same order.
typedef struct program {
    uint64_t start, seed;
    int length, reductions;  // over rows, so far
    ad_var inputs[3];        // [3,N] per row, [N] and [N,N] shared
    ad_var values[MOST];
    int n;
} program;

static int below(program *p, int n) {
    return (int)util_uniform(&p->seed, 0, n);
}
static ad_var any(program *p) {
    return p->values[below(p, p->n)];
}

// b, or its sum, so that it can stand beside a.
static ad_var beside(ad_var b, ad_var a) {
    return ad_shape_equal(ad_shape_of(a), ad_shape_of(b)) || ad_shape_of(b).rank == 0 ? b : ad_tanh(ad_sum(b));
}

static ad_var elementwise(program *p, ad_var a) {
    const ad_var b = beside(any(p), a);
    switch (below(p, 12)) {
        case 0:
            return ad_add(a, b);
        case 1:
            return ad_sub(b, a);
        case 2:
            return ad_mul(a, b);
        case 3:
            return ad_div(a, ad_offset(ad_square(b), 1));
        case 4:
            return ad_tanh(a);
        case 5:
            return ad_sigmoid(a);
        case 6:
            return ad_exp(ad_tanh(a));
        case 7:
            return ad_softplus(a);
        case 8:
            return ad_square(ad_tanh(a));
        case 9:
            return ad_scale(a, -0.7);
        case 10:
            return ad_offset(ad_neg(a), 0.3);
        default:
            return ad_sqrt(ad_offset(ad_square(a), 0.5));
    }
}

static ad_var flat(ad_var a) {
    return ad_reshape(a, ad_shape1(ad_shape_count(ad_shape_of(a))));
}

static ad_var joined(program *p, ad_var a, int axis) {
    const ad_var parts[] = {a, elementwise(p, a), a};
    return ad_concat(parts, 2 + below(p, 2), axis);
}

static ad_var taken(program *p, ad_var a, int axis) {
    int64_t index[3];
    for (int i = 0; i < 3; i++) index[i] = below(p, (int)ad_dim(a, axis));
    return ad_take(a, axis, index, 3);
}

static ad_var reversed(ad_var a) {
    int order[AD_MAX_RANK];
    const int rank = ad_shape_of(a).rank;
    for (int i = 0; i < rank; i++) order[i] = rank - 1 - i;
    return ad_transpose(a, order);
}

static ad_var widened(ad_var a) {
    ad_shape shape = ad_shape_of(a);
    if (shape.rank > 3 || ad_shape_count(shape) > 40) return ad_tanh(a);
    memmove(shape.dim + 1, shape.dim, (size_t)shape.rank * sizeof *shape.dim);
    shape.dim[0] = 2;
    shape.rank++;
    return ad_expand(a, shape);
}

static ad_var part(program *p, ad_var a, int axis) {
    const int length = (int)ad_dim(a, axis), start = below(p, length);
    return ad_slice(a, axis, start, 1 + below(p, length - start));
}

static ad_var rearranged(program *p, ad_var a) {
    const int rank = ad_shape_of(a).rank;
    if (rank == 0) return widened(a);
    const int axis = below(p, rank);
    switch (below(p, 9)) {
        case 0:
        case 1:
            return part(p, a, axis);
        case 2:
            return ad_shape_count(ad_shape_of(a)) > 40 ? part(p, a, axis) : joined(p, a, axis);
        case 3:
            return flat(a);
        case 4:
            return reversed(a);
        case 5:
            return taken(p, a, axis);
        case 6:
            return ad_sum_axis(a, axis);
        case 7:
            return ad_mean_axis(a, axis);
        default:
            return widened(a);
    }
}

static ad_var product(program *p, ad_var a) {
    const ad_var W = p->inputs[2], b = ad_dim(a, -1) == N && !ad_has_rows(p->inputs[1]) ? p->inputs[1] : AD_NONE;
    if (ad_shape_of(a).rank == 0 || ad_dim(a, -1) != N) return elementwise(p, a);
    switch (below(p, 3)) {
        case 0:
            return ad_linear(W, a, below(p, 2) ? b : AD_NONE);
        case 1:
            return ad_linear_transposed(W, a);
        default:
            return p->reductions++ < 2 ? ad_tanh(ad_outer_rows(a, ad_tanh(a))) : ad_tanh(a);
    }
}

// Between rows and shared.
static ad_var crossed(program *p, ad_var a) {
    if (!ad_has_rows(a)) return ad_to_rows(a, ad_rows_of(p->inputs[0]));
    if (p->reductions++ >= 2) return ad_tanh(a);
    return below(p, 2) ? ad_mean_rows(a) : ad_tanh(ad_sum_rows(a));
}

static ad_var differentiated(program *p, ad_var a) {
    const ad_var x = p->inputs[below(p, 3)];
    ad_var g = AD_NONE;
    if (below(p, 3) == 0) return ad_tanh(ad_jvp(a, x, ad_tanh(x)));
    ad_grad(ad_sum(ad_tanh(a)), &x, 1, &g);
    return g;
}

static ad_var chosen(program *p, ad_var a) {
    const ad_var b = beside(any(p), a);
    static const double zero = 0;
    const ad_var c = ad_greater(ad_scalar(a.tape, &zero), ad_number(a.tape, below(p, 2) ? 1 : -1));
    return ad_where(c, a, b);
}

static ad_var random_value(program *p) {
    const ad_var a = any(p);
    const int kind = below(p, 20);
    if (kind < 8) return elementwise(p, a);
    if (kind < 13) return rearranged(p, a);
    if (kind < 16) return product(p, a);
    if (kind < 18) return crossed(p, a);
    return kind == 18 ? differentiated(p, a) : chosen(p, a);
}

// The sum of all values: every one of them, and every path between them, counts.
static ad_var record(void *arg, const ad_var *x) {
    program *p = arg;
    p->seed = p->start;
    p->n = p->reductions = 0;
    for (int i = 0; i < 3; i++) p->values[p->n++] = p->inputs[i] = x[i];
    ad_var sum = ad_number(x[0].tape, 0);
    for (int i = 0; i < p->length; i++) {
        const ad_var v = random_value(p);
        p->values[p->n++] = v;
        sum = ad_add(sum, ad_tanh(ad_mean(v)));
    }
    return sum;
}

static void gradients_of_random_programs(void **state) {
    (void)state;
    const ad_gradcheck_input in[] = {{.rows = true, .shape = {2, {3, N}}}, {.shape = {1, {N}}}, {.shape = {2, {N, N}}}};
    const ad_gradcheck_options options = {.cases = 1};
    for (uint64_t seed = 1; seed <= PROGRAMS; seed++) {
        program p = {.start = seed, .length = LENGTH};
        ad_error error = {AD_OK, ""};
        if (ad_gradcheck(record, &p, in, 3, &options, &error) != AD_OK)
            fail_msg("program %d: %s", (int)seed, error.message);
    }
}

// ---- the same program run in several ways -------------------------------------------------------------------------

enum { RESULTS = 1 + N + N * N + 12 * B };

typedef struct inputs {
    double x[B * 12], b[N], W[N * N];
    ad_source source[3];
} inputs;

static void fill_inputs(inputs *in) {
    util_fill(in->x, B * 12, 1, -1, 1);
    util_fill(in->b, N, 2, -1, 1);
    util_fill(in->W, N * N, 3, -1, 1);
    in->source[0] = util_source(in->x, B);
    in->source[1] = util_source(in->b, 1);
    in->source[2] = util_source(in->W, 1);
}

// Loss and its gradients in all inputs.
static void run(ad_engine *engine, const inputs *in, program *p, bool keep_all, double *out) {
    ad_tape *tape = ad_tape_new(engine, AD_F64);
    const ad_rows rows = util_rows(tape, "data", B);
    const ad_var x[] = {ad_input(rows, ad_shape2(3, N), &in->source[0]),
                        ad_shared_input(tape, ad_shape1(N), &in->source[1]),
                        ad_shared_input(tape, ad_shape2(N, N), &in->source[2])};
    ad_var loss = record(p, x), g[3];
    if (ad_has_rows(loss)) loss = ad_mean_rows(loss);
    ad_grad(loss, x, 3, g);
    for (int i = 0; i < p->n && keep_all; i++) ad_keep(p->values[i]);
    ad_keep(loss);
    for (int i = 0; i < 3; i++) ad_keep(g[i]);
    util_run(tape);
    util_read(loss, out, 1);
    util_read(g[1], out + 1, N);
    util_read(g[2], out + 1 + N, N * N);
    util_read(g[0], out + 1 + N + N * N, 12 * B);
    ad_tape_free(tape);
}

static ad_engine *engine_with(int threads) {
    const ad_engine_options options = {.threads = threads};
    return ad_engine_new(&options, NULL);
}

static void results_do_not_depend_on_what_is_kept(void **state) {
    (void)state;
    static double few[RESULTS], all[RESULTS];
    static inputs in;
    ad_engine *engine = engine_with(1);
    fill_inputs(&in);
    for (uint64_t seed = 1; seed <= 10 * PROGRAMS; seed++) {
        program p = {.start = seed, .length = LENGTH};
        run(engine, &in, &p, false, few);
        run(engine, &in, &p, true, all);
        for (int i = 0; i < RESULTS; i++)
            if (!util_close(few[i], all[i], 1e-11))
                fail_msg("program %d, result %d: %.17g alone, %.17g with all kept", (int)seed, i, few[i], all[i]);
    }
    ad_engine_free(engine);
}

static void results_do_not_depend_on_threads(void **state) {
    (void)state;
    static double one[RESULTS], three[RESULTS];
    static inputs in;
    ad_engine *single = engine_with(1), *many = engine_with(3);
    fill_inputs(&in);
    for (uint64_t seed = 1; seed <= PROGRAMS; seed++) {
        program p = {.start = seed, .length = LENGTH};
        run(single, &in, &p, false, one);
        run(many, &in, &p, false, three);
        if (memcmp(one, three, sizeof one) != 0) fail_msg("program %d", (int)seed);
    }
    ad_engine_free(single);
    ad_engine_free(many);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_of_random_programs),
        cmocka_unit_test(results_do_not_depend_on_what_is_kept),
        cmocka_unit_test(results_do_not_depend_on_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
