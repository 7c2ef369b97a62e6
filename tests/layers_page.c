// layers_page.c -- prints the page of layers, flows/LAYERS.md, from the registries of layers, transformers, nets, base
// densities and presets: what their examples say of themselves. Fails where one has no example that can be made.
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flows.h"

enum { EXAMPLES = 40 };

// What some examples of a type have been seen to have.
typedef struct seen {
    json_t *options, *tensors;  // objects, in the order in which their keys came up
    bool context;
    unsigned structures;  // a bit each
    int made;
} seen;

static void see_keys(json_t *into, json_t *options) {
    const char *key;
    json_t *value;
    json_object_foreach(options, key, value) {
        if (!json_object_get(into, key)) json_object_set_new(into, key, json_true());
    }
    json_decref(options);
}

static void see_tensors(json_t *into, const flow_owner *owner) {
    for (int i = 0; i < owner->n_params; i++) json_object_set_new(into, owner->params[i]->name, json_true());
    for (int i = 0; i < owner->n_states; i++) json_object_set_new(into, owner->states[i]->name, json_false());
}

static void print_keys(const json_t *keys, bool marks) {
    const char *key, *comma = "";
    json_t *value;
    printf(" |");
    json_object_foreach((json_t *)keys, key, value) {
        printf("%s `%s`%s", comma, key, marks && json_is_false(value) ? " (state)" : "");
        comma = ",";
    }
}

static void forget(seen *s) {
    json_decref(s->options), json_decref(s->tensors);
}

static int lacking(const char *what, const char *name, const seen *s) {
    if (s->made) return 0;
    fprintf(stderr, "layers_page: %s '%s' has no example\n", what, name);
    return 1;
}

static int print_layer(const flow_layer_type *type) {
    static const char *const structures[] = {
        "",           "elementwise", "coupling",    "autoregressive", "volume preserving",
        "orthogonal", "low rank",    "contractive", "dense"};
    seen s = {.options = json_object(), .tensors = json_object()};
    for (int i = 0; i < EXAMPLES; i++) {
        flow_layer *l = type->example(i, NULL);
        if (!l) continue;
        s.made++;
        s.context = s.context || l->C > 0;
        s.structures |= 1u << (type->structure ? type->structure : l->jacobian.structure);
        if (type->describe) see_keys(s.options, type->describe(l));
        see_tensors(s.tensors, &l->owner);
        flow_layer_free(l);
    }
    printf("| %s | ", type->name);
    const char *comma = "";
    for (unsigned k = FLOW_UNDECLARED + 1; k <= FLOW_DENSE; k++) {
        if (s.structures >> k & 1) printf("%s%s", comma, structures[k]), comma = ", ";
    }
    printf(" | %s", s.context ? "yes" : "");
    print_keys(s.options, false);
    print_keys(s.tensors, true);
    printf(" |\n");
    forget(&s);
    return lacking("layer", type->name, &s);
}

static int print_transformer(const flow_transformer_type *type) {
    seen s = {.options = json_object(), .tensors = json_object()};
    int64_t least = INT64_MAX, most = 0;
    for (int i = 0; i < EXAMPLES; i++) {
        flow_transformer *t = type->example(type, i, NULL);
        if (!t) continue;
        s.made++;
        least = t->P < least ? t->P : least, most = t->P > most ? t->P : most;
        see_keys(s.options, type->describe(t));
        flow_transformer_free(t);
    }
    printf("| %s | %lld", type->name, (long long)least);
    if (most > least) printf(" and more");
    print_keys(s.options, false);
    printf(" |\n");
    forget(&s);
    return lacking("transformer", type->name, &s);
}

static int print_base(const flow_base_type *type) {
    seen s = {.options = json_object(), .tensors = json_object()};
    for (int i = 0; i < EXAMPLES; i++) {
        flow_base *b = type->example(type, i, NULL);
        if (!b) continue;
        s.made++;
        s.context = s.context || b->C > 0;
        see_keys(s.options, type->describe(b));
        see_tensors(s.tensors, &b->owner);
        flow_base_free(b);
    }
    printf("| %s | %s | %s", type->name, s.context ? "yes" : "", type->center ? "yes" : "");
    print_keys(s.options, false);
    print_keys(s.tensors, true);
    printf(" |\n");
    forget(&s);
    return lacking("base density", type->name, &s);
}

// flow_text_help: "NAME: what it is", "    its keys", "KEY=values: what for".
static int print_presets(void) {
    char *text = flow_text_help();
    if (!text) return 1;
    printf(
        "\n## Models from one line\n\n`flow_from_text`, and `pullback fit --model`, take "
        "`NAME:KEY=VALUE,KEY=VALUE,...`\n\n"
        "| name | is | keys |\n|---|---|---|\n");
    bool keys = false;
    for (char *line = strtok(text, "\n"); (line = strtok(NULL, "\n"));) {
        char *colon = strchr(line, ':'), *equals = strchr(line, '=');
        const bool key = equals && colon && equals < colon;
        if (key && !keys) printf("\n| key | values | of |\n|---|---|---|\n");
        keys = keys || key;
        if (key) {
            printf("| `%.*s` | %.*s | %s |\n", (int)(equals - line), line, (int)(colon - equals - 1), equals + 1,
                   colon + 2);
        } else if (*line == ' ') {
            printf(" | %s |\n", line + 4);
        } else {
            printf("| `%.*s` | %s", (int)(colon - line), line, colon + 2);
        }
    }
    free(text);
    return 0;
}

int main(void) {
    int wrong = 0;
    printf(
        "<!-- Printed by tests/layers_page.c from the registries. To make it anew, from the root of the repository:\n"
        "     meson compile -C build && build/tests/layers_page > flows/LAYERS.md -->\n# Layers\n\n"
        "What model files name: every layer, transformer, net and base density of the library, with the keys that "
        "describe\n"
        "it in a file and its tensors. The headers `flows/flows_*.h` say what each does, under the constructor that "
        "makes it.\n\n"
        "| layer | Jacobian | takes a context | described by | tensors |\n|---|---|---|---|---|\n");
    for (int i = 0; flow_layer_types()[i]; i++) wrong += print_layer(flow_layer_types()[i]);
    printf(
        "\n## Transformers\n\nMaps of one feature, by parameters that a net gives or that are learned: in coupling, "
        "autoregressive and\nelementwise layers.\n\n| transformer | parameters a feature | described by "
        "|\n|---|---|---|\n");
    for (int i = 0; flow_transformer_types()[i]; i++) wrong += print_transformer(flow_transformer_types()[i]);
    printf("\n## Nets\n\nConditioners:");
    for (int i = 0; flow_net_types()[i]; i++) printf("%s `%s`", i ? "," : "", flow_net_types()[i]->name);
    printf(
        ".\n\n## Base densities\n\n| base density | takes a context | may be tempered | described by | tensors "
        "|\n|---|---|---|---|---|\n");
    for (int i = 0; flow_base_types()[i]; i++) wrong += print_base(flow_base_types()[i]);
    return wrong + print_presets() != 0;
}
