/* Plans: how a program is launched for a shape, and how it travels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "fitness/plan.h"

static struct arena *arena;
static const struct problem shape = {
    .batch = 2, .heads = 8, .kv_heads = 4, .q_len = 100, .kv_len = 300, .head_dim = 64};

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

static const struct program_constant constants[] = {{"BLOCK_M", 32}, {"SPLITS", 4}, {"WARPS", 8}};

/* Two kernels that share a workspace: the second joins what the first did in parts. */
static struct program split_program(void)
{
    return (struct program){
        .constants = constants,
        .constant_count = 3,
        .kernels = {{.name = "partial",
                     .grid = {"ceil_div(q_len, BLOCK_M)", "heads * batch", "SPLITS"},
                     .threads = "WARPS * 32",
                     .smem = "BLOCK_M * 64 * 2",
                     .args = {"Q", "K", "v_map", "parts", "problem"},
                     .arg_count = 5},
                    {.name = "join",
                     .grid = {"sms", "1", "1"},
                     .threads = "128",
                     .smem = "0",
                     .args = {"parts", "count", "O", "LSE"},
                     .arg_count = 4}},
        .kernel_count = 2,
        .workspaces = {{"parts", "batch * heads * q_len * SPLITS * 4", WORKSPACE_POISON},
                       {"count", "4", WORKSPACE_ZERO_ONCE}},
        .workspace_count = 2,
        .maps = {{"q_map", MAP_Q, "64", "BLOCK_M", "128"},
                 {"v_map", MAP_V, "BLOCK_M", "2 * BLOCK_M + WARPS", "64"}},
        .map_count = 2,
        .supports = {{"kv_len >= q_len || kv_heads == 0", "keys | for every query"}},
        .supports_count = 1,
        .numerics = 1,
    };
}

static struct plan resolved(const struct program *program, const struct problem *problem)
{
    struct plan plan;
    struct err err = {0};
    bool supported = false;

    if (!plan_resolve(arena, program, problem, 132, &plan, &supported, &err)) {
        fail_msg("%s", err.what);
    }
    assert_true(supported);
    return plan;
}

/* What plan_resolve says against the program; *supported too. */
static const char *refusal(const struct program *program, const struct problem *problem,
                           bool *supported)
{
    struct plan plan;
    struct err err = {0};

    assert_false(plan_resolve(arena, program, problem, 132, &plan, supported, &err));
    return arena_dup(arena, err.what);
}

static void a_program_is_resolved_for_a_shape(void **state)
{
    struct program program = split_program();
    struct plan plan = resolved(&program, &shape);

    (void)state;
    assert_int_equal(plan.kernel_count, 2);
    assert_string_equal(plan.kernels[0].name, "partial");
    assert_int_equal(plan.kernels[0].grid[0], 4); /* 100 rows in blocks of 32 */
    assert_int_equal(plan.kernels[0].grid[1], 16);
    assert_int_equal(plan.kernels[0].grid[2], 4);
    assert_int_equal(plan.kernels[0].threads, 256);
    assert_int_equal(plan.kernels[0].smem_bytes, 4096);
    assert_int_equal(plan.kernels[0].arg_count, 5);
    assert_int_equal(plan.kernels[0].args[0].kind, ARG_Q);
    assert_int_equal(plan.kernels[0].args[1].kind, ARG_K);
    assert_int_equal(plan.kernels[0].args[2].kind, ARG_MAP);
    assert_int_equal(plan.kernels[0].args[2].index, 1);
    assert_int_equal(plan.kernels[0].args[3].kind, ARG_WORKSPACE);
    assert_int_equal(plan.kernels[0].args[3].index, 0);
    assert_int_equal(plan.kernels[0].args[4].kind, ARG_PROBLEM);
    assert_string_equal(plan.kernels[1].name, "join");
    assert_int_equal(plan.kernels[1].grid[0], 132);
    assert_int_equal(plan.kernels[1].args[1].kind, ARG_WORKSPACE);
    assert_int_equal(plan.kernels[1].args[1].index, 1);
    assert_int_equal(plan.kernels[1].args[2].kind, ARG_O);
    assert_int_equal(plan.kernels[1].args[3].kind, ARG_LSE);
    assert_int_equal(plan.workspace_count, 2);
    assert_int_equal(plan.workspaces[0].bytes, 2 * 8 * 100 * 4 * 4);
    assert_int_equal(plan.workspaces[0].kind, WORKSPACE_POISON);
    assert_int_equal(plan.workspaces[1].kind, WORKSPACE_ZERO_ONCE);
    assert_int_equal(plan.map_count, 2);
    assert_int_equal(plan.maps[1].tensor, MAP_V);
    assert_int_equal(plan.maps[1].columns, 32);
    assert_int_equal(plan.maps[1].rows, 72);
    assert_int_equal(plan.maps[1].swizzle, 64);
    assert_false(plan.maps[1].bf16);
    assert_int_equal(program_arg_bytes(&program, "v_map"), 128);
    assert_int_equal(program_arg_bytes(&program, "parts"), 8);
    assert_int_equal(program_arg_bytes(&program, "problem"), sizeof(struct problem_args));
}

