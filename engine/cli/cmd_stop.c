#include <errno.h>
#include <poll.h>
#include <signal.h>

#include "base/clock.h"
#include "base/proc.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/text.h"

enum { STOP_POLL_MS = 50 };
static const int64_t stop_timeout_ms = 5 * 60 * 1000; /* beyond any deadline of a job */

static bool await_end(const struct cli *cli, pid_t pid, int64_t timeout_ms, struct err *err)
{
    int64_t begun = clock_now_ms();

    while (lock_holder(cli_lock(cli)) == pid) {
        if (clock_now_ms() - begun > timeout_ms) {
            err_set(err, ERR_SYSTEM, "process %ld is still finishing after %s", (long)pid,
                    text_duration(cli->arena, timeout_ms));
            return err_hint(err, "'evo stop' once more ends it without waiting for its workers; "
                                 "nothing is lost");
        }
        poll(NULL, 0, STOP_POLL_MS);
    }
    cli_say("the search (pid %ld) has ended after %s; 'evo start --db %s' goes on", (long)pid,
            text_duration(cli->arena, clock_now_ms() - begun), cli_db(cli));
    return true;
}

static bool stop(struct cli *cli, struct err *err)
{
    const char *text = cli_value(cli, "timeout");
    int64_t timeout_ms = stop_timeout_ms;
    pid_t pid = lock_holder(cli_lock(cli));

    if (text != NULL && !str_to_duration_ms(text, &timeout_ms)) {
        return err_set(err, ERR_USER, "'--timeout' must be a time such as 90s or 5m, not '%s'",
                       text);
    }
    if (pid == 0) {
        cli_say("no search runs on '%s'", cli_db(cli));
        return true;
    }
    if (kill(pid, SIGTERM) != 0 && errno != ESRCH) {
        return err_sys(err, "cannot stop process %ld", (long)pid);
    }
    return await_end(cli, pid, timeout_ms, err);
}

int cmd_stop(int argc, char **argv) { return cli_run(argc, argv, stop); }
