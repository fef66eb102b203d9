/* The real programs evo-judge-replay and evo-worker-fake, spoken to as the engine does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "fitness/job.h"
#include "fitness/space.h"

#define REPLAY    EVO_BINARY_DIR "/bin/evo-judge-replay"
#define FAKE      EVO_BINARY_DIR "/bin/evo-worker-fake"
#define ATTENTION EVO_SOURCE_DIR "/tests/golden/space_attention.csv"
#define GEMM      EVO_SOURCE_DIR "/tests/data/space_gemm.csv"

enum { ARGS_MAX = 12, PATIENCE_S = 60 };

struct worker {
    pid_t pid;
    int to, from;
};

static int set_up(void **state)
{
    *state = arena_new();
    signal(SIGPIPE, SIG_IGN);
    alarm(PATIENCE_S); /* a worker that never answers must not hang the tests */
    return 0;
}

static int tear_down(void **state)
{
    alarm(0);
    arena_free(*state);
    return 0;
}

/* Starts args[0] with the rest, NULL last; errors of the program are not shown. */
static struct worker start(const char *const *args)
{
    int to[2], from[2], null;
    struct worker worker;
    char *argv[ARGS_MAX] = {NULL};

    for (int i = 0; args[i] != NULL; i++) {
        assert_true(i < ARGS_MAX - 1);
        argv[i] = (char *)args[i];
    }
    assert_int_equal(pipe(to), 0);
    assert_int_equal(pipe(from), 0);
    /* a worker started later must not hold this one's stdin open */
    fcntl(to[1], F_SETFD, FD_CLOEXEC);
    fcntl(from[0], F_SETFD, FD_CLOEXEC);
    worker.pid = fork();
    assert_true(worker.pid >= 0);
    if (worker.pid == 0) {
        null = open("/dev/null", O_WRONLY);
        dup2(to[0], STDIN_FILENO);
        dup2(from[1], STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        close(to[0]);
        close(from[1]);
        execv(argv[0], argv);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    worker.to = to[1];
    worker.from = from[0];
    return worker;
}

#define START(...) start((const char *const[]){__VA_ARGS__, NULL})

/* Closes its stdin and waits for it: the wait status. */
static int stop(struct worker *worker)
{
    int status;

    close(worker->to);
    assert_int_equal(waitpid(worker->pid, &status, 0), worker->pid);
    close(worker->from);
    return status;
}

static void assert_stops(struct worker *worker)
{
    int status = stop(worker);

    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static struct message *hear(struct arena *arena, const struct worker *worker)
{
    struct message *message = NULL;
    struct err err = {0};

    if (!frame_read(worker->from, arena, &message, &err)) {
        fail_msg("no answer: %s", err.what);
    }
    return message;
}

static struct hello hear_hello(struct arena *arena, const struct worker *worker)
{
    struct hello hello;
    struct err err;

    if (!hello_decode(arena, hear(arena, worker), &hello, &err)) {
        fail_msg("%s", err.what);
    }
    return hello;
}

/* True if the worker ends its stream, or says what is no frame, instead of an answer. */
static bool breaks_off(struct arena *arena, const struct worker *worker)
{
    struct message *message = NULL;
    struct err err;

    return !frame_read(worker->from, arena, &message, &err);
}

static struct judge_job *job_of(struct arena *arena, const char *genes, const char *problem,
                                int problem_count)
{
    struct judge_job *job = arena_alloc(arena, sizeof *job);
    struct judge_image *image = &job->images[0];
    struct err err;

    job->id = 7;
    job->genes = genes;
    job->effort = EFFORT_MEASURE;
    job->secret = 99;
    job->image_count = 1;
    image->cubin = image->ptx = "none";
    image->cubin_bytes = image->ptx_bytes = 4;
    image->program.kernel_count = 1;
    image->program.kernels[0] = (struct program_kernel){
        .name = "kernel", .grid = {"1", "1", "1"}, .threads = "32", .smem = "0"};
    job->problem_count = problem_count;
    for (int i = 0; i < problem_count; i++) {
        assert_true(problem_parse(problem, &job->problems[i].problem, &err));
    }
    return job;
}

static void send_job(struct arena *arena, const struct worker *worker, const struct judge_job *job)
{
    struct err err;

    assert_true(frame_write(worker->to, judge_encode(arena, job), &err));
}

static struct judge_result *result_of(struct arena *arena, const struct worker *worker,
                                      const struct judge_job *job)
{
    struct judge_result *result = arena_alloc(arena, sizeof *result);
    struct err err;

    send_job(arena, worker, job);
    if (!result_decode(arena, hear(arena, worker), result, &err)) {
        fail_msg("%s", err.what);
    }
    assert_int_equal(result->id, job->id);
    return result;
}

static struct judge_result *judged(struct arena *arena, const struct worker *worker,
                                   const char *genes)
{
    return result_of(arena, worker, job_of(arena, genes, "1x8x512x64", 1));
}

/* The replay judge ----------------------------------------------------------------------------- */

static void a_replay_says_hello_as_the_device_it_recorded(void **state)
{
    struct worker worker = START(REPLAY, ATTENTION);
    struct hello hello = hear_hello(*state, &worker);
    struct space *space;
    char digest[HASH_HEX + 1];
    struct err err;

    assert_true(space_load(*state, ATTENTION, &space, &err));
    hash_to_hex(&space->digest, digest);
    assert_int_equal(hello.role, ROLE_JUDGE);
    assert_string_equal(hello.backend, "replay");
    assert_string_equal(hello.device, "NVIDIA H200 (recorded)");
    assert_string_equal(hello.device_id, digest);
    assert_int_equal(hello.device_arch, 90);
    assert_int_equal(hello.device_smem_max, 232448);
    assert_int_equal(hello.device_sms, 132);
    assert_true(hello.deterministic);
    assert_stops(&worker);
}

static void a_replay_answers_what_was_recorded(void **state)
{
    static const struct {
        const char *genes;
        enum verdict verdict;
        double device_ms;
    } rows[] = {
        {"BLOCK_M=32 Exp=softmax_exp", VERDICT_PASS, 12.5 + 33.3},
        {"BLOCK_M=64 Exp=softmax_exp", VERDICT_NO_COMPILE, 0},
        {"BLOCK_M=64 Exp=softmax_exp2", VERDICT_NO_LAUNCH, 1},
        {"BLOCK_M=128 Exp=softmax_exp", VERDICT_WRONG, 40},
    };
    struct worker worker = START(REPLAY, ATTENTION);

    hear_hello(*state, &worker);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct judge_result *result = judged(*state, &worker, rows[i].genes);

        assert_int_equal(result->verdict, rows[i].verdict);
        assert_true(result->replayed);
        assert_true(result->device_ms == rows[i].device_ms);
        assert_int_equal(result->timing_count, i == 0);
        assert_true((*result->reason == '\0') == (i == 0));
        if (i == 0) {
            assert_int_equal(result->timings[0].span_count, 1);
            assert_true(result->timings[0].span_us[0] == 12.3456789);
            assert_false(result->timings[0].quick);
        }
    }
    assert_stops(&worker);
}

static void a_replay_does_not_answer_for_what_it_did_not_record(void **state)
{
    struct worker worker = START(REPLAY, ATTENTION);
    struct judge_result *result;

    hear_hello(*state, &worker);
    result = judged(*state, &worker, "BLOCK_M=128 Exp=softmax_exp2");
    assert_int_equal(result->verdict, VERDICT_UNSUPPORTED);
    assert_non_null(strstr(result->reason, "does not hold 'BLOCK_M=128 Exp=softmax_exp2'"));
    result = judged(*state, &worker, "BLOCK_M=256 Exp=softmax_exp2");
    assert_int_equal(result->verdict, VERDICT_UNSUPPORTED);
    assert_non_null(strstr(result->reason, "has no 'BLOCK_M=256'"));
    result =
        result_of(*state, &worker, job_of(*state, "BLOCK_M=32 Exp=softmax_exp", "1x8x1024x64", 1));
    assert_int_equal(result->verdict, VERDICT_UNSUPPORTED);
    assert_non_null(strstr(result->reason, "is of 1x8x512x64, not of 1x8x1024x64"));
    assert_int_equal(result->timing_count, 0);
    assert_stops(&worker);
}

static void a_replay_times_nothing_when_only_asked_for_correctness(void **state)
{
    struct worker worker = START(REPLAY, ATTENTION);
    struct judge_job *job = job_of(*state, "BLOCK_M=32 Exp=softmax_exp", "1x8x512x64", 1);
    struct judge_result *result;

    hear_hello(*state, &worker);
    job->effort = EFFORT_CORRECT;
    result = result_of(*state, &worker, job);
    assert_int_equal(result->verdict, VERDICT_PASS);
    assert_int_equal(result->timing_count, 0);
    assert_stops(&worker);
}

static void another_tuners_recording_answers_for_any_workload(void **state)
{
    struct worker worker = START(REPLAY, GEMM);
    struct judge_result *result;

    assert_string_equal(hear_hello(*state, &worker).device, "Some GPU 9000 (recorded)");
    result = result_of(*state, &worker, job_of(*state, "TILE=64 VEC=1 SHARED=1", "2x2x2x2", 3));
    assert_int_equal(result->timing_count, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(result->timings[i].problem, i);
        assert_true(result->timings[i].span_us[0] == 1500);
    }
    assert_stops(&worker);
}

static double mean_of(const struct judge_result *result)
{
    double mean = 0;

    for (int i = 0; i < result->timing_count; i++) {
        mean += result->timings[i].span_us[0] / result->timing_count;
    }
    return mean;
}

/* The row's deviation is 250 us of 1500: 32 draws have a mean within 4 * 250 / sqrt(32) of it. */
static void noise_is_drawn_from_the_recorded_deviation(void **state)
{
    struct worker one = START(REPLAY, GEMM, "--noise", "1"),
                  two = START(REPLAY, GEMM, "--noise", "2");
    struct judge_job *job = job_of(*state, "TILE=64 VEC=1 SHARED=1", "1x1x1x1", JOB_TIMED_MAX);
    struct judge_result *first, *again, *other;
    double spread = 0;

    assert_string_equal(hear_hello(*state, &one).version, "replay 1 of gemm-toy, noise 1");
    hear_hello(*state, &two);
    first = result_of(*state, &one, job);
    judged(*state, &one, "TILE=16 VEC=1 SHARED=0");
    again = result_of(*state, &one, job);
    other = result_of(*state, &two, job);
    assert_true(fabs(mean_of(first) - 1500) < 177);
    for (int i = 0; i < first->timing_count; i++) {
        assert_true(first->timings[i].span_us[0] == again->timings[i].span_us[0]);
        assert_true(first->timings[i].span_us[0] != other->timings[i].span_us[0]);
        spread += pow(first->timings[i].span_us[0] - 1500, 2) / first->timing_count;
    }
    assert_true(sqrt(spread) > 250 * 0.6 && sqrt(spread) < 250 * 1.4);
    /* a row without a recorded deviation has no noise */
    assert_true(judged(*state, &one, "TILE=16 VEC=2 SHARED=0")->timings[0].span_us[0] == 31.2);
    assert_stops(&one);
    assert_stops(&two);
}

static void a_replay_without_a_recording_does_not_start(void **state)
{
    static const char *const bad[][4] = {
        {REPLAY, NULL},
        {REPLAY, GEMM, GEMM, NULL},
        {REPLAY, GEMM, "--noise", NULL},
        {REPLAY, GEMM, "--loud", NULL},
        {REPLAY, EVO_SOURCE_DIR "/README.md", NULL},
        {REPLAY, "/nowhere.csv", NULL},
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct worker worker = start(bad[i]);
        int status;

        assert_true(breaks_off(*state, &worker));
        status = stop(&worker);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), i < 5 ? 2 : 1);
    }
}

