#include "db/store_private.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/str.h"
#include "fitness/stats.h"

static_assert(sizeof(double) == 8, "samples are stored as 64-bit doubles");

static const char *const run_state_names[] = {[RUN_OPEN] = "open", [RUN_FINISHED] = "finished"};

/* ---- rounds ---- */

bool store_begin(struct store *store, struct err *err)
{
    assert(!store->in_round && !store->read_only);
    if (!sql_run(store, sql_statement(store, STATEMENT_ROUND_BEGIN), err)) {
        return false;
    }
    store->in_round = true;
    FAULT("store.begin");
    return true;
}

bool store_commit(struct store *store, struct err *err)
{
    assert(store->in_round);
    FAULT("store.commit.before");
    if (!sql_run(store, sql_statement(store, STATEMENT_ROUND_COMMIT), err)) {
        store_rollback(store);
        return false;
    }
    store->in_round = false;
    FAULT("store.commit.after");
    return true;
}

void store_rollback(struct store *store)
{
    if (sql_round_is_open(store)) {
        sqlite3_stmt *statement = sql_statement(store, STATEMENT_ROUND_ROLLBACK);

        sqlite3_step(statement); /* undoing needs no space: what is undone is not in the file yet */
        sqlite3_reset(statement);
    }
    store->in_round = false;
}

/* ---- runs ---- */

static void bind_run_progress(sqlite3_stmt *s, const struct run_row *run)
{
    sql_bind_i64(s, ":budget_evaluations", run->budget_evaluations);
    sql_bind_i64(s, ":budget_wall_ms", run->budget_wall_ms);
    sql_bind_i64(s, ":budget_device_ms", run->budget_device_ms);
    sql_bind_text(s, ":device_spec", run->device_spec);
    sql_bind_text(s, ":device", run->device ? run->device : "");
    sql_bind_i64(s, ":device_arch", run->device_arch);
    sql_bind_i64(s, ":device_smem_max", run->device_smem_max);
    sql_bind_i64(s, ":device_sms", run->device_sms);
    sql_bind_text(s, ":boot_id", run->boot_id ? run->boot_id : "");
    sql_bind_text(s, ":state", run_state_names[run->state]);
    sql_bind_text(s, ":ended_because", run->ended_because ? run->ended_because : "");
    sql_bind_i64(s, ":elapsed_ms", run->elapsed_ms);
    sql_bind_f64(s, ":device_ms", run->device_ms);
}

bool store_run_insert(struct store *store, struct run_row *run, struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_RUN_INSERT);

    sql_bind_text(s, ":name", run->name);
    sql_bind_text(s, ":seed_path", run->seed_path);
    sql_bind_text(s, ":seed_text", run->seed_text);
    sql_bind_text(s, ":strategy", run->strategy);
    sql_bind_text(s, ":evo_version", run->evo_version);
    sql_bind_i64(s, ":rng_seed", (int64_t)run->rng_seed);
    sql_bind_i64(s, ":secret", (int64_t)run->secret);
    sql_bind_i64(s, ":created_at", run->created_at);
    bind_run_progress(s, run);
    if (!sql_run(store, s, err)) {
        return false;
    }
    run->id = sqlite3_last_insert_rowid(store->db);
    return true;
}

bool store_run_update(struct store *store, const struct run_row *run, struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_RUN_UPDATE);

    sql_bind_i64(s, ":run", run->id);
    sql_bind_i64(s, ":duplicates", run->duplicates);
    bind_run_progress(s, run);
    return sql_run(store, s, err);
}

bool sql_run_get(struct store *store, struct arena *arena, int64_t run, struct run_row *row,
                 bool *found, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_RUN_GET);
    bool ok;

    if (run != 0) {
        sql_bind_i64(s, ":run", run);
    }
    ok = sql_row(store, s, found, err);
    if (!ok || !*found) {
        return ok;
    }
    *row = (struct run_row){
        .id = sql_i64(s, 0),
        .name = sql_text(s, 1, arena),
        .seed_path = sql_text(s, 2, arena),
        .seed_text = sql_text(s, 3, arena),
        .device_spec = sql_text(s, 4, arena),
        .strategy = sql_text(s, 5, arena),
        .evo_version = sql_text(s, 6, arena),
        .rng_seed = (uint64_t)sql_i64(s, 7),
        .secret = (uint64_t)sql_i64(s, 8),
        .budget_evaluations = sql_i64(s, 9),
        .budget_wall_ms = sql_i64(s, 10),
        .budget_device_ms = sql_i64(s, 11),
        .state = strcmp(sql_text(s, 12, arena), "open") == 0 ? RUN_OPEN : RUN_FINISHED,
        .ended_because = sql_text(s, 13, arena),
        .created_at = sql_i64(s, 14),
        .elapsed_ms = sql_i64(s, 15),
        .device_ms = sql_f64(s, 16, 0),
        .device = sql_text(s, 17, arena),
        .boot_id = sql_text(s, 18, arena),
        .device_arch = sql_i64(s, 19),
        .device_smem_max = sql_i64(s, 20),
        .device_sms = sql_i64(s, 21),
        .duplicates = sql_i64(s, 22),
    };
    sql_end(s);
    return true;
}

bool store_run_latest(struct store *store, struct arena *arena, struct run_row *run, bool *found,
                      struct err *err)
{
    return sql_run_get(store, arena, 0, run, found, err);
}

/* The run's flops are the geometric mean of its problems', as its score is that of their times. */
static bool run_set_flops(struct store *store, int64_t run, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_PROBLEM_LIST);
    double sum = 0;
    int64_t count = 0;
    bool row, ok;

    sql_bind_i64(s, ":run", run);
    while ((ok = sql_row(store, s, &row, err)) && row) {
        sum += log(sql_f64(s, 2, 0));
        count++;
    }
    if (!ok) {
        return false;
    }
    s = sql_writer(store, STATEMENT_RUN_SET_FLOPS);
    sql_bind_i64(s, ":run", run);
    sql_bind_f64(s, ":flops", count > 0 ? exp(sum / (double)count) : 0);
    return sql_run(store, s, err);
}

