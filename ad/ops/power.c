// power.c -- rsqrt, pow, power.
#include "family.h"

AD_FAMILY(power) = {NULL};
