/* store: rounds are whole, evidence is kept, invariants hold, bad files and full disks are told. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/str.h"
#include "db/queries.h"
#include "store_fixture.h"

/* ---- looking at the file as a person with sqlite3 does ---- */

static int raw_exec(const char *path, const char *text, char *message, size_t size)
{
    sqlite3 *db;
    char *error = NULL;
    int code = sqlite3_open(path, &db);

    assert_int_equal(code, SQLITE_OK);
    sqlite3_exec(db, "PRAGMA foreign_keys = ON", NULL, NULL, NULL);
    code = sqlite3_exec(db, text, NULL, NULL, &error);
    if (message != NULL) {
        snprintf(message, size, "%s", error ? error : "");
    }
    sqlite3_free(error);
    sqlite3_close(db);
    return code;
}

/* The first column of the first row; "(none)" when there is no row. */
static const char *raw_ask(const char *path, const char *text)
{
    static char answer[512];
    sqlite3 *db;
    sqlite3_stmt *s;

    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    if (sqlite3_prepare_v2(db, text, -1, &s, NULL) != SQLITE_OK) {
        fail_msg("%s: %s", text, sqlite3_errmsg(db));
    }
    if (sqlite3_step(s) == SQLITE_ROW) {
        const char *value = (const char *)sqlite3_column_text(s, 0);
        snprintf(answer, sizeof answer, "%s", value ? value : "NULL");
    } else {
        snprintf(answer, sizeof answer, "(none)");
    }
    sqlite3_finalize(s);
    sqlite3_close(db);
    return answer;
}

