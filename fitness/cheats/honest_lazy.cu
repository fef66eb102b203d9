/*
 * honest_lazy -- correct, with a maximum that is raised only when it has to be.
 *
 * A row goes on with its old maximum until a score is 2^8 times as heavy: weights may then exceed
 * 1, and the output is rescaled rarely.
 *
 * control: correct with lazy rescaling
 * shape: 1x2x71/300x64
 * expect: any pass
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

#include "include/honest.cuh"

struct lie : honest {
    __device__ static float raise(float maximum, float score, float factor)
    {
        return (score - maximum) * factor > 8 ? score : maximum;
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
