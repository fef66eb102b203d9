#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/text.h"

/* Parents come before children; a lineage is short enough to look through. */
static const struct candidate_row *row_at(const struct candidate_row *rows, int64_t count,
                                          int64_t place)
{
    for (int64_t i = 0; i < count; i++) {
        if (rows[i].place == place) {
            return &rows[i];
        }
    }
    return NULL;
}

static const struct candidate_row *first_parent(const struct candidate_row *rows, int64_t count,
                                                const struct candidate_row *row)
{
    return row->parent_count > 0 ? row_at(rows, count, row->parents[0]) : NULL;
}

static const char *change_text(struct arena *arena, const struct candidate_row *parent,
                               const struct candidate_row *row)
{
    if (parent == NULL) {
        return row->genes;
    }
    if (strcmp(parent->family, row->family) != 0) {
        return arena_printf(arena, "%s -> %s: %s", parent->family, row->family, row->genes);
    }
    return genes_change(arena, parent->genes, row->genes);
}

/* Times as fast as its first parent; 0: unknown. */
static double step_gain(const struct candidate_row *parent, const struct candidate_row *row)
{
    return parent != NULL && parent->score.us > 0 && row->score.us > 0
               ? parent->score.us / row->score.us
               : 0;
}

static const char *parents_text(struct arena *arena, const struct candidate_row *row)
{
    if (row->parent_count == 0) {
        return NULL;
    }
    if (row->parent_count == 1) {
        return arena_printf(arena, "n%lld", (long long)row->parents[0]);
    }
    return arena_printf(arena, "n%lld n%lld", (long long)row->parents[0],
                        (long long)row->parents[1]);
}

static void print_lineage(struct arena *arena, const struct candidate_row *rows, int64_t count)
{
    static const char *const heads[] = {"id",   "operator",    "from",           "verdict",
                                        "time", "over parent", "what it changed"};
    struct table *table = table_new(arena, "llllrrl", heads);

    for (int64_t i = 0; i < count; i++) {
        const struct candidate_row *row = &rows[i], *parent = first_parent(rows, count, row);
        double gain = step_gain(parent, row);
        const char *cells[] = {
            arena_printf(arena, "n%lld", (long long)row->place),
            row->operator_name,
            parents_text(arena, row),
            row->state == CANDIDATE_DONE ? verdict_names[row->verdict] : "queued",
            text_us(arena, row->score.us),
            text_gain(arena, gain),
            change_text(arena, parent, row),
        };

        table_row(table, gain > 1.0 ? STYLE_GOOD : STYLE_PLAIN, cells);
    }
    table_print(table, stdout);
}

/* Quotes and backslashes would end a string of the dot language. */
static void print_dot_text(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\') {
            putchar('\\');
        }
        putchar(*text);
    }
}

static void print_dot(struct arena *arena, const struct candidate_row *rows, int64_t count)
{
    printf("digraph lineage {\n    node [shape=box];\n");
    for (int64_t i = 0; i < count; i++) {
        const struct candidate_row *row = &rows[i], *parent = first_parent(rows, count, row);

        printf("    n%lld [label=\"n%lld %s\\n", (long long)row->place, (long long)row->place,
               row->operator_name);
        print_dot_text(change_text(arena, parent, row));
        printf("\\n%s\"];\n", text_us(arena, row->score.us));
        for (int j = 0; j < row->parent_count; j++) {
            printf("    n%lld -> n%lld%s;\n", (long long)row->parents[j], (long long)row->place,
                   j > 0 ? " [style=dashed]" : "");
        }
    }
    printf("}\n");
}

static json_t *lineage_json(struct arena *arena, const struct candidate_row *rows, int64_t count)
{
    json_t *list = json_array();

    for (int64_t i = 0; i < count; i++) {
        const struct candidate_row *parent = first_parent(rows, count, &rows[i]);
        double gain = step_gain(parent, &rows[i]);
        json_t *object = json_candidate(&rows[i]);

        json_object_set_new(object, "changed",
                            parent != NULL ? json_text(change_text(arena, parent, &rows[i]))
                                           : json_null());
        json_object_set_new(object, "gain_over_parent", gain > 0 ? json_number(gain) : json_null());
        json_array_append_new(list, object);
    }
    return list;
}

static bool lineage(struct cli *cli, struct err *err)
{
    struct kernel_row kernel;
    struct candidate_row *rows;
    int64_t count;

    if (!cli_store(cli, err) || !cli_candidate(cli, cli->operands[0], &kernel, err) ||
        !query_lineage(cli->store, cli->arena, kernel.candidate.run, kernel.candidate.place, &rows,
                       &count, err)) {
        return false;
    }
    if (cli_has(cli, "json")) {
        return cli_json(lineage_json(cli->arena, rows, count), err);
    }
    if (cli_has(cli, "dot")) {
        print_dot(cli->arena, rows, count);
    } else {
        print_lineage(cli->arena, rows, count);
    }
    return true;
}

int cmd_lineage(int argc, char **argv) { return cli_run(argc, argv, lineage); }
