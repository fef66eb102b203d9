/*
 * bench_space -- searches replayed on a recorded space, and what they are worth.
 *
 * A run is the search of `evo start` itself (search/population.h) with a table in place of
 * compilers and a GPU: the same proposals from the same outcomes. Runs are divided among processes;
 * each is a function of its strategy and number alone.
 *
 * The score P is that of the autotuning methodology: how far a strategy's best lies between what
 * random search without replacement is expected to have and the optimum, averaged over a budget
 * that ends where random search would have come 95 % of the way from the median to the optimum
 * (docs/SEARCH.md has the definition).
 */
#ifndef EVO_CLI_BENCH_SPACE_H
#define EVO_CLI_BENCH_SPACE_H

#include "base/arena.h"
#include "base/err.h"
#include "fitness/space.h"
#include "genome/family.h"
#include "search/population.h"

enum {
    BENCH_EVALS_MAX = 20000,
    BENCH_REPEATS_MAX = 10000,
    BENCH_JOBS_MAX = 256,
    BENCH_UNSOLVED = 200, /* evaluations that a run counts for which never came near the optimum */
    BENCH_MARKS = 5,
    BENCH_NEARS = 3,
};

extern const int bench_marks[BENCH_MARKS]; /* 25, 50, 100, 200, 400 evaluations */
extern const int bench_nears[BENCH_NEARS]; /* within 10, 5, 1 % */

struct bench_space;

struct bench_plan {
    int evals, repeats, jobs;
    int lag; /* as in a seed; 1: every outcome is known to the next proposal */
    /* A time is the mean of samples around the recorded one with the recorded spread, and a judge
     * decides how many there are. */
    bool noise;
    /* Is searched before each run, for as long, and remembered in it; NULL: nothing is. */
    const struct bench_space *memory;
};

/* One run: after each evaluation the true time of what is thought to be best, and the clock. */
struct bench_run {
    double *best_us; /* [evals]; 0 before the first success */
    double *clock_ms;
    double search_us; /* CPU time of the search itself */
    double samples;   /* taken, where there is noise */
    int settled;      /* evaluations after which it would have ended by itself; 0: it went on */
};

struct bench_result {
    double best_rel[BENCH_MARKS]; /* medians; 0: no run went as far */
    double evals_to[BENCH_NEARS], spread[BENCH_NEARS]; /* means, and half of their 95 % intervals */
    double median_to[BENCH_NEARS];                     /* 0: most runs never got there */
    double solved[BENCH_NEARS];                        /* shares, by BENCH_UNSOLVED evaluations */
    double score, score_time;
    double ms_per_proposal;
    double samples; /* an evaluation; 0 without noise */
    double chosen;  /* the share of runs that end with one within the last of bench_nears */
    /* Runs that would have ended by themselves, the sum of their evaluations until then, and how
     * many of them had one within the last of bench_nears. */
    int settled, settled_near;
    int64_t settled_at;
};

/* A recorded space with what its score needs. */
struct bench_space {
    struct space *space;
    struct family *family;
    double *ascending; /* times of what passed */
    int64_t passed;
    double optimum_us, median_us;
    double cost_median_ms, cost_mean_ms; /* of any row; of a success, with its share of failures */
    int first, last; /* evaluations at which the budget begins and ends */
};

bool bench_open(struct arena *arena, const char *path, int evals, struct bench_space *bench,
                struct err *err);
/* Whether genomes of one space mean something in the other: parameters of the same names. */
bool bench_alike(const struct bench_space *a, const struct bench_space *b);
bool bench_run_all(struct arena *arena, const struct bench_space *bench,
                   enum seed_strategy strategy, const struct bench_plan *plan,
                   struct bench_result *result, struct err *err);

#endif
