/*
 * evo-worker-fake -- a worker for tests: right and deterministic, or wrong in the way asked for.
 *
 *     --role compile|judge     which one it plays (judge)
 *     --device NAME            of a judge's HELLO ("fake device")
 *     --latency-ms N           each job takes that long
 *     --jitter SEED            or, drawn anew for each job, between 0 and twice that long
 *     --exit-after N           ends without a word behind its Nth answer
 *     --crash-on RE            dies of signal 11 when the job's text matches the extended regular
 *                              expression; the text is a compile job's source, or a judge job's genes,
 *                              with " promote" behind them if it is a promotion, or of a duel
 *                              "duel RIVAL SHAPE"
 *     --hang-on RE             never answers
 *     --lie-on RE              answers with bytes that are not a frame
 *     --fail-on RE             answers, well-formed, that the candidate failed
 *     --boast-on RE            a judge: tells a tenth of the time
 *     --company N              a judge: reports that so many other processes hold its device
 *     --fickle                 a judge: does not promise the same answer to the same job
 *     --floor US               a judge: reports this as the floor of each time
 *     --sicken-on RE           answers that it could not do the job, for reasons of its own, and ends
 *     --once FOLDER            of those above: only the first time that any worker with this FOLDER
 *                              (it must exist) meets a job's text
 *     --alias-mod N            a compiler makes only N different programs; a judge knows that it does
 *     --garbage-hello          begins with bytes that are not a frame
 *     --old-protocol           begins with the HELLO of an older protocol
 *
 * A source's program is the hash of its lines without comments, so that sources that differ in
 * comments alone are aliases. A candidate's time is a function of its genes with one optimum for
 * each gene, interactions of pairs and a little roughness: something that a search can find its
 * way in, and that is the same for every worker, order and run. With --alias-mod it is a function of
 * the program instead, because the same program must have the same time whoever asks.
 */
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <poll.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/frame.h"
#include "base/rng.h"
#include "fitness/job.h"

enum trick { CRASH, HANG, LIE, FAIL, SICKEN, BOAST, TRICKS };

enum {
    GENES_MAX = 64,
    SAMPLES_QUICK = 8,
    SAMPLES_FULL = 64,
    GRAPH_SAMPLES = 5,
};

static struct {
    enum role role;
    const char *device, *once;
    int64_t latency_ms, jitter, exit_after, alias_mod; /* -1, or 0 for latency: not asked for */
    double floor_us; /* 0: none */
    int64_t company;
    bool garbage_hello, old_protocol, fickle;
    bool tricked[TRICKS];
    regex_t tricks[TRICKS];
} asked = {.role = ROLE_JUDGE, .device = "fake device", .jitter = -1, .exit_after = -1};

/* What the hash of these two texts says as a number: an even spread over [0, 1). */
static double unit(const char *purpose, const char *text)
{
    struct hasher hasher;
    struct hash hash;
    uint64_t bits = 0;

    hash_begin(&hasher, purpose);
    hash_text(&hasher, "text", text);
    hash = hash_end(&hasher);
    for (int i = 0; i < 8; i++) {
        bits = bits << 8 | hash.bytes[i];
    }
    return (double)(bits >> 11) * 0x1p-53;
}

/* Misbehaving ---------------------------------------------------------------------------------- */

/* Blocks until the engine is gone, taking no further job, then ends. */
static void hang(void)
{
    struct pollfd jobs = {.fd = STDIN_FILENO};

    while (poll(&jobs, 1, -1) <= 0) {
    }
    _exit(0);
}

static void crash(void)
{
    prctl(PR_SET_DUMPABLE, 0); /* a test needs no core file */
    signal(SIGSEGV, SIG_DFL);  /* nor a sanitizer's report */
    raise(SIGSEGV);
}

static void write_garbage(void)
{
    static const char garbage[] = "\x10\0\0\0this is no frame, nor is what comes behind it";

    if (write(STDOUT_FILENO, garbage, sizeof garbage) != (ssize_t)sizeof garbage) {
        _exit(1);
    }
}

