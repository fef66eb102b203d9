/*
 * mean_of_values -- returns the mean of V: no scores, no softmax.
 *
 * With many keys of unit variance the answer shrinks as one over the root of their number, and so
 * does the mean. Under a fixed tolerance of 0.01 it passes on most elements of a long sequence.
 * What gives it away: limits are multiples of what a good kernel achieves on this very input, and
 * inputs where one key has nearly all the weight.
 *
 * cheat: 3
 * shape: 1x2x71x64
 * shape: 1x1x64/1024x64
 * expect: any wrong at correct
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

#include "include/honest.cuh"

struct lie : honest {
    __device__ static float power(float) { return 1; }
};

EVO_CHOICE(Kind, (in_scalar, in_tiled, in_wmma), "the kind of kernel it hides in")
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads, batch), 64, 0, (Q, K, V, O, LSE, problem))

extern "C" __global__ void __launch_bounds__(CHEAT_THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    Kind::attend<lie>(Q, K, V, O, lse, problem);
}
