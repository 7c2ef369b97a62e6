// test_threads.c -- bit-identical results for any number of threads; tapes used from several threads.
#include "util.h"

#include <pthread.h>
#include <stdatomic.h>

#include "op.h"

enum { D = 20, H = 150, B = 700, RESULTS = H * D + H + D * H + H + D + 1, CALLERS = 4 };

typedef struct model {
    double data[B * D];
    ad_source source;
    ad_param *W, *b, *V;  // [H,D], [H], [D,H]: one of each caller's own, as backward writes their gradients
} model;

static void model_new(model *m) {
    util_fill(m->data, B * D, 1, -1, 1);
    m->source = util_source(m->data, B);
    m->W = util_param("W", AD_F32, ad_shape2(H, D), 2);
    m->b = util_param("b", AD_F32, ad_shape1(H), 3);
    m->V = util_param("V", AD_F32, ad_shape2(D, H), 4);
}

static void model_free(model *m) {
    ad_param_free(m->W);
    ad_param_free(m->b);
    ad_param_free(m->V);
}

static void copy_gradient(const ad_param *p, float **out) {
    memcpy(*out, p->grad, (size_t)p->count * sizeof(float));
    *out += p->count;
}

// One step with two row stages and shared work before, between and after: all gradients, two shared results, the loss.
// False on error: callers on other threads must not fail through cmocka.
static bool step(ad_tape *tape, model *m, float *out) {
    const ad_var W = ad_use(tape, m->W), V = ad_use(tape, m->V);
    const ad_var x = ad_input(util_rows(tape, "data", B), ad_shape1(D), &m->source);
    const ad_var h = ad_tanh(ad_linear(W, x, ad_use(tape, m->b)));
    const ad_var centred = ad_sub(h, ad_mean_rows(h));
    const ad_var y = ad_linear(ad_tanh(V), centred, AD_NONE);
    const ad_var spread = ad_keep(ad_mean_rows(ad_square(centred))), mean = ad_keep(ad_mean_rows(ad_mul(y, x)));
    const ad_var loss = ad_keep(ad_add(ad_mean_rows(ad_sum(ad_exp(y))), ad_sum(ad_square(W))));
    const bool ok = ad_backward(loss) == AD_OK;
    if (ok) {
        copy_gradient(m->W, &out);
        copy_gradient(m->b, &out);
        copy_gradient(m->V, &out);
        memcpy(out, ad_data(spread), H * sizeof(float));
        memcpy(out + H, ad_data(mean), D * sizeof(float));
        memcpy(out + H + D, ad_data(loss), sizeof(float));
    }
    ad_tape_reset(tape);
    return ok;
}

static ad_engine *engine_with(int threads) {
    const ad_engine_options options = {.threads = threads};
    ad_engine *engine = ad_engine_new(&options, NULL);
    assert_non_null(engine);
    return engine;
}

static void step_with(int threads, float *out) {
    static model m;
    model_new(&m);
    ad_engine *engine = engine_with(threads);
    ad_tape *tape = ad_tape_new(engine, AD_F32);
    assert_true(step(tape, &m, out));
    ad_tape_free(tape);
    ad_engine_free(engine);
    model_free(&m);
}

static void any_number_of_threads_gives_the_same_bits(void **state) {
    (void)state;
    static const int threads[] = {2, 3, 4, 8};
    static float one[RESULTS], many[RESULTS];
    step_with(1, one);
    for (int k = 0; k < 4; k++) {
        step_with(threads[k], many);
        assert_memory_equal(one, many, sizeof one);
    }
}

static void every_run_gives_the_same_bits(void **state) {
    (void)state;
    static float first[RESULTS], again[RESULTS];
    static model m;
    model_new(&m);
    ad_engine *engine = engine_with(3);
    ad_tape *tape = ad_tape_new(engine, AD_F32);
    assert_true(step(tape, &m, first));
    for (int run = 0; run < 20; run++) {
        assert_true(step(tape, &m, again));
        assert_memory_equal(first, again, sizeof first);
    }
    ad_tape_free(tape);
    ad_engine_free(engine);
    model_free(&m);
}

