/*
 * emu_rig -- warps and ops made by hand, to drive the emulated device's memory without any PTX.
 *
 * Holds a memory, a launch of a few blocks, and every finding that was made. Ops are numbered by
 * the source line that a finding shall name. It brings its own finding_add and profile_touched: of
 * the machine, only the memory is linked.
 */
#ifndef EVO_TESTS_EMU_RIG_H
#define EVO_TESTS_EMU_RIG_H

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fitness/emu/memory.h"
#include "fitness/emu/profile.h"

enum {
    RIG_OPS = 4096,
    RIG_BLOCKS = 8,
    RIG_WARPS = 8,
    RIG_REGISTERS = 64 << 10,
    RIG_FINDINGS = 4096,
    RIG_LOCAL = 256,
    RIG_PARAMS = 128,
};

struct rig {
    struct memory *memory;
    struct launch launch;
    struct code program;
    struct ptx_module module;
    struct ptx_instruction texts[RIG_OPS];
    struct op ops[RIG_OPS];
    uint32_t slots[16];
    struct outcome outcome;
    struct machine machine;
    struct block blocks[RIG_BLOCKS], *cluster[RIG_BLOCKS];
    struct warp warps[RIG_BLOCKS][RIG_WARPS];
    uint8_t *registers; /* of all warps */
    uint8_t params[RIG_PARAMS];
    struct clock *barrier[2]; /* of each parity */
    int generation;
    lanes stuck; /* lanes that are alive when their block ends */
    struct finding findings[RIG_FINDINGS];
    int found;
};

static pthread_mutex_t rig_lock = PTHREAD_MUTEX_INITIALIZER;
static struct rig *rig_now; /* where findings go */

enum step finding_add(struct warp *warp, const struct op *op, enum finding_kind kind, int lane,
                      uint64_t address, const struct op *other, const char *format, ...)
{
    struct finding finding = {.kind = kind,
                              .at = op != NULL ? op->text : NULL,
                              .other = other != NULL ? other->text : NULL,
                              .warp = warp->index,
                              .lane = lane,
                              .address = address};
    va_list ap;

    memcpy(finding.block, warp->block->index, sizeof finding.block);
    va_start(ap, format);
    vsnprintf(finding.text, sizeof finding.text, format, ap);
    va_end(ap);
    pthread_mutex_lock(&rig_lock);
    if (rig_now->found < RIG_FINDINGS) {
        rig_now->findings[rig_now->found++] = finding;
    }
    pthread_mutex_unlock(&rig_lock);
    return STEP_NEXT;
}

static uint64_t rig_touched; /* bytes that the profile was told of */

void profile_touched(struct warp *warp, const struct op *op, lanes active,
                     const uint64_t address[LANES], enum space space, unsigned bytes, bool write)
{
    (void)warp, (void)op, (void)address, (void)space, (void)write;
    rig_touched += (uint64_t)__builtin_popcount(active) * bytes;
}

struct rig_shape {
    uint32_t blocks, cluster, warps, smem;
    unsigned sanitize;
};

static void rig_block_begin(struct rig *rig, uint32_t index)
{
    struct block *block = &rig->blocks[index];
    uint32_t side = rig->launch.cluster[0];

    *block = (struct block){.machine = &rig->machine,
                            .index = {index, 0, 0},
                            .cluster_rank = index % side,
                            .cluster_size = side,
                            .cluster_id = index / side,
                            .cluster = &rig->cluster[index / side * side],
                            .warps = rig->warps[index],
                            .warp_count = (int)(rig->launch.block[0] / LANES)};
    rig->cluster[index] = block;
    memory_block_begin(block);
    for (int w = 0; w < block->warp_count; w++) {
        struct warp *warp = &rig->warps[index][w];

        *warp = (struct warp){.machine = &rig->machine,
                              .block = block,
                              .index = w,
                              .alive = UINT32_MAX,
                              .registers = rig->registers +
                                           (index * RIG_WARPS + (uint32_t)w) * RIG_REGISTERS};
        memory_warp_begin(warp);
    }
}

