/*
 * The emulated device's memory: what moves, what is refused, which accesses race.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/rng.h"
#include "emu_rig.h"

static const lanes ALL = UINT32_MAX;

/* ---- short hands ---- */

struct reach { /* addresses of the lanes */
    enum space space;
    uint64_t base;
    int64_t stride;
};

static void addresses(struct reach reach, uint64_t address[LANES])
{
    for (int i = 0; i < LANES; i++) {
        address[i] = reach.base + (uint64_t)(reach.stride * i);
    }
}

static const char *load_name(enum space space)
{
    return space == SPACE_SHARED   ? "ld.shared.b32"
           : space == SPACE_GLOBAL ? "ld.global.b32"
                                   : "ld.b32";
}

static void load(struct rig *rig, struct warp *warp, int line, lanes active, unsigned bytes,
                 unsigned vector, struct reach reach)
{
    uint64_t address[LANES];

    addresses(reach, address);
    memory_load(warp, rig_op(rig, line, load_name(reach.space), bytes, vector, ACCESS_WEAK), active,
                address, reach.space);
}

/* Stores what no other store of the test stores. */
static void store(struct rig *rig, struct warp *warp, int line, lanes active, unsigned bytes,
                  unsigned vector, struct reach reach)
{
    static uint64_t next = 0x0101010101010101;
    uint64_t address[LANES];
    const struct op *op =
        rig_op(rig, line, reach.space == SPACE_SHARED ? "st.shared.b32" : "st.global.b32", bytes,
               vector, ACCESS_WEAK);

    for (unsigned k = 0; k < vector; k++) {
        for (unsigned i = 0; i < LANES * 16; i += 8) {
            next = next * 6364136223846793005u + 1442695040888963407u;
            memcpy(warp->registers + rig->slots[k] + i, &next, 8);
        }
    }
    addresses(reach, address);
    memory_store(warp, op, active, address, reach.space, 0);
}

static int count(const struct rig *rig, enum finding_kind kind)
{
    int found = 0;

    for (int i = 0; i < rig->found; i++) {
        found += rig->findings[i].kind == kind;
    }
    return found;
}

/* Exactly this many findings since the last look, all of one kind. */
#define EXPECT(rig, kind, wanted)                                                                  \
    do {                                                                                           \
        for (int f_ = 0; f_ < (rig)->found && (rig)->found != (wanted); f_++) {                    \
            print_message("  found: %s\n", (rig)->findings[f_].text);                              \
        }                                                                                          \
        assert_int_equal((rig)->found, wanted);                                                    \
        assert_int_equal(count(rig, kind), wanted);                                                \
        (rig)->found = 0;                                                                          \
    } while (0)
#define EXPECT_NONE(rig) EXPECT(rig, FINDING_NONE, 0)
#define EXPECT_TEXT(rig, of_kind, wanted)                                                          \
    do {                                                                                           \
        assert_int_equal((rig)->found, 1);                                                         \
        assert_int_equal((rig)->findings[0].kind, of_kind);                                        \
        assert_string_equal((rig)->findings[0].text, wanted);                                      \
        (rig)->found = 0;                                                                          \
    } while (0)

#define SHARED(base, stride)                                                                       \
    (struct reach) { SPACE_SHARED, base, stride }
#define GLOBAL(base, stride)                                                                       \
    (struct reach) { SPACE_GLOBAL, base, stride }

static struct rig *small(unsigned sanitize)
{
    return rig_new((struct rig_shape){1, 1, 4, 8192, sanitize});
}

static uint64_t filled(struct rig *rig, uint64_t bytes, const char *name)
{
    uint64_t address = memory_buffer(rig->memory, bytes, name);

    assert_true(memory_host_fill(rig->memory, address, 0x01020304, bytes));
    return address;
}

/* Shared memory as if a barrier ago everything had been written. */
static void written(struct rig *rig, uint32_t block, uint32_t bytes)
{
    for (uint32_t at = 0; at < bytes; at += LANES * 4) {
        store(rig, &rig->warps[block][0], 4000, ALL, 4, 1, SHARED(at, 4));
    }
    rig_barrier(rig, block);
}

/* ---- buffers and the host ---- */

static void buffers_lie_far_apart_and_the_host_stays_inside(void **state)
{
    struct memory *memory = memory_new();
    const uint64_t sizes[] = {1, 100, 3u << 20, 256, 0};
    uint64_t at[5], bytes;
    uint8_t data[16];

    (void)state;
    for (int i = 0; i < 5; i++) {
        at[i] = memory_buffer(memory, sizes[i], "B");
        assert_int_equal(at[i] % 256, 0);
        assert_true(i == 0 || at[i] - at[i - 1] >= UINT64_C(1) << 30);
    }
    for (int i = 0; i < 5; i++) {
        bytes = sizes[i];
        assert_true(memory_host_fill(memory, at[i], 0x44332211, bytes));
        assert_false(memory_host_fill(memory, at[i], 0, bytes + 1));
        assert_false(memory_host_fill(memory, at[i] - 1, 0, 1));
        assert_true(memory_host_read(memory, at[i] + bytes, data, 0));
        assert_false(memory_host_read(memory, at[i] + bytes, data, 1));
        assert_false(memory_host_write(memory, at[i] + 1, data, UINT64_MAX));
    }
    assert_true(memory_host_read(memory, at[1] + 4, data, 5));
    assert_memory_equal(data, "\x11\x22\x33\x44\x11", 5);
    memory_buffer_free(memory, at[1]);
    assert_false(memory_host_read(memory, at[1], data, 1));
    assert_true(memory_host_read(memory, at[2], data, 1));
    assert_false(memory_host_read(memory, 0, data, 1));
    assert_false(memory_host_read(memory, UINT64_MAX, data, 1));
    for (int i = 0; i < 1000; i++) { /* freed slots are taken again only later */
        uint64_t other = memory_buffer(memory, 64, "B");

        assert_true(other != at[1]);
        memory_buffer_free(memory, other);
    }
    memory_free(memory);
}

/* ---- every width, pattern and space ---- */

/* Where lane i goes in pattern p, in multiples of the access. */
static uint64_t spot(int pattern, int lane)
{
    switch (pattern) {
    case 0: return (uint64_t)lane;
    case 1: return 5;
    case 2: return (uint64_t)(lane * 7 % 32);
    default: return (uint64_t)(lane * 2);
    }
}

static void move_and_compare(struct rig *rig, uint64_t base, enum space space, unsigned bytes,
                             unsigned width, unsigned vector, int pattern, lanes active)
{
    struct warp *warp = &rig->warps[0][1];
    const unsigned size = bytes * vector;
    uint8_t expected[64 * 64], got[64];
    uint64_t address[LANES];
    struct op *op = (struct op *)(uintptr_t)rig_op(rig, 10, "ld", bytes, vector, ACCESS_WEAK);

    op->mode2 = width == bytes ? 0 : (int32_t)width;
    op->immediate = 16;
    memset(expected, 0x5a, sizeof expected);
    for (int i = 0; i < LANES; i++) {
        address[i] = base - 16 + spot(pattern, i) * size;
        for (unsigned k = 0; k < vector; k++) {
            for (unsigned b = 0; b < width; b++) {
                warp->registers[rig->slots[k] + (unsigned)i * width + b] =
                    (uint8_t)(pattern == 1 ? 3 * k + b + 1 : (unsigned)i * 8 + k * 3 + b + 1);
            }
        }
    }
    assert_int_equal(memory_store(warp, op, active, address, space, 0), STEP_NEXT);
    memset(warp->registers, 0xee, vector * LANES * 16);
    assert_int_equal(memory_load(warp, op, active, address, space), STEP_NEXT);
    FOR_LANES(i, ALL)
    {
        for (unsigned k = 0; k < vector; k++) {
            const uint8_t *reg = warp->registers + rig->slots[k] + (unsigned)i * width;

            for (unsigned b = 0; b < width; b++) {
                got[b] = (uint8_t)(!(active >> i & 1) ? 0xee
                                   : b >= bytes       ? 0
                                   : pattern == 1     ? 3 * k + b + 1
                                                      : (unsigned)i * 8 + k * 3 + b + 1);
            }
            assert_memory_equal(reg, got, width);
        }
    }
}

static void every_width_vector_and_pattern_moves_in_every_space(void **state)
{
    static const unsigned widths[][2] = {{1, 2}, {1, 4}, {1, 8}, {2, 2}, {2, 4},
                                         {2, 8}, {4, 4}, {4, 8}, {8, 8}, {16, 16}};
    static const lanes sets[] = {UINT32_MAX, 1, 0x80000000, 0x0000ffff, 0xaaaaaaaa};

    (void)state;
    for (unsigned sanitize = 1; sanitize <= SANITIZE_ALL; sanitize += 14) {
        struct rig *rig = small(sanitize);
        uint64_t buffer = filled(rig, 8192, "B");

        rig_begin(rig);
        written(rig, 0, 8192);
        const struct reach places[] = {{SPACE_GLOBAL, buffer, 0},
                                       {SPACE_GENERIC, buffer + 64, 0},
                                       {SPACE_SHARED, 128, 0},
                                       {SPACE_GENERIC, MEMORY_SHARED + 128, 0},
                                       {SPACE_GENERIC, MEMORY_SHARED + MEMORY_SHARED_WINDOW, 0},
                                       {SPACE_SHARED, MEMORY_SHARED_WINDOW + 64, 0}};

        for (size_t p = 0; p < sizeof places / sizeof places[0]; p++) {
            for (size_t w = 0; w < sizeof widths / sizeof widths[0]; w++) {
                for (unsigned vector = 1; vector <= 8 && vector * widths[w][0] <= 32; vector *= 2) {
                    for (int pattern = 0; pattern < 4; pattern++) {
                        for (int s = 0; s < 5; s++) {
                            move_and_compare(rig, places[p].base, places[p].space, widths[w][0],
                                             widths[w][1], vector, pattern, sets[s]);
                            rig_barrier(rig, 0);
                        }
                    }
                }
            }
        }
        EXPECT_NONE(rig);
        rig_end(rig);
        rig_free(rig);
    }
}