/* The fake worker ------------------------------------------------------------------------------ */

static struct built *built_of(struct arena *arena, const struct worker *worker, const char *source)
{
    struct compile_job job = {.id = 3,
                              .source = source,
                              .source_bytes = strlen(source),
                              .name = "fake.cu",
                              .arch = "sm_90a",
                              .entries = {"kernel"},
                              .entry_count = 1};
    struct built *built = arena_alloc(arena, sizeof *built);
    struct err err;

    assert_true(frame_write(worker->to, compile_encode(arena, &job), &err));
    if (!built_decode(arena, hear(arena, worker), built, &err)) {
        fail_msg("%s", err.what);
    }
    assert_int_equal(built->id, 3);
    return built;
}

static void a_fake_compiler_sees_through_comments(void **state)
{
    struct worker worker = START(FAKE, "--role", "compile");
    struct built *one, *two, *three;

    assert_int_equal(hear_hello(*state, &worker).role, ROLE_COMPILE);
    one = built_of(*state, &worker, "// genes A=1\nint x;\n");
    two = built_of(*state, &worker, "/* genes A=2\n * more */\n\nint x;\n");
    three = built_of(*state, &worker, "int y;\n");
    assert_int_equal(one->verdict, VERDICT_NONE);
    assert_true(hash_equal(&one->code_key, &two->code_key));
    assert_string_equal(one->cubin, two->cubin);
    assert_false(hash_equal(&one->code_key, &three->code_key));
    assert_int_equal(one->entry_count, 1);
    assert_string_equal(one->entries[0].name, "kernel");
    assert_stops(&worker);
}

