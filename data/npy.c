// npy.c -- arrays of numpy: reads them in place where the machine can, and writes them.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { ALIGNMENT = 64 };

typedef struct npy {
    data_array *array;
    const char *start, *at, *end;  // of the header's text
    bool seen[3];                  // descr, fortran_order, shape
} npy;

static ad_status fail(const npy *n, const char *what) {
    return ad_fail(n->array->error, AD_EFORMAT, "%s: .npy header, byte %lld: %s", n->array->path,
                   (long long)(n->at - n->start), what);
}

// ---- the header: a Python dict of three keys ----

static void skip_blanks(npy *n) {
    while (n->at < n->end && (*n->at == ' ' || *n->at == '\n' || *n->at == '\t')) n->at++;
}

static bool take(npy *n, const char *token) {
    skip_blanks(n);
    size_t size = strlen(token);
    if ((size_t)(n->end - n->at) < size || memcmp(n->at, token, size) != 0) return false;
    n->at += size;
    return true;
}

// A string without escapes, copied to out.
static bool take_string(npy *n, char *out, size_t room) {
    skip_blanks(n);
    if (n->at == n->end || (*n->at != '\'' && *n->at != '"')) return false;
    char quote = *n->at++;
    size_t size = 0;
    for (; n->at < n->end && *n->at != quote; n->at++) {
        if (*n->at == '\\' || *n->at < ' ' || *n->at > '~' || size + 1 >= room) return false;
        out[size++] = *n->at;
    }
    out[size] = '\0';
    return n->at++ < n->end;
}

static bool take_integer(npy *n, uint64_t *value) {
    skip_blanks(n);
    const char *start = n->at;
    for (*value = 0; n->at < n->end && *n->at >= '0' && *n->at <= '9'; n->at++) {
        if (!data_mul(*value, 10, value) || !data_add(*value, (uint64_t)(*n->at - '0'), value)) return false;
    }
    bool some = n->at > start;
    if (some && n->at < n->end && *n->at == 'L') n->at++;  // written by Python 2
    return some;
}

static ad_status read_descr(npy *n) {
    char descr[32];
    if (!take_string(n, descr, sizeof descr)) return fail(n, "expected a plain number type as descr, such as '<f8'");
    // One byte has no order: numpy writes '|', others '<'.
    bool known = *descr != '\0' && data_type_find(descr + 1, strlen(descr + 1), &n->array->type) &&
                 (*descr == '<' || *descr == '>' || (*descr == '|' && data_type_size(n->array->type) == 1));
    if (!known) {
        return ad_fail(n->array->error, AD_EFORMAT,
                       "%s: elements of type '%s', expected f2, f4, f8, i1 to i8, u1 to u8 or b1 after '<', '>' or "
                       "'|' (save x.astype('f8'))",
                       n->array->path, descr);
    }
    n->array->swapped = (*descr != '>') != data_host_is_little_endian();
    return AD_OK;
}

static ad_status read_shape(npy *n) {
    data_array *a = n->array;
    if (!take(n, "(")) return fail(n, "expected a tuple as shape");
    bool comma = true;
    for (a->rank = 0; comma && !take(n, ")"); a->rank++) {
        uint64_t dim;
        if (!take_integer(n, &dim)) return fail(n, "expected a size in shape");
        if (a->rank <= AD_MAX_RANK) a->dim[a->rank] = dim;
        comma = take(n, ",");
        if (!comma && (a->rank == 0 || !take(n, ")"))) return fail(n, "expected ',' or ')' in shape");
    }
    return AD_OK;
}

static ad_status read_entry(npy *n) {
    static const char *const keys[] = {"descr", "fortran_order", "shape"};
    char key[32];
    int k = 3;
    if (take_string(n, key, sizeof key) && take(n, ":")) {
        for (k = 0; k < 3 && strcmp(key, keys[k]) != 0;) k++;
    }
    if (k == 3) return fail(n, "expected 'descr', 'fortran_order' or 'shape', and ':'");
    if (n->seen[k]) return fail(n, "a key stands twice");
    n->seen[k] = true;
    if (k == 0) return read_descr(n);
    if (k == 2) return read_shape(n);
    n->array->fortran_order = take(n, "True");
    return n->array->fortran_order || take(n, "False") ? AD_OK : fail(n, "expected True or False");
}

static ad_status read_header(npy *n) {
    if (!take(n, "{")) return fail(n, "expected '{'");
    for (bool comma = true; !take(n, "}");) {
        if (!comma) return fail(n, "expected ',' or '}'");
        ad_status status = read_entry(n);
        if (status != AD_OK) return status;
        comma = take(n, ",");
    }
    if (!n->seen[0] || !n->seen[1] || !n->seen[2]) return fail(n, "one of descr, fortran_order and shape is missing");
    skip_blanks(n);
    return n->at == n->end ? AD_OK : fail(n, "expected nothing but blanks after '}'");
}

