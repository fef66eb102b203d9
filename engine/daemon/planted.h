/*
 * planted -- a .cu file that is a template and says itself what a judge must make of it.
 *
 * The planted corpus (fitness/cheats) is how the judge is tested: kernels that look fast and are
 * wrong, faults, and correct ones as controls. Each is an ordinary template; its genes say in which
 * variants it comes, every feasible one of them is judged. Lines of its head comment say the rest:
 *
 *     cheat: 4                                  the entry of the list that docs/cheats.md repeats
 *     fault: stack | control: correct           or one of these
 *     shape: 1x2x64/71x64                       judged on; all of one static problem
 *     expect: emu racy or invalid at launch     on a device: a verdict, and at which rung
 *     expect: cuda wrong at sanity or correct
 *     expect: any pass, no faster than honest   what passes may be compared with another's time
 *     expect: any pass, 40 us slower than honest
 *
 * A device without a line is not asked. `evo verify` reads such a file too, and any template: what
 * says no shape is judged on 1x8x512x64. Memory: the caller's arena.
 */
#ifndef EVO_DAEMON_PLANTED_H
#define EVO_DAEMON_PLANTED_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "fitness/job.h"
#include "genome/render.h"

enum {
    PLANTED_SHAPES_MAX = 8,
    PLANTED_EXPECTS_MAX = 4,
    PLANTED_MAX = 128,    /* files of a corpus */
    PLANTED_CHEATS = 24,  /* entries of the list of what must be caught */
};

enum planted_kind { PLANTED_PLAIN, PLANTED_CHEAT, PLANTED_FAULT, PLANTED_CONTROL };

/* What the time of one that passes must be, compared with that of `than`. */
enum planted_time { TIME_ANY, TIME_NO_FASTER, TIME_SLOWER };

struct expectation {
    const char *device; /* emu, cuda, any */
    unsigned verdicts;  /* bits, 1 << VERDICT_… */
    const char *rungs;  /* words, blanks around each; "": any */
    enum planted_time time;
    const char *than; /* the name of the planted file that it is compared with */
    double us;        /* TIME_SLOWER: by so much */
    const char *text; /* as written, without the device */
};

struct planted {
    const char *name, *path;
    enum planted_kind kind;
    int number;       /* of a cheat; 0 otherwise */
    const char *word; /* of a fault or a control */
    const struct template_set *set;
    struct family *family;
    struct problem problems[PLANTED_SHAPES_MAX];
    int problem_count;
    struct expectation expects[PLANTED_EXPECTS_MAX];
    int expect_count;
};

/* Whether a text is a template: it declares a launch in the words of evo.cuh. */
bool planted_is_template(const char *text);
/* Its includes are looked up beside it, then among the templates of this installation. */
bool planted_read(struct arena *arena, const char *path, struct planted *planted, struct err *err);
/* All .cu files of a folder, in the order of their names. */
bool planted_read_all(struct arena *arena, const char *folder, struct planted **list, int *count,
                      struct err *err);
/* The corpus: EVO_CHEATS in the environment, else cheats beside the templates; NULL with err. */
const char *planted_folder(struct arena *arena, struct err *err);

/* What is expected on a backend ("emu"); NULL: it is not asked there. */
const struct expectation *planted_expects(const struct planted *planted, const char *backend);
/* "wrong or unstable at correct or stable" */
bool expectation_met(const struct expectation *expectation, enum verdict verdict, const char *rung);

/*
 * Steps through the feasible genomes of its family on a device: start with *genome zeroed and
 * *first true. False when there are no more. `values` is filled as family_feasible does.
 */
bool planted_next(const struct planted *planted, const struct givens *givens, bool *first,
                  struct genome *genome, int64_t *values);

#endif
