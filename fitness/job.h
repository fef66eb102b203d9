/*
 * job -- what engine and workers say to each other; docs/PROTOCOL.md is the long form.
 *
 * A worker writes HELLO once, then answers one job at a time: COMPILE with BUILT, JUDGE with
 * RESULT, DUEL with DUELED, PROBE with PROBED. Each struct below is one message; X_encode builds it
 * in an arena, X_decode reads it strictly. Nothing but these messages crosses between processes, so
 * a worker may be a program of any kind at the end of a pipe, an ssh included.
 *
 * A candidate that fails is not an error here: it is an answer with a verdict.
 */
#ifndef EVO_FITNESS_JOB_H
#define EVO_FITNESS_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/frame.h"
#include "base/hash.h"
#include "fitness/metric.h"
#include "fitness/plan.h"
#include "fitness/problem.h"
#include "fitness/stats.h"

enum {
    JOB_PROTOCOL = 10,      /* raised with every change of a message */
    JOB_IMAGES_MAX = 8,    /* static problems of a workload */
    JOB_TIMED_MAX = 32,    /* shapes of a workload */
    JOB_PROBLEMS_MAX = 64, /* with those that only the gate sees */
    JOB_ENTRIES_MAX = PROGRAM_KERNELS_MAX,
    JOB_CASES_MAX = 256,
    JOB_SAMPLES_MAX = 4096, /* per problem and clock */
    JOB_OPTIONS_MAX = 32,
    JOB_METRICS_MAX = 512,
    JOB_COUNTED_MAX = 512,
    JOB_ANSWERS_MAX = 32,
    JOB_ANSWER_BYTES_MAX = 1 << 20,
    JOB_CODE_BYTES_MAX =
        3 << 20, /* of an image's PTX, and of its cubin: all of a job fit a frame */
};

/* The only words for how a candidate ended. VERDICT_NONE: not yet. */
enum verdict {
    VERDICT_NONE,
    VERDICT_PASS,
    VERDICT_INVALID,       /* it breaks a rule of the contract: signature, writable module state */
    VERDICT_NO_COMPILE,    /* NVRTC or ptxas refused it */
    VERDICT_NO_LAUNCH,     /* it needs more than a launch may have */
    VERDICT_WRONG,         /* outputs differ by more than its numerics class explains */
    VERDICT_RACY,          /* a race was found, or shown */
    VERDICT_OUT_OF_BOUNDS, /* it wrote or read outside its buffers */
    VERDICT_UNSTABLE,      /* the same input gave different outputs */
    VERDICT_UNSUPPORTED,   /* it declares not to do a shape of the workload */
    VERDICT_TIMEOUT,       /* it outlived its deadline */
    VERDICT_CRASH,         /* it took its worker down twice */
    VERDICT_COUNT,
};

extern const char *const verdict_names[VERDICT_COUNT];
bool verdict_parse(const char *text, enum verdict *verdict);

/* What a row of evidence is about, in the order climbed; docs/JUDGE.md tells what each asks. */
enum rung {
    RUNG_LAUNCH,
    RUNG_SANITY,
    RUNG_CORRECT,
    RUNG_STABLE,
    RUNG_PROMOTE, /* cases of the gate that only a promotion asks for */
    RUNG_RACE,    /* the jitter twin */
    RUNG_QUICK,   /* a few samples against the bound */
    RUNG_TIMED,   /* what timed calls left behind, and whether their times are possible */
    RUNG_COUNT,
};

extern const char *const rung_names[RUNG_COUNT];
bool rung_parse(const char *text, enum rung *rung);

enum role { ROLE_COMPILE, ROLE_JUDGE, ROLE_COUNT };

