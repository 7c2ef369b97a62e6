// ad.h -- reverse-mode automatic differentiation on a tape, for batches of independent samples.
//
// Record ops on value handles, ask for gradients, run. Nothing is computed while recording:
//
//     ad_tape *tape = ad_tape_new(NULL, AD_F32);
//     ad_rows rows = ad_rows_new(tape, "data");        // one value per sample
//     ad_rows_set(rows, 256, 0);
//     ad_var x = ad_input(rows, ad_shape1(2), &source); // [2] per row
//     ad_var y = ad_tanh(ad_linear(ad_use(tape, W), x, ad_use(tape, b)));
//     ad_var loss = ad_mean_rows(ad_sum(ad_square(y)));
//     if (ad_backward(loss) != AD_OK) puts(ad_tape_message(tape));
//
// A var is *shared* (parameters, constants: one dense tensor) or has *rows* (one tensor per sample). Shapes below are
// feature shapes: the rows are never an axis. Ops mix both freely; the result has rows when an operand has.
//
// Errors while recording stick to the tape: the first one is kept (ad_tape_status, ad_tape_message), later ops are
// harmless and return inert handles. Check once, after ad_run or ad_backward.
#ifndef PULLBACK_AD_H
#define PULLBACK_AD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define AD_API __attribute__((visibility("default")))
#define AD_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define AD_API
#define AD_PRINTF(f, a)
#endif

// ---- errors -----------------------------------------------------------------------------------------------------

typedef enum ad_status {
    AD_OK = 0,
    AD_ESHAPE,      // shapes do not fit the op
    AD_EARG,        // an argument is out of its range
    AD_EMIX,        // two tapes, two row sets or two element types mixed
    AD_ESTALE,      // a handle used after its tape was reset
    AD_EUNKEPT,     // a value read that was not kept
    AD_ENONFINITE,  // NaN or infinity where a finite number is needed
    AD_ENOGRAD,     // a derivative asked for that does not exist
    AD_ECONVERGE,   // an iteration did not converge
    AD_ENOMEM,      // out of memory
    AD_EIO,         // a system call on a file failed
    AD_EFORMAT,     // a file's content is not what its format asks for
    AD_EORDER       // calls in the wrong order
} ad_status;

// The code in words: static text.
AD_API const char *ad_status_text(ad_status status);

// What calls that are not on a tape fill in when they fail; every such call takes NULL for "not interested".
typedef struct ad_error {
    ad_status status;
    char message[512];
} ad_error;

// Fills *error (if not NULL) from a printf format and returns status. For authors of layers, loaders and optimizers.
AD_API ad_status ad_fail(ad_error *error, ad_status status, const char *format, ...) AD_PRINTF(3, 4);

// ---- shapes -----------------------------------------------------------------------------------------------------

enum { AD_MAX_RANK = 6 };

typedef enum ad_type { AD_F32 = 0, AD_F64 = 1 } ad_type;

// Bytes of one element.
AD_API size_t ad_type_size(ad_type type);

typedef struct ad_shape {
    int32_t rank;              // 0 (a scalar) to AD_MAX_RANK
    int32_t dim[AD_MAX_RANK];  // dim[rank..] are 0
} ad_shape;

// A dimension that is negative or above 2^31 - 1 becomes -1: ad_shape_count then says so.
AD_API ad_shape ad_shape0(void);
AD_API ad_shape ad_shape1(int64_t a);
AD_API ad_shape ad_shape2(int64_t a, int64_t b);
AD_API ad_shape ad_shape3(int64_t a, int64_t b, int64_t c);
AD_API ad_shape ad_shape4(int64_t a, int64_t b, int64_t c, int64_t d);
// Number of elements; -1 when a dimension is negative, the rank out of range, or the product above 2^31 - 1.
AD_API int64_t ad_shape_count(ad_shape shape);
AD_API bool ad_shape_equal(ad_shape a, ad_shape b);
// Writes "[2,3]" and returns buffer.
AD_API char *ad_shape_print(ad_shape shape, char *buffer, size_t size);

// ---- engine and tape ----------------------------------------------------------------------------------------------

typedef struct ad_engine ad_engine;  // threads, plan cache, working memory
typedef struct ad_tape ad_tape;      // a recording, with one element type

typedef struct ad_var {  // a value: passed by value, owns nothing, valid until its tape is reset
    ad_tape *tape;
    uint32_t id, epoch;
} ad_var;

typedef struct ad_rows {  // a row set: "one value per sample of this batch"
    ad_tape *tape;
    uint32_t id, epoch;
} ad_rows;

// No var, where an argument is optional.
static inline ad_var ad_none(void) {
    ad_var none = {NULL, UINT32_MAX, 0};
    return none;
}
#define AD_NONE ad_none()
static inline bool ad_is_none(ad_var v) { return v.tape == NULL; }

