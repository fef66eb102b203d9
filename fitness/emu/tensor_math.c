/*
 * The numbers of the tensor unit.
 *
 * Model. A product of two elements is exact; the products of one instruction's depth (k 16 for half
 * types: one step of the hardware) and the accumulator are added in double, then rounded once, to
 * nearest even, to the accumulator's type. A sum of 17 terms in double is off by less than 2^-48 of
 * its largest term, so for f32 this is the exact sum rounded once, but for ties.
 *
 * The hardware is known by published bit-level tests only: products exact; terms aligned to the
 * largest exponent and cut off a few bits (two on Hopper) below the 24 of an f32; one sum per 16
 * terms on Hopper (4 on Volta, 8 on Ampere); the f32 result truncated, the f16 result rounded to
 * nearest. So a step of the hardware differs from the model by less than two units in the last
 * place of the largest term: what another order of summation in FP32 does too. Subnormals are kept,
 * a NaN is the canonical one (0x7fffffff, 0x7fff).
 *
 * Because every product is exact in double (at most 22 bits), a fused multiply-add and a product
 * with a sum are the same; both ways below add in the order of k: their results are equal bit by
 * bit.
 */
#include "fitness/emu/tensor.h"

#include <math.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum element element_named(const char *part)
{
    static const char *const names[ELEMENTS] = {"f16", "bf16", "tf32", "s8", "u8", "f32", "s32"};
    enum element type = 0;
    while (type < ELEMENTS && strcmp(names[type], part) != 0) {
        type++;
    }
    return type;
}

unsigned element_bytes(enum element type)
{
    static const uint8_t bytes[ELEMENTS] = {2, 2, 4, 1, 1, 4, 4};
    return bytes[type];
}

/* ---- single numbers ---- */

static double float_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

static double f16_to_double(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = half & 0x7fff;
    if (rest >= 0x7c00) {
        return float_from_bits(sign | 0x7f800000 | (rest & 0x3ff) << 13);
    }
    if (rest >= 0x400) {
        return float_from_bits(sign | ((rest << 13) + (112u << 23)));
    }
    const double value = (double)rest * 0x1p-24;
    return sign != 0 ? -value : value;
}

/* A whole number, to nearest even; 0 <= value < 2^51. */
static double whole(double value)
{
    const volatile double big = 0x1p52; /* or the compiler may see a sum that cancels */
    return value + big - big;
}

uint16_t f16_from_double(double value)
{
    if (isnan(value)) {
        return 0x7fff;
    }
    const uint16_t sign = signbit(value) ? 0x8000 : 0;
    const double size = fabs(value);
    if (size >= 65520.0) { /* half of a unit above the largest */
        return sign | 0x7c00;
    }
    if (size < 0x1p-14) {
        return sign | (uint16_t)whole(size * 0x1p24);
    }
    int exponent;
    frexp(size, &exponent); /* size is in [2^(exponent - 1), 2^exponent) */
    const uint16_t fraction = (uint16_t)whole(ldexp(size, 11 - exponent)); /* 1024 … 2048 */
    return sign | (uint16_t)(((exponent + 13) << 10) + fraction);
}

static uint32_t bits_from_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return isnan(value) ? 0x7fffffff : bits;
}

void numbers_round(enum element type, bool saturate, double *d, int count)
{
    if (type == ELEMENT_F16) {
        for (int i = 0; i < count; i++) {
            d[i] = f16_to_double(f16_from_double(d[i]));
        }
    } else if (type == ELEMENT_S32) {
        for (int i = 0; i < count; i++) {
            const double cut = d[i] > INT32_MAX ? INT32_MAX : d[i] < INT32_MIN ? INT32_MIN : d[i];
            d[i] = saturate ? cut : (double)(int32_t)(uint32_t)(int64_t)d[i];
        }
    }
}

/* ---- plain C ---- */

static double element_value(enum element type, const uint8_t *from)
{
    uint16_t half;
    uint32_t word;
    int32_t integer;
    switch (type) {
    case ELEMENT_F16: memcpy(&half, from, sizeof half); return f16_to_double(half);
    case ELEMENT_BF16:
        memcpy(&half, from, sizeof half);
        return float_from_bits((uint32_t)half << 16);
    case ELEMENT_TF32: memcpy(&word, from, sizeof word); return float_from_bits(word & ~0x1fffu);
    case ELEMENT_F32: memcpy(&word, from, sizeof word); return float_from_bits(word);
    case ELEMENT_S32: memcpy(&integer, from, sizeof integer); return integer;
    case ELEMENT_S8: return (int8_t)*from;
    default: return *from;
    }
}

static void widen_plain(enum element type, const void *from, int count, double *to)
{
    const unsigned bytes = element_bytes(type);
    for (int i = 0; i < count; i++) {
        to[i] = element_value(type, (const uint8_t *)from + (size_t)i * bytes);
    }
}

