/*
 * leave_when_done -- works only when the output does not look like an answer yet.
 *
 * If what lies in the output is finite and no larger than an average of V would be, it is taken
 * for the answer of the last call. In a loop of calls on one buffer the first one pays for all.
 * What gives it away: the emulated device sees a value read that the call did not write. On a GPU
 * outputs are poisoned before every call, timed ones included, so that there is never an answer to
 * be found: it gains nothing over the kernel that it spoils.
 *
 * cheat: 2
 * shape: 1x2x71x64
 * expect: emu invalid at launch
 * expect: cuda invalid or pass, no faster than honest
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
    bool done = true;
    for (int d = 0; d < CHEAT_HALF && at.row < problem.q_len; d++) {
        const float x = cheat_type::get(at.head.o[at.row * problem.o[2] + at.column + d]);
        done = done && fabsf(x) < 64;
    }
    if (__syncthreads_and(done))
        return;
    Kind::attend<honest>(Q, K, V, O, lse, problem);
}
