/*
 * nvml -- the driver's own library of sensors, as far as evo reads it: clocks, heat, power, limits,
 * and who else is on a device. It changes nothing there.
 *
 * Loaded when it is asked for: its header is not in every toolkit, its library only where a driver
 * is. The interface has been the same for a decade. What it does not know is NAN.
 *
 * Owner: whoever opened it. Threads: one.
 */
#ifndef EVO_FITNESS_NVML_H
#define EVO_FITNESS_NVML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NVML_NAME_TEXT = 96 };

struct nvml;
struct nvml_device; /* the library's own, valid as long as it is open */

struct nvml *nvml_open(void);       /* NULL: there is none, or it does not work */
void nvml_close(struct nvml *nvml); /* NULL is fine */
const char *nvml_driver_version(const struct nvml *nvml); /* "": it does not say */

int nvml_count(const struct nvml *nvml); /* devices, in the order of the bus */
/* NULL: there is no such device. uuid: GPU-… */
struct nvml_device *nvml_device_at(const struct nvml *nvml, int index);
struct nvml_device *nvml_device_of(const struct nvml *nvml, const char *uuid);

void nvml_name(const struct nvml *nvml, struct nvml_device *device, char name[NVML_NAME_TEXT]);
double nvml_clock_max_mhz(const struct nvml *nvml, struct nvml_device *device); /* of the SMs */

struct nvml_reading {
    double sm_clock_mhz, temperature_c;
    double power_w;         /* of now where the driver knows it, else its average over a second */
    double other_processes; /* besides this one; NAN also where a container hides them all */
    uint64_t reasons;       /* why clocks are held down, a bit each; 0 also where it is not known */
};
void nvml_read(const struct nvml *nvml, struct nvml_device *device, struct nvml_reading *reading);

bool nvml_is_hot(uint64_t reasons);    /* slowed down for heat, or by a fault of its power */
bool nvml_is_capped(uint64_t reasons); /* held at its power limit: a regime, no fault */

#endif
