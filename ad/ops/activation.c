// activation.c -- leaky_relu, elu, celu, selu, gelu, silu, softsign.
#include "family.h"

AD_FAMILY(activation) = {NULL};
