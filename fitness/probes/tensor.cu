/*
 * tensor -- products of a warp on the tensor cores, from registers: mma.sync and wmma.
 *
 * One chain of sums in one warp shows the latency of a product that waits for the one before.
 */
#include "include/evo.cuh"
#include "include/mma.cuh"
#include "include/probe.cuh"
#include "include/wmma.cuh"

EVO_GENE(CHAINS, set(1, 8), "independent sums in a warp")
EVO_GENE(WARPS, set(1, 8, 16), "warps in a block")
EVO_GENE(EVERYWHERE, flag, "1: a block on each multiprocessor, 0: one block")
/* 16x8 sums of 16 products, as PTX has them. */
template <class Type, class Sum> struct by_mma {
    enum : int { COLUMNS = 8, HALVES = evo::same<Sum, as_half>::value };
    typename mma_sum<Sum>::word c[mma_sum<Sum>::WORDS] = {};
    __device__ void step(unsigned one)
    {
        const unsigned a = one * probe_words<Type>::ONES, b = one * probe_words<Type>::PARTS;
        const unsigned A[4] = {a, a, a, a};
        mma<Type>(c, A, b, b);
    }
    __device__ bool right(float sum) const
    {
        return mma_sum<Sum>::get(c, 0) == sum && mma_sum<Sum>::get(c, 3) == sum;
    }
};
/* 16x16 sums of 16 products, through the WMMA interface. */
template <class Sum> struct by_wmma {
    using sum_element = fragment_element<Sum>;
    enum : int { COLUMNS = 16, HALVES = evo::same<Sum, as_half>::value };
    nvcuda::wmma::fragment<nvcuda::wmma::accumulator, 16, 16, 16, sum_element> c;
    __device__ by_wmma() { nvcuda::wmma::fill_fragment(c, (sum_element)0.0f); }
    __device__ void step(unsigned one)
    {
        using namespace nvcuda::wmma;
        fragment<matrix_a, 16, 16, 16, __half, row_major> a;
        fragment<matrix_b, 16, 16, 16, __half, col_major> b;
        fill_fragment(a, __ushort_as_half((unsigned short)(one * 0x3c00u)));
        fill_fragment(b, __ushort_as_half((unsigned short)(one * 0x2400u)));
        mma_sync(c, a, b, c);
    }
    __device__ bool right(float sum) const
    {
        return (float)c.x[0] == sum && (float)c.x[c.num_elements - 1] == sum;
    }
};
struct mma_half : by_mma<as_half, as_float> {
};
struct mma_bfloat16 : by_mma<as_bfloat16, as_float> {
};
struct mma_half_sums : by_mma<as_half, as_half> {
};
struct wmma_half : by_wmma<as_float> {
};
struct wmma_half_sums : by_wmma<as_half> {
};
EVO_CHOICE(Product, (mma_half, mma_bfloat16, mma_half_sums, wmma_half, wmma_half_sums),
           "the instruction")
EVO_LET(STEPS, 8, "of each chain in a round")
EVO_LET(COLUMNS, EVO_IS(Product, wmma_half) + EVO_IS(Product, wmma_half_sums) == 1 ? 16 : 8,
        "of a product")
EVO_LET(PER_ROUND, (CHAINS == 1 ? 1 : 2 * 16 * 16 * COLUMNS) * STEPS * CHAINS * WARPS,
        "FLOP of a block in a round; of one chain, products")
EVO_WORKSPACE(report, 4 * 32 * WARPS * sms, poison, "1 from each thread that has the right result")
EVO_LAUNCH(probe, (EVERYWHERE == 1 ? sms : 1), 32 * WARPS, 0, (O, report, problem))

extern "C" __global__ void __launch_bounds__(32 * WARPS)
    probe(evo_half *, unsigned *report, evo_problem problem)
{
    static_assert(Product::COLUMNS == COLUMNS, "the work is told right");
    Product sums[CHAINS];
    const unsigned one = probe_one(problem);
    const float sum = probe_sum(STEPS * problem.kv_len, Product::HALVES);
    bool right = true;
    for (int round = 0; round < problem.kv_len; round++)
#pragma unroll
        for (int step = 0; step < STEPS; step++)
#pragma unroll
            for (int c = 0; c < CHAINS; c++)
                sums[c].step(one);
#pragma unroll
    for (int c = 0; c < CHAINS; c++)
        right = right && sums[c].right(sum);
    probe_report(report, right);
}
