// test_png.c -- folders of PNG images: kinds, classes, unlike images, and damaged ones.
#include <png.h>

#include "damage.h"

typedef struct kind {
    int type, depth, interlace, channels;  // channels: that come out
} kind;

// Writes an image of random samples; *samples is what they are when read, and to be freed.
static const char *write_png(const char *name, int width, int height, kind k, double *samples, uint64_t seed) {
    const char *path = files_path(name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_init_io(png, file);
    png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, k.depth, k.type, k.interlace, 0, 0);
    png_color palette[4] = {{1, 2, 3}, {40, 50, 60}, {7, 8, 9}, {255, 254, 253}};
    if (k.type == PNG_COLOR_TYPE_PALETTE) png_set_PLTE(png, info, palette, 4);
    png_write_info(png, info);
    size_t row_bytes = png_get_rowbytes(png, info);
    png_bytep *rows = malloc((size_t)height * sizeof *rows);
    int written = k.type == PNG_COLOR_TYPE_PALETTE ? 1 : k.channels;
    for (int y = 0; y < height; y++) {
        rows[y] = calloc(row_bytes, 1);
        for (int x = 0; x < width * written; x++) {
            int v = (int)util_uniform(&seed, 0, 1 << k.depth), bit = x * k.depth;
            if (k.type == PNG_COLOR_TYPE_PALETTE) v &= 3;
            if (k.depth == 16) rows[y][2 * x] = (unsigned char)(v >> 8), rows[y][2 * x + 1] = (unsigned char)v;
            if (k.depth <= 8) rows[y][bit / 8] |= (unsigned char)(v << (8 - k.depth - bit % 8));
            if (k.type == PNG_COLOR_TYPE_PALETTE) {
                *samples++ = palette[v].red, *samples++ = palette[v].green, *samples++ = palette[v].blue;
            } else {
                *samples++ = k.depth < 8 ? v * (255 / ((1 << k.depth) - 1)) : v;
            }
        }
    }
    png_write_image(png, rows);
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    for (int y = 0; y < height; y++) free(rows[y]);
    free(rows);
    fclose(file);
    return path;
}

static const kind grey = {PNG_COLOR_TYPE_GRAY, 8, 0, 1};

static void reads_every_kind(void **state) {
    (void)state;
    static const kind kinds[] = {
        {PNG_COLOR_TYPE_GRAY, 1, 0, 1},        {PNG_COLOR_TYPE_GRAY, 2, 0, 1},
        {PNG_COLOR_TYPE_GRAY, 4, 0, 1},        {PNG_COLOR_TYPE_GRAY, 8, 0, 1},
        {PNG_COLOR_TYPE_GRAY, 16, 0, 1},       {PNG_COLOR_TYPE_GRAY_ALPHA, 8, 0, 2},
        {PNG_COLOR_TYPE_GRAY_ALPHA, 16, 0, 2}, {PNG_COLOR_TYPE_RGB, 8, 0, 3},
        {PNG_COLOR_TYPE_RGB, 16, 0, 3},        {PNG_COLOR_TYPE_RGB_ALPHA, 8, 0, 4},
        {PNG_COLOR_TYPE_RGB_ALPHA, 16, 0, 4},  {PNG_COLOR_TYPE_PALETTE, 2, 0, 3},
        {PNG_COLOR_TYPE_PALETTE, 8, 0, 3},     {PNG_COLOR_TYPE_RGB, 8, 1, 3},
        {PNG_COLOR_TYPE_GRAY, 16, 1, 1},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        double samples[13 * 9 * 4];
        ad_error error;
        data_table *table = data_read(write_png("a.png", 13, 9, kinds[i], samples, i), &error);
        if (table == NULL) fail_msg("%s", error.message);
        assert_int_equal(table->type, kinds[i].depth == 16 ? DATA_U16 : DATA_U8);
        assert_true(table->rows == 1 && table->shape.rank == 3 && table->shape.dim[0] == 9 &&
                    table->shape.dim[1] == 13 && table->shape.dim[2] == kinds[i].channels);
        for (int64_t k = 0; k < table->columns; k++) {
            if (data_get(table, 0, k) != samples[k]) fail_msg("kind %zu, element %lld", i, (long long)k);
        }
        data_table_free(table);
    }
}

