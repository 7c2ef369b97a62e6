// made_structure.c -- who sees whom in a masked autoregressive net: levels of features, stairs of units, masks.
#include <stdlib.h>
#include <string.h>

#include "made.h"

static bool out_of_memory(ad_error *error) {
    ad_fail(error, AD_ENOMEM, "made: out of memory");
    return false;
}

// ---- order ----------------------------------------------------------------------------------------------------------

// Each feature a level of its own.
static void levels_of_one(flow_made_net *m) {
    m->levels = m->D;
    for (int64_t k = 0; k <= m->D; k++) m->start[k] = k;
}

static bool given_order(flow_made_net *m, const int64_t *order, ad_error *error) {
    for (int64_t k = 0; k < m->D; k++) m->known[k] = 0;  // times seen
    for (int64_t k = 0; k < m->D; k++) {
        m->order[k] = order[k];
        if (m->order[k] >= 0 && m->order[k] < m->D && m->known[m->order[k]]++ == 0) continue;
        ad_fail(error, AD_EARG, "made: the order does not hold each of 0 to %lld once", (long long)(m->D - 1));
        return false;
    }
    return true;
}

static void usual_order(flow_made_net *m, flow_order arrange, uint64_t seed) {
    for (int64_t k = 0; k < m->D; k++) {
        int64_t j = arrange == FLOW_ORDER_RANDOM ? (int64_t)(flow_random(&seed) % (uint64_t)(k + 1)) : k;
        m->order[k] = m->order[j];  // Fisher and Yates, inside out
        m->order[j] = arrange == FLOW_ORDER_REVERSED ? m->D - 1 - k : k;
    }
}

// Features whose parents are all placed make up the next level; none of them: there is a circle.
static bool sort_levels(flow_made_net *m, ad_error *error) {
    const int64_t D = m->D;
    int64_t placed = 0, *missing = m->known;  // parents not placed; -1: is placed itself
    for (int64_t d = 0; d < D; d++) {
        missing[d] = 0;
        for (int64_t e = 0; e < D; e++) missing[d] += flow_made_sees(m, d, e);
    }
    for (m->levels = 0; placed < D; m->levels++) {
        const int64_t from = placed;
        m->start[m->levels] = from;
        for (int64_t d = 0; d < D; d++) {
            if (missing[d] == 0) m->order[placed++] = d;
        }
        if (placed == from) {
            ad_fail(error, AD_EARG, "made: the adjacency has a circle: no feature is free of those that depend on it");
            return false;
        }
        for (int64_t k = from; k < placed; k++) {
            missing[m->order[k]] = -1;
            for (int64_t d = 0; d < D; d++) missing[d] -= flow_made_sees(m, d, m->order[k]);
        }
    }
    m->start[m->levels] = D;
    return true;
}

static bool adjacent_order(flow_made_net *m, const bool *adjacency, ad_error *error) {
    const int64_t D = m->D;
    if (D > FLOW_MADE_MOST_ADJACENT) {
        ad_fail(error, AD_EARG, "made: %lld features with an adjacency, expected at most %d", (long long)D,
                FLOW_MADE_MOST_ADJACENT);
        return false;
    }
    m->words = (D + 63) / 64;
    m->sees = calloc((size_t)(D * m->words), sizeof *m->sees);
    if (!m->sees) return out_of_memory(error);
    for (int64_t d = 0; d < D; d++) {
        for (int64_t e = 0; e < D; e++) {
            if (adjacency[d * D + e]) m->sees[d * m->words + e / 64] |= (uint64_t)1 << (e % 64);
        }
    }
    return sort_levels(m, error);
}

bool flow_made_set_order(flow_made_net *m, const flow_made_options *o, ad_error *error) {
    if ((o->adjacency != NULL) + (o->order != NULL) + (o->arrange != FLOW_ORDER_NATURAL) > 1 ||
        (unsigned)o->arrange > FLOW_ORDER_RANDOM) {
        ad_fail(error, AD_EARG, "made: arrange is %d (0 to 2); one of order, arrange and adjacency", (int)o->arrange);
        return false;
    }
    if (o->adjacency) return adjacent_order(m, o->adjacency, error);
    levels_of_one(m);
    if (o->order) return given_order(m, o->order, error);
    usual_order(m, o->arrange, flow_subseed(~o->mlp.seed, 0));
    return true;
}

// ---- stairs ---------------------------------------------------------------------------------------------------------

static const uint64_t *seen_by(const flow_made_net *m, int64_t d) {
    return m->sees + d * m->words;
}

