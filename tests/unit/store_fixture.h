/*
 * store_fixture -- a small run to fill databases with, for the tests and the benchmark of db/.
 *
 * Times, genes and hashes follow from the place alone, so that a test can say what it expects.
 */
#ifndef EVO_TESTS_STORE_FIXTURE_H
#define EVO_TESTS_STORE_FIXTURE_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/store.h"

#define FIXTURE_PROBLEM_A "1x8x512x64"
#define FIXTURE_PROBLEM_B "1x8x1024x64:causal"

struct fixture {
    struct store *store;
    struct arena *arena;
    struct err err;
    char folder[64], path[96];
    int64_t run, environment;
};

static inline void fixture_must(struct fixture *f, bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "%s: %s\n", what, f->err.what);
        abort();
    }
}
#define MUST(f, call) fixture_must(f, call, #call)

static inline struct hash fixture_hash(const char *purpose, int64_t value)
{
    struct hasher hasher;

    hash_begin(&hasher, purpose);
    hash_i64(&hasher, "value", value);
    return hash_end(&hasher);
}

static inline void fixture_open(struct fixture *f)
{
    *f = (struct fixture){.arena = arena_new()};
    snprintf(f->folder, sizeof f->folder, "/tmp/evo-store-XXXXXX");
    if (mkdtemp(f->folder) == NULL) {
        perror("mkdtemp");
        abort();
    }
    snprintf(f->path, sizeof f->path, "%s/evo.db", f->folder);
    MUST(f, store_open(f->path, STORE_CREATE, &f->store, &f->err));
}

static inline void fixture_close(struct fixture *f)
{
    static const char *const endings[] = {"", "-wal", "-shm"};
    char path[128];

    store_close(f->store);
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s%s", f->path, endings[i]);
        unlink(path);
    }
    rmdir(f->folder);
    arena_free(f->arena);
}

/* A run of two problems and a judge; inside a round. */
static inline void fixture_run(struct fixture *f)
{
    struct run_row run = {.name = "phase4", .seed_path = "seeds/phase4.yaml", .seed_text = "name:",
                          .device_spec = "cuda:0", .strategy = "evo", .evo_version = "0.1.0",
                          .device = "NVIDIA H200", .device_arch = 90,
                          .device_smem_max = 232448, .device_sms = 132, .boot_id = "boot", .rng_seed = UINT64_MAX,
                          .secret = UINT64_MAX - 1, .budget_evaluations = 2000,
                          .ended_because = "", .created_at = 1700000000000};
    struct hello hello = {.protocol = JOB_PROTOCOL, .role = ROLE_JUDGE, .backend = "cuda",
                          .version = "gate 1 driver 580.1", .device = "NVIDIA H200",
                          .device_id = "GPU-1", .device_arch = 90, .device_smem_max = 232448,
                          .device_sms = 132};

    MUST(f, store_run_insert(f->store, &run, &f->err));
    f->run = run.id;
    MUST(f, store_problem_insert(f->store, run.id, 0, FIXTURE_PROBLEM_A, 1e9, &f->err));
    MUST(f, store_problem_insert(f->store, run.id, 1, FIXTURE_PROBLEM_B, 4e9, &f->err));
    MUST(f, store_environment(f->store, &hello, &f->environment, &f->err));
}

/* Proposes a place; its parents are the places before it, as far as there are any. */
static inline struct candidate_row fixture_candidate(const struct fixture *f, int64_t place,
                                                     const char *operator_name)
{
    struct candidate_row row = {
        .run = f->run,
        .place = place,
        .family = place % 2 == 0 ? "attention_tiled" : "attention_wmma",
        .genes = "BLOCK_M=32 BLOCK_N=64 WARPS=4 BARRIERS=6 REDUCE=shuffle EXP=exp2 GUARDS=1",
        .genome_hash = fixture_hash("genome", place),
        .operator_name = operator_name,
        .alias_of = -1,
        .created_at = 1700000000000 + place,
    };
    bool founder = strcmp(operator_name, "founder") == 0;

    for (int64_t parent = place - 1; !founder && parent >= 0 && row.parent_count < 2; parent--) {
        row.parents[row.parent_count++] = parent;
    }
    row.depth = founder ? 0 : (int)place;
    return row;
}

static inline void fixture_propose(struct fixture *f, const struct candidate_row *row)
{
    MUST(f, store_candidate_insert(f->store, row, &f->err));
}

/* One compiled image, with its attempt. */
static inline void fixture_build(struct fixture *f, const struct candidate_row *row,
                                 struct hash code_key, bool keep)
{
    struct built built = {
        .verdict = VERDICT_NONE, .log = "ptxas info: 61 registers\n", .warnings = "",
        .ptx = ".version 8.8", .ptx_bytes = 12, .cubin = "\177ELF\0\1", .cubin_bytes = 6,
        .code_key = code_key, .entry_count = 1, .compile_ms = 250,
        .entries = {{.name = "kernel", .registers = 61, .static_smem_bytes = 1024,
                     .spill_store_bytes = 8, .spill_load_bytes = 16}}};
    struct build_row build = {.run = row->run, .place = row->place, .arch = "sm_90a",
                              .source_hash = fixture_hash("source", row->place), .built = &built,
                              .keep_code = keep};
    int64_t attempt;

