#define _GNU_SOURCE /* pipe2 */

#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

/* Runs in the child, between fork and exec. */
static void child_main(char *const argv[], int in, int out, pid_t parent)
{
    sigset_t none;

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) {
        _exit(126); /* the parent died before the wish was heard */
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGINT, SIG_IGN); /* Ctrl-C at a terminal is for the engine to answer */
    in = fcntl(in, F_DUPFD_CLOEXEC, 3); /* if ours were closed, the pipes may be 0 and 1 */
    out = fcntl(out, F_DUPFD_CLOEXEC, 3);
    if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0) {
        _exit(126);
    }
    execvp(argv[0], argv);
    fprintf(stderr, "evo: cannot run '%s': %s\n", argv[0], strerror(errno));
    _exit(127);
}

/* ---- those that were killed and had not ended ---- */

enum { STUCK_MAX = 64 }; /* more than that stay zombies until this process ends */

static pid_t stuck[STUCK_MAX];
static int stuck_count;

static void reap_stuck(void)
{
    int kept = 0;

    for (int i = 0; i < stuck_count; i++) {
        if (waitpid(stuck[i], NULL, WNOHANG) == 0) {
            stuck[kept++] = stuck[i];
        }
    }
    stuck_count = kept;
}

/* True if it ended in time; it is reaped then. */
static bool wait_for_end(pid_t pid, int *status)
{
    int64_t until = clock_now_ms() + PROC_KILL_MS;
    useconds_t pause = 50;
    pid_t got;

    for (;;) {
        got = waitpid(pid, status, WNOHANG);
        if (got == pid || (got < 0 && errno != EINTR)) {
            return true; /* or it is no child of ours: nothing to wait for */
        }
        if (clock_now_ms() >= until) {
            return false;
        }
        usleep(pause);
        pause = pause < 10000 ? 2 * pause : pause;
    }
}

/* ---- children ---- */

bool proc_spawn(struct proc *proc, char *const argv[], struct err *err)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1};
    pid_t self = getpid(), pid;

    reap_stuck();
    *proc = (struct proc){.to = -1, .from = -1};
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) {
        err_sys(err, "cannot make a pipe for '%s'", argv[0]);
        goto fail;
    }
    pid = fork();
    if (pid < 0) {
        err_sys(err, "cannot fork for '%s'", argv[0]);
        goto fail;
    }
    if (pid == 0) {
        child_main(argv, in[0], out[1], self);
    }
    close(in[0]);
    close(out[1]);
    fcntl(in[1], F_SETFL, O_NONBLOCK);
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    *proc = (struct proc){.pid = pid, .to = in[1], .from = out[0]};
    return true;
fail:
    for (int i = 0; i < 2; i++) {
        if (in[i] >= 0) {
            close(in[i]);
        }
        if (out[i] >= 0) {
            close(out[i]);
        }
    }
    return false;
}

static void forget(struct proc *proc)
{
    if (proc->to >= 0) {
        close(proc->to);
    }
    if (proc->from >= 0) {
        close(proc->from);
    }
    *proc = (struct proc){.to = -1, .from = -1};
}

int proc_kill(struct proc *proc)
{
    int status = 0;

    reap_stuck();
    if (proc->pid > 0) {
        kill(proc->pid, SIGKILL);
        if (!wait_for_end(proc->pid, &status)) {
            status = PROC_STUCK;
            if (stuck_count < STUCK_MAX) {
                stuck[stuck_count++] = proc->pid;
            }
        }
        forget(proc);
    }
    return status;
}

bool proc_reap(struct proc *proc, int *status)
{
    if (proc->pid <= 0 || waitpid(proc->pid, status, WNOHANG) != proc->pid) {
        return false;
    }
    forget(proc);
    return true;
}

const char *proc_status_text(int status, char text[80])
{
    if (status == PROC_STUCK) {
        snprintf(text, 80, "was killed, but the kernel does not let it go");
    } else if (WIFSIGNALED(status)) {
        snprintf(text, 80, "was killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    } else {
        snprintf(text, 80, "exited with %d", WEXITSTATUS(status));
    }
    return text;
}

bool proc_own_folder(char folder[4096], struct err *err)
{
    ssize_t length = readlink("/proc/self/exe", folder, 4095);
    char *slash;

    if (length < 0) {
        return err_sys(err, "cannot read '/proc/self/exe'");
    }
    folder[length] = '\0';
    slash = strrchr(folder, '/');
    if (slash != NULL && slash != folder) {
        *slash = '\0';
    }
    return true;
}

/* F_GETLK names the holder, which flock cannot; an open-file-description lock would hide the pid.
 */
static struct flock whole_file(void)
{
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
}

pid_t lock_holder(const char *path)
{
    struct flock lock = whole_file();
    pid_t holder = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        return 0;
    }
    if (fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK) {
        holder = lock.l_pid;
    }
    close(fd);
    return holder;
}

bool lock_take(const char *path, int *fd, pid_t *holder, struct err *err)
{
    struct flock lock = whole_file();
    char text[32];
    int length;

    *holder = 0;
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (*fd < 0) {
        return err_sys(err, "cannot open '%s'", path);
    }
    if (fcntl(*fd, F_SETLK, &lock) != 0) {
        bool held = errno == EACCES || errno == EAGAIN;

        if (!held) {
            err_sys(err, "cannot lock '%s'", path);
        } else {
            struct flock query = whole_file();

            if (fcntl(*fd, F_GETLK, &query) == 0 && query.l_type != F_UNLCK) {
                *holder = query.l_pid;
            }
            err_set(err, ERR_USER, "'%s' is held by process %ld", path, (long)*holder);
        }
        close(*fd);
        *fd = -1;
        return false;
    }
    length = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(*fd, 0) != 0 || pwrite(*fd, text, (size_t)length, 0) != length) {
        err_sys(err, "cannot write '%s'", path);
        close(*fd);
        *fd = -1;
        return false;
    }
    return true;
}
