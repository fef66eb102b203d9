#include "fitness/verify.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/rng.h"
#include "fitness/inputs.h"
#include "fitness/jitter.h"
#include "fitness/pool.h"
#include "fitness/reference.h"

enum {
    GUARD_BYTES = 16 << 10, /* before and after every buffer; keeps what lies between aligned */
    CHUNK_BYTES = 1 << 20,  /* read back at once */
    LAUNCHES_CASE = 2,      /* one for each poison */
    ROW_BLOCK = 64,         /* of which a row is checked in some head, however large the shape */
    HEAD_BLOCKS = 8,        /* of a head: at least so many have a checked row */
    ROWS_PER_TASK = 64,
};

/* The historic bar: what no element of a hundred cases at 1x8x512x64 may be off by. */
static const double BAR_ERROR = 2e-3;
/* Multiply-adds of the FP64 reference above which rows are sampled: some 10 ms of 16 cores. */
static double reference_budget = 0x1p31; /* a test has less */
/* What a row costs besides its keys, in keys; also bounds the memory of the reference. */
enum { ROW_OVERHEAD_KEYS = 64 };

/* Two poisons in turn: a NaN, and a finite number that no weighted mean of V comes near. */
static const uint16_t poison_half[2][2] = {
    [DTYPE_F16] = {0x7e5b, 0xfb2d},
    [DTYPE_BF16] = {0x7fdb, 0xfe2d},
};
static const uint32_t poison_single[2] = {0x7fd5b5b5, 0xfe96b45a};

enum { REGION_Q, REGION_K, REGION_V, REGION_O, REGION_LSE, REGION_WORKSPACE };
enum { REGIONS_MAX = REGION_WORKSPACE + PROGRAM_WORKSPACES_MAX };

/* Device memory between guards: [base, at) guard, [at, at + bytes) the buffer, then guard again. */
struct region {
    device_ptr base, at;
    size_t bytes;
};

/* Buffers for one call, and the host's copy of its inputs. */
struct rig {
    struct region regions[REGIONS_MAX];
    int region_count;
    struct device_buffers buffers;
    uint32_t guard; /* the pattern in all guards */
    struct inputs inputs;
    enum input_family family;
    uint64_t key;
    int poison; /* which of the two patterns the last call was to overwrite */
    uint64_t digests[REGION_V + 1]; /* of the inputs; only with an auditor */
};

struct gate {
    struct arena *arena;
    const struct verify_subject *subject;
    uint64_t secret;
    struct judge_result *result;
    struct err *err;
    enum device_status status;
    int threads;
    bool race;     /* the module is a twin: what is wrong with it is a race */
    int64_t calls; /* so far: poisons come in turn, whatever the cases */
    struct problem_args args;
    int64_t elements;       /* of the output */
    uint16_t *first, *next; /* outputs of the first and of a later launch */
    float *first_lse, *next_lse;
    unsigned char *chunk;
    const struct device_auditor *auditor; /* of large shapes; NULL: outputs are read back whole */
    struct device_base base;              /* its output holds that of the first launch at first */
    uint64_t first_digest;
};

/* What one look at an output found: how many elements, and the first of them in memory. */
struct sighting {
    int64_t count, first;
};

struct observation {
    struct sighting unwritten, infinite, changed; /* of the output */
    struct sighting lse_unwritten, lse_changed;
};

static uint64_t derive(const struct gate *gate, const char *what, int64_t a, int64_t b)
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

/* Time goes by from one part to the next: what went since *since is this one's. */
static void spend(struct gate *gate, enum verify_part part, int64_t *since)
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

static struct case_result case_new(const struct gate *gate, enum rung rung, const struct rig *rig)
{
    struct case_result row = case_blank(gate->subject->problem_index, rung);

    row.family = input_family_names[rig->family];
    row.seed = rig->key;
    row.rows_total = problem_rows(gate->subject->problem);
    return row;
}

static bool case_fail(struct gate *gate, struct case_result *row, enum verdict verdict,
                      const char *format, ...) __attribute__((format(printf, 4, 5)));

static bool case_fail(struct gate *gate, struct case_result *row, enum verdict verdict,
                      const char *format, ...)
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

/* A device function failed outside a call: unless it shows what a kernel did, nobody's fault. */
static bool device_failed(struct gate *gate, enum device_status status, struct case_result *row)
{
    gate->status = status;
    if (row != NULL && (status == DEVICE_ILLEGAL || status == DEVICE_TRAPPED)) {
        case_fail(gate, row, device_verdicts[status].verdict, "%s: %s",
                  device_verdicts[status].words, gate->err->what);
    }
    return false;
}

/* ---- buffers ------------------------------------------------------------------------------- */

static size_t region_total(const struct region *region)
{
    return 2 * GUARD_BYTES + (region->bytes + 3) / 4 * 4;
}

static enum device_status region_make(struct region *region, size_t bytes, uint32_t guard,
                                      struct err *err)
{
    enum device_status status;

    region->bytes = bytes;
    status = device_alloc(region_total(region), &region->base, err);
    if (status != DEVICE_OK) {
        region->base = 0;
        return status;
    }
    region->at = region->base + GUARD_BYTES;
    device_bound(region->base, GUARD_BYTES, bytes);
    return device_fill(region->base, guard, region_total(region), err);
}

/* Fills the buffer alone: what is left of a last word is written by itself. */
static enum device_status region_fill(const struct region *region, uint32_t pattern,
                                      struct err *err)
{
    size_t whole = region->bytes / 4 * 4;
    enum device_status status = DEVICE_OK;

    if (whole > 0) {
        status = device_fill(region->at, pattern, whole, err);
    }
    if (status == DEVICE_OK && region->bytes > whole) {
        status = device_write(region->at + whole, &pattern, region->bytes - whole, err);
    }
    return status;
}