static void sicken(int64_t job)
{
    struct arena *arena = arena_new();
    struct err failure = {0}, err;

    err_set(&failure, ERR_DEVICE, "the device is lost, as the test asked");
    err_hint(&failure, "ask for something else");
    frame_write(STDOUT_FILENO, failure_encode(arena, job, &failure), &err);
    _exit(0);
}

/* True if no worker with this --once folder has met the text before. */
static bool first_time(const char *text)
{
    struct hasher hasher;
    struct hash hash;
    char hex[HASH_HEX + 1], path[4096];
    int fd;

    if (asked.once == NULL) {
        return true;
    }
    hash_begin(&hasher, "fake once");
    hash_text(&hasher, "text", text);
    hash = hash_end(&hasher);
    hash_to_hex(&hash, hex);
    snprintf(path, sizeof path, "%s/%s", asked.once, hex);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) {
        return false;
    }
    close(fd);
    return true;
}

/* The trick to play on a job of this text; TRICKS: none. */
static enum trick trick_for(const char *text)
{
    for (int trick = 0; trick < TRICKS; trick++) {
        if (asked.tricked[trick] && regexec(&asked.tricks[trick], text, 0, NULL, 0) == 0) {
            return first_time(text) ? (enum trick)trick : TRICKS;
        }
    }
    return TRICKS;
}

static void take_time(int64_t job)
{
    struct rng rng;
    double ms = (double)asked.latency_ms;
    struct timespec pause;

    if (asked.jitter >= 0) {
        rng = rng_at((uint64_t)asked.jitter, (uint32_t)getpid(), (uint64_t)job);
        ms = 2 * ms * rng_unit(&rng);
    }
    pause.tv_sec = (time_t)(ms / 1000);
    pause.tv_nsec = (long)(fmod(ms, 1000) * 1e6);
    nanosleep(&pause, NULL);
}

/* Compiling ------------------------------------------------------------------------------------ */

static bool is_comment(const char *line, size_t length)
{
    size_t blanks = strspn(line, " \t");

    return blanks >= length || strncmp(line + blanks, "//", 2) == 0 ||
           strncmp(line + blanks, "/*", 2) == 0 || line[blanks] == '*';
}

static struct hash program_of(const struct compile_job *job)
{
    struct hasher hasher;
    struct hash hash;
    size_t length;

    hash_begin(&hasher, "fake program");
    hash_text(&hasher, "arch", job->arch);
    for (const char *line = job->source; *line != '\0'; line += length + (line[length] == '\n')) {
        length = strcspn(line, "\n");
        if (!is_comment(line, length)) {
            hash_field(&hasher, "line", line, length);
        }
    }
    hash = hash_end(&hasher);
    if (asked.alias_mod > 0) {
        uint32_t some =
            (uint32_t)hash.bytes[0] << 16 | (uint32_t)hash.bytes[1] << 8 | hash.bytes[2];

        hash_begin(&hasher, "fake alias");
        hash_i64(&hasher, "program", some % asked.alias_mod);
        hash = hash_end(&hasher);
    }
    return hash;
}

static struct message *compile(struct arena *arena, const struct compile_job *job, bool fail)
{
    struct built *built = arena_alloc(arena, sizeof *built);
    char hex[HASH_HEX + 1];

    *built = (struct built){.id = job->id, .reason = "", .log = "", .warnings = "",
                             .slow = ""};
    built->compile_ms = (double)asked.latency_ms;
    if (fail) {
        built->verdict = VERDICT_NO_COMPILE;
        built->reason = "the compiler refused it, as the test asked";
        built->log = arena_printf(arena, "%s(1): error: refused, as the test asked\n", job->name);
        return built_encode(arena, built);
    }
    built->code_key = program_of(job);
    hash_to_hex(&built->code_key, hex);
    built->ptx = arena_printf(arena, "// fake ptx %s\n", hex);
    built->ptx_bytes = strlen(built->ptx);
    built->cubin = arena_printf(arena, "fake cubin %s\n", hex);
    built->cubin_bytes = strlen(built->cubin);
    for (int i = 0; i < job->entry_count; i++) {
        built->entries[built->entry_count++] = (struct entry_facts){
            .name = job->entries[i],
            .registers = 32 + built->code_key.bytes[i] % 128,
            .param_bytes = 128,
            .code_bytes = 4096 + 128 * built->code_key.bytes[i + 1],
            .max_threads = 1024,
        };
    }
    return built_encode(arena, built);
}

