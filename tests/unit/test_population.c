/* The search: what is proposed, where from, how often, and that nothing else decides it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fitness/space.h"
#include "search/mutate.h"
#include "search/niche.h"
#include "search/population.h"
#include "search/select.h"

#define HEAD   "/* a template of the tests. */\n#include \"evo.cuh\"\n"
#define LAUNCH "EVO_LAUNCH(attention, (ceil_div(q_len, ROWS)), 32, 0, (Q, K, V, O))\n"

/*
 * Of 4 * 3 pairs of ROWS and DEEP six fit (16 with each, 32 with 1 and 2, 64 with 1), three of them
 * with pairs too; each with three labels: 27.
 */
static const char wide[] = HEAD "EVO_GENE(ROWS, pow2(16, 128), \"rows\")\n"
                                "EVO_GENE(DEEP, set(1, 2, 4), \"depth\")\n"
                                "EVO_GENE(PAIR, flag, \"pairs\")\n"
                                "EVO_CHOICE(Exp, (slow, fast, none), \"which\")\n"
                                "EVO_REQUIRE(ROWS * DEEP <= 64, \"it must fit\")\n"
                                "EVO_REQUIRE(!PAIR || ROWS > 16, \"pairs need rows\")\n" LAUNCH;
/* Shares ROWS and Exp with `wide`, with other values; half of it sums in FP16. */
static const char narrow[] = HEAD "EVO_GENE(ROWS, set(8, 24, 100), \"rows\")\n"
                                  "EVO_CHOICE(Exp, (fast, turbo, slow), \"which\")\n"
                                  "EVO_GENE(ONLY, set(7), \"one value\")\n"
                                  "EVO_GENE(HALF, flag, \"sums in FP16\")\n"
                                  "EVO_NUMERICS(HALF)\n" LAUNCH;
static const char large[] = HEAD "EVO_GENE(ROWS, pow2(1, 128), \"rows\")\n"
                                 "EVO_GENE(A, range(0, 15, 1), \"a\")\n"
                                 "EVO_GENE(B, range(0, 15, 1), \"b\")\n"
                                 "EVO_GENE(C, range(0, 15, 1), \"c\")\n"
                                 "EVO_CHOICE(Kind, (one, two, three, four), \"which\")\n"
                                 "EVO_GENE(D, flag, \"d\")\n" LAUNCH;

enum { FAMILIES_MAX = 4 };

static struct arena *arena;
static struct family *families[FAMILIES_MAX];
static struct search_space space;
static struct search_config config;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static struct family *parsed(const char *text)
{
    struct family *family = NULL;
    struct err err = {0};

    if (!family_parse(arena, "toy", "toy.cu", text, strlen(text), &family, &err)) {
        fail_msg("%s (%s)", err.what, err.hint);
    }
    return family;
}

/* A space of these templates, one shape, FP32 alone; three islands of four. */
static void use(const char *const *texts, int count)
{
    struct err err;

    space = (struct search_space){.families = families, .family_count = count, .static_count = 1,
                                  .problem_count = 1, .sms = 132, .classes = {true, false}};
    for (int i = 0; i < count; i++) {
        families[i] = parsed(texts[i]);
    }
    space.statics[0].givens.values[GIVEN_HEAD_DIM] = 64;
    assert_true(problem_parse("1x8x512x64", &space.problems[0].problem, &err));
    config = (struct search_config){
        .rng_seed = 7, .strategy = STRATEGY_GA, .islands = 3, .elites = 4, .tournament = 3, .migration = 0.1,
        .weights = {[OPERATOR_STEP] = 4, [OPERATOR_MULTI] = 2, [OPERATOR_CROSSOVER] = 2,
                    [OPERATOR_IMMIGRANT] = 1, [OPERATOR_JUMP] = 1},
    };
}

static void use_one(const char *text) { use(&text, 1); }
static void use_two(const char *a, const char *b) { use((const char *[]){a, b}, 2); }

