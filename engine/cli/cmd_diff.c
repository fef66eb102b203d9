#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/diff.h"
#include "cli/source.h"
#include "cli/text.h"

struct side {
    struct kernel_row kernel;
    const char *id; /* n147 */
};

static bool read_side(struct cli *cli, const char *text, struct side *side, struct err *err)
{
    if (!cli_candidate(cli, text, &side->kernel, err)) {
        return false;
    }
    side->id = arena_printf(cli->arena, "n%lld", (long long)side->kernel.candidate.place);
    return true;
}

static double speed_up(const struct side *a, const struct side *b)
{
    const struct score *from = &a->kernel.candidate.score, *to = &b->kernel.candidate.score;

    return from->us > 0 && to->us > 0 ? from->us / to->us : 0;
}

/* Every gene of either side; equal ones are dim. */
static void print_genes(struct arena *arena, const struct side *a, const struct side *b)
{
    const char *heads[] = {"gene", a->id, b->id};
    struct table *table = table_new(arena, "lll", heads);
    const char *both[] = {a->kernel.candidate.genes, b->kernel.candidate.genes};
    const char *family[] = {"family", a->kernel.candidate.family, b->kernel.candidate.family};
    const char *time[] = {"time", text_us(arena, a->kernel.candidate.score.us),
                          text_us(arena, b->kernel.candidate.score.us)};

    table_row(table, strcmp(family[1], family[2]) == 0 ? STYLE_DIM : STYLE_GOOD, family);
    for (int side = 0; side < 2; side++) {
        char *rest = arena_dup(arena, both[side]), *word;

        while ((word = strsep(&rest, " ")) != NULL) {
            const char *name = arena_text(arena, word, strcspn(word, "="));
            const char *cells[] = {name, genes_value(arena, both[0], name),
                                   genes_value(arena, both[1], name)};
            bool differ = cells[1] == NULL || cells[2] == NULL || strcmp(cells[1], cells[2]) != 0;

            if (name[0] != '\0' && (side == 0 || cells[1] == NULL)) {
                table_row(table, differ ? STYLE_GOOD : STYLE_DIM, cells);
            }
        }
    }
    table_row(table, STYLE_PLAIN, time);
    table_print(table, stdout);
    if (speed_up(a, b) > 0) {
        printf("%s takes %.2f %% of the time of %s\n", b->id, 100 / speed_up(a, b), a->id);
    }
}

static bool print_sources(struct cli *cli, const struct side *a, const struct side *b,
                          struct err *err)
{
    struct recalled recalled;
    const char *source_a, *source_b;

    if (!source_render(cli->arena, cli->store, &a->kernel.candidate, 0, &recalled, &source_a,
                       err) ||
        !source_render(cli->arena, cli->store, &b->kernel.candidate, 0, &recalled, &source_b,
                       err)) {
        return false;
    }
    putchar('\n');
    if (!diff_print(stdout, a->id, source_a, b->id, source_b)) {
        printf("the sources are equal\n");
    }
    return true;
}

static json_t *diff_json(struct arena *arena, const struct side *a, const struct side *b)
{
    double gain = speed_up(a, b);

    return json_pack(
        "{s:o, s:o, s:o, s:o}", "a", json_candidate(&a->kernel.candidate), "b",
        json_candidate(&b->kernel.candidate), "changed",
        json_text(genes_change(arena, a->kernel.candidate.genes, b->kernel.candidate.genes)),
        "gain", gain > 0 ? json_number(gain) : json_null());
}

static bool diff(struct cli *cli, struct err *err)
{
    struct side a, b;

    if (!cli_store(cli, err) || !read_side(cli, cli->operands[0], &a, err) ||
        !read_side(cli, cli->operands[1], &b, err)) {
        return false;
    }
    if (cli_has(cli, "json")) {
        return cli_json(diff_json(cli->arena, &a, &b), err);
    }
    print_genes(cli->arena, &a, &b);
    return cli_has(cli, "genes") || print_sources(cli, &a, &b, err);
}

int cmd_diff(int argc, char **argv) { return cli_run(argc, argv, diff); }
