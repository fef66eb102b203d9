/* A block tells another's mbarrier that it has written into its shared memory. */
// evo: launch kernel<<<2, 32>>>(in f32 in[64], out f32 out[64])
#include "sync.cuh"

extern "C" __global__ void __cluster_dims__(2, 1, 1) kernel(const float *in, float *out)
{
    __shared__ float box[32];
    __shared__ u64 filled;
    const int t = threadIdx.x;
    const u32 other = cluster_rank() ^ 1;

    if (t == 0) {
        mbarrier_init(&filled, 32); //= more: deadlock @wait | mbarrier_init(&filled, 33);
        mbarrier_init_fence();
    }
    cluster_sync(); //- made: barrier @tell, race @tell, race @wait, deadlock @end
    remote_store(remote_of(&box[t], other), in[blockIdx.x * 32 + t]); //@ send
    remote_arrive(remote_of(&filled, other)); //@ tell //= own: race @read, uninitialised @read, race @send | mbarrier_arrive(&filled);
    mbarrier_wait(&filled, 0); //@ wait //- wait: race @read, uninitialised @read, race @send
    out[blockIdx.x * 32 + t] = box[31 - t]; //@ read
    cluster_sync(); //@ end
}
