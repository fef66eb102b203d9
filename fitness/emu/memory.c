/*
 * memory -- see memory.h. Here: buffers, what an address means, bounds, and moving bytes; who may
 * touch them is shadow.c's.
 *
 * An access of a warp is planned: one look at the first lane's address gives the region, one pass
 * over 32 offsets says whether all lanes lie inside, aligned, side by side or all on one spot.
 * Only when that fails are lanes looked at one by one.
 */
#include "fitness/emu/shadow.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fitness/emu/profile.h"

/*
 * A buffer begins this far into its slot, and ends as far before the next buffer's slot at least.
 */
enum { GUARD = 256 << 20 };

static const uint64_t slot_bytes = UINT64_C(1) << SLOT_SHIFT;

/* ---- bits, one a byte of memory ---- */

static uint64_t *bits_new(uint64_t bytes) { return xcalloc(bytes / 64 + 1, sizeof(uint64_t)); }

/* The part of word `from / 64` that lies in [from, end). */
static inline uint64_t bits_mask(uint64_t from, uint64_t end)
{
    uint64_t count = end - from < 64 - from % 64 ? end - from : 64 - from % 64;

    return (count == 64 ? ~UINT64_C(0) : (UINT64_C(1) << count) - 1) << from % 64;
}

static inline bool bits_all(const uint64_t *bits, uint64_t from, uint64_t count)
{
    uint64_t end = from + count, missing = 0;

    while (from < end) {
        missing |= bits_mask(from, end) & ~__atomic_load_n(&bits[from / 64], __ATOMIC_RELAXED);
        from = (from | 63) + 1;
    }
    return missing == 0;
}

/* Of memory that only this thread touches. */
static inline void bits_set(uint64_t *bits, uint64_t from, uint64_t count)
{
    uint64_t end = from + count;

    for (; from < end; from = (from | 63) + 1) {
        bits[from / 64] |= bits_mask(from, end);
    }
}

static inline void bits_set_shared(uint64_t *bits, uint64_t from, uint64_t count)
{
    uint64_t end = from + count;

    for (; from < end; from = (from | 63) + 1) {
        uint64_t mask = bits_mask(from, end);

        if (mask & ~__atomic_load_n(&bits[from / 64], __ATOMIC_RELAXED)) {
            __atomic_fetch_or(&bits[from / 64], mask, __ATOMIC_RELAXED);
        }
    }
}

static void bits_clear(uint64_t *bits, uint64_t from, uint64_t count)
{
    uint64_t end = from + count;

    for (; from < end; from = (from | 63) + 1) {
        bits[from / 64] &= ~bits_mask(from, end);
    }
}

/* ---- buffers ---- */

struct memory *memory_new(void)
{
    struct memory *memory = xcalloc(1, sizeof *memory);

    pthread_mutex_init(&memory->lock, NULL);
    for (int i = 0; i < GRID_SHARDS; i++) {
        pthread_mutex_init(&memory->shards[i].lock, NULL);
        pthread_mutex_init(&memory->atomics[i], NULL);
    }
    return memory;
}

static void block_shadow_free(struct block_shadow *shadow)
{
    free(shadow->shared);
    free(shadow->local);
    free(shadow->shared_known);
    free(shadow->local_known);
    free(shadow->registers);
    free(shadow->warps);
    free(shadow);
}

/* What one launch's blocks leave for the next blocks; another launch has other sizes. */
static void pools_free(struct memory *memory)
{
    while (memory->blocks_free != NULL) {
        struct block_shadow *shadow = memory->blocks_free;

        memory->blocks_free = shadow->next;
        block_shadow_free(shadow);
    }
    while (memory->groups_free != NULL) {
        struct group *group = memory->groups_free;

        memory->groups_free = group->next;
        group_free(group);
    }
}

void memory_free(struct memory *memory)
{
    if (memory == NULL) {
        return;
    }
    pools_free(memory);
    grid_clear(memory);
    for (size_t i = 0; i < memory->slot_count; i++) {
        if (memory->slots[i] != NULL) {
            memory_buffer_free(memory, memory->slots[i]->address);
        }
    }
    for (int i = 0; i < GRID_SHARDS; i++) {
        pthread_mutex_destroy(&memory->shards[i].lock);
        pthread_mutex_destroy(&memory->atomics[i]);
    }
    pthread_mutex_destroy(&memory->lock);
    free(memory->slots);
    free(memory);
}

static struct buffer *buffer_of(const struct memory *memory, uint64_t address)
{
    uint64_t slot = (address - MEMORY_GLOBAL) >> SLOT_SHIFT;

    return slot < memory->slot_count ? memory->slots[slot] : NULL;
}

/* Slots are taken in turn, so that a freed buffer's address means nothing for as long as can be. */
static size_t slots_take(struct memory *memory, size_t wanted)
{
    const size_t limit = (MEMORY_SHARED - MEMORY_GLOBAL) >> SLOT_SHIFT;
    size_t from = memory->slot_next, run = 0;

    for (size_t tries = 0; run < wanted; tries++) {
        assert(tries < 2 * limit && wanted <= limit); /* 110 TB of buffers */
        if (from + run >= limit) {
            from = 0;
            run = 0;
        } else if (from + run < memory->slot_count && memory->slots[from + run] != NULL) {
            from += run + 1;
            run = 0;
        } else {
            run++;
        }
    }
    if (from + wanted > memory->slot_count) {
        size_t count = from + wanted + memory->slot_count;

        memory->slots = xrealloc(memory->slots, count * sizeof memory->slots[0]);
        memset(memory->slots + memory->slot_count, 0,
               (count - memory->slot_count) * sizeof memory->slots[0]);
        memory->slot_count = count;
    }
    memory->slot_next = from + wanted;
    return from;
}

static void *bytes_new(uint64_t bytes)
{
    void *data = NULL;

    if (posix_memalign(&data, 64, bytes + 64) != 0) {
        abort();
    }
    return data;
}

uint64_t memory_buffer(struct memory *memory, uint64_t bytes, const char *name)
{
    struct buffer *buffer = xcalloc(1, sizeof *buffer);
    size_t slots = (size_t)((bytes + 2 * (uint64_t)GUARD + slot_bytes - 1) >> SLOT_SHIFT);
    size_t first = slots_take(memory, slots);

    *buffer = (struct buffer){.address = MEMORY_GLOBAL + first * slot_bytes + GUARD,
                              .bytes = bytes,
                              .length = bytes,
                              .data = bytes_new(bytes),
                              .known = bits_new(bytes)};
    memset(buffer->data, 0, bytes);
    snprintf(buffer->name, sizeof buffer->name, "%s", name != NULL ? name : "buffer");
    for (size_t i = 0; i < slots; i++) {
        memory->slots[first + i] = buffer;
    }
    return buffer->address;
}

