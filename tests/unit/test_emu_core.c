/*
 * The core of the PTX machine: each instruction against plain C (emu_cases.h), and small kernels
 * for loads, stores, atomics, what lanes do together, control flow, barriers, and how runs end.
 */
#include <fenv.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "base/str.h"
#include "fitness/emu/machine.h"
#include "fitness/emu/memory.h"

enum { THREADS = 1024, INPUTS = 4, OUT_WORDS = 4096 };

static const char head[] = ".version 9.0\n.target sm_90a\n.address_size 64\n";

/* ---- running a text ---- */

struct trial {
    struct arena *arena;
    struct memory *memory;
    struct launch launch;
    uint64_t in, out;
    uint64_t args[4]; /* in, out, and two that a test may set */
    struct outcome outcome;
};

/* The body of `.entry k(.param .u64 in, .param .u64 out, .param .u64 a, .param .u64 b)`. */
static struct trial *trial_new(const char *outside, const char *body)
{
    struct trial *trial = calloc(1, sizeof *trial);
    struct ptx_module *module;
    struct code *program;
    struct err err = {0};
    trial->arena = arena_new();
    char *text = arena_printf(trial->arena,
                              "%s%s\n.visible .entry k(.param .u64 in, .param .u64 out,"
                              " .param .u64 a, .param .u64 b)\n{\n%s\n}\n",
                              head, outside, body);
    if (!ptx_parse(trial->arena, text, strlen(text), &module, &err) ||
        !program_decode(trial->arena, module, "k", &program, &err)) {
        fail_msg("%s\n%s", err.what, text);
    }
    trial->memory = memory_new();
    trial->launch = (struct launch){.program = program,
                                    .grid = {1, 1, 1},
                                    .block = {32, 1, 1},
                                    .cluster = {1, 1, 1},
                                    .threads = 1,
                                    .sanitize = SANITIZE_BOUNDS,
                                    .op_budget = 1 << 22};
    trial->in = memory_buffer(trial->memory, THREADS * INPUTS * 8, "in");
    trial->out = memory_buffer(trial->memory, OUT_WORDS * 8, "out");
    memory_host_fill(trial->memory, trial->in, 0, THREADS * INPUTS * 8);
    memory_host_fill(trial->memory, trial->out, 0, OUT_WORDS * 8);
    trial->args[0] = trial->in;
    trial->args[1] = trial->out;
    return trial;
}

static void trial_run(struct trial *trial)
{
    trial->launch.params = (const uint8_t *)trial->args;
    machine_run(trial->memory, &trial->launch, &trial->outcome);
}

/* Runs, and fails when anything was found. */
static void trial_pass(struct trial *trial)
{
    trial_run(trial);
    if (trial->outcome.findings_total > 0) {
        const struct finding *finding = &trial->outcome.findings[0];
        fail_msg("%s: line %d: %s", finding_names[finding->kind],
                 finding->at != NULL ? finding->at->line : 0, finding->text);
    }
    assert_true(trial->outcome.ended);
}

static uint32_t trial_word(struct trial *trial, int index)
{
    uint32_t word = 0;
    assert_true(memory_host_read(trial->memory, trial->out + 4 * (uint64_t)index, &word, 4));
    return word;
}

static void trial_free(struct trial *trial)
{
    memory_free(trial->memory);
    arena_free(trial->arena);
    free(trial);
}

/* Starts of bodies: %tid.x in %t, the addresses in %in, %out, the own word of out in %o. */
#define START                                                                                      \
    ".reg .pred %p<8>; .reg .b32 %r<32>; .reg .b64 %rd<16>; .reg .f32 %f<8>; .reg .b16 %h<8>;\n"   \
    ".reg .b32 %t; .reg .b64 %in, %out, %o, %w;\n"                                                 \
    "mov.u32 %t, %tid.x; ld.param.u64 %in, [in]; ld.param.u64 %out, [out];\n"                      \
    "mul.wide.u32 %w, %t, 4; add.s64 %o, %out, %w;\n"

static struct trial *small(const char *body)
{
    char text[8192];
    snprintf(text, sizeof text, "%s%s", START, body);
    return trial_new("", text);
}

/* ---- plain C of what instructions do ---- */

__extension__ typedef unsigned __int128 wide_unsigned;
__extension__ typedef __int128 wide_signed;

#define S16(v) ((int64_t)(int16_t)(v))
#define S24(v) ((int64_t)((int32_t)((uint32_t)(v) << 8) >> 8))
#define S32(v) ((int32_t)(v))
#define U32(v) ((uint32_t)(v))

static float F(uint64_t bits)
{
    uint32_t low = (uint32_t)bits;
    float x;
    memcpy(&x, &low, sizeof x);
    return x;
}

