/*
 * async_decode -- which opcodes the asynchronous unit knows, and their operands.
 */
#include "fitness/emu/async.h"
#include "fitness/emu/core.h"

#include <stdio.h>
#include <string.h>

/*
 * What an opcode begins with, one part it must have besides, its operands, and the parts that may
 * follow. Operands, in the order written:
 *
 *     a  [address]             A  [tensor map, {coordinates}]
 *     w  32-bit value          W  32-bit result
 *     d  64-bit value          D  64-bit result, or _
 *     x  value of the type     X  result of the type: 32 or 64 bits
 *     i  a literal             P  predicate result
 *     s  size of the source, or the predicate of ignore-src
 *     |  from here on they may be left out
 *
 * A mask of blocks and a cache policy follow where the qualifiers say so.
 */
static const struct form {
    const char *begins, *needs;
    op_function *run;
    const char *operands;
    const char *may; /* separated and surrounded by spaces */
    int mode;
    enum op_class class;
} forms[] = {
#define SHARED     " shared shared::cta "
#define ANY_SHARED " shared shared::cta shared::cluster "
#define SYNC       " release acquire relaxed cta cluster b64 "
#define TX         "mbarrier::complete_tx::bytes"
#define DIMS       " 1d 2d 3d 4d 5d "
#define HINT       " L2::cache_hint "
#define PREFETCH   " L2::64B L2::128B L2::256B "
#define REDUCTIONS " add min max inc dec and or xor "
#define REDUCED    " u32 s32 u64 s64 b32 b64 f32 f64 "
    {"cp.async.ca", NULL, copy_run, "aai|s", SHARED "global" HINT PREFETCH, 0, CLASS_ASYNC_COPY},
    {"cp.async.cg", NULL, copy_run, "aai|s", SHARED "global" HINT PREFETCH, 0, CLASS_ASYNC_COPY},
    {"cp.async.commit_group", NULL, copy_commit_run, "", "", 0, CLASS_ASYNC_COPY},
    {"cp.async.wait_group", NULL, copy_wait_run, "i", "", 0, CLASS_ASYNC_COPY},
    {"cp.async.wait_all", NULL, copy_wait_all_run, "", "", 0, CLASS_ASYNC_COPY},
    {"cp.async.mbarrier.arrive.noinc", NULL, copy_arrive_run, "a", SHARED "b64 ",
     ARRIVE_NO_INCREMENT, CLASS_ASYNC_COPY},
    {"cp.async.mbarrier.arrive", NULL, copy_arrive_run, "a", SHARED "b64 ", 0, CLASS_ASYNC_COPY},
    {"cp.async.bulk.commit_group", NULL, bulk_commit_run, "", "", 0, CLASS_ASYNC_COPY},
    {"cp.async.bulk.wait_group.read", NULL, bulk_wait_run, "i", "", WAIT_READ, CLASS_ASYNC_COPY},
    {"cp.async.bulk.wait_group", NULL, bulk_wait_run, "i", "", 0, CLASS_ASYNC_COPY},
    {"cp.async.bulk.prefetch.tensor", NULL, nothing_run, "A", DIMS "L2 global tile" HINT, 0,
     CLASS_ASYNC_COPY},
    {"cp.async.bulk.prefetch", NULL, nothing_run, "aw", " L2 global" HINT, 0, CLASS_ASYNC_COPY},
    {"cp.async.bulk.tensor", TX, tensor_load_run, "aAa",
     DIMS "shared::cta shared::cluster global tile multicast::cluster" HINT, 0, CLASS_ASYNC_COPY},
    {"cp.async.bulk.tensor", "bulk_group", tensor_store_run, "Aa",
     DIMS "global shared::cta tile" HINT, 0, CLASS_ASYNC_COPY},
    {"cp.async.bulk", TX, bulk_load_run, "aawa",
     " shared::cta shared::cluster global multicast::cluster" HINT, 0, CLASS_ASYNC_COPY},
    {"cp.async.bulk", "bulk_group", bulk_store_run, "aaw", " global shared::cta" HINT, 0,
     CLASS_ASYNC_COPY},
    {"cp.reduce.async.bulk.tensor", "bulk_group", tensor_store_run, "Aa",
     DIMS "global shared::cta tile" REDUCTIONS HINT, 0, CLASS_ASYNC_COPY},
    {"cp.reduce.async.bulk", TX, bulk_load_run, "aawa",
     " shared::cluster shared::cta" REDUCTIONS REDUCED, 0, CLASS_ASYNC_COPY},
    {"cp.reduce.async.bulk", "bulk_group", bulk_store_run, "aaw",
     " global shared::cta" REDUCTIONS REDUCED HINT, 0, CLASS_ASYNC_COPY},
    {"mbarrier.init", NULL, mbarrier_init_run, "aw", SHARED "b64 ", 0, CLASS_BARRIER},
    {"mbarrier.inval", NULL, mbarrier_inval_run, "a", SHARED "b64 ", 0, CLASS_BARRIER},
    {"mbarrier.expect_tx", NULL, mbarrier_expect_run, "aw", ANY_SHARED SYNC, 0, CLASS_BARRIER},
    {"mbarrier.complete_tx", NULL, mbarrier_complete_run, "aw", ANY_SHARED SYNC, 0, CLASS_BARRIER},
    {"mbarrier.arrive.expect_tx", NULL, mbarrier_arrive_run, "Daw", ANY_SHARED SYNC, ARRIVE_EXPECT,
     CLASS_BARRIER},
    {"mbarrier.arrive.noComplete", NULL, mbarrier_arrive_run, "Daw", SHARED SYNC,
     ARRIVE_NO_COMPLETE, CLASS_BARRIER},
    {"mbarrier.arrive", NULL, mbarrier_arrive_run, "Da|w", ANY_SHARED SYNC, 0, CLASS_BARRIER},
    {"mbarrier.arrive_drop.expect_tx", NULL, mbarrier_arrive_run, "Daw", ANY_SHARED SYNC,
     ARRIVE_DROP | ARRIVE_EXPECT, CLASS_BARRIER},
    {"mbarrier.arrive_drop.noComplete", NULL, mbarrier_arrive_run, "Daw", SHARED SYNC,
     ARRIVE_DROP | ARRIVE_NO_COMPLETE, CLASS_BARRIER},
    {"mbarrier.arrive_drop", NULL, mbarrier_arrive_run, "Da|w", ANY_SHARED SYNC, ARRIVE_DROP,
     CLASS_BARRIER},
    {"mbarrier.test_wait.parity", NULL, mbarrier_test_run, "Paw", SHARED SYNC, WAIT_PARITY,
     CLASS_BARRIER},
    {"mbarrier.test_wait", NULL, mbarrier_test_run, "Pad", SHARED SYNC, 0, CLASS_BARRIER},
    {"mbarrier.try_wait.parity", NULL, mbarrier_test_run, "Paw|w", SHARED SYNC,
     WAIT_TRY | WAIT_PARITY, CLASS_BARRIER},
    {"mbarrier.try_wait", NULL, mbarrier_test_run, "Pad|w", SHARED SYNC, WAIT_TRY, CLASS_BARRIER},
    {"mbarrier.pending_count", NULL, mbarrier_pending_run, "Wd", " b64 ", 0, CLASS_INTEGER},
    {"barrier.cluster.arrive", NULL, cluster_arrive_run, "", " release relaxed aligned ", 0,
     CLASS_BARRIER},
    {"barrier.cluster.wait", NULL, cluster_wait_run, "", " acquire aligned ", 0, CLASS_BARRIER},
    {"mapa", NULL, mapa_run, "Xxw", " shared::cluster u32 u64 ", 0, CLASS_INTEGER},
    {"getctarank", NULL, ctarank_run, "Wx", " shared::cluster u32 u64 ", 0, CLASS_INTEGER},
    {"fence.mbarrier_init", NULL, fence_mbarrier_run, "", " release cluster ", 0, CLASS_FENCE},
    {"fence.proxy.async.global", NULL, fence_proxy_run, "", "", FENCE_GLOBAL, CLASS_FENCE},
    {"fence.proxy.async", NULL, fence_proxy_run, "", " shared::cta shared::cluster ", 0,
     CLASS_FENCE},
    {"fence.proxy.async::generic", NULL, fence_proxy_run, "",
     " acquire release sync_restrict::shared::cta sync_restrict::shared::cluster cluster ", 0,
     CLASS_FENCE},
    {"fence.proxy.tensormap::generic.release", NULL, nothing_run, "", " cta cluster gpu sys ", 0,
     CLASS_FENCE},
    {"fence.proxy.tensormap::generic.acquire", NULL, nothing_run, "ai", " cta cluster gpu sys ", 0,
     CLASS_FENCE},
    {"fence.proxy.alias", NULL, nothing_run, "", "", 0, CLASS_FENCE},
    {"prefetch", "tensormap", nothing_run, "a", " const param global ", 0, CLASS_OTHER},
};

