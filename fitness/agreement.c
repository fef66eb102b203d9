#include "fitness/agreement.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "fitness/reference.h"
#include "fitness/tolerance.h"

/* One case: the inputs drawn again, what should come of them, and the two answers. */
struct pair {
    const struct problem *problem;
    struct problem_args args;
    int64_t rows;
    struct inputs inputs;
    struct reference reference;
    struct row_measure *measures;
    const uint16_t *out[2];
    const float *lse[2];
};

static enum input_family family_of(const char *name)
{
    enum input_family family = 0;

    while (family < INPUT_FAMILIES && strcmp(input_family_names[family], name) != 0) {
        family++;
    }
    return family;
}

static void pair_make(struct pair *pair, const struct problem *problem, enum input_family family,
                      enum numerics numerics, const struct answer *first,
                      const struct answer *second)
{
    size_t q = (size_t)problem_q_elements(problem), kv = (size_t)problem_kv_elements(problem);
    size_t count = (size_t)problem_rows(problem);
    const struct answer *answers[2] = {first, second};
    int64_t *rows = xmalloc(count * sizeof *rows);

    *pair = (struct pair){.problem = problem,
                          .args = problem_args(problem),
                          .rows = (int64_t)count,
                          .inputs = {xmalloc(q * 2), xmalloc(kv * 2), xmalloc(kv * 2)},
                          .reference = {.exact = xmalloc(q * sizeof(double)),
                                        .baseline = xmalloc(q * sizeof(double)),
                                        .noise = xmalloc(count * sizeof(double)),
                                        .lse = xmalloc(count * sizeof(double)),
                                        .baseline_lse = xmalloc(count * sizeof(double))},
                          .measures = xmalloc(count * sizeof *pair->measures)};
    for (size_t r = 0; r < count; r++) {
        rows[r] = (int64_t)r;
    }
    for (int i = 0; i < 2; i++) { /* a body in an arena: aligned for whatever it is */
        pair->out[i] = (const void *)answers[i]->data;
        pair->lse[i] = (const void *)(answers[i]->data + q * sizeof **pair->out);
    }
    inputs_draw(problem, family, first->seed, &pair->inputs, reference_threads());
    reference_rows(problem, &pair->inputs, numerics, rows, pair->rows, &pair->reference,
                   reference_threads());
    free(rows);
}

static void pair_free(struct pair *pair)
{
    free(pair->inputs.q);
    free(pair->inputs.k);
    free(pair->inputs.v);
    free(pair->reference.exact);
    free(pair->reference.baseline);
    free(pair->reference.noise);
    free(pair->reference.lse);
    free(pair->reference.baseline_lse);
    free(pair->measures);
}

/* The element of the output that a row begins with. */
static int64_t row_begin(const struct pair *pair, int64_t row)
{
    const struct problem *p = pair->problem;
    int64_t i = row % p->q_len, h = row / p->q_len % p->heads, b = row / p->q_len / p->heads;

    return b * pair->args.o[0] + h * pair->args.o[1] + i * pair->args.o[2];
}

static void note_worst(const struct pair *pair, int64_t row, struct agreement *agreement)
{
    const struct problem *p = pair->problem;
    const struct row_measure *m = &pair->measures[row];
    int64_t column = m->off_column, from = row_begin(pair, row) + column;

    agreement->steps = m->off / m->ulp;
    agreement->at[0] = row / p->q_len / p->heads;
    agreement->at[1] = row / p->q_len % p->heads;
    agreement->at[2] = row % p->q_len;
    agreement->at[3] = column;
    agreement->first = half_to_double(p->dtype, pair->out[0][from]);
    agreement->second = half_to_double(p->dtype, pair->out[1][from]);
    agreement->exact = pair->reference.exact[row * p->head_dim + column];
}

static void measure(struct pair *pair, struct agreement *agreement)
{
    const struct problem *p = pair->problem;
    double *target = xmalloc((size_t)p->head_dim * sizeof *target);

    agreement->elements = problem_q_elements(p);
    for (int64_t row = 0; row < pair->rows; row++) {
        const uint16_t *first = pair->out[0] + row_begin(pair, row);
        const uint16_t *second = pair->out[1] + row_begin(pair, row);
        struct row_measure *m = &pair->measures[row];

        for (int64_t k = 0; k < p->head_dim; k++) {
            target[k] = half_to_double(p->dtype, second[k]);
            agreement->identical += first[k] == second[k];
        }
        *m = row_measure(p, first, target, pair->reference.exact + row * p->head_dim,
                         pair->reference.baseline + row * p->head_dim, pair->reference.noise[row]);
        if (m->off / m->ulp > agreement->steps) {
            note_worst(pair, row, agreement);
        }
    }
    free(target);
}

static void hold(struct agreement *agreement, double off, double limit, const char *what)
{
    double share = off > 0 ? off / limit : 0;

    if (share > agreement->share || agreement->what == NULL) {
        agreement->share = share;
        agreement->what = what;
    }
}

static void hold_output(const struct pair *pair, struct agreement *agreement)
{
    struct tolerance t = tolerance_of(pair->measures, pair->rows);

    for (int64_t row = 0; row < pair->rows; row++) {
        const struct row_measure *m = &pair->measures[row];
        double exact = pair->reference.exact[row * pair->problem->head_dim + m->off_column];

        hold(agreement, m->off,
             t.element * row_achievable(m) + half_step(pair->problem->dtype, exact), "an element");
        hold(agreement, m->error, row_limit(&t, m), "the rms of a row");
    }
    hold(agreement, t.frobenius_got, t.frobenius, "the rms of the whole");
}

static void hold_lse(const struct pair *pair, struct agreement *agreement)
{
    for (int64_t row = 0; row < pair->rows; row++) {
        double exact = pair->reference.lse[row];
        double first = (double)pair->lse[0][row], second = (double)pair->lse[1][row];
        double base = fabs(pair->reference.baseline_lse[row] - exact);
        double limit = lse_limit(pair->problem->dtype, base, exact);

        if (isfinite(exact)) {
            hold(agreement, fabs(first - second), limit, "a log-sum-exp");
        } else if (first != second) {
            hold(agreement, INFINITY, 1, "a log-sum-exp");
        }
    }
}

bool agreement_find(const struct problem *problem, enum numerics numerics,
                    const struct answer *first, const struct answer *second,
                    struct agreement *agreement, struct err *err)
{
    enum input_family family = family_of(first->family);
    size_t bytes = answer_bytes(problem);
    struct pair pair;

    *agreement = (struct agreement){0};
    if (family == INPUT_FAMILIES || strcmp(first->family, second->family) != 0 ||
        first->seed != second->seed || first->bytes != bytes || second->bytes != bytes) {
        return err_set(err, ERR_SYSTEM, "the two devices did not answer the same question");
    }
    pair_make(&pair, problem, family, numerics, first, second);
    measure(&pair, agreement);
    hold_output(&pair, agreement);
    if (problem->lse) {
        hold_lse(&pair, agreement);
    }
    pair_free(&pair);
    return true;
}
