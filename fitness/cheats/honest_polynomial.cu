/*
 * honest_polynomial -- correct, with an exponential of its own.
 *
 * 2^x as a polynomial of the fraction, its exponent set by an addition: no special function unit.
 *
 * control: correct with another exponential
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
    __device__ static float power(float x)
    {
        x = fmaxf(x, -126);
        const float whole = floorf(x), f = x - whole;
        float y = 1.8775767e-3f;
        y = fmaf(y, f, 8.9893397e-3f);
        y = fmaf(y, f, 5.5826318e-2f);
        y = fmaf(y, f, 2.4015361e-1f);
        y = fmaf(y, f, 6.9315308e-1f);
        y = fmaf(y, f, 9.9999994e-1f);
        return __int_as_float(__float_as_int(y) + ((int)whole << 23));
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