static double D(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint64_t of_float(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return isnan(x) ? 0x7fffffff : bits;
}

static uint64_t of_double(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return isnan(x) ? 0x7ff8000000000000 : bits;
}

/* A float of `digits` significant bits, whose smallest normal number is 2^least. */
static double small_value(uint64_t bits, int digits, int least, int width)
{
    int fraction_bits = digits - 1, exponent_bits = width - digits;
    uint64_t fraction = bits & ((1u << fraction_bits) - 1);
    int exponent = (int)(bits >> fraction_bits & ((1u << exponent_bits) - 1));
    double sign = bits >> (width - 1) & 1 ? -1 : 1;
    if (exponent == (1 << exponent_bits) - 1) {
        return fraction != 0 ? NAN : sign * INFINITY;
    }
    if (exponent == 0) {
        return sign * ldexp((double)fraction, least - fraction_bits);
    }
    return sign * ldexp(1 + (double)fraction / (1 << fraction_bits), exponent - 1 + least);
}

static double H(uint64_t bits) { return small_value(bits & 0xffff, 11, -14, 16); }
static double B(uint64_t bits) { return small_value(bits & 0xffff, 8, -126, 16); }

/* The magnitude in steps of the format, rounded by the current mode; its bits. */
static uint64_t of_small(long double x, int digits, int least, int width, uint64_t infinite)
{
    uint64_t sign = (uint64_t)(signbit(x) != 0) << (width - 1);
    long double magnitude = fabsl(x);
    int exponent;
    if (isnan(x)) {
        return (UINT64_C(1) << (width - 1)) - 1;
    }
    if (magnitude == 0 || isinf(x)) {
        return sign | (magnitude == 0 ? 0 : infinite);
    }
    frexpl(magnitude, &exponent);
    exponent = exponent - 1 < least ? least : exponent - 1;
    uint64_t steps = (uint64_t)rintl(ldexpl(magnitude, digits - 1 - exponent));
    uint64_t bits = steps + ((uint64_t)(exponent - least) << (digits - 1));
    return sign | (bits > infinite ? infinite : bits);
}

static uint64_t of_half(double x) { return of_small((long double)x, 11, -14, 16, 0x7c00); }
static uint64_t of_brain(double x) { return of_small((long double)x, 8, -126, 16, 0x7f80); }

static uint64_t of_half_exact(uint64_t x, uint64_t y, uint64_t z)
{
    return of_small((long double)H(x) * (long double)H(y) + (long double)H(z), 11, -14, 16, 0x7c00);
}

/* Beyond 64 bits the smaller part only says on which side of the larger the sum lies. */
static uint64_t of_brain_exact(uint64_t x, uint64_t y, uint64_t z)
{
    long double p = (long double)B(x) * (long double)B(y), c = (long double)B(z), sum = p + c;
    if (isfinite(sum) && p != 0 && c != 0) {
        long double large = fabsl(p) > fabsl(c) ? p : c, little = fabsl(p) > fabsl(c) ? c : p;
        if (sum == large && little != 0) {
            sum = nextafterl(large, little > 0 ? INFINITY : -INFINITY);
        }
    }
    return of_small(sum, 8, -126, 16, 0x7f80);
}

static uint64_t half_towards_zero(double x)
{
    uint64_t nearest = of_half(x);
    bool beyond = fabs(H(nearest)) > fabs(x);
    return isnan(x) || isinf(x) || !beyond ? nearest : nearest - 1;
}

static uint64_t ftz(uint64_t bits) { return (bits & 0x7f800000) == 0 ? bits & 0x80000000 : bits; }
static uint64_t ftz16(uint64_t bits) { return (bits & 0x7c00) == 0 ? bits & 0x8000 : bits; }
static uint64_t brain_ftz(uint64_t bits) { return (bits & 0x7f80) == 0 ? bits & 0x8000 : bits; }
static uint64_t unit(float x) { return of_float(x > 0 ? (x < 1 ? x : 1) : 0); }
static uint64_t unit16(uint64_t bits) { return H(bits) > 0 ? (H(bits) < 1 ? bits : 0x3c00) : 0; }

static uint64_t relu16(uint64_t bits, uint64_t infinite)
{
    return (bits & 0x7fff) > infinite ? 0x7fff : bits & 0x8000 ? 0 : bits;
}

static bool ordered(double x, double y) { return !isnan(x) && !isnan(y); }

static float min_number(float x, float y)
{
    return isnan(x) ? y : isnan(y) ? x : x < y || (x == y && signbit(x)) ? x : y;
}

static float max_number(float x, float y)
{
    return isnan(x) ? y : isnan(y) ? x : x > y || (x == y && signbit(y)) ? x : y;
}

static uint64_t rounded(int mode, float x, char operation, float y)
{
    volatile float a = x, b = y, result;
    fesetround(mode);
    result = operation == '+'   ? a + b
             : operation == '*' ? a * b
             : operation == '/' ? a / b
                                : sqrtf(a);
    fesetround(FE_TONEAREST);
    return of_float(result);
}

static uint64_t fma_rounded(int mode, float x, float y, float z)
{
    volatile float a = x, b = y, c = z, result;
    fesetround(mode);
    result = fmaf(a, b, c);
    fesetround(FE_TONEAREST);
    return of_float(result);
}

static uint64_t rounded_double(int mode, double x, double y)
{
    volatile double a = x, b = y, result;
    fesetround(mode);
    result = a * b;
    fesetround(FE_TONEAREST);
    return of_double(result);
}

static uint64_t double_rounded(int mode, double x)
{
    volatile double a = x;
    volatile float result;
    fesetround(mode);
    result = (float)a;
    fesetround(FE_TONEAREST);
    return of_float(result);
}

static uint64_t integer_rounded(int mode, int64_t x)
{
    volatile int64_t a = x;
    volatile float result;
    fesetround(mode);
    result = (float)a;
    fesetround(FE_TONEAREST);
    return of_float(result);
}

static uint64_t to_integer(double x, double least, double most, uint64_t nan)
{
    double inside = x < least ? least : x > most ? most : x;
    return isnan(x) ? nan : (uint64_t)(int64_t)inside;
}

static uint64_t to_wide(float x)
{
    return isnan(x)       ? UINT64_C(1) << 63
           : x >= 0x1p63f ? INT64_MAX
           : x < -0x1p63f ? UINT64_C(1) << 63
                          : (uint64_t)(int64_t)x;
}

static uint64_t tf32_away(uint64_t x)
{
    uint64_t magnitude = x & 0x7fffffff;
    if (magnitude > 0x7f800000) {
        return 0x7fffffff;
    }
    return (x & 0x80000000) |
           (magnitude == 0x7f800000 ? magnitude : (magnitude + 0x1000) & ~UINT64_C(0x1fff));
}

static uint64_t small_float(float x, int digits, int least, double most, uint64_t nan)
{
    uint64_t greatest = of_small((long double)most, digits, least, 8, 0xff);
    uint64_t bits = of_small((long double)x, digits, least, 8, greatest);
    return isnan(x) ? nan : bits;
}

/* An 8-bit float as a half; with `finite` only the last pattern is a NaN, and none is infinite. */
static uint64_t small_half(uint64_t bits, int fraction_bits, int bias, bool finite)
{
    uint64_t fraction = bits & ((1u << fraction_bits) - 1), rest = bits & 0x7f;
    int exponent = (int)(rest >> fraction_bits);
    double value = exponent == 0 ? ldexp((double)fraction, 1 - bias - fraction_bits)
                                 : ldexp((double)(fraction + (1u << fraction_bits)),
                                         exponent - bias - fraction_bits);
    if (finite ? rest == 0x7f : rest > 0x7c) {
        return 0x7fff;
    }
    if (!finite && rest == 0x7c) {
        value = INFINITY;
    }
    return of_half(value) | (bits & 0x80) << 8;
}

static uint64_t saturated(int64_t x)
{
    return (uint64_t)(x < INT32_MIN ? INT32_MIN : x > INT32_MAX ? INT32_MAX : x);
}

static uint64_t relu(int64_t x) { return x < 0 ? 0 : (uint64_t)x; }

static uint64_t dot4(uint64_t x, uint64_t y, uint64_t z, bool x_signed, bool y_signed)
{
    for (int i = 0; i < 4; i++) {
        uint8_t a = (uint8_t)(x >> 8 * i), b = (uint8_t)(y >> 8 * i);
        z += (uint64_t)((int64_t)(x_signed ? (int8_t)a : a) * (y_signed ? (int8_t)b : b));
    }
    return z;
}

static uint64_t dot2(uint64_t x, uint64_t y, uint64_t z, bool x_signed, bool y_signed, int from)
{
    for (int i = 0; i < 2; i++) {
        uint16_t a = (uint16_t)(x >> 16 * i);
        uint8_t b = (uint8_t)(y >> 8 * (from + i));
        z += (uint64_t)((int64_t)(x_signed ? (int16_t)a : a) * (y_signed ? (int8_t)b : b));
    }
    return z;
}

static int top_bit(uint64_t x)
{
    int at = -1;
    for (; x != 0; x >>= 1) {
        at++;
    }
    return at;
}

static uint64_t bits_count(uint64_t x)
{
    uint64_t count = 0;
    for (; x != 0; x >>= 1) {
        count += x & 1;
    }
    return count;
}

static uint64_t reversed(uint64_t x, int width)
{
    uint64_t result = 0;
    for (int i = 0; i < width; i++) {
        result |= (x >> i & 1) << (width - 1 - i);
    }
    return result;
}

/* Bit for bit, as the manual has it. */
static uint64_t field(uint64_t x, uint64_t at, uint64_t length, int width, bool is_signed)
{
    uint64_t result = 0, end = (at & 0xff) + (length & 0xff) - 1, last = (uint64_t)width - 1;
    uint64_t fill = is_signed && (length & 0xff) != 0 ? x >> (end < last ? end : last) & 1 : 0;
    for (uint64_t i = 0; i <= last; i++) {
        bool inside = i < (length & 0xff) && (at & 0xff) + i <= last;
        result |= (inside ? x >> ((at & 0xff) + i) & 1 : fill) << i;
    }
    return result;
}

static uint64_t inserted(uint64_t x, uint64_t y, uint64_t at, uint64_t length, int width)
{
    for (uint64_t i = 0; i < (length & 0xff) && (at & 0xff) + i < (uint64_t)width; i++) {
        uint64_t bit = (at & 0xff) + i;
        y = (y & ~(UINT64_C(1) << bit)) | (x >> i & 1) << bit;
    }
    return y;
}

static uint64_t nth_bit(uint64_t mask, uint64_t base, int32_t offset)
{
    int64_t count = offset < 0 ? -(int64_t)offset : offset;
    if (base > 31) {
        return UINT64_MAX;
    }
    if (offset == 0) {
        return mask >> base & 1 ? base : UINT64_MAX;
    }
    for (int64_t at = (int64_t)base; at >= 0 && at<32; at += offset> 0 ? 1 : -1) {
        count -= (int64_t)(mask >> at & 1);
        if (count == 0) {
            return (uint64_t)at;
        }
    }
    return UINT64_MAX;
}

static uint64_t mask_clamped(uint64_t at, uint64_t length)
{
    uint64_t ones = length >= 32 ? UINT32_MAX : (UINT64_C(1) << length) - 1;
    return at >= 32 ? 0 : ones << at;
}

static uint64_t permuted(uint64_t x, uint64_t y, uint64_t selector)
{
    uint64_t both = U32(x) | y << 32, result = 0;
    for (int i = 0; i < 4; i++) {
        uint64_t s = selector >> 4 * i & 0xf, byte = both >> 8 * (s & 7) & 0xff;
        result |= (s & 8 ? (byte >> 7) * 0xff : byte) << 8 * i;
    }
    return result;
}

#define both16(x, y, value)                                                                        \
    __extension__({                                                                                \
        uint64_t a = (x)&0xffff, b = (y)&0xffff, low, high;                                        \
        (void)b;                                                                                   \
        low = (value)&0xffff;                                                                      \
        a = (x) >> 16 & 0xffff;                                                                    \
        b = (y) >> 16 & 0xffff;                                                                    \
        high = (value)&0xffff;                                                                     \
        low | high << 16;                                                                          \
    })

typedef uint64_t value_function(uint64_t x, uint64_t y, uint64_t z, uint64_t w);

#define CASE(name, text, widths, types, ...)                                                       \
    static uint64_t value_##name(uint64_t x, uint64_t y, uint64_t z, uint64_t w)                   \
    {                                                                                              \
        (void)x, (void)y, (void)z, (void)w;                                                        \
        return (uint64_t)(__VA_ARGS__);                                                            \
    }
#define NEAR CASE
#include "emu_cases.h"
#undef CASE
#undef NEAR

static const struct instruction_case {
    const char *name, *text, *widths, *types;
    value_function *value;
    bool near;
} cases[] = {
#define CASE(name, text, widths, types, ...) {#name, text, widths, types, value_##name, false},
#define NEAR(name, text, widths, types, ...) {#name, text, widths, types, value_##name, true},
#include "emu_cases.h"
#undef CASE
#undef NEAR
};

/* ---- inputs ---- */

static uint64_t draw_float(struct rng *rng)
{
    static const uint32_t known[] = {0,          0x80000000, 0x3f800000, 0xbf800000, 0x7f800000,
                                     0xff800000, 0x7fc00000, 0xffc12345, 0x00000001, 0x80000123,
                                     0x007fffff, 0x00800000, 0x7f7fffff, 0xff7fffff, 0x3f000000,
                                     0x4effffff, 0x4f000000, 0xcf000000, 0x4f800000, 0x43000000,
                                     0xc3160000, 0x3fc00000, 0x40200000, 0x477fe000, 0x477ff000,
                                     0x38800000, 0x33800000, 0x33000000, 0x3f7fffff, 0x3f808000};
    uint32_t kind = rng_below(rng, 4);
    if (kind == 0) {
        return known[rng_below(rng, sizeof known / sizeof *known)];
    }
    if (kind == 1) {
        return rng_u32(rng);
    }
    return of_float((float)((rng_unit(rng) - 0.5) * (kind == 2 ? 8 : 3000)));
}

static uint64_t draw_half(struct rng *rng, bool brain)
{
    uint32_t kind = rng_below(rng, 3);
    if (kind == 0) {
        return rng_u32(rng) & 0xffff;
    }
    double value = (rng_unit(rng) - 0.5) * (kind == 1 ? 4 : 500);
    return brain ? of_brain(value) : of_half(value);
}

static uint64_t draw(struct rng *rng, char type)
{
    static const uint64_t known[] = {0,
                                     1,
                                     2,
                                     31,
                                     32,
                                     0x7f,
                                     0x80,
                                     0xff,
                                     0x7fff,
                                     0x8000,
                                     0xffff,
                                     0x7fffffff,
                                     0x80000000,
                                     0xffffffff,
                                     0x7fffffffffffffff,
                                     0x8000000000000000,
                                     0xffffffffffffffff};
    double value = (rng_unit(rng) - 0.5) * 1000;
    switch (type) {
    case 'f': return draw_float(rng);
    case 'g':
        return rng_below(rng, 2) == 0   ? rng_u64(rng)
               : rng_below(rng, 3) == 0 ? of_double((double)F(draw_float(rng)))
                                        : of_double(value);
    case 'h': return draw_half(rng, false);
    case 'b': return draw_half(rng, true);
    case 'H': return draw_half(rng, false) | draw_half(rng, false) << 16;
    case 'B': return draw_half(rng, true) | draw_half(rng, true) << 16;
    case 's': return rng_below(rng, 8) == 0 ? rng_u32(rng) : rng_below(rng, 70);
    default:
        return rng_below(rng, 3) == 0   ? known[rng_below(rng, sizeof known / sizeof *known)]
               : rng_below(rng, 2) == 0 ? rng_u64(rng)
                                        : rng_u64(rng) >> rng_below(rng, 64);
    }
}

static unsigned width_of(const char *widths, int index)
{
    return widths[index] == 'p' ? 4 : (unsigned)(widths[index] - '0');
}

static uint64_t cut(uint64_t bits, unsigned bytes)
{
    return bytes == 8 ? bits : bits & ((UINT64_C(1) << 8 * bytes) - 1);
}

/* ---- each instruction ---- */

enum how { WHOLE, BRANCHED, GUARDED, WAYS };

/* d begins as a pattern; in two ways lanes with an odd number leave it so. */
static char *case_body(struct arena *arena, const struct instruction_case *one, enum how how)
{
    static const char names[] = "xyzw";
    struct buf body = {0};
    buf_printf(&body,
               ".reg .b64 %%in, %%out, %%at; .reg .b32 %%t, %%odd; .reg .pred %%q;\n"
               ".reg .b%u d;\n"
               "mov.u32 %%t, %%tid.x; ld.param.u64 %%in, [in]; ld.param.u64 %%out, [out];\n"
               "mul.wide.u32 %%at, %%t, 32; add.s64 %%in, %%in, %%at;\n"
               "mul.wide.u32 %%at, %%t, 8; add.s64 %%out, %%out, %%at;\n"
               "and.b32 %%odd, %%t, 1; setp.ne.b32 %%q, %%odd, 0;\n",
               8 * width_of(one->widths, 0));
    for (int i = 1; one->widths[i] != '\0'; i++) {
        char name = names[i - 1];
        if (one->widths[i] == 'p') {
            buf_printf(&body,
                       ".reg .pred %c; .reg .b32 %c_; ld.global.u32 %c_, [%%in+%d];\n"
                       "and.b32 %c_, %c_, 1; setp.ne.u32 %c, %c_, 0;\n",
                       name, name, name, 8 * (i - 1), name, name, name, name);
        } else {
            buf_printf(&body, ".reg .b%u %c; ld.global.b%u %c, [%%in+%d];\n",
                       8 * width_of(one->widths, i), name, 8 * width_of(one->widths, i), name,
                       8 * (i - 1));
        }
    }
    if (how != WHOLE) {
        buf_printf(&body, "mov.b%u d, 0x2222;\n", 8 * width_of(one->widths, 0));
    }
    buf_printf(&body, "%s%s\n%s\nst.global.b%u [%%out], d;\nret;\n",
               how == BRANCHED  ? "@%q bra PAST;\n"
               : how == GUARDED ? "@!%q "
                                : "",
               one->text, how == BRANCHED ? "PAST:" : "", 8 * width_of(one->widths, 0));
    char *text = arena_text(arena, body.data, body.length);
    buf_free(&body);
    return text;
}

/* The same, or both NaN; near: a step of the last place. */
static bool case_agrees(const struct instruction_case *one, uint64_t expected, uint64_t actual)
{
    if (expected == actual) {
        return true;
    }
    if (width_of(one->widths, 0) == 8 && strstr(one->text, "f64") != NULL) {
        return isnan(D(expected)) && isnan(D(actual));
    }
    return one->near && (expected - actual == 1 || actual - expected == 1);
}

static void case_check(const struct instruction_case *one, enum how how)
{
    static uint64_t inputs[THREADS][INPUTS];
    struct arena *arena = arena_new();
    struct trial *trial = trial_new("", case_body(arena, one, how));
    struct rng rng = rng_at(1, (uint32_t)(one - cases), 0);
    unsigned bytes = width_of(one->widths, 0);
    for (int t = 0; t < THREADS; t++) {
        for (int i = 0; i < INPUTS; i++) {
            bool used = i < (int)strlen(one->types);
            inputs[t][i] = used ? draw(&rng, one->types[i]) : 0;
        }
    }
    memory_host_write(trial->memory, trial->in, inputs, sizeof inputs);
    trial->launch.block[0] = THREADS;
    trial->launch.sanitize = how == BRANCHED ? SANITIZE_ALL : SANITIZE_BOUNDS;
    trial_pass(trial);
    for (int t = 0; t < THREADS; t++) {
        uint64_t v[INPUTS], actual = 0;
        for (int i = 0; i < INPUTS; i++) {
            bool used = i < (int)strlen(one->types);
            v[i] = used ? cut(inputs[t][i], width_of(one->widths, i + 1)) : 0;
        }
        uint64_t expected =
            how != WHOLE && t % 2 == 1 ? 0x2222 : cut(one->value(v[0], v[1], v[2], v[3]), bytes);
        assert_true(memory_host_read(trial->memory, trial->out + 8 * (uint64_t)t, &actual, bytes));
        if (!case_agrees(one, expected, actual)) {
            fail_msg("%s (way %d): x %llx y %llx z %llx w %llx: expected %llx, is %llx", one->name,
                     (int)how, (unsigned long long)v[0], (unsigned long long)v[1],
                     (unsigned long long)v[2], (unsigned long long)v[3],
                     (unsigned long long)expected, (unsigned long long)actual);
        }
    }
    trial_free(trial);
    arena_free(arena);
}

static void every_instruction_gives_what_plain_c_gives(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        case_check(&cases[i], WHOLE);
    }
}

