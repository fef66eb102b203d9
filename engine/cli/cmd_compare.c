#include <string.h>

#include "cli/commands.h"
#include "cli/contest.h"
#include "cli/text.h"

static bool print_json(struct cli *cli, const struct contest *contest, struct err *err)
{
    json_t *rows = json_array();

    for (int i = 0; i < contest->count; i++) {
        json_array_append_new(rows, contest_json_row(cli->arena, contest, &contest->rows[i]));
    }
    return cli_json(json_pack("{s:s, s:s, s:s, s:o}", "a", contest->a, "b", contest->b, "device",
                              contest->judge.device, "rows", rows),
                    err);
}

static void print_table(struct cli *cli, const struct contest *contest)
{
    static const char *const heads[] = {"shape", "A", "B", "A is, by graph", "by records"};
    struct table *table = table_new(cli->arena, "lrrll", heads);

    for (int i = 0; i < contest->count; i++) {
        const struct contest_row *row = &contest->rows[i];
        const char *cells[5] = {row->shape, "", "", "", ""};

        if (row->timed) {
            cells[1] = text_us(cli->arena, row->us[0][CONTEST_GRAPH]);
            cells[2] = text_us(cli->arena, row->us[1][CONTEST_GRAPH]);
            cells[3] = contest_words(cli->arena, &row->speedup[CONTEST_GRAPH]);
            cells[4] = contest_words(cli->arena, &row->speedup[CONTEST_SPAN]);
        } else {
            cells[3] = contest_trouble(cli->arena, contest, row);
        }
        table_row(table, row->timed ? STYLE_PLAIN : STYLE_BAD, cells);
    }
    table_print(table, stdout);
}

static void print_text(struct cli *cli, const struct contest *contest)
{
    const struct contest_row *first = &contest->rows[0];

    for (int i = 0; i < 2; i++) {
        const char *plan = first->duel.sides[i].name;

        printf("%s  %s%s%s\n", i == 0 ? "A" : "B", contest->title[i], *plan != '\0' ? ": " : "",
               plan);
    }
    printf("on %s%s\n\n", contest->judge.device,
           first->duel.modelled ? "; times are modelled, and have no spread" : "");
    print_table(cli, contest);
}

static bool body(struct cli *cli, struct err *err)
{
    struct contest *contest = arena_alloc(cli->arena, sizeof *contest);

    if (!contest_run(cli, cli->operands[0], cli->operands[1], contest, err)) {
        return false;
    }
    for (int i = 0; i < contest->count; i++) {
        if (!contest->rows[i].timed) {
            cli->exit_code = EXIT_NO;
        }
    }
    if (cli_has(cli, "json")) {
        return print_json(cli, contest, err);
    }
    print_text(cli, contest);
    return true;
}

int cmd_compare(int argc, char **argv) { return cli_run(argc, argv, body); }
