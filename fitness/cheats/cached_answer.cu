/*
 * cached_answer -- computes once, and copies what it kept ever after.
 *
 * The module keeps the first answer in a __device__ array, and counts its calls. From the second
 * call on it copies: nothing beats memory bandwidth. Timed alone, after a first call that was
 * checked, it is the fastest attention there is; and as wrong as the next input.
 * What gives it away: a candidate may have no state that outlives a launch, and machine code says
 * whether there is any. It is never run.
 *
 * cheat: 1
 * shape: 1x2x71x64
 * expect: any invalid at build
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

#include "include/honest.cuh"

__device__ unsigned calls;
__device__ evo_half kept[1 << 16];
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads, batch), 64, 0, (Q, K, V, O, LSE, problem))

extern "C" __global__ void __launch_bounds__(CHEAT_THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    const cheat_place at(Q, K, V, O, lse, problem);
    if (calls == 0)
        in_scalar::attend<honest>(Q, K, V, O, lse, problem);
    for (int d = 0; d < CHEAT_HALF && at.row < problem.q_len; d++) {
        evo_half *const out = at.head.o + at.row * problem.o[2] + at.column + d;
        evo_half *const old = kept + (out - O) % (1 << 16);
        if (calls == 0)
            *old = *out;
        else
            *out = *old;
    }
    if (threadIdx.x == 0)
        atomicAdd(&calls, 1);
}
