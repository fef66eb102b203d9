#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "fitness/stats.h"

enum { BLOCKS = 64, COMPARISONS = 1000 };

static void assert_near(double got, double expected)
{
    if (!(fabs(got - expected) <= 1e-9 * fabs(expected))) {
        fail_msg("got %.15g, expected %.15g", got, expected);
    }
}

/* ---- a device, simulated: what makes times of one program differ ---- */

struct device {
    struct rng rng;
    double noise;   /* standard deviation of a run, relative */
    double late;    /* share of runs that something interrupts */
    double wander;  /* of the clock from run to run: a random walk */
    double drift;   /* of the clock over a block, as when a device warms up */
    double tick_us; /* resolution of the clock */
    double clock;
};

static double normal(struct rng *rng)
{
    double radius = sqrt(-2 * log(1 - rng_unit(rng)));

    return radius * cos(6.283185307179586 * rng_unit(rng));
}

static double run(struct device *device, double us)
{
    double time;

    device->clock += device->wander * normal(&device->rng) + device->drift / 4;
    time = us * exp(device->clock + device->noise * normal(&device->rng));
    if (rng_unit(&device->rng) < device->late) {
        time *= 1 + rng_unit(&device->rng);
    }
    if (device->tick_us > 0) { /* begin and end are each rounded down to a tick */
        double begin = rng_unit(&device->rng) * device->tick_us;

        time = floor((begin + time) / device->tick_us) * device->tick_us;
    }
    return time;
}

static void take_blocks(struct device *device, double a_us, double b_us, struct abba *blocks)
{
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i].a[0] = run(device, a_us);
        blocks[i].b[0] = run(device, b_us);
        blocks[i].b[1] = run(device, b_us);
        blocks[i].a[1] = run(device, a_us);
    }
}

/* In how many of so many comparisons are the two called different? */
static int called_different(struct device device, double a_us, double b_us, int comparisons)
{
    struct abba blocks[BLOCKS];
    struct estimate speedup;
    int different = 0;

    for (int i = 0; i < comparisons; i++) {
        device.rng = rng_at(20251120, 1, (uint64_t)i);
        device.clock = 0;
        take_blocks(&device, a_us, b_us, blocks);
        assert_true(stats_speedup(blocks, BLOCKS, device.tick_us, (uint64_t)i, &speedup));
        assert_true(speedup.low <= speedup.value && speedup.value <= speedup.high);
        different += speedup.low > 1 || speedup.high < 1;
    }
    return different;
}

static void assert_calibrated(const char *what, struct device device, double us)
{
    int different = called_different(device, us, us, COMPARISONS);

    print_message("%s: called different from itself in %d of %d comparisons\n", what, different,
                  COMPARISONS);
    assert_in_range(different, 35, 65);
}

static void a_program_is_itself_nineteen_times_in_twenty(void **state)
{
    (void)state;
    assert_calibrated("a noisy device, 2 % of runs interrupted",
                      (struct device){.noise = 0.004, .late = 0.02}, 600);
    assert_calibrated("a device that warms up while its clock wanders",
                      (struct device){.noise = 0.001, .wander = 0.003, .drift = 0.002}, 600);
    assert_calibrated("a call of 5 us under a clock of 32 ns",
                      (struct device){.noise = 0.002, .tick_us = 0.032}, 5.1);
}

static void one_percent_is_found_where_runs_differ_by_half_of_it(void **state)
{
    struct device device = {.noise = 0.005, .wander = 0.001};

    (void)state;
    assert_in_range(called_different(device, 100, 101, 100), 99, 100);
}

/* ---- definitions ---- */

/* Ten values lose one at each end: 2 … 9 stay. */
static void the_ends_are_trimmed(void **state)
{
    const double values[] = {7, 1e6, 3, 2, 9, 5, 1, 6, 8, 4};
    struct estimate mean;

    (void)state;
    assert_true(stats_mean(values, 10, 7, &mean));
    assert_near(mean.value, 5.5);
    assert_true(mean.low < 5.5 && mean.high > 5.5);
}

static void the_same_samples_and_seed_give_the_same_bits(void **state)
{
    const double forth[] = {7, 3, 2, 9, 5, 1, 6, 8, 4}, back[] = {4, 8, 6, 1, 5, 9, 2, 3, 7};
    struct estimate one, two, other;

    (void)state;
    assert_true(stats_mean(forth, 9, 7, &one));
    assert_true(stats_mean(back, 9, 7, &two));
    assert_true(stats_mean(forth, 9, 8, &other));
    assert_memory_equal(&one, &two, sizeof one); /* the order is nobody's business */
    assert_true(other.low != one.low || other.high != one.high);
}

