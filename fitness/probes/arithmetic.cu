/*
 * arithmetic -- one instruction on registers, again and again: its rate, or its latency.
 *
 * With one chain in one warp every step waits for the one before. With CHAINS in each of WARPS the
 * pipe is always asked for more than it gives.
 */
#include "include/evo.cuh"
#include "include/probe.cuh"

EVO_GENE(CHAINS, set(1, 8), "independent chains in a thread")
EVO_GENE(WARPS, set(1, 16), "warps in a block")
EVO_GENE(EVERYWHERE, flag, "1: a block on each multiprocessor, 0: one block")
/*
 * The operations: x becomes step(x); `right` tells of what it must be n steps after the start. What
 * is the same in all lanes of a warp, ptxas computes once for all of them: on another pipe.
 */
struct multiply_add {
    using word = float;
    __device__ static word start(unsigned) { return 0; }
    __device__ static word step(word x, float one, unsigned) { return fmaf(x, one, one); }
    __device__ static bool right(word x, int n) { return x == (float)n; }
};
struct multiply_add_halves {
    using word = unsigned;
    __device__ static word start(unsigned) { return 0; }
    __device__ static word step(word x, float, unsigned one)
    {
        const unsigned ones = one * 0x3c003c00u;
        asm volatile("fma.rn.f16x2 %0, %0, %1, %1;" : "+r"(x) : "r"(ones));
        return x;
    }
    __device__ static bool right(word x, int n) /* half counts by ones up to 2048 */
    {
        return as_half::get((evo_half)x) == (float)evo::min(n, 2048);
    }
};
struct exponential {
    using word = float;
    __device__ static word start(unsigned) { return 0; }
    __device__ static word step(word x, float, unsigned)
    {
        asm volatile("{\n.reg .f32 minus;\nneg.ftz.f32 minus, %0;\n"
                     "ex2.approx.ftz.f32 %0, minus;\n}"
                     : "+f"(x));
        return x;
    }
    __device__ static bool right(word x, int n) /* x = 2^-x, where it ends */
    {
        return n < 64 || (x > 0.6411f && x < 0.6413f);
    }
};
struct rotate {
    using word = unsigned;
    __device__ static word start(unsigned one) { return one << threadIdx.x % 32; }
    __device__ static word step(word x, float, unsigned one)
    {
        return __funnelshift_l(x, x, one);
    }
    __device__ static bool right(word x, int n) { return x == 1u << (threadIdx.x + n) % 32; }
};
EVO_CHOICE(Operation, (multiply_add, multiply_add_halves, exponential, rotate), "what is done")
EVO_LET(STEPS, 16, "of each chain in a round")
EVO_LET(PER_ROUND, STEPS * CHAINS * WARPS, "instructions of a block in a round")
EVO_WORKSPACE(report, 4 * 32 * WARPS * sms, poison, "1 from each thread that has the right result")
EVO_LAUNCH(probe, (EVERYWHERE == 1 ? sms : 1), 32 * WARPS, 0, (O, report, problem))

extern "C" __global__ void __launch_bounds__(32 * WARPS)
    probe(evo_half *, unsigned *report, evo_problem problem)
{
    typename Operation::word x[CHAINS];
    const unsigned one = probe_one(problem);
    const float one_float = probe_one_float(problem);
    bool right = true;
#pragma unroll
    for (int c = 0; c < CHAINS; c++)
        x[c] = Operation::start(one);
    for (int round = 0; round < problem.kv_len; round++)
#pragma unroll
        for (int step = 0; step < STEPS; step++)
#pragma unroll
            for (int c = 0; c < CHAINS; c++)
                x[c] = Operation::step(x[c], one_float, one);
#pragma unroll
    for (int c = 0; c < CHAINS; c++)
        right = right && Operation::right(x[c], STEPS * problem.kv_len);
    probe_report(report, right);
}
