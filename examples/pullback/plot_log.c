// plot_log.c -- the losses of a log that 'pullback fit --log' wrote.
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../columns.h"
#include "tool.h"

enum { TRAIN, VALIDATION };

// Pairs (step, loss), as two arrays in one block.
typedef struct growing {
    double *v;
    int64_t n, room;
} growing;

static bool add(growing *g, double step, double loss) {
    if (g->n == g->room) {
        const int64_t room = g->room ? 2 * g->room : 1024;
        double *v = malloc(2 * (size_t)room * sizeof *v);
        if (!v) return false;
        if (g->n) memcpy(v, g->v, (size_t)g->n * sizeof *v), memcpy(v + room, g->v + g->room, (size_t)g->n * sizeof *v);
        free(g->v);
        g->v = v, g->room = room;
    }
    g->v[g->n] = step, g->v[g->room + g->n++] = loss;
    return true;
}

// A run that went on from a checkpoint may have logged steps twice: the later ones count.
static void forget_from(growing *g, double step) {
    while (g->n && g->v[g->n - 1] >= step) g->n--;
}

static bool take(growing g[2], const json_t *line) {
    const json_t *step = json_object_get(line, "step"),
                 *loss[2] = {json_object_get(line, "loss"), json_object_get(line, "validation")};
    bool ok = true;
    if (!json_is_number(step)) return true;  // a header
    for (int i = 0; i < 2; i++) {
        forget_from(&g[i], json_number_value(step));
        if (json_is_number(loss[i])) ok = ok && add(&g[i], json_number_value(step), json_number_value(loss[i]));
    }
    return ok;
}

static ad_status read_log(const char *file, growing g[2], ad_error *error) {
    FILE *from = fopen(file, "r");
    if (!from) return ad_fail(error, AD_EIO, "%s: cannot be read", file);
    char *text = NULL;
    size_t size = 0;
    ad_status status = AD_OK;
    for (int64_t number = 1; status == AD_OK && getline(&text, &size, from) != -1; number++) {
        json_t *line = json_loads(text, 0, NULL);
        if (!line && strchr(text, '\n')) {  // else it is being written
            status = ad_fail(error, AD_EFORMAT, "%s:%lld: not a line of JSON", file, (long long)number);
        }
        if (line && !take(g, line)) status = ad_fail(error, AD_ENOMEM, "out of memory");
        json_decref(line);
    }
    free(text);
    fclose(from);
    if (status == AD_OK && g[TRAIN].n + g[VALIDATION].n == 0)
        status = ad_fail(error, AD_EFORMAT, "%s: there is no line with \"step\" and \"loss\"", file);
    return status;
}

ad_status tool_plot_log(const char *log, const char *picture, ad_error *error) {
    growing g[2] = {{0}};
    loss_curve curve[2] = {{0}};
    ad_status status = read_log(log, g, error);
    for (int i = 0; i < 2; i++) {
        if (g[i].n) curve[i] = (loss_curve){g[i].v, g[i].v + g[i].room, g[i].n};
    }
    const char *wrong = status == AD_OK ? columns_draw_losses(picture, &curve[TRAIN], &curve[VALIDATION]) : NULL;
    if (wrong) status = ad_fail(error, AD_EIO, "%s: cannot write the picture: %s", picture, wrong);
    free(g[TRAIN].v), free(g[VALIDATION].v);
    return status;
}
