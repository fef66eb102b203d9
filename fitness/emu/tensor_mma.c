/*
 * mma.sync and wmma: products of fragments in registers, and wmma's loads and stores.
 *
 * Both multiply A (rows x depth) by B (depth x 8 panels) as lists of blocks (tensor.h). An
 * instruction is described by `struct product`, filled from one table of shapes.
 */
#include "fitness/emu/tensor.h"

#include <stdlib.h>
#include <string.h>

#include "fitness/emu/profile.h"

/* ---- where blocks are ---- */

enum { SIDE_MAX = 256 }; /* of a shape in an opcode */
enum role { ROLE_A, ROLE_B, ROLE_C };

/* Block `index` of a fragment's list (tensor.h): its first row, and its step along the row. */
static void block_place(enum role role, int rows, int steps, int index, int *row, int *step)
{
    const int downwards = rows / BLOCK_ROWS;
    if (role == ROLE_C) {
        *row = index % downwards * BLOCK_ROWS;
        *step = index / downwards;
    } else if (role == ROLE_B || downwards == 1) {
        *row = index / steps * BLOCK_ROWS;
        *step = index % steps;
    } else {
        *row = (index / (2 * steps) * 2 + index % 2) * BLOCK_ROWS;
        *step = index / 2 % steps;
    }
}

/* ---- the product ---- */

struct product {
    int rows, panels, depth;
    int steps; /* blocks along the depth */
    enum element a, b, c, d;
    int a_first, b_first, c_first; /* where in op->src */
    bool saturate;
};

/* The rows of A from its blocks: in memory, row after row. */
static void gather_a(struct warp *warp, const uint32_t *slots, const struct product *product,
                     uint8_t *to)
{
    const int steps = product->steps, width = steps * BLOCK_BYTES;
    for (int block = 0; block < product->rows / BLOCK_ROWS * steps; block++) {
        const uint8_t *from = (const uint8_t *)reg32(warp, slots[block]);
        int row, step;
        block_place(ROLE_A, product->rows, steps, block, &row, &step);
        for (int i = 0; i < BLOCK_ROWS; i++) {
            memcpy(to + (row + i) * width + step * BLOCK_BYTES, from + i * BLOCK_BYTES,
                   BLOCK_BYTES);
        }
    }
}

/* The panels of B: its blocks hold columns, so they are turned. */
static void gather_b(struct warp *warp, const uint32_t *slots, const struct product *product,
                     uint8_t *to)
{
    const unsigned bytes = element_bytes(product->b);
    for (int block = 0; block < product->panels * product->steps; block++, to += 128) {
        const uint8_t *from = (const uint8_t *)reg32(warp, slots[block]), *columns[BLOCK_ROWS];
        for (int i = 0; i < BLOCK_ROWS; i++) {
            columns[i] = from + i * BLOCK_BYTES;
        }
        block_turn(columns, bytes, to);
    }
}

static int registers_per_block(enum element type) { return type == ELEMENT_F16 ? 1 : 2; }

static enum step product_run(struct warp *warp, const struct op *op, lanes active)
{
    const struct product *product = op->extra;
    const struct numbers *numbers = numbers_best();
    const int rows = product->rows, panels = product->panels, depth = product->depth;
    const int blocks = panels * rows / BLOCK_ROWS;
    _Alignas(64) uint8_t raw[ROWS_MAX * DEPTH_MAX * 2];
    _Alignas(64) double a[ROWS_MAX * DEPTH_MAX], b[4 * DEPTH_MAX * 8], d[256];
    const enum step step = tensor_whole_warp(warp, op, active);
    if (step != STEP_NEXT) {
        return step;
    }
    gather_a(warp, op->src + product->a_first, product, raw);
    numbers->widen(product->a, raw, rows * depth, a);
    gather_b(warp, op->src + product->b_first, product, raw);
    numbers->widen(product->b, raw, panels * depth * 8, b);
    const uint32_t *c = op->src + product->c_first;
    for (int block = 0, each = registers_per_block(product->c); block < blocks; block++) {
        numbers->block_read(product->c, reg32(warp, c[block * each]),
                            reg32(warp, c[block * each + each - 1]), d + block * BLOCK_VALUES);
    }
    numbers->multiply(a, rows, b, panels, depth, d, product->d == ELEMENT_F32);
    numbers_round(product->d, product->saturate, d, blocks * BLOCK_VALUES);
    for (int block = 0, each = registers_per_block(product->d); block < blocks; block++) {
        numbers->block_write(product->d, d + block * BLOCK_VALUES,
                             reg32(warp, op->dst[block * each]),
                             reg32(warp, op->dst[block * each + each - 1]));
    }
    return STEP_NEXT;
}

