/*
 * ledger -- what a run's judges did with their time: who kept a GPU waiting that is not busy.
 *
 * A judge does one thing at a time, so the shares of a run's judges add up to the time of the run
 * times their number. What a judgement tells of itself (gate, clocks, outputs) is kept as parts of
 * the first judgements' time; what is left of that is loading, counting and the way there and back.
 *
 * Nothing of the search reads it: it depends on timing, and a dump does not show it. It is written
 * once a second and when a run ends, so a daemon that is killed loses a second of it.
 *
 * Owner: the engine, which says what it sends to whom. Threads: one.
 */
#ifndef EVO_DAEMON_LEDGER_H
#define EVO_DAEMON_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/fleet.h"
#include "db/store.h"
#include "fitness/job.h"

enum ledger_item {
    LEDGER_JUDGING,   /* has a first judgement in hand */
    LEDGER_PROMOTING, /* a second one */
    LEDGER_DUELLING,  /* a comparison with a library */
    LEDGER_STARTING,  /* a new process: its device is being opened */
    LEDGER_ENGINE,    /* has answered, and the engine records that and what comes next */
    LEDGER_COMPILERS, /* waits: what could be judged is not built yet */
    LEDGER_ORDER,     /* waits: all in the window is decided, or with another judge */
    LEDGER_ENDING,    /* waits: the run ends */
    LEDGER_GATE,      /* parts of LEDGER_JUDGING, as judgements tell them */
    LEDGER_CLOCKS,
    LEDGER_OUTPUTS,
    LEDGER_ITEMS,
};

struct ledger {
    int64_t us[LEDGER_ITEMS];
    int64_t at_us, saved_us; /* up to when it is kept, and written */
    enum ledger_item doing[FLEET_WORKERS_MAX]; /* of each judge since then */
    enum ledger_item job[FLEET_WORKERS_MAX];   /* what it was sent last */
};

/* What a run had by then; time counts from now on. */
bool ledger_open(struct ledger *ledger, struct store *store, int64_t run, struct err *err);
/* The next job of this worker. */
void ledger_send(struct ledger *ledger, int worker, enum ledger_item job);
/* What a first judgement says it took. */
void ledger_judged(struct ledger *ledger, const struct judge_result *result);
/* A wait is over: who has answered keeps nobody but the engine busy. */
void ledger_woke(struct ledger *ledger, const struct fleet *fleet,
                 const struct fleet_event *events, int count);
/* Jobs are sent: who has none waits for `reason` from now on. */
void ledger_sent(struct ledger *ledger, const struct fleet *fleet, enum ledger_item reason);
/* Inside a round; once a second unless it is the last. */
bool ledger_save(struct ledger *ledger, struct store *store, int64_t run, bool last,
                 struct err *err);

#endif
