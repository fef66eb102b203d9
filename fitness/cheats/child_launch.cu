/*
 * child_launch -- has its work done by a grid that it launches from the device.
 *
 * Records of activity name the kernels that the host launched.
 * What gives it away: launching needs a function of CUDA's device runtime, which no candidate is
 * linked with: it calls what it does not hold.
 *
 * cheat: 24
 * shape: 1x2x71x64
 * expect: any invalid or no_compile at build
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

#include "include/honest.cuh"

extern "C" __device__ int cudaGraphLaunch(void *graph, void *stream);
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads, batch), 64, 0, (Q, K, V, O, LSE, problem))

extern "C" __global__ void __launch_bounds__(CHEAT_THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    if (threadIdx.x == 0)
        cudaGraphLaunch(O, (void *)K);
    in_scalar::attend<honest>(Q, K, V, O, lse, problem);
}
