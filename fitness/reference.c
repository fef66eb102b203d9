#define _GNU_SOURCE /* sched_getaffinity */
#include "fitness/reference.h"

#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fitness/pool.h"

enum {
    HALF_STEP = 16,   /* columns or keys that FP16 tensor cores add before they round */
    KEY_TILE = 128,   /* keys; also the tile of the FP16 baseline */
    PANEL = 32,       /* rows side by side: a register or several of each precision */
    PANELS_MAX = 4,   /* of one task: a tile is unpacked once for all of them */
    COLUMN_STEP = 16, /* what rows of inputs are padded to */
    ROW_ALIGN = 64,
    SCORE_BYTES_MAX = 4 << 20, /* of a task's scores, to stay in cache */
    KEPT_BYTES_MAX = 16 << 20, /* of a task's memory */
};

/* For each row, sums over keys j of the unnormalised weights p and of V's mean squares a. */
struct spread {
    _Alignas(ROW_ALIGN) double p[PANEL];
    double p2[PANEL], p2a[PANEL], p3a[PANEL]; /* of p², p²a, p³a */
};

struct kernels {
    void (*scores_f64)(const double *q, int64_t rows, const double *k, int64_t k_stride,
                       int64_t count, int64_t columns, bool rounded, double *scores);
    void (*scores_f32)(const float *q, int64_t rows, const float *k, int64_t k_stride,
                       int64_t count, int64_t columns, bool rounded, float *scores);
    void (*weigh_f64)(const double *p, int64_t rows, const double *v, int64_t v_stride,
                      int64_t count, int64_t columns, bool rounded, double *out);
    void (*weigh_f32)(const float *p, int64_t rows, const float *v, int64_t v_stride, int64_t count,
                      int64_t columns, bool rounded, float *out);
    void (*softmax_f64)(double *scores, int64_t rows, int64_t count, double scale,
                        const double *v_squares, const double *seen, const double *max,
                        struct spread *spread);
    void (*softmax_f32)(float *scores, int64_t rows, int64_t count, float scale, bool bf16,
                        const float *seen, const float *max, float *sums);
    void (*survey)(const double *exact, const float *baseline, int64_t rows, int64_t count,
                   const double *seen, float none, double *max, float *max32, double *square);
    void (*finish)(float *out, int64_t rows, int64_t columns, const float *sums, bool bf16);
    void (*widen)(const uint16_t *row, int64_t count, bool bf16, float *narrow, double *wide);
    float (*squares)(const uint16_t *row, int64_t count, bool bf16);
};

#define KERNEL_TABLE(set)                                                                          \
    static const struct kernels kernels_##set = {                                                  \
        set##_f64_scores,  set##_f32_scores, set##_f64_weigh,  set##_f32_weigh, set##_f64_softmax, \
        set##_f32_softmax, set##_f64_survey, set##_f32_finish, set##_f32_widen, set##_f32_squares, \
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

