/*
 * gate -- what the parts of the correctness gate share: a run of it, and the buffers of its calls.
 *
 * verify.h is the gate as a judge sees it; this is its inside, for its own files alone:
 *
 *     verify.c   launches, what they left behind, rungs and cases
 *     rig.c      the buffers of a call: guards, poison, inputs, and whether they are as they were
 *     compare.c  an output against the reference: which rows, what may be wrong
 *     whole.c    all other rows of a large output, against the baseline on the device
 *     timed.c    the sets of buffers that timed calls work on, and what those leave there
 *
 * A function that returns false has either told the candidate's verdict (case_fail) or set the
 * gate's status (device_failed). Threads: the judge's. Memory: as long as the gate, or its set.
 */
#ifndef EVO_FITNESS_GATE_H
#define EVO_FITNESS_GATE_H

#include "base/arena.h"
#include "base/err.h"
#include "fitness/device.h"
#include "fitness/inputs.h"
#include "fitness/job.h"
#include "fitness/reference.h"
#include "fitness/tolerance.h"
#include "fitness/verify.h"

enum { REGION_Q, REGION_K, REGION_V, REGION_O, REGION_LSE, REGION_WORKSPACE };
enum { REGIONS_MAX = REGION_WORKSPACE + PROGRAM_WORKSPACES_MAX };
enum {
    LAUNCHES_CASE = 2,          /* one for each poison */
    GATE_CHUNK_BYTES = 1 << 20, /* read back at once */
};

/* Device memory between guards: [base, at) guard, [at, at + bytes) the buffer, then guard again. */
struct region {
    device_ptr base, at;
    size_t bytes;
};

/* Buffers for one call, and the host's copy of its inputs, where somebody has needed it. */
struct rig {
    struct region regions[REGIONS_MAX];
    int region_count;
    struct device_buffers buffers;
    uint32_t guard;       /* the pattern in all guards */
    struct inputs inputs; /* memory, once it was needed */
    bool here;            /* and what is in it is these inputs */
    enum input_family family;
    uint64_t key;
    int poison;                     /* which of the two patterns the last call was to overwrite */
    uint64_t digests[REGION_V + 1]; /* of the inputs; only with a scanner */
};

/* The reference's answer to some rows of the newest case, and how far they were off. */
struct reckoning {
    int64_t rows; /* that there is room for */
    struct reference reference;
    struct row_measure *measures;
};

struct gate {
    struct arena *arena;
    const struct verify_subject *subject;
    uint64_t secret;
    struct judge_result *result;
    struct err *err;
    enum device_status status;
    int threads;
    bool race;     /* the module is a twin: what is wrong with it is a race */
    bool tells;    /* the answers of the first launches go into the result */
    bool there;    /* unit normals are drawn where the auditor is: the host may never need them */
    int64_t calls; /* so far: poisons come in turn, whatever the cases */
    struct problem_args args;
    int64_t elements;       /* of the output */
    uint16_t *first, *next; /* outputs of the first and of a later launch */
    float *first_lse, *next_lse;
    unsigned char *chunk;                 /* of GATE_CHUNK_BYTES */
    const struct device_auditor *auditor; /* of large shapes; NULL: outputs are read back whole */
    const struct device_auditor *scanner; /* of inputs, whatever the shape; NULL: so are these */
    struct device_base base;              /* its output holds that of the first launch at first */
    uint64_t first_digest;
    struct reckoning reckoning;
};

/* ---- verify.c */

struct gate gate_of(struct arena *arena, const struct verify_subject *subject, uint64_t secret,
                    struct judge_result *result, struct err *err);
/* The memory that outputs are looked at in; whatever came of it, gate_close lets go of it. */
bool gate_open(struct gate *gate);
void gate_close(struct gate *gate);