/* For a mean of many normal values the bootstrap's interval is the textbook's. */
static void the_interval_is_students_where_student_is_right(void **state)
{
    struct rng rng = rng_at(3, 0, 0);
    double values[400], sum = 0, squares = 0;
    struct estimate mean;

    (void)state;
    for (int i = 0; i < 400; i++) {
        values[i] = 100 + normal(&rng);
        sum += values[i] / 400;
    }
    for (int i = 0; i < 400; i++) {
        squares += (values[i] - sum) * (values[i] - sum);
    }
    double half = stats_student_t95(399) * sqrt(squares / 399 / 400);
    assert_true(stats_mean(values, 400, 1, &mean));
    assert_true(fabs((mean.high - mean.low) / 2 / half - 1) < 0.06); /* trimming costs 3 % */
}

/* t(1) 12.706204736, t(4) 2.776445105, t(7) 2.364624252, t(159) 1.974996213, by any table. */
static void students_quantiles_are_the_tables(void **state)
{
    const struct {
        int freedom;
        double t;
    } table[] = {
        {1, 12.706204736432}, {4, 2.776445105198}, {7, 2.364624251593}, {159, 1.974996212895}};

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        assert_near(stats_student_t95(table[i].freedom), table[i].t);
    }
}

static void a_speedup_says_how_many_times_as_fast_a_is(void **state)
{
    struct abba blocks[STATS_BLOCKS_MIN];
    struct estimate speedup;

    (void)state;
    for (int i = 0; i < STATS_BLOCKS_MIN; i++) {
        blocks[i] = (struct abba){.a = {10, 10}, .b = {15, 15}};
    }
    assert_true(stats_speedup(blocks, STATS_BLOCKS_MIN, 0, 1, &speedup));
    assert_near(speedup.value, 1.5);
    assert_near(speedup.low, 1.5);
    /* With a tick of 0.2 us those times could have been 10 +- 0.1 and 15 +- 0.1. */
    assert_true(stats_speedup(blocks, STATS_BLOCKS_MIN, 0.2, 1, &speedup));
    assert_true(speedup.low < 1.5 && speedup.high > 1.5);
    assert_true(speedup.low > 14.9 / 10.1 && speedup.high < 15.1 / 9.9);
}

static void what_is_no_time_has_no_speedup(void **state)
{
    struct abba blocks[STATS_BLOCKS_MIN];
    struct estimate speedup;

    (void)state;
    for (int i = 0; i < STATS_BLOCKS_MIN; i++) {
        blocks[i] = (struct abba){.a = {10, 10}, .b = {15, 15}};
    }
    assert_false(stats_speedup(blocks, STATS_BLOCKS_MIN - 1, 0, 1, &speedup));
    const double none[] = {0, -1, NAN, INFINITY};
    for (int i = 0; i < 4; i++) {
        blocks[3].b[1] = none[i];
        assert_false(stats_speedup(blocks, STATS_BLOCKS_MIN, 0, 1, &speedup));
    }
    assert_false(stats_mean(none, 4, 0, &speedup));
    assert_false(stats_mean((const double[]){1}, 1, 0, &speedup));
}

static void speedups_combine_to_their_geometric_mean(void **state)
{
    const struct estimate two[] = {{2, 1, 4}, {8, 4, 16}};
    struct estimate all = stats_combine(two, 2), same = stats_combine(two, 1);

    (void)state;
    assert_near(all.value, 4);
    assert_near(all.high, 4 * exp(log(2) / sqrt(2))); /* sqrt(2 log(2)^2) / 2 */
    assert_near(all.low, 4 / exp(log(2) / sqrt(2)));
    assert_memory_equal(&same, &two[0], sizeof same);
}

static void quantiles_lie_between_order_statistics(void **state)
{
    double values[] = {40, 10, 30, 20};

    (void)state;
    assert_near(stats_quantile(values, 4, 0.5), 25);
    assert_near(stats_quantile(values, 4, 0), 10);
    assert_near(stats_quantile(values, 4, 1), 40);
    assert_near(stats_quantile(values, 4, 0.1), 13);
    assert_near(stats_quantile(values, 4, 0.9), 37);
    assert_near(stats_quantile(values, 4, 2), 40);
    assert_near(stats_quantile(values, 1, 0.7), 10);
    assert_true(isnan(stats_quantile(values, 0, 0.5)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_is_itself_nineteen_times_in_twenty),
        cmocka_unit_test(one_percent_is_found_where_runs_differ_by_half_of_it),
        cmocka_unit_test(the_ends_are_trimmed),
        cmocka_unit_test(the_same_samples_and_seed_give_the_same_bits),
        cmocka_unit_test(the_interval_is_students_where_student_is_right),
        cmocka_unit_test(students_quantiles_are_the_tables),
        cmocka_unit_test(a_speedup_says_how_many_times_as_fast_a_is),
        cmocka_unit_test(what_is_no_time_has_no_speedup),
        cmocka_unit_test(speedups_combine_to_their_geometric_mean),
        cmocka_unit_test(quantiles_lie_between_order_statistics),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