/* Sizes and strides are the tensor's own, whatever lies first in memory. */
static void a_map_is_laid_out_as_its_tensor(void **state)
{
    static const struct {
        enum map_tensor tensor;
        bool sequence_first;
        uint64_t rows, heads, strides[3];
    } cases[] = {
        {MAP_Q, false, 100, 8, {128, 12800, 102400}},
        {MAP_K, false, 300, 4, {128, 38400, 153600}},
        {MAP_V, true, 300, 4, {512, 128, 153600}},
        {MAP_O, true, 100, 8, {1024, 128, 102400}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct plan_map map = {cases[i].tensor, 64, 16, 128, true};
        struct problem problem = shape;

        problem.sequence_first = cases[i].sequence_first;
        struct problem_args args = problem_args(&problem);
        struct map_layout layout = map_layout(&map, &args);
        const uint64_t sizes[] = {64, cases[i].rows, cases[i].heads, 2};
        const uint32_t box[] = {64, 16, 1, 1};

        assert_memory_equal(layout.sizes, sizes, sizeof sizes);
        assert_memory_equal(layout.strides, cases[i].strides, sizeof cases[i].strides);
        assert_memory_equal(layout.box, box, sizeof box);
    }
}

static void a_map_that_the_hardware_would_refuse_is_told(void **state)
{
    static const struct {
        const char *columns, *rows, *swizzle, *says;
    } bad[] = {
        {"0", "1", "0", "columns of the box '0' is 0, which is not in 1 to 256"},
        {"257", "1", "0", "columns of the box '257' is 257, which is not in 1 to 256"},
        {"64", "8 * WARPS * 5", "0",
         "rows of the box '8 * WARPS * 5' is 320, which is not in 1 to 256"},
        {"64", "1", "48", "swizzle '48' is 48 bytes, not 0, 32, 64 or 128"},
        {"64", "1", "129", "swizzle '129' is 129, which is not in 0 to 128"},
        {"WARPS / 2", "1", "0",
         "a row of the box has 4 * 2 = 8 bytes ('WARPS / 2'), no multiple of 16"},
        {"72", "1", "128",
         "a row of the box has 72 * 2 = 144 bytes ('72'), more than its swizzle's 128"},
        {"SPLIT", "1", "0", "columns of the box"},
    };
    struct program program = split_program();
    struct problem odd = shape;
    bool supported;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        program.maps[1] = (struct program_map){"v_map", MAP_V, bad[i].columns, bad[i].rows,
                                               bad[i].swizzle};
        const char *says = refusal(&program, &shape, &supported);
        assert_true(supported);
        assert_true(strncmp(says, "tensor map 'v_map': ", 20) == 0);
        assert_non_null(strstr(says, bad[i].says));
    }
    odd.head_dim = 36;
    assert_string_equal(refusal(&program, &odd, &supported),
                        "tensor map 'q_map': a row of Q has 36 * 2 = 72 bytes, and the hardware "
                        "wants a multiple of 16");
    assert_false(supported);
}

