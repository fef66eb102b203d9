#include "fitness/inputs.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#include "fitness/pool.h"

/*
 * How a number is drawn. Element e of row r of a tensor takes 16 bits of mix64(key, r, e/4). One
 * bit is the sign, 15 choose one of 32768 equally probable slices of the half normal distribution,
 * whose middle, rounded to the type, is the value: one multiplication chain and one table look-up
 * for four values, and nothing but integer operations, so the bits are the same everywhere. The
 * table itself is made with + - * / and sqrt alone, which IEEE 754 fixes to the last bit.
 */
enum { QUANTILES = INPUT_QUANTILES, ROWS_PER_TASK = 256 };

struct format {
    int mantissa, exponent_min, exponent_max; /* stored bits; of normal numbers */
};

static const struct format formats[] = {
    [DTYPE_F16] = {10, -14, 15},
    [DTYPE_BF16] = {7, -126, 127},
};

const char *const input_family_names[INPUT_FAMILIES] = {
    [INPUT_NORMAL] = "normal",     [INPUT_ONE_HOT] = "one_hot", [INPUT_MIXED] = "mixed",
    [INPUT_NEEDLE] = "needle",     [INPUT_OFFSET] = "offset",   [INPUT_CODE] = "code",
    [INPUT_INTEGERS] = "integers", [INPUT_LONE] = "lone",
};

