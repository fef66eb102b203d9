#include <string.h>

#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/page.h"
#include "cli/report.h"

static bool body(struct cli *cli, struct err *err)
{
    const char *output = cli_value(cli, "output");
    struct buf page = {0};
    json_t *report;
    int64_t run;
    bool ok;

    if (!cli_number(cli, "run", 1, INT64_MAX, 0, &run, err) || !cli_store(cli, err)) {
        return false;
    }
    report = report_of_run(cli->store, cli->arena, run, err);
    if (report == NULL) {
        return err_in(err, "'%s'", cli_db(cli));
    }
    if (cli_has(cli, "json")) {
        return cli_json(report, err);
    }
    page_with_data(report, &page);
    json_decref(report);
    if (output == NULL || strcmp(output, "-") == 0) {
        ok = fwrite(page.data, 1, page.length, stdout) == page.length ||
             err_sys(err, "cannot write the report");
    } else {
        ok = file_write(output, page.data, page.length, FILE_WHOLE, err);
        if (ok) {
            cli_say("wrote '%s' (%zu kB)", output, page.length / 1000);
        }
    }
    buf_free(&page);
    return ok;
}

int cmd_report(int argc, char **argv) { return cli_run(argc, argv, body); }
