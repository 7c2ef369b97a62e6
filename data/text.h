// text.h -- the bytes of a text file, plain or gzip, a window at a time. Shared by text.c, inflate.c and the csv files.
#ifndef PULLBACK_DATA_TEXT_H
#define PULLBACK_DATA_TEXT_H

#include "internal.h"

// A window holds this much beside what is left of the one before, if the file is as long.
enum { DATA_TEXT_BLOCK = 4 << 20 };

typedef struct data_inflate data_inflate;

typedef struct data_text {
    const char *path;      // borrowed
    const char *at, *end;  // the window; the reader moves at
    bool whole;            // nothing follows the window
    int fd;
    uint64_t size, offset;  // of the file, and how much of it was read
    uint64_t total;         // bytes of text so far
    char *buffer;
    size_t room, keep;
    data_inflate *inflate;  // NULL: the file is plain
    void *hash;             // an XXH3_state_t over the file's bytes; NULL: none wanted
    ad_error *error;
} data_text;

// Opens a file; keep: how much a reader may leave in a window and still get a full block behind it. The window is empty
// at first. Close also after failure.
ad_status data_text_open(data_text *text, const char *path, size_t keep, ad_error *error);  // error: not NULL
// Hashes what is read from now on.
ad_status data_text_hash(data_text *text);
// Moves what is left, at most keep bytes, to the start of the window and fills the rest. Pointers into it end here.
ad_status data_text_fill(data_text *text);
void data_text_close(data_text *text);

// The file's next bytes as they are: how many, 0 at its end, -1 on failure.
int64_t data_text_raw(data_text *text, void *bytes, size_t room);

// ---- gzip ----

data_inflate *data_inflate_new(data_text *text);
// The next bytes of text: how many, 0 at the end, -1 on failure.
int64_t data_inflate_some(data_inflate *inflate, void *bytes, size_t room);
void data_inflate_free(data_inflate *inflate);

#endif
