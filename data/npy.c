// npy.c -- arrays of numpy: reads them in place where the machine can, and writes them.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { MAGIC = 6, LONGEST_HEADER = 10000, ALIGNMENT = 64 };

typedef struct npy {
    const char *path;
    ad_error *error;
    const char *start, *at, *end;  // of the header's text
    bool seen[3];                  // descr, fortran_order, shape
    data_type type;
    bool little_endian, fortran_order;
    int rank;
    uint64_t dim[2];
} npy;

static ad_status fail(const npy *n, const char *what) {
    return ad_fail(n->error, AD_EFORMAT, "%s: .npy header, byte %lld: %s", n->path, (long long)(n->at - n->start),
                   what);
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
    bool known = (*descr == '<' || *descr == '>') && (strcmp(descr + 1, "f4") == 0 || strcmp(descr + 1, "f8") == 0);
    if (!known) {
        return ad_fail(n->error, AD_EFORMAT,
                       "%s: elements of type '%s', expected <f4, <f8, >f4 or >f8 (save x.astype('f8'))", n->path,
                       descr);
    }
    n->type = descr[2] == '4' ? DATA_F32 : DATA_F64;
    n->little_endian = descr[0] == '<';
    return AD_OK;
}

static ad_status read_shape(npy *n) {
    if (!take(n, "(")) return fail(n, "expected a tuple as shape");
    bool comma = true;
    for (n->rank = 0; comma && !take(n, ")"); n->rank++) {
        uint64_t dim;
        if (!take_integer(n, &dim)) return fail(n, "expected a size in shape");
        if (n->rank < 2) n->dim[n->rank] = dim;
        comma = take(n, ",");
        if (!comma && (n->rank == 0 || !take(n, ")"))) return fail(n, "expected ',' or ')' in shape");
    }
    if (n->rank == 1 || n->rank == 2) return AD_OK;
    return ad_fail(n->error, AD_EFORMAT, "%s: an array of %d dimensions, expected 1 (a column) or 2 (rows x columns)",
                   n->path, n->rank);
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
    n->fortran_order = take(n, "True");
    return n->fortran_order || take(n, "False") ? AD_OK : fail(n, "expected True or False");
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

// Finds the header's text, and with it where the elements start.
static ad_status find_header(npy *n, const data_map *map, size_t *offset) {
    const unsigned char *b = map->bytes;
    if (map->size < MAGIC + 4 || memcmp(b, "\x93NUMPY", MAGIC) != 0) {
        return ad_fail(n->error, AD_EFORMAT, "%s: not a .npy file: it does not start with \\x93NUMPY", n->path);
    }
    if (b[6] < 1 || b[6] > 3 || b[7] != 0) {
        return ad_fail(n->error, AD_EFORMAT, "%s: .npy version %d.%d, expected 1.0, 2.0 or 3.0", n->path, b[6], b[7]);
    }
    size_t start = b[6] == 1 ? 10 : 12;
    size_t size = map->size < start ? 0 : b[8] + 256u * b[9];
    if (start == 12 && size > 0) size += (size_t)b[10] << 16 | (size_t)b[11] << 24;
    if (map->size < start || size > map->size - start || size > LONGEST_HEADER) {
        return ad_fail(n->error, AD_EFORMAT,
                       "%s: .npy header of %zu bytes, expected at most %d and no more than the file has", n->path, size,
                       LONGEST_HEADER);
    }
    n->start = n->at = (const char *)b + start;
    n->end = n->start + size;
    *offset = start + size;
    return AD_OK;
}

// ---- the elements ----

// Copies rows x columns elements into C order and the machine's byte order.
static void copy_elements(const npy *n, unsigned char *out, const unsigned char *in, size_t rows, size_t columns) {
    size_t size = data_type_size(n->type);
    bool swap = n->little_endian != data_host_is_little_endian();
    for (size_t i = 0; i < rows * columns; i++, out += size) {
        size_t from = n->fortran_order ? (i % columns) * rows + i / columns : i;
        if (swap) {
            for (size_t k = 0; k < size; k++) out[k] = in[from * size + size - 1 - k];
        } else {
            memcpy(out, in + from * size, size);
        }
    }
}

static data_table *read_elements(const npy *n, data_map *map, size_t offset) {
    uint64_t rows = n->dim[0], columns = n->rank == 2 ? n->dim[1] : 1, left = map->size - offset;
    size_t bytes =
        rows > INT64_MAX || columns > INT64_MAX ? 0 : data_table_bytes(n->type, (int64_t)rows, (int64_t)columns);
    if (bytes == 0 || bytes != left) {
        ad_fail(n->error, AD_EFORMAT, "%s: %llu x %llu elements of %zu bytes%s, but %llu bytes follow the header",
                n->path, (unsigned long long)rows, (unsigned long long)columns, data_type_size(n->type),
                rows == 0 || columns == 0 ? " (none)" : "", (unsigned long long)left);
        return NULL;
    }
    const unsigned char *in = map->bytes + offset;
    bool vector = rows == 1 || columns == 1;
    bool in_place = (!n->fortran_order || vector) && n->little_endian == data_host_is_little_endian() &&
                    (uintptr_t)in % data_type_size(n->type) == 0;
    data_table *table = in_place ? data_table_bare(n->type, (int64_t)rows, (int64_t)columns, n->error)
                                 : data_table_new(n->type, (int64_t)rows, (int64_t)columns, n->error);
    if (table == NULL) return NULL;
    if (in_place) {
        table->values = in;
        table->storage->map = *map;
        map->bytes = NULL;
    } else {
        copy_elements(n, data_values(table), in, (size_t)rows, (size_t)columns);
    }
    return table;
}

data_table *data_read_npy(const char *path, ad_error *error) {
    data_map map;
    if (data_map_file(path, &map, error) != AD_OK) return NULL;
    npy n = {.path = path, .error = error};
    size_t offset = 0;
    data_table *table = NULL;
    if (find_header(&n, &map, &offset) == AD_OK && read_header(&n) == AD_OK) table = read_elements(&n, &map, offset);
    data_unmap(&map);
    return table;
}

// ---- writing ----

ad_status data_write_npy(const char *path, const data_table *table, ad_error *error) {
    size_t bytes = data_table_bytes(table->type, table->rows, table->columns);
    if (bytes == 0 || table->values == NULL) {
        return ad_fail(error, AD_EARG, "%s: no values to write: a table of %lld x %lld", path, (long long)table->rows,
                       (long long)table->columns);
    }
    char header[4 * ALIGNMENT];
    char order = data_host_is_little_endian() != table->swapped ? '<' : '>';
    int n = snprintf(header, sizeof header,
                     "\x93NUMPY%c%c..{'descr': '%c%s', 'fortran_order': False, 'shape': (%lld, %lld), }", 1, 0,
                     data_type_size(table->type) == 1 ? '|' : order, data_type_name(table->type),
                     (long long)table->rows, (long long)table->columns);
    size_t size = ((size_t)n + 1 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    memset(header + n, ' ', size - (size_t)n);
    header[size - 1] = '\n';
    header[8] = (char)((size - 10) & 255);
    header[9] = (char)((size - 10) >> 8);
    data_writer writer;
    data_writer_open(&writer, path, error);
    data_writer_put(&writer, header, size);
    size_t row = bytes / (size_t)table->rows, pieces = row == data_row_stride(table) ? 1 : (size_t)table->rows;
    for (size_t i = 0; i < pieces; i++) {
        data_writer_put(&writer, data_elements_at(table, (int64_t)i, 0).bytes, bytes / pieces);
    }
    return data_writer_commit(&writer);
}
