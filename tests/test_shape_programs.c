// test_shape_programs.c -- random programs of shape ops against loops over coordinates: values, adjoints, tangents.
#include "shape_program.h"

typedef struct fixture {
    ad_engine *engine;
    ad_tape *tape[2];
    shape_program program;
    shape_values x, dx;              // values of the steps; of their linear parts, from other leaves
    double *g, *out;                 // cotangent of the result; what is read
    ad_source source[MOST_STEPS], tangent[MOST_STEPS], cotangent;
} fixture;

enum { ROOM = MOST_ELEMENTS * MOST_ROWS };

static int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    const ad_engine_options options = {.threads = 2};
    f->engine = ad_engine_new(&options, NULL);
    for (int type = 0; type < 2; type++) f->tape[type] = ad_tape_new(f->engine, (ad_type)type);
    for (int i = 0; i < MOST_STEPS; i++) {
        f->x.v[i] = calloc(ROOM, sizeof(double));
        f->dx.v[i] = calloc(ROOM, sizeof(double));
    }
    f->g = calloc(ROOM, sizeof(double));
    f->out = calloc(ROOM, sizeof(double));
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    for (int type = 0; type < 2; type++) ad_tape_free(f->tape[type]);
    ad_engine_free(f->engine);
    for (int i = 0; i < MOST_STEPS; i++) {
        free(f->x.v[i]);
        free(f->dx.v[i]);
    }
    free(f->g);
    free(f->out);
    free(f);
    return 0;
}

static int64_t size_of(const shape_program *p, int i) {
    return ad_shape_count(p->step[i].shape) * (p->step[i].rows ? p->rows : 1);
}

static void fill_whole(uint64_t *seed, double *v, int64_t n, int low, int high) {
    for (int64_t i = 0; i < n; i++) v[i] = low + pick(seed, high - low + 1);
}

static void fill_leaves(fixture *f, uint64_t *seed) {
    const shape_program *p = &f->program;
    for (int i = 0; i < p->n && p->step[i].kind == LEAF; i++) {
        bool index = p->step[i].index_leaf;
        fill_whole(seed, f->x.v[i], size_of(p, i), index ? 0 : -4, index ? 1 : 4);
        fill_whole(seed, f->dx.v[i], size_of(p, i), -4, 4);
        if (index) memcpy(f->dx.v[i], f->x.v[i], (size_t)size_of(p, i) * sizeof(double));
        f->source[i] = util_source(f->x.v[i], p->rows);
        f->tangent[i] = util_source(f->dx.v[i], p->rows);
    }
    fill_whole(seed, f->g, size_of(p, p->n - 1), -3, 3);
    f->cotangent = util_source(f->g, p->rows);
}

static ad_var leaf(ad_rows rows, const shape_step *t, const ad_source *source) {
    return t->rows ? ad_input(rows, t->shape, source) : ad_shared_input(rows.tape, t->shape, source);
}

static void assert_same(fixture *f, ad_var v, const double *want, int64_t n, const char *what) {
    util_read(v, f->out, n);
    for (int64_t i = 0; i < n; i++) {
        if (f->out[i] == want[i]) continue;
        print_program(&f->program);
        fail_msg("%s: element %d is %g, expected %g", what, (int)i, f->out[i], want[i]);
    }
}

// Every step's value is that of the loops, kept or not kept as it comes.
static void assert_values(fixture *f, const ad_var *v, unsigned kept) {
    const shape_program *p = &f->program;
    char what[40];
    for (int i = 0; i < p->n; i++) {
        snprintf(what, sizeof what, "value of step %d", i);
        if (kept >> i & 1) assert_same(f, v[i], f->x.v[i], size_of(p, i), what);
    }
}

// <A dx, g> = <dx, A^T g> for the leaves in the subset; the others hold still.
static void assert_adjoint(fixture *f, const ad_var *gx, unsigned subset) {
    const shape_program *p = &f->program;
    double left = 0, right = 0;
    for (int64_t i = 0; i < size_of(p, p->n - 1); i++) left += f->dx.v[p->n - 1][i] * f->g[i];
    for (int i = 0; i < p->n; i++) {
        if (!(subset >> i & 1)) continue;
        util_read(gx[i], f->out, ROOM);
        for (int64_t k = 0; k < size_of(p, i); k++) right += f->dx.v[i][k] * f->out[k];
    }
    if (left == right) return;
    print_program(p);
    fail_msg("<A x, g> = %g, <x, A^T g> = %g, leaves %#x", left, right, subset);
}

