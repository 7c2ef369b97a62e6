// test_checkpoint.c -- runs that are stopped and go on, bit for bit; files that are damaged, of another run, or cannot
// be written.
//
//     test_checkpoint run PATH STEPS        trains to STEPS, saving every 7 steps, and prints a digest of the parameters
//     test_checkpoint save PATH old|new     the same to step 14 or 21, without the digest
//     test_checkpoint check PATH            says "old" or "new": that the newest whole file is of step 14 or 21, bit for bit
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "data.h"
#include "files.h"
#include "optim.h"
#include "util.h"

static ad_error error;

static void assert_status_ok(ad_status status) {
    if (status != AD_OK) fail_msg("%s", error.message);
}

// A loop of one's own, as the header shows it.
typedef struct run {
    data_table *table;
    flow_model *model;
    optim_optimizer *adam;
    optim_average *average;
    optim_checkpoint *checkpoint;
    ad_tape *tape;
    double best[2];
    int64_t seen;
} run;

static void run_open(run *r, const char *path, int width, const char *data) {
    *r = (run){.best = {INFINITY, NAN}};
    r->table = data_density_table(data_find_density("moons"), AD_F32, 500, 1, &error);
    const flow_realnvp_options options = {.layers = 2, .mlp = {.width = width, .seed = 1}};
    r->model = flow_realnvp(2, 0, &options, &error);
    int n;
    ad_param *const *params = flow_params(r->model, &n);
    r->adam = optim_new(params, n, &(optim_options){.amsgrad = true}, &error);
    r->average = optim_average_new(params, n, 0.9, &error);
    r->tape = ad_tape_new(NULL, AD_F32);
    r->checkpoint = optim_checkpoint_new(path, 2, &error);
    optim_checkpoint_model(r->checkpoint, "model", r->model);
    optim_checkpoint_optimizer(r->checkpoint, "adam", r->adam);
    optim_checkpoint_average(r->checkpoint, "average", r->average);
    optim_checkpoint_tensor(r->checkpoint, "best", AD_F64, 2, r->best);
    optim_checkpoint_count(r->checkpoint, "seen", &r->seen);
    optim_checkpoint_identity(r->checkpoint, "data", data);
}

static void run_free(run *r) {
    optim_checkpoint_free(r->checkpoint);
    optim_average_free(r->average);
    optim_free(r->adam);
    ad_tape_free(r->tape);
    flow_model_free(r->model);
    data_table_free(r->table);
}

static ad_status run_step(run *r, int64_t step) {
    int64_t index[50];
    data_batches batches = {.count = 500, .size = 50, .seed = 3};
    int64_t n = data_batch(&batches, step / 10, step % 10, index);
    ad_source x = data_source(r->table, 0, NULL);
    x.index = index;
    ad_tape_reset(r->tape);
    ad_rows rows = ad_rows_new(r->tape, "data");
    ad_rows_set(rows, n, 0);
    ad_var loss = ad_keep(ad_neg(ad_mean_rows(flow_log_prob(r->model, ad_input(rows, ad_shape1(2), &x), AD_NONE))));
    if (ad_backward(loss)) return ad_fail(&error, AD_EARG, "%s", ad_tape_message(r->tape));
    if (ad_value(loss) < r->best[0]) r->best[0] = ad_value(loss);
    r->seen += n;
    ad_status status = optim_update(r->adam, NULL, 1e-3, NULL, &error);
    optim_average_update(r->average);
    return status;
}

// From where the files say to steps, saving every 7.
static ad_status run_to(run *r, int64_t steps) {
    int64_t step;
    ad_status status = optim_checkpoint_load(r->checkpoint, &step, &error);
    for (step = step < 0 ? 0 : step; step < steps && status == AD_OK;) {
        status = run_step(r, step);
        if (status == AD_OK && ++step % 7 == 0) status = optim_checkpoint_save(r->checkpoint, step, &error);
    }
    return status;
}

