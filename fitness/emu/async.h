/*
 * async -- what the files of the asynchronous unit share: the state of a block, and their
 * functions.
 *
 * async_decode.c opcodes · async.c the queue, cp.async · mbarrier.c the mbarrier objects · bulk.c
 * bulk and tensor copies · cluster.c cluster barriers, addresses of other blocks, fences ·
 * tensormap.c.
 *
 * Everything asynchronous is a piece of work in a block's queue, in the order of issue. A piece
 * lands as late as the rules allow: what a thread waits for by group lands in its wait; what an
 * mbarrier is waiting for lands one piece at a time, when nothing in the cluster can run without
 * it. So a wait that is missing meets data that is still on its way, which memory.c reports. The
 * order is fixed.
 *
 * Blocks of a cluster run on one thread: nothing here is locked.
 */
#ifndef EVO_EMU_ASYNC_H
#define EVO_EMU_ASYNC_H

#include "fitness/emu/memory.h"
#include "fitness/emu/units.h"

enum {
    MBARRIER_COUNT_MAX = (1 << 20) - 1, /* arrivals expected, and the bounds of the tx-count */
    TENSOR_RANK_MAX = 5,
    COPY_BYTES_MAX = 1 << 20, /* of one bulk copy: more than shared memory can hold */
    POLLS_MAX = 32, /* failed polls of one wait, while nothing changes, before it counts as stuck */
    /* What a block may have on its way; the oldest lands early when there is more, as it may. */
    WORK_MAX = 4096,
    SEGMENTS_MAX = 1 << 20,
    BATCHES_MAX = 1024, /* of a warp */
};

/* op->mode: the form, as the table in async_decode.c has it, and what its qualifiers say. */
enum {
    ARRIVE_DROP = 1,
    ARRIVE_EXPECT = 2,
    ARRIVE_NO_COMPLETE = 4,
    ARRIVE_NO_INCREMENT = 8,
    WAIT_TRY = 16,
    WAIT_PARITY = 32,
    WAIT_READ = 64,
    FENCE_GLOBAL = 128,
    MODE_RELAXED = 256,
};

/* ---- decoded operands ---- */

struct place { /* [base + offset] */
    uint32_t slot;
    int64_t offset;
};

enum { ASYNC_PLACES = 3 };

/* op->extra of all ops of this unit; each uses what its row in async_decode.c says. */
struct async_operands {
    struct place places[ASYNC_PLACES]; /* in the order written */
    uint32_t values[TENSOR_RANK_MAX + 2];
    int value_count;
    uint32_t coordinates[TENSOR_RANK_MAX];
    int rank;
    uint32_t multicast; /* slot of the mask of blocks, SLOT_NONE */
    uint32_t predicate; /* a result, or ignore-src; SLOT_NONE */
    bool predicate_negated;
    bool generic;          /* no state space written: places are generic addresses */
    bool wide;             /* addresses or results are 64 bits */
    const char *reduction; /* the operation of cp.reduce; NULL: a plain copy */
    const char *type;      /* of its elements; NULL: the tensor map's */
};

static inline const struct async_operands *operands_of(const struct op *op) { return op->extra; }

/* ---- mbarriers ---- */

/*
 * An mbarrier lives here; the 8 bytes in shared memory hold only `word`, by which overwriting it is
 * noticed. Arrivals of the running phase release into `running`; what ended phases released is
 * `ended`.
 */
struct mbarrier {
    uint32_t offset; /* in the block's shared memory */
    uint32_t expected, pending;
    int32_t tx;
    uint32_t phase;
    struct clock *running, *ended;
    uint64_t came, over[2]; /* for the profile: the last one; the last phase of each parity */
    uint64_t word;
    const struct warp *maker; /* who initialised it, until a fence shows it to the async proxy */
    int maker_lane;
    bool fenced;
};

/* ---- work on its way ---- */

enum work_kind {
    WORK_LOAD,   /* into shared memory, counted by an mbarrier */
    WORK_STORE,  /* out of shared memory, in a bulk group */
    WORK_ARRIVE, /* cp.async.mbarrier.arrive: waits for the thread's cp.asyncs */
};

struct segment { /* consecutive bytes on the other side of a copy */
    uint64_t address;
    uint8_t *host;
    uint32_t at, bytes; /* at: in the box */
};

struct work {
    struct work *next;
    enum work_kind kind;
    const struct op *op;
    struct warp *warp; /* who asked for it */
    int lane;
    uint32_t group;    /* of a store */
    bool read;         /* of a store: its source has been read */
    uint64_t sequence; /* of an arrival: cp.async batches before this one count */

    uint64_t lands;      /* for the profile: when it will be there */
    struct block *block; /* whose shared memory and mbarrier */
    uint32_t barrier, phase;
    uint32_t offset, bytes; /* of the box in shared memory */
    int swizzle;            /* bits of a chunk's number that are changed: 0 to 3 */
    uint8_t *data;          /* the box, without swizzle, while it lands */
    struct segment *segments;
    int segment_count;
    enum space space; /* of the segments */
    const struct reduction *reduction;
};

/* One cp.async of a warp; each lane has its own group and lands on its own. */
struct batch {
    struct batch *next;
    const struct op *op;
    uint64_t sequence;
    lanes pending, taken; /* taken: those that have a source */
    uint32_t group[LANES];
    uint64_t to[LANES], source[LANES];
    uint8_t *to_host[LANES];
    const uint8_t *from[LANES];
    uint8_t bytes[LANES]; /* taken from the source; the rest is zero */
};

