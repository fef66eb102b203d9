/*
 * ceilings -- what a device can do at most, and what it costs to wait there: the table of what
 * `evo microbench` measures.
 *
 * A row says which probe (fitness/probes) shows it, with which genes, and what its two times make
 * of a round's work. A name is for ever, rows are only added. Values of a device are a plain array,
 * NAN where unknown; as text they are lines "name value per_clock" behind a head. Pure.
 */
#ifndef EVO_FITNESS_CEILINGS_H
#define EVO_FITNESS_CEILINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "fitness/job.h"

enum ceiling {
    CEILING_MMA_HALF,
    CEILING_MMA_BFLOAT16,
    CEILING_MMA_HALF_SUMS,
    CEILING_WMMA_HALF,
    CEILING_WMMA_HALF_SUMS,
    CEILING_WGMMA_16,
    CEILING_WGMMA_32,
    CEILING_WGMMA_64,
    CEILING_WGMMA_96,
    CEILING_WGMMA_128,
    CEILING_WGMMA_192,
    CEILING_WGMMA_256,
    CEILING_WGMMA_64_REGISTERS,
    CEILING_WGMMA_128_REGISTERS,
    CEILING_WGMMA_256_REGISTERS,
    CEILING_WGMMA_256_HALF_SUMS,
    CEILING_FMA,
    CEILING_FMA_HALVES,
    CEILING_ALU,
    CEILING_EXP2,
    CEILING_SHARED,
    CEILING_L2,
    CEILING_DRAM,
    CEILING_FMA_LATENCY,
    CEILING_EXP2_LATENCY,
    CEILING_MMA_LATENCY,
    CEILING_WGMMA_64_LATENCY,
    CEILING_WGMMA_128_LATENCY,
    CEILING_SHARED_LATENCY,
    CEILING_L2_LATENCY,
    CEILING_DRAM_LATENCY,
    CEILING_SHUFFLE,
    CEILING_BARRIER_4,
    CEILING_BARRIER_8,
    CEILING_BARRIER_16,
    CEILING_MBARRIER_4,
    CEILING_MBARRIER_8,
    CEILING_COPY_ASYNC,
    CEILING_COPY_BULK_SMALL,
    CEILING_COPY_BULK_LARGE,
    CEILING_LAUNCH,
    CEILING_LAUNCH_GAP,
    CEILINGS,
};

/* What the times of a probe make. */
enum ceiling_kind {
    CEILING_FLOPS,  /* TFLOP/s of the device; in a clock, FLOP of a multiprocessor */
    CEILING_OPS,    /* 10^9 instructions of warps a second; so too */
    CEILING_BYTES,  /* GB/s; bytes of a multiprocessor */
    CEILING_CYCLES, /* of the multiprocessor's clock */
    CEILING_SPAN,   /* microseconds of a call, by clock 1 */
    CEILING_GAP,    /* what clock 2 sees more of it */
    CEILING_KINDS,
};

struct ceiling_row {
    const char *name;
    enum ceiling_kind kind;
    const char *probe; /* the file, without .cu */
    const char *genes;
    int64_t rounds, rounds_max; /* where to begin, and what memory allows */
    int64_t rounds_modelled;    /* a model needs no length: this many; 0: it does not know */
    const char *doc;
};

extern const struct ceiling_row ceiling_table[CEILINGS];
extern const char *const ceiling_units[CEILING_KINDS];

/* CEILINGS when unknown. */
enum ceiling ceiling_find(const char *name);

struct ceilings {
    const char *device;  /* "NVIDIA H200", "emulated H200" */
    const char *version; /* of the judge that measured */
    int64_t sms;
    double clock_mhz; /* of the multiprocessors: the highest that a probe ran with */
    bool modelled;
    double value[CEILINGS], per_clock[CEILINGS]; /* NAN: unknown; per_clock of rates only */
};

void ceilings_clear(struct ceilings *ceilings);
/* One probe's times; `work` is what a block (PER_ROUND) does in a round. */
void ceilings_take(struct ceilings *ceilings, enum ceiling ceiling,
                   const struct probe_result *result, double work);

/*
 * Takes back what is above the peak that the floor of times rests on (physics.h): then one of the
 * two is wrong. "" or why, in the arena.
 */
const char *ceilings_check(struct arena *arena, struct ceilings *ceilings, enum ceiling ceiling,
                           int64_t arch);

void ceilings_print(const struct ceilings *ceilings, struct buf *text);
/* Texts are in the arena. An unknown name is passed over: another version wrote it. */
bool ceilings_parse(struct arena *arena, const char *text, struct ceilings *ceilings,
                    struct err *err);

#endif
