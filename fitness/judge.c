/*
 * judge -- the main program of every worker that runs real code: evo-judge-cuda, and whatever else
 * implements device.h.
 *
 * A JUDGE job is a candidate as the engine found it good to try: machine code, the program that
 * says how it is launched, the problems to be solved. The judge climbs the ladder of docs/JUDGE.md:
 * what is in the images, are they what was compiled, does every problem have a launch, does each
 * problem's gate pass, smallest first; and only then, if asked, how long does each take. The first
 * rung that fails decides the verdict.
 *
 * Three ways out of a job: an answer; an answer after which this process ends, because the device
 * is spent by what the candidate did or worn by much measuring; a failure, when it is the machine
 * that let us down and another process may do better with the same job.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "fitness/counting.h"
#include "fitness/device.h"
#include "fitness/duel.h"
#include "fitness/image.h"
#include "fitness/jitter.h"
#include "fitness/job.h"
#include "fitness/physics.h"
#include "fitness/probe.h"
#include "fitness/reference.h"
#include "fitness/score.h"
#include "fitness/sandbox.h"
#include "fitness/stats.h"
#include "fitness/verify.h"
#include "fitness/worker.h"

enum {
    CAP_MS = 150,     /* of sampling, per problem */
    SEEDS_MAX = 1000, /* of a family: what a calibration run may ask for */
};

struct judge {
    int64_t sms;
    bool deterministic; /* by its nature: launches are not repeated to see that */
    struct counting counting;
};

/* One job. Everything lives in its arena but the modules and the sets. */
struct session {
    struct arena *arena;
    struct judge *judge;
    const struct judge_job *job;
    struct judge_result *result;
    struct device_module *modules[JOB_IMAGES_MAX];
    struct device_module *twins[JOB_IMAGES_MAX]; /* of the race gate; NULL: not loaded */
    struct plan plans[JOB_PROBLEMS_MAX];
    bool skipped[JOB_PROBLEMS_MAX]; /* for the gate alone, and not supported */
    int order[JOB_PROBLEMS_MAX];    /* of the problems: by work, least first */
    struct verify_costs costs;      /* of the gate */
    int64_t check_us;
    enum device_status status;
};

