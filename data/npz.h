// npz.h -- what reading and writing .npz share.
#ifndef PULLBACK_DATA_NPZ_H
#define PULLBACK_DATA_NPZ_H

#include <zip.h>

#include "internal.h"

#define DATA_NPZ_ENDING ".npy"  // of the members that are arrays

// Whether a member may be called that: 1 to 256 bytes of UTF-8 without control characters or backslashes, neither an
// absolute path nor one with "..". Nothing is ever extracted under such a name; a file that has one is up to no good.
bool data_zip_name_ok(const char *name);
// Fails with what libzip says.
ad_status data_fail_zip(ad_error *error, const char *path, const char *action, zip_error_t *why);

#endif
