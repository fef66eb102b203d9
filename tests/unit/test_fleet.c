/*
 * The fleet: workers are met, fed, timed and buried; what they do wrong stays theirs.
 *
 * Most of them are evo-worker-fake. For what it cannot do this program is the worker itself: it runs
 * again with the name of a part to play.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "daemon/fleet.h"

#define FAKE EVO_BINARY_DIR "/bin/evo-worker-fake"

enum { PATIENCE_MS = 20 * 1000, DEADLINE_MS = 20 * 1000 };

static struct arena *arena;
static struct fleet *fleet;
static struct fleet_event events[FLEET_EVENTS_MAX];
static int count;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new();
    fleet = fleet_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fleet_free(fleet);
    arena_free(arena);
    return 0;
}

static void add(enum role role, const char *name, const char *const argv[], int64_t deadline_ms)
{
    struct err err;

    if (!fleet_add(fleet, role, name, argv, deadline_ms, &err)) {
        fail_msg("%s", err.what);
    }
}

/* A fake judge with up to two options. */
static void add_fake(const char *a, const char *b, int64_t deadline_ms)
{
    const char *argv[] = {FAKE, "--role", "judge", a, b, NULL};

    add(ROLE_JUDGE, "fake", argv, deadline_ms);
}

/* The next event; all there are at once are expected to be one. */
static const struct fleet_event *next_event(void)
{
    struct err err;

    if (!fleet_wait(fleet, PATIENCE_MS, arena, events, &count, &err)) {
        fail_msg("%s", err.what);
    }
    assert_int_equal(count, 1);
    return &events[0];
}

static const struct fleet_event *expect(enum fleet_event_kind kind, int worker)
{
    const struct fleet_event *event = next_event();

    if (event->kind != kind) {
        fail_msg("event %d (%s), not %d", event->kind, event->text ? event->text : "", kind);
    }
    assert_int_equal(event->worker, worker);
    return event;
}

/* The fleet ends; returns why. */
static struct err expect_end(void)
{
    struct err err = {0};

    for (int i = 0; i < 100; i++) {
        if (!fleet_wait(fleet, PATIENCE_MS, arena, events, &count, &err)) {
            return err;
        }
        assert_true(count > 0); /* or it waited in vain */
    }
    fail_msg("the fleet goes on");
    return err;
}

static const struct message *job_of(int64_t id, const char *genes)
{
    struct judge_job *job = arena_alloc(arena, sizeof *job);
    struct err err;

    job->id = id;
    job->genes = genes;
    job->effort = EFFORT_MEASURE;
    job->cases_per_family = 1;
    job->problem_count = 1;
    assert_true(problem_parse("1x8x512x64", &job->problems[0].problem, &err));
    return judge_encode(arena, job);
}

static void send_job(int worker, int64_t id, const char *genes)
{
    fleet_send(fleet, worker, id, job_of(id, genes), 1);
}

static struct judge_result *result_of(const struct fleet_event *event)
{
    struct judge_result *result = arena_alloc(arena, sizeof *result);
    struct err err;

    if (!result_decode(arena, event->message, result, &err)) {
        fail_msg("%s", err.what);
    }
    return result;
}

/* ---- work ---- */

static void a_worker_is_met_and_answers(void **state)
{
    const struct fleet_event *event;

    (void)state;
    add_fake("--device", "toaster", DEADLINE_MS);
    assert_int_equal(fleet_count(fleet, ROLE_JUDGE), 1);
    assert_int_equal(fleet_count(fleet, ROLE_COMPILE), 0);
    assert_int_equal(fleet_idle(fleet, ROLE_JUDGE, 0), -1); /* not met yet */
    event = expect(FLEET_READY, 0);
    assert_string_equal(event->hello.device, "toaster");
    assert_string_equal(fleet_hello(fleet, 0)->device, "toaster");
    assert_string_equal(fleet_name(fleet, 0), "fake");
    assert_int_equal(fleet_role(fleet, 0), ROLE_JUDGE);
    for (int64_t id = 5; id < 8; id++) {
        assert_int_equal(fleet_idle(fleet, ROLE_JUDGE, 0), 0);
        assert_int_equal(fleet_idle(fleet, ROLE_JUDGE, 1), -1);
        assert_int_equal(fleet_idle(fleet, ROLE_COMPILE, 0), -1);
        send_job(0, id, "A=1");
        assert_int_equal(fleet_busy(fleet), 1);
        assert_int_equal(fleet_idle(fleet, ROLE_JUDGE, 0), -1);
        event = expect(FLEET_ANSWER, 0);
        assert_int_equal(event->job, id);
        assert_int_equal(result_of(event)->id, id);
        assert_int_equal(result_of(event)->verdict, VERDICT_PASS);
        assert_int_equal(fleet_busy(fleet), 0);
    }
}

