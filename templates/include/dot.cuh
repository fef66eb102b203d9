/*
 * dot.cuh -- the two products of attention on the ordinary arithmetic units, in register tiles.
 *
 * A thread that computes a tile of results loads each operand once and uses it for a whole row or
 * column of the tile: the larger the tile, the fewer loads from shared memory for each FMA.
 */
#ifndef EVO_DOT_CUH
#define EVO_DOT_CUH

#include "reduce.cuh"

/* Ways of multiplying N neighbouring elements of two rows. An operand is what is kept of a row. */
struct dot_float { /* FP32: the elements are converted once and used TILE times */
    template <class Type, int N> struct operand {
        float x[N];
        __device__ void load(const evo_half *from) { vector_load<Type, N>::floats(from, x); }
    };
    template <class Type, int N>
    __device__ static float add(float sum, const operand<Type, N> &a, const operand<Type, N> &b)
    {
#pragma unroll
        for (int i = 0; i < N; i++)
            sum = fmaf(a.x[i], b.x[i], sum);
        return sum;
    }
};
/* HFMA2, two products an instruction: the N of a call are summed in FP16, calls in FP32. */
struct dot_half2 {
    template <class Type, int N> struct operand {
        union {
            word<N> whole;
            __half2 x[N / 2];
        };
        __device__ operand() {}
        __device__ void load(const evo_half *from) { whole = *(const word<N> *)from; }
    };
    template <class Type, int N>
    __device__ static float add(float sum, const operand<Type, N> &a, const operand<Type, N> &b)
    {
        __half2 both = __hmul2(a.x[0], b.x[0]);
#pragma unroll
        for (int i = 1; i < N / 2; i++)
            both = __hfma2(a.x[i], b.x[i], both);
        return sum + __low2float(both) + __high2float(both);
    }
};

/*
 * scores = Q Kᵀ for a team's rows and COLUMNS keys: put(row, column, score) for each. Threads run
 * down the rows first, so that the scores of one row come from all over the team, and a thread's
 * rows (and keys) are ROW_GROUPS (COLUMN_GROUPS) apart, so that neighbouring lanes read
 * neighbouring rows of shared memory.
 */
template <class Team, class Dot, class Type, int COLUMNS, int DEPTH, int PITCH, int TILE_M,
          int TILE_N, int VEC, int UNROLL, class Put>
__device__ inline void dot_scores(const evo_half *Q, const evo_half *K, Put put)
{
    constexpr int ROW_GROUPS = Team::ROWS / TILE_M, COLUMN_GROUPS = COLUMNS / TILE_N;
    using operand = typename Dot::template operand<Type, VEC>;
#pragma unroll 1
    for (int unit = Team::rank(); unit < ROW_GROUPS * COLUMN_GROUPS; unit += Team::SIZE) {
        const int first_row = unit % ROW_GROUPS, first_column = unit / ROW_GROUPS;
        float sums[TILE_M][TILE_N] = {};
#pragma unroll UNROLL
        for (int d = 0; d < DEPTH; d += VEC) {
            operand q[TILE_M], k[TILE_N];
#pragma unroll
            for (int i = 0; i < TILE_M; i++)
                q[i].load(Q + (first_row + i * ROW_GROUPS) * PITCH + d);
#pragma unroll
            for (int j = 0; j < TILE_N; j++)
                k[j].load(K + (first_column + j * COLUMN_GROUPS) * PITCH + d);
#pragma unroll
            for (int i = 0; i < TILE_M; i++)
#pragma unroll
                for (int j = 0; j < TILE_N; j++)
                    sums[i][j] = Dot::template add<Type, VEC>(sums[i][j], q[i], k[j]);
        }
#pragma unroll
        for (int i = 0; i < TILE_M; i++)
#pragma unroll
            for (int j = 0; j < TILE_N; j++)
                put(first_row + i * ROW_GROUPS, first_column + j * COLUMN_GROUPS, sums[i][j]);
    }
}

