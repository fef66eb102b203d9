/*
 * counting -- which calls the hardware counters are taken of, and when.
 *
 * A collection costs 300 ms and 2.5 ms for each call (docs/MEASURING.md). So programs that pass
 * wait, loaded, until there are COUNTING_BATCH of them, or a few and some time has passed, and what
 * was counted then travels with the answer to the last one. What is to be called best is counted in
 * full: at once where that is asked for, else when it has waited for some seconds. In a search it
 * is often overtaken by then, its judge is gone, and a process's first collection, which is as long
 * as all else of a promotion, was saved.
 *
 * Counters guide, they do not score, and nothing waits for them: what a judge has not counted when
 * it ends is not counted; a device that refuses is asked once, and its words are then the reason
 * why there are none. The judge owns a struct counting for its whole life.
 */
#ifndef EVO_FITNESS_COUNTING_H
#define EVO_FITNESS_COUNTING_H

#include "base/arena.h"
#include "base/err.h"
#include "fitness/device.h"
#include "fitness/job.h"

enum {
    COUNTING_BATCH = 48,
    COUNTING_FEW = 8,         /* are enough */
    COUNTING_PATIENCE_S = 20, /* when the first has waited so long: 2 % of the device's time */
    COUNTING_PROBLEMS_MAX = 8, /* of what is counted in full */
    COUNTING_BEST_S = 10,      /* that it waits for */
};

/* A program on one of its problems. */
struct counted_call {
    int64_t job;
    int index; /* of the problem in the job */
    struct problem problem;
    struct device_module *module;
    const struct plan *plan;
};

struct counting {
    struct arena *arena; /* of those that wait */
    struct counted_call waiting[COUNTING_BATCH];
    int count;
    int64_t since_us; /* when the first of them came */
    struct arena *best_arena;
    struct counted_call best[COUNTING_PROBLEMS_MAX]; /* waits to be counted in full */
    int best_count;
    int64_t best_since_us;
    char *refused; /* why the device does not count; NULL: it may. For ever. */
    char *unsampled; /* the same of what its warps wait for */
};

void counting_open(struct counting *counting);
void counting_close(struct counting *counting);

/* Takes the module over. True: there are enough, counting_collect is due. */
bool counting_add(struct counting *counting, const struct counted_call *call);
/*
 * Counts those that wait and lets go of them: result->counted. What cannot be counted has NAN and
 * the reason; another status than DEVICE_OK is that of a device that was lost over it.
 */
enum device_status counting_collect(struct counting *counting, struct arena *arena,
                                    struct judge_result *result, struct err *err);
/*
 * Counts these in full, and samples what the warps of the first wait for, as metrics of the result
 * itself. The modules stay the caller's.
 */
enum device_status counting_in_full(struct counting *counting, struct arena *arena,
                                    const struct counted_call *calls, int count,
                                    struct judge_result *result, struct err *err);

/* Takes the modules over, a module that several calls share once; counted later, and in full. */
void counting_put_off(struct counting *counting, const struct counted_call *calls, int count);
/* Whether what was put off has waited long enough. */
bool counting_best_is_due(const struct counting *counting);
/* Counts it, as counting_in_full, into result->counted. */
enum device_status counting_best(struct counting *counting, struct arena *arena,
                                 struct judge_result *result, struct err *err);

#endif
