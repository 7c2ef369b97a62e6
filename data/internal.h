// internal.h -- shared inside data/: storage, files read and written, checked sizes.
#ifndef PULLBACK_DATA_INTERNAL_H
#define PULLBACK_DATA_INTERNAL_H

#include <sys/types.h>

#include "data.h"

// A file's bytes, mapped read-only.
typedef struct data_map {
    const unsigned char *bytes;
    size_t size;
} data_map;

struct data_storage {
    void *memory;  // values we allocated; a whole file of tensors
    void *extra;   // names of a table's columns; copies of tensors that the file holds misaligned
    data_map map;
};

// a * b, a + b: false when the result does not fit.
static inline bool data_mul(uint64_t a, uint64_t b, uint64_t *out) {
    *out = a * b;
    return a == 0 || b <= UINT64_MAX / a;
}
static inline bool data_add(uint64_t a, uint64_t b, uint64_t *out) {
    *out = a + b;
    return b <= UINT64_MAX - a;
}
static inline bool data_host_is_little_endian(void) {
    const uint16_t one = 1;
    return *(const unsigned char *)&one == 1;
}

// Zero bits above the highest and below the lowest one; x is not 0.
#ifdef __GNUC__
static inline int data_leading_zeros(uint64_t x) {
    return __builtin_clzll(x);
}
static inline int data_trailing_zeros(uint64_t x) {
    return __builtin_ctzll(x);
}
#else
static inline int data_leading_zeros(uint64_t x) {
    int n = 0;
    for (; x >> 63 == 0; x <<= 1) n++;
    return n;
}
static inline int data_trailing_zeros(uint64_t x) {
    int n = 0;
    for (; (x & 1) == 0; x >>= 1) n++;
    return n;
}
#endif

// ---- elements ----

bool data_type_ok(data_type type);
// The type that numpy calls name[0..size), such as "f4".
bool data_type_find(const char *name, size_t size, data_type *type);
// Turns the bytes of n elements around.
void data_swap(data_type type, void *elements, size_t n);

// Elements as they are stored, at any address.
typedef struct data_elements {
    const unsigned char *bytes;
    data_type type;
    bool swapped;
} data_elements;

// Converts n of them to type; to is aligned.
void data_convert_elements(const data_elements *from, size_t n, ad_type type, void *to);

// Bytes of rows x columns elements, at least one of each; 0 when that does not fit in half the address space.
size_t data_table_bytes(data_type type, int64_t rows, int64_t columns);
// A table without values.
data_table *data_table_bare(data_type type, int64_t rows, int64_t columns, ad_error *error);
size_t data_row_stride(const data_table *table);  // bytes
data_elements data_elements_at(const data_table *table, int64_t row, int64_t column);

// ---- arrays in files ----

// What a file says of an array: the first dimension counts rows, the others are a row's shape.
typedef struct data_array {
    const char *path;  // for messages: the file, with what it holds where it holds several
    ad_error *error;
    data_type type;
    bool swapped;        // the elements are in the byte order that is not the machine's
    bool fortran_order;  // the first index varies fastest
    int rank;
    uint64_t dim[AD_MAX_RANK + 1];
    size_t offset;  // of the elements, from the start of the file
    // From the above, by data_array_check:
    int64_t rows, columns;
    ad_shape shape;
    size_t bytes;  // of the elements
} data_array;

// Whether such an array can be a table, and its elements fill the size bytes of its file from offset on; or any number
// of bytes when the size is not known.
#define DATA_UNKNOWN UINT64_MAX
ad_status data_array_check(data_array *array, uint64_t size);
// The table of a checked array. Takes the map, of which the table keeps what it can read in place.
data_table *data_array_map(const data_array *array, data_map *map);
// The table of a checked array over its elements as they are in the file, which it takes: memory of malloc.
data_table *data_array_own(const data_array *array, void *elements);

// Reads a file's header from its first size bytes: sets all but what data_array_check sets.
typedef ad_status (*data_header)(data_array *array, const unsigned char *bytes, size_t size);
// Reads a file, or one compressed by gzip, whose header is followed by elements alone.
data_table *data_read_array(const char *path, data_header header, ad_error *error);

