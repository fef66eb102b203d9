/*
 * misaligned -- reads sixteen bytes at an address that is no multiple of sixteen.
 *
 * What gives it away: the device, as for an illegal address.
 *
 * cheat: 19
 * shape: 1x2x71x64
 * expect: any out_of_bounds at launch
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
    in_scalar::attend<honest>(Q, K, V, O, lse, problem);
    const uint4 word = *(const uint4 *)(K + 3);
    cheat_keep(__uint_as_float(word.x ^ word.y ^ word.z ^ word.w), O);
}
