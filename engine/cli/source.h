/*
 * source -- a run opened again, and a candidate's CUDA source rendered again from what is kept.
 *
 * Sources are not stored: genome, templates and givens make the same bytes for ever, and the
 * recorded hash proves that they did.
 */
#ifndef EVO_CLI_SOURCE_H
#define EVO_CLI_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "daemon/setup.h"
#include "db/query.h"
#include "fitness/job.h"

/* A run opened again: its seed, templates and families, from what the database keeps. */
struct recalled {
    struct run_row run;
    struct setup *setup;
    struct search_space *space; /* filled by source_render */
};

/* The run's setup and space, as its database keeps them. */
bool source_recall(struct arena *arena, struct store *store, int64_t run,
                   struct recalled *recalled, struct err *err);
/* A candidate's genome among the recalled families. */
bool source_genome(const struct recalled *recalled, const struct candidate_row *row,
                   struct genome *genome, struct err *err);

/*
 * The source of one image of a candidate, its hash equal to the recorded one: anything else is an
 * error. The recalled run is the caller's to use further (families, givens).
 */
bool source_render(struct arena *arena, struct store *store, const struct candidate_row *row,
                   int image, struct recalled *recalled, const char **source, struct err *err);

#endif
