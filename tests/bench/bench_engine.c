/*
 * bench_engine -- what a candidate costs the engine itself.
 *
 *     bench_engine [CANDIDATES [CPU_MS]]
 *
 * Runs a whole search by engine_run, with this program as its workers: a compiler whose answers are
 * as large as a real one's (60 kB of PTX, 30 kB of cubin) and a judge that gives each candidate
 * 200 samples, 24 cases and ten metrics, both at once. What is left is the engine's own: breeding,
 * rendering, hashing, frames, poll, rows and commits (synchronous=FULL). Counts CPU time of this
 * process, not of its children, so waiting for the disk is free. Fails above CPU_MS a candidate.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "daemon/engine.h"
#include "db/query.h"
#include "db/store.h"
#include "fitness/job.h"

enum {
    CANDIDATES = 1000,
    PTX_BYTES = 60 * 1000,
    CUBIN_BYTES = 30 * 1000,
    SPAN_SAMPLES = 190,
    GRAPH_SAMPLES = 10,
    CASES = 24,
    METRICS = 10,
};

/* ---- as a worker ---- */

static struct hash hash_of(const char *purpose, const char *data, size_t size)
{
    struct hasher hasher;

    hash_begin(&hasher, purpose);
    hash_field(&hasher, "data", data, size);
    return hash_end(&hasher);
}

/* Code that is as long as real code, and is another's for another source. */
static char *filled(struct arena *arena, const struct hash *key, size_t size)
{
    char *code = arena_alloc(arena, size);

    for (size_t i = 0; i < size; i++) {
        code[i] = (char)(' ' + (key->bytes[i % HASH_BYTES] + i) % 64);
    }
    return code;
}

static struct message *compile(struct arena *arena, const struct message *message, struct err *err)
{
    struct built built = {.reason = "", .warnings = "", .slow = "", .compile_ms = 300};
    struct compile_job job;

    if (!compile_decode(arena, message, &job, err)) {
        return NULL;
    }
    built.id = job.id;
    built.log = "ptxas info    : Used 64 registers, used 1 barriers, 392 bytes cmem[0]\n";
    built.code_key = hash_of("bench code", job.source, job.source_bytes);
    built.ptx = filled(arena, &built.code_key, PTX_BYTES);
    built.ptx_bytes = PTX_BYTES;
    built.cubin = filled(arena, &built.code_key, CUBIN_BYTES);
    built.cubin_bytes = CUBIN_BYTES;
    for (int i = 0; i < job.entry_count; i++) {
        built.entries[built.entry_count++] =
            (struct entry_facts){.name = job.entries[i], .registers = 64, .code_bytes = 12000};
    }
    return built_encode(arena, &built);
}

static double *samples(struct arena *arena, int count, double us)
{
    double *values = arena_alloc(arena, (size_t)count * sizeof *values);

    for (int i = 0; i < count; i++) {
        values[i] = us * (1 + 0.001 * (i * 7 % 11));
    }
    return values;
}

static struct message *judge(struct arena *arena, const struct message *message, struct err *err)
{
    struct judge_job *job = arena_alloc(arena, sizeof *job);
    struct judge_result *result = arena_alloc(arena, sizeof *result);
    struct hash hash;

    if (!judge_decode(arena, message, job, err)) {
        return NULL;
    }
    hash = hash_of("bench time", job->genes, strlen(job->genes));
    result->id = job->id;
    result->verdict = VERDICT_PASS;
    result->reason = "";
    result->device_ms = 30;
    for (int i = 0; i < CASES; i++) {
        result->cases[result->case_count++] = (struct case_result){
            .rung = RUNG_CORRECT, .family = "normal", .seed = (uint64_t)i, .verdict = VERDICT_PASS,
            .error_max = 1e-4, .error_allowed = 1e-3, .frobenius = 1e-5, .frobenius_allowed = 1e-3,
            .rows_checked = 4096, .rows_total = 4096, .expected = 0.5, .got = 0.5001,
            .reason = ""};
    }
    for (int i = 0; i < METRICS; i++) {
        result->metrics[i].metric = (enum metric)i;
        result->metrics[i].value = i;
        result->metrics[i].reason = "";
    }
    result->metric_count = METRICS;
    for (int i = 0; i < job->problem_count; i++) {
        double us = 50 + hash.bytes[0] + hash.bytes[1] / 256.0;

        if (job->problems[i].use == USE_GATE) {
            continue;
        }
        result->timings[result->timing_count++] = (struct timing){
            .problem = i, .tick_us = 0.032, .span_us = samples(arena, SPAN_SAMPLES, us),
            .span_count = SPAN_SAMPLES, .graph_us = samples(arena, GRAPH_SAMPLES, us),
            .graph_count = GRAPH_SAMPLES};
    }
    return result_encode(arena, result);
}