static void eight_workers_work_at_once(void **state)
{
    enum { WORKERS = 8, JOBS = 40, LATENCY_MS = 50 };
    bool answered[JOBS] = {false};
    int64_t begun;
    int sent = 0, done = 0, ready = 0, most = 0;

    (void)state;
    for (int i = 0; i < WORKERS; i++) {
        add_fake("--latency-ms", "50", DEADLINE_MS);
    }
    begun = clock_now_ms();
    while (done < JOBS) {
        struct err err;
        int worker = -1;

        assert_true(fleet_wait(fleet, PATIENCE_MS, arena, events, &count, &err));
        assert_true(count > 0);
        for (int i = 0; i < count; i++) {
            if (events[i].kind == FLEET_READY) {
                ready++;
                continue;
            }
            assert_int_equal(events[i].kind, FLEET_ANSWER);
            assert_false(answered[events[i].job]);
            answered[events[i].job] = true;
            done++;
        }
        while (ready == WORKERS && sent < JOBS &&
               (worker = fleet_idle(fleet, ROLE_JUDGE, worker + 1)) >= 0) {
            send_job(worker, sent++, "A=1");
        }
        most = fleet_busy(fleet) > most ? fleet_busy(fleet) : most;
    }
    assert_int_equal(ready, WORKERS);
    assert_int_equal(most, WORKERS);
    assert_true(clock_now_ms() - begun < JOBS * LATENCY_MS); /* not one after another */
}

static void roles_are_not_confused(void **state)
{
    const char *compiler[] = {FAKE, "--role", "compile", NULL};
    struct compile_job job = {.id = 3, .source = "x", .source_bytes = 1, .name = "x.cu",
                              .arch = "sm_90a", .entries = {"k"}, .entry_count = 1};
    const struct fleet_event *event;
    struct built built;
    struct err err;

    (void)state;
    add_fake(NULL, NULL, DEADLINE_MS);
    expect(FLEET_READY, 0);
    add(ROLE_COMPILE, "compile:0", compiler, DEADLINE_MS);
    expect(FLEET_READY, 1);
    assert_int_equal(fleet_idle(fleet, ROLE_COMPILE, 0), 1);
    assert_int_equal(fleet_idle(fleet, ROLE_JUDGE, 0), 0);
    fleet_send(fleet, 1, 3, compile_encode(arena, &job), 1);
    event = expect(FLEET_ANSWER, 1);
    assert_true(built_decode(arena, event->message, &built, &err));
    assert_int_equal(built.verdict, VERDICT_NONE);
    add(ROLE_JUDGE, "confused", compiler, DEADLINE_MS);
    err = expect_end();
    assert_int_equal(err.kind, ERR_USER);
    assert_non_null(strstr(err.what, "'confused' plays another role"));
}

static void jobs_and_answers_may_be_larger_than_a_pipe(void **state)
{
    enum { BYTES = 3 << 20 };
    const char *self[] = {"/proc/self/exe", "echo", NULL};
    struct message *job = message_new(arena, "judge");
    char *data = arena_alloc(arena, BYTES);
    const struct fleet_event *event;
    const char *back;
    size_t size;

    (void)state;
    for (int i = 0; i < BYTES; i++) {
        data[i] = (char)(i * 31 >> 3);
    }
    message_put_i64(job, "id", 1);
    message_body(job, "load", data, BYTES);
    add(ROLE_JUDGE, "echo", self, DEADLINE_MS);
    expect(FLEET_READY, 0);
    for (int i = 0; i < 3; i++) {
        fleet_send(fleet, 0, 1, job, 1);
        event = expect(FLEET_ANSWER, 0);
        back = message_get_body(event->message, "load", &size);
        assert_int_equal(size, BYTES);
        assert_memory_equal(back, data, BYTES);
    }
}

