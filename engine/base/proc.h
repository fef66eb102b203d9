/*
 * proc -- child processes that speak frames, and the lock that makes a run its owner's.
 *
 * A child's stdin and stdout are pipes to us (non-blocking on our side), its stderr is ours. It
 * dies with us: PR_SET_PDEATHSIG, and its own watcher sees stdin close. Threads: one.
 */
#ifndef EVO_BASE_PROC_H
#define EVO_BASE_PROC_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

enum {
    PROC_KILL_MS = 3000,
    PROC_STUCK = -1, /* no wait status is negative */
};

struct proc {
    pid_t pid;  /* 0: none */
    int to;     /* its stdin */
    int from;   /* its stdout */
};

/* argv[0] is looked up along PATH when it holds no slash. */
bool proc_spawn(struct proc *proc, char *const argv[], struct err *err);
/*
 * SIGKILL, close, reap. Returns the wait status. Safe on an empty proc. A process that the kernel
 * does not let go (its driver hangs) is waited for PROC_KILL_MS and given up: the status is
 * PROC_STUCK, and a later proc_spawn or proc_kill reaps it.
 */
int proc_kill(struct proc *proc);
/* True if it has ended; *status is its wait status, the pipes are closed and the pid is forgotten.
 */
bool proc_reap(struct proc *proc, int *status);
/* "exited with 3", "was killed by signal 11 (Segmentation fault)" */
const char *proc_status_text(int status, char text[80]);

/* The folder of the running program, for finding its siblings. */
bool proc_own_folder(char folder[4096], struct err *err);

/*
 * An advisory lock on `path` that lives as long as the returned descriptor and dies with the
 * process, however it dies. The file holds the owner's pid. When another process holds it, fails
 * with ERR_USER and *holder set. The lock does not follow a fork, and closing any other descriptor
 * of the file in the owning process gives it up: take it after the last fork, open the file nowhere
 * else, and ask lock_holder from other processes only.
 */
bool lock_take(const char *path, int *fd, pid_t *holder, struct err *err);
/* Who holds the lock: 0 when nobody does. */
pid_t lock_holder(const char *path);

#endif
