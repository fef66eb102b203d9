#include "fitness/job_fields.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

int name_index(const char *const *names, int count, const char *text)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(names[i], text) == 0) {
            return i;
        }
    }
    return -1;
}

bool field_verb(const struct message *message, const char *verb, struct err *err)
{
    return strcmp(message_verb(message), verb) == 0 ||
           err_set(err, ERR_SYSTEM, "expected message '%s', got '%.80s'", verb,
                   message_verb(message));
}

const char *field_text(const struct message *message, const char *key)
{
    const char *text = message_get(message, key);

    return text != NULL ? text : "";
}

bool field_name(const struct message *message, const char *key, const char *const *names, int count,
                int *value, struct err *err)
{
    const char *text = field_text(message, key);

    *value = name_index(names, count, text);
    return *value >= 0 || err_set(err, ERR_SYSTEM, "message '%s': unknown %s '%.80s'",
                                  message_verb(message), key, text);
}

bool field_verdict(const struct message *message, const char *key, enum verdict *verdict,
                   struct err *err)
{
    int value;

    if (!field_name(message, key, verdict_names, VERDICT_COUNT, &value, err)) {
        return false;
    }
    *verdict = (enum verdict)value;
    return true;
}

bool field_count(const struct message *message, const char *key, int64_t low, int64_t high,
                 int *value, struct err *err)
{
    int64_t number = 0;

    if (!message_get_i64(message, key, &number, err)) {
        return false;
    }
    if (number < low || number > high) {
        return err_set(err, ERR_SYSTEM, "message '%s': %s %lld is not in %lld to %lld",
                       message_verb(message), key, (long long)number, (long long)low,
                       (long long)high);
    }
    *value = (int)number;
    return true;
}

bool field_bool(const struct message *message, const char *key, bool *value, struct err *err)
{
    int number = 0;

    if (!field_count(message, key, 0, 1, &number, err)) {
        return false;
    }
    *value = number == 1;
    return true;
}

bool field_ms(const struct message *message, const char *key, double *ms, struct err *err)
{
    return message_get_f64(message, key, ms, err) &&
           (*ms >= 0 ||
            err_set(err, ERR_SYSTEM, "message '%s': negative %s", message_verb(message), key));
}

bool field_too_many(const struct message *message, const char *what, struct err *err)
{
    return err_set(err, ERR_SYSTEM, "message '%s': too many of '%s'", message_verb(message), what);
}

bool field_malformed(const struct message *message, const char *key, const char *line,
                     struct err *err)
{
    return err_set(err, ERR_SYSTEM, "message '%s': malformed '%s %.200s'", message_verb(message),
                   key, line);
}

bool parse_f64_or_nan(const char *text, double *value)
{
    if (strcmp(text, "nan") == 0) {
        *value = NAN;
        return true;
    }
    return str_to_f64(text, value);
}

const char *text_of_f64(struct arena *arena, double value)
{
    return isfinite(value) ? arena_printf(arena, "%.17g", value) : "nan";
}

const char *word_next(char **rest)
{
    char *word = *rest, *blank;

    if (word == NULL || *word == '\0') {
        return NULL;
    }
    blank = strchr(word, ' ');
    if (blank != NULL) {
        *blank = '\0';
    }
    *rest = blank != NULL ? blank + 1 : NULL;
    return word;
}

bool word_i64(char **rest, int64_t *value)
{
    const char *word = word_next(rest);

    return word != NULL && str_to_i64(word, value);
}

bool word_f64(char **rest, double *value)
{
    const char *word = word_next(rest);

    return word != NULL && str_to_f64(word, value);
}

bool word_f64_or_none(char **rest, double *value)
{
    const char *word = word_next(rest);

    return word != NULL && parse_f64_or_nan(word, value);
}

bool parse_hex64(const char *text, uint64_t *value)
{
    if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16) {
        return false;
    }
    *value = strtoull(text, NULL, 16);
    return true;
}

bool field_secret(const struct message *message, uint64_t *secret, struct err *err)
{
    return parse_hex64(field_text(message, "secret"), secret) ||
           field_malformed(message, "secret", "(not shown)", err);
}

/* ---- images ---- */

/* A program as a message of its own, carried as a body. */
static void put_program(struct arena *arena, struct message *message, const char *name,
                        const struct program *program)
{
    struct message *inner = message_new(arena, "program");
    struct buf wire = {0};

    program_put(inner, program);
    message_encode(inner, &wire);
    message_body(message, name, wire.data + 4, wire.length - 4);
    buf_free(&wire);
}

void field_put_image(struct arena *arena, struct message *message, int index,
                     const struct judge_image *image)
{
    put_program(arena, message, arena_printf(arena, "program.%d", index), &image->program);
    message_body(message, arena_printf(arena, "cubin.%d", index), image->cubin, image->cubin_bytes);
    message_body(message, arena_printf(arena, "ptx.%d", index), image->ptx, image->ptx_bytes);
}

bool field_image(struct arena *arena, const struct message *message, int index,
                 const char *code_key, struct judge_image *image, struct err *err)
{
    struct message *inner;
    const char *program;
    size_t size;

    if (!hash_from_hex(code_key, &image->code_key)) {
        return field_malformed(message, "image", code_key, err);
    }
    program = message_get_body(message, arena_printf(arena, "program.%d", index), &size);
    image->cubin =
        message_get_body(message, arena_printf(arena, "cubin.%d", index), &image->cubin_bytes);
    image->ptx = message_get_body(message, arena_printf(arena, "ptx.%d", index), &image->ptx_bytes);
    if (program == NULL || image->cubin == NULL || image->ptx == NULL) {
        return err_set(err, ERR_SYSTEM, "message '%s' lacks a body of image %d",
                       message_verb(message), index);
    }
    return message_decode(arena, program, size, &inner, err) && field_verb(inner, "program", err) &&
           program_get(arena, inner, &image->program, err);
}
