/*
 * audit -- does each gene of each family do anything?
 *
 * A gene that changes neither machine code nor launch is dead: the search would spend evaluations
 * on aliases, and its author believes that something is tried which is not. So early in a run every
 * gene is looked at: genomes that differ in it alone, founders first and then random ones, are
 * compared by their launch plans, and by their machine code. The first difference says that it is
 * alive; a gene that made none in AUDIT_PAIRS pairs is dead.
 *
 * The audit renders and compares; who compiles is the caller's affair: audit_step asks for one
 * compilation at a time. What it finds depends on the space, the seed of its draws and the compiler
 * alone, and nothing of the search depends on it. Threads: one.
 */
#ifndef EVO_DAEMON_AUDIT_H
#define EVO_DAEMON_AUDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "fitness/job.h"
#include "genome/render.h"
#include "search/population.h"

enum { AUDIT_PAIRS = 8 };

enum audit_state {
    AUDIT_ALIVE,
    AUDIT_DEAD,
    AUDIT_UNKNOWN, /* no two genomes that differ in it alone are both feasible and buildable */
    AUDIT_STATES,
};

extern const char *const audit_state_names[AUDIT_STATES];

struct audit_finding {
    int family, gene;
    enum audit_state state;
    const char *by; /* what differed: plan, code; "" when nothing did */
    int pairs;      /* compared to the end and found equal */
};

struct audit;

/* All that is given must outlive the audit. */
struct audit *audit_new(const struct search_space *space, const struct template_set *templates,
                        const struct genome *founders, int founder_count, uint64_t rng_seed);
void audit_free(struct audit *audit); /* NULL is fine */
/* What was found out before is not looked at again. */
void audit_skip(struct audit *audit, int family, int gene);

enum audit_step { AUDIT_COMPILE, AUDIT_FOUND, AUDIT_DONE };

/*
 * Goes on: to a source that must be compiled (*job lacks id, arch and options; it lives until the
 * answer), a finding, or the end. Not before the last compilation is answered.
 */
bool audit_step(struct audit *audit, enum audit_step *step, struct compile_job *job,
                struct audit_finding *finding, struct err *err);
/* NULL: the compiler had no answer, and the pair is given up. */
void audit_answer(struct audit *audit, const struct built *built);

#endif
