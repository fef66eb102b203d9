#include "daemon/engine_state.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"

enum {
    DEATHS_MAX = 2, /* workers a candidate may take down before it is to blame */
    STREAM_SECRET = 0x5ec7e7,
    AUDIT_SHARE = 8, /* compilations that may go before one of the audit's, when none is idle */
    DUEL_PATIENCE = 3,
    PROMOTION_PATIENCE = 5, /* a second judgement may take so many deadlines of a first */
};

static const int64_t AUDIT_JOB = INT64_MAX, DUEL_JOB = INT64_MAX; /* no place has this number */

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

/*
 * A pass is believed only with a time for every shape of the workload. What a judge told at a clock
 * of its own, because none was known when it was asked, is told at the run's.
 */
static bool score_result(const struct engine *engine, struct judge_result *result,
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
        struct timing *timing = &result->timings[i];

        if (timing->at_mhz > 0 && engine->at_mhz[i] > 0) {
            timing->at_mhz = engine->at_mhz[i];
        }
        if (timing->problem != i || !score_of_timing(timing, &scores[i])) {
            return false;
        }
    }
    *whole = score_combine(scores, result->timing_count);
    return true;
}

/* Cases of shapes that are none of the workload's say so by themselves. */
static void name_shapes(struct engine *engine, const struct shapes *shapes,
                        struct judge_result *result)
{
    for (int i = 0; i < result->case_count; i++) {
        struct case_result *one = &result->cases[i];
        char text[PROBLEM_TEXT_MAX];

        if (one->problem >= shapes->timed && one->problem < shapes->count) {
            problem_text(&shapes->list[one->problem].problem, text);
            one->shape = arena_dup(engine->round, text);
        }
    }
}

