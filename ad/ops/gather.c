// gather.c -- elements by numbers that are values: take_along, put_along, embedding, one_hot.
#include "family.h"

AD_FAMILY(gather) = {NULL};