static void each_thread_has_its_own_local_memory_and_all_share_the_arguments(void **state)
{
    struct rig *rig = small(SANITIZE_ALL);
    struct warp *warp = &rig->warps[0][1];
    uint64_t address[LANES];
    const struct op *op = rig_op(rig, 11, "ld.local.b32", 4, 1, ACCESS_WEAK);

    (void)state;
    for (int i = 0; i < RIG_PARAMS; i++) {
        rig->params[i] = (uint8_t)i;
    }
    rig_begin(rig);
    addresses((struct reach){SPACE_LOCAL, 8, 0}, address);
    for (uint32_t i = 0; i < LANES; i++) {
        reg32(warp, 0)[i] = 100 + i;
    }
    memory_store(warp, op, ALL, address, SPACE_LOCAL, 0);
    addresses((struct reach){SPACE_GENERIC, MEMORY_LOCAL + 8, 0}, address);
    memset(reg32(warp, 0), 0, 128);
    memory_load(warp, op, ALL, address, SPACE_GENERIC);
    for (uint32_t i = 0; i < LANES; i++) {
        assert_int_equal(reg32(warp, 0)[i], 100 + i);
    }
    addresses((struct reach){SPACE_PARAM, 4, 0}, address);
    memory_load(warp, op, ALL, address, SPACE_PARAM);
    assert_int_equal(reg32(warp, 0)[31], 0x07060504);
    addresses((struct reach){SPACE_GENERIC, MEMORY_PARAM, 4}, address);
    memory_load(warp, op, ALL, address, SPACE_GENERIC);
    assert_int_equal(reg32(warp, 0)[31], 0x7f7e7d7c);
    EXPECT_NONE(rig);
    memory_store(warp, op, 1, address, SPACE_GENERIC, 0);
    EXPECT(rig, FINDING_READ_ONLY, 1);
    addresses((struct reach){SPACE_LOCAL, RIG_LOCAL - 3, 0}, address);
    memory_load(warp, op, 2, address, SPACE_LOCAL);
    EXPECT_TEXT(
        rig, FINDING_OUT_OF_BOUNDS,
        "ld.local.b32 (kernel.cu:11) of warp 1 lane 1 reads 4 bytes at local+253, 1 of them "
        "behind the end of local memory (256 bytes)");
    load(rig, warp, 12, 4, 4, 1, (struct reach){SPACE_LOCAL, 16, 0});
    EXPECT(rig, FINDING_UNINITIALISED, 1);
    rig_end(rig);
    rig_free(rig);
}

static void lanes_of_one_op_may_go_to_several_buffers(void **state)
{
    struct rig *rig = small(SANITIZE_ALL);
    struct warp *warp = &rig->warps[0][0];
    uint64_t a = filled(rig, 256, "A"), b = filled(rig, 256, "B"), *address;
    uint64_t expected[LANES];
    struct op *op = (struct op *)(uintptr_t)rig_op(rig, 7, "ld.b64", 8, 1, ACCESS_WEAK);

    (void)state;
    for (uint64_t i = 0; i < 32; i++) {
        memory_host_write(rig->memory, a + 8 * i, &(uint64_t){1000 + i}, 8);
        memory_host_write(rig->memory, b + 8 * i, &(uint64_t){2000 + i}, 8);
    }
    rig_begin(rig);
    address = reg64(warp, 0); /* the address register is the destination, too */
    for (uint64_t i = 0; i < LANES; i++) {
        address[i] = (i % 3 == 0 ? a : b) + 8 * i;
        expected[i] = (i % 3 == 0 ? 1000 : 2000) + i;
    }
    address[5] = b + 256;
    expected[5] = 0;
    address[9] = a + 4;
    expected[9] = 0;
    memory_load(warp, op, ALL, address, SPACE_GENERIC);
    assert_memory_equal(reg64(warp, 0), expected, sizeof expected);
    assert_int_equal(count(rig, FINDING_OUT_OF_BOUNDS), 1);
    assert_int_equal(count(rig, FINDING_MISALIGNED), 1);
    rig_end(rig);
    rig_free(rig);
}

/* ---- bounds ---- */

static void one_element_outside_is_told_on_both_sides_of_each_buffer(void **state)
{
    struct rig *rig = small(SANITIZE_BOUNDS);
    static const char *const names[] = {"Q", "K", "V"};
    uint64_t at[3];

    (void)state;
    for (int i = 0; i < 3; i++) {
        at[i] = filled(rig, 1024 * (uint64_t)(i + 1), names[i]);
    }
    rig_begin(rig);
    int line = 100;
    for (int i = 0; i < 3; i++) {
        struct warp *warp = &rig->warps[0][2];
        uint64_t bytes = 1024 * (uint64_t)(i + 1);
        char text[256];

        load(rig, warp, line++, ALL, 4, 1, GLOBAL(at[i], 4));
        load(rig, warp, line++, ALL, 4, 1, GLOBAL(at[i] + bytes - 128, 4));
        EXPECT_NONE(rig);
        load(rig, warp, line, ALL, 4, 1, GLOBAL(at[i] + bytes - 124, 4));
        snprintf(text, sizeof text,
                 "ld.global.b32 (kernel.cu:%d) of warp 2 lane 31 reads 4 bytes at %s+%d, right "
                 "behind the end of %s (%d bytes)",
                 line, names[i], (int)bytes, names[i], (int)bytes);
        EXPECT_TEXT(rig, FINDING_OUT_OF_BOUNDS, text);
        line++;
        store(rig, warp, line, ALL, 4, 1, GLOBAL(at[i] - 4, 4));
        snprintf(text, sizeof text,
                 "st.global.b32 (kernel.cu:%d) of warp 2 lane 0 writes 4 bytes at %s-4, 4 bytes "
                 "before the start of %s (%d bytes)",
                 line, names[i], names[i], (int)bytes);
        EXPECT_TEXT(rig, FINDING_OUT_OF_BOUNDS, text);
        line++;
        store(rig, warp, line++, 1u << 7, 1, 1, GLOBAL(at[i] + bytes, 0));
        EXPECT(rig, FINDING_OUT_OF_BOUNDS, 1);
        store(rig, warp, line++, 1u << 7, 1, 1, GLOBAL(at[i] - 1, 0));
        EXPECT(rig, FINDING_OUT_OF_BOUNDS, 1);
        store(rig, warp, line++, 1u << 7, 1, 1, GLOBAL(at[i] + bytes - 1, 0));
        store(rig, warp, line++, 1u << 7, 1, 1, GLOBAL(at[i], 0));
        EXPECT_NONE(rig);
    }
    load(rig, &rig->warps[0][0], line++, ALL, 4, 1, GLOBAL(0, 4));
    EXPECT(rig, FINDING_OUT_OF_BOUNDS, 1);
    load(rig, &rig->warps[0][0], line++, ALL, 4, 1, GLOBAL(UINT64_MAX - 63, 4)); /* wraps inside */
    EXPECT(rig, FINDING_OUT_OF_BOUNDS, 1);
    load(rig, &rig->warps[0][0], line++, ALL, 16, 1,
         (struct reach){SPACE_GENERIC, MEMORY_PARAM + (UINT64_C(1) << 45), 16});
    EXPECT(rig, FINDING_OUT_OF_BOUNDS, 1);
    rig_end(rig);
    rig_free(rig);
}

static void one_element_outside_of_shared_memory_is_told(void **state)
{
    struct rig *rig = small(SANITIZE_BOUNDS);
    struct warp *warp = &rig->warps[0][0];

    (void)state;
    rig_begin(rig);
    load(rig, warp, 20, ALL, 16, 1, SHARED(8192 - 512, 16));
    EXPECT_NONE(rig);
    load(rig, warp, 21, ALL, 16, 1, SHARED(8192 - 496, 16));
    EXPECT_TEXT(rig, FINDING_OUT_OF_BOUNDS,
                "ld.shared.b32 (kernel.cu:21) of warp 0 lane 31 reads 16 bytes at shared+8192, "
                "right behind the end of shared memory (8192 bytes)");
    load(rig, warp, 22, ALL, 4, 1, SHARED(UINT32_MAX - 3, 4)); /* the others are 0, 4, … */
    EXPECT(rig, FINDING_OUT_OF_BOUNDS, 1);
    load(rig, warp, 23, ALL, 4, 1, SHARED(2 * MEMORY_SHARED_WINDOW, 4)); /* no block of rank 1 */
    EXPECT(rig, FINDING_OUT_OF_BOUNDS, 1);
    rig_end(rig);
    rig_free(rig);
}

static void a_window_hides_the_rest_of_a_buffer_from_kernels(void **state)
{
    struct rig *rig = small(SANITIZE_ALL);
    uint64_t at = filled(rig, 4096, "K");

    (void)state;
    memory_buffer_window(rig->memory, at, 1024, 2000);
    rig_begin(rig);
    load(rig, &rig->warps[0][0], 1, 1, 4, 1, GLOBAL(at + 1024, 0));
    load(rig, &rig->warps[0][0], 2, 1, 4, 1, GLOBAL(at + 1024 + 1996, 0));
    EXPECT_NONE(rig);
    load(rig, &rig->warps[0][0], 3, 1, 4, 1, GLOBAL(at + 1020, 0));
    load(rig, &rig->warps[0][0], 4, 1, 4, 1, GLOBAL(at + 1024 + 2000, 0));
    EXPECT(rig, FINDING_OUT_OF_BOUNDS, 2);
    rig_end(rig);
    assert_true(memory_host_fill(rig->memory, at, 0, 4096));
    rig_free(rig);
}

