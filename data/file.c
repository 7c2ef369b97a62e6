// file.c -- opens, maps and reads regular files; system errors in words.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

const char *data_system_text(int code, char buffer[32]) {
    static const struct {
        int code;
        const char *text;
    } known[] = {
        {ENOENT, "no such file or directory"},
        {EACCES, "permission denied"},
        {EPERM, "operation not permitted"},
        {ENOTDIR, "a part of the path is not a directory"},
        {EISDIR, "is a directory"},
        {ENOSPC, "no space left on the device"},
        {EDQUOT, "disk quota exceeded"},
        {EFBIG, "file too large"},
        {EROFS, "read-only file system"},
        {EIO, "input/output error"},
        {EINTR, "interrupted"},
        {ELOOP, "too many symbolic links"},
        {EMFILE, "too many open files"},
        {ENFILE, "too many open files in the system"},
        {ENAMETOOLONG, "file name too long"},
        {ENOMEM, "out of memory"},
        {ENODEV, "cannot be mapped"},
        {EEXIST, "file exists"},
        {EBUSY, "device or resource busy"},
        {ETXTBSY, "file is a running program"},
        {ESTALE, "stale file handle"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (known[i].code == code) return known[i].text;
    }
    snprintf(buffer, 32, "system error %d", code);
    return buffer;
}

ad_status data_fail_system(ad_error *error, const char *path, const char *action, int code) {
    char buffer[32];
    ad_status status = code == ENOMEM ? AD_ENOMEM : AD_EIO;
    return ad_fail(error, status, "%s: could not %s: %s", path, action, data_system_text(code, buffer));
}

int data_open(const char *path, uint64_t *size, ad_error *error) {
    if (path == NULL || *path == '\0') {
        ad_fail(error, AD_EARG, "no file name given");
        return -1;
    }
    // Without O_NONBLOCK, opening a named pipe would wait for a writer.
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
        data_fail_system(error, path, "open it", errno);
    } else if (!S_ISREG(info.st_mode)) {
        ad_fail(error, AD_EIO, "%s: %s, expected a regular file", path,
                S_ISDIR(info.st_mode) ? "is a directory" : "is a pipe or a device");
    } else if (info.st_size <= 0) {
        ad_fail(error, AD_EFORMAT, "%s: the file is empty", path);
    } else {
        *size = (uint64_t)info.st_size;
        return fd;
    }
    if (fd >= 0) close(fd);
    return -1;
}

ad_status data_map_file(const char *path, data_map *map, ad_error *error) {
    uint64_t size;
    int fd = data_open(path, &size, error);
    if (fd < 0) return error != NULL ? error->status : AD_EIO;
    if (size > SIZE_MAX / 2) {
        close(fd);
        return ad_fail(error, AD_ENOMEM, "%s: %llu bytes are more than this machine can map", path,
                       (unsigned long long)size);
    }
    void *bytes = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
    int code = errno;
    close(fd);
    if (bytes == MAP_FAILED) return data_fail_system(error, path, "map it", code);
    map->bytes = bytes;
    map->size = (size_t)size;
    return AD_OK;
}

void data_unmap(data_map *map) {
    if (map->bytes != NULL) munmap((void *)(uintptr_t)map->bytes, map->size);
    map->bytes = NULL;
}

ad_status data_read_at(int fd, const char *path, void *buffer, size_t size, uint64_t offset, ad_error *error) {
    unsigned char *at = buffer;
    while (size > 0) {
        ssize_t n = pread(fd, at, size, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return data_fail_system(error, path, "read it", errno);
        if (n == 0) return ad_fail(error, AD_EIO, "%s: the file became shorter while it was read", path);
        at += n;
        size -= (size_t)n;
        offset += (uint64_t)n;
    }
    return AD_OK;
}

char *data_quote(char *out, size_t room, const char *text, size_t size) {
    bool cut = size > room - 1;
    size_t n = cut ? room - 4 : size;
    for (size_t i = 0; i < n; i++) out[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
    strcpy(out + n, cut ? "..." : "");
    return out;
}
