/*
 * What ptxas wants of wgmma: docs/wgmma-ptxas.md, tried by the compiler that candidates get. Every
 * right and wrong list of operands there, and every way to lose the pipeline, with ptxas's words.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "daemon/trial.h"

static struct arena *arena;

static int arena_up(void **state)
{
    (void)state;
    arena = arena_new();
    return 0;
}

static int arena_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static struct built build(const char *source)
{
    struct compile_job job = {.source = source, .source_bytes = strlen(source), .name = "wgmma.cu",
                              .arch = "sm_90a", .entries = {"k"}, .entry_count = 1};
    struct built built;
    struct err err = {0};

    if (!trial_compile(arena, &job, &built, &err)) {
        fail_msg("%s (%s)", err.what, err.hint);
    }
    return built;
}

/* "%0, %1, …" and the C++ operands that stand for them. */
static const char *registers(int count, const char *form)
{
    struct buf text = {0};

    for (int i = 0; i < count; i++) {
        buf_puts(&text, i > 0 ? ", " : "");
        buf_printf(&text, strcmp(form, "%") == 0 ? "%%%d" : "\"+f\"(d[%d])", i);
    }
    const char *kept = arena_dup(arena, text.data);
    buf_free(&text);
    return kept;
}

enum { ACCUMULATORS = 32 }; /* of a thread, for m64n64 in FP32 */

#define FENCE  "    asm volatile(\"wgmma.fence.sync.aligned;\" ::: \"memory\");\n"
#define COMMIT "    asm volatile(\"wgmma.commit_group.sync.aligned;\" ::: \"memory\");\n"
#define WAIT   "    asm volatile(\"wgmma.wait_group.sync.aligned 0;\" ::: \"memory\");\n"

/*
 * One wgmma with these operands. In the text D stands for the accumulators, A and B for 64-bit
 * descriptors, a and b for their low halves, R for a 32-bit register, p for a predicate.
 */
static const char *multiply(const char *shape, const char *operands)
{
    static const struct {
        char letter;
        const char *text;
    } names[] = {{'A', "%32"}, {'B', "%33"}, {'R', "%34"}, {'a', "%35"}, {'b', "%36"}};
    struct buf list = {0};

    for (; *operands != '\0'; operands++) {
        size_t i = 0, count = sizeof names / sizeof *names;

        while (i < count && names[i].letter != *operands) {
            i++;
        }
        if (*operands == 'D') {
            buf_printf(&list, "{%s}", registers(ACCUMULATORS, "%"));
        } else if (i < count) {
            buf_puts(&list, names[i].text);
        } else {
            buf_printf(&list, "%c", *operands);
        }
    }
    const char *text = arena_printf(
        arena,
        "    asm volatile(\"{.reg .pred p; setp.ne.b32 p, %%34, 0;\"\n"
        "        \"wgmma.mma_async.sync.aligned.%s.f32.f16.f16 %s;}\"\n"
        "        : %s : \"l\"(a), \"l\"(b), \"r\"(r), \"r\"((unsigned)a), \"r\"((unsigned)b));\n",
        shape, list.data, registers(ACCUMULATORS, "f"));
    buf_free(&list);
    return text;
}

static const char *kernel(const char *bounds, const char *body)
{
    return arena_printf(
        arena,
        "typedef unsigned long long descriptor;\n%s"
        "extern \"C\" __global__ void __launch_bounds__(%s) k(float *o, descriptor a, "
        "descriptor b, unsigned r)\n{\n"
        "    float d[32];\n    for (int i = 0; i < 32; i++) d[i] = o[i];\n%s"
        "    for (int i = 0; i < 32; i++) o[threadIdx.x * 32 + i] = d[i];\n}\n",
        strstr(body, "issue(") == NULL
            ? ""
            : arena_printf(arena,
                           "__device__ __noinline__ void issue(float (&d)[32], descriptor a, "
                           "descriptor b, unsigned r)\n{\n%s}\n",
                           multiply("m64n64k16", "D, A, B, p, 1, 1, 0, 0")),
        bounds, body);
}

static const char mismatch[] = "Arguments mismatch for instruction 'wgmma.mma_async'";

