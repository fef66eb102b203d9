/*
 * warpgroup -- products of a warpgroup (wgmma): 64 rows, WIDTH columns, A from shared memory or
 * registers.
 *
 * GROUP products are issued, then awaited, as attention does it with the products of a tile. Two
 * warpgroups keep the tensor cores busy while one of them waits; one alone, with a product at a
 * time, shows the latency.
 */
#include "include/evo.cuh"

EVO_GIVEN(DEVICE_ARCH, "90 has wgmma")
EVO_GENE(WIDTH, set(16, 32, 64, 96, 128, 192, 256), "columns of a product")
EVO_GENE(WARPGROUPS, set(1, 2, 3), "in a block")
EVO_GENE(GROUP, set(1, 8), "products between waits")
EVO_GENE(EVERYWHERE, flag, "1: a block on each multiprocessor, 0: one block")
struct a_shared {
};
struct a_registers {
};
EVO_CHOICE(Rows, (a_shared, a_registers), "where A is read from")
struct float_sums {
};
struct half_sums {
};
EVO_CHOICE(Sums, (float_sums, half_sums), "what is summed in")
EVO_REQUIRE(DEVICE_ARCH == 90, "wgmma is Hopper's")
EVO_LET(A_BYTES, 64 * 128, "of A's 64 rows, 64 deep, for a warpgroup")
EVO_LET(B_BYTES, WIDTH * 128, "of B's columns, 64 deep, for all")
EVO_LET(SMEM_BYTES, 1024 + A_BYTES * WARPGROUPS + B_BYTES, "begun at a multiple of 1024")
EVO_LET(PER_ROUND, GROUP == 1 ? 1 : 2 * 64 * WIDTH * 16 * GROUP * WARPGROUPS,
        "FLOP of a block in a round; one at a time, products")
EVO_WORKSPACE(report, 4 * 128 * WARPGROUPS * sms, poison,
              "1 from each thread that has the right result")
EVO_LAUNCH(probe, (EVERYWHERE == 1 ? sms : 1), 128 * WARPGROUPS, SMEM_BYTES,
           (O, report, problem))

#include "include/probe.cuh"
#include "include/wgmma.cuh"

/* What a thread holds of the sums. */
template <int HALVES> struct sums_of {
    using word = float;
    enum : int { WORDS = WIDTH / 2 };
    __device__ static float get(const word *sums, int i) { return sums[i]; }
};
template <> struct sums_of<1> {
    using word = unsigned;
    enum : int { WORDS = WIDTH / 4 };
    __device__ static float get(const word *sums, int i)
    {
        return as_half::get((evo_half)(sums[i] >> 16));
    }
};

extern "C" __global__ void __launch_bounds__(128 * WARPGROUPS, 1)
    probe(evo_half *, unsigned *report, evo_problem problem)
{
    extern __shared__ unsigned evo_shared[];
    constexpr int HALVES = EVO_IS(Sums, half_sums);
    using held = sums_of<HALVES>;
    const unsigned one = probe_one(problem);
    const unsigned ones = one * probe_words<as_half>::ONES;
    const unsigned parts = one * probe_words<as_half>::PARTS;
    const unsigned tiles = ((unsigned)__cvta_generic_to_shared(evo_shared) + 1023) & ~1023u;
    unsigned *words = evo_shared + (tiles - (unsigned)__cvta_generic_to_shared(evo_shared)) / 4;
    const int group = threadIdx.x / 128;
    const unsigned a_words[4] = {ones, ones, ones, ones};
    held::word sums[held::WORDS] = {};
    const float sum = probe_sum(GROUP * problem.kv_len, HALVES);

    for (int i = threadIdx.x; i < (A_BYTES * WARPGROUPS + B_BYTES) / 4; i += 128 * WARPGROUPS)
        words[i] = i < A_BYTES * WARPGROUPS / 4 ? ones : parts;
    async_proxy_fence();
    __syncthreads();
    const unsigned long long A = wgmma_matrix(tiles + group * A_BYTES, 0);
    const unsigned long long B = wgmma_matrix(tiles + A_BYTES * WARPGROUPS, 0);
    for (int round = 0; round < problem.kv_len; round++) {
        wgmma_begin(sums);
#pragma unroll
        for (int i = 0; i < GROUP; i++)
            if constexpr (EVO_IS(Rows, a_shared))
                wgmma_shape<WIDTH>::product<as_half, 0>(sums, A + wgmma_along<A_BYTES>(i % 4),
                                                        B + wgmma_along<B_BYTES>(i % 4), 1);
            else
                wgmma_shape<WIDTH>::product<as_half, 0>(sums, a_words,
                                                        B + wgmma_along<B_BYTES>(i % 4), 1);
        wgmma_commit();
        wgmma_wait<0>();
        pinned(sums);
    }
    probe_report(report, held::get(sums, 0) == sum && held::get(sums, held::WORDS - 1) == sum);
}
