/*
 * What the profile counts, on kernels small enough to know it by heart, and what the model makes of
 * counts.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fitness/emu/calendar.h"
#include "fitness/emu/profile.h"

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

/* Runs a kernel of one parameter, a buffer, in clusters of so many blocks; returns its counts. */
static struct profile_totals counts_in(uint32_t cluster, const char *body, uint32_t blocks,
                                       uint32_t threads, const int64_t *sample,
                                       int64_t sample_count)
{
    const char *text = arena_printf(arena,
                                    ".version 9.0\n.target sm_90a\n.address_size 64\n"
                                    ".visible .entry kernel(.param .u64 buffer)\n{\n"
                                    ".reg .pred %%p<4>;\n.reg .b32 %%r<16>;\n.reg .b64 %%a<8>;\n"
                                    ".reg .f32 %%f<8>;\n.shared .align 16 .b8 memory[32768];\n"
                                    "ld.param.u64 %%a0, [buffer];\ncvta.to.global.u64 %%a0, %%a0;\n"
                                    "mov.u32 %%r0, %%tid.x;\nmov.u32 %%r1, memory;\n%s\nret;\n}\n",
                                    body);
    struct memory *memory = memory_new();
    uint64_t buffer = memory_buffer(memory, 1 << 20, "buffer");
    struct outcome outcome = {0};
    struct profile_totals totals;
    struct ptx_module *module;
    struct code *program;
    struct err err = {0};
    struct launch launch = {.grid = {blocks, 1, 1},
                            .block = {threads, 1, 1},
                            .cluster = {cluster, 1, 1},
                            .params = (const uint8_t *)&buffer,
                            .sanitize = SANITIZE_BOUNDS,
                            .threads = 1,
                            .sample = sample,
                            .sample_count = sample_count};

    memory_host_fill(memory, buffer, 0, 1 << 20);
    if (!ptx_parse(arena, text, strlen(text), &module, &err) ||
        !program_decode(arena, module, "kernel", &program, &err)) {
        fail_msg("%s", err.what);
    }
    launch.program = program;
    launch.profile = profile_new(program, chip_find(""), 128 << 10);
    machine_run(memory, &launch, &outcome);
    if (outcome.finding_count > 0) {
        fail_msg("%s", outcome.findings[0].text);
    }
    profile_totals(launch.profile, &totals);
    profile_free(launch.profile);
    memory_free(memory);
    return totals;
}

static struct profile_totals counts_of(const char *body, uint32_t blocks, uint32_t threads,
                                       const int64_t *sample, int64_t sample_count)
{
    return counts_in(1, body, blocks, threads, sample, sample_count);
}

/* ---- shared memory --------------------------------------------------------------------------- */

