// from_text.c -- models from one-line descriptions, "nsf-ar:layers=5,hidden=256x2,bins=8".
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "from_text.h"
#include "model.h"

// ---- keys: one row each --------------------------------------------------------------------------------------------

static const char *const no_yes[] = {"no", "yes"};
static const char *const activations[] = {"relu", "tanh", "leaky-relu"};
static const char *const nets[] = {"residual", "plain"};
static const char *const scales[] = {"tanh", "exp", "softsign", "softplus", "sigmoid"};
static const char *const masks[] = {"usual", "halves", "alternate", "random"};
static const char *const mixes[] = {"usual", "halves", "reverse", "random", "lu"};
static const char *const kinds[] = {"householder", "orthogonal", "triangular"};
static const char *const forms[] = {"symmetric", "free", "hamiltonian"};
static const char *const types[] = {"f32", "f64"};

typedef enum key_kind { WHOLE, NUMBER, CHOICE, SIZES /* 256x2: width and depth */, TRANSFORMER } key_kind;
typedef struct key {
    const char *name;
    text_value value;
    key_kind kind;
    double low, high;  // of a choice: how many
    const char *const *choices;
    const char *what;
} key;

static const key keys[] = {
    {"layers", TEXT_LAYERS, WHOLE, 1, 10000, NULL, "how many"},
    {"hidden", TEXT_WIDTH, SIZES, 1, 65536, NULL, "of conditioners: width x layers (or blocks), as 256x2"},
    {"activation", TEXT_ACTIVATION, CHOICE, 0, 3, activations, "of conditioners"},
    {"net", TEXT_NET, CHOICE, 0, 2, nets, "the conditioner's kind"},
    {"transformer", TEXT_TRANSFORMER, TRANSFORMER, 0, 0, NULL, "in the spline's place"},
    {"bins", TEXT_BINS, WHOLE, 2, 4096, NULL,
     "of splines; of discrete data the values, of mixtures the components, of polynomials the degree"},
    {"bound", TEXT_BOUND, NUMBER, 1e-3, 1e6, NULL, "of log-scales, or of the splines' box"},
    {"scale", TEXT_SCALE, CHOICE, 0, 5, scales, "how a scale comes from a raw number"},
    {"mix", TEXT_MIX, CHOICE, 0, 5, mixes, "what stands between layers"},
    {"mask", TEXT_MASK, CHOICE, 0, 4, masks, "which features couplings keep, in turn with the others"},
    {"inverse", TEXT_INVERSE, CHOICE, 0, 2, no_yes, "layers swap their directions"},
    {"map-kept", TEXT_MAP_KEPT, CHOICE, 0, 2, no_yes, "couplings map the features kept as well"},
    {"slope", TEXT_SLOPE, NUMBER, 0, 0.99, NULL, "of the leaky relu; 0: tanh"},
    {"kind", TEXT_KIND, CHOICE, 0, 3, kinds, "how Q is made"},
    {"directions", TEXT_DIRECTIONS, WHOLE, 1, 65536, NULL, "columns of Q; at most the features"},
    {"levels", TEXT_LEVELS, WHOLE, 1, 64, NULL, "how often halves are halved; by default down to single features"},
    {"taper", TEXT_TAPER, CHOICE, 0, 2, no_yes, "hidden units halve from level to level"},
    {"parts", TEXT_PARTS, WHOLE, 2, 4096, NULL,
     "of a ladder's features; at most the features; by default 4, or as many"},
    {"sees", TEXT_SEES, WHOLE, 1, 4096, NULL, "so many parts before it; by default all"},
    {"form", TEXT_FORM, CHOICE, 0, 3, forms, "of forces: K^T s(K y + b), nets, or the first on either half in turn"},
    {"steps", TEXT_STEPS, WHOLE, 1, 2048, NULL, "of each layer; by default 8"},
    {"step", TEXT_STEP, NUMBER, 1e-6, 100, NULL,
     "their size at the start; by default 1, of free forms 0.2, of Hamiltonian ones 0.4"},
    {"embed", TEXT_EMBED, SIZES, 1, 65536, NULL,
     "a net that the context passes first: width (of its outputs, too) x layers"},
    {"raw", TEXT_RAW, CHOICE, 0, 2, no_yes, "no standardising layer in front"},
    {"base", TEXT_BASE, CHOICE, 0, TEXT_BASES, flow_text_bases, "the base density"},
    {"components", TEXT_COMPONENTS, WHOLE, 1, 65536, NULL, "with base=mixture"},
    {"df", TEXT_DF, NUMBER, 0.5, 1e6, NULL, "with base=student: degrees of freedom"},
    {"learn-df", TEXT_LEARN_DF, CHOICE, 0, 2, no_yes, "with base=student: they are learned, a number a feature"},
    {"rank", TEXT_RANK, WHOLE, 1, 8192, NULL, "with base=pca"},
    {"box", TEXT_BOX, NUMBER, 1e-3, 1e6, NULL,
     "with base=uniform: from minus this to this; by default 3, as splines have it"},
    {"fixed", TEXT_FIXED, CHOICE, 0, 2, no_yes, "with base=student, logistic, laplace, gumbel: location 0, scale 1"},
    {"follow", TEXT_FOLLOW, CHOICE, 0, 2, no_yes, "with these and base=mixture: what is learned follows the context"},
    {"temperature", TEXT_TEMPERATURE, NUMBER, 1e-3, 1e3, NULL, "T: of the base density to the power 1/T^2"},
    {"seed", TEXT_SEED, WHOLE, 0, 0x1p53, NULL, "of the initial values"},
    {"type", TEXT_TYPE, CHOICE, 0, 2, types, "of the parameters"},
};
enum { KEYS = sizeof keys / sizeof *keys };
static const char common[] = "embed raw base components df learn-df rank box fixed follow temperature seed type";

