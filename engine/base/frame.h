/*
 * frame -- the messages between the engine and its workers.
 *
 * On the wire a frame is a little-endian u32 length and that many bytes:
 *
 *     judge\n                        the verb
 *     id 147\n                       key, one blank, value up to the end of the line; keys may
 * repeat body cubin 23144\n             announces a named body of so many bytes \n an empty line
 * ends the head <the bodies, in the order announced, back to back>
 *
 * Keys, verbs and bodies' names are [a-z0-9_.]+ (no key is `body`); a value holds any bytes but
 * newline and NUL. Everything is read back strictly: what is not exactly this form is an error,
 * never a guess.
 *
 * struct message is both what is built to be sent and what was received. It lives in an arena;
 * a received message points into copies in that arena, its bodies end in an uncounted NUL.
 */
#ifndef EVO_BASE_FRAME_H
#define EVO_BASE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/str.h"

enum {
    FRAME_BYTES_MAX = 64 << 20, /* a cubin is under 1 MB; a judge's raw samples under 4 MB */
    FRAME_FIELDS_MAX = 4096,
    FRAME_BODIES_MAX = 128,
};

struct message;

struct message *message_new(struct arena *arena, const char *verb);
const char *message_verb(const struct message *message);

void message_put(struct message *message, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void message_put_i64(struct message *message, const char *key, int64_t value);
void message_put_f64(struct message *message, const char *key, double value); /* exact (%.17g) */
void message_put_hash(struct message *message, const char *key, const struct hash *hash);
/* Newlines and other control bytes of free text become blanks. */
void message_put_line(struct message *message, const char *key, const char *text);
void message_body(struct message *message, const char *name, const void *data, size_t size);

/* The value of the first such key, or NULL. */
const char *message_get(const struct message *message, const char *key);
/* Steps through all values of a repeated key: start with *at = 0; NULL at the end. */
const char *message_each(const struct message *message, const char *key, size_t *at);
bool message_get_i64(const struct message *message, const char *key, int64_t *value,
                     struct err *err); /* absent or malformed is an error */
bool message_get_f64(const struct message *message, const char *key, double *value,
                     struct err *err);
bool message_get_hash(const struct message *message, const char *key, struct hash *hash,
                      struct err *err);
/* The named body, or NULL with *size 0. */
const char *message_get_body(const struct message *message, const char *name, size_t *size);

/* Appends the whole frame, length included. Asserts on keys or values the format cannot hold. */
void message_encode(const struct message *message, struct buf *wire);
/* Decodes the bytes behind the length. */
bool message_decode(struct arena *arena, const char *data, size_t size, struct message **message,
                    struct err *err);

/*
 * Takes one whole message off the front of `wire`, the bytes received so far. *message is NULL when
 * more bytes are needed. False: the peer does not speak the protocol.
 */
bool frame_take(struct buf *wire, struct arena *arena, struct message **message, struct err *err);

/* Blocking forms for workers: false with err->kind ERR_NONE is a clean end of file. */
bool frame_read(int fd, struct arena *arena, struct message **message, struct err *err);
bool frame_write(int fd, const struct message *message, struct err *err);

#endif
