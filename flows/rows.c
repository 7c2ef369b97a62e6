// rows.c -- rows of data seen from the host: checked, read, taken through a layer.
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static bool index_ok(const flow_rows *rows, ad_error *error) {
    for (int64_t i = 0; rows->index && i < rows->n; i++) {
        if (rows->index[i] >= 0 && rows->index[i] < rows->x.count) continue;
        ad_fail(error, AD_EARG, "rows: index %lld picks row %lld of %lld", (long long)i, (long long)rows->index[i],
                (long long)rows->x.count);
        return false;
    }
    return true;
}

int64_t flow_rows_count(const flow_rows *rows, int64_t C, ad_error *error) {
    int64_t n = rows->index ? rows->n : rows->x.count;
    if (!rows->x.data || n < 1) {
        ad_fail(error, AD_EARG, "rows: no data");
    } else if (rows->x.index || rows->context.index || rows->weight.index) {
        ad_fail(error, AD_EARG,
                "rows: x.index, context.index and weight.index must be NULL; flow_rows.index picks rows");
    } else if (C > 0 && !rows->context.data) {
        ad_fail(error, AD_EARG, "rows: the model takes a context of %lld features, but none is given", (long long)C);
    } else if (C > 0 && rows->context.count < rows->x.count) {
        ad_fail(error, AD_EARG, "rows: %lld rows of data but %lld of context", (long long)rows->x.count,
                (long long)rows->context.count);
    } else if (rows->weight.data && rows->weight.count < rows->x.count) {
        ad_fail(error, AD_EARG, "rows: %lld rows of data but %lld weights", (long long)rows->x.count,
                (long long)rows->weight.count);
    } else if (index_ok(rows, error)) {
        return n;
    }
    return -1;
}

double flow_source_get(const ad_source *source, int64_t width, int64_t row, int64_t e) {
    size_t size = ad_type_size(source->type), stride = source->row_stride ? source->row_stride : (size_t)width * size;
    const char *at = (const char *)source->data + (size_t)row * stride + (size_t)e * size;
    float f;
    double d;
    if (source->type == AD_F64) {
        memcpy(&d, at, sizeof d);
        return d;
    }
    memcpy(&f, at, sizeof f);
    return (double)f;
}

double flow_rows_get(const flow_rows *rows, int64_t D, int64_t r, int64_t e) {
    return flow_source_get(&rows->x, D, rows->index ? rows->index[r] : r, e);
}

ad_status flow_rows_within(const char *who, const flow_rows *rows, int64_t D, double low, double high,
                           ad_error *error) {
    const bool anywhere = low == high;
    const int64_t n = flow_rows_count(rows, 0, error);
    for (int64_t i = 0; i < n * D; i++) {
        double x = flow_rows_get(rows, D, i / D, i % D);
        if (isfinite(x) && (anywhere || (x > low && x < high))) continue;
        if (anywhere) low = -INFINITY, high = INFINITY;
        return ad_fail(error, isfinite(x) ? AD_EARG : AD_ENONFINITE,
                       "%s: row %lld, feature %lld is %g, expected a number between %g and %g (without these)", who,
                       (long long)(i / D), (long long)(i % D), flow_said(x), low, high);
    }
    return n < 0 ? AD_EARG : AD_OK;
}

// ---- weights ------------------------------------------------------------------------------------------------------

static double weight_of(const flow_rows *rows, int64_t r) {
    return flow_source_get(&rows->weight, 1, rows->index ? rows->index[r] : r, 0);
}

// Adds up the weights and counts those that are not 0.
static ad_status check_weights(const flow_rows *rows, int64_t n, double *sum, int64_t *kept, ad_error *error) {
    *sum = 0;
    *kept = 0;
    for (int64_t r = 0; r < n; r++) {
        double w = weight_of(rows, r);
        if (!(w >= 0 && isfinite(w))) {
            return ad_fail(error, AD_EARG,
                           "rows: the weight of row %lld is %g, expected a finite number that is not negative",
                           (long long)(rows->index ? rows->index[r] : r), flow_said(w));
        }
        *sum += w;
        *kept += w > 0;
    }
    if (*kept > 0 && isfinite(*sum)) return AD_OK;
    return ad_fail(error, AD_EARG, "rows: the weights of %lld rows add up to %g", (long long)n, *sum);
}

ad_status flow_use_rows(flow_used_rows *used, const flow_model *model, const flow_rows *rows, ad_error *error) {
    *used = (flow_used_rows){.rows = *rows, .weight = 1};
    used->n = flow_rows_count(rows, flow_model_context(model), error);
    if (used->n < 0) return AD_EARG;
    if (!rows->weight.data) return AD_OK;
    double sum;
    int64_t kept, n = used->n;
    ad_status status = check_weights(rows, n, &sum, &kept, error);
    if (status != AD_OK) return status;
    used->weight = sum / (double)kept;
    if (kept == n) return AD_OK;
    used->owned = malloc((size_t)kept * sizeof *used->owned);
    if (!used->owned) return ad_fail(error, AD_ENOMEM, "rows: out of memory for %lld row numbers", (long long)kept);
    used->n = 0;
    for (int64_t r = 0; r < n && used->n < kept; r++) {
        if (weight_of(rows, r) > 0) used->owned[used->n++] = rows->index ? rows->index[r] : r;
    }
    used->rows.index = used->owned;
    used->rows.n = used->n;
    return AD_OK;
}

void flow_used_rows_free(flow_used_rows *used) {
    free(used->owned);
    used->owned = NULL;
}

// ---- through a layer ------------------------------------------------------------------------------------------------

// A source moved on by first rows.
static ad_source from(ad_source source, int64_t count, int64_t first, const int64_t *index) {
    size_t size = ad_type_size(source.type), stride = source.row_stride ? source.row_stride : (size_t)count * size;
    if (index) {
        source.index = index + first;
    } else if (source.data) {
        source.data = (const char *)source.data + (size_t)first * stride;
        source.count -= first;
    }
    return source;
}

ad_status flow_rows_map(const flow_layer *layer, flow_direction direction, const flow_rows *rows, double *out,
                        ad_error *error) {
    enum { BLOCK = 4096 };
    const bool there = direction == FLOW_NORMALIZE;
    const ad_shape from_shape = there ? layer->x_shape : layer->z_shape,
                   to_shape = there ? layer->z_shape : layer->x_shape;
    int64_t n = flow_rows_count(rows, layer->C, error), D = ad_shape_count(from_shape);
    if (n < 0) return AD_EARG;
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    if (!tape) return ad_fail(error, AD_ENOMEM, "flow: out of memory");
    ad_status status = AD_OK;
    for (int64_t first = 0; first < n && status == AD_OK; first += BLOCK) {
        int64_t B = n - first < BLOCK ? n - first : BLOCK, K = ad_shape_count(to_shape);
        ad_source x = from(rows->x, D, first, rows->index), c = from(rows->context, layer->C, first, rows->index);
        ad_tape_reset(tape);
        ad_rows set = ad_rows_new(tape, "data");
        ad_rows_set(set, B, first);
        ad_var context = layer->C ? ad_input(set, ad_shape1(layer->C), &c) : AD_NONE;
        ad_var v = ad_input(set, from_shape, &x);
        ad_var z = ad_keep(flow_record_whole(layer, direction, v, context).value);
        status = ad_run(tape);
        if (status == AD_OK) status = ad_read(z, out + first * K, B * K);
        if (status != AD_OK) ad_fail(error, status, "%s", ad_tape_message(tape));
    }
    ad_tape_free(tape);
    return status;
}
