/*
 * mbarrier -- barriers in shared memory that count arrivals and bytes.
 *
 * A phase ends when no arrival is pending and the tx-count is zero; the next one then expects
 * `expected` arrivals. A wait names the phase it waits for by a token (from an arrival) or by its
 * parity; the barrier knows only whether the phase of that parity is the running one, so a wait for
 * the wrong parity passes at once or never, as on the hardware. Order (memory.h): an arrival
 * releases into the running phase, and a wait takes over what the phases that have ended released.
 *
 * The token: pending arrivals before this one in the low 32 bits, the phase in the high ones.
 */
#include "fitness/emu/async.h"
#include "fitness/emu/profile.h"

#include <stdio.h>
#include <string.h>

const char waits_mbarrier[] = "the phase of an mbarrier";

/* ---- the object ---- */

/* Bit 62 is always set: memory that was never an mbarrier, or was cleared, is none. */
static uint64_t barrier_word(const struct mbarrier *barrier)
{
    return (uint64_t)(barrier->phase & 1) << 63 | UINT64_C(1) << 62 |
           (uint64_t)(uint32_t)(barrier->tx + MBARRIER_COUNT_MAX + 1) << 40 |
           (uint64_t)barrier->expected << 20 | barrier->pending;
}

struct mbarrier *mbarrier_find(struct block *block, uint32_t offset)
{
    struct block_async *async = block->async;

    for (int i = 0; i < async->mbarrier_count; i++) {
        if (async->mbarriers[i].offset == offset) {
            return &async->mbarriers[i];
        }
    }
    return NULL;
}

static struct mbarrier *barrier_add(struct block *block, uint32_t offset)
{
    struct block_async *async = block->async;

    if (async->mbarrier_count == async->mbarrier_room) {
        async->mbarrier_room = async->mbarrier_room == 0 ? 16 : 2 * async->mbarrier_room;
        async->mbarriers =
            xrealloc(async->mbarriers, (size_t)async->mbarrier_room * sizeof(*async->mbarriers));
    }
    struct mbarrier *barrier = &async->mbarriers[async->mbarrier_count++];
    *barrier = (struct mbarrier){.offset = offset};
    return barrier;
}

/* The mbarrier, if there is one and it is intact; NULL after a finding. */
static struct mbarrier *barrier_intact(struct warp *warp, const struct op *op, int lane,
                                       struct block *block, uint32_t offset, enum step *step)
{
    struct mbarrier *barrier = mbarrier_find(block, offset);

    if (barrier == NULL) {
        *step = finding_add(warp, op, FINDING_BARRIER, lane, offset, NULL,
                            "there is no mbarrier at %s: it was not initialised",
                            memory_shared_text(warp->machine, offset).text);
        return NULL;
    }
    if (memcmp(block->shared + offset, &barrier->word, sizeof(barrier->word)) != 0) {
        memcpy(block->shared + offset, &barrier->word, sizeof(barrier->word)); /* told once */
        *step = finding_add(warp, op, FINDING_BARRIER, lane, offset, NULL,
                            "the mbarrier at %s was overwritten by other accesses",
                            memory_shared_text(warp->machine, offset).text);
        return NULL;
    }
    return barrier;
}

/* After every change: ends the phase if it is over, and lets waiting warps look again. */
static void barrier_changed(struct block *block, struct mbarrier *barrier)
{
    if (barrier->pending == 0 && barrier->tx == 0) {
        memory_clock_join(block, &barrier->ended, barrier->running);
        barrier->over[barrier->phase & 1] =
            barrier->came + profile_latency(block, LATENCY_MBARRIER);
        barrier->came = 0;
        barrier->phase++;
        barrier->pending = barrier->expected;
    }
    barrier->word = barrier_word(barrier);
    memcpy(block->shared + barrier->offset, &barrier->word, sizeof(barrier->word));
    async_event(block);
}

/* The mbarrier at an aligned place, not yet used as far as memory knows; NULL after a finding. */
static struct mbarrier *barrier_seen(struct warp *warp, const struct op *op, int lane,
                                     struct block *block, uint32_t offset, enum step *step)
{
    *step = check_aligned(warp, op, lane, offset, 8, "mbarrier");
    if (*step != STEP_NEXT || offset % 8 != 0) {
        return NULL;
    }
    return barrier_intact(warp, op, lane, block, offset, step);
}

