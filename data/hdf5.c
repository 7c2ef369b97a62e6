// hdf5.c -- data sets of HDF5 files, through libhdf5, in a process of its own: damaged files make it crash, hang and
// leak.
#define H5_USE_110_API  // newer libraries have this one too
#include <hdf5.h>
#include <stdlib.h>
#include <string.h>

#include "apart.h"

enum { LONGEST_NAME = 1024, MOST_RATIO = 1000, ALWAYS_FINE = 8 << 20 };

typedef struct file {
    const char *path;
    ad_error *error;
    uint64_t size;
    hid_t file, set, space, type;
} file;

static ad_status fail(const file *f, const char *what) {
    return ad_fail(f->error, AD_EFORMAT, "%s: HDF5: %s", f->path, what);
}

// ---- which data set -------------------------------------------------------------------------------------------------

// Data sets of the root group.
typedef struct names {
    char only[LONGEST_NAME];  // the last one seen
    int n;
} names;

static herr_t see_link(hid_t group, const char *name, const H5L_info_t *info, void *user) {
    names *seen = user;
    H5O_info_t object;
    if (info->type != H5L_TYPE_HARD || H5Oget_info_by_name2(group, name, &object, H5O_INFO_BASIC, H5P_DEFAULT) < 0) {
        return 0;
    }
    if (object.type == H5O_TYPE_DATASET) {
        seen->n++;
        seen->only[0] = '\0';
        if (strlen(name) < LONGEST_NAME) strcpy(seen->only, name);
    }
    return 0;
}

static ad_status open_set(file *f, const char *name) {
    names seen = {.n = 0};
    if (name == NULL) {
        hsize_t at = 0;
        if (H5Literate(f->file, H5_INDEX_NAME, H5_ITER_INC, &at, see_link, &seen) < 0) {
            return fail(f, "its root group cannot be read");
        }
        if (seen.n != 1) {
            return ad_fail(f->error, AD_EFORMAT,
                           "%s: HDF5: %d data sets in the root group, expected one, or to be told which "
                           "(data_read_hdf5)",
                           f->path, seen.n);
        }
        name = seen.only;
    }
    f->set = H5Dopen2(f->file, name, H5P_DEFAULT);
    if (f->set >= 0) return AD_OK;
    return ad_fail(f->error, AD_EFORMAT, "%s: HDF5: no data set \"%s\" that can be opened", f->path, name);
}

// ---- what it is -----------------------------------------------------------------------------------------------------

// The type that the elements are read as: in the machine's order, integers of their own size. -1: none.
static hid_t read_as(const file *f, data_type *type) {
    static const data_type types[2][4] = {{DATA_U8, DATA_U16, DATA_U32, DATA_U64},
                                          {DATA_I8, DATA_I16, DATA_I32, DATA_I64}};
    const hid_t native[2][4] = {{H5T_NATIVE_UINT8, H5T_NATIVE_UINT16, H5T_NATIVE_UINT32, H5T_NATIVE_UINT64},
                                {H5T_NATIVE_INT8, H5T_NATIVE_INT16, H5T_NATIVE_INT32, H5T_NATIVE_INT64}};
    H5T_class_t class = H5Tget_class(f->type);
    size_t size = H5Tget_size(f->type);
    if (class == H5T_FLOAT && size <= 8) {
        *type = size == 8 ? DATA_F64 : DATA_F32;
        return size == 8 ? H5T_NATIVE_DOUBLE : H5T_NATIVE_FLOAT;
    }
    for (int k = 0; class == H5T_INTEGER && k < 4; k++) {
        if (size != (size_t)1 << k) continue;
        int negative = H5Tget_sign(f->type) == H5T_SGN_2;
        *type = types[negative][k];
        return native[negative][k];
    }
    return -1;
}

static ad_status find_shape(file *f, data_array *a) {
    hsize_t dim[H5S_MAX_RANK];
    f->space = H5Dget_space(f->set);
    f->type = H5Dget_type(f->set);
    if (f->space < 0 || f->type < 0 || H5Sget_simple_extent_type(f->space) == H5S_NULL) {
        return fail(f, "a data set without elements");
    }
    a->rank = H5Sget_simple_extent_ndims(f->space);
    if (a->rank < 0 || H5Sget_simple_extent_dims(f->space, dim, NULL) < 0)
        return fail(f, "a shape that cannot be read");
    for (int k = 0; k < a->rank && k <= AD_MAX_RANK; k++) a->dim[k] = dim[k];
    return AD_OK;
}

// A data set may say that its elements, or all of it, are in another file of whatever name.
static ad_status check_place(const file *f) {
    H5O_info_t set, root;
    hid_t how = H5Dget_create_plist(f->set);
    bool here = how >= 0 && H5Pget_external_count(how) == 0 && H5Pget_layout(how) != H5D_VIRTUAL;
    if (how >= 0) H5Pclose(how);
    here = here && H5Oget_info2(f->set, &set, H5O_INFO_BASIC) >= 0 && H5Oget_info2(f->file, &root, H5O_INFO_BASIC) >= 0;
    return here && set.fileno == root.fileno ? AD_OK : fail(f, "a data set that is not in this file itself");
}

