/*
 * bench_views -- large databases for what people look at, and a writer for them to look on at.
 *
 *     bench_views fill PATH PLACES      a database of a run as a search leaves it
 *     bench_views record PATH SECONDS [RESULTS_PER_S]
 *                                       goes on with it, as fast as it can or at a rate; tells the
 *                                       rate and how large the write-ahead log became
 *     bench_views bound MS MB COMMAND...  runs a command; fails when it takes longer or more memory
 *
 * The run is bred here, by a small search without a device: ten genes, four families, two parents,
 * verdicts of every kind, times that follow from the genes. views.sh measures with it.
 */
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "../unit/store_fixture.h"
#include "base/clock.h"
#include "base/rng.h"
#include "base/str.h"

enum {
    GROUP = 16, /* results a round while it is watched */
    GROUP_FILL = 2000,
    SAMPLES = 8, /* of losers a run keeps none for long (store_thin) */
    GENES = 10,
    VALUES = 6,
    POOL = 4096,      /* the newest that passed: parents are the better of three of them */
    SECONDS_EACH = 2, /* of the run's clock, for each place */
    GENES_TEXT = 200,
};

static const char *const families[] = {"attention_scalar", "attention_tiled", "attention_mma",
                                       "attention_wgmma"};
static const char *const operators[] = {"step", "multi", "crossover", "immigrant", "jump"};
static const char *const gene_names[GENES] = {"BLOCK_M", "BLOCK_N", "STAGES",  "WARPS",    "Exp",
                                              "Copy",    "SWIZZLE", "REUSE_Q", "PIPELINE", "ORDER"};

struct individual {
    int64_t place;
    int family, depth;
    uint8_t genes[GENES];
    double us;
};

struct breeding {
    struct rng rng;
    struct individual pool[POOL];
    int64_t bred; /* how many the pool has been given */
};

static int64_t draw(struct breeding *b, int64_t below)
{
    return rng_below(&b->rng, (uint32_t)below);
}

/* Some genes matter more than others, two of them only together. */
static double time_of(const struct individual *one)
{
    double us = 400.0 / (1 << one->family);

    for (int i = 0; i < GENES; i++) {
        us *= 1 + 0.25 / (i + 1) * abs((one->genes[i] + i) % VALUES - VALUES / 2);
    }
    return one->genes[0] == one->genes[1] ? us * 0.8 : us;
}

static const struct individual *parent_of(struct breeding *b)
{
    int64_t have = b->bred < POOL ? b->bred : POOL;
    const struct individual *best = NULL;

    for (int i = 0; i < 3; i++) {
        const struct individual *one = &b->pool[draw(b, have)];

        best = best == NULL || one->us < best->us ? one : best;
    }
    return best;
}

/* A child of one or two, or, at first, somebody new. */
static struct individual breed(struct breeding *b, int64_t place, int operator_,
                               struct candidate_row *row)
{
    struct individual child = {.family = (int)draw(b, 4)};

    if (b->bred == 0 || operator_ == 3) {
        for (int i = 0; i < GENES; i++) {
            child.genes[i] = (uint8_t)draw(b, VALUES);
        }
    } else {
        const struct individual *first = parent_of(b), *second = parent_of(b);

        child = *first;
        child.depth++;
        row->parents[row->parent_count++] = first->place;
        if (operator_ == 2 && second->place != first->place && second->family == first->family) {
            row->parents[row->parent_count++] = second->place;
            for (int i = GENES / 2; i < GENES; i++) {
                child.genes[i] = second->genes[i];
            }
        }
        for (int i = 0; i <= operator_; i++) {
            child.genes[draw(b, GENES)] = (uint8_t)draw(b, VALUES);
        }
    }
    child.place = place;
    child.us = time_of(&child) * (1 + 0.002 * (double)draw(b, 100) / 100);
    return child;
}

static void genes_text(const struct individual *one, char text[GENES_TEXT])
{
    size_t length = 0;

    for (int i = 0; i < GENES; i++) {
        length += (size_t)snprintf(text + length, GENES_TEXT - length, "%s%s=%d", i > 0 ? " " : "",
                                   gene_names[i], 1 << one->genes[i]);
    }
}

