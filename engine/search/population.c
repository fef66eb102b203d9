#include "search/population.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "search/guide.h"
#include "search/mutate.h"
#include "search/niche.h"
#include "search/seen.h"
#include "search/select.h"

enum {
    TRIES_GUIDE = 256,      /* picks of the guide that may turn out not to be admitted */
    TRIES_OPERATOR = 48,    /* draws of operators before settling for an immigrant */
    TRIES_IMMIGRANT = 4096, /* draws of immigrants before walking the space in order */
    WALK_MAX = 1 << 22,     /* genomes such a walk looks at in each family */
    ARMS_FROM = 200, /* the first place that may be an arm's: a shorter run has none to give away */
};
static const uint32_t STREAM_WALK = 0xffffffff, STREAM_ARMS = 0xfffffffd;

/* A single shape's time that is this many times that of the island's worst member cannot enter it.
 */
static const double BOUND_SLACK = 1.02;

/* The share of places that the guide leaves to operators that know nothing: a model may be wrong.
 */
static const double UNGUIDED = 0.02;

/* The share of each of the two arms in a long run. */
static const double ARM_SHARE = 0.05;

/*
 * The bandit: what is remembered of an outcome when the next one came; what an operator is thought
 * to have cost before it was drawn, at the average gain; and how far its share may leave its
 * weight's.
 */
static const double MEMORY = 0.99, COST_BEFORE = 8, SHARE_MOST = 4;
/*
 * What an outcome costs: half is the compiler's, half the judge's. Seconds as they were measured
 * would make the lineage depend on how busy a machine was.
 */
static const double COST_BUILT = 0.5, COST_JUDGED = 1;

struct island {
    struct member *members; /* best first */
    int count, numerics;
};

struct credit {
    double gain, cost;
};

struct population {
    const struct search_space *space;
    struct search_config config;
    struct island *islands;
    struct seen seen;
    struct guide *guide; /* NULL: the strategy does without */
    struct island climbers[POPULATION_CLASSES]; /* the climbing arm's own */
    struct credit credits[OPERATOR_DRAWN];
    bool exhaustive;
    int64_t folded;
    int64_t duplicates; /* refused */
};

const char *const strategy_names[STRATEGY_COUNT] = {
    [STRATEGY_EVO] = "evo",
    [STRATEGY_EXHAUSTIVE] = "exhaustive",
    [STRATEGY_GA] = "ga",
    [STRATEGY_HILL] = "hill",
    [STRATEGY_RANDOM] = "random",
};

const struct search_config search_defaults = {
    .rng_seed = 1,
    .islands = 2,
    .elites = 16,
    .tournament = 3,
    .selection = SELECTION_TOURNAMENT,
    .strategy = STRATEGY_EVO,
    .migration = 0.05,
    .weights = {[OPERATOR_STEP] = 4,
                [OPERATOR_MULTI] = 2,
                [OPERATOR_CROSSOVER] = 2,
                [OPERATOR_IMMIGRANT] = 1,
                [OPERATOR_JUMP] = 1},
};

bool strategy_parse(const char *name, enum seed_strategy *strategy)
{
    for (int i = 0; i < STRATEGY_COUNT; i++) {
        if (strcmp(strategy_names[i], name) == 0) {
            *strategy = (enum seed_strategy)i;
            return true;
        }
    }
    return false;
}

/* ---- what the space admits ---- */

static bool supports_shapes(const struct search_space *space, const struct genome *genome,
                            const int64_t values[][FAMILY_SYMBOLS_MAX], struct refusal *refusal)
{
    const struct family *family = space->families[genome->family];
    struct arena *arena;
    struct err err = {0};
    bool ok = true;

    if (family->space != NULL) {
        return true; /* a recording has no launch */
    }
    arena = arena_new();
    for (int i = 0; ok && i < space->problem_count; i++) {
        struct program program;
        struct plan plan;
        bool supported;

        ok = family_program(arena, family, values[space->problems[i].image], &program, &err) &&
             plan_resolve(arena, &program, &space->problems[i].problem, space->sms, &plan,
                          &supported, &err);
    }
    arena_free(arena);
    if (!ok && refusal != NULL) {
        refusal->require = NULL;
        snprintf(refusal->text, sizeof refusal->text, "%s", err.what);
    }
    return ok;
}

