#include <assert.h>
#include <cupti.h>
#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "fitness/device_cuda.h"
#include "fitness/score.h"

/* The protocol; docs/MEASURING.md gives the reasons. */
enum {
    WARM_US = 50 * 1000,        /* busy this long, and */
    WARM_LAUNCHES = 10,         /* own calls at least, but */
    WARM_LIMIT_US = 200 * 1000, /* no longer than this (and two calls), for very slow programs */
    WARM_QUICK_US = 5 * 1000,   /* enough to tell a program that is slower by quick_margin */
    QUICK_SAMPLES = 8,          /* five could not bound a median at 95 % */
    SAMPLES_MIN = 50,
    SAMPLES_MIN_SHORT = 200, /* where a tick of the clock is a visible part of the time: */
    SHORT_US = 20,
    SAMPLES_STEP = 32,
    SAMPLES_CUT_SHORT = 3, /* fewer than this not even the cap allows */
    BATCH_US = 5000,       /* device time of a batch */
    BATCH_OPS = 160,       /* far below the 1024 launches that the driver's queue takes */
    BATCH_TRIES = 3,
    CALLS_MAX = 512, /* enqueued without a hold, where a full queue only waits */
    LEAD_CALLS = 2,  /* run first in each batch, not counted: caches as they are among equals */
    LEAD_BELOW_US = 1000,
    GRAPH_US = 200, /* a graph lasts about this long, or is one call */
    GRAPH_CALLS_MAX = 50,
    GRAPH_LEAD_US = 2000, /* untimed replays before the timed ones */
    REPLAYS_MAX = 10,
    REPLAYS_MIN = 3,
    SENSOR_US = 5000,
    COOLING_TRIES = 4, /* waits of 1, 2, 4 s between them */
    FLUSH_TRIES = 20,
    ACTIVITY_BUFFER_BYTES = 1 << 20,
    MEASURES_MAX = 2000, /* then the process is worn: CUPTI grows, and its times have gone bad */
    POISONS_MAX = 2 + PROGRAM_WORKSPACES_MAX,
    OPS_MAX = POISONS_MAX + PROGRAM_WORKSPACES_MAX + PROGRAM_KERNELS_MAX,
};
static const double interval_goal = 0.005; /* half of it, relative */
static const double quick_margin = 1.1;    /* a rested device was seen to lose up to 7 % */
static const double record_tick_us = 0.032;

/* Activity records --------------------------------------------------------------------------- */

/* One thing that the device did. */
struct record {
    enum { RECORD_KERNEL, RECORD_MEMSET, RECORD_HOLD } kind;
    uint32_t correlation;
    uint64_t start_ns, end_ns;
    uint64_t bytes; /* of a memset */
    int32_t grid[3], threads;
};

/* Filled by CUPTI's threads while `keep`, hence the lock. */
static struct {
    pthread_mutex_t lock;
    struct record *list;
    size_t count, room;
    bool keep;

    bool on; /* from here on: the judge's thread only */
    bool worn;
    int measures;
} activity = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void CUPTIAPI buffer_request(uint8_t **buffer, size_t *size, size_t *records_max)
{
    *buffer = aligned_alloc(8, ACTIVITY_BUFFER_BYTES);
    *size = *buffer == NULL ? 0 : ACTIVITY_BUFFER_BYTES;
    *records_max = 0;
}

static bool record_read(const CUpti_Activity *from, struct record *record)
{
    if (from->kind == CUPTI_ACTIVITY_KIND_MEMSET) {
        const CUpti_ActivityMemset4 *memset_ = (const void *)from;

        *record = (struct record){
            .kind = RECORD_MEMSET,
            .correlation = memset_->correlationId,
            .start_ns = memset_->start,
            .end_ns = memset_->end,
            .bytes = memset_->bytes,
        };
        return true;
    }
    if (from->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) {
        const CUpti_ActivityKernel10 *kernel = (const void *)from;
        bool hold = kernel->name != NULL && strcmp(kernel->name, CUDA_HOLD_NAME) == 0;

        *record = (struct record){
            .kind = hold ? RECORD_HOLD : RECORD_KERNEL,
            .correlation = kernel->correlationId,
            .start_ns = kernel->start,
            .end_ns = kernel->end,
            .grid = {kernel->gridX, kernel->gridY, kernel->gridZ},
            .threads = kernel->blockX,
        };
        return true;
    }
    return false;
}

