/*
 * shadow -- what memory.c and its shadow share: who touched a byte last, and who may touch it
 * next.
 *
 * Private to memory.c (addresses, moving bytes), shadow_clock.c (clocks: who has seen what),
 * shadow.c (cells: races inside a cluster) and shadow_grid.c (races between clusters).
 *
 * Clocks. An entity is a warp of the cluster with its lanes, a warp as one (what all lanes do
 * together: all know it, and any of them can pass it on), or an mbarrier that counts asynchronous
 * copies. The cluster counts stamps; an entity takes a new one at its first access after a
 * release, so all accesses between two releases share a stamp and a stamp belongs to one entity. A
 * clock says, by entity, up to which stamp it has seen everything; where it has seen only some
 * lanes of a warp, a part says so lane by lane.
 *
 * Cells. Memory is shadowed by the page of 1 KiB. A page begins with cells as wide as its first
 * access (16 bytes at most) and is split when a narrower one comes, so every access covers whole
 * cells and what a cell says is true of each of its bytes. A cell keeps its last write (stamp and
 * who), the latest stamp of any read, and the last read of each warp. `floor` is a stamp that a
 * warp has seen everything up to, so the usual question, "is all of this before me", is one
 * comparison a cell and no table.
 *
 * Threads: a cluster runs on one thread, and everything but struct memory is its own.
 */
#ifndef EVO_EMU_SHADOW_H
#define EVO_EMU_SHADOW_H

#include <pthread.h>

#include "fitness/emu/memory.h"

enum {
    PAGE_SHIFT = 10,
    PAGE_BYTES = 1 << PAGE_SHIFT,
    CELL_SHIFT_MAX = 4,
    COPY_ENTITIES = 64, /* mbarriers of a cluster that are told apart; more share */
    TOLD_MAX = 256,     /* different findings of one block */
    DOUBTS_MAX = 4096,
    OP_NONE = (1 << 20) - 1,
};

/*
 * Loops over lanes and cells are worth a second copy for wider vectors, chosen when the program
 * starts: where the compiler can, and not under ThreadSanitizer, which is not up by then.
 */
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) &&                            \
    !defined(__SANITIZE_THREAD__)
#define SHADOW_HOT __attribute__((target_clones("avx2", "default")))
#else
#define SHADOW_HOT
#endif

#define STAMP_FLIGHT INT32_MAX /* of bytes that a copy is on its way to, or from */

struct buffer {
    uint64_t address, bytes;
    uint64_t from, length; /* the window that kernels see */
    uint8_t *data;
    uint64_t *known; /* a bit a byte */
    bool complete;   /* all known: found out at a launch's begin */
    enum buffer_access access;
    char name[48];
};

/* A run of bytes that one kind of address reaches. */
struct region {
    enum space space;
    uint64_t base; /* address of its first byte */
    uint64_t bytes;
    uint8_t *data;
    uint64_t *known; /* a bit a byte; NULL: nobody asks */
    uint64_t known_from;
    struct buffer *buffer; /* of global memory */
    int rank;              /* of the block whose shared memory it is */
    bool writable;
    bool tracked; /* races can happen here, and are wanted */
};

enum pattern {
    PATTERN_SCATTER,
    PATTERN_ROW,  /* all 32 lanes, side by side */
    PATTERN_SAME, /* all lanes at one address */
};

/* An access of some lanes to one region, checked against its bounds. */
struct access_plan {
    struct warp *warp;
    const struct op *op;
    lanes mask;
    unsigned size; /* bytes of a lane */
    bool write, strong;
    enum pattern pattern;
    struct region region;
    const uint32_t *slots; /* of the values written; NULL: not known */
    unsigned width;        /* bytes of a register */
    uint64_t offset[LANES];
};

/* ---- clocks ---- */

struct clock_part {
    struct clock_part *next;
    int entity;
    int32_t stamp[LANES];
};

struct clock {
    struct clock *next; /* of the cluster's, or of the free */
    struct clock_part *parts;
    int entity; /* of an mbarrier that counts copies; -1: none yet */
    int32_t all[];
};

struct warp_shadow {
    struct group *group; /* NULL: nobody tracks races */
    int entity;
    int32_t floor, others; /* seen everything up to; the same, of all entities but itself */
    bool open;             /* has touched something since its last release */
    lanes extra;           /* lanes that have seen more than base, in lane[] */
    struct clock *base, *lane[LANES];
    lanes *registers; /* that hold a value, by slot / 64; NULL: nobody asks */
};

/* ---- cells ---- */

struct row { /* the last reads of one entity */
    int entity;
    int32_t *stamp;
    uint64_t *who;
};

