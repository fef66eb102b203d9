/*
 * The tensor unit: every instruction, shape, type, layout and mode, as a small PTX kernel that the
 * machine runs, against plain arithmetic on matrices. Layouts are written here as the manual gives
 * them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fitness/emu/machine.h"
#include "fitness/emu/memory.h"
#include "fitness/emu/ptx.h"
#include "fitness/emu/tensor.h"

enum { WARPS = 4, IN_MAX = 160, OUT_MAX = 160, IMAGE_MAX = 45056 };

/* ---- running a text ---- */

/*
 * Each lane's in[] goes to %i0 …, %o0 … goes to its out[]; image is copied to the shared variable
 * `smem` before and back to `after` at the end. %s is the address of smem, %q9 the same divided by
 * 16, for descriptors.
 */
static uint32_t in[WARPS * LANES][IN_MAX], out[WARPS * LANES][OUT_MAX];
static _Alignas(64) uint8_t image[IMAGE_MAX], after[IMAGE_MAX];
static struct outcome outcome;

struct kernel {
    int warps, in_count, out_count;
    unsigned sanitize;
    const char *body;
};

static char *kernel_text(const struct kernel *kernel)
{
    char *text = NULL;
    size_t length = 0;
    FILE *f = open_memstream(&text, &length);
    fprintf(f,
            ".version 8.0\n.target sm_90a\n.address_size 64\n"
            ".visible .entry k(.param .u64 p_in, .param .u64 p_out, .param .u64 p_image, "
            ".param .u64 p_after)\n{\n"
            ".reg .pred %%p<8>;\n.reg .b32 %%i<%d>;\n.reg .b32 %%o<%d>;\n.reg .b32 %%t<16>;\n"
            ".reg .b32 %%s;\n.reg .b64 %%q<64>;\n"
            ".shared .align 1024 .b8 smem[%d];\n"
            "mov.u32 %%s, smem;\ncvt.u64.u32 %%q9, %%s;\nshr.u64 %%q9, %%q9, 4;\n"
            "mov.u32 %%t0, %%tid.x;\nld.param.u64 %%q0, [p_in];\nld.param.u64 %%q1, [p_out];\n"
            "ld.param.u64 %%q2, [p_image];\nld.param.u64 %%q3, [p_after];\n"
            "shl.b32 %%t1, %%t0, 4;\n"
            "FILL:\ncvt.u64.u32 %%q4, %%t1;\nadd.s64 %%q5, %%q2, %%q4;\nadd.u32 %%t2, %%s, %%t1;\n"
            "ld.global.v4.u32 {%%t4, %%t5, %%t6, %%t7}, [%%q5];\n"
            "st.shared.v4.u32 [%%t2], {%%t4, %%t5, %%t6, %%t7};\n"
            "add.u32 %%t1, %%t1, %d;\nsetp.lt.u32 %%p0, %%t1, %d;\n@%%p0 bra FILL;\n"
            "fence.proxy.async.shared::cta;\nbar.sync 0;\n",
            IN_MAX, OUT_MAX, IMAGE_MAX, kernel->warps * LANES * 16, IMAGE_MAX);
    fprintf(f, "mad.wide.u32 %%q4, %%t0, %d, %%q0;\n", IN_MAX * 4);
    for (int i = 0; i < kernel->in_count; i++) {
        fprintf(f, "ld.global.b32 %%i%d, [%%q4+%d];\n", i, 4 * i);
    }
    fprintf(f, "%s\n", kernel->body);
    fprintf(f, "mad.wide.u32 %%q4, %%t0, %d, %%q1;\n", OUT_MAX * 4);
    for (int i = 0; i < kernel->out_count; i++) {
        fprintf(f, "st.global.b32 [%%q4+%d], %%o%d;\n", 4 * i, i);
    }
    fprintf(f,
            "bar.sync 0;\nshl.b32 %%t1, %%t0, 4;\n"
            "DUMP:\ncvt.u64.u32 %%q4, %%t1;\nadd.s64 %%q5, %%q3, %%q4;\nadd.u32 %%t2, %%s, %%t1;\n"
            "ld.shared.v4.u32 {%%t4, %%t5, %%t6, %%t7}, [%%t2];\n"
            "st.global.v4.u32 [%%q5], {%%t4, %%t5, %%t6, %%t7};\n"
            "add.u32 %%t1, %%t1, %d;\nsetp.lt.u32 %%p0, %%t1, %d;\n@%%p0 bra DUMP;\nret;\n}\n",
            kernel->warps * LANES * 16, IMAGE_MAX);
    fclose(f);
    return text;
}

static bool kernel_decode(struct arena *arena, const char *text, struct code **program,
                          struct err *err)
{
    struct ptx_module *module;
    return ptx_parse(arena, text, strlen(text), &module, err) &&
           program_decode(arena, module, "k", program, err);
}

static void kernel_run(const struct kernel *kernel)
{
    struct arena *arena = arena_new();
    struct memory *memory = memory_new();
    struct code *program = NULL;
    struct err err = {0};
    char *text = kernel_text(kernel);
    uint64_t params[4];

    if (!kernel_decode(arena, text, &program, &err)) {
        print_error("%s\n%s\n", err.what, text);
        fail();
    }
    params[0] = memory_buffer(memory, sizeof in, "in");
    params[1] = memory_buffer(memory, sizeof out, "out");
    params[2] = memory_buffer(memory, sizeof image, "image");
    params[3] = memory_buffer(memory, sizeof after, "after");
    assert_true(memory_host_write(memory, params[0], in, sizeof in));
    assert_true(memory_host_write(memory, params[2], image, sizeof image));
    const struct launch launch = {.program = program,
                                  .grid = {1, 1, 1},
                                  .block = {(uint32_t)kernel->warps * LANES, 1, 1},
                                  .cluster = {1, 1, 1},
                                  .params = (const uint8_t *)params,
                                  .sanitize = kernel->sanitize | SANITIZE_BOUNDS,
                                  .threads = 1};
    memset(&outcome, 0, sizeof outcome);
    machine_run(memory, &launch, &outcome);
    memset(out, 0, sizeof out);
    memory_host_read(memory, params[1], out, sizeof out);
    memory_host_read(memory, params[3], after, sizeof after);
    memory_free(memory);
    arena_free(arena);
    free(text);
}

/* A run in which everything is watched and nothing may be found. */
static void kernel_run_clean(struct kernel kernel)
{
    kernel.sanitize = SANITIZE_ALL;
    kernel_run(&kernel);
    for (int i = 0; i < outcome.finding_count; i++) {
        print_error("finding: %s\n", outcome.findings[i].text);
    }
    assert_int_equal(outcome.findings_total, 0);
    assert_true(outcome.ended);
}

static const struct finding *found(enum finding_kind kind)
{
    for (int i = 0; i < outcome.finding_count; i++) {
        if (outcome.findings[i].kind == kind) {
            return &outcome.findings[i];
        }
    }
    return NULL;
}

/* Whether the text is decoded; the error otherwise in err. */
static bool decodes(const char *body, struct err *err)
{
    struct arena *arena = arena_new();
    struct code *program;
    const struct kernel kernel = {.warps = 4, .body = body};
    char *text = kernel_text(&kernel);
    const bool good = kernel_decode(arena, text, &program, err);
    arena_free(arena);
    free(text);
    return good;
}

