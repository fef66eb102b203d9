/*
 * Running: clusters over threads, the warps of a cluster in turn, the fragments of a warp by place.
 *
 * A thread takes the next cluster and runs it to its end. A turn gives a warp up to QUANTUM ops; it
 * is over earlier when none of its fragments can go on. When a round of turns has done nothing, one
 * piece of asynchronous work is done (async_advance); when there is none either, the cluster is
 * stuck, and the finding says who waits where. All of this counts ops, never time, so a cluster
 * runs the same on whatever thread.
 *
 * Inside a warp the fragment at the lowest place runs, up to the place of the next one, with which
 * it merges there. Code is laid out so that this is where paths meet again. Because it may not be,
 * and because a lane may spin until another has done something, a fragment that has run FAIR ops
 * while others could run gives way to them.
 *
 * A fragment that has come to a named barrier is marked with it and does not run; whoever completes
 * the barrier moves all of them on. Other waits are asked again in the warp's next turn.
 *
 * Findings are ordered by cluster and then as they come, and the first FINDINGS_MAX different
 * places in that order are kept, so that they are the same for every number of threads. A finding
 * that ends the run ends it for the clusters behind; those before it run to their end.
 */
#include <assert.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "fitness/emu/core.h"
#include "fitness/emu/profile.h"

enum {
    QUANTUM = 4096, /* ops of a turn: long against the cost of changing the warp */
    FAIR = 512,     /* ops of a fragment before others of its warp get theirs */
    THREADS_MAX = 256,
    BLOCK_THREADS_MAX = 1024,
    FINDINGS_OF_CLUSTER_MAX = 1 << 14, /* more than anybody reads: the run ends */
    CLOCK_EVERY = 8,                   /* turns between looks at the time */
    NSMID = 132,                       /* what %nsmid says */
    FINDING_CALLS = 8,                 /* of helpers inside each other that are told apart */
    TURN_NS = 1024,                    /* what a turn is taken for by who sleeps */
    SLEEP_NS_MAX = 1 << 16,
};

const char *const finding_names[FINDING_KINDS] = {
    [FINDING_NONE] = "none",
    [FINDING_OUT_OF_BOUNDS] = "out of bounds",
    [FINDING_MISALIGNED] = "misaligned",
    [FINDING_READ_ONLY] = "read only",
    [FINDING_UNINITIALISED] = "uninitialised",
    [FINDING_RACE] = "race",
    [FINDING_BARRIER] = "barrier",
    [FINDING_PROXY] = "proxy",
    [FINDING_IN_FLIGHT] = "in flight",
    [FINDING_DEADLOCK] = "deadlock",
    [FINDING_TRAP] = "trap",
    [FINDING_BUDGET] = "budget",
    [FINDING_UNSUPPORTED] = "unsupported",
};

/* What is known of each cluster, so that sums over those that count do not depend on the order. */
struct tally {
    uint64_t ops, lane_ops;
    uint32_t findings;
    bool atomics;
};

struct run { /* of a launch */
    struct machine machine;
    struct outcome *outcome;
    pthread_mutex_t lock;
    uint64_t order[FINDINGS_MAX]; /* cluster of each finding kept */
    struct tally *tallies;        /* of each cluster */
    uint64_t clusters;
    uint32_t grid[3]; /* in clusters */
    int warps, threads_of_block;
    atomic_uint_fast64_t next, stop; /* cluster to take; clusters above stop are not wanted */
    int64_t deadline_ms;
};

struct worker {
    struct run *run;
    uint32_t size; /* blocks of a cluster */
    struct block *blocks;
    struct block *cluster[CLUSTER_MAX];
    struct warp *warps;
    uint8_t *registers;
    lanes *predicates;
    uint64_t cluster_id;
    uint64_t ops, lane_ops; /* of the cluster */
    unsigned turns;
    bool faulted;
};

/* ---- findings ---- */

static bool ends_run(enum finding_kind kind)
{
    return kind == FINDING_DEADLOCK || kind == FINDING_TRAP || kind == FINDING_BUDGET ||
           kind == FINDING_UNSUPPORTED;
}

/* Instructions of one line of the source, called from the same lines: unrolled loops have many. */
static bool same_line(const struct ptx_instruction *a, const struct ptx_instruction *b)
{
    if (a == b || a == NULL || b == NULL || a->source_line == 0) {
        return a == b;
    }
    if (a->file != b->file || a->source_line != b->source_line ||
        strcmp(a->opcode, b->opcode) != 0) {
        return false;
    }
    const struct ptx_place *one = a->caller, *two = b->caller;
    for (int depth = 0; one != two && depth < FINDING_CALLS; depth++) {
        if (one == NULL || two == NULL || one->file != two->file || one->line != two->line) {
            return false;
        }
        one = one->caller;
        two = two->caller;
    }
    return true;
}

static bool same_place(const struct finding *a, const struct finding *b)
{
    return a->kind == b->kind && same_line(a->at, b->at) && same_line(a->other, b->other);
}

/* Where the finding goes among those kept; -1: nowhere. */
static int finding_place(struct run *run, const struct finding *new, uint64_t cluster)
{
    struct outcome *outcome = run->outcome;
    int at = 0;
    for (int i = 0; i < outcome->finding_count; i++) {
        if (same_place(&outcome->findings[i], new)) {
            if (run->order[i] <= cluster) {
                return -1;
            }
            outcome->finding_count--;
            for (int k = i; k < outcome->finding_count; k++) {
                outcome->findings[k] = outcome->findings[k + 1];
                run->order[k] = run->order[k + 1];
            }
            break;
        }
    }
    while (at < outcome->finding_count && run->order[at] <= cluster) {
        at++;
    }
    return at < FINDINGS_MAX ? at : -1;
}

static void finding_keep(struct run *run, const struct finding *new, uint64_t cluster)
{
    struct outcome *outcome = run->outcome;
    int at = finding_place(run, new, cluster);
    if (at < 0) {
        return;
    }
    if (outcome->finding_count < FINDINGS_MAX) {
        outcome->finding_count++;
    }
    for (int k = outcome->finding_count - 1; k > at; k--) {
        outcome->findings[k] = outcome->findings[k - 1];
        run->order[k] = run->order[k - 1];
    }
    outcome->findings[at] = *new;
    run->order[at] = cluster;
}

/* The run ends with this cluster; those behind it are not wanted. */
static enum step run_end(const struct warp *warp)
{
    struct run *run = warp->machine->run;
    uint64_t cluster = warp->block->cluster_id, stop = atomic_load(&run->stop);
    while (cluster < stop && !atomic_compare_exchange_weak(&run->stop, &stop, cluster)) {
    }
    return STEP_FAULT;
}

