/*
 * exported -- one kernel as one .cu file that stands alone, and the way back.
 *
 * The file is for three readers:
 *   people     a comment: what it is, how fast, where it came from, how to check it
 *   nvcc       the rendered device source, a C-callable launcher, and under -DEVO_MAIN a main that
 *              checks against a CPU reference and times
 *   evo verify the lines "// evo: …" between the marks (the program's declaration, as in a judge's
 *              message) and the device source between its marks; nothing else of the file is read,
 *              and no host code of it is ever run
 */
#ifndef EVO_DAEMON_EXPORTED_H
#define EVO_DAEMON_EXPORTED_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "db/query.h"
#include "fitness/job.h"
#include "fitness/plan.h"

enum { EXPORTED_BYTES_MAX = 4 << 20 };

struct exported {
    const char *title;      /* "attention_tiled n147" */
    const char *provenance; /* lines for people, without comment marks */
    struct program program;
    struct problem problems[JOB_TIMED_MAX]; /* what it was bred for, one static problem */
    int problem_count;
    const char *arch;
    const char *source; /* the rendered device source */
};

void exported_write(const struct exported *exported, struct buf *out);
bool exported_read(struct arena *arena, const char *path, const char *text, size_t length,
                   struct exported *exported, struct err *err);
/*
 * The file at `path`, or if that is a template one kernel of it: of the genes named ("KIND=x N=4";
 * NULL: none), and for the others of the first feasible values, for the shapes that its head names.
 */
bool exported_load(struct arena *arena, const char *path, const char *genes,
                   struct exported *exported, struct err *err);
/*
 * Compiles it, as a side of a duel or a program for a judge; `name` is what messages call it.
 * False, with the compiler's words, when it does not compile.
 */
bool exported_build(struct arena *arena, const char *name, const struct exported *exported,
                    struct judge_image *image, struct err *err);
/* Whether it was made for problems such as this one. */
bool exported_serves(const struct exported *exported, const struct problem *problem);
/* Whether the text is such a file, or some other .cu. */
bool exported_is(const char *text);

#endif
