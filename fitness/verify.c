#include "fitness/verify.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "fitness/gate.h"
#include "fitness/jitter.h"
#include "fitness/reference.h"

/* What one look at an output found: how many elements, and the first of them in memory. */
struct sighting {
    int64_t count, first;
};

struct observation {
    struct sighting unwritten, infinite, changed; /* of the output */
    struct sighting lse_unwritten, lse_changed;
};

uint64_t gate_derive(const struct gate *gate, const char *what, int64_t a, int64_t b)
{
    struct hasher hasher;
    uint64_t key;

    /* One way, so that an input tells nothing about the next. */
    hash_begin(&hasher, "evo gate input");
    hash_text(&hasher, "what", what);
    hash_field(&hasher, "secret", &gate->secret, sizeof(gate->secret));
    hash_i64(&hasher, "problem", gate->subject->problem_index);
    hash_i64(&hasher, "a", a);
    hash_i64(&hasher, "b", b);
    struct hash hash = hash_end(&hasher);
    memcpy(&key, hash.bytes, sizeof(key));
    return key;
}

void gate_spend(struct gate *gate, enum verify_part part, int64_t *since)
{
    int64_t now = clock_now_us();

    if (gate->subject->costs != NULL) {
        gate->subject->costs->us[part] += now - *since;
    }
    *since = now;
}

/* ---- verdicts ------------------------------------------------------------------------------ */

static const struct {
    enum verdict verdict;
    const char *words;
} device_verdicts[] = {
    [DEVICE_OK] = {VERDICT_NONE, ""},
    [DEVICE_REFUSED] = {VERDICT_NO_LAUNCH, "the device refused the launch"},
    [DEVICE_ILLEGAL] = {VERDICT_OUT_OF_BOUNDS, "it touched an illegal address"},
    [DEVICE_TRAPPED] = {VERDICT_CRASH, "it trapped"},
    [DEVICE_LOST] = {VERDICT_CRASH, "it took the device down"},
    [DEVICE_UNSUPPORTED] = {VERDICT_UNSUPPORTED, "the device does not know what it does"},
    [DEVICE_SAW_RACE] = {VERDICT_RACY, "the device saw"},
    [DEVICE_SAW_STRAY] = {VERDICT_OUT_OF_BOUNDS, "the device saw"},
    [DEVICE_SAW_UNDEFINED] = {VERDICT_INVALID, "the device saw"},
    [DEVICE_SAW_STUCK] = {VERDICT_TIMEOUT, "the device saw"},
    [DEVICE_SAW_TRAP] = {VERDICT_CRASH, "the device saw"},
};

enum verdict verify_verdict_of(enum device_status status)
{
    return device_verdicts[status].verdict;
}

struct case_result case_new(const struct gate *gate, enum rung rung, const struct rig *rig)
{
    struct case_result row = case_blank(gate->subject->problem_index, rung);

    row.family = input_family_names[rig->family];
    row.seed = rig->key;
    row.rows_total = problem_rows(gate->subject->problem);
    return row;
}

bool case_fail(struct gate *gate, struct case_result *row, enum verdict verdict, const char *format,
               ...)
{
    char shape[PROBLEM_TEXT_MAX];
    va_list ap;

    va_start(ap, format);
    row->reason = arena_vprintf(gate->arena, format, ap);
    va_end(ap);
    if (gate->race && (verdict == VERDICT_WRONG || verdict == VERDICT_UNSTABLE)) {
        verdict = VERDICT_RACY;
    }
    row->verdict = verdict;
    case_record(gate->result, row);
    problem_text(gate->subject->problem, shape);
    gate->result->verdict = verdict;
    gate->result->reason =
        arena_printf(gate->arena, "%s on %s inputs: %s", shape, row->family, row->reason);
    return false;
}

bool call_failed(struct gate *gate, enum device_status status, struct case_result *row)
{
    gate->status = status;
    return case_fail(gate, row, device_verdicts[status].verdict, "%s: %s",
                     device_verdicts[status].words, gate->err->what);
}

bool device_failed(struct gate *gate, enum device_status status, struct case_result *row)
{
    gate->status = status;
    if (row != NULL && (status == DEVICE_ILLEGAL || status == DEVICE_TRAPPED)) {
        case_fail(gate, row, device_verdicts[status].verdict, "%s: %s",
                  device_verdicts[status].words, gate->err->what);
    }
    return false;
}

/* ---- outputs ------------------------------------------------------------------------------- */

static void sight(struct sighting *sighting, int64_t at)
{
    if (sighting->count++ == 0) {
        sighting->first = at;
    }
}