enum step finding_add(struct warp *warp, const struct op *op, enum finding_kind kind, int lane,
                      uint64_t address, const struct op *other, const char *format, ...)
{
    struct run *run = warp->machine->run;
    struct finding new = {.kind = kind,
                          .warp = warp->index,
                          .lane = lane,
                          .other_warp = -1,
                          .other_lane = -1,
                          .address = address};
    va_list ap;
    new.at = op != NULL ? op->text : NULL;
    new.other = other != NULL ? other->text : NULL;
    memcpy(new.block, warp->block->index, sizeof new.block);
    va_start(ap, format);
    vsnprintf(new.text, sizeof new.text, format, ap);
    va_end(ap);
    uint64_t cluster = warp->block->cluster_id;
    pthread_mutex_lock(&run->lock);
    finding_keep(run, &new, cluster);
    bool many = ++run->tallies[cluster].findings >= FINDINGS_OF_CLUSTER_MAX;
    pthread_mutex_unlock(&run->lock);
    return ends_run(kind) || many ? run_end(warp) : STEP_NEXT;
}

/* ---- fragments ---- */

static struct fragment *fragment_now(struct warp *warp) { return &warp->fragments[warp->current]; }

static void fragment_remove(struct warp *warp, int index)
{
    warp->fragments[index] = warp->fragments[--warp->fragment_count];
}

/* Each fragment has a lane of its own, so there is always room for another. */
static void fragment_put(struct warp *warp, int32_t at, lanes set)
{
    assert(warp->fragment_count < LANES && set != 0);
    warp->fragments[warp->fragment_count++] = (struct fragment){.at = at, .set = set};
}

/* Fragments at one place that do not wait for a barrier become one. */
static void fragments_merge(struct warp *warp)
{
    for (int i = 0; i < warp->fragment_count; i++) {
        struct fragment *one = &warp->fragments[i];
        for (int k = warp->fragment_count - 1; k > i && one->barrier == 0; k--) {
            const struct fragment *two = &warp->fragments[k];
            if (two->at == one->at && two->barrier == 0) {
                one->set |= two->set;
                one->waits = false;
                one->ran = one->ran > two->ran ? one->ran : two->ran;
                one->sleeps = one->sleeps > two->sleeps ? one->sleeps : two->sleeps;
                fragment_remove(warp, k);
            }
        }
    }
}

/*
 * The fragment to run: the lowest of those that have not had their fair share; when all that can
 * run have had it, shares begin anew. -1: none can run.
 */
static int fragment_pick(struct warp *warp)
{
    int best = -1, first = -1;
    for (int i = 0; i < warp->fragment_count; i++) {
        const struct fragment *fragment = &warp->fragments[i];
        if (fragment->barrier != 0 || fragment->waits) {
            continue;
        }
        if (first < 0 || fragment->at < warp->fragments[first].at) {
            first = i;
        }
        if (fragment->ran < FAIR && (best < 0 || fragment->at < warp->fragments[best].at)) {
            best = i;
        }
    }
    if (best < 0 && first >= 0) {
        for (int i = 0; i < warp->fragment_count; i++) {
            warp->fragments[i].ran = 0;
        }
    }
    return best >= 0 ? best : first;
}

/* The next place above `at` where another fragment stands, with which to merge. */
static int32_t fragment_limit(const struct warp *warp, int32_t at)
{
    int32_t limit = INT32_MAX;
    for (int i = 0; i < warp->fragment_count; i++) {
        const struct fragment *fragment = &warp->fragments[i];
        if (i != warp->current && fragment->barrier == 0 && fragment->at > at &&
            fragment->at < limit) {
            limit = fragment->at;
        }
    }
    return limit;
}

/* ---- control flow ---- */

enum step control_nothing(struct warp *warp, const struct op *op, lanes active)
{
    (void)warp, (void)op, (void)active;
    return STEP_NEXT;
}

enum step control_branch(struct warp *warp, const struct op *op, lanes active)
{
    struct fragment *fragment = fragment_now(warp);
    if (active == fragment->set) {
        fragment->at = op->target;
    } else {
        fragment->set &= ~active;
        fragment->at++;
        fragment_put(warp, op->target, active);
    }
    return STEP_JUMP;
}

enum step control_branch_table(struct warp *warp, const struct op *op, lanes active)
{
    const struct branch_table *table = op->extra;
    const uint32_t *index = reg32(warp, op->src[0]);
    struct fragment *fragment = fragment_now(warp);
    lanes rest = active;
    bool moved = active == fragment->set;
    fragment->set &= ~active;
    fragment->at++;
    while (rest != 0) {
        int lane = __builtin_ctz(rest);
        uint32_t entry = index[lane];
        lanes same = 0;
        FOR_LANES(i, rest) same |= (lanes)(index[i] == entry) << i;
        rest &= ~same;
        if (entry >= (uint32_t)table->count) {
            fragment->set |= same | rest;
            return finding_add(warp, op, FINDING_UNSUPPORTED, lane, 0, NULL,
                               "a branch takes target %u of a table of %d", entry, table->count);
        }
        if (moved) {
            fragment->at = table->targets[entry];
            fragment->set = same;
            moved = false;
        } else {
            fragment_put(warp, table->targets[entry], same);
        }
    }
    return STEP_JUMP;
}

static void barriers_check(struct block *block);

enum step control_exit(struct warp *warp, const struct op *op, lanes active)
{
    struct fragment *fragment = fragment_now(warp);
    (void)op;
    warp->alive &= ~active;
    fragment->set &= ~active;
    fragment->at++;
    if (fragment->set == 0) {
        fragment_remove(warp, warp->current);
    }
    barriers_check(warp->block);
    return STEP_JUMP;
}

enum step control_trap(struct warp *warp, const struct op *op, lanes active)
{
    const char *name = op->text->parts[0];
    return finding_add(warp, op, FINDING_TRAP, __builtin_ctz(active), 0, NULL, "%s",
                       strcmp(name, "call") == 0 ? "an assertion of the kernel failed"
                                                 : op->text->opcode);
}

/*
 * A turn is much more than a microsecond, but the others do get ahead: which is what a kernel that
 * sleeps wants, and one that is made to sleep must bear. The longest of the lanes' times counts.
 */
enum step control_sleep(struct warp *warp, const struct op *op, lanes active)
{
    struct fragment *fragment = fragment_now(warp);
    uint32_t longest = 0;

    if (fragment->sleeps == 0) {
        FOR_LANES(lane, active)
        {
            uint32_t ns = reg32(warp, op->src[0])[lane];
            longest = ns > longest ? ns : longest;
        }
        if (longest == 0) {
            return STEP_NEXT;
        }
        longest = longest < SLEEP_NS_MAX ? longest : SLEEP_NS_MAX;
        fragment->sleeps = 2 + longest / TURN_NS;
    }
    if (--fragment->sleeps == 0) {
        return STEP_NEXT;
    }
    warp->slept = true;
    return STEP_WAIT;
}

enum step control_clock(struct warp *warp, const struct op *op, lanes active)
{
    uint64_t now = (memory_garbage(warp->machine->memory) + warp->progress) >> op->mode;
    FOR_LANES(lane, active)
    {
        if (op->bytes == 8) {
            reg64(warp, op->dst[0])[lane] = now;
        } else {
            reg32(warp, op->dst[0])[lane] = (uint32_t)now;
        }
    }
    return STEP_NEXT;
}

/* ---- named barriers ---- */

