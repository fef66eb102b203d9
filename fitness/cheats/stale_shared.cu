/*
 * stale_shared -- trusts that the block before it left the first tile in shared memory.
 *
 * Only the first block of a head copies it. With one head, and blocks that follow each other on a
 * multiprocessor, the memory does hold what is needed, and a quarter of the copies is saved.
 * What gives it away: the shared memory of every multiprocessor is overwritten before a call; on
 * the emulated device, a value that this block did not write.
 *
 * cheat: 13
 * shape: 1x1x200/96x64
 * expect: emu invalid at launch
 * expect: cuda wrong at sanity or correct
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

#include "include/honest.cuh"

struct lie : honest {
    __device__ static bool copies(int step) { return step > 0 || blockIdx.x == 0; }
};

EVO_CHOICE(Kind, (in_tiled, in_wmma), "the kind of kernel it hides in")
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads, batch), 64, 0, (Q, K, V, O, LSE, problem))

extern "C" __global__ void __launch_bounds__(CHEAT_THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    Kind::attend<lie>(Q, K, V, O, lse, problem);
}