void memory_buffer_free(struct memory *memory, uint64_t address)
{
    struct buffer *buffer = buffer_of(memory, address);

    if (buffer == NULL) {
        return;
    }
    for (uint64_t i = (buffer->address - MEMORY_GLOBAL) >> SLOT_SHIFT;
         i < memory->slot_count && memory->slots[i] == buffer; i++) {
        memory->slots[i] = NULL;
    }
    free(buffer->data);
    free(buffer->known);
    free(buffer);
}

void memory_buffer_access(struct memory *memory, uint64_t address, enum buffer_access access)
{
    struct buffer *buffer = buffer_of(memory, address);

    if (buffer != NULL) {
        buffer->access = access;
    }
}

void memory_buffer_name(struct memory *memory, uint64_t address, const char *name)
{
    struct buffer *buffer = buffer_of(memory, address);

    if (buffer != NULL) {
        snprintf(buffer->name, sizeof buffer->name, "%s", name);
    }
}

void memory_buffer_window(struct memory *memory, uint64_t address, uint64_t offset, uint64_t bytes)
{
    struct buffer *buffer = buffer_of(memory, address);

    if (buffer != NULL) {
        buffer->from = offset < buffer->bytes ? offset : buffer->bytes;
        buffer->length =
            bytes < buffer->bytes - buffer->from ? bytes : buffer->bytes - buffer->from;
    }
}

/* The host's view of bytes: of the whole buffer, whatever its window. */
static struct buffer *host_bytes(struct memory *memory, uint64_t address, uint64_t bytes,
                                 uint64_t *offset)
{
    struct buffer *buffer = buffer_of(memory, address);

    if (buffer == NULL || address < buffer->address) {
        return NULL;
    }
    *offset = address - buffer->address;
    return *offset <= buffer->bytes && bytes <= buffer->bytes - *offset ? buffer : NULL;
}

bool memory_host_write(struct memory *memory, uint64_t address, const void *from, uint64_t bytes)
{
    uint64_t offset;
    struct buffer *buffer = host_bytes(memory, address, bytes, &offset);

    if (buffer == NULL) {
        return false;
    }
    if (bytes > 0) {
        memcpy(buffer->data + offset, from, bytes);
        bits_set(buffer->known, offset, bytes);
    }
    return true;
}

bool memory_host_read(struct memory *memory, uint64_t address, void *to, uint64_t bytes)
{
    uint64_t offset;
    const struct buffer *buffer = host_bytes(memory, address, bytes, &offset);

    if (buffer != NULL && bytes > 0) {
        memcpy(to, buffer->data + offset, bytes);
    }
    return buffer != NULL;
}

/* The pattern's bytes, low first, again and again. */
static void pattern_fill(uint8_t *to, uint32_t pattern, uint64_t bytes)
{
    uint64_t i = 0;

    for (; i + sizeof pattern <= bytes; i += sizeof pattern) {
        memcpy(to + i, &pattern, sizeof pattern);
    }
    memcpy(to + i, &pattern, bytes - i);
}

bool memory_host_poison(struct memory *memory, uint64_t address, uint32_t pattern, uint64_t bytes)
{
    uint64_t offset;
    struct buffer *buffer = host_bytes(memory, address, bytes, &offset);

    if (buffer == NULL) {
        return false;
    }
    pattern_fill(buffer->data + offset, pattern, bytes);
    bits_clear(buffer->known, offset, bytes);
    return true;
}

bool memory_host_fill(struct memory *memory, uint64_t address, uint32_t pattern, uint64_t bytes)
{
    uint64_t offset;
    struct buffer *buffer = host_bytes(memory, address, bytes, &offset);

    if (buffer == NULL) {
        return false;
    }
    pattern_fill(buffer->data + offset, pattern, bytes);
    bits_set(buffer->known, offset, bytes);
    return true;
}

bool memory_host_forget(struct memory *memory, uint64_t address, uint64_t bytes)
{
    uint64_t offset;
    struct buffer *buffer = host_bytes(memory, address, bytes, &offset);

    if (buffer != NULL) {
        bits_clear(buffer->known, offset, bytes);
    }
    return buffer != NULL;
}

void memory_shared_garbage(struct memory *memory, uint32_t pattern) { memory->garbage = pattern; }
uint32_t memory_garbage(const struct memory *memory) { return memory->garbage; }

/* ---- a launch's life ---- */

void memory_launch_begin(struct memory *memory, const struct launch *launch)
{
    const struct code *program = launch->program;
    uint64_t clusters = 1;
    int64_t with_dynamic = program->dynamic_offset + launch->smem_bytes;

    memory->launch = launch;
    memory->machine = NULL;
    memory->blocks_ended = 0;
    memory->cut = false;
    memory->sanitize = launch->sanitize;
    memory->tracking = (launch->sanitize & (SANITIZE_RACES | SANITIZE_ASYNC)) != 0;
    memory->warps =
        (int)((launch->block[0] * launch->block[1] * launch->block[2] + LANES - 1) / LANES);
    memory->blocks = 1;
    for (int i = 0; i < 3; i++) {
        uint32_t side = launch->cluster[i] > 0 ? launch->cluster[i] : 1;

        memory->blocks *= (int)side;
        clusters *= (launch->grid[i] + side - 1) / side;
    }
    memory->clusters = clusters;
    memory->shared_bytes = launch->smem_bytes > 0 && with_dynamic > program->shared_bytes
                               ? with_dynamic
                               : program->shared_bytes;
    memory->local_bytes = program->local_bytes;
    memory->register_slots = program->register_bytes / 64 + 1;
    for (size_t i = 0; i < memory->slot_count; i++) {
        struct buffer *buffer = memory->slots[i];

        if (buffer != NULL && (launch->sanitize & SANITIZE_INITIALISED)) {
            buffer->complete = bits_all(buffer->known, buffer->from, buffer->length);
        }
    }
}

void memory_launch_end(struct memory *memory)
{
    if (memory->machine != NULL) {
        grid_report(memory);
    }
    grid_clear(memory);
    pools_free(memory);
    memory->launch = NULL;
    memory->machine = NULL;
}

static struct block_shadow *block_shadow_new(const struct memory *memory)
{
    struct block_shadow *shadow = xcalloc(1, sizeof *shadow);
    uint64_t local = (uint64_t)memory->warps * LANES * (uint64_t)memory->local_bytes;

