// json.c -- reads JSON of texts and natural numbers, piece by piece and in place.
#include "json.h"

static bool fail(data_json *json, const char *what) {
    if (json->error == NULL) json->error = what;
    return false;
}

void data_json_skip_blanks(data_json *json) {
    while (json->at < json->end && (*json->at == ' ' || *json->at == '\t' || *json->at == '\r' || *json->at == '\n'))
        json->at++;
}

bool data_json_take(data_json *json, char c) {
    if (json->error != NULL) return false;
    data_json_skip_blanks(json);
    if (json->at == json->end || *json->at != c) return false;
    json->at++;
    return true;
}

bool data_json_expect(data_json *json, char c) {
    if (data_json_take(json, c)) return true;
    switch (c) {
        case '{':
            return fail(json, "expected '{'");
        case '[':
            return fail(json, "expected '['");
        case ':':
            return fail(json, "expected ':'");
        case ',':
            return fail(json, "expected ','");
        case ']':
            return fail(json, "expected ']'");
        default:
            return fail(json, "expected a text");
    }
}

bool data_json_more(data_json *json, char close) {
    if (data_json_take(json, ',')) return true;
    if (!data_json_take(json, close)) fail(json, close == ']' ? "expected ',' or ']'" : "expected ',' or '}'");
    return false;
}

bool data_json_number(data_json *json, uint64_t *value) {
    data_json_skip_blanks(json);
    char *first = json->at;
    *value = 0;
    for (; json->error == NULL && json->at < json->end && *json->at >= '0' && *json->at <= '9'; json->at++) {
        if (!data_mul(*value, 10, value) || !data_add(*value, (uint64_t)(*json->at - '0'), value) ||
            *value > INT64_MAX) {
            return fail(json, "a number is too large");
        }
    }
    if (json->at == first) return fail(json, "expected a natural number");
    return *first != '0' || json->at == first + 1 || fail(json, "a number starts with 0");
}

// Four hexadecimal digits, or -1.
static int32_t read_code(data_json *json) {
    int32_t code = 0;
    if (json->end - json->at < 4) return -1;
    for (int i = 0; i < 4; i++, json->at++) {
        char c = *json->at, low = (char)(c | 0x20);
        int digit = c >= '0' && c <= '9' ? c - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
        if (digit < 0) return -1;
        code = code * 16 + digit;
    }
    return code;
}

// What follows "\u", as UTF-8: at most as long as its source.
static char *write_code(data_json *json, char *out) {
    int32_t code = read_code(json);
    if (code >= 0xD800 && code < 0xDC00 && json->end - json->at > 2 && json->at[0] == '\\' && json->at[1] == 'u') {
        json->at += 2;
        int32_t low = read_code(json);
        code = low >= 0xDC00 && low < 0xE000 ? 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00) : -1;
    }
    if (code <= 0 || (code >= 0xD800 && code < 0xE000)) {
        fail(json, "not a character after \\u");
        return out;
    }
    if (code < 0x80) {
        *out++ = (char)code;
        return out;
    }
    int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;  // bytes after the first
    static const int lead[4] = {0, 0xC0, 0xE0, 0xF0};
    *out++ = (char)(lead[more] | code >> (6 * more));
    while (more-- > 0) *out++ = (char)(0x80 | (code >> (6 * more) & 0x3F));
    return out;
}

static char *write_escape(data_json *json, char *out) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = json->at < json->end ? *json->at++ : '\0';
    if (c == 'u') return write_code(json, out);
    for (int i = 0; from[i] != '\0'; i++) {
        if (from[i] == c) {
            *out++ = to[i];
            return out;
        }
    }
    fail(json, "not an escape after \\");
    return out;
}

char *data_json_text(data_json *json) {
    if (!data_json_expect(json, '"')) return NULL;
    char *text = json->at, *out = text;
    while (json->error == NULL) {
        if (json->at == json->end) {
            fail(json, "a text does not end");
            break;
        }
        char c = *json->at++;
        if (c == '"') {
            *out = '\0';
            if (data_utf8_ok(text)) return text;
            fail(json, "a text is not UTF-8");
        } else if (c == '\\') {
            out = write_escape(json, out);
        } else if ((unsigned char)c < ' ') {
            fail(json, "a control character in a text");
        } else {
            *out++ = c;
        }
    }
    return NULL;
}
