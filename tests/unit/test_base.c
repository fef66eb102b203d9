/* The base: memory, texts, numbers, draws, hashes, time, crash points, child processes, locks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/proc.h"
#include "base/rng.h"
#include "base/str.h"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/evo-base-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder); /* fails if a test left a file behind */
}

static const char *path_of(const char *name)
{
    static char path[128];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* ---- arena ---- */

static void arena_memory_is_aligned_and_zeroed_even_when_used_again(void **state)
{
    struct arena *arena = arena_new();

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (size_t size = 0; size < 300; size++) {
            unsigned char *memory = arena_alloc(arena, size);

            assert_int_equal((uintptr_t)memory % _Alignof(max_align_t), 0);
            for (size_t i = 0; i < size; i++) {
                assert_int_equal(memory[i], 0);
            }
            memset(memory, 0xff, size);
        }
        arena_reset(arena);
    }
    arena_free(arena);
    arena_free(NULL);
}

static void a_reset_keeps_one_block_and_no_giant(void **state)
{
    struct arena *arena = arena_new();
    size_t before;

    (void)state;
    arena_alloc(arena, 10);
    before = arena_bytes(arena);
    for (int i = 0; i < 100; i++) {
        arena_alloc(arena, 10000);
    }
    memset(arena_alloc(arena, 1 << 20), 1, 1 << 20);
    assert_true(arena_bytes(arena) > 2 << 20);
    arena_reset(arena);
    assert_int_equal(arena_bytes(arena), before);
    arena_free(arena);
}

static void arena_texts_are_copies_that_end_in_nul(void **state)
{
    struct arena *arena = arena_new();
    char source[] = "abcdef";
    char *text = arena_text(arena, source, 3), *whole = arena_dup(arena, source);

    (void)state;
    source[0] = 'X';
    assert_string_equal(text, "abc");
    assert_string_equal(whole, "abcdef");
    assert_string_equal(arena_text(arena, NULL, 0), "");
    assert_string_equal(arena_printf(arena, "%s-%d", text, 7), "abc-7");
    assert_int_equal(strlen(arena_printf(arena, "%70000d", 1)), 70000);
    assert_memory_equal(arena_copy(arena, "a\0b", 3), "a\0b", 3);
    arena_free(arena);
}

/* ---- err ---- */

static void a_failure_is_told_from_the_inside_out(void **state)
{
    struct err err = {0};

    (void)state;
    assert_int_equal(err_exit_code(&err), 0);
    assert_false(err_set(&err, ERR_USER, "line %d: unknown gene '%s'", 12, "X"));
    assert_false(err_hint(&err, "the genes are %s", "A B"));
    assert_false(err_in(&err, "seed '%s'", "a.yaml"));
    assert_string_equal(err.what, "seed 'a.yaml': line 12: unknown gene 'X'");
    assert_string_equal(err.hint, "the genes are A B");
    assert_int_equal(err_exit_code(&err), 2);
    errno = ENOENT;
    assert_false(err_sys(&err, "cannot open '%s'", "b"));
    assert_string_equal(err.what, "cannot open 'b': No such file or directory");
    assert_string_equal(err.hint, "");
    assert_int_equal(err_exit_code(&err), 1);
    err_set(&err, ERR_DEVICE, "lost");
    assert_int_equal(err_exit_code(&err), 3);
}

static void a_failure_may_be_told_in_its_own_words(void **state)
{
    struct err err = {0};

    (void)state;
    err_set(&err, ERR_SYSTEM, "malformed frame");
    err_set(&err, ERR_DEVICE, "worker '%s' said: %s", "a long name in front of it", err.what);
    assert_string_equal(err.what, "worker 'a long name in front of it' said: malformed frame");
    err_in(&err, "<%s>", err.what);
    assert_string_equal(err.what, "<worker 'a long name in front of it' said: malformed frame>: "
                                  "worker 'a long name in front of it' said: malformed frame");
}

