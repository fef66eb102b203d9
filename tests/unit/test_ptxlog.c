#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "fitness/ptxlog.h"

/* All logs here are NVRTC 13.0.88's own words. */
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

static struct ptxlog read_log(const char *log)
{
    size_t size = strlen(log);
    char *exact = malloc(size ? size : 1); /* no NUL behind it */
    struct ptxlog facts;

    memcpy(exact, log, size);
    ptxlog_read(arena, exact, size, &facts);
    free(exact);
    return facts;
}

static void each_kernel_gets_its_own_resources(void **state)
{
    struct ptxlog facts = read_log(
        "ptxas info    : 404 bytes gmem, 64 bytes cmem[3]\n"
        "ptxas info    : Compiling entry function 'spill' for 'sm_90a'\n"
        "ptxas info    : Function properties for spill\n"
        "ptxas         .     56 bytes stack frame, 108 bytes spill stores, 128 bytes spill loads\n"
        "ptxas info    : Used 64 registers, used 0 barriers, 56 bytes cumulative stack size\n"
        "ptxas info    : Compile time = 23.505 ms\n"
        "ptxas info    : Compiling entry function 'scale' for 'sm_90a'\n"
        "ptxas info    : Function properties for scale\n"
        "ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
        "ptxas info    : Used 10 registers, used 1 barriers, 1024 bytes smem, 376 bytes cmem[0]\n"
        "ptxas info    : Compile time = 2.368 ms\n");

    (void)state;
    assert_int_equal(facts.gmem_bytes, 404);
    assert_int_equal(facts.entry_count, 2);
    assert_string_equal(facts.entries[0].name, "spill");
    assert_int_equal(facts.entries[0].registers, 64);
    assert_int_equal(facts.entries[0].barriers, 0);
    assert_int_equal(facts.entries[0].stack_bytes, 56);
    assert_int_equal(facts.entries[0].smem_bytes, 0);
    assert_int_equal(facts.entries[0].spill_store_bytes, 108);
    assert_int_equal(facts.entries[0].spill_load_bytes, 128);
    assert_string_equal(facts.entries[1].name, "scale");
    assert_int_equal(facts.entries[1].registers, 10);
    assert_int_equal(facts.entries[1].barriers, 1);
    assert_int_equal(facts.entries[1].stack_bytes, 0);
    assert_int_equal(facts.entries[1].smem_bytes, 1024);
    assert_int_equal(facts.entries[1].spill_store_bytes, 0);
    assert_int_equal(facts.stage, PTXLOG_NO_ERROR);
    assert_string_equal(facts.error, "");
    assert_string_equal(facts.warnings, "");
}

static void spills_of_a_called_function_count_for_its_kernel(void **state)
{
    struct ptxlog facts = read_log(
        "ptxas info    : Compiling entry function 'k2' for 'sm_90a'\n"
        "ptxas info    : Function properties for k2\n"
        "ptxas         .     0 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads\n"
        "ptxas info    : Used 10 registers, used 0 barriers\n"
        "ptxas info    : Compile time = 5.985 ms\n"
        "ptxas info    : Function properties for _Z1ffi\n"
        "ptxas         .     8 bytes stack frame, 12 bytes spill stores, 16 bytes spill loads\n");

    (void)state;
    assert_int_equal(facts.entry_count, 1);
    assert_int_equal(facts.entries[0].spill_store_bytes, 16);
    assert_int_equal(facts.entries[0].spill_load_bytes, 24);
}

static void the_first_error_of_the_front_end_is_the_reason(void **state)
{
    struct ptxlog facts = read_log(
        "k.cu(1): warning #177-D: variable \"y\" was declared but never referenced\n"
        "k.cu(2): error: identifier \"foo\" is undefined\n"
        "  *o = foo;\n       ^\n\n"
        "k.cu(3): error: a value of type \"const char *\" cannot be used to initialize an entity\n"
        "2 errors detected in the compilation of \"k.cu\".\n");

    (void)state;
    assert_int_equal(facts.stage, PTXLOG_FRONT_END);
    assert_string_equal(facts.error, "k.cu(2): error: identifier \"foo\" is undefined");
    facts = read_log("nvrtc: error: unrecognized option -foo found\n");
    assert_int_equal(facts.stage, PTXLOG_FRONT_END);
    assert_string_equal(facts.error, "nvrtc: error: unrecognized option -foo found");
    facts = read_log("k.cu(1): catastrophic error: cannot open source file \"x.h\"\n");
    assert_int_equal(facts.stage, PTXLOG_FRONT_END);
}

