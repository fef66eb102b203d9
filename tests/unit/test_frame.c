/* Frames: what is sent is what is received, and nothing else is taken for a frame. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/frame.h"

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

static struct message *decoded(const struct buf *wire)
{
    struct message *message = NULL;
    struct err err;

    if (!message_decode(arena, wire->data + 4, wire->length - 4, &message, &err)) {
        fail_msg("%s", err.what);
    }
    return message;
}

static bool decodes(const char *data, size_t size)
{
    struct message *message;
    struct err err = {0};
    char *exact = malloc(size); /* so that a sanitizer sees a byte too many */
    bool ok;

    memcpy(exact, data, size);
    ok = message_decode(arena, exact, size, &message, &err);
    assert_true(ok || strstr(err.what, "malformed frame: ") == err.what);
    free(exact);
    return ok;
}

static void a_message_arrives_as_it_was_sent(void **state)
{
    struct message *sent = message_new(arena, "judge");
    struct buf wire = {0};
    struct message *got;
    struct hash hash = {{1, 2, 3}}, hash_got;
    struct err err;
    int64_t number;
    double real;
    size_t size, at = 0;

    (void)state;
    message_put(sent, "name", "%s %d", "with  blanks ", 7);
    message_put(sent, "again", "first");
    message_put(sent, "empty", "%s", "");
    message_put_i64(sent, "low", INT64_MIN);
    message_put_f64(sent, "third", 1.0 / 3);
    message_put_hash(sent, "hash", &hash);
    message_put(sent, "again", "second");
    message_body(sent, "cubin", "\0\n\xff", 3);
    message_body(sent, "nothing", NULL, 0);
    message_body(sent, "log", "text", 4);
    message_encode(sent, &wire);
    got = decoded(&wire);
    assert_string_equal(message_verb(got), "judge");
    assert_string_equal(message_get(got, "name"), "with  blanks  7");
    assert_string_equal(message_get(got, "empty"), "");
    assert_string_equal(message_get(got, "again"), "first");
    assert_string_equal(message_each(got, "again", &at), "first");
    assert_string_equal(message_each(got, "again", &at), "second");
    assert_null(message_each(got, "again", &at));
    assert_null(message_get(got, "none"));
    assert_true(message_get_i64(got, "low", &number, &err) && number == INT64_MIN);
    assert_true(message_get_f64(got, "third", &real, &err) && real == 1.0 / 3);
    assert_true(message_get_hash(got, "hash", &hash_got, &err) && hash_equal(&hash, &hash_got));
    assert_memory_equal(message_get_body(got, "cubin", &size), "\0\n\xff", 4); /* and a NUL */
    assert_int_equal(size, 3);
    assert_string_equal(message_get_body(got, "nothing", &size), "");
    assert_int_equal(size, 0);
    assert_string_equal(message_get_body(got, "log", &size), "text");
    size = 7;
    assert_null(message_get_body(got, "name", &size));
    assert_int_equal(size, 0);
    buf_free(&wire);
}

static void the_bytes_are_those_of_the_header(void **state)
{
    struct message *message = message_new(arena, "judge");
    struct buf wire = {0};
    static const char expected[] = "before\x27\0\0\0judge\nid 147\nbody a.1 2\nbody b 3\n\nxyabc";

    (void)state;
    message_put_i64(message, "id", 147);
    message_body(message, "a.1", "xy", 2);
    message_body(message, "b", "abc", 3);
    buf_puts(&wire, "before");
    message_encode(message, &wire);
    assert_int_equal(wire.length, sizeof expected - 1);
    assert_memory_equal(wire.data, expected, sizeof expected);
    buf_free(&wire);
}

static void what_is_missing_or_malformed_is_told(void **state)
{
    struct message *message = message_new(arena, "built");
    struct hash hash;
    struct err err;
    int64_t number;
    double real;

    (void)state;
    message_put(message, "id", "12x");
    message_put(message, "ms", "nan");
    message_put(message, "key", "1234");
    assert_false(message_get_i64(message, "none", &number, &err));
    assert_string_equal(err.what, "message 'built' lacks 'none'");
    assert_false(message_get_i64(message, "id", &number, &err));
    assert_string_equal(err.what, "message 'built': 'id 12x' is not an integer");
    assert_false(message_get_f64(message, "ms", &real, &err));
    assert_string_equal(err.what, "message 'built': 'ms nan' is not a finite number");
    assert_false(message_get_hash(message, "key", &hash, &err));
    assert_string_equal(err.what, "message 'built': 'key 1234' is not a hash");
}

