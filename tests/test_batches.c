// test_batches.c -- batches and splits: every row once, nothing stored, the same from any point on.
#include "data.h"
#include "util.h"

// Every row once in an epoch, for a batch size that does not divide the count.
static void check_epoch(int64_t count, int64_t size, uint64_t seed, int64_t epoch) {
    data_batches b = {.count = count, .size = size, .seed = seed};
    int64_t *rows = malloc((size_t)size * sizeof *rows), total = 0;
    bool *seen = calloc((size_t)count, sizeof *seen);
    for (int64_t k = 0; k < data_batch_count(&b); k++) {
        int64_t n = data_batch(&b, epoch, k, rows);
        for (int64_t i = 0; i < n; i++) {
            if (rows[i] < 0 || rows[i] >= count || seen[rows[i]])
                fail_msg("count %d: row %d", (int)count, (int)rows[i]);
            seen[rows[i]] = true;
        }
        total += n;
    }
    assert_int_equal(total, count);
    free(seen);
    free(rows);
}

static void an_epoch_holds_every_row_once(void **state) {
    (void)state;
    for (int64_t count = 1; count < 300; count++) check_epoch(count, 7, (uint64_t)count, count % 5);
    check_epoch(65536, 100, 1, 0);
    check_epoch(65537, 100, 1, 1);
    check_epoch(1000003, 4096, 2, 9);
}

static void a_batch_is_a_function_of_seed_epoch_and_number(void **state) {
    (void)state;
    data_batches b = {.count = 1000, .size = 32, .seed = 5};
    int64_t first[32], again[32];
    data_batch(&b, 3, 17, first);
    for (int64_t k = 0; k < 10; k++) data_batch(&b, 4, k, again);
    data_batch(&b, 3, 17, again);
    assert_memory_equal(first, again, sizeof first);
}

static void known_batches_stay_what_they_were(void **state) {
    (void)state;
    static const int64_t want[8] = {591, 601, 829, 833, 917, 616, 77, 738};
    data_batches b = {.count = 1000, .size = 8, .seed = 1};
    int64_t rows[8];
    assert_int_equal(data_batch(&b, 2, 3, rows), 8);
    for (int i = 0; i < 8; i++) assert_int_equal(rows[i], want[i]);
}

static void epochs_and_seeds_differ(void **state) {
    (void)state;
    int64_t a[100], b[100], c[100];
    data_batches one = {.count = 100, .size = 100, .seed = 1}, two = one;
    two.seed = 2;
    data_batch(&one, 0, 0, a);
    data_batch(&one, 1, 0, b);
    data_batch(&two, 0, 0, c);
    assert_memory_not_equal(a, b, sizeof a);
    assert_memory_not_equal(a, c, sizeof a);
}

// chi-square of "row r stands at place p" over many epochs: count^2 cells, (count - 1)^2 degrees of freedom.
static void check_places(int64_t count, int64_t epochs) {
    data_batches b = {.count = count, .size = count, .seed = 11};
    double *cells = calloc((size_t)(count * count), sizeof *cells), sum = 0;
    int64_t *rows = malloc((size_t)count * sizeof *rows);
    for (int64_t epoch = 0; epoch < epochs; epoch++) {
        data_batch(&b, epoch, 0, rows);
        for (int64_t i = 0; i < count; i++) cells[i * count + rows[i]]++;
    }
    double want = (double)epochs / (double)count, freedom = (double)((count - 1) * (count - 1));
    for (int64_t i = 0; i < count * count; i++) sum += (cells[i] - want) * (cells[i] - want) / want;
    double z = (sum - freedom) / sqrt(2 * freedom);  // 5: a chance of about 1e-5, and the seed is fixed
    free(cells);
    free(rows);
    if (!(fabs(z) < 5)) fail_msg("count %d: chi-square is %g standard deviations off", (int)count, z);
}

