// test_number.c -- white-box: decimal text to double against strtod, to the last bit.
#include <float.h>
#include <locale.h>

#include "../data/internal.h"
#include "util.h"

static locale_t c_locale;

static double expected(const char *text) {
    return strtod_l(text, NULL, c_locale);
}

// Both ways of reading give what strtod gives; returns whether the quick way could tell.
static bool check(const char *text) {
    double want = expected(text), got = 0, quick = 0;
    data_number kind = data_parse_number(text, strlen(text), &got);
    if (isinf(want)) {
        if (kind != DATA_TOO_LARGE) fail_msg("%s: expected to be too large", text);
        return true;
    }
    if (kind != DATA_NUMBER || memcmp(&got, &want, sizeof got) != 0) fail_msg("%s: %a, expected %a", text, got, want);
    const char *end = data_scan_number(text, text + strlen(text), &quick);
    if (end == NULL) return false;
    if (*end != '\0' || memcmp(&quick, &want, sizeof got) != 0) fail_msg("%s: %a, expected %a", text, quick, want);
    return true;
}

static uint64_t bits(uint64_t *seed) {
    uint64_t high = (uint64_t)util_uniform(seed, 0, 4294967296.0);
    return high << 32 | (uint64_t)util_uniform(seed, 0, 4294967296.0);
}

static double from_bits(uint64_t x) {
    double value;
    memcpy(&value, &x, sizeof value);
    return value;
}

static void known_hard_numbers_are_right(void **state) {
    (void)state;
    static const char *const texts[] = {"0",
                                        "-0",
                                        "0.1",
                                        "9007199254740993",
                                        "9007199254740992.999",
                                        "9007199254740993.000001",
                                        "1e23",
                                        "8.5e-22",
                                        "4.35e22",
                                        "1.7976931348623157e308",
                                        "1.7976931348623158e308",
                                        "1.797693134862315807e308",
                                        "179769313486231570000000000000000000000e270",
                                        "1.8e308",
                                        "1e309",
                                        "1e-400",
                                        "2.2250738585072011e-308",
                                        "2.2250738585072012e-308",
                                        "2.2250738585072014e-308",
                                        "4.9406564584124654e-324",
                                        "2.4703282292062327e-324",
                                        "2.4703282292062328e-324",
                                        "2.4703282292062327208e-324",
                                        "5e-324",
                                        "3e-324",
                                        "2e-324",
                                        "1e-323",
                                        "6.631236846766476e-316",
                                        "3.2378839133029013e-319",
                                        "18446744073709551615",
                                        "18446744073709551616",
                                        "9999999999999999999",
                                        "99999999999999999999",
                                        "10000000000000000000",
                                        "0.000000000000000000000000000001",
                                        "123456789012345678901234567890",
                                        "3.14159265358979323846264338327950288",
                                        "0e999999999",
                                        "0e-999999999",
                                        "1e00000000000000000000000000000001",
                                        "000000000000000000000000000000000000001",
                                        "0.5",
                                        "4503599627370496.5",
                                        "4503599627370497.5",
                                        "4503599627370497.50000000000000000000000000001",
                                        "7.2057594037927933e16",
                                        "6929495644600919.5",
                                        "3.5845380123172e-10",
                                        "100000000000000016777215",
                                        "100000000000000016777216",
                                        "-240092e-91",
                                        "6.02214076e23",
                                        "1.00000005960464477539062499",
                                        "9355950000000000000.00000000000000000000000001"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) check(texts[i]);
}

static void every_power_of_ten_is_right(void **state) {
    (void)state;
    static const char *const heads[] = {
        "1", "9", "17", "9007199254740993", "18446744073709551615", "9999999999999999999"};
    char text[64];
    for (int q = -400; q <= 320; q++) {
        for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
            snprintf(text, sizeof text, "%se%d", heads[i], q);
            check(text);
        }
    }
}

enum { MANY = UTIL_SANITIZED ? 50000 : 300000 };

