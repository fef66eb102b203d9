/* query: what people ask of a database, also while it is being written; and its views. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "db/query.h"
#include "store_fixture.h"

static void begin(struct fixture *f) { MUST(f, store_begin(f->store, &f->err)); }
static void commit(struct fixture *f) { MUST(f, store_commit(f->store, &f->err)); }

/* All rows, columns joined by '|', rows by a newline. */
static const char *view(const struct fixture *f, const char *text)
{
    static char answer[4096];
    size_t used = 0;
    sqlite3 *db;
    sqlite3_stmt *s;

    assert_int_equal(sqlite3_open_v2(f->path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    if (sqlite3_prepare_v2(db, text, -1, &s, NULL) != SQLITE_OK) {
        fail_msg("%s: %s", text, sqlite3_errmsg(db));
    }
    answer[0] = '\0';
    while (sqlite3_step(s) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(s); i++) {
            const char *value = (const char *)sqlite3_column_text(s, i);

            used += (size_t)snprintf(answer + used, sizeof answer - used, "%s%s", i ? "|" : "",
                                     value ? value : "-");
            assert_true(used < sizeof answer - 2);
        }
        answer[used++] = '\n';
        answer[used] = '\0';
    }
    sqlite3_finalize(s);
    sqlite3_close(db);
    return answer;
}

/*
 * A run of ten places: n0 a founder that is wrong, n1 a founder that passed (80), n2..n7 better and
 * better (n5 in FP16, the fastest), n8 an alias of n3, n9 queued. Before it, a run of one founder.
 */
static int setup(void **state)
{
    static const struct {
        const char *operator_name;
        int numerics;
        double us;
        enum verdict verdict;
    } places[] = {
        {"founder", 0, 10, VERDICT_WRONG},     {"founder", 0, 80, VERDICT_PASS},
        {"step", 0, 60, VERDICT_PASS},         {"crossover", 0, 40, VERDICT_PASS},
        {"step", 0, 1, VERDICT_OUT_OF_BOUNDS}, {"jump", 1, 20, VERDICT_PASS},
        {"founder", 0, 50, VERDICT_PASS},      {"multi", 0, 45, VERDICT_PASS},
    };
    struct fixture *f = malloc(sizeof *f);
    struct candidate_row row;
    int64_t judgement = 0;

    fixture_open(f);
    begin(f);
    fixture_run(f);
    fixture_place(f, 0, "founder", 0, 9, VERDICT_WRONG);
    fixture_run(f); /* run 2, the one that is asked for */
    for (int i = 0; i < 8; i++) {
        /* Programs of their own: run 1 has judged program 0 already. */
        row = fixture_candidate(f, i, places[i].operator_name);
        row.numerics = places[i].numerics;
        fixture_propose(f, &row);
        fixture_build(f, &row, fixture_hash("image", 100 + i), i == 3);
        int64_t id = fixture_judge(f, &row, 100 + i, places[i].us, places[i].verdict, 50);
        judgement = i == 3 ? id : judgement;
        fixture_finish(f, &row, 100 + i, id, places[i].verdict);
    }
    row = fixture_candidate(f, 8, "step");
    row.alias_of = 3;
    fixture_propose(f, &row);
    fixture_finish(f, &row, 103, judgement, VERDICT_PASS);
    row = fixture_candidate(f, 9, "step");
    fixture_propose(f, &row);
    MUST(f, store_event(f->store, f->run, 1, "start", "began", &f->err));
    MUST(f, store_event(f->store, f->run, 2, "worker", "judge cuda:0 died", &f->err));
    MUST(f, store_event(f->store, f->run, 3, "stop", "asked to", &f->err));
    commit(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture_close(*state);
    free(*state);
    return 0;
}

/* The run's last state, asked by a reader of its own while the writer holds a round open. */
static void status_counts_and_names_the_best(void **state)
{
    struct fixture *f = *state;
    struct candidate_row row = fixture_candidate(f, 10, "step");
    struct status_row status;
    struct store *reader;
    bool found;

    begin(f);
    fixture_propose(f, &row); /* not committed: not seen */
    MUST(f, store_open(f->path, STORE_READ, &reader, &f->err));
    MUST(f, query_status(reader, f->arena, 0, &status, &found, &f->err));
    assert_true(found);
    assert_int_equal(status.run.id, 2);
    assert_string_equal(status.device, "NVIDIA H200");
    assert_string_equal(status.backend, "cuda");
    assert_int_equal(status.proposed, 10);
    assert_int_equal(status.finished, 9);
    assert_int_equal(status.passed, 7);
    assert_int_equal(status.aliases, 1);
    assert_int_equal(status.by_verdict[VERDICT_NONE], 1);
    assert_int_equal(status.by_verdict[VERDICT_WRONG], 1);
    assert_int_equal(status.by_verdict[VERDICT_OUT_OF_BOUNDS], 1);
    /* n5 is faster, but in another class of numerics. */
    assert_int_equal(status.best_place, 3);
    assert_string_equal(status.best_family, "attention_wmma");
    assert_true(fabs(status.best.us - 40 * sqrt(2)) < 0.1);
    assert_true(fabs(status.founder.us - 80 * sqrt(2)) < 0.1);
    assert_int_equal(status.best_evaluation, 4);
    assert_int_equal(status.best_finished_at, 1700000000003 + 1000);
    assert_int_equal(status.recent_finished, 8);
    assert_int_equal(status.recent_ms, 8);
    MUST(f, query_status(reader, f->arena, 1, &status, &found, &f->err));
    assert_int_equal(status.proposed, 1);
    assert_int_equal(status.best_place, -1);
    assert_true(status.founder.us == 0);
    MUST(f, query_status(reader, f->arena, 7, &status, &found, &f->err));
    assert_false(found);
    store_close(reader);
    store_rollback(f->store);
}

static void status_of_an_empty_database_finds_no_run(void **state)
{
    struct fixture empty;
    struct status_row status;
    bool found;

    (void)state;
    fixture_open(&empty);
    MUST(&empty, query_status(empty.store, empty.arena, 0, &status, &found, &empty.err));
    assert_false(found);
    fixture_close(&empty);
}

static void assert_places(const struct kernel_row *rows, int64_t count, const int *places,
                          int expected)
{
    assert_int_equal(count, expected);
    for (int i = 0; i < expected; i++) {
        assert_int_equal(rows[i].candidate.place, places[i]);
    }
}

static void best_ranks_each_class_for_itself_and_each_program_once(void **state)
{
    struct fixture *f = *state;
    struct best_filter filter = {.numerics = -1};
    struct kernel_row *rows;
    int64_t count;

    MUST(f, query_best(f->store, f->arena, &filter, &rows, &count, &f->err));
    assert_places(rows, count, (int[]){3, 7, 6, 2, 1, 5}, 6); /* n8 is n3's alias; n5 is FP16 */
    filter.limit = 2;
    MUST(f, query_best(f->store, f->arena, &filter, &rows, &count, &f->err));
    assert_places(rows, count, (int[]){3, 7, 5}, 3);
    filter.numerics = 1;
    MUST(f, query_best(f->store, f->arena, &filter, &rows, &count, &f->err));
    assert_places(rows, count, (int[]){5}, 1);
    filter = (struct best_filter){.numerics = 0, .family = "attention_tiled"};
    MUST(f, query_best(f->store, f->arena, &filter, &rows, &count, &f->err));
    assert_places(rows, count, (int[]){6, 2}, 2);
    filter = (struct best_filter){.run = 1, .numerics = -1};
    MUST(f, query_best(f->store, f->arena, &filter, &rows, &count, &f->err));
    assert_int_equal(count, 0);
    filter.run = 9;
    MUST(f, query_best(f->store, f->arena, &filter, &rows, &count, &f->err));
    assert_int_equal(count, 0);
}

static void best_of_a_shape_ranks_by_that_shape(void **state)
{
    struct fixture *f = *state;
    struct best_filter filter = {.numerics = 0, .problem = "1x8/8x1024/1024x64:causal", .limit = 3};
    struct kernel_row *rows;
    int64_t count;

    MUST(f, query_best(f->store, f->arena, &filter, &rows, &count, &f->err));
    assert_places(rows, count, (int[]){3, 7, 6}, 3);
    assert_true(fabs(rows[0].problems[1].score.us - 80) < 0.1);
    assert_true(fabs(rows[0].gain_over_founder - 2) < 0.01);
    filter.family = "attention_tiled";
    MUST(f, query_best(f->store, f->arena, &filter, &rows, &count, &f->err));
    assert_places(rows, count, (int[]){6, 2}, 2);
    filter.problem = "1x8x64x64";
    assert_false(query_best(f->store, f->arena, &filter, &rows, &count, &f->err));
    assert_int_equal(f->err.kind, ERR_USER);
    assert_string_equal(f->err.what, "run 2 has no shape '1x8x64x64'");
    assert_non_null(strstr(f->err.hint, FIXTURE_PROBLEM_A " " FIXTURE_PROBLEM_B));
}

static void a_kernel_brings_its_facts(void **state)
{
    struct fixture *f = *state;
    struct kernel_row kernel;
    bool found;

    MUST(f, query_kernel(f->store, f->arena, 2, 3, &kernel, &found, &f->err));
    assert_true(found);
    assert_string_equal(kernel.device, "NVIDIA H200");
    assert_int_equal(kernel.registers, 61);
    assert_int_equal(kernel.spill_bytes, 24);
    assert_int_equal(kernel.smem_bytes, 1024 + 20480);
    assert_int_equal(kernel.evaluations_before, 3);
    assert_true(fabs(kernel.gain_over_founder - 2) < 0.01);
    assert_int_equal(kernel.problem_count, 2);
    assert_string_equal(kernel.problems[0].problem, FIXTURE_PROBLEM_A);
    assert_true(fabs(kernel.problems[0].score.us - 40) < 0.1);
    assert_true(fabs(kernel.problems[0].graph_us - 36) < 0.1);
    assert_false(kernel.problems[0].quick);
    assert_true(kernel.problems[1].quick);
    /* One that failed, and one that has only been proposed. */
    MUST(f, query_kernel(f->store, f->arena, 2, 0, &kernel, &found, &f->err));
    assert_true(found && kernel.candidate.verdict == VERDICT_WRONG);
    assert_true(kernel.gain_over_founder == 0 && isnan(kernel.problems[0].graph_us));
    MUST(f, query_kernel(f->store, f->arena, 2, 9, &kernel, &found, &f->err));
    assert_true(found && kernel.candidate.state == CANDIDATE_QUEUED);
    assert_string_equal(kernel.device, "");
    assert_int_equal(kernel.registers, 0);
    MUST(f, query_kernel(f->store, f->arena, 2, 10, &kernel, &found, &f->err));
    assert_false(found);
}

static void names_are_resolved_or_told(void **state)
{
    static const struct {
        const char *text;
        int64_t run, place;
    } good[] = {{"n7", 2, 7},    {"7", 2, 7},    {"r2.n0", 2, 0},
                {"r1.n0", 1, 0}, {"r1.0", 1, 0}, {"best", 2, 3}};
    static const char *const unknown[] = {"n10", "r1.n1", "r3.n0", "n9223372036854775807"};
    static const char *const bad[] = {"",       "n",
                                      "x7",     "r.n1",
                                      "r0.n1",  "r2n1",
                                      ".n1",    "n-1",
                                      "n1 ",    "nn1",
                                      "r2.",    "r99999999999999999999999.n1",
                                      "Best",   "n99999999999999999999",
                                      "r-1.n1", "r2.r2.n1"};
    struct fixture *f = *state;
    int64_t run, place;
    bool found;

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        MUST(f, query_resolve(f->store, good[i].text, &run, &place, &found, &f->err));
        assert_true(found);
        assert_int_equal(run, good[i].run);
        assert_int_equal(place, good[i].place);
    }
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        MUST(f, query_resolve(f->store, unknown[i], &run, &place, &found, &f->err));
        assert_false(found);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (query_resolve(f->store, bad[i], &run, &place, &found, &f->err)) {
            fail_msg("'%s' was taken for a name", bad[i]);
        }
        assert_int_equal(f->err.kind, ERR_USER);
        assert_non_null(strstr(f->err.hint, "n147"));
    }
}

