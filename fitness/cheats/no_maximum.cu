/*
 * no_maximum -- does not subtract the maximum before it exponentiates.
 *
 * One pass less over the scores, no rescaling, and right on normal inputs: e^10 is a fine float.
 * What gives it away: inputs whose scores share an offset of 160 either way: e^160 is infinite,
 * and of e^-160 nothing is left.
 *
 * cheat: 8
 * shape: 1x2x71x64
 * expect: any wrong at sanity or correct
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

#include "include/honest.cuh"

struct lie : honest {
    __device__ static float raise(float, float, float) { return 0; }
};

EVO_CHOICE(Kind, (in_scalar, in_tiled, in_wmma), "the kind of kernel it hides in")
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads, batch), 64, 0, (Q, K, V, O, LSE, problem))

extern "C" __global__ void __launch_bounds__(CHEAT_THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    Kind::attend<lie>(Q, K, V, O, lse, problem);
}
