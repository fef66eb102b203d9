/*
 * shadow_clock -- who has seen whose accesses: clocks, and all that joins them. See shadow.h.
 */
#include "fitness/emu/shadow.h"

#include <assert.h>
#include <string.h>

/* ---- clocks ---- */

struct clock *clock_new(struct group *group, int32_t stamp)
{
    struct clock *clock = group->free_clocks;

    if (clock != NULL) {
        group->free_clocks = clock->next;
    } else {
        clock = xmalloc(sizeof *clock + (size_t)group->entities * sizeof clock->all[0]);
    }
    clock->next = group->clocks;
    group->clocks = clock;
    clock->parts = NULL;
    clock->entity = -1;
    for (int i = 0; i < group->entities; i++) {
        clock->all[i] = stamp;
    }
    return clock;
}

static void parts_drop(struct group *group, struct clock *clock)
{
    while (clock->parts != NULL) {
        struct clock_part *part = clock->parts;

        clock->parts = part->next;
        part->next = group->free_parts;
        group->free_parts = part;
    }
}

static struct clock_part *part_of(const struct clock *clock, int entity)
{
    struct clock_part *part = clock->parts;

    while (part != NULL && part->entity != entity) {
        part = part->next;
    }
    return part;
}

static struct clock_part *part_make(struct group *group, struct clock *clock, int entity)
{
    struct clock_part *part = part_of(clock, entity);

    if (part != NULL) {
        return part;
    }
    part = group->free_parts;
    if (part != NULL) {
        group->free_parts = part->next;
    } else {
        part = xmalloc(sizeof *part);
    }
    *part = (struct clock_part){.next = clock->parts, .entity = entity};
    clock->parts = part;
    return part;
}

/* Parts that say no more than the whole. */
static void parts_tidy(struct group *group, struct clock *clock)
{
    struct clock_part **at = &clock->parts;

    while (*at != NULL) {
        struct clock_part *part = *at;
        int32_t low = INT32_MAX, high = 0;

        for (int i = 0; i < LANES; i++) {
            low = part->stamp[i] < low ? part->stamp[i] : low;
            high = part->stamp[i] > high ? part->stamp[i] : high;
        }
        if (low > clock->all[part->entity]) {
            clock->all[part->entity] = low;
        }
        if (high <= clock->all[part->entity]) {
            *at = part->next;
            part->next = group->free_parts;
            group->free_parts = part;
        } else {
            at = &part->next;
        }
    }
}

void clock_join(struct group *group, struct clock *into, const struct clock *from)
{
    for (int i = 0; i < group->entities; i++) {
        into->all[i] = from->all[i] > into->all[i] ? from->all[i] : into->all[i];
    }
    for (const struct clock_part *part = from->parts; part != NULL; part = part->next) {
        struct clock_part *mine = part_make(group, into, part->entity);

        for (int i = 0; i < LANES; i++) {
            mine->stamp[i] = part->stamp[i] > mine->stamp[i] ? part->stamp[i] : mine->stamp[i];
        }
    }
    if (into->parts != NULL) {
        parts_tidy(group, into);
    }
}

lanes clock_lacks(const struct clock *clock, int entity, lanes set, int32_t stamp)
{
    const struct clock_part *part;
    lanes lacks = set;

    if (stamp <= clock->all[entity]) {
        return 0;
    }
    part = clock->parts == NULL ? NULL : part_of(clock, entity);
    for (int lane = 0; part != NULL && lane < LANES; lane++) {
        lacks &= ~((lanes)(part->stamp[lane] >= stamp) << lane);
    }
    return lacks;
}

/* What both have seen. */
static struct clock *clock_meet(struct group *group, const struct clock *a, const struct clock *b)
{
    struct clock *both = clock_new(group, 0);

