/*
 * The inner loops of reference.c, in one precision for one instruction set. No include guard:
 * reference.c includes this once for each pair, having defined
 *
 *     KERNEL(name)      the name of a function of this pair
 *     VECTOR_BYTES      16, 32 or 64
 *     SINGLE            1: the loops compute in float, as a kernel would; 0: in double
 *
 * Buffers are aligned to ROW_ALIGN bytes. Loads and stores go through vectors of the compiler's own
 * kind, so the same text serves SSE2, AVX2, AVX-512 and others.
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

#if SINGLE
/* Finite values only, which is all that inputs hold. */
static inline __attribute__((always_inline)) VECTOR KERNEL(inputs)(const uint16_t *row, bool bf16)
{
    typedef uint16_t HALVES __attribute__((vector_size(VECTOR_BYTES / 2), may_alias, aligned(2)));
    VECTOR_BITS bits = __builtin_convertvector(*(const HALVES *)row, VECTOR_BITS);

    /* The exponent's bias differs by 112; multiplying puts subnormals right too. */
    if (bf16) {
        return (VECTOR)(bits << 16);
    }
    return (VECTOR)((bits & 0x8000) << 16 | (bits & 0x7fff) << 13) * 0x1p112f;
}

/* A row of inputs in both precisions; `count` is a multiple of COLUMN_STEP, here and below. */
static void KERNEL(widen)(const uint16_t *row, int64_t count, bool bf16, float *narrow,
                          double *wide)
{
    typedef float HALF_ROW __attribute__((vector_size(VECTOR_BYTES / 2), may_alias));
    typedef double DOUBLES __attribute__((vector_size(VECTOR_BYTES), may_alias));

    for (int64_t c = 0; c < count; c += LANES) {
        *(VECTOR *)(narrow + c) = KERNEL(inputs)(row + c, bf16);
        for (int64_t i = 0; i < LANES; i += LANES / 2) {
            *(DOUBLES *)(wide + c + i) =
                __builtin_convertvector(*(const HALF_ROW *)(narrow + c + i), DOUBLES);
        }
    }
}

/* The sum of a row's squares. */
static REAL KERNEL(squares)(const uint16_t *row, int64_t count, bool bf16)
{
    VECTOR squares = {0};
    REAL sum = 0;

    for (int64_t c = 0; c < count; c += LANES) {
        VECTOR x = KERNEL(inputs)(row + c, bf16);
        squares += x * x;
    }
    for (int64_t i = 0; i < LANES; i++) {
        sum += squares[i];
    }
    return sum;
}
#endif

/*
 * Rows of queries are lanes: a panel is an array of vectors of PANEL rows. c[m] = sum over k of
 * a[k]·b(m, k), for T vectors of c and V·LANES rows at a time, each k's vectors of `a` loaded once
 * for all of them; b's numbers are the same for every row. rounded: sums are rounded to FP16 after
 * every 16 of k. add: to what is there, unrounded.
 */
static inline __attribute__((always_inline)) void
KERNEL(block)(const int V, const int T, const REAL *a, const REAL *b, int64_t m_stride,
              int64_t k_stride, int64_t k_count, bool rounded, bool add, REAL *c)
{
    VECTOR sums[8][4] = {0};

    (void)rounded;
    for (int64_t start = 0; start < k_count; start += HALF_STEP) {
        int64_t end = start + HALF_STEP < k_count ? start + HALF_STEP : k_count;
        for (int64_t k = start; k < end; k++) {
            VECTOR rows[4];
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) {
                rows[v] = *(const VECTOR *)(a + k * PANEL + v * LANES);
            }
#pragma GCC unroll 8
            for (int t = 0; t < T; t++) {
                REAL one = b[t * m_stride + k * k_stride];
#pragma GCC unroll 4
                for (int v = 0; v < V; v++) {
                    sums[t][v] += rows[v] * one;
                }
            }
        }
#if SINGLE
        if (rounded) {
#pragma GCC unroll 8
            for (int t = 0; t < T; t++) {
#pragma GCC unroll 4
                for (int v = 0; v < V; v++) {
                    sums[t][v] = KERNEL(round_f16)(sums[t][v]);
                }
            }
        }
#endif
    }
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) {
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) {
            VECTOR *to = (VECTOR *)(c + t * PANEL + v * LANES);
            if (add) {
                sums[t][v] += *to;
            }
            *to = sums[t][v];
        }
    }
}

/* As many rows at once as there are registers for; of few rows, more of c instead. */
static inline __attribute__((always_inline)) void
KERNEL(multiply)(const REAL *a, int64_t rows, const REAL *b, int64_t m_stride, int64_t k_stride,
                 int64_t m_count, int64_t k_count, bool rounded, bool add, REAL *c)
{
    enum { WIDE = VECTOR_BYTES == 64 && !SINGLE ? 4 : 2, DEEP = VECTOR_BYTES == 64 ? 8 : 4 };
    int64_t vectors = (rows + LANES - 1) / LANES, v = 0;

    for (; WIDE == 4 && v + 4 <= vectors; v += 4) {
        for (int64_t m = 0; m < m_count; m += 4) {
            KERNEL(block)
            (4, 4, a + v * LANES, b + m * m_stride, m_stride, k_stride, k_count, rounded, add,
             c + m * PANEL + v * LANES);
        }
    }
    for (; v + 2 <= vectors; v += 2) {
        for (int64_t m = 0; m < m_count; m += DEEP) {
            KERNEL(block)
            (2, DEEP, a + v * LANES, b + m * m_stride, m_stride, k_stride, k_count, rounded, add,
             c + m * PANEL + v * LANES);
        }
    }
    for (; v < vectors; v++) {
        for (int64_t m = 0; m < m_count; m += 8) {
            KERNEL(block)
            (1, 8, a + v * LANES, b + m * m_stride, m_stride, k_stride, k_count, rounded, add,
             c + m * PANEL + v * LANES);
        }
    }
}