static bool same_genome(const struct genome *a, const struct genome *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* How good a genome is said to be: any function will do that has a slope and no ties. */
static double score_of(const struct genome *genome)
{
    double us = 100 + 13.7 * genome->family;

    for (int i = 0; i < GENES_MAX; i++) {
        us += (i + 1) * 1.01 * fabs(genome->at[i] - 1.3) + 0.001 * i * genome->at[i];
    }
    return us;
}

static void tell(struct population *population, int64_t place, const struct genome *genome,
                 int numerics, int depth, double us)
{
    population_fold(population, &(struct outcome){.place = place, .genome = *genome,
                                                  .numerics = numerics, .depth = depth, .us = us});
}

static void fold(struct population *population, int64_t place, const struct proposal *proposal)
{
    population_fold(population,
                    &(struct outcome){.place = place, .genome = proposal->genome,
                                      .numerics = proposal->numerics, .depth = proposal->depth,
                                      .kind = proposal->operator_kind,
                                      .us = score_of(&proposal->genome)});
}

static void mark(struct population *population, int64_t place, const struct proposal *proposal)
{
    population_mark(population, place, &proposal->genome, &proposal->genome_hash);
}

/* Proposes and folds `count` places, nothing pending; returns how many there were. */
static int64_t run(struct population *population, int64_t count, struct proposal *proposals)
{
    for (int64_t place = 0; place < count; place++) {
        if (!population_propose(population, place, &proposals[place])) {
            return place;
        }
        fold(population, place, &proposals[place]);
    }
    return count;
}

static int differences(const struct genome *a, const struct genome *b)
{
    int count = 0;

    for (int i = 0; i < GENES_MAX; i++) {
        count += a->at[i] != b->at[i];
    }
    return count;
}

/* ---- which genomes ---- */

static int64_t feasible_count(void)
{
    int64_t feasible, total, sum = 0;

    for (int i = 0; i < space.family_count; i++) {
        assert_true(family_count(families[i], &space.statics[0].givens, 1 << 20, &feasible,
                                 &total));
        sum += feasible;
    }
    return sum;
}

static void check_exhausted(void)
{
    int64_t all = feasible_count();
    struct proposal *proposals = arena_alloc(arena, (size_t)(all + 1) * sizeof *proposals);
    struct population *population = population_new(&space, &config);

    assert_int_equal(run(population, all + 1, proposals), all);
    for (int64_t i = 0; i < all; i++) {
        int numerics;

        assert_true(space_admits(&space, &proposals[i].genome, &numerics, NULL));
        assert_int_equal(numerics, proposals[i].numerics);
        for (int64_t j = 0; j < i; j++) {
            assert_false(same_genome(&proposals[i].genome, &proposals[j].genome));
        }
    }
    for (int i = 0; i < 3; i++) { /* nothing is left, however often one asks */
        assert_false(population_propose(population, all + i, &proposals[all]));
    }
    population_free(population);
}

static void a_small_space_is_exhausted_exactly(void **state)
{
    (void)state;
    use_one(wide);
    assert_int_equal(feasible_count(), 27);
    for (int strategy = 0; strategy < STRATEGY_COUNT; strategy++) {
        use_one(wide);
        config.strategy = (enum seed_strategy)strategy;
        check_exhausted();
        use_two(wide, narrow);
        config.strategy = (enum seed_strategy)strategy;
        space.classes[1] = true;
        check_exhausted();
    }
}

static void a_recorded_space_is_exhausted_exactly(void **state)
{
    const char *path = EVO_SOURCE_DIR "/tests/data/space_gemm.csv";
    struct space *recorded;
    struct err err;

    (void)state;
    use_one(wide);
    assert_true(space_load(arena, path, &recorded, &err));
    assert_true(family_of_space(arena, recorded, &families[0], &err));
    assert_int_equal(feasible_count(), recorded->row_count);
    assert_int_equal(recorded->row_count, 8);
    for (int strategy = 0; strategy < STRATEGY_COUNT; strategy++) {
        config.strategy = (enum seed_strategy)strategy;
        check_exhausted();
    }
}

static void what_is_marked_is_never_proposed(void **state)
{
    struct population *first, *second;
    struct proposal proposals[64], other[64];
    int64_t all, left;

    (void)state;
    use_one(wide);
    all = feasible_count();
    first = population_new(&space, &config);
    assert_true(all <= 64);
    run(first, all, proposals);
    second = population_new(&space, &config);
    for (int64_t i = 0; i < all; i += 2) {
        mark(second, i, &proposals[i]);
        mark(second, i, &proposals[i]); /* twice is once */
    }
    left = run(second, all, other);
    assert_int_equal(left, all / 2);
    for (int64_t i = 0; i < left; i++) {
        for (int64_t j = 0; j < all; j += 2) {
            assert_false(same_genome(&other[i].genome, &proposals[j].genome));
        }
    }
    population_free(first);
    population_free(second);
}

static void many_genomes_are_remembered(void **state)
{
    enum { MANY = 6000 }; /* the table of those seen grows several times */
    struct proposal *proposals;
    struct population *population;

    (void)state;
    use_one(large);
    proposals = arena_alloc(arena, MANY * sizeof *proposals);
    config.strategy = STRATEGY_RANDOM;
    population = population_new(&space, &config);
    assert_int_equal(run(population, MANY, proposals), MANY);
    for (int i = 0; i < MANY; i++) {
        struct proposal again;
        struct refusal refusal;

        assert_false(population_found(population, MANY, &proposals[i].genome, &again, &refusal));
        assert_string_equal(refusal.text, "it was proposed before");
    }
    population_free(population);
}

/* ---- what decides ---- */

/*
 * As the engine does it: place n reads the places up to n - lag. From `first` on; those below are
 * recorded.
 */
static void run_behind(struct population *population, int64_t first, int64_t count, int64_t lag,
                       struct proposal *proposals)
{
    int64_t folded = 0;

    for (int64_t place = 0; place < first; place++) {
        mark(population, place, &proposals[place]);
    }
    for (int64_t place = first; place < count; place++) {
        while (folded <= place - lag) {
            fold(population, folded, &proposals[folded]);
            folded++;
        }
        assert_true(population_propose(population, place, &proposals[place]));
    }
}

static bool same_proposal(const struct proposal *a, const struct proposal *b)
{
    return same_genome(&a->genome, &b->genome) && hash_equal(&a->genome_hash, &b->genome_hash) &&
           a->numerics == b->numerics && a->island == b->island && a->depth == b->depth &&
           a->operator_kind == b->operator_kind && a->parent_count == b->parent_count &&
           a->bound_us == b->bound_us && a->settled == b->settled &&
           memcmp(a->parents, b->parents, (size_t)a->parent_count * sizeof *a->parents) == 0;
}

enum { PLACES = 600, LAG = 16 };

static void check_same_folds(enum seed_strategy strategy)
{
    struct proposal *once, *twice, *other;
    struct population *a, *b, *c;
    int different = 0;

    use_two(large, wide);
    config.strategy = strategy;
    once = arena_alloc(arena, PLACES * sizeof *once);
    twice = arena_alloc(arena, PLACES * sizeof *twice);
    other = arena_alloc(arena, PLACES * sizeof *other);
    a = population_new(&space, &config);
    run_behind(a, 0, PLACES, LAG, once);
    config.rng_seed = 8;
    c = population_new(&space, &config);
    config.rng_seed = 7;
    b = population_new(&space, &config);
    for (int64_t place = 0; place < PLACES; place++) { /* in turns with another search */
        struct proposal refused;
        int count, numerics;

        if (place >= LAG) {
            fold(b, place - LAG, &twice[place - LAG]);
            fold(c, place - LAG, &other[place - LAG]);
        }
        assert_true(population_propose(c, place, &other[place]));
        population_island(b, (int)(place % 3), &count, &numerics);
        if (place > 0) { /* a founder that is refused leaves no trace */
            assert_false(population_found(b, place, &twice[place - 1].genome, &refused, NULL));
            mark(b, place - 1, &twice[place - 1]);
        }
        assert_true(population_propose(b, place, &twice[place]));
    }
    for (int i = 0; i < PLACES; i++) {
        assert_true(same_proposal(&once[i], &twice[i]));
        different += !same_genome(&once[i].genome, &other[i].genome);
    }
    assert_true(different > PLACES / 2); /* while another seed goes its own way */
    population_free(a);
    population_free(b);
    population_free(c);
}

static void the_same_folds_give_the_same_proposals(void **state)
{
    (void)state;
    check_same_folds(STRATEGY_GA);
    check_same_folds(STRATEGY_EVO);
}

static void check_goes_on(enum seed_strategy strategy)
{
    static const int64_t stops[] = {1, 5, LAG, LAG + 1, 100, PLACES - 1};
    struct proposal *whole, *resumed;
    struct population *population;

    use_two(large, narrow);
    config.strategy = strategy;
    space.classes[1] = true;
    whole = arena_alloc(arena, PLACES * sizeof *whole);
    resumed = arena_alloc(arena, PLACES * sizeof *resumed);
    population = population_new(&space, &config);
    run_behind(population, 0, PLACES, LAG, whole);
    population_free(population);
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        memcpy(resumed, whole, (size_t)stops[i] * sizeof *whole);
        memset(resumed + stops[i], 0, (size_t)(PLACES - stops[i]) * sizeof *whole);
        population = population_new(&space, &config);
        run_behind(population, stops[i], PLACES, LAG, resumed);
        for (int place = 0; place < PLACES; place++) {
            assert_true(same_proposal(&whole[place], &resumed[place]));
        }
        population_free(population);
    }
}

static void a_search_goes_on_from_its_rows_as_if_never_stopped(void **state)
{
    (void)state;
    check_goes_on(STRATEGY_GA);
    check_goes_on(STRATEGY_HILL);
    check_goes_on(STRATEGY_EVO);
}

static void a_proposal_reads_the_folds(void **state)
{
    struct proposal one, two;
    struct population *a, *b;
    struct genome genome = {0};

    (void)state;
    use_one(large);
    config.weights[OPERATOR_IMMIGRANT] = 0;
    a = population_new(&space, &config);
    b = population_new(&space, &config);
    tell(a, 0, &genome, 0, 0, 50);
    genome.at[1] = 9;
    tell(b, 0, &genome, 0, 0, 50);
    assert_true(population_propose(a, 3, &one));
    assert_true(population_propose(b, 3, &two));
    assert_int_equal(one.parents[0], 0);
    assert_false(same_genome(&one.genome, &two.genome));
    population_free(a);
    population_free(b);
}

/* ---- founders and refusals ---- */

static struct genome genome_of(int family, const char *genes)
{
    struct genome genome = {.family = (uint16_t)family};
    struct err err = {0};

    if (!genome_parse(families[family], genes, &genome, &err)) {
        fail_msg("%s", err.what);
    }
    return genome;
}

