// util.h -- what the engine's tests share: cmocka, random numbers, tapes, inputs and comparisons.
#ifndef PULLBACK_TESTS_UTIL_H
#define PULLBACK_TESTS_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ad.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UTIL_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UTIL_SANITIZED 1
#endif
#endif
#ifndef UTIL_SANITIZED
#define UTIL_SANITIZED 0
#endif

// Uniform numbers in (low, high), the same in every run (splitmix64).
static inline double util_uniform(uint64_t *seed, double low, double high) {
    uint64_t z = *seed += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return low + (high - low) * (((double)(z >> 11) + 0.5) / 9007199254740992.0);
}

static inline void util_fill(double *x, int64_t n, uint64_t seed, double low, double high) {
    for (int64_t i = 0; i < n; i++) x[i] = util_uniform(&seed, low, high);
}

// Packed rows of doubles as a source.
static inline ad_source util_source(const double *data, int64_t rows) {
    ad_source source = {data, AD_F64, rows, 0, NULL};
    return source;
}

static inline ad_rows util_rows(ad_tape *tape, const char *name, int64_t count) {
    ad_rows rows = ad_rows_new(tape, name);
    ad_rows_set(rows, count, 0);
    return rows;
}

static inline ad_param *util_param(const char *name, ad_type type, ad_shape shape, uint64_t seed) {
    ad_param *param = ad_param_new(name, type, shape, NULL);
    assert_non_null(param);
    for (int64_t i = 0; i < param->count; i++) ad_param_set(param, i, util_uniform(&seed, -1, 1));
    return param;
}

static inline void util_assert_ok(ad_tape *tape) {
    if (ad_tape_status(tape) != AD_OK) fail_msg("%s", ad_tape_message(tape));
}

static inline void util_run(ad_tape *tape) {
    if (ad_run(tape) != AD_OK) fail_msg("%s", ad_tape_message(tape));
}

static inline void util_read(ad_var v, double *out, int64_t n) {
    if (ad_read(v, out, n) != AD_OK) fail_msg("%s", v.tape ? ad_tape_message(v.tape) : "inert handle");
}

// |a - b| <= tolerance * max(1, |b|); NaN is never close.
static inline bool util_close(double a, double b, double tolerance) {
    return a == b || fabs(a - b) <= tolerance * fmax(1, fabs(b));  // infinities, too
}

#define util_assert_close(a, b, tolerance) util_assert_close_at(a, b, tolerance, 0, __FILE__, __LINE__)
static inline void util_assert_close_at(double a, double b, double tolerance, int64_t i, const char *file, int line) {
    if (util_close(a, b, tolerance)) return;
    print_error("%s:%d: element %lld: %.17g is not %.17g to %g\n", file, line, (long long)i, a, b, tolerance);
    _fail(file, line);
}

#define util_assert_all_close(a, b, n, tolerance)    \
    for (int64_t util_i = 0; util_i < (n); util_i++) \
    util_assert_close_at((a)[util_i], (b)[util_i], tolerance, util_i, __FILE__, __LINE__)

#define util_assert_contains(text, part) util_assert_contains_at(text, part, __FILE__, __LINE__)
static inline void util_assert_contains_at(const char *text, const char *part, const char *file, int line) {
    if (text && strstr(text, part)) return;
    print_error("%s:%d: \"%s\" is not in:\n%s\n", file, line, part, text ? text : "(null)");
    _fail(file, line);
}

#endif