/* The first clock that a problem was timed at is that at which all are told (store_clock). */
static void note_clocks(struct engine *engine, const struct judge_result *result)
{
    for (int i = 0; i < result->timing_count && result->verdict == VERDICT_PASS; i++) {
        const struct timing *timing = &result->timings[i];

        if (engine->at_mhz[timing->problem] == 0 && !timing->quick) {
            engine->at_mhz[timing->problem] = timing->at_mhz;
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

    if (!store_judgement_insert(engine->store, &judgement, result, scores, err) ||
        !store_counted_insert(engine->store, engine->run.id, result, err)) {
        return false;
    }
    note_clocks(engine, result);
    engine->run.device_ms += result->device_ms;
    ledger_judged(&engine->ledger, result);
    flight->device_ms = result->device_ms;
    engine_decide_by(flight, &judgement);
    while ((twin = queue_twin(engine->queue, flight, STAGE_TWIN)) != NULL) {
        engine_decide_by(twin, &judgement);
    }
    return true;
}

/* ---- sending ---- */

static bool note_attempt(struct engine *engine, const struct flight *flight, enum role role,
                         int worker, int64_t *attempt, struct err *err)
{
    return store_attempt_begin(engine->store, engine->run.id, flight->place, role,
                               fleet_name(engine->fleet, worker), clock_wall_ms(), attempt, err);
}

static void dispatch_later(struct engine *engine, int worker, int64_t job, int patience,
                           struct message *message)
{
    engine->dispatches[engine->dispatch_count++] =
        (struct dispatch){.worker = worker, .job = job, .patience = patience, .message = message};
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

/* *worker -1: none now. fresh: one without a past, as for what another worker died with. */
static bool worker_for(struct engine *engine, enum role role, bool fresh, int *worker,
                       struct err *err)
{
    if (!fresh) {
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
    if (!note_attempt(engine, flight, ROLE_COMPILE, worker, &engine->attempts[worker], err)) {
        return false;
    }
    image->state = IMAGE_AT_WORK;
    if (waiting_image(flight) < 0) {
        queue_move(flight, STAGE_COMPILING);
    }
    dispatch_later(engine, worker, job.id, 1, compile_encode(engine->round, &job));
    return true;
}

static void put_images(struct judge_job *job, const struct flight *flight)
{
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
}

/* The workload's own come first in any list of shapes. */
static void put_shapes(const struct engine *engine, struct judge_job *job,
                       const struct shapes *shapes, double bound_us)
{
    job->problem_count = shapes->count;
    for (int i = 0; i < job->problem_count; i++) {
        const struct shape *shape = &shapes->list[i];

        job->problems[i].problem = shape->problem;
        job->problems[i].image = shape->image;
        job->problems[i].use = shape->use;
        job->problems[i].bound_us = shape->use != USE_GATE ? bound_us : 0;
        job->problems[i].at_mhz = i < engine->space.problem_count ? engine->at_mhz[i] : 0;
    }
}

/* The job of a judge, for the first judgement or (promotes) the second. */
static bool dispatch_judge(struct engine *engine, struct flight *flight, bool promotes, int worker,
                           struct err *err)
{
    struct judge_job *job = arena_alloc(engine->round, sizeof *job);
    bool next = fleet_state(engine->fleet, worker) == WORKER_BUSY;
    int64_t attempt;
    struct rng rng;

    if (!note_attempt(engine, flight, ROLE_JUDGE, worker, &attempt, err)) {
        return false;
    }
    *(next ? &engine->next_attempts[worker] : &engine->attempts[worker]) = attempt;
    job->id = flight->place;
    job->genes = engine_genes(engine, engine->round, flight);
    job->cases_per_family = engine->setup.seed.gate_cases;
    job->want_samples = true;
    put_images(job, flight);
    if (promotes) {
        engine_fill_promotion(engine, flight, attempt, job);
        put_shapes(engine, job, &engine->held_out, 0);
        queue_move(flight, STAGE_PROMOTING);
        ledger_send(&engine->ledger, worker, LEDGER_PROMOTING);
        FAULT("promote.dispatched");
    } else {
        /*
         * An attempt's number never comes twice, so neither do the inputs of the gate. Which of two
         * places with one program is judged depends on who is built first, and a place's bound goes
         * with it: where times are a function of the program alone, they must not depend on that.
         */
        rng = rng_at(engine->run.secret, STREAM_SECRET, (uint64_t)attempt);
        job->secret = rng_u64(&rng);
        job->effort = EFFORT_MEASURE;
        put_shapes(engine, job, &engine->shapes,
                   engine->deterministic ? 0 : flight->proposal.bound_us);
        queue_move(flight, STAGE_JUDGING);
        if (!next) {
            ledger_send(&engine->ledger, worker, LEDGER_JUDGING);
        }
    }
    dispatch_later(engine, worker, job->id, promotes ? PROMOTION_PATIENCE : 1,
                   judge_encode(engine->round, job));
    engine->dispatches[engine->dispatch_count - 1].next = next;
    return true;
}

/* The oldest flight's second judgement goes first, and to a judge that never had a job. */
static bool dispatch_promotion(struct engine *engine, struct err *err)
{
    struct flight *flight = queue_first(engine->queue, STAGE_PROMOTE);
    int worker;

    return flight == NULL || (worker_for(engine, ROLE_JUDGE, true, &worker, err) &&
                              (worker < 0 || dispatch_judge(engine, flight, true, worker, err)));
}

/*
 * While an answer is recorded, and the next places are proposed, its judge would have nothing to
 * do, at every answer: 6 % of an H200's time. So a judge has the next job behind the one in hand,
 * but only of what is more than all judges have need of, and not where judging takes seconds.
 */
static bool dispatch_next(struct engine *engine, struct err *err)
{
    int judges = fleet_count(engine->fleet, ROLE_JUDGE);

    if (engine->emulated || queue_first(engine->queue, STAGE_PROMOTE) != NULL) {
        return true;
    }
    for (int i = 0; i < fleet_size(engine->fleet); i++) {
        struct flight *flight = queue_first(engine->queue, STAGE_JUDGE);

        if (fleet_role(engine->fleet, i) != ROLE_JUDGE || engine->attempts[i] == 0 ||
            fleet_state(engine->fleet, i) != WORKER_BUSY || fleet_has_next(engine->fleet, i)) {
            continue;
        }
        if (flight == NULL || flight->deaths > 0 || flight->lost > 0 ||
            queue_waiting(engine->queue, STAGE_JUDGE) < judges) {
            return true;
        }
        if (!dispatch_judge(engine, flight, false, i, err)) {
            return false;
        }
    }
    return true;
}

/* Its process is replaced after the answer, so any judge will do. */
bool engine_dispatch_duel(struct engine *engine, struct err *err)
{
    int worker = free_worker(engine, ROLE_JUDGE);
    struct message *message;

    if (engine->setup.seed.rival_count == 0 || worker < 0) {
        return true;
    }
    if (!engine_fill_duel(engine, DUEL_JOB, &message, err)) {
        return false;
    }
    if (message != NULL) {
        ledger_send(&engine->ledger, worker, LEDGER_DUELLING);
        dispatch_later(engine, worker, DUEL_JOB, DUEL_PATIENCE, message);
    }
    return true;
}

/* ---- the audit: it takes what compilers have to spare, and a share if they have nothing ---- */

static bool note_finding(struct engine *engine, const struct audit_finding *finding,
                         struct err *err)
{
    const struct family *family = engine->setup.families[finding->family];
    struct audit_row row = {family->name, family->genes[finding->gene].name,
                            audit_state_names[finding->state], finding->by, finding->pairs};
    const char *text;

    if (!store_audit_insert(engine->store, engine->run.id, &row, err)) {
        return false;
    }
    engine->audited++;
    if (finding->state != AUDIT_DEAD) {
        return true;
    }
    text = arena_printf(engine->round,
                        "gene %s of %s is dead: no value of it changed launch or machine code, %d "
                        "times out of %d",
                        row.gene, row.family, finding->pairs, finding->pairs);
    log_line("audit", "%s", text);
    return store_event(engine->store, engine->run.id, clock_wall_ms(), "audit", text, err);
}

static void send_audit(struct engine *engine, int worker, struct compile_job *job)
{
    job->id = AUDIT_JOB;
    job->arch = engine->arch;
    if (engine->emulated) {
        job->options[job->option_count++] = "-lineinfo";
    }
    engine->audit_at_work = true;
    engine->audit_passed_over = 0;
    dispatch_later(engine, worker, job->id, 1, compile_encode(engine->round, job));
}

static bool dispatch_audit(struct engine *engine, struct err *err)
{
    int worker = free_worker(engine, ROLE_COMPILE);
    bool starved = engine->audit_passed_over >= AUDIT_SHARE;
    struct audit_finding finding;
    struct compile_job job;
    enum audit_step step;

    if (engine->audit == NULL || engine->audit_at_work || worker < 0 ||
        (!starved && queue_first(engine->queue, STAGE_COMPILE) != NULL)) {
        return true;
    }
    do {
        if (!audit_step(engine->audit, &step, &job, &finding, err) ||
            (step == AUDIT_FOUND && !note_finding(engine, &finding, err))) {
            return false;
        }
    } while (step == AUDIT_FOUND);
    if (step == AUDIT_COMPILE) {
        send_audit(engine, worker, &job);
    } else {
        if (engine->audited > 0) {
            log_line("audit", "every gene has been looked at");
        }
        audit_free(engine->audit);
        engine->audit = NULL;
    }
    return true;
}

bool engine_dispatch(struct engine *engine, struct err *err)
{
    struct flight *flight;
    int worker;

    if (!dispatch_audit(engine, err)) {
        return false;
    }
    while ((flight = queue_first(engine->queue, STAGE_COMPILE)) != NULL) {
        int deaths = flight->images[waiting_image(flight)].deaths;

        if (!worker_for(engine, ROLE_COMPILE, deaths > 0, &worker, err)) {
            return false;
        }
        if (worker < 0) {
            break;
        }
        if (!dispatch_compile(engine, flight, worker, err)) {
            return false;
        }
        engine->audit_passed_over++;
    }
    if (!dispatch_promotion(engine, err) ||
        (engine_rivals_may(engine, engine_elapsed_ms(engine)) &&
         !engine_dispatch_duel(engine, err))) {
        return false;
    }
    while ((flight = queue_first(engine->queue, STAGE_JUDGE)) != NULL) {
        if (!worker_for(engine, ROLE_JUDGE, flight->deaths > 0, &worker, err)) {
            return false;
        }
        if (worker < 0) {
            return dispatch_next(engine, err);
        }
        if (!dispatch_judge(engine, flight, false, worker, err)) {
            return false;
        }
    }
    return engine_dispatch_duel(engine, err); /* to a judge that has nothing else to do */
}

void engine_send(struct engine *engine)
{
    for (int i = 0; i < engine->dispatch_count; i++) {
        const struct dispatch *dispatch = &engine->dispatches[i];

        (dispatch->next ? fleet_send_next : fleet_send)(engine->fleet, dispatch->worker,
                                                        dispatch->job, dispatch->message,
                                                        dispatch->patience);
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
    if (*built->slow != '\0') { /* right or wrong, it cannot win: no judge is kept busy with it */
        engine_decide(flight, VERDICT_NO_COMPILE,
                      arena_printf(flight->arena, "not as written: ptxas: %s", built->slow));
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

/* An audit is evidence beside the run: it has no attempts, and nobody is to blame. */
static void attend_audit(struct engine *engine, const struct fleet_event *event)
{
    struct err ignored;
    struct built built;
    bool answered = event->kind == FLEET_ANSWER &&
                    built_decode(engine->round, event->message, &built, &ignored);

    engine->audit_at_work = false;
    if (engine->audit != NULL) {
        audit_answer(engine->audit, answered ? &built : NULL);
    }
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

/* What a judge found out about the flight, or what became of the judge. */
static bool conclude_any(struct engine *engine, struct flight *flight, int worker,
                         struct judge_result *result, const struct score *scores,
                         struct score whole, struct err *err)
{
    return flight->stage == STAGE_PROMOTING
               ? engine_promoted(engine, flight, engine->attempts[worker], result, scores, whole,
                                 err)
               : conclude(engine, flight, result, scores, whole, err);
}

/* A judge could not answer for this program: that is an answer too, and worth remembering. */
static bool conclude_without_judge(struct engine *engine, struct flight *flight, int worker,
                                   enum verdict verdict, const char *reason, struct err *err)
{
    struct judge_result *result = arena_alloc(engine->round, sizeof *result);

    result->verdict = verdict;
    result->reason = reason;
    return conclude_any(engine, flight, worker, result, NULL, (struct score){0}, err);
}

static void judge_again(struct flight *flight)
{
    queue_move(flight, flight->stage == STAGE_PROMOTING ? STAGE_PROMOTE : STAGE_JUDGE);
}

static bool attend_judge_death(struct engine *engine, struct flight *flight, int worker,
                               const char *how, struct err *err)
{
    if (++flight->deaths >= DEATHS_MAX) {
        return conclude_without_judge(engine, flight, worker, VERDICT_CRASH,
                                      arena_printf(engine->round, "its judge %s, twice", how),
                                      err);
    }
    judge_again(flight);
    return true;
}

/* What another process runs on a device is timed along: said once. */
static bool note_company(struct engine *engine, const struct judge_result *result, int worker,
                         struct err *err)
{
    for (int i = 0; i < result->metric_count && !engine->told_company; i++) {
        const char *text;

        if (result->metrics[i].metric != METRIC_OTHER_PROCESSES ||
            !(result->metrics[i].value > 0)) {
            continue;
        }
        text = arena_printf(engine->round,
                            "the device of %s has other users (%.0f): what they run is timed along",
                            fleet_name(engine->fleet, worker), result->metrics[i].value);
        engine->told_company = true;
        log_line("engine", "%s", text);
        return store_event(engine->store, engine->run.id, clock_wall_ms(), "company", text, err);
    }
    return true;
}

static bool attend_judge(struct engine *engine, const struct fleet_event *event,
                         const char **outcome, struct err *err)
{
    struct flight *flight = queue_at(engine->queue, event->job);
    struct judge_result *result = arena_alloc(engine->round, sizeof *result);
    struct score scores[JOB_PROBLEMS_MAX], whole;
    struct err bad = {0};

    assert(flight != NULL &&
           (flight->stage == STAGE_JUDGING || flight->stage == STAGE_PROMOTING));
    if (event->kind == FLEET_FAILED) { /* the world's fault, not the candidate's */
        *outcome = "failed";
        judge_again(flight);
        return true;
    }
    if (event->kind == FLEET_TIMEOUT) {
        *outcome = "timeout";
        return conclude_without_judge(engine, flight, event->worker, VERDICT_TIMEOUT,
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
            if (!note_company(engine, result, event->worker, err)) {
                return false;
            }
            name_shapes(engine,
                        flight->stage == STAGE_PROMOTING ? &engine->held_out : &engine->shapes,
                        result);
            return conclude_any(engine, flight, event->worker, result, scores, whole, err);
        }
    }
    *outcome = "died";
    return attend_judge_death(engine, flight, event->worker,
                              event->kind == FLEET_ANSWER ? bad.what : event->text, err);
}

/* What waited behind the answered job is in hand now, or was never sent. */
static bool turn_to_next(struct engine *engine, const struct fleet_event *event, struct err *err)
{
    int64_t *next = &engine->next_attempts[event->worker];
    bool ok = true;

    if (*next != 0 && event->unsent >= 0) {
        judge_again(queue_at(engine->queue, event->unsent));
        ok = store_attempt_end(engine->store, *next, clock_wall_ms(), "unsent", err);
        *next = 0;
    } else if (*next != 0) {
        ledger_send(&engine->ledger, event->worker, LEDGER_JUDGING);
    }
    engine->attempts[event->worker] = *next;
    *next = 0;
    return ok;
}

bool engine_attend(struct engine *engine, const struct fleet_event *event, struct err *err)
{
    enum role role = fleet_role(engine->fleet, event->worker);
    const char *outcome = "";
    bool ok;

    if (role == ROLE_COMPILE && event->job == AUDIT_JOB) {
        attend_audit(engine, event);
        return true;
    }
    if (role == ROLE_JUDGE && event->job == DUEL_JOB) {
        return engine_attend_duel(engine, event, err);
    }
    ok = role == ROLE_COMPILE ? attend_compile(engine, event, &outcome, err)
                              : attend_judge(engine, event, &outcome, err);
    FAULT("dispatch.attended");
    return ok &&
           store_attempt_end(engine->store, engine->attempts[event->worker], clock_wall_ms(),
                             outcome, err) &&
           turn_to_next(engine, event, err);
}
