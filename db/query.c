#include "db/query.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "db/store_private.h"

enum { RATE_WINDOW = 100, NUMERICS_CLASSES = 2 };

/* A growing array in an arena: doubled by copying, the old one stays until the arena goes. */
static void *rows_room(struct arena *arena, void *rows, int64_t count, size_t size)
{
    size_t used = (size_t)count;
    void *more;

    if ((used & (used - 1)) != 0) {
        return rows; /* room is the power of two at or above count */
    }
    more = arena_alloc(arena, (used == 0 ? 1 : 2 * used) * size);
    return used == 0 ? more : memcpy(more, rows, used * size);
}

/* ---- status ---- */

static bool read_tally(struct store *store, int64_t run, struct status_row *row, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_TALLY_LIST);
    bool more, ok;

    sql_bind_i64(s, ":run", run);
    while ((ok = sql_row(store, s, &more, err)) && more) {
        const char *name = (const char *)sqlite3_column_text(s, 0);
        int64_t count = sql_i64(s, 1);
        enum verdict verdict;

        row->proposed += count;
        row->aliases += sql_i64(s, 2);
        if (name != NULL && verdict_parse(name, &verdict) && verdict != VERDICT_NONE) {
            row->by_verdict[verdict] += count;
            row->finished += count;
        } else {
            row->by_verdict[VERDICT_NONE] += count; /* queued */
        }
    }
    row->passed = row->by_verdict[VERDICT_PASS];
    return ok;
}

static bool read_rate(struct store *store, int64_t run, struct status_row *row, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_STATUS_RATE);
    bool more;

    sql_bind_i64(s, ":run", run);
    sql_bind_i64(s, ":finished", row->finished);
    sql_bind_i64(s, ":count", RATE_WINDOW);
    if (!sql_row(store, s, &more, err)) {
        return false;
    }
    if (more) {
        int64_t ms = sql_i64(s, 1);

        row->recent_finished = sql_i64(s, 0);
        row->recent_ms = ms > 0 ? ms : 0; /* wall clocks may be set back */
        sql_end(s);
    }
    return true;
}

/* The best of a run: of the strictest class of numerics that has one. */
static bool read_best(struct store *store, struct arena *arena, int64_t run,
                      struct candidate_row *best, int64_t *evaluation, bool *found, struct err *err)
{
    *found = false;
    for (int numerics = 0; numerics < NUMERICS_CLASSES && !*found; numerics++) {
        sqlite3_stmt *s = sql_statement(store, STATEMENT_BEST_LIST);

        sql_bind_i64(s, ":run", run);
        sql_bind_i64(s, ":numerics", numerics);
        sql_bind_i64(s, ":count", 1);
        if (!sql_row(store, s, found, err)) {
            return false;
        }
        if (*found) {
            sql_candidate(s, arena, best);
            *evaluation = sql_i64(s, CANDIDATE_EVALUATION);
        }
        sql_end(s);
    }
    return true;
}

static bool read_founder(struct store *store, struct arena *arena, int64_t run,
                         struct candidate_row *founder, bool *found, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_FOUNDER_GET);

    sql_bind_i64(s, ":run", run);
    if (!sql_row(store, s, found, err)) {
        return false;
    }
    if (*found) {
        sql_candidate(s, arena, founder);
        sql_end(s);
    }
    return true;
}

static bool read_device(struct store *store, struct arena *arena, int64_t judgement,
                        struct status_row *row, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_STATUS_DEVICE);
    bool more;

    row->device = row->run.device;
    row->backend = "";
    sql_bind_i64(s, ":run", row->run.id);
    sql_bind_i64(s, ":judgement", judgement);
    if (!sql_row(store, s, &more, err)) {
        return false;
    }
    if (more) {
        row->device = sql_text(s, 0, arena);
        row->backend = sql_text(s, 1, arena);
        sql_end(s);
    }
    return true;
}

/* Of the candidate whose judgement this is. */
static bool read_promotion(struct store *store, struct arena *arena, int64_t judgement,
                           struct promotion_facts *facts, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_KERNEL_PROMOTION);
    bool more;

    *facts = (struct promotion_facts){.quarantine = ""};
    sql_bind_i64(s, ":judgement", judgement);
    if (!sql_row(store, s, &more, err)) {
        return false;
    }
    if (more) {
        facts->searched = sql_i64(s, 0);
        facts->tried = sql_i64(s, 1);
        facts->quarantine = sql_text(s, 2, arena);
        facts->score = (struct score){sql_f64(s, 3, 0), sql_f64(s, 4, 0), sql_f64(s, 5, 0)};
        sql_end(s);
    }
    return true;
}