static int barrier_count(const struct block *block, const struct barrier *barrier)
{
    int count = barrier->count;
    for (int w = 0; w < block->warp_count; w++) {
        lanes arrived = barrier->arrived[w];
        if (arrived != 0) { /* a warp counts whole when all its lanes that are left have come */
            count += (block->warps[w].alive & ~arrived) == 0 ? LANES : __builtin_popcount(arrived);
        }
    }
    return count;
}

static bool barrier_complete(const struct block *block, const struct barrier *barrier)
{
    if (barrier->expected >= 0) {
        return barrier_count(block, barrier) >= barrier->expected;
    }
    for (int w = 0; w < block->warp_count; w++) {
        if ((block->warps[w].alive & ~barrier->arrived[w]) != 0) {
            return false;
        }
    }
    return true;
}

/* bar.red: the predicate over all lanes that came by an instruction that has one. */
static void barrier_reduce(struct block *block, int number)
{
    const struct op *ops = block->machine->program->ops;
    uint32_t count = 0, total = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int w = 0; w < block->warp_count; w++) {
            struct warp *warp = &block->warps[w];
            for (int f = 0; f < warp->fragment_count; f++) {
                const struct fragment *fragment = &warp->fragments[f];
                const struct op *op = &ops[fragment->at];
                if (fragment->barrier != number + 1 || op->mode < BARRIER_POPC) {
                    continue;
                }
                lanes holds = *pred(warp, op->src[2]) ^ (op->mode2 ? ALL : 0);
                if (pass == 0) {
                    count += (uint32_t)__builtin_popcount(holds & fragment->set);
                    total += (uint32_t)__builtin_popcount(fragment->set);
                } else if (op->mode == BARRIER_POPC) {
                    FOR_LANES(lane, fragment->set) reg32(warp, op->dst[0])[lane] = count;
                } else {
                    bool all = op->mode == BARRIER_AND ? count == total : count > 0;
                    lanes *result = pred(warp, op->dst[0]);
                    *result = (*result & ~fragment->set) | (all ? fragment->set : 0);
                }
            }
        }
    }
}

static void barrier_release(struct block *block, int number)
{
    struct barrier *barrier = &block->barriers[number];
    const struct op *ops = block->machine->program->ops;
    barrier_reduce(block, number);
    for (int w = 0; w < block->warp_count; w++) {
        struct warp *warp = &block->warps[w];
        for (int f = 0; f < warp->fragment_count; f++) {
            struct fragment *fragment = &warp->fragments[f];
            if (fragment->barrier == number + 1) {
                memory_acquire(warp, fragment->set, barrier->clock);
                profile_op(warp, &ops[fragment->at], fragment->set);
                fragment->barrier = 0;
                fragment->at++;
                warp->progress++;
            }
        }
    }
    memset(barrier->arrived, 0, sizeof barrier->arrived);
    barrier->count = 0;
    barrier->expected = 0;
    barrier->pending = false;
    barrier->generation++;
}

/* Lanes have ended: who waited for all of the block may go on. */
static void barriers_check(struct block *block)
{
    for (int i = 0; i < BARRIERS; i++) {
        if (block->barriers[i].pending && barrier_complete(block, &block->barriers[i])) {
            barrier_release(block, i);
        }
    }
}

/* The number and count of the barrier, which are the same for all of `active` from here on. */
static enum step barrier_operands(struct warp *warp, const struct op *op, lanes active, int *number,
                                  int *expected)
{
    const uint32_t *ids = reg32(warp, op->src[0]);
    const uint32_t *counts = op->src[1] == SLOT_NONE ? NULL : reg32(warp, op->src[1]);
    int first = __builtin_ctz(active);
    FOR_LANES(lane, active)
    {
        if (ids[lane] != ids[first] || (counts != NULL && counts[lane] != counts[first])) {
            return finding_add(warp, op, FINDING_UNSUPPORTED, lane, 0, NULL,
                               "the lanes of a warp come to different barriers (%u and %u) at once",
                               ids[first], ids[lane]);
        }
    }
    *number = (int)ids[first];
    *expected = counts != NULL ? (int)counts[first] : -1;
    if (ids[first] >= BARRIERS) {
        finding_add(warp, op, FINDING_BARRIER, first, 0, NULL,
                    "barrier %u does not exist: there are %d", ids[first], BARRIERS);
        return run_end(warp);
    }
    if (counts != NULL &&
        (counts[first] % LANES != 0 || counts[first] == 0 || counts[first] > BLOCK_THREADS_MAX)) {
        finding_add(warp, op, FINDING_BARRIER, first, 0, NULL,
                    "barrier %u is for %u threads, which is not a number of whole warps",
                    ids[first], counts[first]);
        return run_end(warp);
    }
    return STEP_NEXT;
}

static enum step barrier_come(struct warp *warp, const struct op *op, lanes active, int number,
                              int expected)
{
    struct block *block = warp->block;
    struct barrier *barrier = &block->barriers[number];
    enum step step = STEP_NEXT;
    if (!barrier->pending) {
        barrier->pending = true;
        barrier->expected = expected;
        barrier->first = op;
    } else if (barrier->expected != expected) {
        char has[32] = "all", asks[32] = "all";
        if (barrier->expected >= 0) {
            snprintf(has, sizeof has, "%d", barrier->expected);
        }
        if (expected >= 0) {
            snprintf(asks, sizeof asks, "%d", expected);
        }
        step = finding_add(warp, op, FINDING_BARRIER, __builtin_ctz(active), 0, barrier->first,
                           "barrier %d is for %s threads here, and for %s where others came to it",
                           number, asks, has);
    }
    if (barrier->arrived[warp->index] & active) {
        step = finding_add(warp, op, FINDING_BARRIER, __builtin_ctz(active), 0, barrier->first,
                           "a warp comes to barrier %d again before it is complete", number);
        barrier->count += __builtin_popcount(barrier->arrived[warp->index] & active);
    }
    barrier->arrived[warp->index] |= active;
    memory_release(warp, active, &barrier->clock);
    int count = barrier_count(block, barrier);
    if (expected >= 0 && count > expected && step == STEP_NEXT) {
        step = finding_add(warp, op, FINDING_BARRIER, __builtin_ctz(active), 0, barrier->first,
                           "%d threads have come to barrier %d, which is for %d", count, number,
                           expected);
    }
    return step;
}

enum step control_barrier(struct warp *warp, const struct op *op, lanes active)
{
    struct fragment *fragment = fragment_now(warp);
    int number = 0, expected = -1;
    enum step step = barrier_operands(warp, op, active, &number, &expected);
    if (step != STEP_NEXT) {
        return step;
    }
    step = barrier_come(warp, op, active, number, expected);
    if (step != STEP_NEXT) {
        return step;
    }
    if (active != fragment->set) { /* the guard let the others pass */
        lanes others = fragment->set & ~active;
        fragment->set = active;
        fragment_put(warp, fragment->at + 1, others);
        fragment = fragment_now(warp);
    }
    bool arrive = op->mode == BARRIER_ARRIVE;
    if (arrive) {
        fragment->at++;
        profile_op(warp, op, active);
    } else {
        fragment->barrier = number + 1;
        profile_wait(warp, op, active);
        warp->waits = "barrier";
    }
    if (barrier_complete(warp->block, &warp->block->barriers[number])) {
        barrier_release(warp->block, number);
    }
    return STEP_JUMP;
}