static void builds_come_with_code_only_where_it_was_kept(void **state)
{
    struct fixture *f = *state;
    struct hash code_key = fixture_hash("image", 102);
    struct build_facts *builds;
    int64_t count;

    MUST(f, query_builds(f->store, f->arena, 2, 3, &builds, &count, &f->err));
    assert_int_equal(count, 1);
    assert_string_equal(builds[0].arch, "sm_90a");
    assert_string_equal(builds[0].log, "ptxas info: 61 registers\n");
    assert_int_equal(builds[0].cubin_bytes, 6);
    assert_memory_equal(builds[0].cubin, "\177ELF\0\1", 6);
    assert_int_equal(builds[0].ptx_bytes, 12);
    assert_int_equal(builds[0].entry_count, 1);
    assert_string_equal(builds[0].entries[0].name, "kernel");
    assert_int_equal(builds[0].entries[0].spill_load_bytes, 16);
    MUST(f, query_builds(f->store, f->arena, 2, 2, &builds, &count, &f->err));
    assert_int_equal(count, 1);
    assert_null(builds[0].cubin);
    begin(f);
    MUST(f, store_build_keep(f->store, &code_key, "PTX", 3, "CUBIN", 5, &f->err));
    commit(f);
    MUST(f, query_builds(f->store, f->arena, 2, 2, &builds, &count, &f->err));
    assert_int_equal(builds[0].cubin_bytes, 5);
    /* The alias was not compiled; what it is an alias of was. */
    MUST(f, query_builds(f->store, f->arena, 2, 8, &builds, &count, &f->err));
    assert_int_equal(count, 1);
    assert_string_equal(builds[0].entries[0].name, "kernel");
    MUST(f, query_builds(f->store, f->arena, 2, 9, &builds, &count, &f->err));
    assert_int_equal(count, 0);
}

