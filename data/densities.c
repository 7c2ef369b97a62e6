// densities.c -- the list of densities, and samples of them as tables.
#include <string.h>

#include "densities.h"

static const data_density *const all[] = {
    &data_moons,        &data_8gaussians,   &data_checkerboard, &data_circles,     &data_rings,
    &data_swissroll,    &data_2spirals,     &data_pinwheel,     &data_diamond,     &data_flat,
    &data_parabola,     &data_cubic,        &data_wave,         &data_corner,      &data_jump,
    &data_funnel,       &data_four_circles, &data_double_well,  &data_many_well_2, &data_many_well_6,
    &data_many_well_32, &data_u1,           &data_u2,           &data_u3,          &data_u4};

const data_density *data_density_number(int64_t number) {
    return number >= 0 && number < (int64_t)(sizeof all / sizeof *all) ? all[number] : NULL;
}

const data_density *data_find_density(const char *name) {
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strcmp(all[i]->name, name) == 0) return all[i];
    }
    return NULL;
}

void data_expect(ad_var x, const char *name, int dimension) {
    if (!ad_ok(x) || ad_shape_equal(ad_shape_of(x), ad_shape1(dimension))) return;
    char shape[64];
    ad_tape_fail(x.tape, AD_ESHAPE, "%s: x is %s, not [%d]", name, ad_shape_print(ad_shape_of(x), shape, sizeof shape),
                 dimension);
}

ad_var data_element(ad_var x, int i) {
    return ad_squeeze(ad_slice(x, 0, i, 1), 0);
}

data_table *data_density_table(const data_density *density, ad_type type, int64_t n, uint64_t seed, ad_error *error) {
    if (density->sample == NULL) {
        ad_fail(error, AD_EARG, "density %s: there is no sampler", density->name);
        return NULL;
    }
    int columns = density->dimension;
    data_table *table = data_table_new(type == AD_F32 ? DATA_F32 : DATA_F64, n, columns, error);
    if (table == NULL) return NULL;
    if (type == AD_F64) {
        density->sample(n, seed, 0, data_values(table));
        return table;
    }
    float *values = data_values(table);
    for (int64_t i = 0; i < n; i++, values += columns) {
        double x[DATA_DENSITY_COLUMNS];
        density->sample(1, seed, i, x);
        for (int k = 0; k < columns; k++) values[k] = (float)x[k];
    }
    return table;
}