typedef struct ad_engine_options {
    int threads;           // 0: as many as the calling thread's CPU affinity allows
    int plan_cache;        // plans kept; 0: 64
    // Runs over a single row, for the least delay, take products with shared matrices as matrix-vector products. Their sums
    // are then ordered otherwise: the row's bits may differ from those it has in a batch. Runs without gradients and
    // assignments look for parameters that are not finite only when a result is not, or the run fails.
    bool latency;
    // Called with one line of text for warnings (a plan made anew in three successive steps) and, when AD_PROFILE=1 or
    // AD_TRACE_NAN=1 are set in the environment, their reports; NULL: warnings are dropped, reports go to stderr.
    void (*message)(void *arg, const char *text);
    void *message_arg;
} ad_engine_options;

// A new engine (options may be NULL), or NULL. Owned by the caller, who frees it after the tapes that use it.
AD_API ad_engine *ad_engine_new(const ad_engine_options *options, ad_error *error);
AD_API void ad_engine_free(ad_engine *engine);
AD_API int ad_engine_threads(const ad_engine *engine);
// Kernels chosen at start-up ("plain", "avx2" or "avx512"; AD_CPU=... in the environment forces one): static text.
AD_API const char *ad_cpu_name(void);

// A new tape on an engine it borrows, or on one of its own (engine NULL); NULL when out of memory. One thread at a time
// may use a tape; separate tapes may be used from separate threads, also when they share an engine (runs then queue).
AD_API ad_tape *ad_tape_new(ad_engine *engine, ad_type type);
AD_API void ad_tape_free(ad_tape *tape);
// Forgets the recording, its errors and its kept values; handles to it become stale. Plans are kept by the engine.
AD_API void ad_tape_reset(ad_tape *tape);
AD_API ad_engine *ad_tape_engine(const ad_tape *tape);
AD_API ad_type ad_tape_type(const ad_tape *tape);
AD_API ad_status ad_tape_status(const ad_tape *tape);
// The first error in words (op, shapes, scope path); "" when there is none. Valid until reset.
AD_API const char *ad_tape_message(const ad_tape *tape);
// Reports an error of the caller's own on the tape: first one sticks, as for ops. Prefixed with the scope path.
AD_API void ad_tape_fail(ad_tape *tape, ad_status status, const char *format, ...) AD_PRINTF(3, 4);
// Training or evaluation (false at start); part of the plan key. Layers ask ad_is_training.
AD_API void ad_set_training(ad_tape *tape, bool training);
AD_API bool ad_is_training(const ad_tape *tape);

// Names the place where ops are recorded, for errors and reports: "flow[3]" for ("flow", 3), "mlp" for ("mlp", -1).
// Scopes nest. name is borrowed until reset: literals, or names of objects that live longer.
AD_API void ad_scope(ad_tape *tape, const char *name, int index);
AD_API void ad_scope_end(ad_tape *tape);

// ---- row sets -----------------------------------------------------------------------------------------------------

// A row set of this tape. name is borrowed until reset; the same name gives the same row set.
AD_API ad_rows ad_rows_new(ad_tape *tape, const char *name);
// Number of rows and global number of the first one (random numbers are keyed by it): read at run, not part of a plan.
AD_API void ad_rows_set(ad_rows rows, int64_t count, int64_t first);
AD_API int64_t ad_rows_count(ad_rows rows);
// The row set of a var; tape NULL when v is shared or inert.
AD_API ad_rows ad_rows_of(ad_var v);

// ---- parameters and states ------------------------------------------------------------------------------------------

// A trainable tensor. Fields may be read; data and grad (count elements of type, 64-byte aligned) may be written between
// runs. Parameters are read at run, not at record.
typedef struct ad_param {
    char *name;
    ad_shape shape;
    ad_type type;
    int64_t count;
    void *data, *grad;
    bool frozen;  // an optimizer leaves it alone
} ad_param;

// A new parameter, zero; name is copied. NULL on error (bad shape, out of memory). Owned by the caller.
AD_API ad_param *ad_param_new(const char *name, ad_type type, ad_shape shape, ad_error *error);
AD_API void ad_param_free(ad_param *param);
// Element i as a double, whatever the type.
AD_API double ad_param_get(const ad_param *param, int64_t i);
AD_API void ad_param_set(ad_param *param, int64_t i, double value);

// A tensor that is saved but not trained (running statistics, power-iteration vectors): a parameter without gradient.
typedef struct ad_state {
    char *name;
    ad_shape shape;
    ad_type type;
    int64_t count;
    void *data;
} ad_state;
AD_API ad_state *ad_state_new(const char *name, ad_type type, ad_shape shape, ad_error *error);
AD_API void ad_state_free(ad_state *state);

// ---- leaves -------------------------------------------------------------------------------------------------------

// The parameter as a shared var. Borrows param until the run ends; converts when types differ.
AD_API ad_var ad_use(ad_tape *tape, ad_param *param);
// The state as a shared var, with the value it has when the run starts.
AD_API ad_var ad_use_state(ad_tape *tape, ad_state *state);
// Makes v (shared, same shape) the state's value after the run, when all reads are done and the run succeeded.
AD_API void ad_assign(ad_state *state, ad_var v);
// Takes the last run's state updates back (a step that was not accepted).
AD_API void ad_reject(ad_tape *tape);

