#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/rng.h"
#include "fitness/clocks_cuda.h"
#include "fitness/score.h"
#include "fitness/stats.h"

/* The protocol; docs/MEASURING.md gives the reasons. */
enum {
    WARM_US = 50 * 1000,        /* busy this long, and */
    WARM_LAUNCHES = 10,         /* own calls at least, but */
    WARM_LIMIT_US = 200 * 1000, /* no longer than this (and two calls), for very slow programs */
    WARM_SHORT_US = 3 * 1000,   /* of its own, for short calls on a device that is awake */
    WARM_QUICK_US = 1000,       /* enough to tell a program that is slower by quick_margin */
    WARM_BATCH_US = 1000,
    QUICK_SAMPLES = 8, /* five could not bound a median at 95 % */
    SAMPLES_MIN = 50,
    SAMPLES_MIN_SHORT = 200, /* where a tick of the clock is a visible part of the time: */
    SHORT_US = 20,
    SAMPLES_STEP = 32,
    SAMPLES_CUT_SHORT = 3, /* fewer than this not even the cap allows */
    BATCH_US = 5000,       /* device time of a batch */
    CALLS_MAX = 512,       /* enqueued without a hold, where a full queue only waits */
    LEAD_CALLS = 2, /* run first in each batch, not counted: caches as they are among equals */
    LEAD_BELOW_US = 1000,
    GRAPH_US = 200, /* a graph lasts about this long, or is one call */
    GRAPH_CALLS_MAX = 50,
    GRAPH_LEAD_US = 1000, /* untimed replays before the timed ones */
    REPLAYS_MAX = 10,
    REPLAYS_MIN = 3,
    SENSOR_US = 2000,
    CACHED_BYTES_MAX = 256 << 20, /* larger than any L2 */
    LOOKS = 4,                    /* at outputs while samples are taken, and one when all are */
    FRESH_ROUNDS = 3, /* of a call on each set with inputs of its own; of long calls one */
    FRESH_MAX = FRESH_ROUNDS * 8,
    COOLING_TRIES = 4,   /* waits of 1, 2, 4 s between them */
    MEASURES_MAX = 2000, /* then the process is worn: CUPTI grows, and its times have gone bad */
};
static const double interval_goal = 0.005; /* half of it, relative */
static const double quick_margin = 1.1;    /* a rested device was seen to lose up to 7 % */

static bool worn;
static int measures;

/*
 * The last warms up, the others rotate; each costs one check of its output. What no cache could
 * keep from one call to the next needs two alone, so that pointers and values change.
 */
int device_sets(const struct problem *problem)
{
    return problem_bytes(problem) > CACHED_BYTES_MAX ? 2 : 4;
}

bool device_is_worn(void) { return worn || measures >= MEASURES_MAX; }

/* Sampling ----------------------------------------------------------------------------------- */

struct sampler {
    const struct measure_request *request;
    struct callee callee;
    int rotation;   /* sets that are sampled; with three or more the last one is for warming up */
    int warmed;     /* calls made to warm up so far */
    int64_t calls;  /* enqueued for samples so far */
    double call_us; /* of the device, poison included: an estimate */
    double sampled_us;
    int count;
    double spans_us[JOB_SAMPLES_MAX], mhz[JOB_SAMPLES_MAX]; /* as they were */
    int looks[LOOKS]; /* after so many samples, in order */
    int looked;       /* how many of them */
};

static void sampler_init(struct sampler *sampler, const struct measure_request *request)
{
    memset(sampler, 0, sizeof *sampler);
    sampler->request = request;
    sampler->rotation = request->set_count >= 3 ? request->set_count - 1 : request->set_count;
    callee_init(&sampler->callee, request->module, request->plan, &request->sets[0]);
}

/* Round by round, so that each set sees both. */
static uint8_t poison_of(const struct sampler *sampler, int64_t call)
{
    return poison_byte(call / sampler->rotation);
}

static const struct device_buffers *warm_set(const struct sampler *sampler)
{
    return &sampler->request->sets[sampler->request->set_count - 1];
}

static enum device_status enqueue_unsampled(struct sampler *sampler, int calls, struct err *err)
{
    enum device_status status = DEVICE_OK;

    for (int i = 0; status == DEVICE_OK && i < calls; i++) {
        status = callee_enqueue(&sampler->callee, warm_set(sampler), poison_of(sampler, i), err);
    }
    return status;
}

/*
 * Short calls leave most of a device's power unused: for them it is enough that its clocks are up.
 * Long ones run at the power limit, and that takes a while to be reached.
 */
static bool is_warm(const struct sampler *sampler, int64_t spent_us, int64_t enough_us)
{
    bool awake =
        sampler->call_us < SHORT_US && spent_us >= WARM_SHORT_US && cuda_awake_us() >= enough_us;

    return sampler->warmed >= WARM_LAUNCHES && (awake || cuda_busy_us() >= enough_us);
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
        if (is_warm(sampler, spent_us, enough_us) ||
            (spent_us >= WARM_LIMIT_US && sampler->warmed >= 2)) {
            return DEVICE_OK;
        }
        calls = clamp(WARM_BATCH_US / sampler->call_us, 1, CALLS_MAX);
    }
}

