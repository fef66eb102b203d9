#include <cupti.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fitness/clocks_cuda.h"

enum {
    FLUSH_TRIES = 20,
    ACTIVITY_BUFFER_BYTES = 1 << 20,
};

/* Filled by CUPTI's threads while `keep`, hence the lock. */
static struct {
    pthread_mutex_t lock;
    struct record *list;
    size_t count, room;
    bool keep;

    bool on, attached; /* the judge's thread only; attached: CUPTI is in the process all the same */
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

        if (kernel->name != NULL && strcmp(kernel->name, CUDA_STAMP_NAME) == 0) {
            return false;
        }
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
    if (cuda_untimed()) {
        return cuda_own_reload(err);
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

bool clocks_armed(void) { return activity.on; }

bool clocks_pause(struct err *err)
{
    if (!activity.on) {
        return true;
    }
    activity.on = false;
    activity.attached = true;
    return cupti_ok(cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED), err,
                    "cannot flush activity records") &&
           cupti_ok(cuptiActivityDisable(CUPTI_ACTIVITY_KIND_MEMSET), err,
                    "cannot stop recording") &&
           cupti_ok(cuptiActivityDisable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL), err,
                    "cannot stop recording");
}

bool clocks_disarm(struct err *err)
{
    if (!clocks_pause(err)) {
        return false;
    }
    if (!activity.attached) {
        return true;
    }
    activity.attached = false;
    return cupti_ok(cuptiFinalize(), err, "cannot detach CUPTI");
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

void records_keep(bool keep)
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

/*
 * Asks CUPTI until all records of a batch are there; its last try takes unfinished ones too. What
 * is there then is the batch, where nobody knows how many there will be.
 */
const struct record *records_collect(size_t expected, size_t *count, struct err *err)
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
        complete = batch != NULL && expected > 0 && *count >= expected;
        activity.keep = !complete && try < FLUSH_TRIES; /* then nothing moves the list */
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
    if (batch == NULL || (expected > 0 && *count != expected)) {
        err_set(err, ERR_DEVICE, "%zu operations were launched, CUPTI recorded %zu", expected,
                *count);
        return NULL;
    }
    return batch;
}