/* The cheap part: requirements and class. Fills the symbols' values of each static problem. */
static bool meets_requirements(const struct search_space *space, const struct genome *genome,
                               int64_t values[][FAMILY_SYMBOLS_MAX], int *numerics,
                               struct refusal *refusal)
{
    const struct family *family = space->families[genome->family];

    assert(space->static_count > 0);
    for (int i = 0; i < space->static_count; i++) {
        if (!family_feasible(family, genome, &space->statics[i].givens, values[i], refusal)) {
            return false;
        }
    }
    *numerics = family_numerics(family, values[0]);
    if (!space->classes[*numerics]) {
        if (refusal != NULL) {
            *refusal = (struct refusal){.text = "its numerics class is not asked for by the seed"};
        }
        return false;
    }
    return true;
}

bool space_meets(const struct search_space *space, const struct genome *genome, int *numerics)
{
    int64_t values[JOB_IMAGES_MAX][FAMILY_SYMBOLS_MAX];

    return meets_requirements(space, genome, values, numerics, NULL);
}

bool space_admits(const struct search_space *space, const struct genome *genome, int *numerics,
                  struct refusal *refusal)
{
    int64_t values[JOB_IMAGES_MAX][FAMILY_SYMBOLS_MAX];

    return meets_requirements(space, genome, values, numerics, refusal) &&
           supports_shapes(space, genome, values, refusal);
}

/* ---- life ---- */

/* Classes are dealt to islands in turn, so that each class that is bred has its own. */
static void deal_classes(struct population *population)
{
    int numerics = POPULATION_CLASSES - 1;

    for (int i = 0; i < population->config.islands; i++) {
        do {
            numerics = (numerics + 1) % POPULATION_CLASSES;
        } while (!population->space->classes[numerics]);
        population->islands[i].numerics = numerics;
    }
}

struct population *population_new(const struct search_space *space,
                                  const struct search_config *config)
{
    struct population *population = xcalloc(1, sizeof *population);
    int classes = 0;

    for (int i = 0; i < POPULATION_CLASSES; i++) {
        classes += space->classes[i];
    }
    assert(classes > 0 && space->family_count > 0 && config->islands > 0 && config->elites > 0);
    population->space = space;
    population->config = *config;
    if (population->config.islands < classes) {
        population->config.islands = classes;
    }
    population->islands = xcalloc((size_t)population->config.islands, sizeof(struct island));
    for (int i = 0; i < population->config.islands; i++) {
        population->islands[i].members =
            xcalloc((size_t)config->elites + 1, sizeof(struct member));
    }
    for (int i = 0; i < POPULATION_CLASSES; i++) {
        population->climbers[i].members =
            xcalloc((size_t)config->elites + 1, sizeof(struct member));
        population->climbers[i].numerics = i;
    }
    deal_classes(population);
    seen_begin(&population->seen);
    population->exhaustive = config->strategy == STRATEGY_EXHAUSTIVE;
    if (population->exhaustive) {
        population->config.strategy = STRATEGY_EVO;
    }
    if (population->config.strategy == STRATEGY_EVO) {
        population->guide = guide_new(space, config->rng_seed);
    }
    return population;
}

void population_free(struct population *population)
{
    if (population == NULL) {
        return;
    }
    for (int i = 0; i < population->config.islands; i++) {
        free(population->islands[i].members);
    }
    for (int i = 0; i < POPULATION_CLASSES; i++) {
        free(population->climbers[i].members);
    }
    free(population->islands);
    seen_end(&population->seen);
    guide_free(population->guide);
    free(population);
}

void population_teach(struct population *population, const struct lesson *lessons, int count)
{
    if (population->guide != NULL && count > 0) {
        guide_teach(population->guide, lessons, count);
    }
}

void population_mark(struct population *population, int64_t place, const struct genome *genome,
                     const struct hash *genome_hash)
{
    seen_add(&population->seen, seen_key(genome_hash));
    if (population->guide != NULL) {
        guide_mark(population->guide, place, genome);
    }
}

/* The island a place belongs to, or the next one that breeds the class. */
static int island_of(const struct population *population, int64_t place, int numerics)
{
    int islands = population->config.islands;
    int island = (int)(place % islands);

    while (population->islands[island].numerics != numerics) {
        island = (island + 1) % islands;
    }
    return island;
}