/* ---- a job behind the one in hand ---- */

static void send_next(int64_t id, const char *genes)
{
    fleet_send_next(fleet, 0, id, job_of(id, genes), 1);
    assert_true(fleet_has_next(fleet, 0));
}

static void the_next_job_is_sent_when_the_one_in_hand_is_answered(void **state)
{
    const struct fleet_event *event;

    (void)state;
    add_fake("--latency-ms", "5", DEADLINE_MS);
    expect(FLEET_READY, 0);
    send_job(0, 1, "A=1");
    for (int64_t id = 2; id < 5; id++) {
        send_next(id, "A=1");
        event = expect(FLEET_ANSWER, 0);
        assert_int_equal(event->job, id - 1);
        assert_int_equal(event->unsent, -1);
        assert_int_equal(fleet_state(fleet, 0), WORKER_BUSY);
        assert_false(fleet_has_next(fleet, 0));
    }
    assert_int_equal(result_of(expect(FLEET_ANSWER, 0))->id, 4);
    assert_int_equal(fleet_state(fleet, 0), WORKER_IDLE);
}

static void what_waits_behind_a_death_is_not_sent(void **state)
{
    const struct fleet_event *event;

    (void)state;
    add_fake("--crash-on", "A=2", DEADLINE_MS);
    expect(FLEET_READY, 0);
    send_job(0, 1, "A=2");
    send_next(2, "A=1");
    event = expect(FLEET_DIED, 0);
    assert_int_equal(event->job, 1);
    assert_int_equal(event->unsent, 2);
    assert_false(fleet_has_next(fleet, 0));
    expect(FLEET_READY, 0);
    assert_int_equal(fleet_state(fleet, 0), WORKER_IDLE); /* it was not sent to another either */
    send_job(0, 3, "A=1");
    event = expect(FLEET_ANSWER, 0);
    assert_int_equal(event->job, 3);
    assert_int_equal(event->unsent, -1);
}

static void what_waits_behind_a_farewell_is_not_sent(void **state)
{
    const char *self[] = {"/proc/self/exe", "farewell", NULL};
    const struct fleet_event *event;

    (void)state;
    add(ROLE_JUDGE, "farewell", self, DEADLINE_MS);
    expect(FLEET_READY, 0);
    send_job(0, 1, "A=1");
    send_next(2, "A=1");
    event = expect(FLEET_ANSWER, 0);
    assert_int_equal(event->job, 1);
    assert_int_equal(event->unsent, 2);
    expect(FLEET_READY, 0);
    assert_int_equal(fleet_state(fleet, 0), WORKER_IDLE);
}

/* ---- deaths ---- */

static void a_worker_that_dies_with_a_job_is_replaced(void **state)
{
    const struct fleet_event *event;

    (void)state;
    add_fake("--crash-on", "A=2", DEADLINE_MS);
    expect(FLEET_READY, 0);
    for (int64_t id = 0; id < 5; id++) { /* as often as there are such jobs */
        send_job(0, id, "A=2");
        event = expect(FLEET_DIED, 0);
        assert_int_equal(event->job, id);
        assert_string_equal(event->text, "was killed by signal 11 (Segmentation fault)");
        assert_int_equal(fleet_idle(fleet, ROLE_JUDGE, 0), -1);
        expect(FLEET_READY, 0);
    }
    send_job(0, 7, "A=1");
    assert_int_equal(expect(FLEET_ANSWER, 0)->job, 7);
}