// Of all a run is.
static uint64_t digest(const run *r) {
    int n;
    ad_param *const *params = flow_params(r->model, &n);
    uint64_t sum = XXH3_64bits(r->best, sizeof r->best) ^ (uint64_t)r->seen;
    for (int turn = 0; turn < 2; turn++) {  // the weights, then their average
        for (int i = 0; i < n; i++) {
            sum = sum * 31 + XXH3_64bits(params[i]->data, (size_t)params[i]->count * ad_type_size(params[i]->type));
        }
        optim_average_swap(r->average);
    }
    return sum;
}

static int count_files(const char *start) {
    DIR *list = opendir(files_dir);
    int n = 0;
    for (struct dirent *e; (e = readdir(list)) != NULL;) n += strncmp(e->d_name, start, strlen(start)) == 0;
    closedir(list);
    return n;
}

static void a_run_goes_on_bit_for_bit(void **state) {
    (void)state;
    const char *folder = files_dir;
    char path[300];
    snprintf(path, sizeof path, "%s/straight", folder);
    run straight;
    run_open(&straight, path, 8, "moons");
    assert_status_ok(run_to(&straight, 40));
    for (int stop = 7; stop < 40; stop += 11) {
        snprintf(path, sizeof path, "%s/stopped%d", folder, stop);
        run first, second;
        run_open(&first, path, 8, "moons");
        run_open(&second, path, 8, "moons");
        assert_status_ok(run_to(&first, stop));
        assert_status_ok(run_to(&second, 40));
        assert_true(digest(&second) == digest(&straight));
        assert_int_equal(optim_steps(second.adam), 40);
        run_free(&first);
        run_free(&second);
    }
    run_free(&straight);
}

static void the_newest_are_kept(void **state) {
    (void)state;
    run r;
    run_open(&r, files_path("kept"), 4, "moons");
    assert_status_ok(run_to(&r, 40));
    assert_int_equal(count_files("kept."), 2);
    assert_int_equal(access(files_path("kept.000000000035.safetensors"), R_OK), 0);
    run_free(&r);
}

// Each byte of the newest file in turn would take long: some of them, its truncation, and its absence.
static void a_damaged_file_is_passed_over(void **state) {
    (void)state;
    char path[300], name[360], before[360];
    snprintf(path, sizeof path, "%s/damaged", files_dir);
    run r;
    run_open(&r, path, 4, "moons");
    assert_status_ok(run_to(&r, 15));
    run_free(&r);
    snprintf(name, sizeof name, "%s.000000000014.safetensors", path);
    snprintf(before, sizeof before, "%s.000000000007.safetensors", path);
    struct stat info;
    assert_int_equal(stat(name, &info), 0);
    for (int i = 0; i < 40; i++) {
        off_t at = (off_t)(info.st_size * i / 40);
        FILE *file = fopen(name, "r+b");
        fseek(file, at, SEEK_SET);
        int c = fgetc(file);
        fseek(file, at, SEEK_SET);
        fputc(c ^ (1 << i % 8), file);
        fclose(file);
        run_open(&r, path, 4, "moons");
        int64_t step;
        assert_status_ok(optim_checkpoint_load(r.checkpoint, &step, &error));
        assert_int_equal(step, 7);
        util_assert_contains(optim_checkpoint_note(r.checkpoint), "000000000014");
        run_free(&r);
        file = fopen(name, "r+b");
        fseek(file, at, SEEK_SET);
        fputc(c, file);
        fclose(file);
    }
    assert_int_equal(truncate(before, 100), 0);
    assert_int_equal(truncate(name, info.st_size - 1), 0);
    run_open(&r, path, 4, "moons");
    int64_t step;
    uint64_t sum = digest(&r);
    assert_int_equal(optim_checkpoint_load(r.checkpoint, &step, &error), AD_EIO);
    util_assert_contains(error.message, "none of 2 checkpoints can be read");
    assert_int_equal(step, -1);
    assert_true(digest(&r) == sum);
    run_free(&r);
}

