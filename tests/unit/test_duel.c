/* Two programs of the host device, duelling: who may, and what is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/str.h"
#include "fitness/cubin.h"
#include "fitness/duel.h"

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

/* A side is a variant of the host device by name; the cubin only has to be one. */
static struct duel_side code(const char *name, const char *cubin)
{
    static struct program_constant none[1];
    struct duel_side side = {.rival = ""};
    struct cubin_facts facts;
    struct buf file = {0};
    struct err err = {0};
    const char *path = arena_printf(arena, EVO_SOURCE_DIR "/tests/golden/cubin/%s.cubin", cubin);

    if (!file_read(path, 1 << 20, &file, &err) ||
        !cubin_read(arena, file.data, file.length, &facts, &err)) {
        fail_msg("%s", err.what);
    }
    side.image = (struct judge_image){.cubin = arena_copy(arena, file.data, file.length),
                                      .cubin_bytes = file.length,
                                      .ptx = "",
                                      .code_key = facts.code_key,
                                      .program = {.constants = none,
                                                  .kernel_count = 1,
                                                  .supports_count = 1,
                                                  .supports = {{"kv_len < 1000", "few keys"}},
                                                  .kernels[0] = {.name = name,
                                                                 .grid = {"1", "1", "1"},
                                                                 .threads = "32",
                                                                 .smem = "0",
                                                                 .args = {"Q"},
                                                                 .arg_count = 1}}};
    buf_free(&file);
    return side;
}

static struct duel_side library(const char *name) { return (struct duel_side){.rival = name}; }

static struct duel_job job_of(struct duel_side a, struct duel_side b, const char *problem)
{
    struct duel_job job = {.id = 3,
                           .sides = {a, b},
                           .secret = 0xfedcba9876543210,
                           .cases_per_family = 1,
                           .cap_ms = 100};
    struct err err;

    assert_true(problem_parse(problem, &job.problem, &err));
    return job;
}

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

static struct duel_result *duel(struct duel_side a, struct duel_side b, const char *problem)
{
    struct duel_result *result = arena_alloc(arena, sizeof *result);
    struct duel_job job = job_of(a, b, problem);
    struct err err = {0};
    struct message *answer = duel_answer(arena, sent(duel_encode(arena, &job)), 1, &err);

    if (answer == NULL || !dueled_decode(arena, sent(answer), result, &err)) {
        fail_msg("%s", err.what);
    }
    assert_int_equal(result->id, 3);
    return result;
}

static void two_that_are_right_are_timed_by_both_clocks(void **state)
{
    struct duel_result *result =
        duel(code("right", "pair_sm_90a"), code("right_backward", "pair_sm_90a"), "1x2x40x32");
    struct estimate speedup;

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(result->sides[i].verdict, VERDICT_PASS);
        assert_string_equal(result->sides[i].reason, "");
        assert_true(result->sides[i].error > 0);
        assert_true(result->sides[i].error <= result->sides[i].allowed);
    }
    assert_true(result->span.count >= STATS_BLOCKS_MIN);
    assert_true(result->graph.count >= STATS_BLOCKS_MIN);
    assert_true(stats_speedup(result->graph.blocks, result->graph.count, result->graph.tick_us, 1,
                              &speedup));
    assert_true(isnan(result->sm_clock_mhz));
    assert_true(result->device_ms > 0);
}

static void one_that_idles_in_graphs_is_found_out(void **state)
{
    struct duel_result *result =
        duel(code("right", "pair_sm_90a"), code("idle_in_graphs", "pair_sm_90a"), "1x2x40x32");

    (void)state;
    assert_int_equal(result->sides[1].verdict, VERDICT_INVALID);
    assert_non_null(strstr(result->sides[1].reason, "when its answer is in place"));
    assert_int_equal(result->graph.count, 0);
}

static void a_wrong_one_is_told_and_nothing_is_timed(void **state)
{
    struct duel_result *result =
        duel(code("right", "pair_sm_90a"), code("swap_kv", "pair_sm_90a"), "1x2x40x32");

    (void)state;
    assert_int_equal(result->sides[1].verdict, VERDICT_WRONG);
    assert_true(*result->sides[1].reason != '\0');
    assert_int_equal(result->sides[0].verdict, VERDICT_NONE);
    assert_int_equal(result->span.count, 0);
    assert_int_equal(result->graph.count, 0);
}

static void one_that_stops_working_while_it_is_timed_is_told(void **state)
{
    struct duel_result *result =
        duel(code("stop_later", "pair_sm_90a"), code("right", "pair_sm_90a"), "1x2x40x32");

    (void)state;
    assert_true(result->sides[0].verdict > VERDICT_PASS);
    assert_int_equal(result->span.count, 0);
}

static void a_library_goes_through_the_same_gate(void **state)
{
    struct duel_result *result =
        duel(code("right", "pair_sm_90a"), library("right_split"), "1x2x40x32");

    (void)state;
    assert_int_equal(result->sides[1].verdict, VERDICT_PASS);
    assert_string_equal(result->sides[1].name, "host, right_split");
    assert_true(result->graph.count >= STATS_BLOCKS_MIN);

    result = duel(library("mean_of_v"), code("right", "pair_sm_90a"), "1x2x40x32");
    assert_int_equal(result->sides[0].verdict, VERDICT_WRONG);
}

static void what_is_not_to_be_had_is_unsupported(void **state)
{
    struct duel_result *result = duel(code("right", "pair_sm_90a"), library("nobody"), "1x2x40x32");

    (void)state;
    assert_int_equal(result->sides[1].verdict, VERDICT_UNSUPPORTED);
    assert_non_null(strstr(result->sides[1].reason, "nobody"));
    result = duel(code("right", "pair_sm_90a"), code("right", "pair_sm_90a"), "1x1x1000x32");
    assert_int_equal(result->sides[0].verdict, VERDICT_UNSUPPORTED);
    assert_non_null(strstr(result->sides[0].reason, "few keys"));
}

