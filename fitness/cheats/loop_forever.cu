/*
 * loop_forever -- never ends.
 *
 * It does not look fast; it stops the search for good, if nobody ends it.
 * What gives it away: a deadline. On a GPU the judge is killed and started again; the emulated
 * device counts what a block does.
 *
 * cheat: 18
 * shape: 1x2x71x64
 * expect: emu timeout at launch
 * expect: cuda timeout at deadline
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
    while (clock64() != -1) /* a loop that reads nothing is taken for one that ends, and left out */
        ;
    in_scalar::attend<honest>(Q, K, V, O, lse, problem);
}
