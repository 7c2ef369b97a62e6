// checkpoint.c -- the state of a training run in files that survive being killed: generations of whole files, newest
// first.
//
// A file is a safetensors file with a digest, written beside its name and renamed (data_save_tensors). Loading reads
// and checks everything before it changes anything.
#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data.h"
#include "internal.h"

#define KEY "optim_checkpoint"
#define SUFFIX ".safetensors"
enum { VERSION = 1, DIGITS = 12, MOST_FILES = 10000 };

typedef enum kind { TENSOR, COUNT, IDENTITY } kind;
typedef struct entry {
    kind kind;
    char *name;
    ad_type type;   // of a tensor
    int64_t count;  // of its elements
    void *data;     // a tensor's elements, or an int64_t
    char *text;     // of an identity
} entry;

struct optim_checkpoint {
    char *folder, *base;
    int keep;
    entry *entries;
    int n, room;
    bool failed;  // no memory for an entry
    char note[sizeof((ad_error *)0)->message];
};

// ---- what goes in -------------------------------------------------------------------------------------------------

optim_checkpoint *optim_checkpoint_new(const char *path, int keep, ad_error *error) {
    const char *slash = path ? strrchr(path, '/') : NULL, *base = slash ? slash + 1 : path;
    if (!path || !*base || keep < 0 || keep > MOST_FILES / 2) {
        ad_fail(error, AD_EARG, "checkpoint: path \"%s\", %d to keep; expected the start of file names, and 0 to %d",
                path ? path : "", keep, MOST_FILES / 2);
        return NULL;
    }
    optim_checkpoint *c = calloc(1, sizeof *c);
    if (c) {
        c->folder = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
        c->base = strdup(base);
        c->keep = keep < 2 ? 2 : keep;
    }
    if (c && c->folder && c->base) return c;
    optim_checkpoint_free(c);
    ad_fail(error, AD_ENOMEM, "checkpoint: out of memory");
    return NULL;
}

void optim_checkpoint_free(optim_checkpoint *c) {
    if (!c) return;
    for (int i = 0; i < c->n; i++) {
        free(c->entries[i].name);
        free(c->entries[i].text);
    }
    free(c->entries);
    free(c->folder);
    free(c->base);
    free(c);
}

static void add(optim_checkpoint *c, entry e, const char *name) {
    if (c->n == c->room) {
        int room = c->room ? 2 * c->room : 32;
        entry *more = realloc(c->entries, (size_t)room * sizeof *more);
        if (more) c->entries = more, c->room = room;
    }
    e.name = c->n < c->room ? strdup(name) : NULL;
    if (!e.name || (e.kind == IDENTITY && !e.text)) {
        c->failed = true;
        free(e.name);
        free(e.text);
        return;
    }
    c->entries[c->n++] = e;
}

void optim_checkpoint_tensor(optim_checkpoint *c, const char *name, ad_type type, int64_t count, void *data) {
    add(c, (entry){.kind = TENSOR, .type = type, .count = count, .data = data}, name);
}
void optim_checkpoint_count(optim_checkpoint *c, const char *name, int64_t *value) {
    add(c, (entry){.kind = COUNT, .data = value}, name);
}
void optim_checkpoint_identity(optim_checkpoint *c, const char *name, const char *text) {
    add(c, (entry){.kind = IDENTITY, .text = strdup(text)}, name);
}

// "of/name" in a new text, or NULL.
static char *under(const char *of, const char *name) {
    size_t size = strlen(of) + strlen(name) + 2;
    char *text = malloc(size);
    if (text) snprintf(text, size, "%s/%s", of, name);
    return text;
}

static void add_under(optim_checkpoint *c, const char *of, const char *name, ad_type type, int64_t count, void *data) {
    char *full = under(of, name);
    if (full) optim_checkpoint_tensor(c, full, type, count, data);
    c->failed = c->failed || !full;
    free(full);
}

