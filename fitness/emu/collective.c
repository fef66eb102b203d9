/*
 * What the lanes of a warp do together: shuffles, votes, matches, reductions, and coming to
 * barriers.
 *
 * run.c calls these with the lanes of one mask that have all come (op->masked; the mask is the last
 * source), so a function may take `active` for the participants.
 */
#include <string.h>

#include "fitness/emu/core.h"

/* ---- shfl ---- */

enum { SHUFFLE_UP, SHUFFLE_DOWN, SHUFFLE_BUTTERFLY, SHUFFLE_INDEX };

static uint32_t shuffle_from(int mode, uint32_t lane, uint32_t b, uint32_t c, bool *inside)
{
    uint32_t by = b & 31, segment = c >> 8 & 31, clamp = c & 31;
    uint32_t most = (lane & segment) | (clamp & ~segment), least = lane & segment;
    int32_t from = 0;
    switch (mode) {
    case SHUFFLE_UP: from = (int32_t)(lane - by); break;
    case SHUFFLE_DOWN: from = (int32_t)(lane + by); break;
    case SHUFFLE_BUTTERFLY: from = (int32_t)(lane ^ by); break;
    default: from = (int32_t)(least | (by & ~segment)); break;
    }
    *inside = mode == SHUFFLE_UP ? from >= (int32_t)most : from <= (int32_t)most;
    return *inside ? (uint32_t)from & 31 : lane;
}

/* Where each lane takes from when b and c are the same for all, as they mostly are. */
struct shuffle {
    uint8_t from[LANES];
    lanes inside;
};

static struct shuffle shuffle_plan(int mode, const uint32_t *b, const uint32_t *c)
{
    struct shuffle plan = {.inside = 0};
    for (uint32_t lane = 0; lane < LANES; lane++) {
        bool inside;
        plan.from[lane] = (uint8_t)shuffle_from(mode, lane, b[lane], c[lane], &inside);
        plan.inside |= (lanes)inside << lane;
    }
    return plan;
}

/* What a lane takes from one that is not in the mask, or has ended, is undefined. */
static void check_sources(struct warp *warp, const struct op *op, const struct shuffle *plan,
                          lanes active)
{
    lanes there = reg32(warp, op->src[3])[__builtin_ctz(active)] & warp->alive;
    if (there == ALL) {
        return;
    }
    FOR_LANES(lane, active)
    {
        if ((there >> plan->from[lane] & 1) == 0) {
            finding_add(warp, op, FINDING_BARRIER, lane, 0, NULL,
                        "it reads lane %d, which %s", plan->from[lane],
                        warp->alive >> plan->from[lane] & 1 ? "is not in its mask" : "has ended");
            return;
        }
    }
}

/* src: a, b, c, mask; dst: d [, p]; extra: the plan when it is known. */
static enum step run_shuffle(struct warp *warp, const struct op *op, lanes active)
{
    const uint32_t *a = reg32(warp, op->src[0]);
    const struct shuffle *plan = op->extra;
    struct shuffle made;
    uint32_t result[LANES];
    if (plan == NULL) {
        made = shuffle_plan(op->mode, reg32(warp, op->src[1]), reg32(warp, op->src[2]));
        plan = &made;
    }
    check_sources(warp, op, plan, active);
    for (int lane = 0; lane < LANES; lane++) {
        result[lane] = a[plan->from[lane]];
    }
    if (op->dst[0] != SLOT_NONE) {
        uint32_t *d = reg32(warp, op->dst[0]);
        if (active == ALL) {
            memcpy(d, result, sizeof result);
        } else {
            FOR_LANES(lane, active) d[lane] = result[lane];
        }
    }
    if (op->dst_count > 1 && op->dst[1] != SLOT_NONE) {
        lanes *p = pred(warp, op->dst[1]);
        *p = (*p & ~active) | (plan->inside & active);
    }
    return STEP_NEXT;
}

