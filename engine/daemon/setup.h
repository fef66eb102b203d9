/*
 * setup -- what a run stands on before its loop begins: seed, templates, families, workers.
 *
 * A new run reads files; one that goes on reads the database's copy of the same texts and never
 * looks at the files again. Everything lives in the arena given and is read only afterwards.
 */
#ifndef EVO_DAEMON_SETUP_H
#define EVO_DAEMON_SETUP_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "daemon/engine.h"
#include "daemon/fleet.h"
#include "daemon/seed.h"
#include "db/store.h"
#include "fitness/space.h"
#include "genome/render.h"

struct exported;

struct setup {
    struct arena *arena;
    struct seed seed;
    struct template_set *templates;
    struct space *space;      /* of a replay device, or NULL */
    struct family **families;
    int family_count;
    struct genome founders[SEED_FOUNDERS_MAX];
    const struct exported *rivals[SEED_RIVALS_MAX]; /* of the seed's, those that are files */
    const char *device_spec; /* resolved: paths absolute */
    struct {
        const char *family, *reason;
    } left_out[SEED_FAMILIES_MAX]; /* by setup_space: no genome of it is feasible on the device */
    int left_out_count;
};

/* From the files that options name. */
bool setup_read(struct arena *arena, const struct engine_options *options, struct setup *setup,
                struct err *err);
/* From what the database keeps of a run. */
bool setup_recall(struct arena *arena, struct store *store, const struct run_row *run,
                  const struct engine_options *options, struct setup *setup, struct err *err);
/* Writes the texts of the families in use, and of all includes, beside the run. */
bool setup_keep(const struct setup *setup, struct store *store, int64_t run, struct err *err);

/* Starts every worker that the seed and the device ask for. */
bool setup_staff(const struct setup *setup, struct fleet *fleet, struct err *err);
/*
 * The same without a seed: compilers, and judges of one device; emulated ones one a core.
 */
bool setup_staff_device(struct arena *arena, const char *device, int64_t judge_deadline_ms,
                        struct fleet *fleet, struct err *err);
/* The program of a worker: beside this one, or in ../lib/evo. NULL with err set if there is none.
 */
const char *setup_program(struct arena *arena, const char *name, struct err *err);

/* What a problem and a device fix for every genome; the architecture to compile for there. */
struct givens setup_givens(const struct problem *problem, const struct hello *judge);
const char *setup_arch(struct arena *arena, const struct hello *judge);

/*
 * Fills the space that a device of this description leaves to the families, and the architecture
 * that sources are compiled for. A founder that is infeasible there is an error. A family without a
 * feasible genome there is taken out of the setup, as if the seed did not name it, and noted in
 * left_out; it is an error when none is left.
 */
bool setup_space(struct setup *setup, const struct hello *judge, struct search_space *space,
                 const char **arch, struct err *err);
/* The search's settings as the seed and the run (its strategy, its random seed) have them. */
struct search_config setup_config(const struct setup *setup, const struct run_row *run);

#endif