static void errors_of_ptxas_are_told_apart(void **state)
{
    struct ptxlog facts = read_log(
        "ptxas error   : Entry function 'k' uses too much shared data (0x445c0 bytes, "
        "0x38c00 max)\n");

    (void)state;
    assert_int_equal(facts.stage, PTXLOG_PTXAS);
    assert_string_equal(facts.error, "ptxas: Entry function 'k' uses too much shared data "
                                     "(0x445c0 bytes, 0x38c00 max)");
    facts = read_log("ptxas application ptx input, line 26; error   : Instruction 'wgmma.fence' "
                     "not supported on .target 'sm_90'\n"
                     "ptxas fatal   : Ptx assembly aborted due to errors\n");
    assert_int_equal(facts.stage, PTXLOG_PTXAS);
    assert_string_equal(facts.error, "ptxas: ptx line 26: Instruction 'wgmma.fence' not supported "
                                     "on .target 'sm_90'");
    facts = read_log("ptxas application ptx input, line 64; fatal   : (C7406) setmaxnreg.dec has "
                     "register count (240) which is larger than the largest temporal register "
                     "count in the program (128)\n"
                     "ptxas fatal   : Ptx assembly aborted due to errors\n");
    assert_int_equal(facts.stage, PTXLOG_PTXAS);
    assert_true(str_starts(facts.error, "ptxas: ptx line 64: (C7406) setmaxnreg.dec has register"));
    facts = read_log("ptxas fatal   : Unknown option '-foo'\n");
    assert_string_equal(facts.error, "ptxas: Unknown option '-foo'");
}

static void lines_that_cost_speed_are_collected_once(void **state)
{
    static const char slow[] =
        "ptxas info    : (C7511) Potential Performance Loss: wgmma.mma_async instructions are "
        "serialized due to insufficient register resources for the wgmma pipeline in the function "
        "'k'\n";
    struct buf log = {0};
    struct ptxlog facts;

    (void)state;
    buf_puts(&log, slow);
    buf_puts(&log, "ptxas info    : Overriding maximum register limit 256 for 'k' with  24\n");
    buf_puts(&log, slow);
    buf_puts(&log, "ptxas warning : Registers are spilled to local memory in function 'k', 108 "
                   "bytes spill stores, 128 bytes spill loads\n");
    facts = read_log(log.data);
    assert_string_equal(facts.warnings,
                        "(C7511) Potential Performance Loss: wgmma.mma_async instructions are "
                        "serialized due to insufficient register resources for the wgmma pipeline "
                        "in the function 'k'; Registers are spilled to local memory in function "
                        "'k', 108 bytes spill stores, 128 bytes spill loads");
    assert_true(str_starts(facts.slow, "(C7511) Potential Performance Loss: wgmma"));
    buf_free(&log);
    facts = read_log("ptxas info    : (C7508) Potential Performance Loss: 'setmaxnreg' ignored; "
                     "unable to determine register count at entry.\n"
                     "ptxas info    : (C7519) warpgroup.arrive is injected in around line 46 by "
                     "compiler to allow use of registers in GMMA in function 'k'\n");
    assert_non_null(strstr(facts.warnings, "'setmaxnreg' ignored; unable"));
    assert_non_null(strstr(facts.warnings, "; (C7519) warpgroup.arrive is injected"));
    assert_string_equal(facts.slow, ""); /* a pity, and no more */
}

static void endless_logs_stay_within_limits(void **state)
{
    struct buf log = {0};
    struct ptxlog facts;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        buf_printf(&log, "ptxas info    : Compiling entry function 'k%d' for 'sm_90a'\n", i);
        buf_printf(&log, "ptxas warning : warning number %d\n", i);
        buf_puts(&log, "ptxas info    : Used 999999999999 registers, ");
        buf_puts(&log, "used 99999999999999 barriers\n");
        buf_puts(&log, "ptxas info    : 999999999999 bytes gmem\n");
    }
    buf_puts(&log, "k.cu(1): error: ");
    for (int i = 0; i < 1000; i++) {
        buf_puts(&log, "long ");
    }
    facts = read_log(log.data);
    assert_int_equal(facts.entry_count, JOB_ENTRIES_MAX);
    assert_string_equal(facts.entries[JOB_ENTRIES_MAX - 1].name, "k7");
    assert_int_equal(facts.entries[0].barriers, 0);
    assert_true(strlen(facts.warnings) <= PTXLOG_WARNINGS_MAX);
    assert_true(strlen(facts.error) == PTXLOG_REASON_MAX);
    buf_free(&log);
}

static void text_that_is_no_log_says_nothing(void **state)
{
    static const char *const logs[] = {
        "", "\n\n\n", "ptxas", "ptxas info", "ptxas info    :", "ptxas info    : ,,,",
        "ptxas info    : Compiling entry function 'k", "ptxas         .     bytes",
        "ptxas application ptx input, line ", "Used 3 registers", "ptxas warning :",
    };

    (void)state;
    for (size_t i = 0; i < sizeof logs / sizeof *logs; i++) {
        struct ptxlog facts = read_log(logs[i]);

        assert_int_equal(facts.entry_count, 0);
        assert_int_equal(facts.gmem_bytes, 0);
        assert_int_equal(facts.stage, PTXLOG_NO_ERROR);
        assert_string_equal(facts.warnings, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kernel_gets_its_own_resources),
        cmocka_unit_test(spills_of_a_called_function_count_for_its_kernel),
        cmocka_unit_test(the_first_error_of_the_front_end_is_the_reason),
        cmocka_unit_test(errors_of_ptxas_are_told_apart),
        cmocka_unit_test(lines_that_cost_speed_are_collected_once),
        cmocka_unit_test(endless_logs_stay_within_limits),
        cmocka_unit_test(text_that_is_no_log_says_nothing),
    };

    return cmocka_run_group_tests(tests, arena_up, arena_down);
}
