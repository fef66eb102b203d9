#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* By way of a copy: what is formatted may be the text that it replaces. */
static void set_what(struct err *err, const char *format, va_list ap)
{
    char text[sizeof err->what];

    vsnprintf(text, sizeof text, format, ap);
    memcpy(err->what, text, strlen(text) + 1);
}

bool err_set(struct err *err, enum err_kind kind, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    set_what(err, format, ap);
    va_end(ap);
    err->kind = kind;
    err->hint[0] = '\0';
    return false;
}

bool err_sys(struct err *err, const char *format, ...)
{
    const char *why = strerror(errno);
    va_list ap;
    size_t used;

    va_start(ap, format);
    set_what(err, format, ap);
    va_end(ap);
    err->kind = ERR_SYSTEM;
    err->hint[0] = '\0';
    used = strlen(err->what);
    snprintf(err->what + used, sizeof err->what - used, ": %s", why);
    return false;
}

bool err_hint(struct err *err, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vsnprintf(err->hint, sizeof err->hint, format, ap);
    va_end(ap);
    return false;
}

bool err_in(struct err *err, const char *format, ...)
{
    char inner[sizeof err->what];
    va_list ap;
    size_t used;

    snprintf(inner, sizeof inner, "%s", err->what);
    va_start(ap, format);
    set_what(err, format, ap);
    va_end(ap);
    used = strlen(err->what);
    snprintf(err->what + used, sizeof err->what - used, ": %s", inner);
    return false;
}

int err_exit_code(const struct err *err)
{
    switch (err->kind) {
    case ERR_NONE: return 0;
    case ERR_SYSTEM: return 1;
    case ERR_USER: return 2;
    case ERR_DEVICE: return 3;
    }
    return 1;
}
