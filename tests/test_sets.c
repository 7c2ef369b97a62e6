// test_sets.c -- data sets: what their rows are made of, what is refused, and their fingerprint.
#include "data.h"
#include "util.h"

enum { ROWS = 50 };

// A table of ROWS x columns with element (r, c) = 100 r + c.
static data_table *numbered(data_type type, int64_t columns) {
    data_table *t = data_table_new(type, ROWS, columns, NULL);
    assert_non_null(t);
    for (int64_t i = 0; i < ROWS * columns; i++) {
        double v = (double)(100 * (i / columns) + i % columns);
        if (type == DATA_F64) ((double *)data_values(t))[i] = v;
        if (type == DATA_F32) ((float *)data_values(t))[i] = (float)v;
        if (type == DATA_U16) ((uint16_t *)data_values(t))[i] = (uint16_t)v;
    }
    return t;
}

// Labels r % classes as bytes; weights r / 4.
static data_table *labels_of(int classes) {
    data_table *t = data_table_new(DATA_U8, ROWS, 1, NULL);
    for (int i = 0; i < ROWS; i++) ((uint8_t *)data_values(t))[i] = (uint8_t)(i % classes);
    return t;
}
static data_table *weights(void) {
    data_table *t = data_table_new(DATA_F64, ROWS, 1, NULL);
    for (int i = 0; i < ROWS; i++) ((double *)data_values(t))[i] = i / 4.0;
    return t;
}

static data_set made(const data_set_parts *parts) {
    data_set set;
    ad_error error;
    if (data_set_make(&set, parts, &error) != AD_OK) fail_msg("%s", error.message);
    return set;
}

static void parts_come_from_several_tables(void **state) {
    (void)state;
    data_table *a = numbered(DATA_F64, 5), *b = numbered(DATA_U16, 3), *w = weights();
    data_set set =
        made(&(data_set_parts){.x = {{a, 3, 2}, {b, 0, 0}, {a, 0, 1}}, .context = {{b, 1, 1}}, .weight = {w}});
    assert_int_equal(set.rows, ROWS);
    assert_int_equal(set.features, 6);
    assert_int_equal(set.context, 1);
    assert_int_equal(set.parts.x[1].count, 3);
    assert_true(set.weighted);
    const int64_t rows[] = {49, 0, 7};
    double x[3][6], context[3], weight[3];
    float x32[3][6];
    assert_int_equal(data_set_gather(&set, DATA_X, rows, 3, AD_F64, x, NULL), AD_OK);
    assert_int_equal(data_set_gather(&set, DATA_X, rows, 3, AD_F32, x32, NULL), AD_OK);
    assert_int_equal(data_set_gather(&set, DATA_CONTEXT, rows, 3, AD_F64, context, NULL), AD_OK);
    assert_int_equal(data_set_gather(&set, DATA_WEIGHT, rows, 3, AD_F64, weight, NULL), AD_OK);
    const int columns[6] = {3, 4, 0, 1, 2, 0};
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < 6; k++) {
            double want = (double)(100 * rows[i] + columns[k]);
            assert_true(x[i][k] == want && x32[i][k] == (float)want);
        }
        assert_true(context[i] == (double)(100 * rows[i] + 1) && weight[i] == (double)rows[i] / 4);
    }
    data_table_free(a);
    data_table_free(b);
    data_table_free(w);
}

static void classes_become_context(void **state) {
    (void)state;
    data_table *a = numbered(DATA_F32, 2), *labels = labels_of(4);
    data_set_parts parts = {.x = {{a}}, .context = {{a, 1, 1}}, .labels = {labels}};
    data_set set = made(&parts);
    assert_int_equal(set.parts.classes, 4);
    assert_int_equal(set.context, 5);
    float c[ROWS][5];
    assert_int_equal(data_set_gather(&set, DATA_CONTEXT, NULL, ROWS, AD_F32, c, NULL), AD_OK);
    for (int i = 0; i < ROWS; i++) {
        assert_true(c[i][0] == (float)(100 * i + 1));
        for (int k = 0; k < 4; k++) assert_true(c[i][1 + k] == (float)(i % 4 == k));
    }
    parts.label_number = true;
    set = made(&parts);
    assert_int_equal(set.context, 2);
    double d[ROWS][2];
    assert_int_equal(data_set_gather(&set, DATA_CONTEXT, NULL, ROWS, AD_F64, d, NULL), AD_OK);
    for (int i = 0; i < ROWS; i++) assert_true(d[i][0] == 100 * i + 1 && d[i][1] == i % 4);
    parts.label_number = false;
    parts.classes = 10;
    set = made(&parts);
    assert_int_equal(set.context, 11);
    data_table_free(a);
    data_table_free(labels);
}

