#include "fitness/duel.h"

#include <math.h>

#include "base/clock.h"
#include "fitness/image.h"
#include "fitness/score.h"
#include "fitness/verify.h"

struct contender {
    struct device_module *module;
    struct plan plan;
    struct verify_sets *sets;
    struct judge_result *gate;
};

struct session {
    struct arena *arena;
    const struct duel_job *job;
    struct duel_result *result;
    struct contender sides[2];
    int64_t sms;
    enum device_status status;
};

/*
 * Each step returns true to go on. False with a verdict on a side, or false with none and err set:
 * then it is the machine's fault.
 */

static bool decided(struct session *s, int side, enum verdict verdict, const char *reason)
{
    s->result->sides[side].verdict = verdict;
    s->result->sides[side].reason = arena_dup(s->arena, reason);
    return false;
}

static bool load_code(struct session *s, int side, struct err *err)
{
    const struct judge_image *image = &s->job->sides[side].image;
    struct contender *to = &s->sides[side];
    enum verdict verdict;
    const char *reason;
    bool supported;

    if (!image_check(s->arena, image, &verdict, &reason, err)) {
        return verdict != VERDICT_NONE && decided(s, side, verdict, reason);
    }
    s->status = device_load(image, &to->module, err);
    if (s->status != DEVICE_OK) {
        verdict = s->status == DEVICE_UNSUPPORTED ? VERDICT_UNSUPPORTED : VERDICT_INVALID;
        return !device_is_lost(s->status) && decided(s, side, verdict, err->what);
    }
    if (!plan_resolve(s->arena, &image->program, &s->job->problem, s->sms, &to->plan, &supported,
                      err)) {
        return decided(s, side, supported ? VERDICT_NO_LAUNCH : VERDICT_UNSUPPORTED, err->what);
    }
    return true;
}

static bool load_rival(struct session *s, int side, struct err *err)
{
    struct contender *to = &s->sides[side];

    s->status = device_load_rival(s->arena, s->job->sides[side].rival, &s->job->problem,
                                  &to->module, &to->plan, err);
    return s->status == DEVICE_OK ||
           (!device_is_lost(s->status) && decided(s, side, VERDICT_UNSUPPORTED, err->what));
}

static struct verify_subject subject_of(const struct session *s, int side)
{
    return (struct verify_subject){
        .module = s->sides[side].module,
        .plan = &s->sides[side].plan,
        .problem = &s->job->problem,
        .numerics = s->job->sides[side].image.program.numerics == 1 ? NUMERICS_FP16 : NUMERICS_FP32,
    };
}

/* Makes the buffers that will be timed; a library's plans are tried on them. */
static bool make_sets(struct session *s, int side, struct err *err)
{
    struct verify_subject subject = subject_of(s, side);
    struct contender *to = &s->sides[side];
    int count;

    s->status = verify_sets_make(s->arena, &subject, s->job->secret,
                                 device_sets(subject.problem), &to->sets, err);
    if (s->status == DEVICE_OK && *s->job->sides[side].rival != '\0') {
        s->status = device_rival_choose(s->arena, to->module, &to->plan,
                                        verify_sets_buffers(to->sets, &count),
                                        &s->result->sides[side].name, err);
        if (s->status == DEVICE_REFUSED) {
            return decided(s, side, VERDICT_UNSUPPORTED, err->what);
        }
    }
    return s->status == DEVICE_OK;
}

/* The case that came nearest to its limit. */
static void tell_error(struct session *s, int side)
{
    const struct judge_result *gate = s->sides[side].gate;
    double nearest = -1;

    for (int i = 0; i < gate->case_count; i++) {
        const struct case_result *one = &gate->cases[i];
        double share = one->error_max / one->error_allowed;

        if (share > nearest) {
            nearest = share;
            s->result->sides[side].error = one->error_max;
            s->result->sides[side].allowed = one->error_allowed;
        }
    }
}

static bool pass_gate(struct session *s, int side, struct err *err)
{
    struct verify_subject subject = subject_of(s, side);
    struct judge_result *gate = s->sides[side].gate;
    int64_t seeds = s->job->cases_per_family;
    struct verify_request request = {.depth = seeds < 1 ? DEPTH_ONCE : DEPTH_QUICK,
                                     .secret = s->job->secret + 1,
                                     .seeds = seeds < 1 ? 1 : seeds,
                                     .launches = VERIFY_LAUNCHES_QUICK};

    s->status = verify_run(s->arena, &subject, &request, gate, err);
    tell_error(s, side);
    return gate->verdict == VERDICT_NONE ? s->status == DEVICE_OK
                                         : decided(s, side, gate->verdict, gate->reason);
}

