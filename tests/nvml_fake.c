/*
 * nvml_fake -- a libnvidia-ml.so.1 of two devices: a cool one, and a hot one of an old driver that
 * does not know fields. FAKE_NVML=broken in the environment: it cannot be opened.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DONE, INVALID = 2, UNSUPPORTED = 3, TOO_SMALL = 7 };

static struct device {
    unsigned mhz, celsius, milliwatt, processes;
    unsigned long long reasons;
} devices[] = {{1980, 31, 118000, 1, 0x4}, {345, 92, 701000, 3, 0x20}};

int nvmlInit_v2(void);
int nvmlInit_v2(void)
{
    const char *fake = getenv("FAKE_NVML");

    return fake != NULL && strcmp(fake, "broken") == 0 ? UNSUPPORTED : DONE;
}

int nvmlShutdown(void);
int nvmlShutdown(void) { return DONE; }

int nvmlSystemGetDriverVersion(char *text, unsigned size);
int nvmlSystemGetDriverVersion(char *text, unsigned size)
{
    snprintf(text, size, "570.00");
    return DONE;
}

int nvmlDeviceGetCount_v2(unsigned *count);
int nvmlDeviceGetCount_v2(unsigned *count)
{
    *count = sizeof devices / sizeof *devices;
    return DONE;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct device **device);
int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct device **device)
{
    *device = &devices[index % 2];
    return index < 2 ? DONE : INVALID;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, struct device **device);
int nvmlDeviceGetHandleByUUID(const char *uuid, struct device **device)
{
    *device = &devices[1];
    return strcmp(uuid, "GPU-hot") == 0 ? DONE : INVALID;
}

int nvmlDeviceGetName(struct device *device, char *name, unsigned size);
int nvmlDeviceGetName(struct device *device, char *name, unsigned size)
{
    snprintf(name, size, "fake GPU %d", (int)(device - devices));
    return DONE;
}

int nvmlDeviceGetClockInfo(struct device *device, int domain, unsigned *mhz);
int nvmlDeviceGetClockInfo(struct device *device, int domain, unsigned *mhz)
{
    *mhz = domain == 1 ? device->mhz : 1;
    return DONE;
}

int nvmlDeviceGetMaxClockInfo(struct device *device, int domain, unsigned *mhz);
int nvmlDeviceGetMaxClockInfo(struct device *device, int domain, unsigned *mhz)
{
    *mhz = 1980;
    return device != NULL && domain == 1 ? DONE : INVALID;
}

int nvmlDeviceGetTemperature(struct device *device, int sensor, unsigned *celsius);
int nvmlDeviceGetTemperature(struct device *device, int sensor, unsigned *celsius)
{
    *celsius = device->celsius;
    return sensor == 0 ? DONE : INVALID;
}

int nvmlDeviceGetPowerUsage(struct device *device, unsigned *milliwatt);
int nvmlDeviceGetPowerUsage(struct device *device, unsigned *milliwatt)
{
    *milliwatt = device->milliwatt;
    return DONE;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(struct device *device, unsigned long long *reasons);
int nvmlDeviceGetCurrentClocksThrottleReasons(struct device *device, unsigned long long *reasons)
{
    *reasons = device->reasons;
    return DONE;
}

int nvmlDeviceGetComputeRunningProcesses_v3(struct device *device, unsigned *count, void *list);
int nvmlDeviceGetComputeRunningProcesses_v3(struct device *device, unsigned *count, void *list)
{
    int room = list != NULL && *count >= device->processes;

    *count = device->processes;
    return room ? DONE : TOO_SMALL;
}
