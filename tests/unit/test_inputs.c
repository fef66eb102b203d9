#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "fitness/inputs.h"

static struct problem parse(const char *text)
{
    struct problem problem;
    struct err err = {0};

    if (!problem_parse(text, &problem, &err)) {
        fail_msg("%s", err.what);
    }
    return problem;
}

static struct inputs draw(const struct problem *p, enum input_family family, uint64_t key,
                          int threads)
{
    size_t q = (size_t)problem_q_elements(p) * 2, kv = (size_t)problem_kv_elements(p) * 2;
    struct inputs inputs = {malloc(q), malloc(kv), malloc(kv)};

    inputs_draw(p, family, key, &inputs, threads);
    return inputs;
}

static void discard(struct inputs *inputs)
{
    free(inputs->q);
    free(inputs->k);
    free(inputs->v);
}

static void halves_survive_the_way_to_double_and_back(void **state)
{
    (void)state;
    for (int dtype = DTYPE_F16; dtype <= DTYPE_BF16; dtype++) {
        for (uint32_t bits = 0; bits < 0x10000; bits++) {
            double value = half_to_double((enum dtype)dtype, (uint16_t)bits);
            uint16_t back = half_from_double((enum dtype)dtype, value);
            if (value != value) {
                assert_true(half_to_double((enum dtype)dtype, back) != value);
            } else {
                assert_int_equal(back, bits);
            }
        }
    }
}

static void halves_round_to_nearest_even(void **state)
{
    (void)state;
    for (int dtype = DTYPE_F16; dtype <= DTYPE_BF16; dtype++) {
        uint16_t infinity = dtype == DTYPE_F16 ? 0x7c00 : 0x7f80;
        for (uint16_t bits = 0; bits + 1 < infinity; bits++) {
            double low = half_to_double((enum dtype)dtype, bits);
            double high = half_to_double((enum dtype)dtype, (uint16_t)(bits + 1));
            double middle = (low + high) / 2;
            uint16_t even = (uint16_t)(bits + (bits & 1));
            assert_int_equal(half_from_double((enum dtype)dtype, middle), even);
            assert_int_equal(half_from_double((enum dtype)dtype, -middle), even | 0x8000);
            assert_int_equal(half_from_double((enum dtype)dtype, nextafter(middle, 0)), bits);
            assert_int_equal(half_from_double((enum dtype)dtype, nextafter(middle, 1e300)),
                             bits + 1);
        }
        assert_int_equal(half_from_double((enum dtype)dtype, 1e300), infinity);
        assert_int_equal(half_from_double((enum dtype)dtype, -INFINITY), infinity | 0x8000);
        assert_int_equal(half_from_double((enum dtype)dtype, 1e-300), 0);
    }
    assert_int_equal(half_from_double(DTYPE_F16, 65519.99), 0x7bff);
    assert_int_equal(half_from_double(DTYPE_F16, 65520), 0x7c00);
}

static struct hash digest(const struct problem *p, const struct inputs *inputs)
{
    struct hasher hasher;

    hash_begin(&hasher, "test");
    hash_field(&hasher, "q", inputs->q, (size_t)problem_q_elements(p) * 2);
    hash_field(&hasher, "k", inputs->k, (size_t)problem_kv_elements(p) * 2);
    hash_field(&hasher, "v", inputs->v, (size_t)problem_kv_elements(p) * 2);
    return hash_end(&hasher);
}

