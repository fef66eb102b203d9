/*
 * stalls -- what warps were doing whenever somebody looked: samples of program counters.
 *
 * A sampler looks at a warp of each scheduler every so many cycles and notes which instruction is
 * its next and why it has not issued it. stalls_cuda.c takes samples; here they are added up, by
 * reason and by instruction, and made into metrics. Pure but for the memory of the list.
 */
#ifndef EVO_FITNESS_STALLS_H
#define EVO_FITNESS_STALLS_H

#include <stddef.h>
#include <stdint.h>

#include "fitness/metric.h"

enum { STALLS = METRIC_PC_MISC - METRIC_PC_ISSUING + 1, STALL_METRICS = STALLS + 3 };

struct stall {
    const char *reason; /* as CUPTI knows it, behind smsp__pcsamp_warps_issue_stalled_ */
    enum metric metric;
    const char *words; /* what the warp waits for; NULL: it does not wait */
};

/* In the order of their metrics. */
extern const struct stall stall_table[STALLS];
/*
 * The reason that CUPTI calls so, misc where it is a new one; -1: none to be added (each is there
 * again, of the samples in which no warp issued).
 */
int stall_find(const char *name);

struct stalls {
    uint64_t by[STALLS];
    struct stall_pc {
        uint64_t kernel; /* whatever tells kernels apart */
        uint64_t offset, samples;
    } *pcs; /* some may be there several times */
    size_t count, room;
};

void stalls_add(struct stalls *stalls, uint64_t kernel, uint64_t offset, int reason,
                uint64_t samples);
/* pc_samples and the ones after it, in their order; NAN for shares of nothing. */
void stalls_tell(struct stalls *stalls, double values[STALL_METRICS]);
void stalls_free(struct stalls *stalls);

#endif
