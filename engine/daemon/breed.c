#include "daemon/engine_state.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "fitness/verify.h"

enum { LOST_MAX = 3 }; /* hosts that may die under a candidate before it is set aside */

const struct family *engine_family(const struct engine *engine, const struct flight *flight)
{
    return engine->setup.families[flight->genome.family];
}

const char *engine_genes(const struct engine *engine, struct arena *arena,
                         const struct flight *flight)
{
    const char *text = genome_text(arena, engine_family(engine, flight), &flight->genome);
    const char *blank = strchr(text, ' ');

    return blank != NULL ? blank + 1 : "";
}

/* ---- rendering ---- */

static bool render_image(struct engine *engine, struct flight *flight, int index, struct err *err)
{
    const struct family *family = engine_family(engine, flight);
    const struct givens *givens = &engine->space.statics[index].givens;
    struct image *image = &flight->images[index];
    int64_t values[FAMILY_SYMBOLS_MAX];
    struct buf source = {0};

    image->arena = arena_new();
    if (!family_feasible(family, &flight->genome, givens, values, NULL)) {
        return err_set(err, ERR_SYSTEM, "n%lld was recorded as feasible, but is not",
                       (long long)flight->place);
    }
    if (!family_program(flight->arena, family, values, &image->program, err) ||
        !render_source(engine->setup.templates, family, &flight->genome, givens, &source, err)) {
        buf_free(&source);
        return false;
    }
    image->source = source.data;
    image->source_bytes = source.length;
    image->source_hash = source_hash(source.data, source.length);
    return true;
}

struct hash engine_source_hash(const struct flight *flight)
{
    struct hasher hasher;

    if (flight->image_count == 0) {
        return (struct hash){{0}};
    }
    hash_begin(&hasher, "evo sources 1");
    for (int i = 0; i < flight->image_count; i++) {
        hash_field(&hasher, "source", flight->images[i].source_hash.bytes, HASH_BYTES);
    }
    return hash_end(&hasher);
}

bool engine_take_off(struct engine *engine, struct flight *flight, struct err *err)
{
    if (!store_attempts_count(engine->store, engine->run.id, flight->place, "lost", &flight->lost,
                              err)) {
        return false;
    }
    if (flight->lost >= LOST_MAX) {
        log_line("engine", "n%lld is set aside: the host died %lld times while it was tried",
                 (long long)flight->place, (long long)flight->lost);
        engine_decide(flight, VERDICT_CRASH,
                      "set aside: the host died three times while it was tried");
        return true;
    }
    if (engine_family(engine, flight)->text == NULL) {
        return engine_toward_judge(engine, flight, err);
    }
    for (int i = 0; i < engine->space.static_count; i++) {
        flight->image_count++;
        if (!render_image(engine, flight, i, err)) {
            return false;
        }
    }
    queue_move(flight, STAGE_COMPILE);
    return true;
}

/* ---- the key of a program: its machine code, and how it is launched ---- */

static bool hash_of_plans(struct engine *engine, const struct flight *flight, struct hash *hash,
                          struct err *err)
{
    struct hasher hasher;

    hash_begin(&hasher, "evo plans 1");
    hash_i64(&hasher, "numerics", flight->proposal.numerics); /* what it is measured against */
    for (int i = 0; i < engine->space.problem_count; i++) {
        const struct image *image = &flight->images[engine->space.problems[i].image];
        struct plan plan;
        struct hash one;
        bool supported;

        if (!plan_resolve(engine->round, &image->program, &engine->space.problems[i].problem,
                          engine->space.sms, &plan, &supported, err)) {
            return err_in(err, "n%lld", (long long)flight->place);
        }
        one = plan_hash(&plan);
        hash_field(&hasher, "plan", one.bytes, HASH_BYTES);
    }
    *hash = hash_end(&hasher);
    return true;
}