static void rows_stand_anywhere_equally_often(void **state) {
    (void)state;
    check_places(2, 20000);
    check_places(3, 20000);
    check_places(10, 20000);
    check_places(17, 20000);
    check_places(64, 20000);
    check_places(100, 20000);
}

// Neighbours in the file must not stay neighbours: pairs (row, next row) over epochs.
static void neighbours_are_parted(void **state) {
    (void)state;
    enum { N = 1000, EPOCHS = 200 };
    data_batches b = {.count = N, .size = N, .seed = 4};
    int64_t rows[N], together = 0;
    for (int64_t epoch = 0; epoch < EPOCHS; epoch++) {
        data_batch(&b, epoch, 0, rows);
        for (int i = 0; i + 1 < N; i++) together += rows[i + 1] - rows[i] == 1;
    }
    // Expected 1 an epoch, Poisson: 200 +- 14.
    assert_in_range(together, 130, 270);
}

static void the_last_batch_is_kept_or_dropped(void **state) {
    (void)state;
    int64_t rows[4];
    data_batches b = {.count = 10, .size = 4};
    assert_int_equal(data_batch_count(&b), 3);
    assert_int_equal(data_batch(&b, 0, 2, rows), 2);
    assert_int_equal(data_batch(&b, 0, 3, rows), 0);
    b.drop_last = true;
    assert_int_equal(data_batch_count(&b), 2);
    assert_int_equal(data_batch(&b, 0, 2, rows), 0);
}

static void an_index_is_drawn_from(void **state) {
    (void)state;
    const int64_t index[5] = {100, 200, 300, 400, 500};
    int64_t rows[5], sum = 0;
    data_batches b = {.count = 5, .size = 5, .index = index};
    assert_int_equal(data_batch(&b, 0, 0, rows), 5);
    for (int i = 0; i < 5; i++) sum += rows[i];
    assert_int_equal(sum, 1500);
}

static void order_can_be_kept(void **state) {
    (void)state;
    int64_t rows[3];
    data_batches b = {.count = 8, .size = 3, .in_order = true};
    assert_int_equal(data_batch(&b, 0, 2, rows), 2);
    assert_true(rows[0] == 6 && rows[1] == 7);
}

static void empty_and_huge_ranges_are_safe(void **state) {
    (void)state;
    int64_t rows[2];
    assert_int_equal(data_batch(&(data_batches){.size = 2}, 0, 0, rows), 0);
    assert_int_equal(data_batch(&(data_batches){.count = 2}, 0, 0, rows), 0);
    assert_int_equal(data_batch(&(data_batches){.count = 2, .size = 2}, 0, -1, rows), 0);
    data_batches huge = {.count = INT64_MAX, .size = 2};
    assert_int_equal(data_batch(&huge, INT64_MAX, data_batch_count(&huge) - 1, rows), 1);
    assert_true(rows[0] >= 0);
}

// ---- splits ----

static void a_split_holds_every_row_once(void **state) {
    (void)state;
    data_split *s = data_split_new(1000, 0.25, 0.25, 3, NULL);
    int64_t t = 0, v = 0, e = 0;
    for (int64_t row = 0; row < 1000; row++) {
        bool train = t < s->n_train && s->train[t] == row, valid = v < s->n_valid && s->valid[v] == row;
        bool test = e < s->n_test && s->test[e] == row;
        assert_int_equal(train + valid + test, 1);
        t += train;
        v += valid;
        e += test;
    }
    assert_true(t == s->n_train && v == s->n_valid && e == s->n_test);
    data_split_free(s);
}

static void the_fraction_is_met(void **state) {
    (void)state;
    data_split *s = data_split_new(100000, 0.1, 0.2, 7, NULL);
    assert_in_range(s->n_valid, 10000 - 475, 10000 + 475);  // 5 standard deviations
    assert_in_range(s->n_test, 20000 - 633, 20000 + 633);
    assert_int_equal(s->n_train + s->n_valid + s->n_test, 100000);
    data_split_free(s);
}

