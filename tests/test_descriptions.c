// test_descriptions.c -- model files are not trusted: every layer's description with each of its values replaced by
// others.
#include <jansson.h>

#include "flows.h"
#include "util.h"

// What stands in for a value: of another type, out of range, or simply another.
static json_t *other(int k) {
    switch (k % 9) {
        case 0:
            return json_integer(-1);
        case 1:
            return json_string("x");
        case 2:
            return json_integer(1 << 24);
        case 3:
            return json_integer(0);
        case 4:
            return json_null();
        case 5:
            return json_real(1e300);
        case 6:
            return json_true();
        case 7:
            return json_integer(INT64_C(1) << 62);
        default:
            return json_array();
    }
}

// A layer, or a refusal in words, within the elements that a small file is worth.
static void make(const flow_layer_type *type, const json_t *description) {
    ad_error error = {AD_OK, ""};
    int64_t elements = 1 << 17;
    flow_making making = {.elements = &elements};
    flow_layer *layer = type->make(description, &making, &error);
    if (layer || (error.status != AD_OK && error.message[0] != 0 && error.status != AD_ENOMEM)) {
        flow_layer_free(layer);
        return;
    }
    char *text = json_dumps(description, JSON_COMPACT);
    print_error("%s: refused by '%s': %s\n", type->name, error.message, text);
    free(text);
    fail();
}

// Each value of the object in turn, and of the objects in it (a net, a permutation), replaced.
static void check_object(const flow_layer_type *type, const json_t *whole, json_t *object) {
    const char *key;
    json_t *value, *member;
    void *next;
    size_t i;
    json_object_foreach_safe(object, next, key, value) {
        if (json_is_object(value)) check_object(type, whole, value);
        if (json_is_array(value)) {
            json_array_foreach(value, i, member) {
                if (json_is_object(member)) check_object(type, whole, member);
            }
        }
        json_t *kept = json_incref(value);
        for (int k = 0; k < 9; k++) {
            json_object_set_new(object, key, other(k));
            make(type, whole);
        }
        json_object_set_new(object, key, kept);
    }
}

static void values_of_descriptions_are_not_trusted(void **state) {
    (void)state;
    ad_error error = {AD_OK, ""};
    for (const flow_layer_type *const *type = flow_layer_types(); *type; type++) {
        for (int i = 0; i < 6; i++) {
            flow_layer *layer = (*type)->example(i, &error);
            if (!layer) fail_msg("%s", error.message);
            json_t *description = (*type)->describe(layer);
            assert_non_null(description);
            check_object(*type, description, description);
            json_decref(description);
            flow_layer_free(layer);
        }
    }
}

static void what_is_missing_is_refused(void **state) {
    (void)state;
    json_t *nothing = json_object();
    for (const flow_layer_type *const *type = flow_layer_types(); *type; type++) {
        ad_error error = {AD_OK, ""};
        flow_layer *layer = (*type)->make(nothing, NULL, &error);
        if (layer) fail_msg("%s: made of nothing", (*type)->name);
        assert_int_equal(error.status, AD_EFORMAT);
    }
    json_decref(nothing);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_descriptions_are_not_trusted),
        cmocka_unit_test(what_is_missing_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
