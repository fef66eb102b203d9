/*
 * model -- what one family's outcomes say about its other genomes.
 *
 * A Gaussian process (surrogate.h) of log time over the genes' coordinates (catalogue.h), and the
 * odds that a genome compiles and runs. Scales are fitted at certain counts of outcomes (epochs)
 * from what was known at that count, so they are the same whether or not the program lived through
 * it; everything else is kept up to date as outcomes come, in their order. Nothing is computed
 * before the first question.
 *
 * A model is asked about a *field* of candidates. Of a family with few legal genomes: all of them.
 * Of one that can be listed: those which promise most at the epoch, of all. Of a larger one: those
 * which promise most of a pool bred for it. Always with the neighbours of the best, and when
 * something joins the best, its neighbours too.
 *
 * Owner: guide.c. Threads: one. Memory: 72 bytes an outcome, the catalogues, the posterior's rows.
 */
#ifndef EVO_SEARCH_MODEL_H
#define EVO_SEARCH_MODEL_H

#include "search/catalogue.h"
#include "search/memory.h"
#include "search/population.h"
#include "search/seen.h"
#include "search/surrogate.h"

enum {
    MODEL_ELITES = 3, /* their neighbours are always asked about */
    POSTERIOR_BYTES = 32 << 20, /* of all families' rows */
};

struct trial {
    int64_t place;
    struct genome genome;
    uint8_t numerics;
    bool good, alias;
    int depth;
    double y; /* log us, if good */
};

/* Outcomes of genomes that have one value of a gene. */
struct record {
    int tried, passed;
};

struct model {
    const struct search_space *space;
    const struct seen *seen; /* genomes that were proposed, or may not be (genome_key) */
    uint64_t rng_seed;
    int family;

    struct trial *trials, *pending;
    int trial_count, trial_room, good_count, pending_count, pending_room;

    struct lesson *lessons; /* best first */
    int lesson_count;
    double shifts[MEMORY_SOURCES_MAX]; /* of a source's log us, to be like those of this run */

    struct catalogue *listed; /* every legal genome; NULL: too many, or not opened yet */
    struct catalogue *field;  /* NULL until the first question; may be `listed` itself */
    struct posterior *posterior;
    int points_max;
    int epoch;      /* outcomes that the scales were fitted to; -1: not yet */
    int cursor;     /* outcomes that the posterior has taken in */
    double ceiling; /* times above are compressed, see target_of */
    double centre;  /* subtracted from targets, so that floats keep their digits */
    int members[SURROGATE_POINTS_MAX];  /* the trial of each solid row behind the lessons' */
    int64_t tail[SURROGATE_POINTS_MAX]; /* the place of each pending row */
    double best[POPULATION_CLASSES][MODEL_ELITES]; /* y of those whose neighbours are asked about */

    float *passed, *tried; /* of each candidate: weights of outcomes near it; NULL: all passed */
    int fed;               /* outcomes in them */
    struct record values[GENES_MAX][GENE_VALUES_MAX];
};

void model_begin(struct model *model, const struct search_space *space, const struct seen *seen,
                 uint64_t rng_seed, int family);
void model_end(struct model *model);

/* Before anything else: what earlier runs found of the family. */
void model_teach(struct model *model, const struct lesson *lessons, int count);

/* What happens. The caller keeps `seen`, and tells the model too: */
void model_take(struct model *model, const struct genome *genome);
void model_mark(struct model *model, int64_t place, const struct genome *genome);
void model_fold(struct model *model, const struct trial *trial);

/* Lists the family, at the first question; later nothing. */
void model_open(struct model *model);
/* Brings the model up to what is known; false: there is not enough for any question below. */
bool model_refresh(struct model *model);

/* The best log us of a class that earlier runs would have here; INFINITY: none. */
double model_remembered(const struct model *model, int numerics);

/* A candidate, and what is expected of it. */
struct choice {
    struct genome genome;
    double mean, sd; /* of log us */
    double odds;     /* of passing */
    double gain;     /* the expected fall of the best log us, times the odds */
    bool hopeless, found;
};

/*
 * The candidate of this class of which most is expected, if of more than `choice` so far; what is
 * hopeless is less than anything else.
 */
void model_consider(const struct model *model, int numerics, double best, struct choice *choice);
/* The same among the neighbours of a trial: one gene differs. */
void model_consider_near(struct model *model, const struct trial *elite, double best,
                         struct choice *choice);
/* What is expected of any legal genome; gain is left alone. */
void model_forecast(struct model *model, const struct genome *genome, struct choice *choice);

/* A legal genome of the class that nobody was yet, at random; false: many draws found none. */
bool model_draw(struct model *model, int numerics, struct rng *rng, struct genome *genome);
/* The squared distance to the nearest genome tried or pending; INFINITY: there is none. */
double model_distance(const struct model *model, const struct genome *genome);

#endif