static bool read_status(struct store *store, struct arena *arena, int64_t run,
                        struct status_row *row, bool *found, struct err *err)
{
    struct candidate_row best = {.judgement = 0}, founder;
    bool has_best, has_founder, ok;

    *row = (struct status_row){.best_place = -1, .best_family = "", .best_genes = ""};
    ok = sql_run_get(store, arena, run, &row->run, found, err);
    if (!ok || !*found) {
        return ok;
    }
    run = row->run.id;
    if (!read_tally(store, run, row, err) || !read_rate(store, run, row, err) ||
        !read_best(store, arena, run, &best, &row->best_evaluation, &has_best, err) ||
        !read_founder(store, arena, run, &founder, &has_founder, err) ||
        !read_device(store, arena, best.judgement, row, err) ||
        !read_promotion(store, arena, best.judgement, &row->promotion, err)) {
        return false;
    }
    if (has_best) {
        row->best_place = best.place;
        row->best_family = best.family;
        row->best_genes = best.genes;
        row->best = best.score;
        row->best_finished_at = best.finished_at;
    }
    if (has_founder) {
        row->founder = founder.score;
    }
    return true;
}

bool query_status(struct store *store, struct arena *arena, int64_t run, struct status_row *row,
                  bool *found, struct err *err)
{
    bool began, ok;

    if (!sql_read_begin(store, &began, err)) {
        return false;
    }
    ok = read_status(store, arena, run, row, found, err);
    sql_read_end(store, began);
    return ok;
}

/* ---- kernels ---- */

static bool read_kernel_problems(struct store *store, struct arena *arena, struct kernel_row *row,
                                 struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_KERNEL_PROBLEMS);
    bool more, ok;

    sql_bind_i64(s, ":run", row->candidate.run);
    sql_bind_i64(s, ":judgement", row->candidate.judgement);
    while ((ok = sql_row(store, s, &more, err)) && more && row->problem_count < JOB_PROBLEMS_MAX) {
        int i = row->problem_count++;

        row->problems[i].problem = sql_text(s, 0, arena);
        row->problems[i].score =
            (struct score){sql_f64(s, 1, 0), sql_f64(s, 2, 0), sql_f64(s, 3, 0)};
        row->problems[i].graph_us = sql_f64(s, 4, NAN);
        row->problems[i].quick = sql_i64(s, 5) != 0;
        row->problems[i].at_mhz = sql_f64(s, 6, NAN);
    }
    sql_end(s);
    return ok;
}

static bool read_kernel_device(struct store *store, struct arena *arena, struct kernel_row *row,
                               struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_KERNEL_DEVICE);
    bool more;

    row->device = "";
    sql_bind_i64(s, ":judgement", row->candidate.judgement);
    if (!sql_row(store, s, &more, err)) {
        return false;
    }
    if (more) {
        row->device = sql_text(s, 0, arena);
        sql_end(s);
    }
    return true;
}

static bool read_kernel_resources(struct store *store, struct kernel_row *row, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_KERNEL_RESOURCES);
    bool more;

    sql_bind_i64(s, ":run", row->candidate.run);
    sql_bind_i64(s, ":place", row->candidate.place);
    sql_bind_i64(s, ":judgement", row->candidate.judgement);
    sql_bind_text(s, ":smem_dynamic", metric_table[METRIC_SMEM_DYNAMIC_BYTES].name);
    if (!sql_row(store, s, &more, err)) {
        return false;
    }
    assert(more); /* an aggregate has one row */
    row->registers = sql_i64(s, 0);
    row->spill_bytes = sql_i64(s, 1);
    row->smem_bytes = sql_i64(s, 2);
    sql_end(s);
    return true;
}

