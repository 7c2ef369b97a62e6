// targets.h -- what is fuzzed: one entry for each reader of files.
#ifndef PULLBACK_FUZZ_TARGETS_H
#define PULLBACK_FUZZ_TARGETS_H

#include <stddef.h>

typedef struct fuzz_target {
    const char *name;  // its corpus is the folder of that name
    void (*run)(const unsigned char *bytes, size_t size);
} fuzz_target;

extern const fuzz_target fuzz_targets[];  // ended by one without a name
const fuzz_target *fuzz_find(const char *name);

#endif
