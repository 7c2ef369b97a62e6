// custom_layer.c -- layers of your own: write the map, say what its Jacobian looks like, and train, save and check it.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "data.h"
#include "flows.h"
#include "optim.h"
#include "picture.h"

// An elementwise layer in a few lines: sinh-arcsinh (Jones and Pewsey 2009), skew and tail to learn for each feature.
static ad_var bend(const flow_call *c, ad_var x) {
    return ad_sinh(ad_mul(ad_add(ad_asinh(x), flow_use(c, "skew")), ad_exp(flow_use(c, "tail"))));
}
static const flow_derivation bend_map = {
    FLOW_ELEMENTWISE, .normalize = bend, .tensors = {{.name = "skew"}, {.name = "tail"}}};
static const flow_layer_type bend_type = {"bend", .derived = &bend_map};

// A coupling layer in 9: each feature that is not kept is scaled, shifted, and made wavy, by three numbers that a net
// says from those that are kept. The wave has no inverse in closed form: generate is solved for.
static ad_var wave(const flow_call *c, ad_var v) {
    ad_var scale = ad_exp(ad_tanh(flow_use_parameter(c, 0))), shift = flow_use_parameter(c, 1);
    ad_var depth = ad_scale(ad_tanh(flow_use_parameter(c, 2)), 0.9);
    ad_var u = ad_add(ad_mul(v, scale), shift);
    return ad_add(u, ad_mul(depth, ad_sin(u)));
}
static const flow_derivation wave_map = {FLOW_COUPLING, .normalize = wave, .conditioner = 3};
static const flow_layer_type wave_type = {"wave coupling", .derived = &wave_map};

enum { WAVES = 6, STEPS = 500, BATCH = 400 };
static ad_error error;

static int wrong(const char *message) { return fprintf(stderr, "custom_layer: %s\n", message), 1; }

// Standardise, then bend and waves that keep either feature in turn, to a normal density. *last is the last wave.
static flow_model *new_model(flow_layer **last) {
    flow_layer *layers[2 + WAVES] = {flow_standardise(2, NULL, &error), flow_derive(&bend_type, 2, 0, NULL, &error)};
    for (int i = 0; i < WAVES; i++) {
        flow_half keep = i % 2 ? FLOW_KEEP_SECOND : FLOW_KEEP_FIRST;
        flow_derive_options o = {.keep = keep, .mlp = {.width = 32}, .seed = (uint64_t)i};
        layers[2 + i] = flow_derive(&wave_type, 2, 0, &o, &error);
    }
    *last = layers[1 + WAVES];
    flow_layer *chain = flow_chain(layers, 2 + WAVES, &error);
    return flow_model_new(chain, chain ? flow_standard_normal(2, &error) : NULL, &error);
}

// Mean negative log-density of rows, in nats; NaN with a message on error.
static double nats(const flow_model *model, const data_table *rows) {
    ad_tape *tape = ad_tape_new(NULL, AD_F32);
    ad_source source = data_source(rows, 0, NULL);
    ad_rows set = ad_rows_new(tape, "rows");
    ad_rows_set(set, rows->rows, 0);
    ad_var p = flow_log_prob(model, ad_input(set, ad_shape1(2), &source), AD_NONE);
    double value = ad_value(ad_neg(ad_mean_rows(p)));
    if (ad_tape_status(tape) != AD_OK) wrong(ad_tape_message(tape));
    return ad_tape_free(tape), value;
}

static ad_status train(flow_model *model, const data_table *rows) {
    int n;
    ad_param *const *params = flow_params(model, &n);
    optim_optimizer *adam = optim_new(params, n, NULL, &error);
    ad_tape *tape = ad_tape_new(NULL, AD_F32);
    data_batches batches = {.count = rows->rows, .size = BATCH, .seed = 1};
    int64_t batch[BATCH];
    ad_status status = adam && tape ? AD_OK : AD_ENOMEM;
    for (int step = 0; step < STEPS && status == AD_OK; step++, ad_tape_reset(tape)) {
        ad_rows set = ad_rows_new(tape, "rows");
        ad_rows_set(set, data_batch(&batches, step / 25, step % 25, batch), 0);
        ad_source source = data_source(rows, 0, batch);
        ad_var x = ad_input(set, ad_shape1(2), &source);
        status = ad_backward(ad_neg(ad_mean_rows(flow_log_prob(model, x, AD_NONE))));
        if (status != AD_OK) wrong(ad_tape_message(tape));
        if (status == AD_OK) status = optim_update(adam, ad_tape_engine(tape), 3e-3, NULL, &error);
    }
    return ad_tape_free(tape), optim_free(adam), status;
}