static void free_text_is_made_one_line(void **state)
{
    struct message *message = message_new(arena, "failure");
    struct buf wire = {0};

    (void)state;
    message_put_line(message, "what", "a\nb\r\tc\x1b[0m\x7f é");
    message_encode(message, &wire);
    assert_string_equal(message_get(decoded(&wire), "what"), "a b  c [0m  é");
    buf_free(&wire);
}

static void every_double_survives(void **state)
{
    static const double values[] = {0, -0.0, 1e-320, 1.7976931348623157e308, 0.1, -1e22,
                                    2.2250738585072014e-308};
    struct message *message = message_new(arena, "result");
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        const char *key = arena_printf(arena, "v%zu", i);
        double back;

        message_put_f64(message, key, values[i]);
        assert_true(message_get_f64(message, key, &back, &err));
        assert_memory_equal(&back, &values[i], sizeof back);
    }
}

static void what_is_not_exactly_a_frame_is_refused(void **state)
{
    static const struct {
        const char *text;
        size_t size;
    } bad[] = {
#define BAD(text) {text, sizeof text - 1}
        BAD(""), BAD("\n"), BAD("\n\n"), BAD("judge"), BAD("judge\n"), BAD("judge\nid 1\n"),
        BAD("judge\nid 1"), BAD("Judge\n\n"), BAD("ju dge\n\n"), BAD(" judge\n\n"),
        BAD("judge \n\n"), BAD("judge\r\n\r\n"), BAD("judge\nid\n\n"), BAD("judge\n 1\n\n"),
        BAD("judge\nId 1\n\n"), BAD("judge\ni\0d 1\n\n"), BAD("judge\nid 1\0\n\n"),
        BAD("ju\0dge\n\n"), BAD("judge\n\nx"), BAD("judge\nbody a 2\n\nx"),
        BAD("judge\nbody a 2\n\nxyz"), BAD("judge\nbody a -1\n\n"), BAD("judge\nbody a\n\n"),
        BAD("judge\nbody  0\n\n"), BAD("judge\nbody A 0\n\n"), BAD("judge\nbody a 1 \n\nx"),
        BAD("judge\nbody a 0 0\n\n"), BAD("judge\nbody a 67108865\n\n"),
        BAD("judge\nbody a 18446744073709551615\n\n"), BAD("judge\nbody a 1\nbody b 2\n\nxy"),
        BAD("judge\nbody a 9223372036854775807\nbody b 9223372036854775807\n\n"),
#undef BAD
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (decodes(bad[i].text, bad[i].size)) {
            fail_msg("taken for a frame: %s", bad[i].text);
        }
    }
    assert_true(decodes("judge\n\n", 7));
    assert_true(decodes("judge\nid \n\n", 11)); /* an empty value is a value */
    assert_true(decodes("judge\nbody a 0\nbody a 1\n\nx", 26));
}

/* A head of `count` equal lines. */
static bool takes_lines(const char *line, int count)
{
    struct buf text = {0};
    bool ok;

    buf_puts(&text, "judge\n");
    for (int i = 0; i < count; i++) {
        buf_puts(&text, line);
    }
    buf_puts(&text, "\n");
    ok = decodes(text.data, text.length);
    buf_free(&text);
    return ok;
}

static void there_are_limits_to_a_head(void **state)
{
    (void)state;
    assert_true(takes_lines("a b\n", FRAME_FIELDS_MAX));
    assert_false(takes_lines("a b\n", FRAME_FIELDS_MAX + 1));
    assert_true(takes_lines("body a 0\n", FRAME_BODIES_MAX));
    assert_false(takes_lines("body a 0\n", FRAME_BODIES_MAX + 1));
}

static void put_two(struct buf *wire)
{
    struct message *one = message_new(arena, "one"), *two = message_new(arena, "two");

    message_body(one, "b", "12345", 5);
    message_put(two, "k", "v");
    message_encode(one, wire);
    message_encode(two, wire);
}

static void frames_are_taken_off_a_stream_however_it_is_cut(void **state)
{
    struct buf all = {0};

    (void)state;
    put_two(&all);
    for (size_t cut = 1; cut <= all.length; cut++) {
        struct buf wire = {0};
        struct message *message;
        struct err err;
        int taken = 0;

        for (size_t at = 0; at < all.length; at += cut) {
            buf_add(&wire, all.data + at, all.length - at < cut ? all.length - at : cut);
            for (;;) {
                assert_true(frame_take(&wire, arena, &message, &err));
                if (message == NULL) {
                    break;
                }
                assert_string_equal(message_verb(message), taken++ == 0 ? "one" : "two");
            }
        }
        assert_int_equal(taken, 2);
        assert_int_equal(wire.length, 0);
        buf_free(&wire);
    }
    buf_free(&all);
}

