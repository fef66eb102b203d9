#include "cli/ladder.h"

#include <math.h>
#include <string.h>

#include "cli/text.h"

static const char *const judged_names[JUDGED_COUNT] = {"search", "promotion"};

/* Work that the emulated device does within a minute or so. */
static const double EMULATED_FLOPS = 0x1p33;

/* ---- reading ---- */

/* A case names its shape where it is none of the workload's. */
static const char *shape_of(const struct kernel_row *kernel, const struct case_result *one)
{
    if (one->shape != NULL && *one->shape != '\0') {
        return one->shape;
    }
    return one->problem >= 0 && one->problem < kernel->problem_count
               ? kernel->problems[one->problem].problem
               : "";
}

/* The case that decided, and which judgement it is of; NULL: none did. */
static const struct case_result *failed_case(const struct ladder *ladder, enum judged *judged)
{
    for (int i = 0; i < JUDGED_COUNT; i++) {
        for (int64_t j = 0; j < ladder->judged[i].count; j++) {
            if (ladder->judged[i].cases[j].verdict != VERDICT_PASS) {
                *judged = (enum judged)i;
                return &ladder->judged[i].cases[j];
            }
        }
    }
    return NULL;
}

/* How many times what is allowed; 0: that is not known. */
static double excess(const struct case_result *one)
{
    return one->error_max > 0 && one->error_allowed > 0 ? one->error_max / one->error_allowed : 0;
}

static const char *tell_why(struct arena *arena, const struct ladder *ladder)
{
    const struct candidate_row *row = &ladder->kernel->candidate;
    enum judged judged;
    const struct case_result *one = failed_case(ladder, &judged);
    const char *when = ladder->kernel->promotion.searched != 0 ? "at its promotion, " : "";
    const char *shape, *times = "";

    if (row->verdict == VERDICT_PASS || row->state != CANDIDATE_DONE) {
        return "";
    }
    if (one == NULL) {
        return arena_printf(arena, "%s%s", when, row->reason);
    }
    shape = shape_of(ladder->kernel, one);
    if (excess(one) > 1) {
        times = arena_printf(arena, ", %.1f times as much as it may be", excess(one));
    }
    return arena_printf(arena, "%sat rung %s%s%s%s%s: %s%s",
                        judged == JUDGED_PROMOTION ? when : "", rung_names[one->rung],
                        *shape != '\0' ? " on " : "", shape,
                        one->family[0] != '\0' ? " with inputs " : "", one->family,
                        one->reason[0] != '\0' ? one->reason : row->reason, times);
}

/* The candidate as other commands of this folder know it. */
static bool name_of(struct cli *cli, const struct candidate_row *row, const char **name,
                    struct err *err)
{
    const char *plain = arena_printf(cli->arena, "n%lld", (long long)row->place);
    int64_t run, place;
    bool found;

    if (!query_resolve(cli->store, plain, &run, &place, &found, err)) {
        return false;
    }
    *name = found && run == row->run ? plain
                                     : arena_printf(cli->arena, "r%lld.n%lld", (long long)row->run,
                                                    (long long)row->place);
    if (cli_has(cli, "db")) {
        *name = arena_printf(cli->arena, "%s --db '%s'", *name, cli_value(cli, "db"));
    }
    return true;
}

static const char *command_for(struct arena *arena, const struct ladder *ladder, const char *name)
{
    const struct candidate_row *row = &ladder->kernel->candidate;
    enum judged judged;
    const struct case_result *one = failed_case(ladder, &judged);
    struct problem problem;
    struct err ignored;
    const char *shape;

    if (row->verdict == VERDICT_PASS || row->state != CANDIDATE_DONE || row->replayed) {
        return "";
    }
    if (!ladder->is_built) {
        return arena_printf(arena, "evo show %s --log", name);
    }
    if (one == NULL || !problem_parse(shape_of(ladder->kernel, one), &problem, &ignored)) {
        return arena_printf(arena, "evo emulate %s", name);
    }
    shape = shape_of(ladder->kernel, one);
    if (problem_flops(&problem) > EMULATED_FLOPS) {
        return arena_printf(arena, "evo export %s --shape %s -o n%lld.cu && evo verify n%lld.cu",
                            name, shape, (long long)row->place, (long long)row->place);
    }
    if (one->family[0] == '\0') {
        return arena_printf(arena, "evo emulate %s --shape %s", name, shape);
    }
    return arena_printf(arena, "evo emulate %s --shape %s --inputs %s --key %016llx", name, shape,
                        one->family, (unsigned long long)one->seed);
}

static bool read_cases(struct cli *cli, int64_t judgement, struct ladder *ladder,
                       enum judged judged, struct err *err)
{
    return judgement == 0 ||
           query_cases(cli->store, cli->arena, judgement, &ladder->judged[judged].cases,
                       &ladder->judged[judged].count, err);
}

