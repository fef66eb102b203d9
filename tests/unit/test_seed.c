#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/str.h"
#include "daemon/seed.h"
#include "fitness/space.h"

#define LEAST "workload: [1x8x512x64]\nfamilies: [toy]\n"

static struct arena *arena;
static struct seed seed;
static struct err err;

static int setup(void **state)
{
    (void)state;
    arena = arena_new();
    err = (struct err){.kind = ERR_NONE};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static bool parse(const char *text)
{
    return seed_parse(arena, "dir/test.yaml", text, strlen(text), &seed, &err);
}

static void assert_parses(const char *text)
{
    if (!parse(text)) {
        fail_msg("%s", err.what);
    }
}

/* Refused with exactly this message. */
static void assert_refused(const char *text, const char *what)
{
    assert_false(parse(text));
    assert_int_equal(err.kind, ERR_USER);
    assert_string_equal(err.what, what);
    assert_true(err.hint[0] != '\0');
}

static void what_is_not_said_has_its_default(void **state)
{
    (void)state;
    assert_parses(LEAST);
    assert_string_equal(seed.name, "test");
    assert_string_equal(seed.text, LEAST);
    assert_int_equal(seed.problem_count, 1);
    assert_int_equal(seed.problems[0].q_len, 512);
    assert_int_equal(seed.family_count, 1);
    assert_string_equal(seed.families[0].name, "toy");
    assert_int_equal(seed.founder_count, 0);
    assert_true(seed.numerics[0] && !seed.numerics[1]);
    assert_int_equal(seed.islands, 2);
    assert_int_equal(seed.elites, 16);
    assert_int_equal(seed.selection, SELECTION_TOURNAMENT);
    assert_int_equal(seed.tournament, 3);
    assert_true(seed.migration == 0.05);
    assert_int_equal(seed.strategy, STRATEGY_EVO);
    assert_int_equal(seed.rng_seed, 1);
    assert_int_equal(seed.lag, 32);
    assert_true(seed.ends_settled);
    assert_int_equal(seed.budget_evaluations, 0);
    assert_int_equal(seed.budget_wall_ms, 0);
    assert_int_equal(seed.budget_device_ms, 0);
    assert_string_equal(seed.device, "auto");
    assert_int_equal(seed.judge_count, 0);
    assert_null(seed.arch);
    assert_null(seed.templates);
    assert_int_equal(seed.compile_deadline_ms, 60000);
    assert_int_equal(seed.judge_deadline_ms, 120000);
    assert_int_equal(seed.gate_cases, 3);
    assert_int_equal(seed.emu_problem_count, 0);
}

static void every_key_reaches_its_member(void **state)
{
    (void)state;
    assert_parses("name: whole\n"
                  "about: >\n  two\n  lines\n"
                  "workload: [1x8x512x64, '2x4/2x100/300x128:causal:bf16']\n"
                  "families: [toy: {genes: {ROWS: [16, 32], Order: backwards}}, other]\n"
                  "founders: [toy ROWS=16, other]\n"
                  "numerics: fp16\n"
                  "population: {islands: 3, elites: 8, selection: rank, tournament: 2,"
                  " migration: 0.5}\n"
                  "operators: {step: 1, multi: 0.5, crossover: 3, immigrant: 0, jump: 7}\n"
                  "search: {strategy: random, seed: 42, lag: 7, end: budget}\n"
                  "budget: {evaluations: 100, wall: 90s, device: 1h}\n"
                  "workers: {device: [cuda:0, cuda:1], judges: [ssh a b, ssh c d], compile: 3,"
                  " arch: sm_90a, compile_deadline: 5s, judge_deadline: 2m}\n"
                  "gate: {cases: 4, emu_shapes: [1x1x33x64, 1x1x40x64]}\n"
                  "templates: mine\n");
    assert_string_equal(seed.name, "whole");
    assert_string_equal(seed.about, "two lines");
    assert_int_equal(seed.problem_count, 2);
    assert_int_equal(seed.problems[1].kv_len, 300);
    assert_true(seed.problems[1].causal && seed.problems[1].dtype == DTYPE_BF16);
    assert_int_equal(seed.family_count, 2);
    assert_string_equal(seed.families[1].name, "other");
    assert_int_equal(seed.restriction_count, 2);
    assert_string_equal(seed.restrictions[0].gene, "ROWS");
    assert_int_equal(seed.restrictions[0].count, 2);
    assert_string_equal(seed.restrictions[0].values[1], "32");
    assert_int_equal(seed.restrictions[1].family, 0);
    assert_string_equal(seed.restrictions[1].values[0], "backwards");
    assert_int_equal(seed.founder_count, 2);
    assert_string_equal(seed.founders[0].text, "toy ROWS=16");
    assert_true(!seed.numerics[0] && seed.numerics[1]);
    assert_int_equal(seed.islands, 3);
    assert_int_equal(seed.elites, 8);
    assert_int_equal(seed.selection, SELECTION_RANK);
    assert_int_equal(seed.tournament, 2);
    assert_true(seed.migration == 0.5);
    assert_true(seed.weights[OPERATOR_STEP] == 1 && seed.weights[OPERATOR_MULTI] == 0.5);
    assert_true(seed.weights[OPERATOR_CROSSOVER] == 3 && seed.weights[OPERATOR_IMMIGRANT] == 0);
    assert_true(seed.weights[OPERATOR_JUMP] == 7 && seed.weights[OPERATOR_FOUNDER] == 0);
    assert_int_equal(seed.strategy, STRATEGY_RANDOM);
    assert_int_equal(seed.rng_seed, 42);
    assert_int_equal(seed.lag, 7);
    assert_false(seed.ends_settled);
    assert_int_equal(seed.budget_evaluations, 100);
    assert_int_equal(seed.budget_wall_ms, 90000);
    assert_int_equal(seed.budget_device_ms, 3600000);
    assert_string_equal(seed.device, "cuda:0,cuda:1");
    assert_int_equal(seed.judge_count, 2);
    assert_string_equal(seed.judges[1], "ssh c d");
    assert_int_equal(seed.compile_workers, 3);
    assert_string_equal(seed.arch, "sm_90a");
    assert_int_equal(seed.compile_deadline_ms, 5000);
    assert_int_equal(seed.judge_deadline_ms, 120000);
    assert_int_equal(seed.gate_cases, 4);
    assert_int_equal(seed.emu_problem_count, 2);
    assert_int_equal(seed.emu_problems[1].q_len, 40);
    assert_string_equal(seed.templates, "mine");
}

static void a_mistake_is_told_with_its_place(void **state)
{
    (void)state;
    assert_refused(LEAST "population:\n  islands: none\n",
                   "dir/test.yaml:4:12: 'islands' must be a whole number from 1 to 64, not 'none'");
    assert_refused(LEAST "budgets: {wall: 5m}\n", "dir/test.yaml:3:1: unknown key 'budgets'");
    assert_refused(LEAST "gate:\n  cases: 3\n  cases: 4\n",
                   "dir/test.yaml:5:3: key 'cases' stands here twice");
    assert_string_equal(err.hint, "it was first given in line 4");
}

static void what_a_seed_does_not_need_of_yaml_is_refused(void **state)
{
    (void)state;
    assert_refused("workload: &a [1x8x512x64]\n",
                   "dir/test.yaml:1:11: an anchor ('&name') is not allowed in a seed");
    assert_refused("workload: *a\n",
                   "dir/test.yaml:1:11: an alias ('*name') is not allowed in a seed");
    assert_refused("workload: !!seq [1x8x512x64]\n",
                   "dir/test.yaml:1:11: a tag ('!name') is not allowed in a seed");
    assert_refused("%YAML 1.1\n---\n" LEAST,
                   "dir/test.yaml:1:1: a line that begins with '%' is not allowed in a seed");
    assert_refused(LEAST "---\n" LEAST,
                   "dir/test.yaml:3:1: a second document begins here; a seed is one");
    assert_refused("name: \"a\\0b\"\n", "dir/test.yaml:1:7: a value holds a control character");
}

static void a_file_of_more_than_a_mebibyte_is_refused(void **state)
{
    char *text = xmalloc(SEED_BYTES_MAX + 1);

    (void)state;
    memset(text, '#', SEED_BYTES_MAX + 1);
    assert_false(seed_parse(arena, "big.yaml", text, SEED_BYTES_MAX + 1, &seed, &err));
    assert_string_equal(err.what, "'big.yaml' is larger than 1048576 bytes");
    free(text);
}

/* Each of these keeps libyaml alone busy for many seconds, or the parser's stack growing. */
static void hostile_files_are_refused_at_once(void **state)
{
    static const char *const patterns[] = {"[",     "[\n",          "{",   "- ",  "? ",
                                           "a: {",  "%TAG !a! b\n", "&a ", "!a ", "'",
                                           "a:\n ", "- - -\n",      "[a,"};
    size_t size = SEED_BYTES_MAX;
    char *text = xmalloc(size + 1);

    (void)state;
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        size_t step = strlen(patterns[i]);
        int64_t begun = clock_cpu_us();

        for (size_t at = 0; at < size; at++) {
            text[at] = patterns[i][at % step];
        }
        assert_false(seed_parse(arena, "h", text, size, &seed, &err));
        assert_true(str_starts(err.what, "h:"));
        assert_true(clock_cpu_us() - begun < 3000000); /* sanitizers and a slow machine included */
    }
    free(text);
}

