#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "cli/bench_space.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/text.h"

enum { SPACES_MAX = 256, PEERS_BYTES_MAX = 8 << 20, NEAR_5 = 1, NEAR_1 = 2 };

struct bench {
    struct cli *cli;
    struct bench_plan plan;
    const char *paths[SPACES_MAX];
    int path_count;
    enum seed_strategy strategies[STRATEGY_COUNT];
    int strategy_count;
    const char *peers; /* the text of peers.csv, or NULL */
    json_t *json;
    struct table *table;
};

/* Sums over spaces, for the last line of a strategy. */
struct total {
    int spaces;
    double best_rel[BENCH_MARKS], evals_to[BENCH_NEARS]; /* logarithms */
    double solved, score, score_time, ms, samples, chosen;
    int64_t settled, settled_near, settled_at;
};

/* ---- which spaces ---- */

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Spaces of a folder: *.csv that begin as recordings do and are searched by time alone. */
static bool is_space(const char *path)
{
    char head[2] = "";
    FILE *file = fopen(path, "r");
    bool is = file != NULL && fread(head, 1, 2, file) == 2 && memcmp(head, "# ", 2) == 0;

    if (file != NULL) {
        fclose(file);
    }
    return is && strstr(path, "/counters-") == NULL;
}

static bool add_path(struct bench *bench, const char *path, struct err *err)
{
    if (bench->path_count == SPACES_MAX) {
        return err_set(err, ERR_USER, "more than %d spaces", SPACES_MAX);
    }
    bench->paths[bench->path_count++] = path;
    return true;
}

static bool add_folder(struct bench *bench, const char *folder, struct err *err)
{
    struct arena *arena = bench->cli->arena;
    int first = bench->path_count;
    struct buf peers = {0};
    struct dirent *entry;
    DIR *dir = opendir(folder);
    bool ok = true;

    if (dir == NULL) {
        return err_sys(err, "cannot read the folder '%s'", folder);
    }
    while (ok && (entry = readdir(dir)) != NULL) {
        const char *dot = strrchr(entry->d_name, '.');
        const char *path = arena_printf(arena, "%s/%s", folder, entry->d_name);

        if (dot != NULL && strcmp(dot, ".csv") == 0 && is_space(path)) {
            ok = add_path(bench, path, err);
        }
    }
    closedir(dir);
    qsort(bench->paths + first, (size_t)(bench->path_count - first), sizeof *bench->paths,
          compare_texts);
    if (ok && bench->path_count == first) {
        err_set(err, ERR_USER, "the folder '%s' holds no recorded space", folder);
        return err_hint(err, "'evo record' writes one of any run");
    }
    if (ok && file_read(arena_printf(arena, "%s/peers.csv", folder), PEERS_BYTES_MAX, &peers,
                        &(struct err){0})) {
        bench->peers = arena_dup(arena, peers.data != NULL ? peers.data : "");
    }
    buf_free(&peers);
    return ok;
}

static bool find_spaces(struct bench *bench, struct err *err)
{
    struct cli *cli = bench->cli;
    const char *path;
    int at = 0;

    while ((path = cli_each(cli, "spaces", &at)) != NULL) {
        struct stat info;

        if (stat(path, &info) != 0) {
            return err_sys(err, "cannot read '%s'", path);
        }
        if (!(S_ISDIR(info.st_mode) ? add_folder(bench, path, err) : add_path(bench, path, err))) {
            return false;
        }
    }
    if (bench->path_count == 0) {
        err_set(err, ERR_USER, "no recorded space is named");
        return err_hint(err, "--spaces names a folder of them, or one file");
    }
    return true;
}

/* ---- which strategies, how much ---- */

static bool find_strategies(struct bench *bench, struct err *err)
{
    const char *name;
    int at = 0;

    while ((name = cli_each(bench->cli, "strategy", &at)) != NULL) {
        if (bench->strategy_count == STRATEGY_COUNT) {
            return err_set(err, ERR_USER, "more strategies than there are");
        }
        if (!strategy_parse(name, &bench->strategies[bench->strategy_count++])) {
            err_set(err, ERR_USER, "unknown strategy '%s'", name);
            return err_hint(err, "known are evo, exhaustive, ga, hill and random");
        }
    }
    if (bench->strategy_count == 0) {
        bench->strategies[bench->strategy_count++] = STRATEGY_EVO;
    }
    return true;
}