    shadow->shared = bytes_new((uint64_t)memory->shared_bytes);
    shadow->local = bytes_new(local);
    memset(shadow->local, 0, local);
    if (memory->sanitize & SANITIZE_INITIALISED) {
        shadow->shared_known = bits_new((uint64_t)memory->shared_bytes);
        shadow->local_known = bits_new(local);
        shadow->registers =
            xcalloc((size_t)(memory->warps * memory->register_slots), sizeof(lanes));
    }
    if (memory->tracking || (memory->sanitize & SANITIZE_INITIALISED)) {
        shadow->warps = xcalloc((size_t)memory->warps, sizeof shadow->warps[0]);
    }
    return shadow;
}

/* The blocks of a cluster share one group: the first to begin makes it. */
static struct group *group_of(struct memory *memory, const struct block *block)
{
    for (uint32_t i = 0; block->cluster != NULL && i < block->cluster_size; i++) {
        const struct block *other = block->cluster[i];

        if (other != NULL && other != block && other->shadow != NULL) {
            return other->shadow->group;
        }
    }
    return group_open(memory, block);
}

void memory_block_begin(struct block *block)
{
    struct memory *memory = block->machine->memory;
    struct block_shadow *shadow;
    uint64_t local = (uint64_t)memory->warps * LANES * (uint64_t)memory->local_bytes;

    pthread_mutex_lock(&memory->lock);
    memory->machine = block->machine;
    shadow = memory->blocks_free;
    if (shadow != NULL) {
        memory->blocks_free = shadow->next;
    }
    pthread_mutex_unlock(&memory->lock);
    if (shadow == NULL) {
        shadow = block_shadow_new(memory);
    }
    pattern_fill(shadow->shared, memory->garbage, (uint64_t)memory->shared_bytes);
    if (shadow->shared_known != NULL) {
        bits_clear(shadow->shared_known, 0, (uint64_t)memory->shared_bytes);
        bits_clear(shadow->local_known, 0, local);
    }
    memset(shadow->told, 0, sizeof shadow->told);
    shadow->told_count = 0;
    shadow->group = NULL;
    block->shared = shadow->shared;
    block->shared_bytes = memory->shared_bytes;
    block->shadow = NULL;
    if (memory->tracking) {
        shadow->group = group_of(memory, block);
        shadow->group->users++;
    }
    block->shadow = shadow;
}

void memory_block_end(struct block *block)
{
    struct block_shadow *shadow = block->shadow;
    struct memory *memory = block->machine->memory;
    bool cut = false;

    if (shadow == NULL) {
        return;
    }
    if (shadow->group != NULL && --shadow->group->users == 0) {
        group_close(shadow->group);
    }
    for (int w = 0; w < block->warp_count; w++) {
        cut |= block->warps[w].alive != 0;
    }
    block->shadow = NULL;
    block->shared = NULL;
    pthread_mutex_lock(&memory->lock);
    memory->blocks_ended++;
    memory->cut |= cut;
    shadow->next = memory->blocks_free;
    memory->blocks_free = shadow;
    pthread_mutex_unlock(&memory->lock);
}

void memory_warp_begin(struct warp *warp)
{
    struct block *block = warp->block;
    struct block_shadow *shadow = block->shadow;
    const struct memory *memory = block->machine->memory;
    const struct code *program = memory->launch->program;

    warp->local = shadow->local + (size_t)warp->index * LANES * (size_t)memory->local_bytes;
    warp->shadow = shadow->warps != NULL ? &shadow->warps[warp->index] : NULL;
    if (warp->shadow == NULL) {
        return;
    }
    warp_shadow_open(warp->shadow, shadow->group,
                     (int)block->cluster_rank * memory->warps + warp->index);
    if (shadow->registers == NULL) {
        return;
    }
    warp->shadow->registers = shadow->registers + warp->index * memory->register_slots;
    memset(warp->shadow->registers, 0, (size_t)memory->register_slots * sizeof(lanes));
    for (int i = 0; i < program->constant_count; i++) {
        memory_register_written(warp, program->constants[i].slot, UINT32_MAX);
    }
}

void memory_warp_end(struct warp *warp)
{
    warp->local = NULL;
    warp->shadow = NULL;
}

void memory_register_written(struct warp *warp, uint32_t slot, lanes active)
{
    if (warp->shadow != NULL && warp->shadow->registers != NULL && slot != SLOT_NONE) {
        warp->shadow->registers[slot / 64] |= active;
    }
}

bool memory_register_known(struct warp *warp, uint32_t slot, lanes active)
{
    return warp->shadow == NULL || warp->shadow->registers == NULL || slot == SLOT_NONE ||
           (active & ~warp->shadow->registers[slot / 64]) == 0;
}

/* ---- what an address means ---- */

static bool region_global(const struct memory *memory, uint64_t address, struct region *region)
{
    struct buffer *buffer = buffer_of(memory, address);

    if (buffer == NULL) {
        return false;
    }
    *region = (struct region){
        .space = SPACE_GLOBAL,
        .base = buffer->address + buffer->from,
        .bytes = buffer->length,
        .data = buffer->data + buffer->from,
        .known =
            (memory->sanitize & SANITIZE_INITIALISED) && !buffer->complete ? buffer->known : NULL,
        .known_from = buffer->from,
        .buffer = buffer,
        .writable = buffer->access == BUFFER_READ_WRITE,
        .tracked = memory->tracking && buffer->access == BUFFER_READ_WRITE,
    };
    return true;
}

/* `base`: the address of the window's first byte, in the numbers that the access uses. */
static bool region_shared(const struct block *block, uint64_t address, uint64_t base,
                          struct region *region)
{
    uint64_t window = (address - base) / MEMORY_SHARED_WINDOW;
    const struct block *owner = block;

    if (window > 0) {
        owner = block->cluster != NULL && window <= block->cluster_size ? block->cluster[window - 1]
                                                                        : NULL;
        if (owner == NULL || owner->shadow == NULL) {
            return false; /* no such block, or one that has ended */
        }
    }
    *region = (struct region){
        .space = SPACE_SHARED,
        .base = base + window * MEMORY_SHARED_WINDOW,
        .bytes = (uint64_t)owner->shared_bytes,
        .data = owner->shared,
        .known = owner->shadow->shared_known,
        .rank = (int)owner->cluster_rank,
        .writable = true,
        .tracked = owner->shadow->group != NULL,
    };
    return true;
}

/* Of one thread; data and known are its warp's, offsets are to be moved to the lane's part. */
static bool region_local(const struct warp *warp, uint64_t base, struct region *region)
{
    const struct memory *memory = warp->machine->memory;
    uint64_t bytes = (uint64_t)memory->local_bytes;

    *region = (struct region){
        .space = SPACE_LOCAL,
        .base = base,
        .bytes = bytes,
        .data = warp->local,
        .known = warp->block->shadow->local_known,
        .known_from = (uint64_t)warp->index * LANES * bytes,
        .writable = true,
    };
    return true;
}

