#include "daemon/engine_state.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"

enum {
    DEATHS_MAX = 2, /* workers a candidate may take down before it is to blame */
    STREAM_SECRET = 0x5ec7e7,
};

/* ---- verdicts ---- */

void engine_decide(struct flight *flight, enum verdict verdict, const char *reason)
{
    flight->verdict = verdict;
    flight->reason = arena_dup(flight->arena, reason);
    queue_move(flight, STAGE_DECIDED);
}

void engine_decide_by(struct flight *flight, const struct judgement_row *judgement)
{
    flight->judgement = judgement->id;
    flight->score = judgement->score;
    flight->replayed = judgement->replayed;
    engine_decide(flight, judgement->verdict, judgement->reason);
}

/* A new best keeps its machine code in the database; everything else can be built again. */
static bool keep_if_best(struct engine *engine, const struct flight *flight, struct err *err)
{
    double *best = &engine->best_us[flight->proposal.numerics];

    if (flight->verdict != VERDICT_PASS || (*best > 0 && flight->score.us >= *best)) {
        return true;
    }
    *best = flight->score.us;
    for (int i = 0; i < flight->image_count; i++) {
        const struct built *built = &flight->images[i].built;

        if (!store_build_keep(engine->store, &built->code_key, built->ptx, built->ptx_bytes,
                              built->cubin, built->cubin_bytes, err)) {
            return false;
        }
    }
    return true;
}

/* A pass is believed only with a time for every shape of the workload. */
static bool score_result(const struct engine *engine, const struct judge_result *result,
                         struct score *scores, struct score *whole)
{
    *whole = (struct score){0};
    if (result->verdict != VERDICT_PASS) {
        return true;
    }
    if (result->timing_count != engine->space.problem_count) {
        return false;
    }
    for (int i = 0; i < result->timing_count; i++) {
        const struct timing *timing = &result->timings[i];

        if (timing->problem != i || !score_of_samples(timing->span_us, timing->span_count,
                                                      timing->tick_us, &scores[i])) {
            return false;
        }
    }
    *whole = score_combine(scores, result->timing_count);
    return true;
}

/* Cases of shapes that are none of the workload's say so by themselves. */
static void name_shapes(struct engine *engine, struct judge_result *result)
{
    for (int i = 0; i < result->case_count; i++) {
        struct case_result *one = &result->cases[i];
        char text[PROBLEM_TEXT_MAX];

        if (one->problem >= engine->shapes.timed && one->problem < engine->shapes.count) {
            problem_text(&engine->shapes.list[one->problem].problem, text);
            one->shape = arena_dup(engine->round, text);
        }
    }
}

/* Records what was found out about a flight's program, for it and for its twins. */
static bool conclude(struct engine *engine, struct flight *flight,
                     const struct judge_result *result, const struct score *scores,
                     struct score whole, struct err *err)
{
    struct judgement_row judgement = {
        .key = flight->key,
        .run = engine->run.id,
        .place = flight->place,
        .verdict = result->verdict,
        .reason = result->reason,
        .replayed = result->replayed,
        .device_ms = result->device_ms,
        .score = whole,
    };
    struct flight *twin;

    if (!store_judgement_insert(engine->store, &judgement, result, scores, err)) {
        return false;
    }
    engine->run.device_ms += result->device_ms;
    flight->device_ms = result->device_ms;
    engine_decide_by(flight, &judgement);
    while ((twin = queue_twin(engine->queue, flight, STAGE_TWIN)) != NULL) {
        engine_decide_by(twin, &judgement);
    }
    return keep_if_best(engine, flight, err);
}

/* A judge could not answer for this program: that is an answer too, and worth remembering. */
static bool conclude_without_judge(struct engine *engine, struct flight *flight,
                                   enum verdict verdict, const char *reason, struct err *err)
{
    struct judge_result *result = arena_alloc(engine->round, sizeof *result);

