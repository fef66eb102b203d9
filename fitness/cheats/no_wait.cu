/*
 * no_wait -- reads a tile before its asynchronous copy has arrived.
 *
 * Waiting is what an asynchronous copy is for, and what it costs. The first tiles arrive too late,
 * the others mostly in time.
 * What gives it away: as for a missing barrier, and on a GPU mostly the reference already; where
 * the hardware is always in time, the twin, whose copies come as late as they may.
 *
 * cheat: 15
 * shape: 1x2x71/300x64
 * expect: emu racy or invalid at launch
 * expect: cuda racy or unstable or wrong at sanity or correct or stable or race or promote
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

#include "include/honest.cuh"

struct lie : honest {
    __device__ static void await(int, int) {}
};

EVO_CHOICE(Kind, (in_tiled, in_wmma), "the kind of kernel it hides in")
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads, batch), 64, 0, (Q, K, V, O, LSE, problem))

extern "C" __global__ void __launch_bounds__(CHEAT_THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    Kind::attend<lie>(Q, K, V, O, lse, problem);
}