/* ---- texts ---- */

static char body[1 << 16];
static size_t body_length;

static void say(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    body_length += (size_t)vsnprintf(body + body_length, sizeof body - body_length, format, ap);
    va_end(ap);
    assert_true(body_length < sizeof body);
}

static void say_again(void)
{
    body_length = 0;
    body[0] = '\0';
}

/* {%i4, %i5, …} */
static void say_vector(char name, int first, int count)
{
    for (int i = 0; i < count; i++) {
        say("%s%%%c%d", i == 0 ? "{" : ", ", name, first + i);
    }
    say("}");
}

/* ---- numbers ---- */

static uint64_t seed = 1;

static uint32_t draw(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

static double decode_half(uint16_t bits)
{
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    const double size = exponent == 31  ? (fraction != 0 ? (double)NAN : (double)INFINITY)
                        : exponent == 0 ? ldexp(fraction, -24)
                                        : ldexp(1024 + fraction, exponent - 25);
    return bits & 0x8000 ? -size : size;
}

static double decode_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

static double decode(enum element type, uint32_t bits)
{
    switch (type) {
    case ELEMENT_F16: return decode_half((uint16_t)bits);
    case ELEMENT_BF16: return decode_float(bits << 16);
    case ELEMENT_S8: return (int8_t)bits;
    case ELEMENT_U8: return (uint8_t)bits;
    case ELEMENT_S32: return (int32_t)bits;
    default: return decode_float(bits);
    }
}

/* A pattern of the type: a small whole number, or anything of moderate size. */
static uint32_t draw_element(enum element type, bool whole)
{
    const int number = (int)draw(17) - 8;
    const double real = ldexp((double)draw(1 << 20) - (1 << 19), -(int)draw(8) - 17);
    const float f = whole ? (float)number : (float)real;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    switch (type) {
    case ELEMENT_F16: return f16_from_double((double)f);
    case ELEMENT_BF16: return bits >> 16;
    case ELEMENT_TF32: return bits & ~0x1fffu;
    case ELEMENT_S8: return (uint8_t)(whole ? number : (int)draw(256) - 128);
    case ELEMENT_U8: return whole ? draw(9) : draw(256);
    case ELEMENT_S32: return (uint32_t)(whole ? number : (int)draw(1 << 30));
    default: return bits;
    }
}

/* What an accumulator of the type keeps of an exact sum. */
static double kept(enum element type, double sum)
{
    return type == ELEMENT_F32   ? (double)(float)sum
           : type == ELEMENT_F16 ? decode_half(f16_from_double(sum))
                                 : (double)(int32_t)(uint32_t)(int64_t)sum;
}

struct matrix {
    int rows, columns;
    enum element type;
    uint32_t bits[64 * 256];
};
static struct matrix A, B, C, D;

static void matrix_draw(struct matrix *matrix, int rows, int columns, enum element type, bool whole)
{
    matrix->rows = rows;
    matrix->columns = columns;
    matrix->type = type;
    for (int i = 0; i < rows * columns; i++) {
        matrix->bits[i] = draw_element(type, whole);
    }
}

static double value(const struct matrix *matrix, int row, int column)
{
    return decode(matrix->type, matrix->bits[row * matrix->columns + column]);
}

/* C + sign A B in steps of `depth`, each rounded to D's type. */
static double expected(int row, int column, int depth, double sign, bool with_c)
{
    double sum = with_c ? value(&C, row, column) : 0;
    for (int k = 0; k < A.columns; k++) {
        sum += sign * value(&A, row, k) * value(&B, k, column);
        if (k % depth == depth - 1) {
            sum = kept(D.type, sum);
        }
    }
    return sum;
}

/* Puts an element of `bytes` into a register at element `at`. */
static void put(uint32_t *reg, unsigned bytes, int at, uint32_t bits)
{
    memcpy((uint8_t *)reg + (unsigned)at * bytes, &bits, bytes);
}

static uint32_t get(const uint32_t *reg, unsigned bytes, int at)
{
    uint32_t bits = 0;
    memcpy(&bits, (const uint8_t *)reg + (unsigned)at * bytes, bytes);
    return bits;
}

static void assert_value(double got, double want, const char *what, int row, int column)
{
    if (got != want) {
        print_error("%s: (%d, %d) is %.9g and should be %.9g\n", what, row, column, got, want);
        fail();
    }
}

/* ---- numbers by themselves ---- */

static void doubles_become_halves_rounded_once_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x7c00;
         bits++) { /* each finite half, and what is between it and the next */
        const double low = decode_half((uint16_t)bits);
        const double high = bits == 0x7bff ? 65536 : decode_half((uint16_t)(bits + 1));
        const double middle = (low + high) / 2;
        assert_int_equal(f16_from_double(low), bits);
        assert_int_equal(f16_from_double(-low), bits | 0x8000);
        assert_int_equal(f16_from_double(middle), bits % 2 == 0 ? bits : bits + 1);
        assert_int_equal(f16_from_double(nextafter(middle, 0)), bits);
        assert_int_equal(f16_from_double(nextafter(middle, 1e9)), bits + 1);
    }
    assert_int_equal(f16_from_double((double)INFINITY), 0x7c00);
    assert_int_equal(f16_from_double((double)NAN), 0x7fff);
}

static void both_ways_of_computing_give_the_same_bits(void **state)
{
    static double a[32 * 16], b[4 * 16 * 8], d1[4 * 32 * 8], d2[4 * 32 * 8];
    static uint32_t raw[256], first[2][LANES], second[2][LANES];
    const struct numbers *best = numbers_best();

    (void)state;
    if (best == &numbers_plain) {
        skip();
    }
    for (enum element type = 0; type < ELEMENTS; type++) {
        for (int i = 0; i < 256; i++) {
            raw[i] = draw(1u << 31) * 2 + draw(2);
        }
        const int count = 1024 / (int)element_bytes(type) / 2;
        numbers_plain.widen(type, raw, count, d1);
        best->widen(type, raw, count, d2);
        for (int i = 0; i < count; i++) {
            assert_true(d1[i] == d2[i] || (isnan(d1[i]) && isnan(d2[i])));
        }
    }
    for (int i = 0; i < 512; i++) {
        a[i] = decode(ELEMENT_F16, draw_element(ELEMENT_F16, false));
        b[i] = decode(ELEMENT_F16, draw_element(ELEMENT_F16, false));
    }
    for (int i = 0; i < 1024; i++) {
        d1[i] = d2[i] = i == 5
                            ? (double)NAN
                            : (double)(float)decode(ELEMENT_F32, draw_element(ELEMENT_F32, false));
    }
    numbers_plain.multiply(a, 32, b, 4, 16, d1, true);
    best->multiply(a, 32, b, 4, 16, d2, true);
    assert_memory_equal(d1 + 8, d2 + 8, sizeof d1 - 64);
    static const enum element kinds[] = {ELEMENT_F32, ELEMENT_F16, ELEMENT_S32};
    for (int kind = 0; kind < 3; kind++) {
        for (int way = 0; way < 2; way++) {
            const struct numbers *numbers = way == 0 ? &numbers_plain : best;
            for (int i = 0; i < BLOCK_VALUES && kinds[kind] == ELEMENT_S32; i++) {
                d1[i] = i * 48000017.0 - 2e9; /* some beyond an integer */
            }
            numbers_round(kinds[kind], true, d1, BLOCK_VALUES);
            numbers->block_write(kinds[kind], d1, first[way], second[way]);
            numbers->block_read(kinds[kind], first[way], second[way], d2);
            for (int i = 0; i < BLOCK_VALUES; i++) {
                assert_true(d1[i] == d2[i] || (isnan(d1[i]) && isnan(d2[i])));
            }
        }
        assert_memory_equal(first[0], first[1], sizeof first[0]);
        if (kinds[kind] != ELEMENT_F16) {
            assert_memory_equal(second[0], second[1], sizeof second[0]);
        }
    }
}

