// test_from_text.c -- models from one line of text: what the keys do, what is kept in files, what is refused in which
// words.
#include "files.h"
#include "flows.h"

static ad_error error;

static flow_model *make(const char *text, int64_t D, int64_t C) {
    flow_model *model = flow_from_text(text, D, C, &error);
    if (!model) fail_msg("%s: %s", text, error.message);
    return model;
}

static void log_prob(const flow_model *model, const double *x, const double *context, int64_t n, double *out) {
    ad_tape *tape = ad_tape_new(NULL, AD_F32);
    ad_source source = util_source(x, n), k = util_source(context, n);
    ad_rows rows = util_rows(tape, "data", n);
    int64_t C = flow_model_context(model);
    ad_var c = C ? ad_input(rows, ad_shape1(C), &k) : AD_NONE;
    ad_var p = ad_keep(flow_log_prob(model, ad_input(rows, flow_model_shape(model), &source), c));
    util_run(tape);
    util_read(p, out, n);
    ad_tape_free(tape);
}

// ---- what comes of a line ------------------------------------------------------------------------------------------

static const char *const names[] = {"nice", "realnvp",      "gin",    "revnet", "hint", "ladder", "leapfrog", "maf",
                                    "iaf",  "nsf-coupling", "nsf-ar", "triangular-spline",
                                    "planar", "radial", "sylvester", "block-naf"};
enum { NAMES = sizeof names / sizeof *names };

// Each alone and with a context; a model of a file without code of one's own is the same to the bit, its line too.
static void check_name(const char *name, int64_t C) {
    char line[100];
    snprintf(line, sizeof line, "%s:layers=2,hidden=8x1,seed=3", name);
    flow_model *model = make(line, 3, C);
    double x[12], context[8], p[4], q[4];
    util_fill(x, 12, 1, -1, 1);
    util_fill(context, 8, 2, -1, 1);
    log_prob(model, x, context, 4, p);
    for (int i = 0; i < 4; i++) assert_true(isfinite(p[i]));
    assert_string_equal(flow_model_text(model), line);
    if (flow_save(model, files_path("model.safetensors"), &error) != AD_OK) fail_msg("%s", error.message);
    flow_model *loaded = flow_load(files_path("model.safetensors"), NULL, &error);
    if (!loaded) fail_msg("%s", error.message);
    log_prob(loaded, x, context, 4, q);
    assert_memory_equal(p, q, sizeof p);
    assert_string_equal(flow_model_text(loaded), line);
    flow_model_free(model);
    flow_model_free(loaded);
}

static void every_name_makes_a_model_that_files_bring_back(void **state) {
    (void)state;
    for (int i = 0; i < NAMES; i++) {
        check_name(names[i], 0);
        check_name(names[i], 2);
    }
}

static void a_name_alone_takes_the_defaults(void **state) {
    (void)state;
    for (int i = 0; i < NAMES; i++) flow_model_free(make(names[i], 2, 0));
}

// The description without the line.
static char *describe(flow_model *model, const char *line) {
    char text[400];
    char *all = flow_describe(model), *at;
    assert_non_null(all);
    if (line) {
        snprintf(text, sizeof text, "\"text\":\"%s\",", line);
        at = strstr(all, text);
        if (!at) fail_msg("no %s in %s", text, all);
        memmove(at, at + strlen(text), strlen(at + strlen(text)) + 1);
    }
    flow_model_free(model);
    return all;
}

// A line makes the model that the options make.
static void assert_same(const char *line, flow_model *want) {
    if (!want) fail_msg("%s", error.message);
    char *a = describe(make(line, 4, 0), line), *b = describe(want, NULL);
    assert_string_equal(a, b);
    free(a);
    free(b);
}

