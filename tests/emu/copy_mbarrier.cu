/* cp.async that tells an mbarrier when it has landed: consumers wait for that alone. */
// evo: launch kernel<<<1, 96>>>(in f32 in[256], out f32 out[256])
#include "sync.cuh"

extern "C" __global__ void kernel(const float *in, float *out)
{
    __shared__ __align__(16) float tile[256];
    __shared__ u64 full;
    const int t = threadIdx.x;

    if (t == 0)
        mbarrier_init(&full, 64); //@ init //= count: deadlock @wait | mbarrier_init(&full, 65); //= fewer: race @read | mbarrier_init(&full, 32);
    __syncthreads(); //- made: race @arrive, race @wait
    if (t < 64) {
        copy_16(tile + 4 * t, in + 4 * t); //@ copy
        copy_arrive(&full); //@ arrive //= plain: race @read | mbarrier_arrive(&full);
    } else {
        mbarrier_wait(&full, 0); //@ wait //- wait: race @copy, uninitialised @read //= parity: race @copy, uninitialised @read | mbarrier_wait(&full, 1);
        for (int i = t - 64; i < 256; i += 32)
            out[i] = tile[255 - i]; //@ read
    }
}
