// rounding.c -- abs, sign, floor, ceil, round, maximum, minimum, clamp.
#include "family.h"

AD_FAMILY(rounding) = {NULL};