/* Exponent bits all set: an infinity or a NaN. */
static const uint16_t half_infinite[2] = {[DTYPE_F16] = 0x7c00, [DTYPE_BF16] = 0x7f80};

static void inspect_output(const struct gate *gate, const struct rig *rig, const uint16_t *out,
                           struct observation *seen)
{
    enum dtype dtype = gate->subject->problem->dtype;
    uint16_t poison = rig_poison_half(gate, rig), infinite = half_infinite[dtype];
    unsigned bad = 0;

    /* First without branches: what passes is all that is seen often. */
    for (int64_t e = 0; e < gate->elements; e++) {
        bad |= (unsigned)(out[e] == poison) | (unsigned)((out[e] & infinite) == infinite);
    }
    for (int64_t e = 0; bad && e < gate->elements; e++) {
        if (out[e] == poison) {
            sight(&seen->unwritten, e);
        } else if ((out[e] & infinite) == infinite) {
            sight(&seen->infinite, e);
        }
    }
    if (out == gate->first || memcmp(out, gate->first, (size_t)gate->elements * 2) == 0) {
        return;
    }
    for (int64_t e = 0; e < gate->elements; e++) {
        if (out[e] != gate->first[e]) {
            sight(&seen->changed, e);
        }
    }
}

static void inspect_lse(const struct gate *gate, const struct rig *rig, const float *lse,
                        struct observation *seen)
{
    int64_t rows = problem_rows(gate->subject->problem);

    for (int64_t r = 0; r < rows; r++) {
        uint32_t bits, before;
        memcpy(&bits, &lse[r], sizeof(bits));
        memcpy(&before, &gate->first_lse[r], sizeof(before));
        if (bits == rig_poison_single(rig)) {
            sight(&seen->lse_unwritten, r);
        }
        if (bits != before) {
            sight(&seen->lse_changed, r);
        }
    }
}

/*
 * Whether a large output shows nothing that would have to be told where it is. The first launch's
 * is kept on the device, in memory that the baseline will need, to be looked at if another differs.
 */
static enum device_status scan_output(struct gate *gate, const struct rig *rig, int launch,
                                      bool *plain)
{
    enum dtype dtype = gate->subject->problem->dtype;
    const struct region *o = &rig->regions[REGION_O];
    struct device_scan scan;
    enum device_status status =
        gate->auditor->scan(o->at, o->bytes, gate_derive(gate, "digest", REGION_O, 0),
                            rig_poison_half(gate, rig), half_infinite[dtype], &scan, gate->err);

    if (status == DEVICE_OK && launch == 0) {
        status = gate->auditor->copy(gate->base.out, o->at, o->bytes, gate->err);
        gate->first_digest = scan.digest;
    }
    *plain = scan.poisoned == 0 && scan.infinite == 0 && scan.digest == gate->first_digest;
    return status;
}

/* The outputs of this launch and, of a large shape, of the first, to look at them closely. */
static enum device_status read_output(struct gate *gate, const struct rig *rig, int launch,
                                      bool *plain)
{
    const struct region *o = &rig->regions[REGION_O];
    enum device_status status = DEVICE_OK;

    *plain = false;
    if (gate->auditor != NULL) {
        status = scan_output(gate, rig, launch, plain);
        if (status == DEVICE_OK && !*plain && launch > 0) {
            status = device_read(gate->first, gate->base.out, o->bytes, gate->err);
        }
    }
    if (status == DEVICE_OK && !*plain) {
        status = device_read(launch == 0 ? gate->first : gate->next, o->at, o->bytes, gate->err);
    }
    return status;
}

static bool observe(struct gate *gate, struct rig *rig, int launch, struct case_result *row,
                    struct observation *seen)
{
    float *lse = launch == 0 ? gate->first_lse : gate->next_lse;
    const struct region *l = &rig->regions[REGION_LSE];
    bool plain;
    enum device_status status = read_output(gate, rig, launch, &plain);

    *seen = (struct observation){0};
    if (status == DEVICE_OK && gate->subject->problem->lse) {
        status = device_read(lse, l->at, l->bytes, gate->err);
    }
    if (status != DEVICE_OK) {
        return device_failed(gate, status, row);
    }
    if (!plain) {
        inspect_output(gate, rig, launch == 0 ? gate->first : gate->next, seen);
    }
    if (gate->subject->problem->lse) {
        inspect_lse(gate, rig, lse, seen);
    }
    return true;
}

