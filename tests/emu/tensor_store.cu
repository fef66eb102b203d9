/* A tile leaves through a tensor map; rows beyond the matrix are dropped, not written. */
// evo: launch kernel<<<4, 128>>>(out f16 out[100x64], map(out, 32x64))
#include "sync.cuh"

extern "C" __global__ void kernel(void *out, const __grid_constant__ tensor_map map)
{
    __shared__ __align__(1024) unsigned tile[32 * 32];
    const int t = threadIdx.x;

    for (int i = t; i < 32 * 32; i += 128)
        tile[i] = i; //@ write //= part: uninitialised @store | if (i > 0) tile[i] = i;
    proxy_fence(); //- proxy: proxy @store
    __syncthreads(); //- written: race @store, uninitialised @store, race @write
    if (t == 0) {
        tile_store(&map, tile, 0, blockIdx.x * 32); //@ store
        bulk_commit();
        bulk_wait(); //- wait: in flight @store
    }
}
