#include "daemon/fleet.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/proc.h"

enum {
    READ_BYTES = 1 << 16,
    READS_MAX = 16, /* of one worker in a row: it may talk faster than it can be listened to */
};

struct worker {
    enum role role;
    char *name;
    char *argv[FLEET_ARGUMENTS_MAX + 1];
    int64_t job_ms; /* the deadline of one job */
    int64_t patience_ms; /* and that of the job in hand */

    enum worker_state state;
    struct proc proc;
    struct buf in, out; /* bytes received, bytes still to be sent */
    int64_t deadline;   /* of HELLO or of the job in hand; clock_now_ms */
    int64_t job;
    struct buf next; /* the message of the job that waits behind it; empty: none does */
    int64_t next_job, next_patience_ms;
    int deaths; /* in a row, without a job in hand */
    bool used;  /* has had a job since it was started */
    struct arena *hello_arena;
    struct hello hello;
};

struct fleet {
    struct worker workers[FLEET_WORKERS_MAX];
    int count;
    int failures[ROLE_COUNT]; /* in a row, of any worker */
    int watched;
};

struct fleet *fleet_new(void)
{
    struct fleet *fleet = xcalloc(1, sizeof *fleet);

    fleet->watched = -1;
    signal(SIGPIPE, SIG_IGN);
    return fleet;
}

void fleet_free(struct fleet *fleet)
{
    if (fleet == NULL) {
        return;
    }
    for (int i = 0; i < fleet->count; i++) { /* a GPU takes a while to be let go: all at once */
        if (fleet->workers[i].proc.pid > 0) {
            kill(fleet->workers[i].proc.pid, SIGKILL);
        }
    }
    for (int i = 0; i < fleet->count; i++) {
        struct worker *worker = &fleet->workers[i];

        proc_kill(&worker->proc);
        buf_free(&worker->in);
        buf_free(&worker->out);
        buf_free(&worker->next);
        arena_free(worker->hello_arena);
        free(worker->name);
        for (int arg = 0; worker->argv[arg] != NULL; arg++) {
            free(worker->argv[arg]);
        }
    }
    free(fleet);
}

void fleet_dismiss(struct fleet *fleet, int64_t patience_ms)
{
    const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    int64_t deadline = clock_now_ms() + patience_ms;
    int status;

    for (int i = 0; i < fleet->count; i++) {
        struct proc *proc = &fleet->workers[i].proc;

        if (proc->pid > 0 && proc->to >= 0) {
            close(proc->to);
            proc->to = -1;
        }
        while (proc->pid > 0 && !proc_reap(proc, &status) && clock_now_ms() < deadline) {
            nanosleep(&pause, NULL);
        }
    }
}

static bool start(struct worker *worker, struct err *err)
{
    buf_clear(&worker->in);
    buf_clear(&worker->out);
    buf_clear(&worker->next);
    worker->state = WORKER_STARTING;
    worker->used = false;
    worker->deadline = clock_now_ms() + FLEET_HELLO_MS;
    return proc_spawn(&worker->proc, worker->argv, err) ||
           err_in(err, "worker '%s'", worker->name);
}

bool fleet_add(struct fleet *fleet, enum role role, const char *name, const char *const argv[],
               int64_t deadline_ms, struct err *err)
{
    struct worker *worker = &fleet->workers[fleet->count];

    if (fleet->count == FLEET_WORKERS_MAX) {
        return err_set(err, ERR_USER, "more than %d workers", FLEET_WORKERS_MAX);
    }
    fleet->count++;
    *worker = (struct worker){
        .role = role, .name = xstrdup(name), .job_ms = deadline_ms,
        .proc = {.to = -1, .from = -1}, .hello_arena = arena_new(),
    };
    for (int i = 0; argv[i] != NULL; i++) {
        if (i == FLEET_ARGUMENTS_MAX) {
            return err_set(err, ERR_USER, "worker '%s' has more than %d arguments", name,
                           FLEET_ARGUMENTS_MAX);
        }
        worker->argv[i] = xstrdup(argv[i]);
    }
    if (worker->argv[0] == NULL) {
        return err_set(err, ERR_USER, "worker '%s' has no command", name);
    }
    return start(worker, err);
}

int fleet_idle(const struct fleet *fleet, enum role role, int from)
{
    for (int i = from; i < fleet->count; i++) {
        if (fleet->workers[i].role == role && fleet->workers[i].state == WORKER_IDLE) {
            return i;
        }
    }
    return -1;
}