/* A source that does not compile has a build too: its log is what one wants to see. */
static void a_failed_build_shows_its_log(void **state)
{
    struct fixture *f = *state;
    struct built built = {.verdict = VERDICT_NO_COMPILE,
                          .reason = "syntax",
                          .compile_ms = 3,
                          .log = "n9.cu(3): error: expected a ';'",
                          .warnings = ""};
    struct build_row build = {.run = 2,
                              .place = 9,
                              .arch = "sm_90a",
                              .built = &built,
                              .source_hash = fixture_hash("source", 9)};
    struct build_facts *builds;
    int64_t count;

    begin(f);
    MUST(f, store_build_insert(f->store, &build, &f->err));
    commit(f);
    MUST(f, query_builds(f->store, f->arena, 2, 9, &builds, &count, &f->err));
    assert_int_equal(count, 1);
    assert_true(hash_is_zero(&builds[0].code_key));
    assert_non_null(strstr(builds[0].log, "expected a ';'"));
    assert_int_equal(builds[0].entry_count, 0);
}

static void cases_and_metrics_come_back_as_measured(void **state)
{
    struct fixture *f = *state;
    struct kernel_row kernel;
    struct case_result *cases;
    struct metric_value *metrics;
    int64_t count;
    bool found;

    MUST(f, query_kernel(f->store, f->arena, 2, 0, &kernel, &found, &f->err));
    MUST(f, query_cases(f->store, f->arena, kernel.candidate.judgement, &cases, &count, &f->err));
    assert_int_equal(count, 6);
    assert_int_equal(cases[5].verdict, VERDICT_WRONG);
    assert_true(cases[0].seed == UINT64_MAX - 7);
    assert_true(isnan(cases[0].frobenius)); /* not measured is not zero */
    assert_int_equal(cases[0].worst[2], 511);
    assert_true(cases[0].error_max == 1e-4);
    MUST(f,
         query_metrics(f->store, f->arena, kernel.candidate.judgement, &metrics, &count, &f->err));
    assert_int_equal(count, 2);
    assert_int_equal(metrics[0].problem, -1);
    assert_true(isnan(metrics[0].value));
    assert_string_equal(metrics[0].reason, "nvml is not there");
    assert_true(metrics[1].value == 20480);
}

