/*
 * leave_output -- returns at once: the output still holds the right answer of the last run.
 *
 * Where a benchmark checks the output of a good kernel and then times another one on the same
 * buffer, the one that does nothing passes, in the time of an empty launch.
 * What gives it away: before every call the output is poisoned, and no element may still be
 * poison.
 *
 * cheat: 2
 * shape: 1x2x71x64
 * expect: any wrong at sanity
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

#include "include/honest.cuh"
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads, batch), 64, 0, (Q, K, V, O, LSE, problem))

extern "C" __global__ void __launch_bounds__(CHEAT_THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    if (problem.q_len < 0)
        in_scalar::attend<honest>(Q, K, V, O, lse, problem);
}
