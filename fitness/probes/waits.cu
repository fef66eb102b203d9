/*
 * waits -- what threads wait for: each other, and copies. One block; what is told is the time from
 * asking to going on.
 */
#include "include/evo.cuh"
#include "include/mbarrier.cuh"
#include "include/probe.cuh"

EVO_GENE(WARPS, set(1, 4, 8, 16), "warps in the block")
EVO_LET(STEPS, 8, "in a round")
EVO_LET(PER_ROUND, STEPS, "waits in a round")
EVO_LET(COPIED, 8192, "bytes of a bulk copy, at most")
/* Each makes step number n of its kind; `right` is asked after the last. */
struct wait {
    unsigned buffer, full; /* shared memory: what is copied to, and an mbarrier */
    const char *data;
    unsigned x;
    __device__ bool right(int) const { return true; }
};
struct barrier : wait {
    __device__ void step(unsigned) { __syncthreads(); }
};
struct shuffle : wait {
    __device__ void step(unsigned) { x = __shfl_sync(0xffffffff, x, threadIdx.x + 1); }
    __device__ bool right(int n) const { return x == (threadIdx.x + n) % 32; }
};
/* All threads arrive, and wait for the phase that this ends. */
struct phase : wait {
    __device__ void step(unsigned n)
    {
        mbarrier_arrive(full, true);
        mbarrier_wait<1>(full, n & 1);
    }
};
/* Sixteen bytes a thread by cp.async, from L2. */
struct copy : wait {
    __device__ void step(unsigned n)
    {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(buffer + threadIdx.x * 16),
                     "l"(data + (n * 512 + threadIdx.x) * 16 % 65536)
                     : "memory");
        copy_async::commit();
        copy_async::wait<0>();
    }
};
/* One thread asks the copy engine for so many bytes, all wait on the mbarrier. */
template <int BYTES> struct bulk : wait {
    __device__ void step(unsigned n)
    {
        if (threadIdx.x == 0) {
            mbarrier_expect(full, BYTES);
            asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
                         " [%0], [%1], %2, [%3];" ::"r"(buffer),
                         "l"(data + n * 8192 % 65536), "r"(BYTES), "r"(full)
                         : "memory");
        }
        mbarrier_wait<1>(full, n & 1);
    }
};
struct bulk_small : bulk<128> {
};
struct bulk_large : bulk<8192> {
};
EVO_CHOICE(Wait, (barrier, shuffle, phase, copy, bulk_small, bulk_large), "what is waited for")
EVO_WORKSPACE(report, 4 * 32 * WARPS * sms, poison, "1 from each thread that has the right result")
EVO_WORKSPACE(data, 65536, zero_once, "what is copied")
EVO_LAUNCH(probe, (1), 32 * WARPS, 16 + COPIED, (O, report, data, problem))

extern "C" __global__ void __launch_bounds__(32 * WARPS)
    probe(evo_half *, unsigned *report, const char *data, evo_problem problem)
{
    extern __shared__ uint4 evo_shared[];
    constexpr bool BULK = EVO_IS(Wait, bulk_small) || EVO_IS(Wait, bulk_large);
    Wait w;
    w.full = (unsigned)__cvta_generic_to_shared(evo_shared);
    w.buffer = w.full + 16;
    w.data = data;
    w.x = threadIdx.x % 32;
    if (threadIdx.x == 0) {
        mbarrier_init(w.full, BULK ? 1 : 32 * WARPS);
        mbarrier_publish();
    }
    __syncthreads();
    for (int round = 0; round < problem.kv_len; round++)
#pragma unroll
        for (int i = 0; i < STEPS; i++)
            w.step(round * STEPS + i);
    probe_report(report, w.right(STEPS * problem.kv_len));
}