void optim_checkpoint_model(optim_checkpoint *c, const char *name, const flow_model *model) {
    int n;
    const flow_tensor *t = flow_tensors(model, &n);
    for (int i = 0; i < n; i++) {
        if (t[i].param) {
            add_under(c, name, t[i].name, t[i].param->type, t[i].param->count, t[i].param->data);
        } else {
            add_under(c, name, t[i].name, t[i].state->type, t[i].state->count, t[i].state->data);
        }
    }
    char *description = flow_describe(model), *full = under(name, "description");
    if (description && full) optim_checkpoint_identity(c, full, description);
    c->failed = c->failed || !description || !full;
    free(description);
    free(full);
}

void optim_checkpoint_optimizer(optim_checkpoint *c, const char *name, optim_optimizer *optimizer) {
    char part[32];
    optim_kept kept;
    for (int i = 0; optim_kept_of(optimizer, i, &kept); i++) {
        snprintf(part, sizeof part, "kept%d", i);
        add_under(c, name, part, kept.type, kept.count, kept.data);
    }
    char *full = under(name, "steps"), *method = under(name, "method");
    if (full && method) {
        optim_checkpoint_count(c, full, optim_steps_of(optimizer));
        optim_checkpoint_identity(c, method, optim_name(optimizer));
    }
    c->failed = c->failed || !full || !method;
    free(full);
    free(method);
}

void optim_checkpoint_average(optim_checkpoint *c, const char *name, optim_average *average) {
    char part[32];
    optim_kept kept;
    for (int i = 0; optim_average_kept(average, i, &kept); i++) {
        snprintf(part, sizeof part, "average%d", i);
        add_under(c, name, part, kept.type, kept.count, kept.data);
    }
    char *full = under(name, "updates");
    if (full) optim_checkpoint_count(c, full, optim_average_updates(average));
    c->failed = c->failed || !full;
    free(full);
}

// ---- in memory ----------------------------------------------------------------------------------------------------

static size_t bytes_of(const entry *e) {
    return e->kind == TENSOR ? (size_t)e->count * ad_type_size(e->type) : e->kind == COUNT ? sizeof(int64_t) : 0;
}

size_t optim_checkpoint_bytes(const optim_checkpoint *c) {
    size_t bytes = 0;
    for (int i = 0; i < c->n; i++) bytes += bytes_of(&c->entries[i]);
    return bytes;
}

void optim_checkpoint_copy(const optim_checkpoint *c, char *bytes, bool back) {
    for (int i = 0; i < c->n; i++) {
        const entry *e = &c->entries[i];
        size_t n = bytes_of(e);
        if (n > 0) memcpy(back ? e->data : bytes, back ? bytes : e->data, n);
        bytes += n;
    }
}

// ---- files on disk ------------------------------------------------------------------------------------------------

static char *file_name(const optim_checkpoint *c, int64_t step) {
    size_t size = strlen(c->folder) + strlen(c->base) + 64;
    char *name = malloc(size);
    if (name) snprintf(name, size, "%s/%s.%0*lld" SUFFIX, c->folder, c->base, DIGITS, (long long)step);
    return name;
}

// The step of a file of ours; -1: not one.
static int64_t step_of(const optim_checkpoint *c, const char *file) {
    size_t base = strlen(c->base);
    if (strncmp(file, c->base, base) != 0 || file[base] != '.') return -1;
    int64_t step = 0;
    int digits = 0;
    const char *at = file + base + 1;
    for (; *at >= '0' && *at <= '9' && digits < 18; at++, digits++) step = 10 * step + (*at - '0');
    return digits >= DIGITS && strcmp(at, SUFFIX) == 0 ? step : -1;
}