static enum verdict verdict_of(struct breeding *b)
{
    static const enum verdict rare[] = {VERDICT_WRONG,   VERDICT_RACY,       VERDICT_NO_LAUNCH,
                                        VERDICT_TIMEOUT, VERDICT_NO_COMPILE, VERDICT_WRONG};
    int64_t drawn = draw(b, 20);

    return drawn < 6 ? rare[drawn] : VERDICT_PASS;
}

static void add_metric(struct judge_result *result, enum metric metric, double value)
{
    result->metrics[result->metric_count].problem = 0;
    result->metrics[result->metric_count].metric = metric;
    result->metrics[result->metric_count].value = value;
    result->metrics[result->metric_count++].reason = "";
}

static int64_t judge(struct fixture *f, const struct individual *one, enum verdict verdict,
                     int64_t place)
{
    static struct judge_result result;
    struct judgement_row row = {.key = fixture_key(f, place),
                                .run = f->run,
                                .place = place,
                                .verdict = verdict,
                                .reason = "",
                                .device_ms = 40};
    struct score scores[2] = {{one->us, one->us * 0.997, one->us * 1.003},
                              {one->us * 2, one->us * 1.99, one->us * 2.01}};

    result = *fixture_result(one->us, verdict, SAMPLES);
    if (verdict == VERDICT_PASS) {
        row.score = score_combine(scores, 2);
        add_metric(&result, METRIC_SM_CLOCK_MHZ, 1980 - (double)(place % 90));
        add_metric(&result, METRIC_POWER_W, 300 + (double)(place % 250));
        add_metric(&result, METRIC_TEMPERATURE_C, 40 + (double)(place % 20));
    }
    MUST(f, store_judgement_insert(f->store, &row, &result, scores, &f->err));
    return row.id;
}

static void record_place(struct fixture *f, struct breeding *b, int64_t place)
{
    int operator_ = (int)draw(b, 5);
    struct candidate_row row = {.run = f->run,
                                .place = place,
                                .alias_of = -1,
                                .operator_name = b->bred == 0 ? "founder" : operators[operator_],
                                .genome_hash = fixture_hash("genome", place),
                                .created_at = 1700000000000 + SECONDS_EACH * 1000 * place};
    struct individual one = breed(b, place, operator_, &row);
    enum verdict verdict = verdict_of(b);
    char genes[GENES_TEXT];
    int64_t judgement = 0, attempt;
    bool built = verdict != VERDICT_NO_COMPILE;

    genes_text(&one, genes);
    row.genes = genes;
    row.family = families[one.family];
    row.depth = one.depth;
    row.island = (int)(place % 4);
    fixture_propose(f, &row);
    if (built) {
        fixture_build(f, &row, fixture_hash("image", place), false);
        MUST(f, store_attempt_begin(f->store, f->run, place, ROLE_JUDGE, "cuda:0", row.created_at,
                                    &attempt, &f->err));
        judgement = judge(f, &one, verdict, place);
        MUST(f, store_attempt_end(f->store, attempt, row.created_at + 900, verdict_names[verdict],
                                  &f->err));
    }
    fixture_finish(f, &row, built ? place : -1, judgement, verdict);
    if (verdict == VERDICT_PASS) {
        b->pool[b->bred++ % POOL] = one;
    }
}

static void record(struct fixture *f, struct breeding *b, int64_t from, int64_t to, int group)
{
    int64_t place = from;

    while (place < to) {
        MUST(f, store_begin(f->store, &f->err));
        for (int i = 0; i < group && place < to; i++) {
            record_place(f, b, place++);
        }
        MUST(f, store_commit(f->store, &f->err));
    }
}

static double size_mb(const char *path, const char *ending)
{
    char whole[512];
    struct stat file;

    snprintf(whole, sizeof whole, "%s%s", path, ending);
    return stat(whole, &file) == 0 ? (double)file.st_size / 1e6 : 0;
}

