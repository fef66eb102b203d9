#include "daemon/engine_state.h"

#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/proc.h"
#include "daemon/lessons.h"
#include "daemon/microbench.h"

enum {
    SMALL_SPACE = 2000,   /* feasible genomes that a user may want to try one and all */
    LOOKED_MAX = 1 << 20, /* genomes looked at to know */
};

/* ---- starting: a new run, or one that goes on ---- */

static void apply_budgets(struct run_row *run, const struct engine_options *options)
{
    if (options->budget_evaluations >= 0) {
        run->budget_evaluations = options->budget_evaluations;
    }
    if (options->budget_wall_ms >= 0) {
        run->budget_wall_ms = options->budget_wall_ms;
    }
    if (options->budget_device_ms >= 0) {
        run->budget_device_ms = options->budget_device_ms;
    }
}

static const char *boot_id(struct arena *arena)
{
    struct buf text = {0};
    struct err ignored;
    const char *id = "";

    if (file_read("/proc/sys/kernel/random/boot_id", 256, &text, &ignored)) {
        text.data[strcspn(text.data, "\n")] = '\0';
        id = arena_dup(arena, text.data);
    }
    buf_free(&text);
    return id;
}

/* Whether the run has a model that earlier runs can teach. */
static bool learns(const struct run_row *run)
{
    return strcmp(run->strategy, strategy_names[STRATEGY_EVO]) == 0 ||
           strcmp(run->strategy, strategy_names[STRATEGY_EXHAUSTIVE]) == 0;
}

static bool create_run(struct engine *engine, struct err *err)
{
    const struct engine_options *options = engine->options;
    const struct seed *seed = &engine->setup.seed;
    struct run_row *run = &engine->run;
    *run = (struct run_row){
        .name = seed->name,
        .seed_path = seed->path,
        .seed_text = arena_text(engine->arena, seed->text, seed->text_bytes),
        .device_spec = engine->setup.device_spec,
        .strategy = options->strategy != NULL ? options->strategy
                                              : strategy_names[seed->strategy],
        .evo_version = EVO_VERSION,
        .device = "",
        .boot_id = boot_id(engine->arena),
        .rng_seed = seed->rng_seed,
        .budget_evaluations = seed->budget_evaluations,
        .budget_wall_ms = seed->budget_wall_ms,
        .budget_device_ms = seed->budget_device_ms,
        .ended_because = "",
        .created_at = clock_wall_ms(),
    };
    apply_budgets(run, options);
    if (getrandom(&run->secret, sizeof run->secret, 0) != (ssize_t)sizeof run->secret) {
        return err_sys(err, "cannot draw a secret");
    }
    if (!store_run_insert(engine->store, run, err) ||
        !setup_keep(&engine->setup, engine->store, run->id, err)) {
        return false;
    }
    for (int i = 0; i < seed->problem_count; i++) {
        char text[PROBLEM_TEXT_MAX];

        problem_text(&seed->problems[i], text);
        if (!store_problem_insert(engine->store, run->id, i, text,
                                  problem_flops(&seed->problems[i]), err)) {
            return false;
        }
    }
    return (options->forget || !learns(run) ||
            lessons_gather(engine->store, &engine->setup, run->id, err)) &&
           store_event(engine->store, run->id, run->created_at, "start", seed->name, err);
}

/* An attempt without an end was cut off: by the death of the host, or of the daemon alone. */
static bool resume_run(struct engine *engine, struct err *err)
{
    struct run_row *run = &engine->run;
    const char *boot = boot_id(engine->arena);
    const char *outcome = strcmp(boot, run->boot_id) == 0 ? "abandoned" : "lost";
    int64_t now = clock_wall_ms();

    apply_budgets(run, engine->options);
    run->boot_id = boot;
    run->state = RUN_OPEN;
    run->ended_because = "";
    return setup_recall(engine->arena, engine->store, run, engine->options, &engine->setup, err) &&
           store_attempts_close(engine->store, run->id, now, outcome, err) &&
           store_event(engine->store, run->id, now, "resume", "", err);
}

/* Whether the database's run is the one that options ask for. */
static bool same_seed(const struct run_row *run, const struct engine_options *options,
                      struct err *err)
{
    struct buf text = {0};
    bool same;

