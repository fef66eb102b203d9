/*
 * cubin -- what a CUDA binary says about its kernels, without a driver.
 *
 * Reads the ELF that ptxas makes (64-bit little endian, machine 190): registers, stack, shared
 * memory, barriers, parameters, writable state; and the code key, a hash of everything that decides
 * what the program does and needs (code, constants, registers, shared memory), without names of
 * files, command lines and time stamps. Input is untrusted: every offset is checked.
 */
#ifndef EVO_FITNESS_CUBIN_H
#define EVO_FITNESS_CUBIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/hash.h"
#include "fitness/job.h"

struct cubin_facts {
    struct entry_facts entries[JOB_ENTRIES_MAX]; /* spill bytes are not in a cubin: 0 here */
    int entry_count;
    int64_t arch;                 /* 90 */
    int64_t writable_state_bytes; /* __device__ variables: memory between launches */
    const char *calls_out; /* a function it needs and does not hold (malloc, vprintf), or "" */
    const char *tool;      /* the ptxas that made it, "V13.0.88"; "" when it does not say */
    struct hash code_key;
};

/* False when this is not a cubin, or one with more than JOB_ENTRIES_MAX kernels. */
bool cubin_read(struct arena *arena, const void *data, size_t size, struct cubin_facts *facts,
                struct err *err);

#endif
