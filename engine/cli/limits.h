/*
 * limits -- what limits a candidate, for `evo show`: its counters against the device's ceilings.
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

bool limits_find(struct cli *cli, const struct kernel_row *kernel,
                 const struct metric_value *metrics, int64_t metric_count, struct limits *limits,
                 struct err *err);
void limits_print(struct arena *arena, const struct limits *limits, const char *device);
json_t *limits_json(const struct limits *limits);

#endif
