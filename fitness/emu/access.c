/*
 * Loads, stores, atomics, fences, and the arithmetic of address spaces.
 *
 * Here an instruction becomes addresses, widths and values; memory.c does what it asks. In an op
 * src[0] is the address (64 bits, or 32 with ADDRESS_NARROW), behind it come the values to store.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "fitness/emu/core.h"

enum {                     /* op->mode of loads and stores */
       ADDRESS_NARROW = 1, /* the base is 32 bits */
       ADDRESS_ALIAS = 2,  /* the base is also a destination: it must be read whole first */
};

enum { VECTOR_MAX = 8 };

static const char *const spaces[] = {
    [SPACE_GLOBAL] = "global", [SPACE_SHARED] = "shared", [SPACE_LOCAL] = "local",
    [SPACE_PARAM] = "param",   [SPACE_CONST] = "const",
};

/* What the parts of a memory instruction say. */
struct qualifiers {
    enum space space;
    enum ptx_type type;
    int types, vector;
    uint8_t access;
    const char *unknown; /* a part that says something else; for atomics, the operation */
    int unknown_count;
};

/* Those that change nothing here: scopes, caches, hints. */
static bool is_hint(const char *part)
{
    static const char *const hints[] = {"weak", "cta", "cluster", "gpu",     "sys",
                                        "ca",   "cg",  "cs",      "lu",      "cv",
                                        "wb",   "wt",  "nc",      "unified", "noftz"};
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++) {
        if (strcmp(part, hints[i]) == 0) {
            return true;
        }
    }
    return strncmp(part, "L1::", 4) == 0 || strncmp(part, "L2::", 4) == 0;
}

static bool is_space(const char *part, enum space *space)
{
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++) {
        size_t length = spaces[i] != NULL ? strlen(spaces[i]) : 0;
        if (length > 0 && strncmp(part, spaces[i], length) == 0 &&
            (part[length] == '\0' || strncmp(part + length, "::", 2) == 0)) {
            *space = (enum space)i;
            return true;
        }
    }
    return false;
}

static struct qualifiers qualifiers_read(const struct ptx_instruction *text)
{
    static const struct {
        const char *name;
        uint8_t access;
    } strengths[] = {
        {"volatile", ACCESS_STRONG},
        {"relaxed", ACCESS_STRONG},
        {"mmio", ACCESS_STRONG},
        {"acquire", ACCESS_STRONG | ACCESS_ACQUIRE},
        {"release", ACCESS_STRONG | ACCESS_RELEASE},
        {"acq_rel", ACCESS_STRONG | ACCESS_ACQUIRE | ACCESS_RELEASE},
    };
    struct qualifiers all = {.space = SPACE_GENERIC, .vector = 1};
    for (int i = 1; i < text->part_count; i++) {
        const char *part = text->parts[i];
        uint8_t access = 0;
        for (size_t s = 0; s < sizeof strengths / sizeof *strengths; s++) {
            access |= strcmp(part, strengths[s].name) == 0 ? strengths[s].access : 0;
        }
        if (access != 0) {
            all.access |= access;
        } else if (part[0] == 'v' && strlen(part) == 2 && strchr("248", part[1]) != NULL) {
            all.vector = part[1] - '0';
        } else if (ptx_type_find(part, &all.type)) {
            all.types++;
        } else if (!is_space(part, &all.space) && !is_hint(part)) {
            all.unknown = part;
            all.unknown_count++;
        }
    }
    return all;
}

static enum op_class access_class(enum space space, bool store)
{
    switch (space) {
    case SPACE_SHARED: return store ? CLASS_STORE_SHARED : CLASS_LOAD_SHARED;
    case SPACE_LOCAL: return CLASS_LOCAL;
    default: return store ? CLASS_STORE_GLOBAL : CLASS_LOAD_GLOBAL;
    }
}

/* ---- addresses ---- */

static const uint64_t *addresses(struct warp *warp, const struct op *op, uint64_t room[LANES])
{
    if (op->mode & ADDRESS_NARROW) {
        const uint32_t *narrow = reg32(warp, op->src[0]);
        for (int lane = 0; lane < LANES; lane++) {
            room[lane] = narrow[lane];
        }
        return room;
    }
    const uint64_t *wide = reg64(warp, op->src[0]);
    if (op->mode & ADDRESS_ALIAS) {
        memcpy(room, wide, LANES * sizeof *room);
        return room;
    }
    return wide;
}