// Whether the word is in the list of words.
static bool is_in(const char *list, const char *word, size_t length) {
    for (const char *at = list; *at;) {
        size_t n = strcspn(at, " ");
        if (n == length && memcmp(at, word, n) == 0) return true;
        at += n + (at[n] == ' ');
    }
    return false;
}

static bool takes(const text_preset *p, const key *k) {
    return is_in(p->keys, k->name, strlen(k->name)) || is_in(common, k->name, strlen(k->name));
}

// ---- text of messages ----------------------------------------------------------------------------------------------

typedef struct text {
    char *at;
    size_t room;
} text;

static void add(text *t, const char *words) {
    size_t n = strlen(words);
    if (n >= t->room) return;
    memcpy(t->at, words, n + 1);
    t->at += n;
    t->room -= n;
}

static char *list_presets(char *buffer, size_t size) {
    text t = {buffer, size};
    for (const text_preset *p = flow_text_presets; p->name; p++) {
        if (p != flow_text_presets) add(&t, ", ");
        add(&t, p->name);
    }
    return buffer;
}

static char *list_keys(const text_preset *p, char *buffer, size_t size) {
    text t = {buffer, size};
    bool first = true;
    for (int i = 0; i < KEYS; i++) {
        if (!takes(p, &keys[i])) continue;
        if (!first) add(&t, ", ");
        first = false;
        add(&t, keys[i].name);
    }
    return buffer;
}

static char *expected(const key *k, char *buffer, size_t size) {
    text t = {buffer, size};
    switch (k->kind) {
        case TRANSFORMER:
            return flow_transformer_texts(buffer, size);
        case CHOICE:
            for (int i = 0; i < (int)k->high; i++) {
                if (i) add(&t, i + 1 < (int)k->high ? ", " : " or ");
                add(&t, k->choices[i]);
            }
            return buffer;
        case SIZES:
            add(&t, "sizes as 256x2, width 1 to 65536 and depth 0 to 1000");
            return buffer;
        default:
            snprintf(buffer, size, "a %snumber from %.16g to %.16g", k->kind == WHOLE ? "whole " : "", k->low, k->high);
            return buffer;
    }
}

// ---- parsing -------------------------------------------------------------------------------------------------------