// Places k of the order whose features see sets that differ from one another, in set[]; returns their number. The empty
// one is left out where there is no context: nothing is left for its units to see.
static int64_t distinct_sets(const flow_made_net *m, int64_t *set) {
    int64_t n = 0;
    for (int64_t k = 0; k < m->D; k++) {
        bool new = true;
        for (int64_t i = 0; m->sees && new &&i < n; i++) {
            size_t bytes = (size_t)m->words * sizeof *m->sees;
            new = memcmp(seen_by(m, m->order[k]), seen_by(m, m->order[set[i]]), bytes) != 0;
        }
        if (new) set[n++] = k;
    }
    if (m->C > 0 || n == 1) return n;
    memmove(set, set + 1, (size_t)(n - 1) * sizeof *set);  // features of the first level see nothing
    return n - 1;
}

// Sets are spread evenly over the hidden units, which thus come sorted by level.
bool flow_made_set_stairs(flow_made_net *m, ad_error *error) {
    int64_t *set = malloc(2 * (size_t)m->D * sizeof *set), *level = set ? set + m->D : NULL;
    if (!set) return out_of_memory(error);
    for (int64_t l = 0; l < m->levels; l++) {
        for (int64_t k = m->start[l]; k < m->start[l + 1]; k++) level[k] = l;
    }
    const int64_t n = distinct_sets(m, set);
    memset(m->known, 0, (size_t)m->D * sizeof *m->known);
    for (int64_t j = 0; j < m->width; j++) {
        const int64_t k = set[j * n / m->width];
        m->unit[j] = m->order[k];
        m->first[j] = m->C + m->start[level[k]];
        m->hidden[j] = level[k];
        for (int64_t l = level[k]; l < m->levels; l++) m->known[l] = j + 1;
    }
    for (int64_t j = 0; j < m->width; j++) m->hidden[j] = m->known[m->hidden[j]];
    for (int64_t i = 0; i < m->D * m->P; i++) {
        const int64_t l = level[i / m->P];
        m->last[i] = flow_made_has_hidden(m) ? m->known[l] : m->C + m->start[l];
    }
    free(set);
    return true;
}

// ---- masks ----------------------------------------------------------------------------------------------------------

static bool subset(const flow_made_net *m, int64_t d, int64_t e) {
    uint64_t beyond = 0;
    for (int64_t w = 0; w < m->words; w++) beyond |= seen_by(m, d)[w] & ~seen_by(m, e)[w];
    return beyond == 0;
}

// Row r of the mask of map i: what it sees among inputs, or the units that see no more than it.
static void fill_row(const flow_made_net *m, int i, int64_t r, float *row) {
    const bool last = i == flow_made_maps(m) - 1;
    const int64_t d = last ? m->order[r / m->P] : m->unit[r], n = flow_made_inputs(m, i);
    for (int64_t c = 0; c < n; c++) {
        if (i == 0) {
            row[c] = c < m->C || flow_made_sees(m, d, m->order[c - m->C]) ? 1 : 0;
        } else if (c > 0 && m->unit[c] == m->unit[c - 1]) {
            row[c] = row[c - 1];
        } else {
            row[c] = subset(m, m->unit[c], d) ? 1 : 0;
        }
    }
}

bool flow_made_set_masks(flow_made_net *m, ad_error *error) {
    if (!m->sees) return true;
    const int maps = flow_made_maps(m);
    m->mask = calloc((size_t)maps, sizeof *m->mask);
    m->mask_source = calloc((size_t)maps, sizeof *m->mask_source);
    if (!m->mask || !m->mask_source) return out_of_memory(error);
    for (int i = 0; i < maps; i++) {
        const int64_t rows = flow_made_rows(m, i), columns = flow_made_inputs(m, i);
        m->mask[i] = malloc((size_t)rows * (size_t)columns * sizeof **m->mask);
        if (!m->mask[i]) return out_of_memory(error);
        m->mask_source[i] = (ad_source){.data = m->mask[i], .type = AD_F32, .count = 1};
        const bool last = i == maps - 1;
        for (int64_t r = 0; r < rows; r++) {
            float *row = m->mask[i] + r * columns;
            const bool same = r > 0 && (last ? r % m->P != 0 : m->unit[r] == m->unit[r - 1]);
            if (same) memcpy(row, row - columns, (size_t)columns * sizeof *row);
            if (!same) fill_row(m, i, r, row);
        }
    }
    return true;
}

void flow_made_release(flow_owner *owner) {
    flow_made_net *m = (flow_made_net *)owner;
    for (int i = 0; m->mask && i < flow_made_maps(m); i++) free(m->mask[i]);
    free(m->mask);
    free(m->mask_source);
    free(m->sees);
    free(m->order);
}
