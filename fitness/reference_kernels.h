/*
 * The inner loops of reference.c, in one precision for one instruction set. No include guard:
 * reference.c includes this once for each pair, having defined
 *
 *     KERNEL(name)      the name of a function of this pair
 *     VECTOR_BYTES      16, 32 or 64
 *     SINGLE            1: the loops compute in float, as a kernel would; 0: in double
 *
 * Buffers are aligned to ROW_ALIGN bytes and so is every row in them. Loads and stores go through
 * vectors of the compiler's own kind, so the same text serves SSE2, AVX2, AVX-512 and others.
 */
#if SINGLE
#define REAL   float
#define BITS   uint32_t
#define SIGNED int32_t
#else
#define REAL   double
#define BITS   uint64_t
#define SIGNED int64_t
#endif
#define VECTOR        KERNEL(vector)
#define VECTOR_BITS   KERNEL(vector_bits)
#define VECTOR_SIGNED KERNEL(vector_signed)
#define LANES         ((int64_t)(VECTOR_BYTES / sizeof(REAL)))

typedef REAL VECTOR __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef BITS VECTOR_BITS __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef SIGNED VECTOR_SIGNED __attribute__((vector_size(VECTOR_BYTES), may_alias));

static inline __attribute__((always_inline)) VECTOR KERNEL(choose)(VECTOR_SIGNED mask, VECTOR yes,
                                                                   VECTOR no)
{
    return (VECTOR)(((VECTOR_SIGNED)yes & mask) | ((VECTOR_SIGNED)no & ~mask));
}

/*
 * e^x for x <= 0. x = n·ln2 + r with |r| <= ln2/2; the power series of e^r up to where its next
 * term is below half a unit in the last place; 2^n by the exponent field. Results that would not be
 * normal numbers are zero.
 */
static inline __attribute__((always_inline)) VECTOR KERNEL(exp)(VECTOR x)
{
#if SINGLE
    const REAL magic = 0x1.8p23f, ln2_high = 0x1.62e4p-1f, ln2_low = 0x1.7f7d1cp-20f;
    const REAL least = -87.0f;
    static const REAL series[] = {1 / 5040.0f, 1 / 720.0f, 1 / 120.0f, 1 / 24.0f,
                                  1 / 6.0f,    1 / 2.0f,   1.0f,       1.0f};
    enum { MANTISSA = 23, BIAS = 127 };
#else
    const REAL magic = 0x1.8p52, ln2_high = 0x1.62e42fee00000p-1, ln2_low = 0x1.a39ef35793c76p-33;
    const REAL least = -708.0;
    static const REAL series[] = {1 / 6227020800.0,
                                  1 / 479001600.0,
                                  1 / 39916800.0,
                                  1 / 3628800.0,
                                  1 / 362880.0,
                                  1 / 40320.0,
                                  1 / 5040.0,
                                  1 / 720.0,
                                  1 / 120.0,
                                  1 / 24.0,
                                  1 / 6.0,
                                  1 / 2.0,
                                  1.0,
                                  1.0};
    enum { MANTISSA = 52, BIAS = 1023 };
#endif
    VECTOR_SIGNED alive = (VECTOR_SIGNED)(x >= least);
    x = KERNEL(choose)(alive, x, (VECTOR){0} + least); /* x may be -infinity */
    /* Adding 1.5·2^MANTISSA leaves round(x/ln2) in the low bits, in two's complement. */
    VECTOR shifted = x * (REAL)0x1.71547652b82fep+0 + magic;
    VECTOR n = shifted - magic;
    VECTOR r = x - n * ln2_high - n * ln2_low;
    VECTOR sum = (VECTOR){0} + series[0];
    for (size_t i = 1; i < sizeof(series) / sizeof(series[0]); i++) {
        sum = sum * r + series[i];
    }
    VECTOR_BITS power = ((VECTOR_BITS)shifted + BIAS) << MANTISSA;
    return (VECTOR)((VECTOR_SIGNED)(sum * (VECTOR)power) & alive);
}