bool ladder_read(struct cli *cli, const struct kernel_row *kernel,
                 const struct build_facts *builds, int64_t build_count, struct ladder *ladder,
                 struct err *err)
{
    int64_t judgement = kernel->candidate.judgement, searched = kernel->promotion.searched;
    const char *name;

    *ladder = (struct ladder){.kernel = kernel};
    if (!read_cases(cli, searched != 0 ? searched : judgement, ladder, JUDGED_SEARCH, err) ||
        !read_cases(cli, searched != 0 ? judgement : 0, ladder, JUDGED_PROMOTION, err) ||
        !name_of(cli, &kernel->candidate, &name, err)) {
        return false;
    }
    for (int64_t i = 0; i < build_count; i++) {
        ladder->is_built = ladder->is_built || builds[i].entry_count > 0;
    }
    ladder->why = tell_why(cli->arena, ladder);
    ladder->again = command_for(cli->arena, ladder, name);
    return true;
}

/* ---- as text ---- */

/* How the cases of one rung, or of one shape, went. */
struct tally {
    int64_t passed, total;
    const struct case_result *nearest; /* to its limit; NULL: nothing was compared */
    const struct case_result *failed;
};

static void tally_add(struct tally *tally, const struct case_result *one)
{
    tally->total++;
    tally->passed += one->verdict == VERDICT_PASS;
    if (one->verdict != VERDICT_PASS && tally->failed == NULL) {
        tally->failed = one;
    }
    if (excess(one) > (tally->nearest != NULL ? excess(tally->nearest) : 0)) {
        tally->nearest = one;
    }
}

static const char *count_text(struct arena *arena, const struct tally *tally)
{
    return arena_printf(arena, "%lld/%lld", (long long)tally->passed, (long long)tally->total);
}

static const char *nearest_text(struct arena *arena, const struct ladder *ladder,
                                const struct tally *tally)
{
    const struct case_result *one = tally->nearest;

    return one == NULL ? NULL
                       : arena_printf(arena, "%.2f of its limit (%s, %s)", excess(one),
                                      one->family, shape_of(ladder->kernel, one));
}

static void add_rungs(struct arena *arena, const struct ladder *ladder, enum judged judged,
                      struct table *table)
{
    for (enum rung rung = 0; rung < RUNG_COUNT; rung++) {
        struct tally tally = {0};

        for (int64_t i = 0; i < ladder->judged[judged].count; i++) {
            if (ladder->judged[judged].cases[i].rung == rung) {
                tally_add(&tally, &ladder->judged[judged].cases[i]);
            }
        }
        if (tally.total > 0) {
            const char *cells[] = {judged_names[judged], rung_names[rung],
                                   count_text(arena, &tally),
                                   nearest_text(arena, ladder, &tally)};

            table_row(table, tally.failed != NULL ? STYLE_BAD : STYLE_PLAIN, cells);
        }
    }
}

static void add_times(struct arena *arena, const struct ladder *ladder, struct table *table)
{
    const struct kernel_row *kernel = ladder->kernel;
    const struct candidate_row *row = &kernel->candidate;
    bool promoted = kernel->promotion.searched != 0;
    const struct score *first = promoted ? &kernel->promotion.score : &row->score;
    const char *none[] = {"promotion", "not tried", NULL, "it would not have been the best"};

    if (first->us > 0) {
        const char *cells[] = {"search", "measure", NULL, text_us(arena, first->us)};

        table_row(table, STYLE_PLAIN, cells);
    }
    add_rungs(arena, ladder, JUDGED_PROMOTION, table);
    if (promoted && row->score.us > 0) {
        const char *cells[] = {"promotion", "measure", NULL, text_us(arena, row->score.us)};

        table_row(table, STYLE_GOOD, cells);
    } else if (!promoted && row->verdict == VERDICT_PASS) {
        table_row(table, STYLE_PLAIN, none);
    }
}

static void heading(const char *text)
{
    printf("\n%s%s%s\n", style_on(stdout, STYLE_BOLD), text, style_off(stdout));
}

static void print_rungs(struct arena *arena, const struct ladder *ladder)
{
    static const char *const heads[] = {"judged by", "rung", "cases", "nearest case"};
    struct table *table = table_new(arena, "llrl", heads);
    const char *built[] = {"compiler", "build", NULL, ladder->is_built ? "built" : "refused"};

    table_row(table, ladder->is_built ? STYLE_PLAIN : STYLE_BAD, built);
    add_rungs(arena, ladder, JUDGED_SEARCH, table);
    add_times(arena, ladder, table);
    heading("the ladder");
    table_print(table, stdout);
}