static void CUPTIAPI buffer_done(CUcontext context, uint32_t stream, uint8_t *buffer, size_t size,
                                 size_t valid)
{
    CUpti_Activity *next = NULL;
    struct record record;

    (void)context, (void)stream, (void)size;
    pthread_mutex_lock(&activity.lock);
    while (activity.keep && valid > 0 &&
           cuptiActivityGetNextRecord(buffer, valid, &next) == CUPTI_SUCCESS) {
        if (!record_read(next, &record)) {
            continue;
        }
        if (activity.count == activity.room) {
            activity.room = activity.room == 0 ? 1024 : activity.room * 2;
            activity.list = xrealloc(activity.list, activity.room * sizeof *activity.list);
        }
        activity.list[activity.count++] = record;
    }
    pthread_mutex_unlock(&activity.lock);
    free(buffer);
}

static bool cupti_ok(CUptiResult code, struct err *err, const char *what)
{
    const char *text = NULL;

    if (code == CUPTI_SUCCESS) {
        return true;
    }
    cuptiGetResultString(code, &text);
    err_set(err, ERR_DEVICE, "%s: %s (%d)", what, text ? text : "an unknown CUPTI error",
            (int)code);
    if (code == CUPTI_ERROR_INSUFFICIENT_PRIVILEGES) {
        return err_hint(err, "run as root, or load the nvidia module with "
                             "NVreg_RestrictProfilingToAdminUsers=0");
    }
    return err_hint(err, "another profiler or debugger may own this process: kernels can be timed "
                         "only without one");
}

unsigned clocks_version(void)
{
    uint32_t version = 0;

    return cuptiGetVersion(&version) == CUPTI_SUCCESS ? version : 0;
}

enum device_status clocks_arm(struct err *err)
{
    if (activity.on) {
        return DEVICE_OK;
    }
    if (clocks_version() / 10000 != CUPTI_API_VERSION / 10000) { /* records have another layout */
        err_set(err, ERR_DEVICE, "libcupti is version %u, this program was built for %d",
                clocks_version(), CUPTI_API_VERSION);
        return DEVICE_LOST;
    }
    if (!cupti_ok(cuptiActivityRegisterCallbacks(buffer_request, buffer_done), err,
                  "cannot receive activity records") ||
        !cupti_ok(cuptiActivityEnable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL), err,
                  "cannot record kernels") ||
        !cupti_ok(cuptiActivityEnable(CUPTI_ACTIVITY_KIND_MEMSET), err, "cannot record memsets")) {
        return DEVICE_LOST;
    }
    activity.on = true;
    return cuda_own_reload(err);
}

/* Takes CUPTI out of the process: while it is in, graphs run slower. The stream must be idle. */
static bool clocks_disarm(struct err *err)
{
    if (!activity.on) {
        return true;
    }
    activity.on = false;
    return cupti_ok(cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED), err,
                    "cannot flush activity records") &&
           cupti_ok(cuptiActivityDisable(CUPTI_ACTIVITY_KIND_MEMSET), err,
                    "cannot stop recording") &&
           cupti_ok(cuptiActivityDisable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL), err,
                    "cannot stop recording") &&
           cupti_ok(cuptiFinalize(), err, "cannot detach CUPTI");
}

void clocks_close(void)
{
    struct err ignored;

    pthread_mutex_lock(&activity.lock);
    activity.keep = false;
    free(activity.list);
    activity.list = NULL;
    activity.count = activity.room = 0;
    pthread_mutex_unlock(&activity.lock);
    clocks_disarm(&ignored);
}

