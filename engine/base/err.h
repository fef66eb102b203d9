/*
 * err -- the text of a failure, built from the inside out.
 *
 * A fallible function returns bool and takes a `struct err *` last. Where it fails, the deepest
 * function says what happened (err_set, err_sys), may add what to do about it (err_hint), and each
 * caller on the way out may say what it was doing (err_in). Only main prints.
 *
 * Every function here returns false, so that a failure is one line: return err_set(err, ...);
 * Texts are lower case, without a full stop, the failing thing in 'quotes'.
 * Memory: fixed buffers inside the struct; longer texts are cut. A NULL err is not allowed. What is
 * formatted may be the err's own text.
 */
#ifndef EVO_BASE_ERR_H
#define EVO_BASE_ERR_H

#include <stdbool.h>

enum err_kind {
    ERR_NONE,
    ERR_USER,   /* the caller asked for something wrong: exit code 2 */
    ERR_SYSTEM, /* the machine failed us: disk, memory, a library: exit code 1 */
    ERR_DEVICE, /* a GPU or its driver failed us: exit code 3 */
};

struct err {
    enum err_kind kind;
    char what[1536];
    char hint[768];
};

bool err_set(struct err *err, enum err_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* ERR_SYSTEM with errno's text behind the message. */
bool err_sys(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What the reader can do about it; kept beside the message. */
bool err_hint(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Puts "context: " in front of the message. */
bool err_in(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

int err_exit_code(const struct err *err);

#endif
