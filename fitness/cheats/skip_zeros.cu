/*
 * skip_zeros -- does no work for rows of zeros, and gives zeros for them.
 *
 * A benchmark on memory that was never filled is done in no time.
 * What gives it away: inputs are drawn, so that there is nothing to skip when it is timed; and a
 * row of Q that is zero weighs all keys alike: its answer is the mean of V, which the inputs ask
 * for.
 *
 * cheat: 17
 * shape: 1x2x71x64
 * expect: any wrong at correct
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
    const bool exists = at.row < problem.q_len;
    bool zero = exists;
    for (int d = 0; d < CHEAT_HALF && exists; d++)
        zero = zero && (at.head.q[at.row * problem.q[2] + at.column + d] & 0x7fff) == 0;
    zero = __shfl_xor_sync(0xffffffff, zero, 1) && zero; /* both halves of the row */
    if (!__syncthreads_and(zero || !exists))
        Kind::attend<honest>(Q, K, V, O, lse, problem);
    __syncthreads();
    for (int d = 0; d < CHEAT_HALF && zero; d++)
        at.head.o[at.row * problem.o[2] + at.column + d] = 0;
}
