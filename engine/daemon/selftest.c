#include "daemon/selftest.h"

#include <math.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/folder.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/str.h"
#include "daemon/setup.h"
#include "fitness/score.h"

enum {
    SPECIMENS_MAX = 1024,
    SELFTEST_VERSION = 1, /* what is judged, and how; part of what is remembered */
    CASES_GPU = 3,        /* for each input family and shape, as in a search */
    CASES_EMULATED = 1,
};

/*
 * How far a delay may be from what was asked for; and what "no faster" forgives: a clock's noise,
 * or a model's, which knows what caches hold only roughly.
 */
static const double delay_tolerance = 0.25, faster_gpu = 0.03, faster_emulated = 0.15;

struct corpus {
    struct planted *list;
    int count;
    struct hash digest;
};

/* ---- what is judged ---- */

static bool read_corpus(struct arena *arena, struct corpus *corpus, struct err *err)
{
    const char *folder = planted_folder(arena, err);
    struct hasher hasher;

    if (folder == NULL ||
        !planted_read_all(arena, folder, &corpus->list, &corpus->count, err)) {
        return false;
    }
    if (corpus->count == 0) {
        return err_set(err, ERR_SYSTEM, "'%s' holds no planted kernels", folder);
    }
    hash_begin(&hasher, "evo planted corpus");
    for (int i = 0; i < corpus->list[0].set->count; i++) {
        const struct template_file *file = &corpus->list[0].set->files[i];

        hash_text(&hasher, "name", file->name);
        hash_field(&hasher, "text", file->text, file->length);
    }
    corpus->digest = hash_end(&hasher);
    return true;
}

/* To be compared with another, or because only the clock's part of the judgement gives it away. */
static bool wants_time(const struct expectation *expected)
{
    return (expected->verdicts & 1u << VERDICT_PASS) != 0 ||
           strstr(expected->rungs, " timed ") != NULL;
}

static bool wants_race_gate(const struct expectation *expected)
{
    return strstr(expected->rungs, " race ") != NULL || strstr(expected->rungs, " jitter ") != NULL;
}

static void fill_job(struct arena *arena, const struct specimen *specimen,
                     const struct selftest *selftest, const struct program *program,
                     struct judge_job **out)
{
    bool timed = selftest->extent != SELFTEST_CONTROLS && wants_time(specimen->expected);

    struct judge_job *job = arena_alloc(arena, sizeof *job);

    job->genes = "";
    job->images[0].program = *program;
    job->problem_count = specimen->planted->problem_count;
    for (int i = 0; i < job->problem_count; i++) {
        job->problems[i].problem = specimen->planted->problems[i];
        job->problems[i].use = USE_WHOLE;
    }
    job->effort = timed                                 ? EFFORT_MEASURE
                  : wants_race_gate(specimen->expected) ? EFFORT_PROMOTE
                                                        : EFFORT_CORRECT;
    job->cases_per_family = selftest->emulated ? CASES_EMULATED : CASES_GPU;
    job->want_samples = true;
    job->secret = selftest->secret;
    *out = job;
}

static bool make_item(struct arena *arena, const struct specimen *specimen,
                      const struct genome *genome, const int64_t *values, const struct hello *judge,
                      const struct selftest *selftest, struct batch_item *item, struct err *err)
{
    const struct planted *planted = specimen->planted;
    struct givens givens = setup_givens(&planted->problems[0], judge);
    struct program program;
    struct buf source = {0};
    bool ok = family_program(arena, planted->family, values, &program, err) &&
              render_source(planted->set, planted->family, genome, &givens, &source, err);

    if (ok) {
        fill_job(arena, specimen, selftest, &program, &item->job);
        item->compile = (struct compile_job){
            .source = arena_text(arena, source.data, source.length),
            .source_bytes = source.length,
            .name = arena_printf(arena, "%s.cu", planted->name),
            .arch = setup_arch(arena, judge),
            .entry_count = program.kernel_count,
        };
        for (int i = 0; i < program.kernel_count; i++) {
            item->compile.entries[i] = program.kernels[i].name;
        }
        if (selftest->emulated) {
            item->compile.options[item->compile.option_count++] = "-lineinfo";
        }
    }
    buf_free(&source);
    return ok || err_in(err, "%s", planted->path);
}

