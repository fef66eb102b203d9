/*
 * shadow_grid -- races between the clusters of a grid, through global memory. See shadow.h.
 *
 * Nothing orders clusters but flags: a cluster keeps what it did to itself and tells the grid when
 * it ends, and before it releases to a flag. What it tells are extents: bytes side by side that
 * one op wrote, or read. Each release ends a segment of the cluster; a cluster that acquires the
 * flag has seen the segments up to there, its own extents are compared with that in mind. Of equal
 * extents the grid keeps those of the lowest and of the highest cluster, so without flags what it
 * has in the end does not depend on the order in which clusters ran. Races are told when the
 * launch is over, in the order of addresses.
 *
 * Known to be missed: a cluster's accesses between its last release and an acquire count as behind
 * the acquire; of three clusters in line the middle one is forgotten.
 */
#include "fitness/emu/shadow.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXTENTS_MAX = 4096 }; /* of a page, which has 1024 bytes; more are not compared */

struct extent {
    uint16_t from, bytes; /* in the page */
    bool write, strong, racy;
    uint8_t lane;
    uint16_t entity;
    uint32_t op, cluster, segment;
};

struct grid_page {
    uint64_t key;
    bool racy;
    int count, room;
    struct extent *extents;
};

/* ---- locations ---- */

static uint32_t bucket_of(uint64_t address)
{
    return (uint32_t)(address * UINT64_C(0x9e3779b97f4a7c15) >> 40) % LOCATION_BUCKETS;
}

struct location *location_find(struct locations *locations, uint64_t address, bool make)
{
    struct location **bucket = &locations->buckets[bucket_of(address)], *found = *bucket;

    while (found != NULL && found->address != address) {
        found = found->next;
    }
    if (found == NULL && locations->count >= LOCATIONS_MAX && *bucket != NULL) {
        return *bucket;
    }
    if (found == NULL && make) {
        found = xcalloc(1, sizeof *found);
        found->address = address;
        found->next = *bucket;
        *bucket = found;
        locations->count++;
    }
    return found;
}

void locations_free(struct locations *locations)
{
    for (int i = 0; i < LOCATION_BUCKETS && locations->count > 0; i++) {
        while (locations->buckets[i] != NULL) {
            struct location *location = locations->buckets[i];

            locations->buckets[i] = location->next;
            free(location->foreign);
            free(location);
            locations->count--;
        }
    }
}

/* ---- pages ---- */

static uint32_t page_hash(uint64_t key)
{
    return (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 32);
}

static int shard_of(uint64_t key) { return (int)(page_hash(key) >> 16) % GRID_SHARDS; }

static struct grid_page **page_slot(struct grid_page **pages, uint32_t room, uint64_t key)
{
    uint32_t at = page_hash(key) & (room - 1);

    while (pages[at] != NULL && pages[at]->key != key) {
        at = (at + 1) & (room - 1);
    }
    return &pages[at];
}

/* Under the shard's lock, or after the launch. */
static struct grid_page *page_find(struct memory *memory, uint64_t key, bool make)
{
    struct grid_shard *shard = &memory->shards[shard_of(key)];
    struct grid_page **slot;

    if (make && shard->count * 2 >= shard->room) {
        uint32_t room = shard->room == 0 ? 64 : shard->room * 2;
        struct grid_page **pages = xcalloc(room, sizeof pages[0]);

        for (uint32_t i = 0; i < shard->room; i++) {
            if (shard->pages[i] != NULL) {
                *page_slot(pages, room, shard->pages[i]->key) = shard->pages[i];
            }
        }
        free(shard->pages);
        shard->pages = pages;
        shard->room = room;
    }
    if (shard->room == 0) {
        return NULL;
    }
    slot = page_slot(shard->pages, shard->room, key);
    if (*slot == NULL && make) {
        *slot = xcalloc(1, sizeof **slot);
        (*slot)->key = key;
        shard->count++;
    }
    return *slot;
}

/* ---- telling the grid ---- */

static bool is_overlap(const struct extent *a, const struct extent *b)
{
    return a->from < b->from + b->bytes && b->from < a->from + a->bytes;
}

static bool is_conflict(const struct extent *a, const struct extent *b)
{
    return a->cluster != b->cluster && (a->write || b->write) && !(a->strong && b->strong) &&
           is_overlap(a, b);
}