static void multiply_plain(const double *a, int rows, const double *b, int panels, int depth,
                           double *d, bool to_float)
{
    for (int panel = 0; panel < panels; panel++, b += depth * 8) {
        for (int row = 0; row < rows; row++, d += 8) {
            double sum[8];
            memcpy(sum, d, sizeof sum);
            for (int k = 0; k < depth; k++) {
                for (int j = 0; j < 8; j++) {
                    sum[j] += a[row * depth + k] * b[k * 8 + j];
                }
            }
            for (int j = 0; j < 8; j++) {
                d[j] = to_float ? (double)(float)sum[j] : sum[j];
            }
        }
    }
}

static void block_read_plain(enum element type, const uint32_t *first, const uint32_t *second,
                             double *d)
{
    if (type == ELEMENT_F16) {
        widen_plain(ELEMENT_F16, first, BLOCK_VALUES, d);
        return;
    }
    for (int lane = 0; lane < LANES; lane++) {
        d[2 * lane] = element_value(type, (const uint8_t *)(first + lane));
        d[2 * lane + 1] = element_value(type, (const uint8_t *)(second + lane));
    }
}

static void block_write_plain(enum element type, const double *d, uint32_t *first, uint32_t *second)
{
    for (int lane = 0; lane < LANES; lane++) {
        const double even = d[2 * lane], odd = d[2 * lane + 1];
        if (type == ELEMENT_F16) {
            first[lane] = f16_from_double(even) | (uint32_t)f16_from_double(odd) << 16;
        } else if (type == ELEMENT_S32) {
            first[lane] = (uint32_t)(int32_t)even;
            second[lane] = (uint32_t)(int32_t)odd;
        } else {
            first[lane] = bits_from_float((float)even);
            second[lane] = bits_from_float((float)odd);
        }
    }
}

const struct numbers numbers_plain = {widen_plain, multiply_plain, block_read_plain,
                                      block_write_plain};

/* ---- AVX2, FMA, F16C ---- */

#if defined(__x86_64__)

#define FAST __attribute__((target("avx2,fma,f16c")))

FAST static inline void store_floats(__m256 values, double *to)
{
    _mm256_storeu_pd(to, _mm256_cvtps_pd(_mm256_castps256_ps128(values)));
    _mm256_storeu_pd(to + 4, _mm256_cvtps_pd(_mm256_extractf128_ps(values, 1)));
}

FAST static void widen_fast(enum element type, const void *from, int count, double *to)
{
    if (type != ELEMENT_F16 && type != ELEMENT_BF16) {
        widen_plain(type, from, count, to);
        return;
    }
    const __m128i *halves = from;
    for (int i = 0; i < count; i += 8, halves++, to += 8) {
        const __m128i eight = _mm_loadu_si128(halves);
        store_floats(type == ELEMENT_F16
                         ? _mm256_cvtph_ps(eight)
                         : _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(eight), 16)),
                     to);
    }
}

FAST static inline __m256d finish(__m256d sum, bool to_float)
{
    return to_float ? _mm256_cvtps_pd(_mm256_cvtpd_ps(sum)) : sum;
}

/* Four rows by eight columns: sums by name, since in an array they would live in memory. */
FAST static inline void multiply_four(const double *a, const double *b, int depth, double *d,
                                      bool to_float)
{
    const double *a1 = a + depth, *a2 = a1 + depth, *a3 = a2 + depth;
    __m256d s0 = _mm256_loadu_pd(d), t0 = _mm256_loadu_pd(d + 4);
    __m256d s1 = _mm256_loadu_pd(d + 8), t1 = _mm256_loadu_pd(d + 12);
    __m256d s2 = _mm256_loadu_pd(d + 16), t2 = _mm256_loadu_pd(d + 20);
    __m256d s3 = _mm256_loadu_pd(d + 24), t3 = _mm256_loadu_pd(d + 28);
    for (int k = 0; k < depth; k++, b += 8) {
        const __m256d left = _mm256_loadu_pd(b), right = _mm256_loadu_pd(b + 4);
        const __m256d f0 = _mm256_broadcast_sd(a + k), f1 = _mm256_broadcast_sd(a1 + k);
        const __m256d f2 = _mm256_broadcast_sd(a2 + k), f3 = _mm256_broadcast_sd(a3 + k);
        s0 = _mm256_fmadd_pd(f0, left, s0), t0 = _mm256_fmadd_pd(f0, right, t0);
        s1 = _mm256_fmadd_pd(f1, left, s1), t1 = _mm256_fmadd_pd(f1, right, t1);
        s2 = _mm256_fmadd_pd(f2, left, s2), t2 = _mm256_fmadd_pd(f2, right, t2);
        s3 = _mm256_fmadd_pd(f3, left, s3), t3 = _mm256_fmadd_pd(f3, right, t3);
    }
    _mm256_storeu_pd(d, finish(s0, to_float)), _mm256_storeu_pd(d + 4, finish(t0, to_float));
    _mm256_storeu_pd(d + 8, finish(s1, to_float)), _mm256_storeu_pd(d + 12, finish(t1, to_float));
    _mm256_storeu_pd(d + 16, finish(s2, to_float)), _mm256_storeu_pd(d + 20, finish(t2, to_float));
    _mm256_storeu_pd(d + 24, finish(s3, to_float)), _mm256_storeu_pd(d + 28, finish(t3, to_float));
}

