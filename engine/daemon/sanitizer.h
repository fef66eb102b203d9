/*
 * sanitizer -- a judgement under NVIDIA's compute-sanitizer: what its tools see a program do.
 *
 * The sanitizer runs a program of the host, and no host code of a file is ever run: so it runs a
 * judge, which loads and calls the candidate as always but has no clocks (they and the sanitizer
 * want the same hooks of the driver). What it writes goes to a file of its own and is read when the
 * judge has answered. The tool's text is not trusted to have any form: what is not understood is
 * told as it is.
 */
#ifndef EVO_DAEMON_SANITIZER_H
#define EVO_DAEMON_SANITIZER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "fitness/job.h"

enum { SANITIZER_TOOLS = 4 };
extern const char *const sanitizer_tools[SANITIZER_TOOLS]; /* "memcheck", … */

struct sanitizer_report {
    bool ran;          /* false: it could not, and `text` says why */
    int64_t errors;    /* races among them only where they are surely wrong */
    const char *text;  /* the first thing found; "" for nothing */
};

/* Its program: $EVO_SANITIZER, else in PATH, else the toolkit's. NULL: there is none. */
const char *sanitizer_find(struct arena *arena);

/* What a tool's log says. */
void sanitizer_read(struct arena *arena, const char *log, struct sanitizer_report *report);

/* One tool over one job. Only a world that is broken is an error. */
bool sanitizer_run(struct arena *arena, const char *sanitizer, const char *tool,
                   const char *device, const struct judge_job *job, int64_t deadline_ms,
                   struct sanitizer_report *report, struct err *err);

#endif
