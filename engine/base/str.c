#include "base/str.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"

static void buf_reserve(struct buf *buf, size_t more)
{
    size_t need = buf->length + more + 1;

    if (need <= buf->room) {
        return;
    }
    buf->room = need < 2 * buf->room ? 2 * buf->room : need + 64;
    buf->data = xrealloc(buf->data, buf->room);
}

void buf_add(struct buf *buf, const void *data, size_t size)
{
    buf_reserve(buf, size);
    if (size) {
        memcpy(buf->data + buf->length, data, size);
    }
    buf->length += size;
    buf->data[buf->length] = '\0';
}

void buf_puts(struct buf *buf, const char *text) { buf_add(buf, text, strlen(text)); }

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list ap, again;
    int length;

    va_start(ap, format);
    va_copy(again, ap);
    length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    assert(length >= 0);
    buf_reserve(buf, (size_t)length);
    vsnprintf(buf->data + buf->length, (size_t)length + 1, format, ap);
    buf->length += (size_t)length;
    va_end(ap);
}

void buf_base64(struct buf *buf, const void *data, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = data;

    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t three = (uint32_t)in[i] << 16 | (left > 1 ? (uint32_t)in[i + 1] << 8 : 0) |
                         (left > 2 ? in[i + 2] : 0);
        const char four[] = {digits[three >> 18], digits[three >> 12 & 63],
                             left > 1 ? digits[three >> 6 & 63] : '=',
                             left > 2 ? digits[three & 63] : '='};

        buf_add(buf, four, sizeof four);
    }
}

void buf_drop(struct buf *buf, size_t count)
{
    assert(count <= buf->length);
    if (count == 0) {
        return;
    }
    buf->length -= count;
    memmove(buf->data, buf->data + count, buf->length + 1);
}

void buf_clear(struct buf *buf)
{
    buf->length = 0;
    if (buf->data != NULL) {
        buf->data[0] = '\0';
    }
}

void buf_free(struct buf *buf)
{
    free(buf->data);
    *buf = (struct buf){0};
}

bool str_to_i64(const char *text, int64_t *value)
{
    char *end;
    long long number;

    if ((*text < '0' || *text > '9') && !(*text == '-' && text[1] >= '0' && text[1] <= '9')) {
        return false;
    }
    errno = 0;
    number = strtoll(text, &end, 10);
    if (errno != 0 || *end != '\0') {
        return false;
    }
    *value = number;
    return true;
}

bool str_to_f64(const char *text, double *value)
{
    char *end;
    double number;

    if (*text == '\0' || strchr(" \t\n\v\f\r", *text) != NULL) {
        return false;
    }
    number = strtod(text, &end);
    if (*end != '\0' || !isfinite(number)) {
        return false;
    }
    *value = number;
    return true;
}

bool str_starts(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

bool str_to_duration_ms(const char *text, int64_t *ms)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}, {"d", 86400 * 1000}};
    char digits[32];
    size_t length = strspn(text, "0123456789");
    int64_t count;

    if (length == 0 || length >= sizeof digits) {
        return false;
    }
    memcpy(digits, text, length);
    digits[length] = '\0';
    if (!str_to_i64(digits, &count)) {
        return false;
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(text + length, units[i].unit) == 0) {
            return !__builtin_mul_overflow(count, units[i].ms, ms);
        }
    }
    return false;
}

/* Copies the word at *text to *to, without its quotes, and moves both behind it. */
static bool take_word(const char **text, char **to, struct err *err)
{
    char quote = '\0'; /* the one that is open */

    for (; **text != '\0' && (quote != '\0' || **text != ' '); ++*text) {
        bool escapes = **text == '\\' && quote != '\'' &&
                       (quote == '\0' || (*text)[1] == '"' || (*text)[1] == '\\');

        if (**text == quote) {
            quote = '\0';
        } else if (quote == '\0' && (**text == '\'' || **text == '"')) {
            quote = **text;
        } else if (escapes && *++*text == '\0') {
            return err_set(err, ERR_USER, "a backslash ends the command line");
        } else {
            *(*to)++ = **text;
        }
    }
    *(*to)++ = '\0';
    return quote == '\0' || err_set(err, ERR_USER, "the quote %c is not closed", quote);
}

const char *const *str_words(struct arena *arena, const char *text, int max, struct err *err)
{
    const char **words = arena_alloc(arena, ((size_t)max + 1) * sizeof *words);
    char *to = arena_alloc(arena, strlen(text) + 2); /* words are no longer, quotes and all */
    int count = 0;

    for (;;) {
        text += strspn(text, " ");
        if (*text == '\0') {
            return words;
        }
        if (count == max) {
            err_set(err, ERR_USER, "a command line of more than %d words", max);
            return NULL;
        }
        words[count++] = to;
        if (!take_word(&text, &to, err)) {
            return NULL;
        }
    }
}

bool file_read(const char *path, size_t limit, struct buf *buf, struct err *err)
{
    struct buf text = {0};
    char chunk[16384];
    bool ok = false;
    ssize_t got;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        return err_sys(err, "cannot open '%s'", path);
    }
    while ((got = read(fd, chunk, sizeof chunk)) != 0) {
        if (got < 0) {
            if (errno == EINTR) {
                continue;
            }
            err_sys(err, "cannot read '%s'", path);
            goto out;
        }
        if (text.length + (size_t)got > limit) {
            err_set(err, ERR_USER, "'%s' is larger than %zu bytes", path, limit);
            goto out;
        }
        buf_add(&text, chunk, (size_t)got);
    }
    buf_add(buf, text.data, text.length); /* an empty file too gives a text */
    ok = true;
out:
    close(fd);
    buf_free(&text);
    return ok;
}

/* A rename is on the disk once its folder is; a file system that cannot say so is believed. */
static void sync_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    struct buf folder = {0};
    int fd;

    if (slash == NULL) {
        buf_puts(&folder, ".");
    } else {
        buf_add(&folder, path, slash == path ? 1 : (size_t)(slash - path));
    }
    fd = open(folder.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    buf_free(&folder);
}

bool file_write(const char *path, const void *data, size_t size, enum file_care care,
                struct err *err)
{
    struct buf beside = {0};
    const char *from = data;
    bool ok = false;
    int fd;

    buf_printf(&beside, "%s.%ld.new", path, (long)getpid());
    fd = open(beside.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        err_sys(err, "cannot create '%s'", beside.data);
        goto out;
    }
    while (size > 0) {
        ssize_t put = write(fd, from, size);

        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            err_sys(err, "cannot write '%s'", path);
            goto out;
        }
        from += put;
        size -= (size_t)put;
    }
    if (care == FILE_DURABLE && fsync(fd) != 0 && errno != EINVAL) { /* EINVAL: a device */
        err_sys(err, "cannot write '%s'", path);
        goto out;
    }
    ok = true;
out:
    if (fd >= 0 && close(fd) != 0 && ok) { /* some file systems tell only now */
        ok = err_sys(err, "cannot write '%s'", path);
    }
    if (ok && rename(beside.data, path) != 0) {
        ok = err_sys(err, "cannot write '%s'", path);
    }
    if (ok && care == FILE_DURABLE) {
        sync_folder_of(path);
    }
    if (fd >= 0 && !ok) {
        unlink(beside.data);
    }
    buf_free(&beside);
    return ok;
}
