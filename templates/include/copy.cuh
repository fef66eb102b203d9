/*
 * copy.cuh -- barriers, and tiles on their way from global to shared memory.
 */
#ifndef EVO_COPY_CUH
#define EVO_COPY_CUH

#include "attention.cuh"

/*
 * Every barrier of a block is a named one, so that a test can take out exactly one of them (an
 * explicit specialisation with an empty body) or delay the warps behind it.
 */
template <int ID> __device__ inline void evo_barrier() { __syncthreads(); }

/*
 * Ways of copying. `piece` starts the copy of N elements, or writes zeros where a tile reaches past
 * the end of the rows (zeros, not nothing: 0 · NaN would be NaN); `commit` closes a group of
 * pieces; `wait<n>` returns when at most the n last groups of this thread are still on their way.
 * What other threads copied is there only after a barrier that follows their wait.
 */
struct copy_registers { /* a load, then a store: the thread waits for memory between the two */
    template <int N> __device__ static void piece(evo_half *to, const evo_half *from, bool inside)
    {
        word<N> w = {};
        if (inside)
            w = *(const word<N> *)from;
        *(word<N> *)to = w;
    }
    __device__ static void commit() {}
    template <int PENDING> __device__ static void wait() {}
};

struct copy_async { /* cp.async, 4 bytes or more: past the registers, the thread goes on */
    template <int N> __device__ static void piece(evo_half *to, const evo_half *from, bool inside)
    {
        const unsigned address = (unsigned)__cvta_generic_to_shared(to);
        const int bytes = inside ? 2 * N : 0; /* the rest is filled with zeros */
        if constexpr (N == 8) /* .cg keeps the lines out of L1; it exists for 16 bytes only */
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from),
                         "r"(bytes)
                         : "memory");
        else
            asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(address), "l"(from),
                         "n"(2 * N), "r"(bytes)
                         : "memory");
    }
    __device__ static void commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
    template <int PENDING> __device__ static void wait()
    {
        asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
    }
};

/*
 * The whole block copies a tile of ROWS rows, of which the first `rows` exist. Neighbouring threads
 * take neighbouring pieces, so a warp reads whole lines of memory.
 */
template <class Copy, int THREADS, int ROWS, int COLUMNS, int PITCH, int N>
__device__ inline void copy_tile(evo_half *tile, const evo_half *from, long long stride, int rows)
{
    constexpr int PIECES = COLUMNS / N; /* of a row */
#pragma unroll 4
    for (int i = threadIdx.x; i < ROWS * PIECES; i += THREADS) {
        const int row = i / PIECES, column = i % PIECES * N;
        const bool inside = row < rows;
        Copy::template piece<N>(tile + row * PITCH + column,
                                from + (inside ? row * stride + column : 0), inside);
    }
}

#endif