static int setup(void **state)
{
    struct fixture *f = malloc(sizeof *f);

    fixture_open(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture_close(*state);
    free(*state);
    return 0;
}

static void begin(struct fixture *f) { MUST(f, store_begin(f->store, &f->err)); }
static void commit(struct fixture *f) { MUST(f, store_commit(f->store, &f->err)); }

static void reopen(struct fixture *f)
{
    store_close(f->store);
    MUST(f, store_open(f->path, STORE_CREATE, &f->store, &f->err));
}

/* ---- opening ---- */

static void the_schema_has_its_settings(void **state)
{
    struct fixture *f = *state;
    char version[16];

    snprintf(version, sizeof version, "%d", SCHEMA_VERSION);
    assert_string_equal(raw_ask(f->path, "PRAGMA user_version"), version);
    assert_string_equal(raw_ask(f->path, "PRAGMA application_id"), "1702260529");
    assert_string_equal(raw_ask(f->path, "PRAGMA journal_mode"), "wal");
    assert_string_equal(raw_ask(f->path, "PRAGMA integrity_check"), "ok");
    /* Every table is strict: text in a number's column is refused, not kept. */
    assert_string_equal(raw_ask(f->path, "SELECT count(*) FROM pragma_table_list "
                                         "WHERE schema = 'main' AND type = 'table' "
                                         "AND name NOT LIKE 'sqlite_%' AND NOT strict"),
                        "0");
}

static void a_missing_database_is_told_with_what_to_do(void **state)
{
    struct fixture *f = *state;
    struct store *store;

    assert_false(store_open("/nowhere/evo.db", STORE_READ, &store, &f->err));
    assert_null(store);
    assert_int_equal(f->err.kind, ERR_USER);
    assert_string_equal(f->err.what, "there is no database '/nowhere/evo.db'");
    assert_non_null(strstr(f->err.hint, "evo start --seed"));
    assert_false(store_open("/nowhere/evo.db", STORE_CREATE, &store, &f->err));
    assert_int_equal(f->err.kind, ERR_SYSTEM);
    assert_non_null(strstr(f->err.what, "No such file or directory"));
}

static void write_file(const char *path, const char *text, size_t size)
{
    struct err err;

    assert_true(file_write(path, text, size, FILE_WHOLE, &err));
}

static void a_file_that_is_no_database_is_refused_and_left_alone(void **state)
{
    struct fixture *f = *state;
    char path[128], text[4096];
    struct buf after = {0};
    struct store *store;

    memset(text, 'x', sizeof text);
    snprintf(path, sizeof path, "%s/notes", f->folder);
    for (int mode = STORE_CREATE; mode <= STORE_READ; mode++) {
        write_file(path, text, sizeof text);
        assert_false(store_open(path, (enum store_mode)mode, &store, &f->err));
        assert_int_equal(f->err.kind, ERR_USER);
        assert_non_null(strstr(f->err.what, "is not a database"));
        buf_clear(&after);
        assert_true(file_read(path, 1 << 20, &after, &f->err));
        assert_int_equal(after.length, sizeof text);
        assert_memory_equal(after.data, text, sizeof text);
    }
    buf_free(&after);
    unlink(path);
}

static void another_programs_database_is_refused_and_left_alone(void **state)
{
    struct fixture *f = *state;
    char path[128];
    struct store *store;

    snprintf(path, sizeof path, "%s/other.db", f->folder);
    assert_int_equal(raw_exec(path, "CREATE TABLE bookmark (url)", NULL, 0), SQLITE_OK);
    assert_false(store_open(path, STORE_CREATE, &store, &f->err));
    assert_non_null(strstr(f->err.what, "not one of evo's"));
    assert_string_equal(raw_ask(path, "PRAGMA journal_mode"), "delete");
    assert_false(store_open(path, STORE_READ, &store, &f->err));
    assert_non_null(strstr(f->err.what, "not one of evo's"));
    unlink(path);
}

static void an_empty_file_is_filled_or_told(void **state)
{
    struct fixture *f = *state;
    char path[128];
    struct store *store;

    snprintf(path, sizeof path, "%s/empty", f->folder);
    write_file(path, "", 0);
    assert_false(store_open(path, STORE_READ, &store, &f->err));
    assert_int_equal(f->err.kind, ERR_USER);
    assert_non_null(strstr(f->err.what, "is empty"));
    assert_true(store_open(path, STORE_CREATE, &store, &f->err));
    store_close(store);
    assert_true(store_open(path, STORE_READ, &store, &f->err));
    store_close(store);
    unlink(path);
    snprintf(path, sizeof path, "%s/empty-wal", f->folder); /* a reader may not remove them */
    unlink(path);
    snprintf(path, sizeof path, "%s/empty-shm", f->folder);
    unlink(path);
}

static void a_newer_database_is_refused_naming_both_versions(void **state)
{
    struct fixture *f = *state;
    char text[64], known[64];

    store_close(f->store);
    f->store = NULL;
    snprintf(text, sizeof text, "PRAGMA user_version = %d", SCHEMA_VERSION + 6);
    assert_int_equal(raw_exec(f->path, text, NULL, 0), SQLITE_OK);
    for (int mode = STORE_CREATE; mode <= STORE_READ; mode++) {
        assert_false(store_open(f->path, (enum store_mode)mode, &f->store, &f->err));
        assert_int_equal(f->err.kind, ERR_USER);
        snprintf(text, sizeof text, "schema version %d,", SCHEMA_VERSION + 6);
        snprintf(known, sizeof known, "knows none above version %d", SCHEMA_VERSION);
        assert_non_null(strstr(f->err.what, text));
        assert_non_null(strstr(f->err.what, known));
    }
}

static void a_damaged_database_is_an_error_and_no_crash(void **state)
{
    struct fixture *f = *state;
    struct buf file = {0};
    struct store *store;
    struct run_row run;
    bool found;

    begin(f);
    fixture_run(f);
    commit(f);
    store_close(f->store);
    f->store = NULL;
    assert_true(file_read(f->path, 1 << 24, &file, &f->err));
    for (size_t at = 100; at < file.length; at += 1009) {
        char was = file.data[at];

        file.data[at] = (char)(was ^ 0x5a);
        write_file(f->path, file.data, file.length);
        file.data[at] = was;
        if (store_open(f->path, STORE_READ, &store, &f->err)) {
            (void)store_run_latest(store, f->arena, &run, &found, &f->err);
            store_close(store);
        } else {
            assert_true(f->err.what[0] != '\0');
        }
    }
    buf_free(&file);
}

/* ---- rounds ---- */

static int64_t count_candidates(struct fixture *f)
{
    char text[128];

    snprintf(text, sizeof text, "SELECT count(*) FROM candidate");
    return strtoll(raw_ask(f->path, text), NULL, 10);
}

static void a_round_happened_or_it_did_not(void **state)
{
    struct fixture *f = *state;
    struct candidate_row row;

    begin(f);
    fixture_run(f);
    commit(f);
    row = fixture_candidate(f, 0, "founder");
    begin(f);
    fixture_propose(f, &row);
    assert_int_equal(count_candidates(f), 0); /* a reader sees what is committed */
    store_rollback(f->store);
    store_rollback(f->store); /* twice is fine */
    assert_int_equal(count_candidates(f), 0);
    begin(f);
    fixture_propose(f, &row);
    reopen(f); /* closing in a round is a rollback */
    assert_int_equal(count_candidates(f), 0);
    begin(f);
    fixture_propose(f, &row);
    commit(f);
    reopen(f);
    assert_int_equal(count_candidates(f), 1);
}

static void a_second_writer_is_told_that_it_is_locked_out(void **state)
{
    struct fixture *f = *state;
    struct store *second;

    begin(f);
    assert_true(store_open(f->path, STORE_CREATE, &second, &f->err));
    assert_false(store_begin(second, &f->err));
    assert_non_null(strstr(f->err.what, "locked by another program"));
    assert_false(store_is_full(second));
    store_close(second);
    commit(f);
}

/* A limit on the size of files stands for a full disk: the same write fails in the same place. */
static void a_full_disk_loses_nothing_and_goes_on_when_there_is_room(void **state)
{
    struct fixture *f = *state;
    struct rlimit was, small;
    struct candidate_row row;
    int64_t before, place = 0;
    bool ok = true;

    begin(f);
    fixture_run(f);
    fixture_place(f, place++, "founder", 0, 100, VERDICT_PASS);
    commit(f);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    small = was;
    small.rlim_cur = 600 * 1024;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    while (ok && place < 10000) {
        before = place;
        begin(f);
        for (int i = 0; ok && i < 4; i++) {
            row = fixture_candidate(f, place++, "step");
            ok = store_candidate_insert(f->store, &row, &f->err);
        }
        ok = ok && store_commit(f->store, &f->err);
    }
    assert_false(ok);
    assert_true(store_is_full(f->store));
    assert_int_equal(f->err.kind, ERR_SYSTEM);
    assert_non_null(strstr(f->err.what, "no space left"));
    store_rollback(f->store);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    assert_int_equal(count_candidates(f), before); /* all rounds before, nothing of the last */
    place = before;
    begin(f);
    row = fixture_candidate(f, place, "step");
    fixture_propose(f, &row);
    commit(f);
    assert_int_equal(count_candidates(f), before + 1);
    assert_string_equal(raw_ask(f->path, "PRAGMA integrity_check"), "ok");
}

static void a_round_too_large_for_the_disk_is_given_up_whole(void **state)
{
    struct fixture *f = *state;
    struct rlimit was, small;
    struct err err;
    char *text = malloc(8 << 20);
    bool ok;

    memset(text, 'x', 8 << 20);
    begin(f);
    fixture_run(f);
    commit(f);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &was);
    small = was;
    small.rlim_cur = 2 << 20;
    setrlimit(RLIMIT_FSIZE, &small);
    begin(f);
    /* Larger than the page cache: it spills, and the failure comes before the commit. */
    ok = store_template_insert(f->store, f->run, "a", "a.cu", text, 8 << 20, &f->err);
    assert_false(ok);
    assert_true(store_is_full(f->store));
    /* Whatever is still asked of that round fails: it cannot half happen. */
    ok = store_event(f->store, f->run, 1, "disk", "after", &err) && store_commit(f->store, &err);
    store_rollback(f->store);
    setrlimit(RLIMIT_FSIZE, &was);
    assert_false(ok && strcmp(raw_ask(f->path, "SELECT count(*) FROM template"), "0") != 0);
    assert_string_equal(raw_ask(f->path, "SELECT count(*) FROM template"), "0");
    begin(f);
    assert_true(store_template_insert(f->store, f->run, "a", "a.cu", text, 8 << 20, &f->err));
    commit(f);
    free(text);
}

