#include <stdarg.h>
#include <string.h>

#include "base/clock.h"
#include "base/proc.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/text.h"

static const double SHARE_MIN = 0.005; /* of the judges' time: less is not told */

static void line(const char *label, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void line(const char *label, const char *format, ...)
{
    va_list ap;

    printf("%s%-11s%s ", style_on(stdout, STYLE_BOLD), label, style_off(stdout));
    va_start(ap, format);
    vprintf(format, ap);
    va_end(ap);
    putchar('\n');
}

static const char *state_text(struct arena *arena, const struct run_row *run, pid_t pid)
{
    if (pid != 0) {
        return arena_printf(arena, "running (pid %ld)", (long)pid);
    }
    return run->state == RUN_FINISHED ? arena_printf(arena, "ended: %s", run->ended_because)
                                      : "stopped; 'evo start' goes on";
}

static void print_best(struct arena *arena, const struct status_row *row)
{
    if (row->best_place < 0) {
        line("best", "none has passed yet");
        return;
    }
    line("best", "n%lld %s %s, 95 %% in %s", (long long)row->best_place, row->best_family,
         text_us(arena, row->best.us), text_interval(arena, &row->best));
    line("", "%s", row->best_genes);
    if (row->promotion.searched != 0) {
        line("", "by a fresh judge; the search saw %s and had tried %s",
             text_us(arena, row->promotion.score.us), text_count(arena, row->promotion.tried));
    } else {
        line("", "not promoted: judged once only");
    }
    line("", "found %s ago, as evaluation %s",
         text_duration(arena, clock_wall_ms() - row->best_finished_at),
         text_count(arena, row->best_evaluation));
    if (progress_gain(row) > 0) {
        line("gain", "%s over the seed's founder (%s)", text_gain(arena, progress_gain(row)),
             text_us(arena, row->founder.us));
    }
}

/*
 * What the search judges on, where that is not the workload alone: a slow device's gate has shapes
 * of its own. A promotion's shapes are drawn anew each time; `evo show` tells them.
 */
static bool print_judged(struct cli *cli, struct err *err)
{
    struct kernel_row kernel;
    struct case_result *cases;
    const char *text = ","; /* ", A, B," */
    int64_t judgement, count;

    if (!cli_candidate(cli, "best", &kernel, err)) {
        return false;
    }
    judgement = kernel.promotion.searched != 0 ? kernel.promotion.searched
                                               : kernel.candidate.judgement;
    if (!query_cases(cli->store, cli->arena, judgement, &cases, &count, err)) {
        return false;
    }
    for (int64_t i = 0; i < count; i++) {
        const char *shape = cases[i].shape;

        if (*shape == '\0' && cases[i].problem >= 0 && cases[i].problem < kernel.problem_count) {
            shape = kernel.problems[cases[i].problem].problem;
        }
        if (strstr(text, arena_printf(cli->arena, ", %s,", shape)) == NULL) {
            text = arena_printf(cli->arena, "%s %s,", text, shape);
        }
    }
    if (strlen(text) > 2) {
        line("judged on", "%.*s; times are modelled", (int)strlen(text) - 3, text + 2);
    }
    return true;
}

/* How the best fares against what users would otherwise call. */
static bool print_rivals(struct cli *cli, const struct status_row *row, struct err *err)
{
    struct kernel_row kernel;

    if (row->best_place >= 0 && !cli_candidate(cli, "best", &kernel, err)) {
        return false;
    }
    if (row->best_place >= 0 && kernel.duel_count > 0) {
        line("rivals", "%s", text_rivalry(cli->arena, &kernel));
    }
    return true;
}

/* Which genes do nothing, as far as the audit has come. */
static void print_audit(struct arena *arena, const struct audit_row *rows, int64_t count)
{
    const char *dead = "";
    int64_t alive = 0;

    for (int64_t i = 0; i < count; i++) {
        alive += strcmp(rows[i].state, "alive") == 0;
        if (strcmp(rows[i].state, "dead") == 0) {
            dead = arena_printf(arena, "%s%s%s of %s", dead, *dead != '\0' ? ", " : "",
                                rows[i].gene, rows[i].family);
        }
    }
    if (count > 0) {
        line("genes", "%lld of %lld looked at change launch or code%s%s", (long long)alive,
             (long long)count, *dead != '\0' ? "; dead: " : "", dead);
    }
}

/* What judges did with their time (daemon/ledger.h), the most first. */
struct judge_time {
    struct arena *arena;
    struct judge_time_row rows[16];
    int count;
    double whole_ms;
};

static void keep_time(void *context, const struct judge_time_row *row)
{
    struct judge_time *time = context;

    if (time->count < (int)(sizeof time->rows / sizeof *time->rows)) {
        time->rows[time->count++] = (struct judge_time_row){
            arena_dup(time->arena, row->what), arena_dup(time->arena, row->part_of), row->ms};
        time->whole_ms += *row->part_of == '\0' ? row->ms : 0;
    }
}

/* "gate 31 %, clocks 24 %": what belongs to `whole` and is worth telling. */
static const char *shares(const struct judge_time *time, const char *whole)
{
    const char *text = "";

    for (int i = 0; i < time->count; i++) {
        const struct judge_time_row *row = &time->rows[i];
        const char *parts;

        if (strcmp(row->part_of, whole) != 0 || row->ms < SHARE_MIN * time->whole_ms) {
            continue;
        }
        parts = *row->part_of == '\0' ? shares(time, row->what) : "";
        text = arena_printf(time->arena, "%s%s%s %s%s%s%s", text, *text != '\0' ? ", " : "",
                            row->what, text_share(time->arena, row->ms, time->whole_ms),
                            *parts != '\0' ? " (" : "", parts, *parts != '\0' ? ")" : "");
    }
    return text;
}

static json_t *judge_time_json(const struct judge_time *time)
{
    json_t *list = json_array();

    for (int i = 0; i < time->count; i++) {
        json_array_append_new(
            list, json_pack("{s:o, s:o, s:o}", "what", json_text(time->rows[i].what), "part_of",
                            json_text(time->rows[i].part_of), "ms",
                            json_number(time->rows[i].ms)));
    }
    return list;
}

/* What the search's own arms say of it. */
struct arms {
    struct arm_row rows[2][ARMS_MAX]; /* of each class of numerics */
    int count[2];
};

static bool read_arms(struct cli *cli, const struct run_row *run, struct arms *arms,
                      struct err *err)
{
    memset(arms, 0, sizeof *arms);
    return strcmp(run->strategy, "evo") != 0 || /* elsewhere such operators are no arms */
           (store_arms(cli->store, run->id, 0, arms->rows[0], &arms->count[0], err) &&
            store_arms(cli->store, run->id, 1, arms->rows[1], &arms->count[1], err));
}

static void print_arms(struct arena *arena, const struct arms *arms)
{
    const char *text = "";

    for (int numerics = 0; numerics < 2; numerics++) {
        for (int i = 0; i < arms->count[numerics]; i++) {
            const struct arm_row *row = &arms->rows[numerics][i];

            text = arena_printf(arena, "%s%s%.3fx the speed of '%s' after %lld each%s", text,
                                *text != '\0' ? ", " : "", row->us / row->own_us,
                                row->operator_name, (long long)row->evaluations,
                                numerics == 1 ? " (FP16)" : "");
        }
    }
    if (*text != '\0') {
        line("evo", "%s", text);
    }
}

static json_t *arms_json(const struct arms *arms)
{
    json_t *list = json_array();

    for (int numerics = 0; numerics < 2; numerics++) {
        for (int i = 0; i < arms->count[numerics]; i++) {
            const struct arm_row *row = &arms->rows[numerics][i];

            json_array_append_new(
                list, json_pack("{s:o, s:i, s:I, s:o, s:o}", "operator",
                                json_text(row->operator_name), "numerics", numerics, "evaluations",
                                (json_int_t)row->evaluations, "us", json_number(row->us),
                                "own_us", json_number(row->own_us)));
        }
    }
    return list;
}

static void print_status(struct arena *arena, const struct status_row *row,
                         const struct audit_row *audit, int64_t audited,
                         const struct judge_time *time, const struct arms *arms, pid_t pid)
{
    const struct run_row *run = &row->run;

    line("search", "%s, run %lld, %s", run->name, (long long)run->id, state_text(arena, run, pid));
    line("seed", "%s (strategy %s, random seed %llu)", run->seed_path, run->strategy,
         (unsigned long long)run->rng_seed);
    line("device", "%s%s%s%s", row->device[0] != '\0' ? row->device : run->device_spec,
         row->backend[0] != '\0' ? " (" : "", row->backend, row->backend[0] != '\0' ? ")" : "");
    line("elapsed", "%s", text_duration(arena, run->elapsed_ms));
    line("evaluated", "%s of %s proposed, %.0f a minute, %s aliases, %s duplicates refused",
         text_count(arena, row->finished), text_count(arena, row->proposed), progress_rate(row),
         text_count(arena, row->aliases), text_count(arena, run->duplicates));
    line("verdicts", "%s (%s valid)", progress_verdicts(arena, row),
         text_share(arena, (double)row->passed, (double)row->finished));
    print_best(arena, row);
    print_audit(arena, audit, audited);
    print_arms(arena, arms);
    line("GPU", "busy %s of the time", text_share(arena, run->device_ms, (double)run->elapsed_ms));
    if (time->whole_ms > 0) {
        line("judges", "%s", shares(time, ""));
    }
    line("left", "%s", progress_left(arena, row));
}

static json_t *status_verdicts(const struct status_row *row)
{
    json_t *verdicts = json_object();

    for (int i = VERDICT_NONE + 1; i < VERDICT_COUNT; i++) {
        json_object_set_new(verdicts, verdict_names[i], json_integer(row->by_verdict[i]));
    }
    return verdicts;
}

static json_t *status_best(const struct status_row *row)
{
    if (row->best_place < 0) {
        return json_null();
    }
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:I, s:I}", "place",
                     (json_int_t)row->best_place, "family", json_text(row->best_family), "genes",
                     json_genes(row->best_genes), "score", json_score(&row->best), "promotion",
                     json_promotion(&row->promotion), "gain", json_number(progress_gain(row)),
                     "evaluation", (json_int_t)row->best_evaluation, "found_at",
                     (json_int_t)row->best_finished_at);
}