static int fill(struct fixture *f, struct breeding *b, const char *path, int64_t places)
{
    int64_t start = clock_now_ms();
    struct run_row run;
    bool found;

    MUST(f, store_begin(f->store, &f->err));
    fixture_run(f);
    MUST(f, store_commit(f->store, &f->err));
    record(f, b, 0, places, GROUP_FILL);
    MUST(f, store_begin(f->store, &f->err));
    MUST(f, store_run_latest(f->store, f->arena, &run, &found, &f->err));
    run.elapsed_ms = SECONDS_EACH * 1000 * places;
    run.device_ms = 0.8 * (double)run.elapsed_ms;
    run.budget_evaluations = 0;
    MUST(f, store_run_update(f->store, &run, &f->err));
    MUST(f, store_commit(f->store, &f->err));
    printf("filled: %lld evaluations, %.0f MB, %.1f s\n", (long long)places, size_mb(path, ""),
           (double)(clock_now_ms() - start) / 1e3);
    return 0;
}

/* The run and its judge, as `fill` made them. */
static void find_run(struct fixture *f)
{
    struct hello hello = {.protocol = JOB_PROTOCOL,
                          .role = ROLE_JUDGE,
                          .backend = "cuda",
                          .version = "gate 1 driver 580.1",
                          .device = "NVIDIA H200",
                          .device_id = "GPU-1",
                          .device_arch = 90,
                          .device_smem_max = 232448,
                          .device_sms = 132};
    struct run_row run;
    bool found;

    MUST(f, store_begin(f->store, &f->err));
    MUST(f, store_run_latest(f->store, f->arena, &run, &found, &f->err));
    MUST(f, store_environment(f->store, &hello, &f->environment, &f->err));
    MUST(f, store_commit(f->store, &f->err));
    f->run = run.id;
}

static int go_on(struct fixture *f, struct breeding *b, const char *path, double seconds,
                 double per_s)
{
    int64_t start, from, place, now;
    double log_mb = 0;

    find_run(f);
    MUST(f, store_candidate_count(f->store, f->run, &from, &f->err));
    place = from;
    start = clock_now_us();
    while ((now = clock_now_us() - start) < (int64_t)(seconds * 1e6)) {
        int64_t due = per_s > 0 ? (int64_t)((double)now / 1e6 * per_s) - (place - from) : GROUP;
        double mb;

        if (due <= 0) {
            usleep(2000);
            continue;
        }
        record(f, b, place, place + (due < GROUP ? due : GROUP), GROUP);
        place += due < GROUP ? due : GROUP;
        mb = size_mb(path, "-wal");
        log_mb = mb > log_mb ? mb : log_mb;
    }
    printf("recorded: %.0f results/s, write-ahead log %.1f MB at most\n",
           (double)(place - from) * 1e6 / (double)now, log_mb);
    return 0;
}

static int bound(double ms_max, double mb_max, char **argv)
{
    int64_t start = clock_now_us();
    struct rusage used;
    double ms, mb;
    int status;
    pid_t child = fork();

    if (child == 0) {
        execvp(argv[0], argv);
        perror(argv[0]);
        _exit(127);
    }
    if (child < 0 || wait4(child, &status, 0, &used) != child) {
        perror("bench_views");
        return 1;
    }
    ms = (double)(clock_now_us() - start) / 1e3;
    mb = (double)used.ru_maxrss / 1e3;
    fprintf(stderr, "%s %s: %.0f ms, %.0f MB\n", argv[0], argv[1] != NULL ? argv[1] : "", ms, mb);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 && ms <= ms_max && mb <= mb_max ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct breeding *b = xcalloc(1, sizeof *b);
    struct fixture f = {.arena = arena_new()};
    double number = argc > 3 ? atof(argv[3]) : 0;
    int status;

    if (argc > 4 && strcmp(argv[1], "bound") == 0) {
        arena_free(f.arena);
        free(b);
        return bound(atof(argv[2]), atof(argv[3]), argv + 4);
    }
    if (number <= 0 || (strcmp(argv[1], "fill") != 0 && strcmp(argv[1], "record") != 0)) {
        fprintf(stderr, "usage: bench_views fill PATH PLACES | record PATH SECONDS [RATE]\n");
        return 2;
    }
    b->rng = rng_at(1, 0, 0);
    MUST(&f, store_open(argv[2], STORE_CREATE, &f.store, &f.err));
    status = strcmp(argv[1], "fill") == 0
                 ? fill(&f, b, argv[2], (int64_t)number)
                 : go_on(&f, b, argv[2], number, argc > 4 ? atof(argv[4]) : 0);
    store_close(f.store);
    arena_free(f.arena);
    free(b);
    return status;
}
