// The middle step of the pipeline of cublas.c: a row of scores becomes a row of weights.
//
// A block has a row, and keeps it in registers between reading and writing. The host defines
//
//     KEYS, QUERIES   the length of a row, and how many rows a head has
//     LEADING         elements from one row to the next, a multiple of 8
//     THREADS, QUADS  threads of a block, and how many times four scores each of them has
//     CAUSAL, BF16    0 or 1
//
// A row that sees no key gets weights of zero, and a log-sum-exp of minus infinity.
#define INFINITE __int_as_float(0x7f800000)

__device__ unsigned short narrow(float x)
{
    unsigned short bits;
#if BF16
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
#else
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
#endif
    return bits;
}

template <bool SUM> __device__ float combine(float a, float b)
{
    return SUM ? a + b : fmaxf(a, b);
}

// Of all threads' values; every thread gets it.
template <bool SUM> __device__ float reduce(float x, float *shared)
{
    for (int step = 16; step > 0; step /= 2)
        x = combine<SUM>(x, __shfl_xor_sync(0xffffffff, x, step));
    if (THREADS == 32)
        return x;
    if (threadIdx.x % 32 == 0)
        shared[threadIdx.x / 32] = x;
    __syncthreads();
    x = shared[0];
    for (int warp = 1; warp < THREADS / 32; warp++)
        x = combine<SUM>(x, shared[warp]);
    return x;
}

extern "C" __global__ void __launch_bounds__(THREADS)
    rival_softmax(const float *scores, unsigned short *weights, float *lse)
{
    __shared__ float peaks[32], sums[32];
    const long long row = blockIdx.x;
    const int seen = CAUSAL ? (int)(row % QUERIES) + KEYS - QUERIES + 1 : KEYS;
    const float4 *from = (const float4 *)(scores + row * LEADING);
    ushort4 *to = (ushort4 *)(weights + row * LEADING);
    float x[4 * QUADS], peak = -INFINITE, sum = 0;

#pragma unroll
    for (int i = 0; i < QUADS; i++) {
        int quad = i * THREADS + (int)threadIdx.x;
        float4 four = make_float4(0, 0, 0, 0);
        if (4 * quad < seen)
            four = from[quad];
        x[4 * i] = four.x, x[4 * i + 1] = four.y, x[4 * i + 2] = four.z, x[4 * i + 3] = four.w;
#pragma unroll
        for (int k = 0; k < 4; k++) {
            if (4 * quad + k >= seen)
                x[4 * i + k] = -INFINITE;
            peak = fmaxf(peak, x[4 * i + k]);
        }
    }
    peak = reduce<false>(peak, peaks);
    float base = peak == -INFINITE ? 0 : peak;
#pragma unroll
    for (int i = 0; i < 4 * QUADS; i++) {
        x[i] = exp2f((x[i] - base) * 1.4426950408889634f);
        sum += x[i];
    }
    sum = reduce<true>(sum, sums);
    float share = sum > 0 ? 1 / sum : 0;
#pragma unroll
    for (int i = 0; i < QUADS; i++) {
        int quad = i * THREADS + (int)threadIdx.x;
        if (4 * quad < LEADING)
            to[quad] = make_ushort4(narrow(x[4 * i] * share), narrow(x[4 * i + 1] * share),
                                    narrow(x[4 * i + 2] * share), narrow(x[4 * i + 3] * share));
    }
    if (lse != nullptr && threadIdx.x == 0)
        lse[row] = sum > 0 ? peak + logf(sum) : -INFINITE;
}
