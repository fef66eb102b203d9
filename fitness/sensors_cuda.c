#include <stddef.h>

#include "fitness/clocks_cuda.h"
#include "fitness/nvml.h"

static struct {
    struct nvml *nvml;          /* NULL: there is none */
    struct nvml_device *device; /* NULL: there are no sensors */
} sensors;

void sensors_open(const char uuid[GPU_UUID_TEXT])
{
    sensors.nvml = nvml_open();
    sensors.device = sensors.nvml != NULL ? nvml_device_of(sensors.nvml, uuid) : NULL;
}

void sensors_close(void)
{
    nvml_close(sensors.nvml);
    sensors.nvml = NULL;
    sensors.device = NULL;
}

const char *sensors_driver_version(void)
{
    return sensors.nvml != NULL ? nvml_driver_version(sensors.nvml) : "";
}

void sensors_read(struct measured *measured)
{
    struct nvml_reading reading;

    if (sensors.device == NULL) {
        return;
    }
    nvml_read(sensors.nvml, sensors.device, &reading);
    measured->sm_clock_mhz = reading.sm_clock_mhz;
    measured->temperature_c = reading.temperature_c;
    measured->throttle_reasons = reading.reasons;
    measured->power_w = reading.power_w;
    measured->other_processes = reading.other_processes;
}

bool sensors_overheated(const struct measured *measured)
{
    return nvml_is_hot(measured->throttle_reasons);
}
