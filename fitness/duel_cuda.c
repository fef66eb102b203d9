#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fitness/clocks_cuda.h"
#include "fitness/rival/rival.h"

/*
 * Two programs, interleaved. Spans come first, because the modules were loaded while CUPTI was in
 * the process; then it is taken out for the graphs, and what a library has loaded by then is not
 * recorded any more: hence a process duels once.
 */
enum {
    DUEL_WARM_US = 50 * 1000, /* busy, both programs in turns, before anything counts */
    DUEL_BLOCKS = 64,         /* aimed at; */
    DUEL_BLOCKS_SHORT = 128,  /* where a tick is a visible part of a call; */
    DUEL_SHORT_US = 20,       /* below this; */
    DUEL_BLOCKS_CAPPED = 16,  /* what a program too slow for the cap gets all the same */
    DUEL_GRAPH_US = 500,      /* a graph lasts about this long, or is one call */
    DUEL_GRAPH_CALLS_MAX = 100,
    DUEL_BATCH_US = 20 * 1000, /* enqueued at once */
    CHOICE_CALLS = 24,         /* of each of a library's plans, the first third not counted */
};
static const double event_tick_us = 0.5; /* what the driver promises of events */

struct side {
    struct callee callee;
    const struct device_buffers *sets;
    double call_us; /* a guess, to size batches with */
};

struct duel {
    struct side sides[2];
    int set_count;
    double cap_us;
};

/* The order of a block: A B B A. */
static const int order[4] = {0, 1, 1, 0};

static double *time_in_block(struct abba *block, int run)
{
    return run == 0   ? &block->a[0]
           : run == 1 ? &block->b[0]
           : run == 2 ? &block->b[1]
                      : &block->a[1];
}

static double block_us(const struct duel *duel)
{
    return 2 * (duel->sides[0].call_us + duel->sides[1].call_us);
}

/* How many blocks a clock is to take, given what one costs. */
static int blocks_wanted(const struct duel *duel, double one_us)
{
    bool is_short = fmin(duel->sides[0].call_us, duel->sides[1].call_us) < DUEL_SHORT_US;
    int aim = is_short ? DUEL_BLOCKS_SHORT : DUEL_BLOCKS;

    return clamp(duel->cap_us / one_us, DUEL_BLOCKS_CAPPED, aim);
}

/* Warming up ----------------------------------------------------------------------------------- */

static enum device_status enqueue_turns(const struct duel *duel, int turns, struct err *err)
{
    enum device_status status = DEVICE_OK;

    for (int i = 0; status == DEVICE_OK && i < 2 * turns; i++) {
        const struct side *side = &duel->sides[i % 2];

        status = callee_enqueue(&side->callee, &side->sets[i / 2 % duel->set_count],
                                poison_byte(i / 2), err);
    }
    return status;
}

static enum device_status warm_up(struct duel *duel, struct err *err)
{
    int64_t start_us = clock_now_us();
    int turns = 1;

    do {
        int64_t from_us = clock_now_us();
        enum device_status status;

        cuda_busy_begin();
        status = cuda_settle(enqueue_turns(duel, turns, err), err);
        if (status != DEVICE_OK) {
            return status;
        }
        turns = clamp(DUEL_BATCH_US / fmax((double)(clock_now_us() - from_us) / turns, 1), 1,
                      CALLS_OPS_MAX);
    } while (clock_now_us() - start_us < DUEL_WARM_US);
    return DEVICE_OK;
}

/* Clock 1 -------------------------------------------------------------------------------------- */

static enum device_status span_blocks(struct duel *duel, int count, int done, struct abba *blocks,
                                      struct err *err)
{
    struct timed_call calls[CALLS_OPS_MAX];
    enum device_status status;

    for (int i = 0; i < 4 * count; i++) {
        const struct side *side = &duel->sides[order[i % 4]];
        int round = 2 * (done + i / 4) + i % 4 / 2; /* each side runs twice a block */

        calls[i] = (struct timed_call){.callee = &side->callee,
                                       .set = &side->sets[round % duel->set_count],
                                       .poison = poison_byte(round / duel->set_count)};
    }
    status = calls_time(calls, 4 * count, err);
    for (int i = 0; status == DEVICE_OK && i < 4 * count; i++) {
        *time_in_block(&blocks[i / 4], i % 4) = calls[i].span_us;
        duel->sides[order[i % 4]].call_us = calls[i].span_us;
    }
    return status;
}

static enum device_status time_spans(struct arena *arena, struct duel *duel,
                                     struct duel_times *times, struct err *err)
{
    int ops = 2 * (duel->sides[0].callee.op_count + duel->sides[1].callee.op_count);
    enum device_status status = DEVICE_OK;
    int wanted = 1;

