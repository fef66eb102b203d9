/*
 * stats -- intervals that can be trusted, of times that cannot.
 *
 * Pure functions of their arguments: the same samples and seed give the same bits everywhere, so
 * what a recorded comparison says can be computed again. Shared by engine and workers.
 *
 * The statistic is the 20 % trimmed mean (10 % cut off each end): a late interrupt does not move
 * it, and unlike a median it does not stick to the ticks of a clock. Its 95 % interval comes from
 * 10,000 bootstrap resamples, read at percentiles that are moved outwards as Student's t is from
 * the normal (Hesterberg's expanded percentiles): the plain ones are too narrow for few samples.
 *
 * Two programs are compared by blocks of four runs, A B B A. Within a block a drift of the clock
 * that is linear in time cancels; one block is one observation, the logarithm of a ratio. A
 * program compared with itself is called different in 3.5 to 6.5 of 100 comparisons, by test.
 */
#ifndef EVO_FITNESS_STATS_H
#define EVO_FITNESS_STATS_H

#include <stdbool.h>
#include <stdint.h>

enum {
    STATS_RESAMPLES = 10000,
    STATS_BLOCKS_MIN = 8, /* fewer bound nothing at 95 % that is worth saying */
};

struct estimate {
    double value, low, high; /* low and high: of the 95 % interval */
};

/* Times of one block, in the order taken: a[0] b[0] b[1] a[1]. */
struct abba {
    double a[2], b[2];
};

/* The trimmed mean of count >= 2 finite values, with its interval; false when they are not. */
bool stats_mean(const double *values, int count, uint64_t seed, struct estimate *mean);

/*
 * How many times as fast A is as B: time of B over time of A. tick_us is the resolution of the
 * clock. Where a run begins within a tick is chance, so rounding favours neither; but values that
 * only take a few steps make a bootstrap too sure or not sure enough, so each time is first moved
 * to anywhere within its tick. False for fewer than STATS_BLOCKS_MIN blocks, or a time that is not
 * finite and above 0.
 */
bool stats_speedup(const struct abba *blocks, int count, double tick_us, uint64_t seed,
                   struct estimate *speedup);

/* The geometric mean of speed-ups taken as independent; count >= 1. */
struct estimate stats_combine(const struct estimate *speedups, int count);

/* The t that a Student variable of so many degrees of freedom stays within 95 times in 100. */
double stats_student_t95(int freedom);

/* The p-quantile (linear between order statistics) of values, which it sorts; NaN of none. */
double stats_quantile(double *values, int count, double p);

#endif
