// shape.c -- feature shapes and their arithmetic, checked for overflow here and nowhere else.
#include <stdarg.h>
#include <stdio.h>

#include "internal.h"

static int32_t dimension(int64_t n) { return n < 0 || n > INT32_MAX ? -1 : (int32_t)n; }

ad_shape ad_shape0(void) { return (ad_shape){0, {0}}; }
ad_shape ad_shape1(int64_t a) { return (ad_shape){1, {dimension(a)}}; }
ad_shape ad_shape2(int64_t a, int64_t b) { return (ad_shape){2, {dimension(a), dimension(b)}}; }
ad_shape ad_shape3(int64_t a, int64_t b, int64_t c) {
    return (ad_shape){3, {dimension(a), dimension(b), dimension(c)}};
}
ad_shape ad_shape4(int64_t a, int64_t b, int64_t c, int64_t d) {
    return (ad_shape){4, {dimension(a), dimension(b), dimension(c), dimension(d)}};
}

size_t ad_type_size(ad_type type) { return type == AD_F64 ? 8 : 4; }

int64_t ad_shape_count(ad_shape s) { return ad_count_of(&s); }

int64_t ad_count_of(const ad_shape *shape) {
    if (shape->rank < 0 || shape->rank > AD_MAX_RANK) return -1;
    int64_t n = 1;  // of the dimensions that are not 0, so that strides fit, too
    bool empty = false;
    for (int i = 0; i < shape->rank; i++) {
        if (shape->dim[i] < 0) return -1;
        if (shape->dim[i] == 0) empty = true;
        else n *= shape->dim[i];  // below 2^62
        if (n > INT32_MAX) return -1;
    }
    return empty ? 0 : n;
}

bool ad_shape_equal(ad_shape a, ad_shape b) { return ad_same_shape(&a, &b); }

char *ad_shape_print(ad_shape s, char *buffer, size_t size) {
    size_t n = (size_t)snprintf(buffer, size, "[");
    for (int i = 0; i < s.rank && i < AD_MAX_RANK && n < size; i++)
        n += (size_t)snprintf(buffer + n, size - n, "%s%d", i ? "," : "", s.dim[i]);
    if (n < size) snprintf(buffer + n, size - n, "]");
    return buffer;
}

// Aligned at the last axis, a dimension of 1 (or none) stretches.
bool ad_shape_broadcast(ad_shape a, ad_shape b, ad_shape *out) {
    if (a.rank < b.rank) {
        ad_shape t = a;
        a = b, b = t;
    }
    *out = a;
    for (int i = 0; i < b.rank; i++) {
        int32_t *d = &out->dim[a.rank - b.rank + i], e = b.dim[i];
        if (*d == 1) *d = e;
        else if (e != 1 && e != *d) return false;
    }
    return true;
}

int64_t ad_shape_axis(ad_shape s, int64_t axis) {
    if (axis < 0) axis += s.rank;
    return axis >= 0 && axis < s.rank ? axis : -1;
}

const char *ad_axis_error(ad_shape s, int64_t axis, char *text, size_t size) {
    char shape[80];
    if (s.rank == 0) snprintf(text, size, "axis %lld of a scalar: it has none", (long long)axis);
    else
        snprintf(text, size, "axis %lld is out of range for shape %s: expected %d to %d", (long long)axis,
                 ad_shape_print(s, shape, sizeof shape), -(int)s.rank, (int)s.rank - 1);
    return text;
}

void ad_shape_strides(ad_shape s, int32_t *stride) {
    int32_t n = 1;
    for (int32_t i = s.rank - 1; i >= 0; i--) stride[i] = n, n *= s.dim[i];
}

bool ad_shape_fail(ad_shape_call *call, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(call->message, sizeof call->message, format, args);
    va_end(args);
    return false;
}
