// sweep_double.c -- the references with double in place of long double: ten times as fast, and exact enough for f32.
#define REFERENCE_REAL double
#include <math.h>
#include <string.h>

#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wconversion"  // constants stay long double
#pragma GCC diagnostic ignored "-Wfloat-conversion"
#pragma GCC diagnostic ignored "-Wabsolute-value"
#endif
#define acoshl acosh
#define acosl acos
#define asinhl asinh
#define asinl asin
#define atan2l atan2
#define atanhl atanh
#define atanl atan
#define ceill ceil
#define copysignl copysign
#define coshl cosh
#define cosl cos
#define erfcl erfc
#define erfl erf
#define exp2l exp2
#define expl exp
#define expm1l expm1
#define fabsl fabs
#define floorl floor
#define fmal fma
#define fmaxl fmax
#define fminl fmin
#define hypotl hypot
#define lgammal lgamma
#define log1pl log1p
#define log2l log2
#define logl log
#define powl pow
#define rintl rint
#define roundl round
#define sinhl sinh
#define sinl sin
#define sqrtl sqrt
#define tanhl tanh
#define tanl tan

#include "references.h"
#include "sweep.h"

sweep_function sweep_reference(const char *name) {
    for (int i = 0; i < REFERENCES; i++)
        if (!strcmp(references[i].name, name)) return references[i].f;
    return NULL;
}
