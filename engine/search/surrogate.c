#include "search/surrogate.h"

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

enum {
    BLOCK = CLOUD_LANES, /* a row of them stays in the nearest cache */
    FIT_STEPS = 30,
    ROWS_GROW = 32,
};

/* Priors of the logarithms of scales and noise, and where a fit begins. */
static const double SCALE_MEAN = 0.3, NOISE_MEAN = -6.0, NOISE_SPREAD = 2.0;
static const double LOG_SCALE_MIN = -3.0, LOG_SCALE_MAX = 3.4;
static const double LOG_NOISE_MIN = -11.0, LOG_NOISE_MAX = 0.0;
static const double JITTER = 1e-8, VARIANCE_MIN = 1e-6;

/* ---- the covariance ---- */

static double squared_step(const struct kernel *kernel, int dim, const struct point *a,
                           const struct point *b)
{
    double step = (double)a->at[dim] - (double)b->at[dim];

    return kernel->label[dim] ? step != 0 : step * step;
}

static double matern(double squared)
{
    double q = sqrt(3.0 * squared);

    return (1.0 + q) * exp(-q);
}

double kernel_value(const struct kernel *kernel, const struct point *a, const struct point *b)
{
    double squared = 0;

    for (int d = 0; d < kernel->dims; d++) {
        squared += squared_step(kernel, d, a, b) * kernel->scale[d] * kernel->scale[d];
    }
    return matern(squared);
}

/* ---- fitting ---- */

/*
 * The negative log posterior of log scales and log noise, the signal's variance profiled out, and
 * its gradient. With W = K^-1 - (n/q) a a', a = K^-1 y, q = y'a, each derivative is half the sum of
 * W times that of K.
 */
struct fit {
    int count, dims;
    const double *y;
    float (*steps)[SURROGATE_DIMS_MAX]; /* squared, of each pair i > j, at i (i - 1) / 2 + j */
    double (*k)[SURROGATE_FIT_MAX];       /* the factor below its diagonal and on it */
    double (*inverse)[SURROGATE_FIT_MAX]; /* of the factor, then of K */
    double alpha[SURROGATE_FIT_MAX];
    double *slopes; /* dK/d(squared distance) of each pair */
};

/* K = L L' in place, the lower half; the sum of log L_ii, or NAN. */
static double factorise(double (*k)[SURROGATE_FIT_MAX], int n)
{
    double logs = 0;

    for (int i = 0; i < n; i++) {
        for (int j = 0; j <= i; j++) {
            double sum = k[i][j];

            for (int m = 0; m < j; m++) {
                sum -= k[i][m] * k[j][m];
            }
            if (i != j) {
                k[i][j] = sum / k[j][j];
            } else if (sum > 1e-12) {
                k[i][i] = sqrt(sum);
                logs += log(k[i][i]);
            } else {
                return NAN;
            }
        }
    }
    return logs;
}

/* The lower half of K^-1 from the factor. */
static void invert(double (*l)[SURROGATE_FIT_MAX], double (*out)[SURROGATE_FIT_MAX], int n)
{
    for (int j = 0; j < n; j++) { /* rows of `out` are columns of L^-1 */
        memset(out[j], 0, (size_t)n * sizeof out[j][0]);
        out[j][j] = 1.0 / l[j][j];
        for (int i = j + 1; i < n; i++) {
            double sum = 0;

            for (int m = j; m < i; m++) {
                sum += l[i][m] * out[j][m];
            }
            out[j][i] = -sum / l[i][i];
        }
    }
    for (int i = 0; i < n; i++) { /* K^-1 = L^-T L^-1; [j][i] with j < i is not read any more */
        for (int j = 0; j <= i; j++) {
            double sum = 0;

            for (int m = i; m < n; m++) {
                sum += out[i][m] * out[j][m];
            }
            l[i][j] = sum;
        }
    }
}

static void fill_covariance(struct fit *fit, const double *theta)
{
    double weights[SURROGATE_DIMS_MAX], noise = exp(theta[fit->dims]);
    int pair = 0;

    for (int d = 0; d < fit->dims; d++) {
        weights[d] = exp(2.0 * theta[d]);
    }
    for (int i = 0; i < fit->count; i++) {
        for (int j = 0; j < i; j++, pair++) {
            double squared = 0, q, fall;

            for (int d = 0; d < fit->dims; d++) {
                squared += (double)fit->steps[pair][d] * weights[d];
            }
            q = sqrt(3.0 * squared);
            fall = exp(-q);
            fit->k[i][j] = (1.0 + q) * fall;
            fit->slopes[pair] = -1.5 * fall;
        }
        fit->k[i][i] = 1.0 + noise + JITTER;
    }
}

