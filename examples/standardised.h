// standardised.h -- rows of a file to fit a density to.
#ifndef EXAMPLES_STANDARDISED_H
#define EXAMPLES_STANDARDISED_H

#include "data.h"

// The rows of array "X" of an .npz whose "y" is 0, each feature with mean 0 and standard deviation 1; NULL on error.
data_table *standardised_normals(const char *file, ad_error *error);

#endif
