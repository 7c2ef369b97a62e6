// softmax.c -- logsumexp, softmax, log_softmax.
#include "family.h"

AD_FAMILY(softmax) = {NULL};
