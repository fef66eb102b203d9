/*
 * select -- which members breed, and which live.
 */
#ifndef EVO_SEARCH_SELECT_H
#define EVO_SEARCH_SELECT_H

#include "search/population.h"

/* An index into `count` members sorted best first, count > 0. */
int select_parent(enum seed_selection selection, int tournament, int count, struct rng *rng);

/*
 * Puts a newcomer into `members` (sorted best first, ties by place), which has room for `room`.
 * Returns its position, or -1 if it is not among the best `room`.
 */
int select_survivor(struct member *members, int *count, int room, const struct member *newcomer);

#endif
