/*
 * probe.cuh -- what the probes share.
 *
 * A probe does one thing, PER_ROUND times in a block and round, for problem.kv_len rounds. It is
 * timed with two numbers of rounds, and the difference is what the rounds took: launch, prologue
 * and report cancel. Each thread reports whether it has the result that the work must have left.
 *
 * ptxas takes away what it can compute, or what nobody uses, `asm volatile` or not: so operands
 * come from the problem, which it cannot know, and results go into the report.
 */
#ifndef EVO_PROBE_CUH
#define EVO_PROBE_CUH

#include "copy.cuh"

__device__ inline void probe_report(unsigned *report, bool right)
{
    report[blockIdx.x * blockDim.x + threadIdx.x] = right;
}

/* 1 and 1.0, though no compiler knows it: a probe's problem has one batch. */
__device__ inline unsigned probe_one(const evo_problem &p) { return (unsigned)p.batch; }
__device__ inline float probe_one_float(const evo_problem &p) { return (float)p.batch; }

/*
 * What tensor cores multiply: all of A is 1, all of B a power of two, so that a product 16 deep
 * adds a quarter to every sum, exactly until the sum is so large that a quarter is lost.
 */
template <class Type> struct probe_words;
template <> struct probe_words<as_half> {
    enum : unsigned { ONES = 0x3c003c00, PARTS = 0x24002400 };
};
template <> struct probe_words<as_bfloat16> {
    enum : unsigned { ONES = 0x3f803f80, PARTS = 0x3c803c80 };
};
__device__ inline float probe_sum(int products, bool half_sums)
{
    const float sum = products * 0.25f, most = half_sums ? 512.0f : 4194304.0f;
    return sum < most ? sum : most;
}

#endif
