/*
 * reduce.cuh -- who works on which rows, and how a row becomes its maximum or its sum.
 */
#ifndef EVO_REDUCE_CUH
#define EVO_REDUCE_CUH

#include "copy.cuh"

/*
 * A team is the set of threads that carry a set of query rows through a tile: they exchange scores
 * and weights through shared memory, so they meet at `sync` between the steps. The whole block as
 * one team needs block barriers; a warp as a team needs no more than __syncwarp.
 */
template <int THREADS, int BLOCK_ROWS> struct team_block {
    enum : int { SIZE = THREADS, WARPS = THREADS / 32, ROWS = BLOCK_ROWS };
    __device__ static int rank() { return threadIdx.x; }
    __device__ static int warp() { return threadIdx.x / 32; }
    __device__ static int first_row() { return 0; }
    template <int ID> __device__ static void sync() { evo_barrier<ID>(); }
};

template <int THREADS, int BLOCK_ROWS> struct team_warp {
    enum : int { SIZE = 32, WARPS = 1, ROWS = BLOCK_ROWS / (THREADS / 32) };
    __device__ static int rank() { return threadIdx.x % 32; }
    __device__ static int warp() { return 0; }
    __device__ static int first_row() { return threadIdx.x / 32 * ROWS; }
    template <int ID> __device__ static void sync() { __syncwarp(); }
};

struct rows_shared { /* every warp works on every row */
    enum : int { PER_WARP = 0 };
    template <int THREADS, int BLOCK_ROWS> using team = team_block<THREADS, BLOCK_ROWS>;
};
struct rows_private { /* each warp keeps rows of its own */
    enum : int { PER_WARP = 1 };
    template <int THREADS, int BLOCK_ROWS> using team = team_warp<THREADS, BLOCK_ROWS>;
};

/* One of two types. */
template <bool CONDITION, class Then, class Else> struct evo_if_type {
    using type = Then;
};
template <class Then, class Else> struct evo_if_type<false, Then, Else> {
    using type = Else;
};
template <bool CONDITION, class Then, class Else>
using evo_if = typename evo_if_type<CONDITION, Then, Else>::type;

struct max_of {
    __device__ static float none() { return evo_minus_infinity(); }
    __device__ static float of(float a, float b) { return fmaxf(a, b); }
};
struct sum_of {
    __device__ static float none() { return 0; }
    __device__ static float of(float a, float b) { return a + b; }
};

/* Combines x over groups of LANES neighbouring lanes; every lane of a group gets the result. */
template <class Op, int LANES> __device__ inline float reduce_shuffle(float x)
{
    const int lane = threadIdx.x % 32;
    const unsigned group =
        LANES == 32 ? 0xffffffff : ((1u << LANES % 32) - 1) << lane / LANES * LANES;
#pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2)
        x = Op::of(x, __shfl_xor_sync(group, x, step));
    return x;
}

/*
 * LANES neighbouring lanes reduce a row. A row stays with the same lanes in every sweep, so a
 * maximum, its exponentials and their sum may follow each other without a barrier (KEEPS_ROWS).
 */
template <int LANES> struct reduce_lanes {
    enum : int { KEEPS_ROWS = 1, USES_SCRATCH = 0, WIDTH = LANES };

    /* Calls each(row, lane) for every row of the team. */
    template <class Team, class Each> __device__ static void sweep(Each each)
    {
        for (int row = Team::rank() / LANES; row < Team::ROWS; row += Team::SIZE / LANES)
            each(row, Team::rank() % LANES);
    }

    /* Calls done(row, result) for every row of the table, in one thread. */
    template <class Op, class Team, int COLUMNS, int PITCH, int STEP_ID, class Done>
    __device__ static void rows(const float *table, float *, Done done)
    {
        sweep<Team>([&](int row, int lane) {
            float x = Op::none();
#pragma unroll 4
            for (int column = lane; column < COLUMNS; column += LANES)
                x = Op::of(x, table[row * PITCH + column]);
            x = reduce_shuffle<Op, LANES>(x);
            if (lane == 0)
                done(row, x);
        });
    }
};
struct reduce_serial : reduce_lanes<1> {};
struct reduce_octet : reduce_lanes<8> {};
struct reduce_warp : reduce_lanes<32> {};

/*
 * A binary tree over all rows at once, in shared memory: each step halves the columns and hands
 * them to the threads afresh, so between two steps the whole team must meet.
 */
struct reduce_tree {
    enum : int { KEEPS_ROWS = 0, USES_SCRATCH = 1 };

    template <class Op, class Team, int COLUMNS, int PITCH, int STEP_ID, class Done>
    __device__ static void rows(const float *table, float *scratch, Done done)
    {
        step<Op, Team, COLUMNS / 2, PITCH>(table, scratch, done);
#pragma unroll 1
        for (int half = COLUMNS / 4; half > 0; half /= 2) {
            Team::template sync<STEP_ID>(); /* the step before wrote what this one reads */
            for (int i = Team::rank(); i < Team::ROWS * half; i += Team::SIZE) {
                const int row = i / half, column = i % half;
                float *x = scratch + row * (COLUMNS / 2) + column;
                const float both = Op::of(x[0], x[half]);
                if (half > 1)
                    x[0] = both;
                else
                    done(row, both);
            }
        }
    }

  private:
    template <class Op, class Team, int HALF, int PITCH, class Done>
    __device__ static void step(const float *table, float *scratch, Done)
    {
        for (int i = Team::rank(); i < Team::ROWS * HALF; i += Team::SIZE) {
            const int row = i / HALF, column = i % HALF;
            const float *x = table + row * PITCH + column;
            scratch[i] = Op::of(x[0], x[HALF]);
        }
    }
};

#endif