enum step control_warp_barrier(struct warp *warp, const struct op *op, lanes active)
{
    (void)op;
    memory_warp_sync(warp, active);
    return STEP_NEXT;
}

/* ---- instructions that lanes do together ---- */

/* The lanes that stand before the warp barrier, wherever: it may be written at several places. */
static lanes warp_barrier_arrived(const struct warp *warp, const struct op *op, lanes active)
{
    const struct op *ops = warp->machine->program->ops;
    if (op->run == control_warp_barrier) {
        for (int i = 0; i < warp->fragment_count; i++) {
            const struct fragment *fragment = &warp->fragments[i];
            if (i != warp->current && ops[fragment->at].run == control_warp_barrier) {
                active |= fragment->set;
            }
        }
    }
    return active;
}

static const uint32_t *mask_slot(struct warp *warp, const struct op *op)
{
    return reg32(warp, op->src[op->src_count - 1]);
}

/* The lanes of `active` whose partners have all come. */
static lanes masked_ready(struct warp *warp, const struct op *op, lanes active)
{
    const uint32_t *mask = mask_slot(warp, op);
    lanes arrived = warp_barrier_arrived(warp, op, active), ready = 0;
    FOR_LANES(lane, active)
    {
        if ((mask[lane] & warp->alive & ~arrived) == 0) {
            ready |= (lanes)1 << lane;
        }
    }
    return ready;
}

/* Lets the partners that stand before a warp barrier elsewhere go on. */
static void warp_barrier_pass(struct warp *warp, lanes group)
{
    const struct op *ops = warp->machine->program->ops;
    for (int i = 0; i < warp->fragment_count; i++) {
        struct fragment *fragment = &warp->fragments[i];
        lanes passing = fragment->set & group;
        if (i == warp->current || passing == 0 || ops[fragment->at].run != control_warp_barrier) {
            continue;
        }
        fragment->waits = false;
        if (passing == fragment->set) {
            fragment->at++;
        } else {
            fragment->set &= ~passing;
            fragment_put(warp, fragment->at + 1, passing);
        }
    }
}

static enum step masked_groups(struct warp *warp, const struct op *op, lanes ready)
{
    const uint32_t *mask = mask_slot(warp, op);
    for (lanes rest = ready; rest != 0;) {
        int first = __builtin_ctz(rest);
        lanes group = 0;
        FOR_LANES(lane, rest) group |= (lanes)(mask[lane] == mask[first]) << lane;
        if ((group & ~mask[first]) != 0) {
            finding_add(warp, op, FINDING_BARRIER, __builtin_ctz(group & ~mask[first]), 0, NULL,
                        "a lane is not in the mask 0x%08x that it gives", mask[first]);
        }
        lanes apart = mask[first] & warp->alive & ~group;
        if (apart != 0 && op->run != control_warp_barrier) { /* there they may stand elsewhere */
            int other = __builtin_ctz(apart);
            finding_add(warp, op, FINDING_BARRIER, first, 0, NULL,
                        "it gives the mask 0x%08x, and lane %d, which is in it, 0x%08x",
                        mask[first], other, mask[other]);
        }
        rest &= ~group;
        lanes all = group;
        if (op->run == control_warp_barrier) {
            all = mask[first] & warp->alive;
            warp_barrier_pass(warp, all);
        }
        enum step step = op->run(warp, op, all);
        if (step != STEP_NEXT) {
            return step;
        }
    }
    return STEP_NEXT;
}

/* STEP_NEXT: the current fragment goes on, maybe with fewer lanes. */
static enum step run_masked(struct warp *warp, const struct op *op, lanes active)
{
    struct fragment *fragment = fragment_now(warp);
    lanes ready = masked_ready(warp, op, active), late = active & ~ready;
    if (ready == 0 && active == fragment->set) {
        warp->waits = "lanes of its mask";
        return STEP_WAIT;
    }
    if (late != 0) {
        fragment->set &= ~late;
        fragment_put(warp, fragment->at, late);
        warp->fragments[warp->fragment_count - 1].waits = true;
    }
    return ready == 0 ? STEP_NEXT : masked_groups(warp, op, ready);
}

/* All lanes that are left must do it together. */
static enum step run_convergent(struct warp *warp, const struct op *op, lanes active)
{
    const struct fragment *fragment = fragment_now(warp);
    if (fragment->set != warp->alive) {
        warp->waits = "the other lanes of its warp";
        return STEP_WAIT;
    }
    if (active != fragment->set) {
        enum step step = finding_add(warp, op, FINDING_BARRIER, __builtin_ctz(active), 0, NULL,
                                     "some lanes of a warp only do '%s', which is for all of them",
                                     op->text->opcode);
        if (step != STEP_NEXT) {
            return step;
        }
    }
    return op->run(warp, op, active);
}

/* ---- what is asked of registers when SANITIZE_INITIALISED is on ---- */

static lanes unknown_lanes(struct warp *warp, uint32_t slot, lanes active)
{
    lanes unknown = 0;
    if (memory_register_known(warp, slot, active)) {
        return 0;
    }
    FOR_LANES(lane, active)
    {
        if (!memory_register_known(warp, slot, (lanes)1 << lane)) {
            unknown |= (lanes)1 << lane;
        }
    }
    return unknown;
}

/* An op that acts on what it reads: elsewhere an unknown value only makes its result unknown. */
static bool acts(const struct op *op)
{
    switch (op->class) {
    case CLASS_CONTROL: return op->run == control_branch || op->run == control_branch_table;
    case CLASS_LOAD_GLOBAL:
    case CLASS_STORE_GLOBAL:
    case CLASS_LOAD_SHARED:
    case CLASS_STORE_SHARED:
    case CLASS_ATOMIC:
    case CLASS_BARRIER:
    case CLASS_MATRIX_LOAD:
    case CLASS_ASYNC_COPY: return true;
    default: return false;
    }
}

static enum step registers_ask(struct warp *warp, const struct op *op, lanes active, lanes *unknown)
{
    const struct code *program = warp->machine->program;
    const struct op_registers *registers = &program->op_registers[op - program->ops];
    *unknown = 0;
    for (int i = 0; i < registers->read_count; i++) {
        *unknown |= unknown_lanes(warp, registers->reads[i], active);
    }
    if (*unknown == 0 || !acts(op)) {
        return STEP_NEXT;
    }
    return finding_add(warp, op, FINDING_UNINITIALISED, __builtin_ctz(*unknown), 0, NULL,
                       "'%s' uses a register that was not written", op->text->opcode);
}

/* A guard that nobody set decides whether an op acts at all. */
static enum step guard_ask(struct warp *warp, const struct op *op, lanes set)
{
    const struct code *program = warp->machine->program;
    if (!(warp->machine->launch->sanitize & SANITIZE_INITIALISED) || !acts(op)) {
        return STEP_NEXT;
    }
    lanes unknown = unknown_lanes(warp, program->predicate_shadow + 64 * op->guard, set);
    if (unknown == 0) {
        return STEP_NEXT;
    }
    return finding_add(warp, op, FINDING_UNINITIALISED, __builtin_ctz(unknown), 0, NULL,
                       "'%s' has a guard that was not written", op->text->opcode);
}

