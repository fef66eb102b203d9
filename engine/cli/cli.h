/*
 * cli -- what all commands share: the table they stand in, their options, errors and exit codes.
 *
 * main.c holds the one table of commands. From it come parsing, --help, `evo help` and the manual
 * page, so an option is described once. A command is `int cmd_NAME(int argc, char **argv)`, argv[0]
 * being its name, and is usually one line: return cli_run(argc, argv, body). cli_run parses,
 * answers
 * --help, calls the body, prints its error (the only place that does) and gives the exit code.
 *
 * Data goes to stdout, everything else to stderr. Memory: cli->arena lives as long as the command.
 */
#ifndef EVO_CLI_CLI_H
#define EVO_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/err.h"
#include "db/query.h"
#include "db/store.h"

enum {
    CLI_OPERANDS_MAX = 8,
    CLI_GIVEN_MAX = 64,
    CLI_OPTIONS_MAX = 16, /* of a command */
};

/* The exit codes, in the order of exit_table (cli.c), which the manual prints. */
enum exit_code {
    EXIT_OK = 0,
    EXIT_SYSTEM = 1, /* ERR_SYSTEM */
    EXIT_USER = 2,   /* ERR_USER */
    EXIT_DEVICE = 3, /* ERR_DEVICE */
    EXIT_NO = 4,     /* the question was answered, and the answer is no */
    EXIT_CODES,
};

extern const char *const exit_table[EXIT_CODES];

struct cli_option {
    const char *name;
    char letter;     /* 0: none */
    const char *arg; /* "FILE"; NULL: a flag */
    const char *doc;
};

enum command_group { GROUP_RUN, GROUP_LOOK, GROUP_KEEP, GROUP_COUNT };

struct command {
    const char *name;
    enum command_group group;
    int (*run)(int argc, char **argv);
    const char *operands; /* "[ID]" */
    int operands_min, operands_max;
    const char *summary;                        /* one line of `evo --help` */
    const char *about;                          /* paragraphs are divided by newlines */
    const char *example;                        /* works as pasted; lines are divided by newlines */
    struct cli_option options[CLI_OPTIONS_MAX]; /* ends at a row without a name */
};

extern const struct command command_table[];
extern const int command_count;
const struct command *command_find(const char *name); /* NULL: unknown */

struct cli {
    const struct command *command;
    struct arena *arena;
    const char *operands[CLI_OPERANDS_MAX];
    int operand_count;
    struct {
        const struct cli_option *option;
        const char *value; /* "" for a flag */
    } given[CLI_GIVEN_MAX];
    int given_count;
    struct store *store; /* opened by cli_store, closed by cli_run */
    int exit_code;       /* when the body succeeds; EXIT_OK unless it says otherwise */
};

typedef bool cli_body(struct cli *cli, struct err *err);
int cli_run(int argc, char **argv, cli_body *body);

/* The last value given to --name; NULL when it was not given. Asks for a declared option only. */
const char *cli_value(const struct cli *cli, const char *name);
/* Steps through the values of a repeated option: start with *at = 0; NULL at the end. */
const char *cli_each(const struct cli *cli, const char *name, int *at);
static inline bool cli_has(const struct cli *cli, const char *name)
{
    return cli_value(cli, name) != NULL;
}
/* A whole number from low to high; `otherwise` when the option was not given. */
bool cli_number(const struct cli *cli, const char *name, int64_t low, int64_t high,
                int64_t otherwise, int64_t *value, struct err *err);

/* --db, else EVO_DB, else evo.db. */
const char *cli_db(const struct cli *cli);
const char *cli_lock(const struct cli *cli); /* its lock file */
/* Opens the database for reading into cli->store. */
bool cli_store(struct cli *cli, struct err *err);
/* The status of the run that --run names, or of the latest; a database without a run is an error.
 */
bool cli_status(struct cli *cli, struct status_row *row, struct err *err);
/* The candidate that an operand names; cli->store is open. */
bool cli_candidate(struct cli *cli, const char *text, struct kernel_row *row, struct err *err);

/* A seed's path as given, or found beside the program when there is no such file here. */
const char *cli_seed_path(struct arena *arena, const char *path);

/* A line for a person, on stderr, with "evo: " in front. */
void cli_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints and releases the value. */
bool cli_json(json_t *value, struct err *err);

/* `evo help COMMAND` and --help. */
void help_overview(FILE *out);
void help_command(FILE *out, const struct command *command);
void help_manual(FILE *out); /* evo.1 */
/* A completion script; an unknown shell is ERR_USER. */
bool help_completion(FILE *out, const char *shell, struct err *err);

#endif
