/*
 * How the best of a run fares against what users would otherwise call. Beside the search, like the
 * audit: it has no attempts, blames nobody, and nothing of the search reads what it finds.
 */
#include "daemon/engine_state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/str.h"
#include "daemon/exported.h"
#include "daemon/torch.h"
#include "db/query.h"

enum {
    SHARE = 10,             /* one of so many milliseconds is for duels while the search has work */
    CAP_MS = 500,           /* of device time, for each clock and duel */
    CASES_PER_FAMILY = 3,   /* of the gate, where it is cheap; ours was judged twice before */
    CASES_BELOW_GFLOP = 20,
    REFUSALS_MAX = 2, /* before a library that was never timed is given up */
    THROTTLE_POWER = 0x4,
};

/* ---- what is due ---- */

void engine_rivals_take(struct engine *engine, int numerics, int64_t place, int64_t judgement,
                        const struct genome *genome)
{
    engine->rivalry.of[numerics] =
        (struct rival_match){.place = place, .judgement = judgement, .genome = *genome};
}

/* A library that never was to be had is asked twice only, until evo is started again. */
static bool is_given_up(const struct engine *engine, int rival)
{
    const struct rivalry *rivalry = &engine->rivalry;

    return rivalry->failed[rival] ||
           (!rivalry->timed[rival] && rivalry->refusals[rival] >= REFUSALS_MAX);
}

/* Rows of an earlier incarnation, or of the same program in an earlier run, count. */
static bool learn_rows(struct engine *engine, struct rival_match *match, struct err *err)
{
    struct duel_row *rows;
    int64_t count;

    if (match->known) {
        return true;
    }
    if (!query_duels(engine->store, engine->round, match->judgement, &rows, &count, err)) {
        return false;
    }
    for (int64_t i = 0; i < count; i++) {
        for (int r = 0; r < engine->setup.seed.rival_count; r++) {
            if (strcmp(rows[i].rival, engine->setup.seed.rivals[r]) == 0 &&
                rows[i].problem < SEED_PROBLEMS_MAX) {
                match->done[r][rows[i].problem] = true;
            }
        }
    }
    match->known = true;
    return true;
}

/* PyTorch's process wants the device for itself, a file is good for some shapes. */
static bool may_meet(const struct engine *engine, int rival, int problem)
{
    const struct exported *file = engine->setup.rivals[rival];

    return (engine->rivalry.last || !torch_is(engine->setup.seed.rivals[rival])) &&
           (file == NULL || exported_serves(file, &engine->space.problems[problem].problem));
}

static bool find_due(struct engine *engine, struct rival_due *due, bool *found, struct err *err)
{
    *found = false;
    if (engine->emulated) { /* it runs no library, and its times are a model's */
        return true;
    }
    for (int c = 0; c < POPULATION_CLASSES; c++) {
        struct rival_match *match = &engine->rivalry.of[c];

        if (match->judgement == 0 ||
            engine->setup.families[match->genome.family]->text == NULL) {
            continue;
        }
        if (!learn_rows(engine, match, err)) {
            return false;
        }
        for (int r = 0; r < engine->setup.seed.rival_count; r++) {
            for (int p = 0; p < engine->space.problem_count && !is_given_up(engine, r); p++) {
                if (!match->done[r][p] && may_meet(engine, r, p)) {
                    *due = (struct rival_due){match->place, match->judgement, c, r, p};
                    *found = true;
                    return true;
                }
            }
        }
    }
    return true;
}

bool engine_rivals_left(struct engine *engine, bool *left, struct err *err)
{
    struct rival_due due;

    engine->rivalry.last = true;
    if (engine->rivalry.at_work) {
        *left = true;
        return true;
    }
    return find_due(engine, &due, left, err);
}

bool engine_rivals_build(struct engine *engine, struct err *err)
{
    const struct seed *seed = &engine->setup.seed;

    for (int i = 0; i < seed->rival_count && !engine->emulated; i++) {
        struct judge_image *image;

        if (engine->setup.rivals[i] == NULL) {
            continue;
        }
        image = arena_alloc(engine->arena, sizeof *image);
        if (!exported_build(engine->arena, seed->rivals[i], engine->setup.rivals[i], image, err)) {
            return err_in(err, "%s:%d:%d", seed->path, seed->rival_at[i].line,
                          seed->rival_at[i].column);
        }
        engine->rivalry.files[i] = image;
    }
    return true;
}

/* ---- the job ---- */

/* Our side: its code was kept when it became the best, its launches are rendered again. */
static bool fill_ours(struct engine *engine, const struct rival_due *due, struct duel_side *side,
                      struct err *err)
{
    const struct rival_match *match = &engine->rivalry.of[due->numerics];
    const struct family *family = engine->setup.families[match->genome.family];
    int image = engine->space.problems[due->problem].image;
    int64_t values[FAMILY_SYMBOLS_MAX], count;
    struct build_facts *builds;

