// flows.h -- normalizing flows: invertible layers, conditioner nets, base densities and models, recorded on an ad tape.
//
//     flow_model *model = flow_realnvp(2, 0, NULL, &error);           // 2 features, no context, default options
//     flow_init_from_data(model, &rows, &error);                      // standardisation kept in the model
//     ad_var log_p = flow_log_prob(model, x, AD_NONE);                // [] per row
//     ad_backward(ad_neg(ad_mean_rows(log_p)));                       // then optim_update: see optim.h
//     ad_var fresh = flow_sample(model, rows, &random, 0, AD_NONE);   // [2] per row
//     flow_save(model, "model.safetensors", &error);
//
// Two directions, named by what they do: *normalize* takes data x to latent z, *generate* takes z to x. Layers stand in
// the order in which normalize applies them. A context is [C] per row (or shared), or AD_NONE when the model takes
// none.
#ifndef PULLBACK_FLOWS_H
#define PULLBACK_FLOWS_H

#include "flows_model.h"         // models: log-densities, samples, tensors, files
#include "flows_layers.h"        // layers: couplings, autoregressive, elementwise, planar ...; chains of them
#include "flows_linear.h"        // linear layers, permutations
#include "flows_data.h"          // layers next to the data: standardisation, bounds, whole numbers, natural parameters
#include "flows_transformers.h"  // the maps of one feature that couplings and others share
#include "flows_splines.h"       // splines, polynomials and other such maps
#include "flows_neural.h"        // maps made of sigmoids and small monotone nets
#include "flows_nets.h"          // conditioner nets
#include "flows_bases.h"         // base densities
#include "flows_presets.h"       // whole models, by options or from one line of text
#include "flows_check.h"         // flow_check, flow_report and their kin
#include "flows_derive.h"        // layers derived from a map of one's own
#include "flows_author.h"        // layers, transformers, nets and bases of one's own

#endif
