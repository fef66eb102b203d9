/*
 * query -- the reading side of the database, for the commands and views.
 *
 * Read-only and safe while a daemon writes: each call is one short transaction. Rows live in the
 * caller's arena. The same facts are open to anyone with the sqlite3 shell through the views
 * best_kernel, leaderboard and lineage (db/schema.sql).
 */
#ifndef EVO_DB_QUERY_H
#define EVO_DB_QUERY_H

#include "db/store.h"

/* What the search had seen of a candidate before its second judgement. */
struct promotion_facts {
    int64_t searched; /* the first judgement; 0: there was no second */
    int64_t tried;    /* candidates up to and with it */
    const char *quarantine; /* why the first time was not believed; "": it was */
    struct score score;
};

/* One line of progress: what `evo status` and the follower of `evo start` show. */
struct status_row {
    struct run_row run;
    const char *device, *backend; /* of the latest judge */
    int64_t proposed, finished, passed, aliases;
    int64_t by_verdict[VERDICT_COUNT];
    int64_t best_place; /* -1: none yet; of FP32 numerics as long as one of them passed */
    const char *best_family, *best_genes;
    struct promotion_facts promotion; /* of the best */
    struct score best, founder; /* us 0: none; founder is the first place that passed as founder */
    int64_t best_finished_at;   /* when the best was found */
    int64_t best_evaluation;    /* how many had finished by then */
    int64_t recent_finished, recent_ms; /* the last 100 or so, and how long they took to come */
};
/* *found false: the database holds no run. run 0: the latest. */
bool query_status(struct store *store, struct arena *arena, int64_t run, struct status_row *row,
                  bool *found, struct err *err);

/* Duels of what was promoted by this judgement with libraries, by problem and rival. */
bool query_duels(struct store *store, struct arena *arena, int64_t judgement,
                 struct duel_row **rows, int64_t *count, struct err *err);
/*
 * What they say together. Of each problem, the rival that was hardest to beat counts; the mean is
 * geometric, over `timed` problems.
 */
struct rivalry_facts {
    int timed;
    struct estimate mean;         /* by the graph clock */
    const struct duel_row *worst; /* NULL: none was timed */
};
/* The row of the rival that was hardest to beat on a problem; NULL: none was timed. */
const struct duel_row *rivalry_on(const struct duel_row *rows, int64_t count, int problem);
struct rivalry_facts rivalry_of(const struct duel_row *rows, int64_t count);

struct kernel_row {
    struct candidate_row candidate;
    const char *device;
    struct promotion_facts promotion;
    struct duel_row *duels; /* with libraries; by problem and rival */
    int64_t duel_count;
    double gain_over_founder; /* founder's time / its time, of the filter's problem; 0: unknown */
    int64_t registers, spill_bytes, smem_bytes, evaluations_before;
    struct {
        const char *problem;
        struct score score;
        double graph_us; /* median of clock 2; NAN when not measured */
        double at_mhz;   /* the clock at which the score is told; NAN: as it was measured */
        bool quick;
    } problems[JOB_PROBLEMS_MAX];
    int problem_count;
};

struct best_filter {
    int64_t run;          /* 0: the latest */
    const char *family;   /* NULL: all */
    const char *problem;  /* NULL: the whole workload; else ranked by this shape */
    int numerics;         /* -1: all, each ranked for itself */
    int64_t limit;        /* of each class of numerics; 0: all */
};
/* An unknown problem is ERR_USER; a run that does not exist, or has no pass yet, gives no rows. */
bool query_best(struct store *store, struct arena *arena, const struct best_filter *filter,
                struct kernel_row **rows, int64_t *count, struct err *err);

/*
 * "n147", "r2.n147" (run 2), "147", or "best". *found false: there is no such candidate. A text
 * that is none of these is ERR_USER.
 */
bool query_resolve(struct store *store, const char *text, int64_t *run, int64_t *place,
                   bool *found, struct err *err);
bool query_kernel(struct store *store, struct arena *arena, int64_t run, int64_t place,
                  struct kernel_row *row, bool *found, struct err *err);

/*
 * Everything recorded about one candidate's builds, cases, attempts and metrics. An alias that was
 * never compiled itself shows the builds of the place it is an alias of.
 */
struct build_facts {
    int image;
    struct hash source_hash, code_key;
    const char *arch, *log, *warnings;
    const char *ptx, *cubin; /* NULL when not kept */
    size_t ptx_bytes, cubin_bytes;
    struct entry_facts entries[JOB_ENTRIES_MAX];
    int entry_count;
    double compile_ms;
};
bool query_builds(struct store *store, struct arena *arena, int64_t run, int64_t place,
                  struct build_facts **builds, int64_t *count, struct err *err);
bool query_cases(struct store *store, struct arena *arena, int64_t judgement,
                 struct case_result **cases, int64_t *count, struct err *err);
struct metric_value {
    int problem;
    const char *name, *reason;
    double value;
};
bool query_metrics(struct store *store, struct arena *arena, int64_t judgement,
                   struct metric_value **metrics, int64_t *count, struct err *err);

/* What the audit found so far, by family and gene. */
bool query_audit(struct store *store, struct arena *arena, int64_t run, struct audit_row **rows,
                 int64_t *count, struct err *err);

/* The candidate and all its ancestors, founders first; parents before children, each once. */
bool query_lineage(struct store *store, struct arena *arena, int64_t run, int64_t place,
                   struct candidate_row **rows, int64_t *count, struct err *err);

/* Only the first parents', and their second parents besides; the newest `limit`. */
bool query_descent(struct store *store, struct arena *arena, int64_t run, int64_t place,
                   int64_t limit, struct candidate_row **rows, int64_t *count, struct err *err);

struct event_row {
    int64_t at;
    const char *kind, *text;
};
bool query_events(struct store *store, struct arena *arena, int64_t run, int64_t limit,
                  struct event_row **rows, int64_t *count, struct err *err);

/* What became of a place, in a few words. Texts are the reader's until the next row. */
struct story_row {
    int64_t place, evaluation, created_at, finished_at;
    int64_t alias_of, parents[2]; /* -1: none */
    const char *family, *operator_name, *genes;
    int island, numerics;
    enum verdict verdict;
    bool rendered, built;
    struct score score; /* us 0: none */
};
typedef void story_visit(void *context, const struct story_row *row);
/*
 * Visits the places above `after` that are done, in order, `limit` at most; done places are a
 * prefix of a running search, so a view goes on where it was. *count: how many were visited.
 */
bool query_story(struct store *store, int64_t run, int64_t after, int64_t limit,
                 story_visit *visit, void *context, int64_t *count, struct err *err);

struct in_flight_row {
    int64_t place, begun_at;
    const char *role, *worker;
};
bool query_in_flight(struct store *store, struct arena *arena, int64_t run,
                     struct in_flight_row **rows, int64_t *count, struct err *err);

/* The device as it was when the newest pass was timed; NAN: unknown. */
struct device_state {
    double sm_clock_mhz, power_w, temperature_c, throttle_reasons;
};
bool query_device_state(struct store *store, int64_t run, struct device_state *state,
                        struct err *err);

/* The device's state over the run, some `count` readings. */
struct strip_row {
    int64_t at;
    struct device_state state;
};
typedef void strip_visit(void *context, const struct strip_row *row);
bool query_device_strip(struct store *store, int64_t run, int64_t count, strip_visit *visit,
                        void *context, struct err *err);

#endif