    times->blocks = arena_alloc(arena, DUEL_BLOCKS_SHORT * sizeof *times->blocks);
    times->tick_us = record_tick_us;
    while (status == DEVICE_OK && times->count < wanted) {
        int most = clamp(DUEL_BATCH_US / fmax(block_us(duel), 1), 1, CALLS_OPS_MAX / ops);
        int left = wanted - times->count;
        int batch = times->count == 0 ? 1
                    : left < most     ? left
                                      : most; /* the first tells the size */

        status = span_blocks(duel, batch, times->count, times->blocks + times->count, err);
        times->count += batch;
        wanted = blocks_wanted(duel, block_us(duel));
    }
    return status;
}

/* Clock 2 -------------------------------------------------------------------------------------- */

enum { GRAPH_BATCH_BLOCKS_MAX = 16, EVENTS_MAX = 4 * GRAPH_BATCH_BLOCKS_MAX + 1 };

struct graphs {
    CUgraphExec exec[2];
    int calls; /* in each */
    CUevent events[EVENTS_MAX];
};

static void graphs_free(struct graphs *graphs)
{
    for (int i = 0; i < EVENTS_MAX; i++) {
        if (graphs->events[i] != NULL) {
            cuEventDestroy(graphs->events[i]);
        }
    }
    for (int i = 0; i < 2; i++) {
        if (graphs->exec[i] != NULL) {
            cuGraphExecDestroy(graphs->exec[i]);
        }
    }
}

static enum device_status graphs_make(const struct duel *duel, struct graphs *graphs,
                                      struct err *err)
{
    double faster_us = fmin(duel->sides[0].call_us, duel->sides[1].call_us);
    enum device_status status = DEVICE_OK;

    graphs->calls = clamp(ceil(DUEL_GRAPH_US / fmax(faster_us, 0.1)), 1, DUEL_GRAPH_CALLS_MAX);
    for (int i = 0; status == DEVICE_OK && i < 2; i++) {
        status = graph_capture(&duel->sides[i].callee, duel->sides[i].sets, duel->set_count,
                               graphs->calls, &graphs->exec[i], err);
    }
    for (int i = 0; status == DEVICE_OK && i < EVENTS_MAX; i++) {
        status = cuda_status(cuEventCreate(&graphs->events[i], CU_EVENT_DEFAULT), err,
                             "cannot make an event");
    }
    return status;
}

/* Enqueues blocks of graphs, an event between any two, and reads what lies between the events. */
static enum device_status graph_blocks(const struct graphs *graphs, int count, struct abba *blocks,
                                       struct err *err)
{
    CUresult code = cuEventRecord(graphs->events[0], cuda_stream());
    enum device_status status;

    cuda_busy_begin();
    for (int i = 0; code == CUDA_SUCCESS && i < 4 * count; i++) {
        code = cuGraphLaunch(graphs->exec[order[i % 4]], cuda_stream());
        if (code == CUDA_SUCCESS) {
            code = cuEventRecord(graphs->events[i + 1], cuda_stream());
        }
    }
    status = cuda_settle(cuda_status(code, err, "cannot replay a graph"), err);
    for (int i = 0; status == DEVICE_OK && i < 4 * count; i++) {
        float ms = 0;

        status = cuda_status(cuEventElapsedTime(&ms, graphs->events[i], graphs->events[i + 1]), err,
                             "cannot read an event");
        *time_in_block(&blocks[i / 4], i % 4) = (double)ms * 1000 / graphs->calls;
    }
    return status;
}

static enum device_status time_graphs(struct arena *arena, struct duel *duel,
                                      struct duel_times *times, struct err *err)
{
    struct graphs graphs = {.calls = 0};
    struct abba lead[GRAPH_BATCH_BLOCKS_MAX];
    enum device_status status;

    if (!clocks_disarm(err)) {
        return DEVICE_LOST;
    }
    times->blocks = arena_alloc(arena, DUEL_BLOCKS_SHORT * sizeof *times->blocks);
    status = graphs_make(duel, &graphs, err);
    if (status == DEVICE_OK) {
        double one_us = block_us(duel) * graphs.calls;
        int wanted = blocks_wanted(duel, one_us);
        int most = clamp(DUEL_BATCH_US / one_us, 1, GRAPH_BATCH_BLOCKS_MAX);

        times->tick_us = event_tick_us / graphs.calls;
        status = graph_blocks(&graphs, most, lead, err); /* the first replays are slower */
        while (status == DEVICE_OK && times->count < wanted) {
            int left = wanted - times->count, batch = left < most ? left : most;

            status = graph_blocks(&graphs, batch, times->blocks + times->count, err);
            times->count += batch;
        }
    }
    graphs_free(&graphs);
    return status;
}

/* ---------------------------------------------------------------------------------------------- */

static enum device_status duel_init(struct duel *duel, const struct duel_request *request,
                                    struct err *err)
{
    enum device_status status = DEVICE_OK;

