/*
 * units -- the tensor and asynchronous units: what decode.c asks of them.
 *
 * decode.c knows arithmetic, control flow and plain memory. An opcode whose first part it does not
 * know is offered to each unit in turn: a unit that recognises it fills the op (run, slots, extra,
 * class, convergent) and returns true. A unit that recognises the opcode but not the variant
 * returns false with err set ("unsupported: …"); one that does not know it returns false with
 * err->kind ERR_NONE.
 */
#ifndef EVO_EMU_UNITS_H
#define EVO_EMU_UNITS_H

#include "fitness/emu/machine.h"

/* What decoding an operand needs: slots of registers, immediates, addresses; of decode.c. */
struct decoder;

/* The slots of an operand, vectors flat. False when a register or literal does not fit `type`. */
bool decode_slots(struct decoder *decoder, const struct ptx_operand *operand, enum ptx_type type,
                  uint32_t *slots, int room, int *count, struct err *err);
/* The base of an address operand as a 64-bit slot, and the offset to add; `items` beyond the base
 * are the unit's. */
bool decode_address(struct decoder *decoder, const struct ptx_operand *operand, uint32_t *slot,
                    int64_t *offset, struct err *err);
uint32_t decode_predicate(struct decoder *decoder, const struct ptx_operand *operand,
                          bool *negated);
void *decode_alloc(struct decoder *decoder, size_t bytes); /* lives as long as the program */
bool instruction_has(const struct ptx_instruction *text,
                     const char *part); /* ".sync" without the dot */

/* Of an op of CLASS_TENSOR, op->mode is the multiply-adds of one warp. */
bool tensor_decode(struct decoder *decoder, const struct ptx_instruction *text, struct op *op,
                   struct err *err);
bool async_decode(struct decoder *decoder, const struct ptx_instruction *text, struct op *op,
                  struct err *err);

/* Called by run.c. */
void async_block_begin(struct block *block);
void async_block_end(struct block *block);
void async_warp_begin(struct warp *warp);
void async_warp_end(struct warp *warp);
void tensor_warp_begin(struct warp *warp);
void tensor_warp_end(struct warp *warp);
/*
 * run.c asks before every op of a warp (its guard already applied) what it does to registers of a
 * wgmma in flight. Warps that have not used wgmma pay for one test.
 */
enum step tensor_watched(struct warp *warp, const struct op *op, lanes active);
static inline enum step tensor_watch(struct warp *warp, const struct op *op, lanes active)
{
    return warp->tensor == NULL ? STEP_NEXT : tensor_watched(warp, op, active);
}
/*
 * Asynchronous work is done when somebody waits for it, or at the latest when nothing else in the
 * block can run: this does one pending piece (the choice is fixed, so runs repeat). False: none is
 * pending.
 */
bool async_advance(struct block *block);
/* What a waiting warp waits for, for deadlock reports: "for phase parity 1 of the mbarrier at …".
 */
const char *async_waits_text(const struct warp *warp, char text[160]);

#endif
