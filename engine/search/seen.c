#include "search/seen.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

enum { SLOTS_FIRST = 1024 };

void seen_begin(struct seen *seen)
{
    *seen = (struct seen){.mask = SLOTS_FIRST - 1};
    seen->slots = xcalloc(SLOTS_FIRST, sizeof *seen->slots);
}

void seen_end(struct seen *seen) { free(seen->slots); }

uint64_t seen_key(const struct hash *hash)
{
    uint64_t key;

    memcpy(&key, hash->bytes, sizeof key);
    return key != 0 ? key : 1;
}

bool seen_has(const struct seen *seen, uint64_t key)
{
    for (size_t at = key & seen->mask;; at = (at + 1) & seen->mask) {
        if (seen->slots[at] == 0 || seen->slots[at] == key) {
            return seen->slots[at] == key;
        }
    }
}

static void seen_put(struct seen *seen, uint64_t key)
{
    size_t at = key & seen->mask;

    while (seen->slots[at] != 0) {
        if (seen->slots[at] == key) {
            return;
        }
        at = (at + 1) & seen->mask;
    }
    seen->slots[at] = key;
    seen->count++;
}

void seen_add(struct seen *seen, uint64_t key)
{
    if (2 * (seen->count + 1) > seen->mask + 1) {
        struct seen larger = {.mask = 2 * seen->mask + 1};

        larger.slots = xcalloc(larger.mask + 1, sizeof *larger.slots);
        for (size_t i = 0; i <= seen->mask; i++) {
            if (seen->slots[i] != 0) {
                seen_put(&larger, seen->slots[i]);
            }
        }
        free(seen->slots);
        *seen = larger;
    }
    seen_put(seen, key);
}