/* The rest of a kernel whose candidate is filled in; problem -1: gain by the whole workload. */
static bool read_kernel(struct store *store, struct arena *arena, struct kernel_row *row,
                        const struct kernel_row *founder, int problem, struct err *err)
{
    if (!read_kernel_problems(store, arena, row, err) ||
        !read_kernel_device(store, arena, row, err) || !read_kernel_resources(store, row, err) ||
        !read_promotion(store, arena, row->candidate.judgement, &row->promotion, err) ||
        !query_duels(store, arena, row->candidate.judgement, &row->duels, &row->duel_count, err)) {
        return false;
    }
    if (founder != NULL) {
        double its = problem < 0 ? row->candidate.score.us : row->problems[problem].score.us;
        double first =
            problem < 0 ? founder->candidate.score.us : founder->problems[problem].score.us;

        row->gain_over_founder = its > 0 ? first / its : 0;
    }
    return true;
}

static bool read_founder_kernel(struct store *store, struct arena *arena, int64_t run,
                                struct kernel_row **founder, struct err *err)
{
    struct kernel_row *row = arena_alloc(arena, sizeof *row);
    bool found;

    *founder = NULL;
    if (!read_founder(store, arena, run, &row->candidate, &found, err)) {
        return false;
    }
    if (found) {
        *founder = row;
        return read_kernel_problems(store, arena, row, err);
    }
    return true;
}

static void fill_kernel(sqlite3_stmt *s, struct arena *arena, struct kernel_row *row)
{
    int64_t evaluation = sql_i64(s, CANDIDATE_EVALUATION);

    sql_candidate(s, arena, &row->candidate);
    row->evaluations_before = evaluation > 0 ? evaluation - 1 : 0;
}

/* The index of a shape in a run, given in any spelling; -1 for NULL. */
static bool find_problem(struct store *store, int64_t run, const char *text, int *index,
                         struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_PROBLEM_LIST);
    char canonical[PROBLEM_TEXT_MAX];
    struct buf all = {0};
    struct problem problem;
    struct err ignored;
    bool row, ok;

    *index = -1;
    if (text == NULL) {
        return true;
    }
    if (problem_parse(text, &problem, &ignored)) {
        problem_text(&problem, canonical);
        text = canonical;
    }
    sql_bind_i64(s, ":run", run);
    while ((ok = sql_row(store, s, &row, err)) && row) {
        const char *known = (const char *)sqlite3_column_text(s, 1);
        int64_t idx = sql_i64(s, 0);

        if (known != NULL && strcmp(known, text) == 0 && idx < JOB_PROBLEMS_MAX) {
            *index = (int)idx;
        }
        buf_printf(&all, " %s", known ? known : "");
    }
    if (ok && *index < 0) {
        ok = err_set(err, ERR_USER, "run %lld has no shape '%s'", (long long)run, text);
        err_hint(err, "its shapes are:%s", all.data ? all.data : "");
    }
    buf_free(&all);
    return ok;
}

static sqlite3_stmt *best_statement(struct store *store, const struct best_filter *filter,
                                    int problem)
{
    sqlite3_stmt *s = sql_statement(store, problem >= 0             ? STATEMENT_BEST_LIST_PROBLEM
                                           : filter->family != NULL ? STATEMENT_BEST_LIST_FAMILY
                                                                    : STATEMENT_BEST_LIST);

    if (problem >= 0) {
        sql_bind_i64(s, ":problem", problem);
    }
    if (problem >= 0 || filter->family != NULL) {
        sql_bind_text(s, ":family", filter->family);
    }
    sql_bind_i64(s, ":count", filter->limit > 0 ? filter->limit : -1);
    return s;
}

struct best_query {
    const struct best_filter *filter;
    int64_t run;
    int problem; /* -1: the whole workload */
    const struct kernel_row *founder;
};

/* Appends the best of one class of numerics. */
static bool read_best_class(struct store *store, struct arena *arena,
                            const struct best_query *query, int numerics, struct kernel_row **rows,
                            int64_t *count, struct err *err)
{
    sqlite3_stmt *s = best_statement(store, query->filter, query->problem);
    int64_t first = *count;
    bool more, ok;

    sql_bind_i64(s, ":run", query->run);
    sql_bind_i64(s, ":numerics", numerics);
    while ((ok = sql_row(store, s, &more, err)) && more) {
        *rows = rows_room(arena, *rows, *count, sizeof **rows);
        (*rows)[*count] = (struct kernel_row){.problem_count = 0};
        fill_kernel(s, arena, &(*rows)[(*count)++]);
    }
    for (int64_t i = first; ok && i < *count; i++) {
        ok = read_kernel(store, arena, &(*rows)[i], query->founder, query->problem, err);
    }
    return ok;
}

