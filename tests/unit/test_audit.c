/* The audit of genes: what is alive, dead or cannot be known, with a compiler made of a function. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "daemon/audit.h"

static const char text[] = "/*\n * toy -- a family.\n */\n"
                           "#include \"include/evo.cuh\"\n"
                           "EVO_GIVEN(CAUSAL, \"mask\")\n"
                           "EVO_GENE(ROWS, pow2(16, 128), \"of the grid\")\n"
                           "EVO_GENE(UNROLL, set(1, 2, 4), \"of the code\")\n"
                           "EVO_GENE(UNUSED, range(0, 9, 1), \"of nothing\")\n"
                           "EVO_GENE(SKIP, flag, \"of the causal image alone\")\n"
                           "EVO_GENE(RARE, flag, \"of code, when UNUSED is 7\")\n"
                           "EVO_GENE(BOUND, set(1, 2), \"never free\")\n"
                           "EVO_GENE(BROKEN, flag, \"builds when 0\")\n"
                           "EVO_GENE(ONLY, set(3), \"one value\")\n"
                           "EVO_CHOICE(Sum, (as_float, as_half), \"a class of its own\")\n"
                           "EVO_NUMERICS(EVO_IS(Sum, as_half))\n"
                           "EVO_REQUIRE(BOUND == 1 + SKIP, \"bound\")\n"
                           "EVO_LAUNCH(toy, (q_len / ROWS), 32, 0, (Q, K, V, O))\n";

static struct arena *arena;
static struct template_set *set;
static struct family *families[1];
static struct search_space space;