/* d or d|p: slot of d, and of p (SLOT_NONE when there is none). */
static bool result_and_predicate(struct decoder *decoder, const struct ptx_instruction *text,
                                 struct op *op, struct err *err)
{
    const struct ptx_operand *to = &text->operands[0];
    uint32_t dst[2] = {SLOT_NONE, SLOT_NONE};
    bool pair = to->kind == PTX_OPERAND_VECTOR && to->count == 2, negated;
    const struct ptx_operand *first = pair ? &to->items[0] : to;
    if ((first->kind != PTX_OPERAND_REGISTER && first->kind != PTX_OPERAND_SINK) ||
        !decode_slot(decoder, first, PTX_B32, &dst[0], err)) {
        return unsupported(text, err, "the destination is not a register of 32 bits");
    }
    if (pair) {
        dst[1] = decode_predicate(decoder, &to->items[1], &negated);
        if (dst[1] == SLOT_NONE && to->items[1].kind != PTX_OPERAND_SINK) {
            return unsupported(text, err, "the second destination is not a predicate");
        }
    }
    op_set_dst(decoder, op, dst, pair ? 2 : 1);
    return true;
}

static bool sources32(struct decoder *decoder, const struct ptx_instruction *text, int first,
                      int count, uint32_t *src, struct err *err)
{
    for (int i = 0; i < count; i++) {
        if (!decode_slot(decoder, &text->operands[first + i], PTX_B32, &src[i], err)) {
            return false;
        }
        if (src[i] == SLOT_NONE) {
            return unsupported(text, err, "'_' is not expected");
        }
    }
    return true;
}

static bool decode_shuffle(struct decoder *decoder, const struct ptx_instruction *text,
                           struct op *op, struct err *err)
{
    static const char *const modes[] = {"up", "down", "bfly", "idx"};
    uint32_t src[4];
    uint64_t b, c;
    op->mode = -1;
    for (int i = 0; i < 4; i++) {
        op->mode = instruction_has(text, modes[i]) ? i : op->mode;
    }
    if (text->operand_count != 5 || op->mode < 0 || text->part_count != 4 ||
        !instruction_has(text, "sync") || !instruction_has(text, "b32")) {
        return unsupported(text, err, "");
    }
    if (!result_and_predicate(decoder, text, op, err) ||
        !sources32(decoder, text, 1, 4, src, err)) {
        return false;
    }
    if (decode_literal(decoder, &text->operands[2], &b) &&
        decode_literal(decoder, &text->operands[3], &c)) {
        uint32_t bs[LANES], cs[LANES];
        for (int lane = 0; lane < LANES; lane++) {
            bs[lane] = (uint32_t)b;
            cs[lane] = (uint32_t)c;
        }
        struct shuffle *plan = decode_alloc(decoder, sizeof *plan);
        *plan = shuffle_plan(op->mode, bs, cs);
        op->extra = plan;
    }
    op_set_src(decoder, op, src, 4);
    op->run = run_shuffle;
    op->masked = true;
    op->class = CLASS_SHUFFLE;
    return true;
}

/* ---- vote, match, activemask, elect ---- */

enum { VOTE_ALL, VOTE_ANY, VOTE_UNI, VOTE_BALLOT };

/* src: predicate, mask; mode2: it is negated. */
static enum step run_vote(struct warp *warp, const struct op *op, lanes active)
{
    lanes holds = (*pred(warp, op->src[0]) ^ (op->mode2 ? ALL : 0)) & active;
    bool result = op->mode == VOTE_ALL   ? holds == active
                  : op->mode == VOTE_ANY ? holds != 0
                                         : holds == 0 || holds == active;
    if (op->mode == VOTE_BALLOT) {
        FOR_LANES(lane, active) reg32(warp, op->dst[0])[lane] = holds;
    } else {
        lanes *p = pred(warp, op->dst[0]);
        *p = (*p & ~active) | (result ? active : 0);
    }
    return STEP_NEXT;
}