static bool region_param(const struct memory *memory, uint64_t base, struct region *region)
{
    *region = (struct region){
        .space = SPACE_PARAM,
        .base = base,
        .bytes = (uint64_t)memory->launch->program->param_bytes,
        /* Nothing writes through a region that is not writable. */
        .data = (uint8_t *)(uintptr_t)memory->launch->params,
    };
    return true;
}

/* The region that an address lies in or, when it lies in none, is closest to; false: neither. */
static inline bool region_find(const struct warp *warp, uint64_t address, enum space space,
                               struct region *region)
{
    const struct memory *memory = warp->machine->memory;

    switch (space) {
    case SPACE_SHARED: return region_shared(warp->block, address, 0, region);
    case SPACE_LOCAL: return region_local(warp, 0, region);
    case SPACE_PARAM: return region_param(memory, 0, region);
    case SPACE_GLOBAL:
    case SPACE_CONST: return region_global(memory, address, region);
    case SPACE_GENERIC: break;
    }
    if (address < MEMORY_SHARED) {
        return region_global(memory, address, region);
    }
    if (address < MEMORY_LOCAL) {
        return region_shared(warp->block, address, MEMORY_SHARED, region);
    }
    return address < MEMORY_PARAM ? region_local(warp, MEMORY_LOCAL, region)
                                  : region_param(memory, MEMORY_PARAM, region);
}

/* Addresses of the small spaces are 32 bits. */
static inline uint64_t address_wrap(enum space space)
{
    return space == SPACE_SHARED || space == SPACE_LOCAL ? UINT32_MAX : UINT64_MAX;
}

/* ---- findings ---- */

static const char *region_name(const struct region *region)
{
    static const char *const names[] = {"memory",       "memory",        "shared memory",
                                        "local memory", "the arguments", "constants"};

    return region->buffer != NULL ? region->buffer->name : names[region->space];
}

/* The static variable that a place of shared memory lies in; NULL: none. */
static const struct shared_variable *variable_at(const struct code *program, int64_t offset)
{
    for (int i = 0; i < program->shared_variable_count; i++) {
        const struct shared_variable *one = &program->shared_variables[i];

        if (offset >= one->at && offset < one->at + one->bytes) {
            return one;
        }
    }
    return NULL;
}

struct shared_text memory_shared_text(const struct machine *machine, uint64_t offset)
{
    int64_t at = (int64_t)offset; /* an address before the base has wrapped */
    const struct shared_variable *variable = variable_at(machine->program, at);
    struct shared_text text;

    snprintf(text.text, sizeof text.text, "%.40s%s%" PRId64,
             variable != NULL ? variable->name : "shared", at < 0 ? "" : "+",
             variable != NULL ? at - variable->at : at);
    return text;
}

void region_text(const struct memory *memory, const struct region *region, uint64_t offset,
                 char text[96])
{
    static const char *const names[] = {"memory", "memory", "shared", "local", "param", "const"};
    const char *name = region->buffer != NULL ? region->buffer->name : names[region->space];
    int64_t at = (int64_t)offset;

    if (region->space == SPACE_SHARED) {
        snprintf(text, 96, "%s", memory_shared_text(memory->machine, offset).text);
    } else {
        snprintf(text, 96, "%s%s%" PRId64, name, at < 0 ? "" : "+", at);
    }
    if (region->space == SPACE_SHARED && region->base % MEMORY_SHARED != 0) {
        size_t used = strlen(text);

        snprintf(text + used, 96 - used, " of block %d of the cluster", region->rank);
    }
}

void op_text(const struct memory *memory, const struct op *op, char text[112])
{
    const struct ptx_module *module = memory->launch->program->module;
    const char *file = NULL, *slash;

    if (op == NULL || op->text == NULL) {
        snprintf(text, 112, "an access");
        return;
    }
    if (module != NULL && op->text->file >= 0 && op->text->file < module->file_count) {
        file = module->files[op->text->file];
    }
    if (op->text->source_line > 0 && file != NULL) {
        slash = strrchr(file, '/');
        snprintf(text, 112, "%.48s (%.40s:%d)", op->text->opcode, slash != NULL ? slash + 1 : file,
                 op->text->source_line);
    } else {
        snprintf(text, 112, "%.48s (line %d of the PTX)", op->text->opcode, op->text->line);
    }
}

void lanes_text(int warp, lanes set, char text[48])
{
    const int first = __builtin_ctz(set), last = 31 - __builtin_clz(set);

    if (set == UINT32_MAX) {
        snprintf(text, 48, "warp %d", warp);
    } else if (first == last) {
        snprintf(text, 48, "warp %d lane %d", warp, first);
    } else if (__builtin_popcount(set) == last - first + 1) {
        snprintf(text, 48, "warp %d lanes %d to %d", warp, first, last);
    } else {
        snprintf(text, 48, "warp %d lanes 0x%08x", warp, set);
    }
}

bool first_told(struct block *block, enum finding_kind kind, const struct op *op,
                const struct op *other)
{
    struct block_shadow *shadow = block->shadow;
    const struct memory *memory = block->machine->memory;
    uint64_t key = (uint64_t)kind << 40 | (uint64_t)op_index(memory, op) << 20 |
                   (other == NULL ? OP_NONE : op_index(memory, other));
    uint32_t at = (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 40) % (TOLD_MAX * 2);

    while (shadow->told[at] != 0 && shadow->told[at] != key) {
        at = (at + 1) % (TOLD_MAX * 2);
    }
    if (shadow->told[at] == key || shadow->told_count == TOLD_MAX) {
        return false;
    }
    shadow->told[at] = key;
    shadow->told_count++;
    return true;
}

struct culprit { /* of a finding about one access */
    struct warp *warp;
    const struct op *op;
    int lane;
    uint64_t address, bytes;
    bool write;
};

/* "ld.global.f32 (x.cu:3) of warp 0 lane 5 reads 4 bytes at K+128" */
static void culprit_text(const struct culprit *who, const char *where, char text[288])
{
    char op[112], by[48];

    op_text(who->warp->machine->memory, who->op, op);
    lanes_text(who->warp->index, who->lane < 0 ? UINT32_MAX : (lanes)1 << who->lane, by);
    snprintf(text, 288, "%s of %s %s %" PRIu64 " bytes at %s", op, by,
             who->write ? "writes" : "reads", who->bytes, where);
}

static enum step tell_bounds(const struct culprit *who, const struct region *region)
{
    char where[96], start[288], miss[96];
    uint64_t offset;

