#include "base/rng.h"

#include <assert.h>

enum { ROUNDS = 10 };

static void philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];

    for (int round = 0; round < ROUNDS; round++) {
        uint64_t p0 = (uint64_t)0xd2511f53u * c0;
        uint64_t p1 = (uint64_t)0xcd9e8d57u * c2;

        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

struct rng rng_at(uint64_t seed, uint32_t stream, uint64_t place)
{
    return (struct rng){
        .key = {(uint32_t)seed, (uint32_t)(seed >> 32)},
        .counter = {0, stream, (uint32_t)place, (uint32_t)(place >> 32)},
        .used = 4,
    };
}

uint32_t rng_u32(struct rng *rng)
{
    if (rng->used == 4) {
        philox(rng->counter, rng->key, rng->block);
        rng->counter[0]++;
        rng->used = 0;
    }
    return rng->block[rng->used++];
}

uint64_t rng_u64(struct rng *rng)
{
    uint64_t high = rng_u32(rng);

    return high << 32 | rng_u32(rng);
}

uint32_t rng_below(struct rng *rng, uint32_t bound)
{
    uint32_t reject; /* the first 2^32 mod bound values would be drawn once too often */
    uint32_t draw;

    assert(bound > 0);
    reject = -bound % bound;
    do {
        draw = rng_u32(rng);
    } while (draw < reject);
    return draw % bound;
}

double rng_unit(struct rng *rng) { return (double)(rng_u64(rng) >> 11) * 0x1p-53; }