static bool read_best_all(struct store *store, struct arena *arena,
                          const struct best_filter *filter, struct kernel_row **rows,
                          int64_t *count, struct err *err)
{
    struct best_query query = {.filter = filter};
    struct kernel_row *founder;
    struct run_row run;
    bool found;

    *rows = NULL;
    *count = 0;
    if (!sql_run_get(store, arena, filter->run, &run, &found, err)) {
        return false;
    }
    if (!found) {
        return true;
    }
    query.run = run.id;
    if (!find_problem(store, run.id, filter->problem, &query.problem, err) ||
        !read_founder_kernel(store, arena, run.id, &founder, err)) {
        return false;
    }
    query.founder = founder;
    for (int numerics = 0; numerics < NUMERICS_CLASSES; numerics++) {
        if ((filter->numerics < 0 || filter->numerics == numerics) &&
            !read_best_class(store, arena, &query, numerics, rows, count, err)) {
            return false;
        }
    }
    return true;
}

bool query_best(struct store *store, struct arena *arena, const struct best_filter *filter,
                struct kernel_row **rows, int64_t *count, struct err *err)
{
    bool began, ok;

    if (!sql_read_begin(store, &began, err)) {
        return false;
    }
    ok = read_best_all(store, arena, filter, rows, count, err);
    sql_read_end(store, began);
    return ok;
}

static bool candidate_find(struct store *store, int64_t run, int64_t place, sqlite3_stmt **s,
                           bool *found, struct err *err)
{
    *s = sql_statement(store, STATEMENT_CANDIDATE_GET);
    sql_bind_i64(*s, ":run", run);
    sql_bind_i64(*s, ":place", place);
    return sql_row(store, *s, found, err);
}

static bool read_one_kernel(struct store *store, struct arena *arena, int64_t run, int64_t place,
                            struct kernel_row *row, bool *found, struct err *err)
{
    struct kernel_row *founder;
    sqlite3_stmt *s;

    *row = (struct kernel_row){.problem_count = 0};
    if (!candidate_find(store, run, place, &s, found, err)) {
        return false;
    }
    if (!*found) {
        return true;
    }
    fill_kernel(s, arena, row);
    sql_end(s);
    return read_founder_kernel(store, arena, run, &founder, err) &&
           read_kernel(store, arena, row, founder, -1, err);
}

bool query_kernel(struct store *store, struct arena *arena, int64_t run, int64_t place,
                  struct kernel_row *row, bool *found, struct err *err)
{
    bool began, ok;

    if (!sql_read_begin(store, &began, err)) {
        return false;
    }
    ok = read_one_kernel(store, arena, run, place, row, found, err);
    sql_read_end(store, began);
    return ok;
}

/* ---- names of candidates ---- */

/* "147", "n147", "r2.n147"; *run stays 0 when it is not named. */
static bool name_parse(const char *text, int64_t *run, int64_t *place, struct err *err)
{
    const char *dot = strchr(text, '.'), *number = dot != NULL ? dot + 1 : text;
    char run_text[24];
    bool ok = true;

    *run = 0;
    if (dot != NULL) {
        size_t length = (size_t)(dot - text);

        ok = text[0] == 'r' && length - 1 < sizeof run_text;
        if (ok) {
            memcpy(run_text, text + 1, length - 1);
            run_text[length - 1] = '\0';
            ok = str_to_i64(run_text, run) && *run > 0;
        }
    }
    number += *number == 'n';
    if (!ok || !str_to_i64(number, place) || *place < 0) {
        err_set(err, ERR_USER, "'%.80s' names no candidate", text);
        return err_hint(err, "names look like n147, r2.n147 (of run 2) or best");
    }
    return true;
}

static bool resolve_best(struct store *store, int64_t run, int64_t *place, bool *found,
                         struct err *err)
{
    struct arena *arena = arena_new();
    struct candidate_row best;
    int64_t evaluation;
    bool ok = read_best(store, arena, run, &best, &evaluation, found, err);

    if (ok && *found) {
        *place = best.place;
    }
    arena_free(arena);
    return ok;
}