static void registers_tell(struct warp *warp, const struct op *op, lanes known)
{
    const struct code *program = warp->machine->program;
    const struct op_registers *registers = &program->op_registers[op - program->ops];
    for (int i = 0; i < registers->write_count; i++) {
        memory_register_written(warp, registers->writes[i], known);
    }
}

/* ---- a turn of a warp ---- */

/* One op with everything that may be asked of it. */
static enum step op_watched(struct warp *warp, const struct op *op, lanes active)
{
    bool ask = warp->machine->launch->sanitize & SANITIZE_INITIALISED;
    lanes unknown = 0;
    enum step step = tensor_watch(warp, op, active);
    if (step == STEP_NEXT && ask && op->text != NULL) {
        step = registers_ask(warp, op, active, &unknown);
    }
    if (step != STEP_NEXT) {
        return step;
    }
    step = op->masked       ? run_masked(warp, op, active)
           : op->convergent ? run_convergent(warp, op, active)
                            : op->run(warp, op, active);
    if (op->run == control_barrier && step == STEP_JUMP) { /* it has told the profile itself */
        if (ask) {
            registers_tell(warp, op, active);
        }
        return step;
    }
    if (step == STEP_NEXT || step == STEP_JUMP) {
        profile_op(warp, op, active);
        if (ask) {
            registers_tell(warp, op, op->class == CLASS_SHUFFLE ? active : active & ~unknown);
        }
    } else if (step == STEP_WAIT) {
        profile_wait(warp, op, active);
    }
    return step;
}

struct turn {
    uint64_t ops, lane_ops, left;
    bool watched;
};

/*
 * Runs the current fragment until it waits, jumps while there are others, meets another, or the
 * turn is over. False: a finding ends the run.
 */
static bool fragment_run(struct warp *warp, struct turn *turn)
{
    const struct op *const ops = warp->machine->program->ops;
    struct fragment *fragment = fragment_now(warp);
    const bool watched = turn->watched;
    lanes set = fragment->set;
    int32_t at = fragment->at, limit = fragment_limit(warp, at);
    uint64_t left = turn->left, lane_ops = 0, before = left;
    enum step step = STEP_NEXT;

    while (left > 0) {
        const struct op *op = &ops[at];
        lanes active = set;
        if (op->guard != SLOT_NONE) {
            lanes guard = warp->predicates[op->guard];
            active &= op->guard_negated ? ~guard : guard;
            if (watched && (step = guard_ask(warp, op, set)) != STEP_NEXT) {
                break;
            }
        }
        left--;
        if (active != 0) {
            fragment->at = at;
            warp->progress++;
            if (!watched && warp->tensor == NULL && !op->masked && !op->convergent) {
                step = op->run(warp, op, active);
            } else {
                step = op_watched(warp, op, active);
                set = fragment->set; /* lanes may have stayed behind */
                limit = fragment_limit(warp, at);
            }
            lane_ops += step == STEP_WAIT ? 0 : (uint64_t)__builtin_popcount(active);
            if (step != STEP_NEXT) {
                if (step != STEP_JUMP || warp->fragment_count != 1 ||
                    warp->fragments[0].barrier != 0) {
                    break;
                }
                fragment = &warp->fragments[0];
                warp->current = 0;
                at = fragment->at;
                set = fragment->set;
                limit = INT32_MAX;
                step = STEP_NEXT;
                continue;
            }
        }
        if (++at >= limit) {
            break;
        }
    }
    if (step == STEP_NEXT) {
        fragment->at = at;
        fragment->ran += (uint32_t)(before - left);
    } else if (step == STEP_WAIT) {
        fragment->waits = true;
        left++; /* nothing was done */
        warp->progress--;
    } else if (step == STEP_JUMP && warp->current < warp->fragment_count) {
        warp->fragments[warp->current].ran += (uint32_t)(before - left);
    }
    turn->ops += before - left;
    turn->lane_ops += lane_ops;
    turn->left = left;
    return step != STEP_FAULT;
}

static bool warp_turn(struct warp *warp, struct turn *turn)
{
    warp->waits = NULL;
    warp->slept = false;
    for (int i = 0; i < warp->fragment_count; i++) {
        warp->fragments[i].waits = false;
        warp->fragments[i].ran = 0;
    }
    while (turn->left > 0) {
        if (warp->fragment_count > 1) {
            fragments_merge(warp);
        }
        int next = fragment_pick(warp);
        if (next < 0) {
            return true;
        }
        warp->current = next;
        uint64_t left = turn->left;
        uint64_t share = warp->fragment_count > 1 && left > FAIR ? FAIR : left;
        turn->left = share;
        bool goes_on = fragment_run(warp, turn);
        turn->left = left - share + turn->left;
        if (!goes_on) {
            return false;
        }
    }
    return true;
}

/* ---- a cluster ---- */

static uint64_t special_value(const struct warp *warp, int special, int lane)
{
    const struct block *block = warp->block;
    const struct launch *launch = block->machine->launch;
    const struct code *program = block->machine->program;
    const uint32_t *n = launch->block;
    uint32_t thread = (uint32_t)(warp->index * LANES + lane), bit = UINT32_C(1) << lane;
    uint32_t tid[3] = {thread % n[0], thread / n[0] % n[1], thread / n[0] / n[1]};
    uint32_t size[3];
    for (int d = 0; d < 3; d++) {
        size[d] = launch->cluster[d] > 0 ? launch->cluster[d] : 1;
    }
#define AXES(name, value)                                                                          \
    case SPECIAL_##name##_X:                                                                       \
    case SPECIAL_##name##_Y:                                                                       \
    case SPECIAL_##name##_Z: {                                                                     \
        int d = special - SPECIAL_##name##_X;                                                      \
        return value;                                                                              \
    }
    switch (special) {
        AXES(TID, tid[d])
        AXES(NTID, n[d])
        AXES(CTAID, block->index[d])
        AXES(NCTAID, launch->grid[d])
        AXES(CLUSTERID, block->index[d] / size[d])
        AXES(NCLUSTERID, launch->grid[d] / size[d])
        AXES(CLUSTER_CTAID, block->index[d] % size[d])
        AXES(CLUSTER_NCTAID, size[d])
    case SPECIAL_CLUSTER_CTARANK: return block->cluster_rank;
    case SPECIAL_CLUSTER_NCTARANK: return block->cluster_size;
    case SPECIAL_LANEID: return (uint64_t)lane;
    case SPECIAL_WARPID: return (uint64_t)warp->index;
    case SPECIAL_NWARPID: return 64;
    case SPECIAL_SMID:
        return (block->cluster_id * block->cluster_size + block->cluster_rank) % NSMID;
    case SPECIAL_NSMID: return NSMID;
    case SPECIAL_LANEMASK_EQ: return bit;
    case SPECIAL_LANEMASK_LT: return bit - 1;
    case SPECIAL_LANEMASK_LE: return bit | (bit - 1);
    case SPECIAL_LANEMASK_GE: return ~(bit - 1);
    case SPECIAL_LANEMASK_GT: return ~(bit | (bit - 1));
    case SPECIAL_DYNAMIC_SMEM: return launch->smem_bytes;
    case SPECIAL_SHARED:
        return block->cluster_size == 1 ? 0 : MEMORY_SHARED_WINDOW * (1 + block->cluster_rank);
    case SPECIAL_TOTAL_SMEM: return (uint64_t)program->dynamic_offset + launch->smem_bytes;
    default: return 0;
    }