static void a_worker_that_outlives_its_deadline_is_killed(void **state)
{
    const struct fleet_event *event;
    int64_t begun;

    (void)state;
    add_fake("--hang-on", "A=2", 300);
    expect(FLEET_READY, 0);
    begun = clock_now_ms();
    send_job(0, 4, "A=2");
    event = expect(FLEET_TIMEOUT, 0);
    assert_int_equal(event->job, 4);
    assert_string_equal(event->text, "outlived its deadline of 300 ms");
    assert_true(clock_now_ms() - begun >= 300);
    expect(FLEET_READY, 0);
    send_job(0, 5, "A=1");
    expect(FLEET_ANSWER, 0);
}

static void talking_does_not_put_off_a_deadline(void **state)
{
    const char *self[] = {"/proc/self/exe", "dribble", NULL};

    (void)state;
    add(ROLE_JUDGE, "dribble", self, 300);
    expect(FLEET_READY, 0);
    send_job(0, 4, "A=1");
    expect(FLEET_TIMEOUT, 0);
}

static void a_flood_is_no_answer(void **state)
{
    const char *self[] = {"/proc/self/exe", "flood", NULL};

    (void)state;
    add(ROLE_JUDGE, "flood", self, DEADLINE_MS);
    expect(FLEET_READY, 0);
    send_job(0, 4, "A=1");
    assert_string_equal(expect(FLEET_DIED, 0)->text, "malformed frame: length 4294967295");
}

static void a_worker_that_stops_listening_is_timed_as_any(void **state)
{
    const char *self[] = {"/proc/self/exe", "deaf", NULL};
    struct message *job = message_new(arena, "judge");
    int64_t cpu;

    (void)state;
    message_put_i64(job, "id", 4);
    message_body(job, "load", arena_alloc(arena, 1 << 20), 1 << 20);
    add(ROLE_JUDGE, "deaf", self, 500);
    expect(FLEET_READY, 0);
    cpu = clock_cpu_us();
    fleet_send(fleet, 0, 4, job, 1);
    expect(FLEET_TIMEOUT, 0);
    assert_true(clock_cpu_us() - cpu < 250 * 1000); /* asleep meanwhile, not spinning */
}

static void an_answer_that_is_no_frame_is_a_death(void **state)
{
    (void)state;
    add_fake("--lie-on", "A=2", DEADLINE_MS);
    expect(FLEET_READY, 0);
    send_job(0, 4, "A=2");
    assert_non_null(strstr(expect(FLEET_DIED, 0)->text, "malformed frame"));
    expect(FLEET_READY, 0);
    send_job(0, 5, "A=1");
    expect(FLEET_ANSWER, 0);
}

/* Else every answer after it would be taken for the next job's. */
static void an_answer_for_another_job_is_a_death(void **state)
{
    const char *self[] = {"/proc/self/exe", "wrong-id", NULL};

    (void)state;
    add(ROLE_JUDGE, "wrong", self, DEADLINE_MS);
    expect(FLEET_READY, 0);
    send_job(0, 4, "A=1");
    assert_string_equal(expect(FLEET_DIED, 0)->text, "answered for another job");
    expect(FLEET_READY, 0);
}

static void whoever_says_more_than_its_answer_is_replaced(void **state)
{
    const char *self[] = {"/proc/self/exe", "twice", NULL};

    (void)state;
    add(ROLE_JUDGE, "twice", self, DEADLINE_MS);
    expect(FLEET_READY, 0);
    for (int64_t id = 4; id < 10; id++) {
        send_job(0, id, "A=1");
        assert_int_equal(expect(FLEET_ANSWER, 0)->job, id); /* the answer itself is good */
        expect(FLEET_READY, 0); /* from its successor: the second answer is nobody's */
    }
}

static void whoever_speaks_without_being_asked_is_replaced(void **state)
{
    const char *self[] = {"/proc/self/exe", "chatter", NULL};
    struct err err;

    (void)state;
    add(ROLE_JUDGE, "chatter", self, DEADLINE_MS);
    err = expect_end();
    assert_non_null(strstr(err.what, "'chatter' spoke without being asked"));
}

static void answering_before_reading_is_found_out(void **state)
{
    const char *self[] = {"/proc/self/exe", "hasty", NULL};
    struct message *job = message_new(arena, "judge");

    (void)state;
    message_put_i64(job, "id", 4);
    message_body(job, "load", arena_alloc(arena, 1 << 20), 1 << 20);
    add(ROLE_JUDGE, "hasty", self, DEADLINE_MS);
    expect(FLEET_READY, 0);
    fleet_send(fleet, 0, 4, job, 1);
    expect(FLEET_ANSWER, 0);
    expect(FLEET_READY, 0); /* the rest of the job is not the next one's beginning */
}