/* ---- what goes in comes out ---- */

static void a_run_comes_back_as_it_was(void **state)
{
    struct fixture *f = *state;
    struct run_row run;
    bool found;

    MUST(f, store_run_latest(f->store, f->arena, &run, &found, &f->err));
    assert_false(found);
    begin(f);
    fixture_run(f);
    commit(f);
    reopen(f);
    MUST(f, store_run_latest(f->store, f->arena, &run, &found, &f->err));
    assert_true(found);
    assert_int_equal(run.id, f->run);
    assert_string_equal(run.name, "phase4");
    assert_string_equal(run.device, "NVIDIA H200");
    assert_string_equal(run.boot_id, "boot");
    assert_true(run.rng_seed == UINT64_MAX && run.secret == UINT64_MAX - 1);
    assert_int_equal(run.state, RUN_OPEN);
    run.state = RUN_FINISHED;
    run.ended_because = "its budget of 2000 evaluations is spent";
    run.budget_evaluations = 3000;
    run.elapsed_ms = 12345;
    run.device_ms = 678.5;
    run.device_spec = "replay:x";
    run.device = "replay";
    run.boot_id = "another";
    run.device_sms = 114;
    begin(f);
    MUST(f, store_run_update(f->store, &run, &f->err));
    commit(f);
    run = (struct run_row){0};
    MUST(f, store_run_latest(f->store, f->arena, &run, &found, &f->err));
    assert_int_equal(run.state, RUN_FINISHED);
    assert_string_equal(run.ended_because, "its budget of 2000 evaluations is spent");
    assert_string_equal(run.device_spec, "replay:x");
    assert_string_equal(run.device, "replay");
    assert_string_equal(run.boot_id, "another");
    assert_int_equal(run.device_sms, 114);
    assert_int_equal(run.device_arch, 90);
    assert_int_equal(run.device_smem_max, 232448);
    assert_int_equal(run.budget_evaluations, 3000);
    assert_int_equal(run.elapsed_ms, 12345);
    assert_true(run.device_ms == 678.5);
    assert_string_equal(raw_ask(f->path, "SELECT round(flops) FROM run"), "2000000000.0");
}

static void ceilings_come_back_with_the_run_that_had_them(void **state)
{
    struct fixture *f = *state;
    struct ceilings ceilings, got;
    bool found;

    begin(f);
    fixture_run(f);
    MUST(f, store_ceilings(f->store, f->run, &got, &found, &f->err));
    assert_false(found);
    ceilings_clear(&ceilings);
    ceilings.sms = 132;
    ceilings.clock_mhz = 1980;
    ceilings.value[CEILING_L2] = 9876;
    ceilings.per_clock[CEILING_L2] = 37.8;
    ceilings.value[CEILING_LAUNCH] = 0.74; /* nothing a clock */
    MUST(f, store_ceilings_insert(f->store, f->run, &ceilings, &f->err));
    commit(f);
    MUST(f, store_ceilings(f->store, f->run, &got, &found, &f->err));
    assert_true(found && got.sms == 132 && got.clock_mhz == 1980);
    for (int i = 0; i < CEILINGS; i++) {
        assert_memory_equal(&got.value[i], &ceilings.value[i], sizeof got.value[i]);
        assert_memory_equal(&got.per_clock[i], &ceilings.per_clock[i], sizeof got.per_clock[i]);
    }
    MUST(f, store_ceilings(f->store, f->run + 1, &got, &found, &f->err));
    assert_false(found);
}

struct seen_lessons {
    int count;
    struct lesson_row rows[8];
    char genes[8][32];
};

static void see_lesson(void *context, const struct lesson_row *row)
{
    struct seen_lessons *seen = context;

    seen->rows[seen->count] = *row;
    snprintf(seen->genes[seen->count++], sizeof seen->genes[0], "%s", row->genes);
}

static void lessons_come_back_in_order_to_the_run_that_was_taught(void **state)
{
    struct fixture *f = *state;
    struct seen_lessons seen = {.count = 0};
    struct lesson_row rows[2] = {{.family = "b", .genes = "X=1", .numerics = 1, .us = 2.5},
                                 {.family = "a", .genes = "Y=2", .numerics = 0, .us = 1}};
    int64_t sources[3], first;
    int count;

    begin(f);
    fixture_run(f);
    first = f->run;
    fixture_run(f);
    rows[0].source = rows[1].source = first;
    for (int i = 0; i < 2; i++) {
        MUST(f, store_lesson_insert(f->store, f->run, &rows[i], &f->err));
    }
    commit(f);
    MUST(f, store_lessons_each(f->store, f->run, see_lesson, &seen, &f->err));
    assert_int_equal(seen.count, 2);
    for (int i = 0; i < 2; i++) {
        assert_string_equal(seen.genes[i], rows[i].genes);
        assert_int_equal(seen.rows[i].source, first);
        assert_int_equal(seen.rows[i].numerics, rows[i].numerics);
        assert_true(seen.rows[i].us == rows[i].us);
    }
    MUST(f, store_lessons_each(f->store, first, see_lesson, &seen, &f->err));
    assert_int_equal(seen.count, 2);
    MUST(f, store_lesson_sources(f->store, f->run, sources, 3, &count, &f->err));
    assert_int_equal(count, 0); /* nothing passed in the first run */
}

