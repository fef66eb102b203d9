/*
 * clock -- what time it is: monotonic for durations and deadlines, wall time for people.
 */
#ifndef EVO_BASE_CLOCK_H
#define EVO_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_now_ms(void);  /* monotonic; only differences mean anything */
int64_t clock_now_us(void);
int64_t clock_wall_ms(void); /* since 1970, UTC */
int64_t clock_cpu_us(void);  /* CPU time of this process, user and system */
/* "2026-11-20T07:12:03Z" */
void clock_wall_text(int64_t wall_ms, char text[24]);

#endif
