// test_canvas.c -- numbers on axes of pictures: labels say where they stand.
#include "../examples/canvas.h"

#include "util.h"

// Labels of the range's ticks at every so many, parted by blanks.
static void check_labels(plot_range range, int every, const char *want) {
    char got[200] = "", text[32];
    canvas_ticks t = canvas_ticks_of(range, CANVAS_TICKS);
    t.every = every;
    for (int i = 0; i < t.n; i++) {
        const char *label = canvas_tick_text(t, i, text);
        if (*label && *got) strcat(got, " ");
        strcat(got, label);
    }
    assert_string_equal(got, want);
}

static void each_tick_has_its_number(void **state) {
    (void)state;
    check_labels((plot_range){-1, 1.5}, 1, "−1.0 −0.5 0 0.5 1.0 1.5");
    check_labels((plot_range){0, 0.025}, 1, "0 0.005 0.010 0.015 0.020 0.025");
    check_labels((plot_range){0, 8}, 1, "0 2 4 6 8");
    check_labels((plot_range){0, 25000}, 1, "0 0.5 1.0 1.5 2.0 2.5");  // times 10^4
}

// Not rounded to the decimals that the step has, nor with more of them than needed.
static void fewer_labels_are_not_rounded(void **state) {
    (void)state;
    check_labels((plot_range){0, 2.5}, 2, "0 1 2");
    check_labels((plot_range){0, 2.5}, 5, "0 2.5");
    check_labels((plot_range){0, 0.025}, 5, "0 0.025");
    check_labels((plot_range){0, 25000}, 5, "0 2.5");
    check_labels((plot_range){-20, 20}, 2, "−20 0 20");
    check_labels((plot_range){0, 1}, 5, "0 1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_tick_has_its_number),
        cmocka_unit_test(fewer_labels_are_not_rounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
