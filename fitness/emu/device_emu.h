/*
 * device_emu -- what the emulated device can do beyond device.h, for who wants to look inside.
 *
 * One process, one device, one thread of calls. The device's memory is a struct memory; a module is
 * a decoded program for each kernel; a call runs them one after another on the host's threads.
 */
#ifndef EVO_EMU_DEVICE_H
#define EVO_EMU_DEVICE_H

#include "fitness/device.h"
#include "fitness/emu/profile.h"

/* All calls from now on look for this, whatever device_watch says. */
void emu_sanitize(unsigned sanitize);

/* The outcome of the last kernel that ran, until the next call; NULL: none has. */
const struct outcome *emu_outcome(void);
/* What its findings speak of. */
const struct ptx_module *emu_module(const struct device_module *module);

/*
 * Runs a call for its profile: of each kernel at most `sample` blocks (0: all), evenly spread. What
 * it leaves in the buffers is no answer when that was not all.
 */
enum device_status emu_profile(struct device_module *module, const struct plan *plan,
                               const struct device_buffers *buffers, int64_t sample,
                               struct kernel_profile *kernels, struct err *err);

#endif
