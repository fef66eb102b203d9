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
    host_counters_refused = false;
    host_counted = 0;
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
    assert_int_equal(result->metric_count, 2 * counters);
    assert_int_equal(result->metrics[0].problem, 1);
    assert_int_equal(result->metrics[counters].problem, 0);
    assert_true(result->metrics[counters].value == 100);
    assert_int_equal(result->counted_count, 0);
    device_unload(calls[0].module);
    device_unload(calls[1].module);
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
        cmocka_unit_test_setup_teardown(no_memory_for_a_batch_is_no_refusal_for_ever, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