static void lanes_that_are_not_asked_keep_what_they_had(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *first = strchr(cases[i].text, ';');
        bool alone = first != NULL && first[1] == '\0';
        case_check(&cases[i], BRANCHED);
        if (alone) {
            case_check(&cases[i], GUARDED);
        }
    }
}

static void loops_for_any_processor_give_the_same_bits(void **state)
{
    (void)state;
    setenv("EVO_EMU_PLAIN", "1", 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        case_check(&cases[i], WHOLE);
        case_check(&cases[i], BRANCHED);
    }
    unsetenv("EVO_EMU_PLAIN");
}

/* ---- loads and stores ---- */

static void loads_of_every_width_extend_as_their_type_says(void **state)
{
    static const struct {
        const char *text;
        uint32_t expected;
    } all[] = {
        {"ld.global.u8 %r1, [%in+3];", 0x89},
        {"ld.global.s8 %r1, [%in+3];", 0xffffff89},
        {"ld.global.u16 %r1, [%in+2];", 0x8967},
        {"ld.global.s16 %r1, [%in+2];", 0xffff8967},
        {"ld.global.u8 %h1, [%in+3]; cvt.u32.u16 %r1, %h1;", 0x89},
        {"ld.global.s8 %h1, [%in+3]; cvt.u32.u16 %r1, %h1;", 0xff89},
        {"ld.global.nc.L1::no_allocate.L2::128B.b32 %r1, [%in];", 0x89674523},
        {"ld.global.s32 %rd1, [%in]; shr.u64 %rd1, %rd1, 16; cvt.u32.u64 %r1, %rd1;", 0xffff8967},
        {"ld.global.u32 %rd1, [%in]; shr.u64 %rd1, %rd1, 16; cvt.u32.u64 %r1, %rd1;", 0x8967},
        {"ld.volatile.global.v2.u16 {%h1, %h2}, [%in]; mov.b32 %r1, {%h2, %h1};", 0x45238967},
        {"ld.relaxed.gpu.global.v4.u8 {%h1, %h2, %h3, _}, [%in]; cvt.u32.u16 %r1, %h3;", 0x67},
        {"ld.global.v2.b32 {%r2, %r1}, [%in];", 0xefcdab},
        {"ld.global.b64 %rd1, [%in]; ld.b64 %rd1, [%in]; cvt.u32.u64 %r1, %rd1;", 0x89674523},
        {"{ .reg .b128 q; ld.global.b128 q, [%in]; mov.b128 {%rd1, %rd2}, q; "
         "cvt.u32.u64 %r1, %rd2; }",
         0x55667788},
        {"mov.u64 %rd1, %in; ld.global.v2.u64 {%rd1, %rd2}, [%rd1]; cvt.u32.u64 %r1, %rd2;",
         0x55667788},
    };
    static const uint64_t words[2] = {0xefcdab89674523, 0x1122334455667788};
    uint64_t shifted[2] = {0x00efcdab89674523, words[1]};
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char body[512];
        snprintf(body, sizeof body, "%s st.global.u32 [%%o], %%r1;", all[i].text);
        struct trial *trial = small(body);
        memory_host_write(trial->memory, trial->in, shifted, sizeof shifted);
        trial_pass(trial);
        if (trial_word(trial, 5) != all[i].expected) {
            fail_msg("%s: expected %x, is %x", all[i].text, all[i].expected, trial_word(trial, 5));
        }
        trial_free(trial);
    }
}