/* ---- decoding ---- */

/* "m16n8k16": three numbers. */
static bool shape_parse(const char *part, int *m, int *n, int *k)
{
    char *end;
    if (part[0] != 'm') {
        return false;
    }
    *m = (int)strtol(part + 1, &end, 10);
    if (*end != 'n') {
        return false;
    }
    *n = (int)strtol(end + 1, &end, 10);
    if (*end != 'k') {
        return false;
    }
    *k = (int)strtol(end + 1, &end, 10);
    if (*m < 0 || *m > SIDE_MAX || *n < 0 || *n > SIDE_MAX || *k < 0 || *k > SIDE_MAX) {
        *m = *n = *k = 0; /* no such shape is known, and products of these would overflow */
    }
    return *end == '\0';
}

static bool is_integer(enum element type) { return type == ELEMENT_S8 || type == ELEMENT_U8; }

/* Whether the four types go together. */
static bool types_fit(const struct product *p)
{
    if (is_integer(p->a)) {
        return is_integer(p->b) && p->c == ELEMENT_S32 && p->d == ELEMENT_S32;
    }
    if (p->a == ELEMENT_F16) {
        return p->b == ELEMENT_F16 && (p->c == ELEMENT_F16 || p->c == ELEMENT_F32) &&
               (p->d == ELEMENT_F16 || p->d == ELEMENT_F32);
    }
    return (p->a == ELEMENT_BF16 || p->a == ELEMENT_TF32) && p->b == p->a && p->c == ELEMENT_F32 &&
           p->d == ELEMENT_F32;
}

/*
 * Reads shape and types from an opcode's parts: types in the order d, a, b, c, or d, c alone with
 * f16 operands (wmma). False when something is not known.
 */
static bool product_parse(const struct ptx_instruction *text, struct product *product)
{
    enum element types[4];
    int count = 0, n = 0;
    for (int i = 1; i < text->part_count; i++) {
        const enum element type = element_named(text->parts[i]);
        if (type != ELEMENTS) {
            if (count == 4) {
                return false;
            }
            types[count++] = type;
        } else if (shape_parse(text->parts[i], &product->rows, &n, &product->depth)) {
            product->panels = n % 8 == 0 ? n / 8 : 0;
        }
    }
    if (count == 2) {
        types[3] = types[1];
        types[1] = types[2] = ELEMENT_F16;
    } else if (count != 4) {
        return false;
    }
    product->d = types[0], product->a = types[1], product->b = types[2], product->c = types[3];
    product->saturate = instruction_has(text, "satfinite");
    if (!types_fit(product)) {
        return false;
    }
    const int width = product->depth * (int)element_bytes(product->a);
    product->steps = width / BLOCK_BYTES;
    return width % BLOCK_BYTES == 0;
}

static const struct shape {
    int rows, panels, width; /* of a row of A, in bytes */
} mma_shapes[] = {{16, 1, 16}, {16, 1, 32}},
  wmma_shapes[] = {{16, 2, 16}, {16, 2, 32}, {32, 1, 16}, {32, 1, 32}, {8, 4, 16}, {8, 4, 32}};
enum { WMMA_SHAPES = sizeof wmma_shapes / sizeof *wmma_shapes };

