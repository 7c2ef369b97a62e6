// references.h -- the references of all elementwise ops.
#ifndef PULLBACK_TESTS_REFERENCES_H
#define PULLBACK_TESTS_REFERENCES_H

#include "reference_basic.h"
#include "reference_math.h"
#include "reference_special.h"

static const reference references[] = {
    BASIC_REFERENCES
    MATH_REFERENCES
    SPECIAL_REFERENCES
};
enum { REFERENCES = sizeof references / sizeof references[0] };

#endif
