/*
 * read_past -- reads a row behind the end of K, and does not use it.
 *
 * The load of the next key is issued before the loop knows whether there is one: one branch less.
 * Most of the time the memory behind belongs to the same process.
 * What gives it away: the emulated device, where whatever is to be promoted is run too. A GPU does
 * not notice as long as the page is there.
 *
 * cheat: 12
 * shape: 1x2x71x64
 * expect: emu out_of_bounds at launch
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
    const evo_half *const behind = K + cheat_k_elements(problem);
    unsigned next = behind[threadIdx.x];
    cheat_keep(__uint_as_float(next), O);
}
