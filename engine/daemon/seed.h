/*
 * seed -- what a run is asked to do: a YAML file, checked whole before anything starts.
 *
 * evo-seed.5 describes the format for people. Parsed by libyaml's events with limits of our own
 * (1 MiB, depth 32, no aliases, no duplicate keys); every mistake is told as
 * "FILE:LINE:COLUMN: what", with a hint that says what to do. Families are named here and parsed by
 * seed_families, which needs the templates.
 *
 * Everything lives in the caller's arena and is read only afterwards.
 */
#ifndef EVO_DAEMON_SEED_H
#define EVO_DAEMON_SEED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "fitness/problem.h"
#include "genome/family.h"
#include "genome/render.h"
#include "search/population.h"

enum {
    SEED_BYTES_MAX = 1 << 20,
    SEED_DEPTH_MAX = 32,
    SEED_FAMILIES_MAX = 32,
    SEED_FOUNDERS_MAX = 256,
    SEED_PROBLEMS_MAX = JOB_TIMED_MAX,
    SEED_RIVALS_MAX = 8,
    SEED_JUDGES_MAX = 32,
    SEED_ISLANDS_MAX = 64,
    SEED_RESTRICTIONS_MAX = 256,
    SEED_LAG_MAX = 1024,
};

struct seed_restriction { /* families: - NAME: {genes: {GENE: [values]}} */
    int family;
    const char *gene;
    const char *const *values;
    int count, line, column;
};

struct seed {
    const char *path, *name, *about;
    const char *text; /* the file as read */
    size_t text_bytes;

    struct problem problems[SEED_PROBLEMS_MAX];
    int problem_count;

    struct {
        const char *name; /* a template, or a recorded space "replay" */
        int line, column;
    } families[SEED_FAMILIES_MAX];
    int family_count;
    struct seed_restriction restrictions[SEED_RESTRICTIONS_MAX];
    int restriction_count;
    struct {
        const char
            *text; /* "attention_tiled BLOCK_M=32 …"; genes not named take their first value */
        int line, column;
    } founders[SEED_FOUNDERS_MAX];
    int founder_count;
    /* What the best is timed against: a library (rival_names), PyTorch (torch.h), or a file. */
    const char *rivals[SEED_RIVALS_MAX];
    struct {
        int line, column;
    } rival_at[SEED_RIVALS_MAX];
    int rival_count;
    bool numerics[2]; /* which classes are bred: FP32, FP16; default FP32 alone */

    int islands;           /* default 2 */
    int elites;            /* kept by each island; default 16 */
    enum seed_selection selection;
    int tournament;        /* default 3 */
    double migration;      /* chance that a parent comes from the next island; default 0.05 */
    double weights[OPERATOR_DRAWN]; /* how often each operator is drawn; 0: never */

    enum seed_strategy strategy;
    uint64_t rng_seed;     /* default 1 */
    int lag; /* default 32; see style: proposal n reads results of places <= n - lag */
    bool ends_settled; /* when nothing more is expected; default true */
    int64_t budget_evaluations, budget_wall_ms, budget_device_ms; /* 0: unlimited */

    const char *device;    /* default "auto" */
    const char *judges[SEED_JUDGES_MAX]; /* whole command lines of further judges (ssh …) */
    int judge_count;
    int compile_workers;   /* 0: one a core */
    const char *arch;      /* NULL: the device's; else sm_90a … */
    int64_t compile_deadline_ms, judge_deadline_ms; /* defaults 60 s, 120 s */
    int gate_cases;        /* draws of the input families that find most; default 3 */
    /* What an emulated device's gate judges on in full, not shapes it derives; see shapes.h. */
    struct problem emu_problems[SEED_PROBLEMS_MAX];
    int emu_problem_count;
    const char *templates; /* a folder of the user's own families, or NULL; relative to the seed */
};

bool seed_parse(struct arena *arena, const char *path, const char *text, size_t length,
                struct seed *seed, struct err *err);
bool seed_load(struct arena *arena, const char *path, struct seed *seed, struct err *err);
/* Whether a rival is a file: it has a slash, or ends in ".cu". */
bool seed_is_file(const char *rival);

/*
 * The seed's families, parsed and restricted, and its founders as genomes (family = index), each
 * checked for names and values. Mistakes are located in the seed's file. Feasibility is not checked
 * here: it depends on the device.
 */
bool seed_families(struct arena *arena, const struct seed *seed, const struct template_set *set,
                   const struct space *space, struct family **families, int *family_count,
                   struct genome *founders, struct err *err);

#endif