static json_t *audit_json(const struct audit_row *rows, int64_t count)
{
    json_t *list = json_array();

    for (int64_t i = 0; i < count; i++) {
        json_array_append_new(list, json_pack("{s:o, s:o, s:o, s:o, s:I}", "family",
                                              json_text(rows[i].family), "gene",
                                              json_text(rows[i].gene), "state",
                                              json_text(rows[i].state), "by",
                                              json_text(rows[i].by), "pairs",
                                              (json_int_t)rows[i].pairs));
    }
    return list;
}

static json_t *status_json(const struct status_row *row, pid_t pid)
{
    const struct run_row *run = &row->run;
    json_t *object = json_object();

    json_object_set_new(object, "run", json_integer(run->id));
    json_object_set_new(object, "name", json_text(run->name));
    json_object_set_new(object, "state",
                        json_text(pid != 0                     ? "running"
                                  : run->state == RUN_FINISHED ? "ended"
                                                               : "stopped"));
    json_object_set_new(object, "pid", pid != 0 ? json_integer(pid) : json_null());
    json_object_set_new(object, "ended_because", json_text(run->ended_because));
    json_object_set_new(object, "seed", json_text(run->seed_path));
    json_object_set_new(object, "strategy", json_text(run->strategy));
    json_object_set_new(object, "rng_seed", json_integer((json_int_t)run->rng_seed));
    json_object_set_new(object, "device", json_text(row->device));
    json_object_set_new(object, "backend", json_text(row->backend));
    json_object_set_new(object, "elapsed_ms", json_integer(run->elapsed_ms));
    json_object_set_new(object, "device_ms", json_number(run->device_ms));
    json_object_set_new(object, "proposed", json_integer(row->proposed));
    json_object_set_new(object, "evaluated", json_integer(row->finished));
    json_object_set_new(object, "passed", json_integer(row->passed));
    json_object_set_new(object, "aliases", json_integer(row->aliases));
    json_object_set_new(object, "duplicates", json_integer(run->duplicates));
    json_object_set_new(object, "per_minute", json_number(progress_rate(row)));
    json_object_set_new(object, "verdicts", status_verdicts(row));
    json_object_set_new(object, "best", status_best(row));
    json_object_set_new(object, "founder", json_score(&row->founder));
    json_object_set_new(
        object, "budget",
        json_pack("{s:I, s:I, s:I}", "evaluations", (json_int_t)run->budget_evaluations, "wall_ms",
                  (json_int_t)run->budget_wall_ms, "device_ms", (json_int_t)run->budget_device_ms));
    return object;
}

