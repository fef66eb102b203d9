/* The messages: each arrives as it was sent, and what a worker should not say is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fitness/job.h"

static struct arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

/* Over the wire and back. */
static const struct message *sent(const struct message *message)
{
    struct buf wire = {0};
    struct message *got;
    struct err err;

    message_encode(message, &wire);
    if (!message_decode(arena, wire.data + 4, wire.length - 4, &got, &err)) {
        fail_msg("%s", err.what);
    }
    buf_free(&wire);
    return got;
}

/*
 * A message as text with one change: the line that begins with `key ` becomes `line` (NULL: goes;
 * a key the message lacks: is added).
 */
static const struct message *changed(const struct message *message, const char *key,
                                     const char *line)
{
    struct buf wire = {0}, out = {0};
    char *head, *end;
    struct message *got;
    bool found = false;
    struct err err;

    message_encode(message, &wire);
    buf_add(&wire, "", 1);
    head = wire.data + 4;
    end = strstr(head, "\n\n");
    assert_non_null(end);
    *end = '\0';
    for (char *at = strtok(head, "\n"); at != NULL; at = strtok(NULL, "\n")) {
        if (!found && strncmp(at, key, strlen(key)) == 0 && at[strlen(key)] == ' ') {
            found = true;
            if (line != NULL) {
                buf_printf(&out, "%s\n", line);
            }
        } else {
            buf_printf(&out, "%s\n", at);
        }
    }
    if (!found) {
        buf_printf(&out, "%s\n", line);
    }
    buf_puts(&out, "\n");
    buf_add(&out, end + 2, wire.length - 1 - (size_t)(end + 2 - wire.data));
    if (!message_decode(arena, out.data, out.length, &got, &err)) {
        fail_msg("%s", err.what);
    }
    buf_free(&wire);
    buf_free(&out);
    return got;
}

static struct hash key_of(int n)
{
    struct hash hash = {{(uint8_t)n, 2, 3}};

    return hash;
}

/* ---- verdicts ---- */

static void verdicts_have_names_that_read_back(void **state)
{
    enum verdict back;

    (void)state;
    for (int i = 0; i < VERDICT_COUNT; i++) {
        assert_true(verdict_parse(verdict_names[i], &back) && back == (enum verdict)i);
    }
    assert_false(verdict_parse("Pass", &back));
    assert_false(verdict_parse("", &back));
}

/* ---- hello ---- */

static const struct hello a_judge = {
    .protocol = JOB_PROTOCOL, .role = ROLE_JUDGE, .backend = "cuda", .version = "gate 1\ndriver 580",
    .device = "NVIDIA H200", .device_id = "GPU-1", .device_arch = 90, .device_smem_max = 232448,
    .device_sms = 132, .deterministic = true,
};

static void a_hello_arrives(void **state)
{
    struct hello got;
    struct err err;

    (void)state;
    assert_true(hello_decode(arena, sent(hello_encode(arena, &a_judge)), &got, &err));
    assert_int_equal(got.role, ROLE_JUDGE);
    assert_string_equal(got.backend, "cuda");
    assert_string_equal(got.version, "gate 1 driver 580"); /* one line */
    assert_string_equal(got.device, "NVIDIA H200");
    assert_string_equal(got.device_id, "GPU-1");
    assert_int_equal(got.device_arch, 90);
    assert_int_equal(got.device_smem_max, 232448);
    assert_int_equal(got.device_sms, 132);
    assert_true(got.deterministic);
}

static void a_hello_of_another_protocol_is_refused_naming_both(void **state)
{
    struct hello other = a_judge, got;
    struct err err;

    (void)state;
    other.protocol = 43;
    assert_false(hello_decode(arena, sent(hello_encode(arena, &other)), &got, &err));
    assert_string_equal(err.what,
                        arena_printf(arena, "the worker speaks protocol 43, this evo speaks %d",
                                     JOB_PROTOCOL));
}

static void a_hello_is_read_strictly(void **state)
{
    static const char *const bad[][2] = {
        {"protocol", NULL},          {"role", "role boss"},        {"role", NULL},
        {"device_arch", "device_arch x"}, {"device_sms", NULL},    {"deterministic", NULL},
        {"deterministic", "deterministic 2"}, {"deterministic", "deterministic yes"},
    };
    struct hello got;
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(hello_decode(arena, changed(hello_encode(arena, &a_judge), bad[i][0],
                                                 bad[i][1]), &got, &err));
        assert_int_equal(err.kind, ERR_SYSTEM);
    }
    assert_false(hello_decode(arena, message_new(arena, "built"), &got, &err));
    assert_string_equal(err.what, "expected message 'hello', got 'built'");
}

/* ---- compile and built ---- */

