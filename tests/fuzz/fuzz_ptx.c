/*
 * The PTX machine: any text is parsed and decoded or refused with a reason; every entry that was
 * decoded runs, a little, on buffers of its own and under all sanitizers, and ends.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fitness/emu/machine.h"
#include "fitness/emu/memory.h"

enum {
    ENTRIES_MAX = 4, /* of a text that are run */
    BUFFER_BYTES = 4096,
    PARAM_BYTES = 32768, /* the most that there can be */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check_program(const struct code *program)
{
    require(program->op_count > 0 && program->param_bytes >= 0 && program->local_bytes >= 0);
    require(program->dynamic_offset >= program->shared_bytes);
    for (int i = 0; i < program->op_count; i++) {
        const struct op *op = &program->ops[i];
        require(op->run != NULL);
        for (int k = 0; k < op->dst_count + op->src_count; k++) {
            uint32_t slot = k < op->dst_count ? op->dst[k] : op->src[k - op->dst_count];
            require(slot == SLOT_NONE || slot < program->register_bytes);
        }
    }
}

static void run_program(const struct code *program, unsigned sanitize)
{
    static struct outcome outcome;
    struct memory *memory = memory_new();
    uint8_t *params = calloc(1, PARAM_BYTES);
    struct launch launch = {.program = program,
                            .grid = {2, 1, 1},
                            .block = {40, 1, 1},
                            .cluster = {1, 1, 1},
                            .smem_bytes = 1024,
                            .params = params,
                            .sanitize = sanitize,
                            .threads = 1,
                            .op_budget = 2000,
                            .time_budget_ms = 2000};
    uint64_t buffer = memory_buffer(memory, BUFFER_BYTES, "buffer");
    require(params != NULL);
    for (int i = 0; i < 8; i++) { /* where kernels have their pointers */
        memcpy(params + 8 * i, &buffer, sizeof buffer);
    }
    memory_host_fill(memory, buffer, 1, BUFFER_BYTES);
    for (int d = 0; d < 3; d++) {
        if (program->function->cluster[d] > 0 && program->function->cluster[d] <= 2) {
            launch.cluster[d] = (uint32_t)program->function->cluster[d];
            launch.grid[d] = 2;
        }
    }
    machine_run(memory, &launch, &outcome);
    require(outcome.ended || outcome.finding_count > 0);
    require(outcome.finding_count <= FINDINGS_MAX);
    for (int i = 0; i < outcome.finding_count; i++) {
        require(outcome.findings[i].kind != FINDING_NONE && outcome.findings[i].text[0] != '\0');
    }
    free(params);
    memory_free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new();
    struct ptx_module *module = NULL;
    struct err err = {0};
    int run = 0;

    if (!ptx_parse(arena, (const char *)data, size, &module, &err)) {
        require(err.kind == ERR_USER && err.what[0] != '\0');
    }
    for (int i = 0; module != NULL && i < module->function_count && run < ENTRIES_MAX; i++) {
        struct code *program = NULL;
        if (!module->functions[i].entry || module->functions[i].external) {
            continue;
        }
        if (!program_decode(arena, module, module->functions[i].name, &program, &err)) {
            require(err.kind == ERR_USER && err.what[0] != '\0' && program == NULL);
            continue;
        }
        check_program(program);
        if (program->register_bytes < 1 << 20 && program->local_bytes < 1 << 14) {
            run_program(program, run % 2 == 0 ? SANITIZE_ALL : SANITIZE_BOUNDS);
            run++;
        }
    }
    arena_free(arena);
    return 0;
}
