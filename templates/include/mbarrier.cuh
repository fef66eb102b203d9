/*
 * mbarrier.cuh -- who waits for whom when copies arrive by themselves: mbarriers, rings of tiles,
 * named barriers.
 *
 * An mbarrier is 8 bytes of shared memory that count arrivals, and bytes that the copy engine still
 * owes. When both counts reach zero a phase ends, the next begins, and everybody who waits for the
 * parity of the ended one goes on. The running phase of a fresh mbarrier has parity 0: waiting for
 * 1 returns at once, waiting for 0 waits for the first end.
 */
#ifndef EVO_MBARRIER_CUH
#define EVO_MBARRIER_CUH

#include "cluster.cuh"
#include "copy.cuh"

__device__ inline void mbarrier_init(unsigned at, int arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(at), "r"(arrivals) : "memory");
}

/*
 * By the thread that initialised, before the block (or cluster) meets: the copy engine and other
 * blocks of the cluster do not see initialisations otherwise.
 */
__device__ inline void mbarrier_publish()
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

/* One arrival, and the promise of so many bytes by the copy engine. */
__device__ inline void mbarrier_expect(unsigned at, int bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(at), "r"(bytes)
                 : "memory");
}

/* One arrival of each thread, by itself when all cp.async that the thread began before have landed. */
__device__ inline void mbarrier_arrive_landed(unsigned at)
{
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(at) : "memory");
}

/* One arrival by the threads that say so. Predicated, so that a warp stays together for wgmma. */
__device__ inline void mbarrier_arrive(unsigned at, bool mine)
{
    asm volatile("{\n"
                 ".reg .pred mine;\n"
                 "setp.ne.u32 mine, %1, 0;\n"
                 "@mine mbarrier.arrive.shared::cta.b64 _, [%0];\n"
                 "}" ::"r"(at),
                 "r"((unsigned)mine)
                 : "memory");
}

/* The same at a cluster_address: releases what was done before to the other block. */
__device__ inline void mbarrier_arrive_there(unsigned at, bool mine)
{
    asm volatile("{\n"
                 ".reg .pred mine;\n"
                 "setp.ne.u32 mine, %1, 0;\n"
                 "@mine mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];\n"
                 "}" ::"r"(at),
                 "r"((unsigned)mine)
                 : "memory");
}

/*
 * The same from one whose reads are over, and who wrote nothing that the other block should see.
 * A release to the cluster waits until all of the warp's writes have reached L2 (MEMBAR.GPU), and
 * an acquire from it empties L1: for every tile, about as long as the tile's products take.
 */
__device__ inline void mbarrier_return_there(unsigned at, bool mine)
{
    asm volatile("{\n"
                 ".reg .pred mine;\n"
                 "setp.ne.u32 mine, %1, 0;\n"
                 "@mine mbarrier.arrive.shared::cluster.b64 _, [%0];\n"
                 "}" ::"r"(at),
                 "r"((unsigned)mine)
                 : "memory");
}

/*
 * Until the phase of this parity has ended. try_wait suspends the thread for a while in hardware,
 * so the loop is no spinning. A cluster's barrier acquires what the other block released.
 */
template <int CLUSTER> __device__ inline void mbarrier_wait(unsigned at, unsigned parity)
{
    if constexpr (CLUSTER > 1)
        asm volatile(
            "{\n"
            ".reg .pred ended;\n"
            "again: mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 ended, [%0], %1;\n"
            "@!ended bra again;\n"
            "}" ::"r"(at),
            "r"(parity)
            : "memory");
    else
        asm volatile("{\n"
                     ".reg .pred ended;\n"
                     "again: mbarrier.try_wait.parity.shared::cta.b64 ended, [%0], %1;\n"
                     "@!ended bra again;\n"
                     "}" ::"r"(at),
                     "r"(parity)
                     : "memory");
}

/*
 * A ring of STAGES tiles between who fills them and who uses them: two mbarriers a tile, `full` and
 * `empty`, 16 bytes in all. Each side has a ring of its own and walks around it by itself; parity
 * turns at the end of every round.
 *
 *     filler   await_empty, expect, copies to full(), advance
 *     user     await_full, …, release (as often as init was told), advance
 */
template <int STAGES, int CLUSTER> struct tile_ring {
    unsigned at; /* of the mbarriers: all `full` first, then all `empty` */
    int stage = 0;
    unsigned parity = 0;

    enum : int { BYTES = 16 * STAGES };

    __device__ explicit tile_ring(unsigned barriers) : at(barriers) {}
    __device__ unsigned full() const { return at + 8 * stage; }
    __device__ unsigned empty() const { return at + 8 * (STAGES + stage); }

    __device__ void init(int fillers, int users) const
    {
        for (int i = 0; i < STAGES; i++) {
            mbarrier_init(at + 8 * i, fillers);
            mbarrier_init(at + 8 * (STAGES + i), users);
        }
    }
    __device__ void advance()
    {
        if (++stage == STAGES) {
            stage = 0;
            parity ^= 1;
        }
    }
    /* In the first round every tile is empty: the phase "before" the first one counts as ended. */
    __device__ void await_empty() const { mbarrier_wait<1>(empty(), parity ^ 1); }
    __device__ void await_full() const { mbarrier_wait<1>(full(), parity); }
    /*
     * Who fills a tile for the whole cluster waits for the users in all of its blocks. Users are
     * wgmma that have been waited for, and the copy engine writes: no thread's store is between.
     */
    __device__ void release(bool mine) const
    {
        if constexpr (CLUSTER > 1) {
#pragma unroll
            for (int rank = 0; rank < CLUSTER; rank++)
                mbarrier_return_there(cluster_address<CLUSTER>(empty(), rank), mine);
        } else {
            mbarrier_arrive(empty(), mine);
        }
    }
};

/*
 * Named barriers hand turns from one group of warps to another: who waits and who passes add up to
 * `threads`. Barrier 0 is __syncthreads.
 */
__device__ inline void named_barrier_wait(int id, int threads)
{
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ inline void named_barrier_pass(int id, int threads)
{
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

#endif
