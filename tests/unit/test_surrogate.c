/* The surrogate: what it predicts, that the order of building changes no bit, and where it looks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/rng.h"
#include "search/catalogue.h"
#include "search/surrogate.h"

enum { CANDIDATES = 700, POINTS = 40, DIMS = 3 };

static float coordinates[DIMS * 768];
static struct cloud cloud = {.at = coordinates, .count = CANDIDATES, .stride = 768};
static struct point candidates[CANDIDATES];
static struct kernel kernel;

static int set_up(void **state)
{
    struct rng rng = rng_at(11, 0, 0);

    (void)state;
    for (int i = 0; i < CANDIDATES; i++) {
        for (int d = 0; d < DIMS; d++) {
            float value = d == 2 ? (float)rng_below(&rng, 3) : (float)rng_unit(&rng);

            candidates[i].at[d] = coordinates[d * cloud.stride + i] = value;
        }
    }
    kernel = (struct kernel){.dims = DIMS, .label = {false, false, true},
                             .scale = {1.3, 2.0, 0.8}, .noise = 1e-4};
    return 0;
}

static double truth(const struct point *point)
{
    return 5 + sin(4 * (double)point->at[0]) + (point->at[2] == 1.0f ? 0.7 : 0.0);
}

static struct posterior *learned(int points, int pending)
{
    struct posterior *posterior = posterior_new(POINTS + 8);

    posterior_begin(posterior, &kernel);
    posterior_add(posterior, candidates, points + pending);
    for (int i = 0; i < points; i++) {
        posterior_solidify(posterior, truth(&candidates[i]));
    }
    posterior_watch(posterior, &cloud, 0);
    assert_true(posterior_settle(posterior));
    return posterior;
}

static void it_knows_what_it_was_told(void **state)
{
    struct posterior *posterior = learned(POINTS, 0);
    double mean, sd, far_mean, far_sd;

    (void)state;
    for (int i = 0; i < POINTS; i++) {
        posterior_at(posterior, i, &mean, &sd);
        assert_true(fabs(mean - truth(&candidates[i])) < 0.02);
        assert_true(sd < 0.1);
    }
    posterior_anywhere(posterior, &(struct point){{30, 30, 7}}, &far_mean, &far_sd);
    assert_true(far_sd > 5 * sd); /* and that it does not know what is far from all of it */
    posterior_free(posterior);
}

static void it_predicts_what_it_was_not_told(void **state)
{
    struct posterior *posterior = learned(POINTS, 0);
    double error = 0, spread = 0, mean, sd;

    (void)state;
    for (int i = POINTS; i < CANDIDATES; i++) {
        posterior_at(posterior, i, &mean, &sd);
        error += fabs(mean - truth(&candidates[i])) / (CANDIDATES - POINTS);
        spread += fabs(truth(&candidates[i]) - 5.5) / (CANDIDATES - POINTS);
    }
    assert_true(error < spread / 5);
    posterior_free(posterior);
}

static void rows_answer_as_the_points_themselves_do(void **state)
{
    struct posterior *posterior = learned(POINTS - 5, 5);

    (void)state;
    for (int i = 0; i < CANDIDATES; i++) {
        double row_mean, row_sd, mean, sd;

        posterior_at(posterior, i, &row_mean, &row_sd);
        posterior_anywhere(posterior, &candidates[i], &mean, &sd);
        assert_true(fabs(row_mean - mean) < 1e-4);
        assert_true(fabs(row_sd - sd) < 2e-2 * (sd + 0.02));
    }
    posterior_free(posterior);
}

static void a_screen_means_the_same_and_doubts_no_less(void **state)
{
    struct posterior *posterior = learned(POINTS, 0);
    float means[768], sds[768];

    (void)state;
    posterior_screen(posterior, &cloud, means, sds);
    for (int i = 0; i < CANDIDATES; i++) {
        double mean, sd;

        posterior_at(posterior, i, &mean, &sd);
        assert_true(fabs((double)means[i] - mean) < 1e-3);
        assert_true((double)sds[i] > 0.99 * sd);
    }
    posterior_free(posterior);
}