// Where rows come from: row r is the shape's elements, contiguous, at data + (index ? index[r] : r) * row_stride bytes.
typedef struct ad_source {
    const void *data;
    ad_type type;           // of the elements; converted when the tape's differs
    int64_t count;          // rows that data has; a row beyond is an error
    size_t row_stride;      // bytes between rows; 0: the shape's elements packed
    const int64_t *index;   // row numbers, or NULL for 0, 1, 2, ...
} ad_source;

// [shape] per row, read from source at run. Borrows source and what it points to until the run ends.
AD_API ad_var ad_input(ad_rows rows, ad_shape shape, const ad_source *source);
// A shared tensor read from source's row 0 at run.
AD_API ad_var ad_shared_input(ad_tape *tape, ad_shape shape, const ad_source *source);
// A shared scalar read from *value at run (beta, temperature, step): changing it needs no new plan.
AD_API ad_var ad_scalar(ad_tape *tape, const double *value);
// A constant of the plan: shared, values copied at once.
AD_API ad_var ad_constant(ad_tape *tape, ad_shape shape, const double *values);
AD_API ad_var ad_number(ad_tape *tape, double value);               // shared scalar constant
AD_API ad_var ad_fill(ad_tape *tape, ad_shape shape, double value);  // shared constant, all elements equal
AD_API ad_var ad_zeros_like(ad_var v);                               // shared zeros of v's shape
AD_API ad_var ad_row_count(ad_rows rows);                            // shared scalar: number of rows, read at run

// Philox4x32-10 random numbers (Salmon et al. 2011): key = *seed, counter = (element/4, global row, stream, step). They
// depend on nothing else: not on blocking, threads or call order. seed and step are read at run and borrowed until it ends.
typedef struct ad_random {
    uint64_t seed, step;
} ad_random;
// Standard normal numbers, [shape] per row.
AD_API ad_var ad_normal(ad_rows rows, ad_shape shape, const ad_random *random, uint32_t stream);
// Uniform numbers in (0,1), [shape] per row.
AD_API ad_var ad_uniform(ad_rows rows, ad_shape shape, const ad_random *random, uint32_t stream);
// Standard exponential -log(u), logistic log(u/(1-u)) and Gumbel -log(-log(u)) numbers, and -1 or 1 with probability 1/2.
AD_API ad_var ad_exponential(ad_rows rows, ad_shape shape, const ad_random *random, uint32_t stream);
AD_API ad_var ad_logistic(ad_rows rows, ad_shape shape, const ad_random *random, uint32_t stream);
AD_API ad_var ad_gumbel(ad_rows rows, ad_shape shape, const ad_random *random, uint32_t stream);
AD_API ad_var ad_rademacher(ad_rows rows, ad_shape shape, const ad_random *random, uint32_t stream);
// Draws from the distributions with unnormalised log-probabilities logits [...,K]: numbers 0 .. K-1, [...] per row; logits
// shared or per row. -inf is never drawn, unless all are: then, and where one is NaN, the number means nothing. No gradient.
AD_API ad_var ad_categorical(ad_var logits, ad_rows rows, const ad_random *random, uint32_t stream);
// While ad_is_training: x / (1 - p) with probability 1 - p, else 0, independently; otherwise x itself. 0 <= p < 1; x has rows.
AD_API ad_var ad_dropout(ad_var x, double p, const ad_random *random, uint32_t stream);

// ---- queries (safe on inert handles: rank 0, false) -----------------------------------------------------------------

AD_API ad_shape ad_shape_of(ad_var v);
AD_API int64_t ad_dim(ad_var v, int axis);  // axis negative: from the end; 0 when out of range
AD_API bool ad_has_rows(ad_var v);
AD_API bool ad_ok(ad_var v);                // a live handle of its tape

// ---- ops ----------------------------------------------------------------------------------------------------------
// Elementwise ops broadcast feature shapes as numpy does (aligned at the last axis). axis counts feature axes, negative
// from the end. At a kink the derivative is the one stated at the op.

AD_API ad_var ad_add(ad_var a, ad_var b);
AD_API ad_var ad_sub(ad_var a, ad_var b);
AD_API ad_var ad_mul(ad_var a, ad_var b);
AD_API ad_var ad_div(ad_var a, ad_var b);
AD_API ad_var ad_neg(ad_var x);
AD_API ad_var ad_square(ad_var x);
AD_API ad_var ad_sqrt(ad_var x);
AD_API ad_var ad_reciprocal(ad_var x);
AD_API ad_var ad_scale(ad_var x, double c);   // c x
AD_API ad_var ad_offset(ad_var x, double c);  // x + c
AD_API ad_var ad_maximum(ad_var a, ad_var b);  // NaN if either is; equal operands get half the gradient each
AD_API ad_var ad_minimum(ad_var a, ad_var b);
AD_API ad_var ad_clamp(ad_var x, double low, double high);  // slope 1 from low to high, both included
AD_API ad_var ad_abs(ad_var x);                             // slope 0 at 0
AD_API ad_var ad_sign(ad_var x);                            // -1, 0, 1; these four have derivative 0
AD_API ad_var ad_floor(ad_var x);
AD_API ad_var ad_ceil(ad_var x);
AD_API ad_var ad_round(ad_var x);  // halves to even
AD_API ad_var ad_rsqrt(ad_var x);  // x^(-1/2)
AD_API ad_var ad_pow(ad_var a, ad_var b);       // a^b; b's gradient is 0 where a is 0
AD_API ad_var ad_power(ad_var x, double c);     // x^c; negative x for whole c only, NaN otherwise

