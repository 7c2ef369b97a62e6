// made.h -- what the files of the masked autoregressive net share.
//
// Features are sorted into levels: those of one level do not depend on one another, and depend on lower levels only. In
// the common case, where each feature sees all before it, a level is one feature.
#ifndef FLOWS_MADE_H
#define FLOWS_MADE_H

#include "internal.h"

enum { FLOW_MADE_MOST_LAYERS = 1000, FLOW_MADE_MOST_ADJACENT = 4096 };

typedef struct flow_made_net {
    flow_net net;
    int64_t D, C, P;
    int layers;  // hidden ones, or residual blocks
    int64_t width;
    flow_activation activation;
    ad_type type;
    bool residual;
    int64_t *order;  // [D] features, by level
    int64_t levels;
    int64_t *start;  // [levels + 1]: order[start[l]] ... are the features of level l
    int64_t *known;  // [levels] hidden units that see no feature of level l or above: they come first
    int64_t *first, *hidden,
        *last;  // columns of a linear map's rows: [width] of (context, features), [width] of units, [D P]
    // Only where features see others as they please (adjacency):
    uint64_t *sees;  // [D][words], bit e of feature d: d sees e
    int64_t words;
    int64_t *unit;  // [width]: a unit sees what feature unit[j] sees
    float **mask;   // [linear maps], of their matrices' shapes: 0 and 1
    ad_source *mask_source;
} flow_made_net;

// Linear maps, the last one's number being one less; whether there are hidden units; and each one's sizes and columns.
int flow_made_maps(const flow_made_net *m);
bool flow_made_has_hidden(const flow_made_net *m);
int64_t flow_made_rows(const flow_made_net *m, int i);
int64_t flow_made_inputs(const flow_made_net *m, int i);
const int64_t *flow_made_columns(const flow_made_net *m, int i);

// Fills order, levels, start and sees from the options; then known, unit and the columns; then the masks.
bool flow_made_set_order(flow_made_net *m, const flow_made_options *options, ad_error *error);
bool flow_made_set_stairs(flow_made_net *m, ad_error *error);
bool flow_made_set_masks(flow_made_net *m, ad_error *error);
static inline bool flow_made_sees(const flow_made_net *m, int64_t d, int64_t e) {
    return m->sees[d * m->words + e / 64] >> (e % 64) & 1;
}
void flow_made_release(flow_owner *owner);

// The stairs take fewer inputs than a matrix has columns: without this, features would be read in a short context's
// place.
bool flow_made_check_call(const flow_net *net, ad_var x, ad_var context);
// Rows row, row + 1, ... (rows of them) of map i, for inputs of which there are enough.
ad_var flow_made_apply_rows(const flow_made_net *m, int i, int64_t row, int64_t rows, ad_var in);
// known and more, joined; known may be AD_NONE.
ad_var flow_made_grow(ad_var known, ad_var more);
// Computes hidden units from, from + 1, ... (n of them) in all layers: in[i], the inputs of map i, grows by them.
// nothing stands where there are no inputs.
void flow_made_units(const flow_made_net *m, int64_t from, int64_t n, ad_var *in, ad_var nothing);
json_t *flow_made_describe(const flow_net *net);
flow_net *flow_made_make(const json_t *options, const flow_making *making, ad_error *error);
// Elements of v [D,...] sorted by order, where they belong; v itself when they are.
ad_var flow_made_unsort(const flow_made_net *m, ad_var v);

#endif
