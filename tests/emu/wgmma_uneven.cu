/* Four warps issue a product together; each computes its own sixteen rows, all must give the same. */
// evo: launch kernel<<<1, 128>>>(in u32 in[640], out f32 out[512])
#include "sync.cuh"

extern "C" __global__ void kernel(const unsigned *in, float *out)
{
    __shared__ __align__(128) unsigned a[512], b[128];
    const int t = threadIdx.x, warp = t / 32;
    float d[4] = {0, 0, 0, 0};

    for (int i = t; i < 512; i += 128)
        a[i] = in[i];
    if (t < 64)
        b[t] = b[64 + t] = in[512 + t];
    proxy_fence();
    __syncthreads();
    settle(d);
    for (int i = 0; i < 3; i++) { //= fewer: deadlock @wait | for (int i = 0; i < (warp == 2 ? 2 : 3); i++) {
        wgmma_fence();
        wgmma(d, operand_of(a), operand_of(b)); //@ product //= other_b: barrier @product | wgmma(d, operand_of(a), operand_of(b) + (warp == 2 ? 8 : 0));
        wgmma_commit();
        wgmma_wait<0>(); //@ wait
        settle(d);
    }
    for (int i = 0; i < 4; i++)
        out[4 * t + i] = d[i];
    (void)warp;
}