    *duel = (struct duel){.set_count = request->set_count, .cap_us = request->cap_ms * 1000};
    for (int i = 0; status == DEVICE_OK && i < 2; i++) {
        struct side *side = &duel->sides[i];

        side->sets = request->sides[i].sets;
        callee_init(&side->callee, request->sides[i].module, request->sides[i].plan, side->sets);
        status = cuda_prepare(request->sides[i].module, request->sides[i].plan, err);
        if (status == DEVICE_OK && cuda_is_rival(request->sides[i].module)) {
            status = callee_learn(&side->callee, side->sets, err);
        }
    }
    return status;
}

/* Read while both run, after what counts: reading may disturb the device. */
static enum device_status sense(struct duel *duel, struct measured *measured, struct err *err)
{
    int turns = clamp(DUEL_BATCH_US / fmax(block_us(duel) / 2, 1), 1, CALLS_OPS_MAX);
    enum device_status status;

    cuda_busy_begin();
    status = enqueue_turns(duel, turns, err);
    sensors_read(measured);
    return cuda_settle(status, err);
}

enum device_status device_duel(struct arena *arena, const struct duel_request *request,
                               struct dueled *dueled, struct err *err)
{
    struct duel duel;
    enum device_status status;

    assert(request->set_count > 0 && request->cap_ms > 0);
    *dueled =
        (struct dueled){.under_load = {.sm_clock_mhz = NAN, .power_w = NAN, .temperature_c = NAN}};
    if (!clocks_armed()) {
        err_set(err, ERR_DEVICE, "this process has timed graphs already, and cannot duel");
        return DEVICE_LOST;
    }
    status = duel_init(&duel, request, err);
    if (status == DEVICE_OK) {
        status = warm_up(&duel, err);
    }
    if (status == DEVICE_OK) {
        status = time_spans(arena, &duel, &dueled->span, err);
    }
    records_keep(false);
    if (status == DEVICE_OK) {
        status = sense(&duel, &dueled->under_load, err);
    }
    return status == DEVICE_OK ? time_graphs(arena, &duel, &dueled->graph, err) : status;
}

/* Of calls in a row, the mean of those that follow the lead-in. */
static enum device_status plan_time(struct device_module *module, const struct plan *plan,
                                    const struct device_buffers *set, double *us, struct err *err)
{
    struct timed_call calls[CHOICE_CALLS];
    struct callee callee;
    enum device_status status;
    int count, lead;

    callee_init(&callee, module, plan, set);
    status = callee_learn(&callee, set, err);
    count = clamp((double)CALLS_OPS_MAX / callee.op_count, 2, CHOICE_CALLS);
    lead = (count + 2) / 3;
    for (int i = 0; i < count; i++) {
        calls[i] = (struct timed_call){
            .callee = &callee, .set = set, .poison = poison_byte(i)};
    }
    if (status == DEVICE_OK) {
        status = calls_time(calls, count, err);
    }
    *us = 0;
    for (int i = lead; status == DEVICE_OK && i < count; i++) {
        *us += calls[i].span_us / (count - lead);
    }
    return status;
}

/* "cuDNN 9.19.0, composite 1 (engine 2); slower: unified 1 (engine 9) 8.81 us, ..." */
static const char *tell_choice(struct arena *arena, struct device_module *module, int best,
                               const double *times_us)
{
    const char *text;

    cuda_rival_use(module, best);
    text = arena_printf(arena, "%s, %s", cuda_rival_version(arena, module),
                        cuda_rival_plan_name(arena, module));
    for (int i = 0, told = 0; i < cuda_rival_plans(module); i++) {
        if (i != best && times_us[i] < INFINITY) {
            cuda_rival_use(module, i);
            text = arena_printf(arena, "%s%s %s %.4g us", text, told++ == 0 ? "; slower:" : ",",
                                cuda_rival_plan_name(arena, module), times_us[i]);
        }
    }
    cuda_rival_use(module, best);
    return text;
}

enum device_status device_rival_choose(struct arena *arena, struct device_module *module,
                                       const struct plan *plan, const struct device_buffers *set,
                                       const char **name, struct err *err)
{
    double times_us[RIVAL_PLANS_MAX];
    int best = -1;

    for (int i = 0; i < cuda_rival_plans(module); i++) {
        enum device_status status;

        cuda_rival_use(module, i);
        status = plan_time(module, plan, set, &times_us[i], err);
        if (device_is_lost(status)) {
            return status;
        }
        if (status != DEVICE_OK) {
            times_us[i] = INFINITY;
        } else if (best < 0 || times_us[i] < times_us[best]) {
            best = i;
        }
    }
    records_keep(false);
    if (best < 0) {
        return DEVICE_REFUSED; /* err tells of the last plan that would not run */
    }
    *name = tell_choice(arena, module, best, times_us);
    return DEVICE_OK;
}