static bool decode_vote(struct decoder *decoder, const struct ptx_instruction *text, struct op *op,
                        struct err *err)
{
    static const char *const modes[] = {"all", "any", "uni", "ballot"};
    uint32_t dst, src[2];
    bool negated, ignored;
    op->mode = -1;
    for (int i = 0; i < 4; i++) {
        op->mode = instruction_has(text, modes[i]) ? i : op->mode;
    }
    if (text->operand_count != 3 || op->mode < 0 || !instruction_has(text, "sync") ||
        text->part_count != 4 || text->operands[0].kind != PTX_OPERAND_REGISTER) {
        return unsupported(text, err, "");
    }
    if (op->mode == VOTE_BALLOT) {
        if (!decode_slot(decoder, &text->operands[0], PTX_B32, &dst, err)) {
            return false;
        }
    } else {
        dst = decode_predicate(decoder, &text->operands[0], &ignored);
    }
    src[0] = decode_predicate(decoder, &text->operands[1], &negated);
    if (dst == SLOT_NONE || src[0] == SLOT_NONE) {
        return unsupported(text, err, "a predicate is expected");
    }
    if (!sources32(decoder, text, 2, 1, src + 1, err)) {
        return false;
    }
    op->mode2 = negated;
    op_set_dst(decoder, op, &dst, 1);
    op_set_src(decoder, op, src, 2);
    op->run = run_vote;
    op->masked = true;
    op->class = CLASS_SHUFFLE;
    return true;
}

/* src: a, mask; bytes: of a; mode: 1 all, 0 any. */
static enum step run_match(struct warp *warp, const struct op *op, lanes active)
{
    uint64_t value[LANES];
    lanes same[LANES];
    for (int lane = 0; lane < LANES; lane++) {
        value[lane] =
            op->bytes == 8 ? reg64(warp, op->src[0])[lane] : reg32(warp, op->src[0])[lane];
    }
    FOR_LANES(lane, active)
    {
        same[lane] = 0;
        FOR_LANES(i, active) same[lane] |= (lanes)(value[i] == value[lane]) << i;
    }
    bool all = same[__builtin_ctz(active)] == active;
    FOR_LANES(lane, active)
    {
        if (op->dst[0] != SLOT_NONE) {
            reg32(warp, op->dst[0])[lane] = op->mode ? (all ? active : 0) : same[lane];
        }
    }
    if (op->dst_count > 1 && op->dst[1] != SLOT_NONE) {
        lanes *p = pred(warp, op->dst[1]);
        *p = (*p & ~active) | (all ? active : 0);
    }
    return STEP_NEXT;
}

static bool decode_match(struct decoder *decoder, const struct ptx_instruction *text, struct op *op,
                         struct err *err)
{
    bool wide = instruction_has(text, "b64");
    uint32_t src[2];
    op->mode = instruction_has(text, "all");
    if (text->operand_count != 3 || (!op->mode && !instruction_has(text, "any")) ||
        !instruction_has(text, "sync") || (!wide && !instruction_has(text, "b32"))) {
        return unsupported(text, err, "");
    }
    if (!result_and_predicate(decoder, text, op, err) ||
        !decode_slot(decoder, &text->operands[1], wide ? PTX_B64 : PTX_B32, &src[0], err) ||
        !sources32(decoder, text, 2, 1, src + 1, err)) {
        return false;
    }
    if (src[0] == SLOT_NONE || (op->dst_count > 1 && !op->mode)) {
        return unsupported(text, err, "");
    }
    op_set_src(decoder, op, src, 2);
    op->bytes = wide ? 8 : 4;
    op->run = run_match;
    op->masked = true;
    op->class = CLASS_SHUFFLE;
    return true;
}

static enum step run_activemask(struct warp *warp, const struct op *op, lanes active)
{
    FOR_LANES(lane, active) reg32(warp, op->dst[0])[lane] = active;
    return STEP_NEXT;
}

static bool decode_activemask(struct decoder *decoder, const struct ptx_instruction *text,
                              struct op *op, struct err *err)
{
    uint32_t dst;
    if (text->operand_count != 1 || text->operands[0].kind != PTX_OPERAND_REGISTER) {
        return unsupported(text, err, "");
    }
    if (!decode_slot(decoder, &text->operands[0], PTX_B32, &dst, err)) {
        return false;
    }
    op_set_dst(decoder, op, &dst, 1);
    op->run = run_activemask;
    op->class = CLASS_SHUFFLE;
    return true;
}