static void a_stream_that_is_no_frame_is_known_by_its_first_bytes(void **state)
{
    static const char *const heads[] = {"Hello, I am a shell\n", "\x01\0\0\x04", "\xff\xff\xff\xff"};
    struct err err = {0};

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct buf wire = {0};
        struct message *message = (struct message *)&wire;

        buf_add(&wire, heads[i], 4);
        assert_false(frame_take(&wire, arena, &message, &err));
        assert_null(message);
        buf_free(&wire);
    }
}

static void an_empty_frame_is_malformed(void **state)
{
    struct buf wire = {0};
    struct message *message;
    struct err err;

    (void)state;
    buf_add(&wire, "\0\0\0\0", 4);
    assert_false(frame_take(&wire, arena, &message, &err));
    buf_free(&wire);
}

static void blocking_readers_see_frames_then_a_clean_end(void **state)
{
    int pipes[2];
    struct message *message;
    struct buf all = {0};
    struct err err = {0};

    (void)state;
    assert_int_equal(pipe(pipes), 0);
    put_two(&all);
    assert_int_equal(write(pipes[1], all.data, all.length), all.length);
    close(pipes[1]);
    assert_true(frame_read(pipes[0], arena, &message, &err));
    assert_string_equal(message_verb(message), "one");
    assert_true(frame_read(pipes[0], arena, &message, &err));
    assert_string_equal(message_verb(message), "two");
    err.kind = ERR_USER;
    assert_false(frame_read(pipes[0], arena, &message, &err));
    assert_int_equal(err.kind, ERR_NONE);
    close(pipes[0]);
    assert_false(frame_read(pipes[0], arena, &message, &err));
    assert_int_equal(err.kind, ERR_SYSTEM);
    buf_free(&all);
}

static void blocking_readers_tell_a_cut_from_an_end(void **state)
{
    struct message *message;
    struct buf all = {0};
    size_t first;

    (void)state;
    put_two(&all);
    first = 4 + (size_t)(unsigned char)all.data[0];
    for (size_t length = 0; length < first; length++) {
        struct err err = {0};
        int pipes[2];

        assert_int_equal(pipe(pipes), 0);
        assert_int_equal(write(pipes[1], all.data, length), length);
        close(pipes[1]);
        assert_false(frame_read(pipes[0], arena, &message, &err));
        assert_int_equal(err.kind, length == 0 ? ERR_NONE : ERR_SYSTEM);
        close(pipes[0]);
    }
    buf_free(&all);
}

static void *write_long(void *fd)
{
    struct arena *own = arena_new();
    struct message *message = message_new(own, "long");
    struct err err;
    char *data = arena_alloc(own, 1 << 20);

    memset(data, 'x', 1 << 20);
    message_body(message, "b", data, 1 << 20);
    if (!frame_write(*(int *)fd, message, &err)) {
        abort();
    }
    arena_free(own);
    return NULL;
}

static void a_frame_may_be_longer_than_a_pipe(void **state)
{
    int pipes[2];
    struct message *message;
    struct err err;
    pthread_t writer;
    size_t size;

    (void)state;
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(pthread_create(&writer, NULL, write_long, &pipes[1]), 0);
    assert_true(frame_read(pipes[0], arena, &message, &err));
    pthread_join(writer, NULL);
    message_get_body(message, "b", &size);
    assert_int_equal(size, 1 << 20);
    close(pipes[0]);
    assert_false(frame_write(pipes[1], message, &err)); /* nobody reads: told, not killed */
    assert_non_null(strstr(err.what, "Broken pipe"));
    close(pipes[1]);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_message_arrives_as_it_was_sent),
        TEST(the_bytes_are_those_of_the_header),
        TEST(what_is_missing_or_malformed_is_told),
        TEST(free_text_is_made_one_line),
        TEST(every_double_survives),
        TEST(what_is_not_exactly_a_frame_is_refused),
        TEST(there_are_limits_to_a_head),
        TEST(frames_are_taken_off_a_stream_however_it_is_cut),
        TEST(a_stream_that_is_no_frame_is_known_by_its_first_bytes),
        TEST(an_empty_frame_is_malformed),
        TEST(blocking_readers_see_frames_then_a_clean_end),
        TEST(blocking_readers_tell_a_cut_from_an_end),
        TEST(a_frame_may_be_longer_than_a_pipe),
    };

    alarm(120);
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
