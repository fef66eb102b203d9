#include "cli/progress.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/proc.h"
#include "base/str.h"
#include "cli/screen.h"
#include "cli/text.h"

enum {
    REFRESH_MS = 500,      /* of the line on a terminal */
    LINE_EVERY_MS = 10000, /* elsewhere */
    RECENT_MIN_MS = 5000, /* places are settled in bursts: less says nothing of a rate */
};

double progress_gain(const struct status_row *row)
{
    return row->best.us > 0 && row->founder.us > 0 ? row->founder.us / row->best.us : 0;
}

double progress_rate(const struct status_row *row)
{
    if (row->run.state != RUN_FINISHED && row->recent_ms >= RECENT_MIN_MS) {
        return 60e3 * (double)row->recent_finished / (double)row->recent_ms;
    }
    return row->run.elapsed_ms > 0 ? 60e3 * (double)row->finished / (double)row->run.elapsed_ms : 0;
}

static void add_left(struct buf *text, const char *left, const char *unit)
{
    buf_printf(text, "%s%s%s", text->length > 0 ? ", " : "", left, unit);
}

static int64_t at_least_zero(int64_t value) { return value > 0 ? value : 0; }

const char *progress_left(struct arena *arena, const struct status_row *row)
{
    const struct run_row *run = &row->run;
    struct buf text = {0};
    const char *result;

    if (run->budget_wall_ms > 0) {
        add_left(&text, text_duration(arena, at_least_zero(run->budget_wall_ms - run->elapsed_ms)),
                 "");
    }
    if (run->budget_evaluations > 0) {
        add_left(&text, text_count(arena, at_least_zero(run->budget_evaluations - row->finished)),
                 " evaluations");
    }
    if (run->budget_device_ms > 0) {
        int64_t used = (int64_t)run->device_ms;

        add_left(&text, text_duration(arena, at_least_zero(run->budget_device_ms - used)),
                 " of GPU time");
    }
    result = text.length > 0 ? arena_dup(arena, text.data) : "no limit";
    buf_free(&text);
    return result;
}

const char *progress_verdicts(struct arena *arena, const struct status_row *row)
{
    struct buf text = {0};
    const char *result;

    for (int i = VERDICT_NONE + 1; i < VERDICT_COUNT; i++) {
        if (row->by_verdict[i] > 0) {
            buf_printf(&text, "%s%s %s", text.length > 0 ? ", " : "", verdict_names[i],
                       text_count(arena, row->by_verdict[i]));
        }
    }
    result = text.length > 0 ? arena_dup(arena, text.data) : "none yet";
    buf_free(&text);
    return result;
}

static const char *best_text(struct arena *arena, const struct status_row *row)
{
    double times = progress_gain(row);

    if (row->best_place < 0) {
        return "no kernel has passed yet";
    }
    return arena_printf(arena, "best %s +-%.1f %%%s, %s ago, n%lld %s",
                        text_us(arena, row->best.us),
                        50 * (row->best.high - row->best.low) / row->best.us,
                        times > 0 ? arena_printf(arena, ", %.2fx the seed", times) : "",
                        text_duration(arena, clock_wall_ms() - row->best_finished_at),
                        (long long)row->best_place, row->best_family);
}

const char *progress_line(struct arena *arena, const struct status_row *row)
{
    return arena_printf(arena, "%s | left: %s | %s evaluated, %.0f/min, %s valid | %s | GPU %s",
                        text_duration(arena, row->run.elapsed_ms), progress_left(arena, row),
                        text_count(arena, row->finished), progress_rate(row),
                        text_share(arena, (double)row->passed, (double)row->finished),
                        best_text(arena, row),
                        text_share(arena, row->run.device_ms, (double)row->run.elapsed_ms));
}

/* ---- following ---- */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal)
{
    (void)signal;
    interrupted = 1;
}

/* What the child wrote before it ended, if it failed in a way it could tell. */
static bool child_report(int fd, struct err *err)
{
    struct err report;
    char *to = (char *)&report;
    size_t have = 0;
    ssize_t got;

    while (have < sizeof report && (got = read(fd, to + have, sizeof report - have)) > 0) {
        have += (size_t)got;
    }
    if (have != sizeof report) {
        return false;
    }
    *err = report;
    return true;
}