    if (options->seed_path == NULL) {
        return true;
    }
    if (!file_read(options->seed_path, SEED_BYTES_MAX, &text, err)) {
        return err_hint(err, "a seed is a YAML file; see 'man evo-seed' and the folder seeds");
    }
    same = strcmp(text.data, run->seed_text) == 0;
    buf_free(&text);
    if (!same) {
        err_set(err, ERR_USER, "'%s' holds a run of '%s' (%s), whose text differs from '%s'",
                options->db_path, run->name, run->seed_path, options->seed_path);
        return err_hint(err, "'--new' begins another run in it, '--db FILE' another database; "
                             "without --seed the stored run goes on");
    }
    return true;
}

bool engine_load(struct engine *engine, struct err *err)
{
    const struct engine_options *options = engine->options;
    bool found, ok;

    if (!store_begin(engine->store, err)) {
        return false;
    }
    ok = store_run_latest(engine->store, engine->arena, &engine->run, &found, err);
    if (ok && found && !(options->fresh && engine->run.id != engine->fresh_run)) {
        ok = same_seed(&engine->run, options, err) && resume_run(engine, err);
    } else if (ok && options->seed_path == NULL) {
        err_set(err, ERR_USER, "'%s' holds no run yet", options->db_path);
        ok = err_hint(err, "name a seed: evo start --seed seeds/phase4.yaml");
    } else if (ok) {
        ok = setup_read(engine->arena, options, &engine->setup, err) && create_run(engine, err);
        engine->fresh_run = engine->run.id;
    }
    if (!ok) {
        store_rollback(engine->store);
        return false;
    }
    return store_commit(engine->store, err);
}

bool engine_check_start(const struct engine_options *options, struct arena *arena,
                        struct err *err)
{
    const char *lock = arena_printf(arena, "%s.lock", options->db_path);
    pid_t holder = lock_holder(lock);
    struct store *store = NULL;
    struct setup setup;
    struct run_row run;
    bool found = false, ok = true;

    if (holder != 0) {
        err_set(err, ERR_USER, "'%s' is in use by process %ld", options->db_path, (long)holder);
        return err_hint(err, "'evo watch' follows it, 'evo stop' stops it");
    }
    if (access(options->db_path, F_OK) == 0) {
        if (!store_open(options->db_path, STORE_CREATE, &store, err)) {
            return false;
        }
        ok = store_run_latest(store, arena, &run, &found, err);
        if (ok && found && !options->fresh) {
            ok = same_seed(&run, options, err) &&
                 setup_recall(arena, store, &run, options, &setup, err);
        }
        store_close(store);
    }
    if (ok && (!found || options->fresh)) {
        if (options->seed_path == NULL) {
            err_set(err, ERR_USER, "'%s' holds no run to go on with", options->db_path);
            return err_hint(err, "name a seed: evo start --seed seeds/phase4.yaml");
        }
        ok = setup_read(arena, options, &setup, err);
    }
    return ok;
}

/* ---- recovering: the rows of the run become its state ---- */

struct recall {
    struct engine *engine;
    int64_t count;
};

static bool recall_genome(const struct engine *engine, const struct candidate_row *row,
                          struct genome *genome, struct err *err)
{
    for (int i = 0; i < engine->setup.family_count; i++) {
        if (strcmp(engine->setup.families[i]->name, row->family) == 0) {
            *genome = (struct genome){.family = (uint16_t)i};
            return genome_parse(engine->setup.families[i], row->genes, genome, err);
        }
    }
    return err_set(err, ERR_USER, "n%lld is of family '%s', which this seed does not name",
                   (long long)row->place, row->family);
}

/* As the population counts it: of an alias below 0. */
static double outcome_us(const struct candidate_row *row)
{
    return row->verdict != VERDICT_PASS ? 0 : row->alias_of < 0 ? row->score.us : -row->score.us;
}

static void note_outcome(struct engine *engine, const struct candidate_row *row,
                         const struct genome *genome)
{
    struct outcome outcome = {.place = row->place, .genome = *genome, .numerics = row->numerics,
                              .depth = row->depth, .us = outcome_us(row)};

    if (!operator_parse(row->operator_name, &outcome.kind)) {
        outcome.kind = OPERATOR_FOUNDER; /* of a newer evo: nobody's credit */
    }
    places_settle(engine->places, &outcome);
}

/* Settled rows that no coming proposal waits for go to the population at once. */
static void fold_early(struct engine *engine, int64_t rows)
{
    struct outcome outcome;

    while (places_next(engine->places, rows - engine->setup.seed.lag, &outcome)) {
        population_fold(engine->population, &outcome);
    }
}

