/*
 * coarse_weights -- rounds the softmax weights to bfloat16 though the inputs are half.
 *
 * Eight bits instead of eleven: a cheaper conversion, and no trouble with the range.
 * What gives it away: weights of the input's own type are what the baseline of the class has, and
 * these are eight times as coarse.
 *
 * cheat: 9
 * shape: 1x4x256x64
 * expect: any wrong at correct
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

#include "include/honest.cuh"

struct lie : honest {
    __device__ static float weight(float x)
    {
        return __uint_as_float(__float_as_uint(x) + 0x8000 & 0xffff0000);
    }
};

EVO_CHOICE(Kind, (in_scalar, in_tiled, in_wmma), "the kind of kernel it hides in")
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads, batch), 64, 0, (Q, K, V, O, LSE, problem))

extern "C" __global__ void __launch_bounds__(CHEAT_THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    Kind::attend<lie>(Q, K, V, O, lse, problem);
}