/* What an operator that was drawn by weight brought: how far below the island's last it came. */
static void take_credit(struct population *population, const struct island *island,
                        const struct outcome *outcome)
{
    struct credit *credit = &population->credits[outcome->kind];

    for (int i = 0; i < OPERATOR_DRAWN; i++) {
        population->credits[i].gain *= MEMORY;
        population->credits[i].cost *= MEMORY;
    }
    credit->cost += outcome->us > 0 ? COST_JUDGED : COST_BUILT;
    if (outcome->us > 0 && island->count > 0) {
        credit->gain += fmax(0, log(island->members[island->count - 1].us / outcome->us));
    }
}

static void admit(const struct population *population, struct island *island,
                  const struct outcome *outcome)
{
    struct member newcomer = {.place = outcome->place, .genome = outcome->genome,
                              .us = outcome->us, .depth = outcome->depth};

    if (island->count == population->config.elites &&
        outcome->us > select_bound(island->members, island->count, NICHE_NONE)) {
        return; /* whatever its niche */
    }
    newcomer.niche = niche_of(population->space, &outcome->genome);

    select_survivor(island->members, &island->count, population->config.elites, &newcomer);
}

void population_fold(struct population *population, const struct outcome *outcome)
{
    struct island *island =
        &population->islands[island_of(population, outcome->place, outcome->numerics)];

    assert(outcome->place == population->folded);
    population->folded++;
    if (population->guide != NULL) {
        guide_fold(population->guide, outcome->place, &outcome->genome, outcome->numerics,
                   outcome->depth, outcome->us);
    }
    if (outcome->kind > OPERATOR_FOUNDER && outcome->kind < OPERATOR_DRAWN) {
        take_credit(population, island, outcome);
    }
    if (outcome->us > 0) {
        admit(population, island, outcome);
        if (outcome->kind == OPERATOR_CLIMB) {
            admit(population, &population->climbers[outcome->numerics], outcome);
        }
    }
}

int64_t population_duplicates(const struct population *population)
{
    return population->duplicates;
}

const struct member *population_island(const struct population *population, int island,
                                       int *count, int *numerics)
{
    *count = population->islands[island].count;
    *numerics = population->islands[island].numerics;
    return population->islands[island].members;
}

/* ---- proposing ---- */

/* Completes a proposal whose genome is set, if the space admits it and nobody was it before. */
static bool settle(struct population *population, int64_t place, struct proposal *proposal,
                   struct refusal *refusal)
{
    const struct search_space *space = population->space;
    const struct genome *genome = &proposal->genome;
    int64_t values[JOB_IMAGES_MAX][FAMILY_SYMBOLS_MAX];
    const struct island *island;
    uint64_t key;

    if (!meets_requirements(space, genome, values, &proposal->numerics, refusal)) {
        return false;
    }
    proposal->genome_hash = genome_hash(space->families[genome->family], genome);
    key = seen_key(&proposal->genome_hash);
    if (seen_has(&population->seen, key)) {
        population->duplicates++;
        if (refusal != NULL) {
            *refusal = (struct refusal){.text = "it was proposed before"};
        }
        return false;
    }
    if (!supports_shapes(space, genome, values, refusal)) {
        return false;
    }
    proposal->island = island_of(population, place, proposal->numerics);
    island = &population->islands[proposal->island];
    proposal->bound_us = 0;
    if (space->problem_count == 1 && island->count == population->config.elites) {
        proposal->bound_us = BOUND_SLACK * select_bound(island->members, island->count,
                                                        niche_of(space, genome));
    }
    population_mark(population, place, genome, &proposal->genome_hash);
    return true;
}

bool population_found(struct population *population, int64_t place, const struct genome *genome,
                      struct proposal *proposal, struct refusal *refusal)
{
    *proposal = (struct proposal){.genome = *genome, .operator_kind = OPERATOR_FOUNDER};
    return settle(population, place, proposal, refusal);
}

/* How much more, or less, than others an operator gained for what it cost. */
static double worth(const struct population *population, enum operator_kind kind)
{
    const struct credit *credit = &population->credits[kind];
    double gain = 0, cost = 0, average, rate;

    for (int i = 0; i < OPERATOR_DRAWN; i++) {
        gain += population->credits[i].gain;
        cost += population->credits[i].cost;
    }
    if (gain <= 0) {
        return 1;
    }
    average = gain / cost;
    rate = (credit->gain + COST_BEFORE * average) / (credit->cost + COST_BEFORE);
    return fmin(fmax(rate / average, 1 / SHARE_MOST), SHARE_MOST);
}

