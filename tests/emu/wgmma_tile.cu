/*
 * The whole protocol of one product: operands written by ordinary stores, proxy fence, barrier,
 * wgmma.fence, product, commit, wait.
 */
// evo: launch kernel<<<1, 128>>>(in u32 in[640], out f32 out[512])
#include "sync.cuh"

extern "C" __global__ void kernel(const unsigned *in, float *out)
{
    __shared__ __align__(128) unsigned a[512], b[64];
    const int t = threadIdx.x;
    float d[4] = {0, 0, 0, 0};

    for (int i = t; i < 512; i += 128)
        a[i] = in[i]; //@ a
    if (t < 64)
        b[t] = in[512 + t]; //@ b
    proxy_fence(); //- proxy: proxy @product
    __syncthreads(); //- barrier: race @product, uninitialised @product, in flight @a, in flight @b
    settle(d); //- loose: in flight @product
    wgmma_fence(); //- fence: in flight @product
    wgmma(d, operand_of(a), operand_of(b)); //@ product //= beyond: out of bounds @product | wgmma(d, operand_of(a + 32 * 1024), operand_of(b));
    wgmma_commit(); //- commit: in flight @use, in flight @product
    wgmma_wait<0>(); //- wait: in flight @use, in flight @product //= one: in flight @use, in flight @product | wgmma_wait<1>(); //= early: in flight @use, in flight @early, in flight @product, race @product | a[t] = 0; //@ early
    settle(d);
    for (int i = 0; i < 4; i++)
        out[4 * t + i] = d[i]; //@ use
}