/* As many as were said of places that passed, whenever they come; said twice is said once. */
static void counters_come_later_and_to_the_judgement_of_their_place(void **state)
{
    struct fixture *f = *state;
    struct judge_result *result = arena_alloc(f->arena, sizeof *result);
    struct kernel_row kernel;
    struct metric_value *metrics;
    int64_t before, count;
    bool found;

    for (int i = 0; i < 3; i++) {
        result->counted[i].id = i < 2 ? 1 : 0; /* which did not pass */
        result->counted[i].metric = METRIC_HW_TENSOR;
        result->counted[i].value = 70 + i;
        result->counted[i].reason = "";
    }
    result->counted_count = 3;
    MUST(f, query_kernel(f->store, f->arena, 2, 1, &kernel, &found, &f->err));
    MUST(f,
         query_metrics(f->store, f->arena, kernel.candidate.judgement, &metrics, &before, &f->err));
    begin(f);
    MUST(f, store_counted_insert(f->store, 2, result, &f->err));
    commit(f);
    MUST(f,
         query_metrics(f->store, f->arena, kernel.candidate.judgement, &metrics, &count, &f->err));
    assert_int_equal(count, before + 1);
    for (int64_t i = 0; i < count; i++) {
        assert_true(strcmp(metrics[i].name, "hw_tensor") != 0 ||
                    (metrics[i].problem == 0 && metrics[i].value == 70));
    }
}