/* HELLO: who the worker is. A text that does not apply is "". */
struct hello {
    int64_t protocol;
    enum role role;
    const char *backend; /* nvrtc cuda replay fake */
    const char *version; /* of what decides results: "nvrtc 13.0 V13.0.88", "gate 1 driver 580.1" */
    const char *device;  /* "NVIDIA H200"; scores of different devices never mix */
    const char *device_id;   /* UUID, or the digest of a recording */
    int64_t device_arch;     /* compute capability times ten; 0: none */
    int64_t device_smem_max; /* bytes a block may ask for */
    int64_t device_sms;
    const char *sandbox; /* what holds the worker (sandbox.h), for people; "" or NULL: unknown */
    bool deterministic; /* the same job always gets the same answer, times included */
};

struct message *hello_encode(struct arena *arena, const struct hello *hello);
bool hello_decode(struct arena *arena, const struct message *message, struct hello *hello,
                  struct err *err);

struct compile_job {
    int64_t id;
    const char *source;
    size_t source_bytes;
    const char *name;                     /* of the program in diagnostics */
    const char *arch;                     /* sm_90a */
    const char *options[JOB_OPTIONS_MAX]; /* beyond the worker's own */
    int option_count;
    const char *entries[JOB_ENTRIES_MAX]; /* the kernels it must hold */
    int entry_count;
    bool syntax_first; /* run the front end alone first: cheap when many are malformed */
};

/* What the binary says of one kernel, without any GPU. */
struct entry_facts {
    const char *name;
    int64_t registers, static_smem_bytes, stack_bytes, spill_store_bytes, spill_load_bytes;
    int64_t barriers, param_bytes, code_bytes;
    int64_t max_threads; /* __launch_bounds__, 0: none */
};

struct built {
    int64_t id;
    enum verdict verdict; /* NONE: built; else NO_COMPILE, INVALID, TIMEOUT, CRASH */
    const char *reason;   /* one line, when not built */
    const char *log;
    const char *ptx, *cubin;
    size_t ptx_bytes, cubin_bytes;
    struct hash
        code_key; /* of machine code, resources and constants: equal means the same program */
    struct entry_facts entries[JOB_ENTRIES_MAX];
    int entry_count;
    const char *warnings; /* ptxas lines that cost speed, joined by "; " or "" */
    const char *slow;     /* that of them for which a search need not judge it, or "" */
    bool cached;
    double compile_ms;
};

struct message *compile_encode(struct arena *arena, const struct compile_job *job);
bool compile_decode(struct arena *arena, const struct message *message, struct compile_job *job,
                    struct err *err);
struct message *built_encode(struct arena *arena, const struct built *built);
bool built_decode(struct arena *arena, const struct message *message, struct built *built,
                  struct err *err);

/* How far a judge goes; each includes those before. */
enum effort {
    EFFORT_CORRECT, /* the correctness gate alone */
    EFFORT_MEASURE, /* and time what passes */
    EFFORT_PROMOTE, /* the gate of every input family on every shape of the job, those for the gate
                       alone included; the race gate; and time again */
    EFFORT_COUNT,
};

struct judge_image {
    const char *cubin, *ptx;
    size_t cubin_bytes, ptx_bytes;
    struct hash code_key; /* the judge refuses a cubin that does not hash to it */
    struct program program;
};

/* What a problem of a job is there for. */
enum use {
    USE_WHOLE, /* the whole gate, then the clock */
    USE_ONCE,  /* one case of the gate, one launch; then the clock */
    USE_TIME,  /* the clock alone */
    USE_GATE,  /* the whole gate alone; skipped when the program does not support it */
    USE_BAR,   /* a hundred cases of unit normals, none of which may be off by 2e-3; skipped as well
                */
    USE_TELL,  /* one case of each input family, one launch, and what it answers is told; skipped as
                  well */
    USE_COUNT,
};

static inline bool use_is_timed(enum use use) { return use <= USE_TIME; }

