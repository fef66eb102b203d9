#include <math.h>
#include <string.h>
#include <sys/random.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "daemon/exported.h"
#include "cli/text.h"
#include "daemon/sanitizer.h"
#include "daemon/shapes.h"
#include "daemon/trial.h"
#include "fitness/jitter.h"
#include "fitness/score.h"
#include "fitness/stats.h"
#include "fitness/verify.h"

enum {
    SEEDS_GPU = 10, /* of each input family, for each shape */
    SEEDS_EMULATED = VERIFY_SEEDS_MIN,
    DEADLINE_MS = 10 * 60 * 1000,
};

struct verification {
    struct exported exported;
    struct judge_job job;
    struct built built;
    struct hello judge;
    struct judge_result result;
    bool judged;
    int bar; /* the problem that is there for the historic hundred cases; -1: none */
    const char *unwatched; /* why no sanitizer's tool ran; NULL: they did, or nobody asked */
    int watched;           /* how many did */
    struct sanitizer_report reports[SANITIZER_TOOLS];
};

/* What everybody asked for first: a hundred cases of this, none off by 2e-3. */
static const char bar_shape[] = "1x8x512x64";

/* The declared shapes, and two the search never timed: a ragged tail, and less than one tile. */
static void add_shapes(struct verification *verification)
{
    const struct exported *exported = &verification->exported;
    struct judge_job *job = &verification->job;
    struct problem ragged = exported->problems[0], small = exported->problems[0];

    for (int i = 0; i < exported->problem_count; i++) {
        job->problems[job->problem_count++].problem = exported->problems[i];
    }
    ragged.q_len = ragged.q_len > 1 ? ragged.q_len - 1 : 1;
    ragged.kv_len = ragged.kv_len > 1 ? ragged.kv_len - 1 : 1;
    small.batch = 1;
    small.q_len = small.kv_len = 7;
    if (job->problem_count + 2 <= JOB_TIMED_MAX) {
        job->problems[job->problem_count++].problem = ragged;
        job->problems[job->problem_count++].problem = small;
    }
}

/* A shape that the program declares not to do is no fault of it unless the file names that shape.
 */
static bool drop_unsupported(struct cli *cli, struct verification *verification, struct err *err)
{
    struct judge_job *job = &verification->job;
    int kept = 0;

    for (int i = 0; i < job->problem_count; i++) {
        struct plan plan;
        bool supported = true, ok;

        ok = plan_resolve(cli->arena, &verification->exported.program, &job->problems[i].problem,
                          1, &plan, &supported, err);
        if (!ok && (supported || i < verification->exported.problem_count)) {
            return err_in(err, "%s", cli->operands[0]);
        }
        if (ok) {
            job->problems[kept++] = job->problems[i];
        }
    }
    job->problem_count = kept;
    return true;
}

/* A slow device judges large shapes less thoroughly, and small ones besides. */
static void choose_shapes(struct cli *cli, struct verification *verification)
{
    bool emulated = trial_is_emulated(cli->arena, cli_value(cli, "device"));
    struct hello hello = {.backend = emulated ? "emu" : "cuda"};
    struct shapes *shapes = arena_alloc(cli->arena, sizeof *shapes);
    struct judge_job *job = &verification->job;

    shapes->count = job->problem_count;
    for (int i = 0; i < job->problem_count; i++) {
        shapes->list[i].problem = job->problems[i].problem;
    }
    shapes_choose(shapes, &hello, NULL, 0);
    job->problem_count = shapes->count;
    for (int i = 0; i < shapes->count; i++) {
        job->problems[i].problem = shapes->list[i].problem;
        job->problems[i].use = shapes->list[i].use;
    }
}

/* A slow device cannot afford a hundred cases, and a program of another kind has no bar. */
static bool add_bar(struct cli *cli, struct verification *verification, struct err *err)
{
    bool emulated = trial_is_emulated(cli->arena, cli_value(cli, "device"));
    struct judge_job *job = &verification->job;
    struct problem bar;

    verification->bar = -1;
    if (!problem_parse(bar_shape, &bar, err)) {
        return false;
    }
    if (!problem_same_static(&bar, &verification->exported.problems[0]) ||
        job->problem_count == JOB_PROBLEMS_MAX || emulated) {
        return true;
    }
    verification->bar = job->problem_count;
    job->problems[job->problem_count].problem = bar;
    job->problems[job->problem_count++].use = USE_BAR;
    return true;
}

