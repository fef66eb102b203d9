/*
 * diagnosis -- what limits a kernel: its counters, held against what the device can do at most.
 *
 * Of hardware counters, or of what the emulated device counted (then everything is a model's).
 * Shares are of the ceilings that were measured (ceilings.h) where they were, else of what the
 * architecture is known for. Pure; texts are in the arena.
 */
#ifndef EVO_FITNESS_DIAGNOSIS_H
#define EVO_FITNESS_DIAGNOSIS_H

#include <stdbool.h>

#include "base/arena.h"
#include "fitness/ceilings.h"
#include "fitness/metric.h"

/* What can be used up. */
enum resource {
    RESOURCE_TENSOR,
    RESOURCE_FMA,
    RESOURCE_SPECIAL,
    RESOURCE_SHARED,
    RESOURCE_ISSUE,
    RESOURCE_L2,
    RESOURCE_DRAM,
    RESOURCES,
};
extern const char *const resource_names[RESOURCES];

struct diagnosis_subject {
    const double *metrics; /* METRIC_COUNT of one problem; NAN: unknown */
    double us;             /* its time */
    double flops, bytes;   /* of the problem */
    const struct ceilings *ceilings; /* of the device; NULL: nobody measured them */
};

struct diagnosis {
    bool known;    /* false: nothing was counted */
    bool modelled; /* by the emulated device */
    double share[RESOURCES];         /* of what there is, 0 to 1; NAN: unknown */
    const char *numbers[RESOURCES];  /* what that was computed from */
    double conflicts;                /* of the passes through shared memory, 0 to 1 */
    double occupancy;                /* percent, achieved (modelled: possible) */
    const char *limit;               /* a sentence */
    const char *roof;                /* where it stands under the roofline; "" when unknown */
    const char *hot;                 /* where its warps were seen; "" when nobody looked */
};

void diagnose(struct arena *arena, const struct diagnosis_subject *subject,
              struct diagnosis *diagnosis);

#endif
