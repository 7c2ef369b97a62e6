// draw.c -- random numbers for samplers: Philox4x32-10, uniform and normal.
#include <math.h>

#include "densities.h"

static void philox(uint32_t x[4], uint64_t seed) {
    uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)x[0] * 0xD2511F53u, b = (uint64_t)x[2] * 0xCD9E8D57u;
        x[0] = (uint32_t)(b >> 32) ^ x[1] ^ key0;
        x[1] = (uint32_t)b;
        x[2] = (uint32_t)(a >> 32) ^ x[3] ^ key1;
        x[3] = (uint32_t)a;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
}

double data_uniform(const data_draw *draw, uint32_t n) {
    uint32_t x[4] = {n / 2, (uint32_t)draw->point, (uint32_t)(draw->point >> 32), 0x64617461u};
    philox(x, draw->seed);
    const uint32_t *pair = x + n % 2 * 2;
    uint64_t bits = ((uint64_t)pair[1] << 32 | pair[0]) >> 12;
    return ((double)bits + 0.5) * 0x1p-52;
}

void data_normal_pair(const data_draw *draw, uint32_t n, double out[2]) {
    double radius = sqrt(-2 * log(data_uniform(draw, n))), angle = 2 * DATA_PI * data_uniform(draw, n + 1);
    out[0] = radius * cos(angle);
    out[1] = radius * sin(angle);
}