/* ---- ends without a job ---- */

static void a_farewell_is_without_blame(void **state)
{
    const char *self[] = {"/proc/self/exe", "farewell", NULL};

    (void)state;
    add(ROLE_JUDGE, "farewell", self, DEADLINE_MS);
    for (int64_t id = 0; id < 2 * FLEET_DEATHS_MAX; id++) {
        expect(FLEET_READY, 0);
        send_job(0, id, "A=1");
        assert_int_equal(expect(FLEET_ANSWER, 0)->job, id);
        assert_int_equal(fleet_idle(fleet, ROLE_JUDGE, 0), -1); /* no job is lost on it */
    }
}

static void a_worker_may_end_between_jobs_if_it_answers_some(void **state)
{
    (void)state;
    add_fake("--exit-after", "1", DEADLINE_MS);
    for (int64_t id = 0; id < 2 * FLEET_DEATHS_MAX; id++) {
        expect(FLEET_READY, 0);
        send_job(0, id, "A=1");
        expect(FLEET_ANSWER, 0);
    }
}

static void a_worker_that_keeps_dying_without_work_ends_the_fleet(void **state)
{
    struct err err;
    int ready = 0;

    (void)state;
    add_fake("--exit-after", "0", DEADLINE_MS);
    while (fleet_wait(fleet, PATIENCE_MS, arena, events, &count, &err)) {
        assert_int_equal(count, 1);
        assert_int_equal(events[0].kind, FLEET_READY);
        ready++;
    }
    assert_int_equal(ready, FLEET_DEATHS_MAX);
    assert_int_equal(err.kind, ERR_DEVICE);
    assert_string_equal(err.what, "worker 'fake' exited with 0; it ended 3 times in a row without "
                                  "an answer");
    assert_non_null(strstr(err.hint, FAKE));
}

static void a_program_that_is_not_there_ends_the_fleet(void **state)
{
    const char *argv[] = {"/no/such/program", NULL};
    int kept = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);
    struct err err;

    (void)state;
    dup2(null, STDERR_FILENO);
    add(ROLE_COMPILE, "compile:0", argv, DEADLINE_MS);
    err = expect_end();
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(null);
    assert_int_equal(err.kind, ERR_SYSTEM);
    assert_non_null(strstr(err.what, "'compile:0' exited with 127"));
    assert_non_null(strstr(err.hint, "/no/such/program"));
}

static void a_failure_is_told_and_many_end_the_fleet(void **state)
{
    const char *self[] = {"/proc/self/exe", "fail", NULL};
    const struct fleet_event *event;
    struct err err;

    (void)state;
    add(ROLE_JUDGE, "fail", self, DEADLINE_MS);
    for (int64_t id = 0; id < FLEET_FAILURES_MAX - 1; id++) {
        expect(FLEET_READY, 0);
        send_job(0, id, "A=1");
        event = expect(FLEET_FAILED, 0);
        assert_int_equal(event->job, id);
        assert_string_equal(event->text, "the device is lost");
    }
    expect(FLEET_READY, 0);
    send_job(0, 9, "A=1");
    err = expect_end();
    assert_int_equal(err.kind, ERR_DEVICE);
    assert_string_equal(err.what, "3 workers failed in a row; the last, 'fail': the device is lost");
    assert_string_equal(err.hint, "reset it");
}

/* Each of them may fail only once or twice: together they say that no job can be done. */
static void failures_of_several_workers_count_together(void **state)
{
    const char *self[] = {"/proc/self/exe", "fail", NULL};
    struct err err;

    (void)state;
    for (int i = 0; i < FLEET_FAILURES_MAX; i++) {
        add(ROLE_JUDGE, arena_printf(arena, "fail:%d", i), self, DEADLINE_MS);
        expect(FLEET_READY, i);
    }
    for (int i = 0; i < FLEET_FAILURES_MAX - 1; i++) {
        send_job(i, i, "A=1");
        expect(FLEET_FAILED, i);
        expect(FLEET_READY, i);
    }
    send_job(FLEET_FAILURES_MAX - 1, 9, "A=1");
    err = expect_end();
    assert_non_null(strstr(err.what, "the last, 'fail:2': the device is lost"));
}