static bool read_plan(struct bench *bench, struct err *err)
{
    struct cli *cli = bench->cli;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t evals, repeats, jobs, lag;

    cores = cores < 1 ? 1 : cores > BENCH_JOBS_MAX ? BENCH_JOBS_MAX : cores;
    if (!cli_number(cli, "evals", 1, BENCH_EVALS_MAX, 400, &evals, err) ||
        !cli_number(cli, "repeats", 1, BENCH_REPEATS_MAX, 20, &repeats, err) ||
        !cli_number(cli, "lag", 1, 1024, 1, &lag, err) ||
        !cli_number(cli, "jobs", 1, BENCH_JOBS_MAX, cores, &jobs, err)) {
        return false;
    }
    bench->plan = (struct bench_plan){.evals = (int)evals, .repeats = (int)repeats,
                                      .jobs = (int)jobs, .lag = (int)lag,
                                      .noise = cli_has(cli, "noise")};
    return true;
}

/* ---- peers ---- */

/* The least of a column of peers.csv among the other tuners' rows of a space; 0: none. */
static double best_peer(const char *peers, const char *space, const char *column)
{
    int wanted = -1;
    double best = 0;
    char line[1024];

    for (bool head = true; peers != NULL && *peers != '\0'; head = false) {
        size_t length = strcspn(peers, "\n");
        const char *cells[32] = {NULL};
        char *rest = line;
        int count = 0;
        double value;

        snprintf(line, sizeof line, "%.*s", (int)length, peers);
        peers += length + (peers[length] == '\n');
        while (rest != NULL && count < 32) {
            cells[count++] = strsep(&rest, ",");
        }
        for (int i = 0; head && i < count; i++) {
            wanted = strcmp(cells[i], column) == 0 ? i : wanted;
        }
        if (!head && wanted >= 0 && wanted < count && count > 2 && strcmp(cells[0], space) == 0 &&
            !str_starts(cells[2], "ref_") && str_to_f64(cells[wanted], &value) && value > 0 &&
            (best == 0 || value < best)) {
            best = value;
        }
    }
    return best;
}

static const char *beside_peer(const struct bench *bench, const char *space, double median,
                               const char *column)
{
    struct arena *arena = bench->cli->arena;
    double peer = best_peer(bench->peers, space, column);
    const char *own = median > 0 ? arena_printf(arena, "%.0f", median) : "never";

    return bench->peers == NULL ? own
           : peer > 0 ? arena_printf(arena, "%s (%.0f)", own, peer)
                      : arena_printf(arena, "%s (never)", own);
}

/* ---- printing ---- */

static const char *relative(struct arena *arena, double value)
{
    return value > 0 && isfinite(value) ? arena_printf(arena, "%.3f", value) : "-";
}

static void print_row(struct bench *bench, const char *space, enum seed_strategy strategy,
                      const struct bench_result *result)
{
    struct arena *arena = bench->cli->arena;
    const char *cells[16];
    int count = 0;

    cells[count++] = space;
    cells[count++] = strategy_names[strategy];
    for (int i = 0; i < BENCH_MARKS; i++) {
        cells[count++] = relative(arena, result->best_rel[i]);
    }
    for (int i = 0; i < BENCH_NEARS; i++) {
        cells[count++] = arena_printf(arena, "%.1f ± %.1f", result->evals_to[i],
                                      result->spread[i]);
    }
    cells[count++] = arena_printf(arena, "%.0f %%", 100 * result->solved[NEAR_1]);
    cells[count++] = beside_peer(bench, space, result->median_to[NEAR_5], "median_evals_to_5pct");
    cells[count++] = beside_peer(bench, space, result->median_to[NEAR_1], "median_evals_to_1pct");
    cells[count++] = arena_printf(arena, "%.3f", result->score);
    cells[count++] = arena_printf(arena, "%.3f", result->score_time);
    cells[count] = arena_printf(arena, "%.2f", result->ms_per_proposal);
    table_row(bench->table, STYLE_PLAIN, cells);
}

