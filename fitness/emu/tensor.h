/*
 * tensor -- inside the tensor unit: numbers, blocks and what its files share.
 *
 * Every fragment of mma, wmma and wgmma is a list of blocks of 8 rows of 16 bytes. A block fills
 * one 32-bit register of a warp: lane l holds bytes 4 (l % 4) … + 3 of row l / 4, so a register,
 * its 32 lanes side by side, *is* the block, row after row. Therefore:
 *
 *   A             rows are rows of A; by 16 rows: (upper, k 0), (lower, k 0), (upper, k 1), (lower,
 *                 k 1); 8 rows alone: (k 0), (k 1)
 *   B             rows are columns of B; by 8 columns: (k 0), (k 1)
 *   C, D of f16   8 x 8 halves; by 8 columns: the row blocks downwards
 *   C, D of f32   and s32: the same blocks in two registers each, even columns and odd columns
 *
 * where a step of k is 16 bytes of elements. This is the layout of mma.sync and wgmma in the PTX
 * manual. For wmma the manual leaves it open; the choice here is the one of mma.sync tile by tile,
 * with the spare registers of f16 fragments holding copies.
 *
 * Arithmetic is in double: operands become rows of double, B in panels of 8 columns, k by k:
 *
 *     a[row][k]     b[panel][k][8]     d[panel][row][8]
 *
 * Owner: the files tensor*.c. Threads: none of its own; no state but the warp's.
 */
#ifndef EVO_EMU_TENSOR_H
#define EVO_EMU_TENSOR_H

#include "fitness/emu/machine.h"
#include "fitness/emu/memory.h"
#include "fitness/emu/units.h"

enum {
    BLOCK_ROWS = 8,
    BLOCK_BYTES = 16,  /* of a row of a block */
    BLOCK_VALUES = 64, /* of an accumulator block */
    DEPTH_MAX = 32,    /* k of one instruction, 8-bit elements */
    ROWS_MAX = 32,
    PANELS_MAX = 32,
};
#define ALL_LANES 0xffffffffu

enum element {
    ELEMENT_F16,
    ELEMENT_BF16,
    ELEMENT_TF32,
    ELEMENT_S8,
    ELEMENT_U8,
    ELEMENT_F32,
    ELEMENT_S32,
    ELEMENTS,
};

/* ".f16" and so on without the dot; ELEMENTS when it is none. */
enum element element_named(const char *part);
unsigned element_bytes(enum element type);

/*
 * Numbers, in two ways that give the same bits (tensor_math.c says why): plain C, and AVX2 with FMA
 * and F16C.
 */
struct numbers {
    /* The next `count` elements (a multiple of 8) as doubles. */
    void (*widen)(enum element type, const void *from, int count, double *to);
    /* d += a b for rows (a multiple of 8) and panels, then rounded to float when `to_float`. */
    void (*multiply)(const double *a, int rows, const double *b, int panels, int depth, double *d,
                     bool to_float);
    /* An accumulator block from its registers (second: unused for f16), and back. */
    void (*block_read)(enum element type, const uint32_t *first, const uint32_t *second, double *d);
    void (*block_write)(enum element type, const double *d, uint32_t *first, uint32_t *second);
};

extern const struct numbers numbers_plain;
const struct numbers *numbers_best(void); /* the fastest that this machine has */

/* After a product: the values that the accumulator's type can hold. F32 was done by multiply. */
void numbers_round(enum element type, bool saturate, double *d, int count);

uint16_t f16_from_double(double value); /* to nearest even, once */

/*
 * Eight rows of 16 bytes, turned: element e of row r goes to to[e][r], 16 / bytes rows of 8
 * elements.
 */
void block_turn(const uint8_t *const rows[BLOCK_ROWS], unsigned bytes, void *to);

/* ---- what the instructions share (tensor.c) ---- */

/* Makes an error of a variant that is not known; false. */
bool tensor_unsupported(const struct ptx_instruction *text, struct err *err, const char *why);

/* Operand `index` as `count` 32-bit registers (0: any number, then *found), put at *next. */
bool tensor_registers(struct decoder *decoder, const struct ptx_instruction *text, int index,
                      int count, uint32_t **next, int *found, struct err *err);

/* A copy of `count` slots that lives as long as the program. */
const uint32_t *tensor_keep(struct decoder *decoder, const uint32_t *slots, size_t count);

/* All 32 lanes must be there: STEP_NEXT, or what the finding says. */
enum step tensor_whole_warp(struct warp *warp, const struct op *op, lanes active);

/* No sanitizer but the bounds. */
bool tensor_unwatched(const struct warp *warp);

/* memory_span, with a short way for the block's own shared memory when nobody watches. */
uint8_t *tensor_span(struct warp *warp, const struct op *op, int lane, uint64_t address,
                     uint64_t bytes, bool write, enum step *step);

bool mma_decode(struct decoder *decoder, const struct ptx_instruction *text, struct op *op,
                struct err *err);
bool wmma_decode(struct decoder *decoder, const struct ptx_instruction *text, struct op *op,
                 struct err *err);
bool wgmma_decode(struct decoder *decoder, const struct ptx_instruction *text, struct op *op,
                  struct err *err);

#endif