static void a_compile_job_arrives(void **state)
{
    struct compile_job job = {
        .id = 7, .source = "a\0b\n", .source_bytes = 4, .name = "x.cu", .arch = "sm_90a",
        .options = {"-DX=1", "--two words"}, .option_count = 2,
        .entries = {"one", "two"}, .entry_count = 2, .syntax_first = true,
    };
    struct compile_job got;
    struct err err;

    (void)state;
    assert_true(compile_decode(arena, sent(compile_encode(arena, &job)), &got, &err));
    assert_int_equal(got.id, 7);
    assert_int_equal(got.source_bytes, 4);
    assert_memory_equal(got.source, "a\0b\n", 5);
    assert_string_equal(got.name, "x.cu");
    assert_string_equal(got.arch, "sm_90a");
    assert_int_equal(got.option_count, 2);
    assert_string_equal(got.options[1], "--two words");
    assert_int_equal(got.entry_count, 2);
    assert_string_equal(got.entries[1], "two");
    assert_true(got.syntax_first);
    assert_false(compile_decode(arena, message_new(arena, "compile"), &got, &err));
    assert_false(compile_decode(arena, changed(compile_encode(arena, &job), "id", NULL), &got,
                                &err));
}

static void a_compile_job_has_limits(void **state)
{
    struct compile_job job = {.source = "", .name = "", .arch = "",
                              .option_count = JOB_OPTIONS_MAX, .entry_count = JOB_ENTRIES_MAX};
    struct compile_job got;
    struct err err;

    (void)state;
    for (int i = 0; i < JOB_OPTIONS_MAX; i++) {
        job.options[i] = "-O";
    }
    for (int i = 0; i < JOB_ENTRIES_MAX; i++) {
        job.entries[i] = "k";
    }
    assert_true(compile_decode(arena, sent(compile_encode(arena, &job)), &got, &err));
    assert_false(compile_decode(arena, changed(compile_encode(arena, &job), "name",
                                               "option -one-more"), &got, &err));
    assert_false(compile_decode(arena, changed(compile_encode(arena, &job), "name",
                                               "entry one_more"), &got, &err));
}

static struct built a_build(void)
{
    return (struct built){
        .id = 9, .verdict = VERDICT_NONE, .reason = "", .log = "info\nlines", .ptx = ".ptx",
        .ptx_bytes = 4, .cubin = "\x7f\0LF", .cubin_bytes = 4, .code_key = key_of(5),
        .entries = {{"one", 1, 2, 3, 4, 5, 6, 7, 8, 9}, {"two", 11, 12, 13, 14, 15, 16, 17, 18, 0}},
        .entry_count = 2, .warnings = "spills; more", .slow = "more", .cached = true, .compile_ms = 12.25,
    };
}

static void a_build_arrives(void **state)
{
    struct built built = a_build(), got;
    struct err err;

    (void)state;
    assert_true(built_decode(arena, sent(built_encode(arena, &built)), &got, &err));
    assert_int_equal(got.id, 9);
    assert_int_equal(got.verdict, VERDICT_NONE);
    assert_string_equal(got.log, "info\nlines");
    assert_string_equal(got.warnings, "spills; more");
    assert_string_equal(got.slow, "more");
    assert_memory_equal(got.cubin, "\x7f\0LF", 5);
    assert_int_equal(got.cubin_bytes, 4);
    assert_string_equal(got.ptx, ".ptx");
    assert_true(hash_equal(&got.code_key, &built.code_key));
    assert_int_equal(got.entry_count, 2);
    assert_string_equal(got.entries[1].name, "two");
    assert_memory_equal(&got.entries[1].registers, &built.entries[1].registers,
                        9 * sizeof(int64_t));
    assert_true(got.cached && got.compile_ms == 12.25);
}

static void a_build_that_failed_needs_no_code(void **state)
{
    struct built built = {.id = 1, .verdict = VERDICT_NO_COMPILE, .reason = "line 1:\nno",
                          .log = "", .warnings = "", .slow = ""}, got;
    struct err err;

    (void)state;
    assert_true(built_decode(arena, sent(built_encode(arena, &built)), &got, &err));
    assert_string_equal(got.reason, "line 1: no");
    assert_null(got.cubin);
    assert_int_equal(got.cubin_bytes, 0);
    assert_string_equal(got.log, "");
}

