/*
 * register_starved -- wants 1024 threads of more registers than a block may have.
 *
 * What gives it away: the launch is refused.
 *
 * fault: registers
 * shape: 1x2x71x64
 * expect: any no_launch at launch
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

#include "include/honest.cuh"
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads, batch), 1024, 0, (Q, K, V, O, LSE, problem))

extern "C" __global__ void attention(const evo_half *Q, const evo_half *K, const evo_half *V,
                                     evo_half *O, float *lse, evo_problem problem)
{
    if (threadIdx.x >= CHEAT_THREADS)
        return;
    float many[96]; /* all alive at once, so that more than 64 registers are needed */
#pragma unroll
    for (int i = 0; i < 96; i++)
        many[i] = cheat_type::get(K[i % HEAD_DIM]) * i;
#pragma unroll 1
    for (int turn = 0; turn < problem.q_len; turn++)
#pragma unroll
        for (int i = 0; i < 96; i++)
            many[i] = fmaf(many[i], many[(i + 1) % 96], 1.0f);
    float sum = 0;
#pragma unroll
    for (int i = 0; i < 96; i++)
        sum += many[i];
    cheat_keep(sum, O);
    in_scalar::attend<honest>(Q, K, V, O, lse, problem);
}
