// small_matrix.c -- small square matrices, one per row and lane.
#include "family.h"

AD_FAMILY(small_matrix) = {NULL};
