/*
 * Frames: any bytes are a message or refused, alone or as a stream cut anywhere. What was read is
 * written, and must read as the same and be written as the same bytes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check_message(struct arena *arena, const struct message *message)
{
    struct buf once = {0}, twice = {0};
    struct message *again;
    struct err err;
    size_t size, at = 0;

    message_encode(message, &once);
    require(message_decode(arena, once.data + 4, once.length - 4, &again, &err));
    require(strcmp(message_verb(message), message_verb(again)) == 0);
    message_encode(again, &twice);
    require(once.length == twice.length && memcmp(once.data, twice.data, once.length) == 0);
    while (message_each(message, "id", &at) != NULL) {
    }
    require(message_get_body(message, "cubin", &size) != NULL || size == 0);
    buf_free(&once);
    buf_free(&twice);
}

/* The input arrives in two parts; how many messages come off it does not depend on the cut. */
static int take_all(struct arena *arena, const uint8_t *data, size_t size, size_t cut)
{
    struct buf wire = {0};
    struct message *message;
    struct err err;
    int count = 0;
    bool ok = true;

    for (int part = 0; part < 2 && ok; part++) {
        buf_add(&wire, data + (part ? cut : 0), part ? size - cut : cut);
        while ((ok = frame_take(&wire, arena, &message, &err)) && message != NULL) {
            check_message(arena, message);
            count++;
        }
    }
    buf_free(&wire);
    return ok ? count : -1 - count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new();
    struct message *message;
    struct err err = {0};

    if (message_decode(arena, (const char *)data, size, &message, &err)) {
        check_message(arena, message);
    } else {
        require(err.kind == ERR_SYSTEM);
    }
    require(take_all(arena, data, size, size) == take_all(arena, data, size, size / 2));
    arena_free(arena);
    return 0;
}
