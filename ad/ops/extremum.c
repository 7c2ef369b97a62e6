// extremum.c -- largest and smallest along axes and over rows.
#include "family.h"

AD_FAMILY(extremum) = {NULL};