static bool is_asked(const struct planted *planted, const struct expectation *expected,
                     enum selftest_extent extent, int variant)
{
    bool waits = strstr(expected->rungs, " deadline ") != NULL;

    return extent == SELFTEST_FULL ||
           (extent == SELFTEST_CONTROLS ? planted->kind == PLANTED_CONTROL
                                        : variant == 0 && !waits);
}

/* Every variant of one planted kernel that is asked for. */
static bool add_planted(struct arena *arena, const struct planted *planted,
                        const struct hello *judge, struct selftest *selftest,
                        struct batch_item *items, struct err *err)
{
    const struct expectation *expected = planted_expects(planted, judge->backend);
    struct givens givens = setup_givens(&planted->problems[0], judge);
    int64_t *values = arena_alloc(arena, (size_t)planted->family->symbols->count * sizeof *values);
    struct genome genome = {0};
    bool first = true;

    for (int variant = 0;
         expected != NULL && is_asked(planted, expected, selftest->extent, variant) &&
         planted_next(planted, &givens, &first, &genome, values);
         variant++) {
        struct specimen *specimen = &selftest->specimens[selftest->count];

        if (selftest->count == SPECIMENS_MAX) {
            return err_set(err, ERR_SYSTEM, "more than %d planted kernels", SPECIMENS_MAX);
        }
        *specimen = (struct specimen){.planted = planted, .expected = expected, .wrong = ""};
        const char *text = genome_text(arena, planted->family, &genome), *blank = strchr(text, ' ');
        specimen->genes = blank != NULL ? blank + 1 : "";
        if (!make_item(arena, specimen, &genome, values, judge, selftest,
                       &items[selftest->count++], err)) {
            return false;
        }
    }
    return true;
}

/* ---- what came of it ---- */

static double time_of(const struct batch_item *item)
{
    struct score score;

    if (item->result == NULL || item->result->verdict != VERDICT_PASS ||
        item->result->timing_count == 0) {
        return 0;
    }
    const struct timing *timing = &item->result->timings[0];
    return score_of_timing(timing, &score)
               ? score.us
               : 0;
}

/* The time of the same variant of another planted kernel; 0: there is none. */
static double time_beside(const struct selftest *selftest, const struct specimen *specimen)
{
    for (int i = 0; i < selftest->count; i++) {
        const struct specimen *other = &selftest->specimens[i];

        if (strcmp(other->planted->name, specimen->expected->than) == 0 &&
            strcmp(other->genes, specimen->genes) == 0) {
            return other->us;
        }
    }
    return 0;
}

/* "" when the time is as expected, else why not. */
static const char *check_time(struct arena *arena, const struct selftest *selftest,
                              const struct specimen *specimen)
{
    const struct expectation *expected = specimen->expected;
    double us = specimen->us, other;

    if (expected->time == TIME_ANY || specimen->verdict != VERDICT_PASS ||
        selftest->extent == SELFTEST_CONTROLS) {
        return "";
    }
    other = time_beside(selftest, specimen);
    if (us <= 0 || other <= 0) {
        return arena_printf(arena, "there is no time to compare with that of '%s'",
                            expected->than);
    }
    if (expected->time == TIME_NO_FASTER) {
        double forgiven = selftest->emulated ? faster_emulated : faster_gpu;

        return us >= (1 - forgiven) * other
                   ? ""
                   : arena_printf(arena, "it took %.2f us, '%s' %.2f", us, expected->than, other);
    }
    return fabs(us - other - expected->us) <= delay_tolerance * expected->us
               ? ""
               : arena_printf(arena, "it took %.2f us, '%s' %.2f, which should be %.0f us less", us,
                              expected->than, other, expected->us);
}