static bool resolve(struct store *store, const char *text, int64_t *run, int64_t *place,
                    bool *found, struct err *err)
{
    struct arena *arena;
    struct run_row row;
    sqlite3_stmt *s;
    bool best = strcmp(text, "best") == 0, ok;

    *found = false;
    *run = 0;
    if (!best && !name_parse(text, run, place, err)) {
        return false;
    }
    arena = arena_new();
    ok = sql_run_get(store, arena, *run, &row, found, err);
    if (ok && *found) {
        *run = row.id;
        ok = best ? resolve_best(store, *run, place, found, err)
                  : candidate_find(store, *run, *place, &s, found, err);
        if (!best) {
            sql_end(s);
        }
    }
    arena_free(arena);
    return ok;
}

bool query_resolve(struct store *store, const char *text, int64_t *run, int64_t *place, bool *found,
                   struct err *err)
{
    bool began, ok;

    if (!sql_read_begin(store, &began, err)) {
        return false;
    }
    ok = resolve(store, text, run, place, found, err);
    sql_read_end(store, began);
    return ok;
}

/* ---- the evidence of one candidate ---- */

static bool read_entries(struct store *store, struct arena *arena, struct build_facts *build,
                         struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_ENTRY_LIST);
    bool more, ok;

    sql_bind_hash(s, ":code_key", &build->code_key);
    while ((ok = sql_row(store, s, &more, err)) && more && build->entry_count < JOB_ENTRIES_MAX) {
        build->entries[build->entry_count++] = (struct entry_facts){
            .name = sql_text(s, 0, arena),
            .registers = sql_i64(s, 1),
            .static_smem_bytes = sql_i64(s, 2),
            .stack_bytes = sql_i64(s, 3),
            .spill_store_bytes = sql_i64(s, 4),
            .spill_load_bytes = sql_i64(s, 5),
            .barriers = sql_i64(s, 6),
            .param_bytes = sql_i64(s, 7),
            .code_bytes = sql_i64(s, 8),
            .max_threads = sql_i64(s, 9),
        };
    }
    sql_end(s);
    return ok;
}

static const char *read_bytes(sqlite3_stmt *s, int column, struct arena *arena, size_t *size)
{
    const void *bytes = sqlite3_column_blob(s, column);

    *size = bytes == NULL ? 0 : (size_t)sqlite3_column_bytes(s, column);
    return bytes == NULL ? NULL : arena_text(arena, bytes, *size);
}

static bool read_builds(struct store *store, struct arena *arena, int64_t run, int64_t place,
                        struct build_facts **builds, int64_t *count, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_BUILD_LIST);
    bool more, ok;

    *builds = NULL;
    *count = 0;
    sql_bind_i64(s, ":run", run);
    sql_bind_i64(s, ":place", place);
    while ((ok = sql_row(store, s, &more, err)) && more) {
        struct build_facts *build;

        *builds = rows_room(arena, *builds, *count, sizeof **builds);
        build = &(*builds)[(*count)++];
        *build = (struct build_facts){
            .image = (int)sql_i64(s, 0),
            .source_hash = sql_hash(s, 1),
            .code_key = sql_hash(s, 2),
            .arch = sql_text(s, 3, arena),
            .log = sql_text(s, 4, arena),
            .warnings = sql_text(s, 5, arena),
            .compile_ms = sql_f64(s, 6, NAN),
        };
        build->ptx = read_bytes(s, 7, arena, &build->ptx_bytes);
        build->cubin = read_bytes(s, 8, arena, &build->cubin_bytes);
    }
    for (int64_t i = 0; ok && i < *count; i++) {
        ok = read_entries(store, arena, &(*builds)[i], err);
    }
    return ok;
}

bool query_builds(struct store *store, struct arena *arena, int64_t run, int64_t place,
                  struct build_facts **builds, int64_t *count, struct err *err)
{
    bool began, ok;

    if (!sql_read_begin(store, &began, err)) {
        return false;
    }
    ok = read_builds(store, arena, run, place, builds, count, err);
    sql_read_end(store, began);
    return ok;
}

