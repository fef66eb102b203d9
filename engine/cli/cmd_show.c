#include <math.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/ladder.h"
#include "cli/limits.h"
#include "cli/source.h"
#include "cli/text.h"

enum { POWER_LIMITED = 0x4 }; /* NVML's bit */

/* All that is recorded about one candidate. */
struct facts {
    struct kernel_row kernel;
    struct build_facts *builds;
    struct ladder ladder;
    struct limits limits;
    struct metric_value *metrics;
    int64_t build_count, metric_count;
};

static bool read_facts(struct cli *cli, const char *id, struct facts *facts, struct err *err)
{
    const struct candidate_row *row = &facts->kernel.candidate;

    *facts = (struct facts){0};
    if (!cli_candidate(cli, id, &facts->kernel, err) ||
        !query_builds(cli->store, cli->arena, row->run, row->place, &facts->builds,
                      &facts->build_count, err)) {
        return false;
    }
    return ladder_read(cli, &facts->kernel, facts->builds, facts->build_count, &facts->ladder,
                       err) &&
           (row->judgement == 0 ||
            query_metrics(cli->store, cli->arena, row->judgement, &facts->metrics,
                          &facts->metric_count, err)) &&
           limits_find(cli->store, cli->arena, &facts->kernel, facts->metrics, facts->metric_count,
                       &facts->limits, err);
}

static const char *problem_name(const struct facts *facts, int problem)
{
    return problem >= 0 && problem < facts->kernel.problem_count
               ? facts->kernel.problems[problem].problem
               : NULL;
}

/* ---- as text ---- */

static void heading(const char *text)
{
    printf("\n%s%s%s\n", style_on(stdout, STYLE_BOLD), text, style_off(stdout));
}

static void print_who(struct arena *arena, const struct candidate_row *row)
{
    printf("%sn%lld%s %s\n%s\n", style_on(stdout, STYLE_BOLD), (long long)row->place,
           style_off(stdout), row->family, row->genes);
    printf("run %lld, island %d, generation %d, by %s", (long long)row->run, row->island,
           row->depth, row->operator_name);
    for (int i = 0; i < row->parent_count; i++) {
        printf("%sn%lld", i == 0 ? " from " : " and ", (long long)row->parents[i]);
    }
    printf(", %s accumulation\n", text_numerics(row->numerics));
    if (row->alias_of >= 0) {
        printf("the same machine code and launch as n%lld\n", (long long)row->alias_of);
    }
    printf("proposed %s, finished %s\n", text_when(arena, row->created_at),
           text_when(arena, row->finished_at));
    printf("source %s, code %s, plan %s\n", text_hash12(arena, &row->source_hash),
           text_hash12(arena, &row->code_key), text_hash12(arena, &row->plan_key));
}

/* Why it failed and how to see it again, or how fast it is. */
static void print_verdict(struct arena *arena, const struct facts *facts)
{
    const struct kernel_row *kernel = &facts->kernel;
    const struct candidate_row *row = &kernel->candidate;
    const struct promotion_facts *promotion = &kernel->promotion;
    bool pass = row->verdict == VERDICT_PASS;

    if (row->state != CANDIDATE_DONE) {
        printf("waits for its verdict\n");
        return;
    }
    printf("%s%s%s%s%s%s\n", style_on(stdout, pass ? STYLE_GOOD : STYLE_BAD),
           verdict_names[row->verdict], style_off(stdout), row->replayed ? " (replayed)" : "",
           pass ? "" : ": ", facts->ladder.why);
    if (facts->ladder.again[0] != '\0') {
        printf("to see it again: %s\n", facts->ladder.again);
    }
    if (row->score.us > 0) {
        printf("%s, 95 %% in %s, %.2f TFLOP/s", text_us(arena, row->score.us),
               text_interval(arena, &row->score), kernel_flops(kernel) / row->score.us * 1e-6);
        if (kernel->gain_over_founder > 0) {
            printf(", %s over the seed's founder", text_gain(arena, kernel->gain_over_founder));
        }
        printf(", on %s\n", kernel->device);
    }
    if (promotion->searched != 0) {
        printf("promoted%s: judged again by a fresh judge after %s candidates; the search saw %s\n",
               pass ? "" : " in vain", text_count(arena, promotion->tried),
               text_us(arena, promotion->score.us));
    }
    if (promotion->searched != 0 && promotion->quarantine[0] != '\0') {
        printf("in quarantine until then: %s\n", promotion->quarantine);
    }
}

