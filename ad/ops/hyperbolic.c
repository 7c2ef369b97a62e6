// hyperbolic.c -- sinh, cosh, asinh, acosh, atanh.
#include "family.h"

AD_FAMILY(hyperbolic) = {NULL};
