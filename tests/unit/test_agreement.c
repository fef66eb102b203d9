/* Two answers to one case: what the order of summation explains, and what it does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "fitness/agreement.h"
#include "fitness/reference.h"
#include "fitness/tolerance.h"

enum { KEY = 42 };

/* A problem with the baselines of both numerics classes as the answers of two devices. */
struct fixture {
    struct problem problem;
    enum input_family family;
    struct answer answers[2];
    char *data[2];
};

static void write_answer(struct fixture *f, int side, enum numerics numerics)
{
    const struct problem *p = &f->problem;
    size_t q = (size_t)problem_q_elements(p), kv = (size_t)problem_kv_elements(p);
    size_t rows = (size_t)problem_rows(p), bytes = answer_bytes(p);
    struct inputs inputs = {xmalloc(q * 2), xmalloc(kv * 2), xmalloc(kv * 2)};
    struct reference out = {xmalloc(q * 8), xmalloc(q * 8), xmalloc(rows * 8), xmalloc(rows * 8),
                            xmalloc(rows * 8)};
    int64_t *all = xmalloc(rows * sizeof *all);
    uint16_t *halves;
    float *lse;

    for (size_t r = 0; r < rows; r++) {
        all[r] = (int64_t)r;
    }
    inputs_draw(p, f->family, KEY, &inputs, 1);
    reference_rows(p, &inputs, numerics, all, (int64_t)rows, &out, 1);
    f->data[side] = xmalloc(bytes);
    halves = (void *)f->data[side];
    lse = (void *)(f->data[side] + q * 2);
    for (size_t i = 0; i < q; i++) { /* of one batch and head both layouts are the same */
        halves[i] = half_from_double(p->dtype, out.baseline[i]);
    }
    for (size_t r = 0; r < rows && p->lse; r++) {
        lse[r] = (float)out.baseline_lse[r];
    }
    f->answers[side] = (struct answer){
        .family = input_family_names[f->family], .seed = KEY, .data = f->data[side], .bytes = bytes};
    free(inputs.q);
    free(inputs.k);
    free(inputs.v);
    free(out.exact);
    free(out.baseline);
    free(out.noise);
    free(out.lse);
    free(out.baseline_lse);
    free(all);
}

static struct fixture fixture(const char *shape, enum input_family family, enum numerics first,
                              enum numerics second)
{
    struct fixture f = {.family = family};
    struct err err;

    assert_true(problem_parse(shape, &f.problem, &err));
    write_answer(&f, 0, first);
    write_answer(&f, 1, second);
    return f;
}

static struct agreement find(const struct fixture *f, enum numerics numerics)
{
    struct agreement found;
    struct err err;

    if (!agreement_find(&f->problem, numerics, &f->answers[0], &f->answers[1], &found, &err)) {
        fail_msg("%s", err.what);
    }
    return found;
}

static void discard(struct fixture *f)
{
    free(f->data[0]);
    free(f->data[1]);
}

static void the_same_bits_use_nothing_of_what_is_allowed(void **state)
{
    (void)state;
    for (enum input_family family = 0; family < INPUT_FAMILIES; family++) {
        struct fixture f =
            fixture("1x1x40/90x64:lse", family, NUMERICS_FP32, NUMERICS_FP32);
        struct agreement found = find(&f, NUMERICS_FP32);

        assert_int_equal(found.elements, 40 * 64);
        assert_int_equal(found.identical, found.elements);
        assert_true(found.share == 0 && found.steps == 0);
        discard(&f);
    }
}

static void another_rounding_is_explained_by_its_own_class_alone(void **state)
{
    struct fixture f = fixture("1x1x40/900x64", INPUT_NORMAL, NUMERICS_FP16, NUMERICS_FP32);
    struct agreement found = find(&f, NUMERICS_FP16);

    (void)state;
    assert_true(found.identical > 0 && found.identical < found.elements);
    assert_true(found.share > 0 && found.share <= 1);
    assert_true(find(&f, NUMERICS_FP32).share > 1);
    discard(&f);
}

