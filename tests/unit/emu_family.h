/*
 * emu_family -- a family, genomes of it that cover its values, and their programs, for tests on the
 * emulated device.
 */
#ifndef EVO_TESTS_EMU_FAMILY_H
#define EVO_TESTS_EMU_FAMILY_H

#include <string.h>

#include "base/rng.h"
#include "daemon/trial.h"
#include "fitness/emu/emulate.h"
#include "genome/render.h"

enum {
    DRAWS = 20000,     /* genomes drawn for one that is feasible and has a value */
    COVER_DRAWS = 300, /* feasible genomes among which the one that covers most is taken */
};

static struct {
    struct arena *arena;
    struct template_set *set;
    struct family *family;
    struct problem problem;
    struct givens givens;
    bool seen[GENES_MAX][GENE_VALUES_MAX];
    int left; /* values not seen yet */
    uint64_t draw;
} all;

/* A family of the repository, or of the tests' own folder; false: there is none of that name. */
static bool family_open(const char *name)
{
    struct err err = {0};

    all.arena = arena_new();
    all.set = template_set_new(all.arena);
    if (!template_set_load(all.set, EVO_SOURCE_DIR "/templates", &err) ||
        !template_set_load(all.set, EVO_SOURCE_DIR "/tests/data/templates", &err) ||
        !template_set_family(all.set, name, &all.family, &err)) {
        fprintf(stderr, "%s\n", err.what);
        return false;
    }
    return true;
}

static void choose_problem(const char *shape)
{
    struct problem *p = &all.problem;
    struct err err = {0};

    if (!problem_parse(shape, p, &err)) {
        fail_msg("%s", err.what);
    }
    all.givens = (struct givens){.values = {[GIVEN_HEAD_DIM] = p->head_dim,
                                            [GIVEN_CAUSAL] = p->causal,
                                            [GIVEN_BF16] = p->dtype == DTYPE_BF16,
                                            [GIVEN_LSE] = p->lse,
                                            [GIVEN_DEVICE_SMEM_MAX] = chip_find("")->smem_block,
                                            [GIVEN_DEVICE_ARCH] = chip_find("")->arch}};
}

/* ---- genomes that cover every value --------------------------------------------------------- */

static int64_t *values_of(const struct genome *genome)
{
    static int64_t values[FAMILY_SYMBOLS_MAX];

    return family_feasible(all.family, genome, &all.givens, values, NULL) ? values : NULL;
}

/* A feasible genome with this value; false: none was found among DRAWS. */
static bool draw(int gene, int value, struct genome *genome)
{
    for (int i = 0; i < DRAWS; i++) {
        struct rng rng = rng_at(7, 1, all.draw++);

        *genome = (struct genome){0};
        for (int g = 0; g < all.family->gene_count; g++) {
            genome->at[g] = (uint8_t)rng_below(&rng, (uint32_t)all.family->genes[g].count);
        }
        genome->at[gene] = (uint8_t)value;
        if (values_of(genome) != NULL) {
            return true;
        }
    }
    return false;
}

static int news_of(const struct genome *genome)
{
    int news = 0;

    for (int g = 0; g < all.family->gene_count; g++) {
        news += !all.seen[g][genome->at[g]];
    }
    return news;
}

static void mark_genome(const struct genome *genome)
{
    for (int g = 0; g < all.family->gene_count; g++) {
        all.left -= !all.seen[g][genome->at[g]];
        all.seen[g][genome->at[g]] = true;
    }
}

static void forget_genomes(void)
{
    memset(all.seen, 0, sizeof all.seen);
    all.left = 0;
    for (int g = 0; g < all.family->gene_count; g++) {
        all.left += all.family->genes[g].count;
    }
}

static void first_unseen(int *gene, int *value)
{
    for (*gene = 0; *gene < all.family->gene_count; ++*gene) {
        for (*value = 0; *value < all.family->genes[*gene].count; ++*value) {
            if (!all.seen[*gene][*value]) {
                return;
            }
        }
    }
    fail_msg("nothing is left to see");
}

/* Of many feasible genomes with a value not seen yet, the one with most of them. */
static bool choose_genome(struct genome *best)
{
    int gene, value, most = 0;

    first_unseen(&gene, &value);
    for (int i = 0; i < COVER_DRAWS; i++) {
        struct genome genome;

        if (!draw(gene, value, &genome)) {
            return false;
        }
        if (news_of(&genome) > most) {
            most = news_of(&genome);
            *best = genome;
        }
    }
    return true;
}

/* ---- their programs ------------------------------------------------------------------------- */

static void compile(const char *source, const struct program *program, struct built *built)
{
    struct compile_job job = {.source = source,
                              .source_bytes = strlen(source),
                              .name = arena_printf(all.arena, "%s.cu", all.family->name),
                              .arch = "sm_90a",
                              .options = {"-lineinfo"},
                              .option_count = 1,
                              .entry_count = program->kernel_count};
    struct err err = {0};

    for (int i = 0; i < job.entry_count; i++) {
        job.entries[i] = program->kernels[i].name;
    }
    if (!trial_compile(all.arena, &job, built, &err)) {
        fail_msg("%s", err.what);
    }
}

/* The genome's image for the problem that was chosen. */
static void build(const struct genome *genome, struct judge_image *image)
{
    struct buf source = {0};
    struct built built;
    struct err err = {0};

    *image = (struct judge_image){0};
    if (!family_program(all.arena, all.family, values_of(genome), &image->program, &err) ||
        !render_source(all.set, all.family, genome, &all.givens, &source, &err)) {
        fail_msg("%s", err.what);
    }
    compile(source.data, &image->program, &built);
    buf_free(&source);
    if (built.verdict != VERDICT_NONE) {
        fail_msg("%s does not compile: %s", genome_text(all.arena, all.family, genome),
                 built.reason);
    }
    image->ptx = built.ptx;
    image->ptx_bytes = built.ptx_bytes;
    image->cubin = built.cubin;
    image->cubin_bytes = built.cubin_bytes;
}

#endif