struct seen_template {
    int count;
    char text[64];
};

static void see_template(void *context, const char *name, const char *path, const char *text,
                         size_t length)
{
    struct seen_template *seen = context;

    assert_string_equal(name, seen->count == 0 ? "attention_scalar" : "attention_tiled");
    assert_non_null(strstr(path, name));
    assert_true(length < sizeof seen->text);
    memcpy(seen->text, text, length);
    seen->text[length] = '\0';
    seen->count++;
}

static void templates_come_back_with_their_text(void **state)
{
    struct fixture *f = *state;
    struct seen_template seen = {0};

    begin(f);
    fixture_run(f);
    MUST(f, store_template_insert(f->store, f->run, "attention_tiled", "t/attention_tiled.cu",
                                  "// \xc3\xa9 tiles, and more", 14, &f->err));
    MUST(f, store_template_insert(f->store, f->run, "attention_scalar", "t/attention_scalar.cu", "",
                                  0, &f->err));
    commit(f);
    MUST(f, store_templates_each(f->store, f->run, see_template, &seen, &f->err));
    assert_int_equal(seen.count, 2);
    assert_string_equal(seen.text, "// \xc3\xa9 tiles, a");
}

static void an_environment_is_the_same_until_what_matters_changes(void **state)
{
    struct fixture *f = *state;
    struct hello hello = {.role = ROLE_JUDGE,
                          .backend = "cuda",
                          .version = "gate 1",
                          .device = "NVIDIA H200",
                          .device_id = "GPU-1",
                          .device_arch = 90};
    int64_t first, again, other;

    begin(f);
    MUST(f, store_environment(f->store, &hello, &first, &f->err));
    MUST(f, store_environment(f->store, &hello, &again, &f->err));
    hello.version = "gate 2";
    MUST(f, store_environment(f->store, &hello, &other, &f->err));
    commit(f);
    assert_int_equal(first, again);
    assert_int_not_equal(first, other);
}

struct seen_rows {
    struct candidate_row rows[8];
    struct arena *arena;
    int count, stop_at;
};

static bool see_candidate(void *context, const struct candidate_row *row, struct err *err)
{
    struct seen_rows *seen = context;

    if (seen->count == seen->stop_at) {
        return err_set(err, ERR_SYSTEM, "enough");
    }
    seen->rows[seen->count] = *row;
    seen->rows[seen->count].genes = arena_dup(seen->arena, row->genes);
    seen->rows[seen->count].operator_name = arena_dup(seen->arena, row->operator_name);
    seen->rows[seen->count].reason = arena_dup(seen->arena, row->reason);
    seen->count++;
    return true;
}

static void candidates_come_back_in_order_with_parents_and_scores(void **state)
{
    struct fixture *f = *state;
    struct seen_rows seen = {.arena = f->arena, .stop_at = 8};
    struct candidate_row row;
    int64_t judgement;

    begin(f);
    fixture_run(f);
    judgement = fixture_place(f, 0, "founder", 0, 100, VERDICT_PASS);
    fixture_place(f, 1, "step", 1, 50, VERDICT_WRONG);
    row = fixture_candidate(f, 2, "crossover");
    row.bound_us = 140.5;
    row.island = 3;
    row.alias_of = 0;
    fixture_propose(f, &row);
    fixture_finish(f, &row, 0, judgement, VERDICT_PASS);
    row = fixture_candidate(f, 3, "immigrant");
    row.parent_count = 0;
    fixture_propose(f, &row);
    commit(f);
    reopen(f);
    MUST(f, store_candidates_each(f->store, f->run, see_candidate, &seen, &f->err));
    assert_int_equal(seen.count, 4);
    for (int i = 0; i < 4; i++) {
        struct hash genome = fixture_hash("genome", i);

        assert_int_equal(seen.rows[i].place, i);
        assert_true(hash_equal(&seen.rows[i].genome_hash, &genome));
    }
    assert_string_equal(seen.rows[0].operator_name, "founder");
    assert_int_equal(seen.rows[0].verdict, VERDICT_PASS);
    assert_true(fabs(seen.rows[0].score.us - 100 * sqrt(2)) < 0.1);
    assert_true(seen.rows[0].score.low < seen.rows[0].score.us);
    assert_true(seen.rows[0].device_ms == 40);
    assert_int_equal(seen.rows[0].alias_of, -1);
    assert_int_equal(seen.rows[1].verdict, VERDICT_WRONG);
    assert_string_equal(seen.rows[1].reason, "because");
    assert_true(seen.rows[1].score.us == 0);
    assert_int_equal(seen.rows[1].parent_count, 1);
    assert_int_equal(seen.rows[2].alias_of, 0);
    assert_int_equal(seen.rows[2].island, 3);
    assert_true(seen.rows[2].bound_us == 140.5);
    assert_int_equal(seen.rows[2].judgement, judgement);
    assert_true(seen.rows[2].score.us == seen.rows[0].score.us);
    assert_int_equal(seen.rows[2].parent_count, 2);
    assert_int_equal(seen.rows[2].parents[0], 1);
    assert_int_equal(seen.rows[2].parents[1], 0);
    assert_int_equal(seen.rows[3].state, CANDIDATE_QUEUED);
    assert_int_equal(seen.rows[3].verdict, VERDICT_NONE);
    assert_true(hash_is_zero(&seen.rows[3].code_key));
    /* A reader that has had enough stops the reading with its own error. */
    seen.count = 0;
    seen.stop_at = 2;
    assert_false(store_candidates_each(f->store, f->run, see_candidate, &seen, &f->err));
    assert_string_equal(f->err.what, "enough");
}