    if (!first_told(who->warp->block, FINDING_OUT_OF_BOUNDS, who->op, NULL)) {
        return STEP_NEXT;
    }
    if (region == NULL) {
        snprintf(where, sizeof where, "0x%" PRIx64, who->address);
        culprit_text(who, where, start);
        return finding_add(who->warp, who->op, FINDING_OUT_OF_BOUNDS, who->lane, who->address, NULL,
                           "%s, which belongs to no buffer", start);
    }
    offset = who->address - region->base;
    region_text(who->warp->machine->memory, region, offset, where);
    culprit_text(who, where, start);
    if ((int64_t)offset < 0) {
        snprintf(miss, sizeof miss, "%" PRIu64 " bytes before the start", -offset);
    } else if (offset < region->bytes) {
        snprintf(miss, sizeof miss, "%" PRIu64 " of them behind the end",
                 offset + who->bytes - region->bytes);
    } else if (offset == region->bytes) {
        snprintf(miss, sizeof miss, "right behind the end");
    } else {
        snprintf(miss, sizeof miss, "%" PRIu64 " bytes behind the end", offset - region->bytes);
    }
    return finding_add(who->warp, who->op, FINDING_OUT_OF_BOUNDS, who->lane, who->address, NULL,
                       "%s, %s of %s (%" PRIu64 " bytes)", start, miss, region_name(region),
                       region->bytes);
}

static enum step tell_misaligned(const struct culprit *who, const struct region *region,
                                 unsigned alignment)
{
    char where[96], start[288];

    if (!first_told(who->warp->block, FINDING_MISALIGNED, who->op, NULL)) {
        return STEP_NEXT;
    }
    region_text(who->warp->machine->memory, region, who->address - region->base, where);
    culprit_text(who, where, start);
    return finding_add(who->warp, who->op, FINDING_MISALIGNED, who->lane, who->address, NULL,
                       "%s, which is not a multiple of %u", start, alignment);
}

static enum step tell_read_only(const struct culprit *who, const struct region *region)
{
    char where[96], start[288];

    if (!first_told(who->warp->block, FINDING_READ_ONLY, who->op, NULL)) {
        return STEP_NEXT;
    }
    region_text(who->warp->machine->memory, region, who->address - region->base, where);
    culprit_text(who, where, start);
    return finding_add(who->warp, who->op, FINDING_READ_ONLY, who->lane, who->address, NULL,
                       "%s, which is read only", start);
}

/* Whether a byte of an access reaches a register: not what a vector load brings and nobody reads.
 */
static bool byte_matters(const struct culprit *who, uint64_t byte)
{
    const struct op *op = who->op;
    uint64_t element = op->bytes > 0 ? byte / op->bytes : 0;

    return who->write || op->vector <= 1 || who->bytes != (uint64_t)op->bytes * op->vector ||
           element >= op->dst_count || op->dst[element] != SLOT_NONE;
}

/* `offset`: of the access in its region; the bytes are known to lack one at least. */
static enum step tell_unknown(const struct culprit *who, const struct region *region,
                              uint64_t offset, uint64_t shown)
{
    struct memory *memory = who->warp->machine->memory;
    uint64_t byte = 0;
    char where[96], start[288];

    while (byte < who->bytes && (bits_all(region->known, region->known_from + offset + byte, 1) ||
                                 !byte_matters(who, byte))) {
        byte++;
    }
    if (byte == who->bytes || !first_told(who->warp->block, FINDING_UNINITIALISED, who->op, NULL)) {
        return STEP_NEXT;
    }
    region_text(who->warp->machine->memory, region, shown, where);
    culprit_text(who, where, start);
    if (region->tracked && region->buffer != NULL) {
        struct doubt doubt = {.cluster = who->warp->block->cluster_id,
                              .address = who->address,
                              .bytes = (unsigned)who->bytes,
                              .entity = who->warp->shadow->entity,
                              .warp = who->warp->index,
                              .lane = who->lane,
                              .op = who->op,
                              .byte = byte};

        snprintf(doubt.text, sizeof doubt.text, "%s", start);
        if (grid_doubt(memory, &doubt)) {
            return STEP_NEXT;
        }
    }
    return finding_add(who->warp, who->op, FINDING_UNINITIALISED, who->lane, who->address, NULL,
                       "%s, of which byte %" PRIu64 " was never written", start, byte);
}

/* ---- planning an access ---- */

static inline void plan_open(struct access_plan *plan, struct warp *warp, const struct op *op,
                             const uint32_t *slots, bool write)
{
    plan->warp = warp;
    plan->op = op;
    plan->size = (unsigned)op->bytes * op->vector;
    plan->write = write;
    plan->strong = (op->access & ACCESS_STRONG) != 0;
    plan->slots = slots;
    plan->width = op->mode2 > op->bytes ? (unsigned)op->mode2 : op->bytes < 2 ? 2 : op->bytes;
    assert(plan->size > 0 && plan->size <= 64);
}

/* The usual case: all lanes in one region, aligned, allowed. Reports nothing. */
static inline bool plan_all(struct access_plan *plan, lanes active, const uint64_t address[LANES],
                            enum space space)
{
    const uint64_t wrap = address_wrap(space), size = plan->size;
    const uint64_t add = (uint64_t)plan->op->immediate;
    const uint64_t first = (address[__builtin_ctz(active)] + add) & wrap;
    struct region *region = &plan->region;
    uint64_t base, limit, outside = 0, low = 0, row = 0, same = 0;
    uint64_t *offset = plan->offset;

    if (!region_find(plan->warp, first, space, region) || region->bytes < size ||
        (plan->write && !region->writable)) {
        return false;
    }
    base = region->base;
    limit = region->bytes - size;
    if (active == UINT32_MAX) {
        for (int i = 0; i < LANES; i++) {
            offset[i] = ((address[i] + add) & wrap) - base;
        }
    } else {
        for (int i = 0; i < LANES; i++) {
            offset[i] = (active >> i & 1 ? (address[i] + add) & wrap : first) - base;
        }
        row = 1;
    }
    for (int i = 0; i < LANES; i++) {
        outside |= (limit - offset[i]) | offset[i];
        low |= offset[i];
        same |= offset[i] ^ offset[0];
        row |= offset[i] ^ (offset[0] + (uint64_t)i * size);
    }
    if ((int64_t)outside < 0 || ((low | base) & (size - 1)) != 0) {
        return false;
    }
    plan->mask = active;
    plan->pattern = row == 0 ? PATTERN_ROW : same == 0 ? PATTERN_SAME : PATTERN_SCATTER;
    if (region->space == SPACE_LOCAL) {
        plan->pattern = PATTERN_SCATTER;
        for (int i = 0; i < LANES; i++) {
            offset[i] += (uint64_t)i * region->bytes;
        }
    }
    return true;
}

/*
 * The unusual case: takes from *left the lanes that lie in the first one's region, and tells what
 * is wrong with lanes. The mask is of those that may go on, and may be empty.
 */
