/*
 * wgmma.cuh -- products of a warpgroup: 64 rows, asynchronously, with B (and A) in shared memory.
 *
 * Four warps (128 threads from a multiple of 128 on) issue one instruction together: 64 rows, 16 to
 * 256 columns, a depth of 16. It reads shared memory by itself and works on while the threads do
 * something else: the only way to the full rate of Hopper's tensor cores, which mma.sync misses by
 * a third. In return the threads owe it three things:
 *
 *     wgmma_begin    registers (or shared memory, with async_proxy_fence) were written before
 *     … products …
 *     wgmma_commit   closes a group
 *     wgmma_wait<n>  all but the n last groups are done
 *
 * and between issue and wait nobody reads or writes the accumulators, or A's registers. The
 * compiler does not know that the wait is what makes them ready, so `pinned` follows each wait.
 * Everything from the first product to the last wait stays in one function, or ptxas gives up and
 * makes each product wait for itself (it says so: C7510 and its neighbours, in the log of the
 * compilation).
 */
#ifndef EVO_WGMMA_CUH
#define EVO_WGMMA_CUH

#include "tma.cuh"
#include "wgmma_shapes.cuh"

__device__ inline void wgmma_commit()
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int PENDING> __device__ inline void wgmma_wait()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

/* No use of these registers moves across this place, and all of them have their values by now. */
template <class T, int N> __device__ inline void pinned(T (&x)[N])
{
#pragma unroll
    for (int i = 0; i < N; i++)
        if constexpr (evo::same<T, float>::value)
            asm volatile("" : "+f"(x[i])::"memory");
        else
            asm volatile("" : "+r"(x[i])::"memory");
}

