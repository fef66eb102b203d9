/*
 * Two warps make what two others use, in turn through one buffer. bar.arrive only tells; bar.sync
 * waits: "full" is arrived at by the makers and waited for by the users, "free" the other way round.
 */
// evo: launch kernel<<<1, 128>>>(in f32 in[512], out f32 out[512])
#include "sync.cuh"

enum { FULL = 1, FREE = 2 };

extern "C" __global__ void kernel(const float *in, float *out)
{
    __shared__ float tile[64];
    const int t = threadIdx.x % 64;

    if (threadIdx.x < 64) {
        for (int i = 0; i < 8; i++) {
            if (i > 0)
                barrier_sync(FREE, 128); //@ free //= not_free: barrier @full, deadlock @used | ; //= free_arrive: barrier @full, barrier @free, deadlock @used | barrier_arrive(FREE, 128);
            tile[t] = in[i * 64 + t]; //@ write
            barrier_arrive(FULL, 128); //@ full //= count: barrier @used, deadlock @free | barrier_arrive(FULL, 96); //- never: deadlock @free
        }
    } else {
        for (int i = 0; i < 8; i++) {
            barrier_sync(FULL, 128); //@ used //= arrive: race @read, barrier @used, barrier @leave, race @write, deadlock @free | barrier_arrive(FULL, 128); //= id: deadlock @free | barrier_sync(3, 128); //@ id
            out[i * 64 + t] = tile[63 - t]; //@ read
            if (i < 7)
                barrier_arrive(FREE, 128); //@ leave //= not_freed: deadlock @free | ;
        }
    }
}