static bool child_status(const struct follow *follow, int status, struct err *err)
{
    char text[80];

    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return true;
    }
    if (follow->report >= 0 && child_report(follow->report, err)) {
        return false;
    }
    err_set(err, ERR_SYSTEM, "the search %s", proc_status_text(status, text));
    return err_hint(err, "its log may say why; 'evo start' goes on from where it was");
}

bool follow_ended(const struct follow *follow, const char *lock, bool *ok, struct err *err)
{
    int status;

    *ok = true;
    if (!follow->child) {
        return lock_holder(lock) != follow->pid;
    }
    if (waitpid(follow->pid, &status, WNOHANG) != follow->pid) {
        return false;
    }
    *ok = child_status(follow, status, err);
    return true;
}

/* Cut to the terminal's width; characters beyond ASCII do not occur. */
static void show_on_terminal(const char *line)
{
    struct winsize size = {0};
    int width =
        ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1 : 79;

    fprintf(stderr, "\r%.*s\033[K", width, line);
    fflush(stderr);
}

/* A database that is just being made cannot be read yet: then there is nothing to show. */
static const char *current_line(struct cli *cli, struct arena *arena)
{
    struct status_row row;
    struct err ignored;
    bool found;

    if (cli->store == NULL && !cli_store(cli, &ignored)) {
        return NULL;
    }
    if (!query_status(cli->store, arena, 0, &row, &found, &ignored) || !found) {
        return NULL;
    }
    return progress_line(arena, &row);
}

static void show(struct cli *cli, bool terminal)
{
    struct arena *arena = arena_new();
    const char *line = current_line(cli, arena);

    if (line != NULL && terminal) {
        show_on_terminal(line);
    } else if (line != NULL) {
        cli_say("%s", line);
    }
    arena_free(arena);
}

/* The last words: why it ended and what it found. */
static bool conclude(struct cli *cli, struct err *err)
{
    struct status_row row;
    bool found;

    if ((cli->store == NULL && !cli_store(cli, err)) ||
        !query_status(cli->store, cli->arena, 0, &row, &found, err) || !found) {
        return false;
    }
    cli_say("%s", progress_line(cli->arena, &row));
    if (row.run.state == RUN_FINISHED) {
        cli_say("the search has ended: %s", row.run.ended_because);
    } else {
        cli_say("the search was stopped; 'evo start --db %s' goes on", cli_db(cli));
    }
    return true;
}

/* One line, kept up to date on a terminal, repeated elsewhere. True: the search has ended. */
static bool follow_line(struct cli *cli, const struct follow *follow, bool *ok, struct err *err)
{
    struct sigaction action = {.sa_handler = on_interrupt}, before;
    bool terminal = isatty(STDERR_FILENO), ended = false;
    int64_t shown = clock_now_ms() - LINE_EVERY_MS + REFRESH_MS;

    interrupted = 0;
    sigaction(SIGINT, &action, &before);
    while (!interrupted && !(ended = follow_ended(follow, cli_lock(cli), ok, err))) {
        if (terminal || clock_now_ms() - shown >= LINE_EVERY_MS) {
            show(cli, terminal);
            shown = clock_now_ms();
        }
        poll(NULL, 0, REFRESH_MS);
    }
    sigaction(SIGINT, &before, NULL);
    if (terminal) {
        fputs("\r\033[K", stderr);
    }
    return ended;
}

bool progress_follow(struct cli *cli, const struct follow *follow, struct err *err)
{
    bool ok = true;
    bool ended = screen_possible() && !cli_has(cli, "line")
                     ? screen_follow(cli, follow, &ok, err) == SCREEN_ENDED
                     : follow_line(cli, follow, &ok, err);

    if (ended) {
        return ok && conclude(cli, err);
    }
    cli_say("the search goes on (pid %ld); 'evo watch' follows it again, 'evo stop' ends it",
            (long)follow->pid);
    return true;
}