static void stores_write_the_low_bytes_and_nothing_else(void **state)
{
    struct trial *trial = small("ld.global.u64 %rd1, [%in]; cvt.u32.u64 %r1, %rd1;"
                                "setp.ne.u32 %p1, %t, 0; @%p1 bra END;"
                                "cvt.u16.u32 %h1, %r1;"
                                "st.global.u8 [%out+1], %r1; st.global.u8 [%out+4], %h1;"
                                "st.global.u16 [%out+6], %rd1; st.global.u32 [%out+8], %rd1;"
                                "st.global.v2.b16 [%out+12], {%h1, 7};"
                                "st.global.v4.f32 [%out+16], {%r1, 0f3F800000, %r1, 0f00000000};"
                                "END: ret;");
    static const uint64_t word = 0x1122334455667788;
    static const uint32_t expected[] = {0xaaaa88aa, 0x7788aa88, 0x55667788, 0x00077788,
                                        0x55667788, 0x3f800000, 0x55667788, 0};
    (void)state;
    memory_host_write(trial->memory, trial->in, &word, sizeof word);
    memory_host_fill(trial->memory, trial->out, 0xaaaaaaaa, 64);
    trial_pass(trial);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(trial_word(trial, i), expected[i]);
    }
    trial_free(trial);
}

static void every_state_space_and_its_generic_address_work(void **state)
{
    static const char outside[] = ".global .align 4 .u32 table[4] = {10, 20, 30, 40};\n"
                                  ".const .align 8 .b8 letters[8] = {1, 2, 3, 4, 5};\n"
                                  ".global .f32 real = 1.5;\n"
                                  ".shared .align 16 .b8 fixed[256];\n"
                                  ".extern .shared .align 128 .b8 dynamic[];\n";
    char body[4096];
    (void)state;
    snprintf(body, sizeof body, "%s%s", START,
             ".local .align 8 .b8 depot[32]; .reg .b64 %sp, %spl;\n"
             "mov.u64 %spl, depot; cvta.local.u64 %sp, %spl;\n"
             "st.local.u32 [%spl+4], %t; ld.u32 %r1, [%sp+4];\n"
             "add.s32 %r1, %r1, 1; st.u32 [%sp], %r1; ld.local.u32 %r1, [depot];\n"
             "mov.u32 %r2, fixed; mul.lo.u32 %r3, %t, 4; add.s32 %r2, %r2, %r3;\n"
             "st.shared.u32 [%r2], %r1; ld.shared.u32 %r4, [%r2];\n"
             "cvt.u64.u32 %rd1, %r2; cvta.shared.u64 %rd1, %rd1; ld.u32 %r5, [%rd1];\n"
             "add.s32 %r4, %r4, %r5;\n"
             "mov.u64 %rd2, dynamic; mul.wide.u32 %rd3, %t, 4; add.s64 %rd2, %rd2, %rd3;\n"
             "st.shared.u32 [%rd2+64], %r4; ld.shared.u32 %r4, [%rd2+64];\n"
             "cvta.shared.u64 %rd4, %rd2; cvta.to.shared.u64 %rd4, %rd4;\n"
             "ld.shared.u32 %r4, [%rd4+64];\n"
             "ld.global.u32 %r6, [table+8]; ld.const.u8 %r7, [letters+4];\n"
             "mov.u64 %rd5, table; cvta.global.u64 %rd5, %rd5; ld.u32 %r8, [%rd5+12];\n"
             "ld.global.f32 %f1, [real]; cvt.rzi.u32.f32 %r9, %f1;\n"
             "mov.b64 %rd6, a; cvta.param.u64 %rd6, %rd6; ld.u64 %rd7, [%rd6];\n"
             "cvt.u32.u64 %r10, %rd7; ld.param.u32 %r11, [b+4];\n"
             "isspacep.shared %p1, %rd1; isspacep.local %p2, %sp; isspacep.global %p3, %in;\n"
             "and.pred %p1, %p1, %p2; and.pred %p1, %p1, %p3; isspacep.local %p2, %rd1;\n"
             "not.pred %p2, %p2; and.pred %p1, %p1, %p2; selp.b32 %r12, 1, 0, %p1;\n"
             "add.s32 %r4, %r4, %r6; add.s32 %r4, %r4, %r7; add.s32 %r4, %r4, %r8;\n"
             "add.s32 %r4, %r4, %r9; add.s32 %r4, %r4, %r10; add.s32 %r4, %r4, %r11;\n"
             "mad.lo.s32 %r4, %r12, 100000, %r4; st.global.u32 [%o], %r4;\n");
    struct trial *trial = trial_new(outside, body);
    trial->launch.smem_bytes = 1024;
    trial->launch.sanitize = SANITIZE_ALL;
    trial->args[2] = 1000;
    trial->args[3] = (uint64_t)7000 << 32;
    trial_pass(trial);
    for (int t = 0; t < 32; t++) {
        assert_int_equal(trial_word(trial, t),
                         100000 + 2 * (t + 1) + 30 + 5 + 40 + 1 + 1000 + 7000);
    }
    trial_free(trial);
}

static void atomics_take_effect_in_the_order_of_lanes(void **state)
{
    static const struct {
        const char *text;
        uint64_t first, last; /* of the cell; 8 bytes */
        uint32_t lane5;       /* what lane 5 gets */
    } all[] = {
        {"atom.global.add.u32 %r1, [%in], %t;", 100, 596, 110},
        {"atom.add.s32 %r1, [%in], -1;", 100, 68, 95},
        {"atom.global.inc.u32 %r1, [%in], 102;", 100, 100 + 3 - 103 + 29, 2},
        {"atom.global.dec.u32 %r1, [%in], 40;", 2, 11, 38},
        {"atom.global.min.u32 %r1, [%in], %t;", 9, 0, 0},
        {"sub.s32 %r2, %t, 40; atom.global.max.s32 %r1, [%in], %r2;", 0xfffffff0, 0xfffffff7,
         0xfffffff0},
        {"shl.b32 %r2, 1, %t; atom.global.or.b32 %r1, [%in], %r2;", 0, 0xffffffff, 0x1f},
        {"atom.global.and.b32 %r1, [%in], 0xfff0;", 0x12345678, 0x5670, 0x5670},
        {"shl.b32 %r2, 1, %t; atom.global.xor.b32 %r1, [%in], %r2;", 1, 0xfffffffe, 0x1e},
        {"atom.global.exch.b32 %r1, [%in], %t;", 77, 31, 4},
        {"add.s32 %r2, %t, 1; atom.acq_rel.gpu.global.cas.b32 %r1, [%in], %t, %r2;", 0, 32, 5},
        {"atom.global.add.f32 %f1, [%in], 0f3F000000; mov.b32 %r1, %f1;", 0x3f800000, 0x41880000,
         0x40600000},
        {"atom.global.add.u64 %rd1, [%in], 0x100000000; shr.u64 %rd1, %rd1, 32;"
         "cvt.u32.u64 %r1, %rd1;",
         5, 0x2000000005, 5},
        {"{ .reg .f64 e; atom.global.add.f64 e, [%in], 0d3FF0000000000000;"
         "cvt.rzi.u32.f64 %r1, e; }",
         0, 0x4040000000000000, 5},
        {"atom.global.add.noftz.f16x2 %r1, [%in], 0x3c004000;", 0x3c000000, 0x50205400, 0x46004900},
        {"atom.global.add.noftz.bf16x2 %r1, [%in], 0x3f804000;", 0, 0x42004280, 0x40a04120},
        {"mov.b16 %h2, 0x3c00; atom.global.add.noftz.f16 %h1, [%in], %h2; cvt.u32.u16 %r1, %h1;",
         0x3c00, 0x5020, 0x4600},
        {"red.global.add.u32 [%in], %t; mov.u32 %r1, %t;", 1, 497, 5},
        {"red.relaxed.gpu.global.max.u64 [%in], 7; mov.u32 %r1, %t;", 3, 7, 5},
        {"red.global.v2.f32.add [%in], {0f3F800000, 0f40000000}; mov.u32 %r1, %t;", 0,
         0x4280000042000000, 5},
        {"{ .reg .b128 q, s, n; cvt.u64.u32 %rd1, %t; add.s64 %rd2, %rd1, 1; mov.u64 %rd3, 0;"
         "mov.b128 s, {%rd1, %rd3}; mov.b128 n, {%rd2, %rd3}; atom.global.cas.b128 q, [%in], s, n;"
         "mov.b128 {%rd4, %rd5}, q; cvt.u32.u64 %r1, %rd4; }",
         0, 32, 5},
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char body[1024];
        uint64_t last = 0;
        snprintf(body, sizeof body, "%s st.global.u32 [%%o], %%r1;", all[i].text);
        struct trial *trial = small(body);
        memory_host_write(trial->memory, trial->in, &all[i].first, 8);
        trial_pass(trial);
        memory_host_read(trial->memory, trial->in, &last, 8);
        if (last != all[i].last || trial_word(trial, 5) != all[i].lane5) {
            fail_msg("%s: the cell is %llx, not %llx; lane 5 got %x, not %x", all[i].text,
                     (unsigned long long)last, (unsigned long long)all[i].last,
                     trial_word(trial, 5), all[i].lane5);
        }
        assert_true(trial->outcome.atomics);
        trial_free(trial);
    }
}

