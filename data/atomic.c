// atomic.c -- writes a file whole or not at all: temporary file, sync, rename, sync of the directory.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

// Names keep within 255 bytes: a long base is cut in the temporary file's name.
enum { BASE_SHOWN = 200, ATTEMPTS = 100, CHUNK = 1 << 30 };

static void give_up(data_writer *writer, ad_status status) {
    writer->status = status;
    if (writer->fd >= 0) {
        close(writer->fd);
        unlinkat(writer->dir, writer->temp, 0);
    }
    if (writer->dir >= 0) close(writer->dir);
    writer->fd = writer->dir = -1;
}

static void give_up_system(data_writer *writer, const char *action, int code) {
    give_up(writer, data_fail_system(writer->error, writer->path, action, code));
}

static int open_directory(const char *path, size_t length) {
    if (length == 0) return open(*path == '/' ? "/" : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char *name = strndup(path, length);
    if (name == NULL) return -1;
    int dir = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int code = errno;
    free(name);
    errno = code;
    return dir;
}

// Removes what writers of the same file left behind when they were killed: their process is gone.
static void remove_stale(const data_writer *writer) {
    char prefix[256];
    int length = snprintf(prefix, sizeof prefix, ".%.*s.tmp.", BASE_SHOWN, writer->base);
    int copy = openat(writer->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = copy < 0 ? NULL : fdopendir(copy);
    if (list == NULL) {
        if (copy >= 0) close(copy);
        return;
    }
    for (struct dirent *entry; (entry = readdir(list)) != NULL;) {
        if (strncmp(entry->d_name, prefix, (size_t)length) != 0) continue;
        char *end;
        long pid = strtol(entry->d_name + length, &end, 10);
        bool ours = pid > 0 && (*end == '\0' || *end == '.');
        if (ours && kill((pid_t)pid, 0) != 0 && errno == ESRCH) unlinkat(writer->dir, entry->d_name, 0);
    }
    closedir(list);
}

// Only a regular file that we might write, or nothing, may be replaced. Its permissions carry over.
static bool may_replace(data_writer *writer, mode_t *mode) {
    struct stat info;
    if (fstatat(writer->dir, writer->base, &info, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) return true;
        give_up_system(writer, "look at it", errno);
    } else if (!S_ISREG(info.st_mode)) {
        give_up(writer, ad_fail(writer->error, AD_EIO, "%s: is %s, expected a regular file or none", writer->path,
                                S_ISLNK(info.st_mode)   ? "a symbolic link"
                                : S_ISDIR(info.st_mode) ? "a directory"
                                                        : "a pipe or a device"));
    } else if (faccessat(writer->dir, writer->base, W_OK, AT_EACCESS) != 0) {
        give_up_system(writer, "replace it", errno);
    } else {
        *mode = info.st_mode & 0777;
        return true;
    }
    return false;
}

void data_writer_open(data_writer *writer, const char *path, ad_error *error) {
    memset(writer, 0, sizeof *writer);
    writer->dir = writer->fd = -1;
    writer->path = path;
    writer->error = error;
    const char *slash = path == NULL ? NULL : strrchr(path, '/');
    writer->base = slash == NULL ? path : slash + 1;
    if (path == NULL || *writer->base == '\0') {
        give_up(writer, ad_fail(error, AD_EARG, "\"%s\" is not the name of a file to write", path == NULL ? "" : path));
        return;
    }
    writer->dir = open_directory(path, slash == NULL ? 0 : (size_t)(slash - path));
    if (writer->dir < 0) {
        give_up_system(writer, "open its directory", errno);
        return;
    }
    mode_t mode = 0;
    if (!may_replace(writer, &mode)) return;
    remove_stale(writer);
    // Another thread of ours may be writing the same file: the number keeps the two apart.
    for (int i = 0; i < ATTEMPTS && writer->fd < 0; i++) {
        snprintf(writer->temp, sizeof writer->temp, i == 0 ? ".%.*s.tmp.%ld" : ".%.*s.tmp.%ld.%d", BASE_SHOWN,
                 writer->base, (long)getpid(), i);
        writer->fd = openat(writer->dir, writer->temp, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (writer->fd < 0 && errno != EEXIST) break;
    }
    if (writer->fd < 0) {
        give_up_system(writer, "create a temporary file beside it", errno);
    } else if (mode != 0 && fchmod(writer->fd, mode) != 0) {
        give_up_system(writer, "set its permissions", errno);
    }
}

// At offset, or, when that is negative, at the end.
static void put(data_writer *writer, const unsigned char *at, size_t size, off_t offset) {
    while (writer->status == AD_OK && size > 0) {
        size_t some = size < CHUNK ? size : CHUNK;
        ssize_t n = offset < 0 ? write(writer->fd, at, some) : pwrite(writer->fd, at, some, offset);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            give_up_system(writer, "write it", n < 0 ? errno : ENOSPC);
            return;
        }
        at += n;
        size -= (size_t)n;
        if (offset >= 0) offset += n;
    }
}

void data_writer_put(data_writer *writer, const void *bytes, size_t size) {
    put(writer, bytes, size, -1);
}

void data_writer_put_at(data_writer *writer, const void *bytes, size_t size, uint64_t offset) {
    put(writer, bytes, size, (off_t)offset);
}

void data_writer_abandon(data_writer *writer, ad_status status) {
    if (writer->status == AD_OK) give_up(writer, status);
}

ad_status data_writer_commit(data_writer *writer) {
    if (writer->status != AD_OK) return writer->status;
    // A failed sync is never tried again: the kernel may have dropped the pages it could not write.
    if (fsync(writer->fd) != 0) {
        give_up_system(writer, "sync it", errno);
        return writer->status;
    }
    int closed = close(writer->fd);
    int code = errno;
    writer->fd = -1;
    if (closed == 0 && renameat(writer->dir, writer->temp, writer->dir, writer->base) == 0) {
        // The new file stands; some file systems cannot sync a directory and say EINVAL.
        int synced = fsync(writer->dir);
        code = errno;
        if (synced != 0 && code != EINVAL) give_up_system(writer, "sync its directory", code);
    } else {
        if (closed == 0) code = errno;
        unlinkat(writer->dir, writer->temp, 0);
        give_up_system(writer, closed == 0 ? "rename its temporary file to it" : "close it", code);
    }
    if (writer->dir >= 0) close(writer->dir);
    writer->dir = -1;
    return writer->status;
}
