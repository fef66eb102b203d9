/* A cluster barrier in two halves: who has arrived works on its own before it waits. */
// evo: launch kernel<<<2, 64>>>(in f32 in[128], out f32 out[256])
#include "sync.cuh"

extern "C" __global__ void __cluster_dims__(2, 1, 1) kernel(const float *in, float *out)
{
    __shared__ float box[64], own[64];
    const int t = threadIdx.x, i = blockIdx.x * 64 + t;

    own[t] = in[i]; //@ fill
    cluster_sync(); //- begun: race @own, race @fill, uninitialised @own
    remote_store(remote_of(&box[t], cluster_rank() ^ 1), in[i]); //@ send
    cluster_arrive(); //- arrive: barrier @wait, race @send, race @received, uninitialised @received
    out[128 + i] = own[63 - t]; //@ own //= early: race @early, uninitialised @early, race @send | out[128 + i] = box[63 - t]; //@ early
    cluster_wait(); //@ wait //- no_wait: race @received, uninitialised @received, race @send
    out[i] = box[63 - t]; //@ received
}
