/*
 * The tensor unit's front: which opcodes it knows, what its instructions share, and the
 * instructions that move matrices: ldmatrix, stmatrix, movmatrix. Products are in tensor_mma.c and
 * tensor_wgmma.c.
 */
#include "fitness/emu/tensor.h"

#include <string.h>

#include "fitness/emu/profile.h"

/* ---- shared by the instructions ---- */

bool tensor_unsupported(const struct ptx_instruction *text, struct err *err, const char *why)
{
    return err_set(err, ERR_USER, "unsupported: line %d: '%s': %s", text->line, text->opcode, why);
}

bool tensor_registers(struct decoder *decoder, const struct ptx_instruction *text, int index,
                      int count, uint32_t **next, int *found, struct err *err)
{
    int got = 0;
    if (index >= text->operand_count) {
        return tensor_unsupported(text, err, "it has too few operands");
    }
    if (!decode_slots(decoder, &text->operands[index], PTX_B32, *next,
                      count > 0 ? count : PTX_VECTOR_MAX, &got, err)) {
        return false;
    }
    if (count > 0 && got != count) {
        return tensor_unsupported(text, err, "a fragment has another number of registers");
    }
    *next += got;
    if (found != NULL) {
        *found = got;
    }
    return true;
}

const uint32_t *tensor_keep(struct decoder *decoder, const uint32_t *slots, size_t count)
{
    uint32_t *kept = decode_alloc(decoder, count * sizeof *slots);
    memcpy(kept, slots, count * sizeof *slots);
    return kept;
}

enum step tensor_whole_warp(struct warp *warp, const struct op *op, lanes active)
{
    if (active == ALL_LANES) {
        return STEP_NEXT;
    }
    finding_add(warp, op, FINDING_BARRIER, -1, 0, NULL,
                "'%s' is an instruction of a whole warp, but lanes %08x execute it",
                op->text->opcode, active);
    return STEP_FAULT;
}

bool tensor_unwatched(const struct warp *warp)
{
    return (warp->machine->launch->sanitize & ~(unsigned)SANITIZE_BOUNDS) == 0;
}

uint8_t *tensor_span(struct warp *warp, const struct op *op, int lane, uint64_t address,
                     uint64_t bytes, bool write, enum step *step)
{
    const struct block *block = warp->block;
    const uint64_t end = (uint64_t)block->shared_bytes;
    if (op->space == SPACE_SHARED && tensor_unwatched(warp) && bytes <= end &&
        address <= end - bytes) {
        return block->shared + address;
    }
    return memory_span(warp, op, lane, address, (enum space)op->space, bytes, write, PROXY_GENERIC,
                       step);
}

/* ---- ldmatrix, stmatrix, movmatrix ---- */

/*
 * Matrices of 8 x 8 halves. The lanes 8 m … 8 m + 7 give the addresses of the rows of matrix m; its
 * register is a block (tensor.h), turned with .trans. mode: matrices, mode2: turned.
 */
static bool row_spans(struct warp *warp, const struct op *op, bool write, uint8_t *rows[LANES],
                      enum step *step)
{
    const int count = op->mode * BLOCK_ROWS;
    uint64_t address[LANES];
    for (int lane = 0; lane < LANES; lane++) {
        address[lane] = reg64(warp, op->src[0])[lane] + (uint64_t)op->immediate;
    }
    profile_access(warp, op, count == LANES ? ALL_LANES : (1u << count) - 1, address,
                   (enum space)op->space, BLOCK_BYTES, write);
    for (int lane = 0; lane < count; lane++) {
        if (address[lane] % BLOCK_BYTES != 0) {
            *step = finding_add(warp, op, FINDING_MISALIGNED, lane, address[lane], NULL,
                                "a row of a matrix at %#llx is not at a multiple of 16 bytes",
                                (unsigned long long)address[lane]);
            return false;
        }
        rows[lane] = tensor_span(warp, op, lane, address[lane], BLOCK_BYTES, write, step);
        if (rows[lane] == NULL) {
            return false;
        }
    }
    return true;
}

static enum step ldmatrix_run(struct warp *warp, const struct op *op, lanes active)
{
    uint8_t *rows[LANES];
    enum step step = tensor_whole_warp(warp, op, active);
    if (step != STEP_NEXT || !row_spans(warp, op, false, rows, &step)) {
        return step;
    }
    for (int matrix = 0; matrix < op->mode; matrix++) {
        uint8_t *to = (uint8_t *)reg32(warp, op->dst[matrix]);
        if (op->mode2 != 0) {
            block_turn((const uint8_t *const *)(rows + matrix * BLOCK_ROWS), 2, to);
            continue;
        }
        for (int row = 0; row < BLOCK_ROWS; row++) {
            memcpy(to + row * BLOCK_BYTES, rows[matrix * BLOCK_ROWS + row], BLOCK_BYTES);
        }
    }
    return STEP_NEXT;
}

