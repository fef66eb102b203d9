/*
 * Arithmetic: the table of alu_ops.h and what it does not say.
 *
 * The loops exist in copies, one for any processor and one for AVX2 with FMA and F16C, and decoding
 * picks the copy once (level). All copies give the same bits: f32 fma is fused in each, the rest is
 * IEEE arithmetic without contraction.
 *
 * Semantics, where PTX leaves a choice or the hardware rounds worse than asked:
 *   - ex2, lg2, sin, cos, tanh .approx and rsqrt are computed in double and rounded once; rcp, sqrt
 * and div .approx and .full are the correctly rounded ones. All are within the documented error.
 *   - NaN results of f32 are 0x7fffffff and of halves 0x7fff, as on the hardware; f64 keeps
 * payloads.
 *   - .ftz takes subnormal operands for zero and turns subnormal results into zero, signs kept.
 *   - directed rounding (.rz .rm .rp) sets the host's rounding mode around the loop.
 */
#include <fenv.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "fitness/emu/core.h"

/* The register file holds all types at once. */
typedef uint16_t u16 __attribute__((may_alias));
typedef uint32_t u32 __attribute__((may_alias));
typedef uint64_t u64 __attribute__((may_alias));
typedef int16_t s16 __attribute__((may_alias));
typedef int32_t s32 __attribute__((may_alias));
typedef int64_t s64 __attribute__((may_alias));
typedef float f32 __attribute__((may_alias));
typedef double f64 __attribute__((may_alias));
typedef uint16_t half __attribute__((may_alias));

#define SIGN64     (UINT64_C(1) << 63)
#define INFINITE64 (UINT64_C(0x7ff) << 52)

#if defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif

#define T(name) (UINT32_C(1) << PTX_##name)
#define T16     (T(U16) | T(S16))
#define T32     (T(U32) | T(S32))
#define T64     (T(U64) | T(S64))

/* ---- one lane: helpers of alu_ops.h ---- */

static inline void *slot_at(struct warp *warp, uint32_t slot)
{
    return __builtin_assume_aligned(warp->registers + slot, 64);
}