static void an_answer_in_between_forgives_failures(void **state)
{
    const char *self[] = {"/proc/self/exe", "fail-odd", NULL};

    (void)state;
    add(ROLE_JUDGE, "fail", self, DEADLINE_MS);
    expect(FLEET_READY, 0);
    for (int64_t id = 0; id < 4 * FLEET_DEATHS_MAX; id++) {
        send_job(0, id, "A=1");
        expect(id % 2 ? FLEET_FAILED : FLEET_ANSWER, 0);
        if (id % 2) {
            expect(FLEET_READY, 0);
        }
    }
}

/* ---- hello ---- */

static void a_failure_in_place_of_hello_is_the_fleets_own(void **state)
{
    const char *self[] = {"/proc/self/exe", "stillborn", NULL};
    struct err err;

    (void)state;
    add(ROLE_JUDGE, "cuda:0", self, DEADLINE_MS);
    err = expect_end();
    assert_int_equal(err.kind, ERR_DEVICE);
    assert_string_equal(err.what, "worker 'cuda:0': no driver");
    assert_string_equal(err.hint, "install one");
}

static void another_protocol_is_refused_naming_both(void **state)
{
    struct err err;
    char wanted[128];

    (void)state;
    add_fake("--old-protocol", NULL, DEADLINE_MS);
    err = expect_end();
    snprintf(wanted, sizeof wanted,
             "worker 'fake': the worker speaks protocol %d, this evo speaks %d", JOB_PROTOCOL - 1,
             JOB_PROTOCOL);
    assert_string_equal(err.what, wanted);
}

static void a_hello_that_is_no_frame_ends_the_fleet_in_clear_words(void **state)
{
    struct err err;

    (void)state;
    add_fake("--garbage-hello", NULL, DEADLINE_MS);
    err = expect_end();
    assert_true(str_starts(err.what, "worker 'fake' malformed frame: "));
    assert_non_null(strstr(err.what, "; it ended 3 times in a row without an answer"));
}

static void a_hello_with_more_behind_it_is_no_hello(void **state)
{
    const char *self[] = {"/proc/self/exe", "two-hellos", NULL};
    struct err err;

    (void)state;
    add(ROLE_JUDGE, "two", self, DEADLINE_MS);
    err = expect_end();
    assert_non_null(strstr(err.what, "worker 'two' said more than hello"));
}

/* ---- waiting ---- */

static void waiting_ends_in_time_or_when_the_watched_descriptor_is_ready(void **state)
{
    struct err err;
    int pipes[2];
    int64_t begun = clock_now_ms();

    (void)state;
    assert_true(fleet_wait(fleet, 0, arena, events, &count, &err)); /* no worker at all */
    assert_int_equal(count, 0);
    add_fake(NULL, NULL, DEADLINE_MS);
    expect(FLEET_READY, 0);
    begun = clock_now_ms();
    assert_true(fleet_wait(fleet, 100, arena, events, &count, &err));
    assert_int_equal(count, 0);
    assert_true(clock_now_ms() - begun >= 99);
    assert_int_equal(pipe(pipes), 0);
    fleet_watch(fleet, pipes[0]);
    assert_int_equal(write(pipes[1], "x", 1), 1);
    assert_true(fleet_wait(fleet, -1, arena, events, &count, &err));
    assert_int_equal(count, 0);
    fleet_watch(fleet, -1);
    close(pipes[0]);
    close(pipes[1]);
}

