// from_text.h -- one-line descriptions: the keys there are, and the models by name that they describe.
#ifndef FLOWS_FROM_TEXT_H
#define FLOWS_FROM_TEXT_H

#include "internal.h"

// What keys say, by number; 0 is a preset's default. Choices are counted from 0.
typedef enum text_value {
    TEXT_LAYERS,
    TEXT_WIDTH,
    TEXT_DEPTH,  // behind the width, as read_value wants it
    TEXT_ACTIVATION,
    TEXT_NET,
    TEXT_TRANSFORMER,  // from 1, as flow_transformer_text numbers them from 0
    TEXT_BINS,
    TEXT_BOUND,
    TEXT_SCALE,
    TEXT_MIX,
    TEXT_MASK,
    TEXT_INVERSE,
    TEXT_MAP_KEPT,
    TEXT_SLOPE,
    TEXT_KIND,
    TEXT_DIRECTIONS,
    TEXT_LEVELS,
    TEXT_TAPER,
    TEXT_PARTS,
    TEXT_SEES,
    TEXT_FORM,
    TEXT_STEPS,
    TEXT_STEP,
    TEXT_EMBED,
    TEXT_EMBED_DEPTH,  // behind the width, too
    TEXT_RAW,
    TEXT_BASE,
    TEXT_COMPONENTS,
    TEXT_DF,
    TEXT_LEARN_DF,
    TEXT_RANK,
    TEXT_BOX,
    TEXT_FIXED,
    TEXT_FOLLOW,
    TEXT_TEMPERATURE,
    TEXT_SEED,
    TEXT_TYPE,
    TEXT_VALUES
} text_value;

typedef struct text_settings {
    double value[TEXT_VALUES];
} text_settings;

// A model by name. keys: names of those it takes beside the common ones, with spaces between them.
typedef struct text_preset {
    const char *name, *keys, *what;
    flow_model *(*build)(const text_settings *s, int64_t D, int64_t C, ad_error *error);
} text_preset;

extern const text_preset flow_text_presets[];  // ended by a NULL name

// Base densities that key "base" names; NULL and a message when D, C or other keys do not go with it.
enum { TEXT_BASES = 12 };
extern const char *const flow_text_bases[TEXT_BASES];
flow_base *flow_text_base(const text_settings *s, int64_t D, int64_t C, ad_error *error);

#endif
