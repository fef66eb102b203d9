/* Which programs are counted and when, on the host device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "fitness/counting.h"
#include "device_host.h"

static struct arena *arena;
static struct counting counting;
static struct judge_result *result;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new();
    counting_open(&counting);
    result = arena_alloc(arena, sizeof *result);
    host_counters_refused = host_samples_refused = false;
    host_counted = host_sampled = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    counting_close(&counting);
    arena_free(arena);
    return 0;
}

static struct counted_call call_of(int64_t job)
{
    struct judge_image image = {.program = {.kernel_count = 1, .kernels[0].name = "right"}};
    struct plan *plan = arena_alloc(arena, sizeof *plan);
    struct counted_call call = {.job = job, .index = 1, .plan = plan};
    struct err err;

    plan->kernel_count = 1;
    plan->kernels[0].name = "right";
    assert_true(problem_parse("1x2x24x32", &call.problem, &err));
    assert_int_equal(device_load(&image, &call.module, &err), DEVICE_OK);
    return call;
}

/* Adds so many; what the last one says. */
static bool add(int count)
{
    bool due = false;

    for (int i = 0; i < count; i++) {
        struct counted_call call = call_of(100 + i);

        assert_false(due);
        due = counting_add(&counting, &call);
    }
    return due;
}

static void programs_wait_until_there_are_enough(void **state)
{
    struct err err = {0};
    int counters;
    const struct counter *table = counters_of(COUNTERS_ONE, &counters);

    (void)state;
    assert_false(add(COUNTING_BATCH - 1));
    struct counted_call last = call_of(7);
    assert_true(counting_add(&counting, &last));
    assert_int_equal(counting_collect(&counting, arena, result, &err), DEVICE_OK);
    assert_int_equal(host_counted, 1);
    assert_int_equal(result->counted_count, COUNTING_BATCH * counters);
    assert_int_equal(result->metric_count, 0);
    for (int i = 0; i < result->counted_count; i++) {
        int call = i / counters, counter = i % counters;

        assert_int_equal(result->counted[i].id, call == COUNTING_BATCH - 1 ? 7 : 100 + call);
        assert_int_equal(result->counted[i].problem, 1);
        assert_int_equal(result->counted[i].metric, table[counter].metric);
        if (counter == 1) { /* of that one the host device knows nothing */
            assert_true(isnan(result->counted[i].value) && *result->counted[i].reason != '\0');
        } else {
            assert_true(result->counted[i].value == 100 * call + counter);
            assert_string_equal(result->counted[i].reason, "");
        }
    }
    assert_false(add(COUNTING_BATCH - 1)); /* and from the beginning */
}

static void after_a_while_a_few_are_enough(void **state)
{
    struct counted_call call;
    struct err err = {0};

    (void)state;
    assert_false(add(COUNTING_FEW - 2));
    counting.since_us -= (COUNTING_PATIENCE_S + 1) * INT64_C(1000000);
    call = call_of(1);
    assert_false(counting_add(&counting, &call)); /* one is missing */
    call = call_of(2);
    assert_true(counting_add(&counting, &call));
    assert_int_equal(counting_collect(&counting, arena, result, &err), DEVICE_OK);
    assert_false(add(COUNTING_FEW)); /* and these have just come */
}

static void a_refusal_is_heard_once_and_told_of_each(void **state)
{
    struct err err = {0};

    (void)state;
    host_counters_refused = true;
    for (int i = 0; i < 2; i++) {
        assert_true(add(COUNTING_BATCH));
        assert_int_equal(counting_collect(&counting, arena, result, &err), DEVICE_OK);
    }
    assert_int_equal(host_counted, 1);
    assert_int_equal(result->counted_count, 2 * COUNTING_BATCH);
    for (int i = 0; i < result->counted_count; i++) {
        assert_true(isnan(result->counted[i].value));
        assert_string_equal(result->counted[i].reason, "only root may count");
    }
}

static void what_may_be_the_best_is_counted_at_once_and_in_full(void **state)
{
    struct counted_call calls[2] = {call_of(5), call_of(5)};
    struct err err = {0};
    int counters, one;

    (void)state;
    counters_of(COUNTERS_FULL, &counters);
    counters_of(COUNTERS_ONE, &one);
    assert_true(one < counters && counters <= COUNTERS_MAX);
    calls[1].index = 0;
    assert_int_equal(counting_in_full(&counting, arena, calls, 2, result, &err), DEVICE_OK);
    assert_int_equal(result->metric_count, 2 * counters + STALL_METRICS);
    assert_int_equal(result->metrics[0].problem, 1);
    assert_int_equal(result->metrics[counters].problem, 0);
    assert_true(result->metrics[counters].value == 100);
    assert_int_equal(result->counted_count, 0);
    device_unload(calls[0].module);
    device_unload(calls[1].module);
}

