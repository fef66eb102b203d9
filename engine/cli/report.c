#include "cli/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cli/column.h"
#include "cli/limits.h"
#include "cli/source.h"
#include "cli/text.h"

enum {
    FORMAT = 2, /* of the data */
    PIECE = 20000,
    KERNELS_MAX = 60, /* told with times and genes */
    WHOLE_MAX = 10,   /* with source and metrics as well, as are their first parents */
    EVENTS_MAX = 200,
    STRIP_MAX = 400, /* readings of the device over time */
    DESCENT_MAX = 1000,
};

static json_t *json_shares(const struct share *shares, int count)
{
    json_t *list = json_array();

    for (int i = 0; i < count; i++) {
        json_array_append_new(
            list, json_pack("{s:o, s:I, s:I, s:I, s:I, s:o}", "name", json_text(shares[i].name),
                            "tried", (json_int_t)shares[i].tried, "passed",
                            (json_int_t)shares[i].passed, "aliases", (json_int_t)shares[i].aliases,
                            "improved", (json_int_t)shares[i].improved, "best_us",
                            json_number(shares[i].best_us > 0 ? shares[i].best_us : NAN)));
    }
    return list;
}

static json_t *json_improvements(const struct chronicle *c)
{
    json_t *list = json_array();

    for (int64_t i = 0; i < c->improvement_count; i++) {
        const struct improvement *one = &c->improvements[i];

        json_array_append_new(
            list,
            json_pack("{s:I, s:I, s:I, s:I, s:i, s:f, s:f, s:f, s:o, s:o}", "place",
                      (json_int_t)one->place, "parent", (json_int_t)one->parent, "evaluation",
                      (json_int_t)one->evaluation, "at", (json_int_t)one->at, "numerics",
                      one->numerics, "us", one->us, "low", one->low, "high", one->high, "family",
                      json_text(one->family), "operator", json_text(one->operator_name)));
    }
    return list;
}

static json_t *json_funnel(const struct chronicle *c)
{
    json_t *list = json_array();

    for (enum funnel rung = 0; rung < FUNNEL_RUNGS; rung++) {
        json_array_append_new(list, json_pack("{s:s, s:I}", "rung", funnel_names[rung], "count",
                                              (json_int_t)c->funnel[rung]));
    }
    return list;
}

/* Kernels ------------------------------------------------------------------------------------- */

static json_t *json_problems(const struct kernel_row *kernel)
{
    json_t *list = json_array();

    for (int i = 0; i < kernel->problem_count; i++) {
        struct problem problem;
        struct err ignored;
        bool known = problem_parse(kernel->problems[i].problem, &problem, &ignored);

        json_array_append_new(list,
                              json_pack("{s:o, s:o, s:o, s:b, s:o, s:o}", "problem",
                                        json_text(kernel->problems[i].problem), "score",
                                        json_score(&kernel->problems[i].score), "graph_us",
                                        json_number(kernel->problems[i].graph_us), "quick",
                                        kernel->problems[i].quick, "flops",
                                        json_number(known ? problem_flops(&problem) : NAN), "bytes",
                                        json_number(known ? problem_bytes(&problem) : NAN)));
    }
    return list;
}

/* What a report is made from, and what its kernels share. */
struct making {
    struct store *store;
    struct arena *arena;
    int64_t run;
    struct recalled *recalled; /* NULL: no sources */
    json_t *lines;             /* those of all sources, each once */
    json_t *line_rows;         /* by text: its row there */
};

/*
 * Each metric as [name, problem, value], and why when there is no value; a name that the table of
 * metrics has by its number there.
 */
static json_t *json_metrics(const struct metric_value *metrics, int64_t count)
{
    json_t *list = json_array();

    for (int64_t i = 0; i < count; i++) {
        enum metric known = metric_find(metrics[i].name);
        json_t *one = json_pack(
            "[o, i, o]", known < METRIC_COUNT ? json_integer(known) : json_text(metrics[i].name),
            metrics[i].problem, json_number(metrics[i].value));

        if (isnan(metrics[i].value)) {
            json_array_append_new(one, json_text(metrics[i].reason));
        }
        json_array_append_new(list, one);
    }
    return list;
}