static void check_program(fixture *f, ad_tape *tape, uint64_t *seed) {
    shape_program *p = &f->program;
    int last = p->n - 1;
    fill_leaves(f, seed);
    unsigned leaves = 0, kept = (unsigned)pick(seed, 1 << p->n) | 1u << last;
    for (int i = 1; i < p->n && p->step[i].kind == LEAF; i++) leaves |= 1u << i;
    unsigned subset = leaves & (unsigned)pick(seed, 1 << p->n);
    for (int i = 0; i < p->n; i++)  // of the linear part: leaves outside of the subset are 0
        if (leaves >> i & 1 && !(subset >> i & 1)) memset(f->dx.v[i], 0, (size_t)size_of(p, i) * sizeof(double));
    evaluate_program(p, &f->x, false);
    evaluate_program(p, &f->dx, true);

    ad_tape_reset(tape);
    ad_rows rows = util_rows(tape, "data", p->rows);
    ad_var v[MOST_STEPS], x[MOST_STEPS], gx[MOST_STEPS], of[MOST_STEPS], dy[MOST_STEPS];
    int n = 0;
    for (int i = 0; i < p->n; i++) {
        const shape_step *t = &p->step[i];
        v[i] = t->kind == LEAF ? leaf(rows, t, &f->source[i]) : record_step(t, v[t->a], v[t->b], rows);
        util_assert_ok(tape);
        if (!ad_shape_equal(ad_shape_of(v[i]), t->shape) || ad_has_rows(v[i]) != t->rows) {
            print_program(p);
            fail_msg("shape or rows of step %d", i);
        }
        if (kept >> i & 1) ad_keep(v[i]);
        if (subset >> i & 1) x[n++] = v[i];
    }
    // ad_input wants elements
    ad_var g = size_of(p, last) ? leaf(rows, &p->step[last], &f->cotangent) : v[last];
    ad_vjp(v[last], g, x, n, gx);
    for (int i = 0, k = 0; i < p->n; i++)
        if (subset >> i & 1) of[i] = ad_keep(gx[k++]);
    bool tangents = pick(seed, 4) == 0;
    for (int i = 0, k = 0; i < p->n && tangents; i++) {
        if (!(subset >> i & 1)) continue;
        dy[k] = ad_jvp(v[last], v[i], leaf(rows, &p->step[i], &f->tangent[i]));
        dy[0] = k ? ad_add(dy[0], dy[k]) : dy[0], k++;
    }
    if (tangents && subset) ad_keep(dy[0]);
    if (ad_run(tape) != AD_OK) {
        print_program(p);
        fail_msg("%s", ad_tape_message(tape));
    }
    assert_values(f, v, kept);
    assert_adjoint(f, of, subset);
    if (tangents && subset) assert_same(f, dy[0], f->dx.v[last], size_of(p, last), "tangent");
}

static bool sums_rows(const shape_program *p) {
    bool any = false;
    for (int i = 0; i < p->n; i++) any = any || p->step[i].kind == SUM_ROWS;
    return any;
}

// Programs of 1 to 10 steps, in both precisions where the numbers stay below 2^24: whole numbers are exact.
static void programs_agree_with_loops(void **state) {
    fixture *f = *state;
    uint64_t seed = 20240229;
    const int programs = UTIL_SANITIZED ? 2000 : 30000;
    const char *more = getenv("SHAPE_PROGRAMS");
    for (int i = 0; i < (more ? atoi(more) : programs); i++) {
        f->program = random_program(&seed, 1 + pick(&seed, pick(&seed, 4) ? 6 : 10));
        check_program(f, f->tape[sums_rows(&f->program) ? AD_F64 : i % 2], &seed);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(programs_agree_with_loops, set_up, tear_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