/* The last warms up, the others rotate; each costs one check of its output. */
int device_sets(void) { return 4; }

bool device_is_worn(void) { return activity.worn || activity.measures >= MEASURES_MAX; }

static void records_keep(bool keep)
{
    pthread_mutex_lock(&activity.lock);
    activity.keep = keep;
    activity.count = 0;
    pthread_mutex_unlock(&activity.lock);
}

static int by_correlation(const void *a, const void *b)
{
    uint32_t x = ((const struct record *)a)->correlation;
    uint32_t y = ((const struct record *)b)->correlation;

    return (x > y) - (x < y);
}

/*
 * The records of the newest batch, which begins with its hold, in the order of launches:
 * correlation ids count launches up. NULL when there is no hold. Under the lock.
 */
static const struct record *records_of_batch(size_t *count)
{
    size_t first;

    qsort(activity.list, activity.count, sizeof *activity.list, by_correlation);
    for (first = activity.count; first > 0; first--) {
        if (activity.list[first - 1].kind == RECORD_HOLD) {
            *count = activity.count - (first - 1);
            return &activity.list[first - 1];
        }
    }
    *count = 0;
    return NULL;
}

/* Asks CUPTI until all records of a batch are there; its last try takes unfinished ones too. */
static const struct record *records_collect(size_t expected, size_t *count, struct err *err)
{
    const struct timespec pause = {.tv_nsec = 200 * 1000};
    const struct record *batch = NULL;
    bool complete = false;
    size_t dropped = 0;

    for (int try = 0; try <= FLUSH_TRIES; try++) {
        uint32_t flag = try == FLUSH_TRIES ? CUPTI_ACTIVITY_FLAG_FLUSH_FORCED : 0;

        if (!cupti_ok(cuptiActivityFlushAll(flag), err, "cannot flush activity records")) {
            return NULL;
        }
        pthread_mutex_lock(&activity.lock);
        batch = records_of_batch(count);
        complete = batch != NULL && *count >= expected;
        activity.keep = !complete; /* from here on nothing moves the list */
        pthread_mutex_unlock(&activity.lock);
        if (complete) {
            break;
        }
        nanosleep(&pause, NULL);
    }
    if (cuptiActivityGetNumDroppedRecords(NULL, 0, &dropped) == CUPTI_SUCCESS && dropped > 0) {
        err_set(err, ERR_DEVICE, "CUPTI dropped %zu activity records", dropped);
        return NULL;
    }
    if (!complete || *count != expected) {
        err_set(err, ERR_DEVICE, "%zu operations were launched, CUPTI recorded %zu", expected,
                *count);
        return NULL;
    }
    return batch;
}

/* Sensors (NVML) ----------------------------------------------------------------------------- */

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
enum { NVML_TYPE_UINT = 1 };
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

static void sensors_read(struct measured *measured)
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
}

static bool overheated(const struct measured *measured)
{
    return (measured->throttle_reasons &
            (THROTTLE_HW_SLOWDOWN | THROTTLE_SW_THERMAL | THROTTLE_HW_THERMAL)) != 0;
}

/* Sampling ----------------------------------------------------------------------------------- */

/* What one call with its poison does on the device, in order; the poison comes first. */
struct op {
    bool is_memset;
    enum { OP_POISON_O, OP_POISON_LSE, OP_POISON_WORKSPACE, OP_CALL } role;
    int workspace;
    int64_t bytes;
    const struct plan_kernel *kernel;
};

struct sampler {
    const struct measure_request *request;
    struct op ops[OPS_MAX];
    int op_count, poison_count;
    int rotation;   /* sets that are sampled; with three or more the last one is for warming up */
    int warmed;     /* calls made to warm up so far */
    int64_t calls;  /* enqueued for samples so far */
    double call_us; /* of the device, poison included: an estimate */
    double sampled_us;
    int count;
    double spans_us[JOB_SAMPLES_MAX];
};

static void add_memset(struct sampler *sampler, int role, int workspace, int64_t bytes)
{
    if (bytes > 0) {
        sampler->ops[sampler->op_count++] =
            (struct op){.is_memset = true, .role = role, .workspace = workspace, .bytes = bytes};
    }
}