    result->verdict = verdict;
    result->reason = reason;
    return conclude(engine, flight, result, NULL, (struct score){0}, err);
}

/* ---- sending ---- */

static bool note_attempt(struct engine *engine, const struct flight *flight, enum role role,
                         int worker, struct err *err)
{
    return store_attempt_begin(engine->store, engine->run.id, flight->place, role,
                               fleet_name(engine->fleet, worker), clock_wall_ms(),
                               &engine->attempts[worker], err);
}

static void dispatch_later(struct engine *engine, int worker, int64_t job,
                           struct message *message)
{
    engine->dispatches[engine->dispatch_count++] = (struct dispatch){worker, job, message};
}

static bool dispatched_to(const struct engine *engine, int worker)
{
    for (int i = 0; i < engine->dispatch_count; i++) {
        if (engine->dispatches[i].worker == worker) {
            return true;
        }
    }
    return false;
}

/* An idle worker that this round has not given work yet, or -1. */
static int free_worker(const struct engine *engine, enum role role)
{
    int worker = -1;

    do {
        worker = fleet_idle(engine->fleet, role, worker + 1);
    } while (worker >= 0 && dispatched_to(engine, worker));
    return worker;
}

/* *worker -1: none now. A candidate that a worker died with goes to one without a past. */
static bool worker_for(struct engine *engine, enum role role, int deaths, int *worker,
                       struct err *err)
{
    if (deaths == 0) {
        *worker = free_worker(engine, role);
        return true;
    }
    if (!fleet_fresh(engine->fleet, role, worker, err)) {
        return false;
    }
    if (*worker >= 0 && dispatched_to(engine, *worker)) {
        *worker = -1;
    }
    return true;
}

static int waiting_image(const struct flight *flight)
{
    for (int i = 0; i < flight->image_count; i++) {
        if (flight->images[i].state == IMAGE_WAITING) {
            return i;
        }
    }
    return -1;
}

static bool dispatch_compile(struct engine *engine, struct flight *flight, int worker,
                             struct err *err)
{
    int index = waiting_image(flight);
    struct image *image = &flight->images[index];
    struct compile_job job = {
        .id = flight->place * JOB_IMAGES_MAX + index,
        .source = image->source,
        .source_bytes = image->source_bytes,
        .name = arena_printf(engine->round, "%s.cu", engine_family(engine, flight)->name),
        .arch = engine->arch,
        .entry_count = image->program.kernel_count,
    };

    for (int i = 0; i < job.entry_count; i++) {
        job.entries[i] = image->program.kernels[i].name;
    }
    if (engine->emulated) {
        job.options[job.option_count++] = "-lineinfo";
    }
    if (!note_attempt(engine, flight, ROLE_COMPILE, worker, err)) {
        return false;
    }
    image->state = IMAGE_AT_WORK;
    if (waiting_image(flight) < 0) {
        queue_move(flight, STAGE_COMPILING);
    }
    dispatch_later(engine, worker, job.id, compile_encode(engine->round, &job));
    return true;
}

static bool dispatch_judge(struct engine *engine, struct flight *flight, int worker,
                           struct err *err)
{
    struct judge_job *job = arena_alloc(engine->round, sizeof *job);
    struct rng rng;

