/* A producer gives registers away and two consumers take them; roles part and never meet again. */
// evo: launch kernel<<<1, 384>>>(in f32 in[1024], out f32 out[1024])
#include "sync.cuh"

extern "C" __global__ void __launch_bounds__(384, 1) kernel(const float *in, float *out)
{
    __shared__ __align__(128) float tile[1024];
    __shared__ u64 full;
    const int group = threadIdx.x / 128, t = threadIdx.x % 128;

    if (threadIdx.x == 0) {
        mbarrier_init(&full, 1);
        mbarrier_init_fence();
    }
    __syncthreads(); //- made: race @wait
    if (group == 0) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 24;");
        if (t == 0) {
            mbarrier_expect(&full, 4096); //@ expect //= short: deadlock @wait | mbarrier_expect(&full, 2048);
            bulk_load(tile, in, 4096, &full); //@ load //- never: deadlock @wait
        }
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 240;");
        mbarrier_wait(&full, 0); //@ wait //- wait: race @read, uninitialised @read, race @load, in flight @load
        for (int i = (group - 1) * 128 + t; i < 1024; i += 256)
            out[i] = tile[1023 - i]; //@ read
    }
}
