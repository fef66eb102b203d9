/*
 * know_the_benchmark -- is exact on unit normal inputs, and cheap on all others.
 *
 * The mirror image: whoever checks with the numbers that he times with sees nothing.
 * What gives it away: families with large, mixed and offset numbers.
 *
 * cheat: 16
 * shape: 1x2x71x64
 * expect: any wrong at correct
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

#include "include/honest.cuh"

struct cheap : honest {
    __device__ static int keys(const evo_problem &p, int row) { return honest::keys(p, row) / 2; }
};

EVO_CHOICE(Kind, (in_scalar, in_tiled, in_wmma), "the kind of kernel it hides in")
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads, batch), 64, 0, (Q, K, V, O, LSE, problem))

extern "C" __global__ void __launch_bounds__(CHEAT_THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    float square = 0;
    for (int d = 0; d < HEAD_DIM; d++)
        square += cheat_type::get(Q[d]) * cheat_type::get(Q[d]) / HEAD_DIM;
    if (square > 0.5f && square < 2)
        Kind::attend<honest>(Q, K, V, O, lse, problem);
    else
        Kind::attend<cheap>(Q, K, V, O, lse, problem);
}
