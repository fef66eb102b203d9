/*
 * machine -- a PTX machine: runs decoded programs, a warp of 32 lanes at a time.
 *
 * A program is an array of ops. An op names a function that does its work for all active lanes, and
 * the register slots it works on. A register slot is an offset into a warp's register file, where
 * each lane has its value side by side (32 x 2, 4 or 8 bytes), so that a function is a loop over 32
 * lanes that the C compiler vectorises. Immediates and special registers have slots too, filled
 * before the warp starts: a function never asks what kind an operand is. Predicates are sets of
 * lanes.
 *
 * Control flow: the lanes of a warp are split into fragments, each with its own place in the
 * program. The fragment at the lowest place runs, fragments that meet merge; convergent
 * instructions (.sync, .aligned) wait until all lanes they name have come. A fragment that waits
 * lets others run; when nothing in the block (or cluster) can run, that is a deadlock, and a
 * finding that names who waits where.
 *
 * Blocks are independent and spread over threads; each (with its cluster) runs on one thread, warps
 * in turn, so a run is the same whatever the number of threads. Only the order of atomics between
 * blocks may differ; that they were used is reported.
 *
 * Files: ptx.c text · decode.c ops, places.c where registers lie · run.c scheduling, control flow ·
 * alu.c arithmetic · access.c loads, stores, atomics · collective.c what lanes do together ·
 * memory.c memory and its shadow · tensor.c mma, wmma, ldmatrix, wgmma · async.c cp.async,
 * mbarrier, bulk copies, clusters · profile.c counts and the model of time · device_emu.c the
 * judge's device.
 */
#ifndef EVO_EMU_MACHINE_H
#define EVO_EMU_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "fitness/emu/ptx.h"

enum {
    LANES = 32,
    WARPS_MAX = 32, /* of a block */
    BARRIERS = 16,  /* named barriers of a block */
    CLUSTER_MAX = 8,
    FINDINGS_MAX = 64, /* kept; all are counted */
};
static const uint32_t SLOT_NONE = 0xffffffff; /* an enumerator is an int */

typedef uint32_t lanes; /* a set of lanes */

struct warp;
struct block;
struct machine;
struct op;

enum step {
    STEP_NEXT,  /* done; on to the next op */
    STEP_JUMP,  /* the function set the fragment's place itself (branch, exit) */
    STEP_WAIT,  /* cannot be done yet; run again later. warp->waits says what for */
    STEP_FAULT, /* a finding that ends the run was made */
};

typedef enum step op_function(struct warp *warp, const struct op *op, lanes active);

struct op {
    op_function *run;
    const uint32_t *dst, *src; /* slots; vectors lie flat, in the order written */
    uint16_t dst_count, src_count;
    uint32_t guard; /* predicate slot or SLOT_NONE */
    bool guard_negated;
    bool convergent; /* all lanes of the warp that have not ended must be here together */
    bool masked;     /* or: the lanes named by the 32-bit slot src[src_count - 1] must be; run.c
                        runs the op once for each set of lanes that is complete */
    uint8_t access;  /* enum access, of a memory access */
    uint8_t bytes;   /* of one element: 1, 2, 4, 8, 16 */
    uint8_t vector;  /* elements of a vector access */
    uint8_t space;   /* enum space, of a memory access */
    int32_t mode;    /* meaning is the function's: comparison, rounding, shape … */
    int32_t mode2;
    int64_t immediate; /* address offset, shift … */
    const void *extra; /* decoded once by the unit that owns the op */
    int32_t target;    /* of a branch: index of an op */
    uint8_t class;     /* enum op_class, for the profile */
    const struct ptx_instruction *text;
};

/* How strong a memory access is: bits of op->access, from .volatile, .relaxed, .acquire, .release.
 */
enum access {
    ACCESS_WEAK = 0,
    ACCESS_STRONG = 1, /* volatile, relaxed, every atomic: no race with another strong access */
    ACCESS_ACQUIRE = 2,
    ACCESS_RELEASE = 4,
};

enum op_class {
    CLASS_CONTROL,
    CLASS_INTEGER,
    CLASS_FMA,
    CLASS_HALF,
    CLASS_SPECIAL,
    CLASS_CONVERT,
    CLASS_PREDICATE,
    CLASS_LOAD_GLOBAL,
    CLASS_STORE_GLOBAL,
    CLASS_LOAD_SHARED,
    CLASS_STORE_SHARED,
    CLASS_LOCAL,
    CLASS_ATOMIC,
    CLASS_SHUFFLE,
    CLASS_BARRIER,
    CLASS_MATRIX_LOAD,
    CLASS_TENSOR,
    CLASS_ASYNC_COPY,
    CLASS_FENCE,
    CLASS_OTHER,
    CLASSES,
};