/*
 * An access that had to make room while nobody need know of it: reads for newer ones by other lanes
 * of their row; plain writes for atomics, which race with nothing of their kind and would hide
 * them.
 */
struct left {
    uint16_t from, bytes; /* in the page */
    int entity;
    int32_t stamp;
    uint64_t who;
};

struct page {
    struct page *next;     /* of the free */
    uint64_t key;          /* address / PAGE_BYTES, of global memory */
    unsigned shift, cells; /* cells of 1 << shift bytes */
    uint64_t *writer;
    int32_t *write, *read; /* stamps */
    uint8_t *fresh;        /* FRESH_*: not yet told to the grid; kept for global memory */
    struct row *rows;
    struct left *left, *hidden; /* reads; writes */
    int row_count, row_room, left_count, left_room, hidden_count, hidden_room;
    uint16_t row_of[]; /* by entity: 1 + index in rows; 0: it has not read here */
};

enum { FRESH_WRITE = 1, FRESH_READ = 2, LEFT_MAX = 4096 };

/* Who, in 64 bits: lanes (32), op (20), strong, asynchronous proxy, entity (10). */
#define WHO_STRONG (UINT64_C(1) << 52)
#define WHO_ASYNC  (UINT64_C(1) << 53)

static inline lanes who_lanes(uint64_t who) { return (lanes)who; }
static inline uint32_t who_op(uint64_t who) { return (uint32_t)(who >> 32 & 0xfffff); }
static inline int who_entity(uint64_t who) { return (int)(who >> 54); }

struct page_map { /* open addressing, by key */
    struct page **pages;
    uint32_t room, count;
};

struct location { /* an address that strong writes or atomics touched */
    struct location *next;
    uint64_t address;
    struct clock *clock; /* of a group's location */
    uint32_t *foreign;   /* of memory's: segments of each cluster that were released to it */
};

/*
 * Beyond the limit addresses share a clock: some order too much is seen, and nothing grows without
 * end.
 */
enum { LOCATION_BUCKETS = 256, LOCATIONS_MAX = 2048 };

struct locations {
    struct location *buckets[LOCATION_BUCKETS];
    int count;
};

/* A cluster's shadow. */
struct group {
    struct group *next; /* in the pool */
    struct memory *memory;
    uint64_t cluster; /* cluster_id */
    int users;        /* blocks that have begun and not ended */
    int warps, blocks, entities;
    int copies;             /* entities given to mbarriers */
    int32_t now, birth;     /* stamps up to birth are of clusters before */
    int32_t *last, *before; /* by entity: its latest stamp, and the one before */
    struct clock *clocks, *free_clocks;
    struct clock_part *free_parts;
    struct clock *fenced[2]; /* seen by a fence of scope cta, gpu */
    bool has_fence[2];
    struct clock *proxied; /* seen by a proxy fence */
    struct page **shared;  /* by rank and page */
    unsigned shared_pages; /* of a block */
    struct page_map global;
    bool fresh; /* some cell of it has something to tell */
    struct page *free_pages[CELL_SHIFT_MAX + 1];
    bool flights; /* some copy has set out: look for those that never landed */
    struct locations locations;
    uint32_t segment, *foreign; /* its releases to other clusters; what it acquired of theirs */
};

/* A block's memory and what is known of its bytes. */
struct block_shadow {
    struct block_shadow *next; /* in the pool */
    struct group *group;
    uint8_t *shared, *local;
    uint64_t *shared_known, *local_known; /* NULL: nobody asks */
    lanes *registers;
    struct warp_shadow *warps; /* NULL: no sanitizer */
    uint64_t told[TOLD_MAX * 2];
    int told_count;
};

/*
 * An uninitialised read of global memory: if another cluster wrote there, it is a race, told as
 * that.
 */
struct doubt {
    uint64_t cluster, address;
    unsigned bytes;
    int entity, warp, lane;
    const struct op *op;
    uint64_t byte;  /* the first that is missing */
    char text[288]; /* who reads what */
};

enum { GRID_SHARDS = 32, SLOT_SHIFT = 30 };

struct grid_page;

struct memory {
    struct buffer **slots; /* by (address - MEMORY_GLOBAL) >> SLOT_SHIFT */
    size_t slot_count, slot_next;
    uint32_t garbage;

    /* Of the launch. */
    const struct launch *launch;
    struct machine *machine;
    unsigned sanitize;
    bool tracking;
    int warps, blocks; /* of a block, of a cluster */
    uint64_t clusters;
    int64_t shared_bytes, local_bytes, register_slots;

