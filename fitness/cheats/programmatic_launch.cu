/*
 * programmatic_launch -- lets the next kernel start before its own work is done.
 *
 * Between the kernels of one call this is good practice. At the end of a call it hides work behind
 * whatever comes next, another sample say, whose time it then is not.
 * What gives it away: evo makes the launches, and none may overlap its successor in another call.
 * The instruction does nothing, and the time is that of the whole kernel.
 *
 * cheat: 24
 * shape: 1x2x71x64
 * expect: any pass, no faster than honest
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
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
    Kind::attend<honest>(Q, K, V, O, lse, problem);
}
