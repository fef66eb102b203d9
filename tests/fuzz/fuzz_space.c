/*
 * The reader of recorded search spaces: any bytes are read or refused. What was read is printed,
 * and the print must read as the same rows and print as the same bytes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fitness/space.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check_print(struct arena *arena, const struct space *space)
{
    struct buf once = {0}, twice = {0};
    struct space *again;
    struct err err;

    space_print(space, &once);
    require(space_parse(arena, "again", once.data, once.length, &again, &err));
    require(again->row_count == space->row_count && again->optimum_us == space->optimum_us);
    require(memcmp(again->rows, space->rows, (size_t)space->row_count * sizeof *space->rows) == 0);
    space_print(again, &twice);
    require(once.length == twice.length && memcmp(once.data, twice.data, once.length) == 0);
    buf_free(&once);
    buf_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new();
    struct space *space;
    struct err err;

    if (space_parse(arena, "fuzz", (const char *)data, size, &space, &err)) {
        for (int64_t i = 0; i < space->row_count; i++) {
            require(space_find(space, space->rows[i].at) == &space->rows[i]);
        }
        check_print(arena, space);
    }
    arena_free(arena);
    return 0;
}