static void an_image_that_is_not_what_was_compiled_is_nobodys_defeat(void **state)
{
    struct duel_side forged = code("right", "pair_sm_90a");
    struct duel_job job;
    struct err err = {0};

    (void)state;
    forged.image.code_key.bytes[0] ^= 1;
    job = job_of(forged, code("right", "pair_sm_90a"), "1x2x40x32");
    assert_null(duel_answer(arena, sent(duel_encode(arena, &job)), 1, &err));
    assert_non_null(strstr(err.what, "not what was compiled"));
}

/* The first line that begins with `key `, replaced (NULL: gone), or added when there is none. */
static const struct message *changed(const struct message *message, const char *key,
                                     const char *line)
{
    struct buf wire = {0}, out = {0};
    struct message *got;
    struct err err;
    char *head, *at;

    message_encode(message, &wire);
    head = wire.data + 4;
    at = strstr(head, arena_printf(arena, "\n%s", key));
    assert_non_null(at);
    at++;
    buf_add(&out, head, (size_t)(at - head));
    if (line != NULL) {
        buf_printf(&out, "%s\n", line);
    }
    at = strchr(at, '\n') + 1;
    buf_add(&out, at, (size_t)(wire.data + wire.length - at));
    if (!message_decode(arena, out.data, out.length, &got, &err)) {
        fail_msg("%s", err.what);
    }
    buf_free(&wire);
    buf_free(&out);
    return got;
}

static void a_duel_is_read_strictly(void **state)
{
    static const char *const bad[][2] = {
        {"id ", NULL},
        {"secret ", "secret 1"},
        {"cases_per_family ", NULL},
        {"cap_ms ", "cap_ms 0"},
        {"cap_ms ", "cap_ms nan"},
        {"problem ", "problem 1x2"},
        {"side ", NULL},
        {"side ", "side rival"},
        {"side ", "side image 12"},
        {"side ", "side friend x"},
    };
    struct duel_job job = job_of(library("a"), library("b"), "1x2x40x32"), got;
    struct err err;

    (void)state;
    assert_true(duel_decode(arena, sent(duel_encode(arena, &job)), &got, &err));
    assert_string_equal(got.sides[1].rival, "b");
    assert_true(got.secret == job.secret);
    assert_true(message_is_duel(duel_encode(arena, &job)));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (duel_decode(arena, changed(duel_encode(arena, &job), bad[i][0], bad[i][1]), &got,
                        &err)) {
            fail_msg("accepted: %s", bad[i][1] != NULL ? bad[i][1] : bad[i][0]);
        }
    }
}

static void an_answer_is_read_strictly(void **state)
{
    static const char *const bad[][2] = {
        {"id ", NULL},
        {"side ", "side well 1 1"},
        {"side ", "side pass 1"},
        {"side ", NULL},
        {"reason ", NULL},
        {"ticks ", "ticks 1"},
        {"ticks ", "ticks -1 0"},
        {"modelled ", "modelled 2"},
        {"load ", "load 1 1 1 -4"},
        {"load ", "load 1 1 1"},
        {"device_ms ", NULL},
    };
    struct abba blocks[2] = {{{1, 2}, {3, 4}}, {{5, 6}, {7, 8}}};
    struct duel_result result = {.id = 9}, got;
    struct err err;

    (void)state;
    for (int i = 0; i < 2; i++) {
        result.sides[i].verdict = VERDICT_PASS;
        result.sides[i].reason = "";
        result.sides[i].name = i == 0 ? "" : "cuDNN 9.19.0, composite, engine 2";
        result.sides[i].allowed = NAN;
    }
    result.span.blocks = result.graph.blocks = blocks;
    result.span.count = 2;
    result.graph.count = 1;
    result.graph.tick_us = 0.005;
    result.power_w = 640.5;
    result.throttle_reasons = 4;
    assert_true(dueled_decode(arena, sent(dueled_encode(arena, &result)), &got, &err));
    assert_memory_equal(got.span.blocks, blocks, sizeof blocks);
    assert_int_equal(got.graph.count, 1);
    assert_true(got.graph.tick_us == 0.005 && got.power_w == 640.5 && got.throttle_reasons == 4);
    assert_string_equal(got.sides[1].name, result.sides[1].name);
    assert_true(isnan(got.sides[0].allowed));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (dueled_decode(arena, changed(dueled_encode(arena, &result), bad[i][0], bad[i][1]), &got,
                          &err)) {
            fail_msg("accepted: %s", bad[i][1] != NULL ? bad[i][1] : bad[i][0]);
        }
    }
    blocks[1].b[0] = -7; /* no time */
    assert_false(dueled_decode(arena, sent(dueled_encode(arena, &result)), &got, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_that_are_right_are_timed_by_both_clocks),
        cmocka_unit_test(one_that_idles_in_graphs_is_found_out),
        cmocka_unit_test(a_wrong_one_is_told_and_nothing_is_timed),
        cmocka_unit_test(one_that_stops_working_while_it_is_timed_is_told),
        cmocka_unit_test(a_library_goes_through_the_same_gate),
        cmocka_unit_test(what_is_not_to_be_had_is_unsupported),
        cmocka_unit_test(an_image_that_is_not_what_was_compiled_is_nobodys_defeat),
        cmocka_unit_test(a_duel_is_read_strictly),
        cmocka_unit_test(an_answer_is_read_strictly),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