/* Runs a batch of `calls` counted calls; their spans, and the clock meanwhile (0: unknown). */
static enum device_status time_batch(struct sampler *sampler, int calls, double *spans_us,
                                     double *mhz, struct err *err)
{
    struct timed_call batch[CALLS_OPS_MAX];
    int lead = sampler->call_us < LEAD_BELOW_US ? LEAD_CALLS : 0, count = 0;
    enum device_status status;

    assert(lead + calls <= CALLS_OPS_MAX);
    for (; count < lead; count++) {
        batch[count] = (struct timed_call){.callee = &sampler->callee,
                                           .set = warm_set(sampler),
                                           .poison = poison_of(sampler, count)};
    }
    for (; count < lead + calls; count++, sampler->calls++) {
        const struct device_buffers *set =
            &sampler->request->sets[sampler->calls % sampler->rotation];

        batch[count] = (struct timed_call){.callee = &sampler->callee,
                                           .set = set,
                                           .poison = poison_of(sampler, sampler->calls)};
    }
    status = calls_time(batch, count, err);
    if (status != DEVICE_OK) {
        return status;
    }
    for (int i = lead; i < count; i++) {
        spans_us[i - lead] = batch[i].span_us;
        mhz[i - lead] = isnan(batch[i].mhz) ? 0 : batch[i].mhz;
    }
    sampler->call_us = (double)(batch[count - 1].end_ns - batch[lead].begin_ns) / 1000 / calls;
    return DEVICE_OK;
}

static enum device_status sample_batch(struct sampler *sampler, int calls, struct err *err)
{
    enum device_status status = time_batch(sampler, calls, sampler->spans_us + sampler->count,
                                           sampler->mhz + sampler->count, err);

    if (status == DEVICE_OK) {
        sampler->count += calls;
        sampler->sampled_us += sampler->call_us * calls;
    }
    return status;
}

/* What was sampled so far, in the form in which it will be scored. */
static struct timing timing_of(struct sampler *sampler)
{
    struct timing timing = {.span_us = sampler->spans_us,
                            .mhz = sampler->mhz,
                            .span_count = sampler->count,
                            .at_mhz = sampler->request->at_mhz};

    if (timing.at_mhz == 0) {
        timing.at_mhz = score_clock(sampler->mhz, sampler->count);
    }
    timing.at_mhz = isnan(timing.at_mhz) ? 0 : timing.at_mhz; /* none, or none is known */
    return timing;
}

static int samples_wanted(const struct sampler *sampler, const struct score *score)
{
    return score->us < SHORT_US && sampler->count > 0 ? SAMPLES_MIN_SHORT : SAMPLES_MIN;
}

static int batch_calls(struct sampler *sampler)
{
    struct score score = {.us = HUGE_VAL};
    struct timing timing = timing_of(sampler);
    int missing, fit = CALLS_OPS_MAX / sampler->callee.op_count - LEAD_CALLS;

    score_of_timing(&timing, &score);
    missing = samples_wanted(sampler, &score) - sampler->count;
    missing = sampler->count < QUICK_SAMPLES ? QUICK_SAMPLES - sampler->count
              : missing > 0                  ? missing
                                             : SAMPLES_STEP;
    missing =
        missing < JOB_SAMPLES_MAX - sampler->count ? missing : JOB_SAMPLES_MAX - sampler->count;
    missing = missing < fit ? missing : fit;
    if (sampler->looked < LOOKS && sampler->looks[sampler->looked] > sampler->count) {
        int next = sampler->looks[sampler->looked] - sampler->count;

        missing = missing < next ? missing : next;
    }
    return clamp(BATCH_US / sampler->call_us, 1, missing > 1 ? missing : 1);
}

/* The stopping rule. The tick is no part of it: more samples would not make it smaller. */
static bool sampled_enough(struct sampler *sampler)
{
    struct timing timing = timing_of(sampler);
    struct score score;

    if (sampler->count == JOB_SAMPLES_MAX ||
        (sampler->sampled_us >= sampler->request->cap_ms * 1000 &&
         sampler->count >= SAMPLES_CUT_SHORT)) {
        return true;
    }
    return sampler->count >= SAMPLES_MIN &&
           score_of_timing(&timing, &score) && sampler->count >= samples_wanted(sampler, &score) &&
           fmax(score.high - score.us, score.us - score.low) <= interval_goal * score.us;
}

