/*
 * cmd_start.c -- checks a search, detaches it, and follows it.
 *
 * What can be known to be wrong is said before the fork (engine_check_start). What goes wrong later
 * reaches the parent as a struct err through a pipe, as long as the parent follows; it is in the
 * log either way.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "daemon/engine.h"
#include "search/population.h"

enum {
    BEGIN_MS_MAX = 60 * 1000, /* a GPU's first context can take tens of seconds */
    BEGIN_POLL_MS = 20,
};

/* One limit of --budget: 10m, gpu:5m, 2000. */
static bool parse_limit(const char *text, struct engine_options *options, struct err *err)
{
    int64_t value;

    if (str_to_i64(text, &value) && value > 0) {
        options->budget_evaluations = value;
    } else if (str_to_duration_ms(text, &value) && value > 0) {
        options->budget_wall_ms = value;
    } else if (str_starts(text, "gpu:") && str_to_duration_ms(text + 4, &value) && value > 0) {
        options->budget_device_ms = value;
    } else {
        err_set(err, ERR_USER, "'%s' is not a budget", text);
        return err_hint(err, "a budget is a time (90s, 10m, 2h), a GPU time (gpu:5m) or a number "
                             "of evaluations (2000), several divided by commas");
    }
    return true;
}

static bool parse_budgets(const struct cli *cli, struct engine_options *options, struct err *err)
{
    const char *text;
    int at = 0;

    while ((text = cli_each(cli, "budget", &at)) != NULL) {
        char *list = arena_dup(cli->arena, text), *rest = list, *limit;

        do {
            limit = strsep(&rest, ",");
            if (!parse_limit(limit, options, err)) {
                return false;
            }
        } while (rest != NULL);
    }
    return true;
}

/* Several --device are one list with commas; NULL when none is given. */
static const char *join_devices(const struct cli *cli)
{
    const char *text, *joined = NULL;
    int at = 0;

    while ((text = cli_each(cli, "device", &at)) != NULL) {
        joined = joined == NULL ? text : arena_printf(cli->arena, "%s,%s", joined, text);
    }
    return joined;
}

static bool read_options(const struct cli *cli, struct engine_options *options, struct err *err)
{
    const char *seed = cli_value(cli, "seed"), *strategy = cli_value(cli, "strategy");
    enum seed_strategy known;

    *options = (struct engine_options){
        .db_path = cli_db(cli),
        .seed_path = seed != NULL ? cli_seed_path(cli->arena, seed) : NULL,
        .device = join_devices(cli),
        .templates = cli_value(cli, "templates"),
        .strategy = strategy,
        .budget_evaluations = -1,
        .budget_wall_ms = -1,
        .budget_device_ms = -1,
        .forget = cli_has(cli, "no-memory"),
        .fresh = cli_has(cli, "new"),
    };
    if (cli_has(cli, "exhaustive")) {
        if (strategy != NULL) {
            return err_set(err, ERR_USER, "'--exhaustive' is a strategy of its own: '--strategy' "
                                          "cannot be given with it");
        }
        options->strategy = strategy_names[STRATEGY_EXHAUSTIVE];
        options->budget_evaluations = options->budget_wall_ms = options->budget_device_ms = 0;
    }
    if (strategy != NULL && !strategy_parse(strategy, &known)) {
        return err_set(err, ERR_USER, "'--strategy' must be evo, exhaustive, ga, hill or random, "
                                      "not '%s'", strategy);
    }
    if (seed == NULL && access(options->db_path, F_OK) != 0) {
        err_set(err, ERR_USER, "there is no seed and no database '%s' to go on with",
                options->db_path);
        return err_hint(err, "begin with 'evo start --seed seeds/phase4.yaml'");
    }
    if (seed == NULL && options->fresh) {
        err_set(err, ERR_USER, "a new run needs a seed");
        return err_hint(err, "give one: 'evo start --new --seed FILE'");
    }
    return parse_budgets(cli, options, err);
}

