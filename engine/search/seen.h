/*
 * seen -- a set of 64-bit keys: which genomes were proposed before.
 *
 * Open addressing, at most half full. Keys are prefixes of hashes: at 10^6 of them a false "seen"
 * has odds of 3e-8. Memory: 16 to 32 bytes a key.
 */
#ifndef EVO_SEARCH_SEEN_H
#define EVO_SEARCH_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"

struct seen {
    uint64_t *slots; /* 0: empty */
    size_t mask, count;
};

void seen_begin(struct seen *seen);
void seen_end(struct seen *seen);
uint64_t seen_key(const struct hash *hash);
bool seen_has(const struct seen *seen, uint64_t key);
void seen_add(struct seen *seen, uint64_t key); /* twice is once */

#endif
