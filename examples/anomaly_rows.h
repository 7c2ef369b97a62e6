// anomaly_rows.h -- rows with labels, normal or odd; which of them are learnt; how well a ranking parts them.
#ifndef EXAMPLES_ANOMALY_ROWS_H
#define EXAMPLES_ANOMALY_ROWS_H

#include <stdbool.h>

#include "data.h"

typedef struct anomaly_rows {
    data_table *x;    // features, f32
    bool *odd;        // [rows]
    int64_t *learn;   // the rows to learn from, in order
    int64_t n, odds;  // how many they are; odd rows
    bool labelled;
} anomaly_rows;

typedef struct scored {
    double score;
    int64_t row;
    bool odd;
} scored;

// Labels (0 normal, 1 not) are array y beside X of an .npz, as ADBench has them, or the last column of another table;
// none: all columns are features, and no row is known to be odd. The first half of the normal rows is learnt; without
// labels, all. Features get mean 0 and deviation 1 over these. file NULL: 3,000 points of two moons, and 150 anywhere
// near.
ad_status anomaly_read(anomaly_rows *rows, const char *file, bool none, ad_error *error);
void anomaly_free(anomaly_rows *rows);
// How far it is in each feature from a row that is learnt to its fifth neighbour among them: the Euclidean distance
// over the root of how many features differ at all; the median over 200 rows.
double anomaly_spacing(const anomaly_rows *rows);
// Sorts n rows by falling score. The share of pairs of an odd and a normal row in which the odd one ranks higher; ties
// count half.
double anomaly_rank(scored *s, int64_t n);
// Histogram of the scores of normal rows, and a curve of the odd ones' where there are some. Nothing where cairo is not
// there.
ad_status anomaly_draw(const char *file, const scored *s, int64_t n, ad_error *error);

#endif