AD_API ad_var ad_exp(ad_var x);
AD_API ad_var ad_exp2(ad_var x);
AD_API ad_var ad_expm1(ad_var x);
AD_API ad_var ad_log(ad_var x);
AD_API ad_var ad_log2(ad_var x);
AD_API ad_var ad_log1p(ad_var x);
AD_API ad_var ad_log1mexp(ad_var x);               // log(1 - e^x), x <= 0
AD_API ad_var ad_log_add_exp(ad_var a, ad_var b);  // log(e^a + e^b), no overflow
AD_API ad_var ad_sigmoid(ad_var x);
AD_API ad_var ad_log_sigmoid(ad_var x);
AD_API ad_var ad_logit(ad_var x);             // log(x / (1 - x))
AD_API ad_var ad_softplus(ad_var x);          // log(1 + e^x), no overflow
AD_API ad_var ad_softplus_inverse(ad_var x);  // log(e^x - 1), x >= 0, no overflow

AD_API ad_var ad_sin(ad_var x);
AD_API ad_var ad_cos(ad_var x);
AD_API ad_var ad_tan(ad_var x);
AD_API ad_var ad_asin(ad_var x);
AD_API ad_var ad_acos(ad_var x);
AD_API ad_var ad_atan(ad_var x);
AD_API ad_var ad_atan2(ad_var y, ad_var x);  // the angle of the point (x, y)
AD_API ad_var ad_sinh(ad_var x);
AD_API ad_var ad_cosh(ad_var x);
AD_API ad_var ad_tanh(ad_var x);
AD_API ad_var ad_asinh(ad_var x);
AD_API ad_var ad_acosh(ad_var x);
AD_API ad_var ad_atanh(ad_var x);

AD_API ad_var ad_erf(ad_var x);
AD_API ad_var ad_erfc(ad_var x);
AD_API ad_var ad_erfinv(ad_var x);
AD_API ad_var ad_normal_cdf(ad_var x);       // of the standard normal distribution
AD_API ad_var ad_normal_log_cdf(ad_var x);   // its logarithm, accurate in both tails
AD_API ad_var ad_normal_quantile(ad_var p);  // its inverse, 0 < p < 1
AD_API ad_var ad_lgamma(ad_var x);           // log |gamma(x)|
AD_API ad_var ad_digamma(ad_var x);
// The n-th derivative of digamma, 0 <= n <= 20. At the negative whole numbers inf for odd n, NaN for even n.
AD_API ad_var ad_polygamma(ad_var x, int n);

AD_API ad_var ad_relu(ad_var x);                       // max(x, 0), NaN stays NaN; slope 0 at 0
AD_API ad_var ad_leaky_relu(ad_var x, double slope);   // x or slope x; slope at 0: slope
AD_API ad_var ad_elu(ad_var x, double alpha);          // x or alpha (e^x - 1), alpha finite; slope at 0: alpha
AD_API ad_var ad_celu(ad_var x, double alpha);         // x or alpha (e^(x/alpha) - 1), alpha and 1/alpha finite, > 0
AD_API ad_var ad_selu(ad_var x);                       // Klambauer et al. 2017; slope at 0: that on the left
AD_API ad_var ad_gelu(ad_var x);                       // x normal_cdf(x)
AD_API ad_var ad_silu(ad_var x);                       // x sigmoid(x)
AD_API ad_var ad_softsign(ad_var x);                   // x / (1 + |x|)

// Comparisons give 1 or 0 (no gradient). where: c != 0 ? a : b, elementwise; the other branch's gradient is exactly 0.
AD_API ad_var ad_greater(ad_var a, ad_var b);
AD_API ad_var ad_less(ad_var a, ad_var b);
AD_API ad_var ad_greater_equal(ad_var a, ad_var b);
AD_API ad_var ad_less_equal(ad_var a, ad_var b);
AD_API ad_var ad_equal(ad_var a, ad_var b);
AD_API ad_var ad_not_equal(ad_var a, ad_var b);
AD_API ad_var ad_where(ad_var c, ad_var a, ad_var b);
AD_API ad_var ad_stop_gradient(ad_var x);