/* The base as it is, without an op that widens it. */
static bool address_decode(struct decoder *decoder, const struct ptx_operand *operand,
                           struct op *op, uint32_t *slot, struct err *err)
{
    if (operand->kind == PTX_OPERAND_ADDRESS && operand->items[0].kind == PTX_OPERAND_REGISTER) {
        unsigned bytes;
        if (!decode_wide_slot(decoder, &operand->items[0], PTX_B32, slot, &bytes, err)) {
            return false;
        }
        if (bytes > 8) {
            return unsupported(decoder_text(decoder), err, "an address of 128 bits");
        }
        op->mode |= bytes == 4 ? ADDRESS_NARROW : 0;
        op->immediate = operand->offset;
        return true;
    }
    return decode_address(decoder, operand, slot, &op->immediate, err);
}

/* Where .param points: a call's parameters are local memory, the entry's are in a window of their
 * own. */
static bool param_decode(struct decoder *decoder, const struct ptx_operand *operand, struct op *op,
                         enum space *space, uint32_t *slot, struct err *err)
{
    int64_t offset = 0;
    enum param_place place =
        operand->kind == PTX_OPERAND_ADDRESS ? decode_param(decoder, operand, &offset) : PARAM_NONE;
    if (place == PARAM_NONE) {
        *space = SPACE_GENERIC;
        return address_decode(decoder, operand, op, slot, err);
    }
    *space = place == PARAM_ENTRY ? SPACE_PARAM : SPACE_LOCAL;
    *slot = decode_constant(decoder, 8, 0);
    op->immediate = offset;
    return true;
}

/* ---- loads and stores ---- */

static enum step run_load(struct warp *warp, const struct op *op, lanes active)
{
    uint64_t room[LANES];
    return memory_load(warp, op, active, addresses(warp, op, room), (enum space)op->space);
}

static enum step run_store(struct warp *warp, const struct op *op, lanes active)
{
    uint64_t room[LANES];
    return memory_store(warp, op, active, addresses(warp, op, room), (enum space)op->space, 1);
}

/* The slots of the elements, all of one width; literals get that width. */
static bool elements_decode(struct decoder *decoder, const struct ptx_operand *operand,
                            const struct qualifiers *all, uint32_t *slots, unsigned *width,
                            struct err *err)
{
    const struct ptx_operand *items =
        operand->kind == PTX_OPERAND_VECTOR ? operand->items : operand;
    int count = operand->kind == PTX_OPERAND_VECTOR ? operand->count : 1;
    const struct ptx_instruction *text = decoder_text(decoder);
    *width = 0;
    if (count != all->vector) {
        return unsupported(text, err, "the vector has another length");
    }
    for (int i = 0; i < count; i++) {
        unsigned bytes;
        if (items[i].kind == PTX_OPERAND_REGISTER) {
            if (!decode_wide_slot(decoder, &items[i], all->type, &slots[i], &bytes, err)) {
                return false;
            }
            if (*width != 0 && *width != bytes) {
                return unsupported(text, err, "registers of different widths");
            }
            *width = bytes;
        }
    }
    if (*width == 0) {
        *width = (unsigned)ptx_type_bytes(all->type) < 2 ? 2 : (unsigned)ptx_type_bytes(all->type);
    }
    for (int i = 0; i < count; i++) {
        uint64_t bits;
        if (items[i].kind == PTX_OPERAND_REGISTER) {
            continue;
        }
        if (operand_literal(&items[i], &bits) && *width <= 8) {
            slots[i] = decode_constant(decoder, *width, bits);
        } else if (!decode_slot(decoder, &items[i], all->type, &slots[i], err)) {
            return false;
        } else if (slots[i] != SLOT_NONE && *width != (unsigned)ptx_type_bytes(all->type)) {
            return unsupported(text, err, "values of different widths");
        }
    }
    return true;
}