static bool compile(struct cli *cli, struct verification *verification, struct err *err)
{
    const struct exported *exported = &verification->exported;
    struct compile_job job = {
        .source = exported->source,
        .source_bytes = strlen(exported->source),
        .name = cli->operands[0],
        .arch = exported->arch,
        .entry_count = exported->program.kernel_count,
    };

    for (int i = 0; i < job.entry_count; i++) {
        job.entries[i] = exported->program.kernels[i].name;
    }
    if (trial_is_emulated(cli->arena, cli_value(cli, "device"))) {
        job.options[job.option_count++] = "-lineinfo";
    }
    return trial_compile(cli->arena, &job, &verification->built, err);
}

static bool judge(struct cli *cli, struct verification *verification, struct err *err)
{
    struct judge_job *job = &verification->job;
    const struct built *built = &verification->built;

    job->genes = "";
    job->image_count = 1;
    job->images[0] = (struct judge_image){
        .cubin = built->cubin, .cubin_bytes = built->cubin_bytes, .ptx = built->ptx,
        .ptx_bytes = built->ptx_bytes, .code_key = built->code_key,
        .program = verification->exported.program};
    job->effort = EFFORT_PROMOTE;
    job->cases_per_family = trial_is_emulated(cli->arena, cli_value(cli, "device"))
                                ? SEEDS_EMULATED
                                : SEEDS_GPU;
    job->want_samples = true;
    if (getrandom(&job->secret, sizeof job->secret, 0) != (ssize_t)sizeof job->secret) {
        return err_sys(err, "cannot draw a secret");
    }
    verification->judged = true;
    return trial_judge(cli->arena, cli_value(cli, "device"), job, DEADLINE_MS,
                       &verification->judge, &verification->result, err);
}

static bool passed(const struct verification *verification)
{
    return verification->judged && verification->result.verdict == VERDICT_PASS;
}

static int64_t sanitizer_errors(const struct verification *verification)
{
    int64_t errors = 0;

    for (int i = 0; i < verification->watched; i++) {
        errors += verification->reports[i].errors;
    }
    return errors;
}

/*
 * Small shapes, which a tool is through with in seconds: ragged, of whole tiles, and less than one.
 * Not the file's own: a call under the sanitizer takes a hundred times as long.
 */
static void watch_shapes(const struct problem *like, struct judge_job *job)
{
    static const struct {
        int64_t q_len, kv_len;
    } lengths[] = {{70, 150}, {64, 128}, {7, 7}};

    job->problem_count = 0;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct problem *small = &job->problems[job->problem_count].problem;

        *small = *like;
        small->batch = small->kv_heads = 1;
        small->heads = like->heads / like->kv_heads < 2 ? 1 : 2;
        small->q_len = lengths[i].q_len;
        small->kv_len = lengths[i].kv_len;
        job->problems[job->problem_count++].use = USE_GATE; /* if it supports it */
    }
}

static bool watch(struct cli *cli, struct verification *verification, struct err *err)
{
    struct judge_job *job = arena_copy(cli->arena, &verification->job, sizeof *job);
    const char *sanitizer = sanitizer_find(cli->arena);

    if (trial_is_emulated(cli->arena, cli_value(cli, "device"))) {
        verification->unwatched = "the emulated device watches every access by itself";
    } else if (sanitizer == NULL) {
        verification->unwatched = "compute-sanitizer is not installed here (it comes with the "
                                  "CUDA toolkit; EVO_SANITIZER names it elsewhere)";
    }
    if (verification->unwatched != NULL) {
        return true;
    }
    watch_shapes(&verification->exported.problems[0], job);
    job->effort = EFFORT_CORRECT;
    job->cases_per_family = 1;
    for (int i = 0; i < SANITIZER_TOOLS; i++) {
        if (!sanitizer_run(cli->arena, sanitizer, sanitizer_tools[i], cli_value(cli, "device"),
                           job, DEADLINE_MS, &verification->reports[i], err)) {
            return false;
        }
        verification->watched++;
    }
    return true;
}

/* Why a rung of one shape failed; "" when it did not. */
static const char *reason_of(const struct judge_result *result, enum rung rung, int problem)
{
    for (int i = 0; i < result->case_count; i++) {
        const struct case_result *one = &result->cases[i];

        if (one->problem == problem && one->rung == rung && one->verdict != VERDICT_PASS) {
            return one->reason;
        }
    }
    return "";
}

static void print_line(bool ok, const char *rung, const char *text)
{
    printf("%s%s%s %-8s %s\n", style_on(stdout, ok ? STYLE_GOOD : STYLE_BAD),
           ok ? "\u2713" : "\u2717", style_off(stdout), rung, text);
}

