/* Places: outcomes wait for their turn, and each program belongs to the first that had it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/rng.h"
#include "daemon/places.h"

static struct outcome outcome_of(int64_t place)
{
    return (struct outcome){.place = place, .genome = {.at = {(uint8_t)place}},
                            .numerics = (int)(place % 2), .depth = (int)place, .us = 10.0 + place};
}

static void settle(struct places *places, int64_t place)
{
    struct outcome outcome = outcome_of(place);

    places_settle(places, &outcome);
}

static void outcomes_are_handed_out_in_order_up_to_the_limit(void **state)
{
    struct places *places = places_new(4);
    struct outcome outcome;

    (void)state;
    assert_int_equal(places_settled(places), 0);
    assert_false(places_next(places, 100, &outcome));
    for (int64_t place = 0; place < 3; place++) {
        settle(places, place);
    }
    assert_int_equal(places_settled(places), 3);
    assert_false(places_next(places, -1, &outcome));
    assert_true(places_next(places, 0, &outcome));
    assert_int_equal(outcome.place, 0);
    assert_false(places_next(places, 0, &outcome));
    assert_true(places_next(places, 100, &outcome));
    assert_int_equal(outcome.place, 1);
    assert_true(places_next(places, 2, &outcome));
    assert_false(places_next(places, 100, &outcome)); /* three is not settled */
    places_free(places);
    places_free(NULL);
}

static void nothing_is_lost_as_the_ring_goes_round(void **state)
{
    enum { WINDOW = 5, COUNT = 300 };
    struct places *places = places_new(WINDOW);
    struct rng rng = rng_at(1, 0, 0);
    int64_t settled = 0, taken = 0;

    (void)state;
    while (taken < COUNT) {
        struct outcome outcome;

        if (settled < COUNT && settled - taken < WINDOW && rng_below(&rng, 2)) {
            settle(places, settled++);
        } else if (places_next(places, taken, &outcome)) {
            struct outcome expected = outcome_of(taken++);

            assert_int_equal(outcome.place, expected.place);
            assert_memory_equal(&outcome.genome, &expected.genome, sizeof expected.genome);
            assert_int_equal(outcome.numerics, expected.numerics);
            assert_int_equal(outcome.depth, expected.depth);
            assert_true(outcome.us == expected.us);
        }
    }
    places_free(places);
}

static struct hash hash_of(const char *purpose, int64_t number)
{
    struct hasher hasher;

    hash_begin(&hasher, purpose);
    hash_i64(&hasher, "number", number);
    return hash_end(&hasher);
}

static void a_program_belongs_to_the_first_place_that_had_it(void **state)
{
    enum { PROGRAMS = 5000 }; /* the table grows several times */
    struct places *places = places_new(1);

    (void)state;
    for (int64_t place = 0; place < 3 * PROGRAMS; place++) {
        struct hash code = hash_of("code", place % PROGRAMS);
        struct hash plan = hash_of("plan", place % PROGRAMS / 2);

        assert_int_equal(places_program(places, &code, &plan, place), place % PROGRAMS);
    }
    places_free(places);
}

static void code_and_plan_both_make_a_program(void **state)
{
    struct places *places = places_new(1);
    struct hash a = hash_of("hash", 1), b = hash_of("hash", 2), zero = {{0}};

    (void)state;
    assert_int_equal(places_program(places, &a, &a, 0), 0);
    assert_int_equal(places_program(places, &a, &b, 1), 1); /* the same code, launched otherwise */
    assert_int_equal(places_program(places, &b, &a, 2), 2);
    assert_int_equal(places_program(places, &a, &zero, 3), 3);
    assert_int_equal(places_program(places, &a, &zero, 4), 3);
    assert_int_equal(places_program(places, &b, &a, 5), 2);
    assert_int_equal(places_program(places, &a, &b, 6), 1);
    assert_int_equal(places_program(places, &a, &a, 7), 0);
    places_free(places);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outcomes_are_handed_out_in_order_up_to_the_limit),
        cmocka_unit_test(nothing_is_lost_as_the_ring_goes_round),
        cmocka_unit_test(a_program_belongs_to_the_first_place_that_had_it),
        cmocka_unit_test(code_and_plan_both_make_a_program),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
