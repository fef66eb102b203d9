/*
 * wgmma: products of a warpgroup from shared memory, done when they are waited for.
 *
 * Each warp of the four does its own 16 of the 64 rows: A's rows 16 w … 16 w + 15, all of B. What
 * it issues is queued; nothing is read or written before a wgmma.wait_group that covers it:
 *
 *   issue    accumulators are taken out of their registers, which then hold a NaN; a further
 *            product on the same accumulators joins the queue
 *   commit   what was issued since the last commit is a group
 *   wait     waits until all four warps have committed as many groups, for those of a warpgroup
 *            are one; then they are done in order, the parts of all four: operands are read now,
 *            A's registers too; accumulators of this warp that no further product needs go back
 *            into their registers, the other warps' with their own waits
 *
 * So when the wait of one warp is over, no warp of the four reads the operands any more, and it
 * may give their memory back for all of them; its registers are its own business.
 *
 * A program that forgets a wait computes with NaN, and one that releases an operand too early
 * computes with what has replaced it. With SANITIZE_ASYNC the same is reported, where it happens:
 *
 *   - registers of a product in flight, read or written (tensor_watched, asked before every op)
 *   - registers written after the last wgmma.fence and given to a product; no fence at all
 *   - operands in shared memory: from commit to wait they are a source in flight (memory.h), so
 *     memory.c finds whoever writes them, besides races, missing proxy fences, unwritten bytes
 *   - products never waited for
 *
 * A matrix in shared memory is given by a 64-bit descriptor:
 *
 *     0–13 start / 16 · 16–29 LBO / 16 · 32–45 SBO / 16 · 49–51 base offset · 62–63 swizzle
 *
 * It is made of chunks of 16 bytes: along k when it is K-major, along m or n when it is MN-major.
 * W are the bytes of a swizzled row (128, 64, 32; 16 when there is no swizzle), c is the chunk:
 *
 *     K-major         start + (row / 8) SBO + (row % 8) W + c 16
 *       no swizzle    start + (row / 8) SBO + (row % 8) 16 + c LBO
 *     MN-major        start + (c / (W/16)) LBO + (c % (W/16)) 16 + (k / 8) SBO + (k % 8) W
 *       no swizzle    start + c SBO + (k / 8) LBO + (k % 8) 16
 *
 * The swizzle turns address bits 4–6 by bits 7–9: they are xored with (bits 7–9 less the base
 * offset) & (W/16 - 1).
 */
#include "fitness/emu/tensor.h"

#include <stdlib.h>
#include <string.h>

enum {
    WARPGROUP = 4,
    WGMMA_ROWS = 16, /* of a warp */
    WGMMA_COLUMNS_MAX = 256,
    WGMMA_CHUNKS_MAX = 512, /* of B, 256 columns by 32 bytes of k */
    GROUPS_MAX = 32,     /* in flight: beyond, the oldest is done early, which the manual allows */
    PRODUCTS_MAX = 4096, /* of a group: likewise */
    ACCUMULATORS_MAX = 16,
    SHARED_BYTES_MAX = 1 << 18, /* what a descriptor can address, before its offsets */
    POISON = 0x7fff7fff,        /* a NaN as a float and as two halves */
};

struct wgmma { /* op->extra */
    int panels, depth;
    enum element a, b, d;
    bool a_in_registers, a_across, b_across; /* across: MN-major */
    bool negate, saturate;
    uint32_t accumulate; /* predicate slot; SLOT_NONE: as `always` says */
    bool accumulate_negated, always;
};

struct accumulator {
    const uint32_t *slots;
    int count, users; /* products in flight; 0: free */
    enum element type;
    double value[PANELS_MAX * WGMMA_ROWS * 8];
};

struct pending {
    const struct op *op;
    struct accumulator *accumulator;
    uint64_t a, b; /* descriptors */
    bool accumulate;
};

struct run {
    uint32_t at, bytes;
};

struct group {
    struct pending *products;
    int count, room;
    struct run *runs; /* of shared memory, in flight; only when somebody watches */
    int run_count, run_room;
    bool done;            /* by whoever waited first; its results are still to be given out */
    struct clock *landed; /* what to acquire then; NULL: nothing */
};

struct warp_tensor {
    struct group groups[GROUPS_MAX]; /* a ring: `committed` ones from `first`, then the open one */
    int first, committed;
    uint64_t ended; /* groups before `first`: with `committed`, all that ever were */
    /* Of the reads of groups that this warp did for all four, by their number's parity. */
    struct clock *clock[2];
    struct accumulator *accumulators[ACCUMULATORS_MAX];
    bool fenced;
    /* Bits of register slots: accumulators and A in flight; written since the last fence. */
    uint64_t *accumulating, *feeding, *touched;
    size_t words; /* of each */
};

/* ---- matrices in shared memory ---- */

struct chunks {
    int count;
    uint32_t at[WGMMA_CHUNKS_MAX], lowest, highest;
};

static uint32_t field(uint64_t descriptor, int bit)
{
    return (uint32_t)(descriptor >> bit & 0x3fff) << 4;
}

