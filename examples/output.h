// output.h -- files to be written.
#ifndef EXAMPLES_OUTPUT_H
#define EXAMPLES_OUTPUT_H

#include "ad.h"

// AD_EIO when a file cannot be written: better known before a long computation than after.
ad_status output_check(const char *file, ad_error *error);

#endif
