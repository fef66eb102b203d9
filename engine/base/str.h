/*
 * str -- a growing buffer of bytes, and strict readers of numbers.
 *
 * A zeroed struct buf is an empty one. `data` is NULL or ends in a NUL that `length` does not
 * count. The readers take the whole text or fail: no leading blanks, no trailing rest, no overflow.
 */
#ifndef EVO_BASE_STR_H
#define EVO_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

struct buf {
    char *data;
    size_t length, room;
};

void buf_add(struct buf *buf, const void *data, size_t size);
void buf_puts(struct buf *buf, const char *text);
void buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_base64(struct buf *buf, const void *data, size_t size); /* RFC 4648, padded */
void buf_drop(struct buf *buf, size_t count); /* forgets the first `count` bytes */
void buf_clear(struct buf *buf);              /* empty, memory kept */
void buf_free(struct buf *buf);

bool str_to_i64(const char *text, int64_t *value);
bool str_to_f64(const char *text, double *value); /* finite only */
bool str_starts(const char *text, const char *start);
/*
 * The words of a command line, as a shell cuts them: blanks divide, 'quotes' keep what is between
 * them, "quotes" too but for \" and \\, a backslash keeps the next character. Nothing else is
 * special. NULL with err set: a quote is not closed, a backslash ends it, or more than `max` words.
 */
const char *const *str_words(struct arena *arena, const char *text, int max, struct err *err);
/* "50ms", "90s", "5m", "2h", "1d" → milliseconds. */
bool str_to_duration_ms(const char *text, int64_t *ms);

/* A whole file, at most `limit` bytes, into buf (appended). A failure leaves buf as it was. */
bool file_read(const char *path, size_t limit, struct buf *buf, struct err *err);
enum file_care {
    FILE_WHOLE,   /* a reader sees the old file or the new */
    FILE_DURABLE, /* so does whoever looks after a power cut; milliseconds dearer */
};

/* Written beside the path and renamed over it. */
bool file_write(const char *path, const void *data, size_t size, enum file_care care,
                struct err *err);

#endif