static void what_is_not_a_multiple_of_its_size_is_misaligned(void **state)
{
    struct rig *rig = small(SANITIZE_BOUNDS);
    uint64_t at = filled(rig, 4096, "K");
    int line = 30;

    (void)state;
    rig_begin(rig);
    for (unsigned bytes = 2; bytes <= 16; bytes *= 2) {
        load(rig, &rig->warps[0][0], line++, ALL, bytes, 1, GLOBAL(at + bytes / 2, bytes));
        EXPECT(rig, FINDING_MISALIGNED, 1);
        load(rig, &rig->warps[0][0], line++, ALL, bytes, 1, SHARED(1, bytes));
        EXPECT(rig, FINDING_MISALIGNED, 1);
    }
    load(rig, &rig->warps[0][0], line++, ALL, 4, 2, GLOBAL(at + 4, 8));
    EXPECT(rig, FINDING_MISALIGNED, 1);
    load(rig, &rig->warps[0][0], line, ALL, 4, 4, GLOBAL(at + 8, 16));
    EXPECT_TEXT(
        rig, FINDING_MISALIGNED,
        "ld.global.b32 (kernel.cu:39) of warp 0 lane 0 reads 16 bytes at K+8, which is not a "
        "multiple of 16");
    rig_end(rig);
    rig_free(rig);
}

static void inputs_are_not_written(void **state)
{
    struct rig *rig = small(SANITIZE_BOUNDS);
    uint64_t at = filled(rig, 4096, "K");
    uint32_t word;

    (void)state;
    memory_buffer_access(rig->memory, at, BUFFER_READ_ONLY);
    rig_begin(rig);
    load(rig, &rig->warps[0][0], 1, ALL, 4, 1, GLOBAL(at, 4));
    EXPECT_NONE(rig);
    store(rig, &rig->warps[0][0], 2, ALL, 4, 1, GLOBAL(at, 4));
    EXPECT_TEXT(rig, FINDING_READ_ONLY,
                "st.global.b32 (kernel.cu:2) of warp 0 lane 0 writes 4 bytes at K+0, which is read "
                "only");
    memory_host_read(rig->memory, at, &word, 4);
    assert_int_equal(word, 0x01020304);
    rig_end(rig);
    rig_free(rig);
}

/* ---- what was never written ---- */

static void global_bytes_are_known_once_written_by_host_or_kernel(void **state)
{
    struct rig *rig = small(SANITIZE_ALL);
    struct warp *warp = &rig->warps[0][0];
    uint64_t at = memory_buffer(rig->memory, 4096, "W");
    uint8_t zero[64] = {0};

    (void)state;
    memory_host_write(rig->memory, at, zero, 64);
    memory_host_fill(rig->memory, at + 128, 7, 64);
    memory_host_poison(rig->memory, at + 160, 0x7fc0dead, 4);
    memory_host_forget(rig->memory, at + 4, 1);
    rig_begin(rig);
    load(rig, warp, 1, 1, 4, 1, GLOBAL(at, 0));
    load(rig, warp, 2, 1, 1, 1, GLOBAL(at + 5, 0));
    load(rig, warp, 3, 1, 16, 1, GLOBAL(at + 128, 0));
    EXPECT_NONE(rig);
    load(rig, warp, 4, 1, 4, 1, GLOBAL(at + 4, 0));
    load(rig, warp, 5, 1, 16, 1, GLOBAL(at + 160, 0));
    load(rig, warp, 6, 1, 4, 1, GLOBAL(at + 64, 0));
    load(rig, warp, 7, ALL, 4, 1, GLOBAL(at, 4));
    store(rig, warp, 8, ALL, 2, 1, GLOBAL(at + 1024, 4)); /* every other half */
    memory_warp_sync(warp, ALL);
    load(rig, warp, 9, 1, 2, 1, GLOBAL(at + 1028, 0));
    load(rig, warp, 10, 1, 4, 1, GLOBAL(at + 1024, 0));
    rig_end(rig); /* told at the end, when no other block turned out to have written there */
    EXPECT(rig, FINDING_UNINITIALISED, 5);
    rig_begin(rig);
    load(rig, warp, 9, 1, 2, 1, GLOBAL(at + 1028, 0)); /* of the launch before */
    rig_end(rig);
    EXPECT_NONE(rig);
    rig_free(rig);
}

static void shared_bytes_are_unknown_in_every_block_anew(void **state)
{
    struct rig *rig = small(SANITIZE_INITIALISED);

    (void)state;
    memory_launch_begin(rig->memory, &rig->launch);
    for (int i = 0; i < 3; i++) {
        struct warp *warp = &rig->warps[0][0];

        rig_block_begin(rig, 0);
        store(rig, warp, 1, ALL, 2, 1, SHARED(64, 2));
        load(rig, warp, 2, ALL, 2, 1, SHARED(64, 2));
        load(rig, warp, 3, 0xffff, 4, 1, SHARED(64, 4));
        EXPECT_NONE(rig);
        load(rig, warp, 4, 0x1ffff, 4, 1, SHARED(64, 4));
        EXPECT_TEXT(rig, FINDING_UNINITIALISED,
                    "ld.shared.b32 (kernel.cu:4) of warp 0 lane 16 reads 4 bytes at shared+128, of "
                    "which byte 0 was never written");
        load(rig, warp, 5, 1, 16, 1, SHARED(48, 4));
        EXPECT(rig, FINDING_UNINITIALISED, 1);
        rig_block_end(rig, 0);
    }
    memory_launch_end(rig->memory);
    rig_free(rig);
}

static void registers_are_known_lane_by_lane(void **state)
{
    struct rig *rig = small(SANITIZE_INITIALISED);
    struct warp *warp = &rig->warps[0][3];
    static const struct constant_slot constant = {.slot = 4096, .bytes = 4};

    (void)state;
    rig->program.constants = &constant;
    rig->program.constant_count = 1;
    rig_begin(rig);
    assert_false(memory_register_known(warp, 128, 1));
    memory_register_written(warp, 128, 0xf0);
    assert_true(memory_register_known(warp, 128, 0x30));
    assert_false(memory_register_known(warp, 128, 0x31));
    assert_true(memory_register_known(warp, 4096, ALL));
    assert_false(memory_register_known(&rig->warps[0][2], 128, 0x30));
    assert_true(memory_register_known(warp, SLOT_NONE, ALL));
    rig_end(rig);
    rig->launch.sanitize = SANITIZE_BOUNDS;
    rig_begin(rig);
    assert_true(memory_register_known(warp, 128, 1));
    rig_end(rig);
    rig_free(rig);
}

/* ---- races inside a block ---- */

enum what { READ_AFTER_WRITE, WRITE_AFTER_READ, WRITE_AFTER_WRITE, WHATS };

/* One access of `first`, the order if any, one of `second`, in shared or global memory. */
static void two_accesses(struct rig *rig, enum what what, uint64_t base, enum space space,
                         struct warp *first, lanes a, struct warp *second, lanes b,
                         void order(struct rig *rig), int line)
{
    struct reach reach = {space, base, 0};

    rig_barrier(rig, 0);
    if (what == WRITE_AFTER_READ) {
        load(rig, first, line, a, 4, 1, reach);
    } else {
        store(rig, first, line, a, 4, 1, reach);
    }
    if (order != NULL) {
        order(rig);
    }
    if (what == READ_AFTER_WRITE) {
        load(rig, second, line + 1, b, 4, 1, reach);
    } else {
        store(rig, second, line + 1, b, 4, 1, reach);
    }
}

static void order_barrier(struct rig *rig) { rig_barrier(rig, 0); }
static void order_warp(struct rig *rig) { memory_warp_sync(&rig->warps[0][1], ALL); }
static void order_half(struct rig *rig) { memory_warp_sync(&rig->warps[0][1], 0xffff); }

static void lanes_of_a_warp_race_unless_the_warp_is_synchronised(void **state)
{
    struct rig *rig = small(SANITIZE_ALL);
    uint64_t buffer = filled(rig, 1024, "W");
    struct warp *warp = &rig->warps[0][1];
    int line = 100;

    (void)state;
    rig_begin(rig);
    written(rig, 0, 1024);
    for (int global = 0; global < 2; global++) {
        for (int what = 0; what < WHATS; what++, line += 20) {
            enum space space = global ? SPACE_GLOBAL : SPACE_SHARED;
            uint64_t at = global ? buffer + 64 : 64;

            two_accesses(rig, what, at, space, warp, 8, warp, 16, NULL, line);
            EXPECT(rig, FINDING_RACE, 1);
            two_accesses(rig, what, at, space, warp, 8, warp, 8, NULL, line + 2);
            two_accesses(rig, what, at, space, warp, 8, warp, 16, order_warp, line + 4);
            two_accesses(rig, what, at, space, warp, 8, warp, 16, order_half, line + 6);
            EXPECT_NONE(rig);
            two_accesses(rig, what, at, space, warp, 8, warp, 1 << 20, order_half, line + 8);
            EXPECT(rig, FINDING_RACE, 1);
        }
    }
    rig_end(rig);
    rig_free(rig);
}

