// densities.c -- the list of densities in the plane, and samples of them as tables.
#include <string.h>

#include "densities.h"

const data_density *data_find_density(const char *name) {
    static const data_density *const all[] = {&data_moons};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strcmp(all[i]->name, name) == 0) return all[i];
    }
    return NULL;
}

data_table *data_density_table(const data_density *density, ad_type type, int64_t n, uint64_t seed, ad_error *error) {
    data_table *table = data_table_new(type == AD_F32 ? DATA_F32 : DATA_F64, n, 2, error);
    if (table == NULL) return NULL;
    if (type == AD_F64) {
        density->sample(n, seed, 0, data_values(table));
        return table;
    }
    float *values = data_values(table);
    for (int64_t i = 0; i < n; i++) {
        double x[2];
        density->sample(1, seed, i, x);
        values[2 * i] = (float)x[0];
        values[2 * i + 1] = (float)x[1];
    }
    return table;
}