static void a_candidate_finishes_once(void **state)
{
    struct fixture *f = *state;
    struct candidate_row row;

    begin(f);
    fixture_run(f);
    fixture_place(f, 0, "founder", 0, 100, VERDICT_PASS);
    row = fixture_candidate(f, 0, "founder");
    row.verdict = VERDICT_CRASH;
    assert_false(store_candidate_finish(f->store, &row, &f->err));
    assert_non_null(strstr(f->err.what, "'n0' of run 1 is not queued"));
    row.place = 77;
    assert_false(store_candidate_finish(f->store, &row, &f->err));
    store_rollback(f->store);
}

static void every_verdict_has_its_place_in_the_schema(void **state)
{
    struct fixture *f = *state;
    char text[96], count[16];

    begin(f);
    fixture_run(f);
    for (int v = VERDICT_PASS; v < VERDICT_COUNT; v++) {
        fixture_place(f, v - 1, "step", 0, 100 + v, (enum verdict)v);
    }
    commit(f);
    for (int v = VERDICT_PASS; v < VERDICT_COUNT; v++) {
        snprintf(text, sizeof text, "SELECT candidates FROM tally WHERE verdict = '%s'",
                 verdict_names[v]);
        assert_string_equal(raw_ask(f->path, text), "1");
    }
    assert_string_equal(raw_ask(f->path, "SELECT candidates FROM tally WHERE verdict = 'queued'"),
                        "0");
    snprintf(count, sizeof count, "%d", VERDICT_COUNT - 1);
    assert_string_equal(raw_ask(f->path, "SELECT max(evaluation) FROM candidate"), count);
}

static void attempts_left_open_are_closed_at_a_start_and_counted(void **state)
{
    struct fixture *f = *state;
    struct candidate_row row;
    int64_t id, count;

    begin(f);
    fixture_run(f);
    row = fixture_candidate(f, 0, "founder");
    fixture_propose(f, &row);
    MUST(f, store_attempt_begin(f->store, f->run, 0, ROLE_JUDGE, "cuda:0", 5, &id, &f->err));
    MUST(f, store_attempt_end(f->store, id, 6, "died", &f->err));
    assert_false(store_attempt_end(f->store, id, 7, "died", &f->err)); /* once */
    MUST(f, store_attempt_begin(f->store, f->run, 0, ROLE_JUDGE, "cuda:0", 8, &id, &f->err));
    commit(f);
    reopen(f);
    begin(f);
    MUST(f, store_attempts_close(f->store, f->run, 9, "lost", &f->err));
    MUST(f, store_attempts_count(f->store, f->run, 0, "lost", &count, &f->err));
    assert_int_equal(count, 1);
    MUST(f, store_attempts_count(f->store, f->run, 0, "died", &count, &f->err));
    assert_int_equal(count, 1);
    MUST(f, store_attempts_count(f->store, f->run, 0, "abandoned", &count, &f->err));
    assert_int_equal(count, 0);
    MUST(f, store_attempts_close(f->store, f->run, 10, "abandoned", &f->err));
    MUST(f, store_attempts_count(f->store, f->run, 0, "lost", &count, &f->err));
    assert_int_equal(count, 1); /* what is closed stays as it is */
    commit(f);
}

static void a_known_judgement_is_found_by_its_key(void **state)
{
    struct fixture *f = *state;
    struct judgement_key key;
    struct judgement_row row;
    int64_t judgement;
    bool found;

    begin(f);
    fixture_run(f);
    judgement = fixture_place(f, 0, "founder", 0, 100, VERDICT_PASS);
    commit(f);
    key = fixture_key(f, 0);
    MUST(f, store_judgement_find(f->store, &key, f->arena, &row, &found, &f->err));
    assert_true(found);
    assert_int_equal(row.id, judgement);
    assert_int_equal(row.verdict, VERDICT_PASS);
    assert_true(row.score.us > 0);
    key.gate_version = 2;
    MUST(f, store_judgement_find(f->store, &key, f->arena, &row, &found, &f->err));
    assert_false(found);
}

/* ---- promotions ---- */

/* The second judgement of a program, as the engine records it; place -1: nobody is finished by it. */
static int64_t promote(struct fixture *f, int64_t searched, struct candidate_row *row, double us,
                       enum verdict verdict)
{
    const struct judge_result *result = fixture_result(us, verdict, 50);
    struct judgement_row judgement = {.key = fixture_key(f, row->place), .run = row->run,
                                      .place = row->place, .verdict = verdict,
                                      .reason = verdict == VERDICT_PASS ? "" : "it was luck"};
    struct promotion_row promotion = {.searched = searched, .tried = row->place + 1,
                                      .quarantine = ""};
    struct score scores[2];

    judgement.key.workload = fixture_hash("held out", searched);
    for (int i = 0; i < result->timing_count; i++) {
        assert_true(score_of_timing(&result->timings[i], &scores[i]));
    }
    if (result->timing_count == 2) {
        judgement.score = score_combine(scores, 2);
    }
    MUST(f, store_attempt_begin(f->store, row->run, row->place, ROLE_JUDGE, "cuda:0", 5,
                                &promotion.attempt, &f->err));
    MUST(f, store_promotion_insert(f->store, &judgement, &promotion, result, scores, &f->err));
    return judgement.id;
}

/* A place that is promoted before it is settled. Returns the second judgement. */
static int64_t promoted_place(struct fixture *f, int64_t place, double us, double second_us,
                              enum verdict verdict)
{
    struct candidate_row row = fixture_candidate(f, place, place == 0 ? "founder" : "step");
    int64_t first, second;

    fixture_propose(f, &row);
    first = fixture_judge(f, &row, place, us, VERDICT_PASS, 50);
    second = promote(f, first, &row, second_us, verdict);
    fixture_finish(f, &row, place, second, verdict);
    return second;
}

