// Kernels with known behaviour for device_smoke. struct problem is fitness/problem.h's problem_args.
#include <cuda_fp16.h>
typedef unsigned short u16;
typedef unsigned u32;
typedef long long i64;
struct problem {
    int batch, heads, kv_heads, q_len, kv_len, head_dim;
    float scale;
    int reserved;
    i64 q[3], k[3], v[3], o[3];
};
__device__ __forceinline__ void spin(i64 cycles)
{
    i64 start = clock64();
    while (clock64() - start < cycles) {
    }
}
extern "C" __global__ void empty(u16 *o) {}
// kv_len cycles on every block, then one element of o, so that a call leaves a trace
extern "C" __global__ void spinner(u16 *o, problem p)
{
    spin(p.kv_len);
    if (threadIdx.x == 0) o[blockIdx.x] = 0x3c00;
}
// spins only where it finds poison: fast for whoever times it over its own old output
extern "C" __global__ void lazy(u16 *o, problem p)
{
    if (o[blockIdx.x] == 0xffff || o[blockIdx.x] == 0x7b7b) {
        __syncthreads();
        spin(p.kv_len);
        __syncthreads();
        if (threadIdx.x == 0) o[blockIdx.x] = 0x3c00;
    }
}
extern "C" __global__ void copy(const uint4 *q, uint4 *o, problem p)
{
    i64 n = (i64)p.batch * p.heads * p.q_len * p.head_dim / 8;
    for (i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x; i < n; i += (i64)gridDim.x * blockDim.x) o[i] = q[i];
}
// copies, and writes one word behind the end
extern "C" __global__ void overrun(const uint4 *q, uint4 *o, problem p)
{
    i64 n = (i64)p.batch * p.heads * p.q_len * p.head_dim / 8;
    for (i64 i = threadIdx.x; i < n; i += blockDim.x) o[i] = q[i];
    if (threadIdx.x == 0) ((u32 *)(o + n))[0] = 0x12345678;
}
// What counters must say exactly, for each warp: 64 products on tensor cores, 64 powers of two, 64
// loads of shared memory in which every bank is wanted eight times; and a read of all of q.
extern "C" __global__ void products(u32 *o, problem p)
{
    const u32 a = (u32)p.batch * 0x3c003c00u;
    float c[4] = {};
#pragma unroll 1
    for (int i = 0; i < 64; i++)
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %4, %4, %4}, {%4, %4}, {%0, %1, %2, %3};"
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a));
    if (threadIdx.x == 0) o[blockIdx.x] = __float_as_uint(c[0] + c[1] + c[2] + c[3]);
}
extern "C" __global__ void powers(u32 *o, problem p)
{
    float x = p.scale;
#pragma unroll 1
    for (int i = 0; i < 64; i++)
        asm volatile("ex2.approx.ftz.f32 %0, %0;" : "+f"(x));
    if (threadIdx.x == 0) o[blockIdx.x] = __float_as_uint(x);
}
extern "C" __global__ void conflicts(u32 *o, problem p)
{
    extern __shared__ u32 words[];
    u32 at = (u32)__cvta_generic_to_shared(words) + threadIdx.x % 32 * 32, offset = 0, sum = 0;
#pragma unroll 1
    for (int i = 0; i < 64; i++) {
        u32 x;
        asm volatile("ld.shared.u32 %0, [%1];" : "=r"(x) : "r"(at + offset) : "memory");
        sum += x;
        offset = (offset + 4u * (u32)p.batch) & 28;
    }
    if (sum == 0x12345678) o[blockIdx.x] = sum;
}
extern "C" __global__ void stream(const uint4 *q, u32 *o, problem p)
{
    i64 n = (i64)p.batch * p.heads * p.q_len * p.head_dim / 8;
    u32 sum = 0;
    for (i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x; i < n; i += (i64)gridDim.x * blockDim.x) {
        uint4 x = q[i];
        sum |= x.x ^ x.y ^ x.z ^ x.w;
    }
    if (sum == 0x12345678) o[blockIdx.x] = sum;
}
extern "C" __global__ void tally(u32 *work) { atomicAdd(work, 1); }
extern "C" __global__ void publish(u32 *o, const u32 *work) { if (threadIdx.x == 0) o[0] = work[0]; }
extern "C" __global__ void __launch_bounds__(128) bounded(u16 *o) { o[threadIdx.x] = 1; }
// what is in shared memory that this kernel never wrote; o: per block {smid, words that fit the pattern}
extern "C" __global__ void peek(u32 *o, problem p)
{
    extern __shared__ u32 shared[];
    __shared__ u32 hits;
    if (threadIdx.x == 0) hits = 0;
    __syncthreads();
    u32 mine = 0, first = shared[64] - 64u * 4u * 0x9E3779B1u; // the pattern as word 64 tells it, if offsets agree
    for (u32 i = 64 + threadIdx.x; i < (u32)p.kv_len; i += blockDim.x) {
        volatile u32 *word = &shared[i];
        mine += *word - i * 4u * 0x9E3779B1u == first;
    }
    atomicAdd(&hits, mine);
    __syncthreads();
    if (threadIdx.x == 0) {
        u32 sm;
        asm volatile("mov.u32 %0, %%smid;" : "=r"(sm));
        o[blockIdx.x * 4] = sm, o[blockIdx.x * 4 + 1] = hits, o[blockIdx.x * 4 + 2] = first;
    }
    spin(100000);
}
extern "C" __global__ void illegal(u16 *o) { *(volatile u16 *)((unsigned long long)o + (1ull << 42)) = 1; }
extern "C" __global__ void misaligned(u16 *o) { *(volatile u32 *)((char *)o + 1) = 1; }
extern "C" __global__ void trap(u16 *o) { asm volatile("trap;"); }
extern "C" __global__ void endless(u16 *o) { while (*(volatile u16 *)o != 0x1234) { } }