/* Points the standard descriptors away from the terminal. */
static bool detach(const char *log, struct err *err)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

    if (null < 0 || out < 0) {
        return err_sys(err, "cannot open '%s'", out < 0 ? log : "/dev/null");
    }
    if (setsid() < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
        dup2(out, STDERR_FILENO) < 0) {
        return err_sys(err, "cannot detach from the terminal");
    }
    close(null);
    close(out);
    return true;
}

static _Noreturn void daemon_main(const struct engine_options *options, const char *log, int report)
{
    struct err err = {.kind = ERR_NONE};

    if (detach(log, &err)) {
        sigset_t none;

        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        if (engine_run(options, &err)) {
            _exit(EXIT_OK);
        }
        log_line("start", "%s%s%s", err.what, err.hint[0] != '\0' ? "; " : "", err.hint);
    }
    signal(SIGPIPE, SIG_IGN); /* nobody may be listening any more */
    if (write(report, &err, sizeof err) != (ssize_t)sizeof err) {
        _exit(err_exit_code(&err)); /* the log has it */
    }
    _exit(err_exit_code(&err));
}

/* Forks the search. Ctrl-C meanwhile must reach neither half done. */
static bool fork_daemon(const struct engine_options *options, const char *log,
                        struct follow *follow, struct err *err)
{
    sigset_t interrupt, before;
    int report[2];

    if (pipe(report) != 0) {
        return err_sys(err, "cannot make a pipe");
    }
    fcntl(report[0], F_SETFD, FD_CLOEXEC);
    fcntl(report[1], F_SETFD, FD_CLOEXEC);
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    sigprocmask(SIG_BLOCK, &interrupt, &before);
    fflush(NULL);
    *follow = (struct follow){.pid = fork(), .child = true, .report = report[0]};
    if (follow->pid == 0) {
        close(report[0]);
        daemon_main(options, log, report[1]);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(report[1]);
    if (follow->pid < 0) {
        close(report[0]);
        return err_sys(err, "cannot fork");
    }
    return true;
}

/*
 * Waits until the child holds the lock and its run is in the database, or has ended: what is said
 * of it afterwards ('evo status', 'evo stop') is true from then on.
 */
static bool await_begin(struct cli *cli, const struct follow *follow, bool *ended, struct err *err)
{
    int64_t deadline = clock_now_ms() + BEGIN_MS_MAX;
    struct err ignored;
    bool ok;

    for (;;) {
        *ended = follow_ended(follow, cli_lock(cli), &ok, err);
        if (*ended) {
            return ok;
        }
        if (lock_holder(cli_lock(cli)) == follow->pid &&
            (cli->store != NULL || cli_store(cli, &ignored))) {
            struct status_row row;
            bool found;

            if (query_status(cli->store, cli->arena, 0, &row, &found, &ignored) && found) {
                return true;
            }
        }
        if (clock_now_ms() > deadline) {
            err_set(err, ERR_SYSTEM, "the search (pid %ld) has not begun after %d s",
                    (long)follow->pid, BEGIN_MS_MAX / 1000);
            return err_hint(err, "see '%s.log'; 'evo stop' ends it", cli_db(cli));
        }
        poll(NULL, 0, BEGIN_POLL_MS);
    }
}

static bool start(struct cli *cli, struct err *err)
{
    struct engine_options options;
    struct follow follow;
    const char *log = arena_printf(cli->arena, "%s.log", cli_db(cli));
    bool ended;

    if (!read_options(cli, &options, err) || !engine_check_start(&options, cli->arena, err)) {
        return false;
    }
    if (cli_has(cli, "foreground")) {
        return engine_run(&options, err);
    }
    if (!fork_daemon(&options, log, &follow, err) || !await_begin(cli, &follow, &ended, err)) {
        return false;
    }
    if (cli_has(cli, "detach")) {
        printf("pid %ld\nlog %s\n", (long)follow.pid, log);
        return true;
    }
    if (ended) {
        cli_say("the search has ended; see 'evo status' and '%s'", log);
        return true;
    }
    cli_say("the search runs as process %ld, its log is '%s'", (long)follow.pid, log);
    return progress_follow(cli, &follow, err);
}

int cmd_start(int argc, char **argv) { return cli_run(argc, argv, start); }