static void one_list_of_operands_is_right_and_its_likes_are_not(void **state)
{
    static const struct {
        const char *operands, *says; /* NULL: it builds */
    } forms[] = {
        {"D, A, B, p, 1, 1, 0, 0", NULL},
        {"D, A, B, 1, 1, 1, 0, 0", NULL},   /* scale-d may be a constant */
        {"D, A, B, p, -1, 1, 0, 1", NULL},  /* -A · B, B transposed */
        {"D, {R, R, R, R}, B, p, 1, 1, 0", NULL},
        {"D, A, B", mismatch},
        {"D, A, B, p", mismatch},
        {"D, A, B, p, 1, 1", mismatch},     /* nothing said of transposition */
        {"D, A, B, p, 1, 1, 0", mismatch},  /* of one operand only */
        {"D, A, B, R, 1, 1, 0, 0", mismatch}, /* scale-d in a register of 32 bits */
        {"D, A, B, D, p, 1, 1, 0, 0", mismatch}, /* an addend of its own, as mma.sync has */
        {"D, [A], [B], p, 1, 1, 0, 0", mismatch},
        {"D, a, b, p, 1, 1, 0, 0", mismatch}, /* addresses, no descriptors */
        {"D, {R, R, R, R}, B, p, 1, 1, 0, 0", mismatch}, /* A in registers cannot be transposed */
        {"D, {R, R, R, R}, B, p, 1, 1", mismatch},
        {"D, A, B, p, 2, 1, 0, 0", "expected to be -1 or 1"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        const char *operands = forms[i].operands, *says = forms[i].says;
        struct built built =
            build(kernel("128, 1", arena_printf(arena, FENCE "%s" COMMIT WAIT,
                                                multiply("m64n64k16", operands))));

        if (says == NULL ? built.verdict != VERDICT_NONE : strstr(built.reason, says) == NULL) {
            fail_msg("'%s': %s: %s", operands, verdict_names[built.verdict], built.reason);
        }
        if (says == NULL) {
            assert_non_null(strstr(built.ptx, "wgmma.mma_async"));
            assert_string_equal(built.warnings, "");
        } else {
            assert_int_equal(built.verdict, VERDICT_NO_COMPILE);
            assert_true(str_starts(built.reason, "ptxas: ptx line "));
        }
    }
}

/* A wrong number of accumulators, which was suspected first, has other words. */
static void a_wrong_number_of_registers_is_another_complaint(void **state)
{
    static const char *const shapes[] = {"m64n56k16", "m64n128k16"};

    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct built built = build(
            kernel("128, 1", arena_printf(arena, FENCE "%s" COMMIT WAIT,
                                          multiply(shapes[i], "D, A, B, p, 1, 1, 0, 0"))));

        assert_int_equal(built.verdict, VERDICT_NO_COMPILE);
        assert_non_null(strstr(built.reason, "Argument vector size mismatch"));
    }
}

static void what_costs_the_pipeline_is_a_fact_of_the_candidate(void **state)
{
    const char *right = multiply("m64n64k16", "D, A, B, p, 1, 1, 0, 0");
    const struct {
        const char *body, *warns;
        bool slow;
    } cases[] = {
        {arena_printf(arena, FENCE "%s" COMMIT WAIT, right), "", false},
        {FENCE "    issue(d, a, b, r);\n" COMMIT WAIT,
         "wgmma pipeline crossing function boundary at a function call in the function 'k'", true},
        {arena_printf(arena, FENCE "%s" COMMIT "    d[3] *= 2;\n" WAIT, right),
         "warpgroup.wait is injected", false},
        {arena_printf(arena, "%s" COMMIT WAIT, right), "warpgroup.arrive is injected", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct built built = build(kernel("128, 1", cases[i].body));

        assert_string_equal(built.reason, "");
        assert_non_null(strstr(built.warnings, cases[i].warns));
        assert_int_equal(*built.warnings == '\0', *cases[i].warns == '\0');
        assert_int_equal(*built.slow != '\0', cases[i].slow);
    }
}

/* Registers move only if ptxas knows how many there are when the kernel begins. */
static void setmaxnreg_needs_launch_bounds_with_blocks(void **state)
{
    static const char increase[] =
        "    asm volatile(\"setmaxnreg.inc.sync.aligned.u32 240;\");\n";
    static const char decrease[] =
        "    asm volatile(\"setmaxnreg.dec.sync.aligned.u32 240;\");\n";
    struct built built;

    (void)state;
    built = build(kernel("128, 1", increase));
    assert_string_equal(built.warnings, "");
    built = build(kernel("128", increase));
    assert_int_equal(built.verdict, VERDICT_NONE);
    assert_non_null(strstr(built.warnings, "'setmaxnreg' ignored"));
    assert_string_equal(built.slow, "");
    built = build(kernel("512, 1", decrease)); /* of the 128 that there are */
    assert_int_equal(built.verdict, VERDICT_NO_COMPILE);
    assert_non_null(strstr(built.reason, "(C7406) setmaxnreg.dec has register count (240)"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, arena_up, arena_down)
    const struct CMUnitTest tests[] = {
        TEST(one_list_of_operands_is_right_and_its_likes_are_not),
        TEST(a_wrong_number_of_registers_is_another_complaint),
        TEST(what_costs_the_pipeline_is_a_fact_of_the_candidate),
        TEST(setmaxnreg_needs_launch_bounds_with_blocks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