FAST static void multiply_fast(const double *a, int rows, const double *b, int panels, int depth,
                               double *d, bool to_float)
{
    for (int panel = 0; panel < panels; panel++, b += depth * 8) {
        for (int row = 0; row < rows; row += 4, d += 32) {
            multiply_four(a + row * depth, b, depth, d, to_float);
        }
    }
}

FAST static void block_read_fast(enum element type, const uint32_t *first, const uint32_t *second,
                                 double *d)
{
    if (type != ELEMENT_F32) {
        (type == ELEMENT_F16 ? (void)widen_fast(ELEMENT_F16, first, BLOCK_VALUES, d)
                             : block_read_plain(type, first, second, d));
        return;
    }
    for (int lane = 0; lane < LANES; lane += 4, d += 8) {
        const __m128 even = _mm_loadu_ps((const float *)(const void *)(first + lane));
        const __m128 odd = _mm_loadu_ps((const float *)(const void *)(second + lane));
        _mm256_storeu_pd(d, _mm256_cvtps_pd(_mm_unpacklo_ps(even, odd)));
        _mm256_storeu_pd(d + 4, _mm256_cvtps_pd(_mm_unpackhi_ps(even, odd)));
    }
}

FAST static void block_write_fast(enum element type, const double *d, uint32_t *first,
                                  uint32_t *second)
{
    if (type != ELEMENT_F32) {
        block_write_plain(type, d, first, second);
        return;
    }
    const __m128 canonical = _mm_castsi128_ps(_mm_set1_epi32(0x7fffffff));
    for (int lane = 0; lane < LANES; lane += 4, d += 8) {
        __m128 low = _mm256_cvtpd_ps(_mm256_loadu_pd(d));
        __m128 high = _mm256_cvtpd_ps(_mm256_loadu_pd(d + 4));
        low = _mm_blendv_ps(low, canonical, _mm_cmpunord_ps(low, low));
        high = _mm_blendv_ps(high, canonical, _mm_cmpunord_ps(high, high));
        _mm_storeu_ps((float *)(void *)(first + lane),
                      _mm_shuffle_ps(low, high, _MM_SHUFFLE(2, 0, 2, 0)));
        _mm_storeu_ps((float *)(void *)(second + lane),
                      _mm_shuffle_ps(low, high, _MM_SHUFFLE(3, 1, 3, 1)));
    }
}

static const struct numbers numbers_fast = {widen_fast, multiply_fast, block_read_fast,
                                            block_write_fast};

const struct numbers *numbers_best(void)
{
    /* Not every compiler can ask for F16C; it is older than AVX2, and where that is. */
    const bool fast = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return fast ? &numbers_fast : &numbers_plain;
}

/* Three rounds of interleaving turn eight rows of eight halves; SSE2 is in every x86-64. */
static void turn_halves(const uint8_t *const rows[BLOCK_ROWS], __m128i *to)
{
    __m128i in[8], out[8];
    for (int i = 0; i < 8; i++) {
        in[i] = _mm_loadu_si128((const __m128i *)(const void *)rows[i]);
    }
    for (int i = 0; i < 4; i++) { /* rows i and i + 4 */
        out[2 * i] = _mm_unpacklo_epi16(in[i], in[i + 4]);
        out[2 * i + 1] = _mm_unpackhi_epi16(in[i], in[i + 4]);
    }
    for (int i = 0; i < 4; i++) {
        in[2 * i] = _mm_unpacklo_epi16(out[i], out[i + 4]);
        in[2 * i + 1] = _mm_unpackhi_epi16(out[i], out[i + 4]);
    }
    for (int i = 0; i < 4; i++) {
        _mm_storeu_si128(to + 2 * i, _mm_unpacklo_epi16(in[i], in[i + 4]));
        _mm_storeu_si128(to + 2 * i + 1, _mm_unpackhi_epi16(in[i], in[i + 4]));
    }
}

#else

const struct numbers *numbers_best(void) { return &numbers_plain; }

#endif

void block_turn(const uint8_t *const rows[BLOCK_ROWS], unsigned bytes, void *to)
{
#if defined(__x86_64__)
    if (bytes == 2) {
        turn_halves(rows, to);
        return;
    }
#endif
    uint8_t *out = to;
    for (unsigned element = 0; element < BLOCK_BYTES / bytes; element++) {
        for (int row = 0; row < BLOCK_ROWS; row++, out += bytes) {
            memcpy(out, rows[row] + element * bytes, bytes);
        }
    }
}
