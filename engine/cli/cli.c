#include "cli/cli.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "genome/render.h"

const char *const exit_table[EXIT_CODES] = {
    [EXIT_OK] = "It is done.",
    [EXIT_SYSTEM] = "The machine failed: disk, memory, a missing program or library.",
    [EXIT_USER] = "The request was wrong: a mistake in an option, a seed or a template, "
                  "an unknown candidate, a search that runs already.",
    [EXIT_DEVICE] = "A GPU or its driver failed, or there is none.",
    [EXIT_NO] = "The question was answered, and the answer is no: a verified kernel is wrong, "
                "there is no best kernel yet.",
};

const struct command *command_find(const char *name)
{
    for (int i = 0; i < command_count; i++) {
        if (strcmp(command_table[i].name, name) == 0) {
            return &command_table[i];
        }
    }
    return NULL;
}

void cli_say(const char *format, ...)
{
    va_list ap;

    fflush(stdout);
    fputs("evo: ", stderr);
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
}

/* ---- options ---- */

static bool usage_hint(const struct command *command, struct err *err)
{
    return err_hint(err, "see 'evo help %s'", command->name);
}

static const struct cli_option *option_named(const struct command *command, const char *name,
                                             size_t length)
{
    for (const struct cli_option *option = command->options; option->name != NULL; option++) {
        if (strlen(option->name) == length && memcmp(option->name, name, length) == 0) {
            return option;
        }
    }
    return NULL;
}

static const struct cli_option *option_lettered(const struct command *command, char letter)
{
    for (const struct cli_option *option = command->options; option->name != NULL; option++) {
        if (option->letter == letter) {
            return option;
        }
    }
    return NULL;
}

static bool give(struct cli *cli, const struct cli_option *option, const char *value,
                 struct err *err)
{
    if (cli->given_count == CLI_GIVEN_MAX) {
        return err_set(err, ERR_USER, "more than %d options", CLI_GIVEN_MAX);
    }
    cli->given[cli->given_count].option = option;
    cli->given[cli->given_count++].value = value;
    return true;
}

/* Takes one option off argv[*at]; its value may be behind '=', glued to a letter, or the next word.
 */
static bool parse_option(struct cli *cli, int argc, char **argv, int *at, struct err *err)
{
    const char *word = argv[*at], *value = NULL;
    const struct cli_option *option;

    if (word[1] == '-') {
        size_t length = strcspn(word + 2, "=");

        option = option_named(cli->command, word + 2, length);
        value = word[2 + length] == '=' ? word + 3 + length : NULL;
    } else {
        option = option_lettered(cli->command, word[1]);
        value = word[2] != '\0' ? word + 2 : NULL;
    }
    if (option == NULL) {
        err_set(err, ERR_USER, "'%s' has no option '%s'", cli->command->name, word);
        return usage_hint(cli->command, err);
    }
    if (option->arg == NULL && value != NULL) {
        err_set(err, ERR_USER, "option '--%s' takes no value", option->name);
        return usage_hint(cli->command, err);
    }
    if (option->arg != NULL && value == NULL) {
        if (*at + 1 == argc) {
            err_set(err, ERR_USER, "option '%s' needs a value: %s", word, option->arg);
            return usage_hint(cli->command, err);
        }
        value = argv[++*at];
    }
    return give(cli, option, value != NULL ? value : "", err);
}

static bool check_operands(const struct cli *cli, struct err *err)
{
    const struct command *command = cli->command;

    if (cli->operand_count < command->operands_min) {
        err_set(err, ERR_USER, "'%s' needs %s", command->name, command->operands);
        return usage_hint(command, err);
    }
    if (cli->operand_count > command->operands_max) {
        err_set(err, ERR_USER, "'%s' does not know what to do with '%s'", command->name,
                cli->operands[command->operands_max]);
        return usage_hint(command, err);
    }
    return true;
}

static bool parse(struct cli *cli, int argc, char **argv, bool *help, struct err *err)
{
    bool options = true; /* until "--" */

    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];

        if (options && strcmp(word, "--") == 0) {
            options = false;
        } else if (options && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)) {
            *help = true;
            return true;
        } else if (options && word[0] == '-' && word[1] != '\0') {
            if (!parse_option(cli, argc, argv, &i, err)) {
                return false;
            }
        } else if (cli->operand_count == CLI_OPERANDS_MAX) {
            err_set(err, ERR_USER, "'%s' does not know what to do with '%s'", cli->command->name,
                    word);
            return usage_hint(cli->command, err);
        } else {
            cli->operands[cli->operand_count++] = word;
        }
    }
    return check_operands(cli, err);
}

const char *cli_value(const struct cli *cli, const char *name)
{
    assert(option_named(cli->command, name, strlen(name)) != NULL);
    for (int i = cli->given_count; i-- > 0;) {
        if (strcmp(cli->given[i].option->name, name) == 0) {
            return cli->given[i].value;
        }
    }
    return NULL;
}