static void print_total(struct bench *bench, enum seed_strategy strategy,
                        const struct total *total)
{
    struct arena *arena = bench->cli->arena;
    const char *cells[16] = {"all (geometric means)", strategy_names[strategy]};
    int count = 2, n = total->spaces;

    for (int i = 0; i < BENCH_MARKS; i++) {
        cells[count++] = relative(arena, isfinite(total->best_rel[i])
                                             ? exp(total->best_rel[i] / n) : 0);
    }
    for (int i = 0; i < BENCH_NEARS; i++) {
        cells[count++] = arena_printf(arena, "%.1f", exp(total->evals_to[i] / n));
    }
    cells[count++] = arena_printf(arena, "%.1f %%", 100 * total->solved / n);
    cells[count++] = "";
    cells[count++] = "";
    cells[count++] = arena_printf(arena, "%.3f", total->score / n);
    cells[count++] = arena_printf(arena, "%.3f", total->score_time / n);
    cells[count] = arena_printf(arena, "%.2f", total->ms / n);
    table_row(bench->table, STYLE_BOLD, cells);
}

/* What the table has no column for. */
static void print_notes(const struct bench *bench, const char *name, const struct total *total)
{
    double runs = (double)bench->plan.repeats * total->spaces, settled = (double)total->settled;

    if (total->settled > 0) {
        printf("%s: %.1f %% of runs would have ended by themselves, after %.0f evaluations on "
               "average, %.1f %% of these within %d %%\n", name, 100 * settled / runs,
               (double)total->settled_at / settled, 100 * (double)total->settled_near / settled,
               bench_nears[NEAR_1]);
    }
    if (bench->plan.noise) {
        printf("%s, with noise: what it has chosen after %d is within %d %% in %.1f %% of runs; "
               "%.0f samples an evaluation\n", name, bench->plan.evals, bench_nears[NEAR_1],
               100 * total->chosen / total->spaces, total->samples / total->spaces);
    }
}

static void print_csv(const struct bench *bench, const char *space, enum seed_strategy strategy,
                      const struct bench_result *result)
{
    printf("%s,%s,%d", space, strategy_names[strategy], bench->plan.repeats);
    for (int i = 0; i < BENCH_MARKS; i++) {
        printf(result->best_rel[i] > 0 ? ",%.5f" : ",", result->best_rel[i]);
    }
    for (int i = 0; i < BENCH_NEARS; i++) {
        printf(",%.2f,%.2f,%.4f", result->evals_to[i], result->spread[i], result->solved[i]);
    }
    printf(",%.4f,%.4f,%.3f\n", result->score, result->score_time, result->ms_per_proposal);
}

static void csv_head(void)
{
    printf("space,strategy,repeats");
    for (int i = 0; i < BENCH_MARKS; i++) {
        printf(",best_rel_%d", bench_marks[i]);
    }
    for (int i = 0; i < BENCH_NEARS; i++) {
        printf(",evals_to_%d,evals_to_%d_half,solved_%d", bench_nears[i], bench_nears[i],
               bench_nears[i]);
    }
    printf(",score,score_time,ms_per_proposal\n");
}

static json_t *result_json(const struct bench *bench, const char *space,
                           enum seed_strategy strategy, const struct bench_result *result)
{
    json_t *best = json_object(), *evals = json_object(), *half = json_object();
    json_t *solved = json_object();
    struct arena *arena = bench->cli->arena;

    for (int i = 0; i < BENCH_MARKS; i++) {
        json_object_set_new(best, arena_printf(arena, "%d", bench_marks[i]),
                            json_number(result->best_rel[i] > 0 ? result->best_rel[i] : NAN));
    }
    for (int i = 0; i < BENCH_NEARS; i++) {
        const char *key = arena_printf(arena, "%d", bench_nears[i]);

        json_object_set_new(evals, key, json_number(result->evals_to[i]));
        json_object_set_new(half, key, json_number(result->spread[i]));
        json_object_set_new(solved, key, json_number(result->solved[i]));
    }
    return json_pack("{s:o, s:s, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "space",
                     json_text(space), "strategy", strategy_names[strategy], "repeats",
                     bench->plan.repeats, "best_rel", best, "evals_to", evals, "evals_to_half",
                     half, "solved", solved, "score", json_number(result->score), "score_time",
                     json_number(result->score_time), "ms_per_proposal",
                     json_number(result->ms_per_proposal));
}

