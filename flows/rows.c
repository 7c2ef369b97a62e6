// rows.c -- rows of data seen from the host, for data-dependent initialisation.
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
    } else if (rows->x.index || rows->context.index) {
        ad_fail(error, AD_EARG, "rows: x.index and context.index must be NULL; flow_rows.index picks rows");
    } else if (C > 0 && !rows->context.data) {
        ad_fail(error, AD_EARG, "rows: the model takes a context of %lld features, but none is given", (long long)C);
    } else if (C > 0 && rows->context.count < rows->x.count) {
        ad_fail(error, AD_EARG, "rows: %lld rows of data but %lld of context", (long long)rows->x.count,
                (long long)rows->context.count);
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

ad_status flow_rows_map(const flow_layer *layer, const flow_rows *rows, double *out, ad_error *error) {
    enum { BLOCK = 4096 };
    int64_t n = flow_rows_count(rows, layer->C, error), D = ad_shape_count(layer->x_shape);
    if (n < 0) return AD_EARG;
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    if (!tape) return ad_fail(error, AD_ENOMEM, "flow: out of memory");
    ad_status status = AD_OK;
    for (int64_t first = 0; first < n && status == AD_OK; first += BLOCK) {
        int64_t B = n - first < BLOCK ? n - first : BLOCK, K = ad_shape_count(layer->z_shape);
        ad_source x = from(rows->x, D, first, rows->index), c = from(rows->context, layer->C, first, rows->index);
        ad_tape_reset(tape);
        ad_rows set = ad_rows_new(tape, "data");
        ad_rows_set(set, B, first);
        ad_var context = layer->C ? ad_input(set, ad_shape1(layer->C), &c) : AD_NONE;
        ad_var z = ad_keep(flow_layer_normalize(layer, ad_input(set, layer->x_shape, &x), context).value);
        status = ad_run(tape);
        if (status == AD_OK) status = ad_read(z, out + first * K, B * K);
        if (status != AD_OK) ad_fail(error, status, "%s", ad_tape_message(tape));
    }
    ad_tape_free(tape);
    return status;
}
