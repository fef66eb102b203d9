/*
 * tma.cuh -- tiles by the tensor memory accelerator.
 *
 * One thread asks for a box of a tensor; the copy engine computes the addresses, fetches, swizzles,
 * and counts its bytes on an mbarrier. Rows outside of the tensor come as zeros and are not stored,
 * so no tile has a ragged case. Registers and issue slots are not involved: the reason for Hopper's
 * kernels to keep a warp for nothing but asking.
 *
 * All tiles are panels: 64 columns of 16 bits are 128 bytes, a row of the 128-byte swizzle, which
 * puts the 16-byte piece p of row r at piece p ^ (r % 8). Eight rows then touch all banks once
 * whether they are read along or across. A tile of 128 columns is two panels, one behind the other,
 * and every panel starts at a multiple of 1024 bytes, the pattern's period.
 */
#ifndef EVO_TMA_CUH
#define EVO_TMA_CUH

#include "mbarrier.cuh"

/* Where a box begins. */
struct tma_corner {
    int column, row, head, batch;
};

/*
 * How long the second-level cache is asked to keep what passes. The values are the ones that
 * createpolicy makes for all of an access (fraction 1).
 */
struct cache_unhinted {
    enum : int { HINTS = 0 };
    __device__ static unsigned long long once() { return 0; }
    __device__ static unsigned long long often() { return 0; }
};
struct cache_hinted {
    enum : int { HINTS = 1 };
    /* Q and O pass once; K and V are read by every block of their head. */
    __device__ static unsigned long long once() { return 0x12f0000000000000; }  /* evict_first */
    __device__ static unsigned long long often() { return 0x14f0000000000000; } /* evict_last */
};

/* The map's own 128 bytes are fetched through a cache: ahead of the first copy that needs them. */
__device__ inline void tma_prefetch_map(const evo_tensor_map &map)
{
    asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

/*
 * A box to shared memory; its bytes are counted by the mbarrier `full`. In a cluster it goes to the
 * same place in every block, and is counted by the mbarrier at the same place in each. By one
 * thread.
 */
template <class Cache, int CLUSTER>
__device__ inline void tma_load(unsigned to, const evo_tensor_map &map, tma_corner from,
                                unsigned full, unsigned long long policy)
{
#define TMA_LOAD(qualifiers, operands, ...)                                                        \
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile"                             \
                 ".mbarrier::complete_tx::bytes" qualifiers                                        \
                 " [%0], [%1, {%3, %4, %5, %6}], [%2]" operands ";" ::"r"(to),                     \
                 "l"(&map), "r"(full), "r"(from.column), "r"(from.row), "r"(from.head),            \
                 "r"(from.batch), ##__VA_ARGS__                                                    \
                 : "memory")
    constexpr short ALL = (1 << CLUSTER) - 1;
    if constexpr (CLUSTER > 1 && Cache::HINTS)
        TMA_LOAD(".multicast::cluster.L2::cache_hint", ", %7, %8", "h"(ALL), "l"(policy));
    else if constexpr (CLUSTER > 1)
        TMA_LOAD(".multicast::cluster", ", %7", "h"(ALL));
    else if constexpr (Cache::HINTS)
        TMA_LOAD(".L2::cache_hint", ", %7", "l"(policy));
    else
        TMA_LOAD("", "");
#undef TMA_LOAD
}

/* A box from shared memory. It is read after tma_stores_read, written at the end of the kernel. */
__device__ inline void tma_store(const evo_tensor_map &map, tma_corner to, unsigned from)
{
    asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group"
                 " [%0, {%2, %3, %4, %5}], [%1];" ::"l"(&map),
                 "r"(from), "r"(to.column), "r"(to.row), "r"(to.head), "r"(to.batch)
                 : "memory");
}
__device__ inline void tma_store_commit()
{
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}
/* Until this thread's stores have read shared memory, which may then be written again. */
__device__ inline void tma_stores_read()
{
    asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
}

/*
 * wgmma and the copy engine read shared memory behind the ordinary loads and stores ("the
 * asynchronous proxy"): who stored something there for them says so, then lets them begin.
 */
__device__ inline void async_proxy_fence()
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

#endif
