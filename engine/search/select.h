/*
 * select -- which members breed, and which live.
 */
#ifndef EVO_SEARCH_SELECT_H
#define EVO_SEARCH_SELECT_H

#include "search/population.h"

/* An index into `count` members sorted best first, count > 0. */
int select_parent(enum seed_selection selection, int tournament, int count, struct rng *rng);

/*
 * Elites that a niche may keep although others are faster, of so many in all; and up to which
 * multiple of the best time.
 */
enum { NICHE_PART = 4, NICHE_NONE = -1 };
#define NICHE_WITHIN 1.5

/*
 * A time above this would not make a newcomer of the niche one of `members`, which are full; of
 * NICHE_NONE: of any niche.
 */
double select_bound(const struct member *members, int count, int niche);

/*
 * Puts a newcomer into `members` (sorted best first, ties by place), who are `room` at most, in an
 * array of one more.
 * Of too many the slowest goes whose niche has more than its part, or who is too slow for one.
 * Returns its position, or -1 if it is the one that goes.
 */
int select_survivor(struct member *members, int *count, int room, const struct member *newcomer);

#endif
