#include "search/guide.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "search/catalogue.h"
#include "search/mutate.h"
#include "search/seen.h"
#include "search/surrogate.h"

enum {
    POSTERIOR_BYTES = 32 << 20, /* of all families' posteriors */
    POINTS_LISTED_MIN = 160, /* a listed family must have room for as many points, or has a pool */
    POINTS_POOLED = 256,     /* neighbours are asked one by one there, which is quadratic */
    PENDING_MAX = 48,        /* the latest of those pending that a posterior assumes */
    DESIGN_MIN = 6,          /* genomes that a family is sampled with at least; else one a gene */
    DESIGN_POOL = 24,        /* of which the one farthest from all others is taken */
    GOOD_MIN = 4,            /* outcomes with a time before a model is made */
    ELITES = 3,
    LOCAL_EVERY = 3, /* every third place is a neighbour of an elite */
    POOL_ELITES = 10,
    POOL_MAX = 3072,
    POOL_CROSSED = 512,
    FAILURES_POOLED = 512, /* outcomes that validity of a pool is estimated from */
    DRAWS_MAX = 4096,
    STREAM_DESIGN = 0xfffffffe,
    STREAM_POOL = 0xfffffe00, /* and the family's index */
};

static const double SLOW_SHARE = 0.6, SLOW_SLOPE = 0.2;
/* Where nothing was ever measured much is expected for ever; if all of it fails, it is tried last.
 */
static const double HOPELESS = 0.005, LAST_RESORT = 1e-9;

struct trial {
    int64_t place;
    struct genome genome;
    uint8_t numerics;
    bool good;
    int depth;
    double y; /* log us, if good */
};

struct model {
    int family, points_max;
    bool pooled;
    struct catalogue *catalogue; /* NULL until the first pick */
    struct posterior *posterior;
    struct trial *trials, *pending;
    int trial_count, trial_room, good_count, pending_count, pending_room;

    int epoch;    /* outcomes that the scales were fitted to; 0: not yet */
    int cursor;   /* outcomes that the posterior has taken in */
    double ceiling; /* times above are compressed, see target_of */
    double centre; /* subtracted from targets, so that floats keep their digits */
    int members[SURROGATE_POINTS_MAX]; /* the trial of each solid row */
    int64_t tail[SURROGATE_POINTS_MAX]; /* the place of each pending row */

    float *passed, *tried; /* of each candidate: weights of outcomes near it */
    int fed;               /* outcomes in them; -1: none were needed so far */
    struct {
        int tried, passed;
    } values[GENES_MAX][GENE_VALUES_MAX]; /* outcomes of genomes with this value of a gene */
};

struct guide {
    const struct search_space *space;
    uint64_t rng_seed;
    struct model *models;
    struct seen seen;    /* genomes of pooled families, marked or refused */
    int64_t marked;      /* places below are marked */
    struct trial elites[POPULATION_CLASSES][POOL_ELITES]; /* best first */
    int elite_count[POPULATION_CLASSES];
};

/* ---- life ---- */

struct guide *guide_new(const struct search_space *space, uint64_t rng_seed)
{
    struct guide *guide = xcalloc(1, sizeof *guide);

    guide->space = space;
    guide->rng_seed = rng_seed;
    guide->models = xcalloc((size_t)space->family_count, sizeof *guide->models);
    for (int i = 0; i < space->family_count; i++) {
        guide->models[i].family = i;
        guide->models[i].fed = -1;
    }
    seen_begin(&guide->seen);
    return guide;
}

void guide_free(struct guide *guide)
{
    if (guide == NULL) {
        return;
    }
    for (int i = 0; i < guide->space->family_count; i++) {
        struct model *model = &guide->models[i];

        catalogue_free(model->catalogue);
        posterior_free(model->posterior);
        free(model->trials);
        free(model->pending);
        free(model->passed);
        free(model->tried);
    }
    free(guide->models);
    seen_end(&guide->seen);
    free(guide);
}

static void *grown(void *items, int count, int *room, size_t size)
{
    if (count < *room) {
        return items;
    }
    *room = *room > 0 ? *room * 2 : 64;
    return xrealloc(items, (size_t)*room * size);
}

/* ---- what happened ---- */