static void extent_keep(struct grid_page *page, const struct extent *new)
{
    struct extent *low = NULL, *high = NULL;

    for (int i = 0; i < page->count; i++) {
        struct extent *old = &page->extents[i];

        if (old->from != new->from || old->bytes != new->bytes || old->write != new->write ||
            old->strong != new->strong) {
            continue;
        }
        if (old->cluster == new->cluster) {
            old->segment = new->segment > old->segment ? new->segment : old->segment;
            old->racy |= new->racy;
            return;
        }
        high = low == NULL ? NULL : old->cluster > low->cluster ? old : low;
        low = low == NULL || old->cluster < low->cluster ? old : low;
    }
    if (high != NULL) {
        if (new->cluster < low->cluster) {
            *low = *new;
        } else if (new->cluster > high->cluster) {
            *high = *new;
        }
        return;
    }
    if (page->count == EXTENTS_MAX) {
        return;
    }
    if (page->count == page->room) {
        page->room = page->room * 2 + 8;
        page->extents = xrealloc(page->extents, (size_t)page->room * sizeof page->extents[0]);
    }
    page->extents[page->count++] = *new;
}

static void extent_tell(struct grid_page *page, struct extent *new, const uint32_t *foreign)
{
    for (int i = 0; i < page->count; i++) {
        struct extent *old = &page->extents[i];

        if (is_conflict(old, new) && (foreign == NULL || foreign[old->cluster] <= old->segment)) {
            old->racy = new->racy = page->racy = true;
        }
    }
    extent_keep(page, new);
}

static void extent_who(struct extent *extent, uint64_t who)
{
    extent->op = who_op(who);
    extent->lane = (uint8_t)__builtin_ctz(who_lanes(who));
    extent->entity = (uint16_t)who_entity(who);
    extent->strong = (who & WHO_STRONG) != 0;
}

/* The last read of a cell; false when `seen` lacks one of them. */
static bool cell_reads(const struct group *group, const struct page *page, unsigned cell,
                       const struct clock *seen, struct extent *extent)
{
    int32_t newest = 0;

    for (int r = 0; r < page->row_count; r++) {
        const struct row *row = &page->rows[r];

        if (row->stamp[cell] <= group->birth) {
            continue;
        }
        if (seen != NULL &&
            clock_lacks(seen, row->entity, who_lanes(row->who[cell]), row->stamp[cell]) != 0) {
            return false;
        }
        if (row->stamp[cell] > newest) {
            newest = row->stamp[cell];
            extent_who(extent, row->who[cell]);
        }
    }
    for (int k = 0; k < page->left_count && seen != NULL; k++) {
        const struct left *left = &page->left[k];

        if (left->from <= cell << page->shift && cell << page->shift < left->from + left->bytes &&
            clock_lacks(seen, left->entity, who_lanes(left->who), left->stamp) != 0) {
            return false;
        }
    }
    return newest > 0;
}

/* What a cell has to tell: false when nothing, or when `seen` has not seen it. */
static bool cell_tells(const struct group *group, const struct page *page, unsigned cell,
                       uint8_t what, const struct clock *seen, struct extent *extent)
{
    uint64_t writer = page->writer[cell];

    if (!(page->fresh[cell] & what)) {
        return false;
    }
    *extent = (struct extent){.write = what == FRESH_WRITE,
                              .from = (uint16_t)(cell << page->shift),
                              .bytes = (uint16_t)(1 << page->shift),
                              .cluster = (uint32_t)group->cluster,
                              .segment = group->segment};
    if (what == FRESH_READ) {
        return cell_reads(group, page, cell, seen, extent);
    }
    extent_who(extent, writer);
    return seen == NULL ||
           clock_lacks(seen, who_entity(writer), who_lanes(writer), page->write[cell]) == 0;
}

/* Returns whether everything was told. */
static bool page_tell(struct group *group, struct page *page, uint8_t what,
                      const struct clock *seen)
{
    struct grid_page *to = page_find(group->memory, page->key, true);
    struct extent run = {0}, next;
    bool all = true;

    for (unsigned cell = 0; cell < page->cells; cell++) {
        if (!cell_tells(group, page, cell, what, seen, &next)) {
            all &= !(page->fresh[cell] & what);
            continue;
        }
        page->fresh[cell] &= (uint8_t)~what;
        if (run.bytes > 0 && run.from + run.bytes == next.from && run.op == next.op &&
            run.strong == next.strong) {
            run.bytes += next.bytes;
            continue;
        }
        if (run.bytes > 0) {
            extent_tell(to, &run, group->foreign);
        }
        run = next;
    }
    if (run.bytes > 0) {
        extent_tell(to, &run, group->foreign);
    }
    return all;
}