bool query_cases(struct store *store, struct arena *arena, int64_t judgement,
                 struct case_result **cases, int64_t *count, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_CASE_LIST);
    bool more, ok;

    *cases = NULL;
    *count = 0;
    sql_bind_i64(s, ":judgement", judgement);
    while ((ok = sql_row(store, s, &more, err)) && more) {
        enum rung rung;

        if (!rung_parse(sql_text(s, 1, arena), &rung)) {
            sql_end(s);
            return err_set(err, ERR_SYSTEM, "judgement %lld: there is no rung '%s'",
                           (long long)judgement, sql_text(s, 1, arena));
        }
        *cases = rows_room(arena, *cases, *count, sizeof **cases);
        (*cases)[(*count)++] = (struct case_result){
            .problem = (int)sql_i64(s, 0),
            .rung = rung,
            .family = sql_text(s, 2, arena),
            .seed = (uint64_t)sql_i64(s, 3),
            .verdict = sql_verdict(s, 4),
            .error_max = sql_f64(s, 5, NAN),
            .error_allowed = sql_f64(s, 6, NAN),
            .frobenius = sql_f64(s, 7, NAN),
            .frobenius_allowed = sql_f64(s, 8, NAN),
            .rows_checked = sql_i64(s, 9),
            .rows_total = sql_i64(s, 10),
            .worst = {sql_i64(s, 11), sql_i64(s, 12), sql_i64(s, 13), sql_i64(s, 14)},
            .expected = sql_f64(s, 15, NAN),
            .got = sql_f64(s, 16, NAN),
            .reason = sql_text(s, 17, arena),
            .shape = sql_text(s, 18, arena),
        };
    }
    return ok;
}

bool query_metrics(struct store *store, struct arena *arena, int64_t judgement,
                   struct metric_value **metrics, int64_t *count, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_METRIC_LIST);
    bool more, ok;

    *metrics = NULL;
    *count = 0;
    sql_bind_i64(s, ":judgement", judgement);
    while ((ok = sql_row(store, s, &more, err)) && more) {
        *metrics = rows_room(arena, *metrics, *count, sizeof **metrics);
        (*metrics)[(*count)++] = (struct metric_value){
            .problem = (int)sql_i64(s, 0),
            .name = sql_text(s, 1, arena),
            .reason = sql_text(s, 2, arena),
            .value = sql_f64(s, 3, NAN),
        };
    }
    return ok;
}

/* ---- duels with libraries ---- */

static struct duel_score read_duel_score(sqlite3_stmt *s, int column)
{
    return (struct duel_score){
        .us = {sql_f64(s, column, NAN), sql_f64(s, column + 1, NAN)},
        .speedup = {sql_f64(s, column + 2, NAN), sql_f64(s, column + 3, NAN),
                    sql_f64(s, column + 4, NAN)},
    };
}

bool query_duels(struct store *store, struct arena *arena, int64_t judgement,
                 struct duel_row **rows, int64_t *count, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_DUEL_LIST);
    bool more, ok;

    *rows = NULL;
    *count = 0;
    sql_bind_i64(s, ":judgement", judgement);
    while ((ok = sql_row(store, s, &more, err)) && more) {
        *rows = rows_room(arena, *rows, *count, sizeof **rows);
        (*rows)[(*count)++] = (struct duel_row){
            .judgement = judgement,
            .problem = (int)sql_i64(s, 0),
            .rival = sql_text(s, 1, arena),
            .plan = sql_text(s, 2, arena),
            .reason = sql_text(s, 3, arena),
            .graph = read_duel_score(s, 4),
            .span = read_duel_score(s, 9),
            .sm_clock_mhz = sql_f64(s, 14, NAN),
            .power_w = sql_f64(s, 15, NAN),
            .power_limited = sql_i64(s, 16) != 0,
            .device_ms = sql_f64(s, 17, 0),
            .measured_at = sql_i64(s, 18),
        };
    }
    return ok;
}

const struct duel_row *rivalry_on(const struct duel_row *rows, int64_t count, int problem)
{
    const struct duel_row *hardest = NULL;

    for (int64_t i = 0; i < count; i++) {
        if (rows[i].problem == problem && *rows[i].reason == '\0' &&
            (hardest == NULL || rows[i].graph.speedup.value < hardest->graph.speedup.value)) {
            hardest = &rows[i];
        }
    }
    return hardest;
}

struct rivalry_facts rivalry_of(const struct duel_row *rows, int64_t count)
{
    struct estimate each[JOB_TIMED_MAX];
    struct rivalry_facts all = {.timed = 0};

