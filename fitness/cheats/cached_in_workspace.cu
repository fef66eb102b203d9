/*
 * cached_in_workspace -- keeps its answer in the memory that it was lent.
 *
 * A workspace that is zeroed once is meant for counters and locks, which a call leaves as it found
 * them. This one leaves its answer there and a mark beside it, and copies from the second call on.
 * What gives it away: such a workspace is read back after each call, and must be zero.
 *
 * cheat: 1
 * shape: 1x2x71x64
 * expect: any invalid at launch
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

#include "include/honest.cuh"

EVO_WORKSPACE(kept, 2 * batch * heads * q_len * 64 + 4 * batch * heads * ceil_div(q_len, 32),
              zero_once, "what it must not keep: the answer, and a mark for each block")
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads, batch), 64, 0, (Q, K, V, O, LSE, kept, problem))

extern "C" __global__ void __launch_bounds__(CHEAT_THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_half *kept, evo_problem problem)
{
        int *const marks = (int *)(kept + cheat_q_elements(problem));
    int *const mark = marks + (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    const cheat_place at(Q, K, V, O, lse, problem);
    const bool known = *mark == 1;
    if (!known)
        in_scalar::attend<honest>(Q, K, V, O, lse, problem);
    for (int d = 0; d < CHEAT_HALF && at.row < problem.q_len; d++) {
        evo_half *const out = at.head.o + at.row * problem.o[2] + at.column + d;
        if (known)
            *out = kept[out - O];
        else
            kept[out - O] = *out;
    }
    __syncthreads();
    if (threadIdx.x == 0)
        *mark = 1;
}