static void a_founder_is_taken_as_it_is_once(void **state)
{
    struct genome genome;
    struct population *population;
    struct proposal proposal;
    struct refusal refusal;

    (void)state;
    use_one(wide);
    genome = genome_of(0, "ROWS=32 DEEP=2 PAIR=1 Exp=fast");
    population = population_new(&space, &config);
    memset(&proposal, 0xff, sizeof proposal);
    assert_true(population_found(population, 4, &genome, &proposal, &refusal));
    assert_true(same_genome(&proposal.genome, &genome));
    assert_int_equal(proposal.operator_kind, OPERATOR_FOUNDER);
    assert_string_equal(operator_names[proposal.operator_kind], "founder");
    assert_int_equal(proposal.parent_count, 0);
    assert_int_equal(proposal.depth, 0);
    assert_int_equal(proposal.island, 1);
    assert_true(proposal.bound_us == 0);
    assert_false(population_found(population, 5, &genome, &proposal, &refusal));
    assert_string_equal(refusal.text, "it was proposed before");
    population_free(population);
}

static void a_founder_that_may_not_be_is_refused_with_the_reason(void **state)
{
    static const char picky[] = HEAD "EVO_GENE(ROWS, set(0, 32, 512), \"rows\")\n"
                                     "EVO_GENE(HALF, flag, \"half\")\n"
                                     "EVO_NUMERICS(HALF)\n"
                                     "EVO_SUPPORTS(q_len > ROWS, \"more queries than rows\")\n"
                                     LAUNCH;
    struct population *population;
    struct proposal proposal;
    struct refusal refusal;
    struct genome genome;

    (void)state;
    use_two(wide, picky);
    population = population_new(&space, &config);
    genome = genome_of(0, "ROWS=64 DEEP=4");
    assert_false(population_found(population, 0, &genome, &proposal, &refusal));
    assert_non_null(strstr(refusal.text, "it must fit"));
    genome = genome_of(1, "ROWS=32 HALF=1");
    assert_false(population_found(population, 0, &genome, &proposal, &refusal));
    assert_non_null(strstr(refusal.text, "its numerics class is not asked for"));
    genome = genome_of(1, "ROWS=512 HALF=0");
    assert_false(population_found(population, 0, &genome, &proposal, &refusal));
    assert_non_null(strstr(refusal.text, "more queries than rows"));
    genome = genome_of(1, "ROWS=0 HALF=0"); /* no grid can be made of it */
    assert_false(population_found(population, 0, &genome, &proposal, &refusal));
    assert_non_null(strstr(refusal.text, "grid x"));
    genome = genome_of(1, "ROWS=32 HALF=0");
    assert_true(population_found(population, 0, &genome, &proposal, &refusal));
    population_free(population);
}

static void a_long_refusal_is_cut_to_its_room(void **state)
{
    struct buf text = {0};
    struct refusal refusal;
    struct genome genome = {0};
    int numerics;

    (void)state;
    buf_puts(&text, HEAD "EVO_GENE(ROWS, pow2(16, 128), \"rows\")\nEVO_SUPPORTS(q_len < 0");
    for (int i = 0; i < 200; i++) {
        buf_puts(&text, " && q_len < 0");
    }
    buf_puts(&text, ", \"never\")\n" LAUNCH);
    use_one(text.data);
    memset(&refusal, 'x', sizeof refusal);
    assert_false(space_admits(&space, &genome, &numerics, &refusal));
    assert_int_equal(strnlen(refusal.text, sizeof refusal.text), sizeof refusal.text - 1);
    assert_null(refusal.require);
    buf_free(&text);
}

static void every_static_problem_and_shape_must_admit_a_genome(void **state)
{
    static const char picky[] = HEAD "EVO_GIVEN(HEAD_DIM, \"columns\")\n"
                                     "EVO_GENE(ROWS, pow2(16, 64), \"rows\")\n"
                                     "EVO_REQUIRE(ROWS <= HEAD_DIM, \"no more rows than columns\")\n"
                                     "EVO_SUPPORTS(q_len % ROWS == 0, \"whole tiles\")\n" LAUNCH;
    struct err err;
    int numerics;
    struct genome small, middle, big;

    (void)state;
    use_one(picky);
    small = genome_of(0, "ROWS=16");
    middle = genome_of(0, "ROWS=32");
    big = genome_of(0, "ROWS=64");
    assert_true(space_admits(&space, &big, &numerics, NULL));
    space.static_count = 2;
    space.statics[1].givens.values[GIVEN_HEAD_DIM] = 32;
    assert_false(space_admits(&space, &big, &numerics, NULL));
    assert_true(space_admits(&space, &middle, &numerics, NULL));
    space.problem_count = 2;
    assert_true(problem_parse("1x8x48x32", &space.problems[1].problem, &err));
    space.problems[1].image = 1;
    assert_false(space_admits(&space, &middle, &numerics, NULL));
    assert_true(space_admits(&space, &small, &numerics, NULL));
}

/* ---- islands ---- */

static void each_class_has_its_islands(void **state)
{
    static const int expected[] = {0, 1, 0};
    struct proposal proposals[24];
    struct population *population;
    int count, numerics, half = 0;

    (void)state;
    use_two(wide, narrow);
    space.classes[1] = true;
    population = population_new(&space, &config);
    run(population, 24, proposals);
    for (int i = 0; i < 3; i++) {
        const struct member *members = population_island(population, i, &count, &numerics);

        assert_int_equal(numerics, expected[i]);
        assert_true(count > 0 && count <= 4);
        for (int j = 0; j < count; j++) {
            assert_int_equal(proposals[members[j].place].numerics, numerics);
            assert_int_equal(proposals[members[j].place].island, i);
            assert_true(j == 0 || members[j - 1].us <= members[j].us);
        }
    }
    for (int i = 0; i < 24; i++) { /* its own island, or the next of its class */
        int home = i % 3, island = proposals[i].island;

        half += proposals[i].numerics;
        assert_true(island == home || expected[home] != proposals[i].numerics);
        assert_int_equal(expected[island], proposals[i].numerics);
    }
    assert_true(half > 0 && half < 24);
    population_free(population);
}

static void there_are_at_least_as_many_islands_as_classes(void **state)
{
    struct population *population;
    struct genome genome;
    int count, numerics;

    (void)state;
    use_two(wide, narrow);
    config.islands = 1;
    space.classes[1] = true;
    population = population_new(&space, &config);
    genome = genome_of(1, "HALF=1");
    tell(population, 0, &genome, 1, 0, 5);
    population_island(population, 0, &count, &numerics);
    assert_true(count == 0 && numerics == 0);
    population_island(population, 1, &count, &numerics);
    assert_true(count == 1 && numerics == 1);
    population_free(population);
    space.classes[0] = false; /* and none of a class that is not bred */
    config.islands = 2;
    population = population_new(&space, &config);
    for (int i = 0; i < 2; i++) {
        population_island(population, i, &count, &numerics);
        assert_int_equal(numerics, 1);
    }
    population_free(population);
}

