// colormap.c -- colours of equal steps in lightness, mixed in the OKLab space.
#include "colormap.h"

#include <math.h>

// Hue (degrees) and chroma at equal steps of lightness: as strong as the sRGB gamut allows without clipping.
static const double hue[] = {300, 280, 255, 225, 192, 165, 143, 124, 108};
static const double chroma[] = {0.110, 0.125, 0.100, 0.085, 0.090, 0.115, 0.150, 0.165, 0.170};
enum { ANCHORS = sizeof hue / sizeof *hue };

static double encode(double linear) {  // the transfer function of sRGB
    linear = fmin(fmax(linear, 0), 1);
    return linear <= 0.0031308 ? 12.92 * linear : 1.055 * pow(linear, 1 / 2.4) - 0.055;
}

// OKLab to sRGB: B. Ottosson, "A perceptual color space for image processing" (2020).
static void lab_to_rgb(double L, double a, double b, double rgb[3]) {
    double l = pow(L + 0.3963377774 * a + 0.2158037573 * b, 3);
    double m = pow(L - 0.1055613458 * a - 0.0638541728 * b, 3);
    double s = pow(L - 0.0894841775 * a - 1.2914855480 * b, 3);
    rgb[0] = encode(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s);
    rgb[1] = encode(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s);
    rgb[2] = encode(-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s);
}

void colormap(double t, double rgb[3]) {
    t = t > 0 ? fmin(t, 1) : 0;
    double at = t * (ANCHORS - 1);
    int i = at >= ANCHORS - 1 ? ANCHORS - 2 : (int)at;
    double w = at - i;
    double h = (hue[i] + w * (hue[i + 1] - hue[i])) * acos(-1) / 180;
    double c = chroma[i] + w * (chroma[i + 1] - chroma[i]);
    lab_to_rgb(0.25 + 0.67 * t, c * cos(h), c * sin(h), rgb);
}