/* Spreads the sign of what was loaded over wider registers. */
static void signs(struct decoder *decoder, const struct op *op, const struct qualifiers *all,
                  unsigned width)
{
    static const enum ptx_type whole[] = {[2] = PTX_B16, [4] = PTX_B32, [8] = PTX_B64};
    bool is_signed = all->type == PTX_S8 || all->type == PTX_S16 || all->type == PTX_S32;
    if (!is_signed || width <= op->bytes) {
        return;
    }
    const char *from = op->bytes == 1 ? "8" : op->bytes == 2 ? "16" : "32";
    for (int i = 0; i < op->dst_count; i++) {
        struct op sign = {.run = alu_find("sign", whole[width], from), .class = CLASS_CONVERT};
        if (op->dst[i] != SLOT_NONE) {
            op_set_dst(decoder, &sign, &op->dst[i], 1);
            op_set_src(decoder, &sign, &op->dst[i], 1);
            decode_emit_after(decoder, &sign);
        }
    }
}

static bool access_start(const struct ptx_instruction *text, const struct qualifiers *all,
                         struct op *op, struct err *err)
{
    int bytes = ptx_type_bytes(all->type);
    if (all->types != 1 || all->unknown_count > 0 || all->type == PTX_PRED ||
        text->operand_count < 2 || bytes * all->vector > 32) {
        return unsupported(text, err, all->unknown != NULL ? all->unknown : "");
    }
    op->bytes = (uint8_t)bytes;
    op->vector = (uint8_t)all->vector;
    op->access = all->access;
    return true;
}

static bool decode_load(struct decoder *decoder, const struct ptx_instruction *text, struct op *op,
                        struct err *err)
{
    struct qualifiers all = qualifiers_read(text);
    uint32_t dst[VECTOR_MAX], base;
    unsigned width;
    if (!access_start(text, &all, op, err) ||
        !elements_decode(decoder, &text->operands[0], &all, dst, &width, err)) {
        return false;
    }
    const struct ptx_operand *to = &text->operands[0];
    for (int i = 0; i < all.vector; i++) {
        const struct ptx_operand *item = to->kind == PTX_OPERAND_VECTOR ? &to->items[i] : to;
        if (item->kind != PTX_OPERAND_REGISTER && item->kind != PTX_OPERAND_SINK) {
            return unsupported(text, err, "the destination is not a register");
        }
    }
    if (!(all.space == SPACE_PARAM
              ? param_decode(decoder, &text->operands[1], op, &all.space, &base, err)
              : address_decode(decoder, &text->operands[1], op, &base, err))) {
        return false;
    }
    for (int i = 0; i < all.vector; i++) {
        op->mode |= dst[i] == base ? ADDRESS_ALIAS : 0;
    }
    op_set_dst(decoder, op, dst, all.vector);
    op_set_src(decoder, op, &base, 1);
    op->run = run_load;
    op->mode2 = (int32_t)width;
    op->space = (uint8_t)all.space;
    op->class = all.space == SPACE_PARAM ? CLASS_OTHER : (uint8_t)access_class(all.space, false);
    signs(decoder, op, &all, width);
    return true;
}

static bool decode_store(struct decoder *decoder, const struct ptx_instruction *text, struct op *op,
                         struct err *err)
{
    struct qualifiers all = qualifiers_read(text);
    uint32_t src[1 + VECTOR_MAX];
    unsigned width;
    if (!access_start(text, &all, op, err) ||
        !(all.space == SPACE_PARAM
              ? param_decode(decoder, &text->operands[0], op, &all.space, &src[0], err)
              : address_decode(decoder, &text->operands[0], op, &src[0], err)) ||
        !elements_decode(decoder, &text->operands[1], &all, src + 1, &width, err)) {
        return false;
    }
    for (int i = 0; i < all.vector; i++) {
        if (src[1 + i] == SLOT_NONE) {
            return unsupported(text, err, "'_' is not expected");
        }
    }
    if (all.space == SPACE_PARAM || all.space == SPACE_CONST) {
        return unsupported(text, err, "a store to where nothing can be written");
    }
    op_set_src(decoder, op, src, 1 + all.vector);
    op->run = run_store;
    op->mode2 = (int32_t)width;
    op->space = (uint8_t)all.space;
    op->class = (uint8_t)access_class(all.space, true);
    return true;
}

/* ---- atomics ---- */

enum atomic_kind {
    ATOMIC_AND,
    ATOMIC_OR,
    ATOMIC_XOR,
    ATOMIC_EXCH,
    ATOMIC_CAS,
    ATOMIC_ADD,
    ATOMIC_INC,
    ATOMIC_DEC,
    ATOMIC_MIN,
    ATOMIC_MAX,
    ATOMIC_KINDS,
};