/* ---- mma.sync ---- */

static const struct mma_case {
    const char *types;
    enum element a, b, c, d;
    int depth;
} mma_cases[] = {
    {"f32.f16.f16.f32", ELEMENT_F16, ELEMENT_F16, ELEMENT_F32, ELEMENT_F32, 16},
    {"f32.f16.f16.f32", ELEMENT_F16, ELEMENT_F16, ELEMENT_F32, ELEMENT_F32, 8},
    {"f16.f16.f16.f16", ELEMENT_F16, ELEMENT_F16, ELEMENT_F16, ELEMENT_F16, 16},
    {"f16.f16.f16.f16", ELEMENT_F16, ELEMENT_F16, ELEMENT_F16, ELEMENT_F16, 8},
    {"f32.bf16.bf16.f32", ELEMENT_BF16, ELEMENT_BF16, ELEMENT_F32, ELEMENT_F32, 16},
    {"f32.bf16.bf16.f32", ELEMENT_BF16, ELEMENT_BF16, ELEMENT_F32, ELEMENT_F32, 8},
    {"f32.tf32.tf32.f32", ELEMENT_TF32, ELEMENT_TF32, ELEMENT_F32, ELEMENT_F32, 4},
    {"f32.tf32.tf32.f32", ELEMENT_TF32, ELEMENT_TF32, ELEMENT_F32, ELEMENT_F32, 8},
    {"s32.s8.s8.s32", ELEMENT_S8, ELEMENT_S8, ELEMENT_S32, ELEMENT_S32, 16},
    {"s32.s8.u8.s32", ELEMENT_S8, ELEMENT_U8, ELEMENT_S32, ELEMENT_S32, 32},
    {"s32.u8.s8.s32", ELEMENT_U8, ELEMENT_S8, ELEMENT_S32, ELEMENT_S32, 32},
};

/* The manual's place of an accumulator's element in mma and wgmma: register i, half j of a pair. */
static void accumulator_place(enum element type, int lane, int i, int j, int *row, int *column)
{
    const int word = type == ELEMENT_F16 ? 2 * i + j : i;
    *row = lane / 4 + 8 * (word >> 1 & 1);
    *column = 8 * (word / 4) + 2 * (lane % 4) + (word & 1);
}

static void mma_fill(const struct mma_case *test, int a_count, int b_count, int c_count)
{
    const unsigned bytes = element_bytes(test->a), c_bytes = element_bytes(test->c);
    const int each = 4 / (int)bytes, step = 16 / (int)bytes;
    for (int lane = 0; lane < LANES; lane++) {
        uint32_t *regs = in[lane];
        for (int i = 0; i < a_count; i++) {
            for (int j = 0; j < each; j++) {
                const int row = lane / 4 + i % 2 * 8, k = lane % 4 * each + j + i / 2 * step;
                put(&regs[i], bytes, j, A.bits[row * test->depth + k]);
            }
        }
        for (int i = 0; i < b_count; i++) {
            for (int j = 0; j < each; j++) {
                const int k = lane % 4 * each + j + i * step;
                put(&regs[a_count + i], bytes, j, B.bits[k * 8 + lane / 4]);
            }
        }
        for (int i = 0; i < c_count; i++) {
            for (int j = 0; j < 4 / (int)c_bytes; j++) {
                int row, column;
                accumulator_place(test->c, lane, i, j, &row, &column);
                put(&regs[a_count + b_count + i], c_bytes, j, C.bits[row * 8 + column]);
            }
        }
    }
}

static void mma_check(const struct mma_case *test, bool whole)
{
    const int steps = test->depth * (int)element_bytes(test->a) / 16;
    const int c_count = test->c == ELEMENT_F16 ? 2 : 4, d_count = test->d == ELEMENT_F16 ? 2 : 4;
    matrix_draw(&A, 16, test->depth, test->a, whole);
    matrix_draw(&B, test->depth, 8, test->b, whole);
    matrix_draw(&C, 16, 8, test->c, whole);
    D.type = test->d;
    mma_fill(test, 2 * steps, steps, c_count);
    say_again();
    say("mma.sync.aligned.m16n8k%d.row.col.%s ", test->depth, test->types);
    say_vector('o', 0, d_count);
    say(", ");
    say_vector('i', 0, 2 * steps);
    say(", ");
    say_vector('i', 2 * steps, steps);
    say(", ");
    say_vector('i', 3 * steps, c_count);
    say(";");
    kernel_run_clean((struct kernel){1, 3 * steps + c_count, d_count, 0, body});
    for (int lane = 0; lane < LANES; lane++) {
        for (int i = 0; i < d_count; i++) {
            for (int j = 0; j < (test->d == ELEMENT_F16 ? 2 : 1); j++) {
                int row, column;
                accumulator_place(test->d, lane, i, j, &row, &column);
                assert_value(decode(test->d, get(&out[lane][i], element_bytes(test->d), j)),
                             expected(row, column, test->depth, 1, true), body, row, column);
            }
        }
    }
}

static void mma_of_every_shape_and_type_is_the_product(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mma_cases / sizeof *mma_cases; i++) {
        for (int round = 0; round < 3; round++) {
            mma_check(&mma_cases[i], round == 0);
        }
    }
}

static void a_nan_comes_out_as_the_canonical_one_and_infinities_as_they_are(void **state)
{
    (void)state;
    memset(in, 0, sizeof in);
    for (int lane = 0; lane < LANES; lane++) { /* row g of A: 1 at k = 0; column g of B: C's fate */
        in[lane][0] = lane % 4 == 0 ? 0x3c00 : 0;
        in[lane][1] = lane % 4 == 0 ? 0x3c00 : 0;
        in[lane][2] = lane != 0 && lane != 4 ? 0 : lane == 0 ? 0xfe01 : 0x7c00;
    }
    kernel_run_clean((struct kernel){
        1, 7, 4, 0,
        "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%o0, %o1, %o2, %o3}, {%i0, %i1}, "
        "{%i2}, {%i3, %i4, %i5, %i6};"});
    for (int lane = 0; lane < LANES; lane += 4) {
        assert_int_equal(out[lane][0], 0x7fffffff);
        assert_int_equal(out[lane][1], 0x7f800000);
        assert_int_equal(out[lane + 1][0], 0);
    }
}

/* ---- wmma ---- */

struct wmma_case {
    int m, n, k, a_count, b_count;
    const char *a_name, *c_name; /* types */
    enum element a, c;
};

