#include "fitness/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fitness/job.h"

enum { TRIM_ONE_IN = 10 }; /* samples cut at each end */

/* Right programs were seen at 0.96 of their span, and 1.5 us less for each gap within a call. */
static const double fresh_share = 1.15, fresh_slack_us = 0.5;
static const double graph_share = 0.6, launch_gap_us = 1, record_gap_us = 1.75;

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Half the width of the trimmed mean's interval; `sorted` loses its ends to winsorising. */
static double half_width(double *sorted, int count, int cut)
{
    int kept = count - 2 * cut;
    double mean = 0, squares = 0;

    if (kept < 2) {
        return 0;
    }
    for (int i = 0; i < cut; i++) {
        sorted[i] = sorted[cut];
        sorted[count - 1 - i] = sorted[count - 1 - cut];
    }
    for (int i = 0; i < count; i++) {
        mean += sorted[i] / count;
    }
    for (int i = 0; i < count; i++) {
        squares += (sorted[i] - mean) * (sorted[i] - mean);
    }
    return stats_student_t95(kept - 1) * sqrt(squares / ((double)kept * (kept - 1)));
}

bool score_of_samples(const double *samples_us, int count, double tick_us, struct score *score)
{
    int cut = count / TRIM_ONE_IN;
    double *sorted, sum = 0, half;

    if (count < 1) {
        return false;
    }
    for (int i = 0; i < count; i++) {
        if (!(isfinite(samples_us[i]) && samples_us[i] > 0)) {
            return false;
        }
    }
    sorted = xmalloc((size_t)count * sizeof *sorted);
    memcpy(sorted, samples_us, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, compare);
    for (int i = cut; i < count - cut; i++) {
        sum += sorted[i];
    }
    score->us = sum / (count - 2 * cut);
    half = half_width(sorted, count, cut) + tick_us / 2;
    score->low = fmax(score->us - half, 0);
    score->high = score->us + half;
    free(sorted);
    return true;
}

static bool is_told(const struct timing *timing)
{
    int known = 0;

    for (int i = 0; timing->mhz != NULL && i < timing->span_count; i++) {
        known += timing->mhz[i] > 0;
    }
    return timing->at_mhz > 0 && known > 0 && 2 * known >= timing->span_count;
}

double score_told(const struct timing *timing, int i)
{
    if (!is_told(timing)) {
        return timing->span_us[i];
    }
    return timing->mhz[i] > 0 ? timing->span_us[i] * timing->mhz[i] / timing->at_mhz : NAN;
}

bool score_of_timing(const struct timing *timing, struct score *score)
{
    double *told = xmalloc(((size_t)timing->span_count + 1) * sizeof *told);
    bool all = !is_told(timing), ok;
    int count = 0;

    for (int i = 0; i < timing->span_count; i++) {
        if (all) {
            told[count++] = timing->span_us[i];
        } else if (timing->mhz[i] > 0) {
            told[count++] = timing->span_us[i] * timing->mhz[i] / timing->at_mhz;
        }
    }
    ok = score_of_samples(told, count, timing->tick_us, score);
    free(told);
    return ok;
}

double score_clock(const double *mhz, int count)
{
    double *known = xmalloc(((size_t)count + 1) * sizeof *known), median;
    int found = 0;

    for (int i = 0; i < count; i++) {
        if (mhz[i] > 0) {
            known[found++] = mhz[i];
        }
    }
    median = found > 0 ? stats_quantile(known, found, 0.5) : NAN;
    free(known);
    return median;
}

struct score score_combine(const struct score *scores, int count)
{
    struct estimate *parts = xmalloc((size_t)count * sizeof *parts), all;

    for (int i = 0; i < count; i++) {
        parts[i] = (struct estimate){scores[i].us, scores[i].low, scores[i].high};
    }
    all = stats_combine(parts, count);
    free(parts);
    return (struct score){all.value, all.low, all.high};
}

struct gain score_gain(const struct score *theirs, const struct score *ours)
{
    double ratio = theirs->us / ours->us;
    double down = hypot(log(theirs->us / theirs->low), log(ours->high / ours->us));
    double up = hypot(log(theirs->high / theirs->us), log(ours->us / ours->low));

    return (struct gain){.ratio = ratio, .low = ratio * exp(-down), .high = ratio * exp(up)};
}

bool score_of_duel(const struct abba *blocks, int count, double tick_us, uint64_t seed,
                   struct duel_score *score)
{
    double *times = xmalloc((size_t)(count > 0 ? count : 1) * 2 * sizeof *times);
    bool ok = stats_speedup(blocks, count, tick_us, seed, &score->speedup);

    for (int side = 0; ok && side < 2; side++) {
        for (int i = 0; i < count; i++) {
            const double *pair = side == 0 ? blocks[i].a : blocks[i].b;

            times[2 * i] = pair[0];
            times[2 * i + 1] = pair[1];
        }
        score->us[side] = stats_quantile(times, 2 * count, 0.5);
    }
    free(times);
    return ok;
}

double score_graph_least(double span_us, int operations)
{
    return graph_share * span_us - launch_gap_us - record_gap_us * (operations - 1);
}

double score_fresh_most(double span_us) { return fresh_share * span_us + fresh_slack_us; }