static void warps_race_unless_a_barrier_lies_between(void **state)
{
    struct rig *rig = small(SANITIZE_ALL);
    uint64_t buffer = filled(rig, 1024, "W");
    int line = 100;

    (void)state;
    rig_begin(rig);
    written(rig, 0, 1024);
    for (int global = 0; global < 2; global++) {
        for (int what = 0; what < WHATS; what++, line += 20) {
            enum space space = global ? SPACE_GLOBAL : SPACE_SHARED;
            uint64_t at = global ? buffer + 64 : 64;
            struct warp *a = &rig->warps[0][0], *b = &rig->warps[0][2];

            two_accesses(rig, what, at, space, a, 8, b, 8, NULL, line);
            EXPECT(rig, FINDING_RACE, 1);
            two_accesses(rig, what, at, space, a, 8, b, 8, order_warp, line + 2); /* another's */
            EXPECT(rig, FINDING_RACE, 1);
            two_accesses(rig, what, at, space, a, 8, b, 16, order_barrier, line + 4);
            EXPECT_NONE(rig);
        }
    }
    rig_end(rig);
    EXPECT_NONE(rig);
    rig_free(rig);
}

static void a_race_is_told_with_both_places(void **state)
{
    struct rig *rig = small(SANITIZE_ALL);

    (void)state;
    rig_begin(rig);
    written(rig, 0, 1024);
    store(rig, &rig->warps[0][0], 7, ALL, 4, 1, SHARED(128, 4));
    load(rig, &rig->warps[0][2], 9, 2, 16, 1, SHARED(160, 16));
    assert_ptr_equal(rig->findings[0].other, &rig->texts[7]);
    EXPECT_TEXT(rig, FINDING_RACE,
                "ld.shared.b32 (kernel.cu:9) of warp 2 lane 1 reads 16 bytes at shared+176; "
                "st.shared.b32 (kernel.cu:7) of warp 0 lane 12 wrote them, and nothing orders the "
                "two");
    rig_end(rig);
    rig_free(rig);
}

static void two_loads_never_race(void **state)
{
    struct rig *rig = small(SANITIZE_ALL);

    (void)state;
    rig_begin(rig);
    written(rig, 0, 1024);
    for (int w = 0; w < 4; w++) {
        load(rig, &rig->warps[0][w], 1, ALL, 4, 1, SHARED(0, 4));
        load(rig, &rig->warps[0][w], 2, ALL, 4, 1, SHARED(4, 0));
        load(rig, &rig->warps[0][w], 3, ALL, 2, 1, SHARED(62, -2));
    }
    EXPECT_NONE(rig);
    rig_end(rig);
    rig_free(rig);
}

static void neighbours_of_any_width_do_not_race(void **state)
{
    struct rig *rig = small(SANITIZE_ALL);

    (void)state;
    rig_begin(rig);
    for (int round = 0; round < 3; round++) {
        store(rig, &rig->warps[0][0], 1, ALL, 16, 1, SHARED(0, 16));
        rig_barrier(rig, 0);
        for (int w = 0; w < 4; w++) { /* byte w of every word */
            store(rig, &rig->warps[0][w], 2 + w, ALL, 1, 1, SHARED((uint64_t)w, 4));
        }
        EXPECT_NONE(rig);
        load(rig, &rig->warps[0][0], 10, 1, 1, 1, SHARED(0, 4));
        EXPECT_NONE(rig);
        load(rig, &rig->warps[0][0], 11 + round, 1, 2, 1, SHARED(0, 4)); /* byte 1 is warp 1's */
        EXPECT(rig, FINDING_RACE, 1);
        rig_barrier(rig, 0);
    }
    rig_end(rig);
    rig_free(rig);
}

static void lanes_of_one_store_race_when_their_values_differ(void **state)
{
    struct rig *rig = small(SANITIZE_ALL);
    struct warp *warp = &rig->warps[0][0];
    uint64_t address[LANES];
    const struct op *op = rig_op(rig, 3, "st.shared.b32", 4, 1, ACCESS_WEAK);

    (void)state;
    rig_begin(rig);
    for (uint64_t i = 0; i < LANES; i++) {
        address[i] = 4 * (i % 5);
        reg32(warp, 0)[i] = (uint32_t)(i % 5);
    }
    memory_store(warp, op, ALL, address, SPACE_SHARED, 0);
    EXPECT_NONE(rig);
    memory_warp_sync(warp, ALL);
    reg32(warp, 0)[22] = 77;
    memory_store(warp, op, ALL, address, SPACE_SHARED, 0);
    EXPECT_TEXT(rig, FINDING_RACE,
                "st.shared.b32 (kernel.cu:3) of warp 0 writes 4 bytes at shared+8 with different "
                "values in lanes 2 and 22");
    memory_warp_sync(warp, ALL);
    for (uint64_t i = 0; i < LANES; i++) {
        address[i] = 64;
        reg32(warp, 0)[i] = 5;
    }
    op = rig_op(rig, 4, "st.shared.b32", 4, 1, ACCESS_WEAK);
    memory_store(warp, op, ALL, address, SPACE_SHARED, 0); /* all lanes, one value, one place */
    load(rig, warp, 5, ALL, 4, 1, SHARED(64, 0));
    EXPECT_NONE(rig);
    reg32(warp, 0)[9] = 6;
    memory_store(warp, op, ALL, address, SPACE_SHARED, 0);
    assert_true(rig->found >= 1);
    rig_end(rig);
    rig_free(rig);
}

static void writing_again_what_is_there_is_no_race(void **state)
{
    struct rig *rig = small(SANITIZE_ALL);
    uint64_t address[LANES] = {128};
    const struct op *op = rig_op(rig, 3, "st.shared.b32", 4, 1, ACCESS_WEAK);

    (void)state;
    rig_begin(rig);
    for (int w = 0; w < 4; w++) {
        reg32(&rig->warps[0][w], 0)[0] = 42;
        memory_store(&rig->warps[0][w], op, 1, address, SPACE_SHARED, 0);
    }
    EXPECT_NONE(rig);
    reg32(&rig->warps[0][1], 0)[0] = 43;
    memory_store(&rig->warps[0][1], op, 1, address, SPACE_SHARED, 0);
    EXPECT(rig, FINDING_RACE, 1);
    rig_end(rig);
    rig_free(rig);
}

static void only_the_lanes_that_arrive_release(void **state)
{
    struct rig *rig = small(SANITIZE_ALL);
    struct warp *a = &rig->warps[0][0], *b = &rig->warps[0][1];
    struct clock *one = NULL, *two = NULL;

    (void)state;
    rig_begin(rig);
    written(rig, 0, 1024);
    store(rig, a, 10, ALL, 4, 1, SHARED(0, 4));
    memory_release(a, 1, &one); /* lane 0 alone, nothing before it */
    memory_acquire(b, ALL, one);
    load(rig, b, 11, 1, 4, 1, SHARED(0, 4)); /* lane 0's */
    EXPECT_NONE(rig);
    load(rig, b, 12, 2, 4, 1, SHARED(0, 4)); /* lane 1's */
    EXPECT(rig, FINDING_RACE, 1);
    memory_warp_sync(a, ALL);
    memory_release(a, 1, &two);
    memory_acquire(b, ALL, two);
    load(rig, b, 13, ALL, 4, 1, SHARED(0, 4));
    EXPECT_NONE(rig);
    rig_end(rig);
    rig_free(rig);
}

static void only_the_lanes_that_wait_acquire(void **state)
{
    struct rig *rig = small(SANITIZE_ALL);
    struct warp *a = &rig->warps[0][0], *b = &rig->warps[0][1];
    struct clock *clock = NULL;

    (void)state;
    rig_begin(rig);
    written(rig, 0, 1024);
    store(rig, a, 10, ALL, 4, 1, SHARED(0, 4));
    memory_release(a, ALL, &clock);
    memory_acquire(b, 1, clock);
    load(rig, b, 11, 1, 4, 1, SHARED(64, 4));
    EXPECT_NONE(rig);
    load(rig, b, 12, 2, 4, 1, SHARED(64, 4));
    EXPECT(rig, FINDING_RACE, 1);
    memory_warp_sync(b, ALL);
    load(rig, b, 13, ALL, 4, 1, SHARED(0, 4));
    EXPECT_NONE(rig);
    rig_end(rig);
    rig_free(rig);
}

static void knowledge_passes_through_a_third_warp(void **state)
{
    struct rig *rig = small(SANITIZE_ALL);
    struct warp *a = &rig->warps[0][0], *b = &rig->warps[0][1], *c = &rig->warps[0][2];
    struct clock *ab = NULL, *bc = NULL;

    (void)state;
    rig_begin(rig);
    store(rig, a, 10, ALL, 4, 1, SHARED(0, 4));
    memory_release(a, ALL, &ab);
    store(rig, a, 11, ALL, 4, 1, SHARED(128, 4)); /* behind the release */
    memory_acquire(b, ALL, ab);
    memory_release(b, ALL, &bc);
    memory_acquire(c, ALL, bc);
    load(rig, c, 12, ALL, 4, 1, SHARED(0, 4));
    EXPECT_NONE(rig);
    load(rig, c, 13, ALL, 4, 1, SHARED(128, 4));
    EXPECT(rig, FINDING_RACE, 1);
    rig_end(rig);
    rig_free(rig);
}

static void double_buffering_with_barriers_is_quiet(void **state)
{
    struct rig *rig = small(SANITIZE_ALL);
    int missing;

    (void)state;
    for (missing = 0; missing < 2; missing++) {
        rig_begin(rig);
        for (uint64_t step = 0; step < 20; step++) {
            for (uint64_t w = 0; w < 4; w++) {
                store(rig, &rig->warps[0][w], 50, ALL, 4, 4, SHARED(step % 2 * 2048 + w * 512, 16));
            }
            if (!(missing && step == 10)) {
                rig_barrier(rig, 0);
            }
            for (uint64_t w = 0; w < 4; w++) {
                for (uint64_t row = 0; row < 4; row++) {
                    load(rig, &rig->warps[0][w], 51, ALL, 4, 4,
                         SHARED(step % 2 * 2048 + row * 512, 16));
                }
                load(rig, &rig->warps[0][w], 52, ALL, 2, 1, SHARED(step % 2 * 2048 + 14, 32));
            }
        }
        rig_end(rig);
        if (!missing) {
            EXPECT_NONE(rig);
        } else {
            assert_true(rig->found > 0);
        }
    }
    rig_free(rig);
}