bool store_problem_insert(struct store *store, int64_t run, int index, const char *text,
                          double flops, struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_PROBLEM_INSERT);

    assert(index >= 0 && index < JOB_PROBLEMS_MAX);
    sql_bind_i64(s, ":run", run);
    sql_bind_i64(s, ":idx", index);
    sql_bind_text(s, ":text", text);
    sql_bind_f64(s, ":flops", flops);
    return sql_run(store, s, err) && run_set_flops(store, run, err);
}

bool store_template_insert(struct store *store, int64_t run, const char *name, const char *path,
                           const char *text, size_t length, struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_TEMPLATE_INSERT);

    sql_bind_i64(s, ":run", run);
    sql_bind_text(s, ":name", name);
    sql_bind_text(s, ":path", path);
    sql_bind_text_of(s, ":text", text, length);
    return sql_run(store, s, err);
}

bool store_templates_each(struct store *store, int64_t run, store_template_fn *each, void *context,
                          struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_TEMPLATE_LIST);
    struct arena *arena = arena_new();
    bool row, ok;

    sql_bind_i64(s, ":run", run);
    while ((ok = sql_row(store, s, &row, err)) && row) {
        const char *text = sql_text(s, 2, arena);

        each(context, sql_text(s, 0, arena), sql_text(s, 1, arena), text,
             (size_t)sqlite3_column_bytes(s, 2));
        arena_reset(arena);
    }
    arena_free(arena);
    return ok;
}

/* These two stand among the ceilings. */
static const char CLOCK[] = "clock_mhz", SMS[] = "sms";

static bool ceiling_insert(struct store *store, int64_t run, const char *name, double value,
                           double per_clock, struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_CEILING_INSERT);

    sql_bind_i64(s, ":run", run);
    sql_bind_text(s, ":name", name);
    sql_bind_f64(s, ":value", value);
    sql_bind_f64(s, ":per_clock", per_clock);
    return sql_run(store, s, err);
}

bool store_ceilings_insert(struct store *store, int64_t run, const struct ceilings *ceilings,
                           struct err *err)
{
    bool ok = ceiling_insert(store, run, SMS, (double)ceilings->sms, NAN, err) &&
              (isnan(ceilings->clock_mhz) ||
               ceiling_insert(store, run, CLOCK, ceilings->clock_mhz, NAN, err));

    for (int i = 0; i < CEILINGS && ok; i++) {
        ok = isnan(ceilings->value[i]) ||
             ceiling_insert(store, run, ceiling_table[i].name, ceilings->value[i],
                            ceilings->per_clock[i], err);
    }
    return ok;
}

bool store_ceilings(struct store *store, int64_t run, struct ceilings *ceilings, bool *found,
                    struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_CEILING_LIST);
    struct arena *arena = arena_new();
    bool row, ok;

    ceilings_clear(ceilings);
    *found = false;
    sql_bind_i64(s, ":run", run);
    while ((ok = sql_row(store, s, &row, err)) && row) {
        const char *name = sql_text(s, 0, arena);
        enum ceiling ceiling = ceiling_find(name);

        *found = true;
        if (strcmp(name, CLOCK) == 0) {
            ceilings->clock_mhz = sql_f64(s, 1, NAN);
        } else if (strcmp(name, SMS) == 0) {
            ceilings->sms = (int64_t)sql_f64(s, 1, NAN);
        } else if (ceiling < CEILINGS) {
            ceilings->value[ceiling] = sql_f64(s, 1, NAN);
            ceilings->per_clock[ceiling] = sql_f64(s, 2, NAN);
        }
    }
    arena_free(arena);
    return ok;
}

bool store_judge_time_put(struct store *store, int64_t run, const struct judge_time_row *row,
                          struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_JUDGE_TIME_PUT);

    sql_bind_i64(s, ":run", run);
    sql_bind_text(s, ":what", row->what);
    sql_bind_text(s, ":part_of", row->part_of);
    sql_bind_f64(s, ":ms", row->ms);
    return sql_run(store, s, err);
}

bool store_judge_time_each(struct store *store, int64_t run, store_judge_time_fn *each,
                           void *context, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_JUDGE_TIME_LIST);
    struct arena *arena = arena_new();
    bool row, ok;

    sql_bind_i64(s, ":run", run);
    while ((ok = sql_row(store, s, &row, err)) && row) {
        struct judge_time_row found = {sql_text(s, 0, arena), sql_text(s, 1, arena),
                                       sql_f64(s, 2, 0)};

        each(context, &found);
        arena_reset(arena);
    }
    arena_free(arena);
    return ok;
}

bool store_lesson_sources(struct store *store, int64_t run, int64_t *sources, int room, int *count,
                          struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_LESSON_SOURCES);
    bool row, ok;

    *count = 0;
    sql_bind_i64(s, ":run", run);
    sql_bind_i64(s, ":count", room);
    while ((ok = sql_row(store, s, &row, err)) && row) {
        sources[(*count)++] = sql_i64(s, 0);
    }
    return ok;
}

bool store_lesson_insert(struct store *store, int64_t run, const struct lesson_row *row,
                         struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_LESSON_INSERT);

    sql_bind_i64(s, ":run", run);
    sql_bind_i64(s, ":source", row->source);
    sql_bind_text(s, ":family", row->family);
    sql_bind_text(s, ":genes", row->genes);
    sql_bind_i64(s, ":numerics", row->numerics);
    sql_bind_f64(s, ":us", row->us);
    return sql_run(store, s, err);
}

/* The rows of a statement over a run whose columns are a lesson's. */
static bool each_lesson(struct store *store, sqlite3_stmt *s, int64_t run, store_lesson_fn *each,
                        void *context, struct err *err)
{
    struct arena *arena = arena_new();
    bool row, ok;

    sql_bind_i64(s, ":run", run);
    while ((ok = sql_row(store, s, &row, err)) && row) {
        struct lesson_row found = {sql_i64(s, 0), sql_text(s, 1, arena), sql_text(s, 2, arena),
                                   (int)sql_i64(s, 3), sql_f64(s, 4, 0)};

        each(context, &found);
        arena_reset(arena);
    }
    arena_free(arena);
    return ok;
}