static int descending(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

// Steps of the files there are, newest first; *steps is the caller's to free. -1 on error.
static int list(const optim_checkpoint *c, int64_t **steps, ad_error *error) {
    *steps = NULL;
    DIR *folder = opendir(c->folder);
    if (!folder) {
        ad_fail(error, AD_EIO, "%s: cannot be listed: %s", c->folder, strerror(errno));
        return -1;
    }
    int n = 0;
    int64_t *found = malloc(MOST_FILES * sizeof *found);
    for (struct dirent *e; found && n < MOST_FILES && (e = readdir(folder)) != NULL;) {
        int64_t step = step_of(c, e->d_name);
        if (step >= 0) found[n++] = step;
    }
    closedir(folder);
    if (!found) {
        ad_fail(error, AD_ENOMEM, "checkpoint: out of memory");
        return -1;
    }
    qsort(found, (size_t)n, sizeof *found, descending);
    *steps = found;
    return n;
}

// Older generations than those to keep. What cannot be removed stays.
static void prune(const optim_checkpoint *c, int64_t newest) {
    int64_t *steps;
    int n = list(c, &steps, NULL), kept = 0;
    for (int i = 0; i < n; i++) {
        if (steps[i] > newest || ++kept <= c->keep) continue;
        char *name = file_name(c, steps[i]);
        if (name) unlink(name);
        free(name);
    }
    free(steps);
}

// ---- saving -------------------------------------------------------------------------------------------------------

static char *to_json(const optim_checkpoint *c, int64_t step) {
    json_t *counts = json_object(), *identity = json_object();
    int bad = 0;
    for (int i = 0; i < c->n; i++) {
        const entry *e = &c->entries[i];
        if (e->kind == COUNT) bad |= json_object_set_new(counts, e->name, json_integer(*(const int64_t *)e->data));
        if (e->kind == IDENTITY) bad |= json_object_set_new(identity, e->name, json_string(e->text));
    }
    json_t *all = json_pack("{s:i, s:I, s:o, s:o}", "version", VERSION, "step", (json_int_t)step, "counts", counts,
                            "identity", identity);
    char *text = all && !bad ? json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(all);
    return text;
}

static ad_status fail_memory(ad_error *error) {
    return ad_fail(error, AD_ENOMEM, "checkpoint: out of memory");
}

ad_status optim_checkpoint_save(optim_checkpoint *c, int64_t step, ad_error *error) {
    if (step < 0) return ad_fail(error, AD_EARG, "checkpoint: step %lld", (long long)step);
    if (c->failed) return fail_memory(error);
    data_tensor *tensors = calloc((size_t)c->n + 1, sizeof *tensors);
    char *text = to_json(c, step), *name = file_name(c, step);
    ad_status status = AD_ENOMEM;
    int64_t n = 0;
    if (tensors && text && name) {
        for (int i = 0; i < c->n; i++) {
            const entry *e = &c->entries[i];
            if (e->kind == TENSOR) tensors[n++] = (data_tensor){e->name, e->type, ad_shape1(e->count), e->data};
        }
        data_meta meta = {KEY, text};
        data_tensors all = {.tensor = tensors, .n = n, .meta = &meta, .n_meta = 1};
        status = data_save_tensors(name, &all, error);
        if (status == AD_OK) prune(c, step);
    } else {
        fail_memory(error);
    }
    free(tensors);
    free(text);
    free(name);
    return status;
}

// ---- loading ------------------------------------------------------------------------------------------------------

// Every entry is in the file, of its size and identity.
static ad_status match(const optim_checkpoint *c, const char *name, const data_tensors *file, const json_t *json,
                       ad_error *error) {
    const json_t *counts = json_object_get(json, "counts"), *identity = json_object_get(json, "identity");
    for (int i = 0; i < c->n; i++) {  // what the run is first: it explains the rest
        const entry *e = &c->entries[i];
        if (e->kind != IDENTITY) continue;
        const char *text = json_string_value(json_object_get(identity, e->name));
        if (text && strcmp(text, e->text) == 0) continue;
        return ad_fail(error, AD_EFORMAT,
                       "%s: is of another run: its %s is \"%.200s\", here it is \"%.200s\". Remove the files or choose "
                       "another path",
                       name, e->name, text ? text : "", e->text);
    }
    int64_t n = 0;
    for (int i = 0; i < c->n; i++) {
        const entry *e = &c->entries[i];
        n += e->kind == TENSOR;
        if (e->kind == COUNT && !json_is_integer(json_object_get(counts, e->name))) {
            return ad_fail(error, AD_EFORMAT, "%s: number '%s' is missing", name, e->name);
        }
        if (e->kind != TENSOR) continue;
        const data_tensor *t = data_find_tensor(file, e->name);
        if (!t) return ad_fail(error, AD_EFORMAT, "%s: tensor '%s' is missing", name, e->name);
        if (t->type == e->type && t->shape.rank == 1 && t->shape.dim[0] == e->count) continue;
        return ad_fail(error, AD_EFORMAT, "%s: tensor '%s' has %lld elements of %s, expected %lld of %s", name, e->name,
                       (long long)ad_shape_count(t->shape), t->type == AD_F64 ? "f64" : "f32", (long long)e->count,
                       e->type == AD_F64 ? "f64" : "f32");
    }
    if (n == file->n) return AD_OK;
    return ad_fail(error, AD_EFORMAT, "%s: %lld tensors, expected %lld", name, (long long)file->n, (long long)n);
}

static void take(const optim_checkpoint *c, const data_tensors *file, const json_t *json) {
    const json_t *counts = json_object_get(json, "counts");
    for (int i = 0; i < c->n; i++) {
        const entry *e = &c->entries[i];
        if (e->kind == COUNT) *(int64_t *)e->data = json_integer_value(json_object_get(counts, e->name));
        if (e->kind != TENSOR || e->count == 0) continue;
        memcpy(e->data, data_find_tensor(file, e->name)->data, (size_t)e->count * ad_type_size(e->type));
    }
}

// AD_EIO: the file is damaged or gone, and an older one may do. Any other error is the caller's to see.
static ad_status load(const optim_checkpoint *c, int64_t step, ad_error *error) {
    char *name = file_name(c, step);
    if (!name) return fail_memory(error);
    ad_error why = {0};
    data_tensors *file = data_load_tensors(name, &why);
    const char *text = file ? data_find_meta(file, KEY) : NULL;
    json_t *json = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    ad_status status = AD_OK;
    if (!file) {
        status = ad_fail(error, why.status == AD_ENOMEM ? AD_ENOMEM : AD_EIO, "%s", why.message);
    } else if (!json || json_integer_value(json_object_get(json, "version")) != VERSION) {
        status = ad_fail(error, AD_EFORMAT, "%s: not a checkpoint of version %d", name, VERSION);
    } else {
        status = match(c, name, file, json, error);
    }
    if (status == AD_OK) take(c, file, json);
    json_decref(json);
    data_tensors_free(file);
    free(name);
    return status;
}

ad_status optim_checkpoint_load(optim_checkpoint *c, int64_t *step, ad_error *error) {
    *step = -1;
    *c->note = '\0';
    if (c->failed) return fail_memory(error);
    int64_t *steps;
    int n = list(c, &steps, error);
    ad_status status = n < 0 ? AD_EIO : AD_OK;
    ad_error why = {0};
    for (int i = 0; i < n; i++) {
        status = load(c, steps[i], &why);
        if (status == AD_OK) *step = steps[i];
        if (status != AD_EIO) break;
        if (!*c->note) memcpy(c->note, why.message, sizeof c->note);
    }
    if (n > 0 && status != AD_OK) {
        if (status == AD_EIO) ad_fail(error, status, "none of %d checkpoints can be read; the newest: %s", n, c->note);
        if (status != AD_EIO) ad_fail(error, status, "%s", why.message);
    }
    free(steps);
    return status;
}

const char *optim_checkpoint_note(const optim_checkpoint *c) {
    return *c->note ? c->note : NULL;
}