static void print_build(struct cli *cli, const struct verification *verification)
{
    const struct built *built = &verification->built;
    bool ok = built->verdict == VERDICT_NONE;
    const struct entry_facts *entry = &built->entries[0];

    print_line(ok, "build",
               ok ? arena_printf(cli->arena,
                                 "%s: %lld registers, %lld bytes spilled, %.0f ms%s%s",
                                 verification->exported.arch, (long long)entry->registers,
                                 (long long)entry->spill_store_bytes, built->compile_ms,
                                 *built->warnings ? "; " : "", built->warnings)
                  : arena_printf(cli->arena, "%s: %s", verdict_names[built->verdict],
                                 built->reason));
}

static const char *time_text(struct arena *arena, const char *shape, const struct timing *timing,
                             const struct score *score)
{
    if (timing->graph_count == 0) { /* one clock, and that is a model's */
        return arena_printf(arena, "%s: %s, modelled", shape, text_us(arena, score->us));
    }
    return arena_printf(arena, "%s: %s %s, %d samples; %s by graph", shape,
                        text_us(arena, score->us), text_interval(arena, score), timing->span_count,
                        text_us(arena, stats_quantile(timing->graph_us, timing->graph_count, 0.5)));
}

/* A rung of one shape in numbers, and why it failed. */
static const char *rung_text(struct arena *arena, const struct verification *verification,
                             enum rung rung, int problem)
{
    const struct rung_tally *tally = &verification->result.tallies[problem][rung];
    const char *reason = reason_of(&verification->result, rung, problem), *text;
    char shape[PROBLEM_TEXT_MAX];

    problem_text(&verification->job.problems[problem].problem, shape);
    text = arena_printf(arena, "%s: %lld/%lld", shape, (long long)tally->passed,
                        (long long)tally->total);
    if (problem == verification->bar) {
        text = arena_printf(arena, "%s cases, max |diff| %s 2e-3 (%.3g)", text,
                            tally->error_max < tally->error_allowed ? "<" : "above",
                            tally->error_max);
    } else if (rung == RUNG_RACE && tally->passed == tally->total) {
        text = arena_printf(arena, "%s, the same bits under %d jitters", text, JITTERS);
    } else if (!isnan(tally->error_max)) {
        text = arena_printf(arena, "%s cases, max |diff| %.3g (allowed %.3g)", text,
                            tally->error_max, tally->error_allowed);
    }
    return *reason != '\0' ? arena_printf(arena, "%s; %s", text, reason) : text;
}

static void print_shape(struct cli *cli, const struct verification *verification, int problem)
{
    const struct judge_result *result = &verification->result;
    char shape[PROBLEM_TEXT_MAX];

    problem_text(&verification->job.problems[problem].problem, shape);
    for (enum rung rung = RUNG_LAUNCH; rung < RUNG_COUNT; rung++) {
        const struct rung_tally *tally = &result->tallies[problem][rung];

        const char *text = rung_text(cli->arena, verification, rung, problem);

        if (tally->total > tally->passed && passed(verification)) { /* nobody's fault */
            printf("\u2013 %-8s %s\n", rung_names[rung], text);
        } else if (tally->total > 0) {
            print_line(tally->passed == tally->total, rung_names[rung], text);
        }
    }
    for (int i = 0; i < result->timing_count; i++) {
        const struct timing *timing = &result->timings[i];
        struct score score;

        if (timing->problem == problem &&
            score_of_timing(timing, &score)) {
            print_line(true, "time",
                       time_text(cli->arena, shape, timing, &score));
        }
    }
}

static void print_watched(struct cli *cli, const struct verification *verification)
{
    if (verification->unwatched != NULL) {
        printf("\u2013 sanitize %s\n", verification->unwatched);
    }
    for (int i = 0; i < verification->watched; i++) {
        const struct sanitizer_report *report = &verification->reports[i];
        const char *text = arena_printf(cli->arena, "%s: %lld errors%s%s", sanitizer_tools[i],
                                        (long long)report->errors, *report->text ? "; " : "",
                                        report->text);

        if (report->ran || report->errors > 0) {
            print_line(report->errors == 0, "sanitize", text);
        } else {
            printf("\u2013 sanitize %s could not run: %s\n", sanitizer_tools[i], report->text);
        }
    }
}

static void print_text(struct cli *cli, const struct verification *verification)
{
    print_build(cli, verification);
    for (int i = 0; verification->judged && i < verification->job.problem_count; i++) {
        print_shape(cli, verification, i);
    }
    print_watched(cli, verification);
    if (passed(verification) && sanitizer_errors(verification) > 0) {
        print_line(false, "sanitize", "its output is right, but compute-sanitizer objects");
    } else if (passed(verification)) {
        print_line(true, "pass", arena_printf(cli->arena, "on %s", verification->judge.device));
    } else if (verification->judged) {
        print_line(false, verdict_names[verification->result.verdict],
                   verification->result.reason);
    }
}

