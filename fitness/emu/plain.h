/*
 * plain -- a kernel that evo knows nothing of, run once on the emulated device.
 *
 * What it is given and how it is launched is one line, in its source behind "// evo: launch " or
 * from whoever asks:
 *
 *     kernel<<<(8, 2), 128, 4096>>>(in f16 a[64x128], out f32 b[64], zero u32 count[1], 64, 0.5,
 *                                   map(a, 64x64, 128))
 *
 *     <<< >>>        blocks, threads of a block, bytes of dynamic shared memory (or none);
 *                    clusters are the kernel's own __cluster_dims__
 *     in, data       a buffer of drawn values, integers counting up from 0; nobody writes to `in`
 *     zero, out      a buffer of zeros; one that nobody has written: reading it first is a finding
 *     map            a tensor map: of which buffer (named anywhere in the list), its box, the
 *                    outermost first as in the buffer, and the bytes of the swizzle (0, 32, 64,
 *                    128)
 *     64, 0.5        an int, a float; `u64 64`, `f64 0.5` of another type
 *
 * Types: f16 bf16 f32 f64 s8 u8 s16 u16 s32 u32 s64 u64. Values drawn are the same in every run.
 * Owner: evo emulate and the tests. Threads: those of the machine; calls come from one.
 */
#ifndef EVO_EMU_PLAIN_H
#define EVO_EMU_PLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "fitness/emu/findings.h"
#include "fitness/emu/model.h"

enum {
    PLAIN_ARGS_MAX = 16,
    PLAIN_RANK_MAX = 5,
    PLAIN_NAME_MAX = 32,
    PLAIN_BYTES_MAX = 1 << 30, /* of all buffers */
};

enum plain_kind { PLAIN_IN, PLAIN_DATA, PLAIN_ZERO, PLAIN_OUT, PLAIN_MAP, PLAIN_NUMBER };

enum plain_type {
    PLAIN_F16,
    PLAIN_BF16,
    PLAIN_F32,
    PLAIN_F64,
    PLAIN_S8,
    PLAIN_U8,
    PLAIN_S16,
    PLAIN_U16,
    PLAIN_S32,
    PLAIN_U32,
    PLAIN_S64,
    PLAIN_U64,
    PLAIN_TYPES,
};

struct plain_arg {
    enum plain_kind kind;
    enum plain_type type;
    char name[PLAIN_NAME_MAX];    /* of a buffer; of the one that a map is of */
    int64_t dims[PLAIN_RANK_MAX]; /* as written: of a buffer, or the box of a map */
    int rank;
    int swizzle;
    uint64_t bits; /* of a number */
};

struct plain_launch {
    const char *text, *kernel;
    uint32_t grid[3], threads[3];
    int64_t smem_bytes;
    struct plain_arg args[PLAIN_ARGS_MAX];
    int arg_count;
};

/* What stands behind "// evo: launch " in the source; NULL: nothing does. */
const char *plain_find(struct arena *arena, const char *source);
bool plain_read(struct arena *arena, const char *text, struct plain_launch *launch,
                struct err *err);

struct plain_request {
    const char *chip; /* NULL: the first */
    const char *ptx;
    size_t ptx_bytes;
    int registers; /* of a thread, by the machine code; 0: not known */
    const struct plain_launch *launch;
    unsigned sanitize;
    int threads; /* of the host; 0: all */
    bool profile;
};

struct plain_outcome {
    const char *chip; /* its device's name */
    struct finding_told findings[FINDINGS_TOLD_MAX];
    int finding_count;
    int64_t findings_total;
    bool atomics;
    uint64_t ops, lane_ops;
    double ms; /* of the host */
    struct kernel_profile profile;
};

/* False: the launch does not fit the kernel or the chip, or the PTX is not understood. */
bool plain_run(struct arena *arena, const struct plain_request *request,
               struct plain_outcome *outcome, struct err *err);

#endif