static device_ptr *region_pointer(struct rig *rig, int index)
{
    device_ptr *named[] = {&rig->buffers.q, &rig->buffers.k, &rig->buffers.v, &rig->buffers.o,
                           &rig->buffers.lse};

    return index < REGION_WORKSPACE ? named[index]
                                    : &rig->buffers.workspaces[index - REGION_WORKSPACE];
}

static const char *region_name(struct arena *arena, int index)
{
    static const char *const names[] = {"Q", "K", "V", "the output", "the log-sum-exp"};

    return index < REGION_WORKSPACE ? names[index]
                                    : arena_printf(arena, "workspace %d", index - REGION_WORKSPACE);
}

static void rig_free(struct rig *rig)
{
    for (int i = 0; i < rig->region_count; i++) {
        if (rig->regions[i].base != 0) {
            device_free(rig->regions[i].base);
        }
    }
    device_host_free(rig->inputs.q);
    device_host_free(rig->inputs.k);
    device_host_free(rig->inputs.v);
    *rig = (struct rig){0};
}

/* Whether a device takes a program's tensor maps is the program's business, not the world's. */
static bool rig_map(struct gate *gate, struct rig *rig)
{
    enum device_status status = device_encode_maps(gate->subject->plan, &rig->buffers, gate->err);
    struct case_result row = case_new(gate, RUNG_LAUNCH, rig);

    if (status == DEVICE_OK || gate->result == NULL) {
        return status == DEVICE_OK || device_failed(gate, status, NULL);
    }
    gate->status = status;
    return case_fail(gate, &row, device_verdicts[status].verdict, "%s: %s",
                     device_verdicts[status].words, gate->err->what);
}

static bool rig_make(struct gate *gate, struct rig *rig, int64_t number)
{
    const struct problem *p = gate->subject->problem;
    const struct plan *plan = gate->subject->plan;
    size_t q = (size_t)problem_q_elements(p) * 2, kv = (size_t)problem_kv_elements(p) * 2;
    size_t sizes[REGIONS_MAX] = {q, kv, kv, q, p->lse ? (size_t)problem_rows(p) * 4 : 0};

    *rig = (struct rig){.region_count = REGION_WORKSPACE + plan->workspace_count,
                        .guard = (uint32_t)derive(gate, "guard", number, 0),
                        .inputs = {device_host_alloc(q), device_host_alloc(kv),
                                   device_host_alloc(kv)}};
    rig->buffers.problem = gate->args;
    for (int w = 0; w < plan->workspace_count; w++) {
        sizes[REGION_WORKSPACE + w] = (size_t)plan->workspaces[w].bytes;
    }
    for (int i = 0; i < rig->region_count; i++) {
        if (i >= REGION_LSE && sizes[i] == 0) {
            continue; /* not asked for, or not needed for this shape */
        }
        enum device_status status = region_make(&rig->regions[i], sizes[i], rig->guard, gate->err);
        if (status == DEVICE_OK && i >= REGION_WORKSPACE &&
            plan->workspaces[i - REGION_WORKSPACE].kind == WORKSPACE_ZERO_ONCE) {
            status = region_fill(&rig->regions[i], 0, gate->err);
        }
        if (status != DEVICE_OK) {
            return device_failed(gate, status, NULL);
        }
        *region_pointer(rig, i) = rig->regions[i].at;
    }
    return rig_map(gate, rig);
}

/* A digest that says whether an input is what was put there; only the judge has its key. */
static bool digest_input(struct gate *gate, const struct rig *rig, int index, uint64_t *digest)
{
    const struct region *region = &rig->regions[index];
    struct device_scan scan;
    uint64_t key = derive(gate, "digest", index, 0);
    enum device_status status = gate->auditor->scan(region->at, region->bytes, key, AUDIT_NEVER,
                                                    AUDIT_NEVER, &scan, gate->err);

    *digest = scan.digest;
    return status == DEVICE_OK || device_failed(gate, status, NULL);
}

/* Draws fresh inputs and puts them where the next call reads them. */
static bool rig_draw(struct gate *gate, struct rig *rig, enum input_family family, uint64_t key)
{
    const void *inputs[] = {rig->inputs.q, rig->inputs.k, rig->inputs.v};

    int64_t since = clock_now_us();

    rig->family = family;
    rig->key = key;
    inputs_draw(gate->subject->problem, family, key, &rig->inputs, gate->threads);
    spend(gate, PART_DRAW, &since);
    for (int i = REGION_Q; i <= REGION_V; i++) {
        const struct region *region = &rig->regions[i];
        enum device_status status = device_write(region->at, inputs[i], region->bytes, gate->err);
        if (status != DEVICE_OK) {
            return device_failed(gate, status, NULL);
        }
        if (gate->auditor != NULL && !digest_input(gate, rig, i, &rig->digests[i])) {
            return false;
        }
    }
    spend(gate, PART_MOVE, &since);
    return true;
}

/* Poisons everything the next call may only write, and the shared memory it may not trust. */
static enum device_status rig_poison(struct gate *gate, struct rig *rig)
{
    const struct plan *plan = gate->subject->plan;
    int which = rig->poison = (int)(gate->calls % 2);
    uint32_t half = poison_half[gate->subject->problem->dtype][which];
    enum device_status status = region_fill(&rig->regions[REGION_O], half | half << 16, gate->err);

    if (status == DEVICE_OK && gate->subject->problem->lse) {
        status = region_fill(&rig->regions[REGION_LSE], poison_single[which], gate->err);
    }
    for (int w = 0; w < plan->workspace_count && status == DEVICE_OK; w++) {
        if (plan->workspaces[w].kind != WORKSPACE_ZERO_ONCE) {
            status =
                region_fill(&rig->regions[REGION_WORKSPACE + w], poison_single[which], gate->err);
        }
    }
    if (status == DEVICE_OK) {
        struct rng rng = rng_at(rig->key, 1, (uint64_t)gate->calls);
        status = device_scrub_shared(rng_u32(&rng), gate->err);
    }
    gate->calls++;
    return status;
}