static void take(struct guide *guide, const struct genome *genome)
{
    struct model *model = &guide->models[genome->family];
    int at = model->catalogue != NULL ? catalogue_find(model->catalogue, genome) : -1;

    if (at >= 0) {
        model->catalogue->taken[at] = true;
    }
    seen_add(&guide->seen, genome_key(genome));
}

void guide_refuse(struct guide *guide, const struct genome *genome) { take(guide, genome); }

void guide_mark(struct guide *guide, int64_t place, const struct genome *genome)
{
    struct model *model = &guide->models[genome->family];

    if (place < guide->marked) {
        return;
    }
    guide->marked = place + 1;
    take(guide, genome);
    model->pending = grown(model->pending, model->pending_count, &model->pending_room,
                           sizeof *model->pending);
    model->pending[model->pending_count++] = (struct trial){.place = place, .genome = *genome};
}

static void remember_elite(struct guide *guide, const struct trial *trial)
{
    struct trial *elites = guide->elites[trial->numerics];
    int *count = &guide->elite_count[trial->numerics], at = *count;

    while (at > 0 && trial->y < elites[at - 1].y) { /* ties go to the elder */
        at--;
    }
    if (at == POOL_ELITES) {
        return;
    }
    *count += *count < POOL_ELITES;
    memmove(&elites[at + 1], &elites[at], (size_t)(*count - 1 - at) * sizeof *elites);
    elites[at] = *trial;
}

void guide_fold(struct guide *guide, int64_t place, const struct genome *genome, int numerics,
                int depth, double us)
{
    struct model *model = &guide->models[genome->family];
    double known = us < 0 ? -us : us; /* an alias is known as well as its elder */
    struct trial trial = {.place = place, .genome = *genome, .numerics = (uint8_t)numerics,
                          .good = known > 0 && isfinite(known), .depth = depth};

    if (model->pending_count > 0 && model->pending[0].place == place) {
        memmove(model->pending, model->pending + 1,
                (size_t)--model->pending_count * sizeof *model->pending);
    }
    for (int i = 0; i < guide->space->families[genome->family]->gene_count; i++) {
        model->values[i][genome->at[i]].tried++;
        model->values[i][genome->at[i]].passed += trial.good;
    }
    if (trial.good) {
        trial.y = log(known);
        model->good_count++;
        if (us > 0) {
            remember_elite(guide, &trial);
        }
    }
    model->trials = grown(model->trials, model->trial_count, &model->trial_room,
                          sizeof *model->trials);
    model->trials[model->trial_count++] = trial;
}

/* ---- candidates ---- */

/* The catalogue at the first pick: whole where the family and its posterior are small enough. */
static void open_model(struct guide *guide, struct model *model)
{
    const struct search_space *space = guide->space;
    int64_t room = 0;

    model->catalogue = catalogue_new(space->families[model->family]);
    if (catalogue_list(model->catalogue, space, model->family)) {
        room = POSTERIOR_BYTES / (int)sizeof(float) / space->family_count /
               (model->catalogue->cloud.stride + 1);
    }
    model->pooled = room < POINTS_LISTED_MIN;
    if (model->pooled) {
        model->points_max = POINTS_POOLED;
        catalogue_clear(model->catalogue);
        return;
    }
    model->points_max = room < SURROGATE_POINTS_MAX ? (int)room : SURROGATE_POINTS_MAX;
    for (int i = 0; i < model->trial_count; i++) {
        take(guide, &model->trials[i].genome);
    }
    for (int i = 0; i < model->pending_count; i++) {
        take(guide, &model->pending[i].genome);
    }
}

static bool pool_add(struct guide *guide, struct model *model, const struct genome *genome)
{
    int numerics;

    return model->catalogue->count < POOL_MAX && space_meets(guide->space, genome, &numerics) &&
           catalogue_add(model->catalogue, genome, numerics);
}

/* Steps through the genomes that differ from `centre` in one gene; *step begins at 0. */
static bool next_neighbour(const struct family *family, const struct genome *centre, int *step,
                           struct genome *genome)
{
    int left = *step;

    for (int gene = 0; gene < family->gene_count; gene++) {
        int others = family->genes[gene].count - 1;

        if (left < others) {
            *genome = *centre;
            genome->at[gene] = (uint8_t)(left < centre->at[gene] ? left : left + 1);
            ++*step;
            return true;
        }
        left -= others;
    }
    return false;
}

