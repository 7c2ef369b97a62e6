// log.c -- metrics of a run as JSON lines: a header that says what runs, then a line for each thing worth keeping.
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "version.h"

struct optim_log {
    FILE *file;
    char *path;
};

optim_log *optim_log_open(const char *path, bool append, ad_error *error) {
    optim_log *log = calloc(1, sizeof *log);
    if (log) log->path = strdup(path);
    if (!log || !log->path) {
        free(log);
        ad_fail(error, AD_ENOMEM, "log: out of memory");
        return NULL;
    }
    log->file = fopen(path, append ? "ae" : "we");
    if (log->file) return log;
    ad_fail(error, AD_EIO, "%s: cannot be written: %s", path, strerror(errno));
    optim_log_close(log);
    return NULL;
}

void optim_log_close(optim_log *log) {
    if (!log) return;
    if (log->file) fclose(log->file);
    free(log->path);
    free(log);
}

ad_status optim_log_line(optim_log *log, const char *json, ad_error *error) {
    errno = 0;
    bool ok = fputs(json, log->file) >= 0 && fputc('\n', log->file) != EOF && fflush(log->file) == 0;
    if (ok) return AD_OK;
    clearerr(log->file);
    return ad_fail(error, AD_EIO, "%s: cannot be written: %s", log->path, strerror(errno));
}

static ad_status put(optim_log *log, json_t *line, ad_error *error) {
    char *text = line ? json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(line);
    ad_status status = text ? optim_log_line(log, text, error) : ad_fail(error, AD_ENOMEM, "log: out of memory");
    free(text);
    return status;
}

// JSON has no NaN.
static json_t *number(double v) {
    return isfinite(v) ? json_real(v) : json_null();
}

ad_status optim_log_header(optim_log *log, const optim_log_info *info, ad_error *error) {
    return put(log,
               json_pack("{s:s, s:s, s:I, s:I, s:s, s:i, s:s, s:s*}", "pullback", PULLBACK_VERSION, "run", info->run,
                         "seed", (json_int_t)info->seed, "params", (json_int_t)info->params, "cpu", ad_cpu_name(),
                         "threads", info->threads, "data", info->data ? info->data : "", "model", info->model),
               error);
}

ad_status optim_log_progress(optim_log *log, const optim_progress *p, ad_error *error) {
    json_t *line = json_pack("{s:I, s:o, s:o, s:o, s:o, s:o}", "step", (json_int_t)p->step, "loss", number(p->loss),
                             "grad_norm", number(p->grad_norm), "lr", number(p->lr), "rows_per_second",
                             number(p->rows_per_second), "seconds", number(p->seconds));
    if (line && p->validated) json_object_set_new(line, "validation", number(p->validation));
    if (line && p->trouble) json_object_set_new(line, "trouble", json_string(p->trouble));
    return put(log, line, error);
}
