// gradient.c -- the engine alone: derivatives up to the third, a Jacobian, a fit by least squares with a picture.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "ad.h"
#include "options.h"
#include "output.h"
#include "panels.h"

enum { FINE = 400, P = 4, MOST_STEPS = 100 };
typedef struct work {
    int64_t points, seed;
    double noise;
    const char *picture;
    ad_tape *tape;
    double x[FINE], f[4][FINE];            // f and its derivatives at x
    double (*ty)[2], theta[P], errors[P];  // [points]; parameters and their standard errors
} work;
static const double truth[P] = {2, 0.25, 3, 0.5};

static ad_status run(ad_tape *tape, ad_error *error) {
    ad_status status = ad_run(tape);
    return status == AD_OK ? AD_OK : ad_fail(error, status, "%s", ad_tape_message(tape));
}

// f = exp(-x^2 / 2) at each x, and its derivatives: ad_grad gives values to compute with, so it can be taken again.
static ad_status derive(work *w, ad_error *error) {
    ad_tape_reset(w->tape);
    ad_rows rows = ad_rows_new(w->tape, "x");  // a row for each x: none knows of the others
    ad_rows_set(rows, FINE, 0);
    for (int i = 0; i < FINE; i++) w->x[i] = 8 * i / (FINE - 1.0) - 4;
    const ad_source source = {.data = w->x, .type = AD_F64, .count = FINE};
    ad_var x = ad_input(rows, ad_shape0(), &source), f[4] = {ad_keep(ad_exp(ad_scale(ad_square(x), -0.5)))};
    for (int k = 1; k < 4; k++) ad_grad(f[k - 1], &x, 1, &f[k]), ad_keep(f[k]);
    if (run(w->tape, error) != AD_OK) return error->status;
    double off = 0;  // from f times a Hermite polynomial, the closed form
    for (int k = 0; k < 4; k++) ad_read(f[k], w->f[k], FINE);
    for (int i = 0; i < FINE; i++) {
        const double z = w->x[i], hermite[4] = {1, -z, z * z - 1, z * (3 - z * z)};
        for (int k = 0; k < 4; k++) off = fmax(off, fabs(w->f[k][i] - hermite[k] * exp(-z * z / 2)));
    }
    printf("derivatives 1 to 3 of exp(-x^2 / 2) at %d points: within %.0e of the closed form\n", FINE, off);
    return AD_OK;
}

// d(x, y) / d(r, angle), and its determinant, which is r.
static ad_status polar(work *w, ad_error *error) {
    ad_tape_reset(w->tape);
    ad_var at = ad_constant(w->tape, ad_shape1(2), (double[]){2, acos(-1) / 6});
    ad_var r = ad_slice(at, 0, 0, 1), angle = ad_slice(at, 0, 1, 1);
    ad_var xy = ad_concat((ad_var[]){ad_mul(r, ad_cos(angle)), ad_mul(r, ad_sin(angle))}, 2, 0);
    ad_var J = ad_keep(ad_jacobian(xy, at)), det = ad_keep(ad_det(J));
    double j[4];
    if (run(w->tape, error) != AD_OK || ad_read(J, j, 4) != AD_OK) return error->status;
    printf("Jacobian of polar coordinates at r = 2, 30 degrees: [%.4f %.4f; %.4f %.4f], determinant %.4f\n", j[0], j[1],
           j[2], j[3], ad_value(det));
    return AD_OK;
}

// A damped oscillation a e^(-b t) cos(w t + p): of numbers, and of vars.
static double curve(const double q[P], double t) {
    return q[0] * exp(-q[1] * t) * cos(q[2] * t + q[3]);
}
static ad_var oscillation(ad_var parameters, ad_var t) {
    ad_var q[P];
    for (int k = 0; k < P; k++) q[k] = ad_slice(parameters, 0, k, 1);
    return ad_mul(ad_mul(q[0], ad_exp(ad_neg(ad_mul(q[1], t)))), ad_cos(ad_add(ad_mul(q[2], t), q[3])));
}

// Points on the true curve, but for noise.
static void observe(work *w) {
    uint64_t state = (uint64_t)w->seed + 1;
    for (int64_t i = 0; i < w->points; i++) {
        double e = -6;  // twelve uniform numbers less six are nearly normal
        for (int k = 0; k < 12; k++) e += (double)((state = state * 6364136223846793005u + 1) >> 11) * 0x1p-53;
        w->ty[i][0] = 10 * (double)i / (double)(w->points - 1);
        w->ty[i][1] = curve(truth, w->ty[i][0]) + w->noise * e;
    }
}

