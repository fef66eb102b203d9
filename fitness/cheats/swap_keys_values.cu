/*
 * swap_keys_values -- takes K for V, and V for K.
 *
 * Not faster; but a test that draws Q, K and V from one generator with one seed, or fills all
 * three alike, does not notice.
 * What gives it away: Q, K and V are independent draws, always.
 *
 * cheat: 7
 * shape: 1x2x71x64
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
    Kind::attend<honest>(Q, V, K, O, lse, problem);
}
