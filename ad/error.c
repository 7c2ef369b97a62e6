// error.c -- status codes in words.
#include <stdarg.h>
#include <stdio.h>

#include "ad.h"

const char *ad_status_text(ad_status status) {
    static const char *const text[] = {
        [AD_OK] = "ok",
        [AD_ESHAPE] = "shapes do not fit",
        [AD_EARG] = "argument out of range",
        [AD_EMIX] = "two tapes, row sets or element types mixed",
        [AD_ESTALE] = "handle older than its tape's last reset",
        [AD_EUNKEPT] = "value was not kept",
        [AD_ENONFINITE] = "not a finite number",
        [AD_ENOGRAD] = "no such derivative",
        [AD_ECONVERGE] = "iteration did not converge",
        [AD_ENOMEM] = "out of memory",
        [AD_EIO] = "file could not be read or written",
        [AD_EFORMAT] = "file content not as its format asks",
        [AD_EORDER] = "calls in the wrong order",
    };
    return (unsigned)status < sizeof text / sizeof *text ? text[status] : "unknown status";
}

ad_status ad_fail(ad_error *error, ad_status status, const char *format, ...) {
    if (!error) return status;
    error->status = status;
    va_list args;
    va_start(args, format);
    vsnprintf(error->message, sizeof error->message, format, args);
    va_end(args);
    return status;
}
