/*
 * compile_headers -- the CUDA headers that a source includes, for a compiler that reads no files.
 *
 * NVRTC brings no header that can be included. The few that kernels use are read from the user's
 * toolkit when first asked for (their licence forbids shipping them) and handed over as texts: what
 * was compiled is then known to the byte, and a digest of it can stand in a cache key. Any other
 * header of the toolkit is found through an include folder, for which folder and version stand.
 *
 * Owner: evo-compile, one thread. Memory lives as long as the process.
 */
#ifndef EVO_FITNESS_COMPILE_HEADERS_H
#define EVO_FITNESS_COMPILE_HEADERS_H

#include <stdbool.h>

#include "base/hash.h"

enum { HEADERS_EMBEDDED_MAX = 5, HEADERS_OPTIONS_MAX = 2 };

struct headers {
    const char *const *names, *const *texts; /* as nvrtcCreateProgram takes them */
    int count;
    const char *options[HEADERS_OPTIONS_MAX]; /* -I…, when an include needs them */
    int option_count;
    struct hash digest; /* of what these headers are */
    bool sealed;        /* false: the source may read files that the digest does not cover */
};

/* cuda_version: as cuda.h has it (13000); a toolkit of another version is not used. */
void headers_for(const char *source, int cuda_version, struct headers *headers);

#endif
