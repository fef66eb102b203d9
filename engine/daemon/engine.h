/*
 * engine -- the loop: select, mutate, render, compile, judge, score, record.
 *
 * One thread, one poll() loop, the only writer of the database. A round of the loop is one
 * transaction: what workers said is recorded, places are settled in order, new places proposed,
 * attempts noted; only after the commit are jobs sent. Starting is recovering: the run is rebuilt
 * from the database, and whatever has no verdict is dispatched again. docs/ARCHITECTURE.md tells
 * the whole story.
 */
#ifndef EVO_DAEMON_ENGINE_H
#define EVO_DAEMON_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

struct engine_options {
    const char *db_path;
    const char *seed_path; /* NULL: go on with the run in the database */
    const char *device;    /* NULL: as the seed says; auto, cuda:N[,cuda:M…], replay:FILE */
    const char *templates; /* a folder searched before all others, or NULL */
    const char *strategy;  /* NULL: as the seed says; evo, random */
    /* -1: as the seed (or the stored run) says; 0: unlimited. */
    int64_t budget_evaluations, budget_wall_ms, budget_device_ms;
    bool forget; /* a new run learns nothing from earlier ones of the database */
    bool fresh;  /* a new run, even if the database holds one of the same seed */
};

/*
 * Everything that can be checked before a daemon detaches: the seed, its families and founders'
 * names, the workers' programs, that the database is a run of this seed, that nobody runs it.
 */
bool engine_check_start(const struct engine_options *options, struct arena *arena,
                        struct err *err);

/*
 * Runs until the budget is spent, the space is exhausted, no gain is expected (seed.h), or SIGTERM
 * or SIGINT asks it to stop (what is in flight is finished; a second signal ends at once). Takes
 * the lock DB.lock.
 */
bool engine_run(const struct engine_options *options, struct err *err);

#endif