static void the_best_is_who_was_crowned_not_who_was_lucky(void **state)
{
    struct fixture *f = *state;
    struct candidate_row best;
    int64_t rescored;
    bool found;

    begin(f);
    fixture_run(f);
    MUST(f, store_champion(f->store, f->arena, f->run, 0, &best, &found, &f->err));
    assert_false(found);
    promoted_place(f, 0, 100, 101, VERDICT_PASS);
    MUST(f, store_crown(f->store, f->run, 0, &f->err));
    promoted_place(f, 1, 80, 82, VERDICT_PASS);
    MUST(f, store_crown(f->store, f->run, 1, &f->err));
    fixture_place(f, 2, "step", 0, 81.9, VERDICT_PASS); /* not enough to be promoted */
    fixture_place(f, 3, "step", 1, 10, VERDICT_PASS);   /* of another class */
    commit(f);
    MUST(f, store_champion(f->store, f->arena, f->run, 0, &best, &found, &f->err));
    assert_true(found);
    assert_int_equal(best.place, 1);
    assert_true(fabs(best.score.us - 82 * sqrt(2)) < 0.1);
    MUST(f, store_champion(f->store, f->arena, f->run, 1, &best, &found, &f->err));
    assert_false(found);
    assert_string_equal(raw_ask(f->path, "SELECT group_concat(id) FROM (SELECT id FROM leaderboard "
                                         "WHERE numerics = 'fp32' ORDER BY rank)"),
                        "n1,n2,n0");
    assert_string_equal(raw_ask(f->path, "SELECT id || ' ' || promoted || ' ' || tried || ' ' || "
                                         "(searched_us < time_us) FROM best_kernel "
                                         "WHERE numerics = 'fp32'"),
                        "n1 1 2 1");
    assert_string_equal(raw_ask(f->path, "SELECT promoted || ifnull(searched_us, '-') FROM "
                                         "leaderboard WHERE id = 'n2'"),
                        "0-");
    /* Scores made again leave the crown where it is. */
    raw_exec(f->path, "DROP TRIGGER score_stays; DROP TRIGGER score_is_final;"
                      "UPDATE score SET version = 0", NULL, 0);
    begin(f);
    MUST(f, store_rescore(f->store, &rescored, &f->err));
    commit(f);
    assert_int_equal(rescored, 6);
    assert_string_equal(raw_ask(f->path, "SELECT id FROM best_kernel WHERE numerics = 'fp32'"),
                        "n1");
}

static void a_refuted_program_has_no_rank_in_any_run(void **state)
{
    struct fixture *f = *state;
    struct candidate_row row, later;
    struct judgement_row second;
    int64_t first, judgement;
    bool found;

    begin(f);
    fixture_run(f);
    first = fixture_place(f, 0, "founder", 0, 50, VERDICT_PASS); /* ranks by the first judgement */
    row = fixture_candidate(f, 1, "step");
    fixture_propose(f, &row);
    MUST(f, store_promotion_find(f->store, first, f->arena, &second, &found, &f->err));
    assert_false(found);
    judgement = promote(f, first, &row, 50, VERDICT_RACY);
    MUST(f, store_promotion_find(f->store, first, f->arena, &second, &found, &f->err));
    assert_true(found);
    assert_int_equal(second.id, judgement);
    assert_int_equal(second.verdict, VERDICT_RACY);
    assert_string_equal(second.reason, "it was luck");
    assert_true(second.score.us == 0);
    later = row;
    fixture_finish(f, &later, 0, judgement, VERDICT_RACY);
    commit(f);
    assert_string_equal(raw_ask(f->path, "SELECT count(*) FROM leaderboard"), "0");
    assert_string_equal(raw_ask(f->path, "SELECT verdict || ' ' || ifnull(time_us, 'none') FROM "
                                         "promotions"),
                        "racy none");
    assert_string_equal(raw_ask(f->path, "SELECT ifnull(us, 'none') FROM candidate_detail "
                                         "WHERE place = 1"),
                        "none");
}

static void a_time_below_the_floor_is_found(void **state)
{
    struct fixture *f = *state;
    struct floor_row floor;
    int64_t judgement;
    char text[160];

    begin(f);
    fixture_run(f);
    judgement = fixture_place(f, 0, "founder", 0, 100, VERDICT_PASS);
    commit(f);
    for (int below = 0; below < 2; below++) {
        snprintf(text, sizeof text, "INSERT INTO metric VALUES (%lld, %d, 'floor_us', %d, '')",
                 (long long)judgement, below, below ? 300 : 99);
        assert_int_equal(raw_exec(f->path, text, NULL, 0), SQLITE_OK);
        MUST(f, store_judgement_floor(f->store, judgement, f->arena, &floor, &f->err));
        assert_int_equal(floor.shape != NULL, below);
    }
    assert_string_equal(floor.shape, FIXTURE_PROBLEM_B);
    assert_true(floor.floor_us == 300 && fabs(floor.us - 200) < 1);
}

/* ---- invariants, tried as someone with sqlite3 would ---- */