// Gauss and Newton's step from theta, the standard errors there, and the residuals' noise, from each point's gradient.
static ad_status look(work *w, double step[P], double *noise, ad_error *error) {
    const ad_source points = {.data = w->ty, .type = AD_F64, .count = w->points};
    const ad_source theta = {.data = w->theta, .type = AD_F64, .count = 1};
    ad_tape_reset(w->tape);
    ad_rows rows = ad_rows_new(w->tape, "points");
    ad_rows_set(rows, w->points, 0);
    ad_var ty = ad_input(rows, ad_shape1(2), &points);
    ad_var own = ad_to_rows(ad_shared_input(w->tape, ad_shape1(P), &theta), rows), g;  // a copy a row
    ad_var residual = ad_sum(ad_sub(ad_slice(ty, 0, 1, 1), oscillation(own, ad_slice(ty, 0, 0, 1))));
    ad_grad(residual, &own, 1, &g);
    ad_var JJ = ad_sum_rows(ad_outer(g, g)), Jr = ad_sum_rows(ad_mul(g, residual));
    ad_var variance = ad_scale(ad_sum_rows(ad_square(residual)), 1 / (double)(w->points - P));
    ad_var next = ad_keep(ad_neg(ad_solve(JJ, Jr))), sd = ad_keep(ad_sqrt(variance));
    ad_var errors = ad_keep(ad_sqrt(ad_mul(variance, ad_diagonal(ad_inverse(JJ)))));
    if (run(w->tape, error) != AD_OK) return error->status;
    return ad_read(next, step, P), ad_read(errors, w->errors, P), ad_read(sd, noise, 1);
}

static ad_status minimise(work *w, ad_error *error) {
    double noise, step[P], size = 1, steps = 0;
    for (observe(w); size > 1e-9 && steps < MOST_STEPS; steps++) {
        if (look(w, step, &noise, error) != AD_OK) return error->status;
        size = 0;
        for (int k = 0; k < P; k++) size += fabs(step[k]), w->theta[k] += step[k];
    }
    if (!(size <= 1e-9)) return ad_fail(error, AD_ECONVERGE, "no least squares in %g steps: too much noise?", steps);
    printf("y = a exp(-b t) cos(w t + p) by least squares in %g steps, noise %.4f (%g):\n", steps, noise, w->noise);
    for (int k = 0; k < P; k++) printf("  %c %8.4f +- %.4f (%g)\n", "abwp"[k], w->theta[k], w->errors[k], truth[k]);
    return AD_OK;
}

static ad_status draw(const work *w, ad_error *error) {
    static const panels_mark marks[4] = {{"f", 0, 1.13}, {"f′", 1, -0.75}, {"f″", 0, -1.16}, {"f‴", 0.9, 1.5}};
    const panels_axes axes[2] = {{{-4, 4}, {-1.7, 1.8}, "x", "value"},
                                 {{0, 10}, {-2.4, 2.4}, "time (s)", "shift (mm)"}};
    panels *p = panels_new(&(panels_layout){.n = 2, .columns = 2, .each = axes, .aspect = 0.8});
    if (!p) return ad_fail(error, AD_ENOMEM, "out of memory for a picture");
    double line[FINE][2];
    for (int k = 0; k < 4; k++) {
        for (int i = 0; i < FINE; i++) line[i][0] = w->x[i], line[i][1] = w->f[k][i];
        panels_curve(p, 0, line[0], FINE, (panels_colour)k);
        panels_word(p, 0, marks[k], (panels_colour)k);
    }
    for (int i = 0; i < FINE; i++) line[i][0] = 10 * i / (FINE - 1.0), line[i][1] = curve(w->theta, line[i][0]);
    panels_dots(p, 1, w->ty[0], (size_t)w->points, 7, PANELS_BLUE);
    panels_curve(p, 1, line[0], FINE, PANELS_ORANGE);
    panels_frame(p, 0, "f = exp(−x²/2), derivatives");
    panels_frame(p, 1, "least squares");
    const char *wrong = panels_save(p, w->picture);
    return wrong ? ad_fail(error, AD_EIO, "%s: cannot write the picture: %s", w->picture, wrong) : AD_OK;
}

int main(int argc, char **argv) {
    static work w = {.points = 80, .seed = 1, .noise = 0.15, .picture = "gradient.png", .theta = {1.5, 0.2, 2.9, 0.3}};
    const option_row rows[] = {
        {"points", "N", "points to fit", OPTION_COUNT, &w.points, 5, 1e6},
        {"noise", "X", "their standard deviation about the curve", OPTION_NUMBER, &w.noise, 0, 100},
        {"seed", "N", "of the noise", OPTION_COUNT, &w.seed, 0, 1e15},
        {"picture", "FILE", "where to draw: .png, .svg or .pdf", OPTION_TEXT, &w.picture, 0, 0},
    };
    options_read(argc, argv, "Differentiates functions, and fits a curve by its derivatives.", rows, 4);
    ad_error error = {0};
    w.ty = calloc((size_t)w.points, sizeof *w.ty), w.tape = ad_tape_new(NULL, AD_F64);
    bool ok = w.ty && w.tape ? output_check(w.picture, &error) == AD_OK : !ad_fail(&error, AD_ENOMEM, "out of memory");
    ok = ok && !derive(&w, &error) && !polar(&w, &error) && !minimise(&w, &error) && !draw(&w, &error);
    if (!ok) fprintf(stderr, "gradient: %s\n", error.message);
    return ad_tape_free(w.tape), free(w.ty), !ok;
}
