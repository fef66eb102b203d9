/*
 * engine_state -- the engine's own struct, shared by the six files that are its loop:
 *
 *     engine.c    rounds, settling, budgets, endings
 *     recover.c   a new run, or one that goes on: rows become state
 *     breed.c     proposing: from a settled past to sources that wait for a compiler
 *     dispatch.c  jobs to workers, answers from workers, verdicts
 *     promote.c   what may be called best, judged a second time
 *     rivals.c    the best against what users would otherwise call
 */
#ifndef EVO_DAEMON_ENGINE_STATE_H
#define EVO_DAEMON_ENGINE_STATE_H

#include "daemon/audit.h"
#include "daemon/engine.h"
#include "daemon/fleet.h"
#include "daemon/ledger.h"
#include "daemon/places.h"
#include "daemon/queue.h"
#include "daemon/setup.h"
#include "daemon/shapes.h"
#include "db/store.h"

/* A job to be sent once the round's transaction is on disk. */
struct dispatch {
    int worker;
    int64_t job;
    int patience; /* how many deadlines of its worker it may take */
    bool next;    /* behind the job that the worker has in hand */
    struct message *message;
};

enum ending {
    GOING,
    STOPPING,  /* asked to: finish what is with workers */
    SPENT,     /* time or device budget: the same */
    EXHAUSTED, /* nothing left to propose: finish what is in flight */
    SETTLED,   /* nothing expected of what is left: the same */
};

/* The promoted best of a class of numerics among the settled places; us 0: none yet. */
struct champion {
    int64_t place;
    struct score score;
};

/* The best of a class of numerics, and which duels with libraries it has had. */
struct rival_match {
    int64_t place, judgement; /* judgement 0: there is none yet */
    struct genome genome;
    bool known; /* the database's rows are in `done` */
    bool done[SEED_RIVALS_MAX][SEED_PROBLEMS_MAX];
};

struct rival_due {
    int64_t place, judgement;
    int numerics, rival, problem;
};

struct rivalry {
    struct rival_match of[POPULATION_CLASSES];
    bool at_work; /* a judge has `due` */
    struct rival_due due;
    int64_t begun_ms, spent_ms; /* in this incarnation */
    struct judge_image *files[SEED_RIVALS_MAX]; /* rivals that are files, compiled; else NULL */
    bool last; /* the search has ended: nobody but duels needs the device */
    bool timed[SEED_RIVALS_MAX], failed[SEED_RIVALS_MAX];
    int refusals[SEED_RIVALS_MAX];
    bool told_last; /* that the run waits for them */
};

struct engine {
    const struct engine_options *options;
    struct arena *arena; /* of this incarnation: from one load to the next */
    struct arena *round;
    struct store *store;
    struct fleet *fleet;
    int signals;       /* a descriptor that SIGTERM and SIGINT make readable */
    int64_t fresh_run; /* the run that options->fresh made already; 0: none */

    struct setup setup;
    struct run_row run;
    struct ceilings ceilings; /* of the device, as the run has them */
    struct search_space space; /* from here on valid once a judge has said what the device is */
    bool ready;
    struct shapes shapes; /* what is timed, and what the gate judges on */
    bool emulated;        /* the judge names lines of source in what it finds */
    bool deterministic;   /* the same job always gets the same answer */
    const char *arch;
    struct hash workload;
    int64_t environment;
    double at_mhz[SEED_PROBLEMS_MAX]; /* at which each problem's times are told; 0: none yet */
    struct population *population;
    int lessons; /* of earlier runs, that it was taught */
    struct queue *queue;
    struct places *places;

    struct audit *audit;  /* NULL: every gene has been looked at */
    bool audit_at_work;   /* a compiler has its source */
    int audited;          /* genes, in this incarnation */
    int audit_passed_over; /* compilations of candidates since its last */
    int64_t duplicates;   /* refused before this incarnation */

    enum ending ending;
    int64_t ending_ms;               /* when it began to end */
    int64_t proposed;                /* places, all in the database */
    int64_t begun_ms, elapsed_ms;    /* this incarnation's start, and what the run had by then */
    int64_t progress_ms;             /* the last progress line */
    int64_t passed;                  /* settled with a pass */
    struct champion champions[POPULATION_CLASSES];
    struct shapes held_out;          /* what the promotion in hand is judged on */
    struct rivalry rivalry;
    bool told_company;               /* that a device has other users */
    struct ledger ledger;
    double founder_us;
    int64_t attempts[FLEET_WORKERS_MAX]; /* the row of the attempt each worker has in hand; or 0 */
    int64_t next_attempts[FLEET_WORKERS_MAX]; /* and of what waits behind it */
    struct dispatch dispatches[FLEET_WORKERS_MAX];
    int dispatch_count;
};