#if SINGLE
/* To nearest even with `bits` mantissa bits fewer; what overflows FP16 becomes infinite there. */
static inline __attribute__((always_inline)) VECTOR KERNEL(round_f16)(VECTOR x)
{
    VECTOR_BITS bits = (VECTOR_BITS)x;
    VECTOR_BITS size = bits & 0x7fffffffu;
    VECTOR_BITS rounded = (bits + 0xfffu + (bits >> 13 & 1u)) & ~0x1fffu;
    /* Below 2^-14 the step is 2^-24: that of a float near 0.75. */
    VECTOR small = (x + 0.75f) - 0.75f;
    VECTOR infinite = (VECTOR)((bits & 0x80000000u) | 0x7f800000u);

    VECTOR result = KERNEL(choose)((VECTOR_SIGNED)(size < 0x38800000u), small, (VECTOR)rounded);
    return KERNEL(choose)((VECTOR_SIGNED)(size >= 0x477ff000u), infinite, result);
}

static inline __attribute__((always_inline)) VECTOR KERNEL(round_bf16)(VECTOR x)
{
    VECTOR_BITS bits = (VECTOR_BITS)x;

    return (VECTOR)((bits + 0x7fffu + (bits >> 16 & 1u)) & ~0xffffu);
}
#endif

/*
 * scores[r][j] = sum over c of q[r][c]·kt[c][j], for ROW_STEP rows at a time and every key of a
 * tile. rounded: the sum is rounded to FP16 after every 16 columns.
 */
static void KERNEL(scores)(const REAL *q, int64_t q_stride, int64_t rows, const REAL *kt,
                           int64_t columns, bool rounded, REAL *scores, int64_t stride)
{
    (void)rounded;
    for (int64_t r = 0; r < rows; r += ROW_STEP) {
        for (int64_t j = 0; j < KEY_TILE; j += 2 * LANES) {
            VECTOR sums[ROW_STEP][2] = {0};
            for (int64_t start = 0; start < columns; start += HALF_STEP) {
                int64_t end = start + HALF_STEP < columns ? start + HALF_STEP : columns;
                for (int64_t c = start; c < end; c++) {
                    const REAL *keys = kt + c * KEY_TILE + j;
                    VECTOR low = *(const VECTOR *)keys, high = *(const VECTOR *)(keys + LANES);
                    for (int k = 0; k < ROW_STEP; k++) {
                        REAL one = q[(r + k) * q_stride + c];
                        sums[k][0] += low * one;
                        sums[k][1] += high * one;
                    }
                }
#if SINGLE
                for (int k = 0; rounded && k < ROW_STEP; k++) {
                    sums[k][0] = KERNEL(round_f16)(sums[k][0]);
                    sums[k][1] = KERNEL(round_f16)(sums[k][1]);
                }
#endif
            }
            for (int k = 0; k < ROW_STEP; k++) {
                *(VECTOR *)(scores + (r + k) * stride + j) = sums[k][0];
                *(VECTOR *)(scores + (r + k) * stride + j + LANES) = sums[k][1];
            }
        }
    }
}

/*
 * out[r][c] += sum over the tile's keys j of p[r][j]·v[j][c].
 * rounded: the tile's sum is rounded to FP16 after every 16 keys; adding it to out is not.
 */
static void KERNEL(weigh)(const REAL *p, int64_t p_stride, int64_t rows, const REAL *v,
                          int64_t v_stride, bool rounded, REAL *out)
{
    (void)rounded;
    for (int64_t r = 0; r < rows; r += ROW_STEP) {
        for (int64_t c = 0; c < v_stride; c += 2 * LANES) {
            VECTOR sums[ROW_STEP][2] = {0};
            for (int64_t start = 0; start < KEY_TILE; start += HALF_STEP) {
                for (int64_t j = start; j < start + HALF_STEP; j++) {
                    const REAL *row = v + j * v_stride + c;
                    VECTOR low = *(const VECTOR *)row, high = *(const VECTOR *)(row + LANES);
                    for (int k = 0; k < ROW_STEP; k++) {
                        REAL one = p[(r + k) * p_stride + j];
                        sums[k][0] += low * one;
                        sums[k][1] += high * one;
                    }
                }
#if SINGLE
                for (int k = 0; rounded && k < ROW_STEP; k++) {
                    sums[k][0] = KERNEL(round_f16)(sums[k][0]);
                    sums[k][1] = KERNEL(round_f16)(sums[k][1]);
                }
#endif
            }
            for (int k = 0; k < ROW_STEP; k++) {
                *(VECTOR *)(out + (r + k) * v_stride + c) += sums[k][0];
                *(VECTOR *)(out + (r + k) * v_stride + c + LANES) += sums[k][1];
            }
        }
    }
}

