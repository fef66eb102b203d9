/*
 * One block of a cluster loads for both: the copy lands in each at the same place, and counts on
 * the mbarrier of each. Both must have made theirs before it sets out.
 */
// evo: launch kernel<<<2, 64>>>(in f32 in[256], out f32 out[512])
#include "sync.cuh"

extern "C" __global__ void __cluster_dims__(2, 1, 1) kernel(const float *in, float *out)
{
    __shared__ __align__(128) float tile[256];
    __shared__ u64 full;

    if (threadIdx.x == 0) {
        mbarrier_init(&full, 1);
        mbarrier_init_fence();
        mbarrier_expect(&full, 1024); //= half: deadlock @wait | mbarrier_expect(&full, 512);
    }
    cluster_sync(); //- begun: barrier @load, race @wait, deadlock @end //= block_only: race @load | __syncthreads();
    if (cluster_rank() == 0 && threadIdx.x == 0)
        bulk_load_to(3, tile, in, 1024, &full); //@ load //= one: deadlock @end | bulk_load_to(1, tile, in, 1024, &full);
    mbarrier_wait(&full, 0); //@ wait //- wait: race @read, uninitialised @read, race @load, in flight @load
    for (int i = threadIdx.x; i < 256; i += 64)
        out[blockIdx.x * 256 + i] = tile[255 - i]; //@ read
    cluster_sync(); //@ end
}
