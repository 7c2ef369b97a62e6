// files.h -- for tests of files: a directory of their own, bytes in and out.
#ifndef PULLBACK_TESTS_FILES_H
#define PULLBACK_TESTS_FILES_H

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data.h"
#include "util.h"

// A new directory, made by files_setup and removed with what is in it by files_teardown.
static char files_dir[200];

static inline int files_setup(void **state) {
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(files_dir, sizeof files_dir, "%.150s/pullback-test-XXXXXX", base ? base : "/tmp");
    return mkdtemp(files_dir) == NULL;
}

static inline const char *files_path(const char *name) {
    static char path[500];
    snprintf(path, sizeof path, "%s/%s", files_dir, name);
    return path;
}

// Number of entries in the directory.
static inline int files_count(void) {
    int n = 0;
    DIR *list = opendir(files_dir);
    for (struct dirent *entry; (entry = readdir(list)) != NULL;)
        n += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
    closedir(list);
    return n;
}

static inline int files_empty(void **state) {
    (void)state;
    DIR *list = opendir(files_dir);
    for (struct dirent *entry; list && (entry = readdir(list)) != NULL;) {
        if (remove(files_path(entry->d_name)) != 0) continue;
    }
    if (list) closedir(list);
    return 0;
}

static inline int files_teardown(void **state) {
    files_empty(state);
    return rmdir(files_dir);
}

// Writes the bytes under the name and returns the path.
static inline const char *files_write(const char *name, const void *bytes, size_t size) {
    const char *path = files_path(name);
    remove(path);  // ext4 writes a file out at once when it was cut to nothing before: 13,000 times takes a minute
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    return path;
}

// The file's bytes, to be freed.
static inline unsigned char *files_read(const char *path, size_t *size) {
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    *size = (size_t)info.st_size;
    unsigned char *bytes = malloc(*size + 1);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

// A file of tests/data; NULL when the test does not run where it was compiled.
static inline const char *files_fixture(const char *name) {
    static char path[600];
    const char *slash = strrchr(__FILE__, '/');
    int size = slash == NULL ? 0 : (int)(slash - __FILE__ + 1);
    snprintf(path, sizeof path, "%.*sdata/%s", size, __FILE__, name);
    return access(path, R_OK) == 0 ? path : NULL;
}

#endif