static const char *const atomic_names[ATOMIC_KINDS] = {"and", "or",  "xor", "exch", "cas",
                                                       "add", "inc", "dec", "min",  "max"};

struct atomic {
    enum atomic_kind kind;
    enum ptx_type type;
    op_function *half; /* add, min, max of halves: done as the arithmetic instructions are */
};

struct change { /* what one lane asks for */
    const struct atomic *atomic;
    uint64_t a[2], b[2];
    bool flush; /* f32 in global memory: subnormals are zero */
};

static float flushed(float x) { return fabsf(x) < FLT_MIN ? copysignf(0, x) : x; }

static uint64_t change_integer(enum atomic_kind kind, enum ptx_type type, uint64_t old, uint64_t a)
{
    bool wide = ptx_type_bytes(type) == 8;
    bool is_signed = type == PTX_S32 || type == PTX_S64;
    int64_t old_signed = wide ? (int64_t)old : (int32_t)old;
    int64_t a_signed = wide ? (int64_t)a : (int32_t)a;
    bool below = is_signed ? a_signed < old_signed : a < old;
    switch (kind) {
    case ATOMIC_AND: return old & a;
    case ATOMIC_OR: return old | a;
    case ATOMIC_XOR: return old ^ a;
    case ATOMIC_ADD: return old + a;
    case ATOMIC_INC: return old >= a ? 0 : old + 1;
    case ATOMIC_DEC: return old == 0 || old > a ? a : old - 1;
    case ATOMIC_MIN: return below ? a : old;
    case ATOMIC_MAX: return below ? old : a;
    default: return a;
    }
}

/*
 * Floats are changed in the registers of a warp of our own, lane 0, so that there is one definition
 * of what adding halves gives.
 */
static uint64_t change_float(const struct atomic *atomic, uint64_t old, uint64_t a, bool flush)
{
    _Alignas(64) uint8_t file[3 * 8 * LANES] = {0};
    static const uint32_t dst[] = {0}, src[] = {8 * LANES, 16 * LANES};
    struct op op = {.dst = dst, .dst_count = 1, .src = src, .src_count = 2};
    struct warp warp = {.registers = file};
    size_t bytes = (size_t)ptx_type_bytes(atomic->type);
    uint64_t result = 0;
    if (flush) {
        float x, y;
        memcpy(&x, &old, sizeof x);
        memcpy(&y, &a, sizeof y);
        x = flushed(x);
        y = flushed(y);
        memcpy(&old, &x, sizeof x);
        memcpy(&a, &y, sizeof y);
    }
    memcpy(file + src[0], &old, bytes);
    memcpy(file + src[1], &a, bytes);
    atomic->half(&warp, &op, ALL);
    memcpy(&result, file, bytes);
    if (flush) {
        float x;
        memcpy(&x, &result, sizeof x);
        x = flushed(x);
        memcpy(&result, &x, sizeof x);
    }
    return result;
}

static void change(void *context, const void *old, void *new)
{
    const struct change *change = context;
    const struct atomic *atomic = change->atomic;
    size_t bytes = (size_t)ptx_type_bytes(atomic->type);
    uint64_t was[2] = {0}, now[2] = {change->a[0], change->a[1]};
    memcpy(was, old, bytes);
    if (atomic->kind == ATOMIC_CAS) {
        bool equal = memcmp(was, change->a, bytes) == 0;
        memcpy(now, equal ? change->b : was, sizeof now);
    } else if (atomic->half != NULL) {
        now[0] = change_float(atomic, was[0], change->a[0], change->flush);
    } else if (atomic->kind != ATOMIC_EXCH) {
        now[0] = change_integer(atomic->kind, atomic->type, was[0], change->a[0]);
    }
    memcpy(new, now, bytes);
}

static bool in_shared(const struct op *op, uint64_t address)
{
    return op->space == SPACE_SHARED ||
           (op->space == SPACE_GENERIC && address >= MEMORY_SHARED && address < MEMORY_LOCAL);
}