void element_locate(const struct problem *p, int64_t e, int64_t at[4])
{
    int64_t row = e / p->head_dim;

    at[3] = e % p->head_dim;
    if (p->sequence_first) {
        at[1] = row % p->heads;
        at[2] = row / p->heads % p->q_len;
        at[0] = row / p->heads / p->q_len;
    } else {
        at[2] = row % p->q_len;
        at[1] = row / p->q_len % p->heads;
        at[0] = row / p->q_len / p->heads;
    }
}

static bool fail_at(struct gate *gate, struct case_result *row, enum verdict verdict,
                    const struct sighting *seen, const char *what)
{
    int64_t *at = row->worst;

    element_locate(gate->subject->problem, seen->first, at);
    return case_fail(gate, row, verdict,
                     "%lld of %lld elements %s; the first is at batch %lld, head %lld, row %lld, "
                     "column %lld",
                     (long long)seen->count, (long long)gate->elements, what, (long long)at[0],
                     (long long)at[1], (long long)at[2], (long long)at[3]);
}

static bool fail_lse(struct gate *gate, struct case_result *row, enum verdict verdict,
                     const struct sighting *seen, const char *what)
{
    return case_fail(gate, row, verdict, "%lld of %lld log-sum-exps %s; the first is of row %lld",
                     (long long)seen->count, (long long)row->rows_total, what,
                     (long long)seen->first);
}

static bool check_sane(struct gate *gate, const struct observation *seen, struct case_result *row)
{
    if (seen->unwritten.count > 0) {
        return fail_at(gate, row, VERDICT_WRONG, &seen->unwritten, "were never written");
    }
    if (seen->infinite.count > 0) {
        return fail_at(gate, row, VERDICT_WRONG, &seen->infinite, "are not finite");
    }
    if (seen->lse_unwritten.count > 0) {
        return fail_lse(gate, row, VERDICT_WRONG, &seen->lse_unwritten, "were never written");
    }
    return true;
}

/* ---- cases ---------------------------------------------------------------------------------- */

static void rung_passed(struct gate *gate, const struct rig *rig, struct case_result *row,
                        enum rung next)
{
    case_record(gate->result, row);
    *row = case_new(gate, next, rig);
}

static_assert((int)JITTER_WORDS == (int)TWIN_WORDS, "verify.c hands the ones to the other");

/* The first launch is the twin as it is. */
static void jitter_of(const struct rig *rig, int launch, uint32_t words[JITTER_WORDS])
{
    memset(words, 0, JITTER_WORDS * sizeof *words);
    if (launch > 0) {
        jitter_words(launch - 1, rig->key, words);
    }
}

static bool set_jitter(struct gate *gate, const struct rig *rig, int launch,
                       struct case_result *row)
{
    uint32_t words[JITTER_WORDS];
    enum device_status status;

    jitter_of(rig, launch, words);
    status = device_twin_set(gate->subject->module, words, gate->err);
    return status == DEVICE_OK || device_failed(gate, status, row);
}

static bool launch_all(struct gate *gate, struct rig *rig, const struct climb *climb,
                       struct case_result *row, struct observation *seen)
{
    int64_t since = clock_now_us();

    for (int launch = 0; launch < climb->launches; launch++) {
        bool happened = climb->happened && launch == 0;
        device_watch(climb->first && launch == 0); /* watching is slow: once for each shape */
        if (gate->race && !set_jitter(gate, rig, launch, row)) {
            return false;
        }
        if (!happened && !rig_call(gate, rig, row)) {
            return false;
        }
        gate_spend(gate, PART_CALL, &since);
        if (!rig_check_zeroed(gate, rig, row) || !observe(gate, rig, launch, row, &seen[launch])) {
            return false;
        }
        gate_spend(gate, PART_LOOK, &since);
    }
    return true;
}

static const char *change_text(const struct gate *gate, const struct rig *rig,
                               const struct climb *climb, int launch)
{
    uint32_t words[JITTER_WORDS];

    if (climb->rung == RUNG_TIMED) {
        return "changed when the timed call was made once more, untimed";
    }
    if (!gate->race) {
        return "changed from one launch to another on the same input";
    }
    jitter_of(rig, launch, words);
    if (words[0] == 0) {
        return "changed when copies came as late as their waits allow";
    }
    return arena_printf(gate->arena,
                        "changed when warps were delayed by up to %u ns%s (jitter %d, seed %08x)",
                        words[0], words[2] > 0 ? " and copies came late" : "", launch, words[1]);
}

