#include "fitness/probe.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "fitness/image.h"
#include "fitness/stats.h"
#include "fitness/verify.h"

enum {
    ENOUGH_US = 400, /* by the host's clock: a launch and its end are a small part of it */
    CAP_MS = 20,
    TENSOR_BYTES = 1024, /* of Q, K, V and O, which no probe looks at */
    REPORT = 0,          /* the workspace that threads report into */
};

struct session {
    struct arena *arena;
    const struct probe_job *job;
    struct probe_result *result;
    int64_t sms;
    struct device_module *module;
    struct plan plan; /* for the rounds that the buffers are made for */
    struct device_buffers buffers;
    enum device_status status;
};

static bool decided(struct session *s, enum verdict verdict, const char *reason)
{
    s->result->verdict = verdict;
    s->result->reason = arena_dup(s->arena, reason);
    return false;
}

/* False with a verdict, when the status is the probe's doing; else with err set. */
static bool is_well(struct session *s, const struct err *err)
{
    enum verdict verdict = verify_verdict_of(s->status);

    return s->status == DEVICE_OK ||
           (s->status != DEVICE_LOST && verdict != VERDICT_NONE && decided(s, verdict, err->what));
}

static bool load(struct session *s, struct err *err)
{
    enum verdict verdict;
    const char *reason;

    if (!image_check(s->arena, &s->job->image, &verdict, &reason, err)) {
        return verdict != VERDICT_NONE && decided(s, verdict, reason);
    }
    s->status = device_load(&s->job->image, &s->module, err);
    return is_well(s, err);
}

static struct problem problem_of(int64_t rounds)
{
    return (struct problem){
        .batch = 1, .heads = 1, .kv_heads = 1, .q_len = 1, .kv_len = rounds, .head_dim = 64};
}

static bool resolve(struct session *s, int64_t rounds, struct plan *plan, struct err *err)
{
    struct problem problem = problem_of(rounds);
    bool supported;

    if (!plan_resolve(s->arena, &s->job->image.program, &problem, s->sms, plan, &supported, err)) {
        return decided(s, VERDICT_NO_LAUNCH, err->what);
    }
    if (plan->kernel_count != 1 || plan->workspace_count == 0 ||
        plan->workspaces[REPORT].bytes <
            (int64_t)sizeof(uint32_t) * plan->kernels[0].grid[0] * plan->kernels[0].threads) {
        return decided(s, VERDICT_INVALID, "a probe is one kernel, and has room to report");
    }
    return true;
}

/* ---- buffers ---- */

static void free_buffers(struct session *s)
{
    const device_ptr tensors[] = {s->buffers.q, s->buffers.k, s->buffers.v, s->buffers.o};

    if (device_is_lost(s->status)) {
        return;
    }
    for (int i = 0; i < 4; i++) {
        device_free(tensors[i]);
    }
    for (int i = 0; i < PROGRAM_WORKSPACES_MAX; i++) {
        device_free(s->buffers.workspaces[i]);
    }
    s->buffers = (struct device_buffers){0};
}

static enum device_status make_one(device_ptr *at, int64_t bytes, struct err *err)
{
    size_t whole = ((size_t)bytes + 3) / 4 * 4;
    enum device_status status = device_alloc(whole, at, err);

    return status == DEVICE_OK ? device_fill(*at, 0, whole, err) : status;
}

/* For the plan's number of rounds, and whatever is fewer. */
static bool make_buffers(struct session *s, int64_t rounds, struct err *err)
{
    struct problem problem = problem_of(rounds);
    device_ptr *tensors[] = {&s->buffers.q, &s->buffers.k, &s->buffers.v, &s->buffers.o};

    free_buffers(s);
    s->status = DEVICE_OK;
    s->buffers.problem = problem_args(&problem);
    for (int i = 0; i < 4 && s->status == DEVICE_OK; i++) {
        s->status = make_one(tensors[i], TENSOR_BYTES, err);
    }
    for (int i = 0; i < s->plan.workspace_count && s->status == DEVICE_OK; i++) {
        if (s->plan.workspaces[i].bytes > 0) {
            s->status = make_one(&s->buffers.workspaces[i], s->plan.workspaces[i].bytes, err);
        }
    }
    return is_well(s, err);
}

