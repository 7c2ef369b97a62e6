// test_loader.c -- batches assembled ahead: the same with a thread and without, from any point on, into a tape.
#include "data.h"
#include "util.h"

enum { ROWS = 103, D = 3, SIZE = 10 };

typedef struct fixture {
    data_table *x, *labels, *weight;
    data_set set;
} fixture;

static fixture make(void) {
    fixture f = {data_table_new(DATA_F64, ROWS, D, NULL),
                 data_table_new(DATA_U8, ROWS, 1, NULL),
                 data_table_new(DATA_F32, ROWS, 1, NULL),
                 {.rows = 0}};
    util_fill(data_values(f.x), ROWS * D, 1, -2, 2);
    for (int i = 0; i < ROWS; i++) {
        ((uint8_t *)data_values(f.labels))[i] = (uint8_t)(i * i % 4);
        ((float *)data_values(f.weight))[i] = (float)(1 + i % 5);
    }
    const data_set_parts parts = {.x = {{f.x}}, .labels = {f.labels}, .classes = 4, .weight = {f.weight}};
    assert_int_equal(data_set_make(&f.set, &parts, NULL), AD_OK);
    return f;
}

static void release(fixture *f) {
    data_table_free(f->x);
    data_table_free(f->labels);
    data_table_free(f->weight);
}

static data_loader *loader(const data_set *set, const data_batches *b, const data_loader_options *o) {
    ad_error error;
    data_loader *l = data_loader_new(set, b, o, &error);
    if (l == NULL) fail_msg("%s", error.message);
    return l;
}

static const data_loaded *next(data_loader *l) {
    ad_error error;
    const data_loaded *b = data_loader_next(l, &error);
    if (b == NULL) fail_msg("%s", error.message);
    return b;
}

static bool same_source(const ad_source *a, const ad_source *b, int64_t n) {
    return a->type == b->type && a->count == b->count && a->row_stride == b->row_stride && a->index == NULL &&
           memcmp(a->data, b->data, (size_t)n * a->row_stride) == 0;
}

static void assert_same(const data_loaded *a, const data_loaded *b) {
    assert_int_equal(a->epoch, b->epoch);
    assert_int_equal(a->batch, b->batch);
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->rows, b->rows, (size_t)a->n * sizeof *a->rows);
    assert_true(same_source(&a->x, &b->x, a->n));
    assert_true(same_source(&a->context, &b->context, a->n));
    assert_true(same_source(&a->weight, &b->weight, a->n));
}

static void batches_hold_their_rows(void **state) {
    (void)state;
    fixture f = make();
    const data_batches b = {.count = ROWS, .size = SIZE, .seed = 3};
    data_loader *l = loader(&f.set, &b, NULL);
    int64_t rows[SIZE];
    for (int k = 0; k < 35; k++) {
        const data_loaded *got = next(l);
        assert_int_equal(got->epoch, k / 11);
        assert_int_equal(got->batch, k % 11);
        assert_int_equal(got->n, data_batch(&b, got->epoch, got->batch, rows));
        assert_memory_equal(got->rows, rows, (size_t)got->n * sizeof *rows);
        for (int64_t i = 0; i < got->n; i++) {
            const float *x = (const float *)got->x.data + i * D, *c = (const float *)got->context.data + i * 4;
            for (int d = 0; d < D; d++) assert_true(x[d] == (float)data_get(f.x, rows[i], d));
            for (int d = 0; d < 4; d++) assert_true(c[d] == (float)(data_get(f.labels, rows[i], 0) == d));
            assert_true(((const float *)got->weight.data)[i] == (float)data_get(f.weight, rows[i], 0));
        }
    }
    data_loader_free(l);
    release(&f);
}

static void a_thread_changes_nothing(void **state) {
    (void)state;
    fixture f = make();
    const data_batches b = {.count = ROWS, .size = SIZE, .seed = 3};
    for (int ahead = 1; ahead < 8; ahead += 2) {
        data_loader *with = loader(&f.set, &b, &(data_loader_options){.ahead = ahead, .type = AD_F64});
        data_loader *without = loader(&f.set, &b, &(data_loader_options){.ahead = -1, .type = AD_F64});
        for (int k = 0; k < 100; k++) assert_same(next(with), next(without));
        data_loader_free(with);
        data_loader_free(without);
    }
    release(&f);
}

static void training_resumes_at_any_batch(void **state) {
    (void)state;
    fixture f = make();
    const data_batches b = {.count = ROWS, .size = SIZE, .seed = 3, .drop_last = true};
    data_loader *all = loader(&f.set, &b, NULL);
    for (int k = 0; k < 25; k++) {
        const data_loaded *want = next(all);
        assert_int_equal(want->n, SIZE);
        data_loader *from = loader(&f.set, &b, &(data_loader_options){.epoch = k / 10, .batch = k % 10, .ahead = 1});
        assert_same(next(from), want);
        data_loader_free(from);
    }
    data_loader_free(all);
    release(&f);
}

static void the_batch_stays_at_its_address(void **state) {
    (void)state;
    fixture f = make();
    data_loader *l = loader(&f.set, &(data_batches){.count = ROWS, .size = SIZE}, NULL);
    const data_loaded *first = next(l);
    for (int k = 0; k < 20; k++) assert_true(next(l) == first);
    data_loader_free(l);
    release(&f);
}

