#include "search/guide.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "search/favour.h"
#include "search/model.h"

enum {
    DESIGN_MIN = 6,    /* genomes that a family is sampled with at least; else one a gene */
    DESIGN_POOL = 200, /* of which the one farthest from all others is taken */
    ELITES = MODEL_ELITES,
    RECALLS = 4,       /* of the best of earlier runs, tried before anything else */
    TAUGHT_SHARE = 4,  /* a family with lessons is sampled by so many times fewer first genomes */
    LOCAL_EVERY = 3, /* every third place is a neighbour of an elite */
    PATIENCE = 80,   /* outcomes without a gain after which one asks whether there will be any */
};
static const uint32_t STREAM_DESIGN = 0xfffffffe;

/* Of log time: a best that is better by less is no news, and an expectation below is none. */
static const double NEWS = 0.005, NOTHING = 0.00003;

/* How far a first genome counts as being, for each gene that is no power of two but could be. */
static const double ODD_SHARE = 0.3;

struct guide {
    const struct search_space *space;
    uint64_t rng_seed;
    struct model *models; /* of each family */
    struct seen seen;     /* genomes marked or refused, by genome_key */
    int64_t marked;       /* places below are marked */
    struct trial elites[POPULATION_CLASSES][ELITES]; /* best first */
    int elite_count[POPULATION_CLASSES];
    struct lesson recalls[RECALLS]; /* what is tried first */
    int recall_count;
    int64_t outcomes;
    struct {
        double y;
        int64_t outcome; /* how many there were when it came */
    } news[POPULATION_CLASSES]; /* the latest best that was much better than the one before */
};

/* ---- life ---- */

struct guide *guide_new(const struct search_space *space, uint64_t rng_seed)
{
    struct guide *guide = xcalloc(1, sizeof *guide);

    guide->space = space;
    guide->rng_seed = rng_seed;
    guide->models = xcalloc((size_t)space->family_count, sizeof *guide->models);
    for (int i = 0; i < space->family_count; i++) {
        model_begin(&guide->models[i], space, &guide->seen, rng_seed, i);
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
        model_end(&guide->models[i]);
    }
    free(guide->models);
    seen_end(&guide->seen);
    free(guide);
}

/* ---- what is remembered ---- */

/* The best lesson of a source that is none of the recalls yet; NULL: there is none. */
static const struct lesson *next_recall(const struct guide *guide, const struct lesson *lessons,
                                        int count, int source)
{
    const struct lesson *best = NULL;

    for (int i = 0; i < count; i++) {
        bool taken = lessons[i].source != source;

        for (int j = 0; j < guide->recall_count && !taken; j++) {
            taken = memcmp(&guide->recalls[j].genome, &lessons[i].genome,
                           sizeof lessons[i].genome) == 0;
        }
        if (!taken && (best == NULL || lessons[i].us < best->us)) {
            best = &lessons[i];
        }
    }
    return best;
}

void guide_teach(struct guide *guide, const struct lesson *lessons, int count)
{
    struct lesson own[MEMORY_LESSONS_MAX];

    for (int i = 0; i < guide->space->family_count; i++) {
        int found = 0;

        for (int j = 0; j < count && found < MEMORY_LESSONS_MAX; j++) {
            if (lessons[j].genome.family == i) {
                own[found++] = lessons[j];
            }
        }
        model_teach(&guide->models[i], own, found);
    }
    for (int i = 0; i < RECALLS * MEMORY_SOURCES_MAX && guide->recall_count < RECALLS; i++) {
        const struct lesson *lesson = next_recall(guide, lessons, count, i % MEMORY_SOURCES_MAX);

        if (lesson != NULL) {
            guide->recalls[guide->recall_count++] = *lesson;
        }
    }
}

/* ---- what happened ---- */

void guide_refuse(struct guide *guide, const struct genome *genome)
{
    seen_add(&guide->seen, genome_key(genome));
    model_take(&guide->models[genome->family], genome);
}

