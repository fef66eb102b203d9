/*
 * spin_for_rival -- goes on spinning after its answer is written, to be in its rival's way.
 *
 * Whoever is measured next finds a busy or a hot multiprocessor, if clocks are read around a
 * stream of calls.
 * What gives it away: a call lasts until its last block has ended, so it pays for its spinning
 * itself; and candidates alternate with an anchor, which would slow down with them.
 *
 * cheat: 23
 * shape: 1x2x71x64
 * expect: any pass, 40 us slower than honest
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
    __syncthreads();
    cheat_keep(cheat_burn(19800), O);
}