static bool find_key(struct engine *engine, struct flight *flight, struct err *err)
{
    struct hasher hasher;

    flight->key = (struct judgement_key){.workload = engine->workload,
                                         .environment = engine->environment,
                                         .gate_version = GATE_VERSION};
    if (flight->image_count == 0) { /* a recorded space: the genome is all there is */
        flight->key.code_key = flight->proposal.genome_hash;
        flight->key.plan_key = flight->proposal.genome_hash;
        return true;
    }
    hash_begin(&hasher, "evo code 1");
    for (int i = 0; i < flight->image_count; i++) {
        hash_field(&hasher, "image", flight->images[i].built.code_key.bytes, HASH_BYTES);
    }
    flight->key.code_key = hash_end(&hasher);
    return hash_of_plans(engine, flight, &flight->key.plan_key, err);
}

bool engine_toward_judge(struct engine *engine, struct flight *flight, struct err *err)
{
    struct judgement_row known;
    bool found;

    if (!find_key(engine, flight, err) ||
        !store_judgement_find(engine->store, &flight->key, engine->round, &known, &found, err)) {
        return false;
    }
    if (found) {
        engine_decide_by(flight, &known);
    } else if (queue_twin(engine->queue, flight, STAGE_JUDGE) != NULL ||
               queue_twin(engine->queue, flight, STAGE_JUDGING) != NULL) {
        queue_move(flight, STAGE_TWIN);
    } else {
        queue_move(flight, STAGE_JUDGE);
    }
    return true;
}

/* ---- proposing ---- */

static bool insert_candidate(struct engine *engine, const struct flight *flight, struct err *err)
{
    const struct proposal *proposal = &flight->proposal;
    struct candidate_row row = {
        .run = engine->run.id,
        .place = flight->place,
        .family = engine_family(engine, flight)->name,
        .genes = engine_genes(engine, engine->round, flight),
        .genome_hash = proposal->genome_hash,
        .island = proposal->island,
        .operator_name = operator_names[proposal->operator_kind],
        .parent_count = proposal->parent_count,
        .depth = proposal->depth,
        .numerics = proposal->numerics,
        .bound_us = proposal->bound_us,
        .created_at = clock_wall_ms(),
        .reason = "",
        .alias_of = -1,
    };

    memcpy(row.parents, proposal->parents, sizeof row.parents);
    return store_candidate_insert(engine->store, &row, err);
}

/* Place n reads exactly the outcomes of places <= n - lag. */
static void fold_past(struct engine *engine, int64_t place)
{
    struct outcome outcome;

    while (places_next(engine->places, place - engine->setup.seed.lag, &outcome)) {
        population_fold(engine->population, &outcome);
    }
}

/* *ending becomes other than GOING when there is none, or none that is worth it. */
static bool draw(struct engine *engine, struct proposal *proposal, enum ending *ending,
                 struct err *err)
{
    const struct setup *setup = &engine->setup;
    int64_t place = engine->proposed;
    struct refusal refusal;

    *ending = GOING;
    if (place >= setup->seed.founder_count) {
        if (!population_propose(engine->population, place, proposal)) {
            *ending = EXHAUSTED;
        } else if (proposal->settled && setup->seed.ends_settled) {
            *ending = SETTLED;
        }
        return true;
    }
    return population_found(engine->population, place, &setup->founders[place], proposal,
                            &refusal) ||
           err_set(err, ERR_USER, "%s:%d:%d: founder '%.200s': %s", setup->seed.path,
                   setup->seed.founders[place].line, setup->seed.founders[place].column,
                   setup->seed.founders[place].text, refusal.text);
}

bool engine_propose(struct engine *engine, struct err *err)
{
    while (engine->proposed - places_settled(engine->places) < engine->setup.seed.lag &&
           (engine->run.budget_evaluations == 0 ||
            engine->proposed < engine->run.budget_evaluations)) {
        struct proposal proposal;
        struct flight *flight;
        enum ending ending;

        fold_past(engine, engine->proposed);
        if (!draw(engine, &proposal, &ending, err)) {
            return false;
        }
        if (ending != GOING) {
            engine->ending = ending;
            engine->ending_ms = clock_now_ms();
            return true;
        }
        flight = queue_add(engine->queue, engine->proposed++);
        flight->proposal = proposal;
        flight->genome = proposal.genome;
        if (!insert_candidate(engine, flight, err) || !engine_take_off(engine, flight, err)) {
            return false;
        }
    }
    return true;
}