// Chunks that were never written stand for any number of fill values; they are held to what compression could do.
static ad_status check_size(const file *f, const data_array *a) {
    if (a->bytes <= ALWAYS_FINE || a->bytes / MOST_RATIO <= f->size) return AD_OK;
    return ad_fail(f->error, AD_EFORMAT,
                   "%s: HDF5: a file of %llu bytes claims %zu of elements, expected at most %d times as many", f->path,
                   (unsigned long long)f->size, a->bytes, MOST_RATIO);
}

// ---- read by the child, received by the parent ----------------------------------------------------------------------

// What the child says before the elements.
typedef struct found {
    ad_error error;  // of status AD_OK: an array follows
    data_type type;
    int rank;
    uint64_t dim[AD_MAX_RANK + 1];
} found;

static void *read_set(file *f, const char *name, data_array *a) {
    if (open_set(f, name) != AD_OK || check_place(f) != AD_OK || find_shape(f, a) != AD_OK) return NULL;
    hid_t as = read_as(f, &a->type);
    if (as < 0) {
        fail(f, "elements that are neither integers of 1, 2, 4 or 8 bytes nor reals of up to 8 bytes");
        return NULL;
    }
    if (data_array_check(a, DATA_UNKNOWN) != AD_OK || check_size(f, a) != AD_OK) return NULL;
    void *elements = malloc(a->bytes);
    if (elements == NULL) {
        ad_fail(f->error, AD_ENOMEM, "%s: out of memory for %zu bytes", f->path, a->bytes);
        return NULL;
    }
    if (H5Dread(f->set, as, H5S_ALL, H5S_ALL, H5P_DEFAULT, elements) >= 0) return elements;
    fail(f, "the elements cannot be read (damaged, or packed in a way that this libhdf5 does not know)");
    free(elements);
    return NULL;
}

static _Noreturn void child(data_apart *apart, file *f, const char *name) {
    found says = {.rank = 0};
    data_array a = {.path = f->path, .error = &says.error};
    f->error = &says.error;
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);  // it prints its errors unless it is told not to
    f->file = H5Fopen(f->path, H5F_ACC_RDONLY, H5P_DEFAULT);
    void *elements = NULL;
    if (f->file < 0) {
        fail(f, "not a file that libhdf5 can open");
    } else {
        elements = read_set(f, name, &a);
    }
    says.type = a.type;
    says.rank = a.rank;
    for (int k = 0; elements && k < a.rank; k++) says.dim[k] = a.dim[k];
    data_apart_send(apart, &says, sizeof says);
    if (elements) data_apart_send(apart, elements, a.bytes);
    data_apart_end(apart);
}

// Checked again: the child may have been led to say anything.
static data_table *receive(data_apart *apart, const file *f, double patience) {
    found says;
    if (!data_apart_receive(apart, &says, sizeof says, patience)) return NULL;
    says.error.message[sizeof says.error.message - 1] = '\0';
    if (says.error.status != AD_OK) {
        ad_fail(f->error, says.error.status, "%s", says.error.message);
        return NULL;
    }
    data_array a = {.path = f->path, .error = f->error, .type = says.type, .rank = says.rank};
    if (says.rank < 0 || says.rank > AD_MAX_RANK + 1 || data_type_size(says.type) == 0) return NULL;
    for (int k = 0; k < says.rank; k++) a.dim[k] = says.dim[k];
    if (data_array_check(&a, DATA_UNKNOWN) != AD_OK || check_size(f, &a) != AD_OK) return NULL;
    void *elements = malloc(a.bytes);
    if (elements && data_apart_receive(apart, elements, a.bytes, patience)) return data_array_own(&a, elements);
    if (!elements) ad_fail(f->error, AD_ENOMEM, "%s: out of memory for %zu bytes", f->path, a.bytes);
    free(elements);
    return NULL;
}

data_table *data_read_hdf5(const char *path, const char *name, ad_error *error) {
    data_map map;
    if (data_map_file(path, &map, error) != AD_OK) return NULL;
    ad_error why = {0};
    file f = {.path = path, .error = &why, .size = map.size, .file = -1, .set = -1, .space = -1, .type = -1};
    data_unmap(&map);
    data_apart apart;
    const uint64_t unpacked = f.size < UINT64_MAX / (2 * MOST_RATIO) ? f.size * MOST_RATIO : f.size;
    const data_side side = data_apart_begin(&apart, 2 * unpacked + (64 << 20));
    if (side == DATA_APART_CHILD) child(&apart, &f, name);
    if (side == DATA_APART_FAILED) {
        ad_fail(error, AD_ENOMEM, "%s: HDF5: no process to read it in", path);
        return NULL;
    }
    // Two seconds, and one more for every 10 MB, without a word.
    data_table *table = receive(&apart, &f, 2 + (double)f.size / 1e7);
    int signal = data_apart_finish(&apart);
    if (!table && why.status == AD_OK) {
        ad_fail(&why, AD_EFORMAT, "%s: HDF5: libhdf5 %s over it (signal %d): a damaged file", path,
                signal ? "crashed" : "hangs", signal);
    }
    if (!table && error) *error = why;
    return table;
}