static void a_fake_compiler_makes_as_few_programs_as_asked(void **state)
{
    struct worker worker = START(FAKE, "--role", "compile", "--alias-mod", "3");
    struct hash seen[3];
    int count = 0;

    hear_hello(*state, &worker);
    for (int i = 0; i < 40; i++) {
        struct built *built = built_of(*state, &worker, arena_printf(*state, "int x%d;\n", i));
        int known = 0;

        while (known < count && !hash_equal(&seen[known], &built->code_key)) {
            known++;
        }
        assert_true(known < 3);
        if (known == count) {
            seen[count++] = built->code_key;
        }
    }
    assert_int_equal(count, 3);
    assert_stops(&worker);
}

static void fake_judges_agree(void **state)
{
    struct worker one = START(FAKE), two = START(FAKE, "--latency-ms", "2", "--jitter", "5");
    double least = INFINITY, most = 0;

    assert_true(hear_hello(*state, &one).deterministic);
    hear_hello(*state, &two);
    for (int i = 0; i < 64; i++) {
        const char *genes = arena_printf(*state, "BLOCK_M=%d BLOCK_N=%d Exp=e%d", 16 << i % 4,
                                         16 << i / 4 % 4, i / 16);
        struct judge_result *a = judged(*state, &one, genes), *b = judged(*state, &two, genes);

        assert_int_equal(a->verdict, VERDICT_PASS);
        assert_true(a->device_ms == b->device_ms);
        assert_int_equal(a->timings[0].span_count, b->timings[0].span_count);
        assert_memory_equal(a->timings[0].span_us, b->timings[0].span_us,
                            (size_t)a->timings[0].span_count * sizeof(double));
        least = fmin(least, a->timings[0].span_us[0]);
        most = fmax(most, a->timings[0].span_us[0]);
    }
    assert_true(most > 1.2 * least); /* there is something to search for */
    assert_stops(&one);
    assert_stops(&two);
}

