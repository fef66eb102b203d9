#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "fitness/job.h"
#include "fitness/score.h"
#include "fitness/stamps.h"

static void assert_near(double got, double expected)
{
    if (!(fabs(got - expected) <= 1e-9 * fabs(expected))) {
        fail_msg("got %.15g, expected %.15g", got, expected);
    }
}

/*
 * The expected values are worked out by hand. The quantiles of Student's t in them come from a
 * numeric integration of its density: t(1) 12.706204736, t(4) 2.776445105, t(7) 2.364624252,
 * t(159) 1.974996213.
 */
static void a_few_samples_are_students_textbook_case(void **state)
{
    const double samples[] = {10, 12, 11, 14, 13}; /* mean 12, variance 10/4 */
    struct score score;

    (void)state;
    assert_true(score_of_samples(samples, 5, 0, &score));
    assert_near(score.us, 12);
    assert_near(score.high, 12 + 2.7764451051977987 * sqrt(2.5 / 5));
    assert_near(score.low, 12 - 2.7764451051977987 * sqrt(2.5 / 5));
    assert_true(score_of_samples(samples, 2, 0, &score)); /* 10, 12: variance 2 */
    assert_near(score.us, 11);
    assert_near(score.high, 11 + 12.706204736432095);
    assert_near(score.low, 0); /* 11 - 12.7 would be no time */
}

/*
 * Ten samples lose one at each end: 2 … 9 stay, mean 5.5. Winsorised they are 2 2 3 4 … 8 9 9 with
 * squared deviations 42 + 2 * 12.25 = 66.5, so the variance of the mean is 66.5 / (8 * 7).
 */
static void the_ends_are_trimmed_and_the_variance_is_winsorised(void **state)
{
    const double samples[] = {7, 1e6, 3, 2, 9, 5, 1, 6, 8, 4};
    struct score score;

    (void)state;
    assert_true(score_of_samples(samples, 10, 0, &score));
    assert_near(score.us, 5.5);
    assert_near(score.high - score.us, 2.3646242515927844 * sqrt(66.5 / 56));
    assert_near(score.us - score.low, 2.3646242515927844 * sqrt(66.5 / 56));
}

/*
 * 1 … 200 lose 20 at each end: 21 … 180 stay, mean 100.5. SSD = sum over 21 … 180, which is
 * (160^3 - 160) / 12 = 341320, and 2 * 20 * 79.5^2 = 252810 for the winsorised ends.
 */
static void many_samples_use_their_many_degrees_of_freedom(void **state)
{
    double samples[200];
    struct score score;

    (void)state;
    for (int i = 0; i < 200; i++) {
        samples[i] = 1 + (i * 77) % 200; /* every number from 1 to 200, out of order */
    }
    assert_true(score_of_samples(samples, 200, 0, &score));
    assert_near(score.us, 100.5);
    if (fabs(score.high - score.us - 1.974996213 * sqrt(594130.0 / (160 * 159.0))) > 1e-7) {
        fail_msg("half width %.12g", score.high - score.us);
    }
}

static void the_clocks_tick_widens_the_interval(void **state)
{
    const double samples[] = {7.1, 7.1, 7.1, 7.1};
    struct score score;

    (void)state;
    assert_true(score_of_samples(samples, 4, 0.032, &score));
    assert_near(score.us, 7.1);
    assert_near(score.low, 7.1 - 0.016);
    assert_near(score.high, 7.1 + 0.016);
}

static void a_single_sample_is_its_own_interval(void **state)
{
    const double recorded = 11482.8;
    struct score score;

    (void)state;
    assert_true(score_of_samples(&recorded, 1, 0, &score));
    assert_true(score.us == recorded && score.low == recorded && score.high == recorded);
    score = score_combine(&score, 1);
    assert_true(score.us == recorded && score.low == recorded && score.high == recorded);
}

static void no_sample_and_no_time_have_no_score(void **state)
{
    const double bad[][2] = {{5, 0}, {-1, 5}, {NAN, 5}, {5, INFINITY}};
    struct score score;

    (void)state;
    assert_false(score_of_samples(bad[0], 0, 0, &score));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(score_of_samples(bad[i], 2, 0, &score));
    }
}