static void wavefronts_are_what_banks_make_of_addresses(void **state)
{
    static const struct {
        const char *address, *load; /* lane r0 reads memory + f(r0) */
        uint64_t wavefronts, ideal;
    } accesses[] = {
        {"shl.b32 %r2, %r0, 2;", "ld.shared.u32 %r4, [%r3];", 1, 1},
        {"shl.b32 %r2, %r0, 3;", "ld.shared.u32 %r4, [%r3];", 2, 1},
        {"shl.b32 %r2, %r0, 7;", "ld.shared.u32 %r4, [%r3];", 32, 1},
        {"mul.lo.u32 %r2, %r0, 132;", "ld.shared.u32 %r4, [%r3];", 1, 1},
        {"mov.u32 %r2, 0;", "ld.shared.u32 %r4, [%r3];", 1, 1}, /* one word for all */
        {"shr.u32 %r2, %r0, 1; shl.b32 %r2, %r2, 2;", "ld.shared.u16 %r4, [%r3];", 1, 1},
        {"shl.b32 %r2, %r0, 3;", "ld.shared.v2.u32 {%r4, %r5}, [%r3];", 2, 2},
        {"shl.b32 %r2, %r0, 4;", "ld.shared.v4.u32 {%r4, %r5, %r6, %r7}, [%r3];", 4, 4},
        {"shl.b32 %r2, %r0, 7;", "ld.shared.v4.u32 {%r4, %r5, %r6, %r7}, [%r3];", 32, 4},
        {"mul.lo.u32 %r2, %r0, 144;", "ld.shared.v4.u32 {%r4, %r5, %r6, %r7}, [%r3];", 4, 4},
        {"shl.b32 %r2, %r0, 2;", "st.shared.u32 [%r3], %r0;", 1, 1},
        {"shl.b32 %r2, %r0, 6;", "st.shared.u32 [%r3], %r0;", 16, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof accesses / sizeof *accesses; i++) {
        struct profile_totals totals =
            counts_of(arena_printf(arena, "%s\nadd.u32 %%r3, %%r1, %%r2;\n%s", accesses[i].address,
                                   accesses[i].load),
                      1, 32, NULL, 0);

        if (totals.shared_wavefronts != accesses[i].wavefronts ||
            totals.shared_ideal != accesses[i].ideal) {
            fail_msg("%s %s: %llu wavefronts, ideal %llu", accesses[i].address, accesses[i].load,
                     (unsigned long long)totals.shared_wavefronts,
                     (unsigned long long)totals.shared_ideal);
        }
        assert_int_equal(totals.shared_accesses, 1);
    }
}

/* ---- global memory --------------------------------------------------------------------------- */

static void sectors_are_what_coalescing_leaves(void **state)
{
    static const struct {
        const char *address, *load;
        uint64_t sectors, l2;
    } accesses[] = {
        {"mul.wide.u32 %a1, %r0, 4;", "ld.global.u32 %r4, [%a2];", 4, 4},
        {"mul.wide.u32 %a1, %r0, 8;", "ld.global.u32 %r4, [%a2];", 8, 8},
        {"mul.wide.u32 %a1, %r0, 128;", "ld.global.u32 %r4, [%a2];", 32, 32},
        {"mul.wide.u32 %a1, %r0, 16;", "ld.global.v4.u32 {%r4, %r5, %r6, %r7}, [%a2];", 16, 16},
        {"mul.wide.u32 %a1, %r0, 2;", "ld.global.u16 %r4, [%a2];", 2, 2},
        /* the second finds its lines in L1 */
        {"mul.wide.u32 %a1, %r0, 4;", "ld.global.u32 %r4, [%a2];\nld.global.u32 %r5, [%a2];", 8, 4},
        /* stores go through */
        {"mul.wide.u32 %a1, %r0, 4;", "st.global.u32 [%a2], %r0;\nst.global.u32 [%a2], %r0;", 8, 8},
    };

    (void)state;
    for (size_t i = 0; i < sizeof accesses / sizeof *accesses; i++) {
        struct profile_totals totals =
            counts_of(arena_printf(arena, "%s\nadd.s64 %%a2, %%a0, %%a1;\n%s", accesses[i].address,
                                   accesses[i].load),
                      1, 32, NULL, 0);

        if (totals.global_sectors != accesses[i].sectors ||
            totals.busy[PIPE_L2] != accesses[i].l2) {
            fail_msg("%s %s: %llu sectors, %llu from L2", accesses[i].address, accesses[i].load,
                     (unsigned long long)totals.global_sectors,
                     (unsigned long long)totals.busy[PIPE_L2]);
        }
    }
}

/* ---- clocks ---------------------------------------------------------------------------------- */

static void a_chain_takes_longer_than_the_same_work_side_by_side(void **state)
{
    const char *chain = "mov.f32 %f0, 0f3F800000;\n", *side = chain;
    uint64_t chained, apart;

    (void)state;
    for (int i = 0; i < 32; i++) {
        chain = arena_printf(arena, "%sfma.rn.f32 %%f0, %%f0, %%f0, %%f0;\n", chain);
        side = arena_printf(arena, "%sfma.rn.f32 %%f%d, %%f0, %%f0, %%f0;\n", side, 1 + i % 6);
    }
    chained = counts_of(chain, 1, 32, NULL, 0).length;
    apart = counts_of(side, 1, 32, NULL, 0).length;
    assert_true(chained >= 31 * 4); /* nobody waits for the last */
    assert_true(apart < chained / 2);
    assert_int_equal(counts_of(chain, 1, 32, NULL, 0).busy[PIPE_FMA], 32);
}

static void a_barrier_lets_all_go_on_with_the_slowest(void **state)
{
    const char *slow = "setp.ge.u32 %p1, %r0, 32;\nmov.f32 %f0, 0f3F800000;\n@%p1 bra MEET;\n";

    (void)state;
    for (int i = 0; i < 64; i++) {
        slow = arena_printf(arena, "%sfma.rn.f32 %%f0, %%f0, %%f0, %%f0;\n", slow);
    }
    /* The other warp does as much after the barrier: one waits for the other, twice. */
    slow = arena_printf(arena, "%sMEET:\nbar.sync 0;\n@!%%p1 bra DONE;\n", slow);
    for (int i = 0; i < 64; i++) {
        slow = arena_printf(arena, "%sfma.rn.f32 %%f0, %%f0, %%f0, %%f0;\n", slow);
    }
    slow = arena_printf(arena, "%sDONE:\n", slow);
    struct profile_totals totals = counts_of(slow, 1, 64, NULL, 0);
    assert_true(totals.length >= 2 * 64 * 4);
    assert_int_equal(totals.barriers, 2); /* of two warps */
}

static void a_copy_in_flight_costs_its_latency_where_it_is_waited_for(void **state)
{
    const char *copy = "shl.b32 %r2, %r0, 4;\nadd.u32 %r3, %r1, %r2;\nmul.wide.u32 %a1, %r0, 16;\n"
                       "add.s64 %a2, %a0, %a1;\ncp.async.cg.shared.global [%r3], [%a2], 16;\n"
                       "cp.async.commit_group;\n";
    uint64_t started, waited;

    (void)state;
    started = counts_of(copy, 1, 32, NULL, 0).length;
    waited =
        counts_of(arena_printf(arena, "%scp.async.wait_group 0;\n", copy), 1, 32, NULL, 0).length;
    assert_true(started < 100);
    assert_true(waited > (uint64_t)chip_find("")->latency[LATENCY_L2]);
}

static void a_calendar_gives_what_is_free_from_then_on(void **state)
{
    struct calendar calendar = {0};

    (void)state;
    assert_int_equal(calendar_take(&calendar, 100, 0), 100);
    assert_int_equal(calendar_take(&calendar, 0, CALENDAR_SPAN), CALENDAR_SPAN);
    assert_int_equal(calendar_take(&calendar, 0, 8), CALENDAR_SPAN + 8);   /* the next is free */
    assert_int_equal(calendar_take(&calendar, 1000, 50), 1050);            /* far ahead */
    assert_int_equal(calendar_take(&calendar, 0, 24), 2 * CALENDAR_SPAN);  /* the gap before it */
    assert_int_equal(calendar_take(&calendar, 100000, 3), 100003);
    assert_true(calendar_take(&calendar, 0, 10000) >= 10000 + 2 * CALENDAR_SPAN + 50);
    calendar_free(&calendar);
}

/* Warps 0, 4, 8 … have one scheduler: what they do at the same time takes its slots in turns. */
static void warps_of_a_scheduler_share_it(void **state)
{
    const char *body = "mov.f32 %f0, 0f3F800000;\n";
    uint64_t alone, together;

    (void)state;
    for (int i = 0; i < 600; i++) {
        body = arena_printf(arena, "%sfma.rn.f32 %%f%d, %%f0, %%f0, %%f0;\n", body, 1 + i % 6);
    }
    alone = counts_of(body, 1, 32, NULL, 0).length;
    assert_true(alone >= 600 && alone < 900);
    assert_int_equal(counts_of(body, 1, 4 * 32, NULL, 0).length, alone);
    together = counts_of(body, 1, 16 * 32, NULL, 0).length;
    assert_true(together >= 4 * 600 && together < 4 * alone + 100);
}

/* An mbarrier that the second warp comes to after some work; the first waits for its phase. */
static uint64_t handed_over(int work)
{
    const char *body = "mbarrier.init.shared.b64 [%r1], 32;\n";
    const int64_t first[] = {0};

    body = arena_printf(arena,
                        "setp.ne.u32 %%p0, %%r0, 0;\n@%%p0 bra INIT;\n%sINIT:\nbar.sync 0;\n"
                        "setp.lt.u32 %%p1, %%r0, 32;\nmov.f32 %%f0, 0f3F800000;\n@%%p1 bra WAIT;\n",
                        body);
    for (int i = 0; i < work; i++) {
        body = arena_printf(arena, "%sfma.rn.f32 %%f0, %%f0, %%f0, %%f0;\n", body);
    }
    body = arena_printf(arena,
                        "%smbarrier.arrive.shared.b64 %%a3, [%%r1];\nbra.uni DONE;\nWAIT:\n"
                        "mbarrier.try_wait.parity.shared.b64 %%p2, [%%r1], 0;\n@!%%p2 bra WAIT;\n"
                        "DONE:\n",
                        body);
    return counts_of(body, 1, 64, first, 1).length;
}

static void who_waits_on_an_mbarrier_goes_on_after_the_last_has_come(void **state)
{
    uint64_t none = handed_over(0);

    (void)state;
    assert_true(none > (uint64_t)chip_find("")->latency[LATENCY_MBARRIER]);
    assert_true(handed_over(400) >= none + 399 * 4);
}

/* One block of two does more work before both meet. */
static uint64_t met(int work, const char *meet)
{
    const char *body = "mov.u32 %r2, %cluster_ctarank;\nsetp.ne.u32 %p1, %r2, 0;\n"
                       "mov.f32 %f0, 0f3F800000;\n@%p1 bra MEET;\n";

    for (int i = 0; i < work; i++) {
        body = arena_printf(arena, "%sfma.rn.f32 %%f0, %%f0, %%f0, %%f0;\n", body);
    }
    return counts_in(2, arena_printf(arena, "%sMEET:\n%s", body, meet), 2, 32, NULL, 0).length;
}

static void blocks_of_a_cluster_wait_for_each_other(void **state)
{
    const char *meet = "barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;\n";
    uint64_t latency = (uint64_t)chip_find("")->latency[LATENCY_CLUSTER];

    (void)state;
    assert_true(met(0, meet) >= 2 * latency && met(0, "") < latency);
    assert_true(met(400, meet) >= 2 * (399 * 4 + latency)); /* both blocks last as long */
    assert_true(met(400, "") < 400 * 4 + 400);              /* else one of them does */
}

static void memory_of_another_block_is_further_away(void **state)
{
    const char *load = "mapa.shared::cluster.u32 %%r4, %%r1, %s;\nst.shared.u32 [%%r1], %%r0;\n"
                       "barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;\n"
                       "ld.shared::cluster.u32 %%r5, [%%r4];\nadd.u32 %%r5, %%r5, 1;\n"
                       "barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;\n"
                       "st.shared.u32 [%%r1], %%r5;\n";
    const char *own = "mov.u32 %r2, %cluster_ctarank;\n", *other = "mov.u32 %r3, %cluster_ctarank;\n"
                                                                  "xor.b32 %r2, %r3, 1;\n";
    const int *latency = chip_find("")->latency;
    uint64_t near, far;
    char body[1024];

    (void)state;
    snprintf(body, sizeof body, load, "%r2");
    near = counts_in(2, arena_printf(arena, "%s%s", own, body), 2, 1, NULL, 0).length;
    far = counts_in(2, arena_printf(arena, "%s%s", other, body), 2, 1, NULL, 0).length;
    assert_true(far >= near + 2 * (uint64_t)(latency[LATENCY_REMOTE] - latency[LATENCY_SHARED]));
}

static void sampled_blocks_are_the_ones_that_run(void **state)
{
    static const int64_t sample[] = {3, 17, 40};
    const char *body = "mov.u32 %r2, %ctaid.x;\nmul.wide.u32 %a1, %r2, 4;\nadd.s64 %a2, %a0, %a1;\n"
                       "st.global.u32 [%a2], %r2;\n";
    struct profile_totals all, some;

    (void)state;
    all = counts_of(body, 64, 32, NULL, 0);
    some = counts_of(body, 64, 32, sample, 3);
    assert_int_equal(all.blocks, 64);
    assert_int_equal(some.blocks, 3);
    assert_int_equal(some.ops * 64, all.ops * 3);
}

/* ---- the model ------------------------------------------------------------------------------- */

static void occupancy_is_what_the_scarcest_resource_leaves(void **state)
{
    const struct chip *chip = chip_find("H200");

    (void)state;
    assert_int_equal(model_resident(chip, &(struct model_launch){.threads = 128}), 16);
    assert_int_equal(model_resident(chip, &(struct model_launch){.threads = 32}), 32);
    assert_int_equal(model_resident(chip, &(struct model_launch){.threads = 1024}), 2);
    assert_int_equal(model_resident(chip, &(struct model_launch){.threads = 128, .registers = 128}),
                     4);
    assert_int_equal(model_resident(chip, &(struct model_launch){.threads = 128, .registers = 129}),
                     3);
    assert_int_equal(
        model_resident(chip, &(struct model_launch){.threads = 128, .smem_bytes = 100 << 10}), 2);
    assert_int_equal(
        model_resident(chip, &(struct model_launch){.threads = 128, .smem_bytes = 232448}), 1);
    assert_int_equal(
        model_resident(chip, &(struct model_launch){.threads = 128, .smem_bytes = 232449}), 0);
}

static double modelled_in(int cluster, int64_t blocks, int64_t sampled, uint64_t fma,
                          uint64_t length)
{
    struct profile_totals totals = {.blocks = sampled,
                                    .busy = {[PIPE_FMA] = fma * (uint64_t)sampled},
                                    .length = length * (uint64_t)sampled,
                                    .length_max = length};
    struct model_launch launch = {.blocks = blocks, .threads = 1024, .cluster = cluster};
    struct model_time time;

    model_time(chip_find(""), &totals, &launch, &time);
    return time.us;
}

static double modelled(int64_t blocks, int64_t sampled, uint64_t fma, uint64_t length)
{
    return modelled_in(1, blocks, sampled, fma, length);
}

static void time_is_that_of_the_waves(void **state)
{
    const struct chip *chip = chip_find("");
    double one = modelled(264, 8, 4, 19800) - chip->launch_us; /* two blocks fit each of 132 */

    (void)state;
    assert_true(fabs(one - 10) < 0.01); /* 19800 cycles at 1980 MHz */
    /* Two waves, and what lies between them; clusters meet in each. */
    double two = chip->launch_us + 20 + chip->block_us;
    assert_true(fabs(modelled(528, 8, 4, 19800) - two) < 0.02);
    assert_true(fabs(modelled(265, 8, 4, 19800) - two) < 0.02);
    assert_true(fabs(modelled_in(4, 528, 8, 4, 19800) - two - 4 * chip->cluster_us) < 0.02);
    assert_true(fabs(modelled(264, 8, 4, 19800) - modelled(264, 264, 4, 19800)) < 1e-9);
    /* A pipe that is busy longer than the chain decides: 2 blocks of 79200 FMA at 4 a clock. */
    assert_true(fabs(modelled(264, 8, 79200, 19800) - chip->launch_us - 20) < 0.01);
}

/* A cluster stays in one part of the chip, whose multiprocessors need not be a multiple of it. */
static void clusters_leave_multiprocessors_idle(void **state)
{
    const struct chip *chip = chip_find("");
    struct model_launch launch = {.threads = 128, .smem_bytes = 200 << 10};
    int sms = 0;

    (void)state;
    for (int i = 0; i < CHIP_GPCS; i++) {
        sms += chip->gpcs[i];
    }
    assert_int_equal(sms, chip->sms);
    for (launch.cluster = 1; launch.cluster <= 8; launch.cluster *= 2) {
        int64_t wave = model_wave(chip, &launch);

        assert_true(wave % launch.cluster == 0 && wave <= chip->sms);
        assert_int_equal(wave == chip->sms, launch.cluster <= 2);
    }
    launch.smem_bytes = 1 << 20;
    assert_int_equal(model_wave(chip, &launch), 0);
}

static void mixed_code_fills_fewer_slots(void **state)
{
    const struct chip *chip = chip_find("");

    (void)state;
    assert_true(issue_slots(chip, (uint64_t[PIPES]){[PIPE_ISSUE] = 80, [PIPE_FMA] = 80}) == 80);
    assert_true(issue_slots(chip, (uint64_t[PIPES]){[PIPE_ISSUE] = 80, [PIPE_FMA] = 160}) == 80);
    assert_true(issue_slots(chip, (uint64_t[PIPES]){[PIPE_ISSUE] = 80, [PIPE_FMA] = 60,
                                                    [PIPE_ALU] = 20}) == 80 + 20 * chip->mixing);
}

static void a_chips_digest_names_it(void **state)
{
    struct chip other = *chip_find("");
    struct hash a = chip_digest(chip_find("")), b;

    (void)state;
    other.overlap += 0.25;
    b = chip_digest(&other);
    assert_false(hash_equal(&a, &b));
    assert_null(chip_find("H2000"));
    assert_ptr_equal(chip_find("H200"), chip_find(NULL));
    assert_string_equal(chip_names(arena), "H200");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(wavefronts_are_what_banks_make_of_addresses),
        TEST(sectors_are_what_coalescing_leaves),
        TEST(a_chain_takes_longer_than_the_same_work_side_by_side),
        TEST(a_barrier_lets_all_go_on_with_the_slowest),
        TEST(a_copy_in_flight_costs_its_latency_where_it_is_waited_for),
        TEST(a_calendar_gives_what_is_free_from_then_on),
        TEST(warps_of_a_scheduler_share_it),
        TEST(who_waits_on_an_mbarrier_goes_on_after_the_last_has_come),
        TEST(blocks_of_a_cluster_wait_for_each_other),
        TEST(memory_of_another_block_is_further_away),
        TEST(clusters_leave_multiprocessors_idle),
        TEST(mixed_code_fills_fewer_slots),
        TEST(sampled_blocks_are_the_ones_that_run),
        TEST(occupancy_is_what_the_scarcest_resource_leaves),
        TEST(time_is_that_of_the_waves),
        TEST(a_chips_digest_names_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