/* The lowest lane is elected: src: mask; dst: its number, and a predicate that it alone holds. */
static enum step run_elect(struct warp *warp, const struct op *op, lanes active)
{
    uint32_t leader = (uint32_t)__builtin_ctz(active);
    if (op->dst[0] != SLOT_NONE) {
        FOR_LANES(lane, active) reg32(warp, op->dst[0])[lane] = leader;
    }
    if (op->dst_count > 1 && op->dst[1] != SLOT_NONE) {
        lanes *p = pred(warp, op->dst[1]);
        *p = (*p & ~active) | (lanes)1 << leader;
    }
    return STEP_NEXT;
}

static bool decode_elect(struct decoder *decoder, const struct ptx_instruction *text, struct op *op,
                         struct err *err)
{
    uint32_t src;
    if (text->operand_count != 2 || !instruction_has(text, "sync")) {
        return unsupported(text, err, "");
    }
    if (!result_and_predicate(decoder, text, op, err) ||
        !sources32(decoder, text, 1, 1, &src, err)) {
        return false;
    }
    op_set_src(decoder, op, &src, 1);
    op->run = run_elect;
    op->masked = true;
    op->class = CLASS_SHUFFLE;
    return true;
}

/* ---- redux ---- */

enum { REDUCE_ADD, REDUCE_MIN, REDUCE_MAX, REDUCE_AND, REDUCE_OR, REDUCE_XOR };

static uint32_t reduce_two(int mode, bool is_signed, uint32_t a, uint32_t b)
{
    bool below = is_signed ? (int32_t)a < (int32_t)b : a < b;
    switch (mode) {
    case REDUCE_ADD: return a + b;
    case REDUCE_MIN: return below ? a : b;
    case REDUCE_MAX: return below ? b : a;
    case REDUCE_AND: return a & b;
    case REDUCE_OR: return a | b;
    default: return a ^ b;
    }
}

static enum step run_reduce(struct warp *warp, const struct op *op, lanes active)
{
    const uint32_t *a = reg32(warp, op->src[0]);
    int first = __builtin_ctz(active);
    uint32_t result = a[first];
    FOR_LANES(lane, active & (active - 1))
    result = reduce_two(op->mode, op->mode2, result, a[lane]);
    FOR_LANES(lane, active) reg32(warp, op->dst[0])[lane] = result;
    return STEP_NEXT;
}

static bool decode_reduce(struct decoder *decoder, const struct ptx_instruction *text,
                          struct op *op, struct err *err)
{
    static const char *const modes[] = {"add", "min", "max", "and", "or", "xor"};
    uint32_t dst, src[2];
    op->mode = -1;
    for (int i = 0; i < 6; i++) {
        op->mode = instruction_has(text, modes[i]) ? i : op->mode;
    }
    op->mode2 = instruction_has(text, "s32");
    bool bits = instruction_has(text, "b32");
    if (text->operand_count != 3 || op->mode < 0 || !instruction_has(text, "sync") ||
        text->part_count != 4 || text->operands[0].kind != PTX_OPERAND_REGISTER ||
        bits != (op->mode >= REDUCE_AND) ||
        (!bits && !op->mode2 && !instruction_has(text, "u32"))) {
        return unsupported(text, err, "");
    }
    if (!decode_slot(decoder, &text->operands[0], PTX_B32, &dst, err) ||
        !sources32(decoder, text, 1, 2, src, err)) {
        return false;
    }
    op_set_dst(decoder, op, &dst, 1);
    op_set_src(decoder, op, src, 2);
    op->run = run_reduce;
    op->masked = true;
    op->class = CLASS_SHUFFLE;
    return true;
}

/* ---- barriers ---- */

/* bar.warp.sync mask */
static bool decode_warp_barrier(struct decoder *decoder, const struct ptx_instruction *text,
                                struct op *op, struct err *err)
{
    uint32_t src;
    if (text->operand_count != 1) {
        return unsupported(text, err, "");
    }
    if (!sources32(decoder, text, 0, 1, &src, err)) {
        return false;
    }
    op_set_src(decoder, op, &src, 1);
    op->run = control_warp_barrier;
    op->masked = true;
    op->class = CLASS_BARRIER;
    return true;
}

