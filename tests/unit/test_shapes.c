/* Which shapes a device's gate judges on: all in full on a GPU, small ones on the emulated device.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/shapes.h"

static const struct hello gpu = {.backend = "cuda"}, emulated = {.backend = "emu"};

static struct problem problem_of(const char *text)
{
    struct problem problem = {0};
    struct err err;

    assert_true(problem_parse(text, &problem, &err));
    return problem;
}

static struct shapes chosen(const struct hello *hello, const char *const workload[], int count,
                            const char *own)
{
    struct problem small = own != NULL ? problem_of(own) : (struct problem){0};
    struct shapes shapes = {.count = count};

    for (int i = 0; i < count; i++) {
        shapes.list[i].problem = problem_of(workload[i]);
        shapes.list[i].image =
            i > 0 && !problem_same_static(&shapes.list[0].problem, &shapes.list[i].problem);
    }
    shapes_choose(&shapes, hello, &small, own != NULL);
    return shapes;
}

static void a_gpu_judges_the_workload_in_full(void **state)
{
    static const char *const workload[] = {"1x8x512x64", "4x16x8192x128:causal"};
    struct shapes shapes = chosen(&gpu, workload, 2, "1x1x33x64");

    (void)state;
    assert_int_equal(shapes.count, 2);
    assert_int_equal(shapes.list[0].use, USE_WHOLE);
    assert_int_equal(shapes.list[1].use, USE_WHOLE);
}

static void an_emulated_device_judges_as_much_as_it_can_afford(void **state)
{
    static const char *const workload[] = {"1x1x100x64", "1x8x512x64", "1x8x4096x64"};
    struct shapes shapes = chosen(&emulated, workload, 3, NULL);

    (void)state;
    assert_int_equal(shapes.timed, 3);
    assert_int_equal(shapes.list[0].use, USE_WHOLE);
    assert_int_equal(shapes.list[1].use, USE_ONCE);
    assert_int_equal(shapes.list[2].use, USE_TIME);
    assert_int_equal(shapes.count, 5);
    for (int i = 3; i < 5; i++) {
        assert_int_equal(shapes.list[i].use, USE_GATE);
        assert_true(problem_same_static(&shapes.list[i].problem, &shapes.list[0].problem));
        assert_true(problem_flops(&shapes.list[i].problem) <= 0x1p24);
        assert_true(shapes.list[i].problem.kv_len % 16 != 0);
    }
}

static void derived_shapes_share_keys_among_heads_as_the_workload_does(void **state)
{
    static const char *const workload[] = {"4x32/8x4096x128:causal:bf16:lse", "1x64/1x9999x128"};
    struct shapes shapes = chosen(&emulated, workload, 2, NULL);

    (void)state;
    assert_int_equal(shapes.count, 6);
    for (int i = 2; i < 6; i++) {
        const struct problem *p = &shapes.list[i].problem;

        assert_int_equal(shapes.list[i].image, i >= 4);
        assert_true(problem_same_static(p, &shapes.list[i >= 4].problem));
        assert_int_equal(p->heads / p->kv_heads, 4);
    }
}

static void shapes_of_the_seed_take_the_place_of_derived_ones(void **state)
{
    static const char *const workload[] = {"1x8x512x64", "1x8x512x128"};
    struct shapes shapes = chosen(&emulated, workload, 2, "1x1x33x64");

    (void)state;
    assert_int_equal(shapes.count, 5); /* one for the first program, two derived for the other */
    assert_int_equal(shapes.list[2].problem.q_len, 33);
    assert_int_equal(shapes.list[3].problem.head_dim, 128);
}

static void a_shape_of_the_seed_that_is_the_workloads_is_judged_in_full(void **state)
{
    static const char *const workload[] = {"1x8x512x64"};
    struct shapes shapes = chosen(&emulated, workload, 1, "1x8x512x64");

    (void)state;
    assert_int_equal(shapes.count, 1);
    assert_int_equal(shapes.list[0].use, USE_WHOLE);
}

static void what_is_judged_on_is_part_of_the_key(void **state)
{
    static const char *const workload[] = {"1x8x512x64"};
    struct shapes a = chosen(&gpu, workload, 1, NULL), b = chosen(&emulated, workload, 1, NULL);
    struct shapes c = chosen(&emulated, workload, 1, "1x1x33x64");
    struct hash first = shapes_hash(&a), second = shapes_hash(&b), third = shapes_hash(&c);

    (void)state;
    assert_false(hash_equal(&first, &second));
    assert_false(hash_equal(&second, &third));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gpu_judges_the_workload_in_full),
        cmocka_unit_test(an_emulated_device_judges_as_much_as_it_can_afford),
        cmocka_unit_test(derived_shapes_share_keys_among_heads_as_the_workload_does),
        cmocka_unit_test(shapes_of_the_seed_take_the_place_of_derived_ones),
        cmocka_unit_test(a_shape_of_the_seed_that_is_the_workloads_is_judged_in_full),
        cmocka_unit_test(what_is_judged_on_is_part_of_the_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