// How well, and how fast, the direction that nobody wrote is found: the last wave at a grid of latent points.
static ad_status show_inverse(const flow_layer *layer) {
    double z[64][2], iterations[64], residual[64], most = 0, worst = 0;
    for (int i = 0; i < 64; i++) z[i][0] = i % 8 - 3.5, z[i][1] = 0.875 * (i / 8) - 3;
    ad_tape *tape = ad_tape_new(NULL, AD_F32);
    ad_source source = {.data = z, .type = AD_F64, .count = 64};
    ad_rows set = ad_rows_new(tape, "latent");
    ad_rows_set(set, 64, 0);
    ad_solution s = flow_derived_solve(layer, ad_input(set, ad_shape1(2), &source), AD_NONE);
    ad_keep(s.iterations), ad_keep(s.residual);
    ad_status status = ad_run(tape);
    if (status == AD_OK) status = ad_read(s.iterations, iterations, 64);
    if (status == AD_OK) status = ad_read(s.residual, residual, 64);
    if (status != AD_OK) wrong(ad_tape_message(tape));
    for (int i = 0; i < 64 && status == AD_OK; i++) most = fmax(most, iterations[i]), worst = fmax(worst, residual[i]);
    if (status == AD_OK) printf("generate of a wave: at most %.0f evaluations, residual %.0e\n", most, worst);
    return ad_tape_free(tape), status;
}

#ifdef EXAMPLES_CAIRO
static ad_status draw(const flow_model *model, const data_table *points) {
    data_table *xy = data_convert(points, AD_F64, &error);
    if (!xy) return error.status;
    ad_status status = picture_draw("custom_layer.png", model, NULL, xy->values, xy->rows, 1, &error);
    return data_table_free(xy), status;
}
#endif

static ad_status check(flow_layer *layer) {
    ad_status status = layer ? flow_check(layer, NULL, &error) : error.status;
    if (status == AD_OK) printf("flow_check: %s: directions, log_det, structure, gradients hold\n", layer->type->name);
    return flow_layer_free(layer), status;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        return puts("usage: custom_layer\nTrains its own layers on two moons; writes custom_layer.safetensors, .png"), 0;
    }
    if (argc > 1) return wrong("no arguments expected (try --help)");
    flow_layer *last = NULL;
    const data_density *density = data_find_density("moons");
    data_table *rows = density ? data_density_table(density, AD_F32, 10000, 1, &error) : NULL;
    data_table *fresh = rows ? data_density_table(density, AD_F32, 4000, 2, &error) : NULL;
    flow_model *model = fresh ? new_model(&last) : NULL;
    if (!model || flow_init_from_data(model, &(flow_rows){.x = data_source(rows, 0, NULL)}, &error) != AD_OK) {
        return wrong(error.message);
    }
    printf("before training: %.3f nats\n", nats(model, fresh));
    if (train(model, rows) != AD_OK) return wrong(error.message);
    double trained = nats(model, fresh);
    printf("after %d steps: %.3f nats\n", STEPS, trained);

    // The file says "bend" and "wave coupling"; what these are, the program that loads it has to say.
    const flow_layer_type *types[] = {&bend_type, &wave_type, NULL};
    if (flow_save(model, "custom_layer.safetensors", &error) != AD_OK) return wrong(error.message);
    flow_model *again = flow_load("custom_layer.safetensors", &(flow_load_options){.types = types}, &error);
    if (!again) return wrong(error.message);
    printf("saved and loaded: %s\n", nats(again, fresh) == trained ? "the same to the bit" : "ANOTHER");

#ifdef EXAMPLES_CAIRO  // without it there is no picture
    if (draw(model, fresh) != AD_OK) return wrong(error.message);
#endif
    if (show_inverse(last) != AD_OK || check(flow_derive(&bend_type, 2, 0, NULL, &error)) != AD_OK ||
        check(flow_derive(&wave_type, 3, 0, NULL, &error)) != AD_OK) {
        return wrong(error.message);
    }
    return flow_model_free(again), flow_model_free(model), data_table_free(fresh), data_table_free(rows), 0;
}
