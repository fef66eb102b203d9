#include "daemon/engine_state.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"

/* Of the run's secret; the search's inputs come from another. */
enum { STREAM_PROMOTION = 0x9307e };
/*
 * The oldest flight looks ahead by the seed's lag over this. Early in a search each place is faster
 * than the one before, and a promotion takes a judge ten times as long as a judgement: most of them
 * would be overtaken before anybody knew them. More than half of the window would let judges wait.
 */
enum { AHEAD_PART = 2 };
enum {
    AHEAD_FIRST = 4,     /* places at most, while there is no best: somebody waits to see one */
    LEFT_MS = 30 * 1000, /* of a run, in which counters that wait are taken */
    LEFT_EVALUATIONS = 200,
};

/* The lower end of the gain's interval over the best so far must be above this. */
static const double GAIN_MIN = 1.005;
/* A gain above this over the best so far is not believed the first time. */
static const double TOO_GOOD = 3;

/* ---- who must be promoted ---- */

static const struct champion *champion_of(const struct engine *engine, const struct flight *flight)
{
    return &engine->champions[flight->proposal.numerics];
}

static bool beats(const struct score *best, const struct score *score)
{
    return best->us == 0 || score_gain(best, score).low > GAIN_MIN;
}

static bool is_too_good(const struct champion *champion, const struct score *score)
{
    return champion->score.us > 0 && score_gain(&champion->score, score).ratio > TOO_GOOD;
}

/* Says why a time is not to be believed, "" if it is. */
static bool find_doubt(struct engine *engine, const struct flight *flight, const char **doubt,
                       struct err *err)
{
    const struct champion *champion = champion_of(engine, flight);
    struct floor_row floor;

    *doubt = "";
    if (!store_judgement_floor(engine->store, flight->judgement, engine->round, &floor, err)) {
        return false;
    }
    if (floor.shape != NULL) {
        *doubt = arena_printf(flight->arena,
                              "%.3f us on %s are below the %.3f us that the device's peaks allow",
                              floor.us, floor.shape, floor.floor_us);
    } else if (is_too_good(champion, &flight->score)) {
        *doubt = arena_printf(flight->arena, "%.2f times as fast as the best so far, n%lld",
                              score_gain(&champion->score, &flight->score).ratio,
                              (long long)champion->place);
    }
    return true;
}

/* The second judgement is the flight's from now on. */
static void adopt(struct flight *flight, const struct judgement_row *judgement)
{
    flight->promoted = true;
    flight->judgement = judgement->id;
    flight->verdict = judgement->verdict;
    flight->reason = arena_dup(flight->arena, judgement->reason);
    flight->score = judgement->score;
    flight->replayed = judgement->replayed;
}

/* It was promoted for another place with this program, or in an earlier run. */
static bool adopt_known(struct engine *engine, struct flight *flight, struct err *err)
{
    struct judgement_row second;
    bool found;

    if (flight->promoted) {
        return true;
    }
    if (!store_promotion_find(engine->store, flight->judgement, engine->round, &second, &found,
                              err)) {
        return false;
    }
    if (found) {
        adopt(flight, &second);
    }
    return true;
}

bool engine_is_final(struct engine *engine, struct flight *flight, bool *is_final, struct err *err)
{
    *is_final = true;
    if (flight->verdict != VERDICT_PASS || flight->promoted || flight->recorded) {
        return true;
    }
    if (!adopt_known(engine, flight, err)) {
        return false;
    }
    if (flight->promoted) {
        return true;
    }
    *is_final = places_program(engine->places, &flight->key.code_key, &flight->key.plan_key,
                               flight->place) < flight->place ||
                !beats(&champion_of(engine, flight)->score, &flight->score);
    return true;
}

/* ---- who goes first ---- */

static bool promote(struct engine *engine, struct flight *flight, struct err *err)
{
    const char *doubt;

    if (!find_doubt(engine, flight, &doubt, err)) {
        return false;
    }
    flight->quarantine = doubt;
    flight->deaths = 0;
    if (*doubt != '\0') {
        log_line("engine", "n%lld is in quarantine: %s; a fresh judge judges it from scratch",
                 (long long)flight->place, doubt);
    }
    queue_move(flight, STAGE_PROMOTE);
    FAULT("promote.due");
    return true;
}

/* The last place that the oldest looks at; it exists, or never will. -1: it does not exist yet. */
static int64_t last_looked_at(const struct engine *engine, const struct flight *oldest)
{
    const struct run_row *run = &engine->run;
    int ahead = engine->setup.seed.lag / AHEAD_PART;
    bool first = champion_of(engine, oldest)->score.us == 0;
    int64_t last = oldest->place + (first && ahead > AHEAD_FIRST ? AHEAD_FIRST : ahead);
    bool all = engine->ending == EXHAUSTED || engine->ending == SETTLED ||
               (run->budget_evaluations > 0 && engine->proposed >= run->budget_evaluations);

    return last < engine->proposed ? last : all ? engine->proposed - 1 : -1;
}