bool store_lessons_gather(struct store *store, int64_t source, store_lesson_fn *each,
                          void *context, struct err *err)
{
    return each_lesson(store, sql_statement(store, STATEMENT_LESSON_GATHER), source, each, context,
                       err);
}

bool store_lessons_each(struct store *store, int64_t run, store_lesson_fn *each, void *context,
                        struct err *err)
{
    return each_lesson(store, sql_statement(store, STATEMENT_LESSON_LIST), run, each, context, err);
}

bool store_audit_insert(struct store *store, int64_t run, const struct audit_row *row,
                        struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_AUDIT_INSERT);

    sql_bind_i64(s, ":run", run);
    sql_bind_text(s, ":family", row->family);
    sql_bind_text(s, ":gene", row->gene);
    sql_bind_text(s, ":state", row->state);
    sql_bind_text(s, ":by", row->by);
    sql_bind_i64(s, ":pairs", row->pairs);
    return sql_run(store, s, err);
}

bool store_audit_each(struct store *store, int64_t run, store_audit_fn *each, void *context,
                      struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_AUDIT_LIST);
    struct arena *arena = arena_new();
    bool row, ok;

    sql_bind_i64(s, ":run", run);
    while ((ok = sql_row(store, s, &row, err)) && row) {
        struct audit_row found = {sql_text(s, 0, arena), sql_text(s, 1, arena),
                                  sql_text(s, 2, arena), sql_text(s, 3, arena), sql_i64(s, 4)};

        each(context, &found);
        arena_reset(arena);
    }
    arena_free(arena);
    return ok;
}

bool store_environment(struct store *store, const struct hello *hello, int64_t *id, struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_ENVIRONMENT_INSERT);
    bool row;

    sql_bind_text(s, ":role", sql_role_names[hello->role]);
    sql_bind_text(s, ":backend", hello->backend);
    sql_bind_text(s, ":version", hello->version);
    sql_bind_text(s, ":device", hello->device);
    sql_bind_text(s, ":device_id", hello->device_id);
    sql_bind_i64(s, ":device_arch", hello->device_arch);
    sql_bind_i64(s, ":device_smem_max", hello->device_smem_max);
    sql_bind_i64(s, ":device_sms", hello->device_sms);
    sql_bind_i64(s, ":deterministic", hello->deterministic);
    sql_bind_i64(s, ":seen_at", clock_wall_ms());
    if (!sql_row(store, s, &row, err)) {
        return false;
    }
    assert(row); /* RETURNING gives one, new or old */
    *id = sql_i64(s, 0);
    return sql_run(store, s, err);
}

bool store_event(struct store *store, int64_t run, int64_t at, const char *kind, const char *text,
                 struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_EVENT_INSERT);

    sql_bind_i64(s, ":run", run);
    sql_bind_i64(s, ":at", at);
    sql_bind_text(s, ":kind", kind);
    sql_bind_text(s, ":text", text);
    return sql_run(store, s, err);
}

/* ---- candidates ---- */

static bool tally_add(struct store *store, int64_t run, const char *verdict, bool alias,
                      struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_TALLY_ADD);

    sql_bind_i64(s, ":run", run);
    sql_bind_text(s, ":verdict", verdict);
    sql_bind_i64(s, ":alias", alias);
    return sql_run(store, s, err);
}

static bool tally_take(struct store *store, int64_t run, const char *verdict, struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_TALLY_TAKE);

    sql_bind_i64(s, ":run", run);
    sql_bind_text(s, ":verdict", verdict);
    return sql_run(store, s, err);
}

static bool parent_insert(struct store *store, const struct candidate_row *row, int ordinal,
                          struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_PARENT_INSERT);

    sql_bind_i64(s, ":run", row->run);
    sql_bind_i64(s, ":place", row->place);
    sql_bind_i64(s, ":ordinal", ordinal);
    sql_bind_i64(s, ":parent", row->parents[ordinal]);
    return sql_run(store, s, err);
}

bool store_candidate_insert(struct store *store, const struct candidate_row *row, struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_CANDIDATE_INSERT);

    sql_bind_i64(s, ":run", row->run);
    sql_bind_i64(s, ":place", row->place);
    sql_bind_text(s, ":family", row->family);
    sql_bind_text(s, ":genes", row->genes);
    sql_bind_hash(s, ":genome_hash", &row->genome_hash);
    sql_bind_i64(s, ":island", row->island);
    sql_bind_text(s, ":operator", row->operator_name);
    sql_bind_i64(s, ":depth", row->depth);
    sql_bind_i64(s, ":numerics", row->numerics);
    sql_bind_f64(s, ":bound_us", row->bound_us);
    sql_bind_i64(s, ":created_at", row->created_at);
    if (!sql_run(store, s, err) || !tally_add(store, row->run, "queued", false, err)) {
        return false;
    }
    for (int i = 0; i < row->parent_count; i++) {
        if (!parent_insert(store, row, i, err)) {
            return false;
        }
    }
    return true;
}

static bool standing_insert(struct store *store, int64_t run, int64_t place, struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_STANDING_INSERT);

    sql_bind_i64(s, ":run", run);
    sql_bind_i64(s, ":place", place);
    return sql_run(store, s, err);
}