bool fleet_fresh(struct fleet *fleet, enum role role, int *fresh, struct err *err)
{
    struct worker *old = NULL;

    *fresh = -1;

    for (int i = 0; i < fleet->count; i++) {
        struct worker *worker = &fleet->workers[i];

        if (worker->role != role || worker->state == WORKER_BUSY) {
            continue;
        }
        if (!worker->used) { /* idle, or about to be */
            *fresh = worker->state == WORKER_IDLE ? i : -1;
            return true;
        }
        old = worker;
    }
    if (old == NULL) {
        return true; /* all are busy */
    }
    proc_kill(&old->proc);
    return start(old, err);
}

int fleet_busy(const struct fleet *fleet)
{
    int busy = 0;

    for (int i = 0; i < fleet->count; i++) {
        busy += fleet->workers[i].state == WORKER_BUSY;
    }
    return busy;
}

int fleet_count(const struct fleet *fleet, enum role role)
{
    int count = 0;

    for (int i = 0; i < fleet->count; i++) {
        count += fleet->workers[i].role == role;
    }
    return count;
}

int fleet_size(const struct fleet *fleet) { return fleet->count; }

enum worker_state fleet_state(const struct fleet *fleet, int worker)
{
    return fleet->workers[worker].state;
}

const char *fleet_name(const struct fleet *fleet, int worker)
{
    return fleet->workers[worker].name;
}

enum role fleet_role(const struct fleet *fleet, int worker)
{
    return fleet->workers[worker].role;
}

const struct hello *fleet_hello(const struct fleet *fleet, int worker)
{
    assert(fleet->workers[worker].state != WORKER_STARTING);
    return &fleet->workers[worker].hello;
}

int fleet_ready(const struct fleet *fleet, struct fleet_event events[FLEET_EVENTS_MAX])
{
    int count = 0;

    for (int i = 0; i < fleet->count; i++) {
        if (fleet->workers[i].state != WORKER_STARTING) {
            events[count++] = (struct fleet_event){
                .kind = FLEET_READY, .worker = i, .hello = fleet->workers[i].hello, .unsent = -1};
        }
    }
    return count;
}

void fleet_watch(struct fleet *fleet, int fd) { fleet->watched = fd; }

/* Sends what the pipe takes. What no longer listens will show as dead, or outlive its deadline. */
static void push(struct worker *worker)
{
    while (worker->out.length > 0) {
        ssize_t put = write(worker->proc.to, worker->out.data, worker->out.length);

        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put < 0 && errno != EAGAIN) {
            buf_clear(&worker->out);
            return;
        }
        if (put <= 0) {
            return;
        }
        buf_drop(&worker->out, (size_t)put);
    }
}

void fleet_send(struct fleet *fleet, int index, int64_t job, const struct message *message,
                int patience)
{
    struct worker *worker = &fleet->workers[index];

    assert(worker->state == WORKER_IDLE);
    worker->state = WORKER_BUSY;
    worker->used = true;
    worker->job = job;
    worker->patience_ms = patience * worker->job_ms;
    worker->deadline = clock_now_ms() + worker->patience_ms;
    message_encode(message, &worker->out);
    push(worker);
    FAULT("fleet.sent");
}

bool fleet_has_next(const struct fleet *fleet, int index)
{
    return fleet->workers[index].next.length > 0;
}

void fleet_send_next(struct fleet *fleet, int index, int64_t job, const struct message *message,
                     int patience)
{
    struct worker *worker = &fleet->workers[index];

    assert(worker->state == WORKER_BUSY && worker->next.length == 0);
    worker->next_job = job;
    worker->next_patience_ms = patience * worker->job_ms;
    message_encode(message, &worker->next);
}

/* What waited behind the job that is answered. */
static void send_next(struct worker *worker)
{
    if (worker->next.length > 0) {
        worker->state = WORKER_BUSY;
        worker->job = worker->next_job;
        worker->patience_ms = worker->next_patience_ms;
        worker->deadline = clock_now_ms() + worker->patience_ms;
        buf_add(&worker->out, worker->next.data, worker->next.length);
        buf_clear(&worker->next);
        push(worker);
        FAULT("fleet.sent_next");
    }
}

/* What fleet_wait is filling. */
struct harvest {
    struct arena *arena;
    struct fleet_event *events;
    int count;
};

static struct fleet_event *event_add(struct harvest *harvest, enum fleet_event_kind kind,
                                     const struct fleet *fleet, const struct worker *worker)
{
    struct fleet_event *event = &harvest->events[harvest->count++];

    *event = (struct fleet_event){.kind = kind,
                                  .worker = (int)(worker - fleet->workers),
                                  .job = worker->job,
                                  .unsent = worker->next.length > 0 ? worker->next_job : -1};
    return event;
}

