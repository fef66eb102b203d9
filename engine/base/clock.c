#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t clock_us(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_now_us(void) { return clock_us(CLOCK_MONOTONIC); }
int64_t clock_now_ms(void) { return clock_us(CLOCK_MONOTONIC) / 1000; }
int64_t clock_wall_ms(void) { return clock_us(CLOCK_REALTIME) / 1000; }
int64_t clock_cpu_us(void) { return clock_us(CLOCK_PROCESS_CPUTIME_ID); }

void clock_wall_text(int64_t wall_ms, char text[24])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc;

    gmtime_r(&seconds, &utc);
    if (strftime(text, 24, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0) {
        text[0] = '\0'; /* beyond the year 9999: no time that was ever recorded */
    }
}