bool store_candidate_finish(struct store *store, const struct candidate_row *row, struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_CANDIDATE_FINISH);
    bool alias = row->alias_of >= 0;

    assert(row->verdict != VERDICT_NONE);
    sql_bind_i64(s, ":run", row->run);
    sql_bind_i64(s, ":place", row->place);
    sql_bind_hash(s, ":source_hash", &row->source_hash);
    sql_bind_hash(s, ":code_key", &row->code_key);
    sql_bind_hash(s, ":plan_key", &row->plan_key);
    sql_bind_text(s, ":verdict", verdict_names[row->verdict]);
    sql_bind_text(s, ":reason", row->reason ? row->reason : "");
    sql_bind_i64(s, ":replayed", row->replayed);
    sql_bind_i64(s, ":finished_at", row->finished_at);
    if (alias) {
        sql_bind_i64(s, ":alias_of", row->alias_of);
    }
    if (row->judgement != 0) {
        sql_bind_i64(s, ":judgement", row->judgement);
    }
    if (!sql_run(store, s, err)) {
        return false;
    }
    if (sqlite3_changes(store->db) != 1) {
        return err_set(err, ERR_SYSTEM, "database '%s': 'n%lld' of run %lld is not queued",
                       store->path, (long long)row->place, (long long)row->run);
    }
    return tally_take(store, row->run, "queued", err) &&
           tally_add(store, row->run, verdict_names[row->verdict], alias, err) &&
           (row->verdict != VERDICT_PASS || standing_insert(store, row->run, row->place, err));
}

bool store_contrasts(struct store *store, int64_t run, int numerics, struct contrast_row *rows,
                     int room, int *count, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_RUN_CONTRAST);
    struct arena *texts = arena_new();
    bool more, ok;

    *count = 0;
    sql_bind_i64(s, ":run", run);
    sql_bind_i64(s, ":numerics", numerics);
    sql_bind_i64(s, ":count", room);
    while ((ok = sql_row(store, s, &more, err)) && more) {
        struct contrast_row *row = &rows[(*count)++];

        *row = (struct contrast_row){.run = sql_i64(s, 0), .evaluations = sql_i64(s, 2),
                                     .us = sql_f64(s, 3, 0), .own_us = sql_f64(s, 4, 0)};
        snprintf(row->strategy, sizeof row->strategy, "%s", sql_text(s, 1, texts));
    }
    arena_free(texts);
    return ok;
}

static bool but_arms(struct store *store, int64_t run, int numerics, struct arm_row *row,
                     struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_RUN_BUT_ARMS);
    bool found;

    sql_bind_i64(s, ":run", run);
    sql_bind_i64(s, ":numerics", numerics);
    sql_bind_i64(s, ":count", row->evaluations);
    if (!sql_row(store, s, &found, err)) {
        return false;
    }
    row->own_us = sql_f64(s, 0, 0);
    sql_end(s);
    return true;
}

bool store_arms(struct store *store, int64_t run, int numerics, struct arm_row rows[ARMS_MAX],
                int *count, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_RUN_ARMS);
    struct arena *texts = arena_new();
    bool more, ok;
    int found = 0;

    sql_bind_i64(s, ":run", run);
    sql_bind_i64(s, ":numerics", numerics);
    while ((ok = sql_row(store, s, &more, err)) && more) {
        rows[found] = (struct arm_row){.evaluations = sql_i64(s, 1), .us = sql_f64(s, 2, 0)};
        snprintf(rows[found].operator_name, sizeof rows[found].operator_name, "%s",
                 sql_text(s, 0, texts));
        found++;
    }
    *count = 0;
    for (int i = 0; ok && i < found; i++) {
        ok = but_arms(store, run, numerics, &rows[i], err);
        if (rows[i].us > 0 && rows[i].own_us > 0) {
            rows[(*count)++] = rows[i];
        }
    }
    arena_free(texts);
    return ok;
}

bool store_candidate_count(struct store *store, int64_t run, int64_t *count, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_CANDIDATE_COUNT);
    bool row;

    sql_bind_i64(s, ":run", run);
    if (!sql_row(store, s, &row, err)) {
        return false;
    }
    assert(row); /* an aggregate has one */
    *count = sql_i64(s, 0);
    sql_end(s);
    return true;
}

bool store_candidates_each(struct store *store, int64_t run, store_candidate_fn *each,
                           void *context, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_CANDIDATE_LIST);
    struct arena *arena = arena_new();
    bool row, ok;

    sql_bind_i64(s, ":run", run);
    while ((ok = sql_row(store, s, &row, err)) && row) {
        struct candidate_row candidate;

        sql_candidate(s, arena, &candidate);
        ok = each(context, &candidate, err);
        if (!ok) {
            break;
        }
        arena_reset(arena);
    }
    sql_end(s);
    arena_free(arena);
    return ok;
}

/* ---- builds ---- */

static bool entry_insert(struct store *store, int64_t binary, int ordinal,
                         const struct entry_facts *entry, struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_ENTRY_INSERT);

    sql_bind_i64(s, ":binary", binary);
    sql_bind_i64(s, ":ordinal", ordinal);
    sql_bind_text(s, ":name", entry->name);
    sql_bind_i64(s, ":registers", entry->registers);
    sql_bind_i64(s, ":static_smem_bytes", entry->static_smem_bytes);
    sql_bind_i64(s, ":stack_bytes", entry->stack_bytes);
    sql_bind_i64(s, ":spill_store_bytes", entry->spill_store_bytes);
    sql_bind_i64(s, ":spill_load_bytes", entry->spill_load_bytes);
    sql_bind_i64(s, ":barriers", entry->barriers);
    sql_bind_i64(s, ":param_bytes", entry->param_bytes);
    sql_bind_i64(s, ":code_bytes", entry->code_bytes);
    sql_bind_i64(s, ":max_threads", entry->max_threads);
    return sql_run(store, s, err);
}

/* The machine code's facts, unless an equal binary brought them before. */
static bool binary_insert(struct store *store, const struct built *built, struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_BINARY_INSERT);
    int64_t binary;
    bool is_new;

    sql_bind_known_hash(s, ":code_key", &built->code_key);
    if (!sql_run(store, s, err)) {
        return false;
    }
    is_new = sqlite3_changes(store->db) != 0;
    binary = sqlite3_last_insert_rowid(store->db);
    for (int i = 0; is_new && i < built->entry_count; i++) {
        if (!entry_insert(store, binary, i, &built->entries[i], err)) {
            return false;
        }
    }
    return true;
}