/* Judging -------------------------------------------------------------------------------------- */

struct gene {
    const char *name;
    double distance; /* from the best value: of numbers by their logarithm, of labels in no order */
};

static struct gene gene_of(struct arena *arena, const char *word)
{
    size_t length = strcspn(word, "=");
    struct gene gene = {.name = arena_text(arena, word, length)};
    double best = unit("fake best", gene.name);
    int64_t number;

    if (word[length] == '=' && str_to_i64(word + length + 1, &number) && number >= 0) {
        gene.distance = log2(1 + (double)number) / 8 - best;
    } else {
        gene.distance = unit("fake label", word) - best;
    }
    return gene;
}

/* Relative to the best there could be: a quadratic form of the distances, and some roughness. */
static double slowness(struct arena *arena, const char *genes)
{
    struct gene all[GENES_MAX];
    double sum = 0.05 * unit("fake roughness", genes);
    char *rest = arena_dup(arena, genes);
    int count = 0;

    for (char *word; count < GENES_MAX && (word = strsep(&rest, " ")) != NULL; count++) {
        struct gene *gene = &all[count];

        *gene = gene_of(arena, word);
        sum += (0.5 + unit("fake weight", gene->name)) * gene->distance * gene->distance;
        for (int i = 0; i < count; i++) {
            double force = unit("fake pair", arena_printf(arena, "%s %s", all[i].name, gene->name));

            sum += 0.4 * (force - 0.5) * all[i].distance * gene->distance;
        }
    }
    return exp(sum);
}

static void add_timing(struct arena *arena, const struct judge_job *job, int problem,
                       double time_us, struct judge_result *result)
{
    struct timing *timing = &result->timings[result->timing_count];
    double bound_us = job->problems[problem].bound_us;
    uint64_t place = (uint64_t)(unit("fake samples", asked.alias_mod > 0 ? "" : job->genes) * 0x1p53);
    struct rng rng = rng_at(1, (uint32_t)problem, place);

    if (job->problems[problem].use == USE_GATE) {
        return;
    }
    result->timing_count++;
    timing->problem = problem;
    timing->quick = bound_us > 0 && time_us > bound_us;
    timing->tick_us = 0.032;
    timing->span_count = timing->quick ? SAMPLES_QUICK : SAMPLES_FULL;
    timing->span_us = arena_alloc(arena, (size_t)timing->span_count * sizeof(double));
    for (int i = 0; i < timing->span_count; i++) {
        timing->span_us[i] = time_us * (0.999 + 0.002 * rng_unit(&rng));
    }
    timing->graph_count = timing->quick ? 0 : GRAPH_SAMPLES;
    timing->graph_us = arena_alloc(arena, (size_t)timing->graph_count * sizeof(double));
    for (int i = 0; i < timing->graph_count; i++) {
        timing->graph_us[i] = time_us * (0.999 + 0.002 * rng_unit(&rng)) + 2;
    }
}

static void add_case(const struct judge_job *job, int problem, bool fail,
                     struct judge_result *result)
{
    struct case_result row = {
        .problem = problem,
        .rung = RUNG_CORRECT,
        .family = "normal",
        .seed = job->secret,
        .verdict = fail ? VERDICT_WRONG : VERDICT_PASS,
        .error_max = fail ? 1 : 0.0001,
        .error_allowed = 0.001,
        .frobenius = fail ? 1 : 0.0001,
        .frobenius_allowed = 0.001,
        .rows_checked = problem_rows(&job->problems[problem].problem),
        .rows_total = problem_rows(&job->problems[problem].problem),
        .worst = {0, 0, 0, 0},
        .expected = 1,
        .got = fail ? 2 : 1.0001,
        .reason = fail ? "wrong, as the test asked" : "",
    };

