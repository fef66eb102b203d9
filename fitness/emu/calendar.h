/*
 * calendar -- what of a unit of a multiprocessor is taken, and when.
 *
 * Warps come to a unit (issue slots, a pipe) in the order in which the machine runs them, which is
 * not that of their clocks. So each unit keeps how many cycles of every SPAN are taken, and who
 * asks is given the first that are free from its own moment on. A zeroed one is empty.
 */
#ifndef EVO_EMU_CALENDAR_H
#define EVO_EMU_CALENDAR_H

#include <stdint.h>

enum { CALENDAR_SPAN = 32 };

struct calendar {
    uint8_t *taken; /* of each span, cycles */
    uint64_t spans;
};

/* Takes so many cycles from `from` on; returns when the last of them is over. */
uint64_t calendar_take(struct calendar *calendar, uint64_t from, uint64_t cycles);
void calendar_free(struct calendar *calendar);

#endif
