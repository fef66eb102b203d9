/*
 * persist_in_l2 -- asks the L2 to keep K and V for the samples that follow.
 *
 * With inputs that never change, every sample but the first finds them there.
 * What gives it away: buffers rotate from sample to sample, and where caches are to be cold,
 * persisting lines are reset: it is right, and no faster than the kernel without the hint.
 *
 * cheat: 21
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
    const int thread = (blockIdx.y * gridDim.x + blockIdx.x) * CHEAT_THREADS + threadIdx.x;
    for (long long i = thread * 64; i < cheat_k_elements(problem);
         i += 64 * CHEAT_THREADS * gridDim.x * gridDim.y) {
        asm volatile("prefetch.global.L2::evict_last [%0];" ::"l"(K + i));
        asm volatile("prefetch.global.L2::evict_last [%0];" ::"l"(V + i));
    }
    Kind::attend<honest>(Q, K, V, O, lse, problem);
}
