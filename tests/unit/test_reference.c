/* reference.c is included, so that every instruction set this machine has can be tested. */
#include "fitness/reference.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

struct fixture {
    struct problem problem;
    struct inputs inputs;
    int64_t *rows, count;
    struct reference out;
};

static struct problem parse(const char *text)
{
    struct problem problem;
    struct err err = {0};

    if (!problem_parse(text, &problem, &err)) {
        fail_msg("%s", err.what);
    }
    return problem;
}

/* every: 1 for all rows, n for each nth. */
static struct fixture compute(const char *text, enum input_family family, enum numerics numerics,
                              int every, int threads)
{
    struct fixture f = {.problem = parse(text)};
    size_t rows = (size_t)problem_rows(&f.problem), elements = rows * (size_t)f.problem.head_dim;
    size_t kv = (size_t)problem_kv_elements(&f.problem);

    f.inputs = (struct inputs){malloc(elements * 2), malloc(kv * 2), malloc(kv * 2)};
    inputs_draw(&f.problem, family, 42, &f.inputs, threads);
    f.rows = malloc(rows * sizeof(int64_t));
    for (size_t r = 0; r < rows; r += (size_t)every) {
        f.rows[f.count++] = (int64_t)r;
    }
    f.out = (struct reference){malloc(elements * 8), malloc(elements * 8), malloc(rows * 8),
                               malloc(rows * 8), malloc(rows * 8)};
    reference_rows(&f.problem, &f.inputs, numerics, f.rows, f.count, &f.out, threads);
    return f;
}

static void discard(struct fixture *f)
{
    free(f->inputs.q);
    free(f->inputs.k);
    free(f->inputs.v);
    free(f->rows);
    free(f->out.exact);
    free(f->out.baseline);
    free(f->out.noise);
    free(f->out.lse);
    free(f->out.baseline_lse);
}

/* The definition, word for word. Returns the log-sum-exp. */
static double attend(const struct fixture *f, int64_t row, double *out)
{
    const struct problem *p = &f->problem;
    struct problem_args a = problem_args(p);
    int64_t i = row % p->q_len, h = row / p->q_len % p->heads, b = row / p->q_len / p->heads;
    int64_t kv = h / (p->heads / p->kv_heads);
    double *scores = malloc((size_t)p->kv_len * sizeof(*scores)), max = -INFINITY, sum = 0;

    for (int64_t j = 0; j < p->kv_len; j++) {
        scores[j] = 0;
        for (int64_t c = 0; c < p->head_dim; c++) {
            scores[j] +=
                half_to_double(p->dtype, f->inputs.q[b * a.q[0] + h * a.q[1] + i * a.q[2] + c]) *
                half_to_double(p->dtype, f->inputs.k[b * a.k[0] + kv * a.k[1] + j * a.k[2] + c]);
        }
        bool visible = !p->causal || j <= i + p->kv_len - p->q_len;
        scores[j] = visible ? scores[j] / sqrt((double)p->head_dim) : -INFINITY;
        max = fmax(max, scores[j]);
    }
    memset(out, 0, (size_t)p->head_dim * sizeof(*out));
    for (int64_t j = 0; j < p->kv_len && max > -INFINITY; j++) {
        double weight = exp(scores[j] - max);
        sum += weight;
        for (int64_t c = 0; c < p->head_dim; c++) {
            out[c] +=
                weight *
                half_to_double(p->dtype, f->inputs.v[b * a.v[0] + kv * a.v[1] + j * a.v[2] + c]);
        }
    }
    for (int64_t c = 0; c < p->head_dim && sum > 0; c++) {
        out[c] /= sum;
    }
    free(scores);
    return max + log(sum);
}

static void exact_rows_are_the_definition_to_fourteen_digits(void **state)
{
    static const char *const problems[] = {
        "1x1x1x64",
        "1x2x130x64",
        "2x3x65x128",
        "1x4/2x40/200x32",
        "1x2x70x64:causal",
        "1x2x50/20x32:causal",
        "1x2x20/50x32:causal:lse",
        "2x2x33x64:bshd",
        "1x6/3x40x80:bf16:bshd",
        "1x1x5/3x8:causal",
        "1x1x7x1",
        "1x1x9x17",
        "1x1x3/1000x256:lse",
    };

    (void)state;
    for (size_t n = 0; n < sizeof(problems) / sizeof(problems[0]); n++) {
        for (int family = 0; family < INPUT_FAMILIES; family++) {
            struct fixture f = compute(problems[n], (enum input_family)family, NUMERICS_FP32, 1, 2);
            double want[512];
            for (int64_t r = 0; r < f.count; r++) {
                double lse = attend(&f, r, want), scale = 1e-6;
                const double *got = f.out.exact + r * f.problem.head_dim;
                for (int64_t c = 0; c < f.problem.head_dim; c++) {
                    scale = fmax(scale, fabs(want[c]));
                }
                for (int64_t c = 0; c < f.problem.head_dim; c++) {
                    /* Scores of a thousand lose three digits of sixteen. */
                    assert_true(fabs(got[c] - want[c]) <= 2e-12 * scale);
                }
                assert_true(lse == f.out.lse[r] || fabs(lse - f.out.lse[r]) < 1e-11);
            }
            discard(&f);
        }
    }
}

