/*
 * plan -- how a candidate is called: declared once, resolved for each shape.
 *
 * A `program` is the declaration: constants (genes, givens, derived values) and, as expression
 * texts over them and the launch variables, the kernels to launch in a row, the workspaces they
 * borrow, the tensor maps they load and store through, and the shapes they support. It travels in
 * messages and stands in exported files, so that a judge resolves a launch for a shape that the
 * search never saw. A `plan` is a program resolved for one problem on one device.
 *
 * Programs are made by the genome layer (family_program) or read from an exported file; engine and
 * worker both resolve them. Memory: the caller's arena.
 */
#ifndef EVO_FITNESS_PLAN_H
#define EVO_FITNESS_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/frame.h"
#include "base/hash.h"
#include "fitness/problem.h"

enum {
    PROGRAM_KERNELS_MAX = 8,
    PROGRAM_ARGS_MAX = 16,
    PROGRAM_WORKSPACES_MAX = 8,
    PROGRAM_MAPS_MAX = 8,
    PROGRAM_SUPPORTS_MAX = 16,
    PLAN_WORKSPACE_BYTES_MAX = 1 << 30,
};

enum workspace_kind {
    WORKSPACE_POISON,    /* filled with garbage before every call: the program must not care */
    WORKSPACE_ZERO_CALL, /* zeroed before every call; the zeroing is part of the time */
    WORKSPACE_ZERO_ONCE, /* zeroed at first; must be zero again after each call */
};

struct program_constant {
    const char *name;
    int64_t value;
};

struct program_kernel {
    const char *name;           /* the extern "C" entry */
    const char *grid[3];        /* expressions */
    const char *threads, *smem; /* block size in x; dynamic shared memory in bytes */
    const char *args[PROGRAM_ARGS_MAX];
    int arg_count;
};

struct program_workspace {
    const char *name, *bytes;
    enum workspace_kind kind;
};

/* What a tensor map is of; the arguments of these names are the same tensors' pointers. */
enum map_tensor { MAP_Q, MAP_K, MAP_V, MAP_O, MAP_TENSORS };

extern const char *const map_tensor_names[MAP_TENSORS];

/* A box of the tensor's columns and rows, for the hardware's copies of tiles. */
struct program_map {
    const char *name;
    enum map_tensor tensor;
    const char *columns, *rows; /* expressions over the constants */
    const char *swizzle;        /* so too, in bytes: 0, 32, 64, 128 */
};

struct program_supports {
    const char *condition, *doc;
};

struct program {
    const struct program_constant *constants;
    int constant_count;
    struct program_kernel kernels[PROGRAM_KERNELS_MAX];
    int kernel_count;
    struct program_workspace workspaces[PROGRAM_WORKSPACES_MAX];
    int workspace_count;
    struct program_map maps[PROGRAM_MAPS_MAX];
    int map_count;
    struct program_supports supports[PROGRAM_SUPPORTS_MAX];
    int supports_count;
    int numerics; /* enum numerics of verify: 0 FP32 accumulation, 1 FP16 */
};

enum plan_arg { ARG_Q, ARG_K, ARG_V, ARG_O, ARG_LSE, ARG_PROBLEM, ARG_WORKSPACE, ARG_MAP };

struct plan_kernel {
    const char *name;
    uint32_t grid[3], threads, smem_bytes;
    struct {
        enum plan_arg kind;
        int index; /* of the workspace or the map; else 0 */
    } args[PROGRAM_ARGS_MAX];
    int arg_count;
};

enum {
    MAP_RANK = 4,         /* columns, rows, heads, batches: the order of a copy's coordinates */
    MAP_BYTES = 128,      /* of an encoded map, whatever the device */
    MAP_BOX_MAX = 256,    /* the hardware's limits */
    MAP_ALIGN_BYTES = 16, /* of rows and of their strides */
    ELEMENT_BYTES = 2,
};

struct plan_map {
    enum map_tensor tensor;
    uint32_t columns, rows, swizzle;
    bool bf16;
};

struct plan {
    struct plan_kernel kernels[PROGRAM_KERNELS_MAX];
    int kernel_count;
    struct {
        int64_t bytes;
        enum workspace_kind kind;
    } workspaces[PROGRAM_WORKSPACES_MAX];
    int workspace_count;
    struct plan_map maps[PROGRAM_MAPS_MAX];
    int map_count;
};

/*
 * A launch whose grid has no block, and a workspace of 0 bytes, are left out for the problem: the
 * plan's kernels are those that are launched, its workspaces keep their places (a null pointer).
 *
 * Resolves a program for a problem on a device with `sms` multiprocessors. False with *supported
 * false: the program declares that it does not do this shape. False with *supported true: an
 * expression cannot be computed, or a launch is outside CUDA's limits. err says why either way.
 */
bool plan_resolve(struct arena *arena, const struct program *program,
                  const struct problem *problem, int64_t sms, struct plan *plan, bool *supported,
                  struct err *err);
/* What the kernel's parameter for an argument of this name takes. */
size_t program_arg_bytes(const struct program *program, const char *name);

/* A map as every device encodes it: sizes in elements, strides in bytes, innermost first. */
struct map_layout {
    uint64_t sizes[MAP_RANK], strides[MAP_RANK - 1];
    uint32_t box[MAP_RANK];
};
struct map_layout map_layout(const struct plan_map *map, const struct problem_args *problem);

/* What a call does on the device, in order: zeroes its `zero_call` workspaces, launches kernels. */
int plan_operations(const struct plan *plan);
/* What makes two launches of the same machine code the same: everything resolved above. */
struct hash plan_hash(const struct plan *plan);

/* As lines `define`, `kernel`, `workspace`, `map`, `supports`, `numerics` of a message. */
void program_put(struct message *message, const struct program *program);
bool program_get(struct arena *arena, const struct message *message, struct program *program,
                 struct err *err);

#endif