// A number as JSON writes it, whatever the locale; without blanks around it, which JSON would allow.
static bool read_number(const char *at, size_t n, double low, double high, bool whole, double *value) {
    bool blank = n == 0 || at[0] <= ' ' || at[n - 1] <= ' ';
    json_t *json = blank ? NULL : json_loadb(at, n, JSON_DECODE_ANY, NULL);
    bool ok = json && (whole ? json_is_integer(json) : json_is_number(json));
    *value = ok ? json_number_value(json) : 0;
    json_decref(json);
    return ok && *value >= low && *value <= high;
}

// Its number, from 1.
static bool read_transformer(const char *at, size_t n, double *value) {
    char name[64];
    for (int i = 0; flow_transformer_text(i, name, sizeof name); i++) {
        if (strlen(name) != n || memcmp(name, at, n) != 0) continue;
        *value = i + 1;
        return true;
    }
    return false;
}

static bool read_value(const key *k, const char *at, size_t n, text_settings *s) {
    double *value = &s->value[k->value];
    if (k->kind == TRANSFORMER) return read_transformer(at, n, value);
    if (k->kind == CHOICE) {
        for (int i = 0; i < (int)k->high; i++) {
            if (strlen(k->choices[i]) != n || memcmp(k->choices[i], at, n) != 0) continue;
            *value = i;
            return true;
        }
        return false;
    }
    if (k->kind != SIZES) return read_number(at, n, k->low, k->high, k->kind == WHOLE, value);
    const char *x = memchr(at, 'x', n);
    double depth;
    if (!x || !read_number(at, (size_t)(x - at), k->low, k->high, true, value) ||
        !read_number(x + 1, (size_t)(at + n - x - 1), 0, 1000, true, &depth)) {
        return false;
    }
    value[1] = depth > 0 ? depth : -1;
    return true;
}

// One "key=value", n characters.
static bool read_pair(const text_preset *p, const char *at, size_t n, bool *seen, text_settings *s, ad_error *error) {
    const char *equals = memchr(at, '=', n);
    size_t length = equals ? (size_t)(equals - at) : n;
    char buffer[400];
    int i = 0;
    while (i < KEYS && !(strlen(keys[i].name) == length && memcmp(keys[i].name, at, length) == 0)) i++;
    const int shown = (int)(length < 40 ? length : 40);
    if (i == KEYS || !takes(p, &keys[i])) {
        ad_fail(error, AD_EARG, "%s: unknown key '%.*s'; it takes %s", p->name, shown, at,
                list_keys(p, buffer, sizeof buffer));
    } else if (!equals) {
        ad_fail(error, AD_EARG, "%s: '%s' has no value; expected %s=%s", p->name, keys[i].name, keys[i].name,
                expected(&keys[i], buffer, sizeof buffer));
    } else if (seen[i]) {
        ad_fail(error, AD_EARG, "%s: '%s' is there twice", p->name, keys[i].name);
    } else if (!read_value(&keys[i], equals + 1, n - length - 1, s)) {
        size_t rest = n - length - 1;
        ad_fail(error, AD_EARG, "%s: %s is '%.*s'; expected %s", p->name, keys[i].name, (int)(rest < 40 ? rest : 40),
                equals + 1, expected(&keys[i], buffer, sizeof buffer));
    } else {
        seen[i] = true;
        return true;
    }
    return false;
}

static const text_preset *find(const char *name, size_t length, ad_error *error) {
    char buffer[300];
    for (const text_preset *p = flow_text_presets; p->name; p++) {
        if (strlen(p->name) == length && memcmp(p->name, name, length) == 0) return p;
    }
    ad_fail(error, AD_EARG, "unknown model '%.*s'; known are %s", (int)(length < 40 ? length : 40), name,
            list_presets(buffer, sizeof buffer));
    return NULL;
}

static const text_preset *parse(const char *line, text_settings *s, ad_error *error) {
    size_t length = strcspn(line, ":");
    bool seen[KEYS] = {false};
    const text_preset *p = find(line, length, error);
    const char *at = line + length + (line[length] == ':');
    while (p && *at) {
        size_t n = strcspn(at, ",");
        if (!read_pair(p, at, n, seen, s, error)) return NULL;
        at += n + (at[n] == ',');
    }
    return p;
}