/* src: address, a of each element [, b]; dst: old values, or none. Lanes in their order. */
static enum step run_atomic(struct warp *warp, const struct op *op, lanes active)
{
    const struct atomic *atomic = op->extra;
    size_t bytes = op->bytes;
    uint64_t room[LANES];
    const uint64_t *base = addresses(warp, op, room);
    FOR_LANES(lane, active)
    {
        uint64_t at = base[lane] + (uint64_t)op->immediate, old[VECTOR_MAX][2];
        bool shared = in_shared(op, at);
        warp->block->atomics |= !shared;
        for (int e = 0; e < op->vector; e++) {
            struct change one = {.atomic = atomic, .flush = atomic->type == PTX_F32 && !shared};
            const uint8_t *from = warp->registers + op->src[1 + e];
            memcpy(one.a, from + (size_t)lane * bytes, bytes);
            if (atomic->kind == ATOMIC_CAS) {
                memcpy(one.b, warp->registers + op->src[2] + (size_t)lane * bytes, bytes);
            }
            enum step step = memory_atomic(warp, op, lane, at + (uint64_t)e * bytes,
                                           (enum space)op->space, op->bytes, change, &one, old[e]);
            if (step != STEP_NEXT) {
                return step;
            }
        }
        for (int e = 0; e < op->dst_count; e++) {
            if (op->dst[e] != SLOT_NONE) {
                memcpy(warp->registers + op->dst[e] + (size_t)lane * bytes, old[e], bytes);
            }
        }
    }
    return STEP_NEXT;
}

/* Which operations there are for which types. */
static bool atomic_known(const struct atomic *atomic)
{
    enum ptx_type type = atomic->type;
    bool u32 = type == PTX_U32, s32 = type == PTX_S32, u64 = type == PTX_U64, s64 = type == PTX_S64;
    bool half = type == PTX_F16 || type == PTX_F16X2 || type == PTX_BF16 || type == PTX_BF16X2;
    bool bits = type == PTX_B32 || type == PTX_B64;
    switch (atomic->kind) {
    case ATOMIC_AND:
    case ATOMIC_OR:
    case ATOMIC_XOR: return bits;
    case ATOMIC_EXCH: return bits || type == PTX_B128;
    case ATOMIC_CAS: return bits || type == PTX_B16 || type == PTX_B128;
    case ATOMIC_ADD: return u32 || s32 || u64 || s64 || half || type == PTX_F32 || type == PTX_F64;
    case ATOMIC_INC:
    case ATOMIC_DEC: return u32;
    case ATOMIC_MIN:
    case ATOMIC_MAX: return u32 || s32 || u64 || s64 || half || type == PTX_F32;
    default: return false;
    }
}

static bool atomic_kind(const struct qualifiers *all, struct atomic *atomic)
{
    bool floats = all->type == PTX_F16 || all->type == PTX_F16X2 || all->type == PTX_BF16 ||
                  all->type == PTX_BF16X2 || all->type == PTX_F32 || all->type == PTX_F64;
    atomic->type = all->type;
    atomic->kind = ATOMIC_KINDS;
    for (int i = 0; i < ATOMIC_KINDS; i++) {
        if (all->unknown_count == 1 && strcmp(all->unknown, atomic_names[i]) == 0) {
            atomic->kind = (enum atomic_kind)i;
        }
    }
    if (all->types != 1 || atomic->kind == ATOMIC_KINDS || !atomic_known(atomic)) {
        return false;
    }
    if (floats) {
        atomic->half = alu_find(atomic_names[atomic->kind], all->type, "");
        return atomic->half != NULL;
    }
    return true;
}