static void sampler_init(struct sampler *sampler, const struct measure_request *request)
{
    const struct problem_args *problem = &request->sets[0].problem;
    int64_t rows = (int64_t)problem->batch * problem->heads * problem->q_len;
    const struct plan *plan = request->plan;

    memset(sampler, 0, sizeof *sampler);
    sampler->request = request;
    sampler->rotation = request->set_count >= 3 ? request->set_count - 1 : request->set_count;
    add_memset(sampler, OP_POISON_O, 0, rows * problem->head_dim * 2); /* both dtypes: two bytes */
    add_memset(sampler, OP_POISON_LSE, 0, request->sets[0].lse != 0 ? rows * 4 : 0);
    for (int i = 0; i < plan->workspace_count; i++) {
        if (plan->workspaces[i].kind == WORKSPACE_POISON) {
            add_memset(sampler, OP_POISON_WORKSPACE, i, plan->workspaces[i].bytes);
        }
    }
    sampler->poison_count = sampler->op_count;
    for (int i = 0; i < plan->workspace_count; i++) { /* as cuda_enqueue_call does it */
        if (plan->workspaces[i].kind == WORKSPACE_ZERO_CALL) {
            add_memset(sampler, OP_CALL, i, plan->workspaces[i].bytes);
        }
    }
    for (int i = 0; i < plan->kernel_count; i++) {
        sampler->ops[sampler->op_count++] =
            (struct op){.role = OP_CALL, .kernel = &plan->kernels[i]};
    }
}

/*
 * One call as it is sampled: what it must write is poisoned first, so that a program which leaves
 * an answer of an earlier call in place, or keeps one in its workspace, gains nothing while it is
 * timed.
 */
static enum device_status enqueue_poisoned(const struct sampler *sampler,
                                           const struct device_buffers *set, uint8_t poison,
                                           struct err *err)
{
    enum device_status status = DEVICE_OK;

    for (int i = 0; status == DEVICE_OK && i < sampler->poison_count; i++) {
        const struct op *op = &sampler->ops[i];
        device_ptr at = op->role == OP_POISON_O     ? set->o
                        : op->role == OP_POISON_LSE ? set->lse
                                                    : set->workspaces[op->workspace];

        status = cuda_enqueue_memset(at, poison, op->bytes, err);
    }
    if (status == DEVICE_OK) {
        status = cuda_enqueue_call(sampler->request->module, sampler->request->plan, set, err);
    }
    return status;
}

/* Bytes that read as NaN, and as a finite number that no answer comes near, round by round. */
static uint8_t poison_of(const struct sampler *sampler, int64_t call)
{
    return call / sampler->rotation % 2 == 0 ? 0xff : 0x7b;
}

static const struct device_buffers *warm_set(const struct sampler *sampler)
{
    return &sampler->request->sets[sampler->request->set_count - 1];
}

static int clamp(double value, int low, int high)
{
    return value < low ? low : value > high ? high : (int)value;
}

static enum device_status enqueue_unsampled(struct sampler *sampler, int calls, struct err *err)
{
    enum device_status status = DEVICE_OK;

    for (int i = 0; status == DEVICE_OK && i < calls; i++) {
        status = enqueue_poisoned(sampler, warm_set(sampler), poison_of(sampler, i), err);
    }
    return status;
}

/* Never looks at how the times spread, only at how long it has lasted. */
static enum device_status warm_up(struct sampler *sampler, int64_t enough_us, struct err *err)
{
    int64_t spent_us = 0;
    int calls = 1;

