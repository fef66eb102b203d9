/*
 * ptx -- the text of a PTX module as a tree: functions, variables, instructions, operands.
 *
 * Reads what NVRTC emits (ISA 8.x and 9.x) and nothing cleverer: no macros, no linking. It knows
 * the grammar, not the instructions; decode.h gives them meaning. Input is untrusted: every size
 * has a limit, every error names its line. Everything lives in the arena.
 */
#ifndef EVO_EMU_PTX_H
#define EVO_EMU_PTX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

enum {
    PTX_BYTES_MAX = 16 << 20,
    PTX_INSTRUCTIONS_MAX = 1 << 20, /* of a function */
    PTX_REGISTERS_MAX = 1 << 20,
    PTX_PARTS_MAX = 24,   /* of an opcode: wgmma and cp.async.bulk.tensor have a dozen */
    PTX_OPCODE_MAX = 256, /* letters of an opcode */
    PTX_NAME_MAX = 4096,
    PTX_VARIABLES_MAX = 1 << 16,
    PTX_FILES_MAX = 1 << 16,
    PTX_OPERANDS_MAX = 16, /* of an instruction; a vector is one */
    PTX_VECTOR_MAX = 256,  /* items of a vector: wgmma m64n256 has 128 */
    PTX_DEPTH_MAX = 32,    /* of nested scopes */
};

enum ptx_type {
    PTX_PRED,
    PTX_B8,
    PTX_B16,
    PTX_B32,
    PTX_B64,
    PTX_B128,
    PTX_U8,
    PTX_U16,
    PTX_U32,
    PTX_U64,
    PTX_S8,
    PTX_S16,
    PTX_S32,
    PTX_S64,
    PTX_F16,
    PTX_F16X2,
    PTX_BF16,
    PTX_BF16X2,
    PTX_TF32,
    PTX_F32,
    PTX_F64,
    PTX_U16X2,
    PTX_S16X2,
    PTX_E4M3X2,
    PTX_E5M2X2,
    PTX_TYPES,
};

enum ptx_space { PTX_REG, PTX_PARAM, PTX_GLOBAL, PTX_CONST, PTX_SHARED, PTX_LOCAL };

enum ptx_operand_kind {
    PTX_OPERAND_REGISTER, /* reg; negated for !%p and -%f is not PTX */
    PTX_OPERAND_INTEGER,  /* bits */
    PTX_OPERAND_FLOAT,    /* bits: of a float (0f…) or a double (0d…, 1.5) */
    PTX_OPERAND_SPECIAL,  /* name: "%tid.x" */
    PTX_OPERAND_SYMBOL,   /* name + offset: a variable's address, a label, a function */
    PTX_OPERAND_ADDRESS,  /* [items[0] + offset]; further items: tensor coordinates, barriers */
    PTX_OPERAND_VECTOR,   /* {items}, a|b, and the lists of a call in ( ) */
    PTX_OPERAND_SINK,     /* _ */
};

/* What the name of a symbol operand stands for; index is its place in the function or module. */
enum ptx_symbol {
    PTX_SYMBOL_UNKNOWN,
    PTX_SYMBOL_LABEL,    /* function->labels */
    PTX_SYMBOL_TABLE,    /* function->tables */
    PTX_SYMBOL_VARIABLE, /* function->variables */
    PTX_SYMBOL_PARAM,    /* function->params */
    PTX_SYMBOL_RETURN,   /* function->returns */
    PTX_SYMBOL_MODULE,   /* module->variables */
    PTX_SYMBOL_FUNCTION, /* module->functions */
};

struct ptx_operand {
    enum ptx_operand_kind kind;
    bool negated; /* !%p */
    bool wide;    /* a float literal of 64 bits */
    bool pair;    /* a vector written a|b: two results of one instruction */
    int reg;
    uint64_t bits;
    int64_t offset;
    const char *name;
    enum ptx_symbol symbol;
    int index;
    struct ptx_operand *items;
    int count;
};

/* A place in the source, and where it was inlined to. */
struct ptx_place {
    int file, line, column;
    const struct ptx_place *caller; /* NULL: it was not, or nobody said */
};

struct ptx_instruction {
    const char *opcode;               /* "ld.global.v4.f32", as written */
    const char *parts[PTX_PARTS_MAX]; /* ld, global, v4, f32 */
    int part_count;
    int guard; /* predicate register, -1: always */
    bool guard_negated;
    struct ptx_operand *operands;
    int operand_count;
    int line;                       /* of the PTX text */
    int file, source_line;          /* by .loc: which .file, which line of it; 0: not known */
    const struct ptx_place *caller; /* of the function that this line is in, when it was inlined */
};

struct ptx_variable {
    const char *name;
    enum ptx_space space;
    enum ptx_type type;
    int align;
    int64_t bytes;          /* 0: extern shared, sized by the launch */
    const uint8_t *initial; /* NULL: zero (global, const) or undefined */
    bool addresses;         /* its initial value holds addresses, which are not filled in */
    int line;
};

struct ptx_label {
    const char *name; /* not unique: { } scopes have their own; operands know the index */
    int at;           /* the instruction it stands before */
};

struct ptx_table { /* .branchtargets of brx.idx */
    const char *name;
    struct ptx_operand *targets;
    int count;
};

struct ptx_function {
    const char *name;
    bool entry;
    struct ptx_variable *params;
    int param_count;
    struct ptx_variable *returns; /* of a .func */
    int return_count;
    bool external;            /* declared, not defined */
    enum ptx_type *registers; /* type of each; index is ptx_operand.reg */
    const char **register_names;
    int register_count;
    struct ptx_variable *variables; /* declared inside: shared, local, param (of a call) */
    int variable_count;
    struct ptx_instruction *instructions;
    int instruction_count;
    struct ptx_label *labels;
    int label_count;
    struct ptx_table *tables;
    int table_count;
    int max_threads;         /* .maxntid, 0: not said */
    int required_threads[3]; /* .reqntid, 0: not said */
    int cluster[3];          /* .reqnctapercluster, 0: not said */
};

struct ptx_module {
    int version;                    /* 90: 9.0 */
    int target;                     /* 90: sm_90 or sm_90a */
    struct ptx_variable *variables; /* of the module */
    int variable_count;
    struct ptx_function *functions;
    int function_count;
    const char **files; /* by .file number */
    int file_count;
};

bool ptx_type_find(const char *name, enum ptx_type *type); /* "f32" */
int ptx_type_bytes(enum ptx_type type);                    /* of a register; 1 for a predicate */
const char *ptx_type_name(enum ptx_type type);

bool ptx_parse(struct arena *arena, const char *text, size_t length, struct ptx_module **module,
               struct err *err);

#endif
