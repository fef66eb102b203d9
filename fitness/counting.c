#include "fitness/counting.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fitness/counters.h"
#include "fitness/problem.h"

enum { TENSOR_WORD = 0x3c003800 }; /* 1 and a half, as half or bfloat16: no call's speed is in it */

void counting_open(struct counting *counting)
{
    *counting = (struct counting){.arena = arena_new(), .best_arena = arena_new()};
}

static void let_go(struct counting *counting)
{
    for (int i = 0; i < counting->count; i++) {
        device_unload(counting->waiting[i].module);
    }
    counting->count = 0;
    arena_reset(counting->arena);
}

static void let_go_of_best(struct counting *counting)
{
    for (int i = 0; i < counting->best_count; i++) {
        bool shared = false;

        for (int k = 0; k < i; k++) {
            shared = shared || counting->best[k].module == counting->best[i].module;
        }
        if (!shared) {
            device_unload(counting->best[i].module);
        }
    }
    counting->best_count = 0;
    arena_reset(counting->best_arena);
}

void counting_close(struct counting *counting)
{
    let_go(counting);
    let_go_of_best(counting);
    free(counting->refused);
    free(counting->unsampled);
    arena_free(counting->arena);
    arena_free(counting->best_arena);
}

/* A call that outlives its job. */
static struct counted_call keep_call(struct arena *arena, const struct counted_call *call)
{
    struct counted_call kept = *call;
    struct plan *plan = arena_copy(arena, call->plan, sizeof *plan);

    for (int i = 0; i < plan->kernel_count; i++) {
        plan->kernels[i].name = arena_dup(arena, plan->kernels[i].name);
    }
    kept.plan = plan;
    return kept;
}

bool counting_add(struct counting *counting, const struct counted_call *call)
{
    counting->waiting[counting->count++] = keep_call(counting->arena, call);
    if (counting->count == 1) {
        counting->since_us = clock_now_us();
    }
    return counting->count == COUNTING_BATCH ||
           (counting->count >= COUNTING_FEW &&
            clock_now_us() - counting->since_us >= COUNTING_PATIENCE_S * INT64_C(1000000));
}

/* ---- buffers: only what a call touches, and only for the time of counting ---- */

static enum device_status make_one(device_ptr *at, int64_t bytes, uint32_t pattern, struct err *err)
{
    size_t whole = ((size_t)bytes + 3) / 4 * 4;
    enum device_status status = bytes > 0 ? device_alloc(whole, at, err) : DEVICE_OK;

    return status == DEVICE_OK && bytes > 0 ? device_fill(*at, pattern, whole, err) : status;
}

static enum device_status make_tensors(const struct counted_call *call,
                                       struct device_buffers *set, struct err *err)
{
    int64_t q = problem_q_elements(&call->problem) * ELEMENT_BYTES;
    int64_t kv = problem_kv_elements(&call->problem) * ELEMENT_BYTES;
    int64_t lse = call->problem.lse ? problem_rows(&call->problem) * (int64_t)sizeof(float) : 0;
    struct {
        device_ptr *at;
        int64_t bytes;
    } tensors[] = {{&set->q, q}, {&set->k, kv}, {&set->v, kv}, {&set->o, q}, {&set->lse, lse}};
    enum device_status status = DEVICE_OK;

    set->problem = problem_args(&call->problem);
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors && status == DEVICE_OK; i++) {
        status = make_one(tensors[i].at, tensors[i].bytes, TENSOR_WORD, err);
    }
    return status;
}

/* Calls of one problem share its tensors: nobody looks at what they leave there. */
static enum device_status make_set(const struct counted_call *calls, int index,
                                   struct device_buffers *sets, struct err *err)
{
    const struct counted_call *call = &calls[index];
    struct device_buffers *set = &sets[index];
    enum device_status status = DEVICE_OK;
    int like = 0;