static const struct wmma_case wmma_cases[] = {
    {16, 16, 16, 8, 8, "f16", "f32", ELEMENT_F16, ELEMENT_F32},
    {32, 8, 16, 8, 8, "f16", "f32", ELEMENT_F16, ELEMENT_F32},
    {8, 32, 16, 8, 8, "f16", "f32", ELEMENT_F16, ELEMENT_F32},
    {16, 16, 16, 8, 8, "f16", "f16", ELEMENT_F16, ELEMENT_F16},
    {32, 8, 16, 8, 8, "f16", "f16", ELEMENT_F16, ELEMENT_F16},
    {8, 32, 16, 8, 8, "f16", "f16", ELEMENT_F16, ELEMENT_F16},
    {16, 16, 16, 4, 4, "bf16", "f32", ELEMENT_BF16, ELEMENT_F32},
    {32, 8, 16, 8, 2, "bf16", "f32", ELEMENT_BF16, ELEMENT_F32},
    {8, 32, 16, 2, 8, "bf16", "f32", ELEMENT_BF16, ELEMENT_F32},
    {16, 16, 8, 4, 4, "tf32", "f32", ELEMENT_TF32, ELEMENT_F32},
    {16, 16, 16, 2, 2, "s8", "s32", ELEMENT_S8, ELEMENT_S32},
    {32, 8, 16, 4, 1, "u8", "s32", ELEMENT_U8, ELEMENT_S32},
    {8, 32, 16, 1, 4, "s8", "s32", ELEMENT_S8, ELEMENT_S32},
};

/* A matrix in the image at `at`: rows (or columns) `stride` elements apart. */
static void image_put(const struct matrix *matrix, int at, bool by_columns, int stride)
{
    const unsigned bytes = element_bytes(matrix->type);
    for (int row = 0; row < matrix->rows; row++) {
        for (int column = 0; column < matrix->columns; column++) {
            const int index = by_columns ? row + column * stride : row * stride + column;
            memcpy(image + at + (unsigned)index * bytes,
                   &matrix->bits[row * matrix->columns + column], bytes);
        }
    }
}

enum { AT_A = 0, AT_B = 4096, AT_C = 8192, AT_D = 16384 };

static void say_load(char role, const struct wmma_case *test, const char *layout, const char *type,
                     int first, int count, int at, int stride)
{
    say("wmma.load.%c.sync.aligned.%s.m%dn%dk%d.shared.%s ", role, layout, test->m, test->n,
        test->k, type);
    say_vector('o', first, count);
    say(", [%%s+%d], %%t9;\n", at);
    (void)stride;
}

/* Layouts by bits: A, B, C, D by columns. */
static void wmma_check(const struct wmma_case *test, int layouts, bool whole)
{
    static const char *const names[] = {"row", "col"};
    const int stride = 48; /* elements; a multiple of 16 bytes for every type */
    const int c_count = test->c == ELEMENT_F16 ? 4 : 8;
    const unsigned bytes = element_bytes(test->c);
    matrix_draw(&A, test->m, test->k, test->a, whole);
    matrix_draw(&B, test->k, test->n, test->a, whole);
    matrix_draw(&C, test->m, test->n, test->c, whole);
    D.type = test->c;
    memset(image, 0xff, sizeof image);
    image_put(&A, AT_A, layouts & 1, stride);
    image_put(&B, AT_B, layouts >> 1 & 1, stride);
    image_put(&C, AT_C, layouts >> 2 & 1, stride);
    say_again();
    say("mov.u32 %%t9, %d;\n", stride);
    say_load('a', test, names[layouts & 1], test->a_name, 0, test->a_count, AT_A, stride);
    say_load('b', test, names[layouts >> 1 & 1], test->a_name, 8, test->b_count, AT_B, stride);
    say_load('c', test, names[layouts >> 2 & 1], test->c_name, 16, c_count, AT_C, stride);
    say("wmma.mma.sync.aligned.%s.%s.m%dn%dk%d.%s", names[layouts & 1], names[layouts >> 1 & 1],
        test->m, test->n, test->k, test->c_name);
    if (test->a != ELEMENT_F16) {
        say(".%s.%s", test->a_name, test->a_name);
    }
    say(".%s ", test->c_name);
    say_vector('o', 32, c_count);
    say(", ");
    say_vector('o', 0, test->a_count);
    say(", ");
    say_vector('o', 8, test->b_count);
    say(", ");
    say_vector('o', 16, c_count);
    say(";\nwmma.store.d.sync.aligned.%s.m%dn%dk%d.shared.%s [%%s+%d], ", names[layouts >> 3 & 1],
        test->m, test->n, test->k, test->c_name, AT_D);
    say_vector('o', 32, c_count);
    say(", %%t9;\n");
    kernel_run_clean((struct kernel){1, 0, 0, 0, body});
    for (int row = 0; row < test->m; row++) {
        for (int column = 0; column < test->n; column++) {
            const int index = layouts >> 3 & 1 ? row + column * stride : row * stride + column;
            uint32_t got = 0;
            memcpy(&got, after + AT_D + (unsigned)index * bytes, bytes);
            assert_value(decode(test->c, got), expected(row, column, test->k, 1, true), body, row,
                         column);
        }
    }
}

static void wmma_of_every_shape_type_and_layout_is_the_product(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wmma_cases / sizeof *wmma_cases; i++) {
        for (int layouts = 0; layouts < 16; layouts++) {
            wmma_check(&wmma_cases[i], layouts, layouts == 0);
        }
    }
}

static void what_is_done_to_every_element_of_a_fragment_is_done_to_the_matrix(void **state)
{
    (void)state;
    matrix_draw(&C, 16, 16, ELEMENT_F32, true);
    image_put(&C, AT_C, false, 16);
    say_again();
    say("wmma.load.c.sync.aligned.row.m16n16k16.shared.f32 ");
    say_vector('o', 0, 8);
    say(", [%%s+%d];\n", AT_C); /* no stride: the rows are packed */
    for (int i = 0; i < 8; i++) {
        say("mul.f32 %%o%d, %%o%d, 0f40400000;\n", i, i);
    }
    say("cvt.u64.u32 %%q10, %%s;\ncvta.shared.u64 %%q10, %%q10;\n"
        "wmma.store.d.sync.aligned.col.m16n16k16.f32 [%%q10+%d], ",
        AT_D);
    say_vector('o', 0, 8);
    say(";\n");
    kernel_run_clean((struct kernel){1, 0, 0, 0, body});
    for (int row = 0; row < 16; row++) {
        for (int column = 0; column < 16; column++) {
            uint32_t got;
            memcpy(&got, after + AT_D + (column * 16 + row) * 4, sizeof got);
            assert_value(decode_float(got), 3 * value(&C, row, column), body, row, column);
        }
    }
}

static void a_fragment_that_is_not_aligned_is_found(void **state)
{
    (void)state;
    const struct kernel address = {1, 0, 8, SANITIZE_ALL,
                                   "mov.u32 %t9, 16;\n"
                                   "wmma.load.a.sync.aligned.row.m16n16k16.shared.f16 "
                                   "{%o0,%o1,%o2,%o3,%o4,%o5,%o6,%o7}, [%s+8], %t9;"};
    const struct kernel stride = {1, 0, 8, SANITIZE_ALL,
                                  "mov.u32 %t9, 20;\n"
                                  "wmma.load.a.sync.aligned.row.m16n16k16.shared.f16 "
                                  "{%o0,%o1,%o2,%o3,%o4,%o5,%o6,%o7}, [%s], %t9;"};
    kernel_run(&address);
    assert_non_null(found(FINDING_MISALIGNED));
    kernel_run(&stride);
    assert_non_null(found(FINDING_MISALIGNED));
}

