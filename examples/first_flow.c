// first_flow.c -- the least it takes to train a flow: the program that README.md shows.
#include <stdio.h>
#include "data.h"
#include "flows.h"
#include "optim.h"

static int wrong(const char *message) { return fprintf(stderr, "first_flow: %s\n", message), 1; }

int main(void) {
    ad_error error = {0};
    data_table *moons = data_density_table(data_find_density("moons"), AD_F32, 20000, 1, &error);  // or data_read(file)
    flow_model *model = moons ? flow_realnvp(2, 0, NULL, &error) : NULL;  // 2 features, no context, default options
    if (!model || flow_init_from_data(model, &(flow_rows){.x = data_source(moons, 0, NULL)}, &error) != AD_OK) {
        return wrong(error.message);
    }
    int n;
    ad_param *const *params = flow_params(model, &n);
    optim_optimizer *adam = optim_new(params, n, NULL, &error);
    ad_tape *tape = ad_tape_new(NULL, AD_F32);
    data_batches batches = {.count = moons->rows, .size = 500, .seed = 1};
    int64_t batch[500];
    for (int step = 0; adam && tape && step < 400; step++, ad_tape_reset(tape)) {
        ad_rows rows = ad_rows_new(tape, "data");
        ad_rows_set(rows, data_batch(&batches, step / 40, step % 40, batch), 0);  // shuffled row numbers
        ad_source source = data_source(moons, 0, batch);                          // nothing is copied
        ad_var x = ad_input(rows, ad_shape1(2), &source);
        ad_var loss = ad_keep(ad_neg(ad_mean_rows(flow_log_prob(model, x, AD_NONE))));
        if (ad_backward(loss) != AD_OK) return wrong(ad_tape_message(tape));
        if (step % 100 == 0) printf("step %3d: %.3f nats\n", step, ad_value(loss));
        if (optim_update(adam, ad_tape_engine(tape), 2e-3, NULL, &error) != AD_OK) return wrong(error.message);
    }
    if (flow_save(model, "first_flow.safetensors", &error) != AD_OK) return wrong(error.message);
    return ad_tape_free(tape), optim_free(adam), flow_model_free(model), data_table_free(moons), 0;
}
