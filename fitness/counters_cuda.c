#include <assert.h>
#include <cupti_profiler_target.h>
#include <cupti_range_profiler.h>
#include <cupti_target.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "fitness/clocks_cuda.h"
#include "fitness/counters_cupti.h"

/*
 * One range for each call, all inside one pass of the profiler: a range by itself costs six times
 * as much. Calls run once for every pass of the set. One profiler a process, and one way of using
 * it: another one on the same object fails, or gives NaN. What was begun and not ended does too.
 */
enum { CALLS_MAX = 64 }; /* of a collection */

/* Zero until the first collection; nothing of it is ever needed twice. */
static struct {
    const char *chip;
    struct counter_host *hosts[COUNTER_SETS];
    CUpti_RangeProfiler_Object *object;
    uint8_t *data;               /* the counter data image */
    size_t data_bytes;
} counting;

enum device_status cupti_refused(int code, struct err *err, const char *what)
{
    counter_error(code, err, what);
    if (code == CUPTI_ERROR_INSUFFICIENT_PRIVILEGES ||
        code == CUPTI_ERROR_VIRTUALIZED_DEVICE_INSUFFICIENT_PRIVILEGES) {
        err_hint(err, "load the driver with NVreg_RestrictProfilingToAdminUsers=0, or run as root");
    } else if (code == CUPTI_ERROR_HARDWARE_BUSY) {
        err_hint(err, "another profiler uses the counters: Nsight, or DCGM's profiling fields");
    }
    return DEVICE_REFUSED;
}

/* Once in a process; the chip's name before a successful start would crash. */
static enum device_status start(int device, struct err *err)
{
    CUpti_Profiler_Initialize_Params init = {
        .structSize = CUpti_Profiler_Initialize_Params_STRUCT_SIZE};
    CUpti_Device_GetChipName_Params chip = {
        .structSize = CUpti_Device_GetChipName_Params_STRUCT_SIZE, .deviceIndex = (size_t)device};
    CUptiResult code;

    if (counting.chip != NULL) {
        return DEVICE_OK;
    }
    code = cuptiProfilerInitialize(&init);
    if (code == CUPTI_SUCCESS) {
        code = cuptiDeviceGetChipName(&chip);
    }
    counting.chip = code == CUPTI_SUCCESS ? chip.pChipName : NULL;
    return code == CUPTI_SUCCESS ? DEVICE_OK
                                 : cupti_refused(code, err, "cannot start the profiler");
}

static enum device_status enable(CUcontext context, struct err *err)
{
    CUpti_RangeProfiler_Enable_Params on = {
        .structSize = CUpti_RangeProfiler_Enable_Params_STRUCT_SIZE, .ctx = context};
    CUptiResult code;

    if (counting.object != NULL) {
        return DEVICE_OK;
    }
    code = cuptiRangeProfilerEnable(&on);
    counting.object = code == CUPTI_SUCCESS ? on.pRangeProfilerObject : NULL;
    return code == CUPTI_SUCCESS ? DEVICE_OK : cupti_refused(code, err, "cannot use the profiler");
}

/*
 * After each collection: a profiler that stays makes graphs slower (0.18 us a node), an object
 * keeps the number of passes that it was first told, and half a collection is of no use.
 */
static void disable(void)
{
    CUpti_RangeProfiler_Disable_Params off = {
        .structSize = CUpti_RangeProfiler_Disable_Params_STRUCT_SIZE,
        .pRangeProfilerObject = counting.object};

    if (counting.object != NULL) {
        cuptiRangeProfilerDisable(&off);
    }
    free(counting.data);
    counting.data = NULL;
    counting.object = NULL;
}