bool store_build_insert(struct store *store, const struct build_row *row, struct err *err)
{
    const struct built *built = row->built;
    bool made = built->verdict == VERDICT_NONE;
    sqlite3_stmt *s;

    if (made && !binary_insert(store, built, err)) {
        return false;
    }
    s = sql_writer(store, STATEMENT_BUILD_INSERT);
    sql_bind_i64(s, ":run", row->run);
    sql_bind_i64(s, ":place", row->place);
    sql_bind_i64(s, ":image", row->image);
    sql_bind_known_hash(s, ":source_hash", &row->source_hash);
    sql_bind_text(s, ":arch", row->arch);
    sql_bind_text(s, ":reason", built->reason ? built->reason : "");
    sql_bind_text(s, ":log", built->log ? built->log : "");
    sql_bind_text(s, ":warnings", built->warnings ? built->warnings : "");
    sql_bind_i64(s, ":cached", built->cached);
    sql_bind_f64(s, ":compile_ms", built->compile_ms);
    if (made) {
        sql_bind_known_hash(s, ":code_key", &built->code_key);
    } else {
        sql_bind_text(s, ":verdict", verdict_names[built->verdict]);
    }
    if (!sql_run(store, s, err)) {
        return false;
    }
    return !made || !row->keep_code ||
           store_build_keep(store, &built->code_key, built->ptx, built->ptx_bytes, built->cubin,
                            built->cubin_bytes, err);
}

bool store_build_keep(struct store *store, const struct hash *code_key, const void *ptx,
                      size_t ptx_bytes, const void *cubin, size_t cubin_bytes, struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_BINARY_KEEP);

    sql_bind_known_hash(s, ":code_key", code_key);
    sql_bind_bytes(s, ":ptx", ptx, ptx_bytes);
    sql_bind_bytes(s, ":cubin", cubin, cubin_bytes);
    return sql_run(store, s, err);
}

/* ---- attempts ---- */

bool store_attempt_begin(struct store *store, int64_t run, int64_t place, enum role kind,
                         const char *worker, int64_t at, int64_t *id, struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_ATTEMPT_BEGIN);

    sql_bind_i64(s, ":run", run);
    sql_bind_i64(s, ":place", place);
    sql_bind_text(s, ":role", sql_role_names[kind]);
    sql_bind_text(s, ":worker", worker);
    sql_bind_i64(s, ":at", at);
    if (!sql_run(store, s, err)) {
        return false;
    }
    *id = sqlite3_last_insert_rowid(store->db);
    return true;
}

bool store_attempt_end(struct store *store, int64_t id, int64_t at, const char *outcome,
                       struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_ATTEMPT_END);

    sql_bind_i64(s, ":id", id);
    sql_bind_i64(s, ":at", at);
    sql_bind_text(s, ":outcome", outcome);
    if (!sql_run(store, s, err)) {
        return false;
    }
    return sqlite3_changes(store->db) == 1 ||
           err_set(err, ERR_SYSTEM, "database '%s': attempt %lld is not open", store->path,
                   (long long)id);
}

bool store_attempts_close(struct store *store, int64_t run, int64_t at, const char *outcome,
                          struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_ATTEMPT_CLOSE_OPEN);

    sql_bind_i64(s, ":run", run);
    sql_bind_i64(s, ":at", at);
    sql_bind_text(s, ":outcome", outcome);
    return sql_run(store, s, err);
}

bool store_attempts_count(struct store *store, int64_t run, int64_t place, const char *outcome,
                          int64_t *count, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_ATTEMPT_COUNT);
    bool row;

    sql_bind_i64(s, ":run", run);
    sql_bind_i64(s, ":place", place);
    sql_bind_text(s, ":outcome", outcome);
    if (!sql_row(store, s, &row, err)) {
        return false;
    }
    assert(row); /* an aggregate has one */
    *count = sql_i64(s, 0);
    sql_end(s);
    return true;
}

/* ---- judgements ---- */

static bool case_insert(struct store *store, int64_t judgement, int ordinal,
                        const struct case_result *c, struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_CASE_INSERT);

    sql_bind_i64(s, ":judgement", judgement);
    sql_bind_i64(s, ":ordinal", ordinal);
    sql_bind_i64(s, ":problem", c->problem);
    sql_bind_text(s, ":rung", rung_names[c->rung]);
    sql_bind_text(s, ":family", c->family);
    sql_bind_i64(s, ":seed", (int64_t)c->seed);
    sql_bind_text(s, ":verdict", verdict_names[c->verdict]);
    sql_bind_f64(s, ":error_max", c->error_max);
    sql_bind_f64(s, ":error_allowed", c->error_allowed);
    sql_bind_f64(s, ":frobenius", c->frobenius);
    sql_bind_f64(s, ":frobenius_allowed", c->frobenius_allowed);
    sql_bind_i64(s, ":rows_checked", c->rows_checked);
    sql_bind_i64(s, ":rows_total", c->rows_total);
    sql_bind_i64(s, ":worst_batch", c->worst[0]);
    sql_bind_i64(s, ":worst_head", c->worst[1]);
    sql_bind_i64(s, ":worst_row", c->worst[2]);
    sql_bind_i64(s, ":worst_column", c->worst[3]);
    sql_bind_f64(s, ":expected", c->expected);
    sql_bind_f64(s, ":got", c->got);
    sql_bind_text(s, ":reason", c->reason ? c->reason : "");
    sql_bind_text(s, ":shape", c->shape ? c->shape : "");
    return sql_run(store, s, err);
}

static void double_to_bytes(double value, uint8_t bytes[8])
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    for (int i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(bits >> (8 * i));
    }
}