static void only_atomics_on_global_memory_are_reported(void **state)
{
    struct trial *trial =
        small(".shared .align 4 .u32 cell; setp.eq.u32 %p1, %t, 0; @%p1 st.shared.u32 [cell], 0;"
              "bar.sync 0; atom.shared.add.u32 %r1, [cell], 1; bar.sync 0;"
              "ld.shared.u32 %r2, [cell]; st.global.u32 [%o], %r2;");
    (void)state;
    trial->launch.sanitize = SANITIZE_ALL;
    trial_pass(trial);
    assert_int_equal(trial_word(trial, 9), 32);
    assert_false(trial->outcome.atomics);
    trial_free(trial);
}

/* ---- what lanes do together ---- */

/* The body computes %r1 from %t; `expected` gives it for each lane. */
static void check_lanes(const char *text, uint32_t (*expected)(int lane))
{
    char body[1024];
    snprintf(body, sizeof body, "%s st.global.u32 [%%o], %%r1;", text);
    struct trial *trial = small(body);
    trial_pass(trial);
    for (int lane = 0; lane < 32; lane++) {
        if (trial_word(trial, lane) != expected(lane)) {
            fail_msg("%s: lane %d: expected %x, is %x", text, lane, expected(lane),
                     trial_word(trial, lane));
        }
    }
    trial_free(trial);
}

static uint32_t lane_xor_5(int lane) { return 100 + (uint32_t)(lane ^ 5); }
static uint32_t lane_up_3(int lane)
{
    return lane >= 3 ? 97 + (uint32_t)lane + 1000 : 100 + (uint32_t)lane;
}
static uint32_t lane_down_8(int lane)
{
    return lane % 16 < 8 ? 108 + (uint32_t)lane : 100 + (uint32_t)lane;
}
static uint32_t lane_index(int lane) { return 100 + (uint32_t)(lane / 8 * 8 + 2); }
static uint32_t lane_other(int lane) { return 100 + (uint32_t)((lane * 7) % 32); }
static uint32_t lane_halves(int lane) { return 100 + (uint32_t)(lane < 16 ? 15 : 31); }

static void shuffles_take_from_where_the_manual_says(void **state)
{
    (void)state;
    check_lanes("add.s32 %r2, %t, 100; shfl.sync.bfly.b32 %r1, %r2, 5, 31, -1;", lane_xor_5);
    check_lanes("add.s32 %r2, %t, 100; shfl.sync.up.b32 %r1|%p1, %r2, 3, 0, 0xffffffff;"
                "@%p1 add.s32 %r1, %r1, 1000;",
                lane_up_3);
    check_lanes("add.s32 %r2, %t, 100; mov.u32 %r3, 8; mov.u32 %r4, 0x100f;"
                "shfl.sync.down.b32 %r1, %r2, %r3, %r4, -1;",
                lane_down_8);
    check_lanes("add.s32 %r2, %t, 100; shfl.sync.idx.b32 %r1, %r2, 2, 0x181f, -1;", lane_index);
    check_lanes("add.s32 %r1, %t, 100; mul.lo.u32 %r3, %t, 7;"
                "shfl.sync.idx.b32 %r1, %r1, %r3, 31, -1;",
                lane_other);
    check_lanes("add.s32 %r2, %t, 100; setp.lt.u32 %p1, %t, 16; selp.b32 %r3, 15, 31, %p1;"
                "selp.b32 %r4, 0xffff, 0xffff0000, %p1; shfl.sync.idx.b32 %r1, %r2, %r3, 31, %r4;",
                lane_halves);
}

static uint32_t ballot_thirds(int lane)
{
    (void)lane;
    return 0x49249249;
}
static uint32_t votes(int lane) { return lane < 16 ? 0 + 2 + 0 : 1 + 2 + 4; }
static uint32_t same_quarter(int lane) { return 0xffu << (lane / 8 * 8); }
static uint32_t match_all(int lane) { return lane < 16 ? 0xffff : 0xffff0000u + 0; }
static uint32_t sums(int lane) { return lane < 8 ? 28 : (uint32_t)(8 + 31) * 24 / 2; }
static uint32_t least_signed(int lane)
{
    (void)lane;
    return (uint32_t)-10;
}
static uint32_t elected(int lane) { return lane < 4 ? 0 : lane == 4 ? 1004 : 4; }
static uint32_t active_half(int lane) { return lane % 2 ? 0xaaaaaaaa : 0; }

static void votes_matches_and_reductions_are_over_the_lanes_of_the_mask(void **state)
{
    (void)state;
    check_lanes("rem.u32 %r2, %t, 3; setp.eq.u32 %p1, %r2, 0;"
                "vote.sync.ballot.b32 %r1, %p1, -1;",
                ballot_thirds);
    check_lanes("setp.ge.u32 %p1, %t, 15; setp.lt.u32 %p2, %t, 16;"
                "selp.b32 %r2, 0xffff, 0xffff0000, %p2;"
                "vote.sync.all.pred %p3, %p1, %r2; vote.sync.any.pred %p4, %p1, %r2;"
                "vote.sync.uni.pred %p5, !%p1, %r2; selp.b32 %r1, 1, 0, %p3;"
                "@%p4 add.s32 %r1, %r1, 2; @%p5 add.s32 %r1, %r1, 4;",
                votes);
    check_lanes("shr.u32 %r2, %t, 3; match.any.sync.b32 %r1, %r2, -1;", same_quarter);
    check_lanes("setp.lt.u32 %p2, %t, 16; selp.b32 %r2, 0xffff, 0xffff0000, %p2;"
                "cvt.u64.u32 %rd1, %r2; match.all.sync.b64 %r1|%p1, %rd1, %r2;"
                "@!%p1 mov.u32 %r1, 0;",
                match_all);
    check_lanes("setp.lt.u32 %p1, %t, 8; selp.b32 %r2, 0xff, 0xffffff00, %p1;"
                "redux.sync.add.u32 %r1, %t, %r2;",
                sums);
    check_lanes("sub.s32 %r2, %t, 10; redux.sync.min.s32 %r1, %r2, -1;", least_signed);
    check_lanes("mov.u32 %r1, 0; setp.lt.u32 %p1, %t, 4; @%p1 bra L;"
                "elect.sync %r1|%p2, 0xfffffff0; @%p2 add.s32 %r1, %r1, 1000; L:",
                elected);
    check_lanes("mov.u32 %r1, 0; and.b32 %r2, %t, 1; setp.eq.u32 %p1, %r2, 0; @%p1 bra L;"
                "activemask.b32 %r1; L:",
                active_half);
}

/* ---- control flow ---- */

static uint32_t collatz(int lane)
{
    uint32_t steps = 0;
    for (uint32_t n = (uint32_t)lane + 1; n != 1; n = n % 2 ? 3 * n + 1 : n / 2) {
        steps++;
    }
    return steps;
}

static uint32_t nested(int lane)
{
    uint32_t sum = 0;
    for (int i = 0; i < lane % 5; i++) {
        for (int k = i; k < lane; k++) {
            if ((k ^ i) % 3 == 0) {
                continue;
            }
            if (k > 20) {
                break;
            }
            sum += (uint32_t)(k * i + 1);
        }
    }
    return sum;
}

static uint32_t switched(int lane)
{
    static const uint32_t values[] = {111, 222, 333, 444};
    return values[lane % 4];
}

static uint32_t alternating(int lane) { return lane % 2 ? 16u * 3 : 16u * 5; }

static void divergent_lanes_each_take_their_own_way(void **state)
{
    (void)state;
    check_lanes("mov.u32 %r1, 0; add.s32 %r2, %t, 1;\n"
                "LOOP: setp.eq.u32 %p1, %r2, 1; @%p1 bra DONE; add.s32 %r1, %r1, 1;\n"
                "and.b32 %r3, %r2, 1; setp.eq.u32 %p2, %r3, 0; @%p2 bra EVEN;\n"
                "mad.lo.u32 %r2, %r2, 3, 1; bra LOOP; EVEN: shr.u32 %r2, %r2, 1; bra.uni LOOP;\n"
                "DONE:",
                collatz);
    check_lanes("mov.u32 %r1, 0; rem.u32 %r2, %t, 5; mov.u32 %r3, 0;\n"
                "OUTER: setp.ge.u32 %p1, %r3, %r2; @%p1 bra DONE; mov.u32 %r4, %r3;\n"
                "INNER: setp.ge.u32 %p1, %r4, %t; @%p1 bra NEXT;\n"
                "xor.b32 %r5, %r4, %r3; rem.u32 %r5, %r5, 3; setp.eq.u32 %p1, %r5, 0;\n"
                "@%p1 bra SKIP; setp.gt.u32 %p1, %r4, 20; @%p1 bra NEXT;\n"
                "mad.lo.u32 %r5, %r4, %r3, 1; add.s32 %r1, %r1, %r5;\n"
                "SKIP: add.s32 %r4, %r4, 1; bra INNER;\n"
                "NEXT: add.s32 %r3, %r3, 1; bra OUTER; DONE:",
                nested);
    check_lanes("and.b32 %r2, %t, 3; TABLE: .branchtargets A, B, C, D; brx.idx %r2, TABLE;\n"
                "A: mov.u32 %r1, 111; bra E; B: mov.u32 %r1, 222; bra E;\n"
                "D: mov.u32 %r1, 444; bra E; C: mov.u32 %r1, 333; E:",
                switched);
    /* A shuffle inside a loop that lanes leave and enter at different times. */
    check_lanes("and.b32 %r2, %t, 1; setp.ne.u32 %p1, %r2, 0; mov.u32 %r1, 0;\n"
                "selp.b32 %r3, 3, 5, %p1; selp.b32 %r4, 0xaaaaaaaa, 0x55555555, %p1;\n"
                "L: redux.sync.add.u32 %r5, 1, %r4; add.s32 %r1, %r1, %r5;\n"
                "sub.s32 %r3, %r3, 1; setp.ne.u32 %p2, %r3, 0; @%p2 bra L;",
                alternating);
}

