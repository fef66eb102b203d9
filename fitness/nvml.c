#include "fitness/nvml.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

struct field { /* nvmlFieldValue_t */
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
enum { CLOCK_SM = 1, SENSOR_GPU = 0, FIELD_POWER_INSTANT = 186, TYPE_UINT = 1, TOO_SMALL = 7 };
enum { POWER_CAP = 0x4, HW_SLOWDOWN = 0x8, SW_THERMAL = 0x20, HW_THERMAL = 0x40 };

struct nvml {
    void *library;
    char driver[80];
    /* NULL: this driver's library has none. */
    int (*init)(void), (*shutdown)(void);
    int (*version)(char *text, unsigned size);
    int (*count)(unsigned *count);
    int (*at)(unsigned index, struct nvml_device **device);
    int (*of)(const char *uuid, struct nvml_device **device);
    int (*name)(struct nvml_device *device, char *name, unsigned size);
    int (*clock)(struct nvml_device *device, int domain, unsigned *mhz);
    int (*clock_max)(struct nvml_device *device, int domain, unsigned *mhz);
    int (*temperature)(struct nvml_device *device, int sensor, unsigned *celsius);
    int (*power)(struct nvml_device *device, unsigned *milliwatt);
    int (*fields)(struct nvml_device *device, int count, struct field *fields);
    int (*throttle)(struct nvml_device *device, unsigned long long *reasons);
    int (*processes)(struct nvml_device *device, unsigned *count, void *list);
};

static const struct {
    const char *name;
    size_t at;
} symbols[] = {
    {"nvmlInit_v2", offsetof(struct nvml, init)},
    {"nvmlShutdown", offsetof(struct nvml, shutdown)},
    {"nvmlSystemGetDriverVersion", offsetof(struct nvml, version)},
    {"nvmlDeviceGetCount_v2", offsetof(struct nvml, count)},
    {"nvmlDeviceGetHandleByIndex_v2", offsetof(struct nvml, at)},
    {"nvmlDeviceGetHandleByUUID", offsetof(struct nvml, of)},
    {"nvmlDeviceGetName", offsetof(struct nvml, name)},
    {"nvmlDeviceGetClockInfo", offsetof(struct nvml, clock)},
    {"nvmlDeviceGetMaxClockInfo", offsetof(struct nvml, clock_max)},
    {"nvmlDeviceGetTemperature", offsetof(struct nvml, temperature)},
    {"nvmlDeviceGetPowerUsage", offsetof(struct nvml, power)},
    {"nvmlDeviceGetFieldValues", offsetof(struct nvml, fields)},
    {"nvmlDeviceGetCurrentClocksThrottleReasons", offsetof(struct nvml, throttle)},
    {"nvmlDeviceGetComputeRunningProcesses_v3", offsetof(struct nvml, processes)},
};

struct nvml *nvml_open(void)
{
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    struct nvml *nvml;

    if (library == NULL) {
        return NULL;
    }
    nvml = xcalloc(1, sizeof *nvml);
    nvml->library = library;
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *found = dlsym(library, symbols[i].name);

        memcpy((char *)nvml + symbols[i].at, &found, sizeof found); /* POSIX: the bytes are equal */
    }
    if (nvml->init == NULL || nvml->shutdown == NULL || nvml->init() != 0) {
        dlclose(library);
        free(nvml);
        return NULL;
    }
    if (nvml->version == NULL || nvml->version(nvml->driver, sizeof nvml->driver) != 0) {
        nvml->driver[0] = '\0';
    }
    return nvml;
}

void nvml_close(struct nvml *nvml)
{
    if (nvml != NULL) {
        nvml->shutdown();
        dlclose(nvml->library);
        free(nvml);
    }
}

const char *nvml_driver_version(const struct nvml *nvml) { return nvml->driver; }

int nvml_count(const struct nvml *nvml)
{
    unsigned count;

    return nvml->count != NULL && nvml->count(&count) == 0 ? (int)count : 0;
}

struct nvml_device *nvml_device_at(const struct nvml *nvml, int index)
{
    struct nvml_device *device;

    return nvml->at != NULL && nvml->at((unsigned)index, &device) == 0 ? device : NULL;
}

struct nvml_device *nvml_device_of(const struct nvml *nvml, const char *uuid)
{
    struct nvml_device *device;

    return nvml->of != NULL && nvml->of(uuid, &device) == 0 ? device : NULL;
}

void nvml_name(const struct nvml *nvml, struct nvml_device *device, char name[NVML_NAME_TEXT])
{
    if (nvml->name == NULL || nvml->name(device, name, NVML_NAME_TEXT) != 0) {
        snprintf(name, NVML_NAME_TEXT, "a GPU");
    }
}

static double clock_of(int (*clock)(struct nvml_device *, int, unsigned *),
                       struct nvml_device *device)
{
    unsigned mhz;

    return clock != NULL && clock(device, CLOCK_SM, &mhz) == 0 ? mhz : NAN;
}

double nvml_clock_max_mhz(const struct nvml *nvml, struct nvml_device *device)
{
    return clock_of(nvml->clock_max, device);
}

static double power_w(const struct nvml *nvml, struct nvml_device *device)
{
    struct field field = {.id = FIELD_POWER_INSTANT};
    unsigned milliwatt;

    if (nvml->fields != NULL && nvml->fields(device, 1, &field) == 0 && field.result == 0 &&
        field.type == TYPE_UINT) {
        return field.value.u / 1000.0;
    }
    return nvml->power != NULL && nvml->power(device, &milliwatt) == 0 ? milliwatt / 1000.0 : NAN;
}

static double other_processes(const struct nvml *nvml, struct nvml_device *device)
{
    unsigned count = 0; /* asked without room for any, NVML says how many there are */

    return nvml->processes != NULL && nvml->processes(device, &count, NULL) == TOO_SMALL &&
                   count > 0
               ? count - 1
               : NAN;
}

void nvml_read(const struct nvml *nvml, struct nvml_device *device, struct nvml_reading *reading)
{
    unsigned long long reasons;
    unsigned celsius;

    *reading = (struct nvml_reading){
        .sm_clock_mhz = clock_of(nvml->clock, device),
        .temperature_c = NAN,
        .power_w = power_w(nvml, device),
        .other_processes = other_processes(nvml, device),
    };
    if (nvml->temperature != NULL && nvml->temperature(device, SENSOR_GPU, &celsius) == 0) {
        reading->temperature_c = celsius;
    }
    if (nvml->throttle != NULL && nvml->throttle(device, &reasons) == 0) {
        reading->reasons = reasons;
    }
}

bool nvml_is_hot(uint64_t reasons)
{
    return (reasons & (HW_SLOWDOWN | SW_THERMAL | HW_THERMAL)) != 0;
}

bool nvml_is_capped(uint64_t reasons) { return (reasons & POWER_CAP) != 0; }
