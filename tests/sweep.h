// sweep.h -- the references in double, for sweep.c.
#ifndef PULLBACK_TESTS_SWEEP_H
#define PULLBACK_TESTS_SWEEP_H

typedef double (*sweep_function)(double a, double b, double c);

// The reference of that name, a few ulp of a double off; NULL where there is none.
sweep_function sweep_reference(const char *name);

#endif