    pthread_mutex_t lock; /* of all below */
    struct block_shadow *blocks_free;
    struct group *groups_free;
    struct locations locations; /* of global memory */
    struct doubt *doubts;
    int doubt_count;
    uint64_t blocks_ended;
    bool cut; /* some block was stopped before its end */
    struct grid_shard {
        pthread_mutex_t lock;
        struct grid_page **pages;
        uint32_t room, count;
    } shards[GRID_SHARDS];
    pthread_mutex_t atomics[GRID_SHARDS];
};

/* ---- memory.c ---- */

/* "K+128", "shared+16", "tile+8"; "warp 2 lane 5"; "ld.shared.f32 (flash.cu:12)". */
void region_text(const struct memory *memory, const struct region *region, uint64_t offset,
                 char text[96]);
void op_text(const struct memory *memory, const struct op *op, char text[112]);
void lanes_text(int warp, lanes set, char text[48]);
/* True the first time that a block has this to say. */
bool first_told(struct block *block, enum finding_kind kind, const struct op *op,
                const struct op *other);
/* A lane's bytes as it is about to write them. */
void plan_value(const struct access_plan *plan, int lane, uint8_t bytes[64]);

static inline uint32_t op_index(const struct memory *memory, const struct op *op)
{
    const struct code *program = memory->launch->program;

    return op >= program->ops && op < program->ops + program->op_count &&
                   op - program->ops < OP_NONE
               ? (uint32_t)(op - program->ops)
               : OP_NONE;
}
static inline const struct op *op_of(const struct memory *memory, uint32_t index)
{
    return index == OP_NONE ? NULL : &memory->launch->program->ops[index];
}

/* Entities: warps by rank and index, then the same as one, then mbarriers. */
static inline int entity_together(const struct group *group, int warp)
{
    return group->warps * group->blocks + warp;
}
static inline int entity_copies(const struct group *group)
{
    return 2 * group->warps * group->blocks;
}
/* The warp, by rank and index, of an entity; -1: an mbarrier. */
static inline int entity_warp(const struct group *group, int entity)
{
    return entity >= entity_copies(group) ? -1 : entity % (group->warps * group->blocks);
}

/* ---- shadow_clock.c ---- */

struct clock *clock_new(struct group *group, int32_t stamp); /* has seen all up to the stamp */
void clock_drop(struct group *group, struct clock *clock);   /* the newest, nobody else's */
void clock_join(struct group *group, struct clock *into, const struct clock *from);
/* Those of the set whose accesses up to the stamp the clock has not seen. */
lanes clock_lacks(const struct clock *clock, int entity, lanes set, int32_t stamp);
void warp_shadow_open(struct warp_shadow *shadow, struct group *group, int entity);
int32_t stamp_now(struct warp_shadow *warp);      /* of an access by lanes of the warp */
int32_t stamp_together(struct warp_shadow *warp); /* of one by the warp as one */
/* Order through a strong write, read, or atomic by these lanes. */
void shadow_strong(struct warp *warp, lanes active, const struct region *region, uint64_t offset,
                   unsigned bytes, unsigned access, bool read, bool write);

/* ---- shadow.c ---- */

struct group *group_open(struct memory *memory, const struct block *block);
void group_close(struct group *group); /* the last of its blocks has ended: back to the pool */
void group_free(struct group *group);
/* The page of an address in global memory; NULL: the cluster has not touched it. */
struct page *page_touched(const struct group *group, uint64_t address);
/* Checks an access against all before it, and records it. */
enum step shadow_access(const struct access_plan *plan);
/* Of bytes side by side, by a lane, or all for -1; `begin`: a copy sets out. */
enum step shadow_span(struct warp *warp, const struct op *op, int lane, const struct region *region,
                      uint64_t offset, uint64_t bytes, bool write, enum proxy proxy, bool begin);
void shadow_land(struct warp *warp, const struct op *op, int lane, const struct region *region,
                 uint64_t offset, uint64_t bytes, bool write, enum proxy proxy,
                 struct clock **clock);

/* ---- shadow_grid.c ---- */

/* Tells the grid what the cluster did to global memory; with a clock, only what that has seen. */
void grid_flush(struct group *group, const struct clock *seen);
/* Also of the write itself: who has observed it is behind it, with or without a fence. */
void grid_release(struct group *group, uint64_t address, unsigned bytes, const struct clock *seen);
void grid_acquire(struct group *group, uint64_t address);
/* An uninitialised read that may turn out to be a race; false: no room to remember it. */
bool grid_doubt(struct memory *memory, const struct doubt *doubt);
/* After the last block: tells the races between clusters, in the order of addresses. */
void grid_report(struct memory *memory);
void grid_clear(struct memory *memory);

struct location *location_find(struct locations *locations, uint64_t address, bool make);
void locations_free(struct locations *locations);

#endif