static bool decided(struct session *s, enum verdict verdict, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Returns false: the ladder ends here. */
static bool decided(struct session *s, enum verdict verdict, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    s->result->verdict = verdict;
    s->result->reason = arena_vprintf(s->arena, format, ap);
    va_end(ap);
    return false;
}

static void metric_add(struct judge_result *result, int problem, enum metric metric, double value,
                       const char *missing)
{
    if (result->metric_count == JOB_METRICS_MAX) {
        return;
    }
    result->metrics[result->metric_count].problem = problem;
    result->metrics[result->metric_count].metric = metric;
    result->metrics[result->metric_count].value = value;
    result->metrics[result->metric_count].reason = isnan(value) ? missing : "";
    result->metric_count++;
}

/* Of the whole candidate: what has passed since `start`. Returns now. */
static int64_t metric_add_time(struct judge_result *result, enum metric metric, int64_t start)
{
    int64_t now = clock_now_us();

    metric_add(result, -1, metric, (double)(now - start) / 1e3, "");
    return now;
}

/*
 * Every rung returns true to go on. False with a verdict in the result, or false with the verdict
 * NONE and err set: then it is no fault of the candidate.
 */

static bool check_image(struct session *s, int index, struct err *err)
{
    enum verdict verdict;
    const char *reason;

    if (image_check(s->arena, &s->job->images[index], &verdict, &reason, err)) {
        return true;
    }
    return verdict == VERDICT_NONE ? err_in(err, "image %d", index)
                                   : decided(s, verdict, "%s", reason);
}

static bool load_image(struct session *s, int index, struct err *err)
{
    enum device_status status = device_load(&s->job->images[index], &s->modules[index], err);

    if (status == DEVICE_OK) {
        return true;
    }
    s->modules[index] = NULL;
    s->status = status;
    if (status == DEVICE_REFUSED) {
        return decided(s, VERDICT_INVALID, "the device refused the module: %s", err->what);
    }
    if (status == DEVICE_UNSUPPORTED) {
        return decided(s, VERDICT_UNSUPPORTED, "%s", err->what);
    }
    return err_in(err, "loading image %d", index);
}

static bool load_images(struct session *s, struct err *err)
{
    for (int i = 0; i < s->job->image_count; i++) {
        if (!check_image(s, i, err) || !load_image(s, i, err)) {
            return false;
        }
    }
    return true;
}

static bool resolve_plan(struct session *s, int index, struct err *err)
{
    const struct problem *problem = &s->job->problems[index].problem;
    char text[PROBLEM_TEXT_MAX];
    bool supported;

    if (plan_resolve(s->arena, &s->job->images[s->job->problems[index].image].program, problem,
                     s->judge->sms, &s->plans[index], &supported, err) &&
        supported) {
        return true;
    }
    if (!supported && !use_is_timed(s->job->problems[index].use)) {
        s->skipped[index] = true;
        return true;
    }
    problem_text(problem, text);
    return decided(s, supported ? VERDICT_NO_LAUNCH : VERDICT_UNSUPPORTED, "%s: %s", text,
                   err->what);
}

/* Nothing passes without having been through the gate on some shape. */
static bool resolve_plans(struct session *s, struct err *err)
{
    int gated = 0;

    for (int i = 0; i < s->job->problem_count; i++) {
        if (!resolve_plan(s, i, err)) {
            return false;
        }
        gated += s->job->problems[i].use != USE_TIME && !s->skipped[i];
    }
    return gated > 0 ||
           decided(s, VERDICT_UNSUPPORTED,
                   "it supports none of the shapes that this device's gate can afford");
}

/* Least work first: what is wrong is most often wrong everywhere, and found soonest there. */
static void order_problems(struct session *s)
{
    for (int i = 0; i < s->job->problem_count; i++) {
        double flops = problem_flops(&s->job->problems[i].problem);
        int at = i;
        while (at > 0 && problem_flops(&s->job->problems[s->order[at - 1]].problem) > flops) {
            s->order[at] = s->order[at - 1];
            at--;
        }
        s->order[at] = i;
    }
}

static struct verify_subject subject_of(const struct session *s, int problem)
{
    int image = s->job->problems[problem].image;

    return (struct verify_subject){
        .module = s->modules[image],
        .plan = &s->plans[problem],
        .problem = &s->job->problems[problem].problem,
        .problem_index = problem,
        .numerics = s->job->images[image].program.numerics == 1 ? NUMERICS_FP16 : NUMERICS_FP32,
    };
}

static struct verify_request gate_request(const struct session *s, enum use use)
{
    static const enum depth own_depth[USE_COUNT] = {
        [USE_WHOLE] = DEPTHS, [USE_ONCE] = DEPTH_ONCE, [USE_TIME] = DEPTHS,
        [USE_GATE] = DEPTHS,  [USE_BAR] = DEPTH_BAR,   [USE_TELL] = DEPTH_TELL};
    int64_t seeds = s->job->cases_per_family, least = 1;
    struct verify_request request = {
        .depth = DEPTH_QUICK, .secret = s->job->secret, .launches = VERIFY_LAUNCHES_QUICK};

    if (s->job->effort == EFFORT_PROMOTE) {
        least = VERIFY_SEEDS_MIN;
        request.depth = DEPTH_PROMOTE;
        request.launches = s->judge->deterministic ? VERIFY_LAUNCHES_QUICK : VERIFY_LAUNCHES_MAX;
    }
    if (own_depth[use] != DEPTHS) {
        request.depth = own_depth[use];
    }
    request.seeds = seeds < least ? least : seeds > SEEDS_MAX ? SEEDS_MAX : seeds;
    return request;
}

static bool run_gate(struct session *s, struct err *err)
{
    int64_t start = clock_now_us();

    for (int i = 0; i < s->job->problem_count && s->status == DEVICE_OK; i++) {
        struct verify_subject subject = subject_of(s, s->order[i]);
        enum use use = s->job->problems[s->order[i]].use;
        struct verify_request request = gate_request(s, use);

        subject.costs = &s->costs;
        if (use == USE_TIME || s->skipped[s->order[i]]) {
            continue;
        }
        s->status = verify_run(s->arena, &subject, &request, s->result, err);
        if (s->result->verdict != VERDICT_NONE) {
            break;
        }
    }
    metric_add_time(s->result, METRIC_GATE_MS, start);
    for (int part = 0; part < VERIFY_PARTS; part++) {
        metric_add(s->result, -1, (enum metric)(METRIC_GATE_DRAW_MS + part),
                   (double)s->costs.us[part] / 1e3, "");
    }
    return s->status == DEVICE_OK && s->result->verdict == VERDICT_NONE;
}

/* ---- the race gate ---- */

/* Whether the image has a twin to run, and if not, that and why is a row of evidence. */
static bool no_twin(struct session *s, int image, const char *why)
{
    for (int i = 0; i < s->job->problem_count; i++) {
        struct case_result row = case_blank(i, RUNG_RACE);

        if (s->job->problems[i].image == image) {
            row.verdict = VERDICT_UNSUPPORTED;
            row.reason = arena_printf(s->arena, "not run: %s", why);
            case_record(s->result, &row);
            return true;
        }
    }
    return true;
}

/*
 * A twin that cannot be made of this text is the candidate's doing; a compiler too old for any such
 * text is not.
 */
static bool load_twin(struct session *s, int index, struct err *err)
{
    const struct judge_image *image = &s->job->images[index];
    struct jitter_sites sites;
    struct buf text = {0};
    bool ok = true;

    if (image->ptx_bytes == 0) {
        return no_twin(s, index, "the program came without its PTX");
    }
    if (!jitter_twin(image->ptx, image->ptx_bytes, &text, &sites, err)) {
        ok = decided(s, VERDICT_INVALID, "it has no jitter twin: %s", err->what);
    } else {
        s->status = device_load_twin(image, text.data, text.length, &s->twins[index], err);
        s->twins[index] = s->status == DEVICE_OK ? s->twins[index] : NULL;
        if (s->status == DEVICE_UNSUPPORTED) {
            s->status = DEVICE_OK;
            ok = no_twin(s, index, err->what);
        } else if (s->status == DEVICE_REFUSED) {
            s->status = DEVICE_OK;
            ok = decided(s, VERDICT_INVALID, "the device refused its jitter twin: %s", err->what);
        } else {
            ok = s->status == DEVICE_OK || err_in(err, "loading the twin of image %d", index);
        }
    }
    buf_free(&text);
    return ok;
}

static bool race_problem(struct session *s, int problem, struct err *err)
{
    struct verify_subject subject = subject_of(s, problem);
    enum use use = s->job->problems[problem].use;

    subject.module = s->twins[s->job->problems[problem].image];
    if (subject.module == NULL || s->skipped[problem] || (use != USE_WHOLE && use != USE_GATE)) {
        return true;
    }
    s->status = verify_race(s->arena, &subject, s->job->secret, s->result, err);
    return s->status == DEVICE_OK && s->result->verdict == VERDICT_NONE;
}

static bool run_race(struct session *s, struct err *err)
{
    int64_t start = clock_now_us();
    bool well = true;

    for (int i = 0; i < s->job->image_count && well; i++) {
        well = load_twin(s, i, err);
    }
    start = metric_add_time(s->result, METRIC_TWIN_MS, start);
    for (int i = 0; i < s->job->problem_count && well; i++) {
        well = race_problem(s, s->order[i], err);
    }
    metric_add_time(s->result, METRIC_RACE_MS, start);
    for (int i = 0; i < s->job->image_count; i++) {
        device_unload(s->twins[i]);
    }
    return well;
}

/* ---- the clock ---- */

static double median_of(struct arena *arena, const double *values, int count)
{
    double *copy;

    if (count < 1) {
        return NAN;
    }
    copy = arena_copy(arena, values, (size_t)count * sizeof(*values));
    return stats_quantile(copy, count, 0.5);
}

static void add_measured(struct session *s, int problem, const struct measured *measured)
{
    const struct plan *plan = &s->plans[problem];
    struct judge_result *result = s->result;
    int at = result->timing_count++;
    struct timing *timing;
    const char *missing;
    uint32_t smem = 0;

    while (at > 0 && result->timings[at - 1].problem > problem) { /* told in order of problems */
        result->timings[at] = result->timings[at - 1];
        at--;
    }
    timing = &result->timings[at];
    *timing = measured->timing;
    timing->problem = problem;
    missing = measured->modelled ? "the time is modelled"
              : timing->quick    ? "the quick rung was the last"
                                 : NULL;
    for (int i = 0; i < measured->metric_count; i++) {
        metric_add(result, problem, measured->metrics[i].metric, measured->metrics[i].value,
                   "the device does not say");
    }
    for (int k = 0; k < plan->kernel_count; k++) {
        smem = plan->kernels[k].smem_bytes > smem ? plan->kernels[k].smem_bytes : smem;
    }
    metric_add(result, problem, METRIC_SMEM_DYNAMIC_BYTES, smem, "");
    metric_add(result, problem, METRIC_OCCUPANCY,
               device_occupancy(s->modules[s->job->problems[problem].image], plan),
               "the driver does not say");
    metric_add(result, problem, METRIC_SM_CLOCK_MHZ, measured->sm_clock_mhz,
               missing != NULL ? missing : "NVML does not say");
    metric_add(result, problem, METRIC_POWER_W, measured->power_w,
               missing != NULL ? missing : "NVML does not say");
    metric_add(result, problem, METRIC_TEMPERATURE_C, measured->temperature_c,
               missing != NULL ? missing : "NVML does not say");
    metric_add(result, problem, METRIC_THROTTLE_REASONS,
               isnan(measured->sm_clock_mhz) ? NAN : (double)measured->throttle_reasons,
               missing != NULL ? missing : "NVML does not say");
    metric_add(result, problem, METRIC_OTHER_PROCESSES,
               missing == NULL ? measured->other_processes : NAN,
               missing != NULL ? missing : "NVML does not say");
    metric_add(result, problem, METRIC_GRAPH_US,
               median_of(s->arena, timing->graph_us, timing->graph_count),
               missing != NULL ? missing : "no graph was timed");
    metric_add(result, problem, METRIC_FRESH_US, missing == NULL ? measured->fresh_us : NAN,
               missing != NULL ? missing : "inputs were not renewed");
}

/* What a failure says of the candidate while it is timed; one that says nothing is the machine's.
 */
static void decide_timing(struct session *s, int problem, const struct err *err)
{
    bool gated = s->job->problems[problem].use != USE_TIME;
    enum verdict verdict = verify_verdict_of(s->status);

    if (verdict != VERDICT_NONE && s->status != DEVICE_LOST &&
        (s->status != DEVICE_REFUSED || !gated)) {
        decided(s, verdict, "it failed while it was timed%s: %s",
                gated ? ", after passing the gate" : "", err->what);
    }
}

/* What the few samples against the bound were good for. */
static void tell_quick(struct session *s, int problem, double bound_us,
                       const struct measured *measured)
{
    struct case_result row = case_blank(problem, RUNG_QUICK);

    if (bound_us <= 0 || measured->modelled) {
        return;
    }
    if (measured->timing.quick) {
        row.reason =
            arena_printf(s->arena, "all of %d samples are above %.6g us: no more were taken",
                         measured->timing.span_count, bound_us);
    }
    case_record(s->result, &row);
}

/* A time that cannot be is a bug of somebody's: the clock's, the gate's, never a fast kernel. */
static bool check_floor(struct session *s, int problem, const struct measured *measured)
{
    const struct timing *timing = &measured->timing;
    struct physics_device device = device_peaks();
    struct case_result row = case_blank(problem, RUNG_TIMED);
    struct physics_floor floor;
    struct score score;

    if (!isnan(measured->sm_clock_mhz)) {
        device.clock_mhz = measured->sm_clock_mhz;
    }
    floor = physics_floor(&device, &s->job->problems[problem].problem, false);
    metric_add(s->result, problem, METRIC_FLOOR_US, floor.us > 0 ? floor.us : NAN, floor.text);
    if (!score_of_samples(timing->span_us, timing->span_count, timing->tick_us, &score) ||
        score.us >= floor.us) {
        return true;
    }
    row.verdict = VERDICT_INVALID;
    row.reason = arena_printf(s->arena,
                              "%.4g us are impossible: %s, and nothing is faster than 0.95 of that",
                              score.us, floor.text);
    case_record(s->result, &row);
    return decided(s, VERDICT_INVALID, "%s", row.reason);
}

/* Poison stands before each call of clock 1, and before none of clock 2. */
static bool check_clocks(struct session *s, int problem, const struct measured *measured)
{
    const struct timing *timing = &measured->timing;
    const struct plan *plan = &s->plans[problem];
    double span_us = median_of(s->arena, timing->span_us, timing->span_count);
    double graph_us = median_of(s->arena, timing->graph_us, timing->graph_count);
    struct case_result row = case_blank(problem, RUNG_TIMED);

    if (measured->modelled || timing->graph_count == 0 ||
        graph_us >= score_graph_least(span_us, plan_operations(plan))) {
        return true;
    }
    row.verdict = VERDICT_INVALID;
    row.reason = arena_printf(s->arena,
                              "%.4g us a call by records and %.4g us in a graph of calls: it does "
                              "less when its answer is in place",
                              span_us, graph_us);
    case_record(s->result, &row);
    return decided(s, VERDICT_INVALID, "%s", row.reason);
}

/* Whoever keeps answers, wherever that is, has none for inputs that nobody ever saw. */
static bool check_fresh(struct session *s, int problem, const struct measured *measured)
{
    const struct timing *timing = &measured->timing;
    double span_us = median_of(s->arena, timing->span_us, timing->span_count);
    struct case_result row = case_blank(problem, RUNG_TIMED);

    if (isnan(measured->fresh_us) || measured->fresh_us <= score_fresh_most(span_us)) {
        return true;
    }
    row.verdict = VERDICT_INVALID;
    row.reason = arena_printf(s->arena,
                              "%.4g us on inputs that it sees for the first time and %.4g us on "
                              "those it has seen: it keeps its answers",
                              measured->fresh_us, span_us);
    case_record(s->result, &row);
    return decided(s, VERDICT_INVALID, "%s", row.reason);
}

/* Times one problem and verifies what the timed calls left behind. */
static bool measure_problem(struct session *s, int problem, struct err *err)
{
    struct verify_subject subject = subject_of(s, problem);
    struct verify_sets *sets = NULL;
    struct measured measured = {.sm_clock_mhz = NAN, .power_w = NAN, .fresh_us = NAN};
    struct physics_device peaks = device_peaks();
    struct measure_request request = {
        .module = subject.module,
        .plan = subject.plan,
        .cap_ms = CAP_MS,
        .at_mhz = physics_follows_memory(&peaks, subject.problem)
                      ? NAN
                      : s->job->problems[problem].at_mhz};

    if (s->job->effort < EFFORT_PROMOTE) { /* what is promoted is never cut short */
        request.bound_us = s->job->problems[problem].bound_us;
    }

    int64_t start = clock_now_us();
    s->status = verify_sets_make(s->arena, &subject, s->job->secret, device_sets(subject.problem),
                                 &sets, err);
    s->check_us += clock_now_us() - start;
    if (s->status == DEVICE_OK) {
        request.sets = verify_sets_buffers(sets, &request.set_count);
        request.watch = verify_sets_watch(sets);
        s->status = device_measure(s->arena, &request, &measured, err);
        decide_timing(s, problem, err);
    }
    if (s->status == DEVICE_OK) {
        add_measured(s, problem, &measured);
        tell_quick(s, problem, request.bound_us, &measured);
        start = clock_now_us();
        if (check_floor(s, problem, &measured) && check_clocks(s, problem, &measured) &&
            check_fresh(s, problem, &measured) && !measured.modelled) {
            s->status = verify_sets_check(s->arena, sets, measured.timing.quick, s->result, err);
        }
        s->check_us += clock_now_us() - start;
    }
    verify_sets_free(sets);
    return s->status == DEVICE_OK && s->result->verdict == VERDICT_NONE;
}

static bool measure_all(struct session *s, struct err *err)
{
    int64_t start = clock_now_us();
    bool well = true;

    for (int i = 0; i < s->job->problem_count && well; i++) {
        well = !use_is_timed(s->job->problems[s->order[i]].use) ||
               measure_problem(s, s->order[i], err);
    }
    metric_add(s->result, -1, METRIC_MEASURE_MS,
               (double)(clock_now_us() - start - s->check_us) / 1e3, "");
    metric_add(s->result, -1, METRIC_CHECK_MS, (double)s->check_us / 1e3, "");
    return well;
}

/* ---- counters ---- */

static struct counted_call counted_call(const struct session *s, int problem)
{
    return (struct counted_call){.job = s->job->id,
                                 .index = problem,
                                 .problem = s->job->problems[problem].problem,
                                 .module = s->modules[s->job->problems[problem].image],
                                 .plan = &s->plans[problem]};
}

static bool was_cut_short(const struct judge_result *result)
{
    for (int i = 0; i < result->timing_count; i++) {
        if (result->timings[i].quick) {
            return true;
        }
    }
    return false;
}

/*
 * What is to be called best, in full on its largest shapes; what may be kept, on its largest one,
 * when there are enough of them. Nothing here decides anything: it passed.
 */
static void count(struct session *s, struct err *err)
{
    struct counting *counting = &s->judge->counting;
    struct counted_call calls[COUNTING_PROBLEMS_MAX];
    int64_t start = clock_now_us();
    int found = 0;

    if (!device_counts() || s->job->effort == EFFORT_CORRECT || was_cut_short(s->result)) {
        return;
    }
    for (int i = s->job->problem_count - 1; i >= 0 && found < COUNTING_PROBLEMS_MAX; i--) {
        if (use_is_timed(s->job->problems[s->order[i]].use)) {
            calls[found++] = counted_call(s, s->order[i]);
        }
    }
    if (s->job->effort == EFFORT_PROMOTE && s->job->counters_later) {
        for (int i = 0; i < found; i++) {
            s->modules[s->job->problems[calls[i].index].image] = NULL;
        }
        counting_put_off(counting, calls, found);
    } else if (s->job->effort == EFFORT_PROMOTE) {
        s->status = counting_in_full(counting, s->arena, calls, found, s->result, err);
        metric_add_time(s->result, METRIC_COUNT_MS, start);
    } else if (found > 0) {
        s->modules[s->job->problems[calls[0].index].image] = NULL;
        if (counting_add(counting, &calls[0])) {
            s->status = counting_collect(counting, s->arena, s->result, err);
            metric_add_time(s->result, METRIC_COUNT_MS, start);
        }
    }
}

/* What was put off at a promotion, behind another's verdict: a message has no room for both. */
static bool count_best(struct session *s, struct err *err)
{
    int64_t start = clock_now_us();

    if (!counting_best_is_due(&s->judge->counting)) {
        return false;
    }
    s->status = counting_best(&s->judge->counting, s->arena, s->result, err);
    metric_add_time(s->result, METRIC_COUNT_MS, start);
    return true;
}

static void climb(struct session *s, struct err *err)
{
    if (load_images(s, err) && resolve_plans(s, err) && run_gate(s, err) &&
        (s->job->effort < EFFORT_PROMOTE || run_race(s, err)) &&
        (s->job->effort == EFFORT_CORRECT || measure_all(s, err))) {
        s->result->verdict = VERDICT_PASS;
        if (!count_best(s, err)) {
            count(s, err);
        }
    }
}

/* Times without a pass are worth nothing, and must not be mistaken for something. */
static void forget_times(struct judge_result *result)
{
    if (result->verdict != VERDICT_PASS) {
        result->timing_count = 0;
    }
}

static bool handle(void *context, struct arena *arena, const struct message *message,
                   struct message **answer, bool *last, struct err *err)
{
    struct judge *judge = context;
    struct judge_job *job = arena_alloc(arena, sizeof(*job));
    struct session *s = arena_alloc(arena, sizeof(*s));
    int64_t start = clock_now_us();
    bool spent;

    if (message_is_duel(message)) {
        *last = true;
        *answer = duel_answer(arena, message, judge->sms, err);
        return *answer != NULL;
    }
    if (message_is_probe(message)) {
        *answer = probe_answer(arena, message, judge->sms, err);
        *last = *answer != NULL && device_is_worn();
        return *answer != NULL;
    }
    if (!judge_decode(arena, message, job, err)) {
        return false;
    }
    s->arena = arena;
    s->judge = judge;
    s->job = job;
    s->result = arena_alloc(arena, sizeof(*s->result));
    s->result->id = job->id;
    s->result->reason = "";
    s->status = DEVICE_OK;
    order_problems(s);
    climb(s, err);
    spent = device_is_lost(s->status);
    for (int i = 0; i < job->image_count; i++) {
        device_unload(s->modules[i]);
    }
    if (s->result->verdict == VERDICT_NONE) {
        return false;
    }
    forget_times(s->result);
    s->result->device_ms = (double)(clock_now_us() - start) / 1e3;
    *answer = result_encode(arena, s->result);
    *last = spent || device_is_worn();
    return true;
}

static bool read_options(int argc, char **argv, const char **device)
{
    *device = "0";
    for (int i = 1; i < argc; i += 2) {
        if (strcmp(argv[i], "--device") != 0 || i + 1 == argc) {
            return false;
        }
        *device = argv[i + 1];
    }
    return true;
}

static int usage(FILE *to, const char *program, int status)
{
    fprintf(
        to,
        "usage: %s [--device DEVICE]\n"
        "Judges candidate kernels on one device (default: 0). Speaks the worker protocol of evo\n"
        "on stdin and stdout; evo starts it, and a person has no use for it.\n",
        program);
    return status;
}

/* CUDA's driver opens files and sockets whenever it likes; a machine in C opens nothing. */
static const char *confine(const char *backend)
{
    bool own = strcmp(backend, "cuda") != 0;
    struct sandbox sandbox = {
        .readable = {"/sys/devices/system/cpu", "/proc/self", "/etc/localtime"},
        .closes_files = own,
        .closes_sockets = own,
        .memory_bytes = own ? (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) * 2 : 0,
        .file_bytes = own ? 1 << 20 : 0,
    };

    return sandbox_enter(&sandbox);
}

int main(int argc, char **argv)
{
    struct hello hello;
    struct judge judge;
    struct err err = {0};
    const char *device;

    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        return usage(stdout, argv[0], 0);
    }
    if (!read_options(argc, argv, &device)) {
        return usage(stderr, argv[0], 2);
    }
    worker_claim_stdio();
    struct arena *arena = arena_new();
    if (!device_open(arena, device, &hello, &err)) {
        fprintf(stderr, "%s: cannot open device '%s': %s\n", argv[0], device, err.what);
        if (err.hint[0] != '\0') {
            fprintf(stderr, "%s: %s\n", argv[0], err.hint);
        }
        arena_free(arena);
        return err_exit_code(&err);
    }
    hello.sandbox = confine(hello.backend);
    judge = (struct judge){.sms = hello.device_sms, .deterministic = hello.deterministic};
    counting_open(&judge.counting);
    int status = worker_run(&hello, handle, &judge);
    counting_close(&judge.counting);
    device_close();
    arena_free(arena);
    return status;
}