static void rows_that_see_no_key_are_zero(void **state)
{
    struct fixture f = compute("1x2x50/20x32:causal", INPUT_NORMAL, NUMERICS_FP32, 1, 1);

    (void)state;
    for (int64_t r = 0; r < f.count; r++) {
        bool blind = r % 50 < 30;
        assert_int_equal(reference_visible(&f.problem, r % 50) == 0, blind);
        for (int64_t c = 0; blind && c < 32; c++) {
            assert_true(f.out.exact[r * 32 + c] == 0 && f.out.baseline[r * 32 + c] == 0);
        }
        assert_int_equal(f.out.lse[r] == -INFINITY, blind);
        assert_int_equal(f.out.baseline_lse[r] == -INFINITY, blind);
    }
    discard(&f);
}

static void a_row_alone_is_the_row_among_all(void **state)
{
    struct fixture all = compute("2x4x150x64:causal", INPUT_MIXED, NUMERICS_FP32, 1, 1);
    struct fixture some = compute("2x4x150x64:causal", INPUT_MIXED, NUMERICS_FP32, 7, 3);

    (void)state;
    for (int64_t s = 0; s < some.count; s++) {
        int64_t r = some.rows[s];
        assert_memory_equal(some.out.exact + s * 64, all.out.exact + r * 64, 64 * 8);
        assert_memory_equal(some.out.baseline + s * 64, all.out.baseline + r * 64, 64 * 8);
        assert_true(some.out.lse[s] == all.out.lse[r]);
    }
    discard(&all);
    discard(&some);
}

static double distance(const struct fixture *f, const double *a, const double *b)
{
    double sum = 0, square = 0;

    for (int64_t e = 0; e < f->count * f->problem.head_dim; e++) {
        sum += (a[e] - b[e]) * (a[e] - b[e]);
        square += b[e] * b[e];
    }
    return sqrt(sum / square);
}

static void the_baseline_rounds_once_more_than_the_output_must(void **state)
{
    struct fixture f = compute("1x4x256x64", INPUT_NORMAL, NUMERICS_FP32, 1, 2);
    int64_t elements = f.count * 64;
    double *ideal = malloc((size_t)elements * sizeof(*ideal));

    (void)state;
    for (int64_t e = 0; e < elements; e++) {
        ideal[e] = half_to_double(DTYPE_F16, half_from_double(DTYPE_F16, f.out.exact[e]));
        uint16_t bits = half_from_double(DTYPE_F16, f.out.baseline[e]);
        assert_true(half_to_double(DTYPE_F16, bits) == f.out.baseline[e]);
    }
    double best = distance(&f, ideal, f.out.exact);
    double base = distance(&f, f.out.baseline, f.out.exact);
    assert_true(best > 1.5e-4 && best < 2.5e-4);
    assert_true(base > 1.2 * best && base < 1.6 * best);
    free(ideal);
    discard(&f);
}

static void the_half_baseline_is_worse_than_the_single_one(void **state)
{
    static const double at_least[INPUT_FAMILIES] = {2, 4, 4, 1, 30};

    (void)state;
    for (int family = 0; family < INPUT_FAMILIES; family++) {
        struct fixture single =
            compute("1x4x256x64", (enum input_family)family, NUMERICS_FP32, 1, 2);
        struct fixture half = compute("1x4x256x64", (enum input_family)family, NUMERICS_FP16, 1, 2);
        double better = distance(&single, single.out.baseline, single.out.exact);
        double worse = distance(&half, half.out.baseline, half.out.exact);
        assert_memory_equal(single.out.exact, half.out.exact, (size_t)single.count * 64 * 8);
        assert_true(worse >= at_least[family] * better);
        discard(&single);
        discard(&half);
    }
}

/* The distance of neighbouring halves at a value; the smallest there is at zero. */
static double half_step(double value)
{
    return ldexp(1, value == 0 ? -24 : ilogb(value) - 10);
}