/*
 * For the shadow a use is a read: all of them come behind the initialisation, and before the place
 * becomes something else; among themselves they need no order.
 */
static enum step barrier_touch(struct warp *warp, const struct op *op, int lane,
                               const struct block *block, uint32_t offset)
{
    enum step step;

    memory_span(warp, op, lane, shared_address(warp, block, offset), SPACE_GENERIC,
                sizeof(uint64_t), false, PROXY_GENERIC, &step);
    return step;
}

struct mbarrier *mbarrier_at(struct warp *warp, const struct op *op, int lane, struct block *block,
                             uint32_t offset, enum step *step)
{
    struct mbarrier *barrier = barrier_seen(warp, op, lane, block, offset, step);

    if (barrier != NULL) {
        *step = barrier_touch(warp, op, lane, block, offset);
    }
    return *step == STEP_NEXT ? barrier : NULL;
}

struct mbarrier *mbarrier_named(struct warp *warp, const struct op *op, int lane, int place,
                                struct block **block, enum step *step)
{
    uint32_t offset;

    *block = place_shared(warp, op, lane, place, &offset, step);
    return *block == NULL ? NULL : mbarrier_at(warp, op, lane, *block, offset, step);
}

/* ---- changes ---- */

static enum step change_tx(struct warp *warp, const struct op *op, int lane,
                           struct mbarrier *barrier, int64_t bytes)
{
    int64_t tx = barrier->tx + bytes;

    if (tx > MBARRIER_COUNT_MAX || tx < -MBARRIER_COUNT_MAX) {
        return finding_add(
            warp, op, FINDING_BARRIER, lane, barrier->offset, NULL,
            "the tx-count of the mbarrier at %s would be %lld; its limits are %d and %d",
            memory_shared_text(warp->machine, barrier->offset).text, (long long)tx,
            -MBARRIER_COUNT_MAX, MBARRIER_COUNT_MAX);
    }
    barrier->tx = (int32_t)tx;
    return STEP_NEXT;
}

/* Somebody comes, or something lands, at this time of the profile's. */
static void comes(struct mbarrier *barrier, uint64_t time)
{
    barrier->came = time > barrier->came ? time : barrier->came;
}

static enum step change_pending(struct warp *warp, const struct op *op, int lane,
                                struct mbarrier *barrier, uint32_t count)
{
    enum step step = STEP_NEXT;

    if (count == 0 || count > barrier->pending) {
        step = finding_add(warp, op, FINDING_BARRIER, lane, barrier->offset, NULL,
                           "phase %u of the mbarrier at %s still waits for %u arrivals, and %u "
                           "come",
                           barrier->phase, memory_shared_text(warp->machine, barrier->offset).text,
                           barrier->pending, count);
        count = barrier->pending;
    } else if ((op->mode & ARRIVE_NO_COMPLETE) && count == barrier->pending) {
        step =
            finding_add(warp, op, FINDING_BARRIER, lane, barrier->offset, NULL,
                        "an arrival that is said not to complete the phase completes it: mbarrier "
                        "at %s, phase %u",
                        memory_shared_text(warp->machine, barrier->offset).text, barrier->phase);
    }
    barrier->pending -= count;
    if (op->mode & ARRIVE_DROP) {
        barrier->expected -= count;
    }
    return step;
}

enum step mbarrier_await_one_more(struct warp *warp, const struct op *op, int lane,
                                  struct block *block, struct mbarrier *barrier)
{
    if (barrier->pending == MBARRIER_COUNT_MAX) {
        return finding_add(warp, op, FINDING_BARRIER, lane, barrier->offset, NULL,
                           "too many arrivals are pending on the mbarrier at %s",
                           memory_shared_text(warp->machine, barrier->offset).text);
    }
    barrier->pending++;
    barrier_changed(block, barrier);
    return STEP_NEXT;
}

enum step mbarrier_arrive_late(const struct work *work)
{
    enum step step = STEP_NEXT;
    struct mbarrier *barrier =
        barrier_intact(work->warp, work->op, work->lane, work->block, work->barrier, &step);

    if (barrier == NULL) {
        return step;
    }
    memory_release(work->warp, UINT32_C(1) << work->lane, &barrier->running);
    comes(barrier, work->lands);
    step = change_pending(work->warp, work->op, work->lane, barrier, 1);
    barrier_changed(work->block, barrier);
    return step;
}