static bool rig_call(struct gate *gate, struct rig *rig, struct case_result *row)
{
    enum device_status status = rig_poison(gate, rig);

    if (status != DEVICE_OK) {
        return device_failed(gate, status, row);
    }
    status = device_call(gate->subject->module, gate->subject->plan, &rig->buffers, gate->err);
    if (status != DEVICE_OK) {
        gate->status = status;
        return case_fail(gate, row, device_verdicts[status].verdict, "%s: %s",
                         device_verdicts[status].words, gate->err->what);
    }
    return true;
}

/* Is the memory the four bytes over and over? */
static bool repeats(const unsigned char *memory, size_t size, const unsigned char words[4])
{
    return memcmp(memory, words, size < 4 ? size : 4) == 0 &&
           (size <= 4 || memcmp(memory, memory + 4, size - 4) == 0);
}

/*
 * Reads device memory a chunk at a time and compares it with what it must be: `expected`, or where
 * that is NULL the 32-bit pattern as it lies in memory from `from` on. *at is the offset of the
 * first byte that differs, -1 when none does.
 */
static bool compare_memory(struct gate *gate, device_ptr from, size_t bytes,
                           const unsigned char *expected, uint32_t pattern, int64_t *at)
{
    unsigned char words[4];

    memcpy(words, &pattern, sizeof(words));
    *at = -1;
    for (size_t done = 0; done < bytes && *at < 0; done += CHUNK_BYTES) {
        size_t size = bytes - done < CHUNK_BYTES ? bytes - done : CHUNK_BYTES;
        enum device_status status = device_read(gate->chunk, from + done, size, gate->err);
        if (status != DEVICE_OK) {
            return device_failed(gate, status, NULL);
        }
        if (expected != NULL ? memcmp(gate->chunk, expected + done, size) == 0
                             : repeats(gate->chunk, size, words)) {
            continue;
        }
        for (size_t i = 0; i < size && *at < 0; i++) {
            unsigned char want = expected != NULL ? expected[done + i] : words[(done + i) % 4];
            *at = gate->chunk[i] != want ? (int64_t)(done + i) : -1;
        }
    }
    return true;
}

static bool check_guards(struct gate *gate, struct rig *rig, int index, struct case_result *row)
{
    const struct region *region = &rig->regions[index];
    size_t behind = GUARD_BYTES + region->bytes;
    uint32_t turned = region->bytes % 4 == 0 ? rig->guard
                                             : rig->guard >> 8 * (region->bytes % 4) |
                                                   rig->guard << (32 - 8 * (region->bytes % 4));
    int64_t at;

    if (!compare_memory(gate, region->base, GUARD_BYTES, NULL, rig->guard, &at)) {
        return false;
    }
    if (at >= 0) {
        return case_fail(gate, row, VERDICT_OUT_OF_BOUNDS, "it wrote %lld bytes before %s",
                         (long long)(GUARD_BYTES - at), region_name(gate->arena, index));
    }
    if (!compare_memory(gate, region->base + behind, region_total(region) - behind, NULL, turned,
                        &at)) {
        return false;
    }
    if (at >= 0) {
        return case_fail(gate, row, VERDICT_OUT_OF_BOUNDS, "it wrote %lld bytes past the end of %s",
                         (long long)(at + 1), region_name(gate->arena, index));
    }
    return true;
}