struct judge_job {
    int64_t id;
    const char *genes; /* text of the genome: names the candidate for people and recordings */
    struct judge_image images[JOB_IMAGES_MAX];
    int image_count;
    struct {
        struct problem problem;
        int image;
        /*
         * Microseconds: a time surely above this cannot matter to the search, so sampling may stop
         * after the quick rung. 0: none.
         */
        double bound_us;
        /*
         * What is sampled is to be told at this clock of the multiprocessors (score.h), so that the
         * scores of a run are alike; 0: nobody knows one yet.
         */
        double at_mhz;
        enum use use;
    } problems[JOB_PROBLEMS_MAX]; /* those of the workload first, then those for the gate alone */
    int problem_count;
    uint64_t secret; /* inputs are drawn from it; never the same twice */
    enum effort effort;
    int64_t cases_per_family; /* random cases for each input family and shape */
    bool want_samples;
    bool counters_later; /* of a promotion: with a later answer, if the judge lives to give it */
};

/* One comparison of the gate, as evidence. */
struct case_result {
    int problem;       /* index in the job */
    const char *shape; /* its text where it is none of the workload's, else ""; not sent: the engine
                          knows */
    enum rung rung;
    const char *family; /* input family; "" where none */
    uint64_t seed;
    enum verdict verdict;
    double error_max, error_allowed;     /* largest |out - ref| and its limit */
    double frobenius, frobenius_allowed; /* relative */
    int64_t rows_checked, rows_total;
    int64_t worst[4]; /* batch, head, row, column of the worst element; -1: none */
    double expected, got;
    const char *reason; /* one line, "" when it passed */
};

/* Times of one problem. samples are raw, in the order taken. */
struct timing {
    int problem;
    bool quick;      /* stopped at the quick rung: slower than the bound */
    double *span_us; /* clock 1: the call's span by activity records */
    double *mhz;     /* the multiprocessors' clock meanwhile, 0: unknown; NULL: of all of them */
    int span_count;
    double at_mhz;    /* the clock at which spans are told (score.h); 0: as they were */
    double *graph_us; /* clock 2: per call, by events around a graph of calls */
    int graph_count;
    double tick_us; /* resolution of clock 1 */
};

/* How a rung went on a problem, in numbers: all of its cases, those that are not kept too. */
struct rung_tally {
    int64_t passed, total;
    double error_max, error_allowed; /* of the case that came closest to its limit; NAN: none was */
};

/* What a program made of one case of a problem that is there to be told. */
struct answer {
    int problem;
    const char *family;
    uint64_t seed;
    const char *data; /* the output in its layout, then a float for each row's log-sum-exp */
    size_t bytes;     /* of answer_bytes */
};

/* Of one case of a problem. */
size_t answer_bytes(const struct problem *problem);

struct judge_result {
    int64_t id;
    enum verdict verdict;
    const char *reason;                      /* two sentences at most; "" for a pass */
    bool replayed;                           /* the verdict was read from a recording */
    struct case_result cases[JOB_CASES_MAX]; /* the last place is kept for a failure */
    int case_count;
    struct rung_tally tallies[JOB_PROBLEMS_MAX][RUNG_COUNT];
    struct timing timings[JOB_TIMED_MAX];
    int timing_count;
    struct {
        int problem; /* -1: of the whole candidate */
        enum metric metric;
        double value;       /* NAN when it could not be read */
        const char *reason; /* why not, else "" */
    } metrics[JOB_METRICS_MAX];
    int metric_count;
    /*
     * Metrics of programs that this judge passed before: counters are taken of several programs at
     * a time. id is that of the job.
     */
    struct {
        int64_t id;
        int problem;
        enum metric metric;
        double value;
        const char *reason;
    } counted[JOB_COUNTED_MAX];
    int counted_count;
    struct answer answers[JOB_ANSWERS_MAX];
    int answer_count;
    double device_ms; /* time the device was held */
};

/* A row that says nothing yet: it passed, and nothing was measured. */
struct case_result case_blank(int problem, enum rung rung);
/* Adds a row of evidence: always to the tallies, and to the cases while there is room. */
void case_record(struct judge_result *result, const struct case_result *row);