enum step mbarrier_complete_late(const struct work *work)
{
    enum step step = STEP_NEXT;
    struct mbarrier *barrier =
        barrier_intact(work->warp, work->op, work->lane, work->block, work->barrier, &step);

    if (barrier == NULL) {
        return step;
    }
    if (barrier->phase != work->phase) {
        step = finding_add(
            work->warp, work->op, FINDING_BARRIER, work->lane, work->barrier, NULL,
            "the copy was started in phase %u of the mbarrier at %s, which "
            "ended before its %u bytes arrived: fewer bytes were expected than copied",
            work->phase, memory_shared_text(work->warp->machine, work->barrier).text, work->bytes);
    }
    comes(barrier, work->lands);
    if (step != STEP_FAULT) {
        step = change_tx(work->warp, work->op, work->lane, barrier, -(int64_t)work->bytes);
    }
    barrier_changed(work->block, barrier);
    return step;
}

/* ---- instructions ---- */

enum step mbarrier_init_run(struct warp *warp, const struct op *op, lanes active)
{
    const struct async_operands *operands = operands_of(op);

    FOR_LANES(lane, active)
    {
        enum step step = STEP_NEXT;
        uint32_t offset, count = reg32(warp, operands->values[0])[lane];
        struct block *block = place_shared(warp, op, lane, 0, &offset, &step);

        if (block != NULL) {
            step = check_aligned(warp, op, lane, offset, 8, "mbarrier");
        }
        if (step == STEP_FAULT) {
            return step;
        }
        if (block == NULL || offset % 8 != 0 ||
            memory_span(warp, op, lane, shared_address(warp, block, offset), SPACE_GENERIC, 8, true,
                        PROXY_GENERIC, &step) == NULL) {
            continue;
        }
        if (count == 0 || count > MBARRIER_COUNT_MAX) {
            step = finding_add(warp, op, FINDING_BARRIER, lane, offset, NULL,
                               "an mbarrier expects 1 to %d arrivals, not %u", MBARRIER_COUNT_MAX,
                               count);
            count = 1;
        }
        struct mbarrier *barrier = mbarrier_find(block, offset);
        if (barrier != NULL && step != STEP_FAULT) {
            step = finding_add(warp, op, FINDING_BARRIER, lane, offset, NULL,
                               "the mbarrier at %s is initialised a second time",
                               memory_shared_text(warp->machine, offset).text);
        } else if (barrier == NULL) {
            barrier = barrier_add(block, offset);
        }
        *barrier = (struct mbarrier){.offset = offset,
                                     .expected = count,
                                     .pending = count,
                                     .maker = warp,
                                     .maker_lane = lane};
        barrier_changed(block, barrier);
        if (step == STEP_FAULT) {
            return step;
        }
    }
    return STEP_NEXT;
}

enum step mbarrier_inval_run(struct warp *warp, const struct op *op, lanes active)
{
    FOR_LANES(lane, active)
    {
        enum step step = STEP_NEXT;
        struct block *block;
        struct mbarrier *barrier = mbarrier_named(warp, op, lane, 0, &block, &step);

        if (barrier != NULL) {
            uint8_t *host =
                memory_span(warp, op, lane, shared_address(warp, block, barrier->offset),
                            SPACE_GENERIC, 8, true, PROXY_GENERIC, &step);
            if (host != NULL) {
                memset(host, 0, 8);
            }
            *barrier = block->async->mbarriers[--block->async->mbarrier_count];
            async_event(block);
        }
        if (step == STEP_FAULT) {
            return step;
        }
    }
    return STEP_NEXT;
}

static enum step tx_run(struct warp *warp, const struct op *op, lanes active, int sign)
{
    const struct async_operands *operands = operands_of(op);

    FOR_LANES(lane, active)
    {
        enum step step = STEP_NEXT;
        struct block *block;
        struct mbarrier *barrier = mbarrier_named(warp, op, lane, 0, &block, &step);

        if (barrier != NULL) {
            step = change_tx(warp, op, lane, barrier,
                             sign * (int64_t)reg32(warp, operands->values[0])[lane]);
            barrier_changed(block, barrier);
        }
        if (step == STEP_FAULT) {
            return step;
        }
    }
    return STEP_NEXT;
}

enum step mbarrier_expect_run(struct warp *warp, const struct op *op, lanes active)
{
    return tx_run(warp, op, active, 1);
}

enum step mbarrier_complete_run(struct warp *warp, const struct op *op, lanes active)
{
    return tx_run(warp, op, active, -1);
}

