// idx.c -- the IDX format of MNIST and its relatives: big-endian arrays, often compressed by gzip.
#include "internal.h"

static bool idx_type(unsigned char code, data_type *type) {
    static const signed char types[] = {[0x08] = DATA_U8,  [0x09] = DATA_I8,  [0x0a] = -1,      [0x0b] = DATA_I16,
                                        [0x0c] = DATA_I32, [0x0d] = DATA_F32, [0x0e] = DATA_F64};
    if (code < 8 || code >= sizeof types || types[code] < 0) return false;
    *type = (data_type)types[code];
    return true;
}

bool data_idx_magic(const unsigned char *b, size_t size) {
    data_type type;
    return size >= 4 && b[0] == 0 && b[1] == 0 && idx_type(b[2], &type) && b[3] >= 1 && b[3] <= AD_MAX_RANK + 1;
}

ad_status data_idx_header(data_array *a, const unsigned char *b, size_t size) {
    if (size < 4 || b[0] != 0 || b[1] != 0) {
        return ad_fail(a->error, AD_EFORMAT, "%s: not an IDX file: it does not start with two bytes of zero", a->path);
    }
    if (!idx_type(b[2], &a->type)) {
        return ad_fail(a->error, AD_EFORMAT,
                       "%s: byte 2: IDX type 0x%02x, expected 0x08 (u1), 0x09 (i1), 0x0b (i2), 0x0c (i4), 0x0d (f4) or "
                       "0x0e (f8)",
                       a->path, b[2]);
    }
    a->rank = b[3];
    if (a->rank < 1 || a->rank > AD_MAX_RANK + 1) {
        return ad_fail(a->error, AD_EFORMAT, "%s: byte 3: an array of %d dimensions, expected 1 to %d", a->path,
                       a->rank, AD_MAX_RANK + 1);
    }
    a->offset = 4 + 4 * (size_t)a->rank;
    if (size < a->offset) {
        return ad_fail(a->error, AD_EFORMAT, "%s: IDX header of %zu bytes, and the file has %zu", a->path, a->offset,
                       size);
    }
    for (int k = 0; k < a->rank; k++) {
        const unsigned char *d = b + 4 + 4 * k;
        a->dim[k] = (uint64_t)d[0] << 24 | (uint64_t)d[1] << 16 | (uint64_t)d[2] << 8 | d[3];
    }
    a->swapped = data_host_is_little_endian();
    a->fortran_order = false;
    return AD_OK;
}

data_table *data_read_idx(const char *path, ad_error *error) {
    return data_read_array(path, data_idx_header, error);
}
