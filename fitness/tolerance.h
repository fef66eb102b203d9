/*
 * tolerance -- how far a right output may be from the exact one, in units of what is achievable.
 *
 * docs/JUDGE.md derives the limits. They come from two things: what a trusted baseline of the same
 * numerics class makes of the same inputs, and the error that the class must be expected to make in
 * a row; never from a bare number. The gate measures an output against the exact one; who compares
 * two outputs measures one against the other, by the same limits. Pure functions.
 */
#ifndef EVO_FITNESS_TOLERANCE_H
#define EVO_FITNESS_TOLERANCE_H

#include <stdint.h>

#include "fitness/problem.h"

/* The distance of neighbouring values of the type around x. */
double half_step(enum dtype dtype, double x);

struct row_measure {
    double error;        /* rms of what was got against the target */
    double baseline;     /* rms of the baseline against the exact row */
    double expected;     /* rms that the class must be expected to make, output rounding included */
    double ulp;          /* rms of the output type's step at the exact values */
    double square;       /* mean square of the exact row */
    double baseline_max; /* largest |baseline - exact| */
    double excess;       /* largest |got - target| - step */
    int64_t column;      /* of that */
    double off;          /* largest |got - target| */
    int64_t off_column;
};

/* A row of an output; `target` is the exact row, or what else it is held against. */
struct row_measure row_measure(const struct problem *problem, const uint16_t *got,
                               const double *target, const double *exact, const double *baseline,
                               double noise);
/* The rms error that a right kernel may make in the row. */
double row_achievable(const struct row_measure *m);
/* The tolerance of a case. */
struct tolerance {
    double element; /* times a row's achievable error, plus a step */
    double row;     /* times a row's expected error, where that is more than 4 × achievable */
    double frobenius, frobenius_got; /* rms over all rows */
    double scale;                    /* rms of the exact output */
};

struct tolerance tolerance_of(const struct row_measure *measures, int64_t count);
/* The rms that a row may be off by. */
double row_limit(const struct tolerance *t, const struct row_measure *m);
/* What a log-sum-exp may be off by; `base`: what the baseline is. */
double lse_limit(enum dtype dtype, double base, double exact);

#endif
