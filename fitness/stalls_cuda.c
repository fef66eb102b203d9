#include <cupti_pcsampling.h>
#include <cupti_result.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/clock.h"
#include "fitness/clocks_cuda.h"
#include "fitness/stalls.h"

/*
 * The sampler needs nothing but that its calls run: no passes, no replay. Like counters it excludes
 * activity records, and leaves the process with CUPTI. CUPTI's threads wake up every so often to
 * carry samples away, and starting and stopping wait for them.
 */
enum {
    REASONS_MAX = 128,
    PCS = 1024, /* read at once */
    PERIOD = 10, /* a sample every 2^10 cycles */
    HARDWARE_BYTES = 64 << 20,
    WAKE_MS = 5,
    SAMPLE_US = 10 * 1000, /* of calls */
    BATCH_US = 1000,
    READS_MAX = 1000,
};

struct sampler {
    CUcontext context;
    size_t reason_count;
    uint32_t reasons[REASONS_MAX];
    int known[REASONS_MAX]; /* by CUPTI's index: stall_find of its name */
    CUpti_PCSamplingPCData *pcs;
    CUpti_PCSamplingStallReason *counts; /* of all pcs, one after another */
    struct stalls *stalls;
};

static enum device_status told(CUptiResult code, struct err *err, const char *what)
{
    return code == CUPTI_SUCCESS ? DEVICE_OK : cupti_refused(code, err, what);
}

static enum device_status turn_on(const struct sampler *sampler, struct err *err)
{
    CUpti_PCSamplingEnableParams params = {.size = CUpti_PCSamplingEnableParamsSize,
                                           .ctx = sampler->context};

    return told(cuptiPCSamplingEnable(&params), err, "cannot sample");
}

static void turn_off(const struct sampler *sampler)
{
    CUpti_PCSamplingDisableParams params = {.size = CUpti_PCSamplingDisableParamsSize,
                                            .ctx = sampler->context};

    cuptiPCSamplingDisable(&params);
}

/* Which of the device's reasons are which of ours. */
static enum device_status learn_reasons(struct sampler *sampler, struct err *err)
{
    static char names[REASONS_MAX][CUPTI_STALL_REASON_STRING_SIZE];
    char *at[REASONS_MAX];
    CUpti_PCSamplingGetNumStallReasonsParams count = {
        .size = CUpti_PCSamplingGetNumStallReasonsParamsSize,
        .ctx = sampler->context,
        .numStallReasons = &sampler->reason_count};
    CUpti_PCSamplingGetStallReasonsParams list = {
        .size = CUpti_PCSamplingGetStallReasonsParamsSize,
        .ctx = sampler->context,
        .stallReasonIndex = sampler->reasons,
        .stallReasons = at};
    CUptiResult code = cuptiPCSamplingGetNumStallReasons(&count);

    if (code == CUPTI_SUCCESS && sampler->reason_count > REASONS_MAX) {
        err_set(err, ERR_DEVICE, "the device tells %zu reasons", sampler->reason_count);
        return DEVICE_REFUSED;
    }
    for (int i = 0; i < REASONS_MAX; i++) {
        at[i] = names[i];
        sampler->known[i] = -1;
    }
    list.numStallReasons = sampler->reason_count;
    if (code == CUPTI_SUCCESS) {
        code = cuptiPCSamplingGetStallReasons(&list);
    }
    for (size_t i = 0; code == CUPTI_SUCCESS && i < sampler->reason_count; i++) {
        if (sampler->reasons[i] < REASONS_MAX) {
            sampler->known[sampler->reasons[i]] = stall_find(names[i]);
        }
    }
    return told(code, err, "cannot tell why warps may wait");
}

static void make_room(struct sampler *sampler)
{
    sampler->pcs = xcalloc(PCS, sizeof *sampler->pcs);
    sampler->counts = xcalloc(PCS * sampler->reason_count, sizeof *sampler->counts);
    for (size_t i = 0; i < PCS; i++) {
        sampler->pcs[i].size = sizeof *sampler->pcs;
        sampler->pcs[i].stallReason = &sampler->counts[i * sampler->reason_count];
    }
}

