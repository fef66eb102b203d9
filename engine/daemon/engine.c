#include "daemon/engine.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/proc.h"
#include "daemon/engine_state.h"
#include "daemon/selftest.h"

enum {
    ROUND_MS = 1000,         /* the longest round: elapsed time is recorded this often */
    PROGRESS_MS = 30 * 1000, /* a line in the log this often */
    GRACE_MS = 10 * 1000,    /* what is with workers when time is up may take this much longer */
    FULL_RETRY_MS = 2000,    /* a full disk is tried again this often */
    SAMPLES_KEPT = 200,      /* programs that keep their raw samples, besides the youngest */
    THIN_EVERY = 1024,       /* settled places between two thinnings */
    CONTRASTS_MAX = 4,       /* runs that one is compared with when it ends */
};

/* ---- signals: a descriptor, so that the one poll() sees them ---- */

static bool signals_open(int *fd, struct err *err)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    signal(SIGPIPE, SIG_IGN); /* a dead worker shows as its death */
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0 ||
        (*fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC)) < 0) {
        return err_sys(err, "cannot watch for signals");
    }
    return true;
}

static bool signals_take(int fd)
{
    struct signalfd_siginfo info;

    return read(fd, &info, sizeof info) == (ssize_t)sizeof info;
}

/* ---- settling: places get their final row, in order ---- */

static bool settle_one(struct engine *engine, struct flight *flight, struct err *err)
{
    struct candidate_row row = {
        .run = engine->run.id,
        .place = flight->place,
        .state = CANDIDATE_DONE,
        .source_hash = engine_source_hash(flight),
        .code_key = flight->key.code_key,
        .plan_key = flight->key.plan_key,
        .verdict = flight->verdict,
        .reason = flight->reason,
        .replayed = flight->replayed,
        .alias_of = -1,
        .judgement = flight->judgement,
        .finished_at = clock_wall_ms(),
        .score = flight->score,
        .device_ms = flight->device_ms,
    };
    bool built = !hash_is_zero(&row.code_key);
    int64_t lowest = built ? places_program(engine->places, &row.code_key, &row.plan_key, row.place)
                           : row.place;

    /* A higher place may be known already, settled ahead of its turn when time was up. */
    if (lowest < row.place) {
        row.alias_of = lowest;
        flight->score.us = -flight->score.us; /* for the population: known, and nothing new */
    }
    if (!store_candidate_finish(engine->store, &row, err)) {
        return false;
    }
    flight->recorded = true;
    if (row.verdict == VERDICT_PASS) {
        engine->passed++;
        if (flight->proposal.operator_kind == OPERATOR_FOUNDER && engine->founder_us == 0) {
            engine->founder_us = row.score.us;
        }
    }
    return row.alias_of >= 0 || engine_crown(engine, flight, err);
}

/* The oldest flight, when it is decided for good; it may have to be promoted first. */
static bool next_to_settle(struct engine *engine, struct flight **flight, struct err *err)
{
    bool is_final;

    *flight = queue_at(engine->queue, places_settled(engine->places));
    if (*flight == NULL || (*flight)->stage != STAGE_DECIDED) {
        *flight = NULL;
        return true;
    }
    if (!engine_is_final(engine, *flight, &is_final, err) ||
        (!is_final && !engine_look_ahead(engine, *flight, &is_final, err))) {
        return false;
    }
    *flight = is_final ? *flight : NULL;
    return true;
}

static bool settle(struct engine *engine, struct err *err)
{
    struct flight *flight;
    bool ok;

    while ((ok = next_to_settle(engine, &flight, err)) && flight != NULL) {
        struct outcome outcome = {.place = flight->place, .genome = flight->genome,
                                  .numerics = flight->proposal.numerics,
                                  .depth = flight->proposal.depth,
                                  .kind = flight->proposal.operator_kind};

        if (!flight->recorded && !settle_one(engine, flight, err)) {
            return false;
        }
        outcome.us = flight->verdict == VERDICT_PASS ? flight->score.us : 0;
        places_settle(engine->places, &outcome);
        queue_settle(engine->queue, flight->place);
        if (places_settled(engine->places) % THIN_EVERY == 0 &&
            !store_thin(engine->store, engine->run.id, SAMPLES_KEPT, err)) {
            return false;
        }
    }
    return ok;
}