static int set_up(void **state)
{
    struct err err;

    (void)state;
    arena = arena_new();
    set = template_set_new(arena);
    template_set_add(set, "toy.cu", "toy.cu", text, sizeof text - 1);
    template_set_add(set, "include/evo.cuh", "evo.cuh", "", 0);
    if (!template_set_family(set, "toy", &families[0], &err)) {
        fail_msg("%s", err.what);
    }
    space = (struct search_space){.families = families, .family_count = 1, .static_count = 2,
                                  .problem_count = 2, .sms = 132, .classes = {true, false}};
    for (int i = 0; i < 2; i++) {
        assert_true(problem_parse(i ? "1x8x512x64:causal" : "1x8x512x64",
                                  &space.problems[i].problem, &err));
        space.problems[i].image = i;
        space.statics[i].givens.values[GIVEN_CAUSAL] = i;
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

/* The number that a source defines. */
static long value(const char *source, const char *name)
{
    char line[64];
    const char *at;
    long number = 0;

    snprintf(line, sizeof line, "#define EVO_VALUE_%s ", name);
    at = strstr(source, line);
    assert_non_null(at);
    assert_int_equal(sscanf(at + strlen(line), "%ld", &number), 1);
    return number;
}

static int compiled;

/* What a compiler that leaves out what is not used would make of the family above. */
static struct built compile(const struct compile_job *job)
{
    struct built built = {.verdict = VERDICT_NONE};
    long causal = value(job->source, "CAUSAL");
    struct hasher hasher;

    compiled++;
    assert_int_equal(job->entry_count, 1);
    assert_string_equal(job->entries[0], "toy");
    assert_string_equal(job->name, "toy.cu");
    if (value(job->source, "BROKEN") == 1) {
        built.verdict = VERDICT_NO_COMPILE;
        return built;
    }
    hash_begin(&hasher, "compiler");
    hash_i64(&hasher, "causal", causal);
    hash_i64(&hasher, "UNROLL", value(job->source, "UNROLL"));
    hash_i64(&hasher, "SKIP", causal * value(job->source, "SKIP"));
    hash_i64(&hasher, "RARE", value(job->source, "UNUSED") == 7 && value(job->source, "RARE"));
    built.code_key = hash_end(&hasher);
    return built;
}

/* Audits to the end; findings by the gene's index, gene -1 where there is none. */
static void audit_all(struct audit *audit, struct audit_finding findings[GENES_MAX],
                      bool silent_compiler)
{
    struct audit_finding finding;
    struct compile_job job;
    enum audit_step step;
    struct err err;

    compiled = 0;
    for (int i = 0; i < GENES_MAX; i++) {
        findings[i] = (struct audit_finding){.gene = -1};
    }
    for (int steps = 0; steps < 10000; steps++) {
        if (!audit_step(audit, &step, &job, &finding, &err)) {
            fail_msg("%s", err.what);
        }
        if (step == AUDIT_DONE) {
            return;
        }
        if (step == AUDIT_FOUND) {
            assert_int_equal(findings[finding.gene].gene, -1); /* each once */
            findings[finding.gene] = finding;
        } else {
            struct built built = compile(&job);

            audit_answer(audit, silent_compiler ? NULL : &built);
        }
    }
    fail_msg("the audit does not end");
}

static void expect(const struct audit_finding *findings, const char *gene, enum audit_state state,
                   const char *by)
{
    const struct audit_finding *finding = &findings[family_gene(families[0], gene)];

    if (finding->gene < 0 || finding->state != state || strcmp(finding->by, by) != 0) {
        fail_msg("%s: gene %d state %d by %s", gene, finding->gene, finding->state, finding->by);
    }
}

static void every_gene_is_found_alive_dead_or_out_of_reach(void **state)
{
    struct audit_finding findings[GENES_MAX];
    struct audit *audit = audit_new(&space, set, NULL, 0, 1);

    (void)state;
    audit_all(audit, findings, false);
    expect(findings, "ROWS", AUDIT_ALIVE, "plan");
    expect(findings, "UNROLL", AUDIT_ALIVE, "code");
    expect(findings, "UNUSED", AUDIT_DEAD, "");
    assert_int_equal(findings[family_gene(families[0], "UNUSED")].pairs, AUDIT_PAIRS);
    expect(findings, "SKIP", AUDIT_UNKNOWN, ""); /* it never varies alone */
    expect(findings, "BOUND", AUDIT_UNKNOWN, "");
    expect(findings, "BROKEN", AUDIT_ALIVE, "code"); /* whether it builds is something */
    expect(findings, "Sum", AUDIT_UNKNOWN, "");      /* the other class is not bred */
    assert_int_equal(findings[family_gene(families[0], "ONLY")].gene, -1);
    assert_in_range(compiled, 4, 200);
    audit_free(audit);
}

static void a_gene_of_one_image_is_alive(void **state)
{
    struct audit_finding findings[GENES_MAX];
    struct audit *audit;

    (void)state;
    families[0]->require_count = 0;
    audit = audit_new(&space, set, NULL, 0, 1);
    audit_all(audit, findings, false);
    expect(findings, "SKIP", AUDIT_ALIVE, "code");
    expect(findings, "BOUND", AUDIT_DEAD, "");
    audit_free(audit);
}

static void founders_are_looked_at_first(void **state)
{
    struct audit_finding findings[GENES_MAX];
    struct genome founder = {0};
    struct audit *audit;
    struct err err;

    (void)state;
    /* Of ten random genomes one could show that RARE is alive; this founder does. */
    assert_true(genome_parse(families[0], "UNUSED=7", &founder, &err));
    audit = audit_new(&space, set, &founder, 1, 1);
    audit_all(audit, findings, false);
    expect(findings, "RARE", AUDIT_ALIVE, "code");
    assert_int_equal(findings[family_gene(families[0], "RARE")].pairs, 0);
    audit_free(audit);
}

static void what_is_known_is_not_looked_at_again_and_draws_repeat(void **state)
{
    struct audit_finding first[GENES_MAX], again[GENES_MAX];
    struct audit *audit = audit_new(&space, set, NULL, 0, 3);
    int all;

    (void)state;
    audit_all(audit, first, false);
    all = compiled;
    audit_free(audit);
    audit = audit_new(&space, set, NULL, 0, 3);
    audit_skip(audit, 0, family_gene(families[0], "UNUSED"));
    audit_all(audit, again, false);
    audit_free(audit);
    assert_true(compiled < all);
    for (int i = 0; i < families[0]->gene_count; i++) {
        if (i == family_gene(families[0], "UNUSED")) {
            assert_int_equal(again[i].gene, -1);
        } else {
            assert_int_equal(again[i].gene, first[i].gene);
            assert_int_equal(again[i].state, first[i].state);
            assert_int_equal(again[i].pairs, first[i].pairs);
        }
    }
}

static void a_compiler_without_answers_leaves_genes_unknown(void **state)
{
    struct audit_finding findings[GENES_MAX];
    struct audit *audit = audit_new(&space, set, NULL, 0, 1);

    (void)state;
    audit_all(audit, findings, true);
    expect(findings, "ROWS", AUDIT_ALIVE, "plan"); /* needs none */
    expect(findings, "UNROLL", AUDIT_UNKNOWN, "");
    expect(findings, "UNUSED", AUDIT_UNKNOWN, "");
    audit_free(audit);
    audit_free(NULL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_gene_is_found_alive_dead_or_out_of_reach, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_gene_of_one_image_is_alive, set_up, tear_down),
        cmocka_unit_test_setup_teardown(founders_are_looked_at_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_known_is_not_looked_at_again_and_draws_repeat,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_compiler_without_answers_leaves_genes_unknown, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