/* scores[j] = q·k[j] for a tile's keys; up to seven more are written, of what lies behind them. */
static void KERNEL(scores)(const REAL *q, int64_t rows, const REAL *k, int64_t k_stride,
                           int64_t count, int64_t columns, bool rounded, REAL *scores)
{
    KERNEL(multiply)(q, rows, k, k_stride, 1, count, columns, rounded, false, scores);
}

/* out[c] += sum over the tile's keys j of p[j]·v[j][c]; FP16 sums are those of a tile. */
static void KERNEL(weigh)(const REAL *p, int64_t rows, const REAL *v, int64_t v_stride,
                          int64_t count, int64_t columns, bool rounded, REAL *out)
{
    KERNEL(multiply)(p, rows, v, 1, v_stride, columns, count, rounded, true, out);
}

/*
 * Turns a panel of unscaled scores into weights e^(scale·(s - max)), in place; seen[r]: how many of
 * the `count` keys row r sees. max holds each row's unscaled maximum; sum becomes the weights' sum.
 * In single precision the weights, not the sum, are rounded to the type. In double precision the
 * sums of struct spread are taken as well.
 */
#if SINGLE
static void KERNEL(softmax)(REAL *scores, int64_t rows, int64_t count, REAL scale, bool bf16,
                            const REAL *seen, const REAL *max, REAL *sums)
{
    for (int64_t r = 0; r < rows; r += LANES) {
        VECTOR sum = {0}, top = *(const VECTOR *)(max + r), end = *(const VECTOR *)(seen + r);
        for (int64_t j = 0; j < count; j++) {
            VECTOR *at = (VECTOR *)(scores + j * PANEL + r);
            VECTOR_SIGNED visible = (VECTOR_SIGNED)(end > (REAL)j);
            VECTOR p = KERNEL(exp)((*at - top) * scale);
            p = (VECTOR)((VECTOR_SIGNED)p & visible);
            sum += p;
            *at = bf16 ? KERNEL(round_bf16)(p) : KERNEL(round_f16)(p);
        }
        *(VECTOR *)(sums + r) = sum;
    }
}

/* Outputs from their weighted sums: divided by the weights' sum, rounded to the type. */
static void KERNEL(finish)(REAL *out, int64_t rows, int64_t columns, const REAL *sums, bool bf16)
{
    for (int64_t r = 0; r < rows; r += LANES) {
        for (int64_t c = 0; c < columns; c++) {
            VECTOR *at = (VECTOR *)(out + c * PANEL + r);
            VECTOR x = *at / *(const VECTOR *)(sums + r);
            *at = bf16 ? KERNEL(round_bf16)(x) : KERNEL(round_f16)(x);
        }
    }
}
#else
static void KERNEL(softmax)(REAL *scores, int64_t rows, int64_t count, REAL scale,
                            const REAL *v_squares, const REAL *seen, const REAL *max,
                            struct spread *spread)
{
    for (int64_t r = 0; r < rows; r += LANES) {
        VECTOR sum = {0}, p2 = {0}, p2v = {0}, p3v = {0}, top = *(const VECTOR *)(max + r);
        VECTOR end = *(const VECTOR *)(seen + r);
        for (int64_t j = 0; j < count; j++) {
            VECTOR *at = (VECTOR *)(scores + j * PANEL + r);
            VECTOR_SIGNED visible = (VECTOR_SIGNED)(end > (REAL)j);
            VECTOR p = KERNEL(exp)((*at - top) * scale);
            p = (VECTOR)((VECTOR_SIGNED)p & visible);
            VECTOR square = p * p, weighed = square * v_squares[j];
            sum += p;
            p2 += square;
            p2v += weighed;
            p3v += weighed * p;
            *at = p;
        }
        *(VECTOR *)(spread->p + r) = sum;
        *(VECTOR *)(spread->p2 + r) = p2;
        *(VECTOR *)(spread->p2a + r) = p2v;
        *(VECTOR *)(spread->p3a + r) = p3v;
    }
}

/*
 * Of the scores that each row sees: the largest exact one and the baseline's largest (both `none`,
 * a very small number, where it sees none), and the sum of (exact - baseline)².
 */
static void KERNEL(survey)(const REAL *exact, const float *baseline, int64_t rows, int64_t count,
                           const REAL *seen, float none, REAL *max, float *max32, REAL *square)
{
    typedef float NARROW __attribute__((vector_size(VECTOR_BYTES / 2), may_alias));

    for (int64_t r = 0; r < rows; r += LANES) {
        VECTOR top = (VECTOR){0} + (REAL)none, top32 = top, sum = {0};
        VECTOR end = *(const VECTOR *)(seen + r);
        for (int64_t j = 0; j < count; j++) {
            VECTOR_SIGNED visible = (VECTOR_SIGNED)(end > (REAL)j);
            VECTOR one = *(const VECTOR *)(exact + j * PANEL + r);
            VECTOR other =
                __builtin_convertvector(*(const NARROW *)(baseline + j * PANEL + r), VECTOR);
            VECTOR difference = (VECTOR)((VECTOR_SIGNED)(one - other) & visible);
            sum += difference * difference;
            top = KERNEL(choose)((VECTOR_SIGNED)(one > top) & visible, one, top);
            top32 = KERNEL(choose)((VECTOR_SIGNED)(other > top32) & visible, other, top32);
        }
        *(VECTOR *)(max + r) = top;
        *(NARROW *)(max32 + r) = __builtin_convertvector(top32, NARROW);
        *(VECTOR *)(square + r) = sum;
    }
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
