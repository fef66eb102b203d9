/*
 * population -- who lives, who breeds, and what is tried next.
 *
 * The mirror in memory of what the database holds, built by replaying places in their order and
 * needing nothing else. Two calls move it forward:
 *
 *     population_fold      takes the outcome of the next place, in order of place
 *     population_propose   names the genome for a new place
 *
 * What is proposed at a place depends on the seed, the place, what was proposed (or marked) before
 * it, and the outcomes folded so far, never on when something arrived: the engine proposes in order
 * of place, and folds exactly the places <= n - lag before it proposes n.
 *
 * Most places are filled by the guide (guide.h): the genome of which a model of all outcomes
 * expects the most. A share is left to the operators, which know nothing and are drawn by weight.
 *
 * In a long run a small share of places belongs to two arms, which tell what the rest is worth:
 * draws at random, and a hill climber that knows its own outcomes alone. Operators that know
 * nothing share what they have by a bandit: each by its weight, times how much it gained for what
 * it cost.
 *
 * Islands are separate populations: place n belongs to island n mod islands. An island keeps its
 * best members (elites) of one numerics class, some of each niche (niche.h); a parent comes from
 * the next island of the same class with a small chance. Genomes are never proposed twice;
 * infeasible ones never at all.
 * Threads: one. Memory: elites, 64 bytes a genome seen, 72 an outcome, and the guide's bounds.
 */
#ifndef EVO_SEARCH_POPULATION_H
#define EVO_SEARCH_POPULATION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/rng.h"
#include "fitness/ceilings.h"
#include "fitness/job.h"
#include "fitness/problem.h"
#include "genome/family.h"
#include "search/memory.h"

enum {
    POPULATION_ELITES_MAX = 1024,
    POPULATION_PARENTS_MAX = 2,
    POPULATION_CLASSES = 2, /* numerics classes */
};

/* The operators, in the order of mutate.c's table. */
enum operator_kind {
    OPERATOR_FOUNDER,   /* the seed's own genomes; not drawn */
    OPERATOR_STEP,      /* one gene moves a little */
    OPERATOR_MULTI,     /* two to four genes move */
    OPERATOR_CROSSOVER, /* each gene from one of two parents */
    OPERATOR_IMMIGRANT, /* a random feasible genome; no parent */
    OPERATOR_JUMP,      /* another family, genes of the same name inherited */
    OPERATOR_DRAWN,     /* those above are drawn by weight; those below have their own rules */
    OPERATOR_PREDICT =
        OPERATOR_DRAWN, /* the model's best genome anywhere; parent: its nearest good relative */
    OPERATOR_REFINE,    /* the model's best change of one gene of an elite */
    OPERATOR_RECALL,    /* among the best of an earlier run; no parent in this one */
    OPERATOR_CLIMB,     /* one gene of the best that leaves untried neighbours takes any value */
    OPERATOR_DRAW,      /* an arm: any feasible genome, to be compared with; no parent */
    OPERATOR_COUNT,
};

extern const char *const operator_names[OPERATOR_COUNT];
/* False: there is no such operator. */
bool operator_parse(const char *name, enum operator_kind *kind);

/* How places are filled. The last three are there to be compared with. */
enum seed_strategy {
    STRATEGY_EVO,    /* by a model of what was learned, a share by the operators (guide.h) */
    STRATEGY_EXHAUSTIVE, /* the same, but there is always more to expect until nothing is left */
    STRATEGY_GA,     /* by the operators alone */
    STRATEGY_HILL,   /* neighbours of the best, then of the second best … */
    STRATEGY_RANDOM, /* blindly */
    STRATEGY_COUNT,
};

extern const char *const strategy_names[STRATEGY_COUNT];
/* False: there is no such strategy. */
bool strategy_parse(const char *name, enum seed_strategy *strategy);

enum seed_selection { SELECTION_TOURNAMENT, SELECTION_RANK };

/* Where the search may go: families, and everything that must admit a genome. */
struct search_space {
    struct family *const *families;
    int family_count;
    struct {
        struct givens givens; /* one static problem of the workload on the device */
    } statics[JOB_IMAGES_MAX];
    int static_count;
    struct {
        struct problem problem;
        int image; /* its static problem */
    } problems[JOB_PROBLEMS_MAX];
    int problem_count;
    int64_t sms;
    const struct ceilings *ceilings; /* of the device; NULL: nobody measured them */
    bool classes[POPULATION_CLASSES]; /* numerics classes that are bred */
};

/*
 * True if the genome may be evaluated: every static problem meets its family's requirements, its
 * class is bred, every shape is supported. *numerics is its class. refusal (may be NULL) says why
 * not.
 */
bool space_admits(const struct search_space *space, const struct genome *genome, int *numerics,
                  struct refusal *refusal);

/* The cheap part of it: requirements and class, without the shapes. */
bool space_meets(const struct search_space *space, const struct genome *genome, int *numerics);

struct search_config {
    uint64_t rng_seed;
    int islands, elites, tournament;
    enum seed_selection selection;
    enum seed_strategy strategy;
    double migration;
    double weights[OPERATOR_DRAWN];
};

/* What a seed that says nothing gets. */
extern const struct search_config search_defaults;

struct member {
    int64_t place;
    struct genome genome;
    double us;
    int depth, niche;
};

struct proposal {
    struct genome genome;
    struct hash genome_hash;
    int numerics, island, depth;
    enum operator_kind operator_kind;
    int64_t parents[POPULATION_PARENTS_MAX];
    int parent_count;
    /*
     * A time surely above this would not enter the island: the judge may stop early. 0: any time
     * could.
     */
    double bound_us;
    bool settled; /* no gain that could be measured is expected of this or any other */
};

/* What came of a place. */
struct outcome {
    int64_t place;
    struct genome genome;
    int numerics, depth;
    enum operator_kind kind;
    double us; /* its score; 0: it has none; below 0: an alias of an earlier place, which has -us */
};

struct population;

struct population *population_new(const struct search_space *space,
                                  const struct search_config *config);
void population_free(struct population *population);
/*
 * What earlier runs found (memory.h), before anything else; MEMORY_LESSONS_MAX a family at most. A
 * strategy without a model learns nothing.
 */
void population_teach(struct population *population, const struct lesson *lessons, int count);

/*
 * Marks the genome of a place as proposed; every recorded place is marked, in order and before it
 * is folded, before the first proposal. A place marked twice is marked once.
 */
void population_mark(struct population *population, int64_t place, const struct genome *genome,
                     const struct hash *genome_hash);
/* A founder's proposal, or false when it is infeasible (refusal) or was marked already. */
bool population_found(struct population *population, int64_t place, const struct genome *genome,
                      struct proposal *proposal, struct refusal *refusal);
/* Places are folded in order, each once. */
void population_fold(struct population *population, const struct outcome *outcome);
/*
 * False: no feasible genome is left that was not marked. This is certain of families of up to 2^22
 * combinations; of larger ones thousands of draws and a walk past 2^22 combinations found none.
 * Marks what it proposes.
 */
bool population_propose(struct population *population, int64_t place, struct proposal *proposal);

/* How often a genome was refused because it had been marked before, since this population is. */
int64_t population_duplicates(const struct population *population);

/* The island's members, best first. */
const struct member *population_island(const struct population *population, int island,
                                       int *count, int *numerics);

#endif
