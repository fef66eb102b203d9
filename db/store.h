/*
 * store -- the run's database: its only durable state, and this file is its only writer.
 *
 * One process writes (the engine), any number read (db/query.h, or the sqlite3 shell). The engine
 * works in rounds: everything between store_begin and store_commit happened or it did not, and
 * nothing is dispatched, reported or selected before its commit. After a failed commit the store is
 * rolled back and what the engine holds in memory is ahead of the disk: it must load again.
 * Whatever writes (insert, update, finish, begin, end, rescore, thin) is called inside a round;
 * this is asserted.
 *
 * A full disk is ERR_SYSTEM with *full true (store_is_full); the caller may wait and go on.
 * Rows given in have texts of any lifetime (they are copied); rows given out live in the arena.
 * Times are milliseconds since 1970, UTC. Owner: engine.c. Threads: one.
 */
#ifndef EVO_DB_STORE_H
#define EVO_DB_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/hash.h"
#include "fitness/ceilings.h"
#include "fitness/job.h"
#include "fitness/score.h"

struct store;

enum store_mode {
    STORE_CREATE, /* read and write; made and migrated as needed */
    STORE_READ,   /* read only; a database of another version is refused, saying so */
};

bool store_open(const char *path, enum store_mode mode, struct store **store, struct err *err);
void store_close(struct store *store); /* NULL is fine; an open round is rolled back */
bool store_begin(struct store *store, struct err *err);
bool store_commit(struct store *store, struct err *err);
void store_rollback(struct store *store);
/* Whether the last failure was for want of disk space. */
bool store_is_full(const struct store *store);

/* ---- runs ---- */

enum run_state {
    RUN_OPEN,
    RUN_FINISHED, /* its budget is spent, or its space exhausted */
};

struct run_row {
    int64_t id; /* set by store_run_insert */
    const char *name;
    const char *seed_path, *seed_text;
    const char *device_spec; /* auto, cuda:0, replay:FILE */
    const char *strategy;    /* evo, random */
    const char *evo_version;
    const char *device;  /* the model its judges run on; "" until the first says hello */
    int64_t device_arch, device_smem_max, device_sms; /* and what feasibility asks of it */
    const char *boot_id; /* of the host it last ran on: tells a dead host from a killed daemon */
    uint64_t rng_seed;
    uint64_t secret; /* inputs of the gate are drawn from it */
    /* Budgets; 0: unlimited. They may be raised when a run goes on. */
    int64_t budget_evaluations, budget_wall_ms, budget_device_ms;
    enum run_state state;
    const char *ended_because; /* "" while open */
    int64_t created_at, elapsed_ms; /* time it has been running, over all starts */
    double device_ms;
    int64_t duplicates; /* proposals refused: their genome had been proposed before */
};

bool store_run_insert(struct store *store, struct run_row *run, struct err *err);
/* The latest run of the database. *found false: there is none. */
bool store_run_latest(struct store *store, struct arena *arena, struct run_row *run, bool *found,
                      struct err *err);
/*
 * What another run of the same device and workload, with another strategy, had after as many
 * evaluations as the shorter of the two took, and what `run` had then.
 */
struct contrast_row {
    int64_t run, evaluations;
    char strategy[32];
    double us, own_us;
};
/* The latest of them, `room` at most; returns how many in *count. */
bool store_contrasts(struct store *store, int64_t run, int numerics, struct contrast_row *rows,
                     int room, int *count, struct err *err);
/*
 * What an arm of the run (docs/SEARCH.md: draw, climb) reached, and what all the rest had after as
 * many evaluations as it took. There are none in a short run, or one of another strategy.
 */
enum { ARMS_MAX = 2 };
struct arm_row {
    char operator_name[16];
    int64_t evaluations;
    double us, own_us;
};
bool store_arms(struct store *store, int64_t run, int numerics, struct arm_row rows[ARMS_MAX],
                int *count, struct err *err);
/* Writes budgets, state, ended_because, device and its facts, device_spec, boot_id, elapsed_ms,
 * device_ms, duplicates. */
bool store_run_update(struct store *store, const struct run_row *run, struct err *err);

/*
 * The run's shapes, in the order in which judgements name them by index; `flops` of one call gives
 * readers TFLOP/s.
 */
bool store_problem_insert(struct store *store, int64_t run, int index, const char *text,
                          double flops, struct err *err);

/* The texts of a run's templates, so that it goes on under edited files. */
bool store_template_insert(struct store *store, int64_t run, const char *name, const char *path,
                           const char *text, size_t length, struct err *err);
typedef void store_template_fn(void *context, const char *name, const char *path,
                               const char *text, size_t length);
bool store_templates_each(struct store *store, int64_t run, store_template_fn *each,
                          void *context, struct err *err);

/* A share of the judges' time (daemon/ledger.h). */
struct judge_time_row {
    const char *what, *part_of; /* part_of "": of all of it */
    double ms;
};
bool store_judge_time_put(struct store *store, int64_t run, const struct judge_time_row *row,
                          struct err *err);
