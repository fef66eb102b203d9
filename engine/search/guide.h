/*
 * guide -- the part of the search that has learned: it names the genome most worth trying.
 *
 * A model a family (surrogate.h) predicts log time from the genes; all families and both numerics
 * classes are compared in the same unit, the expected improvement of the class's best, times the
 * odds that the genome compiles and runs at all. A new family is first sampled widely: as many
 * genomes as it has genes and a few, each far from those before it. When nothing is expected any
 * more, what is left of the best's neighbourhood is swept: the model is not asked whether it may.
 *
 * What is picked for a place is a function of the random seed, the place, the outcomes folded and
 * the genomes marked. Scales are fitted at certain counts of outcomes, from what was known at that
 * count, so they are the same whether or not the program lived through it; everything else is kept
 * up to date as outcomes come, in their order. Nothing is computed before the first pick.
 *
 * Memory: 72 bytes an outcome, the catalogues, and at most POSTERIOR_BYTES of posteriors.
 */
#ifndef EVO_SEARCH_GUIDE_H
#define EVO_SEARCH_GUIDE_H

#include "search/memory.h"
#include "search/population.h"

struct pick {
    struct genome genome;
    enum operator_kind kind;
    int parent_count, depth;
    int64_t parents[POPULATION_PARENTS_MAX];
    /*
     * Nothing more is to be expected: for long nothing better was found, of no genome a gain is
     * expected that could be measured, and the best's neighbours were all tried.
     */
    bool settled;
};

struct guide;

struct guide *guide_new(const struct search_space *space, uint64_t rng_seed);
void guide_free(struct guide *guide);

/* What earlier runs found, before anything else; families and sources in any order. */
void guide_teach(struct guide *guide, const struct lesson *lessons, int count);

/* Places are marked in order and folded in order; a place that was marked already is let be. */
void guide_mark(struct guide *guide, int64_t place, const struct genome *genome);
/* us as an outcome has it. */
void guide_fold(struct guide *guide, int64_t place, const struct genome *genome, int numerics,
                int depth, double us);

/* The genome for this place, of this numerics class. False: the guide knows none. */
bool guide_pick(struct guide *guide, int64_t place, int numerics, struct pick *pick);
/* What was picked may not be evaluated: it is not picked again. */
void guide_refuse(struct guide *guide, const struct genome *genome);

#endif
