/*
 * honest_bulk -- correct, with tiles that come by bulk copies and tell an mbarrier.
 *
 * control: correct
 * shape: 1x2x71/300x64
 * expect: any pass
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

#include "include/bulk.cuh"

EVO_CHOICE(Kind, (in_tiled, in_wmma), "the kind of kernel it is")
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads, batch), 64, 0, (Q, K, V, O, LSE, problem))

extern "C" __global__ void __launch_bounds__(CHEAT_THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    Kind::attend<by_bulk>(Q, K, V, O, lse, problem);
}