static void a_fake_judge_stops_early_above_the_bound(void **state)
{
    struct worker worker = START(FAKE);
    struct judge_job *job = job_of(*state, "A=1", "1x8x512x64", 2);
    struct judge_result *result;

    hear_hello(*state, &worker);
    job->problems[1].bound_us = 0.001;
    result = result_of(*state, &worker, job);
    assert_false(result->timings[0].quick);
    assert_true(result->timings[1].quick);
    assert_true(result->timings[1].span_count < result->timings[0].span_count);
    assert_stops(&worker);
}

static void a_fake_judge_refuses_a_program_that_is_not_the_jobs(void **state)
{
    struct worker compiler = START(FAKE, "--role", "compile"), judge = START(FAKE);
    struct judge_job *job = job_of(*state, "A=1", "1x8x512x64", 1);
    struct built *built;

    hear_hello(*state, &compiler);
    hear_hello(*state, &judge);
    built = built_of(*state, &compiler, "int x;\n");
    job->images[0].cubin = built->cubin;
    job->images[0].cubin_bytes = built->cubin_bytes;
    job->images[0].code_key = built->code_key;
    assert_int_equal(result_of(*state, &judge, job)->verdict, VERDICT_PASS);
    job->images[0].code_key.bytes[0] ^= 1;
    assert_int_equal(result_of(*state, &judge, job)->verdict, VERDICT_INVALID);
    assert_stops(&compiler);
    assert_stops(&judge);
}

static void a_fake_fails_candidates_on_request(void **state)
{
    struct worker judge = START(FAKE, "--fail-on", "A=(2|3)");
    struct worker compiler = START(FAKE, "--role", "compile", "--fail-on", "broken");

    hear_hello(*state, &judge);
    hear_hello(*state, &compiler);
    assert_int_equal(judged(*state, &judge, "A=1")->verdict, VERDICT_PASS);
    assert_int_equal(judged(*state, &judge, "A=3")->verdict, VERDICT_WRONG);
    assert_int_equal(built_of(*state, &compiler, "broken")->verdict, VERDICT_NO_COMPILE);
    assert_int_equal(built_of(*state, &compiler, "whole")->verdict, VERDICT_NONE);
    assert_stops(&judge);
    assert_stops(&compiler);
}

static void a_fake_crashes_on_request(void **state)
{
    struct worker worker = START(FAKE, "--crash-on", "A=2");
    int status;

    hear_hello(*state, &worker);
    judged(*state, &worker, "A=1");
    send_job(*state, &worker, job_of(*state, "A=2", "1x1x1x1", 1));
    assert_true(breaks_off(*state, &worker));
    status = stop(&worker);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
}