// Made without libpng: sample c of pixel (x, y) is 1000 y + 3 x + c.
static void reads_an_image_of_another_writer(void **state) {
    (void)state;
    const char *path = files_fixture("rgb16.png");
    if (path == NULL) skip();
    data_table *table = data_read(path, NULL);
    assert_non_null(table);
    assert_true(table->columns == 18 && table->shape.dim[1] == 2);
    for (int i = 0; i < 18; i++) assert_true(data_get(table, 0, i) == 1000 * (i / 6) + i % 6);
    data_table_free(table);
}

static void reads_a_folder_in_the_order_of_names(void **state) {
    (void)state;
    double samples[3][6];
    write_png("b.png", 3, 2, grey, samples[1], 1);
    write_png("a.PNG", 3, 2, grey, samples[0], 2);
    write_png("c10.png", 3, 2, grey, samples[2], 3);
    files_write("notes.txt", "x", 1);
    files_write(".hidden.png", "x", 1);
    data_table *labels;
    char **classes;
    ad_error error;
    data_table *table = data_read_png(files_dir, &labels, &classes, &error);
    if (table == NULL) fail_msg("%s", error.message);
    assert_true(table->rows == 3 && table->columns == 6 && labels == NULL && classes == NULL);
    for (int i = 0; i < 18; i++) assert_true(data_get(table, i / 6, i % 6) == samples[i / 6][i % 6]);
    data_table_free(table);
}

// ---- classes: folders cats and dogs ---------------------------------------------------------------------------------

static int make_classes(void **state) {
    (void)state;
    double samples[6];
    mkdir(files_path("dogs"), 0700);
    mkdir(files_path("cats"), 0700);
    mkdir(files_path(".cache"), 0700);
    write_png("dogs/1.png", 3, 2, grey, samples, 1);
    write_png("dogs/2.png", 3, 2, grey, samples, 2);
    write_png("cats/9.png", 3, 2, grey, samples, 3);
    return 0;
}

static int remove_classes(void **state) {
    static const char *const files[] = {"dogs/1.png", "dogs/2.png", "cats/9.png"};
    for (int i = 0; i < 3; i++) remove(files_path(files[i]));
    return files_empty(state);
}

static void folders_are_classes(void **state) {
    (void)state;
    data_table *labels;
    char **classes;
    ad_error error;
    data_table *table = data_read_png(files_dir, &labels, &classes, &error);
    if (table == NULL) fail_msg("%s", error.message);
    assert_true(table->rows == 3 && labels->rows == 3);
    const double want[] = {0, 1, 1};
    for (int i = 0; i < 3; i++) assert_true(data_get(labels, i, 0) == want[i]);
    assert_string_equal(labels->names[0], "class");
    assert_string_equal(classes[0], "cats");
    assert_string_equal(classes[1], "dogs");
    assert_null(classes[2]);
    data_table_free(table);
    data_table_free(labels);
    free(classes);
    table = data_read_png(files_dir, NULL, NULL, NULL);
    assert_non_null(table);
    data_table_free(table);
}

static void bad_folders_are_refused(void **state) {
    (void)state;
    double samples[6];
    ad_error error;
    data_table *labels;
    char **classes;
    remove(files_path("cats/9.png"));
    assert_null(data_read_png(files_dir, &labels, &classes, &error));
    util_assert_contains(error.message, "cats: no .png files, expected the images of a class");
    write_png("cats/9.png", 2, 3, grey, samples, 3);
    assert_null(data_read_png(files_dir, &labels, &classes, &error));
    util_assert_contains(error.message, "dogs/1.png: 2 x 3 pixels of 1 channels and 8 bits, expected 3 x 2 of 1 and 8");
    assert_true(labels == NULL && classes == NULL);
    write_png("a.png", 3, 2, grey, samples, 3);
    assert_null(data_read_png(files_dir, &labels, &classes, &error));
    util_assert_contains(error.message, "both images and folders");
}

