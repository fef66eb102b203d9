/*
 * Jitter twins: any text has one or is refused with a reason. The twin of what the PTX machine
 * reads is read by it too, with as many kernels and one variable more.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fitness/emu/ptx.h"
#include "fitness/jitter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static int count_entries(const struct ptx_module *module)
{
    int count = 0;

    for (int i = 0; i < module->function_count; i++) {
        count += module->functions[i].entry && !module->functions[i].external;
    }
    return count;
}

/* A delay is one scope deeper than what is around it, and a variable more than there were. */
static bool has_room(const struct ptx_module *module, const uint8_t *data, size_t size)
{
    int depth = 0, deepest = 0;

    for (size_t i = 0; i < size; i++) {
        depth += (data[i] == '{') - (data[i] == '}');
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest + 1 < PTX_DEPTH_MAX && module->variable_count < PTX_VARIABLES_MAX;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new();
    struct ptx_module *module = NULL, *again = NULL;
    struct jitter_sites sites;
    struct buf twin = {0};
    struct err err = {0};
    bool read = ptx_parse(arena, (const char *)data, size, &module, &err);

    if (!jitter_twin((const char *)data, size, &twin, &sites, &err)) {
        require(err.kind == ERR_USER && err.what[0] != '\0');
    } else if (read && has_room(module, data, size)) {
        require(ptx_parse(arena, twin.data, twin.length, &again, &err));
        require(again->variable_count == module->variable_count + 1);
        require(count_entries(again) == count_entries(module));
        require(sites.entries == count_entries(module));
    }
    buf_free(&twin);
    arena_free(arena);
    return 0;
}
