/* compute-sanitizer from outside: where it is, what its logs say, and a sanitizer that is none. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/sanitizer.h"

static void logs_are_read(void **state)
{
    static const struct {
        const char *log, *text;
        bool ran;
        int64_t errors;
    } logs[] = {
        {"========= COMPUTE-SANITIZER\n========= ERROR SUMMARY: 0 errors\n", "", true, 0},
        {"========= COMPUTE-SANITIZER\nsomething of the judge's\n"
         "========= Invalid __global__ read of size 16 bytes\n"
         "=========     at attention+0x530 in k.cu:31\n=========\n"
         "========= ERROR SUMMARY: 3 errors\n",
         "Invalid __global__ read of size 16 bytes", true, 3},
        {"========= COMPUTE-SANITIZER\n========= Error: Race reported between Write access at a "
         "and Read access at b [512 hazards]\n=========\n"
         "========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)",
         "Error: Race reported between Write access at a and Read access at b [512 hazards]", true,
         1},
        {"========= RACECHECK SUMMARY: 2 hazards displayed (0 errors, 2 warnings)\n", "", true, 0},
        {"========= COMPUTE-SANITIZER\n========= Error: Target application terminated before first "
         "instrumented API call\n",
         "Error: Target application terminated before first instrumented API call", false, 0},
        {"ERROR SUMMARY: 7 errors\n", "it said nothing", false, 0}, /* not the sanitizer's line */
        {"", "it said nothing", false, 0},
        {"=========", "it said nothing", false, 0},
    };
    struct arena *arena = arena_new();

    (void)state;
    for (size_t i = 0; i < sizeof logs / sizeof *logs; i++) {
        struct sanitizer_report report;

        sanitizer_read(arena, logs[i].log, &report);
        assert_int_equal(report.ran, logs[i].ran);
        assert_int_equal(report.errors, logs[i].errors);
        assert_string_equal(report.text, logs[i].text);
    }
    arena_free(arena);
}

static void it_is_where_the_environment_says(void **state)
{
    struct arena *arena = arena_new();

    (void)state;
    setenv("EVO_SANITIZER", "/bin/sh", 1);
    assert_string_equal(sanitizer_find(arena), "/bin/sh");
    setenv("EVO_SANITIZER", "/nowhere/compute-sanitizer", 1);
    assert_null(sanitizer_find(arena));
    unsetenv("EVO_SANITIZER");
    arena_free(arena);
}

/* One that writes its log and lets no program run is said not to have run. */
static void a_sanitizer_that_runs_nothing_is_no_verdict(void **state)
{
    struct arena *arena = arena_new();
    struct judge_job *job = arena_alloc(arena, sizeof *job);
    struct sanitizer_report report;
    struct err err = {0};
    char *path = arena_printf(arena, "/tmp/evo-test-sanitizer.%ld", (long)getpid());
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0700);

    (void)state;
    job->genes = "";
    assert_true(fd >= 0);
    dprintf(fd, "#!/bin/sh\necho '========= Error: no device' >\"$4\"\nexit 3\n");
    close(fd);
    assert_true(sanitizer_run(arena, path, "memcheck", "emu", job, 5000, &report, &err));
    assert_false(report.ran);
    assert_int_equal(report.errors, 0);
    assert_non_null(strstr(report.text, "; Error: no device"));
    unlink(path);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logs_are_read),
        cmocka_unit_test(it_is_where_the_environment_says),
        cmocka_unit_test(a_sanitizer_that_runs_nothing_is_no_verdict),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
