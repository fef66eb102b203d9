/*
 * From the text of an entry to ops.
 *
 * Registers, temporaries and constants are cells: numbers given in the order of their first use. In
 * the first walk the slot of a cell is its number (of a predicate, with PREDICATE set), in the
 * second it is where the cell lies. Both walks number alike.
 *
 * A register that is written once, by the mov of a literal, a symbol or a special register, is that
 * constant wherever it is read, and the mov is no op.
 *
 * Calls of functions are copied in at the place of the call: a function's parameters are a part of
 * the thread's local memory.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fitness/emu/core.h"

enum { AFTER_MAX = 4 };

struct frame { /* of a function that is being copied in */
    const struct ptx_function *function;
    struct frame *caller;
    int32_t *cells; /* of each register, -1: not used yet; predicates: their number */
    const struct ptx_instruction *
        *fixed;                      /* of each register: the one mov that gives it a constant */
    int64_t *locals;                 /* local memory of each variable, -1 */
    const int64_t *params, *returns; /* local memory of each */
    int32_t *starts;                 /* the op of each instruction */
    int depth;
};

struct fixup {            /* a branch to a label */
    int op, label, entry; /* entry: of a branch table; -1: op->target */
};

struct decoder {
    struct arena *arena;
    const struct ptx_module *module;
    const struct ptx_function *entry;
    struct code *program;
    bool second;
    struct frame *frame;
    const struct ptx_instruction *text;

    struct op *ops;
    int op_count, op_room;
    struct op after[AFTER_MAX];
    int after_count;

    struct cell *cells;
    int cell_count, cell_room;
    int32_t *constants; /* hash of constant cells */
    int constant_room, constant_count;
    int predicate_count;
    int carry; /* the predicate of CC.CF, -1 */

    struct touched *touched; /* first walk only */
    int touched_count, touched_room;
    bool watching; /* who is decoding now is another unit */

    int64_t *shared;     /* offsets: of the module's variables, -1 */
    int64_t **shared_in; /* of each function's */
    int64_t static_bytes, dynamic_align, dynamic_offset;
    int64_t local_bytes;
    int64_t *params; /* offsets of the entry's */
    bool uses_variables;
};

/* ---- small things ---- */

bool unsupported(const struct ptx_instruction *text, struct err *err, const char *why)
{
    return err_set(err, ERR_USER, "unsupported: line %d: '%s'%s%s", text->line, text->opcode,
                   why[0] != '\0' ? ": " : "", why);
}

bool instruction_has(const struct ptx_instruction *text, const char *part)
{
    for (int i = 1; i < text->part_count; i++) {
        if (strcmp(text->parts[i], part) == 0) {
            return true;
        }
    }
    return false;
}

void *decode_alloc(struct decoder *decoder, size_t bytes)
{
    return arena_alloc(decoder->arena, bytes);
}

static int64_t align_up(int64_t value, int64_t align) { return (value + align - 1) & -align; }

void op_set_dst(struct decoder *decoder, struct op *op, const uint32_t *slots, int count)
{
    op->dst = arena_copy(decoder->arena, slots, (size_t)count * sizeof *slots);
    op->dst_count = (uint16_t)count;
}

void op_set_src(struct decoder *decoder, struct op *op, const uint32_t *slots, int count)
{
    op->src = arena_copy(decoder->arena, slots, (size_t)count * sizeof *slots);
    op->src_count = (uint16_t)count;
}

/* ---- registers that are constants ---- */

static void writes_count(const struct ptx_operand *operand, uint8_t *writes)
{
    if (operand->kind == PTX_OPERAND_REGISTER) {
        writes[operand->reg] = writes[operand->reg] == 0 ? 1 : 2;
    }
    for (int i = 0; operand->kind == PTX_OPERAND_VECTOR && i < operand->count; i++) {
        writes_count(&operand->items[i], writes);
    }
}

static bool is_clock(const char *name);

static bool is_constant_mov(const struct ptx_function *function, const struct ptx_instruction *text)
{
    enum ptx_type type;
    if (strcmp(text->parts[0], "mov") != 0 || text->part_count != 2 || text->guard >= 0 ||
        text->operand_count != 2 || text->operands[0].kind != PTX_OPERAND_REGISTER ||
        !ptx_type_find(text->parts[1], &type) || type == PTX_PRED || ptx_type_bytes(type) < 2 ||
        ptx_type_bytes(type) > 8 ||
        ptx_type_bytes(function->registers[text->operands[0].reg]) != ptx_type_bytes(type)) {
        return false;
    }
    const struct ptx_operand *from = &text->operands[1];
    return from->kind == PTX_OPERAND_INTEGER || from->kind == PTX_OPERAND_FLOAT ||
           from->kind == PTX_OPERAND_SYMBOL ||
           (from->kind == PTX_OPERAND_SPECIAL && !is_clock(from->name));
}

/* What is written is the first operand; where that is only read, it merely counts as written. */
static void fixed_find(const struct ptx_function *function, const struct ptx_instruction **fixed)
{
    uint8_t *writes = xcalloc((size_t)function->register_count + 1, sizeof *writes);
    for (int i = 0; i < function->instruction_count; i++) {
        if (function->instructions[i].operand_count > 0) {
            writes_count(&function->instructions[i].operands[0], writes);
        }
    }
    for (int i = 0; i < function->instruction_count; i++) {
        const struct ptx_instruction *text = &function->instructions[i];
        if (is_constant_mov(function, text) && writes[text->operands[0].reg] == 1) {
            fixed[text->operands[0].reg] = text;
        }
    }
    free(writes);
}

/* The constant that a register stands for; the operand itself when it stands for none. */
static const struct ptx_operand *fixed_value(const struct decoder *decoder,
                                             const struct ptx_operand *operand)
{
    if (operand->kind == PTX_OPERAND_REGISTER && decoder->frame->fixed[operand->reg] != NULL) {
        return &decoder->frame->fixed[operand->reg]->operands[1];
    }
    return operand;
}

bool decode_literal(const struct decoder *decoder, const struct ptx_operand *operand,
                    uint64_t *bits)
{
    return operand_literal(fixed_value(decoder, operand), bits);
}

/* ---- cells ---- */

static int cell_new(struct decoder *decoder, unsigned bytes)
{
    if (decoder->second) {
        return decoder->cell_count++; /* known from the first walk */
    }
    if (decoder->cell_count == decoder->cell_room) {
        decoder->cell_room = decoder->cell_room == 0 ? 256 : decoder->cell_room * 2;
        decoder->cells =
            xrealloc(decoder->cells, (size_t)decoder->cell_room * sizeof *decoder->cells);
    }
    decoder->cells[decoder->cell_count] =
        (struct cell){.bytes = (uint8_t)bytes, .special = -1, .first = -1, .last = -1};
    return decoder->cell_count++;
}

