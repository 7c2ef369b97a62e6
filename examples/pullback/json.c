// json.c -- results as one JSON object on standard output.
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tool.h"

json_t *tool_real(double v) {
    return isfinite(v) ? json_real(v) : json_null();
}

json_t *tool_names(const char *names) {
    int64_t n;
    char **name = tool_split(names, &n);
    json_t *array = json_array();
    for (int64_t i = 0; i < n && name; i++) json_array_append_new(array, json_string(name[i]));
    free(name);
    return array;
}

int tool_print(json_t *object) {
    int wrong = !object || json_dumpf(object, stdout, JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9)) != 0;
    json_decref(object);
    putchar('\n');
    return wrong || fflush(stdout) != 0;
}