/* NAN: unknown. */
static double value_of(const struct facts *facts, int problem, enum metric metric)
{
    for (int64_t i = 0; i < facts->metric_count; i++) {
        const struct metric_value *one = &facts->metrics[i];

        if (one->problem == problem && strcmp(one->name, metric_table[metric].name) == 0) {
            return one->value;
        }
    }
    return NAN;
}

/*
 * Did the power limit hold the clocks down while a shape was timed? Times of the two regimes are
 * not alike. NULL: unknown.
 */
static const char *regime_of(const struct facts *facts, int problem)
{
    double reasons = value_of(facts, problem, METRIC_THROTTLE_REASONS);

    return isnan(reasons)                              ? NULL
           : ((uint64_t)reasons & POWER_LIMITED) != 0 ? "sustained"
                                                       : "burst";
}

/* Of the multiprocessors, while a shape was timed. */
static double clock_of(const struct facts *facts, int problem)
{
    return value_of(facts, problem, METRIC_SM_CLOCK_MHZ);
}

static const char *text_mhz(struct arena *arena, double mhz)
{
    return isnan(mhz) ? NULL : arena_printf(arena, "%.0f MHz", mhz);
}

static void print_problems(struct arena *arena, const struct facts *facts)
{
    const struct kernel_row *kernel = &facts->kernel;
    static const char *const heads[] = {"shape",   "time",       "95 % interval", "told at",
                                        "sampled at", "in a graph", "sampling",      "regime"};
    struct table *table = table_new(arena, "lrrrrrll", heads);

    if (kernel->problem_count == 0 || !(kernel->candidate.score.us > 0)) {
        return;
    }
    for (int i = 0; i < kernel->problem_count; i++) {
        const char *cells[] = {
            kernel->problems[i].problem,
            text_us(arena, kernel->problems[i].score.us),
            text_interval(arena, &kernel->problems[i].score),
            text_mhz(arena, kernel->problems[i].at_mhz),
            text_mhz(arena, clock_of(facts, i)),
            isnan(kernel->problems[i].graph_us) ? NULL
                                                : text_us(arena, kernel->problems[i].graph_us),
            kernel->problems[i].quick ? "stopped early: too slow to matter" : "full",
            regime_of(facts, i),
        };

        table_row(table, STYLE_PLAIN, cells);
    }
    heading("times");
    table_print(table, stdout);
}

/* Ours and theirs by graphs of calls, in turns in one process. */
static void print_rivals(struct arena *arena, const struct kernel_row *kernel)
{
    static const char *const heads[] = {"shape",   "rival",         "ours",   "theirs",
                                        "ours is", "95 % interval", "regime", "their plan"};
    struct table *table = table_new(arena, "llrrrrll", heads);

    if (kernel->duel_count == 0) {
        return;
    }
    for (int64_t i = 0; i < kernel->duel_count; i++) {
        const struct duel_row *row = &kernel->duels[i];
        const struct estimate *speedup = &row->graph.speedup;
        bool timed = *row->reason == '\0';
        const char *cells[] = {
            row->problem < kernel->problem_count ? kernel->problems[row->problem].problem : NULL,
            row->rival,
            timed ? text_us(arena, row->graph.us[0]) : NULL,
            timed ? text_us(arena, row->graph.us[1]) : NULL,
            timed ? arena_printf(arena, "%.3fx", speedup->value) : NULL,
            timed ? arena_printf(arena, "[%.3f, %.3f]", speedup->low, speedup->high) : NULL,
            !timed || isnan(row->sm_clock_mhz) ? NULL : row->power_limited ? "sustained" : "burst",
            timed ? row->plan : row->reason,
        };

        table_row(table, timed ? STYLE_PLAIN : STYLE_BAD, cells);
    }
    heading("against libraries");
    printf("%s\n", text_rivalry(arena, kernel));
    table_print(table, stdout);
}

