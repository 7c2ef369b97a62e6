// scan.c -- prod, cumsum, cumprod.
#include "family.h"

AD_FAMILY(scan) = {NULL};
