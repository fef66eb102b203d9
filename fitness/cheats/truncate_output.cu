/*
 * truncate_output -- cuts the output off instead of rounding it.
 *
 * Packing two results by shifts costs less than converting them.
 * What gives it away: where one key has all the weight a good kernel is exact, and this one is off
 * by up to one step of the type, always towards zero.
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
    __device__ static float output(float x)
    {
        return __uint_as_float(__float_as_uint(x) & 0xffffe000); /* the ten bits of a half */
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
