/*
 * async -- cp.async, and the queue of all asynchronous work (see async.h).
 *
 * cp.async: each thread has its own groups. A batch is one instruction of a warp; its lanes land
 * one by one, each when its thread waits for the lane's group (or an mbarrier waits for it).
 */
#include "fitness/emu/async.h"
#include "fitness/emu/profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the queue ---- */

struct work *work_new(struct warp *warp, const struct op *op, int lane, enum work_kind kind)
{
    struct work *work = xcalloc(1, sizeof(*work));

    work->kind = kind;
    work->op = op;
    work->warp = warp;
    work->lane = lane;
    work->block = warp->block;
    return work;
}

void work_free(struct work *work)
{
    free(work->data);
    free(work->segments);
    free(work);
}

/* Lands a piece, whatever it is. */
static void work_land(struct block *block, struct work **link)
{
    struct work *work = *link;

    work_unlink(block, link);
    switch (work->kind) {
    case WORK_LOAD: bulk_load_land(work); break;
    case WORK_STORE: bulk_store_write(work); break;
    case WORK_ARRIVE:
        copies_land_before(work->warp, work->lane, work->sequence);
        mbarrier_arrive_late(work);
        break;
    }
    work_free(work);
}

void work_queue(struct block *block, struct work *work)
{
    struct block_async *async = block->async;

    while (async->work_count >= WORK_MAX || async->segment_count >= SEGMENTS_MAX) {
        work_land(block, &async->queue);
    }
    *async->queue_end = work;
    async->queue_end = &work->next;
    async->work_count++;
    async->segment_count += work->segment_count;
}

void work_unlink(struct block *block, struct work **link)
{
    struct work *work = *link;

    *link = work->next;
    if (work->next == NULL) {
        block->async->queue_end = link;
    }
    block->async->work_count--;
    block->async->segment_count -= work->segment_count;
}

/* Lands the oldest piece that an mbarrier counts; a store's own thread waits for it, or nobody. */
static bool queue_advance(struct block *block)
{
    for (struct work **link = &block->async->queue; *link != NULL; link = &(*link)->next) {
        if ((*link)->kind != WORK_STORE) {
            work_land(block, link);
            return true;
        }
    }
    return false;
}

bool async_advance(struct block *block)
{
    if (queue_advance(block)) {
        return true;
    }
    for (uint32_t rank = 0; rank < block->cluster_size; rank++) {
        if (queue_advance(block->cluster[rank])) {
            return true;
        }
    }
    return mbarrier_polls_fail(block);
}

const char *async_waits_text(const struct warp *warp, char text[160])
{
    if (warp->waits == waits_mbarrier) {
        mbarrier_waits_text(warp, text);
    } else if (warp->waits == waits_cluster) {
        cluster_waits_text(warp, text);
    } else {
        snprintf(text, 160, "for %s", warp->waits == NULL ? "nothing" : warp->waits);
    }
    return text;
}

/* ---- lives ---- */

void async_block_begin(struct block *block)
{
    struct block_async *async = xcalloc(1, sizeof(*async));

    async->queue_end = &async->queue;
    for (int i = 0; i < WARPS_MAX; i++) {
        async->warps[i].batches_end = &async->warps[i].batches;
    }
    block->async = async;
}

/* A block that came to its end: what nobody waited for may still touch memory that is not its own
 * any more. */
static void work_abandoned(struct work *work)
{
    bool told = (work->warp->machine->launch->sanitize & SANITIZE_ASYNC) != 0;

    if (work->kind == WORK_LOAD && told) {
        finding_add(work->warp, work->op, FINDING_IN_FLIGHT, work->lane, work->offset, NULL,
                    "the block ends while this copy still writes its shared memory: nobody has "
                    "waited for the mbarrier at %s",
                    memory_shared_text(work->block->machine, work->barrier).text);
    } else if (work->kind == WORK_STORE) {
        if (!work->read && told) {
            finding_add(work->warp, work->op, FINDING_IN_FLIGHT, work->lane, work->offset, NULL,
                        "the block ends while this copy still reads its shared memory: its thread "
                        "has not waited for it (cp.async.bulk.wait_group)");
        }
        bulk_store_write(work);
    }
}

