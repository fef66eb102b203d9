/*
 * The reader of cubins: any bytes are read or refused, and what was read keeps its promises. Seeds:
 * golden/cubin.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fitness/cubin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check_entry(const struct entry_facts *entry)
{
    require(*entry->name != '\0' && strpbrk(entry->name, " \n") == NULL);
    require(entry->registers >= 0 && entry->static_smem_bytes >= 0 && entry->stack_bytes >= 0);
    require(entry->barriers >= 0 && entry->param_bytes >= 0 && entry->code_bytes >= 0);
    require(entry->max_threads >= 0 && entry->max_threads <= INT64_C(1) << 30);
    require(entry->spill_store_bytes == 0 && entry->spill_load_bytes == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new();
    struct cubin_facts facts, again;
    struct err err = {0};

    if (cubin_read(arena, data, size, &facts, &err)) {
        require(facts.entry_count >= 0 && facts.entry_count <= JOB_ENTRIES_MAX);
        require(facts.arch >= 0 && facts.arch < 256 && facts.writable_state_bytes >= 0);
        require(!hash_is_zero(&facts.code_key));
        for (int i = 0; i < facts.entry_count; i++) {
            check_entry(&facts.entries[i]);
        }
        require(cubin_read(arena, data, size, &again, &err));
        require(hash_equal(&facts.code_key, &again.code_key));
    } else {
        require(err.kind != ERR_NONE && err.what[0] != '\0');
    }
    arena_free(arena);
    return 0;
}