static enum step plan_some(struct access_plan *plan, lanes *left, const uint64_t address[LANES],
                           enum space space)
{
    const uint64_t wrap = address_wrap(space), add = (uint64_t)plan->op->immediate;
    const int first = __builtin_ctz(*left);
    struct region *region = &plan->region;
    struct culprit who = {
        .warp = plan->warp, .op = plan->op, .bytes = plan->size, .write = plan->write};
    lanes inside = 0, skewed = 0;

    plan->mask = 0;
    plan->pattern = PATTERN_SCATTER;
    who.lane = first;
    who.address = (address[first] + add) & wrap;
    if (!region_find(plan->warp, who.address, space, region)) {
        *left &= *left - 1;
        return tell_bounds(&who, NULL);
    }
    FOR_LANES(i, *left)
    {
        uint64_t at = (address[i] + add) & wrap, offset = at - region->base;

        if (offset <= region->bytes && plan->size <= region->bytes - offset) {
            inside |= (lanes)1 << i;
            skewed |= (lanes)((at & (plan->size - 1)) != 0) << i;
            plan->offset[i] =
                offset + (region->space == SPACE_LOCAL ? (uint64_t)i * region->bytes : 0);
        }
    }
    if (!(inside >> first & 1)) {
        *left &= *left - 1;
        return tell_bounds(&who, region);
    }
    *left &= ~inside;
    if (plan->write && !region->writable) {
        return tell_read_only(&who, region);
    }
    plan->mask = inside & ~skewed;
    if (skewed != 0) {
        who.lane = __builtin_ctz(skewed);
        who.address = (address[who.lane] + add) & wrap;
        return tell_misaligned(&who, region, plan->size);
    }
    return STEP_NEXT;
}

void plan_value(const struct access_plan *plan, int lane, uint8_t bytes[64])
{
    for (int k = 0; k < plan->op->vector; k++) {
        memcpy(bytes + k * plan->op->bytes,
               plan->warp->registers + plan->slots[k] + (unsigned)lane * plan->width,
               plan->op->bytes);
    }
}

/* ---- what was written before ---- */

static enum step tell_unknown_lane(const struct access_plan *plan, int lane)
{
    const struct region *region = &plan->region;
    uint64_t offset = plan->offset[lane], shown = offset;

    if (region->space == SPACE_LOCAL) {
        shown -= (uint64_t)lane * region->bytes;
    }
    return tell_unknown(&(struct culprit){.warp = plan->warp,
                                          .op = plan->op,
                                          .lane = lane,
                                          .address = region->base + shown,
                                          .bytes = plan->size},
                        region, offset, shown);
}

static inline enum step plan_read_known(const struct access_plan *plan)
{
    const uint64_t *known = plan->region.known;
    uint64_t from = plan->region.known_from;

    if (plan->pattern == PATTERN_ROW &&
        bits_all(known, from + plan->offset[0], (uint64_t)plan->size * LANES)) {
        return STEP_NEXT;
    }
    FOR_LANES(lane, plan->mask)
    {
        if (!bits_all(known, from + plan->offset[lane], plan->size)) {
            return tell_unknown_lane(plan, lane);
        }
        if (plan->pattern == PATTERN_SAME) {
            break;
        }
    }
    return STEP_NEXT;
}

static void region_written(const struct region *region, uint64_t offset, uint64_t bytes)
{
    if (region->known == NULL) {
        return;
    }
    if (region->buffer != NULL) {
        bits_set_shared(region->known, region->known_from + offset, bytes);
    } else {
        bits_set(region->known, region->known_from + offset, bytes);
    }
}

static inline void plan_written(const struct access_plan *plan)
{
    if (plan->pattern == PATTERN_ROW) {
        region_written(&plan->region, plan->offset[0], (uint64_t)plan->size * LANES);
        return;
    }
    FOR_LANES(lane, plan->mask)
    {
        region_written(&plan->region, plan->offset[lane], plan->size);
        if (plan->pattern == PATTERN_SAME) {
            break;
        }
    }
}

/* ---- moving bytes ---- */

/*
 * One function for each width of element and of register, so that the copies have constant sizes.
 * The element lies in the low bytes of its register on the machines this is built for (little
 * endian).
 */
typedef void mover(const struct access_plan *plan);

/* When blocks race for a byte it is the kernel that does, not this program. */
#define KERNEL_RACES __attribute__((no_sanitize("thread")))

#define INLINE KERNEL_RACES static inline __attribute__((always_inline))

INLINE void widen(uint8_t *to, const uint8_t *from, unsigned bytes, unsigned width)
{
    uint8_t value[16] = {0};

    memcpy(value, from, bytes);
    memcpy(to, value, width);
}

INLINE void load_vector(const struct access_plan *plan, unsigned bytes, unsigned width,
                        unsigned vector)
{
    const uint8_t *data = plan->region.data;
    const lanes mask = plan->mask;

    for (unsigned k = 0; k < vector; k++) {
        uint8_t *to = plan->warp->registers + plan->slots[k];
        const uint8_t *from = data + k * bytes;

        if (plan->slots[k] == SLOT_NONE) {
            continue;
        }
        if (plan->pattern == PATTERN_ROW) {
            for (unsigned i = 0; i < LANES; i++) {
                widen(to + i * width, from + plan->offset[0] + i * bytes * vector, bytes, width);
            }
        } else if (mask == UINT32_MAX) {
            for (unsigned i = 0; i < LANES; i++) {
                widen(to + i * width, from + plan->offset[i], bytes, width);
            }
        } else {
            FOR_LANES(i, mask)
            {
                widen(to + (unsigned)i * width, from + plan->offset[i], bytes, width);
            }
        }
    }
}

INLINE void store_vector(const struct access_plan *plan, unsigned bytes, unsigned width,
                         unsigned vector)
{
    uint8_t *data = plan->region.data;
    const lanes mask = plan->mask;

    for (unsigned k = 0; k < vector; k++) {
        const uint8_t *from = plan->warp->registers + plan->slots[k];
        uint8_t *to = data + k * bytes;

        if (plan->pattern == PATTERN_ROW) {
            for (unsigned i = 0; i < LANES; i++) {
                memcpy(to + plan->offset[0] + i * bytes * vector, from + i * width, bytes);
            }
        } else {
            FOR_LANES(i, mask) { memcpy(to + plan->offset[i], from + (unsigned)i * width, bytes); }
        }
    }
}

