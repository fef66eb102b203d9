#include <dlfcn.h>
#include <math.h>
#include <string.h>

#include "fitness/clocks_cuda.h"

/* The part of NVML's interface that is used; its header is not in every toolkit. */
struct nvml_field { /* nvmlFieldValue_t */
    unsigned id, scope;
    long long timestamp, latency_us;
    unsigned type;
    int result;
    union {
        double d;
        unsigned u;
        unsigned long long ull;
    } value;
};
enum { NVML_CLOCK_SM = 1, NVML_TEMPERATURE_GPU = 0, NVML_FIELD_POWER_INSTANT = 186 };
enum { NVML_TYPE_UINT = 1, NVML_TOO_SMALL = 7 };
enum { THROTTLE_HW_SLOWDOWN = 0x8, THROTTLE_SW_THERMAL = 0x20, THROTTLE_HW_THERMAL = 0x40 };

static struct {
    void *library;
    void *device; /* NULL: there are no sensors */
    char driver[80];
    int (*shutdown)(void);
    int (*clock)(void *device, int type, unsigned *mhz);
    int (*power)(void *device, unsigned *milliwatt);
    int (*fields)(void *device, int count, struct nvml_field *fields);
    int (*temperature)(void *device, int sensor, unsigned *celsius);
    int (*throttle)(void *device, unsigned long long *reasons);
    int (*processes)(void *device, unsigned *count, void *list);
} nvml;

/* A pointer to a function, as POSIX lets dlsym return it. NULL when the library lacks it. */
static void symbol(const char *name, void *pointer)
{
    void *found = dlsym(nvml.library, name);

    memcpy(pointer, &found, sizeof found);
}

void sensors_open(const char uuid[GPU_UUID_TEXT])
{
    int (*init)(void) = NULL;
    int (*by_uuid)(const char *, void **) = NULL;
    int (*driver)(char *, unsigned) = NULL;

    nvml.library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (nvml.library == NULL) {
        return;
    }
    symbol("nvmlInit_v2", &init);
    symbol("nvmlDeviceGetHandleByUUID", &by_uuid);
    symbol("nvmlSystemGetDriverVersion", &driver);
    symbol("nvmlShutdown", &nvml.shutdown);
    symbol("nvmlDeviceGetClockInfo", &nvml.clock);
    symbol("nvmlDeviceGetPowerUsage", &nvml.power);
    symbol("nvmlDeviceGetFieldValues", &nvml.fields);
    symbol("nvmlDeviceGetTemperature", &nvml.temperature);
    symbol("nvmlDeviceGetCurrentClocksThrottleReasons", &nvml.throttle);
    symbol("nvmlDeviceGetComputeRunningProcesses_v3", &nvml.processes);
    if (init == NULL || init() != 0) {
        nvml.shutdown = NULL;
        return;
    }
    if (driver == NULL || driver(nvml.driver, sizeof nvml.driver) != 0) {
        nvml.driver[0] = '\0';
    }
    if (by_uuid == NULL || by_uuid(uuid, &nvml.device) != 0) {
        nvml.device = NULL;
    }
}

void sensors_close(void)
{
    if (nvml.shutdown != NULL) {
        nvml.shutdown();
    }
    if (nvml.library != NULL) {
        dlclose(nvml.library);
    }
    memset(&nvml, 0, sizeof nvml);
}

const char *sensors_driver_version(void) { return nvml.driver; }

/* Of now where the driver knows it, else its average over a second. */
static double power_w(void)
{
    struct nvml_field field = {.id = NVML_FIELD_POWER_INSTANT};
    unsigned milliwatt;

    if (nvml.fields != NULL && nvml.fields(nvml.device, 1, &field) == 0 && field.result == 0 &&
        field.type == NVML_TYPE_UINT) {
        return field.value.u / 1000.0;
    }
    return nvml.power != NULL && nvml.power(nvml.device, &milliwatt) == 0 ? milliwatt / 1000.0
                                                                          : NAN;
}

/* NAN where the driver does not know, or a container hides them all, this one included. */
static double other_processes(void)
{
    unsigned count = 0; /* asked without room for any, NVML says how many there are */

    return nvml.processes != NULL &&
                   nvml.processes(nvml.device, &count, NULL) == NVML_TOO_SMALL && count > 0
               ? count - 1
               : NAN;
}

void sensors_read(struct measured *measured)
{
    unsigned long long reasons;
    unsigned mhz, celsius;

    if (nvml.device == NULL) {
        return;
    }
    if (nvml.clock != NULL && nvml.clock(nvml.device, NVML_CLOCK_SM, &mhz) == 0) {
        measured->sm_clock_mhz = mhz;
    }
    if (nvml.temperature != NULL &&
        nvml.temperature(nvml.device, NVML_TEMPERATURE_GPU, &celsius) == 0) {
        measured->temperature_c = celsius;
    }
    if (nvml.throttle != NULL && nvml.throttle(nvml.device, &reasons) == 0) {
        measured->throttle_reasons = reasons;
    }
    measured->power_w = power_w();
    measured->other_processes = other_processes();
}

bool sensors_overheated(const struct measured *measured)
{
    return (measured->throttle_reasons &
            (THROTTLE_HW_SLOWDOWN | THROTTLE_SW_THERMAL | THROTTLE_HW_THERMAL)) != 0;
}
