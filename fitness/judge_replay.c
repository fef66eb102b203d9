/*
 * evo-judge-replay -- a judge that answers from a recorded search space.
 *
 *     evo-judge-replay FILE [--noise SEED]
 *
 * It runs nothing: a candidate is looked up by its genes, and its verdict, marked as replayed, and
 * its time are those recorded. One sample a problem: the recording's one number stands for the
 * whole workload, so every problem gets it, and their geometric mean is that number again.
 *
 * With --noise the time is drawn from a normal distribution with the recorded deviation. The draw
 * is a function of the seed, the candidate and the problem alone, so that answers do not depend on
 * who asks when: this device is deterministic, with noise too.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/rng.h"
#include "fitness/job.h"
#include "fitness/space.h"
#include "fitness/worker.h"

enum { REPLAY_VERSION = 1 }; /* raised when the same recording would be answered otherwise */

struct replay {
    const char *path;
    struct space *space;
    bool noisy;
    uint64_t noise_seed;
};

static const char usage[] = "usage: evo-judge-replay FILE [--noise SEED]\n";

static bool options_read(int argc, char **argv, struct replay *replay)
{
    int64_t seed;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--noise") == 0 && i + 1 < argc && str_to_i64(argv[i + 1], &seed) &&
            seed >= 0) {
            replay->noisy = true;
            replay->noise_seed = (uint64_t)seed;
            i++;
        } else if (argv[i][0] != '-' && replay->path == NULL) {
            replay->path = argv[i];
        } else {
            return false;
        }
    }
    return replay->path != NULL;
}

/* A standard normal number (Box and Muller). */
static double normal(struct rng *rng)
{
    double radius = sqrt(-2 * log(1 - rng_unit(rng)));

    return radius * cos(2 * 3.14159265358979323846 * rng_unit(rng));
}

static double time_of(const struct replay *replay, const struct space_row *row, int problem)
{
    struct hasher hasher;
    struct hash hash;
    struct rng rng;
    uint64_t place;
    double time_us;

    if (!replay->noisy) {
        return row->time_us;
    }
    hash_begin(&hasher, "evo replay noise");
    hash_field(&hasher, "genes", row->at, (size_t)replay->space->param_count);
    hash = hash_end(&hasher);
    memcpy(&place, hash.bytes, sizeof place);
    rng = rng_at(replay->noise_seed, (uint32_t)problem, place);
    do { /* a time is above 0; the mean is, so at least every other draw will do */
        time_us = row->time_us + row->sd_us * normal(&rng);
    } while (!(time_us > 0));
    return time_us;
}

/* True if the text's words, split at blanks, have this one among them. */
static bool has_word(const char *text, const char *word)
{
    size_t length;

    for (; *text != '\0'; text += length + (text[length] == ' ')) {
        length = strcspn(text, " ");
        if (length == strlen(word) && strncmp(text, word, length) == 0) {
            return true;
        }
    }
    return false;
}

/*
 * evo's own recordings name attention problems and answer for no others; the problems of other
 * people's spaces are not attention, so there is nothing to compare. What the gate alone would be
 * asked is not in the recording, but in its verdicts.
 */
static bool problems_recorded(struct arena *arena, const struct space *space,
                              const struct judge_job *job, const char **reason)
{
    char text[PROBLEM_TEXT_MAX];

    for (int i = 0; i < job->problem_count && *space->family != '\0'; i++) {
        if (job->problems[i].use == USE_GATE) {
            continue;
        }
        problem_text(&job->problems[i].problem, text);
        if (!has_word(space->problem, text)) {
            *reason = arena_printf(arena, "the recording '%s' is of %s, not of %s", space->name,
                                   space->problem, text);
            return false;
        }
    }
    return true;
}

