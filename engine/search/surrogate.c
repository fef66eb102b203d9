#include "search/surrogate.h"

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

enum {
    BLOCK = CLOUD_LANES, /* rows of so many candidates stay in a near cache */
    FIT_STEPS = 30,
    ROWS_GROW = 32,
    FACTORS = 4, /* coordinates multiplied before a division */
};

/*
 * Loops over a block are compiled twice, and the processor's own width is chosen when the program
 * starts: lanes do not mix, so the bits are the same. Sanitizers start too late for that choice.
 */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define WIDE __attribute__((target_clones("avx2", "default")))
#else
#define WIDE
#endif
#define INLINE static inline __attribute__((always_inline))

/* Priors of the logarithms of scales and noise, and where a fit begins. */
static const double SCALE_MEAN = -0.2, NOISE_MEAN = -6.0, NOISE_SPREAD = 2.0;
static const double LOG_SCALE_MIN = -3.0, LOG_SCALE_MAX = 3.4;
static const double LOG_NOISE_MIN = -11.0, LOG_NOISE_MAX = 0.0;
static const double JITTER = 1e-8, VARIANCE_MIN = 1e-6;

/* ---- the covariance ---- */

static double step_of(const struct kernel *kernel, int dim, const struct point *a,
                      const struct point *b)
{
    double step = (double)a->at[dim] - (double)b->at[dim];

    return kernel->label[dim] ? step != 0 : fabs(step);
}

double kernel_value(const struct kernel *kernel, const struct point *a, const struct point *b)
{
    double over = 1, under = 1;

    for (int d = 0; d < kernel->dims; d++) {
        double u = step_of(kernel, d, a, b) * kernel->scale[d];

        over *= 1.0 + 1.5 * u;
        under *= 1.0 + 0.5 * u;
    }
    return over / (under * under * under);
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
    float (*steps)[SURROGATE_DIMS_MAX]; /* of each pair i > j, at i (i - 1) / 2 + j */
    double (*k)[SURROGATE_FIT_MAX];       /* the factor below its diagonal and on it */
    double (*inverse)[SURROGATE_FIT_MAX]; /* of the factor, then of K */
    double alpha[SURROGATE_FIT_MAX];
    double *off; /* K of each pair */
};

