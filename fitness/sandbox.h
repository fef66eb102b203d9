/*
 * sandbox -- what a worker gives up before it looks at anything that a candidate wrote.
 *
 * A worker that compiles or runs a candidate holds no secret and owns nothing: it forgets the
 * environment but for what evo, CUDA and the C library read; it may leave no core, start no program
 * and trace none, and (as asked) open no file but those named and no connection. The kernel holds
 * it to that: Landlock for files and TCP (Linux 5.13, 6.7), seccomp for system calls. Where the
 * kernel has neither the worker goes on without and says so in its HELLO.
 *
 * Nothing here costs time: rules are looked at when a file is opened, and seccomp's filter is a few
 * comparisons a system call, of which neither NVRTC nor a kernel's launch makes many.
 */
#ifndef EVO_FITNESS_SANDBOX_H
#define EVO_FITNESS_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

enum { SANDBOX_PATHS_MAX = 24 };

struct sandbox {
    /* Files and folders, with what is below them. Those that are not there, and NULLs, are fine. */
    const char *readable[SANDBOX_PATHS_MAX];
    const char *writable[SANDBOX_PATHS_MAX];
    bool closes_files;    /* no others may be opened */
    bool closes_sockets;  /* no socket may be made */
    int64_t memory_bytes; /* of address space; 0: no limit */
    int64_t file_bytes;   /* of any file written; 0: no limit */
};

/*
 * Enters it, for good; call it while the process has one thread, or with closes_files false.
 * Returns what holds now, for people: "landlock 7, seccomp", or what is missing: "no landlock,
 * seccomp".
 */
const char *sandbox_enter(const struct sandbox *sandbox);

/* A job may use so much processor time from now on; beyond it the process is killed. */
void sandbox_allow_cpu(int64_t seconds);

#endif
