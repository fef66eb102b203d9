/*
 * PyTorch's side of a comparison, with a script in python3's place that says what a test wants to
 * be heard. The real one is tried where there is a GPU (tests/gpu/clock.sh).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/torch.h"

static const char script[] = EVO_BINARY_DIR "/test-torch-python.sh";

/* From now on the interpreter does this, with its arguments in $1 (-c), $2 (the program), $3 … */
static void python_does(const char *text)
{
    FILE *file = fopen(script, "w");

    assert_non_null(file);
    fprintf(file, "#!/bin/sh\n%s\n", text);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(script, 0700), 0);
    assert_int_equal(setenv("EVO_PYTHON", script, 1), 0);
}

static struct torch_times time_it(struct arena *arena, const char *shape)
{
    struct torch_times times;
    struct problem problem;
    struct err err = {0};

    assert_true(problem_parse(shape, &problem, &err));
    assert_true(torch_time(arena, "torch-flash", 1, &problem, &times, &err));
    return times;
}

static void what_it_says_is_read(void **state)
{
    struct arena *arena = arena_new();
    struct torch_times times;

    (void)state;
    python_does("echo 'name PyTorch 9, FlashAttention'; echo 'a line of its own'; echo error 1e-4\n"
                "echo 'graph 8.5 8.25 9'; echo 'span 7 7.5'");
    times = time_it(arena, "1x8x512x64");
    assert_null(times.unsupported);
    assert_string_equal(times.name, "PyTorch 9, FlashAttention");
    assert_int_equal(times.graph_count, 3);
    assert_int_equal(times.span_count, 2);
    assert_true(times.graph_us[1] == 8.25 && times.span_us[1] == 7.5 && times.error == 1e-4);
    arena_free(arena);
}

static void it_is_told_the_problem(void **state)
{
    struct arena *arena = arena_new();
    struct torch_times times;

    (void)state;
    python_does("shift 2; echo \"unsupported $*\"");
    times = time_it(arena, "2x8/4x512x64:causal:bf16:bshd");
    assert_string_equal(times.unsupported, "torch-flash 1 2 8 4 512 512 64 bf16 1 1");
    arena_free(arena);
}

static void what_it_cannot_do_is_said(void **state)
{
    struct arena *arena = arena_new();

    (void)state;
    python_does("exit 1");
    assert_non_null(strstr(time_it(arena, "1x8x512x64:lse").unsupported, "log-sum-exp"));
    assert_non_null(strstr(time_it(arena, "1x8x512/600x64:causal").unsupported, "top left"));
    assert_non_null(strstr(time_it(arena, "1x8x512x64").unsupported, "told no times"));
    python_does("echo 'graph 8.5 nonsense'; echo 'span 7 7'");
    assert_non_null(strstr(time_it(arena, "1x8x512x64").unsupported, "told no times"));
    python_does("echo 'graph 8.5 -1'; echo 'span 7 7'");
    assert_non_null(strstr(time_it(arena, "1x8x512x64").unsupported, "told no times"));
    assert_int_equal(setenv("EVO_PYTHON", "/nowhere/python3", 1), 0);
    assert_non_null(strstr(time_it(arena, "1x8x512x64").unsupported, "told no times"));
    arena_free(arena);
}

static void its_back_ends_have_names(void **state)
{
    (void)state;
    assert_true(torch_is("torch") && torch_is("torch-math"));
    assert_false(torch_is("torch-") || torch_is("cudnn") || torch_is("torch.cu"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_says_is_read),
        cmocka_unit_test(it_is_told_the_problem),
        cmocka_unit_test(what_it_cannot_do_is_said),
        cmocka_unit_test(its_back_ends_have_names),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    unlink(script);
    return failed;
}
