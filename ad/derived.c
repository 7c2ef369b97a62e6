// derived.c -- Jacobians, Hessian products, traces.
#include "op.h"