    if (!query_builds(engine->store, engine->round, engine->run.id, due->place, &builds, &count,
                      err)) {
        return false;
    }
    if (image >= count || builds[image].cubin == NULL) {
        return err_set(err, ERR_SYSTEM, "n%lld is the best, but its code was not kept",
                       (long long)due->place);
    }
    family_feasible(family, &match->genome, &engine->space.statics[image].givens, values, NULL);
    side->rival = "";
    side->image = (struct judge_image){
        .cubin = builds[image].cubin,
        .cubin_bytes = builds[image].cubin_bytes,
        .ptx = builds[image].ptx,
        .ptx_bytes = builds[image].ptx_bytes,
        .code_key = builds[image].code_key,
    };
    return family_program(engine->round, family, values, &side->image.program, err);
}

/* Beside PyTorch ours is timed against itself: the rest is torch_duel's. */
static void fill_theirs(const struct engine *engine, const struct rival_due *due,
                        struct duel_job *job)
{
    const char *name = engine->setup.seed.rivals[due->rival];
    const struct judge_image *file = engine->rivalry.files[due->rival];

    job->sides[1].rival = "";
    if (file != NULL) {
        job->sides[1].image = *file;
    } else if (torch_is(name)) {
        job->sides[1] = job->sides[0];
    } else {
        job->sides[1].rival = name;
    }
}

bool engine_fill_duel(struct engine *engine, int64_t id, struct message **message,
                      struct err *err)
{
    struct rivalry *rivalry = &engine->rivalry;
    struct duel_job *job = arena_alloc(engine->round, sizeof *job);
    const struct rival_due *due = &rivalry->due;
    bool found;

    *message = NULL;
    if (rivalry->at_work || !find_due(engine, &rivalry->due, &found, err)) {
        return rivalry->at_work;
    }
    if (!found) {
        return true;
    }
    job->id = id;
    job->problem = engine->space.problems[due->problem].problem;
    job->cap_ms = CAP_MS;
    job->cases_per_family =
        problem_flops(&job->problem) < CASES_BELOW_GFLOP * 1e9 ? CASES_PER_FAMILY : 0;
    if (getrandom(&job->secret, sizeof job->secret, 0) != (ssize_t)sizeof job->secret) {
        return err_sys(err, "cannot draw a secret");
    }
    if (!fill_ours(engine, due, &job->sides[0], err)) {
        return false;
    }
    fill_theirs(engine, due, job);
    rivalry->at_work = true;
    rivalry->begun_ms = clock_now_ms();
    *message = duel_encode(engine->round, job);
    FAULT("rivals.dispatched");
    return true;
}

bool engine_rivals_may(const struct engine *engine, int64_t elapsed_ms)
{
    return engine->setup.seed.rival_count > 0 &&
           engine->rivalry.spent_ms * SHARE <= elapsed_ms;
}

/* ---- the answer ---- */

/* The GPU of our judges as PyTorch numbers it; -1: theirs may be on any machine. */
static int gpu_of(const struct engine *engine)
{
    const char *spec = engine->setup.device_spec;

    return engine->setup.seed.judge_count > 0 || !str_starts(spec, "cuda:")
               ? -1
               : (int)strtol(spec + strlen("cuda:"), NULL, 10);
}

/*
 * Nothing else is at work when this is called (may_meet), so the loop may wait for it: some ten
 * seconds, most of them to load PyTorch.
 */
static bool ask_torch(struct engine *engine, const struct rival_due *due,
                      struct duel_result *result, struct err *err)
{
    struct torch_times times = {
        .unsupported = "where this run's judges are, no process of its own can be started"};
    int gpu = gpu_of(engine);

    if (gpu >= 0 && !torch_time(engine->round, engine->setup.seed.rivals[due->rival], gpu,
                                &engine->space.problems[due->problem].problem, &times, err)) {
        return false;
    }
    torch_duel(engine->round, 1, &times, result);
    return true;
}

/* Which side was not to be timed, and why; NULL: both were. */
static const char *trouble_of(struct arena *arena, const struct duel_result *result)
{
    static const char *const whose[] = {"ours", "the rival"};

    for (int i = 0; i < 2; i++) {
        if (result->sides[i].verdict != VERDICT_PASS && result->sides[i].verdict != VERDICT_NONE) {
            return arena_printf(arena, "%s: %s: %s", whose[i],
                                verdict_names[result->sides[i].verdict], result->sides[i].reason);
        }
    }
    return NULL;
}

/* "" with times, or why there are none. */
static const char *read_answer(struct engine *engine, const struct fleet_event *event,
                               struct duel_result *result, struct duel_row *row)
{
    const char *trouble;
    struct err bad = {0};

