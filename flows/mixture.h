// mixture.h -- what maps through mixtures of sigmoids share: cumulative distributions in log space, and back to the
// line.
#ifndef FLOWS_MIXTURE_H
#define FLOWS_MIXTURE_H

#include "internal.h"

// F = sum over k of weight_k S(u_k), S the cumulative distribution of the logistic or the normal distribution, u_k
// increasing functions of one number x.
typedef struct flow_mixture {
    bool normal;
    ad_var u, log_weight, log_slope;  // [...,K], or of such dimensions; log_slope: of u_k in x
    ad_var lower, upper;              // log of weight_k S(u_k), and of weight_k S(-u_k)
    ad_var log_lower, log_upper;      // [...], log F and log(1 - F)
    ad_var low;                       // 1 where F is at most 1 - F, else 0
} flow_mixture;

// Far out u is held, so that all that is computed of it is finite in the type.
flow_mixture flow_mixture_at(bool normal, ad_var u, ad_var log_weight, ad_var log_slope);
// logit F, and the log of its slope in x.
ad_var flow_mixture_logit(const flow_mixture *m);
ad_var flow_mixture_logit_slope(const flow_mixture *m);
// The standard normal quantile y of F, and the log of its slope in x, given y.
ad_var flow_mixture_quantile(const flow_mixture *m);
ad_var flow_mixture_quantile_slope(const flow_mixture *m, ad_var y);
// logit of the standard normal cumulative distribution.
ad_var flow_normal_logit(ad_var y);

#endif