static bool status(struct cli *cli, struct err *err)
{
    pid_t pid = lock_holder(cli_lock(cli));
    struct status_row row;
    struct audit_row *audit;
    struct kernel_row best;
    struct judge_time time = {.arena = cli->arena};
    struct arms arms;
    int64_t audited;
    json_t *object;

    if (!cli_store(cli, err) || !cli_status(cli, &row, err) ||
        !query_audit(cli->store, cli->arena, row.run.id, &audit, &audited, err) ||
        !store_judge_time_each(cli->store, row.run.id, keep_time, &time, err) ||
        !read_arms(cli, &row.run, &arms, err)) {
        return false;
    }
    if (cli_has(cli, "json")) {
        object = status_json(&row, pid);
        if (row.best_place >= 0) {
            if (!cli_candidate(cli, "best", &best, err)) {
                return false;
            }
            json_object_set_new(json_object_get(object, "best"), "rivals", json_rivals(&best));
        }
        json_object_set_new(object, "genes", audit_json(audit, audited));
        json_object_set_new(object, "judges", judge_time_json(&time));
        json_object_set_new(object, "arms", arms_json(&arms));
        return cli_json(object, err);
    }
    print_status(cli->arena, &row, audit, audited, &time, &arms, pid);
    if (!print_rivals(cli, &row, err)) {
        return false;
    }
    return strcmp(row.backend, "emu") != 0 || row.best_place < 0 || print_judged(cli, err);
}

int cmd_status(int argc, char **argv) { return cli_run(argc, argv, status); }