/* The worker is gone (or was just killed): reports its job, starts another in its place. */
static bool bury(struct fleet *fleet, struct worker *worker, enum fleet_event_kind kind,
                 const char *how, struct harvest *harvest, struct err *err)
{
    if (worker->state == WORKER_BUSY) {
        event_add(harvest, kind, fleet, worker)->text = arena_dup(harvest->arena, how);
    } else if (++worker->deaths >= FLEET_DEATHS_MAX) {
        err_set(err, worker->role == ROLE_JUDGE ? ERR_DEVICE : ERR_SYSTEM,
                "worker '%s' %s; it ended %d times in a row without an answer", worker->name, how,
                worker->deaths);
        return err_hint(err, "run '%s' by hand to see why", worker->argv[0]);
    }
    return start(worker, err);
}

static bool kill_and_bury(struct fleet *fleet, struct worker *worker, enum fleet_event_kind kind,
                          const char *how, struct harvest *harvest, struct err *err)
{
    log_line("fleet", "%s %s; starting another", worker->name, how);
    proc_kill(&worker->proc);
    return bury(fleet, worker, kind, how, harvest, err);
}

static bool take_hello(struct fleet *fleet, struct worker *worker, struct message *message,
                       struct harvest *harvest, struct err *err)
{
    struct err failure = {0};
    int64_t job;

    if (strcmp(message_verb(message), "failure") == 0) { /* it knows why it cannot start */
        if (failure_decode(message, &job, &failure, err)) {
            *err = failure;
        }
        return err_in(err, "worker '%s'", worker->name);
    }
    arena_reset(worker->hello_arena);
    if (!hello_decode(worker->hello_arena, message, &worker->hello, err)) {
        return err_in(err, "worker '%s'", worker->name);
    }
    if (worker->hello.role != worker->role) {
        return err_set(err, ERR_USER, "worker '%s' plays another role than it was started for",
                       worker->name);
    }
    if (worker->in.length > 0) {
        return kill_and_bury(fleet, worker, FLEET_DIED, "said more than hello", harvest, err);
    }
    worker->state = WORKER_IDLE;
    event_add(harvest, FLEET_READY, fleet, worker)->hello = worker->hello;
    return true;
}

/* The worker could not do its job, for reasons of its own, and ends. */
static bool take_failure(struct fleet *fleet, struct worker *worker, struct message *message,
                         struct harvest *harvest, struct err *err)
{
    struct err failure = {0};
    const char *how;
    int64_t job;

    if (!failure_decode(message, &job, &failure, err)) {
        return kill_and_bury(fleet, worker, FLEET_DIED, err->what, harvest, err);
    }
    if (++fleet->failures[worker->role] >= FLEET_FAILURES_MAX) {
        *err = failure;
        return err_in(err, "%d workers failed in a row; the last, '%s'", FLEET_FAILURES_MAX,
                      worker->name);
    }
    how = arena_printf(harvest->arena, "failed: %s", failure.what);
    event_add(harvest, FLEET_FAILED, fleet, worker)->text = arena_dup(harvest->arena, failure.what);
    log_line("fleet", "%s %s; starting another", worker->name, how);
    proc_kill(&worker->proc);
    return start(worker, err);
}

static bool take_answer(struct fleet *fleet, struct worker *worker, struct message *message,
                        struct harvest *harvest, struct err *err)
{
    struct fleet_event *event;
    int64_t job;

    if (!message_get_i64(message, "id", &job, err) || job != worker->job) {
        return kill_and_bury(fleet, worker, FLEET_DIED, "answered for another job", harvest, err);
    }
    event = event_add(harvest, FLEET_ANSWER, fleet, worker);
    event->message = message;
    worker->deaths = 0;
    fleet->failures[worker->role] = 0;
    worker->state = WORKER_IDLE;
    if (message_get(message, "last") != NULL) {
        proc_kill(&worker->proc);
        return start(worker, err);
    }
    if (worker->in.length > 0 || worker->out.length > 0) {
        return kill_and_bury(fleet, worker, FLEET_DIED,
                             worker->in.length > 0 ? "said more than its answer"
                                                   : "answered a job that it had not read",
                             harvest, err);
    }
    event->unsent = -1;
    send_next(worker);
    return true;
}

static bool take_message(struct fleet *fleet, struct worker *worker, struct message *message,
                         struct harvest *harvest, struct err *err)
{
    if (worker->state == WORKER_STARTING) {
        return take_hello(fleet, worker, message, harvest, err);
    }
    return strcmp(message_verb(message), "failure") == 0
               ? take_failure(fleet, worker, message, harvest, err)
               : take_answer(fleet, worker, message, harvest, err);
}

