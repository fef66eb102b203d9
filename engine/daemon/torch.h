/*
 * torch -- PyTorch's attention, measured by a python3 of its own.
 *
 * What most users would otherwise call. It cannot be loaded into a judge, so its times are another
 * process's, taken before or after and not in turns: whoever shows them says so. A machine without
 * torch is a sentence, not an error. EVO_PYTHON names the interpreter.
 */
#ifndef EVO_DAEMON_TORCH_H
#define EVO_DAEMON_TORCH_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "fitness/job.h"
#include "fitness/problem.h"

enum { TORCH_SAMPLES_MAX = 4096 };

struct torch_times {
    const char *unsupported; /* why there are no times; NULL: there are */
    const char *name;        /* "PyTorch 2.11.0, FlashAttention" */
    double error;            /* largest |out - exact| of some rows */
    double *graph_us, *span_us;
    int graph_count, span_count;
};

/* torch (its own choice), torch-flash, torch-cudnn, torch-efficient, torch-math */
bool torch_is(const char *name);
/* On the device-th GPU. False only when this machine cannot even run a process. */
bool torch_time(struct arena *arena, const char *name, int device, const struct problem *problem,
                struct torch_times *times, struct err *err);
/*
 * Makes of a duel of a program with itself, which came first or second in what was asked, one
 * with PyTorch as side `torch`: its times are put beside the program's, and what it is called says
 * that they were not taken in turns. Without times its verdict is UNSUPPORTED.
 */
void torch_duel(struct arena *arena, int torch, const struct torch_times *times,
                struct duel_result *duel);

#endif
