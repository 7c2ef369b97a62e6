// densities.h -- for the files of densities: random bits for samplers, the list.
#ifndef PULLBACK_DATA_DENSITIES_H
#define PULLBACK_DATA_DENSITIES_H

#include "data.h"

#define DATA_PI 3.14159265358979323846

// Random numbers of point i: draw n of them is a function of (seed, i, n) alone. Philox4x32-10 (Salmon et al. 2011),
// key = seed, counter = (n / 2, i, i >> 32, a constant that keeps these numbers apart from the engine's).
typedef struct data_draw {
    uint64_t seed, point;
} data_draw;

// 53 uniform bits in (0, 1), never 0 or 1.
double data_uniform(const data_draw *draw, uint32_t n);
// Two independent standard normal numbers, from uniform draws n and n + 1 (Box and Muller 1958).
void data_normal_pair(const data_draw *draw, uint32_t n, double out[2]);

// One per file of a density, and one line in densities.c.
extern const data_density data_moons;

#endif