static void more_values_than_anyone_needs_are_refused(void **state)
{
    struct buf text = {0};

    (void)state;
    buf_puts(&text, "workload: [");
    for (int i = 0; i < 40000; i++) {
        buf_puts(&text, "a,");
    }
    buf_puts(&text, "a]\n");
    assert_false(seed_parse(arena, "m", text.data, text.length, &seed, &err));
    assert_non_null(strstr(err.what, "more than 32768 values"));
    buf_free(&text);
}

/* ---- families and founders ---- */

static const char toy[] = "/*\n * toy -- a family.\n */\n"
                          "#include \"include/evo.cuh\"\n"
                          "EVO_GENE(ROWS, pow2(16, 64), \"rows\")\n"
                          "EVO_CHOICE(Order, (forwards, backwards), \"order\")\n"
                          "EVO_LAUNCH(toy, (heads), 32, 0, (Q, K, V, O, problem))\n";

static struct family *families[SEED_FAMILIES_MAX];
static struct genome founders[SEED_FOUNDERS_MAX];
static int families_settled;

static bool settle(const char *text, const struct space *space)
{
    struct template_set *set = template_set_new(arena);

    assert_parses(text);
    template_set_add(set, "toy.cu", "toy.cu", toy, sizeof toy - 1);
    template_set_add(set, "torn.cu", "torn.cu", "EVO_GENE(", 9);
    return seed_families(arena, &seed, set, space, families, &families_settled, founders, &err);
}

