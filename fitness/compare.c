#include "fitness/gate.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/rng.h"
#include "fitness/pool.h"
#include "fitness/reference.h"

enum {
    ROW_BLOCK = 64,  /* of which a row is checked in some head, however large the shape */
    HEAD_BLOCKS = 8, /* of a head: at least so many have a checked row */
    ROWS_PER_TASK = 64,
};

/* The historic bar: what no element of a hundred cases at 1x8x512x64 may be off by. */
static const double BAR_ERROR = 2e-3;
/* Multiply-adds of the FP64 reference above which rows are sampled: some 10 ms of 16 cores. */
static double reference_budget = 0x1p31; /* a test has less */
/* What a row costs besides its keys, in keys; also bounds the memory of the reference. */
enum { ROW_OVERHEAD_KEYS = 64 };

int64_t row_offset(const struct gate *gate, int64_t row)
{
    const struct problem *p = gate->subject->problem;
    int64_t i = row % p->q_len, h = row / p->q_len % p->heads, b = row / p->q_len / p->heads;

    return b * gate->args.o[0] + h * gate->args.o[1] + i * gate->args.o[2];
}

static const uint16_t *output_row(const struct comparison *c, int64_t at)
{
    return c->got != NULL ? c->got + at * c->gate->subject->problem->head_dim
                          : c->gate->first + row_offset(c->gate, c->rows[at]);
}

static void measure_row(const struct comparison *c, int64_t at)
{
    const struct problem *p = c->gate->subject->problem;
    const double *exact = c->reference.exact + at * p->head_dim;

    c->measures[at] = row_measure(p, output_row(c, at), exact, exact,
                                  c->reference.baseline + at * p->head_dim, c->reference.noise[at]);
}

static void measure_rows(void *context, int64_t task)
{
    const struct comparison *c = context;
    int64_t end = (task + 1) * ROWS_PER_TASK;

    for (int64_t at = task * ROWS_PER_TASK; at < end && at < c->count; at++) {
        measure_row(c, at);
    }
}

void comparison_measure(struct comparison *c)
{
    pool_run(measure_rows, c, (c->count + ROWS_PER_TASK - 1) / ROWS_PER_TASK, c->gate->threads);
}

static void describe_element(const struct comparison *c, int64_t at, int64_t column,
                             struct case_result *row)
{
    const struct problem *p = c->gate->subject->problem;
    int64_t index = c->rows[at];

    row->worst[0] = index / p->q_len / p->heads;
    row->worst[1] = index / p->q_len % p->heads;
    row->worst[2] = index % p->q_len;
    row->worst[3] = column;
    row->expected = c->reference.exact[at * p->head_dim + column];
    row->got = half_to_double(p->dtype, output_row(c, at)[column]);
    row->error_max = fabs(row->got - row->expected);
}

static void describe_worst(const struct comparison *c, const struct tolerance *t, int64_t at,
                           struct case_result *row)
{
    const struct row_measure *m = &c->measures[at];

    describe_element(c, at, m->column, row);
    row->error_allowed =
        t->element * row_achievable(m) + half_step(c->gate->subject->problem->dtype, row->expected);
}

static bool check_output(struct gate *gate, const struct comparison *c, struct case_result *row)
{
    struct tolerance t = tolerance_of(c->measures, c->count);
    int64_t worst = 0, worst_row = 0;
    double most = -INFINITY, most_row = 0;

    for (int64_t r = 0; r < c->count; r++) {
        const struct row_measure *m = &c->measures[r];
        double limit = row_limit(&t, m);
        if (m->excess / row_achievable(m) > most) {
            most = m->excess / row_achievable(m);
            worst = r;
        }
        if (m->error / limit > most_row) {
            most_row = m->error / limit;
            worst_row = r;
        }
    }
    row->rows_checked = c->count;
    row->frobenius = t.frobenius_got / (t.scale > 0 ? t.scale : 1);
    row->frobenius_allowed = t.frobenius / (t.scale > 0 ? t.scale : 1);
    describe_worst(c, &t, most <= t.element && most_row > 1 ? worst_row : worst, row);
    const int64_t *at = row->worst;
    if (most > t.element) {
        return case_fail(
            gate, row, VERDICT_WRONG,
            "the output is off by %.3g at batch %lld, head %lld, row %lld, column %lld "
            "(expected %.6g, got %.6g), where %.3g is allowed",
            row->error_max, (long long)at[0], (long long)at[1], (long long)at[2], (long long)at[3],
            row->expected, row->got, row->error_allowed);
    }
    if (most_row > 1) {
        return case_fail(
            gate, row, VERDICT_WRONG,
            "row %lld of batch %lld, head %lld is off by %.3g (rms), %.3g times what is "
            "allowed",
            (long long)at[2], (long long)at[0], (long long)at[1], c->measures[worst_row].error,
            most_row);
    }
    if (t.frobenius_got > t.frobenius) {
        return case_fail(gate, row, VERDICT_WRONG,
                         "the whole output is less exact than its numerics class: relative error "
                         "%.3g (Frobenius), where %.3g is allowed",
                         row->frobenius, row->frobenius_allowed);
    }
    return true;
}

