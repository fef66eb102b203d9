/*
 * What the profile counts, on kernels small enough to know it by heart, and what the model makes of
 * counts.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

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

/* Runs a kernel of one parameter, a buffer, and returns its counts. */
static struct profile_totals counts_of(const char *body, uint32_t blocks, uint32_t threads,
                                       const int64_t *sample, int64_t sample_count)
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
                            .cluster = {1, 1, 1},
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
    assert_true(fabs(modelled(264, 8, 79200, 198) - chip->launch_us - 20) < 0.01);
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
        TEST(sampled_blocks_are_the_ones_that_run),
        TEST(occupancy_is_what_the_scarcest_resource_leaves),
        TEST(time_is_that_of_the_waves),
        TEST(a_chips_digest_names_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
