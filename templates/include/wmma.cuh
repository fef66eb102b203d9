/*
 * wmma.cuh -- products on the tensor cores, through the WMMA interface.
 *
 * A warp multiplies fragments of 16x16x16. Which lane holds which element of a fragment is not
 * specified, so results that are treated row by row go through shared memory. On every architecture
 * this becomes mma.sync (HMMA); Hopper's own wgmma is out of its reach.
 */
#ifndef EVO_WMMA_CUH
#define EVO_WMMA_CUH

#include <mma.h>

#include "reduce.cuh"

template <class Type> struct fragment_type {
    using type = Type;
};
template <> struct fragment_type<as_half> {
    using type = __half;
};
template <> struct fragment_type<as_bfloat16> {
    using type = __nv_bfloat16;
};
template <> struct fragment_type<as_float> {
    using type = float;
};
template <class Type> using fragment_element = typename fragment_type<Type>::type;

/* How a fragment of B lies in memory: keys are rows, so K is read as its own transpose. */
struct b_transposed { /* element (k, n) at n · pitch + k */
    using layout = nvcuda::wmma::col_major;
    __device__ static int at(int k, int n, int pitch) { return n * pitch + k; }
};
struct b_as_stored { /* element (k, n) at k · pitch + n */
    using layout = nvcuda::wmma::row_major;
    __device__ static int at(int k, int n, int pitch) { return k * pitch + n; }
};

/*
 * C = A B for a team's rows, N columns, depth K. A warp makes SPAN neighbouring fragments of C at a
 * time from each fragment of A. Sum is the type that the tensor cores accumulate in, and C's.
 * Pointers are multiples of 32 bytes and pitches of 16, as load_matrix_sync demands.
 */
template <class Team, class Type, class Sum, class Layout, int N, int K, int A_PITCH, int B_PITCH,
          int C_PITCH, int SPAN>
__device__ inline void wmma_product(const evo_half *A, const evo_half *B, typename Sum::type *C)
{
    using namespace nvcuda::wmma;
    using input = fragment_element<Type>;
    using result = fragment_element<Sum>;
    constexpr int ACROSS = N / 16 / SPAN;
    for (int unit = Team::warp(); unit < Team::ROWS / 16 * ACROSS; unit += Team::WARPS) {
        const int row = unit / ACROSS * 16, column = unit % ACROSS * SPAN * 16;
        fragment<accumulator, 16, 16, 16, result> c[SPAN];
#pragma unroll
        for (int i = 0; i < SPAN; i++)
            fill_fragment(c[i], 0.0f);
#pragma unroll 4
        for (int k = 0; k < K; k += 16) {
            fragment<matrix_a, 16, 16, 16, input, row_major> a;
            load_matrix_sync(a, (const input *)(A + row * A_PITCH + k), A_PITCH);
#pragma unroll
            for (int i = 0; i < SPAN; i++) {
                fragment<matrix_b, 16, 16, 16, input, typename Layout::layout> b;
                load_matrix_sync(b, (const input *)(B + Layout::at(k, column + i * 16, B_PITCH)),
                                 B_PITCH);
                mma_sync(c[i], a, b, c[i]);
            }
        }
#pragma unroll
        for (int i = 0; i < SPAN; i++)
            store_matrix_sync((result *)(C + row * C_PITCH + column + i * 16), c[i], C_PITCH,
                              mem_row_major);
    }
}

#endif
