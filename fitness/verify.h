/*
 * verify -- the correctness gate: is what this program computes attention?
 *
 * docs/JUDGE.md states the contract. For every shape of the job and every input family the program
 * runs on freshly drawn inputs, with its output and workspaces poisoned (NaN and a finite sentinel
 * in turn), guard bytes around every buffer, garbage in shared memory; only after it ran is the
 * FP64 reference computed, on CPU threads, together with a trusted baseline of the program's
 * numerics class. The error allowed is a multiple of what that baseline makes, never a bare number.
 *
 * Rungs, each only if the one before passed: launch, sanity, correct, stable, and what a promotion
 * adds. Cases are recorded in the result as evidence; the first failure ends the gate.
 */
#ifndef EVO_FITNESS_VERIFY_H
#define EVO_FITNESS_VERIFY_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "fitness/device.h"
#include "fitness/inputs.h"
#include "fitness/job.h"

enum { GATE_VERSION = 6 }; /* raised with every change of what passes; part of a judgement's key */

enum numerics {
    NUMERICS_FP32, /* P in FP16 (or BF16), every sum in FP32 */
    NUMERICS_FP16, /* Q·Kᵀ summed in FP16; P·V summed in FP16 within a tile of keys */
};

/* Where the gate's time goes; the metrics gate_draw_ms and the ones after it. */
enum verify_part {
    PART_DRAW,      /* inputs, by the host */
    PART_MOVE,      /* inputs, to the device */
    PART_CALL,      /* poison, garbage, the calls themselves */
    PART_LOOK,      /* outputs, guards, inputs afterwards */
    PART_REFERENCE, /* FP64, by the host */
    PART_COMPARE,   /* with reference and baseline */
    VERIFY_PARTS,
};

struct verify_costs {
    int64_t us[VERIFY_PARTS];
};

/* What the gate needs to run one program on one shape. */
struct verify_subject {
    struct device_module *module;
    const struct plan *plan;
    const struct problem *problem;
    int problem_index;
    enum numerics numerics;
    struct verify_costs *costs; /* added to; NULL: nobody asks */
};

/* What a device's status says of a candidate; NONE for DEVICE_OK. */
enum verdict verify_verdict_of(enum device_status status);

/* How thoroughly a shape is judged. */
enum depth {
    DEPTH_ONCE,    /* one case of unit normals, one launch: what a slow device can afford */
    DEPTH_QUICK,   /* three input families `seeds` times, each other one once */
    DEPTH_PROMOTE, /* every input family `seeds` times, each launched twice */
    DEPTH_BAR,     /* the historic bar: a hundred cases of unit normals, none off by 2e-3 */
    DEPTH_CASE,    /* one case that is known by its family and key, to look at it again */
    DEPTH_TELL,    /* each input family once, one launch each; the answers go into the result */
    DEPTHS,
};

enum {
    VERIFY_BAR_CASES = 100,
    VERIFY_SEEDS_MIN = 3,      /* of each family at a promotion */
    VERIFY_LAUNCHES_QUICK = 5, /* that are compared bit by bit */
    VERIFY_LAUNCHES_MAX = 20,
};

struct verify_request {
    enum depth depth;
    uint64_t secret; /* inputs are drawn from it */
    int64_t seeds;   /* at least 1 */
    int launches; /* of the first case of QUICK, PROMOTE and CASE: their outputs must be the same */
    enum input_family family; /* of CASE, as evidence tells them */
    uint64_t key;
};

/*
 * Runs the gate. Returns the device's status: DEVICE_OK with result->verdict NONE means it passed;
 * any verdict and reason found is in *result. A lost device is also reported there, as the verdict
 * it means (OUT_OF_BOUNDS, CRASH).
 */
enum device_status verify_run(struct arena *arena, const struct verify_subject *subject,
                              const struct verify_request *request, struct judge_result *result,
                              struct err *err);

/*
 * The race gate: subject->module is a jitter twin. One case of unit normals, launched once as it is
 * and once under each jitter: the same bits every time, and right, or the verdict is RACY.
 */
enum device_status verify_race(struct arena *arena, const struct verify_subject *subject,
                               uint64_t secret, struct judge_result *result, struct err *err);

/*
 * Sets of buffers with unit normals for timing, and a look at what timed calls left behind in them,
 * at the end and, where the device was handed the watch, in the middle: what is right only while
 * nobody measures is caught here. `briefly`, for a program that is too slow to be kept: where a
 * reference is dear, its outputs must be the bits that an untimed call gives, and no more is asked.
 */
struct verify_sets;
enum device_status verify_sets_make(struct arena *arena, const struct verify_subject *subject,
                                    uint64_t secret, int count, struct verify_sets **sets,
                                    struct err *err);
const struct device_buffers *verify_sets_buffers(const struct verify_sets *sets, int *count);
enum device_status verify_sets_check(struct arena *arena, struct verify_sets *sets, bool briefly,
                                     struct judge_result *result, struct err *err);
/* For device_measure: outputs are looked at meanwhile, and inputs renewed at the end. */
struct measure_watch verify_sets_watch(struct verify_sets *sets);
void verify_sets_free(struct verify_sets *sets);

#endif