void guide_mark(struct guide *guide, int64_t place, const struct genome *genome)
{
    if (place >= guide->marked) {
        guide->marked = place + 1;
        seen_add(&guide->seen, genome_key(genome));
        model_mark(&guide->models[genome->family], place, genome);
    }
}

static void remember_elite(struct guide *guide, const struct trial *trial)
{
    struct trial *elites = guide->elites[trial->numerics];
    int *count = &guide->elite_count[trial->numerics], at = *count;

    while (at > 0 && trial->y < elites[at - 1].y) { /* ties go to the elder */
        at--;
    }
    if (at == ELITES) {
        return;
    }
    *count += *count < ELITES;
    memmove(&elites[at + 1], &elites[at], (size_t)(*count - 1 - at) * sizeof *elites);
    elites[at] = *trial;
}

void guide_fold(struct guide *guide, int64_t place, const struct genome *genome, int numerics,
                int depth, double us)
{
    double known = us < 0 ? -us : us; /* an alias is known as well as its elder */
    struct trial trial = {.place = place, .genome = *genome, .numerics = (uint8_t)numerics,
                          .good = known > 0 && isfinite(known), .alias = us < 0, .depth = depth};

    if (trial.good) {
        trial.y = log(known);
        if (!trial.alias) {
            remember_elite(guide, &trial);
        }
    }
    guide->outcomes++;
    if (guide->elite_count[numerics] > 0 &&
        (guide->news[numerics].outcome == 0 ||
         guide->elites[numerics][0].y < guide->news[numerics].y - NEWS)) {
        guide->news[numerics].y = guide->elites[numerics][0].y;
        guide->news[numerics].outcome = guide->outcomes;
    }
    model_fold(&guide->models[genome->family], &trial);
}

/* ---- picking ---- */

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
    int solid = posterior_solid(model->posterior) - model->lesson_count, least = GENES_MAX + 1;

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

/* What there is to improve on: the best, else what earlier runs promise. INFINITY: nothing. */
static double best_known(const struct guide *guide, int numerics)
{
    double best = INFINITY;

    if (guide->elite_count[numerics] > 0) {
        return guide->elites[numerics][0].y;
    }
    for (int i = 0; i < guide->space->family_count; i++) {
        best = fmin(best, model_remembered(&guide->models[i], numerics));
    }
    return best;
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
    if (!model_refresh(&guide->models[elite->genome.family])) {
        return false;
    }
    model_consider_near(&guide->models[elite->genome.family], elite,
                        guide->elites[numerics][0].y, &choice);
    pick->genome = choice.genome;
    descend_from(pick, OPERATOR_REFINE, elite);
    return choice.found;
}

static struct choice choose_anywhere(struct guide *guide, int numerics)
{
    struct choice choice = {.found = false};
    double best = best_known(guide, numerics);

    for (int i = 0; i < guide->space->family_count; i++) {
        if (model_refresh(&guide->models[i])) {
            model_consider(&guide->models[i], numerics, best, &choice);
        }
    }
    return choice;
}

static bool pick_anywhere(struct guide *guide, int numerics, struct pick *pick)
{
    struct choice choice = {.found = false};
    const struct trial *parent;

    if (isfinite(best_known(guide, numerics))) {
        choice = choose_anywhere(guide, numerics);
    }
    if (!choice.found) {
        return false;
    }
    pick->genome = choice.genome;
    parent = relative(&guide->models[choice.genome.family], &choice.genome);
    descend_from(pick, OPERATOR_PREDICT, parent);
    return true;
}

/* ---- when nothing more is expected ---- */

static bool expects_nothing(struct guide *guide, int numerics)
{
    struct choice choice;

    if (guide->elite_count[numerics] == 0 ||
        guide->outcomes - guide->news[numerics].outcome < PATIENCE) {
        return false;
    }
    choice = choose_anywhere(guide, numerics);
    return choice.found && (choice.hopeless || choice.gain < NOTHING);
}

/* A neighbour of the best that is left, or none: then the class is settled. */
static bool sweep(struct guide *guide, int numerics, struct pick *pick)
{
    const struct trial *best = &guide->elites[numerics][0];
    struct choice choice = {.found = false};

    if (model_refresh(&guide->models[best->genome.family])) {
        model_consider_near(&guide->models[best->genome.family], best, best->y, &choice);
    }
    pick->genome = choice.genome;
    descend_from(pick, OPERATOR_REFINE, best);
    return choice.found && !choice.hopeless;
}

