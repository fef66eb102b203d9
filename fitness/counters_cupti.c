#include "fitness/counters_cupti.h"

#include <cupti_profiler_host.h>
#include <cupti_result.h>
#include <math.h>
#include <stdlib.h>

#include "base/arena.h"

struct counter_host {
    CUpti_Profiler_Host_Object *object;
    const char *names[COUNTERS_MAX];
    size_t count;
    uint8_t *config;
    size_t config_bytes;
    size_t passes;
};

bool counter_error(int code, struct err *err, const char *what)
{
    const char *name = NULL;

    cuptiGetResultString((CUptiResult)code, &name);
    return err_set(err, ERR_DEVICE, "%s: %s (%d)", what, name != NULL ? name : "an unknown error",
                   code);
}

/* No step after one that failed: CUPTI crashes on an empty configuration. */
static bool configure(struct counter_host *host, struct err *err)
{
    CUpti_Profiler_Host_ConfigAddMetrics_Params add = {
        .structSize = CUpti_Profiler_Host_ConfigAddMetrics_Params_STRUCT_SIZE,
        .pHostObject = host->object,
        .ppMetricNames = host->names,
        .numMetrics = host->count};
    CUpti_Profiler_Host_GetConfigImageSize_Params size = {
        .structSize = CUpti_Profiler_Host_GetConfigImageSize_Params_STRUCT_SIZE,
        .pHostObject = host->object};
    CUpti_Profiler_Host_GetConfigImage_Params image = {
        .structSize = CUpti_Profiler_Host_GetConfigImage_Params_STRUCT_SIZE,
        .pHostObject = host->object};
    CUpti_Profiler_Host_GetNumOfPasses_Params passes = {
        .structSize = CUpti_Profiler_Host_GetNumOfPasses_Params_STRUCT_SIZE};
    CUptiResult code = cuptiProfilerHostConfigAddMetrics(&add);

    if (code == CUPTI_SUCCESS) {
        code = cuptiProfilerHostGetConfigImageSize(&size);
    }
    if (code == CUPTI_SUCCESS) {
        host->config_bytes = image.configImageSize = passes.configImageSize = size.configImageSize;
        host->config = image.pConfigImage = passes.pConfigImage = xmalloc(host->config_bytes);
        code = cuptiProfilerHostGetConfigImage(&image);
    }
    if (code == CUPTI_SUCCESS) {
        code = cuptiProfilerHostGetNumOfPasses(&passes);
    }
    host->passes = passes.numOfPasses;
    return code == CUPTI_SUCCESS || counter_error(code, err, "cannot configure counters");
}

bool counter_host_open(enum counter_set set, const char *chip, struct counter_host **host,
                       struct err *err)
{
    struct counter_host *opening = xcalloc(1, sizeof *opening);
    CUpti_Profiler_Host_Initialize_Params start = {
        .structSize = CUpti_Profiler_Host_Initialize_Params_STRUCT_SIZE,
        .profilerType = CUPTI_PROFILER_TYPE_RANGE_PROFILER,
        .pChipName = chip};
    CUptiResult code = cuptiProfilerHostInitialize(&start);
    const struct counter *table;
    int count;

    *host = NULL;
    if (code != CUPTI_SUCCESS) {
        free(opening);
        return counter_error(code, err, "cannot prepare counters of this chip");
    }
    opening->object = start.pHostObject;
    table = counters_of(set, &count);
    for (int i = 0; i < count; i++) {
        opening->names[i] = table[i].name;
    }
    opening->count = (size_t)count;
    if (!configure(opening, err)) {
        counter_host_close(opening);
        return false;
    }
    *host = opening;
    return true;
}

void counter_host_close(struct counter_host *host)
{
    if (host != NULL) {
        CUpti_Profiler_Host_Deinitialize_Params end = {
            .structSize = CUpti_Profiler_Host_Deinitialize_Params_STRUCT_SIZE,
            .pHostObject = host->object};

        cuptiProfilerHostDeinitialize(&end);
        free(host->config);
        free(host);
    }
}

int counter_host_passes(const struct counter_host *host) { return (int)host->passes; }

const uint8_t *counter_host_config(const struct counter_host *host, size_t *bytes)
{
    *bytes = host->config_bytes;
    return host->config;
}

const char *const *counter_host_names(const struct counter_host *host, size_t *count)
{
    *count = host->count;
    return host->names;
}

bool counter_host_values(const struct counter_host *host, const uint8_t *data, size_t bytes,
                         size_t range, double values[COUNTERS_MAX], struct err *err)
{
    CUpti_Profiler_Host_EvaluateToGpuValues_Params evaluate = {
        .structSize = CUpti_Profiler_Host_EvaluateToGpuValues_Params_STRUCT_SIZE,
        .pHostObject = host->object,
        .pCounterDataImage = data,
        .counterDataImageSize = bytes,
        .rangeIndex = range,
        .ppMetricNames = (const char **)host->names,
        .numMetrics = host->count,
        .pMetricValues = values};
    CUptiResult code = cuptiProfilerHostEvaluateToGpuValues(&evaluate);

    for (size_t i = 0; i < host->count; i++) {
        values[i] = code == CUPTI_SUCCESS && isfinite(values[i]) ? values[i] : NAN;
    }
    return code == CUPTI_SUCCESS || counter_error(code, err, "cannot read what was counted");
}
