/*
 * probe -- a judge's answer to PROBE: what a round of one of evo's own probes takes.
 *
 * The probe is run once, and every thread of it must report that it has the result that the work
 * leaves; then it is timed, by the clocks of every candidate, with two numbers of rounds. One that
 * does not report is told as WRONG, without times: a compiler took the work away.
 */
#ifndef EVO_FITNESS_PROBE_H
#define EVO_FITNESS_PROBE_H

#include "base/arena.h"
#include "base/err.h"
#include "base/frame.h"
#include "fitness/device.h"

/* NULL: it is the machine that failed, err tells; the process is of no further use. */
struct message *probe_answer(struct arena *arena, const struct message *message, int64_t sms,
                             struct err *err);

#endif