// ---- hostile files --------------------------------------------------------------------------------------------------

static void refuses_bad_images(void **state) {
    (void)state;
    ad_error error;
    double samples[6];
    assert_null(data_read_png(files_write("a.png", "GIF89a12", 8), NULL, NULL, &error));
    util_assert_contains(error.message, "a.png: not a PNG file");
    size_t size;
    unsigned char *bytes = files_read(write_png("a.png", 3, 2, grey, samples, 1), &size);
    bytes[16] = 1;  // a width of 2^24 + 3, whose checksum is wrong now
    assert_null(data_read_png(files_write("a.png", bytes, size), NULL, NULL, &error));
    util_assert_contains(error.message, "a.png: PNG, at or before byte 33: IHDR: CRC error");
    free(bytes);
    assert_null(data_read_png("", NULL, NULL, &error));
    assert_int_equal(error.status, AD_EARG);
}

static void put_chunk(unsigned char **at, const char *type, const unsigned char *bytes, uint32_t size) {
    unsigned char *start = *at;
    for (int i = 0; i < 4; i++) start[i] = (unsigned char)(size >> (24 - 8 * i));
    memcpy(start + 4, type, 4);
    memcpy(start + 8, bytes, size);
    uint32_t crc = 0xffffffff;
    for (uint32_t i = 4; i < size + 8; i++) {
        crc ^= start[i];
        for (int k = 0; k < 8; k++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    for (int i = 0; i < 4; i++) start[size + 8 + (unsigned)i] = (unsigned char)(~crc >> (24 - 8 * i));
    *at = start + size + 12;
}

// An RGBA image of 16 bits that claims width x height in a file of some bytes.
static data_table *read_claim(uint32_t width, uint32_t height, ad_error *error) {
    unsigned char file[100] = "\x89PNG\r\n\x1a\n", *at = file + 8, header[13] = {[8] = 16, [9] = 6};
    for (int i = 0; i < 4; i++) {
        header[i] = (unsigned char)(width >> (24 - 8 * i));
        header[4 + i] = (unsigned char)(height >> (24 - 8 * i));
    }
    put_chunk(&at, "IHDR", header, 13);
    put_chunk(&at, "IDAT", header, 13);
    return data_read_png(files_write("a.png", file, (size_t)(at - file)), NULL, NULL, error);
}

static void refuses_what_claims_to_be_huge(void **state) {
    (void)state;
    ad_error error;
    assert_null(read_claim(16384, 16384, &error));
    util_assert_contains(error.message,
                         "a.png: a file of 58 bytes claims an image of 2147483648, expected at most 1000");
    assert_null(read_claim(16385, 1, &error));
    util_assert_contains(error.message, "a.png: PNG, at or before byte 33: ");
    assert_null(read_claim(2147483647, 2147483647, &error));
    util_assert_contains(error.message, "a.png: PNG, at or before byte 33: ");
}

static data_table *read_one(const char *path, ad_error *error) {
    return data_read_png(path, NULL, NULL, error);
}

// Every chunk has a checksum, and so have the pixels.
static void every_damage_is_found(void **state) {
    (void)state;
    double samples[100];
    size_t size;
    unsigned char *bytes = files_read(write_png("a.png", 7, 5, grey, samples, 1), &size);
    damage d = damage_all("a.png", bytes, size, read_one);
    assert_int_equal(d.cut, 0);
    assert_int_equal(d.changed, 0);
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(reads_every_kind, files_empty),
        cmocka_unit_test(reads_an_image_of_another_writer),
        cmocka_unit_test_teardown(reads_a_folder_in_the_order_of_names, files_empty),
        cmocka_unit_test_setup_teardown(folders_are_classes, make_classes, remove_classes),
        cmocka_unit_test_setup_teardown(bad_folders_are_refused, make_classes, remove_classes),
        cmocka_unit_test_teardown(refuses_bad_images, files_empty),
        cmocka_unit_test_teardown(refuses_what_claims_to_be_huge, files_empty),
        cmocka_unit_test_teardown(every_damage_is_found, files_empty),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