/*
 * When time is up, what is decided counts though places before it are not; but what would be the
 * best waits, as it is, for the promotion that there is no time for.
 */
static bool settle_all(struct engine *engine, struct err *err)
{
    for (int64_t place = places_settled(engine->places); place < engine->proposed; place++) {
        struct flight *flight = queue_at(engine->queue, place);
        bool is_final;

        if (flight == NULL || flight->stage != STAGE_DECIDED || flight->recorded) {
            continue;
        }
        if (!engine_is_final(engine, flight, &is_final, err) ||
            (is_final && !settle_one(engine, flight, err))) {
            return false;
        }
    }
    return true;
}

/* ---- ending ---- */

int64_t engine_elapsed_ms(const struct engine *engine)
{
    return engine->elapsed_ms + clock_now_ms() - engine->begun_ms;
}

static void begin_ending(struct engine *engine, enum ending ending)
{
    engine->ending = ending;
    engine->ending_ms = clock_now_ms();
}

static void look_at_budget(struct engine *engine)
{
    const struct run_row *run = &engine->run;

    if (engine->ending == GOING &&
        ((run->budget_wall_ms > 0 && engine_elapsed_ms(engine) >= run->budget_wall_ms) ||
         (run->budget_device_ms > 0 && run->device_ms >= (double)run->budget_device_ms))) {
        begin_ending(engine, SPENT);
    }
}

static bool all_settled(const struct engine *engine)
{
    return engine->ready && places_settled(engine->places) == engine->proposed;
}

/* Why the run has ended in this round, or NULL while it has not; but for duels that are missing. */
static const char *search_ended_because(const struct engine *engine)
{
    const struct run_row *run = &engine->run;

    switch (engine->ending) {
    case GOING:
        return run->budget_evaluations > 0 && engine->proposed >= run->budget_evaluations &&
                       all_settled(engine)
                   ? "its budget of evaluations is spent"
                   : NULL;
    case EXHAUSTED:
        return all_settled(engine) ? "every feasible genome was tried" : NULL;
    case SETTLED:
        return all_settled(engine) ? "no further gain is expected that could be measured" : NULL;
    case SPENT:
    case STOPPING:
        if (fleet_busy(engine->fleet) > 0 && clock_now_ms() - engine->ending_ms < GRACE_MS) {
            return NULL;
        }
        return engine->ending == STOPPING ? "stopped" : "its budget of time is spent";
    }
    return NULL;
}

/* The last best is timed against the seed's rivals before the run ends, unless it is stopped. */
static bool ended_because(struct engine *engine, const char **because, struct err *err)
{
    bool left;

    *because = search_ended_because(engine);
    if (*because == NULL || engine->ending == STOPPING || !engine->ready) {
        return true;
    }
    if (!engine_rivals_left(engine, &left, err) || (left && !engine_dispatch_duel(engine, err))) {
        return false;
    }
    if (left && !engine->rivalry.told_last) {
        log_line("engine", "%s; before the run ends its best meets the seed's rivals", *because);
        engine->rivalry.told_last = true;
    }
    *because = left ? NULL : *because;
    return true;
}

/* How this search fared beside others with other strategies that the database holds. */
static bool tell_contrasts(struct engine *engine, int64_t now, struct err *err)
{
    struct contrast_row rows[CONTRASTS_MAX];
    int count;

    for (int numerics = 0; numerics < POPULATION_CLASSES; numerics++) {
        if (!store_contrasts(engine->store, engine->run.id, numerics, rows, CONTRASTS_MAX, &count,
                             err)) {
            return false;
        }
        for (int i = 0; i < count; i++) {
            double gain = rows[i].us / rows[i].own_us;
            const char *text = arena_printf(
                engine->round, "after %lld evaluations each %s had %.2f us, run %lld by %s %.2f "
                "us: %s %.3f times as fast%s%s", (long long)rows[i].evaluations,
                engine->run.strategy, rows[i].own_us, (long long)rows[i].run, rows[i].strategy,
                rows[i].us, gain >= 1 ? engine->run.strategy : rows[i].strategy,
                gain >= 1 ? gain : 1 / gain, numerics == 1 ? " (FP16 accumulation)" : "",
                engine->lessons > 0 ? "; it began with what earlier runs had found" : "");

            log_line("engine", "%s", text);
            if (!store_event(engine->store, engine->run.id, now, "contrast", text, err)) {
                return false;
            }
        }
    }
    return true;
}