/* Row by row the prediction is an upper bound within a small factor; over all rows it is close. */
static void the_predicted_noise_is_what_the_baseline_makes(void **state)
{
    static const double row_limit[2] = {2.2, 4.5};
    static const double low[2] = {0.8, 0.6}, high[2] = {1.15, 1.15};

    (void)state;
    for (int numerics = NUMERICS_FP32; numerics <= NUMERICS_FP16; numerics++) {
        for (int family = 0; family < INPUT_FAMILIES; family++) {
            struct fixture f =
                compute("1x4x256x64", (enum input_family)family, (enum numerics)numerics, 1, 2);
            double made = 0, predicted = 0;
            for (int64_t r = 0; r < f.count; r++) {
                double error = 0, step = 0;
                for (int64_t e = r * 64; e < r * 64 + 64; e++) {
                    error += pow(f.out.baseline[e] - f.out.exact[e], 2);
                    step += pow(half_step(f.out.exact[e]), 2);
                }
                double variance = 64 * f.out.noise[r] * f.out.noise[r] + step / 12;
                made += error;
                predicted += variance;
                assert_true(sqrt(error / variance) < row_limit[numerics]);
            }
            /* Where one key has all the weight the baseline is luckier than others may be. */
            bool sharp = family != INPUT_NORMAL && family != INPUT_OFFSET;
            /* Columns of INPUT_CODE are multiples of one another: a row is one draw, not 64. */
            double most = family == INPUT_CODE ? 1.3 : high[numerics];
            assert_true(sqrt(made / predicted) < most);
            assert_true(sharp || sqrt(made / predicted) > low[numerics]);
            discard(&f);
        }
    }
}

/* The machine a judge runs on must not decide what is right. */
static void every_instruction_set_computes_the_same(void **state)
{
    static const char *const problems[] = {"1x2x131x64:causal:lse", "1x2x40/300x48:bf16",
                                           "1x1x9x17"};
    const struct kernels *sets[3] = {&kernels_plain};
    int count = 1;

    (void)state;
#ifdef WIDER_KERNELS
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        sets[count++] = &kernels_avx2;
    }
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) {
        sets[count++] = &kernels_avx512;
    }
#endif
    for (size_t n = 0; n < 3 * INPUT_FAMILIES * 2; n++) {
        enum numerics numerics = n % 2 ? NUMERICS_FP16 : NUMERICS_FP32;
        struct fixture f = compute(problems[n / 2 % 3], (enum input_family)(n / 6), numerics, 1, 1);
        int64_t elements = f.count * f.problem.head_dim;
        double *exact = f.out.exact, *baseline = f.out.baseline, *noise = f.out.noise;
        double scale = 0;
        for (int64_t e = 0; e < elements; e++) {
            scale = fmax(scale, fabs(exact[e]));
        }
        f.out.exact = malloc((size_t)elements * 8);
        f.out.baseline = malloc((size_t)elements * 8);
        f.out.noise = malloc((size_t)f.count * 8);
        for (int s = 0; s < count; s++) {
            compute_rows(sets[s], &f.problem, &f.inputs, numerics, f.rows, f.count, &f.out, 2);
            for (int64_t e = 0; e < elements; e++) {
                double off = fabs(f.out.baseline[e] - baseline[e]);
                assert_true(fabs(f.out.exact[e] - exact[e]) < 1e-12 * scale);
                /* A sum in another order may round to the other side. */
                assert_true(off <= 12 * noise[e / f.problem.head_dim] + 0x1p-7 * fabs(exact[e]));
            }
            for (int64_t r = 0; r < f.count; r++) {
                assert_true(fabs(f.out.noise[r] - noise[r]) <= 0.1 * noise[r]);
            }
        }
        free(exact);
        free(baseline);
        free(noise);
        discard(&f);
    }
}

struct counted {
    _Atomic int64_t calls[1000];
};

static void count_call(void *context, int64_t i)
{
    struct counted *counted = context;

    counted->calls[i]++;
}

static void the_pool_runs_every_task_once(void **state)
{
    static struct counted counted;

    (void)state;
    for (int round = 0; round < 500; round++) {
        pool_run(count_call, &counted, 1 + round * 999 / 499, 1 + round % 9);
    }
    for (int64_t i = 0; i < 1000; i++) {
        int64_t rounds = 0;
        for (int round = 0; round < 500; round++) {
            rounds += i < 1 + round * 999 / 499;
        }
        assert_int_equal(counted.calls[i], rounds);
    }
    pool_run(count_call, &counted, 0, 4);
    assert_true(reference_threads() >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_rows_are_the_definition_to_fourteen_digits),
        cmocka_unit_test(rows_that_see_no_key_are_zero),
        cmocka_unit_test(a_row_alone_is_the_row_among_all),
        cmocka_unit_test(the_baseline_rounds_once_more_than_the_output_must),
        cmocka_unit_test(the_half_baseline_is_worse_than_the_single_one),
        cmocka_unit_test(the_predicted_noise_is_what_the_baseline_makes),
        cmocka_unit_test(every_instruction_set_computes_the_same),
        cmocka_unit_test(the_pool_runs_every_task_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