static void assert_same(const struct posterior *a, const struct posterior *b)
{
    for (int i = 0; i < CANDIDATES; i++) {
        double mean[2], sd[2];

        posterior_at(a, i, &mean[0], &sd[0]);
        posterior_at(b, i, &mean[1], &sd[1]);
        assert_memory_equal(&mean[0], &mean[1], sizeof mean[0]); /* to the last bit */
        assert_memory_equal(&sd[0], &sd[1], sizeof sd[0]);
    }
}

static void one_at_a_time_or_all_at_once_is_the_same(void **state)
{
    struct posterior *whole = learned(POINTS - 5, 5);
    struct posterior *grown = posterior_new(POINTS + 8);
    struct cloud part = cloud;

    (void)state;
    posterior_begin(grown, &kernel);
    part.count = 300; /* the others join late, in the middle of a block */
    posterior_watch(grown, &part, 0);
    for (int i = 0; i < POINTS - 5; i++) { /* each pending for a while, with others that fail */
        posterior_add(grown, &candidates[i], 1);
        posterior_add(grown, &candidates[100 + i], 2);
        assert_int_equal(posterior_points(grown), i + 3);
        posterior_cut(grown, i + 1);
        posterior_solidify(grown, truth(&candidates[i]));
        assert_true(posterior_settle(grown));
        if (i == 10) {
            part.count = CANDIDATES;
            posterior_watch(grown, &part, 300);
        }
    }
    posterior_add(grown, &candidates[POINTS - 5], 5);
    assert_int_equal(posterior_solid(grown), POINTS - 5);
    assert_true(posterior_settle(grown));
    assert_same(whole, grown);
    posterior_begin(grown, &kernel); /* and again from nothing */
    posterior_watch(grown, &cloud, 0);
    assert_false(posterior_settle(grown));
    posterior_add(grown, candidates, POINTS);
    for (int i = 0; i < POINTS - 5; i++) {
        posterior_solidify(grown, truth(&candidates[i]));
    }
    assert_true(posterior_settle(grown));
    assert_same(whole, grown);
    posterior_free(whole);
    posterior_free(grown);
}

static void what_is_pending_narrows_and_moves_nothing(void **state)
{
    struct posterior *without = learned(POINTS - 5, 0), *with = learned(POINTS - 5, 5);
    double mean[2], sd[2];

    (void)state;
    for (int i = 0; i < CANDIDATES; i++) {
        posterior_at(without, i, &mean[0], &sd[0]);
        posterior_at(with, i, &mean[1], &sd[1]);
        assert_true(mean[0] == mean[1]);
        assert_true(sd[1] <= sd[0]);
    }
    posterior_at(without, POINTS - 3, &mean[0], &sd[0]);
    posterior_at(with, POINTS - 3, &mean[1], &sd[1]);
    assert_true(sd[1] < sd[0] / 4);
    posterior_free(without);
    posterior_free(with);
}

static void a_fit_finds_what_matters(void **state)
{
    struct kernel fitted = {.dims = DIMS, .label = {false, false, true}};
    double y[SURROGATE_FIT_MAX];

    (void)state;
    for (int i = 0; i < 80; i++) {
        y[i] = truth(&candidates[i]);
    }
    kernel_fit(&fitted, candidates, y, 80);
    assert_true(fitted.scale[0] > 4 * fitted.scale[1]); /* the second coordinate does nothing */
    assert_true(fitted.scale[2] > 4 * fitted.scale[1]);
    assert_true(fitted.noise < 1e-2);
    for (int i = 0; i < 80; i++) { /* targets that are all the same are no reason to fail */
        y[i] = 3;
    }
    kernel_fit(&fitted, candidates, y, 80);
    for (int d = 0; d < DIMS; d++) {
        assert_true(isfinite(fitted.scale[d]) && fitted.scale[d] > 0);
    }
    kernel_fit(&fitted, candidates, y, 4);
    assert_true(isfinite(fitted.noise) && fitted.noise > 0);
}

