// names.h -- lists of names on the command line.
#ifndef EXAMPLES_NAMES_H
#define EXAMPLES_NAMES_H

#include <stdbool.h>

typedef struct names {
    char *text;         // what the names lie in
    const char **name;  // [1 + n]
    int n;
} names;

// The names in a text, parted by that character, from number 1 on; number 0 is first. False when out of memory. Freed
// after failure, too.
bool names_read(names *list, const char *first, const char *text, char between);
void names_free(names *list);

#endif