typedef void store_judge_time_fn(void *context, const struct judge_time_row *row);
bool store_judge_time_each(struct store *store, int64_t run, store_judge_time_fn *each,
                           void *context, struct err *err); /* the largest first */

/* What the audit found of one gene (daemon/audit.h). */
struct audit_row {
    const char *family, *gene;
    const char *state; /* alive, dead, unknown */
    const char *by;    /* plan, code, "" */
    int64_t pairs;
};
/* What the run's device can do at most; *found false: nobody measured it before the run began. */
bool store_ceilings_insert(struct store *store, int64_t run, const struct ceilings *ceilings,
                           struct err *err);
bool store_ceilings(struct store *store, int64_t run, struct ceilings *ceilings, bool *found,
                    struct err *err);
/* A kernel of an earlier run, as a new one is taught it (daemon/lessons.h). */
struct lesson_row {
    int64_t source;
    const char *family, *genes;
    int numerics;
    double us;
};
/* Runs before this one with kernels that passed, the most like it first; *count: at most room. */
bool store_lesson_sources(struct store *store, int64_t run, int64_t *sources, int room, int *count,
                          struct err *err);
bool store_lesson_insert(struct store *store, int64_t run, const struct lesson_row *row,
                         struct err *err);
typedef void store_lesson_fn(void *context, const struct lesson_row *row);
/* Each program that passed in a run, the fastest first. */
bool store_lessons_gather(struct store *store, int64_t source, store_lesson_fn *each,
                          void *context, struct err *err);
/* What a run was taught. */
bool store_lessons_each(struct store *store, int64_t run, store_lesson_fn *each, void *context,
                        struct err *err);
bool store_audit_insert(struct store *store, int64_t run, const struct audit_row *row,
                        struct err *err);
typedef void store_audit_fn(void *context, const struct audit_row *row);
bool store_audit_each(struct store *store, int64_t run, store_audit_fn *each, void *context,
                      struct err *err);

/* The id of the environment a worker described, inserted when new. */
bool store_environment(struct store *store, const struct hello *hello, int64_t *id,
                       struct err *err);

/* ---- candidates ---- */

enum candidate_state {
    CANDIDATE_QUEUED, /* proposed; waits for, or is with, a worker */
    CANDIDATE_DONE,   /* has its verdict */
};

enum { CANDIDATE_PARENTS_MAX = 2 };

struct candidate_row {
    int64_t run, place;
    const char *family; /* "" for a source written elsewhere */
    const char *genes;  /* "BLOCK_M=32 BLOCK_N=64" */
    struct hash genome_hash;
    int island;
    const char *operator_name; /* founder step multi crossover immigrant jump ... */
    int64_t parents[CANDIDATE_PARENTS_MAX];
    int parent_count;
    int depth;    /* generations from a founder */
    int numerics; /* 0 FP32, 1 FP16 accumulation */
    double bound_us; /* see job.h; 0: none */
    int64_t created_at;

    enum candidate_state state;
    /* The rest is set when it is done. */
    struct hash source_hash; /* over the sources of all images; zero: never rendered */
    struct hash code_key;    /* over the images' code keys; zero: never built */
    struct hash plan_key;    /* over the plans of all problems */
    enum verdict verdict;
    const char *reason;
    bool replayed;
    int64_t alias_of;  /* the lowest place with the same code and plan, -1: itself */
    int64_t judgement; /* 0: none */
    int64_t finished_at;
    /* Read back only: the judgement's newest score; us 0 when there is none. */
    struct score score;
    double device_ms;
};

bool store_candidate_insert(struct store *store, const struct candidate_row *row,
                            struct err *err);
bool store_candidate_finish(struct store *store, const struct candidate_row *row,
                            struct err *err);
/* How many candidates a run has. */
bool store_candidate_count(struct store *store, int64_t run, int64_t *count, struct err *err);
typedef bool store_candidate_fn(void *context, const struct candidate_row *row, struct err *err);
/* All of a run in order of place; the row lives for the call only. */
bool store_candidates_each(struct store *store, int64_t run, store_candidate_fn *each,
                           void *context, struct err *err);

/* One compiled image of a candidate: its facts, and its code when it is worth keeping. */
struct build_row {
    int64_t run, place;
    int image;
    struct hash source_hash;
    const char *arch;
    const struct built *built; /* facts, log, warnings; code only if `keep_code` */
    bool keep_code;
};
bool store_build_insert(struct store *store, const struct build_row *row, struct err *err);
/* Adds the code to an image already recorded; for a candidate that became the best. */
bool store_build_keep(struct store *store, const struct hash *code_key, const void *ptx,
                      size_t ptx_bytes, const void *cubin, size_t cubin_bytes, struct err *err);

/* ---- attempts: what was tried on which worker; evidence, only appended ---- */

bool store_attempt_begin(struct store *store, int64_t run, int64_t place, enum role kind,
                         const char *worker, int64_t at, int64_t *id, struct err *err);