static void absent_parts_have_no_data(void **state) {
    (void)state;
    fixture f = make();
    data_set set;
    assert_int_equal(data_set_make(&set, &(data_set_parts){.x = {{f.x}}}, NULL), AD_OK);
    data_loader *l = loader(&set, &(data_batches){.count = ROWS, .size = 5 * ROWS}, NULL);
    const data_loaded *b = next(l);
    assert_int_equal(b->n, ROWS);
    assert_true(b->x.data != NULL && b->context.data == NULL && b->weight.data == NULL);
    data_loader_free(l);
    release(&f);
}

// Freed at once, before the thread is waited for, and while it waits.
static void a_loader_can_be_freed_at_any_moment(void **state) {
    (void)state;
    fixture f = make();
    for (int k = 0; k < 200; k++) {
        data_loader *l = loader(&f.set, &(data_batches){.count = ROWS, .size = 1}, &(data_loader_options){.ahead = 3});
        for (int i = 0; i < k % 7; i++) next(l);
        data_loader_free(l);
    }
    data_loader_free(NULL);
    release(&f);
}

static void errors_come_with_their_batch(void **state) {
    (void)state;
    fixture f = make();
    int64_t index[30];
    for (int i = 0; i < 30; i++) index[i] = i;
    index[25] = ROWS;
    const data_batches b = {.count = 30, .size = SIZE, .index = index, .in_order = true};
    for (int ahead = -1; ahead < 5; ahead++) {
        data_loader *l = loader(&f.set, &b, &(data_loader_options){.ahead = ahead});
        next(l);
        next(l);
        for (int again = 0; again < 3; again++) {
            ad_error error = {AD_OK, ""};
            assert_null(data_loader_next(l, &error));
            assert_int_equal(error.status, AD_EARG);
            util_assert_contains(error.message, "epoch 0, batch 2: row 103 of a table of 103");
        }
        data_loader_free(l);
    }
    release(&f);
}

static void bad_options_are_refused(void **state) {
    (void)state;
    fixture f = make();
    const data_batches good = {.count = ROWS, .size = SIZE};
    const data_batches bad[] = {{.count = 0, .size = 1},
                                {.count = ROWS, .size = 0},
                                {.count = ROWS + 1, .size = 1},
                                {.count = 5, .size = 6, .drop_last = true}};
    const data_loader_options options[] = {
        {.epoch = -1}, {.batch = -1}, {.batch = 11}, {.ahead = 100000}, {.type = (ad_type)7}};
    ad_error error;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_null(data_loader_new(&f.set, &bad[i], NULL, &error));
        assert_int_equal(error.status, AD_EARG);
    }
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        assert_null(data_loader_new(&f.set, &good, &options[i], &error));
        assert_int_equal(error.status, AD_EARG);
    }
    int64_t index = 0;
    const data_batches huge = {.count = INT64_MAX, .size = INT64_MAX, .index = &index};
    assert_null(data_loader_new(&f.set, &huge, NULL, &error));
    assert_int_equal(error.status, AD_ENOMEM);
    release(&f);
}

// ---- into a tape ----

// The gradient of a weighted loss of x and context in parameter p, [D + 4].
static void gradient(ad_tape *tape, ad_param *p, int64_t n, const ad_source source[3]) {
    ad_tape_reset(tape);
    ad_rows rows = ad_rows_new(tape, "data");
    ad_rows_set(rows, n, 0);
    ad_var x = ad_input(rows, ad_shape1(D), &source[0]), context = ad_input(rows, ad_shape1(4), &source[1]);
    ad_var weight = ad_input(rows, ad_shape0(), &source[2]), theta = ad_use(tape, p);
    ad_var a = ad_sum(ad_mul(x, ad_slice(theta, 0, 0, D))), b = ad_sum(ad_mul(context, ad_slice(theta, 0, D, 4)));
    ad_var loss = ad_div(ad_sum_rows(ad_mul(weight, ad_square(ad_sub(a, b)))), ad_sum_rows(weight));
    if (ad_backward(loss) != AD_OK) fail_msg("%s", ad_tape_message(tape));
}

// Batches give the gradients that the tables give, read in place by the same rows.
static void context_and_weights_reach_the_tape(void **state) {
    (void)state;
    fixture f = make();
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_param *p = util_param("p", AD_F64, ad_shape1(D + 4), 5);
    data_table *context = data_set_table(&f.set, DATA_CONTEXT, AD_F64, NULL);
    data_table *weight = data_set_table(&f.set, DATA_WEIGHT, AD_F64, NULL);
    data_loader *l =
        loader(&f.set, &(data_batches){.count = ROWS, .size = SIZE}, &(data_loader_options){AD_F64, 2, 0, 0});
    for (int k = 0; k < 22; k++) {
        const data_loaded *b = next(l);
        double got[D + 4];
        gradient(tape, p, b->n, (const ad_source[3]){b->x, b->context, b->weight});
        memcpy(got, p->grad, sizeof got);
        const ad_source tables[3] = {data_source(f.x, 0, b->rows), data_source(context, 0, b->rows),
                                     data_source(weight, 0, b->rows)};
        gradient(tape, p, b->n, tables);
        assert_memory_equal(got, p->grad, sizeof got);
    }
    data_loader_free(l);
    data_table_free(context);
    data_table_free(weight);
    ad_param_free(p);
    ad_tape_free(tape);
    release(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_hold_their_rows),
        cmocka_unit_test(a_thread_changes_nothing),
        cmocka_unit_test(training_resumes_at_any_batch),
        cmocka_unit_test(the_batch_stays_at_its_address),
        cmocka_unit_test(absent_parts_have_no_data),
        cmocka_unit_test(a_loader_can_be_freed_at_any_moment),
        cmocka_unit_test(errors_come_with_their_batch),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(context_and_weights_reach_the_tape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