static void keys_are_options(void **state) {
    (void)state;
    flow_nsf_options nsf = {.layers = 2,
                            .bins = 5,
                            .bound = 4.5,
                            .mix = FLOW_MIX_RANDOM,
                            .raw = true,
                            .autoregressive = true,
                            .inverse = true,
                            .plain = true,
                            .mlp = {.layers = 1, .width = 12, .activation = FLOW_TANH, .seed = 9, .type = AD_F64}};
    assert_same(
        "nsf-ar:layers=2,bins=5,bound=4.5,mix=random,raw=yes,inverse=yes,net=plain,hidden=12x1,activation=tanh,seed=9,"
        "type=f64",
        flow_nsf(4, 0, &nsf, &error));
    nsf = (flow_nsf_options){.map_kept = true, .mlp = {.layers = -1, .width = 3}};
    assert_same("nsf-coupling:map-kept=yes,hidden=3x0", flow_nsf(4, 0, &nsf, &error));
    flow_realnvp_options realnvp = {.bound = 0.5, .mix = FLOW_MIX_LU, .mlp = {.activation = FLOW_LEAKY_RELU}};
    assert_same("realnvp:bound=0.5,mix=lu,activation=leaky-relu", flow_realnvp(4, 0, &realnvp, &error));
    flow_maf_options maf = {.layers = 3, .layer = {.scale = FLOW_SCALE_SOFTPLUS}};
    assert_same("maf:layers=3,scale=softplus", flow_maf(4, 0, &maf, &error));
    assert_same("iaf:layers=3,scale=softplus", flow_iaf(4, 0, &maf, &error));
    assert_same("gin:bound=0.5,mix=lu,activation=leaky-relu", flow_gin(4, 0, &realnvp, &error));
    flow_hint_model_options hint = {.layers = 2, .depth = 1, .taper = true, .mlp = {.width = 12}};
    assert_same("hint:layers=2,levels=1,taper=yes,hidden=12x2", flow_hint_model(4, 0, &hint, &error));
    assert_same("hint:mix=reverse", flow_hint_model(4, 0, NULL, &error));
    flow_ladder_model_options ladder = {.layers = 2, .bound = 0.5, .parts = 3, .sees = 1, .mlp = {.width = 12}};
    assert_same("ladder:layers=2,bound=0.5,parts=3,sees=1,hidden=12x2", flow_ladder_model(4, 0, &ladder, &error));
    assert_same("ladder:mix=reverse,layers=8", flow_ladder_model(4, 0, NULL, &error));
    flow_leapfrog_model_options leapfrog = {
        .layers = 2, .steps = 3, .step = 0.25, .mlp = {.layers = 1, .width = 12, .activation = FLOW_TANH}};
    assert_same("leapfrog:layers=2,steps=3,step=0.25,hidden=12x1,activation=tanh,form=symmetric",
                flow_leapfrog_model(4, 0, &leapfrog, &error));
    leapfrog.free = true;
    assert_same("leapfrog:layers=2,steps=3,step=0.25,hidden=12x1,activation=tanh,form=free",
                flow_leapfrog_model(4, 0, &leapfrog, &error));
    leapfrog = (flow_leapfrog_model_options){.kind = FLOW_HAMILTONIAN, .step = 0.4};
    assert_same("leapfrog:form=hamiltonian", flow_leapfrog_model(4, 0, &leapfrog, &error));
    leapfrog = (flow_leapfrog_model_options){.mix = FLOW_MIX_REVERSE, .steps = 8, .step = 1};
    assert_same("leapfrog:layers=4", flow_leapfrog_model(4, 0, &leapfrog, &error));
    assert_same("gin:mix=random", flow_gin(4, 0, NULL, &error));
    assert_same("revnet:mix=reverse", flow_revnet(4, 0, &(flow_nice_options){.mix = FLOW_MIX_REVERSE}, &error));
    assert_same("nice:mix=halves", flow_nice(4, 0, &(flow_nice_options){.mix = FLOW_MIX_HALVES}, &error));
    assert_same("nice:mask=alternate", flow_nice(4, 0, &(flow_nice_options){.mask = FLOW_MASK_ALTERNATE}, &error));
    realnvp = (flow_realnvp_options){.mask = FLOW_MASK_RANDOM};
    assert_same("realnvp:mask=random", flow_realnvp(4, 0, &realnvp, &error));
    nsf = (flow_nsf_options){.mask = FLOW_MASK_HALVES};
    assert_same("nsf-coupling:mask=halves", flow_nsf(4, 0, &nsf, &error));
}

static void assert_describes(const char *line, const char *words) {
    char *text = describe(make(line, 4, 2), line);
    if (!strstr(text, words)) fail_msg("%s: no %s in %s", line, words, text);
    free(text);
}