static void a_gain_is_as_unsure_as_both_of_its_times(void **state)
{
    const struct score best = {100, 97, 104}, ours = {50, 49, 52}, exact = {50, 50, 50};
    struct gain gain = score_gain(&best, &ours);

    (void)state;
    assert_near(gain.ratio, 2);
    assert_near(log(gain.ratio / gain.low), hypot(log(100.0 / 97), log(52.0 / 50)));
    assert_near(log(gain.high / gain.ratio), hypot(log(104.0 / 100), log(50.0 / 49)));
    gain = score_gain(&exact, &exact);
    assert_true(gain.ratio == 1 && gain.low == 1 && gain.high == 1);
    gain = score_gain(&(struct score){100, 0, 200}, &ours); /* nothing is known of the other */
    assert_true(gain.low == 0);
}

static void the_order_of_samples_does_not_matter(void **state)
{
    struct rng rng = rng_at(3, 0, 0);
    double samples[64];
    struct score first, again;

    (void)state;
    for (int i = 0; i < 64; i++) {
        samples[i] = 5 + rng_unit(&rng);
    }
    assert_true(score_of_samples(samples, 64, 0.032, &first));
    for (int i = 63; i > 0; i--) {
        int other = (int)rng_below(&rng, (uint32_t)i + 1);
        double swap = samples[i];

        samples[i] = samples[other];
        samples[other] = swap;
    }
    assert_true(score_of_samples(samples, 64, 0.032, &again));
    assert_memory_equal(&first, &again, sizeof first);
}

/* What the interval promises: over many experiments it holds the true mean 95 times in 100. */
static void the_interval_holds_the_truth_as_often_as_it_says(void **state)
{
    enum { EXPERIMENTS = 4000, SAMPLES = 50 };
    int held = 0;

    (void)state;
    for (uint64_t place = 0; place < EXPERIMENTS; place++) {
        struct rng rng = rng_at(11, 0, place);
        double samples[SAMPLES];
        struct score score;

        for (int i = 0; i < SAMPLES; i++) {
            double sum = 0; /* of 12 even numbers: nearly normal, mean 6, deviation 1 */

            for (int k = 0; k < 12; k++) {
                sum += rng_unit(&rng);
            }
            samples[i] = 100 + sum - 6;
        }
        assert_true(score_of_samples(samples, SAMPLES, 0, &score));
        held += score.low <= 100 && 100 <= score.high;
    }
    /* 3800 expected, deviation 14 */
    if (held < 3740 || held > 3860) {
        fail_msg("%d of %d intervals held the truth", held, EXPERIMENTS);
    }
}

/*
 * us 2 and 8 give 4. Each end is a factor 2 away, so the combined end is 2^(sqrt(1 + 1) / 2) away:
 * two independent errors partly cancel.
 */
static void problems_are_combined_by_their_geometric_mean(void **state)
{
    const struct score scores[] = {{2, 1, 4}, {8, 4, 16}};
    struct score score = score_combine(scores, 2);

    (void)state;
    assert_near(score.us, 4);
    assert_near(score.low, 4 / exp2(sqrt(0.5)));
    assert_near(score.high, 4 * exp2(sqrt(0.5)));
}

static void an_interval_that_reaches_zero_stays_a_number(void **state)
{
    const struct score scores[] = {{2, 0, 4}, {8, 4, 16}, {1, 1, 1}};
    struct score score = score_combine(scores, 3);

    (void)state;
    assert_true(score.low == 0);
    assert_near(score.us, cbrt(16));
    assert_true(isfinite(score.high));
}

/* Equal problems with equal scores: the mean is that score, known better by sqrt(4). */
static void four_equal_problems_halve_the_error(void **state)
{
    const struct score scores[] = {{5, 4, 6.25}, {5, 4, 6.25}, {5, 4, 6.25}, {5, 4, 6.25}};
    struct score score = score_combine(scores, 4);

    (void)state;
    assert_near(score.us, 5);
    assert_near(score.high, 5 * sqrt(1.25));
    assert_near(score.low, 5 / sqrt(1.25));
}