static bool begins_with(const struct ptx_instruction *text, const char *begins)
{
    size_t length = strlen(begins);

    return strncmp(text->opcode, begins, length) == 0 &&
           (text->opcode[length] == '\0' || text->opcode[length] == '.');
}

static const struct form *form_find(const struct ptx_instruction *text)
{
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (begins_with(text, forms[i].begins) &&
            (forms[i].needs == NULL || instruction_has(text, forms[i].needs))) {
            return &forms[i];
        }
    }
    return NULL;
}

static bool word_in(const char *words, const char *word)
{
    size_t length = strlen(word);

    for (const char *at = words; length > 0 && (at = strstr(at, word)) != NULL; at += length) {
        if (at > words && at[-1] == ' ' && at[length] == ' ') {
            return true;
        }
    }
    return false;
}

/* Parts behind the form's own must be among those it may have. */
static bool qualifiers_check(const struct form *form, const struct ptx_instruction *text,
                             struct err *err)
{
    int first = 1;

    for (const char *at = form->begins; *at != '\0'; at++) {
        first += *at == '.';
    }
    for (int i = first; i < text->part_count; i++) {
        if ((form->needs == NULL || strcmp(text->parts[i], form->needs) != 0) &&
            !word_in(form->may, text->parts[i])) {
            char why[64];

            snprintf(why, sizeof(why), "qualifier '.%s'", text->parts[i]);
            return unsupported(text, err, why);
        }
    }
    return true;
}

