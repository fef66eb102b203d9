/*
 * lessons -- what a new run is taught by earlier ones of its database.
 *
 * Chosen once, in the transaction that makes the run, and kept as rows (table lesson): earlier runs
 * of the same families, of whatever shape and device, those of the same workload before others. A
 * start reads the rows. What the templates or the device no longer admit is passed over.
 */
#ifndef EVO_DAEMON_LESSONS_H
#define EVO_DAEMON_LESSONS_H

#include "daemon/setup.h"
#include "db/store.h"
#include "search/population.h"

/* Inside a round. Writes what the run will be taught. */
bool lessons_gather(struct store *store, const struct setup *setup, int64_t run, struct err *err);
/* Teaches it; says so in the log. *count: how many lessons. */
bool lessons_teach(struct store *store, const struct setup *setup,
                   const struct search_space *space, int64_t run, struct population *population,
                   int *count, struct err *err);

#endif