void grid_flush(struct group *group, const struct clock *seen)
{
    bool all = true;

    if (!group->fresh || !(group->memory->sanitize & SANITIZE_RACES)) {
        return;
    }
    for (uint32_t i = 0; i < group->global.room; i++) {
        struct page *page = group->global.pages[i];

        if (page != NULL) {
            pthread_mutex_t *lock = &group->memory->shards[shard_of(page->key)].lock;

            pthread_mutex_lock(lock);
            all &= page_tell(group, page, FRESH_WRITE, seen);
            all &= page_tell(group, page, FRESH_READ, seen);
            pthread_mutex_unlock(lock);
        }
    }
    group->fresh = !all;
}

static void foreign_join(uint32_t **into, const uint32_t *from, uint64_t count)
{
    if (from == NULL) {
        return;
    }
    if (*into == NULL) {
        *into = xcalloc(count, sizeof **into);
    }
    for (uint64_t i = 0; i < count; i++) {
        (*into)[i] = from[i] > (*into)[i] ? from[i] : (*into)[i];
    }
}

/* The write at an address, and no other. */
static void write_tell(struct group *group, uint64_t address, unsigned bytes)
{
    struct page *page = page_touched(group, address);
    pthread_mutex_t *lock;
    struct extent extent;

    if (page == NULL || !(group->memory->sanitize & SANITIZE_RACES)) {
        return;
    }
    lock = &group->memory->shards[shard_of(page->key)].lock;
    pthread_mutex_lock(lock);
    for (unsigned at = address % PAGE_BYTES, end = at + bytes; at < end && at < PAGE_BYTES;
         at += 1u << page->shift) {
        unsigned cell = at >> page->shift;

        if (cell_tells(group, page, cell, FRESH_WRITE, NULL, &extent)) {
            page->fresh[cell] &= (uint8_t)~FRESH_WRITE;
            extent_tell(page_find(group->memory, page->key, true), &extent, group->foreign);
        }
    }
    pthread_mutex_unlock(lock);
}

void grid_release(struct group *group, uint64_t address, unsigned bytes, const struct clock *seen)
{
    struct memory *memory = group->memory;
    struct location *location;

    grid_flush(group, seen);
    write_tell(group, address, bytes);
    pthread_mutex_lock(&memory->lock);
    location = location_find(&memory->locations, address, true);
    if (location->foreign == NULL) {
        location->foreign = xcalloc(memory->clusters, sizeof location->foreign[0]);
    }
    foreign_join(&location->foreign, group->foreign, memory->clusters);
    location->foreign[group->cluster] = ++group->segment;
    pthread_mutex_unlock(&memory->lock);
}

void grid_acquire(struct group *group, uint64_t address)
{
    struct memory *memory = group->memory;
    const struct location *location;

    pthread_mutex_lock(&memory->lock);
    location = location_find(&memory->locations, address, false);
    if (location != NULL) {
        foreign_join(&group->foreign, location->foreign, memory->clusters);
    }
    pthread_mutex_unlock(&memory->lock);
}

bool grid_doubt(struct memory *memory, const struct doubt *doubt)
{
    bool room;

    pthread_mutex_lock(&memory->lock);
    room = memory->doubt_count < DOUBTS_MAX;
    if (room) {
        if (memory->doubts == NULL) {
            memory->doubts = xmalloc(DOUBTS_MAX * sizeof memory->doubts[0]);
        }
        memory->doubts[memory->doubt_count++] = *doubt;
    }
    pthread_mutex_unlock(&memory->lock);
    return room;
}

/* ---- after the launch ---- */

/* Stands for a warp that is long gone, so that a finding can name it. */
struct ghost {
    struct block block;
    struct warp warp;
};

