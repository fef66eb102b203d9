#include "fitness/gate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

uint16_t *gather_rows(struct gate *gate, device_ptr from, const int64_t *rows, int64_t count)
{
    int64_t columns = gate->subject->problem->head_dim;
    int64_t *offsets = xmalloc((size_t)count * sizeof(*offsets));
    uint16_t *to = xmalloc((size_t)(count * columns) * sizeof(*to));

    for (int64_t r = 0; r < count; r++) {
        offsets[r] = row_offset(gate, rows[r]);
    }
    enum device_status status = gate->auditor->gather(from, offsets, count, columns, to, gate->err);
    free(offsets);
    if (status != DEVICE_OK) {
        free(to);
        device_failed(gate, status, NULL);
        return NULL;
    }
    return to;
}

/* What the whole output may be off by from the baseline, in units of a row's expected error. */
struct allowance {
    double element, row, all;
};

/*
 * A right output and the baseline are each within the limits of the exact one, hence within twice
 * that of each other; what a row achieves beyond its expectation is taken from the rows that have a
 * reference. Rows are many here: the mean over all of them is held to hardly more than its due.
 */
static struct allowance allow(const struct comparison *c, const struct comparison *base)
{
    struct tolerance t = tolerance_of(c->measures, c->count);
    struct tolerance own = tolerance_of(base->measures, base->count);
    double beyond = 1, expected = 0;

    for (int64_t r = 0; r < c->count; r++) {
        const struct row_measure *m = &c->measures[r];
        beyond = fmax(beyond, row_achievable(m) / m->expected);
        expected += m->expected * m->expected;
    }
    expected = sqrt(expected / (double)c->count);
    return (struct allowance){.element = 2 * t.element * beyond,
                              .row = 2 * fmax(4 * beyond, t.row),
                              .all = (t.frobenius + 1.25 * own.frobenius_got) / expected};
}

/* The trusted baseline is trusted where the reference agrees, by the candidate's own limits. */
static bool check_base(struct gate *gate, const struct comparison *base)
{
    struct tolerance t = tolerance_of(base->measures, base->count);
    int64_t worst = 0;
    double most = 0;

    for (int64_t r = 0; r < base->count; r++) {
        const struct row_measure *m = &base->measures[r];
        if (m->excess / row_achievable(m) > most) {
            most = m->excess / row_achievable(m);
            worst = r;
        }
    }
    if (most <= t.element && t.frobenius_got <= t.frobenius) {
        return true;
    }
    gate->status = DEVICE_LOST;
    return err_set(gate->err, ERR_DEVICE,
                   "the judge's own baseline is off by %.3g times what is allowed, in row %lld; "
                   "relative error %.3g, where %.3g is allowed",
                   most / t.element, (long long)base->rows[worst], t.frobenius_got, t.frobenius);
}

static double ratio_of(uint64_t worst)
{
    uint32_t bits = (uint32_t)(worst >> 32);
    float ratio;

    memcpy(&ratio, &bits, sizeof(ratio));
    return (double)ratio;
}

/* One row that is off, element by element; it was not among those that have a reference. */
static bool fail_row(struct gate *gate, const struct rig *rig, int64_t index, double times,
                     const char *which, struct case_result *row)
{
    const struct problem *p = gate->subject->problem;
    uint16_t *got = gather_rows(gate, rig->regions[REGION_O].at, &index, 1);
    uint16_t *base = got != NULL ? gather_rows(gate, gate->base.out, &index, 1) : NULL;

    if (base == NULL) {
        free(got);
        return false;
    }
    row->error_max = -1;
    for (int64_t c = 0; c < p->head_dim; c++) {
        double want = half_to_double(p->dtype, base[c]), have = half_to_double(p->dtype, got[c]);
        if (fabs(have - want) > row->error_max) {
            int64_t at[4] = {index / p->q_len / p->heads, index / p->q_len % p->heads,
                             index % p->q_len, c};
            memcpy(row->worst, at, sizeof(at));
            row->expected = want;
            row->got = have;
            row->error_max = fabs(have - want);
        }
    }
    free(got);
    free(base);
    return case_fail(gate, row, VERDICT_WRONG,
                     "%s is off by %.3g at batch %lld, head %lld, row %lld, column %lld (the "
                     "baseline has %.6g, got %.6g), %.3g times what is allowed",
                     which, row->error_max, (long long)row->worst[0], (long long)row->worst[1],
                     (long long)row->worst[2], (long long)row->worst[3], row->expected, row->got,
                     times);
}

static bool judge_whole(struct gate *gate, const struct rig *rig, const struct comparison *c,
                        const struct comparison *base, const struct device_comparison *found,
                        struct case_result *row)
{
    struct allowance allowed = allow(c, base);
    double element = ratio_of(found->element) / allowed.element;
    double rms = ratio_of(found->row) / allowed.row;
    double all = sqrt(found->difference / found->expected) / allowed.all;
    double lse_allowed = gate->subject->problem->dtype == DTYPE_F16 ? 0x1p-9 : 0x1p-6;

    if (element > 1) {
        return fail_row(gate, rig, (int64_t)(found->element & UINT32_MAX), element, "an element",
                        row);
    }
    if (rms > 1) {
        return fail_row(gate, rig, (int64_t)(found->row & UINT32_MAX), rms, "a row", row);
    }
    if (!(all <= 1)) {
        return case_fail(gate, row, VERDICT_WRONG,
                         "the whole output is further from the baseline than its numerics class: "
                         "%.3g times what is allowed (Frobenius)",
                         all);
    }
    if (gate->subject->problem->lse && ratio_of(found->lse) > lse_allowed) {
        return case_fail(gate, row, VERDICT_WRONG,
                         "the log-sum-exp of row %lld is off by more than %.3g from the baseline",
                         (long long)(found->lse & UINT32_MAX), lse_allowed);
    }
    return true;
}

bool begin_whole(struct gate *gate, const struct rig *rig)
{
    const struct verify_subject *subject = gate->subject;
    enum device_status status =
        gate->auditor->baseline(subject->problem, subject->numerics == NUMERICS_FP16, &rig->buffers,
                                &gate->base, gate->err);

    return status == DEVICE_OK || device_failed(gate, status, NULL);
}

bool check_whole(struct gate *gate, const struct rig *rig, const struct comparison *c,
                 struct case_result *row)
{
    struct comparison base = *c;
    struct device_comparison found;
    enum device_status status = gate->auditor->compare(gate->subject->problem, &rig->buffers,
                                                       &gate->base, &found, gate->err);

    if (status != DEVICE_OK) {
        return device_failed(gate, status, NULL);
    }
    base.got = gather_rows(gate, gate->base.out, c->rows, c->count);
    if (base.got == NULL) {
        return false;
    }
    base.measures = xmalloc((size_t)c->count * sizeof(*base.measures));
    comparison_measure(&base);
    bool right = check_base(gate, &base) && judge_whole(gate, rig, c, &base, &found, row);
    free((void *)base.got);
    free(base.measures);
    return right;
}