static void labels_and_registers_of_a_scope_are_its_own(void **state)
{
    struct trial *trial =
        small("mov.u32 %r1, 0;\n"
              "{ .reg .pred P; .reg .b32 v; mov.u32 v, 3; L: add.s32 %r1, %r1, v; sub.s32 v, v, 1;"
              "  setp.ne.u32 P, v, 0; @P bra L; }\n"
              "{ .reg .pred P; .reg .b64 v; mov.u64 v, 2; L: add.s32 %r1, %r1, 10;"
              "  sub.s64 v, v, 1; setp.ne.s64 P, v, 0; @P bra L; bra DONE; DONE: }\n"
              "{ bra DONE; add.s32 %r1, %r1, 1000; DONE: } st.global.u32 [%o], %r1;");
    (void)state;
    trial_pass(trial);
    assert_int_equal(trial_word(trial, 0), 26);
    trial_free(trial);
}

static void functions_are_called(void **state)
{
    static const char outside[] =
        ".func (.param .b32 out_value) square(.param .b32 value)\n"
        "{ .reg .b32 %r<4>; ld.param.u32 %r1, [value]; mul.lo.u32 %r2, %r1, %r1;\n"
        "  st.param.b32 [out_value], %r2; ret; }\n"
        ".func (.param .b64 both) either(.param .b32 value, .param .align 8 .b8 pair[8])\n"
        "{ .reg .b32 %r<8>; .reg .b64 %rd<4>; .reg .pred %p; ld.param.u32 %r1, [value];\n"
        "  ld.param.u32 %r2, [pair+4]; setp.lt.u32 %p, %r1, 16; @%p bra LOW;\n"
        "  { .param .b32 one; .param .b32 two; st.param.b32 [one], %r1;\n"
        "    call.uni (two), square, (one); ld.param.b32 %r2, [two]; }\n"
        "  cvt.u64.u32 %rd1, %r2; st.param.b64 [both], %rd1; ret;\n"
        "  LOW: cvt.u64.u32 %rd1, %r2; st.param.b64 [both], %rd1; ret; }\n";
    char body[2048];
    (void)state;
    snprintf(body, sizeof body, "%s%s", START,
             "{ .param .b32 x; .param .align 8 .b8 y[8]; .param .b64 z;\n"
             "st.param.b32 [x], %t; st.param.v2.b32 [y], {1, 1234};\n"
             "call (z), either, (x, y); ld.param.b64 %rd1, [z]; }\n"
             "cvt.u32.u64 %r1, %rd1; st.global.u32 [%o], %r1;");
    struct trial *trial = trial_new(outside, body);
    trial->launch.sanitize = SANITIZE_ALL;
    trial_pass(trial);
    for (int t = 0; t < 32; t++) {
        assert_int_equal(trial_word(trial, t), t < 16 ? 1234 : t * t);
    }
    trial_free(trial);
}

/* Lane 0 holds a lock that the others spin for; without fairness nobody would ever get on. */
static void lanes_that_spin_let_the_others_go_on(void **state)
{
    struct trial *trial =
        small("mov.u32 %r1, 0;\n"
              "SPIN: atom.global.cas.b32 %r2, [%in], 0, 1; setp.ne.u32 %p1, %r2, 0;\n"
              "@%p1 bra SPIN;\n"
              "ld.volatile.global.u32 %r3, [%in+8]; add.s32 %r3, %r3, 1;\n"
              "st.volatile.global.u32 [%in+8], %r3; membar.gl;\n"
              "atom.global.exch.b32 %r2, [%in], 0; st.global.u32 [%o], %r3;\n");
    struct trial *flag =
        small("setp.ne.u32 %p1, %t, 31; @!%p1 bra SET;\n"
              "WAIT: ld.volatile.global.u32 %r1, [%in]; setp.eq.u32 %p2, %r1, 0; @%p2 bra WAIT;\n"
              "bra END; SET: st.volatile.global.u32 [%in], 9; mov.u32 %r1, 9;\n"
              "END: st.global.u32 [%o], %r1;");
    uint32_t seen = 0, count = 0;
    (void)state;
    trial->launch.block[0] = 64;
    trial->launch.sanitize = SANITIZE_ALL;
    trial_pass(trial);
    memory_host_read(trial->memory, trial->in + 8, &count, 4);
    assert_int_equal(count, 64);
    for (int t = 0; t < 64; t++) {
        seen += trial_word(trial, t);
    }
    assert_int_equal(seen, 64 * 65 / 2);
    trial_pass(flag);
    assert_int_equal(trial_word(flag, 3), 9);
    trial_free(trial);
    trial_free(flag);
}

static void a_warp_barrier_may_stand_in_both_arms(void **state)
{
    struct trial *trial =
        small(".shared .align 4 .b8 room[128]; mov.u32 %r2, room; shl.b32 %r3, %t, 2;\n"
              "add.s32 %r2, %r2, %r3; setp.lt.u32 %p1, %t, 16; @%p1 bra LOW;\n"
              "st.shared.u32 [%r2], %t; bar.warp.sync -1; bra END;\n"
              "LOW: bar.warp.sync -1; ld.shared.u32 %r1, [%r2+64]; st.global.u32 [%o], %r1;\n"
              "END: ret;");
    (void)state;
    trial->launch.sanitize = SANITIZE_ALL;
    trial_pass(trial);
    assert_int_equal(trial_word(trial, 3), 19);
    trial_free(trial);
}

static uint32_t special_sum(int lane) { return (uint32_t)lane; }

static void special_registers_say_where_a_lane_is(void **state)
{
    struct trial *trial = small(
        "mov.u32 %r1, %tid.y; mov.u32 %r2, %tid.z; mov.u32 %r3, %ntid.x; mov.u32 %r4, %ctaid.y;\n"
        "mov.u32 %r5, %nctaid.x; mov.u32 %r6, %warpid; mov.u32 %r7, %laneid; mov.u32 %r8, "
        "%ctaid.x;\n"
        "mad.lo.u32 %r9, %r2, 4, %r1; mad.lo.u32 %r9, %r9, %r3, %t;\n"
        "mov.u32 %r10, %ctaid.x; mad.lo.u32 %r10, %r4, %r5, %r10; mad.lo.u32 %r10, %r10, 64, %r9;\n"
        "mul.wide.u32 %rd1, %r10, 4; add.s64 %rd1, %out, %rd1;\n"
        "mad.lo.u32 %r11, %r6, 32, %r7; mad.lo.u32 %r11, %r4, 1000, %r11;\n"
        "mad.lo.u32 %r11, %r8, 10000, %r11; st.global.u32 [%rd1], %r11;");
    (void)state;
    trial->launch.block[0] = 8;
    trial->launch.block[1] = 4;
    trial->launch.block[2] = 2;
    trial->launch.grid[0] = 3;
    trial->launch.grid[1] = 2;
    trial_pass(trial);
    for (int b = 0; b < 6; b++) {
        for (int t = 0; t < 64; t++) {
            assert_int_equal(trial_word(trial, 64 * b + t), t + 1000 * (b / 3) + 10000 * (b % 3));
        }
    }
    trial_free(trial);
    check_lanes("mov.u32 %r1, %lanemask_lt; popc.b32 %r1, %r1; mov.u32 %r2, %lanemask_ge;\n"
                "popc.b32 %r2, %r2; add.s32 %r2, %r2, %r1; sub.s32 %r2, %r2, 32;\n"
                "add.s32 %r1, %r1, %r2; mov.u32 %r3, %clock; mov.u32 %r4, %clock;\n"
                "setp.le.u32 %p1, %r4, %r3; @%p1 add.s32 %r1, %r1, 1000;",
                special_sum);
}

static void clusters_know_their_blocks(void **state)
{
    struct trial *trial = small(
        "mov.u32 %r1, %cluster_ctarank; mov.u32 %r2, %cluster_nctarank; mov.u32 %r3, "
        "%clusterid.x;\n"
        "mov.u32 %r4, %ctaid.x; mov.u32 %r5, %cluster_ctaid.x; setp.ne.u32 %p1, %t, 0;\n"
        "mov.u32 %r8, %nclusterid.x; mad.lo.u32 %r6, %r3, 100, %r1; mad.lo.u32 %r6, %r2, 1000, "
        "%r6;\n"
        "mad.lo.u32 %r6, %r5, 10000, %r6; mad.lo.u32 %r6, %r8, 100000, %r6;\n"
        "mul.wide.u32 %rd1, %r4, 4; add.s64 %rd1, %out, %rd1; @!%p1 st.global.u32 [%rd1], %r6;");
    (void)state;
    trial->launch.grid[0] = 6;
    trial->launch.cluster[0] = 2;
    trial_pass(trial);
    for (int b = 0; b < 6; b++) {
        assert_int_equal(trial_word(trial, b),
                         300000 + 10000 * (b % 2) + 2000 + 100 * (b / 2) + b % 2);
    }
    trial_free(trial);
}

