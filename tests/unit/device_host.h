/*
 * device_host -- device.h on host memory, for testing the gate and the judge without a GPU.
 *
 * A module is not machine code: the name of the program's first kernel chooses an attention written
 * in C from the table in device_host.c, some right (in other orders, tiles and precisions than the
 * reference), some wrong in one way each. "Global memory" is the heap.
 */
#ifndef EVO_TEST_DEVICE_HOST_H
#define EVO_TEST_DEVICE_HOST_H

#include <stdbool.h>

#include "fitness/verify.h"

struct host_variant {
    const char *name;
    enum numerics numerics; /* what it says of itself */
    enum verdict verdict;   /* what the gate must find; PASS for the right ones */
    const char *says;       /* a part of the reason; NULL for the right ones */
    const char *problem;    /* where it shows; NULL: anywhere */
};

/* Steps through the table: *at starts at 0; NULL at the end. */
const struct host_variant *host_variant_next(int *at);

/* Bytes that candidates may ask of device memory, for testing what happens when there is none. */
extern size_t host_memory_max;

/* Whether it refuses to count, or to sample; how often it was asked. */
extern bool host_counters_refused, host_samples_refused;
extern int host_counted, host_sampled;

#endif
