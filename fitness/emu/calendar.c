#include "fitness/emu/calendar.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"

static void grow(struct calendar *calendar, uint64_t spans)
{
    uint64_t room = calendar->spans == 0 ? 256 : calendar->spans;

    while (room < spans) {
        room *= 2;
    }
    calendar->taken = xrealloc(calendar->taken, room);
    memset(calendar->taken + calendar->spans, 0, room - calendar->spans);
    calendar->spans = room;
}

uint64_t calendar_take(struct calendar *calendar, uint64_t from, uint64_t cycles)
{
    uint64_t at = from / CALENDAR_SPAN, left = cycles, end = from;
    uint64_t gone = from % CALENDAR_SPAN; /* of the first span */

    while (left > 0) {
        uint64_t taken, room, now;

        if (at >= calendar->spans) {
            grow(calendar, at + 1);
        }
        taken = calendar->taken[at];
        room = CALENDAR_SPAN - (taken > gone ? taken : gone);
        room = room < CALENDAR_SPAN - taken ? room : CALENDAR_SPAN - taken;
        now = left < room ? left : room;
        if (now > 0) {
            calendar->taken[at] = (uint8_t)(taken + now);
            left -= now;
            end = at * CALENDAR_SPAN + (taken > gone ? taken : gone) + now;
        }
        gone = 0;
        at++;
    }
    return end > from + cycles ? end : from + cycles;
}

void calendar_free(struct calendar *calendar)
{
    free(calendar->taken);
    *calendar = (struct calendar){0};
}
