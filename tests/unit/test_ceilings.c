/* What a device can do at most: the table, what times make of it, and its text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/str.h"
#include "fitness/ceilings.h"

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

static void every_row_is_whole_and_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (int i = 0; i < CEILINGS; i++) {
        const struct ceiling_row *row = &ceiling_table[i];

        assert_non_null(row->name);
        assert_int_equal(ceiling_find(row->name), i);
        assert_true(*row->probe != '\0' && *row->genes != '\0' && *row->doc != '\0');
        assert_true(row->rounds >= 4 && row->rounds % 4 == 0 && row->rounds_max % 4 == 0);
        assert_true(row->rounds_max >= row->rounds && row->rounds_max <= PROBE_ROUNDS_MAX);
        assert_true(row->rounds_modelled % 4 == 0);
    }
    assert_int_equal(ceiling_find("of nothing"), CEILINGS);
}

/* 300 rounds took 30 us longer than 100, at 1500 MHz: 0.15 us and 225 cycles each. */
static struct probe_result times(void)
{
    return (struct probe_result){.verdict = VERDICT_PASS,
                                 .reason = "",
                                 .rounds = {100, 300},
                                 .us = {20, 50},
                                 .graph_us = 20.7,
                                 .clock_mhz = 1500};
}

static void times_become_rates_cycles_and_launches(void **state)
{
    struct probe_result result = times();
    struct ceilings ceilings;

    (void)state;
    ceilings_clear(&ceilings);
    ceilings.sms = 10;
    ceilings_take(&ceilings, CEILING_MMA_HALF, &result, 900000);
    assert_float_equal(ceilings.value[CEILING_MMA_HALF], 900000 * 10 / 0.15 / 1e6, 1e-9);
    assert_float_equal(ceilings.per_clock[CEILING_MMA_HALF], 4000, 1e-9);
    ceilings_take(&ceilings, CEILING_L2, &result, 4500);
    assert_float_equal(ceilings.value[CEILING_L2], 300, 1e-9);
    assert_float_equal(ceilings.per_clock[CEILING_L2], 20, 1e-9);
    ceilings_take(&ceilings, CEILING_SHUFFLE, &result, 9);
    assert_float_equal(ceilings.value[CEILING_SHUFFLE], 25, 1e-9);
    assert_true(isnan(ceilings.per_clock[CEILING_SHUFFLE]));
    ceilings_take(&ceilings, CEILING_LAUNCH, &result, 1);
    ceilings_take(&ceilings, CEILING_LAUNCH_GAP, &result, 1);
    assert_float_equal(ceilings.value[CEILING_LAUNCH], 20, 1e-9);
    assert_float_equal(ceilings.value[CEILING_LAUNCH_GAP], 0.7, 1e-9);
    assert_false(ceilings.modelled);
}

static void rounds_that_took_no_longer_are_no_measurement(void **state)
{
    struct probe_result result = times();
    struct ceilings ceilings;

    (void)state;
    ceilings_clear(&ceilings);
    ceilings.sms = 10;
    result.us[1] = result.us[0];
    ceilings_take(&ceilings, CEILING_FMA, &result, 100);
    assert_true(isnan(ceilings.value[CEILING_FMA]));
    result.us[1] = NAN;
    ceilings_take(&ceilings, CEILING_FMA, &result, 100);
    assert_true(isnan(ceilings.value[CEILING_FMA]));
}

/* sm_90 multiplies 4096 FLOP in a clock of a multiprocessor, and reads 64 bytes of L2. */
static void what_is_above_the_peak_is_taken_back(void **state)
{
    struct ceilings ceilings;

    (void)state;
    ceilings_clear(&ceilings);
    ceilings.per_clock[CEILING_WGMMA_16] = 4300;
    ceilings.value[CEILING_WGMMA_16] = 1100;
    ceilings.per_clock[CEILING_WGMMA_256] = 4100;
    ceilings.per_clock[CEILING_L2] = 80;
    ceilings.per_clock[CEILING_SHARED] = 1e6; /* nothing is said of that */
    assert_non_null(strstr(ceilings_check(arena, &ceilings, CEILING_WGMMA_16, 90),
                           "4300 in a clock of a multiprocessor, which has 4096 at most"));
    assert_true(isnan(ceilings.value[CEILING_WGMMA_16]));
    assert_string_equal(ceilings_check(arena, &ceilings, CEILING_WGMMA_256, 90), "");
    assert_true(ceilings.per_clock[CEILING_WGMMA_256] == 4100);
    assert_string_not_equal(ceilings_check(arena, &ceilings, CEILING_L2, 90), "");
    assert_string_equal(ceilings_check(arena, &ceilings, CEILING_SHARED, 90), "");
    ceilings.per_clock[CEILING_WGMMA_16] = 1e6; /* nor of an architecture that nobody knows */
    assert_string_equal(ceilings_check(arena, &ceilings, CEILING_WGMMA_16, 7), "");
}

