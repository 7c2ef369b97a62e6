// rearrange.c -- shapes made of views and places.
#include "op.h"