/*
 * The chunks of rows first … first + rows - 1. K-major: row by row, both chunks of k. MN-major: per
 * 8 rows, each k.
 */
static void chunks_find(uint64_t descriptor, bool across, int first, int rows, struct chunks *out)
{
    static const uint32_t widths[4] = {1, 8, 4, 2}; /* chunks of a swizzled row, by bits 62–63 */
    const uint32_t start = field(descriptor, 0), lbo = field(descriptor, 16);
    const uint32_t sbo = field(descriptor, 32), offset = (uint32_t)(descriptor >> 49 & 7);
    const uint32_t width = widths[descriptor >> 62];
    const bool plain = width == 1;
    out->count = 0;
    out->lowest = UINT32_MAX;
    out->highest = 0;
    const int lines = across ? rows / 8 : rows, each = across ? 16 : 2;
    for (int line = 0; line < lines; line++) {
        for (int i = 0; i < each; i++) {
            const uint32_t row = (uint32_t)(first + line), group = (uint32_t)(first / 8 + line);
            const uint32_t k = (uint32_t)i;
            const uint32_t at =
                across ? (plain ? group * sbo + k / 8 * lbo
                                : group / width * lbo + group % width * 16 + k / 8 * sbo) +
                             k % 8 * width * 16
                       : row / 8 * sbo + row % 8 * width * 16 + k * (plain ? lbo : 16);
            const uint32_t linear = start + at;
            const uint32_t turn = ((linear >> 7) - offset) & (width - 1);
            const uint32_t address = linear ^ turn << 4;
            out->at[out->count++] = address;
            out->lowest = address < out->lowest ? address : out->lowest;
            out->highest = address > out->highest ? address : out->highest;
        }
    }
}

/* Marks the chunks in a map of shared memory; false when one is beyond what can be addressed. */
static bool chunks_mark(const struct chunks *chunks, uint64_t *map)
{
    if (chunks->highest >= SHARED_BYTES_MAX) {
        return false;
    }
    for (int i = 0; i < chunks->count; i++) {
        const uint32_t chunk = chunks->at[i] / BLOCK_BYTES;
        map[chunk / 64] |= 1ull << chunk % 64;
    }
    return true;
}

/* ---- doing a product ---- */

struct scratch {
    struct chunks chunks;
    uint8_t raw[WGMMA_COLUMNS_MAX * 32];
    double a[WGMMA_ROWS * DEPTH_MAX], b[WGMMA_COLUMNS_MAX * DEPTH_MAX];
};

/* Shared memory behind the chunks, whose bounds are checked; NULL after a finding. */
static const uint8_t *chunks_base(struct warp *warp, const struct op *op,
                                  const struct chunks *chunks, enum step *step)
{
    const uint64_t bytes = chunks->highest - chunks->lowest + BLOCK_BYTES;
    if (chunks->highest + (uint64_t)BLOCK_BYTES <= (uint64_t)warp->block->shared_bytes) {
        return warp->block->shared;
    }
    /* memory.c words the finding. */
    memory_span(warp, op, -1, chunks->lowest, SPACE_SHARED, bytes, false, PROXY_ASYNC, step);
    *step = STEP_FAULT;
    return NULL;
}

static void rows_of_registers(struct warp *warp, const uint32_t *slots, uint8_t *raw)
{
    for (int block = 0; block < 4; block++) {
        const uint8_t *from = (const uint8_t *)reg32(warp, slots[block]);
        uint8_t *to = raw + block % 2 * BLOCK_ROWS * 32 + block / 2 * BLOCK_BYTES;
        for (int i = 0; i < BLOCK_ROWS; i++) {
            memcpy(to + i * 32, from + i * BLOCK_BYTES, BLOCK_BYTES);
        }
    }
}

static void rows_of_chunks(const struct chunks *chunks, const uint8_t *base, bool across,
                           uint8_t *raw)
{
    if (!across) {
        for (int i = 0; i < chunks->count; i++) {
            memcpy(raw + i * BLOCK_BYTES, base + chunks->at[i], BLOCK_BYTES);
        }
        return;
    }
    for (int i = 0; i < chunks->count; i += 8) { /* eight k of eight rows */
        const uint8_t *from[BLOCK_ROWS];
        uint8_t turned[BLOCK_ROWS * BLOCK_BYTES];
        for (int k = 0; k < 8; k++) {
            from[k] = base + chunks->at[i + k];
        }
        block_turn(from, 2, turned);
        for (int row = 0; row < BLOCK_ROWS; row++) {
            memcpy(raw + (i / 16 * 8 + row) * 32 + i / 8 % 2 * BLOCK_BYTES,
                   turned + row * BLOCK_BYTES, BLOCK_BYTES);
        }
    }
}

static void panels_of_chunks(const struct chunks *chunks, const uint8_t *base, bool across,
                             unsigned bytes, uint8_t *raw)
{
    if (across) { /* a chunk is a panel's row of one k */
        rows_of_chunks(chunks, base, false, raw);
        return;
    }
    for (int i = 0; i < chunks->count; i += 16) {
        for (int step = 0; step < 2; step++, raw += 128) {
            const uint8_t *from[BLOCK_ROWS];
            for (int column = 0; column < BLOCK_ROWS; column++) {
                from[column] = base + chunks->at[i + 2 * column + step];
            }
            block_turn(from, bytes, raw);
        }
    }
}

