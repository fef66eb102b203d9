#include "fitness/compile_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/folder.h"
#include "base/frame.h"
#include "base/log.h"
#include "base/str.h"

#define CACHE_BYTES (INT64_C(2) << 30) /* some 40 000 kernels */

enum {
    PRUNE_EVERY_S = 120,   /* looking at every file takes about a second for 100 000 of them */
    PRUNE_EVERY_PUTS = 512,
    FILES_MAX = 1 << 20,
};

struct compile_cache {
    char folder[PATH_MAX]; /* absolute, with /compile */
    unsigned puts;
    bool failed; /* to write; said once */
};

/* Pruning. The file `pruned` says by its time when it was last done, and its lock that it is. */
struct old_file {
    char name[2 + 1 + NAME_MAX + 1]; /* ab/abcdef… */
    int64_t bytes;
    struct timespec used;
};

struct listing {
    struct old_file *files;
    size_t count, room;
    int64_t bytes;
};

static void list_folder(int root, const char *name, struct listing *listing)
{
    int fd = openat(root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *item;
    struct stat facts;

    if (folder == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        return;
    }
    while (listing->count < FILES_MAX && (item = readdir(folder)) != NULL) {
        struct old_file *file;

        if (fstatat(fd, item->d_name, &facts, AT_SYMLINK_NOFOLLOW) != 0 ||
            !S_ISREG(facts.st_mode)) {
            continue;
        }
        if (listing->count == listing->room) {
            listing->room = listing->room ? 2 * listing->room : 1024;
            listing->files = xrealloc(listing->files, listing->room * sizeof *listing->files);
        }
        file = &listing->files[listing->count++];
        snprintf(file->name, sizeof file->name, "%s/%s", name, item->d_name);
        file->bytes = (int64_t)facts.st_blocks * 512;
        file->used = facts.st_mtim;
        listing->bytes += file->bytes;
    }
    closedir(folder);
}

static int by_use(const void *a, const void *b)
{
    const struct old_file *x = a, *y = b;

    if (x->used.tv_sec != y->used.tv_sec) {
        return x->used.tv_sec < y->used.tv_sec ? -1 : 1;
    }
    return (x->used.tv_nsec > y->used.tv_nsec) - (x->used.tv_nsec < y->used.tv_nsec);
}

/* Down to nine tenths, so that the next round has nothing to do. */
static void forget_oldest(int root)
{
    struct listing listing = {0};

    for (int i = 0; i < 256; i++) {
        char name[3];

        snprintf(name, sizeof name, "%02x", i);
        list_folder(root, name, &listing);
    }
    if (listing.bytes > CACHE_BYTES) {
        qsort(listing.files, listing.count, sizeof *listing.files, by_use);
        for (size_t i = 0; i < listing.count && listing.bytes > CACHE_BYTES / 10 * 9; i++) {
            unlinkat(root, listing.files[i].name, 0);
            listing.bytes -= listing.files[i].bytes;
        }
    }
    free(listing.files);
}

static void prune(struct compile_cache *cache)
{
    int root = open(cache->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), mark = -1;
    struct stat facts;

    if (root < 0) {
        return;
    }
    mark = openat(root, "pruned", O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (mark >= 0 && flock(mark, LOCK_EX | LOCK_NB) == 0 && fstat(mark, &facts) == 0 &&
        time(NULL) - facts.st_mtime >= PRUNE_EVERY_S) {
        forget_oldest(root);
        futimens(mark, NULL);
    }
    if (mark >= 0) {
        close(mark);
    }
    close(root);
}

bool compile_cache_open(const char *folder, struct compile_cache **out, struct err *err)
{
    struct compile_cache *cache = xcalloc(1, sizeof *cache);
    char wanted[PATH_MAX], below[PATH_MAX + 16];

    *out = NULL;
    if (folder != NULL) {
        snprintf(wanted, sizeof wanted, "%s", folder);
    } else if (!folder_cache(wanted, err)) {
        goto fail;
    }
    snprintf(below, sizeof below, "%s/compile", wanted);
    if (!folder_make(below, err)) {
        goto fail;
    }
    if (realpath(below, cache->folder) == NULL) {
        err_sys(err, "cannot find '%s'", below);
        goto fail;
    }
    prune(cache);
    *out = cache;
    return true;
fail:
    free(cache);
    return false;
}

const char *compile_cache_folder(const struct compile_cache *cache) { return cache->folder; }

void compile_cache_close(struct compile_cache *cache) { free(cache); }

static const char *entry_path(const struct compile_cache *cache, struct arena *arena,
                              const struct hash *key, int *folder_length)
{
    char hex[HASH_HEX + 1];

    hash_to_hex(key, hex);
    *folder_length = (int)strlen(cache->folder) + 3;
    return arena_printf(arena, "%s/%.2s/%s", cache->folder, hex, hex);
}

/* An entry is one frame: the fields, and the bodies log, ptx and cubin. */
static struct hash entry_digest(const struct hash *key, const struct compiled *compiled)
{
    struct hasher hasher;

    hash_begin(&hasher, "evo.compiled.1");
    hash_field(&hasher, "key", key->bytes, HASH_BYTES);
    hash_i64(&hasher, "accepted", compiled->accepted);
    hash_text(&hasher, "log", compiled->log);
    hash_field(&hasher, "ptx", compiled->ptx, compiled->ptx_bytes);
    hash_field(&hasher, "cubin", compiled->cubin, compiled->cubin_bytes);
    return hash_end(&hasher);
}

static bool entry_decode(const struct message *message, const struct hash *key,
                         struct compiled *compiled, struct err *err)
{
    struct hash said, is;
    int64_t accepted;
    size_t log_bytes;

    if (!message_get_hash(message, "digest", &said, err) ||
        !message_get_i64(message, "accepted", &accepted, err)) {
        return false;
    }
    *compiled = (struct compiled){.accepted = accepted != 0};
    compiled->log = message_get_body(message, "log", &log_bytes);
    compiled->ptx = message_get_body(message, "ptx", &compiled->ptx_bytes);
    compiled->cubin = message_get_body(message, "cubin", &compiled->cubin_bytes);
    if (compiled->log == NULL || compiled->ptx == NULL || compiled->cubin == NULL) {
        return err_set(err, ERR_SYSTEM, "a body is missing");
    }
    is = entry_digest(key, compiled);
    return hash_equal(&is, &said) || err_set(err, ERR_SYSTEM, "its digest differs");
}

bool compile_cache_get(struct compile_cache *cache, struct arena *arena, const struct hash *key,
                       struct compiled *compiled)
{
    struct message *message = NULL;
    struct buf wire = {0};
    struct err err = {0};
    const char *path;
    bool found = false;
    int length;

    if (cache == NULL) {
        return false;
    }
    path = entry_path(cache, arena, key, &length);
    if (access(path, F_OK) != 0) {
        return false;
    }
    if (file_read(path, FRAME_BYTES_MAX, &wire, &err) &&
        frame_take(&wire, arena, &message, &err)) {
        found = message != NULL ? entry_decode(message, key, compiled, &err)
                                : err_set(&err, ERR_SYSTEM, "it is cut short");
    }
    buf_free(&wire);
    if (found) {
        utimensat(AT_FDCWD, path, NULL, 0); /* used just now */
    } else {
        log_line("compile", "'%s' is damaged (%s) and will be replaced", path, err.what);
    }
    return found;
}

void compile_cache_put(struct compile_cache *cache, struct arena *arena, const struct hash *key,
                       const struct compiled *compiled)
{
    struct message *message;
    struct buf wire = {0};
    struct err err = {0};
    struct hash digest;
    const char *path;
    int length;

    if (cache == NULL) {
        return;
    }
    path = entry_path(cache, arena, key, &length);
    digest = entry_digest(key, compiled);
    message = message_new(arena, "compiled");
    message_put_hash(message, "digest", &digest);
    message_put_i64(message, "accepted", compiled->accepted);
    message_body(message, "log", compiled->log, strlen(compiled->log));
    message_body(message, "ptx", compiled->ptx, compiled->ptx_bytes);
    message_body(message, "cubin", compiled->cubin, compiled->cubin_bytes);
    message_encode(message, &wire);
    mkdir(arena_text(arena, path, (size_t)length), 0777); /* file_write tells when it is missing */
    if (!file_write(path, wire.data, wire.length, FILE_WHOLE, &err) && !cache->failed) {
        log_line("compile", "going on without writing to the cache: %s", err.what);
        cache->failed = true;
    }
    buf_free(&wire);
    if (++cache->puts % PRUNE_EVERY_PUTS == 0) {
        prune(cache);
    }
}
