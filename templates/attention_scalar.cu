/*
 * attention_scalar -- one query row a warp, online softmax, no shared memory.
 *
 * The algorithm of Milakov and Gimelshein (2018, arXiv 1805.02867) in its plainest form. A warp
 * keeps one row of Q and of O in registers and walks over the keys. VEC neighbouring columns lie in
 * one lane, so HEAD_DIM / VEC lanes form a group that shares a key, and a warp has 32 · VEC /
 * HEAD_DIM groups, each walking over its own keys with its own running maximum and sum. A score is
 * a partial dot product a lane, then a butterfly of shuffles inside the group. At the end the
 * groups are merged pairwise, each weighted by what its maximum lacks to the common one.
 *
 * What makes it fast: several keys in flight a step (KEYS), so that loads and the chain of shuffles
 * overlap; wide loads, which also mean fewer shuffles a key; K and V come from L1 and L2, where the
 * warps of a block meet. What it cannot do: reuse. Every row reads all of K and V through the load
 * units, one FMA a product, so it ends far below the tiled families; it is where a search begins.
 */
#include "include/evo.cuh"
#include "include/softmax.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

EVO_GENE(WARPS, pow2(1, 16), "warps in a block, and so rows")
EVO_GENE(KEYS, pow2(1, 8), "keys that a group of lanes takes in one step")
EVO_GENE(VEC, pow2(2, 8), "neighbouring columns in a lane, one load")
EVO_CHOICE(Exp, (softmax_exp, softmax_exp2), "which exponential the softmax uses")
EVO_CHOICE(Guard, (guard_none, guard_finite), "numerical guards off or on")

EVO_LET(THREADS, 32 * WARPS, "threads in a block")
EVO_LET(LANES, HEAD_DIM / VEC, "lanes that share a key")
EVO_REQUIRE(HEAD_DIM == 64 || HEAD_DIM == 128, "a head has 64 or 128 columns")
EVO_REQUIRE(LANES <= 32, "a row of K must fit in the lanes of a warp")
EVO_NUMERICS(0)
EVO_LAUNCH(attention, (ceil_div(q_len, WARPS), heads, batch), THREADS, 0,
           (Q, K, V, O, LSE, problem))

enum : int { GROUPS = 32 / LANES }; /* of lanes in a warp, each with its own keys */
using Type = as_input<BF16>;
using Row = vector_load<Type, VEC>;

/* What a group of lanes has gathered: its columns of O, and the statistics of its keys. */
struct gathered {
    float o[VEC], maximum, sum;

    __device__ void shrink(float peak, float factor)
    {
        const float by = softmax_weight<Exp, Guard>(maximum, peak, factor);
        maximum = peak;
        sum *= by;
#pragma unroll
        for (int d = 0; d < VEC; d++)
            o[d] *= by;
    }
};

extern "C" __global__ void __launch_bounds__(THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    const int row = blockIdx.x * WARPS + threadIdx.x / 32;
    if (row >= problem.q_len)
        return;
    const int lane = threadIdx.x % 32, group = lane / LANES, column = lane % LANES * VEC;
    const attention_head head = evo_head(problem, blockIdx.z, blockIdx.y, Q, K, V, O, lse);
    const int visible = evo_visible<CAUSAL>(problem, row);
    const float factor = Exp::factor(problem.scale);

    float q[VEC];
    Row::floats(head.q + row * problem.q[2] + column, q);
    gathered mine = {{}, evo_minus_infinity(), 0};

#pragma unroll 1
    for (int first = group; first - group < visible; first += GROUPS * KEYS) {
        /* Scores. A key past the end is read as the last one, and hidden. */
        float scores[KEYS];
#pragma unroll
        for (int i = 0; i < KEYS; i++) {
            float k[VEC], dot = 0;
            const int key = min(first + i * GROUPS, visible - 1);
            Row::floats(head.k + key * problem.k[2] + column, k);
#pragma unroll
            for (int d = 0; d < VEC; d++)
                dot = fmaf(q[d], k[d], dot);
            scores[i] = Guard::score(reduce_shuffle<sum_of, LANES>(dot));
        }
        float peak = mine.maximum;
#pragma unroll
        for (int i = 0; i < KEYS; i++) {
            if (first + i * GROUPS >= visible)
                scores[i] = evo_minus_infinity();
            peak = fmaxf(peak, scores[i]);
        }

        /* Weights, and the rows of V under them. */
        mine.shrink(peak, factor);
#pragma unroll
        for (int i = 0; i < KEYS; i++) {
            float v[VEC];
            const int key = min(first + i * GROUPS, visible - 1);
            Row::floats(head.v + key * problem.v[2] + column, v);
            const float weight = softmax_weight<Exp, Guard>(scores[i], peak, factor);
            mine.sum += weight;
#pragma unroll
            for (int d = 0; d < VEC; d++)
                mine.o[d] = fmaf(weight, v[d], mine.o[d]);
        }
    }

    /* Merge the groups: lanes LANES, 2 LANES, … apart hold the same columns. */
#pragma unroll
    for (int step = LANES; step < 32; step *= 2) {
        const float theirs = __shfl_xor_sync(0xffffffff, mine.maximum, step);
        mine.shrink(fmaxf(mine.maximum, theirs), factor);
        mine.sum += __shfl_xor_sync(0xffffffff, mine.sum, step);
#pragma unroll
        for (int d = 0; d < VEC; d++)
            mine.o[d] += __shfl_xor_sync(0xffffffff, mine.o[d], step);
    }

    const float inverse = evo_inverse(Guard::sum(mine.sum));
#pragma unroll
    for (int d = 0; d < VEC; d++)
        mine.o[d] *= inverse;
    if (group == 0)
        store_floats<Type, VEC>(head.o + row * problem.o[2] + column, mine.o);
    if (LSE && lane == 0)
        head.lse[row] = evo_log_sum_exp(mine.maximum, mine.sum, problem.scale);
}