static double double_from_bytes(const uint8_t bytes[8])
{
    uint64_t bits = 0;
    double value;

    for (int i = 0; i < 8; i++) {
        bits |= (uint64_t)bytes[i] << (8 * i);
    }
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Runs a statement with doubles as its parameter `name`. */
static bool doubles_insert(struct store *store, sqlite3_stmt *s, const char *name,
                           const double *values, int count, struct err *err)
{
    uint8_t *bytes = xmalloc((size_t)count * 8);
    bool ok;

    for (int i = 0; i < count; i++) {
        double_to_bytes(values[i], bytes + 8 * (size_t)i);
    }
    sql_bind_bytes(s, name, bytes, (size_t)count * 8);
    ok = sql_run(store, s, err);
    free(bytes);
    return ok;
}

/* The caller's to free. */
static double *doubles_read(sqlite3_stmt *s, int column, int *count)
{
    const uint8_t *bytes = sqlite3_column_blob(s, column);
    double *values;

    *count = sqlite3_column_bytes(s, column) / 8;
    values = xmalloc(((size_t)*count + 1) * sizeof *values);
    for (int i = 0; i < *count; i++) {
        values[i] = double_from_bytes(bytes + 8 * (size_t)i);
    }
    return values;
}

static bool sample_insert(struct store *store, int64_t judgement, int problem, const char *clock,
                          const double *us, int count, struct err *err)
{
    sqlite3_stmt *s;

    if (count == 0) {
        return true;
    }
    s = sql_writer(store, STATEMENT_SAMPLE_INSERT);
    sql_bind_i64(s, ":judgement", judgement);
    sql_bind_i64(s, ":problem", problem);
    sql_bind_text(s, ":clock", clock);
    return doubles_insert(store, s, ":us", us, count, err);
}

static bool clocks_insert(struct store *store, int64_t judgement, const struct timing *timing,
                          struct err *err)
{
    sqlite3_stmt *s;

    if (timing->mhz == NULL || timing->span_count == 0) {
        return true;
    }
    s = sql_writer(store, STATEMENT_SAMPLE_CLOCK_INSERT);
    sql_bind_i64(s, ":judgement", judgement);
    sql_bind_i64(s, ":problem", timing->problem);
    return doubles_insert(store, s, ":mhz", timing->mhz, timing->span_count, err);
}

static double median_of(const double *values, int count)
{
    double *copy, median;

    if (count == 0) {
        return NAN;
    }
    copy = xmalloc((size_t)count * sizeof *copy); /* quantile sorts; the order taken is evidence */
    memcpy(copy, values, (size_t)count * sizeof *copy);
    median = stats_quantile(copy, count, 0.5);
    free(copy);
    return median;
}

static bool timing_insert(struct store *store, int64_t judgement, const struct timing *timing,
                          struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_TIMING_INSERT);

    sql_bind_i64(s, ":judgement", judgement);
    sql_bind_i64(s, ":problem", timing->problem);
    sql_bind_i64(s, ":quick", timing->quick);
    sql_bind_f64(s, ":tick_us", timing->tick_us);
    sql_bind_i64(s, ":span_count", timing->span_count);
    sql_bind_i64(s, ":graph_count", timing->graph_count);
    sql_bind_f64(s, ":graph_us", median_of(timing->graph_us, timing->graph_count));
    sql_bind_f64(s, ":at_mhz", timing->at_mhz > 0 ? timing->at_mhz : NAN);
    return sql_run(store, s, err) &&
           sample_insert(store, judgement, timing->problem, "span", timing->span_us,
                         timing->span_count, err) &&
           clocks_insert(store, judgement, timing, err) &&
           sample_insert(store, judgement, timing->problem, "graph", timing->graph_us,
                         timing->graph_count, err);
}

static bool metric_insert(struct store *store, int64_t judgement, int problem, enum metric metric,
                          double value, const char *reason, struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_METRIC_INSERT);

    sql_bind_i64(s, ":judgement", judgement);
    sql_bind_i64(s, ":problem", problem);
    sql_bind_text(s, ":name", metric_table[metric].name);
    sql_bind_f64(s, ":value", value);
    sql_bind_text(s, ":reason", reason ? reason : "");
    return sql_run(store, s, err);
}

bool store_counted_insert(struct store *store, int64_t run, const struct judge_result *result,
                          struct err *err)
{
    for (int i = 0; i < result->counted_count; i++) {
        sqlite3_stmt *s = sql_writer(store, STATEMENT_METRIC_INSERT_LATE);

        sql_bind_i64(s, ":run", run);
        sql_bind_i64(s, ":place", result->counted[i].id);
        sql_bind_i64(s, ":problem", result->counted[i].problem);
        sql_bind_text(s, ":name", metric_table[result->counted[i].metric].name);
        sql_bind_f64(s, ":value", result->counted[i].value);
        sql_bind_text(s, ":reason", result->counted[i].reason);
        if (!sql_run(store, s, err)) {
            return false;
        }
    }
    return true;
}

/* problem -1: of the whole workload. What is no time (nothing was timed) is not recorded. */
static bool score_insert(struct store *store, int64_t judgement, int problem,
                         const struct score *score, struct err *err)
{
    sqlite3_stmt *s;

    if (!isfinite(score->us) || score->us <= 0) {
        return true;
    }
    s = sql_writer(store, STATEMENT_SCORE_INSERT);
    sql_bind_i64(s, ":judgement", judgement);
    sql_bind_i64(s, ":problem", problem);
    sql_bind_i64(s, ":version", SCORE_VERSION);
    sql_bind_f64(s, ":us", score->us);
    sql_bind_f64(s, ":low", score->low);
    sql_bind_f64(s, ":high", score->high);
    return sql_run(store, s, err);
}

static bool evidence_insert(struct store *store, int64_t judgement,
                            const struct judge_result *result, struct err *err)
{
    for (int i = 0; i < result->case_count; i++) {
        if (!case_insert(store, judgement, i, &result->cases[i], err)) {
            return false;
        }
    }
    for (int i = 0; i < result->timing_count; i++) {
        if (!timing_insert(store, judgement, &result->timings[i], err)) {
            return false;
        }
    }
    for (int i = 0; i < result->metric_count; i++) {
        if (!metric_insert(store, judgement, result->metrics[i].problem, result->metrics[i].metric,
                           result->metrics[i].value, result->metrics[i].reason, err)) {
            return false;
        }
    }
    return true;
}

static void bind_judgement_key(sqlite3_stmt *s, const struct judgement_key *key)
{
    sql_bind_known_hash(s, ":code_key", &key->code_key);
    sql_bind_known_hash(s, ":plan_key", &key->plan_key);
    sql_bind_known_hash(s, ":workload", &key->workload);
    sql_bind_i64(s, ":environment", key->environment);
    sql_bind_i64(s, ":gate_version", key->gate_version);
}

