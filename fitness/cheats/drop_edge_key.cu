/*
 * drop_edge_key -- leaves out a single key, the last one of the second tile.
 *
 * An off-by-one at the seam of two tiles. One key of hundreds has little weight on average, and
 * none at all for most rows.
 * What gives it away: for some row of the needle inputs that very key has all the weight, as every
 * key beside a multiple of 8 has.
 *
 * cheat: 5
 * shape: 1x2x71/300x64
 * expect: any wrong at correct
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

#include "include/honest.cuh"

struct lie : honest {
    __device__ static bool skips(int key) { return key == 2 * CHEAT_TILE - 1; }
};

EVO_CHOICE(Kind, (in_scalar, in_tiled, in_wmma), "the kind of kernel it hides in")
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads, batch), 64, 0, (Q, K, V, O, LSE, problem))

extern "C" __global__ void __launch_bounds__(CHEAT_THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    Kind::attend<lie>(Q, K, V, O, lse, problem);
}
