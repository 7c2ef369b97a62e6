// options.h -- command lines from one table: parsing, messages and --help.
#ifndef EXAMPLES_OPTIONS_H
#define EXAMPLES_OPTIONS_H

// An OPTION_ARGUMENT has no dashes: arguments are taken in the order of their rows, and those whose value is NULL must
// be there.
typedef enum option_kind { OPTION_FLAG, OPTION_COUNT, OPTION_NUMBER, OPTION_TEXT, OPTION_ARGUMENT } option_kind;

typedef struct option_row {
    const char *name, *argument, *help;  // "steps", "N", "optimizer steps"
    option_kind kind;
    void *value;       // bool, int64_t, double or const char * with the default, replaced when the option is given
    double low, high;  // of numbers: the range allowed, ends included
} option_row;

// Reads the command line into the rows' values. Prints help and exits with 0 for --help; names what is wrong on stderr
// and exits with 2 for anything that the table does not allow. program names it: NULL, as it was called.
void options_read_as(const char *program, int argc, char **argv, const char *summary, const option_row *rows, int n);
void options_read(int argc, char **argv, const char *summary, const option_row *rows, int n);

// What an option is where it is not given, as text (in text, or the value itself); NULL: nothing.
const char *options_default(const option_row *row, char text[64]);

#endif