    for (int u = 0; u < group->entities; u++) {
        const struct clock_part *in_a = part_of(a, u), *in_b = part_of(b, u);

        both->all[u] = a->all[u] < b->all[u] ? a->all[u] : b->all[u];
        if (in_a == NULL && in_b == NULL) {
            continue;
        }
        struct clock_part *part = part_make(group, both, u);

        for (int i = 0; i < LANES; i++) {
            int32_t one = in_a != NULL && in_a->stamp[i] > a->all[u] ? in_a->stamp[i] : a->all[u];
            int32_t two = in_b != NULL && in_b->stamp[i] > b->all[u] ? in_b->stamp[i] : b->all[u];

            part->stamp[i] = one < two ? one : two;
        }
    }
    parts_tidy(group, both);
    return both;
}

/* A clock that nobody else holds; the newest, as its makers give it back at once. */
void clock_drop(struct group *group, struct clock *clock)
{
    assert(group->clocks == clock);
    parts_drop(group, clock);
    group->clocks = clock->next;
    clock->next = group->free_clocks;
    group->free_clocks = clock;
}

/*
 * The floor of a warp: of every entity, the stamps that it can have used up to here and that the
 * warp has not seen lie above it. An entity opens its next stamp above all given out so far, so
 * this stays true.
 */
static void floor_find(struct warp_shadow *warp)
{
    const struct group *group = warp->group;
    const int32_t *all = warp->base->all, *last = group->last, *before = group->before;
    int32_t floor = group->now;

    for (int u = 0; u < group->entities; u++) {
        int32_t newest = all[u] >= before[u] ? last[u] - 1 : all[u];
        int32_t seen = all[u] >= last[u] ? INT32_MAX : newest;

        floor = seen < floor ? seen : floor;
    }
    warp->floor = floor;
}

void warp_shadow_open(struct warp_shadow *shadow, struct group *group, int entity)
{
    *shadow = (struct warp_shadow){.group = group, .entity = entity};
    if (group != NULL) {
        shadow->base = clock_new(group, group->birth);
        floor_find(shadow);
    }
}

/* The stamp of an access that is made now. */
int32_t stamp_now(struct warp_shadow *warp)
{
    struct group *group = warp->group;

    if (!warp->open) {
        warp->open = true;
        group->before[warp->entity] = group->last[warp->entity];
        group->last[warp->entity] = ++group->now;
    }
    return group->last[warp->entity];
}

/* The stamp of what the warp does as one: each lane knows of it at once. */
int32_t stamp_together(struct warp_shadow *warp)
{
    struct group *group = warp->group;
    int entity = entity_together(group, warp->entity);

    group->before[entity] = group->last[entity];
    group->last[entity] = ++group->now;
    warp->base->all[entity] = group->now;
    return group->now;
}

static bool all_lanes(const struct warp *warp, lanes active) { return !(warp->alive & ~active); }

/* Adds to a clock what these lanes have done and seen, and closes their stamp. */
static void release_into(struct warp *warp, lanes active, struct clock *clock)
{
    struct warp_shadow *shadow = warp->shadow;
    struct group *group = shadow->group;
    int32_t mine = group->last[shadow->entity];

    clock_join(group, clock, shadow->base);
    FOR_LANES(lane, active & shadow->extra) { clock_join(group, clock, shadow->lane[lane]); }
    if (all_lanes(warp, active)) {
        clock->all[shadow->entity] = mine;
    } else if (clock->all[shadow->entity] < mine) {
        struct clock_part *part = part_make(group, clock, shadow->entity);

        FOR_LANES(lane, active) { part->stamp[lane] = mine; }
    }
    shadow->open = false;
}

void memory_release(struct warp *warp, lanes active, struct clock **clock)
{
    if (warp->shadow == NULL || warp->shadow->group == NULL || active == 0) {
        return;
    }
    if (*clock == NULL) {
        *clock = clock_new(warp->shadow->group, 0);
    }
    release_into(warp, active, *clock);
}

static struct clock *lane_clock(struct warp_shadow *shadow, int lane)
{
    if (shadow->lane[lane] == NULL) {
        shadow->lane[lane] = clock_new(shadow->group, 0);
    }
    shadow->extra |= (lanes)1 << lane;
    return shadow->lane[lane];
}

/* What single lanes knew, all know. */
static void lanes_merge(struct warp_shadow *shadow)
{
    FOR_LANES(lane, shadow->extra)
    {
        clock_join(shadow->group, shadow->base, shadow->lane[lane]);
        parts_drop(shadow->group, shadow->lane[lane]);
        memset(shadow->lane[lane]->all, 0,
               (size_t)shadow->group->entities * sizeof shadow->lane[lane]->all[0]);
    }
    shadow->extra = 0;
}