static void the_best_live_and_ties_go_to_the_elder(void **state)
{
    static const double us[] = {9, 7, 0, 8, 7, NAN, 3, 20, 7, 8};
    static const int64_t expected[] = {6, 1, 4, 8};
    struct population *population;
    const struct member *members;
    int count, numerics;

    (void)state;
    use_one(large);
    config.islands = 1;
    population = population_new(&space, &config);
    for (int place = 0; place < 10; place++) {
        struct genome genome = {.at = {0, (uint8_t)place}};

        tell(population, place, &genome, 0, place, us[place]);
    }
    members = population_island(population, 0, &count, &numerics);
    assert_int_equal(count, 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(members[i].place, expected[i]);
        assert_int_equal(members[i].genome.at[1], expected[i]);
        assert_int_equal(members[i].depth, expected[i]);
    }
    population_free(population);
}

/* The share of proposals whose parent came from the island that is `step` behind its own. */
static void count_origins(double migration, int from[3])
{
    struct population *population;
    struct proposal proposal;

    use_one(large);
    config.migration = migration;
    memset(config.weights, 0, sizeof config.weights);
    config.weights[OPERATOR_STEP] = 1;
    population = population_new(&space, &config);
    for (int place = 0; place < 12; place++) {
        struct genome genome = {.at = {0, (uint8_t)place}};

        tell(population, place, &genome, 0, 0, 100 + place);
    }
    memset(from, 0, 3 * sizeof *from);
    for (int64_t place = 12; place < 92; place++) {
        assert_true(population_propose(population, place, &proposal));
        if (proposal.operator_kind == OPERATOR_STEP) {
            from[(proposal.parents[0] % 3 - place % 3 + 3) % 3]++;
        }
    }
    population_free(population);
}

static void parents_migrate_from_the_next_island_as_often_as_asked(void **state)
{
    int from[3];

    (void)state;
    count_origins(0, from);
    assert_true(from[0] > 60 && from[1] == 0 && from[2] == 0);
    count_origins(1, from);
    assert_true(from[1] > 60 && from[0] == 0 && from[2] == 0);
    count_origins(0.25, from);
    assert_int_equal(from[2], 0);
    assert_true(from[1] > 8 && from[1] < 32 && from[0] > 40);
}

static void parents_of_a_class_come_from_islands_of_that_class(void **state)
{
    struct population *population;
    struct proposal *proposals;

    (void)state;
    use_two(large, narrow);
    space.classes[1] = true;
    config.migration = 0.9;
    config.islands = 5;
    proposals = arena_alloc(arena, 300 * sizeof *proposals);
    population = population_new(&space, &config);
    run(population, 300, proposals);
    for (int64_t place = 0; place < 300; place++) {
        int home = (int)(place % 5) % 2; /* classes are dealt in turn */

        for (int i = 0; i < proposals[place].parent_count; i++) {
            assert_int_equal(proposals[proposals[place].parents[i]].numerics, home);
        }
    }
    population_free(population);
}

/* ---- bounds ---- */

static void a_full_island_bounds_the_time_of_a_single_shape(void **state)
{
    struct population *population;
    struct proposal proposal;
    struct err err;

    (void)state;
    use_one(large);
    config.islands = 1;
    for (int shapes = 1; shapes <= 2; shapes++) {
        space.problem_count = shapes;
        assert_true(problem_parse("1x8x1024x64", &space.problems[1].problem, &err));
        population = population_new(&space, &config);
        for (int place = 0; place < 5; place++) {
            struct genome genome = {.at = {0, (uint8_t)place}};

            assert_true(population_propose(population, 10 + place, &proposal));
            assert_true(proposal.bound_us == (place < 4 || shapes > 1 ? 0 : 1.02 * 103));
            tell(population, place, &genome, 0, 0, 100 + place);
        }
        population_free(population);
    }
}

/* ---- operators ---- */

static struct rng dice;

static bool apply(enum operator_kind kind, const struct genome *parents, struct genome *child)
{
    memset(child, 0xee, sizeof *child); /* whatever it leaves alone would show */
    return operator_table[kind].apply(&space, parents, &dice, child);
}

static void check_is_genome(const struct genome *genome)
{
    const struct family *family = families[genome->family];

    for (int i = 0; i < GENES_MAX; i++) {
        assert_true(i < family->gene_count ? genome->at[i] < family->genes[i].count
                                           : genome->at[i] == 0);
    }
}

static void a_step_moves_one_gene_a_little(void **state)
{
    struct genome parent, child;
    int moved[GENES_MAX] = {0}, far = 0;

    (void)state;
    use_two(large, narrow);
    dice = rng_at(1, 2, 3);
    for (int i = 0; i < 4000; i++) {
        parent = mutate_random(&space, i % 2, &dice);
        assert_true(apply(OPERATOR_STEP, &parent, &child));
        check_is_genome(&child);
        assert_int_equal(child.family, parent.family);
        assert_int_equal(differences(&parent, &child), 1);
        for (int j = 0; j < GENES_MAX; j++) {
            int by = abs(child.at[j] - parent.at[j]);

            if (by > 0 && families[parent.family]->genes[j].kind == GENE_NUMBER) {
                assert_true(by <= 2);
                far += by == 2;
            }
            moved[j] += by > 0 && i % 2 == 0;
        }
    }
    for (int j = 0; j < families[0]->gene_count; j++) {
        assert_true(moved[j] > 2000 / 6 * 3 / 4); /* each gene in its turn */
    }
    assert_true(far > 200);
}

static void a_label_goes_to_any_other_alike(void **state)
{
    struct genome parent, child;
    int to[3] = {0};

    (void)state;
    use_one(HEAD "EVO_GENE(ROWS, set(16), \"rows\")\n"
                 "EVO_CHOICE(Kind, (one, two, three), \"which\")\n" LAUNCH);
    dice = rng_at(2, 2, 3);
    for (int i = 0; i < 3000; i++) {
        parent = (struct genome){.at = {0, 1}};
        assert_true(apply(OPERATOR_STEP, &parent, &child));
        to[child.at[1]]++;
    }
    assert_int_equal(to[1], 0);
    assert_true(to[0] > 1380 && to[2] > 1380);
}

static void multi_moves_two_to_four_genes(void **state)
{
    struct genome parent, child;
    int moved[6] = {0};

    (void)state;
    use_two(large, narrow);
    dice = rng_at(3, 2, 3);
    for (int i = 0; i < 3000; i++) {
        int count;

        parent = mutate_random(&space, 0, &dice);
        assert_true(apply(OPERATOR_MULTI, &parent, &child));
        check_is_genome(&child);
        count = differences(&parent, &child);
        assert_true(count >= 2 && count <= 4);
        moved[count]++;
        parent = mutate_random(&space, 1, &dice); /* three genes that can move, one that cannot */
        assert_true(apply(OPERATOR_MULTI, &parent, &child));
        check_is_genome(&child);
        assert_true(differences(&parent, &child) >= 2 && differences(&parent, &child) <= 3);
    }
    assert_true(moved[2] > 850 && moved[3] > 850 && moved[4] > 850);
}

static void what_cannot_move_is_not_moved(void **state)
{
    struct genome parent = {0}, child;

    (void)state;
    use_one(HEAD "EVO_GENE(ROWS, set(16), \"rows\")\n" LAUNCH);
    dice = rng_at(4, 2, 3);
    assert_false(apply(OPERATOR_STEP, &parent, &child));
    assert_false(apply(OPERATOR_MULTI, &parent, &child));
    assert_false(apply(OPERATOR_JUMP, &parent, &child)); /* there is nowhere to jump to */
    use_one(HEAD "EVO_GENE(ROWS, set(16, 32), \"rows\")\n" LAUNCH);
    assert_false(apply(OPERATOR_MULTI, &parent, &child)); /* two cannot move where there is one */
    assert_true(apply(OPERATOR_STEP, &parent, &child));
    assert_int_equal(child.at[0], 1);
}

