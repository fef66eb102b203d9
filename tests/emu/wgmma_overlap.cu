/*
 * Two products on their way at once: the first result is used while the second is still computed,
 * and A's registers are filled again once their product is done.
 */
// evo: launch kernel<<<1, 128>>>(in u32 in[1024], out f32 out[1024])
#include "sync.cuh"

extern "C" __global__ void kernel(const unsigned *in, float *out)
{
    __shared__ __align__(128) unsigned b[2][64];
    const int t = threadIdx.x;
    u32 a[4], next[4];
    float first[4] = {0, 0, 0, 0}, second[4] = {0, 0, 0, 0};

    b[t / 64][t % 64] = in[t];
    for (int i = 0; i < 4; i++) {
        a[i] = in[128 + 4 * t + i];
        next[i] = a[i] + 1;
    }
    proxy_fence();
    __syncthreads();
    settle(first);
    settle(second);
    settle((float *)a); /* the compiler may not move them behind the fence */
    settle((float *)next);
    wgmma_fence();
    wgmma_registers(first, a, operand_of(b[0])); //@ one
    wgmma_commit();
    wgmma_registers(second, next, operand_of(b[1])); //@ two
    wgmma_commit();
    wgmma_wait<1>(); //- one: in flight @one_use, in flight @in_use, race @one //= two: in flight @one_use, in flight @in_use, race @one | wgmma_wait<2>();
    settle(first);
    for (int i = 0; i < 4; i++)
        out[4 * t + i] = first[i]; //@ one_use //= second: in flight @one_use | out[4 * t + i] = second[i];
    b[0][t % 64] = 0; //= in_use: in flight @in_use, race @in_use | b[1][t % 64] = 0; //@ in_use
    wgmma_wait<0>(); //- last: in flight @two_use, in flight @two
    settle(second);
    for (int i = 0; i < 4; i++)
        out[512 + 4 * t + i] = second[i]; //@ two_use
}
