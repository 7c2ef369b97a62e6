// replay.c -- runs every target over its corpus, with any compiler: replay CORPUS
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "targets.h"

static int run_file(const fuzz_target *target, const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) return 1;
    long size = ftell(file);
    rewind(file);
    unsigned char *bytes = size < 0 ? NULL : malloc((size_t)size + 1);
    int failed = bytes == NULL || fread(bytes, 1, (size_t)size, file) != (size_t)size;
    fclose(file);
    if (!failed) target->run(bytes, (size_t)size);
    free(bytes);
    return failed;
}

// Number of files, or -1.
static int run_folder(const fuzz_target *target, const char *folder) {
    DIR *dir = opendir(folder);
    int n = 0;
    for (struct dirent *entry; dir != NULL && n >= 0 && (entry = readdir(dir)) != NULL;) {
        char path[1100];
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        n = run_file(target, path) ? -1 : n + 1;
    }
    if (dir != NULL) closedir(dir);
    return n;
}

int main(int argc, char **argv) {
    int wrong = argc != 2;
    for (const fuzz_target *t = fuzz_targets; argc == 2 && t->name != NULL; t++) {
        char folder[800];
        snprintf(folder, sizeof folder, "%s/%s", argv[1], t->name);
        int n = run_folder(t, folder);
        printf("%s: %d files\n", t->name, n);
        wrong |= n < 1;
    }
    return wrong;
}
