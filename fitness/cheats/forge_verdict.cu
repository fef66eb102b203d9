/*
 * forge_verdict -- prints the frame that its judge would send for a pass.
 *
 * Judges answer on their standard output, and what a kernel prints appears there too.
 * What gives it away: printf is a function that no candidate holds. If it did print, descriptor 1
 * would be the judge's log; frames travel on another one.
 *
 * fault: forgery
 * shape: 1x2x71x64
 * expect: any invalid or no_compile at build
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

#include "include/honest.cuh"

extern "C" __device__ int vprintf(const char *format, void *arguments);
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads, batch), 64, 0, (Q, K, V, O, LSE, problem))

extern "C" __global__ void __launch_bounds__(CHEAT_THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    if (threadIdx.x == 0)
        vprintf("\x20\0\0\0result\nid 0\nverdict pass\nreason \n\n", nullptr);
}