/* Reads the operands now, and adds their product to the accumulators. */
static enum step product_do(struct warp *warp, const struct pending *pending)
{
    const struct wgmma *wgmma = pending->op->extra;
    const struct numbers *numbers = numbers_best();
    struct accumulator *accumulator = pending->accumulator;
    const int values = wgmma->panels * WGMMA_ROWS * 8;
    enum step step = STEP_NEXT;
    const uint8_t *base;
    struct scratch s;
    if (wgmma->a_in_registers) {
        rows_of_registers(warp, pending->op->src, s.raw);
    } else {
        chunks_find(pending->a, wgmma->a_across, warp->index % 4 * WGMMA_ROWS, WGMMA_ROWS,
                    &s.chunks);
        if ((base = chunks_base(warp, pending->op, &s.chunks, &step)) == NULL) {
            return step;
        }
        rows_of_chunks(&s.chunks, base, wgmma->a_across, s.raw);
    }
    numbers->widen(wgmma->a, s.raw, WGMMA_ROWS * wgmma->depth, s.a);
    for (int i = 0; wgmma->negate && i < WGMMA_ROWS * wgmma->depth; i++) {
        s.a[i] = -s.a[i];
    }
    chunks_find(pending->b, wgmma->b_across, 0, wgmma->panels * 8, &s.chunks);
    if ((base = chunks_base(warp, pending->op, &s.chunks, &step)) == NULL) {
        return step;
    }
    panels_of_chunks(&s.chunks, base, wgmma->b_across, element_bytes(wgmma->b), s.raw);
    numbers->widen(wgmma->b, s.raw, wgmma->panels * 8 * wgmma->depth, s.b);
    if (!pending->accumulate) {
        memset(accumulator->value, 0, (size_t)values * sizeof *accumulator->value);
    }
    numbers->multiply(s.a, WGMMA_ROWS, s.b, wgmma->panels, wgmma->depth, accumulator->value,
                      wgmma->d == ELEMENT_F32);
    numbers_round(wgmma->d, wgmma->saturate, accumulator->value, values);
    return STEP_NEXT;
}

/* ---- accumulators and their registers ---- */

static void accumulator_move(struct warp *warp, struct accumulator *accumulator, bool load)
{
    const struct numbers *numbers = numbers_best();
    const int each = accumulator->type == ELEMENT_F16 ? 1 : 2;
    for (int i = 0; i < accumulator->count; i += each) {
        uint32_t *first = reg32(warp, accumulator->slots[i]);
        uint32_t *second = reg32(warp, accumulator->slots[i + each - 1]);
        double *value = accumulator->value + i / each * BLOCK_VALUES;
        if (load) {
            numbers->block_read(accumulator->type, first, second, value);
        } else {
            numbers->block_write(accumulator->type, value, first, second);
        }
    }
}

static bool slot_in(const struct warp_tensor *tensor, const uint64_t *bits, uint32_t slot)
{
    const size_t at = slot / 64;
    return at / 64 < tensor->words && bits[at / 64] >> at % 64 & 1;
}

static void slots_add(const struct warp_tensor *tensor, uint64_t *bits, const uint32_t *slots,
                      int count)
{
    for (int i = 0; i < count; i++) {
        const size_t at = slots[i] / 64;
        if (at / 64 < tensor->words) {
            bits[at / 64] |= 1ull << at % 64;
        }
    }
}

static bool slots_any(const struct warp_tensor *tensor, const uint64_t *bits, const uint32_t *slots,
                      int count)
{
    for (int i = 0; i < count; i++) {
        if (slot_in(tensor, bits, slots[i])) {
            return true;
        }
    }
    return false;
}

static int a_registers(const struct op *op)
{
    const struct wgmma *wgmma = op->extra;
    return wgmma->a_in_registers ? 4 : 0;
}

static void flight_add(struct warp_tensor *tensor, const struct pending *pending)
{
    slots_add(tensor, tensor->accumulating, pending->op->dst, pending->op->dst_count);
    slots_add(tensor, tensor->feeding, pending->op->src, a_registers(pending->op));
}

static struct group *group_at(struct warp_tensor *tensor, int index)
{
    return &tensor->groups[(tensor->first + index) % GROUPS_MAX];
}

/* What is in flight, again from the queue. */
static void flight_renew(struct warp_tensor *tensor)
{
    memset(tensor->accumulating, 0, tensor->words * sizeof *tensor->accumulating);
    memset(tensor->feeding, 0, tensor->words * sizeof *tensor->feeding);
    for (int i = 0; i <= tensor->committed; i++) {
        const struct group *group = group_at(tensor, i);
        for (int j = 0; j < group->count; j++) {
            flight_add(tensor, &group->products[j]);
        }
    }
}

/* ---- groups ---- */

static bool watches(const struct warp *warp)
{
    return (warp->machine->launch->sanitize & SANITIZE_ASYNC) != 0;
}

