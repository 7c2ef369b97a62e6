// fuzz.c -- libFuzzer's entry: FUZZ_TARGET in the environment says which reader it drives.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "targets.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const fuzz_target *target;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    const char *name = getenv("FUZZ_TARGET");
    target = name == NULL ? NULL : fuzz_find(name);
    if (target != NULL) return 0;
    fprintf(stderr, "set FUZZ_TARGET to one of:");
    for (const fuzz_target *t = fuzz_targets; t->name != NULL; t++) fprintf(stderr, " %s", t->name);
    fprintf(stderr, "\n");
    exit(2);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    target->run(bytes, size);
    return 0;
}
