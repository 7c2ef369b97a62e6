// apart.h -- work done in a child process, for libraries that files can crash, hang, or make ask for memory without end.
#ifndef PULLBACK_DATA_APART_H
#define PULLBACK_DATA_APART_H

#include "internal.h"

typedef struct data_apart {
    long child;  // its process
    int pipe;    // the end of this side
    bool ended;  // the child has closed its end: it is gone, or about to be
} data_apart;

typedef enum data_side { DATA_APART_FAILED, DATA_APART_CHILD, DATA_APART_PARENT } data_side;
// Forks. The child may ask for so many bytes of memory beyond what it has, writes what it finds by data_apart_send, and ends by
// data_apart_end: it runs with default signals and must not touch an engine.
data_side data_apart_begin(data_apart *apart, uint64_t memory);
void data_apart_send(data_apart *apart, const void *bytes, size_t size);
_Noreturn void data_apart_end(data_apart *apart);

// Of the parent. Receives so many bytes: false when the child ends or says nothing for so many seconds. Finish kills the child
// where it still is, and returns the signal that ended it before (0: none).
bool data_apart_receive(data_apart *apart, void *bytes, size_t size, double seconds);
int data_apart_finish(data_apart *apart);

#endif