    MUST(f, store_attempt_begin(f->store, row->run, row->place, ROLE_COMPILE, "nvrtc:0",
                                row->created_at, &attempt, &f->err));
    MUST(f, store_build_insert(f->store, &build, &f->err));
    MUST(f, store_attempt_end(f->store, attempt, row->created_at + 250, "built", &f->err));
}

/*
 * What a judge says of a program of which one call takes `us` on problem 0 and twice that on 1: six
 * cases, `samples` samples on each clock, two metrics. Static: the struct is large.
 */
static inline const struct judge_result *fixture_result(double us, enum verdict verdict,
                                                        int samples)
{
    static struct judge_result result;
    static double span[2][JOB_SAMPLES_MAX], graph[2][JOB_SAMPLES_MAX], mhz[JOB_SAMPLES_MAX];

    result = (struct judge_result){.verdict = verdict, .reason = "", .device_ms = 40};
    for (int i = 0; i < 6; i++) {
        result.cases[result.case_count++] = (struct case_result){
            .problem = i % 2, .rung = RUNG_CORRECT, .family = "normal", .seed = UINT64_MAX - 7,
            .verdict = i == 5 ? verdict : VERDICT_PASS, .error_max = 1e-4, .error_allowed = 2e-3,
            .frobenius = NAN, .frobenius_allowed = 1e-3, .rows_checked = 4096, .rows_total = 4096,
            .worst = {0, 3, 511, 63}, .expected = 0.5, .got = 0.5001, .reason = ""};
    }
    for (int p = 0; verdict == VERDICT_PASS && p < 2; p++) {
        for (int i = 0; i < samples; i++) {
            span[p][i] = us * (p + 1) * (1 + 1e-4 * (i % 7 - 3));
            graph[p][i] = us * (p + 1) * (0.9 + 1e-4 * (i % 5 - 2));
            mhz[i] = 1410;
        }
        result.timings[result.timing_count++] =
            (struct timing){.problem = p, .quick = p == 1, .tick_us = 0.032, .span_us = span[p],
                            .span_count = samples, .graph_us = graph[p], .graph_count = samples,
                            .mhz = p == 0 ? mhz : NULL, .at_mhz = p == 0 ? 1410 : 0};
    }
    result.metrics[0].problem = -1;
    result.metrics[0].metric = METRIC_POWER_W;
    result.metrics[0].value = NAN;
    result.metrics[0].reason = "nvml is not there";
    result.metrics[1].problem = 0;
    result.metrics[1].metric = METRIC_SMEM_DYNAMIC_BYTES;
    result.metrics[1].value = 20480;
    result.metrics[1].reason = "";
    result.metric_count = 2;
    return &result;
}

static inline struct judgement_key fixture_key(const struct fixture *f, int64_t program)
{
    return (struct judgement_key){.code_key = fixture_hash("code", program),
                                  .plan_key = fixture_hash("plan", program),
                                  .workload = fixture_hash("workload", 0),
                                  .environment = f->environment,
                                  .gate_version = 1};
}

/* Judges a program; the scores are those of its samples. Returns the judgement. */
static inline int64_t fixture_judge(struct fixture *f, const struct candidate_row *row,
                                    int64_t program, double us, enum verdict verdict, int samples)
{
    const struct judge_result *result = fixture_result(us, verdict, samples);
    struct judgement_row judgement = {.key = fixture_key(f, program), .run = row->run,
                                      .place = row->place, .verdict = verdict, .reason = "",
                                      .device_ms = result->device_ms};
    struct score scores[2];

    for (int i = 0; i < result->timing_count; i++) {
        if (!score_of_timing(&result->timings[i], &scores[i])) {
            abort();
        }
    }
    if (result->timing_count == 2) {
        judgement.score = score_combine(scores, 2);
    }
    MUST(f, store_judgement_insert(f->store, &judgement, result, scores, &f->err));
    return judgement.id;
}

static inline void fixture_finish(struct fixture *f, struct candidate_row *row, int64_t program,
                                  int64_t judgement, enum verdict verdict)
{
    row->source_hash = fixture_hash("source", row->place);
    if (program >= 0) {
        row->code_key = fixture_hash("code", program);
        row->plan_key = fixture_hash("plan", program);
    }
    row->verdict = verdict;
    row->reason = verdict == VERDICT_PASS ? "" : "because";
    row->judgement = judgement;
    row->finished_at = row->created_at + 1000;
    MUST(f, store_candidate_finish(f->store, row, &f->err));
}

/* A place from proposal to verdict, as its own program. */
static inline int64_t fixture_place(struct fixture *f, int64_t place, const char *operator_name,
                                    int numerics, double us, enum verdict verdict)
{
    struct candidate_row row = fixture_candidate(f, place, operator_name);
    int64_t judgement;

    row.numerics = numerics;
    fixture_propose(f, &row);
    fixture_build(f, &row, fixture_hash("image", place), false);
    judgement = fixture_judge(f, &row, place, us, verdict, 50);
    fixture_finish(f, &row, place, judgement, verdict);
    return judgement;
}

#endif
