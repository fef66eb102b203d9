/*
 * selftest -- can this judge be fooled? The planted corpus (planted.h), judged by it.
 *
 * Every planted kernel must get a verdict that its head declares, and every control must pass;
 * times are compared where the head says so. A run begins only with judges that do: engine.c asks
 * selftest_ensure once its workers are there, which judges a core of the corpus (a variant of each
 * kernel) and remembers, beside the compile cache, that this judge on this device passed. A cheat
 * that was refused for another reason than its head tells is said, and stops no run: the judge was
 * not fooled. `evo doctor` judges all of it, shows the table, and finds fault with that as well. A
 * replay device runs no code: there is nothing to test.
 */
#ifndef EVO_DAEMON_SELFTEST_H
#define EVO_DAEMON_SELFTEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "daemon/batch.h"
#include "daemon/planted.h"

enum selftest_extent {
    SELFTEST_CORE, /* one variant of each, none that waits for a deadline */
    SELFTEST_FULL,
    SELFTEST_CONTROLS, /* the correct ones alone, by the gate and without the clock */
};

/* One variant of a planted kernel, and what became of it. */
struct specimen {
    const struct planted *planted;
    const struct expectation *expected;
    const char *genes; /* "Kind=in_wmma", "" */
    enum verdict verdict;
    const char *rung, *reason;
    double us;          /* of its first shape; 0: not timed */
    bool ok;            /* as expected */
    bool fooled;        /* not as expected, and worse: it passed, or it is a control and did not */
    const char *wrong;  /* why not, else "" */
};

struct selftest {
    enum selftest_extent extent;
    const char *device, *version, *sandbox; /* of the judge */
    bool emulated;
    uint64_t secret; /* one for all: what is compared is timed on the same inputs */
    struct specimen *specimens;
    int count, failed, fooled;
    double ms;
};

/*
 * Judges with the batch's fleet. *done is false when it was given up. A judge that plays back a
 * recording is an error of ERR_USER.
 */
bool selftest_run(const struct batch *batch, enum selftest_extent extent, struct selftest *selftest,
                  bool *done, struct err *err);

/*
 * True when the judges may be trusted: they answer from a recording, or have passed before, or pass
 * now. An error names what they took for what. *done is false when it was given up.
 */
bool selftest_ensure(const struct batch *batch, bool *done, struct err *err);

#endif