// attention by the book: a warp a row, FP32; right for any shape with head_dim <= 128, mask and LSE left out but for causal
template <bool CAUSAL, bool LSE> __device__ void attend_row(const half *q, const half *k, const half *v, half *o, float *lse, problem p)
{
    int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= p.batch * p.heads * p.q_len) return;
    int i = row % p.q_len, h = row / p.q_len % p.heads, b = row / p.q_len / p.heads, g = h / (p.heads / p.kv_heads);
    const half *kh = k + b * p.k[0] + g * p.k[1], *vh = v + b * p.v[0] + g * p.v[1];
    float qr[4], acc[4] = {0, 0, 0, 0}, m = -INFINITY, l = 0;
    int seen = CAUSAL ? i + p.kv_len - p.q_len + 1 : p.kv_len;
    for (int c = 0; c < 4; c++) qr[c] = lane + 32 * c < p.head_dim ? __half2float(q[b * p.q[0] + h * p.q[1] + i * p.q[2] + lane + 32 * c]) : 0;
    for (int j = 0; j < seen; j++) {
        float s = 0;
        for (int c = 0; c < 4; c++) if (lane + 32 * c < p.head_dim) s += qr[c] * __half2float(kh[j * p.k[2] + lane + 32 * c]);
        for (int d = 16; d; d /= 2) s += __shfl_xor_sync(~0u, s, d);
        s *= p.scale;
        float top = fmaxf(m, s), fade = expf(m - top), w = expf(s - top);
        l = l * fade + w, m = top;
        for (int c = 0; c < 4; c++) if (lane + 32 * c < p.head_dim) acc[c] = acc[c] * fade + w * __half2float(vh[j * p.v[2] + lane + 32 * c]);
    }
    for (int c = 0; c < 4; c++) if (lane + 32 * c < p.head_dim) o[b * p.o[0] + h * p.o[1] + i * p.o[2] + lane + 32 * c] = __float2half(l > 0 ? acc[c] / l : 0);
    if (LSE && lane == 0) lse[row] = l > 0 ? m + logf(l) : -INFINITY;
}
extern "C" __global__ void attend(const half *q, const half *k, const half *v, half *o, problem p) { attend_row<false, false>(q, k, v, o, nullptr, p); }
extern "C" __global__ void attend_cl(const half *q, const half *k, const half *v, half *o, float *lse, problem p) { attend_row<true, true>(q, k, v, o, lse, p); }