static void improvement_is_expected_of_the_low_and_of_the_unknown(void **state)
{
    (void)state;
    assert_true(fabs(expected_improvement(0, 1, 0) - 0.39894228) < 1e-8);
    assert_true(fabs(expected_improvement(-5, 1e-3, 0) - 5) < 1e-6);
    assert_true(expected_improvement(5, 1e-3, 0) < 1e-12);
    assert_true(expected_improvement(1, 2, 0) > expected_improvement(1, 1, 0));
    assert_true(expected_improvement(0.5, 1, 0) > expected_improvement(1, 1, 0));
    for (int i = -140; i <= 140; i++) { /* the quick bound is one, and not a wide one */
        double above = 0.05 * i, exact = expected_improvement(above, 0.7, 0);
        double most = (double)improvement_most((float)above, 0.7f);

        assert_true(most >= exact);
        assert_true(most <= 1.6 * exact);
    }
}

static void genes_become_coordinates(void **state)
{
    static const char text[] = "/* t. */\n#include \"evo.cuh\"\n"
                               "EVO_GENE(SIZE, set(16, 32, 48, 64), \"s\")\n"
                               "EVO_GENE(FIXED, set(7), \"f\")\n"
                               "EVO_GENE(STEP, range(0, 4, 2), \"p\")\n"
                               "EVO_GENE(DEPTH, pow2(1, 8), \"d\")\n"
                               "EVO_CHOICE(Kind, (one, two, three), \"k\")\n"
                               "EVO_REQUIRE(SIZE / DEPTH >= 2, \"r\")\n"
                               "EVO_LAUNCH(k, (ceil_div(q_len, SIZE)), 32, 0, (Q, K, V, O))\n";
    struct arena *arena = arena_new();
    struct family *family = NULL;
    struct genome genome = {.at = {2, 0, 1, 3, 2}};
    struct axes axes;
    struct point point;
    struct err err = {0};

    (void)state;
    if (!family_parse(arena, "t", "t.cu", text, strlen(text), &family, &err)) {
        fail_msg("%s", err.what);
    }
    axes_of_family(family, false, &axes);
    assert_int_equal(axes.plain, 4);
    assert_int_equal(axes.single, 5); /* SIZE has one for being no power of two */
    assert_int_equal(axes.dims, 6);   /* and a quotient is required */
    point = axes_point(&axes, &genome);
    assert_true(fabs((double)point.at[0] - log2(3) / 2) < 1e-6); /* 48 in [16, 64], by logarithm */
    assert_true(point.at[1] == 0.5f);
    assert_true(point.at[3] == 2 && axes.label[3] && !axes.label[0]);
    assert_true(point.at[4] == 1); /* 48 = 16 * 3, and no value has a larger odd part */
    assert_true(fabs((double)point.at[5] - (log2(6) - 1) / 2.5) < 1e-6); /* 48 / 8; 2 is least */
    genome.at[0] = 1;
    assert_true(axes_point(&axes, &genome).at[4] == 0);
    assert_int_equal(axes_odd(&axes, &genome), 0);
    genome.at[0] = 2;
    assert_int_equal(axes_odd(&axes, &genome), 1);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_knows_what_it_was_told),
        cmocka_unit_test(it_predicts_what_it_was_not_told),
        cmocka_unit_test(rows_answer_as_the_points_themselves_do),
        cmocka_unit_test(a_screen_means_the_same_and_doubts_no_less),
        cmocka_unit_test(one_at_a_time_or_all_at_once_is_the_same),
        cmocka_unit_test(what_is_pending_narrows_and_moves_nothing),
        cmocka_unit_test(a_fit_finds_what_matters),
        cmocka_unit_test(improvement_is_expected_of_the_low_and_of_the_unknown),
        cmocka_unit_test(genes_become_coordinates),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
