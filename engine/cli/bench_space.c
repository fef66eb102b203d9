#define _GNU_SOURCE /* MAP_ANONYMOUS */

#include "cli/bench_space.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/proc.h"
#include "base/rng.h"

enum {
    SCORE_STEPS = 1000,
    STREAM_NOISE = 0x6e6f6973,
    SAMPLES_QUICK = 8, /* of a measurement, where there is noise */
    SAMPLES_FULL = 50,
    SAMPLES_MAX = 4096,
};

static const double BUDGET_FROM = 0.01, BUDGET_TO = 0.95;
static const double INTERVAL = 0.005; /* half of it, of a measurement's mean */

const int bench_marks[BENCH_MARKS] = {25, 50, 100, 200, 400};
const int bench_nears[BENCH_NEARS] = {10, 5, 1};

/* ---- the space ---- */

static int ascend(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double median_of(const double *sorted, int64_t count)
{
    return count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

static double cost_ms(const struct space_row *row)
{
    return row->compile_ms + row->verify_ms + row->bench_ms;
}

/* Evaluations after which random search is expected to be this far from median to optimum. */
static int cutoff(const struct bench_space *bench, double share)
{
    double target = bench->optimum_us + (bench->median_us - bench->optimum_us) * (1 - share);
    int64_t n = bench->passed, i = 0;

    while (bench->ascending[n - 1 - i] > target) {
        i++;
    }
    if (bench->ascending[n - 1 - i] == bench->optimum_us) {
        i--;
    }
    return i <= 0 ? 0 : (int)ceil((double)i / (double)(n + 1 - i));
}

static void sum_costs(struct arena *arena, struct bench_space *bench)
{
    const struct space *space = bench->space;
    double *costs = arena_alloc(arena, (size_t)space->row_count * sizeof *costs);
    double good = 0, bad = 0;
    int64_t failed = space->row_count - bench->passed;

    for (int64_t i = 0; i < space->row_count; i++) {
        costs[i] = cost_ms(&space->rows[i]);
        *(space->rows[i].verdict == VERDICT_PASS ? &good : &bad) += costs[i];
    }
    qsort(costs, (size_t)space->row_count, sizeof *costs, ascend);
    bench->cost_median_ms = median_of(costs, space->row_count);
    bench->cost_mean_ms = good / (double)bench->passed;
    if (failed > 0) {
        bench->cost_mean_ms += (double)failed / (double)space->row_count * bad / (double)failed;
    }
}

bool bench_open(struct arena *arena, const char *path, int evals, struct bench_space *bench,
                struct err *err)
{
    *bench = (struct bench_space){.passed = 0};
    if (!space_load(arena, path, &bench->space, err) ||
        !family_of_space(arena, bench->space, &bench->family, err)) {
        return false;
    }
    bench->ascending = arena_alloc(arena, (size_t)bench->space->row_count * sizeof(double));
    for (int64_t i = 0; i < bench->space->row_count; i++) {
        if (bench->space->rows[i].verdict == VERDICT_PASS) {
            bench->ascending[bench->passed++] = bench->space->rows[i].time_us;
        }
    }
    if (bench->passed < 2) {
        return err_set(err, ERR_USER, "'%s' holds fewer than two configurations that passed", path);
    }
    qsort(bench->ascending, (size_t)bench->passed, sizeof(double), ascend);
    bench->optimum_us = bench->ascending[0];
    bench->median_us = median_of(bench->ascending, bench->passed);
    sum_costs(arena, bench);
    bench->first = cutoff(bench, BUDGET_FROM);
    bench->last = cutoff(bench, BUDGET_TO);
    bench->last = bench->last < evals ? bench->last : evals;
    if (bench->last - bench->first < 2) {
        bench->last = bench->first + 2;
    }
    return true;
}

bool bench_alike(const struct bench_space *a, const struct bench_space *b)
{
    bool alike = a->family->gene_count == b->family->gene_count;

    for (int i = 0; alike && i < a->family->gene_count; i++) {
        alike = strcmp(a->family->genes[i].name, b->family->genes[i].name) == 0;
    }
    return alike;
}

/* ---- one run ---- */

struct replay {
    const struct bench_space *bench;
    const struct bench_plan *plan;
    struct bench_run *run;
    struct proposal *proposals;
    double *measured;   /* of each place, 0: failed */
    double best_us;     /* as measured */
    double chosen_us;   /* its true time */
    uint64_t seed;
};

static double gauss(struct rng *rng)
{
    double u = 1.0 - rng_unit(rng), v = rng_unit(rng); /* u > 0 */

    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

/*
 * The mean of as many samples as a judge would take (docs/MEASURING.md): few if all of them are
 * above the bound, else enough for a narrow interval.
 */
static double measure(struct replay *replay, int64_t place, int attempt,
                      const struct space_row *row)
{
    struct rng rng = rng_at(replay->seed, STREAM_NOISE + (uint32_t)attempt, (uint64_t)place);
    double bound = replay->proposals[place].bound_us, mean = 0, squares = 0, least = INFINITY;
    int count = 0;

    for (; count < SAMPLES_MAX; count++) {
        double us = fmax(row->time_us + row->sd_us * gauss(&rng), row->time_us * 0.1);
        double off = us - mean, half = 1.96 * sqrt(squares / fmax(count - 1, 1) / fmax(count, 1));

        if ((count == SAMPLES_QUICK && bound > 0 && least > bound) ||
            (count >= SAMPLES_FULL && half <= INTERVAL * mean)) {
            break;
        }
        least = fmin(least, us);
        mean += off / (count + 1);
        squares += off * (us - mean);
    }
    replay->run->samples += count;
    return mean;
}

static void evaluate(struct replay *replay, int64_t place)
{
    const struct space_row *row =
        space_find(replay->bench->space, replay->proposals[place].genome.at);
    double us = 0;

    if (row->verdict == VERDICT_PASS) {
        us = replay->plan->noise ? measure(replay, place, 0, row) : row->time_us;
        if (replay->plan->noise && (replay->best_us == 0 || us < replay->best_us)) {
            us = measure(replay, place, 1, row); /* as a promotion does: luck does not come twice */
        }
        if (replay->best_us == 0 || us < replay->best_us) {
            replay->best_us = us;
            replay->chosen_us = row->time_us;
        }
    }
    replay->measured[place] = us;
    replay->run->best_us[place] = replay->chosen_us;
    replay->run->clock_ms[place] =
        cost_ms(row) + (place > 0 ? replay->run->clock_ms[place - 1] : 0);
}

/* The genome of another space with the same parameters; false: a value is not in this one. */
static bool translate(const struct family *from, const struct genome *genome,
                      const struct family *to, struct genome *translated)
{
    struct arena *arena = arena_new();
    const char *text = strchr(genome_text(arena, from, genome), ' ');
    bool ok;

    *translated = (struct genome){.family = 0};
    ok = text != NULL && genome_parse(to, text + 1, translated, &(struct err){0});
    arena_free(arena);
    return ok;
}

/* What a search of the plan's other space found, as lessons for this one. */
static int learn(const struct bench_space *bench, const struct replay *replay, int evals,
                 struct lesson *lessons)
{
    int count = 0;

    for (int i = 0; i < evals; i++) {
        struct lesson *lesson = &lessons[count];

        if (replay->measured[i] > 0) {
            *lesson = (struct lesson){.us = replay->measured[i]};
            count += translate(replay->bench->family, &replay->proposals[i].genome,
                               bench->family, &lesson->genome) &&
                     space_find(bench->space, lesson->genome.at) != NULL;
        }
    }
    return memory_choose(lessons, count, MEMORY_LESSONS_MAX);
}

static void run_search(struct replay *replay, struct population *population)
{
    const struct bench_plan *plan = replay->plan;
    struct bench_run *run = replay->run;

    for (int64_t place = 0, folded = 0; place < plan->evals; place++) {
        for (; folded <= place - plan->lag; folded++) {
            const struct proposal *past = &replay->proposals[folded];

            population_fold(population, &(struct outcome){.place = folded, .genome = past->genome,
                                                          .numerics = past->numerics,
                                                          .depth = past->depth,
                                                          .kind = past->operator_kind,
                                                          .us = replay->measured[folded]});
        }
        if (!population_propose(population, place, &replay->proposals[place])) {
            for (; place < plan->evals; place++) { /* the space is exhausted */
                run->best_us[place] = replay->chosen_us;
                run->clock_ms[place] = run->clock_ms[place - 1];
            }
            break;
        }
        evaluate(replay, place);
        if (run->settled == 0 && replay->proposals[place].settled) {
            run->settled = (int)place + 1;
        }
    }
}

/* A search, taught these lessons. *kept stays valid until replay_end. */
static void run_once(const struct bench_space *bench, enum seed_strategy strategy, uint64_t seed,
                     const struct bench_plan *plan, const struct lesson *lessons,
                     int lesson_count, struct bench_run *run, struct replay *kept)
{
    struct family *families[1] = {bench->family};
    struct search_space space = {.families = families, .family_count = 1, .static_count = 1,
                                 .problem_count = 1, .classes = {true, false}};
    struct search_config config = search_defaults;
    struct population *population;
    int64_t begun = clock_cpu_us();

    *kept = (struct replay){.bench = bench, .plan = plan, .run = run, .seed = seed};
    config.rng_seed = seed;
    config.strategy = strategy;
    population = population_new(&space, &config);
    population_teach(population, lessons, lesson_count);
    kept->proposals = xcalloc((size_t)plan->evals, sizeof *kept->proposals);
    kept->measured = xcalloc((size_t)plan->evals, sizeof *kept->measured);
    run_search(kept, population);
    run->search_us = (double)(clock_cpu_us() - begun);
    population_free(population);
}

static void replay_end(struct replay *replay)
{
    free(replay->proposals);
    free(replay->measured);
}

/* What the search before this one found, if there is one; the caller frees it. */
static struct lesson *remember(const struct bench_space *bench, enum seed_strategy strategy,
                               uint64_t seed, const struct bench_plan *plan, int *count)
{
    struct lesson *lessons = xcalloc((size_t)plan->evals, sizeof *lessons);
    struct bench_run run = {.best_us = xcalloc((size_t)plan->evals, sizeof(double)),
                            .clock_ms = xcalloc((size_t)plan->evals, sizeof(double))};
    struct replay replay;

    *count = 0;
    if (plan->memory != NULL) {
        run_once(plan->memory, strategy, seed + BENCH_REPEATS_MAX, plan, NULL, 0, &run, &replay);
        *count = learn(bench, &replay, plan->evals, lessons);
        replay_end(&replay);
    }
    free(run.best_us);
    free(run.clock_ms);
    return lessons;
}

/* ---- what runs are worth ---- */

static int64_t rank_of(const struct bench_space *bench, double us)
{
    int64_t low = 0, high = bench->passed;

    while (low < high) {
        int64_t middle = (low + high) / 2;

        if (bench->ascending[middle] < us) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < bench->passed ? low : bench->passed - 1;
}

/* What random search is expected to have after so many evaluations. */
static double baseline(const struct bench_space *bench, double evals)
{
    double n = (double)bench->passed, index = rint(evals * (n + 1) / (evals + 1));

    return bench->ascending[bench->passed - 1 - (int64_t)fmin(n - 1, index)];
}

/* The time at the mean of the runs' ranks after evaluation at[r] of run r. */
static double typical(const struct bench_space *bench, const struct bench_run *runs, int count,
                      int evals, const int *at)
{
    double ranks = 0;

    for (int r = 0; r < count; r++) {
        int i = at[r] < evals ? at[r] : evals - 1;

        while (i < evals - 1 && runs[r].best_us[i] == 0) {
            i++; /* before its first success a run has what it had first */
        }
        ranks += (double)(runs[r].best_us[i] > 0 ? rank_of(bench, runs[r].best_us[i])
                                                 : bench->passed - 1);
    }
    return bench->ascending[(int64_t)rint(ranks / count)];
}

static double score_evals(const struct bench_space *bench, const struct bench_run *runs, int count,
                          int evals, int *at)
{
    double sum = 0;
    int terms = 0;

    for (int k = bench->first > 1 ? bench->first : 1; k <= bench->last; k++) {
        double base = baseline(bench, k);

        for (int r = 0; r < count; r++) {
            at[r] = k - 1;
        }
        if (base > bench->optimum_us) {
            sum += (base - typical(bench, runs, count, evals, at)) / (base - bench->optimum_us);
            terms++;
        }
    }
    return terms > 0 ? sum / terms : 0;
}

static double score_clock(const struct bench_space *bench, const struct bench_run *runs, int count,
                          int evals, int *at)
{
    double from = bench->first * bench->cost_median_ms, to = bench->last * bench->cost_median_ms;
    double sum = 0;
    int terms = 0;

    memset(at, 0, (size_t)count * sizeof *at);
    for (int i = 0; i < SCORE_STEPS; i++) {
        double time = from + (to - from) * i / (SCORE_STEPS - 1);
        double base = baseline(bench, fmax(1, rint(time / bench->cost_mean_ms)));

        for (int r = 0; r < count; r++) {
            while (at[r] + 1 < evals && runs[r].clock_ms[at[r] + 1] <= time) {
                at[r]++;
            }
        }
        if (base > bench->optimum_us) {
            sum += (base - typical(bench, runs, count, evals, at)) / (base - bench->optimum_us);
            terms++;
        }
    }
    return terms > 0 ? sum / terms : 0;
}

static bool is_near(const struct bench_space *bench, const struct bench_run *run, int at,
                    int percent)
{
    return run->best_us[at] > 0 && run->best_us[at] <= bench->optimum_us * (1 + percent / 100.0);
}

/* The first evaluation, counted from 1, from which a run is as near the optimum; 0: never. */
static int first_near(const struct bench_space *bench, const struct bench_run *run, int evals,
                      int percent)
{
    for (int i = 0; i < evals; i++) {
        if (is_near(bench, run, i, percent)) {
            return i + 1;
        }
    }
    return 0;
}

static void judge_near(const struct bench_space *bench, const struct bench_run *runs, int count,
                       int evals, double *values, int near, struct bench_result *result)
{
    double mean = 0, squares = 0, solved = 0;

    for (int r = 0; r < count; r++) {
        int first = first_near(bench, &runs[r], evals, bench_nears[near]);
        double capped = first > 0 && first <= BENCH_UNSOLVED ? first : BENCH_UNSOLVED;

        solved += first > 0 && first <= BENCH_UNSOLVED;
        mean += capped / count;
        squares += capped * capped / count;
        values[r] = first > 0 ? first : INFINITY;
    }
    qsort(values, (size_t)count, sizeof *values, ascend);
    result->evals_to[near] = mean;
    result->spread[near] =
        count > 1 ? 1.96 * sqrt(fmax(0, squares - mean * mean) / (count - 1)) : 0;
    result->median_to[near] = isfinite(values[count / 2]) ? median_of(values, count) : 0;
    result->solved[near] = solved / count;
}

static void judge(const struct bench_space *bench, const struct bench_run *runs,
                  const struct bench_plan *plan, struct bench_result *result)
{
    double *values = xcalloc((size_t)plan->repeats, sizeof *values), search_us = 0, samples = 0;
    int *at = xcalloc((size_t)plan->repeats, sizeof *at);

    for (int mark = 0; mark < BENCH_MARKS; mark++) {
        if (bench_marks[mark] > plan->evals) {
            result->best_rel[mark] = 0;
            continue;
        }
        for (int r = 0; r < plan->repeats; r++) {
            double us = runs[r].best_us[bench_marks[mark] - 1];

            values[r] = us > 0 ? us / bench->optimum_us : INFINITY;
        }
        qsort(values, (size_t)plan->repeats, sizeof *values, ascend);
        result->best_rel[mark] = median_of(values, plan->repeats);
    }
    for (int near = 0; near < BENCH_NEARS; near++) {
        judge_near(bench, runs, plan->repeats, plan->evals, values, near, result);
    }
    result->score = score_evals(bench, runs, plan->repeats, plan->evals, at);
    result->score_time = score_clock(bench, runs, plan->repeats, plan->evals, at);
    for (int r = 0; r < plan->repeats; r++) {
        search_us += runs[r].search_us;
        samples += runs[r].samples;
        if (runs[r].settled > 0) {
            result->settled++;
            result->settled_at += runs[r].settled;
            result->settled_near += is_near(bench, &runs[r], runs[r].settled - 1,
                                            bench_nears[BENCH_NEARS - 1]);
        }
        result->chosen += is_near(bench, &runs[r], plan->evals - 1, bench_nears[BENCH_NEARS - 1]);
    }
    result->chosen /= plan->repeats;
    result->ms_per_proposal = search_us / 1000 / plan->repeats / plan->evals;
    result->samples = samples / plan->repeats / plan->evals;
    free(values);
    free(at);
}

/* ---- all of them ---- */

/* What the processes share: runs are taken one after another by whoever is free. */
struct shared {
    atomic_int next;
    struct bench_run runs[];
};

static void work(struct shared *shared, const struct bench_space *bench,
                 enum seed_strategy strategy, const struct bench_plan *plan)
{
    int repeat;

    while ((repeat = atomic_fetch_add(&shared->next, 1)) < plan->repeats) {
        uint64_t seed = (uint64_t)repeat + 1;
        struct replay replay;
        int count;
        struct lesson *lessons = remember(bench, strategy, seed, plan, &count);

        run_once(bench, strategy, seed, plan, lessons, count, &shared->runs[repeat], &replay);
        replay_end(&replay);
        free(lessons);
    }
}

static bool wait_for(const pid_t *workers, int count, struct err *err)
{
    bool ok = true;

    for (int i = 0; i < count; i++) {
        char text[80];
        int status = 0;

        while (waitpid(workers[i], &status, 0) < 0) {
            continue; /* a signal came between */
        }
        if (status != 0 && ok) {
            ok = err_set(err, ERR_SYSTEM, "a process that ran searches %s",
                         proc_status_text(status, text));
        }
    }
    return ok;
}

bool bench_run_all(struct arena *arena, const struct bench_space *bench,
                   enum seed_strategy strategy, const struct bench_plan *plan,
                   struct bench_result *result, struct err *err)
{
    size_t count = (size_t)plan->repeats, evals = (size_t)plan->evals;
    size_t head = sizeof(struct shared) + count * sizeof(struct bench_run);
    size_t bytes = head + count * evals * 2 * sizeof(double);
    struct shared *shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                                 -1, 0);
    pid_t *workers = arena_alloc(arena, (size_t)plan->jobs * sizeof *workers);
    bool ok = true;
    int started = 0;

    if (shared == MAP_FAILED) {
        return err_sys(err, "cannot map %zu bytes", bytes);
    }
    for (size_t i = 0; i < count; i++) {
        shared->runs[i].best_us = (double *)((char *)shared + head) + 2 * i * evals;
        shared->runs[i].clock_ms = shared->runs[i].best_us + evals;
    }
    for (; ok && started < plan->jobs && started < plan->repeats; started++) {
        workers[started] = fork();
        if (workers[started] == 0) {
            work(shared, bench, strategy, plan);
            _exit(0);
        }
        if (workers[started] < 0) {
            ok = err_sys(err, "cannot fork");
            break;
        }
    }
    ok = wait_for(workers, started, err) && ok;
    if (ok) {
        judge(bench, shared->runs, plan, result);
    }
    munmap(shared, bytes);
    return ok;
}