/* Guards whole, inputs as they were. */
static bool check_surroundings(struct gate *gate, struct rig *rig, struct case_result *row)
{
    const void *inputs[] = {rig->inputs.q, rig->inputs.k, rig->inputs.v};
    int64_t at;

    for (int i = 0; i < rig->region_count; i++) {
        if (rig->regions[i].base != 0 && !check_guards(gate, rig, i, row)) {
            return false;
        }
    }
    for (int i = REGION_Q; i <= REGION_V; i++) {
        const struct region *region = &rig->regions[i];
        uint64_t digest;
        if (gate->auditor != NULL && !digest_input(gate, rig, i, &digest)) {
            return false;
        }
        if (gate->auditor != NULL && digest == rig->digests[i]) {
            continue;
        }
        if (!compare_memory(gate, region->at, region->bytes, inputs[i], 0, &at)) {
            return false;
        }
        if (at >= 0) {
            return case_fail(gate, row, VERDICT_OUT_OF_BOUNDS,
                             "it wrote into its input %s, at byte %lld",
                             region_name(gate->arena, i), (long long)at);
        }
    }
    return true;
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
    uint16_t poison = poison_half[dtype][rig->poison], infinite = half_infinite[dtype];
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
        if (bits == poison_single[rig->poison]) {
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
    enum device_status status = gate->auditor->scan(
        o->at, o->bytes, derive(gate, "digest", REGION_O, 0), poison_half[dtype][rig->poison],
        half_infinite[dtype], &scan, gate->err);

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

/* Where element e of the output lies: batch, head, row, column. */
static void locate(const struct problem *p, int64_t e, int64_t at[4])
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

    locate(gate->subject->problem, seen->first, at);
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

/* After each call: the next one may rely on it. */
static bool check_zeroed(struct gate *gate, struct rig *rig, struct case_result *row)
{
    int64_t at;

    for (int w = 0; w < gate->subject->plan->workspace_count; w++) {
        const struct region *region = &rig->regions[REGION_WORKSPACE + w];
        if (gate->subject->plan->workspaces[w].kind != WORKSPACE_ZERO_ONCE) {
            continue;
        }
        if (!compare_memory(gate, region->at, region->bytes, NULL, 0, &at)) {
            return false;
        }
        if (at >= 0) {
            return case_fail(gate, row, VERDICT_INVALID,
                             "workspace %d is declared zero_once, but a call left it not zero, at "
                             "byte %lld",
                             w, (long long)at);
        }
    }
    return true;
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

/* ---- comparison with the reference ---------------------------------------------------------- */

struct row_measure {
    double error, baseline; /* rms of what was got, and of the baseline, against the exact row */
    double expected;     /* rms that the class must be expected to make, output rounding included */
    double ulp;          /* rms of the output type's step at the exact values */
    double square;       /* mean square of the exact row */
    double baseline_max; /* largest |baseline - exact| */
    double excess;       /* largest |got - exact| - step */
    int64_t column;      /* of that */
    double off;          /* largest |got - exact| */
    int64_t off_column;
};

struct comparison {
    const struct gate *gate;
    const int64_t *rows;
    const uint16_t *got; /* those rows of the output, one after another; NULL: it is there whole */
    int64_t count;
    struct reference reference;
    struct row_measure *measures;
};

/* The distance of neighbouring values of the type around x. */
static double step_at(enum dtype dtype, double x)
{
    static const int least[2] = {[DTYPE_F16] = -14, [DTYPE_BF16] = -126};
    static const int mantissa[2] = {[DTYPE_F16] = 10, [DTYPE_BF16] = 7};
    uint64_t bits;

    memcpy(&bits, &x, sizeof(bits));
    int exponent = (int)(bits >> 52 & 0x7ff) - 1023;
    exponent = (exponent > least[dtype] ? exponent : least[dtype]) - mantissa[dtype];
    bits = (uint64_t)(exponent + 1023) << 52;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

/* The element of the output that a row begins with. */
static int64_t row_offset(const struct gate *gate, int64_t row)
{
    const struct problem *p = gate->subject->problem;
    int64_t i = row % p->q_len, h = row / p->q_len % p->heads, b = row / p->q_len / p->heads;

    return b * gate->args.o[0] + h * gate->args.o[1] + i * gate->args.o[2];
}

static const uint16_t *output_row(const struct comparison *c, int64_t at)
{
    return c->got != NULL ? c->got + at * c->gate->subject->problem->head_dim
                          : c->gate->first + row_offset(c->gate, c->rows[at]);
}

static void measure_row(const struct comparison *c, int64_t at)
{
    const struct problem *p = c->gate->subject->problem;
    const uint16_t *out = output_row(c, at);
    const double *exact = c->reference.exact + at * p->head_dim;
    const double *baseline = c->reference.baseline + at * p->head_dim;
    double error = 0, base = 0, steps = 0, square = 0, n = (double)p->head_dim;
    struct row_measure *m = &c->measures[at];

    *m = (struct row_measure){.excess = -INFINITY};
    for (int64_t k = 0; k < p->head_dim; k++) {
        double off = fabs(half_to_double(p->dtype, out[k]) - exact[k]);
        double base_off = fabs(baseline[k] - exact[k]);
        double step = step_at(p->dtype, exact[k]);
        error += off * off;
        base += base_off * base_off;
        steps += step * step;
        square += exact[k] * exact[k];
        m->baseline_max = base_off > m->baseline_max ? base_off : m->baseline_max;
        if (off > m->off) {
            m->off = off;
            m->off_column = k;
        }
        if (off - step > m->excess) {
            m->excess = off - step;
            m->column = k;
        }
    }
    m->error = sqrt(error / n);
    m->baseline = sqrt(base / n);
    m->ulp = sqrt(steps / n);
    m->square = square / n;
    m->expected = hypot(c->reference.noise[at], m->ulp / sqrt(12));
}

static void measure_rows(void *context, int64_t task)
{
    const struct comparison *c = context;
    int64_t end = (task + 1) * ROWS_PER_TASK;

    for (int64_t at = task * ROWS_PER_TASK; at < end && at < c->count; at++) {
        measure_row(c, at);
    }
}

/* The tolerance of a case; docs/JUDGE.md has the reasons. */
struct tolerance {
    double element; /* times a row's achievable error, plus a step */
    double row;     /* times a row's expected error, where that is more than 4 × achievable */
    double frobenius, frobenius_got; /* rms over all rows */
    double scale;                    /* rms of the exact output */
};

static double achievable(const struct row_measure *m)
{
    return m->baseline > m->expected ? m->baseline : m->expected;
}

static struct tolerance tolerate(const struct comparison *c)
{
    double got = 0, base = 0, expected = 0, fourth = 0, square = 0;
    struct tolerance t = {.element = 4};

    for (int64_t r = 0; r < c->count; r++) {
        const struct row_measure *m = &c->measures[r];
        double element = m->baseline_max / achievable(m), row = m->baseline / m->expected;
        double variance = m->expected * m->expected;
        t.element = element > t.element ? element : t.element;
        t.row = row > t.row ? row : t.row;
        got += m->error * m->error;
        base += m->baseline * m->baseline;
        square += m->square;
        expected += variance;
        fourth += variance * variance;
    }
    double rows = (double)c->count, draws = expected * expected / fourth;
    t.element *= 2;
    t.row *= 2;
    /* Of few rows the rms itself is a matter of luck. */
    t.frobenius = 1.5 * (1 + 2 / sqrt(draws)) * sqrt((base > expected ? base : expected) / rows);
    t.frobenius_got = sqrt(got / rows);
    t.scale = sqrt(square / rows);
    return t;
}

static void describe_element(const struct comparison *c, int64_t at, int64_t column,
                             struct case_result *row)
{
    const struct problem *p = c->gate->subject->problem;
    int64_t index = c->rows[at];

    row->worst[0] = index / p->q_len / p->heads;
    row->worst[1] = index / p->q_len % p->heads;
    row->worst[2] = index % p->q_len;
    row->worst[3] = column;
    row->expected = c->reference.exact[at * p->head_dim + column];
    row->got = half_to_double(p->dtype, output_row(c, at)[column]);
    row->error_max = fabs(row->got - row->expected);
}

static void describe_worst(const struct comparison *c, const struct tolerance *t, int64_t at,
                           struct case_result *row)
{
    const struct row_measure *m = &c->measures[at];

    describe_element(c, at, m->column, row);
    row->error_allowed =
        t->element * achievable(m) + step_at(c->gate->subject->problem->dtype, row->expected);
}

static bool check_output(struct gate *gate, const struct comparison *c, struct case_result *row)
{
    struct tolerance t = tolerate(c);
    int64_t worst = 0, worst_row = 0;
    double most = -INFINITY, most_row = 0;

    for (int64_t r = 0; r < c->count; r++) {
        const struct row_measure *m = &c->measures[r];
        double limit = fmax(4 * achievable(m), t.row * m->expected) + m->ulp;
        if (m->excess / achievable(m) > most) {
            most = m->excess / achievable(m);
            worst = r;
        }
        if (m->error / limit > most_row) {
            most_row = m->error / limit;
            worst_row = r;
        }
    }
    row->rows_checked = c->count;
    row->frobenius = t.frobenius_got / (t.scale > 0 ? t.scale : 1);
    row->frobenius_allowed = t.frobenius / (t.scale > 0 ? t.scale : 1);
    describe_worst(c, &t, most <= t.element && most_row > 1 ? worst_row : worst, row);
    const int64_t *at = row->worst;
    if (most > t.element) {
        return case_fail(
            gate, row, VERDICT_WRONG,
            "the output is off by %.3g at batch %lld, head %lld, row %lld, column %lld "
            "(expected %.6g, got %.6g), where %.3g is allowed",
            row->error_max, (long long)at[0], (long long)at[1], (long long)at[2], (long long)at[3],
            row->expected, row->got, row->error_allowed);
    }
    if (most_row > 1) {
        return case_fail(
            gate, row, VERDICT_WRONG,
            "row %lld of batch %lld, head %lld is off by %.3g (rms), %.3g times what is "
            "allowed",
            (long long)at[2], (long long)at[0], (long long)at[1], c->measures[worst_row].error,
            most_row);
    }
    if (t.frobenius_got > t.frobenius) {
        return case_fail(gate, row, VERDICT_WRONG,
                         "the whole output is less exact than its numerics class: relative error "
                         "%.3g (Frobenius), where %.3g is allowed",
                         row->frobenius, row->frobenius_allowed);
    }
    return true;
}

/* A bare number, which is no limit for long sequences, but is what everybody asked for first. */
static bool check_bar(struct gate *gate, const struct comparison *c, struct case_result *row)
{
    int64_t worst = 0;

    for (int64_t r = 1; r < c->count; r++) {
        worst = c->measures[r].off > c->measures[worst].off ? r : worst;
    }
    describe_element(c, worst, c->measures[worst].off_column, row);
    row->error_allowed = BAR_ERROR;
    return row->error_max < BAR_ERROR ||
           case_fail(gate, row, VERDICT_WRONG,
                     "the output is off by %.3g, where no error of %.3g "
                     "is allowed",
                     row->error_max, BAR_ERROR);
}

static bool check_lse(struct gate *gate, const struct comparison *c, struct case_result *row)
{
    const double *exact = c->reference.lse;
    /* A sum may as well be taken of the rounded weights: one unit of the 16-bit type, relative. */
    double unit = gate->subject->problem->dtype == DTYPE_F16 ? 0x1p-11 : 0x1p-8, base = 0;

    for (int64_t r = 0; r < c->count; r++) {
        if (isfinite(exact[r])) {
            base = fmax(base, fabs(c->reference.baseline_lse[r] - exact[r]));
        }
    }
    for (int64_t r = 0; r < c->count; r++) {
        double got = (double)gate->first_lse[c->rows[r]];
        double allowed = 4 * base + unit + 0x1p-22 * fabs(exact[r]);
        if (isfinite(exact[r]) ? fabs(got - exact[r]) <= allowed : got == exact[r]) {
            continue;
        }
        row->expected = exact[r];
        row->got = got;
        return case_fail(
            gate, row, VERDICT_WRONG,
            "the log-sum-exp of row %lld (expected %.7g, got %.7g) is off by more than "
            "the %.3g allowed",
            (long long)c->rows[r], exact[r], got, allowed);
    }
    return true;
}

/* ---- which rows ----------------------------------------------------------------------------- */

static double reference_cost(const struct problem *p)
{
    double keys = 0;

    for (int64_t i = 0; i < p->q_len; i++) {
        keys += (double)(reference_visible(p, i) + ROW_OVERHEAD_KEYS);
    }
    return keys * (double)(p->batch * p->heads * p->head_dim * 2);
}

/* Bits of the rows taken from a block of `size`: `wanted` of them, evenly spaced from a random
 * start. */
static uint64_t pick_in_block(struct rng *rng, int64_t size, int64_t wanted)
{
    int64_t step = size / (wanted < size ? wanted : size);
    uint64_t picked = 0;

    for (int64_t i = rng_below(rng, (uint32_t)step); i < size; i += step) {
        picked |= (uint64_t)1 << i;
    }
    return picked;
}

/* How the reference's rows are spread where it cannot afford all of them. */
struct thinning {
    int64_t wanted; /* rows of a block of ROW_BLOCK */
    int64_t step;   /* blocks of a head: each step-th; the next head has the next ones */
};

/*
 * A baseline looks at all rows: then not every block of every head needs one with a reference, but
 * every block in some head. Without it a row of each block is the least, whatever it costs.
 */
static struct thinning thin(const struct gate *gate, int64_t blocks)
{
    const struct problem *p = gate->subject->problem;
    double affordable = ROW_BLOCK * reference_budget / reference_cost(p); /* rows of a block */
    struct thinning thinning = {.wanted = 1, .step = 1};

    if (affordable >= 1) {
        thinning.wanted = affordable < ROW_BLOCK ? (int64_t)affordable : ROW_BLOCK;
    } else if (gate->auditor != NULL) {
        int64_t heads = p->batch * p->heads, step = (int64_t)ceil(1 / affordable);

        step = step < heads ? step : heads;
        step = step < blocks / HEAD_BLOCKS ? step : blocks / HEAD_BLOCKS;
        thinning.step = step > 1 ? step : 1;
    }
    return thinning;
}

/*
 * Every row where the reference can afford it; else in each head the first row, the last, and as
 * many of the blocks of 64 as it can afford. Drawn after the candidate has run.
 */
static int64_t *pick_rows(const struct gate *gate, uint64_t key, int64_t *count)
{
    const struct problem *p = gate->subject->problem;
    int64_t blocks = (p->q_len + ROW_BLOCK - 1) / ROW_BLOCK;
    struct thinning thinning = thin(gate, blocks);
    struct rng turns = rng_at(key, 3, 0);
    int64_t turn = rng_below(&turns, (uint32_t)thinning.step);
    int64_t wanted = thinning.wanted;
    int64_t room = p->batch * p->heads * (blocks * (wanted < 32 ? 2 * wanted : ROW_BLOCK) + 2);
    int64_t *rows = xmalloc((size_t)room * sizeof(*rows));

    *count = 0;
    for (int64_t head = 0; head < p->batch * p->heads; head++) {
        struct rng rng = rng_at(key, 2, (uint64_t)head);
        for (int64_t block = 0; block < blocks; block++) {
            int64_t first = block * ROW_BLOCK, size = p->q_len - first;
            size = size < ROW_BLOCK ? size : ROW_BLOCK;
            uint64_t picked = (block + head + turn) % thinning.step == 0
                                  ? pick_in_block(&rng, size, wanted)
                                  : 0;
            picked |= (uint64_t)(block == 0);
            picked |= (uint64_t)(block == blocks - 1) << (size - 1);
            for (int64_t i = 0; i < size; i++) {
                if (picked >> i & 1) {
                    assert(*count < room);
                    rows[(*count)++] = head * p->q_len + first + i;
                }
            }
        }
    }
    return rows;
}

/* ---- the rows that were not picked ---------------------------------------------------------- */

/* Some rows of a tensor of the output's layout, one after another; the caller's to free. */
static uint16_t *gather_rows(struct gate *gate, device_ptr from, const int64_t *rows, int64_t count)
{
    int64_t columns = gate->subject->problem->head_dim;
    int64_t *offsets = xmalloc((size_t)count * sizeof(*offsets));
    uint16_t *to = xmalloc((size_t)(count * columns) * sizeof(*to));

    for (int64_t r = 0; r < count; r++) {
        offsets[r] = row_offset(gate, rows[r]);
    }
    enum device_status status = gate->auditor->gather(from, offsets, count, columns, to, gate->err);
    free(offsets);
    if (status != DEVICE_OK) {
        free(to);
        device_failed(gate, status, NULL);
        return NULL;
    }
    return to;
}

/* What the whole output may be off by from the baseline, in units of a row's expected error. */
struct allowance {
    double element, row, all;
};

/*
 * A right output and the baseline are each within the limits of the exact one, hence within twice
 * that of each other; what a row achieves beyond its expectation is taken from the rows that have a
 * reference. Rows are many here: the mean over all of them is held to hardly more than its due.
 */
static struct allowance allow(const struct comparison *c, const struct comparison *base)
{
    struct tolerance t = tolerate(c), own = tolerate(base);
    double beyond = 1, expected = 0;

    for (int64_t r = 0; r < c->count; r++) {
        const struct row_measure *m = &c->measures[r];
        beyond = fmax(beyond, achievable(m) / m->expected);
        expected += m->expected * m->expected;
    }
    expected = sqrt(expected / (double)c->count);
    return (struct allowance){.element = 2 * t.element * beyond,
                              .row = 2 * fmax(4 * beyond, t.row),
                              .all = (t.frobenius + 1.25 * own.frobenius_got) / expected};
}

/* The trusted baseline is trusted where the reference agrees, by the candidate's own limits. */
static bool check_base(struct gate *gate, const struct comparison *base)
{
    struct tolerance t = tolerate(base);
    int64_t worst = 0;
    double most = 0;

    for (int64_t r = 0; r < base->count; r++) {
        const struct row_measure *m = &base->measures[r];
        if (m->excess / achievable(m) > most) {
            most = m->excess / achievable(m);
            worst = r;
        }
    }
    if (most <= t.element && t.frobenius_got <= t.frobenius) {
        return true;
    }
    gate->status = DEVICE_LOST;
    return err_set(gate->err, ERR_DEVICE,
                   "the judge's own baseline is off by %.3g times what is allowed, in row %lld; "
                   "relative error %.3g, where %.3g is allowed",
                   most / t.element, (long long)base->rows[worst], t.frobenius_got, t.frobenius);
}

static double ratio_of(uint64_t worst)
{
    uint32_t bits = (uint32_t)(worst >> 32);
    float ratio;

    memcpy(&ratio, &bits, sizeof(ratio));
    return (double)ratio;
}

/* One row that is off, element by element; it was not among those that have a reference. */
static bool fail_row(struct gate *gate, const struct rig *rig, int64_t index, double times,
                     const char *which, struct case_result *row)
{
    const struct problem *p = gate->subject->problem;
    uint16_t *got = gather_rows(gate, rig->regions[REGION_O].at, &index, 1);
    uint16_t *base = got != NULL ? gather_rows(gate, gate->base.out, &index, 1) : NULL;

    if (base == NULL) {
        free(got);
        return false;
    }
    row->error_max = -1;
    for (int64_t c = 0; c < p->head_dim; c++) {
        double want = half_to_double(p->dtype, base[c]), have = half_to_double(p->dtype, got[c]);
        if (fabs(have - want) > row->error_max) {
            int64_t at[4] = {index / p->q_len / p->heads, index / p->q_len % p->heads,
                             index % p->q_len, c};
            memcpy(row->worst, at, sizeof(at));
            row->expected = want;
            row->got = have;
            row->error_max = fabs(have - want);
        }
    }
    free(got);
    free(base);
    return case_fail(gate, row, VERDICT_WRONG,
                     "%s is off by %.3g at batch %lld, head %lld, row %lld, column %lld (the "
                     "baseline has %.6g, got %.6g), %.3g times what is allowed",
                     which, row->error_max, (long long)row->worst[0], (long long)row->worst[1],
                     (long long)row->worst[2], (long long)row->worst[3], row->expected, row->got,
                     times);
}

static bool judge_whole(struct gate *gate, const struct rig *rig, const struct comparison *c,
                        const struct comparison *base, const struct device_comparison *found,
                        struct case_result *row)
{
    struct allowance allowed = allow(c, base);
    double element = ratio_of(found->element) / allowed.element;
    double rms = ratio_of(found->row) / allowed.row;
    double all = sqrt(found->difference / found->expected) / allowed.all;
    double lse_allowed = gate->subject->problem->dtype == DTYPE_F16 ? 0x1p-9 : 0x1p-6;

    if (element > 1) {
        return fail_row(gate, rig, (int64_t)(found->element & UINT32_MAX), element, "an element",
                        row);
    }
    if (rms > 1) {
        return fail_row(gate, rig, (int64_t)(found->row & UINT32_MAX), rms, "a row", row);
    }
    if (!(all <= 1)) {
        return case_fail(gate, row, VERDICT_WRONG,
                         "the whole output is further from the baseline than its numerics class: "
                         "%.3g times what is allowed (Frobenius)",
                         all);
    }
    if (gate->subject->problem->lse && ratio_of(found->lse) > lse_allowed) {
        return case_fail(gate, row, VERDICT_WRONG,
                         "the log-sum-exp of row %lld is off by more than %.3g from the baseline",
                         (long long)(found->lse & UINT32_MAX), lse_allowed);
    }
    return true;
}

/* Every row of a large output, against the baseline; c holds those that have a reference. */
static bool check_whole(struct gate *gate, const struct rig *rig, const struct comparison *c,
                        struct case_result *row)
{
    const struct verify_subject *subject = gate->subject;
    struct comparison base = *c;
    struct device_comparison found;
    enum device_status status =
        gate->auditor->baseline(subject->problem, subject->numerics == NUMERICS_FP16, &rig->buffers,
                                &gate->base, gate->err);

    if (status == DEVICE_OK) {
        status = gate->auditor->compare(subject->problem, &rig->buffers, &gate->base, &found,
                                        gate->err);
    }
    if (status != DEVICE_OK) {
        return device_failed(gate, status, NULL);
    }
    base.got = gather_rows(gate, gate->base.out, c->rows, c->count);
    if (base.got == NULL) {
        return false;
    }
    base.measures = xmalloc((size_t)c->count * sizeof(*base.measures));
    pool_run(measure_rows, &base, (c->count + ROWS_PER_TASK - 1) / ROWS_PER_TASK, gate->threads);
    bool right = check_base(gate, &base) && judge_whole(gate, rig, c, &base, &found, row);
    free((void *)base.got);
    free(base.measures);
    return right;
}

/* Only now, after the candidate's last launch on this input, does the answer come to exist. */
static bool check_correct(struct gate *gate, struct rig *rig, bool bar, struct case_result *row)
{
    const struct problem *p = gate->subject->problem;
    struct comparison c = {.gate = gate};
    int64_t *rows = pick_rows(gate, derive(gate, "rows", (int64_t)rig->key, 0), &c.count);
    size_t count = (size_t)c.count, bytes = count * (size_t)p->head_dim * sizeof(double);
    bool right = true;

    c.rows = rows;
    if (gate->auditor != NULL) {
        c.got = gather_rows(gate, rig->regions[REGION_O].at, rows, c.count);
        right = c.got != NULL;
    }
    c.reference.exact = xmalloc(bytes);
    c.reference.baseline = xmalloc(bytes);
    c.reference.noise = xmalloc(count * sizeof(double));
    if (p->lse) {
        c.reference.lse = xmalloc(count * sizeof(double));
        c.reference.baseline_lse = xmalloc(count * sizeof(double));
    }
    c.measures = xmalloc(count * sizeof(*c.measures));
    int64_t since = clock_now_us();
    if (right) {
        reference_rows(p, &rig->inputs, gate->subject->numerics, rows, c.count, &c.reference,
                       gate->threads);
        spend(gate, PART_REFERENCE, &since);
        pool_run(measure_rows, &c, (c.count + ROWS_PER_TASK - 1) / ROWS_PER_TASK, gate->threads);
    }
    right = right && check_output(gate, &c, row) && (!p->lse || check_lse(gate, &c, row)) &&
            (!bar || check_bar(gate, &c, row)) &&
            (gate->auditor == NULL || check_whole(gate, rig, &c, row));
    spend(gate, PART_COMPARE, &since);
    free(rows);
    free((void *)c.got);
    free(c.reference.exact);
    free(c.reference.baseline);
    free(c.reference.noise);
    free(c.reference.lse);
    free(c.reference.baseline_lse);
    free(c.measures);
    return right;
}

/* ---- cases ---------------------------------------------------------------------------------- */

/* How one case is run, and what its row of evidence stands for. */
struct climb {
    enum rung rung;
    int launches;
    bool first; /* of its shape: launch, sanity, correct and stable are rows of their own */
    bool bar;   /* the historic bar holds besides */
};

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
        bool happened = climb->rung == RUNG_TIMED && launch == 0; /* while it was timed */
        device_watch(climb->first && launch == 0); /* watching is slow: once for each shape */
        if (gate->race && !set_jitter(gate, rig, launch, row)) {
            return false;
        }
        if (!happened && !rig_call(gate, rig, row)) {
            return false;
        }
        spend(gate, PART_CALL, &since);
        if (!check_zeroed(gate, rig, row) || !observe(gate, rig, launch, row, &seen[launch])) {
            return false;
        }
        spend(gate, PART_LOOK, &since);
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
    return arena_printf(
        gate->arena, "changed when warps were delayed by up to %u ns%s (jitter %d, seed %08x)",
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

static bool case_run(struct gate *gate, struct rig *rig, const struct climb *climb)
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
    if (!check_surroundings(gate, rig, &row)) {
        return false;
    }
    spend(gate, PART_LOOK, &since);
    for (int launch = 0; launch < climb->launches; launch++) {
        if (!check_sane(gate, &seen[launch], &row)) {
            return false;
        }
    }
    if (climb->first) {
        rung_passed(gate, rig, &row, RUNG_CORRECT);
    }
    if (!check_correct(gate, rig, climb->bar, &row)) {
        return false;
    }
    if (climb->first) {
        rung_passed(gate, rig, &row, RUNG_STABLE);
    }
    if (!check_stable(gate, rig, climb, seen, &row)) {
        return false;
    }
    case_record(gate->result, &row);
    return true;
}

static void gate_open(struct gate *gate)
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
    gate->chunk = xmalloc(CHUNK_BYTES);
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

static void gate_close(struct gate *gate)
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

    return reference_cost(subject->problem) > reference_budget && !loses
               ? device_auditor(subject->problem)
               : NULL;
}

static struct gate gate_of(struct arena *arena, const struct verify_subject *subject,
                           uint64_t secret, struct judge_result *result, struct err *err)
{
    return (struct gate){.arena = arena,
                         .subject = subject,
                         .secret = secret,
                         .result = result,
                         .err = err,
                         .status = DEVICE_OK,
                         .auditor = auditor_of(subject)};
}

static bool run_cases(struct gate *gate, const struct verify_request *request, struct rig *rig)
{
    int64_t most = request->depth == DEPTH_BAR ? VERIFY_BAR_CASES : request->seeds;
    bool first = true;

    for (int64_t n = 0; n < most; n++) {
        for (enum input_family family = 0; family < INPUT_FAMILIES; family++) {
            struct climb climb = climb_of(request, first);
            uint64_t key = request->depth == DEPTH_CASE ? request->key
                                                        : derive(gate, "case", family, n);

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
    struct rig rig;

    assert(request->seeds > 0);
    gate_open(&gate);
    if (rig_make(&gate, &rig, 0) && gate_base(&gate)) {
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
    struct rig rig;

    gate.race = true;
    gate_open(&gate);
    if (rig_make(&gate, &rig, 0) && gate_base(&gate) &&
        rig_draw(&gate, &rig, INPUT_NORMAL, derive(&gate, "race", 0, 0))) {
        case_run(&gate, &rig, &climb);
    }
    rig_free(&rig);
    gate_close(&gate);
    return gate.status;
}

/* ---- sets for timing ------------------------------------------------------------------------ */

struct verify_sets {
    struct verify_subject subject;
    uint64_t secret;
    int count;
    struct rig *rigs;
    struct device_buffers *buffers;
};

enum device_status verify_sets_make(struct arena *arena, const struct verify_subject *subject,
                                    uint64_t secret, int count, struct verify_sets **sets,
                                    struct err *err)
{
    struct verify_sets *made = xcalloc(1, sizeof(*made));
    struct gate gate = gate_of(arena, subject, secret, NULL, err);

    gate.threads = reference_threads();
    gate.args = problem_args(subject->problem);
    made->subject = *subject;
    made->secret = secret;
    made->rigs = xcalloc((size_t)count, sizeof(*made->rigs));
    made->buffers = xcalloc((size_t)count, sizeof(*made->buffers));
    for (int s = 0; s < count && gate.status == DEVICE_OK; s++) {
        struct rig *rig = &made->rigs[made->count++];
        if (rig_make(&gate, rig, 1 + s) &&
            rig_draw(&gate, rig, INPUT_NORMAL, derive(&gate, "timed", s, 0))) {
            gate.calls = 0;
            gate.status = rig_poison(&gate, rig);
        }
        made->buffers[s] = rig->buffers;
    }
    if (gate.status != DEVICE_OK) {
        verify_sets_free(made);
        made = NULL;
    }
    *sets = made;
    return gate.status;
}

const struct device_buffers *verify_sets_buffers(const struct verify_sets *sets, int *count)
{
    *count = sets->count;
    return sets->buffers;
}

enum device_status verify_sets_check(struct arena *arena, struct verify_sets *sets,
                                     struct judge_result *result, struct err *err)
{
    struct gate gate = gate_of(arena, &sets->subject, sets->secret, result, err);
    struct climb climb = {.rung = RUNG_TIMED, .launches = LAUNCHES_CASE};
    bool well = true;

    gate_open(&gate);
    well = gate_base(&gate);
    for (int s = 0; s < sets->count && well; s++) {
        well = case_run(&gate, &sets->rigs[s], &climb);
    }
    gate_close(&gate);
    return gate.status;
}

void verify_sets_free(struct verify_sets *sets)
{
    if (sets == NULL) {
        return;
    }
    for (int s = 0; s < sets->count; s++) {
        rig_free(&sets->rigs[s]);
    }
    free(sets->rigs);
    free(sets->buffers);
    free(sets);
}
