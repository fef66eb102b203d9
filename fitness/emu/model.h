/*
 * model -- how long a chip would take for what a profile counted.
 *
 * docs/EMULATOR.md states the formula that turns counts, the length of blocks, the launch and the
 * chip into microseconds. It is a model: it ranks, it does not measure. One row of the table in
 * model.c is one chip. Plain data and pure functions; no state. This header knows nothing of the
 * machine, so that the command line may include it.
 */
#ifndef EVO_EMU_MODEL_H
#define EVO_EMU_MODEL_H

#include <stdint.h>

#include "base/arena.h"
#include "base/hash.h"

/* Raised with every change of what the machine answers or the model says. */
enum { EMU_VERSION = 5 };

/* What an op keeps busy. */
enum pipe {
    PIPE_ISSUE,   /* every instruction: a slot of a scheduler */
    PIPE_FMA,     /* FP32 and packed FP16 arithmetic, integer products */
    PIPE_ALU,     /* integers, comparisons, conversions that pack */
    PIPE_SPECIAL, /* exponentials and their like, conversions between widths */
    PIPE_DOUBLE,
    PIPE_SHARED, /* wavefronts of shared memory and L1, shuffles */
    PIPE_TENSOR,
    PIPE_L2, /* sectors of 32 bytes from beyond L1 */
    PIPES,
};
extern const char *const pipe_names[PIPES];
/* Of instructions, as machine.h has them (enum op_class); NULL: no more of them. */
enum { PROFILE_CLASSES = 24 };
extern const char *const class_names[PROFILE_CLASSES];

struct profile_totals {
    int64_t blocks;
    uint64_t ops, lane_ops; /* of all classes */
    uint64_t class_ops[PROFILE_CLASSES], class_lanes[PROFILE_CLASSES];
    uint64_t busy[PIPES];        /* warp ops, wavefronts, FLOP, sectors: the units of per_clock */
    uint64_t length, length_max; /* cycles of a block: sum and longest */
    uint64_t shared_accesses, shared_wavefronts;
    uint64_t shared_ideal; /* wavefronts that the bytes alone would need: conflicts are the rest */
    uint64_t global_accesses, global_sectors, global_bytes; /* bytes: those asked for */
    uint64_t tensor_flops, barriers;
};
/* What a line of the source costs: the lines with most issued ops, most first. */
struct profile_line {
    const char *file;
    int line;
    uint64_t ops, shared_wavefronts, l2_sectors;
};
/* ---- chips and the model ---- */

enum latency {
    LATENCY_ARITHMETIC,
    LATENCY_SPECIAL,
    LATENCY_SHARED,
    LATENCY_L1,
    LATENCY_L2,
    LATENCY_SHUFFLE,
    LATENCY_TENSOR,
    LATENCY_WARPGROUP,    /* what a wgmma takes beside the time that it keeps the pipe busy */
    LATENCY_BARRIER,      /* from the last arrival to going on */
    LATENCY_BARRIER_WARP, /* and more, for each warp that comes */
    LATENCY_MBARRIER,     /* from the end of a phase to whoever waits for it */
    LATENCY_BULK,         /* of the copy engine, beside the time that the bytes take */
    LATENCY_REMOTE,       /* shared memory of another block of the cluster */
    LATENCY_CLUSTER,      /* a barrier of the cluster, from the last arrival */
    LATENCIES,
};

enum { CHIP_GPCS = 16 };
struct chip {
    const char *name;   /* as --chip and --device emu:NAME know it */
    const char *device; /* what runs call it */
    int arch, sms;
    int gpcs[CHIP_GPCS]; /* multiprocessors of each: a cluster stays in one; 0: no more of them */
    int64_t smem_sm, smem_block, smem_reserved; /* bytes; reserved: of each resident block */
    int registers_sm, warps_sm, blocks_sm;
    int64_t l1_bytes, l2_bytes; /* of a multiprocessor, shared memory included; of the chip */
    double clock_mhz;
    double per_clock[PIPES]; /* of a multiprocessor */
    int latency[LATENCIES];  /* cycles from issue to result */
    double l2_sectors_clock; /* of the whole chip */
    double dram_gb_s;
    double launch_us;  /* an empty kernel, as activity records see it */
    double block_us;   /* from one wave of blocks to the next */
    double cluster_us; /* what each doubling of a cluster adds to a wave */
    double overlap;    /* the exponent that joins bounds; see docs/EMULATOR.md */
    double mixing;     /* slots lost for each that is not the busiest pipe's */
    double exposed;    /* of the shorter of a stretch's chain and slots, what the longer leaves */
};

/* NULL: unknown. "" or NULL names the first, which is the default. */
const struct chip *chip_find(const char *name);
const char *chip_names(struct arena *arena);
struct hash chip_digest(const struct chip *chip);

struct model_launch {
    int64_t blocks;         /* of the whole grid */
    int threads, cluster;   /* of a block; blocks of a cluster */
    int registers;          /* of a thread, by the cubin; 0: unknown */
    int64_t smem_bytes;     /* of a block: static and dynamic */
    double footprint_bytes; /* of all buffers: what must come from DRAM when L2 cannot hold it */
};

struct model_time {
    double us;
    int resident;     /* blocks that fit a multiprocessor; 0: it does not fit at all */
    double occupancy; /* of warps, percent */
    double waves;
    double length_us;      /* one block by itself, on the mean */
    double busy_us[PIPES]; /* what each pipe alone would take */
    const char *bound;     /* the name of what takes longest */
};

/* One kernel of a call, profiled on some or all of its blocks. */
enum { PROFILE_LINES = 16 };
struct kernel_profile {
    const char *name;
    int64_t blocks; /* of the grid; those that ran are in totals */
    struct profile_totals totals;
    struct model_launch launch;
    struct model_time time;
    struct profile_line lines[PROFILE_LINES];
    int line_count;
};

/* Issue slots that so many uses of pipes take: code of one kind fills all, mixed code does not. */
double issue_slots(const struct chip *chip, const uint64_t used[PIPES]);
/* The counts may be of a sample of the grid's blocks: they are scaled to launch->blocks. */
void model_time(const struct chip *chip, const struct profile_totals *totals,
                const struct model_launch *launch, struct model_time *time);
/* Blocks of a launch that the chip holds at once: of clusters, as many as find room together. */
int64_t model_wave(const struct chip *chip, const struct model_launch *launch);
/* Blocks of a launch that a multiprocessor holds at once. */
int model_resident(const struct chip *chip, const struct model_launch *launch);

#endif
