// check_structure.c -- the structure a layer declares of its Jacobian against the Jacobian.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

typedef struct looking {
    checking *c;
    const flow_jacobian *declared;
    const char *direction;
    int64_t D;
    int row;
    const double *J;       // [D][D]: value i by input j
    const int64_t *place;  // [D]: in the declared order
    double *work;          // [D][D]
} looking;

static double largest_entry(const double *J, int64_t n) {
    double most = 0;
    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs(J[i]));
    return most;
}

// ---- zeros ---------------------------------------------------------------------------------------------------------

// Whether the declaration says what J[i][j] is, and what it says.
static bool is_known(const looking *l, int64_t i, int64_t j, double *value) {
    *value = 0;
    switch (l->declared->structure) {
        case FLOW_ELEMENTWISE:
            return i != j;
        case FLOW_COUPLING:
            if (l->place[i] < l->declared->kept) {
                *value = i == j;
                return true;
            }
            return i != j && l->place[j] >= l->declared->kept;
        case FLOW_AUTOREGRESSIVE:
            return l->place[j] > l->place[i];
        default:
            return false;
    }
}

static const char *word_of(flow_structure structure) {
    return structure == FLOW_ELEMENTWISE ? "elementwise" : structure == FLOW_COUPLING ? "coupling" : "autoregressive";
}

static ad_status check_entries(const looking *l) {
    const double allowed = l->c->o.tolerance * (1 + largest_entry(l->J, l->D * l->D));
    for (int64_t i = 0; i < l->D; i++) {
        for (int64_t j = 0; j < l->D; j++) {
            double due, got = l->J[i * l->D + j];
            if (!is_known(l, i, j, &due) || fabs(got - due) <= allowed) continue;
            return ad_fail(
                l->c->error, AD_EARG,
                "%s is declared %s, but the derivative of feature %lld of %s in feature %lld of its input is %.6g "
                "and should be %g, row %d, case %d",
                l->c->name, word_of(l->declared->structure), (long long)i, l->direction, (long long)j, got, due, l->row,
                l->c->case_number);
        }
    }
    return AD_OK;
}

// ---- matrices ------------------------------------------------------------------------------------------------------

static ad_status check_volume(const looking *l) {
    double norm, inverse_norm;
    memcpy(l->work, l->J, (size_t)(l->D * l->D) * sizeof *l->work);
    double log_det = check_invert(l->work, l->D, &norm, &inverse_norm);
    if (isnan(log_det)) return ad_fail(l->c->error, AD_ENOMEM, "flow_check: out of memory");
    if (fabs(log_det) <= l->c->o.tolerance * (1 + (double)l->D * norm * inverse_norm)) return AD_OK;
    return ad_fail(l->c->error, AD_EARG,
                   "%s is declared volume-preserving, but |det J| of %s is %.10g, row %d, case %d", l->c->name,
                   l->direction, exp(log_det), l->row, l->c->case_number);
}

static ad_status check_orthogonal(const looking *l) {
    const int64_t D = l->D;
    for (int64_t i = 0; i < D * D; i++) {
        double sum = 0, due = i / D == i % D;
        for (int64_t k = 0; k < D; k++) sum += l->J[k * D + i / D] * l->J[k * D + i % D];
        if (fabs(sum - due) <= l->c->o.tolerance * (double)(1 + D)) continue;
        return ad_fail(
            l->c->error, AD_EARG,
            "%s is declared orthogonal, but entry %lld, %lld of J^T J of %s is %.10g and should be %g, row %d, "
            "case %d",
            l->c->name, (long long)(i / D), (long long)(i % D), l->direction, sum, due, l->row, l->c->case_number);
    }
    return AD_OK;
}

static void less_identity(const looking *l) {
    for (int64_t i = 0; i < l->D * l->D; i++) l->work[i] = l->J[i] - (i / l->D == i % l->D);
}