/* The bytes that are counted into. */
static CUptiResult lay_out(struct counter_host *host)
{
    CUpti_RangeProfiler_GetCounterDataSize_Params size = {
        .structSize = CUpti_RangeProfiler_GetCounterDataSize_Params_STRUCT_SIZE,
        .pRangeProfilerObject = counting.object,
        .maxNumOfRanges = CALLS_MAX,
        .maxNumRangeTreeNodes = CALLS_MAX};
    CUpti_RangeProfiler_CounterDataImage_Initialize_Params empty = {
        .structSize = CUpti_RangeProfiler_CounterDataImage_Initialize_Params_STRUCT_SIZE,
        .pRangeProfilerObject = counting.object};
    CUptiResult code;

    size.pMetricNames = (const char **)counter_host_names(host, &size.numMetrics);
    code = cuptiRangeProfilerGetCounterDataSize(&size);
    if (code != CUPTI_SUCCESS) {
        return code;
    }
    counting.data_bytes = size.counterDataSize;
    counting.data = xcalloc(1, counting.data_bytes);
    empty.counterDataSize = counting.data_bytes;
    empty.pCounterData = counting.data;
    return cuptiRangeProfilerCounterDataImageInitialize(&empty);
}

static enum device_status configure(enum counter_set set, struct err *err)
{
    struct counter_host *host = counting.hosts[set];
    CUpti_RangeProfiler_SetConfig_Params config = {
        .structSize = CUpti_RangeProfiler_SetConfig_Params_STRUCT_SIZE,
        .pRangeProfilerObject = counting.object,
        .range = CUPTI_UserRange,
        .replayMode = CUPTI_UserReplay,
        .maxRangesPerPass = CALLS_MAX,
        .numNestingLevels = 1,
        .minNestingLevel = 1,
        .targetNestingLevel = 1};
    CUptiResult code = lay_out(host);

    if (code == CUPTI_SUCCESS) {
        config.pConfig = counter_host_config(host, &config.configSize);
        config.pCounterDataImage = counting.data;
        config.counterDataImageSize = counting.data_bytes;
        code = cuptiRangeProfilerSetConfig(&config);
    }
    return code == CUPTI_SUCCESS ? DEVICE_OK
                                 : cupti_refused(code, err, "cannot configure the profiler");
}

static enum device_status run_call(const struct device_count *call, struct err *err)
{
    cuda_busy_begin();
    return cuda_settle(cuda_enqueue_call(call->module, call->plan, call->set, err), err);
}

/* A call in a range of its own. */
static enum device_status count_call(const struct device_count *call, int number, struct err *err)
{
    char name[16];
    CUpti_RangeProfiler_PushRange_Params push = {
        .structSize = CUpti_RangeProfiler_PushRange_Params_STRUCT_SIZE,
        .pRangeProfilerObject = counting.object,
        .pRangeName = name};
    CUpti_RangeProfiler_PopRange_Params pop = {
        .structSize = CUpti_RangeProfiler_PopRange_Params_STRUCT_SIZE,
        .pRangeProfilerObject = counting.object};
    enum device_status status;
    CUptiResult code;

    snprintf(name, sizeof name, "%d", number);
    code = cuptiRangeProfilerPushRange(&push);
    if (code != CUPTI_SUCCESS) {
        return cupti_refused(code, err, "cannot begin to count");
    }
    status = run_call(call, err);
    code = cuptiRangeProfilerPopRange(&pop);
    return status != DEVICE_OK || code == CUPTI_SUCCESS
               ? status
               : cupti_refused(code, err, "cannot end counting");
}

/* What Start began must be ended by Stop, whatever happened in between. */
static enum device_status count_pass(const struct device_count *calls, int count, bool *last,
                                     struct err *err)
{
    CUpti_RangeProfiler_Start_Params begin = {
        .structSize = CUpti_RangeProfiler_Start_Params_STRUCT_SIZE,
        .pRangeProfilerObject = counting.object};
    CUpti_RangeProfiler_Stop_Params end = {
        .structSize = CUpti_RangeProfiler_Stop_Params_STRUCT_SIZE,
        .pRangeProfilerObject = counting.object};
    enum device_status status = DEVICE_OK;
    CUptiResult code = cuptiRangeProfilerStart(&begin);

    if (code != CUPTI_SUCCESS) {
        return cupti_refused(code, err, "cannot start counting");
    }
    for (int i = 0; i < count && status == DEVICE_OK; i++) {
        status = count_call(&calls[i], i, err);
    }
    code = cuptiRangeProfilerStop(&end);
    *last = end.isAllPassSubmitted != 0;
    return status != DEVICE_OK || code == CUPTI_SUCCESS
               ? status
               : cupti_refused(code, err, "cannot stop counting");
}

