#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fitness/physics.h"

static const struct physics_device h200 = {
    .arch = 90, .sms = 132, .clock_mhz = 1980, .dram_gb_s = 4800, .l2_bytes = 60 << 20};

static struct physics_floor floor_of(const struct physics_device *device, const char *text,
                                     bool cold)
{
    struct problem problem;
    struct err err = {0};

    if (!problem_parse(text, &problem, &err)) {
        fail_msg("%s", err.what);
    }
    return physics_floor(device, &problem, cold);
}

static bool near(double a, double b) { return fabs(a - b) < 0.002 * b; }

/* 132 x 4096 x 1.98 GHz = 1071 TFLOP/s. */
static void multiplications_bound_what_is_long(void **state)
{
    struct physics_floor floor = floor_of(&h200, "4x16x8192x128", false);

    (void)state;
    assert_true(near(floor.us, 0.95 * 4.0 * 64 * 8192 * 8192 * 128 / 1070.5e6));
    assert_non_null(strstr(floor.text, "2199 GFLOP at 132 x 4096 FLOP x 1980 MHz = 1071 TFLOP/s"));
    floor = floor_of(&h200, "1x8x512x64", false);
    assert_true(near(floor.us, 0.95 * 0.5015));
    /* A mask that leaves half leaves half the work, and no more. */
    assert_true(near(floor_of(&h200, "1x8x4096x64:causal", false).us * 2,
                     floor_of(&h200, "1x8x4096x64", false).us * (1 + 1 / 4096.0)));
}

static void memory_bounds_what_is_wide(void **state)
{
    /* One query a head: two FLOP a byte. */
    struct physics_floor warm = floor_of(&h200, "1x64x1/4096x128", false);
    struct physics_floor cold = floor_of(&h200, "1x64x1/4096x128", true);
    double bytes = 2.0 * 64 * 128 * (2 * 4096 + 2);

    (void)state;
    assert_true(near(cold.us, 0.95 * bytes / 4800e3));
    assert_non_null(strstr(cold.text, "MB from DRAM"));
    assert_true(near(warm.us, 0.95 * fmax((bytes - (60 << 20)) / 4800e3,
                                          bytes / (132 * 64 * 1.98e3))));
    warm = floor_of(&h200, "1x8x1/4096x128", false); /* fits L2 */
    assert_true(near(warm.us, 0.95 * bytes / 8 / (132 * 64 * 1.98e3)));
    assert_non_null(strstr(warm.text, "from L2"));
}

static void what_is_not_known_bounds_nothing(void **state)
{
    struct physics_device device = h200;

    (void)state;
    device.arch = 999;
    assert_true(near(floor_of(&device, "1x8x512x64", true).us, 0.95 * 4 * 8 * 512 * 128 / 4800e3));
    assert_true(floor_of(&device, "1x8x512x64", false).us == 0);
    device = h200;
    device.clock_mhz = NAN;
    assert_true(floor_of(&device, "1x8x512x64", false).us == 0);
    assert_non_null(strstr(floor_of(&device, "1x8x512x64", false).text, "nothing is known"));
    device = (struct physics_device){0};
    assert_true(floor_of(&device, "1x8x512x64", true).us == 0);
    device = h200;
    device.clock_mhz /= 2;
    assert_true(near(floor_of(&device, "1x8x512x64", false).us, 2 * 0.95 * 0.5015));
}

static bool follows_memory(const struct physics_device *device, const char *text)
{
    struct problem problem;
    struct err err;

    assert_true(problem_parse(text, &problem, &err));
    return physics_follows_memory(device, &problem);
}

static void some_problems_follow_memory_rather_than_the_clock(void **state)
{
    struct physics_device device = h200;

    (void)state;
    assert_false(follows_memory(&device, "1x8x512x64"));
    assert_false(follows_memory(&device, "4x16x8192x128"));
    assert_false(follows_memory(&device, "4x16x4096x64:causal"));
    assert_true(follows_memory(&device, "8x32x1/65536x128")); /* a row: the keys are all there is */
    assert_false(follows_memory(&device, "1x1x1/1000x128"));  /* L2 has them */
    device.dram_gb_s = 0;
    assert_false(follows_memory(&device, "8x32x1/65536x128")); /* nobody knows */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(multiplications_bound_what_is_long),
        cmocka_unit_test(memory_bounds_what_is_wide),
        cmocka_unit_test(what_is_not_known_bounds_nothing),
        cmocka_unit_test(some_problems_follow_memory_rather_than_the_clock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
