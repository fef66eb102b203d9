/*
 * chronicle -- a run's story, added up as it goes on: what the status screen, the report and the
 * live page show beyond a status row.
 *
 * Rows are read once, in order of place, in pieces as large as the caller likes: a view paints
 * first and catches up later. What is kept is bounded by the number of names and of improvements,
 * not of candidates.
 */
#ifndef EVO_CLI_CHRONICLE_H
#define EVO_CLI_CHRONICLE_H

#include "base/arena.h"
#include "db/query.h"

enum { CHRONICLE_NAMES_MAX = 64, CHRONICLE_ISLANDS_MAX = 64 };

/* The rungs that a proposal climbs, each including those above it. */
enum funnel {
    FUNNEL_PROPOSED,
    FUNNEL_RENDERED, /* met every requirement; a source was made */
    FUNNEL_BUILT,    /* the compiler took it */
    FUNNEL_LAUNCHED, /* and the device: it ran to its end */
    FUNNEL_RIGHT,    /* the gate passed it */
    FUNNEL_TIMED,
    FUNNEL_IMPROVED, /* the best of its numerics class so far */
    FUNNEL_RUNGS,
};

extern const char *const funnel_names[FUNNEL_RUNGS];

/* What one operator, family or island has brought. */
struct share {
    const char *name; /* "" for an island: its number is its index */
    int64_t tried, passed, aliases, improved;
    double best_us; /* 0: none passed */
    int64_t best_place;
};

/* A moment at which the best of a numerics class changed. */
struct improvement {
    int64_t place, parent, evaluation, at; /* at: wall clock, ms */
    int numerics;
    double us, low, high;
    const char *family, *operator_name;
};

struct chronicle {
    struct arena *arena; /* of names and improvements */
    int64_t run, last_place, last_finished_at;
    int64_t funnel[FUNNEL_RUNGS], aliases, by_verdict[VERDICT_COUNT];
    struct share operators[CHRONICLE_NAMES_MAX], families[CHRONICLE_NAMES_MAX];
    struct share islands[CHRONICLE_ISLANDS_MAX];
    int operator_count, family_count, island_count;
    struct improvement *improvements;
    int64_t improvement_count, improvement_room;
    double best_us[2]; /* by numerics; 0: none */
};

void chronicle_open(struct chronicle *chronicle, int64_t run);
void chronicle_close(struct chronicle *chronicle);
/* The next place, for who reads the rows himself. */
void chronicle_add(struct chronicle *chronicle, const struct story_row *row);
/* Reads at most `limit` further places; *behind: there may be more to read at once. */
bool chronicle_advance(struct chronicle *chronicle, struct store *store, int64_t limit,
                       bool *behind, struct err *err);

#endif