/* How the search fared beside its own arms, which know nothing or only themselves. */
static bool tell_arms(struct engine *engine, int64_t now, struct err *err)
{
    struct arm_row rows[ARMS_MAX];
    int count;

    if (strcmp(engine->run.strategy, strategy_names[STRATEGY_EVO]) != 0) {
        return true; /* its operators may have these names, and are no arms */
    }
    for (int numerics = 0; numerics < POPULATION_CLASSES; numerics++) {
        if (!store_arms(engine->store, engine->run.id, numerics, rows, &count, err)) {
            return false;
        }
        for (int i = 0; i < count; i++) {
            const char *name = rows[i].operator_name;
            double gain = rows[i].us / rows[i].own_us;
            const char *text = arena_printf(
                engine->round, "after %lld evaluations each evo had %.2f us, its arm '%s' %.2f us: "
                "%s %.3f times as fast%s", (long long)rows[i].evaluations, rows[i].own_us, name,
                rows[i].us, gain >= 1 ? "evo" : name, gain >= 1 ? gain : 1 / gain,
                numerics == 1 ? " (FP16 accumulation)" : "");

            log_line("engine", "%s", text);
            if (!store_event(engine->store, engine->run.id, now, "contrast", text, err)) {
                return false;
            }
        }
    }
    return true;
}

static bool finish(struct engine *engine, const char *because, struct err *err)
{
    int64_t now = clock_wall_ms();

    if (engine->ending != STOPPING) {
        engine->run.state = RUN_FINISHED;
        engine->run.ended_because = because;
    }
    return (!engine->ready || settle_all(engine, err)) &&
           store_attempts_close(engine->store, engine->run.id, now, "abandoned", err) &&
           (engine->ending == STOPPING ||
            (tell_contrasts(engine, now, err) && tell_arms(engine, now, err))) &&
           store_event(engine->store, engine->run.id, now, "end", because, err);
}

static void progress_line(struct engine *engine)
{
    char best[64] = "none yet";
    double us = 0;
    int64_t settled = engine->ready ? places_settled(engine->places) : 0;
    int64_t elapsed = engine_elapsed_ms(engine);

    for (int i = 0; i < POPULATION_CLASSES; i++) {
        double best_us = engine->champions[i].score.us;

        if (best_us > 0 && (us == 0 || best_us < us)) {
            us = best_us;
        }
    }
    if (us > 0) {
        snprintf(best, sizeof best, "%.2f us", us);
    }
    if (us > 0 && engine->founder_us > 0) {
        snprintf(best, sizeof best, "%.2f us, %.2fx the founder", us, engine->founder_us / us);
    }
    log_line("engine", "%lld evaluations in %lld s, %lld valid; best %s; device busy %.0f %%",
             (long long)settled, (long long)(elapsed / 1000), (long long)engine->passed, best,
             elapsed > 0 ? 100 * engine->run.device_ms / (double)elapsed : 0);
    engine->progress_ms = clock_now_ms();
}

/* ---- rounds ---- */

