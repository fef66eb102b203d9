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
 * sync(), the barrier of those who share it. All places are filled before anything is waited for,
 * in the order in which they will be wanted. The first part of the first tile is waited for by
 * begin(); the barrier behind it is the caller's, because Q may have come along with it. For every
 * later part keys<PART>(j) is called before its scores are computed, and values<PART>(j) before V
 * is needed.
 */
#ifndef EVO_RING_CUH
#define EVO_RING_CUH

#include "copy.cuh"

template <int STAGES, class Ring> __device__ inline void ring_fill(const Ring &ring)
{
#pragma unroll 1
    for (int j = 0; j < STAGES; j++) {
        ring.keys(j);
        ring.values(j);
    }
}

/* V is waited for together with K: one barrier a tile, which frees both places of the tile before.
 */
struct arrive_together {
    template <int STAGES> struct schedule {
        enum : int { AHEAD = 0 };
        template <class Ring> __device__ static void begin(const Ring &ring)
        {
            ring_fill<STAGES>(ring);
            copy_async::wait<2 * (STAGES - 1)>();
        }
        template <int PART, class Ring> __device__ static void keys(const Ring &ring, int j)
        {
            copy_async::wait<2 * (STAGES - 2)>();
            ring.sync();
            ring.keys(j - 1 + STAGES);
            ring.values(j - 1 + STAGES);
        }
        template <int PART, int MORE, class Ring> __device__ static void values(const Ring &, int)
        {
        }
    };
};

/*
 * V is waited for when it is needed, after the scores: two barriers a tile. The place of V is
 * filled again when the next tile's keys have come, that of K when the values have. With a single
 * stage this is the schedule of FlashAttention-2. In parts, the product begins when a half or a
 * quarter of the tile is there.
 */
template <int PARTS> struct arrive_in_parts {
    template <int STAGES> struct schedule {
        enum : int {
            AHEAD = 0,
            BEHIND = PARTS * (2 * STAGES - 1), /* groups behind a tile's K, or its V */
        };
        template <class Ring> __device__ static void begin(const Ring &ring)
        {
            ring_fill<STAGES>(ring);
            copy_async::wait<BEHIND + PARTS - 1>();
        }
        template <int PART, class Ring> __device__ static void keys(const Ring &ring, int j)
        {
            arrive<PART>(ring);
            if (PART == 0)
                ring.values(j - 1 + STAGES);
        }
        template <int PART, int MORE, class Ring>
        __device__ static void values(const Ring &ring, int j)
        {
            arrive<PART>(ring);
            if (PART == 0)
                ring.keys(j + STAGES);
        }

      private:
        /* Ahead of the first part, the place that it will free is still empty. */
        template <int PART, class Ring> __device__ static void arrive(const Ring &ring)
        {
            copy_async::wait<PART == 0 ? BEHIND - 1 : BEHIND + PARTS - 1 - PART>();
            ring.sync();
        }
    };
};
struct arrive_apart : arrive_in_parts<1> {
};
struct arrive_halves : arrive_in_parts<2> {
};
struct arrive_quarters : arrive_in_parts<4> {
};

/*
 * Scores are computed a tile ahead: keys(j + 1) comes before values(j), and the next tile's
 * products stand beside this tile's exponentials, which keep other units busy. Scores of j + 1 free
 * K of j, values of j - 1 were read before: both are fetched again by keys(). The last tile has no
 * more.
 */
struct arrive_ahead {
    template <int STAGES> struct schedule {
        enum : int { AHEAD = 1 };
        template <class Ring> __device__ static void begin(const Ring &ring)
        {
            ring_fill<STAGES>(ring);
            copy_async::wait<2 * STAGES - 1>();
        }
        template <int PART, class Ring> __device__ static void keys(const Ring &ring, int j)
        {
            if (j == 1) /* nothing was fetched since begin() */
                copy_async::wait<2 * STAGES - 3>();
            else
                copy_async::wait<2 * STAGES - 4>();
            ring.sync();
            if (j > 1)
                ring.values(j - 2 + STAGES);
            ring.keys(j - 1 + STAGES);
        }
        template <int PART, int MORE, class Ring>
        __device__ static void values(const Ring &ring, int)
        {
            copy_async::wait<MORE ? 2 * STAGES - 1 : 2 * STAGES - 3>();
            ring.sync();
        }
    };
};

#endif
