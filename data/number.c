// number.c -- decimal text to double, correctly rounded, whatever the locale.
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

// LONGEST: no double has more than 1,100 characters. DIGITS: as many as a uint64_t always holds.
enum { LONGEST = 4096, DIGITS = 19 };

typedef struct decimal {
    uint64_t digits;
    int64_t exponent;  // value = digits * 10^exponent,
    bool cut;          // or more, and less than (digits + 1) * 10^exponent
} decimal;

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

// ---- the text -------------------------------------------------------------------------------------------------------

// How many of the eight characters are digits, up to the first that is none, and their value: without a branch, since
// numbers of varying length are what mispredicts. The first character is in the lowest byte; pairs of digits, then
// fours, then all eight are brought together in place.
static inline int some_digits(const char *text, uint64_t *value) {
    uint64_t v, other;
    memcpy(&v, text, sizeof v);
    v ^= 0x3030303030303030u;
    other = ((v & 0x7f7f7f7f7f7f7f7fu) + 0x7676767676767676u) | v;  // bit 7 of each byte above 9
    other &= 0x8080808080808080u;
    int n = other == 0 ? 8 : data_trailing_zeros(other) / 8;
    v = n == 0 ? 0 : v << (64 - 8 * n);
    v = v * 10 + (v >> 8);
    *value = ((v & 0xff000000ffu) * 0x000f424000000064u + (v >> 16 & 0xff000000ffu) * 0x0000271000000001u) >> 32;
    return n;
}

// Appends digits to *value, which wraps around after 19 of them; returns where they end.
static inline const char *read_digits(const char *at, const char *end, uint64_t *value) {
    static const uint64_t power[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
    uint64_t some;
    while (data_host_is_little_endian() && end - at >= 8) {
        int n = some_digits(at, &some);
        *value = *value * power[n] + some;
        at += n;
        if (n < 8) return at;
    }
    for (; at < end && is_digit(*at); at++) *value = *value * 10 + (uint64_t)(*at - '0');
    return at;
}

// The power of ten after the digits, if there is one; returns where it ends, or NULL where it lacks digits.
static const char *read_exponent(const char *at, const char *end, int64_t *exponent) {
    *exponent = 0;
    if (at == end || (*at != 'e' && *at != 'E')) return at;
    at++;
    bool negative = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+')) at++;
    const char *start = at;
    int64_t value = 0;
    for (; at < end && is_digit(*at); at++) {
        if (value < 100000) value = value * 10 + (*at - '0');
    }
    *exponent = negative ? -value : value;
    return at > start ? at : NULL;
}

// The first DIGITS of more digits than that, from the first that is not zero.
static void cut_digits(const char *at, const char *end, decimal *d) {
    bool point = false;
    int n = 0;
    for (d->digits = 0; at < end; at++) {
        if (*at == '.') {
            point = true;
        } else if (n < DIGITS) {
            d->digits = d->digits * 10 + (uint64_t)(*at - '0');
            n += d->digits > 0;
            d->exponent -= point;
        } else {
            d->cut = d->cut || *at != '0';
            d->exponent += !point;
        }
    }
}

// Reads digits with or without a point, and an exponent; returns where they end, or NULL.
static inline const char *read_decimal(const char *text, const char *end, decimal *d) {
    uint64_t digits = 0;
    int64_t exponent;
    const char *point, *at;
    if (end - text >= 2 && text[1] == '.' && is_digit(text[0])) {
        digits = (uint64_t)(text[0] - '0');  // as most numbers begin
        point = text + 1;
    } else {
        point = read_digits(text, end, &digits);
    }
    at = point;
    if (at < end && *at == '.') at = read_digits(at + 1, end, &digits);
    int64_t fraction = at > point ? at - point - 1 : 0, n = point - text + fraction;
    const char *after = n == 0 ? NULL : read_exponent(at, end, &exponent);
    if (after == NULL) return NULL;
    *d = (decimal){digits, exponent, false};
    if (n <= DIGITS) {
        d->exponent -= fraction;
    } else {
        cut_digits(text, at, d);
    }
    return after;
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

// ---- the value ------------------------------------------------------------------------------------------------------

// Both numbers exact, and the result rounded once (Clinger 1990): short numbers need no more.
static inline bool short_value(const decimal *d, double *value) {
    static const double power[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (FLT_EVAL_METHOD != 0 || d->digits > (UINT64_C(1) << 53) || d->cut) return false;
    if (d->exponent < -22 || d->exponent > 22) return false;
    double x = (double)(int64_t)d->digits;  // which converts faster than what has no sign
    *value = d->exponent < 0 ? x / power[-d->exponent] : x * power[d->exponent];
    return true;
}

static inline bool quick_value(const decimal *d, double *value) {
    if (short_value(d, value)) return true;
    if (!data_decimal(d->digits, d->exponent, value)) return false;
    double above;
    return !d->cut || (data_decimal(d->digits + 1, d->exponent, &above) && above == *value);
}

static bool slow_value(const char *text, size_t size, double *value) {
    char copy[LONGEST + 1];
    if (size > LONGEST) return false;
    memcpy(copy, text, size);
    copy[size] = '\0';
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (c == (locale_t)0) return false;
    *value = strtod_l(copy, NULL, c);
    freelocale(c);
    return true;
}

const char *data_scan_number(const char *text, const char *end, double *value) {
    decimal d;
    bool negative = text < end && *text == '-';
    const char *at = read_decimal(text + (text < end && (*text == '-' || *text == '+')), end, &d);
    if (at == NULL || !quick_value(&d, value) || isinf(*value)) return NULL;
    if (negative) *value = -*value;
    return at;
}

data_number data_parse_number(const char *text, size_t size, double *value) {
    const char *end = text + size;
    bool negative = size > 0 && *text == '-';
    decimal d;
    if (size > 0 && (*text == '-' || *text == '+')) text++, size--;
    if (size > LONGEST) return DATA_NOT_A_NUMBER;
    if (read_decimal(text, end, &d) != end) {
        if (!read_special(text, size, value)) return DATA_NOT_A_NUMBER;
    } else {
        if (!quick_value(&d, value) && !slow_value(text, size, value)) return DATA_NOT_A_NUMBER;
        if (isinf(*value)) return DATA_TOO_LARGE;
    }
    if (negative) *value = -*value;
    return DATA_NUMBER;
}
