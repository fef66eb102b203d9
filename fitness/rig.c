#include "fitness/gate.h"

#include <string.h>

#include "base/clock.h"
#include "base/rng.h"
#include "fitness/inputs.h"

enum { GUARD_BYTES = 16 << 10 }; /* before and after each buffer; what lies between stays aligned */

/* Two poisons in turn: a NaN, and a finite number that no weighted mean of V comes near. */
static const uint16_t poison_half[2][2] = {
    [DTYPE_F16] = {0x7e5b, 0xfb2d},
    [DTYPE_BF16] = {0x7fdb, 0xfe2d},
};
static const uint32_t poison_single[2] = {0x7fd5b5b5, 0xfe96b45a};

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

uint16_t rig_poison_half(const struct gate *gate, const struct rig *rig)
{
    return poison_half[gate->subject->problem->dtype][rig->poison];
}

uint32_t rig_poison_single(const struct rig *rig) { return poison_single[rig->poison]; }

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

void rig_free(struct rig *rig)
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
    return call_failed(gate, status, &row);
}

bool rig_make(struct gate *gate, struct rig *rig, int64_t number)
{
    const struct problem *p = gate->subject->problem;
    const struct plan *plan = gate->subject->plan;
    size_t q = (size_t)problem_q_elements(p) * 2, kv = (size_t)problem_kv_elements(p) * 2;
    size_t sizes[REGIONS_MAX] = {q, kv, kv, q, p->lse ? (size_t)problem_rows(p) * 4 : 0};

    *rig = (struct rig){.region_count = REGION_WORKSPACE + plan->workspace_count,
                        .guard = (uint32_t)gate_derive(gate, "guard", number, 0)};
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
    uint64_t key = gate_derive(gate, "digest", index, 0);
    enum device_status status = gate->scanner->scan(region->at, region->bytes, key, AUDIT_NEVER,
                                                    AUDIT_NEVER, &scan, gate->err);

    *digest = scan.digest;
    return status == DEVICE_OK || device_failed(gate, status, NULL);
}

static void make_inputs(struct rig *rig)
{
    struct inputs *inputs = &rig->inputs;

    if (inputs->q == NULL) {
        inputs->q = device_host_alloc(rig->regions[REGION_Q].bytes);
        inputs->k = device_host_alloc(rig->regions[REGION_K].bytes);
        inputs->v = device_host_alloc(rig->regions[REGION_V].bytes);
    }
    rig->here = true;
}

const struct inputs *rig_inputs(struct gate *gate, struct rig *rig)
{
    int64_t since = clock_now_us();

    if (!rig->here) {
        make_inputs(rig);
        inputs_draw(gate->subject->problem, rig->family, rig->key, &rig->inputs, gate->threads);
        gate_spend(gate, PART_DRAW, &since);
    }
    return &rig->inputs;
}

/* One tensor is on its way while the next is drawn. */
static enum device_status draw_here(struct gate *gate, struct rig *rig, int64_t *since)
{
    enum device_status status = DEVICE_OK;

    make_inputs(rig);
    const void *inputs[] = {rig->inputs.q, rig->inputs.k, rig->inputs.v};
    for (int i = REGION_Q; i <= REGION_V && status == DEVICE_OK; i++) {
        const struct region *region = &rig->regions[i];
        inputs_draw_one(gate->subject->problem, rig->family, rig->key, i, &rig->inputs,
                        gate->threads);
        gate_spend(gate, PART_DRAW, since);
        status = device_send(region->at, inputs[i], region->bytes, gate->err);
        gate_spend(gate, PART_MOVE, since);
    }
    return status;
}

bool rig_draw(struct gate *gate, struct rig *rig, enum input_family family, uint64_t key)
{
    enum device_status status;
    int64_t since = clock_now_us();

    rig->family = family;
    rig->key = key;
    rig->here = false;
    status = gate->there && family == INPUT_NORMAL
                 ? gate->auditor->draw(gate->subject->problem, key, &rig->buffers, gate->err)
                 : draw_here(gate, rig, &since);
    if (status != DEVICE_OK) {
        return device_failed(gate, status, NULL);
    }
    for (int i = REGION_Q; i <= REGION_V && gate->scanner != NULL; i++) {
        if (!digest_input(gate, rig, i, &rig->digests[i])) {
            return false;
        }
    }
    gate_spend(gate, PART_MOVE, &since);
    return true;
}

/* Poisons everything the next call may only write, and the shared memory it may not trust. */
enum device_status rig_poison(struct gate *gate, struct rig *rig)
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

bool rig_call(struct gate *gate, struct rig *rig, struct case_result *row)
{
    enum device_status status = rig_poison(gate, rig);

    if (status != DEVICE_OK) {
        return device_failed(gate, status, row);
    }
    status = device_call(gate->subject->module, gate->subject->plan, &rig->buffers, gate->err);
    return status == DEVICE_OK || call_failed(gate, status, row);
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
    for (size_t done = 0; done < bytes && *at < 0; done += GATE_CHUNK_BYTES) {
        size_t size = bytes - done < GATE_CHUNK_BYTES ? bytes - done : GATE_CHUNK_BYTES;
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

bool rig_find_written(struct gate *gate, struct rig *rig, int *input, int64_t *at)
{
    *at = -1;
    for (int i = REGION_Q; i <= REGION_V && *at < 0; i++) {
        const struct region *region = &rig->regions[i];
        uint64_t digest;
        *input = i;
        if (gate->scanner != NULL && !digest_input(gate, rig, i, &digest)) {
            return false;
        }
        if (gate->scanner != NULL && digest == rig->digests[i]) {
            continue;
        }
        const struct inputs *own = rig_inputs(gate, rig);
        const void *inputs[] = {own->q, own->k, own->v};
        if (!compare_memory(gate, region->at, region->bytes, inputs[i], 0, at)) {
            return false;
        }
    }
    return true;
}

bool rig_check_surroundings(struct gate *gate, struct rig *rig, struct case_result *row)
{
    int64_t at;
    int input;

    for (int i = 0; i < rig->region_count; i++) {
        if (rig->regions[i].base != 0 && !check_guards(gate, rig, i, row)) {
            return false;
        }
    }
    if (!rig_find_written(gate, rig, &input, &at)) {
        return false;
    }
    return at < 0 ||
           case_fail(gate, row, VERDICT_OUT_OF_BOUNDS, "it wrote into its input %s, at byte %lld",
                     region_name(gate->arena, input), (long long)at);
}

/* After each call: the next one may rely on it. */
bool rig_check_zeroed(struct gate *gate, struct rig *rig, struct case_result *row)
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
