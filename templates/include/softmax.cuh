/*
 * softmax.cuh -- the online softmax of a tile, in shared memory.
 *
 * A row's statistics run over the key tiles: its largest raw score m and the sum l of its weights
 * exp(scale · (s - m)). When a tile raises m, what was summed before shrinks by
 * exp(scale · (m_old - m)), and so does the output that the row has gathered: `rescale`.
 * (Milakov and Gimelshein 2018, arXiv 1805.02867.)
 */
#ifndef EVO_SOFTMAX_CUH
#define EVO_SOFTMAX_CUH

#include "reduce.cuh"

/* Exponentials. The scale, and for exp2 the change of base, are one factor of the exponent. */
struct softmax_exp {
    __device__ static float factor(float scale) { return scale; }
    __device__ static float of(float x) { return expf(x); }
};
struct softmax_exp2 { /* the hardware's own exponential; expf is built on it */
    __device__ static float factor(float scale) { return scale * 1.4426950408889634f; }
    __device__ static float of(float x) { return exp2f(x); }
};

/*
 * Guards against numbers that finite inputs summed in FP32 cannot produce. FP16 partial sums can:
 * they overflow beyond 65504.
 */
struct guard_none {
    __device__ static float score(float x) { return x; }
    __device__ static float exponent(float x) { return x; }
    __device__ static float sum(float x) { return x; }
};
struct guard_finite {
    __device__ static float largest() { return 3.402823466e38f; }
    __device__ static float smallest() { return 1.175494351e-38f; }
    __device__ static float score(float x) { return fminf(fmaxf(x, -largest()), largest()); }
    __device__ static float exponent(float x) { return fminf(x, 0); }
    __device__ static float sum(float x) { return x > 0 ? fmaxf(x, smallest()) : 0; }
};

/* exp(scale · (score - maximum)); 0 for a hidden key, also while the row has seen no key at all. */
template <class Exp, class Guard>
__device__ inline float softmax_weight(float score, float maximum, float factor)
{
    const float shift = maximum == evo_minus_infinity() ? 0 : maximum;
    return Exp::of(Guard::exponent((score - shift) * factor));
}

/* The statistics of a team's rows, in shared memory. */
struct softmax_rows {
    float *maximum; /* of the tiles folded in so far */
    float *peak;    /* the same with this tile */
    float *sum;     /* of weights */
    float *rescale; /* what this tile does to sums and outputs gathered before it */

    __device__ softmax_rows(float *table, int block_rows, int first)
        : maximum(table + first), peak(table + block_rows + first),
          sum(table + 2 * block_rows + first), rescale(table + 3 * block_rows + first)
    {
    }

    template <class Exp, class Guard>
    __device__ void fold(int row, float new_peak, float tile_sum, float factor)
    {
        const float shrink = softmax_weight<Exp, Guard>(maximum[row], new_peak, factor);
        sum[row] = Guard::sum(sum[row] * shrink + tile_sum);
        maximum[row] = new_peak;
        rescale[row] = shrink;
    }
};

/* Before the first tile; visible to others after the next barrier. */
template <int THREADS, int BLOCK_ROWS> __device__ inline void softmax_begin(float *table)
{
    for (int row = threadIdx.x; row < BLOCK_ROWS; row += THREADS) {
        table[row] = evo_minus_infinity();
        table[2 * BLOCK_ROWS + row] = 0;
    }
}

/*
 * Softmax in three steps, each spread over the team as suits it, a barrier between two: maxima,
 * exponentials (in place), sums. Scores of hidden keys are -inf already. The exponentials are dealt
 * out from the other end of the team: a row changes warps from step to step, whatever the tile's
 * shape, so each barrier orders threads that nothing else orders.
 */
template <class Exp, class Guard, class Reduce, class Team, int COLUMNS, int PITCH, int MAXIMA_ID,
          int WEIGHTS_ID, int STEP_ID>
__device__ inline void softmax_in_steps(softmax_rows rows, float *scores, float *scratch,
                                        float factor)
{
    Reduce::template rows<max_of, Team, COLUMNS, PITCH, STEP_ID>(
        scores, scratch, [&](int row, float x) { rows.peak[row] = fmaxf(rows.maximum[row], x); });
    Team::template sync<MAXIMA_ID>(); /* peaks: from who reduced the row to who exponentiates */
#pragma unroll 4
    for (int i = Team::SIZE - 1 - Team::rank(); i < Team::ROWS * COLUMNS; i += Team::SIZE) {
        const int row = i / COLUMNS;
        float *x = scores + row * PITCH + i % COLUMNS;
        *x = softmax_weight<Exp, Guard>(*x, rows.peak[row], factor);
    }
    Team::template sync<WEIGHTS_ID>(); /* weights: from who exponentiated to who sums the row */
    Reduce::template rows<sum_of, Team, COLUMNS, PITCH, STEP_ID>(
        scores, scratch,
        [&](int row, float x) { rows.template fold<Exp, Guard>(row, rows.peak[row], x, factor); });
}

/*
 * Softmax in one sweep: the lanes that find a row's maximum also turn its scores into weights and
 * sum them. Keys from limit(row) on are hidden. Weights may be of another type and place than
 * scores, or the same.
 */
template <class Exp, class Guard, class Reduce, class Team, int COLUMNS, class Score, int PITCH,
          class Weight, int WEIGHT_PITCH, class Limit>
__device__ inline void softmax_in_one(softmax_rows rows, const typename Score::type *scores,
                                      typename Weight::type *weights, float factor, Limit limit)
{
    constexpr int LANES = Reduce::WIDTH;
    Reduce::template sweep<Team>([&](int row, int lane) {
        const int visible = limit(row);
        const auto *score = scores + row * PITCH;
        auto *weight = weights + row * WEIGHT_PITCH;
        /* One lane alone reads and writes the row's statistics. */
        float peak = lane == 0 ? rows.maximum[row] : evo_minus_infinity();
#pragma unroll 4
        for (int column = lane; column < COLUMNS; column += LANES)
            if (column < visible)
                peak = fmaxf(peak, Score::get(score[column]));
        peak = reduce_shuffle<max_of, LANES>(peak);
        float sum = 0;
#pragma unroll 4
        for (int column = lane; column < COLUMNS; column += LANES) {
            float w = 0;
            if (column < visible)
                w = softmax_weight<Exp, Guard>(Score::get(score[column]), peak, factor);
            weight[column] = Weight::put(w);
            sum += w;
        }
        sum = reduce_shuffle<sum_of, LANES>(sum);
        if (lane == 0)
            rows.template fold<Exp, Guard>(row, peak, sum, factor);
    });
}

#endif
