// reference.h -- what a reference of an elementwise op is: its value in long double, exact to far below an ulp of a
// double.
#ifndef PULLBACK_TESTS_REFERENCE_H
#define PULLBACK_TESTS_REFERENCE_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

#ifndef REFERENCE_REAL
#define REFERENCE_REAL long double
#endif
typedef REFERENCE_REAL real;

typedef struct reference {
    const char *name;  // of the op
    int n;             // operands
    real (*f)(real a, real b, real c);
    const void *attr;                     // of every call
    bool (*domain)(real a, real b, real c);  // where the op promises its bound; NULL: everywhere
} reference;

#define REFERENCE(name, expression)                        \
    static real name##_reference(real a, real b, real c) { \
        (void)a, (void)b, (void)c;                         \
        return expression;                                 \
    }
#define ROW(n, name) \
    { #name, n, name##_reference, NULL, NULL }
#define ATTR_ROW(n, name, attr) \
    { #name, n, name##_reference, attr, NULL }
#define DOMAIN_ROW(n, name, domain) \
    { #name, n, name##_reference, NULL, domain }
#define ATTR_DOMAIN_ROW(n, name, attr, domain) \
    { #name, n, name##_reference, attr, domain }

#endif