static void the_text_is_read_as_it_was_written(void **state)
{
    struct ceilings ceilings, got;
    struct buf text = {0};
    struct err err = {0};

    (void)state;
    ceilings_clear(&ceilings);
    ceilings.device = "NVIDIA H200";
    ceilings.version = "gate 2 driver 580";
    ceilings.sms = 132;
    ceilings.clock_mhz = 1980;
    ceilings.modelled = true;
    ceilings.value[CEILING_EXP2] = 130.5;
    ceilings.per_clock[CEILING_EXP2] = 0.5;
    ceilings.value[CEILING_LAUNCH] = 1.25;
    ceilings_print(&ceilings, &text);
    assert_true(ceilings_parse(arena, arena_text(arena, text.data, text.length), &got, &err));
    assert_string_equal(got.device, "NVIDIA H200");
    assert_string_equal(got.version, "gate 2 driver 580");
    assert_true(got.sms == 132 && got.clock_mhz == 1980 && got.modelled);
    for (int i = 0; i < CEILINGS; i++) {
        assert_memory_equal(&got.value[i], &ceilings.value[i], sizeof(double));
        assert_memory_equal(&got.per_clock[i], &ceilings.per_clock[i], sizeof(double));
    }
    buf_free(&text);
}

static void a_text_that_is_none_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "evo ceilings 2\nsms 1\n",
        "evo ceilings 1\n",
        "evo ceilings 1\nsms 0\n",
        "evo ceilings 1\nsms 1\nexp2 1\n",
        "evo ceilings 1\nsms 1\nexp2 1 x\n",
        "evo ceilings 1\nsms 1\nexp2 inf -\n",
        "evo ceilings 1\nsms 1\nmodelled 2\n",
        "evo ceilings 1\nsms 1\ndevice\n",
    };
    struct ceilings got;
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (ceilings_parse(arena, bad[i], &got, &err)) {
            fail_msg("accepted: %s", bad[i]);
        }
    }
    assert_true(ceilings_parse(arena, "evo ceilings 1\nsms 1\nof_later_versions 1 2\n", &got, &err));
}

/* ---- messages ---- */

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

static void a_probe_travels(void **state)
{
    static struct program_constant none[1];
    struct probe_job job = {.id = 5, .rounds = 16, .rounds_max = 64}, got;
    static const struct {
        int64_t rounds, rounds_max;
    } bad[] = {{0, 64}, {6, 64}, {16, -4}, {16, PROBE_ROUNDS_MAX + 4}};
    struct err err = {0};

    (void)state;
    job.image = (struct judge_image){.cubin = "cubin",
                                     .cubin_bytes = 5,
                                     .ptx = "ptx",
                                     .ptx_bytes = 3,
                                     .program = {.constants = none,
                                                 .kernel_count = 1,
                                                 .kernels[0] = {.name = "probe",
                                                                .grid = {"sms", "1", "1"},
                                                                .threads = "32",
                                                                .smem = "0",
                                                                .args = {"problem"},
                                                                .arg_count = 1}}};
    assert_true(message_is_probe(sent(probe_encode(arena, &job))));
    assert_true(probe_decode(arena, sent(probe_encode(arena, &job)), &got, &err));
    assert_true(got.id == 5 && got.rounds == 16 && got.rounds_max == 64);
    assert_string_equal(got.image.program.kernels[0].name, "probe");
    assert_int_equal(got.image.cubin_bytes, 5);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        job.rounds = bad[i].rounds;
        job.rounds_max = bad[i].rounds_max;
        assert_false(probe_decode(arena, sent(probe_encode(arena, &job)), &got, &err));
    }
}

static void an_answer_travels(void **state)
{
    struct probe_result result = times(), got;
    struct err err = {0};

    (void)state;
    result.id = 7;
    result.reason = "thread 3 has another result";
    result.graph_us = NAN;
    result.modelled = true;
    assert_true(probed_decode(arena, sent(probed_encode(arena, &result)), &got, &err));
    assert_true(got.id == 7 && got.verdict == VERDICT_PASS && got.modelled);
    assert_true(got.rounds[0] == 100 && got.rounds[1] == 300 && got.us[0] == 20 && got.us[1] == 50);
    assert_true(isnan(got.graph_us) && got.clock_mhz == 1500);
    assert_string_equal(got.reason, "thread 3 has another result");
    result.us[1] = -1;
    assert_false(probed_decode(arena, sent(probed_encode(arena, &result)), &got, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_whole_and_has_a_name_of_its_own),
        cmocka_unit_test(times_become_rates_cycles_and_launches),
        cmocka_unit_test(rounds_that_took_no_longer_are_no_measurement),
        cmocka_unit_test(what_is_above_the_peak_is_taken_back),
        cmocka_unit_test(the_text_is_read_as_it_was_written),
        cmocka_unit_test(a_text_that_is_none_is_refused),
        cmocka_unit_test(a_probe_travels),
        cmocka_unit_test(an_answer_travels),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