    for (;;) {
        int64_t start_us = clock_now_us(), took_us;
        enum device_status status;

        cuda_busy_begin();
        status = cuda_settle(enqueue_unsampled(sampler, calls, err), err);
        if (status != DEVICE_OK) {
            return status;
        }
        took_us = clock_now_us() - start_us;
        spent_us += took_us;
        sampler->warmed += calls;
        sampler->call_us = (double)(took_us > 0 ? took_us : 1) / calls;
        if ((cuda_busy_us() >= enough_us && sampler->warmed >= WARM_LAUNCHES) ||
            (spent_us >= WARM_LIMIT_US && sampler->warmed >= 2)) {
            return DEVICE_OK;
        }
        calls = clamp(BATCH_US / sampler->call_us, 1, CALLS_MAX);
    }
}

/* Is this record what the operation must have left? */
static bool record_fits(const struct record *record, const struct op *op)
{
    if (op->is_memset) {
        return record->kind == RECORD_MEMSET && record->bytes == (uint64_t)op->bytes;
    }
    return record->kind == RECORD_KERNEL && record->threads == (int32_t)op->kernel->threads &&
           record->grid[0] == (int32_t)op->kernel->grid[0] &&
           record->grid[1] == (int32_t)op->kernel->grid[1] &&
           record->grid[2] == (int32_t)op->kernel->grid[2];
}

/* Checks a batch's records against what was launched. */
static bool check_batch(const struct sampler *sampler, const struct record *batch, size_t count,
                        struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct record *record = &batch[i];
        size_t at = (i - 1) % (size_t)sampler->op_count; /* of the hold: not used */

        /* What is set in less than a tick of the clock ends when it began. */
        if (record->start_ns == 0 || record->end_ns < record->start_ns ||
            (record->end_ns == record->start_ns && record->kind != RECORD_MEMSET)) {
            return err_set(err, ERR_DEVICE, "activity record %zu of %zu has no time", i + 1, count);
        }
        if (i > 0 && (record->correlation == batch[i - 1].correlation ||
                      record->start_ns < batch[i - 1].start_ns)) {
            return err_set(err, ERR_DEVICE, "activity record %zu of %zu is out of order", i + 1,
                           count);
        }
        if (i > 0 && !record_fits(record, &sampler->ops[at])) {
            return err_set(err, ERR_DEVICE, "activity record %zu of %zu is not what was launched",
                           i + 1, count);
        }
    }
    return true;
}

/* Appends the spans of `calls` calls, whose records (poison included) begin at `record`. */
static void take_spans(struct sampler *sampler, const struct record *record, int calls)
{
    const struct record *first = record;
    size_t ops = (size_t)sampler->op_count, poison = (size_t)sampler->poison_count;

    for (int i = 0; i < calls; i++, record += ops) {
        uint64_t end_ns = 0;

        for (size_t j = poison; j < ops; j++) {
            end_ns = record[j].end_ns > end_ns ? record[j].end_ns : end_ns;
        }
        sampler->spans_us[sampler->count++] = (double)(end_ns - record[poison].start_ns) / 1000;
    }
    sampler->call_us = (double)(record[-1].end_ns - first->start_ns) / 1000 / calls;
    sampler->sampled_us += sampler->call_us * calls;
}

static enum device_status enqueue_batch(struct sampler *sampler, int lead, int calls,
                                        struct err *err)
{
    enum device_status status = enqueue_unsampled(sampler, lead, err);

    for (int i = 0; status == DEVICE_OK && i < calls; i++, sampler->calls++) {
        const struct device_buffers *set =
            &sampler->request->sets[sampler->calls % sampler->rotation];

        status = enqueue_poisoned(sampler, set, poison_of(sampler, sampler->calls), err);
    }
    return status;
}

/* Enqueues a batch behind a hold, so that it runs without waiting for the host, and waits. */
static enum device_status run_batch(struct sampler *sampler, int lead, int calls, struct err *err)
{
    enum device_status status;

    records_keep(true);
    cuda_busy_begin();
    status = cuda_hold(err);
    if (status == DEVICE_OK) {
        status = enqueue_batch(sampler, lead, calls, err);
    }
    cuda_release();
    return cuda_settle(status, err);
}