static bool first_of_shape(const struct ladder *ladder, enum judged judged, int64_t at)
{
    const char *shape = shape_of(ladder->kernel, &ladder->judged[judged].cases[at]);

    for (int64_t i = 0; i < at; i++) {
        if (strcmp(shape_of(ladder->kernel, &ladder->judged[judged].cases[i]), shape) == 0) {
            return false;
        }
    }
    return true;
}

static void add_shape(struct arena *arena, const struct ladder *ladder, enum judged judged,
                      const char *shape, struct table *table)
{
    struct tally tally = {0};

    for (int64_t i = 0; i < ladder->judged[judged].count; i++) {
        const struct case_result *one = &ladder->judged[judged].cases[i];

        if (strcmp(shape_of(ladder->kernel, one), shape) == 0) {
            tally_add(&tally, one);
        }
    }
    const char *cells[] = {
        judged_names[judged],
        shape,
        count_text(arena, &tally),
        tally.nearest != NULL ? tally.nearest->family : NULL,
        tally.nearest != NULL ? arena_printf(arena, "%.3g", tally.nearest->error_max) : NULL,
        tally.nearest != NULL ? arena_printf(arena, "%.3g", tally.nearest->error_allowed) : NULL,
        tally.failed != NULL ? tally.failed->reason : NULL,
    };

    table_row(table, tally.failed != NULL ? STYLE_BAD : STYLE_PLAIN, cells);
}

static void print_shapes(struct arena *arena, const struct ladder *ladder)
{
    static const char *const heads[] = {"judged by", "shape", "cases", "nearest", "error",
                                        "allowed", "reason"};
    struct table *table = table_new(arena, "llrlrrl", heads);
    int64_t rows = 0;

    for (enum judged judged = 0; judged < JUDGED_COUNT; judged++) {
        for (int64_t i = 0; i < ladder->judged[judged].count; i++) {
            if (first_of_shape(ladder, judged, i)) {
                add_shape(arena, ladder, judged,
                          shape_of(ladder->kernel, &ladder->judged[judged].cases[i]), table);
                rows++;
            }
        }
    }
    if (rows > 0) {
        heading("the gate");
        table_print(table, stdout);
    }
}

void ladder_print(struct arena *arena, const struct ladder *ladder)
{
    if (ladder->kernel->candidate.state == CANDIDATE_DONE && !hash_is_zero(
            &ladder->kernel->candidate.source_hash)) {
        print_rungs(arena, ladder);
    }
    print_shapes(arena, ladder);
}

/* ---- as JSON ---- */

static json_t *worst_json(const struct case_result *one)
{
    return one->worst[0] < 0
               ? json_null()
               : json_pack("{s:[I,I,I,I], s:o, s:o}", "at", (json_int_t)one->worst[0],
                           (json_int_t)one->worst[1], (json_int_t)one->worst[2],
                           (json_int_t)one->worst[3], "expected", json_number(one->expected), "got",
                           json_number(one->got));
}

static json_t *case_json(const struct ladder *ladder, enum judged judged,
                         const struct case_result *one)
{
    char key[17];

    snprintf(key, sizeof key, "%016llx", (unsigned long long)one->seed);
    return json_pack("{s:s, s:s, s:o, s:s, s:o, s:s, s:o, s:o, s:o, s:I, s:I, s:o}", "judged_by",
                     judged_names[judged], "rung", rung_names[one->rung], "inputs",
                     json_text(one->family), "key", key, "problem",
                     json_text(shape_of(ladder->kernel, one)), "verdict",
                     verdict_names[one->verdict], "error_max", json_number(one->error_max),
                     "error_allowed", json_number(one->error_allowed), "worst", worst_json(one),
                     "rows_checked", (json_int_t)one->rows_checked, "rows_total",
                     (json_int_t)one->rows_total, "reason", json_text(one->reason));
}

json_t *ladder_cases_json(const struct ladder *ladder)
{
    json_t *list = json_array();

    for (enum judged judged = 0; judged < JUDGED_COUNT; judged++) {
        for (int64_t i = 0; i < ladder->judged[judged].count; i++) {
            json_array_append_new(list,
                                  case_json(ladder, judged, &ladder->judged[judged].cases[i]));
        }
    }
    return list;
}

json_t *ladder_failure_json(const struct ladder *ladder)
{
    enum judged judged;
    const struct case_result *one = failed_case(ladder, &judged);

    if (ladder->why[0] == '\0') {
        return json_null();
    }
    return json_pack("{s:o, s:o, s:o, s:o}", "why", json_text(ladder->why), "again",
                     json_text(ladder->again), "times_allowed",
                     one != NULL && excess(one) > 0 ? json_number(excess(one)) : json_null(),
                     "case", one != NULL ? case_json(ladder, judged, one) : json_null());
}
