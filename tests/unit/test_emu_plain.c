/*
 * Launches of plain kernels: what the line may say, what is refused with its column, and that the
 * kernel gets what the line says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fitness/emu/plain.h"

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

static void every_part_of_a_launch_is_read(void **state)
{
    struct plain_launch launch;
    struct err err = {0};

    (void)state;
    assert_true(plain_read(arena,
                           " k_1 <<< (3,2) , (32, 4,1), 4096 >>> ( in f16 a[8x64], out f32 b[7] ,"
                           "zero u8 c[1], data s64 d[2x3x4], 64, -0.5, u64 9, map(a, 8x16, 32), "
                           "map(b, 4)) ",
                           &launch, &err));
    assert_string_equal(launch.kernel, "k_1");
    assert_int_equal(launch.grid[0] * 100 + launch.grid[1] * 10 + launch.grid[2], 321);
    assert_int_equal(launch.threads[1], 4);
    assert_int_equal(launch.smem_bytes, 4096);
    assert_int_equal(launch.arg_count, 9);
    assert_int_equal(launch.args[0].kind, PLAIN_IN);
    assert_int_equal(launch.args[0].type, PLAIN_F16);
    assert_string_equal(launch.args[0].name, "a");
    assert_int_equal(launch.args[0].dims[1], 64);
    assert_int_equal(launch.args[3].rank, 3);
    assert_int_equal(launch.args[4].type, PLAIN_S32);
    assert_int_equal(launch.args[4].bits, 64);
    assert_int_equal(launch.args[5].bits, 0xbf000000);
    assert_int_equal(launch.args[6].type, PLAIN_U64);
    assert_int_equal(launch.args[7].swizzle, 32);
    assert_int_equal(launch.args[7].dims[1], 16);
}

static void what_is_no_launch_is_refused_with_its_column(void **state)
{
    static const struct {
        const char *text, *says;
    } wrongs[] = {
        {"", "column 1: the name of the kernel is missing"},
        {"k", "'<<<' is missing"},
        {"k<<<1>>>()", "',' is missing"},
        {"k<<<x, 1>>>()", "column 5: a number is missing"},
        {"k<<<1, 99999999999>>>()", "too large"},
        {"k<<<1, 1>>>(", "in, data, zero, out, map, or a number"},
        {"k<<<1, 1>>>(in a[4])", "a type (f16"},
        {"k<<<1, 1>>>(in f32 [4])", "a name of at most"},
        {"k<<<1, 1>>>(in f32 a[4)", "']' is missing"},
        {"k<<<1, 1>>>(in f32 a[0])", "above 0"},
        {"k<<<1, 1>>>(in f32 a[1x1x1x1x1x1])", "at most 5 dimensions"},
        {"k<<<1, 1>>>(in f32 a[1000000x1000000])", "more than 1 GiB"},
        {"k<<<1, 1>>>(1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1)", "at most 16"},
        {"k<<<1, 1>>>(nan)", "or a number"},
        {"k<<<1, 1>>>(map(a, 4))", "there is no buffer 'a'"},
        {"k<<<1, 1>>>(in f32 a[4], map(a, 4x4))", "another number of dimensions"},
        {"k<<<1, 1>>>(in f32 a[4], map(a, 4, 16))", "32, 64 or 128"},
        {"k<<<1, 1>>>() more", "behind the launch"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        struct plain_launch launch;
        struct err err = {0};

        assert_false(plain_read(arena, wrongs[i].text, &launch, &err));
        if (err.kind != ERR_USER || strstr(err.what, wrongs[i].says) == NULL) {
            fail_msg("'%s': %s", wrongs[i].text, err.what);
        }
        assert_non_null(strstr(err.hint, "kernel<<<"));
    }
}

/* out[i] = in[i] + number, for one element of each thread; the last reads one too far on demand. */
static const char text[] =
    ".version 9.0\n.target sm_90a\n.address_size 64\n"
    ".visible .entry k(.param .u64 in, .param .u64 out, .param .u32 n)\n{\n"
    ".reg .b32 %r<8>;\n.reg .b64 %d<8>;\n"
    "ld.param.u64 %d0, [in];\nld.param.u64 %d1, [out];\nld.param.u32 %r0, [n];\n"
    "mov.u32 %r1, %tid.x;\nmul.wide.u32 %d2, %r1, 4;\n"
    "add.u64 %d3, %d0, %d2;\nadd.u64 %d4, %d1, %d2;\n"
    "ld.global.u32 %r2, [%d3];\nadd.u32 %r2, %r2, %r0;\nst.global.u32 [%d4], %r2;\nret;\n}\n";

static bool run(const char *launch_text, struct plain_outcome *outcome, struct err *err)
{
    struct plain_launch launch;
    struct plain_request request = {
        .ptx = text, .ptx_bytes = strlen(text), .launch = &launch, .sanitize = 15, .profile = true};

    return plain_read(arena, launch_text, &launch, err) && plain_run(arena, &request, outcome, err);
}

static void a_kernel_gets_what_its_launch_says(void **state)
{
    static const struct {
        const char *launch, *finds; /* NULL: nothing */
    } cases[] = {
        {"k<<<1, 32>>>(in s32 a[32], out s32 b[32], 1)", NULL},
        {"k<<<1, 32>>>(zero s32 a[32], data f32 b[8x4], f32 1)", NULL},
        {"k<<<1, 33>>>(in s32 a[32], out s32 b[33], 1)", "right behind the end of a"},
        {"k<<<1, 32>>>(in s32 a[32], out s32 b[31], 1)", "right behind the end of b"},
        {"k<<<1, 32>>>(out s32 a[32], out s32 b[32], 1)", "never written"},
        {"k<<<1, 32>>>(in s32 a[32], in s32 b[32], 1)", "read only"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct plain_outcome *outcome = arena_alloc(arena, sizeof *outcome);
        struct err err = {0};

        if (!run(cases[i].launch, outcome, &err)) {
            fail_msg("%s: %s", cases[i].launch, err.what);
        }
        if (cases[i].finds == NULL) {
            assert_int_equal(outcome->finding_count, 0);
            assert_true(outcome->profile.time.us > 0);
        } else {
            assert_int_equal(outcome->finding_count, 1);
            assert_non_null(strstr(outcome->findings[0].text, cases[i].finds));
        }
    }
}

static void a_launch_that_does_not_fit_is_refused(void **state)
{
    static const struct {
        const char *launch, *says;
    } cases[] = {
        {"other<<<1, 32>>>(in s32 a[32], out s32 b[32], 1)", "no entry 'other'"},
        {"k<<<1, 32>>>(in s32 a[32], out s32 b[32])", "has 3 parameters, its launch gives 2"},
        {"k<<<1, 32>>>(in s32 a[32], out s32 b[32], f64 1)", "parameter 3 has 4 bytes"},
        {"k<<<1, 32, 300000>>>(in s32 a[32], out s32 b[32], 1)", "does not fit a multiprocessor"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct plain_outcome *outcome = arena_alloc(arena, sizeof *outcome);
        struct err err = {0};

        assert_false(run(cases[i].launch, outcome, &err));
        if (strstr(err.what, cases[i].says) == NULL) {
            fail_msg("%s: %s", cases[i].launch, err.what);
        }
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(every_part_of_a_launch_is_read),
        TEST(what_is_no_launch_is_refused_with_its_column),
        TEST(a_kernel_gets_what_its_launch_says),
        TEST(a_launch_that_does_not_fit_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
