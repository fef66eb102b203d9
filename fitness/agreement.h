/*
 * agreement -- do two devices make the same of one program and one input?
 *
 * They rarely agree to the bit: a tensor core adds its products in an order of its own and drops
 * bits on the way, and an approximate power of two may differ in its last bit; where that tips a
 * weight over to the next 16-bit number, the output follows. How far such differences may go is
 * known: both outputs are sums of the same terms, so either may be as far from the other as a right
 * kernel may be from the exact answer. The limits are the gate's (tolerance.h), with the second
 * output in the place of the exact one: for each element, for the rms of each row, and for that of
 * the whole. Pure functions.
 */
#ifndef EVO_FITNESS_AGREEMENT_H
#define EVO_FITNESS_AGREEMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "fitness/job.h"
#include "fitness/verify.h"

struct agreement {
    int64_t elements, identical; /* of the output; to the bit */
    /* The largest difference in steps of the output's type, as they are in its row on the mean. */
    double steps;
    int64_t at[4]; /* there: batch, head, row, column */
    double first, second, exact;
    double share;     /* of what is allowed, where they come nearest to it; above 1: they differ */
    const char *what; /* which limit that is */
};

/*
 * Two answers to the same case (family and seed) of the problem. False: they are not, or hold fewer
 * bytes than the problem's output.
 */
bool agreement_find(const struct problem *problem, enum numerics numerics,
                    const struct answer *first, const struct answer *second,
                    struct agreement *agreement, struct err *err);

#endif