static void a_shape_that_is_not_supported_is_told_apart_from_an_error(void **state)
{
    struct program program = split_program();
    struct problem few = shape;
    bool supported = true;

    (void)state;
    few.kv_len = 50;
    assert_string_equal(refusal(&program, &few, &supported),
                        "the program does not support this shape: keys | for every query "
                        "(kv_len >= q_len || kv_heads == 0)");
    assert_false(supported);
    program.supports[0].condition = "kv_len / (q_len - 100)";
    supported = false;
    assert_non_null(strstr(refusal(&program, &shape, &supported), "supported shapes: "));
    assert_true(supported); /* it does not say no: it cannot be computed */
}

static void launches_outside_the_limits_are_refused(void **state)
{
    static const struct {
        int part; /* 0 1 2 of the grid, 3 threads, 4 shared memory, 5 workspace */
        const char *bad, *good;
    } limits[] = {
        {0, "-1", "1"},          {0, "2147483648", "2147483647"}, {1, "65536", "65535"},
        {1, "-1", "1"},          {2, "65536", "65535"},           {2, "-1", "0"},
        {3, "1025", "1024"},     {3, "0", "1"},                   {4, "-1", "0"},
        {4, "1048577", "1048576"}, {5, "-1", "0"},                {5, "1073741825", "1073741824"},
        {0, "1 / 0", "1"},       {0, "NOBODY", "sms"},            {3, "", "32"},
        {4, "pow2(62) * 4", "0"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        struct program program = split_program();
        struct program_kernel *kernel = &program.kernels[1];
        const char **parts[] = {&kernel->grid[0], &kernel->grid[1], &kernel->grid[2],
                                &kernel->threads, &kernel->smem,    &program.workspaces[0].bytes};
        bool supported = false;

        *parts[limits[i].part] = limits[i].good;
        resolved(&program, &shape);
        *parts[limits[i].part] = limits[i].bad;
        assert_non_null(strstr(refusal(&program, &shape, &supported),
                               limits[i].part == 5 ? "workspace 'parts'" : "launch of 'join'"));
        assert_true(supported);
    }
}

/* So a gene may do without a second kernel or its memory. */
static void a_launch_without_blocks_is_left_out(void **state)
{
    struct program program = split_program();
    struct plan plan;
    bool supported;

    (void)state;
    program.kernels[0].grid[2] = "SPLITS > 4 ? SPLITS : 0";
    program.workspaces[0].bytes = "SPLITS > 4 ? 100 : 0";
    plan = resolved(&program, &shape);
    assert_int_equal(plan.kernel_count, 1);
    assert_string_equal(plan.kernels[0].name, "join");
    assert_int_equal(plan.kernels[0].arg_count, 4);
    assert_int_equal(plan.kernels[0].args[1].index, 1); /* workspaces keep their places */
    assert_int_equal(plan.workspace_count, 2);
    assert_int_equal(plan.workspaces[0].bytes, 0);
    program.kernels[1].grid[0] = "0";
    assert_string_equal(refusal(&program, &shape, &supported), "no launch has a block in its grid");
    assert_true(supported);
}

static void an_argument_must_be_known(void **state)
{
    struct program program = split_program();
    bool supported;

    (void)state;
    program.kernels[0].args[4] = "q";
    assert_string_equal(refusal(&program, &shape, &supported),
                        "launch of 'partial': kernel argument 'q' is neither a workspace, nor a "
                        "tensor map, nor one "
                        "of Q K V O LSE problem");
}

/* A constant cannot change what the shape says. */
static void a_launch_variable_is_the_problems(void **state)
{
    static const struct program_constant sly[] = {{"q_len", 1}, {"BLOCK_M", 10}, {"BLOCK_M", 20}};
    struct program program = {
        .constants = sly,
        .constant_count = 3,
        .kernels = {{.name = "k", .grid = {"q_len / BLOCK_M", "kv_heads", "kv_len"},
                     .threads = "batch", .smem = "heads"}},
        .kernel_count = 1,
    };
    struct plan plan = resolved(&program, &shape);

    (void)state;
    assert_int_equal(plan.kernels[0].grid[0], 5);
    assert_int_equal(plan.kernels[0].grid[1], 4);
    assert_int_equal(plan.kernels[0].grid[2], 300);
    assert_int_equal(plan.kernels[0].threads, 2);
    assert_int_equal(plan.kernels[0].smem_bytes, 8);
}

static void every_difference_of_a_launch_changes_its_hash(void **state)
{
    struct program program = split_program();
    struct plan plan = resolved(&program, &shape), again = resolved(&program, &shape);
    struct hash hashes[24];
    int count = 0;

    (void)state;
    hashes[count] = plan_hash(&plan);
    again.kernels[0].name = "partial"; /* another pointer, the same name */
    hashes[count + 1] = plan_hash(&again);
    assert_true(hash_equal(&hashes[0], &hashes[1]));
    count++;
#define CHANGED(change)                                                                            \
    do {                                                                                           \
        struct plan other = plan;                                                                  \
        change;                                                                                    \
        hashes[count++] = plan_hash(&other);                                                       \
    } while (0)
    CHANGED(other.kernels[0].name = "other");
    CHANGED(other.kernels[0].grid[0]++);
    CHANGED(other.kernels[0].grid[1]++);
    CHANGED(other.kernels[1].grid[2]++);
    CHANGED(other.kernels[0].threads++);
    CHANGED(other.kernels[1].smem_bytes++);
    CHANGED(other.kernels[0].args[0].kind = ARG_K);
    CHANGED(other.kernels[0].args[3].index = 1);
    CHANGED(other.kernels[0].arg_count--);
    CHANGED(other.kernel_count--);
    CHANGED(other.workspaces[0].bytes++);
    CHANGED(other.workspaces[0].kind = WORKSPACE_ZERO_CALL);
    CHANGED(other.workspace_count--);
    CHANGED(other.maps[0].tensor = MAP_K);
    CHANGED(other.maps[0].columns = 32);
    CHANGED(other.maps[0].rows++);
    CHANGED(other.maps[1].swizzle = 0);
    CHANGED(other.maps[1].bf16 = true);
    CHANGED(other.map_count--);
#undef CHANGED
    for (int i = 0; i < count; i++) {
        for (int j = 0; j < i; j++) {
            assert_false(hash_equal(&hashes[i], &hashes[j]));
        }
    }
}

/* ---- as a message ---- */

static bool travels(const struct message *message, struct program *program, struct err *err)
{
    struct buf wire = {0};
    struct message *got;
    bool ok;

    message_encode(message, &wire);
    ok = message_decode(arena, wire.data + 4, wire.length - 4, &got, err) &&
         program_get(arena, got, program, err);
    buf_free(&wire);
    return ok;
}

static void a_program_travels_unchanged(void **state)
{
    struct program program = split_program(), got;
    struct message *message = message_new(arena, "program");
    struct err err = {0};
    struct plan here, there;
    struct hash a, b;

    (void)state;
    program_put(message, &program);
    assert_true(travels(message, &got, &err));
    assert_int_equal(got.constant_count, 3);
    assert_string_equal(got.constants[1].name, "SPLITS");
    assert_int_equal(got.constants[1].value, 4);
    assert_int_equal(got.numerics, 1);
    assert_string_equal(got.supports[0].condition, program.supports[0].condition);
    assert_string_equal(got.supports[0].doc, program.supports[0].doc);
    assert_string_equal(got.kernels[0].grid[1], "heads * batch");
    assert_string_equal(got.kernels[1].args[1], "count");
    here = resolved(&program, &shape);
    there = resolved(&got, &shape);
    a = plan_hash(&here);
    b = plan_hash(&there);
    assert_true(hash_equal(&a, &b));
}

static void a_kernel_may_take_no_argument(void **state)
{
    struct program program = {.kernels = {{.name = "k", .grid = {"1", "1", "1"}, .threads = "1",
                                           .smem = "0"}},
                              .kernel_count = 1}, got;
    struct message *message = message_new(arena, "program");
    struct err err = {0};

    (void)state;
    program_put(message, &program);
    assert_true(travels(message, &got, &err));
    assert_int_equal(got.kernels[0].arg_count, 0);
    assert_string_equal(got.kernels[0].smem, "0");
}

static void a_program_that_is_malformed_is_refused(void **state)
{
    static const struct {
        const char *key, *value, *why;
    } bad[] = {
        {"define", "BLOCK_M", "define BLOCK_M"},
        {"define", "BLOCK_M x", "define BLOCK_M x"},
        {"define", "BLOCK_M 99999999999999999999", "define"},
        {"supports", "kv_len > 1", "supports kv_len > 1"},
        {"workspace", "parts | poison", "workspace parts"},
        {"workspace", "parts | zero | 4", "workspace parts"},
        {"map", "m | K | 64 | 8", "map m | K"},
        {"map", "m | LSE | 64 | 8 | 128", "map m | LSE"},
        {"kernel", "k | 1 | 1 | 1 | 32 | 0", "kernel k"},
        {"kernel", " | 1 | 1 | 1 | 32 | 0 | Q", "kernel"},
        {"kernel", "k | 1 | 1 | 1 | 32 | 0 | 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17", "kernel k"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct message *message = message_new(arena, "program");
        struct program got;
        struct err err = {0};

        message_put(message, "numerics", "0");
        message_put(message, "kernel", "fine | 1 | 1 | 1 | 32 | 0 | Q");
        assert_true(travels(message, &got, &err));
        message_put(message, bad[i].key, "%s", bad[i].value);
        assert_false(travels(message, &got, &err));
        assert_non_null(strstr(err.what, "malformed program: "));
        assert_non_null(strstr(err.what, bad[i].why));
    }
}

static void a_program_has_limits(void **state)
{
    static const struct {
        const char *key, *value;
        int most;
    } limits[] = {
        {"kernel", "k | 1 | 1 | 1 | 32 | 0 | Q", PROGRAM_KERNELS_MAX - 1},
        {"workspace", "w | poison | 4", PROGRAM_WORKSPACES_MAX},
        {"supports", "1 | always", PROGRAM_SUPPORTS_MAX},
        {"map", "m | K | 64 | 8 | 128", PROGRAM_MAPS_MAX},
    };

    (void)state;
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        struct message *message = message_new(arena, "program");
        struct program got;
        struct err err = {0};

        message_put(message, "numerics", "0");
        message_put(message, "kernel", "fine | 1 | 1 | 1 | 32 | 0 | Q");
        for (int j = 0; j < limits[i].most; j++) {
            message_put(message, limits[i].key, "%s", limits[i].value);
        }
        assert_true(travels(message, &got, &err));
        message_put(message, limits[i].key, "%s", limits[i].value);
        assert_false(travels(message, &got, &err));
    }
}

static void a_program_must_launch_and_say_its_numerics(void **state)
{
    struct message *message = message_new(arena, "program");
    struct program got;
    struct err err = {0};

    (void)state;
    message_put(message, "kernel", "k | 1 | 1 | 1 | 32 | 0 | Q");
    assert_false(travels(message, &got, &err));
    message_put(message, "numerics", "2");
    assert_false(travels(message, &got, &err));
    message = message_new(arena, "program");
    message_put(message, "numerics", "1");
    assert_false(travels(message, &got, &err));
    assert_string_equal(err.what, "malformed program: it launches no kernel");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_program_is_resolved_for_a_shape),
        TEST(a_map_is_laid_out_as_its_tensor),
        TEST(a_map_that_the_hardware_would_refuse_is_told),
        TEST(a_shape_that_is_not_supported_is_told_apart_from_an_error),
        TEST(launches_outside_the_limits_are_refused),
        TEST(a_launch_without_blocks_is_left_out),
        TEST(an_argument_must_be_known),
        TEST(a_launch_variable_is_the_problems),
        TEST(every_difference_of_a_launch_changes_its_hash),
        TEST(a_program_travels_unchanged),
        TEST(a_kernel_may_take_no_argument),
        TEST(a_program_that_is_malformed_is_refused),
        TEST(a_program_has_limits),
        TEST(a_program_must_launch_and_say_its_numerics),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