/* One lane arrives: expect-tx first, then the arrival, as one step. */
static enum step arrive(struct warp *warp, const struct op *op, int lane, struct block *block,
                        struct mbarrier *barrier, uint64_t time)
{
    const struct async_operands *operands = operands_of(op);
    uint32_t value = operands->value_count > 0 ? reg32(warp, operands->values[0])[lane] : 1;
    uint64_t token = (uint64_t)barrier->phase << 32 | barrier->pending;
    enum step step = STEP_NEXT;

    if (!(op->mode & MODE_RELAXED)) {
        memory_release(warp, UINT32_C(1) << lane, &barrier->running);
    }
    comes(barrier, time + (block != warp->block ? profile_latency(block, LATENCY_REMOTE) : 0));
    if (op->mode & ARRIVE_EXPECT) {
        step = change_tx(warp, op, lane, barrier, value);
        value = 1;
    }
    if (step != STEP_FAULT) {
        step = change_pending(warp, op, lane, barrier, value);
    }
    barrier_changed(block, barrier);
    if (op->dst_count > 0) {
        reg64(warp, op->dst[0])[lane] = token;
    }
    return step;
}

enum step mbarrier_arrive_run(struct warp *warp, const struct op *op, lanes active)
{
    uint64_t time = profile_comes(warp, __builtin_popcount(active));

    FOR_LANES(lane, active)
    {
        enum step step = STEP_NEXT;
        struct block *block;
        struct mbarrier *barrier = mbarrier_named(warp, op, lane, 0, &block, &step);

        if (barrier != NULL) {
            step = arrive(warp, op, lane, block, barrier, time);
        }
        if (step == STEP_FAULT) {
            return step;
        }
    }
    return STEP_NEXT;
}

enum step mbarrier_pending_run(struct warp *warp, const struct op *op, lanes active)
{
    const struct async_operands *operands = operands_of(op);

    FOR_LANES(lane, active)
    {
        reg32(warp, op->dst[0])[lane] = (uint32_t)reg64(warp, operands->values[0])[lane];
    }
    return STEP_NEXT;
}

/* ---- waiting ---- */

static struct poll *poll_of(struct warp *warp, const struct op *op)
{
    struct warp_async *async = warp->async;

    for (int i = 0; i < async->poll_count; i++) {
        if (async->polls[i].op == op) {
            return &async->polls[i];
        }
    }
    async->polls = xrealloc(async->polls, (size_t)(async->poll_count + 1) * sizeof(*async->polls));
    async->polls[async->poll_count] = (struct poll){.op = op};
    return &async->polls[async->poll_count++];
}

/*
 * No lane's phase is over. try_wait suspends the thread, but not for ever, and test_wait not at
 * all: a program may look, go on and come back, and what it does then may be what ends the phase.
 * So both wait here like a barrier, and are sent on with false when nothing else can run. They are
 * stuck when that has happened POLLS_MAX times and nothing has changed.
 */
static enum step poll_failed(struct warp *warp, const struct op *op)
{
    struct poll *poll = poll_of(warp, op);
    uint64_t events = cluster_async(warp->block)->events;

    if (poll->events != events) {
        poll->events = events;
        poll->failures = 0;
    }
    if (poll->give_up || (!(op->mode & WAIT_TRY) && poll->failures == 0)) {
        poll->give_up = poll->waits = false;
        poll->failures++;
        return STEP_NEXT;
    }
    poll->waits = true;
    warp->waits = waits_mbarrier;
    return STEP_WAIT;
}

bool mbarrier_polls_fail(struct block *block)
{
    uint64_t events = cluster_async(block)->events;
    bool any = false;

    for (uint32_t rank = 0; rank < block->cluster_size; rank++) {
        struct block_async *async = block->cluster[rank]->async;

        for (int i = 0; i < block->cluster[rank]->warp_count; i++) {
            for (int k = 0; k < async->warps[i].poll_count; k++) {
                struct poll *poll = &async->warps[i].polls[k];

                if (poll->waits && (poll->events != events || poll->failures < POLLS_MAX)) {
                    poll->waits = false;
                    poll->give_up = any = true;
                }
            }
        }
    }
    return any;
}

