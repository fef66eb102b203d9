#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "fitness/problem.h"

static struct problem parsed(const char *text)
{
    struct problem problem;
    struct err err;

    if (!problem_parse(text, &problem, &err)) {
        fail_msg("%s", err.what);
    }
    return problem;
}

static void a_text_says_every_field(void **state)
{
    struct problem problem = parsed("2x8/4x100/300x64:causal:bf16:lse:bshd");

    (void)state;
    assert_int_equal(problem.batch, 2);
    assert_int_equal(problem.heads, 8);
    assert_int_equal(problem.kv_heads, 4);
    assert_int_equal(problem.q_len, 100);
    assert_int_equal(problem.kv_len, 300);
    assert_int_equal(problem.head_dim, 64);
    assert_int_equal(problem.dtype, DTYPE_BF16);
    assert_true(problem.causal && problem.lse && problem.sequence_first);
    problem = parsed("1x8x512x64");
    assert_int_equal(problem.kv_heads, 8);
    assert_int_equal(problem.kv_len, 512);
    assert_int_equal(problem.dtype, DTYPE_F16);
    assert_false(problem.causal || problem.lse || problem.sequence_first);
}

static void a_text_is_printed_in_one_way(void **state)
{
    static const struct {
        const char *written, *canonical;
    } texts[] = {
        {"1x8x512x64", "1x8x512x64"},
        {"1x8/8x512/512x64", "1x8x512x64"},
        {"4x32/8x4096x128:causal", "4x32/8x4096x128:causal"},
        {"4x32x1/4096x128", "4x32x1/4096x128"},
        {"1x1x1x1:bshd:lse:bf16:causal", "1x1x1x1:causal:bf16:lse:bshd"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct problem problem = parsed(texts[i].written), again;
        char text[PROBLEM_TEXT_MAX];

        problem_text(&problem, text);
        assert_string_equal(text, texts[i].canonical);
        again = parsed(text);
        assert_true(problem_equal(&problem, &again));
    }
}

static void a_thousand_problems_come_back_from_their_texts(void **state)
{
    (void)state;
    for (uint64_t place = 0; place < 1000; place++) {
        struct rng rng = rng_at(7, 0, place);
        struct problem problem = {
            .batch = 1 + rng_below(&rng, 16),
            .kv_heads = 1 + rng_below(&rng, 8),
            .q_len = 1 + rng_below(&rng, 4096),
            .kv_len = 1 + rng_below(&rng, 4096),
            .head_dim = 1 + rng_below(&rng, PROBLEM_HEAD_DIM_MAX),
            .dtype = rng_below(&rng, 2) ? DTYPE_BF16 : DTYPE_F16,
            .causal = rng_below(&rng, 2),
            .lse = rng_below(&rng, 2),
            .sequence_first = rng_below(&rng, 2),
        };
        struct problem again;
        char text[PROBLEM_TEXT_MAX];

        problem.heads = problem.kv_heads * (1 + rng_below(&rng, 4));
        problem_text(&problem, text);
        again = parsed(text);
        assert_true(problem_equal(&problem, &again));
    }
}

static void the_longest_text_fits(void **state)
{
    struct problem problem = {1 << 20, 1 << 20,    1 << 19, 1 << 20, 1 << 19,
                              512,     DTYPE_BF16, true,    true,    true};
    char text[PROBLEM_TEXT_MAX];

    (void)state;
    problem_text(&problem, text);
    assert_string_equal(text, "1048576x1048576/524288x1048576/524288x512:causal:bf16:lse:bshd");
}

static void what_is_not_a_problem_is_refused_and_told_why(void **state)
{
    static const struct {
        const char *text, *told;
    } bad[] = {
        {"", "is not a problem"},
        {"1x8x512", "is not a problem"},
        {"1x8x512x64x2", "is not a problem"},
        {" 1x8x512x64", "is not a problem"},
        {"1x8x512x64 ", "is not a problem"},
        {"1x8x512x64:", "unknown option ''"},
        {"1x08x512x64", "is not a problem"},
        {"1x0x512x64", "is not a problem"},
        {"1x8x-512x64", "is not a problem"},
        {"1x+8x512x64", "is not a problem"},
        {"1X8x512x64", "is not a problem"},
        {"1x8/x512x64", "is not a problem"},
        {"1x8/4/2x512x64", "is not a problem"},
        {"1/1x8x512x64", "is not a problem"},
        {"1x8x512x64/64", "is not a problem"},
        {"1x8x512x64causal", "is not a problem"},
        {"1x8x512x64:fp8", "unknown option 'fp8'"},
        {"1x8x512x64:causa", "unknown option 'causa'"},
        {"1x8x512x64:causal:", "unknown option ''"},
        {"1x8x512x64:lse:lse", "'lse' is given twice"},
        {"1048577x1x1x1", "the batch is larger than 1048576"},
        {"1x8x1048577x64", "the query length is larger than 1048576"},
        {"1x8x16/1048577x64", "the key length is larger than 1048576"},
        {"1x8x512x513", "the head dimension is larger than 512"},
        {"99999999999999999999999999x8x512x64", "the batch is larger than 1048576"},
        {"1x8/3x512x64", "3 key heads do not divide 8 query heads"},
        {"1x8/16x512x64", "16 key heads do not divide 8 query heads"},
        {"1048576x1048576x1048576x512", "more than 2^33 elements"},
        {"1024x128x1024x65", "more than 2^33 elements"},
        {"1x128x1/1048576x128", "more than 2^33 elements"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct problem problem = {.batch = -7};
        struct err err = {0};

        if (problem_parse(bad[i].text, &problem, &err)) {
            fail_msg("'%s' was read as a problem", bad[i].text);
        }
        if (strstr(err.what, bad[i].told) == NULL) {
            fail_msg("'%s': \"%s\" does not say \"%s\"", bad[i].text, err.what, bad[i].told);
        }
        assert_int_equal(err.kind, ERR_USER);
        assert_int_equal(problem.batch, -7);
    }
}

static void the_largest_problems_are_read(void **state)
{
    struct problem problem = parsed("1x64x1048576x128");

    (void)state;
    assert_int_equal(problem_q_elements(&problem), INT64_C(1) << 33);
    parsed("1024x128x1024x64");
    parsed("1048576x1x1x512");
    parsed("1x128/1x1/1048576x128"); /* only its queries have 128 heads */
}

static void strides_walk_the_memory_without_holes(void **state)
{
    struct problem problem = parsed("2x6/3x5/7x4");
    struct problem_args args = problem_args(&problem);

    (void)state;
    assert_int_equal(args.q[0], 6 * 5 * 4);
    assert_int_equal(args.q[1], 5 * 4);
    assert_int_equal(args.q[2], 4);
    assert_int_equal(args.k[0], 3 * 7 * 4);
    assert_int_equal(args.k[1], 7 * 4);
    assert_int_equal(args.k[2], 4);
    assert_memory_equal(args.q, args.o, sizeof args.q);
    assert_memory_equal(args.k, args.v, sizeof args.k);
    assert_true(args.scale == 0.5f);
    assert_int_equal(args.kv_len, 7);

    problem = parsed("2x6/3x5/7x4:bshd");
    args = problem_args(&problem);
    assert_int_equal(args.q[0], 6 * 5 * 4);
    assert_int_equal(args.q[1], 4);
    assert_int_equal(args.q[2], 6 * 4);
    assert_int_equal(args.k[0], 3 * 7 * 4);
    assert_int_equal(args.v[1], 4);
    assert_int_equal(args.v[2], 3 * 4);
    assert_int_equal(problem_q_elements(&problem), 2 * 6 * 5 * 4);
    assert_int_equal(problem_kv_elements(&problem), 2 * 3 * 7 * 4);
    assert_int_equal(problem_rows(&problem), 2 * 6 * 5);
}

/* Against the mask's definition, pair by pair: query i sees keys j <= i + kv_len - q_len. */
static void causal_work_is_the_count_of_visible_pairs(void **state)
{
    (void)state;
    for (int64_t q_len = 1; q_len <= 9; q_len++) {
        for (int64_t kv_len = 1; kv_len <= 9; kv_len++) {
            struct problem problem = {3, 4, 2, q_len, kv_len, 8, DTYPE_F16, true, false, false};
            int64_t visible = 0;

            for (int64_t i = 0; i < q_len; i++) {
                for (int64_t j = 0; j < kv_len; j++) {
                    visible += j <= i + kv_len - q_len;
                }
            }
            assert_true(problem_flops(&problem) == 4.0 * 3 * 4 * 8 * (double)visible);
            problem.causal = false;
            assert_true(problem_flops(&problem) == 4.0 * 3 * 4 * 8 * (double)(q_len * kv_len));
        }
    }
}

/* 1x8x512x64: 4 * 8 * 512 * 512 * 64 operations on four tensors of 8 * 512 * 64 halves. */
static void the_mission_has_its_known_work(void **state)
{
    struct problem problem = parsed("1x8x512x64");

    (void)state;
    assert_true(problem_flops(&problem) == 536870912.0);
    assert_true(problem_bytes(&problem) == 4.0 * 262144 * 2);
    assert_true(problem_scale(&problem) == 0.125);
}

static void shapes_share_machine_code_unless_a_constant_differs(void **state)
{
    struct problem base = parsed("1x8x512x64");
    struct problem other = parsed("4x32/8x77/99x64:bshd");

    (void)state;
    assert_true(problem_same_static(&base, &other));
    assert_false(problem_equal(&base, &other));
    other = parsed("1x8x512x128");
    assert_false(problem_same_static(&base, &other));
    other = parsed("1x8x512x64:causal");
    assert_false(problem_same_static(&base, &other));
    other = parsed("1x8x512x64:bf16");
    assert_false(problem_same_static(&base, &other));
    other = parsed("1x8x512x64:lse");
    assert_false(problem_same_static(&base, &other));
}

static void launch_variables_have_the_names_of_the_fields(void **state)
{
    (void)state;
    assert_string_equal(launch_variable_names[LAUNCH_BATCH], "batch");
    assert_string_equal(launch_variable_names[LAUNCH_KV_HEADS], "kv_heads");
    assert_string_equal(launch_variable_names[LAUNCH_Q_LEN], "q_len");
    assert_string_equal(launch_variable_names[LAUNCH_SMS], "sms");
    for (int i = 0; i < LAUNCH_VARIABLES; i++) {
        assert_non_null(launch_variable_names[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_says_every_field),
        cmocka_unit_test(a_text_is_printed_in_one_way),
        cmocka_unit_test(a_thousand_problems_come_back_from_their_texts),
        cmocka_unit_test(the_longest_text_fits),
        cmocka_unit_test(what_is_not_a_problem_is_refused_and_told_why),
        cmocka_unit_test(the_largest_problems_are_read),
        cmocka_unit_test(strides_walk_the_memory_without_holes),
        cmocka_unit_test(causal_work_is_the_count_of_visible_pairs),
        cmocka_unit_test(the_mission_has_its_known_work),
        cmocka_unit_test(shapes_share_machine_code_unless_a_constant_differs),
        cmocka_unit_test(launch_variables_have_the_names_of_the_fields),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
