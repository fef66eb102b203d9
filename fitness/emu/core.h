/*
 * core -- what the files of the machine's core share: decode.c, run.c, alu.c, access.c,
 * collective.c.
 *
 * decode.c walks over an entry twice. The first walk names registers by number, only to learn which
 * op reads and writes what; then registers that are never alive together are given the same place
 * in the register file, and the second walk makes the ops that run. Both walks must do the same, so
 * decoding may depend on nothing but the text.
 *
 * Whoever decodes an instruction fills one op. It may put ops of its own before it (decode_emit)
 * and behind it (decode_emit_after), for what an op function would otherwise have to ask at run
 * time: widening a 32-bit address, saturating a result. Ops behind carry the instruction's guard.
 */
#ifndef EVO_EMU_CORE_H
#define EVO_EMU_CORE_H

#include "fitness/emu/machine.h"
#include "fitness/emu/memory.h"
#include "fitness/emu/units.h"

#define ALL 0xffffffffu

enum {
    CALL_DEPTH_MAX = 8,            /* of functions inside each other */
    PROGRAM_OPS_MAX = 1 << 21,     /* calls are copied in: a bound on what that may come to */
    REGISTER_FILE_MAX = 256 << 20, /* bytes of a warp */
    LOCAL_BYTES_MAX = 512 << 10,   /* of a thread, as the hardware */
    SHARED_STATIC_MAX = 1 << 20,
    PARAM_BYTES_MAX = 32764,
};

enum special {
    SPECIAL_TID_X,
    SPECIAL_TID_Y,
    SPECIAL_TID_Z,
    SPECIAL_NTID_X,
    SPECIAL_NTID_Y,
    SPECIAL_NTID_Z,
    SPECIAL_CTAID_X,
    SPECIAL_CTAID_Y,
    SPECIAL_CTAID_Z,
    SPECIAL_NCTAID_X,
    SPECIAL_NCTAID_Y,
    SPECIAL_NCTAID_Z,
    SPECIAL_CLUSTERID_X,
    SPECIAL_CLUSTERID_Y,
    SPECIAL_CLUSTERID_Z,
    SPECIAL_NCLUSTERID_X,
    SPECIAL_NCLUSTERID_Y,
    SPECIAL_NCLUSTERID_Z,
    SPECIAL_CLUSTER_CTAID_X,
    SPECIAL_CLUSTER_CTAID_Y,
    SPECIAL_CLUSTER_CTAID_Z,
    SPECIAL_CLUSTER_NCTAID_X,
    SPECIAL_CLUSTER_NCTAID_Y,
    SPECIAL_CLUSTER_NCTAID_Z,
    SPECIAL_CLUSTER_CTARANK,
    SPECIAL_CLUSTER_NCTARANK,
    SPECIAL_LANEID,
    SPECIAL_WARPID,
    SPECIAL_NWARPID,
    SPECIAL_SMID,
    SPECIAL_NSMID,
    SPECIAL_LANEMASK_EQ,
    SPECIAL_LANEMASK_LE,
    SPECIAL_LANEMASK_LT,
    SPECIAL_LANEMASK_GE,
    SPECIAL_LANEMASK_GT,
    SPECIAL_DYNAMIC_SMEM,
    SPECIAL_TOTAL_SMEM,
    SPECIAL_ZERO,
    SPECIAL_EXPLICIT_CLUSTER,
    SPECIALS,
    SPECIAL_SHARED = 1 << 14,       /* the block's window of shared memory; bits are added */
    SPECIAL_DYNAMIC_BASE = 1 << 15, /* and where dynamic memory begins there; known when decoded */
    SPECIAL_VARIABLE = 1 << 16,     /* + index: address of a module's variable; bits are added */
};

/* ---- what decode.c offers beyond units.h ---- */

