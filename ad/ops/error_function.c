// error_function.c -- erf, erfc, erfinv, normal_cdf, normal_log_cdf, normal_quantile.
#include "family.h"

AD_FAMILY(error_function) = {NULL};
