#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "fitness/metric.h"

static void every_metric_is_described_and_found_by_its_name(void **state)
{
    (void)state;
    for (int metric = 0; metric < METRIC_COUNT; metric++) {
        const struct metric_row *row = &metric_table[metric];

        assert_non_null(row->name);
        assert_true(*row->name != '\0' && *row->unit != '\0' && *row->source != '\0');
        assert_true(*row->doc != '\0' && row->doc[strlen(row->doc) - 1] != '.');
        assert_true(strcmp(row->better, "less") == 0 || strcmp(row->better, "more") == 0 ||
                    strcmp(row->better, "") == 0);
        assert_int_equal(metric_find(row->name), metric);
    }
}

static void names_fit_a_message_and_a_column(void **state)
{
    (void)state;
    for (int metric = 0; metric < METRIC_COUNT; metric++) {
        const char *name = metric_table[metric].name;

        assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_"), strlen(name));
        assert_true(strlen(name) <= 32);
    }
}

/* A name is for ever: databases and scripts hold it. */
static void old_names_still_mean_what_they_meant(void **state)
{
    (void)state;
    assert_int_equal(metric_find("registers"), METRIC_REGISTERS);
    assert_int_equal(metric_find("occupancy"), METRIC_OCCUPANCY);
    assert_int_equal(metric_find("graph_us"), METRIC_GRAPH_US);
    assert_int_equal(metric_find("compile_ms"), METRIC_COMPILE_MS);
}

static void an_unknown_name_is_no_metric(void **state)
{
    (void)state;
    assert_int_equal(metric_find("speed"), METRIC_COUNT);
    assert_int_equal(metric_find(""), METRIC_COUNT);
    assert_int_equal(metric_find("register"), METRIC_COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_metric_is_described_and_found_by_its_name),
        cmocka_unit_test(names_fit_a_message_and_a_column),
        cmocka_unit_test(old_names_still_mean_what_they_meant),
        cmocka_unit_test(an_unknown_name_is_no_metric),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
