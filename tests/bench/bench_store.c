/*
 * bench_store -- what recording and asking cost.
 *
 *     bench_store [PLACES [RESULTS_PER_S QUERY_MS STATUS_MS]]
 *
 * Fills a database in /tmp with PLACES candidates (default 100000), each from proposal to verdict
 * with build, attempts, six cases, four times SAMPLES samples and two metrics, GROUP of them a
 * round with synchronous=FULL, and asks it as the commands do: a fresh reader each time. Fails when
 * recording is slower, or an answer later, than the bars given.
 */
#include "base/clock.h"
#include "base/str.h"
#include "db/query.h"
#include "fitness/stats.h"
#include "../unit/store_fixture.h"

#include <sys/stat.h>

enum { GROUP = 16, SAMPLES = 100, ASKS = 20, ONE_BY_ONE = 64 };

static const char *const operators[] = {"step", "multi", "crossover", "immigrant", "jump"};

/* Times scattered by the place's digits, so that ranks are not the order of arrival. */
static double time_of(int64_t place) { return 100 + (double)(place * 7919 % 100003) / 100; }

static void record_place(struct fixture *f, int64_t place)
{
    const char *operator_name = place == 0 ? "founder" : operators[place % 5];
    struct candidate_row row = fixture_candidate(f, place, operator_name);
    enum verdict verdict = place % 4 == 3 ? VERDICT_WRONG : VERDICT_PASS;
    int64_t judgement, attempt;

    row.numerics = place % 10 == 9;
    row.depth = place == 0 ? 0 : 1 + (int)(place / 100);
    if (row.parent_count == 2) { /* relatives, but not all of one line */
        row.parents[0] = place - 1 - place * 31 % (place < 100 ? place : 100);
        row.parents[1] = place / 2;
    }
    fixture_propose(f, &row);
    fixture_build(f, &row, fixture_hash("image", place), false);
    MUST(f,
         store_attempt_begin(f->store, f->run, place, ROLE_JUDGE, "cuda:0", 1, &attempt, &f->err));
    judgement = fixture_judge(f, &row, place, time_of(place), verdict, SAMPLES);
    MUST(f, store_attempt_end(f->store, attempt, 2, verdict_names[verdict], &f->err));
    fixture_finish(f, &row, place, judgement, verdict);
}

/* Places a second, `group` a round. */
static double record(struct fixture *f, int64_t from, int64_t to, int group)
{
    int64_t start = clock_now_us(), place = from;

    while (place < to) {
        MUST(f, store_begin(f->store, &f->err));
        for (int i = 0; i < group && place < to; i++) {
            record_place(f, place++);
        }
        MUST(f, store_commit(f->store, &f->err));
    }
    return (double)(to - from) * 1e6 / (double)(clock_now_us() - start + 1);
}

static void ask_best(struct store *store, struct fixture *f, int64_t last)
{
    struct best_filter filter = {.numerics = -1, .limit = 10};
    struct kernel_row *rows;
    int64_t count;

    (void)last;
    MUST(f, query_best(store, f->arena, &filter, &rows, &count, &f->err));
}

static void ask_best_of_family_and_shape(struct store *store, struct fixture *f, int64_t last)
{
    struct best_filter filter = {
        .numerics = -1, .limit = 10, .family = "attention_wmma", .problem = FIXTURE_PROBLEM_B};
    struct kernel_row *rows;
    int64_t count;

    (void)last;
    MUST(f, query_best(store, f->arena, &filter, &rows, &count, &f->err));
}

static void ask_status(struct store *store, struct fixture *f, int64_t last)
{
    struct status_row row;
    bool found;

    (void)last;
    MUST(f, query_status(store, f->arena, 0, &row, &found, &f->err));
}

static void ask_lineage(struct store *store, struct fixture *f, int64_t last)
{
    struct candidate_row *rows;
    int64_t count;

    MUST(f, query_lineage(store, f->arena, f->run, last, &rows, &count, &f->err));
}

/* Median of ASKS, each as a command: open, ask, close. */
static double ask(struct fixture *f, const char *name, int64_t last,
                  void (*question)(struct store *store, struct fixture *f, int64_t last))
{
    double ms[ASKS], median;

    for (int i = 0; i < ASKS; i++) {
        int64_t start = clock_now_us();
        struct store *store;

        MUST(f, store_open(f->path, STORE_READ, &store, &f->err));
        question(store, f, last);
        store_close(store);
        ms[i] = (double)(clock_now_us() - start) / 1e3;
        arena_reset(f->arena);
    }
    median = stats_quantile(ms, ASKS, 0.5);
    printf("%-28s %8.2f ms (open, ask, close; median of %d)\n", name, median, ASKS);
    return median;
}

static bool count_row(void *context, const struct candidate_row *row, struct err *err)
{
    (void)row;
    (void)err;
    ++*(int64_t *)context;
    return true;
}

/* What a start pays to load its candidates. */
static void load(struct fixture *f)
{
    int64_t start = clock_now_us(), count = 0;

    MUST(f, store_candidates_each(f->store, f->run, count_row, &count, &f->err));
    printf("%-28s %8.0f ms (%lld candidates)\n", "load", (double)(clock_now_us() - start) / 1e3,
           (long long)count);
}

static long resident_kb(void)
{
    struct buf status = {0};
    struct err err;
    const char *line;
    long kb = 0;

    if (file_read("/proc/self/status", 1 << 16, &status, &err) &&
        (line = strstr(status.data, "VmRSS:")) != NULL) {
        kb = strtol(line + 6, NULL, 10);
    }
    buf_free(&status);
    return kb;
}

int main(int argc, char **argv)
{
    int64_t places = argc > 1 ? strtoll(argv[1], NULL, 10) : 100000;
    double rate_min = argc > 2 ? atof(argv[2]) : 0;
    double query_max = argc > 3 ? atof(argv[3]) : 1e9, status_max = argc > 4 ? atof(argv[4]) : 1e9;
    double rate, best, status;
    struct fixture f;
    struct stat file;
    long before;
    bool ok;

    fixture_open(&f);
    MUST(&f, store_begin(f.store, &f.err));
    fixture_run(&f);
    MUST(&f, store_commit(f.store, &f.err));
    printf("%-28s %8.0f results/s (synchronous=FULL, 1 a round)\n", "record",
           record(&f, 0, ONE_BY_ONE, 1));
    before = resident_kb();
    rate = record(&f, ONE_BY_ONE, places, GROUP);
    printf("%-28s %8.0f results/s (synchronous=FULL, %d a round)\n", "record", rate, GROUP);
    printf("%-28s %8ld kB more than before\n", "memory", resident_kb() - before);
    best = ask(&f, "best", places - 1, ask_best);
    ask(&f, "best of a family and shape", places - 1, ask_best_of_family_and_shape);
    status = ask(&f, "status", places - 1, ask_status);
    ask(&f, "lineage", places - 1, ask_lineage);
    load(&f);
    printf("%-28s %8.1f MB (%lld candidates)\n", "file",
           stat(f.path, &file) == 0 ? (double)file.st_size / 1e6 : NAN, (long long)places);
    ok = rate >= rate_min && best <= query_max && status <= status_max;
    if (!ok) {
        printf("slower than %.0f results/s, best %.0f ms, status %.0f ms\n", rate_min, query_max,
               status_max);
    }
    fixture_close(&f);
    return ok ? 0 : 1;
}