// In the spline's place: by its name in files, shortened.
static void a_transformer_is_named(void **state) {
    (void)state;
    static const char *const each[][2] = {{"additive", "additive"},
                                          {"affine", "affine"},
                                          {"linear", "linear spline"},
                                          {"rational-quadratic", "rational-quadratic spline"},
                                          {"quadratic", "quadratic spline"},
                                          {"linear-rational", "linear-rational spline"},
                                          {"cubic", "cubic spline"},
                                          {"hermite", "hermite spline"},
                                          {"sinusoid", "sinusoid"},
                                          {"bernstein", "bernstein"},
                                          {"sum-of-squares", "sum of squares"},
                                          {"nonlinear-squared", "nonlinear squared"},
                                          {"logistic-mixture", "logistic mixture"},
                                          {"gaussianization", "gaussianization"},
                                          {"deep-sigmoidal", "deep sigmoidal"},
                                          {"dense-sigmoidal", "dense sigmoidal"},
                                          {"umnn", "umnn"},
                                          {"monotone-net", "monotone net"}};
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        for (int way = 0; way < 2; way++) {
            char line[100];
            snprintf(line, sizeof line, "nsf-%s:layers=2,transformer=%s,bins=6,bound=4.5", way ? "ar" : "coupling",
                     each[i][0]);
            flow_nsf_options nsf = {
                .layers = 2, .bins = 6, .bound = 4.5, .autoregressive = way, .transformer = each[i][1]};
            assert_same(line, flow_nsf(4, 0, &nsf, &error));
        }
    }
    // On a torus: nothing stretches features, and the base is uniform.
    const flow_nsf_options torus = {.bins = 6, .raw = true, .mix = FLOW_MIX_RANDOM, .transformer = "circular spline"};
    assert_same("nsf-coupling:transformer=circular,bins=6", flow_nsf(4, 0, &torus, &error));
    assert_describes("nsf-ar:transformer=circular,bound=2",
                     "\"base\":{\"type\":\"uniform\",\"features\":4,\"low\":-2.0,\"high\":2.0");
    assert_describes("nsf-ar:transformer=censored-mixture,bins=16,layers=1", "\"base\":{\"type\":\"uniform\"");
    assert_describes("nsf-ar:transformer=circular,base=uniform,box=3", "\"base\":{\"type\":\"uniform\"");
    assert_null(flow_nsf(2, 0, &(flow_nsf_options){.transformer = "septic"}, &error));
    util_assert_contains(error.message,
                         "unknown transformer 'septic'; known are additive, affine, rational-quadratic, ");
}

static void bases_are_named(void **state) {
    (void)state;
    assert_describes("realnvp", "\"base\":{\"type\":\"standard normal\"");
    assert_describes("realnvp:base=normal", "\"base\":{\"type\":\"standard normal\"");
    assert_describes("realnvp:base=learned,type=f64",
                     "\"base\":{\"type\":\"normal\",\"features\":4,\"context\":0,\"place\":\"learned\",\"bound\":10.0,"
                     "\"precision\":\"f64\"");
    assert_describes("realnvp:base=conditional", "\"base\":{\"type\":\"normal\",\"features\":4,\"context\":2");
    assert_describes("realnvp:base=full", "\"base\":{\"type\":\"full normal\"");
    assert_describes("realnvp:base=pca", "\"base\":{\"type\":\"pca normal\",\"features\":4,\"rank\":2");
    assert_describes("realnvp:base=pca,rank=3", "\"rank\":3");
    assert_describes("realnvp:base=mixture,components=3", "\"components\":3");
    assert_describes("realnvp:base=student,df=2.5", "\"df\":2.5");
    assert_describes("realnvp:base=logistic", "\"base\":{\"type\":\"logistic\"");
    assert_describes("realnvp:base=laplace", "\"base\":{\"type\":\"laplace\"");
    assert_describes("realnvp:base=gumbel", "\"base\":{\"type\":\"gumbel\"");
    assert_describes("realnvp:base=uniform", "\"base\":{\"type\":\"uniform\",\"features\":4,\"low\":-3.0,\"high\":3.0");
    assert_describes("realnvp:base=uniform,box=0.5", "\"low\":-0.5,\"high\":0.5");
    assert_describes("realnvp:base=classes", "\"features\":4,\"context\":2,\"place\":\"classes\"");
    assert_describes("realnvp:base=logistic,fixed=yes", "\"place\":\"fixed\"");
    assert_describes("realnvp:base=student,learn-df=yes", "\"df\":0.0");
    assert_describes("realnvp:base=gumbel,follow=yes", "\"features\":4,\"context\":2,\"place\":\"net\"");
    assert_describes("realnvp:base=mixture,follow=yes", "\"features\":4,\"context\":2,\"components\":8");
    assert_describes("realnvp:base=laplace,temperature=0.5", "\"base\":{\"type\":\"tempered\",\"temperature\":0.5");
}

