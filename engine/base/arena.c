#include "base/arena.h"

#include <assert.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 32 * 1024 };

struct block {
    struct block *next;
    size_t size, used;
    alignas(max_align_t) unsigned char data[];
};

struct arena {
    struct block *blocks; /* the newest first; allocations come from it */
};

void *xmalloc(size_t size)
{
    void *memory = malloc(size ? size : 1);

    if (memory == NULL) {
        fprintf(stderr, "evo: out of memory (%zu bytes asked for)\n", size);
        abort();
    }
    return memory;
}

void *xcalloc(size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes)) {
        bytes = SIZE_MAX; /* fails below, aloud */
    }
    return memset(xmalloc(bytes), 0, bytes);
}

void *xrealloc(void *old, size_t size)
{
    void *memory = realloc(old, size ? size : 1);

    if (memory == NULL) {
        fprintf(stderr, "evo: out of memory (%zu bytes asked for)\n", size);
        abort();
    }
    return memory;
}

char *xstrdup(const char *text)
{
    size_t size = strlen(text) + 1;

    return memcpy(xmalloc(size), text, size);
}

struct arena *arena_new(void) { return xcalloc(1, sizeof(struct arena)); }

static void blocks_free(struct block *block)
{
    while (block != NULL) {
        struct block *next = block->next;
        free(block);
        block = next;
    }
}

void arena_free(struct arena *arena)
{
    if (arena == NULL) {
        return;
    }
    blocks_free(arena->blocks);
    free(arena);
}

void arena_reset(struct arena *arena)
{
    struct block *keep = arena->blocks;

    while (keep != NULL && keep->size > BLOCK_BYTES) { /* oversized blocks are not worth keeping */
        struct block *next = keep->next;
        free(keep);
        keep = next;
    }
    if (keep != NULL) {
        blocks_free(keep->next);
        keep->next = NULL;
        keep->used = 0;
    }
    arena->blocks = keep;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    size_t need = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    struct block *block = arena->blocks;
    void *memory;

    assert(size < SIZE_MAX / 2);
    if (block == NULL || block->size - block->used < need) {
        size_t room = need > BLOCK_BYTES ? need : BLOCK_BYTES;

        block = xmalloc(sizeof *block + room);
        block->next = arena->blocks;
        block->size = room;
        block->used = 0;
        arena->blocks = block;
    }
    memory = block->data + block->used;
    block->used += need;
    return memset(memory, 0, size);
}

void *arena_copy(struct arena *arena, const void *data, size_t size)
{
    void *copy = arena_alloc(arena, size);

    return size ? memcpy(copy, data, size) : copy;
}

char *arena_text(struct arena *arena, const char *text, size_t length)
{
    char *copy = arena_alloc(arena, length + 1);

    if (length) {
        memcpy(copy, text, length);
    }
    return copy;
}

char *arena_dup(struct arena *arena, const char *text)
{
    return arena_text(arena, text, strlen(text));
}

char *arena_vprintf(struct arena *arena, const char *format, va_list ap)
{
    va_list again;
    char *text;
    int length;

    va_copy(again, ap);
    length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    assert(length >= 0);
    text = arena_alloc(arena, (size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, ap);
    return text;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list ap;
    char *text;

    va_start(ap, format);
    text = arena_vprintf(arena, format, ap);
    va_end(ap);
    return text;
}

size_t arena_bytes(const struct arena *arena)
{
    size_t bytes = 0;

    for (const struct block *block = arena->blocks; block != NULL; block = block->next) {
        bytes += block->size;
    }
    return bytes;
}