// Sums accumulate in f64. ad_sum: over all feature axes, shape []. ad_sum_axis: that axis removed. No elements are an error of
// a mean; their sum is 0, their product 1.
AD_API ad_var ad_sum(ad_var x);
AD_API ad_var ad_sum_axis(ad_var x, int axis);
AD_API ad_var ad_mean(ad_var x);
AD_API ad_var ad_mean_axis(ad_var x, int axis);
// The same two forms, over all axes and over one: product, largest and smallest (NaN where there is one; the first of equal
// ones has the gradient; no elements are an error), variance (divisor: number of elements - ddof, an error below 1), Euclidean
// norm (gradient 0 at 0), log of the sum of exponentials (-inf, with gradient 0, for elements that are all -inf and for none;
// no overflow).
AD_API ad_var ad_prod(ad_var x);
AD_API ad_var ad_prod_axis(ad_var x, int axis);
AD_API ad_var ad_max(ad_var x);
AD_API ad_var ad_max_axis(ad_var x, int axis);
AD_API ad_var ad_min(ad_var x);
AD_API ad_var ad_min_axis(ad_var x, int axis);
AD_API ad_var ad_variance(ad_var x, int ddof);
AD_API ad_var ad_variance_axis(ad_var x, int axis, int ddof);
AD_API ad_var ad_norm(ad_var x);
AD_API ad_var ad_norm_axis(ad_var x, int axis);
AD_API ad_var ad_logsumexp(ad_var x);
AD_API ad_var ad_logsumexp_axis(ad_var x, int axis);
// Along an axis, of x's shape.
AD_API ad_var ad_softmax(ad_var x, int axis);  // 0 for elements that are all -inf
AD_API ad_var ad_log_softmax(ad_var x, int axis);
AD_API ad_var ad_cumsum(ad_var x, int axis);
AD_API ad_var ad_cumprod(ad_var x, int axis);
AD_API ad_var ad_sort(ad_var x, int axis);     // ascending, NaN last
AD_API ad_var ad_argsort(ad_var x, int axis);  // numbers of the sorted elements in x; equal ones in order. No gradient.
AD_API ad_var ad_argmax(ad_var x, int axis);   // number of the first largest element, that axis removed. No gradient.
// How many of the ascending numbers knots [...,K] are below x [...,N] (right: or equal), in [...,N]; none are below NaN.
// Leading dimensions broadcast. No gradient.
AD_API ad_var ad_searchsorted(ad_var knots, ad_var x, bool right);
// Monotone rational-quadratic splines (Durkan et al. 2019), one an element of x [...], increasing maps of the box
// [-bound, bound] onto itself with the identity outside ("linear tails"). parameters [..., 3 K - 1], K >= 2 bins: raw
// widths [K], raw heights [K], raw slopes at the K - 1 inner knots. Widths and heights, in units of the box, are
// min + (1 - K min) softmax(raw), slopes min_derivative + softplus(raw); 1 at the ends of the box. No broadcasting.
typedef struct ad_spline_options {
    double bound;                  // 1e-3 to 1e6; 0: 3
    double min_width, min_height;  // 1e-6 to below 1 / K; 0: 1e-3
    double min_derivative;         // 1e-6 to 1; 0: 1e-3
    double scale;                  // 1e-6 to 1e6: raw widths and heights are multiplied by it first; 0: 1
} ad_spline_options;
// y and log dy/dx, [2, ...]: result 0 and 1 along the first axis. inverse: x is in y's place, and the result x and
// log dx/dy. f64 inside whatever the tape's type. For any finite x and parameters the result is finite, and so is the
// gradient, where it is in the type's range; inf and NaN in x give themselves. The gradient at a knot is one of its sides.
// options may be NULL. In the first order a kernel; higher orders go through ops of the tape's type.
AD_API ad_var ad_rational_quadratic(ad_var x, ad_var parameters, const ad_spline_options *options, bool inverse);
// Over rows: a shared var of x's feature shape, bit-identical for any number of threads. Variance: divisor rows - ddof, which
// fails the run with AD_EARG when it is below 1; of equal largest elements each gets its share of the gradient.
AD_API ad_var ad_sum_rows(ad_var x);
AD_API ad_var ad_mean_rows(ad_var x);
AD_API ad_var ad_max_rows(ad_var x);
AD_API ad_var ad_min_rows(ad_var x);
AD_API ad_var ad_variance_rows(ad_var x, int ddof);
AD_API ad_var ad_logsumexp_rows(ad_var x);

// W x + b: W [O,I] shared, x [...,I] shared or per row, b [O] shared or AD_NONE -> [...,O].
AD_API ad_var ad_linear(ad_var W, ad_var x, ad_var b);
// The same where output o reads its first columns[o] inputs only; columns [O] ascend (and are copied), so that the rest of W
// has no influence, costs nothing and has gradient 0: masked maps with outputs sorted by degree. x may have fewer inputs than
// W has columns, if no output reads more.
AD_API ad_var ad_linear_staircase(ad_var W, ad_var x, ad_var b, const int64_t *columns);
// W^T x: W [O,I] shared, x [...,O] -> [...,I].
AD_API ad_var ad_linear_transposed(ad_var W, ad_var x);
// Sum over rows (and leading axes) of a b^T: a [...,O], b [...,I], at least one with rows -> shared [O,I].
AD_API ad_var ad_outer_rows(ad_var a, ad_var b);