enum { OPERANDS_MAX = 8 }; /* of the longest form: five coordinates are one operand */

struct decoding { /* of one instruction */
    struct decoder *decoder;
    const struct ptx_instruction *text;
    struct op *op;
    struct async_operands *operands;
    uint32_t src[2 * OPERANDS_MAX], dst;
    int src_count, place_count;
};

static bool value_decode(struct decoding *decoding, const struct ptx_operand *operand,
                         enum ptx_type type, uint32_t *slot, struct err *err)
{
    if (!decode_slot(decoding->decoder, operand, type, slot, err)) {
        return false;
    }
    decoding->src[decoding->src_count++] = *slot;
    return true;
}

static bool values_decode(struct decoding *decoding, const struct ptx_operand *operand,
                          enum ptx_type type, struct err *err)
{
    struct async_operands *operands = decoding->operands;

    return value_decode(decoding, operand, type, &operands->values[operands->value_count++], err);
}

static bool result_decode(struct decoding *decoding, const struct ptx_operand *operand,
                          enum ptx_type type, struct err *err)
{
    if (operand->kind == PTX_OPERAND_SINK) {
        return true;
    }
    if (operand->kind != PTX_OPERAND_REGISTER) {
        return unsupported(decoding->text, err, "a result that is no register");
    }
    return decode_slot(decoding->decoder, operand, type, &decoding->dst, err);
}

