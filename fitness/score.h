/*
 * score -- from raw samples to one number with its interval; pure and versioned.
 *
 * A score is a function of recorded samples alone, so `evo rescore` recomputes it without a GPU.
 * Its definition is below; any change of it raises SCORE_VERSION and leaves old scores in place.
 *
 * Version 1. Of one problem: the 20 % trimmed mean (10 % off each end) of clock 1's samples; its
 * 95 % interval is Student's t on the winsorised variance (Tukey and McLaughlin), widened by half a
 * tick of the clock on each side. A single sample (a recording) is its own interval. Of a
 * candidate: the geometric mean over problems; its interval is that of the logarithms, taken as
 * independent.
 *
 * Version 2: the same, of samples told at one clock. Where a timing says a clock, at_mhz, and for
 * half of its samples or more the clock mhz is known at which they were taken, those count, as
 * us * mhz / at_mhz: what their cycles take at that clock. Without, as in version 1. (Why:
 * docs/MEASURING.md, the power limit.)
 *
 * In full, for n samples, sorted: g = floor(n / 10) are cut at each end, h = n - 2g stay. SSD is
 * the sum of squared deviations of the winsorised samples (the cut ones set to the nearest that
 * stayed) from their mean; the interval is +- t(0.975, h - 1) sqrt(SSD / (h (h - 1))). Its low end
 * is never below 0. Combined, with k problems and d_i the distance of an end from us_i in
 * logarithms, that end lies sqrt(sum d_i^2) / k from the mean logarithm.
 */
#ifndef EVO_FITNESS_SCORE_H
#define EVO_FITNESS_SCORE_H

#include <stdbool.h>

#include "fitness/stats.h"

enum { SCORE_VERSION = 2 };

struct timing; /* job.h */

struct score {
    double us;       /* microseconds: less is better */
    double low, high; /* the 95 % interval */
};

/* False when there is no sample, or one that is not a finite number above 0. */
bool score_of_samples(const double *samples_us, int count, double tick_us, struct score *score);
/* The score of a timing, by the definition above. */
bool score_of_timing(const struct timing *timing, struct score *score);
/* Its i-th sample at its clock; NAN: it does not count. */
double score_told(const struct timing *timing, int i);
/* The median of clocks that are known (above 0); NAN: of none. */
double score_clock(const double *mhz, int count);
/* Geometric mean of `count` scores, count >= 1. */
struct score score_combine(const struct score *scores, int count);

/* How many times faster `ours` is than `theirs`; low and high bound it in 95 of 100 cases. */
struct gain {
    double ratio, low, high;
};

/* The intervals' ends are taken as independent: their logarithmic distances add as squares do. */
struct gain score_gain(const struct score *theirs, const struct score *ours);

/*
 * The two clocks see the same calls, but for the launch gaps and for what is poisoned before a call
 * whose span is taken. Below this a graph of calls is too fast to have done what the spans show:
 * the program does less when its answer is in place. `operations`: kernels and memsets of a call,
 * whose gaps records widen.
 */
double score_graph_least(double span_us, int operations);

/*
 * A call takes as long on inputs that no call saw before, but for what caches hold and for the few
 * samples there are of it. Above this the program keeps answers somewhere.
 */
double score_fresh_most(double span_us);

/* What the blocks of a duel by one clock say. */
struct duel_score {
    double us[2];            /* medians of A and B */
    struct estimate speedup; /* of A over B */
};
/* False: too few blocks to say. */
bool score_of_duel(const struct abba *blocks, int count, double tick_us, uint64_t seed,
                   struct duel_score *score);

#endif