static void a_fake_that_crashes_once_then_works_in_a_fresh_process(void **state)
{
    char folder[] = "/tmp/evo-test-once-XXXXXX";
    struct worker first, second;

    assert_non_null(mkdtemp(folder));
    first = START(FAKE, "--crash-on", "A=2", "--once", folder);
    second = START(FAKE, "--crash-on", "A=2", "--once", folder);
    hear_hello(*state, &first);
    hear_hello(*state, &second);
    send_job(*state, &first, job_of(*state, "A=2", "1x1x1x1", 1));
    assert_true(breaks_off(*state, &first));
    assert_int_equal(judged(*state, &second, "A=2")->verdict, VERDICT_PASS);
    assert_true(WIFSIGNALED(stop(&first)));
    assert_stops(&second);
    assert_int_equal(system(arena_printf(*state, "rm -r '%s'", folder)), 0);
}

static void a_fake_hangs_on_request_until_the_engine_is_gone(void **state)
{
    struct worker worker = START(FAKE, "--hang-on", "A=2");
    struct pollfd answer = {.fd = worker.from, .events = POLLIN};

    hear_hello(*state, &worker);
    send_job(*state, &worker, job_of(*state, "A=2", "1x1x1x1", 1));
    assert_int_equal(poll(&answer, 1, 300), 0);
    assert_stops(&worker);
}

static void a_fake_lies_on_request(void **state)
{
    struct worker worker = START(FAKE, "--lie-on", "A=2");

    hear_hello(*state, &worker);
    send_job(*state, &worker, job_of(*state, "A=2", "1x1x1x1", 1));
    assert_true(breaks_off(*state, &worker));
    assert_stops(&worker);
}

static void a_fake_leaves_after_as_many_jobs_as_asked(void **state)
{
    struct worker worker = START(FAKE, "--exit-after", "2");

    hear_hello(*state, &worker);
    judged(*state, &worker, "A=1");
    judged(*state, &worker, "A=2");
    assert_true(breaks_off(*state, &worker));
    assert_stops(&worker);
}

static void a_fake_takes_its_time(void **state)
{
    struct worker worker = START(FAKE, "--latency-ms", "120");
    int64_t begin_ms;

    hear_hello(*state, &worker);
    begin_ms = clock_now_ms();
    judged(*state, &worker, "A=1");
    assert_true(clock_now_ms() - begin_ms >= 119);
    assert_stops(&worker);
}

static void a_fake_has_the_device_asked_for(void **state)
{
    struct worker worker = START(FAKE, "--device", "other GPU");
    struct hello hello = hear_hello(*state, &worker);

    assert_string_equal(hello.device, "other GPU");
    assert_string_equal(hello.device_id, "fake:other GPU");
    assert_stops(&worker);
}

static void a_fake_says_a_wrong_hello_on_request(void **state)
{
    struct worker garbage = START(FAKE, "--garbage-hello"), old = START(FAKE, "--old-protocol");
    struct hello hello;
    struct err err;

    assert_true(breaks_off(*state, &garbage));
    assert_false(hello_decode(*state, hear(*state, &old), &hello, &err));
    assert_non_null(strstr(err.what, arena_printf(*state, "protocol %d", JOB_PROTOCOL - 1)));
    assert_stops(&garbage);
    assert_stops(&old);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_replay_says_hello_as_the_device_it_recorded),
        TEST(a_replay_answers_what_was_recorded),
        TEST(a_replay_does_not_answer_for_what_it_did_not_record),
        TEST(a_replay_times_nothing_when_only_asked_for_correctness),
        TEST(another_tuners_recording_answers_for_any_workload),
        TEST(noise_is_drawn_from_the_recorded_deviation),
        TEST(a_replay_without_a_recording_does_not_start),
        TEST(a_fake_compiler_sees_through_comments),
        TEST(a_fake_compiler_makes_as_few_programs_as_asked),
        TEST(fake_judges_agree),
        TEST(a_fake_judge_stops_early_above_the_bound),
        TEST(a_fake_judge_refuses_a_program_that_is_not_the_jobs),
        TEST(a_fake_fails_candidates_on_request),
        TEST(a_fake_crashes_on_request),
        TEST(a_fake_that_crashes_once_then_works_in_a_fresh_process),
        TEST(a_fake_hangs_on_request_until_the_engine_is_gone),
        TEST(a_fake_lies_on_request),
        TEST(a_fake_leaves_after_as_many_jobs_as_asked),
        TEST(a_fake_takes_its_time),
        TEST(a_fake_has_the_device_asked_for),
        TEST(a_fake_says_a_wrong_hello_on_request),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
