/*
 * image -- is a candidate's machine code what was compiled, and does it keep the rules?
 *
 * Asked before anything is loaded: by a judgement and by a duel.
 */
#ifndef EVO_FITNESS_IMAGE_H
#define EVO_FITNESS_IMAGE_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "fitness/job.h"

/*
 * False with *verdict NONE: the image is not what the job says, which is no fault of the candidate
 * (err tells). False with a verdict: it keeps memory from one launch to the next, or calls what it
 * does not hold; *reason is in the arena.
 */
bool image_check(struct arena *arena, const struct judge_image *image, enum verdict *verdict,
                 const char **reason, struct err *err);

#endif
