#define _GNU_SOURCE /* sched_getaffinity */
#include "fitness/reference.h"

#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fitness/pool.h"

enum {
    ROW_STEP = 4,   /* rows that share each load of the inner loops: 8 sums in flight */
    HALF_STEP = 16, /* columns or keys that FP16 tensor cores add before they round */
    KEY_TILE = 128, /* keys; also the tile of the FP16 baseline */
    ROWS_MAX = 64,  /* rows of one task: a tile is unpacked once for all of them */
    ROW_ALIGN = 64,
    SCORE_BYTES_MAX = 4 << 20, /* of a task's scores, to stay in cache */
};

/* Sums over a row's keys j of the unnormalised weights p and the mean squares a of V's rows. */
struct spread {
    double p2, p2a, p3a, p4a; /* of p², p²a, p³a, p⁴a */
};

struct kernels {
    void (*scores_f64)(const double *q, int64_t q_stride, int64_t rows, const double *kt,
                       int64_t columns, bool rounded, double *scores, int64_t stride);
    void (*scores_f32)(const float *q, int64_t q_stride, int64_t rows, const float *kt,
                       int64_t columns, bool rounded, float *scores, int64_t stride);
    void (*weigh_f64)(const double *p, int64_t p_stride, int64_t rows, const double *v,
                      int64_t v_stride, bool rounded, double *out);
    void (*weigh_f32)(const float *p, int64_t p_stride, int64_t rows, const float *v,
                      int64_t v_stride, bool rounded, float *out);
    double (*softmax_f64)(double *row, int64_t count, double scale, const double *v_squares,
                          struct spread *spread, double *max);
    float (*softmax_f32)(float *row, int64_t count, float scale, bool bf16, float *max);
    double (*differ)(const double *exact, const float *baseline, int64_t count);
    void (*finish)(float *row, int64_t count, float sum, bool bf16);
};

#define KERNEL_TABLE(set)                                                                          \
    static const struct kernels kernels_##set = {                                                  \
        set##_f64_scores,  set##_f32_scores,  set##_f64_weigh,  set##_f32_weigh,                   \
        set##_f64_softmax, set##_f32_softmax, set##_f64_differ, set##_f32_finish,                  \
    }

/* Chosen at the first call, not by the loader's ifunc: sanitizers run before those resolve. */
#define VECTOR_BYTES 16
#define KERNEL(name) plain_f64_##name
#define SINGLE       0
#include "fitness/reference_kernels.h"
#define KERNEL(name) plain_f32_##name
#define SINGLE       1
#include "fitness/reference_kernels.h"
#undef VECTOR_BYTES
KERNEL_TABLE(plain);

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define WIDER_KERNELS 1
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define VECTOR_BYTES 32
#define KERNEL(name) avx2_f64_##name
#define SINGLE       0
#include "fitness/reference_kernels.h"
#define KERNEL(name) avx2_f32_##name
#define SINGLE       1
#include "fitness/reference_kernels.h"
#undef VECTOR_BYTES
KERNEL_TABLE(avx2);
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,prefer-vector-width=512")
#define VECTOR_BYTES 64
#define KERNEL(name) avx512_f64_##name
#define SINGLE       0
#include "fitness/reference_kernels.h"
#define KERNEL(name) avx512_f32_##name
#define SINGLE       1
#include "fitness/reference_kernels.h"
#undef VECTOR_BYTES
KERNEL_TABLE(avx512);
#pragma GCC pop_options
#endif

static const struct kernels *kernels_choose(void)
{
#ifdef WIDER_KERNELS
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) {
        return &kernels_avx512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return &kernels_avx2;
    }
#endif
    return &kernels_plain;
}

int reference_threads(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) != 0) {
        return 1;
    }
    int count = CPU_COUNT(&set);
    return count < POOL_THREADS_MAX ? count : POOL_THREADS_MAX;
}

int64_t reference_visible(const struct problem *problem, int64_t i)
{
    int64_t seen = problem->causal ? i + problem->kv_len - problem->q_len + 1 : problem->kv_len;

    return seen < 0 ? 0 : seen;
}

struct job {
    const struct problem *problem;
    const struct inputs *inputs;
    const struct reference *out;
    const struct kernels *kernels;
    struct problem_args args;
    enum numerics numerics;
    const int64_t *rows;
    const struct span {
        int64_t first, count; /* of `rows`; all of one head */
    } * spans;
};

/* A task's scratch memory, one block; every row starts at a multiple of ROW_ALIGN. */
struct scratch {
    char *block;
    int64_t rows, columns, keys; /* padded: of q and out, of a row of either, of a row of scores */
    double *q, *scores, *out, *tile, *v_squares;
    float *q32, *scores32, *out32, *tile32;
};

static int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

