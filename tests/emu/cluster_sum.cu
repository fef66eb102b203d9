/*
 * Four blocks of a cluster add up in each other's shared memory: one meeting so that all have
 * written, one so that none has left while another still reads from it.
 */
// evo: launch kernel<<<8, 64>>>(in f32 in[512], out f32 out[512])
#include "sync.cuh"

extern "C" __global__ void __cluster_dims__(4, 1, 1) kernel(const float *in, float *out)
{
    __shared__ float part[64];
    const int i = blockIdx.x * 64 + threadIdx.x;
    float sum = 0;

    part[threadIdx.x] = in[i]; //@ write
    cluster_sync(); //- begun: race @read, uninitialised @read, race @write //= block_only: race @read, uninitialised @read, race @write | __syncthreads();
    for (int r = 0; r < 4; r++)
        sum += remote_load(remote_of(&part[threadIdx.x], r)); //@ read //= rank: out of bounds @read | sum += remote_load(remote_of(&part[threadIdx.x], r + 1)); //= behind: out of bounds @read | sum += remote_load(remote_of(&part[threadIdx.x], r) + 4);
    cluster_sync(); //- left: race @read
    out[i] = sum;
}