// More columns and rows than a buffer holds.
static void wide_parts_are_put_together(void **state) {
    (void)state;
    enum { WIDE = 9000 };
    data_table *a = numbered(DATA_F64, WIDE), *b = numbered(DATA_F64, 1);
    data_set set = made(&(data_set_parts){.x = {{b}, {a}}});
    double *x = malloc(ROWS * (WIDE + 1) * sizeof *x);
    assert_int_equal(data_set_gather(&set, DATA_X, NULL, ROWS, AD_F64, x, NULL), AD_OK);
    for (int i = 0; i < ROWS; i++) {
        assert_true(x[i * (WIDE + 1)] == 100 * i);
        for (int k = 0; k < WIDE; k++) assert_true(x[i * (WIDE + 1) + 1 + k] == 100 * i + k);
    }
    free(x);
    data_table_free(a);
    data_table_free(b);
}

static void parts_become_tables(void **state) {
    (void)state;
    data_table *a = numbered(DATA_U16, 3), *labels = labels_of(3);
    data_set set = made(&(data_set_parts){.x = {{a}}, .labels = {labels}});
    data_table *x = data_set_table(&set, DATA_X, AD_F32, NULL), *c = data_set_table(&set, DATA_CONTEXT, AD_F64, NULL);
    assert_true(x->type == DATA_F32 && x->columns == 3 && data_get(x, 9, 2) == 902);
    assert_true(c->type == DATA_F64 && c->columns == 3 && data_get(c, 5, 2) == 1 && data_get(c, 5, 1) == 0);
    ad_error error;
    assert_null(data_set_table(&set, DATA_WEIGHT, AD_F32, &error));
    util_assert_contains(error.message, "it has no weights");
    data_table_free(a);
    data_table_free(labels);
    data_table_free(x);
    data_table_free(c);
}

static void check_refused(const data_set_parts *parts, const char *message) {
    data_set set = {.rows = 77};
    ad_error error = {AD_OK, ""};
    assert_int_equal(data_set_make(&set, parts, &error), AD_EARG);
    util_assert_contains(error.message, message);
    assert_int_equal(set.rows, 77);
}

static void bad_parts_are_refused(void **state) {
    (void)state;
    data_table *a = numbered(DATA_F64, 3), *l = labels_of(3), *w = weights();
    data_table *other = data_table_new(DATA_F64, ROWS + 1, 1, NULL), empty = {.type = DATA_F64, .rows = ROWS};
    check_refused(&(data_set_parts){.context = {{a}}}, "no features");
    check_refused(&(data_set_parts){.x = {{a, 1, 3}}}, "3 columns of features from column 1: the table has 3");
    check_refused(&(data_set_parts){.x = {{a, 3, 0}}}, "0 columns of features");
    check_refused(&(data_set_parts){.x = {{a, -1, 1}}}, "from column -1");
    check_refused(&(data_set_parts){.x = {{a, 0, -1}}}, "-1 columns");
    check_refused(&(data_set_parts){.x = {{a, INT64_MAX, INT64_MAX}}}, "columns of features");
    check_refused(&(data_set_parts){.x = {{&empty}}}, "a table of features has no values");
    check_refused(&(data_set_parts){.x = {{a}}, .context = {{other}}}, "context has 51 rows, another has 50");
    check_refused(&(data_set_parts){.x = {{a}}, .labels = {a}}, "3 columns of labels, expected one");
    check_refused(&(data_set_parts){.x = {{a}}, .weight = {a, 0, 2}}, "2 columns of weights, expected one");
    check_refused(&(data_set_parts){.x = {{a}}, .labels = {l}, .classes = 2},
                  "label of row 2 is 2, expected an integer in 0 to 1");
    check_refused(&(data_set_parts){.x = {{a}}, .labels = {w}}, "label of row 1 is 0.25, expected an integer");
    check_refused(&(data_set_parts){.x = {{a}}, .labels = {a, 0, 1}},
                  "largest label is 4900, of 50 rows: expected classes");
    check_refused(&(data_set_parts){.x = {{a}}, .labels = {l}, .classes = -1}, "-1 classes");
    ((double *)data_values(w))[7] = -1;
    check_refused(&(data_set_parts){.x = {{a}}, .weight = {w}}, "weight of row 7 is -1");
    ((double *)data_values(w))[7] = NAN;
    check_refused(&(data_set_parts){.x = {{a}}, .weight = {w}}, "weight of row 7 is nan");
    check_refused(&(data_set_parts){.x = {{a}}, .labels = {w}}, "label of row 1");
    data_table_free(a);
    data_table_free(l);
    data_table_free(w);
    data_table_free(other);
}