// Products of matrices [...,M,K] and [...,K,N] in any combination of shared and per row, leading dimensions broadcast ->
// [...,M,N]. Flags read a as [...,K,M], b as [...,N,K]. (ad_linear is the fast one for a shared matrix and vectors per row;
// ad_outer_rows contracts over rows.)
enum { AD_TRANSPOSE_A = 1, AD_TRANSPOSE_B = 2 };
AD_API ad_var ad_matmul(ad_var a, ad_var b, int flags);
AD_API ad_var ad_outer(ad_var a, ad_var b);  // [...,M], [...,N] -> [...,M,N]

// Square matrices A [D,D], shared (any D, LAPACK) or one per row (D up to 16, one lane each, partial pivoting). A singular or
// (cholesky) not positive definite A fails the run with AD_ENONFINITE, naming the row; so does one that is not finite
// (ad_det gives NaN).
// Inside, all is f64. Several of these ops on one A share its factors. Differentiable to any order. LAPACK is kept to one
// thread: where it is OpenBLAS's, in the whole process.
AD_API ad_var ad_solve(ad_var A, ad_var b);  // A^-1 b: b [D] or [D,N]
enum { AD_UPPER = 1, AD_UNIT_DIAGONAL = 2, AD_TRANSPOSED = 4 };
// As ad_solve for a lower (AD_UPPER: upper) triangular A, of which only that half (AD_UNIT_DIAGONAL: without the diagonal,
// taken as 1) is read and gets a gradient. AD_TRANSPOSED: A^-T b. NaN off the diagonal propagates.
AD_API ad_var ad_solve_triangular(ad_var A, ad_var b, int flags);
AD_API ad_var ad_inverse(ad_var A);
// []; of a singular A 0, and the first derivative right (the cofactors), higher ones up to D = 3; above they fail there.
AD_API ad_var ad_det(ad_var A);
AD_API ad_var ad_log_abs_det(ad_var A);  // []; of a singular A -inf, and the gradient fails
AD_API ad_var ad_det_sign(ad_var A);     // [], -1, 0 or 1. No gradient.
// Of a shared matrix A.
typedef struct ad_lu_factors {
    ad_var P, L, U;  // A = P L U: permutation matrix, unit lower and upper triangular [D,D]
} ad_lu_factors;
AD_API ad_lu_factors ad_lu(ad_var A);
typedef struct ad_qr_factors {
    ad_var Q, R;  // A [M,N], M >= N: A = Q R, Q [M,N] with orthonormal columns, R [N,N] upper triangular, diagonal > 0
} ad_qr_factors;
AD_API ad_qr_factors ad_qr(ad_var A);  // of an A without full rank (to the rounding of a column) fails the run as above
AD_API ad_var ad_matrix_exp(ad_var A);  // scaling and squaring (Higham 2005)
// Of an A shared or per row: lower L, A = L L^T; reads the lower half, the gradient is symmetric.
AD_API ad_var ad_cholesky(ad_var A);

AD_API ad_var ad_reshape(ad_var x, ad_shape shape);
// Elements start, start+1, ... (length of them) along axis.
AD_API ad_var ad_slice(ad_var x, int axis, int64_t start, int64_t length);
// Elements start, start + step, ... (length of them; step negative too) along axis.
AD_API ad_var ad_slice_step(ad_var x, int axis, int64_t start, int64_t length, int64_t step);
// Joined along axis; other dimensions equal. Of no parts, or none that is a var: AD_NONE, for want of a tape to tell; so of
// ad_stack.
AD_API ad_var ad_concat(const ad_var *x, int n, int axis);
AD_API ad_var ad_stack(const ad_var *x, int n, int axis);  // joined along a new axis; shapes equal
AD_API ad_var ad_pad(ad_var x, int axis, int64_t before, int64_t after, double value);
AD_API ad_var ad_tile(ad_var x, int axis, int64_t times);  // x, x, ... along axis
AD_API ad_var ad_flip(ad_var x, int axis);
AD_API ad_var ad_insert_axis(ad_var x, int axis);  // a dimension 1 that becomes axis
AD_API ad_var ad_squeeze(ad_var x, int axis);      // a dimension 1 removed
// Axes reordered: out axis i is x's axis order[i].
AD_API ad_var ad_transpose(ad_var x, const int *order);
// Elements of axis reordered (or repeated, or left out): out element i is x's element index[i]. index is copied.
AD_API ad_var ad_take(ad_var x, int axis, const int64_t *index, int64_t n);
// The adjoint of ad_take: zeros with size elements along axis, x's element i added at index[i]. index is copied.
AD_API ad_var ad_scatter_add(ad_var x, int axis, const int64_t *index, int64_t n, int64_t size);
// Element i along axis is x's element index(i), for each row and place of its own: index is a var of x's rank and shape but
// for axis (other dimensions broadcast), shared or per row, of whole numbers. One that is not in range, or NaN, fails the run
// with AD_EARG, naming it and its row; so in the three ops below. No gradient in index.
AD_API ad_var ad_take_along(ad_var x, int axis, ad_var index);
// The adjoint of ad_take_along: zeros with size elements along axis, x's elements added where index (which broadcasts to x's
// shape, and x to its) says.
AD_API ad_var ad_put_along(ad_var x, int axis, ad_var index, int64_t size);
// Rows index of the shared matrix W [N,D]: index [...] shared or per row -> [...,D]. The gradient in W is summed over rows.
AD_API ad_var ad_embedding(ad_var W, ad_var index);
AD_API ad_var ad_one_hot(ad_var index, int64_t n);  // index [...] -> [...,n], 1 at index, else 0. No gradient.
AD_API ad_var ad_diagonal(ad_var x);                // [...,D,D] -> [...,D]
AD_API ad_var ad_diag(ad_var x);                    // [...,D] -> [...,D,D], zero off the diagonal
// The elements on and below (tril), on and above (triu) the k-th diagonal of [...,M,N]; zero elsewhere.
AD_API ad_var ad_tril(ad_var x, int k);
AD_API ad_var ad_triu(ad_var x, int k);
// x spread to a larger shape by the broadcasting rule.
AD_API ad_var ad_expand(ad_var x, ad_shape shape);
// A shared x as per-row copies: gradients in the copy are per row.
AD_API ad_var ad_to_rows(ad_var x, ad_rows rows);

