/*
 * cmd_dump.c -- the lineage as text that is equal exactly when two searches did the same.
 *
 *     n12 i0 step <n3,n5> attention_tiled BLOCK_M=32 … src=HASH code=HASH plan=HASH pass 123.456
 * [alias n7]
 *
 * A line a place, in order. Nothing in it depends on when, how often or by how many workers: no
 * times of day, no costs, no reasons (they may name a worker).
 */
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/text.h"

struct dump {
    struct arena *arena; /* of one line */
    json_t *list;        /* NULL: as text */
};

static void print_parents(const struct candidate_row *row)
{
    fputs(" <", stdout);
    for (int i = 0; i < row->parent_count; i++) {
        printf("%sn%lld", i > 0 ? "," : "", (long long)row->parents[i]);
    }
    fputs(">", stdout);
}

static void print_outcome(const struct candidate_row *row)
{
    if (row->state != CANDIDATE_DONE) {
        fputs(" queued", stdout);
        return;
    }
    printf(" %s", verdict_names[row->verdict]);
    if (row->score.us > 0) {
        printf(" %.3f", row->score.us);
    }
    if (row->replayed) {
        fputs(" replayed", stdout);
    }
    if (row->alias_of >= 0) {
        printf(" [alias n%lld]", (long long)row->alias_of);
    }
}

static bool dump_row(void *context, const struct candidate_row *row, struct err *err)
{
    struct dump *dump = context;

    (void)err;
    if (dump->list != NULL) {
        json_t *object = json_candidate(row);

        json_object_del(object, "device_ms");
        json_object_del(object, "reason");
        json_array_append_new(dump->list, object);
        return true;
    }
    printf("n%lld i%d %s", (long long)row->place, row->island, row->operator_name);
    print_parents(row);
    printf(" %s%s%s", row->family[0] != '\0' ? row->family : "-", row->genes[0] != '\0' ? " " : "",
           row->genes);
    printf(" src=%s", text_hash12(dump->arena, &row->source_hash));
    printf(" code=%s", text_hash12(dump->arena, &row->code_key));
    printf(" plan=%s", text_hash12(dump->arena, &row->plan_key));
    print_outcome(row);
    putchar('\n');
    arena_reset(dump->arena);
    return true;
}

static bool dump(struct cli *cli, struct err *err)
{
    struct dump context = {0};
    struct status_row row;
    bool ok;

    if (!cli_store(cli, err) || !cli_status(cli, &row, err)) {
        return false;
    }
    context.arena = arena_new();
    context.list = cli_has(cli, "json") ? json_array() : NULL;
    ok = store_candidates_each(cli->store, row.run.id, dump_row, &context, err);
    arena_free(context.arena);
    if (context.list != NULL && ok) {
        return cli_json(context.list, err);
    }
    json_decref(context.list);
    return ok;
}

int cmd_dump(int argc, char **argv) { return cli_run(argc, argv, dump); }