static enum device_status sample_batch(struct sampler *sampler, int calls, struct err *err)
{
    int lead = sampler->call_us < LEAD_BELOW_US ? LEAD_CALLS : 0;
    size_t expected = 1 + (size_t)(lead + calls) * (size_t)sampler->op_count, count;

    for (int try = 0; try < BATCH_TRIES; try++) {
        enum device_status status = run_batch(sampler, lead, calls, err);
        const struct record *batch;

        if (status != DEVICE_OK) {
            return status;
        }
        batch = records_collect(expected, &count, err);
        if (batch == NULL || !check_batch(sampler, batch, count, err)) {
            return DEVICE_LOST;
        }
        if (batch[0].end_ns - batch[0].start_ns < CUDA_HOLD_LIMIT_NS) {
            take_spans(sampler, batch + 1 + lead * sampler->op_count, calls);
            return DEVICE_OK;
        }
        /* The hold gave up first, so the device may have waited for the host: set aside. */
    }
    err_set(err, ERR_DEVICE, "the host could not enqueue %d calls in %d ms", lead + calls,
            CUDA_HOLD_LIMIT_NS / 1000000);
    return DEVICE_LOST;
}

static int samples_wanted(const struct sampler *sampler, const struct score *score)
{
    return score->us < SHORT_US && sampler->count > 0 ? SAMPLES_MIN_SHORT : SAMPLES_MIN;
}

static int batch_calls(const struct sampler *sampler)
{
    struct score score = {.us = HUGE_VAL};
    int missing, fit = BATCH_OPS / sampler->op_count - LEAD_CALLS;

    score_of_samples(sampler->spans_us, sampler->count, 0, &score);
    missing = samples_wanted(sampler, &score) - sampler->count;
    missing = sampler->count < QUICK_SAMPLES ? QUICK_SAMPLES - sampler->count
              : missing > 0                  ? missing
                                             : SAMPLES_STEP;
    missing =
        missing < JOB_SAMPLES_MAX - sampler->count ? missing : JOB_SAMPLES_MAX - sampler->count;
    missing = missing < fit ? missing : fit;
    return clamp(BATCH_US / sampler->call_us, 1, missing > 1 ? missing : 1);
}

/* The stopping rule. The tick is no part of it: more samples would not make it smaller. */
static bool sampled_enough(const struct sampler *sampler)
{
    struct score score;

    if (sampler->count == JOB_SAMPLES_MAX ||
        (sampler->sampled_us >= sampler->request->cap_ms * 1000 &&
         sampler->count >= SAMPLES_CUT_SHORT)) {
        return true;
    }
    return sampler->count >= SAMPLES_MIN &&
           score_of_samples(sampler->spans_us, sampler->count, 0, &score) &&
           sampler->count >= samples_wanted(sampler, &score) &&
           fmax(score.high - score.us, score.us - score.low) <= interval_goal * score.us;
}

/* All of the first eight above the bound: the median is not, with probability 1/256 at most. */
static bool surely_slower(const struct sampler *sampler, double bound_us)
{
    for (int i = 0; i < sampler->count; i++) {
        if (sampler->spans_us[i] <= bound_us) {
            return false;
        }
    }
    return bound_us > 0 && sampler->count >= QUICK_SAMPLES;
}

static enum device_status sample_first(struct sampler *sampler, double bound_us, bool *quick,
                                       struct err *err)
{
    sampler->count = 0;
    sampler->sampled_us = 0;
    do {
        enum device_status status = sample_batch(sampler, batch_calls(sampler), err);

        if (status != DEVICE_OK) {
            return status;
        }
    } while (sampler->count < QUICK_SAMPLES && !sampled_enough(sampler));
    *quick = surely_slower(sampler, bound_us);
    return DEVICE_OK;
}

static enum device_status sample(struct sampler *sampler, bool *quick, struct err *err)
{
    enum device_status status = sample_first(sampler, sampler->request->bound_us, quick, err);

    while (status == DEVICE_OK && !*quick && !sampled_enough(sampler)) {
        status = sample_batch(sampler, batch_calls(sampler), err);
    }
    return status;
}

