#define _GNU_SOURCE /* POLLRDHUP */

#include "fitness/worker.h"

#include <assert.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fitness/sandbox.h"

enum { JOB_CPU_S = 4 * 60 * 60 }; /* many cores for minutes; an endless loop ends, engine or not */

static int jobs = -1, answers = -1; /* what stdin and stdout were */

static int moved_aside(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

    if (copy < 0) {
        perror("evo worker: cannot take stdin and stdout");
        exit(1);
    }
    return copy;
}

void worker_claim_stdio(void)
{
    int null;

    assert(jobs < 0);
    jobs = moved_aside(STDIN_FILENO);
    answers = moved_aside(STDOUT_FILENO);
    null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) {
        perror("evo worker: cannot take stdin and stdout");
        exit(1);
    }
    close(null);
    signal(SIGPIPE, SIG_IGN); /* an engine that is gone is seen where it is written to */
}

/*
 * A job may take minutes and must not outlive the engine that wants it. Asked for no event, poll
 * still reports a hangup, while bytes that wait to be read do not wake it. A regular file never
 * hangs up: jobs from one are all answered.
 */
static void *watch(void *unused)
{
    struct pollfd stream = {.fd = jobs, .events = POLLRDHUP};

    (void)unused;
    for (;;) {
        if (poll(&stream, 1, -1) > 0 && stream.revents != 0) {
            _exit(0);
        }
    }
}

static bool start_watcher(struct err *err)
{
    pthread_attr_t attributes;
    pthread_t watcher;
    int rc;

    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    rc = pthread_create(&watcher, &attributes, watch, NULL);
    pthread_attr_destroy(&attributes);
    return rc == 0 || err_set(err, ERR_SYSTEM, "cannot start a thread");
}

/* The answer of one job has been sent, or *err says why no more can be. */
static bool do_job(struct arena *arena, worker_handle *handle, void *context, bool *last,
                   struct err *err)
{
    struct message *job = NULL, *answer = NULL;
    struct err lost = {0};
    int64_t id = -1;

    if (!frame_read(jobs, arena, &job, err)) {
        return false;
    }
    sandbox_allow_cpu(JOB_CPU_S);
    if (handle(context, arena, job, &answer, last, err)) {
        if (*last) {
            message_put_i64(answer, "last", 1); /* so that no further job is sent into the void */
        }
        return frame_write(answers, answer, err);
    }
    if (!message_get_i64(job, "id", &id, &lost)) {
        id = -1;
    }
    frame_write(answers, failure_encode(arena, id, err), &lost); /* the exit code says it too */
    return false;
}

int worker_run(const struct hello *hello, worker_handle *handle, void *context)
{
    struct arena *arena = arena_new();
    struct err err = {0};
    bool last = false, ok;

    assert(jobs >= 0);
    ok = start_watcher(&err) && frame_write(answers, hello_encode(arena, hello), &err);
    while (ok && !last) {
        arena_reset(arena);
        ok = do_job(arena, handle, context, &last, &err);
    }
    arena_free(arena);
    if (!ok && err.kind != ERR_NONE) {
        fprintf(stderr, "evo worker (%s): %s\n", hello->backend, err.what);
        return err_exit_code(&err);
    }
    return 0;
}