/* Seen on an H200: span, graph, operations of a call. */
static void right_programs_have_clocks_that_agree(void **state)
{
    static const struct {
        double span_us, graph_us;
        int operations;
    } seen[] = {{7.07, 6.73, 1}, {7.42, 6.76, 1},   {9.95, 9.12, 2},
                {15.8, 12.8, 3}, {3966, 4012, 1}, {728, 741, 1}};

    (void)state;
    for (size_t i = 0; i < sizeof seen / sizeof *seen; i++) {
        assert_true(seen[i].graph_us > score_graph_least(seen[i].span_us, seen[i].operations));
    }
    assert_true(2.0 < score_graph_least(7.07, 1)); /* what comes, looks and goes */
    assert_true(100 < score_graph_least(728, 1));
}

static void a_duel_is_its_medians_and_a_ratio(void **state)
{
    struct abba blocks[8];
    struct duel_score score;

    (void)state;
    for (int i = 0; i < 8; i++) {
        blocks[i] = (struct abba){.a = {10, 10}, .b = {12, 12}};
    }
    blocks[0].a[0] = 1000;
    assert_true(score_of_duel(blocks, 8, 0, 1, &score));
    assert_near(score.us[0], 10);
    assert_near(score.us[1], 12);
    assert_true(score.speedup.low <= 1.2 + 1e-9 && score.speedup.high >= 1.2 - 1e-9);
    assert_false(score_of_duel(blocks, STATS_BLOCKS_MIN - 1, 0, 1, &score));
    assert_false(score_of_duel(NULL, 0, 0, 1, &score));
}

/* ---- the clock of the multiprocessors ---- */

/* A device between two clocks: cycles are the same, and so is what is told. */
static void samples_are_told_at_one_clock(void **state)
{
    double us[] = {3600, 3500, 3600, 3500}, mhz[] = {1400, 1440, 1400, 1440};
    struct timing timing = {.span_us = us, .mhz = mhz, .span_count = 4, .at_mhz = 1400};
    struct score score, raw;

    (void)state;
    assert_true(score_of_timing(&timing, &score));
    assert_near(score.us, 3600);
    assert_near(score.high, 3600);
    timing.at_mhz = 700; /* and nobody asks whether the device ever had it */
    assert_true(score_of_timing(&timing, &score));
    assert_near(score.us, 7200);
    mhz[1] = 0; /* unknown: left out, while half of them are known */
    us[1] = 1;
    assert_near(score_told(&timing, 3), 7200);
    assert_true(isnan(score_told(&timing, 1)));
    assert_true(score_of_timing(&timing, &score));
    assert_near(score.us, 7200);
    mhz[2] = mhz[3] = 0; /* and else all are as they were */
    assert_near(score_told(&timing, 1), 1);
    assert_near(score_told(&timing, 0), 3600);
    us[1] = 3500;
    for (int i = 0; i < 2; i++) {
        timing.at_mhz = i == 0 ? 0 : 1400;
        timing.mhz = i == 0 ? mhz : NULL;
        assert_true(score_of_timing(&timing, &score));
        assert_true(score_of_samples(us, 4, 0, &raw));
        assert_true(score.us == raw.us && score.low == raw.low);
    }
    timing.span_count = 0;
    assert_false(score_of_timing(&timing, &score));
}

static void a_clock_is_the_median_of_those_that_are_known(void **state)
{
    const double mhz[] = {0, 1410, 1400, 0, 1980, 0};

    (void)state;
    assert_near(score_clock(mhz, 6), 1410);
    assert_true(isnan(score_clock(mhz, 1)) && isnan(score_clock(NULL, 0)));
    assert_near(mhz[4], 1980); /* their order is evidence */
}

enum { SMS = 132, KEY = 77 };

/* 3.5 ms at 1407 MHz; each multiprocessor counts from a beginning of its own. */
static void stamp_all(struct stamps *stamps)
{
    memset(stamps, 0, sizeof *stamps);
    for (int sm = 0; sm < SMS; sm++) {
        uint64_t ns = 1000000000u + (uint64_t)sm * 7, cycles = (uint64_t)sm << 40;

        for (int which = 0; which < 2; which++, ns += 3500000, cycles += 4924500) {
            stamps->at[which][sm] =
                (struct stamp){cycles, ns, stamp_seal(KEY, which, sm, cycles, ns)};
        }
    }
}