static CUpti_PCSamplingData data_of(const struct sampler *sampler)
{
    return (CUpti_PCSamplingData){
        .size = sizeof(CUpti_PCSamplingData), .collectNumPcs = PCS, .pPcData = sampler->pcs};
}

/* `last`: what is left when it is turned off goes there, and nobody reads it. */
static enum device_status configure(struct sampler *sampler, CUpti_PCSamplingData *last,
                                    struct err *err)
{
    CUpti_PCSamplingConfigurationInfo infos[] = {
        {.attributeType = CUPTI_PC_SAMPLING_CONFIGURATION_ATTR_TYPE_STALL_REASON,
         .attributeData.stallReasonData = {sampler->reason_count, sampler->reasons}},
        {.attributeType = CUPTI_PC_SAMPLING_CONFIGURATION_ATTR_TYPE_SAMPLING_PERIOD,
         .attributeData.samplingPeriodData = {PERIOD}},
        {.attributeType = CUPTI_PC_SAMPLING_CONFIGURATION_ATTR_TYPE_HARDWARE_BUFFER_SIZE,
         .attributeData.hardwareBufferSizeData = {HARDWARE_BYTES}},
        {.attributeType = CUPTI_PC_SAMPLING_CONFIGURATION_ATTR_TYPE_COLLECTION_MODE,
         .attributeData.collectionModeData = {CUPTI_PC_SAMPLING_COLLECTION_MODE_CONTINUOUS}},
        {.attributeType = CUPTI_PC_SAMPLING_CONFIGURATION_ATTR_TYPE_ENABLE_START_STOP_CONTROL,
         .attributeData.enableStartStopControlData = {1}},
        {.attributeType =
             CUPTI_PC_SAMPLING_CONFIGURATION_ATTR_TYPE_WORKER_THREAD_PERIODIC_SLEEP_SPAN,
         .attributeData.workerThreadPeriodicSleepSpanData = {WAKE_MS}},
        {.attributeType = CUPTI_PC_SAMPLING_CONFIGURATION_ATTR_TYPE_SAMPLING_DATA_BUFFER,
         .attributeData.samplingDataBufferData = {last}},
    };
    CUpti_PCSamplingConfigurationInfoParams params = {
        .size = CUpti_PCSamplingConfigurationInfoParamsSize,
        .ctx = sampler->context,
        .numAttributes = sizeof infos / sizeof *infos,
        .pPCSamplingConfigurationInfo = infos};

    make_room(sampler);
    *last = data_of(sampler);
    return told(cuptiPCSamplingSetConfigurationAttribute(&params), err,
                "cannot configure sampling");
}

static void add_pc(struct sampler *sampler, const CUpti_PCSamplingPCData *pc)
{
    for (size_t i = 0; i < pc->stallReasonCount; i++) {
        uint32_t index = pc->stallReason[i].pcSamplingStallReasonIndex;
        int reason = index < REASONS_MAX ? sampler->known[index] : -1;

        if (reason >= 0 && pc->stallReason[i].samples > 0) {
            stalls_add(sampler->stalls, pc->cubinCrc + pc->functionIndex, pc->pcOffset, reason,
                       pc->stallReason[i].samples);
        }
    }
}

/* Samples that came to nothing are no answer. */
static enum device_status check_read(const struct sampler *sampler, uint64_t all, uint64_t others,
                                     struct err *err)
{
    if (sampler->stalls->count > 0) {
        return DEVICE_OK;
    }
    err_set(err, ERR_DEVICE, "of %llu samples, %llu in other kernels, no place is known",
            (unsigned long long)all, (unsigned long long)others);
    return DEVICE_REFUSED;
}

/*
 * Functions' names come with the records, for the reader to free after the last use. But a name is
 * shared among reads, with what is told when the sampler is turned off, and with activity records:
 * a kernel of more than PCS instructions had its name freed twice. They stay; few processes sample
 * more than once before they end.
 */
static enum device_status read_all(struct sampler *sampler, struct err *err)
{
    CUpti_PCSamplingData data = {.remainingNumPcs = 1};
    uint64_t all = 0, others = 0;