static void crossover_takes_each_gene_from_a_parent(void **state)
{
    struct genome parents[2], child;
    int from_second = 0, open = 0;

    (void)state;
    use_one(large);
    dice = rng_at(5, 2, 3);
    for (int i = 0; i < 2000; i++) {
        parents[0] = mutate_random(&space, 0, &dice);
        parents[1] = mutate_random(&space, 0, &dice);
        assert_true(apply(OPERATOR_CROSSOVER, parents, &child));
        check_is_genome(&child);
        for (int j = 0; j < families[0]->gene_count; j++) {
            assert_true(child.at[j] == parents[0].at[j] || child.at[j] == parents[1].at[j]);
            open += parents[0].at[j] != parents[1].at[j];
            from_second += parents[0].at[j] != parents[1].at[j] &&
                           child.at[j] == parents[1].at[j];
        }
    }
    assert_true(from_second > open * 0.47 && from_second < open * 0.53);
}

static const char *value_of(const struct genome *genome, const char *gene)
{
    int at = family_gene(families[genome->family], gene);

    return at < 0 ? "" : gene_value_text(arena, &families[genome->family]->genes[at],
                                         genome->at[at]);
}

static void crossover_between_families_stays_in_the_first(void **state)
{
    struct genome parents[2], child;
    int inherited = 0;

    (void)state;
    use_two(wide, narrow);
    dice = rng_at(6, 2, 3);
    parents[0] = genome_of(0, "ROWS=128 DEEP=2 PAIR=1 Exp=none");
    parents[1] = genome_of(1, "ROWS=24 Exp=fast HALF=1");
    for (int i = 0; i < 200; i++) {
        assert_true(apply(OPERATOR_CROSSOVER, parents, &child));
        check_is_genome(&child);
        assert_int_equal(child.family, 0);
        assert_string_equal(value_of(&child, "DEEP"), "2"); /* the second parent has none */
        assert_string_equal(value_of(&child, "PAIR"), "1");
        assert_true(strcmp(value_of(&child, "ROWS"), "128") == 0 ||
                    strcmp(value_of(&child, "ROWS"), "16") == 0); /* the lower of the nearest */
        assert_true(strcmp(value_of(&child, "Exp"), "none") == 0 ||
                    strcmp(value_of(&child, "Exp"), "fast") == 0);
        inherited += strcmp(value_of(&child, "Exp"), "fast") == 0;
    }
    assert_true(inherited > 60 && inherited < 140);
}

static void an_immigrant_is_any_genome(void **state)
{
    struct genome child;
    int seen[2][4][3] = {{{0}}};

    (void)state;
    use_two(wide, narrow);
    dice = rng_at(7, 2, 3);
    for (int i = 0; i < 6000; i++) {
        assert_true(apply(OPERATOR_IMMIGRANT, NULL, &child));
        check_is_genome(&child);
        seen[child.family][child.at[0]][child.at[1]]++;
    }
    for (int family = 0; family < 2; family++) {
        for (int a = 0; a < families[family]->genes[0].count; a++) {
            for (int b = 0; b < families[family]->genes[1].count; b++) {
                assert_true(seen[family][a][b] > (family == 0 ? 190 : 265));
            }
        }
    }
}

static void a_jump_lands_elsewhere_and_keeps_what_it_can(void **state)
{
    struct genome parent, child;
    int half = 0;

    (void)state;
    use_two(wide, narrow);
    dice = rng_at(8, 2, 3);
    parent = genome_of(0, "ROWS=64 DEEP=2 PAIR=1 Exp=slow");
    for (int i = 0; i < 200; i++) {
        assert_true(apply(OPERATOR_JUMP, &parent, &child));
        check_is_genome(&child);
        assert_int_equal(child.family, 1);
        assert_string_equal(value_of(&child, "ROWS"), "100"); /* 36 away; 24 is 40 away */
        assert_string_equal(value_of(&child, "Exp"), "slow"); /* by its name, not its index */
        half += strcmp(value_of(&child, "HALF"), "1") == 0;
    }
    assert_true(half > 60 && half < 140); /* a gene that nobody had is drawn */
    parent = genome_of(1, "ROWS=8 Exp=turbo HALF=1");
    for (int i = 0; i < 50; i++) { /* a label that is unknown there is drawn too */
        assert_true(apply(OPERATOR_JUMP, &parent, &child));
        assert_int_equal(child.family, 0);
        assert_string_equal(value_of(&child, "ROWS"), "16");
    }
}

/* Recordings may hold any integers: their distance does not fit one. */
static void values_far_apart_have_a_nearest(void **state)
{
    static const char text[] = "# device d\n"
                               "# param ROWS -9223372036854775808 9223372036854775807\n"
                               "ROWS,status,time_ms\n"
                               "-9223372036854775808,ok,1\n9223372036854775807,ok,2\n";
    struct genome parent = {.family = 1}, child;
    struct space *recorded;
    struct err err = {0};

    (void)state;
    use_two(wide, narrow);
    if (!space_parse(arena, "far", text, sizeof text - 1, &recorded, &err) ||
        !family_of_space(arena, recorded, &families[0], &err)) {
        fail_msg("%s", err.what);
    }
    assert_int_equal(families[0]->genes[0].kind, GENE_NUMBER);
    dice = rng_at(9, 2, 3);
    assert_true(apply(OPERATOR_JUMP, &parent, &child));
    assert_int_equal(families[0]->genes[0].values[child.at[0]], INT64_MAX);
    parent = (struct genome){.at = {child.at[0] == 0 ? 1 : 0}};
    assert_true(apply(OPERATOR_JUMP, &parent, &child));
    assert_string_equal(value_of(&child, "ROWS"), "8");
}

static void a_proposal_tells_the_truth_about_its_making(void **state)
{
    struct proposal *all;
    struct population *population;
    int made[OPERATOR_COUNT] = {0};

    (void)state;
    use_two(large, narrow);
    space.classes[1] = true;
    config.elites = 16; /* room for more than one of a niche */
    all = arena_alloc(arena, PLACES * sizeof *all);
    population = population_new(&space, &config);
    run(population, PLACES, all);
    for (int i = 0; i < PLACES; i++) {
        const struct proposal *child = &all[i];
        const struct proposal *a = child->parent_count > 0 ? &all[child->parents[0]] : NULL;
        const struct proposal *b = child->parent_count > 1 ? &all[child->parents[1]] : NULL;
        int depth = 0, changes = a ? differences(&a->genome, &child->genome) : 0;
        struct hash hash = genome_hash(families[child->genome.family], &child->genome);

        made[child->operator_kind]++;
        assert_true(hash_equal(&hash, &child->genome_hash));
        assert_int_equal(child->parent_count, operator_table[child->operator_kind].parents);
        depth = a ? a->depth + 1 : 0;
        depth = b && b->depth >= depth ? b->depth + 1 : depth;
        assert_int_equal(child->depth, depth);
        assert_true(a == NULL || child->parents[0] < i);
        switch (child->operator_kind) {
        case OPERATOR_STEP: assert_int_equal(changes, 1); break;
        case OPERATOR_MULTI: assert_true(changes >= 2 && changes <= 4); break;
        case OPERATOR_CROSSOVER:
            assert_true(child->parents[0] != child->parents[1] && child->parents[1] < i);
            assert_int_equal(child->genome.family, a->genome.family);
            break;
        case OPERATOR_JUMP: assert_true(child->genome.family != a->genome.family); break;
        case OPERATOR_IMMIGRANT: break;
        default: fail_msg("operator %d is not drawn", child->operator_kind);
        }
    }
    for (int i = OPERATOR_STEP; i < OPERATOR_DRAWN; i++) {
        assert_true(made[i] > 5);
    }
    assert_true(made[OPERATOR_STEP] > made[OPERATOR_JUMP]);
    population_free(population);
}

