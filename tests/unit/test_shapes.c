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
    assert_int_equal(shapes.count, 7);
    for (int i = 3; i < 7; i++) {
        assert_int_equal(shapes.list[i].use, USE_GATE);
        assert_true(problem_same_static(&shapes.list[i].problem, &shapes.list[0].problem));
        assert_true(problem_flops(&shapes.list[i].problem) <= 0x1p24);
        assert_true(shapes.list[i].problem.kv_len % 16 != 0);
    }
    assert_true(shapes.list[5].problem.batch > 1 && shapes.list[5].problem.kv_heads > 1);
}

static void derived_shapes_share_keys_among_heads_as_the_workload_does(void **state)
{
    static const char *const workload[] = {"4x32/8x4096x128:causal:bf16:lse", "1x64/1x9999x128"};
    struct shapes shapes = chosen(&emulated, workload, 2, NULL);

    (void)state;
    assert_int_equal(shapes.count, 10);
    for (int i = 2; i < 10; i++) {
        const struct problem *p = &shapes.list[i].problem;

        assert_int_equal(shapes.list[i].image, i >= 6);
        assert_true(problem_same_static(p, &shapes.list[i >= 6].problem));
        assert_true(p->heads / p->kv_heads == 4 || (p->heads == 1 && p->kv_len > 1024));
    }
    assert_true(shapes.list[4].problem.q_len > shapes.list[4].problem.kv_len + 128);
}

static void shapes_of_the_seed_take_the_place_of_derived_ones(void **state)
{
    static const char *const workload[] = {"1x8x512x64", "1x8x512x128"};
    struct shapes shapes = chosen(&emulated, workload, 2, "1x1x33x64");

    (void)state;
    assert_int_equal(shapes.count, 7); /* one for the first program, four derived for the other */
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

/* ---- shapes that the search never sees ---- */

static struct program program_of(const struct program_constant *constants, int count,
                                 const char *condition)
{
    struct program program = {.constants = constants, .constant_count = count, .kernel_count = 1,
                              .supports_count = condition != NULL,
                              .supports = {{condition, "what the test says"}}};

    program.kernels[0] = (struct program_kernel){.name = "k", .grid = {"batch", "heads", "1"},
                                                 .threads = "32", .smem = "0"};
    return program;
}

static const struct program_constant tiles[] = {{"BLOCK_M", 48}, {"BLOCK_N", 80}};

/* The workload's shapes of test `chosen`, and what is held out by a draw. */
static struct shapes held_out(const struct program *program, bool slow, uint64_t draw)
{
    static const char *const workload[] = {"4x32/8x4096x64", "1x8x512x128:causal"};
    const struct program *programs[JOB_IMAGES_MAX] = {program, program};
    struct shapes shapes = chosen(slow ? &emulated : &gpu, workload, 2, NULL);
    struct rng rng = rng_at(1, 2, draw);

    shapes_hold_out(&shapes, programs, 132, slow, &rng);
    return shapes;
}

static void what_is_held_out_lies_around_the_programs_tiles(void **state)
{
    const struct program program = program_of(tiles, 2, NULL);

    (void)state;
    for (uint64_t draw = 0; draw < 200; draw++) {
        struct shapes shapes = held_out(&program, false, draw);
        const struct shape *list = shapes.list;

        assert_int_equal(shapes.count, 2 + 2 * 6 + 1); /* the last is for causal problems */
        assert_true(list[14].problem.q_len > list[14].problem.kv_len + 1);
        assert_int_equal(list[14].image, 1);
        for (int i = 2; i < shapes.count - 1; i++) {
            assert_int_equal(list[i].use, USE_GATE);
            assert_int_equal(list[i].image, i % 2);
            assert_true(problem_same_static(&list[i].problem, &list[i % 2].problem));
            assert_int_equal(list[i].problem.heads / list[i].problem.kv_heads, i % 2 ? 1 : 4);
            for (int j = 0; j < i; j++) {
                assert_false(problem_equal(&list[i].problem, &list[j].problem));
            }
        }
        assert_int_equal((list[2].problem.q_len + 1) % 48, 0); /* a tile less one */
        assert_int_equal((list[2].problem.kv_len + 1) % 80, 0);
        assert_int_equal((list[4].problem.q_len - 1) % 48, 0); /* a tile and one */
        assert_int_equal((list[4].problem.kv_len - 1) % 80, 0);
        assert_int_equal(list[6].problem.q_len % 48 + list[6].problem.kv_len % 80, 0);
        assert_true(list[8].problem.q_len < 48 && list[8].problem.kv_len < 80); /* a part */
        assert_true(list[10].problem.kv_len >= 9000);                           /* many keys */
        assert_true(list[12].problem.batch % 2 == 1 && list[12].problem.batch > 1);
        assert_int_equal(list[13].problem.heads, 3);
    }
}

static void what_is_held_out_is_drawn_anew_by_each_secret(void **state)
{
    const struct program program = program_of(tiles, 2, NULL);
    struct shapes a = held_out(&program, false, 1), b = held_out(&program, false, 2);
    struct shapes c = held_out(&program, false, 1);
    struct hash first = shapes_hash(&a), second = shapes_hash(&b), third = shapes_hash(&c);

    (void)state;
    assert_false(hash_equal(&first, &second));
    assert_true(hash_equal(&first, &third));
}

static void only_what_the_program_supports_is_held_out(void **state)
{
    const struct program coarse = program_of(tiles, 2, "q_len % 64 == 0 && kv_len % 64 == 0");
    const struct program none = program_of(NULL, 0, "q_len == 7777");

    (void)state;
    for (uint64_t draw = 0; draw < 50; draw++) {
        struct shapes shapes = held_out(&coarse, false, draw);

        assert_true(shapes.count > 2 + 2 * 4); /* some are rounded to the same */
        for (int i = 2; i < shapes.count; i++) {
            assert_int_equal(shapes.list[i].problem.q_len % 64, 0);
            assert_int_equal(shapes.list[i].problem.kv_len % 64, 0);
        }
    }
    assert_int_equal(held_out(&none, false, 0).count, 2);
}

static void an_emulated_device_can_afford_what_is_held_out(void **state)
{
    const struct program_constant large[] = {{"BLOCK_M", 128}, {"BLOCK_N", 128}};
    const struct program program = program_of(large, 2, NULL), plain = program_of(NULL, 0, NULL);

    (void)state;
    for (uint64_t draw = 0; draw < 100; draw++) {
        struct shapes shapes = held_out(draw % 2 ? &program : &plain, true, draw);

        assert_int_equal(shapes.count, 2 + 2 * 4 + 2 * 6 + 1);
        for (int i = 10; i < shapes.count; i++) {
            assert_true(problem_flops(&shapes.list[i].problem) <= 0x1.1p24);
        }
    }
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
        cmocka_unit_test(what_is_held_out_lies_around_the_programs_tiles),
        cmocka_unit_test(what_is_held_out_is_drawn_anew_by_each_secret),
        cmocka_unit_test(only_what_the_program_supports_is_held_out),
        cmocka_unit_test(an_emulated_device_can_afford_what_is_held_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
