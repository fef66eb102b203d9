/*
 * reference -- attention in FP64 on CPU threads, and what a trusted kernel would make of it.
 *
 * For the rows asked for it computes, on the 16-bit inputs as they are: the exact output (FP64
 * throughout), and the output of a trusted baseline of a numerics class, rounded to the problem's
 * type as a right kernel would:
 *   NUMERICS_FP32: scores and sums in FP32, P rounded to 16 bits before P·V;
 *   NUMERICS_FP16: Q·Kᵀ rounded to FP16 after every 16 columns, P·V after every 16 keys inside a
 *                  tile of 128 keys, tiles added in FP32.
 * The distance between the two is what is achievable; the gate measures candidates against it.
 *
 * One baseline is one draw of luck: where a row has few keys that matter, its roundings may happen
 * to be harmless. So the rms error that a class is to be expected to make in a row is also
 * predicted, from the weights and V (docs/JUDGE.md derives it), without output rounding.
 */
#ifndef EVO_FITNESS_REFERENCE_H
#define EVO_FITNESS_REFERENCE_H

#include <stdint.h>

#include "fitness/inputs.h"
#include "fitness/problem.h"
#include "fitness/verify.h"

/* The caller's memory. A row that sees no key: zeros, and a log-sum-exp of -infinity. */
struct reference {
    double *exact, *baseline;   /* count × head_dim each */
    double *noise;              /* count: predicted rms error of an element of this row */
    double *lse, *baseline_lse; /* count each; both NULL when not wanted */
};

/*
 * rows: count indices of (batch, head, query) as (b·heads + h)·q_len + i, ascending.
 */
void reference_rows(const struct problem *problem, const struct inputs *inputs,
                    enum numerics numerics, const int64_t *rows, int64_t count,
                    const struct reference *reference, int threads);

/* How many keys query `i` of a head may see. */
int64_t reference_visible(const struct problem *problem, int64_t i);

/* How many threads this process may use (its affinity mask). */
int reference_threads(void);

#endif