static void lineage_lists_each_ancestor_once_founders_first(void **state)
{
    struct fixture *f = *state;
    struct candidate_row *rows;
    int64_t count;

    MUST(f, query_lineage(f->store, f->arena, 2, 5, &rows, &count, &f->err));
    assert_int_equal(count, 6);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(rows[i].place, i);
    }
    assert_string_equal(rows[0].operator_name, "founder");
    MUST(f, query_lineage(f->store, f->arena, 2, 6, &rows, &count, &f->err));
    assert_int_equal(count, 1); /* a founder descends from nobody */
    MUST(f, query_lineage(f->store, f->arena, 2, 99, &rows, &count, &f->err));
    assert_int_equal(count, 0);
}

static void events_are_the_newest_oldest_first(void **state)
{
    struct fixture *f = *state;
    struct event_row *rows;
    int64_t count;

    MUST(f, query_events(f->store, f->arena, 2, 2, &rows, &count, &f->err));
    assert_int_equal(count, 2);
    assert_string_equal(rows[0].kind, "worker");
    assert_string_equal(rows[1].text, "asked to");
}

/* ---- what anyone may ask with sqlite3, while the daemon holds the database ---- */

static void views_answer_people(void **state)
{
    struct fixture *f = *state;

    begin(f);
    assert_string_equal(
        view(f, "SELECT run, numerics, id, family, round(time_us, 1), "
                "low_us < time_us AND time_us < high_us, round(tflops, 1), gain, device, "
                "operator FROM best_kernel"),
        "2|fp32|n3|attention_wmma|56.6|1|35.4|2.0|NVIDIA H200|crossover\n"
        "2|fp16|n5|attention_wmma|28.3|1|70.7|4.0|NVIDIA H200|jump\n");
    assert_string_equal(view(f, "SELECT numerics, rank, id FROM leaderboard WHERE run = 2 "
                                "ORDER BY numerics DESC, rank"),
                        "fp32|1|n3\nfp32|2|n7\nfp32|3|n6\nfp32|4|n2\nfp32|5|n1\nfp16|1|n5\n");
    assert_string_equal(view(f, "SELECT ancestor, depth, operator, parents, verdict, "
                                "round(time_us, 1), round(gain, 2) FROM lineage WHERE place = 3"),
                        "n0|0|founder|-|wrong|-|-\n"
                        "n1|0|founder|-|pass|113.1|-\n"
                        "n2|2|step|n1 n0|pass|84.9|1.33\n"
                        "n3|3|crossover|n2 n1|pass|56.6|1.5\n");
    assert_string_equal(view(f, "SELECT count(*) FROM lineage WHERE run = 2 AND id = 'n9'"),
                        "10\n");
    /* An ancestor is looked up by its place, never searched for: that took minutes at 10^5. */
    assert_non_null(
        strstr(view(f, "EXPLAIN QUERY PLAN SELECT * FROM lineage WHERE place = 3"),
               "SEARCH c USING INDEX sqlite_autoindex_candidate_1 (run=? AND place=?)"));
    store_rollback(f->store);
}