static void print_builds(struct arena *arena, const struct facts *facts)
{
    static const char *const heads[] = {"image",       "kernel", "registers", "spills",
                                        "static smem", "stack",  "code",      "arch"};
    struct table *table = table_new(arena, "rlrrrrrl", heads);

    if (facts->build_count == 0) {
        return;
    }
    for (int64_t i = 0; i < facts->build_count; i++) {
        const struct build_facts *build = &facts->builds[i];

        for (int j = 0; j < build->entry_count; j++) {
            const struct entry_facts *entry = &build->entries[j];
            const char *cells[] = {
                arena_printf(arena, "%d", build->image),
                entry->name,
                arena_printf(arena, "%lld", (long long)entry->registers),
                text_bytes(arena, entry->spill_store_bytes + entry->spill_load_bytes),
                text_bytes(arena, entry->static_smem_bytes),
                text_bytes(arena, entry->stack_bytes),
                text_bytes(arena, entry->code_bytes),
                build->arch,
            };

            table_row(table, STYLE_PLAIN, cells);
        }
    }
    heading("machine code");
    table_print(table, stdout);
    for (int64_t i = 0; i < facts->build_count; i++) {
        if (facts->builds[i].warnings[0] != '\0') {
            printf("image %d: %s\n", facts->builds[i].image, facts->builds[i].warnings);
        }
    }
}

static const char *number_text(struct arena *arena, double value)
{
    return isnan(value) ? NULL : arena_printf(arena, "%.4g", value);
}

static void print_metrics(struct arena *arena, const struct facts *facts)
{
    static const char *const heads[] = {"metric", "shape", "value", "unit"};
    struct table *table = table_new(arena, "llrl", heads);

    if (facts->metric_count == 0) {
        return;
    }
    for (int64_t i = 0; i < facts->metric_count; i++) {
        const struct metric_value *metric = &facts->metrics[i];
        enum metric known = metric_find(metric->name);
        const char *cells[] = {
            metric->name,
            problem_name(facts, metric->problem),
            number_text(arena, metric->value),
            isnan(metric->value)   ? metric->reason
            : known < METRIC_COUNT ? metric_table[known].unit
                                   : NULL,
        };

        table_row(table, STYLE_PLAIN, cells);
    }
    heading("metrics");
    table_print(table, stdout);
}

static void print_facts(struct arena *arena, const struct facts *facts)
{
    print_who(arena, &facts->kernel.candidate);
    print_verdict(arena, facts);
    print_problems(arena, facts);
    limits_print(arena, &facts->limits, facts->kernel.device);
    print_rivals(arena, &facts->kernel);
    print_builds(arena, facts);
    ladder_print(arena, &facts->ladder);
    print_metrics(arena, facts);
}

/* ---- as JSON ---- */

static json_t *entries_json(const struct build_facts *build)
{
    json_t *list = json_array();

    for (int i = 0; i < build->entry_count; i++) {
        const struct entry_facts *entry = &build->entries[i];

        json_array_append_new(
            list,
            json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "name", json_text(entry->name),
                      "registers", (json_int_t)entry->registers, "static_smem_bytes",
                      (json_int_t)entry->static_smem_bytes, "stack_bytes",
                      (json_int_t)entry->stack_bytes, "spill_store_bytes",
                      (json_int_t)entry->spill_store_bytes, "spill_load_bytes",
                      (json_int_t)entry->spill_load_bytes, "barriers", (json_int_t)entry->barriers,
                      "code_bytes", (json_int_t)entry->code_bytes));
    }
    return list;
}

static json_t *builds_json(const struct facts *facts)
{
    json_t *list = json_array();

    for (int64_t i = 0; i < facts->build_count; i++) {
        const struct build_facts *build = &facts->builds[i];

        json_array_append_new(
            list, json_pack("{s:i, s:o, s:o, s:o, s:o, s:o, s:o}", "image", build->image, "arch",
                            json_text(build->arch), "source_hash", json_hash(&build->source_hash),
                            "code_key", json_hash(&build->code_key), "warnings",
                            json_text(build->warnings), "compile_ms",
                            json_number(build->compile_ms), "kernels", entries_json(build)));
    }
    return list;
}

