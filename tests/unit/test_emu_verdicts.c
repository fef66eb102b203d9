/*
 * What the emulated device says of kernels that go wrong: each kind of finding is the verdict that
 * docs/EMULATOR.md names, and the device goes on with the next as if nothing had been.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fitness/emu/emulate.h"

/* A kernel of one block of 64 threads that has the output alone, in %a0, and its thread in %r0. */
static const char head[] =
    ".version 9.0\n.target sm_90a\n.address_size 64\n"
    ".visible .entry kernel(.param .u64 output)\n{\n"
    ".reg .pred %p<4>;\n.reg .b16 %h<4>;\n.reg .b32 %r<8>;\n.reg .b64 %a<4>;\n"
    ".shared .align 16 .b8 memory[1024];\n"
    "ld.param.u64 %a0, [output];\ncvta.to.global.u64 %a0, %a0;\n"
    "mov.u32 %r0, %tid.x;\nmov.u32 %r1, memory;\n";

static const struct wrong {
    const char *body;
    enum verdict verdict;
    const char *says;
} wrongs[] = {
    {"", VERDICT_WRONG, "never written"},
    {"trap;", VERDICT_CRASH, "trap"},
    {"st.global.u16 [%a0+-2], 0;", VERDICT_OUT_OF_BOUNDS,
     "before the start of the output"}, /* in the gate's guard */
    {"add.s64 %a1, %a0, 1280;\nst.global.u16 [%a1], 0;", VERDICT_OUT_OF_BOUNDS, "out of bounds"},
    {"add.s64 %a1, %a0, 1280;\nld.global.u16 %h0, [%a1];", VERDICT_OUT_OF_BOUNDS, "out of bounds"},
    {"st.global.u32 [%a0+2], %r0;", VERDICT_OUT_OF_BOUNDS, "misaligned"},
    {"mov.u64 %a1, 64;\nst.global.u16 [%a1], 0;", VERDICT_OUT_OF_BOUNDS, "out of bounds"},
    {"ld.global.u16 %h0, [%a0];\nst.global.u16 [%a0+64], %h0;", VERDICT_INVALID, "uninitialised"},
    {"ld.shared.u32 %r2, [%r1];\nsetp.eq.u32 %p0, %r2, 7;\n@%p0 bra DONE;\nDONE:", VERDICT_INVALID,
     "uninitialised"},
    {"st.shared.u32 [%r1], %r0;", VERDICT_RACY, "race"},
    {"shl.b32 %r2, %r0, 2;\nadd.u32 %r2, %r1, %r2;\nst.shared.u32 [%r2], %r0;\n"
     "ld.shared.u32 %r3, [%r1];\n",
     VERDICT_RACY, "race"},
    {"st.global.u16 [%a0], 1;", VERDICT_WRONG, "never written"}, /* all the same value: no race */
    {"cvt.u16.u32 %h0, %r0;\nst.global.u16 [%a0], %h0;", VERDICT_RACY, "race"},
    {"setp.lt.u32 %p0, %r0, 32;\n@%p0 bar.sync 1, 64;", VERDICT_TIMEOUT, "deadlock"},
    {"LOOP:\nbra LOOP;", VERDICT_TIMEOUT, "more than"},
    {"tcgen05.fence::before_thread_sync;", VERDICT_UNSUPPORTED, "unsupported"},
};

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

static const struct emulation *emulated(const char *ptx, const char *entry, const char *argument)
{
    struct judge_image image = {.ptx = ptx, .ptx_bytes = strlen(ptx)};
    struct emulate_request request = {.image = &image, .profile_blocks = -1, .secret = 5};
    struct emulation *emulation = arena_alloc(arena, sizeof *emulation);
    struct err err = {0};

    image.program.kernel_count = 1;
    image.program.kernels[0] = (struct program_kernel){.name = entry,
                                                       .grid = {"1", "1", "1"},
                                                       .threads = "64",
                                                       .smem = "0",
                                                       .args = {argument},
                                                       .arg_count = 1};
    assert_true(problem_parse("1x1x10x64", &request.problem, &err)); /* 1280 bytes of output */
    assert_true(sanitize_parse("all", &request.sanitize, &err));
    if (!emulate(arena, &request, emulation, &err)) {
        fail_msg("%s", err.what);
    }
    return emulation;
}

static const char *kernel(const char *body)
{
    return arena_printf(arena, "%s%s\nret;\n}\n", head, body);
}

static void each_finding_is_its_verdict(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        const struct emulation *e = emulated(kernel(wrongs[i].body), "kernel", "O");

        if (e->verdict != wrongs[i].verdict || strstr(e->reason, wrongs[i].says) == NULL) {
            fail_msg("'%s' is %s: %s", wrongs[i].body, verdict_names[e->verdict], e->reason);
        }
    }
}

static void a_finding_is_told_with_its_place(void **state)
{
    const struct emulation *e = emulated(kernel("st.global.u16 [%a0+-2], 0;"), "kernel", "O");

    (void)state;
    assert_true(e->finding_count > 0);
    assert_non_null(strstr(e->findings[0].text, "PTX line "));
    assert_non_null(strstr(e->reason, "1x1x10x64 on normal inputs: the device saw: "));
}

static void what_is_not_asked_for_is_not_looked_for(void **state)
{
    static const char *const lists[] = {"none", "bounds", "initialised", "races",
                                        "initialised,races"};
    unsigned bits[5];
    struct err err = {0};

    (void)state;
    for (int i = 0; i < 5; i++) {
        assert_true(sanitize_parse(lists[i], &bits[i], &err));
    }
    assert_int_equal(bits[0], 0);
    assert_int_equal(bits[4], bits[2] | bits[3]);
    assert_false(sanitize_parse("", &bits[0], &err));
    assert_false(sanitize_parse("races,", &bits[0], &err));
    assert_false(sanitize_parse("Races", &bits[0], &err));
    assert_non_null(strstr(err.hint, "initialised, races and async"));
}

static void a_module_that_is_not_what_was_declared_is_invalid(void **state)
{
    (void)state;
    assert_int_equal(emulated(kernel(""), "other", "O")->verdict, VERDICT_INVALID);
    assert_int_equal(emulated(kernel(""), "kernel", "problem")->verdict, VERDICT_INVALID);
    assert_int_equal(emulated("this is no PTX", "kernel", "O")->verdict, VERDICT_INVALID);
    assert_int_equal(emulated("", "kernel", "O")->verdict, VERDICT_INVALID);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(each_finding_is_its_verdict),
        TEST(a_finding_is_told_with_its_place),
        TEST(what_is_not_asked_for_is_not_looked_for),
        TEST(a_module_that_is_not_what_was_declared_is_invalid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