/* The rows of a register's block, turned or not, in `block`. */
static void block_of_register(const uint32_t *from, bool turned, uint8_t block[128])
{
    const uint8_t *rows[BLOCK_ROWS];
    for (int row = 0; row < BLOCK_ROWS; row++) {
        rows[row] = (const uint8_t *)from + row * BLOCK_BYTES;
    }
    if (turned) {
        block_turn(rows, 2, block);
    } else {
        memcpy(block, from, 128);
    }
}

static enum step stmatrix_run(struct warp *warp, const struct op *op, lanes active)
{
    uint8_t *rows[LANES], block[128];
    enum step step = tensor_whole_warp(warp, op, active);
    if (step != STEP_NEXT || !row_spans(warp, op, true, rows, &step)) {
        return step;
    }
    for (int matrix = 0; matrix < op->mode; matrix++) {
        block_of_register(reg32(warp, op->src[1 + matrix]), op->mode2 != 0, block);
        for (int row = 0; row < BLOCK_ROWS; row++) {
            memcpy(rows[matrix * BLOCK_ROWS + row], block + row * BLOCK_BYTES, BLOCK_BYTES);
        }
    }
    return STEP_NEXT;
}

static enum step movmatrix_run(struct warp *warp, const struct op *op, lanes active)
{
    uint8_t block[128];
    const enum step step = tensor_whole_warp(warp, op, active);
    if (step == STEP_NEXT) {
        block_of_register(reg32(warp, op->src[0]), true, block);
        memcpy(reg32(warp, op->dst[0]), block, sizeof block);
    }
    return step;
}

static int matrix_count(const struct ptx_instruction *text)
{
    return instruction_has(text, "x1")   ? 1
           : instruction_has(text, "x2") ? 2
           : instruction_has(text, "x4") ? 4
                                         : 0;
}

static bool matrix_decode(struct decoder *decoder, const struct ptx_instruction *text,
                          struct op *op, struct err *err)
{
    const bool load = strcmp(text->parts[0], "ldmatrix") == 0;
    uint32_t slots[5], *next = slots + 1;
    op->mode = matrix_count(text);
    if (!instruction_has(text, "m8n8") || !instruction_has(text, "b16") || op->mode == 0) {
        return tensor_unsupported(text, err, "only matrices of m8n8 and b16 are known");
    }
    if (text->operand_count != 2 ||
        !tensor_registers(decoder, text, load ? 0 : 1, op->mode, &next, NULL, err) ||
        !decode_address(decoder, &text->operands[load ? 1 : 0], slots, &op->immediate, err)) {
        return err->kind != ERR_NONE ? false : tensor_unsupported(text, err, "it has two operands");
    }
    const bool shared = instruction_has(text, "shared") || instruction_has(text, "shared::cta");
    op->mode2 = instruction_has(text, "trans");
    op->space = shared ? SPACE_SHARED : SPACE_GENERIC;
    op->bytes = BLOCK_BYTES;
    op->src = tensor_keep(decoder, slots, 1 + (size_t)op->mode);
    op->src_count = (uint16_t)(load ? 1 : 1 + op->mode);
    op->dst = op->src + 1;
    op->dst_count = (uint16_t)(load ? op->mode : 0);
    op->run = load ? ldmatrix_run : stmatrix_run;
    op->class = load ? CLASS_MATRIX_LOAD : CLASS_STORE_SHARED;
    op->convergent = true;
    return true;
}

static bool movmatrix_decode(struct decoder *decoder, const struct ptx_instruction *text,
                             struct op *op, struct err *err)
{
    uint32_t slots[2], *next = slots;
    if (!instruction_has(text, "m8n8") || !instruction_has(text, "b16") ||
        !instruction_has(text, "trans")) {
        return tensor_unsupported(text, err, "only m8n8.trans.b16 is known");
    }
    if (!tensor_registers(decoder, text, 0, 1, &next, NULL, err) ||
        !tensor_registers(decoder, text, 1, 1, &next, NULL, err)) {
        return false;
    }
    op->dst = tensor_keep(decoder, slots, 2);
    op->src = op->dst + 1;
    op->dst_count = op->src_count = 1;
    op->run = movmatrix_run;
    op->class = CLASS_SHUFFLE;
    op->convergent = true;
    return true;
}

/* ---- which opcode is whose ---- */

bool tensor_decode(struct decoder *decoder, const struct ptx_instruction *text, struct op *op,
                   struct err *err)
{
    static const struct {
        const char *name;
        bool (*decode)(struct decoder *, const struct ptx_instruction *, struct op *, struct err *);
    } opcodes[] = {
        {"ldmatrix", matrix_decode}, {"stmatrix", matrix_decode}, {"movmatrix", movmatrix_decode},
        {"mma", mma_decode},         {"wmma", wmma_decode},       {"wgmma", wgmma_decode},
    };
    for (size_t i = 0; i < sizeof opcodes / sizeof *opcodes; i++) {
        if (strcmp(text->parts[0], opcodes[i].name) == 0) {
            return opcodes[i].decode(decoder, text, op, err);
        }
    }
    return false;
}
