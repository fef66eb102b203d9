/*
 * shapes -- which shapes the gate of a device judges a candidate on.
 *
 * On a GPU: those of the workload, each in full. The emulated device is some thousand times slower,
 * so there each shape of the workload is judged as far as it can be afforded (in full, with one
 * launch, or not at all: its time is modelled from a few of its blocks), and the gate in full is
 * climbed on smaller shapes with the same static problem: those that the seed names (emu_shapes),
 * or four derived from each static problem, all ragged: one with more keys than queries, one
 * square, a small one of several batches, heads and key heads, which where the problem is causal
 * has rows that see no key, and one of few rows and many keys.
 *
 * What is promoted is judged on more: shapes that the search never sees, drawn anew each time,
 * around the edges of the program's own tiles.
 *
 * Engine and `evo verify` ask here, so that both judge alike. No state.
 */
#ifndef EVO_DAEMON_SHAPES_H
#define EVO_DAEMON_SHAPES_H

#include "base/rng.h"
#include "fitness/job.h"

struct shape {
    struct problem problem;
    int image;
    enum use use;
};

struct shapes {
    struct shape list[JOB_PROBLEMS_MAX]; /* the workload first, in its order */
    int count;
    int timed; /* how many are the workload's */
};

/* The timed shapes are in `shapes` already (problem, image): says what each is for, adds the
 * others. */
void shapes_choose(struct shapes *shapes, const struct hello *judge, const struct problem *own,
                   int own_count);
/*
 * Adds, for each image of the workload, shapes for the gate alone that are not there yet: tiles and
 * one, tiles less one, one tile, less than one, many keys, odd numbers of batches and heads.
 * programs[i] is that of image i: its BLOCK_M and BLOCK_N are the tiles (else some are drawn), and
 * what it does not support is drawn coarser, or left out. slow: a device that can afford small ones
 * only.
 */
void shapes_hold_out(struct shapes *shapes, const struct program *const *programs, int64_t sms,
                     bool slow, struct rng *rng);
/* The shapes as one text, for the key of judgements: equal when the same is judged on. */
struct hash shapes_hash(const struct shapes *shapes);

#endif
