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

ad_status tool_print(json_t *object, ad_error *error) {
    if (!object) return ad_fail(error, AD_EFORMAT, "no JSON: memory is out, or a name is not UTF-8");
    json_dumpf(object, stdout, JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
    json_decref(object);
    putchar('\n');
    return AD_OK;
}