static REAL KERNEL(total)(VECTOR x)
{
    REAL sum = 0;

    for (int64_t i = 0; i < LANES; i++) {
        sum += x[i];
    }
    return sum;
}

static REAL KERNEL(largest)(const REAL *x, int64_t count)
{
    VECTOR best = *(const VECTOR *)x;

    for (int64_t j = LANES; j < count; j += LANES) {
        VECTOR next = *(const VECTOR *)(x + j);
        best = KERNEL(choose)((VECTOR_SIGNED)(next > best), next, best);
    }
    REAL most = best[0];
    for (int64_t i = 1; i < LANES; i++) {
        most = best[i] > most ? best[i] : most;
    }
    return most;
}

/*
 * Turns a row of unscaled scores into weights e^(scale·(s - max)), in place, and returns their sum;
 * *max is the unscaled maximum. The row is padded with -infinity up to KEY_TILE. In single
 * precision the weights, not the sum, are rounded to the type. In double precision the sums of
 * struct spread are taken as well.
 */
#if SINGLE
static REAL KERNEL(softmax)(REAL *row, int64_t count, REAL scale, bool bf16, REAL *max)
{
    VECTOR sum = {0};
    REAL top = KERNEL(largest)(row, count);

    for (int64_t j = 0; j < count; j += LANES) {
        VECTOR p = KERNEL(exp)((*(const VECTOR *)(row + j) - top) * scale);
        sum += p;
        *(VECTOR *)(row + j) = bf16 ? KERNEL(round_bf16)(p) : KERNEL(round_f16)(p);
    }
    *max = top;
    return KERNEL(total)(sum);
}

/* An output row from its weighted sum: divided by the weights' sum, rounded to the type. */
static void KERNEL(finish)(REAL *row, int64_t count, REAL sum, bool bf16)
{
    for (int64_t c = 0; c < count; c += LANES) {
        VECTOR x = *(const VECTOR *)(row + c) / sum;
        *(VECTOR *)(row + c) = bf16 ? KERNEL(round_bf16)(x) : KERNEL(round_f16)(x);
    }
}
#else
static REAL KERNEL(softmax)(REAL *row, int64_t count, REAL scale, const REAL *v_squares,
                            struct spread *spread, REAL *max)
{
    VECTOR sum = {0}, p2 = {0}, p2v = {0}, p3v = {0}, p4v = {0};
    REAL top = KERNEL(largest)(row, count);

    for (int64_t j = 0; j < count; j += LANES) {
        VECTOR p = KERNEL(exp)((*(const VECTOR *)(row + j) - top) * scale);
        VECTOR square = p * p, weighed = square * *(const VECTOR *)(v_squares + j);
        sum += p;
        p2 += square;
        p2v += weighed;
        p3v += weighed * p;
        p4v += weighed * square;
        *(VECTOR *)(row + j) = p;
    }
    *spread = (struct spread){KERNEL(total)(p2), KERNEL(total)(p2v), KERNEL(total)(p3v),
                              KERNEL(total)(p4v)};
    *max = top;
    return KERNEL(total)(sum);
}

/* The sum of (exact - baseline)² over a row's first `count` scores. */
static REAL KERNEL(differ)(const REAL *exact, const float *baseline, int64_t count)
{
    typedef float NARROW __attribute__((vector_size(VECTOR_BYTES / 2), may_alias));
    int64_t whole = count / LANES * LANES;
    VECTOR sum = {0};
    REAL rest = 0;

    for (int64_t j = 0; j < whole; j += LANES) {
        VECTOR other = __builtin_convertvector(*(const NARROW *)(baseline + j), VECTOR);
        VECTOR difference = *(const VECTOR *)(exact + j) - other;
        sum += difference * difference;
    }
    for (int64_t j = whole; j < count; j++) {
        rest += (exact[j] - (REAL)baseline[j]) * (exact[j] - (REAL)baseline[j]);
    }
    return KERNEL(total)(sum) + rest;
}
#endif

#undef REAL
#undef BITS
#undef SIGNED
#undef VECTOR
#undef VECTOR_BITS
#undef VECTOR_SIGNED
#undef LANES
#undef KERNEL
#undef SINGLE