/* Four sums side by side: a chain of additions would wait for each other. */
static double dot(const double *a, const double *b, int count)
{
    double sums[4] = {0};
    int i = 0;

    for (; i + 4 <= count; i += 4) {
        for (int lane = 0; lane < 4; lane++) {
            sums[lane] += a[i + lane] * b[i + lane];
        }
    }
    for (; i < count; i++) {
        sums[0] += a[i] * b[i];
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/* K = L L' in place, the lower half; the sum of log L_ii, or NAN. */
static double factorise(double (*k)[SURROGATE_FIT_MAX], int n)
{
    double logs = 0;

    for (int i = 0; i < n; i++) {
        for (int j = 0; j <= i; j++) {
            double sum = k[i][j] - dot(k[i], k[j], j);

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
            out[j][i] = -dot(&l[i][j], &out[j][j], i - j) / l[i][i];
        }
    }
    for (int i = 0; i < n; i++) { /* K^-1 = L^-T L^-1; [j][i] with j < i is not read any more */
        for (int j = 0; j <= i; j++) {
            l[i][j] = dot(&out[i][i], &out[j][i], n - i);
        }
    }
}

static void fill_covariance(struct fit *fit, const double *theta)
{
    double scales[SURROGATE_DIMS_MAX], noise = exp(theta[fit->dims]);
    int pair = 0;

    for (int d = 0; d < fit->dims; d++) {
        scales[d] = exp(theta[d]);
    }
    for (int i = 0; i < fit->count; i++) {
        for (int j = 0; j < i; j++, pair++) {
            double over = 1, under = 1;

            for (int d = 0; d < fit->dims; d++) {
                double u = (double)fit->steps[pair][d] * scales[d];

                over *= 1.0 + 1.5 * u;
                under *= 1.0 + 0.5 * u;
            }
            fit->k[i][j] = fit->off[pair] = over / (under * under * under);
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
    double scales[SURROGATE_DIMS_MAX], sums[SURROGATE_DIMS_MAX] = {0}, logs, q = 0, trace = 0,
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
    for (int d = 0; d < fit->dims; d++) {
        scales[d] = exp(theta[d]);
    }
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < i; j++, pair++) {
            double w = fit->k[i][j] - n / q * fit->alpha[i] * fit->alpha[j];
            double share = w * fit->off[pair]; /* the pair counts twice, and half of it */

            for (int d = 0; d < fit->dims; d++) { /* d log K / d log scale */
                double u = (double)fit->steps[pair][d] * scales[d];

                sums[d] -= share * 1.5 * u * u / ((1.0 + 1.5 * u) * (1.0 + 0.5 * u));
            }
        }
        trace += fit->k[i][i] - n / q * fit->alpha[i] * fit->alpha[i];
    }
    for (int d = 0; d < fit->dims; d++) {
        gradient[d] += sums[d];
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
    fit.off = xmalloc(pairs * sizeof *fit.off);
    fit.k = xmalloc((size_t)count * sizeof *fit.k);
    fit.inverse = xmalloc((size_t)count * sizeof *fit.inverse);
    for (int i = 0, pair = 0; i < count; i++) {
        for (int j = 0; j < i; j++, pair++) {
            for (int d = 0; d < kernel->dims; d++) {
                fit.steps[pair][d] = (float)step_of(kernel, d, &points[i], &points[j]);
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
    free(fit.off);
    free(fit.k);
    free(fit.inverse);
}

/* ---- the posterior ---- */

struct posterior {
    struct kernel kernel;
    int points_max, points, solid;
    struct point *at;
    double *factor; /* row i begins at i * points_max */
    double *by_target, *by_one; /* L^-1 y and L^-1 1 */
    double target_target, target_one, one_one; /* their products */
    double mean, signal;                       /* as settled: the constant, and the spread */

    const struct cloud *cloud; /* NULL: nothing is watched */
    size_t stride, rows_room;  /* of the cloud; rows that fit */
    float *rows;               /* [points][stride] */
    float *target_sum, *one_sum, *explained; /* of each candidate, over the solid rows */
    float *narrowed;                         /* explained, and by the pending rows too */
};

struct posterior *posterior_new(int points_max)
{
    struct posterior *posterior = xcalloc(1, sizeof *posterior);
    size_t points = (size_t)points_max;

    assert(points_max > 0 && points_max <= SURROGATE_POINTS_MAX);
    posterior->points_max = points_max;
    posterior->at = xcalloc(points, sizeof *posterior->at);
    posterior->factor = xcalloc(points * points, sizeof *posterior->factor);
    posterior->by_target = xcalloc(points, sizeof *posterior->by_target);
    posterior->by_one = xcalloc(points, sizeof *posterior->by_one);
    return posterior;
}

static void forget_cloud(struct posterior *posterior)
{
    free(posterior->rows);
    free(posterior->target_sum);
    free(posterior->one_sum);
    free(posterior->explained);
    free(posterior->narrowed);
    posterior->rows = posterior->target_sum = posterior->one_sum = NULL;
    posterior->explained = posterior->narrowed = NULL;
    posterior->stride = posterior->rows_room = 0;
    posterior->cloud = NULL;
}

void posterior_free(struct posterior *posterior)
{
    if (posterior == NULL) {
        return;
    }
    forget_cloud(posterior);
    free(posterior->at);
    free(posterior->factor);
    free(posterior->by_target);
    free(posterior->by_one);
    free(posterior);
}

void posterior_begin(struct posterior *posterior, const struct kernel *kernel)
{
    posterior->kernel = *kernel;
    posterior->points = posterior->solid = 0;
    posterior->target_target = posterior->target_one = posterior->one_one = 0;
    posterior->cloud = NULL;
}

int posterior_points(const struct posterior *posterior) { return posterior->points; }
int posterior_solid(const struct posterior *posterior) { return posterior->solid; }

void posterior_cut(struct posterior *posterior, int points)
{
    assert(points >= posterior->solid && points <= posterior->points);
    posterior->points = points;
}

static double *factor_of(const struct posterior *posterior, int row)
{
    return posterior->factor + (size_t)row * (size_t)posterior->points_max;
}

static float *row_of(const struct posterior *posterior, int row)
{
    return posterior->rows + (size_t)row * posterior->stride;
}

/* ---- blocks of candidates ---- */

/* e^x for x in [-80, 0]: 2^n times a polynomial, the same anywhere. */
INLINE float power_of_e(float x)
{
    float power = 1.44269504f * x;
    int32_t whole = (int32_t)(power - 0.5f), bits = (whole + 127) << 23;
    float f = power - (float)whole, scale;

    memcpy(&scale, &bits, sizeof scale);
    return scale * (1.0f + f * (0.693147181f + f * (0.240226507f + f * (0.0555041087f +
           f * (0.00961812911f + f * (0.00133335581f + f * 0.000154035304f))))));
}

/* The covariance of BLOCK candidates with a point. */
INLINE void covariance_block(const struct kernel *kernel, const struct cloud *cloud,
                             const struct point *point, int first, float *restrict out)
{
    float over[BLOCK], under[BLOCK];

    for (int i = 0; i < BLOCK; i++) {
        out[i] = over[i] = under[i] = 1.0f;
    }
    for (int d = 0; d < kernel->dims; d++) {
        const float *restrict at = cloud->at + (size_t)d * (size_t)cloud->stride + first;
        float centre = point->at[d], scale = (float)kernel->scale[d];
        bool label = kernel->label[d];

        for (int i = 0; i < BLOCK; i++) {
            float u = label ? (at[i] != centre ? scale : 0.0f) : fabsf(at[i] - centre) * scale;

            over[i] *= 1.0f + 1.5f * u;
            under[i] *= 1.0f + 0.5f * u;
        }
        if (d % FACTORS == FACTORS - 1 || d == kernel->dims - 1) { /* before either overflows */
            for (int i = 0; i < BLOCK; i++) {
                out[i] *= over[i] / (under[i] * under[i] * under[i]);
                over[i] = under[i] = 1.0f;
            }
        }
    }
}

INLINE void subtract_rows(float *restrict out, const float *rows, size_t stride,
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
WIDE static void fill_block(struct posterior *posterior, int from, int to, int first)
{
    for (int row = from; row < to; row++) {
        const double *factor = factor_of(posterior, row);
        float *out = row_of(posterior, row) + first, scale = (float)(1.0 / factor[row]);

        covariance_block(&posterior->kernel, posterior->cloud, &posterior->at[row], first, out);
        subtract_rows(out, posterior->rows + first, posterior->stride, factor, row);
        for (int i = 0; i < BLOCK; i++) {
            out[i] *= scale;
        }
    }
}

/* The sums of BLOCK candidates over the solid rows [from, to). */
WIDE static void sum_block(struct posterior *posterior, int from, int to, int first)
{
    float *restrict target_sum = posterior->target_sum + first;
    float *restrict one_sum = posterior->one_sum + first;
    float *restrict explained = posterior->explained + first;

    for (int row = from; row < to; row++) {
        const float *restrict mine = row_of(posterior, row) + first;
        float target = (float)posterior->by_target[row], one = (float)posterior->by_one[row];

        for (int i = 0; i < BLOCK; i++) {
            target_sum[i] += target * mine[i];
            one_sum[i] += one * mine[i];
            explained[i] += mine[i] * mine[i];
        }
    }
}

/* Of BLOCK candidates: the sum over solid points of weight times covariance, and the largest. */
WIDE static void screen_block(const struct posterior *posterior, const struct cloud *cloud,
                              const float *weights, int first, float *restrict mean,
                              float *restrict nearest)
{
    float covariance[BLOCK];

    memset(mean, 0, BLOCK * sizeof *mean);
    memset(nearest, 0, BLOCK * sizeof *nearest);
    for (int row = 0; row < posterior->solid; row++) {
        covariance_block(&posterior->kernel, cloud, &posterior->at[row], first, covariance);
        for (int i = 0; i < BLOCK; i++) {
            mean[i] += weights[row] * covariance[i];
            nearest[i] = covariance[i] > nearest[i] ? covariance[i] : nearest[i];
        }
    }
}

/* ---- learning ---- */

/* The factor's row for the point at `row`. */
static void extend_factor(struct posterior *posterior, int row)
{
    double *mine = factor_of(posterior, row), rest = 1.0 + posterior->kernel.noise + JITTER;

    for (int j = 0; j < row; j++) {
        const double *other = factor_of(posterior, j);

        mine[j] = (kernel_value(&posterior->kernel, &posterior->at[row], &posterior->at[j]) -
                   dot(mine, other, j)) / other[j];
    }
    rest -= dot(mine, mine, row);
    mine[row] = sqrt(rest > 1e-10 ? rest : 1e-10);
}

static void make_room(struct posterior *posterior, int rows)
{
    size_t room = (size_t)rows + ROWS_GROW, most = (size_t)posterior->points_max;

    if ((size_t)rows > posterior->rows_room) {
        posterior->rows_room = room < most ? room : most;
        posterior->rows = xrealloc(posterior->rows,
                                   posterior->rows_room * posterior->stride * sizeof(float));
    }
}

void posterior_add(struct posterior *posterior, const struct point *points, int count)
{
    int from = posterior->points, to = from + count;

    assert(to <= posterior->points_max);
    for (int i = 0; i < count; i++) {
        posterior->at[from + i] = points[i];
        extend_factor(posterior, from + i);
    }
    posterior->points = to;
    if (posterior->cloud != NULL) {
        make_room(posterior, to);
        for (int first = 0; first < posterior->cloud->count; first += BLOCK) {
            fill_block(posterior, from, to, first);
        }
    }
}

void posterior_solidify(struct posterior *posterior, double y)
{
    int row = posterior->solid;
    const double *factor = factor_of(posterior, row);
    double target, one;

    assert(row < posterior->points);
    target = (y - dot(factor, posterior->by_target, row)) / factor[row];
    one = (1.0 - dot(factor, posterior->by_one, row)) / factor[row];
    posterior->by_target[row] = target;
    posterior->by_one[row] = one;
    posterior->target_target += target * target;
    posterior->target_one += target * one;
    posterior->one_one += one * one;
    posterior->solid++;
    for (int first = 0; posterior->cloud != NULL && first < posterior->cloud->count;
         first += BLOCK) {
        sum_block(posterior, row, row + 1, first);
    }
}

static void set_constant(struct posterior *posterior)
{
    double rest;

    posterior->mean = posterior->target_one / posterior->one_one;
    rest = posterior->target_target - posterior->mean * posterior->target_one;
    posterior->signal = sqrt((rest > 0 ? rest : 0) / posterior->solid) + 1e-9;
}

/* ---- asking ---- */

void posterior_watch(struct posterior *posterior, const struct cloud *cloud, int from)
{
    int first = from / BLOCK * BLOCK; /* a block that was begun is done again, to the same bits */
    size_t bytes = (size_t)cloud->stride * sizeof(float);

    if (posterior->stride != (size_t)cloud->stride) {
        forget_cloud(posterior);
        posterior->stride = (size_t)cloud->stride;
        posterior->target_sum = xmalloc(bytes + 1);
        posterior->one_sum = xmalloc(bytes + 1);
        posterior->explained = xmalloc(bytes + 1);
        posterior->narrowed = xmalloc(bytes + 1);
    }
    posterior->cloud = cloud;
    make_room(posterior, posterior->points);
    for (; first < cloud->count; first += BLOCK) {
        memset(posterior->target_sum + first, 0, BLOCK * sizeof(float));
        memset(posterior->one_sum + first, 0, BLOCK * sizeof(float));
        memset(posterior->explained + first, 0, BLOCK * sizeof(float));
        fill_block(posterior, 0, posterior->points, first);
        sum_block(posterior, 0, posterior->solid, first);
    }
}

void posterior_screen(struct posterior *posterior, const struct cloud *cloud, float *mean,
                      float *sd)
{
    double weights[SURROGATE_POINTS_MAX];
    float rounded[SURROGATE_POINTS_MAX];
    int solid = posterior->solid;

    assert(solid > 0);
    set_constant(posterior);
    for (int i = solid - 1; i >= 0; i--) { /* L'^-1 of L^-1 (y - mean) */
        weights[i] = posterior->by_target[i] - posterior->mean * posterior->by_one[i];
        for (int j = i + 1; j < solid; j++) {
            weights[i] -= factor_of(posterior, j)[i] * weights[j];
        }
        weights[i] /= factor_of(posterior, i)[i];
        rounded[i] = (float)weights[i];
    }
    for (int first = 0; first < cloud->count; first += BLOCK) {
        float nearest[BLOCK], known = (float)(1.0 + posterior->kernel.noise);

        screen_block(posterior, cloud, rounded, first, mean + first, nearest);
        for (int i = 0; i < BLOCK; i++) {
            mean[first + i] += (float)posterior->mean;
            sd[first + i] = (float)posterior->signal *
                            sqrtf(fmaxf(1.0f - nearest[i] * nearest[i] / known,
                                        (float)VARIANCE_MIN));
        }
    }
}

bool posterior_settle(struct posterior *posterior)
{
    float *restrict narrowed = posterior->narrowed;
    int count = posterior->cloud->count;

    if (posterior->solid == 0) {
        return false;
    }
    set_constant(posterior);
    memcpy(narrowed, posterior->explained, (size_t)count * sizeof *narrowed);
    for (int row = posterior->solid; row < posterior->points; row++) {
        const float *restrict mine = row_of(posterior, row);

        for (int i = 0; i < count; i++) {
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
        const double *factor = factor_of(posterior, j);

        row[j] = (kernel_value(&posterior->kernel, point, &posterior->at[j]) -
                  dot(factor, row, j)) / factor[j];
        variance -= row[j] * row[j];
        if (j < posterior->solid) {
            target += posterior->by_target[j] * row[j];
            one += posterior->by_one[j] * row[j];
        }
    }
    *mean = posterior->mean + target - posterior->mean * one;
    *sd = posterior->signal * sqrt(variance > VARIANCE_MIN ? variance : VARIANCE_MIN);
}

/* ---- expected improvement ---- */

double expected_improvement(double mean, double sd, double best)
{
    double z = (best - mean) / sd;

    return (best - mean) * 0.5 * erfc(-z * 0.70710678118654752) +
           sd * 0.39894228040143268 * exp(-0.5 * z * z);
}

float improvement_most(float above, float sd)
{
    float z = -above / sd, square = z * z < 160.0f ? z * z : 160.0f;
    float tail = 0.398942280f * power_of_e(-0.5f * square) / (1.0f + square);

    return sd * ((z > 0 ? z : 0.0f) + tail) * 1.0001f;
}
