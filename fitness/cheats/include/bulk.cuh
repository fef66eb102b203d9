/*
 * bulk.cuh -- an honest kernel whose tiles come by bulk copies, a row each, that tell an mbarrier.
 *
 * One thread asks for all of a tile's rows; whoever reads them waits for the mbarrier of its place.
 * Where there are no bulk copies (before architecture 90) it is the honest kernel as it is.
 */
#ifndef EVO_BULK_CUH
#define EVO_BULK_CUH

#include "honest.cuh"
#include "mbarrier.cuh"

struct by_bulk : honest {
#if __CUDA_ARCH__ >= 900
    /* The mbarrier of a tile's place. */
    __device__ static unsigned told(int step)
    {
        __shared__ __align__(8) unsigned long long places[2];
        return shared_address(&places[step % 2]);
    }
    __device__ static void row(evo_half *to, const evo_half *from, unsigned barrier)
    {
        asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
                     "[%0], [%1], %2, [%3];" ::"r"(shared_address(to)),
                     "l"(from), "r"(HEAD_DIM * 2), "r"(barrier)
                     : "memory");
    }
    template <class Tiles>
    __device__ static void fetch(Tiles &tiles, const attention_head &head, const evo_problem &p,
                                 int step, int first)
    {
        evo_half *const keys = tiles.keys[step % 2], *const values = tiles.values[step % 2];
        const int rows = min(CHEAT_TILE, p.kv_len - first);
        if (step == 0) {
            if (threadIdx.x == 0) {
                mbarrier_init(told(0), 1);
                mbarrier_init(told(1), 1);
                mbarrier_publish();
            }
            __syncthreads();
        }
        for (int i = rows * CHEAT_PITCH + threadIdx.x; i < CHEAT_TILE * CHEAT_PITCH; i += CHEAT_THREADS)
            keys[i] = values[i] = 0; /* there are no such keys */
        if (threadIdx.x == 0) {
            mbarrier_expect(told(step), rows * HEAD_DIM * 4);
            for (int i = 0; i < rows; i++) {
                row(keys + i * CHEAT_PITCH, head.k + (first + i) * p.k[2], told(step));
                row(values + i * CHEAT_PITCH, head.v + (first + i) * p.v[2], told(step));
            }
        }
    }
    __device__ static void await(int step, int) { mbarrier_wait<1>(told(step), step / 2 % 2); }
#endif
};

#endif
