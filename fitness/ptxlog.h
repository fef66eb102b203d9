/*
 * ptxlog -- what a compile log says: who refused the source and why, or what ptxas spent.
 *
 * Reads the log of NVRTC with -Xptxas=-v. Only the log knows spilled bytes and the advice that
 * ptxas gives on slow code. It is text for people and its wording moves between versions: unknown
 * lines are skipped and a fact that is not there stays 0, so nothing but hints may depend on it.
 * Registers, stack and shared memory are also in the cubin, which is the one to believe.
 */
#ifndef EVO_FITNESS_PTXLOG_H
#define EVO_FITNESS_PTXLOG_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "fitness/job.h"

enum {
    PTXLOG_REASON_MAX = 400,    /* bytes of an error line that are kept */
    PTXLOG_WARNINGS_MAX = 4096, /* bytes of all warnings together */
};

/* Who wrote the first error line. */
enum ptxlog_stage { PTXLOG_NO_ERROR, PTXLOG_FRONT_END, PTXLOG_PTXAS };

struct ptxlog_entry {
    const char *name;
    int64_t registers, barriers, stack_bytes, smem_bytes;
    int64_t spill_store_bytes, spill_load_bytes; /* of the kernel and the functions it calls */
};

struct ptxlog {
    struct ptxlog_entry entries[JOB_ENTRIES_MAX]; /* later ones are skipped */
    int entry_count;
    int64_t gmem_bytes; /* __device__ variables of the module */
    enum ptxlog_stage stage;
    const char *error;    /* "" when no line is one; of ptxas it begins "ptxas: " */
    const char *warnings; /* lines of ptxas that cost speed, each once, joined by "; ", or "" */
    const char *slow; /* the one that says that matrix instructions wait for one another, or "" */
};

void ptxlog_read(struct arena *arena, const char *log, size_t size, struct ptxlog *facts);

#endif