    while (like < index && !problem_equal(&calls[like].problem, &call->problem)) {
        like++;
    }
    if (like < index) {
        *set = sets[like];
        memset(set->workspaces, 0, sizeof set->workspaces);
    } else {
        status = make_tensors(call, set, err);
    }
    for (int i = 0; i < call->plan->workspace_count && status == DEVICE_OK; i++) {
        status = make_one(&set->workspaces[i], call->plan->workspaces[i].bytes, 0, err);
    }
    return status == DEVICE_OK ? device_encode_maps(call->plan, set, err) : status;
}

static void free_set(const struct counted_call *calls, int index, const struct device_buffers *sets)
{
    const struct device_buffers *set = &sets[index];
    const device_ptr tensors[] = {set->q, set->k, set->v, set->o, set->lse};
    bool shared = false;

    for (int i = 0; i < index; i++) {
        shared = shared || problem_equal(&calls[i].problem, &calls[index].problem);
    }
    for (size_t i = 0; !shared && i < sizeof tensors / sizeof *tensors; i++) {
        device_free(tensors[i]);
    }
    for (int i = 0; i < PROGRAM_WORKSPACES_MAX; i++) {
        device_free(set->workspaces[i]);
    }
}

/* ---- counting ---- */

/* Of what, and where its refusal is kept. */
static void refuse_for_ever(const char *what, char **refused, const struct err *err)
{
    *refused = xstrdup(err->what);
    fprintf(stderr, "no %s: %s\n", what, err->what);
    if (err->hint[0] != '\0') {
        fprintf(stderr, "no %s: %s\n", what, err->hint);
    }
}

/* Only where counters are allowed at all; `stalls` has nothing where this is refused. */
static enum device_status sample_call(struct counting *counting, const struct device_count *call,
                                      struct stalls *stalls, struct err *err)
{
    enum device_status status = DEVICE_OK;

    if (counting->unsampled == NULL) {
        status = device_sample(call, stalls, err);
    }
    if (status == DEVICE_REFUSED) {
        refuse_for_ever("samples of what warps wait for", &counting->unsampled, err);
        status = DEVICE_OK;
    }
    return status;
}

/*
 * DEVICE_OK with *why set: they could not be counted, and the device is well. The first is sampled
 * as well where the set is the full one.
 */
static enum device_status count_calls(struct counting *counting, struct arena *arena,
                                      enum counter_set set, const struct counted_call *calls,
                                      int count, double (*values)[COUNTERS_MAX],
                                      struct stalls *stalls, const char **why, struct err *err)
{
    struct device_buffers *sets = arena_alloc(arena, (size_t)count * sizeof *sets);
    struct device_count *asked = arena_alloc(arena, (size_t)count * sizeof *asked);
    enum device_status status = DEVICE_OK;

    for (int i = 0; i < count && status == DEVICE_OK; i++) {
        status = make_set(calls, i, sets, err);
        asked[i] = (struct device_count){calls[i].module, calls[i].plan, &sets[i]};
    }
    if (status == DEVICE_OK) {
        status = device_count(set, asked, count, values, err);
        if (status == DEVICE_REFUSED) {
            refuse_for_ever("hardware counters", &counting->refused, err);
        }
        if (status == DEVICE_OK && set == COUNTERS_FULL) {
            status = sample_call(counting, &asked[0], stalls, err);
        }
    }
    if (device_is_lost(status)) {
        return status;
    }
    for (int i = 0; i < count; i++) {
        free_set(calls, i, sets);
    }
    *why = status == DEVICE_OK ? NULL : arena_dup(arena, err->what);
    return DEVICE_OK;
}

static void add_counted(struct judge_result *result, const struct counted_call *call,
                        enum metric metric, double value, const char *reason)
{
    if (result->counted_count < JOB_COUNTED_MAX) {
        int at = result->counted_count++;

        result->counted[at].id = call->job;
        result->counted[at].problem = call->index;
        result->counted[at].metric = metric;
        result->counted[at].value = value;
        result->counted[at].reason = reason;
    }
}

