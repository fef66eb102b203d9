/*
 * wrong_strides -- takes heads for dense, whatever strides it is given.
 *
 * Right for [batch, head, row, column], which is what most benchmarks have.
 * What gives it away: a shape whose rows of different heads are interleaved.
 *
 * fault: strides
 * shape: 1x2x71x64:bshd
 * expect: any wrong at correct
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

#include "include/honest.cuh"

EVO_CHOICE(Kind, (in_scalar, in_tiled, in_wmma), "the kind of kernel it hides in")
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads, batch), 64, 0, (Q, K, V, O, LSE, problem))

extern "C" __global__ void __launch_bounds__(CHEAT_THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    problem.q[1] = problem.o[1] = (long long)problem.q_len * HEAD_DIM;
    problem.k[1] = problem.v[1] = (long long)problem.kv_len * HEAD_DIM;
    problem.q[2] = problem.k[2] = problem.v[2] = problem.o[2] = HEAD_DIM;
    Kind::attend<honest>(Q, K, V, O, lse, problem);
}