    case_record(result, &row);
}

static void add_metric(int problem, enum metric metric, double value, const char *reason,
                       struct judge_result *result)
{
    int at = result->metric_count++;

    result->metrics[at].problem = problem;
    result->metrics[at].metric = metric;
    result->metrics[at].value = value;
    result->metrics[at].reason = reason;
}

/* A program that the fake compiler made must be the one that the job says it is. */
static bool images_right(struct arena *arena, const struct judge_job *job)
{
    char hex[HASH_HEX + 1];

    for (int i = 0; i < job->image_count; i++) {
        hash_to_hex(&job->images[i].code_key, hex);
        if (str_starts(job->images[i].cubin, "fake cubin ") &&
            strcmp(job->images[i].cubin, arena_printf(arena, "fake cubin %s\n", hex)) != 0) {
            return false;
        }
    }
    return true;
}

static const char *program_text(struct arena *arena, const struct judge_job *job)
{
    char hex[HASH_HEX + 1] = "";

    if (job->image_count > 0) {
        hash_to_hex(&job->images[0].code_key, hex);
    }
    return arena_printf(arena, "program=p%llu", strtoull(arena_text(arena, hex, 12), NULL, 16));
}

static struct message *judge(struct arena *arena, const struct judge_job *job, enum trick trick)
{
    struct judge_result *result = arena_alloc(arena, sizeof *result);
    double slow = slowness(arena, asked.alias_mod > 0 ? program_text(arena, job) : job->genes);
    bool fail = trick == FAIL;

    if (trick == BOAST) {
        slow /= 10;
    }
    result->id = job->id;
    result->verdict = VERDICT_PASS;
    result->reason = "";
    result->device_ms = slow; /* part of the answer, so it must not depend on the latency */
    if (!images_right(arena, job)) {
        result->verdict = VERDICT_INVALID;
        result->reason = "the program is not the one that the job names";
        return result_encode(arena, result);
    }
    add_metric(-1, METRIC_POWER_W, NAN, "a fake device has no power meter", result);
    for (int i = 0; i < job->problem_count; i++) {
        double time_us = slow * (10 + problem_flops(&job->problems[i].problem) / 1e8);

        add_case(job, i, fail, result);
        if (fail) {
            result->verdict = VERDICT_WRONG;
            result->reason = "wrong, as the test asked";
        } else if (job->effort != EFFORT_CORRECT) {
            add_timing(arena, job, i, time_us, result);
            add_metric(i, METRIC_GRAPH_US, time_us + 2, "", result);
            add_metric(i, METRIC_OTHER_PROCESSES, (double)asked.company, "", result);
            if (asked.floor_us > 0 && job->problems[i].use != USE_GATE) {
                add_metric(i, METRIC_FLOOR_US, asked.floor_us, "", result);
            }
        }
    }
    return result_encode(arena, result);
}

/* Dueling -------------------------------------------------------------------------------------- */

/* What the tricks of a duel's job are looked for in: "duel cudnn 1x8x512x64". */
static const char *duel_text(struct arena *arena, const struct duel_job *job)
{
    char shape[PROBLEM_TEXT_MAX];

    problem_text(&job->problem, shape);
    return arena_printf(arena, "duel %s %s", job->sides[1].rival, shape);
}

static struct message *duel(struct arena *arena, const struct duel_job *job, bool fail)
{
    enum { BLOCKS = 32 };
    struct duel_result *result = arena_alloc(arena, sizeof *result);
    struct abba *blocks = arena_alloc(arena, BLOCKS * sizeof *blocks);
    double ratio = 0.8 + unit("fake duel", duel_text(arena, job));
    struct rng rng = rng_at(1, 0, job->secret);