    for (int i = 0; i < READS_MAX && data.remainingNumPcs > 0; i++) {
        CUpti_PCSamplingGetDataParams params = {.size = CUpti_PCSamplingGetDataParamsSize,
                                                .ctx = sampler->context,
                                                .pcSamplingData = &data};
        enum device_status status;

        data = data_of(sampler);
        status = told(cuptiPCSamplingGetData(&params), err, "cannot read samples");
        if (status != DEVICE_OK) {
            return status;
        }
        for (size_t k = 0; k < data.totalNumPcs && k < PCS; k++) {
            add_pc(sampler, &sampler->pcs[k]);
        }
        all += data.totalSamples;
        others += data.nonUsrKernelsTotalSamples;
    }
    return check_read(sampler, all, others, err);
}

/* Calls back to back, for SAMPLE_US. */
static enum device_status run_calls(const struct device_count *call, struct err *err)
{
    int64_t start = clock_now_us();
    int calls = 1;

    while (clock_now_us() - start < SAMPLE_US) {
        int64_t began = clock_now_us();
        enum device_status status = DEVICE_OK;

        cuda_busy_begin();
        for (int i = 0; i < calls && status == DEVICE_OK; i++) {
            status = cuda_enqueue_call(call->module, call->plan, call->set, err);
        }
        status = cuda_settle(status, err);
        if (status != DEVICE_OK) {
            return status;
        }
        calls = clamp((double)calls * BATCH_US / (double)(clock_now_us() - began + 1), 1, 256);
    }
    return DEVICE_OK;
}

/* What was started is stopped, whatever the calls do. */
static enum device_status sample_calls(struct sampler *sampler, const struct device_count *call,
                                       struct err *err)
{
    CUpti_PCSamplingStartParams begin = {.size = CUpti_PCSamplingStartParamsSize,
                                         .ctx = sampler->context};
    CUpti_PCSamplingStopParams end = {.size = CUpti_PCSamplingStopParamsSize,
                                      .ctx = sampler->context};
    enum device_status status = told(cuptiPCSamplingStart(&begin), err, "cannot start sampling");
    CUptiResult code;

    if (status != DEVICE_OK) {
        return status;
    }
    status = run_calls(call, err);
    if (device_is_lost(status)) {
        return status;
    }
    code = cuptiPCSamplingStop(&end);
    if (status == DEVICE_OK) {
        status = told(code, err, "cannot stop sampling");
    }
    return status == DEVICE_OK ? read_all(sampler, err) : status;
}

static enum device_status sample(struct sampler *sampler, const struct device_count *call,
                                 struct err *err)
{
    CUpti_PCSamplingData last;
    enum device_status status = turn_on(sampler, err);

    if (status != DEVICE_OK) {
        return status;
    }
    status = learn_reasons(sampler, err);
    if (status == DEVICE_OK) {
        status = configure(sampler, &last, err);
    }
    if (status == DEVICE_OK) {
        status = sample_calls(sampler, call, err);
    }
    if (!device_is_lost(status)) {
        turn_off(sampler);
    }
    return status;
}

enum device_status device_sample(const struct device_count *call, struct stalls *stalls,
                                 struct err *err)
{
    struct sampler sampler = {.stalls = stalls};
    enum device_status status = clocks_arm(err);
    struct err ignored;

    if (status == DEVICE_OK) { /* of what was loaded before CUPTI came, it knows no places */
        status = cuda_module_reload(call->module, err);
    }
    if (status == DEVICE_OK) {
        status = cuda_prepare(call->module, call->plan, err);
    }
    if (status == DEVICE_OK && !clocks_pause(err)) {
        status = DEVICE_LOST;
    }
    if (status == DEVICE_OK) {
        status = cuda_status(cuCtxGetCurrent(&sampler.context), err, "cannot tell the context");
    }
    if (status == DEVICE_OK) {
        status = sample(&sampler, call, err);
    }
    if (!device_is_lost(status) && !clocks_disarm(&ignored)) {
        status = cuda_status(CUDA_ERROR_UNKNOWN, err, "CUPTI did not leave the process");
    }
    free(sampler.pcs);
    free(sampler.counts);
    return status;
}