/* Marks all shared memory that the group reads. */
static bool group_map(const struct warp *warp, const struct group *group, uint64_t *map)
{
    struct chunks chunks;
    for (int i = 0; i < group->count; i++) {
        const struct pending *pending = &group->products[i];
        const struct wgmma *wgmma = pending->op->extra;
        chunks_find(pending->b, wgmma->b_across, 0, wgmma->panels * 8, &chunks);
        if (!chunks_mark(&chunks, map)) {
            return false;
        }
        if (!wgmma->a_in_registers) {
            chunks_find(pending->a, wgmma->a_across, warp->index % 4 * WGMMA_ROWS, WGMMA_ROWS,
                        &chunks);
            if (!chunks_mark(&chunks, map)) {
                return false;
            }
        }
    }
    return true;
}

static void run_add(struct group *group, uint32_t at, uint32_t bytes)
{
    if (group->run_count == group->run_room) {
        group->run_room = group->run_room * 2 + 16;
        group->runs = xrealloc(group->runs, (size_t)group->run_room * sizeof *group->runs);
    }
    group->runs[group->run_count++] = (struct run){at, bytes};
}

/*
 * For the sanitizers: everything that the group reads is checked and becomes a source in flight,
 * consecutive bytes together. What lies beyond all shared memory is left to product_do.
 */
static enum step group_begin(struct warp *warp, struct group *group)
{
    uint64_t map[SHARED_BYTES_MAX / BLOCK_BYTES / 64] = {0};
    enum step step = STEP_NEXT;
    if (group->count == 0 || tensor_unwatched(warp) || !group_map(warp, group, map)) {
        return STEP_NEXT;
    }
    const struct op *op = group->products[group->count - 1].op;
    const uint32_t end = SHARED_BYTES_MAX / BLOCK_BYTES;
    for (uint32_t chunk = 0; chunk < end; chunk++) {
        uint32_t run = 0;
        if (map[chunk / 64] == 0) {
            chunk |= 63;
            continue;
        }
        while (chunk + run < end && map[(chunk + run) / 64] >> (chunk + run) % 64 & 1) {
            run++;
        }
        if (run == 0) {
            continue;
        }
        const uint32_t at = chunk * BLOCK_BYTES, bytes = run * BLOCK_BYTES;
        chunk += run;
        if (memory_span(warp, op, -1, at, SPACE_SHARED, bytes, false, PROXY_ASYNC, &step) != NULL) {
            memory_flight_begin(warp, op, -1, at, SPACE_SHARED, bytes, false, PROXY_ASYNC);
            run_add(group, at, bytes);
        } else if (step != STEP_NEXT) {
            return step;
        }
    }
    return STEP_NEXT;
}

/* Computes a group's products, which ends its reads of shared memory. */
static enum step group_do(struct warp *warp, struct group *group, struct clock **clock)
{
    enum step step = STEP_NEXT;
    for (int i = 0; i < group->count && step == STEP_NEXT; i++) {
        step = product_do(warp, &group->products[i]);
    }
    for (int i = 0; i < group->run_count && step == STEP_NEXT; i++) {
        const struct run *run = &group->runs[i];
        memory_flight_land(warp, group->products[group->count - 1].op, -1, run->at, SPACE_SHARED,
                           run->bytes, false, PROXY_ASYNC, clock);
    }
    group->run_count = 0;
    group->done = true;
    group->landed = clock != NULL ? *clock : NULL;
    return step;
}

/* Gives the results of the oldest group out, which is done, and empties it. */
static void group_end(struct warp *warp)
{
    struct warp_tensor *tensor = warp->tensor;
    struct group *group = group_at(tensor, 0);
    for (int i = 0; i < group->count; i++) {
        struct accumulator *accumulator = group->products[i].accumulator;
        if (--accumulator->users == 0) {
            accumulator_move(warp, accumulator, false);
        }
    }
    if (group->landed != NULL) {
        memory_acquire(warp, ALL_LANES, group->landed);
    }
    group->count = 0;
    group->done = false;
    tensor->first = (tensor->first + 1) % GROUPS_MAX;
    tensor->committed--;
    tensor->ended++;
}

static void groups_end(struct warp *warp, int keep)
{
    const bool some = warp->tensor->committed > keep;
    while (warp->tensor->committed > keep) {
        group_end(warp);
    }
    if (some) {
        flight_renew(warp->tensor);
    }
}

/* Of this warp alone, whatever the others have done: where there is no more room. */
static enum step groups_force(struct warp *warp, int keep)
{
    struct warp_tensor *tensor = warp->tensor;
    enum step step = STEP_NEXT;
    for (int i = 0; i < tensor->committed - keep && step == STEP_NEXT; i++) {
        struct group *group = group_at(tensor, i);
        step = group->done ? STEP_NEXT : group_do(warp, group, NULL);
    }
    if (step == STEP_NEXT) {
        groups_end(warp, keep);
    }
    return step;
}

static enum step group_commit(struct warp *warp)
{
    struct warp_tensor *tensor = warp->tensor;
    enum step step = group_begin(warp, group_at(tensor, tensor->committed));
    tensor->committed++;
    if (step == STEP_NEXT && tensor->committed == GROUPS_MAX) {
        step = groups_force(warp, GROUPS_MAX - 1);
    }
    return step;
}