/* A number that follows from the job's secret and tells nothing about it. */
uint64_t gate_derive(const struct gate *gate, const char *what, int64_t a, int64_t b);
/* Time goes by from one part to the next: what went since *since is this one's. */
void gate_spend(struct gate *gate, enum verify_part part, int64_t *since);

struct case_result case_new(const struct gate *gate, enum rung rung, const struct rig *rig);
bool case_fail(struct gate *gate, struct case_result *row, enum verdict verdict, const char *format,
               ...) __attribute__((format(printf, 4, 5)));
/* A device that did not do what a call's launch asked of it. */
bool call_failed(struct gate *gate, enum device_status status, struct case_result *row);
/* Any other device function: unless its status shows what a kernel did, nobody's fault. */
bool device_failed(struct gate *gate, enum device_status status, struct case_result *row);

/* How one case is run, and what its row of evidence stands for. */
struct climb {
    enum rung rung;
    int launches;
    bool first;    /* of its shape: launch, sanity, correct and stable are rows of their own */
    bool bar;      /* the historic bar holds besides */
    bool happened; /* the first launch was a timed one: its output is there */
    bool brief;    /* no reference: launches must give the same bits, and that is all */
};
bool case_run(struct gate *gate, struct rig *rig, const struct climb *climb);

/* Where element e of the output lies: batch, head, row, column. */
void element_locate(const struct problem *problem, int64_t e, int64_t at[4]);

/* ---- rig.c */

bool rig_make(struct gate *gate, struct rig *rig, int64_t number);
void rig_free(struct rig *rig);
/* Draws fresh inputs and puts them where the next call reads them. */
bool rig_draw(struct gate *gate, struct rig *rig, enum input_family family, uint64_t key);
/* The host's copy of them, drawn now if it was not yet. */
const struct inputs *rig_inputs(struct gate *gate, struct rig *rig);
/* Poisons everything the next call may only write, and the shared memory it may not trust. */
enum device_status rig_poison(struct gate *gate, struct rig *rig);
bool rig_call(struct gate *gate, struct rig *rig, struct case_result *row);
/* What an element holds that the last call did not write: of the output, of a log-sum-exp. */
uint16_t rig_poison_half(const struct gate *gate, const struct rig *rig);
uint32_t rig_poison_single(const struct rig *rig);
/* The first byte of an input that is not as it was drawn; -1: all are. */
bool rig_find_written(struct gate *gate, struct rig *rig, int *input, int64_t *at);
/* Guards whole, inputs as they were. */
bool rig_check_surroundings(struct gate *gate, struct rig *rig, struct case_result *row);
/* After each call: the next one may rely on it. */
bool rig_check_zeroed(struct gate *gate, struct rig *rig, struct case_result *row);

/* ---- compare.c */

struct comparison {
    const struct gate *gate;
    const int64_t *rows;
    const uint16_t *got; /* those rows of the output, one after another; NULL: it is there whole */
    int64_t count;
    struct reference reference;
    struct row_measure *measures;
};

void comparison_measure(struct comparison *c);
void reckoning_free(struct reckoning *old);
/* The element of the output that a row begins with. */
int64_t row_offset(const struct gate *gate, int64_t row);
/* Whether the CPU can afford the exact output of all rows. */
bool reference_affords(const struct problem *problem);
/* Only now, after the candidate's last launch on this input, does the answer come to exist. */
bool check_correct(struct gate *gate, struct rig *rig, bool bar, struct case_result *row);

/* ---- whole.c */

/* Some rows of a tensor of the output's layout, one after another; the caller's to free. */
uint16_t *gather_rows(struct gate *gate, device_ptr from, const int64_t *rows, int64_t count);
/* The device begins with the baseline, after the candidate's last launch on this input. */
bool begin_whole(struct gate *gate, const struct rig *rig);
/* Every row of a large output, against the baseline; c holds those that have a reference. */
bool check_whole(struct gate *gate, const struct rig *rig, const struct comparison *c,
                 struct case_result *row);

#endif