/* All that a round changes in the database, in one transaction. */
static bool turn_work(struct engine *engine, const struct fleet_event *events, int count,
                       const char **because, struct err *err)
{
    for (int i = 0; i < count; i++) {
        bool judge = fleet_role(engine->fleet, events[i].worker) == ROLE_JUDGE;

        if (events[i].kind == FLEET_READY
                ? judge && !engine_meet_judge(engine, &events[i], err)
                : !engine_attend(engine, &events[i], err)) {
            return false;
        }
    }
    if (engine->ready) {
        if (!settle(engine, err) ||
            (engine->ending == GOING && !engine_propose(engine, err)) || !settle(engine, err) ||
            (engine->ending != STOPPING && engine->ending != SPENT &&
             !engine_dispatch(engine, err))) {
            return false;
        }
    }
    if (!ended_because(engine, because, err) ||
        (*because != NULL && !finish(engine, *because, err)) ||
        !ledger_save(&engine->ledger, engine->store, engine->run.id, *because != NULL, err)) {
        return false;
    }
    engine->run.elapsed_ms = engine_elapsed_ms(engine);
    if (engine->ready) {
        engine->run.duplicates = engine->duplicates + population_duplicates(engine->population);
    }
    return store_run_update(engine->store, &engine->run, err);
}

/* Why a judge without a job has none. */
static enum ledger_item idle_because(const struct engine *engine)
{
    if (engine->ending == STOPPING || engine->ending == SPENT) {
        return LEDGER_ENDING;
    }
    if (!engine->ready || queue_first(engine->queue, STAGE_COMPILE) != NULL ||
        queue_first(engine->queue, STAGE_COMPILING) != NULL) {
        return LEDGER_COMPILERS;
    }
    return engine->ending == GOING ? LEDGER_ORDER : LEDGER_ENDING;
}

static int round_ms(const struct engine *engine)
{
    int64_t left = ROUND_MS;

    if (engine->ending == GOING && engine->run.budget_wall_ms > 0) {
        int64_t budget = engine->run.budget_wall_ms - engine_elapsed_ms(engine);

        left = budget < left ? budget : left;
    }
    return left > 0 ? (int)left : 0;
}

/* One turn of the loop, after `events`. *because is set when it was the last. */
static bool turn(struct engine *engine, const struct fleet_event *events, int count,
                 const char **because, struct err *err)
{
    *because = NULL;
    if (signals_take(engine->signals)) {
        if (engine->ending == STOPPING) {
            *because = "stopped at once";
            return true; /* everything durable is durable already */
        }
        log_line("engine", "stopping: what is in flight is finished first");
        begin_ending(engine, STOPPING);
    }
    look_at_budget(engine);
    if (!store_begin(engine->store, err)) {
        return false;
    }
    if (!turn_work(engine, events, count, because, err)) {
        store_rollback(engine->store);
        return false;
    }
    FAULT("engine.commit");
    if (!store_commit(engine->store, err)) {
        return false;
    }
    FAULT("engine.committed");
    engine_send(engine);
    ledger_sent(&engine->ledger, engine->fleet, idle_because(engine));
    if (clock_now_ms() - engine->progress_ms >= PROGRESS_MS || *because != NULL) {
        progress_line(engine);
    }
    return true;
}

static bool wait_and_turn(struct engine *engine, const char **because, struct err *err)
{
    struct fleet_event events[FLEET_EVENTS_MAX];
    int count;

    arena_reset(engine->round);
    if (!fleet_wait(engine->fleet, round_ms(engine), engine->round, events, &count, err)) {
        return false;
    }
    ledger_woke(&engine->ledger, engine->fleet, events, count);
    return turn(engine, events, count, because, err);
}

/* ---- before the first turn ---- */

static bool not_stopped(void *context, int done, int count)
{
    struct engine *engine = context;

    (void)done, (void)count;
    return !signals_take(engine->signals);
}

/* What does not hold a worker is said once for each role. */
static void tell_confinement(const struct engine *engine, const struct fleet_event *events,
                             int count)
{
    bool told[ROLE_COUNT] = {false};

    for (int i = 0; i < count; i++) {
        enum role role = fleet_role(engine->fleet, events[i].worker);

        if (strstr(events[i].hello.sandbox, "no ") != NULL && !told[role]) {
            log_line("engine", "this kernel does not hold workers as it could: %s: %s",
                     fleet_name(engine->fleet, events[i].worker), events[i].hello.sandbox);
            told[role] = true;
        }
    }
}

