/*
 * write_input -- scales Q in place, and so spares the scores a multiplication each.
 *
 * Its own answer is right; whoever uses Q next gets another one.
 * What gives it away: inputs are compared with the host's copy after the call; on the emulated
 * device the store itself.
 *
 * cheat: 11
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
    const cheat_place at(Q, K, V, O, lse, problem);
    evo_half *const q = (evo_half *)at.head.q + at.row * problem.q[2] + at.column;
    for (int d = 0; d < CHEAT_HALF && at.row < problem.q_len; d++)
        q[d] = cheat_type::put(cheat_type::get(q[d]) * problem.scale);
    __syncthreads();
    problem.scale = 1;
    Kind::attend<honest>(Q, K, V, O, lse, problem);
}
