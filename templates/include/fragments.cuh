/*
 * fragments.cuh -- a warp's 16 rows of a product on their way: to 16 bits, to and from panels in
 * shared memory (tma.cuh), to rows in global memory.
 *
 * Values are laid out as online.cuh tells. Words are two neighbours each: word 2 t + r of a lane is
 * columns 8 t + 2 q and the next of its row g + 8 r, and words 4 k … 4 k + 3 are what a product
 * takes as its A for the columns from 16 k on.
 */
#ifndef EVO_FRAGMENTS_CUH
#define EVO_FRAGMENTS_CUH

#include "mma.cuh"

template <class Type, int N>
__device__ inline void pack_fragment(const float (&x)[N], unsigned (&words)[N / 2])
{
#pragma unroll
    for (int i = 0; i < N / 2; i++)
        words[i] = pack<Type>(x[2 * i], x[2 * i + 1]);
}

template <class Type, int N>
__device__ inline void unpack_fragment(const unsigned (&words)[N / 2], float (&x)[N])
{
#pragma unroll
    for (int i = 0; i < N / 2; i++)
        Type::pair(words[i], x + 2 * i);
}

/*
 * Fragments in a swizzled panel of 64 columns (tma.cuh): STEPS times 16 columns of a warp's 16
 * rows, four words a step and thread, by the instructions that move four 8x8 matrices at once. Each
 * lane names a row of 16 bytes: lane l row l % 16 and the left or right half of the 16 columns.
 * `panel` is where the warp's first row begins; panels are PANEL_BYTES apart.
 */
template <int PANEL_BYTES> __device__ inline unsigned fragment_row(unsigned panel, int step)
{
    const int lane = threadIdx.x % 32, row = lane % 16, piece = step % 4 * 2 + lane / 16;
    return panel + step / 4 * PANEL_BYTES + row * 128 + ((piece ^ row % 8) << 4);
}

template <int PANEL_BYTES, int N>
__device__ inline void store_fragments(unsigned panel, const unsigned (&words)[N])
{
#pragma unroll
    for (int step = 0; step < N / 4; step++)
        asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(
                         fragment_row<PANEL_BYTES>(panel, step)),
                     "r"(words[4 * step]), "r"(words[4 * step + 1]), "r"(words[4 * step + 2]),
                     "r"(words[4 * step + 3])
                     : "memory");
}

template <int PANEL_BYTES, int N>
__device__ inline void load_fragments(unsigned panel, unsigned (&words)[N])
{
#pragma unroll
    for (int step = 0; step < N / 4; step++)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(words[4 * step]), "=r"(words[4 * step + 1]), "=r"(words[4 * step + 2]),
                       "=r"(words[4 * step + 3])
                     : "r"(fragment_row<PANEL_BYTES>(panel, step))
                     : "memory");
}

/*
 * Fragments to rows in global memory, 16 bytes a store. A lane has two columns of each group of
 * eight; four groups later a quad has exchanged them (a 4 x 4 transposition in two rounds), and
 * lane q of the quad holds all of group q. `rows` exist below the warp's first one.
 */
template <int N>
__device__ inline void write_fragments(const unsigned (&words)[N], evo_half *to, long long stride,
                                       int rows)
{
    const int lane = threadIdx.x % 32, q = lane % 4;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const int row = lane / 4 + 8 * r;
#pragma unroll
        for (int i = 0; i < N; i += 8) {
            unsigned w[4] = {words[i + r], words[i + 2 + r], words[i + 4 + r], words[i + 6 + r]};
#pragma unroll
            for (int step = 1; step <= 2; step *= 2)
#pragma unroll
                for (int j = 0; j < 4; j++)
                    if ((j & step) == 0) {
                        const bool upper = q & step;
                        const unsigned send = upper ? w[j] : w[j + step];
                        const unsigned got = __shfl_xor_sync(0xffffffff, send, step);
                        w[j] = upper ? got : w[j];
                        w[j + step] = upper ? w[j + step] : got;
                    }
            if (row < rows)
                *(uint4 *)(to + row * stride + i * 4 + q * 8) = {w[0], w[1], w[2], w[3]};
        }
    }
}

#endif
