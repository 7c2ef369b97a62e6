// json.h -- reads JSON of texts and natural numbers, piece by piece and in place: no memory, no recursion, no locale.
#ifndef PULLBACK_DATA_JSON_H
#define PULLBACK_DATA_JSON_H

#include "internal.h"

// The first error sticks: what is wrong stands in error, at says where, and every later call fails.
typedef struct data_json {
    char *start, *at, *end;  // end may be written to
    const char *error;
} data_json;

void data_json_skip_blanks(data_json *json);
// Steps over blanks; true, and past c, when c comes next.
bool data_json_take(data_json *json, char c);
// As data_json_take, where nothing else may come.
bool data_json_expect(data_json *json, char c);
// A text: decoded over its own source and ended with '\0'. Valid UTF-8 without NUL. NULL on error.
char *data_json_text(data_json *json);
// A natural number below 2^63.
bool data_json_number(data_json *json, uint64_t *value);
// After an element of a list or object that ends with close: whether another one follows. False at its end and on
// error.
bool data_json_more(data_json *json, char close);

#endif