/* ---- the four warps ---- */

static struct warp *partner_at(const struct warp *warp, int index)
{
    const int at = warp->index / WARPGROUP * WARPGROUP + index;
    return at < warp->block->warp_count ? &warp->block->warps[at] : NULL;
}

static uint64_t groups_of(const struct warp *warp)
{
    return warp == NULL || warp->tensor == NULL
               ? 0
               : warp->tensor->ended + (uint64_t)warp->tensor->committed;
}

/* The group of a number; NULL: it has ended long ago. */
static struct group *group_numbered(struct warp *warp, uint64_t number)
{
    struct warp_tensor *tensor = warp->tensor;
    return number < tensor->ended ? NULL : group_at(tensor, (int)(number - tensor->ended));
}

/* All four must give the same descriptors to the same instructions. */
static enum step groups_compare(struct warp *warp, const struct group *mine,
                                const struct group *theirs, int partner)
{
    for (int i = 0; theirs != NULL && i < mine->count; i++) {
        const struct pending *a = &mine->products[i];
        const struct pending *b = i < theirs->count ? &theirs->products[i] : NULL;
        if (b == NULL || a->op != b->op || a->b != b->b || a->accumulate != b->accumulate ||
            (!a_registers(a->op) && a->a != b->a)) {
            return finding_add(warp, a->op, FINDING_BARRIER, -1, 0, b != NULL ? b->op : NULL,
                               "warps %d and %d of a warpgroup give another product, or the same "
                               "with other descriptors",
                               warp->index, partner);
        }
    }
    return STEP_NEXT;
}

/* Does the group of this number in all four warps, as far as that is not done. */
static enum step groups_do(struct warp *warp, uint64_t number)
{
    struct clock **clock = &warp->tensor->clock[number % 2];
    enum step step = STEP_NEXT;
    for (int i = 0; i < WARPGROUP && step == STEP_NEXT; i++) {
        struct warp *partner = partner_at(warp, i);
        struct group *group = group_numbered(partner, number);
        if (group == NULL || group->done) {
            continue;
        }
        if (watches(warp)) {
            step = groups_compare(warp, group_numbered(warp, number), group, partner->index);
        }
        step = step == STEP_NEXT ? group_do(partner, group, clock) : step;
    }
    return step;
}

static const char waits_warpgroup[] =
    "the other warps of its warpgroup to commit as many wgmma groups";

/* Until at most `keep` of its groups are pending. */
static enum step groups_wait(struct warp *warp, int keep)
{
    struct warp_tensor *tensor = warp->tensor;
    enum step step = STEP_NEXT;
    if (tensor->committed <= keep) {
        return STEP_NEXT;
    }
    const uint64_t end = groups_of(warp) - (uint64_t)keep;
    for (int i = 0; i < WARPGROUP; i++) {
        if (groups_of(partner_at(warp, i)) < end) {
            warp->waits = waits_warpgroup;
            return STEP_WAIT;
        }
    }
    for (uint64_t number = tensor->ended; number < end && step == STEP_NEXT; number++) {
        step = groups_do(warp, number);
    }
    if (step == STEP_NEXT) {
        groups_end(warp, keep);
    }
    return step;
}

/* ---- a warp's state ---- */

static struct warp_tensor *state(struct warp *warp)
{
    if (warp->tensor == NULL) {
        struct warp_tensor *tensor = xcalloc(1, sizeof *tensor);
        tensor->words = warp->machine->program->register_bytes / 64 / 64 + 1;
        tensor->accumulating = xcalloc(3 * tensor->words, sizeof *tensor->accumulating);
        tensor->feeding = tensor->accumulating + tensor->words;
        tensor->touched = tensor->feeding + tensor->words;
        warp->tensor = tensor;
    }
    return warp->tensor;
}

void tensor_warp_begin(struct warp *warp) { warp->tensor = NULL; }

void tensor_warp_end(struct warp *warp)
{
    struct warp_tensor *tensor = warp->tensor;
    if (tensor == NULL) {
        return;
    }
    for (int i = 0; i <= tensor->committed && watches(warp) && warp->alive == 0; i++) {
        const struct group *group = group_at(tensor, i);
        if (group->count > 0) {
            finding_add(warp, group->products[0].op, FINDING_IN_FLIGHT, -1, 0, NULL,
                        "the warp ends without a wgmma.wait_group for this product");
        }
    }
    for (int i = 0; i < GROUPS_MAX; i++) {
        free(tensor->groups[i].products);
        free(tensor->groups[i].runs);
    }
    for (int i = 0; i < ACCUMULATORS_MAX; i++) {
        free(tensor->accumulators[i]);
    }
    free(tensor->accumulating);
    free(tensor);
    warp->tensor = NULL;
}

/* ---- the instructions ---- */

static enum step fence_run(struct warp *warp, const struct op *op, lanes active)
{
    struct warp_tensor *tensor = state(warp);
    const enum step step = tensor_whole_warp(warp, op, active);
    tensor->fenced = true;
    memset(tensor->touched, 0, tensor->words * sizeof *tensor->touched);
    return step;
}

