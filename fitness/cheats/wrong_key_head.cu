/*
 * wrong_key_head -- deals key heads out in turn instead of in groups.
 *
 * Right wherever every query head has a key head of its own.
 * What gives it away: a shape with fewer key heads than query heads.
 *
 * fault: grouped heads
 * shape: 1x4/2x71x64
 * expect: any wrong at correct
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

#include "include/honest.cuh"

EVO_CHOICE(Kind, (in_scalar, in_tiled, in_wmma), "the kind of kernel it hides in")
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads, batch), 64, 0, (Q, K, V, O, LSE, problem))

extern "C" __global__ void __launch_bounds__(CHEAT_THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    const int mine = blockIdx.y % problem.kv_heads;
    const int off = mine - (int)blockIdx.y / (problem.heads / problem.kv_heads);
    Kind::attend<honest>(Q, K + off * problem.k[1], V + off * problem.v[1], O, lse, problem);
}