static void add_metric(struct judge_result *result, const struct counted_call *call,
                       enum metric metric, double value, const char *reason)
{
    if (result->metric_count < JOB_METRICS_MAX) {
        int at = result->metric_count++;

        result->metrics[at].problem = call->index;
        result->metrics[at].metric = metric;
        result->metrics[at].value = value;
        result->metrics[at].reason = reason;
    }
}

typedef void add_fn(struct judge_result *result, const struct counted_call *call,
                    enum metric metric, double value, const char *reason);

/* One row says why there are none; a row for each would say it again and again. */
static void add_all(struct arena *arena, const struct counted_call *calls, int count,
                    enum counter_set set, double (*values)[COUNTERS_MAX], const char *why,
                    add_fn *add, struct judge_result *result)
{
    int counters;
    const struct counter *table = counters_of(set, &counters);

    for (int i = 0; i < count; i++) {
        if (why != NULL) {
            add(result, &calls[i], table[0].metric, NAN, arena_dup(arena, why));
        }
        for (int c = 0; c < counters && why == NULL; c++) {
            add(result, &calls[i], table[c].metric, values[i][c],
                isnan(values[i][c]) ? "the profiler does not say" : "");
        }
    }
}

static void add_stalls(struct counting *counting, struct arena *arena,
                       const struct counted_call *call, struct stalls *stalls, add_fn *add,
                       struct judge_result *result)
{
    double values[STALL_METRICS];

    if (counting->unsampled != NULL) {
        add(result, call, METRIC_PC_SAMPLES, NAN, arena_dup(arena, counting->unsampled));
        return;
    }
    stalls_tell(stalls, values);
    for (int i = 0; i < STALL_METRICS; i++) {
        add(result, call, (enum metric)(METRIC_PC_SAMPLES + i), values[i],
            isnan(values[i]) ? "no warp was seen" : "");
    }
}

static enum device_status count_and_tell(struct counting *counting, struct arena *arena,
                                         enum counter_set set, const struct counted_call *calls,
                                         int count, add_fn *add, struct judge_result *result,
                                         struct err *err)
{
    double(*values)[COUNTERS_MAX] = arena_alloc(arena, (size_t)count * sizeof *values);
    struct stalls stalls = {0};
    const char *why = counting->refused;
    enum device_status status =
        why == NULL ? count_calls(counting, arena, set, calls, count, values, &stalls, &why, err)
                    : DEVICE_OK;

    if (status == DEVICE_OK) {
        add_all(arena, calls, count, set, values, why, add, result);
    }
    if (status == DEVICE_OK && set == COUNTERS_FULL && why == NULL) {
        add_stalls(counting, arena, &calls[0], &stalls, add, result);
    }
    stalls_free(&stalls);
    return status;
}

enum device_status counting_collect(struct counting *counting, struct arena *arena,
                                    struct judge_result *result, struct err *err)
{
    enum device_status status =
        count_and_tell(counting, arena, COUNTERS_ONE, counting->waiting, counting->count,
                       add_counted, result, err);

    let_go(counting);
    return status;
}

enum device_status counting_in_full(struct counting *counting, struct arena *arena,
                                    const struct counted_call *calls, int count,
                                    struct judge_result *result, struct err *err)
{
    return count_and_tell(counting, arena, COUNTERS_FULL, calls, count, add_metric, result, err);
}

void counting_put_off(struct counting *counting, const struct counted_call *calls, int count)
{
    let_go_of_best(counting);
    for (int i = 0; i < count; i++) {
        counting->best[i] = keep_call(counting->best_arena, &calls[i]);
    }
    counting->best_count = count;
    counting->best_since_us = clock_now_us();
}

bool counting_best_is_due(const struct counting *counting)
{
    return counting->best_count > 0 &&
           clock_now_us() - counting->best_since_us >= COUNTING_BEST_S * INT64_C(1000000);
}

enum device_status counting_best(struct counting *counting, struct arena *arena,
                                 struct judge_result *result, struct err *err)
{
    enum device_status status = count_and_tell(counting, arena, COUNTERS_FULL, counting->best,
                                               counting->best_count, add_counted, result, err);

    let_go_of_best(counting);
    return status;
}
