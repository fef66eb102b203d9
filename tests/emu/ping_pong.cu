/*
 * Two warpgroups take turns at one scratch buffer: each waits on its own barrier and passes on to
 * the other's; before the loop the second passes to the first, so that it may begin.
 */
// evo: launch kernel<<<1, 256>>>(in f32 in[2048], out f32 out[2048])
#include "sync.cuh"

extern "C" __global__ void kernel(const float *in, float *out)
{
    __shared__ float scratch[128];
    const int group = threadIdx.x / 128, t = threadIdx.x % 128;

    if (group == 1)
        barrier_arrive(1, 256); //= start: deadlock @turn | ;
    for (int i = 0; i < 8; i++) {
        const int at = (i * 2 + group) * 128 % 2048 + t;
        barrier_sync(1 + group, 256); //@ turn //- no_turn: race @write, race @read, barrier @over
        scratch[t] = in[at];          //@ write
        barrier_sync(3 + group, 128); //- own: race @read, race @write, uninitialised @read
        out[at] = scratch[127 - t];   //@ read
        if (i < 7 || group == 0)
            barrier_arrive(2 - group, 256); //@ over //= pass: deadlock @turn | ; //= self: barrier @turn, deadlock @turn | barrier_arrive(1 + group, 256);
    }
}