/* All of the first eight above the bound: the median is not, with probability 1/256 at most. */
static bool surely_slower(struct sampler *sampler, double bound_us)
{
    struct timing timing = timing_of(sampler);

    for (int i = 0; i < sampler->count; i++) {
        if (!(score_told(&timing, i) > bound_us)) { /* what does not count is no proof */
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

/* Looks -------------------------------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;

    return (x > y) - (x < y);
}

/*
 * After which samples outputs are looked at: anywhere among those that there will be at least, so
 * that each sample is as likely as any other to be the last one before a look.
 */
static void plan_looks(struct sampler *sampler)
{
    const struct measure_request *request = sampler->request;
    struct score score = {.us = HUGE_VAL};
    struct rng rng = rng_at(request->watch.secret, 1, 0);
    double affordable = request->cap_ms * 1000 / sampler->call_us;
    int total;

    score_of_samples(sampler->spans_us, sampler->count, 0, &score);
    total = clamp(affordable, sampler->count + 1, samples_wanted(sampler, &score));
    for (int i = 0; i < LOOKS; i++) {
        sampler->looks[i] =
            sampler->count + (int)rng_below(&rng, (uint32_t)(total - sampler->count) + 1);
    }
    qsort(sampler->looks, LOOKS, sizeof *sampler->looks, by_number);
    sampler->looked = 0;
}

static enum device_status look_now(const struct sampler *sampler, struct err *err)
{
    const struct measure_watch *watch = &sampler->request->watch;

    return watch->look != NULL ? watch->look(watch->context, sampler->rotation, err) : DEVICE_OK;
}

/* Several may have come due at once. */
static enum device_status look_if_due(struct sampler *sampler, struct err *err)
{
    bool due = false;

    while (sampler->looked < LOOKS && sampler->looks[sampler->looked] <= sampler->count) {
        sampler->looked++;
        due = true;
    }
    return due ? look_now(sampler, err) : DEVICE_OK;
}

static enum device_status sample(struct sampler *sampler, bool *quick, struct err *err)
{
    enum device_status status;

    sampler->looked = LOOKS;
    status = sample_first(sampler, sampler->request->bound_us, quick, err);
    if (status != DEVICE_OK || *quick) {
        return status;
    }
    plan_looks(sampler);
    status = look_if_due(sampler, err);
    while (status == DEVICE_OK && !sampled_enough(sampler)) {
        status = sample_batch(sampler, batch_calls(sampler), err);
        if (status == DEVICE_OK) {
            status = look_if_due(sampler, err);
        }
    }
    return status == DEVICE_OK ? look_now(sampler, err) : status;
}

/*
 * Calls on inputs that none saw before: these stay, for the second clock and for the end. Told at
 * the clock that the samples had, where both are known: a rested device's is higher by 15 %.
 */
static enum device_status sample_fresh(struct sampler *sampler, struct measured *measured,
                                       struct err *err)
{
    const struct measure_watch *watch = &sampler->request->watch;
    int rounds = sampler->call_us < LEAD_BELOW_US ? FRESH_ROUNDS : 1, count = 0;
    double spans_us[FRESH_MAX], mhz[FRESH_MAX], at_mhz = score_clock(sampler->mhz, sampler->count);
    enum device_status status = DEVICE_OK;

    assert(rounds * sampler->rotation <= FRESH_MAX);
    for (int round = 0; watch->renew != NULL && round < rounds && status == DEVICE_OK; round++) {
        status = watch->renew(watch->context, sampler->rotation, round, err);
        if (status == DEVICE_OK) {
            status = time_batch(sampler, sampler->rotation, spans_us + count, mhz + count, err);
            count += sampler->rotation;
        }
    }
    for (int i = 0; status == DEVICE_OK && i < count; i++) {
        spans_us[i] *= mhz[i] > 0 && at_mhz > 0 ? mhz[i] / at_mhz : 1;
    }
    if (status == DEVICE_OK && count > 0) {
        measured->fresh_us = stats_quantile(spans_us, count, 0.5);
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
        if (status != DEVICE_OK || !sensors_overheated(measured)) {
            return status == DEVICE_OK ? sample_fresh(sampler, measured, err) : status;
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
    status = graph_capture(&sampler->callee, sampler->request->sets, sampler->rotation, calls,
                           &exec, err);
    if (status == DEVICE_OK) {
        status = time_graph(sampler, exec, calls, score.us, timing, err);
    }
    if (exec != NULL) {
        cuGraphExecDestroy(exec);
    }
    return status;
}

/* The clock that samples come with is told rather than what a sensor saw behind them. */
static void take_samples(struct arena *arena, struct sampler *sampler, struct measured *measured)
{
    struct timing *timing = &measured->timing;
    double mhz = score_clock(sampler->mhz, sampler->count);
    size_t bytes = (size_t)sampler->count * sizeof *sampler->spans_us;

    timing->at_mhz = timing_of(sampler).at_mhz;
    timing->span_us = arena_copy(arena, sampler->spans_us, bytes);
    timing->mhz = arena_copy(arena, sampler->mhz, bytes);
    timing->span_count = sampler->count;
    measured->sm_clock_mhz = isnan(mhz) ? measured->sm_clock_mhz : mhz;
}

static enum device_status measure(struct arena *arena, struct sampler *sampler,
                                  struct measured *measured, struct err *err)
{
    const struct measure_request *request = sampler->request;
    enum device_status status = DEVICE_OK;

    if (!clocks_armed()) { /* an earlier graph turned it off, and the module was loaded before */
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
    take_samples(arena, sampler, measured);
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
        .fresh_us = NAN,
        .other_processes = NAN,
    };
    sampler_init(sampler, request);
    status = measure(arena, sampler, measured, err);
    free(sampler);
    measures++;
    worn = worn || status == DEVICE_LOST;
    return status;
}
