/*
 * device_cuda -- what the CUDA backend's clocks need of its driver side, and the other way round.
 *
 * device_cuda.c owns the driver: device, context, the one stream, modules, calls; memory_cuda.c has
 * memory, own_cuda.c the backend's own kernels. What times them is in clocks_cuda.h. All runs on
 * the judge's only thread.
 *
 * Everything is enqueued on one non-blocking stream, so order of calls is order of execution.
 */
#ifndef EVO_FITNESS_DEVICE_CUDA_H
#define EVO_FITNESS_DEVICE_CUDA_H

#include <cuda.h>
#include <stdbool.h>
#include <stdint.h>

#include "fitness/device.h"

enum { GPU_UUID_TEXT = 48 };

/* The name in activity records of the kernel that cuda_hold launches. */
#define CUDA_HOLD_NAME "evo_own_hold"
/* And of cuda_stamp's: it belongs to nobody's call. */
#define CUDA_STAMP_NAME "evo_own_stamp"

/* ---- device_cuda.c: the driver */

/* DEVICE_OK for success; else the status that `code` means, and "what: NAME (code): text" in err.
 */
enum device_status cuda_status(CUresult code, struct err *err, const char *what);
CUstream cuda_stream(void);
bool cuda_lost(void); /* after a sticky error: nothing works any more, cleaning up included */
bool cuda_untimed(void); /* CUPTI is to stay out of the process: nothing will be measured */
/* Enqueues one kernel of one-dimensional blocks. */
enum device_status cuda_launch(CUfunction function, const uint32_t grid[3], uint32_t threads,
                               uint32_t smem, void **args, struct err *err, const char *what);

/* Does the plan fit the module: entries, arguments, threads, shared memory? Needed before
 * enqueueing. */
enum device_status cuda_prepare(struct device_module *module, const struct plan *plan,
                                struct err *err);
/* Enqueues one call: its zero_call workspaces in order, then its kernels. Does not wait. */
enum device_status cuda_enqueue_call(struct device_module *module, const struct plan *plan,
                                     const struct device_buffers *buffers, struct err *err);
enum device_status cuda_enqueue_memset(device_ptr at, uint8_t value, int64_t bytes,
                                       struct err *err);
/*
 * Waits for all that was enqueued, whatever `enqueued` says of how that went, and returns the worse
 * of both. From cuda_busy_begin to here the device counts as busy.
 */
enum device_status cuda_settle(enum device_status enqueued, struct err *err);
void cuda_busy_begin(void);
/* How long the device has been busy with calls, gaps under a millisecond included; 0 when it rests.
 */
int64_t cuda_busy_us(void);
/* The same, pauses up to a tenth of a second included: its clocks do not fall within that. */
int64_t cuda_awake_us(void);

/* ---- memory_cuda.c: device memory, pinned memory, copies */
void memory_close(void);

/* ---- own_cuda.c: the backend's own kernels */

/* In the context that is current; own_close while it still is, and works. */
bool own_open(int sms, int smem_max, struct err *err);
void own_close(void);
/* Loads them afresh; see clocks_arm. */
enum device_status cuda_own_reload(struct err *err);

/*
 * A kernel that keeps the stream waiting until cuda_release, so that a batch can be enqueued whole
 * and then run without waiting for the host. It gives up by itself after CUDA_HOLD_LIMIT_NS: an
 * error path, or a launch that waits for the device, must not hang.
 */
enum { CUDA_HOLD_LIMIT_NS = 100 * 1000 * 1000 };
enum device_status cuda_hold(struct err *err);
void cuda_release(void);

/*
 * Enqueues the stamps of a batch (stamps.h), `which` 0 before it and 1 after; cuda_stamped is then
 * the clock's MHz between them, or NAN, once all is settled.
 */
enum device_status cuda_stamp(int which, struct err *err);
double cuda_stamped(void);

/* ---- device_cuda.c again: modules */

/* Modules of device_load_rival: the library's plans, and the one that calls run from now on. */
bool cuda_is_rival(const struct device_module *module);
int cuda_rival_plans(const struct device_module *module);
void cuda_rival_use(struct device_module *module, int plan);
const char *cuda_rival_plan_name(struct arena *arena, const struct device_module *module);
const char *cuda_rival_version(struct arena *arena, const struct device_module *module);

/* Loads a candidate's kernels afresh; see clocks_arm. */
enum device_status cuda_module_reload(struct device_module *module, struct err *err);

/* ---- audit_cuda.c: what device_auditor loaded */
void audit_close(void);

/* ---- the clocks */

/*
 * Turns activity records on and reloads the backend's own kernels. CUPTI must be on before a module
 * that is to be timed is loaded, and measuring by graph turns it off: so each load arms it again.
 */
enum device_status clocks_arm(struct err *err);
void clocks_close(void);
unsigned clocks_version(void); /* of CUPTI */

void counters_close(void); /* counters_cuda.c: device_count */

/* NVML, if there is one. driver_version is "" when unknown. */
void sensors_open(const char uuid[GPU_UUID_TEXT]);
void sensors_close(void);
const char *sensors_driver_version(void);

#endif
