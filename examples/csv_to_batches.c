// csv_to_batches.c -- from a text table to batches: columns chosen, rows split, a flow trained on them. Its table is
// one that it writes itself, or the one named: of columns temperature, pressure, season (0, 1, ...), and others.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data.h"
#include "flows.h"
#include "optim.h"

static int wrong(const char *message) {
    return fprintf(stderr, "csv_to_batches: %s\n", message), 1;
}

// 5,000 days: each season has a temperature of its own, and pressure falls as it rises. Some thermometers fail.
static const char *write_table(void) {
    const data_density *noise = data_find_density("gaussian");
    FILE *file = fopen("days.csv", "w");
    if (file == NULL) return "days.csv";
    fprintf(file, "day,\"station\",temperature,pressure,season\n");
    for (int day = 0; day < 5000; day++) {
        double n[2];
        noise->sample(1, 7, day, n);
        int season = day / 91 % 4;
        double temperature = 5 + 8 * (season % 3) + 3 * n[0], pressure = 1013 - temperature / 2 + 8 * n[1];
        fprintf(file, "%d,\"N, %d\",", day, day % 3);
        if (day % 97 != 0) fprintf(file, "%.2f", temperature);
        fprintf(file, ",%.1f,%d\n", pressure, season);
    }
    return fclose(file) == 0 ? "days.csv" : "";
}

// Mean log-density of some rows.
static double score(const flow_model *model, flow_rows rows, const int64_t *index, int64_t n) {
    double mean = 0;
    rows.index = index;
    rows.n = n;
    return optim_mean_log_prob(model, &rows, 0, NULL, &mean, NULL, NULL) == AD_OK ? mean : 0;
}

int main(int argc, char **argv) {
    ad_error error = {0};
    if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
        printf("Usage: %s [TABLE]\nTrains a flow on columns temperature and pressure, given season.\n", argv[0]);
        return argc != 2 || strcmp(argv[1], "--help") != 0;
    }
    // Three columns by name, those that hold text left unread; a row with an empty field is left out.
    const char *const columns[] = {"temperature", "pressure", "season"};
    data_csv_options csv = {.columns = columns, .n_columns = 3, .missing = DATA_MISSING_DROP};
    data_table *table = data_read_csv(argc > 1 ? argv[1] : write_table(), &csv, &error);
    if (table == NULL) return wrong(error.message);
    // A tenth each for validation and test, by a hash of the row's number: the same when rows are added.
    data_split *split = data_split_new(table->rows, 0.1, 0.1, 1, &error);
    // Two features; the season becomes a context, one-hot.
    data_set set;
    data_set_parts parts = {.x = {{table, 0, 2}}, .labels = {table, 2, 1}};
    if (split == NULL || data_set_make(&set, &parts, &error) != AD_OK) return wrong(error.message);
    printf("%lld rows: %lld to train on, %lld for validation; %lld features, context of %lld\n", (long long)set.rows,
           (long long)split->n_train, (long long)split->n_valid, (long long)set.features, (long long)set.context);

    flow_model *model = flow_realnvp(set.features, set.context, NULL, &error);
    data_table *context = data_set_table(&set, DATA_CONTEXT, AD_F32, &error);
    if (model == NULL || context == NULL) return wrong(error.message);
    // Means and deviations of training rows alone.
    flow_rows rows = {.x = data_source(table, 0, NULL), .context = data_source(context, 0, NULL)}, train = rows;
    train.index = split->train;
    train.n = split->n_train;
    if (flow_init_from_data(model, &train, &error) != AD_OK) return wrong(error.message);

    // Batches of 200 in a new order each epoch, assembled ahead by a thread. (All that follows is what optim_fit does.)
    data_batches batches = {.count = split->n_train, .size = 200, .seed = 1, .index = split->train, .drop_last = true};
    data_loader *loader = data_loader_new(&set, &batches, NULL, &error);
    int n;
    ad_param *const *params = flow_params(model, &n);
    optim_optimizer *adam = optim_new(params, n, NULL, &error);
    ad_tape *tape = ad_tape_new(NULL, AD_F32);
    if (loader == NULL || adam == NULL || tape == NULL) return wrong(error.message);
    for (int step = 0; step < 400; step++) {
        const data_loaded *batch = data_loader_next(loader, &error);
        if (batch == NULL) return wrong(error.message);
        ad_tape_reset(tape);
        ad_rows set_of_rows = ad_rows_new(tape, "data");
        ad_rows_set(set_of_rows, batch->n, 0);
        ad_var x = ad_input(set_of_rows, ad_shape1(set.features), &batch->x);
        ad_var season = ad_input(set_of_rows, ad_shape1(set.context), &batch->context);
        ad_var loss = ad_neg(ad_mean_rows(flow_log_prob(model, x, season)));
        if (ad_backward(loss) != AD_OK) return wrong(ad_tape_message(tape));
        if (optim_update(adam, ad_tape_engine(tape), 2e-3, NULL, &error) != AD_OK) return wrong(error.message);
        if (step % 100 == 99) {
            printf("epoch %lld: validation %.3f nats\n", (long long)batch->epoch,
                   -score(model, rows, split->valid, split->n_valid));
        }
    }
    data_loader_free(loader);
    optim_free(adam);
    ad_tape_free(tape);
    flow_model_free(model);
    data_table_free(context);
    data_split_free(split);
    data_table_free(table);
    return 0;
}
