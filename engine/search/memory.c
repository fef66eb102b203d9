#include "search/memory.h"

#include <stdlib.h>
#include <string.h>

static int compare_lessons(const void *a, const void *b)
{
    const struct lesson *x = a, *y = b;

    return x->us != y->us ? (x->us < y->us ? -1 : 1)
                          : memcmp(&x->genome, &y->genome, sizeof x->genome);
}

int memory_choose(struct lesson *lessons, int count, int room)
{
    int best = room / 2, left = count - best, spread = room - best;

    qsort(lessons, (size_t)count, sizeof *lessons, compare_lessons);
    if (count <= room) {
        return count;
    }
    for (int i = 0; i < spread; i++) { /* the last of each part: the slowest is one of them */
        lessons[best + i] = lessons[best + (int)((int64_t)(i + 1) * left / spread) - 1];
    }
    return room;
}
