// plot.c -- pullback plot: what a model has learnt beside a table, and how its loss fell.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../columns.h"
#include "../estimate.h"
#include "../options.h"
#include "../output.h"
#include "../plot.h"
#include "tool.h"

enum { NX = 240, NY = 200, CELLS = 100, PAIR_DOTS = 4000 };

typedef struct asked {
    const char *model, *data, *out, *kind, *show, *log;
    tool_columns columns;
    int64_t draws, seed, threads;
    bool quiet;
} asked;

// What is drawn: columns chosen of the model's, of the table's rows and of draws.
typedef struct shown {
    flow_model *model;
    ad_engine *engine;
    tool_rows rows;                   // x NULL: no table
    char **all;                       // names of the model's columns; NULL: none known
    const char *names[COLUMNS_MOST];  // of those chosen
    char numbered[COLUMNS_MOST][32];
    int64_t column[COLUMNS_MOST], D;  // D: of the model
    int k;                            // chosen
    corner_set data, draws;           // x owned
    char texts[2][64];
} shown;

// ---- what to draw ------------------------------------------------------------------------------------------------

static ad_status choose(const asked *a, shown *s, int most, ad_error *error) {
    int64_t n, wanted;
    s->all = tool_split(flow_note(s->model, TOOL_TARGET), &n);
    if (n != s->D) free(s->all), s->all = NULL;
    char **names = tool_split(a->show, &wanted);
    if (!a->show) wanted = s->D < most ? s->D : most;
    ad_status status = AD_OK;
    if (wanted > most) status = ad_fail(error, AD_EARG, "--columns: at most %d columns stay legible", most);
    for (int64_t i = 0; i < wanted && status == AD_OK; i++) {
        int64_t c = names ? 0 : i;
        char *end = NULL;
        for (; names && s->all && c < s->D && strcmp(s->all[c], names[i]); c++) continue;
        if (names && (!s->all || c == s->D)) c = strtoll(names[i], &end, 10);
        if (c < 0 || c >= s->D || (end && (end == names[i] || *end))) {
            status = ad_fail(error, AD_EARG, "--columns: the model has no column '%s'", names[i]);
            break;
        }
        const char *name = s->all ? s->all[c] : "";
        snprintf(s->numbered[i], sizeof s->numbered[i], "column %lld", (long long)c);
        s->names[i] = strspn(name, "0123456789") == strlen(name) ? s->numbered[i] : name;
        s->column[i] = c;
        for (int64_t k = 0; k < i && status == AD_OK; k++) {
            if (s->column[k] == c) status = ad_fail(error, AD_EARG, "--columns: '%s' is asked for twice", names[i]);
        }
    }
    s->k = (int)wanted;
    free(names);
    return status;
}

// The chosen columns of rows that are finite.
static ad_status pick(shown *s, const data_table *table, corner_set *set, ad_error *error) {
    double *x = malloc((size_t)(table->rows * s->k) * sizeof *x);
    if (!x) return ad_fail(error, AD_ENOMEM, "out of memory for points");
    int64_t n = 0;
    for (int64_t r = 0; r < table->rows; r++) {
        bool finite = true;
        for (int i = 0; i < s->k; i++) {
            x[n * s->k + i] = data_get(table, r, s->column[i]);
            finite = finite && isfinite(x[n * s->k + i]);
        }
        n += finite;
    }
    set->x = x, set->n = n;
    return n ? AD_OK : ad_fail(error, AD_ENONFINITE, "no draw of the model is finite");
}

static ad_status draw_samples(const asked *a, shown *s, ad_error *error) {
    data_table *draws = data_table_new(DATA_F64, a->draws, s->D, error);
    ad_status status = draws ? AD_OK : error->status;
    if (status == AD_OK) status = tool_draw(s->model, s->engine, s->rows.context, (uint64_t)a->seed, draws, error);
    if (status == AD_OK) status = pick(s, draws, &s->draws, error);
    data_table_free(draws);
    return status;
}

static ad_status gather(asked *a, shown *s, int most, ad_error *error) {
    s->D = ad_shape_count(flow_model_shape(s->model));
    const bool given = flow_model_context(s->model) > 0;
    if (given && !*a->data)
        return ad_fail(error, AD_EARG, "the model takes a context (%s): DATA is to hold its columns",
                       a->columns.context ? a->columns.context : "unnamed");
    ad_status status = *a->data ? tool_read(a->data, &a->columns, AD_F64, &s->rows, error) : AD_OK;
    if (status == AD_OK && *a->data) status = tool_fits(s->model, &s->rows, error);
    if (status == AD_OK) status = choose(a, s, most, error);
    if (status == AD_OK && s->rows.x) status = pick(s, s->rows.x, &s->data, error);
    if (status == AD_OK) status = draw_samples(a, s, error);
    snprintf(s->texts[0], sizeof s->texts[0], "data, %lld rows", (long long)s->data.n);
    snprintf(s->texts[1], sizeof s->texts[1], given ? "model, given the rows' contexts" : "model");
    s->data.name = s->texts[0], s->draws.name = s->texts[1];
    if (status == AD_OK && !a->quiet && !a->show && s->k < s->D)
        fprintf(stderr, "the first %d of %lld columns; --columns chooses others\n", s->k, (long long)s->D);
    return status;
}

