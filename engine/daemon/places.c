#include "daemon/places.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct program_slot {
    uint64_t key[2]; /* of code and plan; both 0: empty */
    int64_t place;
};

struct places {
    struct outcome *ring; /* place p is ring[p % window] */
    int window;
    int64_t settled, taken;
    struct program_slot *slots;
    size_t mask, programs;
};

struct places *places_new(int window)
{
    struct places *places = xcalloc(1, sizeof *places);

    assert(window > 0);
    places->window = window;
    places->ring = xcalloc((size_t)window, sizeof *places->ring);
    places->mask = 1023;
    places->slots = xcalloc(places->mask + 1, sizeof *places->slots);
    return places;
}

void places_free(struct places *places)
{
    if (places != NULL) {
        free(places->ring);
        free(places->slots);
        free(places);
    }
}

int64_t places_settled(const struct places *places) { return places->settled; }

void places_settle(struct places *places, const struct outcome *outcome)
{
    assert(outcome->place == places->settled);
    assert(places->settled - places->taken < places->window);
    places->ring[places->settled++ % places->window] = *outcome;
}

bool places_next(struct places *places, int64_t limit, struct outcome *outcome)
{
    if (places->taken >= places->settled || places->taken > limit) {
        return false;
    }
    *outcome = places->ring[places->taken++ % places->window];
    return true;
}

static struct program_slot *slot_of(struct program_slot *slots, size_t mask,
                                    const uint64_t key[2])
{
    size_t at = key[0] & mask;

    while ((slots[at].key[0] | slots[at].key[1]) != 0 &&
           (slots[at].key[0] != key[0] || slots[at].key[1] != key[1])) {
        at = (at + 1) & mask;
    }
    return &slots[at];
}

static void grow(struct places *places)
{
    size_t mask = 2 * places->mask + 1;
    struct program_slot *slots = xcalloc(mask + 1, sizeof *slots);

    for (size_t i = 0; i <= places->mask; i++) {
        const struct program_slot *slot = &places->slots[i];

        if ((slot->key[0] | slot->key[1]) != 0) {
            *slot_of(slots, mask, slot->key) = *slot;
        }
    }
    free(places->slots);
    places->slots = slots;
    places->mask = mask;
}

static struct program_slot *slot_for(const struct places *places, const struct hash *code_key,
                                     const struct hash *plan_key, uint64_t key[2])
{
    memcpy(&key[0], code_key->bytes, sizeof key[0]);
    memcpy(&key[1], plan_key->bytes, sizeof key[1]);
    return slot_of(places->slots, places->mask, key);
}

static bool is_taken(const struct program_slot *slot)
{
    return (slot->key[0] | slot->key[1]) != 0;
}

int64_t places_known(const struct places *places, const struct hash *code_key,
                     const struct hash *plan_key)
{
    uint64_t key[2];
    const struct program_slot *slot = slot_for(places, code_key, plan_key, key);

    return is_taken(slot) ? slot->place : -1;
}

int64_t places_program(struct places *places, const struct hash *code_key,
                       const struct hash *plan_key, int64_t place)
{
    uint64_t key[2];
    struct program_slot *slot = slot_for(places, code_key, plan_key, key);

    if (is_taken(slot)) {
        return slot->place;
    }
    *slot = (struct program_slot){{key[0], key[1]}, place};
    if (2 * ++places->programs > places->mask) {
        grow(places);
    }
    return place;
}