static double prior(const struct fit *fit, const double *theta, double *gradient)
{
    double sum = 0, off;

    for (int d = 0; d < fit->dims; d++) {
        off = theta[d] - SCALE_MEAN;
        sum += 0.5 * off * off;
        gradient[d] = off;
    }
    off = (theta[fit->dims] - NOISE_MEAN) / NOISE_SPREAD;
    gradient[fit->dims] = off / NOISE_SPREAD;
    return sum + 0.5 * off * off;
}

static double evaluate(struct fit *fit, const double *theta, double *gradient)
{
    double weights[SURROGATE_DIMS_MAX], sums[SURROGATE_DIMS_MAX] = {0}, logs, q = 0, trace = 0,
                                        value;
    int n = fit->count, pair = 0;

    fill_covariance(fit, theta);
    logs = factorise(fit->k, n);
    if (isnan(logs)) {
        return INFINITY;
    }
    invert(fit->k, fit->inverse, n); /* K^-1 is in fit->k now */
    for (int i = 0; i < n; i++) {
        double sum = 0;

        for (int j = 0; j < n; j++) {
            sum += (j <= i ? fit->k[i][j] : fit->k[j][i]) * fit->y[j];
        }
        fit->alpha[i] = sum;
        q += sum * fit->y[i];
    }
    q = q > 1e-12 ? q : 1e-12;
    value = 0.5 * n * log(q / n) + logs + prior(fit, theta, gradient);
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < i; j++, pair++) {
            double w = fit->k[i][j] - n / q * fit->alpha[i] * fit->alpha[j];
            double slope = w * fit->slopes[pair]; /* the pair counts twice, and half of it */

            for (int d = 0; d < fit->dims; d++) {
                sums[d] += slope * (double)fit->steps[pair][d];
            }
        }
        trace += fit->k[i][i] - n / q * fit->alpha[i] * fit->alpha[i];
    }
    for (int d = 0; d < fit->dims; d++) {
        weights[d] = exp(2.0 * theta[d]);
        gradient[d] += 2.0 * sums[d] * weights[d];
    }
    gradient[fit->dims] += 0.5 * trace * exp(theta[fit->dims]);
    return value;
}

static double clamp(double value, double low, double high)
{
    return value < low ? low : value > high ? high : value;
}

/* Resilient propagation: only signs of the gradient are read, so scales need no tuning. */
static void descend(struct fit *fit, double *best)
{
    double theta[SURROGATE_DIMS_MAX + 1], gradient[SURROGATE_DIMS_MAX + 1],
        last[SURROGATE_DIMS_MAX + 1] = {0};
    double step[SURROGATE_DIMS_MAX + 1], least = INFINITY;
    int count = fit->dims + 1;

    memcpy(theta, best, (size_t)count * sizeof *theta);
    for (int i = 0; i < count; i++) {
        step[i] = 0.3;
    }
    for (int turn = 0; turn < FIT_STEPS; turn++) {
        double value = evaluate(fit, theta, gradient);

        if (value < least) {
            least = value;
            memcpy(best, theta, (size_t)count * sizeof *theta);
        }
        if (value == INFINITY) {
            return;
        }
        for (int i = 0; i < count; i++) {
            bool noise = i == fit->dims;
            double turned = gradient[i] * last[i];

            step[i] = clamp(step[i] * (turned > 0 ? 1.3 : turned < 0 ? 0.5 : 1.0), 1e-3, 1.0);
            theta[i] -= gradient[i] > 0 ? step[i] : gradient[i] < 0 ? -step[i] : 0;
            theta[i] = clamp(theta[i], noise ? LOG_NOISE_MIN : LOG_SCALE_MIN,
                             noise ? LOG_NOISE_MAX : LOG_SCALE_MAX);
            last[i] = gradient[i];
        }
    }
}