/* A task's scratch memory, one block. Panels: [of rows][of columns or keys][PANEL]. */
struct scratch {
    char *own;                     /* to be freed; NULL: the thread keeps it */
    int64_t panels, columns, keys; /* padded */
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
 * A thread keeps its memory from one task to the next, since the system takes as long to give it as
 * it takes to fill; but not what very long rows want. NULL: the task must free what it takes
 * itself.
 */
static char *thread_block(size_t bytes)
{
    static _Thread_local struct {
        char *block;
        size_t bytes;
    } kept;

    if (bytes > KEPT_BYTES_MAX) {
        return NULL;
    }
    if (kept.bytes < bytes) {
        free(kept.block);
        kept.block = xmalloc(bytes);
        kept.bytes = bytes;
    }
    return kept.block;
}

/*
 * Scores are written before they are read. The rest starts as zeros, since padding must not hold
 * what 0·x would keep.
 */
static void scratch_make(struct scratch *s, int64_t rows, int64_t columns, int64_t keys)
{
    s->panels = (rows + PANEL - 1) / PANEL;
    s->columns = round_up(columns, COLUMN_STEP);
    s->keys = round_up(keys, KEY_TILE);
    int64_t scores = s->panels * s->keys * PANEL * 12;
    int64_t rest = (2 * s->panels * PANEL + KEY_TILE) * s->columns * 12 + s->keys * 8;
    size_t bytes = (size_t)(scores + rest + 16 * ROW_ALIGN);
    char *at = thread_block(bytes);
    s->own = at == NULL ? xmalloc(bytes) : NULL;
    at = s->own != NULL ? s->own : at;
    at += (ROW_ALIGN - (uintptr_t)at % ROW_ALIGN) % ROW_ALIGN;
    s->scores = take(&at, s->panels * s->keys * PANEL, 8);
    s->scores32 = take(&at, s->panels * s->keys * PANEL, 4);
    char *zeros = at;
    s->q = take(&at, s->panels * s->columns * PANEL, 8);
    s->out = take(&at, s->panels * s->columns * PANEL, 8);
    s->tile = take(&at, KEY_TILE * s->columns, 8);
    s->v_squares = take(&at, s->keys, 8);
    s->q32 = take(&at, s->panels * s->columns * PANEL, 4);
    s->out32 = take(&at, s->panels * s->columns * PANEL, 4);
    s->tile32 = take(&at, KEY_TILE * s->columns, 4);
    memset(zeros, 0, (size_t)(at - zeros));
}

/* A row of inputs whose columns are a multiple of COLUMN_STEP: as it lies, or with zeros behind. */
static const uint16_t *padded(const struct job *job, const uint16_t *row,
                              uint16_t room[PROBLEM_HEAD_DIM_MAX + COLUMN_STEP])
{
    int64_t columns = job->problem->head_dim, rest = round_up(columns, COLUMN_STEP) - columns;

    if (rest == 0) {
        return row;
    }
    memcpy(room, row, (size_t)columns * sizeof(*row));
    memset(room + columns, 0, (size_t)rest * sizeof(*row));
    return room;
}

static void load_queries(const struct job *job, struct span span, const uint16_t *q,
                         struct scratch *s)
{
    uint16_t room[PROBLEM_HEAD_DIM_MAX + COLUMN_STEP];
    bool bf16 = job->problem->dtype == DTYPE_BF16;

