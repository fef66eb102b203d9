/*
 * arena -- memory by lifetime: many small allocations, freed whole.
 *
 * An arena belongs to one lifetime (a run, a round of the loop, a job) and to one thread. Nothing
 * taken from it is freed singly. The x* functions are malloc's family for what must outlive any
 * arena; all of them abort when memory is exhausted, which the next start recovers from.
 */
#ifndef EVO_BASE_ARENA_H
#define EVO_BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

struct arena;

struct arena *arena_new(void);
void arena_free(struct arena *arena); /* NULL is fine */
/* Forgets everything but keeps one block, so that a loop that resets does not allocate. */
void arena_reset(struct arena *arena);

void *arena_alloc(struct arena *arena, size_t size); /* zeroed, aligned for any type */
char *arena_text(struct arena *arena, const char *text, size_t length); /* copy, NUL added */
char *arena_dup(struct arena *arena, const char *text);
void *arena_copy(struct arena *arena, const void *data, size_t size);
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
char *arena_vprintf(struct arena *arena, const char *format, va_list ap);
size_t arena_bytes(const struct arena *arena); /* taken from the system, for limits and reports */

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *old, size_t size);
char *xstrdup(const char *text);

#endif