/* One warp fills a ring, others empty it; full and empty have a clock for each parity. */
static void ring(struct rig *rig, int stages, int steps, bool empty_released, bool full_waited)
{
    struct clock *full[4][2] = {{NULL}}, *empty[4][2] = {{NULL}};
    struct warp *producer = &rig->warps[0][0];

    for (int step = 0; step < steps; step++) {
        int stage = step % stages, phase = step / stages;

        if (phase > 0) {
            memory_acquire(producer, ALL, empty[stage][(phase - 1) & 1]);
        }
        store(rig, producer, 60, ALL, 4, 4, SHARED((uint64_t)stage * 512, 16));
        memory_release(producer, ALL, &full[stage][phase & 1]);
        for (int w = 1; w < 4; w++) {
            if (full_waited) {
                memory_acquire(&rig->warps[0][w], ALL, full[stage][phase & 1]);
            }
            load(rig, &rig->warps[0][w], 61, ALL, 4, 1, SHARED((uint64_t)stage * 512, 4));
            load(rig, &rig->warps[0][w], 62, ALL, 4, 1, SHARED((uint64_t)stage * 512 + 4, 0));
            memory_warp_sync(&rig->warps[0][w], ALL);
            if (empty_released || w < 3) {
                memory_release(&rig->warps[0][w], 1, &empty[stage][phase & 1]);
            }
        }
    }
}

static void a_ring_between_producer_and_consumers_is_quiet(void **state)
{
    struct rig *rig = small(SANITIZE_ALL);

    (void)state;
    for (int stages = 1; stages <= 4; stages++) {
        rig_begin(rig);
        ring(rig, stages, 40, true, true);
        rig_end(rig);
        EXPECT_NONE(rig);
        rig_begin(rig);
        ring(rig, stages, 40, false, true);
        rig_end(rig);
        assert_true(count(rig, FINDING_RACE) > 0);
        rig->found = 0;
        rig_begin(rig);
        ring(rig, stages, 40, true, false);
        rig_end(rig);
        assert_true(count(rig, FINDING_RACE) > 0);
        rig->found = 0;
    }
    rig_free(rig);
}

/* ---- atomics and flags ---- */

static void add_one(void *context, const void *old, void *new)
{
    uint32_t value;

    (void)context;
    memcpy(&value, old, 4);
    value++;
    memcpy(new, &value, 4);
}

static uint32_t count_up(struct rig *rig, struct warp *warp, int line, enum space space,
                         uint64_t address, unsigned access)
{
    uint32_t old;

    memory_atomic(warp, rig_op(rig, line, "atom.add.u32", 4, 1, (enum access)access), 0, address,
                  space, 4, add_one, NULL, &old);
    return old;
}

static void strong_load(struct rig *rig, struct warp *warp, int line, struct reach reach)
{
    uint64_t address[LANES];

    addresses(reach, address);
    memory_load(warp, rig_op(rig, line, "ld.relaxed.b32", 4, 1, ACCESS_STRONG), 1, address,
                reach.space);
}

static void atomics_race_with_plain_accesses_only(void **state)
{
    struct rig *rig = small(SANITIZE_ALL);
    uint64_t at = filled(rig, 64, "C");

    (void)state;
    rig_begin(rig);
    memory_host_fill(rig->memory, at, 0, 4);
    written(rig, 0, 128);
    for (uint32_t w = 0; w < 4; w++) {
        assert_int_equal(count_up(rig, &rig->warps[0][w], 5, SPACE_GLOBAL, at, ACCESS_STRONG), w);
        count_up(rig, &rig->warps[0][w], 6, SPACE_SHARED, 16, ACCESS_STRONG);
        strong_load(rig, &rig->warps[0][w], 7, SHARED(16, 0));
    }
    EXPECT_NONE(rig);
    load(rig, &rig->warps[0][1], 8, 1, 4, 1, SHARED(16, 0));
    EXPECT(rig, FINDING_RACE, 1);
    store(rig, &rig->warps[0][0], 9, 1, 4, 1, GLOBAL(at, 0));
    EXPECT(rig, FINDING_RACE, 1);
    rig_barrier(rig, 0);
    load(rig, &rig->warps[0][1], 10, 1, 4, 1, SHARED(16, 0));
    load(rig, &rig->warps[0][1], 10, 1, 4, 1, GLOBAL(at, 0));
    EXPECT_NONE(rig);
    count_up(rig, &rig->warps[0][2], 11, SPACE_SHARED, 16, ACCESS_STRONG); /* after plain reads */
    EXPECT(rig, FINDING_RACE, 1);
    count_up(rig, &rig->warps[0][2], 12, SPACE_SHARED, 4096, ACCESS_STRONG);
    EXPECT(rig, FINDING_UNINITIALISED, 1);
    count_up(rig, &rig->warps[0][2], 13, SPACE_SHARED, 18, ACCESS_STRONG);
    EXPECT(rig, FINDING_MISALIGNED, 1);
    count_up(rig, &rig->warps[0][2], 14, SPACE_SHARED, 8192, ACCESS_STRONG);
    EXPECT(rig, FINDING_OUT_OF_BOUNDS, 1);
    rig_end(rig);
    rig_free(rig);
}

static void a_flag_orders_warps_when_a_fence_or_a_release_stands_before_it(void **state)
{
    struct rig *rig = small(SANITIZE_ALL);
    struct warp *a = &rig->warps[0][0], *b = &rig->warps[0][1];

    (void)state;
    rig_begin(rig);
    written(rig, 0, 2048);
    for (int way = 0; way < 3; way++) { /* nothing, a fence, a release */
        uint64_t data = 128 + (uint64_t)way * 128, flag = 1024 + (uint64_t)way * 64;

        store(rig, a, 20 + way, 1, 4, 1, SHARED(data, 4));
        if (way == 1) {
            memory_fence(a, ALL, false);
        }
        count_up(rig, a, 30 + way, SPACE_SHARED, flag,
                 way == 2 ? ACCESS_STRONG | ACCESS_RELEASE : ACCESS_STRONG);
        strong_load(rig, b, 40 + way, SHARED(flag, 0));
        load(rig, b, 50 + way, 1, 4, 1, SHARED(data, 4));
        if (way == 0) {
            EXPECT(rig, FINDING_RACE, 1);
        } else {
            EXPECT_NONE(rig);
        }
    }
    rig_end(rig);
    rig_free(rig);
}

/* ---- blocks of a grid ---- */

static struct rig *grid(uint32_t blocks, unsigned sanitize)
{
    return rig_new((struct rig_shape){blocks, 1, 2, 1024, sanitize});
}

static void blocks_race_in_global_memory(void **state)
{
    (void)state;
    for (int way = 0; way < 5; way++) {
        struct rig *rig = grid(4, SANITIZE_ALL);
        uint64_t at = filled(rig, 4096, "O");
        struct warp *a = &rig->warps[1][0], *b = &rig->warps[3][1];

        rig_begin(rig);
        switch (way) {
        case 0: /* read after write */
            store(rig, a, 10, ALL, 2, 1, GLOBAL(at, 2));
            load(rig, b, 11, ALL, 16, 1, GLOBAL(at, 16));
            break;
        case 1: /* write after read */
            load(rig, b, 11, ALL, 16, 1, GLOBAL(at, 16));
            store(rig, a, 10, ALL, 2, 1, GLOBAL(at, 2));
            break;
        case 2: /* writes that share one byte */
            store(rig, a, 10, ALL, 2, 1, GLOBAL(at, 2));
            store(rig, b, 11, 1, 1, 1, GLOBAL(at + 63, 2));
            break;
        case 3: /* side by side */
            store(rig, a, 10, ALL, 2, 1, GLOBAL(at, 2));
            store(rig, b, 11, ALL, 2, 1, GLOBAL(at + 64, 2));
            break;
        default: /* reads */
            load(rig, a, 10, ALL, 4, 1, GLOBAL(at, 4));
            load(rig, b, 11, ALL, 4, 1, GLOBAL(at, 4));
        }
        EXPECT_NONE(rig); /* told at the end of the launch */
        rig_end(rig);
        if (way < 3) {
            assert_int_equal(rig->findings[0].block[0], 3);
            assert_int_equal(rig->findings[0].warp, 1);
            assert_ptr_equal(rig->findings[0].other, &rig->texts[10]);
        }
        if (way == 0) {
            EXPECT_TEXT(
                rig, FINDING_RACE,
                "ld.global.b32 (kernel.cu:11) of block (3,0,0) warp 1 lane 0 reads 64 bytes "
                "at O+0; st.global.b32 (kernel.cu:10) of block (1,0,0) warp 0 lane 0 writes "
                "them, and nothing orders blocks");
        } else {
            EXPECT(rig, FINDING_RACE, way < 3 ? 1 : 0);
        }
        rig_begin(rig); /* launches are ordered */
        load(rig, b, 12, ALL, 4, 1, GLOBAL(at, 4));
        store(rig, b, 13, ALL, 4, 1, GLOBAL(at, 4));
        rig_end(rig);
        EXPECT_NONE(rig);
        rig_free(rig);
    }
}