static bool shape_known(const struct product *product, const struct shape *shapes, size_t count)
{
    const struct shape *shape = shapes;
    for (; shape < shapes + count; shape++) {
        if (product->rows == shape->rows && product->panels == shape->panels &&
            product->steps * BLOCK_BYTES == shape->width) {
            return true;
        }
    }
    return false;
}

/*
 * Operands are d, a, b, c. A fragment may have more registers than blocks (f16 of wmma): copies,
 * which a load writes and a product does not read.
 */
static bool product_operands(struct decoder *decoder, const struct ptx_instruction *text,
                             struct product *product, struct op *op, struct err *err)
{
    uint32_t slots[4 * PTX_VECTOR_MAX], *next = slots;
    const int blocks = product->rows / BLOCK_ROWS * product->panels;
    const int a = product->rows / BLOCK_ROWS * product->steps;
    const int b = product->panels * product->steps;
    int found[4];
    for (int i = 0; i < 4; i++) {
        if (!tensor_registers(decoder, text, i, 0, &next, &found[i], err)) {
            return false;
        }
    }
    if (found[0] != blocks * registers_per_block(product->d) || found[1] < a || found[2] < b ||
        found[3] != blocks * registers_per_block(product->c)) {
        return tensor_unsupported(text, err, "a fragment has another number of registers");
    }
    op->dst = tensor_keep(decoder, slots, (size_t)(next - slots));
    op->dst_count = (uint16_t)found[0];
    op->src = op->dst + found[0];
    op->src_count = (uint16_t)(found[1] + found[2] + found[3]);
    product->a_first = 0;
    product->b_first = found[1];
    product->c_first = found[1] + found[2];
    return true;
}

static bool product_decode(struct decoder *decoder, const struct ptx_instruction *text,
                           const struct shape *shapes, size_t count, struct op *op, struct err *err)
{
    struct product *product = decode_alloc(decoder, sizeof *product);
    if (!product_parse(text, product) || !shape_known(product, shapes, count)) {
        return tensor_unsupported(text, err, "this shape with these types is not known");
    }
    if (text->operand_count != 4) {
        return tensor_unsupported(text, err, "it has four operands");
    }
    if (!product_operands(decoder, text, product, op, err)) {
        return false;
    }
    op->run = product_run;
    op->extra = product;
    op->mode = product->rows * product->panels * 8 * product->depth;
    op->class = CLASS_TENSOR;
    op->convergent = true;
    return true;
}

bool mma_decode(struct decoder *decoder, const struct ptx_instruction *text, struct op *op,
                struct err *err)
{
    if (!instruction_has(text, "row") || !instruction_has(text, "col") ||
        instruction_has(text, "sp") || instruction_has(text, "xor") ||
        instruction_has(text, "and")) {
        return tensor_unsupported(text, err, "only dense products of row by col are known");
    }
    return product_decode(decoder, text, mma_shapes, sizeof mma_shapes / sizeof *mma_shapes, op,
                          err);
}

/* ---- wmma.load and wmma.store ---- */

/*
 * A fragment in memory is `lines` lines of `length` elements, one `stride` after the other. In the
 * block layout (tensor.h) it is `rows` rows of `steps` blocks; lines are these rows, or go across
 * them.
 */
struct move {
    enum role role;
    enum element type;
    bool across;
    int lines, length, stride;
    bool strided;    /* the stride is in a register: op->src[1] */
    int rows, steps; /* of the block layout, rows in elements */
    int registers;
    int first; /* of the registers, in op->src (store) */
};