static bool coordinates_decode(struct decoding *decoding, const struct ptx_operand *address,
                               struct err *err)
{
    struct async_operands *operands = decoding->operands;
    const struct ptx_operand *vector = address->count == 2 ? &address->items[1] : NULL;
    char dimensions[8];

    if (vector == NULL || vector->kind != PTX_OPERAND_VECTOR || vector->count < 1 ||
        vector->count > TENSOR_RANK_MAX) {
        return unsupported(decoding->text, err,
                           "an operand that is no [tensor map, {coordinates}]");
    }
    snprintf(dimensions, sizeof(dimensions), "%dd", vector->count);
    if (!instruction_has(decoding->text, dimensions)) {
        return unsupported(decoding->text, err, "a wrong number of coordinates");
    }
    operands->rank = vector->count;
    for (int i = 0; i < vector->count; i++) {
        if (!value_decode(decoding, &vector->items[i], PTX_S32, &operands->coordinates[i], err)) {
            return false;
        }
    }
    return true;
}

static bool place_decode(struct decoding *decoding, const struct ptx_operand *operand, char letter,
                         struct err *err)
{
    struct place *place = &decoding->operands->places[decoding->place_count++];

    if (operand->kind != PTX_OPERAND_ADDRESS || operand->count < 1 ||
        (letter == 'a' && operand->count != 1)) {
        return unsupported(decoding->text, err, "an operand that is no address");
    }
    if (!decode_address(decoding->decoder, operand, &place->slot, &place->offset, err)) {
        return false;
    }
    decoding->src[decoding->src_count++] = place->slot;
    return letter == 'a' || coordinates_decode(decoding, operand, err);
}

static bool literal_decode(struct decoding *decoding, const struct ptx_operand *operand,
                           struct err *err)
{
    uint64_t bits;

    if (!operand_literal(operand, &bits) || bits > INT32_MAX) {
        return unsupported(decoding->text, err, "an operand that is no literal");
    }
    decoding->op->immediate = (int64_t)bits;
    return true;
}

/* A size, or the predicate of ignore-src. */
static bool source_size_decode(struct decoding *decoding, const struct ptx_operand *operand,
                               struct err *err)
{
    struct async_operands *operands = decoding->operands;

    operands->predicate =
        decode_predicate(decoding->decoder, operand, &operands->predicate_negated);
    if (operands->predicate == SLOT_NONE) {
        return values_decode(decoding, operand, PTX_U32, err);
    }
    decoding->src[decoding->src_count++] = operands->predicate;
    return true;
}

static bool predicate_decode(struct decoding *decoding, const struct ptx_operand *operand,
                             struct err *err)
{
    bool negated;

    decoding->dst = decode_predicate(decoding->decoder, operand, &negated);
    decoding->operands->predicate = decoding->dst;
    return decoding->dst != SLOT_NONE && !negated
               ? true
               : unsupported(decoding->text, err, "a result that is no predicate");
}

static bool operand_decode(struct decoding *decoding, const struct ptx_operand *operand,
                           char letter, struct err *err)
{
    const struct async_operands *operands = decoding->operands;

    switch (letter) {
    case 'a':
    case 'A': return place_decode(decoding, operand, letter, err);
    case 'i': return literal_decode(decoding, operand, err);
    case 'w': return values_decode(decoding, operand, PTX_U32, err);
    case 'd': return values_decode(decoding, operand, PTX_U64, err);
    case 'x': return values_decode(decoding, operand, operands->wide ? PTX_U64 : PTX_U32, err);
    case 'W': return result_decode(decoding, operand, PTX_U32, err);
    case 'D': return result_decode(decoding, operand, PTX_U64, err);
    case 'X': return result_decode(decoding, operand, operands->wide ? PTX_U64 : PTX_U32, err);
    case 's': return source_size_decode(decoding, operand, err);
    default: return predicate_decode(decoding, operand, err);
    }
}