    for (int problem = 0; problem < JOB_TIMED_MAX; problem++) {
        const struct duel_row *hardest = rivalry_on(rows, count, problem);

        if (hardest != NULL) {
            each[all.timed++] = hardest->graph.speedup;
            if (all.worst == NULL ||
                hardest->graph.speedup.value < all.worst->graph.speedup.value) {
                all.worst = hardest;
            }
        }
    }
    if (all.timed > 0) {
        all.mean = stats_combine(each, all.timed);
    }
    return all;
}

/* ---- the audit of genes ---- */

bool query_audit(struct store *store, struct arena *arena, int64_t run, struct audit_row **rows,
                 int64_t *count, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_AUDIT_LIST);
    bool more, ok;

    *rows = NULL;
    *count = 0;
    sql_bind_i64(s, ":run", run);
    while ((ok = sql_row(store, s, &more, err)) && more) {
        *rows = rows_room(arena, *rows, *count, sizeof **rows);
        (*rows)[(*count)++] =
            (struct audit_row){sql_text(s, 0, arena), sql_text(s, 1, arena),
                               sql_text(s, 2, arena), sql_text(s, 3, arena), sql_i64(s, 4)};
    }
    return ok;
}

/* ---- lineage and events ---- */

static bool read_candidates(struct store *store, struct arena *arena, sqlite3_stmt *s,
                            struct candidate_row **rows, int64_t *count, struct err *err)
{
    bool more, ok;

    *rows = NULL;
    *count = 0;
    while ((ok = sql_row(store, s, &more, err)) && more) {
        *rows = rows_room(arena, *rows, *count, sizeof **rows);
        sql_candidate(s, arena, &(*rows)[(*count)++]);
    }
    return ok;
}

bool query_lineage(struct store *store, struct arena *arena, int64_t run, int64_t place,
                   struct candidate_row **rows, int64_t *count, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_LINEAGE_LIST);

    sql_bind_i64(s, ":run", run);
    sql_bind_i64(s, ":place", place);
    return read_candidates(store, arena, s, rows, count, err);
}

bool query_descent(struct store *store, struct arena *arena, int64_t run, int64_t place,
                   int64_t limit, struct candidate_row **rows, int64_t *count, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_DESCENT_LIST);

    sql_bind_i64(s, ":run", run);
    sql_bind_i64(s, ":place", place);
    sql_bind_i64(s, ":count", limit);
    return read_candidates(store, arena, s, rows, count, err);
}

bool query_events(struct store *store, struct arena *arena, int64_t run, int64_t limit,
                  struct event_row **rows, int64_t *count, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_EVENT_LIST);
    bool more, ok;

    *rows = NULL;
    *count = 0;
    sql_bind_i64(s, ":run", run);
    sql_bind_i64(s, ":count", limit);
    while ((ok = sql_row(store, s, &more, err)) && more) {
        *rows = rows_room(arena, *rows, *count, sizeof **rows);
        (*rows)[(*count)++] = (struct event_row){
            .at = sql_i64(s, 0),
            .kind = sql_text(s, 1, arena),
            .text = sql_text(s, 2, arena),
        };
    }
    return ok;
}

/* Parents in order of place, read beside the candidates. */
struct parents_read {
    sqlite3_stmt *statement;
    bool more;
    int64_t place; /* of the row that is next */
};

static bool parents_next(struct store *store, struct parents_read *read, struct err *err)
{
    bool ok = sql_row(store, read->statement, &read->more, err);

    read->place = ok && read->more ? sql_i64(read->statement, 0) : -1;
    return ok;
}

static bool parents_take(struct store *store, struct parents_read *read, int64_t place,
                         int64_t parents[2], struct err *err)
{
    parents[0] = parents[1] = -1;
    while (read->more && read->place <= place) {
        if (read->place == place) {
            parents[sql_i64(read->statement, 1) == 1] = sql_i64(read->statement, 2);
        }
        if (!parents_next(store, read, err)) {
            return false;
        }
    }
    return true;
}