static uint32_t cell_slot(const struct decoder *decoder, int cell)
{
    return decoder->second ? decoder->cells[cell].slot : (uint32_t)cell;
}

uint32_t decode_temporary(struct decoder *decoder, unsigned bytes)
{
    return cell_slot(decoder, cell_new(decoder, bytes));
}

static uint32_t predicate_slot(const struct decoder *decoder, int number)
{
    return decoder->second ? (uint32_t)number : (uint32_t)number | PREDICATE;
}

uint32_t decode_temporary_predicate(struct decoder *decoder)
{
    return predicate_slot(decoder, decoder->predicate_count++);
}

const struct ptx_instruction *decoder_text(const struct decoder *decoder) { return decoder->text; }

bool decode_cluster(const struct decoder *decoder) { return decoder->entry->cluster[0] > 0; }

uint32_t decode_carry(struct decoder *decoder)
{
    if (decoder->carry < 0) {
        decoder->carry = decoder->predicate_count++;
    }
    return predicate_slot(decoder, decoder->carry);
}

static size_t constant_start(const struct decoder *decoder, unsigned bytes, uint64_t bits,
                             int special)
{
    uint64_t h = (bits ^ (uint64_t)bytes << 57 ^ (uint64_t)(unsigned)special << 32) *
                 UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(h >> 20) & (size_t)(decoder->constant_room - 1);
}

static int32_t *constant_place(const struct decoder *decoder, unsigned bytes, uint64_t bits,
                               int special)
{
    size_t at = constant_start(decoder, bytes, bits, special);
    for (; decoder->constants[at] >= 0; at = (at + 1) & (size_t)(decoder->constant_room - 1)) {
        const struct cell *cell = &decoder->cells[decoder->constants[at]];
        if (cell->bytes == bytes && cell->bits == bits && cell->special == special) {
            break;
        }
    }
    return &decoder->constants[at];
}

static void constants_grow(struct decoder *decoder)
{
    int32_t *old = decoder->constants;
    int old_room = decoder->constant_room;
    decoder->constant_room = old_room == 0 ? 256 : old_room * 2;
    decoder->constants = xcalloc((size_t)decoder->constant_room, sizeof *decoder->constants);
    memset(decoder->constants, 0xff, (size_t)decoder->constant_room * sizeof *decoder->constants);
    for (int i = 0; i < old_room; i++) {
        if (old[i] >= 0) {
            const struct cell *cell = &decoder->cells[old[i]];
            *constant_place(decoder, cell->bytes, cell->bits, cell->special) = old[i];
        }
    }
    free(old);
}

static uint32_t constant_slot(struct decoder *decoder, unsigned bytes, uint64_t bits, int special)
{
    if (decoder->constant_count * 2 >= decoder->constant_room) {
        constants_grow(decoder);
    }
    if (bytes < 8 && special < 0) {
        bits &= (UINT64_C(1) << 8 * bytes) - 1;
    }
    int32_t *place = constant_place(decoder, bytes, bits, special);
    if (*place < 0) {
        int cell = cell_new(decoder, bytes);
        decoder->cells[cell].constant = true;
        decoder->cells[cell].bits = bits;
        decoder->cells[cell].special = special;
        *place = cell;
        decoder->constant_count++;
    }
    return cell_slot(decoder, *place);
}

uint32_t decode_constant(struct decoder *decoder, unsigned bytes, uint64_t bits)
{
    return constant_slot(decoder, bytes, bits, -1);
}

/* ---- ops ---- */

static void op_append(struct decoder *decoder, const struct op *op)
{
    if (decoder->op_count == decoder->op_room) {
        decoder->op_room = decoder->op_room == 0 ? 256 : decoder->op_room * 2;
        decoder->ops = xrealloc(decoder->ops, (size_t)decoder->op_room * sizeof *decoder->ops);
    }
    decoder->ops[decoder->op_count] = *op;
    decoder->ops[decoder->op_count].text = decoder->text;
    decoder->op_count++;
}

void decode_emit(struct decoder *decoder, const struct op *op)
{
    struct op copy = *op;
    copy.guard = SLOT_NONE;
    op_append(decoder, &copy);
}

void decode_emit_after(struct decoder *decoder, const struct op *op)
{
    assert(decoder->after_count < AFTER_MAX);
    decoder->after[decoder->after_count++] = *op;
}

/* ---- operands ---- */

static const struct {
    const char *name;
    enum special special;
} specials[] = {
    {"%tid.x", SPECIAL_TID_X},
    {"%tid.y", SPECIAL_TID_Y},
    {"%tid.z", SPECIAL_TID_Z},
    {"%ntid.x", SPECIAL_NTID_X},
    {"%ntid.y", SPECIAL_NTID_Y},
    {"%ntid.z", SPECIAL_NTID_Z},
    {"%ctaid.x", SPECIAL_CTAID_X},
    {"%ctaid.y", SPECIAL_CTAID_Y},
    {"%ctaid.z", SPECIAL_CTAID_Z},
    {"%nctaid.x", SPECIAL_NCTAID_X},
    {"%nctaid.y", SPECIAL_NCTAID_Y},
    {"%nctaid.z", SPECIAL_NCTAID_Z},
    {"%clusterid.x", SPECIAL_CLUSTERID_X},
    {"%clusterid.y", SPECIAL_CLUSTERID_Y},
    {"%clusterid.z", SPECIAL_CLUSTERID_Z},
    {"%nclusterid.x", SPECIAL_NCLUSTERID_X},
    {"%nclusterid.y", SPECIAL_NCLUSTERID_Y},
    {"%nclusterid.z", SPECIAL_NCLUSTERID_Z},
    {"%cluster_ctaid.x", SPECIAL_CLUSTER_CTAID_X},
    {"%cluster_ctaid.y", SPECIAL_CLUSTER_CTAID_Y},
    {"%cluster_ctaid.z", SPECIAL_CLUSTER_CTAID_Z},
    {"%cluster_nctaid.x", SPECIAL_CLUSTER_NCTAID_X},
    {"%cluster_nctaid.y", SPECIAL_CLUSTER_NCTAID_Y},
    {"%cluster_nctaid.z", SPECIAL_CLUSTER_NCTAID_Z},
    {"%cluster_ctarank", SPECIAL_CLUSTER_CTARANK},
    {"%cluster_nctarank", SPECIAL_CLUSTER_NCTARANK},
    {"%laneid", SPECIAL_LANEID},
    {"%warpid", SPECIAL_WARPID},
    {"%nwarpid", SPECIAL_NWARPID},
    {"%smid", SPECIAL_SMID},
    {"%nsmid", SPECIAL_NSMID},
    {"%gridid", SPECIAL_ZERO},
    {"%lanemask_eq", SPECIAL_LANEMASK_EQ},
    {"%lanemask_le", SPECIAL_LANEMASK_LE},
    {"%lanemask_lt", SPECIAL_LANEMASK_LT},
    {"%lanemask_ge", SPECIAL_LANEMASK_GE},
    {"%lanemask_gt", SPECIAL_LANEMASK_GT},
    {"%dynamic_smem_size", SPECIAL_DYNAMIC_SMEM},
    {"%total_smem_size", SPECIAL_TOTAL_SMEM},
    {"%aggr_smem_size", SPECIAL_TOTAL_SMEM},
};