/* ---- ldmatrix, stmatrix, movmatrix ---- */

static void image_draw(void)
{
    for (int i = 0; i < IMAGE_MAX; i++) {
        image[i] = (uint8_t)draw(256);
    }
}

/* Row addresses for all lanes, no two the same. */
static void rows_draw(int column)
{
    for (int lane = 0; lane < LANES; lane++) {
        in[lane][column] = (uint32_t)(lane * 7 % 32) * 528 + draw(32) * 16;
    }
}

static uint16_t half_at(const uint8_t *from, uint32_t at)
{
    uint16_t bits;
    memcpy(&bits, from + at, sizeof bits);
    return bits;
}

static void ldmatrix_gives_each_lane_its_pair_turned_or_not(void **state)
{
    (void)state;
    for (int count = 1; count <= 4; count *= 2) {
        for (int turned = 0; turned < 2; turned++) {
            image_draw();
            rows_draw(0);
            say_again();
            say("add.u32 %%t9, %%s, %%i0;\nldmatrix.sync.aligned.m8n8.x%d%s.shared.b16 ", count,
                turned ? ".trans" : "");
            say_vector('o', 0, count);
            say(", [%%t9];");
            kernel_run_clean((struct kernel){1, 1, count, 0, body});
            for (int lane = 0; lane < LANES; lane++) {
                for (int i = 0; i < 2 * count; i++) {
                    const int one = lane / 4, two = lane % 4 * 2 + i % 2, matrix = i / 2;
                    const int row = turned ? two : one, column = turned ? one : two;
                    assert_int_equal(
                        get(&out[lane][matrix], 2, i % 2),
                        half_at(image, in[8 * matrix + row][0] + (uint32_t)column * 2));
                }
            }
        }
    }
}

static void stmatrix_puts_each_pair_where_ldmatrix_takes_it(void **state)
{
    (void)state;
    for (int count = 1; count <= 4; count *= 2) {
        for (int turned = 0; turned < 2; turned++) {
            image_draw();
            rows_draw(0);
            for (int lane = 0; lane < LANES; lane++) {
                for (int i = 1; i <= count; i++) {
                    in[lane][i] = draw(1u << 31);
                }
            }
            say_again();
            say("add.u32 %%t9, %%s, %%i0;\nstmatrix.sync.aligned.m8n8.x%d%s.shared.b16 [%%t9], ",
                count, turned ? ".trans" : "");
            say_vector('i', 1, count);
            say(";");
            kernel_run_clean((struct kernel){1, 1 + count, 0, 0, body});
            for (int lane = 0; lane < LANES; lane++) {
                for (int i = 0; i < 2 * count; i++) {
                    const int one = lane / 4, two = lane % 4 * 2 + i % 2, matrix = i / 2;
                    const int row = turned ? two : one, column = turned ? one : two;
                    assert_int_equal(half_at(after, in[8 * matrix + row][0] + (uint32_t)column * 2),
                                     get(&in[lane][1 + matrix], 2, i % 2));
                    memcpy(image + in[8 * matrix + row][0] + column * 2,
                           after + in[8 * matrix + row][0] + column * 2, 2);
                }
            }
            assert_memory_equal(image, after, sizeof image); /* and nothing else changed */
        }
    }
}

static void movmatrix_turns_a_matrix(void **state)
{
    (void)state;
    for (int lane = 0; lane < LANES; lane++) {
        in[lane][0] = draw(1u << 31);
    }
    kernel_run_clean(
        (struct kernel){1, 1, 1, 0, "movmatrix.sync.aligned.m8n8.trans.b16 %o0, %i0;"});
    for (int lane = 0; lane < LANES; lane++) {
        for (int i = 0; i < 2; i++) {
            const int row = lane / 4, column = lane % 4 * 2 + i;
            assert_int_equal(get(&out[lane][0], 2, i),
                             get(&in[column * 4 + row / 2][0], 2, row % 2));
        }
    }
}

static void a_row_that_is_not_aligned_and_lanes_that_are_missing_are_found(void **state)
{
    (void)state;
    const struct kernel row = {1, 0, 1, SANITIZE_ALL,
                               "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%o0}, [%s+8];"};
    kernel_run(&row);
    assert_non_null(found(FINDING_MISALIGNED));
    const struct kernel part = {1, 0, 1, SANITIZE_ALL,
                                "setp.lt.u32 %p1, %t0, 16;\n"
                                "@%p1 ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%o0}, [%s];"};
    kernel_run(&part);
    assert_non_null(found(FINDING_BARRIER));
    const struct kernel beyond = {1, 0, 1, SANITIZE_ALL,
                                  "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%o0}, [%s+45056];"};
    kernel_run(&beyond);
    assert_non_null(found(FINDING_OUT_OF_BOUNDS));
}

/* ---- wgmma ---- */

/* How a matrix of rows x k halves lies in shared memory. */
struct layout {
    int swizzle; /* bytes of a swizzled row; 16: none */
    bool across; /* MN-major */
    int at;      /* in smem */
    int phase;   /* base offset: the pattern begins this many times 128 bytes late */
};

struct placed { /* and what the descriptor says of it */
    uint32_t lbo, sbo;
    int step; /* bytes from one k of 16 to the next, within a panel */
};

/* How far the pattern turns a row: one of 8 per 1024 bytes, of 4 per 512, of 2 per 256. */
static int turn(int swizzle, int row)
{
    return swizzle == 128 ? row % 8 : swizzle == 64 ? row / 2 % 4 : swizzle == 32 ? row / 4 % 2 : 0;
}

static int place(const struct layout *l, int rows, int depth, int row, int k)
{
    const int w = l->swizzle, halves = w / 2;
    if (!l->across && w == 16) { /* blocks of 8 x 16 bytes, downwards first */
        return k / 8 * rows * 16 + row / 8 * 128 + row % 8 * 16 + k % 8 * 2;
    }
    if (!l->across) { /* panels of one swizzled row */
        return k / halves * rows * w + row * w + (k % halves / 8 ^ turn(w, row)) * 16 + k % 8 * 2;
    }
    if (w == 16) {
        return k / 8 * (rows / 8) * 128 + row / 8 * 128 + k % 8 * 16 + row % 8 * 2;
    }
    return row / halves * depth * w + k * w + (row % halves / 8 ^ turn(w, k)) * 16 + row % 8 * 2;
}

static uint64_t descriptor(const struct layout *l, int rows, int depth, int step)
{
    static const uint64_t modes[] = {[128 / 16] = 1, [64 / 16] = 2, [32 / 16] = 3, [16 / 16] = 0};
    const int w = l->swizzle, bytes = step * 32;
    int start, lbo, sbo;
    if (!l->across && w == 16) {
        lbo = rows * 16, sbo = 128, start = step * 2 * lbo;
    } else if (!l->across) {
        lbo = 16, sbo = 8 * w, start = bytes / w * rows * w + bytes % w;
    } else if (w == 16) {
        lbo = rows / 8 * 128, sbo = 128, start = step * 2 * lbo;
    } else {
        lbo = depth * w, sbo = 8 * w, start = step * 2 * sbo;
    }
    start += l->at + l->phase * 128;
    return (uint64_t)start >> 4 | (uint64_t)lbo >> 4 << 16 | (uint64_t)sbo >> 4 << 32 |
           (uint64_t)l->phase << 49 | modes[w / 16] << 62;
}

