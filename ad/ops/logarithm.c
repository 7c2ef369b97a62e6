// logarithm.c -- log1p, log2, log1mexp, log_add_exp, log_sigmoid, logit, softplus_inverse.
#include "family.h"

AD_FAMILY(logarithm) = {NULL};