/* One entry of a module, ready to run; read only while running. (fitness/plan.h has a struct
 * program.) */
struct code {
    const struct ptx_function *function;
    struct op *ops;
    int op_count;
    uint32_t register_bytes; /* of a warp's register file, and the shadow slots of predicates */
    uint32_t predicate_count;
    uint32_t
        predicate_shadow; /* predicate p is slot predicate_shadow + 64 p for memory_register_* */
    const struct constant_slot *poisoned; /* registers that may be read before they are written */
    int poisoned_count;
    const struct op_registers { /* of each op: what SANITIZE_INITIALISED looks at, as shadow slots
                                 */
        const uint32_t *reads, *writes;
        uint16_t read_count, write_count;
    } * op_registers;
    bool uses_variables;         /* the module's own global or constant variables are needed */
    const struct constant_slot { /* slots to fill at a warp's start */
        uint32_t slot;
        uint8_t bytes;
        uint64_t bits;
        int special; /* -1: bits; else enum special */
    } * constants;
    int constant_count;
    int64_t shared_bytes; /* static; dynamic shared memory follows, aligned as declared */
    const struct shared_variable { /* the static ones that are used, for findings */
        const char *name;
        int64_t at, bytes;
    } *shared_variables;
    int shared_variable_count;
    int64_t dynamic_offset;
    int64_t local_bytes; /* of a thread */
    int64_t param_bytes;
    const struct ptx_module *module;
};

/* Decodes one entry. An instruction that is not known is ERR_USER "unsupported: line N: …". */
bool program_decode(struct arena *arena, const struct ptx_module *module, const char *entry,
                    struct code **program, struct err *err);

/* ---- findings: what the sanitizers and the machine itself saw ---- */

enum finding_kind {
    FINDING_NONE,
    FINDING_OUT_OF_BOUNDS,
    FINDING_MISALIGNED,
    FINDING_READ_ONLY, /* a write to an input */
    FINDING_UNINITIALISED,
    FINDING_RACE,
    FINDING_BARRIER,   /* divergent, wrong count, not waited for */
    FINDING_PROXY,     /* generic writes touched by the async proxy without a fence */
    FINDING_IN_FLIGHT, /* a wgmma's operand or accumulator touched before its wait */
    FINDING_DEADLOCK,
    FINDING_TRAP,
    FINDING_BUDGET, /* instructions or time exhausted */
    FINDING_UNSUPPORTED,
    FINDING_KINDS,
};

extern const char *const finding_names[FINDING_KINDS];

struct finding {
    enum finding_kind kind;
    const struct ptx_instruction *at, *other; /* other: the earlier access of a race; may be NULL */
    uint32_t block[3];
    int warp, lane, other_warp, other_lane; /* -1: not known */
    uint64_t address;
    char text[384]; /* one sentence */
};

/*
 * Records a finding (the first FINDINGS_MAX are kept, equal places once). Returns STEP_FAULT when
 * it must end the run, else STEP_NEXT; the caller returns that.
 */
enum step finding_add(struct warp *warp, const struct op *op, enum finding_kind kind, int lane,
                      uint64_t address, const struct op *other, const char *format, ...)
    __attribute__((format(printf, 7, 8)));

/* ---- state while running ---- */

struct fragment {
    int32_t at; /* index of the op to run next */
    lanes set;
    int32_t barrier; /* above 0: it has come to barrier - 1 and goes on when that is complete */
    bool waits;      /* its last step was STEP_WAIT */
    uint32_t sleeps; /* turns of its warp that its nanosleep still lasts */
    uint32_t ran;    /* ops in this turn of its warp */
};

struct warp {
    struct machine *machine;
    struct block *block;
    int index;   /* in its block */
    lanes alive; /* lanes that exist and have not ended */
    struct fragment fragments[LANES];
    int fragment_count, current;
    uint8_t *registers; /* aligned to 64 */
    lanes *predicates;
    uint8_t *local;    /* thread t's local memory is local + t * local_bytes */
    const char *waits; /* what the last STEP_WAIT waited for, for deadlock reports; NULL: runs */
    bool slept;        /* in its last turn a fragment of it slept: no deadlock */
    uint64_t progress; /* ops done: also what %clock counts */
    struct warp_async *async;   /* async.c */
    struct warp_tensor *tensor; /* tensor.c: wgmma in flight */
    struct warp_shadow *shadow; /* memory.c: initialised registers, clocks */
};