// ---- models --------------------------------------------------------------------------------------------------------

// With the net that key "embed" wants before its context of C.
static flow_model *embed(const text_settings *s, flow_model *model, int64_t C, ad_error *error) {
    if (!model || s->value[TEXT_EMBED] == 0) return model;
    const flow_mlp_options o = {.layers = (int)s->value[TEXT_EMBED_DEPTH],
                                .width = (int64_t)s->value[TEXT_EMBED],
                                .activation = (flow_activation)s->value[TEXT_ACTIVATION],
                                .seed = flow_subseed((uint64_t)s->value[TEXT_SEED], 1 << 21),
                                .type = (ad_type)s->value[TEXT_TYPE]};
    return flow_embed(model, flow_mlp(C, o.width, &o, error), error);
}

// Layers whose latent features lie in a box keep the base density that the preset gives them, or take one of that box.
static flow_model *in_box(const text_settings *s, flow_model *model, flow_base *base, ad_error *error) {
    const double low = model->base->low, high = model->base->high;
    if (base->low == low && base->high == high) return flow_model_rebase(model, base, error);
    flow_base_free(base);
    if (s->value[TEXT_BASE] == 0 && s->value[TEXT_TEMPERATURE] == 0) return model;
    ad_fail(error, AD_EARG, "model: latent features lie between %g and %g: expected base=uniform,box=%g", low, high,
            high);
    flow_model_free(model);
    return NULL;
}

// Layers and base density with a context of C.
static flow_model *assemble(const text_preset *p, const text_settings *s, int64_t D, int64_t C, ad_error *error) {
    flow_base *base = flow_text_base(s, D, C, error);
    flow_model *model = base ? p->build(s, D, C, error) : NULL;
    if (model && model->base->low < model->base->high) return in_box(s, model, base, error);
    if (model) return flow_model_rebase(model, base, error);
    flow_base_free(base);
    return NULL;
}

flow_model *flow_from_text(const char *line, int64_t D, int64_t C, ad_error *error) {
    text_settings s = {{0}};
    if (!line || strlen(line) > FLOW_MOST_TEXT) {
        ad_fail(error, AD_EARG, "model: no text, or one of more than %d characters", FLOW_MOST_TEXT);
        return NULL;
    }
    const text_preset *p = parse(line, &s, error);
    if (p && s.value[TEXT_EMBED] > 0 && C == 0) {
        ad_fail(error, AD_EARG, "%s: embed, but the model takes no context", p->name);
        return NULL;
    }
    const int64_t seen = s.value[TEXT_EMBED] > 0 ? (int64_t)s.value[TEXT_EMBED] : C;
    flow_model *model = p ? embed(&s, assemble(p, &s, D, seen, error), C, error) : NULL;
    if (!model || flow_model_set_text(model, line)) return model;
    ad_fail(error, AD_ENOMEM, "model: out of memory");
    flow_model_free(model);
    return NULL;
}

char *flow_text_help(void) {
    enum { ROOM = 1 << 14 };
    char *help = malloc(ROOM), buffer[600], line[900];
    text t = {help, ROOM};
    if (!help) return NULL;
    add(&t, "NAME:KEY=VALUE,KEY=VALUE,...\n");
    for (const text_preset *p = flow_text_presets; p->name; p++) {
        snprintf(line, sizeof line, "%s: %s\n    %s\n", p->name, p->what, list_keys(p, buffer, sizeof buffer));
        add(&t, line);
    }
    for (int i = 0; i < KEYS; i++) {
        snprintf(line, sizeof line, "%s=%s: %s\n", keys[i].name, expected(&keys[i], buffer, sizeof buffer),
                 keys[i].what);
        add(&t, line);
    }
    return help;
}

const char *flow_text_name(int number) {
    int n = 0;
    while (flow_text_presets[n].name) n++;
    return number >= 0 && number < n ? flow_text_presets[number].name : NULL;
}
