#include "daemon/audit.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "search/mutate.h"

enum {
    TRIES_MAX = 24,    /* pairs begun for a gene, those that come to nothing included */
    DRAWS_MAX = 4096,  /* of random genomes until one is feasible */
    STREAM_AUDIT = 0xa0d17,
};

const char *const audit_state_names[AUDIT_STATES] = {"alive", "dead", "unknown"};

/* One of two genomes that differ in the gene at hand. */
struct side {
    struct genome genome;
    struct hash plan;
    int64_t values[JOB_IMAGES_MAX][FAMILY_SYMBOLS_MAX];
    struct hash code; /* of the image at hand; zero: it does not build */
};

struct audit {
    const struct search_space *space;
    const struct template_set *templates;
    const struct genome *founders;
    int founder_count;
    uint64_t rng_seed;
    bool *skipped; /* [family * GENES_MAX + gene] */

    int family, gene; /* at hand */
    int tries, pairs;
    struct rng rng;

    bool paired; /* two genomes are at hand, compared up to this image and side */
    struct side sides[2];
    int image, side;
    bool waiting; /* for audit_answer */
    bool differed;
    struct arena *arena; /* of the job handed out */
};

struct audit *audit_new(const struct search_space *space, const struct template_set *templates,
                        const struct genome *founders, int founder_count, uint64_t rng_seed)
{
    struct audit *audit = xcalloc(1, sizeof *audit);

    audit->space = space;
    audit->templates = templates;
    audit->founders = founders;
    audit->founder_count = founder_count;
    audit->rng_seed = rng_seed;
    audit->skipped = xcalloc((size_t)space->family_count * GENES_MAX, sizeof *audit->skipped);
    audit->arena = arena_new();
    audit->gene = -1;
    return audit;
}

void audit_free(struct audit *audit)
{
    if (audit != NULL) {
        arena_free(audit->arena);
        free(audit->skipped);
        free(audit);
    }
}

void audit_skip(struct audit *audit, int family, int gene)
{
    audit->skipped[family * GENES_MAX + gene] = true;
}

static const struct family *family_at_hand(const struct audit *audit)
{
    return audit->space->families[audit->family];
}

/* ---- pairs ---- */

/* The nth founder of the family at hand, as long as there are so many. */
static bool take_founder(const struct audit *audit, int nth, struct genome *genome)
{
    for (int i = 0; i < audit->founder_count; i++) {
        if (audit->founders[i].family == audit->family && nth-- == 0) {
            *genome = audit->founders[i];
            return true;
        }
    }
    return false;
}

static bool draw_base(struct audit *audit, struct genome *genome)
{
    int numerics;

    if (take_founder(audit, audit->tries, genome)) {
        return true;
    }
    for (int i = 0; i < DRAWS_MAX; i++) {
        *genome = mutate_random(audit->space, audit->family, &audit->rng);
        if (space_meets(audit->space, genome, &numerics) &&
            space_admits(audit->space, genome, &numerics, NULL)) {
            return true;
        }
    }
    return false;
}

/* Another value of the gene at hand, all else equal; any that is feasible. */
static bool draw_neighbour(struct audit *audit, const struct genome *base, struct genome *genome)
{
    int count = family_at_hand(audit)->genes[audit->gene].count;
    int first = (int)rng_below(&audit->rng, (uint32_t)count);

    *genome = *base;
    for (int i = 0; i < count; i++) {
        int numerics, value = (first + i) % count;

        genome->at[audit->gene] = (uint8_t)value;
        if (value != base->at[audit->gene] &&
            space_admits(audit->space, genome, &numerics, NULL)) {
            return true;
        }
    }
    return false;
}

/* The values of all symbols, and how the workload's calls are launched. */
static bool resolve(struct audit *audit, struct side *side, struct err *err)
{
    const struct search_space *space = audit->space;
    const struct family *family = family_at_hand(audit);
    struct hasher hasher;

    for (int i = 0; i < space->static_count; i++) {
        if (!family_feasible(family, &side->genome, &space->statics[i].givens, side->values[i],
                             NULL)) {
            return err_set(err, ERR_SYSTEM, "'%s': a genome that was feasible is not",
                           family->name);
        }
    }
    hash_begin(&hasher, "evo audit plans 1");
    hash_i64(&hasher, "numerics", family_numerics(family, side->values[0]));
    for (int i = 0; i < space->problem_count; i++) {
        struct program program;
        struct plan plan;
        struct hash one;
        bool supported;

        if (!family_program(audit->arena, family, side->values[space->problems[i].image], &program,
                            err) ||
            !plan_resolve(audit->arena, &program, &space->problems[i].problem, space->sms, &plan,
                          &supported, err)) {
            return false;
        }
        one = plan_hash(&plan);
        hash_field(&hasher, "plan", one.bytes, HASH_BYTES);
    }
    side->plan = hash_end(&hasher);
    return true;
}

