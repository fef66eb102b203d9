/*
 * A stage that a warpgroup has multiplied from is given back by one of its 128 threads, after its
 * own wait alone: a wgmma is the warpgroup's, so it is over for all four warps or for none.
 */
// evo: launch kernel<<<1, 160>>>(in u32 in[8x64], in u32 more[512], out f32 out[512])
#include "sync.cuh"

enum { STAGES = 2, TILES = 8 };

extern "C" __global__ void kernel(const unsigned *in, const unsigned *more, float *out)
{
    __shared__ __align__(128) unsigned a[512], ring[STAGES][64];
    __shared__ u64 full[STAGES], empty[STAGES];
    const int t = threadIdx.x;

    for (int i = t; i < 512; i += 160)
        a[i] = more[i];
    if (t == 0) {
        for (int i = 0; i < STAGES; i++) {
            mbarrier_init(&full[i], 1);
            mbarrier_init(&empty[i], 1);
        }
        mbarrier_init_fence();
    }
    proxy_fence();
    __syncthreads();
    if (t >= 128) {
        for (int i = 0; t == 128 && i < TILES; i++) {
            mbarrier_wait(&empty[i % STAGES], i / STAGES % 2 ^ 1); //- no_empty: barrier @expect, race @load, deadlock @full
            mbarrier_expect(&full[i % STAGES], 256); //@ expect
            bulk_load(ring[i % STAGES], in + i * 64, 256, &full[i % STAGES]); //@ load
        }
        return;
    }
    float d[4] = {0, 0, 0, 0};
    settle(d);
    for (int i = 0; i < TILES; i++) {
        mbarrier_wait(&full[i % STAGES], i / STAGES % 2); //@ full //- no_full: race @product, barrier @expect, in flight @load, race @load
        wgmma_fence();
        wgmma(d, operand_of(a), operand_of(ring[i % STAGES])); //@ product
        wgmma_commit();
        wgmma_wait<0>(); //= too_soon: in flight @load | wgmma_wait<1>();
        if (t == 32)
            mbarrier_arrive(&empty[i % STAGES]);
    }
    wgmma_wait<0>();
    settle(d);
    for (int i = 0; i < 4; i++)
        out[4 * t + i] = d[i];
}
