// solve.c -- roots and fixed points with implicit gradients.
#include "op.h"
