/*
 * schedule.cuh -- which block works on which rows, and when.
 *
 * The work is cut into tiles of query rows, numbered in the order in which they should be begun.
 * Sections of heads come one after another, so that the keys and values of a section stay in the
 * second-level cache while all its rows need them. Within a section the row tile is the slow index:
 * under a causal mask the last rows, which see most keys, come first (longest processing time
 * first), and the short ones fill the gaps at the end. Heads that share keys are neighbours.
 */
#ifndef EVO_SCHEDULE_CUH
#define EVO_SCHEDULE_CUH

#include "mbarrier.cuh"

struct row_tile {
    int batch, head, kv_head, first_row;
};

template <int ROWS, int CAUSAL, int SECTION>
__device__ inline row_tile row_tile_of(const evo_problem &problem, int number)
{
    const unsigned row_tiles = evo::ceil_div(problem.q_len, ROWS), heads = problem.heads;
    const unsigned section = number / (row_tiles * SECTION);
    const unsigned place = number - section * (row_tiles * SECTION), first = section * SECTION;
    const unsigned there = min((unsigned)SECTION, problem.batch * heads - first);
    /* Divisions are long chains of instructions: most sections are full, most heads have own keys.
     */
    const unsigned row = there == SECTION ? place / SECTION : place / there;
    const unsigned head = first + place - row * there, batch = head / heads;
    const int h = head - batch * heads;
    return {(int)batch, h,
            problem.kv_heads == problem.heads ? h : h / (problem.heads / problem.kv_heads),
            (int)(CAUSAL ? row_tiles - 1 - row : row) * ROWS};
}

/*
 * (Atomics are written out: the compiler's own would leave a variable in global memory behind.)
 *
 * Schedules: the tile after this one. COUNTS: only one thread of a block may ask, and tells the
 * others.
 */
struct schedule_once { /* a block a tile: the hardware starts a block where one has ended */
    enum : int { COUNTS = 0 };
    __device__ static int next(int, int, int tiles, int *) { return tiles; }
    __device__ static void leave(int, int *) {}
};
struct schedule_static { /* as many blocks as fit; every so manieth tile: no cost, no balance */
    enum : int { COUNTS = 0 };
    __device__ static int next(int tile, int workers, int, int *) { return tile + workers; }
    __device__ static void leave(int, int *) {}
};
struct schedule_dynamic { /* likewise, and who is done takes the next one */
    enum : int { COUNTS = 1 };
    __device__ static int next(int, int workers, int, int *counters)
    {
        int taken; /* the first ones go by the blocks' own numbers */
        asm volatile("atom.global.relaxed.gpu.add.s32 %0, [%1], 1;" : "=r"(taken) : "l"(counters));
        return workers + taken;
    }
    /* The last one to leave puts the counters back to zero for the next launch. */
    __device__ static void leave(int workers, int *counters)
    {
        int left;
        asm volatile("atom.global.acq_rel.gpu.inc.u32 %0, [%1 + 4], %2;"
                     : "=r"(left)
                     : "l"(counters), "r"(workers - 1)
                     : "memory");
        if (left == workers - 1)
            *counters = 0;
    }
};

/* One number on its way from the thread that asked to all who need it: a ring of one word. */
template <class Schedule> struct tile_news {
    tile_ring<1, 1> ring;
    unsigned word;
    int workers, tiles, *counters;

    __device__ tile_news(unsigned barriers, unsigned place, int workers, int tiles, int *counters)
        : ring(barriers), word(place), workers(workers), tiles(tiles), counters(counters)
    {
    }

    __device__ int ask(int tile) { return Schedule::next(tile, workers, tiles, counters); }
    __device__ void tell(int tile)
    {
        if constexpr (Schedule::COUNTS) {
            ring.await_empty();
            asm volatile("st.shared.b32 [%0], %1;" ::"r"(word), "r"(tile) : "memory");
            mbarrier_arrive(ring.full(), true);
            ring.advance();
        }
    }
    /* By every warp that is counted as a user. */
    __device__ int hear(int tile)
    {
        if constexpr (Schedule::COUNTS) {
            ring.await_full();
            asm volatile("ld.shared.b32 %0, [%1];" : "=r"(tile) : "r"(word) : "memory");
            __syncwarp();
            ring.release(threadIdx.x % 32 == 0);
            ring.advance();
            return tile;
        } else {
            return ask(tile);
        }
    }
};

#endif