static json_t *json_metric_names(void)
{
    json_t *names = json_array();

    for (int i = 0; i < METRIC_COUNT; i++) {
        json_array_append_new(names, json_pack("[s, s, s]", metric_table[i].name,
                                               metric_table[i].unit, metric_table[i].doc));
    }
    return names;
}

/*
 * A candidate's source as rows of `lines`: sources are a hundred kilobytes each and differ little.
 * A recording's candidates have none.
 */
static json_t *json_source(struct making *making, const struct candidate_row *row)
{
    struct buf rows = {0};
    const char *source;
    struct err ignored;

    if (making->recalled == NULL ||
        !source_render(making->arena, making->store, row, 0, making->recalled, &source, &ignored)) {
        return json_null();
    }
    while (*source != '\0') {
        size_t length = strcspn(source, "\n");
        const char *line = arena_text(making->arena, source, length);
        json_t *known = json_object_get(making->line_rows, line);

        if (known == NULL) {
            known = json_integer((json_int_t)json_array_size(making->lines));
            json_object_set_new(making->line_rows, line, known);
            json_array_append_new(making->lines, json_text(line));
        }
        column_add(&rows, (uint32_t)json_integer_value(known));
        source += length + (source[length] == '\n');
    }
    return column_json(&rows);
}

/* With `whole`: source, metrics and what limits it. */
static bool json_kernel(struct making *making, const struct kernel_row *kernel, bool whole,
                        json_t **value, struct err *err)
{
    const struct candidate_row *row = &kernel->candidate;
    struct metric_value *metrics = NULL;
    struct limits *limits = arena_alloc(making->arena, sizeof *limits); /* zeroed: none */
    int64_t count = 0;

    if (whole && row->judgement != 0 &&
        !query_metrics(making->store, making->arena, row->judgement, &metrics, &count, err)) {
        return false;
    }
    if (whole && !limits_find(making->store, making->arena, kernel, metrics, count, limits, err)) {
        return false;
    }
    *value = json_candidate(row);
    json_object_set_new(*value, "device", json_text(kernel->device));
    json_object_set_new(
        *value, "gain",
        json_number(kernel->gain_over_founder > 0 ? kernel->gain_over_founder : NAN));
    json_object_set_new(*value, "registers", json_integer(kernel->registers));
    json_object_set_new(*value, "spill_bytes", json_integer(kernel->spill_bytes));
    json_object_set_new(*value, "smem_bytes", json_integer(kernel->smem_bytes));
    json_object_set_new(
        *value, "tflops",
        json_number(row->score.us > 0 ? kernel_flops(kernel) / row->score.us * 1e-6 : NAN));
    json_object_set_new(*value, "promoted", json_promotion(&kernel->promotion));
    json_object_set_new(*value, "problems", json_problems(kernel));
    json_object_set_new(*value, "rivals", json_rivals(kernel));
    json_object_set_new(*value, "metrics", whole ? json_metrics(metrics, count) : json_null());
    json_object_set_new(*value, "limits", limits_json(limits));
    json_object_set_new(*value, "source", whole ? json_source(making, row) : json_null());
    return true;
}

/* The first parent of one that is told whole, told whole too; once. */
static bool add_parent(struct making *making, int64_t place, json_t *parents, struct err *err)
{
    const char *key = arena_printf(making->arena, "%lld", (long long)place);
    struct kernel_row *parent = arena_alloc(making->arena, sizeof *parent);
    json_t *value;
    bool found;

    if (json_object_get(parents, key) != NULL) {
        return true;
    }
    if (!query_kernel(making->store, making->arena, making->run, place, parent, &found, err) ||
        (found && !json_kernel(making, parent, true, &value, err))) {
        return false;
    }
    if (found) {
        json_object_set_new(parents, key, value);
    }
    return true;
}

/* The fastest of each class, those of them that are told whole first. */
static bool add_kernels(struct making *making, json_t *report, struct err *err)
{
    struct best_filter filter = {.run = making->run, .numerics = -1, .limit = KERNELS_MAX / 2};
    json_t *kernels = json_array(), *parents = json_object();
    struct kernel_row *rows;
    int64_t count;

    json_object_set_new(report, "kernels", kernels);
    json_object_set_new(report, "parents", parents);
    json_object_set_new(report, "lines", making->lines);
    if (!query_best(making->store, making->arena, &filter, &rows, &count, err)) {
        return false;
    }
    for (int64_t i = 0; i < count; i++) {
        const struct candidate_row *row = &rows[i].candidate;
        bool whole = i < WHOLE_MAX;
        json_t *value;

        if (!json_kernel(making, &rows[i], whole, &value, err)) {
            return false;
        }
        json_array_append_new(kernels, value);
        if (whole && row->parent_count > 0 && !add_parent(making, row->parents[0], parents, err)) {
            return false;
        }
    }
    return true;
}

