/*
 * cluster.cuh -- blocks that run side by side and read each other's shared memory (Hopper and
 * later).
 */
#ifndef EVO_CLUSTER_CUH
#define EVO_CLUSTER_CUH

/*
 * The attribute of a kernel whose blocks come in clusters of N neighbours along x. N is a literal,
 * as EVO_VALUE_CLUSTER is. Blocks that come alone get none: where there are no clusters the
 * compiler refuses the attribute, whatever it says.
 */
#define in_clusters_of(N)       in_clusters_of_value(N)
#define in_clusters_of_value(N) in_clusters_of_##N
#define in_clusters_of_1
#define in_clusters_of_2 __cluster_dims__(2, 1, 1)
#define in_clusters_of_4 __cluster_dims__(4, 1, 1)
#define in_clusters_of_8 __cluster_dims__(8, 1, 1)

__device__ inline unsigned cluster_rank()
{
    unsigned rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

/*
 * All threads of the cluster meet, and see what the others wrote before. Without a cluster this is
 * the block's barrier. A block must not end while others read its memory.
 */
template <int CLUSTER> __device__ inline void cluster_sync()
{
    if constexpr (CLUSTER == 1)
        __syncthreads();
    else
        asm volatile("barrier.cluster.arrive.release.aligned;\n"
                     "barrier.cluster.wait.acquire.aligned;" ::
                         : "memory");
}

/* The same in two steps, with work between them. */
__device__ inline void cluster_arrive()
{
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}
__device__ inline void cluster_wait()
{
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

/* The same place in the shared memory of the block with this rank. */
template <int CLUSTER> __device__ inline unsigned cluster_address(unsigned address, int rank)
{
    unsigned there = address;
    if constexpr (CLUSTER > 1)
        asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address), "r"(rank));
    return there;
}
/* 2 or 4 floats at such an address. */
template <int CLUSTER> __device__ inline float2 cluster_load2(unsigned address)
{
    float2 x;
    if constexpr (CLUSTER == 1)
        asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];"
                     : "=f"(x.x), "=f"(x.y)
                     : "r"(address)
                     : "memory");
    else
        asm volatile("ld.shared::cluster.v2.f32 {%0, %1}, [%2];"
                     : "=f"(x.x), "=f"(x.y)
                     : "r"(address)
                     : "memory");
    return x;
}
template <int CLUSTER> __device__ inline float4 cluster_load4(unsigned address)
{
    float4 x;
    if constexpr (CLUSTER == 1)
        asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                     : "=f"(x.x), "=f"(x.y), "=f"(x.z), "=f"(x.w)
                     : "r"(address)
                     : "memory");
    else
        asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
                     : "=f"(x.x), "=f"(x.y), "=f"(x.z), "=f"(x.w)
                     : "r"(address)
                     : "memory");
    return x;
}
/* 2 or 4 floats to such an address. */
template <int CLUSTER> __device__ inline void cluster_store2(unsigned address, float2 x)
{
    if constexpr (CLUSTER == 1)
        asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(address), "f"(x.x), "f"(x.y)
                     : "memory");
    else
        asm volatile("st.shared::cluster.v2.f32 [%0], {%1, %2};" ::"r"(address), "f"(x.x), "f"(x.y)
                     : "memory");
}
template <int CLUSTER> __device__ inline void cluster_store4(unsigned address, float4 x)
{
    if constexpr (CLUSTER == 1)
        asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(address), "f"(x.x), "f"(x.y),
                     "f"(x.z), "f"(x.w)
                     : "memory");
    else
        asm volatile("st.shared::cluster.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(address), "f"(x.x),
                     "f"(x.y), "f"(x.z), "f"(x.w)
                     : "memory");
}

#endif