static json_t *facts_json(const struct facts *facts)
{
    const struct kernel_row *kernel = &facts->kernel;
    json_t *object = json_candidate(&kernel->candidate);
    json_t *problems = json_array(), *metrics = json_array();

    for (int i = 0; i < kernel->problem_count; i++) {
        json_array_append_new(problems,
                              json_pack("{s:o, s:o, s:o, s:o, s:o, s:b, s:o}", "problem",
                                        json_text(kernel->problems[i].problem), "score",
                                        json_score(&kernel->problems[i].score), "at_mhz",
                                        json_number(kernel->problems[i].at_mhz), "sampled_mhz",
                                        json_number(clock_of(facts, i)), "graph_us",
                                        json_number(kernel->problems[i].graph_us), "quick",
                                        kernel->problems[i].quick, "regime",
                                        json_text(regime_of(facts, i))));
    }
    for (int64_t i = 0; i < facts->metric_count; i++) {
        const struct metric_value *metric = &facts->metrics[i];

        json_array_append_new(
            metrics, json_pack("{s:o, s:o, s:o, s:o}", "name", json_text(metric->name), "problem",
                               json_text(problem_name(facts, metric->problem)), "value",
                               json_number(metric->value), "reason", json_text(metric->reason)));
    }
    json_object_set_new(object, "device", json_text(kernel->device));
    json_object_set_new(object, "gain",
                        kernel->gain_over_founder > 0 ? json_number(kernel->gain_over_founder)
                                                      : json_null());
    json_object_set_new(object, "problems", problems);
    json_object_set_new(object, "builds", builds_json(facts));
    json_object_set_new(object, "promotion", json_promotion(&kernel->promotion));
    json_object_set_new(object, "rivals", json_rivals(kernel));
    json_object_set_new(object, "failure", ladder_failure_json(&facts->ladder));
    json_object_set_new(object, "cases", ladder_cases_json(&facts->ladder));
    json_object_set_new(object, "metrics", metrics);
    json_object_set_new(object, "limits", limits_json(&facts->limits));
    return object;
}

/* ---- the texts ---- */

static const struct build_facts *build_of(const struct facts *facts, int64_t image, struct err *err)
{
    for (int64_t i = 0; i < facts->build_count; i++) {
        if (facts->builds[i].image == image) {
            return &facts->builds[i];
        }
    }
    err_set(err, ERR_USER, "n%lld has no compiled program %lld",
            (long long)facts->kernel.candidate.place, (long long)image);
    return NULL;
}

static bool print_source(struct cli *cli, const struct facts *facts, int64_t image, struct err *err)
{
    struct recalled recalled;
    const char *source;

    if (!source_render(cli->arena, cli->store, &facts->kernel.candidate, (int)image, &recalled,
                       &source, err)) {
        return false;
    }
    fputs(source, stdout);
    return true;
}

static bool print_ptx(const struct facts *facts, int64_t image, struct err *err)
{
    const struct build_facts *build = build_of(facts, image, err);

    if (build == NULL) {
        return false;
    }
    if (build->ptx == NULL) {
        err_set(err, ERR_USER, "the PTX of n%lld was not kept",
                (long long)facts->kernel.candidate.place);
        return err_hint(err, "only that of the best is; compile the output of --source again");
    }
    fwrite(build->ptx, 1, build->ptx_bytes, stdout);
    return true;
}

static bool print_log(const struct facts *facts, int64_t image, struct err *err)
{
    const struct build_facts *build = build_of(facts, image, err);

    if (build != NULL) {
        fputs(build->log, stdout);
    }
    return build != NULL;
}

static bool show(struct cli *cli, struct err *err)
{
    struct facts facts;
    int64_t image;

    if (!cli_number(cli, "image", 0, JOB_IMAGES_MAX - 1, 0, &image, err) || !cli_store(cli, err) ||
        !read_facts(cli, cli->operands[0], &facts, err)) {
        return false;
    }
    if (cli_has(cli, "source")) {
        return print_source(cli, &facts, image, err);
    }
    if (cli_has(cli, "ptx")) {
        return print_ptx(&facts, image, err);
    }
    if (cli_has(cli, "log")) {
        return print_log(&facts, image, err);
    }
    if (cli_has(cli, "json")) {
        return cli_json(facts_json(&facts), err);
    }
    print_facts(cli->arena, &facts);
    return true;
}

int cmd_show(int argc, char **argv) { return cli_run(argc, argv, show); }
