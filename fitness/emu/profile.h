/*
 * profile -- what a launch does, counted while it runs, and how long a chip would take for it.
 *
 * Counting: run.c and memory.c call the hooks below, which cost one test of a pointer when nobody
 * wants a profile. Every op of the program has its own counters, so that classes, pipes and lines
 * of source are sums made afterwards. Beside the counts each warp keeps a clock in cycles: an op
 * issues when its operands are ready and its pipe is free, its result is ready some cycles later,
 * and whoever waits (for a barrier, for copies) takes over the latest clock of those it waited for.
 * The latest clock of its warps is a block's length: how long it takes with a multiprocessor for
 * itself.
 *
 * Threads: hooks of different blocks run at the same time; a block's counts are its own until
 * profile_block_end adds them under a lock. All sums are of integers, so they do not depend on the
 * order of blocks.
 */
#ifndef EVO_EMU_PROFILE_H
#define EVO_EMU_PROFILE_H

#include "fitness/emu/machine.h"
#include "fitness/emu/memory.h"
#include "fitness/emu/model.h"

/* ---- hooks; each does nothing when block->profile is NULL ---- */

/* Makes block->profile when the launch has a profile: run.c, before a block's first op and after
 * its last. */
void profile_block_begin(struct block *block);
void profile_block_end(struct block *block);

void profile_op_done(struct warp *warp, const struct op *op, lanes active);
void profile_op_waits(struct warp *warp, const struct op *op, lanes active);
void profile_touched(struct warp *warp, const struct op *op, lanes active,
                     const uint64_t address[LANES], enum space space, unsigned bytes, bool write);

uint64_t profile_arrival(struct warp *warp, int lanes_coming);
uint64_t profile_landing(struct warp *warp);
uint64_t profile_copies_landed(const struct warp *warp);
void profile_until(struct warp *warp, uint64_t time);

/*
 * What passes between warps carries the time at which it does: an mbarrier and the barrier of a
 * cluster keep when the last one came (0 without a profile), who waits goes on no sooner.
 *
 * When so many lanes that come to an mbarrier have come: mbarrier.c, cluster.c.
 */
static inline uint64_t profile_comes(struct warp *warp, int lanes_coming)
{
    return warp->block->profile != NULL ? profile_arrival(warp, lanes_coming) : 0;
}
/* When the bulk copy whose accesses have just been told will have landed: bulk.c. */
static inline uint64_t profile_lands(struct warp *warp)
{
    return warp->block->profile != NULL ? profile_landing(warp) : 0;
}
/* When all cp.asyncs of the warp so far will have: async.c. */
static inline uint64_t profile_copied(const struct warp *warp)
{
    return warp->block->profile != NULL ? profile_copies_landed(warp) : 0;
}
/* The op that runs goes on no sooner: mbarrier.c, cluster.c. */
static inline void profile_waits_for(struct warp *warp, uint64_t time)
{
    if (warp->block->profile != NULL) {
        profile_until(warp, time);
    }
}
/* The chip's; 0 without a profile. */
uint64_t profile_latency(const struct block *block, enum latency latency);

/* An op was done (STEP_NEXT or STEP_JUMP) by these lanes: run.c. */
static inline void profile_op(struct warp *warp, const struct op *op, lanes active)
{
    if (warp->block->profile != NULL) {
        profile_op_done(warp, op, active);
    }
}
/* An op answered STEP_WAIT: run.c. */
static inline void profile_wait(struct warp *warp, const struct op *op, lanes active)
{
    if (warp->block->profile != NULL) {
        profile_op_waits(warp, op, active);
    }
}
/*
 * An op is about to touch `bytes` (of all its elements) at address[lane] for each active lane,
 * offset included: memory.c in loads, stores and atomics, tensor.c for rows of matrix loads and
 * stores. Called before the op is done.
 */
static inline void profile_access(struct warp *warp, const struct op *op, lanes active,
                                  const uint64_t address[LANES], enum space space, unsigned bytes,
                                  bool write)
{
    if (warp->block->profile != NULL) {
        profile_touched(warp, op, active, address, space, bytes, write);
    }
}

/* ---- a launch's counts ---- */

struct profile;

/*
 * Whoever made it gives it to launches of this program, one or more, then asks. The chip's
 * latencies drive the clocks; l1_bytes is what of its L1 a block may think its own.
 */
struct profile *profile_new(const struct code *program, const struct chip *chip, int64_t l1_bytes);
void profile_free(struct profile *profile); /* NULL is fine */

void profile_totals(const struct profile *profile, struct profile_totals *totals);

int profile_lines(const struct profile *profile, struct profile_line *lines, int room);

#endif