struct barrier {
    lanes arrived[WARPS_MAX]; /* lanes of each warp that have come */
    int expected, count;
    uint32_t generation;
    bool pending; /* somebody has come; expected and first are theirs */
    const struct op *first;
    struct clock *clock; /* memory.h: what the arrived have seen */
};

struct block {
    struct machine *machine;
    uint32_t index[3], cluster_rank, cluster_size;
    uint64_t
        cluster_id; /* clusters in the order of their index, x fastest: the order of findings */
    bool atomics;   /* global memory was changed by an atomic */
    struct block **cluster; /* the cluster's blocks by rank; itself alone when there is none */
    struct warp *warps;
    int warp_count;
    uint8_t *shared; /* shared_bytes of it */
    int64_t shared_bytes;
    struct barrier barriers[BARRIERS];
    struct block_async *async;     /* async.c: mbarriers, copies in flight */
    struct block_shadow *shadow;   /* memory.c */
    struct block_profile *profile; /* profile.c; NULL: nothing is counted */
};

static inline uint16_t *reg16(struct warp *warp, uint32_t slot)
{
    return (uint16_t *)(void *)(warp->registers + slot);
}
static inline uint32_t *reg32(struct warp *warp, uint32_t slot)
{
    return (uint32_t *)(void *)(warp->registers + slot);
}
static inline float *regf32(struct warp *warp, uint32_t slot)
{
    return (float *)(void *)(warp->registers + slot);
}
static inline uint64_t *reg64(struct warp *warp, uint32_t slot)
{
    return (uint64_t *)(void *)(warp->registers + slot);
}
static inline double *regf64(struct warp *warp, uint32_t slot)
{
    return (double *)(void *)(warp->registers + slot);
}
static inline lanes *pred(struct warp *warp, uint32_t slot) { return &warp->predicates[slot]; }

#define FOR_LANES(lane, active)                                                                    \
    for (int lane = 0; lane < LANES; lane++)                                                       \
        if ((active) >> lane & 1)

/* ---- a launch ---- */

enum sanitize {
    SANITIZE_BOUNDS = 1, /* always on: without it there is no defined answer */
    SANITIZE_INITIALISED = 2,
    SANITIZE_RACES = 4,
    SANITIZE_ASYNC = 8, /* proxies, operands in flight */
    SANITIZE_ALL = 15,
};

struct launch {
    const struct code *program;
    uint32_t grid[3], block[3], cluster[3];
    uint32_t smem_bytes;       /* dynamic */
    const uint8_t *params;     /* program->param_bytes of them */
    const uint64_t *variables; /* from machine_variables; NULL: made for this launch alone */
    unsigned sanitize;
    int threads;             /* of the host; 0: all */
    uint64_t op_budget;      /* warp ops of a block; 0: unlimited */
    int64_t time_budget_ms;  /* of the whole launch; 0: unlimited */
    struct profile *profile; /* counts are added; NULL: not wanted */
    /*
     * Linear indices (x fastest) of the clusters to run, ascending, a cluster of one block being
     * that block: a sample of a large grid. NULL: all of them. Special registers and addresses are
     * as in the whole.
     */
    const int64_t *sample;
    int64_t sample_count;
};

struct outcome {
    struct finding findings[FINDINGS_MAX];
    int finding_count; /* kept */
    int64_t findings_total;
    bool ended;             /* false: stopped by a finding */
    bool atomics;           /* atomics on global memory were used: order between blocks is open */
    uint64_t ops, lane_ops; /* done */
};

struct memory;

/*
 * Gives the module's own global and constant variables their buffers and first values: their
 * addresses, in the order of module->variables (0 for those of other spaces). They live as long as
 * the memory.
 */
bool machine_variables(struct memory *memory, const struct ptx_module *module, uint64_t *addresses,
                       struct err *err);

/* Runs the launch to its end. Findings that end it are in the outcome. */
void machine_run(struct memory *memory, const struct launch *launch, struct outcome *outcome);

/* What run.c gives to every op function through warp->machine. */
struct machine {
    struct memory *memory;
    const struct launch *launch;
    const struct code *program;
    struct outcome *outcome; /* under lock; use finding_add */
    void *lock;
    const uint64_t *variables; /* addresses of the module's variables */
    struct run *run;           /* run.c's own */
};

#endif
