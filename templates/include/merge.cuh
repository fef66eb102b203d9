/*
 * merge.cuh -- one result of several partial ones: of sets of warps, of blocks, of a grid's splits.
 *
 * A partial result of a row is its output and its sum of weights, both on the scale of its own
 * maximum. Whoever merges takes WIDTH neighbouring columns of a row: 4, or 8 to store 16 bytes.
 */
#ifndef EVO_MERGE_CUH
#define EVO_MERGE_CUH

#include "mma.cuh"
#include "online.cuh"

template <int WIDTH> struct merged_columns {
    float maximum, sum;
    float4 x[WIDTH / 4];
};

/* Of N partial results, statistics(n) has maximum and sum, columns(n, i) the i-th four columns. */
template <int N, int WIDTH, class Statistics, class Columns>
__device__ inline merged_columns<WIDTH> merge_columns(float factor, Statistics statistics,
                                                      Columns columns)
{
    merged_columns<WIDTH> all = {evo_minus_infinity(), 0, {}};
    float2 one[N];
#pragma unroll
    for (int n = 0; n < N; n++) {
        one[n] = statistics(n);
        all.maximum = fmaxf(all.maximum, one[n].x);
    }
    const float shift = online_shift<1>(all.maximum);
#pragma unroll
    for (int n = 0; n < N; n++) {
        const float weight = exp2_fast((one[n].x - shift) * factor);
        all.sum += weight * one[n].y;
#pragma unroll
        for (int i = 0; i < WIDTH / 4; i++) {
            const float4 x = columns(n, i);
            all.x[i].x += weight * x.x, all.x[i].y += weight * x.y;
            all.x[i].z += weight * x.z, all.x[i].w += weight * x.w;
        }
    }
    return all;
}

/*
 * Deals out ROWS rows, of which `rows` exist, to THREADS threads: each(row, column, turn). Of eight
 * columns every other group of four threads takes the second half first (`turn` is 1): eight
 * neighbours, which read 16 bytes each at a time, then meet in no bank of shared memory.
 */
template <int THREADS, int ROWS, int COLUMNS, int WIDTH, class Each>
__device__ inline void merge_each(int rows, Each each)
{
    constexpr int LANES = COLUMNS / WIDTH, UNITS = ROWS * LANES;
#pragma unroll 4
    for (int i = 0; i < evo::ceil_div(UNITS, THREADS); i++) {
        const int unit = i * THREADS + threadIdx.x, lane = unit % LANES;
        if (unit / LANES < min(rows, ROWS))
            each(unit / LANES, lane * WIDTH, WIDTH == 8 ? lane / 4 % 2 : 0);
    }
}

/* The merged columns as output; the row's log-sum-exp goes with its first ones. */
template <class Type, int LSE_ASKED, int WIDTH>
__device__ inline void merge_store(const attention_head &head, const evo_problem &problem, int row,
                                   int column, int turn, const merged_columns<WIDTH> &merged)
{
    const float inverse = evo_inverse(merged.sum);
    uint2 part[WIDTH / 4];
#pragma unroll
    for (int i = 0; i < WIDTH / 4; i++)
        part[i] = {pack<Type>(merged.x[i].x * inverse, merged.x[i].y * inverse),
                   pack<Type>(merged.x[i].z * inverse, merged.x[i].w * inverse)};
    evo_half *const to = head.o + row * problem.o[2] + column;
    if constexpr (WIDTH == 4)
        *(uint2 *)to = part[0];
    else
        *(uint4 *)to = turn ? uint4{part[1].x, part[1].y, part[0].x, part[0].y}
                            : uint4{part[0].x, part[0].y, part[1].x, part[1].y};
    if (LSE_ASKED && column == 0)
        head.lse[row] = evo_log_sum_exp(merged.maximum, merged.sum, problem.scale);
}

/*
 * Results of SPLITS splits of the keys in global memory: rows of all heads and batches for each
 * split, then maximum and sum of each of these.
 */
template <int SPLITS, int COLUMNS, int WIDTH> struct split_results {
    float *x;
    long long rows; /* of a split */

    __device__ split_results(float *x, const evo_problem &problem)
        : x(x), rows((long long)problem.batch * problem.heads * problem.q_len)
    {
    }
    __device__ void put(int split, long long row, int column, int turn,
                        const merged_columns<WIDTH> &merged) const
    {
#pragma unroll
        for (int i = 0; i < WIDTH / 4; i++)
            *columns(split, row, column + 4 * (i ^ turn)) = merged.x[i];
        if (column == 0)
            *statistics(split, row) = {merged.maximum, merged.sum};
    }
    /* Past L1, which may hold what was there before other blocks wrote. */
    __device__ merged_columns<WIDTH> merge(long long row, int column, int turn, float factor) const
    {
        return merge_columns<SPLITS, WIDTH>(
            factor, [&](int n) { return __ldcg(statistics(n, row)); },
            [&](int n, int i) { return __ldcg(columns(n, row, column + 4 * (i ^ turn))); });
    }
    /*
     * Whether this block is the last of its splits to come here, and so finds the results of all of
     * them: what a block wrote is in L2 before it counts. The last count wraps to 0.
     */
    __device__ bool came_last(unsigned *count) const
    {
        __threadfence();
        __syncthreads();
        const bool last =
            __syncthreads_or(threadIdx.x == 0 && atomicInc(count, SPLITS - 1) == SPLITS - 1);
        __threadfence();
        return last;
    }

  private:
    __device__ float4 *columns(int split, long long row, int column) const
    {
        return (float4 *)(x + (split * rows + row) * COLUMNS + column);
    }
    __device__ float2 *statistics(int split, long long row) const
    {
        return (float2 *)(x + SPLITS * rows * COLUMNS) + split * rows + row;
    }
};

#endif
