#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/text.h"

enum { BEST_COUNT = 10, BEST_COUNT_MAX = 100000 };

/* The score a row is ranked by: of the whole workload, or of the shape asked for. */
static const struct score *ranked_score(const struct kernel_row *kernel, const char *shape)
{
    for (int i = 0; shape != NULL && i < kernel->problem_count; i++) {
        if (strcmp(kernel->problems[i].problem, shape) == 0) {
            return &kernel->problems[i].score;
        }
    }
    return &kernel->candidate.score;
}

static double ranked_tflops(const struct kernel_row *kernel, const char *shape)
{
    const struct score *score = ranked_score(kernel, shape);
    struct kernel_row one = *kernel;

    for (int i = 0; shape != NULL && i < kernel->problem_count; i++) {
        if (strcmp(kernel->problems[i].problem, shape) == 0) {
            one.problems[0] = kernel->problems[i];
            one.problem_count = 1;
        }
    }
    return score->us > 0 ? kernel_flops(&one) / score->us * 1e-6 : 0;
}

/* How many times as fast as the hardest library, on all shapes that were timed or the one asked. */
static const char *rivals_text(struct cli *cli, const struct kernel_row *kernel, const char *shape)
{
    struct rivalry_facts facts = rivalry_of(kernel->duels, kernel->duel_count);
    double speedup = facts.timed > 0 ? facts.mean.value : 0;

    for (int i = 0; shape != NULL && i < kernel->problem_count; i++) {
        if (strcmp(kernel->problems[i].problem, shape) == 0) {
            const struct duel_row *row = rivalry_on(kernel->duels, kernel->duel_count, i);

            speedup = row != NULL ? row->graph.speedup.value : 0;
        }
    }
    return speedup > 0 ? arena_printf(cli->arena, "%.3fx", speedup) : NULL;
}

static void print_table(struct cli *cli, const struct kernel_row *rows, int64_t count,
                        const char *shape)
{
    static const char *const heads[] = {"id",         "family",        "time",
                                        "95 % interval", "search saw", "of",
                                        "TFLOP/s",    "gain",          "rivals",
                                        "regs",       "device",        "genes"};
    struct table *table = table_new(cli->arena, "llrrrrrrrrll", heads);

    for (int64_t i = 0; i < count; i++) {
        const struct candidate_row *row = &rows[i].candidate;
        const struct score *score = ranked_score(&rows[i], shape);
        const struct promotion_facts *promotion = &rows[i].promotion;
        bool promoted = promotion->searched != 0;
        const char *cells[] = {
            arena_printf(cli->arena, "n%lld", (long long)row->place),
            row->family,
            text_us(cli->arena, score->us),
            text_interval(cli->arena, score),
            promoted ? text_us(cli->arena, promotion->score.us) : NULL,
            promoted ? text_count(cli->arena, promotion->tried) : NULL,
            arena_printf(cli->arena, "%.2f", ranked_tflops(&rows[i], shape)),
            shape == NULL ? text_gain(cli->arena, rows[i].gain_over_founder) : NULL,
            rivals_text(cli, &rows[i], shape),
            rows[i].registers > 0 ? arena_printf(cli->arena, "%lld", (long long)rows[i].registers)
                                  : NULL,
            rows[i].device,
            row->genes,
        };

        table_row(table, i == 0 ? STYLE_GOOD : STYLE_PLAIN, cells);
    }
    table_print(table, stdout);
}

