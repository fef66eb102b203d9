/* Counters that are touched by atomics alone, from all blocks at once, need nothing else. */
// evo: launch kernel<<<8, 64>>>(in u32 in[512], zero u32 bins[16])
extern "C" __global__ void kernel(const unsigned *in, unsigned *bins)
{
    __shared__ unsigned own[16];

    if (threadIdx.x < 16)
        own[threadIdx.x] = 0;
    __syncthreads(); //- zeroed: race @count
    atomicAdd(&own[in[blockIdx.x * 64 + threadIdx.x] % 16], 1); //@ count //= plain: race @plain | own[in[blockIdx.x * 64 + threadIdx.x] % 16]++; //@ plain
    __syncthreads(); //- counted: race @sum
    if (threadIdx.x < 16)
        atomicAdd(&bins[threadIdx.x], own[threadIdx.x]); //@ sum //= blocks: race @blocks | bins[threadIdx.x] += own[threadIdx.x]; //@ blocks
}
