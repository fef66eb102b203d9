#include "base/frame.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct field {
    const char *key, *value;
};

struct body {
    const char *name, *data;
    size_t size;
};

struct message {
    struct arena *arena;
    const char *verb;
    struct field *fields;
    size_t field_count, field_room;
    struct body bodies[FRAME_BODIES_MAX];
    size_t body_count;
};

static bool is_word(const char *text)
{
    return *text != '\0' && text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_.")] == '\0';
}

struct message *message_new(struct arena *arena, const char *verb)
{
    struct message *message = arena_alloc(arena, sizeof *message);

    assert(is_word(verb));
    message->arena = arena;
    message->verb = arena_dup(arena, verb);
    return message;
}

const char *message_verb(const struct message *message) { return message->verb; }

static void add_field(struct message *message, const char *key, const char *value)
{
    if (message->field_count == message->field_room) {
        size_t room = message->field_room ? 2 * message->field_room : 32;
        struct field *more = arena_alloc(message->arena, room * sizeof *more);

        if (message->field_count) {
            memcpy(more, message->fields, message->field_count * sizeof *more);
        }
        message->fields = more;
        message->field_room = room;
    }
    message->fields[message->field_count++] = (struct field){key, value};
}

void message_put(struct message *message, const char *key, const char *format, ...)
{
    va_list ap;
    const char *value;

    va_start(ap, format);
    value = arena_vprintf(message->arena, format, ap);
    va_end(ap);
    add_field(message, arena_dup(message->arena, key), value);
}

void message_put_i64(struct message *message, const char *key, int64_t value)
{
    message_put(message, key, "%lld", (long long)value);
}

void message_put_f64(struct message *message, const char *key, double value)
{
    message_put(message, key, "%.17g", value);
}

void message_put_hash(struct message *message, const char *key, const struct hash *hash)
{
    char hex[HASH_HEX + 1];

    hash_to_hex(hash, hex);
    message_put(message, key, "%s", hex);
}

void message_put_line(struct message *message, const char *key, const char *text)
{
    char *line = arena_dup(message->arena, text);

    for (char *c = line; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f) {
            *c = ' ';
        }
    }
    add_field(message, arena_dup(message->arena, key), line);
}

void message_body(struct message *message, const char *name, const void *data, size_t size)
{
    assert(message->body_count < FRAME_BODIES_MAX && is_word(name));
    message->bodies[message->body_count++] =
        (struct body){arena_dup(message->arena, name),
                      arena_text(message->arena, data, size), size};
}

const char *message_each(const struct message *message, const char *key, size_t *at)
{
    while (*at < message->field_count) {
        const struct field *field = &message->fields[(*at)++];

        if (strcmp(field->key, key) == 0) {
            return field->value;
        }
    }
    return NULL;
}

const char *message_get(const struct message *message, const char *key)
{
    size_t at = 0;

    return message_each(message, key, &at);
}

static bool complain(const struct message *message, const char *key, const char *value,
                     const char *wanted, struct err *err)
{
    if (value == NULL) {
        return err_set(err, ERR_SYSTEM, "message '%s' lacks '%s'", message->verb, key);
    }
    return err_set(err, ERR_SYSTEM, "message '%s': '%s %.100s' is not %s", message->verb, key,
                   value, wanted);
}

bool message_get_i64(const struct message *message, const char *key, int64_t *value,
                     struct err *err)
{
    const char *text = message_get(message, key);

    return (text != NULL && str_to_i64(text, value)) ||
           complain(message, key, text, "an integer", err);
}

bool message_get_f64(const struct message *message, const char *key, double *value,
                     struct err *err)
{
    const char *text = message_get(message, key);

    return (text != NULL && str_to_f64(text, value)) ||
           complain(message, key, text, "a finite number", err);
}

bool message_get_hash(const struct message *message, const char *key, struct hash *hash,
                      struct err *err)
{
    const char *text = message_get(message, key);

    return (text != NULL && hash_from_hex(text, hash)) ||
           complain(message, key, text, "a hash", err);
}

const char *message_get_body(const struct message *message, const char *name, size_t *size)
{
    for (size_t i = 0; i < message->body_count; i++) {
        if (strcmp(message->bodies[i].name, name) == 0) {
            *size = message->bodies[i].size;
            return message->bodies[i].data;
        }
    }
    *size = 0;
    return NULL;
}

void message_encode(const struct message *message, struct buf *wire)
{
    size_t start = wire->length, length;

    buf_add(wire, "\0\0\0\0", 4);
    buf_printf(wire, "%s\n", message->verb);
    for (size_t i = 0; i < message->field_count; i++) {
        const struct field *field = &message->fields[i];

        assert(is_word(field->key) && strcmp(field->key, "body") != 0);
        assert(strchr(field->value, '\n') == NULL);
        buf_printf(wire, "%s %s\n", field->key, field->value);
    }
    for (size_t i = 0; i < message->body_count; i++) {
        buf_printf(wire, "body %s %zu\n", message->bodies[i].name, message->bodies[i].size);
    }
    buf_puts(wire, "\n");
    for (size_t i = 0; i < message->body_count; i++) {
        buf_add(wire, message->bodies[i].data, message->bodies[i].size);
    }
    length = wire->length - start - 4;
    assert(length <= FRAME_BYTES_MAX && message->field_count <= FRAME_FIELDS_MAX);
    for (int i = 0; i < 4; i++) {
        wire->data[start + (size_t)i] = (char)(length >> 8 * i & 0xff);
    }
}

