#include "fitness/stalls.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/str.h"

const struct stall stall_table[STALLS] = {
    {"selected", METRIC_PC_ISSUING, NULL},
    {"not_selected", METRIC_PC_READY, NULL},
    {"long_scoreboard", METRIC_PC_LONG, "memory beyond shared"},
    {"short_scoreboard", METRIC_PC_SHORT, "shared memory and special functions"},
    {"barrier", METRIC_PC_BARRIER, "barriers of the block"},
    {"membar", METRIC_PC_MEMBAR, "fences"},
    {"wait", METRIC_PC_WAIT, "the instruction before (its fixed latency)"},
    {"math_pipe_throttle", METRIC_PC_MATH, "a busy pipe"},
    {"mio_throttle", METRIC_PC_MIO, "the queue of shared memory and special functions"},
    {"lg_throttle", METRIC_PC_LSU, "the queue of loads and stores"},
    {"tex_throttle", METRIC_PC_TEX, "the queue of textures"},
    {"warpgroup_arrive", METRIC_PC_WGMMA, "the warpgroup's products"},
    {"branch_resolving", METRIC_PC_BRANCH, "targets of branches"},
    {"dispatch_stall", METRIC_PC_DISPATCH, "the dispatcher"},
    {"no_instructions", METRIC_PC_FETCH, "instructions to be fetched"},
    {"imc_miss", METRIC_PC_CONSTANT, "constants"},
    {"sleeping", METRIC_PC_SLEEP, "the end of a sleep"},
    {"drain", METRIC_PC_DRAIN, "its last stores"},
    {"misc", METRIC_PC_MISC, "something else"},
};

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);

    return length >= tail && strcmp(text + length - tail, end) == 0;
}

int stall_find(const char *name)
{
    static const char PREFIX[] = "smsp__pcsamp_warps_issue_stalled_";

    if (!str_starts(name, PREFIX) || ends_with(name, "_not_issued")) {
        return -1;
    }
    for (int i = 0; i < STALLS; i++) {
        if (strcmp(name + strlen(PREFIX), stall_table[i].reason) == 0) {
            return i;
        }
    }
    return METRIC_PC_MISC - METRIC_PC_ISSUING;
}

void stalls_add(struct stalls *stalls, uint64_t kernel, uint64_t offset, int reason,
                uint64_t samples)
{
    stalls->by[reason] += samples;
    if (stalls->count == stalls->room) {
        stalls->room = stalls->room == 0 ? 1024 : stalls->room * 2;
        stalls->pcs = xrealloc(stalls->pcs, stalls->room * sizeof *stalls->pcs);
    }
    stalls->pcs[stalls->count++] = (struct stall_pc){kernel, offset, samples};
}

static int by_place(const void *a, const void *b)
{
    const struct stall_pc *x = a, *y = b;

    return x->kernel != y->kernel ? (x->kernel > y->kernel) - (x->kernel < y->kernel)
                                  : (x->offset > y->offset) - (x->offset < y->offset);
}

/* The instruction at which most samples were taken; of equal ones the first. */
static struct stall_pc hottest_of(struct stalls *stalls)
{
    struct stall_pc most = {0}, here = {0};

    if (stalls->count > 0) {
        qsort(stalls->pcs, stalls->count, sizeof *stalls->pcs, by_place);
    }
    for (size_t i = 0; i < stalls->count; i++) {
        uint64_t before = i > 0 && by_place(&here, &stalls->pcs[i]) == 0 ? here.samples : 0;

        here = stalls->pcs[i];
        here.samples += before;
        most = here.samples > most.samples ? here : most;
    }
    return most;
}

void stalls_tell(struct stalls *stalls, double values[STALL_METRICS])
{
    struct stall_pc hottest = hottest_of(stalls);
    uint64_t all = 0;

    for (int i = 0; i < STALLS; i++) {
        all += stalls->by[i];
    }
    values[0] = (double)all;
    for (int i = 0; i < STALLS; i++) {
        values[1 + i] = all > 0 ? 100.0 * (double)stalls->by[i] / (double)all : NAN;
    }
    values[STALLS + 1] = all > 0 ? 100.0 * (double)hottest.samples / (double)all : NAN;
    values[STALLS + 2] = all > 0 ? (double)hottest.offset : NAN;
}

void stalls_free(struct stalls *stalls)
{
    free(stalls->pcs);
    *stalls = (struct stalls){0};
}