void memory_acquire(struct warp *warp, lanes active, struct clock *clock)
{
    struct warp_shadow *shadow = warp->shadow;

    if (shadow == NULL || shadow->group == NULL || clock == NULL || active == 0) {
        return;
    }
    if (all_lanes(warp, active)) {
        clock_join(shadow->group, shadow->base, clock);
        floor_find(shadow);
        return;
    }
    FOR_LANES(lane, active) { clock_join(shadow->group, lane_clock(shadow, lane), clock); }
}

void memory_clock_join(struct block *block, struct clock **into, const struct clock *from)
{
    struct group *group = block->shadow == NULL ? NULL : block->shadow->group;

    if (group == NULL || from == NULL) {
        return;
    }
    if (*into == NULL) {
        *into = clock_new(group, 0);
    }
    clock_join(group, *into, from);
}

void memory_warp_sync(struct warp *warp, lanes set)
{
    struct warp_shadow *shadow = warp->shadow;
    struct group *group = shadow == NULL ? NULL : shadow->group;
    struct clock *all;

    if (group == NULL || set == 0) {
        return;
    }
    if (all_lanes(warp, set)) {
        shadow->base->all[shadow->entity] = group->last[shadow->entity];
        shadow->open = false;
        lanes_merge(shadow);
        floor_find(shadow);
        return;
    }
    FOR_LANES(lane, set) { lane_clock(shadow, lane); }
    all = clock_new(group, 0);
    release_into(warp, set, all);
    FOR_LANES(lane, set) { clock_join(group, shadow->lane[lane], all); }
    clock_drop(group, all);
}

void memory_proxy_fence(struct warp *warp, lanes active)
{
    if (warp->shadow != NULL && warp->shadow->group != NULL) {
        memory_release(warp, active, &warp->shadow->group->proxied);
    }
}

void memory_fence(struct warp *warp, lanes active, bool gpu)
{
    if (warp->shadow != NULL && warp->shadow->group != NULL) {
        for (int scope = 0; scope <= gpu; scope++) {
            memory_release(warp, active, &warp->shadow->group->fenced[scope]);
            warp->shadow->group->has_fence[scope] = true;
        }
    }
}

/* ---- order through memory itself ---- */

/* What a strong write lets out: all, if it releases, else what a fence has let through before. */
static void strong_release(struct warp *warp, lanes active, const struct region *region,
                           uint64_t address, unsigned bytes, struct clock *location,
                           bool released)
{
    struct group *group = warp->shadow->group;
    struct clock *mine = clock_new(group, 0), *told;

    release_into(warp, active, mine);
    for (int scope = 0; scope < 2; scope++) {
        if (!released && !group->has_fence[scope]) {
            continue;
        }
        told = released ? mine : clock_meet(group, mine, group->fenced[scope]);
        if (scope == 0) {
            clock_join(group, location, told);
        } else if (region->buffer != NULL) {
            grid_release(group, address, bytes, told);
        }
        if (told != mine) {
            clock_drop(group, told);
        }
    }
    clock_drop(group, mine);
}

void shadow_strong(struct warp *warp, lanes active, const struct region *region, uint64_t offset,
                   unsigned bytes, unsigned access, bool read, bool write)
{
    struct group *group = warp->shadow->group;
    uint64_t address =
        region->buffer != NULL ? region->base + offset : (uint64_t)region->rank << 32 | offset;
    const bool released = write && (access & ACCESS_RELEASE);
    const bool lets_out = released || (write && group->has_fence[0]);
    struct location *location = location_find(&group->locations, address, lets_out);

    if (lets_out) {
        if (location->clock == NULL) {
            location->clock = clock_new(group, 0);
        }
        strong_release(warp, active, region, address, bytes, location->clock, released);
    }
    if (read && location != NULL) {
        memory_acquire(warp, active, location->clock);
    }
    if (read && region->buffer != NULL) {
        grid_acquire(group, address);
    }
}
