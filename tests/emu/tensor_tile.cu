/*
 * A tile at the edge of a matrix: TMA fills with zeros what lies outside, and counts the whole box
 * all the same. 100 rows of 64, in boxes of 32: the last box has 4 rows of the matrix.
 */
// evo: launch kernel<<<4, 128>>>(in f16 in[100x64], map(in, 32x64, 128), out u32 out[4096])
#include "sync.cuh"

extern "C" __global__ void kernel(const void *in, const __grid_constant__ tensor_map map,
                                  unsigned *out)
{
    __shared__ __align__(1024) unsigned tile[32 * 32];
    __shared__ u64 full;
    const int t = threadIdx.x;

    if (t == 0) {
        mbarrier_init(&full, 1);
        mbarrier_init_fence();
        mbarrier_expect(&full, 32 * 64 * 2); //= rest_only: deadlock @wait | mbarrier_expect(&full, (blockIdx.x == 3 ? 4 : 32) * 64 * 2);
        tile_load(tile, &map, 0, blockIdx.x * 32, &full); //@ load //= place: misaligned @load, deadlock @wait | tile_load(tile + 4, &map, 0, blockIdx.x * 32, &full);
    }
    __syncthreads(); //- made: race @wait
    mbarrier_wait(&full, 0); //@ wait //- wait: race @read, in flight @load
    for (int i = t; i < 32 * 32; i += 128)
        out[blockIdx.x * 1024 + i] = tile[i]; //@ read
}