#undef AXES
}

static void slot_fill(struct warp *warp, uint32_t slot, unsigned bytes, const uint64_t value[LANES])
{
    uint8_t *to = warp->registers + slot;
    for (int lane = 0; lane < LANES; lane++) {
        uint64_t both[2] = {value[lane], 0};
        memcpy(to + (size_t)lane * bytes, both, bytes);
    }
}

/*
 * Constants are the same for every block; special registers, addresses of shared memory and poison
 * are new for each.
 */
static void warp_fill(struct warp *warp, bool constants)
{
    const struct code *program = warp->machine->program;
    uint64_t value[LANES];
    for (int i = 0; i < program->constant_count; i++) {
        const struct constant_slot *constant = &program->constants[i];
        bool fixed = constant->special < 0 || constant->special >= SPECIAL_VARIABLE;
        if (fixed != constants) {
            continue;
        }
        uint64_t bits = constant->bits;
        if (constant->special >= SPECIAL_VARIABLE) {
            bits += warp->machine->variables[constant->special - SPECIAL_VARIABLE];
        }
        for (int lane = 0; lane < LANES; lane++) {
            value[lane] = bits + (fixed ? 0 : special_value(warp, constant->special, lane));
        }
        slot_fill(warp, constant->slot, constant->bytes, value);
    }
    if (!constants) {
        for (int i = 0; i < program->poisoned_count; i++) {
            memset(warp->registers + program->poisoned[i].slot, 0x7f,
                   (size_t)LANES * program->poisoned[i].bytes);
        }
        memset(warp->predicates, 0, program->predicate_count * sizeof *warp->predicates);
    }
}

static void warp_begin(struct warp *warp)
{
    const struct run *run = warp->machine->run;
    int threads = run->threads_of_block - warp->index * LANES;
    warp->alive = threads >= LANES ? ALL : ((lanes)1 << threads) - 1;
    warp->fragments[0] = (struct fragment){.at = 0, .set = warp->alive};
    warp->fragment_count = 1;
    warp->current = 0;
    warp->waits = NULL;
    warp->progress = 0;
    memory_warp_begin(warp);
    async_warp_begin(warp);
    tensor_warp_begin(warp);
    warp_fill(warp, false);
}

static void cluster_begin(struct worker *worker, uint64_t id)
{
    struct run *run = worker->run;
    const struct launch *launch = run->machine.launch;
    uint64_t at[3] = {id % run->grid[0], id / run->grid[0] % run->grid[1],
                      id / run->grid[0] / run->grid[1]};
    worker->cluster_id = id;
    worker->ops = worker->lane_ops = 0;
    worker->faulted = false;
    for (uint32_t r = 0; r < worker->size; r++) {
        struct block *block = &worker->blocks[r];
        uint32_t rank = r;
        for (int d = 0; d < 3; d++) {
            uint32_t size = launch->cluster[d] > 0 ? launch->cluster[d] : 1;
            block->index[d] = (uint32_t)at[d] * size + rank % size;
            rank /= size;
        }
        block->cluster_id = id;
        block->atomics = false;
        memset(block->barriers, 0, sizeof block->barriers);
        memory_block_begin(block);
        async_block_begin(block);
        profile_block_begin(block);
    }
    for (uint32_t r = 0; r < worker->size; r++) {
        for (int w = 0; w < worker->blocks[r].warp_count; w++) {
            warp_begin(&worker->blocks[r].warps[w]);
        }
    }
}

static void cluster_end(struct worker *worker)
{
    struct run *run = worker->run;
    struct tally *tally = &run->tallies[worker->cluster_id];
    if (worker->size > 1 && !worker->faulted) {
        memory_cluster_end(&worker->blocks[0]);
    }
    for (uint32_t r = 0; r < worker->size; r++) {
        struct block *block = &worker->blocks[r];
        for (int w = 0; w < block->warp_count; w++) {
            tensor_warp_end(&block->warps[w]);
            async_warp_end(&block->warps[w]);
        }
    }
    for (uint32_t r = 0; r < worker->size; r++) {
        struct block *block = &worker->blocks[r];
        async_block_end(block);
        profile_block_end(block);
        tally->atomics |= block->atomics;
    }
    for (uint32_t r = 0; r < worker->size; r++) {
        struct block *block = &worker->blocks[r];
        for (int w = 0; w < block->warp_count; w++) {
            memory_warp_end(&block->warps[w]);
        }
        memory_block_end(block);
    }
    tally->ops = worker->ops;
    tally->lane_ops = worker->lane_ops;
}

/* Nobody can go on: who waits, where, and for what. */
struct stuck {
    struct warp *warp;
    const struct op *op;
    const struct fragment *fragment;
};

/* The kernel's own line, as a wait mostly stands in a helper. */
static const char *place_text(const struct warp *warp, const struct ptx_instruction *at,
                              char text[80])
{
    const struct ptx_module *module = warp->machine->program->module;
    int file = at->file, line = at->source_line;
    for (const struct ptx_place *up = at->caller; up != NULL; up = up->caller) {
        file = up->file;
        line = up->line;
    }
    if (line <= 0 || file <= 0 || file >= module->file_count || module->files[file] == NULL) {
        snprintf(text, 80, "line %d of the PTX", at->line);
    } else {
        const char *slash = strrchr(module->files[file], '/');
        snprintf(text, 80, "%.60s:%d", slash != NULL ? slash + 1 : module->files[file], line);
    }
    return text;
}

static void wait_text(const struct stuck *stuck, char *text, size_t room)
{
    char unit[160] = "", place[80];
    const struct ptx_instruction *at = stuck->op->text;
    if (stuck->fragment->barrier > 0) {
        const struct barrier *barrier = &stuck->warp->block->barriers[stuck->fragment->barrier - 1];
        int count = barrier_count(stuck->warp->block, barrier);
        int all =
            barrier->expected >= 0 ? barrier->expected : stuck->warp->block->warp_count * LANES;
        snprintf(unit, sizeof unit, "for barrier %d, to which %d of %d threads have come",
                 stuck->fragment->barrier - 1, count, all);
    } else if (stuck->op->masked) {
        snprintf(unit, sizeof unit, "for lanes of its mask to come to '%s'", at->parts[0]);
    } else if (stuck->op->convergent && stuck->fragment->set != stuck->warp->alive) {
        snprintf(unit, sizeof unit, "for the other lanes of its warp to come to '%s'",
                 at->parts[0]);
    } else {
        char wait[160];
        snprintf(unit, sizeof unit, "%s", async_waits_text(stuck->warp, wait));
    }
    snprintf(text, room, "warp %d of block %u,%u,%u waits at %s %s", stuck->warp->index,
             stuck->warp->block->index[0], stuck->warp->block->index[1],
             stuck->warp->block->index[2], place_text(stuck->warp, at, place), unit);
}

