/*
 * memory -- what earlier runs found, as a new one is taught it.
 *
 * A lesson is a genome of the new run's families and the time it had in an earlier run: of another
 * shape, on another device, or the very same. Its time is no time of the new run and never counts
 * as one; it teaches the model which genomes are like which, and a few of the best are proposed
 * first (`recall`). Pure.
 */
#ifndef EVO_SEARCH_MEMORY_H
#define EVO_SEARCH_MEMORY_H

#include "genome/family.h"

enum {
    MEMORY_SOURCES_MAX = 3, /* earlier runs that one learns from */
    MEMORY_LESSONS_MAX = 60, /* of a family, from all of them */
};

struct lesson {
    struct genome genome;
    int source, numerics; /* sources are counted from 0 */
    double us;            /* > 0 */
};

/*
 * Of the lessons of one family and one source those worth keeping, `room` at most: the best half of
 * the room, and an even spread of the rest, best first. Returns how many; they come to the front.
 */
int memory_choose(struct lesson *lessons, int count, int room);

#endif