static const struct {
    const char *name;
    int shift;
    unsigned bytes;
} clocks[] = {
    {"%clock", CLOCK_LOW, 4},          {"%clock_hi", CLOCK_HIGH, 4},
    {"%clock64", CLOCK_LOW, 8},        {"%globaltimer", CLOCK_LOW, 8},
    {"%globaltimer_lo", CLOCK_LOW, 4}, {"%globaltimer_hi", CLOCK_HIGH, 4},
};

static bool is_clock(const char *name)
{
    for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        if (strcmp(clocks[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool special_slot(struct decoder *decoder, const char *name, unsigned bytes, uint32_t *slot,
                         struct err *err)
{
    for (size_t i = 0; i < sizeof specials / sizeof *specials; i++) {
        if (strcmp(specials[i].name, name) == 0 && bytes >= 2 && bytes <= 8) {
            *slot = constant_slot(decoder, bytes, 0, specials[i].special);
            return true;
        }
    }
    for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        if (strcmp(clocks[i].name, name) == 0 && bytes == clocks[i].bytes) {
            struct op op = {.run = control_clock,
                            .bytes = (uint8_t)bytes,
                            .mode = clocks[i].shift,
                            .class = CLASS_OTHER};
            *slot = decode_temporary(decoder, bytes);
            op_set_dst(decoder, &op, slot, 1);
            decode_emit(decoder, &op);
            return true;
        }
    }
    return err_set(err, ERR_USER,
                   "unsupported: line %d: '%s' is neither a register of %u bits "
                   "nor a special one that is known",
                   decoder->text->line, name, 8 * bytes);
}

/* Where the variable begins; of extern ones, from where the static ones end (*special says so). */
static int64_t shared_place(struct decoder *decoder, const struct ptx_variable *variable,
                            int64_t *known, int *special)
{
    *special = SPECIAL_SHARED;
    if (variable->bytes == 0) {
        if (variable->align > decoder->dynamic_align) {
            decoder->dynamic_align = variable->align;
        }
        *special = SPECIAL_DYNAMIC_BASE;
        return 0;
    }
    if (*known < 0) {
        decoder->static_bytes = align_up(decoder->static_bytes, variable->align);
        *known = decoder->static_bytes;
        decoder->static_bytes += variable->bytes;
    }
    return *known;
}

static int64_t *function_places(struct decoder *decoder, const struct ptx_function *function)
{
    int index = (int)(function - decoder->module->functions);
    if (decoder->shared_in[index] == NULL) {
        size_t bytes = (size_t)function->variable_count * sizeof(int64_t);
        decoder->shared_in[index] = xmalloc(bytes + 1);
        memset(decoder->shared_in[index], 0xff, bytes);
    }
    return decoder->shared_in[index];
}

static int64_t local_place(struct decoder *decoder, int index)
{
    const struct ptx_variable *variable = &decoder->frame->function->variables[index];
    int64_t *place = &decoder->frame->locals[index];
    if (*place < 0) {
        decoder->local_bytes = align_up(decoder->local_bytes, variable->align);
        *place = decoder->local_bytes;
        decoder->local_bytes += variable->bytes;
    }
    return *place;
}

/* The value of a symbol as an address of its own space; of parameters, of the generic one. */
static bool symbol_value(struct decoder *decoder, const struct ptx_operand *operand, uint64_t *bits,
                         int *special, struct err *err)
{
    const struct ptx_function *function = decoder->frame->function;
    *special = -1;
    *bits = (uint64_t)operand->offset;
    if (operand->symbol == PTX_SYMBOL_VARIABLE) {
        const struct ptx_variable *variable = &function->variables[operand->index];
        if (variable->space == PTX_SHARED) {
            *bits += (uint64_t)shared_place(
                decoder, variable, &function_places(decoder, function)[operand->index], special);
            return true;
        }
        if (variable->space == PTX_LOCAL || variable->space == PTX_PARAM) {
            *bits += (uint64_t)local_place(decoder, operand->index);
            return true;
        }
        return err_set(err, ERR_USER, "unsupported: line %d: variable '%s' inside a function",
                       variable->line, variable->name);
    }
    if (operand->symbol == PTX_SYMBOL_PARAM && decoder->frame->caller == NULL) {
        *bits += MEMORY_PARAM + (uint64_t)decoder->params[operand->index];
        return true;
    }
    if (operand->symbol == PTX_SYMBOL_MODULE) {
        const struct ptx_variable *variable = &decoder->module->variables[operand->index];
        if (variable->space == PTX_SHARED) {
            *bits += (uint64_t)shared_place(decoder, variable, &decoder->shared[operand->index],
                                            special);
            return true;
        }
        if ((variable->space == PTX_GLOBAL || variable->space == PTX_CONST) &&
            !variable->addresses) {
            decoder->uses_variables = true;
            *special = SPECIAL_VARIABLE + operand->index;
            return true;
        }
    }
    return err_set(err, ERR_USER,
                   "unsupported: line %d: '%s' is not a variable whose address is "
                   "known",
                   decoder->text->line, operand->name);
}

static uint64_t float_bits(const struct ptx_operand *operand, enum ptx_type type)
{
    uint64_t bits = operand->bits;
    double wide;
    float narrow;
    uint32_t low = (uint32_t)bits;
    if (operand->wide && ptx_type_bytes(type) == 4) {
        memcpy(&wide, &bits, sizeof wide);
        narrow = (float)wide;
        memcpy(&low, &narrow, sizeof low);
        return low;
    }
    if (!operand->wide && type == PTX_F64) {
        memcpy(&narrow, &low, sizeof narrow);
        wide = (double)narrow;
        memcpy(&bits, &wide, sizeof bits);
    }
    return bits;
}

bool operand_literal(const struct ptx_operand *operand, uint64_t *bits)
{
    *bits = operand->bits;
    return operand->kind == PTX_OPERAND_INTEGER;
}

static bool misfit(struct decoder *decoder, enum ptx_type type, struct err *err)
{
    return err_set(err, ERR_USER, "unsupported: line %d: '%s': an operand is not of type .%s",
                   decoder->text->line, decoder->text->opcode, ptx_type_name(type));
}

static bool literal_slot(struct decoder *decoder, const struct ptx_operand *operand,
                         enum ptx_type type, uint32_t *slot, struct err *err)
{
    unsigned bytes = (unsigned)ptx_type_bytes(type);
    uint64_t bits = operand->bits;
    if (bytes == 1) {
        bytes = 2; /* bytes are kept in 16 bits */
    }
    if (operand->kind == PTX_OPERAND_FLOAT) {
        if (bytes < 4 || bytes > 8) {
            return misfit(decoder, type, err);
        }
        bits = float_bits(operand, type);
    } else if (bytes < 8) {
        uint64_t above = bits >> (8 * bytes - 1);
        if (bits >> 8 * bytes != 0 && above != UINT64_MAX >> (8 * bytes - 1)) {
            return misfit(decoder, type, err);
        }
    }
    *slot = constant_slot(decoder, bytes, bits, -1);
    return true;
}

/* The unit may keep the slot where we cannot see it: the register is alive here in any case. */
static void touched_add(struct decoder *decoder, int cell)
{
    if (decoder->second || !decoder->watching) {
        return;
    }
    if (decoder->touched_count == decoder->touched_room) {
        decoder->touched_room = decoder->touched_room == 0 ? 256 : decoder->touched_room * 2;
        decoder->touched =
            xrealloc(decoder->touched, (size_t)decoder->touched_room * sizeof *decoder->touched);
    }
    decoder->touched[decoder->touched_count++] = (struct touched){-1, cell};
}

static int register_cell(struct decoder *decoder, int reg)
{
    int32_t *cell = &decoder->frame->cells[reg];
    if (*cell < 0) {
        enum ptx_type type = decoder->frame->function->registers[reg];
        *cell =
            type == PTX_PRED
                ? decoder->predicate_count++
                : cell_new(decoder, ptx_type_bytes(type) == 1 ? 2 : (unsigned)ptx_type_bytes(type));
    }
    if (decoder->frame->function->registers[reg] != PTX_PRED) {
        touched_add(decoder, *cell);
    }
    return *cell;
}

/* The slot of the constant, as the mov would have left it. */
static bool fixed_slot(struct decoder *decoder, const struct ptx_operand *operand, uint32_t *slot,
                       struct err *err)
{
    const struct ptx_instruction *mov = decoder->frame->fixed[operand->reg];
    enum ptx_type type = PTX_B32;
    ptx_type_find(mov->parts[1], &type);
    return decode_slot(decoder, &mov->operands[1], type, slot, err);
}

static bool register_slot(struct decoder *decoder, const struct ptx_operand *operand,
                          enum ptx_type type, uint32_t *slot, struct err *err)
{
    enum ptx_type own = decoder->frame->function->registers[operand->reg];
    int bytes = ptx_type_bytes(type);
    bool fits = (own == PTX_PRED) == (type == PTX_PRED) &&
                (ptx_type_bytes(own) == bytes || (bytes == 1 && ptx_type_bytes(own) == 2));
    if (!fits) {
        return misfit(decoder, type, err);
    }
    if (decoder->frame->fixed[operand->reg] != NULL) {
        return fixed_slot(decoder, operand, slot, err);
    }
    int cell = register_cell(decoder, operand->reg);
    *slot = own == PTX_PRED ? predicate_slot(decoder, cell) : cell_slot(decoder, cell);
    return true;
}

bool decode_slot(struct decoder *decoder, const struct ptx_operand *operand, enum ptx_type type,
                 uint32_t *slot, struct err *err)
{
    uint64_t bits;
    int special;
    switch (operand->kind) {
    case PTX_OPERAND_REGISTER: return register_slot(decoder, operand, type, slot, err);
    case PTX_OPERAND_INTEGER:
    case PTX_OPERAND_FLOAT:
        if (type == PTX_PRED) {
            break;
        }
        return literal_slot(decoder, operand, type, slot, err);
    case PTX_OPERAND_SPECIAL:
        return special_slot(decoder, operand->name, (unsigned)ptx_type_bytes(type), slot, err);
    case PTX_OPERAND_SYMBOL:
        if (type == PTX_PRED || ptx_type_bytes(type) < 4 || ptx_type_bytes(type) > 8) {
            break;
        }
        if (!symbol_value(decoder, operand, &bits, &special, err)) {
            return false;
        }
        *slot = constant_slot(decoder, (unsigned)ptx_type_bytes(type), bits, special);
        return true;
    case PTX_OPERAND_SINK: *slot = SLOT_NONE; return true;
    case PTX_OPERAND_ADDRESS:
    case PTX_OPERAND_VECTOR: break;
    }
    return misfit(decoder, type, err);
}

bool decode_slots(struct decoder *decoder, const struct ptx_operand *operand, enum ptx_type type,
                  uint32_t *slots, int room, int *count, struct err *err)
{
    const struct ptx_operand *items = operand;
    int number = 1;
    if (operand->kind == PTX_OPERAND_VECTOR) {
        items = operand->items;
        number = operand->count;
    }
    if (number > room) {
        return unsupported(decoder->text, err, "a vector is too long");
    }
    for (int i = 0; i < number; i++) {
        if (!decode_slot(decoder, &items[i], type, &slots[i], err)) {
            return false;
        }
    }
    *count = number;
    return true;
}

bool decode_wide_slot(struct decoder *decoder, const struct ptx_operand *operand,
                      enum ptx_type type, uint32_t *slot, unsigned *bytes, struct err *err)
{
    *bytes = (unsigned)ptx_type_bytes(type);
    if (operand->kind == PTX_OPERAND_REGISTER) {
        enum ptx_type own = decoder->frame->function->registers[operand->reg];
        unsigned width = (unsigned)ptx_type_bytes(own);
        if (own != PTX_PRED && width >= *bytes) {
            *bytes = width < 2 ? 2 : width;
            if (decoder->frame->fixed[operand->reg] != NULL) {
                return fixed_slot(decoder, operand, slot, err);
            }
            *slot = cell_slot(decoder, register_cell(decoder, operand->reg));
            return true;
        }
    }
    if (*bytes < 2) {
        *bytes = 2;
    }
    return decode_slot(decoder, operand, type, slot, err);
}

uint32_t decode_predicate(struct decoder *decoder, const struct ptx_operand *operand, bool *negated)
{
    *negated = operand->negated;
    if (operand->kind != PTX_OPERAND_REGISTER ||
        decoder->frame->function->registers[operand->reg] != PTX_PRED) {
        return SLOT_NONE;
    }
    return predicate_slot(decoder, register_cell(decoder, operand->reg));
}

/* The same value in 64 bits: an op of its own widens what is in a register of 32. */
static uint32_t widened(struct decoder *decoder, uint32_t slot)
{
    struct op op = {.run = alu_find("widen", PTX_U32, "64"), .class = CLASS_CONTROL};
    int cell = cell_new(decoder, 8);
    uint32_t wide = cell_slot(decoder, cell);
    touched_add(decoder, cell);
    op_set_dst(decoder, &op, &wide, 1);
    op_set_src(decoder, &op, &slot, 1);
    decode_emit(decoder, &op);
    return wide;
}

bool decode_address(struct decoder *decoder, const struct ptx_operand *operand, uint32_t *slot,
                    int64_t *offset, struct err *err)
{
    uint64_t bits;
    int special;
    if (operand->kind != PTX_OPERAND_ADDRESS) {
        return unsupported(decoder->text, err, "an address in [ ] is expected");
    }
    const struct ptx_operand *base = &operand->items[0];
    *offset = operand->offset;
    if (fixed_value(decoder, base)->kind == PTX_OPERAND_SYMBOL) {
        base = fixed_value(decoder, base); /* no need to widen it each time */
    }
    if (base->kind == PTX_OPERAND_REGISTER) {
        enum ptx_type type = decoder->frame->function->registers[base->reg];
        if (type == PTX_PRED || ptx_type_bytes(type) < 4 || ptx_type_bytes(type) > 8) {
            return misfit(decoder, PTX_B64, err);
        }
        if (decoder->frame->fixed[base->reg] == NULL) {
            *slot = cell_slot(decoder, register_cell(decoder, base->reg));
        } else if (!fixed_slot(decoder, base, slot, err)) {
            return false;
        }
        if (ptx_type_bytes(type) == 4) {
            *slot = widened(decoder, *slot);
        }
        return true;
    }
    if (base->kind == PTX_OPERAND_SYMBOL) {
        if (!symbol_value(decoder, base, &bits, &special, err)) {
            return false;
        }
        *slot = constant_slot(decoder, 8, bits, special);
        return true;
    }
    if (base->kind == PTX_OPERAND_INTEGER) {
        *slot = constant_slot(decoder, 8, base->bits, -1);
        return true;
    }
    return unsupported(decoder->text, err, "an address has no base that is known");
}

enum param_place decode_param(struct decoder *decoder, const struct ptx_operand *address,
                              int64_t *offset)
{
    const struct ptx_operand *base = &address->items[0];
    if (base->kind != PTX_OPERAND_SYMBOL) {
        return PARAM_NONE;
    }
    *offset = address->offset;
    if (base->symbol == PTX_SYMBOL_PARAM) {
        bool entry = decoder->frame->caller == NULL;
        *offset += entry ? decoder->params[base->index] : decoder->frame->params[base->index];
        return entry ? PARAM_ENTRY : PARAM_LOCAL;
    }
    if (base->symbol == PTX_SYMBOL_RETURN && decoder->frame->caller != NULL) {
        *offset += decoder->frame->returns[base->index];
        return PARAM_LOCAL;
    }
    if (base->symbol == PTX_SYMBOL_VARIABLE &&
        decoder->frame->function->variables[base->index].space == PTX_PARAM) {
        *offset += local_place(decoder, base->index);
        return PARAM_LOCAL;
    }
    return PARAM_NONE;
}

/* ---- control flow ---- */

struct fixups {
    struct fixup *all;
    int count, room;
};

static void fixup_add(struct fixups *fixups, int op, int label, int entry)
{
    if (fixups->count == fixups->room) {
        fixups->room = fixups->room == 0 ? 64 : fixups->room * 2;
        fixups->all = xrealloc(fixups->all, (size_t)fixups->room * sizeof *fixups->all);
    }
    fixups->all[fixups->count++] = (struct fixup){op, label, entry};
}

enum { LABEL_END = -1 }; /* of a fixup: behind the function's last op */

static bool branch(struct decoder *decoder, struct op *op, struct fixups *fixups, struct err *err)
{
    const struct ptx_instruction *text = decoder->text;
    if (text->operand_count != 1 || text->operands[0].symbol != PTX_SYMBOL_LABEL) {
        return unsupported(text, err, "the target is not a label of this function");
    }
    op->run = control_branch;
    fixup_add(fixups, decoder->op_count, text->operands[0].index, -1);
    return true;
}

static bool branch_indexed(struct decoder *decoder, struct op *op, struct fixups *fixups,
                           struct err *err)
{
    const struct ptx_instruction *text = decoder->text;
    uint32_t slot;
    if (text->operand_count != 2 || text->operands[1].symbol != PTX_SYMBOL_TABLE) {
        return unsupported(text, err, "the second operand is not a table of labels");
    }
    if (!decode_slot(decoder, &text->operands[0], PTX_U32, &slot, err)) {
        return false;
    }
    const struct ptx_table *table = &decoder->frame->function->tables[text->operands[1].index];
    struct branch_table *made = decode_alloc(decoder, sizeof *made);
    made->targets = decode_alloc(decoder, (size_t)table->count * sizeof *made->targets + 1);
    made->count = table->count;
    for (int i = 0; i < table->count; i++) {
        if (table->targets[i].symbol != PTX_SYMBOL_LABEL) {
            return unsupported(text, err, "its table names what is not a label");
        }
        fixup_add(fixups, decoder->op_count, table->targets[i].index, i);
    }
    op_set_src(decoder, op, &slot, 1);
    op->run = control_branch_table;
    op->extra = made;
    return true;
}

static bool function_walk(struct decoder *decoder, struct frame *frame, struct err *err);

/* The local memory of the variables that a call passes. */
static bool call_places(struct decoder *decoder, const struct ptx_operand *list, int count,
                        int64_t **places, struct err *err)
{
    int given = list == NULL ? 0 : list->count;
    *places = decode_alloc(decoder, (size_t)(count + 1) * sizeof **places);
    if (given != count) {
        return unsupported(decoder->text, err, "the number of arguments is not the function's");
    }
    for (int i = 0; i < count; i++) {
        struct ptx_operand address = {.items = &list->items[i]};
        if (decode_param(decoder, &address, &(*places)[i]) != PARAM_LOCAL) {
            return unsupported(decoder->text, err, "an argument is not a .param variable");
        }
    }
    return true;
}

/* call [(returns),] function [, (arguments)] [, prototype] */
static bool call(struct decoder *decoder, struct op *op, bool *inlined, struct err *err)
{
    const struct ptx_instruction *text = decoder->text;
    const struct ptx_operand *returns = NULL, *arguments = NULL, *name = NULL;
    int64_t *return_places, *param_places;
    for (int i = 0; i < text->operand_count; i++) {
        const struct ptx_operand *operand = &text->operands[i];
        if (operand->kind == PTX_OPERAND_VECTOR && name == NULL) {
            returns = operand;
        } else if (operand->kind == PTX_OPERAND_VECTOR) {
            arguments = operand;
        } else if (name == NULL) {
            name = operand;
        }
    }
    if (name == NULL || name->symbol != PTX_SYMBOL_FUNCTION) {
        return unsupported(text, err, "only functions of the module are called");
    }
    const struct ptx_function *function = &decoder->module->functions[name->index];
    if (strcmp(function->name, "__assertfail") == 0) {
        op->run = control_trap;
        return true;
    }
    char why[200];
    snprintf(why, sizeof why, "function '%.120s' has no body here", function->name);
    if (function->external || function->entry) {
        return unsupported(text, err, why);
    }
    if (text->guard >= 0) {
        return unsupported(text, err, "a guarded call");
    }
    if (decoder->frame->depth == CALL_DEPTH_MAX) {
        return unsupported(text, err, "calls are nested too deep");
    }
    if (!call_places(decoder, returns, function->return_count, &return_places, err) ||
        !call_places(decoder, arguments, function->param_count, &param_places, err)) {
        return false;
    }
    struct frame frame = {.function = function,
                          .caller = decoder->frame,
                          .params = param_places,
                          .returns = return_places,
                          .depth = decoder->frame->depth + 1};
    *inlined = true;
    return function_walk(decoder, &frame, err);
}

static bool sleep_for(struct decoder *decoder, struct op *op, struct err *err)
{
    const struct ptx_instruction *text = decoder->text;
    uint32_t slot;

    if (text->operand_count != 1) {
        return unsupported(text, err, "one operand says how long");
    }
    if (!decode_slot(decoder, &text->operands[0], PTX_U32, &slot, err)) {
        return false;
    }
    op_set_src(decoder, op, &slot, 1);
    op->run = control_sleep;
    return true;
}

static bool control(struct decoder *decoder, struct op *op, struct fixups *fixups, bool *inlined,
                    struct err *err)
{
    static const char *const nothing[] = {"pmevent", "griddepcontrol"};
    const struct ptx_instruction *text = decoder->text;
    const char *name = text->parts[0];
    op->class = CLASS_CONTROL;
    if (strcmp(name, "bra") == 0) {
        return branch(decoder, op, fixups, err);
    }
    if (strcmp(name, "brx") == 0 && instruction_has(text, "idx")) {
        return branch_indexed(decoder, op, fixups, err);
    }
    if (strcmp(name, "call") == 0) {
        return call(decoder, op, inlined, err);
    }
    if (strcmp(name, "exit") == 0 || (strcmp(name, "ret") == 0 && decoder->frame->caller == NULL)) {
        op->run = control_exit;
        return true;
    }
    if (strcmp(name, "ret") == 0) {
        op->run = control_branch;
        fixup_add(fixups, decoder->op_count, LABEL_END, -1);
        return true;
    }
    if (strcmp(name, "nanosleep") == 0) {
        return sleep_for(decoder, op, err);
    }
    if (strcmp(name, "trap") == 0 || strcmp(name, "brkpt") == 0) {
        op->run = control_trap;
        return true;
    }
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) {
        if (strcmp(name, nothing[i]) == 0) {
            op->run = control_nothing;
            return true;
        }
    }
    return false;
}

/* ---- walking ---- */

/* A unit's "unsupported: …" gets the line that only we know. */
static bool located(struct decoder *decoder, struct err *err)
{
    static const char start[] = "unsupported: ";
    char rest[sizeof err->what];
    if (strncmp(err->what, start, sizeof start - 1) == 0 &&
        strncmp(err->what + sizeof start - 1, "line ", 5) != 0) {
        snprintf(rest, sizeof rest, "%s", err->what + sizeof start - 1);
        return err_set(err, ERR_USER, "unsupported: line %d: %s", decoder->text->line, rest);
    }
    return false;
}

typedef bool decode_function(struct decoder *, const struct ptx_instruction *, struct op *,
                             struct err *);

static bool instruction_decode(struct decoder *decoder, struct op *op, struct fixups *fixups,
                               bool *inlined, struct err *err)
{
    static decode_function *const by[] = {alu_decode, access_decode, collective_decode,
                                          async_decode, tensor_decode};
    if (control(decoder, op, fixups, inlined, err)) {
        return true;
    }
    for (size_t i = 0; i < sizeof by / sizeof *by && err->kind == ERR_NONE; i++) {
        decoder->watching = by[i] == async_decode || by[i] == tensor_decode;
        bool done = by[i](decoder, decoder->text, op, err);
        decoder->watching = false;
        if (done) {
            return true;
        }
    }
    if (err->kind == ERR_NONE) {
        return unsupported(decoder->text, err, "");
    }
    return located(decoder, err);
}

static bool instruction_walk(struct decoder *decoder, struct fixups *fixups, struct err *err)
{
    const struct ptx_instruction *text = decoder->text;
    struct op op = {.guard = SLOT_NONE, .class = CLASS_OTHER};
    bool inlined = false;
    decoder->after_count = 0;
    if (text->operand_count > 0 && text->operands[0].kind == PTX_OPERAND_REGISTER &&
        decoder->frame->fixed[text->operands[0].reg] == text) {
        uint32_t ignored;
        return fixed_slot(decoder, &text->operands[0], &ignored, err);
    }
    if (text->guard >= 0) {
        op.guard = predicate_slot(decoder, register_cell(decoder, text->guard));
        op.guard_negated = text->guard_negated;
    }
    uint32_t guard = op.guard;
    int touched = decoder->touched_count;
    if (!instruction_decode(decoder, &op, fixups, &inlined, err)) {
        return false;
    }
    decoder->text = text;
    if (!inlined) {
        for (; touched < decoder->touched_count; touched++) {
            decoder->touched[touched].op = decoder->op_count;
        }
        op_append(decoder, &op);
    }
    for (int i = 0; i < decoder->after_count; i++) {
        decoder->after[i].guard = guard;
        decoder->after[i].guard_negated = text->guard_negated;
        op_append(decoder, &decoder->after[i]);
    }
    if (decoder->op_count > PROGRAM_OPS_MAX) {
        return unsupported(text, err, "the program is too long");
    }
    return true;
}

static void fixups_apply(struct decoder *decoder, const struct frame *frame,
                         const struct fixups *fixups)
{
    for (int i = 0; i < fixups->count; i++) {
        const struct fixup *fixup = &fixups->all[i];
        struct op *op = &decoder->ops[fixup->op];
        int at = fixup->label == LABEL_END ? frame->function->instruction_count
                                           : frame->function->labels[fixup->label].at;
        if (fixup->entry < 0) {
            op->target = frame->starts[at];
        } else {
            const struct branch_table *table = op->extra;
            ((int32_t *)(uintptr_t)table->targets)[fixup->entry] = frame->starts[at];
        }
    }
}

static bool function_walk(struct decoder *decoder, struct frame *frame, struct err *err)
{
    const struct ptx_function *function = frame->function;
    size_t registers = (size_t)function->register_count, locals = (size_t)function->variable_count;
    struct fixups fixups = {0};
    bool done = false;
    frame->cells = xmalloc(registers * sizeof *frame->cells + 1);
    memset(frame->cells, 0xff, registers * sizeof *frame->cells);
    frame->locals = xmalloc(locals * sizeof *frame->locals + 1);
    memset(frame->locals, 0xff, locals * sizeof *frame->locals);
    frame->starts = xmalloc(((size_t)function->instruction_count + 1) * sizeof *frame->starts);
    frame->fixed = xcalloc(registers + 1, sizeof *frame->fixed);
    fixed_find(function, frame->fixed);
    decoder->frame = frame;
    for (int i = 0; i < function->instruction_count; i++) {
        frame->starts[i] = decoder->op_count;
        decoder->text = &function->instructions[i];
        if (!instruction_walk(decoder, &fixups, err)) {
            goto out;
        }
        decoder->frame = frame;
    }
    frame->starts[function->instruction_count] = decoder->op_count;
    if (decoder->local_bytes > LOCAL_BYTES_MAX || decoder->static_bytes > SHARED_STATIC_MAX) {
        err_set(err, ERR_USER, "unsupported: '%s' has more local or shared memory than there is",
                function->name);
        goto out;
    }
    if (frame->caller == NULL) { /* whoever falls off the end has ended */
        struct op end = {.run = control_exit, .guard = SLOT_NONE, .class = CLASS_CONTROL};
        op_append(decoder, &end);
    }
    fixups_apply(decoder, frame, &fixups);
    done = true;
out:
    free(frame->cells);
    free(frame->locals);
    free(frame->starts);
    free(frame->fixed);
    free(fixups.all);
    decoder->frame = frame->caller;
    return done;
}

/* ---- places of cells ---- */

static bool cells_settle(struct decoder *decoder, struct err *err)
{
    uint64_t top =
        cells_place(&(struct cells){decoder->ops, decoder->op_count, decoder->cells,
                                    decoder->cell_count, decoder->touched, decoder->touched_count});
    uint64_t all = top + (uint64_t)decoder->predicate_count * 64;
    if (all > REGISTER_FILE_MAX) {
        return err_set(err, ERR_USER, "unsupported: '%s' needs %llu bytes of registers a warp",
                       decoder->entry->name, (unsigned long long)all);
    }
    decoder->program->predicate_shadow = (uint32_t)top;
    decoder->program->register_bytes = (uint32_t)all;
    decoder->program->predicate_count = (uint32_t)decoder->predicate_count;
    return true;
}

/* ---- both walks ---- */

static bool params_place(struct decoder *decoder, struct err *err)
{
    const struct ptx_function *function = decoder->entry;
    int64_t at = 0;
    decoder->params = xmalloc((size_t)(function->param_count + 1) * sizeof *decoder->params);
    for (int i = 0; i < function->param_count; i++) {
        at = align_up(at, function->params[i].align);
        decoder->params[i] = at;
        at += function->params[i].bytes;
        if (at > PARAM_BYTES_MAX) {
            return err_set(err, ERR_USER, "unsupported: '%s' has more than %d bytes of parameters",
                           function->name, PARAM_BYTES_MAX);
        }
    }
    decoder->program->param_bytes = at;
    return true;
}

static bool walk(struct decoder *decoder, struct arena *arena, struct err *err)
{
    struct frame frame = {.function = decoder->entry};
    decoder->arena = arena;
    decoder->op_count = 0;
    decoder->cell_count = 0;
    decoder->predicate_count = 0;
    decoder->carry = -1;
    decoder->local_bytes = 0;
    decoder->constant_count = 0;
    decoder->touched_count = 0;
    if (decoder->constant_room > 0) {
        memset(decoder->constants, 0xff,
               (size_t)decoder->constant_room * sizeof *decoder->constants);
    }
    return function_walk(decoder, &frame, err);
}

static void shadow_list(const struct decoder *decoder, const uint32_t *slots, int count,
                        const uint32_t **list, uint16_t *list_count, uint32_t guard)
{
    uint32_t *made = arena_alloc(decoder->arena, ((size_t)count + 1) * sizeof *made);
    int n = 0;
    for (int i = 0; i <= count; i++) {
        uint32_t slot = i < count ? slots[i] : guard;
        if (slot == SLOT_NONE) {
            continue;
        }
        if (slot & PREDICATE) {
            made[n++] = decoder->program->predicate_shadow + 64 * (slot & ~(uint32_t)PREDICATE);
        } else if (!decoder->cells[slot].constant) {
            made[n++] = decoder->cells[slot].slot;
        }
    }
    *list = made;
    *list_count = (uint16_t)n;
}

/* What each op reads and writes, as the first walk saw it. */
static void registers_keep(struct decoder *decoder)
{
    struct op_registers *list =
        arena_alloc(decoder->arena, (size_t)decoder->op_count * sizeof *list);
    for (int i = 0; i < decoder->op_count; i++) {
        const struct op *op = &decoder->ops[i];
        shadow_list(decoder, op->src, op->src_count, &list[i].reads, &list[i].read_count,
                    op->guard);
        shadow_list(decoder, op->dst, op->dst_count, &list[i].writes, &list[i].write_count,
                    SLOT_NONE);
    }
    decoder->program->op_registers = list;
}

static void poisoned_keep(struct decoder *decoder)
{
    struct constant_slot *list =
        arena_alloc(decoder->arena, ((size_t)decoder->cell_count + 1) * sizeof *list);
    int n = 0;
    for (int i = 0; i < decoder->cell_count; i++) {
        const struct cell *cell = &decoder->cells[i];
        if (cell->open) {
            list[n++] =
                (struct constant_slot){.slot = cell->slot, .bytes = cell->bytes, .special = -1};
        }
    }
    decoder->program->poisoned = list;
    decoder->program->poisoned_count = n;
}

static void constants_keep(struct decoder *decoder)
{
    struct constant_slot *list =
        arena_alloc(decoder->arena, ((size_t)decoder->constant_count + 1) * sizeof *list);
    int n = 0;
    for (int i = 0; i < decoder->cell_count; i++) {
        const struct cell *cell = &decoder->cells[i];
        if (cell->constant) {
            bool base = cell->special == SPECIAL_DYNAMIC_BASE;
            list[n++] = (struct constant_slot){
                .slot = cell->slot,
                .bytes = cell->bytes,
                .bits = cell->bits + (base ? (uint64_t)decoder->dynamic_offset : 0),
                .special = base ? SPECIAL_SHARED : cell->special,
            };
        }
    }
    decoder->program->constants = list;
    decoder->program->constant_count = n;
}

/* `_ZZ4scanE4tile` is how a compiler calls the variable tile of scan. */
static const char *plain_name(const char *mangled)
{
    const char *at = strncmp(mangled, "_ZZ", 3) == 0 ? strrchr(mangled, 'E') : NULL;
    size_t length = strlen(mangled);
    while (at != NULL && at > mangled) {
        char *name;
        unsigned long letters = strtoul(at + 1, &name, 10);
        if (*at == 'E' && name > at + 1 && letters > 0 && letters == strlen(name)) {
            return name;
        }
        at--;
    }
    return length < 64 ? mangled : "shared";
}

static void shared_variables_add(struct decoder *decoder, const struct ptx_variable *variables,
                                 const int64_t *places, int count, struct shared_variable *to)
{
    struct code *program = decoder->program;
    for (int i = 0; places != NULL && i < count; i++) {
        if (variables[i].space == PTX_SHARED && variables[i].bytes > 0 && places[i] >= 0) {
            to[program->shared_variable_count++] = (struct shared_variable){
                arena_dup(decoder->arena, plain_name(variables[i].name)), places[i],
                variables[i].bytes};
        }
    }
}

static void shared_variables_keep(struct decoder *decoder)
{
    const struct ptx_module *module = decoder->module;
    size_t most = (size_t)module->variable_count;
    for (int i = 0; i < module->function_count; i++) {
        most += decoder->shared_in[i] != NULL ? (size_t)module->functions[i].variable_count : 0;
    }
    struct shared_variable *all = arena_alloc(decoder->arena, most * sizeof *all);
    shared_variables_add(decoder, module->variables, decoder->shared, module->variable_count, all);
    for (int i = 0; i < module->function_count; i++) {
        shared_variables_add(decoder, module->functions[i].variables, decoder->shared_in[i],
                             module->functions[i].variable_count, all);
    }
    decoder->program->shared_variables = all;
}

static void program_fill(struct decoder *decoder)
{
    struct code *program = decoder->program;
    program->function = decoder->entry;
    program->module = decoder->module;
    program->ops =
        arena_copy(decoder->arena, decoder->ops, (size_t)decoder->op_count * sizeof *decoder->ops);
    program->op_count = decoder->op_count;
    program->shared_bytes = decoder->static_bytes;
    program->dynamic_offset = decoder->dynamic_offset;
    program->local_bytes = align_up(decoder->local_bytes, 16);
    program->uses_variables = decoder->uses_variables;
    constants_keep(decoder);
    poisoned_keep(decoder);
    shared_variables_keep(decoder);
}

static void decoder_free(struct decoder *decoder)
{
    for (int i = 0; decoder->shared_in != NULL && i < decoder->module->function_count; i++) {
        free(decoder->shared_in[i]);
    }
    free(decoder->shared_in);
    free(decoder->shared);
    free(decoder->params);
    free(decoder->touched);
    free(decoder->ops);
    free(decoder->cells);
    free(decoder->constants);
}

/*
 * Compilers widen loads over gaps: of a vector's registers some may never be read, and what they
 * load is of no matter, initialised or not. A bit for each such register of each load, as the first
 * walk saw it: there a slot is still the number of its cell.
 */
static uint64_t *unread_find(const struct decoder *decoder, struct arena *scratch)
{
    uint64_t *unread = arena_alloc(scratch, ((size_t)decoder->op_count + 1) * sizeof *unread);
    bool *read = arena_alloc(scratch, (size_t)decoder->cell_count + 1);
    for (int i = 0; i < decoder->op_count; i++) {
        for (int s = 0; s < decoder->ops[i].src_count; s++) {
            uint32_t slot = decoder->ops[i].src[s];
            if (slot != SLOT_NONE && (slot & PREDICATE) == 0) {
                read[slot] = true;
            }
        }
    }
    for (int i = 0; i < decoder->touched_count; i++) {
        read[decoder->touched[i].cell] = true;
    }
    for (int i = 0; i < decoder->op_count; i++) {
        const struct op *op = &decoder->ops[i];
        bool load = op->class == CLASS_LOAD_SHARED || op->class == CLASS_LOAD_GLOBAL ||
                    op->class == CLASS_LOCAL;
        for (int d = 0; load && op->vector > 1 && d < op->dst_count && d < 64; d++) {
            uint32_t slot = op->dst[d];
            if (slot != SLOT_NONE && (slot & PREDICATE) == 0 && !read[slot]) {
                unread[i] |= UINT64_C(1) << d;
            }
        }
    }
    return unread;
}

static void unread_drop(struct decoder *decoder, struct arena *arena, const uint64_t *unread)
{
    for (int i = 0; i < decoder->op_count; i++) {
        struct op *op = &decoder->ops[i];
        if (unread[i] == 0) {
            continue;
        }
        uint32_t *dst = arena_copy(arena, op->dst, op->dst_count * sizeof *dst);
        for (int d = 0; d < op->dst_count && d < 64; d++) {
            dst[d] = unread[i] >> d & 1 ? SLOT_NONE : dst[d];
        }
        op->dst = dst;
    }
}

static bool both_walks(struct decoder *decoder, struct arena *arena, struct arena *scratch,
                       struct err *err)
{
    if (!params_place(decoder, err) || !walk(decoder, scratch, err)) {
        return false;
    }
    int ops = decoder->op_count, cells = decoder->cell_count;
    decoder->dynamic_offset = align_up(decoder->static_bytes, decoder->dynamic_align);
    decoder->arena = arena;
    if (!cells_settle(decoder, err)) {
        return false;
    }
    registers_keep(decoder);
    const uint64_t *unread = unread_find(decoder, scratch);
    decoder->second = true;
    if (!walk(decoder, arena, err)) {
        return false;
    }
    assert(decoder->op_count == ops && decoder->cell_count == cells);
    unread_drop(decoder, arena, unread);
    program_fill(decoder);
    return true;
}

bool program_decode(struct arena *arena, const struct ptx_module *module, const char *entry,
                    struct code **program, struct err *err)
{
    struct decoder decoder = {.module = module, .dynamic_align = 16};
    *program = NULL;
    *err = (struct err){0};
    for (int i = 0; i < module->function_count; i++) {
        if (module->functions[i].entry && !module->functions[i].external &&
            strcmp(module->functions[i].name, entry) == 0) {
            decoder.entry = &module->functions[i];
        }
    }
    if (decoder.entry == NULL) {
        return err_set(err, ERR_USER, "the module has no entry '%s'", entry);
    }
    struct arena *scratch = arena_new();
    size_t places = (size_t)module->variable_count * sizeof *decoder.shared;
    decoder.program = arena_alloc(arena, sizeof *decoder.program);
    decoder.shared = xmalloc(places + 1);
    memset(decoder.shared, 0xff, places);
    decoder.shared_in = xcalloc((size_t)module->function_count, sizeof *decoder.shared_in);
    bool done = both_walks(&decoder, arena, scratch, err);
    if (done) {
        *program = decoder.program;
    }
    decoder_free(&decoder);
    arena_free(scratch);
    return done;
}
