/*
 * alu_lanes -- loops over the lanes of a warp, compiled once for each kind of host processor.
 *
 * alu.c includes this file with LN(name) naming the copy and HALF_INSTRUCTIONS saying whether the
 * processor converts halves by itself. The operations are the list in alu_ops.h: here each becomes
 * a function that does it for all lanes, or for some and leaves the others. Nothing here may depend
 * on the processor but speed: every copy gives the same bits.
 *
 * A destination may be the very slot of a source. Each lane reads before it writes, so the loops
 * are independent in the compiler's sense.
 */

#define LANE_LOOP(T, ...)                                                                          \
    do {                                                                                           \
        T *to = (T *)slot_at(warp, op->dst[0]);                                                    \
        if (active == ALL) {                                                                       \
            INDEPENDENT                                                                            \
            for (int i = 0; i < LANES; i++) {                                                      \
                to[i] = (T)(__VA_ARGS__);                                                          \
            }                                                                                      \
        } else {                                                                                   \
            INDEPENDENT                                                                            \
            for (int i = 0; i < LANES; i++) {                                                      \
                T result = (T)(__VA_ARGS__), old = to[i];                                          \
                to[i] = active >> i & 1 ? result : old;                                            \
            }                                                                                      \
        }                                                                                          \
    } while (0)

#define SOURCE(T, name, index) const T *name = (const T *)slot_at(warp, op->src[index])