/* outcome: a verdict's name, "built", "died", "failed", "timeout", "abandoned" */
bool store_attempt_end(struct store *store, int64_t id, int64_t at, const char *outcome,
                       struct err *err);
/*
 * Attempts that were begun and never ended: whoever ran them is gone. Closes all of the run's at a
 * start, with the outcome "lost" (the host died under them) or "abandoned" (only the daemon did).
 */
bool store_attempts_close(struct store *store, int64_t run, int64_t at, const char *outcome,
                          struct err *err);
/* How many attempts at this place ended with the given outcome. */
bool store_attempts_count(struct store *store, int64_t run, int64_t place, const char *outcome,
                          int64_t *count, struct err *err);

/* ---- judgements: what a judge said of one program ---- */

struct judgement_key {
    struct hash code_key, plan_key;
    struct hash workload; /* of the problems' texts, in order */
    int64_t environment;
    int64_t gate_version;
};

struct judgement_row {
    int64_t id;
    struct judgement_key key;
    int64_t run, place; /* who it was made for */
    enum verdict verdict;
    const char *reason;
    bool replayed;
    double device_ms;
    struct score score; /* of the candidate; us 0 unless verdict is pass */
};

/*
 * Records a judgement with its cases, samples, metrics and scores (of each problem and of the
 * whole, only when it passed; problem_scores has one entry a timing). Sets row->id.
 */
bool store_judgement_insert(struct store *store, struct judgement_row *row,
                            const struct judge_result *result, const struct score *problem_scores,
                            struct err *err);
/* The metrics of earlier judgements of the run that came along with this result. */
bool store_counted_insert(struct store *store, int64_t run, const struct judge_result *result,
                          struct err *err);
bool store_judgement_find(struct store *store, const struct judgement_key *key,
                          struct arena *arena, struct judgement_row *row, bool *found,
                          struct err *err);
/*
 * The second judgement of a program, before it may be called best (db/migrate/0003_promotion.sql).
 */
struct promotion_row {
    int64_t searched; /* the first judgement: what the search knew */
    int64_t attempt;  /* whose number the secret was drawn by */
    int64_t tried;    /* candidates of the run up to and with it */
    const char *quarantine; /* why the first time was not believed; "": it was */
};

/* Like store_judgement_insert; a verdict other than pass takes away the rank of the first. */
bool store_promotion_insert(struct store *store, struct judgement_row *row,
                            const struct promotion_row *promotion,
                            const struct judge_result *result, const struct score *problem_scores,
                            struct err *err);
/* The second judgement of what was judged first by `searched`. */
bool store_promotion_find(struct store *store, int64_t searched, struct arena *arena,
                          struct judgement_row *row, bool *found, struct err *err);
/* The candidate, which has passed, is its run's and class's best from now on. */
bool store_crown(struct store *store, int64_t run, int64_t place, struct err *err);
/* Whoever was crowned last. */
bool store_champion(struct store *store, struct arena *arena, int64_t run, int numerics,
                    struct candidate_row *row, bool *found, struct err *err);
/*
 * Whether the judgement timed a shape below the floor that its judge reported (METRIC_FLOOR_US):
 * the first such shape's text, its time and that floor. shape NULL: none.
 */
struct floor_row {
    const char *shape;
    double us, floor_us;
};
bool store_judgement_floor(struct store *store, int64_t judgement, struct arena *arena,
                           struct floor_row *row, struct err *err);
/*
 * At which clock samples of a problem of this workload are told on this device: that of the first
 * that was measured in full; 0: there is none.
 */
bool store_clock(struct store *store, const struct hash *workload, int64_t environment, int problem,
                 double *at_mhz, struct err *err);

/*
 * What was promoted, timed in turns with a library on one shape (db/migrate/0005_duel.sql).
 */
struct duel_row {
    int64_t judgement;
    int problem;
    const char *rival, *plan;
    const char *reason;             /* why there are no times; "": there are */
    struct duel_score graph, span;  /* A is ours */
    double sm_clock_mhz, power_w;   /* under load; NAN: unknown */
    bool power_limited;
    double device_ms;
    int64_t measured_at;
};
/* `raw`: whose blocks are kept; NULL, or without any, where there is a reason. */
bool store_duel_insert(struct store *store, const struct duel_row *row,
                       const struct duel_result *raw, struct err *err);

/*
 * Recomputes scores of SCORE_VERSION for every judgement that lacks them, from stored samples, and
 * ranks by them. Costs little when there is nothing to do: called at every start of the engine, it
 * keeps ranks of one version.
 */
bool store_rescore(struct store *store, int64_t *rescored, struct err *err);

/*
 * The retention rule: raw samples of judgements that passed but are neither among the `keep` best
 * of their run nor younger than `keep` places are dropped (their scores stay). Nothing else ever
 * is.
 */
bool store_thin(struct store *store, int64_t run, int64_t keep, struct err *err);

/* What happened to the run besides candidates: started, went on, disk full, worker lost... */
bool store_event(struct store *store, int64_t run, int64_t at, const char *kind,
                 const char *text, struct err *err);

#endif