/* Draws an operator by weight and worth among those the island can feed. */
static enum operator_kind draw_operator(const struct population *population,
                                        const struct island *island, struct rng *rng)
{
    double total = 0, draw;
    double weights[OPERATOR_DRAWN];

    for (int i = 0; i < OPERATOR_DRAWN; i++) {
        bool usable = i != OPERATOR_FOUNDER && operator_table[i].parents <= island->count &&
                      (i != OPERATOR_JUMP || population->space->family_count > 1);

        weights[i] = usable ? population->config.weights[i] *
                                  worth(population, (enum operator_kind)i) : 0;
        total += weights[i];
    }
    draw = rng_unit(rng) * total;
    for (int i = 0; i < OPERATOR_DRAWN; i++) {
        draw -= weights[i];
        if (weights[i] > 0 && draw < 0) {
            return (enum operator_kind)i;
        }
    }
    return OPERATOR_IMMIGRANT;
}

static const struct member *draw_parent(const struct population *population, int home,
                                        struct rng *rng)
{
    const struct search_config *config = &population->config;
    const struct island *island = &population->islands[home];

    if (rng_unit(rng) < config->migration) {
        int next = home;

        do {
            next = (next + 1) % config->islands;
        } while (population->islands[next].numerics != island->numerics);
        if (population->islands[next].count > 0) {
            island = &population->islands[next];
        }
    }
    return &island->members[select_parent(config->selection, config->tournament, island->count,
                                          rng)];
}

static bool try_operator(struct population *population, int64_t place, int home,
                         enum operator_kind kind, struct rng *rng, struct proposal *proposal)
{
    const struct operator_row *row = &operator_table[kind];
    struct genome parents[POPULATION_PARENTS_MAX];

    *proposal = (struct proposal){.operator_kind = kind, .parent_count = row->parents};
    for (int i = 0; i < row->parents; i++) {
        const struct member *parent = draw_parent(population, home, rng);

        proposal->parents[i] = parent->place;
        parents[i] = parent->genome;
        if (proposal->depth <= parent->depth) {
            proposal->depth = parent->depth + 1;
        }
    }
    if (row->parents == 2 && proposal->parents[0] == proposal->parents[1]) {
        return false;
    }
    return row->apply(population->space, parents, rng, &proposal->genome) &&
           settle(population, place, proposal, NULL);
}

/*
 * When draws keep hitting what is known, the space is nearly exhausted: each family is walked in
 * order from a random genome, round its end, so that the last genomes are found for certain (if
 * WALK_MAX reaches round it).
 */
static bool walk(struct population *population, int64_t place, struct proposal *proposal)
{
    const struct search_space *space = population->space;
    struct rng rng = rng_at(population->config.rng_seed, STREAM_WALK, (uint64_t)place);
    int first = (int)rng_below(&rng, (uint32_t)space->family_count);

    for (int i = 0; i < space->family_count; i++) {
        int family = (first + i) % space->family_count;
        struct genome start = mutate_random(space, family, &rng), at = start;

        for (int looked = 0; looked < WALK_MAX; looked++) {
            *proposal = (struct proposal){.genome = at, .operator_kind = OPERATOR_IMMIGRANT};
            if (settle(population, place, proposal, NULL)) {
                return true;
            }
            genome_next(space->families[family], &at);
            if (memcmp(&at, &start, sizeof at) == 0) {
                break;
            }
        }
    }
    return false;
}

/* The guide's pick; what it cannot know (a shape that is not supported) is told to it. */
static bool try_guide(struct population *population, int64_t place, int home,
                      struct proposal *proposal)
{
    int numerics = population->islands[home].numerics;
    struct pick pick;

    for (int i = 0; i < TRIES_GUIDE && guide_pick(population->guide, place, numerics, &pick); i++) {
        *proposal = (struct proposal){.genome = pick.genome, .operator_kind = pick.kind,
                                      .parent_count = pick.parent_count, .depth = pick.depth,
                                      .settled = pick.settled && !population->exhaustive};
        memcpy(proposal->parents, pick.parents, sizeof pick.parents);
        if (settle(population, place, proposal, NULL)) {
            return true;
        }
        guide_refuse(population->guide, &pick.genome);
    }
    return false;
}

