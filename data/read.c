// read.c -- reads a table in whichever format the file has.
#include <string.h>

#include <sys/stat.h>

#include "images.h"

bool data_ends_with(const char *path, const char *ending) {
    size_t n = strlen(path), m = strlen(ending);
    if (n <= m) return false;
    for (size_t i = 0; i < m; i++) {
        char c = path[n - m + i];
        if (c >= 'A' && c <= 'Z') c = (char)(c + 'a' - 'A');
        if (c != ending[i]) return false;
    }
    return true;
}

static bool npy_magic(const unsigned char *bytes, size_t size) {
    return size >= DATA_NPY_MAGIC && memcmp(bytes, "\x93NUMPY", DATA_NPY_MAGIC) == 0;
}

static bool zip_magic(const unsigned char *bytes, size_t size) {
    return size >= 4 && memcmp(bytes, "PK\3\4", 4) == 0;
}

static data_table *read_npz(const char *path, ad_error *error) {
    return data_read_npz(path, NULL, error);
}

static data_table *read_png(const char *path, ad_error *error) {
    return data_read_png(path, NULL, NULL, error);
}

static bool hdf5_magic(const unsigned char *bytes, size_t size) {
    return size >= 8 && memcmp(bytes, "\x89HDF\r\n\x1a\n", 8) == 0;
}

// libhdf5 hangs or worse over files that are made to harm: it takes a caller who trusts the file.
static data_table *name_hdf5(const char *path, ad_error *error) {
    ad_fail(error, AD_EARG, "%s: an HDF5 file; where you trust its origin, read it with data_read_hdf5", path);
    return NULL;
}

static data_table *read_csv(const char *path, ad_error *error) {
    return data_read_csv(path, NULL, error);
}

static data_table *read_cifar(const char *path, ad_error *error) {
    return data_read_cifar(&path, 1, NULL, error);
}

typedef struct format {
    bool (*magic)(const unsigned char *bytes, size_t size);  // whether the first bytes tell it; NULL: they never do
    bool compressed;                                         // may stand in a file of gzip
    const char *endings[2];
    data_table *(*read)(const char *path, ad_error *error);
} format;

static const format formats[] = {
    {npy_magic, true, {".npy", ".npy.gz"}, data_read_npy},
    {zip_magic, false, {".npz", NULL}, read_npz},
    {data_png_magic, false, {".png", NULL}, read_png},
    {hdf5_magic, false, {".h5", ".hdf5"}, name_hdf5},
    {data_idx_magic, true, {"-ubyte", "-ubyte.gz"}, data_read_idx},
    {NULL, true, {".csv", ".csv.gz"}, read_csv},
    {NULL, true, {".tsv", ".tsv.gz"}, read_csv},
    {NULL, true, {".txt", ".txt.gz"}, read_csv},
};
enum { FORMATS = sizeof formats / sizeof *formats };

// The format of a file whose bytes, out of gzip or not, begin like this. Contents go before endings.
static const format *find(const char *path, const unsigned char *bytes, size_t size, bool compressed) {
    for (int i = 0; i < FORMATS; i++) {
        bool may_be = formats[i].magic != NULL && (formats[i].compressed || !compressed);
        if (may_be && formats[i].magic(bytes, size)) return &formats[i];
    }
    for (int i = 0; i < FORMATS; i++) {
        for (int k = 0; k < 2 && formats[i].endings[k] != NULL; k++) {
            if (data_ends_with(path, formats[i].endings[k])) return &formats[i];
        }
    }
    return NULL;
}

data_table *data_read(const char *path, ad_error *error) {
    data_map map;
    struct stat info;
    if (path != NULL && stat(path, &info) == 0 && S_ISDIR(info.st_mode)) return read_png(path, error);
    if (data_map_file(path, &map, error) != AD_OK) return NULL;
    // Records of CIFAR may begin like anything: their name, size and labels together tell them.
    bool cifar = data_ends_with(path, ".bin") && data_cifar_fits(&map);
    bool compressed = data_gz_magic(map.bytes, map.size);
    const format *found = cifar || compressed ? NULL : find(path, map.bytes, map.size, false);
    data_unmap(&map);
    if (cifar) return read_cifar(path, error);
    if (compressed) {
        data_stream stream;
        ad_status status = data_gz_open(&stream, path, error);
        if (status == AD_OK) found = find(path, stream.head, stream.head_size, true);
        data_gz_close(&stream);
        if (status != AD_OK) return NULL;
    }
    if (found != NULL) return found->read(path, error);
    ad_fail(error, AD_EFORMAT,
            "%s: not a kind of file that is known: expected .npy, .npz, IDX, PNG, CIFAR, .csv, .tsv or .txt (raw "
            "data has a function of "
            "its own)",
            path);
    return NULL;
}