// ---- pictures ----------------------------------------------------------------------------------------------------

// Log-densities of points [n][D] of a model without context.
static ad_status exact(const shown *s, double *points, int64_t n, double *log_p, ad_error *error) {
    data_table table = {.type = DATA_F64, .rows = n, .columns = s->D, .values = points};
    const tool_rows rows = {.x = &table};
    return tool_score(s->model, s->engine, &rows, log_p, error);
}

static const char *columns(const asked *a, const shown *s, ad_error *error) {
    const corner_set *data = s->data.n ? &s->data : NULL, *all = data ? data : &s->draws;
    const bool one = s->D == 1 && !flow_model_context(s->model);
    double at[COLUMNS_FINE], curve[COLUMNS_FINE];
    plot_range x = estimate_range(all->x, all->n, 1, 0.995);
    for (int i = 0; i < COLUMNS_FINE; i++) at[i] = x.low + (i + 0.5) / COLUMNS_FINE * (x.high - x.low);
    if (one && exact(s, at, COLUMNS_FINE, curve, error) != AD_OK) return "";
    for (int i = 0; i < COLUMNS_FINE && one; i++) curve[i] = exp(curve[i]);
    return columns_draw(a->out, s->names, s->k, data, &s->draws, one ? curve : NULL);
}

// log densities of the pair on a grid: the model's own when these are all its columns, else of its draws.
static ad_status pair_density(const shown *s, plot_range x, plot_range y, double *log_p, int *nx, int *ny,
                              ad_error *error) {
    if (s->D != 2 || flow_model_context(s->model)) {
        *nx = *ny = CELLS;
        if (!estimate_2d(s->draws.x, s->draws.x + 1, s->draws.n, 2, x, y, CELLS, 1.8, log_p))
            return ad_fail(error, AD_ENOMEM, "out of memory for a picture");
        for (int i = 0; i < CELLS * CELLS; i++) log_p[i] = log(log_p[i]);
        return AD_OK;
    }
    double *points = malloc(NX * NY * 2 * sizeof *points);
    if (!points) return ad_fail(error, AD_ENOMEM, "out of memory for a picture");
    *nx = NX, *ny = NY;
    for (int i = 0; i < NX * NY; i++) {
        points[2 * i + s->column[0]] = x.low + (i % NX + 0.5) / NX * (x.high - x.low);
        points[2 * i + s->column[1]] = y.low + ((double)(i / NX) + 0.5) / NY * (y.high - y.low);
    }
    ad_status status = exact(s, points, NX * NY, log_p, error);
    free(points);
    return status;
}

static const char *pair(const asked *a, const shown *s, ad_error *error) {
    const corner_set *data = s->data.n ? &s->data : NULL, *all = data ? data : &s->draws;
    const int64_t seen = data && data->n < s->draws.n ? data->n : s->draws.n,
                  dots = seen < PAIR_DOTS ? seen : PAIR_DOTS;
    static double spread[PAIR_DOTS][2];  // over all rows, should they be in some order
    if (s->k != 2) return ad_fail(error, AD_EARG, "a pair is of two columns: --columns A,B"), "";
    plot_range x = estimate_range(all->x, all->n, 2, 0.999), y = estimate_range(all->x + 1, all->n, 2, 0.999);
    int nx = 0, ny = 0, at = 0;
    double *log_p = malloc(NX * NY * sizeof *log_p), high = -INFINITY;
    plot *p = log_p ? plot_new(data ? 3 : 2, x, y) : NULL;
    if (!p) return free(log_p), "out of memory";
    ad_status status = pair_density(s, x, y, log_p, &nx, &ny, error);
    if (status != AD_OK) return plot_save(p, NULL), free(log_p), "";
    for (int i = 0; i < nx * ny; i++) high = fmax(high, log_p[i]);
    plot_name_axes(p, s->names[0], s->names[1]);
    for (int64_t i = 0; data && i < dots; i++) memcpy(spread[i], data->x + 2 * (i * data->n / dots), sizeof *spread);
    if (data) plot_points(p, at++, "data", *spread, (size_t)dots);
    plot_points(p, at++, "samples", s->draws.x, (size_t)dots);
    plot_heat(p, at, "density", log_p, nx, ny, (plot_range){ceil(high) - 8, ceil(high)}, "log density (nats)");
    free(log_p);
    return plot_save(p, a->out);
}

