/*
 * The sets of hardware counters, as CUPTI packs them: needs its library, no driver and no GPU.
 * Built without AddressSanitizer, which CUPTI's host half does not survive.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "fitness/counters_cupti.h"

static void every_counter_is_a_metric_of_its_own(void **state)
{
    int count;
    const struct counter *table = counters_of(COUNTERS_FULL, &count);

    (void)state;
    for (int i = 0; i < count; i++) {
        assert_string_equal(metric_table[table[i].metric].source, "cupti");
        for (int k = 0; k < i; k++) {
            assert_string_not_equal(table[i].name, table[k].name);
            assert_int_not_equal(table[i].metric, table[k].metric);
        }
    }
    for (int m = 0, from = 0; m < METRIC_COUNT; m++) { /* and none is forgotten */
        from += strcmp(metric_table[m].source, "cupti") == 0;
        assert_true(m < METRIC_COUNT - 1 || from == count);
    }
}

static void one_pass_is_enough_for_what_every_candidate_is_counted_with(void **state)
{
    struct counter_host *host;
    struct err err = {0};
    size_t bytes, count;

    (void)state;
    if (!counter_host_open(COUNTERS_ONE, "GH100", &host, &err)) {
        fail_msg("%s", err.what);
    }
    assert_int_equal(counter_host_passes(host), 1);
    assert_non_null(counter_host_config(host, &bytes));
    assert_true(bytes > 0);
    assert_string_equal(counter_host_names(host, &count)[0], "sm__cycles_active.avg");
    counter_host_close(host);
}

static void all_of_them_fit_six(void **state)
{
    struct counter_host *host;
    struct err err = {0};
    size_t count;
    int all;

    (void)state;
    if (!counter_host_open(COUNTERS_FULL, "GH100", &host, &err)) {
        fail_msg("%s", err.what);
    }
    assert_in_range(counter_host_passes(host), 2, 6);
    counter_host_names(host, &count);
    counters_of(COUNTERS_FULL, &all);
    assert_int_equal(count, all);
    counter_host_close(host);
}

static void a_chip_that_is_none_is_refused(void **state)
{
    struct counter_host *host;
    struct err err = {0};

    (void)state;
    assert_false(counter_host_open(COUNTERS_ONE, "no such chip", &host, &err));
    assert_null(host);
    assert_non_null(strstr(err.what, "cannot prepare counters of this chip: CUPTI_ERROR_"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_counter_is_a_metric_of_its_own),
        cmocka_unit_test(one_pass_is_enough_for_what_every_candidate_is_counted_with),
        cmocka_unit_test(all_of_them_fit_six),
        cmocka_unit_test(a_chip_that_is_none_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