// A context of 2 through two layers of 5 units: couplings and base see 5 features.
static void a_context_passes_a_net_first(void **state) {
    (void)state;
    const char *line = "maf:embed=5x2,activation=tanh,type=f64,base=conditional";
    assert_describes(line,
                     "\"embed\":{\"type\":\"mlp\",\"in\":2,\"out\":5,\"layers\":2,\"width\":5,\"activation\":\"tanh\"");
    assert_describes(line, "\"base\":{\"type\":\"normal\",\"features\":4,\"context\":5");
    flow_model *model = make(line, 4, 2);
    assert_int_equal(flow_model_context(model), 2);
    flow_model_free(model);
}

// A file brings a model back with its line, and the line makes it again.
static void check_line(const char *line, int64_t C) {
    flow_model *model = make(line, 3, C);
    if (flow_save(model, files_path("line.safetensors"), &error) != AD_OK) fail_msg("%s", error.message);
    flow_model *loaded = flow_load(files_path("line.safetensors"), NULL, &error);
    if (!loaded) fail_msg("%s: %s", line, error.message);
    assert_string_equal(flow_model_text(loaded), line);
    flow_model *again = make(flow_model_text(loaded), 3, C);
    char *a = flow_describe(loaded), *b = flow_describe(again), *c = flow_describe(model);
    assert_string_equal(a, b);
    assert_string_equal(a, c);
    free(a), free(b), free(c);
    flow_model_free(model), flow_model_free(loaded), flow_model_free(again);
}

static void every_base_and_an_embedding_come_back_from_files(void **state) {
    (void)state;
    static const char *const bases[] = {"normal",
                                        "learned",
                                        "conditional",
                                        "classes",
                                        "full",
                                        "pca,rank=2",
                                        "mixture,components=2,follow=yes",
                                        "student,df=3,learn-df=yes",
                                        "logistic,fixed=yes",
                                        "laplace,follow=yes,temperature=0.8",
                                        "gumbel",
                                        "uniform,box=4"};
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++) {
        char line[150];
        for (int embed = 0; embed < 2; embed++) {
            snprintf(line, sizeof line, "realnvp:layers=1,hidden=4x1,base=%s%s", bases[i], embed ? ",embed=3x1" : "");
            check_line(line, 2);
        }
    }
}

static void layers_by_hand_have_no_line(void **state) {
    (void)state;
    flow_model *model = flow_realnvp(2, 0, NULL, &error);
    assert_null(flow_model_text(model));
    char *text = flow_describe(model);
    assert_null(strstr(text, "\"text\""));
    free(text);
    flow_model_free(model);
}

static void the_help_lists_all(void **state) {
    (void)state;
    char *help = flow_text_help();
    assert_non_null(help);
    for (int i = 0; i < NAMES; i++) util_assert_contains(help, names[i]);
    util_assert_contains(
        help,
        "\n    layers, hidden, activation, net, transformer, bins, bound, mix, inverse, embed, raw, base, "
        "components, df, learn-df, rank, box, fixed, follow, temperature, seed, type\n");
    util_assert_contains(help, "\ntransformer=additive, affine, rational-quadratic, linear, quadratic, ");
    util_assert_contains(help, "\nhidden=sizes as 256x2, width 1 to 65536 and depth 0 to 1000: of conditioners");
    util_assert_contains(help, "\ntype=f32 or f64: of the parameters\n");
    free(help);
}

static void names_are_listed(void **state) {
    (void)state;
    for (int i = 0; i < NAMES; i++) assert_string_equal(flow_text_name(i), names[i]);
    assert_null(flow_text_name(NAMES));
    assert_null(flow_text_name(NAMES + 1000));
    assert_null(flow_text_name(-1));
}

// ---- refusals ------------------------------------------------------------------------------------------------------

