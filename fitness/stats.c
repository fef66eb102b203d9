#include "fitness/stats.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/rng.h"

enum { TRIM_ONE_IN = 10 }; /* values cut at each end */

static const double pi = 3.14159265358979323846;

/* Student's t -------------------------------------------------------------------------------- */

/*
 * P(|T| <= t) for Student's T with `freedom` degrees: the finite series in theta = atan(t/sqrt(nu))
 * of Abramowitz and Stegun 26.7.3 (odd) and 26.7.4 (even).
 */
static double student_within(double t, int freedom)
{
    double theta = atan(t / sqrt(freedom));
    double cosine = cos(theta), square = cosine * cosine;
    bool odd = freedom % 2 != 0;
    double term = odd ? cosine : 1, sum = 0;

    for (int i = odd ? 1 : 0; i <= freedom - 2; i += 2) {
        sum += term;
        term *= square * (i + 1) / (i + 2);
    }
    return odd ? (theta + sin(theta) * sum) * 2 / pi : sin(theta) * sum;
}

double stats_student_t95(int freedom)
{
    double low = 1.9, high = 13; /* 1.96 for infinite freedom, 12.71 for one degree */

    for (int i = 0; i < 60; i++) {
        double middle = (low + high) / 2;

        if (student_within(middle, freedom) < 0.95) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return (low + high) / 2;
}

/* Quantiles ---------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double quantile_sorted(const double *sorted, int count, double p)
{
    double place = fmin(fmax(p, 0), 1) * (count - 1);
    int below = (int)place;

    if (below >= count - 1) {
        return sorted[count - 1];
    }
    return sorted[below] + (place - below) * (sorted[below + 1] - sorted[below]);
}

double stats_quantile(double *values, int count, double p)
{
    if (count < 1) {
        return NAN;
    }
    qsort(values, (size_t)count, sizeof *values, compare);
    return quantile_sorted(values, count, p);
}

/* The bootstrap ------------------------------------------------------------------------------ */

/* Trimmed mean of a sorted list in which value i stands times[i] times, count in all. */
static double trimmed_mean(const double *sorted, const uint32_t *times, int distinct, int count)
{
    int cut = count / TRIM_ONE_IN, kept = count - 2 * cut, skip = cut, left = kept;
    double sum = 0;

    for (int i = 0; i < distinct && left > 0; i++) {
        int here = times == NULL ? 1 : (int)times[i];
        int skipped = here < skip ? here : skip;

        skip -= skipped;
        here -= skipped;
        here = here < left ? here : left;
        left -= here;
        sum += here * sorted[i];
    }
    return sum / kept;
}

/* The share of resamples below the interval's lower end, as Student's t asks for. */
static double expanded_tail(int count)
{
    double t = stats_student_t95(count - 1) * sqrt((double)count / (count - 1));

    return erfc(t / sqrt(2)) / 2;
}

static void resample(const double *sorted, int count, uint64_t seed, double *means)
{
    uint32_t *times = xmalloc((size_t)count * sizeof *times);
    struct rng rng = rng_at(seed, 0, 0);

    for (int r = 0; r < STATS_RESAMPLES; r++) {
        memset(times, 0, (size_t)count * sizeof *times);
        for (int i = 0; i < count; i++) {
            times[rng_below(&rng, (uint32_t)count)]++;
        }
        means[r] = trimmed_mean(sorted, times, count, count);
    }
    free(times);
}

bool stats_mean(const double *values, int count, uint64_t seed, struct estimate *mean)
{
    double *sorted, *means, tail;

    for (int i = 0; i < count; i++) {
        if (!isfinite(values[i])) {
            return false;
        }
    }
    if (count < 2) {
        return false;
    }
    sorted = xmalloc((size_t)count * sizeof *sorted);
    means = xmalloc(STATS_RESAMPLES * sizeof *means);
    memcpy(sorted, values, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, compare);
    resample(sorted, count, seed, means);
    tail = expanded_tail(count);
    mean->value = trimmed_mean(sorted, NULL, count, count);
    mean->low = stats_quantile(means, STATS_RESAMPLES, tail);
    mean->high = quantile_sorted(means, STATS_RESAMPLES, 1 - tail);
    free(means);
    free(sorted);
    return true;
}

/* Comparisons -------------------------------------------------------------------------------- */

static bool is_time(double us) { return isfinite(us) && us > 0; }

/* Anywhere within half a tick of what was read. */
static double dithered(double us, double tick_us, struct rng *rng)
{
    double moved = us + tick_us * (rng_unit(rng) - 0.5);

    return moved > 0 ? moved : us;
}

static double log_ratio(const struct abba *block, double tick_us, struct rng *rng)
{
    double sum = 0;

    for (int i = 0; i < 2; i++) {
        sum += log(dithered(block->b[i], tick_us, rng));
        sum -= log(dithered(block->a[i], tick_us, rng));
    }
    return sum / 2;
}

bool stats_speedup(const struct abba *blocks, int count, double tick_us, uint64_t seed,
                   struct estimate *speedup)
{
    struct rng rng = rng_at(seed, 1, 0);
    double *ratios;
    bool ok;

    if (count < STATS_BLOCKS_MIN) {
        return false;
    }
    for (int i = 0; i < count; i++) {
        const struct abba *block = &blocks[i];

        if (!(is_time(block->a[0]) && is_time(block->a[1]) && is_time(block->b[0]) &&
              is_time(block->b[1]))) {
            return false;
        }
    }
    ratios = xmalloc((size_t)count * sizeof *ratios);
    for (int i = 0; i < count; i++) {
        ratios[i] = log_ratio(&blocks[i], tick_us, &rng);
    }
    ok = stats_mean(ratios, count, seed, speedup);
    free(ratios);
    if (ok) {
        *speedup = (struct estimate){exp(speedup->value), exp(speedup->low), exp(speedup->high)};
    }
    return ok;
}

struct estimate stats_combine(const struct estimate *speedups, int count)
{
    double mean = 0, low = 0, high = 0;

    assert(count >= 1);
    if (count == 1) {
        return speedups[0]; /* to the bit, which exp(log(x)) is not */
    }
    for (int i = 0; i < count; i++) {
        double down = log(speedups[i].value / speedups[i].low); /* infinite when low is 0 */
        double up = log(speedups[i].high / speedups[i].value);

        mean += log(speedups[i].value) / count;
        low += down * down;
        high += up * up;
    }
    return (struct estimate){
        .value = exp(mean),
        .low = exp(mean - sqrt(low) / count),
        .high = exp(mean + sqrt(high) / count),
    };
}
