/*
 * trial -- one program through a compiler and a judge, outside any run.
 *
 * For `evo verify`, which must not know a database, for comparisons, and for building a kept
 * kernel's code again. The workers are the same processes that a run uses; nothing is recorded.
 */
#ifndef EVO_DAEMON_TRIAL_H
#define EVO_DAEMON_TRIAL_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "fitness/job.h"

/* Compiles; built->verdict says whether it did. What the compiler cannot answer is an error. */
bool trial_compile(struct arena *arena, const struct compile_job *job, struct built *built,
                   struct err *err);

/* The same, and who did it. */
bool trial_compile_by(struct arena *arena, const struct compile_job *job, struct built *built,
                      struct hello *compiler, struct err *err);

/*
 * Whether `device` (NULL: auto) is the emulated one: asked for, or for want of a GPU. Its gate
 * judges on other shapes (shapes.h), and a program for it is compiled with lines of source.
 */
bool trial_is_emulated(struct arena *arena, const char *device);

/*
 * Hands the job to a judge on `device` (cuda:N, emu; NULL or auto: the first GPU, else the emulated
 * device). *hello describes it.
 * A judge that dies with the job gives the verdict crash, one past the deadline timeout.
 */
bool trial_judge(struct arena *arena, const char *device, const struct judge_job *job,
                 int64_t deadline_ms, struct hello *hello, struct judge_result *result,
                 struct err *err);

/*
 * The same by a judge that another program starts: `before` are the words before its own, ending in
 * NULL. That program must hand on standard input and output. A judge on a GPU is told to have no
 * clocks: the job must want no times.
 */
bool trial_judge_under(struct arena *arena, const char *const *before, const char *device,
                       const struct judge_job *job, int64_t deadline_ms, struct hello *hello,
                       struct judge_result *result, struct err *err);

/*
 * Hands two contenders to a fresh judge. A judge that dies or hangs is an error here: which of the
 * two it was is not known.
 */
bool trial_duel(struct arena *arena, const char *device, const struct duel_job *job,
                int64_t deadline_ms, struct hello *hello, struct duel_result *result,
                struct err *err);

#endif