void kernel_fit(struct kernel *kernel, const struct point *points, const double *y, int count)
{
    size_t pairs = (size_t)count * (size_t)(count - 1) / 2;
    struct fit fit = {.count = count, .dims = kernel->dims};
    double theta[SURROGATE_DIMS_MAX + 1], targets[SURROGATE_FIT_MAX], mean = 0, spread = 0;

    assert(count >= 4 && count <= SURROGATE_FIT_MAX);
    fit.steps = xmalloc(pairs * sizeof *fit.steps);
    fit.slopes = xmalloc(pairs * sizeof *fit.slopes);
    fit.k = xmalloc((size_t)count * sizeof *fit.k);
    fit.inverse = xmalloc((size_t)count * sizeof *fit.inverse);
    for (int i = 0, pair = 0; i < count; i++) {
        for (int j = 0; j < i; j++, pair++) {
            for (int d = 0; d < kernel->dims; d++) {
                fit.steps[pair][d] = (float)squared_step(kernel, d, &points[i], &points[j]);
            }
        }
        mean += y[i] / count;
    }
    for (int i = 0; i < count; i++) {
        spread += (y[i] - mean) * (y[i] - mean) / count;
    }
    spread = sqrt(spread) + 1e-9;
    for (int i = 0; i < count; i++) {
        targets[i] = (y[i] - mean) / spread;
    }
    fit.y = targets;
    for (int d = 0; d < kernel->dims; d++) {
        theta[d] = SCALE_MEAN;
    }
    theta[kernel->dims] = NOISE_MEAN;
    descend(&fit, theta);
    for (int d = 0; d < kernel->dims; d++) {
        kernel->scale[d] = exp(theta[d]);
    }
    kernel->noise = exp(theta[kernel->dims]);
    free(fit.steps);
    free(fit.slopes);
    free(fit.k);
    free(fit.inverse);
}

/* ---- the posterior over a cloud ---- */

struct posterior {
    const struct cloud *cloud;
    struct kernel kernel;
    int points_max, points, solid;
    struct point *at;
    double *factor; /* row i begins at i * points_max */
    double *by_target, *by_one; /* L^-1 y and L^-1 1 */
    double target_target, target_one, one_one; /* their products */
    float *rows; /* [points][stride] */
    int rows_room;
    float *target_sum, *one_sum, *explained; /* of each candidate, over the solid rows */
    float *narrowed;                         /* explained, and by the pending rows too */
    double mean, signal;                     /* as settled: the constant, and the spread */
};

struct posterior *posterior_new(const struct cloud *cloud, int points_max)
{
    struct posterior *posterior = xcalloc(1, sizeof *posterior);
    size_t stride = (size_t)cloud->stride, points = (size_t)points_max;

    assert(points_max > 0 && points_max <= SURROGATE_POINTS_MAX);
    posterior->cloud = cloud;
    posterior->points_max = points_max;
    posterior->at = xcalloc(points, sizeof *posterior->at);
    posterior->factor = xcalloc(points * points, sizeof *posterior->factor);
    posterior->by_target = xcalloc(points, sizeof *posterior->by_target);
    posterior->by_one = xcalloc(points, sizeof *posterior->by_one);
    posterior->target_sum = xcalloc(stride, sizeof(float));
    posterior->one_sum = xcalloc(stride, sizeof(float));
    posterior->explained = xcalloc(stride, sizeof(float));
    posterior->narrowed = xcalloc(stride, sizeof(float));
    return posterior;
}

void posterior_free(struct posterior *posterior)
{
    if (posterior == NULL) {
        return;
    }
    free(posterior->at);
    free(posterior->factor);
    free(posterior->by_target);
    free(posterior->by_one);
    free(posterior->rows);
    free(posterior->target_sum);
    free(posterior->one_sum);
    free(posterior->explained);
    free(posterior->narrowed);
    free(posterior);
}

void posterior_begin(struct posterior *posterior, const struct kernel *kernel)
{
    size_t bytes = (size_t)posterior->cloud->stride * sizeof(float);

    posterior->kernel = *kernel;
    posterior->points = posterior->solid = 0;
    posterior->target_target = posterior->target_one = posterior->one_one = 0;
    memset(posterior->target_sum, 0, bytes);
    memset(posterior->one_sum, 0, bytes);
    memset(posterior->explained, 0, bytes);
}

int posterior_points(const struct posterior *posterior) { return posterior->points; }
int posterior_solid(const struct posterior *posterior) { return posterior->solid; }

void posterior_cut(struct posterior *posterior, int points)
{
    assert(points >= posterior->solid && points <= posterior->points);
    posterior->points = points;
}

