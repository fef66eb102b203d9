/*
 * The families that come with evo, compiled for real and run on the emulated device: every value of
 * every gene at least once, on ragged shapes, under all sanitizers, against FP64. One family a
 * call, from the templates or from the tests' own folder:
 *
 *     test_emu_device attention_tiled
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "daemon/trial.h"
#include "fitness/emu/emulate.h"
#include "fitness/jitter.h"
#include "fitness/verify.h"
#include "genome/render.h"

enum {
    DRAWS = 20000,     /* genomes drawn for one that is feasible and has a value */
    ROUNDS = 3,        /* times each value is run, in other company and on other shapes */
    COVER_DRAWS = 300, /* feasible genomes among which the one that covers most is taken */
};

/* Problems in turn: each type, mask and width meets some genome. */
static const char *const shapes[] = {
    "1x2x40/330x64",       "1x2/1x75x64:causal",      "2x1x33/140x64:bf16:lse",
    "1x1x70/135x128:bshd", "1x2x52/97x64:causal:lse", "1x1x35/131x128:causal:bf16",
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

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

static void choose_problem(int number)
{
    struct problem *p = &all.problem;
    struct err err = {0};

    if (!problem_parse(shapes[number % SHAPES], p, &err)) {
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

static void mark(int gene, int value)
{
    all.left -= !all.seen[gene][value];
    all.seen[gene][value] = true;
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

/* ---- running one ------------------------------------------------------------------------------
 */

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

/* What is right and free of races gives the same bits however its warps are delayed. */
static void delay(const struct judge_image *image, const char *text)
{
    struct judge_result *result = arena_alloc(all.arena, sizeof *result);
    struct plan *plan = arena_alloc(all.arena, sizeof *plan);
    struct verify_subject subject = {
        .plan = plan,
        .problem = &all.problem,
        .numerics = image->program.numerics == 1 ? NUMERICS_FP16 : NUMERICS_FP32,
    };
    struct jitter_sites sites;
    struct hello hello;
    struct buf twin = {0};
    struct err err = {0};
    bool supported;

    if (!jitter_twin(image->ptx, image->ptx_bytes, &twin, &sites, &err)) {
        fail_msg("%s: %s", text, err.what);
    }
    assert_int_equal(sites.entries, image->program.kernel_count);
    assert_true(device_open(all.arena, "", &hello, &err));
    assert_true(plan_resolve(all.arena, &image->program, &all.problem, hello.device_sms, plan,
                             &supported, &err));
    if (device_load_twin(image, twin.data, twin.length, &subject.module, &err) != DEVICE_OK ||
        verify_race(all.arena, &subject, all.draw, result, &err) != DEVICE_OK) {
        fail_msg("%s: %s", text, err.what);
    }
    if (result->verdict != VERDICT_NONE) {
        fail_msg("%s: %s", text, result->reason);
    }
    assert_int_equal(result->tallies[0][RUNG_RACE].passed, 1);
    device_unload(subject.module);
    device_close();
    buf_free(&twin);
}

static void run_genome(const struct genome *genome, bool delayed)
{
    const char *text = genome_text(all.arena, all.family, genome);
    struct emulation *emulation = arena_alloc(all.arena, sizeof *emulation);
    struct judge_image image = {0};
    struct emulate_request request = {
        .image = &image, .problem = all.problem, .profile_blocks = 2, .secret = 1 + all.draw};
    char shape[PROBLEM_TEXT_MAX];
    struct buf source = {0};
    struct built built;
    struct err err = {0};

    assert_true(family_program(all.arena, all.family, values_of(genome), &image.program, &err));
    assert_true(sanitize_parse("all", &request.sanitize, &err));
    assert_true(render_source(all.set, all.family, genome, &all.givens, &source, &err));
    compile(source.data, &image.program, &built);
    buf_free(&source);
    problem_text(&all.problem, shape);
    if (built.verdict != VERDICT_NONE) {
        fail_msg("%s on %s does not compile: %s", text, shape, built.reason);
    }
    image.ptx = built.ptx;
    image.ptx_bytes = built.ptx_bytes;
    image.cubin = built.cubin;
    image.cubin_bytes = built.cubin_bytes;
    if (!emulate(all.arena, &request, emulation, &err)) {
        fail_msg("%s on %s: %s", text, shape, err.what);
    }
    for (int i = 0; i < emulation->finding_count; i++) {
        print_error("%s\n", emulation->findings[i].text);
    }
    if (emulation->verdict != VERDICT_PASS) {
        fail_msg("%s on %s: %s: %s", text, shape, verdict_names[emulation->verdict],
                 emulation->reason);
    }
    assert_true(emulation->compared);
    assert_true(emulation->kernels[0].time.us > 0);
    if (delayed) {
        delay(&image, text);
    }
    print_message("%s on %s: %.0f ms, modelled %.2f us\n", text, shape, emulation->ms,
                  emulation->kernels[0].time.us);
}

/* `number` goes on from round to round, so that genomes meet other shapes. */
static void run_round(int *number, bool delayed)
{
    int infeasible = 0;

    memset(all.seen, 0, sizeof all.seen);
    for (int g = 0; g < all.family->gene_count; g++) {
        all.left += all.family->genes[g].count;
    }
    for (; all.left > 0; ++*number) {
        struct genome genome;
        int gene, value;

        choose_problem(*number);
        if (choose_genome(&genome)) {
            run_genome(&genome, delayed);
            for (int g = 0; g < all.family->gene_count; g++) {
                mark(g, genome.at[g]);
            }
            infeasible = 0;
        } else if (++infeasible == SHAPES) { /* for no problem */
            first_unseen(&gene, &value);
            fail_msg("no feasible genome has %s=%s", all.family->genes[gene].name,
                     gene_value_text(all.arena, &all.family->genes[gene], value));
        }
    }
}

static void every_value_of_every_gene_is_right_and_race_free(void **state)
{
    int number = 0;

    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        run_round(&number, i == 0);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_of_every_gene_is_right_and_race_free),
    };
    struct err err = {0};
    int failed;

    all.arena = arena_new();
    all.set = template_set_new(all.arena);
    if (!template_set_load(all.set, EVO_SOURCE_DIR "/templates", &err) ||
        !template_set_load(all.set, EVO_SOURCE_DIR "/tests/data/templates", &err) ||
        !template_set_family(all.set, argc > 1 ? argv[1] : "attention_scalar", &all.family, &err)) {
        fprintf(stderr, "%s\n", err.what);
        return 1;
    }
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_free(all.arena);
    return failed;
}