ad_status data_idx_header(data_array *array, const unsigned char *bytes, size_t size);
bool data_idx_magic(const unsigned char *bytes, size_t size);
// Whether a file's size and labels are those of CIFAR.
bool data_cifar_fits(const data_map *map);
ad_status data_npy_header(data_array *array, const unsigned char *bytes, size_t size);
enum { DATA_NPY_LONGEST = 10000, DATA_NPY_MAGIC = 6, DATA_NPY_SHORTEST = 10 };
// Writes the header of a .npy file and returns its size; at most DATA_NPY_HEADER bytes.
enum { DATA_NPY_HEADER = 320 };
size_t data_npy_print(const data_table *table, char out[DATA_NPY_HEADER]);
// Whether the table has values to be written, else AD_EARG.
ad_status data_check_written(const char *path, const data_table *table, ad_error *error);

// ---- reading files ----

// In either case; strcasecmp would ask the locale.
bool data_ends_with(const char *path, const char *ending);
// What errno says, in words that do not depend on the locale. Static, or written to buffer.
const char *data_system_text(int code, char buffer[32]);
// Fails with AD_EIO and "PATH: could not ACTION: REASON".
ad_status data_fail_system(ad_error *error, const char *path, const char *action, int code);
// Opens a regular file that is not empty: its descriptor and size, or -1.
int data_open(const char *path, uint64_t *size, ad_error *error);
ad_status data_map_file(const char *path, data_map *map, ad_error *error);
void data_unmap(data_map *map);
// Reads exactly size bytes at offset.
ad_status data_read_at(int fd, const char *path, void *buffer, size_t size, uint64_t offset, ad_error *error);

// ---- bytes that come in order ----

// A .gz file, or a member of a zip file: compressed, so that what is in it is known only on the way.
enum { DATA_HEAD = 16384 };
typedef struct data_stream {
    const char *path;  // for messages
    ad_error *error;
    uint64_t packed;  // compressed bytes: they bound what may be in them
    uint64_t taken;   // of them, those read so far
    // Reads size bytes into out, fewer only at the end: *n. At the end all checksums have been checked.
    ad_status (*read)(struct data_stream *stream, void *out, size_t size, size_t *n);
    void *from;
    unsigned char head[DATA_HEAD];  // the first bytes, for a header to be read from
    size_t head_size;
} data_stream;

// Opens a file of gzip, reads its head, and closes it.
ad_status data_gz_open(data_stream *stream, const char *path, ad_error *error);
void data_gz_close(data_stream *stream);
bool data_gz_magic(const unsigned char *bytes, size_t size);
// Reads the head, after which comes one of:
ad_status data_stream_start(data_stream *stream);
// the table of an array whose header stood in the head;
data_table *data_stream_array(data_stream *stream, const data_array *array);
// or all bytes, the head included, to be freed. NULL on error.
void *data_stream_all(data_stream *stream, size_t *size);

// ---- writing files ----

// A file that appears at path whole, at commit, or never. Calls after a failure do nothing, and commit returns it.
typedef struct data_writer {
    const char *path;  // borrowed
    const char *base;  // its last component
    char temp[256];    // the temporary file's name, in the same directory
    int dir, fd;
    ad_status status;
    ad_error *error;
} data_writer;

void data_writer_open(data_writer *writer, const char *path, ad_error *error);
void data_writer_put(data_writer *writer, const void *bytes, size_t size);
// Writes over what was put at offset.
void data_writer_put_at(data_writer *writer, const void *bytes, size_t size, uint64_t offset);
ad_status data_writer_commit(data_writer *writer);
// Instead of commit, after a failure that the writer does not know of: leaves everything as it was.
void data_writer_abandon(data_writer *writer, ad_status status);

// ---- numbers in text ----

typedef enum data_number { DATA_NUMBER, DATA_NOT_A_NUMBER, DATA_TOO_LARGE } data_number;
// Reads all of text[0..size) as a decimal number, nan or inf, correctly rounded.
data_number data_parse_number(const char *text, size_t size, double *value);
// Reads the decimal number that text, up to end, begins with. Returns where it ends; NULL where there is none, or where
// data_parse_number has to tell.
const char *data_scan_number(const char *text, const char *end, double *value);
// The double nearest to w * 10^q, infinite when it is too large; false, at ties and next to them, when it cannot tell.
bool data_decimal(uint64_t w, int64_t q, double *value);

bool data_utf8_ok(const char *text);
// Copies at most room - 1 bytes of text for a message, with '?' for what does not print and "..." where cut. Returns
// out.
char *data_quote(char *out, size_t room, const char *text, size_t size);

#endif