uint32_t decode_constant(struct decoder *decoder, unsigned bytes, uint64_t bits);
uint32_t decode_temporary(struct decoder *decoder, unsigned bytes);
uint32_t decode_temporary_predicate(struct decoder *decoder);
const struct ptx_instruction *decoder_text(const struct decoder *decoder); /* being decoded */
bool decode_cluster(const struct decoder *decoder); /* the entry says .reqnctapercluster */
uint32_t decode_carry(struct decoder *decoder);     /* the predicate that is CC.CF */
void decode_emit(struct decoder *decoder, const struct op *op);
void decode_emit_after(struct decoder *decoder, const struct op *op);
/* Lists of slots that live with the program. */
void op_set_dst(struct decoder *decoder, struct op *op, const uint32_t *slots, int count);
void op_set_src(struct decoder *decoder, struct op *op, const uint32_t *slots, int count);
/* One slot of a scalar operand. */
bool decode_slot(struct decoder *decoder, const struct ptx_operand *operand, enum ptx_type type,
                 uint32_t *slot, struct err *err);
/* As decode_slot for a register at least as wide as the type; *bytes is its width. */
bool decode_wide_slot(struct decoder *decoder, const struct ptx_operand *operand,
                      enum ptx_type type, uint32_t *slot, unsigned *bytes, struct err *err);
/* The value of a literal, for operands that must be known when decoding. */
bool operand_literal(const struct ptx_operand *operand, uint64_t *bits);
/* The same, also of a register that is known to hold a literal. */
bool decode_literal(const struct decoder *decoder, const struct ptx_operand *operand,
                    uint64_t *bits);
/* Where a parameter lies that the operand names: of the entry (offset), or of a call (local
 * memory). */
enum param_place { PARAM_NONE, PARAM_ENTRY, PARAM_LOCAL };
enum param_place decode_param(struct decoder *decoder, const struct ptx_operand *address,
                              int64_t *offset);
bool unsupported(const struct ptx_instruction *text, struct err *err, const char *why);

/* ---- who decodes what: as the units ---- */

bool alu_decode(struct decoder *decoder, const struct ptx_instruction *text, struct op *op,
                struct err *err);
bool access_decode(struct decoder *decoder, const struct ptx_instruction *text, struct op *op,
                   struct err *err);
bool collective_decode(struct decoder *decoder, const struct ptx_instruction *text, struct op *op,
                       struct err *err);

/* The function of a line of alu_ops.h, for the host's processor; its further parts separated by
 * blanks. */
op_function *alu_find(const char *opcode, enum ptx_type type, const char *mods);

/* ---- places of registers: places.c ---- */

enum { PREDICATE = 1 << 30 }; /* in the first walk: the slot is that of a predicate */

struct cell { /* a register, a temporary or a constant; in the first walk its slot is its number */
    uint8_t bytes;
    bool constant;
    bool open; /* may be read before it is written; set by cells_place */
    uint64_t bits;
    int special;         /* -1: bits */
    uint32_t slot;       /* set by cells_place */
    int32_t first, last; /* ops of its interval; -1: never touched */
};

struct touched { /* by an op of another unit, whatever its lists say */
    int op, cell;
};

struct cells {
    const struct op *ops;
    int op_count;
    struct cell *all;
    int count;
    const struct touched *touched; /* in the order of ops */
    int touched_count;
};

/* Gives every cell its slot; returns the bytes they take together. */
uint64_t cells_place(const struct cells *cells);

/* ---- control flow: run.c ---- */

op_function control_branch, control_branch_table, control_exit, control_trap, control_nothing;
op_function control_clock;
op_function control_sleep; /* src: ns */
enum { CLOCK_LOW = 0, CLOCK_HIGH = 32 }; /* op->mode of control_clock: the shift */

struct branch_table {
    int count;
    const int32_t *targets; /* ops */
};

/*
 * Barriers of the block: the current fragment's `active` lanes come to barrier `id`. `expected` is
 * in threads, -1: all of the block.
 */
enum barrier_kind { BARRIER_SYNC, BARRIER_ARRIVE, BARRIER_POPC, BARRIER_AND, BARRIER_OR };
op_function control_barrier;      /* mode: kind; src: id, expected or SLOT_NONE, predicate; dst */
op_function control_warp_barrier; /* bar.warp.sync */

#endif
