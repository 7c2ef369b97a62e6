// loader.c -- batches assembled in order, by a thread of its own ahead of the one that uses them.
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "internal.h"

enum { ALIGNMENT = 64, DEFAULT_AHEAD = 2, MOST_AHEAD = 1024 };

typedef struct slot {
    data_loaded batch;
    int64_t *rows;
    void *part[3];  // by data_part; NULL where the set has none
    ad_error error;
} slot;

// Batch number k since the start is in slot k % slots. The thread writes slots from made on, the user has the one
// before taken: a slot belongs to one of them at a time, and changes hands under the lock.
struct data_loader {
    data_set set;
    data_batches batches;
    ad_type type;
    int64_t per_epoch, epoch, batch;  // epoch and batch: the next one to assemble
    slot *slot;
    int slots;
    data_loaded current;

    bool threaded;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t made, taken;  // under the lock
    bool stop;            // under the lock
};

// ---- a batch --------------------------------------------------------------------------------------------------------

static ad_source packed(const data_loader *l, const slot *s, data_part part, int64_t n) {
    size_t stride = (size_t)data_set_width(&l->set, part) * ad_type_size(l->type);
    return (ad_source){s->part[part], l->type, s->part[part] == NULL ? 0 : n, stride, NULL};
}

// Assembles the next batch.
static void assemble(data_loader *l, slot *s) {
    s->error.status = AD_OK;
    int64_t n = data_batch(&l->batches, l->epoch, l->batch, s->rows);
    for (int part = 0; part < 3 && s->error.status == AD_OK; part++) {
        if (s->part[part] == NULL) continue;
        data_set_gather(&l->set, (data_part)part, s->rows, n, l->type, s->part[part], &s->error);
    }
    s->batch = (data_loaded){l->epoch,
                             l->batch,
                             n,
                             s->rows,
                             packed(l, s, DATA_X, n),
                             packed(l, s, DATA_CONTEXT, n),
                             packed(l, s, DATA_WEIGHT, n)};
    if (++l->batch < l->per_epoch) return;
    l->batch = 0;
    l->epoch++;
}

// ---- the thread -----------------------------------------------------------------------------------------------------

// One slot is the user's, so the thread may be slots - 1 ahead.
static bool may_make(const data_loader *l) {
    return l->made < l->taken + l->slots - 1;
}

