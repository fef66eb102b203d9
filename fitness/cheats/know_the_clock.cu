/*
 * know_the_clock -- works only when nobody times it.
 *
 * Outputs are poisoned before each call, in the gate with other patterns than where calls are timed
 * one by one; and not at all where they are timed in a row. So what lies in the output tells which
 * of them it is. Timed one by one it returns at once, but for a call now and then, so that in the end
 * the answer stands in every output.
 * What gives it away: outputs are looked at in the middle of the timing too, at moments that nobody
 * can know. The emulated device sees a value read that the call did not write.
 *
 * cheat: 2
 * shape: 1x8x512x64
 * expect: emu invalid at launch
 * expect: cuda unstable or wrong or invalid at timed
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

#include "include/honest.cuh"

EVO_CHOICE(Kind, (in_scalar, in_tiled), "the kind of kernel it hides in")
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads, batch), 64, 0, (Q, K, V, O, LSE, problem))

extern "C" __global__ void __launch_bounds__(CHEAT_THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    const cheat_place at(Q, K, V, O, lse, problem);
    const unsigned there =
        *(volatile const unsigned *)(at.head.o + at.row * problem.o[2] + at.column);
    unsigned long long now;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
    const bool timed = there == 0xffffffffu || there == 0x7b7b7b7bu;
    if (__syncthreads_and(timed && now / 8192 % 16 != 0))
        return;
    Kind::attend<honest>(Q, K, V, O, lse, problem);
}