static void rig_block_end(struct rig *rig, uint32_t index)
{
    for (int w = 0; w < rig->blocks[index].warp_count; w++) {
        rig->warps[index][w].alive &= rig->stuck;
        memory_warp_end(&rig->warps[index][w]);
    }
    memory_block_end(&rig->blocks[index]);
}

static struct rig *rig_new(struct rig_shape shape)
{
    struct rig *rig = xcalloc(1, sizeof *rig);
    static const char *files[] = {"", "src/kernel.cu"};

    rig->registers = aligned_alloc(64, (size_t)RIG_BLOCKS * RIG_WARPS * RIG_REGISTERS);
    memset(rig->registers, 0, (size_t)RIG_BLOCKS * RIG_WARPS * RIG_REGISTERS);
    rig->memory = memory_new();
    rig->module = (struct ptx_module){.files = files, .file_count = 2};
    rig->program = (struct code){.ops = rig->ops,
                                 .op_count = RIG_OPS,
                                 .register_bytes = RIG_REGISTERS,
                                 .local_bytes = RIG_LOCAL,
                                 .param_bytes = RIG_PARAMS,
                                 .module = &rig->module};
    rig->launch = (struct launch){.program = &rig->program,
                                  .grid = {shape.blocks, 1, 1},
                                  .block = {shape.warps * LANES, 1, 1},
                                  .cluster = {shape.cluster, 1, 1},
                                  .smem_bytes = shape.smem,
                                  .params = rig->params,
                                  .sanitize = shape.sanitize};
    rig->machine = (struct machine){.memory = rig->memory,
                                    .launch = &rig->launch,
                                    .program = &rig->program,
                                    .outcome = &rig->outcome};
    for (uint32_t i = 0; i < 16; i++) { /* registers of 16 bytes a lane at most */
        rig->slots[i] = i * LANES * 16;
    }
    rig_now = rig;
    return rig;
}

/* A launch begins with its blocks, all of them at once. */
static void rig_begin(struct rig *rig)
{
    memory_launch_begin(rig->memory, &rig->launch);
    for (uint32_t i = 0; i < rig->launch.grid[0]; i++) {
        rig_block_begin(rig, i);
    }
    rig->barrier[0] = rig->barrier[1] = NULL;
}

static void rig_end(struct rig *rig)
{
    for (uint32_t i = 0; i < rig->launch.grid[0]; i++) {
        rig_block_end(rig, i);
    }
    memory_launch_end(rig->memory);
}

static void rig_free(struct rig *rig)
{
    memory_free(rig->memory);
    free(rig->registers);
    free(rig);
}

/* The op of a line; its opcode only has to read well. */
static const struct op *rig_op(struct rig *rig, int line, const char *opcode, unsigned bytes,
                               unsigned vector, enum access access)
{
    struct op *op = &rig->ops[line];

    rig->texts[line] =
        (struct ptx_instruction){.opcode = opcode, .line = line, .file = 1, .source_line = line};
    *op = (struct op){.dst = rig->slots,
                      .src = rig->slots,
                      .dst_count = (uint16_t)vector,
                      .src_count = (uint16_t)vector,
                      .bytes = (uint8_t)bytes,
                      .vector = (uint8_t)vector,
                      .access = (uint8_t)access,
                      .guard = SLOT_NONE,
                      .text = &rig->texts[line]};
    return op;
}

/* __syncthreads of a block. */
static void rig_barrier(struct rig *rig, uint32_t index)
{
    struct block *block = &rig->blocks[index];
    struct clock **clock = &rig->barrier[rig->generation++ & 1];

    for (int w = 0; w < block->warp_count; w++) {
        memory_release(&block->warps[w], block->warps[w].alive, clock);
    }
    for (int w = 0; w < block->warp_count; w++) {
        memory_acquire(&block->warps[w], block->warps[w].alive, *clock);
    }
}

#endif