/* No search begins with a judge that can be fooled. Its workers said hello to the self-test. */
static bool begin(struct engine *engine, const char **because, struct err *err)
{
    struct batch batch = {
        .fleet = engine->fleet, .arena = arena_new(), .go_on = not_stopped, .context = engine};
    struct fleet_event events[FLEET_EVENTS_MAX];
    bool done, ok = selftest_ensure(&batch, &done, err);

    arena_free(batch.arena);
    if (!ok) {
        return false;
    }
    engine->begun_ms = engine->progress_ms = clock_now_ms(); /* no budget pays for it */
    if (!done) {
        *because = "stopped";
        return true;
    }
    if (!ledger_open(&engine->ledger, engine->store, engine->run.id, err)) {
        return false;
    }
    arena_reset(engine->round);
    int count = fleet_ready(engine->fleet, events);
    ledger_woke(&engine->ledger, engine->fleet, events, count);
    tell_confinement(engine, events, count);
    return turn(engine, events, count, because, err);
}

/* ---- one incarnation: from loading to an end or a failure ---- */

static void unload(struct engine *engine)
{
    fleet_free(engine->fleet);
    audit_free(engine->audit);
    population_free(engine->population);
    queue_free(engine->queue);
    places_free(engine->places);
    arena_free(engine->arena);
    arena_free(engine->round);
}

static bool incarnate(const struct engine_options *options, struct store *store, int signals,
                      int64_t *fresh_run, struct err *err)
{
    struct engine *engine = xcalloc(1, sizeof *engine);
    const char *because = NULL;
    bool ok;

    engine->options = options;
    engine->store = store;
    engine->signals = signals;
    engine->fresh_run = *fresh_run;
    engine->arena = arena_new();
    engine->round = arena_new();
    engine->fleet = fleet_new();
    fleet_watch(engine->fleet, signals);
    ok = engine_load(engine, err) && setup_staff(&engine->setup, engine->fleet, err);
    *fresh_run = engine->fresh_run;
    engine->elapsed_ms = engine->run.elapsed_ms;
    ok = ok && begin(engine, &because, err);
    while (ok && because == NULL) {
        ok = wait_and_turn(engine, &because, err);
    }
    if (ok) {
        log_line("engine", "run '%s' ended: %s", engine->run.name, because);
    }
    unload(engine);
    free(engine);
    return ok;
}

/* Waits until the disk takes a row again; false if a signal or another failure came first. */
static bool wait_for_space(struct store *store, const char *db_path, int signals, struct err *err)
{
    struct pollfd fd = {.fd = signals, .events = POLLIN};

    log_line("engine", "paused: %s; the run goes on when '%s' has space again", err->what,
             db_path);
    while (poll(&fd, 1, FULL_RETRY_MS) == 0) {
        if (store_begin(store, err) &&
            store_event(store, 0, clock_wall_ms(), "disk", "space again", err) &&
            store_commit(store, err)) {
            log_line("engine", "there is space again");
            return true;
        }
        store_rollback(store);
        if (!store_is_full(store)) {
            return false;
        }
    }
    return false;
}

bool engine_run(const struct engine_options *options, struct err *err)
{
    struct buf lock_path = {0};
    struct store *store = NULL;
    int64_t fresh_run = 0;
    int lock = -1, signals = -1;
    pid_t holder;
    bool ok = false;

    buf_printf(&lock_path, "%s.lock", options->db_path);
    if (!lock_take(lock_path.data, &lock, &holder, err)) {
        if (holder != 0) {
            err_set(err, ERR_USER, "'%s' is in use by process %ld", options->db_path,
                    (long)holder);
            err_hint(err, "'evo watch' follows it, 'evo stop' stops it");
        }
        goto out;
    }
    if (!signals_open(&signals, err) ||
        !store_open(options->db_path, STORE_CREATE, &store, err)) {
        goto out;
    }
    /* What memory holds may be ahead of a disk that refused it: a new incarnation reads it back. */
    while (!(ok = incarnate(options, store, signals, &fresh_run, err)) && store_is_full(store) &&
           wait_for_space(store, options->db_path, signals, err)) {
    }
out:
    store_close(store);
    if (signals >= 0) {
        close(signals);
    }
    if (lock >= 0) {
        close(lock);
    }
    buf_free(&lock_path);
    return ok;
}