/* ---- recover.c ---- */

/* Makes the run that the options ask for, or takes it from the database; one transaction. */
bool engine_load(struct engine *engine, struct err *err);
/*
 * A judge said what its device is. The first opens the space and recalls the places; times of
 * different devices never mix, so all others must have the same model.
 */
bool engine_meet_judge(struct engine *engine, const struct fleet_event *event, struct err *err);

/* ---- breed.c ---- */

/* Proposes as many places as lag and budget allow. */
bool engine_propose(struct engine *engine, struct err *err);
/* A flight's first step from STAGE_RENDER: its sources, or a verdict at once. */
bool engine_take_off(struct engine *engine, struct flight *flight, struct err *err);
/* All images built, or none needed: reuse what is known, wait for a twin, or go to a judge. */
bool engine_toward_judge(struct engine *engine, struct flight *flight, struct err *err);
const struct family *engine_family(const struct engine *engine, const struct flight *flight);
const char *engine_genes(const struct engine *engine, struct arena *arena,
                         const struct flight *flight);
struct hash engine_source_hash(const struct flight *flight);

/* ---- dispatch.c ---- */

/* Notes an attempt for every idle worker that there is work for; the jobs are sent by engine_send.
 */
bool engine_dispatch(struct engine *engine, struct err *err);
/* A duel with a library, to an idle judge, if one is due. */
bool engine_dispatch_duel(struct engine *engine, struct err *err);
void engine_send(struct engine *engine);
bool engine_attend(struct engine *engine, const struct fleet_event *event, struct err *err);
int64_t engine_elapsed_ms(const struct engine *engine); /* over all starts */
void engine_decide(struct flight *flight, enum verdict verdict, const char *reason);
void engine_decide_by(struct flight *flight, const struct judgement_row *judgement);

/* ---- promote.c ---- */

/*
 * Whether a decided flight may be settled as it is; else it would beat the best so far. A second
 * judgement that is known already is adopted.
 */
bool engine_is_final(struct engine *engine, struct flight *flight, bool *is_final,
                     struct err *err);
/*
 * The oldest flight would beat the best so far. So may others behind it: the fastest as far as it
 * looks ahead is promoted, once all of those are decided. *is_final: one of them has passed, and
 * the oldest does not beat that one. Which is a function of rows, whenever it is asked.
 */
bool engine_look_ahead(struct engine *engine, struct flight *oldest, bool *is_final,
                       struct err *err);
/* The secret and the shapes of a promotion's job; the rest is as for any judge. */
void engine_fill_promotion(struct engine *engine, const struct flight *flight, int64_t attempt,
                           struct judge_job *job);
bool engine_promoted(struct engine *engine, struct flight *flight, int64_t attempt,
                     struct judge_result *result, const struct score *scores, struct score whole,
                     struct err *err);
/* Makes a flight that was just settled under its own name the best, if it is. */
bool engine_crown(struct engine *engine, const struct flight *flight, struct err *err);

/* ---- rivals.c ---- */

/* Compiles those that are files; before the first duel, and not where none is fought. */
bool engine_rivals_build(struct engine *engine, struct err *err);
/* Who is the best of its class from now on; duels of the one before that are missing stay so. */
void engine_rivals_take(struct engine *engine, int numerics, int64_t place, int64_t judgement,
                        const struct genome *genome);
/* Whether duels are missing, or one is with a judge. */
bool engine_rivals_left(struct engine *engine, bool *left, struct err *err);
/* Whether one may keep a judge from the search: they have a small share of the time. */
bool engine_rivals_may(const struct engine *engine, int64_t elapsed_ms);
/* The next duel as a job, which counts as sent; NULL: none is due, or one is at work. */
bool engine_fill_duel(struct engine *engine, int64_t id, struct message **message,
                      struct err *err);
bool engine_attend_duel(struct engine *engine, const struct fleet_event *event, struct err *err);

#endif
