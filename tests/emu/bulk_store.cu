/*
 * Results leave by bulk copies out of shared memory: plain writes, a proxy fence by who wrote, a
 * barrier, the copy; before the place is written again its source must have been read.
 */
// evo: launch kernel<<<1, 64>>>(in f32 in[256], out f32 out[256])
#include "sync.cuh"

extern "C" __global__ void kernel(const float *in, float *out)
{
    __shared__ __align__(128) float tile[64];
    const int t = threadIdx.x;

    for (int i = 0; i < 4; i++) {
        tile[t] = 2 * in[i * 64 + t]; //@ write
        proxy_fence(); //- proxy: proxy @store //= late: proxy @store | ;
        __syncthreads(); //- written: race @store, race @write, uninitialised @store
        if (t == 0) {
            bulk_store(out + i * 64, tile, sizeof tile); //@ store //= long: out of bounds @store | bulk_store(out + i * 64 + (i == 3 ? 4 : 0), tile, sizeof tile);
            bulk_commit(); //- commit: in flight @write, in flight @store
            bulk_wait_read(); //- read: in flight @write, in flight @store
        }
        __syncthreads(); //- again: race @write, race @store
    }
}