    if (!note_attempt(engine, flight, ROLE_JUDGE, worker, err)) {
        return false;
    }
    job->id = flight->place;
    job->genes = engine_genes(engine, engine->round, flight);
    job->image_count = flight->image_count;
    for (int i = 0; i < flight->image_count; i++) {
        const struct built *built = &flight->images[i].built;

        job->images[i] = (struct judge_image){
            .cubin = built->cubin,
            .cubin_bytes = built->cubin_bytes,
            .ptx = built->ptx,
            .ptx_bytes = built->ptx_bytes,
            .code_key = built->code_key,
            .program = flight->images[i].program,
        };
    }
    job->problem_count = engine->shapes.count;
    for (int i = 0; i < job->problem_count; i++) {
        const struct shape *shape = &engine->shapes.list[i];

        job->problems[i].problem = shape->problem;
        job->problems[i].image = shape->image;
        job->problems[i].use = shape->use;
        job->problems[i].bound_us = shape->use != USE_GATE ? flight->proposal.bound_us : 0;
    }
    /* An attempt's number never comes twice, so neither do the inputs of the gate. */
    rng = rng_at(engine->run.secret, STREAM_SECRET, (uint64_t)engine->attempts[worker]);
    job->secret = rng_u64(&rng);
    job->effort = EFFORT_MEASURE;
    job->cases_per_family = engine->setup.seed.gate_cases;
    job->want_samples = true;
    queue_move(flight, STAGE_JUDGING);
    dispatch_later(engine, worker, job->id, judge_encode(engine->round, job));
    return true;
}

bool engine_dispatch(struct engine *engine, struct err *err)
{
    struct flight *flight;
    int worker;

    while ((flight = queue_first(engine->queue, STAGE_COMPILE)) != NULL) {
        int deaths = flight->images[waiting_image(flight)].deaths;

        if (!worker_for(engine, ROLE_COMPILE, deaths, &worker, err)) {
            return false;
        }
        if (worker < 0) {
            break;
        }
        if (!dispatch_compile(engine, flight, worker, err)) {
            return false;
        }
    }
    while ((flight = queue_first(engine->queue, STAGE_JUDGE)) != NULL) {
        if (!worker_for(engine, ROLE_JUDGE, flight->deaths, &worker, err)) {
            return false;
        }
        if (worker < 0) {
            break;
        }
        if (!dispatch_judge(engine, flight, worker, err)) {
            return false;
        }
    }
    return true;
}

void engine_send(struct engine *engine)
{
    for (int i = 0; i < engine->dispatch_count; i++) {
        const struct dispatch *dispatch = &engine->dispatches[i];

        fleet_send(engine->fleet, dispatch->worker, dispatch->job, dispatch->message);
    }
    engine->dispatch_count = 0;
}

/* ---- answers of compile workers ---- */

/* The decoded answer points into the round's memory: what is kept is copied. */
static void keep_built(struct image *image, const struct built *built)
{
    image->built = *built;
    image->built.ptx = arena_copy(image->arena, built->ptx, built->ptx_bytes);
    image->built.cubin = arena_copy(image->arena, built->cubin, built->cubin_bytes);
    image->built.log = "";
    image->state = IMAGE_BUILT;
}

static bool attend_built(struct engine *engine, struct flight *flight, int index,
                         const struct built *built, struct err *err)
{
    struct image *image = &flight->images[index];
    struct build_row row = {
        .run = engine->run.id,
        .place = flight->place,
        .image = index,
        .source_hash = image->source_hash,
        .arch = engine->arch,
        .built = built,
    };

    if (!store_build_insert(engine->store, &row, err)) {
        return false;
    }
    if (built->verdict != VERDICT_NONE) {
        engine_decide(flight, built->verdict, built->reason);
        return true;
    }
    keep_built(image, built);
    for (int i = 0; i < flight->image_count; i++) {
        if (flight->images[i].state != IMAGE_BUILT) {
            return true;
        }
    }
    return engine_toward_judge(engine, flight, err);
}

static void compile_again(struct flight *flight, int index)
{
    flight->images[index].state = IMAGE_WAITING;
    if (flight->stage == STAGE_COMPILING) {
        queue_move(flight, STAGE_COMPILE);
    }
}

/* The compiler died with it: once more, then it is to blame. */
static void attend_compile_death(struct flight *flight, int index, const char *how)
{
    if (++flight->images[index].deaths >= DEATHS_MAX) {
        engine_decide(flight, VERDICT_CRASH,
                      arena_printf(flight->arena, "the compiler %s, twice", how));
        return;
    }
    compile_again(flight, index);
}

