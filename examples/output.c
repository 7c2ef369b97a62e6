// output.c -- whether a file can be written.
#include "output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

ad_status output_check(const char *file, ad_error *error) {
    const char *slash = strrchr(file, '/');
    char *folder = slash ? strndup(file, slash == file ? 1 : (size_t)(slash - file)) : strdup(".");
    struct stat s;
    int wrong = 0;
    if (!folder) {
        wrong = ENOMEM;
    } else if (stat(file, &s) == 0 && S_ISDIR(s.st_mode)) {
        wrong = EISDIR;
    } else if (access(folder, W_OK | X_OK) != 0) {
        wrong = errno;
    }
    free(folder);
    return wrong ? ad_fail(error, AD_EIO, "%s: cannot be written: %s", file, strerror(wrong)) : AD_OK;
}