static void *run(void *arg) {
    data_loader *l = arg;
    bool failed = false;
    pthread_mutex_lock(&l->lock);
    while (!l->stop && !failed) {
        if (!may_make(l)) {
            pthread_cond_wait(&l->changed, &l->lock);
            continue;
        }
        slot *s = &l->slot[l->made % l->slots];
        pthread_mutex_unlock(&l->lock);
        assemble(l, s);
        failed = s->error.status != AD_OK;
        pthread_mutex_lock(&l->lock);
        l->made++;
        pthread_cond_signal(&l->changed);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

// Signals are for the program's own threads.
static bool start(data_loader *l) {
    sigset_t all, before;
    sigfillset(&all);
    if (pthread_mutex_init(&l->lock, NULL) != 0) return false;
    if (pthread_cond_init(&l->changed, NULL) != 0) {
        pthread_mutex_destroy(&l->lock);
        return false;
    }
    pthread_sigmask(SIG_SETMASK, &all, &before);
    l->threaded = pthread_create(&l->thread, NULL, run, l) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (l->threaded) return true;
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    return false;
}

static void join(data_loader *l) {
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
}

// ---- made and used --------------------------------------------------------------------------------------------------

static bool allocate_slot(const data_loader *l, slot *s) {
    uint64_t bytes;
    bool rows_fit = data_mul((uint64_t)l->batches.size, sizeof *s->rows, &bytes) && bytes <= SIZE_MAX / 2;
    s->rows = rows_fit ? malloc((size_t)bytes) : NULL;
    if (s->rows == NULL) return false;
    for (int part = 0; part < 3; part++) {
        uint64_t width = (uint64_t)data_set_width(&l->set, (data_part)part);
        if (width == 0) continue;
        bool fits = data_mul(width, ad_type_size(l->type), &bytes) &&
                    data_mul(bytes, (uint64_t)l->batches.size, &bytes) && bytes <= SIZE_MAX / 2;
        if (!fits || posix_memalign(&s->part[part], ALIGNMENT, (size_t)bytes) != 0) {
            s->part[part] = NULL;
            return false;
        }
    }
    return true;
}

static ad_status check(const data_set *set, const data_batches *b, const data_loader_options *o, ad_error *error) {
    int64_t per_epoch = data_batch_count(b);
    bool ok = per_epoch > 0 && o->epoch >= 0 && o->batch >= 0 && o->batch < per_epoch && o->ahead <= MOST_AHEAD &&
              (b->index != NULL || b->count <= set->rows) && (o->type == AD_F32 || o->type == AD_F64);
    if (ok) return AD_OK;
    return ad_fail(
        error, AD_EARG,
        "loader: batches of %lld from %lld rows of %lld: %lld an epoch, from batch %lld of epoch %lld on, %d "
        "ahead: one is out of range",
        (long long)b->size, (long long)b->count, (long long)set->rows, (long long)per_epoch, (long long)o->batch,
        (long long)o->epoch, o->ahead);
}

data_loader *data_loader_new(const data_set *set, const data_batches *batches, const data_loader_options *options,
                             ad_error *error) {
    static const data_loader_options defaults = {0};
    const data_loader_options *o = options == NULL ? &defaults : options;
    if (check(set, batches, o, error) != AD_OK) return NULL;
    int slots = o->ahead < 0 ? 1 : (o->ahead == 0 ? DEFAULT_AHEAD : o->ahead) + 1;
    data_loader *l = calloc(1, sizeof *l);
    slot *list = calloc((size_t)slots, sizeof *list);
    if (l == NULL || list == NULL) {
        free(l);
        free(list);
        ad_fail(error, AD_ENOMEM, "out of memory for a loader");
        return NULL;
    }
    *l = (data_loader){.set = *set, .batches = *batches, .type = o->type, .epoch = o->epoch, .batch = o->batch};
    l->slot = list;
    l->slots = slots;
    l->per_epoch = data_batch_count(batches);
    if (l->batches.size > l->batches.count) l->batches.size = l->batches.count;
    bool ok = true;
    for (int i = 0; i < slots && ok; i++) ok = allocate_slot(l, &list[i]);
    if (ok && (slots == 1 || start(l))) return l;
    ad_fail(error, AD_ENOMEM, "out of memory for %d batches of %lld rows, or no thread to be had", slots,
            (long long)l->batches.size);
    data_loader_free(l);
    return NULL;
}

// The slot of the next batch. After a failure it stays the one that failed.
static slot *take(data_loader *l) {
    slot *last = l->taken > 0 ? &l->slot[(l->taken - 1) % l->slots] : NULL;
    if (last != NULL && last->error.status != AD_OK) return last;
    if (!l->threaded) {
        assemble(l, &l->slot[0]);
        l->taken++;
        return &l->slot[0];
    }
    pthread_mutex_lock(&l->lock);
    slot *s = &l->slot[l->taken++ % l->slots];
    pthread_cond_signal(&l->changed);
    while (l->made < l->taken) pthread_cond_wait(&l->changed, &l->lock);
    pthread_mutex_unlock(&l->lock);
    return s;
}

const data_loaded *data_loader_next(data_loader *l, ad_error *error) {
    const slot *s = take(l);
    if (s->error.status != AD_OK) {
        ad_fail(error, s->error.status, "epoch %lld, batch %lld: %s", (long long)s->batch.epoch,
                (long long)s->batch.batch, s->error.message);
        return NULL;
    }
    l->current = s->batch;
    return &l->current;
}

void data_loader_free(data_loader *l) {
    if (l == NULL) return;
    if (l->threaded) join(l);
    for (int i = 0; i < l->slots; i++) {
        free(l->slot[i].rows);
        for (int part = 0; part < 3; part++) free(l->slot[i].part[part]);
    }
    free(l->slot);
    free(l);
}