static void *take(char **at, int64_t count, size_t size)
{
    void *memory = *at;

    *at += round_up(count * (int64_t)size, ROW_ALIGN);
    return memory;
}

/*
 * Scores are written before they are read. The rest starts as zeros, since padding must not hold
 * what 0·x would keep.
 */
static void scratch_make(struct scratch *s, int64_t rows, int64_t columns, int64_t keys)
{
    enum { STEP = 2 * ROW_ALIGN / sizeof(float) }; /* two vectors of the widest kernels */

    s->rows = round_up(rows, ROW_STEP);
    s->columns = round_up(columns, STEP);
    s->keys = round_up(keys, KEY_TILE);
    int64_t scores = s->rows * s->keys * 12;
    int64_t rest = (2 * s->rows + KEY_TILE) * s->columns * 12 + s->keys * 8;
    s->block = xmalloc((size_t)(scores + rest + 16 * ROW_ALIGN));
    char *at = s->block + (ROW_ALIGN - (uintptr_t)s->block % ROW_ALIGN) % ROW_ALIGN;
    s->scores = take(&at, s->rows * s->keys, 8);
    s->scores32 = take(&at, s->rows * s->keys, 4);
    char *zeros = at;
    s->q = take(&at, s->rows * s->columns, 8);
    s->out = take(&at, s->rows * s->columns, 8);
    s->tile = take(&at, KEY_TILE * s->columns, 8);
    s->v_squares = take(&at, s->keys, 8);
    s->q32 = take(&at, s->rows * s->columns, 4);
    s->out32 = take(&at, s->rows * s->columns, 4);
    s->tile32 = take(&at, KEY_TILE * s->columns, 4);
    memset(zeros, 0, (size_t)(at - zeros));
}

