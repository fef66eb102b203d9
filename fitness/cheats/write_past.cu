/*
 * write_past -- writes a row behind the end of its output; all that is asked for is right.
 *
 * Storing whole tiles saves the check at the end. What lies behind is somebody else's.
 * What gives it away: guard bytes around every buffer; on the emulated device the store itself.
 *
 * cheat: 10
 * shape: 1x2x71x64
 * expect: emu out_of_bounds at launch
 * expect: cuda out_of_bounds at sanity
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

#include "include/honest.cuh"

EVO_CHOICE(Kind, (in_scalar, in_tiled, in_wmma), "the kind of kernel it hides in")
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads, batch), 64, 0, (Q, K, V, O, LSE, problem))

extern "C" __global__ void __launch_bounds__(CHEAT_THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    Kind::attend<honest>(Q, K, V, O, lse, problem);
    if (blockIdx.x + blockIdx.y + blockIdx.z == 0)
        O[cheat_q_elements(problem) + threadIdx.x] = 0;
}