static enum step commit_run(struct warp *warp, const struct op *op, lanes active)
{
    const enum step step = tensor_whole_warp(warp, op, active);
    state(warp);
    return step == STEP_NEXT ? group_commit(warp) : step;
}

static enum step wait_run(struct warp *warp, const struct op *op, lanes active)
{
    const enum step step = tensor_whole_warp(warp, op, active);
    state(warp);
    return step == STEP_NEXT ? groups_wait(warp, op->mode) : step;
}

/* The product in flight that uses one of the slots. */
static const struct op *flight_find(struct warp_tensor *tensor, uint32_t slot)
{
    for (int i = 0; i <= tensor->committed; i++) {
        const struct group *group = group_at(tensor, i);
        for (int j = 0; j < group->count; j++) {
            const struct op *op = group->products[j].op;
            for (int k = 0; k < op->dst_count + a_registers(op); k++) {
                if ((k < op->dst_count ? op->dst[k] : op->src[k - op->dst_count]) == slot) {
                    return op;
                }
            }
        }
    }
    return NULL;
}

static enum step mma_run(struct warp *warp, const struct op *op, lanes active);

enum step tensor_watched(struct warp *warp, const struct op *op, lanes active)
{
    struct warp_tensor *tensor = warp->tensor;
    const struct code *code = warp->machine->launch->program;
    if (op->run == mma_run || !watches(warp) || active == 0) {
        return STEP_NEXT;
    }
    const struct op_registers *registers = &code->op_registers[op - code->ops];
    for (int i = 0; i < registers->read_count + registers->write_count; i++) {
        const bool write = i >= registers->read_count;
        const uint32_t slot =
            write ? registers->writes[i - registers->read_count] : registers->reads[i];
        const bool result = slot_in(tensor, tensor->accumulating, slot);
        if (result || slot_in(tensor, tensor->feeding, slot)) {
            return finding_add(warp, op, FINDING_IN_FLIGHT, -1, 0, flight_find(tensor, slot),
                               "a register that holds %s of a wgmma in flight is %s before "
                               "wgmma.wait_group",
                               result ? "an accumulator" : "a part of A",
                               write ? "written" : "read");
        }
    }
    slots_add(tensor, tensor->touched, registers->writes, registers->write_count);
    return STEP_NEXT;
}

/* Missing fences, and registers that another product has in flight. */
static enum step mma_check(struct warp *warp, const struct op *op, bool overlaps)
{
    const struct warp_tensor *tensor = warp->tensor;
    if (overlaps) {
        return finding_add(warp, op, FINDING_IN_FLIGHT, -1, 0, NULL,
                           "registers of this product are those of another in flight, and not "
                           "the same accumulators");
    }
    if (!tensor->fenced) {
        return finding_add(warp, op, FINDING_IN_FLIGHT, -1, 0, NULL,
                           "no wgmma.fence before the first product");
    }
    if (slots_any(tensor, tensor->touched, op->dst, op->dst_count) ||
        slots_any(tensor, tensor->touched, op->src, a_registers(op))) {
        return finding_add(warp, op, FINDING_IN_FLIGHT, -1, 0, NULL,
                           "registers of this product were written after the last wgmma.fence");
    }
    return STEP_NEXT;
}

/* The accumulators that these registers are; a free place when they are none yet. */
static struct accumulator *accumulator_find(struct warp_tensor *tensor, const struct op *op,
                                            bool *found)
{
    const struct wgmma *wgmma = op->extra;
    struct accumulator **empty = NULL;
    *found = true;
    for (int i = 0; i < ACCUMULATORS_MAX; i++) {
        struct accumulator *have = tensor->accumulators[i];
        if (have == NULL || have->users == 0) {
            empty = empty == NULL || *empty == NULL ? &tensor->accumulators[i] : empty;
        } else if (have->count == op->dst_count && have->type == wgmma->d &&
                   memcmp(have->slots, op->dst, op->dst_count * sizeof *op->dst) == 0) {
            return have;
        }
    }
    *found = false;
    if (empty != NULL && *empty == NULL) {
        *empty = xcalloc(1, sizeof **empty);
    }
    return empty != NULL ? *empty : NULL;
}

/* Accumulators that the first product adds to must have been written. */
static enum step accumulators_known(struct warp *warp, const struct op *op)
{
    for (int i = 0; i < op->dst_count; i++) {
        if (!memory_register_known(warp, op->dst[i], ALL_LANES)) {
            return finding_add(warp, op, FINDING_UNINITIALISED, -1, 0, NULL,
                               "accumulator %d is added to and was never written", i);
        }
    }
    return STEP_NEXT;
}

/* Takes the accumulators out of their registers. */
static void accumulator_take(struct warp *warp, const struct op *op,
                             struct accumulator *accumulator, bool load)
{
    const struct wgmma *wgmma = op->extra;
    accumulator->slots = op->dst;
    accumulator->count = op->dst_count;
    accumulator->type = wgmma->d;
    if (load) {
        accumulator_move(warp, accumulator, true);
    }
    for (int i = 0; i < op->dst_count; i++) {
        uint32_t *to = reg32(warp, op->dst[i]);
        for (int lane = 0; lane < LANES; lane++) {
            to[lane] = POISON;
        }
    }
}

