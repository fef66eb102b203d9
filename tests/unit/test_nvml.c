#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fitness/nvml.h"

/* The library is tests/nvml_fake.c. */

static void devices_are_found_by_place_and_by_name(void **state)
{
    struct nvml *nvml = nvml_open();
    char name[NVML_NAME_TEXT];

    (void)state;
    assert_non_null(nvml);
    assert_string_equal(nvml_driver_version(nvml), "570.00");
    assert_int_equal(nvml_count(nvml), 2);
    assert_null(nvml_device_at(nvml, 2));
    assert_null(nvml_device_of(nvml, "GPU-of-nobody"));
    assert_ptr_equal(nvml_device_of(nvml, "GPU-hot"), nvml_device_at(nvml, 1));
    nvml_name(nvml, nvml_device_at(nvml, 0), name);
    assert_string_equal(name, "fake GPU 0");
    nvml_close(nvml);
}

static void what_is_read_is_what_the_driver_says(void **state)
{
    struct nvml *nvml = nvml_open();
    struct nvml_device *device = nvml_device_at(nvml, 0);
    struct nvml_reading reading;

    (void)state;
    nvml_read(nvml, device, &reading);
    assert_true(reading.sm_clock_mhz == 1980);
    assert_true(nvml_clock_max_mhz(nvml, device) == 1980);
    assert_true(reading.temperature_c == 31);
    assert_true(reading.power_w == 118); /* the driver has no fields: the average */
    assert_true(reading.other_processes == 0);
    assert_false(nvml_is_hot(reading.reasons));
    assert_true(nvml_is_capped(reading.reasons));

    nvml_read(nvml, nvml_device_at(nvml, 1), &reading);
    assert_true(reading.sm_clock_mhz == 345);
    assert_true(reading.other_processes == 2);
    assert_true(nvml_is_hot(reading.reasons));
    assert_false(nvml_is_capped(reading.reasons));
    nvml_close(nvml);
}

static void a_library_that_does_not_work_is_none(void **state)
{
    (void)state;
    setenv("FAKE_NVML", "broken", 1);
    assert_null(nvml_open());
    nvml_close(NULL);
    unsetenv("FAKE_NVML");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices_are_found_by_place_and_by_name),
        cmocka_unit_test(what_is_read_is_what_the_driver_says),
        cmocka_unit_test(a_library_that_does_not_work_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
