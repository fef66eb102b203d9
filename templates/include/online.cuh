/*
 * online.cuh -- the online softmax of a tile whose scores are in registers.
 *
 * A lane holds two rows of 16, in the layout of mma.sync's and wgmma's sums: of a row of values,
 * x[4t + 2r + e] is column 8t + 2q + e of its row g + 8r (g = lane / 4, q = lane % 4). The four
 * lanes of a quad share two rows, so a row's maximum is two shuffles away, and its sum is left in
 * four parts until the end. softmax.cuh tells what the statistics mean.
 */
#ifndef EVO_ONLINE_CUH
#define EVO_ONLINE_CUH

#include "mma.cuh"
#include "reduce.cuh"

/*
 * Weights are 2^(factor · (score - maximum)), one FFMA and one MUFU.EX2: the scale and the change
 * of base are one factor. Without .ftz the compiler guards results below 2^-126 with two more
 * instructions; such a weight is nothing beside the row's largest, which is about 1.
 */
__device__ inline float exp2_fast(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/*
 * The same on the FMA and integer pipes, for x < 128: 2^x = 2^n 2^f with n the nearest integer.
 * Adding 1.5 · 2^23 leaves n in the low bits of a float; 2^f, |f| <= 1/2, is a polynomial of degree
 * 3 that is right to 7.5e-5, a sixth of what rounding a weight to 16 bits costs at worst; n is
 * added to its exponent. Nine instructions where MUFU takes one, but that pipe has 16 lanes and a
 * warp waits eight cycles for it: a share of a tile's exponentials done here shortens the queue
 * there.
 */
__device__ inline float exp2_polynomial(float x)
{
    const float shifted = x + 12582912.0f, f = x - (shifted - 12582912.0f);
    const float y = fmaf(fmaf(fmaf(0.05517167f, f, 0.24261112f), f, 0.69326099f), f, 0.99992807f);
    const float z = __int_as_float(__float_as_int(y) + (__float_as_int(shifted) << 23));
    return x < -126 ? 0 : z; /* nothing: the exponent has wrapped around, or x is -inf */
}

/* The statistics of a lane's two rows: largest raw score, and this lane's part of the sum. */
struct online_rows {
    float maximum[2], sum[2];
    __device__ online_rows() : maximum{evo_minus_infinity(), evo_minus_infinity()}, sum{0, 0} {}
};

/* When what was gathered before a tile is put on the scale of the tile's larger maximum. */
struct rescale_always {
    enum : int { VOTES = 0 };
    __device__ static bool stays(float, float, float) { return false; }
};
struct rescale_changed { /* only where a row of the warp has a new maximum: the same values */
    enum : int { VOTES = 1 };
    __device__ static bool stays(float, float, float) { return false; }
};
/*
 * A maximum that is too small by less than a factor of 2^8 in weights is kept: weights then go up
 * to 256, which 16 bits hold as well as 1, and most tiles after the first leave the output alone.
 */
struct rescale_lazy {
    enum : int { VOTES = 1 };
    __device__ static bool stays(float maximum, float peak, float factor)
    {
        return (peak - maximum) * factor <= 8;
    }
};

/* What a maximum of nothing is replaced by, where rows may see no key: -inf - -inf is no number. */
template <int GUARD> __device__ inline float online_shift(float maximum)
{
    return GUARD && maximum == evo_minus_infinity() ? 0 : maximum;
}

/* Columns from limit[r] on are hidden from row g + 8r. */
template <int N> __device__ inline void online_mask(float (&score)[N], const int (&limit)[2])
{
    const int mine = threadIdx.x % 4 * 2;
#pragma unroll
    for (int i = 0; i < N; i++)
        if (i / 4 * 8 + i % 2 >= limit[i / 2 % 2] - mine)
            score[i] = evo_minus_infinity();
}

/* All lanes of a quad get what its four lanes have. The whole warp takes part, and says so. */
template <class Op> __device__ inline void online_share(float (&x)[2])
{
#pragma unroll
    for (int step = 2; step > 0; step /= 2)
#pragma unroll
        for (int r = 0; r < 2; r++)
            x[r] = Op::of(x[r], __shfl_xor_sync(0xffffffff, x[r], step));
}

/*
 * What the columns of a lane's two rows come to. A chain of dependent instructions takes four
 * cycles a link, and a warpgroup has only one warp on each scheduler to fill them: each row is
 * gathered in up to four chains at once.
 */
template <class Op, int N> __device__ inline void online_gather(const float (&x)[N], float (&row)[2])
{
    constexpr int CHAINS = N % 8 == 0 ? 4 : 2;
    float chain[2][CHAINS];
#pragma unroll
    for (int i = 0; i < N; i++) {
        float &link = chain[i / 2 % 2][(i / 4 * 2 + i % 2) % CHAINS];
        link = i < 2 * CHAINS ? x[i] : Op::of(link, x[i]);
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
        row[r] = Op::of(chain[r][0], chain[r][1]);
        if constexpr (CHAINS == 4)
            row[r] = Op::of(row[r], Op::of(chain[r][2], chain[r][3]));
    }
}

/*
 * Scores become weights, and are added to the sums. FIRST: nothing was gathered before; otherwise
 * the sums are put on the new scale, and whether the output has to follow (by `shrink`) is the
 * answer, the same in the whole warp. Of eight exponentials POLYNOMIALS take the FMA pipe.
 */
template <class Rescale, int FIRST, int GUARD, int POLYNOMIALS, int N>
__device__ inline bool online_weights(float (&score)[N], online_rows &rows, float factor,
                                      float (&shrink)[2])
{
    float peak[2], shift[2], sum[2];
    online_gather<max_of>(score, peak);
#pragma unroll
    for (int r = 0; r < 2; r++)
        peak[r] = FIRST ? peak[r] : fmaxf(peak[r], rows.maximum[r]);
    online_share<max_of>(peak);
#pragma unroll
    for (int r = 0; r < 2; r++) {
        if (!FIRST && Rescale::stays(rows.maximum[r], peak[r], factor))
            peak[r] = rows.maximum[r];
        shrink[r] = FIRST ? 0 : exp2_fast((rows.maximum[r] - online_shift<GUARD>(peak[r])) * factor);
        shift[r] = online_shift<GUARD>(peak[r]) * factor;
        rows.maximum[r] = peak[r];
    }
#pragma unroll
    for (int i = 0; i < N; i++) {
        const float x = score[i] * factor - shift[i / 2 % 2];
        score[i] = i % 8 < POLYNOMIALS ? exp2_polynomial(x) : exp2_fast(x);
    }
    online_gather<sum_of>(score, sum);
#pragma unroll
    for (int r = 0; r < 2; r++)
        rows.sum[r] = FIRST ? sum[r] : rows.sum[r] * shrink[r] + sum[r];
    return !FIRST &&
           (!Rescale::VOTES || __any_sync(0xffffffff, shrink[0] != 1 || shrink[1] != 1));
}

/* The rows' factors times what a lane holds of the rows. */
template <int N> __device__ inline void online_scale(float (&x)[N], const float (&factor)[2])
{
#pragma unroll
    for (int i = 0; i < N; i++)
        x[i] *= factor[i / 2 % 2];
}

/* Both, where the output is at hand. */
template <class Rescale, int FIRST, int GUARD, int POLYNOMIALS, int N, int M>
__device__ inline void online_softmax(float (&score)[N], float (&output)[M], online_rows &rows,
                                      float factor)
{
    float shrink[2];
    if (online_weights<Rescale, FIRST, GUARD, POLYNOMIALS>(score, rows, factor, shrink))
        online_scale(output, shrink);
}

/* The four lanes' parts of the sums, added up. */
__device__ inline void online_finish(online_rows &rows)
{
    online_share<sum_of>(rows.sum);
}

#endif