static void the_schema_refuses_what_must_not_be(void **state)
{
    static const struct {
        const char *text, *why;
    } tries[] = {
        {"INSERT INTO score (judgement, problem, version, us, low, high) VALUES (2, -1, 1, 5, 4, "
         "6)",
         "FOREIGN KEY"}, /* judgement 2 is wrong: no score without a pass */
        {"INSERT INTO score VALUES (2, -1, 1, 'wrong', 5, 4, 6)", "verdict = 'pass'"},
        {"INSERT INTO score (judgement, problem, version, us, low, high) VALUES (1, 7, 1, 0, 0, 0)",
         "us > 0"},
        {"UPDATE score SET us = 1", "never changed"},
        {"DELETE FROM score", "never deleted"},
        {"UPDATE judgement SET verdict = 'pass' WHERE id = 2", "never changed"},
        {"UPDATE candidate SET verdict = 'pass' WHERE place = 1", "never changed"},
        {"DELETE FROM candidate", "never deleted"},
        {"DELETE FROM parent", "never deleted"},
        {"UPDATE parent SET parent = 0", "never changed"},
        {"UPDATE sample SET us = zeroblob(8)", "never changed"},
        {"UPDATE metric SET value = 1", "never changed"},
        {"UPDATE case_result SET verdict = 'pass'", "never changed"},
        {"INSERT INTO promotion VALUES (1, 1, 1, 1, '')", "searched <> judgement"},
        {"INSERT INTO promotion VALUES (1, 2, 1, 0, '')", "tried > 0"},
        {"INSERT INTO promotion VALUES (1, 2, 999, 1, '')", "FOREIGN KEY"},
        {"UPDATE standing SET best = 2", "best IN (0, 1)"},
        {"INSERT INTO sample VALUES (1, 5, 'span', zeroblob(8))", "FOREIGN KEY"},
        {"INSERT INTO parent VALUES (1, 2, 0, 2)", "parent < place"},
        {"INSERT INTO parent VALUES (1, 2, 0, 9)", "parent < place"},
        {"UPDATE candidate SET state = 'done' WHERE place = 2", "CHECK"},
        {"UPDATE candidate SET state = 'done', verdict = 'pass', finished_at = 1, evaluation = 3 "
         "WHERE place = 2",
         "judgement IS NOT NULL"},
        {"UPDATE candidate SET state = 'done', verdict = 'pass', finished_at = 1, evaluation = 3, "
         "judgement = 2 WHERE place = 2",
         "FOREIGN KEY"}, /* judged wrong, so it did not pass */
        {"UPDATE candidate SET alias_of = 2 WHERE place = 2", "alias_of < place"},
        {"UPDATE tally SET candidates = -1", "candidates >= 0"},
        {"INSERT INTO event (run, at, kind, text) VALUES (1, 'now', 'a', 'b')", "cannot store"},
        {"INSERT INTO event (run, at, kind, text) VALUES (9, 1, 'a', 'b')", "FOREIGN KEY"},
    };
    struct fixture *f = *state;
    struct candidate_row row;
    char message[512];

    begin(f);
    fixture_run(f);
    fixture_place(f, 0, "founder", 0, 100, VERDICT_PASS);
    fixture_place(f, 1, "step", 0, 100, VERDICT_WRONG);
    row = fixture_candidate(f, 2, "step");
    row.parent_count = 0;
    fixture_propose(f, &row);
    commit(f);
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        assert_int_not_equal(raw_exec(f->path, tries[i].text, message, sizeof message), SQLITE_OK);
        if (strstr(message, tries[i].why) == NULL) {
            fail_msg("%s: refused with '%s', not for '%s'", tries[i].text, message, tries[i].why);
        }
    }
}

/* ---- scores made again, samples dropped ---- */

static void samples_are_little_endian_doubles_in_the_order_taken(void **state)
{
    struct fixture *f = *state;
    double first = 100 * (1 - 3e-4);
    unsigned char bytes[8];
    char expected[17];

    begin(f);
    fixture_run(f);
    fixture_place(f, 0, "founder", 0, 100, VERDICT_PASS);
    commit(f);
    memcpy(bytes, &first, 8);
    for (int i = 0; i < 8; i++) {
        snprintf(expected + 2 * i, 3, "%02X", bytes[i]);
    }
    assert_string_equal(raw_ask(f->path, "SELECT hex(substr(us, 1, 8)) FROM sample "
                                         "WHERE problem = 0 AND clock = 'span'"),
                        expected);
    assert_string_equal(raw_ask(f->path, "SELECT length(us) FROM sample"), "400");
    assert_string_equal(raw_ask(f->path, "SELECT round(graph_us, 6) FROM timing "
                                         "WHERE problem = 0"),
                        "90.0");
}

static void scores_are_made_again_from_samples_alone(void **state)
{
    struct fixture *f = *state;
    char before[512];
    int64_t rescored;
    static const char dump[] =
        "SELECT group_concat(judgement || ' ' || problem || ' ' || us || ' ' || low || ' ' || "
        "high, "
        "'; ') FROM (SELECT * FROM score WHERE judgement < 3 ORDER BY judgement, problem)";

    begin(f);
    fixture_run(f);
    fixture_place(f, 0, "founder", 0, 100, VERDICT_PASS);
    fixture_place(f, 1, "step", 0, 70, VERDICT_PASS);
    fixture_place(f, 2, "step", 0, 70, VERDICT_WRONG);
    MUST(f, store_rescore(f->store, &rescored, &f->err));
    assert_int_equal(rescored, 0);
    commit(f);
    snprintf(before, sizeof before, "%s", raw_ask(f->path, dump));
    /* Make them scores of an older version, as after a change of the definition. */
    assert_int_equal(raw_exec(f->path,
                              "DROP TRIGGER score_is_final; DROP TRIGGER score_stays;"
                              "DELETE FROM score; DELETE FROM standing",
                              NULL, 0),
                     SQLITE_OK);
    reopen(f);
    begin(f);
    MUST(f, store_rescore(f->store, &rescored, &f->err));
    commit(f);
    assert_int_equal(rescored, 2);
    assert_string_equal(raw_ask(f->path, dump), before);
    assert_string_equal(raw_ask(f->path, "SELECT id FROM best_kernel"), "n1");
    assert_string_equal(raw_ask(f->path, "SELECT count(*) FROM standing"), "2");
}