static void evaluate(struct arena *arena, struct selftest *selftest, const struct batch_item *items)
{
    for (int i = 0; i < selftest->count; i++) {
        struct specimen *specimen = &selftest->specimens[i];

        specimen->verdict = batch_verdict(&items[i]);
        specimen->rung = batch_rung(&items[i]);
        specimen->reason = batch_reason(&items[i]);
        specimen->us = time_of(&items[i]);
    }
    for (int i = 0; i < selftest->count; i++) {
        struct specimen *specimen = &selftest->specimens[i];

        specimen->wrong =
            expectation_met(specimen->expected, specimen->verdict, specimen->rung)
                ? check_time(arena, selftest, specimen)
                : arena_printf(arena, "it got %s at %s, not %s", verdict_names[specimen->verdict],
                               specimen->rung, specimen->expected->text);
        specimen->ok = *specimen->wrong == '\0';
        specimen->fooled = !specimen->ok && (specimen->verdict == VERDICT_PASS ||
                                             specimen->planted->kind == PLANTED_CONTROL);
        selftest->failed += !specimen->ok;
        selftest->fooled += specimen->fooled;
    }
}

static bool run(const struct batch *batch, const struct corpus *corpus, const struct hello *judge,
                enum selftest_extent extent, struct selftest *selftest, bool *done,
                struct err *err)
{
    struct arena *arena = batch->arena;
    struct batch_item *items = arena_alloc(arena, SPECIMENS_MAX * sizeof *items);
    int64_t start = clock_now_us();

    *selftest = (struct selftest){
        .extent = extent,
        .device = arena_dup(arena, judge->device),
        .version = arena_dup(arena, judge->version),
        .sandbox = arena_dup(arena, judge->sandbox),
        .emulated = strcmp(judge->backend, "emu") == 0,
        .specimens = arena_alloc(arena, SPECIMENS_MAX * sizeof(struct specimen))};
    if (getrandom(&selftest->secret, sizeof selftest->secret, 0) !=
        (ssize_t)sizeof selftest->secret) {
        return err_sys(err, "cannot draw a secret");
    }
    for (int i = 0; i < corpus->count; i++) {
        if (!add_planted(arena, &corpus->list[i], judge, selftest, items, err)) {
            return false;
        }
    }
    if (!batch_run(batch, items, selftest->count, done, err)) {
        return err_in(err, "self-test of the judge");
    }
    if (*done) {
        evaluate(arena, selftest, items);
    }
    selftest->ms = (double)(clock_now_us() - start) / 1e3;
    return true;
}

/* A ready judge's description, which stays when the worker is replaced. */
static bool meet(const struct batch *batch, struct hello *hello, bool *done, struct err *err)
{
    int judge;

    if (!batch_await(batch, &judge, err)) {
        return false;
    }
    *done = judge >= 0;
    if (*done) {
        *hello = *fleet_hello(batch->fleet, judge);
        hello->backend = arena_dup(batch->arena, hello->backend);
        hello->version = arena_dup(batch->arena, hello->version);
        hello->device = arena_dup(batch->arena, hello->device);
        hello->device_id = arena_dup(batch->arena, hello->device_id);
        hello->sandbox = arena_dup(batch->arena, hello->sandbox);
    }
    return true;
}

static bool is_replay(const struct hello *hello) { return strcmp(hello->backend, "replay") == 0; }

/* ---- what is remembered ---- */

static struct hash memory_key(const struct batch *batch, const struct corpus *corpus,
                              const struct hello *judge)
{
    int compiler = fleet_idle(batch->fleet, ROLE_COMPILE, 0);
    struct hasher hasher;

    hash_begin(&hasher, "evo self-test");
    hash_i64(&hasher, "version", SELFTEST_VERSION);
    hash_field(&hasher, "corpus", corpus->digest.bytes, HASH_BYTES);
    hash_text(&hasher, "judge", judge->version);
    hash_text(&hasher, "device", judge->device);
    hash_text(&hasher, "device id", judge->device_id);
    hash_text(&hasher, "compiler",
              compiler >= 0 ? fleet_hello(batch->fleet, compiler)->version : "");
    return hash_end(&hasher);
}