static const struct refusal {
    const char *line, *words;
} refusals[] = {
    {"", "unknown model ''; known are nice, realnvp, gin, revnet, hint, ladder, leapfrog, maf, iaf, nsf-coupling, nsf-ar, triangular-spline, planar, radial, sylvester, block-naf"},
    {"nsf", "unknown model 'nsf'; known are nice"},
    {"nsf-ar :layers=2", "unknown model 'nsf-ar '"},
    {"maf:bin=3", "maf: unknown key 'bin'; it takes layers, hidden, activation, bound, scale, mix, embed, raw, base"},
    {"maf:bins=3", "maf: unknown key 'bins'; it takes layers"},
    {"maf:layers", "maf: 'layers' has no value; expected layers=a whole number from 1 to 10000"},
    {"maf:layers=2,layers=3", "maf: 'layers' is there twice"},
    {"maf:,", "maf: unknown key ''"},
    {"nsf-ar:transformer=circular,mix=lu", "nsf: with the transformer circular features lie in a box: nothing but a"},
    {"nsf-ar:transformer=circular,base=logistic", "latent features lie between -3 and 3: expected base=uniform,box=3"},
    {"nsf-ar:transformer=circular,base=uniform,box=2", "expected base=uniform,box=3"},
    {"triangular-spline:transformer=circular", "with the transformer circular features lie in a box, which linear"},
    {"nsf-ar:transformer=septic", "transformer is 'septic'; expected additive, affine, rational-quadratic, "},
    {"nsf-ar:transformer=sum-of-squares,bins=32", "3 polynomials of degree 32"},
    {"maf:layers=", "maf: layers is ''; expected a whole number from 1 to 10000"},
    {"maf:layers=0", "maf: layers is '0'; expected a whole number from 1 to 10000"},
    {"maf:layers=2.5", "maf: layers is '2.5'; expected a whole number"},
    {"maf:layers=2 ,seed=1", "layers is '2 '"},
    {"maf:layers=0x10", "maf: layers is '0x10'"},
    {"maf:layers=99999999999999999999", "maf: layers is '99999999999999999999'"},
    {"nsf-ar:bins=1", "nsf-ar: bins is '1'; expected a whole number from 2 to 4096"},
    {"nsf-ar:bound=nan", "nsf-ar: bound is 'nan'; expected a number from 0.001 to 1000000"},
    {"nsf-ar:bound=-1", "nsf-ar: bound is '-1'"},
    {"nsf-ar:hidden=256", "nsf-ar: hidden is '256'; expected sizes as 256x2, width 1 to 65536 and depth 0 to 1000"},
    {"nsf-ar:hidden=256x", "hidden is '256x'"},
    {"nsf-ar:hidden=x2", "hidden is 'x2'"},
    {"nsf-ar:hidden=0x2", "hidden is '0x2'"},
    {"nsf-ar:hidden=2x3x4", "hidden is '2x3x4'"},
    {"nsf-ar:activation=elu", "nsf-ar: activation is 'elu'; expected relu, tanh or leaky-relu"},
    {"nsf-ar:mix=lux", "mix is 'lux'; expected usual, halves, reverse, random or lu"},
    {"nsf-ar:raw=1", "raw is '1'; expected no or yes"},
    {"nsf-ar:type=f16", "type is 'f16'; expected f32 or f64"},
    {"nsf-ar:seed=-1", "seed is '-1'"},
    {"maf:base=gauss", "base is 'gauss'; expected normal, learned, conditional, classes, full"},
    {"maf:base=conditional", "base=conditional, but the model takes no context"},
    {"maf:base=student,rank=2", "'rank' goes with base=pca, but base=student"},
    {"maf:components=2", "'components' goes with base=mixture, but base=normal"},
    {"maf:base=pca,rank=5", "pca normal: rank 5"},
    {"maf:base=classes", "base density: base=classes, but the model takes no context"},
    {"maf:base=mixture,follow=yes", "base density: follow=yes, but the model takes no context"},
    {"maf:base=full,follow=yes", "'follow' goes with base=mixture, student, logistic, laplace, gumbel, but base=full"},
    {"maf:base=normal,box=2", "'box' goes with base=uniform, but base=normal"},
    {"maf:base=mixture,temperature=2", "tempered: a power of the base density 'normal mixture'"},
    {"maf:embed=4x1", "maf: embed, but the model takes no context"},
    {"maf:embed=4", "maf: embed is '4'; expected sizes as 256x2"},
    {"sylvester:directions=9", "directions"},
    {"ladder:parts=1", "ladder: parts is '1'; expected a whole number from 2 to 4096"},
    {"ladder:parts=9", "ladder: 9 parts of 4 features"},
    {"ladder:steps=2", "ladder: unknown key 'steps'; it takes layers, hidden, activation, bound, mix, parts, sees, embed"},
    {"leapfrog:form=chaotic", "leapfrog: form is 'chaotic'; expected symmetric, free or hamiltonian"},
    {"leapfrog:steps=0", "leapfrog: steps is '0'; expected a whole number from 1 to 2048"},
    {"leapfrog:step=0", "leapfrog: step is '0'; expected a number from 1e-06 to 100"},
    {"leapfrog:bound=2", "leapfrog: unknown key 'bound'; it takes layers, hidden, activation, mix, form, steps, step, embed"},
};