/* One line for each place, as far as there is room: warps that wait alike are counted. */
static void cluster_stuck(struct worker *worker)
{
    const struct op *ops = worker->run->machine.program->ops;
    struct stuck first = {0}, second = {0};
    bool divergent = false;
    int waiting = 0;
    for (uint32_t r = 0; r < worker->size; r++) {
        struct block *block = &worker->blocks[r];
        for (int w = 0; w < block->warp_count; w++) {
            struct warp *warp = &block->warps[w];
            for (int f = 0; f < warp->fragment_count; f++) {
                struct stuck one = {warp, &ops[warp->fragments[f].at], &warp->fragments[f]};
                bool partial = one.op->convergent && one.fragment->barrier == 0 &&
                               one.fragment->set != warp->alive;
                if (first.warp == NULL || (partial && !divergent)) {
                    second = first.warp != NULL ? first : second;
                    first = one;
                } else if (second.warp == NULL || (one.op != first.op && second.op == first.op)) {
                    second = one;
                }
                divergent |= partial;
                waiting++;
            }
        }
    }
    char one[192] = "", two[192] = "";
    wait_text(&first, one, sizeof one);
    if (second.warp != NULL) {
        wait_text(&second, two, sizeof two);
    }
    bool bar = divergent && first.op->class == CLASS_BARRIER;
    if (bar) { /* the reason; the deadlock is what comes of it */
        finding_add(first.warp, first.op, FINDING_BARRIER, __builtin_ctz(first.fragment->set), 0,
                    second.op, "some lanes of a warp only come to a barrier: %s%s%s", one,
                    two[0] != '\0' ? "; " : "", two);
        run_end(first.warp);
        return;
    }
    finding_add(first.warp, first.op, FINDING_DEADLOCK, __builtin_ctz(first.fragment->set), 0,
                second.op, "nothing can go on (%d waits): %s%s%s", waiting, one,
                two[0] != '\0' ? "; " : "", two);
}

static bool over_budget(struct worker *worker, struct warp *warp)
{
    const struct run *run = worker->run;
    const struct launch *launch = run->machine.launch;
    const struct op *op =
        warp->fragment_count > 0
            ? &run->machine.program->ops[warp->fragments[warp->current % warp->fragment_count].at]
            : NULL;
    if (launch->op_budget > 0 && worker->ops > launch->op_budget * worker->size) {
        finding_add(warp, op, FINDING_BUDGET, -1, 0, NULL,
                    "a block has done more than %llu warp instructions",
                    (unsigned long long)launch->op_budget);
        return true;
    }
    if (run->deadline_ms > 0 && worker->turns++ % CLOCK_EVERY == 0 &&
        clock_now_ms() > run->deadline_ms) {
        finding_add(warp, op, FINDING_BUDGET, -1, 0, NULL,
                    "the launch has taken longer than %lld ms", (long long)launch->time_budget_ms);
        return true;
    }
    return false;
}

/* A turn for every warp. False: the run is over. */
static bool cluster_round(struct worker *worker, bool *left, bool *done)
{
    struct run *run = worker->run;
    bool watched = run->machine.launch->profile != NULL ||
                   (run->machine.launch->sanitize & SANITIZE_INITIALISED);
    *left = *done = false;
    for (uint32_t r = 0; r < worker->size; r++) {
        struct block *block = &worker->blocks[r];
        for (int w = 0; w < block->warp_count; w++) {
            struct warp *warp = &block->warps[w];
            struct turn turn = {.left = QUANTUM, .watched = watched};
            if (warp->fragment_count == 0) {
                continue;
            }
            *left = true;
            bool goes_on = warp_turn(warp, &turn);
            worker->ops += turn.ops;
            worker->lane_ops += turn.lane_ops;
            *done |= turn.ops > 0 || warp->slept;
            if (!goes_on || over_budget(worker, warp) ||
                atomic_load_explicit(&run->stop, memory_order_relaxed) < worker->cluster_id) {
                return false;
            }
        }
    }
    return true;
}

static bool cluster_advance(struct worker *worker)
{
    for (uint32_t r = 0; r < worker->size; r++) {
        if (async_advance(&worker->blocks[r])) {
            return true;
        }
    }
    return false;
}

static void cluster_run(struct worker *worker, uint64_t id)
{
    bool left = true, done = true;
    cluster_begin(worker, id);
    while (left) {
        if (!cluster_round(worker, &left, &done)) {
            worker->faulted = true;
            break;
        }
        if (left && !done && !cluster_advance(worker)) {
            cluster_stuck(worker);
            worker->faulted = true;
            break;
        }
    }
    cluster_end(worker);
}

/* ---- a launch ---- */

static void worker_open(struct worker *worker, struct run *run)
{
    const struct code *program = run->machine.program;
    size_t file = ((size_t)program->register_bytes + 63) / 64 * 64 + 64;
    size_t predicates = (size_t)program->predicate_count + 1;
    size_t warps = (size_t)run->warps;
    const struct launch *launch = run->machine.launch;
    *worker = (struct worker){.run = run, .size = 1};
    for (int d = 0; d < 3; d++) {
        worker->size *= launch->cluster[d] > 0 ? launch->cluster[d] : 1;
    }
    warps *= worker->size;
    worker->blocks = xcalloc(worker->size, sizeof *worker->blocks);
    worker->warps = xcalloc(warps, sizeof *worker->warps);
    worker->predicates = xcalloc(warps * predicates, sizeof *worker->predicates);
    worker->registers = aligned_alloc(64, warps * file);
    if (worker->registers == NULL) {
        abort();
    }
    memset(worker->registers, 0, warps * file);
    for (uint32_t r = 0; r < worker->size; r++) {
        struct block *block = &worker->blocks[r];
        worker->cluster[r] = block;
        *block = (struct block){.machine = &run->machine,
                                .cluster_rank = r,
                                .cluster_size = worker->size,
                                .cluster = worker->cluster,
                                .warps = worker->warps + (size_t)r * (size_t)run->warps,
                                .warp_count = run->warps};
    }
    for (size_t w = 0; w < warps; w++) {
        struct warp *warp = &worker->warps[w];
        warp->machine = &run->machine;
        warp->block = &worker->blocks[w / (size_t)run->warps];
        warp->index = (int)(w % (size_t)run->warps);
        warp->registers = worker->registers + w * file;
        warp->predicates = worker->predicates + w * predicates;
        warp_fill(warp, true);
    }
}

static void worker_close(struct worker *worker)
{
    free(worker->blocks);
    free(worker->warps);
    free(worker->predicates);
    free(worker->registers);
}

static void *worker_main(void *context)
{
    struct run *run = context;
    struct worker worker;
    worker_open(&worker, run);
    for (;;) {
        const struct launch *launch = run->machine.launch;
        uint64_t turn = atomic_fetch_add(&run->next, 1), id = turn;
        if (launch->sample != NULL) {
            id = turn < (uint64_t)launch->sample_count ? (uint64_t)launch->sample[turn]
                                                       : run->clusters;
        }
        if (id >= run->clusters || id > atomic_load(&run->stop)) {
            break;
        }
        cluster_run(&worker, id);
    }
    worker_close(&worker);
    return NULL;
}

