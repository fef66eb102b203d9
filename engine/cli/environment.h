/*
 * environment -- what a machine offers evo, a line each, with what to do where it falls short.
 *
 * Looks, and changes nothing: files of the driver, limits, disks, the workers' programs, the
 * driver's own library for clocks (NVML, opened only here and only if it is there). Owner: `evo
 * doctor`. Memory: the caller's arena.
 */
#ifndef EVO_CLI_ENVIRONMENT_H
#define EVO_CLI_ENVIRONMENT_H

#include "base/arena.h"
#include "base/err.h"

enum { ENVIRONMENT_MAX = 64 };

enum health {
    HEALTH_GOOD,
    HEALTH_NOTE, /* good enough, but something will not be there or may be slow */
    HEALTH_BAD,  /* no search on this device */
};

extern const char *const health_names[]; /* good note bad */

struct finding {
    enum health health;
    const char *name; /* "driver" */
    const char *text;
    const char *advice; /* what to do; "" when nothing */
};

struct environment {
    struct finding findings[ENVIRONMENT_MAX];
    int count;
};

/* `emulated`: for a search on the emulated device, for which a GPU's part need not be there. */
void environment_look(struct arena *arena, bool emulated, struct environment *environment);

#endif
