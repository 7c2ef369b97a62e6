// matmul.c -- products of matrices, shared and per row.
#include "family.h"

AD_FAMILY(matmul) = {NULL};