static bool check_stable(struct gate *gate, const struct rig *rig, const struct climb *climb,
                         const struct observation *seen, struct case_result *row)
{
    for (int launch = 1; launch < climb->launches; launch++) {
        if (seen[launch].changed.count > 0) {
            return fail_at(gate, row, VERDICT_UNSTABLE, &seen[launch].changed,
                           change_text(gate, rig, climb, launch));
        }
        if (seen[launch].lse_changed.count > 0) {
            return fail_lse(gate, row, VERDICT_UNSTABLE, &seen[launch].lse_changed,
                            change_text(gate, rig, climb, launch));
        }
    }
    return true;
}

static void tell_answer(struct gate *gate, const struct rig *rig)
{
    const struct problem *p = gate->subject->problem;
    struct judge_result *result = gate->result;
    size_t bytes = answer_bytes(p), out = (size_t)gate->elements * sizeof *gate->first;
    char *data;

    if (result->answer_count == JOB_ANSWERS_MAX || bytes > JOB_ANSWER_BYTES_MAX) {
        return; /* who asks for more gets what fits */
    }
    data = memcpy(arena_alloc(gate->arena, bytes), gate->first, out);
    if (p->lse) {
        memcpy(data + out, gate->first_lse, bytes - out);
    }
    result->answers[result->answer_count++] =
        (struct answer){.problem = gate->subject->problem_index,
                        .family = input_family_names[rig->family],
                        .seed = rig->key,
                        .data = data,
                        .bytes = bytes};
}

bool case_run(struct gate *gate, struct rig *rig, const struct climb *climb)
{
    struct observation seen[VERIFY_LAUNCHES_MAX];
    struct case_result row = case_new(gate, climb->first ? RUNG_LAUNCH : climb->rung, rig);

    assert(climb->launches <= VERIFY_LAUNCHES_MAX);
    if (!launch_all(gate, rig, climb, &row, seen)) {
        return false;
    }
    if (climb->first) {
        rung_passed(gate, rig, &row, RUNG_SANITY);
    }
    int64_t since = clock_now_us();
    if (!rig_check_surroundings(gate, rig, &row)) {
        return false;
    }
    gate_spend(gate, PART_LOOK, &since);
    for (int launch = 0; launch < climb->launches; launch++) {
        if (!check_sane(gate, &seen[launch], &row)) {
            return false;
        }
    }
    if (climb->first) {
        rung_passed(gate, rig, &row, RUNG_CORRECT);
    }
    if (!climb->brief && !check_correct(gate, rig, climb->bar, &row)) {
        return false;
    }
    if (climb->first) {
        rung_passed(gate, rig, &row, RUNG_STABLE);
    }
    if (!check_stable(gate, rig, climb, seen, &row)) {
        return false;
    }
    case_record(gate->result, &row);
    if (gate->tells) {
        tell_answer(gate, rig);
    }
    return true;
}

/* What an auditor needs besides the buffers of a call. */
static bool gate_base(struct gate *gate)
{
    const struct problem *p = gate->subject->problem;
    size_t rows = (size_t)problem_rows(p);
    const struct {
        device_ptr *at;
        size_t bytes;
    } parts[] = {{&gate->base.out, (size_t)problem_q_elements(p) * 2},
                 {&gate->base.expected, rows * sizeof(float)},
                 {&gate->base.lse, p->lse ? rows * sizeof(float) : 0}};

    for (size_t i = 0; gate->auditor != NULL && i < sizeof(parts) / sizeof(*parts); i++) {
        enum device_status status =
            parts[i].bytes > 0 ? device_alloc(parts[i].bytes, parts[i].at, gate->err) : DEVICE_OK;
        if (status != DEVICE_OK) {
            *parts[i].at = 0;
            return device_failed(gate, status, NULL);
        }
    }
    return true;
}

bool gate_open(struct gate *gate)
{
    const struct problem *p = gate->subject->problem;
    size_t out = (size_t)problem_q_elements(p) * 2, lse = (size_t)problem_rows(p) * sizeof(float);

    gate->threads = reference_threads();
    gate->args = problem_args(p);
    gate->elements = problem_q_elements(p);
    gate->first = xmalloc(out);
    gate->next = xmalloc(out);
    gate->first_lse = p->lse ? xmalloc(lse) : NULL;
    gate->next_lse = p->lse ? xmalloc(lse) : NULL;
    gate->chunk = xmalloc(GATE_CHUNK_BYTES);
    return gate_base(gate);
}