// A loop whose length depends on values. body(arg, state, &next, &done) records one iteration once: state is [n] (init's
// shape) per row, next the same shape, done [] per row (nonzero: this row has finished; its state stays as it is). Runs in
// the block until every row is done or max_iterations have run. body may use outside vars; no row reductions inside.
// Not differentiable itself: see ad_implicit.
typedef void (*ad_loop_body)(void *arg, ad_var state, ad_var *next, ad_var *done);
// max_iterations: 1 to 2^24. Random ops in a body give the same numbers in each iteration.
typedef struct ad_loop_result {
    ad_var state;       // as init
    ad_var iterations;  // [] per row
    ad_var done;        // [] per row: 1 when the row finished, 0 when max_iterations came first
} ad_loop_result;
AD_API ad_loop_result ad_loop(ad_var init, int max_iterations, ad_loop_body body, void *arg);
// y as an elementwise root: same value as y, with derivatives by the implicit function theorem of residual(arg, y) = 0, to
// any order in whatever vars residual uses. residual is called once, now; it must act elementwise on its argument.
AD_API ad_var ad_implicit(ad_var y, ad_var (*residual)(void *arg, ad_var y), void *arg);

typedef struct ad_solver_options {
    double tolerance;     // 0: 4 eps of the tape's type. ad_root: of the bracket, relative to max(1, |y|). ad_fixed_point: of
                          // the largest change in a row, relative to max(1, largest |y| in the row)
    int max_iterations;   // 0: 100 (ad_root), 1000 (ad_fixed_point)
    double low, high;     // ad_root: bracket to start from, in its middle, widened while it holds no root; both 0: -1 to 1
    bool allow_failure;   // do not fail the run: done says which rows converged
} ad_solver_options;
typedef struct ad_solution {
    ad_var value;       // of like's, or start's, shape and rows
    ad_var iterations;  // [] per row: evaluations of f, or g
    ad_var residual;    // [] per row: largest |f(value)| among the elements; or largest change in the last iteration
    ad_var done;        // [] per row: 1 when converged
} ad_solution;           // only value has a gradient
// y with f(arg, y) = 0, element by element, f continuous and increasing in each element, or decreasing (told by the first
// slope that is not 0): bracketed Newton steps (f's derivative by its own vjp), bisection where they fail. Ends with a
// bracket of the tolerance's width around a change of sign (a jump across 0 counts: residual tells), or f = 0, which 100
// evaluations are enough for. f may be infinite, and NaN beyond the end of where it is defined. like gives shape and rows (its
// value is not used); f is called twice, now. The gradient in all that f uses is that of the implicit function theorem, to
// any order. A row that does not converge fails the run with AD_ECONVERGE, naming row, iterations, bracket and residual (not
// inside an ad_loop: use done there). options may be NULL.
AD_API ad_solution ad_root(ad_var like, ad_var (*f)(void *arg, ad_var y), void *arg, const ad_solver_options *options);
// y = g(arg, y) by iteration from start, g contractive in each row's elements jointly (shape of any rank). Gradients by the
// implicit function theorem, to any order and not in start: the adjoint equation is solved by the same iteration, to the
// tolerance relative to its solution. Fails as ad_root does, for the adjoint equation too.
AD_API ad_solution ad_fixed_point(ad_var start, ad_var (*g)(void *arg, ad_var y), void *arg,
                                  const ad_solver_options *options);

// ---- gradients ------------------------------------------------------------------------------------------------------