static void stamps_tell_the_clock_between_them(void **state)
{
    struct stamps *stamps = malloc(sizeof *stamps);

    (void)state;
    stamp_all(stamps);
    assert_near(stamps_mhz(stamps, SMS, KEY), 1407);
    for (int sm = 0; sm < SMS / 2; sm++) { /* where no block came */
        stamps->at[sm % 2][sm] = (struct stamp){0, 0, 0};
    }
    assert_near(stamps_mhz(stamps, SMS, KEY), 1407);
    stamps->at[0][SMS - 1] = (struct stamp){0, 0, 0};
    assert_true(isnan(stamps_mhz(stamps, SMS, KEY)));
    assert_true(isnan(stamps_mhz(stamps, SMS, KEY + 1)));
    free(stamps);
}

/* What a candidate could write there: another time, another count, an older stamp. */
static void stamps_cannot_be_forged(void **state)
{
    struct stamps *stamps = malloc(sizeof *stamps);

    (void)state;
    for (int way = 0; way < 5; way++) {
        stamp_all(stamps);
        for (int sm = 0; sm < SMS; sm++) {
            struct stamp *before = &stamps->at[0][sm], *after = &stamps->at[1][sm];

            before->ns -= way == 0 ? 1 << 20 : 0;
            before->cycles += way == 1 ? 1 << 20 : 0;
            after->seal ^= way == 2 ? 1 : 0;
            *before = way == 3 ? *after : *before;
            *after = way == 4 ? stamps->at[1][(sm + 1) % SMS] : *after;
        }
        assert_true(isnan(stamps_mhz(stamps, SMS, KEY)));
    }
    free(stamps);
}

static void clocks_that_are_too_short_or_do_not_agree_are_none(void **state)
{
    struct stamps *stamps = malloc(sizeof *stamps);

    (void)state;
    stamp_all(stamps);
    for (int sm = 0; sm < SMS; sm++) {
        struct stamp *after = &stamps->at[1][sm];

        after->cycles += sm % 2 == 0 ? 0 : 492450; /* 10 % */
        after->seal = stamp_seal(KEY, 1, sm, after->cycles, after->ns);
    }
    assert_true(isnan(stamps_mhz(stamps, SMS, KEY)));
    stamp_all(stamps);
    for (int sm = 0; sm < SMS; sm++) {
        struct stamp *after = &stamps->at[1][sm];

        after->ns = stamps->at[0][sm].ns + 1000000;
        after->seal = stamp_seal(KEY, 1, sm, after->cycles, after->ns);
    }
    assert_true(isnan(stamps_mhz(stamps, SMS, KEY)));
    free(stamps);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_few_samples_are_students_textbook_case),
        cmocka_unit_test(the_ends_are_trimmed_and_the_variance_is_winsorised),
        cmocka_unit_test(many_samples_use_their_many_degrees_of_freedom),
        cmocka_unit_test(the_clocks_tick_widens_the_interval),
        cmocka_unit_test(a_single_sample_is_its_own_interval),
        cmocka_unit_test(no_sample_and_no_time_have_no_score),
        cmocka_unit_test(a_gain_is_as_unsure_as_both_of_its_times),
        cmocka_unit_test(the_order_of_samples_does_not_matter),
        cmocka_unit_test(the_interval_holds_the_truth_as_often_as_it_says),
        cmocka_unit_test(problems_are_combined_by_their_geometric_mean),
        cmocka_unit_test(an_interval_that_reaches_zero_stays_a_number),
        cmocka_unit_test(four_equal_problems_halve_the_error),
        cmocka_unit_test(right_programs_have_clocks_that_agree),
        cmocka_unit_test(a_duel_is_its_medians_and_a_ratio),
        cmocka_unit_test(samples_are_told_at_one_clock),
        cmocka_unit_test(a_clock_is_the_median_of_those_that_are_known),
        cmocka_unit_test(stamps_tell_the_clock_between_them),
        cmocka_unit_test(stamps_cannot_be_forged),
        cmocka_unit_test(clocks_that_are_too_short_or_do_not_agree_are_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