static void a_build_is_read_strictly(void **state)
{
    static const char *const bad[][2] = {
        {"verdict", "verdict pass"},  {"verdict", "verdict wrong"},  {"verdict", "verdict Pass"},
        {"verdict", NULL},            {"id", NULL},                  {"cached", "cached 2"},
        {"compile_ms", "compile_ms -1"}, {"compile_ms", "compile_ms nan"},
        {"code_key", "code_key 00"},  {"code_key", NULL},
        {"code_key", "code_key 00000000000000000000000000000000"
                     "00000000000000000000000000000000"},
        {"entry", "entry one 1 2 3 4 5 6 7 8"}, {"entry", "entry one 1 2 3 4 5 6 7 8 9 10"},
        {"entry", "entry one 1 2 3 4 5 6 7 8 9 "}, {"entry", "entry one 1 2 3 4 5 6 7 8 x"},
    };
    struct built built = a_build(), got;
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (built_decode(arena, changed(built_encode(arena, &built), bad[i][0], bad[i][1]), &got,
                         &err)) {
            fail_msg("taken: %s", bad[i][1] ? bad[i][1] : bad[i][0]);
        }
    }
    built.cubin = NULL; /* built, it says, but holds nothing */
    assert_false(built_decode(arena, sent(built_encode(arena, &built)), &got, &err));
    built = a_build();
    built.entry_count = JOB_ENTRIES_MAX;
    for (int i = 0; i < JOB_ENTRIES_MAX; i++) {
        built.entries[i] = built.entries[0];
    }
    assert_true(built_decode(arena, sent(built_encode(arena, &built)), &got, &err));
    assert_false(built_decode(arena, changed(built_encode(arena, &built), "warnings",
                                             "entry one 1 2 3 4 5 6 7 8 9"), &got, &err));
}

static void more_code_than_a_job_can_carry_is_refused(void **state)
{
    struct built built = a_build(), got;
    struct err err;

    (void)state;
    built.cubin_bytes = JOB_CODE_BYTES_MAX;
    built.cubin = arena_alloc(arena, JOB_CODE_BYTES_MAX + 1);
    assert_true(built_decode(arena, sent(built_encode(arena, &built)), &got, &err));
    built.cubin_bytes++;
    assert_false(built_decode(arena, sent(built_encode(arena, &built)), &got, &err));
}

/* ---- judge ---- */

static const struct program a_program = {
    .constants = (const struct program_constant[]){{"BLOCK_M", 32}},
    .constant_count = 1,
    .kernels = {{.name = "kernel", .grid = {"ceil_div(q_len, BLOCK_M)", "heads", "batch"},
                 .threads = "128", .smem = "0", .args = {"Q", "K", "V", "O", "problem"},
                 .arg_count = 5}},
    .kernel_count = 1,
};

static struct judge_job *a_job(int images, int problems)
{
    struct judge_job *job = arena_alloc(arena, sizeof *job);
    struct err err;

    job->id = 147;
    job->genes = "BLOCK_M=32 EXP=fast";
    job->secret = 0xfedcba9876543210;
    job->effort = EFFORT_MEASURE;
    job->cases_per_family = 3;
    job->want_samples = true;
    job->counters_later = true;
    job->image_count = images;
    for (int i = 0; i < images; i++) {
        job->images[i] = (struct judge_image){
            .cubin = arena_printf(arena, "cubin %d", i), .cubin_bytes = 7,
            .ptx = arena_printf(arena, "ptx %d", i), .ptx_bytes = 5,
            .code_key = key_of(i + 1), .program = a_program,
        };
    }
    job->problem_count = problems;
    for (int i = 0; i < problems; i++) {
        assert_true(problem_parse(arena_printf(arena, "1x8x%dx64:causal", 512 + i),
                                  &job->problems[i].problem, &err));
        job->problems[i].image = images ? i % images : 0;
        job->problems[i].bound_us = i * 1.1;
        job->problems[i].at_mhz = i * 1407.5;
        job->problems[i].use = i < JOB_TIMED_MAX ? (enum use)(i % USE_GATE)
                                                   : (enum use)(USE_GATE + i % 3);
    }
    return job;
}

static void a_judge_job_arrives_with_all_its_images_and_shapes(void **state)
{
    struct judge_job *job = a_job(JOB_IMAGES_MAX, JOB_PROBLEMS_MAX);
    struct judge_job *got = arena_alloc(arena, sizeof *got);
    struct err err;

    (void)state;
    assert_true(judge_decode(arena, sent(judge_encode(arena, job)), got, &err));
    assert_int_equal(got->id, 147);
    assert_string_equal(got->genes, job->genes);
    assert_true(got->secret == job->secret);
    assert_int_equal(got->effort, EFFORT_MEASURE);
    assert_int_equal(got->cases_per_family, 3);
    assert_true(got->want_samples);
    assert_true(got->counters_later);
    assert_int_equal(got->image_count, JOB_IMAGES_MAX);
    for (int i = 0; i < JOB_IMAGES_MAX; i++) {
        assert_string_equal(got->images[i].cubin, job->images[i].cubin);
        assert_string_equal(got->images[i].ptx, job->images[i].ptx);
        assert_true(hash_equal(&got->images[i].code_key, &job->images[i].code_key));
        assert_string_equal(got->images[i].program.kernels[0].grid[0], "ceil_div(q_len, BLOCK_M)");
        assert_int_equal(got->images[i].program.constants[0].value, 32);
    }
    assert_int_equal(got->problem_count, JOB_PROBLEMS_MAX);
    for (int i = 0; i < JOB_PROBLEMS_MAX; i++) {
        assert_true(problem_equal(&got->problems[i].problem, &job->problems[i].problem));
        assert_int_equal(got->problems[i].image, i % JOB_IMAGES_MAX);
        assert_true(got->problems[i].bound_us == i * 1.1);
        assert_true(got->problems[i].at_mhz == i * 1407.5);
        assert_int_equal(got->problems[i].use, job->problems[i].use);
    }
}