/* `registers` are the arrays that the products will use: what is left to write is written first. */
template <class... Arrays> __device__ inline void wgmma_begin(Arrays &...registers)
{
    (pinned(registers), ...);
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

/*
 * The instruction, in its two forms. Operands: accumulators, A, B, whether to add to them (it has
 * to be a predicate, and there is no separate C), the signs of A and B, and which of them lie
 * across. A in shared memory needs two immediates for that, A in registers one, because a fragment
 * cannot be turned. Any other list is "Arguments mismatch for instruction 'wgmma.mma_async'",
 * whatever is wrong with it. See docs/wgmma-ptxas.md.
 */
#define WGMMA_BEGIN(N, SUM, TYPE, add)                                                             \
    "{\n.reg .pred add;\nsetp.ne.b32 add, %" #add ", 0;\n"                                         \
    "wgmma.mma_async.sync.aligned.m64n" #N "k16." SUM "." TYPE "." TYPE
#define WGMMA_SS(N, SUM, TYPE, NUMBERS, D, a, b, add, across)                                      \
    asm volatile(WGMMA_BEGIN(N, SUM, TYPE, add) " {" NUMBERS "}, %" #a ", %" #b                    \
                                                ", add, 1, 1, 0, %" #across ";\n}"                 \
                 : D                                                                               \
                 : "l"(A), "l"(B), "r"(accumulate), "n"(ACROSS))
#define WGMMA_RS(N, SUM, TYPE, NUMBERS, D, a0, a1, a2, a3, b, add, across)                         \
    asm volatile(                                                                                  \
        WGMMA_BEGIN(N, SUM, TYPE, add) " {" NUMBERS "}, {%" #a0 ", %" #a1 ", %" #a2 ", %" #a3      \
                                       "}, %" #b ", add, 1, 1, %" #across ";\n}"                   \
        : D                                                                                        \
        : "r"(A[0]), "r"(A[1]), "r"(A[2]), "r"(A[3]), "l"(B), "r"(accumulate), "n"(ACROSS))

/*
 * wgmma_shape<N>::product<Type, ACROSS>(d, A, B, accumulate): d = A B, or d += A B. A is a
 * descriptor or four registers, B a descriptor; ACROSS: B's rows lie along its depth (V), not along
 * its columns (K). d are FP32, or FP16 in pairs.
 */
template <int WIDTH> struct wgmma_shape;
#define WGMMA_SHAPE(N, F, f0, f1, f2, f3, f4, f5, f6, H, h0, h1, h2, h3, h4, h5, h6)               \
    template <> struct wgmma_shape<N> {                                                            \
        template <class Type, int ACROSS>                                                          \
        __device__ static void product(float (&d)[F], unsigned long long A, unsigned long long B,  \
                                       int accumulate)                                             \
        {                                                                                          \
            if constexpr (evo::same<Type, as_half>::value)                                         \
                WGMMA_SS(N, "f32", "f16", WGMMA_NUMBERS_##F, WGMMA_FLOATS_##F(d), f0, f1, f2, f3); \
            else                                                                                   \
                WGMMA_SS(N, "f32", "bf16", WGMMA_NUMBERS_##F, WGMMA_FLOATS_##F(d), f0, f1, f2,     \
                         f3);                                                                      \
        }                                                                                          \
        template <class Type, int ACROSS>                                                          \
        __device__ static void product(float (&d)[F], const unsigned *A, unsigned long long B,     \
                                       int accumulate)                                             \
        {                                                                                          \
            if constexpr (evo::same<Type, as_half>::value)                                         \
                WGMMA_RS(N, "f32", "f16", WGMMA_NUMBERS_##F, WGMMA_FLOATS_##F(d), f0, f1, f2, f3,  \
                         f4, f5, f6);                                                              \
            else                                                                                   \
                WGMMA_RS(N, "f32", "bf16", WGMMA_NUMBERS_##F, WGMMA_FLOATS_##F(d), f0, f1, f2, f3, \
                         f4, f5, f6);                                                              \
        }                                                                                          \
        template <class Type, int ACROSS>                                                          \
        __device__ static void product(unsigned (&d)[H], unsigned long long A,                     \
                                       unsigned long long B, int accumulate)                       \
        {                                                                                          \
            WGMMA_SS(N, "f16", "f16", WGMMA_NUMBERS_##H, WGMMA_WORDS_##H(d), h0, h1, h2, h3);      \
        }                                                                                          \
        template <class Type, int ACROSS>                                                          \
        __device__ static void product(unsigned (&d)[H], const unsigned *A, unsigned long long B,  \
                                       int accumulate)                                             \
        {                                                                                          \
            WGMMA_RS(N, "f16", "f16", WGMMA_NUMBERS_##H, WGMMA_WORDS_##H(d), h0, h1, h2, h3, h4,   \
                     h5, h6);                                                                      \
        }                                                                                          \
    };
WGMMA_SHAPES(WGMMA_SHAPE)

/*
 * A matrix in shared memory is told by 64 bits: where it begins, two strides, the swizzle;
 * addresses and strides in units of 16 bytes. For the panels of tma.cuh (128-byte swizzle, code 1
 * << 62) the "stride" field is the distance of groups of eight rows, 1024 bytes. The "leading"
 * field is of use only across, where it leads from one panel of columns to the next.
 *
 * A step along the depth moves the beginning: by 32 bytes inside a panel and on to the next panel
 * (columns are the depth: Q, K, weights), or by 16 rows (rows are: V).
 *
 * A shared address in a cluster has the block's rank in its bits from 24 on, which would fall into
 * the "leading" field: of the address 18 bits count.
 */
__device__ inline unsigned long long wgmma_matrix(unsigned address, int panel_bytes)
{
    return (unsigned long long)((address & 0x3ffff) >> 4) |
           (unsigned long long)(panel_bytes >> 4) << 16 | (unsigned long long)(1024 >> 4) << 32 |
           1ull << 62;
}
template <int PANEL_BYTES> __device__ constexpr int wgmma_along(int step)
{
    return ((step / 4) * PANEL_BYTES + (step % 4) * 32) >> 4;
}
__device__ constexpr int wgmma_across(int step) { return (step * 16 * 128) >> 4; }

/*
 * Registers change hands between warpgroups of a block: who only asks for copies needs few, and a
 * block gets 65536 in all, of which a launch gives each thread the same share. `keep` must not
 * exceed what there is once the others have given theirs, or the kernel hangs here.
 */
template <int KEEP> __device__ inline void registers_give()
{
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(KEEP));
}
template <int KEEP> __device__ inline void registers_take()
{
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(KEEP));
}

#endif
