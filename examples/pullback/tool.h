// tool.h -- what the commands of pullback share: the table they work on, messages, output.
#ifndef EXAMPLES_PULLBACK_TOOL_H
#define EXAMPLES_PULLBACK_TOOL_H

#include "data.h"
#include "flows.h"

// Notes in model files.
#define TOOL_TARGET "target"    // names of the columns modelled, separated by commas
#define TOOL_CONTEXT "context"  // of those it is given

enum { TOOL_MOST_COLUMNS = 100000 };

// Names separated by commas, in order, those with commas or quotes in them quoted as in tables; freed in one by free().
// NULL when text is NULL or memory is out; *n their number.
char **tool_split(const char *text, int64_t *n);

// A table as a model takes it.
typedef struct tool_rows {
    data_table *x, *context;  // context: NULL when there is none
    char *target, *given;     // their columns' names, separated by commas; empty: none known
} tool_rows;
typedef struct tool_columns {
    const char *target, *context;  // names or numbers from 0, separated by commas; NULL: all others; none
    const char *array;             // of an .npz; NULL: the only one
    bool drop;                     // rows of a text table with missing fields are left out, else an error
} tool_columns;
// Reads a file of any format that data_read knows. Every number is finite. On failure nothing is to be freed.
ad_status tool_read(const char *file, const tool_columns *columns, ad_type type, tool_rows *out, ad_error *error);
void tool_rows_free(tool_rows *rows);
// Both as sources of all rows.
flow_rows tool_source(const tool_rows *rows);

// The table [rows][columns] as .npy where the name ends so, else as text, to stdout where file is NULL. names: of the
// columns, separated by commas, or NULL.
ad_status tool_write(const char *file, const data_table *table, const char *names, ad_error *error);

// A model, and the columns it was fitted to where columns names none.
flow_model *tool_load(const char *file, tool_columns *columns, ad_error *error);
// The model with a net in front of its context that makes the mean of n of its rows 0 and their deviation 1: not
// trained, and saved with it. Fails, as flow_embed does, where the context passes a net already; the model is then
// freed.
flow_model *tool_standardise_context(flow_model *model, const data_table *context, const int64_t *rows, int64_t n,
                                     ad_error *error);
// Log-density of each row, computed in f64.
ad_status tool_score(const flow_model *model, ad_engine *engine, const tool_rows *rows, double *log_p, ad_error *error);
// Whether a table has the columns that a model takes.
ad_status tool_fits(const flow_model *model, const tool_rows *rows, ad_error *error);
// Fills out, of doubles and as many columns as the model has, with rows of it; those of the context one after the
// other, again from the first when they are fewer. context: NULL when the model takes none.
ad_status tool_draw(const flow_model *model, ad_engine *engine, const data_table *context, uint64_t seed,
                    data_table *out, ad_error *error);
void tool_mean(const double *v, int64_t n, double *mean, double *standard_error);

// Draws the losses of a log.
ad_status tool_plot_log(const char *log, const char *picture, ad_error *error);

// Results for scripts: numbers (null where not finite), names in an array, and an object printed on a line of its own
// and freed. Fails where there is none; main tells that standard output could not be written.
struct json_t *tool_real(double v);
struct json_t *tool_names(const char *names);
ad_status tool_print(struct json_t *object, ad_error *error);

// Commands. What run returns, after the command line has been read into the rows' values, is the exit status, unless
// standard output could not be written.
typedef struct tool_command {
    const char *name, *summary, *text;  // summary: in the list of commands; text: what it does, in sentences
    const struct option_row *rows;
    int n;
    int (*run)(void);
} tool_command;
extern const tool_command tool_fit, tool_score_command, tool_sample, tool_info, tool_check, tool_plot, tool_models,
    tool_doctor;
// Prints "pullback NAME: message" and returns 1.
int tool_fail(const tool_command *command, const ad_error *error);

// All of them, ended by NULL.
extern const tool_command *const tool_commands[];
// The manual page, and what shells complete commands with, on standard output; from the commands' own tables. Exit
// status.
int tool_print_manual(void);
int tool_print_completion(const char *shell);

#endif