/* One element that is off by so many of its row's steps. */
static struct agreement one_off(const char *shape, int64_t element, double steps)
{
    struct fixture f = fixture(shape, INPUT_NORMAL, NUMERICS_FP32, NUMERICS_FP32);
    uint16_t *out = (void *)f.data[0];
    double value = half_to_double(f.problem.dtype, out[element]);
    struct agreement found;

    out[element] =
        half_from_double(f.problem.dtype, value + steps * half_step(f.problem.dtype, value));
    found = find(&f, NUMERICS_FP32);
    discard(&f);
    return found;
}

static void one_element_is_found_and_measured(void **state)
{
    struct agreement found = one_off("1x1x40/90x64", 17 * 64 + 5, 1);

    (void)state;
    assert_int_equal(found.identical, found.elements - 1);
    assert_true(found.share < 1 && found.steps > 0.2 && found.steps < 5);
    assert_true(found.at[0] == 0 && found.at[1] == 0 && found.at[2] == 17 && found.at[3] == 5);
    assert_true(found.first != found.second);
    found = one_off("1x1x40/90x64:bf16", 17 * 64 + 5, 40);
    assert_true(found.share > 1);
    assert_string_equal(found.what, "an element");
    assert_true(fabs(found.second - found.exact) < fabs(found.first - found.exact));
}

static void small_differences_everywhere_are_too_much_together(void **state)
{
    struct fixture f = fixture("1x1x40/90x64", INPUT_NORMAL, NUMERICS_FP32, NUMERICS_FP32);
    uint16_t *out = (void *)f.data[0];
    struct agreement found;

    (void)state;
    for (int64_t i = 0; i < 40 * 64; i++) {
        out[i] += 2; /* of some ten that one alone may have */
    }
    found = find(&f, NUMERICS_FP32);
    assert_true(found.share > 1);
    assert_string_equal(found.what, "the rms of the whole");
    discard(&f);
}

static void a_log_sum_exp_may_differ_by_what_the_gate_allows(void **state)
{
    struct fixture f = fixture("1x1x40/20x64:causal:lse", INPUT_NORMAL, NUMERICS_FP32,
                               NUMERICS_FP32);
    float *lse = (void *)(f.data[0] + (size_t)problem_q_elements(&f.problem) * 2);

    (void)state;
    assert_true(isinf(lse[0])); /* it sees no key */
    lse[39] += 0x1p-13f;
    assert_true(find(&f, NUMERICS_FP32).share < 1);
    lse[39] += 0x1p-8f;
    assert_true(find(&f, NUMERICS_FP32).share > 1);
    assert_string_equal(find(&f, NUMERICS_FP32).what, "a log-sum-exp");
    lse[39] -= 0x1p-8f;
    lse[0] = 0;
    assert_true(isinf(find(&f, NUMERICS_FP32).share));
    discard(&f);
}

static void answers_to_different_questions_are_not_compared(void **state)
{
    struct fixture f = fixture("1x1x40/90x64", INPUT_NORMAL, NUMERICS_FP32, NUMERICS_FP32);
    struct answer right = f.answers[1];
    struct agreement found;
    struct err err;

    (void)state;
    for (int fault = 0; fault < 5; fault++) {
        f.answers[1] = right;
        f.answers[1].seed += fault == 1;
        f.answers[1].family = fault == 2 ? "one_hot" : right.family;
        f.answers[1].bytes -= fault == 3 ? 2 : 0;
        f.answers[0].family = fault == 4 ? "nonsense" : input_family_names[INPUT_NORMAL];
        assert_int_equal(agreement_find(&f.problem, NUMERICS_FP32, &f.answers[0], &f.answers[1],
                                        &found, &err),
                         fault == 0);
    }
    discard(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_bits_use_nothing_of_what_is_allowed),
        cmocka_unit_test(another_rounding_is_explained_by_its_own_class_alone),
        cmocka_unit_test(one_element_is_found_and_measured),
        cmocka_unit_test(small_differences_everywhere_are_too_much_together),
        cmocka_unit_test(a_log_sum_exp_may_differ_by_what_the_gate_allows),
        cmocka_unit_test(answers_to_different_questions_are_not_compared),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