static void a_job_for_a_recording_has_no_image(void **state)
{
    struct judge_job *job = a_job(0, 2), *got = arena_alloc(arena, sizeof *got);
    struct err err;

    (void)state;
    job->secret = 0;
    for (enum effort effort = EFFORT_CORRECT; effort < EFFORT_COUNT; effort++) {
        job->effort = effort;
        assert_true(judge_decode(arena, sent(judge_encode(arena, job)), got, &err));
        assert_int_equal(got->image_count, 0);
        assert_int_equal(got->effort, effort);
    }
}

static void a_judge_job_is_read_strictly(void **state)
{
    static const char *const bad[][2] = {
        {"id", NULL},
        {"secret", NULL},
        {"secret", "secret fedcba987654321"},
        {"secret", "secret fedcba98765432100"},
        {"secret", "secret  edcba9876543210"},
        {"secret", "secret -edcba9876543210"},
        {"secret", "secret FEDCBA9876543210"},
        {"secret", "secret 0xcba98765432100"},
        {"effort", "effort much"},
        {"cases_per_family", NULL},
        {"want_samples", "want_samples 3"},
        {"counters_later", NULL},
        {"problem", "problem 2 0 0 whole 1x8x512x64"},
        {"problem", "problem -1 0 0 whole 1x8x512x64"},
        {"problem", "problem 0 nan 0 whole 1x8x512x64"},
        {"problem", "problem 0 -1 0 whole 1x8x512x64"},
        {"problem", "problem 0 0 -1 whole 1x8x512x64"},
        {"problem", "problem 0 0 inf whole 1x8x512x64"},
        {"problem", "problem 0 0 whole 1x8x512x64"},
        {"problem", "problem 0 0 0"},
        {"problem", "problem 0 0 0 whole"},
        {"problem", "problem 0 0 0 whole "},
        {"problem", "problem 0 0 0 1x8x512x64"},
        {"problem", "problem 0 0 0 never 1x8x512x64"},
        {"problem", "problem 0 0 0 whole 1x8x512"},
        {"problem", "problem 0 0 0 whole 1x8x512x64 "},
        {"image", "image 1234"},
        {"body cubin.1", "body cubin.2 7"},
        {"body ptx.1", "body ptx 5"},
    };
    struct judge_job *job = a_job(2, 1), *got = arena_alloc(arena, sizeof *got);
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (judge_decode(arena, changed(judge_encode(arena, job), bad[i][0], bad[i][1]), got,
                         &err)) {
            fail_msg("taken: %s", bad[i][1] ? bad[i][1] : bad[i][0]);
        }
    }
    assert_true(judge_decode(arena, sent(judge_encode(arena, job)), got, &err));
    job->problem_count = 0;
    assert_false(judge_decode(arena, sent(judge_encode(arena, job)), got, &err));
}

static void a_program_inside_a_job_is_read_as_strictly(void **state)
{
    static const char *const bodies[] = {"", "program\n", "built\nnumerics 0\n\n",
                                         "program\nnumerics 0\n\n"};
    struct judge_job *got = arena_alloc(arena, sizeof *got);
    struct err err;

    (void)state;
    for (int i = 0; i < 5; i++) {
        struct message *message = message_new(arena, "judge");
        const char *program = i < 4 ? bodies[i]
                                    : "program\nnumerics 0\nkernel k | 1 | 1 | 1 | 1 | 0 | Q\n\n";

        message_put(message, "id", "1");
        message_put(message, "secret", "0000000000000000");
        message_put(message, "effort", "correct");
        message_put(message, "cases_per_family", "1");
        message_put(message, "want_samples", "0");
        message_put(message, "counters_later", "0");
        message_put(message, "problem", "0 0 0 whole 1x8x512x64");
        message_put(message, "image", "%064d", 1);
        message_body(message, "program.0", program, strlen(program));
        message_body(message, "cubin.0", "", 0);
        message_body(message, "ptx.0", "", 0);
        assert_int_equal(judge_decode(arena, sent(message), got, &err), i == 4);
    }
}

