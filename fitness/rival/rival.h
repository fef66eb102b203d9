/*
 * rival -- the library calls that a winner must beat, behind one small interface.
 *
 * A rival does one problem. Opening it builds every plan (engine, configuration) that its library
 * offers for the problem; the caller runs and times each, and the fastest that is right is the
 * rival. Libraries are loaded at run time: one that is absent, or will not do the problem, is an
 * err that says so, and no reason to stop.
 *
 * Owner: evo-judge-cuda, with the primary context current; its only thread. Memory that device
 * pointers (uint64_t) name is the caller's. `stream` is a CUstream.
 */
#ifndef EVO_FITNESS_RIVAL_H
#define EVO_FITNESS_RIVAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "fitness/problem.h"

enum { RIVAL_PLANS_MAX = 16, RIVAL_NAME_MAX = 64 };

struct rival_buffers {
    uint64_t q, k, v, o;
    uint64_t lse;       /* 0 unless the problem asks for it */
    uint64_t workspace; /* of rival_workspace_bytes; 0 when that is 0 */
};

struct rival; /* what an implementation keeps for one problem */

struct rival_kind {
    const char *name; /* as people write it: cudnn */
    const char *doc;
    bool (*open)(const struct problem *problem, void *stream, struct rival **rival,
                 struct err *err);
    int (*plans)(const struct rival *rival); /* at least one once open */
    /* What a plan is, in words: "composite 1 (engine 2)". */
    void (*plan_name)(const struct rival *rival, int plan, char name[RIVAL_NAME_MAX]);
    size_t (*workspace_bytes)(const struct rival *rival, int plan);
    /* Binds the plan to memory; may be called again for other memory. Not to be timed. */
    bool (*bind)(struct rival *rival, int plan, const struct rival_buffers *buffers,
                 struct err *err);
    /* Enqueues the bound call on the stream; may be captured into a graph. */
    bool (*enqueue)(struct rival *rival, struct err *err);
    void (*version)(char text[RIVAL_NAME_MAX]); /* of the library loaded; "" when none is */
    void (*close)(struct rival *rival);         /* NULL is fine */
};

/* All of them, NULL at the end. */
extern const struct rival_kind *const rival_kinds[];
const struct rival_kind *rival_find(const char *name); /* NULL: none of that name */

#endif
