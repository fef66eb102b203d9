/*
 * niche -- the way in which a genome uses the machine: its family, and how many of its blocks a
 * multiprocessor holds.
 *
 * Elites of an island keep a few of each niche that is not far behind (select.h): the best kernels
 * of a moment are often siblings, and what will beat them is bred from something else. A recorded
 * space is one niche. Pure.
 */
#ifndef EVO_SEARCH_NICHE_H
#define EVO_SEARCH_NICHE_H

#include "fitness/plan.h"
#include "search/population.h"

enum { NICHE_BUCKETS = 8 }; /* of a family: 0, 1, 2, 3-4, 5-8 … blocks at once */

int niche_of(const struct search_space *space, const struct genome *genome);
/* How many blocks of a kernel threads and shared memory leave room for; registers not asked. */
int niche_blocks(const struct plan_kernel *kernel, int64_t smem_max);

#endif