/* Ranges are found by their names: nobody promises their order. */
static enum device_status decode(enum counter_set set, int calls,
                                 double (*values)[COUNTERS_MAX], struct err *err)
{
    CUpti_RangeProfiler_DecodeData_Params all = {
        .structSize = CUpti_RangeProfiler_DecodeData_Params_STRUCT_SIZE,
        .pRangeProfilerObject = counting.object};
    CUptiResult code = cuptiRangeProfilerDecodeData(&all);
    int found = 0;

    if (code != CUPTI_SUCCESS) {
        return cupti_refused(code, err, "cannot decode what was counted");
    }
    for (int i = 0; i < calls; i++) {
        CUpti_RangeProfiler_CounterData_GetRangeInfo_Params range = {
            .structSize = CUpti_RangeProfiler_CounterData_GetRangeInfo_Params_STRUCT_SIZE,
            .pCounterDataImage = counting.data,
            .counterDataImageSize = counting.data_bytes,
            .rangeIndex = (size_t)i,
            .rangeDelimiter = "/"};
        int call;

        code = cuptiRangeProfilerCounterDataGetRangeInfo(&range);
        call = code == CUPTI_SUCCESS ? atoi(range.rangeName) : -1;
        if (call < 0 || call >= calls ||
            !counter_host_values(counting.hosts[set], counting.data, counting.data_bytes, (size_t)i,
                                 values[call], err)) {
            continue;
        }
        found++;
    }
    if (found < calls) {
        err_set(err, ERR_DEVICE, "%d of %d calls were counted", found, calls);
        return DEVICE_REFUSED;
    }
    return DEVICE_OK;
}

/* Records and counters exclude one another, and the profiler starts only where CUPTI is. */
static enum device_status prepare(enum counter_set set, struct err *err)
{
    CUcontext context = NULL;
    CUdevice device = 0;
    enum device_status status = clocks_arm(err);

    if (status == DEVICE_OK && !clocks_pause(err)) {
        status = DEVICE_LOST;
    }
    if (status == DEVICE_OK) {
        status = cuda_status(cuCtxGetCurrent(&context), err, "cannot tell the context");
    }
    if (status == DEVICE_OK) {
        status = cuda_status(cuCtxGetDevice(&device), err, "cannot tell the device");
    }
    if (status == DEVICE_OK) {
        status = start(device, err);
    }
    if (status == DEVICE_OK && counting.hosts[set] == NULL &&
        !counter_host_open(set, counting.chip, &counting.hosts[set], err)) {
        return DEVICE_REFUSED;
    }
    if (status == DEVICE_OK) {
        status = enable(context, err);
    }
    return status == DEVICE_OK ? configure(set, err) : status;
}

static enum device_status warm(const struct device_count *calls, int count, struct err *err)
{
    enum device_status status = DEVICE_OK;

    for (int i = 0; i < count && status == DEVICE_OK; i++) {
        status = cuda_prepare(calls[i].module, calls[i].plan, err);
        if (status == DEVICE_OK) {
            status = run_call(&calls[i], err);
        }
    }
    return status;
}

/* The profiler's host half opens a library in a way that AddressSanitizer ends a process for. */
#ifdef __SANITIZE_ADDRESS__
bool device_counts(void) { return false; }
#else
bool device_counts(void) { return true; }
#endif

enum device_status device_count(enum counter_set set, const struct device_count *calls, int count,
                                double (*values)[COUNTERS_MAX], struct err *err)
{
    enum device_status status = warm(calls, count, err);
    struct err ignored;
    bool last = false;

    assert(count > 0 && count <= CALLS_MAX);
    if (status == DEVICE_OK) {
        status = prepare(set, err);
    }
    while (status == DEVICE_OK && !last) {
        status = count_pass(calls, count, &last, err);
    }
    if (status == DEVICE_OK) {
        status = decode(set, count, values, err);
    }
    if (!device_is_lost(status)) {
        disable();
    }
    if (!device_is_lost(status) && !clocks_disarm(&ignored)) {
        return cuda_status(CUDA_ERROR_UNKNOWN, err, "CUPTI did not leave the process");
    }
    return status;
}

void counters_close(void)
{
    disable();
    for (int i = 0; i < COUNTER_SETS; i++) {
        counter_host_close(counting.hosts[i]);
        counting.hosts[i] = NULL;
    }
}
