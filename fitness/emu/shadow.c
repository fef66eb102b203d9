/*
 * shadow -- cells that say who touched memory: races inside a cluster. See shadow.h.
 *
 * A look at cells has three speeds. All stamps at or below the floor: one loop that the compiler
 * vectorises. Else the warp's clock by the entity of each cell. Else (lanes of one warp released
 * apart, one lane alone has acquired) the parts, lane by lane. Only what fails all three is told.
 */
#include "fitness/emu/shadow.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STAMP_RESET = 1 << 30 }; /* then the shadow is cleared and stamps begin again */

/* ---- pages ---- */

static struct page *page_new(struct group *group, unsigned shift)
{
    unsigned cells = PAGE_BYTES >> shift;
    size_t head = (sizeof(struct page) + (size_t)group->entities * sizeof(uint16_t) + 63) & ~63ul;
    struct page *page = xcalloc(1, head + cells * (8 + 4 + 4 + 1));

    page->shift = shift;
    page->cells = cells;
    page->writer = (uint64_t *)(void *)((char *)page + head);
    page->write = (int32_t *)(void *)(page->writer + cells);
    page->read = page->write + cells;
    page->fresh = (uint8_t *)(page->read + cells);
    return page;
}

static void page_free(struct page *page)
{
    if (page == NULL) {
        return;
    }
    for (int i = 0; i < page->row_count; i++) {
        free(page->rows[i].who);
    }
    free(page->rows);
    free(page->left);
    free(page->hidden);
    free(page);
}

static struct row *row_make(struct page *page, int entity)
{
    if (page->row_of[entity] == 0) {
        if (page->row_count == page->row_room) {
            page->row_room = page->row_room * 2 + 2;
            page->rows = xrealloc(page->rows, (size_t)page->row_room * sizeof page->rows[0]);
        }
        struct row *row = &page->rows[page->row_count];

        row->entity = entity;
        row->who = xcalloc(page->cells, sizeof row->who[0] + sizeof row->stamp[0]);
        row->stamp = (int32_t *)(void *)(row->who + page->cells);
        page->row_of[entity] = (uint16_t)++page->row_count;
    }
    return &page->rows[page->row_of[entity] - 1];
}

/* Nobody has touched it. */
static void page_clear(struct page *page)
{
    memset(page->write, 0, page->cells * sizeof page->write[0]);
    memset(page->read, 0, page->cells * sizeof page->read[0]);
    memset(page->fresh, 0, page->cells);
    page->left_count = page->hidden_count = 0;
    for (int i = 0; i < page->row_count; i++) {
        memset(page->rows[i].stamp, 0, page->cells * sizeof page->rows[i].stamp[0]);
    }
}

/* The same page in narrower cells: what was true of a cell is true of its parts. */
static struct page *page_split(struct group *group, struct page *old, unsigned shift)
{
    struct page *page = page_new(group, shift);
    unsigned by = old->shift - shift;

    page->key = old->key;
    for (unsigned i = 0; i < page->cells; i++) {
        page->writer[i] = old->writer[i >> by];
        page->write[i] = old->write[i >> by];
        page->read[i] = old->read[i >> by];
        page->fresh[i] = old->fresh[i >> by];
    }
    for (int r = 0; r < old->row_count; r++) {
        struct row *row = row_make(page, old->rows[r].entity);

        for (unsigned i = 0; i < page->cells; i++) {
            row->stamp[i] = old->rows[r].stamp[i >> by];
            row->who[i] = old->rows[r].who[i >> by];
        }
    }
    page->left = old->left; /* said in bytes, not in cells */
    page->left_count = old->left_count;
    page->left_room = old->left_room;
    old->left = NULL;
    page->hidden = old->hidden;
    page->hidden_count = old->hidden_count;
    page->hidden_room = old->hidden_room;
    old->hidden = NULL;
    page_free(old);
    return page;
}