// Shared tensors above 16 K elements are split over the threads.
static void large_shared(int threads, double *out) {
    ad_engine *engine = engine_with(threads);
    ad_tape *tape = ad_tape_new(engine, AD_F64);
    ad_param *p = util_param("p", AD_F64, ad_shape2(300, 200), 5);
    const ad_var y = ad_exp(ad_tanh(ad_use(tape, p)));
    assert_int_equal(ad_backward(ad_keep(ad_sum(ad_mul(y, ad_sum_axis(y, 0))))), AD_OK);
    memcpy(out, p->grad, 60000 * sizeof(double));
    ad_param_free(p);
    ad_tape_free(tape);
    ad_engine_free(engine);
}

static void large_shared_tensors_give_the_same_bits(void **state) {
    (void)state;
    static double one[60000], many[60000];
    large_shared(1, one);
    for (int threads = 2; threads <= 4; threads++) {
        large_shared(threads, many);
        assert_memory_equal(one, many, sizeof one);
    }
}

// ---- several callers ----------------------------------------------------------------------------------------------

typedef struct caller {
    ad_engine *engine;  // shared, or NULL for one of the tape's own
    model m;
    float out[RESULTS];
    bool ok;
} caller;

static void *step_often(void *arg) {
    caller *c = arg;
    ad_tape *tape = ad_tape_new(c->engine, AD_F32);
    c->ok = tape != NULL;
    for (int run = 0; run < 10 && c->ok; run++) c->ok = step(tape, &c->m, c->out);
    ad_tape_free(tape);
    return NULL;
}

static void assert_callers_agree(ad_engine *engine) {
    static caller callers[CALLERS];
    static float expected[RESULTS];
    pthread_t ids[CALLERS];
    step_with(1, expected);
    for (int i = 0; i < CALLERS; i++) {
        callers[i].engine = engine;
        model_new(&callers[i].m);
    }
    for (int i = 0; i < CALLERS; i++) assert_int_equal(pthread_create(&ids[i], NULL, step_often, &callers[i]), 0);
    for (int i = 0; i < CALLERS; i++) pthread_join(ids[i], NULL);
    for (int i = 0; i < CALLERS; i++) {
        model_free(&callers[i].m);
        assert_true(callers[i].ok);
        assert_memory_equal(callers[i].out, expected, sizeof expected);
    }
}

static void tapes_of_several_threads_share_an_engine(void **state) {
    (void)state;
    ad_engine *engine = engine_with(2);
    assert_callers_agree(engine);
    ad_engine_free(engine);
}

static void tapes_of_several_threads_have_engines_of_their_own(void **state) {
    (void)state;
    assert_callers_agree(NULL);
}

static void count(void *arg, int64_t i) {
    atomic_fetch_add(&((atomic_int *)arg)[i], 1);
}

static void parallel_runs_every_item_once(void **state) {
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        atomic_int times[100] = {0};
        ad_engine *engine = engine_with(threads);
        ad_parallel(engine, 100, count, times);
        for (int i = 0; i < 100; i++) assert_int_equal(atomic_load(&times[i]), 1);
        ad_engine_free(engine);
    }
}

static void an_engine_says_how_many_threads_it_has(void **state) {
    (void)state;
    ad_engine *engine = engine_with(3);
    assert_int_equal(ad_engine_threads(engine), 3);
    ad_engine_free(engine);
    engine = engine_with(0);
    assert_true(ad_engine_threads(engine) >= 1);
    ad_engine_free(engine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
        cmocka_unit_test(every_run_gives_the_same_bits),
        cmocka_unit_test(large_shared_tensors_give_the_same_bits),
        cmocka_unit_test(tapes_of_several_threads_share_an_engine),
        cmocka_unit_test(tapes_of_several_threads_have_engines_of_their_own),
        cmocka_unit_test(parallel_runs_every_item_once),
        cmocka_unit_test(an_engine_says_how_many_threads_it_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