/* All operands by the form's letters, then those that qualifiers add. */
static bool operands_decode(struct decoding *decoding, const struct form *form, struct err *err)
{
    const struct ptx_instruction *text = decoding->text;
    bool mask = instruction_has(text, "multicast::cluster");
    bool policy = instruction_has(text, "L2::cache_hint");
    int given = text->operand_count - mask - policy, at = 0;
    bool optional = false;
    uint32_t slot;

    if (given < 0 || text->operand_count > OPERANDS_MAX) {
        return unsupported(text, err, "number of operands");
    }

    for (const char *letter = form->operands; *letter != '\0'; letter++) {
        if (*letter == '|') {
            optional = true;
        } else if (at >= given) {
            if (!optional) {
                return unsupported(text, err, "number of operands");
            }
        } else if (!operand_decode(decoding, &text->operands[at++], *letter, err)) {
            return false;
        }
    }
    if (at != given) {
        return unsupported(text, err, "number of operands");
    }
    if (mask && !value_decode(decoding, &text->operands[at++], PTX_B16,
                              &decoding->operands->multicast, err)) {
        return false;
    }
    return !policy || value_decode(decoding, &text->operands[at], PTX_B64, &slot, err);
}

/* What single instructions ask for beyond the table. */
static bool form_check(const struct form *form, const struct ptx_instruction *text, struct op *op,
                       struct err *err)
{
    const struct async_operands *operands = operands_of(op);

    if (form->run == copy_run) {
        bool sixteen = op->immediate == 16;

        if (!sixteen &&
            (begins_with(text, "cp.async.cg") || (op->immediate != 4 && op->immediate != 8))) {
            return unsupported(text, err, "the size");
        }
        op->bytes = (uint8_t)op->immediate;
    }
    if (begins_with(text, "cp.reduce") &&
        (operands->reduction == NULL ||
         (!begins_with(text, "cp.reduce.async.bulk.tensor") &&
          (operands->type == NULL ||
           reduction_find(operands->reduction, operands->type) == NULL)))) {
        return unsupported(text, err, "the operation and type");
    }
    return true;
}

/* The reduction and its type, if the opcode names them. */
static void reduction_decode(const struct ptx_instruction *text, struct async_operands *operands)
{
    for (int i = 0; i < text->part_count; i++) {
        if (word_in(REDUCTIONS, text->parts[i])) {
            operands->reduction = text->parts[i];
        } else if (word_in(REDUCED, text->parts[i])) {
            operands->type = text->parts[i];
        }
    }
}

bool async_decode(struct decoder *decoder, const struct ptx_instruction *text, struct op *op,
                  struct err *err)
{
    const struct form *form = form_find(text);

    err->kind = ERR_NONE;
    if (form == NULL) {
        return false;
    }
    struct async_operands *operands = decode_alloc(decoder, sizeof(*operands));
    struct decoding decoding = {
        .decoder = decoder, .text = text, .op = op, .operands = operands, .dst = SLOT_NONE};

    operands->multicast = operands->predicate = SLOT_NONE;
    operands->generic = !instruction_has(text, "shared") && !instruction_has(text, "shared::cta") &&
                        !instruction_has(text, "shared::cluster");
    operands->wide = instruction_has(text, "u64");
    if (begins_with(text, "cp.reduce")) {
        reduction_decode(text, operands);
    }
    op->run = form->run;
    op->mode = form->mode | (instruction_has(text, "relaxed") ? MODE_RELAXED : 0);
    op->class = (uint8_t)form->class;
    op->convergent = instruction_has(text, "aligned");
    op->space = instruction_has(text, "global") ? SPACE_GLOBAL : SPACE_SHARED;
    op->access = operands->reduction != NULL ? ACCESS_STRONG : ACCESS_WEAK;
    op->extra = operands;
    if (!qualifiers_check(form, text, err) || !operands_decode(&decoding, form, err) ||
        !form_check(form, text, op, err)) {
        return false;
    }
    op_set_src(decoder, op, decoding.src, decoding.src_count);
    op_set_dst(decoder, op, &decoding.dst, decoding.dst == SLOT_NONE ? 0 : 1);
    return true;
}