static void random_numbers_are_right_and_quick(void **state) {
    (void)state;
    uint64_t seed = 5;
    int quick = 0, count = 0;
    char text[128];
    for (int i = 0; i < MANY; i++) {
        double x = from_bits(bits(&seed));
        if (!isfinite(x)) continue;
        snprintf(text, sizeof text, "%.17g", x);
        quick += check(text), count++;
        snprintf(text, sizeof text, "%.*e", (int)(bits(&seed) % 25), x);
        quick += check(text), count++;
        uint64_t a = bits(&seed), b = bits(&seed);
        snprintf(text, sizeof text, "%llue%d", (unsigned long long)(a >> b % 64), (int)(b % 690) - 350);
        quick += check(text), count++;
        snprintf(text, sizeof text, "-%llu.%llu", (unsigned long long)(a >> b % 64), (unsigned long long)(b >> a % 64));
        quick += check(text), count++;
        snprintf(text, sizeof text, "%llu%019llue%d", (unsigned long long)a,
                 (unsigned long long)(b % 10000000000000000000u), (int)(a % 700) - 380);
        quick += check(text), count++;
    }
    assert_true(quick > count / 1000 * 995);
}

// The number half way between two doubles, written out in full, and its neighbours in the last digit.
static void ties_go_to_even(void **state) {
    (void)state;
    uint64_t seed = 7;
    char text[1400];
    for (int i = 0; i < (UTIL_SANITIZED ? 1000 : 8000); i++) {
        uint64_t x = bits(&seed) & 0x7fefffffffffffff;
        if (i % 2 == 0) x &= 0x003fffffffffffff;  // denormals and the least normals
        if (i % 8 == 3) x = (x & 0xfffffffffffff) | (uint64_t)(1023 + bits(&seed) % 70) << 52;
        long double a = from_bits(x), b = from_bits(x + 1);
        if (LDBL_MANT_DIG < 64 || !isfinite((double)b)) continue;
        snprintf(text, sizeof text, "%.1150Le", a / 2 + b / 2);
        check(text);
        char *last = strchr(text, 'e') - 1;
        *last = '1';
        check(text);
        snprintf(text, sizeof text, "%.*Le", 15 + i % 10, a / 2 + b / 2);
        check(text);
    }
}

static void what_is_no_number_is_refused(void **state) {
    (void)state;
    static const char *const texts[] = {"",     "-",         "+",         ".",         "-.",  "e5",   "1e",
                                        "1e+",  "1e-",       ".e1",       "1.2.3",     "1 2", "0x10", "1_000",
                                        "1,5",  "1e5.5",     "12345678x", "--1",       "+-1", "nane", "in",
                                        "infi", "infinityx", "1/2",       "12345678:", "1;",  "1\x80"};
    double value;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (data_parse_number(texts[i], strlen(texts[i]), &value) != DATA_NOT_A_NUMBER) fail_msg("read: %s", texts[i]);
    }
}

static void every_byte_but_digits_ends_digits(void **state) {
    (void)state;
    char text[24];
    double value;
    for (int byte = 0; byte < 256; byte++) {
        for (int at = 1; at < 20; at++) {
            memset(text, '7', sizeof text);
            text[at] = (char)byte;
            const char *end = data_scan_number(text, text + sizeof text, &value);
            bool part = (byte >= '0' && byte <= '9') || byte == '.' || byte == 'e' || byte == 'E';
            if (!part && end != text + at) fail_msg("byte %d at %d", byte, at);
        }
    }
}

static void the_end_of_the_text_is_kept(void **state) {
    (void)state;
    char text[24];
    double value;
    memset(text, '7', sizeof text);
    for (int n = 1; n <= 20; n++) {
        char *copy = malloc((size_t)n);  // so that a sanitizer sees a byte too many
        memcpy(copy, text, (size_t)n);
        assert_true(data_scan_number(copy, copy + n, &value) == copy + n);
        free(copy);
    }
}

static int setup(void **state) {
    (void)state;
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    return c_locale == (locale_t)0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_hard_numbers_are_right),       cmocka_unit_test(every_power_of_ten_is_right),
        cmocka_unit_test(random_numbers_are_right_and_quick), cmocka_unit_test(ties_go_to_even),
        cmocka_unit_test(what_is_no_number_is_refused),       cmocka_unit_test(every_byte_but_digits_ends_digits),
        cmocka_unit_test(the_end_of_the_text_is_kept),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