static void story_fill(sqlite3_stmt *s, struct arena *texts, struct story_row *row)
{
    *row = (struct story_row){
        .place = sql_i64(s, 0),
        .evaluation = sql_i64(s, 1),
        .finished_at = sql_i64(s, 2),
        .created_at = sql_i64(s, 3),
        .alias_of = sql_is_null(s, 4) ? -1 : sql_i64(s, 4),
        .family = sql_text(s, 5, texts),
        .operator_name = sql_text(s, 6, texts),
        .island = (int)sql_i64(s, 7),
        .numerics = (int)sql_i64(s, 8),
        .verdict = sql_verdict(s, 9),
        .rendered = sql_i64(s, 10) != 0,
        .built = sql_i64(s, 11) != 0,
        .score = {sql_f64(s, 12, 0), sql_f64(s, 13, 0), sql_f64(s, 14, 0)},
        .genes = sql_text(s, 15, texts),
    };
}

static bool read_story(struct store *store, sqlite3_stmt *s, struct parents_read *parents,
                       story_visit *visit, void *context, int64_t *count, struct err *err)
{
    struct arena *texts = arena_new();
    bool more, ok = parents_next(store, parents, err);

    while (ok && (ok = sql_row(store, s, &more, err)) && more) {
        struct story_row row;

        story_fill(s, texts, &row);
        ok = parents_take(store, parents, row.place, row.parents, err);
        if (ok) {
            visit(context, &row);
            (*count)++;
        }
        arena_reset(texts);
    }
    arena_free(texts);
    return ok;
}

bool query_story(struct store *store, int64_t run, int64_t after, int64_t limit,
                 story_visit *visit, void *context, int64_t *count, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_STORY_LIST);
    struct parents_read parents = {.statement = sql_statement(store, STATEMENT_STORY_PARENTS)};
    bool began, ok;

    *count = 0;
    if (!sql_read_begin(store, &began, err)) {
        return false;
    }
    sql_bind_i64(s, ":run", run);
    sql_bind_i64(s, ":after", after);
    sql_bind_i64(s, ":count", limit);
    sql_bind_i64(parents.statement, ":run", run);
    sql_bind_i64(parents.statement, ":after", after);
    ok = read_story(store, s, &parents, visit, context, count, err);
    sql_end(s);
    sql_end(parents.statement);
    sql_read_end(store, began);
    return ok;
}

bool query_in_flight(struct store *store, struct arena *arena, int64_t run,
                     struct in_flight_row **rows, int64_t *count, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_IN_FLIGHT_LIST);
    bool more, ok;

    *rows = NULL;
    *count = 0;
    sql_bind_i64(s, ":run", run);
    while ((ok = sql_row(store, s, &more, err)) && more) {
        *rows = rows_room(arena, *rows, *count, sizeof **rows);
        (*rows)[(*count)++] = (struct in_flight_row){
            .place = sql_i64(s, 0),
            .role = sql_text(s, 1, arena),
            .worker = sql_text(s, 2, arena),
            .begun_at = sql_i64(s, 3),
        };
    }
    return ok;
}

bool query_device_state(struct store *store, int64_t run, struct device_state *state,
                        struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_DEVICE_STATE);
    struct arena *texts = arena_new();
    bool more, ok;

    *state = (struct device_state){NAN, NAN, NAN, NAN};
    sql_bind_i64(s, ":run", run);
    while ((ok = sql_row(store, s, &more, err)) && more) {
        const char *name = sql_text(s, 0, texts);
        double *to = strcmp(name, "sm_clock_mhz") == 0    ? &state->sm_clock_mhz
                     : strcmp(name, "power_w") == 0       ? &state->power_w
                     : strcmp(name, "temperature_c") == 0 ? &state->temperature_c
                                                          : &state->throttle_reasons;

        *to = sql_f64(s, 1, NAN);
    }
    arena_free(texts);
    return ok;
}

bool query_device_strip(struct store *store, int64_t run, int64_t count, strip_visit *visit,
                        void *context, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_DEVICE_STRIP);
    int64_t candidates;
    bool more, ok;

    if (!store_candidate_count(store, run, &candidates, err)) {
        return false;
    }
    sql_bind_i64(s, ":run", run);
    sql_bind_i64(s, ":step", candidates / count + 1);
    sql_bind_i64(s, ":end", candidates);
    while ((ok = sql_row(store, s, &more, err)) && more) {
        visit(context, &(struct strip_row){.at = sql_i64(s, 0),
                                           .state = {sql_f64(s, 1, NAN), sql_f64(s, 2, NAN),
                                                     sql_f64(s, 3, NAN), sql_f64(s, 4, NAN)}});
    }
    return ok;
}
