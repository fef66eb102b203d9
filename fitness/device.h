/*
 * device -- what a backend that runs real code must do; chosen at link time.
 *
 * evo-judge-cuda links device_cuda.c; an emulated device is another file with the same functions.
 * One device a process, one thread. The judge (judge.c) owns the order of calls; a backend only
 * executes. Memory is addressed by device_ptr, which host code never dereferences.
 *
 * Every function that touches the device returns a DEVICE_ status. DEVICE_LOST means that this
 * process is of no further use (a sticky error): the judge reports and ends, the engine starts
 * another. The text of what happened is in the struct err either way. A device that watches its
 * kernels (the emulated one) says what it saw them do, and is well afterwards.
 */
#ifndef EVO_FITNESS_DEVICE_H
#define EVO_FITNESS_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "fitness/counters.h"
#include "fitness/job.h"
#include "fitness/physics.h"
#include "fitness/plan.h"
#include "fitness/stalls.h"
#include "fitness/stats.h"

typedef uint64_t device_ptr;

enum device_status {
    DEVICE_OK,
    DEVICE_REFUSED, /* the device will not do this (a launch out of resources); it is well */
    DEVICE_ILLEGAL, /* illegal or misaligned address, in a candidate: the process is lost */
    DEVICE_TRAPPED, /* trap, assert, illegal instruction, stack: the process is lost */
    DEVICE_LOST,    /* any other sticky error: the process is lost */
    /* What a watching device found in a candidate; it is well. */
    DEVICE_UNSUPPORTED,   /* an instruction that it does not know */
    DEVICE_SAW_RACE,      /* or a barrier, fence or wait that is missing or misused */
    DEVICE_SAW_STRAY,     /* an access outside of buffers, misaligned, or a write to an input */
    DEVICE_SAW_UNDEFINED, /* a value used that nobody wrote */
    DEVICE_SAW_STUCK,     /* a deadlock, or no end within the budget */
    DEVICE_SAW_TRAP,
    DEVICE_STATUSES,
};

/* The process can do no more with its device. */
static inline bool device_is_lost(enum device_status status)
{
    return status >= DEVICE_ILLEGAL && status <= DEVICE_LOST;
}

/* Opens the device named by `spec` ("0") and says in *hello what it is. */
bool device_open(struct arena *arena, const char *spec, struct hello *hello, struct err *err);
void device_close(void);

struct device_module;

/* Loads machine code; a wrong entry or signature is DEVICE_REFUSED. */
enum device_status device_load(const struct judge_image *image, struct device_module **module,
                               struct err *err);
void device_unload(struct device_module *module); /* NULL is fine */

/*
 * Loads the jitter twin (jitter.h) of an image, which the device compiles from its text. It is
 * called like any other module. DEVICE_UNSUPPORTED: the device's compiler is older than the text,
 * whatever that says; DEVICE_REFUSED: there is something wrong with the text.
 */
enum device_status device_load_twin(const struct judge_image *image, const char *ptx, size_t bytes,
                                    struct device_module **twin, struct err *err);
/* What calls of the twin find in its variable from now on; zeros until then. */
enum { TWIN_WORDS = 4 }; /* jitter.h says what they are */
enum device_status device_twin_set(struct device_module *twin, const uint32_t words[TWIN_WORDS],
                                   struct err *err);

/* Nobody knows what new memory holds: it may have been used before. */
enum device_status device_alloc(size_t bytes, device_ptr *at, struct err *err);
void device_free(device_ptr at);
enum device_status device_write(device_ptr to, const void *from, size_t bytes, struct err *err);
/* The same, but `from`, of device_host_alloc, must stay as it is until a call or a read returns. */
enum device_status device_send(device_ptr to, const void *from, size_t bytes, struct err *err);
enum device_status device_read(void *to, device_ptr from, size_t bytes, struct err *err);
/* Host memory from which writes are fast, as far as there is some; never NULL. */
void *device_host_alloc(size_t bytes);
void device_host_free(void *at); /* NULL is fine */
/* Fills with a repeated 32-bit pattern; bytes is a multiple of 4. */
enum device_status device_fill(device_ptr to, uint32_t pattern, size_t bytes, struct err *err);
/*
 * Of an allocation, the part that candidates may touch: a device that watches catches the rest at
 * the access, where the gate's guards show writes only, and only afterwards.
 */
void device_bound(device_ptr at, size_t offset, size_t bytes);
/* The next calls are watched as closely as the device can; or no more than it costs nothing. */
void device_watch(bool closely);
/* Writes changing garbage over the shared memory of every multiprocessor. */
enum device_status device_scrub_shared(uint32_t pattern, struct err *err);