/* The clock at which a timing is told, and those that its samples were taken at. */
static void scores_are_told_at_the_clock_that_was_kept(void **state)
{
    struct fixture *f = *state;
    struct judgement_key key;
    int64_t rescored;
    double at_mhz;

    begin(f);
    fixture_run(f);
    key = fixture_key(f, 0);
    MUST(f, store_clock(f->store, &key.workload, key.environment, 0, &at_mhz, &f->err));
    assert_true(at_mhz == 0);
    fixture_place(f, 0, "founder", 0, 100, VERDICT_WRONG);
    fixture_place(f, 1, "step", 0, 70, VERDICT_PASS);
    fixture_place(f, 2, "step", 0, 60, VERDICT_PASS);
    commit(f);
    MUST(f, store_clock(f->store, &key.workload, key.environment, 0, &at_mhz, &f->err));
    assert_true(at_mhz == 1410);
    MUST(f, store_clock(f->store, &key.workload, key.environment, 1, &at_mhz, &f->err));
    assert_true(at_mhz == 0); /* nobody saw it there */
    key.workload = fixture_hash("another", 1);
    MUST(f, store_clock(f->store, &key.workload, key.environment, 0, &at_mhz, &f->err));
    assert_true(at_mhz == 0);
    assert_int_equal(raw_exec(f->path,
                              "DROP TRIGGER score_is_final; DROP TRIGGER score_stays;"
                              "DELETE FROM score; UPDATE timing SET at_mhz = 2820 WHERE problem = 0",
                              NULL, 0),
                     SQLITE_OK);
    reopen(f);
    begin(f);
    MUST(f, store_rescore(f->store, &rescored, &f->err));
    commit(f);
    assert_int_equal(rescored, 2);
    assert_string_equal(raw_ask(f->path, "SELECT group_concat(round(us), ' ') FROM (SELECT us FROM "
                                         "score WHERE problem >= 0 ORDER BY judgement, problem)"),
                        "35.0 140.0 30.0 120.0");
}

static void thinning_drops_samples_of_old_losers_only(void **state)
{
    struct fixture *f = *state;

    begin(f);
    fixture_run(f);
    for (int place = 0; place < 10; place++) { /* the times go down from 100, then up again */
        fixture_place(f, place, place ? "step" : "founder", 0, 100 + abs(place - 4),
                      place == 2 ? VERDICT_WRONG : VERDICT_PASS);
    }
    MUST(f, store_thin(f->store, f->run, 3, &f->err));
    commit(f);
    /* Best: 4 and, of the equal 3 and 5, both. Young: 7, 8, 9. Thinned: 0, 1, 6. */
    assert_string_equal(raw_ask(f->path, "SELECT group_concat(DISTINCT c.place) FROM candidate c "
                                         "JOIN sample s USING (judgement)"),
                        "3,4,5,7,8,9");
    assert_string_equal(raw_ask(f->path, "SELECT count(*) FROM score"), "27");
    assert_string_equal(raw_ask(f->path, "SELECT count(*) FROM timing"), "18");
    assert_string_equal(raw_ask(f->path, "SELECT count(*) FROM leaderboard"), "9");
}

/* Two runs share a judgement: what one holds dear the other does not drop. */
static void thinning_spares_what_another_run_uses(void **state)
{
    struct fixture *f = *state;
    struct candidate_row row;
    int64_t first, judgement;

    begin(f);
    fixture_run(f);
    first = f->run;
    for (int place = 0; place < 6; place++) {
        judgement = fixture_place(f, place, "step", 0, 100 - place, VERDICT_PASS);
        if (place == 0) {
            fixture_run(f);
            row = fixture_candidate(f, 0, "founder");
            fixture_propose(f, &row);
            fixture_finish(f, &row, 0, judgement, VERDICT_PASS);
            f->run = first;
        }
    }
    MUST(f, store_thin(f->store, first, 2, &f->err));
    commit(f);
    assert_string_equal(raw_ask(f->path, "SELECT group_concat(DISTINCT c.place) FROM candidate c "
                                         "JOIN sample s USING (judgement) WHERE c.run = 1"),
                        "0,4,5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_schema_has_its_settings, setup, teardown),
        cmocka_unit_test_setup_teardown(a_missing_database_is_told_with_what_to_do, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_file_that_is_no_database_is_refused_and_left_alone, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(another_programs_database_is_refused_and_left_alone, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_empty_file_is_filled_or_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_newer_database_is_refused_naming_both_versions, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_damaged_database_is_an_error_and_no_crash, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_round_happened_or_it_did_not, setup, teardown),
        cmocka_unit_test_setup_teardown(a_second_writer_is_told_that_it_is_locked_out, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_loses_nothing_and_goes_on_when_there_is_room,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_round_too_large_for_the_disk_is_given_up_whole, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_run_comes_back_as_it_was, setup, teardown),
        cmocka_unit_test_setup_teardown(lessons_come_back_in_order_to_the_run_that_was_taught,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(ceilings_come_back_with_the_run_that_had_them, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(templates_come_back_with_their_text, setup, teardown),
        cmocka_unit_test_setup_teardown(an_environment_is_the_same_until_what_matters_changes,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(candidates_come_back_in_order_with_parents_and_scores,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_candidate_finishes_once, setup, teardown),
        cmocka_unit_test_setup_teardown(every_verdict_has_its_place_in_the_schema, setup, teardown),
        cmocka_unit_test_setup_teardown(attempts_left_open_are_closed_at_a_start_and_counted, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_known_judgement_is_found_by_its_key, setup, teardown),
        cmocka_unit_test_setup_teardown(the_best_is_who_was_crowned_not_who_was_lucky, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_refuted_program_has_no_rank_in_any_run, setup, teardown),
        cmocka_unit_test_setup_teardown(a_time_below_the_floor_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(the_schema_refuses_what_must_not_be, setup, teardown),
        cmocka_unit_test_setup_teardown(samples_are_little_endian_doubles_in_the_order_taken, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(scores_are_made_again_from_samples_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(scores_are_told_at_the_clock_that_was_kept, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(thinning_drops_samples_of_old_losers_only, setup, teardown),
        cmocka_unit_test_setup_teardown(thinning_spares_what_another_run_uses, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