static void a_judge_job_has_limits(void **state)
{
    struct judge_job *job = a_job(JOB_IMAGES_MAX, JOB_PROBLEMS_MAX);
    struct judge_job *got = arena_alloc(arena, sizeof *got);
    struct err err;

    (void)state;
    assert_false(judge_decode(arena, changed(judge_encode(arena, job), "genes",
                                             "problem 0 0 0 gate 1x8x512x64"), got, &err));
    job->problem_count = JOB_PROBLEMS_MAX - 1;
    assert_true(judge_decode(arena, changed(judge_encode(arena, job), "genes",
                                            "problem 0 0 0 gate 1x8x512x64"), got, &err));
    assert_false(judge_decode(arena, changed(judge_encode(arena, job), "genes",
                                             "problem 0 0 once 1x8x512x64"), got, &err));
    assert_false(judge_decode(arena, changed(judge_encode(arena, job), "genes",
                                             arena_printf(arena, "image %064d", 1)), got, &err));
}

/* ---- result ---- */

static double *doubles(int count, double first)
{
    double *values = arena_alloc(arena, (size_t)count * sizeof *values);

    for (int i = 0; i < count; i++) {
        values[i] = first + i / 3.0;
    }
    return values;
}

static struct judge_result *a_result(int timings)
{
    struct judge_result *result = arena_alloc(arena, sizeof *result);

    result->id = 147;
    result->verdict = VERDICT_PASS;
    result->reason = "";
    result->device_ms = 12.5;
    result->cases[0] = (struct case_result){
        .problem = 1, .rung = RUNG_CORRECT, .family = "normal", .seed = UINT64_MAX,
        .verdict = VERDICT_PASS, .error_max = 0.25, .error_allowed = INFINITY, .frobenius = NAN,
        .frobenius_allowed = 1e-3, .rows_checked = 10, .rows_total = 20, .worst = {0, 1, 2, -1},
        .expected = -1.5, .got = NAN, .reason = "first\nsecond"};
    result->cases[1] = (struct case_result){.problem = -1, .rung = RUNG_LAUNCH, .family = "",
                                            .verdict = VERDICT_WRONG, .reason = ""};
    result->case_count = 2;
    result->tallies[1][RUNG_CORRECT] = (struct rung_tally){299, 300, 0.25, 0.5};
    result->tallies[63][RUNG_TIMED] = (struct rung_tally){1, 1, NAN, NAN};
    result->timing_count = timings;
    for (int i = 0; i < timings; i++) {
        result->timings[i] = (struct timing){.problem = i, .quick = i % 2, .tick_us = 0.032,
                                             .span_us = doubles(5 + i, 10), .span_count = 5 + i,
                                             .mhz = i % 3 == 0 ? NULL : doubles(5 + i, 1400),
                                             .at_mhz = i % 3 == 0 ? 0 : 1407.5,
                                             .graph_us = doubles(i, 20), .graph_count = i};
    }
    result->metrics[0].problem = -1;
    result->metrics[0].metric = METRIC_REGISTERS;
    result->metrics[0].value = 128;
    result->metrics[0].reason = "";
    result->metrics[1].problem = 0;
    result->metrics[1].metric = METRIC_POWER_W;
    result->metrics[1].value = NAN;
    result->metrics[1].reason = "the driver\ndoes not say";
    result->metric_count = 2;
    result->counted[0].id = 41;
    result->counted[0].problem = 1;
    result->counted[0].metric = METRIC_HW_TENSOR;
    result->counted[0].value = 71.5;
    result->counted[0].reason = "";
    result->counted[1] = result->counted[0];
    result->counted[1].value = NAN;
    result->counted[1].reason = "only root may count";
    result->counted_count = 2;
    return result;
}