static void the_last_block_may_read_what_all_have_written(void **state)
{
    (void)state;
    for (int fenced = 0; fenced < 2; fenced++) {
        struct rig *rig = grid(6, SANITIZE_ALL);
        uint64_t partial = memory_buffer(rig->memory, 6 * 256, "partial");
        uint64_t counter = filled(rig, 64, "counter");

        memory_host_fill(rig->memory, counter, 0, 64);
        rig_begin(rig);
        for (uint32_t i = 0; i < 6; i++) {
            struct warp *warps = rig->warps[i];
            uint32_t ticket;

            for (uint64_t w = 0; w < 2; w++) {
                store(rig, &warps[w], 20, ALL, 4, 1, GLOBAL(partial + i * 256 + w * 128, 4));
                if (fenced) {
                    memory_fence(&warps[w], ALL, true);
                }
            }
            rig->barrier[0] = rig->barrier[1] = NULL;
            rig_barrier(rig, i);
            ticket = count_up(rig, &warps[0], 21, SPACE_GLOBAL, counter, ACCESS_STRONG);
            assert_int_equal(ticket, i);
            rig_barrier(rig, i);
            if (ticket == 5) {
                for (uint64_t part = 0; part < 6; part++) {
                    load(rig, &warps[1], 22, ALL, 4, 1, GLOBAL(partial + part * 256, 4));
                }
                if (fenced) { /* and begin the count anew, whose last counter it is */
                    store(rig, &warps[0], 23, 1, 1, 1, GLOBAL(counter, 4));
                }
            }
        }
        rig_end(rig);
        EXPECT(rig, FINDING_RACE, fenced ? 0 : 1);
        rig_free(rig);
    }
}

/* What a block has counted is behind who read the count, and before who did not. */
static void a_counter_may_be_restored_by_the_last_to_count_and_nobody_else(void **state)
{
    (void)state;
    for (uint32_t restorer = 0; restorer < 4; restorer++) {
        struct rig *rig = grid(4, SANITIZE_ALL);
        uint64_t counter = filled(rig, 64, "counter");

        memory_host_fill(rig->memory, counter, 0, 64);
        rig_begin(rig);
        for (uint32_t i = 0; i < 4; i++) {
            struct warp *warp = &rig->warps[i][0];

            memory_fence(warp, ALL, true);
            count_up(rig, warp, 21, SPACE_GLOBAL, counter, ACCESS_STRONG);
            if (i == restorer) {
                store(rig, warp, 22, 1, 1, 1, GLOBAL(counter, 4));
            }
        }
        rig_end(rig);
        EXPECT(rig, FINDING_RACE, restorer == 3 ? 0 : 1);
        rig_free(rig);
    }
}

static void an_uninitialised_read_that_another_block_writes_is_told_as_a_race(void **state)
{
    (void)state;
    for (int order = 0; order < 2; order++) {
        struct rig *rig = grid(2, SANITIZE_ALL);
        uint64_t at = memory_buffer(rig->memory, 4096, "W");

        rig_begin(rig);
        if (order == 0) {
            store(rig, &rig->warps[0][0], 10, ALL, 4, 1, GLOBAL(at, 4));
        }
        load(rig, &rig->warps[1][0], 11, ALL, 4, 1, GLOBAL(at, 4));
        if (order == 1) {
            store(rig, &rig->warps[0][0], 10, ALL, 4, 1, GLOBAL(at, 4));
        }
        rig_end(rig);
        EXPECT(rig, FINDING_RACE, 1);
        rig_free(rig);
    }
}

static void blocks_of_a_run_that_was_stopped_say_nothing_of_each_other(void **state)
{
    (void)state;
    for (int stuck = 0; stuck < 2; stuck++) {
        struct rig *rig = grid(2, SANITIZE_ALL);
        uint64_t at = filled(rig, 4096, "W");

        rig->stuck = stuck ? 4 : 0;
        rig_begin(rig);
        store(rig, &rig->warps[0][0], 10, ALL, 4, 1, GLOBAL(at, 4));
        store(rig, &rig->warps[1][0], 10, ALL, 4, 1, GLOBAL(at, 4));
        rig_end(rig);
        EXPECT(rig, FINDING_RACE, !stuck);
        rig_free(rig);
    }
}

/*
 * Every block writes its part, a bit of its neighbour's, and reads a place that one of them
 * writes.
 */
static void messy_access(struct rig *rig, struct warp *warp, int line, lanes active,
                         struct reach reach)
{
    uint64_t address[LANES];
    const struct op *op = &rig->ops[line];

    addresses(reach, address);
    if (line == 32) {
        memory_load(warp, op, active, address, reach.space);
        return;
    }
    for (uint32_t i = 0; i < LANES; i++) {
        reg32(warp, 0)[i] = warp->block->index[0] * 1000 + (uint32_t)warp->index * 100 + i;
    }
    memory_store(warp, op, active, address, reach.space, 0);
}

static void messy_block(struct rig *rig, uint64_t at, uint32_t index)
{
    rig_block_begin(rig, index);
    for (uint64_t w = 0; w < 2; w++) {
        struct warp *warp = &rig->warps[index][w];

        messy_access(rig, warp, 30, ALL, GLOBAL(at + index * 256 + w * 128, 4));
        messy_access(rig, warp, 31, 1, GLOBAL(at + index * 256 + 256 + w * 4, 0));
        messy_access(rig, warp, 32, ALL, GLOBAL(at + 512, 0));
        messy_access(rig, warp, 33, 1, GLOBAL(at + 3072 + w * 4, 0));
    }
    rig_block_end(rig, index);
}

struct messy {
    struct rig *rig;
    uint64_t at;
    uint32_t index;
};

static void *messy_thread(void *context)
{
    struct messy *messy = context;

    messy_block(messy->rig, messy->at, messy->index);
    return NULL;
}

static void races_between_blocks_do_not_depend_on_their_order(void **state)
{
    static const uint32_t orders[][8] = {
        {0, 1, 2, 3, 4, 5, 6, 7}, {7, 6, 5, 4, 3, 2, 1, 0}, {3, 1, 7, 5, 0, 2, 6, 4}};
    char first[RIG_FINDINGS / 64][384];
    int found = 0;

    (void)state;
    for (int round = 0; round < 8; round++) { /* in these orders, then all at once */
        struct rig *rig = grid(8, SANITIZE_RACES);
        uint64_t at = filled(rig, 4096, "W");
        pthread_t threads[8];
        struct messy messy[8];

        for (int line = 30; line < 34; line++) {
            rig_op(rig, line, line == 32 ? "ld.global.b32" : "st.global.b32", 4, 1, ACCESS_WEAK);
        }
        memory_launch_begin(rig->memory, &rig->launch);
        for (int i = 0; i < 8; i++) {
            messy[i] = (struct messy){rig, at, round < 3 ? orders[round][i] : (uint32_t)i};
            if (round < 3) {
                messy_thread(&messy[i]);
            } else {
                assert_int_equal(pthread_create(&threads[i], NULL, messy_thread, &messy[i]), 0);
            }
        }
        for (int i = 0; round >= 3 && i < 8; i++) {
            pthread_join(threads[i], NULL);
        }
        rig->found = 0; /* of lanes inside the blocks */
        memory_launch_end(rig->memory);
        assert_in_range(rig->found, 4, RIG_FINDINGS / 64);
        assert_int_equal(count(rig, FINDING_RACE), rig->found);
        for (int i = 0; i < rig->found; i++) {
            if (round == 0) {
                memcpy(first[i], rig->findings[i].text, sizeof first[i]);
            }
            assert_string_equal(first[i], rig->findings[i].text);
        }
        assert_true(round == 0 || rig->found == found);
        found = rig->found;
        rig_free(rig);
    }
}

/* ---- clusters ---- */

static void blocks_of_a_cluster_reach_and_race_in_each_others_shared_memory(void **state)
{
    struct rig *rig = rig_new((struct rig_shape){4, 2, 2, 1024, SANITIZE_ALL});
    struct clock *clock = NULL;

    (void)state;
    rig_begin(rig);
    for (int pair = 0; pair < 2; pair++) {
        struct warp *a = &rig->warps[2 * pair][0], *b = &rig->warps[2 * pair + 1][1];

        clock = NULL;
        store(rig, a, 10, ALL, 4, 1, SHARED(0, 4));
        load(rig, b, 11 + pair, ALL, 4, 1, SHARED(MEMORY_SHARED_WINDOW, 4));
        assert_memory_equal(reg32(b, 0), reg32(a, 0), 128);
        assert_non_null(strstr(rig->findings[0].text, "at shared+0 of block 0 of the cluster"));
        EXPECT(rig, FINDING_RACE, 1);
        load(rig, b, 13, 1, 4, 1, SHARED(0, 4)); /* its own */
        EXPECT(rig, FINDING_UNINITIALISED, 1);
        memory_release(a, ALL, &clock);
        memory_acquire(b, ALL, clock);
        load(rig, b, 14, ALL, 4, 1,
             (struct reach){SPACE_GENERIC, MEMORY_SHARED + MEMORY_SHARED_WINDOW, 4});
        EXPECT_NONE(rig);
        store(rig, b, 15 + pair, ALL, 4, 1, SHARED(MEMORY_SHARED_WINDOW + 1024, 4));
        EXPECT(rig, FINDING_OUT_OF_BOUNDS, 1);
    }
    rig_end(rig);
    rig_free(rig);
}

/* ---- copies on their way ---- */

struct copy_rig {
    struct rig *rig;
    const struct op *op;
    struct clock *full;
};

static void copy_begin(struct copy_rig *copy, int lane, bool write, enum proxy proxy)
{
    memory_flight_begin(&copy->rig->warps[0][0], copy->op, lane, 256, SPACE_SHARED, 512, write,
                        proxy);
}
static void copy_land(struct copy_rig *copy, int lane, bool write, enum proxy proxy, bool counted)
{
    enum step step;
    uint8_t *host = memory_span(&copy->rig->warps[0][0], copy->op, lane, 256, SPACE_SHARED, 512,
                                write, proxy, &step);

    assert_non_null(host);
    assert_int_equal(step, STEP_NEXT);
    memory_flight_land(&copy->rig->warps[0][0], copy->op, lane, 256, SPACE_SHARED, 512, write,
                       proxy, counted ? &copy->full : NULL);
}

