#include "search/model.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "search/mutate.h"

enum {
    FIELD_MAX = 1024,      /* candidates chosen for a field */
    FIELD_ROOM = 2048,     /* with the neighbours that join later; a family of no more is its own */
    POINTS_MIN = 160,      /* a posterior's, however many families share the memory */
    POINTS_TAUGHT = 256,   /* with less room there is none for lessons */
    PENDING_MAX = 48,      /* the latest of those pending that a posterior assumes */
    LESSONS_FIT = 24,      /* of more lessons every second has a say in the scales */
    OWN_ENOUGH = 16,       /* members that know better than lessons */
    GOOD_MIN = 4,          /* outcomes with a time before a model is made */
    BEST_BRED = 10,        /* a pool begins with the neighbours of so many */
    POOL_ROUNDS = 3,       /* times that a pool is bred from what promises most in it */
    POOL_MAX = 8192,
    POOL_CROSSED = 1024,   /* a round */
    POOL_PARENTS = 64,
    FAILURES_MAX = 512,    /* the latest outcomes that odds are estimated from */
    DRAWS_MAX = 4096,
};
static const uint32_t STREAM_POOL = 0xfffffe00; /* and the family's index */

static const double SLOW_SHARE = 0.6, SLOW_SLOPE = 0.2;
/*
 * Where nothing was ever measured much is expected for ever; if all of it fails, it is tried after
 * all else, however little is expected there.
 */
static const double HOPELESS = 0.005;

/* ---- life ---- */

void model_begin(struct model *model, const struct search_space *space, const struct seen *seen,
                 uint64_t rng_seed, int family)
{
    *model = (struct model){.space = space, .seen = seen, .rng_seed = rng_seed, .family = family,
                            .epoch = -1};
}

void model_end(struct model *model)
{
    if (model->field != model->listed) {
        catalogue_free(model->field);
    }
    catalogue_free(model->listed);
    posterior_free(model->posterior);
    free(model->trials);
    free(model->lessons);
    free(model->pending);
    free(model->passed);
    free(model->tried);
}

static const struct family *family_of(const struct model *model)
{
    return model->space->families[model->family];
}

static const struct axes *axes_of(const struct model *model) { return &model->field->axes; }

static void *grown(void *items, int count, int *room, size_t size)
{
    if (count < *room) {
        return items;
    }
    *room = *room > 0 ? *room * 2 : 64;
    return xrealloc(items, (size_t)*room * size);
}

void model_teach(struct model *model, const struct lesson *lessons, int count)
{
    assert(count <= MEMORY_LESSONS_MAX && model->field == NULL);
    model->lessons = xmalloc((size_t)count * sizeof *lessons + 1);
    memcpy(model->lessons, lessons, (size_t)count * sizeof *lessons);
    model->lesson_count = count;
}

/* ---- what happens ---- */

static void take_from(struct catalogue *catalogue, const struct genome *genome)
{
    int at = catalogue != NULL ? catalogue_find(catalogue, genome) : -1;

    if (at >= 0) {
        catalogue->taken[at] = true;
    }
}

void model_take(struct model *model, const struct genome *genome)
{
    take_from(model->listed, genome);
    take_from(model->field, genome);
}

void model_mark(struct model *model, int64_t place, const struct genome *genome)
{
    model_take(model, genome);
    model->pending = grown(model->pending, model->pending_count, &model->pending_room,
                           sizeof *model->pending);
    model->pending[model->pending_count++] = (struct trial){.place = place, .genome = *genome};
}

static void record_values(const struct model *model, const struct trial *trial,
                          struct record (*values)[GENE_VALUES_MAX])
{
    for (int i = 0; i < family_of(model)->gene_count; i++) {
        values[i][trial->genome.at[i]].tried++;
        values[i][trial->genome.at[i]].passed += trial->good;
    }
}

void model_fold(struct model *model, const struct trial *trial)
{
    if (model->pending_count > 0 && model->pending[0].place == trial->place) {
        memmove(model->pending, model->pending + 1,
                (size_t)--model->pending_count * sizeof *model->pending);
    }
    record_values(model, trial, model->values);
    model->good_count += trial->good;
    model->trials = grown(model->trials, model->trial_count, &model->trial_room,
                          sizeof *model->trials);
    model->trials[model->trial_count++] = *trial;
}

/* ---- candidates ---- */