static void a_result_arrives(void **state)
{
    struct judge_result *result = a_result(JOB_TIMED_MAX);
    struct judge_result *got = arena_alloc(arena, sizeof *got);
    struct err err;

    (void)state;
    assert_true(result_decode(arena, sent(result_encode(arena, result)), got, &err));
    assert_int_equal(got->id, 147);
    assert_int_equal(got->verdict, VERDICT_PASS);
    assert_true(got->device_ms == 12.5 && !got->replayed);
    assert_int_equal(got->case_count, 2);
    assert_int_equal(got->cases[0].problem, 1);
    assert_int_equal(got->cases[0].rung, RUNG_CORRECT);
    assert_string_equal(got->cases[0].family, "normal");
    assert_true(got->cases[0].seed == UINT64_MAX);
    assert_true(got->cases[0].error_max == 0.25 && isnan(got->cases[0].error_allowed));
    assert_true(isnan(got->cases[0].frobenius) && isnan(got->cases[0].got));
    assert_int_equal(got->cases[0].worst[3], -1);
    assert_true(got->cases[0].expected == -1.5);
    assert_string_equal(got->cases[0].reason, "first second");
    assert_string_equal(got->cases[1].family, "");
    assert_int_equal(got->cases[1].verdict, VERDICT_WRONG);
    assert_int_equal(got->tallies[1][RUNG_CORRECT].passed, 299);
    assert_int_equal(got->tallies[1][RUNG_CORRECT].total, 300);
    assert_true(got->tallies[1][RUNG_CORRECT].error_max == 0.25);
    assert_true(got->tallies[1][RUNG_CORRECT].error_allowed == 0.5);
    assert_int_equal(got->tallies[63][RUNG_TIMED].total, 1);
    assert_true(isnan(got->tallies[63][RUNG_TIMED].error_max));
    assert_int_equal(got->tallies[1][RUNG_LAUNCH].total, 0);
    assert_int_equal(got->timing_count, JOB_TIMED_MAX);
    for (int i = 0; i < JOB_TIMED_MAX; i++) {
        assert_int_equal(got->timings[i].problem, i);
        assert_int_equal(got->timings[i].quick, i % 2);
        assert_true(got->timings[i].tick_us == 0.032);
        assert_int_equal(got->timings[i].span_count, 5 + i);
        assert_memory_equal(got->timings[i].span_us, result->timings[i].span_us,
                            (size_t)(5 + i) * sizeof(double));
        assert_true(got->timings[i].at_mhz == result->timings[i].at_mhz);
        assert_true((got->timings[i].mhz == NULL) == (i % 3 == 0));
        if (got->timings[i].mhz != NULL) {
            assert_memory_equal(got->timings[i].mhz, result->timings[i].mhz,
                                (size_t)(5 + i) * sizeof(double));
        }
        assert_int_equal(got->timings[i].graph_count, i);
    }
    assert_int_equal(got->metric_count, 2);
    assert_int_equal(got->metrics[0].metric, METRIC_REGISTERS);
    assert_true(got->metrics[0].value == 128 && isnan(got->metrics[1].value));
    assert_string_equal(got->metrics[0].reason, "");
    assert_string_equal(got->metrics[1].reason, "the driver does not say");
    assert_int_equal(got->counted_count, 2);
    assert_true(got->counted[0].id == 41 && got->counted[0].problem == 1);
    assert_true(got->counted[0].metric == METRIC_HW_TENSOR && got->counted[0].value == 71.5);
    assert_true(isnan(got->counted[1].value));
    assert_string_equal(got->counted[1].reason, "only root may count");
}

static void answers_arrive_as_they_were_told(void **state)
{
    static const char *const bad[][2] = {
        {"answer", "answer 64 normal 0000000000000001"},
        {"answer", "answer -1 normal 0000000000000001"},
        {"answer", "answer 1 normal"},
        {"answer", "answer 1 normal 000000000000001"},
        {"answer", "answer 1 normal 0000000000000001 1"},
        {"body answer.1", "body answer.2 0"},
    };
    struct judge_result *result = a_result(0), *got = arena_alloc(arena, sizeof *got);
    char *long_one = arena_alloc(arena, JOB_ANSWER_BYTES_MAX + 1);
    struct err err;

    (void)state;
    result->answer_count = 2;
    result->answers[0] = (struct answer){1, "normal", UINT64_MAX, "12\n456", 6};
    result->answers[1] = (struct answer){63, "one_hot", 5, "", 0};
    assert_true(result_decode(arena, sent(result_encode(arena, result)), got, &err));
    assert_int_equal(got->answer_count, 2);
    assert_int_equal(got->answers[0].problem, 1);
    assert_string_equal(got->answers[0].family, "normal");
    assert_true(got->answers[0].seed == UINT64_MAX && got->answers[0].bytes == 6);
    assert_memory_equal(got->answers[0].data, "12\n456", 6);
    assert_true(got->answers[1].problem == 63 && got->answers[1].bytes == 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (result_decode(arena, changed(result_encode(arena, result), bad[i][0], bad[i][1]), got,
                          &err)) {
            fail_msg("taken: %s", bad[i][1]);
        }
    }
    result->answers[1].data = long_one;
    result->answers[1].bytes = JOB_ANSWER_BYTES_MAX;
    assert_true(result_decode(arena, sent(result_encode(arena, result)), got, &err));
    result->answers[1].bytes++;
    assert_false(result_decode(arena, sent(result_encode(arena, result)), got, &err));
    result->answer_count = 1;
    assert_true(result_decode(arena, sent(result_encode(arena, result)), got, &err));
}

static struct case_result a_case(enum verdict verdict, double error, double allowed)
{
    return (struct case_result){.problem = 3, .rung = RUNG_CORRECT, .family = "normal",
                                .verdict = verdict, .error_max = error, .error_allowed = allowed,
                                .reason = ""};
}

