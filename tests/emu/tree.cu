/* A sum over a block: a tree with a barrier a level, its last levels by shuffles in one warp. */
// evo: launch kernel<<<2, 256>>>(in f32 in[512], out f32 out[2])
extern "C" __global__ void kernel(const float *in, float *out)
{
    __shared__ float sums[256];
    const int t = threadIdx.x;

    sums[t] = in[blockIdx.x * 256 + t]; //@ fill
    __syncthreads(); //- before: race @fill, uninitialised @add
    for (int half = 128; half >= 32; half /= 2) {
        if (t < half)
            sums[t] += sums[t + half]; //@ add
        __syncthreads(); //- between: race @add //= divergent: barrier @divergent | if (t < half - 16) __syncthreads(); //@ divergent
    }
    if (t < 32) {
        float sum = sums[t]; //@ last
        for (int step = 16; step > 0; step /= 2)
            sum += __shfl_xor_sync(0xffffffff, sum, step);
        if (t == 0)
            out[blockIdx.x] = sum;
    }
}
