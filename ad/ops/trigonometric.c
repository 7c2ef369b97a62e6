// trigonometric.c -- sin, cos, tan, asin, acos, atan, atan2.
#include "family.h"

AD_FAMILY(trigonometric) = {NULL};