#define LANE1(id, opcode, types, mods, kinds, class, TD, TA, ...)                                  \
    static inline TD LN(id##_of)(TA x) { return (TD)(__VA_ARGS__); }                               \
    static enum step LN(id)(struct warp * warp, const struct op *op, lanes active)                 \
    {                                                                                              \
        SOURCE(TA, xs, 0);                                                                         \
        LANE_LOOP(TD, LN(id##_of)(xs[i]));                                                         \
        return STEP_NEXT;                                                                          \
    }

#define LANE2(id, opcode, types, mods, kinds, class, TD, TA, TB, ...)                              \
    static inline TD LN(id##_of)(TA x, TB y) { return (TD)(__VA_ARGS__); }                         \
    static enum step LN(id)(struct warp * warp, const struct op *op, lanes active)                 \
    {                                                                                              \
        SOURCE(TA, xs, 0);                                                                         \
        SOURCE(TB, ys, 1);                                                                         \
        LANE_LOOP(TD, LN(id##_of)(xs[i], ys[i]));                                                  \
        return STEP_NEXT;                                                                          \
    }

#define LANE3(id, opcode, types, mods, kinds, class, TD, TA, TB, TC, ...)                          \
    static inline TD LN(id##_of)(TA x, TB y, TC z) { return (TD)(__VA_ARGS__); }                   \
    static enum step LN(id)(struct warp * warp, const struct op *op, lanes active)                 \
    {                                                                                              \
        SOURCE(TA, xs, 0);                                                                         \
        SOURCE(TB, ys, 1);                                                                         \
        SOURCE(TC, zs, 2);                                                                         \
        LANE_LOOP(TD, LN(id##_of)(xs[i], ys[i], zs[i]));                                           \
        return STEP_NEXT;                                                                          \
    }

#define LANE4(id, opcode, types, mods, kinds, class, T, TC, TD, ...)                               \
    static inline T LN(id##_of)(T x, T y, TC z, TD w) { return (T)(__VA_ARGS__); }                 \
    static enum step LN(id)(struct warp * warp, const struct op *op, lanes active)                 \
    {                                                                                              \
        SOURCE(T, xs, 0);                                                                          \
        SOURCE(T, ys, 1);                                                                          \
        SOURCE(TC, zs, 2);                                                                         \
        SOURCE(TD, ws, 3);                                                                         \
        LANE_LOOP(T, LN(id##_of)(xs[i], ys[i], zs[i], ws[i]));                                     \
        return STEP_NEXT;                                                                          \
    }

/* Choice by a predicate. */
#define SELECT(id, opcode, types, mods, kinds, class, T)                                           \
    static enum step LN(id)(struct warp * warp, const struct op *op, lanes active)                 \
    {                                                                                              \
        SOURCE(T, xs, 0);                                                                          \
        SOURCE(T, ys, 1);                                                                          \
        const lanes p = *pred(warp, op->src[2]) ^ (op->mode ? ALL : 0);                            \
        LANE_LOOP(T, p >> i & 1 ? xs[i] : ys[i]);                                                  \
        return STEP_NEXT;                                                                          \
    }

/* A comparison; what is done with its lanes is the same for all. */
#define COMPARE(id, opcode, types, mods, kinds, class, T, ...)                                     \
    static enum step LN(id)(struct warp * warp, const struct op *op, lanes active)                 \
    {                                                                                              \
        SOURCE(T, xs, 0);                                                                          \
        SOURCE(T, ys, 1);                                                                          \
        lanes result = 0;                                                                          \
        for (int i = 0; i < LANES; i++) {                                                          \
            T x = xs[i], y = ys[i];                                                                \
            result |= (lanes)(__VA_ARGS__) << i;                                                   \
        }                                                                                          \
        return compare_end(warp, op, active, result);                                              \
    }

/* ---- halves: a register of 32 lanes of f16x2 is 64 halves side by side ---- */

#if HALF_INSTRUCTIONS
static inline void LN(f16_load)(const uint16_t *from, float *to, int count)
{
    for (int i = 0; i < count; i += 8) {
        _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128((const void *)(from + i))));
    }
}

static inline void LN(f16_store)(const float *from, uint16_t *to, int count)
{
    for (int i = 0; i < count; i += 8) {
        _mm_storeu_si128((void *)(to + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT));
    }
    for (int i = 0; i < count; i++) {
        to[i] = (to[i] & 0x7fff) > 0x7c00 ? 0x7fff : to[i];
    }
}
#else
static inline void LN(f16_load)(const uint16_t *from, float *to, int count)
{
    for (int i = 0; i < count; i++) {
        to[i] = f16_float(from[i]);
    }
}

static inline void LN(f16_store)(const float *from, uint16_t *to, int count)
{
    for (int i = 0; i < count; i++) {
        to[i] = float_f16(from[i]);
    }
}
#endif

static inline void LN(bf16_load)(const uint16_t *from, float *to, int count)
{
    for (int i = 0; i < count; i++) {
        to[i] = bf16_float(from[i]);
    }
}

static inline void LN(bf16_store)(const float *from, uint16_t *to, int count)
{
    for (int i = 0; i < count; i++) {
        to[i] = float_bf16(from[i]);
    }
}

static inline void LN(half_keep)(struct warp *warp, const struct op *op, lanes active,
                                 const uint16_t *from, int count)
{
    half *to = (half *)slot_at(warp, op->dst[0]);
    int of_lane = count / LANES;
    if (active == ALL) {
        memcpy(to, from, (size_t)count * sizeof *from);
    } else if (of_lane == 1) {
        for (int i = 0; i < LANES; i++) {
            to[i] = active >> i & 1 ? from[i] : to[i];
        }
    } else {
        FOR_LANES(lane, active) memcpy(to + 2 * lane, from + 2 * lane, 2 * sizeof *from);
    }
}

#define HALF_LOOP(form, count, sources, ...)                                                       \
    do {                                                                                           \
        float xs[count], ys[count], zs[count], rs[count];                                          \
        uint16_t packed[count];                                                                    \
        LN(form##_load)((const void *)slot_at(warp, op->src[0]), xs, count);                       \
        if (sources > 1) {                                                                         \
            LN(form##_load)((const void *)slot_at(warp, op->src[sources > 1]), ys, count);         \
        }                                                                                          \
        if (sources > 2) {                                                                         \
            LN(form##_load)((const void *)slot_at(warp, op->src[sources - 1]), zs, count);         \
        }                                                                                          \
        for (int i = 0; i < count; i++) {                                                          \
            float x = xs[i], y = sources > 1 ? ys[i] : 0, z = sources > 2 ? zs[i] : 0;             \
            (void)y, (void)z;                                                                      \
            rs[i] = (__VA_ARGS__);                                                                 \
        }                                                                                          \
        LN(form##_store)(rs, packed, count);                                                       \
        LN(half_keep)(warp, op, active, packed, count);                                            \
        return STEP_NEXT;                                                                          \
    } while (0)

#define HALF(id, form, types1, types2, opcode, mods, kinds, sources, ...)                          \
    static enum step LN(id##_one)(struct warp * warp, const struct op *op, lanes active)           \
    {                                                                                              \
        HALF_LOOP(form, LANES, sources, __VA_ARGS__);                                              \
    }                                                                                              \
    static enum step LN(id##_two)(struct warp * warp, const struct op *op, lanes active)           \
    {                                                                                              \
        HALF_LOOP(form, 2 * LANES, sources, __VA_ARGS__);                                          \
    }

/* On the bits of 16-bit elements, one or two a lane: x, y are uint16_t. */
#define SHORT_LOOP(count, sources, ...)                                                            \
    do {                                                                                           \
        SOURCE(half, xs, 0);                                                                       \
        SOURCE(half, ys, sources - 1);                                                             \
        uint16_t packed[count];                                                                    \
        for (int i = 0; i < count; i++) {                                                          \
            uint16_t x = xs[i], y = ys[i];                                                         \
            (void)y;                                                                               \
            packed[i] = (uint16_t)(__VA_ARGS__);                                                   \
        }                                                                                          \
        LN(half_keep)(warp, op, active, packed, count);                                            \
        return STEP_NEXT;                                                                          \
    } while (0)

#define SHORT(id, types1, types2, opcode, mods, kinds, class, sources, ...)                        \
    static enum step LN(id##_one)(struct warp * warp, const struct op *op, lanes active)           \
    {                                                                                              \
        SHORT_LOOP(LANES, sources, __VA_ARGS__);                                                   \
    }                                                                                              \
    static enum step LN(id##_two)(struct warp * warp, const struct op *op, lanes active)           \
    {                                                                                              \
        SHORT_LOOP(2 * LANES, sources, __VA_ARGS__);                                               \
    }

/* setp of one half a lane. */
#define HALF_COMPARE(id, form, types, mods, ...)                                                   \
    static enum step LN(id)(struct warp * warp, const struct op *op, lanes active)                 \
    {                                                                                              \
        float xs[LANES], ys[LANES];                                                                \
        lanes result = 0;                                                                          \
        LN(form##_load)((const void *)slot_at(warp, op->src[0]), xs, LANES);                       \
        LN(form##_load)((const void *)slot_at(warp, op->src[1]), ys, LANES);                       \
        for (int i = 0; i < LANES; i++) {                                                          \
            float x = xs[i], y = ys[i];                                                            \
            result |= (lanes)(__VA_ARGS__) << i;                                                   \
        }                                                                                          \
        return compare_end(warp, op, active, result);                                              \
    }

/* ---- conversions between halves and floats ---- */

static enum step LN(cvt_f32_f16)(struct warp *warp, const struct op *op, lanes active)
{
    float wide[LANES];
    LN(f16_load)((const void *)slot_at(warp, op->src[0]), wide, LANES);
    LANE_LOOP(f32, nan32(wide[i]));
    return STEP_NEXT;
}

static enum step LN(cvt_f16_f32)(struct warp *warp, const struct op *op, lanes active)
{
    uint16_t packed[LANES];
    float wide[LANES];
    memcpy(wide, slot_at(warp, op->src[0]), sizeof wide);
    LN(f16_store)(wide, packed, LANES);
    LN(half_keep)(warp, op, active, packed, LANES);
    return STEP_NEXT;
}

/* d, a, b: a goes to the upper half. */
static enum step LN(cvt_f16x2_f32)(struct warp *warp, const struct op *op, lanes active)
{
    uint16_t upper[LANES], lower[LANES];
    float wide[LANES];
    memcpy(wide, slot_at(warp, op->src[0]), sizeof wide);
    LN(f16_store)(wide, upper, LANES);
    memcpy(wide, slot_at(warp, op->src[1]), sizeof wide);
    LN(f16_store)(wide, lower, LANES);
    LANE_LOOP(u32, (uint32_t)upper[i] << 16 | lower[i]);
    return STEP_NEXT;
}

static enum step LN(cvt_bf16x2_f32)(struct warp *warp, const struct op *op, lanes active)
{
    SOURCE(f32, xs, 0);
    SOURCE(f32, ys, 1);
    LANE_LOOP(u32, (uint32_t)float_bf16(xs[i]) << 16 | float_bf16(ys[i]));
    return STEP_NEXT;
}

/* Any function of three bits: the sum of those products of a table's entry that are set. */
static enum step LN(lop3)(struct warp *warp, const struct op *op, lanes active)
{
    SOURCE(u32, xs, 0);
    SOURCE(u32, ys, 1);
    SOURCE(u32, zs, 2);
    uint32_t when[8];
    for (int i = 0; i < 8; i++) {
        when[i] = op->immediate >> i & 1 ? ~UINT32_C(0) : 0;
    }
    LANE_LOOP(u32, (((((zs[i] & when[7]) | (~zs[i] & when[6])) & ys[i]) |
                     (((zs[i] & when[5]) | (~zs[i] & when[4])) & ~ys[i])) &
                    xs[i]) |
                       (((((zs[i] & when[3]) | (~zs[i] & when[2])) & ys[i]) |
                         (((zs[i] & when[1]) | (~zs[i] & when[0])) & ~ys[i])) &
                        ~xs[i]));
    return STEP_NEXT;
}

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
#undef HALF_LOOP
#undef SHORT_LOOP
#undef LANE_LOOP
#undef SOURCE