static bool legal(const struct model *model, const struct genome *genome, int *numerics)
{
    int at;

    if (model->listed == NULL) {
        return space_meets(model->space, genome, numerics);
    }
    at = catalogue_find(model->listed, genome);
    *numerics = at >= 0 ? model->listed->numerics[at] : 0;
    return at >= 0;
}

static bool known(const struct model *model, const struct genome *genome)
{
    return seen_has(model->seen, genome_key(genome));
}

void model_open(struct model *model)
{
    int64_t room;

    if (model->field != NULL) {
        return;
    }
    room = POSTERIOR_BYTES / (int)sizeof(float) / model->space->family_count / FIELD_ROOM;
    model->points_max = room > SURROGATE_POINTS_MAX ? SURROGATE_POINTS_MAX
                        : room < POINTS_MIN         ? POINTS_MIN
                                                    : (int)room;
    if (model->points_max < POINTS_TAUGHT) {
        model->lesson_count = 0;
    }
    model->listed = catalogue_new(family_of(model), model->lesson_count > 0);
    if (!catalogue_list(model->listed, model->space, model->family)) {
        catalogue_free(model->listed);
        model->listed = NULL;
    }
    for (int i = 0; model->listed != NULL && i < model->listed->count; i++) {
        model->listed->taken[i] = known(model, &model->listed->genomes[i]);
    }
    model->field = model->listed != NULL && model->listed->count <= FIELD_ROOM
                       ? model->listed
                       : catalogue_new(family_of(model), model->lesson_count > 0);
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

static struct point point_of(const struct model *model, const struct trial *trial)
{
    return axes_point(axes_of(model), &trial->genome);
}

/* ---- the odds of passing ---- */

/* How near two points are for failing alike: nothing beyond 0.7 of the way across a gene. */
static float nearness(float squared)
{
    float part = squared < 0.5f ? 1.0f - 2.0f * squared : 0.0f;

    part *= part; /* about e^(-16 squared) */
    part *= part;
    return part * part;
}

static float apart(const struct axes *axes, int d, float a, float b)
{
    return axes->label[d] ? (a != b ? 1.0f : 0.0f) : (a - b) * (a - b);
}

/* The weights of one point by the outcomes [from, to). */
static void feed_point(const struct model *model, const struct point *point, int from, int to,
                       float *passed, float *tried)
{
    const struct axes *axes = axes_of(model);

    for (int i = from; i < to; i++) {
        struct point other = point_of(model, &model->trials[i]);
        float squared = 0, weight;

        for (int d = 0; d < axes->plain; d++) {
            squared += apart(axes, d, point->at[d], other.at[d]);
        }
        weight = nearness(squared);
        *tried += weight;
        *passed += model->trials[i].good ? weight : 0.0f;
    }
}

/* Adds the outcomes [from, to) to the weights of candidates. */
static void feed(const struct model *model, const struct catalogue *catalogue, int from, int to,
                 float *passed, float *tried)
{
    const struct axes *axes = &catalogue->axes;
    const struct cloud *cloud = &catalogue->cloud;
    float squared[CLOUD_LANES];

    for (int first = 0; first < cloud->count; first += CLOUD_LANES) {
        for (int i = from; i < to; i++) {
            struct point centre = axes_point(axes, &model->trials[i].genome);
            float good = model->trials[i].good ? 1.0f : 0.0f;

            memset(squared, 0, sizeof squared);
            for (int d = 0; d < axes->plain; d++) {
                const float *at = cloud->at + (size_t)d * (size_t)cloud->stride + first;
                float other = centre.at[d];

                for (int lane = 0; lane < CLOUD_LANES; lane++) {
                    squared[lane] += apart(axes, d, at[lane], other);
                }
            }
            for (int lane = 0; lane < CLOUD_LANES; lane++) {
                float weight = nearness(squared[lane]);

                tried[first + lane] += weight;
                passed[first + lane] += good * weight;
            }
        }
    }
}

static int first_fed(int end) { return end > FAILURES_MAX ? end - FAILURES_MAX : 0; }

/* Takes outcomes into the odds of the field; as long as nothing failed there are none. */
static void feed_new(struct model *model)
{
    if (model->good_count == model->trial_count) {
        return;
    }
    if (model->passed == NULL) {
        size_t room = (size_t)model->field->cloud.stride + 1;

        model->passed = xcalloc(room, sizeof *model->passed);
        model->tried = xcalloc(room, sizeof *model->tried);
        model->fed = first_fed(model->epoch);
    }
    if (model->fed < model->trial_count) {
        feed(model, model->field, model->fed, model->trial_count, model->passed, model->tried);
        model->fed = model->trial_count;
    }
}

/* Candidates from `first` on joined the field after outcomes were fed to the others. */
static void feed_late(struct model *model, int first)
{
    for (int i = first; model->passed != NULL && i < model->field->count; i++) {
        struct point point = axes_point(axes_of(model), &model->field->genomes[i]);

        feed_point(model, &point, first_fed(model->epoch), model->fed, &model->passed[i],
                   &model->tried[i]);
    }
}

/*
 * By what is near, and by each value alone, because in a large space nothing is near. A value that
 * never passed speaks against a genome, soon loudly: most failures have one cause.
 */
static double odds_of(const struct record (*values)[GENE_VALUES_MAX], int genes,
                      const struct genome *genome, float passed, float tried)
{
    double least = ((double)passed + 0.5) / ((double)tried + 0.5);

    for (int gene = 0; gene < genes; gene++) {
        const struct record *record = &values[gene][genome->at[gene]];

        if (record->passed == 0) {
            double more = 1.0 + record->tried;

            least = fmin(least, 1.0 / (more * more));
        }
    }
    return least;
}

static double odds_of_candidate(const struct model *model, int at)
{
    return model->passed == NULL ? 1.0
                                 : odds_of(model->values, family_of(model)->gene_count,
                                           &model->field->genomes[at], model->passed[at],
                                           model->tried[at]);
}

static double odds_anywhere(const struct model *model, const struct genome *genome,
                            const struct point *point)
{
    float passed = 0, tried = 0;

    if (model->good_count == model->trial_count) {
        return 1.0;
    }
    feed_point(model, point, first_fed(model->epoch), model->trial_count, &passed, &tried);
    return odds_of(model->values, family_of(model)->gene_count, genome, passed, tried);
}

/* ---- the process at an epoch ---- */

/* The count of outcomes, at most `count`, at which the scales are fitted. */
static int epoch_of(int count)
{
    int every = count < 24 ? 4 : count < 56 ? 8 : count < 116 ? 12 : count < 400 ? 25 : 100;

    return count - count % every;
}

static int compare_ints(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

/*
 * The trials a model is made of at an epoch: all good ones, or when they are too many the best
 * half of the room, the latest quarter, and the rest evenly from what is left.
 */
static int choose_members(const struct model *model, int epoch, int *members)
{
    int room = model->points_max - PENDING_MAX - 101 - model->lesson_count, count = 0, left = 0;
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

/*
 * Half of most spaces is slow for reasons that the fast half does not share; how slow it is would
 * only stretch the scales. What is worse than most at the last epoch counts as little worse.
 */
static double compress(const struct model *model, double y)
{
    double above = y - model->ceiling;

    return above > 0 ? model->ceiling + SLOW_SLOPE * above : y;
}

static double target_of(const struct model *model, const struct trial *trial)
{
    return compress(model, trial->y);
}

/* What a lesson's log time would be here. */
static double lesson_y(const struct model *model, const struct lesson *lesson)
{
    return log(lesson->us) + model->shifts[lesson->source];
}

double model_remembered(const struct model *model, int numerics)
{
    double best = INFINITY;

    for (int i = 0; i < model->lesson_count; i++) {
        if (model->lessons[i].numerics == numerics) {
            best = fmin(best, lesson_y(model, &model->lessons[i]));
        }
    }
    return best;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double median(double *y, int count)
{
    qsort(y, (size_t)count, sizeof *y, compare_doubles);
    return y[count / 2];
}

static bool same_genome(const struct genome *a, const struct genome *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/*
 * How much more the log time of everything is here than it was at a source: the median over the
 * genomes tried in both; while there are none, by the best of both.
 */
static double shift_of(const struct model *model, int source, int epoch)
{
    double apart[MEMORY_LESSONS_MAX], least = INFINITY, best = INFINITY;
    int count = 0;

    for (int i = 0; i < model->lesson_count; i++) {
        const struct lesson *lesson = &model->lessons[i];

        if (lesson->source != source) {
            continue;
        }
        least = fmin(least, log(lesson->us));
        for (int j = 0; j < epoch; j++) {
            if (model->trials[j].good && same_genome(&model->trials[j].genome, &lesson->genome)) {
                apart[count++] = model->trials[j].y - log(lesson->us);
            }
        }
    }
    for (int i = 0; i < epoch; i++) {
        best = model->trials[i].good ? fmin(best, model->trials[i].y) : best;
    }
    return count > 0 ? median(apart, count)
           : isfinite(best) && isfinite(least) ? best - least : 0;
}

static void set_ceiling(struct model *model, int count)
{
    double y[SURROGATE_POINTS_MAX];
    int lessons = model->lesson_count;

    for (int i = 0; i < lessons; i++) {
        y[i] = lesson_y(model, &model->lessons[i]);
    }
    for (int i = 0; i < count; i++) {
        y[lessons + i] = model->trials[model->members[i]].y;
    }
    count += lessons;
    qsort(y, (size_t)count, sizeof *y, compare_doubles);
    model->ceiling = y[(int)(SLOW_SHARE * (count - 1))];
}

static struct point point_of_lesson(const struct model *model, const struct lesson *lesson)
{
    struct point point = axes_point(axes_of(model), &lesson->genome);

    point.at[axes_of(model)->origin] = (float)(1 + lesson->source);
    return point;
}

/* The scales, from the latest of the points and some of the lessons. */
static struct kernel fit(const struct model *model, const struct point *points, const double *y,
                         int count)
{
    const struct axes *axes = axes_of(model);
    struct point chosen[SURROGATE_FIT_MAX];
    double targets[SURROGATE_FIT_MAX];
    int lessons = model->lesson_count, own = count - lessons, taken = 0, first;
    struct kernel kernel = {.dims = axes->dims};

    memcpy(kernel.label, axes->label, sizeof kernel.label);
    for (int i = 0; i < lessons; i += lessons > LESSONS_FIT ? 2 : 1) {
        chosen[taken] = points[i];
        targets[taken++] = y[i];
    }
    first = own > SURROGATE_FIT_MAX - taken ? own - (SURROGATE_FIT_MAX - taken) : 0;
    for (int i = lessons + first; i < count; i++) {
        chosen[taken] = points[i];
        targets[taken++] = y[i];
    }
    kernel_fit(&kernel, chosen, targets, taken);
    return kernel;
}

static void learn(struct model *model, int count)
{
    struct point points[SURROGATE_POINTS_MAX];
    double y[SURROGATE_POINTS_MAX];
    struct kernel kernel;
    int rows = 0;

    set_ceiling(model, count);
    model->centre = 0;
    for (int i = 0; i < model->lesson_count; i++) {
        points[rows] = point_of_lesson(model, &model->lessons[i]);
        y[rows++] = compress(model, lesson_y(model, &model->lessons[i]));
    }
    for (int i = 0; i < count; i++) {
        points[rows] = point_of(model, &model->trials[model->members[i]]);
        y[rows++] = target_of(model, &model->trials[model->members[i]]);
    }
    for (int i = 0; i < rows; i++) {
        model->centre += y[i] / rows;
    }
    kernel = fit(model, points, y, rows);
    posterior_begin(model->posterior, &kernel);
    posterior_add(model->posterior, points, rows);
    for (int i = 0; i < rows; i++) {
        posterior_solidify(model->posterior, y[i] - model->centre);
    }
}

/* ---- the field at an epoch ---- */

/* Candidates that a field is chosen from, and how much each promises. */
struct prospect {
    float gain;
    int at;
};

static int compare_prospects(const void *a, const void *b)
{
    const struct prospect *x = a, *y = b;

    return x->gain != y->gain ? (x->gain > y->gain ? -1 : 1) : x->at - y->at;
}

/* Brings the `most` best to the front, in order. */
static void select_best(struct prospect *prospects, int count, int most)
{
    int low = 0, high = count;

    while (most < high && low < most) { /* the boundary lies within [low, high) */
        struct prospect pivot = prospects[low + (high - low) / 2];
        int i = low, j = high - 1;

        while (i <= j) {
            while (compare_prospects(&prospects[i], &pivot) < 0) {
                i++;
            }
            while (compare_prospects(&prospects[j], &pivot) > 0) {
                j--;
            }
            if (i <= j) {
                struct prospect other = prospects[i];

                prospects[i++] = prospects[j];
                prospects[j--] = other;
            }
        }
        if (most <= j + 1) {
            high = j + 1;
        } else if (most >= i) {
            low = i;
        } else {
            break;
        }
    }
    qsort(prospects, (size_t)(most < count ? most : count), sizeof *prospects, compare_prospects);
}

/* The most promising first; what was tried by the epoch promises nothing: -1. */
static void rank_prospects(struct model *model, const struct catalogue *source, int epoch,
                           struct prospect *prospects, int most)
{
    size_t room = (size_t)source->cloud.stride + 1;
    float *mean = xmalloc(room * sizeof *mean), *sd = xmalloc(room * sizeof *sd);
    float *passed = xcalloc(room, sizeof *passed), *tried = xcalloc(room, sizeof *tried);
    struct record(*values)[GENE_VALUES_MAX] = xcalloc(GENES_MAX, sizeof *values);
    double best = INFINITY;
    bool failed = false;

    for (int i = 0; i < epoch; i++) { /* later ones are known only to those who stayed alive */
        record_values(model, &model->trials[i], values);
        failed = failed || !model->trials[i].good;
        best = model->trials[i].good ? fmin(best, model->trials[i].y) : best;
    }
    for (int i = 0; i < POPULATION_CLASSES && !isfinite(best); i++) {
        best = fmin(best, model_remembered(model, i));
    }
    if (failed) {
        feed(model, source, first_fed(epoch), epoch, passed, tried);
    }
    posterior_screen(model->posterior, &source->cloud, mean, sd);
    for (int i = 0; i < source->count; i++) {
        double odds = !failed ? 1.0 : odds_of(values, family_of(model)->gene_count,
                                              &source->genomes[i], passed[i], tried[i]);

        prospects[i].at = i;
        prospects[i].gain = odds < HOPELESS ? 0 : (float)odds *
            improvement_most(mean[i] - (float)(best - model->centre), sd[i]);
    }
    for (int i = 0; i < epoch; i++) {
        int at = catalogue_find(source, &model->trials[i].genome);

        if (at >= 0) {
            prospects[at].gain = -1;
        }
    }
    select_best(prospects, source->count, most);
    free(mean);
    free(sd);
    free(passed);
    free(tried);
    free(values);
}

static void pool_add(const struct model *model, struct catalogue *pool,
                     const struct genome *genome)
{
    int numerics;

    if (pool->count < POOL_MAX && space_meets(model->space, genome, &numerics)) {
        catalogue_add(pool, genome, numerics);
    }
}

static void add_neighbours(const struct model *model, struct catalogue *pool,
                           const struct genome *centre)
{
    struct genome genome;

    for (int step = 0; next_neighbour(family_of(model), centre, &step, &genome);) {
        pool_add(model, pool, &genome);
    }
}

static void add_bred(const struct model *model, struct catalogue *pool,
                     const struct genome *parents, int count, struct rng *rng)
{
    for (int i = 0; count > 1 && i < POOL_CROSSED; i++) {
        struct genome drawn[2], genome;

        for (int j = 0; j < 2; j++) {
            drawn[j] = parents[rng_below(rng, (uint32_t)count)];
        }
        if (operator_table[i % 2 ? OPERATOR_CROSSOVER : OPERATOR_MULTI].apply(model->space, drawn,
                                                                              rng, &genome)) {
            pool_add(model, pool, &genome);
        }
    }
}

/*
 * A pool of a family too large to list: a small evolution against the model alone. What was
 * proposed already may be in it: it must not depend on when it is bred.
 */
static struct catalogue *breed_pool(struct model *model, int epoch, struct prospect **prospects)
{
    struct rng rng = rng_at(model->rng_seed, STREAM_POOL + (uint32_t)model->family,
                            (uint64_t)epoch);
    struct catalogue *pool = catalogue_new(family_of(model), model->field->axes.origin >= 0);
    struct genome parents[POOL_PARENTS];
    int best[BEST_BRED], count = best_trials(model, epoch, best, BEST_BRED);

    *prospects = xcalloc(POOL_MAX, sizeof **prospects);
    for (int i = 0; i < count; i++) {
        parents[i] = model->trials[best[i]].genome;
        add_neighbours(model, pool, &parents[i]);
    }
    for (int i = 0; i < DRAWS_MAX * 4 && pool->count < POOL_MAX / 2; i++) {
        struct genome genome = mutate_random(model->space, model->family, &rng);

        pool_add(model, pool, &genome);
    }
    for (int round = 0; round < POOL_ROUNDS; round++) {
        add_bred(model, pool, parents, count, &rng);
        catalogue_close(pool, 0);
        rank_prospects(model, pool, epoch, *prospects, FIELD_MAX);
        count = pool->count < POOL_PARENTS ? pool->count : POOL_PARENTS;
        for (int i = 0; i < count; i++) {
            parents[i] = pool->genomes[(*prospects)[i].at];
        }
    }
    return pool;
}

/* True if the trial is among the best of its class so far. */
static bool joins_best(struct model *model, const struct trial *trial)
{
    double *best = model->best[trial->numerics];
    int at = MODEL_ELITES;

    while (at > 0 && trial->y < best[at - 1]) {
        at--;
    }
    if (at == MODEL_ELITES || !trial->good || trial->alias) {
        return false;
    }
    memmove(&best[at + 1], &best[at], (size_t)(MODEL_ELITES - 1 - at) * sizeof *best);
    best[at] = trial->y;
    return true;
}

/* Appends those that the field lacks, as far as there is room. */
static void welcome_neighbours(struct model *model, const struct trial *trial)
{
    struct catalogue *field = model->field;
    struct genome genome;
    int numerics;

    for (int step = 0; field != model->listed &&
                       next_neighbour(family_of(model), &trial->genome, &step, &genome);) {
        if (catalogue_find(field, &genome) < 0 && legal(model, &genome, &numerics) &&
            catalogue_append(field, &genome, numerics)) {
            field->taken[field->count - 1] = known(model, &genome);
        }
    }
}

static void welcome_best(struct model *model, int epoch)
{
    for (int i = 0; i < POPULATION_CLASSES; i++) {
        for (int j = 0; j < MODEL_ELITES; j++) {
            model->best[i][j] = INFINITY;
        }
    }
    for (int i = 0; i < epoch; i++) {
        joins_best(model, &model->trials[i]);
    }
    for (int i = 0; i < epoch; i++) {
        const struct trial *trial = &model->trials[i];

        if (trial->good && trial->y <= model->best[trial->numerics][MODEL_ELITES - 1]) {
            welcome_neighbours(model, trial);
        }
    }
}

static void choose_field(struct model *model, int epoch)
{
    struct catalogue *pool = NULL;
    const struct catalogue *source = model->listed;
    struct prospect *prospects = NULL;

    if (source == NULL) {
        source = pool = breed_pool(model, epoch, &prospects);
    } else {
        prospects = xcalloc((size_t)source->count, sizeof *prospects);
        rank_prospects(model, source, epoch, prospects, FIELD_MAX);
    }
    catalogue_clear(model->field);
    for (int i = 0; i < source->count && i < FIELD_MAX && prospects[i].gain >= 0; i++) {
        int at = prospects[i].at;

        catalogue_add(model->field, &source->genomes[at], source->numerics[at]);
    }
    catalogue_close(model->field, FIELD_ROOM);
    for (int i = 0; i < model->field->count; i++) {
        model->field->taken[i] = known(model, &model->field->genomes[i]);
    }
    catalogue_free(pool);
    free(prospects);
}

static void begin_epoch(struct model *model, int epoch)
{
    int count = choose_members(model, epoch, model->members);

    if (model->posterior == NULL) {
        model->posterior = posterior_new(model->points_max);
    }
    if (count >= OWN_ENOUGH) {
        model->lesson_count = 0;
    }
    for (int i = 0; i < MEMORY_SOURCES_MAX; i++) {
        model->shifts[i] = shift_of(model, i, epoch);
    }
    learn(model, count);
    if (model->field != model->listed) {
        choose_field(model, epoch);
    }
    welcome_best(model, epoch);
    posterior_watch(model->posterior, &model->field->cloud, 0);
    free(model->passed);
    free(model->tried);
    model->passed = model->tried = NULL;
    model->epoch = model->cursor = epoch;
}

/* ---- from there on ---- */

/* The next outcome: a pending row of it becomes solid, or goes, and with it all behind it. */
static void take_in(struct model *model, const struct trial *trial)
{
    int solid = posterior_solid(model->posterior), points = posterior_points(model->posterior);
    bool assumed = points > solid && model->tail[0] == trial->place;
    int candidates = model->field->count;

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
    model->members[solid - model->lesson_count] = (int)(trial - model->trials);
    if (joins_best(model, trial)) {
        welcome_neighbours(model, trial);
        posterior_watch(model->posterior, &model->field->cloud, candidates);
        feed_late(model, candidates);
    }
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

bool model_refresh(struct model *model)
{
    int epoch = epoch_of(model->trial_count), good = model->lesson_count;

    for (int i = 0; i < epoch && good < GOOD_MIN; i++) {
        good += model->trials[i].good;
    }
    if (good < GOOD_MIN) {
        return false;
    }
    model_open(model);
    if (epoch != model->epoch) {
        begin_epoch(model, epoch);
    }
    for (; model->cursor < model->trial_count; model->cursor++) {
        take_in(model, &model->trials[model->cursor]);
    }
    assume_pending(model);
    feed_new(model);
    return posterior_settle(model->posterior);
}

/* ---- questions ---- */

/* Keeps the candidate if it is worth more; the first of equals stays. */
static void consider(struct choice *choice, const struct genome *genome, double mean, double sd,
                     double odds, double best)
{
    bool hopeless = odds < HOPELESS;
    double gain;

    if (choice->found &&
        (hopeless > choice->hopeless ||
         (hopeless == choice->hopeless &&
          (double)improvement_most((float)(mean - best), (float)sd) * odds < choice->gain))) {
        return;
    }
    gain = expected_improvement(mean, sd, best) * odds;
    if (!choice->found || hopeless < choice->hopeless || gain > choice->gain) {
        *choice = (struct choice){.genome = *genome, .mean = mean, .sd = sd, .odds = odds,
                                  .gain = gain, .hopeless = hopeless, .found = true};
    }
}

static void consider_candidate(const struct model *model, int at, double best,
                               struct choice *choice)
{
    double mean, sd;

    posterior_at(model->posterior, at, &mean, &sd);
    consider(choice, &model->field->genomes[at], mean + model->centre, sd,
             odds_of_candidate(model, at), best);
}

void model_consider(const struct model *model, int numerics, double best, struct choice *choice)
{
    const struct catalogue *field = model->field;

    for (int i = 0; i < field->count; i++) {
        if (!field->taken[i] && field->numerics[i] == numerics) {
            consider_candidate(model, i, best, choice);
        }
    }
}

void model_forecast(struct model *model, const struct genome *genome, struct choice *choice)
{
    struct point point = axes_point(axes_of(model), genome);

    choice->genome = *genome;
    posterior_anywhere(model->posterior, &point, &choice->mean, &choice->sd);
    choice->mean += model->centre;
    choice->odds = odds_anywhere(model, genome, &point);
    choice->found = true;
}

void model_consider_near(struct model *model, const struct trial *elite, double best,
                         struct choice *choice)
{
    const struct catalogue *field = model->field;
    struct genome genome;
    int numerics;

    for (int step = 0; next_neighbour(family_of(model), &elite->genome, &step, &genome);) {
        int at = catalogue_find(field, &genome);

        if (at >= 0) {
            if (!field->taken[at] && field->numerics[at] == elite->numerics) {
                consider_candidate(model, at, best, choice);
            }
        } else if (!known(model, &genome) && legal(model, &genome, &numerics) &&
                   numerics == elite->numerics) { /* the field had no room for it */
            struct choice forecast;

            model_forecast(model, &genome, &forecast);
            consider(choice, &genome, forecast.mean, forecast.sd, forecast.odds, best);
        }
    }
}

bool model_draw(struct model *model, int numerics, struct rng *rng, struct genome *genome)
{
    const struct catalogue *listed = model->listed;

    for (int i = 0; i < DRAWS_MAX && (listed == NULL || listed->count > 0); i++) {
        int drawn;

        if (listed != NULL) {
            *genome = listed->genomes[rng_below(rng, (uint32_t)listed->count)];
        } else {
            *genome = mutate_random(model->space, model->family, rng);
        }
        if (!known(model, genome) && legal(model, genome, &drawn) && drawn == numerics) {
            return true;
        }
    }
    return false;
}

double model_distance(const struct model *model, const struct genome *genome)
{
    const struct axes *axes = axes_of(model);
    struct point point = axes_point(axes, genome);
    double least = INFINITY;

    for (int i = 0; i < model->trial_count + model->pending_count; i++) {
        const struct trial *trial = i < model->trial_count
                                        ? &model->trials[i]
                                        : &model->pending[i - model->trial_count];
        struct point other = point_of(model, trial);
        double sum = 0;

        for (int d = 0; d < axes->plain; d++) {
            sum += (double)apart(axes, d, point.at[d], other.at[d]);
        }
        least = sum < least ? sum : least;
    }
    return least;
}