/* A bare number, which is no limit for long sequences, but is what everybody asked for first. */
static bool check_bar(struct gate *gate, const struct comparison *c, struct case_result *row)
{
    int64_t worst = 0;

    for (int64_t r = 1; r < c->count; r++) {
        worst = c->measures[r].off > c->measures[worst].off ? r : worst;
    }
    describe_element(c, worst, c->measures[worst].off_column, row);
    row->error_allowed = BAR_ERROR;
    return row->error_max < BAR_ERROR ||
           case_fail(gate, row, VERDICT_WRONG,
                     "the output is off by %.3g, where no error of %.3g "
                     "is allowed",
                     row->error_max, BAR_ERROR);
}

static bool check_lse(struct gate *gate, const struct comparison *c, struct case_result *row)
{
    const double *exact = c->reference.lse;
    double base = 0;

    for (int64_t r = 0; r < c->count; r++) {
        if (isfinite(exact[r])) {
            base = fmax(base, fabs(c->reference.baseline_lse[r] - exact[r]));
        }
    }
    for (int64_t r = 0; r < c->count; r++) {
        double got = (double)gate->first_lse[c->rows[r]];
        double allowed = lse_limit(gate->subject->problem->dtype, base, exact[r]);
        if (isfinite(exact[r]) ? fabs(got - exact[r]) <= allowed : got == exact[r]) {
            continue;
        }
        row->expected = exact[r];
        row->got = got;
        return case_fail(
            gate, row, VERDICT_WRONG,
            "the log-sum-exp of row %lld (expected %.7g, got %.7g) is off by more than "
            "the %.3g allowed",
            (long long)c->rows[r], exact[r], got, allowed);
    }
    return true;
}

/* ---- which rows ----------------------------------------------------------------------------- */

static double reference_cost(const struct problem *p)
{
    double keys = 0;

    for (int64_t i = 0; i < p->q_len; i++) {
        keys += (double)(reference_visible(p, i) + ROW_OVERHEAD_KEYS);
    }
    return keys * (double)(p->batch * p->heads * p->head_dim * 2);
}

bool reference_affords(const struct problem *problem)
{
    return reference_cost(problem) <= reference_budget;
}

/* Bits of the rows taken from a block of `size`: `wanted` of them, evenly spaced from a random
 * start. */
static uint64_t pick_in_block(struct rng *rng, int64_t size, int64_t wanted)
{
    int64_t step = size / (wanted < size ? wanted : size);
    uint64_t picked = 0;

    for (int64_t i = rng_below(rng, (uint32_t)step); i < size; i += step) {
        picked |= (uint64_t)1 << i;
    }
    return picked;
}

/* How the reference's rows are spread where it cannot afford all of them. */
struct thinning {
    int64_t wanted; /* rows of a block of ROW_BLOCK */
    int64_t step;   /* blocks of a head: each step-th; the next head has the next ones */
};

/*
 * A baseline looks at all rows: then not every block of every head needs one with a reference, but
 * every block in some head. Without it a row of each block is the least, whatever it costs.
 */
static struct thinning thin(const struct gate *gate, int64_t blocks)
{
    const struct problem *p = gate->subject->problem;
    double affordable = ROW_BLOCK * reference_budget / reference_cost(p); /* rows of a block */
    struct thinning thinning = {.wanted = 1, .step = 1};

    if (affordable >= 1) {
        thinning.wanted = affordable < ROW_BLOCK ? (int64_t)affordable : ROW_BLOCK;
    } else if (gate->auditor != NULL) {
        int64_t heads = p->batch * p->heads, step = (int64_t)ceil(1 / affordable);

        step = step < heads ? step : heads;
        step = step < blocks / HEAD_BLOCKS ? step : blocks / HEAD_BLOCKS;
        thinning.step = step > 1 ? step : 1;
    }
    return thinning;
}