static void a_best_may_wait_and_is_counted_in_full_all_the_same(void **state)
{
    struct counted_call calls[2] = {call_of(5), call_of(5)};
    struct err err = {0};
    int counters;

    (void)state;
    counters_of(COUNTERS_FULL, &counters);
    assert_false(counting_best_is_due(&counting));
    counting_put_off(&counting, calls, 2);
    assert_false(counting_best_is_due(&counting));
    calls[0] = call_of(6);
    calls[1] = calls[0]; /* two shapes of one module, which is let go of once */
    calls[1].index = 0;
    counting_put_off(&counting, calls, 2); /* the one before is overtaken */
    calls[0].plan = NULL; /* its job is over */
    assert_int_equal(host_counted, 0);
    counting.best_since_us -= COUNTING_BEST_S * INT64_C(1000000);
    assert_true(counting_best_is_due(&counting));
    assert_int_equal(counting_best(&counting, arena, result, &err), DEVICE_OK);
    assert_int_equal(result->counted_count, 2 * counters + STALL_METRICS);
    assert_int_equal(result->counted[0].id, 6);
    assert_int_equal(result->counted[0].problem, 1);
    assert_int_equal(result->counted[counters].problem, 0);
    assert_true(result->counted[counters].value == 100);
    assert_int_equal(result->metric_count, 0);
    assert_false(counting_best_is_due(&counting));
}

static double told(enum metric metric)
{
    for (int i = 0; i < result->metric_count; i++) {
        if (result->metrics[i].metric == metric) {
            return result->metrics[i].value;
        }
    }
    fail_msg("nothing says %s", metric_table[metric].name);
    return NAN;
}

static void its_warps_are_looked_at(void **state)
{
    struct counted_call call = call_of(5);
    struct err err = {0};

    (void)state;
    assert_int_equal(counting_in_full(&counting, arena, &call, 1, result, &err), DEVICE_OK);
    assert_true(told(METRIC_PC_SAMPLES) == 10);
    assert_true(told(METRIC_PC_ISSUING) == 40 && told(METRIC_PC_BARRIER) == 50);
    assert_true(told(METRIC_PC_WAIT) == 10 && told(METRIC_PC_LONG) == 0);
    assert_true(told(METRIC_PC_HOTTEST) == 60 && told(METRIC_PC_HOTTEST_AT) == 48);
    device_unload(call.module);
}

static void nobody_may_look_is_heard_once(void **state)
{
    struct counted_call call = call_of(5);
    struct err err = {0};
    int last;

    (void)state;
    host_samples_refused = true;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(counting_in_full(&counting, arena, &call, 1, result, &err), DEVICE_OK);
        last = result->metric_count - 1;
        assert_int_equal(result->metrics[last].metric, METRIC_PC_SAMPLES);
        assert_true(isnan(result->metrics[last].value));
        assert_string_equal(result->metrics[last].reason, "only root may look");
    }
    assert_int_equal(host_sampled, 1);
    assert_int_equal(host_counted, 2); /* counters are another thing */
    device_unload(call.module);
}

static void every_reason_is_known_by_its_name(void **state)
{
    (void)state;
    for (int i = 0; i < STALLS; i++) {
        const char *name = arena_printf(arena, "smsp__pcsamp_warps_issue_stalled_%s",
                                        stall_table[i].reason);

        assert_int_equal(stall_find(name), i);
        assert_int_equal(stall_find(arena_printf(arena, "%s_not_issued", name)), -1);
        assert_int_equal(stall_table[i].metric, METRIC_PC_ISSUING + i);
        assert_string_equal(metric_table[stall_table[i].metric].source, "sampling");
    }
    assert_int_equal(stall_find("wait"), -1);
    assert_int_equal(stall_find("smsp__pcsamp_warps_issue_stalled_of_a_later_chip"),
                     METRIC_PC_MISC - METRIC_PC_ISSUING);
}

static void samples_of_an_instruction_add_up(void **state)
{
    struct stalls stalls = {0};
    double values[STALL_METRICS];

    (void)state;
    stalls_tell(&stalls, values);
    assert_true(values[0] == 0 && isnan(values[1]) && isnan(values[STALL_METRICS - 1]));
    for (int i = 0; i < 3000; i++) { /* of two kernels, read in pieces */
        stalls_add(&stalls, (uint64_t)(i % 2), 16 * (uint64_t)(i % 7), i % STALLS, 1);
    }
    stalls_add(&stalls, 1, 64, 0, 50);
    stalls_add(&stalls, 0, 64, 0, 49);
    stalls_tell(&stalls, values);
    assert_true(values[0] == 3099);
    assert_true(values[STALL_METRICS - 1] == 64);
    assert_float_equal(values[STALL_METRICS - 2], 100.0 * (3000 / 14 + 50) / 3099, 100.0 / 3099);
    stalls_free(&stalls);
}

static void no_memory_for_a_batch_is_no_refusal_for_ever(void **state)
{
    size_t memory = host_memory_max;
    struct err err = {0};

    (void)state;
    host_memory_max = 1000;
    assert_true(add(COUNTING_BATCH));
    assert_int_equal(counting_collect(&counting, arena, result, &err), DEVICE_OK);
    host_memory_max = memory;
    assert_int_equal(host_counted, 0);
    assert_int_equal(result->counted_count, COUNTING_BATCH);
    assert_true(isnan(result->counted[0].value));
    assert_true(add(COUNTING_BATCH));
    assert_int_equal(counting_collect(&counting, arena, result, &err), DEVICE_OK);
    assert_int_equal(host_counted, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(programs_wait_until_there_are_enough, set_up, tear_down),
        cmocka_unit_test_setup_teardown(after_a_while_a_few_are_enough, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_refusal_is_heard_once_and_told_of_each, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_may_be_the_best_is_counted_at_once_and_in_full, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_best_may_wait_and_is_counted_in_full_all_the_same, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(its_warps_are_looked_at, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_may_look_is_heard_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_reason_is_known_by_its_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(samples_of_an_instruction_add_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_memory_for_a_batch_is_no_refusal_for_ever, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
