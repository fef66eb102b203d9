#include "cli/cli.h"
#include "cli/commands.h"

static bool help(struct cli *cli, struct err *err)
{
    const struct command *command;

    if (cli_has(cli, "man")) {
        help_manual(stdout);
        return true;
    }
    if (cli_has(cli, "completion")) {
        return help_completion(stdout, cli_value(cli, "completion"), err);
    }
    if (cli->operand_count == 0) {
        help_overview(stdout);
        return true;
    }
    command = command_find(cli->operands[0]);
    if (command == NULL) {
        err_set(err, ERR_USER, "unknown command '%s'", cli->operands[0]);
        return err_hint(err, "'evo --help' lists the commands");
    }
    help_command(stdout, command);
    return true;
}

int cmd_help(int argc, char **argv) { return cli_run(argc, argv, help); }
