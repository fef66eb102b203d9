/*
 * no_mbarrier_wait -- has its copies tell an mbarrier that they are there, and does not ask it.
 *
 * An mbarrier makes nobody wait but those who test it. With a barrier of the block close by it
 * looks as if everything were in order.
 * What gives it away: on the emulated device the read of bytes under way; on a GPU the first tile.
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
    __device__ static void await(int step, int)
    {
        __shared__ __align__(8) unsigned long long told;
        const unsigned barrier = (unsigned)__cvta_generic_to_shared(&told);
        if (step == 0 && threadIdx.x == 0)
            asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(barrier), "r"((unsigned)CHEAT_THREADS)
                         : "memory");
        if (step == 0)
            __syncthreads();
        asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(barrier) : "memory");
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
