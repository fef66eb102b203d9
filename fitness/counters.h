/*
 * counters -- what the hardware counts while a call runs: sets of metrics, by CUPTI's names.
 *
 * counters_cupti.c turns a set into a configuration and counted bytes into numbers; counters_cuda.c
 * runs the calls. Pure.
 */
#ifndef EVO_FITNESS_COUNTERS_H
#define EVO_FITNESS_COUNTERS_H

#include "fitness/metric.h"

enum counter_set {
    COUNTERS_ONE,  /* one pass: a call is run once, nothing is saved or restored */
    COUNTERS_FULL, /* the same and what warps wait for, in several passes */
    COUNTER_SETS,
};

enum { COUNTERS_MAX = 32 };

struct counter {
    const char *name; /* as CUPTI knows it */
    enum metric metric;
};

/* The metrics of a set; those of COUNTERS_ONE come first in both. */
const struct counter *counters_of(enum counter_set set, int *count);

#endif