static double double_from_bits(uint64_t bits)
{
    double value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* What is no normal number: zero and what is below, infinities and what is none. */
static double double_from_odd(enum dtype dtype, uint16_t bits)
{
    const struct format *f = &formats[dtype];
    uint64_t sign = (uint64_t)(bits >> 15) << 63;
    uint64_t mantissa = bits & ((1u << f->mantissa) - 1);

    if ((bits & 0x7fff) >> f->mantissa == 0) {
        double size = ldexp((double)mantissa, f->exponent_min - f->mantissa);
        return sign ? -size : size;
    }
    return double_from_bits(sign | 0x7ff0000000000000u | mantissa << (52 - f->mantissa));
}

/* The two conversions as the loops of this file have them; most numbers are normal. */
static inline double to_double(enum dtype dtype, uint16_t bits)
{
    const struct format *f = &formats[dtype];
    uint32_t size = bits & 0x7fff, least = 1u << f->mantissa;

    if (size - least >= (uint32_t)(f->exponent_max - f->exponent_min + 1) << f->mantissa) {
        return double_from_odd(dtype, bits);
    }
    return double_from_bits(
        (uint64_t)(bits >> 15) << 63 |
        (((uint64_t)size << (52 - f->mantissa)) + ((uint64_t)(f->exponent_min - 1 + 1023) << 52)));
}

double half_to_double(enum dtype dtype, uint16_t bits) { return to_double(dtype, bits); }

/* Any value; what is below the normal range, or no number, comes here. */
static uint16_t half_from_any(enum dtype dtype, double value)
{
    const struct format *f = &formats[dtype];
    uint32_t infinity = (uint32_t)(f->exponent_max - f->exponent_min + 2) << f->mantissa;
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    uint32_t sign = (uint32_t)(bits >> 63) << 15;
    int exponent = (int)(bits >> 52 & 0x7ff) - 1023;
    uint64_t mantissa = (bits & 0xfffffffffffffu) | 0x10000000000000u;
    if (exponent == 1024) {
        uint32_t quiet = value != value ? 1u << (f->mantissa - 1) : 0;
        return (uint16_t)(sign | infinity | quiet);
    }
    if (exponent > f->exponent_max) {
        return (uint16_t)(sign | infinity);
    }
    /* Below the normal range the last bit keeps its weight: shift further, drop the exponent. */
    int below = exponent < f->exponent_min ? f->exponent_min - exponent : 0;
    int shift = 52 - f->mantissa + below;
    if (shift > 54) {
        return (uint16_t)sign;
    }
    uint64_t kept = mantissa >> shift;
    uint64_t rest = mantissa & (((uint64_t)1 << shift) - 1);
    uint64_t half = (uint64_t)1 << (shift - 1);
    kept += rest > half || (rest == half && (kept & 1));
    /* kept holds the leading one, which adds one to the exponent field of a normal number. */
    uint32_t field = below ? 0 : (uint32_t)(exponent - f->exponent_min) << f->mantissa;
    uint32_t size = field + (uint32_t)kept;
    return (uint16_t)(sign | (size < infinity ? size : infinity));
}

static inline uint16_t from_double(enum dtype dtype, double value)
{
    const struct format *f = &formats[dtype];
    int shift = 52 - f->mantissa;
    uint64_t bits, size, least = (uint64_t)(f->exponent_min + 1023) << 52;

    memcpy(&bits, &value, sizeof(bits));
    size = bits & 0x7fffffffffffffffu;
    if (size - least >= (uint64_t)(f->exponent_max - f->exponent_min + 1) << 52) {
        return half_from_any(dtype, value);
    }
    /* Half of the last bit kept, less one if that bit is even; a carry goes on into the exponent,
       and from the largest number to infinity. */
    size += ((uint64_t)1 << (shift - 1)) - 1 + (size >> shift & 1);
    return (uint16_t)((bits >> 63 << 15) | (((size - least) >> shift) + (1u << f->mantissa)));
}

uint16_t half_from_double(enum dtype dtype, double value) { return from_double(dtype, value); }

/* Probability that a unit normal lies in [0, x]: its power series, which is exact enough to 5. */
static double normal_half_cdf(double x)
{
    double term = x, sum = x;

    for (int n = 1; n < 120 && (term > 1e-20 || term < -1e-20); n++) {
        term *= -x * x / (2 * n);
        sum += term / (2 * n + 1);
    }
    return sum / sqrt(2 * 3.14159265358979323846);
}

static uint16_t quantile_tables[2][QUANTILES];

/* Walks the type's values upwards; each quantile takes the nearest one by where the midpoint lies.
 */
static void make_table(enum dtype dtype)
{
    uint16_t bits = 0;
    double below = 0; /* probability up to the midpoint of bits and bits + 1 */

    for (int i = 0; i < QUANTILES; i++) {
        double wanted = (i + 0.5) / (2.0 * QUANTILES);
        while (below < wanted) {
            double middle =
                (half_to_double(dtype, bits) + half_to_double(dtype, (uint16_t)(bits + 1))) / 2;
            below = normal_half_cdf(middle);
            if (below < wanted) {
                bits++;
            }
        }
        quantile_tables[dtype][i] = bits;
    }
}

static uint64_t mix64(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

uint64_t inputs_mix(uint64_t x) { return mix64(x); }

enum tensor { TENSOR_Q, TENSOR_K, TENSOR_V, TENSORS };

struct drawing {
    const struct problem *problem;
    const struct family *family;
    enum tensor tensor;      /* that is drawn */
    uint64_t keys[TENSORS];  /* of the normal numbers */
    uint64_t dials[TENSORS]; /* of scales, positions and the like */
    uint16_t *out[TENSORS];
};

struct place {
    int64_t batch, head, row; /* head counts the tensor's own heads */
};

/* A family changes each row of unit normals after it was drawn. NULL: not at all. */
struct family {
    void (*change[TENSORS])(const struct drawing *drawing, struct place at, uint16_t *row);
};

static uint64_t dial(const struct drawing *d, enum tensor tensor, uint64_t a, uint64_t b)
{
    return mix64(mix64(d->dials[tensor] ^ mix64(a)) + b);
}

static int64_t tensor_heads(const struct problem *p, enum tensor tensor)
{
    return tensor == TENSOR_Q ? p->heads : p->kv_heads;
}

static int64_t tensor_length(const struct problem *p, enum tensor tensor)
{
    return tensor == TENSOR_Q ? p->q_len : p->kv_len;
}

static int64_t row_in_memory(const struct problem *p, enum tensor tensor, struct place at)
{
    int64_t heads = tensor_heads(p, tensor), length = tensor_length(p, tensor);

    return p->sequence_first ? (at.batch * length + at.row) * heads + at.head
                             : (at.batch * heads + at.head) * length + at.row;
}

static struct place place_of(const struct problem *p, enum tensor tensor, int64_t row)
{
    int64_t heads = tensor_heads(p, tensor), length = tensor_length(p, tensor);

    if (p->sequence_first) {
        return (struct place){row / heads / length, row % heads, row / heads % length};
    }
    return (struct place){row / length / heads, row / length % heads, row % length};
}

static void draw_normal(const struct drawing *d, enum tensor tensor, int64_t row, uint16_t *out)
{
    const uint16_t *table = quantile_tables[d->problem->dtype];
    int64_t columns = d->problem->head_dim;
    uint64_t key = d->keys[tensor] + (uint64_t)row * (uint64_t)((columns + 3) / 4);

    for (int64_t c = 0; c < columns; c += 4) {
        uint64_t word = mix64(key++);
        uint16_t four[4] = {table[word & 0x7fff], table[word >> 16 & 0x7fff],
                            table[word >> 32 & 0x7fff], table[word >> 48 & 0x7fff]};
        for (int k = 0; k < 4; k++) {
            four[k] |= (uint16_t)(word >> 16 * k & 0x8000);
        }
        memcpy(out + c, four, (size_t)(columns - c < 4 ? columns - c : 4) * sizeof *four);
    }
}

/*
 * Times 2^power: exact, save where the result leaves the normal range. Of a row that begins and
 * ends in that range, as nearly all do, only exponents change.
 */
static void scale_row(const struct problem *p, uint16_t *row, int power)
{
    const struct format *f = &formats[p->dtype];
    int top = f->exponent_max - f->exponent_min + 1;
    uint16_t least = (uint16_t)((power < 0 ? 1 - power : 1) << f->mantissa);
    uint16_t most = (uint16_t)(((power > 0 ? top - power : top) + 1) * (1 << f->mantissa) - 1);
    uint16_t step = (uint16_t)(power * (1 << f->mantissa)), odd = 0;

    for (int64_t c = 0; c < p->head_dim; c++) {
        uint16_t size = row[c] & 0x7fff;
        odd |= (uint16_t)((size < least) | (size > most));
    }
    for (int64_t c = 0; c < p->head_dim && !odd; c++) {
        row[c] = (uint16_t)(row[c] + step);
    }
    for (int64_t c = 0; c < p->head_dim && odd; c++) {
        int field = (row[c] & 0x7fff) >> f->mantissa;
        if (field > 0 && field + power > 0 && field + power <= top) {
            row[c] = (uint16_t)(row[c] + power * (1 << f->mantissa));
        } else {
            row[c] = half_from_double(p->dtype, ldexp(half_to_double(p->dtype, row[c]), power));
        }
    }
}

/* one_hot: each head's Q is 8, 16 or 32 times as large, so scores have a deviation of that. */
static void one_hot_q(const struct drawing *d, struct place at, uint16_t *row)
{
    uint64_t r = dial(d, TENSOR_Q, (uint64_t)at.batch, (uint64_t)at.head);

    scale_row(d->problem, row, 3 + (int)(r % 3));
}

/*
 * mixed: a power of two of its own for each head and each row, in each tensor; and one row of
 * sixteen is zero. A query of zeros weighs all its keys alike, which is not the same as nothing.
 */
static void mixed(const struct drawing *d, enum tensor tensor, struct place at, uint16_t *row,
                  int row_low, int row_count)
{
    uint64_t head = dial(d, tensor, (uint64_t)at.batch, (uint64_t)at.head);
    uint64_t own = mix64(head + (uint64_t)at.row);

    if (own >> 60 == 0) {
        memset(row, 0, (size_t)d->problem->head_dim * sizeof *row);
        return;
    }
    scale_row(d->problem, row, (int)(head % 3) - 1 + row_low + (int)(own % (uint64_t)row_count));
}

static void mixed_q(const struct drawing *d, struct place at, uint16_t *row)
{
    mixed(d, TENSOR_Q, at, row, -2, 5);
}

static void mixed_k(const struct drawing *d, struct place at, uint16_t *row)
{
    mixed(d, TENSOR_K, at, row, -2, 3);
}

static void mixed_v(const struct drawing *d, struct place at, uint16_t *row)
{
    mixed(d, TENSOR_V, at, row, -3, 7);
}

/*
 * needle: every query row points at one key, so strongly that its output is that key's V. The keys
 * pointed at are the first and the last two that the row may see, and, spread over the rows, all
 * that touch a multiple of 8: the two keys at each edge of every tile size that is a multiple of 8,
 * and the one behind. V is four times as large there. Q is a multiple of that K plus its own draw.
 */
static int64_t visible_keys(const struct problem *p, int64_t query)
{
    int64_t last = p->causal ? query + p->kv_len - p->q_len : p->kv_len - 1;

    return last < 0 ? 0 : last + 1;
}

static bool is_needle(const struct problem *p, int64_t key)
{
    return key % 8 <= 1 || key % 8 == 7 || key == p->kv_len - 1;
}

static int64_t needle_of(const struct drawing *d, struct place at)
{
    int64_t seen = visible_keys(d->problem, at.row);
    uint64_t head = dial(d, TENSOR_Q, (uint64_t)at.batch, (uint64_t)at.head);

    switch (mix64(head ^ (uint64_t)at.row) % 16) {
    case 0: return 0;
    case 1: return seen - 1;
    case 2: return seen > 1 ? seen - 2 : 0;
    }
    /* Needles 0 1 7 8 9 15 16 17 …: the nth is 8·((n+1)/3) + (n+1)%3 - 1. */
    int64_t count = seen / 8 * 3 + (seen % 8 == 0 ? 0 : seen % 8 == 1 ? 1 : 2);
    /* Steps of the golden ratio: any run of rows spreads evenly over however many needles there
     * are. */
    uint32_t turn = (uint32_t)head + (uint32_t)at.row * 2654435769u;
    int64_t n = (int64_t)((uint64_t)turn * (uint64_t)count >> 32);
    return (n + 1) / 3 * 8 + (n + 1) % 3 - 1;
}

/* The two conversions without a branch, for loops over rows that the compiler makes vectors of. */
static inline float to_float(bool bf16, uint16_t bits)
{
    uint32_t shifted = bf16 ? (uint32_t)bits << 16
                            : (uint32_t)(bits & 0x8000) << 16 | (uint32_t)(bits & 0x7fff) << 13;
    float value;

    memcpy(&value, &shifted, sizeof value);
    return bf16 ? value : value * 0x1p112f; /* the exponent's bias; puts subnormals right too */
}

/* To nearest even; of a finite number that F16 can hold. */
static inline uint16_t from_float(bool bf16, float value)
{
    uint32_t bits, low, size, sign;
    float small;

    memcpy(&bits, &value, sizeof bits);
    sign = bits >> 16 & 0x8000;
    size = bits & 0x7fffffff;
    if (bf16) {
        return (uint16_t)(sign | (size + 0x7fff + (size >> 16 & 1)) >> 16);
    }
    /* Below 2^-14 the step is 2^-24, that of a float at 0.5. */
    memcpy(&small, &size, sizeof small);
    small += 0.5f;
    memcpy(&low, &small, sizeof low);
    low -= 0x3f000000;
    size = ((size + 0xfff + (size >> 13 & 1)) >> 13) - (112 << 10);
    return (uint16_t)(sign | (size - 0x400 > 0x7fff ? low : size));
}

static void add_rows(bool bf16, int64_t columns, float pull, const uint16_t *key, uint16_t *row)
{
    for (int64_t c = 0; c < columns; c++) {
        row[c] = from_float(bf16, pull * to_float(bf16, key[c]) + to_float(bf16, row[c]));
    }
}

/* Adds `pull` times the K of the row's needle to its Q. */
static void point_q(const struct drawing *d, struct place at, double pull, uint16_t *row)
{
    const struct problem *p = d->problem;
    uint16_t key_row[PROBLEM_HEAD_DIM_MAX];

    if (visible_keys(p, at.row) == 0) {
        return;
    }
    struct place key = {at.batch, at.head / (p->heads / p->kv_heads), needle_of(d, at)};
    draw_normal(d, TENSOR_K, row_in_memory(p, TENSOR_K, key), key_row);
    if (p->dtype == DTYPE_BF16) { /* a loop for each, without a branch inside */
        add_rows(true, p->head_dim, (float)pull, key_row, row);
    } else {
        add_rows(false, p->head_dim, (float)pull, key_row, row);
    }
}

/* A score near 24; the others' deviation is 3. */
static void needle_q(const struct drawing *d, struct place at, uint16_t *row)
{
    point_q(d, at, 24 / sqrt((double)d->problem->head_dim), row);
}

static void needle_v(const struct drawing *d, struct place at, uint16_t *row)
{
    if (is_needle(d->problem, at.row)) {
        scale_row(d->problem, row, 2);
    }
}

/*
 * offset: four columns of K hold the same number in every row, and Q's hold ±16 there, so that all
 * scores of a row share an offset of ±160: e^160 overflows FP32, and e^-160 is zero in it.
 */
static void offset_columns(const struct drawing *d, struct place at, uint16_t *row, double value)
{
    int64_t columns = d->problem->head_dim, step = columns >= 4 ? columns / 4 : 1;
    uint64_t first = dial(d, TENSOR_K, (uint64_t)at.batch, 0);

    for (int64_t c = 0; c < 4 && c < columns; c++) {
        row[(first % (uint64_t)columns + (uint64_t)(c * step)) % (uint64_t)columns] =
            half_from_double(d->problem->dtype, value);
    }
}

static void offset_q(const struct drawing *d, struct place at, uint16_t *row)
{
    uint64_t head = dial(d, TENSOR_Q, (uint64_t)at.batch, (uint64_t)at.head);

    offset_columns(d, at, row, mix64(head + (uint64_t)at.row) & 1 ? 16.0 : -16.0);
}

static void offset_k(const struct drawing *d, struct place at, uint16_t *row)
{
    offset_columns(d, at, row, 2.5 * sqrt((double)d->problem->head_dim));
}

/*
 * code: V is the product of a number that only its column has and a sign that its key has. So the
 * columns of an output row are that code, all by the same factor: a column moved, left out or
 * scaled by itself is seen, whatever the weights.
 */
enum { CODES = 512, CODES_PER_OCTAVE = 128 }; /* as many as BF16 can tell apart */

_Static_assert((int)CODES >= (int)PROBLEM_HEAD_DIM_MAX, "each column has a number of its own");

static uint16_t code_tables[2][CODES];

static void make_codes(enum dtype dtype)
{
    for (int code = 0; code < CODES; code++) {
        double value = 1 + (double)(code % CODES_PER_OCTAVE) / CODES_PER_OCTAVE;
        code_tables[dtype][code] =
            half_from_double(dtype, ldexp(value, code / CODES_PER_OCTAVE - 2));
    }
}

static void code_v(const struct drawing *d, struct place at, uint16_t *row)
{
    uint64_t head = dial(d, TENSOR_V, (uint64_t)at.batch, (uint64_t)at.head);
    uint16_t sign = mix64(head + (uint64_t)at.row) % 4 == 0 ? 0x8000 : 0;

    for (int64_t c = 0; c < d->problem->head_dim; c++) {
        row[c] = code_tables[d->problem->dtype][(head + (uint64_t)c) % CODES] ^ sign;
    }
}

/*
 * integers: K is -1, 0 or 1, V a small integer, and Q is zero but for one to four columns, whose
 * size makes scores differ by 160 at least: e^-160 is nothing, so the keys of the highest score
 * share the weight evenly. Scores, weights and their sums are exact then, in whatever order.
 */
enum { INTEGERS_MAX = 8 };

static void integers_q(const struct drawing *d, struct place at, uint16_t *row)
{
    const struct problem *p = d->problem;
    uint64_t own =
        mix64(dial(d, TENSOR_Q, (uint64_t)at.batch, (uint64_t)at.head) ^ (uint64_t)at.row);
    double size = exp2(ceil(log2(160 * sqrt((double)p->head_dim))));
    int columns = 1 + (int)(own % 4);

    memset(row, 0, (size_t)p->head_dim * sizeof(*row));
    for (int i = 0; i < columns; i++) {
        own = mix64(own);
        row[own % (uint64_t)p->head_dim] = half_from_double(p->dtype, own >> 63 ? size : -size);
    }
}

static void integers_below(const struct drawing *d, enum tensor tensor, struct place at,
                           uint16_t *row, int most)
{
    uint64_t own = mix64(dial(d, tensor, (uint64_t)at.batch, (uint64_t)at.head) ^ (uint64_t)at.row);
    uint32_t count = (uint32_t)(2 * most + 1);
    uint16_t values[2 * INTEGERS_MAX + 1];

    for (uint32_t i = 0; i < count; i++) {
        values[i] = half_from_double(d->problem->dtype, (double)i - most);
    }
    for (int64_t c = 0; c < d->problem->head_dim; c += 4) {
        uint64_t word = mix64(own++);
        for (int64_t k = c; k < c + 4 && k < d->problem->head_dim; k++, word >>= 16) {
            row[k] = values[(word & 0xffff) * count >> 16];
        }
    }
}

static void integers_k(const struct drawing *d, struct place at, uint16_t *row)
{
    integers_below(d, TENSOR_K, at, row, 1);
}

static void integers_v(const struct drawing *d, struct place at, uint16_t *row)
{
    integers_below(d, TENSOR_V, at, row, INTEGERS_MAX);
}

/*
 * lone: a row points at one key, as a needle's does, but so strongly that nothing is left for the
 * others: what a row gets that a causal mask leaves a single key. In half the heads that one score
 * is far below zero as well, where a maximum that began at 0, or at some -1e2, would lose it.
 */
static void lone_q(const struct drawing *d, struct place at, uint16_t *row)
{
    uint64_t head = dial(d, TENSOR_Q, (uint64_t)at.batch, (uint64_t)at.head);

    point_q(d, at, 256 / sqrt((double)d->problem->head_dim), row);
    offset_columns(d, at, row, mix64(head) & 1 ? -64.0 : 0.0);
}

static void make_tables(void)
{
    make_table(DTYPE_F16);
    make_table(DTYPE_BF16);
    make_codes(DTYPE_F16);
    make_codes(DTYPE_BF16);
}

static const struct family families[INPUT_FAMILIES] = {
    [INPUT_NORMAL] = {{NULL, NULL, NULL}},
    [INPUT_ONE_HOT] = {{one_hot_q, NULL, NULL}},
    [INPUT_MIXED] = {{mixed_q, mixed_k, mixed_v}},
    [INPUT_NEEDLE] = {{needle_q, NULL, needle_v}},
    [INPUT_OFFSET] = {{offset_q, offset_k, NULL}},
    [INPUT_CODE] = {{NULL, NULL, code_v}},
    [INPUT_INTEGERS] = {{integers_q, integers_k, integers_v}},
    [INPUT_LONE] = {{lone_q, offset_k, NULL}},
};

static int64_t tensor_rows(const struct problem *p, enum tensor tensor)
{
    return p->batch * tensor_heads(p, tensor) * tensor_length(p, tensor);
}

static void draw_rows(void *context, int64_t task)
{
    const struct drawing *d = context;
    const struct problem *p = d->problem;
    int64_t end = (task + 1) * ROWS_PER_TASK, rows = tensor_rows(p, d->tensor);

    for (int64_t r = task * ROWS_PER_TASK; r < end && r < rows; r++) {
        uint16_t *row = d->out[d->tensor] + r * p->head_dim;
        draw_normal(d, d->tensor, r, row);
        if (d->family->change[d->tensor] != NULL) {
            d->family->change[d->tensor](d, place_of(p, d->tensor, r), row);
        }
    }
}

static uint64_t tensor_key(enum input_family family, uint64_t key, int tensor)
{
    return mix64(key ^ mix64((uint64_t)(family * TENSORS + tensor)));
}

static pthread_once_t tables_made = PTHREAD_ONCE_INIT;

void inputs_normal_recipe(const struct problem *problem, uint64_t key, struct normal_recipe *recipe)
{
    pthread_once(&tables_made, make_tables);
    *recipe = (struct normal_recipe){
        .q = mix64(tensor_key(INPUT_NORMAL, key, TENSOR_Q)),
        .k = mix64(tensor_key(INPUT_NORMAL, key, TENSOR_K)),
        .v = mix64(tensor_key(INPUT_NORMAL, key, TENSOR_V)),
        .table = quantile_tables[problem->dtype],
    };
}

void inputs_draw_one(const struct problem *problem, enum input_family family, uint64_t key,
                     int tensor, struct inputs *inputs, int threads)
{
    struct drawing drawing = {.problem = problem,
                              .family = &families[family],
                              .tensor = (enum tensor)tensor,
                              .out = {inputs->q, inputs->k, inputs->v}};

    pthread_once(&tables_made, make_tables);
    for (int t = 0; t < TENSORS; t++) {
        uint64_t own = tensor_key(family, key, t);
        drawing.keys[t] = mix64(own);
        drawing.dials[t] = mix64(own + 1);
    }
    int64_t tasks = (tensor_rows(problem, drawing.tensor) + ROWS_PER_TASK - 1) / ROWS_PER_TASK;
    pool_run(draw_rows, &drawing, tasks, threads);
}

void inputs_draw(const struct problem *problem, enum input_family family, uint64_t key,
                 struct inputs *inputs, int threads)
{
    for (int tensor = TENSOR_Q; tensor < TENSORS; tensor++) {
        inputs_draw_one(problem, family, key, tensor, inputs, threads);
    }
}
