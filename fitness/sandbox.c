#define _GNU_SOURCE /* O_PATH */

#include "fitness/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/str.h"

extern char **environ;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { WATCHED = 1 }; /* a sanitizer maps terabytes, and starts programs for its report */
#else
enum { WATCHED = 0 };
#endif

/* ---- environment ---- */

/* Who reads what is kept: evo, CUDA and its tools, the loader and the C library, sanitizers. */
static bool is_kept(const char *variable)
{
    static const char *const names[] = {"PATH=", "HOME=", "TMPDIR=", "TZ=", "LANG=", "LC_",
                                        "LD_LIBRARY_PATH=", "XDG_CACHE_HOME=", "EVO_", "CUDA_",
                                        "NVIDIA_", "CUPTI_", "INJECTION_", "ASAN_OPTIONS=",
                                        "UBSAN_OPTIONS=", "LSAN_OPTIONS=", "TSAN_OPTIONS=",
                                        "LLVM_PROFILE_FILE=", "NO_COLOR="};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (str_starts(variable, names[i])) {
            return true;
        }
    }
    return false;
}

/* Names are not enough: the texts lie in our memory, and some devices can read that. */
static void forget_environment(void)
{
    char **kept = environ;

    for (char **at = environ; at != NULL && *at != NULL; at++) {
        if (is_kept(*at)) {
            *kept++ = *at;
        } else {
            memset(*at, 0, strlen(*at));
        }
    }
    if (kept != NULL) {
        *kept = NULL;
    }
}

/* ---- limits ---- */

static void limit(int resource, int64_t most)
{
    struct rlimit value;

    if (most > 0 && getrlimit(resource, &value) == 0) {
        value.rlim_cur = value.rlim_max < (rlim_t)most ? value.rlim_max : (rlim_t)most;
        value.rlim_max = value.rlim_cur;
        setrlimit(resource, &value);
    }
}

void sandbox_allow_cpu(int64_t seconds)
{
    struct rusage used;
    struct rlimit value;

    if (getrusage(RUSAGE_SELF, &used) == 0 && getrlimit(RLIMIT_CPU, &value) == 0) {
        rlim_t wanted = (rlim_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec + 1 + seconds);

        value.rlim_cur = value.rlim_max < wanted ? value.rlim_max : wanted;
        setrlimit(RLIMIT_CPU, &value);
    }
}

/* ---- Landlock; numbers that older kernel headers lack are given here ---- */

struct ruleset_attr {
    uint64_t fs, net, scoped;
};

enum {
    ABI_REFER = 2,
    ABI_TRUNCATE = 3,
    ABI_NET = 4,
    ABI_IOCTL = 5,
    ABI_SCOPE = 6,
};
#define FS_READ                                                                                    \
    (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_EXECUTE)
#define FS_FIRST ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1) /* all that the first version has */
#define FS_REFER (UINT64_C(1) << 13)
#define FS_TRUNCATE (UINT64_C(1) << 14)
#define FS_IOCTL (UINT64_C(1) << 15)
#define NET_TCP UINT64_C(3)   /* bind, connect */
#define SCOPE_ALL UINT64_C(3) /* abstract sockets, signals */

static void allow_path(int ruleset, const char *path, uint64_t access)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = access};
    struct stat facts;

    rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (rule.parent_fd < 0) {
        return;
    }
    if (fstat(rule.parent_fd, &facts) == 0 && !S_ISDIR(facts.st_mode)) {
        rule.allowed_access &= LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                               LANDLOCK_ACCESS_FS_EXECUTE | FS_TRUNCATE | FS_IOCTL;
    }
    syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    close(rule.parent_fd);
}

