/*
 * query.cuh -- where the fragments of Q are when a product wants them (mma.cuh).
 */
#ifndef EVO_QUERY_CUH
#define EVO_QUERY_CUH

#include "mma.cuh"

struct query_registers { /* read once: COLUMNS / 4 registers for 16 rows */
    enum : int { FROM_SHARED = 1, HELD = 1 };
};
struct query_shared { /* read again for every tile */
    enum : int { FROM_SHARED = 1, HELD = 0 };
};
struct query_global { /* in registers as well, but past shared memory and the barrier it needs */
    enum : int { FROM_SHARED = 0, HELD = 1 };
};

/* A warp's rows of Q, TILES times 16, as operands of the STEPS of a product. */
template <class Query, int COLUMNS, int TILES> struct query_fragments {
    enum : int { STEPS = COLUMNS / 16 };
    unsigned x[Query::HELD ? STEPS : 1][TILES][4], at;

    /* `shared` and `q` are the warp's first row, there and in global memory; `rows` exist. */
    __device__ void begin(unsigned shared, const evo_half *q, long long stride, int rows)
    {
        at = shared + lane_by_rows<COLUMNS>();
        if constexpr (Query::HELD)
#pragma unroll
            for (int step = 0; step < STEPS; step++)
                if constexpr (Query::FROM_SHARED)
                    read_shared(step, x[step]);
                else
                    read_global(x[step], q + step * 16, stride, rows);
    }
    __device__ const unsigned (&of(int step))[TILES][4]
    {
        if constexpr (Query::HELD)
            return x[step];
        read_shared(step, x[0]);
        return x[0];
    }

  private:
    __device__ void read_shared(int step, unsigned (&to)[TILES][4]) const
    {
#pragma unroll
        for (int i = 0; i < TILES; i++)
            ldmatrix(to[i], (at ^ (step << 5)) + i * (16 * COLUMNS * 2));
    }
    __device__ static void read_global(unsigned (&to)[TILES][4], const evo_half *q,
                                       long long stride, int rows)
    {
        const int group = threadIdx.x % 32 / 4, column = threadIdx.x % 4 * 2;
#pragma unroll
        for (int i = 0; i < TILES * 4; i++) {
            const int row = i / 4 * 16 + i % 2 * 8 + group;
            const evo_half *from = q + row * stride + i / 2 % 2 * 8 + column;
            to[i / 4][i % 4] = row < rows ? *(const unsigned *)from : 0;
        }
    }
};

#endif