/* ---- barriers ---- */

static void a_block_exchanges_through_shared_memory(void **state)
{
    struct trial *trial =
        small(".shared .align 4 .b8 room[1024]; mov.u32 %r2, room; shl.b32 %r3, %t, 2;\n"
              "add.s32 %r2, %r2, %r3; mov.u32 %r5, room; mov.u32 %r1, %t; mov.u32 %r6, 0;\n"
              "L: st.shared.u32 [%r2], %r1; bar.sync 0;\n"
              "add.s32 %r3, %t, 37; rem.u32 %r3, %r3, 200; shl.b32 %r3, %r3, 2;\n"
              "add.s32 %r3, %r5, %r3; ld.shared.u32 %r1, [%r3]; bar.sync 0;\n"
              "add.s32 %r6, %r6, 1; setp.lt.u32 %p1, %r6, 5; @%p1 bra L; st.global.u32 [%o], %r1;");
    (void)state;
    trial->launch.block[0] = 200; /* the last warp is a quarter */
    trial->launch.sanitize = SANITIZE_ALL;
    trial_pass(trial);
    for (int t = 0; t < 200; t++) {
        assert_int_equal(trial_word(trial, t), (t + 5 * 37) % 200);
    }
    trial_free(trial);
}

static void named_barriers_hold_producers_and_consumers(void **state)
{
    struct trial *trial =
        small(".shared .align 4 .b8 room[128]; mov.u32 %r2, room; and.b32 %r3, %t, 31;\n"
              "shl.b32 %r3, %r3, 2; add.s32 %r2, %r2, %r3; mov.u32 %r6, 0; mov.u32 %r7, 0;\n"
              "setp.ge.u32 %p1, %t, 32; @%p1 bra CONSUME;\n"
              "P: add.s32 %r1, %t, %r6; bar.sync 2, 64; st.shared.u32 [%r2], %r1;\n"
              "bar.arrive 1, 64; add.s32 %r6, %r6, 1; setp.lt.u32 %p2, %r6, 4; @%p2 bra P; ret;\n"
              "CONSUME: bar.arrive 2, 64; barrier.sync.aligned 1, 64; ld.shared.u32 %r1, [%r2];\n"
              "add.s32 %r7, %r7, %r1; add.s32 %r6, %r6, 1; setp.lt.u32 %p2, %r6, 4;\n"
              "@%p2 bra CONSUME; st.global.u32 [%o], %r7;");
    (void)state;
    trial->launch.block[0] = 64;
    trial->launch.sanitize = SANITIZE_ALL;
    trial_pass(trial);
    for (int t = 0; t < 32; t++) {
        assert_int_equal(trial_word(trial, 32 + t), 4 * t + 6);
    }
    trial_free(trial);
}

static void barriers_reduce_predicates(void **state)
{
    struct trial *trial =
        small("setp.lt.u32 %p1, %t, 40; bar.red.popc.u32 %r1, 0, %p1;\n"
              "bar.red.and.pred %p2, 0, %p1; barrier.red.or.pred %p3, 0, !%p1;\n"
              "@%p2 add.s32 %r1, %r1, 1000; @%p3 add.s32 %r1, %r1, 2000; st.global.u32 [%o], %r1;");
    (void)state;
    trial->launch.block[0] = 96;
    trial_pass(trial);
    assert_int_equal(trial_word(trial, 70), 2040);
    trial_free(trial);
}

static void warps_that_have_ended_are_not_waited_for(void **state)
{
    struct trial *trial = small("setp.lt.u32 %p1, %t, 48; @%p1 ret; bar.sync 0;\n"
                                "st.global.u32 [%o], 7;");
    (void)state;
    trial->launch.block[0] = 128;
    trial_pass(trial);
    assert_int_equal(trial_word(trial, 47), 0);
    assert_int_equal(trial_word(trial, 48), 7);
    assert_int_equal(trial_word(trial, 127), 7);
    trial_free(trial);
}

/* ---- how runs end ---- */

/* Runs and expects a finding of the kind, with the words in its text. */
static void expect_finding(struct trial *trial, enum finding_kind kind, const char *words)
{
    trial_run(trial);
    for (int i = 0; i < trial->outcome.finding_count; i++) {
        const struct finding *finding = &trial->outcome.findings[i];
        if (finding->kind == kind && strstr(finding->text, words) != NULL) {
            trial_free(trial);
            return;
        }
    }
    fail_msg("no finding '%s' with '%s', but %d others: %s", finding_names[kind], words,
             trial->outcome.finding_count,
             trial->outcome.finding_count > 0 ? trial->outcome.findings[0].text : "");
}

static struct trial *with_threads(struct trial *trial, uint32_t threads)
{
    trial->launch.block[0] = threads;
    return trial;
}

static void a_deadlock_names_who_waits_where(void **state)
{
    (void)state;
    expect_finding(with_threads(small("setp.lt.u32 %p1, %t, 32; @%p1 bra ONE; bar.sync 1, 64; ret;"
                                      "ONE: bar.sync 2, 64;"),
                                64),
                   FINDING_DEADLOCK, "for barrier 2, to which 32 of 64 threads have come");
    expect_finding(with_threads(small("setp.ge.u32 %p1, %t, 64; @%p1 ret; bar.sync 3, 96;"), 96),
                   FINDING_DEADLOCK, "warp 0 of block 0,0,0");
    expect_finding(small("setp.lt.u32 %p1, %t, 16; @%p1 bra END; shfl.sync.idx.b32 %r1, %t, 0, 31,"
                         " -1; st.global.u32 [%o], %r1; ret; END: bar.warp.sync -1;"),
                   FINDING_DEADLOCK, "shfl");
    expect_finding(with_threads(small("setp.lt.u32 %p1, %t, 16; @%p1 bra END; bar.sync 0; ret;"
                                      "END: bar.sync 0;"),
                                64),
                   FINDING_BARRIER, "some lanes of a warp only");
}

static void misused_masks_are_told(void **state)
{
    (void)state;
    expect_finding(small("setp.lt.u32 %p1, %t, 16; selp.b32 %r4, 0xffff, 0xffff0000, %p1;"
                         "shfl.sync.bfly.b32 %r1, %t, 16, 31, %r4; st.global.u32 [%o], %r1;"),
                   FINDING_BARRIER, "it reads lane 16, which is not in its mask");
    expect_finding(small("setp.ge.u32 %p1, %t, 16; @%p1 ret;"
                         "shfl.sync.bfly.b32 %r1, %t, 16, 31, -1; st.global.u32 [%o], %r1;"),
                   FINDING_BARRIER, "it reads lane 16, which has ended");
    expect_finding(small("setp.lt.u32 %p1, %t, 16; selp.b32 %r4, -1, 0xffff0000, %p1;"
                         "shfl.sync.bfly.b32 %r1, %t, 1, 31, %r4; st.global.u32 [%o], %r1;"),
                   FINDING_BARRIER, "it gives the mask 0xffffffff, and lane 16, which is in it, "
                                    "0xffff0000");
}

static void misused_barriers_are_told(void **state)
{
    (void)state;
    expect_finding(small("bar.sync 0, 48;"), FINDING_BARRIER, "not a number of whole warps");
    expect_finding(small("mov.u32 %r1, %t; or.b32 %r1, %r1, 64; bar.sync %r1;"),
                   FINDING_UNSUPPORTED, "different barriers");
    expect_finding(small("add.s32 %r1, %t, 0; mul.lo.u32 %r1, %r1, 0; add.s32 %r1, %r1, 16;"
                         "bar.sync %r1;"),
                   FINDING_BARRIER, "does not exist");
    expect_finding(with_threads(small("setp.lt.u32 %p1, %t, 32; @%p1 bra ONE; bar.sync 1, 64; ret;"
                                      "ONE: bar.sync 1, 96;"),
                                64),
                   FINDING_BARRIER, "is for 64 threads here, and for 96 where others");
    expect_finding(with_threads(small("bar.arrive 1, 128; bar.arrive 1, 128;"), 32),
                   FINDING_BARRIER, "again before it is complete");
}

static void budgets_and_traps_end_a_run(void **state)
{
    struct trial *slow = small("L: add.s32 %r1, %t, 1; bra L;");
    (void)state;
    expect_finding(small("L: bra L;"), FINDING_BUDGET, "warp instructions");
    slow->launch.op_budget = 0;
    slow->launch.time_budget_ms = 50;
    expect_finding(slow, FINDING_BUDGET, "50 ms");
    expect_finding(small("setp.eq.u32 %p1, %t, 3; @%p1 trap;"), FINDING_TRAP, "trap");
    struct trial *far = small("mov.u32 %r1, 9; add.s32 %r1, %r1, %t; "
                              "T: .branchtargets A; brx.idx %r1, T; A: ret;");
    expect_finding(far, FINDING_UNSUPPORTED, "target 9 of a table of 1");
    struct trial *large = small("ret;");
    large->launch.block[0] = 2048;
    expect_finding(large, FINDING_UNSUPPORTED, "2048");
}

