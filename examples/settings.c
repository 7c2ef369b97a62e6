// settings.c -- the options of two_moons and their defaults.
#include "settings.h"

#include "options.h"
#include "output.h"

settings settings_read(int argc, char **argv) {
    static settings s = {.model = "two_moons.safetensors", .picture = "two_moons.png", .points = 100000};
    s.test_points = 100000, s.layers = 10, s.width = 64, s.steps = 5000, s.batch = 256, s.seed = 1, s.lr = 2e-3;
    const option_row rows[] = {
        {"data", "FILE", "train on these points instead: .csv or .npy of two columns", OPTION_TEXT, &s.data, 0, 0},
        {"load", "FILE", "no training: score and draw this model", OPTION_TEXT, &s.load, 0, 0},
        {"layers", "N", "affine couplings of the RealNVP", OPTION_COUNT, &s.layers, 1, 200},
        {"width", "N", "width of the two hidden layers in each coupling", OPTION_COUNT, &s.width, 1, 4096},
        {"steps", "N", "steps of Adam", OPTION_COUNT, &s.steps, 1, 1e9},
        {"batch", "N", "points a step", OPTION_COUNT, &s.batch, 1, 1e6},
        {"lr", "X", "learning rate at first; falls to 0 as half a cosine", OPTION_NUMBER, &s.lr, 1e-12, 10},
        {"points", "N", "moon points to train on", OPTION_COUNT, &s.points, 2, 1e7},
        {"test-points", "N", "fresh moon points to score", OPTION_COUNT, &s.test_points, 1, 1e7},
        {"seed", "N", "of points, weights and batches; same seed, same model", OPTION_COUNT, &s.seed, 0, 1e15},
        {"threads", "N", "threads to compute with; 0: all there are", OPTION_COUNT, &s.threads, 0, 256},
        {"model", "FILE", "where to save the model", OPTION_TEXT, &s.model, 0, 0},
        {"picture", "FILE", "where to draw data, samples and density: .png, .svg or .pdf", OPTION_TEXT, &s.picture, 0, 0},
        {"scores", "FILE", "write tested points and their log-densities, .npy", OPTION_TEXT, &s.scores, 0, 0},
        {"json", NULL, "results on stdout as one JSON object", OPTION_FLAG, &s.json, 0, 0},
        {"quiet", NULL, "no progress on stderr", OPTION_FLAG, &s.quiet, 0, 0},
    };
    options_read(argc, argv, "Trains a normalizing flow on points of the plane; scores it, draws it, saves it.", rows,
                 sizeof rows / sizeof *rows);
    return s;
}

ad_status settings_check(const settings *s, ad_error *error) {
    ad_status status = output_check(s->picture, error);
    if (status == AD_OK && !s->load) status = output_check(s->model, error);
    if (status == AD_OK && s->scores) status = output_check(s->scores, error);
    return status;
}
