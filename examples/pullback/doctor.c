// doctor.c -- pullback doctor: this machine, and whether the library works on it.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../options.h"
#include "optim.h"
#include "tool.h"

// A product of matrices against its definition.
static double product_error(ad_engine *engine) {
    enum { M = 37, K = 65 };
    static float W[M * K], x[K];
    double worst = INFINITY;
    for (int i = 0; i < M * K; i++) W[i] = (float)((i * 7919) % 101 - 50) / 50;
    for (int k = 0; k < K; k++) x[k] = (float)((k * 31) % 17 - 8) / 8;
    ad_tape *tape = ad_tape_new(engine, AD_F32);
    if (!tape) return worst;
    ad_source source = {.data = x, .type = AD_F32, .count = 1}, matrix = {.data = W, .type = AD_F32, .count = 1};
    ad_rows rows = ad_rows_new(tape, "row");
    ad_rows_set(rows, 1, 0);
    ad_var y = ad_keep(
        ad_linear(ad_shared_input(tape, ad_shape2(M, K), &matrix), ad_input(rows, ad_shape1(K), &source), AD_NONE));
    double got[M];
    if (ad_run(tape) == AD_OK && ad_read(y, got, M) == AD_OK) {
        worst = 0;
        for (int m = 0; m < M; m++) {
            double sum = 0;
            for (int k = 0; k < K; k++) sum += (double)W[m * K + k] * (double)x[k];
            worst = fmax(worst, fabs(sum - got[m]));
        }
    }
    ad_tape_free(tape);
    return worst;
}

// Nats that a small flow gains on two moons in 200 steps.
static double gain(ad_engine *engine, ad_error *error) {
    data_table *table = data_density_table(data_find_density("moons"), AD_F32, 2000, 1, error);
    flow_model *model =
        flow_realnvp(2, 0, &(flow_realnvp_options){.layers = 4, .mlp = {.width = 32, .seed = 1}}, error);
    double before = NAN, after = NAN;
    if (table && model) {
        flow_rows rows = {.x = data_source(table, 0, NULL)};
        optim_fit_options how = {.steps = 200, .lr = 5e-3, .engine = engine};
        if (flow_init_from_data(model, &rows, error) != AD_OK ||
            optim_mean_log_prob(model, &rows, 0, engine, &before, NULL, error) ||
            optim_fit(model, &rows, &how, NULL, error) ||
            optim_mean_log_prob(model, &rows, 0, engine, &after, NULL, error)) {
            before = after = NAN;
        }
    }
    flow_model_free(model);
    data_table_free(table);
    return after - before;
}

static int line(const char *what, bool ok, const char *format, double v) {
    printf("%-10s %s  ", what, ok ? "ok    " : "WRONG ");
    printf(format, v);
    putchar('\n');
    return !ok;
}

static int run(int argc, char **argv) {
    static int64_t threads;
    const option_row rows[] = {
        {"threads", "N", "threads to test with; 0: all there are", OPTION_COUNT, &threads, 0, 256}};
    options_read_as("pullback doctor", argc, argv, "Says what the library finds on this machine, and tests it.", rows,
                    1);
    ad_error error = {0};
    ad_engine *engine = ad_engine_new(&(ad_engine_options){.threads = (int)threads}, &error);
    if (!engine) return tool_fail(&tool_doctor, &error);
    printf("kernels    %s\nthreads    %d\n", ad_cpu_name(), ad_engine_threads(engine));
    int wrong = 0;
    double product = product_error(engine);
    wrong += line("products", product < 1e-4, "largest error %.2g", product);
    flow_model *model = flow_realnvp(3, 0, &(flow_realnvp_options){.layers = 2, .mlp = {.width = 8}}, &error);
    ad_status laws = model ? flow_check_model(model, NULL, &error) : error.status;
    printf("%-10s %s\n", "laws", laws == AD_OK ? "ok" : error.message);
    wrong += laws != AD_OK;
    flow_model_free(model);
    double nats = gain(engine, &error);
    wrong += line("training", nats > 0.2, "two moons, 200 steps: %.3f nats gained", nats);
    ad_engine_free(engine);
    return wrong != 0 || fflush(stdout);
}

const tool_command tool_doctor = {"doctor", "this machine, and whether the library works on it", run};