static bool still_right(struct session *s, int side, struct err *err)
{
    struct judge_result *gate = s->sides[side].gate;

    s->status = verify_sets_check(s->arena, s->sides[side].sets, false, gate, err);
    return gate->verdict == VERDICT_NONE ? s->status == DEVICE_OK
                                         : decided(s, side, gate->verdict, gate->reason);
}

/* As a judge does when it times one alone (check_clocks); a library is no adversary. */
static bool clocks_agree(struct session *s, int side)
{
    const struct duel_result *result = s->result;
    struct duel_score span, graph;

    if (result->modelled || *s->job->sides[side].rival != '\0' ||
        !score_of_duel(result->span.blocks, result->span.count, 0, 1, &span) ||
        !score_of_duel(result->graph.blocks, result->graph.count, 0, 1, &graph) ||
        graph.us[side] >= score_graph_least(span.us[side], plan_operations(&s->sides[side].plan))) {
        return true;
    }
    return decided(s, side, VERDICT_INVALID,
                   arena_printf(s->arena,
                                "%.4g us a call by records and %.4g us in a graph of calls: it "
                                "does less when its answer is in place",
                                span.us[side], graph.us[side]));
}

static bool fight(struct session *s, struct err *err)
{
    struct duel_request request = {.cap_ms = s->job->cap_ms};
    struct duel_result *result = s->result;
    struct dueled dueled;

    for (int i = 0; i < 2; i++) {
        request.sides[i].module = s->sides[i].module;
        request.sides[i].plan = &s->sides[i].plan;
        request.sides[i].sets = verify_sets_buffers(s->sides[i].sets, &request.set_count);
    }
    s->status = device_duel(s->arena, &request, &dueled, err);
    if (s->status != DEVICE_OK) {
        return false;
    }
    result->span.blocks = dueled.span.blocks;
    result->span.count = dueled.span.count;
    result->span.tick_us = dueled.span.tick_us;
    result->graph.blocks = dueled.graph.blocks;
    result->graph.count = dueled.graph.count;
    result->graph.tick_us = dueled.graph.tick_us;
    result->modelled = dueled.under_load.modelled;
    result->sm_clock_mhz = dueled.under_load.sm_clock_mhz;
    result->power_w = dueled.under_load.power_w;
    result->temperature_c = dueled.under_load.temperature_c;
    result->throttle_reasons = dueled.under_load.throttle_reasons;
    /* A model runs some of the blocks: the sets hold no answer. */
    return result->modelled || (clocks_agree(s, 0) && clocks_agree(s, 1) &&
                                still_right(s, 0, err) && still_right(s, 1, err));
}

static bool climb(struct session *s, struct err *err)
{
    for (int i = 0; i < 2; i++) {
        bool loaded =
            *s->job->sides[i].rival != '\0' ? load_rival(s, i, err) : load_code(s, i, err);

        if (!loaded || !make_sets(s, i, err)) {
            return false;
        }
    }
    return pass_gate(s, 0, err) && pass_gate(s, 1, err) && fight(s, err);
}

static void forget_times(struct duel_result *result)
{
    result->span.count = 0;
    result->graph.count = 0;
}

struct message *duel_answer(struct arena *arena, const struct message *message, int64_t sms,
                            struct err *err)
{
    struct duel_job *job = arena_alloc(arena, sizeof(*job));
    struct duel_result *result = arena_alloc(arena, sizeof(*result));
    struct session s = {.arena = arena, .job = job, .result = result, .sms = sms};
    int64_t start = clock_now_us();
    bool done, told = false;

    if (!duel_decode(arena, message, job, err)) {
        return NULL;
    }
    result->id = job->id;
    result->sm_clock_mhz = result->power_w = result->temperature_c = NAN;
    for (int i = 0; i < 2; i++) {
        s.sides[i].gate = arena_alloc(arena, sizeof(*s.sides[i].gate));
        result->sides[i].reason = result->sides[i].name = "";
        result->sides[i].error = result->sides[i].allowed = NAN;
    }
    done = climb(&s, err);
    for (int i = 0; i < 2; i++) {
        if (done) {
            result->sides[i].verdict = VERDICT_PASS;
        }
        told = told || result->sides[i].verdict != VERDICT_NONE;
        verify_sets_free(s.sides[i].sets);
        device_unload(s.sides[i].module);
    }
    if (!told) {
        return NULL;
    }
    if (!done) {
        forget_times(result);
    }
    result->device_ms = (double)(clock_now_us() - start) / 1e3;
    return dueled_encode(arena, result);
}

void duel_constant(struct arena *arena, double a_us, double b_us, struct duel_times *times)
{
    times->count = STATS_BLOCKS_MIN;
    times->tick_us = 0;
    times->blocks = arena_alloc(arena, STATS_BLOCKS_MIN * sizeof(*times->blocks));
    for (int i = 0; i < times->count; i++) {
        times->blocks[i] = (struct abba){.a = {a_us, a_us}, .b = {b_us, b_us}};
    }
}
