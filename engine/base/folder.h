/*
 * folder -- folders that are made where they are missing, and the one where things are cached.
 *
 * The cache folder holds what can be made again: compiled code, and which judges passed their
 * self-test. No state.
 */
#ifndef EVO_BASE_FOLDER_H
#define EVO_BASE_FOLDER_H

#include <limits.h>
#include <stdbool.h>

#include "base/err.h"

/* With those above it; one that is there already is fine. */
bool folder_make(const char *path, struct err *err);
/* $EVO_CACHE_DIR, $XDG_CACHE_HOME/evo, ~/.cache/evo. It may not be there yet. */
bool folder_cache(char folder[PATH_MAX], struct err *err);

#endif