static void a_failure_too_long_is_cut(void **state)
{
    struct err err = {0};

    (void)state;
    err_set(&err, ERR_USER, "%5000d", 1);
    assert_int_equal(strlen(err.what), sizeof err.what - 1);
    errno = EIO;
    err_sys(&err, "%5000d", 1);
    err_in(&err, "%5000d", 2);
    err_hint(&err, "%5000d", 3);
    assert_int_equal(strlen(err.what), sizeof err.what - 1);
    assert_int_equal(strlen(err.hint), sizeof err.hint - 1);
}

/* ---- str ---- */

static void a_buffer_grows_drops_and_is_always_a_text(void **state)
{
    struct buf buf = {0};

    (void)state;
    buf_clear(&buf);
    buf_drop(&buf, 0);
    buf_add(&buf, NULL, 0);
    assert_string_equal(buf.data, "");
    for (int i = 0; i < 1000; i++) {
        buf_printf(&buf, "%03d,", i);
    }
    assert_int_equal(buf.length, 4000);
    assert_int_equal(strlen(buf.data), 4000);
    buf_drop(&buf, 3996);
    assert_string_equal(buf.data, "999,");
    buf_puts(&buf, "x");
    buf_drop(&buf, 5);
    assert_int_equal(buf.length, 0);
    assert_string_equal(buf.data, "");
    buf_add(&buf, "a\0b", 3);
    assert_int_equal(buf.length, 3);
    buf_clear(&buf);
    assert_string_equal(buf.data, "");
    buf_free(&buf);
    assert_null(buf.data);
}

static void an_integer_is_read_whole_or_not_at_all(void **state)
{
    static const char *const bad[] = {"", " 1", "1 ", "+1", "-", "--1", "0x1", "1.0", "1e3", "a",
                                      "9223372036854775808", "-9223372036854775809", "1\n"};
    int64_t value = 77;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(str_to_i64(bad[i], &value));
        assert_int_equal(value, 77);
    }
    assert_true(str_to_i64("9223372036854775807", &value) && value == INT64_MAX);
    assert_true(str_to_i64("-9223372036854775808", &value) && value == INT64_MIN);
    assert_true(str_to_i64("0", &value) && value == 0);
}

static void a_number_is_finite_and_read_whole(void **state)
{
    static const char *const bad[] = {"",    " 1",  "1 ",   "\t1", "nan", "inf",
                                      "-inf", "1e999", "1,5", "x",   "-",   "1.5s"};
    double value = 77;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(str_to_f64(bad[i], &value));
        assert_true(value == 77);
    }
    assert_true(str_to_f64("-1.5e-3", &value) && value == -0.0015);
    assert_true(str_to_f64("1.7976931348623157e308", &value) && value == 1.7976931348623157e308);
}

static void a_duration_has_a_unit(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"0s", 0},           {"50ms", 50},        {"90s", 90000},
                {"5m", 300000},      {"2h", 7200000},     {"1d", 86400000}};
    static const char *const bad[] = {"", "s", "5", "-5s", "5 s", "5s ", "5S", "1.5h", "5ss",
                                      "9223372036854775807d", "99999999999999999999s",
                                      "000000000000000000000000000000001s"};
    int64_t ms;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(str_to_duration_ms(good[i].text, &ms));
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(str_to_duration_ms(bad[i], &ms));
    }
}