static void add_result(struct total *total, const struct bench_result *result)
{
    total->spaces++;
    for (int i = 0; i < BENCH_MARKS; i++) {
        total->best_rel[i] += log(result->best_rel[i]); /* of none: never finite again */
    }
    for (int i = 0; i < BENCH_NEARS; i++) {
        total->evals_to[i] += log(result->evals_to[i]);
    }
    total->solved += result->solved[NEAR_1];
    total->score += result->score;
    total->score_time += result->score_time;
    total->ms += result->ms_per_proposal;
    total->samples += result->samples;
    total->chosen += result->chosen;
    total->settled += result->settled;
    total->settled_near += result->settled_near;
    total->settled_at += result->settled_at;
}

/* ---- the command ---- */

/* The next space after this one, round the end, that has the same parameters, if there is one. */
static bool open_memory(const struct bench *bench, int index, const struct bench_space *space,
                        struct arena *arena, struct bench_space *memory, bool *found,
                        struct err *err)
{
    *found = false;
    for (int i = 1; i < bench->path_count && !*found; i++) {
        const char *path = bench->paths[(index + i) % bench->path_count];

        if (!bench_open(arena, path, bench->plan.evals, memory, err)) {
            return false;
        }
        *found = bench_alike(space, memory);
    }
    return true;
}

static bool run_space(struct bench *bench, int index, struct total *totals, struct err *err)
{
    struct arena *arena = arena_new();
    struct bench_space space, memory;
    bool ok = bench_open(arena, bench->paths[index], bench->plan.evals, &space, err), found = false;

    if (ok && cli_has(bench->cli, "memory")) {
        ok = open_memory(bench, index, &space, arena, &memory, &found, err);
    }
    bench->plan.memory = found ? &memory : NULL;

    for (int i = 0; ok && i < bench->strategy_count; i++) {
        struct bench_result result = {.score = 0};
        const char *name;

        ok = bench_run_all(arena, &space, bench->strategies[i], &bench->plan, &result, err);
        if (!ok) {
            break;
        }
        name = arena_dup(bench->cli->arena, space.space->name);
        add_result(&totals[i], &result);
        if (bench->json != NULL) {
            json_array_append_new(bench->json,
                                  result_json(bench, name, bench->strategies[i], &result));
        } else if (bench->table != NULL) {
            print_row(bench, name, bench->strategies[i], &result);
        } else {
            print_csv(bench, name, bench->strategies[i], &result);
            fflush(stdout);
        }
    }
    arena_free(arena);
    return ok;
}

static bool bench_search(struct cli *cli, struct err *err)
{
    static const char *const heads[] = {
        "space", "strategy", "best @25", "@50", "@100", "@200", "@400", "evaluations to 10 %",
        "5 %", "1 %", "1 % by 200", "median to 5 % (best peer)", "1 %", "P", "P by time", "ms"};
    struct total totals[STRATEGY_COUNT] = {{0}};
    struct bench bench = {.cli = cli};

    if (!read_plan(&bench, err) || !find_strategies(&bench, err) || !find_spaces(&bench, err)) {
        return false;
    }
    if (cli_has(cli, "json")) {
        bench.json = json_array();
    } else if (cli_has(cli, "csv")) {
        csv_head();
    } else {
        bench.table = table_new(cli->arena, "llrrrrrrrrrrrrrr", heads);
    }
    for (int i = 0; i < bench.path_count; i++) {
        if (!run_space(&bench, i, totals, err)) {
            json_decref(bench.json);
            return false;
        }
    }
    if (bench.json != NULL) {
        return cli_json(bench.json, err);
    }
    for (int i = 0; bench.table != NULL && i < bench.strategy_count; i++) {
        print_total(&bench, bench.strategies[i], &totals[i]);
    }
    if (bench.table != NULL) {
        table_print(bench.table, stdout);
        printf("\n%d runs each, lag %d; means with 95 %% intervals, a run not there by %d counts "
               "as %d\n", bench.plan.repeats, bench.plan.lag, BENCH_UNSOLVED, BENCH_UNSOLVED);
        for (int i = 0; i < bench.strategy_count; i++) {
            print_notes(&bench, strategy_names[bench.strategies[i]], &totals[i]);
        }
    }
    return true;
}

int cmd_bench_search(int argc, char **argv) { return cli_run(argc, argv, bench_search); }