struct poll { /* a wait on an mbarrier that has failed */
    const struct op *op;
    uint64_t events; /* when the count below began */
    int failures;
    bool waits, give_up;
};

struct warp_async {
    struct batch *batches, **batches_end;
    int batch_count;
    uint32_t copy_groups[LANES], bulk_groups[LANES]; /* committed so far */
    struct poll *polls;
    int poll_count;
    struct clock *init_fence;  /* what was done before the last fence.mbarrier_init */
    struct block *waits_block; /* the mbarrier of the last wait that was not over */
    uint32_t waits_offset, waits_parity;
};

struct block_async {
    struct mbarrier *mbarriers;
    int mbarrier_count, mbarrier_room;
    struct work *queue, **queue_end;
    int work_count, segment_count;
    struct batch *free_batches;
    uint64_t batch_sequence;
    struct warp_async warps[WARPS_MAX];
    /* Of the cluster, kept by its block of rank 0. */
    uint64_t events; /* changes that may end somebody's wait */
    uint32_t cluster_generation;
    struct clock *cluster_clocks[2]; /* by generation */
    uint64_t cluster_came[2];        /* for the profile: the last one to come, by generation */
    /* This block's part of the cluster barrier. */
    lanes cluster_arrived[WARPS_MAX];
    uint32_t cluster_arrival[WARPS_MAX][LANES]; /* generation of each lane's last arrival */
    lanes cluster_owes_wait[WARPS_MAX];
};

static inline struct block_async *cluster_async(const struct block *block)
{
    return block->cluster[0]->async;
}
static inline void async_event(const struct block *block) { cluster_async(block)->events++; }

/* ---- addresses ---- */

/* The lane's address of a place. */
static inline uint64_t place_address(struct warp *warp, struct place place, int lane)
{
    return reg64(warp, place.slot)[lane] + (uint64_t)place.offset;
}
/*
 * The block and offset of shared memory that a place names; NULL (and *step) after a finding: not
 * shared memory, not in the cluster, or of a block that has ended.
 */
struct block *place_shared(struct warp *warp, const struct op *op, int lane, int place,
                           uint32_t *offset, enum step *step);
bool block_ended(const struct block *block); /* all its threads have */
/* The generic address of shared memory of `block`, seen from the warp. */
uint64_t shared_address(const struct warp *warp, const struct block *block, uint32_t offset);
enum step check_aligned(struct warp *warp, const struct op *op, int lane, uint64_t address,
                        uint32_t alignment, const char *what);

/* ---- functions of each file that the others call ---- */

struct work *work_new(struct warp *warp, const struct op *op, int lane, enum work_kind kind);
void work_queue(struct block *block, struct work *work);
void work_unlink(struct block *block, struct work **link); /* takes it out of the queue */
void work_free(struct work *work);
/* Lands the cp.asyncs of the lane that are older than `sequence`. */
void copies_land_before(struct warp *warp, int lane, uint64_t sequence);

struct mbarrier *mbarrier_find(struct block *block, uint32_t offset);
/* The mbarrier at an offset of a block, or at a place of the op, for a lane that uses it; NULL
 * after a finding. */
struct mbarrier *mbarrier_at(struct warp *warp, const struct op *op, int lane, struct block *block,
                             uint32_t offset, enum step *step);
struct mbarrier *mbarrier_named(struct warp *warp, const struct op *op, int lane, int place,
                                struct block **block, enum step *step);
/* Work that lands arrives, or completes its bytes. */
enum step mbarrier_arrive_late(const struct work *work);
enum step mbarrier_complete_late(const struct work *work);
/* cp.async.mbarrier.arrive without .noinc: one more arrival is pending in this phase. */
enum step mbarrier_await_one_more(struct warp *warp, const struct op *op, int lane,
                                  struct block *block, struct mbarrier *barrier);
/* A fence by these lanes: of the initialisations of the block's mbarriers, theirs or everybody's.
 */
void mbarriers_fenced(struct warp *warp, lanes active, bool all);
/* Gives waits on mbarriers that poll another turn, a limited number of times. */
bool mbarrier_polls_fail(struct block *block);

enum step bulk_load_land(struct work *work);
void bulk_store_read(struct work *work);
enum step bulk_store_write(struct work *work); /* reads first, if that is still to do */
/* The reduction of an operation and a type, as in opcodes; NULL: unsupported. */
const struct reduction *reduction_find(const char *op, const char *type);

/* What warp->waits says while waiting here, and what a deadlock's report says. */
extern const char waits_mbarrier[], waits_cluster[];
void mbarrier_waits_text(const struct warp *warp, char text[160]);
void cluster_waits_text(const struct warp *warp, char text[160]);

/* ---- op functions, named in the table of async_decode.c ---- */

op_function copy_run, copy_commit_run, copy_wait_run, copy_wait_all_run, copy_arrive_run;
op_function mbarrier_init_run, mbarrier_inval_run, mbarrier_expect_run, mbarrier_complete_run,
    mbarrier_arrive_run, mbarrier_test_run, mbarrier_pending_run;
op_function bulk_load_run, bulk_store_run, bulk_commit_run, bulk_wait_run, tensor_load_run,
    tensor_store_run;
op_function cluster_arrive_run, cluster_wait_run, mapa_run, ctarank_run, fence_proxy_run,
    fence_mbarrier_run, nothing_run;

#endif
