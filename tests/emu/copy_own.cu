/* What a thread has copied itself it may read after its own wait: no barrier is needed. */
// evo: launch kernel<<<1, 64>>>(in f32 in[512], out f32 out[512])
#include "sync.cuh"

extern "C" __global__ void kernel(const float *in, float *out)
{
    __shared__ __align__(16) float tile[2][256];
    const int t = threadIdx.x;

    copy_16(&tile[0][4 * t], in + 4 * t);
    copy_commit(); //- commit: race @first
    copy_16(&tile[1][4 * t], in + 256 + 4 * t);
    copy_commit();
    copy_wait<1>(); //- wait: race @first
    for (int j = 0; j < 4; j++)
        out[4 * t + j] = tile[0][4 * t + j]; //@ first //= other: race @other | out[4 * t + j] = tile[0][4 * (t ^ 1) + j]; //@ other
    copy_wait<0>(); //= count: race @second | copy_wait<1>();
    for (int j = 0; j < 4; j++)
        out[256 + 4 * t + j] = tile[1][4 * t + j]; //@ second
}
