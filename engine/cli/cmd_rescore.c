#include <unistd.h>

#include "base/proc.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/text.h"

static bool rescore(struct cli *cli, struct err *err)
{
    int64_t rescored;
    pid_t holder;
    int lock;
    bool ok;

    if (!cli_store(cli, err)) { /* says so when there is no database to rescore */
        return false;
    }
    store_close(cli->store);
    cli->store = NULL;
    if (!lock_take(cli_lock(cli), &lock, &holder, err)) {
        return holder != 0 ? err_hint(err, "'evo stop' ends the search that runs there") : false;
    }
    ok = store_open(cli_db(cli), STORE_CREATE, &cli->store, err) &&
         store_rescore(cli->store, &rescored, err);
    store_close(cli->store);
    cli->store = NULL;
    close(lock);
    if (!ok) {
        return false;
    }
    if (cli_has(cli, "json")) {
        return cli_json(json_pack("{s:I, s:i}", "rescored", (json_int_t)rescored, "version",
                                  (int)SCORE_VERSION),
                        err);
    }
    printf("%s scored again (version %d)\n", text_count(cli->arena, rescored), SCORE_VERSION);
    return true;
}

int cmd_rescore(int argc, char **argv) { return cli_run(argc, argv, rescore); }
