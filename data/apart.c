// apart.c -- work done in a child process: fork, limits, a pipe. See apart.h.
#include "apart.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SHADOWED 1  // address space is reserved by the terabyte
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SHADOWED 1
#endif
#endif

// Pages of address space in use; 0: not known.
static uint64_t pages_in_use(void) {
    FILE *file = fopen("/proc/self/statm", "re");
    uint64_t pages = 0;
    int c;
    while (file && (c = fgetc(file)) >= '0' && c <= '9') pages = 10 * pages + (uint64_t)(c - '0');
    if (file) fclose(file);
    return pages;
}

static void limit(uint64_t memory, uint64_t pages) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGPIPE, SIGINT, SIGTERM};
    struct sigaction standard = {.sa_handler = SIG_DFL};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigaction(faults[i], &standard, NULL);
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
#ifndef SHADOWED
    const rlim_t most = (rlim_t)(pages * (uint64_t)sysconf(_SC_PAGESIZE) + memory);
    const struct rlimit space = {most, most};
    if (pages > 0) setrlimit(RLIMIT_AS, &space);
#else
    (void)memory;
    (void)pages;
#endif
}

data_side data_apart_begin(data_apart *apart, uint64_t memory) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return DATA_APART_FAILED;
    const uint64_t pages = pages_in_use();
    pid_t child = fork();
    if (child < 0) {
        close(ends[0]);
        close(ends[1]);
        return DATA_APART_FAILED;
    }
    *apart = (data_apart){child, child == 0 ? ends[1] : ends[0], false};
    close(child == 0 ? ends[0] : ends[1]);
    if (child > 0) return DATA_APART_PARENT;
    limit(memory, pages);
    return DATA_APART_CHILD;
}

void data_apart_send(data_apart *apart, const void *bytes, size_t size) {
    for (const char *at = bytes; size > 0;) {
        ssize_t n = write(apart->pipe, at, size);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) data_apart_end(apart);
        at += n;
        size -= (size_t)n;
    }
}

// No handlers of exit run, which are the parent's; a library calls nothing that ends a process but this.
void data_apart_end(data_apart *apart) {
    close(apart->pipe);
    for (;;) kill(getpid(), SIGKILL);
}

bool data_apart_receive(data_apart *apart, void *bytes, size_t size, double seconds) {
    for (char *at = bytes; size > 0;) {
        struct pollfd wait = {.fd = apart->pipe, .events = POLLIN};
        int ready = poll(&wait, 1, seconds < 2e6 ? (int)(seconds * 1000) : 2000000000);
        if (ready < 0 && errno == EINTR) continue;
        ssize_t n = ready > 0 ? read(apart->pipe, at, size) : 0;
        if (n < 0 && errno == EINTR) continue;
        apart->ended = ready > 0 && n == 0;
        if (n <= 0) return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

int data_apart_finish(data_apart *apart) {
    int how = 0;
    pid_t child = (pid_t)apart->child, gone;
    do gone = waitpid(child, &how, apart->ended ? 0 : WNOHANG);
    while (gone < 0 && errno == EINTR);
    const bool ours = gone == 0;  // still there: hung, or done and not gone yet
    if (ours) {
        kill(child, SIGKILL);
        do gone = waitpid(child, &how, 0);
        while (gone < 0 && errno == EINTR);
    }
    close(apart->pipe);
    return !ours && gone == child && WIFSIGNALED(how) ? WTERMSIG(how) : 0;
}