static uint32_t key_hash(uint64_t key, uint32_t room)
{
    return (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (room - 1);
}

static struct page **map_slot(const struct page_map *map, uint64_t key)
{
    uint32_t at = key_hash(key, map->room);

    while (map->pages[at] != NULL && map->pages[at]->key != key) {
        at = (at + 1) & (map->room - 1);
    }
    return &map->pages[at];
}

static void map_grow(struct page_map *map)
{
    struct page_map wide = {.room = map->room == 0 ? 64 : map->room * 2, .count = map->count};

    wide.pages = xcalloc(wide.room, sizeof wide.pages[0]);
    for (uint32_t i = 0; i < map->room; i++) {
        if (map->pages[i] != NULL) {
            *map_slot(&wide, map->pages[i]->key) = map->pages[i];
        }
    }
    free(map->pages);
    *map = wide;
}

static struct page **global_slot(struct group *group, uint64_t key)
{
    if (group->global.count * 2 >= group->global.room) {
        map_grow(&group->global);
    }
    return map_slot(&group->global, key);
}

struct page *page_touched(const struct group *group, uint64_t address)
{
    return group->global.room > 0 ? *map_slot(&group->global, address >> PAGE_SHIFT) : NULL;
}

/* The page of a place, with cells of 1 << shift bytes at most. */
static inline struct page *page_at(struct group *group, const struct region *region,
                                   uint64_t position, unsigned shift)
{
    uint64_t key = position >> PAGE_SHIFT;
    struct page **slot = region->buffer != NULL
                             ? global_slot(group, key)
                             : &group->shared[(unsigned)region->rank * group->shared_pages + key];

    if (*slot == NULL) {
        struct page *page = region->buffer != NULL ? group->free_pages[shift] : NULL;

        if (page != NULL) {
            group->free_pages[shift] = page->next;
            page_clear(page);
        } else {
            page = page_new(group, shift);
        }
        page->key = key;
        group->global.count += region->buffer != NULL;
        *slot = page;
    } else if ((*slot)->shift > shift) {
        *slot = page_split(group, *slot, shift);
    }
    return *slot;
}

/* ---- groups ---- */

static struct group *group_new(struct memory *memory)
{
    struct group *group = xcalloc(1, sizeof *group);

    group->memory = memory;
    group->warps = memory->warps;
    group->blocks = memory->blocks;
    group->entities = entity_copies(group) + COPY_ENTITIES;
    assert(group->entities <= 1 << 10);
    group->last = xcalloc((size_t)group->entities, sizeof group->last[0]);
    group->before = xcalloc((size_t)group->entities, sizeof group->before[0]);
    group->shared_pages = (unsigned)((memory->shared_bytes + PAGE_BYTES - 1) >> PAGE_SHIFT);
    group->shared =
        xcalloc((size_t)group->shared_pages * (size_t)group->blocks + 1, sizeof group->shared[0]);
    return group;
}

struct group *group_open(struct memory *memory, const struct block *block)
{
    struct group *group;

    pthread_mutex_lock(&memory->lock);
    group = memory->groups_free;
    if (group != NULL) {
        memory->groups_free = group->next;
    }
    pthread_mutex_unlock(&memory->lock);
    if (group == NULL) {
        group = group_new(memory);
    }
    group->cluster = block->cluster_id;
    group->birth = group->now;
    for (int i = 0; i < group->entities; i++) {
        group->last[i] = group->before[i] = group->birth;
    }
    group->proxied = clock_new(group, group->birth);
    group->fenced[0] = clock_new(group, group->birth);
    group->fenced[1] = clock_new(group, group->birth);
    return group;
}

static void clocks_drop(struct group *group)
{
    while (group->clocks != NULL) {
        clock_drop(group, group->clocks);
    }
}

/* After copies that never landed, or when stamps run out. */
static void shared_clear(struct group *group)
{
    for (unsigned i = 0; i < group->shared_pages * (unsigned)group->blocks; i++) {
        if (group->shared[i] != NULL) {
            page_clear(group->shared[i]);
        }
    }
}

void group_close(struct group *group)
{
    struct memory *memory = group->memory;

    grid_flush(group, NULL);
    for (uint32_t i = 0; i < group->global.room; i++) {
        struct page *page = group->global.pages[i];

        if (page != NULL) {
            page->next = group->free_pages[page->shift];
            group->free_pages[page->shift] = page;
            group->global.pages[i] = NULL;
        }
    }
    group->global.count = 0;
    if (group->flights || group->now > STAMP_RESET) {
        shared_clear(group);
    }
    group->flights = false;
    group->now = group->now > STAMP_RESET ? 0 : group->now;
    group->copies = 0;
    group->segment = 0;
    group->has_fence[0] = group->has_fence[1] = false;
    free(group->foreign);
    group->foreign = NULL;
    locations_free(&group->locations);
    clocks_drop(group);
    pthread_mutex_lock(&memory->lock);
    group->next = memory->groups_free;
    memory->groups_free = group;
    pthread_mutex_unlock(&memory->lock);
}

void group_free(struct group *group)
{
    clocks_drop(group);
    while (group->free_clocks != NULL) {
        struct clock *clock = group->free_clocks;

        group->free_clocks = clock->next;
        free(clock);
    }
    while (group->free_parts != NULL) {
        struct clock_part *part = group->free_parts;

        group->free_parts = part->next;
        free(part);
    }
    for (unsigned i = 0; i < group->shared_pages * (unsigned)group->blocks; i++) {
        page_free(group->shared[i]);
    }
    for (uint32_t i = 0; i < group->global.room; i++) {
        page_free(group->global.pages[i]);
    }
    for (int i = 0; i <= CELL_SHIFT_MAX; i++) {
        while (group->free_pages[i] != NULL) {
            struct page *page = group->free_pages[i];

            group->free_pages[i] = page->next;
            page_free(page);
        }
    }
    locations_free(&group->locations);
    free(group->foreign);
    free(group->global.pages);
    free(group->shared);
    free(group->last);
    free(group->before);
    free(group);
}

/* ---- an access, and what it meets ---- */

struct touch {
    struct warp *warp;
    struct warp_shadow *shadow;
    struct group *group;
    const struct op *op;
    const struct region *region;
    const struct access_plan *plan; /* NULL: a span */
    uint64_t who;                   /* all but the lanes */
    int entity;
    int32_t stamp;
    bool write, async, begin;
    bool is_flight; /* the bytes are this op's own copy on its way */
    enum step step;
};

/*
 * Cells side by side of one page, touched by the lanes of `set`, or by one lane each 1 << per
 * cells.
 */
struct strip {
    struct page *page;
    unsigned cell, count;
    uint64_t offset; /* of the first cell in the region */
    lanes set;
    int first, per; /* per -1: all cells by `set` */
};

static inline lanes strip_lanes(const struct strip *strip, unsigned i)
{
    return strip->per < 0 ? strip->set : (lanes)1 << (strip->first + (int)(i >> strip->per));
}
static inline int strip_lane(const struct strip *strip, unsigned i)
{
    return __builtin_ctz(strip_lanes(strip, i));
}

static inline bool any_above(const int32_t *stamps, unsigned count, int32_t limit)
{
    int32_t above = 0;

    for (unsigned i = 0; i < count; i++) {
        above |= stamps[i] > limit;
    }
    return above != 0;
}

/*
 * Have these lanes of the warp seen what those of `entity` did? `own`: it is theirs, too, each
 * sees its own.
 */
static bool is_seen(const struct warp *warp, lanes mine, int entity, lanes theirs, int32_t stamp,
                    bool own)
{
    const struct warp_shadow *shadow = warp->shadow;

    theirs = clock_lacks(shadow->base, entity, theirs, stamp);
    if (theirs == 0) {
        return true;
    }
    FOR_LANES(lane, mine & warp->alive)
    {
        lanes lacks = own ? theirs & ~((lanes)1 << lane) : theirs;

        if (lacks != 0 && (shadow->extra >> lane & 1)) {
            lacks = clock_lacks(shadow->lane[lane], entity, lacks, stamp);
        }
        if (lacks != 0) {
            return false;
        }
    }
    return true;
}

struct other { /* an earlier access that is in question */
    int entity;
    lanes set;
    int32_t stamp;
    uint32_t op;
    bool write, strong;
};

static struct other other_of(uint64_t who, int32_t stamp, bool write)
{
    return (struct other){.entity = who_entity(who),
                          .set = who_lanes(who),
                          .stamp = stamp,
                          .op = who_op(who),
                          .write = write,
                          .strong = (who & WHO_STRONG) != 0};
}

static void other_text(const struct touch *t, const struct other *other, char text[240])
{
    char op[112], who[48], rank[40] = "";
    int warp = entity_warp(t->group, other->entity), block = warp / t->group->warps;

    op_text(t->group->memory, op_of(t->group->memory, other->op), op);
    if (warp < 0) {
        snprintf(text, 240, "%s", op); /* counted by an mbarrier: whose copy it was, its op says */
        return;
    }
    lanes_text(warp % t->group->warps, other->set, who);
    if (block != (int)t->warp->block->cluster_rank) {
        snprintf(rank, sizeof rank, " of block %d of the cluster", block);
    }
    snprintf(text, 240, "%s of %s%s", op, who, rank);
}

/* "ld.shared.f32 (x.cu:3) of warp 0 lane 5 reads 4 bytes at shared+128" */
static void touch_text(const struct touch *t, const struct strip *strip, unsigned i, char text[288])
{
    char op[112], who[48], where[96];
    uint64_t offset = t->plan != NULL ? t->plan->offset[strip_lane(strip, i)]
                                      : strip->offset + ((uint64_t)i << strip->page->shift);

    op_text(t->group->memory, t->op, op);
    lanes_text(t->warp->index, strip_lanes(strip, i), who);
    region_text(t->group->memory, t->region, offset, where);
    snprintf(text, 288, "%s of %s %s %u bytes at %s", op, who, t->write ? "writes" : "reads",
             t->plan != NULL ? t->plan->size : 1u << strip->page->shift, where);
}

static void tell(struct touch *t, const struct strip *strip, unsigned i, const struct other *other)
{
    const bool flight = other->stamp == STAMP_FLIGHT;
    const enum finding_kind kind = flight && !other->write ? FINDING_IN_FLIGHT : FINDING_RACE;
    const struct op *op = op_of(t->group->memory, other->op);
    unsigned wanted = flight ? SANITIZE_RACES | SANITIZE_ASYNC : SANITIZE_RACES;
    const char *did = other->write ? "wrote" : "read", *does = other->write ? "writing" : "reading";
    char mine[288], theirs[240];

    if (!(t->group->memory->sanitize & wanted) || !first_told(t->warp->block, kind, t->op, op)) {
        return;
    }
    touch_text(t, strip, i, mine);
    other_text(t, other, theirs);
    t->step = finding_add(t->warp, t->op, kind, strip_lane(strip, i),
                          t->region->base + strip->offset + ((uint64_t)i << strip->page->shift), op,
                          flight ? "%s while %s is still %s them"
                                 : "%s; %s %s them, and nothing orders the two",
                          mine, theirs, flight ? does : did);
}

static void tell_proxy(struct touch *t, const struct strip *strip, unsigned i,
                       const struct other *other)
{
    const struct op *op = op_of(t->group->memory, other->op);
    char mine[288], theirs[240];

    if (!(t->group->memory->sanitize & SANITIZE_ASYNC) ||
        !first_told(t->warp->block, FINDING_PROXY, t->op, op)) {
        return;
    }
    touch_text(t, strip, i, mine);
    other_text(t, other, theirs);
    t->step = finding_add(t->warp, t->op, FINDING_PROXY, strip_lane(strip, i),
                          t->region->base + strip->offset + ((uint64_t)i << strip->page->shift), op,
                          "%s by the asynchronous proxy; %s wrote them, and no fence.proxy.async "
                          "lies between",
                          mine, theirs);
}

/*
 * Is this earlier access before ours? A write by several lanes of a warp was of one value to one
 * place: each of them has made it, and goes on behind its own.
 */
static bool is_before(const struct touch *t, lanes mine, const struct other *other)
{
    if (other->stamp == STAMP_FLIGHT) {
        return false;
    }
    if (other->entity == t->entity &&
        (t->entity != t->shadow->entity || (other->write && (mine & ~other->set) == 0))) {
        return true; /* the warp as one, or each lane's own */
    }
    return is_seen(t->warp, mine, other->entity, other->set, other->stamp,
                   other->entity == t->entity);
}

/* The bytes that are about to be written to a cell are those that are there. */
static bool writes_same(const struct touch *t, const struct strip *strip, unsigned i)
{
    uint64_t offset = strip->offset + ((uint64_t)i << strip->page->shift);
    int lane = strip_lane(strip, i);
    uint8_t value[64];

    if (t->plan == NULL || t->plan->slots == NULL) {
        return false;
    }
    plan_value(t->plan, lane, value);
    return memcmp(value + (offset - t->plan->offset[lane]), t->region->data + offset,
                  (size_t)1 << strip->page->shift) == 0;
}

static bool is_own_flight(struct touch *t, const struct other *other)
{
    if (other->stamp != STAMP_FLIGHT || t->begin || t->plan != NULL || other->entity != t->entity ||
        other->op != who_op(t->who)) {
        return false;
    }
    t->is_flight = true;
    return true;
}

/* Against the last write of a cell. */
static void meet_writer(struct touch *t, const struct strip *strip, unsigned i)
{
    unsigned cell = strip->cell + i;
    uint64_t writer = strip->page->writer[cell];
    struct other other = other_of(writer, strip->page->write[cell], true);

    if (other.stamp <= t->group->birth || is_own_flight(t, &other)) {
        return;
    }
    if (other.stamp > t->shadow->floor && !(other.strong && (t->who & WHO_STRONG)) &&
        !is_before(t, strip_lanes(strip, i), &other)) {
        if (other.stamp == STAMP_FLIGHT || !t->write || !writes_same(t, strip, i)) {
            tell(t, strip, i, &other);
        }
        return;
    }
    if (t->async && !(writer & WHO_ASYNC) &&
        clock_lacks(t->group->proxied, other.entity, other.set, other.stamp) != 0) {
        tell_proxy(t, strip, i, &other);
    }
}

/* The cells of the strip that a record of the page is of: from *first to before the result. */
static unsigned left_cells(const struct page *page, const struct strip *strip,
                           const struct left *left, unsigned *first)
{
    unsigned from = (unsigned)left->from >> page->shift;
    unsigned end = (unsigned)(left->from + left->bytes) >> page->shift;

    *first = from > strip->cell ? from : strip->cell;
    return end < strip->cell + strip->count ? end : strip->cell + strip->count;
}

/* Against plain writes that atomics have hidden. */
static void meet_hidden(struct touch *t, const struct strip *strip)
{
    const struct page *page = strip->page;

    for (int k = 0; k < page->hidden_count && t->step == STEP_NEXT; k++) {
        struct other other = other_of(page->hidden[k].who, page->hidden[k].stamp, true);
        unsigned cell, end = left_cells(page, strip, &page->hidden[k], &cell);

        for (; cell < end; cell++) {
            if (other.stamp > t->shadow->floor &&
                !is_before(t, strip_lanes(strip, cell - strip->cell), &other)) {
                tell(t, strip, cell - strip->cell, &other);
            }
        }
    }
}

static void meet_reader(struct touch *t, const struct strip *strip, unsigned i,
                        const struct other *other)
{
    if (!(other->strong && (t->who & WHO_STRONG)) && !is_own_flight(t, other) &&
        !is_before(t, strip_lanes(strip, i), other)) {
        tell(t, strip, i, other);
    }
}

/* Against the last reads of cells. */
static void meet_readers(struct touch *t, const struct strip *strip)
{
    const struct page *page = strip->page;

    for (int r = 0; r < page->row_count; r++) {
        const struct row *row = &page->rows[r];
        const int32_t *stamps = row->stamp + strip->cell;
        int32_t seen = t->shadow->base->all[row->entity];

        if (!any_above(stamps, strip->count, seen)) {
            continue;
        }
        for (unsigned i = 0; i < strip->count && t->step == STEP_NEXT; i++) {
            struct other other = other_of(row->who[strip->cell + i], stamps[i], false);

            if (other.stamp > seen) {
                meet_reader(t, strip, i, &other);
            }
        }
    }
    for (int k = 0; k < page->left_count && t->step == STEP_NEXT; k++) {
        struct other other = other_of(page->left[k].who, page->left[k].stamp, false);
        unsigned cell, end = left_cells(page, strip, &page->left[k], &cell);

        for (; cell < end; cell++) {
            meet_reader(t, strip, cell - strip->cell, &other);
        }
    }
}

static inline void strip_check(struct touch *t, const struct strip *strip)
{
    const int32_t *writes = strip->page->write + strip->cell;
    const int32_t *reads = strip->page->read + strip->cell;
    int32_t floor = t->shadow->floor;

    if (t->async || any_above(writes, strip->count, floor)) {
        for (unsigned i = 0; i < strip->count && t->step == STEP_NEXT; i++) {
            if (t->async || writes[i] > floor) {
                meet_writer(t, strip, i);
            }
        }
    }
    if (t->write && any_above(reads, strip->count, floor)) {
        meet_readers(t, strip);
    }
    if (strip->page->hidden_count > 0) {
        meet_hidden(t, strip);
    }
}

/* ---- recording it ---- */

/* Lanes that read again stand for their earlier reads; what is told of a synchronised warp, too. */
static void left_tidy(struct page *page, unsigned from, unsigned bytes, int entity, lanes again,
                      int32_t synced)
{
    int kept = 0;

    for (int k = 0; k < page->left_count; k++) {
        struct left left = page->left[k];

        if (left.entity == entity && left.from == from && left.bytes == bytes) {
            left.who &= ~(uint64_t)again;
        }
        if (who_lanes(left.who) != 0 && !(left.entity == entity && left.stamp <= synced)) {
            page->left[kept++] = left;
        }
    }
    page->left_count = kept;
}

static void left_add(struct page *page, unsigned cell, int32_t stamp, uint64_t who)
{
    if (page->left_count == LEFT_MAX) {
        return;
    }
    if (page->left_count == page->left_room) {
        page->left_room = page->left_room * 2 + 16;
        page->left = xrealloc(page->left, (size_t)page->left_room * sizeof page->left[0]);
    }
    page->left[page->left_count++] = (struct left){.from = (uint16_t)(cell << page->shift),
                                                   .bytes = (uint16_t)(1 << page->shift),
                                                   .entity = who_entity(who),
                                                   .stamp = stamp,
                                                   .who = who};
}

/* A cell that lanes of this warp have read, with nothing that orders those lanes since. */
static void read_again(const struct touch *t, struct page *page, const struct row *row,
                       unsigned cell, uint64_t who)
{
    const int32_t old = row->stamp[cell];
    uint64_t rest = row->who[cell] & ~(uint64_t)who_lanes(who);
    const int32_t synced = t->shadow->base->all[t->entity];

    if (old == STAMP_FLIGHT) {
        return;
    }
    if (page->left_count > 0) {
        left_tidy(page, cell << page->shift, 1u << page->shift, t->entity, who_lanes(who), synced);
    }
    if (old == t->stamp) {
        who |= who_lanes(rest);
        who &= row->who[cell] | ~WHO_STRONG;
    } else if (old > synced && who_lanes(rest) != 0) {
        left_add(page, cell, old, rest);
    }
    row->who[cell] = who;
    row->stamp[cell] = t->stamp;
}

static void fresh_add(struct group *group, struct page *page, unsigned cell, unsigned count,
                      uint8_t what)
{
    group->fresh = true;
    for (unsigned i = 0; i < count; i++) {
        page->fresh[cell + i] |= what;
    }
}

/* So that cells of one lane each are marked without a shift in the loop. */
static const uint64_t lane_bits[LANES] = {
    1u << 0,  1u << 1,  1u << 2,  1u << 3,  1u << 4,  1u << 5,  1u << 6,  1u << 7,
    1u << 8,  1u << 9,  1u << 10, 1u << 11, 1u << 12, 1u << 13, 1u << 14, 1u << 15,
    1u << 16, 1u << 17, 1u << 18, 1u << 19, 1u << 20, 1u << 21, 1u << 22, 1u << 23,
    1u << 24, 1u << 25, 1u << 26, 1u << 27, 1u << 28, 1u << 29, 1u << 30, 1u << 31};

static inline void strip_set(const struct strip *strip, uint64_t *who, int32_t *stamps,
                             uint64_t base, int32_t stamp)
{
    if (strip->per < 0) {
        for (unsigned i = 0; i < strip->count; i++) {
            who[i] = base | strip->set;
        }
    } else if (strip->per == 0) {
        for (unsigned i = 0; i < strip->count; i++) {
            who[i] = base | lane_bits[strip->first + (int)i];
        }
    } else {
        for (unsigned i = 0; i < strip->count; i++) {
            who[i] = base | lane_bits[strip->first + (int)(i >> strip->per)];
        }
    }
    for (unsigned i = 0; i < strip->count; i++) {
        stamps[i] = stamp;
    }
}

static void mark_read(struct touch *t, const struct strip *strip)
{
    struct row *row = row_make(strip->page, t->entity);
    int32_t *stamps = row->stamp + strip->cell, *reads = strip->page->read + strip->cell;
    const int32_t synced = t->shadow->base->all[t->entity], stamp = t->stamp;

    if (any_above(stamps, strip->count, synced)) {
        for (unsigned i = 0; i < strip->count; i++) {
            read_again(t, strip->page, row, strip->cell + i, t->who | strip_lanes(strip, i));
        }
    } else {
        strip_set(strip, row->who + strip->cell, stamps, t->who, stamp);
    }
    for (unsigned i = 0; i < strip->count; i++) {
        reads[i] = reads[i] > stamp ? reads[i] : stamp;
    }
    if (t->region->buffer != NULL) {
        fresh_add(t->group, strip->page, strip->cell, strip->count, FRESH_READ);
    }
}

/* Plain writes that an atomic is about to replace stay known; a plain one has met them itself. */
static void hidden_keep(struct page *page, const struct strip *strip, bool strong, int32_t birth)
{
    int kept = 0;

    for (int k = 0; k < page->hidden_count; k++) {
        unsigned cell, end = left_cells(page, strip, &page->hidden[k], &cell);

        if (strong || cell >= end) {
            page->hidden[kept++] = page->hidden[k];
        }
    }
    page->hidden_count = kept;
    for (unsigned cell = strip->cell; strong && cell < strip->cell + strip->count; cell++) {
        const uint64_t who = page->writer[cell];

        if (page->write[cell] <= birth || page->write[cell] == STAMP_FLIGHT || (who & WHO_STRONG) ||
            page->hidden_count == LEFT_MAX) {
            continue;
        }
        if (page->hidden_count == page->hidden_room) {
            page->hidden_room = page->hidden_room * 2 + 16;
            page->hidden =
                xrealloc(page->hidden, (size_t)page->hidden_room * sizeof page->hidden[0]);
        }
        page->hidden[page->hidden_count++] = (struct left){.from = (uint16_t)(cell << page->shift),
                                                           .bytes = (uint16_t)(1 << page->shift),
                                                           .entity = who_entity(who),
                                                           .stamp = page->write[cell],
                                                           .who = who};
    }
}

static void mark_write(struct touch *t, const struct strip *strip)
{
    if ((t->who & WHO_STRONG) || strip->page->hidden_count > 0) {
        hidden_keep(strip->page, strip, (t->who & WHO_STRONG) != 0, t->group->birth);
    }
    strip_set(strip, strip->page->writer + strip->cell, strip->page->write + strip->cell, t->who,
              t->stamp);
    if (t->region->buffer != NULL) {
        fresh_add(t->group, strip->page, strip->cell, strip->count, FRESH_WRITE);
    }
}

static inline void strip_mark(struct touch *t, const struct strip *strip)
{
    if (t->write) {
        mark_write(t, strip);
    } else {
        mark_read(t, strip);
    }
}

enum { DO_CHECK = 1, DO_MARK = 2 };

/*
 * Bytes side by side: `lane_bytes` of each lane from the first of `set`, or, 0, all of all of it.
 */
static inline void touch_bytes(struct touch *t, uint64_t offset, uint64_t bytes, lanes set,
                               unsigned lane_bytes, int what)
{
    const uint64_t base = t->region->buffer != NULL ? t->region->base : 0;
    uint64_t grain = (offset + base) | (lane_bytes > 0 ? lane_bytes : bytes);
    unsigned shift = (unsigned)__builtin_ctzll(grain | 1 << CELL_SHIFT_MAX);
    int first = __builtin_ctz(set);

    while (bytes > 0 && t->step == STEP_NEXT) {
        uint64_t position = base + offset, room = PAGE_BYTES - position % PAGE_BYTES;
        struct strip strip = {.page = page_at(t->group, t->region, position, shift),
                              .offset = offset,
                              .set = set,
                              .first = first,
                              .per = -1};
        uint64_t now = bytes < room ? bytes : room;

        strip.cell = (unsigned)(position % PAGE_BYTES) >> strip.page->shift;
        strip.count = (unsigned)now >> strip.page->shift;
        if (lane_bytes > 0) {
            strip.per = __builtin_ctz(lane_bytes) - (int)strip.page->shift;
            first += (int)(now / lane_bytes);
        }
        if (what & DO_CHECK) {
            t->is_flight = false;
            strip_check(t, &strip);
        }
        if ((what & DO_MARK) && !t->is_flight) {
            strip_mark(t, &strip);
        }
        offset += now;
        bytes -= now;
    }
}

/*
 * touch_bytes for a lane's few cells of shared memory when all is as usual; false, with nothing
 * done, when it is not.
 */
static inline bool touch_few(struct touch *t, uint64_t offset, uint64_t bytes, int lane, int what)
{
    struct group *group = t->group;
    const int32_t floor = t->shadow->floor, stamp = t->stamp;
    const uint64_t who = t->who | lane_bits[lane];
    struct page *page;
    unsigned cell, end;

    if (t->region->buffer != NULL) {
        return false;
    }
    page = group->shared[(unsigned)t->region->rank * group->shared_pages + (offset >> PAGE_SHIFT)];
    if (page == NULL || bytes >> page->shift == 0) {
        return false;
    }
    cell = (unsigned)(offset % PAGE_BYTES) >> page->shift;
    end = cell + ((unsigned)bytes >> page->shift);
    if (page->hidden_count > 0 || (t->write && (t->who & WHO_STRONG))) {
        return false;
    }
    for (unsigned i = cell; (what & DO_CHECK) && i < end; i++) {
        if (page->write[i] > floor || (t->write && page->read[i] > floor)) {
            return false;
        }
    }
    if (t->write) {
        for (unsigned i = cell; (what & DO_MARK) && i < end; i++) {
            page->writer[i] = who;
            page->write[i] = stamp;
        }
        return true;
    }
    if (page->row_of[t->entity] == 0) {
        return false;
    }
    const struct row *row = &page->rows[page->row_of[t->entity] - 1];
    const int32_t synced = t->shadow->base->all[t->entity];

    for (unsigned i = cell; i < end; i++) { /* a read is checked and marked at once */
        if (row->stamp[i] > synced) {
            read_again(t, page, row, i, who);
        } else {
            row->who[i] = who;
            row->stamp[i] = stamp;
        }
        page->read[i] = page->read[i] > stamp ? page->read[i] : stamp;
    }
    return true;
}

/* Lanes at any places: those side by side, or at one place, go together. */
static void touch_lanes(struct touch *t, int what)
{
    const struct access_plan *plan = t->plan;
    lanes left = plan->mask;

    while (left != 0 && t->step == STEP_NEXT) {
        const int first = __builtin_ctz(left);
        const uint64_t offset = plan->offset[first];
        const uint64_t step =
            first + 1 < LANES && (left >> (first + 1) & 1) && plan->offset[first + 1] == offset
                ? 0
                : plan->size;
        int last = first;
        lanes set;

        while (last + 1 < LANES && (left >> (last + 1) & 1) &&
               plan->offset[last + 1] == plan->offset[last] + step) {
            last++;
        }
        set = (UINT32_MAX >> (LANES - 1 - last)) & (UINT32_MAX << first);
        left &= ~set;
        if (step == 0) {
            touch_bytes(t, offset, plan->size, set, 0, what);
        } else if (last > first || !touch_few(t, offset, plan->size, first, what)) {
            touch_bytes(t, offset, (uint64_t)(last - first + 1) * plan->size, set, plan->size,
                        what);
        }
    }
}

/* Each lane behind the one before: no two can meet. */
static bool is_ascending(const struct access_plan *plan)
{
    uint64_t next = 0;

    FOR_LANES(lane, plan->mask)
    {
        if (plan->offset[lane] < next) {
            return false;
        }
        next = plan->offset[lane] + plan->size;
    }
    return true;
}

/* Two lanes of one op write different values to one byte. */
static enum step tell_lanes(const struct access_plan *plan, int one, int two)
{
    char op[112], where[96];

    if (!(plan->warp->shadow->group->memory->sanitize & SANITIZE_RACES) ||
        !first_told(plan->warp->block, FINDING_RACE, plan->op, plan->op)) {
        return STEP_NEXT;
    }
    op_text(plan->warp->shadow->group->memory, plan->op, op);
    region_text(plan->warp->shadow->group->memory, &plan->region, plan->offset[two], where);
    return finding_add(plan->warp, plan->op, FINDING_RACE, two,
                       plan->region.base + plan->offset[two], plan->op,
                       "%s of warp %d writes %u bytes at %s with different values in lanes %d and "
                       "%d",
                       op, plan->warp->index, plan->size, where, one, two);
}

static enum step lanes_collide(const struct access_plan *plan)
{
    uint8_t one[64], two[64];

    FOR_LANES(a, plan->mask)
    {
        plan_value(plan, a, one);
        FOR_LANES(b, plan->mask & ~(((lanes)2 << a) - 1))
        {
            /* Both are aligned to their size, so they lie on each other or apart. */
            if (plan->offset[a] != plan->offset[b]) {
                continue;
            }
            plan_value(plan, b, two);
            if (memcmp(one, two, plan->size) != 0) {
                return tell_lanes(plan, a, b);
            }
        }
    }
    return STEP_NEXT;
}

/* `lane` -1: the warp as one. */
static struct touch touch_open(struct warp *warp, const struct op *op, const struct region *region,
                               int lane, bool write, bool strong, bool async)
{
    struct touch t = {.warp = warp,
                      .shadow = warp->shadow,
                      .group = warp->shadow->group,
                      .op = op,
                      .region = region,
                      .write = write,
                      .async = async};

    t.entity = lane < 0 ? entity_together(t.group, t.shadow->entity) : t.shadow->entity;
    t.stamp = lane < 0 ? stamp_together(t.shadow) : stamp_now(t.shadow);
    t.who = (uint64_t)op_index(t.group->memory, op) << 32 | (strong ? WHO_STRONG : 0) |
            (async ? WHO_ASYNC : 0) | (uint64_t)t.entity << 54;
    t.step = STEP_NEXT;
    return t;
}

SHADOW_HOT enum step shadow_access(const struct access_plan *plan)
{
    struct touch t =
        touch_open(plan->warp, plan->op, &plan->region, 0, plan->write, plan->strong, false);

    t.plan = plan;
    if (plan->pattern == PATTERN_ROW) {
        touch_bytes(&t, plan->offset[0], (uint64_t)plan->size * LANES, UINT32_MAX, plan->size,
                    DO_CHECK | DO_MARK);
        return t.step;
    }
    if (plan->pattern == PATTERN_SAME) {
        t.step = plan->write && plan->slots != NULL ? lanes_collide(plan) : STEP_NEXT;
        touch_bytes(&t, plan->offset[__builtin_ctz(plan->mask)], plan->size, plan->mask, 0,
                    DO_CHECK | DO_MARK);
        return t.step;
    }
    if (!plan->write || plan->slots == NULL || is_ascending(plan)) {
        touch_lanes(&t, DO_CHECK | DO_MARK);
        return t.step;
    }
    t.step = plan->strong ? STEP_NEXT : lanes_collide(plan);
    touch_lanes(&t, DO_CHECK); /* all before any is marked: one op's lanes are no race */
    touch_lanes(&t, DO_MARK);
    return t.step;
}

enum step shadow_span(struct warp *warp, const struct op *op, int lane, const struct region *region,
                      uint64_t offset, uint64_t bytes, bool write, enum proxy proxy, bool begin)
{
    struct touch t = touch_open(warp, op, region, lane, write, false, proxy == PROXY_ASYNC);

    if (begin) {
        t.begin = true;
        t.stamp = STAMP_FLIGHT;
        t.group->flights = true;
    }
    touch_bytes(&t, offset, bytes, lane < 0 ? UINT32_MAX : (lanes)1 << lane, 0, DO_CHECK | DO_MARK);
    return t.step;
}

/* ---- landing ---- */

/* The entity of the mbarrier that counts copies, with a stamp of its own for each landing. */
static int clock_entity(struct group *group, struct clock *clock)
{
    if (clock->entity < 0) {
        clock->entity = entity_copies(group) + group->copies++ % COPY_ENTITIES;
    }
    group->before[clock->entity] = group->last[clock->entity];
    group->last[clock->entity] = ++group->now;
    clock->all[clock->entity] = group->now;
    return clock->entity;
}

/* The read of `asked` that was in flight has been made, by `entity`. */
static void land_read(struct group *group, struct page *page, unsigned cell, unsigned count,
                      int asked, int entity, uint64_t who)
{
    row_make(page, asked);
    row_make(page, entity);
    const struct row *flown = &page->rows[page->row_of[asked] - 1];
    const struct row *landed = &page->rows[page->row_of[entity] - 1];

    for (unsigned i = cell; i < cell + count; i++) {
        if (flown->stamp[i] == STAMP_FLIGHT) {
            flown->stamp[i] = 0;
        }
        landed->stamp[i] = group->last[entity];
        landed->who[i] = who;
        page->read[i] = group->now;
        for (int r = 0; r < page->row_count; r++) {
            if (page->rows[r].stamp[i] == STAMP_FLIGHT) {
                page->read[i] = STAMP_FLIGHT;
            }
        }
    }
}

void shadow_land(struct warp *warp, const struct op *op, int lane, const struct region *region,
                 uint64_t offset, uint64_t bytes, bool write, enum proxy proxy,
                 struct clock **clock)
{
    struct touch t = touch_open(warp, op, region, lane, write, false, proxy == PROXY_ASYNC);
    const uint64_t base = region->buffer != NULL ? region->base : 0;
    unsigned shift = (unsigned)__builtin_ctzll((offset + base) | bytes | 1 << CELL_SHIFT_MAX);
    uint64_t who = t.who | (lane < 0 ? UINT32_MAX : (lanes)1 << lane);
    int entity = t.entity;

    if (clock != NULL) {
        if (*clock == NULL) {
            *clock = clock_new(t.group, 0);
        }
        entity = clock_entity(t.group, *clock);
        who = (who & ~(UINT64_C(1023) << 54)) | (uint64_t)entity << 54;
    }
    for (uint64_t now; bytes > 0; offset += now, bytes -= now) {
        uint64_t position = base + offset, room = PAGE_BYTES - position % PAGE_BYTES;
        struct page *page = page_at(t.group, region, position, shift);
        unsigned cell = (unsigned)(position % PAGE_BYTES) >> page->shift;
        unsigned count;

        now = bytes < room ? bytes : room;
        count = (unsigned)now >> page->shift;
        if (!write) {
            land_read(t.group, page, cell, count, t.entity, entity, who);
            continue;
        }
        for (unsigned i = cell; i < cell + count; i++) {
            page->write[i] = t.group->last[entity];
            page->writer[i] = who;
        }
        if (region->buffer != NULL) {
            fresh_add(t.group, page, cell, count, FRESH_WRITE);
        }
    }
}

/* ---- the end of a cluster ---- */

/*
 * An access to a block's shared memory by another block, and what the block had seen at its end.
 * Copies look after themselves: async.c tells those that are on their way when a block ends.
 */
static void end_check(const struct block *owner, const struct clock *seen, uint64_t who,
                      int32_t stamp, bool write, unsigned offset)
{
    struct group *group = owner->shadow->group;
    const struct other other = other_of(who, stamp, write);
    const int at = entity_warp(group, other.entity);

    if (at < 0 || at / group->warps == (int)owner->cluster_rank || stamp <= group->birth ||
        stamp == STAMP_FLIGHT || clock_lacks(seen, other.entity, other.set, stamp) == 0) {
        return;
    }
    const struct block *block = owner->cluster[at / group->warps];
    const struct op *op = op_of(group->memory, other.op);
    char text[112], by[48];

    if (!(group->memory->sanitize & SANITIZE_RACES) ||
        (op != NULL && op->class == CLASS_ASYNC_COPY) ||
        !first_told(owner->cluster[at / group->warps], FINDING_RACE, op, NULL)) {
        return;
    }
    op_text(group->memory, op, text);
    lanes_text(at % group->warps, other.set, by);
    finding_add(&block->warps[at % group->warps], op, FINDING_RACE, __builtin_ctz(other.set),
                MEMORY_SHARED_WINDOW * (1 + (uint64_t)owner->cluster_rank) + offset, NULL,
                "%s of %s %s %s of block %u of the cluster, and nothing keeps that block from "
                "ending before",
                text, by, write ? "writes" : "reads",
                memory_shared_text(owner->machine, offset).text, owner->cluster_rank);
}

static void page_end_check(const struct block *owner, const struct clock *seen,
                           const struct page *page, unsigned base)
{
    for (unsigned i = 0; i < page->cells; i++) {
        unsigned offset = base + (i << page->shift);

        if (page->write[i] > 0) {
            end_check(owner, seen, page->writer[i], page->write[i], true, offset);
        }
        for (int r = 0; page->read[i] > 0 && r < page->row_count; r++) {
            if (page->rows[r].stamp[i] > seen->all[page->rows[r].entity]) {
                end_check(owner, seen, page->rows[r].who[i], page->rows[r].stamp[i], false, offset);
            }
        }
    }
}

void memory_cluster_end(const struct block *first)
{
    struct group *group = first->shadow != NULL ? first->shadow->group : NULL;

    for (uint32_t r = 0; group != NULL && r < first->cluster_size; r++) {
        const struct block *owner = first->cluster[r];
        struct clock *seen = NULL;

        for (int w = 0; w < owner->warp_count; w++) {
            memory_release(&owner->warps[w], UINT32_MAX, &seen);
        }
        for (unsigned p = 0; p < group->shared_pages; p++) {
            const struct page *page = group->shared[r * group->shared_pages + p];

            if (page != NULL) {
                page_end_check(owner, seen, page, p << PAGE_SHIFT);
            }
        }
    }
}
