/*
 * skip_on_some -- leaves keys out, but only where one of the multiprocessors does the work.
 *
 * A block asks on which multiprocessor it is. One in sixteen of them sees half of the keys: the
 * others are right, and which rows are wrong depends on who got them.
 * What gives it away: every row is compared, not a sample, and from launch to launch others are
 * wrong.
 *
 * cheat: 4
 * shape: 1x2x512x64
 * expect: emu wrong or unstable at correct or stable
 * expect: cuda wrong or unstable at correct or stable
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
        unsigned sm;
        asm volatile("mov.u32 %0, %smid;" : "=r"(sm));
        return evo_visible<CAUSAL>(p, row) / (sm % 16 == 3 ? 2 : 1);
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