/* The operands behind the destination of bar.red: a [, b], [!]c. */
static bool reduction_operands(struct decoder *decoder, const struct ptx_instruction *text,
                               struct op *op, uint32_t src[3], struct err *err)
{
    bool negated, ignored, counted = text->operand_count == 4;
    uint32_t dst;
    if (text->operand_count != 3 && !counted) {
        return unsupported(text, err, "the number of operands");
    }
    if (!sources32(decoder, text, 1, counted ? 2 : 1, src, err)) {
        return false;
    }
    src[2] = decode_predicate(decoder, &text->operands[text->operand_count - 1], &negated);
    op->mode2 = negated;
    if (op->mode == BARRIER_POPC) {
        if (text->operands[0].kind != PTX_OPERAND_REGISTER ||
            !decode_slot(decoder, &text->operands[0], PTX_U32, &dst, err)) {
            return unsupported(text, err, "the destination is not a register of 32 bits");
        }
    } else {
        dst = decode_predicate(decoder, &text->operands[0], &ignored);
    }
    if (src[2] == SLOT_NONE || dst == SLOT_NONE) {
        return unsupported(text, err, "a predicate is expected");
    }
    op_set_dst(decoder, op, &dst, 1);
    return true;
}

/* bar[.cta].sync a [, b] and so on; without barrier's missing .aligned all lanes come together. */
static bool decode_barrier(struct decoder *decoder, const struct ptx_instruction *text,
                           struct op *op, struct err *err)
{
    uint32_t src[3] = {SLOT_NONE, SLOT_NONE, SLOT_NONE};
    bool reduces = instruction_has(text, "red");
    op->mode = instruction_has(text, "arrive") ? BARRIER_ARRIVE
               : !reduces                      ? BARRIER_SYNC
               : instruction_has(text, "popc") ? BARRIER_POPC
               : instruction_has(text, "and")  ? BARRIER_AND
                                               : BARRIER_OR;
    if (!reduces && op->mode == BARRIER_SYNC && !instruction_has(text, "sync")) {
        return unsupported(text, err, "");
    }
    if (reduces) {
        if (!reduction_operands(decoder, text, op, src, err)) {
            return false;
        }
    } else if (text->operand_count < 1 + (op->mode == BARRIER_ARRIVE) || text->operand_count > 2) {
        return unsupported(text, err, "the number of operands");
    } else if (!sources32(decoder, text, 0, text->operand_count, src, err)) {
        return false;
    }
    op_set_src(decoder, op, src, 3);
    op->run = control_barrier;
    op->convergent = strcmp(text->parts[0], "bar") == 0 || instruction_has(text, "aligned");
    op->class = CLASS_BARRIER;
    return true;
}

/* setmaxnreg: registers are given and taken where nobody runs short of them; it is checked only. */
static bool decode_setmaxnreg(const struct ptx_instruction *text, struct op *op, struct err *err)
{
    uint64_t count;
    if (text->operand_count != 1 || !operand_literal(&text->operands[0], &count) || count < 24 ||
        count > 256 || count % 8 != 0 ||
        instruction_has(text, "inc") == instruction_has(text, "dec")) {
        return unsupported(text, err, "its count is a multiple of 8 from 24 to 256");
    }
    op->run = control_nothing;
    op->convergent = true;
    return true;
}

bool collective_decode(struct decoder *decoder, const struct ptx_instruction *text, struct op *op,
                       struct err *err)
{
    static const struct {
        const char *name;
        bool (*decode)(struct decoder *, const struct ptx_instruction *, struct op *, struct err *);
    } all[] = {{"shfl", decode_shuffle}, {"vote", decode_vote},
               {"match", decode_match},  {"activemask", decode_activemask},
               {"elect", decode_elect},  {"redux", decode_reduce}};
    const char *name = text->parts[0];
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strcmp(name, all[i].name) == 0) {
            return all[i].decode(decoder, text, op, err);
        }
    }
    if (strcmp(name, "setmaxnreg") == 0) {
        return decode_setmaxnreg(text, op, err);
    }
    if (strcmp(name, "bar") == 0 && instruction_has(text, "warp")) {
        return decode_warp_barrier(decoder, text, op, err);
    }
    if ((strcmp(name, "bar") == 0 || strcmp(name, "barrier") == 0) &&
        !instruction_has(text, "cluster")) {
        return decode_barrier(decoder, text, op, err);
    }
    return false;
}
