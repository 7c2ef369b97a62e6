// sort.c -- sort, argsort, searchsorted.
#include "family.h"

AD_FAMILY(sort) = {NULL};