/* Most candidates are far from the bound: those need no warm device to be told. */
static enum device_status sample_rested(struct sampler *sampler, bool *quick, struct err *err)
{
    enum device_status status;

    if (sampler->request->bound_us <= 0) {
        return DEVICE_OK;
    }
    status = warm_up(sampler, WARM_QUICK_US, err);
    return status != DEVICE_OK
               ? status
               : sample_first(sampler, sampler->request->bound_us * quick_margin, quick, err);
}

/* Reads the sensors while calls run, after the samples: reading may disturb the device. */
static enum device_status sense(struct sampler *sampler, struct measured *measured, struct err *err)
{
    enum device_status status;

    records_keep(false);
    cuda_busy_begin();
    status = enqueue_unsampled(sampler, clamp(SENSOR_US / sampler->call_us, 1, CALLS_MAX), err);
    sensors_read(measured);
    return cuda_settle(status, err);
}

/* Clock 1. Samples taken under thermal slowdown are set aside, and taken again when it is over. */
static enum device_status measure_spans(struct sampler *sampler, struct measured *measured,
                                        struct err *err)
{
    enum device_status status = sample_rested(sampler, &measured->timing.quick, err);

    if (status != DEVICE_OK || measured->timing.quick) {
        return status;
    }
    for (int try = 0; try < COOLING_TRIES; try++) {
        const struct timespec cooling = {.tv_sec = (time_t)1 << try};

        status = warm_up(sampler, WARM_US, err);
        if (status == DEVICE_OK) {
            status = sample(sampler, &measured->timing.quick, err);
        }
        if (status != DEVICE_OK || measured->timing.quick) {
            return status;
        }
        status = sense(sampler, measured, err);
        if (status != DEVICE_OK || !overheated(measured)) {
            return status;
        }
        if (try + 1 < COOLING_TRIES) {
            nanosleep(&cooling, NULL);
        }
    }
    err_set(err, ERR_DEVICE, "the device stays in thermal slowdown (throttle reasons 0x%llx)",
            (unsigned long long)measured->throttle_reasons);
    err_hint(err, "let it cool, or look after its fans; times taken now would mean nothing");
    return DEVICE_LOST;
}

/* Clock 2 ------------------------------------------------------------------------------------ */

static enum device_status capture(const struct sampler *sampler, int calls, CUgraphExec *exec,
                                  struct err *err)
{
    const struct measure_request *request = sampler->request;
    CUgraph graph = NULL;
    CUresult code = cuStreamBeginCapture(cuda_stream(), CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
    enum device_status status = cuda_status(code, err, "cannot begin a graph");

    if (status != DEVICE_OK) {
        return status;
    }
    for (int i = 0; status == DEVICE_OK && i < calls; i++) {
        status = cuda_enqueue_call(request->module, request->plan,
                                   &request->sets[i % sampler->rotation], err);
    }
    code = cuStreamEndCapture(cuda_stream(), &graph);
    if (status == DEVICE_OK) {
        status = cuda_status(code, err, "cannot end a graph");
    }
    if (status == DEVICE_OK) {
        status = cuda_status(cuGraphInstantiate(exec, graph, 0), err, "cannot make a graph");
    }
    if (graph != NULL) {
        cuGraphDestroy(graph);
    }
    return status;
}

/* Lead-in replays, then an event before and after each timed one, all enqueued at once. */
static CUresult replay(CUgraphExec exec, int lead, int replays, CUevent *events)
{
    CUresult code = CUDA_SUCCESS;

    for (int i = 0; code == CUDA_SUCCESS && i < lead; i++) {
        code = cuGraphLaunch(exec, cuda_stream());
    }
    for (int i = 0; code == CUDA_SUCCESS && i <= replays; i++) {
        code = cuEventRecord(events[i], cuda_stream());
        if (code == CUDA_SUCCESS && i < replays) {
            code = cuGraphLaunch(exec, cuda_stream());
        }
    }
    return code;
}

static enum device_status time_graph(const struct sampler *sampler, CUgraphExec exec, int calls,
                                     double call_us, struct timing *timing, struct err *err)
{
    CUevent events[REPLAYS_MAX + 1] = {NULL};
    int lead = clamp(ceil(GRAPH_LEAD_US / (calls * call_us)), 1, 20);
    int replays =
        clamp(sampler->request->cap_ms * 1000 / 2 / (calls * call_us), REPLAYS_MIN, REPLAYS_MAX);
    CUresult code = CUDA_SUCCESS;
    enum device_status status;

    for (int i = 0; code == CUDA_SUCCESS && i <= replays; i++) {
        code = cuEventCreate(&events[i], CU_EVENT_DEFAULT);
    }
    cuda_busy_begin();
    if (code == CUDA_SUCCESS) {
        code = replay(exec, lead, replays, events);
    }
    status = cuda_status(code, err, "cannot replay a graph");
    status = cuda_settle(status, err);
    for (int i = 0; status == DEVICE_OK && i < replays; i++) {
        float ms = 0;

        status = cuda_status(cuEventElapsedTime(&ms, events[i], events[i + 1]), err,
                             "cannot read an event");
        timing->graph_us[timing->graph_count++] = (double)ms * 1000 / calls;
    }
    for (int i = 0; i <= replays; i++) {
        if (events[i] != NULL) {
            cuEventDestroy(events[i]);
        }
    }
    return status;
}

static enum device_status measure_graph(struct arena *arena, struct sampler *sampler,
                                        struct timing *timing, struct err *err)
{
    CUgraphExec exec = NULL;
    struct score score;
    enum device_status status;
    int calls;