static void an_operator_without_weight_is_not_drawn(void **state)
{
    struct proposal *all;
    struct population *population;
    int made[OPERATOR_COUNT] = {0};

    (void)state;
    use_one(large);
    memset(config.weights, 0, sizeof config.weights);
    config.weights[OPERATOR_MULTI] = 1;
    all = arena_alloc(arena, 300 * sizeof *all);
    population = population_new(&space, &config);
    run(population, 300, all);
    for (int i = 0; i < 300; i++) {
        made[all[i].operator_kind]++;
    }
    assert_int_equal(made[OPERATOR_IMMIGRANT], 3); /* what each island began with */
    assert_int_equal(made[OPERATOR_MULTI], 297);
    config.strategy = STRATEGY_RANDOM;
    population_free(population);
    population = population_new(&space, &config);
    run(population, 300, all);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(all[i].operator_kind, OPERATOR_IMMIGRANT);
    }
    population_free(population);
}

static void a_search_finds_its_way(void **state)
{
    enum { TRIES = 1500 };
    struct proposal *all;
    double best[STRATEGY_COUNT];

    (void)state;
    use_one(large);
    all = arena_alloc(arena, TRIES * sizeof *all);
    for (int strategy = 0; strategy < STRATEGY_COUNT; strategy++) {
        struct population *population;

        config.strategy = (enum seed_strategy)strategy;
        population = population_new(&space, &config);
        run(population, TRIES, all);
        best[strategy] = INFINITY;
        for (int i = 0; i < TRIES; i++) {
            best[strategy] = fmin(best[strategy], score_of(&all[i].genome));
        }
        population_free(population);
    }
    for (int strategy = 0; strategy < STRATEGY_RANDOM; strategy++) {
        assert_true(best[strategy] < best[STRATEGY_RANDOM]);
        assert_true(best[strategy] < score_of(&(struct genome){.at = {1, 1, 1, 1, 1, 1}}) + 0.1);
    }
}

/* ---- the guide ---- */

static void a_guided_proposal_tells_the_truth_about_its_making(void **state)
{
    enum { TRIES = 200 };
    struct proposal *all;
    struct population *population;
    int made[OPERATOR_COUNT] = {0};

    (void)state;
    use_two(large, narrow);
    space.classes[1] = true;
    config.strategy = STRATEGY_EVO;
    all = arena_alloc(arena, TRIES * sizeof *all);
    population = population_new(&space, &config);
    run(population, TRIES, all);
    for (int i = 0; i < TRIES; i++) {
        const struct proposal *child = &all[i];
        bool guided = child->operator_kind >= OPERATOR_DRAWN;

        made[child->operator_kind]++;
        for (int j = 0; j < i; j++) {
            assert_false(same_genome(&child->genome, &all[j].genome));
        }
        if (!guided) {
            continue;
        }
        assert_int_equal(child->parent_count, 1);
        assert_true(child->parents[0] < i);
        assert_int_equal(child->depth, all[child->parents[0]].depth + 1);
        assert_int_equal(child->numerics, i % 3 % 2); /* the class of the place's island */
        if (child->operator_kind == OPERATOR_REFINE) {
            assert_int_equal(differences(&child->genome, &all[child->parents[0]].genome), 1);
        }
    }
    assert_true(made[OPERATOR_PREDICT] > 50 && made[OPERATOR_REFINE] > 20);
    population_free(population);
}

static void what_fails_is_learned_and_avoided(void **state)
{
    enum { TRIES = 160, KIND = 4 };
    struct proposal *all;
    struct population *population;
    int failed[2] = {0};

    (void)state;
    use_one(large);
    config.strategy = STRATEGY_EVO;
    all = arena_alloc(arena, TRIES * sizeof *all);
    population = population_new(&space, &config);
    for (int place = 0; place < TRIES; place++) {
        bool fails; /* a quarter of the space */

        assert_true(population_propose(population, place, &all[place]));
        fails = all[place].genome.at[KIND] == 3;
        failed[place >= TRIES / 2] += fails;
        tell(population, place, &all[place].genome, 0, all[place].depth,
                        fails ? 0 : score_of(&all[place].genome));
    }
    assert_true(failed[0] > 0);
    assert_true(failed[1] <= TRIES / 2 / 8); /* half of what chance would do */
    population_free(population);
}

static void a_search_says_when_nothing_more_is_expected(void **state)
{
    enum { TRIES = 1000 };
    struct proposal *all;
    struct population *population;
    int count = 0, best = 0;

    (void)state;
    use_one(large);
    config.strategy = STRATEGY_EVO;
    all = arena_alloc(arena, TRIES * sizeof *all);
    population = population_new(&space, &config);
    do {
        assert_true(count < TRIES);
        assert_true(population_propose(population, count, &all[count]));
        fold(population, count, &all[count]);
        if (score_of(&all[count].genome) < score_of(&all[best].genome)) {
            best = count;
        }
    } while (!all[count++].settled);
    assert_true(count > best + 80);
    for (int i = 0; i < GENES_MAX; i++) { /* 1 is the nearest to what every gene should be */
        assert_int_equal(all[best].genome.at[i], i < families[0]->gene_count);
    }
    for (int gene = 0; gene < families[0]->gene_count; gene++) {
        for (int at = 0; at < families[0]->genes[gene].count; at++) {
            struct genome genome = all[best].genome;
            int found = 0;

            genome.at[gene] = (uint8_t)at;
            while (found < count && !same_genome(&all[found].genome, &genome)) {
                found++;
            }
            assert_true(found < count); /* the whole neighbourhood was looked at */
        }
    }
    population_free(population);
}

static void an_alias_is_learned_from_and_is_no_member(void **state)
{
    struct population *population;
    struct proposal proposal;
    int count, numerics;

    (void)state;
    use_one(large);
    config.strategy = STRATEGY_EVO;
    config.islands = 1;
    population = population_new(&space, &config);
    for (int place = 0; place < 40; place++) {
        double us;

        assert_true(population_propose(population, place, &proposal));
        us = score_of(&proposal.genome);
        tell(population, place, &proposal.genome, 0, 0, place % 2 ? -us : us);
    }
    population_island(population, 0, &count, &numerics);
    assert_int_equal(count, 4);
    for (int i = 0; i < count; i++) {
        const struct member *members = population_island(population, 0, &count, &numerics);

        assert_int_equal(members[i].place % 2, 0);
    }
    population_free(population);
}

/* Lessons of two other runs of this space, in which all took twice or three times as long. */
static int lessons_of(struct lesson *lessons, int room)
{
    struct population *population = population_new(&space, &config);
    struct proposal proposals[200];
    int count = (int)run(population, 200, proposals);

    assert_int_equal(count, 200);
    for (int i = 0; i < count; i++) {
        lessons[i] = (struct lesson){.genome = proposals[i].genome, .source = i % 2,
                                     .numerics = proposals[i].numerics,
                                     .us = (2 + i % 2) * score_of(&proposals[i].genome)};
    }
    population_free(population);
    return memory_choose(lessons, count, room);
}

