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
 * A barrier of THREADS threads out of a block's OF, by number: 0 is the block's own, 15 is the last.
 * A warp needs none, but its lanes must see what the others of them copied.
 */
template <int THREADS, int OF> __device__ inline void evo_barrier_of(int number)
{
    if constexpr (THREADS == 32)
        __syncwarp();
    else if constexpr (THREADS == OF)
        __syncthreads();
    else
        asm volatile("bar.sync %0, %1;" ::"r"(number), "n"(THREADS) : "memory");
}

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

/* ---- tiles for ldmatrix (mma.cuh) ---- */

__device__ inline unsigned shared_address(const void *at)
{
    return (unsigned)__cvta_generic_to_shared(at);
}

/*
 * A tile's rows lie one after another, each cut into pieces of 16 bytes, and piece p of row r lies
 * where p ^ (r % 8) would: eight pieces of one column of pieces, which is what ldmatrix reads at a
 * time, then lie in eight different groups of banks, and so do eight neighbours of one row. No
 * padding, and the address of a piece 2k further on is one XOR away, since k moves bits of p alone:
 * address(row, p + 2k) = address(row, p) ^ (k << 5) for p < 2. Tiles begin at multiples of 256 bytes.
 */
template <int COLUMNS> __device__ inline unsigned swizzled(int row, int piece)
{
    return row * (COLUMNS * 2) + ((piece ^ (row & 7)) << 4);
}

/*
 * cp.async of a piece, zeros if it is not `inside`. A fetch may bring what lies beside it to L2 as
 * well: PREFETCH is 0, 128 or 256 bytes.
 */
template <int PREFETCH>
__device__ inline void copy_piece(unsigned to, const evo_half *from, bool inside)
{
    const int bytes = inside ? 16 : 0;
    if constexpr (PREFETCH == 256)
        asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
                     "r"(bytes)
                     : "memory");
    else if constexpr (PREFETCH == 128)
        asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
                     "r"(bytes)
                     : "memory");
    else
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
                     "r"(bytes)
                     : "memory");
}

/*
 * THREADS threads, of which the caller is `rank`, copy ROWS rows, of which the first `rows` exist. A
 * thread keeps its piece and goes down the rows, so that its pointers move by constants.
 */
template <int THREADS, int ROWS, int COLUMNS, int PREFETCH>
__device__ inline void copy_swizzled(unsigned tile, const evo_half *from, long long stride, int rows,
                                     int rank)
{
    constexpr int PIECES = COLUMNS / 8, STEP = THREADS / PIECES; /* rows from one to the next */
    static_assert(STEP >= ROWS || ROWS % STEP == 0, "rows deal out evenly to the threads");
    const int row = rank / PIECES, piece = rank % PIECES;
    if (STEP > ROWS && row >= ROWS)
        return;
    const unsigned to = tile + swizzled<COLUMNS>(row, piece);
    from += row * stride + piece * 8;
    rows -= row;
#pragma unroll
    for (int i = 0; i < ROWS; i += STEP) /* row + i swizzles as row does, but for i % 8 */
        copy_piece<PREFETCH>((to ^ ((i & 7) << 4)) + i * (COLUMNS * 2), from + i * stride, i < rows);
}

#endif