static json_t *json_rungs(const struct verification *verification)
{
    json_t *rungs = json_array();

    for (int problem = 0; problem < verification->job.problem_count; problem++) {
        for (int rung = 0; rung < RUNG_COUNT; rung++) {
            const struct rung_tally *tally = &verification->result.tallies[problem][rung];
            char shape[PROBLEM_TEXT_MAX];

            if (tally->total > 0) {
                problem_text(&verification->job.problems[problem].problem, shape);
                json_array_append_new(
                    rungs, json_pack("{s:s, s:s, s:I, s:I, s:o, s:o}", "problem", shape, "rung",
                                     rung_names[rung], "passed", (json_int_t)tally->passed, "total",
                                     (json_int_t)tally->total, "error",
                                     json_number(tally->error_max), "allowed",
                                     json_number(tally->error_allowed)));
            }
        }
    }
    return rungs;
}

/* null: nobody asked, or why they did not run. */
static json_t *json_watched(const struct verification *verification)
{
    json_t *tools = json_array();

    for (int i = 0; i < verification->watched; i++) {
        const struct sanitizer_report *report = &verification->reports[i];

        json_array_append_new(tools, json_pack("{s:s, s:b, s:I, s:o}", "tool", sanitizer_tools[i],
                                               "ran", report->ran, "errors",
                                               (json_int_t)report->errors, "text",
                                               json_text(report->text)));
    }
    if (verification->watched > 0) {
        return tools;
    }
    json_decref(tools);
    return verification->unwatched != NULL ? json_text(verification->unwatched) : json_null();
}

static bool print_json(const struct verification *verification, struct err *err)
{
    const struct judge_result *result = &verification->result;
    const struct built *built = &verification->built;
    json_t *cases = json_array(), *times = json_array();

    for (int i = 0; i < result->case_count; i++) {
        const struct case_result *one = &result->cases[i];
        char shape[PROBLEM_TEXT_MAX] = "";

        if (one->problem >= 0) {
            problem_text(&verification->job.problems[one->problem].problem, shape);
        }
        json_array_append_new(
            cases, json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:s}", "problem", shape, "rung",
                             rung_names[one->rung], "inputs", one->family, "verdict",
                             verdict_names[one->verdict], "error", json_number(one->error_max),
                             "allowed", json_number(one->error_allowed), "reason", one->reason));
    }
    for (int i = 0; i < result->timing_count; i++) {
        const struct timing *timing = &result->timings[i];
        char shape[PROBLEM_TEXT_MAX];
        struct score score;

        problem_text(&verification->job.problems[timing->problem].problem, shape);
        if (score_of_timing(timing, &score)) {
            json_array_append_new(times, json_pack("{s:s, s:o, s:i}", "problem", shape, "score",
                                                   json_score(&score), "samples",
                                                   timing->span_count));
        }
    }
    return cli_json(json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "verdict",
                              verdict_names[verification->judged ? result->verdict
                                                                 : built->verdict],
                              "reason", verification->judged ? result->reason : built->reason,
                              "device", verification->judged ? verification->judge.device : "",
                              "rungs", json_rungs(verification), "cases", cases, "times", times,
                              "sanitizer", json_watched(verification)),
                    err);
}

static bool body(struct cli *cli, struct err *err)
{
    struct verification *verification = arena_alloc(cli->arena, sizeof *verification);

    if (!exported_load(cli->arena, cli->operands[0], cli_value(cli, "genes"),
                       &verification->exported, err)) {
        return false;
    }
    add_shapes(verification);
    if (!drop_unsupported(cli, verification, err)) {
        return false;
    }
    choose_shapes(cli, verification);
    if (!add_bar(cli, verification, err)) {
        return false;
    }
    if (!compile(cli, verification, err)) {
        return false;
    }
    if (verification->built.verdict == VERDICT_NONE && !judge(cli, verification, err)) {
        return false;
    }
    if (verification->judged && cli_has(cli, "sanitizer") && !watch(cli, verification, err)) {
        return false;
    }
    cli->exit_code =
        passed(verification) && sanitizer_errors(verification) == 0 ? EXIT_OK : EXIT_NO;
    if (cli_has(cli, "json")) {
        return print_json(verification, err);
    }
    print_text(cli, verification);
    return true;
}

int cmd_verify(int argc, char **argv) { return cli_run(argc, argv, body); }
