/*
 * clocks_cuda -- what the CUDA backend times with.
 *
 * records_cuda.c  activity records: CUPTI in the process, and what it saw of a batch
 * sensors_cuda.c  NVML: clock, power, temperature, throttling
 * calls_cuda.c    calls behind a hold, each matched with its records; graphs of calls
 * counters_cuda.c hardware counters (device_count): CUPTI again, and never while records are kept
 * stalls_cuda.c   samples of program counters (device_sample): the same
 * measure_cuda.c  one program (device_measure); duel_cuda.c two, interleaved (device_duel)
 *
 * docs/MEASURING.md gives the reasons. All on the judge's thread; CUPTI's own threads touch nothing
 * but the list of records.
 */
#ifndef EVO_FITNESS_CLOCKS_CUDA_H
#define EVO_FITNESS_CLOCKS_CUDA_H

#include "fitness/device_cuda.h"

/* ---- records_cuda.c */

/* One thing that the device did. */
struct record {
    enum { RECORD_KERNEL, RECORD_MEMSET, RECORD_HOLD } kind;
    uint32_t correlation;
    uint64_t start_ns, end_ns;
    uint64_t bytes; /* of a memset */
    int32_t grid[3], threads;
};

bool clocks_armed(void);
/* Takes CUPTI out of the process: while it is in, graphs run slower. The stream must be idle. */
bool clocks_disarm(struct err *err);
/*
 * Stops recording, and leaves CUPTI in the process: counters cannot be had while records are taken,
 * and begin only where CUPTI is. clocks_disarm comes after them.
 */
bool clocks_pause(struct err *err);
/* From here on records are kept, or dropped; those of before are forgotten. */
void records_keep(bool keep);
/*
 * The records of the newest batch, its hold first, in the order of launches; valid until the next
 * records_keep. `expected` of them, or, with 0, as many as there are. NULL, with err set, when it
 * is not so.
 */
const struct record *records_collect(size_t expected, size_t *count, struct err *err);

/* ---- counters_cuda.c */

/* DEVICE_REFUSED, with err telling CUPTI's reason, and what would help. */
enum device_status cupti_refused(int code, struct err *err, const char *what);

/* ---- sensors_cuda.c */

void sensors_read(struct measured *measured); /* without sensors it stays as it is */
bool sensors_overheated(const struct measured *measured);

/* ---- calls_cuda.c */

static const double record_tick_us = 0.032; /* resolution of activity records */

enum {
    POISONS_MAX = 2 + PROGRAM_WORKSPACES_MAX,
    LIBRARY_OPS_MAX = 110, /* what a library may launch for a call */
    OPS_MAX = POISONS_MAX + LIBRARY_OPS_MAX, /* a plan has fewer */
    CALLS_OPS_MAX = 4 * OPS_MAX, /* of a batch: half of what the driver's queue takes */
};

/* A thing that a call with its poison does on the device. */
struct op {
    bool is_memset;
    enum { OP_POISON_O, OP_POISON_LSE, OP_POISON_WORKSPACE, OP_CALL } role;
    int workspace;
    int64_t bytes;
    int32_t grid[3], threads;
};

/* A program that is called, and what each call does in order; the poison comes first. */
struct callee {
    struct device_module *module;
    const struct plan *plan;
    struct op ops[OPS_MAX];
    int op_count, poison_count;
};

/* `like`: a set of buffers as the calls will have. */
void callee_init(struct callee *callee, struct device_module *module, const struct plan *plan,
                 const struct device_buffers *like);
/*
 * What a library launches for a call is nobody's plan: it is seen once, and then expected of every
 * call. For a module of device_load_rival, before its calls are timed.
 */
enum device_status callee_learn(struct callee *callee, const struct device_buffers *set,
                                struct err *err);
/*
 * Enqueues one call as it is timed: what it must write is poisoned first, so that a program which
 * leaves an answer of an earlier call in place, or keeps one in its workspace, gains nothing.
 */
enum device_status callee_enqueue(const struct callee *callee, const struct device_buffers *set,
                                  uint8_t poison, struct err *err);
/* Bytes that read as NaN, and as a finite number that no answer comes near, in turn. */
static inline uint8_t poison_byte(int64_t round) { return round % 2 == 0 ? 0xff : 0x7b; }

struct timed_call {
    const struct callee *callee;
    const struct device_buffers *set;
    uint8_t poison;
    /*
     * Filled: the span of the call, the multiprocessors' clock during its batch (NAN: unknown), and
     * when it, poison included, began and ended.
     */
    double span_us, mhz;
    uint64_t begin_ns, end_ns;
};

/*
 * Enqueues the calls behind a hold, so that they run without waiting for the host, and matches what
 * was recorded with what was launched. A hold that gave up makes a batch void: it is run again.
 */
enum device_status calls_time(struct timed_call *calls, int count, struct err *err);

/* A graph of `calls` calls that rotate through the sets; destroy it with cuGraphExecDestroy. */
enum device_status graph_capture(const struct callee *callee, const struct device_buffers *sets,
                                 int set_count, int calls, CUgraphExec *exec, struct err *err);

static inline int clamp(double value, int low, int high)
{
    return value < low ? low : value > high ? high : (int)value;
}

#endif