static void bytes_in_flight_may_not_be_touched(void **state)
{
    struct rig *rig = small(SANITIZE_ALL);
    struct copy_rig copy = {rig, rig_op(rig, 70, "cp.async.bulk", 16, 1, ACCESS_WEAK), NULL};
    struct warp *a = &rig->warps[0][0], *b = &rig->warps[0][1];

    (void)state;
    rig_begin(rig);
    copy_begin(&copy, 0, true, PROXY_ASYNC);
    load(rig, b, 71, 1, 4, 1, SHARED(512, 4));
    assert_non_null(strstr(rig->findings[rig->found - 1].text,
                           "while cp.async.bulk (kernel.cu:70) of warp 0 lane 0 is still writing"));
    assert_int_equal(count(rig, FINDING_RACE), 1);
    rig->found = 0;
    store(rig, a, 72, 1, 4, 1, SHARED(768, 4)); /* behind it */
    store(rig, a, 73, 1, 4, 1, SHARED(252, 4)); /* before it */
    EXPECT_NONE(rig);
    store(rig, a, 74, 1, 4, 1, SHARED(256, 4));
    EXPECT(rig, FINDING_RACE, 1);
    rig_end(rig); /* it never lands: the next block does not inherit it */
    rig_begin(rig);
    store(rig, b, 75, ALL, 16, 1, SHARED(256, 16));
    EXPECT_NONE(rig);
    rig_end(rig);
    rig_free(rig);
}

static void what_landed_is_ordered_by_the_mbarrier_that_counted_it(void **state)
{
    struct rig *rig = small(SANITIZE_ALL);
    struct copy_rig copy = {rig, rig_op(rig, 70, "cp.async.bulk", 16, 1, ACCESS_WEAK), NULL};
    struct clock *wrong = NULL;

    (void)state;
    rig_begin(rig);
    copy_begin(&copy, 0, true, PROXY_ASYNC);
    copy_land(&copy, 0, true, PROXY_ASYNC, true);
    memory_flight_begin(&rig->warps[0][0], copy.op, 0, 1024, SPACE_SHARED, 16, true, PROXY_ASYNC);
    memory_flight_land(&rig->warps[0][0], copy.op, 0, 1024, SPACE_SHARED, 16, true, PROXY_ASYNC,
                       &wrong);
    memory_acquire(&rig->warps[0][1], ALL, copy.full);
    load(rig, &rig->warps[0][1], 71, ALL, 16, 1, SHARED(256, 16));
    EXPECT_NONE(rig);
    memory_acquire(&rig->warps[0][2], ALL, wrong); /* of another copy */
    load(rig, &rig->warps[0][2], 72, ALL, 16, 1, SHARED(256, 16));
    EXPECT(rig, FINDING_RACE, 1);
    load(rig, &rig->warps[0][0], 73, 1, 16, 1, SHARED(256, 16)); /* who asked has to wait, too */
    EXPECT(rig, FINDING_RACE, 1);
    rig_end(rig);
    rig_free(rig);
}

static void a_copy_by_a_lane_is_its_own_when_it_has_waited(void **state)
{
    struct rig *rig = small(SANITIZE_ALL);
    struct copy_rig copy = {rig, rig_op(rig, 70, "cp.async", 16, 1, ACCESS_WEAK), NULL};
    struct warp *a = &rig->warps[0][0];

    (void)state;
    rig_begin(rig);
    copy_begin(&copy, 3, true, PROXY_GENERIC);
    load(rig, a, 71, 8, 4, 1, SHARED(256, 0)); /* not waited */
    assert_int_equal(count(rig, FINDING_RACE), 1);
    rig->found = 0;
    copy_land(&copy, 3, true, PROXY_GENERIC, false);
    load(rig, a, 72, 8, 4, 1, SHARED(256, 0));
    EXPECT_NONE(rig);
    load(rig, a, 73, 16, 4, 1, SHARED(260, 0));
    EXPECT(rig, FINDING_RACE, 1);
    memory_warp_sync(a, ALL);
    load(rig, a, 74, ALL, 4, 1, SHARED(256, 4));
    EXPECT_NONE(rig);
    rig_barrier(rig, 0);
    load(rig, &rig->warps[0][3], 75, ALL, 4, 1, SHARED(256, 4));
    EXPECT_NONE(rig);
    rig_end(rig);
    rig_free(rig);
}

static void a_source_in_flight_may_be_read_but_not_written(void **state)
{
    struct rig *rig = small(SANITIZE_ALL);
    struct copy_rig copy = {rig, rig_op(rig, 70, "wgmma.mma_async", 16, 1, ACCESS_WEAK), NULL};
    struct warp *b = &rig->warps[0][1];

    (void)state;
    rig_begin(rig);
    written(rig, 0, 1024);
    memory_proxy_fence(&rig->warps[0][0], ALL);
    rig_barrier(rig, 0);
    copy_begin(&copy, -1, false, PROXY_ASYNC);
    load(rig, b, 71, ALL, 16, 1, SHARED(256, 16));
    EXPECT_NONE(rig);
    memory_warp_sync(b, ALL);
    store(rig, b, 72, 1, 4, 1, SHARED(512, 4));
    assert_non_null(strstr(rig->findings[0].text,
                           "while wgmma.mma_async (kernel.cu:70) of warp 0 is still reading them"));
    EXPECT(rig, FINDING_IN_FLIGHT, 1);
    copy_land(&copy, -1, false, PROXY_ASYNC, false);
    rig->found = 0;
    store(rig, b, 73, 1, 4, 1, SHARED(516, 4)); /* landed, and nobody told warp 1 */
    EXPECT(rig, FINDING_RACE, 1);
    rig_barrier(rig, 0);
    store(rig, b, 74, 1, 4, 1, SHARED(520, 4));
    EXPECT_NONE(rig);
    rig_end(rig);
    rig_free(rig);
}

static void the_asynchronous_proxy_sees_plain_writes_behind_a_fence_only(void **state)
{
    (void)state;
    for (int way = 0; way < 4;
         way++) { /* no fence, before the barrier, after it, by another lane */
        struct rig *rig = small(SANITIZE_ALL);
        const struct op *op = rig_op(rig, 70, "cp.async.bulk", 16, 1, ACCESS_WEAK);
        enum step step;

        rig_begin(rig);
        store(rig, &rig->warps[0][1], 71, ALL, 16, 1, SHARED(0, 16));
        if (way == 1) {
            memory_proxy_fence(&rig->warps[0][1], ALL);
        } else if (way == 3) {
            memory_proxy_fence(&rig->warps[0][1], 1);
        }
        rig_barrier(rig, 0);
        if (way == 2) {
            memory_proxy_fence(&rig->warps[0][0], 1);
        }
        assert_true(memory_span(&rig->warps[0][0], op, 0, 0, SPACE_SHARED, 512, false, PROXY_ASYNC,
                                &step) != NULL);
        EXPECT(rig, FINDING_PROXY, way == 0 || way == 3 ? 1 : 0);
        rig_end(rig);
        rig_free(rig);
    }
}

/* ---- the profile ---- */

static void a_profile_is_told_of_every_access_when_there_is_one(void **state)
{
    struct rig *rig = small(SANITIZE_BOUNDS);

    (void)state;
    rig_begin(rig);
    rig_touched = 0;
    load(rig, &rig->warps[0][0], 1, ALL, 4, 4, SHARED(0, 16));
    assert_int_equal(rig_touched, 0);
    rig->blocks[0].profile = (struct block_profile *)rig; /* never looked into */
    load(rig, &rig->warps[0][0], 1, ALL, 4, 4, SHARED(0, 16));
    store(rig, &rig->warps[0][0], 1, 0xff, 2, 1, SHARED(0, 2));
    count_up(rig, &rig->warps[0][0], 2, SPACE_SHARED, 0, ACCESS_STRONG);
    assert_int_equal(rig_touched, 512 + 16 + 4);
    rig_end(rig);
    rig_free(rig);
}

/* ---- against an oracle ---- */

/*
 * Random programs of a few warps, checked against happens-before taken literally: a clock of every
 * thread for every thread, the last write of every byte and every thread's last read of it. Slow
 * and plain.
 */
enum { O_WARPS = 3, O_THREADS = O_WARPS * LANES, O_BYTES = 256, O_CLOCKS = 4 };

struct oracle {
    uint32_t clock[O_THREADS][O_THREADS];
    uint32_t objects[O_CLOCKS][O_THREADS];
    struct {
        int writer;
        uint32_t written, read[O_THREADS];
    } bytes[O_BYTES];
};

static bool oracle_before(const struct oracle *o, int who, uint32_t when, int me)
{
    return when == 0 || who == me || when <= o->clock[me][who];
}

static bool oracle_access(const struct oracle *o, int me, uint32_t at, bool write)
{
    bool fine = oracle_before(o, o->bytes[at].writer, o->bytes[at].written, me);

    for (int t = 0; write && t < O_THREADS; t++) {
        fine &= oracle_before(o, t, o->bytes[at].read[t], me);
    }
    return fine;
}

static void oracle_join(uint32_t *into, const uint32_t *from)
{
    for (int t = 0; t < O_THREADS; t++) {
        into[t] = from[t] > into[t] ? from[t] : into[t];
    }
}

