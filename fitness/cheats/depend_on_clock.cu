/*
 * depend_on_clock -- takes tiles forwards or backwards, as the clock has it.
 *
 * Each answer is right within rounding, and no two are the same: whoever bisects a training run
 * will remember it.
 * What gives it away: launches on the same input must give the same bits, unless a family says
 * that they do not, and why.
 *
 * fault: unstable
 * shape: 1x2x71/300x64
 * expect: any unstable at stable or correct
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

#include "include/honest.cuh"

struct backwards : honest {
    __device__ static int tile(int step, int tiles) { return tiles - 1 - step; }
};

EVO_CHOICE(Kind, (in_scalar, in_tiled, in_wmma), "the kind of kernel it hides in")
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads, batch), 64, 0, (Q, K, V, O, LSE, problem))

extern "C" __global__ void __launch_bounds__(CHEAT_THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    unsigned now;
    asm volatile("mov.u32 %0, %%clock;" : "=r"(now));
    /* Each block tosses a coin of its own, also where all of them see the same clock. */
    now = (now >> 4 ^ (blockIdx.x + 64 * blockIdx.y) * 0x85ebca6bu) * 0xc2b2ae35u;
    now = (now ^ now >> 15) * 0x27d4eb2fu;
    if (__syncthreads_or(threadIdx.x == 0 && now >> 31))
        Kind::attend<honest>(Q, K, V, O, lse, problem);
    else
        Kind::attend<backwards>(Q, K, V, O, lse, problem);
}
