#include "base/proc.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/progress.h"

static bool watch(struct cli *cli, struct err *err)
{
    struct follow follow = {.pid = lock_holder(cli_lock(cli)), .report = -1};

    if (follow.pid == 0) {
        cli->exit_code = EXIT_NO;
        cli_say("no search runs on '%s'; 'evo status' tells how far it came", cli_db(cli));
        return true;
    }
    return progress_follow(cli, &follow, err);
}

int cmd_watch(int argc, char **argv) { return cli_run(argc, argv, watch); }