/* What does not fit the evidence is still counted, and a failure always fits. */
static void tallies_are_exact_whatever_is_kept(void **state)
{
    struct judge_result *result = arena_alloc(arena, sizeof *result);
    const struct rung_tally *tally = &result->tallies[3][RUNG_CORRECT];
    struct case_result row = a_case(VERDICT_PASS, NAN, NAN);

    (void)state;
    case_record(result, &row);
    assert_true(isnan(tally->error_max));
    for (int i = 0; i < 1000; i++) {
        row = a_case(VERDICT_PASS, i == 500 ? 0.3 : 0.2, i == 700 ? 0.25 : 0.5);
        case_record(result, &row);
    }
    assert_int_equal(result->case_count, JOB_CASES_MAX - 1);
    assert_int_equal(tally->passed, 1001);
    assert_int_equal(tally->total, 1001);
    assert_true(tally->error_max == 0.2 && tally->error_allowed == 0.25);
    row = a_case(VERDICT_WRONG, 2, 1);
    case_record(result, &row);
    case_record(result, &row);
    assert_int_equal(result->case_count, JOB_CASES_MAX);
    assert_int_equal(result->cases[JOB_CASES_MAX - 1].verdict, VERDICT_WRONG);
    assert_int_equal(tally->passed, 1001);
    assert_int_equal(tally->total, 1003);
    assert_true(tally->error_max == 2 && tally->error_allowed == 1);
    row.problem = -1; /* of no problem: in no tally */
    case_record(result, &row);
}

static void a_result_is_read_strictly(void **state)
{
    static const char *const bad[][2] = {
        {"id", NULL},
        {"verdict", "verdict none"},
        {"verdict", "verdict fine"},
        {"replayed", "replayed 2"},
        {"device_ms", "device_ms -0.5"},
        {"device_ms", "device_ms inf"},
        {"case_reason", NULL},
        {"case", "case 1 correct normal 0000000000000001 pass 1 1 1 1 1 1 1 1 1 1 1"},
        {"case", "case 1 correct normal 0000000000000001 pass 1 1 1 1 1 1 1 1 1 1 1 1 1"},
        {"case", "case 1 correct normal 0000000000000001 best 1 1 1 1 1 1 1 1 1 1 1 1"},
        {"case", "case 1 correct normal 000000000000001 pass 1 1 1 1 1 1 1 1 1 1 1 1"},
        {"case", "case 1 correct normal 0x00000000000001 pass 1 1 1 1 1 1 1 1 1 1 1 1"},
        {"case", "case 64 correct normal 0000000000000001 pass 1 1 1 1 1 1 1 1 1 1 1 1"},
        {"case", "case -2 correct normal 0000000000000001 pass 1 1 1 1 1 1 1 1 1 1 1 1"},
        {"case", "case 1 looks normal 0000000000000001 pass 1 1 1 1 1 1 1 1 1 1 1 1"},
        {"tally", "tally 64 correct 1 1 1 1"},
        {"tally", "tally -1 correct 1 1 1 1"},
        {"tally", "tally 0 looks 1 1 1 1"},
        {"tally", "tally 0 correct 2 1 1 1"},
        {"tally", "tally 0 correct -1 1 1 1"},
        {"tally", "tally 0 correct 0 0 1 1"},
        {"tally", "tally 0 correct 1 1 1"},
        {"tally", "tally 0 correct 1 1 1 1 1"},
        {"tally", "tally 63 timed 1 1 1 1"}, /* twice */
        {"timing", "timing 0 0"},
        {"timing", "timing 0 0 0.032"},
        {"timing", "timing 0 0 nan 0"},
        {"timing", "timing 0 0 -1 0"},
        {"timing", "timing 0 2 0.032 0"},
        {"timing", "timing 0 0 0.032 0 1"},
        {"timing", "timing 0 0 0.032 -1"},
        {"timing", "timing 0 0 0.032 inf"},
        {"timing", "timing 32 0 0.032 0"},
        {"timing", "timing -1 0 0.032 0"},
        {"timing", "timing 1 0 0.032 0"}, /* twice */
        {"metric", "metric -1 registers"},
        {"metric", "metric -2 registers 1"},
        {"metric", "metric 32 registers 1"},
        {"metric", "metric -1 beauty 1"},
        {"metric", "metric 0 power_w 1"}, /* twice */
        {"counted", "counted 41 1 hw_tensor"},
        {"counted", "counted -1 1 hw_tensor 2"},
        {"counted", "counted 41 -1 hw_tensor 2"},
        {"counted", "counted 41 32 hw_tensor 2"},
        {"counted", "counted 41 1 hw_beauty 2"},
        {"counted", "counted 41 1 hw_tensor much"},
        {"body span.0", "body span 40"},
        {"body graph.1", "body graph.7 8"},
    };
    struct judge_result *got = arena_alloc(arena, sizeof *got);
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (result_decode(arena, changed(result_encode(arena, a_result(2)), bad[i][0], bad[i][1]),
                          got, &err)) {
            fail_msg("taken: %s", bad[i][1] ? bad[i][1] : bad[i][0]);
        }
    }
    assert_true(result_decode(arena, changed(result_encode(arena, a_result(2)), "case",
                                             "case 1 correct - 0000000000000001 pass nan 1 1 1 1 "
                                             "1 1 1 1 1 1 1"), got, &err));
}