struct wgmma_case {
    int n, steps;
    enum element type, sum;
    struct layout a, b;
    bool registers;  /* A from registers */
    bool accumulate; /* the first product too */
    int sign_a, sign_b;
};

static const char *element_name(enum element type)
{
    return type == ELEMENT_F16 ? "f16" : type == ELEMENT_BF16 ? "bf16" : "f32";
}

static int wgmma_registers(const struct wgmma_case *test)
{
    return test->sum == ELEMENT_F16 ? test->n / 4 : test->n / 2;
}

/* %o0 … accumulate, %i of A behind C's. */
static void say_wgmma(const struct wgmma_case *test, int step, const char *scale)
{
    const int count = wgmma_registers(test), depth = test->steps * 16;
    if (!test->registers) {
        say("add.s64 %%q10, %%q9, %lld;\n", (long long)descriptor(&test->a, 64, depth, step));
    }
    say("add.s64 %%q11, %%q9, %lld;\nwgmma.mma_async.sync.aligned.m64n%dk16.%s.%s.%s ",
        (long long)descriptor(&test->b, test->n, depth, step), test->n, element_name(test->sum),
        element_name(test->type), element_name(test->type));
    say_vector('o', 0, count);
    if (test->registers) {
        say(", ");
        say_vector('i', count + 4 * step, 4);
        say(", %%q11, %s, %d, %d, %d;\n", scale, test->sign_a, test->sign_b, test->b.across);
    } else {
        say(", %%q10, %%q11, %s, %d, %d, %d, %d;\n", scale, test->sign_a, test->sign_b,
            test->a.across, test->b.across);
    }
}

static void wgmma_fill(const struct wgmma_case *test)
{
    const int depth = test->steps * 16, count = wgmma_registers(test);
    image_draw();
    for (int row = 0; row < 64; row++) {
        for (int k = 0; k < depth && !test->registers; k++) {
            memcpy(image + test->a.at + test->a.phase * 128 + place(&test->a, 64, depth, row, k),
                   &A.bits[row * depth + k], 2);
        }
    }
    for (int column = 0; column < test->n; column++) {
        for (int k = 0; k < depth; k++) {
            memcpy(image + test->b.at + test->b.phase * 128 +
                       place(&test->b, test->n, depth, column, k),
                   &B.bits[k * test->n + column], 2);
        }
    }
    for (int thread = 0; thread < 128; thread++) {
        const int lane = thread % 32, warp = thread / 32;
        for (int i = 0; i < count; i++) {
            for (int j = 0; j < (test->sum == ELEMENT_F16 ? 2 : 1); j++) {
                int row, column;
                accumulator_place(test->sum, lane, i, j, &row, &column);
                put(&in[thread][i], element_bytes(test->sum), j,
                    C.bits[(16 * warp + row) * test->n + column]);
            }
        }
        for (int i = 0; i < 4 * test->steps && test->registers; i++) {
            for (int j = 0; j < 2; j++) {
                const int row = 16 * warp + lane / 4 + i % 2 * 8;
                const int k = i / 4 * 16 + lane % 4 * 2 + j + i % 4 / 2 * 8;
                put(&in[thread][count + i], 2, j, A.bits[row * depth + k]);
            }
        }
    }
}

static void wgmma_check(const struct wgmma_case *test, bool whole)
{
    const int depth = test->steps * 16, count = wgmma_registers(test);
    matrix_draw(&A, 64, depth, test->type, whole);
    matrix_draw(&B, depth, test->n, test->type, whole);
    matrix_draw(&C, 64, test->n, test->sum, whole);
    D.type = test->sum;
    wgmma_fill(test);
    say_again();
    for (int i = 0; i < count; i++) {
        say("mov.b32 %%o%d, %%i%d;\n", i, i);
    }
    say("setp.eq.u32 %%p1, %%s, %%s;\nsetp.ne.u32 %%p2, %%s, %%s;\nwgmma.fence.sync.aligned;\n");
    for (int step = 0; step < test->steps; step++) {
        say_wgmma(test, step, step > 0 ? "%p1" : test->accumulate ? "1" : "%p2");
    }
    say("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;\n");
    kernel_run_clean((struct kernel){4, count + 4 * test->steps, count, 0, body});
    for (int thread = 0; thread < 128; thread++) {
        for (int i = 0; i < count; i++) {
            for (int j = 0; j < (test->sum == ELEMENT_F16 ? 2 : 1); j++) {
                int row, column;
                accumulator_place(test->sum, thread % 32, i, j, &row, &column);
                row += thread / 32 * 16;
                assert_value(
                    decode(test->sum, get(&out[thread][i], element_bytes(test->sum), j)),
                    expected(row, column, 16, test->sign_a * test->sign_b, test->accumulate), body,
                    row, column);
            }
        }
    }
}

static const int swizzles[] = {16, 32, 64, 128};

static void wgmma_reads_every_swizzle_in_both_majors(void **state)
{
    (void)state;
    for (int mode = 0; mode < 64; mode++) {
        const struct wgmma_case test = {.n = 64,
                                        .steps = 4,
                                        .type = ELEMENT_F16,
                                        .sum = ELEMENT_F32,
                                        .a = {swizzles[mode % 4], mode >> 4 & 1, 0, 0},
                                        .b = {swizzles[mode / 4 % 4], mode >> 5 & 1, 8192, 0},
                                        .accumulate = mode % 2 == 0,
                                        .sign_a = 1,
                                        .sign_b = 1};
        wgmma_check(&test, mode % 3 == 0);
    }
}

static void wgmma_of_every_width_is_the_product(void **state)
{
    (void)state;
    for (int n = 8; n <= 256; n += 8) {
        const struct wgmma_case test = {.n = n,
                                        .steps = 1,
                                        .type = n % 16 ? ELEMENT_BF16 : ELEMENT_F16,
                                        .sum = ELEMENT_F32,
                                        .a = {32, false, 0, 0},
                                        .b = {32, false, 8192, 0},
                                        .registers = n % 24 == 0,
                                        .accumulate = true,
                                        .sign_a = 1,
                                        .sign_b = 1};
        wgmma_check(&test, n % 32 == 0);
    }
}

static void wgmma_takes_a_from_registers_and_b_in_both_majors(void **state)
{
    (void)state;
    for (int mode = 0; mode < 8; mode++) {
        const struct wgmma_case test = {.n = 128,
                                        .steps = 3,
                                        .type = mode % 2 ? ELEMENT_BF16 : ELEMENT_F16,
                                        .sum = ELEMENT_F32,
                                        .b = {swizzles[mode / 2], mode % 2 == 1, 8192, 0},
                                        .registers = true,
                                        .sign_a = 1,
                                        .sign_b = 1};
        wgmma_check(&test, false);
    }
}

static void wgmma_with_half_accumulators_rounds_after_each_step(void **state)
{
    (void)state;
    for (int n = 8; n <= 256; n += 56) {
        for (int registers = 0; registers < 2; registers++) {
            const struct wgmma_case test = {.n = n,
                                            .steps = 2,
                                            .type = ELEMENT_F16,
                                            .sum = ELEMENT_F16,
                                            .a = {64, false, 0, 0},
                                            .b = {64, false, 8192, 0},
                                            .registers = registers,
                                            .accumulate = true,
                                            .sign_a = 1,
                                            .sign_b = 1};
            wgmma_check(&test, false);
        }
    }
}