/* Where the lines begin and how far apart they are, the same in all lanes and aligned. */
static bool lines_place(struct warp *warp, const struct op *op, uint64_t *start, uint64_t *pitch,
                        enum step *step)
{
    const struct move *move = op->extra;
    const uint64_t *base = reg64(warp, op->src[0]);
    const uint32_t *strides = move->strided ? reg32(warp, op->src[1]) : NULL;
    for (int lane = 1; lane < LANES; lane++) {
        if (base[lane] != base[0] || (strides != NULL && strides[lane] != strides[0])) {
            *step = finding_add(warp, op, FINDING_UNSUPPORTED, lane, base[lane], NULL,
                                "address and stride of '%s' must be the same in all lanes",
                                op->text->opcode);
            return false;
        }
    }
    *pitch = (strides != NULL ? strides[0] : (uint64_t)move->stride) * element_bytes(move->type);
    *start = base[0] + (uint64_t)op->immediate;
    if (*start % 32 != 0 || *pitch % 16 != 0) {
        *step = finding_add(warp, op, FINDING_MISALIGNED, -1, *start, NULL,
                            "a fragment must be at a multiple of 32 bytes with a stride of a "
                            "multiple of 16 bytes; it is at %#llx with a stride of %llu bytes",
                            (unsigned long long)*start, (unsigned long long)*pitch);
        return false;
    }
    return true;
}

static bool lines_span(struct warp *warp, const struct op *op, bool write, uint8_t *lines[ROWS_MAX],
                       enum step *step)
{
    const struct move *move = op->extra;
    const unsigned length = (unsigned)move->length * element_bytes(move->type);
    uint64_t address[LANES] = {0}, start, pitch;
    if (!lines_place(warp, op, &start, &pitch, step)) {
        return false;
    }
    for (int line = 0; line < move->lines; line++) {
        address[line] = start + (uint64_t)line * pitch;
    }
    profile_access(warp, op, move->lines == LANES ? ALL_LANES : (1u << move->lines) - 1, address,
                   (enum space)op->space, length, write);
    for (int line = 0; line < move->lines; line++) {
        lines[line] = tensor_span(warp, op, -1, address[line], length, write, step);
        if (lines[line] == NULL) {
            return false;
        }
    }
    return true;
}

/* The element of the block layout in its line. */
static uint8_t *line_element(const struct move *move, uint8_t *const lines[], int row, int column)
{
    const unsigned bytes = element_bytes(move->type);
    return move->across ? lines[column] + (unsigned)row * bytes
                        : lines[row] + (unsigned)column * bytes;
}

/* One block of 16-byte rows from its lines to a register. */
static void block_load(const struct move *move, uint8_t *const lines[], int row, int step,
                       uint8_t *to)
{
    const unsigned bytes = element_bytes(move->type), count = BLOCK_BYTES / bytes;
    if (move->across && bytes == 2) {
        const uint8_t *from[BLOCK_ROWS];
        for (int i = 0; i < BLOCK_ROWS; i++) {
            from[i] = line_element(move, lines, row, step * BLOCK_ROWS + i);
        }
        block_turn(from, bytes, to);
        return;
    }
    for (int i = 0; i < BLOCK_ROWS; i++, to += BLOCK_BYTES) {
        if (!move->across) {
            memcpy(to, line_element(move, lines, row + i, step * (int)count), BLOCK_BYTES);
            continue;
        }
        for (unsigned e = 0; e < count; e++) {
            memcpy(to + e * bytes,
                   line_element(move, lines, row + i, (int)((unsigned)step * count + e)), bytes);
        }
    }
}

/* An accumulator's element: register and half of it, in its block. */
static uint8_t *accumulator_element(struct warp *warp, const struct move *move,
                                    const uint32_t *slots, int block, int row, int column)
{
    if (move->type == ELEMENT_F16) {
        return (uint8_t *)reg32(warp, slots[block]) + row * BLOCK_BYTES + column * 2;
    }
    return (uint8_t *)(reg32(warp, slots[2 * block + column % 2]) + 4 * row + column / 2);
}

static void copy(void *inside, void *memory, unsigned bytes, bool load)
{
    memcpy(load ? inside : memory, load ? memory : inside, bytes);
}