static json_t *kernel_json(const struct kernel_row *kernel, const char *shape)
{
    json_t *object = json_candidate(&kernel->candidate), *problems = json_array();

    for (int i = 0; i < kernel->problem_count; i++) {
        json_array_append_new(problems,
                              json_pack("{s:o, s:o, s:o, s:b}", "problem",
                                        json_text(kernel->problems[i].problem), "score",
                                        json_score(&kernel->problems[i].score), "graph_us",
                                        json_number(kernel->problems[i].graph_us), "quick",
                                        kernel->problems[i].quick));
    }
    json_object_set_new(object, "promotion", json_promotion(&kernel->promotion));
    json_object_set_new(object, "rivals", json_rivals(kernel));
    json_object_set_new(object, "device", json_text(kernel->device));
    json_object_set_new(object, "tflops", json_number(ranked_tflops(kernel, shape)));
    json_object_set_new(object, "gain",
                        kernel->gain_over_founder > 0 ? json_number(kernel->gain_over_founder)
                                                      : json_null());
    json_object_set_new(object, "registers", json_integer(kernel->registers));
    json_object_set_new(object, "spill_bytes", json_integer(kernel->spill_bytes));
    json_object_set_new(object, "smem_bytes", json_integer(kernel->smem_bytes));
    json_object_set_new(object, "evaluations_before", json_integer(kernel->evaluations_before));
    json_object_set_new(object, "problems", problems);
    return object;
}

/* "1x8x512x64" is how the database writes it, whatever the user's spelling. */
static bool shape_text(struct cli *cli, const char **shape, struct err *err)
{
    const char *text = cli_value(cli, "shape");
    char canonical[PROBLEM_TEXT_MAX];
    struct problem problem;

    *shape = NULL;
    if (text == NULL) {
        return true;
    }
    if (!problem_parse(text, &problem, err)) {
        return err_in(err, "option '--shape'");
    }
    problem_text(&problem, canonical);
    *shape = arena_dup(cli->arena, canonical);
    return true;
}

static bool numerics_asked(struct cli *cli, int *first, int *last, struct err *err)
{
    const char *text = cli_value(cli, "numerics");

    *first = text != NULL && strcmp(text, "fp16") == 0 ? 1 : 0;
    *last = text != NULL && strcmp(text, "fp32") == 0 ? 0 : 1;
    if (text != NULL && *first != *last) {
        return err_set(err, ERR_USER, "'--numerics' must be fp32 or fp16, not '%s'", text);
    }
    return true;
}

static void print_class(struct cli *cli, const struct kernel_row *rows, int64_t count,
                        const struct best_filter *filter, int64_t *shown)
{
    if (count == 0) {
        return;
    }
    if (*shown > 0) {
        putchar('\n');
    }
    if (filter->numerics == 1) {
        printf("with FP16 accumulation, a numerics class of its own\n");
    }
    print_table(cli, rows, count, filter->problem);
    *shown += count;
}

static bool best(struct cli *cli, struct err *err)
{
    struct best_filter filter = {0};
    json_t *list = json_array();
    int first, last;
    int64_t shown = 0;

    if (!cli_number(cli, "count", 1, BEST_COUNT_MAX, BEST_COUNT, &filter.limit, err) ||
        !cli_number(cli, "run", 1, INT64_MAX, 0, &filter.run, err) ||
        !shape_text(cli, &filter.problem, err) || !numerics_asked(cli, &first, &last, err) ||
        !cli_store(cli, err)) {
        goto fail;
    }
    filter.family = cli_value(cli, "family");
    for (filter.numerics = first; filter.numerics <= last; filter.numerics++) {
        struct kernel_row *rows;
        int64_t count;

        if (!query_best(cli->store, cli->arena, &filter, &rows, &count, err)) {
            goto fail;
        }
        if (!cli_has(cli, "json")) {
            print_class(cli, rows, count, &filter, &shown);
            continue;
        }
        shown += count;
        for (int64_t i = 0; i < count; i++) {
            json_array_append_new(list, kernel_json(&rows[i], filter.problem));
        }
    }
    if (shown == 0) {
        cli->exit_code = EXIT_NO;
        cli_say("no kernel has passed yet; 'evo status' tells how the search is doing");
    }
    if (cli_has(cli, "json")) {
        return cli_json(list, err);
    }
    json_decref(list);
    return true;
fail:
    json_decref(list);
    return false;
}

int cmd_best(int argc, char **argv) { return cli_run(argc, argv, best); }