/* False: the run was stopped, so nothing can be said of what was not done. */
static bool cluster_ended(const struct block *block)
{
    for (uint32_t rank = 0; rank < block->cluster_size; rank++) {
        if (!block_ended(block->cluster[rank])) {
            return false;
        }
    }
    return true;
}

void async_block_end(struct block *block)
{
    struct block_async *async = block->async;
    bool whole = cluster_ended(block);

    for (struct work *work = async->queue, *next; work != NULL; work = next) {
        next = work->next;
        if (whole) {
            work_abandoned(work);
        }
        work_free(work);
    }
    for (int i = 0; i < WARPS_MAX; i++) {
        *async->warps[i].batches_end = async->free_batches;
        async->free_batches = async->warps[i].batches;
        free(async->warps[i].polls);
    }
    for (struct batch *batch = async->free_batches, *next; batch != NULL; batch = next) {
        next = batch->next;
        free(batch);
    }
    free(async->mbarriers);
    free(async);
    block->async = NULL;
}

void async_warp_begin(struct warp *warp) { warp->async = &warp->block->async->warps[warp->index]; }

/* What it has started goes on without it; the block keeps the rest. */
void async_warp_end(struct warp *warp) { (void)warp; }

/* ---- cp.async ---- */

static struct batch *batch_new(struct warp *warp, const struct op *op)
{
    struct block_async *async = warp->block->async;
    struct batch *batch = async->free_batches;

    if (batch != NULL) {
        async->free_batches = batch->next;
    } else {
        batch = xmalloc(sizeof(*batch));
    }
    batch->next = NULL;
    batch->op = op;
    batch->pending = batch->taken = 0;
    batch->sequence = async->batch_sequence++;
    *warp->async->batches_end = batch;
    warp->async->batches_end = &batch->next;
    warp->async->batch_count++;
    return batch;
}

/* How many bytes the lane takes from the source. */
static enum step copy_source_bytes(struct warp *warp, const struct op *op, int lane,
                                   uint32_t *bytes)
{
    const struct async_operands *operands = operands_of(op);

    *bytes = op->bytes;
    if (operands->predicate != SLOT_NONE) {
        bool ignored = *pred(warp, operands->predicate) >> lane & 1;

        *bytes = ignored != operands->predicate_negated ? 0 : op->bytes;
    } else if (operands->value_count > 0) {
        *bytes = reg32(warp, operands->values[0])[lane];
    }
    if (*bytes > op->bytes) {
        enum step step = finding_add(warp, op, FINDING_OUT_OF_BOUNDS, lane, *bytes, NULL,
                                     "cp.async takes %u bytes from the source, more than the %u it "
                                     "copies",
                                     *bytes, op->bytes);
        *bytes = op->bytes;
        return step;
    }
    return STEP_NEXT;
}

static enum step copy_begin(struct warp *warp, const struct op *op, int lane, struct batch *batch)
{
    const struct async_operands *operands = operands_of(op);
    uint64_t to = MEMORY_SHARED + (place_address(warp, operands->places[0], lane) & UINT32_MAX);
    uint64_t from = place_address(warp, operands->places[1], lane);
    uint32_t bytes;
    enum step step = copy_source_bytes(warp, op, lane, &bytes);

    if (step == STEP_FAULT ||
        (step = check_aligned(warp, op, lane, to, op->bytes, "destination")) == STEP_FAULT ||
        (step = check_aligned(warp, op, lane, from, op->bytes, "source")) == STEP_FAULT) {
        return step;
    }
    if (to % op->bytes != 0 || from % op->bytes != 0) {
        return STEP_NEXT;
    }
    const uint8_t *source = bytes == 0 ? NULL
                                       : memory_span(warp, op, lane, from, SPACE_GLOBAL, bytes,
                                                     false, PROXY_GENERIC, &step);
    if (bytes != 0 && source == NULL) {
        return step;
    }
    uint8_t *host =
        memory_span(warp, op, lane, to, SPACE_GENERIC, op->bytes, true, PROXY_GENERIC, &step);
    if (host == NULL) {
        return step;
    }
    memory_flight_begin(warp, op, lane, to, SPACE_GENERIC, op->bytes, true, PROXY_GENERIC);
    batch->pending |= UINT32_C(1) << lane;
    batch->taken |= bytes != 0 ? UINT32_C(1) << lane : 0;
    batch->source[lane] = from;
    batch->group[lane] = warp->async->copy_groups[lane];
    batch->to[lane] = to;
    batch->to_host[lane] = host;
    batch->from[lane] = source;
    batch->bytes[lane] = (uint8_t)bytes;
    return STEP_NEXT;
}