/* A row of a block, in one piece at `memory`: halves as they are, words to two registers. */
static void accumulator_row(struct warp *warp, const struct move *move, const uint32_t *slots,
                            int block, int row, uint8_t *memory, bool load)
{
    if (move->type == ELEMENT_F16) {
        copy(accumulator_element(warp, move, slots, block, row, 0), memory, BLOCK_BYTES, load);
        return;
    }
    uint32_t *even = reg32(warp, slots[2 * block]) + 4 * row;
    uint32_t *odd = reg32(warp, slots[2 * block + 1]) + 4 * row;
    for (int i = 0; i < 4; i++) {
        copy(even + i, memory + 8 * i, 4, load);
        copy(odd + i, memory + 8 * i + 4, 4, load);
    }
}

/* Accumulators from their lines, or to them. */
static void accumulator_move(struct warp *warp, const struct move *move, const uint32_t *slots,
                             uint8_t *const lines[], bool load)
{
    const unsigned bytes = element_bytes(move->type);
    const int blocks = move->rows / BLOCK_ROWS * move->steps;
    for (int block = 0; block < blocks; block++) {
        int row, panel;
        block_place(ROLE_C, move->rows, move->steps, block, &row, &panel);
        for (int i = 0; i < BLOCK_ROWS; i++) {
            if (!move->across) {
                accumulator_row(warp, move, slots, block, i,
                                line_element(move, lines, row + i, panel * 8), load);
                continue;
            }
            for (int j = 0; j < 8; j++) {
                copy(accumulator_element(warp, move, slots, block, i, j),
                     line_element(move, lines, row + i, panel * 8 + j), bytes, load);
            }
        }
    }
}

static enum step load_run(struct warp *warp, const struct op *op, lanes active)
{
    const struct move *move = op->extra;
    uint8_t *lines[ROWS_MAX];
    enum step step = tensor_whole_warp(warp, op, active);
    if (step != STEP_NEXT || !lines_span(warp, op, false, lines, &step)) {
        return step;
    }
    if (move->role == ROLE_C) {
        accumulator_move(warp, move, op->dst, lines, true);
        return STEP_NEXT;
    }
    const int blocks = move->rows / BLOCK_ROWS * move->steps;
    for (int i = 0; i < move->registers; i++) {
        int row, along;
        block_place(move->role, move->rows, move->steps, i % blocks, &row, &along);
        block_load(move, lines, row, along, (uint8_t *)reg32(warp, op->dst[i]));
    }
    return STEP_NEXT;
}

static enum step store_run(struct warp *warp, const struct op *op, lanes active)
{
    const struct move *move = op->extra;
    uint8_t *lines[ROWS_MAX];
    enum step step = tensor_whole_warp(warp, op, active);
    if (step == STEP_NEXT && lines_span(warp, op, true, lines, &step)) {
        accumulator_move(warp, move, op->src + move->first, lines, false);
    }
    return step;
}

/* Shape, type, role and layout of a load or store, from the opcode. */
static bool move_parse(const struct ptx_instruction *text, struct move *move)
{
    const char *role = text->parts[2];
    const bool row = instruction_has(text, "row");
    int m = 0, n = 0, k = 0;
    move->type = ELEMENTS;
    for (int i = 3; i < text->part_count; i++) {
        const enum element type = element_named(text->parts[i]);
        move->type = type != ELEMENTS ? type : move->type;
        shape_parse(text->parts[i], &m, &n, &k);
    }
    if (move->type == ELEMENTS || row == instruction_has(text, "col") || strlen(role) != 1) {
        return false;
    }
    const int width = k * (int)element_bytes(move->type);
    const struct product shape = {.rows = m, .panels = n / 8, .steps = width / BLOCK_BYTES};
    const bool accumulator = role[0] == 'c' || role[0] == 'd';
    const bool whole = accumulator ? k == 16 || k == 8 : width % BLOCK_BYTES == 0;
    move->role = role[0] == 'a' ? ROLE_A : role[0] == 'b' ? ROLE_B : ROLE_C;
    move->rows = move->role == ROLE_B ? n : m;
    move->steps = accumulator ? n / 8 : shape.steps;
    move->across = move->role == ROLE_B ? row : !row;
    const int columns = accumulator ? n : k;
    move->lines = move->across ? columns : move->rows;
    move->length = move->across ? move->rows : columns;
    move->stride = move->length;
    if (accumulator) {
        const struct product as_if = {.rows = m, .panels = n / 8, .steps = 2};
        return whole && shape_known(&as_if, wmma_shapes, WMMA_SHAPES) &&
               (move->type == ELEMENT_F16 || move->type == ELEMENT_F32 ||
                move->type == ELEMENT_S32);
    }
    return whole && (role[0] == 'a' || role[0] == 'b') && move->type < ELEMENT_F32 &&
           shape_known(&shape, wmma_shapes, WMMA_SHAPES);
}