/* Indices of the good trials below `end`, best first; returns how many were written. */
static int best_trials(const struct model *model, int end, int *best, int room)
{
    int count = 0;

    for (int i = 0; i < end; i++) {
        int at = count;

        if (!model->trials[i].good) {
            continue;
        }
        while (at > 0 && model->trials[i].y < model->trials[best[at - 1]].y) {
            at--;
        }
        if (at < room) {
            count += count < room;
            memmove(&best[at + 1], &best[at], (size_t)(count - 1 - at) * sizeof *best);
            best[at] = i;
        }
    }
    return count;
}

/*
 * What a family too large to list is asked about until the next epoch. What was proposed already is
 * drawn as well, and taken: the pool must not depend on when it is drawn.
 */
static void draw_pool(struct guide *guide, struct model *model, int epoch)
{
    const struct family *family = guide->space->families[model->family];
    struct rng rng = rng_at(guide->rng_seed, STREAM_POOL + (uint32_t)model->family,
                            (uint64_t)epoch);
    int best[POOL_ELITES], count = best_trials(model, epoch, best, POOL_ELITES);
    struct genome genome;

    catalogue_clear(model->catalogue);
    for (int i = 0; i < count; i++) {
        for (int step = 0;
             next_neighbour(family, &model->trials[best[i]].genome, &step, &genome);) {
            pool_add(guide, model, &genome);
        }
    }
    for (int i = 0; count > 1 && i < POOL_CROSSED; i++) {
        struct genome parents[2];

        for (int j = 0; j < 2; j++) {
            parents[j] = model->trials[best[rng_below(&rng, (uint32_t)count)]].genome;
        }
        if (operator_table[i % 2 ? OPERATOR_CROSSOVER : OPERATOR_MULTI].apply(
                guide->space, parents, &rng, &genome)) {
            pool_add(guide, model, &genome);
        }
    }
    for (int i = 0; i < DRAWS_MAX * 4 && model->catalogue->count < POOL_MAX; i++) {
        genome = mutate_random(guide->space, model->family, &rng);
        pool_add(guide, model, &genome);
    }
    catalogue_close(model->catalogue);
    for (int i = 0; i < model->catalogue->count; i++) {
        model->catalogue->taken[i] =
            seen_has(&guide->seen, genome_key(&model->catalogue->genomes[i]));
    }
}

/* ---- the model at an epoch, and from there ---- */

/* The count of outcomes, at most `count`, at which the scales are fitted. */
static int epoch_of(int count)
{
    int every = count < 40 ? 4 : count < 100 ? 10 : count < 400 ? 25 : 100;

    return count - count % every;
}

