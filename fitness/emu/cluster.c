/*
 * cluster -- what blocks of a cluster share: barriers, addresses of each other's memory; and
 * fences.
 *
 * The cluster barrier: every thread that has not ended arrives, and later waits. Its state is that
 * of the block of rank 0; a wait that finds everybody there completes the barrier for all.
 */
#include "fitness/emu/async.h"
#include "fitness/emu/profile.h"

#include <stdio.h>

const char waits_cluster[] = "the barrier of the cluster";

/* ---- addresses ---- */

uint64_t shared_address(const struct warp *warp, const struct block *block, uint32_t offset)
{
    uint64_t window = block == warp->block ? 0 : 1 + (uint64_t)block->cluster_rank;

    return MEMORY_SHARED + window * MEMORY_SHARED_WINDOW + offset;
}

bool block_ended(const struct block *block)
{
    for (int i = 0; i < block->warp_count; i++) {
        if (block->warps[i].alive != 0) {
            return false;
        }
    }
    return true;
}

/* The block whose shared memory a generic address lies in; NULL: none. */
static struct block *address_block(const struct warp *warp, uint64_t address, uint32_t *offset)
{
    struct block *block = warp->block;
    uint64_t window = (address - MEMORY_SHARED) / MEMORY_SHARED_WINDOW;

    *offset = (uint32_t)((address - MEMORY_SHARED) % MEMORY_SHARED_WINDOW);
    if (address < MEMORY_SHARED || window > block->cluster_size) {
        return NULL;
    }
    return window == 0 ? block : block->cluster[window - 1];
}

struct block *place_shared(struct warp *warp, const struct op *op, int lane, int place,
                           uint32_t *offset, enum step *step)
{
    const struct async_operands *operands = operands_of(op);
    uint64_t address = place_address(warp, operands->places[place], lane);
    struct block *block = address_block(
        warp, operands->generic ? address : MEMORY_SHARED + (address & UINT32_MAX), offset);

    if (block == NULL || (uint64_t)*offset + 8 > (uint64_t)block->shared_bytes) {
        *step = finding_add(warp, op, FINDING_OUT_OF_BOUNDS, lane, address, NULL,
                            "0x%llx is not in the shared memory of a block of the cluster",
                            (unsigned long long)address);
        return NULL;
    }
    if (block != warp->block && block_ended(block)) {
        *step =
            finding_add(warp, op, FINDING_OUT_OF_BOUNDS, lane, address, NULL,
                        "%s of the cluster's block %u is used after that block has ended",
                        memory_shared_text(warp->machine, *offset).text, block->cluster_rank);
        return NULL;
    }
    return block;
}

enum step check_aligned(struct warp *warp, const struct op *op, int lane, uint64_t address,
                        uint32_t alignment, const char *what)
{
    if (address % alignment == 0) {
        return STEP_NEXT;
    }
    return finding_add(warp, op, FINDING_MISALIGNED, lane, address, NULL,
                       "the address of the %s, 0x%llx, is not a multiple of %u", what,
                       (unsigned long long)address, alignment);
}

enum step mapa_run(struct warp *warp, const struct op *op, lanes active)
{
    const struct async_operands *operands = operands_of(op);

    FOR_LANES(lane, active)
    {
        uint32_t rank = reg32(warp, operands->values[1])[lane], offset;
        uint64_t address = operands->wide ? reg64(warp, operands->values[0])[lane]
                                          : reg32(warp, operands->values[0])[lane];
        uint64_t base = operands->generic ? MEMORY_SHARED : 0;

        if (rank >= warp->block->cluster_size ||
            address_block(warp, address - base + MEMORY_SHARED, &offset) == NULL) {
            enum step step =
                finding_add(warp, op, FINDING_OUT_OF_BOUNDS, lane, address, NULL,
                            "0x%llx has no counterpart in block %u of a cluster of %u",
                            (unsigned long long)address, rank, warp->block->cluster_size);
            if (step == STEP_FAULT) {
                return step;
            }
            continue;
        }
        address = base + (1 + (uint64_t)rank) * MEMORY_SHARED_WINDOW + offset;
        if (operands->wide) {
            reg64(warp, op->dst[0])[lane] = address;
        } else {
            reg32(warp, op->dst[0])[lane] = (uint32_t)address;
        }
    }
    return STEP_NEXT;
}

enum step ctarank_run(struct warp *warp, const struct op *op, lanes active)
{
    const struct async_operands *operands = operands_of(op);

    FOR_LANES(lane, active)
    {
        uint64_t address = operands->wide ? reg64(warp, operands->values[0])[lane]
                                          : reg32(warp, operands->values[0])[lane];
        uint32_t offset;
        struct block *block =
            address_block(warp, operands->generic ? address : MEMORY_SHARED + address, &offset);

        if (block == NULL) {
            enum step step = finding_add(warp, op, FINDING_OUT_OF_BOUNDS, lane, address, NULL,
                                         "0x%llx is not in the shared memory of the cluster",
                                         (unsigned long long)address);
            if (step == STEP_FAULT) {
                return step;
            }
        }
        reg32(warp, op->dst[0])[lane] = block == NULL ? 0 : block->cluster_rank;
    }
    return STEP_NEXT;
}