/* One set of buffers that a call works on. */
struct device_buffers {
    device_ptr q, k, v, o, lse;
    device_ptr workspaces[PROGRAM_WORKSPACES_MAX];
    struct problem_args problem;
    struct {
        uint64_t words[MAP_BYTES / sizeof(uint64_t)];
    } maps[PROGRAM_MAPS_MAX]; /* of device_encode_maps, in the device's own form */
};

static inline device_ptr mapped_tensor(const struct device_buffers *buffers, enum map_tensor tensor)
{
    const device_ptr tensors[] = {
        [MAP_Q] = buffers->q, [MAP_K] = buffers->k, [MAP_V] = buffers->v, [MAP_O] = buffers->o};

    return tensors[tensor];
}

/*
 * Makes the plan's tensor maps for one set of buffers: once, when its addresses are known, and not
 * at every launch. A map that the device does not take is DEVICE_REFUSED or DEVICE_UNSUPPORTED.
 */
enum device_status device_encode_maps(const struct plan *plan, struct device_buffers *buffers,
                                      struct err *err);

/*
 * What is too large to be read back is looked at where it lies, by trusted kernels of the backend's
 * own. After a candidate's last launch on an input; no result of it lies in the device before.
 */
struct device_scan {
    uint64_t digest;             /* of the bytes and the key */
    uint64_t poisoned, infinite; /* 16-bit elements */
};

/* Device memory of the caller's: an output, log-sum-exps or 0, a float for each row. */
struct device_base {
    device_ptr out, lse, expected;
};

/* An output against a base. The worst ones have their float's bits above the row's index. */
struct device_comparison {
    uint64_t element; /* largest (|got - base| - 2 steps) / the row's expected error, or 0 */
    uint64_t row;     /* largest (rms difference - 2 steps) / expected, or 0 */
    uint64_t lse;     /* largest |got - base| - 2^-20 |base|, or 0 */
    double difference, expected; /* sums over all rows of mean squares */
};

enum { AUDIT_NEVER = 0x10000 }; /* the 16-bit pattern that no element has */

struct device_auditor {
    /* bytes is a multiple of 16; elements that are `poison`, that have all bits of `infinite`. */
    enum device_status (*scan)(device_ptr at, size_t bytes, uint64_t key, uint32_t poison,
                               uint32_t infinite, struct device_scan *scan, struct err *err);
    enum device_status (*copy)(device_ptr to, device_ptr from, size_t bytes, struct err *err);
    /* Rows of `columns` elements, row i from element offsets[i] on. */
    enum device_status (*gather)(device_ptr from, const int64_t *offsets, int64_t rows,
                                 int64_t columns, uint16_t *to, struct err *err);
    /* The Q, K and V that inputs_draw makes of this key in the family INPUT_NORMAL. */
    enum device_status (*draw)(const struct problem *problem, uint64_t key,
                               const struct device_buffers *inputs, struct err *err);
    /* Attention of these inputs in the class FP32, and the rms error to be expected of each row of
       a candidate's numerics class. */
    enum device_status (*baseline)(const struct problem *problem, bool halves,
                                   const struct device_buffers *inputs,
                                   const struct device_base *base, struct err *err);
    enum device_status (*compare)(const struct problem *problem, const struct device_buffers *got,
                                  const struct device_base *base,
                                  struct device_comparison *comparison, struct err *err);
};

/* NULL: there is none here, or none for such a problem. */
const struct device_auditor *device_auditor(const struct problem *problem);

/* Launches all kernels of a call, its zero_call workspaces first, and waits for the end. */
enum device_status device_call(struct device_module *module, const struct plan *plan,
                               const struct device_buffers *buffers, struct err *err);

/* What bounds any kernel on this device; clock_mhz is the highest that it may have. */
struct physics_device device_peaks(void);

/* How many sets of buffers device_measure wants to rotate through. */
int device_sets(const struct problem *problem);

/* Resident warps of the plan's first kernel, in percent of the device's maximum; NAN when unknown.
 */
double device_occupancy(struct device_module *module, const struct plan *plan);

/*
 * What whoever made the sets does with them while calls are timed, at moments that are drawn from a
 * secret: a candidate must not know which of its calls are looked at.
 */
struct measure_watch {
    void *context;
    /* The outputs of the first `count` sets are those of timed calls. NULL: nobody looks. */
    enum device_status (*look)(void *context, int count, struct err *err);
    /* Puts inputs that no call has seen where those of the first `count` sets are. */
    enum device_status (*renew)(void *context, int count, int round, struct err *err);
    uint64_t secret;
};

