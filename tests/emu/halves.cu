/* Two halves of a block go their own ways, each with a barrier of its own. */
// evo: launch kernel<<<1, 128>>>(in f32 in[1024], out f32 out[1024])
#include "sync.cuh"

extern "C" __global__ void kernel(const float *in, float *out)
{
    __shared__ float tiles[2][64];
    const int half = threadIdx.x / 64, t = threadIdx.x % 64;
    float *tile = tiles[half];

    for (int i = 0; i < (half == 0 ? 3 : 5); i++) { /* not as often */
        tile[t] = in[(half * 8 + i) * 64 + t]; //@ write
        barrier_sync(1 + half, 64); //@ first //- first: race @read, uninitialised @read, race @write //= shared_id: barrier @odd, deadlock @first | barrier_sync(1, 128); //@ shared_id
        out[(half * 8 + i) * 64 + t] = tile[63 - t]; //@ read
        barrier_sync(1 + half, 64); //- second: race @write, race @read //= odd: barrier @odd | barrier_sync(1 + half, 48); //@ odd
    }
}