static void pending_push(struct warp_tensor *tensor, const struct pending *pending)
{
    struct group *group = group_at(tensor, tensor->committed);
    if (group->count == group->room) {
        group->room = group->room * 2 + 8;
        group->products = xrealloc(group->products, (size_t)group->room * sizeof *group->products);
    }
    group->products[group->count++] = *pending;
    pending->accumulator->users++;
    flight_add(tensor, pending);
}

/* Descriptors and scale-d, the same in all lanes. */
static bool mma_operands(struct warp *warp, const struct op *op, struct pending *pending,
                         enum step *step)
{
    const struct wgmma *wgmma = op->extra;
    const uint32_t *slots = op->src + a_registers(op);
    const uint64_t *b = reg64(warp, slots[wgmma->a_in_registers ? 0 : 1]);
    const uint64_t *a = wgmma->a_in_registers ? b : reg64(warp, slots[0]);
    lanes accumulate = wgmma->always ? ALL_LANES : 0;
    if (wgmma->accumulate != SLOT_NONE) {
        accumulate = *pred(warp, wgmma->accumulate) ^ (wgmma->accumulate_negated ? ALL_LANES : 0);
    }
    bool same = accumulate == 0 || accumulate == ALL_LANES;
    for (int lane = 1; lane < LANES; lane++) {
        same = same && a[lane] == a[0] && b[lane] == b[0];
    }
    if (!same) {
        *step = finding_add(warp, op, FINDING_UNSUPPORTED, -1, 0, NULL,
                            "descriptors and scale-d must be the same in all lanes of a warp");
        return false;
    }
    pending->a = a[0];
    pending->b = b[0];
    pending->accumulate = accumulate != 0;
    return true;
}

static enum step mma_run(struct warp *warp, const struct op *op, lanes active)
{
    struct warp_tensor *tensor = state(warp);
    struct pending pending = {.op = op};
    bool found;
    enum step step = tensor_whole_warp(warp, op, active);
    if (step != STEP_NEXT || !mma_operands(warp, op, &pending, &step)) {
        return step;
    }
    pending.accumulator = accumulator_find(tensor, op, &found);
    const bool overlaps =
        (!found && slots_any(tensor, tensor->accumulating, op->dst, op->dst_count)) ||
        slots_any(tensor, tensor->feeding, op->dst, op->dst_count) ||
        slots_any(tensor, tensor->accumulating, op->src, a_registers(op));
    if (watches(warp) && (step = mma_check(warp, op, overlaps)) != STEP_NEXT) {
        return step;
    }
    /* Nothing defined can come of an overlap, nor of more in flight than a chip has room for. */
    if (overlaps || pending.accumulator == NULL ||
        group_at(tensor, tensor->committed)->count == PRODUCTS_MAX) {
        step = group_commit(warp);
        step = step == STEP_NEXT ? groups_force(warp, 0) : step;
        if (step != STEP_NEXT) {
            return step;
        }
        pending.accumulator = accumulator_find(tensor, op, &found);
    }
    if (!found) {
        step = pending.accumulate ? accumulators_known(warp, op) : STEP_NEXT;
        accumulator_take(warp, op, pending.accumulator, pending.accumulate);
    }
    pending_push(tensor, &pending);
    return step;
}

/* ---- decoding ---- */

/* "m64n128k16" and the types d, a, b. */
static bool mma_parse(const struct ptx_instruction *text, struct wgmma *wgmma)
{
    enum element types[3] = {ELEMENTS, ELEMENTS, ELEMENTS};
    int count = 0, n = 0, k = 0;
    for (int i = 2; i < text->part_count; i++) {
        const enum element type = element_named(text->parts[i]);
        if (type != ELEMENTS && count < 3) {
            types[count++] = type;
        } else if (strncmp(text->parts[i], "m64n", 4) == 0) {
            char *end;
            n = (int)strtol(text->parts[i] + 4, &end, 10);
            k = *end == 'k' ? atoi(end + 1) : 0;
        }
    }
    wgmma->d = types[0], wgmma->a = types[1], wgmma->b = types[2];
    wgmma->panels = n / 8;
    wgmma->depth = k;
    wgmma->saturate = instruction_has(text, "satfinite");
    if (count != 3 || n % 8 != 0 || n < 8 || n > WGMMA_COLUMNS_MAX || wgmma->a >= ELEMENT_F32 ||
        k != 32 / (int)element_bytes(wgmma->a)) {
        return false;
    }
    if (wgmma->a == ELEMENT_S8 || wgmma->a == ELEMENT_U8) {
        return (wgmma->b == ELEMENT_S8 || wgmma->b == ELEMENT_U8) && wgmma->d == ELEMENT_S32;
    }
    return wgmma->b == wgmma->a &&
           (wgmma->d == ELEMENT_F32 || (wgmma->d == ELEMENT_F16 && wgmma->a == ELEMENT_F16));
}