/* It passed, and is not known by the name of a settled place. */
static bool may_lead(const struct engine *engine, const struct flight *flight, int numerics)
{
    return flight->stage == STAGE_DECIDED && flight->verdict == VERDICT_PASS &&
           !flight->recorded && flight->proposal.numerics == numerics &&
           places_known(engine->places, &flight->key.code_key, &flight->key.plan_key) < 0;
}

bool engine_look_ahead(struct engine *engine, struct flight *oldest, bool *is_final,
                       struct err *err)
{
    const struct champion *champion = champion_of(engine, oldest);
    int64_t last = last_looked_at(engine, oldest);
    struct flight *fastest = oldest;
    bool all_decided = last >= 0;

    for (int64_t place = oldest->place + 1; place <= last; place++) {
        struct flight *flight = queue_at(engine->queue, place);

        all_decided = all_decided && flight->stage == STAGE_DECIDED;
        if (!may_lead(engine, flight, oldest->proposal.numerics)) {
            continue;
        }
        if (!adopt_known(engine, flight, err)) {
            return false;
        }
        if (!flight->promoted) {
            fastest = flight->score.us < fastest->score.us &&
                              beats(&champion->score, &flight->score)
                          ? flight
                          : fastest;
        } else if (flight->verdict == VERDICT_PASS && !beats(&flight->score, &oldest->score)) {
            *is_final = true;
            return true;
        }
    }
    return !all_decided || promote(engine, fastest, err);
}

/* ---- the job ---- */

/* Whether a judge will have enough to do that counters, half of a promotion, may wait. */
static bool has_time_left(const struct engine *engine)
{
    const struct run_row *run = &engine->run;
    int64_t wall = run->budget_wall_ms - engine_elapsed_ms(engine);
    double device = (double)run->budget_device_ms - run->device_ms;

    return engine->ending == GOING && (run->budget_wall_ms == 0 || wall > LEFT_MS) &&
           (run->budget_device_ms == 0 || device > LEFT_MS) &&
           (run->budget_evaluations == 0 ||
            run->budget_evaluations - engine->proposed > LEFT_EVALUATIONS);
}

void engine_fill_promotion(struct engine *engine, const struct flight *flight, int64_t attempt,
                           struct judge_job *job)
{
    const struct program *programs[JOB_IMAGES_MAX] = {NULL};
    struct rng rng = rng_at(engine->run.secret, STREAM_PROMOTION, (uint64_t)attempt);
    struct shapes *shapes = &engine->held_out;

    job->effort = EFFORT_PROMOTE;
    job->counters_later = has_time_left(engine);
    job->secret = rng_u64(&rng);
    for (int i = 0; i < flight->image_count; i++) {
        programs[i] = &flight->images[i].program;
    }
    *shapes = engine->shapes;
    if (flight->image_count > 0) { /* a recording holds the workload's shapes alone */
        shapes_hold_out(shapes, programs, engine->space.sms, engine->emulated, &rng);
    }
}

/* ---- the answer ---- */

/* No run has judged this before: neither with these shapes nor for this first judgement. */
static struct hash workload_of(const struct engine *engine, int64_t searched)
{
    struct hash shapes = shapes_hash(&engine->held_out);
    struct hasher hasher;

    hash_begin(&hasher, "evo promotion 1");
    hash_field(&hasher, "shapes", shapes.bytes, HASH_BYTES);
    hash_i64(&hasher, "searched", searched);
    return hash_end(&hasher);
}

/*
 * A second time that nobody expected is no more to be believed than a first. Only a real device can
 * be so unlike itself.
 */
static bool is_doubtful(const struct engine *engine, const struct flight *flight,
                        const struct score *score)
{
    return score->us > 0 &&
           (flight->score.us / score->us > TOO_GOOD ||
            (*flight->quarantine == '\0' && is_too_good(champion_of(engine, flight), score)));
}

static void promote_again(struct flight *flight, const struct score *score)
{
    flight->doubted = true;
    flight->quarantine = arena_printf(flight->arena, "%.3f us by a fresh judge, %.3f us before",
                                      score->us, flight->score.us);
    log_line("engine", "n%lld is in quarantine: %s; another fresh judge judges it from scratch",
             (long long)flight->place, flight->quarantine);
    queue_move(flight, STAGE_PROMOTE);
}