static void wgmma_negates_and_begins_its_pattern_where_the_descriptor_says(void **state)
{
    (void)state;
    for (int signs = 0; signs < 4; signs++) {
        const struct wgmma_case test = {.n = 32,
                                        .steps = 4,
                                        .type = ELEMENT_F16,
                                        .sum = ELEMENT_F32,
                                        .a = {128, false, 0, signs + 2},
                                        .b = {128, signs % 2 == 1, 10240, 2 * signs + 1},
                                        .accumulate = true,
                                        .sign_a = signs & 1 ? -1 : 1,
                                        .sign_b = signs & 2 ? -1 : 1};
        wgmma_check(&test, false);
    }
}

static void wgmma_of_other_types_is_the_product(void **state)
{
    static const struct {
        const char *text;
        enum element type, sum;
        int depth;
    } cases[] = {{"f32.tf32.tf32", ELEMENT_TF32, ELEMENT_F32, 8},
                 {"s32.s8.s8", ELEMENT_S8, ELEMENT_S32, 32}};

    (void)state;
    for (int i = 0; i < 2; i++) {
        const unsigned bytes = element_bytes(cases[i].type);
        matrix_draw(&A, 64, cases[i].depth, cases[i].type, false);
        matrix_draw(&B, cases[i].depth, 16, cases[i].type, false);
        D.type = cases[i].sum;
        for (int row = 0; row < 64; row++) { /* rows of 32 bytes, swizzled in pairs of chunks */
            for (int k = 0; k < cases[i].depth; k++) {
                const unsigned at = (unsigned)k * bytes;
                const unsigned moved =
                    (unsigned)row * 32 + ((at / 16 ^ (unsigned)turn(32, row)) * 16) + at % 16;
                memcpy(image + moved, &A.bits[row * cases[i].depth + k], bytes);
                if (row < 16) {
                    memcpy(image + 8192 + moved, &B.bits[k * 16 + row], bytes);
                }
            }
        }
        const struct layout a = {32, false, 0, 0}, b = {32, false, 8192, 0};
        say_again();
        say("add.s64 %%q10, %%q9, %lld;\nadd.s64 %%q11, %%q9, %lld;\nwgmma.fence.sync.aligned;\n"
            "wgmma.mma_async.sync.aligned.m64n16k%d.%s ",
            (long long)descriptor(&a, 64, 16, 0), (long long)descriptor(&b, 16, 16, 0),
            cases[i].depth, cases[i].text);
        say_vector('o', 0, 8);
        say(", %%q10, %%q11, 0%s;\nwgmma.commit_group.sync.aligned;\n"
            "wgmma.wait_group.sync.aligned 0;\n",
            i == 0 ? ", 1, 1" : "");
        kernel_run_clean((struct kernel){4, 0, 8, 0, body});
        for (int thread = 0; thread < 128; thread++) {
            for (int j = 0; j < 8; j++) {
                int row, column;
                accumulator_place(ELEMENT_F32, thread % 32, j, 0, &row, &column);
                row += thread / 32 * 16;
                assert_value(decode(D.type, out[thread][j]),
                             expected(row, column, cases[i].depth, 1, false), body, row, column);
            }
        }
    }
}

/* ---- wgmma: order ---- */

static const struct wgmma_case plain_case = {.n = 16,
                                             .steps = 2,
                                             .type = ELEMENT_F16,
                                             .sum = ELEMENT_F32,
                                             .a = {128, false, 0, 0},
                                             .b = {128, false, 8192, 0},
                                             .sign_a = 1,
                                             .sign_b = 1};

/* Both steps as one group, with other parts around them; `reads`: accumulators, at the end. */
static void ordered_reads(const struct wgmma_case *test, const char *before, const char *between,
                          const char *behind, bool reads)
{
    matrix_draw(&A, 64, 32, ELEMENT_F16, true);
    matrix_draw(&B, 32, 16, ELEMENT_F16, true);
    matrix_draw(&C, 64, 16, ELEMENT_F32, true);
    D.type = ELEMENT_F32;
    wgmma_fill(test);
    say_again();
    for (int i = 0; i < 8; i++) {
        say("mov.b32 %%o%d, %%i%d;\n", i, i);
    }
    say("mov.u32 %%t9, 0;\n%s\n", before);
    say_wgmma(test, 0, "0");
    say_wgmma(test, 1, "1");
    say("wgmma.commit_group.sync.aligned;\n%s\n%s\n", between, behind);
    kernel_run(&(struct kernel){4, 16, reads ? 8 : 0, SANITIZE_ALL, body});
}

static void ordered(const struct wgmma_case *test, const char *before, const char *between,
                    const char *behind)
{
    ordered_reads(test, before, between, behind, true);
}

static bool product_is_right(void)
{
    for (int thread = 0; thread < 128; thread++) {
        for (int i = 0; i < 8; i++) {
            int row, column;
            accumulator_place(ELEMENT_F32, thread % 32, i, 0, &row, &column);
            if (decode_float(out[thread][i]) !=
                expected(row + thread / 32 * 16, column, 16, 1, false)) {
                return false;
            }
        }
    }
    return true;
}

static const char FENCE[] = "wgmma.fence.sync.aligned;";
static const char WAIT[] = "wgmma.wait_group.sync.aligned 0;";

static void a_product_that_is_waited_for_is_right_and_nothing_is_found(void **state)
{
    struct wgmma_case registers = plain_case;

    (void)state;
    registers.registers = true;
    ordered(&plain_case, FENCE, "", WAIT);
    assert_int_equal(outcome.findings_total, 0);
    assert_true(product_is_right());
    ordered(&registers, FENCE, "add.u32 %t9, %t9, 1;", WAIT);
    assert_int_equal(outcome.findings_total, 0);
    assert_true(product_is_right());
}

static void without_a_wait_there_is_no_product_and_the_read_is_found(void **state)
{
    (void)state;
    ordered(&plain_case, FENCE, "", "");
    assert_non_null(found(FINDING_IN_FLIGHT));
    assert_non_null(found(FINDING_IN_FLIGHT)->at);
    assert_false(product_is_right());
    ordered(&plain_case, FENCE, "", "wgmma.wait_group.sync.aligned 1;");
    assert_non_null(found(FINDING_IN_FLIGHT));
    assert_false(product_is_right());
}

static void writing_an_accumulator_or_a_register_of_a_in_flight_is_found(void **state)
{
    struct wgmma_case registers = plain_case;

    (void)state;
    registers.registers = true;
    ordered(&plain_case, FENCE, "mov.b32 %o3, %t9;", WAIT);
    assert_non_null(found(FINDING_IN_FLIGHT));
    ordered(&registers, FENCE, "mov.b32 %i10, 0;", WAIT);
    assert_non_null(found(FINDING_IN_FLIGHT));
    assert_false(product_is_right());
}

static void a_missing_wgmma_fence_is_found(void **state)
{
    (void)state;
    ordered(&plain_case, "", "", WAIT);
    assert_non_null(found(FINDING_IN_FLIGHT));
    ordered(&plain_case, "wgmma.fence.sync.aligned;\nmov.b32 %o2, %t9;", "", WAIT);
    assert_non_null(found(FINDING_IN_FLIGHT));
}

