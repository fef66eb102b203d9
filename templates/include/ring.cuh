/*
 * ring.cuh -- tiles of K and V on their way: in which order they set out, and who waits for what.
 *
 * cp.async counts in groups: a thread waits until at most n of the last groups it committed are
 * still on their way. So every fetch commits its groups whether there is a tile left to fetch or
 * not, and the counts below are constants. What the set's other threads copied is there after the
 * barrier behind their waits; and that barrier says as well that all have read what they worked on
 * before it, so its place may be filled again.
 *
 * A ring has keys(j) and values(j), which fetch K and V of the j-th tile in PARTS groups each, and
 * sync(), the barrier of those who share it. The first part of the first tile is waited for by
 * begin(), but the barrier behind it is the caller's, because Q may have come along with it.
 */
#ifndef EVO_RING_CUH
#define EVO_RING_CUH

#include "copy.cuh"

/*
 * V is waited for when it is needed, after the scores: two barriers a tile. The ring is filled as
 * far as it goes before anything is waited for, in the order in which it will be wanted; then the
 * place of V is filled again when the next tile's keys have come, and that of K when the values
 * have. With a single stage this is the schedule of FlashAttention-2.
 */
struct arrive_apart {
    template <int STAGES, int PARTS> struct schedule {
        enum : int { BEHIND = PARTS * (2 * STAGES - 1) }; /* groups behind a tile's K, or V */

        template <class Ring> __device__ static void begin(const Ring &ring)
        {
#pragma unroll 1
            for (int j = 0; j < STAGES; j++) {
                ring.keys(j);
                ring.values(j);
            }
            copy_async::wait<BEHIND + PARTS - 1>();
        }
        template <int PART, class Ring> __device__ static void keys(const Ring &ring, int j)
        {
            arrive<PART>(ring);
            if (PART == 0)
                ring.values(j - 1 + STAGES);
        }
        template <int PART, class Ring> __device__ static void values(const Ring &ring, int j)
        {
            arrive<PART>(ring);
            if (PART == 0)
                ring.keys(j + STAGES);
        }

      private:
        /* Before the first part the place that it will free is still empty. */
        template <int PART, class Ring> __device__ static void arrive(const Ring &ring)
        {
            copy_async::wait<PART == 0 ? BEHIND - 1 : BEHIND + PARTS - 1 - PART>();
            ring.sync();
        }
    };
};

/* V is waited for together with K: one barrier a tile, which frees both places of the tile before.
 */
struct arrive_together {
    template <int STAGES, int PARTS> struct schedule {
        template <class Ring> __device__ static void begin(const Ring &ring)
        {
#pragma unroll 1
            for (int j = 0; j < STAGES; j++) {
                ring.keys(j);
                ring.values(j);
            }
            copy_async::wait<2 * (STAGES - 1)>();
        }
        template <int PART, class Ring> __device__ static void keys(const Ring &ring, int j)
        {
            copy_async::wait<2 * (STAGES - 2)>();
            ring.sync();
            ring.keys(j - 1 + STAGES);
            ring.values(j - 1 + STAGES);
        }
        template <int PART, class Ring> __device__ static void values(const Ring &, int) {}
    };
};

#endif
