/*
 * half_sums -- adds up in FP16 and calls it FP32.
 *
 * Half the registers and twice the rate. Errors grow by two digits, and a tolerance that is
 * generous to FP32 kernels lets it through.
 * What gives it away: the numerics class that a family declares decides which baseline its error
 * is measured against, and FP16 sums are several times worse than FP32 ones at their worst.
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

__device__ inline float to_half(float x) { return __half2float(__float2half_rn(x)); }
struct half_scores : honest {
    __device__ static float score(float x) { return to_half(x); }
    using score_type = as_half;
};
struct half_output : honest {
    __device__ static float sum(float x) { return to_half(x); }
    using sum_type = as_half;
};
struct half_both : half_scores {
    __device__ static float sum(float x) { return to_half(x); }
    using sum_type = as_half;
};

EVO_CHOICE(Kind, (in_scalar, in_tiled, in_wmma), "the kind of kernel it hides in")
EVO_CHOICE(Lie, (half_both, half_scores, half_output), "which of the two products")
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads, batch), 64, 0, (Q, K, V, O, LSE, problem))

extern "C" __global__ void __launch_bounds__(CHEAT_THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    Kind::attend<Lie>(Q, K, V, O, lse, problem);
}