// One step of elimination with complete pivoting: what is left has one rank less.
static void take_off_pivot(double *a, int64_t D) {
    int64_t at = 0;
    for (int64_t i = 1; i < D * D; i++) {
        if (fabs(a[i]) > fabs(a[at])) at = i;
    }
    const int64_t row = at / D, column = at % D;
    const double pivot = a[at];
    for (int64_t i = 0; i < D; i++) {
        double f = a[i * D + column] / pivot;
        for (int64_t j = 0; j < D && i != row; j++) a[i * D + j] -= f * a[row * D + j];
        if (i != row) a[i * D + column] = 0;
    }
    memset(a + row * D, 0, (size_t)D * sizeof *a);
}

static ad_status check_rank(const looking *l) {
    const int64_t n = l->D * l->D;
    less_identity(l);
    const double allowed = l->c->o.tolerance * (1 + largest_entry(l->J, n));
    for (int64_t k = 0; k < l->declared->rank; k++) {
        if (largest_entry(l->work, n) <= allowed) return AD_OK;
        take_off_pivot(l->work, l->D);
    }
    double left = largest_entry(l->work, n);
    if (left <= allowed) return AD_OK;
    return ad_fail(
        l->c->error, AD_EARG,
        "%s is declared identity plus rank %lld, but of J - I of %s entries up to %.6g are left beyond that rank, "
        "row %d, case %d",
        l->c->name, (long long)l->declared->rank, l->direction, left, l->row, l->c->case_number);
}

// Length of M u, with u = M^T M u of length 1 afterwards.
static double grow(const double *M, int64_t D, double *u, double *v) {
    double length = 0, next = 0;
    for (int64_t i = 0; i < D; i++) {
        v[i] = 0;
        for (int64_t j = 0; j < D; j++) v[i] += M[i * D + j] * u[j];
        length += v[i] * v[i];
    }
    for (int64_t j = 0; j < D; j++) {
        u[j] = 0;
        for (int64_t i = 0; i < D; i++) u[j] += M[i * D + j] * v[i];
        next += u[j] * u[j];
    }
    for (int64_t j = 0; j < D && next > 0; j++) u[j] /= sqrt(next);
    return sqrt(length);
}

// The largest singular value of J - I, from below, by power iteration.
static ad_status check_contraction(const looking *l) {
    double *u = calloc(2 * (size_t)l->D, sizeof *u), value = 0;
    if (!u) return ad_fail(l->c->error, AD_ENOMEM, "flow_check: out of memory");
    less_identity(l);
    for (int64_t j = 0; j < l->D; j++) u[j] = (1 + 0.01 * (double)j) / sqrt((double)l->D);
    for (int i = 0; i < 200; i++) value = grow(l->work, l->D, u, u + l->D);
    free(u);
    if (value < 1) return AD_OK;
    return ad_fail(
        l->c->error, AD_EARG,
        "%s is declared contractive, but the largest singular value of J - I of %s is %.6g and should be below 1, "
        "row %d, case %d",
        l->c->name, l->direction, value, l->row, l->c->case_number);
}

// ---- one row -------------------------------------------------------------------------------------------------------

static ad_status check_row(const looking *l, bool given) {
    switch (l->declared->structure) {
        case FLOW_VOLUME_PRESERVING:
            return check_volume(l);
        case FLOW_ORTHOGONAL:
            return check_orthogonal(l);
        case FLOW_LOW_RANK:
            return check_rank(l);
        case FLOW_CONTRACTIVE:
            return given ? check_contraction(l) : AD_OK;
        default:
            return check_entries(l);
    }
}

ad_status check_structure(checking *c, flow_direction direction, const double *jacobians) {
    const flow_jacobian *declared = &c->layer->jacobian;
    const int64_t D = c->D;
    if (declared->structure == FLOW_UNDECLARED || declared->structure == FLOW_DENSE) return AD_OK;
    int64_t *place = calloc((size_t)D, sizeof *place);
    double *work = calloc((size_t)(D * D), sizeof *work);
    ad_status status = place && work ? AD_OK : ad_fail(c->error, AD_ENOMEM, "flow_check: out of memory");
    for (int64_t k = 0; k < D && status == AD_OK; k++) place[declared->order ? declared->order[k] : k] = k;
    for (int r = 0; r < c->B && status == AD_OK; r++) {
        looking l = {c, declared, check_direction(direction), D, r, jacobians + r * D * D, place, work};
        status = check_row(&l, direction == flow_given_direction(c->layer));
    }
    free(place);
    free(work);
    return status;
}
