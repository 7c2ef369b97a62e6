// number.c -- decimal text to double, correctly rounded, whatever the locale.
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

// A longer number is not one that a program wrote.
enum { LONGEST = 512 };

typedef struct decimal {
    bool negative, exact;  // exact: digits holds all of them
    uint64_t digits;
    int64_t exponent;  // value = digits * 10^exponent
} decimal;

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

// Digits into d; returns how many there were. scale is -1 after the point.
static int64_t read_digits(const char **at, const char *end, decimal *d, int scale) {
    const char *start = *at;
    for (; *at < end && is_digit(**at); ++*at) {
        if (d->digits > (UINT64_MAX - 9) / 10) d->exact = false;
        if (!d->exact) continue;
        d->digits = d->digits * 10 + (uint64_t)(**at - '0');
        d->exponent += scale;
    }
    return *at - start;
}

static bool read_exponent(const char **at, const char *end, decimal *d) {
    if (*at == end || (**at != 'e' && **at != 'E')) return true;
    ++*at;
    bool negative = *at < end && **at == '-';
    if (*at < end && (**at == '-' || **at == '+')) ++*at;
    const char *start = *at;
    int64_t value = 0;
    for (; *at < end && is_digit(**at); ++*at) {
        if (value < 100000) value = value * 10 + (**at - '0');
    }
    d->exponent += negative ? -value : value;
    return *at > start;
}

static bool read_decimal(const char *text, const char *end, decimal *d) {
    int64_t n = read_digits(&text, end, d, 0);
    if (text < end && *text == '.') {
        ++text;
        n += read_digits(&text, end, d, -1);
    }
    return n > 0 && read_exponent(&text, end, d) && text == end;
}

// nan, inf or infinity in any case.
static bool read_special(const char *text, size_t size, double *value) {
    static const char *const names[] = {"nan", "inf", "infinity"};
    for (int i = 0; i < 3; i++) {
        size_t k = 0;
        while (k < size && names[i][k] != '\0' && (text[k] | 0x20) == names[i][k]) k++;
        if (k < size || names[i][k] != '\0') continue;
        *value = i == 0 ? NAN : INFINITY;
        return true;
    }
    return false;
}

// Both numbers and the result exact or rounded once (Clinger 1990): short numbers need no more.
static bool quick(const decimal *d, double *value) {
    static const double power[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (FLT_EVAL_METHOD != 0 || !d->exact || d->digits > (UINT64_C(1) << 53)) return false;
    if (d->exponent < -22 || d->exponent > 22) return false;
    double x = (double)d->digits;
    *value = d->exponent < 0 ? x / power[-d->exponent] : x * power[d->exponent];
    return true;
}

static bool slow(const char *text, size_t size, double *value) {
    char copy[LONGEST + 1];
    memcpy(copy, text, size);
    copy[size] = '\0';
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (c == (locale_t)0) return false;
    *value = strtod_l(copy, NULL, c);
    freelocale(c);
    return true;
}

data_number data_parse_number(const char *text, size_t size, double *value) {
    bool negative = size > 0 && *text == '-';
    if (size > 0 && (*text == '-' || *text == '+')) text++, size--;
    decimal d = {.negative = negative, .exact = true};
    if (!read_decimal(text, text + size, &d)) {
        if (!read_special(text, size, value)) return DATA_NOT_A_NUMBER;
    } else if (!quick(&d, value)) {
        if (size > LONGEST || !slow(text, size, value)) return DATA_NOT_A_NUMBER;
        if (isinf(*value)) return DATA_TOO_LARGE;
    }
    if (negative) *value = -*value;
    return DATA_NUMBER;
}