/* Two genomes that differ in the gene at hand alone; audit->paired false: none were drawn. */
static bool begin_pair(struct audit *audit, struct err *err)
{
    struct side *sides = audit->sides;

    arena_reset(audit->arena);
    audit->paired = draw_base(audit, &sides[0].genome) &&
                    draw_neighbour(audit, &sides[0].genome, &sides[1].genome);
    audit->tries++;
    audit->image = audit->side = 0;
    return !audit->paired || (resolve(audit, &sides[0], err) && resolve(audit, &sides[1], err));
}

/* The job for the side and image at hand. */
static bool prepare(struct audit *audit, struct compile_job *job, struct err *err)
{
    const struct family *family = family_at_hand(audit);
    const struct side *side = &audit->sides[audit->side];
    struct buf source = {0};
    struct program program;
    bool ok = render_source(audit->templates, family, &side->genome,
                            &audit->space->statics[audit->image].givens, &source, err) &&
              family_program(audit->arena, family, side->values[audit->image], &program, err);

    if (ok) {
        *job = (struct compile_job){
            .source = arena_text(audit->arena, source.data, source.length),
            .source_bytes = source.length,
            .name = arena_printf(audit->arena, "%s.cu", family->name),
            .entry_count = program.kernel_count,
        };
        for (int i = 0; i < program.kernel_count; i++) {
            job->entries[i] = program.kernels[i].name;
        }
    }
    buf_free(&source);
    return ok;
}

/* ---- going on ---- */

/* The next gene that has more than one value and is not known. False: there is none. */
static bool next_gene(struct audit *audit)
{
    do {
        audit->gene++;
        while (audit->family < audit->space->family_count &&
               (family_at_hand(audit)->text == NULL ||
                audit->gene >= family_at_hand(audit)->gene_count)) {
            audit->family++;
            audit->gene = 0;
        }
        if (audit->family >= audit->space->family_count) {
            return false;
        }
    } while (audit->skipped[audit->family * GENES_MAX + audit->gene] ||
             family_at_hand(audit)->genes[audit->gene].count < 2);
    audit->tries = audit->pairs = 0;
    audit->rng = rng_at(audit->rng_seed, STREAM_AUDIT,
                        (uint64_t)(audit->family * GENES_MAX + audit->gene));
    return true;
}

static void conclude(struct audit *audit, enum audit_state state, const char *by,
                     enum audit_step *step, struct audit_finding *finding)
{
    *finding = (struct audit_finding){audit->family, audit->gene, state, by, audit->pairs};
    *step = AUDIT_FOUND;
    audit->paired = audit->differed = false;
    audit_skip(audit, audit->family, audit->gene);
}

static bool at_hand(const struct audit *audit)
{
    return audit->gene >= 0 && audit->family < audit->space->family_count &&
           !audit->skipped[audit->family * GENES_MAX + audit->gene];
}

/* The pair at hand, or a new one, compared as far as that needs no compiler. */
static bool compare(struct audit *audit, const char **difference, struct err *err)
{
    *difference = audit->differed ? "code" : NULL;
    if (audit->paired && audit->image == audit->space->static_count && !audit->differed) {
        audit->paired = false; /* equal to the end */
        audit->pairs++;
    }
    while (!audit->paired && audit->pairs < AUDIT_PAIRS && audit->tries < TRIES_MAX) {
        if (!begin_pair(audit, err)) {
            return false;
        }
        if (audit->paired && !hash_equal(&audit->sides[0].plan, &audit->sides[1].plan)) {
            *difference = "plan";
        }
    }
    return true;
}

bool audit_step(struct audit *audit, enum audit_step *step, struct compile_job *job,
                struct audit_finding *finding, struct err *err)
{
    const char *difference;

    assert(!audit->waiting);
    if (!at_hand(audit) && !next_gene(audit)) {
        *step = AUDIT_DONE;
        return true;
    }
    if (!compare(audit, &difference, err)) {
        return false;
    }
    if (difference != NULL) {
        conclude(audit, AUDIT_ALIVE, difference, step, finding);
        return true;
    }
    if (!audit->paired) {
        conclude(audit, audit->pairs > 0 ? AUDIT_DEAD : AUDIT_UNKNOWN, "", step, finding);
        return true;
    }
    *step = AUDIT_COMPILE;
    audit->waiting = true;
    return prepare(audit, job, err);
}

void audit_answer(struct audit *audit, const struct built *built)
{
    struct hash *code = &audit->sides[audit->side].code;

    assert(audit->waiting);
    audit->waiting = false;
    if (built == NULL) {
        audit->paired = false;
        return;
    }
    *code = built->verdict == VERDICT_NONE ? built->code_key : (struct hash){{0}};
    if (audit->side == 0) {
        audit->side = 1;
        return;
    }
    audit->differed = !hash_equal(&audit->sides[0].code, code);
    if (!audit->differed && hash_is_zero(code)) {
        audit->paired = false; /* neither builds: that says nothing */
    }
    audit->image++;
    audit->side = 0;
}
