/*
 * places -- the settled part of a run, in the order of places.
 *
 * Places are settled in order, and folded into the population in order but later: a proposal may
 * read only what is `lag` behind it, whatever has arrived. In between, outcomes wait here. It also
 * knows which place first had which program, so that aliases resolve to the lowest.
 *
 * Memory: the outcomes of at most `window` places, and 48 to 96 bytes a distinct program.
 */
#ifndef EVO_DAEMON_PLACES_H
#define EVO_DAEMON_PLACES_H

#include <stdbool.h>
#include <stdint.h>

#include "db/store.h"
#include "search/population.h"

struct places;

struct places *places_new(int window);
void places_free(struct places *places);

int64_t places_settled(const struct places *places); /* all places below are settled */
void places_settle(struct places *places, const struct outcome *outcome); /* the next in order */
/* The next outcome not yet handed out, if its place is at most `limit`. */
bool places_next(struct places *places, int64_t limit, struct outcome *outcome);
/*
 * The lowest settled place with this program, which is `place` itself if there is none: it is from
 * now on.
 */
int64_t places_program(struct places *places, const struct hash *code_key,
                       const struct hash *plan_key, int64_t place);
/* The same of a place whose turn has not come; -1: there is none. */
int64_t places_known(const struct places *places, const struct hash *code_key,
                     const struct hash *plan_key);

#endif