static int thread_count(const struct run *run)
{
    long wanted = run->machine.launch->threads;
    if (wanted <= 0) {
        wanted = sysconf(_SC_NPROCESSORS_ONLN);
    }
    if (wanted > THREADS_MAX) {
        wanted = THREADS_MAX;
    }
    if ((uint64_t)wanted > run->clusters) {
        wanted = (long)run->clusters;
    }
    return wanted < 1 ? 1 : (int)wanted;
}

static void run_threads(struct run *run)
{
    pthread_t threads[THREADS_MAX];
    int wanted = thread_count(run), started = 0;
    while (started < wanted - 1 && pthread_create(&threads[started], NULL, worker_main, run) == 0) {
        started++; /* where no thread can be had, this one does the work */
    }
    worker_main(run);
    for (int i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
}

/* A launch that no device would take. */
static bool launch_refused(const struct launch *launch, char *why, size_t room)
{
    uint64_t threads = 1, blocks = 1, cluster = 1;
    for (int d = 0; d < 3; d++) {
        uint64_t size = launch->cluster[d] > 0 ? launch->cluster[d] : 1;
        threads *= launch->block[d];
        cluster *= size;
        blocks *= launch->grid[d];
        if (threads > BLOCK_THREADS_MAX || cluster > CLUSTER_MAX || blocks > UINT64_C(1) << 31 ||
            launch->block[d] == 0 || launch->grid[d] % size != 0) {
            threads = 0;
        }
    }
    if (threads == 0 || blocks == 0) {
        snprintf(
            why, room, "a launch of %u,%u,%u blocks of %u,%u,%u threads in clusters of %u,%u,%u",
            launch->grid[0], launch->grid[1], launch->grid[2], launch->block[0], launch->block[1],
            launch->block[2], launch->cluster[0], launch->cluster[1], launch->cluster[2]);
        return true;
    }
    const struct code *program = launch->program;
    if (launch->smem_bytes > SHARED_STATIC_MAX) {
        snprintf(why, room, "a launch with %u bytes of dynamic shared memory", launch->smem_bytes);
        return true;
    }
    uint64_t file = program->register_bytes * ((threads + LANES - 1) / LANES) * cluster;
    if (file > UINT64_C(4) << 30) {
        snprintf(why, room, "a cluster with %llu bytes of registers", (unsigned long long)file);
        return true;
    }
    return false;
}

bool machine_variables(struct memory *memory, const struct ptx_module *module, uint64_t *addresses,
                       struct err *err)
{
    for (int i = 0; i < module->variable_count; i++) {
        const struct ptx_variable *variable = &module->variables[i];
        addresses[i] = 0;
        if (variable->space != PTX_GLOBAL && variable->space != PTX_CONST) {
            continue;
        }
        if (variable->bytes == 0) {
            continue; /* declared elsewhere: whoever uses it finds no memory there */
        }
        addresses[i] = memory_buffer(memory, (uint64_t)variable->bytes, variable->name);
        bool done = variable->initial != NULL
                        ? memory_host_write(memory, addresses[i], variable->initial,
                                            (uint64_t)variable->bytes)
                        : memory_host_fill(memory, addresses[i], 0, (uint64_t)variable->bytes);
        if (!done) {
            return err_set(err, ERR_SYSTEM, "variable '%s' of the module has no memory",
                           variable->name);
        }
        if (variable->space == PTX_CONST) {
            memory_buffer_access(memory, addresses[i], BUFFER_READ_ONLY);
        }
    }
    return true;
}

static void variables_free(struct memory *memory, const struct ptx_module *module,
                           const uint64_t *addresses)
{
    for (int i = 0; i < module->variable_count; i++) {
        if (addresses[i] != 0) {
            memory_buffer_free(memory, addresses[i]);
        }
    }
}

static void outcome_sum(struct run *run)
{
    struct outcome *outcome = run->outcome;
    uint64_t stop = atomic_load(&run->stop);
    outcome->ended = stop == UINT64_MAX;
    for (uint64_t i = 0; i < run->clusters && i <= stop; i++) {
        outcome->ops += run->tallies[i].ops;
        outcome->lane_ops += run->tallies[i].lane_ops;
        outcome->findings_total += run->tallies[i].findings;
        outcome->atomics |= run->tallies[i].atomics;
    }
    while (outcome->finding_count > 0 && run->order[outcome->finding_count - 1] > stop) {
        outcome->finding_count--;
    }
}

static void refuse(struct outcome *outcome, const char *why)
{
    outcome->finding_count = 1;
    outcome->findings_total = 1;
    outcome->findings[0] = (struct finding){
        .kind = FINDING_UNSUPPORTED, .warp = -1, .lane = -1, .other_warp = -1, .other_lane = -1};
    snprintf(outcome->findings[0].text, sizeof outcome->findings[0].text, "%s", why);
}

void machine_run(struct memory *memory, const struct launch *launch, struct outcome *outcome)
{
    struct run run = {.outcome = outcome, .clusters = 1};
    const struct ptx_module *module = launch->program->module;
    uint64_t *variables = NULL;
    struct err err = {0};
    char why[384];
    memset(outcome, 0, sizeof *outcome);
    if (launch_refused(launch, why, sizeof why)) {
        refuse(outcome, why);
        return;
    }
    run.machine = (struct machine){.memory = memory,
                                   .launch = launch,
                                   .program = launch->program,
                                   .outcome = outcome,
                                   .lock = &run.lock,
                                   .variables = launch->variables,
                                   .run = &run};
    if (launch->program->uses_variables && launch->variables == NULL) {
        variables = xcalloc((size_t)module->variable_count + 1, sizeof *variables);
        if (!machine_variables(memory, module, variables, &err)) {
            snprintf(why, sizeof why, "%s", err.what);
            refuse(outcome, why);
            goto out;
        }
        run.machine.variables = variables;
    }
    run.threads_of_block = (int)(launch->block[0] * launch->block[1] * launch->block[2]);
    run.warps = (run.threads_of_block + LANES - 1) / LANES;
    for (int d = 0; d < 3; d++) {
        run.grid[d] = launch->grid[d] / (launch->cluster[d] > 0 ? launch->cluster[d] : 1);
        run.clusters *= run.grid[d];
    }
    run.tallies = xcalloc(run.clusters, sizeof *run.tallies);
    run.deadline_ms = launch->time_budget_ms > 0 ? clock_now_ms() + launch->time_budget_ms : 0;
    atomic_init(&run.next, 0);
    atomic_init(&run.stop, UINT64_MAX);
    pthread_mutex_init(&run.lock, NULL);
    memory_launch_begin(memory, launch);
    run_threads(&run);
    memory_launch_end(memory);
    outcome_sum(&run);
    pthread_mutex_destroy(&run.lock);
    free(run.tallies);
out:
    if (variables != NULL) {
        variables_free(memory, module, variables);
        free(variables);
    }
}