static void the_best_of_earlier_runs_is_tried_first(void **state)
{
    (void)state;
    use_one(large);
    config.strategy = STRATEGY_EVO;
    struct lesson lessons[200];
    struct proposal proposals[60];
    double best = INFINITY, least = INFINITY;
    int count = lessons_of(lessons, MEMORY_LESSONS_MAX);

    assert_int_equal(count, MEMORY_LESSONS_MAX);
    for (int i = 0; i < count; i++) {
        least = fmin(least, score_of(&lessons[i].genome));
    }
    config.rng_seed++;
    struct population *population = population_new(&space, &config);
    population_teach(population, lessons, count);
    assert_int_equal(run(population, 60, proposals), 60);
    for (int i = 0; i < 60; i++) {
        bool recalled = proposals[i].operator_kind == OPERATOR_RECALL;

        assert_int_equal(recalled, i < 4);
        assert_true(!recalled || proposals[i].parent_count == 0);
        best = i < 4 ? fmin(best, score_of(&proposals[i].genome)) : best;
    }
    assert_true(best == least);
    population_free(population);
}

static void what_was_taught_is_the_same_after_a_kill(void **state)
{
    (void)state;
    use_one(large);
    config.strategy = STRATEGY_EVO;
    struct lesson lessons[200];
    struct proposal whole[60];
    int count = lessons_of(lessons, MEMORY_LESSONS_MAX);

    config.rng_seed++;
    struct population *first = population_new(&space, &config);
    population_teach(first, lessons, count);
    assert_int_equal(run(first, 60, whole), 60);
    population_free(first);
    for (int64_t cut = 0; cut < 60; cut += 5) { /* killed before place `cut` was proposed */
        struct population *again = population_new(&space, &config);
        struct proposal next;

        population_teach(again, lessons, count);
        for (int64_t place = 0; place < cut; place++) {
            mark(again, place, &whole[place]);
            fold(again, place, &whole[place]);
        }
        assert_true(population_propose(again, cut, &next));
        assert_true(same_genome(&next.genome, &whole[cut].genome));
        assert_int_equal(next.operator_kind, whole[cut].operator_kind);
        population_free(again);
    }
}

static void few_lessons_and_none_are_fine(void **state)
{
    (void)state;
    use_two(large, narrow);
    config.strategy = STRATEGY_EVO;
    struct lesson lessons[200];
    struct proposal proposals[40];

    lessons_of(lessons, 200);
    for (int count = 0; count <= 5; count += count == 0 ? 3 : 2) { /* fewer than a model is made of, too */
        struct population *population = population_new(&space, &config);

        population_teach(population, lessons, count);
        assert_int_equal(run(population, 40, proposals), 40);
        population_free(population);
    }
}

static void the_lessons_kept_are_the_best_and_a_spread_of_the_rest(void **state)
{
    (void)state;
    struct lesson lessons[101];

    for (int i = 0; i < 101; i++) {
        lessons[i] = (struct lesson){.us = 1 + (i * 37) % 101};
    }
    assert_int_equal(memory_choose(lessons, 101, 20), 20);
    for (int i = 0; i < 10; i++) {
        assert_true(lessons[i].us == 1 + i);
    }
    for (int i = 11; i < 20; i++) {
        assert_true(lessons[i].us > lessons[i - 1].us + 5);
    }
    assert_true(lessons[19].us == 101);
    assert_int_equal(memory_choose(lessons, 7, 20), 7);
    assert_int_equal(memory_choose(lessons, 0, 20), 0);
}

static void a_long_run_has_two_arms_that_know_nothing_of_it(void **state)
{
    enum { TRIES = 360 };
    struct proposal *all = arena_alloc(arena, TRIES * sizeof *all);
    struct population *population;
    int made[OPERATOR_COUNT] = {0};

    (void)state;
    use_one(large);
    config.strategy = STRATEGY_EVO;
    population = population_new(&space, &config);
    run(population, TRIES, all);
    for (int i = 0; i < TRIES; i++) {
        enum operator_kind kind = all[i].operator_kind;

        made[kind]++;
        assert_true(i >= 200 || (kind != OPERATOR_CLIMB && kind != OPERATOR_DRAW));
        if (kind == OPERATOR_CLIMB && all[i].parent_count > 0) { /* it descends from itself */
            assert_int_equal(all[all[i].parents[0]].operator_kind, OPERATOR_CLIMB);
            assert_int_equal(differences(&all[i].genome, &all[all[i].parents[0]].genome), 1);
        }
    }
    assert_in_range(made[OPERATOR_CLIMB], 2, 16); /* a twentieth of what is beyond 200 */
    assert_in_range(made[OPERATOR_DRAW], 2, 16);
    population_free(population);
}

/* How often an operator is drawn when one of them fails, or brings nothing, every time. */
static int times_drawn(enum operator_kind poor, bool fails, enum operator_kind counted)
{
    enum { TRIES = 1500 };
    struct population *population = population_new(&space, &config);
    struct proposal proposal;
    int count = 0;

    for (int place = 0; place < TRIES; place++) {
        bool good;

        assert_true(population_propose(population, place, &proposal));
        good = proposal.operator_kind != poor;
        count += proposal.operator_kind == counted;
        population_fold(population,
                        &(struct outcome){.place = place, .genome = proposal.genome,
                                          .kind = proposal.operator_kind,
                                          .us = good ? 1000 - 0.1 * place : fails ? 0 : 2000});
    }
    population_free(population);
    return count;
}

static void operators_share_by_what_they_gain_for_what_they_cost(void **state)
{
    (void)state;
    use_one(large);
    config.weights[OPERATOR_STEP] = config.weights[OPERATOR_MULTI] = 1;
    config.weights[OPERATOR_CROSSOVER] = config.weights[OPERATOR_IMMIGRANT] = 1;
    int step = times_drawn(OPERATOR_STEP, false, OPERATOR_STEP);
    int multi = times_drawn(OPERATOR_STEP, false, OPERATOR_MULTI);

    assert_true(step * 2 < multi); /* what gains nothing is drawn less */
    assert_true(step * 6 > multi);     /* and still drawn */
    assert_true(times_drawn(OPERATOR_IMMIGRANT, true, OPERATOR_IMMIGRANT) > 30);
}

static void operators_are_known_by_name(void **state)
{
    enum operator_kind kind;

    (void)state;
    for (int i = 0; i < OPERATOR_COUNT; i++) {
        assert_true(operator_parse(operator_names[i], &kind));
        assert_int_equal(kind, i);
    }
    assert_false(operator_parse("luck", &kind));
}

static void strategies_are_known_by_name(void **state)
{
    enum seed_strategy strategy;

    (void)state;
    for (int i = 0; i < STRATEGY_COUNT; i++) {
        assert_true(strategy_parse(strategy_names[i], &strategy));
        assert_int_equal(strategy, i);
    }
    assert_false(strategy_parse("anneal", &strategy));
}

/* ---- selection ---- */

