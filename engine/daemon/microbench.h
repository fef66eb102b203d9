/*
 * microbench -- measures what a device can do at most (fitness/ceilings.h), with probes that are
 * compiled and timed like candidates; and remembers it for the device.
 *
 * What was measured is kept in the cache folder, a file for each device model, where a run finds it
 * when it begins. Owner: whoever owns the fleet. Threads: one.
 */
#ifndef EVO_DAEMON_MICROBENCH_H
#define EVO_DAEMON_MICROBENCH_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "daemon/batch.h"
#include "fitness/ceilings.h"

struct microbench {
    struct ceilings ceilings;
    const char *trouble[CEILINGS]; /* why there is no value; "" where there is one */
    int failed;
};

/* Those that are wanted. *done is false when it was given up (batch->go_on). */
bool microbench_run(const struct batch *batch, const bool wanted[CEILINGS],
                    struct microbench *microbench, bool *done, struct err *err);

/* The file where a device's ceilings are kept; NULL: there is no such folder. */
const char *microbench_path(struct arena *arena, const char *device);
bool microbench_keep(struct arena *arena, const struct ceilings *ceilings, struct err *err);
/* False with err unset: nothing is known of this device. */
bool microbench_recall(struct arena *arena, const char *device, struct ceilings *ceilings,
                       struct err *err);

#endif
