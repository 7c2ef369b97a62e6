// standardised.c -- rows that are not anomalies, each feature with mean 0 and standard deviation 1.
#include "standardised.h"

#include <math.h>

data_table *standardised_normals(const char *file, ad_error *error) {
    data_table *x = data_read_npz(file, "X", error), *y = x ? data_read_npz(file, "y", error) : NULL, *out = NULL;
    int64_t n = 0;
    for (int64_t i = 0; y && i < y->rows; i++) n += data_get(y, i, 0) == 0;
    if (y) out = data_table_new(DATA_F64, n, x->columns, error);
    for (int64_t k = 0; out && k < x->columns; k++) {
        double *to = (double *)data_values(out) + k, sum = 0, squares = 0;
        for (int64_t i = 0, at = 0; i < y->rows; i++) {
            if (data_get(y, i, 0) == 0) to[at++ * x->columns] = data_get(x, i, k);
        }
        for (int64_t i = 0; i < n; i++) sum += to[i * x->columns] / (double)n;
        for (int64_t i = 0; i < n; i++) squares += pow(to[i * x->columns] - sum, 2) / (double)n;
        for (int64_t i = 0; i < n; i++) to[i * x->columns] = (to[i * x->columns] - sum) / sqrt(fmax(squares, 1e-30));
    }
    data_table_free(x), data_table_free(y);
    return out;
}