static void ghost_of(struct memory *memory, uint64_t cluster, int entity, struct ghost *ghost)
{
    const struct launch *launch = memory->launch;
    const int warps = memory->warps * memory->blocks;
    const bool copy = entity >= 2 * warps; /* counted by an mbarrier: of some warp */
    uint64_t rank = copy ? 0 : (uint64_t)(entity % warps / memory->warps), left = cluster;

    memset(ghost, 0, sizeof *ghost);
    ghost->block.machine = ghost->warp.machine = memory->machine;
    ghost->warp.block = &ghost->block;
    ghost->warp.index = copy ? -1 : entity % memory->warps;
    ghost->block.cluster_id = cluster;
    ghost->block.cluster_rank = (uint32_t)rank;
    ghost->block.cluster_size = (uint32_t)memory->blocks;
    for (int i = 0; i < 3; i++) {
        uint32_t side = launch->cluster[i] > 0 ? launch->cluster[i] : 1;
        uint32_t clusters = (launch->grid[i] + side - 1) / side;

        ghost->block.index[i] = (uint32_t)(left % clusters) * side + (uint32_t)(rank % side);
        left /= clusters;
        rank /= side;
    }
}

static void extent_text(struct memory *memory, const struct extent *extent, char text[240])
{
    struct ghost ghost;
    char op[112], who[48];
    const uint32_t *at = ghost.block.index;

    ghost_of(memory, extent->cluster, extent->entity, &ghost);
    op_text(memory, op_of(memory, extent->op), op);
    lanes_text(ghost.warp.index, (lanes)1 << extent->lane, who);
    snprintf(text, 240, "%s of block (%u,%u,%u) %s", op, at[0], at[1], at[2],
             ghost.warp.index < 0 ? "" : who);
}

static void race_tell(struct memory *memory, const struct grid_page *page, const struct extent *at,
                      const struct extent *other)
{
    unsigned from = at->from > other->from ? at->from : other->from;
    unsigned end = at->from + at->bytes < other->from + other->bytes ? at->from + at->bytes
                                                                     : other->from + other->bytes;
    uint64_t address = (page->key << PAGE_SHIFT) + from;
    const struct buffer *buffer = memory->slots[(address - MEMORY_GLOBAL) >> SLOT_SHIFT];
    struct region region = {.space = SPACE_GLOBAL,
                            .base = buffer->address + buffer->from,
                            .buffer = memory->slots[(address - MEMORY_GLOBAL) >> SLOT_SHIFT]};
    struct ghost ghost;
    char mine[240], theirs[240], where[96];

    ghost_of(memory, at->cluster, at->entity, &ghost);
    extent_text(memory, at, mine);
    extent_text(memory, other, theirs);
    region_text(memory, &region, address - region.base, where);
    finding_add(&ghost.warp, op_of(memory, at->op), FINDING_RACE, at->lane, address,
                op_of(memory, other->op),
                "%s %s %u bytes at %s; %s %s them, and nothing orders blocks", mine,
                at->write ? "writes" : "reads", end - from, where, theirs,
                other->write ? "writes" : "reads");
}

static int extent_compare(const void *left, const void *right)
{
    const struct extent *a = left, *b = right;

    if (a->from != b->from) {
        return a->from < b->from ? -1 : 1;
    }
    if (a->bytes != b->bytes) {
        return a->bytes < b->bytes ? -1 : 1;
    }
    if (a->cluster != b->cluster) {
        return a->cluster < b->cluster ? -1 : 1;
    }
    return (int)a->write * 2 + a->strong - (int)b->write * 2 - b->strong;
}

static int page_compare(const void *left, const void *right)
{
    const struct grid_page *const *a = left, *const *b = right;

    return (*a)->key < (*b)->key ? -1 : (*a)->key > (*b)->key;
}

struct told { /* pairs of ops that were told */
    uint64_t pairs[FINDINGS_MAX];
    int count;
};

static bool is_first(struct told *told, uint32_t a, uint32_t b)
{
    uint64_t pair = a < b ? (uint64_t)a << 32 | b : (uint64_t)b << 32 | a;

    for (int i = 0; i < told->count; i++) {
        if (told->pairs[i] == pair) {
            return false;
        }
    }
    if (told->count == FINDINGS_MAX) {
        return false;
    }
    told->pairs[told->count++] = pair;
    return true;
}