static void a_fleet_has_limits(void **state)
{
    const char *argv[FLEET_ARGUMENTS_MAX + 2] = {FAKE};
    struct err err;

    (void)state;
    for (int i = 1; i <= FLEET_ARGUMENTS_MAX; i++) {
        argv[i] = "--garbage-hello";
    }
    assert_false(fleet_add(fleet, ROLE_JUDGE, "many", argv, 1, &err));
    assert_string_equal(err.what, "worker 'many' has more than 64 arguments");
    argv[0] = NULL;
    assert_false(fleet_add(fleet, ROLE_JUDGE, "none", argv, 1, &err));
    assert_string_equal(err.what, "worker 'none' has no command");
}

/* Whether a process has this argument, which begins with an m: grep's own is not it. */
static bool is_running(const char *argument)
{
    char command[256];

    snprintf(command, sizeof command, "grep -qsxz '[m]%s' /proc/[0-9]*/cmdline",
             argument + 1);
    return system(command) == 0;
}

static void nobody_outlives_the_fleet(void **state)
{
    char mark[64];

    (void)state;
    snprintf(mark, sizeof mark, "mark-%ld", (long)getpid());
    for (int i = 0; i < 3; i++) {
        add_fake("--device", mark, DEADLINE_MS);
        expect(FLEET_READY, i);
    }
    assert_true(is_running(mark));
    fleet_free(fleet);
    assert_false(is_running(mark));
    fleet = fleet_new();
    fleet_free(NULL);
}

/* ---- the workers of this file ---- */

static void say(const struct message *message)
{
    struct err err;

    if (!frame_write(STDOUT_FILENO, message, &err)) {
        _exit(0);
    }
}

static struct message *hear(void)
{
    struct message *message;
    struct err err;

    if (!frame_read(STDIN_FILENO, arena, &message, &err)) {
        _exit(0);
    }
    return message;
}

static struct message *hello(void)
{
    struct hello hello = {.protocol = JOB_PROTOCOL, .role = ROLE_JUDGE, .backend = "fake",
                          .version = "1", .device = "self", .device_id = "self"};

    return hello_encode(arena, &hello);
}

static struct message *answer(const struct message *job, int64_t add_to_id)
{
    struct judge_result *result = arena_alloc(arena, sizeof *result);
    struct err err;

    if (!message_get_i64(job, "id", &result->id, &err)) {
        _exit(1);
    }
    result->id += add_to_id;
    result->verdict = VERDICT_PASS;
    result->reason = "";
    return result_encode(arena, result);
}

static struct message *failure(void)
{
    struct err err = {0};

    err_set(&err, ERR_DEVICE, "the device is lost");
    err_hint(&err, "reset it");
    return failure_encode(arena, 0, &err);
}

static void play_echo(void)
{
    for (;;) {
        size_t size;
        const struct message *job = hear();
        const char *data = message_get_body(job, "load", &size);
        struct message *back = answer(job, 0);

        message_body(back, "load", data, size);
        say(back);
    }
}

static void play_dribble(void)
{
    hear();
    if (write(STDOUT_FILENO, "\xff\xff\0\0", 4) != 4) {
        _exit(1);
    }
    while (write(STDOUT_FILENO, "x", 1) == 1) {
        usleep(5000);
    }
}

static void play_flood(void)
{
    char noise[65536];

    memset(noise, 0xff, sizeof noise);
    hear();
    while (write(STDOUT_FILENO, noise, sizeof noise) > 0) {
    }
}

static void play_deaf(void)
{
    char byte;

    if (read(STDIN_FILENO, &byte, 1) != 1) { /* the job begins */
        _exit(1);
    }
    close(STDIN_FILENO);
    sleep(60);
}

static void play_wrong_id(void) { say(answer(hear(), 1)); }

/* Both in one write: the fleet finds the second behind the first. */
static void play_twice(void)
{
    struct buf wire = {0};
    const struct message *one = answer(hear(), 0);

    message_encode(one, &wire);
    message_encode(one, &wire);
    if (write(STDOUT_FILENO, wire.data, wire.length) != (ssize_t)wire.length) {
        _exit(1);
    }
    sleep(60);
}

static void play_chatter(void)
{
    usleep(50 * 1000); /* hello is heard by then */
    say(hello());
    sleep(60);
}

static void play_hasty(void)
{
    char byte;
    struct message *job = message_new(arena, "judge");

    if (read(STDIN_FILENO, &byte, 1) != 1) {
        _exit(1);
    }
    message_put_i64(job, "id", 4);
    say(answer(job, 0));
    sleep(60);
}

