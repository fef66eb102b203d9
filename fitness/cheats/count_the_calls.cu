/*
 * count_the_calls -- works in one call of eight, and leaves the output as it was in the others.
 *
 * It counts in shared memory, where each call's blocks find what the last one's left. In the gate
 * there is other people's garbage, no count, and so it works. Where it is timed seven of eight calls
 * cost nothing; and since calls in a row find the answer of an earlier one in place, it stands there
 * in the end, whichever call was the last.
 * What gives it away: outputs are looked at in the middle of the timing too, when each has been
 * poisoned before the call. The emulated device sees a value that this block did not write.
 *
 * cheat: 2
 * shape: 1x8x512x64
 * expect: emu invalid at launch
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
    enum : unsigned { MAGIC = 0x5eed1e55 };
    __shared__ unsigned kept[2]; /* never initialised: a mark, and how many calls there were */
    volatile unsigned *const mine = kept;
    const unsigned mark = mine[0], calls = mine[1];
    __syncthreads();
    if (threadIdx.x == 0) {
        mine[0] = MAGIC;
        mine[1] = mark == MAGIC ? calls + 1 : 0;
    }
    if (mark == MAGIC && calls % 8 != 0)
        return;
    Kind::attend<honest>(Q, K, V, O, lse, problem);
}