static void a_command_line_is_cut_as_a_shell_cuts_it(void **state)
{
    static const struct {
        const char *line;
        const char *words[5];
    } good[] = {
        {"", {NULL}},
        {"   ", {NULL}},
        {"ssh gpu2 evo-judge", {"ssh", "gpu2", "evo-judge"}},
        {"  a   b ", {"a", "b"}},
        {"'/a b/judge' --x", {"/a b/judge", "--x"}},
        {"\"/a b/judge\" --x", {"/a b/judge", "--x"}},
        {"/a\\ b/judge", {"/a b/judge"}},
        {"a'b c'\"d e\"f", {"ab cd ef"}},
        {"'' \"\" a", {"", "", "a"}},
        {"'a\\' \"b\\c\" \"d\\\\\\\"e\"", {"a\\", "b\\c", "d\\\"e"}},
        {"a\\'b \\\\ \"'\" '\"'", {"a'b", "\\", "'", "\""}},
    };
    static const struct {
        const char *line, *what;
    } bad[] = {
        {"a 'b", "the quote ' is not closed"},
        {"\"a\\\"", "the quote \" is not closed"},
        {"a \\", "a backslash ends the command line"},
        {"a b c d e f", "a command line of more than 5 words"},
    };
    struct arena *arena = arena_new();
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        const char *const *words = str_words(arena, good[i].line, 5, &err);
        int count = 0;

        assert_non_null(words);
        for (; count < 5 && good[i].words[count] != NULL; count++) {
            assert_non_null(words[count]);
            assert_string_equal(words[count], good[i].words[count]);
        }
        assert_null(words[count]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_null(str_words(arena, bad[i].line, 5, &err));
        assert_string_equal(err.what, bad[i].what);
    }
    arena_free(arena);
}

static void a_file_is_replaced_whole(void **state)
{
    struct buf text = {0};
    struct err err;

    (void)state;
    assert_true(file_write(path_of("file"), "old", 3, FILE_WHOLE, &err));
    assert_true(file_write(path_of("file"), "a\0new", 5, FILE_DURABLE, &err));
    assert_true(file_read(path_of("file"), 5, &text, &err));
    assert_int_equal(text.length, 5);
    assert_memory_equal(text.data, "a\0new", 6);
    buf_clear(&text);
    assert_true(file_write(path_of("file"), NULL, 0, FILE_WHOLE, &err));
    assert_true(file_read(path_of("file"), 0, &text, &err));
    assert_string_equal(text.data, "");
    unlink(path_of("file"));
    buf_free(&text);
}

static void a_file_that_cannot_be_read_leaves_the_buffer_alone(void **state)
{
    struct buf text = {0};
    struct err err;

    (void)state;
    assert_false(file_read(path_of("none"), 10, &text, &err));
    assert_non_null(strstr(err.what, "No such file"));
    assert_false(file_read(folder, 10, &text, &err));
    assert_true(file_write(path_of("file"), "0123456789", 10, FILE_DURABLE, &err));
    assert_false(file_read(path_of("file"), 9, &text, &err));
    assert_non_null(strstr(err.what, "larger than 9 bytes"));
    assert_null(text.data); /* nothing to free */
    buf_puts(&text, "kept");
    assert_false(file_read(path_of("file"), 9, &text, &err));
    assert_string_equal(text.data, "kept");
    assert_true(file_read(path_of("file"), 10, &text, &err));
    assert_string_equal(text.data, "kept0123456789");
    unlink(path_of("file"));
    buf_free(&text);
}

static void a_file_that_cannot_be_written_leaves_nothing(void **state)
{
    struct err err;

    (void)state;
    assert_false(file_write(path_of("no/file"), "x", 1, FILE_WHOLE, &err));
    mkdir(path_of("taken"), 0755);
    assert_false(file_write(path_of("taken"), "x", 1, FILE_DURABLE, &err)); /* a folder is not replaced */
    assert_int_equal(rmdir(path_of("taken")), 0);
}

/* ---- rng ---- */

static void draws_are_those_of_the_published_philox_4x32_10(void **state)
{
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const uint32_t *c = known[i].counter, *k = known[i].key;
        struct rng rng =
            rng_at((uint64_t)k[1] << 32 | k[0], c[1], (uint64_t)c[3] << 32 | c[2]);

        rng.counter[0] = c[0];
        for (int word = 0; word < 4; word++) {
            assert_int_equal(rng_u32(&rng), known[i].out[word]);
        }
    }
}