/* What is impossible in two processes is a hole in the judge that somebody has found. */
static void refuse_impossible(const struct engine *engine, struct judge_result *result,
                              const struct score *scores)
{
    for (int i = 0; i < result->metric_count && result->verdict == VERDICT_PASS; i++) {
        int problem = result->metrics[i].problem;
        char shape[PROBLEM_TEXT_MAX];

        if (result->metrics[i].metric == METRIC_FLOOR_US && problem >= 0 &&
            problem < result->timing_count && scores[problem].us < result->metrics[i].value) {
            problem_text(&engine->shapes.list[problem].problem, shape);
            result->verdict = VERDICT_INVALID;
            result->reason = arena_printf(
                engine->round,
                "it took %.3f us on %s, below the %.3f us that the device's peaks allow",
                scores[problem].us, shape, result->metrics[i].value);
        }
    }
}

static void say(const struct engine *engine, const struct flight *flight, const struct score *first)
{
    const struct champion *champion = champion_of(engine, flight);
    long long place = flight->place, best = champion->place;

    if (flight->verdict != VERDICT_PASS) {
        log_line("engine", "n%lld, %.3f us to the search, is not promoted: %s: %s", place,
                 first->us, verdict_names[flight->verdict], flight->reason);
    } else if (!beats(&champion->score, &flight->score)) {
        log_line("engine", "n%lld does not beat n%lld after all: %.3f us by a fresh judge, "
                 "%.3f us to the search", place, best, flight->score.us, first->us);
    } else if (champion->score.us == 0) {
        log_line("engine", "n%lld is the best: %.3f us by a fresh judge, %.3f us to the search",
                 place, flight->score.us, first->us);
    } else {
        log_line("engine", "n%lld is the best: %.3f us by a fresh judge, %.3f us to the search; "
                 "%.3f times as fast as n%lld", place, flight->score.us, first->us,
                 champion->score.us / flight->score.us, best);
    }
}

static bool note_quarantine(struct engine *engine, const struct flight *flight,
                            const struct score *first, struct err *err)
{
    const char *outcome = verdict_names[flight->verdict];

    if (*flight->quarantine == '\0') {
        return true;
    }
    if (flight->verdict == VERDICT_PASS) {
        outcome = arena_printf(engine->round,
                               "believed: %.3f us at first, %.3f us by a fresh judge", first->us,
                               flight->score.us);
    }
    return store_event(engine->store, engine->run.id, clock_wall_ms(), "quarantine",
                       arena_printf(engine->round, "n%lld: %s; %s", (long long)flight->place,
                                    flight->quarantine, outcome),
                       err);
}

bool engine_promoted(struct engine *engine, struct flight *flight, int64_t attempt,
                     struct judge_result *result, const struct score *scores, struct score whole,
                     struct err *err)
{
    struct score first = flight->score;
    struct promotion_row promotion = {.searched = flight->judgement, .attempt = attempt,
                                      .tried = flight->place + 1};
    struct judgement_row judgement = {.key = flight->key, .run = engine->run.id,
                                      .place = flight->place, .replayed = result->replayed,
                                      .device_ms = result->device_ms};

    engine->run.device_ms += result->device_ms;
    if (!flight->doubted && is_doubtful(engine, flight, &whole)) {
        promote_again(flight, &whole);
        return true;
    }
    refuse_impossible(engine, result, scores);
    promotion.quarantine = flight->quarantine;
    judgement.key.workload = workload_of(engine, flight->judgement);
    judgement.verdict = result->verdict;
    judgement.reason = result->reason;
    judgement.score = result->verdict == VERDICT_PASS ? whole : (struct score){0};
    FAULT("promote.answered");
    if (!store_promotion_insert(engine->store, &judgement, &promotion, result, scores, err)) {
        return false;
    }
    FAULT("promote.recorded");
    flight->device_ms += result->device_ms;
    adopt(flight, &judgement);
    queue_move(flight, STAGE_DECIDED);
    say(engine, flight, &first);
    return note_quarantine(engine, flight, &first, err);
}

/* ---- the best ---- */

static bool keep_code(struct engine *engine, const struct flight *flight, struct err *err)
{
    for (int i = 0; i < flight->image_count; i++) {
        const struct built *built = &flight->images[i].built;

        if (!store_build_keep(engine->store, &built->code_key, built->ptx, built->ptx_bytes,
                              built->cubin, built->cubin_bytes, err)) {
            return false;
        }
    }
    return true;
}

bool engine_crown(struct engine *engine, const struct flight *flight, struct err *err)
{
    struct champion *champion = &engine->champions[flight->proposal.numerics];

    if (!flight->promoted || flight->verdict != VERDICT_PASS ||
        !beats(&champion->score, &flight->score)) {
        return true;
    }
    *champion = (struct champion){flight->place, flight->score};
    if (!store_crown(engine->store, engine->run.id, flight->place, err) ||
        !keep_code(engine, flight, err)) {
        return false;
    }
    engine_rivals_take(engine, flight->proposal.numerics, flight->place, flight->judgement,
                       &flight->genome);
    FAULT("promote.crowned");
    return true;
}