static void founders_are_genomes_of_restricted_families(void **state)
{
    (void)state;
    if (!settle("workload: [1x8x512x64]\n"
                "families: [toy: {genes: {ROWS: [32, 64]}}]\n"
                "founders: [toy Order=backwards, toy ROWS=64]\n",
                NULL)) {
        fail_msg("%s", err.what);
    }
    assert_int_equal(families_settled, 1);
    assert_int_equal(families[0]->genes[0].count, 2);
    assert_string_equal(genome_text(arena, families[0], &founders[0]),
                        "toy ROWS=32 Order=backwards");
    assert_string_equal(genome_text(arena, families[0], &founders[1]),
                        "toy ROWS=64 Order=forwards");
}

static void a_founders_mistake_is_told_in_the_seed(void **state)
{
    (void)state;
    assert_false(settle(LEAST "founders:\n  - toy ROWS=16\n  - toy ROWS=17\n", NULL));
    assert_string_equal(err.what, "dir/test.yaml:5:5: gene 'ROWS' has no value '17'");
    assert_false(settle(LEAST "founders:\n  - toy\n  - toy ROWS=16\n", NULL));
    assert_string_equal(err.what, "dir/test.yaml:5:5: this founder is the same genome as the one "
                                  "in line 4");
    assert_false(settle(LEAST "founders: [other ROWS=16]\n", NULL));
    assert_string_equal(err.what, "dir/test.yaml:3:12: 'other' is none of the seed's families");
}

static void a_templates_mistake_is_told_in_the_template(void **state)
{
    (void)state;
    assert_false(settle("workload: [1x8x512x64]\nfamilies: [torn]\n", NULL));
    assert_true(str_starts(err.what, "torn.cu:1:"));
    assert_false(settle("workload: [1x8x512x64]\nfamilies: [lost]\n", NULL));
    assert_string_equal(err.what, "dir/test.yaml:2:12: unknown family 'lost'");
}

static void the_family_replay_is_the_recorded_space(void **state)
{
    struct space *space;

    (void)state;
    assert_false(settle("workload: [1x8x512x64]\nfamilies: [replay]\n", NULL));
    assert_true(str_starts(err.what, "dir/test.yaml:2:12: family 'replay' needs"));
    assert_true(space_load(arena, EVO_SOURCE_DIR "/tests/data/space_gemm.csv", &space, &err));
    assert_true(settle("workload: [1x8x512x64]\nfamilies: [replay]\n", space));
    assert_ptr_equal(families[0]->space, space);
}

static void the_seeds_that_come_with_evo_are_right(void **state)
{
    static const char *const names[] = {"phaseD", "phase1", "phase4", "phase5", "smoke"};
    struct template_set *set = template_set_new(arena);

    (void)state;
    assert_true(template_set_load(set, EVO_SOURCE_DIR "/templates", &err));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *path = arena_printf(arena, EVO_SOURCE_DIR "/seeds/%s.yaml", names[i]);

        if (!seed_load(arena, path, &seed, &err) ||
            !seed_families(arena, &seed, set, NULL, families, &families_settled, founders, &err)) {
            fail_msg("%s", err.what);
        }
        assert_string_equal(seed.name, names[i]);
        assert_true(seed.founder_count > 0);
    }
}

static void a_seed_that_is_not_there_is_the_users_mistake(void **state)
{
    (void)state;
    assert_false(seed_load(arena, "no/such/seed.yaml", &seed, &err));
    assert_int_equal(err.kind, ERR_USER);
    assert_string_equal(err.what, "there is no seed 'no/such/seed.yaml'");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_not_said_has_its_default),
        TEST(every_key_reaches_its_member),
        TEST(a_mistake_is_told_with_its_place),
        TEST(what_a_seed_does_not_need_of_yaml_is_refused),
        TEST(a_file_of_more_than_a_mebibyte_is_refused),
        TEST(hostile_files_are_refused_at_once),
        TEST(more_values_than_anyone_needs_are_refused),
        TEST(founders_are_genomes_of_restricted_families),
        TEST(a_founders_mistake_is_told_in_the_seed),
        TEST(a_templates_mistake_is_told_in_the_template),
        TEST(the_family_replay_is_the_recorded_space),
        TEST(the_seeds_that_come_with_evo_are_right),
        TEST(a_seed_that_is_not_there_is_the_users_mistake),
    };

    return cmocka_run_group_tests_name("seed", tests, NULL, NULL);
}