static void an_operand_that_is_overwritten_in_flight_is_found(void **state)
{
    (void)state;
    ordered(&plain_case, FENCE, "st.shared.b32 [%s+8192], %t9;\nfence.proxy.async.shared::cta;",
            WAIT);
    assert_true(outcome.findings_total > 0);
    assert_false(product_is_right());
}

static void an_operand_written_without_a_proxy_fence_is_found(void **state)
{
    static const char write[] = "wgmma.fence.sync.aligned;\nst.shared.b32 [%s+8192], %t9;\n";
    char fenced[256];

    (void)state;
    ordered(&plain_case, write, "", WAIT);
    assert_true(found(FINDING_PROXY) != NULL || found(FINDING_RACE) != NULL);
    snprintf(
        fenced, sizeof fenced,
        "bar.sync 0;\nsetp.eq.u32 %%p2, %%t0, 0;\n"
        "@%%p2 st.shared.b32 [%%s+8192], %%t9;\nfence.proxy.async.shared::cta;\nbar.sync 0;\n%s",
        FENCE);
    ordered(&plain_case, fenced, "", WAIT);
    assert_int_equal(outcome.findings_total, 0);
}

static void a_product_that_nobody_waits_for_is_found(void **state)
{
    (void)state;
    ordered_reads(&plain_case, FENCE, "", "", false);
    assert_int_equal(outcome.findings_total, 4); /* one a warp */
    assert_non_null(found(FINDING_IN_FLIGHT));
    ordered_reads(&plain_case, FENCE, "", WAIT, false);
    assert_int_equal(outcome.findings_total, 0);
}

static void groups_end_in_the_order_of_their_commits(void **state)
{
    (void)state; /* two accumulators of four registers: columns 0–7 of B and columns 8–15 */
    matrix_draw(&A, 64, 32, ELEMENT_F16, true);
    matrix_draw(&B, 32, 16, ELEMENT_F16, true);
    D.type = ELEMENT_F32;
    wgmma_fill(&plain_case);
    say_again();
    say("wgmma.fence.sync.aligned;\n");
    for (int half = 0; half < 2; half++) {
        for (int step = 0; step < 2; step++) {
            say("add.s64 %%q10, %%q9, %lld;\nadd.s64 %%q11, %%q9, %lld;\n",
                (long long)descriptor(&plain_case.a, 64, 32, step),
                (long long)(descriptor(&plain_case.b, 16, 32, step) + (uint64_t)half * 64));
            say("wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 ");
            say_vector('o', 4 * half, 4);
            say(", %%q10, %%q11, %d, 1, 1, 0, 0;\n", step);
        }
        say("wgmma.commit_group.sync.aligned;\n");
    }
    say("wgmma.wait_group.sync.aligned 1;\nmov.b32 %%t8, %%o0;\n"
        "wgmma.wait_group.sync.aligned 0;\nmov.b32 %%t8, %%o4;\n");
    kernel_run_clean((struct kernel){4, 0, 8, 0, body});
    assert_true(product_is_right());
}

/* ---- what is refused ---- */

static void a_variant_that_is_not_known_is_refused_with_its_line(void **state)
{
    static const char *const bodies[] = {
        "mma.sync.aligned.m8n8k4.row.col.f32.f16.f16.f32 {%o0,%o1,%o2,%o3,%o4,%o5,%o6,%o7}, "
        "{%i0,%i1}, {%i2,%i3}, {%o0,%o1,%o2,%o3,%o4,%o5,%o6,%o7};",
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%o0,%o1,%o2}, {%i0,%i1,%i2,%i3}, "
        "{%i4,%i5}, {%o0,%o1,%o2,%o3};",
        "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%o0,%o1,%o2,%o3}, "
        "{%i0,%i1,%i2,%i3}, {%i4,%i5}, {%o0,%o1,%o2,%o3};",
        "wmma.load.a.sync.aligned.row.m8n8k4.shared.f64 {%q10}, [%s];",
        "ldmatrix.sync.aligned.m16n16.x1.trans.shared.b8 {%o0,%o1}, [%s];",
        "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%o0,%o1,%o2,%o3}, %q10, %q11, 1, 1, "
        "1;",
        "wgmma.mma_async.sync.aligned.m64n12k16.f32.f16.f16 {%o0,%o1,%o2,%o3}, %q10, %q11, 1, 1, "
        "1, 0, 0;",
        "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%o0,%o1,%o2}, %q10, %q11, 1, 1, 1, 0, "
        "0;",
        "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%o0,%o1,%o2,%o3}, %q10, %q11, 1, 2, "
        "1, 0, 0;",
        "wgmma.wait_group.sync.aligned;",
        "wgmma.other.sync.aligned;",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct err err = {0};
        if (decodes(bodies[i], &err)) {
            print_error("decoded: %s\n", bodies[i]);
            fail();
        }
        assert_int_equal(err.kind, ERR_USER);
        assert_non_null(strstr(err.what, "line"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(doubles_become_halves_rounded_once_to_nearest_even),
        cmocka_unit_test(both_ways_of_computing_give_the_same_bits),
        cmocka_unit_test(mma_of_every_shape_and_type_is_the_product),
        cmocka_unit_test(a_nan_comes_out_as_the_canonical_one_and_infinities_as_they_are),
        cmocka_unit_test(wmma_of_every_shape_type_and_layout_is_the_product),
        cmocka_unit_test(what_is_done_to_every_element_of_a_fragment_is_done_to_the_matrix),
        cmocka_unit_test(a_fragment_that_is_not_aligned_is_found),
        cmocka_unit_test(ldmatrix_gives_each_lane_its_pair_turned_or_not),
        cmocka_unit_test(stmatrix_puts_each_pair_where_ldmatrix_takes_it),
        cmocka_unit_test(movmatrix_turns_a_matrix),
        cmocka_unit_test(a_row_that_is_not_aligned_and_lanes_that_are_missing_are_found),
        cmocka_unit_test(wgmma_reads_every_swizzle_in_both_majors),
        cmocka_unit_test(wgmma_of_every_width_is_the_product),
        cmocka_unit_test(wgmma_takes_a_from_registers_and_b_in_both_majors),
        cmocka_unit_test(wgmma_with_half_accumulators_rounds_after_each_step),
        cmocka_unit_test(wgmma_negates_and_begins_its_pattern_where_the_descriptor_says),
        cmocka_unit_test(wgmma_of_other_types_is_the_product),
        cmocka_unit_test(a_product_that_is_waited_for_is_right_and_nothing_is_found),
        cmocka_unit_test(without_a_wait_there_is_no_product_and_the_read_is_found),
        cmocka_unit_test(writing_an_accumulator_or_a_register_of_a_in_flight_is_found),
        cmocka_unit_test(a_missing_wgmma_fence_is_found),
        cmocka_unit_test(an_operand_that_is_overwritten_in_flight_is_found),
        cmocka_unit_test(an_operand_written_without_a_proxy_fence_is_found),
        cmocka_unit_test(a_product_that_nobody_waits_for_is_found),
        cmocka_unit_test(groups_end_in_the_order_of_their_commits),
        cmocka_unit_test(a_variant_that_is_not_known_is_refused_with_its_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