// gx[i] = d y / d x[i], of x[i]'s shape, recorded as ops: any order. y is a scalar, shared or per row. For a per-row y,
// gradients in row vars are per row; in shared vars they are summed over rows (ad_to_rows first for per-row ones).
AD_API void ad_grad(ad_var y, const ad_var *x, int n, ad_var *gx);
// sum of gy * dy/dx: y of any shape, gy of y's shape.
AD_API void ad_vjp(ad_var y, ad_var gy, const ad_var *x, int n, ad_var *gx);
// dy/dx * dx: the directional derivative of y, of y's shape, by the vjp of a vjp. dx of x's shape.
AD_API ad_var ad_jvp(ad_var y, ad_var x, ad_var dx);
// The Jacobian of y in x, of shape y's dimensions followed by x's; per row when either has rows. As many sweeps as y has
// elements, or, of a per-row y in a shared x, as x has. Total rank at most AD_MAX_RANK.
AD_API ad_var ad_jacobian(ad_var y, ad_var x);
// H v for the Hessian H of the scalar y in x; v of x's shape. Of a per-row y in a shared x that of the sum over rows.
AD_API ad_var ad_hessian_product(ad_var y, ad_var x, ad_var v);
// Trace of dy/dx, y and x of equal shapes, [] per row: exact (as many sweeps as elements), or Hutchinson's unbiased estimate
// v^T (dy/dx) v for a probe v with independent elements of mean 0 and variance 1 (ad_rademacher, ad_normal): one sweep.
AD_API ad_var ad_jacobian_trace(ad_var y, ad_var x);
AD_API ad_var ad_jacobian_trace_estimate(ad_var y, ad_var x, ad_var v);

// ---- running --------------------------------------------------------------------------------------------------------

// Marks v to be readable after the run, and returns it.
AD_API ad_var ad_keep(ad_var v);
// Computes kept values, assignments and requested gradients. Returns (and leaves on the tape) the first error.
AD_API ad_status ad_run(ad_tape *tape);
// Gradients of a shared scalar in every parameter of the tape into param->grad (zero where not reached), then as ad_run.
AD_API ad_status ad_backward(ad_var loss);
// The same, added to what param->grad holds.
AD_API ad_status ad_backward_add(ad_var loss);
// The value of a shared scalar; runs first when nothing has run since the last op. NaN on error (see ad_tape_message).
AD_API double ad_value(ad_var v);
// Copies a kept value as doubles: shared: count elements; rows: rows x count, row-major. n: room in out, checked.
AD_API ad_status ad_read(ad_var v, double *out, int64_t n);
// A kept value in the tape's element type, as ad_read orders it; NULL on error. Valid until the next run or reset.
AD_API const void *ad_data(ad_var v);

// A program kept to run again: what the tape would run now, with the same sources, parameters and row counts, which are
// read anew at each run and borrowed until it is freed. Independent of later resets of the tape, whose engine it borrows:
// free it before the engine (and before the tape, if that made its own). The outputs stay kept on the tape as well.
typedef struct ad_program ad_program;
AD_API ad_program *ad_compile(const ad_var *outputs, int n, ad_error *error);
// A training step kept: output 0 is the loss, a shared scalar, and a run writes its gradients as ad_backward does. The
// program borrows the parameters.
AD_API ad_program *ad_compile_backward(ad_var loss, ad_error *error);
AD_API void ad_program_free(ad_program *program);
// As ad_rows_set, for the row set of that name.
AD_API ad_status ad_program_rows(ad_program *program, const char *name, int64_t count, int64_t first, ad_error *error);
AD_API ad_status ad_program_run(ad_program *program, ad_error *error);
// Output i after a run, ordered as by ad_data; valid until the next run.
AD_API const void *ad_program_data(const ad_program *program, int i);

// ---- seeing -----------------------------------------------------------------------------------------------------------

// Read from the environment by ad_engine_new: AD_PROFILE=1 sends the plan with the time of each instruction as a message, at
// a tape's first run and every hundredth. AD_TRACE_NAN=1 runs blocks in order on one thread and makes the first value that is
// not finite (of a loop: of its result) an error that names op, place, element and row.

// The plan as text: stages, instructions with scope paths, flops, bytes, what is stored between stages. Caller frees with
// free(). NULL on error (on the tape).
AD_API char *ad_explain(ad_tape *tape);
// The first n rows (or elements) of v as text, evaluated on its own at once. Caller frees with free(). Never NULL unless
// out of memory: errors come back as text and leave the tape as it was.
AD_API char *ad_show(ad_var v, int n);

// ---- checking -------------------------------------------------------------------------------------------------------

// A function under test: records y (any shape) from x[0..n), on x's tape.
typedef ad_var (*ad_function)(void *arg, const ad_var *x);

typedef struct ad_gradcheck_input {
    ad_shape shape;
    bool rows;          // per row (3 rows) or shared
    double low, high;   // range sampled from; both 0: -1.5 to 1.5
    const double *kinks;  // points where a derivative jumps: sampled on both sides, never across
    int n_kinks;
} ad_gradcheck_input;

typedef struct ad_gradcheck_options {
    double tolerance1, tolerance2;  // relative, first and second order; 0: 1e-7 and 1e-6
    int order;                      // 1 or 2; 0: 2
    int cases;                      // random points; 0: 10
    uint64_t seed;
} ad_gradcheck_options;

// Compares the gradients of f, first and second order, in f64, with Richardson-extrapolated central differences (Ridders)
// along random directions and in every element. AD_OK, or AD_ENOGRAD with a message naming input, element and both values.
AD_API ad_status ad_gradcheck(ad_function f, void *arg, const ad_gradcheck_input *inputs, int n,
                              const ad_gradcheck_options *options, ad_error *error);

#ifdef __cplusplus
}
#endif
#endif
