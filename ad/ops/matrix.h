// matrix.h -- what the files of linear algebra share.
#ifndef AD_OPS_MATRIX_H
#define AD_OPS_MATRIX_H

#include "../internal.h"

enum { AD_SMALL_MATRIX = 16 };  // the largest matrix a row may have

// Whether A is a live [D,D], shared or (where rows are allowed) small; otherwise the error is on the tape.
bool ad_check_square(ad_var A, const char *what, bool rows_allowed);

// The factors of P^T A = L U in one [D+1,D]: U, below its diagonal L without its diagonal of ones, and in the last row
// the permutation: row i of P^T A is row F[D,i] of A. Recorded once for all that uses it; A's derivative is not in it.
ad_var ad_lu_factor(ad_var A);
ad_var ad_lu_factor_rows(ad_var A);  // of an A with rows
// A^-1 b, or A^-T b, with F = ad_lu_factor(A); b AD_NONE: the identity. Differentiable in A and b.
ad_var ad_factored_solve(ad_var A, ad_var F, ad_var b, bool transposed);

// The lower or upper half of a matrix [M,N], zero elsewhere, its diagonal times scale plus offset.
ad_var ad_triangle(ad_var x, bool upper, double scale, double offset);
// x [...,M,N] as [...,N,M].
ad_var ad_transposed(ad_var x);
// u v^T as gradient of A: vectors, or matrices summed over columns; over rows where A is shared.
ad_var ad_outer_gradient(ad_var A, ad_var u, ad_var v);

// LAPACK on matrices of doubles whose rows are contiguous, on one thread; 0, or what LAPACK says: where it stopped.
int ad_lapack_lu(int64_t D, const double *a, double *factors, int *pivot);                    // factors by columns
int ad_lapack_triangular(int64_t D, const double *a, int flags, int64_t columns, double *b);  // b by columns
int ad_lapack_cholesky(int64_t D, double *a);                                                 // in its lower half
int ad_lapack_solve(int64_t D, double *a, int *pivot, int64_t columns, double *b);            // all by columns
int ad_lapack_qr(int64_t M, int64_t N, double *a, double *r, double *work);  // a [M,N] by columns becomes Q; r [N,N]

#endif