/* The version that holds now, 0: none. */
static int lock_files(const struct sandbox *sandbox)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    struct ruleset_attr handled = {0};
    size_t size = offsetof(struct ruleset_attr, net);
    int ruleset;

    if (abi < 1) {
        return 0;
    }
    if (sandbox->closes_files) {
        handled.fs = FS_FIRST | (abi >= ABI_REFER ? FS_REFER : 0) |
                     (abi >= ABI_TRUNCATE ? FS_TRUNCATE : 0) | (abi >= ABI_IOCTL ? FS_IOCTL : 0);
    }
    if (abi >= ABI_NET) {
        handled.net = NET_TCP;
        size = offsetof(struct ruleset_attr, scoped);
    }
    if (abi >= ABI_SCOPE && sandbox->closes_files) {
        handled.scoped = SCOPE_ALL;
        size = sizeof handled;
    }
    ruleset = (int)syscall(SYS_landlock_create_ruleset, &handled, size, 0);
    if (ruleset < 0) {
        return 0;
    }
    for (int i = 0; sandbox->closes_files && i < SANDBOX_PATHS_MAX; i++) {
        if (sandbox->readable[i] != NULL) {
            allow_path(ruleset, sandbox->readable[i], FS_READ);
        }
        if (sandbox->writable[i] != NULL) {
            allow_path(ruleset, sandbox->writable[i], handled.fs & ~LANDLOCK_ACCESS_FS_EXECUTE);
        }
    }
    if (syscall(SYS_landlock_restrict_self, ruleset, 0) != 0) {
        abi = 0;
    }
    close(ruleset);
    return (int)abi;
}

/* ---- seccomp ---- */

#if defined(__x86_64__)
#define OWN_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OWN_ARCH AUDIT_ARCH_AARCH64
#endif

#ifdef OWN_ARCH
/* What neither a compiler nor a judge does. */
static const unsigned refused[] = {
    SYS_ptrace,           SYS_process_vm_readv, SYS_process_vm_writev, SYS_kexec_load,
    SYS_bpf,              SYS_userfaultfd,      SYS_add_key,           SYS_request_key,
    SYS_keyctl,           SYS_mount,            SYS_pivot_root,        SYS_setns,
    SYS_unshare,          SYS_init_module,      SYS_finit_module,      SYS_open_by_handle_at,
    SYS_perf_event_open,  SYS_io_uring_setup,   SYS_execve,            SYS_execveat,
#ifdef SYS_fork
    SYS_fork,             SYS_vfork,
#endif
};
static const unsigned refused_sockets[] = {SYS_socket, SYS_socketpair, SYS_connect, SYS_bind};

enum {
    REFUSED = sizeof refused / sizeof *refused,
    REFUSED_SOCKETS = sizeof refused_sockets / sizeof *refused_sockets,
    FILTER_MAX = 16 + 2 * (REFUSED + REFUSED_SOCKETS),
};

static void refuse_all(struct sock_filter *filter, unsigned short *length, const unsigned *calls,
                       int count)
{
    for (int i = 0; i < count; i++) {
        filter[(*length)++] =
            (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i], 0, 1);
        filter[(*length)++] =
            (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    }
}

/*
 * Threads may be made and processes may not. clone3's flags lie in memory, where a filter cannot
 * look: it is answered as by an old kernel, and the C library takes clone.
 */
static bool filter_calls(bool sockets)
{
    struct sock_filter filter[FILTER_MAX] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OWN_ARCH, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM), /* another architecture's numbers */
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    };
    unsigned short length = 4;

    if (!WATCHED) {
        static const struct sock_filter clones[] = {
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4),
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
            BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };

        memcpy(filter + length, clones, sizeof clones);
        length += sizeof clones / sizeof *clones;
        refuse_all(filter, &length, refused, REFUSED);
    }
    if (sockets) {
        refuse_all(filter, &length, refused_sockets, REFUSED_SOCKETS);
    }
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {.len = length, .filter = filter};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}
#else
static bool filter_calls(bool sockets)
{
    (void)sockets;
    return false;
}
#endif

/* ---- all of it ---- */

const char *sandbox_enter(const struct sandbox *sandbox)
{
    static char text[64];
    const struct rlimit no_core = {0, 0};
    bool filtered;
    int files;

    forget_environment();
    setrlimit(RLIMIT_CORE, &no_core);
    limit(RLIMIT_FSIZE, sandbox->file_bytes);
    if (!WATCHED) {
        limit(RLIMIT_AS, sandbox->memory_bytes);
    }
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); /* what Landlock and seccomp ask for */
    files = lock_files(sandbox);
    filtered = filter_calls(sandbox->closes_sockets);
    if (files > 0) {
        snprintf(text, sizeof text, "landlock %d, %s", files, filtered ? "seccomp" : "no seccomp");
    } else {
        snprintf(text, sizeof text, "no landlock, %s", filtered ? "seccomp" : "no seccomp");
    }
    return text;
}