static void parents_are_drawn_by_rank(void **state)
{
    struct rng rng = rng_at(10, 2, 3);
    int drawn[4] = {0}, best = 0;

    (void)state;
    for (int i = 0; i < 10000; i++) {
        drawn[select_parent(SELECTION_RANK, 0, 4, &rng)]++;
    }
    for (int i = 0; i < 4; i++) { /* four, three, two shares and one */
        assert_true(abs(drawn[i] - 1000 * (4 - i)) < 150);
    }
    memset(drawn, 0, sizeof drawn);
    for (int i = 0; i < 6400; i++) {
        drawn[select_parent(SELECTION_TOURNAMENT, 3, 4, &rng)]++;
        best += select_parent(SELECTION_TOURNAMENT, 60, 4, &rng) == 0;
    }
    for (int i = 0; i < 4; i++) { /* the last wins only if all three are it */
        int expected = 100 * ((4 - i) * (4 - i) * (4 - i) - (3 - i) * (3 - i) * (3 - i));

        assert_true(abs(drawn[i] - expected) < 150);
    }
    assert_int_equal(best, 6400);
    assert_int_equal(select_parent(SELECTION_RANK, 1, 1, &rng), 0);
    assert_int_equal(select_parent(SELECTION_TOURNAMENT, 1, 1, &rng), 0);
}

static void a_niche_keeps_its_part_while_it_is_not_far_behind(void **state)
{
    enum { ROOM = 8 };
    struct member members[ROOM + 1];
    int count = 0;

    (void)state;
    for (int i = 0; i < ROOM; i++) { /* seven of niche 0, one of niche 1 is the slowest */
        struct member one = {.us = 100 + i, .place = i, .niche = i == ROOM - 1};

        assert_int_equal(select_survivor(members, &count, ROOM, &one), i);
    }
    assert_true(select_bound(members, count, 0) == 107);
    assert_true(select_bound(members, count, 1) == 150); /* it may have two */
    struct member slow = {.us = 140, .place = 10, .niche = 1};
    assert_int_equal(select_survivor(members, &count, ROOM, &slow), 7);
    assert_int_equal(count, ROOM);
    assert_true(members[6].us == 107 && members[7].us == 140); /* 106 went */
    slow.us = 145; /* a third of the niche */
    assert_int_equal(select_survivor(members, &count, ROOM, &slow), -1);
    assert_true(select_bound(members, count, 1) == 140);
    slow = (struct member){.us = 151, .place = 12, .niche = 2}; /* too far behind */
    assert_int_equal(select_survivor(members, &count, ROOM, &slow), -1);
    struct member fast = {.us = 90, .place = 13}; /* now 140 is too far behind as well */
    assert_int_equal(select_survivor(members, &count, ROOM, &fast), 0);
    assert_true(members[7].us == 107 && members[7].niche == 1 && members[6].us == 105);
    for (int i = 1; i < count; i++) {
        assert_true(members[i].us >= members[i - 1].us);
    }
}

static void a_niche_is_a_family_and_how_many_blocks_fit(void **state)
{
    (void)state;
    use_two(HEAD "EVO_GENE(SMEM, set(0, 1000, 60000, 120000), \"bytes\")\n"
                 "EVO_LAUNCH(attention, (1), 64, SMEM, (Q, K, V, O))\n", wide);
    space.statics[0].givens.values[GIVEN_DEVICE_SMEM_MAX] = 232448;
    const int blocks[] = {32, 32, 3, 1}, niches[] = {6, 6, 3, 1};

    for (int i = 0; i < 4; i++) {
        struct genome genome = {.at = {(uint8_t)i}};
        struct plan_kernel kernel = {.threads = 64,
                                     .smem_bytes = families[0]->genes[0].values[i]};

        assert_int_equal(niche_blocks(&kernel, 232448), blocks[i]);
        assert_int_equal(niche_of(&space, &genome), niches[i]);
    }
    assert_true(niche_of(&space, &(struct genome){.family = 1}) >= NICHE_BUCKETS);
}

static void a_newcomer_takes_the_place_it_earns(void **state)
{
    struct member members[3 + 1];
    struct member newcomer = {.us = 5};
    int count = 0;

    (void)state;
    assert_int_equal(select_survivor(members, &count, 3, &newcomer), 0);
    newcomer = (struct member){.us = 7, .place = 1};
    assert_int_equal(select_survivor(members, &count, 3, &newcomer), 1);
    newcomer = (struct member){.us = 6, .place = 2};
    assert_int_equal(select_survivor(members, &count, 3, &newcomer), 1);
    newcomer = (struct member){.us = 7, .place = 3};
    assert_int_equal(select_survivor(members, &count, 3, &newcomer), -1);
    newcomer = (struct member){.us = 6, .place = 0};
    assert_int_equal(select_survivor(members, &count, 3, &newcomer), 1);
    assert_int_equal(count, 3);
    assert_true(members[0].us == 5 && members[1].place == 0 && members[2].place == 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_small_space_is_exhausted_exactly),
        TEST(a_recorded_space_is_exhausted_exactly),
        TEST(what_is_marked_is_never_proposed),
        TEST(many_genomes_are_remembered),
        TEST(the_same_folds_give_the_same_proposals),
        TEST(a_search_goes_on_from_its_rows_as_if_never_stopped),
        TEST(a_proposal_reads_the_folds),
        TEST(a_founder_is_taken_as_it_is_once),
        TEST(a_founder_that_may_not_be_is_refused_with_the_reason),
        TEST(a_long_refusal_is_cut_to_its_room),
        TEST(every_static_problem_and_shape_must_admit_a_genome),
        TEST(each_class_has_its_islands),
        TEST(there_are_at_least_as_many_islands_as_classes),
        TEST(the_best_live_and_ties_go_to_the_elder),
        TEST(parents_migrate_from_the_next_island_as_often_as_asked),
        TEST(parents_of_a_class_come_from_islands_of_that_class),
        TEST(a_full_island_bounds_the_time_of_a_single_shape),
        TEST(a_step_moves_one_gene_a_little),
        TEST(a_label_goes_to_any_other_alike),
        TEST(multi_moves_two_to_four_genes),
        TEST(what_cannot_move_is_not_moved),
        TEST(crossover_takes_each_gene_from_a_parent),
        TEST(crossover_between_families_stays_in_the_first),
        TEST(an_immigrant_is_any_genome),
        TEST(a_jump_lands_elsewhere_and_keeps_what_it_can),
        TEST(values_far_apart_have_a_nearest),
        TEST(a_proposal_tells_the_truth_about_its_making),
        TEST(an_operator_without_weight_is_not_drawn),
        TEST(a_search_finds_its_way),
        TEST(a_guided_proposal_tells_the_truth_about_its_making),
        TEST(what_fails_is_learned_and_avoided),
        TEST(a_search_says_when_nothing_more_is_expected),
        TEST(an_alias_is_learned_from_and_is_no_member),
        TEST(the_best_of_earlier_runs_is_tried_first),
        TEST(what_was_taught_is_the_same_after_a_kill),
        TEST(few_lessons_and_none_are_fine),
        TEST(the_lessons_kept_are_the_best_and_a_spread_of_the_rest),
        TEST(a_long_run_has_two_arms_that_know_nothing_of_it),
        TEST(operators_share_by_what_they_gain_for_what_they_cost),
        TEST(operators_are_known_by_name),
        TEST(strategies_are_known_by_name),
        TEST(parents_are_drawn_by_rank),
        TEST(a_niche_keeps_its_part_while_it_is_not_far_behind),
        TEST(a_niche_is_a_family_and_how_many_blocks_fit),
        TEST(a_newcomer_takes_the_place_it_earns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
