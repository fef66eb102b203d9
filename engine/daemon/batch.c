#include "daemon/batch.h"

#include <string.h>

enum {
    DEATHS_MAX = 2,
    ROUND_MS = 1000, /* the longest time between two calls of go_on */
};

static bool goes_on(const struct batch *batch, int done, int count)
{
    return batch->go_on == NULL || batch->go_on(batch->context, done, count);
}

bool batch_await(const struct batch *batch, int *judge, struct err *err)
{
    struct fleet_event events[FLEET_EVENTS_MAX];
    int count;

    bool compiles = fleet_count(batch->fleet, ROLE_COMPILE) > 0;

    while ((*judge = fleet_idle(batch->fleet, ROLE_JUDGE, 0)) < 0 ||
           (compiles && fleet_idle(batch->fleet, ROLE_COMPILE, 0) < 0)) {
        if (!goes_on(batch, 0, 0)) {
            *judge = -1;
            return true;
        }
        if (!fleet_wait(batch->fleet, ROUND_MS, batch->arena, events, &count, err)) {
            return false;
        }
    }
    return true;
}

/* ---- sending ---- */

static void send_item(const struct batch *batch, struct batch_item *item, int index, int worker)
{
    struct arena *arena = arena_new(); /* the fleet copies a message's bytes */

    if (item->stage == BATCH_COMPILE) {
        item->compile.id = index;
        item->stage = BATCH_COMPILING;
        fleet_send(batch->fleet, worker, index, compile_encode(arena, &item->compile), 1);
    } else {
        struct judge_image *image = &item->job->images[0];

        image->cubin = item->built.cubin;
        image->cubin_bytes = item->built.cubin_bytes;
        image->ptx = item->built.ptx;
        image->ptx_bytes = item->built.ptx_bytes;
        image->code_key = item->built.code_key;
        item->job->image_count = 1;
        item->job->id = index;
        item->stage = BATCH_JUDGING;
        fleet_send(batch->fleet, worker, index, judge_encode(arena, item->job), 1);
    }
    arena_free(arena);
}

/* *worker -1: none now. What a worker died with goes to one without a past. */
static bool worker_for(const struct batch *batch, enum role role, const struct batch_item *item,
                       int *worker, struct err *err)
{
    if (item->deaths > 0) {
        return fleet_fresh(batch->fleet, role, worker, err);
    }
    *worker = fleet_idle(batch->fleet, role, 0);
    return true;
}

static bool send_all(const struct batch *batch, struct batch_item *items, int count,
                     struct err *err)
{
    static const struct {
        enum batch_stage stage;
        enum role role;
    } queues[] = {{BATCH_JUDGE, ROLE_JUDGE}, {BATCH_COMPILE, ROLE_COMPILE}};

    for (size_t q = 0; q < sizeof queues / sizeof *queues; q++) {
        for (int i = 0; i < count; i++) {
            int worker;

            if (items[i].stage != queues[q].stage) {
                continue;
            }
            if (!worker_for(batch, queues[q].role, &items[i], &worker, err)) {
                return false;
            }
            if (worker < 0) {
                break;
            }
            send_item(batch, &items[i], i, worker);
        }
    }
    return true;
}

/* ---- answers ---- */

static void finish(const struct batch *batch, struct batch_item *item, enum verdict verdict,
                   const char *reason)
{
    if (item->stage == BATCH_COMPILING) {
        item->built = (struct built){.verdict = verdict,
                                     .reason = reason,
                                     .log = "",
                                     .warnings = "",
                                     .slow = "",
                                     .ptx = "",
                                     .cubin = ""};
    } else {
        item->result = arena_alloc(batch->arena, sizeof *item->result);
        item->result->verdict = verdict;
        item->result->reason = reason;
    }
    item->stage = BATCH_DONE;
}

static void die(const struct batch *batch, struct batch_item *item, const char *how)
{
    if (++item->deaths >= DEATHS_MAX) {
        finish(batch, item, VERDICT_CRASH,
               arena_printf(batch->arena, "its %s %s, twice",
                            item->stage == BATCH_COMPILING ? "compiler" : "judge", how));
    } else {
        item->stage = item->stage == BATCH_COMPILING ? BATCH_COMPILE : BATCH_JUDGE;
    }
}

static void take_answer(const struct batch *batch, struct batch_item *item,
                        const struct fleet_event *event)
{
    struct err bad = {0};

    if (item->stage == BATCH_COMPILING) {
        if (!built_decode(batch->arena, event->message, &item->built, &bad)) {
            die(batch, item, bad.what);
            return;
        }
        item->stage = item->built.verdict == VERDICT_NONE && item->job != NULL ? BATCH_JUDGE
                                                                               : BATCH_DONE;
        return;
    }
    item->result = arena_alloc(batch->arena, sizeof *item->result);
    if (!result_decode(batch->arena, event->message, item->result, &bad)) {
        item->result = NULL;
        die(batch, item, bad.what);
        return;
    }
    item->stage = BATCH_DONE;
}

static void attend(const struct batch *batch, struct batch_item *items,
                   const struct fleet_event *event)
{
    struct batch_item *item = &items[event->job];

    switch (event->kind) {
    case FLEET_READY: break;
    case FLEET_ANSWER: take_answer(batch, item, event); break;
    case FLEET_DIED: die(batch, item, event->text); break;
    case FLEET_TIMEOUT:
        finish(batch, item, VERDICT_TIMEOUT, arena_printf(batch->arena, "it %s", event->text));
        break;
    case FLEET_FAILED:
        item->stage = item->stage == BATCH_COMPILING ? BATCH_COMPILE : BATCH_JUDGE;
        break;
    }
}

bool batch_run(const struct batch *batch, struct batch_item *items, int count, bool *done,
               struct err *err)
{
    struct fleet_event events[FLEET_EVENTS_MAX];
    int finished = 0, event_count;

    while ((*done = finished == count) == false && goes_on(batch, finished, count)) {
        if (!send_all(batch, items, count, err) ||
            !fleet_wait(batch->fleet, ROUND_MS, batch->arena, events, &event_count, err)) {
            return false;
        }
        for (int i = 0; i < event_count; i++) {
            attend(batch, items, &events[i]);
        }
        finished = 0;
        for (int i = 0; i < count; i++) {
            finished += items[i].stage == BATCH_DONE;
        }
    }
    return true;
}

/* ---- what came of it ---- */

enum verdict batch_verdict(const struct batch_item *item)
{
    return item->result != NULL ? item->result->verdict : item->built.verdict;
}

const char *batch_reason(const struct batch_item *item)
{
    return item->result != NULL ? item->result->reason : item->built.reason;
}

const char *batch_rung(const struct batch_item *item)
{
    const struct judge_result *result = item->result;

    if (result == NULL) {
        return "build";
    }
    for (int i = result->case_count - 1; i >= 0; i--) {
        if (result->cases[i].verdict != VERDICT_PASS) {
            return rung_names[result->cases[i].rung];
        }
    }
    switch (result->verdict) {
    case VERDICT_PASS: return "time";
    case VERDICT_TIMEOUT: return "deadline";
    case VERDICT_CRASH: return "process";
    case VERDICT_INVALID: return "image";
    case VERDICT_UNSUPPORTED:
    case VERDICT_NO_LAUNCH: return result->case_count > 0 ? "time" : "plan";
    default: return "time"; /* it failed while it was timed */
    }
}
