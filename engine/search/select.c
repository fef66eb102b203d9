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

static int of_niche(const struct member *members, int count, int niche)
{
    int found = 0;

    for (int i = 0; i < count; i++) {
        found += members[i].niche == niche;
    }
    return found;
}

double select_bound(const struct member *members, int count, int niche)
{
    double last = members[count - 1].us, protected_us = NICHE_WITHIN * members[0].us;

    return of_niche(members, count, niche) < count / NICHE_PART && last < protected_us
               ? protected_us : last;
}

/* Who goes of `count` when there is room for one fewer. */
static int superfluous(const struct member *members, int count)
{
    int part = (count - 1) / NICHE_PART;

    for (int i = count - 1; i > 0; i--) {
        if (members[i].us > NICHE_WITHIN * members[0].us ||
            of_niche(members, count, members[i].niche) > part) {
            return i;
        }
    }
    return count - 1;
}

int select_survivor(struct member *members, int *count, int room, const struct member *newcomer)
{
    int at = *count, gone;

    while (at > 0 && better(newcomer, &members[at - 1])) {
        at--;
    }
    memmove(&members[at + 1], &members[at], (size_t)(*count - at) * sizeof *members);
    members[at] = *newcomer;
    if (++*count <= room) {
        return at;
    }
    gone = superfluous(members, *count);
    memmove(&members[gone], &members[gone + 1], (size_t)(--*count - gone) * sizeof *members);
    return gone == at ? -1 : gone < at ? at - 1 : at;
}