/* What the device could do at most: the roofs above its kernels. */
static bool add_ceilings(struct making *making, json_t *report, struct err *err)
{
    json_t *kernels = json_object_get(report, "kernels"), *roofs = json_array();
    const char *device = json_string_value(json_object_get(json_array_get(kernels, 0), "device"));
    struct ceilings *ceilings = arena_alloc(making->arena, sizeof *ceilings);
    bool known = false;

    json_object_set_new(report, "ceilings", roofs);
    if (device != NULL && !limits_ceilings(making->store, making->arena, making->run, device,
                                           ceilings, &known, err)) {
        return false;
    }
    for (int i = 0; known && i < CEILINGS; i++) {
        if (!isnan(ceilings->value[i])) {
            json_array_append_new(roofs,
                                  json_pack("{s:s, s:f, s:s, s:s, s:b}", "name",
                                            ceiling_table[i].name, "value", ceilings->value[i],
                                            "unit", ceiling_units[ceiling_table[i].kind], "doc",
                                            ceiling_table[i].doc, "modelled", ceilings->modelled));
        }
    }
    return true;
}

/* A step of the way to the best: the winner's first parents, and who else gave genes to them. */
static json_t *json_step(const struct candidate_row *row)
{
    json_t *parents = json_array();

    for (int i = 0; i < row->parent_count; i++) {
        json_array_append_new(parents, json_integer(row->parents[i]));
    }
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o}", "place", (json_int_t)row->place, "family",
                     json_text(row->family), "genes", json_genes(row->genes), "operator",
                     json_text(row->operator_name), "parents", parents, "score",
                     json_score(&row->score));
}

static bool json_lineage(struct store *store, struct arena *arena, int64_t run, int64_t place,
                         json_t **lineage, struct err *err)
{
    struct candidate_row *rows;
    int64_t count;

    *lineage = json_array();
    if (place < 0) {
        return true;
    }
    if (!query_descent(store, arena, run, place, DESCENT_MAX, &rows, &count, err)) {
        return false;
    }
    for (int64_t i = 0; i < count; i++) {
        json_array_append_new(*lineage, json_step(&rows[i]));
    }
    return true;
}

/* The run ------------------------------------------------------------------------------------- */

static json_t *json_run(const struct status_row *row)
{
    const struct run_row *run = &row->run;
    json_t *value = json_object(), *verdicts = json_object();
    const struct {
        const char *name, *text;
    } texts[] = {{"name", run->name},
                 {"seed_path", run->seed_path},
                 {"seed", run->seed_text},
                 {"strategy", run->strategy},
                 {"evo", run->evo_version},
                 {"device", row->device},
                 {"backend", row->backend},
                 {"state", run->state == RUN_FINISHED ? "ended" : "open"},
                 {"ended_because", run->ended_because}};
    const struct {
        const char *name;
        int64_t number;
    } numbers[] = {{"id", run->id},
                   {"created_at", run->created_at},
                   {"elapsed_ms", run->elapsed_ms},
                   {"budget_evaluations", run->budget_evaluations},
                   {"budget_wall_ms", run->budget_wall_ms},
                   {"budget_device_ms", run->budget_device_ms},
                   {"device_ms", (int64_t)run->device_ms},
                   {"proposed", row->proposed},
                   {"finished", row->finished},
                   {"passed", row->passed},
                   {"aliases", row->aliases},
                   {"best_place", row->best_place},
                   {"best_evaluation", row->best_evaluation}};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        json_object_set_new(value, texts[i].name, json_text(texts[i].text));
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        json_object_set_new(value, numbers[i].name, json_integer(numbers[i].number));
    }
    for (int i = VERDICT_NONE + 1; i < VERDICT_COUNT; i++) {
        json_object_set_new(verdicts, verdict_names[i], json_integer(row->by_verdict[i]));
    }
    json_object_set_new(value, "verdicts", verdicts);
    json_object_set_new(value, "best", json_score(&row->best));
    json_object_set_new(value, "founder", json_score(&row->founder));
    return value;
}