static void a_draw_depends_on_where_it_is_drawn_alone(void **state)
{
    struct rng a = rng_at(1, 2, 3), b, c;
    uint32_t first[64];

    (void)state;
    for (int i = 0; i < 64; i++) {
        first[i] = rng_u32(&a);
    }
    b = rng_at(1, 2, 3);
    c = rng_at(1, 2, 3);
    for (int i = 0; i < 64; i++) { /* taken in turns */
        assert_int_equal(rng_u32(&b), first[i]);
        assert_int_equal(rng_u32(&c), first[i]);
    }
    b = rng_at(1, 2, 3);
    assert_true(rng_u64(&b) == ((uint64_t)first[0] << 32 | first[1]));
    for (int i = 0; i < 5; i++) { /* each of the numbers matters, high words too */
        struct rng other = rng_at(1 + (i == 0) + ((uint64_t)(i == 1) << 32), 2 + (i == 2),
                                  3 + (i == 3) + ((uint64_t)(i == 4) << 32));
        int same = 0;

        for (int j = 0; j < 64; j++) {
            same += rng_u32(&other) == first[j];
        }
        assert_int_equal(same, 0);
    }
}

/* The sum of (seen - expected)^2 / expected over equally likely cells. */
static double chi_square(const int *seen, int cells, int draws)
{
    double expected = (double)draws / cells, sum = 0;

    for (int i = 0; i < cells; i++) {
        sum += (seen[i] - expected) * (seen[i] - expected) / expected;
    }
    return sum;
}

/* Seeds are fixed, so these never fail by chance; the limits are the 0.1 % points. */
static void bounded_draws_are_even(void **state)
{
    struct rng rng = rng_at(11, 0, 0);
    int seven[7] = {0}, thirds[3] = {0};

    (void)state;
    for (int i = 0; i < 70000; i++) {
        uint32_t draw = rng_below(&rng, 7);

        assert_true(draw < 7);
        seven[draw]++;
    }
    assert_true(chi_square(seven, 7, 70000) < 22.46);
    for (int i = 0; i < 60000; i++) { /* a bare remainder would give the first third twice the rest */
        uint32_t draw = rng_below(&rng, 3u << 30);

        assert_true(draw < 3u << 30);
        thirds[draw >> 30]++;
    }
    assert_true(chi_square(thirds, 3, 60000) < 13.82);
    assert_int_equal(rng_below(&rng, 1), 0);
}

static void unit_draws_are_even_over_the_half_open_interval(void **state)
{
    int cells[64] = {0}, pairs[64] = {0};
    double sum = 0;

    (void)state;
    for (uint64_t place = 0; place < 64000; place++) { /* one draw a place: places are unrelated */
        struct rng rng = rng_at(5, 1, place);
        double draw = rng_unit(&rng);
        int first = (int)(draw * 8);

        assert_true(draw >= 0 && draw < 1);
        cells[(int)(draw * 64)]++;
        pairs[first * 8 + (int)(rng_unit(&rng) * 8)]++;
        sum += draw;
    }
    assert_true(sum / 64000 > 0.495 && sum / 64000 < 0.505);
    assert_true(chi_square(cells, 64, 64000) < 103.4);
    assert_true(chi_square(pairs, 64, 64000) < 103.4);
}

/* ---- hash ---- */

/* Worked out by another implementation of BLAKE2b: digests name things for ever. */
static void a_digest_never_changes(void **state)
{
    struct hasher hasher;
    struct hash hash;
    char hex[HASH_HEX + 1];

    (void)state;
    hash_begin(&hasher, "test");
    hash_text(&hasher, "name", "abc");
    hash_i64(&hasher, "number", -2);
    hash = hash_end(&hasher);
    hash_to_hex(&hash, hex);
    assert_string_equal(hex, 
        "76c3bd307392b7f93b2738e47c9d29e57ae3861c62a0ea4d6e4f0dcec7b17c69");
}

static struct hash hash_of(const char *purpose, const char *a, const char *x, const char *b,
                           const char *y)
{
    struct hasher hasher;

    hash_begin(&hasher, purpose);
    hash_text(&hasher, a, x);
    hash_text(&hasher, b, y);
    return hash_end(&hasher);
}

