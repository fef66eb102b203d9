/*
 * batch -- many programs through compilers and judges at once, outside any run.
 *
 * For whoever wants verdicts and no database: the judge's self-test, tests of the gate. The fleet
 * is the caller's and may have more workers than are ready yet. A worker that dies with a job gets
 * it once more, the second time the verdict is crash; past its deadline it is timeout; a worker's
 * failure is nobody's fault and ends the batch only when the fleet gives up. Owner: whoever owns
 * the fleet. Threads: one.
 */
#ifndef EVO_DAEMON_BATCH_H
#define EVO_DAEMON_BATCH_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "daemon/fleet.h"
#include "fitness/job.h"

enum batch_stage { BATCH_COMPILE, BATCH_COMPILING, BATCH_JUDGE, BATCH_JUDGING, BATCH_DONE };

struct batch_item {
    struct compile_job compile; /* its id is the batch's business */
    struct judge_job *job;      /* all but its image's code; NULL: compiled only */
    /* what came of it; the texts are in the batch's arena */
    struct built built;
    struct judge_result *result; /* NULL: not judged */
    enum batch_stage stage;      /* the batch's business; zero at first */
    int deaths;
};

struct batch {
    struct fleet *fleet;
    struct arena *arena;
    /* After every round; false: give up. May be NULL. */
    bool (*go_on)(void *context, int done, int count);
    void *context;
};

/*
 * Waits for the first judge, and the first compiler if there are any. *judge: fleet_hello's number;
 * -1: given up.
 */
bool batch_await(const struct batch *batch, int *judge, struct err *err);
/* *done is false when it was given up: the workers may then still have jobs in hand. */
bool batch_run(const struct batch *batch, struct batch_item *items, int count, bool *done,
               struct err *err);

/* PASS …, or the compiler's; and the rung that decided: build, image, plan, launch, …, deadline. */
enum verdict batch_verdict(const struct batch_item *item);
const char *batch_rung(const struct batch_item *item);
const char *batch_reason(const struct batch_item *item);

#endif