static void play_farewell(void)
{
    struct message *last = answer(hear(), 0);

    message_put_i64(last, "last", 1);
    say(last);
    sleep(60); /* slow to go */
}

static void play_fail(void)
{
    hear();
    say(failure());
}

static void play_fail_odd(void)
{
    for (;;) {
        const struct message *job = hear();
        int64_t id;
        struct err err;

        if (message_get_i64(job, "id", &id, &err) && id % 2) {
            say(failure());
            return;
        }
        say(answer(job, 0));
    }
}

static void play_two_hellos(void)
{
    struct buf wire = {0};

    message_encode(hello(), &wire);
    message_encode(hello(), &wire);
    if (write(STDOUT_FILENO, wire.data, wire.length) != (ssize_t)wire.length) {
        _exit(1);
    }
    sleep(60);
}

static void play_stillborn(void)
{
    struct err err = {0};

    err_set(&err, ERR_DEVICE, "no driver");
    err_hint(&err, "install one");
    say(failure_encode(arena, -1, &err));
}

static void play(const char *part)
{
    static const struct {
        const char *part;
        void (*play)(void);
        bool greets;
    } parts[] = {
        {"echo", play_echo, true},           {"dribble", play_dribble, true},
        {"flood", play_flood, true},         {"deaf", play_deaf, true},
        {"wrong-id", play_wrong_id, true},   {"twice", play_twice, true},
        {"chatter", play_chatter, true},     {"hasty", play_hasty, true},
        {"farewell", play_farewell, true},   {"fail", play_fail, true},
        {"fail-odd", play_fail_odd, true},   {"two-hellos", play_two_hellos, false},
        {"stillborn", play_stillborn, false},
    };

    arena = arena_new();
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (strcmp(part, parts[i].part) == 0) {
            if (parts[i].greets) {
                say(hello());
            }
            parts[i].play();
        }
    }
    _exit(0);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_worker_is_met_and_answers),
        TEST(eight_workers_work_at_once),
        TEST(roles_are_not_confused),
        TEST(jobs_and_answers_may_be_larger_than_a_pipe),
        TEST(the_next_job_is_sent_when_the_one_in_hand_is_answered),
        TEST(what_waits_behind_a_death_is_not_sent),
        TEST(what_waits_behind_a_farewell_is_not_sent),
        TEST(a_worker_that_dies_with_a_job_is_replaced),
        TEST(a_worker_that_outlives_its_deadline_is_killed),
        TEST(talking_does_not_put_off_a_deadline),
        TEST(a_flood_is_no_answer),
        TEST(a_worker_that_stops_listening_is_timed_as_any),
        TEST(an_answer_that_is_no_frame_is_a_death),
        TEST(an_answer_for_another_job_is_a_death),
        TEST(whoever_says_more_than_its_answer_is_replaced),
        TEST(whoever_speaks_without_being_asked_is_replaced),
        TEST(answering_before_reading_is_found_out),
        TEST(a_farewell_is_without_blame),
        TEST(a_worker_may_end_between_jobs_if_it_answers_some),
        TEST(a_worker_that_keeps_dying_without_work_ends_the_fleet),
        TEST(a_program_that_is_not_there_ends_the_fleet),
        TEST(a_failure_is_told_and_many_end_the_fleet),
        TEST(failures_of_several_workers_count_together),
        TEST(an_answer_in_between_forgives_failures),
        TEST(a_failure_in_place_of_hello_is_the_fleets_own),
        TEST(another_protocol_is_refused_naming_both),
        TEST(a_hello_that_is_no_frame_ends_the_fleet_in_clear_words),
        TEST(a_hello_with_more_behind_it_is_no_hello),
        TEST(waiting_ends_in_time_or_when_the_watched_descriptor_is_ready),
        TEST(a_fleet_has_limits),
        TEST(nobody_outlives_the_fleet),
    };

    signal(SIGPIPE, SIG_IGN);
    if (argc > 1) {
        play(argv[1]);
    }
    alarm(240);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