static void page_races(struct memory *memory, struct grid_page *page, struct told *told)
{
    qsort(page->extents, (size_t)page->count, sizeof page->extents[0], extent_compare);
    for (int i = 0; i < page->count; i++) {
        const struct extent *a = &page->extents[i];

        for (int j = i + 1; a->racy && j < page->count; j++) {
            const struct extent *b = &page->extents[j];

            if (b->from >= a->from + a->bytes) {
                break;
            }
            if (b->racy && is_conflict(a, b) && is_first(told, a->op, b->op)) {
                race_tell(memory, page, a->cluster > b->cluster ? a : b,
                          a->cluster > b->cluster ? b : a);
            }
        }
    }
}

static void races_tell(struct memory *memory)
{
    struct grid_page **racy = NULL;
    size_t count = 0, room = 0;
    struct told told = {.count = 0};

    for (int i = 0; i < GRID_SHARDS; i++) {
        for (uint32_t at = 0; at < memory->shards[i].room; at++) {
            struct grid_page *page = memory->shards[i].pages[at];

            if (page == NULL || !page->racy) {
                continue;
            }
            if (count == room) {
                room = room * 2 + 16;
                racy = xrealloc(racy, room * sizeof racy[0]);
            }
            racy[count++] = page;
        }
    }
    if (count > 0) {
        qsort(racy, count, sizeof racy[0], page_compare);
    }
    for (size_t i = 0; i < count && told.count < FINDINGS_MAX; i++) {
        page_races(memory, racy[i], &told);
    }
    free(racy);
}

static int doubt_compare(const void *left, const void *right)
{
    const struct doubt *a = left, *b = right;

    if (a->cluster != b->cluster) {
        return a->cluster < b->cluster ? -1 : 1;
    }
    if (a->address != b->address) {
        return a->address < b->address ? -1 : 1;
    }
    if (a->warp != b->warp) {
        return a->warp - b->warp;
    }
    return (a->op > b->op) - (a->op < b->op);
}

/* Did another cluster write any of the bytes? Then which of the two came first is the race. */
static bool is_written_elsewhere(struct memory *memory, const struct doubt *doubt)
{
    for (uint64_t i = 0; i < doubt->bytes; i++) {
        uint64_t address = doubt->address + i;
        const struct grid_page *page = page_find(memory, address >> PAGE_SHIFT, false);
        unsigned at = (unsigned)(address % PAGE_BYTES);

        for (int e = 0; page != NULL && e < page->count; e++) {
            const struct extent *extent = &page->extents[e];

            if (extent->write && extent->cluster != doubt->cluster && extent->from <= at &&
                at < (unsigned)extent->from + extent->bytes) {
                return true;
            }
        }
    }
    return false;
}

void grid_report(struct memory *memory)
{
    const struct launch *launch = memory->launch;
    uint64_t clusters = launch->sample != NULL ? (uint64_t)launch->sample_count : memory->clusters;

    /*
     * Which blocks ran before a run was stopped is chance, and so is what they have to tell of
     * each other.
     */
    if (memory->cut || memory->blocks_ended != clusters * (uint64_t)memory->blocks) {
        return;
    }
    races_tell(memory);
    if (memory->doubt_count > 0) {
        qsort(memory->doubts, (size_t)memory->doubt_count, sizeof memory->doubts[0], doubt_compare);
    }
    for (int i = 0; i < memory->doubt_count; i++) {
        const struct doubt *doubt = &memory->doubts[i];
        struct ghost ghost;

        if (is_written_elsewhere(memory, doubt)) {
            continue;
        }
        ghost_of(memory, doubt->cluster, doubt->entity, &ghost);
        finding_add(&ghost.warp, doubt->op, FINDING_UNINITIALISED, doubt->lane, doubt->address,
                    NULL, "%s, of which byte %" PRIu64 " was never written", doubt->text,
                    doubt->byte);
    }
}

void grid_clear(struct memory *memory)
{
    for (int i = 0; i < GRID_SHARDS; i++) {
        for (uint32_t at = 0; at < memory->shards[i].room; at++) {
            if (memory->shards[i].pages[at] != NULL) {
                free(memory->shards[i].pages[at]->extents);
                free(memory->shards[i].pages[at]);
            }
        }
        free(memory->shards[i].pages);
        memory->shards[i].pages = NULL;
        memory->shards[i].room = memory->shards[i].count = 0;
    }
    locations_free(&memory->locations);
    free(memory->doubts);
    memory->doubts = NULL;
    memory->doubt_count = 0;
}