static void a_register_that_nobody_wrote_is_told_when_it_matters(void **state)
{
    struct trial *trial = small("add.s32 %r1, %r2, 1; st.global.u32 [%o], %r1;");
    struct trial *fine = small("add.s32 %r1, %r2, 1; mov.u32 %r1, %t; setp.lt.u32 %p1, %t, 7;"
                               "@%p1 mov.u32 %r3, 5; @%p1 st.global.u32 [%o], %r3;");
    struct trial *some = small("setp.lt.u32 %p1, %t, 7; @%p1 mov.u32 %r3, 5;"
                               "st.global.u32 [%o], %r3;");
    struct trial *guard = small("@%p3 bra L; st.global.u32 [%o], 1; L: ret;");
    (void)state;
    trial->launch.sanitize = some->launch.sanitize = SANITIZE_ALL;
    fine->launch.sanitize = guard->launch.sanitize = SANITIZE_ALL;
    expect_finding(trial, FINDING_UNINITIALISED, "register");
    expect_finding(some, FINDING_UNINITIALISED, "register");
    expect_finding(guard, FINDING_UNINITIALISED, "guard");
    trial_pass(fine);
    trial_free(fine);
}

/* Three of four words are written; the fourth is padding that a widened load brings along. */
static struct trial *widened(const char *use)
{
    char body[512];
    struct trial *trial;
    snprintf(body, sizeof body,
             ".shared .align 16 .b8 row[512]; mov.u32 %%r1, row; mad.lo.u32 %%r1, %%t, 16, %%r1;"
             "st.shared.u32 [%%r1], 1; st.shared.u32 [%%r1+4], 2; st.shared.u32 [%%r1+8], 3;"
             "ld.shared.v4.u32 {%%r2, %%r3, %%r4, %%r5}, [%%r1]; add.s32 %%r2, %%r2, %%r3;"
             "add.s32 %%r2, %%r2, %s; st.global.u32 [%%o], %%r2;",
             use);
    trial = with_threads(small(body), 32);
    trial->launch.sanitize = SANITIZE_ALL;
    return trial;
}

static void what_a_wide_load_brings_matters_only_when_it_is_read(void **state)
{
    struct trial *padding = widened("%r4");
    (void)state;
    trial_pass(padding);
    trial_free(padding);
    expect_finding(widened("%r5"), FINDING_UNINITIALISED, "byte 12 was never written");
}

/* ---- blocks over threads ---- */

static const char faulty[] = /* blocks 7 and 20 do what must not be done, 30 ends the run */
    "mov.u32 %r1, %ctaid.x; setp.eq.u32 %p1, %r1, 30; @%p1 trap;\n"
    "setp.eq.u32 %p1, %r1, 7; @%p1 bra BAD; setp.eq.u32 %p1, %r1, 20; @%p1 bra BAD;\n"
    "mul.wide.u32 %rd1, %r1, 4; add.s64 %rd1, %out, %rd1; mov.u32 %r3, 0; mov.u32 %r2, 0;\n"
    "L: add.s32 %r2, %r2, %r3; add.s32 %r3, %r3, 1; setp.lt.u32 %p1, %r3, 500; @%p1 bra L;\n"
    "setp.eq.u32 %p1, %t, 0; @%p1 st.global.u32 [%rd1], %r2; ret;\n"
    "BAD: st.global.u32 [%in+-64], %r1;";

static void a_run_is_the_same_for_every_number_of_threads(void **state)
{
    struct outcome first;
    (void)state;
    for (int threads = 1; threads <= 8; threads *= 2) {
        struct trial *trial = small(faulty);
        trial->launch.grid[0] = 64;
        trial->launch.threads = threads;
        trial_run(trial);
        struct outcome *outcome = &trial->outcome;
        assert_false(outcome->ended);
        assert_int_equal(outcome->findings[0].kind, FINDING_OUT_OF_BOUNDS);
        assert_int_equal(outcome->findings[0].block[0], 7);
        assert_int_equal(outcome->findings[outcome->finding_count - 1].kind, FINDING_TRAP);
        assert_int_equal(outcome->findings[outcome->finding_count - 1].block[0], 30);
        assert_int_equal(trial_word(trial, 29), 500 * 499 / 2);
        if (threads == 1) {
            first = *outcome;
        }
        assert_int_equal(outcome->ops, first.ops);
        assert_int_equal(outcome->lane_ops, first.lane_ops);
        assert_int_equal(outcome->findings_total, first.findings_total);
        assert_int_equal(outcome->finding_count, first.finding_count);
        for (int i = 0; i < first.finding_count; i++) {
            assert_string_equal(outcome->findings[i].text, first.findings[i].text);
            assert_memory_equal(outcome->findings[i].block, first.findings[i].block, 12);
        }
        trial_free(trial);
    }
}

/* ---- texts that are refused ---- */

static void refused(const char *text, bool whole, const char *words)
{
    struct arena *arena = arena_new();
    struct ptx_module *module;
    struct code *program;
    struct err err = {0};
    const char *all = whole ? text
                            : arena_printf(arena, "%s.visible .entry k()\n{\n%s%s\n}\n", head,
                                           ".reg .pred %p<3>; .reg .b32 %r<9>; .reg .b16 %h<3>;"
                                           ".reg .b64 %rd<9>; .reg .b32 %t;\n",
                                           text);
    bool done = ptx_parse(arena, all, strlen(all), &module, &err) &&
                program_decode(arena, module, "k", &program, &err);
    if (done || err.kind != ERR_USER || strstr(err.what, words) == NULL) {
        fail_msg("'%s' is not refused with '%s', but: %s", text, words, done ? "taken" : err.what);
    }
    arena_free(arena);
}

static void what_is_not_known_is_refused_with_its_line(void **state)
{
    (void)state;
    refused("frobnicate.b32 %r1, %r2;", false, "unsupported: line 7: 'frobnicate.b32'");
    refused("add.s32 %r1, %r2;", false, "unsupported: line 7: 'add.s32': the number of operands");
    refused("add.s32 %r1, %h1, %r2;", false, "is not of type .s32");
    refused("add.s32 %r1, %r44, %r2;", false, "'%r44' is neither a register");
    refused("add.s32 5, %r4, %r2;", false, "unsupported");
    refused("mov.u32 %r1, nothing;", false, "'nothing' is not a variable");
    refused("bra nowhere;", false, "not a label");
    refused("call printf, (%r1);", false, "only functions of the module");
    refused("add.rz.f16 %h1, %h1, %h2;", false, "to nearest only");
    refused("mov.u32 %r1, %special;", false, "nor a special one");
    refused("ld.global.u32 %r1, [%h1];", false, "not of type");
    refused("mov.u32 %r1, %r2\n", false, "ptx: line 9: ';' expected, not '}'");
    refused("{ .reg .b32 x; } mov.u32 x, 1;", false, "unsupported");
    refused("@%r1 bra L; L:", false, "'%r1' is not a predicate register");
    refused("L: L: ret;", false, "'L' is declared twice");
    refused("mov.u32 %r1, 0xgg;", false, "is not a number");
    refused("{ { { ret; } }", false, "'}' is missing at the end");
    refused(".visible .entry k() { ret; }", true, "'.version' is missing");
    refused(".version 9.0\n.target sm_90\n.nothing", true,
            "ptx: line 3: '.nothing' is not expected");
    refused(".version 9.0\n.target sm_90\n.visible .entry j() { ret; }", true, "no entry 'k'");
    refused(".version 9.0\n.global .b8 x[99999999999];", true, "an integer from 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_instruction_gives_what_plain_c_gives),
        cmocka_unit_test(lanes_that_are_not_asked_keep_what_they_had),
        cmocka_unit_test(loops_for_any_processor_give_the_same_bits),
        cmocka_unit_test(loads_of_every_width_extend_as_their_type_says),
        cmocka_unit_test(stores_write_the_low_bytes_and_nothing_else),
        cmocka_unit_test(every_state_space_and_its_generic_address_work),
        cmocka_unit_test(atomics_take_effect_in_the_order_of_lanes),
        cmocka_unit_test(only_atomics_on_global_memory_are_reported),
        cmocka_unit_test(shuffles_take_from_where_the_manual_says),
        cmocka_unit_test(votes_matches_and_reductions_are_over_the_lanes_of_the_mask),
        cmocka_unit_test(divergent_lanes_each_take_their_own_way),
        cmocka_unit_test(labels_and_registers_of_a_scope_are_its_own),
        cmocka_unit_test(functions_are_called),
        cmocka_unit_test(lanes_that_spin_let_the_others_go_on),
        cmocka_unit_test(a_warp_barrier_may_stand_in_both_arms),
        cmocka_unit_test(special_registers_say_where_a_lane_is),
        cmocka_unit_test(clusters_know_their_blocks),
        cmocka_unit_test(a_block_exchanges_through_shared_memory),
        cmocka_unit_test(named_barriers_hold_producers_and_consumers),
        cmocka_unit_test(barriers_reduce_predicates),
        cmocka_unit_test(warps_that_have_ended_are_not_waited_for),
        cmocka_unit_test(a_deadlock_names_who_waits_where),
        cmocka_unit_test(misused_masks_are_told),
        cmocka_unit_test(misused_barriers_are_told),
        cmocka_unit_test(budgets_and_traps_end_a_run),
        cmocka_unit_test(a_register_that_nobody_wrote_is_told_when_it_matters),
        cmocka_unit_test(what_a_wide_load_brings_matters_only_when_it_is_read),
        cmocka_unit_test(a_run_is_the_same_for_every_number_of_threads),
        cmocka_unit_test(what_is_not_known_is_refused_with_its_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
