/*
 * rng -- random numbers as a function of where they are drawn, not of when.
 *
 * rng_at(seed, stream, place) starts a sequence that depends on these three numbers alone: nothing
 * needs to be saved for a killed run to go on as if it had not been, and the order in which results
 * arrive cannot change what is drawn. The generator is Philox-4x32-10 (Salmon et al., 2011), whose
 * every output is a keyed function of a counter; it passes BigCrush.
 */
#ifndef EVO_BASE_RNG_H
#define EVO_BASE_RNG_H

#include <stdint.h>

struct rng {
    uint32_t key[2];
    uint32_t counter[4]; /* draw, stream, place low, place high */
    uint32_t block[4];
    unsigned used; /* words of `block` already given out */
};

struct rng rng_at(uint64_t seed, uint32_t stream, uint64_t place);
uint32_t rng_u32(struct rng *rng);
uint64_t rng_u64(struct rng *rng);
uint32_t rng_below(struct rng *rng, uint32_t bound); /* unbiased, 0 <= r < bound, bound > 0 */
double rng_unit(struct rng *rng);                    /* [0, 1) with 53 bits */

#endif
