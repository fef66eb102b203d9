/*
 * drop_tail -- takes whole tiles only, and so forgets the ragged end of the keys.
 *
 * No bounds to check in the inner loop, and right on every length that the benchmark has.
 * What gives it away: lengths that no tile divides, and inputs whose answer hangs on the last key.
 *
 * cheat: 4
 * shape: 1x2x64/71x64
 * expect: any wrong at correct or sanity
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

#include "include/honest.cuh"

struct lie : honest {
    __device__ static int keys(const evo_problem &p, int row)
    {
        return honest::keys(p, row) / CHEAT_TILE * CHEAT_TILE;
    }
};

EVO_CHOICE(Kind, (in_scalar, in_tiled, in_wmma), "the kind of kernel it hides in")
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads, batch), 64, 0, (Q, K, V, O, LSE, problem))

extern "C" __global__ void __launch_bounds__(CHEAT_THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    Kind::attend<lie>(Q, K, V, O, lse, problem);
}