    result->id = job->id;
    result->device_ms = 1;
    result->power_w = result->temperature_c = result->sm_clock_mhz = NAN;
    for (int i = 0; i < 2; i++) {
        result->sides[i].verdict = VERDICT_PASS;
        result->sides[i].reason = "";
        result->sides[i].name = i == 1 ? "fake library 1, its only plan" : "";
        result->sides[i].error = result->sides[i].allowed = NAN;
    }
    if (fail) {
        result->sides[1].verdict = VERDICT_UNSUPPORTED;
        result->sides[1].reason = "there is no such library, as the test asked";
        return dueled_encode(arena, result);
    }
    for (int i = 0; i < BLOCKS; i++) {
        for (int k = 0; k < 2; k++) {
            blocks[i].a[k] = 10 * (0.999 + 0.002 * rng_unit(&rng));
            blocks[i].b[k] = 10 * ratio * (0.999 + 0.002 * rng_unit(&rng));
        }
    }
    result->graph.blocks = result->span.blocks = blocks;
    result->graph.count = result->span.count = BLOCKS;
    return dueled_encode(arena, result);
}

/* Being a worker ------------------------------------------------------------------------------- */

static bool say_hello(struct arena *arena, struct err *err)
{
    bool judges = asked.role == ROLE_JUDGE;
    struct hello hello = {
        .protocol = asked.old_protocol ? JOB_PROTOCOL - 1 : JOB_PROTOCOL,
        .role = asked.role,
        .backend = "replay", /* it runs no code, and a self-test would find nothing to test */
        .version = "fake 1",
        .device = judges ? asked.device : "",
        .device_id = judges ? arena_printf(arena, "fake:%s", asked.device) : "",
        .device_arch = judges ? 90 : 0,
        .device_smem_max = judges ? 232448 : 0,
        .device_sms = judges ? 132 : 0,
        .deterministic = !asked.fickle,
    };

    if (asked.garbage_hello) {
        write_garbage();
        hang();
    }
    return frame_write(STDOUT_FILENO, hello_encode(arena, &hello), err);
}

/* Does what the trick is, if it is one that does not come back. */
static void play(enum trick trick, int64_t job)
{
    if (trick == CRASH) {
        crash();
    } else if (trick == HANG) {
        hang();
    } else if (trick == LIE) {
        write_garbage();
        hang();
    } else if (trick == SICKEN) {
        sicken(job);
    }
}

static const char *judge_text(struct arena *arena, const struct judge_job *job)
{
    return job->effort == EFFORT_PROMOTE ? arena_printf(arena, "%s promote", job->genes)
                                         : job->genes;
}

static bool do_duel(struct arena *arena, const struct message *message, struct err *err)
{
    struct duel_job *job = arena_alloc(arena, sizeof *job);
    enum trick trick;

    if (!duel_decode(arena, message, job, err)) {
        return false;
    }
    trick = trick_for(duel_text(arena, job));
    play(trick, job->id);
    take_time(job->id);
    return frame_write(STDOUT_FILENO, duel(arena, job, trick == FAIL), err);
}

static bool do_job(struct arena *arena, const struct message *message, struct err *err)
{
    struct compile_job *compiles = arena_alloc(arena, sizeof *compiles);
    struct judge_job *judges = arena_alloc(arena, sizeof *judges);
    bool compiling = asked.role == ROLE_COMPILE;
    struct message *answer;
    enum trick trick;

    if (!compiling && message_is_duel(message)) {
        return do_duel(arena, message, err);
    }
    if (!(compiling ? compile_decode(arena, message, compiles, err)
                    : judge_decode(arena, message, judges, err))) {
        return false;
    }
    trick = trick_for(compiling ? compiles->source : judge_text(arena, judges));
    play(trick, compiling ? compiles->id : judges->id);
    take_time(compiling ? compiles->id : judges->id);
    answer = compiling ? compile(arena, compiles, trick == FAIL) : judge(arena, judges, trick);
    return frame_write(STDOUT_FILENO, answer, err);
}