static float float_from_bits(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* Finite values only, which is all that inputs hold. */
static void widen_row(enum dtype dtype, const uint16_t *row, int64_t count, float *out)
{
    if (dtype == DTYPE_BF16) {
        for (int64_t c = 0; c < count; c++) {
            out[c] = float_from_bits((uint32_t)row[c] << 16);
        }
        return;
    }
    /* The exponent's bias differs by 112; multiplying also puts subnormals right. */
    for (int64_t c = 0; c < count; c++) {
        uint32_t bits = (uint32_t)(row[c] & 0x8000) << 16 | (uint32_t)(row[c] & 0x7fff) << 13;
        out[c] = float_from_bits(bits) * 0x1p112f;
    }
}

static void load_queries(const struct job *job, struct span span, const uint16_t *q,
                         struct scratch *s)
{
    const struct problem *p = job->problem;

    for (int64_t r = 0; r < span.count; r++) {
        int64_t i = job->rows[span.first + r] % p->q_len;
        float *row = s->q32 + r * s->columns;
        widen_row(p->dtype, q + i * job->args.q[2], p->head_dim, row);
        for (int64_t c = 0; c < p->head_dim; c++) {
            s->q[r * s->columns + c] = row[c];
        }
    }
}

/*
 * Keys [first, first + KEY_TILE) as columns; those past `end` stay whatever they were: finite.
 * Eight at a time, so that what is written lies together.
 */
static void load_keys(const struct job *job, const uint16_t *k, int64_t first, int64_t end,
                      struct scratch *s)
{
    enum { GROUP = 8 };
    float rows[GROUP][PROBLEM_HEAD_DIM_MAX];
    int64_t columns = job->problem->head_dim;

    for (int64_t j = first; j < end && j < first + KEY_TILE; j += GROUP) {
        for (int64_t g = 0; g < GROUP; g++) {
            int64_t key = j + g < end ? j + g : end - 1;
            widen_row(job->problem->dtype, k + key * job->args.k[2], columns, rows[g]);
        }
        for (int64_t c = 0; c < columns; c++) {
            float *narrow = s->tile32 + c * KEY_TILE + j - first;
            double *wide = s->tile + c * KEY_TILE + j - first;
            for (int64_t g = 0; g < GROUP; g++) {
                narrow[g] = rows[g][c];
                wide[g] = rows[g][c];
            }
        }
    }
}

static void load_values(const struct job *job, const uint16_t *v, int64_t first, int64_t end,
                        struct scratch *s)
{
    int64_t columns = job->problem->head_dim;

    for (int64_t j = first; j < end && j < first + KEY_TILE; j++) {
        float *row32 = s->tile32 + (j - first) * s->columns;
        double *row = s->tile + (j - first) * s->columns;
        widen_row(job->problem->dtype, v + j * job->args.v[2], columns, row32);
        for (int64_t c = 0; c < s->columns; c++) {
            row32[c] = c < columns ? row32[c] : 0; /* the keys' tile lay here */
            row[c] = row32[c];
        }
    }
}

static void measure_values(const struct job *job, const uint16_t *v, int64_t end, struct scratch *s)
{
    enum { PARTS = 16 }; /* sums side by side */
    float row[PROBLEM_HEAD_DIM_MAX + PARTS] = {0};
    int64_t columns = job->problem->head_dim;

    for (int64_t j = 0; j < end; j++) {
        float parts[PARTS] = {0}, sum = 0;
        widen_row(job->problem->dtype, v + j * job->args.v[2], columns, row);
        for (int64_t c = 0; c < columns; c += PARTS) {
            for (int64_t k = 0; k < PARTS; k++) {
                parts[k] += row[c + k] * row[c + k];
            }
        }
        for (int64_t k = 0; k < PARTS; k++) {
            sum += parts[k];
        }
        s->v_squares[j] = sum / (float)columns;
    }
}

/*
 * Rounding a number of size x to a type of unit roundoff u is off by a uniform part of u·x/m for a
 * mantissa m in [1, 2) that is distributed as 1/m: a mean square of this times (u·x)².
 */
#define ROUNDING_SQUARE 0.18

/*
 * Mean square error of a scaled score: that `measured` of the baseline's over the row, or, if
 * larger, what the sum's roundings make of the largest score, whose neighbours have the weight.
 */
static double score_noise(const struct job *job, double measured, double top)
{
    bool halves = job->numerics == NUMERICS_FP16;
    double unit = halves ? 0x1p-11 : 0x1p-24;
    double steps = (double)job->problem->head_dim / (halves ? HALF_STEP : 1);
    double scale = problem_scale(job->problem);
    double expected = ROUNDING_SQUARE * unit * unit * top * top * (steps + 1) / 2;
    return (measured > expected ? measured : expected) * scale * scale;
}

/*
 * The rms error to be expected of an element. With weights w = p/l and independent relative errors
 * of rms ε in each w: the output is off by sqrt(ε² Σ w²a) when the sum l is taken of unrounded
 * weights. Errors δ in the scores change weights and sum alike: V's rows count by their distance
 * from the output, Σ w²|v-o|² = Σ w²a - 2 Σ w³a + Σ w²·Σ w²a when V's rows are independent.
 */
static double predict_noise(const struct problem *problem, enum numerics numerics,
                            const struct spread *spread, double sum, double score_square)
{
    double unit = problem->dtype == DTYPE_F16 ? 0x1p-11 : 0x1p-8;
    double rounding = ROUNDING_SQUARE * unit * unit;
    double w2 = spread->p2 / sum / sum;
    double w2a = spread->p2a / sum / sum;
    double w3a = spread->p3a / sum / sum / sum;
    double distance = w2a - 2 * w3a + w2 * w2a;

    if (numerics == NUMERICS_FP16) {
        /* Eight roundings of a tile's sum, each on average of half of it. */
        rounding += ROUNDING_SQUARE * 0x1p-22 * (KEY_TILE / HALF_STEP) / 2;
    }
    return sqrt(rounding * w2a + score_square * (distance > 0 ? distance : 0));
}

struct row_sums {
    double exact;
    float baseline;
};

/* Scores to weights, in both precisions; the sums are kept for the division at the end. */
static struct row_sums soften(const struct job *job, int64_t at, int64_t r, struct scratch *s)
{
    const struct problem *p = job->problem;
    int64_t seen = reference_visible(p, job->rows[at] % p->q_len);
    double *row = s->scores + r * s->keys, max, scale = problem_scale(p);
    float *row32 = s->scores32 + r * s->keys, max32;
    struct row_sums sums = {0, 0};
    struct spread spread;

    if (seen == 0) {
        memset(row, 0, (size_t)s->keys * sizeof(*row));
        memset(row32, 0, (size_t)s->keys * sizeof(*row32));
        job->out->noise[at] = 0;
        if (job->out->lse != NULL) {
            job->out->lse[at] = job->out->baseline_lse[at] = -INFINITY;
        }
        return sums;
    }
    double off = job->kernels->differ(row, row32, seen) / (double)seen;
    for (int64_t j = seen; j < s->keys; j++) {
        row[j] = -INFINITY;
        row32[j] = -INFINITY;
    }
    sums.exact = job->kernels->softmax_f64(row, s->keys, scale, s->v_squares, &spread, &max);
    sums.baseline =
        job->kernels->softmax_f32(row32, s->keys, (float)scale, p->dtype == DTYPE_BF16, &max32);
    job->out->noise[at] =
        predict_noise(p, job->numerics, &spread, sums.exact, score_noise(job, off, max));
    if (job->out->lse != NULL) {
        job->out->lse[at] = max * scale + log(sums.exact);
        job->out->baseline_lse[at] = (double)(max32 * (float)scale + logf(sums.baseline));
    }
    return sums;
}

static void store_row(const struct job *job, int64_t at, int64_t r, struct row_sums sums,
                      const struct scratch *s)
{
    int64_t columns = job->problem->head_dim;
    double *exact = job->out->exact + at * columns, *baseline = job->out->baseline + at * columns;
    float *row32 = s->out32 + r * s->columns;

    if (sums.exact == 0) {
        memset(exact, 0, (size_t)columns * sizeof(*exact));
        memset(baseline, 0, (size_t)columns * sizeof(*baseline));
        return;
    }
    job->kernels->finish(row32, s->columns, sums.baseline, job->problem->dtype == DTYPE_BF16);
    for (int64_t c = 0; c < columns; c++) {
        exact[c] = s->out[r * s->columns + c] / sums.exact;
        baseline[c] = (double)row32[c];
    }
}

/* One span: some rows of one head. */
static void compute_span(void *context, int64_t index)
{
    const struct job *job = context;
    const struct problem *p = job->problem;
    struct span span = job->spans[index];
    int64_t head_row = job->rows[span.first] / p->q_len;
    int64_t b = head_row / p->heads, h = head_row % p->heads, kv = h / (p->heads / p->kv_heads);
    const uint16_t *q = job->inputs->q + b * job->args.q[0] + h * job->args.q[1];
    const uint16_t *k = job->inputs->k + b * job->args.k[0] + kv * job->args.k[1];
    const uint16_t *v = job->inputs->v + b * job->args.v[0] + kv * job->args.v[1];
    int64_t keys = reference_visible(p, job->rows[span.first + span.count - 1] % p->q_len);
    bool halves = job->numerics == NUMERICS_FP16;
    struct row_sums sums[ROWS_MAX];
    struct scratch s;

    scratch_make(&s, span.count, p->head_dim, keys);
    load_queries(job, span, q, &s);
    measure_values(job, v, keys, &s);
    for (int64_t j = 0; j < keys; j += KEY_TILE) {
        load_keys(job, k, j, keys, &s);
        job->kernels->scores_f64(s.q, s.columns, s.rows, s.tile, p->head_dim, false, s.scores + j,
                                 s.keys);
        job->kernels->scores_f32(s.q32, s.columns, s.rows, s.tile32, p->head_dim, halves,
                                 s.scores32 + j, s.keys);
    }
    for (int64_t r = 0; r < span.count; r++) {
        sums[r] = soften(job, span.first + r, r, &s);
    }
    for (int64_t j = 0; j < keys; j += KEY_TILE) {
        load_values(job, v, j, keys, &s);
        job->kernels->weigh_f64(s.scores + j, s.keys, s.rows, s.tile, s.columns, false, s.out);
        job->kernels->weigh_f32(s.scores32 + j, s.keys, s.rows, s.tile32, s.columns, halves,
                                s.out32);
    }
    for (int64_t r = 0; r < span.count; r++) {
        store_row(job, span.first + r, r, sums[r], &s);
    }
    free(s.block);
}

/* Cuts the rows into spans of one head each. Returns how many; spans may be NULL to count. */
static int64_t cut_spans(const struct problem *problem, const int64_t *rows, int64_t count,
                         struct span *spans)
{
    int64_t keys = round_up(problem->kv_len, KEY_TILE), made = 0;
    int64_t most = SCORE_BYTES_MAX / (12 * (keys > 0 ? keys : 1)) / ROW_STEP * ROW_STEP;

    most = most < ROW_STEP ? ROW_STEP : most > ROWS_MAX ? ROWS_MAX : most;
    for (int64_t at = 0; at < count; made++) {
        struct span span = {at, 0};
        while (at < count && span.count < most &&
               rows[at] / problem->q_len == rows[span.first] / problem->q_len) {
            span.count++;
            at++;
        }
        if (spans != NULL) {
            spans[made] = span;
        }
    }
    return made;
}

static void compute_rows(const struct kernels *kernels, const struct problem *problem,
                         const struct inputs *inputs, enum numerics numerics, const int64_t *rows,
                         int64_t count, const struct reference *reference, int threads)
{
    int64_t span_count = cut_spans(problem, rows, count, NULL);
    struct span *spans = xcalloc((size_t)span_count, sizeof(*spans));
    struct job job = {.problem = problem,
                      .inputs = inputs,
                      .out = reference,
                      .kernels = kernels,
                      .args = problem_args(problem),
                      .numerics = numerics,
                      .rows = rows,
                      .spans = spans};

    cut_spans(problem, rows, count, spans);
    pool_run(compute_span, &job, span_count, threads);
    free(spans);
}

void reference_rows(const struct problem *problem, const struct inputs *inputs,
                    enum numerics numerics, const int64_t *rows, int64_t count,
                    const struct reference *reference, int threads)
{
    compute_rows(kernels_choose(), problem, inputs, numerics, rows, count, reference, threads);
}
