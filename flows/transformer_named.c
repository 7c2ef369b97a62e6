// transformer_named.c -- transformers by name, with what presets say of them.
#include <string.h>

#include "internal.h"

// Length of a type's name without a last " spline".
static size_t length_of(const char *name) {
    static const char last[] = " spline";
    const size_t n = strlen(name), m = sizeof last - 1;
    return n > m && strcmp(name + n - m, last) == 0 ? n - m : n;
}

bool flow_transformer_text(int number, char *text, size_t size) {
    const flow_transformer_type *const *types = flow_transformer_types();
    for (; number >= 0 && *types; types++) {
        if (!(*types)->usual || number-- > 0) continue;
        const size_t n = length_of((*types)->name);
        for (size_t i = 0; i < n && i + 1 < size; i++) text[i] = (*types)->name[i] == ' ' ? '-' : (*types)->name[i];
        text[n < size ? n : size - 1] = '\0';
        return true;
    }
    return false;
}

char *flow_transformer_texts(char *buffer, size_t size) {
    char name[64];
    size_t used = 0;
    buffer[0] = '\0';
    for (int i = 0; flow_transformer_text(i, name, sizeof name); i++) {
        const size_t n = strlen(name), comma = i ? 2 : 0;
        if (used + comma + n >= size) break;
        memcpy(buffer + used, ", ", comma);
        memcpy(buffer + used + comma, name, n + 1);
        used += comma + n;
    }
    return buffer;
}

flow_transformer *flow_usual_transformer(const char *name, const flow_usual_transformer_options *options,
                                         ad_error *error) {
    const flow_usual_transformer_options o = options ? *options : (flow_usual_transformer_options){.bins = 0};
    const flow_transformer_type *const *types = flow_transformer_types();
    char text[64], buffer[360];
    for (int i = 0; name && *types; types++) {
        if (!(*types)->usual) continue;
        flow_transformer_text(i++, text, sizeof text);
        if (strcmp(text, name) == 0 || strcmp((*types)->name, name) == 0) return (*types)->usual(*types, &o, error);
    }
    ad_fail(error, AD_EARG, "unknown transformer '%.40s'; known are %s", name ? name : "", flow_transformer_texts(buffer, sizeof buffer));
    return NULL;
}
