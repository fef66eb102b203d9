#include "fitness/score.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

enum { TRIM_ONE_IN = 10 }; /* samples cut at each end */

static const double pi = 3.14159265358979323846;

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

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

/* The t that a Student variable stays within, either way, 95 times in 100. */
static double student_t95(int freedom)
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
    return student_t95(kept - 1) * sqrt(squares / ((double)kept * (kept - 1)));
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

struct score score_combine(const struct score *scores, int count)
{
    double mean = 0, low = 0, high = 0;

    assert(count >= 1);
    if (count == 1) {
        return scores[0]; /* to the bit, which exp(log(us)) is not */
    }
    for (int i = 0; i < count; i++) {
        double down = log(scores[i].us / scores[i].low); /* infinite when low is 0 */
        double up = log(scores[i].high / scores[i].us);

        mean += log(scores[i].us) / count;
        low += down * down;
        high += up * up;
    }
    return (struct score){
        .us = exp(mean),
        .low = exp(mean - sqrt(low) / count),
        .high = exp(mean + sqrt(high) / count),
    };
}

double quantile(double *values, int count, double p)
{
    double place = fmin(fmax(p, 0), 1) * (count - 1);
    int below = (int)place;

    if (count < 1) {
        return NAN;
    }
    qsort(values, (size_t)count, sizeof *values, compare);
    if (below >= count - 1) {
        return values[count - 1];
    }
    return values[below] + (place - below) * (values[below + 1] - values[below]);
}