/* atom d, [a], b [, c] [, policy]; red [a], b [, policy] */
static bool decode_atomic(struct decoder *decoder, const struct ptx_instruction *text,
                          struct op *op, struct err *err)
{
    struct qualifiers all = qualifiers_read(text);
    bool reduces = strcmp(text->parts[0], "red") == 0;
    struct atomic *atomic = decode_alloc(decoder, sizeof *atomic);
    uint32_t dst[VECTOR_MAX], src[2 + VECTOR_MAX];
    int at = reduces ? 0 : 1, dst_count = 0, src_count;
    if (!atomic_kind(&all, atomic)) {
        return unsupported(text, err, "");
    }
    bool cas = atomic->kind == ATOMIC_CAS;
    if (text->operand_count < at + 2 + cas || (cas && (reduces || all.vector > 1)) ||
        all.space == SPACE_LOCAL || all.space == SPACE_PARAM || all.space == SPACE_CONST) {
        return unsupported(text, err, "");
    }
    if ((!reduces &&
         !decode_slots(decoder, &text->operands[0], all.type, dst, VECTOR_MAX, &dst_count, err)) ||
        !address_decode(decoder, &text->operands[at], op, &src[0], err) ||
        !decode_slots(decoder, &text->operands[at + 1], all.type, src + 1, VECTOR_MAX, &src_count,
                      err) ||
        (cas && !decode_slot(decoder, &text->operands[at + 2], all.type, &src[2], err))) {
        return false;
    }
    if (src_count != all.vector || (!reduces && dst_count != all.vector)) {
        return unsupported(text, err, "the vector has another length");
    }
    for (int i = 1; i <= src_count + cas; i++) {
        if (src[i] == SLOT_NONE) {
            return unsupported(text, err, "'_' is not expected");
        }
    }
    for (int i = 0; i < dst_count; i++) {
        op->mode |= dst[i] == src[0] ? ADDRESS_ALIAS : 0;
        const struct ptx_operand *to = &text->operands[0];
        to = to->kind == PTX_OPERAND_VECTOR ? &to->items[i] : to;
        if (to->kind != PTX_OPERAND_REGISTER && to->kind != PTX_OPERAND_SINK) {
            return unsupported(text, err, "the destination is not a register");
        }
    }
    op_set_dst(decoder, op, dst, dst_count);
    op_set_src(decoder, op, src, 1 + src_count + cas);
    op->run = run_atomic;
    op->extra = atomic;
    op->bytes = (uint8_t)ptx_type_bytes(all.type);
    op->vector = (uint8_t)all.vector;
    op->space = (uint8_t)all.space;
    op->access = all.access | ACCESS_STRONG;
    op->class = CLASS_ATOMIC;
    return true;
}

/* ---- fences ---- */

static enum step run_fence(struct warp *warp, const struct op *op, lanes active)
{
    memory_fence(warp, active, op->mode);
    return STEP_NEXT;
}

/* fence[.sem].scope, membar.level; those for other proxies are async.c's. */
static bool decode_fence(const struct ptx_instruction *text, struct op *op, struct err *err)
{
    static const char *const known[] = {"sc",      "acq_rel", "acquire", "release", "cta",
                                        "cluster", "gpu",     "sys",     "gl"};
    for (int i = 1; i < text->part_count; i++) {
        bool found = false;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
            found |= strcmp(text->parts[i], known[k]) == 0;
        }
        if (!found) {
            return i == 1 ? false : unsupported(text, err, text->parts[i]);
        }
    }
    if (text->operand_count != 0 || text->part_count < 2) {
        return unsupported(text, err, "");
    }
    op->mode =
        instruction_has(text, "gpu") || instruction_has(text, "sys") || instruction_has(text, "gl");
    op->run = run_fence;
    op->class = CLASS_FENCE;
    return true;
}

/* ---- address spaces ---- */

static uint64_t space_base(enum space space)
{
    return space == SPACE_SHARED ? MEMORY_SHARED : space == SPACE_LOCAL ? MEMORY_LOCAL : 0;
}

/* cvta.space d, a and cvta.to.space d, a: the window's base is added or taken away. */
static bool decode_cvta(struct decoder *decoder, const struct ptx_instruction *text, struct op *op,
                        struct err *err)
{
    struct qualifiers all = qualifiers_read(text);
    bool to = instruction_has(text, "to");
    uint32_t dst, src[2];
    uint64_t base = space_base(all.space);
    if (text->operand_count != 2 || all.space == SPACE_GENERIC || all.types != 1 ||
        ptx_type_bytes(all.type) != 8 || all.unknown_count != to ||
        text->operands[0].kind != PTX_OPERAND_REGISTER) {
        return unsupported(text, err, "");
    }
    if (!decode_slot(decoder, &text->operands[0], PTX_B64, &dst, err) ||
        !decode_slot(decoder, &text->operands[1], PTX_B64, &src[0], err)) {
        return false;
    }
    if (src[0] == SLOT_NONE) {
        return unsupported(text, err, "");
    }
    src[1] = decode_constant(decoder, 8, to ? 0 - base : base);
    op->run = base == 0 ? alu_find("mov", PTX_B64, "") : alu_find("add", PTX_U64, "");
    op->class = CLASS_INTEGER;
    op_set_dst(decoder, op, &dst, 1);
    op_set_src(decoder, op, src, base == 0 ? 1 : 2);
    return true;
}