    if (event->kind != FLEET_ANSWER) {
        return arena_printf(engine->round, "its judge %s%s",
                            event->kind == FLEET_FAILED ? "could not do it: " : "", event->text);
    }
    if (!dueled_decode(engine->round, event->message, result, &bad)) {
        return arena_printf(engine->round, "its judge said what is no answer: %s", bad.what);
    }
    trouble = trouble_of(engine->round, result);
    if (trouble == NULL && torch_is(row->rival)) {
        trouble = ask_torch(engine, &engine->rivalry.due, result, &bad)
                      ? trouble_of(engine->round, result)
                      : arena_dup(engine->round, bad.what);
    }
    if (trouble != NULL) {
        return trouble;
    }
    return score_of_duel(result->graph.blocks, result->graph.count, result->graph.tick_us,
                         (uint64_t)result->id, &row->graph) &&
                   score_of_duel(result->span.blocks, result->span.count, result->span.tick_us,
                                 (uint64_t)result->id, &row->span)
               ? ""
               : "too few samples to say";
}

static const char *shape_of(struct engine *engine, int problem)
{
    char *text = arena_alloc(engine->round, PROBLEM_TEXT_MAX);

    problem_text(&engine->space.problems[problem].problem, text);
    return text;
}

/* A line when a library has been met on every shape. */
static bool tell_whole(struct engine *engine, const struct rival_due *due, struct err *err)
{
    const struct rival_match *match = &engine->rivalry.of[due->numerics];
    const char *name = engine->setup.seed.rivals[due->rival];
    struct duel_row *rows;
    int64_t count, kept = 0;
    struct rivalry_facts facts;

    for (int p = 0; p < engine->space.problem_count; p++) {
        if (!match->done[due->rival][p] && may_meet(engine, due->rival, p)) {
            return true;
        }
    }
    if (!query_duels(engine->store, engine->round, due->judgement, &rows, &count, err)) {
        return false;
    }
    for (int64_t i = 0; i < count; i++) {
        if (strcmp(rows[i].rival, name) == 0) {
            rows[kept++] = rows[i];
        }
    }
    facts = rivalry_of(rows, kept);
    if (facts.timed > 0) {
        log_line("engine", "n%lld is %.3f times as fast as %s (%.3f-%.3f)%s%s",
                 (long long)due->place, facts.mean.value, name, facts.mean.low, facts.mean.high,
                 facts.timed > 1 ? ", least so on " : " on ",
                 shape_of(engine, facts.worst->problem));
    }
    return true;
}

static void count_outcome(struct engine *engine, const struct fleet_event *event,
                          const struct rival_due *due, const struct duel_row *row)
{
    struct rivalry *rivalry = &engine->rivalry;
    struct rival_match *match = &rivalry->of[due->numerics];

    if (match->judgement == due->judgement) { /* else another is the best by now */
        match->done[due->rival][due->problem] = true;
    }
    if (*row->reason == '\0') {
        rivalry->timed[due->rival] = true;
        return;
    }
    rivalry->refusals[due->rival]++;
    /* Failures in a row end a fleet: no second one is risked for what a run can do without. */
    rivalry->failed[due->rival] = rivalry->failed[due->rival] || event->kind == FLEET_FAILED;
    log_line("engine", "n%lld was not timed against %s on %s: %s%s", (long long)due->place,
             row->rival, shape_of(engine, due->problem), row->reason,
             is_given_up(engine, due->rival) ? "; it is not asked again" : "");
}

bool engine_attend_duel(struct engine *engine, const struct fleet_event *event, struct err *err)
{
    struct rivalry *rivalry = &engine->rivalry;
    const struct rival_due *due = &rivalry->due;
    struct duel_result *result = arena_alloc(engine->round, sizeof *result);
    struct duel_row row = {
        .judgement = due->judgement,
        .problem = due->problem,
        .rival = engine->setup.seed.rivals[due->rival],
        .sm_clock_mhz = NAN,
        .power_w = NAN,
        .device_ms = (double)(clock_now_ms() - rivalry->begun_ms),
        .measured_at = clock_wall_ms(),
    };

    rivalry->at_work = false;
    rivalry->spent_ms += clock_now_ms() - rivalry->begun_ms;
    row.reason = read_answer(engine, event, result, &row);
    row.plan = result->sides[1].name != NULL ? result->sides[1].name : "";
    if (engine->rivalry.files[due->rival] != NULL) {
        row.plan = "the file as it was when the run began";
    }
    if (*row.reason == '\0') {
        row.sm_clock_mhz = result->sm_clock_mhz;
        row.power_w = result->power_w;
        row.power_limited = (result->throttle_reasons & THROTTLE_POWER) != 0;
        row.device_ms = result->device_ms;
    }
    engine->run.device_ms += row.device_ms;
    if (!store_duel_insert(engine->store, &row, result, err)) {
        return false;
    }
    FAULT("rivals.recorded");
    count_outcome(engine, event, due, &row);
    return tell_whole(engine, due, err);
}