static struct flight *recall_flight(struct engine *engine, const struct candidate_row *row,
                                    const struct genome *genome)
{
    struct flight *flight = queue_add(engine->queue, row->place);
    struct proposal *proposal = &flight->proposal;

    flight->genome = proposal->genome = *genome;
    proposal->genome_hash = row->genome_hash;
    proposal->numerics = row->numerics;
    proposal->island = row->island;
    proposal->depth = row->depth;
    operator_parse(row->operator_name, &proposal->operator_kind);
    proposal->bound_us = row->bound_us;
    return flight;
}

static void note_pass(struct engine *engine, const struct candidate_row *row)
{
    if (row->verdict != VERDICT_PASS) {
        return;
    }
    engine->passed++;
    if (engine->founder_us == 0 && strcmp(row->operator_name, "founder") == 0) {
        engine->founder_us = row->score.us;
    }
}

static bool recall_row(void *context, const struct candidate_row *row, struct err *err)
{
    struct recall *recall = context;
    struct engine *engine = recall->engine;
    struct genome genome;
    struct flight *flight;

    if (!recall_genome(engine, row, &genome, err)) {
        return false;
    }
    population_mark(engine->population, row->place, &genome, &row->genome_hash);
    engine->proposed = row->place + 1;
    if (row->state == CANDIDATE_DONE) {
        note_pass(engine, row);
        if (!hash_is_zero(&row->code_key)) {
            places_program(engine->places, &row->code_key, &row->plan_key, row->place);
        }
        if (row->place == places_settled(engine->places)) {
            note_outcome(engine, row, &genome);
            fold_early(engine, recall->count);
            return true;
        }
    }
    flight = recall_flight(engine, row, &genome);
    if (row->state == CANDIDATE_DONE) { /* settled ahead of its turn when time was up */
        flight->recorded = true;
        flight->score.us = outcome_us(row);
        engine_decide(flight, row->verdict, row->reason);
    }
    return true;
}

static bool recall_champions(struct engine *engine, struct err *err)
{
    for (int i = 0; i < POPULATION_CLASSES; i++) {
        struct candidate_row row;
        bool found;

        if (!store_champion(engine->store, engine->round, engine->run.id, i, &row, &found, err)) {
            return false;
        }
        if (found) {
            struct genome genome;

            if (!recall_genome(engine, &row, &genome, err)) {
                return false;
            }
            engine->champions[i] = (struct champion){row.place, row.score};
            engine_rivals_take(engine, i, row.place, row.judgement, &genome);
        }
    }
    return true;
}

static bool recall_places(struct engine *engine, struct err *err)
{
    struct recall recall = {.engine = engine};
    struct flight *flight;

    engine->queue = queue_new(engine->setup.seed.lag);
    engine->places = places_new(engine->setup.seed.lag);
    if (!recall_champions(engine, err) ||
        !store_candidate_count(engine->store, engine->run.id, &recall.count, err) ||
        !store_candidates_each(engine->store, engine->run.id, recall_row, &recall, err)) {
        return false;
    }
    while ((flight = queue_first(engine->queue, STAGE_RENDER)) != NULL) {
        if (!engine_take_off(engine, flight, err)) {
            return false;
        }
    }
    return true;
}

static void recall_gene(void *context, const struct audit_row *row)
{
    struct engine *engine = context;

    for (int i = 0; i < engine->setup.family_count; i++) {
        const struct family *family = engine->setup.families[i];

        if (strcmp(family->name, row->family) == 0 && family_gene(family, row->gene) >= 0) {
            audit_skip(engine->audit, i, family_gene(family, row->gene));
        }
    }
}

static bool open_audit(struct engine *engine, struct err *err)
{
    const struct seed *seed = &engine->setup.seed;

    engine->audit = audit_new(&engine->space, engine->setup.templates, engine->setup.founders,
                              seed->founder_count, engine->run.rng_seed);
    return store_audit_each(engine->store, engine->run.id, recall_gene, engine, err);
}

/*
 * What the device can do at most, as it was known when the run began: what was proposed since rests
 * on it, so another measurement changes nothing. A cache that cannot be read is none.
 */