static float *row_of(const struct posterior *posterior, int row)
{
    return posterior->rows + (size_t)row * (size_t)posterior->cloud->stride;
}

/* Matern 3/2 of squared distances, in place; e^-q by 2^n times a polynomial, the same anywhere. */
static void matern_block(float *restrict squared)
{
    for (int i = 0; i < BLOCK; i++) {
        float q = sqrtf(3.0f * squared[i]);
        float small = q < 80.0f ? q : 80.0f;
        float power = -1.44269504f * small;
        int32_t whole = (int32_t)(power - 0.5f);
        float f = power - (float)whole;
        float two_f = 1.0f + f * (0.693147181f + f * (0.240226507f + f * (0.0555041087f +
                      f * (0.00961812911f + f * (0.00133335581f + f * 0.000154035304f)))));
        int32_t bits = (whole + 127) << 23;
        float scale;

        memcpy(&scale, &bits, sizeof scale);
        squared[i] = (1.0f + q) * two_f * scale;
    }
}

static void distance_block(const struct posterior *posterior, const struct point *point, int first,
                           float *restrict out)
{
    const struct kernel *kernel = &posterior->kernel;

    memset(out, 0, BLOCK * sizeof *out);
    for (int d = 0; d < kernel->dims; d++) {
        const float *restrict at =
            posterior->cloud->at + (size_t)d * (size_t)posterior->cloud->stride + first;
        float centre = point->at[d], scale = (float)kernel->scale[d], apart = scale * scale;

        if (kernel->label[d]) {
            for (int i = 0; i < BLOCK; i++) {
                out[i] += at[i] != centre ? apart : 0.0f;
            }
        } else {
            for (int i = 0; i < BLOCK; i++) {
                float step = (at[i] - centre) * scale;

                out[i] += step * step;
            }
        }
    }
}

static void subtract_rows(float *restrict out, const float *rows, size_t stride,
                          const double *factor, int count)
{
    int k = 0;

    for (; k + 4 <= count; k += 4) {
        const float *restrict r0 = rows + (size_t)k * stride, *restrict r1 = r0 + stride;
        const float *restrict r2 = r1 + stride, *restrict r3 = r2 + stride;
        float f0 = (float)factor[k], f1 = (float)factor[k + 1];
        float f2 = (float)factor[k + 2], f3 = (float)factor[k + 3];

        for (int i = 0; i < BLOCK; i++) {
            out[i] = out[i] - f0 * r0[i] - f1 * r1[i] - f2 * r2[i] - f3 * r3[i];
        }
    }
    for (; k < count; k++) {
        const float *restrict r = rows + (size_t)k * stride;
        float f = (float)factor[k];

        for (int i = 0; i < BLOCK; i++) {
            out[i] -= f * r[i];
        }
    }
}

/* Rows [from, to) of BLOCK candidates: by blocks, so that earlier rows are still near. */
static void fill_block(struct posterior *posterior, int from, int to, int first)
{
    size_t stride = (size_t)posterior->cloud->stride;

    for (int row = from; row < to; row++) {
        const double *factor = posterior->factor + (size_t)row * (size_t)posterior->points_max;
        float *out = row_of(posterior, row) + first, scale = (float)(1.0 / factor[row]);

        distance_block(posterior, &posterior->at[row], first, out);
        matern_block(out);
        subtract_rows(out, posterior->rows + first, stride, factor, row);
        for (int i = 0; i < BLOCK; i++) {
            out[i] *= scale;
        }
    }
}

/* The factor's row for the point at `row`. */
static void extend_factor(struct posterior *posterior, int row)
{
    size_t width = (size_t)posterior->points_max;
    double *mine = posterior->factor + (size_t)row * width;
    double rest = 1.0 + posterior->kernel.noise + JITTER;

    for (int j = 0; j < row; j++) {
        const double *other = posterior->factor + (size_t)j * width;
        double sum = kernel_value(&posterior->kernel, &posterior->at[row], &posterior->at[j]);

        for (int k = 0; k < j; k++) {
            sum -= mine[k] * other[k];
        }
        mine[j] = sum / other[j];
        rest -= mine[j] * mine[j];
    }
    mine[row] = sqrt(rest > 1e-10 ? rest : 1e-10);
}