static int work(enum role role)
{
    struct hello hello = {.protocol = JOB_PROTOCOL, .role = role,
                          .backend = "replay", /* it runs nothing that a self-test could test */
                          .version = "1", .device = "bench", .device_id = "bench",
                          .device_arch = 90, .device_smem_max = 232448, .device_sms = 132};
    struct arena *arena = arena_new();
    struct message *message;
    struct err err = {0};
    bool ok = frame_write(STDOUT_FILENO, hello_encode(arena, &hello), &err);

    while (ok && frame_read(STDIN_FILENO, arena, &message, &err)) {
        struct message *answer = role == ROLE_COMPILE ? compile(arena, message, &err)
                                                      : judge(arena, message, &err);

        ok = answer != NULL && frame_write(STDOUT_FILENO, answer, &err);
        arena_reset(arena);
    }
    arena_free(arena);
    return ok ? 0 : 1;
}

/* ---- as the engine ---- */

static const char seed[] = "name: bench\n"
                           "workload: [1x8x512x64]\n"
                           "families: [attention_tiled, attention_wmma]\n"
                           "founders: [attention_tiled BLOCK_M=32 BLOCK_N=64 WARPS=4 BARRIERS=6]\n"
                           "search: {end: budget}\n"
                           "budget: {evaluations: %lld}\n"
                           "workers: {judges: [/proc/self/exe judge], compile: 2}\n";

static const char *const leftovers[] = {"evo.db", "evo.db-wal", "evo.db-shm", "evo.db.lock",
                                        "seed.yaml"};

/* What crashes or is refused costs little, and would not be the price of a candidate. */
static bool nearly_all_passed(const char *db, int64_t candidates, struct err *err)
{
    struct arena *arena = arena_new();
    struct store *store = NULL;
    struct status_row row;
    bool found, ok = store_open(db, STORE_READ, &store, err) &&
                     query_status(store, arena, 0, &row, &found, err);

    if (ok && (!found || row.passed < candidates * 9 / 10)) {
        ok = err_set(err, ERR_SYSTEM, "only %lld of %lld candidates passed",
                     (long long)(found ? row.passed : 0), (long long)candidates);
    }
    store_close(store);
    arena_free(arena);
    return ok;
}

static bool search(const char *folder, int64_t candidates, double *cpu_ms, struct err *err)
{
    struct arena *arena = arena_new();
    struct engine_options options = {
        .db_path = arena_printf(arena, "%s/evo.db", folder),
        .seed_path = arena_printf(arena, "%s/seed.yaml", folder),
        .budget_evaluations = -1, .budget_wall_ms = -1, .budget_device_ms = -1,
    };
    const char *text = arena_printf(arena, seed, (long long)candidates);
    int64_t start, wall;
    bool ok = file_write(options.seed_path, text, strlen(text), FILE_WHOLE, err);

    setenv("EVO_TEMPLATES", EVO_SOURCE_DIR "/templates", 1);
    setenv("EVO_COMPILE", "/proc/self/exe compile", 1);
    start = clock_cpu_us();
    wall = clock_now_ms();
    ok = ok && engine_run(&options, err) && nearly_all_passed(options.db_path, candidates, err);
    *cpu_ms = (double)(clock_cpu_us() - start) / 1e3 / (double)candidates;
    printf("%lld candidates in %.1f s: %.3f ms of the engine's CPU each\n", (long long)candidates,
           (double)(clock_now_ms() - wall) / 1e3, *cpu_ms);
    arena_free(arena);
    return ok;
}

int main(int argc, char **argv)
{
    char folder[] = "/tmp/evo-bench-XXXXXX";
    int64_t candidates = CANDIDATES;
    double cpu_ms, bar = 0;
    struct err err = {0};
    bool ok;

    if (argc == 2 && (strcmp(argv[1], "compile") == 0 || strcmp(argv[1], "judge") == 0)) {
        return work(*argv[1] == 'c' ? ROLE_COMPILE : ROLE_JUDGE);
    }
    if (argc > 3 || (argc > 1 && (!str_to_i64(argv[1], &candidates) || candidates < 1)) ||
        (argc > 2 && !str_to_f64(argv[2], &bar))) {
        fprintf(stderr, "usage: bench_engine [CANDIDATES [CPU_MS]]\n");
        return 2;
    }
    if (mkdtemp(folder) == NULL) {
        perror(folder);
        return 1;
    }
    ok = search(folder, candidates, &cpu_ms, &err);
    for (size_t i = 0; i < sizeof leftovers / sizeof *leftovers; i++) {
        char path[128];

        snprintf(path, sizeof path, "%s/%s", folder, leftovers[i]);
        unlink(path);
    }
    rmdir(folder);
    if (!ok) {
        fprintf(stderr, "bench_engine: %s\n", err.what);
        return err_exit_code(&err);
    }
    if (bar > 0 && cpu_ms > bar) {
        fprintf(stderr, "bench_engine: more than %g ms\n", bar);
        return 1;
    }
    return 0;
}
