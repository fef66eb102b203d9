/*
 * no_last_wait -- waits for all tiles but the last.
 *
 * The last turn of a pipelined loop is often written by hand: no more copies to ask for, and so, it
 * seems, nothing to wait for. Its copies had a whole tile's time.
 * What gives it away: as for a wait that is missing; the first tiles show nothing.
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
    __device__ static void await(int step, int count)
    {
        if (step + 1 < count)
            copy_async::wait<1>();
    }
};

EVO_CHOICE(Kind, (in_tiled, in_wmma), "the kind of kernel it hides in")
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads, batch), 64, 0, (Q, K, V, O, LSE, problem))

extern "C" __global__ void __launch_bounds__(CHEAT_THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    Kind::attend<lie>(Q, K, V, O, lse, problem);
}