/* True if a neighbour was picked; else pick->settled says whether no class expects anything. */
static bool pick_last(struct guide *guide, int numerics, struct pick *pick)
{
    struct pick other;

    if (!expects_nothing(guide, numerics)) {
        return false;
    }
    if (sweep(guide, numerics, pick)) {
        return true;
    }
    pick->settled = true;
    for (int i = 0; i < POPULATION_CLASSES && pick->settled; i++) {
        pick->settled = i == numerics || !guide->space->classes[i] ||
                        (expects_nothing(guide, i) && !sweep(guide, i, &other));
    }
    return false;
}

/* ---- the first genomes of a family ---- */

/*
 * The farthest from all that is known among random genomes. Powers of two come first where a gene
 * has others besides: most that is good on a GPU is among them. So do those whose launch suits the
 * device, if it was measured.
 */
static bool pick_far(struct guide *guide, int64_t place, struct model *model, int numerics,
                     struct pick *pick)
{
    struct rng rng = rng_at(guide->rng_seed, STREAM_DESIGN, (uint64_t)place);
    double most = -1;

    for (int i = 0; i < DESIGN_POOL; i++) {
        struct genome genome;
        double distance;

        if (!model_draw(model, numerics, &rng, &genome)) {
            break;
        }
        distance = fmin(model_distance(model, &genome), SURROGATE_DIMS_MAX) *
                   pow(ODD_SHARE, axes_odd(&model->field->axes, &genome)) *
                   favour_genome(guide->space, &genome);
        if (distance > most) {
            most = distance;
            pick->genome = genome;
        }
    }
    descend_from(pick, OPERATOR_IMMIGRANT, NULL);
    return most >= 0;
}

/*
 * The share of a family's first genomes that were proposed already; 1: all. One that multiplies in
 * a way that is slow here needs fewer, by the root of its share of the fastest.
 */
static double sampled(const struct guide *guide, int family)
{
    const struct model *model = &guide->models[family];
    int genes = (int)(model->field->axes.plain * sqrt(favour_family(guide->space, family)));
    int wanted = (genes > DESIGN_MIN ? genes : DESIGN_MIN) /
                 (model->field->axes.origin >= 0 ? TAUGHT_SHARE : 1);
    int known = model->trial_count + model->pending_count;

    return known < wanted ? (double)known / wanted : 1.0;
}

static bool pick_first(struct guide *guide, int64_t place, int numerics, struct pick *pick)
{
    int least = 0;

    for (int i = 1; i < guide->space->family_count; i++) {
        if (sampled(guide, i) < sampled(guide, least)) {
            least = i;
        }
    }
    return sampled(guide, least) < 1.0 &&
           pick_far(guide, place, &guide->models[least], numerics, pick);
}

/* The best of earlier runs. */
static bool pick_recalled(struct guide *guide, int numerics, struct pick *pick)
{
    for (int i = 0; i < guide->recall_count; i++) {
        const struct genome *genome = &guide->recalls[i].genome;

        if (guide->recalls[i].numerics == numerics &&
            !seen_has(&guide->seen, genome_key(genome))) {
            pick->genome = *genome;
            descend_from(pick, OPERATOR_RECALL, NULL);
            return true;
        }
    }
    return false;
}

bool guide_pick(struct guide *guide, int64_t place, int numerics, struct pick *pick)
{
    for (int i = 0; i < guide->space->family_count; i++) {
        model_open(&guide->models[i]);
    }
    pick->settled = false;
    return pick_recalled(guide, numerics, pick) ||
           pick_first(guide, place, numerics, pick) || pick_last(guide, numerics, pick) ||
           pick_near(guide, place, numerics, pick) || pick_anywhere(guide, numerics, pick) ||
           pick_far(guide, place, &guide->models[place % guide->space->family_count], numerics,
                    pick);
}
