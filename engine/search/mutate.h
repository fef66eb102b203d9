/*
 * mutate -- the operators: how a child differs from its parents.
 *
 * One row of the table an operator: how many parents it wants, and a function that writes a child;
 * operator_names (population.h) has its word for the lineage. A child may be infeasible or known
 * already; the caller looks, and draws again.
 */
#ifndef EVO_SEARCH_MUTATE_H
#define EVO_SEARCH_MUTATE_H

#include "search/population.h"

struct operator_row {
    int parents; /* wanted */
    /* parents: as many as wanted, in the order drawn. False: it cannot be applied here. */
    bool (*apply)(const struct search_space *space, const struct genome *parents,
                  struct rng *rng, struct genome *child);
};

extern const struct operator_row operator_table[OPERATOR_COUNT];

/* A uniform draw from every combination of a family's genes, feasible or not. */
struct genome mutate_random(const struct search_space *space, int family, struct rng *rng);

/* Sets the genome to the next combination of its family's genes; after the last to the first:
 * false. */
bool genome_next(const struct family *family, struct genome *genome);

#endif
