/*
 * limits -- what limits a candidate, for `evo show` and reports: its counters against the device's
 * ceilings.
 *
 * Ceilings are those that `evo microbench` kept for the device; of an emulated one, else, what its
 * table of the chip says.
 */
#ifndef EVO_CLI_LIMITS_H
#define EVO_CLI_LIMITS_H

#include "cli/cli.h"
#include "fitness/diagnosis.h"

struct limits {
    struct ceilings ceilings;
    bool measured; /* the ceilings are known */
    struct {
        const char *problem;
        struct diagnosis diagnosis;
        const char *reason; /* why nothing was counted; "" where it was, or nobody says */
    } rows[JOB_PROBLEMS_MAX];
    int count;
};

/* What the device of a run could do at most; *known false: nobody knows. */
bool limits_ceilings(struct store *store, struct arena *arena, int64_t run, const char *device,
                     struct ceilings *ceilings, bool *known, struct err *err);
bool limits_find(struct store *store, struct arena *arena, const struct kernel_row *kernel,
                 const struct metric_value *metrics, int64_t metric_count, struct limits *limits,
                 struct err *err);
void limits_print(struct arena *arena, const struct limits *limits, const char *device);
json_t *limits_json(const struct limits *limits);

#endif
