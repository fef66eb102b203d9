#include "daemon/ledger.h"

#include <string.h>

#include "base/clock.h"

enum { SAVE_US = 1000 * 1000 };

/* As they are called in the database. */
static const struct {
    const char *name, *part_of;
} items[LEDGER_ITEMS] = {
    [LEDGER_JUDGING] = {"judging", ""},
    [LEDGER_PROMOTING] = {"promoting", ""},
    [LEDGER_DUELLING] = {"duelling", ""},
    [LEDGER_STARTING] = {"starting", ""},
    [LEDGER_ENGINE] = {"engine", ""},
    [LEDGER_COMPILERS] = {"compilers", ""},
    [LEDGER_ORDER] = {"order", ""},
    [LEDGER_ENDING] = {"ending", ""},
    [LEDGER_GATE] = {"gate", "judging"},
    [LEDGER_CLOCKS] = {"clocks", "judging"},
    [LEDGER_OUTPUTS] = {"outputs", "judging"},
};

static void recall(void *context, const struct judge_time_row *row)
{
    struct ledger *ledger = context;

    for (int i = 0; i < LEDGER_ITEMS; i++) {
        if (strcmp(items[i].name, row->what) == 0) {
            ledger->us[i] = (int64_t)(row->ms * 1e3);
        }
    }
}

bool ledger_open(struct ledger *ledger, struct store *store, int64_t run, struct err *err)
{
    *ledger = (struct ledger){.at_us = clock_now_us()};
    ledger->saved_us = ledger->at_us;
    for (int i = 0; i < FLEET_WORKERS_MAX; i++) {
        ledger->doing[i] = LEDGER_STARTING;
    }
    return store_judge_time_each(store, run, recall, ledger, err);
}

void ledger_send(struct ledger *ledger, int worker, enum ledger_item job)
{
    ledger->job[worker] = job;
}

void ledger_judged(struct ledger *ledger, const struct judge_result *result)
{
    static const struct {
        enum metric metric;
        enum ledger_item item;
    } parts[] = {{METRIC_GATE_MS, LEDGER_GATE},
                 {METRIC_MEASURE_MS, LEDGER_CLOCKS},
                 {METRIC_CHECK_MS, LEDGER_OUTPUTS}};

    for (int i = 0; i < result->metric_count; i++) {
        for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
            const double ms = result->metrics[i].value;

            if (result->metrics[i].metric == parts[k].metric && ms > 0 && ms < 1e9) {
                ledger->us[parts[k].item] += (int64_t)(ms * 1e3);
            }
        }
    }
}

/* What every judge does is done until now. */
static void advance(struct ledger *ledger, const struct fleet *fleet)
{
    int64_t now = clock_now_us(), passed = now - ledger->at_us;

    for (int i = 0; i < fleet_size(fleet); i++) {
        if (fleet_role(fleet, i) == ROLE_JUDGE) {
            ledger->us[ledger->doing[i]] += passed;
        }
    }
    ledger->at_us = now;
}

static enum ledger_item doing_now(const struct ledger *ledger, const struct fleet *fleet,
                                  int worker, enum ledger_item idle)
{
    switch (fleet_state(fleet, worker)) {
    case WORKER_STARTING: return LEDGER_STARTING;
    case WORKER_BUSY: return ledger->job[worker];
    case WORKER_IDLE: break;
    }
    return idle;
}

void ledger_woke(struct ledger *ledger, const struct fleet *fleet,
                 const struct fleet_event *events, int count)
{
    advance(ledger, fleet);
    for (int i = 0; i < count; i++) {
        int worker = events[i].worker;

        ledger->doing[worker] = doing_now(ledger, fleet, worker, LEDGER_ENGINE);
    }
}

void ledger_sent(struct ledger *ledger, const struct fleet *fleet, enum ledger_item reason)
{
    advance(ledger, fleet);
    for (int i = 0; i < fleet_size(fleet); i++) {
        ledger->doing[i] = doing_now(ledger, fleet, i, reason);
    }
}

bool ledger_save(struct ledger *ledger, struct store *store, int64_t run, bool last,
                 struct err *err)
{
    bool ok = true;

    if (!last && ledger->at_us - ledger->saved_us < SAVE_US) {
        return true;
    }
    ledger->saved_us = ledger->at_us;
    for (int i = 0; i < LEDGER_ITEMS && ok; i++) {
        struct judge_time_row row = {items[i].name, items[i].part_of,
                                     (double)ledger->us[i] / 1e3};

        ok = store_judge_time_put(store, run, &row, err);
    }
    return ok;
}