static bool decode_body(struct message *message, const char *value, struct err *err)
{
    size_t length = strcspn(value, " ");
    const char *name = arena_text(message->arena, value, length);
    int64_t size;

    if (!is_word(name) || value[length] == '\0' || !str_to_i64(value + length + 1, &size) ||
        size < 0 || size > FRAME_BYTES_MAX) {
        return err_set(err, ERR_SYSTEM, "malformed frame: body line '%.80s'", value);
    }
    if (message->body_count == FRAME_BODIES_MAX) {
        return err_set(err, ERR_SYSTEM, "malformed frame: more than %d bodies", FRAME_BODIES_MAX);
    }
    message->bodies[message->body_count++] = (struct body){name, NULL, (size_t)size};
    return true;
}

/* One line of the head, already cut out and free of NUL. */
static bool decode_line(struct message *message, char *line, struct err *err)
{
    char *blank = strchr(line, ' ');

    if (blank == NULL) {
        return err_set(err, ERR_SYSTEM, "malformed frame: line '%.80s' has no value", line);
    }
    *blank = '\0';
    if (!is_word(line)) {
        return err_set(err, ERR_SYSTEM, "malformed frame: key '%.80s'", line);
    }
    if (strcmp(line, "body") == 0) {
        return decode_body(message, blank + 1, err);
    }
    if (message->field_count == FRAME_FIELDS_MAX) {
        return err_set(err, ERR_SYSTEM, "malformed frame: more than %d fields", FRAME_FIELDS_MAX);
    }
    add_field(message, line, blank + 1);
    return true;
}

bool message_decode(struct arena *arena, const char *data, size_t size, struct message **out,
                    struct err *err)
{
    struct message *message = arena_alloc(arena, sizeof *message);
    const char *at = data, *end = data + size;

    message->arena = arena;
    for (;;) {
        const char *newline = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
        char *line;

        if (newline == NULL) {
            return err_set(err, ERR_SYSTEM, "malformed frame: the head does not end");
        }
        if (memchr(at, '\0', (size_t)(newline - at)) != NULL) {
            return err_set(err, ERR_SYSTEM, "malformed frame: NUL in the head");
        }
        line = arena_text(arena, at, (size_t)(newline - at));
        at = newline + 1;
        if (message->verb == NULL) {
            if (!is_word(line)) {
                return err_set(err, ERR_SYSTEM, "malformed frame: verb '%.80s'", line);
            }
            message->verb = line;
        } else if (*line == '\0') {
            break;
        } else if (!decode_line(message, line, err)) {
            return false;
        }
    }
    for (size_t i = 0; i < message->body_count; i++) {
        struct body *body = &message->bodies[i];

        if ((size_t)(end - at) < body->size) {
            return err_set(err, ERR_SYSTEM, "malformed frame: body '%s' is cut short", body->name);
        }
        body->data = arena_text(arena, at, body->size);
        at += body->size;
    }
    if (at != end) {
        return err_set(err, ERR_SYSTEM, "malformed frame: %zu bytes too many",
                       (size_t)(end - at));
    }
    *out = message;
    return true;
}

static size_t wire_length(const char *data)
{
    const unsigned char *bytes = (const unsigned char *)data;

    return (size_t)bytes[0] | (size_t)bytes[1] << 8 | (size_t)bytes[2] << 16 |
           (size_t)bytes[3] << 24;
}

bool frame_take(struct buf *wire, struct arena *arena, struct message **message, struct err *err)
{
    size_t length;

    *message = NULL;
    if (wire->length < 4) {
        return true;
    }
    length = wire_length(wire->data);
    if (length > FRAME_BYTES_MAX) {
        return err_set(err, ERR_SYSTEM, "malformed frame: length %zu", length);
    }
    if (wire->length < 4 + length) {
        return true;
    }
    if (!message_decode(arena, wire->data + 4, length, message, err)) {
        return false;
    }
    buf_drop(wire, 4 + length);
    return true;
}

/* Reads exactly `size` bytes; *got tells how far it came before the end of the file. */
static bool read_all(int fd, char *data, size_t size, size_t *got, struct err *err)
{
    for (*got = 0; *got < size;) {
        ssize_t step = read(fd, data + *got, size - *got);

        if (step < 0 && errno == EINTR) {
            continue;
        }
        if (step < 0) {
            return err_sys(err, "cannot read a frame");
        }
        if (step == 0) {
            break;
        }
        *got += (size_t)step;
    }
    return true;
}

bool frame_read(int fd, struct arena *arena, struct message **message, struct err *err)
{
    char head[4];
    size_t got, length;
    char *data;

    err->kind = ERR_NONE;
    if (!read_all(fd, head, sizeof head, &got, err)) {
        return false;
    }
    if (got == 0) {
        return false; /* a clean end */
    }
    length = got == sizeof head ? wire_length(head) : 0;
    if (got < sizeof head || length > FRAME_BYTES_MAX) {
        return err_set(err, ERR_SYSTEM, "malformed frame: bad length");
    }
    data = xmalloc(length);
    if (!read_all(fd, data, length, &got, err)) {
        free(data);
        return false;
    }
    if (got < length) {
        free(data);
        return err_set(err, ERR_SYSTEM, "malformed frame: cut short");
    }
    if (!message_decode(arena, data, length, message, err)) {
        free(data);
        return false;
    }
    free(data);
    return true;
}

bool frame_write(int fd, const struct message *message, struct err *err)
{
    struct buf wire = {0};
    size_t done = 0;
    bool ok = true;

    message_encode(message, &wire);
    while (done < wire.length) {
        ssize_t put = write(fd, wire.data + done, wire.length - done);

        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            ok = err_sys(err, "cannot write a frame");
            break;
        }
        done += (size_t)put;
    }
    buf_free(&wire);
    return ok;
}