/* Reads what there is. One message a wait and worker: no event of it is followed by another. */
static bool pull(struct fleet *fleet, struct worker *worker, struct harvest *harvest,
                 struct err *err)
{
    char chunk[READ_BYTES], text[80];
    struct message *message;
    ssize_t got = -1;
    bool ended;
    int status;

    for (int i = 0; i < READS_MAX; i++) {
        got = read(worker->proc.from, chunk, sizeof chunk);
        if (got <= 0) {
            break; /* the end, or all for now */
        }
        buf_add(&worker->in, chunk, (size_t)got);
    }
    ended = got == 0;
    if (worker->state == WORKER_IDLE && worker->in.length > 0) {
        return kill_and_bury(fleet, worker, FLEET_DIED, "spoke without being asked", harvest, err);
    }
    if (!frame_take(&worker->in, harvest->arena, &message, err)) {
        return kill_and_bury(fleet, worker, FLEET_DIED, err->what, harvest, err);
    }
    if (message != NULL) {
        return take_message(fleet, worker, message, harvest, err);
    }
    if (ended) {
        status =
            proc_kill(&worker->proc); /* it closed its stdout: it has ended, or is as good as */
        if (worker->state != WORKER_IDLE) {
            log_line("fleet", "%s %s; starting another", worker->name,
                     proc_status_text(status, text));
        }
        return bury(fleet, worker, FLEET_DIED, proc_status_text(status, text), harvest, err);
    }
    return true;
}

static bool overdue(struct fleet *fleet, struct worker *worker, int64_t now,
                    struct harvest *harvest, struct err *err)
{
    if (worker->state == WORKER_IDLE || now < worker->deadline) {
        return true;
    }
    if (worker->state == WORKER_STARTING) {
        return kill_and_bury(fleet, worker, FLEET_DIED, "did not say hello in time", harvest, err);
    }
    return kill_and_bury(fleet, worker, FLEET_TIMEOUT,
                         arena_printf(harvest->arena, "outlived its deadline of %lld ms",
                                      (long long)worker->patience_ms),
                         harvest, err);
}

/* For poll: the time to the nearest deadline or to `until`, -1 when there is neither. */
static int time_to_wait(const struct fleet *fleet, int64_t until)
{
    int64_t now = clock_now_ms();

    for (int i = 0; i < fleet->count; i++) {
        const struct worker *worker = &fleet->workers[i];

        if (worker->state != WORKER_IDLE && worker->deadline < until) {
            until = worker->deadline;
        }
    }
    if (until == INT64_MAX) {
        return -1;
    }
    return until <= now ? 0 : until - now > INT_MAX ? INT_MAX : (int)(until - now);
}

/* One poll: what moved may be no more than a part of a message. */
static bool wait_once(struct fleet *fleet, int64_t until, bool *woken, struct harvest *harvest,
                      struct err *err)
{
    struct pollfd fds[2 * FLEET_WORKERS_MAX + 1];
    nfds_t used = 0;
    int64_t now;

    for (int i = 0; i < fleet->count; i++) {
        struct worker *worker = &fleet->workers[i];

        fds[used++] = (struct pollfd){.fd = worker->proc.from, .events = POLLIN};
        fds[used++] = (struct pollfd){.fd = worker->out.length ? worker->proc.to : -1,
                                      .events = POLLOUT};
    }
    fds[used++] = (struct pollfd){.fd = fleet->watched, .events = POLLIN};
    if (poll(fds, used, time_to_wait(fleet, until)) < 0) {
        return errno == EINTR || err_sys(err, "cannot wait for workers");
    }
    *woken = fds[used - 1].revents != 0;
    now = clock_now_ms();
    for (int i = 0; i < fleet->count; i++) {
        struct worker *worker = &fleet->workers[i];

        if (fds[2 * i + 1].revents != 0) {
            push(worker);
        }
        if ((fds[2 * i].revents != 0 && !pull(fleet, worker, harvest, err)) ||
            !overdue(fleet, worker, now, harvest, err)) {
            return false;
        }
    }
    return true;
}

bool fleet_wait(struct fleet *fleet, int timeout_ms, struct arena *arena,
                struct fleet_event events[FLEET_EVENTS_MAX], int *count, struct err *err)
{
    struct harvest harvest = {.arena = arena, .events = events};
    int64_t until = timeout_ms < 0 ? INT64_MAX : clock_now_ms() + timeout_ms;
    bool woken = false, ok;

    do {
        ok = wait_once(fleet, until, &woken, &harvest, err);
    } while (ok && harvest.count == 0 && !woken && clock_now_ms() < until);
    *count = harvest.count;
    return ok;
}
