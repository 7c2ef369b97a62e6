// doctor.c -- pullback doctor: this machine, and whether the library works on it.
#include <jansson.h>
#include <math.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>
#include <zip.h>
#include <zlib.h>

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

static const char *processor(char name[128]) {
    FILE *from = fopen("/proc/cpuinfo", "r");
    snprintf(name, 128, "unknown");
    while (from && fgets(name, 128, from)) {
        if (strncmp(name, "model name", 10) == 0) break;
    }
    if (from) fclose(from);
    const char *colon = strchr(name, ':');
    name[strcspn(name, "\n")] = '\0';
    return colon ? colon + 2 : "unknown";
}

// What this command runs with.
static json_t *libraries(void) {
    char xxhash[32];
    unsigned v = XXH_versionNumber();
    snprintf(xxhash, sizeof xxhash, "%u.%u.%u", v / 10000, v / 100 % 100, v % 100);
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "jansson", jansson_version_str(), "libpng", png_get_libpng_ver(NULL),
                     "libzip", zip_libzip_version(), "xxhash", xxhash, "zlib", zlibVersion());
}

static void look_at(ad_engine *engine, json_t *all) {
    char name[128];
    json_object_set_new(all, "version", json_string(TOOL_VERSION));
    json_object_set_new(all, "processor", json_string(processor(name)));
    json_object_set_new(all, "processors", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
    json_object_set_new(all, "kernels", json_string(ad_cpu_name()));
    json_object_set_new(all, "threads", json_integer(ad_engine_threads(engine)));
    json_object_set_new(all, "libraries", libraries());
}

// One thing tested: its number, and whether it is good.
static void tell(json_t *all, const char *what, bool ok, double value) {
    json_object_set_new(all, what, json_pack("{s:b, s:o}", "ok", ok, "value", tool_real(value)));
}

static void test(ad_engine *engine, json_t *all) {
    ad_error error = {0};
    double product = product_error(engine);
    tell(all, "products", product < 1e-4, product);
    flow_model *model = flow_realnvp(3, 0, &(flow_realnvp_options){.layers = 2, .mlp = {.width = 8}}, &error);
    ad_status laws = model ? flow_check_model(model, NULL, &error) : error.status;
    tell(all, "laws", laws == AD_OK, NAN);
    if (laws != AD_OK) json_object_set_new(json_object_get(all, "laws"), "message", json_string(error.message));
    flow_model_free(model);
    double nats = gain(engine, &error);
    tell(all, "training", nats > 0.2, nats);
}

static const char *const tests[] = {"products", "laws", "training"};
static const char *const meanings[] = {", largest error %.2g", "", ", two moons, 200 steps: %.3f nats gained"};

static int is_wrong(const json_t *all) {
    int wrong = 0;
    for (int i = 0; i < 3; i++) wrong += !json_is_true(json_object_get(json_object_get(all, tests[i]), "ok"));
    return wrong;
}

static void print_text(const json_t *all) {
    const char *key;
    json_t *value;
    printf("version    %s\nprocessor  %s, %lld of them\n", json_string_value(json_object_get(all, "version")),
           json_string_value(json_object_get(all, "processor")),
           (long long)json_integer_value(json_object_get(all, "processors")));
    printf("kernels    %s\nthreads    %lld\nlibraries ", json_string_value(json_object_get(all, "kernels")),
           (long long)json_integer_value(json_object_get(all, "threads")));
    json_object_foreach(json_object_get(all, "libraries"), key, value) printf(" %s %s", key, json_string_value(value));
    putchar('\n');
    for (int i = 0; i < 3; i++) {
        const json_t *test_of = json_object_get(all, tests[i]), *message = json_object_get(test_of, "message");
        printf("%-10s %s", tests[i], json_is_true(json_object_get(test_of, "ok")) ? "ok" : "WRONG");
        if (message) printf(", %s", json_string_value(message));
        printf(meanings[i], json_number_value(json_object_get(test_of, "value")));
        putchar('\n');
    }
}

static int64_t threads;
static bool json, quiet;
static const option_row options[] = {
    {"threads", "N", "threads to test with; 0: all there are", OPTION_COUNT, &threads, 0, 256},
    {"json", NULL, "findings as one JSON object", OPTION_FLAG, &json, 0, 0},
    {"quiet", NULL, "nothing, but when something is wrong", OPTION_FLAG, &quiet, 0, 0}};

static int run(void) {
    ad_error error = {0};
    ad_engine *engine = ad_engine_new(&(ad_engine_options){.threads = (int)threads}, &error);
    if (!engine) return tool_fail(&tool_doctor, &error);
    json_t *all = json_object();
    look_at(engine, all);
    test(engine, all);
    ad_engine_free(engine);
    int wrong = is_wrong(all);
    json_object_set_new(all, "ok", json_boolean(!wrong));
    if (!json && (!quiet || wrong)) print_text(all);
    if (!json) {
        json_decref(all);
    } else if (tool_print(all, &error) != AD_OK) {
        return tool_fail(&tool_doctor, &error);
    }
    return wrong;
}

const tool_command tool_doctor = {"doctor",
                                  "this machine, and whether the library works on it",
                                  "Says what the library finds on this machine, and tests it.",
                                  options,
                                  sizeof options / sizeof *options,
                                  run};