static void fields_do_not_run_into_each_other(void **state)
{
    struct hash some = hash_of("p", "a", "xy", "b", "z");
    struct hash others[] = {
        hash_of("q", "a", "xy", "b", "z"), hash_of("p", "a", "x", "b", "yz"),
        hash_of("p", "ax", "y", "b", "z"), hash_of("p", "a", "xyb", "", "z"),
        hash_of("p", "b", "z", "a", "xy"), hash_of("p", "a", "xy", "b", ""),
    };
    struct hash again = hash_of("p", "a", "xy", "b", "z"), zero = {{0}};

    (void)state;
    assert_true(hash_equal(&some, &again));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_false(hash_equal(&some, &others[i]));
    }
    assert_true(hash_is_zero(&zero));
    assert_false(hash_is_zero(&some));
}

static void a_hash_is_read_from_exactly_its_digits(void **state)
{
    struct hash hash = hash_of("p", "a", "b", "c", "d"), back;
    char hex[HASH_HEX + 2];

    (void)state;
    hash_to_hex(&hash, hex);
    assert_true(hash_from_hex(hex, &back) && hash_equal(&hash, &back));
    hex[HASH_HEX] = '0';
    hex[HASH_HEX + 1] = '\0';
    assert_false(hash_from_hex(hex, &back)); /* one too many */
    hex[HASH_HEX - 1] = '\0';
    assert_false(hash_from_hex(hex, &back)); /* one short */
    hex[HASH_HEX - 1] = 'g';
    hex[HASH_HEX] = '\0';
    assert_false(hash_from_hex(hex, &back));
    assert_false(hash_from_hex("", &back));
}

/* ---- clock ---- */