    for (int64_t r = 0; r < span.count; r++) {
        int64_t i = job->rows[span.first + r] % job->problem->q_len;
        int64_t at = r / PANEL * s->columns * PANEL + r % PANEL;
        job->kernels->widen(padded(job, q + i * job->args.q[2], room), s->columns, bf16, s->tile32,
                            s->tile);
        for (int64_t c = 0; c < s->columns; c++) {
            s->q32[at + c * PANEL] = s->tile32[c];
            s->q[at + c * PANEL] = s->tile[c];
        }
    }
}

/*
 * Rows [first, first + KEY_TILE) of K or V, as they lie; those past `end` stay whatever they were:
 * finite.
 */
static void load_tile(const struct job *job, const uint16_t *rows, int64_t stride, int64_t first,
                      int64_t end, struct scratch *s)
{
    uint16_t room[PROBLEM_HEAD_DIM_MAX + COLUMN_STEP];
    bool bf16 = job->problem->dtype == DTYPE_BF16;

    for (int64_t j = first; j < end && j < first + KEY_TILE; j++) {
        int64_t at = (j - first) * s->columns;
        job->kernels->widen(padded(job, rows + j * stride, room), s->columns, bf16, s->tile32 + at,
                            s->tile + at);
    }
}

static void measure_values(const struct job *job, const uint16_t *v, int64_t end, struct scratch *s)
{
    uint16_t room[PROBLEM_HEAD_DIM_MAX + COLUMN_STEP];
    bool bf16 = job->problem->dtype == DTYPE_BF16;

    for (int64_t j = 0; j < end; j++) {
        float sum =
            job->kernels->squares(padded(job, v + j * job->args.v[2], room), s->columns, bf16);
        s->v_squares[j] = (double)(sum / (float)job->problem->head_dim);
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
                            const struct spread *spread, int64_t r, double score_square)
{
    double unit = problem->dtype == DTYPE_F16 ? 0x1p-11 : 0x1p-8;
    double rounding = ROUNDING_SQUARE * unit * unit;
    double sum = spread->p[r];
    double w2 = spread->p2[r] / sum / sum;
    double w2a = spread->p2a[r] / sum / sum;
    double w3a = spread->p3a[r] / sum / sum / sum;
    double distance = w2a - 2 * w3a + w2 * w2a;

    if (numerics == NUMERICS_FP16) {
        /* Eight roundings of a tile's sum, each on average of half of it. */
        rounding += ROUNDING_SQUARE * 0x1p-22 * (KEY_TILE / HALF_STEP) / 2;
    }
    return sqrt(rounding * w2a + score_square * (distance > 0 ? distance : 0));
}

/* A panel of rows while it is worked on. */
struct panel {
    int64_t first, rows, keys; /* of job->rows; the keys that the last one sees */
    _Alignas(ROW_ALIGN) double seen[PANEL];
    _Alignas(ROW_ALIGN) float seen32[PANEL];
    _Alignas(ROW_ALIGN) float sums32[PANEL];
    struct spread spread;
};

/* Rows that are only padding see no key. */
static void panel_make(const struct job *job, struct span span, int64_t index, struct panel *panel)
{
    *panel =
        (struct panel){.first = span.first + index * PANEL, .rows = span.count - index * PANEL};
    panel->rows = panel->rows < PANEL ? panel->rows : PANEL;
    for (int64_t r = 0; r < panel->rows; r++) {
        panel->keys =
            reference_visible(job->problem, job->rows[panel->first + r] % job->problem->q_len);
        panel->seen[r] = (double)panel->keys;
        panel->seen32[r] = (float)panel->keys;
    }
}

/* Scores to weights, in both precisions; the sums are kept for the division at the end. */
static void soften(const struct job *job, struct panel *panel, int64_t index, struct scratch *s)
{
    const float none = -0x1p100f;
    const struct problem *p = job->problem;
    double *scores = s->scores + index * s->keys * PANEL, scale = problem_scale(p);
    float *scores32 = s->scores32 + index * s->keys * PANEL;
    _Alignas(ROW_ALIGN) double max[PANEL], square[PANEL];
    _Alignas(ROW_ALIGN) float max32[PANEL];

    job->kernels->survey(scores, scores32, panel->rows, panel->keys, panel->seen, none, max, max32,
                         square);
    job->kernels->softmax_f64(scores, panel->rows, panel->keys, scale, s->v_squares, panel->seen,
                              max, &panel->spread);
    job->kernels->softmax_f32(scores32, panel->rows, panel->keys, (float)scale,
                              p->dtype == DTYPE_BF16, panel->seen32, max32, panel->sums32);
    for (int64_t r = 0; r < panel->rows; r++) {
        int64_t at = panel->first + r;
        bool blind = panel->seen[r] == 0;
        double off = square[r] / panel->seen[r];
        job->out->noise[at] = blind ? 0
                                    : predict_noise(p, job->numerics, &panel->spread, r,
                                                    score_noise(job, off, max[r]));
        if (job->out->lse != NULL) {
            float lse32 = max32[r] * (float)scale + logf(panel->sums32[r]);
            job->out->lse[at] = blind ? -INFINITY : max[r] * scale + log(panel->spread.p[r]);
            job->out->baseline_lse[at] = blind ? -INFINITY : (double)lse32;
        }
    }
}

static void store_rows(const struct job *job, const struct panel *panel, int64_t index,
                       const struct scratch *s)
{
    int64_t columns = job->problem->head_dim;
    const double *out = s->out + index * s->columns * PANEL;
    float *out32 = s->out32 + index * s->columns * PANEL;

    job->kernels->finish(out32, panel->rows, columns, panel->sums32,
                         job->problem->dtype == DTYPE_BF16);
    for (int64_t r = 0; r < panel->rows; r++) {
        double *exact = job->out->exact + (panel->first + r) * columns;
        double *baseline = job->out->baseline + (panel->first + r) * columns;
        bool blind = panel->seen[r] == 0;
        for (int64_t c = 0; c < columns; c++) {
            exact[c] = blind ? 0 : out[c * PANEL + r] / panel->spread.p[r];
            baseline[c] = blind ? 0 : (double)out32[c * PANEL + r];
        }
    }
}

/* Every panel's scores of the tile of keys that begins at j; below, its part of the outputs. */
static void score_tile(const struct job *job, const struct panel *panels, int64_t j,
                       struct scratch *s)
{
    int64_t columns = job->problem->head_dim;

    for (int64_t i = 0; i < s->panels; i++) {
        int64_t count = panels[i].keys - j, q = i * s->columns * PANEL;
        int64_t at = (i * s->keys + j) * PANEL;
        count = count < KEY_TILE ? count : KEY_TILE;
        if (count > 0) {
            job->kernels->scores_f64(s->q + q, panels[i].rows, s->tile, s->columns, count, columns,
                                     false, s->scores + at);
            job->kernels->scores_f32(s->q32 + q, panels[i].rows, s->tile32, s->columns, count,
                                     columns, job->numerics == NUMERICS_FP16, s->scores32 + at);
        }
    }
}

static void weigh_tile(const struct job *job, const struct panel *panels, int64_t j,
                       struct scratch *s)
{
    for (int64_t i = 0; i < s->panels; i++) {
        int64_t count = panels[i].keys - j, out = i * s->columns * PANEL;
        int64_t at = (i * s->keys + j) * PANEL;
        count = count < KEY_TILE ? count : KEY_TILE;
        if (count > 0) {
            job->kernels->weigh_f64(s->scores + at, panels[i].rows, s->tile, s->columns, count,
                                    s->columns, false, s->out + out);
            job->kernels->weigh_f32(s->scores32 + at, panels[i].rows, s->tile32, s->columns, count,
                                    s->columns, job->numerics == NUMERICS_FP16, s->out32 + out);
        }
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
    struct panel panels[PANELS_MAX];
    struct scratch s;

    scratch_make(&s, span.count, p->head_dim, keys);
    load_queries(job, span, q, &s);
    measure_values(job, v, keys, &s);
    for (int64_t i = 0; i < s.panels; i++) {
        panel_make(job, span, i, &panels[i]);
    }
    for (int64_t j = 0; j < keys; j += KEY_TILE) {
        load_tile(job, k, job->args.k[2], j, keys, &s);
        score_tile(job, panels, j, &s);
    }
    for (int64_t i = 0; i < s.panels; i++) {
        soften(job, &panels[i], i, &s);
    }
    for (int64_t j = 0; j < keys; j += KEY_TILE) {
        load_tile(job, v, job->args.v[2], j, keys, &s);
        weigh_tile(job, panels, j, &s);
    }
    for (int64_t i = 0; i < s.panels; i++) {
        store_rows(job, &panels[i], i, &s);
    }
    free(s.own);
}

/* Cuts the rows into spans of one head each. Returns how many; spans may be NULL to count. */
static int64_t cut_spans(const struct problem *problem, const int64_t *rows, int64_t count,
                         int64_t most, struct span *spans)
{
    int64_t made = 0;

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

/* How many rows a span may have: as many as fit in a cache, and each thread has several. */
static int64_t span_rows(const struct problem *problem, const int64_t *rows, int64_t count,
                         int threads)
{
    enum { SPANS_A_THREAD = 3 };
    int64_t keys = round_up(problem->kv_len, KEY_TILE);
    int64_t panels = SCORE_BYTES_MAX / (12 * (keys > 0 ? keys : 1)) / PANEL;

    panels = panels < 1 ? 1 : panels > PANELS_MAX ? PANELS_MAX : panels;
    while (panels > 1 && cut_spans(problem, rows, count, panels * PANEL, NULL) <
                             (int64_t)threads * SPANS_A_THREAD) {
        panels--;
    }
    return panels * PANEL;
}

static void compute_rows(const struct kernels *kernels, const struct problem *problem,
                         const struct inputs *inputs, enum numerics numerics, const int64_t *rows,
                         int64_t count, const struct reference *reference, int threads)
{
    int64_t most = span_rows(problem, rows, count, threads);
    int64_t span_count = cut_spans(problem, rows, count, most, NULL);
    struct span *spans = xcalloc((size_t)span_count, sizeof(*spans));
    struct job job = {.problem = problem,
                      .inputs = inputs,
                      .out = reference,
                      .kernels = kernels,
                      .args = problem_args(problem),
                      .numerics = numerics,
                      .rows = rows,
                      .spans = spans};

    cut_spans(problem, rows, count, most, spans);
    pool_run(compute_span, &job, span_count, threads);
    free(spans);
}

void reference_rows(const struct problem *problem, const struct inputs *inputs,
                    enum numerics numerics, const int64_t *rows, int64_t count,
                    const struct reference *reference, int threads)
{
    compute_rows(kernels_choose(), problem, inputs, numerics, rows, count, reference, threads);
}
