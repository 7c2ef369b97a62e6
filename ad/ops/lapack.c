// lapack.c -- factorisations of shared matrices.
#include "family.h"

AD_FAMILY(lapack) = {NULL};