bool store_judgement_insert(struct store *store, struct judgement_row *row,
                            const struct judge_result *result, const struct score *problem_scores,
                            struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_JUDGEMENT_INSERT);

    assert(row->verdict != VERDICT_NONE);
    bind_judgement_key(s, &row->key);
    sql_bind_i64(s, ":run", row->run);
    sql_bind_i64(s, ":place", row->place);
    sql_bind_text(s, ":verdict", verdict_names[row->verdict]);
    sql_bind_text(s, ":reason", row->reason ? row->reason : "");
    sql_bind_i64(s, ":replayed", row->replayed);
    sql_bind_f64(s, ":device_ms", row->device_ms);
    if (!sql_run(store, s, err)) {
        return false;
    }
    row->id = sqlite3_last_insert_rowid(store->db);
    if (!evidence_insert(store, row->id, result, err)) {
        return false;
    }
    if (row->verdict != VERDICT_PASS) {
        return true;
    }
    for (int i = 0; i < result->timing_count; i++) {
        if (!score_insert(store, row->id, result->timings[i].problem, &problem_scores[i], err)) {
            return false;
        }
    }
    return score_insert(store, row->id, -1, &row->score, err);
}

/* The columns of judgement_find and promotion_find; ends the statement. */
static void judgement_read(sqlite3_stmt *s, struct arena *arena, struct judgement_row *row)
{
    row->id = sql_i64(s, 0);
    row->run = sql_i64(s, 1);
    row->place = sql_i64(s, 2);
    row->verdict = sql_verdict(s, 3);
    row->reason = sql_text(s, 4, arena);
    row->replayed = sql_i64(s, 5) != 0;
    row->device_ms = sql_f64(s, 6, 0);
    row->score = (struct score){sql_f64(s, 7, 0), sql_f64(s, 8, 0), sql_f64(s, 9, 0)};
    sql_end(s);
}

bool store_judgement_find(struct store *store, const struct judgement_key *key, struct arena *arena,
                          struct judgement_row *row, bool *found, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_JUDGEMENT_FIND);

    bind_judgement_key(s, key);
    if (!sql_row(store, s, found, err)) {
        return false;
    }
    if (*found) {
        *row = (struct judgement_row){.key = *key};
        judgement_read(s, arena, row);
    }
    return true;
}

/* ---- promotions ---- */

static bool standing_refute(struct store *store, int64_t searched, struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_STANDING_REFUTE);

    sql_bind_i64(s, ":searched", searched);
    return sql_run(store, s, err);
}

bool store_promotion_insert(struct store *store, struct judgement_row *row,
                            const struct promotion_row *promotion,
                            const struct judge_result *result, const struct score *problem_scores,
                            struct err *err)
{
    sqlite3_stmt *s;

    if (!store_judgement_insert(store, row, result, problem_scores, err)) {
        return false;
    }
    s = sql_writer(store, STATEMENT_PROMOTION_INSERT);
    sql_bind_i64(s, ":judgement", row->id);
    sql_bind_i64(s, ":searched", promotion->searched);
    sql_bind_i64(s, ":attempt", promotion->attempt);
    sql_bind_i64(s, ":tried", promotion->tried);
    sql_bind_text(s, ":quarantine", promotion->quarantine);
    return sql_run(store, s, err) &&
           (row->verdict == VERDICT_PASS || standing_refute(store, promotion->searched, err));
}

bool store_promotion_find(struct store *store, int64_t searched, struct arena *arena,
                          struct judgement_row *row, bool *found, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_PROMOTION_FIND);

    sql_bind_i64(s, ":searched", searched);
    if (!sql_row(store, s, found, err)) {
        return false;
    }
    if (*found) {
        *row = (struct judgement_row){.id = 0};
        judgement_read(s, arena, row);
    }
    return true;
}

/* ---- duels with libraries ---- */

/* Four doubles a block, in the order taken. */
static unsigned char *blocks_to_bytes(const struct abba *blocks, int count)
{
    unsigned char *bytes = xmalloc((size_t)(count > 0 ? count : 1) * 32);

    for (int i = 0; i < count; i++) {
        double_to_bytes(blocks[i].a[0], bytes + 32 * (size_t)i);
        double_to_bytes(blocks[i].b[0], bytes + 32 * (size_t)i + 8);
        double_to_bytes(blocks[i].b[1], bytes + 32 * (size_t)i + 16);
        double_to_bytes(blocks[i].a[1], bytes + 32 * (size_t)i + 24);
    }
    return bytes;
}

static void bind_duel_score(sqlite3_stmt *s, const char *const names[5],
                            const struct duel_score *score)
{
    sql_bind_f64(s, names[0], score->us[0]);
    sql_bind_f64(s, names[1], score->us[1]);
    sql_bind_f64(s, names[2], score->speedup.value);
    sql_bind_f64(s, names[3], score->speedup.low);
    sql_bind_f64(s, names[4], score->speedup.high);
}

bool store_duel_insert(struct store *store, const struct duel_row *row,
                       const struct duel_result *raw, struct err *err)
{
    static const char *const graph[] = {":graph_us", ":rival_graph_us", ":graph_speedup",
                                        ":graph_low", ":graph_high"};
    static const char *const span[] = {":span_us", ":rival_span_us", ":span_speedup", ":span_low",
                                       ":span_high"};
    sqlite3_stmt *s = sql_writer(store, STATEMENT_DUEL_INSERT);
    unsigned char *graph_bytes = NULL, *span_bytes = NULL;
    bool timed = *row->reason == '\0', ok;

    sql_bind_i64(s, ":judgement", row->judgement);
    sql_bind_i64(s, ":problem", row->problem);
    sql_bind_text(s, ":rival", row->rival);
    sql_bind_text(s, ":plan", row->plan);
    sql_bind_text(s, ":reason", row->reason);
    sql_bind_f64(s, ":sm_clock_mhz", row->sm_clock_mhz);
    sql_bind_f64(s, ":power_w", row->power_w);
    sql_bind_i64(s, ":power_limited", row->power_limited);
    sql_bind_f64(s, ":device_ms", row->device_ms);
    sql_bind_i64(s, ":measured_at", row->measured_at);
    if (timed) { /* what is not bound is NULL */
        bind_duel_score(s, graph, &row->graph);
        bind_duel_score(s, span, &row->span);
        graph_bytes = blocks_to_bytes(raw->graph.blocks, raw->graph.count);
        span_bytes = blocks_to_bytes(raw->span.blocks, raw->span.count);
        sql_bind_bytes(s, ":graph", graph_bytes, (size_t)raw->graph.count * 32);
        sql_bind_bytes(s, ":span", span_bytes, (size_t)raw->span.count * 32);
    }
    ok = sql_run(store, s, err);
    free(graph_bytes);
    free(span_bytes);
    return ok;
}