static bool attend_compile(struct engine *engine, const struct fleet_event *event,
                           const char **outcome, struct err *err)
{
    int index = (int)(event->job % JOB_IMAGES_MAX);
    struct flight *flight = queue_at(engine->queue, event->job / JOB_IMAGES_MAX);
    struct err bad = {0};
    struct built built;

    if (flight == NULL || (flight->stage != STAGE_COMPILE && flight->stage != STAGE_COMPILING)) {
        *outcome = "unneeded"; /* another image of the candidate failed meanwhile */
        return true;
    }
    if (event->kind == FLEET_FAILED) { /* the world's fault, not the candidate's */
        *outcome = "failed";
        compile_again(flight, index);
        return true;
    }
    if (event->kind == FLEET_TIMEOUT) {
        *outcome = "timeout";
        engine_decide(flight, VERDICT_TIMEOUT,
                      arena_printf(flight->arena, "the compiler %s", event->text));
        return true;
    }
    if (event->kind == FLEET_ANSWER &&
        built_decode(flight->images[index].arena, event->message, &built, &bad) &&
        built.id == event->job) {
        *outcome = built.verdict == VERDICT_NONE ? "built" : verdict_names[built.verdict];
        return attend_built(engine, flight, index, &built, err);
    }
    *outcome = "died";
    attend_compile_death(flight, index, event->kind == FLEET_ANSWER ? bad.what : event->text);
    return true;
}

/* ---- answers of judges ---- */

static bool attend_judge_death(struct engine *engine, struct flight *flight, const char *how,
                               struct err *err)
{
    if (++flight->deaths >= DEATHS_MAX) {
        return conclude_without_judge(engine, flight, VERDICT_CRASH,
                                      arena_printf(engine->round, "its judge %s, twice", how),
                                      err);
    }
    queue_move(flight, STAGE_JUDGE);
    return true;
}

static bool attend_judge(struct engine *engine, const struct fleet_event *event,
                         const char **outcome, struct err *err)
{
    struct flight *flight = queue_at(engine->queue, event->job);
    struct judge_result *result = arena_alloc(engine->round, sizeof *result);
    struct score scores[JOB_PROBLEMS_MAX], whole;
    struct err bad = {0};

    assert(flight != NULL && flight->stage == STAGE_JUDGING);
    if (event->kind == FLEET_FAILED) { /* the world's fault, not the candidate's */
        *outcome = "failed";
        queue_move(flight, STAGE_JUDGE);
        return true;
    }
    if (event->kind == FLEET_TIMEOUT) {
        *outcome = "timeout";
        return conclude_without_judge(engine, flight, VERDICT_TIMEOUT,
                                      arena_printf(engine->round, "it %s", event->text), err);
    }
    if (event->kind == FLEET_ANSWER) {
        if (!result_decode(engine->round, event->message, result, &bad)) {
            err_in(&bad, "said what is not a result");
        } else if (result->id != event->job ||
                   !score_result(engine, result, scores, &whole)) {
            err_set(&bad, ERR_SYSTEM, "answered for another job, or passed it without times");
        } else {
            *outcome = verdict_names[result->verdict];
            name_shapes(engine, result);
            return conclude(engine, flight, result, scores, whole, err);
        }
    }
    *outcome = "died";
    return attend_judge_death(engine, flight,
                              event->kind == FLEET_ANSWER ? bad.what : event->text, err);
}

bool engine_attend(struct engine *engine, const struct fleet_event *event, struct err *err)
{
    enum role role = fleet_role(engine->fleet, event->worker);
    const char *outcome = "";
    bool ok = role == ROLE_COMPILE ? attend_compile(engine, event, &outcome, err)
                                   : attend_judge(engine, event, &outcome, err);

    FAULT("dispatch.attended");
    return ok && store_attempt_end(engine->store, engine->attempts[event->worker],
                                   clock_wall_ms(), outcome, err);
}