static void bad_lines_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        error = (ad_error){AD_OK, ""};
        if (flow_from_text(refusals[i].line, 4, 0, &error)) fail_msg("not refused: %s", refusals[i].line);
        if (error.status != AD_EARG || !strstr(error.message, refusals[i].words)) {
            fail_msg("'%s': \"%s\" is not in \"%s\"", refusals[i].line, refusals[i].words, error.message);
        }
    }
}

static void sizes_that_do_not_fit_are_refused(void **state) {
    (void)state;
    char line[1200] = "maf:seed=";
    memset(line + strlen(line), '1', 1100);
    assert_null(flow_from_text(line, 2, 0, &error));
    util_assert_contains(error.message, "more than 1000 characters");
    assert_null(flow_from_text(NULL, 2, 0, &error));
    util_assert_contains(error.message, "no text");
    assert_null(flow_from_text("maf", 0, 0, &error));
    util_assert_contains(error.message, "0 features");
    assert_null(flow_from_text("realnvp:base=learned", 1, 0, &error));
    util_assert_contains(error.message, "nothing to condition on");
}

// A file's line is a comment, but not one of any length.
static void a_line_too_long_in_a_file_is_refused(void **state) {
    (void)state;
    enum { MOST = 1000 };
    flow_model *model = flow_from_text("nice:layers=1,hidden=2x1", 2, 0, &error);
    char *text = flow_describe(model), *json = malloc(strlen(text) + MOST + 100);
    char *at = strstr(text, "nice:");
    size_t head = (size_t)(at - text), n;
    memcpy(json, text, head);
    memset(json + head, 'n', MOST + 1);
    strcpy(json + head + MOST + 1, strchr(at, '"'));
    const data_meta meta = {"flow_model", json};
    data_tensor tensors[32];
    int count;
    const flow_tensor *t = flow_tensors(model, &count);
    assert_true(count <= 32);
    for (n = 0; n < (size_t)count; n++) {
        if (t[n].param) tensors[n] = (data_tensor){t[n].name, t[n].param->type, t[n].param->shape, t[n].param->data};
        if (t[n].state) tensors[n] = (data_tensor){t[n].name, t[n].state->type, t[n].state->shape, t[n].state->data};
    }
    const data_tensors all = {.tensor = tensors, .n = count, .meta = &meta, .n_meta = 1};
    if (data_save_tensors(files_path("long.safetensors"), &all, &error) != AD_OK) fail_msg("%s", error.message);
    assert_null(flow_load(files_path("long.safetensors"), NULL, &error));
    util_assert_contains(error.message, "\"text\" of the model should be a text of at most 1000 characters");
    free(text);
    free(json);
    flow_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_name_makes_a_model_that_files_bring_back, files_empty),
        cmocka_unit_test(a_name_alone_takes_the_defaults),
        cmocka_unit_test(keys_are_options),
        cmocka_unit_test(a_transformer_is_named),
        cmocka_unit_test(bases_are_named),
        cmocka_unit_test(a_context_passes_a_net_first),
        cmocka_unit_test_teardown(every_base_and_an_embedding_come_back_from_files, files_empty),
        cmocka_unit_test(layers_by_hand_have_no_line),
        cmocka_unit_test(the_help_lists_all),
        cmocka_unit_test(names_are_listed),
        cmocka_unit_test(bad_lines_are_refused),
        cmocka_unit_test(sizes_that_do_not_fit_are_refused),
        cmocka_unit_test_teardown(a_line_too_long_in_a_file_is_refused, files_empty),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
