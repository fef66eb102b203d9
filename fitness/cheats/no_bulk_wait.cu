/*
 * no_bulk_wait -- asks for its tiles by bulk copies, and reads them without asking their mbarrier.
 *
 * A bulk copy is a single instruction for a whole row, and nobody's register waits for it. It was
 * asked for a tile ago, and so is always there.
 * What gives it away: as for a wait that is missing; in the twin of a module in which nothing waits
 * for an mbarrier such copies do not come at all.
 *
 * cheat: 15
 * shape: 1x2x71/300x64
 * expect: emu racy or invalid at launch
 * expect: cuda racy or unstable or wrong or crash at sanity or correct or stable or race or promote
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

#include "include/bulk.cuh"

struct lie : by_bulk {
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