static void time_does_not_go_back_and_reads_well(void **state)
{
    int64_t ms = clock_now_ms(), us = clock_now_us(), cpu = clock_cpu_us();
    char text[24];

    (void)state;
    assert_true(clock_now_us() >= us && clock_now_ms() >= ms && clock_cpu_us() >= cpu);
    assert_true(clock_wall_ms() > 1700000000000);
    clock_wall_text(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00Z");
    clock_wall_text(1795159323999, text);
    assert_string_equal(text, "2026-11-20T07:22:03Z");
    clock_wall_text(INT64_MAX, text);
    assert_string_equal(text, "");
}

/* ---- fault ---- */

#ifdef EVO_FAULTS
static int passes_before_death(const char *wanted)
{
    int report[2], status = 0, passes = 0;
    char byte;
    pid_t pid;

    assert_int_equal(pipe(report), 0);
    pid = fork();
    if (pid == 0) {
        setenv("EVO_FAULT", wanted, 1);
        for (int i = 0; i < 9; i++) {
            FAULT("one");
            FAULT("one.more");
            if (write(report[1], "x", 1) != 1) {
                _exit(1);
            }
        }
        _exit(0);
    }
    close(report[1]);
    while (read(report[0], &byte, 1) == 1) {
        passes++;
    }
    close(report[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(passes == 9 ? WIFEXITED(status)
                            : WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return passes;
}

static void a_crash_point_kills_at_the_passage_asked_for(void **state)
{
    (void)state;
    assert_int_equal(passes_before_death("one"), 0);
    assert_int_equal(passes_before_death("one:3"), 2);
    assert_int_equal(passes_before_death("one.more:9"), 8);
    assert_int_equal(passes_before_death("one.more:10"), 9);
    assert_int_equal(passes_before_death("on"), 9);
    assert_int_equal(passes_before_death("one.m"), 9);
    assert_int_equal(passes_before_death(""), 9);
}
#endif

/* ---- proc ---- */

/* What the child writes until it ends, with patience. */
static void read_to_end(struct proc *proc, struct buf *out)
{
    struct pollfd fd = {.fd = proc->from, .events = POLLIN};
    char chunk[4096];
    ssize_t got;

    for (;;) {
        assert_int_equal(poll(&fd, 1, 20000), 1);
        got = read(proc->from, chunk, sizeof chunk);
        if (got <= 0) {
            return;
        }
        buf_add(out, chunk, (size_t)got);
    }
}

static int reap(struct proc *proc)
{
    int status;

    for (int i = 0; i < 2000; i++) {
        if (proc_reap(proc, &status)) {
            assert_true(proc->pid == 0 && proc->to == -1 && proc->from == -1);
            return status;
        }
        usleep(10000);
    }
    fail_msg("the child does not end");
    return 0;
}

static void a_child_hears_and_answers(void **state)
{
    char *argv[] = {"cat", NULL};
    struct buf out = {0};
    struct proc proc;
    struct err err;
    char text[80];

    (void)state;
    assert_true(proc_spawn(&proc, argv, &err));
    assert_true(fcntl(proc.to, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(proc.from, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(proc.to, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(write(proc.to, "hello", 5), 5);
    close(proc.to);
    proc.to = -1;
    read_to_end(&proc, &out);
    assert_string_equal(out.data, "hello");
    assert_string_equal(proc_status_text(reap(&proc), text), "exited with 0");
    buf_free(&out);
}

static void a_child_inherits_no_pipe_of_another(void **state)
{
    char *argv[] = {"sh", "-c", "for d in /proc/self/fd/*; do echo ${d##*/}; done", NULL};
    struct buf out = {0};
    struct proc first, second;
    struct err err;

    (void)state;
    assert_true(proc_spawn(&first, (char *[]){"cat", NULL}, &err));
    assert_true(proc_spawn(&second, argv, &err));
    read_to_end(&second, &out);
    for (char *line = strtok(out.data, "\n"); line; line = strtok(NULL, "\n")) {
        int fd = atoi(line);

        assert_true(fd <= 2 || (fd != first.to && fd != first.from && fd != second.to &&
                                fd != second.from));
    }
    reap(&second);
    proc_kill(&first);
    buf_free(&out);
}

static void a_childs_end_is_told_in_words(void **state)
{
    struct proc proc;
    struct err err;
    char text[80];

    (void)state;
    assert_true(proc_spawn(&proc, (char *[]){"sh", "-c", "exit 3", NULL}, &err));
    assert_string_equal(proc_status_text(reap(&proc), text), "exited with 3");
    assert_true(proc_spawn(&proc, (char *[]){"sh", "-c", "kill -SEGV $$", NULL}, &err));
    assert_string_equal(proc_status_text(reap(&proc), text),
                        "was killed by signal 11 (Segmentation fault)");
    assert_true(proc_spawn(&proc, (char *[]){"sleep", "1000", NULL}, &err));
    assert_string_equal(proc_status_text(proc_kill(&proc), text),
                        "was killed by signal 9 (Killed)");
    assert_int_equal(proc.pid, 0);
    assert_int_equal(proc_kill(&proc), 0); /* nobody is there any more */
    assert_int_equal(proc_kill(&(struct proc){0}), 0);
}

/*
 * A dead process that is traced is its tracer's to reap first: to its parent it is one that SIGKILL
 * does not end. Returns the tracer, or 0 where tracing is not allowed.
 */
static pid_t hold(pid_t victim)
{
    int ready[2];
    char word = 0;
    pid_t tracer;

    assert_int_equal(pipe(ready), 0);
    tracer = fork();
    if (tracer == 0) {
        word = ptrace(PTRACE_SEIZE, victim, NULL, NULL) == 0 ? 'y' : 'n';
        if (write(ready[1], &word, 1) == 1 && word == 'y') {
            pause();
        }
        _exit(0);
    }
    assert_int_equal(read(ready[0], &word, 1), 1);
    close(ready[0]);
    close(ready[1]);
    if (word == 'n') {
        waitpid(tracer, NULL, 0);
        return 0;
    }
    return tracer;
}

static void a_child_that_sigkill_does_not_end_is_given_up_and_reaped_later(void **state)
{
    struct proc proc;
    struct err err;
    int64_t begun;
    char text[80];
    pid_t pid, tracer;

    (void)state;
    assert_true(proc_spawn(&proc, (char *[]){"sleep", "1000", NULL}, &err));
    pid = proc.pid;
    tracer = hold(pid);
    if (tracer == 0) {
        proc_kill(&proc);
        skip();
    }
    begun = clock_now_ms();
    assert_string_equal(proc_status_text(proc_kill(&proc), text),
                        "was killed, but the kernel does not let it go");
    assert_in_range(clock_now_ms() - begun, PROC_KILL_MS, PROC_KILL_MS + 2000);
    assert_int_equal(proc.pid, 0);
    kill(tracer, SIGKILL);
    waitpid(tracer, NULL, 0);
    for (int i = 0; i < 1000 && kill(pid, 0) == 0; i++) { /* a zombie can still be signalled */
        proc_kill(&proc);
        usleep(1000);
    }
    assert_int_equal(kill(pid, 0), -1);
}

/* Its complaint goes to stderr, which is not wanted among the tests' own lines. */
static void a_program_that_is_not_there_ends_with_127(void **state)
{
    struct proc proc;
    struct err err;
    int kept = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);

    (void)state;
    dup2(null, STDERR_FILENO);
    assert_true(proc_spawn(&proc, (char *[]){"/no/such/program", NULL}, &err));
    assert_int_equal(WEXITSTATUS(reap(&proc)), 127);
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(null);
}

/* Runs in a child of its own, whose stdin and stdout are closed. Returns its exit code. */
static int spawn_without_stdio(void)
{
    struct proc proc;
    struct err err;
    char answer[8] = "";
    struct pollfd fd = {.events = POLLIN};

    close(STDIN_FILENO);
    close(STDOUT_FILENO);
    if (!proc_spawn(&proc, (char *[]){"cat", NULL}, &err) || write(proc.to, "hello", 5) != 5) {
        return 1;
    }
    fd.fd = proc.from;
    if (poll(&fd, 1, 20000) != 1 || read(proc.from, answer, sizeof answer) != 5) {
        return 2;
    }
    proc_kill(&proc);
    return strncmp(answer, "hello", 5) == 0 ? 0 : 3;
}

static void a_child_hears_though_we_have_no_stdin(void **state)
{
    int status;
    pid_t pid;

    (void)state;
    pid = fork();
    if (pid == 0) {
        _exit(spawn_without_stdio());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static bool is_alive(pid_t pid)
{
    struct buf text = {0};
    struct err err;
    char path[64];
    bool alive;

    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    alive = file_read(path, 4096, &text, &err) && strstr(text.data, ") Z") == NULL;
    buf_free(&text);
    return alive;
}

static void a_child_dies_with_its_parent(void **state)
{
    int report[2], status;
    pid_t parent, child = 0;

    (void)state;
    assert_int_equal(pipe(report), 0);
    parent = fork();
    if (parent == 0) {
        struct proc proc;
        struct err err;

        if (!proc_spawn(&proc, (char *[]){"sleep", "1000", NULL}, &err) ||
            write(report[1], &proc.pid, sizeof proc.pid) != (ssize_t)sizeof proc.pid) {
            _exit(1);
        }
        raise(SIGKILL);
    }
    assert_int_equal(read(report[0], &child, sizeof child), sizeof child);
    assert_int_equal(waitpid(parent, &status, 0), parent);
    for (int i = 0; i < 1000 && is_alive(child); i++) {
        usleep(10000);
    }
    assert_false(is_alive(child));
    close(report[0]);
    close(report[1]);
}

static void the_own_folder_is_where_this_program_stands(void **state)
{
    char own[4096], path[5000];
    struct err err;

    (void)state;
    assert_true(proc_own_folder(own, &err));
    snprintf(path, sizeof path, "%s/test_base", own);
    assert_int_equal(access(path, X_OK), 0);
}

/* ---- lock ---- */

/* In a process of its own, since a lock does not bar its holder: 0 if all is as it should be. */
static int meet_lock(const char *path, pid_t owner)
{
    struct err err;
    pid_t holder;
    int fd;

    if (lock_holder(path) != owner) {
        return 1;
    }
    if (lock_take(path, &fd, &holder, &err)) {
        return 2;
    }
    return holder == owner && fd == -1 && err.kind == ERR_USER && strstr(err.what, path) ? 0 : 3;
}

static void a_lock_names_its_holder_and_dies_with_it(void **state)
{
    char path[128], written[32] = "", expected[32];
    int fd, told[2], status;
    struct err err;
    pid_t holder, pid;

    (void)state;
    snprintf(path, sizeof path, "%s", path_of("lock"));
    assert_int_equal(lock_holder(path), 0);
    assert_int_equal(pipe(told), 0);
    pid = fork();
    if (pid == 0) {
        bool taken = lock_take(path, &fd, &holder, &err);

        if (!taken || write(told[1], "x", 1) != 1) {
            _exit(1);
        }
        pause();
    }
    assert_int_equal(read(told[0], written, 1), 1);
    assert_int_equal(meet_lock(path, pid), 0);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(lock_holder(path), 0);

    assert_true(lock_take(path, &fd, &holder, &err)); /* the dead hold nothing */
    assert_int_equal(holder, 0);
    assert_true(pread(fd, written, sizeof written - 1, 0) > 0);
    snprintf(expected, sizeof expected, "%ld\n", (long)getpid());
    assert_string_equal(written, expected);
    pid = fork();
    if (pid == 0) {
        _exit(meet_lock(path, getppid()));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close(fd);
    assert_int_equal(lock_holder(path), 0);
    assert_false(lock_take(path_of("no/lock"), &fd, &holder, &err));
    assert_int_equal(err.kind, ERR_SYSTEM);
    unlink(path);
    close(told[0]);
    close(told[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_memory_is_aligned_and_zeroed_even_when_used_again),
        cmocka_unit_test(a_reset_keeps_one_block_and_no_giant),
        cmocka_unit_test(arena_texts_are_copies_that_end_in_nul),
        cmocka_unit_test(a_failure_is_told_from_the_inside_out),
        cmocka_unit_test(a_failure_may_be_told_in_its_own_words),
        cmocka_unit_test(a_failure_too_long_is_cut),
        cmocka_unit_test(a_buffer_grows_drops_and_is_always_a_text),
        cmocka_unit_test(an_integer_is_read_whole_or_not_at_all),
        cmocka_unit_test(a_number_is_finite_and_read_whole),
        cmocka_unit_test(a_duration_has_a_unit),
        cmocka_unit_test(a_command_line_is_cut_as_a_shell_cuts_it),
        cmocka_unit_test(a_file_is_replaced_whole),
        cmocka_unit_test(a_file_that_cannot_be_read_leaves_the_buffer_alone),
        cmocka_unit_test(a_file_that_cannot_be_written_leaves_nothing),
        cmocka_unit_test(draws_are_those_of_the_published_philox_4x32_10),
        cmocka_unit_test(a_draw_depends_on_where_it_is_drawn_alone),
        cmocka_unit_test(bounded_draws_are_even),
        cmocka_unit_test(unit_draws_are_even_over_the_half_open_interval),
        cmocka_unit_test(a_digest_never_changes),
        cmocka_unit_test(fields_do_not_run_into_each_other),
        cmocka_unit_test(a_hash_is_read_from_exactly_its_digits),
        cmocka_unit_test(time_does_not_go_back_and_reads_well),
#ifdef EVO_FAULTS
        cmocka_unit_test(a_crash_point_kills_at_the_passage_asked_for),
#endif
        cmocka_unit_test(a_child_hears_and_answers),
        cmocka_unit_test(a_child_inherits_no_pipe_of_another),
        cmocka_unit_test(a_childs_end_is_told_in_words),
        cmocka_unit_test(a_child_that_sigkill_does_not_end_is_given_up_and_reaped_later),
        cmocka_unit_test(a_program_that_is_not_there_ends_with_127),
        cmocka_unit_test(a_child_hears_though_we_have_no_stdin),
        cmocka_unit_test(a_child_dies_with_its_parent),
        cmocka_unit_test(the_own_folder_is_where_this_program_stands),
        cmocka_unit_test(a_lock_names_its_holder_and_dies_with_it),
    };

    alarm(120);
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