static void a_sample_is_a_time(void **state)
{
    static const double impossible[] = {0, -1, NAN, INFINITY, -INFINITY};
    struct judge_result *got = arena_alloc(arena, sizeof *got);
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof impossible / sizeof *impossible; i++) {
        struct judge_result *result = a_result(2);

        result->timings[1].span_us[3] = impossible[i];
        assert_false(result_decode(arena, sent(result_encode(arena, result)), got, &err));
        assert_string_equal(err.what, "message 'result': impossible sample in 'span.1'");
    }
}

static void a_result_has_limits(void **state)
{
    struct judge_result *result = a_result(1), *got = arena_alloc(arena, sizeof *got);
    struct err err;

    (void)state;
    for (int i = 0; i < JOB_CASES_MAX; i++) {
        result->cases[i] = result->cases[i % 2];
    }
    result->case_count = JOB_CASES_MAX;
    result->timings[0].span_us = doubles(JOB_SAMPLES_MAX + 1, 1);
    result->timings[0].span_count = JOB_SAMPLES_MAX;
    assert_true(result_decode(arena, sent(result_encode(arena, result)), got, &err));
    assert_int_equal(got->case_count, JOB_CASES_MAX);
    assert_int_equal(got->timings[0].span_count, JOB_SAMPLES_MAX);
    assert_false(result_decode(arena, changed(result_encode(arena, result), "reason",
                                              "case 1 correct - 0000000000000001 pass nan 1 1 1 1 "
                                              "1 1 1 1 1 1 1"), got, &err));
    result->timings[0].span_count++;
    assert_false(result_decode(arena, sent(result_encode(arena, result)), got, &err));
}

static void samples_that_are_no_whole_doubles_are_refused(void **state)
{
    struct message *message = message_new(arena, "result");
    struct judge_result *got = arena_alloc(arena, sizeof *got);
    struct err err;

    (void)state;
    message_put(message, "id", "1");
    message_put(message, "verdict", "pass");
    message_put(message, "replayed", "0");
    message_put(message, "device_ms", "0");
    assert_true(result_decode(arena, sent(message), got, &err));
    message_put(message, "timing", "0 0 0 0");
    message_body(message, "span.0", "1234567", 7);
    message_body(message, "graph.0", "", 0);
    assert_false(result_decode(arena, sent(message), got, &err));
}

/* ---- failure ---- */

static void a_failure_arrives_with_its_kind_and_hint(void **state)
{
    struct err lost = {0}, got = {0}, err = {0};
    int64_t id;

    (void)state;
    err_set(&lost, ERR_DEVICE, "the device\nis lost");
    err_hint(&lost, "look at dmesg");
    assert_true(failure_decode(sent(failure_encode(arena, -1, &lost)), &id, &got, &err));
    assert_int_equal(id, -1);
    assert_int_equal(got.kind, ERR_DEVICE);
    assert_string_equal(got.what, "the device is lost");
    assert_string_equal(got.hint, "look at dmesg");
    err_set(&lost, ERR_SYSTEM, "no space");
    assert_true(failure_decode(sent(failure_encode(arena, 5, &lost)), &id, &got, &err));
    assert_string_equal(got.hint, "");
    assert_false(failure_decode(changed(failure_encode(arena, 5, &lost), "kind", "kind 0"), &id,
                                &got, &err));
    assert_false(failure_decode(changed(failure_encode(arena, 5, &lost), "kind", "kind 4"), &id,
                                &got, &err));
    assert_false(failure_decode(message_new(arena, "hello"), &id, &got, &err));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(verdicts_have_names_that_read_back),
        TEST(a_hello_arrives),
        TEST(a_hello_of_another_protocol_is_refused_naming_both),
        TEST(a_hello_is_read_strictly),
        TEST(a_compile_job_arrives),
        TEST(a_compile_job_has_limits),
        TEST(a_build_arrives),
        TEST(a_build_that_failed_needs_no_code),
        TEST(a_build_is_read_strictly),
        TEST(more_code_than_a_job_can_carry_is_refused),
        TEST(a_judge_job_arrives_with_all_its_images_and_shapes),
        TEST(a_job_for_a_recording_has_no_image),
        TEST(a_judge_job_is_read_strictly),
        TEST(a_program_inside_a_job_is_read_as_strictly),
        TEST(a_judge_job_has_limits),
        TEST(a_result_arrives),
        TEST(answers_arrive_as_they_were_told),
        TEST(tallies_are_exact_whatever_is_kept),
        TEST(a_result_is_read_strictly),
        TEST(a_sample_is_a_time),
        TEST(a_result_has_limits),
        TEST(samples_that_are_no_whole_doubles_are_refused),
        TEST(a_failure_arrives_with_its_kind_and_hint),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