/*
 * Every row where the reference can afford it; else in each head the first row, the last, and as
 * many of the blocks of 64 as it can afford. Drawn after the candidate has run.
 */
static int64_t *pick_rows(const struct gate *gate, uint64_t key, int64_t *count)
{
    const struct problem *p = gate->subject->problem;
    int64_t blocks = (p->q_len + ROW_BLOCK - 1) / ROW_BLOCK;
    struct thinning thinning = thin(gate, blocks);
    struct rng turns = rng_at(key, 3, 0);
    int64_t turn = rng_below(&turns, (uint32_t)thinning.step);
    int64_t wanted = thinning.wanted;
    int64_t room = p->batch * p->heads * (blocks * (wanted < 32 ? 2 * wanted : ROW_BLOCK) + 2);
    int64_t *rows = xmalloc((size_t)room * sizeof(*rows));

    *count = 0;
    for (int64_t head = 0; head < p->batch * p->heads; head++) {
        struct rng rng = rng_at(key, 2, (uint64_t)head);
        for (int64_t block = 0; block < blocks; block++) {
            int64_t first = block * ROW_BLOCK, size = p->q_len - first;
            size = size < ROW_BLOCK ? size : ROW_BLOCK;
            uint64_t picked =
                (block + head + turn) % thinning.step == 0 ? pick_in_block(&rng, size, wanted) : 0;
            picked |= (uint64_t)(block == 0);
            picked |= (uint64_t)(block == blocks - 1) << (size - 1);
            for (int64_t i = 0; i < size; i++) {
                if (picked >> i & 1) {
                    assert(*count < room);
                    rows[(*count)++] = head * p->q_len + first + i;
                }
            }
        }
    }
    return rows;
}

/* Memory for the answer to some rows: kept, for the system takes as long to give as it to fill. */
static void make_room(struct gate *gate, int64_t count, struct comparison *c)
{
    size_t rows = (size_t)count, columns = (size_t)gate->subject->problem->head_dim;
    struct reckoning *room = &gate->reckoning;

    if (room->rows < count) {
        reckoning_free(room);
        room->rows = count;
        room->reference.exact = xmalloc(rows * columns * sizeof(double));
        room->reference.baseline = xmalloc(rows * columns * sizeof(double));
        room->reference.noise = xmalloc(rows * sizeof(double));
        if (gate->subject->problem->lse) {
            room->reference.lse = xmalloc(rows * sizeof(double));
            room->reference.baseline_lse = xmalloc(rows * sizeof(double));
        }
        room->measures = xmalloc(rows * sizeof(*room->measures));
    }
    c->reference = room->reference;
    c->measures = room->measures;
}

void reckoning_free(struct reckoning *old)
{
    free(old->reference.exact);
    free(old->reference.baseline);
    free(old->reference.noise);
    free(old->reference.lse);
    free(old->reference.baseline_lse);
    free(old->measures);
    *old = (struct reckoning){0};
}

bool check_correct(struct gate *gate, struct rig *rig, bool bar, struct case_result *row)
{
    const struct problem *p = gate->subject->problem;
    struct comparison c = {.gate = gate};
    int64_t *rows = pick_rows(gate, gate_derive(gate, "rows", (int64_t)rig->key, 0), &c.count);
    bool right = true;

    c.rows = rows;
    if (gate->auditor != NULL) {
        c.got = gather_rows(gate, rig->regions[REGION_O].at, rows, c.count);
        right = c.got != NULL && begin_whole(gate, rig); /* runs while the CPU computes */
    }
    make_room(gate, c.count, &c);
    const struct inputs *inputs = right ? rig_inputs(gate, rig) : NULL;
    int64_t since = clock_now_us();
    if (right) {
        reference_rows(p, inputs, gate->subject->numerics, rows, c.count, &c.reference,
                       gate->threads);
        gate_spend(gate, PART_REFERENCE, &since);
        comparison_measure(&c);
    }
    right = right && check_output(gate, &c, row) && (!p->lse || check_lse(gate, &c, row)) &&
            (!bar || check_bar(gate, &c, row)) &&
            (gate->auditor == NULL || check_whole(gate, rig, &c, row));
    gate_spend(gate, PART_COMPARE, &since);
    free(rows);
    free((void *)c.got);
    return right;
}
