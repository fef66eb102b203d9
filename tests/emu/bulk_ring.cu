/*
 * A ring of bulk copies: one thread keeps two tiles on their way, two warps use them. Full barriers
 * count bytes, empty ones a lane of each warp; the producer's first round finds all places empty.
 */
// evo: launch kernel<<<2, 96>>>(in f32 in[2x8x256], out f32 out[2x8x256])
#include "sync.cuh"

enum { STAGES = 2, TILES = 8, TILE = 256 };

extern "C" __global__ void kernel(const float *in, float *out)
{
    __shared__ __align__(128) float ring[STAGES][TILE];
    __shared__ u64 full[STAGES], empty[STAGES];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, base = blockIdx.x * TILES * TILE;

    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; i++) {
            mbarrier_init(&full[i], 1);
            mbarrier_init(&empty[i], 2); //= one_leaves: deadlock @full | mbarrier_init(&empty[i], 1); //= three_leave: deadlock @full | mbarrier_init(&empty[i], 3); //@ empties
        }
        mbarrier_init_fence(); //- init_fence: proxy @load
    }
    __syncthreads(); //- made: race @full, race @place, race @expect, race @load, race @leave
    if (warp == 2) {
        if (lane == 0) {
            for (int i = 0; i < TILES; i++) {
                mbarrier_wait(&empty[i % STAGES], i / STAGES % 2 ^ 1); //@ place //- no_empty: barrier @expect, race @load, deadlock @full //= place_parity: deadlock @full | mbarrier_wait(&empty[i % STAGES], i / STAGES % 2);
                mbarrier_expect(&full[i % STAGES], TILE * 4); //@ expect //= more: deadlock @full | mbarrier_expect(&full[i % STAGES], TILE * 4 + 16); //= less: deadlock @full | mbarrier_expect(&full[i % STAGES], TILE * 2); //- none: deadlock @full
                bulk_load(ring[i % STAGES], in + base + i * TILE, TILE * 4, &full[i % STAGES]); //@ load //= past_end: out of bounds @load | bulk_load(ring[i % STAGES], in + base + i * TILE + (i == TILES - 1 ? 4 : 0), TILE * 4, &full[i % STAGES]); //= odd_source: misaligned @load, deadlock @full | bulk_load(ring[i % STAGES], in + base + i * TILE + 1, TILE * 4, &full[i % STAGES]);
            }
        }
    } else {
        for (int i = 0; i < TILES; i++) {
            mbarrier_wait(&full[i % STAGES], i / STAGES % 2); //@ full //- no_full: race @read, deadlock @place //= full_parity: race @read, barrier @expect, race @load | mbarrier_wait(&full[i % STAGES], i / STAGES % 2 ^ 1);
            for (int j = warp * 128 + lane; j < warp * 128 + 128; j += 32)
                out[base + i * TILE + j] = ring[i % STAGES][TILE - 1 - j]; //@ read
            __syncwarp(); //- left: race @load
            if (lane == 0)
                mbarrier_arrive(&empty[i % STAGES]); //@ leave //= kept: deadlock @full | ;
        }
    }
}
