// gamma.c -- lgamma, digamma, polygamma.
#include "family.h"

AD_FAMILY(gamma) = {NULL};
