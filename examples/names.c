// names.c -- lists of names on the command line.
#include "names.h"

#include <stdlib.h>
#include <string.h>

bool names_read(names *list, const char *first, const char *text, char between) {
    const size_t length = strlen(text);
    *list = (names){malloc(length + 1), calloc(length + 2, sizeof *list->name), 0};
    if (!list->text || !list->name) return false;
    memcpy(list->text, text, length + 1);
    list->name[0] = first;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == between) {
            list->text[i] = 0;
        } else if (i == 0 || text[i - 1] == between) {
            list->name[++list->n] = list->text + i;
        }
    }
    return true;
}

void names_free(names *list) {
    free(list->text);
    free(list->name);
}
