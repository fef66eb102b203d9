#include "daemon/torch.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/proc.h"
#include "base/str.h"
#include "generated/torch_sdpa.h"

enum {
    DEADLINE_MS = 3 * 60 * 1000, /* importing torch alone may take half a minute from a cold disk */
    SAID_MAX = 1 << 20,
    ARGUMENTS = 15,
};

bool torch_is(const char *name)
{
    static const char *const names[] = {"torch", "torch-flash", "torch-cudnn", "torch-efficient",
                                        "torch-math"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* What no call of PyTorch's does; NULL: it may be tried. */
static const char *beyond_it(const struct problem *problem)
{
    return problem->lse ? "PyTorch's attention gives no log-sum-exp"
           : problem->causal && problem->q_len != problem->kv_len
               ? "PyTorch's causal mask is aligned to the top left, which matters where rows and "
                 "keys differ in number"
               : NULL;
}

static void arguments_of(struct arena *arena, const char *name, int device,
                         const struct problem *p, char *argv[ARGUMENTS])
{
    const char *python = getenv("EVO_PYTHON");
    const int64_t numbers[] = {device,   p->batch,  p->heads,   p->kv_heads,
                               p->q_len, p->kv_len, p->head_dim};
    int count = 0;

    argv[count++] = arena_dup(arena, python != NULL && *python != '\0' ? python : "python3");
    argv[count++] = arena_dup(arena, "-c");
    argv[count++] = arena_dup(arena, torch_sdpa);
    argv[count++] = arena_dup(arena, name);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        argv[count++] = arena_printf(arena, "%lld", (long long)numbers[i]);
    }
    argv[count++] = arena_dup(arena, p->dtype == DTYPE_BF16 ? "bf16" : "f16");
    argv[count++] = arena_dup(arena, p->causal ? "1" : "0");
    argv[count++] = arena_dup(arena, p->sequence_first ? "1" : "0");
    argv[count] = NULL;
}

/* All that the child says, until it closes its output. False: too much, or it took too long. */
static bool listen_to(const struct proc *child, struct buf *said)
{
    int64_t end = clock_now_ms() + DEADLINE_MS;

    for (;;) {
        struct pollfd from = {.fd = child->from, .events = POLLIN};
        int64_t left = end - clock_now_ms();
        char block[4096];
        ssize_t got;

        if (left <= 0 || said->length > SAID_MAX) {
            return false;
        }
        if (poll(&from, 1, (int)left) <= 0) {
            continue;
        }
        got = read(child->from, block, sizeof block);
        if (got == 0) {
            return true;
        }
        if (got < 0 && errno != EAGAIN && errno != EINTR) {
            return false;
        }
        buf_add(said, block, got > 0 ? (size_t)got : 0);
    }
}

/* Microseconds, divided by blanks; what is no time makes the line worth nothing. */
static int read_times(struct arena *arena, char *words, double **times)
{
    char *rest = words;
    int count = 0;

    *times = arena_alloc(arena, TORCH_SAMPLES_MAX * sizeof **times);
    for (char *word; (word = strtok_r(rest, " ", &rest)) != NULL;) {
        if (count == TORCH_SAMPLES_MAX || !str_to_f64(word, &(*times)[count]) ||
            (*times)[count++] <= 0) {
            return 0;
        }
    }
    return count;
}

static void read_said(struct arena *arena, char *said, struct torch_times *times)
{
    char *rest = said;

    for (char *line; (line = strtok_r(rest, "\n", &rest)) != NULL;) {
        char *words = strchr(line, ' ');

        if (words == NULL) {
            continue;
        }
        *words++ = '\0';
        if (strcmp(line, "unsupported") == 0) {
            times->unsupported = arena_dup(arena, words);
        } else if (strcmp(line, "name") == 0) {
            times->name = arena_dup(arena, words);
        } else if (strcmp(line, "error") == 0 && !str_to_f64(words, &times->error)) {
            times->error = NAN;
        } else if (strcmp(line, "graph") == 0) {
            times->graph_count = read_times(arena, words, &times->graph_us);
        } else if (strcmp(line, "span") == 0) {
            times->span_count = read_times(arena, words, &times->span_us);
        }
    }
}

/* Blocks of both: one side's times are those of one process, the other's of another. */
static void mix_times(struct arena *arena, int torch, const double *us, int us_count,
                      struct abba **blocks, int *count)
{
    int pairs = us_count / 2 < *count ? us_count / 2 : *count;
    struct abba *mixed = arena_alloc(arena, (size_t)(pairs + 1) * sizeof *mixed);

    for (int i = 0; i < pairs; i++) {
        const double theirs[2] = {us[2 * i], us[2 * i + 1]};

        memcpy(torch == 0 ? mixed[i].a : mixed[i].b, theirs, sizeof theirs);
        memcpy(torch == 0 ? mixed[i].b : mixed[i].a, (*blocks)[i].a, sizeof theirs);
    }
    *blocks = mixed;
    *count = pairs;
}

void torch_duel(struct arena *arena, int torch, const struct torch_times *times,
                struct duel_result *duel)
{
    if (times->unsupported != NULL) {
        duel->sides[torch].verdict = VERDICT_UNSUPPORTED;
        duel->sides[torch].reason = times->unsupported;
        duel->sides[torch].name = "";
        duel->span.count = duel->graph.count = 0;
        return;
    }
    mix_times(arena, torch, times->graph_us, times->graph_count, &duel->graph.blocks,
              &duel->graph.count);
    mix_times(arena, torch, times->span_us, times->span_count, &duel->span.blocks,
              &duel->span.count);
    if (torch == 0) {
        duel->sides[1] = duel->sides[0];
    }
    if (duel->sides[torch].verdict == VERDICT_PASS) { /* not judged: it says how far off it is */
        duel->sides[torch].name = arena_printf(
            arena, "%s; measured by a process of its own, not in turns", times->name);
        duel->sides[torch].error = times->error;
        duel->sides[torch].allowed = NAN;
    }
}

bool torch_time(struct arena *arena, const char *name, int device, const struct problem *problem,
                struct torch_times *times, struct err *err)
{
    char *argv[ARGUMENTS];
    struct buf said = {0};
    struct proc child;
    bool heard;

    *times = (struct torch_times){.unsupported = beyond_it(problem), .name = "", .error = NAN};
    if (times->unsupported != NULL) {
        return true;
    }
    arguments_of(arena, name, device, problem, argv);
    if (!proc_spawn(&child, argv, err)) {
        return false;
    }
    heard = listen_to(&child, &said);
    proc_kill(&child);
    if (heard && said.data != NULL) {
        read_said(arena, said.data, times);
    }
    if (times->unsupported == NULL && (times->graph_count == 0 || times->span_count == 0)) {
        times->unsupported = arena_printf(arena, "'%s' %s", argv[0],
                                          heard ? "told no times; EVO_PYTHON names another"
                                                : "took too long");
    }
    buf_free(&said);
    return true;
}