static void another_run_is_told_apart(void **state) {
    (void)state;
    char path[300];
    snprintf(path, sizeof path, "%s/other", files_dir);
    run r;
    run_open(&r, path, 4, "moons");
    assert_status_ok(run_to(&r, 8));
    run_free(&r);
    int64_t step;
    const struct {
        int width;
        const char *data, *text;
    } others[] = {{4, "spirals", "its data is \"moons\", here it is \"spirals\""},
                  {5, "moons", "its model/description is "}};
    for (int i = 0; i < 2; i++) {
        run_open(&r, path, others[i].width, others[i].data);
        uint64_t sum = digest(&r);
        assert_int_equal(optim_checkpoint_load(r.checkpoint, &step, &error), AD_EFORMAT);
        util_assert_contains(error.message, others[i].text);
        assert_true(digest(&r) == sum);
        run_free(&r);
    }
    run_open(&r, path, 4, "moons");
    optim_checkpoint_count(r.checkpoint, "more", &step);
    assert_int_equal(optim_checkpoint_load(r.checkpoint, &step, &error), AD_EFORMAT);
    util_assert_contains(error.message, "number 'more' is missing");
    run_free(&r);
}

static void a_save_that_fails_leaves_the_old_files(void **state) {
    (void)state;
    char path[300], gone[340];
    snprintf(path, sizeof path, "%s/full", files_dir);
    assert_int_equal(mkdir(path, 0777), 0);
    snprintf(gone, sizeof gone, "%s/run", path);
    run r;
    run_open(&r, gone, 4, "moons");
    int64_t step;
    assert_status_ok(optim_checkpoint_load(r.checkpoint, &step, &error));
    assert_int_equal(step, -1);
    assert_int_equal(optim_checkpoint_save(r.checkpoint, -1, &error), AD_EARG);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(optim_checkpoint_save(r.checkpoint, 1, &error), AD_EIO);
    assert_int_equal(optim_checkpoint_load(r.checkpoint, &step, &error), AD_EIO);
    util_assert_contains(error.message, "cannot be listed");
    run_free(&r);
    assert_null(optim_checkpoint_new("", 2, &error));
    assert_null(optim_checkpoint_new("folder/", 2, &error));
    util_assert_contains(error.message, "expected the start of file names");
}

// For the test that kills it: trains on where the files say.
static int train(const char *path, int64_t steps) {
    run r;
    run_open(&r, path, 8, "moons");
    ad_status status = run_to(&r, steps);
    if (status == AD_OK) printf("%016llx\n", (unsigned long long)digest(&r));
    if (status != AD_OK) fprintf(stderr, "%s\n", error.message);
    run_free(&r);
    return status != AD_OK;
}

// For the test that kills saves.
enum { OLD = 14, NEW = 21 };
static int save_once(const char *path, int64_t steps) {
    run r;
    run_open(&r, path, 8, "moons");
    ad_status status = run_to(&r, steps);
    if (status != AD_OK) fprintf(stderr, "%s\n", error.message);
    run_free(&r);
    return status != AD_OK;
}

static int check_once(const char *path) {
    run found, straight;
    int64_t step = -1;
    run_open(&found, path, 8, "moons");
    run_open(&straight, path, 8, "moons");
    ad_status status = optim_checkpoint_load(found.checkpoint, &step, &error);
    for (int64_t i = 0; i < step && status == AD_OK; i++) status = run_step(&straight, i);
    const bool same = status == AD_OK && digest(&found) == digest(&straight);
    if (same && (step == OLD || step == NEW)) {
        puts(step == NEW ? "new" : "old");
    } else {
        printf("step %lld, %s\n", (long long)step, status != AD_OK ? error.message : same ? "whole" : "of other bits");
    }
    run_free(&found);
    run_free(&straight);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "run") == 0) return train(argv[2], atoll(argv[3]));
    if (argc == 4 && strcmp(argv[1], "save") == 0) return save_once(argv[2], strcmp(argv[3], "new") == 0 ? NEW : OLD);
    if (argc == 3 && strcmp(argv[1], "check") == 0) return check_once(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_goes_on_bit_for_bit),
        cmocka_unit_test(the_newest_are_kept),
        cmocka_unit_test(a_damaged_file_is_passed_over),
        cmocka_unit_test(another_run_is_told_apart),
        cmocka_unit_test(a_save_that_fails_leaves_the_old_files),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