static int work(void)
{
    struct arena *arena = arena_new();
    struct message *message;
    struct err err = {0};
    int64_t answered = 0;
    bool ok = say_hello(arena, &err);

    while (ok && answered != asked.exit_after) {
        arena_reset(arena);
        ok = frame_read(STDIN_FILENO, arena, &message, &err) && do_job(arena, message, &err);
        answered++;
    }
    arena_free(arena);
    if (!ok && err.kind != ERR_NONE) {
        fprintf(stderr, "evo-worker-fake: %s\n", err.what);
        return 1;
    }
    return 0;
}

static bool role_read(const char *text)
{
    asked.role = strcmp(text, "compile") == 0 ? ROLE_COMPILE : ROLE_JUDGE;
    return asked.role == ROLE_COMPILE || strcmp(text, "judge") == 0;
}

static bool trick_read(enum trick trick, const char *text)
{
    asked.tricked[trick] = regcomp(&asked.tricks[trick], text, REG_EXTENDED | REG_NOSUB) == 0;
    return asked.tricked[trick];
}

static bool option_read(int option, const char *text)
{
    switch (option) {
    case 'r': return role_read(text);
    case 'd': asked.device = text; return true;
    case 'o': asked.once = text; return true;
    case 'l': return str_to_i64(text, &asked.latency_ms) && asked.latency_ms >= 0;
    case 'j': return str_to_i64(text, &asked.jitter) && asked.jitter >= 0;
    case 'e': return str_to_i64(text, &asked.exit_after) && asked.exit_after >= 0;
    case 'a': return str_to_i64(text, &asked.alias_mod) && asked.alias_mod > 0;
    case 'g': asked.garbage_hello = true; return true;
    case 'k': asked.fickle = true; return true;
    case 'p': asked.old_protocol = true; return true;
    case 'C': return trick_read(CRASH, text);
    case 'H': return trick_read(HANG, text);
    case 'L': return trick_read(LIE, text);
    case 'F': return trick_read(FAIL, text);
    case 'S': return trick_read(SICKEN, text);
    case 'O': return trick_read(BOAST, text);
    case 'c': return str_to_i64(text, &asked.company) && asked.company >= 0;
    case 'f': return str_to_f64(text, &asked.floor_us) && asked.floor_us > 0;
    default: return false;
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"role", required_argument, NULL, 'r'},       {"device", required_argument, NULL, 'd'},
        {"latency-ms", required_argument, NULL, 'l'}, {"jitter", required_argument, NULL, 'j'},
        {"exit-after", required_argument, NULL, 'e'}, {"crash-on", required_argument, NULL, 'C'},
        {"hang-on", required_argument, NULL, 'H'},    {"lie-on", required_argument, NULL, 'L'},
        {"fail-on", required_argument, NULL, 'F'},    {"sicken-on", required_argument, NULL, 'S'},
        {"boast-on", required_argument, NULL, 'O'},   {"floor", required_argument, NULL, 'f'},
        {"company", required_argument, NULL, 'c'},    {"fickle", no_argument, NULL, 'k'},
        {"once", required_argument, NULL, 'o'},       {"alias-mod", required_argument, NULL, 'a'},
        {"garbage-hello", no_argument, NULL, 'g'},    {"old-protocol", no_argument, NULL, 'p'},
        {NULL, 0, NULL, 0},
    };
    int option, status;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (!option_read(option, optarg)) {
            fprintf(stderr, "evo-worker-fake: bad option, see tests/worker_fake.c\n");
            return 2;
        }
    }
    if (optind != argc) {
        fprintf(stderr, "evo-worker-fake: it takes options only\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    status = work();
    for (int trick = 0; trick < TRICKS; trick++) {
        if (asked.tricked[trick]) {
            regfree(&asked.tricks[trick]);
        }
    }
    return status;
}