/* A place below the one that holds the rank arrives later with the same program: it takes over. */
static void the_lowest_place_holds_the_rank(void **state)
{
    struct fixture *f = *state;
    struct candidate_row late = fixture_candidate(f, 11, "step");
    struct candidate_row early = fixture_candidate(f, 10, "step");
    int64_t judgement;

    begin(f);
    fixture_propose(f, &early);
    fixture_propose(f, &late);
    judgement = fixture_judge(f, &late, 200, 5, VERDICT_PASS, 50);
    fixture_finish(f, &late, 200, judgement, VERDICT_PASS);
    assert_string_equal(view(f, "SELECT id FROM best_kernel WHERE numerics = 'fp32'"), "n3\n");
    commit(f);
    assert_string_equal(view(f, "SELECT id FROM best_kernel WHERE numerics = 'fp32'"), "n11\n");
    begin(f);
    fixture_finish(f, &early, 200, judgement, VERDICT_PASS);
    commit(f);
    assert_string_equal(view(f, "SELECT id FROM best_kernel WHERE numerics = 'fp32'"), "n10\n");
    assert_string_equal(view(f, "SELECT count(*) FROM leaderboard WHERE run = 2"), "7\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(status_counts_and_names_the_best, setup, teardown),
        cmocka_unit_test(status_of_an_empty_database_finds_no_run),
        cmocka_unit_test_setup_teardown(best_ranks_each_class_for_itself_and_each_program_once,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(best_of_a_shape_ranks_by_that_shape, setup, teardown),
        cmocka_unit_test_setup_teardown(a_kernel_brings_its_facts, setup, teardown),
        cmocka_unit_test_setup_teardown(names_are_resolved_or_told, setup, teardown),
        cmocka_unit_test_setup_teardown(builds_come_with_code_only_where_it_was_kept, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_failed_build_shows_its_log, setup, teardown),
        cmocka_unit_test_setup_teardown(cases_and_metrics_come_back_as_measured, setup, teardown),
        cmocka_unit_test_setup_teardown(counters_come_later_and_to_the_judgement_of_their_place,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(lineage_lists_each_ancestor_once_founders_first, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(events_are_the_newest_oldest_first, setup, teardown),
        cmocka_unit_test_setup_teardown(views_answer_people, setup, teardown),
        cmocka_unit_test_setup_teardown(the_lowest_place_holds_the_rank, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
