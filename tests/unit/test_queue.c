/* The queue: candidates in flight keep their order, move as the picture says, and leave nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/queue.h"

/* True if it aborts (in a child process, silently). */
static bool aborts(void (*act)(void *), void *context)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);

        dup2(null, STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        act(context);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

/* ---- moves ---- */

static const enum stage path_to[STAGE_COUNT][6] = {
    [STAGE_RENDER] = {STAGE_NONE},
    [STAGE_COMPILE] = {STAGE_COMPILE, STAGE_NONE},
    [STAGE_COMPILING] = {STAGE_COMPILE, STAGE_COMPILING, STAGE_NONE},
    [STAGE_JUDGE] = {STAGE_JUDGE, STAGE_NONE},
    [STAGE_JUDGING] = {STAGE_JUDGE, STAGE_JUDGING, STAGE_NONE},
    [STAGE_TWIN] = {STAGE_TWIN, STAGE_NONE},
    [STAGE_DECIDED] = {STAGE_DECIDED, STAGE_NONE},
    [STAGE_PROMOTE] = {STAGE_DECIDED, STAGE_PROMOTE, STAGE_NONE},
    [STAGE_PROMOTING] = {STAGE_DECIDED, STAGE_PROMOTE, STAGE_PROMOTING, STAGE_NONE},
};

static void bring_to(struct flight *flight, enum stage stage)
{
    for (int i = 0; path_to[stage][i] != STAGE_NONE; i++) {
        queue_move(flight, path_to[stage][i]);
    }
    assert_int_equal(flight->stage, stage);
}

struct move {
    struct flight *flight;
    enum stage to;
};

static void make_move(void *context)
{
    struct move *move = context;

    queue_move(move->flight, move->to);
}

static void only_the_moves_of_the_picture_are_legal(void **state)
{
    static const char *const legal[STAGE_COUNT] = {
        /* to: none, render, compile, compiling, judge, judging, twin, decided, promote, promoting */
        [STAGE_RENDER] =    "..x.x.xx..",
        [STAGE_COMPILE] =   "...x...x..",
        [STAGE_COMPILING] = "..x.x.xx..",
        [STAGE_JUDGE] =     ".....x....",
        [STAGE_JUDGING] =   "....x..x..",
        [STAGE_TWIN] =      ".......x..",
        [STAGE_DECIDED] =   "........x.",
        [STAGE_PROMOTE] =   ".........x",
        [STAGE_PROMOTING] = ".......xx.",
    };

    (void)state;
    for (int from = STAGE_RENDER; from < STAGE_COUNT; from++) {
        struct queue *queue = queue_new(1);
        struct move move = {.flight = queue_add(queue, 0)};

        bring_to(move.flight, (enum stage)from);
        for (int to = STAGE_NONE; to < STAGE_COUNT; to++) {
            move.to = (enum stage)to;
            if (aborts(make_move, &move) != (legal[from][to] == '.')) {
                fail_msg("from stage %d to %d", from, to);
            }
        }
        queue_free(queue);
    }
}

/* ---- places ---- */

static void flights_are_found_by_place_and_by_stage(void **state)
{
    struct queue *queue = queue_new(4);
    struct flight *flight;

    (void)state;
    assert_null(queue_at(queue, 0));
    assert_null(queue_first(queue, STAGE_RENDER));
    assert_int_equal(queue_count(queue), 0);
    for (int64_t place = 10; place < 14; place++) { /* a run that goes on begins anywhere */
        flight = queue_add(queue, place);
        assert_int_equal(flight->place, place);
        assert_int_equal(flight->stage, STAGE_RENDER);
        assert_string_equal(flight->reason, "");
        assert_non_null(flight->arena);
        assert_ptr_equal(queue_at(queue, place), flight);
    }
    assert_int_equal(queue_count(queue), 4);
    assert_null(queue_at(queue, 9));
    assert_null(queue_at(queue, 14));
    bring_to(queue_at(queue, 10), STAGE_JUDGE);
    bring_to(queue_at(queue, 12), STAGE_JUDGE);
    assert_int_equal(queue_first(queue, STAGE_JUDGE)->place, 10);
    assert_int_equal(queue_first(queue, STAGE_RENDER)->place, 11);
    assert_null(queue_first(queue, STAGE_TWIN));
    queue_free(queue);
    queue_free(NULL);
}

static void the_ring_goes_round_and_every_flight_begins_fresh(void **state)
{
    struct queue *queue = queue_new(3);

    (void)state;
    for (int64_t place = 0; place < 100; place++) {
        struct flight *flight = queue_add(queue, place);

        assert_int_equal(flight->image_count, 0);
        assert_int_equal(flight->deaths, 0);
        assert_int_equal(flight->verdict, VERDICT_NONE);
        assert_true(hash_is_zero(&flight->key.code_key));
        flight->image_count = 2; /* what it holds is freed with it: a sanitizer would tell */
        for (int i = 0; i < 2; i++) {
            flight->images[i].source = xstrdup("source");
            flight->images[i].arena = arena_new();
            arena_alloc(flight->images[i].arena, 1000);
        }
        flight->reason = arena_dup(flight->arena, "why");
        flight->deaths = 1;
        flight->verdict = VERDICT_WRONG;
        flight->key.code_key.bytes[0] = 1;
        if (place >= 2) {
            bring_to(queue_at(queue, place - 2), STAGE_DECIDED);
            queue_settle(queue, place - 2);
            assert_null(queue_at(queue, place - 2));
            assert_int_equal(queue_count(queue), 2);
        }
    }
    queue_free(queue); /* with two in flight */
}

struct call {
    struct queue *queue;
    int64_t place;
};

static void add_place(void *context)
{
    struct call *call = context;

    queue_add(call->queue, call->place);
}

static void settle_place(void *context)
{
    struct call *call = context;

    queue_settle(call->queue, call->place);
}

static void places_come_and_go_in_order(void **state)
{
    struct queue *queue = queue_new(3);
    struct call call = {.queue = queue};

    (void)state;
    queue_add(queue, 0);
    queue_add(queue, 1);
    for (call.place = 0; call.place < 5; call.place++) {
        assert_int_equal(aborts(add_place, &call), call.place != 2);
        assert_true(aborts(settle_place, &call)); /* none is decided */
    }
    bring_to(queue_at(queue, 0), STAGE_DECIDED);
    bring_to(queue_at(queue, 1), STAGE_DECIDED);
    for (call.place = 0; call.place < 3; call.place++) {
        assert_int_equal(aborts(settle_place, &call), call.place != 0);
    }
    queue_add(queue, 2);
    call.place = 3;
    assert_true(aborts(add_place, &call)); /* the window is full */
    queue_settle(queue, 0);
    assert_false(aborts(add_place, &call));
    queue_free(queue);
}

static void a_twin_has_the_same_key_whole(void **state)
{
    struct queue *queue = queue_new(8);
    struct judgement_key key = {.code_key = {{1}}, .plan_key = {{2}}, .workload = {{3}},
                                .environment = 4, .gate_version = 5};
    struct flight *self;

    (void)state;
    for (int64_t place = 0; place < 7; place++) {
        struct flight *flight = queue_add(queue, place);

        flight->key = key;
        bring_to(flight, place == 6 ? STAGE_TWIN : STAGE_JUDGE);
    }
    queue_at(queue, 0)->key.code_key.bytes[31]++;
    queue_at(queue, 1)->key.plan_key.bytes[31]++;
    queue_at(queue, 2)->key.workload.bytes[31]++;
    queue_at(queue, 3)->key.environment++;
    queue_at(queue, 4)->key.gate_version++;
    self = queue_at(queue, 5);
    assert_null(queue_twin(queue, self, STAGE_JUDGE)); /* not even itself */
    assert_ptr_equal(queue_twin(queue, self, STAGE_TWIN), queue_at(queue, 6));
    assert_ptr_equal(queue_twin(queue, queue_at(queue, 6), STAGE_JUDGE), self);
    queue_at(queue, 3)->key.environment--;
    assert_ptr_equal(queue_twin(queue, self, STAGE_JUDGE), queue_at(queue, 3)); /* the lowest */
    queue_free(queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_moves_of_the_picture_are_legal),
        cmocka_unit_test(flights_are_found_by_place_and_by_stage),
        cmocka_unit_test(the_ring_goes_round_and_every_flight_begins_fresh),
        cmocka_unit_test(places_come_and_go_in_order),
        cmocka_unit_test(a_twin_has_the_same_key_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
