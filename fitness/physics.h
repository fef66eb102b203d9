/*
 * physics -- the time below which no kernel can be, on a device, for a problem.
 *
 * The larger of two: the problem's multiplications at the tensor cores' peak rate, and its tensors
 * at the peak rate of the memory that they come from. A measured time below 0.95 of that is not a
 * fast kernel but a broken clock, skipped work, or an answer from somewhere else. Rates are peaks,
 * by architecture in one table (the highest precision rate that attention in 16 bits could use) or
 * as the device says; what is not known bounds nothing. Pure.
 */
#ifndef EVO_FITNESS_PHYSICS_H
#define EVO_FITNESS_PHYSICS_H

#include <stdbool.h>
#include <stdint.h>

#include "fitness/problem.h"

/* Unknown numbers are 0 or NAN. */
struct physics_device {
    int64_t arch, sms;
    double clock_mhz; /* of the multiprocessors, while the samples were taken */
    double dram_gb_s;
    int64_t l2_bytes;
};

enum { PHYSICS_TEXT = 256 };

struct physics_floor {
    double us;               /* already times 0.95; 0: nothing is known that bounds the time */
    char text[PHYSICS_TEXT]; /* the arithmetic, for people */
};

/* Of a multiprocessor in a clock: dense FP16 tensor operations, bytes from L2; 0: unknown. */
double physics_flops(int64_t arch);
double physics_l2_bytes(int64_t arch);

/*
 * cold: the tensors come from DRAM. Otherwise as much as fits may be in L2 already, and its rate
 * bounds the rest.
 */
struct physics_floor physics_floor(const struct physics_device *device,
                                   const struct problem *problem, bool cold);

/*
 * Whether what such a problem must move to and from DRAM takes more than half the time of its
 * multiplications, both at their peaks: then calls need not follow the multiprocessors' clock.
 */
bool physics_follows_memory(const struct physics_device *device, const struct problem *problem);

#endif