static void rows_beyond_the_set_are_refused(void **state) {
    (void)state;
    data_table *a = numbered(DATA_F64, 3), *b = numbered(DATA_F64, 1);
    data_set set = made(&(data_set_parts){.x = {{a}, {b}}});
    const int64_t rows[] = {3, ROWS};
    double out[2][4];
    ad_error error;
    assert_int_equal(data_set_gather(&set, DATA_X, rows, 2, AD_F64, out, &error), AD_EARG);
    util_assert_contains(error.message, "row 50 of a table of 50");
    assert_int_equal(data_set_gather(&set, DATA_X, NULL, ROWS + 1, AD_F64, out, &error), AD_EARG);
    assert_int_equal(data_set_gather(&set, DATA_X, NULL, -1, AD_F64, out, &error), AD_EARG);
    data_table_free(a);
    data_table_free(b);
}

// ---- fingerprint ----

static const char *print_of(const data_set_parts *parts) {
    static char text[4][DATA_FINGERPRINT_SIZE];
    static int next;
    data_set set = made(parts);
    char *out = text[next++ % 4];
    assert_int_equal(data_fingerprint(&set, out, NULL), AD_OK);
    assert_int_equal(strlen(out), DATA_FINGERPRINT_SIZE - 1);
    return out;
}

static void a_fingerprint_is_of_the_content(void **state) {
    (void)state;
    data_table *a = numbered(DATA_F64, 3), *wide = numbered(DATA_F64, 5);
    char first[DATA_FINGERPRINT_SIZE];
    strcpy(first, print_of(&(data_set_parts){.x = {{a}}}));
    assert_string_equal(first, print_of(&(data_set_parts){.x = {{wide, 0, 3}}}));  // other strides
    data_table swapped = *a;
    double *turned = malloc(ROWS * 3 * sizeof *turned);
    for (int i = 0; i < ROWS * 3; i++) {
        const unsigned char *from = (const unsigned char *)a->values + 8 * i;
        for (int k = 0; k < 8; k++) ((unsigned char *)(turned + i))[k] = from[7 - k];
    }
    swapped.values = turned;
    swapped.swapped = true;
    assert_string_equal(first, print_of(&(data_set_parts){.x = {{&swapped}}}));  // other byte order
    for (int bit = 0; bit < ROWS * 3 * 64; bit += 61) {
        ((unsigned char *)data_values(a))[bit / 8] ^= (unsigned char)(1 << bit % 8);
        assert_string_not_equal(first, print_of(&(data_set_parts){.x = {{a}}}));
        ((unsigned char *)data_values(a))[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    assert_string_equal(first, print_of(&(data_set_parts){.x = {{a}}}));
    free(turned);
    data_table_free(a);
    data_table_free(wide);
}

static void a_fingerprint_tells_types_shapes_and_roles(void **state) {
    (void)state;
    data_table *a = numbered(DATA_F64, 4), *b = numbered(DATA_F32, 4), *c = numbered(DATA_F64, 4), *l = labels_of(2);
    c->shape = ad_shape2(2, 2);
    const data_set_parts sets[] = {{.x = {{a}}},
                                   {.x = {{b}}},
                                   {.x = {{c}}},
                                   {.x = {{a, 0, 3}}},
                                   {.x = {{a, 0, 3}, {a, 3, 1}}},
                                   {.x = {{a, 0, 3}}, .context = {{a, 3, 1}}},
                                   {.x = {{a, 0, 3}}, .weight = {a, 3, 1}},
                                   {.x = {{a}}, .labels = {l}},
                                   {.x = {{a}}, .labels = {l}, .classes = 3},
                                   {.x = {{a}}, .labels = {l}, .label_number = true}};
    enum { N = sizeof sets / sizeof *sets };
    char print[N][DATA_FINGERPRINT_SIZE];
    for (int i = 0; i < N; i++) {
        strcpy(print[i], print_of(&sets[i]));
        for (int k = 0; k < i; k++) {
            if (strcmp(print[i], print[k]) == 0) fail_msg("sets %d and %d", k, i);
        }
    }
    data_table_free(a);
    data_table_free(b);
    data_table_free(c);
    data_table_free(l);
}

// Stored in checkpoints: it must not change.
static void a_known_fingerprint_stays_what_it_was(void **state) {
    (void)state;
    data_table *a = numbered(DATA_F64, 3), *l = labels_of(3), *w = weights();
    assert_string_equal(print_of(&(data_set_parts){.x = {{a}}, .labels = {l}, .weight = {w}}),
                        "c8af2ee28c400d51f54f941046d2560f");
    data_table_free(a);
    data_table_free(l);
    data_table_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_come_from_several_tables),
        cmocka_unit_test(classes_become_context),
        cmocka_unit_test(wide_parts_are_put_together),
        cmocka_unit_test(parts_become_tables),
        cmocka_unit_test(bad_parts_are_refused),
        cmocka_unit_test(rows_beyond_the_set_are_refused),
        cmocka_unit_test(a_fingerprint_is_of_the_content),
        cmocka_unit_test(a_fingerprint_tells_types_shapes_and_roles),
        cmocka_unit_test(a_known_fingerprint_stays_what_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