static bool open_ceilings(struct engine *engine, struct err *err)
{
    struct err unread = {0};
    int64_t places;
    bool found;

    if (!store_ceilings(engine->store, engine->run.id, &engine->ceilings, &found, err) ||
        !store_candidate_count(engine->store, engine->run.id, &places, err)) {
        return false;
    }
    if (!found && places == 0) {
        found = microbench_recall(engine->arena, engine->run.device, &engine->ceilings, &unread);
        if (unread.kind != ERR_NONE) {
            log_line("engine", "what the device can do at most is not known: %s", unread.what);
        }
        engine->space.ceilings = found ? &engine->ceilings : NULL;
        return !found ||
               store_ceilings_insert(engine->store, engine->run.id, &engine->ceilings, err);
    }
    engine->space.ceilings = found ? &engine->ceilings : NULL;
    return true;
}

/* Says of a space that is small enough that all of it can be tried. */
static void offer_exhaustion(const struct engine *engine)
{
    const struct search_space *space = &engine->space;
    int64_t sum = 0, feasible, total;

    for (int i = 0; i < space->family_count; i++) {
        if (!family_count(space->families[i], &space->statics[0].givens, LOOKED_MAX, &feasible,
                          &total)) {
            return;
        }
        sum += feasible;
    }
    if (sum <= SMALL_SPACE && strcmp(engine->run.strategy, strategy_names[STRATEGY_EVO]) == 0) {
        log_line("engine", "the space has %lld feasible genomes, few enough to try them all: "
                           "'evo start --exhaustive' does", (long long)sum);
    }
}

/* The first judge's description opens the space, and with it the run. */
static bool open_space(struct engine *engine, const struct hello *hello, struct err *err)
{
    struct search_config config = setup_config(&engine->setup, &engine->run);
    const struct seed *seed = &engine->setup.seed;

    engine->run.device = arena_dup(engine->arena, hello->device);
    engine->run.device_arch = hello->device_arch;
    engine->run.device_smem_max = hello->device_smem_max;
    engine->run.device_sms = hello->device_sms;
    if (!setup_space(&engine->setup, hello, &engine->space, &engine->arch, err)) {
        return false;
    }
    if (!open_ceilings(engine, err)) {
        return false;
    }
    for (int i = 0; i < engine->setup.left_out_count; i++) {
        log_line("engine", "family '%s' is left out: no genome of it is feasible on sm_%lld: %s",
                 engine->setup.left_out[i].family, (long long)hello->device_arch,
                 engine->setup.left_out[i].reason);
    }
    engine->shapes = (struct shapes){.count = engine->space.problem_count};
    for (int i = 0; i < engine->space.problem_count; i++) {
        engine->shapes.list[i].problem = engine->space.problems[i].problem;
        engine->shapes.list[i].image = engine->space.problems[i].image;
    }
    shapes_choose(&engine->shapes, hello, seed->emu_problems, seed->emu_problem_count);
    engine->workload = shapes_hash(&engine->shapes);
    engine->emulated = strcmp(hello->backend, "emu") == 0;
    engine->deterministic = hello->deterministic;
    engine->population = population_new(&engine->space, &config);
    if (!lessons_teach(engine->store, &engine->setup, &engine->space, engine->run.id,
                       engine->population, &engine->lessons, err)) {
        return false;
    }
    engine->duplicates = engine->run.duplicates;
    engine->ready = true;
    for (int i = 0; i < engine->space.problem_count; i++) {
        if (!store_clock(engine->store, &engine->workload, engine->environment, i,
                         &engine->at_mhz[i], err)) {
            return false;
        }
    }
    if (!engine_rivals_build(engine, err) || !open_audit(engine, err)) {
        return false;
    }
    log_line("engine", "judging on %s; compiling for %s%s", hello->device, engine->arch,
             engine->space.ceilings != NULL ? "; its ceilings are known" : "");
    offer_exhaustion(engine);
    if (engine->emulated && seed->rival_count > 0) {
        log_line("engine", "the seed's rivals need a GPU: this run goes on without them");
    }
    return recall_places(engine, err);
}

bool engine_meet_judge(struct engine *engine, const struct fleet_event *event, struct err *err)
{
    const struct hello *hello = &event->hello;
    int64_t environment;

    if (*engine->run.device != '\0' && strcmp(engine->run.device, hello->device) != 0) {
        err_set(err, ERR_USER, "this run was measured on '%s', but judge '%s' has '%s'",
                engine->run.device, fleet_name(engine->fleet, event->worker), hello->device);
        return err_hint(err, "times of different devices never mix; '--new' begins another run");
    }
    if (!store_environment(engine->store, hello, &environment, err)) {
        return false;
    }
    if (!engine->ready) {
        engine->environment = environment;
        return open_space(engine, hello, err);
    }
    return true;
}
