/*
 * fleet -- the engine's workers: spawned, fed, timed and buried.
 *
 * A worker is a child process that says HELLO and then answers one job at a time. The fleet hides
 * pipes, partial reads and writes, deadlines and deaths, and tells the engine what happened as
 * events. A worker that dies is started again; one that keeps ending without an answer, though no
 * job took it down, or cannot say HELLO, ends the fleet with an error naming it. So do failures in
 * a row, whichever workers of a role they come from: the world is broken, not the jobs. An answer
 * with the field `last` is a worker's farewell: it is replaced at once, without blame. One that
 * answers for another job, or speaks out of turn, is killed as if it had died: answers never slip
 * by one.
 *
 * Owner: engine.c. Threads: one. Events' messages live in the arena given to fleet_wait, a HELLO's
 * texts in the worker until it is replaced.
 */
#ifndef EVO_DAEMON_FLEET_H
#define EVO_DAEMON_FLEET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/frame.h"
#include "fitness/job.h"

enum {
    FLEET_WORKERS_MAX = 256,
    FLEET_EVENTS_MAX = FLEET_WORKERS_MAX,
    FLEET_HELLO_MS = 60 * 1000, /* a judge may have to wait for its GPU to be let go */
    FLEET_DEATHS_MAX = 3,       /* jobless deaths of a worker in a row that end the fleet */
    FLEET_FAILURES_MAX = 3,     /* failures of a role's workers in a row that do */
    FLEET_ARGUMENTS_MAX = 64,
};

enum fleet_event_kind {
    FLEET_READY,   /* a worker said HELLO; `hello` */
    FLEET_ANSWER,  /* a job was answered; `message` */
    FLEET_DIED,    /* a worker died with a job; `text` says how */
    FLEET_TIMEOUT, /* a worker outlived its job's deadline and was killed; `text` */
    FLEET_FAILED,  /* a worker could not do a job for reasons of its own (device lost); `text` */
};

struct fleet_event {
    enum fleet_event_kind kind;
    int worker;
    int64_t job;
    struct message *message;
    struct hello hello;
    const char *text;
    int64_t unsent; /* the job that waited behind this one, and was not sent; -1: none */
};

enum worker_state { WORKER_STARTING, WORKER_IDLE, WORKER_BUSY };

struct fleet;

struct fleet *fleet_new(void); /* ignores SIGPIPE: a dead worker shows as its death */
void fleet_free(struct fleet *fleet); /* kills whoever is left */
/* No more jobs: their input ends, and they may take so long to end by themselves. */
void fleet_dismiss(struct fleet *fleet, int64_t patience_ms);

/* Starts a worker; argv ends in NULL and is copied. */
bool fleet_add(struct fleet *fleet, enum role role, const char *name, const char *const argv[],
               int64_t deadline_ms, struct err *err);

/* The first worker from `from` on that is ready and has no job, or -1. */
int fleet_idle(const struct fleet *fleet, enum role role, int from);
/*
 * The same, but one that never had a job: what killed a worker must not be blamed on the last
 * straw. When there is none, an old one is replaced, and *worker -1 says to ask again when one is
 * ready.
 */
bool fleet_fresh(struct fleet *fleet, enum role role, int *worker, struct err *err);
int fleet_busy(const struct fleet *fleet); /* how many hold a job */
int fleet_count(const struct fleet *fleet, enum role role);
int fleet_size(const struct fleet *fleet); /* of all roles */
enum worker_state fleet_state(const struct fleet *fleet, int worker);
const char *fleet_name(const struct fleet *fleet, int worker); /* "compile:3", "cuda:0" */
enum role fleet_role(const struct fleet *fleet, int worker);
const struct hello *fleet_hello(const struct fleet *fleet, int worker); /* of a ready one */

/*
 * FLEET_READY for every worker that is: for who comes later than the events. Returns how many.
 */
int fleet_ready(const struct fleet *fleet, struct fleet_event events[FLEET_EVENTS_MAX]);

/* Hands the job to an idle worker, which has `patience` deadlines for it. Its bytes are copied. */
void fleet_send(struct fleet *fleet, int worker, int64_t job, const struct message *message,
                int patience);

/*
 * The next job of a busy worker that has none waiting: it is sent the moment the one in hand is
 * answered, while its answer is being attended to. A worker that ends first was not sent it.
 */
void fleet_send_next(struct fleet *fleet, int worker, int64_t job, const struct message *message,
                     int patience);
bool fleet_has_next(const struct fleet *fleet, int worker);

/* A descriptor that also wakes fleet_wait when it can be read (-1: none). */
void fleet_watch(struct fleet *fleet, int fd);

/*
 * Waits for something to happen, at most timeout_ms (-1: for ever), and fills `events`, at most one
 * a worker. Returns true with *count 0 at a timeout or when the watched descriptor woke it.
 */
bool fleet_wait(struct fleet *fleet, int timeout_ms, struct arena *arena,
                struct fleet_event events[FLEET_EVENTS_MAX], int *count, struct err *err);

#endif
