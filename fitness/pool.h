/*
 * pool -- one loop over the CPU's cores.
 *
 * pool_run calls task(context, i) for every i in [0, count) on up to `threads` threads, the calling
 * one included, and returns when all have ended. Which thread takes which i is left to chance, so a
 * task must depend on i alone. The threads are made when first needed and then sleep for the life
 * of the process; calls come from one thread and do not nest.
 */
#ifndef EVO_FITNESS_POOL_H
#define EVO_FITNESS_POOL_H

#include <stdint.h>

enum { POOL_THREADS_MAX = 256 };

typedef void pool_task(void *context, int64_t i);

void pool_run(pool_task *task, void *context, int64_t count, int threads);

#endif
