/*
 * worker -- the frame of every worker process: HELLO, then one job after another.
 *
 * Takes stdin and stdout for frames (and points descriptor 1 at stderr, so that a stray print harms
 * nothing), starts a watcher that ends the process when the engine is gone, says hello, and then
 * hands each message to `handle`, which answers with the message to send. An arena lives for one
 * job. When handle returns false the worker sends a FAILURE with the error and exits: its engine
 * starts another.
 */
#ifndef EVO_FITNESS_WORKER_H
#define EVO_FITNESS_WORKER_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/frame.h"
#include "fitness/job.h"

/*
 * *last true: send the answer, then end (the device is spent, though the answer is good). The
 * message then carries the field `last`, and the engine sends no further job.
 */
typedef bool worker_handle(void *context, struct arena *arena, const struct message *job,
                           struct message **answer, bool *last, struct err *err);

/* Claims stdin and stdout; call it before any library could print. */
void worker_claim_stdio(void);
int worker_run(const struct hello *hello, worker_handle *handle, void *context);

#endif
