// check_op.c -- every check of an op, over its tests.
#include "op.h"