/* An untried neighbour of the best member that has one left, in random order. */
static bool climb(struct population *population, int64_t place, const struct island *island,
                  struct rng *rng, struct proposal *proposal)
{
    for (int i = 0; i < island->count; i++) {
        const struct member *member = &island->members[i];
        const struct family *family = population->space->families[member->genome.family];
        int sites[GENES_MAX * GENE_VALUES_MAX][2], count = 0;

        for (int gene = 0; gene < family->gene_count; gene++) {
            for (int at = 0; at < family->genes[gene].count; at++) {
                sites[count][0] = gene;
                sites[count++][1] = at;
            }
        }
        for (; count > 0; count--) {
            uint32_t draw = rng_below(rng, (uint32_t)count);

            *proposal = (struct proposal){.genome = member->genome, .parent_count = 1,
                                          .operator_kind = OPERATOR_CLIMB,
                                          .parents = {member->place}, .depth = member->depth + 1};
            proposal->genome.at[sites[draw][0]] = (uint8_t)sites[draw][1];
            if (settle(population, place, proposal, NULL)) {
                return true;
            }
            memcpy(sites[draw], sites[count - 1], sizeof sites[draw]);
        }
    }
    return false;
}

static bool breed(struct population *population, int64_t place, int home, struct rng *rng,
                  struct proposal *proposal)
{
    const struct island *island = &population->islands[home];

    for (int i = 0; i < TRIES_OPERATOR && island->count > 0; i++) {
        enum operator_kind kind = draw_operator(population, island, rng);

        if (try_operator(population, place, home, kind, rng, proposal)) {
            return true;
        }
    }
    return false;
}

/* OPERATOR_DRAW or OPERATOR_CLIMB where the place is an arm's, else OPERATOR_COUNT. */
static enum operator_kind arm_of(const struct population *population, int64_t place)
{
    struct rng rng = rng_at(population->config.rng_seed, STREAM_ARMS, (uint64_t)place);
    double draw = rng_unit(&rng);

    if (population->config.strategy != STRATEGY_EVO || population->exhaustive ||
        place < ARMS_FROM || draw >= 2 * ARM_SHARE) {
        return OPERATOR_COUNT;
    }
    return draw < ARM_SHARE ? OPERATOR_DRAW : OPERATOR_CLIMB;
}

/* What the arm would try: it knows nothing of what others found. */
static bool propose_arm(struct population *population, int64_t place, enum operator_kind arm,
                        struct rng *rng, struct proposal *proposal)
{
    int home = (int)(place % population->config.islands);
    const struct island *climber =
        &population->climbers[population->islands[home].numerics];

    if (arm == OPERATOR_CLIMB && climb(population, place, climber, rng, proposal)) {
        return true;
    }
    for (int i = 0; i < TRIES_IMMIGRANT && arm != OPERATOR_COUNT; i++) {
        if (try_operator(population, place, home, OPERATOR_DRAW, rng, proposal)) {
            proposal->operator_kind = arm; /* a climber begins anywhere */
            return true;
        }
    }
    return false;
}

bool population_propose(struct population *population, int64_t place, struct proposal *proposal)
{
    int home = (int)(place % population->config.islands);
    const struct island *island = &population->islands[home];
    struct rng rng = rng_at(population->config.rng_seed, (uint32_t)home, (uint64_t)place);
    enum seed_strategy strategy = population->config.strategy;

    if (propose_arm(population, place, arm_of(population, place), &rng, proposal)) {
        return true;
    }
    if (strategy == STRATEGY_EVO && rng_unit(&rng) >= (island->count > 0 ? UNGUIDED : 0)) {
        if (try_guide(population, place, home, proposal)) {
            return true;
        }
    }
    if (strategy == STRATEGY_HILL && climb(population, place, island, &rng, proposal)) {
        return true;
    }
    if ((strategy == STRATEGY_EVO || strategy == STRATEGY_GA) &&
        breed(population, place, home, &rng, proposal)) {
        return true;
    }
    for (int i = 0; i < TRIES_IMMIGRANT; i++) {
        if (try_operator(population, place, home, OPERATOR_IMMIGRANT, &rng, proposal)) {
            return true;
        }
    }
    return walk(population, place, proposal);
}