static int compare_ints(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

/*
 * The trials a model is made of at an epoch: all good ones, or when they are too many the best
 * half of the room, the latest quarter, and the rest evenly from what is left.
 */
static int choose_members(const struct model *model, int epoch, int *members)
{
    int room = model->points_max - PENDING_MAX - 101, count = 0, left = 0;
    bool *chosen;

    for (int i = 0; i < epoch; i++) {
        left += model->trials[i].good;
    }
    if (left <= room) {
        for (int i = 0; i < epoch; i++) {
            if (model->trials[i].good) {
                members[count++] = i;
            }
        }
        return count;
    }
    chosen = xcalloc((size_t)epoch, sizeof *chosen);
    count = best_trials(model, epoch, members, room / 2);
    for (int i = 0; i < count; i++) {
        chosen[members[i]] = true;
    }
    for (int i = epoch - 1; i >= 0 && count < room - room / 4; i--) {
        if (model->trials[i].good && !chosen[i]) {
            chosen[members[count++] = i] = true;
        }
    }
    left -= count;
    for (int i = 0, wanted = room - count, at = 0; i < epoch && count < room; i++) {
        if (model->trials[i].good && !chosen[i]) {
            int before = (int)((int64_t)at * wanted / left);

            at++;
            if ((int64_t)at * wanted / left > before) {
                members[count++] = i;
            }
        }
    }
    free(chosen);
    qsort(members, (size_t)count, sizeof *members, compare_ints);
    return count;
}

static struct point point_of(const struct model *model, const struct trial *trial)
{
    return axes_point(&model->catalogue->axes, &trial->genome);
}

/*
 * Half of most spaces is slow for reasons that the fast half does not share; how slow it is would
 * only stretch the scales. What is worse than most at the last epoch counts as little worse.
 */
static double target_of(const struct model *model, const struct trial *trial)
{
    double above = trial->y - model->ceiling;

    return above > 0 ? model->ceiling + SLOW_SLOPE * above : trial->y;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void set_ceiling(struct model *model, const int *members, int count)
{
    double y[SURROGATE_POINTS_MAX];

    for (int i = 0; i < count; i++) {
        y[i] = model->trials[members[i]].y;
    }
    qsort(y, (size_t)count, sizeof *y, compare_doubles);
    model->ceiling = y[(int)(SLOW_SHARE * (count - 1))];
}

static void fit(struct model *model, const int *members, int count, struct kernel *kernel)
{
    const struct axes *axes = &model->catalogue->axes;
    struct point points[SURROGATE_FIT_MAX];
    double y[SURROGATE_FIT_MAX];
    int first = count > SURROGATE_FIT_MAX ? count - SURROGATE_FIT_MAX : 0;

    *kernel = (struct kernel){.dims = axes->dims};
    memcpy(kernel->label, axes->label, sizeof kernel->label);
    for (int i = first; i < count; i++) {
        points[i - first] = point_of(model, &model->trials[members[i]]);
        y[i - first] = target_of(model, &model->trials[members[i]]);
    }
    kernel_fit(kernel, points, y, count - first);
}

static void begin_epoch(struct guide *guide, struct model *model, int epoch)
{
    struct point points[SURROGATE_POINTS_MAX];
    struct kernel kernel;
    int count = choose_members(model, epoch, model->members);

    if (model->pooled) {
        draw_pool(guide, model, epoch);
        posterior_free(model->posterior);
        model->posterior = NULL;
        free(model->passed);
        free(model->tried);
        model->passed = model->tried = NULL;
        model->fed = -1;
    }
    if (model->posterior == NULL) {
        model->posterior = posterior_new(&model->catalogue->cloud, model->points_max);
    }
    set_ceiling(model, model->members, count);
    fit(model, model->members, count, &kernel);
    posterior_begin(model->posterior, &kernel);
    model->centre = 0;
    for (int i = 0; i < count; i++) {
        points[i] = point_of(model, &model->trials[model->members[i]]);
        model->centre += target_of(model, &model->trials[model->members[i]]) / count;
    }
    posterior_add(model->posterior, points, count);
    for (int i = 0; i < count; i++) {
        posterior_solidify(model->posterior,
                           target_of(model, &model->trials[model->members[i]]) - model->centre);
    }
    model->epoch = model->cursor = epoch;
}

/* The next outcome: a pending row of it becomes solid, or goes, and with it all behind it. */
static void take_in(struct model *model, const struct trial *trial)
{
    int solid = posterior_solid(model->posterior), points = posterior_points(model->posterior);
    bool assumed = points > solid && model->tail[0] == trial->place;

    if (!trial->good) {
        if (assumed) {
            posterior_cut(model->posterior, solid);
        }
        return;
    }
    if (assumed) {
        memmove(model->tail, model->tail + 1, (size_t)(points - solid - 1) * sizeof *model->tail);
    } else {
        struct point point = point_of(model, trial);

        posterior_cut(model->posterior, solid);
        posterior_add(model->posterior, &point, 1);
    }
    posterior_solidify(model->posterior, target_of(model, trial) - model->centre);
    model->members[solid] = (int)(trial - model->trials);
}

/* Rows of those pending, the latest PENDING_MAX of them, in order of place. */
static void assume_pending(struct model *model)
{
    int first = model->pending_count > PENDING_MAX ? model->pending_count - PENDING_MAX : 0;
    const struct trial *wanted = model->pending + first;
    int count = model->pending_count - first, solid = posterior_solid(model->posterior);
    int rows = posterior_points(model->posterior) - solid, same = 0;
    struct point points[PENDING_MAX];

    while (same < rows && same < count && model->tail[same] == wanted[same].place) {
        same++;
    }
    posterior_cut(model->posterior, solid + same);
    for (int i = same; i < count; i++) {
        points[i - same] = point_of(model, &wanted[i]);
        model->tail[i] = wanted[i].place;
    }
    posterior_add(model->posterior, points, count - same);
}

/* ---- validity ---- */

/* How near two points are for the odds of failing alike: e^-16 at opposite ends of a gene. */
static float nearness(const struct axes *axes, const struct point *a, const struct point *b)
{
    float squared = 0;

    for (int d = 0; d < axes->plain; d++) {
        float step = a->at[d] - b->at[d];

        squared += axes->label[d] ? (step != 0 ? 1.0f : 0.0f) : step * step;
    }
    return expf(-16.0f * squared);
}

static void feed(struct model *model, const struct trial *trial)
{
    const struct catalogue *catalogue = model->catalogue;
    struct point centre = point_of(model, trial);

    for (int i = 0; i < catalogue->count; i++) {
        float squared = 0, weight;

        for (int d = 0; d < catalogue->axes.plain; d++) {
            float step = catalogue->cloud.at[(size_t)d * (size_t)catalogue->cloud.stride +
                                             (size_t)i] - centre.at[d];

            squared += catalogue->axes.label[d] ? (step != 0 ? 1.0f : 0.0f) : step * step;
        }
        if (squared > 2.0f) {
            continue; /* e^-32: nothing */
        }
        weight = expf(-16.0f * squared);
        model->tried[i] += weight;
        model->passed[i] += trial->good ? weight : 0.0f;
    }
}

/* Takes outcomes into the validity of candidates; as long as nothing failed there is none. */
static void feed_new(struct model *model)
{
    if (model->good_count == model->trial_count) {
        return;
    }
    if (model->fed < 0) {
        size_t count = (size_t)model->catalogue->count;

        free(model->passed);
        free(model->tried);
        model->passed = xcalloc(count + 1, sizeof *model->passed);
        model->tried = xcalloc(count + 1, sizeof *model->tried);
        model->fed = model->pooled && model->epoch > FAILURES_POOLED
                         ? model->epoch - FAILURES_POOLED
                         : 0;
    }
    for (; model->fed < model->trial_count; model->fed++) {
        feed(model, &model->trials[model->fed]);
    }
}

/*
 * The odds of passing: by what is near, and by each value alone, because in a large space nothing
 * is near. A value that never passed speaks against a genome, soon loudly: most failures have one
 * cause.
 */
static double odds(const struct model *model, const struct genome *genome, float passed,
                   float tried)
{
    double least = ((double)passed + 0.5) / ((double)tried + 0.5);

    for (int d = 0; d < model->catalogue->axes.plain; d++) {
        int gene = model->catalogue->axes.gene[d], at = genome->at[gene];

        if (model->values[gene][at].passed == 0) {
            double more = 1.0 + model->values[gene][at].tried;

            least = fmin(least, 1.0 / (more * more));
        }
    }
    return least;
}

static double odds_of_candidate(const struct model *model, int at)
{
    return model->fed < 0 ? 1.0
                          : odds(model, &model->catalogue->genomes[at], model->passed[at],
                                 model->tried[at]);
}

static double odds_anywhere(const struct model *model, const struct genome *genome,
                            const struct point *point)
{
    int first = model->trial_count > FAILURES_POOLED ? model->trial_count - FAILURES_POOLED : 0;
    float passed = 0, tried = 0;

    if (model->good_count == model->trial_count) {
        return 1.0;
    }
    for (int i = first; i < model->trial_count; i++) {
        struct point other = point_of(model, &model->trials[i]);
        float weight = nearness(&model->catalogue->axes, point, &other);

        tried += weight;
        passed += model->trials[i].good ? weight : 0.0f;
    }
    return odds(model, genome, passed, tried);
}

/* Brings a model up to what is known; false: there is not enough. */
static bool refresh(struct guide *guide, struct model *model)
{
    int epoch = epoch_of(model->trial_count), good = 0;

    for (int i = 0; i < epoch && good < GOOD_MIN; i++) {
        good += model->trials[i].good;
    }
    if (good < GOOD_MIN) {
        return false;
    }
    if (epoch != model->epoch) {
        begin_epoch(guide, model, epoch);
    }
    for (; model->cursor < model->trial_count; model->cursor++) {
        take_in(model, &model->trials[model->cursor]);
    }
    assume_pending(model);
    feed_new(model);
    return posterior_settle(model->posterior);
}

/* ---- picking ---- */

struct choice {
    double gain, z, sd, odds;
    struct genome genome;
    bool found;
};

/* Keeps the candidate if it is worth more; the first of equals stays. */
static void consider(struct choice *choice, const struct genome *genome, double mean, double sd,
                     double odds, double best)
{
    double z = (best - mean) / sd, gain;

    if (choice->found && z <= choice->z && sd <= choice->sd && odds <= choice->odds) {
        return; /* worse in every respect */
    }
    gain = expected_improvement(mean, sd, best) * odds * (odds < HOPELESS ? LAST_RESORT : 1.0);
    if (!choice->found || gain > choice->gain) {
        *choice = (struct choice){.gain = gain, .z = z, .sd = sd, .odds = odds,
                                  .genome = *genome, .found = true};
    }
}

static void consider_all(const struct model *model, int numerics, double best,
                         struct choice *choice)
{
    const struct catalogue *catalogue = model->catalogue;

    for (int i = 0; i < catalogue->count; i++) {
        double mean, sd;

        if (!catalogue->taken[i] && catalogue->numerics[i] == numerics) {
            posterior_at(model->posterior, i, &mean, &sd);
            consider(choice, &catalogue->genomes[i], mean + model->centre, sd,
                     odds_of_candidate(model, i), best);
        }
    }
}

static void consider_near(struct guide *guide, struct model *model, const struct trial *elite,
                          double best, struct choice *choice)
{
    const struct family *family = guide->space->families[model->family];
    struct genome genome;

    for (int step = 0; next_neighbour(family, &elite->genome, &step, &genome);) {
        int at = catalogue_find(model->catalogue, &genome), numerics;
        struct point point;
        double mean, sd;

        if (at >= 0) {
            if (!model->catalogue->taken[at] &&
                model->catalogue->numerics[at] == elite->numerics) {
                posterior_at(model->posterior, at, &mean, &sd);
                consider(choice, &genome, mean + model->centre, sd, odds_of_candidate(model, at),
                         best);
            }
        } else if (model->pooled && !seen_has(&guide->seen, genome_key(&genome)) &&
                   space_meets(guide->space, &genome, &numerics) && numerics == elite->numerics) {
            point = axes_point(&model->catalogue->axes, &genome);
            posterior_anywhere(model->posterior, &point, &mean, &sd);
            consider(choice, &genome, mean + model->centre, sd,
                     odds_anywhere(model, &genome, &point), best);
        }
    }
}

static int genes_apart(const struct genome *a, const struct genome *b)
{
    int count = 0;

    for (int i = 0; i < GENES_MAX; i++) {
        count += a->at[i] != b->at[i];
    }
    return count;
}

/* The relative that a predicted genome is shown beside: of those better than most, the nearest. */
static const struct trial *relative(const struct model *model, const struct genome *genome)
{
    const struct trial *nearest = NULL;
    int solid = posterior_solid(model->posterior), least = GENES_MAX + 1;

    for (int i = 0; i < solid; i++) {
        const struct trial *trial = &model->trials[model->members[i]];
        int apart = genes_apart(&trial->genome, genome);

        if (trial->y <= model->centre &&
            (apart < least || (apart == least && trial->y < nearest->y))) {
            nearest = trial;
            least = apart;
        }
    }
    return nearest;
}

static void descend_from(struct pick *pick, enum operator_kind kind, const struct trial *parent)
{
    pick->kind = kind;
    pick->parent_count = 0;
    pick->depth = 0;
    if (parent != NULL) {
        pick->parents[pick->parent_count++] = parent->place;
        pick->depth = parent->depth + 1;
    }
}

static bool pick_near(struct guide *guide, int64_t place, int numerics, struct pick *pick)
{
    int count = guide->elite_count[numerics] < ELITES ? guide->elite_count[numerics] : ELITES;
    const struct trial *elite;
    struct choice choice = {.found = false};

    if (place % LOCAL_EVERY != 0 || count == 0) {
        return false;
    }
    elite = &guide->elites[numerics][place / LOCAL_EVERY % count];
    if (!refresh(guide, &guide->models[elite->genome.family])) {
        return false;
    }
    consider_near(guide, &guide->models[elite->genome.family], elite,
                  guide->elites[numerics][0].y, &choice);
    pick->genome = choice.genome;
    descend_from(pick, OPERATOR_REFINE, elite);
    return choice.found;
}

static bool pick_anywhere(struct guide *guide, int numerics, struct pick *pick)
{
    struct choice choice = {.found = false};
    const struct trial *parent;

    if (guide->elite_count[numerics] == 0) {
        return false;
    }
    for (int i = 0; i < guide->space->family_count; i++) {
        if (refresh(guide, &guide->models[i])) {
            consider_all(&guide->models[i], numerics, guide->elites[numerics][0].y, &choice);
        }
    }
    if (!choice.found) {
        return false;
    }
    pick->genome = choice.genome;
    parent = relative(&guide->models[choice.genome.family], &choice.genome);
    descend_from(pick, OPERATOR_PREDICT, parent);
    return true;
}

/* ---- the first genomes of a family ---- */

static double distance_to_known(const struct model *model, const struct genome *genome)
{
    const struct axes *axes = &model->catalogue->axes;
    struct point point = axes_point(axes, genome);
    double least = INFINITY;

    for (int i = 0; i < model->trial_count + model->pending_count; i++) {
        const struct trial *trial = i < model->trial_count
                                        ? &model->trials[i]
                                        : &model->pending[i - model->trial_count];
        struct point other = point_of(model, trial);
        double sum = 0;

        for (int d = 0; d < axes->plain; d++) {
            double step = (double)point.at[d] - (double)other.at[d];

            sum += axes->label[d] ? step != 0 : step * step;
        }
        least = sum < least ? sum : least;
    }
    return least;
}

static bool draw_legal(struct guide *guide, struct model *model, int numerics, struct rng *rng,
                       struct genome *genome)
{
    const struct catalogue *catalogue = model->catalogue;
    int count = catalogue->count, drawn;

    for (int i = 0; i < DRAWS_MAX && (model->pooled || count > 0); i++) {
        if (model->pooled) {
            *genome = mutate_random(guide->space, model->family, rng);
            if (!seen_has(&guide->seen, genome_key(genome)) &&
                space_meets(guide->space, genome, &drawn) && drawn == numerics) {
                return true;
            }
        } else {
            int at = (int)rng_below(rng, (uint32_t)count);

            if (!catalogue->taken[at] && catalogue->numerics[at] == numerics) {
                *genome = catalogue->genomes[at];
                return true;
            }
        }
    }
    return false;
}

/* The farthest from all that is known among a few random genomes. */
static bool pick_far(struct guide *guide, int64_t place, struct model *model, int numerics,
                     struct pick *pick)
{
    struct rng rng = rng_at(guide->rng_seed, STREAM_DESIGN, (uint64_t)place);
    double most = -1;

    for (int i = 0; i < DESIGN_POOL; i++) {
        struct genome genome;
        double distance;

        if (!draw_legal(guide, model, numerics, &rng, &genome)) {
            break;
        }
        distance = distance_to_known(model, &genome);
        if (distance > most) {
            most = distance;
            pick->genome = genome;
        }
    }
    descend_from(pick, OPERATOR_IMMIGRANT, NULL);
    return most >= 0;
}

/* The share of a family's first genomes that were proposed already; 1: all. */
static double sampled(const struct model *model)
{
    int genes = model->catalogue->axes.plain, wanted = genes > DESIGN_MIN ? genes : DESIGN_MIN;
    int known = model->trial_count + model->pending_count;

    return known < wanted ? (double)known / wanted : 1.0;
}

static bool pick_first(struct guide *guide, int64_t place, int numerics, struct pick *pick)
{
    struct model *least = &guide->models[0];

    for (int i = 1; i < guide->space->family_count; i++) {
        if (sampled(&guide->models[i]) < sampled(least)) {
            least = &guide->models[i];
        }
    }
    return sampled(least) < 1.0 && pick_far(guide, place, least, numerics, pick);
}

bool guide_pick(struct guide *guide, int64_t place, int numerics, struct pick *pick)
{
    for (int i = 0; i < guide->space->family_count; i++) {
        if (guide->models[i].catalogue == NULL) {
            open_model(guide, &guide->models[i]);
        }
    }
    return pick_first(guide, place, numerics, pick) || pick_near(guide, place, numerics, pick) ||
           pick_anywhere(guide, numerics, pick) ||
           pick_far(guide, place, &guide->models[place % guide->space->family_count], numerics,
                    pick);
}