static void rows_stay_in_their_part_when_rows_are_appended(void **state) {
    (void)state;
    data_split *a = data_split_new(500, 0.3, 0.2, 7, NULL), *b = data_split_new(5000, 0.3, 0.2, 7, NULL);
    assert_memory_equal(a->train, b->train, (size_t)a->n_train * sizeof *a->train);
    assert_memory_equal(a->valid, b->valid, (size_t)a->n_valid * sizeof *a->valid);
    assert_memory_equal(a->test, b->test, (size_t)a->n_test * sizeof *a->test);
    data_split_free(a);
    data_split_free(b);
}

static void fractions_0_and_1_take_nothing_and_all(void **state) {
    (void)state;
    data_split *none = data_split_new(50, 0, 0, 1, NULL), *all = data_split_new(50, 1, 0, 1, NULL);
    assert_int_equal(none->n_valid, 0);
    assert_int_equal(all->n_train, 0);
    data_split_free(none);
    data_split_free(all);
}

static void bad_splits_are_refused(void **state) {
    (void)state;
    ad_error error;
    assert_null(data_split_new(0, 0.1, 0, 1, &error));
    assert_null(data_split_new(10, NAN, 0, 1, &error));
    assert_null(data_split_new(10, 0.75, 0.5, 1, &error));
    assert_int_equal(error.status, AD_EARG);
    assert_null(data_split_new(INT64_MAX, 0.5, 0, 1, &error));
    assert_int_equal(error.status, AD_ENOMEM);
}

static void given_parts_are_kept_and_checked(void **state) {
    (void)state;
    int64_t train[] = {7, 3, 5}, valid[] = {0, 9}, test[] = {1};
    data_split given = {train, valid, test, 3, 2, 1};
    data_split *s = data_split_given(10, &given, NULL);
    assert_non_null(s);
    assert_true(s->n_train == 3 && s->n_valid == 2 && s->n_test == 1);
    assert_true(s->train[0] == 7 && s->train[2] == 5 && s->valid[1] == 9 && s->test[0] == 1);
    data_split_free(s);
    ad_error error;
    assert_null(data_split_given(9, &given, &error));
    util_assert_contains(error.message, "row 9, expected 0 to 8");
    valid[0] = 5;
    assert_null(data_split_given(10, &given, &error));
    util_assert_contains(error.message, "row 5 stands in it twice");
    valid[0] = -1;
    assert_null(data_split_given(10, &given, &error));
    util_assert_contains(error.message, "row -1");
    given.n_test = -1;
    assert_null(data_split_given(10, &given, &error));
    given = (data_split){.n_train = 3};
    assert_null(data_split_given(10, &given, &error));
    assert_int_equal(error.status, AD_EARG);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_epoch_holds_every_row_once),
        cmocka_unit_test(a_batch_is_a_function_of_seed_epoch_and_number),
        cmocka_unit_test(known_batches_stay_what_they_were),
        cmocka_unit_test(epochs_and_seeds_differ),
        cmocka_unit_test(rows_stand_anywhere_equally_often),
        cmocka_unit_test(neighbours_are_parted),
        cmocka_unit_test(the_last_batch_is_kept_or_dropped),
        cmocka_unit_test(an_index_is_drawn_from),
        cmocka_unit_test(order_can_be_kept),
        cmocka_unit_test(empty_and_huge_ranges_are_safe),
        cmocka_unit_test(a_split_holds_every_row_once),
        cmocka_unit_test(the_fraction_is_met),
        cmocka_unit_test(rows_stay_in_their_part_when_rows_are_appended),
        cmocka_unit_test(fractions_0_and_1_take_nothing_and_all),
        cmocka_unit_test(bad_splits_are_refused),
        cmocka_unit_test(given_parts_are_kept_and_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
