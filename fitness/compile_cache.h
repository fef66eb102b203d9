/*
 * compile_cache -- what was compiled once is read from the disk the next time.
 *
 * One file an entry, FOLDER/compile/ab/abcdef…, named by the source key: a hash of everything that
 * decides what the compiler says. A file is written beside its name and renamed, holds a digest of
 * its contents, and is believed only if that agrees: many workers and runs share a folder without a
 * lock, and a damaged file costs one compile. The folder is kept near CACHE_BYTES by forgetting
 * what was not used for longest.
 *
 * A cache that does not work is not an error: it is said once in the log and done without.
 */
#ifndef EVO_FITNESS_COMPILE_CACHE_H
#define EVO_FITNESS_COMPILE_CACHE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/hash.h"

struct compile_cache;

struct compiled {
    bool accepted; /* false: the compiler refused the source, the log says why */
    const char *log, *ptx, *cubin; /* no code when refused */
    size_t ptx_bytes, cubin_bytes;
};

/* NULL: $EVO_CACHE_DIR, $XDG_CACHE_HOME/evo, ~/.cache/evo. */
bool compile_cache_open(const char *folder, struct compile_cache **cache, struct err *err);
void compile_cache_close(struct compile_cache *cache); /* NULL is fine */

const char *compile_cache_folder(const struct compile_cache *cache); /* all it writes is below */

/* A NULL cache never holds anything. */
bool compile_cache_get(struct compile_cache *cache, struct arena *arena, const struct hash *key,
                       struct compiled *compiled);
void compile_cache_put(struct compile_cache *cache, struct arena *arena, const struct hash *key,
                       const struct compiled *compiled);

#endif
