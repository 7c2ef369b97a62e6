// data.h -- files in and out, batches, and densities to sample: what feeds a tape and keeps its results.
//
//     ad_error error;
//     data_table *table = data_read("points.csv", &error);        // .csv, .tsv or .npy
//     if (table == NULL) { puts(error.message); return 1; }
//     data_batches batches = {.count = table->rows, .size = 256, .seed = 1};
//     int64_t rows[256];
//     int64_t n = data_batch(&batches, epoch, k, rows);            // shuffled row numbers, no row is copied
//     ad_source source = data_source(table, 0, rows);              // for ad_input; then ad_rows_set(set, n, 0)
//
// examples/csv_to_batches.c goes the whole way: columns chosen, rows split, features and context, batches, a trained flow.
//
// Files are never trusted: every size is checked before it is believed, and a bad file gives a message that names the
// file, the place in it, and what was expected. Files are written whole or not at all: a kill at any moment leaves the
// old file or the new one.
#ifndef PULLBACK_DATA_H
#define PULLBACK_DATA_H

#include "ad.h"

#ifdef __cplusplus
extern "C" {
#endif

// ---- tables -------------------------------------------------------------------------------------------------------

typedef struct data_storage data_storage;  // what a table's values live in: memory of its own or a mapped file

// What elements are stored as. A table keeps the type that its file has: bytes stay bytes, and a batch of them is
// converted when it is gathered.
typedef enum data_type {
    DATA_F32 = AD_F32,
    DATA_F64 = AD_F64,
    DATA_F16,
    DATA_I8,
    DATA_I16,
    DATA_I32,
    DATA_I64,  // beyond 2^53 (2^24 in AD_F32) conversion rounds to nearest; so for DATA_U64
    DATA_U8,
    DATA_U16,
    DATA_U32,
    DATA_U64,
    DATA_BOOL,  // a byte: 0, or else 1
    DATA_TYPES
} data_type;

// Bytes of an element; 0 when there is no such type.
AD_API size_t data_type_size(data_type type);
// Its name in numpy: "f4", "u1", "b1" for bool. Static.
AD_API const char *data_type_name(data_type type);

// Numbers in rows and columns, row-major. Fields may be read. A table that is only to be written or gathered from can
// be made on the stack over the caller's own values, with the rest zero.
typedef struct data_table {
    data_type type;
    int64_t rows, columns;     // columns: elements of a row
    ad_shape shape;            // of a row, with as many elements: [28][28] of an image; rank 0 may stand for [columns]
    const void *values;        // row r starts at byte r * row_stride, its elements packed
    size_t row_stride;         // bytes; 0: rows are packed
    bool swapped;              // in the byte order that is not the machine's
    const char *const *names;  // [columns] from a header line, or NULL
    data_storage *storage;     // private
} data_table;

// A new table owned by the caller, packed, values zero and to be written through data_values. Its shape is [columns],
// which may be changed to another of as many elements. NULL on error.
AD_API data_table *data_table_new(data_type type, int64_t rows, int64_t columns, ad_error *error);
AD_API void data_table_free(data_table *table);
// The values of a table of data_table_new, to write; NULL for one that is mapped or borrowed.
AD_API void *data_values(data_table *table);
// Element (row, column) as a double; NaN when there is none.
AD_API double data_get(const data_table *table, int64_t row, int64_t column);

// Writes elements first_column .. first_column + columns - 1 of n rows to out, [n][columns] of type. rows: their
// numbers, or NULL for the first n. Doubles too large for a float become infinite. AD_EARG when a row or column is not
// in the table; then out may be written in part.
AD_API ad_status data_gather(const data_table *table, const int64_t *rows, int64_t n, int64_t first_column,
                             int64_t columns, ad_type type, void *out, ad_error *error);
// A new table of the same rows, shape and names, its values converted to type; owned by the caller. NULL on error.
AD_API data_table *data_convert(const data_table *table, ad_type type, ad_error *error);

// Whether data_source can read the table in place: its elements are f4 or f8, aligned, in the machine's byte order.
AD_API bool data_in_place(const data_table *table);
// Rows of the table for ad_input, starting at a column: the input's shape says how many columns follow, which the
// caller keeps within table->columns. index: row numbers, or NULL for all in order. Reads the table in place (a mapped
// file too), so it borrows table and index. Where data_in_place says no, the source has no data and a run with it
// fails: gather batches, or convert the table.
AD_API ad_source data_source(const data_table *table, int64_t first_column, const int64_t *index);

// AD_OK when every value is finite; else AD_ENONFINITE and a message naming the first bad row and column, from 1.
AD_API ad_status data_check_finite(const data_table *table, ad_error *error);

// ---- reading and writing tables -----------------------------------------------------------------------------------

// Reads a table in whichever format the file has: .npy and IDX (both also compressed by gzip), .npz of one array, PNG
// (an image, or a folder of them) and CIFAR by their content, text tables by the endings .csv, .tsv and .txt
// (also with .gz behind). The functions below have the options. NULL on error. The caller owns the table.
AD_API data_table *data_read(const char *path, ad_error *error);

// What becomes of a missing field: an empty one, NA, or missing_text.
typedef enum data_missing {
    DATA_MISSING_ERROR = 0,
    DATA_MISSING_NAN,  // NaN
    DATA_MISSING_DROP  // its row is left out; so is a row with a field that says nan
} data_missing;

typedef enum data_cache {
    DATA_CACHE_LARGE = 0,  // when the numbers take more than 64 MiB
    DATA_CACHE_NEVER,      // the numbers are read into memory
    DATA_CACHE_ALWAYS
} data_cache;

typedef struct data_csv_options {
    char separator;  // ',', ';', '|', a tab, or ' ' for runs of blanks and tabs. 0: found in the first row: a tab, else
                     // a semicolon, else a comma, else blanks, whichever there is
    int header;      // 1: the first row holds names; -1: it holds numbers; 0: names when no field of it is a number
    data_missing missing;
    const char *missing_text;  // such as "?"; NULL: none
    // The columns wanted, in this order: names of the header, or numbers from 0. The other columns may hold anything.
    const char *const *columns;     // [n_columns], or NULL
    const int64_t *column_numbers;  // [n_columns], or NULL
    int64_t n_columns;              // 0: all columns
    data_cache cache;
    const char *cache_dir;  // an existing directory for the cache; NULL: the file's own
} data_csv_options;

// Reads a text table, plain or gzip, as doubles: fields parted by a separator (RFC 4180: quotes, CRLF; a UTF-8
// byte-order mark is skipped) or by blanks. options may be NULL. Every row has as many fields as the first and at most
// 1 MiB; empty lines are skipped. Numbers are decimal with a point, or nan and inf, read correctly rounded whatever the
// locale. Errors name file, line and column; AD_EARG is about the columns wanted, and lists names where one is unknown.
//
// The file is read once, in blocks. Numbers of more than 64 MiB go to a cache, FILE.cache beside the file
// (FILE.xxxxxxxx.cache with options other than these defaults, by their hash), which is mapped: so memory stays small
// whatever the size, and a second call only hashes the text. A cache is used only if its own digest is right and it
// says that it was made from a file of the same content (XXH3) with the same options; else it is written anew, whole or
// not at all. It may be deleted at any time, and must not be truncated while a table of it lives. Where it cannot be
// written the numbers are read into memory, with the same result, unless they are more than the machine has.
AD_API data_table *data_read_csv(const char *path, const data_csv_options *options, ad_error *error);

// Reads an array of numpy, of any data_type in either byte order. Its first axis counts rows, the others are a row's
// shape; a 1-D array is a column of scalars. Files in C order are mapped and read in place, so the file must not be
// truncated while the table lives; Fortran order is copied, and so are f4 and f8 that data_source could not read.
AD_API data_table *data_read_npy(const char *path, ad_error *error);

// Writes the table as an array of shape [rows][shape] in format version 1.0, in its own type, atomically.
AD_API ad_status data_write_npy(const char *path, const data_table *table, ad_error *error);

// Reads an array out of numpy's .npz (savez, savez_compressed), as data_read_npy does, into memory. name: without its
// ending .npy; NULL: the only one. Checksums are checked. Refused are files with names that are absolute, hold ".." or
// stand twice, encrypted members, and arrays above 8 MiB that claim to be 1,000 times their compressed size.
AD_API data_table *data_read_npz(const char *path, const char *name, ad_error *error);
// The names of its arrays, sorted, ended by NULL, all in one block for free(). NULL on error.
AD_API char **data_npz_names(const char *path, ad_error *error);

typedef struct data_named {
    const char *name;
    const data_table *table;
} data_named;

// Writes n tables under distinct names as .npz, atomically; compress: by deflate.
AD_API ad_status data_write_npz(const char *path, const data_named *arrays, int n, bool compress, ad_error *error);

// Reads an array in the IDX format (MNIST), as it is or compressed by gzip: u1, i1, i2, i4, f4 or f8, up to 7 axes, of
// which the first counts rows. What is not compressed is mapped, as by data_read_npy.
AD_API data_table *data_read_idx(const char *path, ad_error *error);

// What a file of elements alone holds: rows of a shape in C order.
typedef struct data_raw {
    data_type type;
    ad_shape shape;   // of a row; rank 0: scalars
    int64_t rows;     // 0: as many as the file has; the file ends with the last
    uint64_t offset;  // of the first row, in bytes
    bool big_endian;
} data_raw;

// Reads such a file, or, when its name ends in .gz, one compressed by gzip. What is not compressed is mapped, as by
// data_read_npy.
AD_API data_table *data_read_raw(const char *path, const data_raw *raw, ad_error *error);

// Reads n files of CIFAR-10 or of CIFAR-100 in their binary version: images of bytes, shape [3][32][32]. A single file
// is mapped and read in place. Labels, where wanted (else NULL), are a table of bytes of their own: one column
// "class", or "coarse" and "fine" in CIFAR-100; the caller owns both tables. On error both are NULL.
AD_API data_table *data_read_cifar(const char *const *paths, int n, data_table **labels, ad_error *error);

// Reads the PNG images of a folder, all of one size and kind, in the order of their names; or a single image. Bytes or
// 16-bit numbers of shape [height][width][channels]: grey, grey and alpha, RGB, or RGB and alpha; palettes are
// expanded. Where the folder has folders, these are classes, in the order of their names: labels, where wanted (else
// NULL), is a table of one column "class" that counts from 0, and classes their names, ended by NULL, in one block for
// free(); both are NULL when there are no folders, and on error. Sides up to 16,384. The caller owns all.
AD_API data_table *data_read_png(const char *path, data_table **labels, char ***classes, ad_error *error);

// Reads a data set of an HDF5 file into memory: integers and reals of any shape up to 7 axes. name: its path in the
// file, such as "/train/x"; NULL: the only one of the root group. Fails where the library was built without libhdf5.
// libhdf5 hangs, leaks memory or crashes over files that are made to harm: so it reads in a child process (fork; Linux and
// the like), which may take 2,000 times the file's size in memory, and is given up when it says nothing for 2 seconds and one
// more for every 10 MB. What it does with a file beyond that is its own: data_read does not call it. Not to be called from two
// threads.
AD_API data_table *data_read_hdf5(const char *path, const char *name, ad_error *error);

// ---- splitting and batches ----------------------------------------------------------------------------------------

// Row numbers of three parts.
typedef struct data_split {
    int64_t *train, *valid, *test;
    int64_t n_train, n_valid, n_test;
} data_split;

// Puts each of 0..rows-1 into valid or test with these probabilities, else into train, by a hash of its number and
// seed: a row stays in its part when rows are appended. Each part is in ascending order; for few rows it may be empty.
// NULL on error. The caller owns the split.
AD_API data_split *data_split_new(int64_t rows, double valid, double test, uint64_t seed, ad_error *error);
// A copy of parts that are given, in the order given: row numbers in 0..rows-1, none twice, and not all need be there.
AD_API data_split *data_split_given(int64_t rows, const data_split *given, ad_error *error);
AD_API void data_split_free(data_split *split);

// How rows are drawn. A plain value, nothing to free: batch k of epoch e is a function of these fields, e and k alone,
// so training resumes anywhere, and no permutation is ever stored.
typedef struct data_batches {
    int64_t count;  // rows to draw from
    int64_t size;   // rows in a batch
    uint64_t seed;
    const int64_t *index;  // [count] their numbers (data_split), borrowed; NULL: 0 .. count-1
    bool drop_last;        // leave out the last batch of an epoch when it is not full
    bool in_order;         // no shuffling
} data_batches;

// Number of batches in an epoch; 0 when count or size is not positive.
AD_API int64_t data_batch_count(const data_batches *batches);
// Fills rows[0..n) and returns n <= size: size, or what is left in the last batch; 0 when there is no such batch. The
// batches of an epoch hold every row once, in an order that a Feistel network over the row numbers gives.
AD_API int64_t data_batch(const data_batches *batches, int64_t epoch, int64_t batch, int64_t *rows);

// ---- sets: what a model learns from --------------------------------------------------------------------------------
//
//     data_set set;
//     data_set_make(&set, &(data_set_parts){.x = {{table, 0, 6}}, .labels = {table, 6, 1}, .weight = {weights}},
//     &error); data_batches batches = {.count = split->n_train, .size = 256, .seed = 1, .index = split->train};
//     data_loader *loader = data_loader_new(&set, &batches, NULL, &error);
//     for (int64_t step = 0; step < steps; step++) {
//         const data_loaded *b = data_loader_next(loader, &error);
//         if (b == NULL) ...                                       // error says why
//         ad_tape_reset(tape);
//         ad_rows rows = ad_rows_new(tape, "data");
//         ad_rows_set(rows, b->n, 0);
//         ad_var x = ad_input(rows, ad_shape1(set.features), &b->x);
//         ad_var context = ad_input(rows, ad_shape1(set.context), &b->context);
//         ad_var weight = ad_input(rows, ad_shape0(), &b->weight);
//         ad_var total = ad_sum_rows(ad_mul(weight, flow_log_prob(model, x, context)));
//         ad_backward(ad_neg(ad_div(total, ad_sum_rows(weight))));
//         ...
//     }

// Columns of a table, borrowed.
typedef struct data_columns {
    const data_table *table;  // NULL: none
    int64_t first, count;     // columns first .. first + count - 1; count 0: all from first on
} data_columns;

enum { DATA_MOST_COLUMNS = 8 };
// What its rows are made of. All tables have as many rows.
typedef struct data_set_parts {
    data_columns x[DATA_MOST_COLUMNS];  // features, side by side in this order; the first without a table ends them
    data_columns context[DATA_MOST_COLUMNS];  // likewise; may be none
    data_columns labels;                      // a column of classes 0, 1, ..., which become context behind the others:
    bool label_number;                        // as one number; else one-hot, [classes] of 0 with a 1
    int64_t classes;                          // 0: the largest label + 1
    data_columns weight;                      // a column of finite numbers, none negative
} data_set_parts;

// A plain value, nothing to free. Borrows the tables.
typedef struct data_set {
    data_set_parts parts;  // with counts and classes filled in
    int64_t rows;
    int64_t features, context;  // numbers of a row
    bool weighted;
} data_set;

// Checks the parts, all labels and weights too, and fills in *set.
AD_API ad_status data_set_make(data_set *set, const data_set_parts *parts, ad_error *error);

typedef enum data_part { DATA_X = 0, DATA_CONTEXT, DATA_WEIGHT } data_part;
// Numbers that a part of a row has: features, context, or 1 or 0 for the weight.
AD_API int64_t data_set_width(const data_set *set, data_part part);
// Writes a part of n rows to out, [n][width] of type. rows: their numbers, or NULL for the first n.
AD_API ad_status data_set_gather(const data_set *set, data_part part, const int64_t *rows, int64_t n, ad_type type,
                                 void *out, ad_error *error);
// A part of all rows as a new table in memory, for those who take tables or sources, as optim_fit does. NULL on error.
AD_API data_table *data_set_table(const data_set *set, data_part part, ad_type type, ad_error *error);

// What a set holds, in hexadecimal and ended by a 0: XXH3 (128 bits) of the values, types and shapes of its columns and
// of what they are for. The same for the same content in any format, byte order or place; another, nearly surely, when
// a bit of it differs. To be stored with a checkpoint and compared when training goes on. Reads all rows once, in
// order.
enum { DATA_FINGERPRINT_SIZE = 33 };
AD_API ad_status data_fingerprint(const data_set *set, char fingerprint[DATA_FINGERPRINT_SIZE], ad_error *error);

// ---- batches, assembled ----

typedef struct data_loaded {
    int64_t epoch, batch;          // which one it is
    int64_t n;                     // rows
    const int64_t *rows;           // [n] their numbers
    ad_source x, context, weight;  // of n rows, packed, for ad_input; data NULL where the set has none
} data_loaded;

typedef struct data_loader_options {
    ad_type type;          // of the batches
    int ahead;             // batches that a thread assembles ahead: 0: 2; negative: none, and there is no thread
    int64_t epoch, batch;  // the first batch: what comes after the last one that was trained on
} data_loader_options;

// Assembles the batches one after the other, through the epochs, without end; the same ones with a thread and without.
// Copies set and batches, borrows tables and index; options may be NULL. NULL on error, and when there are no batches.
typedef struct data_loader data_loader;
AD_API data_loader *data_loader_new(const data_set *set, const data_batches *batches,
                                    const data_loader_options *options, ad_error *error);
// The next batch, owned by the loader and overwritten by the next call; always at the same address. NULL when it could
// not be assembled, and then at each further call. For one thread at a time.
AD_API const data_loaded *data_loader_next(data_loader *loader, ad_error *error);
// Stops the thread and frees all. Safe at any moment between calls.
AD_API void data_loader_free(data_loader *loader);

// ---- tensors in a file (safetensors) ------------------------------------------------------------------------------

// Names are UTF-8 without control characters, at most 256 bytes, never "__metadata__", and distinct.
typedef struct data_tensor {
    const char *name;
    ad_type type;
    ad_shape shape;
    const void *data;  // C order
} data_tensor;

typedef struct data_meta {
    const char *key, *value;
} data_meta;

// What a file holds. To save, fill one in over your own memory with storage NULL.
typedef struct data_tensors {
    const data_tensor *tensor;  // [n]
    int64_t n;
    const data_meta *meta;  // [n_meta] any texts; keys distinct and without "pullback" and "xxh3_128"
    int64_t n_meta;
    data_storage *storage;  // private
} data_tensors;

// Writes a .safetensors file atomically: a temporary file beside it, synced, renamed over path. On failure the old file
// is as it was and the temporary one is gone. The digest of the whole file (XXH3, 128 bits: it finds damage, it is no
// signature) stands in its __metadata__. Doubles come first in the file, so that every tensor is aligned.
AD_API ad_status data_save_tensors(const char *path, const data_tensors *tensors, ad_error *error);

// Reads a whole .safetensors file (F32 and F64; ours or another tool's) into memory, or fails and leaves nothing.
// Holes, overlaps, trailing bytes, duplicate names and sizes that do not fit are errors; so is a digest that does not
// match. Data is aligned for its type. meta is what was saved, without our own entries. The caller owns the result.
AD_API data_tensors *data_load_tensors(const char *path, ad_error *error);
// Frees what data_load_tensors returned.
AD_API void data_tensors_free(data_tensors *tensors);
// The tensor of that name, or NULL. Linear in n.
AD_API const data_tensor *data_find_tensor(const data_tensors *tensors, const char *name);
// The text saved under key, or NULL.
AD_API const char *data_find_meta(const data_tensors *tensors, const char *key);

// ---- densities ----------------------------------------------------------------------------------------------------

// A density to test flows against, in plain C and as ops, so that it can be a target of the reverse KL divergence.
typedef struct data_density {
    const char *name;
    int dimension;
    double entropy;         // differential, in nats: the mean negative log-likelihood of a perfect model
    double log_normaliser;  // log of the integral of exp(log_prob): 0 but for energies
    // Fills x [n][dimension]. Point i depends on seed and first + i alone. NULL: there is no sampler.
    void (*sample)(int64_t n, uint64_t seed, int64_t first, double *x);
    double (*log_density)(const double *x);  // at x [dimension]; of energies not normalised
    // The same as ops: x [dimension] -> [], shared or per row, differentiable. Fails on the tape (AD_ESHAPE).
    ad_var (*log_prob)(ad_var x);
} data_density;

// The density of that name, or NULL: static. The names are below.
AD_API const data_density *data_find_density(const char *name);
// All of them, numbered from 0; NULL beyond the last.
AD_API const data_density *data_density_number(int64_t number);
// Points 0 .. n - 1 of the density as a new table of n x dimension. NULL on error, so when there is no sampler.
AD_API data_table *data_density_table(const data_density *density, ad_type type, int64_t n, uint64_t seed,
                                      ad_error *error);

// Names, definitions and constants; u are uniform in (0, 1), n standard normal, all independent. Constants are closed
// forms or by quadrature; entropy and log_normaliser have them to 1e-9 and better. log_prob and log_density are exact
// to rounding but where an error is given.
//
//   "8gaussians"    (c + .5 n) / 1.414, c one of eight points at radius 4. Entropy 2.83188
//   "checkerboard"  uniform on the squares (2 i, 2 i + 2) x (2 j, 2 j + 2) with i + j even in (-4, 4)^2; log_prob is
//                   -inf off them, and its gradient 0. Entropy log 32 = 3.46574
//   "moons"         below. Entropy 2.39388
//   "circles"       radius 3 or 1.5, any angle, + .24 n. Entropy 3.26814
//   "rings"         radius 3, 2.25, 1.5 or .75, any angle, + .08 n. Entropy 2.62318
//   "swissroll"     (t cos t, t sin t) / 5 + .2 n, t = 1.5 pi (1 + 2 u). Entropy 2.66965. By nodes, as moons
//   "2spirals"      +-((-t cos t + .5 u', t sin t + .5 u'') / 3) + .1 n, t = 3 pi sqrt(u). Entropy 2.64545. By nodes
//   "pinwheel"      (1 + .3 n, .1 n') = f turned by -(2 pi k / 5 + e^f0 / 4), k one of 0 .. 4, and doubled. Entropy 2.31779,
//                   to 1e-8: where arms fold over themselves, of probability 4e-9, one of the layers counts
//   "diamond"       400 points 5 / 19 apart, a square of side 5 turned by 45 degrees, + .04 n. Entropy 2.38608
//   "four_circles"  radius 2 about one of (+-1, +-1), any angle, + .1 n. Entropy 2.87082
//   "gaussian", "banana", "crescent_cubed", "sine", "abs", "sign"  x1 = n, x2 = m(x1) + s n', of entropy log(2 pi e s):
//                   m = 0, x1^2 / 2 - 1, x1^3 / 5, sin(5 x1), |x1| - 1, x1 + sign(x1);
//                   s = 1 / 2, 1 / e, 1, 1 / e, e^-3/2, e^-3/2 (Durkan et al. 2019)
//   "funnel"        [10]: x0 = 3 n, the others e^(x0 / 2) n (Neal 2003). Entropy 5 log(2 pi e) + log 3 = 15.28800
// Energies, log_prob not normalised; samplers are exact, by rejection where need be:
//   "double_well"   a^4 / 4 - 3 a^2 + a + b^2 / 2 (Noe et al. 2019). Log-normaliser 12.06493, entropy 1.63701
//   "many_well_2", "many_well_6", "many_well_32"  the sum over pairs (a, b) of -a / 2 - 6 a^2 + a^4 + b^2 / 2 (Midgley
//                   et al. 2023). A pair has log-normaliser 10.29348 and entropy 1.71858; P(a > 0) is .844307
//   "U1" to "U4"    table 1 of Rezende and Mohamed 2015, as follows; U2 to U4 have no finite mass and so get
//                   z1^2 / 8 added. w1 = sin(pi z1 / 2), w2 = 3 exp(-((z1 - 1) / .6)^2 / 2),
//                   w3 = 3 sigmoid((z1 - 1) / .3), and g(x, s) = exp(-(x / s)^2 / 2):
//       U1 = -log g(|z| - 2, .4) - log(g(z1 - 2, .6) + g(z1 + 2, .6)). Log-normaliser 1.87750, entropy 2.66001
//       U2 = -log g(z2 - w1, .4). Log-normaliser log 1.6 pi = 1.61473, entropy 2.61473
//       U3 = -log(g(z2 - w1, .35) + g(z2 - w1 + w2, .35)). Log-normaliser log 2.8 pi = 2.17435, entropy 2.72294
//       U4 = -log(g(z2 - w1, .4) + g(z2 - w1 + w3, .35)). Log-normaliser log 3 pi = 2.24334, entropy 2.81097

// "moons": t = pi u; an outer point (cos t, sin t) or an inner one (1 - cos t, .5 - sin t), half each, plus normal
// noise of .1 in both coordinates, gives p; x = 2 p + (-1, -.2).
AD_API void data_moons_sample(int64_t n, uint64_t seed, int64_t first, double *x);
// Exact to 1e-10 at any finite point; log_prob, by 384 nodes along the curve, to 1e-8 of its value within 6 of the
// origin, less farther out.
AD_API double data_moons_log_density(const double *x);
#define DATA_MOONS_ENTROPY 2.39387919596635

#ifdef __cplusplus
}
#endif
#endif
