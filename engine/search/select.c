#include "search/select.h"

#include <string.h>

int select_parent(enum seed_selection selection, int tournament, int count, struct rng *rng)
{
    int best = count - 1;

    if (selection == SELECTION_RANK) {
        /* Linear ranking: the best is drawn `count` times as often as the last. */
        uint32_t total = (uint32_t)count * ((uint32_t)count + 1) / 2;
        uint32_t draw = rng_below(rng, total);
        uint32_t share = (uint32_t)count;

        for (int at = 0; at < count; at++, share--) {
            if (draw < share) {
                return at;
            }
            draw -= share;
        }
        return count - 1;
    }
    for (int i = 0; i < tournament; i++) {
        int rival = (int)rng_below(rng, (uint32_t)count);

        best = rival < best ? rival : best;
    }
    return best;
}

static bool better(const struct member *a, const struct member *b)
{
    return a->us != b->us ? a->us < b->us : a->place < b->place;
}

int select_survivor(struct member *members, int *count, int room, const struct member *newcomer)
{
    int at = *count;

    while (at > 0 && better(newcomer, &members[at - 1])) {
        at--;
    }
    if (at >= room) {
        return -1;
    }
    if (*count < room) {
        (*count)++;
    }
    memmove(&members[at + 1], &members[at], (size_t)(*count - 1 - at) * sizeof *members);
    members[at] = *newcomer;
    return at;
}
