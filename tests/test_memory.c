// test_memory.c -- a step allocates nothing after the first, and needs no more memory for more rows.
#include "allocations.h"
#include "util.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { D = 6, H = 128, FEW = 1024, MANY = 65536 };

typedef struct model {
    float *data;  // [MANY][D]
    ad_source source;
    ad_param *W1, *b1, *W2, *b2, *W3;
    ad_state *mean;
    ad_engine *engine;
    ad_tape *tape;
} model;

static void model_new(model *m, int threads) {
    const ad_engine_options options = {.threads = threads};
    m->data = malloc((size_t)MANY * D * sizeof *m->data);
    for (int i = 0; i < MANY * D; i++) m->data[i] = (float)(i % 1001) / 1001;
    m->source = (ad_source){m->data, AD_F32, MANY, 0, NULL};
    m->W1 = util_param("W1", AD_F32, ad_shape2(H, D), 1);
    m->b1 = util_param("b1", AD_F32, ad_shape1(H), 2);
    m->W2 = util_param("W2", AD_F32, ad_shape2(H, H), 3);
    m->b2 = util_param("b2", AD_F32, ad_shape1(H), 4);
    m->W3 = util_param("W3", AD_F32, ad_shape2(D, H), 5);
    m->mean = ad_state_new("mean", AD_F32, ad_shape1(D), NULL);
    m->engine = ad_engine_new(&options, NULL);
    m->tape = ad_tape_new(m->engine, AD_F32);
}

static void model_free(model *m) {
    ad_tape_free(m->tape);
    ad_engine_free(m->engine);
    ad_param_free(m->W1);
    ad_param_free(m->b1);
    ad_param_free(m->W2);
    ad_param_free(m->b2);
    ad_param_free(m->W3);
    ad_state_free(m->mean);
    free(m->data);
}

static bool step(model *m, int64_t count) {
    ad_tape *tape = m->tape;
    ad_scope(tape, "net", 1);
    const ad_var x = ad_input(util_rows(tape, "data", count), ad_shape1(D), &m->source);
    const ad_var h = ad_tanh(ad_linear(ad_use(tape, m->W1), x, ad_use(tape, m->b1)));
    const ad_var k = ad_tanh(ad_linear(ad_use(tape, m->W2), h, ad_use(tape, m->b2)));
    const ad_var y = ad_linear(ad_use(tape, m->W3), ad_mul(k, ad_exp(h)), AD_NONE);
    ad_assign(m->mean, ad_mean_rows(y));
    ad_scope_end(tape);
    const ad_var loss = ad_keep(ad_mean_rows(ad_sum(ad_square(ad_sub(y, x)))));
    const bool ok = ad_backward(loss) == AD_OK && isfinite(ad_value(loss));
    ad_tape_reset(tape);
    return ok;
}

static void assert_no_allocation(int threads) {
    if (!CAN_COUNT) skip();
    model m;
    model_new(&m, threads);
    assert_true(step(&m, FEW));
    const long before = allocations;
    bool ok = true;
    for (int i = 0; i < 50; i++) ok = step(&m, FEW) && ok;
    const long after = allocations;
    assert_true(ok);
    assert_int_equal(after - before, 0);
    model_free(&m);
}

static void a_step_allocates_nothing_after_the_first(void **state) {
    (void)state;
    assert_no_allocation(1);
}

static void nor_with_threads(void **state) {
    (void)state;
    assert_no_allocation(3);
}

static void nor_for_a_smaller_batch(void **state) {
    (void)state;
    if (!CAN_COUNT) skip();
    model m;
    model_new(&m, 1);
    assert_true(step(&m, FEW));
    const long before = allocations;
    const bool ok = step(&m, FEW / 2 + 1) && step(&m, 1) && step(&m, FEW);
    const long after = allocations;
    assert_true(ok);
    assert_int_equal(after - before, 0);
    model_free(&m);
}

static void the_counter_counts(void **state) {
    (void)state;
    if (!CAN_COUNT) skip();
    const long before = allocations;
    void *volatile p = malloc(10);
    free(p);
    assert_int_equal(allocations - before, 1);
}

// Peak resident memory in KiB of a child that takes three steps; the data are there in full for any count.
static long peak_of(int64_t count) {
    int ends[2];
    long peak = -1;
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        struct rusage usage;
        model m;
        model_new(&m, 2);
        bool ok = true;
        for (int i = 0; i < 3; i++) ok = step(&m, count) && ok;
        getrusage(RUSAGE_SELF, &usage);
        if (ok && write(ends[1], &usage.ru_maxrss, sizeof usage.ru_maxrss) < 0) _exit(1);
        _exit(0);
    }
    close(ends[1]);
    if (read(ends[0], &peak, sizeof peak) != (ssize_t)sizeof peak) peak = -1;
    close(ends[0]);
    waitpid(child, NULL, 0);
    assert_true(peak > 0);
    return peak;
}

// The values of one hidden layer would take 32 MiB for all rows. 1 MiB allows for pages touched in another order.
static void memory_does_not_grow_with_the_batch(void **state) {
    (void)state;
    if (UTIL_SANITIZED) skip();
    const long few = peak_of(FEW), many = peak_of(MANY);
    if (many > few + 1024) fail_msg("%ld KiB for %d rows, %ld KiB for %d", few, FEW, many, MANY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_counter_counts),
        cmocka_unit_test(a_step_allocates_nothing_after_the_first),
        cmocka_unit_test(nor_with_threads),
        cmocka_unit_test(nor_for_a_smaller_batch),
        cmocka_unit_test(memory_does_not_grow_with_the_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
