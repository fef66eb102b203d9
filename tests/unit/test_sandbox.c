/*
 * The sandbox: what a process can still do in it. Each test enters one in a child of its own, which
 * says by its exit status what it saw.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fitness/sandbox.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { WATCHED = 1 };
#else
enum { WATCHED = 0 };
#endif

extern char **environ;

static char folder[48], readable[64], writable[64], other[64];

enum { SAW_NO_LANDLOCK = 100, SAW_NO_SECCOMP };

/* Runs `look` in a child that has entered the sandbox; returns its exit status. */
static int in_sandbox(const struct sandbox *sandbox, int (*look)(void))
{
    int status;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        const char *holds = sandbox_enter(sandbox);

        if (sandbox->closes_files && strstr(holds, "no landlock") != NULL) {
            _exit(SAW_NO_LANDLOCK);
        }
        _exit(strstr(holds, "no seccomp") != NULL ? SAW_NO_SECCOMP : look());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) >= SAW_NO_LANDLOCK) {
        print_message("this kernel has no %s\n",
                      WEXITSTATUS(status) == SAW_NO_LANDLOCK ? "Landlock" : "seccomp");
        skip();
    }
    return WEXITSTATUS(status);
}

static int try_open(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    int error = errno;

    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0 ? 0 : error;
}

/* Every bit that is set is something that went wrong. */
static int look_at_files(void)
{
    char inside[96], elsewhere[96];

    snprintf(inside, sizeof inside, "%s/made", writable);
    snprintf(elsewhere, sizeof elsewhere, "%s/made", readable);
    return (try_open("/etc/passwd", O_RDONLY) != EACCES) << 0 |
           (try_open(other, O_RDONLY) != EACCES) << 1 |
           (try_open(readable, O_RDONLY | O_DIRECTORY) != 0) << 2 |
           (try_open(elsewhere, O_WRONLY | O_CREAT) != EACCES) << 3 |
           (try_open(inside, O_RDWR | O_CREAT) != 0) << 4 | (unlink(inside) != 0) << 5;
}

static void only_named_files_may_be_opened(void **state)
{
    struct sandbox sandbox = {.readable = {readable, "/no/such/folder"},
                              .writable = {NULL, writable},
                              .closes_files = true};

    (void)state;
    assert_int_equal(in_sandbox(&sandbox, look_at_files), 0);
}

static int look_at_sockets(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    return (fd >= 0 || errno != EPERM) << 0 |
           (socket(AF_UNIX, SOCK_STREAM, 0) >= 0 || errno != EPERM) << 1;
}

static void no_socket_can_be_made(void **state)
{
    struct sandbox sandbox = {.closes_sockets = true};

    (void)state;
    assert_int_equal(in_sandbox(&sandbox, look_at_sockets), 0);
}

static void *answer(void *given)
{
    *(int *)given = 42;
    return NULL;
}

static int look_at_processes(void)
{
    char *const argv[] = {"/bin/true", NULL};
    pthread_t thread;
    int given = 0, wrong = 0;
    pid_t child = fork();

    if (child == 0) {
        _exit(0);
    }
    wrong |= (child >= 0) << 0;
    execv(argv[0], argv);
    wrong |= (errno != EPERM) << 1;
    wrong |= (pthread_create(&thread, NULL, answer, &given) != 0) << 2;
    if ((wrong & 4) == 0) {
        pthread_join(thread, NULL);
        wrong |= (given != 42) << 3;
    }
    return wrong;
}

static void threads_start_and_processes_do_not(void **state)
{
    struct sandbox sandbox = {0};

    (void)state;
    if (WATCHED) {
        print_message("a sanitizer starts programs for its report: not refused here\n");
        skip();
    }
    assert_int_equal(in_sandbox(&sandbox, look_at_processes), 0);
}

static const char *secret_text, *kept_text;

static int look_at_environment(void)
{
    int wrong = (getenv("EVO_TEST_KEPT") == NULL) << 0 | (getenv("SOME_TOKEN") != NULL) << 1;

    for (char **at = environ; *at != NULL; at++) {
        wrong |= (strncmp(*at, "SOME_TOKEN", 10) == 0) << 2;
    }
    return wrong | (*secret_text != '\0') << 3 | (*kept_text != 'k') << 4;
}

static void what_the_environment_held_is_forgotten(void **state)
{
    struct sandbox sandbox = {0};

    (void)state;
    setenv("SOME_TOKEN", "hunter2", 1);
    setenv("EVO_TEST_KEPT", "kept", 1);
    secret_text = getenv("SOME_TOKEN") - strlen("SOME_TOKEN=");
    kept_text = getenv("EVO_TEST_KEPT");
    assert_int_equal(in_sandbox(&sandbox, look_at_environment), 0);
    assert_string_equal(getenv("SOME_TOKEN"), "hunter2"); /* ours is our own */
}

static int look_at_limits(void)
{
    struct rlimit core, file, memory, cpu;

    getrlimit(RLIMIT_CORE, &core);
    getrlimit(RLIMIT_FSIZE, &file);
    getrlimit(RLIMIT_AS, &memory);
    sandbox_allow_cpu(100);
    getrlimit(RLIMIT_CPU, &cpu);
    return (core.rlim_max != 0) << 0 | (file.rlim_max != 4096) << 1 |
           (!WATCHED && memory.rlim_max != (rlim_t)1 << 34) << 2 |
           (cpu.rlim_cur < 100 || cpu.rlim_cur > 200) << 3;
}

static void limits_are_set_and_cannot_be_raised(void **state)
{
    struct sandbox sandbox = {.memory_bytes = INT64_C(1) << 34, .file_bytes = 4096};

    (void)state;
    assert_int_equal(in_sandbox(&sandbox, look_at_limits), 0);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/evo-test-sandbox-%ld", (long)getpid());
    if (mkdir(folder, 0700) != 0) {
        return -1;
    }
    snprintf(readable, sizeof readable, "%s/readable", folder);
    snprintf(writable, sizeof writable, "%s/writable", folder);
    snprintf(other, sizeof other, "%s/other", folder);
    FILE *file = fopen(other, "w");
    if (file == NULL) {
        return -1;
    }
    fclose(file);
    return mkdir(readable, 0700) + mkdir(writable, 0700);
}

static int tear_down(void **state)
{
    (void)state;
    unlink(other);
    rmdir(readable);
    rmdir(writable);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_named_files_may_be_opened),
        cmocka_unit_test(no_socket_can_be_made),
        cmocka_unit_test(threads_start_and_processes_do_not),
        cmocka_unit_test(what_the_environment_held_is_forgotten),
        cmocka_unit_test(limits_are_set_and_cannot_be_raised),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