/* ---- the cluster barrier ---- */

enum step cluster_arrive_run(struct warp *warp, const struct op *op, lanes active)
{
    struct block_async *own = warp->block->async, *cluster = cluster_async(warp->block);
    lanes twice = active & own->cluster_owes_wait[warp->index];
    uint32_t generation = cluster->cluster_generation;

    if (twice != 0) {
        enum step step = finding_add(warp, op, FINDING_BARRIER, __builtin_ctz(twice), 0, NULL,
                                     "arrives at the cluster barrier again without having waited");
        if (step == STEP_FAULT) {
            return step;
        }
    }
    if (!(op->mode & MODE_RELAXED)) {
        memory_release(warp, active, &cluster->cluster_clocks[generation & 1]);
    } else { /* what fence.mbarrier_init has let out goes with it */
        memory_clock_join(warp->block, &cluster->cluster_clocks[generation & 1],
                          warp->async->init_fence);
    }
    uint64_t time = profile_comes(warp, 1), *came = &cluster->cluster_came[generation & 1];
    *came = time > *came ? time : *came;
    own->cluster_arrived[warp->index] |= active;
    own->cluster_owes_wait[warp->index] |= active;
    FOR_LANES(lane, active) { own->cluster_arrival[warp->index][lane] = generation; }
    async_event(warp->block);
    return STEP_NEXT;
}

/* A warp with lanes that have not arrived; NULL: all have. */
static const struct warp *cluster_missing(const struct block *block)
{
    for (uint32_t rank = 0; rank < block->cluster_size; rank++) {
        const struct block *other = block->cluster[rank];

        for (int i = 0; i < other->warp_count; i++) {
            if ((other->warps[i].alive & ~other->async->cluster_arrived[i]) != 0) {
                return &other->warps[i];
            }
        }
    }
    return NULL;
}

static void cluster_complete(struct block *block)
{
    for (uint32_t rank = 0; rank < block->cluster_size; rank++) {
        for (int i = 0; i < WARPS_MAX; i++) {
            block->cluster[rank]->async->cluster_arrived[i] = 0;
        }
    }
    struct block_async *cluster = cluster_async(block);
    cluster->cluster_came[++cluster->cluster_generation & 1] = 0;
    async_event(block);
}

enum step cluster_wait_run(struct warp *warp, const struct op *op, lanes active)
{
    struct block_async *own = warp->block->async, *cluster = cluster_async(warp->block);
    lanes never = active & ~own->cluster_owes_wait[warp->index];
    lanes waiting = active & ~never;

    if (never != 0) {
        enum step step = finding_add(warp, op, FINDING_BARRIER, __builtin_ctz(never), 0, NULL,
                                     "waits at the cluster barrier without having arrived");
        if (step == STEP_FAULT || waiting == 0) {
            return step;
        }
    }
    uint32_t generation = own->cluster_arrival[warp->index][__builtin_ctz(waiting)];
    if (generation == cluster->cluster_generation) {
        if (cluster_missing(warp->block) != NULL) {
            warp->waits = waits_cluster;
            return STEP_WAIT;
        }
        cluster_complete(warp->block);
    }
    own->cluster_owes_wait[warp->index] &= ~waiting;
    profile_waits_for(warp, cluster->cluster_came[generation & 1] +
                                profile_latency(warp->block, LATENCY_CLUSTER));
    if (cluster->cluster_clocks[generation & 1] != NULL) {
        memory_acquire(warp, waiting, cluster->cluster_clocks[generation & 1]);
    }
    return STEP_NEXT;
}

void cluster_waits_text(const struct warp *warp, char text[160])
{
    const struct warp *missing = cluster_missing(warp->block);

    if (missing == NULL) {
        snprintf(text, 160, "for nobody at the barrier of the cluster");
    } else {
        snprintf(text, 160, "for warp %d of the cluster's block %u at the barrier of the cluster",
                 missing->index, missing->block->cluster_rank);
    }
}

/* ---- fences ---- */

/*
 * fence.proxy.async: what its thread has done and seen is shown to the asynchronous proxy, so it
 * may stand behind the barrier that brought the news. The form for global memory alone shows no
 * mbarrier.
 */
enum step fence_proxy_run(struct warp *warp, const struct op *op, lanes active)
{
    memory_proxy_fence(warp, active);
    if (!(op->mode & FENCE_GLOBAL)) {
        mbarriers_fenced(warp, active, true);
    }
    return STEP_NEXT;
}

enum step fence_mbarrier_run(struct warp *warp, const struct op *op, lanes active)
{
    (void)op;
    memory_release(warp, active, &warp->async->init_fence);
    mbarriers_fenced(warp, active, false);
    return STEP_NEXT;
}

/* Prefetches, and fences for what this machine does at once. */
enum step nothing_run(struct warp *warp, const struct op *op, lanes active)
{
    (void)warp, (void)op, (void)active;
    return STEP_NEXT;
}