/* The file whose being there says that it passed; NULL: nothing can be remembered. */
static const char *memory_path(struct arena *arena, const struct hash *key)
{
    char folder[PATH_MAX], hex[HASH_HEX + 1];
    struct err ignored;

    if (!folder_cache(folder, &ignored)) {
        return NULL;
    }
    hash_to_hex(key, hex);
    return arena_printf(arena, "%s/selftest/%s", folder, hex);
}

static bool is_remembered(const char *path)
{
    struct stat facts;

    return path != NULL && stat(path, &facts) == 0 && S_ISREG(facts.st_mode);
}

/* That it cannot be written down costs the next start the same seconds, and nothing else. */
static void remember(struct arena *arena, const char *path, const struct selftest *selftest)
{
    const char *text = arena_printf(arena, "%d planted kernels judged right by %s on %s\n",
                                    selftest->count, selftest->version, selftest->device);
    struct err err;

    if (path == NULL) {
        return;
    }
    if (!folder_make(arena_text(arena, path, (size_t)(strrchr(path, '/') - path)), &err) ||
        !file_write(path, text, strlen(text), FILE_WHOLE, &err)) {
        log_line("selftest", "cannot be remembered: %s", err.what);
    }
}

/* ---- entries ---- */

bool selftest_run(const struct batch *batch, enum selftest_extent extent, struct selftest *selftest,
                  bool *done, struct err *err)
{
    struct corpus corpus;
    struct hello judge;

    if (!meet(batch, &judge, done, err) || !*done) {
        return *done == false;
    }
    if (is_replay(&judge)) {
        return err_set(err, ERR_USER, "'%s' runs no code: there is nothing to test", judge.device);
    }
    return read_corpus(batch->arena, &corpus, err) &&
           run(batch, &corpus, &judge, extent, selftest, done, err);
}

static const char *name_of(struct arena *arena, const struct specimen *specimen)
{
    return arena_printf(arena, "'%s'%s%s", specimen->planted->name,
                        *specimen->genes != '\0' ? " " : "", specimen->genes);
}

static bool refuse(struct arena *arena, const struct selftest *selftest, struct err *err)
{
    const struct specimen *first = NULL;

    for (int i = selftest->count - 1; i >= 0; i--) {
        first = selftest->specimens[i].fooled ? &selftest->specimens[i] : first;
    }
    err_set(err, ERR_DEVICE, "%s fails its self-test on %d of %d planted kernels; %s: %s",
            selftest->device, selftest->fooled, selftest->count, name_of(arena, first),
            first->wrong);
    return err_hint(err, "a judge that can be fooled is not searched with; 'evo doctor' shows all");
}

/* What was refused, but not as its head says. */
static void tell_others(struct arena *arena, const struct selftest *selftest)
{
    for (int i = 0; i < selftest->count; i++) {
        const struct specimen *specimen = &selftest->specimens[i];

        if (!specimen->ok) {
            log_line("selftest", "%s was refused, but otherwise than it should be: %s",
                     name_of(arena, specimen), specimen->wrong);
        }
    }
}

bool selftest_ensure(const struct batch *batch, bool *done, struct err *err)
{
    struct corpus corpus;
    struct hello judge;
    struct selftest selftest;
    const char *path;
    struct hash key;

    if (!meet(batch, &judge, done, err)) {
        return false;
    }
    if (!*done || is_replay(&judge)) {
        return true;
    }
    if (!read_corpus(batch->arena, &corpus, err)) {
        return false;
    }
    key = memory_key(batch, &corpus, &judge);
    path = memory_path(batch->arena, &key);
    if (is_remembered(path)) {
        return true;
    }
    log_line("selftest", "judging the planted kernels on %s, once", judge.device);
    if (!run(batch, &corpus, &judge, SELFTEST_CORE, &selftest, done, err)) {
        return false;
    }
    if (!*done) {
        return true;
    }
    if (selftest.fooled > 0) {
        return refuse(batch->arena, &selftest, err);
    }
    tell_others(batch->arena, &selftest);
    log_line("selftest", "%d planted kernels judged right in %.1f s",
             selftest.count - selftest.failed, selftest.ms / 1e3);
    remember(batch->arena, path, &selftest);
    return true;
}
