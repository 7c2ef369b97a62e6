// utf8.c -- whether text is UTF-8.
#include "internal.h"

// Length of the UTF-8 character at s (RFC 3629: shortest form, no surrogates, at most U+10FFFF), or 0.
static int character(const unsigned char *s) {
    if (s[0] < 0x80) return 1;
    int n = s[0] >= 0xC2 && s[0] <= 0xDF ? 2 : (s[0] & 0xF0) == 0xE0 ? 3 : s[0] >= 0xF0 && s[0] <= 0xF4 ? 4 : 0;
    for (int i = 1; i < n; i++) {
        if ((s[i] & 0xC0) != 0x80) return 0;
    }
    bool bad = (s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) || (s[0] == 0xF0 && s[1] < 0x90) ||
               (s[0] == 0xF4 && s[1] > 0x8F);
    return n == 0 || bad ? 0 : n;
}

bool data_utf8_ok(const char *text) {
    const unsigned char *s = (const unsigned char *)text;
    for (int n; *s != '\0'; s += n) {
        n = character(s);
        if (n == 0) return false;
    }
    return true;
}