#define MOVERS(bytes, width)                                                                       \
    KERNEL_RACES static void load_##bytes##_##width(const struct access_plan *plan)                \
    {                                                                                              \
        switch (plan->op->vector) {                                                                \
        case 1: load_vector(plan, bytes, width, 1); break;                                         \
        case 2: load_vector(plan, bytes, width, 2); break;                                         \
        case 4: load_vector(plan, bytes, width, 4); break;                                         \
        default: load_vector(plan, bytes, width, plan->op->vector);                                \
        }                                                                                          \
    }                                                                                              \
    KERNEL_RACES static void store_##bytes##_##width(const struct access_plan *plan)               \
    {                                                                                              \
        switch (plan->op->vector) {                                                                \
        case 1: store_vector(plan, bytes, width, 1); break;                                        \
        case 2: store_vector(plan, bytes, width, 2); break;                                        \
        case 4: store_vector(plan, bytes, width, 4); break;                                        \
        default: store_vector(plan, bytes, width, plan->op->vector);                               \
        }                                                                                          \
    }

MOVERS(1, 2)
MOVERS(1, 4)
MOVERS(1, 8)
MOVERS(2, 2)
MOVERS(2, 4)
MOVERS(2, 8)
MOVERS(4, 4)
MOVERS(4, 8)
MOVERS(8, 8)
MOVERS(16, 16)

/* By log2 of element and register. */
static mover *const load_movers[5][5] = {
    {NULL, load_1_2, load_1_4, load_1_8, NULL}, {NULL, load_2_2, load_2_4, load_2_8, NULL},
    {NULL, NULL, load_4_4, load_4_8, NULL},     {NULL, NULL, NULL, load_8_8, NULL},
    {NULL, NULL, NULL, NULL, load_16_16},
};
static mover *const store_movers[5][5] = {
    {NULL, store_1_2, store_1_4, store_1_8, NULL}, {NULL, store_2_2, store_2_4, store_2_8, NULL},
    {NULL, NULL, store_4_4, store_4_8, NULL},      {NULL, NULL, NULL, store_8_8, NULL},
    {NULL, NULL, NULL, NULL, store_16_16},
};

static inline mover *mover_of(mover *const table[5][5], const struct access_plan *plan)
{
    mover *found = table[__builtin_ctz(plan->op->bytes)][__builtin_ctz(plan->width)];

    assert(found != NULL);
    return found;
}

