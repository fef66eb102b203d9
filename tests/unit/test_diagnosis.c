/* What limits a kernel, from numbers that leave no doubt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "fitness/diagnosis.h"

static struct arena *arena;
static struct ceilings ceilings;
static double metrics[METRIC_COUNT];
static struct diagnosis_subject subject;
static struct diagnosis diagnosis;

/* A device of 10 multiprocessors at 1 GHz; a kernel of 100 us that uses nothing in particular. */
static int set_up(void **state)
{
    (void)state;
    arena = arena_new();
    ceilings_clear(&ceilings);
    ceilings.sms = 10;
    ceilings.clock_mhz = 1000;
    ceilings.value[CEILING_MMA_HALF] = 20;
    ceilings.value[CEILING_WGMMA_128] = 40;
    ceilings.per_clock[CEILING_WGMMA_128] = 4000;
    ceilings.value[CEILING_L2] = 1000;
    ceilings.value[CEILING_DRAM] = 200;
    for (int i = 0; i < METRIC_COUNT; i++) {
        metrics[i] = NAN;
    }
    metrics[METRIC_HW_SM_CYCLES] = 90e3;
    metrics[METRIC_HW_TENSOR] = 20;
    metrics[METRIC_HW_OCCUPANCY] = 50;
    metrics[METRIC_HW_SPECIAL_OPS] = 0.1 * 0.5 * 10 * 90e3;
    metrics[METRIC_HW_INSTRUCTIONS] = 0.2 * 4 * 10 * 90e3;
    metrics[METRIC_HW_SHARED_WAVEFRONTS] = 0.3 * 10 * 90e3;
    metrics[METRIC_HW_BANK_CONFLICTS] = 0;
    metrics[METRIC_HW_L2_SECTORS] = 1e6 * 1e-6 * 100e-6 * 1e12 / 32 * 0.1;
    metrics[METRIC_HW_DRAM_READ] = 2e6;
    metrics[METRIC_HW_DRAM_WRITE] = 2e6;
    subject = (struct diagnosis_subject){
        .metrics = metrics, .us = 100, .flops = 1e9, .bytes = 1e6, .ceilings = &ceilings};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static void expect(const char *limit)
{
    diagnose(arena, &subject, &diagnosis);
    if (strstr(diagnosis.limit, limit) == NULL) {
        fail_msg("not '%s' but '%s'", limit, diagnosis.limit);
    }
}

static void shares_are_of_what_there_is(void **state)
{
    (void)state;
    expect("latency and barriers: nothing is used up");
    assert_true(diagnosis.known && !diagnosis.modelled);
    assert_float_equal(diagnosis.share[RESOURCE_TENSOR], 0.2, 1e-9);
    assert_float_equal(diagnosis.share[RESOURCE_SPECIAL], 0.1, 1e-9);
    assert_float_equal(diagnosis.share[RESOURCE_SHARED], 0.3, 1e-9);
    assert_float_equal(diagnosis.share[RESOURCE_ISSUE], 0.2, 1e-9);
    assert_float_equal(diagnosis.share[RESOURCE_L2], 0.1, 1e-9);
    assert_float_equal(diagnosis.share[RESOURCE_DRAM], 0.2, 1e-9);
}

static void what_is_used_most_limits(void **state)
{
    (void)state;
    metrics[METRIC_HW_TENSOR] = 75;
    expect("tensor cores: 75 % used");
    metrics[METRIC_HW_FMA_OPS] = 0.8 * 4 * 10 * 90e3;
    expect("FMA pipes: 80 % used");
    metrics[METRIC_HW_SPECIAL_OPS] *= 9;
    expect("special functions: 90 % used");
    metrics[METRIC_HW_DRAM_READ] = 18e6;
    expect("DRAM: 100 % used");
}

static void conflicts_are_named_where_shared_memory_limits(void **state)
{
    (void)state;
    metrics[METRIC_HW_SHARED_WAVEFRONTS] *= 3;
    expect("shared memory: 90 % used");
    metrics[METRIC_HW_BANK_CONFLICTS] = 0.5 * metrics[METRIC_HW_SHARED_WAVEFRONTS];
    expect("shared memory: 50 % of its passes are bank conflicts");
}

static void who_waits_is_told_for_what(void **state)
{
    (void)state;
    metrics[METRIC_HW_STALL_BARRIER] = 2.25;
    metrics[METRIC_HW_STALL_LONG] = 1;
    expect("latency and barriers: nothing is used up; warps wait most for barriers of the block "
           "(2.2");
    metrics[METRIC_HW_OCCUPANCY] = 12;
    expect("latency: nothing is used up, and 12 % of the warps that fit are few to hide it; warps");
}

static void a_device_without_work_is_told(void **state)
{
    (void)state;
    metrics[METRIC_HW_SM_CYCLES] = 40e3;
    metrics[METRIC_HW_SHARED_WAVEFRONTS] = 0;
    expect("multiprocessors without work: busy 40 % of the time");
    assert_true(diagnosis.conflicts == 0);
}

static void the_roof_is_flat_or_slopes(void **state)
{
    (void)state;
    expect("");
    assert_string_equal(diagnosis.roof, "10 of 40 TFLOP/s, 25 % of the roof at 1000 FLOP a byte "
                                        "(multiplying bounds; from 200 on it is flat)");
    subject.bytes = 1e7;
    expect("");
    assert_string_equal(diagnosis.roof, "10 of 20 TFLOP/s, 50 % of the roof at 100 FLOP a byte "
                                        "(memory bounds; from 200 on it is flat)");
}

static void without_ceilings_what_is_known_is_told(void **state)
{
    (void)state;
    subject.ceilings = NULL;
    metrics[METRIC_HW_TENSOR] = 80;
    expect("tensor cores: 80 % used");
    assert_true(isnan(diagnosis.share[RESOURCE_L2]) && isnan(diagnosis.share[RESOURCE_SPECIAL]));
    assert_string_equal(diagnosis.roof, "");
}

static void a_models_counts_are_marked_as_such(void **state)
{
    (void)state;
    metrics[METRIC_HW_SM_CYCLES] = NAN;
    expect("");
    assert_false(diagnosis.known);
    metrics[METRIC_EMU_WARP_OPS] = 1e6;
    metrics[METRIC_EMU_TENSOR_FLOPS] = 0.7 * 4000 * 10 * 100e3;
    metrics[METRIC_EMU_SHARED_WAVEFRONTS] = 1e5;
    metrics[METRIC_EMU_BANK_CONFLICTS] = 1e4;
    metrics[METRIC_OCCUPANCY] = 25;
    expect("tensor cores: 70 % used");
    assert_true(diagnosis.known && diagnosis.modelled);
    assert_float_equal(diagnosis.conflicts, 0.1, 1e-9);
    assert_float_equal(diagnosis.occupancy, 25, 1e-9);
    metrics[METRIC_EMU_TENSOR_FLOPS] = 0;
    metrics[METRIC_EMU_BLOCKS] = 4;
    expect("multiprocessors without work: busy 40 %");
}

/* By counters barriers are waited for most; whoever looked more closely saw something else. */
static void samples_say_it_better_than_counters(void **state)
{
    (void)state;
    metrics[METRIC_HW_STALL_BARRIER] = 2;
    for (int i = METRIC_PC_SAMPLES; i <= METRIC_PC_HOTTEST_AT; i++) {
        metrics[i] = 0;
    }
    diagnose(arena, &subject, &diagnosis);
    assert_string_equal(diagnosis.hot, ""); /* no warp was seen */
    metrics[METRIC_PC_SAMPLES] = 1000;
    metrics[METRIC_PC_ISSUING] = 30;
    metrics[METRIC_PC_READY] = 12;
    metrics[METRIC_PC_MEMBAR] = 20;
    metrics[METRIC_PC_BARRIER] = 20;
    metrics[METRIC_PC_LONG] = 9;
    metrics[METRIC_PC_SLEEP] = 6;
    metrics[METRIC_PC_MISC] = 3;
    metrics[METRIC_PC_HOTTEST] = 17;
    metrics[METRIC_PC_HOTTEST_AT] = 4096;
    expect("nothing is used up; warps wait most for barriers of the block (20 % of the samples), "
           "fences (20 %), memory beyond shared (9 %)");
    assert_string_equal(diagnosis.hot,
                        "of 1000 samples of warps 30.0 % issued and 12.0 % could have; 17.0 % were "
                        "at one instruction, 4096 bytes into the code");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(shares_are_of_what_there_is),
        TEST(what_is_used_most_limits),
        TEST(conflicts_are_named_where_shared_memory_limits),
        TEST(who_waits_is_told_for_what),
        TEST(samples_say_it_better_than_counters),
        TEST(a_device_without_work_is_told),
        TEST(the_roof_is_flat_or_slopes),
        TEST(without_ceilings_what_is_known_is_told),
        TEST(a_models_counts_are_marked_as_such),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
