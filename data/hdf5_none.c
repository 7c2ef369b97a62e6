// hdf5_none.c -- stands in for hdf5.c where libhdf5 was not found.
#include "internal.h"

data_table *data_read_hdf5(const char *path, const char *name, ad_error *error) {
    (void)name;
    ad_fail(error, AD_EFORMAT, "%s: this library was built without HDF5 (libhdf5 was not found)",
            path == NULL ? "" : path);
    return NULL;
}