void gate_close(struct gate *gate)
{
    const device_ptr own[] = {gate->base.out, gate->base.expected, gate->base.lse};

    for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++) {
        if (own[i] != 0) {
            device_free(own[i]);
        }
    }
    free(gate->first);
    free(gate->next);
    free(gate->first_lse);
    free(gate->next_lse);
    free(gate->chunk);
    reckoning_free(&gate->reckoning);
}

/* Of the quick gate: what finds most, drawn afresh more often than the rest. */
static bool is_core(enum input_family family)
{
    return family == INPUT_NORMAL || family == INPUT_MIXED || family == INPUT_NEEDLE;
}

/* Is there an nth case of this family? */
static bool is_wanted(const struct verify_request *request, enum input_family family, int64_t n)
{
    switch (request->depth) {
    case DEPTH_ONCE: return family == INPUT_NORMAL && n < 1;
    case DEPTH_BAR: return family == INPUT_NORMAL && n < VERIFY_BAR_CASES;
    case DEPTH_CASE: return family == request->family && n < 1;
    case DEPTH_TELL: return n < 1;
    case DEPTH_QUICK: return n < (is_core(family) ? request->seeds : 1);
    default: return n < request->seeds;
    }
}

static struct climb climb_of(const struct verify_request *request, bool first)
{
    bool promote = request->depth == DEPTH_PROMOTE;
    bool climbs =
        first && (promote || request->depth == DEPTH_QUICK || request->depth == DEPTH_CASE);

    return (struct climb){.rung = promote ? RUNG_PROMOTE : RUNG_CORRECT,
                          .launches = climbs    ? request->launches
                                      : promote ? LAUNCHES_CASE
                                                : 1,
                          .first = climbs,
                          .bar = request->depth == DEPTH_BAR};
}

/* FP16 sums lose what is small in BF16: no error can be predicted for a row without a reference. */
static const struct device_auditor *auditor_of(const struct verify_subject *subject)
{
    bool loses = subject->numerics == NUMERICS_FP16 && subject->problem->dtype == DTYPE_BF16;

    return !reference_affords(subject->problem) && !loses ? device_auditor(subject->problem) : NULL;
}

struct gate gate_of(struct arena *arena, const struct verify_subject *subject, uint64_t secret,
                    struct judge_result *result, struct err *err)
{
    return (struct gate){.arena = arena,
                         .subject = subject,
                         .secret = secret,
                         .result = result,
                         .err = err,
                         .status = DEVICE_OK,
                         .auditor = auditor_of(subject),
                         .scanner = device_auditor(subject->problem)};
}

static bool run_cases(struct gate *gate, const struct verify_request *request, struct rig *rig)
{
    int64_t most = request->depth == DEPTH_BAR ? VERIFY_BAR_CASES : request->seeds;
    bool first = true;

    for (int64_t n = 0; n < most; n++) {
        for (enum input_family family = 0; family < INPUT_FAMILIES; family++) {
            struct climb climb = climb_of(request, first);
            uint64_t key =
                request->depth == DEPTH_CASE ? request->key : gate_derive(gate, "case", family, n);

            if (!is_wanted(request, family, n)) {
                continue;
            }
            if (!rig_draw(gate, rig, family, key) || !case_run(gate, rig, &climb)) {
                return false;
            }
            first = false;
        }
    }
    return true;
}

enum device_status verify_run(struct arena *arena, const struct verify_subject *subject,
                              const struct verify_request *request, struct judge_result *result,
                              struct err *err)
{
    struct gate gate = gate_of(arena, subject, request->secret, result, err);
    struct rig rig = {0};

    assert(request->seeds > 0);
    gate.tells = request->depth == DEPTH_TELL;
    gate.auditor = gate.tells ? NULL : gate.auditor; /* what is told is read back anyway */
    if (gate_open(&gate) && rig_make(&gate, &rig, 0)) {
        run_cases(&gate, request, &rig);
    }
    rig_free(&rig);
    gate_close(&gate);
    return gate.status;
}

enum device_status verify_race(struct arena *arena, const struct verify_subject *subject,
                               uint64_t secret, struct judge_result *result, struct err *err)
{
    struct gate gate = gate_of(arena, subject, secret, result, err);
    struct climb climb = {.rung = RUNG_RACE, .launches = 1 + JITTERS};
    struct rig rig = {0};

    gate.race = true;
    if (gate_open(&gate) && rig_make(&gate, &rig, 0) &&
        rig_draw(&gate, &rig, INPUT_NORMAL, gate_derive(&gate, "race", 0, 0))) {
        case_run(&gate, &rig, &climb);
    }
    rig_free(&rig);
    gate_close(&gate);
    return gate.status;
}
