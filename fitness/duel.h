/*
 * duel -- a judge's answer to DUEL: two programs, right ones, timed in turns on the same inputs.
 *
 * Each side goes through the gate by itself; a side that fails is told, and nothing is timed. A
 * process duels once: what times it afterwards could not be trusted (device_duel), so the answer
 * is its last.
 */
#ifndef EVO_FITNESS_DUEL_H
#define EVO_FITNESS_DUEL_H

#include "base/arena.h"
#include "base/err.h"
#include "base/frame.h"
#include "fitness/device.h"

/* NULL: it is the machine that failed, err tells; another process may do better. */
struct message *duel_answer(struct arena *arena, const struct message *message, int64_t sms,
                            struct err *err);

/* Blocks for a device that knows two times and no spread: STATS_BLOCKS_MIN equal ones. */
void duel_constant(struct arena *arena, double a_us, double b_us, struct duel_times *times);

#endif