/* The immediates behind scale-d: signs of A and B, then major-ness, as far as the type has them. */
static bool mma_immediates(const struct ptx_instruction *text, struct wgmma *wgmma, struct err *err)
{
    const bool halves = element_bytes(wgmma->a) == 2, integers = wgmma->d == ELEMENT_S32;
    const int wanted = 4 + (integers ? 0 : 2) + (!halves ? 0 : wgmma->a_in_registers ? 1 : 2);
    int64_t values[4] = {1, 1, 0, 0};
    if (text->operand_count != wanted) {
        return tensor_unsupported(text, err, "another number of operands is needed");
    }
    for (int i = 4; i < wanted; i++) {
        if (text->operands[i].kind != PTX_OPERAND_INTEGER) {
            return tensor_unsupported(text, err, "an operand must be a number");
        }
        values[i - 4] = (int64_t)text->operands[i].bits;
        const bool scale = i < 6;
        if (scale ? (int32_t)values[i - 4] != 1 && (int32_t)values[i - 4] != -1
                  : values[i - 4] != 0 && values[i - 4] != 1) {
            return tensor_unsupported(text, err, "scales are 1 or -1, transpositions 0 or 1");
        }
    }
    wgmma->negate = (int32_t)values[0] != (int32_t)values[1];
    wgmma->a_across = !wgmma->a_in_registers && values[2] == 1;
    wgmma->b_across = values[wgmma->a_in_registers ? 2 : 3] == 1;
    return true;
}

static bool scale_decode(struct decoder *decoder, const struct ptx_instruction *text,
                         struct wgmma *wgmma, struct err *err)
{
    const struct ptx_operand *operand = &text->operands[3];
    wgmma->accumulate = SLOT_NONE;
    if (operand->kind == PTX_OPERAND_INTEGER) {
        wgmma->always = operand->bits != 0;
        return true;
    }
    wgmma->accumulate = decode_predicate(decoder, operand, &wgmma->accumulate_negated);
    return wgmma->accumulate != SLOT_NONE ||
           tensor_unsupported(text, err, "scale-d must be a predicate or a number");
}

static bool mma_async_decode(struct decoder *decoder, const struct ptx_instruction *text,
                             struct op *op, struct err *err)
{
    struct wgmma *wgmma = decode_alloc(decoder, sizeof *wgmma);
    uint32_t slots[PTX_VECTOR_MAX + 8], *next = slots;
    if (instruction_has(text, "sp") || !mma_parse(text, wgmma)) {
        return tensor_unsupported(text, err, "this shape with these types is not known");
    }
    if (text->operand_count < 4) {
        return tensor_unsupported(text, err, "it has too few operands");
    }
    wgmma->a_in_registers = text->operands[1].kind == PTX_OPERAND_VECTOR;
    const int registers = wgmma->panels * (wgmma->d == ELEMENT_F16 ? 2 : 4);
    int one;
    if (!mma_immediates(text, wgmma, err) ||
        !tensor_registers(decoder, text, 0, registers, &next, NULL, err)) {
        return false;
    }
    if (wgmma->a_in_registers) {
        if (!tensor_registers(decoder, text, 1, 4, &next, NULL, err)) {
            return false;
        }
    } else if (!decode_slots(decoder, &text->operands[1], PTX_B64, next++, 1, &one, err)) {
        return false;
    }
    if (!decode_slots(decoder, &text->operands[2], PTX_B64, next++, 1, &one, err) ||
        !scale_decode(decoder, text, wgmma, err)) {
        return false;
    }
    op->dst = tensor_keep(decoder, slots, (size_t)(next - slots));
    op->dst_count = (uint16_t)registers;
    op->src = op->dst + registers;
    op->src_count = (uint16_t)(next - slots - registers);
    op->mode = WGMMA_ROWS * wgmma->panels * 8 * wgmma->depth;
    op->extra = wgmma;
    op->run = mma_run;
    op->class = CLASS_TENSOR;
    op->convergent = true;
    return true;
}

bool wgmma_decode(struct decoder *decoder, const struct ptx_instruction *text, struct op *op,
                  struct err *err)
{
    static const struct {
        const char *name;
        op_function *run;
        bool number;
    } kinds[] = {{"fence", fence_run, false},
                 {"commit_group", commit_run, false},
                 {"wait_group", wait_run, true}};
    const char *what = text->part_count > 1 ? text->parts[1] : "";
    if (strcmp(what, "mma_async") == 0) {
        return mma_async_decode(decoder, text, op, err);
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(what, kinds[i].name) != 0) {
            continue;
        }
        const bool fits = text->operand_count == (kinds[i].number ? 1 : 0) &&
                          (!kinds[i].number || text->operands[0].kind == PTX_OPERAND_INTEGER);
        if (!fits) {
            return tensor_unsupported(text, err,
                                      "wait_group has one operand, a number; the others none");
        }
        if (kinds[i].number) {
            op->mode = (int32_t)(text->operands[0].bits < 64 ? text->operands[0].bits : 64);
        }
        op->run = kinds[i].run;
        op->class = CLASS_FENCE;
        op->convergent = true;
        return true;
    }
    return tensor_unsupported(text, err,
                              "only fence, mma_async, commit_group and wait_group are known");
}
