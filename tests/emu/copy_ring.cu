/*
 * cp.async into a ring of three tiles, one barrier a tile: at the top it publishes tile i and says
 * that all have left tile i - 1, into whose place tile i + 2 is copied. A group is committed every
 * time, even an empty one, so that the count of pending groups keeps its meaning.
 */
// evo: launch kernel<<<1, 64>>>(in f32 in[2048], out f32 out[2048])
#include "sync.cuh"

enum { STAGES = 3, TILES = 8, TILE = 256 };

extern "C" __global__ void kernel(const float *in, float *out)
{
    __shared__ __align__(16) float ring[STAGES][TILE];
    const int t = threadIdx.x;

    for (int i = 0; i < STAGES - 1; i++) {
        copy_16(&ring[i][4 * t], in + i * TILE + 4 * t); //@ first
        copy_commit();
    }
    for (int i = 0; i < TILES; i++) {
        copy_wait<STAGES - 2>(); //- wait: race @read, race @copy //= pending: race @read | copy_wait<STAGES - 1>();
        __syncthreads(); //- barrier: race @read, race @copy, uninitialised @read, race @first
        if (i + STAGES - 1 < TILES) {
            float *to = ring[(i + STAGES - 1) % STAGES]; //= too_soon: race @copy, race @read, uninitialised @read | float *to = ring[i % STAGES];
            copy_16(to + 4 * t, in + (i + STAGES - 1) * TILE + 4 * t); //@ copy
        }
        copy_commit(); //= drift: race @read | if (i + STAGES - 1 < TILES) copy_commit();
        const float *tile = ring[i % STAGES];
        for (int j = 0; j < 4; j++)
            out[i * TILE + 64 * j + t] = tile[TILE - 1 - (64 * j + t)]; //@ read
    }
}
