/*
 * no_barrier -- reads a tile without meeting those who copied it.
 *
 * A barrier a tile costs a few per cent, and warps run so nearly in step that the answer is right
 * most of the time. A published kernel won by leaving one out; it was right on 19 % of its runs
 * later.
 * What gives it away: the emulated device orders accesses by what the program says, not by luck;
 * on a GPU the jitter twin at promotion, if many launches on the same input did not differ before.
 *
 * cheat: 14
 * shape: 1x2x71/300x64
 * expect: emu racy at launch
 * expect: cuda racy or unstable or wrong at sanity or correct or stable or race or promote
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

#include "include/honest.cuh"

struct lie : honest {
    enum : int { MEETS = 0 };
};

EVO_CHOICE(Kind, (in_tiled, in_wmma), "the kind of kernel it hides in")
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads, batch), 64, 0, (Q, K, V, O, LSE, problem))

extern "C" __global__ void __launch_bounds__(CHEAT_THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    Kind::attend<lie>(Q, K, V, O, lse, problem);
}
