// settings.h -- what two_moons is asked to do.
#ifndef EXAMPLES_SETTINGS_H
#define EXAMPLES_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "ad.h"

typedef struct settings {
    const char *data, *load, *model, *picture, *scores;  // files; NULL: not asked for
    int64_t points, test_points, layers, width, steps, batch, seed, threads;
    double lr;
    bool json, quiet;
} settings;

// From the command line; does not return when that is wrong (options.h).
settings settings_read(int argc, char **argv);
// AD_EIO when a file to be written cannot be: better known before training than after.
ad_status settings_check(const settings *s, ad_error *error);

#endif