struct measure_request {
    struct device_module *module;
    const struct plan *plan;
    const struct device_buffers *sets; /* rotated through, so that pointers change; where there are
                                          several, the last is for warming up */
    int set_count;                     /* device_sets */
    double bound_us;                   /* stop after the quick rung when surely above; 0: never */
    double at_mhz; /* samples are told at this clock (score.h); 0: their own median; NAN: none */
    double cap_ms;                     /* device time that sampling may take; above 0 */
    struct measure_watch watch;
};

enum { MEASURED_METRICS_MAX = 16 };

struct measured {
    struct timing timing; /* problem index is the caller's; samples in the arena */
    double sm_clock_mhz, power_w, temperature_c; /* under load; NAN when unknown or quick */
    double fresh_us; /* clock 1 of calls that saw their inputs for the first time; NAN: none did */
    double other_processes;    /* besides this one that hold the device; NAN when unknown */
    uint64_t throttle_reasons; /* NVML's bits; 0x4 is the power limit. 0 when unknown or quick */
    bool
        modelled; /* the time is a model's, of some of the call's blocks: the sets hold no answer */
    struct {
        enum metric metric;
        double value;
    } metrics[MEASURED_METRICS_MAX]; /* what else the device knows */
    int metric_count;
};

/*
 * Times a call as docs/MEASURING.md says: warm-up, clock 1 by activity records until the interval
 * is narrow enough, clock 2 by a graph of calls. Records that are missing or bad fail the
 * measurement (DEVICE_LOST), they are never made up.
 *
 * Outputs and poison workspaces are poisoned before each call that is sampled, so afterwards each
 * set holds the answer of its last call: the caller verifies those too. zero_once workspaces must
 * be zero when this is called.
 */
enum device_status device_measure(struct arena *arena, const struct measure_request *request,
                                  struct measured *measured, struct err *err);

/*
 * Rivals: the fastest that a library offers for a problem, as a module and a plan like any
 * candidate's (without kernels of its own; its workspace is declared). *plan is in the arena. The
 * first call with real buffers is device_rival_choose, which times each of the library's plans on
 * them, keeps the fastest, and says which it was, and what the others took ("cuDNN 9.19.0,
 * composite 1 (engine 2); slower: ..."). DEVICE_REFUSED: no such library here, or it will not do
 * this problem; err says which.
 */
enum device_status device_load_rival(struct arena *arena, const char *name,
                                     const struct problem *problem, struct device_module **module,
                                     struct plan *plan, struct err *err);
enum device_status device_rival_choose(struct arena *arena, struct device_module *module,
                                       const struct plan *plan, const struct device_buffers *set,
                                       const char **name, struct err *err);

/* Two programs on one problem, each with sets of buffers of its own that hold the same inputs. */
struct duel_request {
    struct {
        struct device_module *module;
        const struct plan *plan;
        const struct device_buffers *sets;
    } sides[2];
    int set_count;
    double cap_ms; /* device time that each clock may take; above 0 */
};

struct duel_times {
    struct abba *blocks; /* in the order taken; per call, microseconds */
    int count;
    double tick_us;
};

struct dueled {
    struct duel_times span, graph; /* clock 1 and clock 2 */
    struct measured under_load;    /* its sensors */
};

/*
 * Times the two in turns, A B B A, by both clocks, on a warm device. Like device_measure it leaves
 * the answers of the last calls in the sets. Afterwards the process cannot time by records again.
 */
enum device_status device_duel(struct arena *arena, const struct duel_request *request,
                               struct dueled *dueled, struct err *err);

/*
 * Hardware counters of calls, each of them run once or several times after a first time that is not
 * counted: values[i][k] is that of counters_of(set)[k], NAN where unknown. DEVICE_REFUSED: there
 * are none here; err says why, and what would allow them.
 */
struct device_count {
    struct device_module *module;
    const struct plan *plan;
    const struct device_buffers *set;
};
enum device_status device_count(enum counter_set set, const struct device_count *calls, int count,
                                double (*values)[COUNTERS_MAX], struct err *err);
/* False: it never will have counters, so that nothing need wait for them. */
bool device_counts(void);
/*
 * Samples of what the warps of a call do, while it runs over and over for some milliseconds: added
 * to *stalls. DEVICE_REFUSED as above.
 */
enum device_status device_sample(const struct device_count *call, struct stalls *stalls,
                                 struct err *err);

/*
 * True when the process had better be replaced after this answer: it has measured very often, or a
 * record was bad. What it has answered is right.
 */
bool device_is_worn(void);

#endif
