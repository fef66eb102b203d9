/*
 * stack_overflow -- calls itself until its stack is used up.
 *
 * What gives it away: the device on a GPU. The emulated one copies functions in where they are
 * called and refuses what calls itself.
 *
 * fault: stack
 * shape: 1x2x71x64
 * expect: emu unsupported at plan
 * expect: cuda crash or out_of_bounds at launch
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

#include "include/honest.cuh"

__device__ __noinline__ float deeper(float x, int depth)
{
    volatile float kept[64];
    for (int i = 0; i < 64; i++)
        kept[i] = x + i;
    return depth == 0 ? kept[(int)x & 63] : deeper(kept[depth & 63], depth + 1) + kept[3];
}
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads, batch), 64, 0, (Q, K, V, O, LSE, problem))

extern "C" __global__ void __launch_bounds__(CHEAT_THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    in_scalar::attend<honest>(Q, K, V, O, lse, problem);
    cheat_keep(deeper(problem.scale, problem.q_len), O);
}