/*
 * The part of O that a thread owns, in registers from the first tile to the last: TILE_D columns
 * (in pieces, so that neighbouring lanes read neighbouring pieces of V) of every ROW_GROUPS-th row.
 * Threads are counted from the other end of the team: see softmax_in_steps.
 */
template <class Team, class Type, int COLUMNS, int TILE_D, int VEC> struct output_tile {
    enum : int { PIECE = VEC < TILE_D ? VEC : TILE_D, PIECES = TILE_D / PIECE };
    enum : int { COLUMN_GROUPS = COLUMNS / TILE_D };
    enum : int { ROW_GROUPS = Team::SIZE / COLUMN_GROUPS };
    enum : int { ROWS = Team::ROWS / ROW_GROUPS };
    float o[ROWS][TILE_D] = {};

    __device__ static int row(int i)
    {
        return (Team::SIZE - 1 - Team::rank()) / COLUMN_GROUPS + i * ROW_GROUPS;
    }
    __device__ static int column(int piece)
    {
        const int group = (Team::SIZE - 1 - Team::rank()) % COLUMN_GROUPS;
        return (group + piece * COLUMN_GROUPS) * PIECE;
    }

    /* o = o · rescale[row] */
    __device__ void shrink(const float *rescale)
    {
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            const float factor = rescale[row(i)];
#pragma unroll
            for (int d = 0; d < TILE_D; d++)
                o[i][d] *= factor;
        }
    }

    /* o += P V over KEYS keys, four at a time; P is read by vectors where its rows allow it. */
    template <class Weight, int KEYS, int WEIGHT_PITCH, int PITCH, int UNROLL>
    __device__ void add(const typename Weight::type *P, const evo_half *V)
    {
        constexpr int ALIGNED = WEIGHT_PITCH % 4 == 0 ? 4 : 1;
#pragma unroll UNROLL
        for (int key = 0; key < KEYS; key += 4) {
            float p[ROWS][4];
#pragma unroll
            for (int i = 0; i < ROWS; i++)
#pragma unroll
                for (int k = 0; k < 4; k += ALIGNED)
                    vector_load<Weight, ALIGNED>::floats(P + row(i) * WEIGHT_PITCH + key + k,
                                                         p[i] + k);
#pragma unroll
            for (int k = 0; k < 4; k++) {
                float v[TILE_D];
#pragma unroll
                for (int piece = 0; piece < PIECES; piece++)
                    vector_load<Type, PIECE>::floats(V + (key + k) * PITCH + column(piece),
                                                     v + piece * PIECE);
#pragma unroll
                for (int i = 0; i < ROWS; i++)
#pragma unroll
                    for (int d = 0; d < TILE_D; d++)
                        o[i][d] = fmaf(p[i][k], v[d], o[i][d]);
            }
        }
    }

    /* o += a product that lies in shared memory */
    template <class Sum, int PITCH> __device__ void add_product(const typename Sum::type *product)
    {
#pragma unroll
        for (int i = 0; i < ROWS; i++)
#pragma unroll
            for (int piece = 0; piece < PIECES; piece++) {
                float x[PIECE];
                vector_load<Sum, PIECE>::floats(product + row(i) * PITCH + column(piece), x);
#pragma unroll
                for (int d = 0; d < PIECE; d++)
                    o[i][piece * PIECE + d] += x[d];
            }
    }

    /* Divides by the sums of weights and writes the rows that exist. */
    __device__ void store(evo_half *to, long long stride, int rows, const float *sums)
    {
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            const int r = row(i);
            if (r >= rows)
                break;
            const float factor = evo_inverse(sums[r]);
#pragma unroll
            for (int d = 0; d < TILE_D; d++)
                o[i][d] *= factor;
#pragma unroll
            for (int piece = 0; piece < PIECES; piece++)
                store_floats<Type, PIECE>(to + r * stride + column(piece), o[i] + piece * PIECE);
        }
    }
};

#endif