    score_of_samples(sampler->spans_us, sampler->count, 0, &score);
    calls = clamp(ceil(GRAPH_US / score.us), 1, GRAPH_CALLS_MAX);
    if (!clocks_disarm(err)) {
        return DEVICE_LOST;
    }
    timing->graph_us = arena_alloc(arena, REPLAYS_MAX * sizeof *timing->graph_us);
    status = capture(sampler, calls, &exec, err);
    if (status == DEVICE_OK) {
        status = time_graph(sampler, exec, calls, score.us, timing, err);
    }
    if (exec != NULL) {
        cuGraphExecDestroy(exec);
    }
    return status;
}

/* -------------------------------------------------------------------------------------------- */

static enum device_status measure(struct arena *arena, struct sampler *sampler,
                                  struct measured *measured, struct err *err)
{
    const struct measure_request *request = sampler->request;
    enum device_status status = DEVICE_OK;

    if (!activity.on) { /* an earlier graph turned it off, and the module was loaded before */
        status = clocks_arm(err);
        if (status == DEVICE_OK) {
            status = cuda_module_reload(request->module, err);
        }
    }
    if (status == DEVICE_OK) {
        status = cuda_prepare(request->module, request->plan, err);
    }
    if (status == DEVICE_OK) {
        status = measure_spans(sampler, measured, err);
    }
    records_keep(false);
    if (status != DEVICE_OK) {
        return status;
    }
    measured->timing.span_us =
        arena_copy(arena, sampler->spans_us, (size_t)sampler->count * sizeof *sampler->spans_us);
    measured->timing.span_count = sampler->count;
    return measured->timing.quick ? DEVICE_OK
                                  : measure_graph(arena, sampler, &measured->timing, err);
}

enum device_status device_measure(struct arena *arena, const struct measure_request *request,
                                  struct measured *measured, struct err *err)
{
    struct sampler *sampler = xmalloc(sizeof *sampler);
    enum device_status status;

    assert(request->set_count > 0 && request->cap_ms > 0);
    *measured = (struct measured){
        .timing = {.tick_us = record_tick_us},
        .sm_clock_mhz = NAN,
        .power_w = NAN,
        .temperature_c = NAN,
    };
    sampler_init(sampler, request);
    status = measure(arena, sampler, measured, err);
    free(sampler);
    activity.measures++;
    activity.worn = activity.worn || status == DEVICE_LOST;
    return status;
}
