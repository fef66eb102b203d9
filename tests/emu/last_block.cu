/*
 * Each block adds up its part; whichever comes last adds up the parts. What a block has written is
 * there for the last one because a fence stands before its tick of the counter.
 */
// evo: launch kernel<<<8, 64>>>(in f32 in[512], data f32 parts[8x2], zero u32 count[1], out f32 out[1])
extern "C" __global__ void kernel(const float *in, float *parts, unsigned *count, float *out)
{
    __shared__ bool last;
    float sum = in[blockIdx.x * 64 + threadIdx.x];

    for (int step = 16; step > 0; step /= 2)
        sum += __shfl_xor_sync(0xffffffff, sum, step);
    if (threadIdx.x % 32 == 0)
        parts[blockIdx.x * 2 + threadIdx.x / 32] = sum; //@ part
    __threadfence(); //- fence: race @all
    __syncthreads(); //- parts: race @all
    if (threadIdx.x == 0)
        last = atomicAdd(count, 1) == gridDim.x - 1; //@ tick
    __syncthreads(); //- told: race @tick, uninitialised @last
    if (last && threadIdx.x == 0) { //@ last
        float all = 0;
        for (int i = 0; i < 16; i++)
            all += parts[i]; //@ all
        out[0] = all;
    }
}
