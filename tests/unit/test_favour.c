/* Which first genomes a measured device favours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "search/favour.h"

static const char tiled[] = "#include \"include/evo.cuh\"\n"
                            "EVO_GENE(ROWS, pow2(16, 128), \"rows of a block\")\n"
                            "EVO_GENE(WARPS, pow2(1, 16), \"warps of a block\")\n"
                            "EVO_GENE(SMEM, set(0, 200000), \"bytes\")\n"
                            "EVO_LAUNCH(kernel, (ceil_div(q_len, ROWS), heads), 32 * WARPS, SMEM, "
                            "(Q, K, V, O, problem))\n";
static const char tensor[] = "#include \"include/evo.cuh\"\n"
                             "#include \"include/mma.cuh\"\n"
                             "EVO_GENE(ROWS, pow2(16, 128), \"rows of a block\")\n"
                             "EVO_LAUNCH(kernel, (ceil_div(q_len, ROWS), heads), 64, 0, "
                             "(Q, K, V, O, problem))\n";

static struct arena *arena;
static struct family *families[2];
static struct ceilings ceilings;
static struct search_space space;

/* 16 multiprocessors; products of mma.sync eight times as fast as FMA; FMA wants 16 warps. */
static int set_up(void **state)
{
    static const char *const texts[2] = {tiled, tensor};
    struct err err = {0};

    (void)state;
    arena = arena_new();
    ceilings_clear(&ceilings);
    ceilings.sms = 16;
    ceilings.per_clock[CEILING_FMA] = 4;
    ceilings.value[CEILING_FMA_LATENCY] = 4;
    ceilings.per_clock[CEILING_MMA_HALF] = 2048;
    ceilings.value[CEILING_MMA_LATENCY] = 32;
    space = (struct search_space){.families = families, .family_count = 2, .static_count = 1,
                                  .problem_count = 1, .sms = 16, .ceilings = &ceilings,
                                  .classes = {true, true}};
    space.statics[0].givens.values[GIVEN_DEVICE_SMEM_MAX] = 232448;
    for (int i = 0; i < 2; i++) {
        if (!family_parse(arena, "kernel", "kernel.cu", texts[i], strlen(texts[i]), &families[i],
                          &err)) {
            fail_msg("%s", err.what);
        }
    }
    assert_true(problem_parse("1x8x256x64", &space.problems[0].problem, &err));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static double favour(const char *genes)
{
    struct genome genome = {0};
    struct err err = {0};

    if (!genome_parse(families[0], genes, &genome, &err)) {
        fail_msg("%s", err.what);
    }
    return favour_genome(&space, &genome);
}

static void blocks_that_fill_the_device_are_favoured(void **state)
{
    (void)state;
    assert_float_equal(favour("ROWS=128 WARPS=16 SMEM=0"), 1, 1e-9); /* 16 blocks */
    space.sms = 12; /* 16 blocks are two rounds of 12 */
    assert_float_equal(favour("ROWS=128 WARPS=16 SMEM=0"), 16.0 / 24, 1e-9);
    space.sms = 64;
    assert_float_equal(favour("ROWS=128 WARPS=16 SMEM=0"), 16.0 / 64, 1e-9);
    space.sms = 2000; /* no launch is without a chance */
    assert_float_equal(favour("ROWS=128 WARPS=16 SMEM=0"), 0.1, 1e-9);
}

static void warps_that_hide_the_latency_are_favoured(void **state)
{
    (void)state;
    /* 200000 bytes: one block on a multiprocessor. */
    assert_float_equal(favour("ROWS=128 WARPS=16 SMEM=200000"), 1, 1e-9);
    assert_float_equal(favour("ROWS=128 WARPS=4 SMEM=200000"), 0.5, 1e-9);
    ceilings.value[CEILING_FMA_LATENCY] = 1;
    assert_float_equal(favour("ROWS=128 WARPS=4 SMEM=200000"), 1, 1e-9);
    ceilings.value[CEILING_FMA_LATENCY] = NAN; /* nobody measured it */
    assert_float_equal(favour("ROWS=128 WARPS=1 SMEM=200000"), 1, 1e-9);
}

static void families_count_by_their_products(void **state)
{
    (void)state;
    assert_float_equal(favour_family(&space, 1), 1, 1e-9);
    assert_float_equal(favour_family(&space, 0), 0.125, 1e-9);
    ceilings.per_clock[CEILING_MMA_HALF] = NAN;
    assert_float_equal(favour_family(&space, 0), 1, 1e-9);
    assert_float_equal(favour_family(&space, 1), 1, 1e-9);
}

static void nobody_is_favoured_on_a_device_that_nobody_measured(void **state)
{
    (void)state;
    space.ceilings = NULL;
    space.sms = 2000;
    assert_float_equal(favour("ROWS=128 WARPS=1 SMEM=200000"), 1, 0);
    assert_float_equal(favour_family(&space, 0), 1, 0);
}

/* The first genomes of a search fill the device better than they would have. */
static void first_genomes_are_drawn_near_what_is_favoured(void **state)
{
    struct search_config config = search_defaults;
    double mean[2] = {0, 0};

    (void)state;
    enum { SEEDS = 8, PLACES = 6 };
    space.families = &families[0];
    space.family_count = 1;
    for (int measured = 0; measured < 2; measured++) {
        for (int seed = 0; seed < SEEDS; seed++) {
            struct population *population;

            space.ceilings = measured ? &ceilings : NULL;
            config.rng_seed = (uint64_t)seed;
            population = population_new(&space, &config);
            for (int place = 0; place < PLACES; place++) {
                struct proposal proposal;

                assert_true(population_propose(population, place, &proposal));
                space.ceilings = &ceilings;
                mean[measured] += favour_genome(&space, &proposal.genome) / (SEEDS * PLACES);
                space.ceilings = measured ? &ceilings : NULL;
            }
            population_free(population);
        }
    }
    if (!(mean[1] > mean[0] + 0.1)) {
        fail_msg("favour %.3f of first genomes without ceilings, %.3f with", mean[0], mean[1]);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(blocks_that_fill_the_device_are_favoured),
        TEST(warps_that_hide_the_latency_are_favoured),
        TEST(families_count_by_their_products),
        TEST(nobody_is_favoured_on_a_device_that_nobody_measured),
        TEST(first_genomes_are_drawn_near_what_is_favoured),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