/* These digests are for ever: a case is named by its family and key alone. */
static void the_same_key_gives_the_same_bits_everywhere(void **state)
{
    static const struct {
        const char *problem;
        enum input_family family;
        const char *start; /* of the digest */
    } known[] = {
        {"2x4/2x100/77x64", INPUT_NORMAL, "c8e86672ccfbe70d"},
        {"2x4/2x100/77x64", INPUT_ONE_HOT, "147d9e4b718bab28"},
        {"2x4/2x100/77x64:bf16", INPUT_MIXED, "40055d931c05646d"},
        {"2x4/2x100x64:causal:bshd", INPUT_NEEDLE, "3ec863a77c65b422"},
        {"1x3x40x128", INPUT_OFFSET, "d6d2da80b5165d2a"},
        {"2x4/2x100/77x64:bf16", INPUT_CODE, "32d122e96a015bde"},
        {"2x4/2x100/77x64", INPUT_INTEGERS, "d7eb5834cd1d2985"},
        {"1x4/2x100x96:causal:bshd", INPUT_LONE, "287a9d4b9bcf2326"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        struct problem p = parse(known[i].problem);
        for (int threads = 1; threads <= 4; threads += 3) {
            struct inputs inputs = draw(&p, known[i].family, 12345, threads);
            struct hash hash = digest(&p, &inputs);
            char hex[HASH_HEX + 1];
            hash_to_hex(&hash, hex);
            hex[16] = '\0';
            assert_string_equal(hex, known[i].start);
            discard(&inputs);
        }
    }
}

static void another_key_or_family_gives_other_bits(void **state)
{
    struct problem p = parse("1x2x32x32");

    (void)state;
    for (int family = 0; family < INPUT_FAMILIES; family++) {
        struct inputs a = draw(&p, (enum input_family)family, 1, 1);
        struct inputs b = draw(&p, (enum input_family)family, 2, 1);
        struct inputs c = draw(&p, (enum input_family)((family + 1) % INPUT_FAMILIES), 1, 1);
        assert_memory_not_equal(a.q, b.q, 64);
        assert_memory_not_equal(a.k, b.k, 64);
        assert_memory_not_equal(a.v, b.v, 64);
        assert_memory_not_equal(a.v, c.v, 64);
        discard(&a);
        discard(&b);
        discard(&c);
    }
}

static double correlation(enum dtype dtype, const uint16_t *a, const uint16_t *b, int64_t count)
{
    double ab = 0, aa = 0, bb = 0;

    for (int64_t i = 0; i < count; i++) {
        double x = half_to_double(dtype, a[i]), y = half_to_double(dtype, b[i]);
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    return ab / sqrt(aa * bb);
}

/* The ancestor of this gate used one tensor for all three. */
static void q_k_and_v_are_independent_unit_normals(void **state)
{
    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        struct problem p = parse(bf16 ? "1x8x256x64:bf16" : "1x8x256x64");
        int64_t n = problem_q_elements(&p);
        struct inputs in = draw(&p, INPUT_NORMAL, 99, 2);
        const uint16_t *all[] = {in.q, in.k, in.v};
        for (int t = 0; t < 3; t++) {
            double sum = 0, second = 0, fourth = 0, most = 0;
            for (int64_t i = 0; i < n; i++) {
                double x = half_to_double(p.dtype, all[t][i]);
                sum += x;
                second += x * x;
                fourth += x * x * x * x;
                most = fmax(most, fabs(x));
            }
            assert_true(fabs(sum / (double)n) < 0.015); /* five deviations */
            assert_true(fabs(second / (double)n - 1) < 0.02);
            assert_true(fabs(fourth / (double)n - 3) < 0.15);
            assert_true(most > 4 && most < 4.6);
            assert_true(fabs(correlation(p.dtype, all[t], all[(t + 1) % 3], n)) < 0.015);
            assert_true(fabs(correlation(p.dtype, all[t], all[t] + 1, n - 1)) < 0.015);
            assert_true(fabs(correlation(p.dtype, all[t], all[t] + 64, n - 64)) < 0.015);
        }
        discard(&in);
    }
}

static double dot(const struct problem *p, const uint16_t *a, const uint16_t *b)
{
    double sum = 0;

    for (int64_t c = 0; c < p->head_dim; c++) {
        sum += half_to_double(p->dtype, a[c]) * half_to_double(p->dtype, b[c]);
    }
    return sum * problem_scale(p);
}

static void every_value_is_finite_and_every_score_fits_a_half(void **state)
{
    static const char *const problems[] = {"1x2x64x64", "1x2x64x128", "1x2x64x256",
                                           "1x4x40x64:bf16"};

    (void)state;
    for (size_t i = 0; i < sizeof(problems) / sizeof(problems[0]); i++) {
        struct problem p = parse(problems[i]);
        for (int family = 0; family < INPUT_FAMILIES; family++) {
            struct inputs in = draw(&p, (enum input_family)family, 7, 1);
            for (int64_t e = 0; e < problem_q_elements(&p); e++) {
                assert_true(isfinite(half_to_double(p.dtype, in.q[e])));
                assert_true(isfinite(half_to_double(p.dtype, in.k[e])));
                assert_true(isfinite(half_to_double(p.dtype, in.v[e])));
            }
            for (int64_t q = 0; q < p.q_len; q++) {
                double score =
                    dot(&p, in.q + q * p.head_dim, in.k + (q * 7 % p.kv_len) * p.head_dim);
                assert_true(fabs(score / problem_scale(&p)) < 30000);
            }
            discard(&in);
        }
    }
}

/* In one_hot most rows give one key nearly all the weight. */
static void one_hot_rows_have_one_key(void **state)
{
    struct problem p = parse("1x1x256x64");
    struct inputs in = draw(&p, INPUT_ONE_HOT, 5, 1);
    int sharp = 0;

    (void)state;
    for (int64_t i = 0; i < p.q_len; i++) {
        double best = -INFINITY, sum = 0;
        for (int64_t j = 0; j < p.kv_len; j++) {
            best = fmax(best, dot(&p, in.q + i * 64, in.k + j * 64));
        }
        for (int64_t j = 0; j < p.kv_len; j++) {
            sum += exp(dot(&p, in.q + i * 64, in.k + j * 64) - best);
        }
        sharp += sum < 2;
    }
    assert_true(sharp > 200);
    discard(&in);
}

static void mixed_scales_differ_by_rows_and_heads(void **state)
{
    struct problem p = parse("1x4x64x64");
    struct inputs in = draw(&p, INPUT_MIXED, 5, 1);

    (void)state;
    const uint16_t *all[] = {in.q, in.k, in.v};
    for (int t = 0; t < 3; t++) {
        double least = INFINITY, most = 0;
        int zeros = 0;
        for (int64_t r = 0; r < 4 * 64; r++) {
            double square = dot(&p, all[t] + r * 64, all[t] + r * 64);
            zeros += square == 0;
            least = square > 0 ? fmin(least, square) : least;
            most = fmax(most, square);
        }
        assert_true(sqrt(most / least) > 6);
        assert_true(zeros >= 4 && zeros <= 40); /* one of sixteen */
    }
    discard(&in);
}

/*
 * Every needle row gives one key nearly all the weight, and over the rows of a few heads those keys
 * are the first, the last, and both sides of every tile edge, whatever the tile.
 */
static void needles_lie_on_every_tile_edge(void **state)
{
    static const char *const problems[] = {"1x4x512x64", "1x12x200/300x64:causal",
                                           "2x2x130x128:bshd"};

    (void)state;
    for (size_t n = 0; n < sizeof(problems) / sizeof(problems[0]); n++) {
        struct problem p = parse(problems[n]);
        struct problem_args a = problem_args(&p);
        struct inputs in = draw(&p, INPUT_NEEDLE, 5, 2);
        int *hit = calloc((size_t)p.kv_len, sizeof(*hit));
        for (int64_t row = 0; row < problem_rows(&p); row++) {
            int64_t i = row % p.q_len, h = row / p.q_len % p.heads, b = row / p.q_len / p.heads;
            int64_t seen = p.causal ? i + p.kv_len - p.q_len + 1 : p.kv_len, best = 0;
            const uint16_t *q = in.q + b * a.q[0] + h * a.q[1] + i * a.q[2];
            double top = -INFINITY, sum = 0;
            for (int64_t j = 0; j < seen; j++) {
                double s = dot(&p, q, in.k + b * a.k[0] + h * a.k[1] + j * a.k[2]);
                best = s > top ? j : best;
                top = fmax(top, s);
            }
            for (int64_t j = 0; j < seen; j++) {
                sum += exp(dot(&p, q, in.k + b * a.k[0] + h * a.k[1] + j * a.k[2]) - top);
            }
            hit[best] += sum < 1.2;
        }
        for (int64_t j = 0; j < p.kv_len; j++) {
            bool edge = j == 0 || j == p.kv_len - 1 || j % 8 == 0 || j % 8 == 1 || j % 8 == 7;
            bool rare = p.causal && j > p.kv_len - 64; /* few rows see it */
            assert_true(!edge || rare || hit[j] > 0);
        }
        free(hit);
        discard(&in);
    }
}

static void offsets_are_beyond_what_an_exponential_survives(void **state)
{
    static const char *const problems[] = {"1x2x64x64", "1x2x64x128:bf16", "1x1x64x32"};

    (void)state;
    for (size_t n = 0; n < sizeof(problems) / sizeof(problems[0]); n++) {
        struct problem p = parse(problems[n]);
        struct inputs in = draw(&p, INPUT_OFFSET, 5, 1);
        int high = 0, low = 0;
        for (int64_t i = 0; i < p.q_len; i++) {
            double mean = 0;
            for (int64_t j = 0; j < p.kv_len; j++) {
                mean += dot(&p, in.q + i * p.head_dim, in.k + j * p.head_dim) / (double)p.kv_len;
            }
            assert_true(fabs(mean) > 140 && fabs(mean) < 180);
            high += mean > 0;
            low += mean < 0;
        }
        assert_true(high > 10 && low > 10);
        discard(&in);
    }
}

/* Every row of V is the same code, but for its sign; no two columns have the same number. */
static void codes_name_their_columns(void **state)
{
    static const char *const problems[] = {"1x2x8/40x64", "1x2x8/40x512:bf16", "1x1x4/9x17"};

    (void)state;
    for (size_t n = 0; n < sizeof(problems) / sizeof(problems[0]); n++) {
        struct problem p = parse(problems[n]);
        struct inputs in = draw(&p, INPUT_CODE, 5, 1);
        int negative = 0;
        for (int64_t j = 0; j < p.kv_len; j++) {
            const uint16_t *row = in.v + j * p.head_dim;
            negative += (row[0] ^ in.v[0]) >> 15;
            for (int64_t c = 0; c < p.head_dim; c++) {
                assert_int_equal(row[c] & 0x7fff, in.v[c] & 0x7fff);
                assert_int_equal((row[c] ^ in.v[c]) >> 15, (row[0] ^ in.v[0]) >> 15);
            }
        }
        assert_true(negative > 0 && negative < p.kv_len);
        for (int64_t a = 0; a < p.head_dim; a++) {
            for (int64_t b = 0; b < a; b++) {
                assert_int_not_equal(in.v[a] & 0x7fff, in.v[b] & 0x7fff);
            }
        }
        discard(&in);
    }
}

/* Scores are whole multiples of a number whose exponential vanishes, V is whole. */
static void integers_leave_nothing_to_round(void **state)
{
    static const char *const problems[] = {"1x2x64x64", "1x2x64x512", "1x2x64x17:bf16"};

    (void)state;
    for (size_t n = 0; n < sizeof(problems) / sizeof(problems[0]); n++) {
        struct problem p = parse(problems[n]);
        struct inputs in = draw(&p, INPUT_INTEGERS, 5, 1);
        double shared = 0, size = 0;
        for (int64_t i = 0; i < p.q_len; i++) {
            const uint16_t *q = in.q + i * p.head_dim;
            double best = -INFINITY;
            int sharing = 0;
            for (int64_t c = 0; c < p.head_dim; c++) {
                size = fmax(size, fabs(half_to_double(p.dtype, q[c])));
            }
            assert_true(exp(-size * problem_scale(&p)) < 0x1p-149);
            for (int64_t j = 0; j < p.kv_len; j++) {
                double score = dot(&p, q, in.k + j * p.head_dim) / problem_scale(&p);
                assert_true(fabs(remainder(score, size)) < 1e-9 * size);
                sharing = score > best + size / 2 ? 1 : sharing + (score > best - size / 2);
                best = fmax(best, score);
            }
            shared += sharing;
        }
        assert_true(shared / (double)p.q_len > 4 && shared / (double)p.q_len < 32);
        for (int64_t e = 0; e < problem_kv_elements(&p); e++) {
            double v = half_to_double(p.dtype, in.v[e]);
            assert_true(v == rint(v) && fabs(v) <= 8);
        }
        discard(&in);
    }
}

/* One key has all the weight of a row, and in some heads its score is far below zero. */
static void lone_keys_leave_nothing_for_the_others(void **state)
{
    struct problem p = parse("1x8x64x64");
    struct inputs in = draw(&p, INPUT_LONE, 5, 1);
    int low = 0;

    (void)state;
    for (int64_t row = 0; row < problem_rows(&p); row++) {
        const uint16_t *keys = in.k + row / p.q_len * p.kv_len * p.head_dim;
        double best = -INFINITY, second = -INFINITY;
        for (int64_t j = 0; j < p.kv_len; j++) {
            double score = dot(&p, in.q + row * p.head_dim, keys + j * p.head_dim);
            second = fmax(second, fmin(score, best));
            best = fmax(best, score);
        }
        assert_true(best - second > 30);
        assert_true(best < -200 || best > 100);
        low += best < 0;
    }
    assert_true(low >= 64 && low <= 7 * 64);
    discard(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halves_survive_the_way_to_double_and_back),
        cmocka_unit_test(halves_round_to_nearest_even),
        cmocka_unit_test(the_same_key_gives_the_same_bits_everywhere),
        cmocka_unit_test(another_key_or_family_gives_other_bits),
        cmocka_unit_test(q_k_and_v_are_independent_unit_normals),
        cmocka_unit_test(every_value_is_finite_and_every_score_fits_a_half),
        cmocka_unit_test(one_hot_rows_have_one_key),
        cmocka_unit_test(mixed_scales_differ_by_rows_and_heads),
        cmocka_unit_test(needles_lie_on_every_tile_edge),
        cmocka_unit_test(offsets_are_beyond_what_an_exponential_survives),
        cmocka_unit_test(codes_name_their_columns),
        cmocka_unit_test(integers_leave_nothing_to_round),
        cmocka_unit_test(lone_keys_leave_nothing_for_the_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
