/* The reader of compile logs: any text gives facts within their limits. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fitness/ptxlog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new();
    struct ptxlog facts;

    ptxlog_read(arena, (const char *)data, size, &facts);
    require(facts.entry_count >= 0 && facts.entry_count <= JOB_ENTRIES_MAX);
    require(strlen(facts.warnings) <= PTXLOG_WARNINGS_MAX);
    require(strlen(facts.error) <= PTXLOG_REASON_MAX + 64 && strchr(facts.error, '\n') == NULL);
    require((facts.stage == PTXLOG_NO_ERROR) == (*facts.error == '\0'));
    require(facts.gmem_bytes >= 0);
    for (int i = 0; i < facts.entry_count; i++) {
        const struct ptxlog_entry *entry = &facts.entries[i];

        require(entry->name != NULL && entry->registers >= 0 && entry->barriers >= 0);
        require(entry->stack_bytes >= 0 && entry->smem_bytes >= 0);
        require(entry->spill_store_bytes >= 0 && entry->spill_load_bytes >= 0);
    }
    arena_free(arena);
    return 0;
}