static void metric_add(struct judge_result *result, enum metric metric, double value)
{
    if (value > 0) {
        result->metrics[result->metric_count].problem = -1;
        result->metrics[result->metric_count].metric = metric;
        result->metrics[result->metric_count].value = value;
        result->metrics[result->metric_count].reason = "";
        result->metric_count++;
    }
}

static void answer_row(const struct replay *replay, struct arena *arena,
                       const struct judge_job *job, const struct space_row *row,
                       struct judge_result *result)
{
    result->verdict = row->verdict;
    result->device_ms = row->verify_ms + row->bench_ms;
    metric_add(result, METRIC_GATE_MS, row->verify_ms);
    metric_add(result, METRIC_MEASURE_MS, row->bench_ms);
    if (row->verdict != VERDICT_PASS) {
        result->reason = arena_printf(arena, "recorded as %s on %s", verdict_names[row->verdict],
                                      replay->space->device);
        return;
    }
    if (job->effort == EFFORT_CORRECT) {
        return;
    }
    for (int i = 0; i < job->problem_count; i++) {
        struct timing *timing;

        if (job->problems[i].use == USE_GATE) {
            continue;
        }
        timing = &result->timings[result->timing_count++];

        timing->problem = i;
        timing->span_us = arena_alloc(arena, sizeof *timing->span_us);
        timing->span_us[0] = time_of(replay, row, i);
        timing->span_count = 1;
    }
}

static bool handle(void *context, struct arena *arena, const struct message *message,
                   struct message **answer, bool *last, struct err *err)
{
    const struct replay *replay = context;
    struct judge_job *job = arena_alloc(arena, sizeof *job);
    struct judge_result *result = arena_alloc(arena, sizeof *result);
    const struct space_row *row;
    struct err missing;

    (void)last;
    if (!judge_decode(arena, message, job, err)) {
        return false;
    }
    result->id = job->id;
    result->replayed = true;
    result->reason = "";
    if (!problems_recorded(arena, replay->space, job, &result->reason)) {
        result->verdict = VERDICT_UNSUPPORTED;
    } else if ((row = space_find_text(replay->space, job->genes, &missing)) == NULL) {
        result->verdict = VERDICT_UNSUPPORTED;
        result->reason = arena_dup(arena, missing.what);
    } else {
        answer_row(replay, arena, job, row, result);
    }
    *answer = result_encode(arena, result);
    return true;
}

static void print_error(const struct err *err)
{
    fprintf(stderr, "evo-judge-replay: %s\n", err->what);
    if (err->hint[0] != '\0') {
        fprintf(stderr, "evo-judge-replay: %s\n", err->hint);
    }
}

int main(int argc, char **argv)
{
    struct replay replay = {0};
    struct arena *arena = arena_new();
    struct err err = {0};
    struct hello hello;
    char digest[HASH_HEX + 1];
    int status;

    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        arena_free(arena);
        return 0;
    }
    if (!options_read(argc, argv, &replay)) {
        fputs(usage, stderr);
        arena_free(arena);
        return 2;
    }
    worker_claim_stdio();
    if (!space_load(arena, replay.path, &replay.space, &err)) {
        print_error(&err);
        arena_free(arena);
        return err_exit_code(&err);
    }
    hash_to_hex(&replay.space->digest, digest);
    hello = (struct hello){
        .protocol = JOB_PROTOCOL,
        .role = ROLE_JUDGE,
        .backend = "replay",
        .version = arena_printf(arena, "replay %d of %s", REPLAY_VERSION, replay.space->name),
        .device = arena_printf(arena, "%s (recorded)", replay.space->device),
        .device_id = digest,
        .device_arch = replay.space->arch,
        .device_smem_max = replay.space->smem_max,
        .device_sms = replay.space->sms,
        .deterministic = true,
    };
    if (replay.noisy) {
        hello.version = arena_printf(arena, "%s, noise %llu", hello.version,
                                     (unsigned long long)replay.noise_seed);
    }
    status = worker_run(&hello, handle, &replay);
    arena_free(arena);
    return status;
}