const char *cli_each(const struct cli *cli, const char *name, int *at)
{
    while (*at < cli->given_count) {
        int i = (*at)++;

        if (strcmp(cli->given[i].option->name, name) == 0) {
            return cli->given[i].value;
        }
    }
    return NULL;
}

bool cli_number(const struct cli *cli, const char *name, int64_t low, int64_t high,
                int64_t otherwise, int64_t *value, struct err *err)
{
    const char *text = cli_value(cli, name);

    *value = otherwise;
    if (text != NULL && (!str_to_i64(text, value) || *value < low || *value > high)) {
        return err_set(err, ERR_USER,
                       "option '--%s' must be a whole number from %lld to %lld, not '%s'", name,
                       (long long)low, (long long)high, text);
    }
    return true;
}

/* ---- running ---- */

static void print_error(const struct err *err)
{
    cli_say("%s", err->what);
    if (err->hint[0] != '\0') {
        cli_say("%s", err->hint);
    }
}

/* Output that could not be written is a failure even when everything else went well. */
static bool flush_output(struct err *err)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        return err_sys(err, "cannot write to the standard output");
    }
    return true;
}

int cli_run(int argc, char **argv, cli_body *body)
{
    struct cli cli = {.command = command_find(argv[0]), .arena = arena_new()};
    struct err err = {.kind = ERR_NONE};
    bool help = false, ok;

    ok = parse(&cli, argc, argv, &help, &err);
    if (ok && help) {
        help_command(stdout, cli.command);
    } else if (ok) {
        ok = body(&cli, &err);
    }
    store_close(cli.store);
    ok = ok && flush_output(&err);
    if (!ok) {
        print_error(&err);
    }
    arena_free(cli.arena);
    return ok ? cli.exit_code : err_exit_code(&err);
}

/* ---- the database ---- */

const char *cli_db(const struct cli *cli)
{
    const char *path = cli_value(cli, "db");

    if (path == NULL) {
        path = getenv("EVO_DB");
    }
    return path != NULL && path[0] != '\0' ? path : "evo.db";
}

const char *cli_lock(const struct cli *cli)
{
    return arena_printf(cli->arena, "%s.lock", cli_db(cli));
}

bool cli_store(struct cli *cli, struct err *err)
{
    const char *path = cli_db(cli);

    if (access(path, F_OK) != 0 && errno == ENOENT) {
        err_set(err, ERR_USER, "there is no database '%s'", path);
        return err_hint(err, "'evo start --seed FILE' makes one; --db or EVO_DB names another");
    }
    return store_open(path, STORE_READ, &cli->store, err);
}

bool cli_status(struct cli *cli, struct status_row *row, struct err *err)
{
    int64_t run;
    bool found;

    if (!cli_number(cli, "run", 1, INT64_MAX, 0, &run, err) ||
        !query_status(cli->store, cli->arena, run, row, &found, err)) {
        return false;
    }
    if (!found && run != 0) {
        return err_set(err, ERR_USER, "'%s' holds no run %lld", cli_db(cli), (long long)run);
    }
    if (!found) {
        err_set(err, ERR_USER, "'%s' holds no run yet", cli_db(cli));
        return err_hint(err, "'evo start --seed FILE --db %s' begins one", cli_db(cli));
    }
    return true;
}

bool cli_candidate(struct cli *cli, const char *text, struct kernel_row *row, struct err *err)
{
    int64_t run, place;
    bool found;

    if (!query_resolve(cli->store, text, &run, &place, &found, err)) {
        return false;
    }
    if (found && !query_kernel(cli->store, cli->arena, run, place, row, &found, err)) {
        return false;
    }
    if (!found && strcmp(text, "best") == 0) {
        err_set(err, ERR_USER, "no kernel of '%s' has passed yet", cli_db(cli));
        return err_hint(err, "'evo status' tells how the search is doing");
    }
    if (!found) {
        err_set(err, ERR_USER, "'%s' holds no candidate '%s'", cli_db(cli), text);
        return err_hint(err, "a candidate is n147, r2.n147 (of run 2) or best; 'evo best' lists "
                             "the fastest");
    }
    return true;
}

/* ---- seeds beside the program ---- */

const char *cli_seed_path(struct arena *arena, const char *path)
{
    struct err ignored;
    const char *templates, *there;

    if (path[0] == '/' || access(path, F_OK) == 0) {
        return path;
    }
    templates = templates_folder(arena, &ignored); /* seeds/ lies beside templates/ */
    if (templates == NULL) {
        return path;
    }
    there = arena_printf(arena, "%s/../%s", templates, path);
    return access(there, F_OK) == 0 ? there : path;
}

/* ---- JSON ---- */

bool cli_json(json_t *value, struct err *err)
{
    int failed = json_dumpf(value, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(12));

    json_decref(value);
    putchar('\n');
    return failed == 0 || err_sys(err, "cannot write to the standard output");
}