bool store_crown(struct store *store, int64_t run, int64_t place, struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_STANDING_UNCROWN);

    sql_bind_i64(s, ":run", run);
    sql_bind_i64(s, ":place", place);
    if (!sql_run(store, s, err)) {
        return false;
    }
    s = sql_writer(store, STATEMENT_STANDING_CROWN);
    sql_bind_i64(s, ":run", run);
    sql_bind_i64(s, ":place", place);
    return sql_run(store, s, err);
}

bool store_champion(struct store *store, struct arena *arena, int64_t run, int numerics,
                    struct candidate_row *row, bool *found, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_CHAMPION_GET);

    sql_bind_i64(s, ":run", run);
    sql_bind_i64(s, ":numerics", numerics);
    if (!sql_row(store, s, found, err)) {
        return false;
    }
    if (*found) {
        sql_candidate(s, arena, row);
        sql_end(s);
    }
    return true;
}

bool store_judgement_floor(struct store *store, int64_t judgement, struct arena *arena,
                           struct floor_row *row, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_JUDGEMENT_FLOOR);
    bool found;

    *row = (struct floor_row){.shape = NULL};
    sql_bind_i64(s, ":judgement", judgement);
    sql_bind_text(s, ":floor", metric_table[METRIC_FLOOR_US].name);
    if (!sql_row(store, s, &found, err)) {
        return false;
    }
    if (found) {
        *row = (struct floor_row){sql_text(s, 0, arena), sql_f64(s, 1, 0), sql_f64(s, 2, 0)};
        sql_end(s);
    }
    return true;
}

bool store_clock(struct store *store, const struct hash *workload, int64_t environment, int problem,
                 double *at_mhz, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_TIMING_CLOCK);
    bool found;

    *at_mhz = 0;
    sql_bind_hash(s, ":workload", workload);
    sql_bind_i64(s, ":environment", environment);
    sql_bind_i64(s, ":problem", problem);
    if (!sql_row(store, s, &found, err)) {
        return false;
    }
    if (found) {
        *at_mhz = sql_f64(s, 0, 0);
        sql_end(s);
    }
    return true;
}

/* ---- scores made again, samples dropped ---- */

/* Adds the judgement's scores of this version; *scored false: its samples give none. */
static bool rescore_one(struct store *store, int64_t judgement, bool *scored, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_RESCORE_SAMPLES);
    struct score scores[JOB_PROBLEMS_MAX], whole;
    int problems[JOB_PROBLEMS_MAX], count = 0;
    bool row, ok;

    *scored = true;
    sql_bind_i64(s, ":judgement", judgement);
    while ((ok = sql_row(store, s, &row, err)) && row && count < JOB_PROBLEMS_MAX) {
        struct timing timing = {.tick_us = sql_f64(s, 1, 0), .at_mhz = sql_f64(s, 3, 0)};
        int clocks;
        double *mhz = doubles_read(s, 4, &clocks);

        timing.span_us = doubles_read(s, 2, &timing.span_count);
        timing.mhz = clocks == timing.span_count ? mhz : NULL;
        problems[count] = (int)sql_i64(s, 0);
        *scored = *scored && score_of_timing(&timing, &scores[count]);
        count++;
        free(timing.span_us);
        free(mhz);
    }
    sql_end(s);
    *scored = *scored && count > 0;
    if (!ok || !*scored) {
        return ok;
    }
    for (int i = 0; i < count; i++) {
        if (!score_insert(store, judgement, problems[i], &scores[i], err)) {
            return false;
        }
    }
    whole = score_combine(scores, count);
    return score_insert(store, judgement, -1, &whole, err);
}

static bool standing_rebuild(struct store *store, struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_STANDING_PRUNE);

    sql_bind_i64(s, ":version", SCORE_VERSION);
    if (!sql_run(store, s, err)) {
        return false;
    }
    s = sql_writer(store, STATEMENT_STANDING_REBUILD);
    sql_bind_i64(s, ":version", SCORE_VERSION);
    return sql_run(store, s, err);
}

bool store_rescore(struct store *store, int64_t *rescored, struct err *err)
{
    sqlite3_stmt *s = sql_statement(store, STATEMENT_RESCORE_LIST);
    struct buf ids = {0}; /* collected first: scores are added to what the list is read from */
    bool row, ok;

    *rescored = 0;
    sql_bind_i64(s, ":version", SCORE_VERSION);
    while ((ok = sql_row(store, s, &row, err)) && row) {
        int64_t id = sql_i64(s, 0);

        buf_add(&ids, &id, sizeof id);
    }
    for (size_t at = 0; ok && at < ids.length; at += sizeof(int64_t)) {
        int64_t id;
        bool scored;

        memcpy(&id, ids.data + at, sizeof id);
        ok = rescore_one(store, id, &scored, err);
        *rescored += ok && scored;
    }
    buf_free(&ids);
    return ok && (*rescored == 0 || standing_rebuild(store, err));
}

bool store_thin(struct store *store, int64_t run, int64_t keep, struct err *err)
{
    sqlite3_stmt *s = sql_writer(store, STATEMENT_SAMPLE_THIN);

    sql_bind_i64(s, ":run", run);
    sql_bind_i64(s, ":keep", keep);
    return sql_run(store, s, err) &&
           sql_run(store, sql_writer(store, STATEMENT_SAMPLE_CLOCK_THIN), err);
}