/* Is the phase that the lane names over? */
static bool phase_over(struct warp *warp, const struct op *op, int lane,
                       const struct mbarrier *barrier, uint32_t *parity, enum step *step)
{
    const struct async_operands *operands = operands_of(op);

    if (op->mode & WAIT_PARITY) {
        *parity = reg32(warp, operands->values[0])[lane];
        if (*parity > 1) {
            *step = finding_add(warp, op, FINDING_BARRIER, lane, barrier->offset, NULL,
                                "the parity of a phase is 0 or 1, not %u", *parity);
        }
        *parity &= 1;
    } else {
        uint32_t phase = (uint32_t)(reg64(warp, operands->values[0])[lane] >> 32);

        *parity = phase & 1;
        if (phase != barrier->phase && phase + 1 != barrier->phase) {
            *step = finding_add(warp, op, FINDING_BARRIER, lane, barrier->offset, NULL,
                                "the token is of phase %u, and the mbarrier at %s is in phase "
                                "%u already",
                                phase, memory_shared_text(warp->machine, barrier->offset).text,
                                barrier->phase);
        }
    }
    return (barrier->phase & 1) != *parity;
}

/* Lets the lanes that are through see what was released, barrier by barrier. */
static void acquire_lanes(struct warp *warp, const struct op *op, lanes through,
                          struct mbarrier *const barriers[LANES])
{
    while (through != 0 && !(op->mode & MODE_RELAXED)) {
        struct mbarrier *barrier = barriers[__builtin_ctz(through)];
        lanes same = 0;

        FOR_LANES(lane, through) { same |= barriers[lane] == barrier ? UINT32_C(1) << lane : 0; }
        if (barrier->ended != NULL) {
            memory_acquire(warp, same, barrier->ended);
        }
        through &= ~same;
    }
}

/* One lane looks: its mbarrier, and whether the phase is over. A look that fails leaves no trace.
 */
static struct mbarrier *look(struct warp *warp, const struct op *op, int lane, bool *over,
                             enum step *step)
{
    struct mbarrier *barrier = NULL;
    uint32_t offset;
    struct block *block = place_shared(warp, op, lane, 0, &offset, step);

    warp->async->waits_block = block;
    warp->async->waits_offset = offset;
    if (block != NULL) {
        barrier = barrier_seen(warp, op, lane, block, offset, step);
    }
    if (barrier == NULL) {
        return NULL;
    }
    *over = phase_over(warp, op, lane, barrier, &warp->async->waits_parity, step);
    if (*over && *step == STEP_NEXT) {
        *step = barrier_touch(warp, op, lane, block, offset);
    }
    return barrier;
}

enum step mbarrier_test_run(struct warp *warp, const struct op *op, lanes active)
{
    const struct async_operands *operands = operands_of(op);
    struct mbarrier *barriers[LANES];
    lanes through = 0;

    FOR_LANES(lane, active)
    {
        enum step step = STEP_NEXT;
        bool over = false;

        barriers[lane] = look(warp, op, lane, &over, &step);
        if (over) {
            through |= UINT32_C(1) << lane;
            profile_waits_for(warp, barriers[lane]->over[warp->async->waits_parity]);
        }
        if (step == STEP_FAULT) {
            return step;
        }
    }
    if (through == 0 && poll_failed(warp, op) == STEP_WAIT) {
        return STEP_WAIT;
    }
    acquire_lanes(warp, op, through, barriers);
    lanes *result = pred(warp, operands->predicate);
    *result = (*result & ~active) | through;
    return STEP_NEXT;
}

void mbarrier_waits_text(const struct warp *warp, char text[160])
{
    const struct warp_async *async = warp->async;
    const struct mbarrier *barrier =
        async->waits_block == NULL ? NULL : mbarrier_find(async->waits_block, async->waits_offset);

    if (barrier == NULL) {
        snprintf(text, 160, "for an mbarrier at %s, where there is none",
                 memory_shared_text(warp->machine, async->waits_offset).text);
        return;
    }
    snprintf(text, 160,
             "for phase parity %u of the mbarrier at %s (pending arrivals %u, pending bytes %d)",
             async->waits_parity, memory_shared_text(warp->machine, async->waits_offset).text,
             barrier->pending, barrier->tx);
}

/* ---- fences ---- */

void mbarriers_fenced(struct warp *warp, lanes active, bool all)
{
    struct block_async *async = warp->block->async;

    for (int i = 0; i < async->mbarrier_count; i++) {
        struct mbarrier *barrier = &async->mbarriers[i];

        if (all || (barrier->maker == warp && (active >> barrier->maker_lane & 1))) {
            barrier->fenced = true;
        }
    }
}