void posterior_add(struct posterior *posterior, const struct point *points, int count)
{
    int from = posterior->points, to = from + count;
    size_t stride = (size_t)posterior->cloud->stride;

    assert(to <= posterior->points_max);
    if (to > posterior->rows_room) {
        posterior->rows_room = to + ROWS_GROW < posterior->points_max ? to + ROWS_GROW
                                                                      : posterior->points_max;
        posterior->rows = xrealloc(posterior->rows,
                                   (size_t)posterior->rows_room * stride * sizeof(float));
    }
    for (int i = 0; i < count; i++) {
        posterior->at[from + i] = points[i];
        extend_factor(posterior, from + i);
    }
    posterior->points = to;
    for (int first = 0; first < posterior->cloud->count; first += BLOCK) {
        fill_block(posterior, from, to, first);
    }
}

void posterior_solidify(struct posterior *posterior, double y)
{
    int row = posterior->solid;
    const double *factor = posterior->factor + (size_t)row * (size_t)posterior->points_max;
    const float *restrict mine = row_of(posterior, row);
    float *restrict target_sum = posterior->target_sum, *restrict one_sum = posterior->one_sum;
    float *restrict explained = posterior->explained;
    double target = y, one = 1.0;
    float target_f, one_f;

    assert(row < posterior->points);
    for (int k = 0; k < row; k++) {
        target -= factor[k] * posterior->by_target[k];
        one -= factor[k] * posterior->by_one[k];
    }
    posterior->by_target[row] = target /= factor[row];
    posterior->by_one[row] = one /= factor[row];
    posterior->target_target += target * target;
    posterior->target_one += target * one;
    posterior->one_one += one * one;
    target_f = (float)target;
    one_f = (float)one;
    for (int i = 0; i < posterior->cloud->stride; i++) {
        target_sum[i] += target_f * mine[i];
        one_sum[i] += one_f * mine[i];
        explained[i] += mine[i] * mine[i];
    }
    posterior->solid++;
}

bool posterior_settle(struct posterior *posterior)
{
    float *restrict narrowed = posterior->narrowed;
    double rest;

    if (posterior->solid == 0) {
        return false;
    }
    posterior->mean = posterior->target_one / posterior->one_one;
    rest = posterior->target_target - posterior->mean * posterior->target_one;
    posterior->signal = sqrt((rest > 0 ? rest : 0) / posterior->solid) + 1e-9;
    memcpy(narrowed, posterior->explained, (size_t)posterior->cloud->stride * sizeof *narrowed);
    for (int row = posterior->solid; row < posterior->points; row++) {
        const float *restrict mine = row_of(posterior, row);

        for (int i = 0; i < posterior->cloud->stride; i++) {
            narrowed[i] += mine[i] * mine[i];
        }
    }
    return true;
}

void posterior_at(const struct posterior *posterior, int candidate, double *mean, double *sd)
{
    double variance = 1.0 - (double)posterior->narrowed[candidate];

    *mean = posterior->mean + (double)posterior->target_sum[candidate] -
            posterior->mean * (double)posterior->one_sum[candidate];
    *sd = posterior->signal * sqrt(variance > VARIANCE_MIN ? variance : VARIANCE_MIN);
}

void posterior_anywhere(struct posterior *posterior, const struct point *point, double *mean,
                        double *sd)
{
    double row[SURROGATE_POINTS_MAX], variance = 1.0, target = 0, one = 0;

    for (int j = 0; j < posterior->points; j++) {
        const double *factor = posterior->factor + (size_t)j * (size_t)posterior->points_max;
        double sum = kernel_value(&posterior->kernel, point, &posterior->at[j]);

        for (int k = 0; k < j; k++) {
            sum -= factor[k] * row[k];
        }
        row[j] = sum / factor[j];
        variance -= row[j] * row[j];
        if (j < posterior->solid) {
            target += posterior->by_target[j] * row[j];
            one += posterior->by_one[j] * row[j];
        }
    }
    *mean = posterior->mean + target - posterior->mean * one;
    *sd = posterior->signal * sqrt(variance > VARIANCE_MIN ? variance : VARIANCE_MIN);
}

double expected_improvement(double mean, double sd, double best)
{
    double z = (best - mean) / sd;

    return (best - mean) * 0.5 * erfc(-z * 0.70710678118654752) +
           sd * 0.39894228040143268 * exp(-0.5 * z * z);
}
