/*
 * decline_shape -- supports the shapes that are checked, and declines the one that is timed.
 *
 * What gives it away: a shape of the workload that is declined is a verdict, and there is no score
 * without a time for every shape.
 *
 * cheat: 20
 * shape: 1x2x128x64
 * expect: any unsupported at plan
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

#include "include/honest.cuh"

EVO_SUPPORTS(q_len < 128, "short sequences only")
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads, batch), 64, 0, (Q, K, V, O, LSE, problem))

extern "C" __global__ void __launch_bounds__(CHEAT_THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    in_scalar::attend<honest>(Q, K, V, O, lse, problem);
}