static bool json_events(struct store *store, struct arena *arena, int64_t run, json_t **events,
                        struct err *err)
{
    struct event_row *rows;
    int64_t count;

    *events = json_array();
    if (!query_events(store, arena, run, EVENTS_MAX, &rows, &count, err)) {
        return false;
    }
    for (int64_t i = 0; i < count; i++) {
        json_array_append_new(*events,
                              json_pack("{s:I, s:o, s:o}", "at", (json_int_t)rows[i].at, "kind",
                                        json_text(rows[i].kind), "text", json_text(rows[i].text)));
    }
    return true;
}

static void strip_add(void *context, const struct strip_row *row)
{
    json_array_append_new(context, json_pack("[I, o, o, o, o]", (json_int_t)row->at,
                                             json_number(row->state.sm_clock_mhz),
                                             json_number(row->state.power_w),
                                             json_number(row->state.temperature_c),
                                             json_number(row->state.throttle_reasons)));
}

static bool fill(struct making *making, const struct status_row *status,
                 struct collector *collector, json_t *report, struct err *err)
{
    const struct chronicle *c = collector_chronicle(collector);
    struct store *store = making->store;
    json_t *strip = json_array(), *lineage, *events;

    json_object_set_new(report, "strip", strip);
    if (!query_device_strip(store, making->run, STRIP_MAX, strip_add, strip, err)) {
        return false;
    }
    json_object_set_new(report, "run", json_run(status));
    json_object_set_new(report, "funnel", json_funnel(c));
    json_object_set_new(report, "operators", json_shares(c->operators, c->operator_count));
    json_object_set_new(report, "families", json_shares(c->families, c->family_count));
    json_object_set_new(report, "islands", json_shares(c->islands, c->island_count));
    json_object_set_new(report, "improvements", json_improvements(c));
    json_object_set_new(report, "heat", collector_heat(collector));
    json_object_set_new(report, "story", collector_story(collector));
    if (!add_kernels(making, report, err) || !add_ceilings(making, report, err) ||
        !json_lineage(store, making->arena, making->run, status->best_place, &lineage, err)) {
        return false;
    }
    json_object_set_new(report, "lineage", lineage);
    if (!json_events(store, making->arena, making->run, &events, err)) {
        return false;
    }
    json_object_set_new(report, "events", events);
    return true;
}

static json_t *json_verdicts(void)
{
    json_t *verdicts = json_array();

    for (int i = 0; i < VERDICT_COUNT; i++) {
        json_array_append_new(verdicts, json_string(verdict_names[i]));
    }
    return verdicts;
}

json_t *report_json(struct store *store, struct arena *arena, const struct status_row *status,
                    struct collector *collector, struct err *err)
{
    struct making making = {.store = store,
                            .arena = arena,
                            .run = status->run.id,
                            .lines = json_array(),
                            .line_rows = json_object()};
    struct recalled recalled;
    struct err ignored;
    json_t *report = json_pack("{s:i, s:o, s:o}", "format", FORMAT, "verdicts", json_verdicts(),
                               "metrics", json_metric_names());
    bool ok;

    making.recalled =
        source_recall(arena, store, making.run, &recalled, &ignored) ? &recalled : NULL;
    ok = fill(&making, status, collector, report, err);
    json_decref(making.line_rows);
    if (!ok) {
        json_decref(report);
        return NULL;
    }
    return report;
}

json_t *report_of_run(struct store *store, struct arena *arena, int64_t run, struct err *err)
{
    struct collector *collector;
    struct status_row status;
    json_t *report = NULL;
    bool found, behind = true;

    if (!query_status(store, arena, run, &status, &found, err)) {
        return NULL;
    }
    if (!found) {
        err_set(err, ERR_USER, "the database holds no such run");
        return NULL;
    }
    collector = collector_new(status.run.id);
    while (behind && collector_advance(collector, store, PIECE, &behind, err)) {
    }
    if (!behind) {
        report = report_json(store, arena, &status, collector, err);
    }
    collector_free(collector);
    return report;
}