/* op->src: address, stride when there is one, then a store's registers. */
static bool move_operands(struct decoder *decoder, const struct ptx_instruction *text, bool load,
                          struct move *move, struct op *op, struct err *err)
{
    uint32_t slots[PTX_VECTOR_MAX + 2], *next = slots + 1;
    if (text->operand_count != 2 && text->operand_count != 3) {
        return tensor_unsupported(text, err, "it has two or three operands");
    }
    if (!decode_address(decoder, &text->operands[load ? 1 : 0], slots, &op->immediate, err)) {
        return false;
    }
    move->strided = text->operand_count == 3;
    if (move->strided && !tensor_registers(decoder, text, 2, 1, &next, NULL, err)) {
        return false;
    }
    move->first = (int)(next - slots);
    if (!tensor_registers(decoder, text, load ? 0 : 1, 0, &next, &move->registers, err)) {
        return false;
    }
    const int blocks = move->rows / BLOCK_ROWS * move->steps;
    if (move->role == ROLE_C ? move->registers != blocks * registers_per_block(move->type)
                             : move->registers < blocks) {
        return tensor_unsupported(text, err, "the fragment has another number of registers");
    }
    op->src = tensor_keep(decoder, slots, (size_t)(next - slots));
    op->src_count = (uint16_t)(move->first + (load ? 0 : move->registers));
    op->dst = op->src + move->first;
    op->dst_count = (uint16_t)(load ? move->registers : 0);
    return true;
}

static bool move_decode(struct decoder *decoder, const struct ptx_instruction *text, struct op *op,
                        struct err *err)
{
    const bool load = strcmp(text->parts[1], "load") == 0;
    struct move *move = decode_alloc(decoder, sizeof *move);
    if (text->part_count < 4 || !move_parse(text, move)) {
        return tensor_unsupported(text, err, "this shape with this type is not known");
    }
    if (!move_operands(decoder, text, load, move, op, err)) {
        return false;
    }
    const bool shared = instruction_has(text, "shared") || instruction_has(text, "shared::cta");
    const bool global = instruction_has(text, "global");
    op->space = shared ? SPACE_SHARED : global ? SPACE_GLOBAL : SPACE_GENERIC;
    op->bytes = (uint8_t)element_bytes(move->type);
    op->run = load ? load_run : store_run;
    op->extra = move;
    op->class = load ? CLASS_MATRIX_LOAD : shared ? CLASS_STORE_SHARED : CLASS_STORE_GLOBAL;
    op->convergent = true;
    return true;
}

bool wmma_decode(struct decoder *decoder, const struct ptx_instruction *text, struct op *op,
                 struct err *err)
{
    const char *what = text->part_count > 2 ? text->parts[1] : "";
    if (strcmp(what, "load") == 0 || strcmp(what, "store") == 0) {
        return move_decode(decoder, text, op, err);
    }
    if (strcmp(what, "mma") != 0) {
        return tensor_unsupported(text, err, "only load, store and mma are known");
    }
    return product_decode(decoder, text, wmma_shapes, WMMA_SHAPES, op, err);
}