static pthread_mutex_t *atomic_lock(struct memory *memory, uint64_t address)
{
    return &memory->atomics[(address >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 59];
}

/* A strong access to global memory is one with the atomics of other threads of the host. */
static void move_strong(struct access_plan *plan, mover *move)
{
    struct memory *memory = plan->warp->machine->memory;
    lanes mask = plan->mask;

    plan->pattern = PATTERN_SCATTER;
    FOR_LANES(lane, mask)
    {
        pthread_mutex_t *lock = atomic_lock(memory, plan->region.base + plan->offset[lane]);

        plan->mask = (lanes)1 << lane;
        pthread_mutex_lock(lock);
        move(plan);
        pthread_mutex_unlock(lock);
    }
    plan->mask = mask;
}

static void plan_order(const struct access_plan *plan)
{
    if (!plan->region.tracked) {
        return;
    }
    FOR_LANES(lane, plan->mask)
    {
        shadow_strong(plan->warp, (lanes)1 << lane, &plan->region, plan->offset[lane], plan->size,
                      plan->op->access, !plan->write, plan->write);
    }
}

static enum step load_planned(struct access_plan *plan)
{
    mover *move = mover_of(load_movers, plan);
    enum step step = STEP_NEXT;

    if (plan->region.known != NULL) {
        step = plan_read_known(plan);
    }
    if (plan->region.tracked && step == STEP_NEXT) {
        step = shadow_access(plan);
    }
    if (!plan->strong) {
        move(plan);
        return step;
    }
    if (plan->region.buffer != NULL) {
        move_strong(plan, move);
    } else {
        move(plan);
    }
    plan_order(plan);
    return step;
}

static enum step store_planned(struct access_plan *plan)
{
    mover *move = mover_of(store_movers, plan);
    enum step step = STEP_NEXT;

    if (plan->region.tracked) {
        step = shadow_access(plan);
    }
    if (plan->region.known != NULL) {
        plan_written(plan);
    }
    if (!plan->strong) {
        move(plan);
        return step;
    }
    plan_order(plan);
    if (plan->region.buffer != NULL) {
        move_strong(plan, move);
    } else {
        move(plan);
    }
    return step;
}

/* Lanes that cannot go together: in several regions, or with something wrong. */
static enum step apart(struct access_plan *plan, lanes active, const uint64_t given[LANES],
                       enum space space, enum step go(struct access_plan *))
{
    enum step step = STEP_NEXT;
    uint64_t address[LANES]; /* a load may overwrite the register that holds them */

    memcpy(address, given, sizeof address);
    while (active != 0 && step == STEP_NEXT) {
        step = plan_some(plan, &active, address, space);
        if (plan->mask != 0 && step == STEP_NEXT) {
            step = go(plan);
        }
    }
    return step;
}

static void zero_lanes(const struct access_plan *plan, lanes active)
{
    for (int k = 0; k < plan->op->vector; k++) {
        if (plan->slots[k] == SLOT_NONE) {
            continue;
        }
        FOR_LANES(lane, active)
        {
            memset(plan->warp->registers + plan->slots[k] + (unsigned)lane * plan->width, 0,
                   plan->width);
        }
    }
}

static enum step load_apart(struct access_plan *plan, lanes active, const uint64_t given[LANES],
                            enum space space)
{
    uint64_t address[LANES];

    memcpy(address, given, sizeof address);
    zero_lanes(plan, active);
    return apart(plan, active, address, space, load_planned);
}

/* What a warp is about to touch, for the profile; nothing when nobody wants one. */
static void touch(struct warp *warp, const struct op *op, lanes active, const uint64_t given[LANES],
                  enum space space, bool write)
{
    uint64_t address[LANES];

    if (warp->block->profile == NULL) {
        return;
    }
    FOR_LANES(lane, active)
    {
        address[lane] = (given[lane] + (uint64_t)op->immediate) & address_wrap(space);
    }
    profile_access(warp, op, active, address, space,
                   (unsigned)op->bytes * (op->vector > 0 ? op->vector : 1u), write);
}

SHADOW_HOT enum step memory_load(struct warp *warp, const struct op *op, lanes active,
                                 const uint64_t address[LANES], enum space space)
{
    struct access_plan plan;

    if (active == 0) {
        return STEP_NEXT;
    }
    touch(warp, op, active, address, space, false);
    plan_open(&plan, warp, op, op->dst, false);
    return plan_all(&plan, active, address, space) ? load_planned(&plan)
                                                   : load_apart(&plan, active, address, space);
}

SHADOW_HOT enum step memory_store(struct warp *warp, const struct op *op, lanes active,
                                  const uint64_t address[LANES], enum space space, int first_src)
{
    struct access_plan plan;

    if (active == 0) {
        return STEP_NEXT;
    }
    touch(warp, op, active, address, space, true);
    plan_open(&plan, warp, op, op->src + first_src, true);
    return plan_all(&plan, active, address, space)
               ? store_planned(&plan)
               : apart(&plan, active, address, space, store_planned);
}

/* ---- single accesses ---- */

/* The region of bytes that one lane, or the warp, names; false after a finding (*step). */
static bool bytes_find(const struct culprit *who, enum space space, struct region *region,
                       uint64_t *offset, enum step *step)
{
    if (!region_find(who->warp, who->address, space, region)) {
        *step = tell_bounds(who, NULL);
        return false;
    }
    *offset = who->address - region->base;
    if (*offset > region->bytes || who->bytes > region->bytes - *offset) {
        *step = tell_bounds(who, region);
        return false;
    }
    if (who->write && !region->writable) {
        *step = tell_read_only(who, region);
        return false;
    }
    if (region->space == SPACE_LOCAL) {
        *offset += (uint64_t)(who->lane < 0 ? 0 : who->lane) * region->bytes;
    }
    return true;
}

enum step memory_atomic(struct warp *warp, const struct op *op, int lane, uint64_t address,
                        enum space space, unsigned bytes, memory_change *change, void *context,
                        void *old)
{
    struct memory *memory = warp->machine->memory;
    struct culprit who = {.warp = warp,
                          .op = op,
                          .lane = lane,
                          .bytes = bytes,
                          .write = true,
                          .address = address & address_wrap(space)};
    struct access_plan plan = {.warp = warp,
                               .op = op,
                               .mask = (lanes)1 << lane,
                               .size = bytes,
                               .write = true,
                               .strong = true,
                               .pattern = PATTERN_SCATTER};
    struct region *region = &plan.region;
    uint64_t offset;
    enum step step = STEP_NEXT;
    bool ordered = false;
    uint8_t value[16];

    assert(bytes <= sizeof value);
    memset(old, 0, bytes);
    if (!bytes_find(&who, space, region, &offset, &step)) {
        return step;
    }
    if (address % bytes != 0) {
        return tell_misaligned(&who, region, bytes);
    }
    if (warp->block->profile != NULL) {
        uint64_t addresses[LANES];

        addresses[lane] = who.address;
        profile_access(warp, op, plan.mask, addresses, space, bytes, true);
    }
    plan.offset[lane] = offset;
    if (region->known != NULL && !bits_all(region->known, region->known_from + offset, bytes)) {
        step = tell_unknown_lane(&plan, lane);
    }
    if (region->tracked && step == STEP_NEXT) {
        step = shadow_access(&plan);
        ordered = op->access != ACCESS_WEAK; /* the mbarriers' own uses have other clocks */
    }
    /* Released before the change and acquired after it: who sees the change has been told. */
    if (ordered) {
        shadow_strong(warp, plan.mask, region, offset, bytes, op->access, false, true);
    }
    if (region->buffer != NULL) {
        pthread_mutex_t *lock = atomic_lock(memory, region->base + offset);

        pthread_mutex_lock(lock);
        memcpy(old, region->data + offset, bytes);
        change(context, old, value);
        memcpy(region->data + offset, value, bytes);
        pthread_mutex_unlock(lock);
    } else {
        memcpy(old, region->data + offset, bytes);
        change(context, old, value);
        memcpy(region->data + offset, value, bytes);
    }
    if (ordered) {
        shadow_strong(warp, plan.mask, region, offset, bytes, op->access, true, false);
    }
    region_written(region, offset, bytes);
    return step;
}

static uint8_t *span(struct warp *warp, const struct op *op, int lane, uint64_t address,
                     enum space space, uint64_t bytes, bool write, bool used, enum proxy proxy,
                     enum step *step)
{
    struct culprit who = {.warp = warp,
                          .op = op,
                          .lane = lane,
                          .bytes = bytes,
                          .write = write,
                          .address = address & address_wrap(space)};
    struct region region;
    uint64_t offset;

    *step = STEP_NEXT;
    if (!bytes_find(&who, space, &region, &offset, step)) {
        return NULL;
    }
    if (used && !write && region.known != NULL &&
        !bits_all(region.known, region.known_from + offset, bytes)) {
        *step = tell_unknown(&who, &region, offset, who.address - region.base);
    }
    if (region.tracked && *step == STEP_NEXT && bytes > 0) {
        *step = shadow_span(warp, op, lane, &region, offset, bytes, write, proxy, false);
    }
    if (write) {
        region_written(&region, offset, bytes);
    }
    return *step == STEP_NEXT ? region.data + offset : NULL;
}

uint8_t *memory_span(struct warp *warp, const struct op *op, int lane, uint64_t address,
                     enum space space, uint64_t bytes, bool write, enum proxy proxy,
                     enum step *step)
{
    return span(warp, op, lane, address, space, bytes, write, true, proxy, step);
}

uint8_t *memory_reach(struct warp *warp, const struct op *op, int lane, uint64_t address,
                      enum space space, uint64_t bytes, enum proxy proxy, enum step *step)
{
    return span(warp, op, lane, address, space, bytes, false, false, proxy, step);
}

/* Of a copy that is checked elsewhere: bytes out of bounds are memory_span's to tell. */
static bool flight_find(struct warp *warp, uint64_t address, enum space space, uint64_t bytes,
                        struct region *region, uint64_t *offset)
{
    address &= address_wrap(space);
    if (bytes == 0 || !region_find(warp, address, space, region)) {
        return false;
    }
    *offset = address - region->base;
    return *offset <= region->bytes && bytes <= region->bytes - *offset &&
           region->space != SPACE_LOCAL;
}

void memory_flight_begin(struct warp *warp, const struct op *op, int lane, uint64_t address,
                         enum space space, uint64_t bytes, bool write, enum proxy proxy)
{
    struct region region;
    uint64_t offset;

    if (flight_find(warp, address, space, bytes, &region, &offset) && region.tracked) {
        shadow_span(warp, op, lane, &region, offset, bytes, write, proxy, true);
    }
}

void memory_flight_land(struct warp *warp, const struct op *op, int lane, uint64_t address,
                        enum space space, uint64_t bytes, bool write, enum proxy proxy,
                        struct clock **clock)
{
    struct region region;
    uint64_t offset;

    if (!flight_find(warp, address, space, bytes, &region, &offset)) {
        return;
    }
    if (write && region.writable) {
        region_written(&region, offset, bytes);
    }
    if (region.tracked) {
        shadow_land(warp, op, lane, &region, offset, bytes, write, proxy, clock);
    }
}