// Finds the header's text.
static ad_status find_header(npy *n, const unsigned char *b, size_t left) {
    data_array *a = n->array;
    if (left < DATA_NPY_SHORTEST || memcmp(b, "\x93NUMPY", DATA_NPY_MAGIC) != 0) {
        return ad_fail(a->error, AD_EFORMAT, "%s: not a .npy file: it does not start with \\x93NUMPY", a->path);
    }
    if (b[6] < 1 || b[6] > 3 || b[7] != 0) {
        return ad_fail(a->error, AD_EFORMAT, "%s: .npy version %d.%d, expected 1.0, 2.0 or 3.0", a->path, b[6], b[7]);
    }
    size_t start = b[6] == 1 ? 10 : 12;
    size_t size = left < start ? 0 : b[8] + 256u * b[9];
    if (start == 12 && size > 0) size += (size_t)b[10] << 16 | (size_t)b[11] << 24;
    if (left < start || size > left - start || size > DATA_NPY_LONGEST) {
        return ad_fail(a->error, AD_EFORMAT,
                       "%s: .npy header of %zu bytes, expected at most %d and no more than the file has", a->path, size,
                       DATA_NPY_LONGEST);
    }
    n->start = n->at = (const char *)b + start;
    n->end = n->start + size;
    a->offset = start + size;
    return AD_OK;
}

ad_status data_npy_header(data_array *array, const unsigned char *bytes, size_t size) {
    npy n = {.array = array};
    ad_status status = find_header(&n, bytes, size);
    return status == AD_OK ? read_header(&n) : status;
}

data_table *data_read_npy(const char *path, ad_error *error) {
    return data_read_array(path, data_npy_header, error);
}

// ---- writing ----

size_t data_npy_print(const data_table *table, char out[DATA_NPY_HEADER]) {
    char order = data_host_is_little_endian() != table->swapped ? '<' : '>';
    if (data_type_size(table->type) == 1) order = '|';
    int n = snprintf(out, DATA_NPY_HEADER, "\x93NUMPY%c%c..{'descr': '%c%s', 'fortran_order': False, 'shape': (%lld,",
                     1, 0, order, data_type_name(table->type), (long long)table->rows);
    ad_shape shape = table->shape.rank == 0 && table->columns > 1 ? ad_shape1(table->columns) : table->shape;
    for (int k = 0; k < shape.rank; k++) {
        n += snprintf(out + n, DATA_NPY_HEADER - (size_t)n, k == 0 ? " %ld" : ", %ld", (long)shape.dim[k]);
    }
    n += snprintf(out + n, DATA_NPY_HEADER - (size_t)n, "), }");
    size_t size = ((size_t)n + 1 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    memset(out + n, ' ', size - (size_t)n);
    out[size - 1] = '\n';
    out[8] = (char)((size - 10) & 255);
    out[9] = (char)((size - 10) >> 8);
    return size;
}

ad_status data_check_written(const char *path, const data_table *t, ad_error *error) {
    size_t bytes = t->columns > INT32_MAX ? 0 : data_table_bytes(t->type, t->rows, t->columns);
    if (bytes == 0 || t->values == NULL) {
        return ad_fail(error, AD_EARG, "%s: no values to write: a table of %lld x %lld", path, (long long)t->rows,
                       (long long)t->columns);
    }
    if (t->shape.rank == 0 || (t->shape.rank <= AD_MAX_RANK && ad_shape_count(t->shape) == t->columns)) return AD_OK;
    return ad_fail(error, AD_EARG, "%s: the shape of a row has other than its %lld elements", path,
                   (long long)t->columns);
}

ad_status data_write_npy(const char *path, const data_table *table, ad_error *error) {
    ad_status status = data_check_written(path, table, error);
    if (status != AD_OK) return status;
    char header[DATA_NPY_HEADER];
    data_writer writer;
    data_writer_open(&writer, path, error);
    data_writer_put(&writer, header, data_npy_print(table, header));
    size_t row = (size_t)table->columns * data_type_size(table->type);
    bool packed = row == data_row_stride(table);
    for (int64_t i = 0; i < (packed ? 1 : table->rows); i++) {
        data_writer_put(&writer, data_elements_at(table, i, 0).bytes, packed ? row * (size_t)table->rows : row);
    }
    return data_writer_commit(&writer);
}