static ad_status draw(asked *a, ad_error *error) {
    shown s = {.model = tool_load(a->model, &a->columns, error)};
    if (!s.model) return error->status;
    const bool single = ad_shape_count(flow_model_shape(s.model)) == 1;
    const char *kind = a->kind ? a->kind : single ? "columns" : "corner";
    const int most = strcmp(kind, "pair") == 0 ? 2 : strcmp(kind, "corner") == 0 ? CORNER_MOST : COLUMNS_MOST;
    s.engine = ad_engine_new(&(ad_engine_options){.threads = (int)a->threads}, error);
    ad_status status = s.engine ? gather(a, &s, most, error) : error->status;
    const corner_set *data = s.data.n ? &s.data : NULL;
    const char *wrong = status != AD_OK                    ? NULL
                        : *kind == 'p'                     ? pair(a, &s, error)
                        : most == COLUMNS_MOST || s.k == 1 ? columns(a, &s, error)
                                                           : corner_draw(a->out, s.names, s.k, data, &s.draws);
    if (wrong && *wrong) ad_fail(error, AD_EIO, "%s: cannot write the picture: %s", a->out, wrong);
    if (wrong) status = error->status;
    free((void *)s.data.x), free((void *)s.draws.x), free(s.all);
    tool_rows_free(&s.rows);
    ad_engine_free(s.engine);
    flow_model_free(s.model);
    return status;
}

// ---- the command -------------------------------------------------------------------------------------------------

static ad_status work(asked *a, ad_error *error) {
    static const char *const kinds[] = {"corner", "columns", "pair"};
    bool known = !a->kind;
    for (int i = 0; i < 3 && !known; i++) known = strcmp(a->kind, kinds[i]) == 0;
    if (!known) return ad_fail(error, AD_EARG, "--kind: corner, columns or pair, not '%s'", a->kind);
    if (!a->log == !*a->model) return ad_fail(error, AD_EARG, "give a MODEL, or a log with --log");
    ad_status status = output_check(a->out, error);
    if (status != AD_OK) return status;
    return a->log ? tool_plot_log(a->log, a->out, error) : draw(a, error);
}

static asked request = {.model = "", .data = "", .out = "plot.png", .draws = 50000, .seed = 1};
static const option_row options[] = {
    {"MODEL", NULL, "a file of 'pullback fit'", OPTION_ARGUMENT, &request.model, 0, 0},
    {"DATA", NULL, "table to show beside it: .csv, .tsv, .npy, .npz, ...", OPTION_ARGUMENT, &request.data, 0, 0},
    {"out", "FILE", "the picture: .png, .svg or .pdf", OPTION_TEXT, &request.out, 0, 0},
    {"kind", "KIND", "corner: all pairs; columns: each alone; pair: two, and their density; else as suits", OPTION_TEXT,
     &request.kind, 0, 0},
    {"columns", "A,B", "columns shown, by name or number from 0; else the first", OPTION_TEXT, &request.show, 0, 0},
    {"log", "FILE", "instead: the losses of a log of 'pullback fit --log'", OPTION_TEXT, &request.log, 0, 0},
    {"target", "A,B", "columns of DATA; else those that the model was fitted to", OPTION_TEXT, &request.columns.target,
     0, 0},
    {"context", "C,D", "columns that it is given; else as it was fitted", OPTION_TEXT, &request.columns.context, 0, 0},
    {"array", "NAME", "which array of an .npz", OPTION_TEXT, &request.columns.array, 0, 0},
    {"drop-missing", NULL, "leave out rows with missing fields, else they are an error", OPTION_FLAG,
     &request.columns.drop, 0, 0},
    {"draws", "N", "rows to draw from the model", OPTION_COUNT, &request.draws, 100, 1e7},
    {"seed", "N", "of the draws", OPTION_COUNT, &request.seed, 0, 1e15},
    {"threads", "N", "threads to compute with; 0: all there are", OPTION_COUNT, &request.threads, 0, 256},
    {"quiet", NULL, "no remarks on standard error", OPTION_FLAG, &request.quiet, 0, 0},
};

static int run(void) {
    ad_error error = {0};
    return work(&request, &error) == AD_OK ? 0 : tool_fail(&tool_plot, &error);
}

const tool_command tool_plot = {"plot",
                                "pictures of a model beside a table, or of its losses",
                                "Draws a model beside a table, or the losses of a fit.",
                                options,
                                sizeof options / sizeof *options,
                                run};