/* ---- one run, looked at ---- */

static bool check_report(struct session *s, struct err *err)
{
    size_t threads = (size_t)s->plan.kernels[0].grid[0] * s->plan.kernels[0].threads;
    uint32_t *report = arena_alloc(s->arena, threads * sizeof *report);

    s->status = device_read(report, s->buffers.workspaces[REPORT], threads * sizeof *report, err);
    if (!is_well(s, err)) {
        return false;
    }
    for (size_t i = 0; i < threads; i++) {
        if (report[i] != 1) {
            return decided(s, VERDICT_WRONG,
                           arena_printf(s->arena,
                                        "thread %zu has another result than its work leaves", i));
        }
    }
    return true;
}

/* Runs the probe with so many rounds; *us by the host's clock. */
static bool run(struct session *s, int64_t rounds, int64_t *us, struct err *err)
{
    int64_t start;

    if (!resolve(s, rounds, &s->plan, err) || !make_buffers(s, rounds, err)) {
        return false;
    }
    start = clock_now_us();
    s->status = device_call(s->module, &s->plan, &s->buffers, err);
    *us = clock_now_us() - start;
    return is_well(s, err) && check_report(s, err);
}

/* ---- times ---- */

static bool measure(struct session *s, int index, int64_t rounds, struct err *err)
{
    struct problem problem = problem_of(rounds);
    struct plan plan;
    struct device_buffers set = s->buffers;
    struct measured measured = {.sm_clock_mhz = NAN};
    struct measure_request request = {
        .module = s->module, .plan = &plan, .sets = &set, .set_count = 1, .cap_ms = CAP_MS};

    if (!resolve(s, rounds, &plan, err)) {
        return false;
    }
    set.problem = problem_args(&problem);
    s->status = device_measure(s->arena, &request, &measured, err);
    if (!is_well(s, err)) {
        return false;
    }
    s->result->rounds[index] = rounds;
    s->result->us[index] =
        stats_quantile(measured.timing.span_us, measured.timing.span_count, 0.5);
    if (index == 0 && measured.timing.graph_count > 0) {
        s->result->graph_us =
            stats_quantile(measured.timing.graph_us, measured.timing.graph_count, 0.5);
    }
    s->result->modelled = measured.modelled;
    s->result->clock_mhz =
        isnan(measured.sm_clock_mhz) ? device_peaks().clock_mhz : measured.sm_clock_mhz;
    return true;
}

/* A first run is not looked at by the clock: code is fetched, the device wakes up. */
static bool climb(struct session *s, struct err *err)
{
    int64_t rounds = s->job->rounds, us = 0;

    if (!load(s, err) || !run(s, rounds, &us, err)) {
        return false;
    }
    do {
        if (!run(s, rounds, &us, err)) {
            return false;
        }
        rounds *= us < ENOUGH_US ? 2 : 1;
    } while (us < ENOUGH_US && rounds <= s->job->rounds_max);
    rounds = rounds > s->job->rounds_max ? s->job->rounds_max : rounds;
    return run(s, rounds, &us, err) && measure(s, 1, rounds, err) && measure(s, 0, rounds / 4, err);
}

struct message *probe_answer(struct arena *arena, const struct message *message, int64_t sms,
                             struct err *err)
{
    struct probe_job *job = arena_alloc(arena, sizeof *job);
    struct probe_result *result = arena_alloc(arena, sizeof *result);
    struct session *s = arena_alloc(arena, sizeof *s);

    if (!probe_decode(arena, message, job, err)) {
        return NULL;
    }
    *s = (struct session){.arena = arena, .job = job, .result = result, .sms = sms};
    *result = (struct probe_result){.id = job->id,
                                    .reason = "",
                                    .us = {NAN, NAN},
                                    .graph_us = NAN,
                                    .clock_mhz = NAN};
    if (climb(s, err)) {
        result->verdict = VERDICT_PASS;
    }
    free_buffers(s);
    device_unload(s->module);
    return result->verdict != VERDICT_NONE && !device_is_lost(s->status)
               ? probed_encode(arena, result)
               : NULL;
}
