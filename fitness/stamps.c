#include "fitness/stamps.h"

#include <math.h>

#include "fitness/stats.h"

/* The timer was seen to step by 32 ns, and is known to step by 1 us elsewhere: 0.05 % of this. */
enum { LEAST_NS = 2 * 1000 * 1000 };
/*
 * Groups of multiprocessors have clocks of their own, which follow one and are held back by what
 * each group draws: those in the middle were seen to agree within a percent or so.
 */
static const double agreement = 0.05;

static uint64_t stir(uint64_t x, int shift, uint64_t by) { return (x ^ x >> shift) * by; }

uint64_t stamp_seal(uint64_t key, int which, int multiprocessor, uint64_t cycles, uint64_t ns)
{
    const uint64_t a = 0xbf58476d1ce4e5b9u, b = 0x94d049bb133111ebu;
    uint64_t x = stir(cycles ^ key, 30, a);

    x = stir(x ^ ns, 27, b) + (uint64_t)(2 * multiprocessor + which);
    x = stir(x, 31, a) ^ key;
    x = stir(x, 29, b);
    return x ^ x >> 32;
}

static double mhz_of(const struct stamps *stamps, int sm, uint64_t key)
{
    const struct stamp *before = &stamps->at[0][sm], *after = &stamps->at[1][sm];

    if (before->seal != stamp_seal(key, 0, sm, before->cycles, before->ns) ||
        after->seal != stamp_seal(key, 1, sm, after->cycles, after->ns) ||
        after->ns < before->ns + LEAST_NS || after->cycles <= before->cycles) {
        return NAN;
    }
    return 1e3 * (double)(after->cycles - before->cycles) / (double)(after->ns - before->ns);
}

double stamps_mhz(const struct stamps *stamps, int multiprocessors, uint64_t key)
{
    double mhz[STAMPS_MAX], low, high, sum = 0;
    int known = 0;

    for (int sm = 0; sm < multiprocessors && sm < STAMPS_MAX; sm++) {
        double one = mhz_of(stamps, sm, key);

        if (!isnan(one)) {
            mhz[known++] = one;
            sum += one;
        }
    }
    if (known == 0 || known < multiprocessors / 2) {
        return NAN;
    }
    low = stats_quantile(mhz, known, 0.25);
    high = stats_quantile(mhz, known, 0.75);
    return high - low > agreement * high ? NAN : sum / known;
}
