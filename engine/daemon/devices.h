/*
 * devices -- what a judge would say of a device that is known by its architecture alone.
 */
#ifndef EVO_DAEMON_DEVICES_H
#define EVO_DAEMON_DEVICES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "fitness/job.h"

/*
 * A judge's description of a device of this architecture ("sm_90", "90a", "sm_86"), as far as
 * feasibility asks: false when it is unknown.
 */
bool device_of_arch(const char *arch, struct hello *hello);
/* The names that device_of_arch knows, with blanks between. */
const char *device_arch_names(struct arena *arena);
/* The description of one whose numbers are known. */
struct hello device_described(int64_t arch, int64_t smem_max, int64_t sms);

#endif