static bool in_space(const struct warp *warp, enum space space, bool own, uint64_t address)
{
    uint64_t window = (address - MEMORY_SHARED) / MEMORY_SHARED_WINDOW;
    bool is_shared = address >= MEMORY_SHARED && address < MEMORY_LOCAL && window <= CLUSTER_MAX;
    switch (space) {
    case SPACE_SHARED:
        return is_shared && (!own || window == 0 || window == 1 + warp->block->cluster_rank);
    case SPACE_LOCAL: return address >= MEMORY_LOCAL && address < MEMORY_PARAM;
    case SPACE_PARAM: return address >= MEMORY_PARAM && address < MEMORY_PARAM + PARAM_BYTES_MAX;
    case SPACE_GLOBAL: return address < MEMORY_SHARED;
    default: return false;
    }
}

static enum step run_isspacep(struct warp *warp, const struct op *op, lanes active)
{
    const uint64_t *address = reg64(warp, op->src[0]);
    lanes *to = pred(warp, op->dst[0]), result = 0;
    FOR_LANES(lane, active)
    {
        result |= (lanes)in_space(warp, (enum space)op->space, op->mode, address[lane]) << lane;
    }
    *to = (*to & ~active) | result;
    return STEP_NEXT;
}

static bool decode_isspacep(struct decoder *decoder, const struct ptx_instruction *text,
                            struct op *op, struct err *err)
{
    struct qualifiers all = qualifiers_read(text);
    uint32_t dst, src;
    bool negated;
    if (text->operand_count != 2 || all.space == SPACE_GENERIC || all.unknown_count > 0) {
        return unsupported(text, err, "");
    }
    dst = decode_predicate(decoder, &text->operands[0], &negated);
    if (!decode_slot(decoder, &text->operands[1], PTX_B64, &src, err)) {
        return false;
    }
    if (dst == SLOT_NONE || src == SLOT_NONE) {
        return unsupported(text, err, "");
    }
    op_set_dst(decoder, op, &dst, 1);
    op_set_src(decoder, op, &src, 1);
    op->run = run_isspacep;
    op->space = (uint8_t)all.space;
    op->mode = !instruction_has(text, "shared::cluster");
    op->class = CLASS_PREDICATE;
    return true;
}

/* createpolicy: what caches should keep does not matter here, so all policies are 0. */
static bool decode_policy(struct decoder *decoder, const struct ptx_instruction *text,
                          struct op *op, struct err *err)
{
    uint32_t dst, src = decode_constant(decoder, 8, 0);
    if (text->operand_count < 1 || text->operands[0].kind != PTX_OPERAND_REGISTER) {
        return unsupported(text, err, "");
    }
    if (!decode_slot(decoder, &text->operands[0], PTX_B64, &dst, err)) {
        return false;
    }
    op_set_dst(decoder, op, &dst, 1);
    op_set_src(decoder, op, &src, 1);
    op->run = alu_find("mov", PTX_B64, "");
    return true;
}

bool access_decode(struct decoder *decoder, const struct ptx_instruction *text, struct op *op,
                   struct err *err)
{
    static const char *const hints[] = {"prefetch", "prefetchu", "discard", "applypriority"};
    const char *name = text->parts[0];
    if (instruction_has(text, "async") || instruction_has(text, "bulk") ||
        instruction_has(text, "tensormap")) {
        return false;
    }
    if (strcmp(name, "ld") == 0 || strcmp(name, "ldu") == 0) {
        return decode_load(decoder, text, op, err);
    }
    if (strcmp(name, "st") == 0) {
        return decode_store(decoder, text, op, err);
    }
    if (strcmp(name, "atom") == 0 || strcmp(name, "red") == 0) {
        return decode_atomic(decoder, text, op, err);
    }
    if (strcmp(name, "fence") == 0 || strcmp(name, "membar") == 0) {
        return decode_fence(text, op, err);
    }
    if (strcmp(name, "cvta") == 0) {
        return decode_cvta(decoder, text, op, err);
    }
    if (strcmp(name, "isspacep") == 0) {
        return decode_isspacep(decoder, text, op, err);
    }
    if (strcmp(name, "createpolicy") == 0) {
        return decode_policy(decoder, text, op, err);
    }
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++) {
        if (strcmp(name, hints[i]) == 0) {
            op->run = control_nothing;
            return true;
        }
    }
    return false;
}