struct message *judge_encode(struct arena *arena, const struct judge_job *job);
bool judge_decode(struct arena *arena, const struct message *message, struct judge_job *job,
                  struct err *err);
struct message *result_encode(struct arena *arena, const struct judge_result *result);
bool result_decode(struct arena *arena, const struct message *message, struct judge_result *result,
                   struct err *err);

/* ---- DUEL: which of two is faster on one problem, and by how much? ---- */

enum { DUEL_BLOCKS_MAX = 1024 };

/* The libraries that a judge may know; NULL at the end. */
extern const char *const rival_names[];
bool rival_is_named(const char *name);

/* One of the two: a candidate's code, or a library by name. */
struct duel_side {
    const char *rival; /* one of rival_names; "" for the image */
    struct judge_image image;
};

struct duel_job {
    int64_t id;
    struct duel_side sides[2];
    struct problem problem;
    uint64_t secret; /* both are given the same inputs, drawn from it */
    int64_t cases_per_family;
    double cap_ms; /* of device time, for each clock */
};

/*
 * Each side goes through the gate first, and what is not right is not timed: then there are no
 * blocks. Blocks are raw and in the order taken; the statistics are the asker's (fitness/stats.h).
 */
struct duel_result {
    int64_t id;
    struct {
        enum verdict verdict; /* PASS, or why it was not timed */
        const char *reason;
        const char *name;         /* of a library: its version and plan; else "" */
        double error, allowed;    /* largest |out - exact|, and its limit there; NAN: none */
    } sides[2];
    struct {
        struct abba *blocks;
        int count;
        double tick_us;
    } span, graph; /* clock 1 and clock 2, per call */
    bool modelled; /* the times are a model's */
    double sm_clock_mhz, power_w, temperature_c; /* under load; NAN: unknown */
    uint64_t throttle_reasons;
    double device_ms;
};

struct message *duel_encode(struct arena *arena, const struct duel_job *job);
bool duel_decode(struct arena *arena, const struct message *message, struct duel_job *job,
                 struct err *err);
struct message *dueled_encode(struct arena *arena, const struct duel_result *result);
bool dueled_decode(struct arena *arena, const struct message *message, struct duel_result *result,
                   struct err *err);
/* What a judge is asked: its verb is judge, or one of these. */
bool message_is_duel(const struct message *message);
bool message_is_probe(const struct message *message);

/* ---- PROBE: how long does the device take for a round of this? ---- */

enum { PROBE_ROUNDS_MAX = PROBLEM_DIM_MAX };

/*
 * A probe (fitness/probes) is no candidate: it has no inputs and no answer, but reports from each
 * thread that the work was done. The judge finds as many rounds as its clock can tell apart, from
 * `rounds` up to `rounds_max`, and times a quarter of them as well.
 */
struct probe_job {
    int64_t id;
    struct judge_image image;
    int64_t rounds, rounds_max; /* multiples of 4 */
};

struct probe_result {
    int64_t id;
    enum verdict verdict; /* PASS, or why there are no times */
    const char *reason;
    int64_t rounds[2]; /* the fewer first */
    double us[2];      /* clock 1, medians */
    double graph_us;   /* clock 2 of the fewer rounds; NAN: unknown */
    double clock_mhz;  /* of the multiprocessors, while they worked */
    bool modelled;     /* the times are a model's */
};

struct message *probe_encode(struct arena *arena, const struct probe_job *job);
bool probe_decode(struct arena *arena, const struct message *message, struct probe_job *job,
                  struct err *err);
struct message *probed_encode(struct arena *arena, const struct probe_result *result);
bool probed_decode(struct arena *arena, const struct message *message, struct probe_result *result,
                   struct err *err);

/*
 * A worker that cannot take a job at all (its device is lost, say) says so and ends. id -1: it
 * could not even start, or read the job.
 */
struct message *failure_encode(struct arena *arena, int64_t id, const struct err *err);
bool failure_decode(const struct message *message, int64_t *id, struct err *failure,
                    struct err *err);

#endif
