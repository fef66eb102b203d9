#include "fitness/tolerance.h"

#include <math.h>
#include <string.h>

#include "fitness/inputs.h"

double half_step(enum dtype dtype, double x)
{
    static const int least[2] = {[DTYPE_F16] = -14, [DTYPE_BF16] = -126};
    static const int mantissa[2] = {[DTYPE_F16] = 10, [DTYPE_BF16] = 7};
    uint64_t bits;

    memcpy(&bits, &x, sizeof(bits));
    int exponent = (int)(bits >> 52 & 0x7ff) - 1023;
    exponent = (exponent > least[dtype] ? exponent : least[dtype]) - mantissa[dtype];
    bits = (uint64_t)(exponent + 1023) << 52;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

struct row_measure row_measure(const struct problem *problem, const uint16_t *got,
                               const double *target, const double *exact, const double *baseline,
                               double noise)
{
    double error = 0, base = 0, steps = 0, square = 0, n = (double)problem->head_dim;
    struct row_measure m = {.excess = -INFINITY};

    for (int64_t k = 0; k < problem->head_dim; k++) {
        double off = fabs(half_to_double(problem->dtype, got[k]) - target[k]);
        double base_off = fabs(baseline[k] - exact[k]);
        double step = half_step(problem->dtype, exact[k]);
        error += off * off;
        base += base_off * base_off;
        steps += step * step;
        square += exact[k] * exact[k];
        m.baseline_max = base_off > m.baseline_max ? base_off : m.baseline_max;
        if (off > m.off) {
            m.off = off;
            m.off_column = k;
        }
        if (off - step > m.excess) {
            m.excess = off - step;
            m.column = k;
        }
    }
    m.error = sqrt(error / n);
    m.baseline = sqrt(base / n);
    m.ulp = sqrt(steps / n);
    m.square = square / n;
    m.expected = hypot(noise, m.ulp / sqrt(12));
    return m;
}

double row_achievable(const struct row_measure *m)
{
    return m->baseline > m->expected ? m->baseline : m->expected;
}

double row_limit(const struct tolerance *t, const struct row_measure *m)
{
    return fmax(4 * row_achievable(m), t->row * m->expected) + m->ulp;
}

double lse_limit(enum dtype dtype, double base, double exact)
{
    /* A sum may as well be taken of the rounded weights: one unit of the 16-bit type, relative. */
    double unit = dtype == DTYPE_F16 ? 0x1p-11 : 0x1p-8;

    return 4 * base + unit + 0x1p-22 * fabs(exact);
}

struct tolerance tolerance_of(const struct row_measure *measures, int64_t count)
{
    double got = 0, base = 0, expected = 0, fourth = 0, square = 0;
    struct tolerance t = {.element = 4};

    for (int64_t r = 0; r < count; r++) {
        const struct row_measure *m = &measures[r];
        double element = m->baseline_max / row_achievable(m), row = m->baseline / m->expected;
        double variance = m->expected * m->expected;
        t.element = element > t.element ? element : t.element;
        t.row = row > t.row ? row : t.row;
        got += m->error * m->error;
        base += m->baseline * m->baseline;
        square += m->square;
        expected += variance;
        fourth += variance * variance;
    }
    double rows = (double)count, draws = expected * expected / fourth;
    t.element *= 2;
    t.row *= 2;
    /* Of few rows the rms itself is a matter of luck. */
    t.frobenius = 1.5 * (1 + 2 / sqrt(draws)) * sqrt((base > expected ? base : expected) / rows);
    t.frobenius_got = sqrt(got / rows);
    t.scale = sqrt(square / rows);
    return t;
}