static bool oracle_fine(const struct oracle *o, int warp, lanes active,
                        const uint64_t offset[LANES], uint32_t bytes, bool write)
{
    bool fine = true;

    FOR_LANES(lane, active)
    {
        for (uint32_t b = 0; b < bytes; b++) {
            fine &= oracle_access(o, warp * LANES + lane, (uint32_t)offset[lane] + b, write);
        }
    }
    return fine;
}

static void oracle_mark(struct oracle *o, int warp, lanes active, const uint64_t offset[LANES],
                        uint32_t bytes, bool write)
{
    FOR_LANES(lane, active)
    {
        int me = warp * LANES + lane;

        for (uint32_t b = 0; b < bytes; b++) {
            uint32_t at = (uint32_t)offset[lane] + b;

            if (write) {
                o->bytes[at].writer = me;
                o->bytes[at].written = o->clock[me][me];
            } else {
                o->bytes[at].read[me] = o->clock[me][me];
            }
        }
    }
}

static void oracle_sync(struct oracle *o, int warp, lanes set)
{
    uint32_t all[O_THREADS] = {0};

    FOR_LANES(lane, set) { oracle_join(all, o->clock[warp * LANES + lane]); }
    FOR_LANES(lane, set)
    {
        oracle_join(o->clock[warp * LANES + lane], all);
        o->clock[warp * LANES + lane][warp * LANES + lane]++;
    }
}

static lanes random_lanes(struct rng *rng)
{
    static const lanes sets[] = {UINT32_MAX, UINT32_MAX, UINT32_MAX, 0xffff,
                                 0xffff0000, 1,          2,          1u << 31};

    return sets[rng_below(rng, 8)];
}

/* Changes every byte it writes, as writing what is there is no race. */
static void random_access(struct rig *rig, struct warp *warp, int line, lanes active,
                          unsigned bytes, bool write, const uint64_t offset[LANES],
                          enum space space, uint64_t base)
{
    const struct op *op = rig_op(rig, line, write ? "st" : "ld", bytes, 1, ACCESS_WEAK);
    unsigned width = bytes < 2 ? 2 : bytes;
    uint64_t address[LANES];
    uint8_t now[O_BYTES];

    for (int lane = 0; lane < LANES; lane++) {
        address[lane] = base + offset[lane];
    }
    if (!write) {
        memory_load(warp, op, active, address, space);
        return;
    }
    if (space == SPACE_SHARED) {
        memcpy(now, rig->blocks[0].shared, O_BYTES);
    } else {
        memory_host_read(rig->memory, base, now, O_BYTES);
    }
    FOR_LANES(lane, active)
    {
        for (unsigned b = 0; b < bytes; b++) {
            warp->registers[(unsigned)lane * width + b] = (uint8_t)~now[offset[lane] + b];
        }
    }
    memory_store(warp, op, active, address, space, 0);
}

/* Side by side, all at one place, or scattered without meeting. */
static void random_offsets(struct rng *rng, uint32_t bytes, uint64_t offset[LANES], bool *meet)
{
    uint32_t spots = O_BYTES / bytes, way = rng_below(rng, 4);
    uint32_t at = rng_below(rng, spots), step = way == 1   ? 0
                                                : way == 2 ? 2 * rng_below(rng, 16) + 1
                                                           : 1;

    *meet = step == 0 || spots < LANES;
    for (uint32_t i = 0; i < LANES; i++) {
        offset[i] = (at + i * step) % spots * bytes;
    }
}

/* Returns whether it came to a race, which both must say of the same access. */
static bool random_program(struct rig *rig, struct rng *rng, int steps, enum space space,
                           uint64_t base)
{
    struct oracle *o = xcalloc(1, sizeof *o);
    struct clock *clocks[O_CLOCKS] = {NULL};
    bool fine = true;

    for (int t = 0; t < O_THREADS; t++) {
        o->clock[t][t] = 1;
    }
    rig_begin(rig);
    for (int step = 1; step <= steps && fine; step++) {
        uint32_t w = rng_below(rng, O_WARPS), c = rng_below(rng, O_CLOCKS);
        uint32_t *object = o->objects[c], bytes = 1u << rng_below(rng, 5);
        struct warp *warp = &rig->warps[0][w];
        lanes active = random_lanes(rng);
        bool write = rng_below(rng, 2), meet;
        uint64_t offset[LANES];
        int me = (int)w * LANES;

        random_offsets(rng, bytes, offset, &meet);
        switch (rng_below(rng, 8)) {
        case 0:
            memory_warp_sync(warp, active);
            oracle_sync(o, (int)w, active);
            continue;
        case 1:
        case 2:
            memory_release(warp, active, &clocks[c]);
            FOR_LANES(lane, active) { oracle_join(object, o->clock[me + lane]); }
            FOR_LANES(lane, active) { o->clock[me + lane][me + lane]++; }
            continue;
        case 3:
        case 4:
            memory_acquire(warp, active, clocks[c]);
            FOR_LANES(lane, active) { oracle_join(o->clock[me + lane], object); }
            continue;
        default: break;
        }
        if (meet && write) {
            active = active & -active; /* two lanes at one place are another test's */
        }
        fine = oracle_fine(o, (int)w, active, offset, bytes, write);
        if (!fine && rng_below(rng, 20) > 0) { /* or no program would get far */
            fine = true;
            continue;
        }
        oracle_mark(o, (int)w, active, offset, bytes, write);
        random_access(rig, warp, step, active, bytes, write, offset, space, base);
        if (fine != (rig->found == 0)) {
            print_message("  step %d: %s, says the oracle; %s\n", step, fine ? "fine" : "a race",
                          rig->found > 0 ? rig->findings[0].text : "nothing was found");
        }
        assert_int_equal(fine, rig->found == 0);
        rig->found = 0;
    }
    rig_end(rig);
    EXPECT_NONE(rig);
    free(o);
    return !fine;
}

static void random_programs_race_as_happens_before_says(void **state)
{
    struct rig *rig = rig_new((struct rig_shape){1, 1, O_WARPS, 1024, SANITIZE_RACES});
    uint64_t buffer = filled(rig, O_BYTES, "W");
    struct rng rng = rng_at(1, 2, 3);
    int races = 0;

    (void)state;
    for (int i = 0; i < 4000; i++) {
        races += i % 2 ? random_program(rig, &rng, 120, SPACE_SHARED, 0)
                       : random_program(rig, &rng, 120, SPACE_GLOBAL, buffer);
    }
    assert_in_range(races, 1000, 3600);
    print_message("%d of 4000 programs race\n", races);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffers_lie_far_apart_and_the_host_stays_inside),
        cmocka_unit_test(every_width_vector_and_pattern_moves_in_every_space),
        cmocka_unit_test(each_thread_has_its_own_local_memory_and_all_share_the_arguments),
        cmocka_unit_test(lanes_of_one_op_may_go_to_several_buffers),
        cmocka_unit_test(one_element_outside_is_told_on_both_sides_of_each_buffer),
        cmocka_unit_test(one_element_outside_of_shared_memory_is_told),
        cmocka_unit_test(a_window_hides_the_rest_of_a_buffer_from_kernels),
        cmocka_unit_test(what_is_not_a_multiple_of_its_size_is_misaligned),
        cmocka_unit_test(inputs_are_not_written),
        cmocka_unit_test(global_bytes_are_known_once_written_by_host_or_kernel),
        cmocka_unit_test(shared_bytes_are_unknown_in_every_block_anew),
        cmocka_unit_test(registers_are_known_lane_by_lane),
        cmocka_unit_test(lanes_of_a_warp_race_unless_the_warp_is_synchronised),
        cmocka_unit_test(warps_race_unless_a_barrier_lies_between),
        cmocka_unit_test(a_race_is_told_with_both_places),
        cmocka_unit_test(two_loads_never_race),
        cmocka_unit_test(neighbours_of_any_width_do_not_race),
        cmocka_unit_test(lanes_of_one_store_race_when_their_values_differ),
        cmocka_unit_test(writing_again_what_is_there_is_no_race),
        cmocka_unit_test(only_the_lanes_that_arrive_release),
        cmocka_unit_test(only_the_lanes_that_wait_acquire),
        cmocka_unit_test(knowledge_passes_through_a_third_warp),
        cmocka_unit_test(double_buffering_with_barriers_is_quiet),
        cmocka_unit_test(a_ring_between_producer_and_consumers_is_quiet),
        cmocka_unit_test(atomics_race_with_plain_accesses_only),
        cmocka_unit_test(a_flag_orders_warps_when_a_fence_or_a_release_stands_before_it),
        cmocka_unit_test(blocks_race_in_global_memory),
        cmocka_unit_test(the_last_block_may_read_what_all_have_written),
        cmocka_unit_test(a_counter_may_be_restored_by_the_last_to_count_and_nobody_else),
        cmocka_unit_test(an_uninitialised_read_that_another_block_writes_is_told_as_a_race),
        cmocka_unit_test(blocks_of_a_run_that_was_stopped_say_nothing_of_each_other),
        cmocka_unit_test(races_between_blocks_do_not_depend_on_their_order),
        cmocka_unit_test(blocks_of_a_cluster_reach_and_race_in_each_others_shared_memory),
        cmocka_unit_test(bytes_in_flight_may_not_be_touched),
        cmocka_unit_test(what_landed_is_ordered_by_the_mbarrier_that_counted_it),
        cmocka_unit_test(a_copy_by_a_lane_is_its_own_when_it_has_waited),
        cmocka_unit_test(a_source_in_flight_may_be_read_but_not_written),
        cmocka_unit_test(the_asynchronous_proxy_sees_plain_writes_behind_a_fence_only),
        cmocka_unit_test(a_profile_is_told_of_every_access_when_there_is_one),
        cmocka_unit_test(random_programs_race_as_happens_before_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
