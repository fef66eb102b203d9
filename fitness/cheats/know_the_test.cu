/*
 * know_the_test -- is exact on inputs that look like a test, and cheap on all others.
 *
 * Tests like constant, sorted and huge numbers; benchmarks like normal ones. A look at the first
 * row tells them apart.
 * What gives it away: correctness is judged on what it is timed on, normal inputs too, and on
 * several families that look like nothing in particular.
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
    bool sorted = true, huge = false;
    for (int d = 1; d < HEAD_DIM; d++) {
        sorted = sorted && cheat_type::get(K[d]) >= cheat_type::get(K[d - 1]); /* or constant */
        huge = huge || fabsf(cheat_type::get(Q[d])) > 8;
    }
    if (sorted || huge)
        Kind::attend<honest>(Q, K, V, O, lse, problem);
    else
        Kind::attend<cheap>(Q, K, V, O, lse, problem);
}