static void copy_land(struct warp *warp, struct batch *batch, int lane)
{
    const struct op *op = batch->op;
    uint32_t bytes = batch->bytes[lane];

    batch->pending &= ~(UINT32_C(1) << lane);
    if (bytes != 0) {
        memcpy(batch->to_host[lane], batch->from[lane], bytes);
    }
    memset(batch->to_host[lane] + bytes, 0, op->bytes - bytes);
    memory_flight_land(warp, op, lane, batch->to[lane], SPACE_GENERIC, op->bytes, true,
                       PROXY_GENERIC, NULL);
}

/* Lets go of batches that have landed. */
static void batches_sweep(struct warp *warp)
{
    struct block_async *async = warp->block->async;
    struct batch **link = &warp->async->batches;

    while (*link != NULL) {
        struct batch *batch = *link;

        if (batch->pending != 0) {
            link = &batch->next;
            continue;
        }
        *link = batch->next;
        batch->next = async->free_batches;
        async->free_batches = batch;
        warp->async->batch_count--;
    }
    warp->async->batches_end = link;
}

enum step copy_run(struct warp *warp, const struct op *op, lanes active)
{
    if (warp->async->batch_count >= BATCHES_MAX) {
        FOR_LANES(lane, warp->async->batches->pending)
        {
            copy_land(warp, warp->async->batches, lane);
        }
        batches_sweep(warp);
    }
    struct batch *batch = batch_new(warp, op);

    FOR_LANES(lane, active)
    {
        if (copy_begin(warp, op, lane, batch) == STEP_FAULT) {
            return STEP_FAULT;
        }
    }
    profile_access(warp, op, batch->taken, batch->source, SPACE_GLOBAL, op->bytes, false);
    profile_access(warp, op, batch->pending, batch->to, SPACE_GENERIC, op->bytes, true);
    return STEP_NEXT;
}

void copies_land_before(struct warp *warp, int lane, uint64_t sequence)
{
    struct warp_async *async = &warp->block->async->warps[warp->index];

    for (struct batch *batch = async->batches; batch != NULL && batch->sequence < sequence;
         batch = batch->next) {
        if (batch->pending >> lane & 1) {
            copy_land(warp, batch, lane);
        }
    }
    batches_sweep(warp);
}

enum step copy_commit_run(struct warp *warp, const struct op *op, lanes active)
{
    (void)op;
    FOR_LANES(lane, active) { warp->async->copy_groups[lane]++; }
    return STEP_NEXT;
}

/* Lands each lane's groups but the last op->immediate. */
enum step copy_wait_run(struct warp *warp, const struct op *op, lanes active)
{
    const uint32_t *committed = warp->async->copy_groups;

    for (struct batch *batch = warp->async->batches; batch != NULL; batch = batch->next) {
        FOR_LANES(lane, batch->pending & active)
        {
            if (batch->group[lane] + (uint64_t)op->immediate < committed[lane]) {
                copy_land(warp, batch, lane);
            }
        }
    }
    batches_sweep(warp);
    return STEP_NEXT;
}

enum step copy_wait_all_run(struct warp *warp, const struct op *op, lanes active)
{
    copy_commit_run(warp, op, active);
    return copy_wait_run(warp, op, active); /* op->immediate is 0 */
}

enum step copy_arrive_run(struct warp *warp, const struct op *op, lanes active)
{
    FOR_LANES(lane, active)
    {
        enum step step = STEP_NEXT;
        struct block *block;
        struct mbarrier *barrier = mbarrier_named(warp, op, lane, 0, &block, &step);

        if (barrier != NULL && !(op->mode & ARRIVE_NO_INCREMENT)) {
            step = mbarrier_await_one_more(warp, op, lane, block, barrier);
        }
        if (barrier == NULL || step == STEP_FAULT) {
            if (step == STEP_FAULT) {
                return step;
            }
            continue;
        }
        struct work *work = work_new(warp, op, lane, WORK_ARRIVE);

        work->lands = profile_copied(warp);
        work->block = block;
        work->barrier = barrier->offset;
        work->sequence = warp->block->async->batch_sequence;
        work_queue(block, work);
    }
    return STEP_NEXT;
}