static inline uint32_t float_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float bits_float(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint64_t double_bits(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double bits_double(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline int32_t clamp32(int64_t x)
{
    return (int32_t)(x < INT32_MIN ? INT32_MIN : x > INT32_MAX ? INT32_MAX : x);
}

static inline uint64_t high_u64(uint64_t x, uint64_t y)
{
    uint64_t xl = (uint32_t)x, xh = x >> 32, yl = (uint32_t)y, yh = y >> 32;
    uint64_t middle = xh * yl + (xl * yl >> 32), low = (uint32_t)middle + xl * yh;
    return xh * yh + (middle >> 32) + (low >> 32);
}

static inline int64_t high_s64(int64_t x, int64_t y)
{
    uint64_t high = high_u64((uint64_t)x, (uint64_t)y);
    high -= x < 0 ? (uint64_t)y : 0;
    high -= y < 0 ? (uint64_t)x : 0;
    return (int64_t)high;
}

static inline int32_t low24(uint32_t x) { return (int32_t)(x << 8) >> 8; }

static inline uint64_t funnel(uint32_t low, uint32_t high) { return (uint64_t)high << 32 | low; }

static inline uint32_t low_ones(uint32_t count)
{
    return count >= 32 ? UINT32_MAX : (UINT32_C(1) << count) - 1;
}

static inline uint32_t reverse32(uint32_t x)
{
    x = (x >> 1 & 0x55555555) | (x & 0x55555555) << 1;
    x = (x >> 2 & 0x33333333) | (x & 0x33333333) << 2;
    x = (x >> 4 & 0x0f0f0f0f) | (x & 0x0f0f0f0f) << 4;
    return __builtin_bswap32(x);
}

static inline uint32_t highest(uint64_t x)
{
    return x != 0 ? 63 - (uint32_t)__builtin_clzll(x) : UINT32_MAX;
}

static inline uint32_t nth_set(uint32_t mask, uint32_t base, int32_t offset)
{
    int64_t count = offset < 0 ? -(int64_t)offset - 1 : (int64_t)offset - 1;
    if (base > 31) {
        return UINT32_MAX;
    }
    if (offset == 0) {
        return mask >> base & 1 ? base : UINT32_MAX;
    }
    for (int at = (int)base; at >= 0 && at<32; at += offset> 0 ? 1 : -1) {
        if ((mask >> at & 1) && count-- == 0) {
            return (uint32_t)at;
        }
    }
    return UINT32_MAX;
}

/* `width` bits of x from `position` on; x comes with its sign spread when the field is signed. */
static inline uint64_t extract(uint64_t x, uint32_t position, uint32_t length, uint32_t width,
                               bool is_signed)
{
    if (length == 0) {
        return 0;
    }
    if (is_signed) {
        int64_t shifted = (int64_t)x >> (position < 63 ? position : 63);
        return length >= 64
                   ? (uint64_t)shifted
                   : (uint64_t)((int64_t)((uint64_t)shifted << (64 - length)) >> (64 - length));
    }
    uint64_t shifted = position < width ? x >> position : 0;
    return length >= 64 ? shifted : shifted & ((UINT64_C(1) << length) - 1);
}

static inline uint64_t insert(uint64_t x, uint64_t y, uint32_t position, uint32_t length,
                              uint32_t width)
{
    if (length == 0 || position >= width) {
        return y;
    }
    uint64_t mask = (length >= 64 ? UINT64_MAX : (UINT64_C(1) << length) - 1) << position;
    return (y & ~mask) | (x << position & mask);
}

static inline uint32_t permute_byte(uint32_t x, uint32_t y, uint32_t selector, int to)
{
    uint32_t byte = (uint32_t)(funnel(x, y) >> 8 * (selector & 7)) & 0xff;
    uint32_t sign = byte & 0x80 ? 0xff : 0;
    return (selector & 8 ? sign : byte) << to;
}

static inline uint32_t permute_back(uint32_t x, uint32_t y, uint32_t from)
{
    uint32_t result = 0;
    for (uint32_t k = 0; k < 4; k++) {
        result |= permute_byte(x, y, (from - k) & 7, (int)(8 * k));
    }
    return result;
}

static inline uint32_t permute_edge(uint32_t x, uint32_t edge, bool right)
{
    uint32_t result = 0;
    for (uint32_t k = 0; k < 4; k++) {
        uint32_t from = right ? (k < edge ? k : edge) : (k > edge ? k : edge);
        result |= permute_byte(x, 0, from, (int)(8 * k));
    }
    return result;
}

static inline float fabs32(float x) { return bits_float(float_bits(x) & 0x7fffffff); }

/* NaNs have no payload. */
static inline float nan32(float x) { return x == x ? x : bits_float(0x7fffffff); }

static inline float flush32(float x)
{
    return fabs32(x) < FLT_MIN ? bits_float(float_bits(x) & 0x80000000) : x;
}

static inline double flush64(double x)
{
    return fabs(x) < DBL_MIN ? bits_double(double_bits(x) & SIGN64) : x;
}

/* The other operand where one is NaN; -0 is below +0. */
static inline float smaller(float x, float y)
{
    float equal = bits_float(float_bits(x) | float_bits(y));
    return x < y ? x : y < x ? y : x == y ? equal : x == x ? x : y;
}

static inline float larger(float x, float y)
{
    float equal = bits_float(float_bits(x) & float_bits(y));
    return x > y ? x : y > x ? y : x == y ? equal : x == x ? x : y;
}

static inline double smaller64(double x, double y)
{
    double equal = bits_double(double_bits(x) | double_bits(y));
    return x < y ? x : y < x ? y : x == y ? equal : x == x ? x : y;
}

static inline double larger64(double x, double y)
{
    double equal = bits_double(double_bits(x) & double_bits(y));
    return x > y ? x : y > x ? y : x == y ? equal : x == x ? x : y;
}

static inline float sign_xor(float magnitude, float x, float y)
{
    return bits_float((float_bits(magnitude) & 0x7fffffff) |
                      ((float_bits(x) ^ float_bits(y)) & 0x80000000));
}

/*
 * 2^x in double: x = n + f with |f| <= 1/2, a polynomial in f (the series of exp(f ln 2); what it
 * leaves out is below 2^-43), and n put into the exponent.
 */
static inline float exponential(float x)
{
    const double magic = 6755399441055744.0; /* 1.5 * 2^52: adding it rounds to an integer */
    double wide = (double)x;
    wide = wide > 140 ? 140 : wide < -170 ? -170 : wide;
    wide = x == x ? wide : 0;
    double shifted = wide + magic, f = wide - (shifted - magic);
    double p = 7.0549116208011233e-9;
    p = p * f + 1.0178086009239699e-7;
    p = p * f + 1.3215486790144309e-6;
    p = p * f + 1.5252733804059840e-5;
    p = p * f + 1.5403530393381609e-4;
    p = p * f + 1.3333558146428443e-3;
    p = p * f + 9.6181291076284772e-3;
    p = p * f + 5.5504108664821580e-2;
    p = p * f + 2.4022650695910071e-1;
    p = p * f + 6.9314718055994531e-1;
    p = p * f + 1;
    p = bits_double(double_bits(p) + (double_bits(shifted) << 52));
    return x == x ? (float)p : x;
}

/*
 * log2(x) in double: x = 2^e m with m in [sqrt(1/2), sqrt(2)), and the series of atanh in
 * (m - 1) / (m + 1), of which |s| < 0.172 needs ten terms.
 */
static inline float logarithm(float x)
{
    const double magic = 4503599627370496.0; /* 2^52: its low bits hold an integer */
    uint64_t bits = double_bits((double)x);
    uint64_t above = bits - UINT64_C(0x3fe6a09e667f3bcd);    /* sqrt(1/2) */
    uint64_t exponent = (above + (UINT64_C(1) << 62)) >> 52; /* e + 1024 */
    double e = bits_double(double_bits(magic) | (exponent & 0xfff)) - (magic + 1024);
    double m = bits_double(bits - ((exponent - 1024) << 52));
    double s = (m - 1) / (m + 1), t = s * s;
    double p = 1.0 / 21;
    p = p * t + 1.0 / 19;
    p = p * t + 1.0 / 17;
    p = p * t + 1.0 / 15;
    p = p * t + 1.0 / 13;
    p = p * t + 1.0 / 11;
    p = p * t + 1.0 / 9;
    p = p * t + 1.0 / 7;
    p = p * t + 1.0 / 5;
    p = p * t + 1.0 / 3;
    p = p * t + 1;
    float result = (float)(e + 2.8853900817779268 * s * p); /* 2 / ln 2 */
    result = x == 0 ? -INFINITY : result;
    result = x == INFINITY ? x : result;
    return x >= 0 ? result : NAN;
}

static inline int32_t float_s32(float x)
{
    float inside = x > -2147483648.0f ? (x < 2147483648.0f ? x : 0) : -2147483648.0f;
    int32_t result = (int32_t)(x == x ? inside : 0);
    return x >= 2147483648.0f ? INT32_MAX : result;
}

/* ---- halves ---- */

static inline float f16_float(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = (uint32_t)(h & 0x7fff) << 13;
    float finite = bits_float(rest) * 0x1p112f; /* subnormals come out right too */
    uint32_t bits = rest >= 0x0f800000 ? rest | 0x7f800000 : float_bits(finite);
    return bits_float(bits | sign);
}

/* To nearest even. */
static inline uint16_t float_f16(float x)
{
    uint32_t bits = float_bits(x), sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
    uint32_t normal = (rest - 0x38000000 + 0xfff + (rest >> 13 & 1)) >> 13;
    /* Adding 1/2 leaves as many bits as a subnormal half has. */
    uint32_t small = float_bits(bits_float(rest) + 0.5f) - 0x3f000000;
    uint32_t h = rest >= 0x38800000 ? normal : small;
    h = rest >= 0x477ff000 ? 0x7c00 : h;
    return (uint16_t)(rest > 0x7f800000 ? 0x7fff : h | sign);
}

static inline float bf16_float(uint16_t h) { return bits_float((uint32_t)h << 16); }

static inline uint16_t float_bf16(float x)
{
    uint32_t bits = float_bits(x);
    uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? 0x7fff : rounded);
}

/*
 * x y + z for halves, rounded to odd in f32: the product of halves is exact there, the sum is cut
 * and its last bit set when anything was lost, so that rounding to a half is as if it were exact.
 */
static inline float fma_odd(float x, float y, float z)
{
    float p = x * y, s = p + z, back = s - p;
    float lost = (p - (s - back)) + (z - back);
    uint32_t bits = float_bits(s);
    bool inexact = lost < 0 || lost > 0;
    bool beyond = inexact && ((float_bits(lost) ^ bits) >> 31);
    bits -= beyond;
    bits |= inexact;
    return bits_float(bits);
}

/* The same of two doubles. */
static inline double sum_odd(double x, double y)
{
    double s = x + y, back = s - x;
    double lost = (x - (s - back)) + (y - back);
    uint64_t bits = double_bits(s);
    bool inexact = lost < 0 || lost > 0;
    bool beyond = inexact && ((double_bits(lost) ^ bits) >> 63);
    bits -= beyond;
    bits |= inexact;
    return bits_double(bits);
}

static inline float odd_float(double x)
{
    float f = (float)x;
    double back = (double)f;
    uint32_t bits = float_bits(f);
    bool inexact = back < x || back > x, beyond = fabs(back) > fabs(x);
    bits -= inexact && beyond;
    bits |= inexact;
    return bits_float(bits);
}

/* ---- what comparisons do with their lanes: src[2] is combined in, dst[1] gets the opposite ----
 */

enum { COMBINE_NONE, COMBINE_AND, COMBINE_OR, COMBINE_XOR };

static inline lanes combine(int how, lanes a, lanes b)
{
    return how == COMBINE_AND ? a & b : how == COMBINE_OR ? a | b : how == COMBINE_XOR ? a ^ b : a;
}

static inline void predicate_keep(struct warp *warp, uint32_t slot, lanes active, lanes value)
{
    if (slot != SLOT_NONE) {
        lanes *p = pred(warp, slot);
        *p = (*p & ~active) | (value & active);
    }
}

static inline enum step compare_end(struct warp *warp, const struct op *op, lanes active,
                                    lanes result)
{
    lanes with = op->mode != COMBINE_NONE ? *pred(warp, op->src[2]) ^ (op->mode2 ? ALL : 0) : 0;
    predicate_keep(warp, op->dst[0], active, combine(op->mode, result, with));
    if (op->dst_count > 1) {
        predicate_keep(warp, op->dst[1], active, combine(op->mode, ~result, with));
    }
    return STEP_NEXT;
}

/* ---- the loops ---- */

#define LN(name)          any_##name
#define HALF_INSTRUCTIONS 0
#include "fitness/emu/alu_lanes.h"
#undef LN
#undef HALF_INSTRUCTIONS

#if defined(__x86_64__)
#define LEVELS 2
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi,bmi2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,bmi,bmi2")
#endif
#define LN(name)          avx2_##name
#define HALF_INSTRUCTIONS 1
#include "fitness/emu/alu_lanes.h"
#undef LN
#undef HALF_INSTRUCTIONS
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#define FUNCTIONS(id)                                                                              \
    {                                                                                              \
        any_##id, avx2_##id                                                                        \
    }
#else
#define LEVELS 1
#define FUNCTIONS(id)                                                                              \
    {                                                                                              \
        any_##id                                                                                   \
    }
#endif

/*
 * EVO_EMU_PLAIN in the environment: as on a processor without AVX2. The bits are the same. (F16C is
 * older than AVX2 and cannot be asked for by every compiler.)
 */
static int level(void)
{
#if defined(__x86_64__)
    return getenv("EVO_EMU_PLAIN") == NULL && __builtin_cpu_supports("avx2") &&
           __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
#else
    return 0;
#endif
}

/* ---- the table ---- */

struct row {
    const char *opcode;
    uint32_t types;
    const char *mods, *kinds;
    enum op_class class;
    op_function *functions[LEVELS];
};

static const struct row rows[] = {
#define LANE1(id, opcode, types, mods, kinds, class, TD, TA, ...)                                  \
    {opcode, types, mods, kinds, class, FUNCTIONS(id)},
#define LANE2(id, opcode, types, mods, kinds, class, TD, TA, TB, ...)                              \
    {opcode, types, mods, kinds, class, FUNCTIONS(id)},
#define LANE3(id, opcode, types, mods, kinds, class, TD, TA, TB, TC, ...)                          \
    {opcode, types, mods, kinds, class, FUNCTIONS(id)},
#define LANE4(id, opcode, types, mods, kinds, class, T, TC, TD, ...)                               \
    {opcode, types, mods, kinds, class, FUNCTIONS(id)},
#define SELECT(id, opcode, types, mods, kinds, class, T)                                           \
    {opcode, types, mods, kinds, class, FUNCTIONS(id)},
#define COMPARE(id, opcode, types, mods, kinds, class, T, ...)                                     \
    {opcode, types, mods, kinds, class, FUNCTIONS(id)},
#define HALF(id, form, types1, types2, opcode, mods, kinds, sources, ...)                          \
    {opcode, types1, mods, kinds, CLASS_HALF, FUNCTIONS(id##_one)},                                \
        {opcode, types2, mods, kinds, CLASS_HALF, FUNCTIONS(id##_two)},
#define SHORT(id, types1, types2, opcode, mods, kinds, class, sources, ...)                        \
    {opcode, types1, mods, kinds, class, FUNCTIONS(id##_one)},                                     \
        {opcode, types2, mods, kinds, class, FUNCTIONS(id##_two)},
#define HALF_COMPARE(id, form, types, mods, ...)                                                   \
    {"setp", types, mods, "pss", CLASS_PREDICATE, FUNCTIONS(id)},
#include "fitness/emu/alu_ops.h"
#undef LANE1
#undef LANE2
#undef LANE3
#undef LANE4
#undef SELECT
#undef COMPARE
#undef HALF
#undef SHORT
#undef HALF_COMPARE
    {"cvt f32", T(F16), "", "is", CLASS_CONVERT, FUNCTIONS(cvt_f32_f16)},
    {"cvt f16", T(F32), "rn", "is", CLASS_CONVERT, FUNCTIONS(cvt_f16_f32)},
    {"cvt f16x2", T(F32), "rn", "iss", CLASS_CONVERT, FUNCTIONS(cvt_f16x2_f32)},
    {"cvt bf16x2", T(F32), "rn", "iss", CLASS_CONVERT, FUNCTIONS(cvt_bf16x2_f32)},
    {"lop3", T(B32), "", "ssss", CLASS_INTEGER, FUNCTIONS(lop3)},
};

enum { PARTS_LEFT_MAX = 8 };

/* Parts of an opcode that are left when those that everybody knows are taken away. */
struct parts {
    const char *left[PARTS_LEFT_MAX];
    int count;
};

static bool mods_match(const char *mods, const struct parts *parts)
{
    int count = 0;
    while (*mods != '\0') {
        size_t length = strcspn(mods, " ");
        if (length > 0) {
            bool found = false;
            for (int i = 0; i < parts->count && !found; i++) {
                found =
                    strncmp(parts->left[i], mods, length) == 0 && parts->left[i][length] == '\0';
            }
            if (!found) {
                return false;
            }
            count++;
        }
        mods += length;
        mods += *mods == ' ';
    }
    return count == parts->count;
}

static const struct row *row_find(const char *opcode, enum ptx_type type, const struct parts *parts)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];
        if (row->opcode[0] == opcode[0] && row->opcode[1] == opcode[1] &&
            (row->types >> type & 1) && strcmp(row->opcode, opcode) == 0 &&
            mods_match(row->mods, parts)) {
            return row;
        }
    }
    return NULL;
}

op_function *alu_find(const char *opcode, enum ptx_type type, const char *mods)
{
    struct parts parts = {0};
    if (mods[0] != '\0') {
        parts.left[parts.count++] = mods;
    }
    const struct row *row = row_find(opcode, type, &parts);
    return row == NULL ? NULL : row->functions[level()];
}

/* ---- directed rounding ---- */

struct rounded {
    op_function *inner;
    int mode;
};

static enum step run_rounded(struct warp *warp, const struct op *op, lanes active)
{
    const struct rounded *rounded = op->extra;
    fesetround(rounded->mode);
    enum step step = rounded->inner(warp, op, active);
    fesetround(FE_TONEAREST);
    return step;
}

/* ---- decoding by the table ---- */

/* What an opcode says beside its name and type. */
struct asked {
    enum ptx_type type, from; /* from: of the part before the last, where there are two types */
    int types;
    int rounding; /* FE_… */
    bool saturate, relu, ftz, approximate;
    int combined; /* setp, set: COMBINE_… */
    struct parts parts;
};

static bool is_half(enum ptx_type type)
{
    return type == PTX_F16 || type == PTX_F16X2 || type == PTX_BF16 || type == PTX_BF16X2;
}

static bool is_float(enum ptx_type type)
{
    return is_half(type) || type == PTX_F32 || type == PTX_F64;
}

static bool part_take(struct asked *asked, const char *part, bool compares)
{
    static const struct {
        const char *name;
        int mode;
    } roundings[] = {
        {"rn", FE_TONEAREST}, {"rz", FE_TOWARDZERO}, {"rm", FE_DOWNWARD}, {"rp", FE_UPWARD}};
    static const char *const combines[] = {"", "and", "or", "xor"};
    for (int i = 0; i < 4; i++) {
        if (is_float(asked->type) && strcmp(part, roundings[i].name) == 0) {
            asked->rounding = roundings[i].mode;
            return true;
        }
        if (compares && i > 0 && strcmp(part, combines[i]) == 0) {
            asked->combined = i;
            return true;
        }
    }
    if (!is_float(asked->type)) {
        return false;
    }
    if (strcmp(part, "approx") == 0 || strcmp(part, "full") == 0) {
        return asked->approximate = true;
    }
    if (strcmp(part, "sat") == 0) {
        return asked->saturate = true;
    }
    if (strcmp(part, "relu") == 0) {
        return asked->relu = true;
    }
    if (strcmp(part, "ftz") == 0) {
        return asked->ftz = true;
    }
    return strcmp(part, "noftz") == 0;
}

/* .lo, .hs and so on are the unsigned comparisons. */
static const char *compare_name(const char *part)
{
    static const char *const names[][2] = {{"lo", "lt"}, {"ls", "le"}, {"hi", "gt"}, {"hs", "ge"}};
    for (int i = 0; i < 4; i++) {
        if (strcmp(part, names[i][0]) == 0) {
            return names[i][1];
        }
    }
    return part;
}

static bool asked_read(const struct ptx_instruction *text, struct asked *asked)
{
    bool compares = strcmp(text->parts[0], "setp") == 0 || strcmp(text->parts[0], "set") == 0;
    enum ptx_type type;
    *asked = (struct asked){.rounding = FE_TONEAREST};
    for (int i = 1; i < text->part_count; i++) {
        if (ptx_type_find(text->parts[i], &type)) {
            asked->from = asked->type;
            asked->type = type;
            asked->types++;
        }
    }
    for (int i = 1; i < text->part_count; i++) {
        if (ptx_type_find(text->parts[i], &type) || part_take(asked, text->parts[i], compares)) {
            continue;
        }
        if (asked->parts.count == PARTS_LEFT_MAX) {
            return false;
        }
        asked->parts.left[asked->parts.count++] =
            compares ? compare_name(text->parts[i]) : text->parts[i];
    }
    return asked->types > 0;
}

static enum ptx_type kind_type(char kind, enum ptx_type type)
{
    static const enum ptx_type wide[] = {[2] = PTX_B32, [4] = PTX_B64, [8] = PTX_B128};
    return kind == 's' ? type : kind == 'w' ? wide[ptx_type_bytes(type)] : PTX_B32;
}

/* The value with subnormals as zero, in a slot of its own. */
static uint32_t flushed(struct decoder *decoder, uint32_t slot, enum ptx_type type)
{
    struct op op = {.run = alu_find("flush", type, ""), .class = CLASS_INTEGER};
    uint32_t made = decode_temporary(decoder, (unsigned)ptx_type_bytes(type));
    op_set_dst(decoder, &op, &made, 1);
    op_set_src(decoder, &op, &slot, 1);
    decode_emit(decoder, &op);
    return made;
}

/* Changes the result in place, behind the op. */
static void followed_by(struct decoder *decoder, const char *opcode, enum ptx_type type,
                        uint32_t slot, enum op_class class)
{
    struct op op = {.run = alu_find(opcode, type, ""), .class = (uint8_t) class};
    if (op.run != NULL && slot != SLOT_NONE) {
        op_set_dst(decoder, &op, &slot, 1);
        op_set_src(decoder, &op, &slot, 1);
        decode_emit_after(decoder, &op);
    }
}

static bool row_operands(struct decoder *decoder, const struct ptx_instruction *text,
                         const struct row *row, const struct asked *asked, bool flush,
                         struct op *op, struct err *err)
{
    uint32_t dst[1], src[5];
    int count = (int)strlen(row->kinds);
    if (text->operand_count != count) {
        return unsupported(text, err, "the number of operands");
    }
    for (int i = 0; i < count; i++) {
        const struct ptx_operand *operand = &text->operands[i];
        uint32_t *slot = i == 0 ? dst : &src[i - 1];
        if (row->kinds[i] == 'p') {
            bool negated;
            *slot = decode_predicate(decoder, operand, &negated);
            op->mode = negated;
            if (*slot == SLOT_NONE) {
                return unsupported(text, err, "a predicate is expected");
            }
        } else if (!decode_slot(decoder, operand, kind_type(row->kinds[i], asked->type), slot,
                                err)) {
            return false;
        }
        if (*slot == SLOT_NONE) {
            return unsupported(text, err, "'_' is not expected");
        }
        if (i == 0 && operand->kind != PTX_OPERAND_REGISTER) {
            return unsupported(text, err, "the destination is not a register");
        }
        if (i > 0 && flush && row->kinds[i] == 's') {
            *slot = flushed(decoder, *slot, asked->type);
        }
    }
    op_set_dst(decoder, op, dst, 1);
    op_set_src(decoder, op, src, count - 1);
    return true;
}

static bool by_table(struct decoder *decoder, const struct ptx_instruction *text,
                     struct asked *asked, struct op *op, struct err *err)
{
    bool flush = asked->ftz && is_half(asked->type);
    if (asked->ftz && !flush) {
        asked->parts.left[asked->parts.count++] = "ftz";
    }
    const struct row *row = row_find(text->parts[0], asked->type, &asked->parts);
    if (row == NULL) {
        return false;
    }
    op->run = row->functions[level()];
    op->class = (uint8_t)row->class;
    if (asked->rounding != FE_TONEAREST && !asked->approximate) {
        struct rounded *rounded = decode_alloc(decoder, sizeof *rounded);
        rounded->inner = op->run;
        rounded->mode = asked->rounding;
        op->run = run_rounded;
        op->extra = rounded;
        if (is_half(asked->type)) {
            return unsupported(text, err, "halves are rounded to nearest only");
        }
    }
    if (!row_operands(decoder, text, row, asked, flush, op, err)) {
        return false;
    }
    if (asked->saturate) {
        followed_by(decoder, "saturate", asked->type, op->dst[0], row->class);
    }
    if (asked->relu) {
        followed_by(decoder, "relu", asked->type, op->dst[0], row->class);
    }
    if (flush) {
        followed_by(decoder, "flush", asked->type, op->dst[0], row->class);
    }
    return true;
}

/* ---- predicates ---- */

enum { LOGIC_MOVE, LOGIC_AND, LOGIC_OR, LOGIC_XOR, LOGIC_NOT, LOGIC_SET };

/* mode: the function; mode2: bits of sources that are negated. */
static enum step run_logic(struct warp *warp, const struct op *op, lanes active)
{
    lanes a = op->src_count > 0 ? *pred(warp, op->src[0]) ^ (op->mode2 & 1 ? ALL : 0) : 0;
    lanes b = op->src_count > 1 ? *pred(warp, op->src[1]) ^ (op->mode2 & 2 ? ALL : 0) : 0;
    lanes result = op->mode == LOGIC_AND   ? a & b
                   : op->mode == LOGIC_OR  ? a | b
                   : op->mode == LOGIC_XOR ? a ^ b
                   : op->mode == LOGIC_NOT ? ~a
                   : op->mode == LOGIC_SET ? (op->immediate ? ALL : 0)
                                           : a;
    predicate_keep(warp, op->dst[0], active, result);
    return STEP_NEXT;
}

static bool decode_logic(struct decoder *decoder, const struct ptx_instruction *text, struct op *op,
                         struct err *err)
{
    static const struct {
        const char *name;
        int mode, sources;
    } all[] = {{"mov", LOGIC_MOVE, 1},
               {"and", LOGIC_AND, 2},
               {"or", LOGIC_OR, 2},
               {"xor", LOGIC_XOR, 2},
               {"not", LOGIC_NOT, 1}};
    uint32_t dst, src[2];
    bool negated;
    int sources = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strcmp(all[i].name, text->parts[0]) == 0 && text->part_count == 2) {
            op->mode = all[i].mode;
            sources = all[i].sources;
        }
    }
    if (sources == 0 || text->operand_count != sources + 1) {
        return unsupported(text, err, "");
    }
    op->run = run_logic;
    op->class = CLASS_PREDICATE;
    dst = decode_predicate(decoder, &text->operands[0], &negated);
    const struct ptx_operand *only = &text->operands[1];
    if (op->mode == LOGIC_MOVE && only->kind != PTX_OPERAND_REGISTER) {
        op->mode = LOGIC_SET;
        sources = 0;
        op->immediate = only->kind == PTX_OPERAND_INTEGER && only->bits != 0;
        if (only->kind == PTX_OPERAND_SPECIAL && strcmp(only->name, "%is_explicit_cluster") == 0) {
            op->mode = LOGIC_SET;
            op->immediate = decode_cluster(decoder);
        } else if (only->kind != PTX_OPERAND_INTEGER) {
            return unsupported(text, err, "the source is not a predicate");
        }
    }
    for (int i = 0; i < sources; i++) {
        src[i] = decode_predicate(decoder, &text->operands[i + 1], &negated);
        op->mode2 |= negated ? 1 << i : 0;
        if (src[i] == SLOT_NONE) {
            return unsupported(text, err, "a source is not a predicate");
        }
    }
    if (dst == SLOT_NONE) {
        return unsupported(text, err, "the destination is not a predicate");
    }
    op_set_dst(decoder, op, &dst, 1);
    op_set_src(decoder, op, src, sources);
    return true;
}

/* ---- setp, set, testp, slct ---- */

/* The destinations of setp: p, p|q, with sinks. */
static bool setp_results(struct decoder *decoder, const struct ptx_operand *operand, struct op *op)
{
    const struct ptx_operand *items =
        operand->kind == PTX_OPERAND_VECTOR ? operand->items : operand;
    int count = operand->kind == PTX_OPERAND_VECTOR ? operand->count : 1;
    uint32_t dst[2];
    bool negated;
    if (count < 1 || count > 2) {
        return false;
    }
    for (int i = 0; i < count; i++) {
        dst[i] = decode_predicate(decoder, &items[i], &negated);
        if (dst[i] == SLOT_NONE && items[i].kind != PTX_OPERAND_SINK) {
            return false;
        }
    }
    op_set_dst(decoder, op, dst, count);
    return true;
}

/* Sources a, b [, c] of a comparison; the op's combination is set. */
static bool compare_sources(struct decoder *decoder, const struct ptx_instruction *text,
                            const struct asked *asked, struct op *op, struct err *err)
{
    uint32_t src[3] = {0};
    bool negated = false;
    int count = asked->combined != COMBINE_NONE ? 3 : 2;
    if (text->operand_count != count + 1) {
        return unsupported(text, err, "the number of operands");
    }
    for (int i = 0; i < 2; i++) {
        if (!decode_slot(decoder, &text->operands[i + 1], asked->type, &src[i], err)) {
            return false;
        }
        if (src[i] == SLOT_NONE) {
            return unsupported(text, err, "'_' is not expected");
        }
        if (asked->ftz) {
            src[i] = flushed(decoder, src[i], asked->type);
        }
    }
    if (count == 3) {
        src[2] = decode_predicate(decoder, &text->operands[3], &negated);
        if (src[2] == SLOT_NONE) {
            return unsupported(text, err, "the last operand is not a predicate");
        }
    }
    op->mode = asked->combined;
    op->mode2 = negated;
    op_set_src(decoder, op, src, count);
    return true;
}

/* Comparisons of pairs of halves: one result a half. */
static bool compare_halves(const char *name, float x, float y)
{
    bool unordered = x != x || y != y;
    char last = name[strlen(name) - 1];
    if (strcmp(name, "num") == 0 || strcmp(name, "nan") == 0) {
        return unordered == (strcmp(name, "nan") == 0);
    }
    if (unordered) {
        return last == 'u';
    }
    return strncmp(name, "eq", 2) == 0   ? x == y
           : strncmp(name, "ne", 2) == 0 ? x != y
           : strncmp(name, "lt", 2) == 0 ? x < y
           : strncmp(name, "le", 2) == 0 ? x <= y
           : strncmp(name, "gt", 2) == 0 ? x > y
                                         : x >= y;
}

struct halves {
    const char *compare;
    bool brain; /* bf16 */
    bool bits;  /* set: all ones for true; otherwise 1.0 */
};

static void halves_compare(struct warp *warp, const struct op *op, lanes result[2])
{
    const struct halves *halves = op->extra;
    const uint32_t *x = slot_at(warp, op->src[0]), *y = slot_at(warp, op->src[1]);
    result[0] = result[1] = 0;
    for (int lane = 0; lane < LANES; lane++) {
        for (int h = 0; h < 2; h++) {
            uint16_t a = (uint16_t)(x[lane] >> 16 * h), b = (uint16_t)(y[lane] >> 16 * h);
            bool holds = halves->brain
                             ? compare_halves(halves->compare, bf16_float(a), bf16_float(b))
                             : compare_halves(halves->compare, f16_float(a), f16_float(b));
            result[h] |= (lanes)holds << lane;
        }
    }
    if (op->mode != COMBINE_NONE) {
        lanes with = *pred(warp, op->src[2]) ^ (op->mode2 ? ALL : 0);
        result[0] = combine(op->mode, result[0], with);
        result[1] = combine(op->mode, result[1], with);
    }
}

static enum step run_setp_halves(struct warp *warp, const struct op *op, lanes active)
{
    lanes result[2];
    halves_compare(warp, op, result);
    for (int i = 0; i < op->dst_count; i++) {
        predicate_keep(warp, op->dst[i], active, result[i]);
    }
    return STEP_NEXT;
}

static enum step run_set_halves(struct warp *warp, const struct op *op, lanes active)
{
    const struct halves *halves = op->extra;
    uint16_t yes = halves->bits ? 0xffff : halves->brain ? 0x3f80 : 0x3c00;
    lanes result[2];
    halves_compare(warp, op, result);
    FOR_LANES(lane, active)
    {
        uint32_t low = result[0] >> lane & 1 ? yes : 0, high = result[1] >> lane & 1 ? yes : 0;
        reg32(warp, op->dst[0])[lane] = low | high << 16;
    }
    return STEP_NEXT;
}

static bool decode_setp(struct decoder *decoder, const struct ptx_instruction *text,
                        struct asked *asked, struct op *op, struct err *err)
{
    bool pairs = asked->type == PTX_F16X2 || asked->type == PTX_BF16X2;
    const struct row *row = pairs ? NULL : row_find("setp", asked->type, &asked->parts);
    if (text->operand_count < 3 || asked->types != 1 || (row == NULL && !pairs)) {
        return unsupported(text, err, "");
    }
    if (!setp_results(decoder, &text->operands[0], op)) {
        return unsupported(text, err, "the destination is not a predicate");
    }
    op->class = CLASS_PREDICATE;
    if (pairs) {
        struct halves *halves = decode_alloc(decoder, sizeof *halves);
        struct parts one = asked->parts;
        if (row_find("setp", PTX_F16, &one) == NULL) {
            return unsupported(text, err, "");
        }
        *halves = (struct halves){asked->parts.left[0], asked->type == PTX_BF16X2, false};
        op->run = run_setp_halves;
        op->extra = halves;
    } else {
        op->run = row->functions[level()];
    }
    return compare_sources(decoder, text, asked, op, err);
}

/* What set writes for true. */
static uint64_t set_true(enum ptx_type type)
{
    switch (type) {
    case PTX_F32: return 0x3f800000;
    case PTX_F16: return 0x3c00;
    case PTX_BF16: return 0x3f80;
    default: return UINT64_MAX;
    }
}

static bool decode_set(struct decoder *decoder, const struct ptx_instruction *text,
                       struct asked *asked, struct op *op, struct err *err)
{
    bool pairs = asked->type == PTX_F16X2 || asked->type == PTX_BF16X2;
    struct op compare = {0};
    uint32_t src[3], dst;
    if (asked->types != 2 || text->operand_count < 3) {
        return unsupported(text, err, "");
    }
    if (!decode_slot(decoder, &text->operands[0], asked->from, &dst, err)) {
        return false;
    }
    const struct row *row = row_find("setp", pairs ? PTX_F16 : asked->type, &asked->parts);
    unsigned bytes = (unsigned)ptx_type_bytes(asked->from);
    if (row == NULL || text->operands[0].kind != PTX_OPERAND_REGISTER || bytes < 2 || bytes > 4) {
        return unsupported(text, err, "");
    }
    op_set_dst(decoder, op, &dst, 1);
    op->class = CLASS_PREDICATE;
    if (pairs) {
        struct halves *halves = decode_alloc(decoder, sizeof *halves);
        *halves =
            (struct halves){asked->parts.left[0], asked->type == PTX_BF16X2, !is_half(asked->from)};
        op->run = run_set_halves;
        op->extra = halves;
        return bytes == 4 ? compare_sources(decoder, text, asked, op, err)
                          : unsupported(text, err, "");
    }
    compare.run = row->functions[level()];
    compare.class = CLASS_PREDICATE;
    if (!compare_sources(decoder, text, asked, &compare, err)) {
        return false;
    }
    uint32_t holds = decode_temporary_predicate(decoder);
    op_set_dst(decoder, &compare, &holds, 1);
    decode_emit(decoder, &compare);
    src[0] = decode_constant(decoder, bytes, set_true(asked->from));
    src[1] = decode_constant(decoder, bytes, 0);
    src[2] = holds;
    op_set_src(decoder, op, src, 3);
    op->run = alu_find("selp", bytes == 2 ? PTX_B16 : PTX_B32, "");
    return true;
}

static bool decode_testp(struct decoder *decoder, const struct ptx_instruction *text,
                         struct asked *asked, struct op *op, struct err *err)
{
    const struct row *row = row_find("testp", asked->type, &asked->parts);
    uint32_t src[2];
    if (row == NULL || text->operand_count != 2 || !setp_results(decoder, &text->operands[0], op)) {
        return unsupported(text, err, "");
    }
    if (!decode_slot(decoder, &text->operands[1], asked->type, &src[0], err)) {
        return false;
    }
    src[1] = src[0];
    op_set_src(decoder, op, src, 2);
    op->run = row->functions[level()];
    op->class = CLASS_PREDICATE;
    return src[0] != SLOT_NONE || unsupported(text, err, "");
}

static bool decode_slct(struct decoder *decoder, const struct ptx_instruction *text,
                        struct asked *asked, struct op *op, struct err *err)
{
    char opcode[16];
    uint32_t slots[4];
    snprintf(opcode, sizeof opcode, "slct%d", 8 * ptx_type_bytes(asked->from));
    struct parts none = {0};
    const struct row *row = row_find(opcode, asked->type, &none);
    if (asked->types != 2 || row == NULL || text->operand_count != 4) {
        return unsupported(text, err, "");
    }
    for (int i = 0; i < 4; i++) {
        if (!decode_slot(decoder, &text->operands[i], i < 3 ? asked->from : asked->type, &slots[i],
                         err)) {
            return false;
        }
        if (slots[i] == SLOT_NONE) {
            return unsupported(text, err, "");
        }
    }
    if (asked->ftz) {
        slots[3] = flushed(decoder, slots[3], asked->type);
    }
    op_set_dst(decoder, op, slots, 1);
    op_set_src(decoder, op, slots + 1, 3);
    op->run = row->functions[level()];
    op->class = CLASS_INTEGER;
    return true;
}

/* ---- carries: CC.CF is a predicate that nobody names ---- */

enum {
    CARRY_IN = 1,
    CARRY_OUT = 2,
    CARRY_SUB = 4,
    CARRY_LOW = 8, /* of a product */
    CARRY_HIGH = 16,
    CARRY_SIGNED = 32,
};

static uint64_t product(int mode, unsigned bytes, uint64_t a, uint64_t b)
{
    if (mode & CARRY_LOW) {
        return a * b;
    }
    if (bytes == 8) {
        return mode & CARRY_SIGNED ? (uint64_t)high_s64((int64_t)a, (int64_t)b) : high_u64(a, b);
    }
    return mode & CARRY_SIGNED ? (uint64_t)((int64_t)(int32_t)a * (int32_t)b >> 32) : a * b >> 32;
}

/* src: a, b [, c], carry; dst: d [, carry]. */
static enum step run_carry(struct warp *warp, const struct op *op, lanes active)
{
    lanes in = op->mode & CARRY_IN ? *pred(warp, op->src[op->src_count - 1]) : 0, out = 0;
    uint64_t all = op->bytes == 8 ? UINT64_MAX : UINT32_MAX;
    FOR_LANES(lane, active)
    {
        uint64_t v[3] = {0};
        for (int i = 0; i < 3 && i < op->src_count - (op->mode & CARRY_IN ? 1 : 0); i++) {
            v[i] = op->bytes == 8 ? reg64(warp, op->src[i])[lane] : reg32(warp, op->src[i])[lane];
        }
        uint64_t carry = in >> lane & 1, sum, over;
        if (op->mode & (CARRY_LOW | CARRY_HIGH)) {
            v[0] = product(op->mode, op->bytes, v[0], v[1]) & all;
            v[1] = v[2];
        }
        if (op->mode & CARRY_SUB) {
            sum = (v[0] - v[1] - carry) & all;
            over = v[0] < v[1] || (v[0] == v[1] && carry);
        } else {
            sum = (v[0] + v[1] + carry) & all;
            over = sum < v[0] || (sum == v[0] && carry);
        }
        out |= (lanes)over << lane;
        if (op->bytes == 8) {
            reg64(warp, op->dst[0])[lane] = sum;
        } else {
            reg32(warp, op->dst[0])[lane] = (uint32_t)sum;
        }
    }
    if (op->mode & CARRY_OUT) {
        predicate_keep(warp, op->dst[1], active, out);
    }
    return STEP_NEXT;
}

/* add.cc, addc[.cc], sub.cc, subc[.cc], mad.lo.cc, madc.hi[.cc] …: false when it is none of them.
 */
static bool decode_carry_op(struct decoder *decoder, const struct ptx_instruction *text,
                            const struct asked *asked, struct op *op, struct err *err)
{
    static const struct {
        const char *name;
        int mode;
    } all[] = {{"add", 0}, {"addc", CARRY_IN}, {"sub", CARRY_SUB}, {"subc", CARRY_SUB | CARRY_IN},
               {"mad", 0}, {"madc", CARRY_IN}};
    uint32_t dst[2], src[4];
    bool mad = strncmp(text->parts[0], "mad", 3) == 0, found = false;
    int sources = mad ? 3 : 2, bytes = ptx_type_bytes(asked->type);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strcmp(all[i].name, text->parts[0]) == 0) {
            found = true;
            op->mode = all[i].mode;
        }
    }
    op->mode |= instruction_has(text, "cc") ? CARRY_OUT : 0;
    if (!found || (op->mode & (CARRY_IN | CARRY_OUT)) == 0) {
        op->mode = 0;
        return false;
    }
    bool low = instruction_has(text, "lo"), high = instruction_has(text, "hi");
    if (text->operand_count != sources + 1 || (bytes != 4 && bytes != 8) || mad != (low || high) ||
        is_float(asked->type) || asked->parts.count > 1 + mad) {
        return unsupported(text, err, "");
    }
    op->mode |= low ? CARRY_LOW : high ? CARRY_HIGH : 0;
    op->mode |= asked->type == PTX_S32 || asked->type == PTX_S64 ? CARRY_SIGNED : 0;
    for (int i = 0; i <= sources; i++) {
        uint32_t *slot = i == 0 ? dst : &src[i - 1];
        if (!decode_slot(decoder, &text->operands[i], asked->type, slot, err)) {
            return false;
        }
        if (*slot == SLOT_NONE || (i == 0 && text->operands[0].kind != PTX_OPERAND_REGISTER)) {
            return unsupported(text, err, "");
        }
    }
    if (op->mode & CARRY_OUT) {
        dst[1] = decode_carry(decoder);
    }
    if (op->mode & CARRY_IN) {
        src[sources++] = decode_carry(decoder);
    }
    op_set_dst(decoder, op, dst, op->mode & CARRY_OUT ? 2 : 1);
    op_set_src(decoder, op, src, sources);
    op->bytes = (uint8_t)bytes;
    op->run = run_carry;
    op->class = CLASS_INTEGER;
    return true;
}

/* ---- dot products of bytes ---- */

enum { DOT_SIGNED_A = 1, DOT_SIGNED_B = 2, DOT_TWO = 4, DOT_UPPER = 8 };

static int32_t dot_part(uint32_t x, int at, int bits, bool is_signed)
{
    uint32_t part = x >> at * bits & low_ones((uint32_t)bits);
    return is_signed ? (int32_t)(part << (32 - bits)) >> (32 - bits) : (int32_t)part;
}

static enum step run_dot(struct warp *warp, const struct op *op, lanes active)
{
    bool two = op->mode & DOT_TWO;
    FOR_LANES(lane, active)
    {
        uint32_t a = reg32(warp, op->src[0])[lane], b = reg32(warp, op->src[1])[lane];
        uint32_t sum = reg32(warp, op->src[2])[lane];
        for (int i = 0; i < (two ? 2 : 4); i++) {
            int64_t x = dot_part(a, i, two ? 16 : 8, op->mode & DOT_SIGNED_A);
            int64_t y = dot_part(b, i + (op->mode & DOT_UPPER ? 2 : 0), 8, op->mode & DOT_SIGNED_B);
            sum += (uint32_t)(x * y);
        }
        reg32(warp, op->dst[0])[lane] = sum;
    }
    return STEP_NEXT;
}

static bool decode_dot(struct decoder *decoder, const struct ptx_instruction *text,
                       const struct asked *asked, struct op *op, struct err *err)
{
    uint32_t slots[4];
    if (asked->types != 2 || text->operand_count != 4) {
        return unsupported(text, err, "");
    }
    op->mode = (asked->from == PTX_S32 ? DOT_SIGNED_A : 0) |
               (asked->type == PTX_S32 ? DOT_SIGNED_B : 0) |
               (strcmp(text->parts[0], "dp2a") == 0 ? DOT_TWO : 0) |
               (instruction_has(text, "hi") ? DOT_UPPER : 0);
    for (int i = 0; i < 4; i++) {
        if (!decode_slot(decoder, &text->operands[i], PTX_B32, &slots[i], err)) {
            return false;
        }
        if (slots[i] == SLOT_NONE) {
            return unsupported(text, err, "");
        }
    }
    op_set_dst(decoder, op, slots, 1);
    op_set_src(decoder, op, slots + 1, 3);
    op->run = run_dot;
    op->class = CLASS_INTEGER;
    return true;
}

/* ---- mov: also packing and unpacking ---- */

/* dst[0] = {src…}: op->bytes of each. */
static enum step run_pack(struct warp *warp, const struct op *op, lanes active)
{
    size_t part = op->bytes, whole = part * op->src_count;
    uint8_t *to = slot_at(warp, op->dst[0]);
    uint8_t packed[LANES * 16];
    for (int i = 0; i < op->src_count; i++) {
        const uint8_t *from = slot_at(warp, op->src[i]);
        for (int lane = 0; lane < LANES; lane++) {
            memcpy(packed + (size_t)lane * whole + (size_t)i * part, from + (size_t)lane * part,
                   part);
        }
    }
    if (active == ALL) {
        memcpy(to, packed, LANES * whole);
    } else {
        FOR_LANES(lane, active)
        memcpy(to + (size_t)lane * whole, packed + (size_t)lane * whole, whole);
    }
    return STEP_NEXT;
}

static enum step run_pack16(struct warp *warp, const struct op *op, lanes active)
{
    const u16 *low = slot_at(warp, op->src[0]), *high = slot_at(warp, op->src[1]);
    u32 *to = slot_at(warp, op->dst[0]);
    for (int i = 0; i < LANES; i++) {
        uint32_t both = low[i] | (uint32_t)high[i] << 16;
        to[i] = active >> i & 1 ? both : to[i];
    }
    return STEP_NEXT;
}

/* {dst…} = src[0]. */
static enum step run_unpack(struct warp *warp, const struct op *op, lanes active)
{
    size_t part = op->bytes, whole = part * op->dst_count;
    uint8_t from[LANES * 16];
    memcpy(from, slot_at(warp, op->src[0]), LANES * whole);
    for (int i = 0; i < op->dst_count; i++) {
        if (op->dst[i] == SLOT_NONE) {
            continue;
        }
        uint8_t *to = slot_at(warp, op->dst[i]);
        FOR_LANES(lane, active)
        memcpy(to + (size_t)lane * part, from + (size_t)lane * whole + (size_t)i * part, part);
    }
    return STEP_NEXT;
}

static enum step run_unpack16(struct warp *warp, const struct op *op, lanes active)
{
    const u32 *from = slot_at(warp, op->src[0]);
    for (int k = 0; k < 2; k++) {
        if (op->dst[k] == SLOT_NONE) {
            continue;
        }
        u16 *to = slot_at(warp, op->dst[k]);
        for (int i = 0; i < LANES; i++) {
            to[i] = active >> i & 1 ? (uint16_t)(from[i] >> 16 * k) : to[i];
        }
    }
    return STEP_NEXT;
}

static enum step run_move128(struct warp *warp, const struct op *op, lanes active)
{
    uint8_t *to = slot_at(warp, op->dst[0]);
    const uint8_t *from = slot_at(warp, op->src[0]);
    FOR_LANES(lane, active) memmove(to + 16 * lane, from + 16 * lane, 16);
    return STEP_NEXT;
}

static bool decode_mov(struct decoder *decoder, const struct ptx_instruction *text,
                       const struct asked *asked, struct op *op, struct err *err)
{
    static const enum ptx_type parts[] = {[2] = PTX_B16, [4] = PTX_B32, [8] = PTX_B64};
    unsigned bytes = (unsigned)ptx_type_bytes(asked->type);
    if (text->operand_count != 2 || text->part_count != 2 || bytes < 2) {
        return unsupported(text, err, "");
    }
    const struct ptx_operand *to = &text->operands[0], *from = &text->operands[1];
    bool packs = from->kind == PTX_OPERAND_VECTOR, unpacks = to->kind == PTX_OPERAND_VECTOR;
    const struct ptx_operand *vector = packs ? from : to;
    uint32_t dst[8], src[8];
    int dst_count, src_count;
    enum ptx_type part = asked->type;
    if (packs || unpacks) {
        unsigned count = (unsigned)vector->count;
        unsigned each = count == 0 ? 0 : bytes / count;
        if (packs == unpacks || count > 8 || (each != 2 && each != 4 && each != 8) ||
            each * count != bytes) {
            return unsupported(text, err, "the parts do not make up the whole");
        }
        part = parts[each];
        op->bytes = (uint8_t)each;
    }
    if (!decode_slots(decoder, to, unpacks ? part : asked->type, dst, 8, &dst_count, err) ||
        !decode_slots(decoder, from, packs ? part : asked->type, src, 8, &src_count, err)) {
        return false;
    }
    for (int i = 0; i < src_count; i++) {
        if (src[i] == SLOT_NONE || (!unpacks && (to->kind != PTX_OPERAND_REGISTER))) {
            return unsupported(text, err, "");
        }
    }
    for (int i = 0; unpacks && i < dst_count; i++) {
        if (to->items[i].kind != PTX_OPERAND_REGISTER && to->items[i].kind != PTX_OPERAND_SINK) {
            return unsupported(text, err, "");
        }
    }
    op_set_dst(decoder, op, dst, dst_count);
    op_set_src(decoder, op, src, src_count);
    op->class = CLASS_OTHER;
    op->run = packs         ? (op->bytes == 2 && bytes == 4 ? run_pack16 : run_pack)
              : unpacks     ? (op->bytes == 2 && bytes == 4 ? run_unpack16 : run_unpack)
              : bytes == 16 ? run_move128
                            : alu_find("mov", asked->type, "");
    return true;
}

static bool decode_lop3(struct decoder *decoder, const struct ptx_instruction *text,
                        const struct asked *asked, struct op *op, struct err *err)
{
    uint32_t slots[4];
    uint64_t table;
    if (text->operand_count != 5 || asked->type != PTX_B32 || text->part_count != 2 ||
        !operand_literal(&text->operands[4], &table) || table > 255) {
        return unsupported(text, err, "");
    }
    for (int i = 0; i < 4; i++) {
        if (!decode_slot(decoder, &text->operands[i], PTX_B32, &slots[i], err)) {
            return false;
        }
        if (slots[i] == SLOT_NONE) {
            return unsupported(text, err, "");
        }
    }
    op_set_dst(decoder, op, slots, 1);
    op_set_src(decoder, op, slots + 1, 3);
    op->immediate = (int64_t)table;
    op->run = alu_find("lop3", PTX_B32, "");
    op->class = CLASS_INTEGER;
    return true;
}

/* ---- conversions, of any kind to any ---- */

enum rounding { ROUND_EVEN, ROUND_ZERO, ROUND_DOWN, ROUND_UP, ROUND_AWAY };

struct format { /* of a float: bits of the significand, exponents of normal numbers */
    int digits, least, most;
    bool finite; /* e4m3: there is no infinity, and one more value above */
};

static const struct format formats[PTX_TYPES] = {
    [PTX_F16] = {11, -14, 15, false},     [PTX_BF16] = {8, -126, 127, false},
    [PTX_TF32] = {11, -126, 127, false},  [PTX_F32] = {24, -126, 127, false},
    [PTX_F64] = {53, -1022, 1023, false}, [PTX_E4M3X2] = {4, -6, 8, true},
    [PTX_E5M2X2] = {3, -14, 15, false},
};

struct conversion {
    enum ptx_type to, from;
    enum rounding rounding;
    bool integral; /* .rni and so on */
    bool saturate, finite, relu, ftz;
    unsigned to_bytes, from_bytes; /* of the registers */
};

/* A number: (-1)^negative significand 2^exponent, exactly. */
struct number {
    bool negative, nan, infinite;
    uint64_t significand;
    int exponent;
};

/* The significand to a multiple of 2^exponent. */
static uint64_t number_round(const struct number *number, int exponent, enum rounding rounding)
{
    int shift = exponent - number->exponent;
    uint64_t s = number->significand;
    if (shift <= 0) {
        return -shift < 64 ? s << -shift : 0; /* callers keep the top bit inside */
    }
    uint64_t kept = shift < 64 ? s >> shift : 0;
    uint64_t lost = shift < 64 ? s & ((UINT64_C(1) << shift) - 1) : s;
    uint64_t middle = shift <= 64 ? UINT64_C(1) << (shift - 1) : 0; /* 0: lost is below it */
    bool up = false;
    switch (rounding) {
    case ROUND_EVEN: up = middle != 0 && (lost > middle || (lost == middle && (kept & 1))); break;
    case ROUND_AWAY: up = middle != 0 && lost >= middle; break;
    case ROUND_ZERO: break;
    case ROUND_DOWN: up = lost != 0 && number->negative; break;
    case ROUND_UP: up = lost != 0 && !number->negative; break;
    }
    return kept + up;
}

static uint64_t float_pack(const struct format *format, int bits, bool negative, int exponent,
                           uint64_t significand)
{
    uint64_t fraction = significand & ((UINT64_C(1) << (format->digits - 1)) - 1);
    uint64_t biased =
        significand >> (format->digits - 1) == 0 ? 0 : (uint64_t)(exponent - format->least + 1);
    return (uint64_t)negative << (bits - 1) | biased << (format->digits - 1) | fraction;
}

static uint64_t float_infinite(const struct format *format, int bits, bool negative)
{
    uint64_t biased = (uint64_t)(format->most - format->least + 2);
    return (uint64_t)negative << (bits - 1) | biased << (format->digits - 1);
}

static uint64_t float_greatest(const struct format *format, int bits, bool negative)
{
    uint64_t all = (UINT64_C(1) << format->digits) - 1;
    return float_pack(format, bits, negative, format->most, format->finite ? all - 1 : all);
}

/* The bits of the number as a float of `format`, which has `bits` in all. */
static uint64_t number_float(const struct number *number, const struct format *format, int bits,
                             const struct conversion *how)
{
    if (number->nan) {
        uint64_t ones = (UINT64_C(1) << (bits - 1)) - 1;
        return bits == 64 ? INFINITE64 | UINT64_C(1) << 51 : ones;
    }
    bool to_greatest = how->finite || (format->finite && how->saturate);
    if (number->infinite) {
        return to_greatest      ? float_greatest(format, bits, number->negative)
               : format->finite ? (UINT64_C(1) << (bits - 1)) - 1
                                : float_infinite(format, bits, number->negative);
    }
    if (number->significand == 0) {
        return (uint64_t)number->negative << (bits - 1);
    }
    int top = 63 - __builtin_clzll(number->significand) + number->exponent;
    int exponent = top < format->least ? format->least : top;
    uint64_t significand = number_round(number, exponent - format->digits + 1, how->rounding);
    if (significand >> format->digits != 0) {
        significand >>= 1;
        exponent++;
    }
    uint64_t all = (UINT64_C(1) << format->digits) - 1;
    if (exponent > format->most ||
        (format->finite && exponent == format->most && significand == all)) {
        bool stays = how->rounding == ROUND_ZERO ||
                     how->rounding == (number->negative ? ROUND_UP : ROUND_DOWN);
        return to_greatest || stays ? float_greatest(format, bits, number->negative)
               : format->finite     ? (UINT64_C(1) << (bits - 1)) - 1
                                    : float_infinite(format, bits, number->negative);
    }
    return float_pack(format, bits, number->negative, exponent, significand);
}

static struct number float_number(uint64_t bits, const struct format *format, int width)
{
    int fraction_bits = format->digits - 1;
    uint64_t fraction = bits & ((UINT64_C(1) << fraction_bits) - 1);
    int biased = (int)(bits >> fraction_bits & ((UINT64_C(1) << (width - 1 - fraction_bits)) - 1));
    int above = format->most - format->least + 2;
    struct number number = {.negative = bits >> (width - 1) & 1};
    if (format->finite) {
        number.nan = biased == above - 1 && fraction == (UINT64_C(1) << fraction_bits) - 1;
    } else if (biased == above) {
        number.nan = fraction != 0;
        number.infinite = fraction == 0;
    }
    number.significand = fraction | (uint64_t)(biased != 0) << fraction_bits;
    number.exponent = (biased == 0 ? 1 : biased) + format->least - 1 - fraction_bits;
    return number;
}

static bool is_signed_type(enum ptx_type type)
{
    return type == PTX_S8 || type == PTX_S16 || type == PTX_S32 || type == PTX_S64;
}

static int type_bits(enum ptx_type type)
{
    return type == PTX_E4M3X2 || type == PTX_E5M2X2 ? 8 : 8 * ptx_type_bytes(type);
}

/* The integer's low bits, with its sign spread when the type has one. */
static uint64_t spread(uint64_t bits, enum ptx_type type)
{
    int unused = 64 - type_bits(type);
    bits <<= unused;
    return is_signed_type(type) ? (uint64_t)((int64_t)bits >> unused) : bits >> unused;
}

static uint64_t float_flush(uint64_t bits, enum ptx_type type)
{
    return type == PTX_F32 && (bits & 0x7f800000) == 0 ? bits & 0x80000000 : bits;
}

static uint64_t number_integer(const struct number *number, const struct conversion *how)
{
    int bits = type_bits(how->to);
    bool is_signed = is_signed_type(how->to);
    uint64_t most = UINT64_MAX >> (64 - bits + is_signed);
    if (number->nan) {
        bool wide = how->from == PTX_F64 || bits == 64;
        return wide ? UINT64_C(1) << (bits - 1) : 0;
    }
    bool large =
        number->infinite || (number->significand != 0 &&
                             63 - __builtin_clzll(number->significand) + number->exponent >= 64);
    uint64_t magnitude = large ? UINT64_MAX : number_round(number, 0, how->rounding);
    if (number->negative) {
        uint64_t least = is_signed ? most + 1 : 0;
        return 0 - (large || magnitude > least ? least : magnitude);
    }
    return large || magnitude > most ? most : magnitude;
}

/* An integer rounded inside a float: 2.7 to 3.0. */
static void number_integral(struct number *number, enum rounding rounding)
{
    if (!number->nan && !number->infinite && number->exponent < 0) {
        number->significand = number_round(number, 0, rounding);
        number->exponent = 0;
    }
}

static uint64_t integer_integer(uint64_t value, const struct conversion *how)
{
    int bits = type_bits(how->to);
    bool is_signed = is_signed_type(how->to), negative = is_signed_type(how->from) && value >> 63;
    uint64_t most = UINT64_MAX >> (64 - bits + is_signed);
    if (!how->saturate) {
        return value;
    }
    if (negative) {
        uint64_t least = is_signed ? ~most : 0;
        return (int64_t)value < (int64_t)least ? least : is_signed ? value : 0;
    }
    return value > most ? most : value;
}

static uint64_t float_saturated(uint64_t bits, const struct conversion *how)
{
    const struct format *format = &formats[how->to];
    int width = type_bits(how->to);
    struct number number = float_number(bits, format, width);
    uint64_t one = (uint64_t) - (int64_t)(format->least - 1) << (format->digits - 1);
    if (number.nan || number.negative) {
        return 0;
    }
    return bits > one ? one : bits;
}

static uint64_t convert(uint64_t bits, const struct conversion *how)
{
    bool from_float = formats[how->from].digits > 0, to_float = formats[how->to].digits > 0;
    struct number number;
    if (!from_float) {
        uint64_t value = spread(bits, how->from);
        if (!to_float) {
            return integer_integer(value, how);
        }
        number = (struct number){.negative = is_signed_type(how->from) && value >> 63};
        number.significand = number.negative ? 0 - value : value;
    } else {
        bits = how->ftz ? float_flush(bits, how->from) : bits;
        number = float_number(bits, &formats[how->from], type_bits(how->from));
        if (!to_float) {
            return number_integer(&number, how);
        }
        if (how->integral) {
            number_integral(&number, how->rounding);
        }
    }
    if (how->relu && number.negative && !number.nan) {
        number = (struct number){0};
    }
    uint64_t result = number_float(&number, &formats[how->to],
                                   how->to == PTX_TF32 ? 19 : type_bits(how->to), how);
    if (how->to == PTX_TF32) {
        result = number.nan ? 0x7fffffff : result << 13;
    }
    if (how->saturate && how->to != PTX_E4M3X2 && how->to != PTX_E5M2X2) {
        result = float_saturated(result, how);
    }
    return how->ftz ? float_flush(result, how->to) : result;
}

static uint64_t lane_bits(struct warp *warp, uint32_t slot, unsigned bytes, int lane)
{
    uint64_t bits = 0;
    memcpy(&bits, warp->registers + slot + (size_t)lane * bytes, bytes);
    return bits;
}

static void lane_keep(struct warp *warp, uint32_t slot, unsigned bytes, int lane, uint64_t bits)
{
    memcpy(warp->registers + slot + (size_t)lane * bytes, &bits, bytes);
}

static enum step run_convert(struct warp *warp, const struct op *op, lanes active)
{
    const struct conversion *how = op->extra;
    FOR_LANES(lane, active)
    {
        uint64_t bits = convert(lane_bits(warp, op->src[0], how->from_bytes, lane), how);
        if (formats[how->to].digits == 0) {
            bits = spread(bits, how->to);
        }
        lane_keep(warp, op->dst[0], how->to_bytes, lane, bits);
    }
    return STEP_NEXT;
}

/* Two at once: mode is the way. */
enum { PAIR_FROM_TWO, PAIR_FROM_PAIR };

static enum step run_convert_pair(struct warp *warp, const struct op *op, lanes active)
{
    const struct conversion *how = op->extra;
    unsigned to_bits = (unsigned)type_bits(how->to), from_bits = (unsigned)type_bits(how->from);
    FOR_LANES(lane, active)
    {
        uint64_t low, high;
        if (op->mode == PAIR_FROM_TWO) {
            high = lane_bits(warp, op->src[0], how->from_bytes, lane);
            low = lane_bits(warp, op->src[1], how->from_bytes, lane);
        } else {
            low = lane_bits(warp, op->src[0], how->from_bytes, lane);
            high = low >> from_bits;
            low &= (UINT64_C(1) << from_bits) - 1;
        }
        lane_keep(warp, op->dst[0], how->to_bytes, lane,
                  convert(low, how) | convert(high, how) << to_bits);
    }
    return STEP_NEXT;
}

/* The type of one of a pair; the same when it is none. */
static enum ptx_type single(enum ptx_type type)
{
    return type == PTX_F16X2 ? PTX_F16 : type == PTX_BF16X2 ? PTX_BF16 : type;
}

static bool is_pair(enum ptx_type type)
{
    return type == PTX_F16X2 || type == PTX_BF16X2 || type == PTX_E4M3X2 || type == PTX_E5M2X2;
}

static bool conversion_part(struct conversion *how, const char *part, bool *rounded)
{
    static const struct {
        const char *name;
        enum rounding rounding;
        bool integral;
    } roundings[] = {
        {"rn", ROUND_EVEN, false}, {"rz", ROUND_ZERO, false},  {"rm", ROUND_DOWN, false},
        {"rp", ROUND_UP, false},   {"rna", ROUND_AWAY, false}, {"rni", ROUND_EVEN, true},
        {"rzi", ROUND_ZERO, true}, {"rmi", ROUND_DOWN, true},  {"rpi", ROUND_UP, true},
    };
    for (size_t i = 0; i < sizeof roundings / sizeof *roundings; i++) {
        if (strcmp(part, roundings[i].name) == 0) {
            how->rounding = roundings[i].rounding;
            how->integral = roundings[i].integral;
            return *rounded = true;
        }
    }
    if (strcmp(part, "sat") == 0) {
        return how->saturate = true;
    }
    if (strcmp(part, "satfinite") == 0) {
        return how->finite = true;
    }
    if (strcmp(part, "relu") == 0) {
        return how->relu = true;
    }
    return strcmp(part, "ftz") == 0 && (how->ftz = true);
}

/* A line of the table, where registers are as wide as the types and nothing else is asked. */
static op_function *convert_fast(const struct conversion *how, enum ptx_type to, enum ptx_type from,
                                 bool rounded)
{
    static const struct {
        enum rounding rounding;
        bool integral;
        const char *name;
    } names[] = {{ROUND_EVEN, false, "rn"}, {ROUND_ZERO, true, "rzi"}};
    char opcode[32];
    bool to_float = formats[single(to)].digits > 0, from_float = formats[single(from)].digits > 0;
    int to_bytes = ptx_type_bytes(to), from_bytes = ptx_type_bytes(from);
    if (how->saturate || how->finite || how->relu || how->ftz ||
        how->to_bytes != (unsigned)to_bytes || how->from_bytes != (unsigned)from_bytes) {
        return NULL;
    }
    if (!to_float && !from_float) {
        static const enum ptx_type plain[] = {[2] = PTX_B16, [4] = PTX_B32, [8] = PTX_B64};
        snprintf(opcode, sizeof opcode, "%d", 8 * to_bytes);
        return to_bytes > from_bytes   ? alu_find("widen", from, opcode)
               : to_bytes < from_bytes ? alu_find("narrow", plain[from_bytes], opcode)
                                       : alu_find("mov", plain[to_bytes], "");
    }
    if (to == from && to_bytes > 2 && !how->integral) {
        return alu_find("mov", to, "");
    }
    snprintf(opcode, sizeof opcode, "cvt %s", ptx_type_name(to));
    if (!rounded || (!from_float && how->rounding == ROUND_EVEN)) {
        return alu_find(opcode, from, "");
    }
    for (int i = 0; i < 2; i++) {
        if (how->rounding == names[i].rounding && how->integral == names[i].integral) {
            return alu_find(opcode, from, names[i].name);
        }
    }
    return NULL;
}

static bool decode_cvt(struct decoder *decoder, const struct ptx_instruction *text, struct op *op,
                       struct err *err)
{
    struct conversion how = {.rounding = ROUND_ZERO};
    enum ptx_type to, from;
    int parts = text->part_count;
    uint32_t dst, src[2];
    bool rounded = false;
    if (parts < 3 || !ptx_type_find(text->parts[parts - 1], &from) ||
        !ptx_type_find(text->parts[parts - 2], &to) || to == PTX_PRED || from == PTX_PRED) {
        return unsupported(text, err, "");
    }
    for (int i = 1; i < parts - 2; i++) {
        if (!conversion_part(&how, text->parts[i], &rounded)) {
            return unsupported(text, err, text->parts[i]);
        }
    }
    bool two = is_pair(to) && !is_pair(from);
    how.to = single(to);
    how.from = single(from);
    if (text->operand_count != 2 + two || (two && from != PTX_F32) ||
        (is_pair(from) && !is_pair(to)) ||
        (how.saturate && is_pair(to) && to != PTX_E4M3X2 && to != PTX_E5M2X2)) {
        return unsupported(text, err, "");
    }
    if (!decode_wide_slot(decoder, &text->operands[0], to, &dst, &how.to_bytes, err) ||
        !decode_wide_slot(decoder, &text->operands[1], from, &src[0], &how.from_bytes, err) ||
        (two && !decode_slot(decoder, &text->operands[2], from, &src[1], err))) {
        return false;
    }
    if (dst == SLOT_NONE || src[0] == SLOT_NONE || (two && src[1] == SLOT_NONE) ||
        text->operands[0].kind != PTX_OPERAND_REGISTER || how.to_bytes > 8 || how.from_bytes > 8) {
        return unsupported(text, err, "");
    }
    op_set_dst(decoder, op, &dst, 1);
    op_set_src(decoder, op, src, 1 + two);
    op->class = CLASS_CONVERT;
    bool saturates = how.saturate && to == PTX_F32 && from == PTX_F32 && !how.integral && !how.ftz;
    if (saturates) {
        op->run = alu_find("saturate", PTX_F32, "");
        return true;
    }
    op->run = convert_fast(&how, to, from, rounded);
    if (op->run == NULL) {
        struct conversion *kept = decode_alloc(decoder, sizeof *kept);
        *kept = how;
        op->extra = kept;
        op->mode = two ? PAIR_FROM_TWO : PAIR_FROM_PAIR;
        op->run = is_pair(to) ? run_convert_pair : run_convert;
    }
    return true;
}

/* ---- the opcodes ---- */

bool alu_decode(struct decoder *decoder, const struct ptx_instruction *text, struct op *op,
                struct err *err)
{
    typedef bool decode_asked(struct decoder *, const struct ptx_instruction *, struct asked *,
                              struct op *, struct err *);
    static const struct {
        const char *name;
        decode_asked *decode;
    } own[] = {
        {"setp", decode_setp}, {"set", decode_set}, {"testp", decode_testp}, {"slct", decode_slct}};
    const char *name = text->parts[0];
    struct asked asked;
    if (strcmp(name, "cvt") == 0) {
        return decode_cvt(decoder, text, op, err);
    }
    if (!asked_read(text, &asked)) {
        return false;
    }
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        if (strcmp(name, own[i].name) == 0) {
            return own[i].decode(decoder, text, &asked, op, err);
        }
    }
    if (asked.type == PTX_PRED && asked.types == 1 && strcmp(name, "vote") != 0) {
        static const char *const logic[] = {"mov", "and", "or", "xor", "not"};
        for (size_t i = 0; i < sizeof logic / sizeof *logic; i++) {
            if (strcmp(name, logic[i]) == 0) {
                return decode_logic(decoder, text, op, err);
            }
        }
        return false;
    }
    if (strcmp(name, "mov") == 0) {
        return decode_mov(decoder, text, &asked, op, err);
    }
    if (strcmp(name, "lop3") == 0) {
        return decode_lop3(decoder, text, &asked, op, err);
    }
    if (strcmp(name, "dp4a") == 0 || strcmp(name, "dp2a") == 0) {
        return decode_dot(decoder, text, &asked, op, err);
    }
    if (decode_carry_op(decoder, text, &asked, op, err)) {
        return true;
    }
    return err->kind == ERR_NONE && asked.types == 1 && by_table(decoder, text, &asked, op, err);
}
