/*
 * bench_reference -- how much of the cores' FP64 peak the CPU reference reaches.
 *
 *     bench_reference [--threads N] [SHARE]    fails when every shape stays below SHARE per cent
 *
 * The peak is measured, not read from a data sheet: chains of multiply-adds that need nothing but
 * registers, on as many threads, before and after each shape; the faster counts. Rates are those of
 * the time that the threads had a core, since a machine may have other work. `FP64` is the
 * multiply-adds of the exact output alone, as a share of that peak; `with baseline` counts those of
 * the FP32 baseline too, two of which a vector unit does in the time of one. What neither counts,
 * exponentials and unpacking among it, is lost time.
 */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "fitness/pool.h"
#include "fitness/reference.h"

enum { CHAINS = 16, STEPS = 200 * 1000, TRIES = 5 };

static double read_clock(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- the peak ---- */

static volatile double sink;

#define CHAIN_LOOP(name, bytes)                                                                    \
    static void name(void)                                                                         \
    {                                                                                              \
        typedef double lanes __attribute__((vector_size(bytes)));                                  \
        lanes x[CHAINS], a = {0.5}, b = {0.25};                                                    \
                                                                                                   \
        for (int c = 0; c < CHAINS; c++) {                                                         \
            x[c] = a + (double)c;                                                                  \
        }                                                                                          \
        for (int i = 0; i < STEPS; i++) {                                                          \
            for (int c = 0; c < CHAINS; c++) {                                                     \
                x[c] = x[c] * a + b;                                                               \
            }                                                                                      \
        }                                                                                          \
        for (int c = 1; c < CHAINS; c++) {                                                         \
            x[0] += x[c];                                                                          \
        }                                                                                          \
        sink = x[0][0];                                                                            \
    }

CHAIN_LOOP(chain_plain, 16)
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define WIDER_CHAINS 1
#pragma GCC push_options
#pragma GCC target("avx2,fma")
CHAIN_LOOP(chain_avx2, 32)
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,prefer-vector-width=512")
CHAIN_LOOP(chain_avx512, 64)
#pragma GCC pop_options
#endif

struct chain {
    const char *name;
    int lanes;
    void (*run)(void);
};

static struct chain chain_choose(void)
{
#ifdef WIDER_CHAINS
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) {
        return (struct chain){"AVX-512", 8, chain_avx512};
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return (struct chain){"AVX2", 4, chain_avx2};
    }
#endif
    return (struct chain){"SSE2", 2, chain_plain};
}

static void chain_task(void *context, int64_t i)
{
    const struct chain *chain = context;

    (void)i;
    chain->run();
}

/* Multiply-adds in a second of a core. */
static double peak(const struct chain *chain, int threads)
{
    double best = 0;

    for (int try = 0; try < TRIES; try++) {
        double start = read_clock(CLOCK_PROCESS_CPUTIME_ID);
        pool_run(chain_task, (void *)chain, 2 * threads, threads);
        double took = read_clock(CLOCK_PROCESS_CPUTIME_ID) - start;
        double rate = 2.0 * threads * CHAINS * STEPS * chain->lanes / took;
        best = rate > best ? rate : best;
    }
    return best;
}

/* ---- the reference ---- */

struct work {
    struct problem problem;
    struct inputs inputs;
    struct reference to;
    int64_t *rows, count;
    double fma; /* of the exact output */
};

static void work_make(const char *shape, struct work *work)
{
    struct err err;

    if (!problem_parse(shape, &work->problem, &err)) {
        fprintf(stderr, "bench_reference: %s\n", err.what);
        exit(2);
    }
    const struct problem *p = &work->problem;
    size_t q = (size_t)problem_q_elements(p), kv = (size_t)problem_kv_elements(p);
    work->inputs = (struct inputs){xmalloc(2 * q), xmalloc(2 * kv), xmalloc(2 * kv)};
    work->count = problem_rows(p);
    work->rows = xmalloc((size_t)work->count * sizeof(*work->rows));
    work->to = (struct reference){.exact = xmalloc(q * sizeof(double)),
                                  .baseline = xmalloc(q * sizeof(double)),
                                  .noise = xmalloc((size_t)work->count * sizeof(double))};
    work->fma = 0;
    for (int64_t i = 0; i < work->count; i++) {
        work->rows[i] = i;
        work->fma += 2.0 * (double)(p->head_dim * reference_visible(p, i % p->q_len));
    }
    inputs_draw(p, INPUT_NORMAL, 1, &work->inputs, 1);
}

static void work_free(struct work *work)
{
    free(work->inputs.q);
    free(work->inputs.k);
    free(work->inputs.v);
    free(work->rows);
    free(work->to.exact);
    free(work->to.baseline);
    free(work->to.noise);
}

struct times {
    double wall, cores; /* seconds */
};

static struct times reference_time(const struct work *work, int threads)
{
    struct times best = {HUGE_VAL, HUGE_VAL};

    for (int try = 0; try < TRIES; try++) {
        double wall = read_clock(CLOCK_MONOTONIC), cores = read_clock(CLOCK_PROCESS_CPUTIME_ID);
        reference_rows(&work->problem, &work->inputs, NUMERICS_FP32, work->rows, work->count,
                       &work->to, threads);
        best.wall = fmin(best.wall, read_clock(CLOCK_MONOTONIC) - wall);
        best.cores = fmin(best.cores, read_clock(CLOCK_PROCESS_CPUTIME_ID) - cores);
    }
    return best;
}

int main(int argc, char **argv)
{
    static const char *const shapes[] = {"1x8x512x64", "1x4x2048x128", "1x4x2048x64:causal"};
    struct chain chain = chain_choose();
    int threads = reference_threads();
    double bar = 0, most = 0;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--threads") == 0 && i + 1 < argc) {
            threads = atoi(argv[++i]);
        } else {
            bar = atof(argv[i]);
        }
    }
    printf("%d threads, %s\n%-20s %10s %14s %10s %14s\n", threads, chain.name, "shape", "ms",
           "GFMA/s a core", "FP64", "with baseline");
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        struct work work;
        work_make(shapes[i], &work);
        double before = peak(&chain, threads);
        struct times took = reference_time(&work, threads);
        double after = peak(&chain, threads), best = before > after ? before : after;
        double share = 100 * work.fma / took.cores / best;
        printf("%-20s %10.2f %14.1f %9.1f%% %13.1f%%\n", shapes[i], 1e3 * took.wall, best / 1e9,
               share, 1.5 * share);
        most = share > most ? share : most;
        work_free(&work);
    }
    return most < bar;
}
